//! From and To: `$fu`, `$fU`, `$fd`, `$fn`, `$ft`, `$tu`, `$tU`, …
//!
//! An assignment is an edit of the message to be sent: the value read stays the one received until the changes are
//! applied (`msg_apply_changes()`). Assignments to several parts go together: `$fU` then `$fd` changes both.

use std::borrow::Cow;

use crate::script::catalog::Yields;
use crate::script::host::{Reading, Refusal, ValueRef};
use crate::sip::HeaderId;
use crate::sip::name_addr::NameAddr;

use super::Variable;
use crate::routing::context::Context;
use crate::sip::uri_draft::{UnfitPart, UriDraft, is_uri_octet};
use crate::state::value::answer_optional;

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("fu", "URI of From", |context, _, out| answer_optional(uri(context, FROM), out))
        .alias(&["from"])
        .writable(|context, _, value| set_uri(context, FROM, value)),
    Variable::new("fU", "user part of From", |context, _, out| answer_optional(user(context, FROM), out))
        .alias(&["from.user"])
        .writable(|context, _, value| set_user(context, FROM, value)),
    Variable::new("fd", "host of From", |context, _, out| answer_optional(host(context, FROM), out))
        .alias(&["from.domain"])
        .writable(|context, _, value| set_host(context, FROM, value)),
    Variable::new("fn", "display name of From, quotes kept", |context, _, out| {
        answer_optional(address(context, FROM).and_then(|from| from.display), out)
    })
    .writable(|context, _, value| set_display(context, FROM, value)),
    Variable::new("ft", "tag of From", |context, _, out| {
        answer_optional(address(context, FROM).and_then(|from| from.tag()), out)
    }),
    Variable::new("ful", "size of the URI of From", |context, _, _| size(uri(context, FROM)))
        .yields(Yields::Integer),
    Variable::new("fUl", "size of the user part of From", |context, _, _| size(user(context, FROM)))
        .yields(Yields::Integer),
    Variable::new("tu", "URI of To", |context, _, out| answer_optional(uri(context, TO), out))
        .alias(&["to"])
        .writable(|context, _, value| set_uri(context, TO, value)),
    Variable::new("tU", "user part of To", |context, _, out| answer_optional(user(context, TO), out))
        .alias(&["to.user"])
        .writable(|context, _, value| set_user(context, TO, value)),
    Variable::new("td", "host of To", |context, _, out| answer_optional(host(context, TO), out))
        .alias(&["to.domain"])
        .writable(|context, _, value| set_host(context, TO, value)),
    Variable::new("tn", "display name of To, quotes kept", |context, _, out| {
        answer_optional(address(context, TO).and_then(|to| to.display), out)
    })
    .writable(|context, _, value| set_display(context, TO, value)),
    Variable::new("tt", "tag of To; null outside of dialogs", |context, _, out| {
        answer_optional(address(context, TO).and_then(|to| to.tag()), out)
    }),
    Variable::new("tts", "1 when To has a tag, else 0", |context, _, _| {
        Reading::Integer(i64::from(address(context, TO).is_some_and(|to| to.tag().is_some())))
    })
    .yields(Yields::Integer),
    Variable::new("tul", "size of the URI of To", |context, _, _| size(uri(context, TO)))
        .yields(Yields::Integer),
    Variable::new("tUl", "size of the user part of To", |context, _, _| size(user(context, TO)))
        .yields(Yields::Integer),
];

const FROM: HeaderId = HeaderId::From;
const TO: HeaderId = HeaderId::To;

fn address<'m>(context: &Context<'m>, id: HeaderId) -> Option<NameAddr<'m>> {
    context.message.address(id).ok()
}

fn uri<'m>(context: &Context<'m>, id: HeaderId) -> Option<&'m [u8]> {
    address(context, id).map(|address| address.uri)
}

fn user<'m>(context: &Context<'m>, id: HeaderId) -> Option<&'m [u8]> {
    context.parse_uri(uri(context, id)?).ok()?.subscriber()
}

fn host<'m>(context: &Context<'m>, id: HeaderId) -> Option<&'m [u8]> {
    context.parse_uri(uri(context, id)?).ok()?.host
}

fn size(text: Option<&[u8]>) -> Reading {
    Reading::Integer(text.map_or(0, |text| text.len() as i64))
}

