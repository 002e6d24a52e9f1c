//! Module `sworker`: hands messages from receivers to groups of workers.
//!
//! ```text
//! modparam("sworker", "xdata", "$var(xdata)")
//!
//! event_route[core:pre-routing] {
//!     if (sworker_task("calls")) {
//!         drop;
//!     }
//! }
//! ```
//!
//! **Invariant:** the function is true only when a live queue owns the message, or when the queue is full and the group
//! says `full=reply`: then the sender has got 503 with Retry-After. Either way the message is dealt with. Every other
//! answer is below 0 and says which: -1 not here, -2 no such group, -3 full, -4 too large; the message is still the
//! receiver's to process.

use std::cell::RefCell;

use crate::bindings::module::{
    Advice, Argument, Diagnostic, Module, ModuleFunction, Outcome, Parameter, ParameterKind, Reading,
};
use crate::bindings::planning::Planning;
use crate::bindings::preparation::Preparation;
use crate::routing::context::Context;
use crate::routing::delegation::{Delegation, GroupIndex, Xdata};
use crate::routing::services::Scope;
use crate::routing::services::StoredPlace;
use crate::telemetry::counters::{CounterRow, ModuleCounter, ModuleCounters, module_counters};
use crate::telemetry::log::Level;
use crate::telemetry::throttle::Throttle;

/// Module `sworker`.
pub struct Sworker {
    xdata_name: Option<String>,
    xdata: Option<StoredPlace>,
    xdata_room: RefCell<Vec<u8>>,
    counters: ModuleCounters,
    /// A message a second may fail for each reason: the log tells the first of each second.
    complaints: [Throttle; Counter::ALL.len()],
}

module_counters! {
    Delegated = "sworker.delegated", "messages accepted by a queue";
    Full = "sworker.full", "messages not delegated because the queue was full";
    Refused = "sworker.refused", "messages answered with 503 because the queue was full (full=reply)";
    UnknownGroup = "sworker.unknown_group", "messages not delegated because there is no such worker group";
    TooLarge = "sworker.too_large", "messages not delegated because they are larger than a queue record";
    Misplaced = "sworker.misplaced", "calls outside of pre-routing or inside a worker";
}

const NOT_HERE: Outcome = Outcome(-1);
const NO_SUCH_GROUP: Outcome = Outcome(-2);
const FULL: Outcome = Outcome(-3);
const TOO_LARGE: Outcome = Outcome(-4);

const GROUP: &[ParameterKind] = &[ParameterKind::Prepared];

impl Module for Sworker {
    const NAME: &'static str = "sworker";
    const DOCUMENTATION: &'static str = "delegates messages from receivers to groups of workers";
    const PARAMETERS: &'static [Parameter<Self>] = &[Parameter::text(
        "xdata",
        "variable that is passed to the worker with a delegated message, such as $var(xdata)",
        |module, name| {
            let name = std::str::from_utf8(name).map_err(|_| not_a_variable(name))?;
            module.xdata_name = Some(name.to_string());
            Ok(())
        },
    )];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new(
            "sworker_task",
            "delegates the message to a group; 1 delegated (or answered with 503, where full=reply), -1 not in pre-routing of a receiver, -2 unknown group, -3 full, -4 too large",
            GROUP,
            Self::task,
        )
        .prepare(Self::prepare_group)
        .advice(Advice::TestThenDrop),
        ModuleFunction::new("swork_task", "old name of sworker_task", GROUP, Self::task)
            .prepare(Self::prepare_group)
            .advice(Advice::Alias("sworker_task")),
        ModuleFunction::new(
            "sworker_active",
            "true in a worker that processes a delegated message, false in a receiver and in a resumed \
             request",
            &[],
            |_, context, _| (context.is_worker() && !context.is_continued).into(),
        ),
    ];
    const COUNTERS: &'static [CounterRow] = Counter::ROWS;

    fn new() -> Self {
        Sworker {
            xdata_name: None,
            xdata: None,
            xdata_room: RefCell::default(),
            counters: ModuleCounters::default(),
            complaints: Default::default(),
        }
    }

    fn number_counters(&mut self, counters: ModuleCounters) {
        self.counters = counters;
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        if let Some(name) = &self.xdata_name {
            planning.about("xdata");
            let place = planning.place(name)?;
            check_xdata(name, &place)?;
            planning.services().xdata = Some(place);
            self.xdata = Some(place);
        }
        Ok(())
    }
}

