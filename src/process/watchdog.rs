//! Which worker has worked on one message for too long: arithmetic without clock or processes.
//!
//! The master asks in its own turns; nobody is interrupted, and no lock is taken. A worker that is stopped, waits for a
//! lock or turns in circles looks the same from here: it has begun and has not finished. One that has nothing in its
//! hands wakes up some times a second; when it does not, it is stopped, and what it was woken for waits.
//!
//! A whole machine may stand still, too, or a container that is paused: then everybody is overdue at once and nobody is
//! to blame. It shows in the looks themselves, which come late; time counts anew from then on. And nobody is ended at
//! the first look that finds it overdue, as whoever goes on in the same moment as the master needs a moment to show it.

use std::collections::HashMap;
use std::time::Duration;

use crate::core::settings::GroupSetting;
use crate::shm::WorkerStatistics;

/// The deadlines of all groups.
#[derive(Clone, Debug)]
pub struct Watchdog {
    deadlines_ms: Vec<u32>,
    pulses: HashMap<(u16, u32), Pulse>,
    /// Who was overdue at an earlier look, and still with the same thing.
    suspects: HashMap<(u16, u32), Suspect>,
    looked_at_ns: Option<u64>,
    /// When all stood still for the last time, that was over; nothing before it counts.
    resumed_at_ns: u64,
}

/// A worker that was overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    /// When it began with its message, or what it had counted without one.
    mark: u64,
    found_at_ns: u64,
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
/// When so many looks were missed, this process stood still, and the others may have.
const LOOKS_MISSED_MAX: u32 = 3;
/// A busy machine holds up a process for so long without standing still.
const STANDSTILL_MIN: Duration = Duration::from_millis(50);

impl Watchdog {
    /// For these groups, by index.
    pub fn new(groups: &[GroupSetting]) -> Watchdog {
        Watchdog {
            deadlines_ms: groups.iter().map(|group| group.deadline_ms).collect(),
            pulses: HashMap::new(),
            suspects: HashMap::new(),
            looked_at_ns: None,
            resumed_at_ns: 0,
        }
    }

    /// How long the master may wait before it looks again; `None` when no group has a deadline.
    pub fn pause(&self) -> Option<Duration> {
        if self.suspects.is_empty() { self.usual_pause() } else { Some(PAUSE_MIN) }
    }

    fn usual_pause(&self) -> Option<Duration> {
        let shortest = self.deadlines_ms.iter().filter(|deadline_ms| **deadline_ms > 0).min()?;
        let pause = Duration::from_millis(u64::from(*shortest)) / LOOKS_PER_DEADLINE;
        Some(pause.clamp(PAUSE_MIN, PAUSE_MAX))
    }

    /// The master looks at this time (monotonic nanoseconds), before it judges anybody.
    pub fn look(&mut self, now_ns: u64) {
        let Some(pause) = self.usual_pause() else { return };
        let gap_max = (pause * LOOKS_MISSED_MAX).max(STANDSTILL_MIN);
        let last_ns = self.looked_at_ns.replace(now_ns).unwrap_or(now_ns);
        if now_ns.saturating_sub(last_ns) > gap_max.as_nanos() as u64 {
            self.resumed_at_ns = now_ns;
            self.pulses.clear();
            self.suspects.clear();
        }
    }

    /// This worker is dead: its successor has all the time again.
    pub fn forget(&mut self, group: u16, index: u32) {
        self.pulses.remove(&(group, index));
        self.suspects.remove(&(group, index));
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
        let found = match worker.started_at_ns {
            0 => self.stillness(group, index, worker, deadline_ms.max(LIFELESS_MS_MIN), now_ns),
            started_at_ns => {
                self.pulses.remove(&(group, index));
                let busy_ms = now_ns.saturating_sub(started_at_ns.max(self.resumed_at_ns)) / NS_PER_MS;
                let overdue = Overdue::Busy { busy_ms, started_at_ns };
                (busy_ms > deadline_ms).then_some((overdue, started_at_ns))
            }
        };
        let Some((overdue, mark)) = found else {
            self.suspects.remove(&(group, index));
            return None;
        };
        let suspect = self.suspects.entry((group, index)).or_insert(Suspect { mark, found_at_ns: now_ns });
        if suspect.mark != mark {
            *suspect = Suspect { mark, found_at_ns: now_ns };
        }
        if now_ns.saturating_sub(suspect.found_at_ns) < PAUSE_MIN.as_nanos() as u64 {
            return None;
        }
        // Its successor has all the time again.
        self.forget(group, index);
        Some(overdue)
    }

