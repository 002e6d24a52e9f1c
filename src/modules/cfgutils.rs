//! Module `cfgutils`: chance, hashes, waiting and locks: `rand_event`, `$RANDOM`, `core_hash`, `sleep`, `lock`.
//!
//! Waiting holds the process: nothing else is processed by it meanwhile. In a receiver that is everything that
//! arrives on its socket, so the functions are refused there at run time; workers may wait.

use std::cell::Cell;
use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::bindings::functions::outcome;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, ModuleVariable, Outcome, Parameter, ParameterKind, Reading,
    Yields,
};
use crate::bindings::planning::Planning;
use crate::routing::context::Context;
use crate::state::shared::Locking;
use crate::state::value::Value;
use crate::telemetry::counters::{CounterRow, ModuleCounter, ModuleCounters, module_counters};
use crate::telemetry::log::Level;
use crate::telemetry::process_identity::ProcessIdentity;
use crate::telemetry::throttle::Throttle;

module_counters! {
    Waited = "cfgutils.waited", "calls that blocked a worker";
    LockRefused = "cfgutils.lock_refused", "locks that could not be acquired in time";
}

/// Module `cfgutils`.
pub struct CfgUtils {
    random: Cell<u64>,
    probability: Cell<i64>,
    initial_probability: i64,
    counters: ModuleCounters,
    lock_count: u32,
    initial_flags: i64,
    /// Where the flags of the server are.
    flags_slot: u32,
    complaint: Throttle,
}

const INTEGER: &[ParameterKind] = &[ParameterKind::Integer];
const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const TWO_TEXTS_INTEGER: &[ParameterKind] =
    &[ParameterKind::Text, ParameterKind::Text, ParameterKind::Integer];
const PROBABILITY_DEFAULT: i64 = 10;
/// How long a receiver may stand before a lock: everything on its socket waits with it.
const RECEIVER_LOCK_WAIT_MAX: Duration = Duration::from_millis(100);
/// A worker that waits longer is a worker that is missing.
const WAIT_MAX: Duration = Duration::from_secs(10);

