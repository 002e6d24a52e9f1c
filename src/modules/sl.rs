//! Module `sl`: answers requests without keeping state (RFC 3261 8.2.7).
//!
//! Each answer carries a To tag that retransmissions of the request share. The ACK to a final answer of ours ends
//! here: the engine takes it before the routes are run.

use std::fmt;

use crate::bindings::command::EventRow;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, Outcome, Parameter, ParameterKind, RouteSet,
};
use crate::bindings::planning::Planning;
use crate::routing::context::Context;
use crate::sip::{Method, Status};
use crate::telemetry::counters::{CounterRow, ModuleCounter, ModuleCounters, module_counters};
use crate::telemetry::log::Level;

/// Module `sl`.
pub struct Stateless {
    default_status: Status,
    default_reason: Vec<u8>,
    counters: ModuleCounters,
}

module_counters! {
    Sent = "sl.sent", "answers sent without state";
    Failed = "sl.failed", "answers that could not be sent";
}

const ACK_FILTERED: &str = "sl:filtered-ack";
const STATUS_REASON: &[ParameterKind] = &[ParameterKind::Integer, ParameterKind::Text];

impl Module for Stateless {
    const NAME: &'static str = "sl";
    const DOCUMENTATION: &'static str = "answers requests without keeping state";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::<Self>::integer("default_code", "status of sl_reply_error", |module, code| {
            module.default_status = status_of(code).ok_or_else(|| {
                Diagnostic::mistake(format!("default_code cannot be {code}"))
                    .with_help("a status from 100 to 699")
            })?;
            Ok(())
        })
        .default("500"),
        Parameter::text(
            "default_reason",
            "reason of sl_reply_error, by default that of its status",
            |module, reason| {
                module.default_reason = reason.to_vec();
                Ok(())
            },
        ),
        Parameter::ignored("bind_tm", "transactions are not kept yet, every answer is stateless"),
        Parameter::ignored("rich_redirect", "branches are not added to redirections"),
    ];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        reply_row("sl_send_reply", "answers without state; an empty reason is that of the status"),
        reply_row("send_reply", "answers; an empty reason is that of the status"),
        ModuleFunction::new(
            "sl_reply_error",
            "answers with an error, by default 500",
            &[],
            Self::reply_error,
        )
        .alias(&["send_reply_error"])
        .routes(RouteSet::REQUEST),
    ];
    const COUNTERS: &'static [CounterRow] = Counter::ROWS;
    const EVENTS: &'static [EventRow] = &[EventRow {
        name: ACK_FILTERED,
        documentation: "an ACK to a negative reply of this server has come, which no other route sees",
    }];

    fn new() -> Self {
        Stateless {
            default_status: Status::SERVER_INTERNAL_ERROR,
            default_reason: Vec::new(),
            counters: ModuleCounters::default(),
        }
    }

    fn number_counters(&mut self, counters: ModuleCounters) {
        self.counters = counters;
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        planning.services().ack_absorbed = Some(ACK_FILTERED);
        Ok(())
    }
}

const fn reply_row(name: &'static str, documentation: &'static str) -> ModuleFunction<Stateless> {
    ModuleFunction::new(name, documentation, STATUS_REASON, Stateless::reply).routes(RouteSet::REQUEST)
}

impl Stateless {
    fn reply(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Some(status) = arguments[0].integer().and_then(status_of) else {
            let written = arguments[0].text().escape_ascii();
            return self.fail(context, format_args!("\"{written}\" is not a status code from 100 to 699"));
        };
        let reason = arguments.get(1).map_or(&b""[..], Argument::text);
        self.send(context, status, reason)
    }

    fn reply_error(&self, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
        self.send(context, self.default_status, &self.default_reason)
    }

    fn send(&self, context: &mut Context<'_>, status: Status, reason: &[u8]) -> Outcome {
        let is_ack = context.message.request_line().is_some_and(|line| line.method == Method::Ack);
        if is_ack {
            return self.fail(context, format_args!("an ACK is never answered"));
        }
        // A line end would start a header field of the script's choosing.
        if reason.iter().any(|&byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return self.fail(context, format_args!("the reason phrase contains a line end"));
        }
        let reason = if reason.is_empty() { status.reason().as_bytes() } else { reason };
        match context.reply(status.code(), reason, b"") {
            Ok(()) => {
                context.count(self.counters.id(Counter::Sent));
                Outcome::TRUE
            }
            Err(failure) => self.fail(context, format_args!("{failure}")),
        }
    }

    fn fail(&self, context: &Context<'_>, reason: fmt::Arguments<'_>) -> Outcome {
        context.count(self.counters.id(Counter::Failed));
        context.log(Level::Error, format_args!("could not reply: {reason}"));
        Outcome::FALSE
    }
}

