//! Values of header fields, one by one, also in lists: `include_hf_value`, `exclude_hf_value`, `assign_hf_value`, …
//!
//! A place is `Name`, `Name[2]` (values are counted from 1 over all fields of the name, negative from the last) or
//! `Name[*]`.

use std::ops::Range;

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome};
use crate::routing::context::Context;
use crate::sip::Message;
use crate::sip::edit::EditError;
use crate::sip::list::ListValues;

/// Which values of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    At(i64),
    All,
}

/// A header value in the message.
struct Value<'m> {
    text: &'m [u8],
    span: Range<usize>,
    /// Its header field, counted from 0 among those of the name.
    field_index: usize,
}

/// A header field that loses values.
struct Field<'m> {
    /// Counted from 0 among those of the name.
    index: usize,
    kept: Vec<&'m [u8]>,
    is_changed: bool,
}

/// Adds a value unless the header lists it; without such a header field one is made.
pub(super) fn include(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (name, value) = (arguments[0].text(), arguments[1].text());
    let is_there = values(&context.message, name).iter().any(|one| one.text.eq_ignore_ascii_case(value));
    if is_there {
        return Outcome::TRUE;
    }
    let added = match context.message.header_named(name, -1) {
        Some(header) if !header.value.is_empty() => {
            let listed = [header.value, b", ", value].concat();
            context.edits.set_value(&context.message, &header, &listed)
        }
        _ => context.edits.add_last(&context.message, name, value),
    };
    outcome(context, "include_hf_value", added)
}

/// Takes a value out of every header field that lists it; a field that lists nothing else goes.
pub(super) fn exclude(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (name, excluded) = (arguments[0].text(), arguments[1].text());
    remove_where(context, "exclude_hf_value", name, |_, text| text.eq_ignore_ascii_case(excluded))
}

/// Takes the values of a place away.
pub(super) fn remove(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let Some((name, which)) = place(arguments[0].text()) else {
        return outcome(context, "remove_hf_value", Err(NO_PLACE));
    };
    let count = values(&context.message, name).len();
    let Some(chosen) = chosen(which, count) else { return Outcome::FALSE };
    remove_where(context, "remove_hf_value", name, |index, _| chosen.contains(&index))
}

/// Puts another value in place of those of a place.
pub(super) fn assign(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let Some((name, which)) = place(arguments[0].text()) else {
        return outcome(context, "assign_hf_value", Err(NO_PLACE));
    };
    let value = arguments[1].text();
    if value.is_empty() || value.iter().any(u8::is_ascii_control) {
        return outcome(context, "assign_hf_value", Err("the value is empty or contains control characters"));
    }
    let found = values(&context.message, name);
    let Some(chosen) = chosen(which, found.len()) else { return Outcome::FALSE };
    let pieces: Vec<_> = found[chosen].iter().map(|one| (one.span.clone(), value)).collect();
    let assigned = context.edits.replace_each(&context.message, pieces);
    outcome(context, "assign_hf_value", assigned)
}

const NO_PLACE: &str = "write Name, Name[1], Name[-1] or Name[*]";

fn place(written: &[u8]) -> Option<(&[u8], Which)> {
    let written = written.trim_ascii();
    let Some(inner) = written.strip_suffix(b"]") else {
        return (!written.is_empty()).then_some((written, Which::At(1)));
    };
    let at = memchr::memchr(b'[', inner)?;
    let which = match inner[at + 1..].trim_ascii() {
        b"*" => Which::All,
        number => {
            let number = std::str::from_utf8(number).ok()?.trim_start_matches('+').parse().ok()?;
            if number == 0 {
                return None;
            }
            Which::At(number)
        }
    };
    (at > 0).then_some((&inner[..at], which))
}

/// Indexes among `count` values; `None` where there is no such value.
fn chosen(which: Which, count: usize) -> Option<Range<usize>> {
    match which {
        Which::All => (count > 0).then_some(0..count),
        Which::At(number) => {
            let index = match usize::try_from(number) {
                Ok(number) => number - 1,
                Err(_) => count.checked_sub(usize::try_from(number.unsigned_abs()).ok()?)?,
            };
            (index < count).then_some(index..index + 1)
        }
    }
}

fn values<'m>(message: &Message<'m>, name: &[u8]) -> Vec<Value<'m>> {
    let mut values = Vec::new();
    for (field_index, header) in message.headers_named(name).enumerate() {
        for text in ListValues::new(header.value) {
            if let Some(span) = message.span_of(text) {
                values.push(Value { text, span, field_index });
            }
        }
    }
    values
}

