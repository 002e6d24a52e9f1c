//! A generation: a set of processes with all that they share: script, rings, counters, table of processes, listeners.
//!
//! The master has one that serves and any number that drain: they finish what they accepted. Each has its own children,
//! figures and phase, and what a generation does to them stands beside this file: [`super::supervision`] deaths and
//! starts, [`super::stop`] the end, [`super::scaling`], [`super::overload`] and [`super::damage`] the rest.

use std::fmt;
use std::time::Instant;

use super::damage::Damage;
use super::overload::OverloadControl;
use super::repair::RepairShop;
use super::scaling::Scaling;
use super::supervisor::RestartPolicy;
use super::watchdog::Watchdog;
use crate::config::settings::Settings;
use crate::process::heritage::Heritage;
use crate::process::master::child_slots::Child;
use crate::process::roles::quarantine_writer::QuarantineQueue;
use crate::process::roles::role::Role;
use crate::telemetry::log::Level;

/// Where a generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::process) enum Phase {
    /// Not all children are ready.
    Starting,
    /// All children are ready, and the program before this one has the names still.
    Succeeding { since: Instant },
    /// Not all children are ready, and the generation before this one serves meanwhile.
    TakingOver { since: Instant },
    /// It serves.
    Serving,
    /// In this step of an orderly stop.
    Stopping { step: usize, since: Instant },
    /// No time was left, or a second signal to stop came: all its processes are killed.
    Ending { status: i32, since: Instant },
}

impl Phase {
    /// Whether nothing but the end comes after it.
    fn is_last(self) -> bool {
        matches!(self, Phase::Stopping { .. } | Phase::Ending { .. })
    }
}

/// Processes with all that they share.
pub struct Generation {
    pub(in crate::process) heritage: Heritage,
    pub(in crate::process) repair: RepairShop,
    pub(in crate::process) watchdog: Watchdog,
    pub(in crate::process) scaling: Scaling,
    pub(in crate::process) overload: OverloadControl,
    pub(in crate::process) damage: Damage,
    pub(in crate::process) quarantine_queue: QuarantineQueue,
    pub(in crate::process) children: Vec<Child>,
    pub(in crate::process) phase: Phase,
}

impl Generation {
    /// One whose children do not exist yet.
    pub(in crate::process) fn new(heritage: Heritage, phase: Phase) -> Generation {
        let settings = heritage.loaded.settings();
        Generation {
            repair: RepairShop::new(&heritage.parts.queues),
            watchdog: Watchdog::new(settings),
            scaling: Scaling::new(&settings.groups),
            overload: OverloadControl::new(&settings.groups),
            damage: Damage::none(),
            quarantine_queue: QuarantineQueue::default(),
            children: children(&heritage.places, settings),
            phase,
            heritage,
        }
    }

    /// Writes to the log of this generation.
    pub(in crate::process) fn say(&self, level: Level, text: fmt::Arguments<'_>) {
        self.heritage.log.say(level, text);
    }

    /// Whether it is on its way to its end.
    pub(in crate::process) fn is_stopping(&self) -> bool {
        self.phase.is_last()
    }

    /// Whether a child that never was ready keeps crashing.
    pub(in crate::process) fn is_start_hopeless(&self) -> bool {
        self.children.iter().any(|child| !child.is_ready && child.state.is_degraded(&RestartPolicy::USUAL))
    }

    /// Whether a child that died left something that no other child has taken.
    pub(in crate::process) fn has_leftovers(&self) -> bool {
        self.children.iter().any(|child| child.has_left_something)
    }

    /// Gives what a dead child left to others. A replacement that runs takes it itself; without one, other processes take
    /// it: first they send what lies in its outbox, then a worker of its group processes the message that it held. Whether
    /// nothing is left.
    pub(super) fn hand_over(&mut self, index: usize) -> bool {
        let child = &self.children[index];
        if child.process.is_some() {
            return true;
        }
        if self.heritage.parts.outboxes.abandon(child.place) {
            self.repair.wake_all();
            return false;
        }
        self.repair.hand_over(&child.role)
    }

    /// How many processes there are, this one included.
    pub(in crate::process) fn process_count(&self) -> usize {
        1 + self.children.iter().filter(|child| child.process.is_some()).count()
    }

    /// The state of the server in one line.
    pub(in crate::process) fn status_text(&self) -> String {
        let (count, generation) = (self.process_count(), self.heritage.fixed.generation);
        format!("serving: {count} processes, generation {generation}")
    }
}

/// All but the master. Workers beyond `workers=` sleep until they are needed.
fn children(places: &[Role], settings: &Settings) -> Vec<Child> {
    let child = |(place, role): (u32, &Role)| match role {
        Role::Worker { group, index, .. } if *index >= settings.groups[usize::from(*group)].workers => {
            Child::dormant(place, role)
        }
        _ => Child::new(place, role),
    };
    (0..).zip(places).skip(1).map(child).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::master::supervisor::State;
    use crate::process::start::boot::tests::Scene;

    #[test]
    fn workers_that_are_not_needed_yet_sleep() {
        let scene = Scene::new(
            "listen=udp:127.0.0.1:0\nchildren=1\n\
             async_workers_group=\"name=calls;workers=1;max_workers=3;queue=16\"\nrequest_route { exit; }\n",
        );
        let children = children(&scene.heritage.places, scene.heritage.loaded.settings());
        let awake: Vec<_> = children.iter().filter(|child| child.state == State::NEW).collect();
        let titles: Vec<_> = awake.iter().map(|child| child.role.to_string()).collect();
        assert_eq!(children.len(), 5);
        assert_eq!(titles.len(), 3, "{titles:?}");
        assert!(titles.contains(&"worker calls/1".to_owned()), "{titles:?}");
        assert!(awake.iter().all(|child| !child.is_ready));
        assert!(children.iter().all(|child| child.place > 0 && child.process.is_none()));
    }

    #[test]
    fn a_generation_that_stops_or_ends_does_not_serve_again() {
        let since = Instant::now();
        let rows = [
            (Phase::Starting, false),
            (Phase::Succeeding { since }, false),
            (Phase::TakingOver { since }, false),
            (Phase::Serving, false),
            (Phase::Stopping { step: 0, since }, true),
            (Phase::Ending { status: 0, since }, true),
        ];
        for (phase, expected) in rows {
            assert_eq!(phase.is_last(), expected, "{phase:?}");
        }
    }
}
