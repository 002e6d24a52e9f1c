//! Module `async`: another process goes on with a request, in a route of its own.
//!
//! ```text
//! async_workers=4
//! loadmodule "async.so"
//!
//! request_route {
//!     sl_send_reply("100", "Trying");
//!     async_task_route("RESUME");              # ends the script here, unless the queue is full
//!     sl_send_reply("503", "Server Busy");
//! }
//! route[RESUME] { …slow work…; sl_send_reply("200", "OK"); }
//! ```
//!
//! There is no transaction: nobody absorbs retransmissions meanwhile, and a reply is sent statelessly.
//!
//! **Invariant:** a function that ends the script has handed the message on: a queue owns it, and it is processed
//! whoever dies. Every other answer is false, and the message is still the script's.

use std::time::Duration;

use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, Outcome, Parameter, ParameterKind, RouteKind, RouteSet,
};
use crate::bindings::planning::{DELAY_SLOTS_MAX, Planning};
use crate::bindings::preparation::Preparation;
use crate::config::settings::{DEFAULT_GROUP, GroupSetting, PROCESSES_MAX, QUEUE_DEFAULT};
use crate::routing::context::Context;
use crate::routing::continuation::Resume;
use crate::routing::delegation::GroupIndex;
use crate::routing::suspend::{DELAYED_COUNT, NotHandedOn};
use crate::telemetry::counters::{CounterRow, ModuleCounter, ModuleCounters, module_counters};
use crate::telemetry::log::Level;
use crate::telemetry::throttle::Throttle;

/// Module `async`.
pub struct Async {
    /// Of group `default`, where the script defines no group.
    workers: u32,
    /// So many messages can wait.
    capacity: u32,
    /// What a function gives back when the message has been handed on.
    on_success: Outcome,
    /// The group of functions that name none.
    group: GroupIndex,
    counters: ModuleCounters,
    complaints: [Throttle; Counter::ALL.len()],
}

module_counters! {
    Suspended = "async.handed_on", "requests suspended";
    Delayed = "async.delayed", "requests suspended with a delay";
    Waiting = DELAYED_COUNT, "requests waiting now (a gauge)";
    Full = "async.full", "requests not suspended because the queue was full, or the memory of waiting requests was";
    TooLarge = "async.too_large", "requests not suspended because they are larger than a queue record";
    UnknownGroup = "async.unknown_group", "requests not suspended because there is no such worker group";
    Broken = "async.broken", "requests not suspended because the script made them unreadable";
    Misplaced = "async.misplaced", "calls where a request cannot be suspended";
    UnknownRoute = "async.unknown_route", "calls without the name of a route";
    BadDelay = "async.bad_delay", "calls with an invalid delay";
}

const CAPACITY_DEFAULT: u32 = 1024;
/// Longer than a day no request waits.
const DELAY_MAX: Duration = Duration::from_secs(86_400);

const ROUTE: ParameterKind = ParameterKind::Route(RouteKind::Named);

