//! Module `corex`: small questions and settings that stand beside the core: `has_ruri_user`, `is_incoming`, …

use crate::bindings::functions::branches::append_branch;
use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Module, ModuleFunction, Outcome, ParameterKind, RouteSet};
use crate::bindings::variables::network::listener_at;
use crate::routing::context::{Context, Target};
use crate::sip::HeaderId;
use crate::sip::uri::Uri;
use crate::telemetry::log::Level;

/// Module `corex`.
pub struct Corex;

const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const INTEGER: &[ParameterKind] = &[ParameterKind::Integer];
const TWO_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text];

type Row = ModuleFunction<Corex>;

impl Module for Corex {
    const NAME: &'static str = "corex";
    const DOCUMENTATION: &'static str = "small functions that extend the core";
    const FUNCTIONS: &'static [Row] = &[
        Row::new("has_ruri_user", "true when the Request-URI has a user part", &[], |_, context, _| {
            context.parsed_request_uri().is_some_and(|uri| uri.user.is_some()).into()
        }),
        Row::new("has_user_agent", "true when User-Agent is there and not empty", &[], |_, context, _| {
            let agent = context.message.header(HeaderId::UserAgent);
            agent.is_some_and(|header| !header.value.is_empty()).into()
        }),
        Row::new(
            "is_incoming",
            "true: every message that routes are run on came from the network",
            &[],
            |_, _, _| Outcome::TRUE,
        ),
        append_branch_row(&[], "adds the current Request-URI as a branch"),
        append_branch_row(TEXT, "adds a URI as a branch"),
        append_branch_row(TWO_TEXTS, "adds a URI as a branch with a preference from 0 to 1"),
        Row::new(
            "send",
            "sends the message as received to its next hop; no Via is added, replies bypass this server",
            &[],
            |_, context, _| {
                let sent = context.send_as_received(Target::NextHop);
                outcome(context, "send", sent)
            },
        )
        .alias(&["send_udp"]),
        Row::new(
            "send",
            "sends the message as received to host:port; no Via is added, replies bypass this server",
            TEXT,
            |_, context, arguments| {
                let written = [b"sip:", arguments[0].text()].concat();
                let sent = match context.parse_uri(&written) {
                    Ok(Uri { host: Some(host), port, .. }) => context
                        .send_as_received(Target::Host(host, port))
                        .map_err(|failure| failure.to_string()),
                    _ => Err("this is not host:port".to_string()),
                };
                outcome(context, "send", sent)
            },
        )
        .alias(&["send_udp"]),
        Row::new(
            "send_data",
            "sends a text to where a URI leads: uri, text",
            TWO_TEXTS,
            |_, context, arguments| {
                let sent = context.send_bytes(arguments[0].text(), arguments[1].text());
                outcome(context, "send_data", sent)
            },
        ),
        Row::new("setxflag", "sets extended flag 0…63 of the message", INTEGER, |_, context, arguments| {
            with_extra_flag(arguments, |mask| {
                context.extra_flags |= mask;
                true
            })
        }),
        Row::new(
            "resetxflag",
            "resets extended flag 0…63 of the message",
            INTEGER,
            |_, context, arguments| {
                with_extra_flag(arguments, |mask| {
                    context.extra_flags &= !mask;
                    true
                })
            },
        ),
        Row::new(
            "isxflagset",
            "true when extended flag 0…63 of the message is set",
            INTEGER,
            |_, context, arguments| with_extra_flag(arguments, |mask| context.extra_flags & mask != 0),
        ),
        Row::new(
            "set_send_socket",
            "sends from this socket: transport:address:port",
            TEXT,
            |_, context, arguments| {
                let listener = listener_at(&context.settings().listeners, arguments[0].text());
                force(context, listener, arguments[0].text())
            },
        ),
        Row::new(
            "set_send_socket_name",
            "sends from the socket of this name",
            TEXT,
            |_, context, arguments| {
                let listener = listener_named(context, arguments[0].text());
                force(context, listener, arguments[0].text())
            },
        ),
        Row::new("is_socket_name", "true when a socket has this name", TEXT, |_, context, arguments| {
            listener_named(context, arguments[0].text()).is_some().into()
        }),
    ];

    fn new() -> Self {
        Corex
    }
}

