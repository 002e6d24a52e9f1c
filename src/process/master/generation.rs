//! A generation: a set of processes with all that they share: script, rings, counters, table of processes, listeners.
//!
//! The master supervises one as its own; the others, its elders, take turns in that place for as long as they live, so
//! that a death among them is repaired in their own rings and everything else holds for them as well.

use std::mem;
use std::time::Instant;

use super::damage::Damage;
use super::overload::OverloadControl;
use super::repair::RepairShop;
use super::scaling::Scaling;
use super::supervisor::{Event, Patience};
use super::watchdog::Watchdog;
use crate::config::settings::Settings;
use crate::process::heritage::Heritage;
use crate::process::master::Master;
use crate::process::master::child_slots::Child;
use crate::process::master::totals::Totals;
use crate::process::roles::quarantine_writer::Undertaking;
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
    /// All is well.
    Serving,
    /// In this step of an orderly stop.
    Stopping { step: usize, since: Instant },
    /// No time was left, or no patience: everybody is killed.
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
    pub(in crate::process) undertaking: Undertaking,
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
            undertaking: Undertaking::default(),
            children: children(&heritage.places, settings),
            phase,
            heritage,
        }
    }

    /// Whether the server is on its way to its end.
    pub(in crate::process) fn is_stopping(&self) -> bool {
        self.phase.is_last()
    }

    /// Whether one of those that never were ready does not hold.
    pub(in crate::process) fn is_start_hopeless(&self) -> bool {
        self.children.iter().any(|child| !child.is_ready && child.state.is_degraded(&Patience::USUAL))
    }

    /// Whether a child that died left something that nobody has taken.
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

/// The elders.
impl Master {
    /// Does something with an elder in the place of the generation that serves.
    pub(in crate::process) fn with_draining<T>(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Master) -> T,
    ) -> T {
        // The one that serves waits among the elders meanwhile: who is forked now lets all of these go.
        mem::swap(&mut self.current, &mut self.elders[index]);
        let result = act(self);
        mem::swap(&mut self.current, &mut self.elders[index]);
        result
    }

    /// Elders that still serve finish what they accepted and go.
    pub(in crate::process) fn dismiss_draining(&mut self) {
        for index in 0..self.elders.len() {
            self.with_draining(index, |master| {
                if master.current.is_stopping() {
                    return;
                }
                let number = master.current.heritage.fixed.generation;
                master.say(
                    Level::Notice,
                    format_args!("generation {number} is draining: it finishes accepted messages and exits"),
                );
                master.current.phase = Phase::Stopping { step: 0, since: Instant::now() };
                // Two would answer at one socket.
                for index in 0..master.current.children.len() {
                    if master.current.children[index].role == Role::Control {
                        master.tell_supervisor(index, Event::Stop);
                    }
                }
            });
        }
    }

    pub(in crate::process) fn tend_draining(&mut self) {
        let mut index = 0;
        while index < self.elders.len() {
            let status = self.with_draining(index, |master| {
                master.hear_readiness();
                master.undertake();
                master.follow_the_clock();
                master.status_at_end()
            });
            match status {
                Some(status) => self.forget_draining(index, status),
                None => index += 1,
            }
        }
        if !self.elders.is_empty() {
            self.write_totals();
        }
    }

    /// Its memory goes, its sockets go unless others share them, what it counted stays.
    fn forget_draining(&mut self, index: usize, status: i32) {
        let elder = self.elders.remove(index);
        self.reload.status = self.reload.status.max(status);
        self.reload.totals.add(&elder.heritage);
        self.reload.totals.forget_waiting();
        let number = elder.heritage.fixed.generation;
        drop(elder);
        self.say(Level::Notice, format_args!("generation {number} has ended"));
        self.write_totals();
    }

    /// What everybody before the generation that serves has counted.
    fn totals_before(&self) -> Totals {
        let mut totals = self.reload.totals.clone();
        totals.merge(&self.reload.former);
        self.elders.iter().for_each(|elder| totals.add(&elder.heritage));
        totals
    }

    pub(in crate::process) fn write_totals(&self) {
        self.totals_before().write(&self.current.heritage, self.elders.len() as u64);
    }

    /// What the whole server has counted.
    pub(in crate::process) fn totals_of_all(&self) -> Totals {
        let mut totals = self.totals_before();
        totals.add(&self.current.heritage);
        totals
    }

    /// For a child that was just forked: what belongs to other generations is none of its business.
    pub(in crate::process) fn forget_others(&mut self) {
        self.elders.clear();
        self.upgrade.forget_lines();
        self.succession = None;
        self.former = None;
    }
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
    fn who_stops_or_ends_does_not_come_back() {
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
