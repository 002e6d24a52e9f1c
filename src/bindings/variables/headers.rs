//! Header fields by name, and the parts of Via and the times of Contact: `$hdr(X)`, `$hdrc(X)`, `$hfl(X)`, `$via0(f)`, …

use crate::script::catalog::Yields;
use crate::script::host::{Position, Reading};
use crate::sip::HeaderId;
use crate::sip::header::Shape;
use crate::sip::list::ListValues;
use crate::sip::via::{Rport, Via};

use super::{Key, KeyRule, Subject, Variable};
use crate::routing::context::Context;
use crate::state::value::{answer_display, answer_optional, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "hdr",
        "value of a header field, [n] from the top, [-n] from the bottom, [*] all",
        |context, subject, out| {
            answer_at(
                context.message.headers_named(subject.key.text()).map(|header| header.value),
                subject.position,
                out,
            )
        },
    )
    .key(KeyRule::Text),
    Variable::new("hdrc", "number of header lines with this name", |context, subject, _| {
        Reading::Integer(context.message.headers_named(subject.key.text()).count() as i64)
    })
    .key(KeyRule::Text)
    .yields(Yields::Integer),
    Variable::new("hfl", "value of a header field, lists split at their commas", |context, subject, out| {
        answer_at(list_values(context, subject).into_iter(), subject.position, out)
    })
    .key(KeyRule::Text),
    Variable::new(
        "hflc",
        "number of values of a header field, lists split at their commas",
        |context, subject, _| Reading::Integer(list_values(context, subject).len() as i64),
    )
    .key(KeyRule::Text)
    .yields(Yields::Integer),
    Variable::new("via0", "part of the topmost Via", |context, subject, out| {
        via_part(context.message.via(0).ok(), subject, out)
    })
    .key(KeyRule::Word(VIA_WORDS)),
    Variable::new("via1", "part of the second Via; null when there is only one", |context, subject, out| {
        via_part(context.message.via(1).ok(), subject, out)
    })
    .key(KeyRule::Word(VIA_WORDS)),
    Variable::new("viaZ", "part of the last Via", |context, subject, out| {
        via_part(context.message.vias().last().and_then(Result::ok), subject, out)
    })
    .key(KeyRule::Word(VIA_WORDS)),
    Variable::new(
        "expires",
        "min or max of the times in Contact, which by default have that of Expires",
        expires,
    )
    .key(KeyRule::Word(&["min", "max"])),
];

const VIA_WORDS: &[&str] =
    &["host", "port", "proto", "branch", "rport", "received", "params", "i", "alias", "maddr", "ttl"];

fn answer_at<'a>(
    mut values: impl DoubleEndedIterator<Item = &'a [u8]>,
    position: Position,
    out: &mut Vec<u8>,
) -> Reading {
    match position {
        Position::Unset => answer_optional(values.next(), out),
        Position::At(index) => {
            let steps = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
            let value = if index >= 0 { values.nth(steps) } else { values.nth_back(steps - 1) };
            answer_optional(value, out)
        }
        Position::All => answer_all(values, out),
    }
}

fn answer_all<'a>(values: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Reading {
    let mut is_first = true;
    for value in values {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.extend_from_slice(value);
    }
    if is_first { Reading::Null } else { Reading::Text }
}

fn list_values<'m>(context: &Context<'m>, subject: &Subject<'_>) -> Vec<&'m [u8]> {
    let mut values = Vec::new();
    for header in context.message.headers_named(subject.key.text()) {
        match header.id.shape() {
            Shape::List => values.extend(ListValues::new(header.value)),
            Shape::Single | Shape::Whole => values.push(header.value),
        }
    }
    values
}

fn via_part(via: Option<Via<'_>>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let (Some(via), Key::Word(word)) = (via, subject.key) else { return Reading::Null };
    match VIA_WORDS[word] {
        "host" => answer_text(via.host, out),
        "port" => via.port.map_or(Reading::Null, |port| Reading::Integer(i64::from(port))),
        "proto" => answer_text(via.transport, out),
        "branch" => answer_optional(via.branch, out),
        "rport" => match via.rport {
            Rport::Port(port) => answer_display(port, out),
            _ => Reading::Null,
        },
        "received" => answer_optional(via.received, out),
        "params" => {
            let params = via.params.raw();
            answer_optional(params.strip_prefix(b";").map(<[u8]>::trim_ascii), out)
        }
        name => answer_optional(via.params.text(name.as_bytes()), out),
    }
}

fn expires(context: &Context<'_>, subject: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    let message = &context.message;
    let default = message.number(HeaderId::Expires).ok().flatten();
    let contacts = message.addresses(HeaderId::Contact).filter_map(Result::ok);
    let times = contacts.filter_map(|contact| {
        let own =
            contact.params.text(b"expires").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        own.or(default)
    });
    let found = if subject.key == Key::Word(0) { times.min() } else { times.max() };
    found.or(default).map_or(Reading::Null, |seconds| Reading::Integer(i64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::check_reading;

    #[test]
    fn header_fields_are_found_by_name_and_position() {
        let rows = [
            ("hdr(X-Foo)[0]", 1, Some("one")),
            ("hdr(X-Foo)[1]", 1, Some("two")),
            ("hdr(X-Foo)[2]", 1, None),
            ("hdr(X-Foo)[-1]", 1, Some("two")),
            ("hdr(X-Foo)[-3]", 1, None),
            ("hdr(x-foo)[*]", 1, Some("one,two")),
            ("hdr(X-Bar)[*]", 1, None),
            ("hdr(i)", 1, Some("c2")),
            ("hdrc(X-Foo)", 1, Some("2")),
            ("hdrc(X-Bar)", 1, Some("0")),
            ("hfl(Proxy-Authorization)[1]", 1, None),
            ("via1(rport)", 2, Some("17070")),
            ("via1(received)", 2, Some("127.0.0.1")),
            ("via1(port)", 2, Some("17070")),
            ("via0(proto)", 0, Some("UDP")),
        ];
        for (written, column, expected) in rows {
            check_reading(
                written,
                column,
                &expected.map_or("NULL".to_string(), |value| format!("[{value}]")),
            );
        }
    }
}
