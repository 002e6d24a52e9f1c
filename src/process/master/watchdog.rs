//! Which process has not moved for too long: arithmetic without clock or processes.
//!
//! The master asks in its own turns; no process is interrupted, and no lock is taken. A process that is stopped, waits for a
//! lock or turns in circles looks the same from here. A worker with a message has begun and has not finished. One
//! without wakes up some times a second, as do all others, and counts; when it does not, it is stopped, and what it was
//! woken for waits.
//!
//! A whole machine may stand still, too, or a container that is paused: then all processes are overdue at once and none is
//! to blame. It shows in the looks themselves, which come late; time counts anew from then on. And no process is killed at
//! the first look that finds it overdue, as one that goes on in the same moment as the master needs a moment to show it.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::config::settings::Settings;
use crate::process::roles::role::Role;

/// The deadlines of all processes, by the place where they run.
#[derive(Clone, Debug)]
pub struct Watchdog {
    groups_ms: Vec<u32>,
    others_ms: u32,
    heartbeats: HashMap<u32, Heartbeat>,
    /// Processes that were overdue at an earlier look, with what they were busy with.
    suspects: HashMap<u32, Suspect>,
    looked_at_ns: Option<u64>,
    /// When all stood still for the last time, that was over; nothing before it counts.
    resumed_at_ns: u64,
}

/// A process that was overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    /// When it began with its message, or what it had counted without one.
    mark: u64,
    found_at_ns: u64,
}

/// What a process had counted when it was last seen to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heartbeat {
    count: u64,
    seen_at_ns: u64,
}

/// What a process shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It has worked on one message since this time (monotonic nanoseconds).
    Busy {
        /// That time.
        started_at_ns: u64,
    },
    /// It counts while it moves.
    Counting {
        /// How far it has counted.
        count: u64,
    },
}

/// A process that is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// It works on one message.
    Busy {
        /// For so long.
        busy_ms: u64,
        /// When it began.
        started_at_ns: u64,
    },
    /// It does not move.
    Lifeless {
        /// For so long.
        still_ms: u64,
    },
}

impl fmt::Display for Overdue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overdue::Busy { busy_ms, .. } => {
                write!(out, "deadline_ms exceeded, busy with one message for {busy_ms} ms")
            }
            Overdue::Lifeless { still_ms } => write!(out, "no heartbeat for {still_ms} ms"),
        }
    }
}

/// The master looks at least so often when a deadline is long ...
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// ... and at most so often when it is short.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// A process that counts does so some times a second; on a busy machine it may be late.
const LIFELESS_MS_MIN: u64 = 1_000;
/// A process that was held up for longer than this, as all were, may have missed more counts than it had time for.
const COUNTS_MISSED_MAX: Duration = Duration::from_millis(LIFELESS_MS_MIN / 2);
/// The control process may wait for what becomes of a reload.
const CONTROL_MS_MIN: u32 = 10_000;
/// A deadline is passed by this part of it at most before it is seen.
const LOOKS_PER_DEADLINE: u32 = 8;
/// When so many looks were missed, this process stood still, and the others may have.
const LOOKS_MISSED_MAX: u32 = 3;
/// A busy machine holds up a process for so long without standing still.
const STANDSTILL_MIN: Duration = Duration::from_millis(50);

impl Watchdog {
    /// As these settings say.
    pub fn new(settings: &Settings) -> Watchdog {
        Watchdog {
            groups_ms: settings.groups.iter().map(|group| group.deadline_ms).collect(),
            others_ms: settings.process_deadline_ms,
            heartbeats: HashMap::new(),
            suspects: HashMap::new(),
            looked_at_ns: None,
            resumed_at_ns: 0,
        }
    }

    /// How long a process of this role may stand still, in milliseconds; 0 for ever.
    fn deadline_ms(&self, role: &Role) -> u32 {
        match role {
            Role::Master => 0,
            Role::Worker { group, .. } => self.groups_ms.get(usize::from(*group)).copied().unwrap_or(0),
            Role::Control if self.others_ms > 0 => self.others_ms.max(CONTROL_MS_MIN),
            Role::Receiver { .. } | Role::Timer { .. } | Role::Control => self.others_ms,
        }
    }