fn set_uri(context: &mut Context<'_>, id: HeaderId, value: ValueRef<'_>) -> Result<(), Refusal> {
    let new = match value {
        ValueRef::Text(text) if !text.is_empty() && text.iter().all(|&byte| is_uri_octet(byte)) => text,
        _ => return Err(Refusal(format!("invalid uri of {}", id.name()))),
    };
    replace_uri(context, id, new)
}

fn set_user(context: &mut Context<'_>, id: HeaderId, value: ValueRef<'_>) -> Result<(), Refusal> {
    change_uri(context, id, |draft| draft.set_user(b"", &text_of(value)))
}

fn set_host(context: &mut Context<'_>, id: HeaderId, value: ValueRef<'_>) -> Result<(), Refusal> {
    change_uri(context, id, |draft| draft.set_host(&text_of(value)))
}

/// The value as text; nothing for null.
fn text_of(value: ValueRef<'_>) -> Cow<'_, [u8]> {
    match value {
        ValueRef::Null => Cow::Borrowed(b""),
        ValueRef::Integer(number) => Cow::Owned(number.to_string().into_bytes()),
        ValueRef::Text(text) => Cow::Borrowed(text),
    }
}

fn change_uri(
    context: &mut Context<'_>,
    id: HeaderId,
    change: impl FnOnce(&mut UriDraft) -> Result<(), UnfitPart>,
) -> Result<(), Refusal> {
    let current = pending_uri(context, id)?;
    let mut draft = UriDraft::parse(&current, context.grammar())
        .map_err(|error| Refusal(format!("{} cannot be changed: {error}", id.name())))?;
    change(&mut draft).map_err(|error| Refusal(error.to_string()))?;
    replace_uri(context, id, &draft.to_bytes())
}

fn present<'m>(context: &Context<'m>, id: HeaderId) -> Result<NameAddr<'m>, Refusal> {
    context.message.address(id).map_err(|error| Refusal(error.to_string()))
}

/// Parameters of a URI without brackets would become those of the header field: brackets are put around it.
fn replace_uri(context: &mut Context<'_>, id: HeaderId, uri: &[u8]) -> Result<(), Refusal> {
    let address = present(context, id)?;
    let span = context.message.span_of(address.uri).ok_or_else(foreign)?;
    let text = if is_bracketed(context, span.start) { uri.to_vec() } else { [b"<", uri, b">"].concat() };
    context.edits.replace(&context.message, span, &text).map_err(|error| Refusal(error.to_string()))?;
    *draft_of(context, id) = Some(uri.to_vec());
    Ok(())
}

fn draft_of<'c>(context: &'c mut Context<'_>, id: HeaderId) -> &'c mut Option<Vec<u8>> {
    match id {
        TO => &mut context.address_drafts.to,
        _ => &mut context.address_drafts.from,
    }
}

/// The URI as it is to be sent: as received, with what the script has changed so far.
fn pending_uri(context: &mut Context<'_>, id: HeaderId) -> Result<Vec<u8>, Refusal> {
    match draft_of(context, id) {
        Some(uri) => Ok(uri.clone()),
        None => Ok(present(context, id)?.uri.to_vec()),
    }
}

fn set_display(context: &mut Context<'_>, id: HeaderId, value: ValueRef<'_>) -> Result<(), Refusal> {
    let address = present(context, id)?;
    let name = display_name(&text_of(value))
        .ok_or_else(|| Refusal(format!("invalid display name of {}", id.name())))?;
    let uri = context.message.span_of(address.uri).ok_or_else(foreign)?;
    let brackets = is_bracketed(context, uri.start);
    let start = match address.display {
        Some(display) => context.message.span_of(display).ok_or_else(foreign)?.start,
        None if brackets => uri.start - 1,
        None => uri.start,
    };
    if !brackets {
        let pending = pending_uri(context, id)?;
        replace_uri(context, id, &pending)?;
    }
    let end = if brackets { uri.start - 1 } else { uri.start };
    let text = if name.is_empty() { name } else { [name.as_slice(), b" "].concat() };
    context.edits.replace(&context.message, start..end, &text).map_err(|error| Refusal(error.to_string()))
}

fn is_bracketed(context: &Context<'_>, uri_start: usize) -> bool {
    context.message.bytes()[..uri_start].last() == Some(&b'<')
}

fn foreign() -> Refusal {
    Refusal("the header field is not one of this message".to_string())
}

/// The name as it can stand in a header field: quoted by the script, words, or quoted here.
fn display_name(text: &[u8]) -> Option<Vec<u8>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~ ".contains(byte);
    if text.iter().any(|&byte| byte < b' ' || byte == 0x7f) {
        return None;
    }
    if is_quoted(text) || text.iter().all(is_word) {
        return Some(text.to_vec());
    }
    let mut quoted = vec![b'"'];
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    Some(quoted)
}

