//! Module `siputils`: questions about messages, URIs and numbers: `is_request`, `has_totag`, `is_numeric`, `uri_param`, …

use crate::core::context::Context;
use crate::core::functions::outcome;
use crate::core::module::{Argument, Module, ModuleFunction, Outcome, ParameterKind, RouteSet};
use crate::core::uri_draft::is_uri_octet;
use crate::core::variables::request::{default_port, replace_request_uri};
use crate::sip::uri::{Scheme, Uri};
use crate::sip::{HeaderId, Message};

/// Module `siputils`.
pub struct SipUtils;

const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const TWO_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text];

impl Module for SipUtils {
    const NAME: &'static str = "siputils";
    const DOCUMENTATION: &'static str = "asks about messages, URIs and numbers";
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new("is_request", "true for a request", &[], |_, context, _| {
            context.message.is_request().into()
        }),
        ModuleFunction::new("is_reply", "true for a reply", &[], |_, context, _| {
            (!context.message.is_request()).into()
        }),
        ModuleFunction::new(
            "has_totag",
            "true when To has a tag: the request belongs to a dialog",
            &[],
            |_, context, _| context.message.to().is_ok_and(|to| to.tag().is_some()).into(),
        ),
        ModuleFunction::new(
            "is_first_hop",
            "true when nobody stands between the sender and this server",
            &[],
            |_, context, _| is_first_hop(context).into(),
        ),
        ModuleFunction::new("is_numeric", "true when the text is digits only", TEXT, |_, _, arguments| {
            is_all(arguments[0].text(), u8::is_ascii_digit).into()
        }),
        ModuleFunction::new(
            "is_alphanum",
            "true when the text is letters and digits only",
            TEXT,
            |_, _, arguments| is_all(arguments[0].text(), u8::is_ascii_alphanumeric).into(),
        ),
        ModuleFunction::new(
            "is_alphanumex",
            "true when the text is letters, digits and bytes of the second text only",
            TWO_TEXTS,
            |_, _, arguments| {
                let extra = arguments[1].text();
                is_all(arguments[0].text(), |byte| byte.is_ascii_alphanumeric() || extra.contains(byte))
                    .into()
            },
        ),
        ModuleFunction::new(
            "is_tel_number",
            "true for digits, with or without a + before them",
            TEXT,
            |_, _, arguments| {
                let text = arguments[0].text();
                is_all(text.strip_prefix(b"+").unwrap_or(text), |byte| byte.is_ascii_digit()).into()
            },
        ),
        ModuleFunction::new("is_e164", "true for + and 3 to 15 digits", TEXT, |_, _, arguments| {
            is_e164(arguments[0].text()).into()
        }),
        ModuleFunction::new(
            "is_uri_user_e164",
            "true when the user part of the URI is + and 3 to 15 digits",
            TEXT,
            |_, _, arguments| {
                let uri = Uri::parse(arguments[0].text());
                uri.is_ok_and(|uri| uri.user.is_some_and(is_e164)).into()
            },
        ),
        ModuleFunction::new(
            "is_uri",
            "true when the text is a URI with a host, or a tel URI",
            TEXT,
            |_, _, arguments| {
                Uri::parse(arguments[0].text())
                    .is_ok_and(|uri| uri.host.is_some() || uri.user.is_some())
                    .into()
            },
        ),
        ModuleFunction::new(
            "uri_param",
            "true when the Request-URI has this parameter",
            TEXT,
            |_, context, arguments| {
                with_request_uri(context, |uri| uri.params.find(arguments[0].text()).is_some())
            },
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "uri_param",
            "true when the Request-URI has this parameter with this value",
            TWO_TEXTS,
            |_, context, arguments| {
                with_request_uri(context, |uri| {
                    let value =
                        uri.params.find(arguments[0].text()).map(|param| param.text().unwrap_or_default());
                    value == Some(arguments[1].text())
                })
            },
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new("add_uri_param", "adds name=value to the Request-URI", TEXT, Self::add_uri_param)
            .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "tel2sip",
            "makes sip:number@host;user=phone of a tel Request-URI",
            TEXT,
            Self::tel_to_sip,
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "cmp_uri",
            "true when two URIs are equal (RFC 3261 19.1.4)",
            TWO_TEXTS,
            |_, _, arguments| {
                compare(arguments, |one, other| is_same_place(one, other) && is_same_params(one, other))
            },
        ),
        ModuleFunction::new(
            "cmp_aor",
            "true when user and host of two URIs are equal",
            TWO_TEXTS,
            |_, _, arguments| compare(arguments, is_same_place),
        ),
    ];

    fn new() -> Self {
        SipUtils
    }
}

