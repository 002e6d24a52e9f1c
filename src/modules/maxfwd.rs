//! Module `maxfwd`: ends loops by Max-Forwards (RFC 3261 16.3 step 3, 16.6 step 3).

use crate::bindings::functions::outcome;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, Outcome, Parameter, ParameterKind, RouteSet,
};
use crate::routing::context::Context;
use crate::sip::{HeaderError, HeaderId};
use crate::telemetry::log::Level;

/// Module `maxfwd`.
pub struct MaxForwards {
    limit: u32,
}

const LIMIT: &[ParameterKind] = &[ParameterKind::Integer];
/// RFC 3261 20.22: the largest value.
const HOPS_MAX: u32 = 255;
/// RFC 3261 8.1.1.6: what is recommended for a request that starts here.
const LIMIT_DEFAULT: u32 = 70;

const NO_HOP_LEFT: Outcome = Outcome(-1);
const BROKEN: Outcome = Outcome(-2);

impl Module for MaxForwards {
    const NAME: &'static str = "maxfwd";
    const DOCUMENTATION: &'static str = "checks and decrements Max-Forwards";
    const PARAMETERS: &'static [Parameter<Self>] = &[Parameter::<Self>::integer(
        "max_limit",
        "maximum value that is forwarded, 1 to 255",
        |module, limit| {
            module.limit = hops(limit).ok_or_else(|| {
                Diagnostic::mistake(format!("max_limit cannot be {limit}"))
                    .with_help("a number from 1 to 255")
            })?;
            Ok(())
        },
    )
    .default("70")];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new(
            "mf_process_maxfwd_header",
            "decrements Max-Forwards, or adds it with this value; -1 when it is 0, -2 when it cannot be \
             read",
            LIMIT,
            Self::process,
        )
        .alias(&["process_maxfwd", "maxfwd_process"])
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "is_maxfwd_lt",
            "true when Max-Forwards is there and below this value",
            LIMIT,
            Self::is_below,
        )
        .alias(&["mf_is_maxfwd_lt"])
        .routes(RouteSet::REQUEST),
    ];

    fn new() -> Self {
        MaxForwards { limit: LIMIT_DEFAULT }
    }
}

impl MaxForwards {
    fn process(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Some(initial) = arguments[0].integer().and_then(hops) else {
            context.log(
                Level::Error,
                format_args!("mf_process_maxfwd_header: a value is a number from 1 to 255"),
            );
            return BROKEN;
        };
        let header = context.message.header(HeaderId::MaxForwards);
        let edited = match (context.message.max_forwards(), header) {
            (Ok(Some(0)), _) => return NO_HOP_LEFT,
            (Ok(Some(left)), Some(header)) => {
                let left = (left - 1).min(self.limit).to_string();
                context.edits.set_value(&context.message, &header, left.as_bytes())
            }
            (Err(HeaderError::Malformed(..)), _) => return BROKEN,
            _ => {
                let initial = initial.min(self.limit).to_string();
                context.edits.add_last(&context.message, b"Max-Forwards", initial.as_bytes())
            }
        };
        outcome(context, "mf_process_maxfwd_header", edited)
    }

    fn is_below(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        match (context.message.max_forwards(), arguments[0].integer()) {
            (Ok(Some(left)), Some(limit)) => (i64::from(left) < limit).into(),
            (Err(_), _) => BROKEN,
            _ => Outcome::FALSE,
        }
    }
}

fn hops(number: i64) -> Option<u32> {
    u32::try_from(number).ok().filter(|hops| (1..=HOPS_MAX).contains(hops))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<MaxForwards>()];

    fn check(parameters: &str, hops: &str, statement: &str, expected: &str) {
        let request = format!(
            "OPTIONS sip:127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\n{hops}\
             From: <sip:a@b.com>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n"
        );
        let script = format!(
            "loadmodule \"maxfwd.so\"\n{parameters}request_route {{ $var(rc) = {statement};\n\
             log(2, \"@@$var(rc)@@\"); forward(); }}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(&request);
        let text = stage.sent_one().text;
        let left = text.lines().find(|line| line.starts_with("Max-Forwards")).unwrap_or("none").to_string();
        let log = stage.log();
        let code = log.split("@@").nth(1).unwrap_or_else(|| panic!("{log}"));
        assert_eq!(format!("{code} {left}"), expected, "{hops:?} {statement}");
    }

    #[test]
    fn hops_are_counted_down() {
        let process = "mf_process_maxfwd_header(\"10\")";
        let limit = "modparam(\"maxfwd\", \"max_limit\", 5)\n";
        check("", "Max-Forwards: 70\r\n", process, "1 Max-Forwards: 69");
        check("", "Max-Forwards: 1\r\n", process, "1 Max-Forwards: 0");
        check("", "Max-Forwards: 0\r\n", process, "-1 Max-Forwards: 0");
        check("", "Max-Forwards: 255\r\n", process, "1 Max-Forwards: 70");
        check("", "", process, "1 Max-Forwards: 10");
        check(limit, "", process, "1 Max-Forwards: 5");
        check(limit, "Max-Forwards: 70\r\n", process, "1 Max-Forwards: 5");
        check("", "Max-Forwards: x\r\n", process, "-2 Max-Forwards: x");
        check("", "Max-Forwards: 70\r\n", "mf_process_maxfwd_header(\"0\")", "-2 Max-Forwards: 70");
    }

    #[test]
    fn hops_are_compared() {
        check("", "Max-Forwards: 3\r\n", "is_maxfwd_lt(\"4\")", "1 Max-Forwards: 3");
        check("", "Max-Forwards: 4\r\n", "is_maxfwd_lt(\"4\")", "-1 Max-Forwards: 4");
        check("", "", "is_maxfwd_lt(\"4\")", "-1 none");
    }

    #[test]
    fn a_limit_out_of_range_is_refused() {
        for limit in ["0", "256", "-1"] {
            let script = format!(
                "loadmodule \"maxfwd.so\"\nmodparam(\"maxfwd\", \"max_limit\", {limit})\nrequest_route {{ exit; }}"
            );
            assert!(ScriptHarness::mistakes(MODULES, &script).contains("max_limit cannot be"), "{limit}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<MaxForwards>();
    }
}
