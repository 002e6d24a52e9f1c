//! Which worker has worked on one message for too long: arithmetic without clock or processes.
//!
//! The master asks in its own turns; nobody is interrupted, and no lock is taken. A worker that is stopped, waits for a
//! lock or turns in circles looks the same from here: it has begun and has not finished. One that has nothing in its
//! hands wakes up some times a second; when it does not, it is stopped, and what it was woken for waits.

use std::collections::HashMap;
use std::time::Duration;

use crate::core::settings::GroupSetting;
use crate::shm::WorkerStatistics;

/// The deadlines of all groups.
#[derive(Clone, Debug)]
pub struct Watchdog {
    deadlines_ms: Vec<u32>,
    pulses: HashMap<(u16, u32), Pulse>,
}

/// What a worker without a message had counted when it was last seen to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pulse {
    count: u64,
    seen_at_ns: u64,
}

/// A worker that is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// It works on one message.
    Busy {
        /// For so long.
        busy_ms: u64,
        /// When it began.
        started_at_ns: u64,
    },
    /// It has no message, and does not move.
    Lifeless {
        /// For so long.
        still_ms: u64,
    },
}

/// The master looks at least so often when a deadline is long ...
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// ... and at most so often when it is short.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// A worker without a message counts its sleeps ten times a second; on a busy machine it may be late.
const LIFELESS_MS_MIN: u64 = 1_000;
/// A deadline is passed by this part of it at most before it is seen.
const LOOKS_PER_DEADLINE: u32 = 8;

impl Watchdog {
    /// For these groups, by index.
    pub fn new(groups: &[GroupSetting]) -> Watchdog {
        Watchdog {
            deadlines_ms: groups.iter().map(|group| group.deadline_ms).collect(),
            pulses: HashMap::new(),
        }
    }

    /// How long the master may wait before it looks again; `None` when no group has a deadline.
    pub fn pause(&self) -> Option<Duration> {
        let shortest = self.deadlines_ms.iter().filter(|deadline_ms| **deadline_ms > 0).min()?;
        let pause = Duration::from_millis(u64::from(*shortest)) / LOOKS_PER_DEADLINE;
        Some(pause.clamp(PAUSE_MIN, PAUSE_MAX))
    }

    /// This worker is dead: its successor has all the time again.
    pub fn forget(&mut self, group: u16, index: u32) {
        self.pulses.remove(&(group, index));
    }

    /// Whether this worker of this group, which lives, is to be ended at this time (monotonic nanoseconds).
    pub fn judge(
        &mut self,
        group: u16,
        index: u32,
        worker: &WorkerStatistics,
        now_ns: u64,
    ) -> Option<Overdue> {
        let deadline_ms = u64::from(*self.deadlines_ms.get(usize::from(group))?);
        if deadline_ms == 0 {
            return None;
        }
        if worker.started_at_ns != 0 {
            self.pulses.remove(&(group, index));
            let busy_ms = now_ns.saturating_sub(worker.started_at_ns) / NS_PER_MS;
            let overdue = Overdue::Busy { busy_ms, started_at_ns: worker.started_at_ns };
            return (busy_ms > deadline_ms).then_some(overdue);
        }
        let count = worker.taken + worker.parks + worker.corrupt;
        let pulse = self.pulses.entry((group, index)).or_insert(Pulse { count, seen_at_ns: now_ns });
        if pulse.count != count {
            *pulse = Pulse { count, seen_at_ns: now_ns };
        }
        let still_ms = now_ns.saturating_sub(pulse.seen_at_ns) / NS_PER_MS;
        let is_lifeless = still_ms > deadline_ms.max(LIFELESS_MS_MIN);
        if is_lifeless {
            // Its successor has all the time again.
            self.pulses.remove(&(group, index));
        }
        is_lifeless.then_some(Overdue::Lifeless { still_ms })
    }
}

const NS_PER_MS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog(deadlines_ms: &[u32]) -> Watchdog {
        let group =
            |deadline_ms: &u32| GroupSetting { deadline_ms: *deadline_ms, ..GroupSetting::new("g", 1, 8) };
        Watchdog::new(&deadlines_ms.iter().map(group).collect::<Vec<_>>())
    }

    #[test]
    fn only_who_is_over_the_deadline_of_its_group_is_ended() {
        let mut watchdog = watchdog(&[100, 0]);
        let mut check = |group: u16, started_at_ms: u64, now_ms: u64, expected: Option<u64>| {
            let started_at_ns = started_at_ms * NS_PER_MS;
            let worker = WorkerStatistics { started_at_ns, ..WorkerStatistics::default() };
            let found = watchdog.judge(group, 0, &worker, now_ms * NS_PER_MS);
            let expected = expected.map(|busy_ms| Overdue::Busy { busy_ms, started_at_ns });
            assert_eq!(found, expected, "{group} {started_at_ms} {now_ms}");
        };
        check(0, 1_000, 1_100, None);
        check(0, 1_000, 1_101, Some(101));
        check(0, 2_000, 1_000, None);
        check(1, 1, u64::MAX / 2_000_000, None);
        check(2, 1, 9_999, None);
    }

    #[test]
    fn who_has_nothing_to_do_and_does_not_even_sleep_anew_is_ended() {
        let mut watchdog = watchdog(&[100]);
        let mut check = |parks: u64, now_ms: u64, expected: Option<u64>| {
            let worker = WorkerStatistics { parks, ..WorkerStatistics::default() };
            let found = watchdog.judge(0, 3, &worker, now_ms * NS_PER_MS);
            assert_eq!(found, expected.map(|still_ms| Overdue::Lifeless { still_ms }), "{parks} {now_ms}");
        };
        check(5, 10_000, None);
        check(5, 10_900, None);
        check(6, 10_950, None);
        check(6, 11_950, None);
        check(6, 11_951, Some(1_001));
        // The successor begins with what its predecessor had counted.
        check(6, 11_960, None);
        check(6, 12_960, None);
        check(7, 12_961, None);
    }

    #[test]
    fn the_shortest_deadline_says_how_often_to_look() {
        let check = |deadlines_ms: &[u32], expected: Option<u64>| {
            assert_eq!(
                watchdog(deadlines_ms).pause(),
                expected.map(Duration::from_millis),
                "{deadlines_ms:?}"
            );
        };
        check(&[], None);
        check(&[0, 0], None);
        check(&[30_000], Some(1_000));
        check(&[30_000, 0, 800], Some(100));
        check(&[20], Some(10));
    }
}