    /// A worker without a message that has not even slept anew for too long, and what it had counted.
    fn stillness(
        &mut self,
        group: u16,
        index: u32,
        worker: &WorkerStatistics,
        deadline_ms: u64,
        now_ns: u64,
    ) -> Option<(Overdue, u64)> {
        let count = worker.taken + worker.parks + worker.corrupt;
        let pulse = self.pulses.entry((group, index)).or_insert(Pulse { count, seen_at_ns: now_ns });
        if pulse.count != count {
            *pulse = Pulse { count, seen_at_ns: now_ns };
        }
        let still_ms = now_ns.saturating_sub(pulse.seen_at_ns) / NS_PER_MS;
        (still_ms > deadline_ms).then_some((Overdue::Lifeless { still_ms }, count))
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
        check(0, 1_000, 1_101, None);
        check(0, 1_000, 1_110, None);
        check(0, 1_000, 1_111, Some(111));
        // It finished in between, and is slow with the next one, too.
        check(0, 2_000, 2_101, None);
        check(0, 2_050, 2_120, None);
        check(0, 2_050, 2_151, None);
        check(0, 2_060, 2_161, None);
        check(0, 2_060, 2_171, Some(111));
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
        check(6, 11_951, None);
        check(7, 11_955, None);
        check(7, 12_956, None);
        check(7, 12_966, Some(1_011));
        // The successor begins with what its predecessor had counted.
        check(7, 12_970, None);
        check(7, 13_970, None);
        check(8, 13_971, None);
    }

    #[test]
    fn when_all_stood_still_time_counts_anew_and_for_one_it_does_not() {
        let mut watchdog = watchdog(&[1_000]);
        let mut check = |now_ms: u64, started_at_ms: u64, expected: bool| {
            let started_at_ns = started_at_ms * NS_PER_MS;
            let worker = WorkerStatistics { started_at_ns, ..WorkerStatistics::default() };
            watchdog.look(now_ms * NS_PER_MS);
            let found = watchdog.judge(0, 0, &worker, now_ms * NS_PER_MS);
            assert_eq!(found.is_some(), expected, "{now_ms} {started_at_ms}");
        };
        let looks = |from: u64, to: u64| (from..to).step_by(125);
        looks(0, 1_000).for_each(|now_ms| check(now_ms, 10, false));
        // A minute passes in which nobody moved; who had begun before has a second from now on.
        looks(61_000, 62_001).for_each(|now_ms| check(now_ms, 10, false));
        check(62_100, 10, false);
        check(62_120, 10, true);
        // A look that comes late by less is no standstill.
        check(62_300, 62_200, false);
        looks(62_600, 63_200).for_each(|now_ms| check(now_ms, 62_200, false));
        check(63_250, 62_200, false);
        check(63_260, 62_200, true);
    }

    #[test]
    fn sleepers_have_all_their_time_again_after_a_standstill() {
        let mut watchdog = watchdog(&[100]);
        let worker = WorkerStatistics::default();
        let mut is_ended = |now_ms: u64| {
            watchdog.look(now_ms * NS_PER_MS);
            watchdog.judge(0, 0, &worker, now_ms * NS_PER_MS).is_some()
        };
        assert!((0..990).step_by(10).all(|now_ms| !is_ended(now_ms)));
        assert!((5_000..6_020).step_by(10).all(|now_ms| !is_ended(now_ms)));
        assert!(is_ended(6_020));
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
