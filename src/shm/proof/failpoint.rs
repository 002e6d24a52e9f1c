//! Failpoints of a whole server: `SWORKER_FAIL=ring.publish:abort@17` ends the process that passes this step of the queue's
//! protocol as the seventeenth.
//!
//! ```text
//!  POINT : ACTION [@ COUNT [x TIMES]] [, …]
//!
//!  ring.publish:abort@17       the 17th pass ends its process, once
//!  ring.claim:kill@100x50      each 100th pass does, fifty times
//! ```
//!
//! Passes are counted over all processes together, so that a successor does not die as soon as it begins. Only a build
//! with the feature `crash-points` can be armed; any other one refuses to start when it is asked to. The master is
//! never at a failpoint: what it does is repair, and that is a test of its own (`ring_kill`).

use std::fmt;

use super::crash_point::Point;

/// The variable of the environment.
pub const VARIABLE: &str = "SWORKER_FAIL";

/// How a process ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailpointAction {
    /// As after a crash: SIGABRT.
    Abort,
    /// As `kill -9` does it.
    Kill,
}

/// One point, and the pass that ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failpoint {
    /// Where.
    point: Point,
    /// How.
    action: FailpointAction,
    /// Every pass whose number is a multiple of this ends its process.
    every: u32,
    /// The number of passes that end a process.
    times: u32,
}

/// Why `SWORKER_FAIL` is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailpointError {
    /// Not of the form `POINT:ACTION@COUNT`.
    Form(String),
    /// No point has this name.
    Point(String),
    /// No action has this name.
    Action(String),
    /// This program was built without failpoints.
    NotBuiltIn,
    /// Memory for counting was refused.
    Memory(String),
}

impl fmt::Display for FailpointError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{VARIABLE}: ")?;
        match self {
            Self::Form(text) => {
                write!(out, "\"{text}\" is not of the form POINT:ACTION@COUNT, as in ring.publish:abort@17")
            }
            Self::Point(name) => {
                let names: Vec<&str> = Point::ALL.into_iter().map(Point::name).collect();
                write!(out, "unknown point \"{name}\", points are {}", names.join(", "))
            }
            Self::Action(name) => write!(out, "unknown action \"{name}\", actions are abort, kill"),
            Self::NotBuiltIn => write!(out, "this program has no failpoints (feature crash-points)"),
            Self::Memory(reason) => write!(out, "could not make memory to count in: {reason}"),
        }
    }
}

impl std::error::Error for FailpointError {}

impl Failpoint {
    /// Reads a list of them.
    fn parse_list(text: &str) -> Result<Vec<Failpoint>, FailpointError> {
        text.split(',').map(|one| Failpoint::parse(one.trim())).collect()
    }

    fn parse(text: &str) -> Result<Failpoint, FailpointError> {
        let form = || FailpointError::Form(text.to_string());
        let (point, rest) = text.split_once(':').ok_or_else(form)?;
        let (action, count) = rest.split_once('@').unwrap_or((rest, "1"));
        let (every, times) = count.split_once('x').unwrap_or((count, "1"));
        let number = |text: &str| text.parse().ok().filter(|number: &u32| *number > 0).ok_or_else(form);
        Ok(Failpoint {
            point: Point::named(point).ok_or_else(|| FailpointError::Point(point.to_string()))?,
            action: match action {
                "abort" => FailpointAction::Abort,
                "kill" => FailpointAction::Kill,
                other => return Err(FailpointError::Action(other.to_string())),
            },
            every: number(every)?,
            times: number(times)?,
        })
    }

    /// Whether this pass, counted from 1, is the end of its process.
    #[cfg(any(test, feature = "crash-points"))]
    fn is_due(&self, pass: u64) -> bool {
        let every = u64::from(self.every);
        pass.is_multiple_of(every) && pass / every <= u64::from(self.times)
    }
}

/// Arms what the environment asks for; for the master, before its first fork.
pub fn arm_from_environment() -> Result<(), FailpointError> {
    match std::env::var(VARIABLE) {
        Ok(text) => arm(Failpoint::parse_list(&text)?),
        Err(_) => Ok(()),
    }
}

#[cfg(not(feature = "crash-points"))]
fn arm(_failpoints: Vec<Failpoint>) -> Result<(), FailpointError> {
    Err(FailpointError::NotBuiltIn)
}

/// Does nothing: this program has no failpoints.
#[cfg(not(feature = "crash-points"))]
pub fn activate() {}

