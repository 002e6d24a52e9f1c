//! The Request-URI, the destination URI and their parts: `$ru`, `$rU`, `$rd`, `$du`, `$ou`, `$nh(u)`, …
//!
//! Assignments take effect at once: the next reading sees them.

use crate::script::host::{Reading, Refusal, ValueRef};
use crate::sip::uri::{Scheme, Uri};
use crate::sip::via::{Rport, Via};

use super::{Key, KeyRule, Subject, Variable};
use crate::routing::context::Context;
use crate::sip::uri_draft::{UnfitPart, UriDraft, is_uri_octet};
use crate::state::value::{answer_display, answer_optional, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("ru", "Request-URI; null in replies", |context, _, out| {
        answer_optional(context.request_uri(), out)
    })
    .alias(&["ruri"])
    .writable(write_uri),
    Variable::new("rU", "user part of the Request-URI", |context, _, out| {
        user(context, context.request_uri(), out)
    })
    .alias(&["ruri.user"])
    .writable(write_user),
    Variable::new("rd", "host of the Request-URI", |context, _, out| {
        host(context, context.request_uri(), out)
    })
    .alias(&["ruri.domain"])
    .writable(write_host),
    Variable::new("rp", "port of the Request-URI, else the default of its transport", |context, _, _| {
        port(context, context.request_uri())
    })
    .writable(write_port),
    Variable::new(
        "rP",
        "transport of the Request-URI as written, else the default of its scheme",
        |context, _, out| transport(context, context.request_uri(), out),
    ),
    Variable::new("rz", "scheme of the Request-URI", |context, _, out| {
        scheme(context, context.request_uri(), out)
    }),
    Variable::new("rul", "size of the Request-URI", |context, _, _| size(context.request_uri())),
    Variable::new("rUl", "size of the user part of the Request-URI; null in replies", |context, _, _| {
        user_size(context, context.request_uri())
    }),
    Variable::new(
        "du",
        "destination URI: where the request is sent instead of the Request-URI; null when not set",
        |context, _, out| answer_optional(context.destination_uri(), out),
    )
    .alias(&["duri"])
    .writable(write_destination),
    Variable::new("dd", "host of the destination URI", |context, _, out| {
        host(context, context.destination_uri(), out)
    }),
    Variable::new("dp", "port of the destination URI, else the default of its transport", |context, _, _| {
        port(context, context.destination_uri())
    }),
    Variable::new(
        "dP",
        "transport of the destination URI, else the default of its scheme",
        |context, _, out| transport(context, context.destination_uri(), out),
    ),
    Variable::new("ou", "Request-URI as received", |context, _, out| {
        answer_optional(original_uri(context), out)
    })
    .alias(&["ouri"]),
    Variable::new("oU", "user part of the Request-URI as received", |context, _, out| {
        user(context, original_uri(context), out)
    }),
    Variable::new("od", "host of the Request-URI as received", |context, _, out| {
        host(context, original_uri(context), out)
    }),
    Variable::new("op", "port of the Request-URI as received", |context, _, _| {
        port(context, original_uri(context))
    }),
    Variable::new("oP", "transport of the Request-URI as received", |context, _, out| {
        transport(context, original_uri(context), out)
    }),
    Variable::new("oul", "size of the Request-URI as received", |context, _, _| size(original_uri(context))),
    Variable::new("oUl", "size of the user part of the Request-URI as received", |context, _, _| {
        user_size(context, original_uri(context))
    }),
    Variable::new("nh", "next hop: u URI, U user, d host, p port, P transport", next_hop)
        .key(KeyRule::Word(NEXT_HOP_WORDS)),
    Variable::new("rpl", "duri: where a reply goes; null in requests", |context, _, out| {
        if context.message.is_request() { Reading::Null } else { reply_hop("u", context, out) }
    })
    .key(KeyRule::Word(&["duri"])),
];

const NEXT_HOP_WORDS: &[&str] = &["u", "U", "d", "p", "P"];
const PORT_DEFAULT: u16 = 5060;
const PORT_DEFAULT_TLS: u16 = 5061;

/// Changes parts of the Request-URI.
pub fn change_request_uri(
    context: &mut Context<'_>,
    change: impl FnOnce(&mut UriDraft) -> Result<(), UnfitPart>,
) -> Result<(), Refusal> {
    let current = context.request_uri().ok_or_else(no_request)?;
    let mut draft = UriDraft::parse(current, context.grammar())
        .map_err(|error| Refusal(format!("the request-uri cannot be changed: {error}")))?;
    change(&mut draft).map_err(|error| Refusal(error.to_string()))?;
    context.set_request_uri(&draft.to_bytes());
    Ok(())
}