impl Sworker {
    fn prepare_group(
        &mut self,
        preparation: &mut Preparation<'_>,
        _: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic> {
        preparation.group(literal).map(Some)
    }

    fn task(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let delegation = match context.group_of(&arguments[0]) {
            Some(group) => self.delegate(context, group),
            None => Delegation::NoSuchGroup,
        };
        self.tell(context, delegation, arguments[0].text());
        match delegation {
            Delegation::Delegated | Delegation::Refused => Outcome::TRUE,
            Delegation::NotHere => NOT_HERE,
            Delegation::NoSuchGroup => NO_SUCH_GROUP,
            Delegation::Full => FULL,
            Delegation::TooLarge => TOO_LARGE,
        }
    }

    fn delegate(&self, context: &mut Context<'_>, group: GroupIndex) -> Delegation {
        let mut room = self.xdata_room.take();
        room.clear();
        let xdata = match self.xdata.map(|xdata| context.read(xdata.place(), &mut room)) {
            None | Some(Reading::Null) => Xdata::Absent,
            Some(Reading::Integer(number)) => Xdata::Integer(number),
            Some(Reading::Text) => Xdata::Text(&room),
        };
        let delegation = context.delegate(group, xdata);
        self.xdata_room.replace(room);
        delegation
    }

    /// Counts the answer, and complains about one that is not what the script hoped for.
    fn tell(&self, context: &Context<'_>, delegation: Delegation, group: &[u8]) {
        let (counter, level, reason) = match delegation {
            Delegation::Delegated => return context.count(self.counters.id(Counter::Delegated)),
            Delegation::Refused => return context.count(self.counters.id(Counter::Refused)),
            Delegation::Full => (Counter::Full, Level::Error, "the queue is full"),
            Delegation::NoSuchGroup => (Counter::UnknownGroup, Level::Warning, "no such worker group"),
            Delegation::TooLarge => {
                (Counter::TooLarge, Level::Error, "the message is larger than a queue record")
            }
            Delegation::NotHere => (
                Counter::Misplaced,
                Level::Warning,
                "only event_route[core:pre-routing] of a receiver may delegate",
            ),
        };
        context.count(self.counters.id(counter));
        if let Some(withheld) = self.complaints[counter as usize].pass(context.envelope().received_at_ns) {
            let group = group.escape_ascii();
            context.log(level, format_args!("could not delegate to group \"{group}\": {reason}{withheld}"));
        }
    }
}

fn check_xdata(name: &str, place: &StoredPlace) -> Result<(), Diagnostic> {
    let fault = match (place.variable.is_writable, place.scope) {
        (false, _) => "it cannot be assigned",
        (true, Scope::Message) => "it belongs to the message and cannot carry a value to a worker",
        (true, Scope::Process) => return Ok(()),
    };
    Err(Diagnostic::mistake(format!("{name} cannot be the xdata variable: {fault}"))
        .with_help("use one such as $var(xdata), $vn(xdata) or $avp(xdata)"))
}

fn not_a_variable(name: &[u8]) -> Diagnostic {
    Diagnostic::mistake(format!("\"{}\" is not a variable", name.escape_ascii()))
        .with_help("write one such as \"$var(xdata)\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Sworker>()];
    const GROUPS: &str = "async_workers_group=\"name=calls;workers=2\"\n\
        async_workers_group=\"name=registrations;workers=1\"\nloadmodule \"sworker.so\"\n";
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// A receiver whose pre-routing tells the return code of some statements.
    fn receiver(parameters: &str, statements: &str) -> ScriptHarness {
        let script = format!(
            "{GROUPS}{parameters}request_route {{ exit; }}\nevent_route[core:pre-routing] {{ {statements} log(2, \"@@$var(rc)@@\"); drop; }}"
        );
        ScriptHarness::new(MODULES, &script)
    }

    fn code(stage: &mut ScriptHarness) -> String {
        let log = stage.log();
        log.split("@@").nth(1).unwrap_or_else(|| panic!("{log}")).to_string()
    }

    #[test]
    fn the_return_code_says_what_became_of_the_message() {
        let rows = [
            (Delegation::Delegated, "1", "sworker.delegated"),
            (Delegation::Refused, "1", "sworker.refused"),
            (Delegation::NotHere, "-1", "sworker.misplaced"),
            (Delegation::NoSuchGroup, "-2", "sworker.unknown_group"),
            (Delegation::Full, "-3", "sworker.full"),
            (Delegation::TooLarge, "-4", "sworker.too_large"),
        ];
        for (answer, expected, counter) in rows {
            let mut stage = receiver("", "$var(rc) = sworker_task(\"registrations\");");
            stage.answer.set(answer);
            stage.receive(REQUEST);
            assert_eq!(code(&mut stage), expected, "{answer:?}");
            assert_eq!(stage.count(counter), 1, "{answer:?}");
            let delegated = stage.delegated();
            let owned = if answer == Delegation::Delegated {
                vec![(1, REQUEST.into(), Vec::new())]
            } else {
                Vec::new()
            };
            assert_eq!(delegated, owned, "{answer:?}");
        }
    }

    #[test]
    fn a_computed_group_is_looked_up_and_may_be_unknown() {
        for (name, expected) in [("calls", "1"), ("cals", "-2"), ("Calls", "-2"), ("", "-2")] {
            let statements = format!("$var(g) = \"{name}\"; $var(rc) = sworker_task(\"$var(g)\");");
            let mut stage = receiver("", &statements);
            stage.receive(REQUEST);
            assert_eq!(code(&mut stage), expected, "{name}");
        }
    }

    #[test]
    fn only_pre_routing_of_a_receiver_delegates() {
        let script = format!(
            "{GROUPS}request_route {{ $var(rc) = sworker_task(\"calls\"); $var(a) = sworker_active();\n\
             log(2, \"@@$var(rc) $var(a)@@\"); }}"
        );
        let mut receiver = ScriptHarness::new(MODULES, &script);
        let mut worker = ScriptHarness::worker(MODULES, &script);
        for (stage, expected) in [(&mut receiver, "-1 -1"), (&mut worker, "-1 1")] {
            stage.receive(REQUEST);
            assert_eq!((code(stage).as_str(), stage.count("sworker.misplaced")), (expected, 1));
            assert!(stage.delegated().is_empty());
        }
    }

    #[test]
    fn the_extra_value_keeps_its_kind() {
        let parameter = |name: &str| format!("modparam(\"sworker\", \"xdata\", \"{name}\")\n");
        let rows = [
            ("$var(x)", "$var(x) = \"abc\";", Xdata::Text(b"abc")),
            ("$var(x)", "$var(x) = 42;", Xdata::Integer(42)),
            ("$var(x)", "", Xdata::Integer(0)),
            ("$vn(x)", "", Xdata::Absent),
            ("$vn(x)", "$vn(x) = \"\";", Xdata::Text(b"")),
            ("$avp(x)", "$avp(x) = \"abc\";", Xdata::Text(b"abc")),
            ("$(var(x))", "$var(x) = \"abc\";", Xdata::Text(b"abc")),
        ];
        for (name, statements, expected) in rows {
            let statements = format!("{statements} $var(rc) = sworker_task(\"calls\");");
            let mut stage = receiver(&parameter(name), &statements);
            stage.receive(REQUEST);
            let delegated = stage.delegated();
            assert_eq!(Xdata::decode(&delegated[0].2), Ok(expected), "{name} {statements}");
        }
    }

    #[test]
    fn mistakes_are_told_before_the_script_runs() {
        let script = |parameters: &str, call: &str| {
            format!(
                "{GROUPS}{parameters}event_route[core:pre-routing] {{ if ({call}) {{ drop; }} }}\nrequest_route {{ exit; }}"
            )
        };
        let xdata = |name: &str| format!("modparam(\"sworker\", \"xdata\", \"{name}\")\n");
        let rows = [
            (String::new(), "sworker_task(\"cals\")", "unknown worker group \"cals\""),
            (String::new(), "sworker_task(\"cals\")", "groups are \"calls\", \"registrations\""),
            (String::new(), "sworker_task()", "sworker_task() takes 1 argument"),
            (xdata("$nothing"), "sworker_task(\"calls\")", "unknown variable $nothing"),
            (xdata("$si"), "sworker_task(\"calls\")", "it cannot be assigned"),
            (xdata("$ru"), "sworker_task(\"calls\")", "it belongs to the message"),
            (xdata("$du"), "sworker_task(\"calls\")", "it belongs to the message"),
            (xdata("var(x)"), "sworker_task(\"calls\")", "is not a variable"),
        ];
        for (parameters, call, expected) in rows {
            let mistakes = ScriptHarness::mistakes(MODULES, &script(&parameters, call));
            assert!(mistakes.contains(expected), "{parameters}{call}: {mistakes}");
        }
    }

    #[test]
    fn the_old_spelling_works_and_is_remarked_upon() {
        let mut stage = receiver("", "$var(rc) = swork_task(\"calls\");");
        assert!(stage.loaded().remarks.concat().contains("sworker_task"), "{:?}", stage.loaded().remarks);
        stage.receive(REQUEST);
        assert_eq!(code(&mut stage), "1");
    }

    #[test]
    fn a_complaint_is_not_repeated_for_every_message() {
        let mut stage = receiver("", "$var(rc) = sworker_task(\"calls\");");
        stage.answer.set(Delegation::Full);
        for _ in 0..5 {
            stage.receive(REQUEST);
        }
        assert_eq!(stage.log().matches("the queue is full").count(), 1);
        assert_eq!(stage.count("sworker.full"), 5);
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Sworker>();
    }
}