impl SipUtils {
    fn add_uri_param(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let param = arguments[0].text();
        let Some(uri) = context.request_uri() else { return Outcome::FALSE };
        if param.is_empty() {
            return Outcome::TRUE;
        }
        if !param.iter().all(|&byte| is_uri_octet(byte) && byte != b'?') {
            return outcome(context, "add_uri_param", Err("this cannot be a parameter"));
        }
        let end = memchr::memchr(b'?', uri).unwrap_or(uri.len());
        let changed = [&uri[..end], b";", param, &uri[end..]].concat();
        let replaced = replace_request_uri(context, &changed);
        outcome(context, "add_uri_param", replaced.map_err(|refusal| refusal.0))
    }

    fn tel_to_sip(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Some(Ok(uri)) = context.request_uri().map(Uri::parse) else { return Outcome::FALSE };
        let (Scheme::Tel, Some(number)) = (uri.scheme, uri.user) else { return Outcome::TRUE };
        // RFC 3261 19.1.6: visual separators do not go over.
        let number: Vec<u8> = number.iter().copied().filter(|byte| !b"-.()".contains(byte)).collect();
        let changed = [b"sip:", number.as_slice(), b"@", arguments[0].text(), b";user=phone"].concat();
        let replaced = replace_request_uri(context, &changed);
        outcome(context, "tel2sip", replaced.map_err(|refusal| refusal.0))
    }
}

/// A request with one Via; a reply whose topmost Record-Route is this server, unless it came from here.
fn is_first_hop(context: &Context<'_>) -> bool {
    let message: &Message<'_> = &context.message;
    if message.is_request() {
        return message.vias().count() == 1;
    }
    let route = message.addresses(HeaderId::RecordRoute).next().and_then(Result::ok);
    let Some(Ok(uri)) = route.map(|route| Uri::parse(route.uri)) else { return false };
    let host = uri.host.unwrap_or_default();
    let source = context.circumstances().source;
    let came_from_it =
        uri.address() == Some(source.ip()) && uri.port.unwrap_or(default_port(&uri)) == source.port();
    context.settings().is_myself(host, uri.port.unwrap_or(0)) && !came_from_it
}

fn is_all(text: &[u8], fits: impl Fn(&u8) -> bool) -> bool {
    !text.is_empty() && text.iter().all(fits)
}

fn is_e164(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b"+") else { return false };
    (3..=15).contains(&digits.len()) && is_all(digits, u8::is_ascii_digit)
}

fn with_request_uri(context: &Context<'_>, holds: impl FnOnce(&Uri<'_>) -> bool) -> Outcome {
    match context.request_uri().map(Uri::parse) {
        Some(Ok(uri)) => holds(&uri).into(),
        _ => Outcome::FALSE,
    }
}

fn compare(arguments: &[Argument<'_>], is_same: fn(&Uri<'_>, &Uri<'_>) -> bool) -> Outcome {
    match (Uri::parse(arguments[0].text()), Uri::parse(arguments[1].text())) {
        (Ok(one), Ok(other)) => is_same(&one, &other).into(),
        _ => Outcome::FALSE,
    }
}

fn is_same_place(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    let same_host = match (one.host, other.host) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    };
    one.scheme == other.scheme && one.user == other.user && same_host && one.port == other.port
}