fn with_extra_flag(arguments: &[Argument<'_>], apply: impl FnOnce(u64) -> bool) -> Outcome {
    let number = arguments[0].integer().and_then(|number| u32::try_from(number).ok());
    number.and_then(|number| 1u64.checked_shl(number)).is_some_and(apply).into()
}

const fn append_branch_row(parameters: &'static [ParameterKind], documentation: &'static str) -> Row {
    Row::new("append_branch", documentation, parameters, |_, context, arguments| {
        let appended = append_branch(context, arguments);
        outcome(context, "append_branch", appended.map_err(|refusal| refusal.0))
    })
    .routes(RouteSet::REQUEST)
}

fn listener_named(context: &Context<'_>, name: &[u8]) -> Option<u16> {
    let mut listeners = context.settings().listeners.iter();
    let index = listeners.position(|listener| listener.name.as_deref().map(str::as_bytes) == Some(name))?;
    u16::try_from(index).ok()
}

fn force(context: &mut Context<'_>, listener: Option<u16>, written: &[u8]) -> Outcome {
    if listener.is_none() {
        let written = written.escape_ascii();
        context.log(Level::Error, format_args!("no listen socket \"{written}\""));
        return Outcome::FALSE;
    }
    context.forced_listener = listener;
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Corex>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// Whether a condition holds, after some statements.
    fn holds(statements: &str, condition: &str, message: &str) -> bool {
        let script = format!(
            "listen=udp:127.0.0.1:17060\nlisten=udp:127.0.0.1:17061 name \"second\"\nloadmodule \"corex.so\"\nrequest_route {{ {statements} if ({condition}) {{ log(2, \"@@yes@@\"); }} }}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(message);
        stage.log().contains("@@yes@@")
    }

    #[test]
    fn questions_are_answered() {
        let agent = REQUEST.replace("From:", "User-Agent: x\r\nFrom:");
        let empty_agent = REQUEST.replace("From:", "User-Agent:\r\nFrom:");
        let rows = [
            ("", "has_ruri_user()", REQUEST, true),
            ("$rU = $null;", "has_ruri_user()", REQUEST, false),
            ("", "has_user_agent()", REQUEST, false),
            ("", "has_user_agent()", &agent, true),
            ("", "has_user_agent()", &empty_agent, false),
            ("", "is_incoming()", REQUEST, true),
            ("", "is_socket_name(\"second\")", REQUEST, true),
            ("", "is_socket_name(\"third\")", REQUEST, false),
            ("set_send_socket_name(\"second\");", "$fs == \"udp:127.0.0.1:17061\"", REQUEST, true),
            ("set_send_socket(\"udp:127.0.0.1:17061\");", "$fsn == \"second\"", REQUEST, true),
            ("set_send_socket(\"udp:127.0.0.1:9\");", "$fs == $null", REQUEST, true),
            ("setxflag(40);", "isxflagset(40)", REQUEST, true),
            ("setxflag(40);", "isxflagset(8)", REQUEST, false),
            ("setxflag(40); resetxflag(40);", "isxflagset(40)", REQUEST, false),
            ("setxflag(64);", "isxflagset(0)", REQUEST, false),
            ("append_branch();", "$branch(count) == 1 && $branch(uri) == $ru", REQUEST, true),
            ("$du = \"sip:d\"; setflag(1); append_branch();", "$branch(dst_uri) == \"sip:d\"", REQUEST, true),
            (
                "append_branch(\"sip:x@y\", \"0.5\");",
                "$branch(uri) == \"sip:x@y\" && $branch(q) == 500",
                REQUEST,
                true,
            ),
            ("append_branch(\"a b\");", "$branch(count) == $null", REQUEST, true),
            ("append_branch(\"sip:x@y\", \"2\");", "$branch(count) == $null", REQUEST, true),
            ("set_send_socket_name(\"third\");", "$fs == $null", REQUEST, true),
        ];
        for (statements, condition, message, expected) in rows {
            assert_eq!(holds(statements, condition, message), expected, "{statements} {condition}");
        }
    }

    #[test]
    fn messages_are_sent_as_they_came() {
        let rows = [
            ("send(\"127.0.0.1:5099\");", Some(("127.0.0.1:5099", REQUEST))),
            ("$du = \"sip:127.0.0.1:5098\"; remove_branch(0); send();", Some(("127.0.0.1:5098", REQUEST))),
            ("send_data(\"sip:127.0.0.1:5097\", \"hello\");", Some(("127.0.0.1:5097", "hello"))),
            ("send(\"a b\");", None),
            ("send_data(\"sip:127.0.0.1;transport=tcp\", \"x\");", None),
        ];
        for (statements, expected) in rows {
            let script = format!("loadmodule \"corex.so\"\nrequest_route {{ {statements} }}");
            let mut stage = ScriptHarness::new(MODULES, &script);
            stage.receive(REQUEST);
            let sent: Vec<_> =
                stage.sent().into_iter().map(|sent| (sent.to.to_string(), sent.text)).collect();
            let expected: Vec<_> =
                expected.iter().map(|(to, text)| (to.to_string(), text.to_string())).collect();
            assert_eq!(sent, expected, "{statements}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Corex>();
    }
}
