//! How many workers of a group run, between `workers=` and `max_workers=`: more when all are busy and messages wait, fewer
//! when some have had nothing to do for a while.
//!
//! Their places, rings and slots exist from the start; only processes come and go. One step up needs a tenth of a second of
//! pressure, one step down several seconds of ease, so that a group does not swing with its traffic.

use std::time::{Duration, Instant};

use super::generation::{Generation, Phase};
use super::supervisor::{Event, Milliseconds, State};
use crate::config::settings::GroupSetting;
use crate::process::master::child_slots::Child;
use crate::process::roles::role::Role;
use crate::shm::WorkerState;
use crate::telemetry::log::Level;

/// The master looks so often, when a group can grow.
pub const LOOKED_EVERY: Duration = Duration::from_millis(50);
/// So many looks in a row must find a group under pressure before it grows.
const LOOKS_TO_GROW: u32 = 2;
/// So many must find one worker too many before it shrinks: five seconds.
const LOOKS_TO_SHRINK: u32 = 100;

/// What one look at a group finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    living: u32,
    busy: u32,
    waiting: u64,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Grow,
    Shrink,
}

/// The memory of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scale {
    pressed: u32,
    at_ease: u32,
}

impl Scale {
    fn judge(&mut self, sight: Sight, least: u32, most: u32) -> Step {
        let is_pressed = sight.busy >= sight.living && sight.waiting > 0;
        let is_at_ease = sight.busy + 1 < sight.living && sight.waiting == 0;
        self.pressed = if is_pressed { self.pressed + 1 } else { 0 };
        self.at_ease = if is_at_ease { self.at_ease + 1 } else { 0 };
        if self.pressed >= LOOKS_TO_GROW && sight.living < most {
            *self = Scale::default();
            Step::Grow
        } else if self.at_ease >= LOOKS_TO_SHRINK && sight.living > least {
            *self = Scale::default();
            Step::Shrink
        } else {
            Step::Nothing
        }
    }
}

/// The scales of all groups of a generation.
pub struct Scaling {
    scales: Vec<Scale>,
    can_change: bool,
    next_look: Instant,
}

impl Scaling {
    /// For these groups, by index.
    pub fn new(groups: &[GroupSetting]) -> Scaling {
        Scaling {
            scales: vec![Scale::default(); groups.len()],
            can_change: groups.iter().any(|group| group.workers_max > group.workers),
            next_look: Instant::now(),
        }
    }

    /// How long the master may wait before it looks again; `None` when no group can change.
    pub fn pause(&self) -> Option<Duration> {
        self.can_change.then_some(LOOKED_EVERY)
    }
}

impl Generation {
    /// One look at every group, when it is time.
    pub(in crate::process) fn scale_groups(&mut self, now: Milliseconds) {
        let at = Instant::now();
        if !self.scaling.can_change || self.phase != Phase::Serving || at < self.scaling.next_look {
            return;
        }
        self.scaling.next_look = at + LOOKED_EVERY;
        let loaded = self.heritage.loaded.clone();
        for (group, setting) in (0_u16..).zip(&loaded.settings().groups) {
            let sight = self.look_at(group);
            let scale = &mut self.scaling.scales[usize::from(group)];
            match scale.judge(sight, setting.workers, setting.workers_max) {
                Step::Nothing => {}
                Step::Grow => self.grow(group, setting, sight, now),
                Step::Shrink => self.shrink(group, setting, sight, now),
            }
        }
        self.remind_stopping(now);
    }

    fn look_at(&self, group: u16) -> Sight {
        let mut sight = Sight {
            living: 0,
            busy: 0,
            waiting: self.heritage.parts.queues.group_statistics(u32::from(group)).depth,
        };
        for child in &self.children {
            let Role::Worker { group: own, index, .. } = child.role else { continue };
            if own == group && matches!(child.state, State::Running { .. }) {
                sight.living += 1;
                sight.busy += u32::from(self.repair.worker(group, index).state == WorkerState::Busy);
            }
        }
        sight
    }

    fn grow(&mut self, group: u16, setting: &GroupSetting, sight: Sight, now: Milliseconds) {
        let is_dormant = |child: &Child| is_worker_of(child, group) && child.state == State::Gone;
        let Some(index) = self.children.iter().position(is_dormant) else { return };
        self.say(
            Level::Info,
            format_args!(
                "group {}: all {} workers are busy, {} messages waiting: starting a worker",
                setting.name, sight.living, sight.waiting
            ),
        );
        self.tell_supervisor(index, Event::Recalled, now);
    }

    fn shrink(&mut self, group: u16, setting: &GroupSetting, sight: Sight, now: Milliseconds) {
        let is_running =
            |child: &Child| is_worker_of(child, group) && matches!(child.state, State::Running { .. });
        let Some(index) = self.children.iter().rposition(is_running) else { return };
        self.say(
            Level::Info,
            format_args!(
                "group {}: {} of {} workers are busy: stopping a worker",
                setting.name, sight.busy, sight.living
            ),
        );
        self.tell_supervisor(index, Event::Stop, now);
    }

    /// A worker that was about to sleep when it was asked sleeps on until it is woken and asked again.
    fn remind_stopping(&mut self, now: Milliseconds) {
        let stopping: Vec<usize> =
            (0..self.children.len()).filter(|index| self.children[*index].state == State::Stopping).collect();
        for index in &stopping {
            self.tell_supervisor(*index, Event::Stop, now);
        }
        if !stopping.is_empty() {
            self.repair.wake_all();
        }
    }
}

fn is_worker_of(child: &Child, group: u16) -> bool {
    matches!(child.role, Role::Worker { group: own, .. } if own == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(living: u32, busy: u32, waiting: u64) -> Sight {
        Sight { living, busy, waiting }
    }

    /// After how many equal looks a group changes, if it does within a few minutes.
    fn check(sight: Sight, expected: Option<(u32, Step)>) {
        let mut scale = Scale::default();
        let found =
            (1..=4_000).map(|look| (look, scale.judge(sight, 2, 4))).find(|(_, step)| *step != Step::Nothing);
        assert_eq!(found, expected, "{sight:?}");
    }

    #[test]
    fn groups_grow_soon_and_shrink_late_and_stay_within_their_bounds() {
        check(sight(2, 2, 5), Some((LOOKS_TO_GROW, Step::Grow)));
        check(sight(3, 3, 1), Some((LOOKS_TO_GROW, Step::Grow)));
        check(sight(4, 4, 5), None);
        check(sight(2, 2, 0), None);
        check(sight(2, 1, 5), None);
        check(sight(4, 0, 0), Some((LOOKS_TO_SHRINK, Step::Shrink)));
        check(sight(3, 1, 0), Some((LOOKS_TO_SHRINK, Step::Shrink)));
        // One worker to spare is no reason to end one.
        check(sight(3, 2, 0), None);
        check(sight(2, 0, 0), None);
    }

    #[test]
    fn a_moment_of_the_contrary_begins_anew() {
        let mut scale = Scale::default();
        for _ in 0..1_000 {
            assert_eq!(scale.judge(sight(2, 2, 5), 2, 4), Step::Nothing);
            assert_eq!(scale.judge(sight(2, 1, 0), 2, 4), Step::Nothing);
        }
    }
}