#[cfg(feature = "crash-points")]
pub use armed::activate;
#[cfg(feature = "crash-points")]
use armed::arm;
#[cfg(feature = "crash-points")]
pub(in crate::shm) use armed::pass;

#[cfg(feature = "crash-points")]
mod armed {
    use std::io::{Write, stderr};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::sys::signal::Signal;

    use super::{Failpoint, FailpointAction, FailpointError};
    use crate::shm::proof::crash_point::Point;
    use crate::sys::process::{ProcessId, exit_now};
    use crate::sys::shared_number::SharedNumber;
    use crate::sys::signal;

    /// Exit status where a signal to ourselves is refused.
    const EXIT_AT_FAILPOINT: i32 = 99;

    static ARMED: OnceLock<Vec<(Failpoint, SharedNumber)>> = OnceLock::new();
    static IS_ACTIVE: AtomicBool = AtomicBool::new(false);

    pub(in crate::shm) fn arm(failpoints: Vec<Failpoint>) -> Result<(), FailpointError> {
        let counted = |failpoint| {
            let passes = SharedNumber::create(c"sworker-failpoint", 0)
                .map_err(|error| FailpointError::Memory(error.to_string()))?;
            Ok((failpoint, passes))
        };
        let armed = failpoints.into_iter().map(counted).collect::<Result<_, _>>()?;
        // Armed once for each program that starts; a second time changes nothing.
        let _ = ARMED.set(armed);
        Ok(())
    }

    /// From now on this process can end at a failpoint; for a child, when it begins.
    pub fn activate() {
        IS_ACTIVE.store(ARMED.get().is_some(), Ordering::Relaxed);
    }

    #[inline]
    pub(in crate::shm) fn pass(point: Point) {
        if IS_ACTIVE.load(Ordering::Relaxed) {
            end_if_due(point);
        }
    }

    #[cold]
    fn end_if_due(point: Point) {
        let here = ARMED.get().into_iter().flatten().filter(|(failpoint, _)| failpoint.point == point);
        for (failpoint, passes) in here {
            if failpoint.is_due(passes.add(1).unsigned_abs()) {
                end(failpoint);
            }
        }
    }

    fn end(failpoint: &Failpoint) -> ! {
        // A line that cannot be written cannot be reported either.
        let _ =
            writeln!(stderr(), "failpoint {} ends process {}", failpoint.point.name(), std::process::id());
        match failpoint.action {
            FailpointAction::Abort => std::process::abort(),
            FailpointAction::Kill => {
                let _ = signal::send(ProcessId::own(), Signal::SIGKILL);
                exit_now(EXIT_AT_FAILPOINT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_point_by_point() {
        let publish =
            Failpoint { point: Point::PushPublished, action: FailpointAction::Abort, every: 17, times: 1 };
        let claim =
            Failpoint { point: Point::ClaimTaken, action: FailpointAction::Kill, every: 100, times: 50 };
        let rows = [
            ("ring.publish:abort@17", vec![publish]),
            ("ring.publish:abort", vec![Failpoint { every: 1, ..publish }]),
            ("ring.publish:abort@17, ring.claim:kill@100x50", vec![publish, claim]),
        ];
        for (text, expected) in rows {
            assert_eq!(Failpoint::parse_list(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_and_what_exists_is_told() {
        let rows = [
            (
                "ring.publsh:abort@17",
                "unknown point \"ring.publsh\", points are ring.attach_tail, ring.attach_head,",
            ),
            ("ring.publish:abrt@17", "unknown action \"abrt\", actions are abort, kill"),
            ("ring.publish", "\"ring.publish\" is not of the form"),
            ("", "\"\" is not of the form"),
            ("ring.publish:abort@0", "is not of the form"),
            ("ring.publish:abort@-1", "is not of the form"),
            ("ring.publish:abort@", "is not of the form"),
            ("ring.publish:abort@17x0", "is not of the form"),
            ("ring.publish:abort@17,,", "\"\" is not of the form"),
        ];
        for (text, expected) in rows {
            let error = Failpoint::parse_list(text).expect_err(text).to_string();
            assert!(error.starts_with("SWORKER_FAIL: ") && error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn it_is_due_each_so_many_passes_and_so_often() {
        let failpoint =
            Failpoint { point: Point::ClaimTaken, action: FailpointAction::Kill, every: 3, times: 2 };
        let due: Vec<u64> = (1..=20).filter(|pass| failpoint.is_due(*pass)).collect();
        assert_eq!(due, [3, 6]);
    }
}