impl Module for Async {
    const NAME: &'static str = "async";
    const DOCUMENTATION: &'static str = "suspends a request, so that another process resumes it in a route";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::integer(
            "workers",
            "workers of group default, when the script defines no group (1)",
            |module, count| match u32::try_from(count) {
                Ok(count @ 1..=PROCESSES_MAX) => {
                    module.workers = count;
                    Ok(())
                }
                _ => Err(out_of_range("workers", count, PROCESSES_MAX)),
            },
        ),
        Parameter::integer(
            "return",
            "return code of a function that suspended the request; 0 ends the script (0)",
            |module, value| {
                module.on_success = Outcome(value);
                Ok(())
            },
        ),
        Parameter::integer(
            "capacity",
            "maximum number of requests that wait at the same time: those of async_route() and its kin, \
             and briefly those that workers suspend; each takes 4.1 KiB of memory from the start; requests \
             of up to 4 KiB always find room, a larger one takes the room of several, at most of 18, and \
             counts as full if that is not free (1024)",
            |module, count| match u32::try_from(count) {
                Ok(count @ 1..=DELAY_SLOTS_MAX) => {
                    module.capacity = count;
                    Ok(())
                }
                _ => Err(out_of_range("capacity", count, DELAY_SLOTS_MAX)),
            },
        ),
        Parameter::ignored("ms_timer", "milliseconds work without it"),
        Parameter::ignored("mode", "there is only one timer"),
    ];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new(
            "async_task_route",
            "suspends the request: a worker of group default (or of the first group) resumes it in this \
             route, and the script ends here; false when that is not possible",
            &[ROUTE],
            |module: &Async, context: &mut Context<'_>, arguments: &[Argument<'_>]| {
                module.suspend_to(context, module.group, arguments[0], Duration::ZERO)
            },
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "async_task_group_route",
            "the same with a worker of the group in the second argument",
            &[ROUTE, ParameterKind::Prepared],
            Self::task_of_group,
        )
        .prepare(Self::prepare_group)
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "async_route",
            "as async_task_route(), after a delay in seconds (1 to 86400)",
            &[ROUTE, ParameterKind::Integer],
            |module: &Async, context: &mut Context<'_>, arguments: &[Argument<'_>]| {
                module.wait(context, arguments, Duration::from_secs)
            },
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "async_ms_route",
            "as async_task_route(), after a delay in milliseconds (1 to 86400000)",
            &[ROUTE, ParameterKind::Integer],
            |module: &Async, context: &mut Context<'_>, arguments: &[Argument<'_>]| {
                module.wait(context, arguments, Duration::from_millis)
            },
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "async_sleep",
            "suspends the route for a delay in seconds (1 to 86400); a worker of group default resumes it \
             after the call and runs to the end of that route; false inside a loop, after another operand \
             and where a request cannot be suspended",
            &[ParameterKind::Delay],
            |module: &Async, context: &mut Context<'_>, arguments: &[Argument<'_>]| {
                module.sleep(context, arguments[0], Duration::from_secs)
            },
        )
        .routes(RouteSet::of(&[RouteKind::Request, RouteKind::Named])),
        ModuleFunction::new(
            "async_ms_sleep",
            "the same with a delay in milliseconds (1 to 86400000)",
            &[ParameterKind::Delay],
            |module: &Async, context: &mut Context<'_>, arguments: &[Argument<'_>]| {
                module.sleep(context, arguments[0], Duration::from_millis)
            },
        )
        .routes(RouteSet::of(&[RouteKind::Request, RouteKind::Named])),
    ];
    const COUNTERS: &'static [CounterRow] = Counter::ROWS;

    fn new() -> Self {
        Async {
            workers: 1,
            capacity: CAPACITY_DEFAULT,
            on_success: Outcome::STOP,
            group: GroupIndex(0),
            counters: ModuleCounters::default(),
            complaints: Default::default(),
        }
    }

    fn number_counters(&mut self, counters: ModuleCounters) {
        self.counters = counters;
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        planning.begin_with_group(GroupSetting::new(DEFAULT_GROUP, self.workers, QUEUE_DEFAULT));
        planning.reserve_delays(self.capacity);
        let groups = &planning.settings().groups;
        let index = groups.iter().position(|group| group.name == DEFAULT_GROUP).unwrap_or_default();
        self.group = GroupIndex(index as u16);
        Ok(())
    }
}

/// What a function that is false counts.
impl From<NotHandedOn> for Counter {
    fn from(reason: NotHandedOn) -> Self {
        match reason {
            NotHandedOn::NotARequest | NotHandedOn::NotHere => Counter::Misplaced,
            NotHandedOn::NoSuchGroup => Counter::UnknownGroup,
            NotHandedOn::Full => Counter::Full,
            NotHandedOn::TooLarge => Counter::TooLarge,
            NotHandedOn::Broken => Counter::Broken,
        }
    }
}