/// Writes the header fields that lose values again, or removes them. False where nothing is to be removed.
fn remove_where(
    context: &mut Context<'_>,
    name: &str,
    header_name: &[u8],
    is_removed: impl Fn(usize, &[u8]) -> bool,
) -> Outcome {
    let found = values(&context.message, header_name);
    let mut removed = 0;
    let mut fields: Vec<Field<'_>> = Vec::new();
    for (index, value) in found.iter().enumerate() {
        if fields.last().is_none_or(|field| field.index != value.field_index) {
            fields.push(Field { index: value.field_index, kept: Vec::new(), is_changed: false });
        }
        let Some(field) = fields.last_mut() else { continue };
        if is_removed(index, value.text) {
            removed += 1;
            field.is_changed = true;
        } else {
            field.kept.push(value.text);
        }
    }
    for field in fields.iter().filter(|field| field.is_changed) {
        if let Err(error) = rewrite(context, header_name, field.index, &field.kept) {
            return outcome(context, name, Err(error));
        }
    }
    (removed > 0).into()
}

fn rewrite(
    context: &mut Context<'_>,
    name: &[u8],
    field_index: usize,
    kept: &[&[u8]],
) -> Result<(), EditError> {
    let Some(header) = context.message.headers_named(name).nth(field_index) else {
        return Err(EditError::ForeignHeader);
    };
    match kept {
        [] => context.edits.remove(&context.message, &header),
        kept => context.edits.set_value(&context.message, &header, &kept.join(&b", "[..])),
    }
}

#[cfg(test)]
mod tests {
    use super::super::TextOpsX;
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::ScriptHarness;

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOpsX>()];
    const REQUEST: &str = "INFO sip:bob@127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 INFO\r\nX-Foo: 1\r\n\
        Supported: path, 100rel\r\nSupported: timer\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn places_are_read() {
        let rows: [(&str, Option<(&str, Which)>); 9] = [
            ("A", Some(("A", Which::At(1)))),
            ("A[2]", Some(("A", Which::At(2)))),
            ("A[+2]", Some(("A", Which::At(2)))),
            ("A[-1]", Some(("A", Which::At(-1)))),
            ("A[*]", Some(("A", Which::All))),
            ("A[0]", None),
            ("A[x]", None),
            ("[1]", None),
            ("", None),
        ];
        for (written, expected) in rows {
            let expected = expected.map(|(name, which)| (name.as_bytes(), which));
            assert_eq!(place(written.as_bytes()), expected, "{written}");
        }
    }

    #[test]
    fn values_are_included_excluded_assigned_and_removed() {
        let rows = [
            ("include_hf_value(\"Supported\", \"PATH\")", "1 path, 100rel,timer"),
            ("include_hf_value(\"Supported\", \"gruu\")", "1 path, 100rel,timer, gruu"),
            ("include_hf_value(\"X-New\", \"a\")", "1 path, 100rel,timer"),
            ("include_hf_value(\"Supported\", \"a\\r\\nb\")", "-1 path, 100rel,timer"),
            ("exclude_hf_value(\"Supported\", \"path\")", "1 100rel,timer"),
            ("exclude_hf_value(\"Supported\", \"TIMER\")", "1 path, 100rel"),
            ("exclude_hf_value(\"Supported\", \"gruu\")", "-1 path, 100rel,timer"),
            ("remove_hf_value(\"Supported\")", "1 100rel,timer"),
            ("remove_hf_value(\"Supported[-1]\")", "1 path, 100rel"),
            ("remove_hf_value(\"Supported[2]\")", "1 path,timer"),
            ("remove_hf_value(\"Supported[*]\")", "1 <null>"),
            ("remove_hf_value(\"Supported[4]\")", "-1 path, 100rel,timer"),
            ("remove_hf_value(\"Supported[0]\")", "-1 path, 100rel,timer"),
            ("assign_hf_value(\"Supported[2]\", \"gruu\")", "1 path, gruu,timer"),
            ("assign_hf_value(\"Supported[*]\", \"x\")", "1 x, x,x"),
            ("assign_hf_value(\"X-None\", \"x\")", "-1 path, 100rel,timer"),
            ("assign_hf_value(\"Supported\", \"a\\r\\nVia: b\")", "-1 path, 100rel,timer"),
        ];
        for (call, expected) in rows {
            let statements = format!("$var(r) = {call}; msg_apply_changes();");
            let told = ScriptHarness::told(
                MODULES,
                "loadmodule \"textopsx.so\"",
                &statements,
                "$var(r) $(hdr(Supported)[*])",
                REQUEST,
            );
            assert_eq!(told, expected, "{call}");
        }
    }
}