fn status_of(code: i64) -> Option<Status> {
    u16::try_from(code).ok().and_then(Status::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Stateless>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    fn stage(parameters: &str, statement: &str) -> ScriptHarness {
        ScriptHarness::new(
            MODULES,
            &format!("loadmodule \"sl.so\"\n{parameters}request_route {{ {statement}; }}"),
        )
    }

    #[test]
    fn the_first_line_is_that_of_the_script() {
        let rows = [
            ("", "sl_send_reply(\"200\", \"Fine\")", "SIP/2.0 200 Fine"),
            ("", "sl_send_reply(200, \"Fine\")", "SIP/2.0 200 Fine"),
            ("", "$var(c) = 404; sl_send_reply(\"$var(c)\", \"No $rU\")", "SIP/2.0 404 No bob"),
            ("", "send_reply(\"404\", \"\")", "SIP/2.0 404 Not Found"),
            ("", "sl_send_reply(\"486\", \"\")", "SIP/2.0 486 Busy Here"),
            ("", "sl_reply_error()", "SIP/2.0 500 Server Internal Error"),
            ("", "send_reply_error()", "SIP/2.0 500 Server Internal Error"),
            (
                "modparam(\"sl\", \"default_code\", 503)\n",
                "sl_reply_error()",
                "SIP/2.0 503 Service Unavailable",
            ),
            ("modparam(\"sl\", \"default_reason\", \"Oops\")\n", "sl_reply_error()", "SIP/2.0 500 Oops"),
        ];
        for (parameters, statement, expected) in rows {
            let mut stage = stage(parameters, statement);
            stage.receive(REQUEST);
            let sent = stage.sent_one();
            assert_eq!(sent.text.lines().next(), Some(expected), "{statement}");
            assert_eq!(sent.to.to_string(), "127.0.0.1:17070", "{statement}");
            assert_eq!(stage.count("sl.sent"), 1, "{statement}");
        }
    }

    #[test]
    fn an_answer_has_what_the_rfc_asks() {
        let mut stage = stage("", "sl_send_reply(\"200\", \"OK\")");
        stage.receive(REQUEST);
        let first = stage.sent_one().text;
        stage.receive(REQUEST);
        assert_eq!(stage.sent_one().text, first, "a retransmission is answered with the same tag");
        let lines: Vec<&str> = first.split("\r\n").collect();
        assert!(
            lines
                .contains(&"Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport=17070;received=127.0.0.1"),
            "{first}"
        );
        assert!(lines.contains(&"From: <sip:a@b.com>;tag=1") && lines.contains(&"Call-ID: c1"), "{first}");
        assert!(lines.contains(&"CSeq: 1 OPTIONS") && lines.contains(&"Content-Length: 0"), "{first}");
        assert!(lines.iter().any(|line| line.starts_with("To: <sip:bob@c.com>;tag=")), "{first}");
        assert!(lines.iter().any(|line| line.starts_with("Server: ")), "{first}");
    }

    #[test]
    fn what_cannot_be_answered_is_told() {
        let ack = REQUEST.replace("OPTIONS", "ACK");
        let rows = [
            (REQUEST, "sl_send_reply(\"99\", \"x\")", "not a status code from 100 to 699"),
            (REQUEST, "sl_send_reply(\"700\", \"x\")", "not a status code from 100 to 699"),
            (REQUEST, "sl_send_reply(\"200\", \"a\r\nVia: x\")", "contains a line end"),
            (&ack, "sl_send_reply(\"200\", \"OK\")", "an ACK is never answered"),
        ];
        for (message, statement, expected) in rows {
            let mut stage = stage("", statement);
            stage.receive(message);
            assert!(stage.sent().is_empty(), "{statement}");
            let counts = ["sl.failed", "core.scripts_failed"].map(|name| stage.count(name));
            assert_eq!(counts, [1, 1], "{statement}");
            let log = stage.log();
            assert!(log.contains(expected), "{statement}: {log}");
        }
    }

    #[test]
    fn replies_are_not_answered() {
        let mistakes = ScriptHarness::mistakes(
            MODULES,
            "loadmodule \"sl.so\"\nreply_route { sl_send_reply(\"200\", \"OK\"); }\nrequest_route { exit; }",
        );
        assert!(mistakes.contains("sl_send_reply"), "{mistakes}");
    }

    #[test]
    fn the_event_of_an_ack_that_ends_here_is_run() {
        let script = "loadmodule \"sl.so\"\nrequest_route { sl_send_reply(\"404\", \"\"); log(2, \"@@request@@\"); }\n\
            event_route[sl:filtered-ack] { log(2, \"@@$rm $ci@@\"); }\n";
        let mut stage = ScriptHarness::new(MODULES, script);
        assert!(stage.loaded().remarks.is_empty(), "{:?}", stage.loaded().remarks);
        stage.receive(&REQUEST.replace("OPTIONS", "INVITE"));
        let sent = stage.sent_one().text;
        let to = sent.lines().find(|line| line.starts_with("To:")).unwrap();
        stage.log();
        stage.receive(&REQUEST.replace("OPTIONS", "ACK").replace("To: <sip:bob@c.com>", to));
        let log = stage.log();
        assert!(log.contains("@@ACK c1@@") && !log.contains("@@request@@"), "{log}");
        assert_eq!(stage.count("core.acks_absorbed"), 1);
        let without = ScriptHarness::new(
            MODULES,
            &script.replace("loadmodule \"sl.so\"\n", "").replace("sl_send_reply(\"404\", \"\");", ""),
        );
        let remarks = without.loaded().remarks.concat();
        assert!(remarks.contains("module \"sl\" is not loaded"), "{remarks}");
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Stateless>();
    }
}