    /// How long the master may wait before it looks again; `None` when no process has a deadline.
    pub fn pause(&self) -> Option<Duration> {
        if self.suspects.is_empty() { self.usual_pause() } else { Some(PAUSE_MIN) }
    }

    fn usual_pause(&self) -> Option<Duration> {
        let all_ms = self.groups_ms.iter().chain([&self.others_ms]);
        let shortest = all_ms.filter(|deadline_ms| **deadline_ms > 0).min()?;
        let pause = Duration::from_millis(u64::from(*shortest)) / LOOKS_PER_DEADLINE;
        Some(pause.clamp(PAUSE_MIN, PAUSE_MAX))
    }

    /// The master looks at this time (monotonic nanoseconds), before it judges anybody.
    pub fn look(&mut self, now_ns: u64) {
        let Some(pause) = self.usual_pause() else { return };
        let gap_max = (pause * LOOKS_MISSED_MAX).max(STANDSTILL_MIN);
        let last_ns = self.looked_at_ns.replace(now_ns).unwrap_or(now_ns);
        let gap = Duration::from_nanos(now_ns.saturating_sub(last_ns));
        if gap > gap_max.max(COUNTS_MISSED_MAX) {
            self.heartbeats.clear();
        }
        if gap > gap_max {
            self.resumed_at_ns = now_ns;
            self.suspects.clear();
        }
    }

    /// The process at this place is dead: its successor has all the time again.
    pub fn forget(&mut self, place: u32) {
        self.heartbeats.remove(&place);
        self.suspects.remove(&place);
    }

    /// Whether the process at this place, which lives, is to be ended at this time (monotonic nanoseconds).
    pub fn judge(&mut self, place: u32, role: &Role, sight: Sight, now_ns: u64) -> Option<Overdue> {
        let deadline_ms = u64::from(self.deadline_ms(role));
        if deadline_ms == 0 {
            return None;
        }
        let found = match sight {
            Sight::Counting { count } => {
                let still_ms = self.still_ms(place, count, now_ns);
                let overdue = Overdue::Lifeless { still_ms };
                (still_ms > deadline_ms.max(LIFELESS_MS_MIN)).then_some((overdue, count))
            }
            Sight::Busy { started_at_ns } => {
                self.heartbeats.remove(&place);
                let busy_ms = now_ns.saturating_sub(started_at_ns.max(self.resumed_at_ns)) / NS_PER_MS;
                let overdue = Overdue::Busy { busy_ms, started_at_ns };
                (busy_ms > deadline_ms).then_some((overdue, started_at_ns))
            }
        };
        let Some((overdue, mark)) = found else {
            self.suspects.remove(&place);
            return None;
        };
        let suspect = self.suspects.entry(place).or_insert(Suspect { mark, found_at_ns: now_ns });
        if suspect.mark != mark {
            *suspect = Suspect { mark, found_at_ns: now_ns };
        }
        if now_ns.saturating_sub(suspect.found_at_ns) < PAUSE_MIN.as_nanos() as u64 {
            return None;
        }
        // Its successor has all the time again.
        self.forget(place);
        Some(overdue)
    }

    /// For how long the process at this place has not counted.
    fn still_ms(&mut self, place: u32, count: u64, now_ns: u64) -> u64 {
        let heartbeat = self.heartbeats.entry(place).or_insert(Heartbeat { count, seen_at_ns: now_ns });
        if heartbeat.count != count {
            *heartbeat = Heartbeat { count, seen_at_ns: now_ns };
        }
        now_ns.saturating_sub(heartbeat.seen_at_ns) / NS_PER_MS
    }
}