/// Whether the text is one quoted string, with no text before and after it.
fn is_quoted(text: &[u8]) -> bool {
    let [b'"', inside @ .., b'"'] = text else { return false };
    let mut is_escaped = false;
    for &byte in inside {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !is_escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::harness::{INVITE, ScriptHarness};

    #[test]
    fn display_names_are_made_fit() {
        let rows = [
            ("", Some("")),
            ("Alice A", Some("Alice A")),
            ("\"Alice, A\"", Some("\"Alice, A\"")),
            ("Alice, A", Some("\"Alice, A\"")),
            ("a \"b\"", Some("\"a \\\"b\\\"\"")),
            ("\"open", Some("\"\\\"open\"")),
            ("\"a\" <sip:x> \"b\"", Some("\"\\\"a\\\" <sip:x> \\\"b\\\"\"")),
            ("\"end\\\"", Some("\"\\\"end\\\\\\\"\"")),
            ("a\r\nVia: x", None),
        ];
        for (name, expected) in rows {
            let made = display_name(name.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(made.as_deref(), expected, "{name}");
        }
    }

    fn after(statements: &str, text: &str) -> String {
        ScriptHarness::told(&[], "", statements, text, INVITE)
    }

    #[test]
    fn brackets_come_with_whatever_is_changed_first() {
        let bare = INVITE.replacen("\"Alice A\" <sip:alice@dom.com;p=1>", "sip:alice@dom.com", 1);
        let rows = [
            ("$fU = \"al\"; $fn = \"A\";", "From: A <sip:al@dom.com>;tag=1"),
            ("$fn = \"A\"; $fU = \"al\"; $fd = \"h\";", "From: A <sip:al@h>;tag=1"),
            ("$fU = \"al\"; $tU = \"rob\"; $fd = \"h\";", "From: <sip:al@h>;tag=1"),
        ];
        for (statements, expected) in rows {
            let sent = ScriptHarness::told(&[], "", statements, "$mbu", &bare);
            assert!(sent.lines().any(|line| line == expected), "{statements}: {sent}");
        }
    }

    #[test]
    fn assignments_to_header_fields_are_edits_of_what_is_sent() {
        let from = |mbu: &str| {
            let line = mbu.lines().find(|line| line.starts_with("From:")).expect("a From line");
            line.to_string()
        };
        let rows = [
            ("$fu = \"sip:x@y\";", "From: \"Alice A\" <sip:x@y>;tag=1"),
            ("$fU = \"al\";", "From: \"Alice A\" <sip:al@dom.com;p=1>;tag=1"),
            ("$fU = $null;", "From: \"Alice A\" <sip:dom.com;p=1>;tag=1"),
            ("$fd = \"h.com\";", "From: \"Alice A\" <sip:alice@h.com;p=1>;tag=1"),
            ("$fn = \"Al\";", "From: Al <sip:alice@dom.com;p=1>;tag=1"),
            ("$fn = \"A, B\";", "From: \"A, B\" <sip:alice@dom.com;p=1>;tag=1"),
            ("$fn = $null;", "From: <sip:alice@dom.com;p=1>;tag=1"),
            ("$fn = \"Al\"; $fu = \"sip:x@y\";", "From: Al <sip:x@y>;tag=1"),
            ("$fU = \"al\"; $fd = \"h.com\";", "From: \"Alice A\" <sip:al@h.com;p=1>;tag=1"),
            ("$fu = \"sip:x@y\"; $fU = \"z\"; $fn = \"Al\";", "From: Al <sip:z@y>;tag=1"),
            ("$fu = \"sip:x@y\"; $fu = \"a b\"; $fd = \"w\";", "From: \"Alice A\" <sip:x@w>;tag=1"),
            ("$fu = \"a b\";", "From: \"Alice A\" <sip:alice@dom.com;p=1>;tag=1"),
            ("$fn = \"x\\r\\nVia: y\";", "From: \"Alice A\" <sip:alice@dom.com;p=1>;tag=1"),
        ];
        for (statements, expected) in rows {
            assert_eq!(from(&after(statements, "$mbu")), expected, "{statements}");
            assert_eq!(
                after(statements, "$fu"),
                "sip:alice@dom.com;p=1",
                "{statements}: read before it is applied"
            );
        }
    }
}