/// Parameters in both must agree; user, ttl, method, maddr and transport must not stand in one only.
fn is_same_params(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    const WEIGHTY: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    let agrees = |from: &Uri<'_>, to: &Uri<'_>| {
        from.params.iter().all(|param| match to.params.find(param.name) {
            Some(twin) => {
                let value = |text: Option<&[u8]>| text.unwrap_or_default().to_ascii_lowercase();
                value(twin.text()) == value(param.text())
            }
            None => !WEIGHTY.iter().any(|name| param.is_named(name)),
        })
    };
    agrees(one, other) && agrees(other, one) && one.headers == other.headers && one.password == other.password
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::module::{ModuleEntry, ValueRef};
    use crate::core::stage::{Stage, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<SipUtils>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// Whether a condition holds, after some statements.
    fn holds(statements: &str, condition: &str, message: &str) -> bool {
        let script = format!(
            "loadmodule \"siputils.so\"\nrequest_route {{ {statements} if ({condition}) {{ log(2, \"@@yes@@\"); }} }}"
        );
        let mut stage = Stage::new(MODULES, &script);
        stage.receive(message);
        stage.log().contains("@@yes@@")
    }

    #[test]
    fn messages_are_asked_about() {
        let in_dialog = REQUEST.replace("<sip:bob@c.com>", "<sip:bob@c.com>;tag=9");
        let second_hop = REQUEST.replace("From:", "Via: SIP/2.0/UDP h;branch=z9hG4bKb\r\nFrom:");
        let params = REQUEST.replace(":17060 SIP", ":17060;a=1;b SIP");
        let rows = [
            ("is_request()", REQUEST, true),
            ("is_reply()", REQUEST, false),
            ("has_totag()", REQUEST, false),
            ("has_totag()", &in_dialog, true),
            ("is_first_hop()", REQUEST, true),
            ("is_first_hop()", &second_hop, false),
            ("is_numeric(\"123\")", REQUEST, true),
            ("is_numeric(\"12a\")", REQUEST, false),
            ("is_numeric(\"\")", REQUEST, false),
            ("is_numeric(\"$rU\")", REQUEST, false),
            ("is_alphanum(\"$rU\")", REQUEST, true),
            ("is_alphanum(\"a-b\")", REQUEST, false),
            ("is_alphanumex(\"a-b\", \"-_\")", REQUEST, true),
            ("is_tel_number(\"+4930123\")", REQUEST, true),
            ("is_tel_number(\"+49-30\")", REQUEST, false),
            ("is_tel_number(\"+\")", REQUEST, false),
            ("is_uri_user_e164(\"sip:+4930123@x\")", REQUEST, true),
            ("is_uri(\"sip:x\")", REQUEST, true),
            ("is_uri(\"x\")", REQUEST, false),
            ("uri_param(\"a\")", &params, true),
            ("uri_param(\"b\")", &params, true),
            ("uri_param(\"c\")", &params, false),
            ("uri_param(\"a\", \"1\")", &params, true),
            ("uri_param(\"a\", \"2\")", &params, false),
            ("cmp_aor(\"sip:a@B;x=1\", \"sip:a@b\")", REQUEST, true),
        ];
        for (condition, message, expected) in rows {
            assert_eq!(holds("", condition, message), expected, "{condition}");
        }
    }

    #[test]
    fn the_request_uri_is_changed() {
        let rows = [
            ("add_uri_param(\"x=1\");", "$ru == \"sip:bob@127.0.0.1:17060;x=1\""),
            ("$ru = \"sip:a@b?s=1\"; add_uri_param(\"x\");", "$ru == \"sip:a@b;x?s=1\""),
            ("add_uri_param(\"a b\");", "$ru == \"sip:bob@127.0.0.1:17060\""),
            ("$ru = \"tel:+49-30\"; tel2sip(\"h.com\");", "$ru == \"sip:+4930@h.com;user=phone\""),
        ];
        for (statements, condition) in rows {
            assert!(holds(statements, condition, REQUEST), "{statements} {condition}");
        }
    }

    #[test]
    fn uris_are_compared_as_the_rfc_says() {
        let rows = [
            ("sip:alice@a.com", "sip:alice@A.COM", true),
            ("sip:alice@a.com", "sip:Alice@a.com", false),
            ("sip:a.com", "sip:a.com:5060", false),
            ("sip:alice@a.com;transport=TCP", "SIP:alice@a.com;Transport=tcp", true),
            ("sip:alice@a.com;transport=udp", "sip:alice@a.com", false),
            ("sip:alice@a.com;newparam=5", "sip:alice@a.com", true),
            ("sip:alice@a.com;security=on", "sip:alice@a.com;security=off", false),
            ("sip:alice@a.com?Subject=x", "sip:alice@a.com", false),
            ("sip:alice@a.com", "tel:alice", false),
            ("not a uri", "not a uri", false),
        ];
        for (one, other, expected) in rows {
            let text = |text: &'static str| Argument::Value(ValueRef::Text(text.as_bytes()));
            let outcome = compare(&[text(one), text(other)], |one, other| {
                is_same_place(one, other) && is_same_params(one, other)
            });
            assert_eq!(outcome == Outcome::TRUE, expected, "{one} and {other}");
        }
    }

    #[test]
    fn global_numbers_are_known() {
        let rows = [
            ("+123", true),
            ("+123456789012345", true),
            ("+12", false),
            ("+1234567890123456", false),
            ("123", false),
            ("+12a4", false),
            ("", false),
        ];
        for (text, expected) in rows {
            assert_eq!(is_e164(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<SipUtils>();
    }
}