const NS_PER_MS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::GroupSetting;

    /// One whose groups have these deadlines, and no other process has any.
    fn watchdog(deadlines_ms: &[u32]) -> Watchdog {
        let group =
            |deadline_ms: &u32| GroupSetting { deadline_ms: *deadline_ms, ..GroupSetting::new("g", 1, 8) };
        let groups = deadlines_ms.iter().map(group).collect();
        Watchdog::new(&Settings { groups, process_deadline_ms: 0, ..Settings::default() })
    }

    fn worker(group: u16) -> Role {
        Role::Worker { group, name: "g".to_owned(), index: 0 }
    }

    #[test]
    fn only_who_is_over_the_deadline_of_its_group_is_ended() {
        let mut watchdog = watchdog(&[100, 0]);
        let mut check = |group: u16, started_at_ms: u64, now_ms: u64, expected: Option<u64>| {
            let started_at_ns = started_at_ms * NS_PER_MS;
            let sight = Sight::Busy { started_at_ns };
            let found = watchdog.judge(7, &worker(group), sight, now_ms * NS_PER_MS);
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
        let mut check = |count: u64, now_ms: u64, expected: Option<u64>| {
            let found = watchdog.judge(3, &worker(0), Sight::Counting { count }, now_ms * NS_PER_MS);
            assert_eq!(found, expected.map(|still_ms| Overdue::Lifeless { still_ms }), "{count} {now_ms}");
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
            watchdog.look(now_ms * NS_PER_MS);
            let sight = Sight::Busy { started_at_ns };
            let found = watchdog.judge(3, &worker(0), sight, now_ms * NS_PER_MS);
            assert_eq!(found.is_some(), expected, "{now_ms} {started_at_ms}");
        };
        let looks = |from: u64, to: u64| (from..to).step_by(125);
        looks(0, 1_000).for_each(|now_ms| check(now_ms, 10, false));
        // A minute passes in which no process moved; one that had begun before has a second from now on.
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
        let mut is_ended = |now_ms: u64| {
            watchdog.look(now_ms * NS_PER_MS);
            watchdog.judge(3, &worker(0), Sight::Counting { count: 1 }, now_ms * NS_PER_MS).is_some()
        };
        assert!((0..990).step_by(10).all(|now_ms| !is_ended(now_ms)));
        assert!((5_000..6_020).step_by(10).all(|now_ms| !is_ended(now_ms)));
        assert!(is_ended(6_020));
    }

    #[test]
    fn looks_as_rare_as_long_deadlines_allow_are_no_standstill_for_who_counts() {
        let mut watchdog = watchdog(&[30_000]);
        assert_eq!(watchdog.pause(), Some(PAUSE_MAX));
        let mut is_ended = |now_ms: u64| {
            watchdog.look(now_ms * NS_PER_MS);
            watchdog.judge(3, &worker(0), Sight::Counting { count: 1 }, now_ms * NS_PER_MS).is_some()
        };
        assert!((0..=31_000).step_by(1_000).all(|now_ms| !is_ended(now_ms)));
        assert!(is_ended(31_010));
    }

    #[test]
    fn a_short_deadline_of_others_does_not_make_late_looks_forget_who_stands_still() {
        let mut watchdog = watchdog(&[100, 2_000]);
        let mut is_ended = |now_ms: u64| {
            watchdog.look(now_ms * NS_PER_MS);
            watchdog.judge(3, &worker(1), Sight::Counting { count: 1 }, now_ms * NS_PER_MS).is_some()
        };
        assert!((0..=2_100).step_by(100).all(|now_ms| !is_ended(now_ms)));
        assert!(is_ended(2_110));
    }

    #[test]
    fn who_is_no_worker_has_a_deadline_of_its_own() {
        let receiver = Role::Receiver { producer: 0, listener: 0, place: String::new(), number: 1 };
        let timer = Role::Timer { producer: 1 };
        let rows = [
            (0, [0, 0, 0, 0]),
            (2_000, [0, 2_000, 2_000, CONTROL_MS_MIN]),
            (30_000, [0, 30_000, 30_000, 30_000]),
        ];
        for (process_deadline_ms, expected) in rows {
            let watchdog = Watchdog::new(&Settings { process_deadline_ms, ..Settings::default() });
            let found =
                [&Role::Master, &receiver, &timer, &Role::Control].map(|role| watchdog.deadline_ms(role));
            assert_eq!(found, expected, "{process_deadline_ms}");
            assert_eq!(watchdog.pause().is_some(), process_deadline_ms > 0, "{process_deadline_ms}");
        }
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