impl Async {
    fn prepare_group(
        &mut self,
        preparation: &mut Preparation<'_>,
        _: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic> {
        preparation.group(literal).map(Some)
    }

    fn task_of_group(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        match context.group_of(&arguments[1]) {
            Some(group) => self.suspend_to(context, group, arguments[0], Duration::ZERO),
            None => self.fail(context, NotHandedOn::NoSuchGroup.into(), &NotHandedOn::NoSuchGroup),
        }
    }

    fn wait(
        &self,
        context: &mut Context<'_>,
        arguments: &[Argument<'_>],
        in_units: fn(u64) -> Duration,
    ) -> Outcome {
        match delay_of(arguments[1], in_units) {
            Some(delay) => self.suspend_to(context, self.group, arguments[0], delay),
            None => self.fail(context, Counter::BadDelay, &NO_DELAY),
        }
    }

    fn sleep(
        &self,
        context: &mut Context<'_>,
        argument: Argument<'_>,
        in_units: fn(u64) -> Duration,
    ) -> Outcome {
        let Some(delay) = delay_of(argument, in_units) else {
            return self.fail(context, Counter::BadDelay, &NO_DELAY);
        };
        let Argument::Delay { point: Some(point), .. } = argument else {
            return self.fail(
                context,
                Counter::Misplaced,
                &"a request cannot be resumed inside a loop or after another operand",
            );
        };
        let interruption = context.script().interruption(point);
        self.suspend(context, self.group, Resume::After(interruption), delay)
    }

    fn suspend_to(
        &self,
        context: &mut Context<'_>,
        group: GroupIndex,
        route: Argument<'_>,
        delay: Duration,
    ) -> Outcome {
        match name_of(route, context) {
            Some(name) => self.suspend(context, group, Resume::Route(name.as_bytes()), delay),
            None => self.fail(context, Counter::UnknownRoute, &"it is not the name of a route"),
        }
    }

    fn suspend(
        &self,
        context: &mut Context<'_>,
        group: GroupIndex,
        goal: Resume<'_>,
        delay: Duration,
    ) -> Outcome {
        match context.suspend(group, goal, delay) {
            Ok(()) => {
                context.count(self.counters.id(Counter::Suspended));
                if !delay.is_zero() {
                    context.count(self.counters.id(Counter::Delayed));
                }
                self.on_success
            }
            Err(reason) => self.fail(context, reason.into(), &reason),
        }
    }

    /// Counts the failure and tells the first of each second.
    #[cold]
    fn fail(&self, context: &Context<'_>, failure: Counter, reason: &dyn std::fmt::Display) -> Outcome {
        context.count(self.counters.id(failure));
        let withheld = self.complaints[failure as usize].pass(context.envelope().received_at_ns);
        if let Some(withheld) = withheld {
            context.log(Level::Error, format_args!("could not suspend the request: {reason}{withheld}"));
        }
        Outcome::FALSE
    }
}

/// A time that can be waited.
fn delay_of(argument: Argument<'_>, in_units: fn(u64) -> Duration) -> Option<Duration> {
    let number = argument.integer().and_then(|number| u64::try_from(number).ok());
    number.map(in_units).filter(|delay| !delay.is_zero() && *delay <= DELAY_MAX)
}

const NO_DELAY: &str = "the delay must be from 1 ms to 1 day";

/// The name of the route in an argument; `None` for `"0"`, which stands for no route.
fn name_of<'m>(route: Argument<'_>, context: &Context<'m>) -> Option<&'m str> {
    match route {
        Argument::Route(number) => context.script().route_name(number),
        _ => None,
    }
}

fn out_of_range(name: &str, value: i64, most: u32) -> Diagnostic {
    Diagnostic::mistake(format!("{name} cannot be {value}"))
        .with_help(format!("write a number from 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{HandedOn, INVITE, OPTIONS, PROGRESS, ScriptHarness, check_tables};
    use crate::routing::continuation::Continuation;
    use crate::routing::delegation::Delegation;
    use crate::routing::script_view::ScriptView;

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Async>()];
    const HEAD: &str =
        "async_workers=2\nasync_workers_group=\"name=calls;workers=1\"\nloadmodule \"async.so\"\n";
    const TASK: &str = "route[TASK] { exit; }\n";

    fn script(statements: &str) -> String {
        format!("{HEAD}request_route {{ {statements} }}\n{TASK}")
    }

    /// What was handed on, and whether the script went on after it.
    fn run(statements: &str, answer: Delegation) -> (Vec<HandedOn>, bool, ScriptHarness) {
        let mut stage =
            ScriptHarness::new(MODULES, &script(&format!("{statements} log(2, \"@@behind@@\");")));
        stage.answer.set(answer);
        stage.receive(INVITE);
        let has_gone_on = stage.log().contains("@@behind@@");
        (stage.suspended(), has_gone_on, stage)
    }

    #[test]
    fn a_route_and_a_group_are_named_or_computed() {
        let check = |call: &str, group: u16| {
            let (suspended, has_gone_on, stage) =
                run(&format!("$var(n) = \"A\"; {call};"), Delegation::Delegated);
            assert_eq!((suspended.len(), has_gone_on), (1, false), "{call}");
            assert_eq!((suspended[0].group, suspended[0].delay), (group, Duration::ZERO), "{call}");
            let continuation = Continuation::decode(&suspended[0].continuation).unwrap();
            assert_eq!(continuation.goal, Resume::Route(b"TASK"), "{call}");
            assert_eq!(stage.count("async.handed_on"), 1);
        };
        check("async_task_route(\"TASK\")", 0);
        check("async_task_route(\"T$var(n)SK\")", 0);
        check("async_task_group_route(\"TASK\", \"calls\")", 1);
        check("async_task_group_route(\"TASK\", \"c$(var(n){s.tolower})lls\")", 1);
    }

    #[test]
    fn who_waits_says_how_long() {
        let check = |call: &str, expected: Result<Duration, ()>| {
            let (suspended, has_gone_on, stage) =
                run(&format!("$var(n) = 250; {call};"), Delegation::Delegated);
            let delays: Vec<_> = suspended.iter().map(|suspended| suspended.delay).collect();
            assert_eq!((delays, has_gone_on), (expected.into_iter().collect(), expected.is_err()), "{call}");
            let delayed = expected.is_ok_and(|delay| !delay.is_zero());
            let counts = ["async.delayed", "async.bad_delay"].map(|name| stage.count(name));
            assert_eq!(counts, [u64::from(delayed), u64::from(expected.is_err())], "{call}");
        };
        check("async_route(\"TASK\", \"4\")", Ok(Duration::from_secs(4)));
        check("async_route(\"TASK\", 86400)", Ok(DELAY_MAX));
        check("async_route(\"TASK\", \"0\")", Err(()));
        check("async_ms_route(\"TASK\", \"$var(n)\")", Ok(Duration::from_millis(250)));
        check("async_ms_route(\"TASK\", 86400001)", Err(()));
        check("async_route(\"TASK\", 86401)", Err(()));
        check("async_route(\"TASK\", -1)", Err(()));
    }

    #[test]
    fn what_cannot_be_handed_on_stays_here_and_is_counted() {
        let check = |call: &str, answer: Delegation, counter: &str| {
            let (suspended, has_gone_on, stage) = run(&format!("if ({call}) {{ exit; }}"), answer);
            assert_eq!((suspended.len(), has_gone_on), (0, true), "{call}");
            assert_eq!((stage.count(counter), stage.count("async.handed_on")), (1, 0), "{call}");
        };
        let task = "async_task_route(\"TASK\")";
        check(task, Delegation::Full, "async.full");
        check(task, Delegation::TooLarge, "async.too_large");
        check(task, Delegation::NotHere, "async.misplaced");
        check(task, Delegation::NoSuchGroup, "async.unknown_group");
        check("async_task_route(\"0\")", Delegation::Delegated, "async.unknown_route");
        let group = "async_task_group_route(\"TASK\", \"c$rm\")";
        check(group, Delegation::Delegated, "async.unknown_group");
        // A computed name that no route has.
        let statements = "$var(rc) = async_task_route(\"X$rm\"); if ($var(rc) != -1 || async_ms_route(\"$rm\", 5)) { exit; }";
        let (suspended, has_gone_on, _) = run(statements, Delegation::Delegated);
        assert_eq!((suspended.len(), has_gone_on), (0, true));
    }

    #[test]
    fn a_full_queue_is_answered_where_the_group_says_so() {
        let script = format!(
            "async_workers_group=\"name=calls;workers=1;full=reply\"\nloadmodule \"async.so\"\n\
             request_route {{ async_task_route(\"TASK\"); log(2, \"@@behind@@\"); }}\n{TASK}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.answer.set(Delegation::Full);
        stage.receive(OPTIONS);
        let sent = stage.sent_one().text;
        assert!(sent.starts_with("SIP/2.0 503 ") && sent.contains("\r\nRetry-After: "), "{sent}");
        assert!(!stage.log().contains("@@behind@@"));
    }

    #[test]
    fn the_script_goes_on_where_it_asks_for_that() {
        let modparam = "modparam(\"async\", \"return\", 1)\n";
        let script = format!(
            "{HEAD}{modparam}request_route {{ if (async_task_route(\"TASK\")) log(2, \"@@behind@@\"); }}\n{TASK}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(OPTIONS);
        assert!(stage.log().contains("@@behind@@"));
        assert_eq!(stage.suspended().len(), 1);
    }

    #[test]
    fn what_the_script_has_done_goes_with_the_request() {
        let (suspended, ..) = run(
            "setflag(3); $ru = \"sip:new@h\"; $du = \"sip:192.0.2.1\"; $avp(a) = 7; $avp(a) = \"two\"; \
             async_task_route(\"TASK\");",
            Delegation::Delegated,
        );
        assert_eq!(String::from_utf8_lossy(&suspended[0].message), INVITE);
        // Given a worker that goes on with it, everything is there again.
        let told = "if (isflagset(3)) log(2, \"@@flag $ru $ou $du $avp(a) $(avp(a)[1])@@\");";
        let mut stage =
            ScriptHarness::worker(MODULES, &script("exit;").replace("exit; }\n", &format!("{told} }}\n")));
        stage.go_on(&suspended[0]);
        let log = stage.log();
        let expected = "@@flag sip:new@h sip:bob:pw@127.0.0.1:17060;transport=udp sip:192.0.2.1 two 7@@";
        assert!(log.contains(expected), "{log}");
    }

    /// What the script tells before it is interrupted, and what a worker tells that goes on.
    fn interrupted(routes: &str) -> (String, String) {
        let script = format!("{HEAD}{routes}");
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(INVITE);
        let (before, suspended) = (told(&stage.log()), stage.suspended());
        let mut worker = ScriptHarness::worker(MODULES, &script);
        for suspended in &suspended {
            worker.go_on(suspended);
        }
        (before, told(&worker.log()))
    }

    fn told(log: &str) -> String {
        log.split("@@").skip(1).step_by(2).collect()
    }

    #[test]
    fn a_worker_goes_on_behind_the_call() {
        let check = |statements: &str, before: &str, after: &str| {
            // $rc and $avp are there; the caller of a route is not.
            let routes =
                format!("request_route {{ route(R); log(2, \"@@c@@\"); }}\nroute[R] {{ {statements} }}\n");
            let found = interrupted(&routes);
            assert_eq!((found.0.as_str(), found.1.as_str()), (before, after), "{statements}");
        };
        check("log(2, \"@@1@@\"); async_sleep(\"4\"); log(2, \"@@2 $rc@@\");", "1", "2 1");
        check("$avp(a) = 7; async_ms_sleep($avp(a)); log(2, \"@@$avp(a)@@\");", "", "7");
        check(
            "if (async_sleep(1)) { log(2, \"@@yes@@\"); } else { log(2, \"@@no@@\"); } log(2, \"@@.@@\");",
            "",
            "yes.",
        );
        check(
            "if ($rU == \"bob\" && !async_sleep(1)) { log(2, \"@@yes@@\"); } log(2, \"@@no@@\");",
            "",
            "no",
        );
        check("$var(x) = async_sleep(1); log(2, \"@@$var(x)@@\");", "", "1");
        check(
            "switch ($rU) { case \"bob\": async_sleep(1); log(2, \"@@1@@\"); break; } log(2, \"@@2@@\");",
            "",
            "12",
        );
        check("async_sleep(1); $var(a) = 1 / 0; log(2, \"@@2@@\"); exit; log(2, \"@@3@@\");", "", "2");
        // What is false goes on here.
        check("while (1) { if (!async_sleep(1)) log(2, \"@@loop@@\"); break; }", "loopc", "");
        check("$var(x) = 5 + async_sleep(1); log(2, \"@@$var(x)@@\");", "5c", "");
        check("if (!async_sleep(0)) log(2, \"@@0@@\");", "0c", "");
        check(
            "async_sleep(1); while ($var(i) < 2) { $var(i) = $var(i) + 1; } log(2, \"@@$var(i)@@\");",
            "",
            "2",
        );
    }

    #[test]
    fn nobody_goes_on_in_another_script() {
        let mut stage = ScriptHarness::new(MODULES, &script("async_sleep(1);"));
        stage.receive(INVITE);
        let mut suspended = stage.suspended().remove(0);
        let other = ScriptHarness::new(MODULES, &script("async_sleep(1); exit;"));
        let goal = |suspended: &HandedOn| match Continuation::decode(&suspended.continuation).unwrap().goal {
            Resume::After(interruption) => interruption,
            goal => panic!("{goal:?}"),
        };
        let interruption = goal(&suspended);
        assert_eq!(stage.loaded().registry.interruption(interruption.point), interruption);
        assert_ne!(other.loaded().registry.interruption(interruption.point), interruption);
        // Whatever number comes out of shared memory, nothing else is run.
        let count = stage.loaded().program.instruction_count() as u32;
        let good: Vec<u32> = (0..count + 9)
            .filter(|point| stage.loaded().program.line_of_interruption(*point).is_some())
            .collect();
        assert_eq!(good, [interruption.point]);
        suspended.continuation.clear();
    }

    #[test]
    fn replies_are_not_handed_on() {
        let script = format!(
            "{HEAD}request_route {{ exit; }}\nevent_route[core:pre-routing] {{ if (!async_task_route(\"TASK\")) log(2, \"@@here@@\"); }}\n{TASK}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(PROGRESS);
        assert!(stage.log().contains("@@here@@"));
        assert_eq!((stage.suspended().len(), stage.count("async.misplaced")), (0, 1));
    }

    #[test]
    fn a_script_without_groups_gets_one() {
        let check = |head: &str, expected: &[(&str, u32)]| {
            let stage = ScriptHarness::new(
                MODULES,
                &format!(
                    "{head}loadmodule \"async.so\"\nmodparam(\"async\", \"workers\", 3)\nrequest_route {{ exit; }}"
                ),
            );
            let groups = &stage.loaded().settings().groups;
            let groups: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.workers)).collect();
            assert_eq!(groups, expected, "{head}");
        };
        check("", &[("default", 3)]);
        check("async_workers=2\n", &[("default", 2)]);
        check("async_workers_group=\"name=a\"\n", &[("a", 1)]);
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let check = |statements: &str, expected: &str| {
            let mistakes = ScriptHarness::mistakes(MODULES, &script(statements));
            assert!(mistakes.contains(expected), "{statements}: {mistakes}");
        };
        check("async_task_route(\"TAKS\");", "unknown route route[TAKS]");
        check("async_task_route(\"TAKS\");", "did you mean \"TASK\"?");
        check("async_task_group_route(\"TASK\", \"cals\");", "unknown worker group \"cals\"");
        check("async_task_route();", "async_task_route() takes 1 argument, not 0");
        check("async_route(\"TASK\", \"soon\");", "an integer is needed here");
        for count in ["0", "-1", "65537"] {
            let script =
                format!("{HEAD}modparam(\"async\", \"capacity\", {count})\nrequest_route {{ exit; }}\n");
            assert!(ScriptHarness::mistakes(MODULES, &script).contains("capacity cannot be"), "{count}");
        }
        for count in ["0", "-1", "1025"] {
            let script =
                format!("{HEAD}modparam(\"async\", \"workers\", {count})\nrequest_route {{ exit; }}\n");
            assert!(ScriptHarness::mistakes(MODULES, &script).contains("workers cannot be"), "{count}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Async>();
    }
}