/// Replaces the Request-URI as a whole.
pub fn replace_request_uri(context: &mut Context<'_>, uri: &[u8]) -> Result<(), Refusal> {
    if original_uri(context).is_none() {
        return Err(no_request());
    }
    context.set_request_uri(checked_uri(uri)?);
    Ok(())
}

/// A port as scripts write it.
pub fn parse_port(text: &[u8]) -> Result<u16, UnfitPart> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.filter(|&port| port > 0).ok_or(UnfitPart::Port)
}

/// The port a URI leads to when it names none.
pub fn default_port(uri: &Uri<'_>) -> u16 {
    let is_secure =
        uri.scheme == Scheme::Sips || uri.transport().is_some_and(|name| name.eq_ignore_ascii_case(b"tls"));
    if is_secure { PORT_DEFAULT_TLS } else { PORT_DEFAULT }
}

fn no_request() -> Refusal {
    Refusal("a reply has no request-uri".to_string())
}

/// Only what would break the first line is refused: scripts may want schemes this server does not know.
fn checked_uri(uri: &[u8]) -> Result<&[u8], Refusal> {
    if uri.is_empty() || !uri.iter().all(|&byte| is_uri_octet(byte)) {
        return Err(Refusal(format!("invalid uri \"{}\"", uri.escape_ascii())));
    }
    Ok(uri)
}

fn original_uri<'m>(context: &Context<'m>) -> Option<&'m [u8]> {
    context.message.request_line().map(|line| line.uri)
}

fn parsed<'t>(context: &Context<'_>, uri: Option<&'t [u8]>) -> Option<Uri<'t>> {
    context.parse_uri(uri?).ok()
}

fn user(context: &Context<'_>, uri: Option<&[u8]>, out: &mut Vec<u8>) -> Reading {
    answer_optional(parsed(context, uri).and_then(|uri| uri.subscriber()), out)
}

fn user_size(context: &Context<'_>, uri: Option<&[u8]>) -> Reading {
    match uri {
        Some(uri) => Reading::Integer(
            parsed(context, Some(uri)).and_then(|uri| uri.subscriber()).map_or(0, |user| user.len() as i64),
        ),
        None => Reading::Null,
    }
}

fn host(context: &Context<'_>, uri: Option<&[u8]>, out: &mut Vec<u8>) -> Reading {
    answer_optional(parsed(context, uri).and_then(|uri| uri.host), out)
}

fn port(context: &Context<'_>, uri: Option<&[u8]>) -> Reading {
    match parsed(context, uri) {
        Some(uri) => Reading::Integer(i64::from(uri.port.unwrap_or_else(|| default_port(&uri)))),
        None => Reading::Null,
    }
}

fn transport(context: &Context<'_>, uri: Option<&[u8]>, out: &mut Vec<u8>) -> Reading {
    match parsed(context, uri) {
        Some(uri) => answer_text(uri.transport().unwrap_or(default_transport(&uri)), out),
        None => Reading::Null,
    }
}

fn default_transport(uri: &Uri<'_>) -> &'static [u8] {
    if uri.scheme == Scheme::Sips { b"TLS" } else { b"UDP" }
}

fn scheme(context: &Context<'_>, uri: Option<&[u8]>, out: &mut Vec<u8>) -> Reading {
    let Some(uri) = parsed(context, uri) else { return Reading::Null };
    out.extend(uri.scheme_text.iter().map(u8::to_ascii_lowercase));
    Reading::Text
}

fn size(uri: Option<&[u8]>) -> Reading {
    uri.map_or(Reading::Null, |uri| Reading::Integer(uri.len() as i64))
}

fn next_hop(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let Key::Word(word) = subject.key else { return Reading::Null };
    let word = NEXT_HOP_WORDS[word];
    if !context.message.is_request() {
        return reply_hop(word, context, out);
    }
    let uri = context.destination_uri().or_else(|| context.request_uri());
    match word {
        "u" => answer_optional(uri, out),
        "U" => user(context, uri, out),
        "d" => host(context, uri, out),
        "p" => port(context, uri),
        _ => transport(context, uri, out),
    }
}

/// Where a reply goes: by the second Via (RFC 3261 18.2.2, RFC 3581 4).
fn reply_hop(word: &str, context: &Context<'_>, out: &mut Vec<u8>) -> Reading {
    let Ok(via) = context.message.via(1) else { return Reading::Null };
    let (host, port) = reply_place(&via);
    match word {
        "d" => answer_text(host, out),
        "p" => Reading::Integer(i64::from(port)),
        "P" => answer_lower(via.transport, out),
        "U" => Reading::Null,
        _ => {
            out.extend_from_slice(b"sip:");
            answer_text(host, out);
            answer_display(format_args!(":{port};transport="), out);
            answer_lower(via.transport, out)
        }
    }
}

fn reply_place<'a>(via: &Via<'a>) -> (&'a [u8], u16) {
    let port = match via.rport {
        Rport::Port(port) => port,
        _ => via.port.unwrap_or(PORT_DEFAULT),
    };
    (via.received.unwrap_or(via.host), port)
}

