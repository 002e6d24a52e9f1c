//! What kind of message it is and what it carries: `$rm`, `$rs`, `$ci`, `$cs`, `$rb`, `$ua`, `$msg(len)`, …

use crate::script::catalog::Yields;
use crate::script::host::Reading;
use crate::sip::{HeaderId, write};

use super::{Key, KeyRule, Subject, Variable};
use crate::routing::context::Context;
use crate::state::value::{answer_optional, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("rm", "method of the request, or of the request a reply is for", method),
    Variable::new(
        "rmid",
        "method as a bit: INVITE 1, CANCEL 2, ACK 4, BYE 8, …; 524288 for an unknown one",
        method_bit,
    )
    .yields(Yields::Integer),
    Variable::new("mt", "1 for a request, 2 for a reply", |context, _, _| {
        Reading::Integer(if context.message.is_request() { 1 } else { 2 })
    })
    .yields(Yields::Integer),
    Variable::new("mts", "rq for a request, rp for a reply", |context, _, out| {
        answer_text(if context.message.is_request() { b"rq" } else { b"rp" }, out)
    })
    .yields(Yields::Text),
    Variable::new("rs", "status of a reply; null in requests", |context, _, _| {
        status(context).map_or(Reading::Null, Reading::Integer)
    }),
    Variable::new("rsi", "status of a reply; 0 in requests", |context, _, _| {
        Reading::Integer(status(context).unwrap_or(0))
    })
    .yields(Yields::Integer),
    Variable::new("rr", "reason phrase of a reply; null in requests", |context, _, out| {
        answer_optional(context.message.status_line().map(|line| line.reason), out)
    }),
    Variable::new("rv", "version of the protocol: SIP/2.0", |context, _, out| {
        answer_text(context.message.version(), out)
    })
    .yields(Yields::Text),
    Variable::new("ci", "Call-ID", |context, _, out| answer_optional(context.message.call_id().ok(), out)),
    Variable::new("cs", "number of CSeq", |context, _, out| {
        answer_optional(context.message.cseq().ok().map(|cseq| cseq.digits), out)
    }),
    Variable::new("csb", "CSeq as a whole", |context, _, out| answer_first(context, HeaderId::CSeq, out)),
    Variable::new("cT", "Content-Type", |context, _, out| answer_first(context, HeaderId::ContentType, out)),
    Variable::new("cl", "value of Content-Length", |context, _, _| {
        let told = context.message.content_length().ok().flatten();
        told.map_or(Reading::Null, |size| Reading::Integer(i64::from(size)))
    }),
    Variable::new("ct", "Contact as a whole", |context, _, out| {
        answer_first(context, HeaderId::Contact, out)
    }),
    Variable::new("ctu", "URI of the first Contact; null without one", |context, _, out| {
        let first = context.message.addresses(HeaderId::Contact).next();
        let uri =
            first.and_then(Result::ok).filter(|contact| !contact.is_wildcard()).map(|contact| contact.uri);
        answer_optional(uri, out)
    }),
    Variable::new("cts", "1 when the first Contact is *, else 0", |context, _, _| {
        let first = context.message.addresses(HeaderId::Contact).next();
        Reading::Integer(i64::from(
            first.is_some_and(|contact| contact.is_ok_and(|contact| contact.is_wildcard())),
        ))
    })
    .yields(Yields::Integer),
    Variable::new("ua", "User-Agent", |context, _, out| answer_first(context, HeaderId::UserAgent, out)),
    Variable::new("rb", "body; empty when there is none", |context, _, out| {
        answer_text(context.message.body(), out)
    })
    .yields(Yields::Text),
    Variable::new("bs", "size of the body", |context, _, _| size(context.message.body()))
        .yields(Yields::Integer),
    Variable::new("mb", "the message", |context, _, out| answer_text(context.message.bytes(), out))
        .yields(Yields::Text),
    Variable::new("mbu", "the message with the changes made to it so far", updated).yields(Yields::Text),
    Variable::new("ml", "size of the message", |context, _, _| size(context.message.bytes()))
        .yields(Yields::Integer),
    Variable::new("msg", "part of the message: buf, len, fpart, hdrs, lpart, body, body_len", message_part)
        .key(KeyRule::Word(PART_WORDS)),
];

const PART_WORDS: &[&str] = &["len", "buf", "fpart", "hdrs", "lpart", "body", "body_len"];

fn method(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_optional(context.message.method().ok().map(|method| method.name()), out)
}

/// `$rmid` of a method that has no bit of its own.
const UNKNOWN_METHOD_BIT: u32 = 1 << 19;

fn method_bit(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    let bit = context.message.method().ok().and_then(|method| method.bit());
    Reading::Integer(i64::from(bit.unwrap_or(UNKNOWN_METHOD_BIT)))
}

fn status(context: &Context<'_>) -> Option<i64> {
    context.message.status().map(|status| i64::from(status.code()))
}

/// The value of the first header line of this identity.
fn answer_first(context: &Context<'_>, id: HeaderId, out: &mut Vec<u8>) -> Reading {
    answer_optional(context.message.header(id).map(|header| header.value), out)
}

fn updated(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match write::message(&context.message, &context.edits, out) {
        Ok(()) => Reading::Text,
        Err(_) => Reading::Null,
    }
}

fn message_part(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let Key::Word(word) = subject.key else { return Reading::Null };
    let message = &context.message;
    let bytes = message.bytes();
    match PART_WORDS[word] {
        "len" => size(bytes),
        "buf" => answer_text(bytes, out),
        // The first line and the header lines with the empty line that ends them.
        "fpart" => answer_text(&bytes[..message.body_start()], out),
        "hdrs" => answer_text(message.header_bytes(), out),
        "lpart" => answer_text(&bytes[message.headers_start()..], out),
        "body" => answer_text(message.body(), out),
        _ => size(message.body()),
    }
}

fn size(bytes: &[u8]) -> Reading {
    Reading::Integer(bytes.len() as i64)
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::{INVITE, OPTIONS, PROGRESS, check_reading};

    #[test]
    fn parts_of_the_message_are_what_they_say() {
        let head = OPTIONS.split_once("\r\n").unwrap();
        let rows = [
            ("mb", 0, Some(OPTIONS)),
            ("mbu", 1, Some(INVITE)),
            ("msg(buf)", 2, Some(PROGRESS)),
            ("msg(fpart)", 0, Some(OPTIONS)),
            ("msg(lpart)", 0, Some(head.1)),
            ("msg(hdrs)", 0, head.1.strip_suffix("\r\n")),
            ("ctu", 0, None),
            ("ctu", 1, Some("sip:alice@127.0.0.1:17070")),
            ("cts", 0, Some("0")),
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