impl Module for CfgUtils {
    const NAME: &'static str = "cfgutils";
    const DOCUMENTATION: &'static str = "random events, hashes, waiting, and locks between processes";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::<Self>::integer(
            "initial_probability",
            "probability of rand_event in percent",
            |module, percent| {
                check_percent(percent)?;
                module.initial_probability = percent;
                module.probability.set(percent);
                Ok(())
            },
        )
        .default("10"),
        Parameter::<Self>::integer(
            "initial_gflags",
            "global flags that are set at the start, as an integer",
            |module, flags| {
                module.initial_flags = u32::try_from(flags).map(i64::from).map_err(|_| {
                    Diagnostic::mistake(format!("initial_gflags cannot be {flags}"))
                        .with_help("32 bits: 0 to 4294967295")
                })?;
                Ok(())
            },
        )
        .default("0"),
        Parameter::ignored("hash_file", "the hash of the script is not kept"),
        Parameter::integer(
            "lock_set_size",
            "number of locks, as a power of two: 4 is 16; by default none",
            |module, exponent| {
                let exponent = u32::try_from(exponent).ok().filter(|exponent| (1..=14).contains(exponent));
                let exponent = exponent.ok_or_else(|| {
                    Diagnostic::mistake("lock_set_size is out of range").with_help("a number from 1 to 14")
                })?;
                module.lock_count = 1 << exponent;
                Ok(())
            },
        ),
    ];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new("rand_event", "true with the configured probability", &[], |module, _, _| {
            (module.next_below(100) < module.probability.get()).into()
        }),
        ModuleFunction::new(
            "rand_event",
            "true with this probability in percent",
            INTEGER,
            |module, _, arguments| (module.next_below(100) < arguments[0].integer().unwrap_or(0)).into(),
        ),
        ModuleFunction::new(
            "rand_set_prob",
            "sets the probability of this process in percent",
            INTEGER,
            Self::set_probability,
        ),
        ModuleFunction::new("rand_reset_prob", "resets the probability", &[], |module, _, _| {
            module.probability.set(module.initial_probability);
            Outcome::TRUE
        }),
        ModuleFunction::new(
            "rand_get_prob",
            "returns the probability as return code",
            &[],
            |module, _, _| Outcome(module.probability.get()),
        ),
        ModuleFunction::new(
            "core_hash",
            "hash of two texts as return code, 1 to the size (rounded down to a power of two)",
            TWO_TEXTS_INTEGER,
            |_, _, arguments| core_hash(arguments),
        ),
        ModuleFunction::new(
            "lock",
            "acquires the lock of a key, waiting up to 10 s in workers, 0.1 s in receivers; released at \
             the end of the message",
            TEXT,
            |module, context, arguments| {
                let limit = if context.is_worker() { WAIT_MAX } else { RECEIVER_LOCK_WAIT_MAX };
                module.lock(context, "lock", arguments[0].text(), limit)
            },
        ),
        ModuleFunction::new(
            "trylock",
            "acquires the lock of a key if it is free",
            TEXT,
            |module, context, arguments| module.lock(context, "trylock", arguments[0].text(), Duration::ZERO),
        ),
        ModuleFunction::new("unlock", "releases the lock of a key", TEXT, |module, context, arguments| {
            match module.lock_of(arguments[0].text()) {
                Some(index) => context.unlock(index).into(),
                None => no_locks(context, "unlock"),
            }
        }),
        ModuleFunction::new(
            "set_gflag",
            "sets global flag 0…31, for all processes",
            INTEGER,
            |module, context, arguments| {
                module.change_flag(context, "set_gflag", &arguments[0], |flags, mask| flags | mask)
            },
        ),
        ModuleFunction::new(
            "reset_gflag",
            "resets global flag 0…31",
            INTEGER,
            |module, context, arguments| {
                module.change_flag(context, "reset_gflag", &arguments[0], |flags, mask| flags & !mask)
            },
        ),
        ModuleFunction::new(
            "is_gflag",
            "true when global flag 0…31 is set",
            INTEGER,
            |module, context, arguments| match flag_mask(&arguments[0]) {
                Some(mask) => (context.shared_integer(module.flags_slot) & mask != 0).into(),
                None => outcome(context, "is_gflag", Err(NO_FLAG)),
            },
        ),
        ModuleFunction::new(
            "check_route_exists",
            "true when the script has a route[] of this name",
            TEXT,
            |_, context, arguments| context.script().has_route(arguments[0].text()).into(),
        ),
        ModuleFunction::new(
            "abort",
            "crashes this process, for tests: the process is replaced and its message redelivered",
            &[],
            |_, context, _| {
                context.log(Level::Critical, format_args!("abort() of the script ends this process"));
                std::process::abort()
            },
        ),
        ModuleFunction::new(
            "sleep",
            "waits a number of seconds, at most 10; only in workers",
            INTEGER,
            |module, context, arguments| {
                let seconds = arguments[0].integer().and_then(|seconds| u64::try_from(seconds).ok());
                module.wait(context, seconds.map(Duration::from_secs))
            },
        ),
        ModuleFunction::new(
            "usleep",
            "waits a number of microseconds, at most 10 seconds; only in workers",
            INTEGER,
            |module, context, arguments| {
                let microseconds = arguments[0].integer().and_then(|count| u64::try_from(count).ok());
                module.wait(context, microseconds.map(Duration::from_micros))
            },
        ),
    ];
    const VARIABLES: &'static [ModuleVariable<Self>] =
        &[ModuleVariable::new("RANDOM", "a random number from 0 to 2147483647", |module: &Self, _, _, _| {
            Reading::Integer((module.next() >> 33) as i64)
        })
        .yields(Yields::Integer)];
    const COUNTERS: &'static [CounterRow] = Counter::ROWS;

    fn new() -> Self {
        CfgUtils {
            random: Cell::new(seed(0)),
            probability: Cell::new(PROBABILITY_DEFAULT),
            initial_probability: PROBABILITY_DEFAULT,
            counters: ModuleCounters::default(),
            lock_count: 0,
            initial_flags: 0,
            flags_slot: 0,
            complaint: Throttle::default(),
        }
    }

    fn number_counters(&mut self, counters: ModuleCounters) {
        self.counters = counters;
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        planning.reserve_locks(self.lock_count);
        self.flags_slot = planning.hidden_shared("gflags", Value::Integer(self.initial_flags));
        Ok(())
    }

    /// Processes are forked from one state and must not throw the same dice.
    fn start(&self, process: &ProcessIdentity) {
        self.random.set(seed(u64::from(process.pid)));
    }
}

