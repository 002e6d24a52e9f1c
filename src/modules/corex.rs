//! Module `corex`: small questions and settings that stand beside the core: `has_ruri_user`, `is_incoming`, …

use crate::core::context::Context;
use crate::core::log::Level;
use crate::core::module::{Module, ModuleFunction, Outcome, ParameterKind};
use crate::core::variables::network::listener_at;
use crate::sip::HeaderId;
use crate::sip::uri::Uri;

/// Module `corex`.
pub struct Corex;

const TEXT: &[ParameterKind] = &[ParameterKind::Text];

type Row = ModuleFunction<Corex>;

impl Module for Corex {
    const NAME: &'static str = "corex";
    const DOCUMENTATION: &'static str = "small questions and settings that stand beside the core";
    const FUNCTIONS: &'static [Row] = &[
        Row::new("has_ruri_user", "true when the Request-URI has a user part", &[], |_, context, _| {
            let uri = context.request_uri().map(Uri::parse);
            matches!(uri, Some(Ok(uri)) if uri.user.is_some()).into()
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
        Row::new(
            "set_send_socket",
            "sends by this socket: transport:address:port",
            TEXT,
            |_, context, arguments| {
                let listener = listener_at(&context.settings().listeners, arguments[0].text());
                force(context, listener, arguments[0].text())
            },
        ),
        Row::new(
            "set_send_socket_name",
            "sends by the socket of this name",
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

fn listener_named(context: &Context<'_>, name: &[u8]) -> Option<u16> {
    let mut listeners = context.settings().listeners.iter();
    let index = listeners.position(|listener| listener.name.as_deref().map(str::as_bytes) == Some(name))?;
    u16::try_from(index).ok()
}

fn force(context: &mut Context<'_>, listener: Option<u16>, written: &[u8]) -> Outcome {
    if listener.is_none() {
        let written = written.escape_ascii();
        context.log(Level::Error, format_args!("no socket \"{written}\" is listened on"));
        return Outcome::FALSE;
    }
    context.forced_listener = listener;
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::module::ModuleEntry;
    use crate::core::stage::{Stage, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Corex>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// Whether a condition holds, after some statements.
    fn holds(statements: &str, condition: &str, message: &str) -> bool {
        let script = format!(
            "listen=udp:127.0.0.1:17060\nlisten=udp:127.0.0.1:17061 name \"second\"\nloadmodule \"corex.so\"\nrequest_route {{ {statements} if ({condition}) {{ log(2, \"@@yes@@\"); }} }}"
        );
        let mut stage = Stage::new(MODULES, &script);
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
            ("set_send_socket_name(\"third\");", "$fs == $null", REQUEST, true),
        ];
        for (statements, condition, message, expected) in rows {
            assert_eq!(holds(statements, condition, message), expected, "{statements} {condition}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Corex>();
    }
}