fn answer_lower(text: &[u8], out: &mut Vec<u8>) -> Reading {
    out.extend(text.iter().map(u8::to_ascii_lowercase));
    Reading::Text
}

fn write_uri(context: &mut Context<'_>, _: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    match value {
        ValueRef::Text(uri) => replace_request_uri(context, uri),
        _ => Err(Refusal("a request-uri is text".to_string())),
    }
}

fn write_user(context: &mut Context<'_>, _: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    change_request_uri(context, |draft| match value {
        ValueRef::Null => draft.set_user(b"", b""),
        ValueRef::Integer(number) => draft.set_user(b"", number.to_string().as_bytes()),
        ValueRef::Text(user) => draft.set_user(b"", user),
    })
}

fn write_host(context: &mut Context<'_>, _: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    change_request_uri(context, |draft| match value {
        ValueRef::Text(host) => draft.set_host(host),
        _ => Err(UnfitPart::Host),
    })
}

fn write_port(context: &mut Context<'_>, _: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    change_request_uri(context, |draft| match value {
        ValueRef::Null | ValueRef::Text(b"") => draft.set_port(None),
        ValueRef::Integer(number) => draft.set_port(Some(parse_port(number.to_string().as_bytes())?)),
        ValueRef::Text(text) => draft.set_port(Some(parse_port(text)?)),
    })
}

fn write_destination(context: &mut Context<'_>, _: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    match value {
        ValueRef::Null | ValueRef::Text(b"") => context.set_destination_uri(None),
        ValueRef::Text(uri) => context.set_destination_uri(Some(checked_uri(uri)?)),
        ValueRef::Integer(_) => return Err(Refusal("a destination uri is text".to_string())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::{INVITE, ScriptHarness};

    fn after(statements: &str, text: &str) -> String {
        ScriptHarness::told(&[], "", statements, text, INVITE)
    }

    #[test]
    fn assignments_to_uris_take_effect_at_once() {
        let rows = [
            ("$ru = \"sip:al@h.com:5070\";", "$ru $rU $rd $rp", "sip:al@h.com:5070 al h.com 5070"),
            ("$rU = \"al\";", "$ru", "sip:al:pw@127.0.0.1:17060;transport=udp"),
            ("$rU = 123;", "$rU", "123"),
            ("$rU = $null;", "$ru", "sip:127.0.0.1:17060;transport=udp"),
            ("$rU = \"\";", "$ru", "sip:127.0.0.1:17060;transport=udp"),
            ("$rd = \"h.com\";", "$ru", "sip:bob:pw@h.com:17060;transport=udp"),
            ("$rp = 5070;", "$ru", "sip:bob:pw@127.0.0.1:5070;transport=udp"),
            ("$rp = \"5070\";", "$rp", "5070"),
            ("$rp = $null;", "$ru $rp", "sip:bob:pw@127.0.0.1;transport=udp 5060"),
            ("$ru = \"sips:h.com\";", "$rp $rP $rz", "5061 TLS sips"),
            ("$ru = \"sip:x@h\"; revert_uri();", "$rU", "bob"),
            ("$ru = \"sip:x@h\";", "$ou", "sip:bob:pw@127.0.0.1:17060;transport=udp"),
            (
                "$du = \"sip:1.2.3.4:5080;transport=tcp\";",
                "$du $dd $dp $dP",
                "sip:1.2.3.4:5080;transport=tcp 1.2.3.4 5080 tcp",
            ),
            ("$du = \"sip:1.2.3.4\";", "$nh(u) $nh(p) $nh(P)", "sip:1.2.3.4 5060 UDP"),
            ("$du = \"sip:1.2.3.4\"; $du = $null;", "$du $nh(d)", "<null> 127.0.0.1"),
            // What is refused changes nothing.
            ("$ru = \"a b\";", "$ru", "sip:bob:pw@127.0.0.1:17060;transport=udp"),
            ("$ru = $null;", "$rU", "bob"),
            ("$rU = \"a@b\";", "$rU", "bob"),
            ("$rd = \"\";", "$rd", "127.0.0.1"),
            ("$rp = 70000;", "$rp", "17060"),
            ("$rp = 0;", "$rp", "17060"),
            ("$du = \"sip:x\\r\\nVia: y\";", "$du", "<null>"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after(statements, text), expected, "{statements}");
        }
    }
}