impl CfgUtils {
    /// SplitMix64: enough for dice, not for secrets.
    fn next(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next_below(&self, limit: i64) -> i64 {
        (self.next() >> 1) as i64 % limit
    }

    fn set_probability(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let percent = arguments[0].integer().unwrap_or(-1);
        match check_percent(percent) {
            Ok(()) => {
                self.probability.set(percent);
                Outcome::TRUE
            }
            Err(reason) => {
                context.log(Level::Error, format_args!("rand_set_prob: {reason}"));
                Outcome::FALSE
            }
        }
    }

    fn change_flag(
        &self,
        context: &Context<'_>,
        name: &str,
        argument: &Argument<'_>,
        change: impl Fn(i64, i64) -> i64,
    ) -> Outcome {
        let Some(mask) = flag_mask(argument) else { return outcome(context, name, Err(NO_FLAG)) };
        let changed = context.change_shared_integer(self.flags_slot, |flags| change(flags, mask));
        outcome(context, name, changed.map(drop))
    }

    /// Keys that fall on one number share their lock.
    fn lock_of(&self, key: &[u8]) -> Option<u32> {
        let mut hasher = SipHasher13::new();
        hasher.write(key);
        let count = u64::from(self.lock_count);
        (count > 0).then(|| (hasher.finish() % count) as u32)
    }

    fn lock(&self, context: &mut Context<'_>, name: &str, key: &[u8], limit: Duration) -> Outcome {
        let Some(index) = self.lock_of(key) else { return no_locks(context, name) };
        match context.lock(index, limit) {
            Locking::Taken => Outcome::TRUE,
            Locking::Ours => {
                let key = key.escape_ascii();
                context
                    .log(Level::Error, format_args!("{name}: \"{key}\" is locked by this message already"));
                Outcome::FALSE
            }
            Locking::Held | Locking::NoSuchLock => {
                context.count(self.counters.id(Counter::LockRefused));
                Outcome::FALSE
            }
        }
    }

    fn wait(&self, context: &mut Context<'_>, time: Option<Duration>) -> Outcome {
        let Some(time) = time else { return Outcome::FALSE };
        if !context.is_worker() {
            if let Some(withheld) = self.complaint.pass(context.envelope().received_at_ns) {
                context.log(
                    Level::Error,
                    format_args!("sleep: not allowed in a receiver, delegate the message first{withheld}"),
                );
            }
            return Outcome::FALSE;
        }
        context.count(self.counters.id(Counter::Waited));
        context.flush();
        std::thread::sleep(time.min(WAIT_MAX));
        Outcome::TRUE
    }
}

const NO_FLAG: &str = "global flags are 0 to 31";

fn flag_mask(argument: &Argument<'_>) -> Option<i64> {
    let number = argument.integer().filter(|number| (0..32).contains(number))?;
    Some(1 << number)
}

fn no_locks(context: &Context<'_>, name: &str) -> Outcome {
    context.log(Level::Error, format_args!("{name}: there are no locks, set lock_set_size"));
    Outcome::FALSE
}

/// Random bytes of the kernel; where there are none, the number of the process has to do.
fn seed(number: u64) -> u64 {
    let random = getrandom::u64().unwrap_or(0x5bd1_e995_9d1b_54a5);
    random ^ number.rotate_left(32)
}

fn check_percent(percent: i64) -> Result<(), String> {
    if (0..=100).contains(&percent) {
        Ok(())
    } else {
        Err(format!("{percent} is not a percentage from 0 to 100"))
    }
}

fn core_hash(arguments: &[Argument<'_>]) -> Outcome {
    let size = arguments[2].integer().and_then(|size| u32::try_from(size).ok()).filter(|&size| size > 0);
    let Some(size) = size else { return Outcome::FALSE };
    let mask = (1u64 << size.ilog2()) - 1;
    let mut hasher = SipHasher13::new();
    for argument in &arguments[..2] {
        hasher.write_usize(argument.text().len());
        hasher.write(argument.text());
    }
    // The return code 0 would end the script.
    Outcome((hasher.finish() & mask) as i64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<CfgUtils>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// Whether a condition holds, after some statements.
    fn holds(statements: &str, condition: &str, message: &str) -> bool {
        let script = format!(
            "loadmodule \"cfgutils.so\"\nrequest_route {{ {statements} if ({condition}) {{ log(2, \"@@yes@@\"); }} }}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(message);
        stage.log().contains("@@yes@@")
    }

    #[test]
    fn chance_has_its_certain_ends() {
        let rows = [
            ("", "rand_event(100)", true),
            ("", "rand_event(0)", false),
            ("rand_set_prob(100);", "rand_event()", true),
            ("rand_set_prob(0);", "rand_event()", false),
            ("rand_set_prob(100); rand_set_prob(101);", "rand_event()", true),
            ("rand_set_prob(77); $var(p) = rand_get_prob();", "$var(p) == 77", true),
            ("rand_set_prob(77); rand_reset_prob(); $var(p) = rand_get_prob();", "$var(p) == 10", true),
            ("$var(r) = $RANDOM;", "$var(r) >= 0 && $var(r) <= 2147483647", true),
        ];
        for (statements, condition, expected) in rows {
            for _ in 0..20 {
                assert_eq!(holds(statements, condition, REQUEST), expected, "{statements} {condition}");
            }
        }
    }

    #[test]
    fn dice_fall_evenly() {
        let module = CfgUtils::new();
        module.random.set(1);
        let hits = (0..10_000).filter(|_| module.next_below(100) < 30).count();
        assert!((2_800..3_200).contains(&hits), "{hits} of 10000 at 30 percent");
    }

    #[test]
    fn a_hash_is_the_same_every_time_and_never_ends_the_script() {
        let rows = [
            (
                "$var(a) = core_hash(\"x\", \"y\", 16); $var(b) = core_hash(\"x\", \"y\", 16);",
                "$var(a) == $var(b)",
                true,
            ),
            ("$var(a) = core_hash(\"$ci\", \"\", 16);", "$var(a) >= 1 && $var(a) <= 16", true),
            ("$var(a) = core_hash(\"x\", \"y\", 1);", "$var(a) == 1", true),
            ("$var(a) = core_hash(\"x\", \"y\", 0);", "$var(a) == -1", true),
        ];
        for (statements, condition, expected) in rows {
            assert_eq!(holds(statements, condition, REQUEST), expected, "{statements} {condition}");
        }
    }

    #[test]
    fn a_receiver_does_not_wait() {
        let script =
            "loadmodule \"cfgutils.so\"\nrequest_route { $var(rc) = sleep(9); log(2, \"@@$var(rc)@@\"); }";
        let mut stage = ScriptHarness::new(MODULES, script);
        stage.receive(REQUEST);
        let log = stage.log();
        assert!(log.contains("sleep: not allowed in a receiver") && log.contains("@@-1@@"), "{log}");

        let mut stage = ScriptHarness::worker(MODULES, &script.replace("sleep(9)", "usleep(1)"));
        stage.receive(REQUEST);
        assert!(stage.log().contains("@@1@@"));
        assert_eq!(stage.count("cfgutils.waited"), 1);
    }

    #[test]
    fn locks_are_taken_given_back_and_end_with_the_message() {
        let head = "loadmodule \"cfgutils.so\"\nmodparam(\"cfgutils\", \"lock_set_size\", 2)\n";
        let rows = [
            ("$var(a) = lock(\"k\"); $var(b) = unlock(\"k\"); $var(c) = unlock(\"k\");", "1 1 -1"),
            ("$var(a) = lock(\"k\"); $var(b) = lock(\"k\"); $var(c) = trylock(\"k\");", "1 -1 -1"),
            ("$var(a) = trylock(\"$ci\"); $var(b) = unlock(\"c1\"); $var(c) = trylock(\"c1\");", "1 1 1"),
        ];
        for (statements, expected) in rows {
            let script =
                format!("{head}request_route {{ {statements} log(2, \"@@$var(a) $var(b) $var(c)@@\"); }}");
            let mut stage = ScriptHarness::worker(MODULES, &script);
            for _ in 0..2 {
                stage.receive(REQUEST);
                let log = stage.log();
                assert!(log.contains(&format!("@@{expected}@@")), "{statements}: {log}");
            }
        }
        let script = "loadmodule \"cfgutils.so\"\nrequest_route { if (!lock(\"k\")) { exit; } }";
        let mut stage = ScriptHarness::new(MODULES, script);
        stage.receive(REQUEST);
        assert!(stage.log().contains("set lock_set_size"));
        let head = head.replace('2', "99");
        assert!(
            ScriptHarness::mistakes(MODULES, &format!("{head}request_route {{ exit; }}"))
                .contains("out of range")
        );
    }

    #[test]
    fn flags_of_the_server_outlive_the_message() {
        let head = "loadmodule \"cfgutils.so\"\nmodparam(\"cfgutils\", \"initial_gflags\", 6)\n";
        let told = "log(2, \"@@$var(a) $var(b) $var(c)@@\");";
        let asks =
            |flag: &str| format!("$var(a) = is_gflag(1); $var(b) = is_gflag({flag}); $var(c) = is_gflag(0);");
        let script =
            format!("{head}request_route {{ {} {told} set_gflag(31); reset_gflag(1); }}", asks("31"));
        let mut stage = ScriptHarness::new(MODULES, &script);
        for expected in ["1 -1 -1", "-1 1 -1"] {
            stage.receive(REQUEST);
            let log = stage.log();
            assert!(log.contains(&format!("@@{expected}@@")), "{log}");
        }
        let mut stage =
            ScriptHarness::new(MODULES, &format!("{head}request_route {{ {} {told} }}", asks("32")));
        stage.receive(REQUEST);
        assert!(stage.log().contains("@@1 -1 -1@@"));
        let mistakes =
            ScriptHarness::mistakes(MODULES, &(head.replace('6', "-1") + "request_route { exit; }"));
        assert!(mistakes.contains("initial_gflags cannot be -1"), "{mistakes}");
    }

    #[test]
    fn routes_are_asked_for() {
        let script = "loadmodule \"cfgutils.so\"\nrequest_route { route(X); $var(a) = check_route_exists(\"X\"); \
            $var(b) = check_route_exists(\"$rU\"); log(2, \"@@$var(a) $var(b)@@\"); }\nroute[X] { return 1; }";
        let mut stage = ScriptHarness::new(MODULES, script);
        stage.receive(REQUEST);
        let log = stage.log();
        assert!(log.contains("@@1 -1@@"), "{log}");
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<CfgUtils>();
    }
}
