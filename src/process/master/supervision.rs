//! How a generation is supervised: which children are ready, what died and is put in order, which child is started
//! again and when, which process hangs.
//!
//! ```text
//!  a child died ──► repair · obituary · quarantine ──► wake ──► supervisor's table ──► wanted, now or later
//!  time passed  ──► watchdog · supervisor's table · next step of a stop
//! ```
//!
//! Nothing here forks: a child whose state is [`State::Wanted`] is forked by the master in the same turn, because the
//! new process must first let go of what belongs to other generations.

use std::io;
use std::time::Duration;

use super::child_slots::Child;
use super::generation::{Generation, Phase};
use super::obituary::{Obituary, Occupation};
use super::repair::{Dead, Finding};
use super::stop::GRACE;
use super::supervisor::{self, Action, Event, Milliseconds, RestartPolicy, State};
use super::watchdog::{Overdue, Sight};
use crate::process::roles::child;
use crate::process::roles::role::Role;
use crate::shm::{Tended, WorkerStatistics};
use crate::state::parts::Parts;
use crate::sys::clock::monotonic_ns;
use crate::sys::process::{DeadChild, ExitStatus, ProcessId};
use crate::sys::signal::Signal;
use crate::telemetry::counters::SET_ASIDE;
use crate::telemetry::log::{Level, Line};

/// What a dead worker held is given to another one when its successor comes later than this.
const SUCCESSOR_AWAITED: Duration = Duration::from_millis(50);

/// What an end means to the supervisor.
fn death(status: ExitStatus) -> Event {
    match status {
        ExitStatus::Killed { signal, .. } if signal == Signal::SIGKILL as i32 => Event::WasKilled,
        ExitStatus::Exited(child::EXIT_STARVED) => Event::Starved,
        _ => Event::Died,
    }
}

/// What a worker shows of itself: when it began with its message, or how far it has counted without one.
fn sight(worker: &WorkerStatistics) -> Sight {
    match worker.started_at_ns {
        0 => Sight::Counting { count: worker.taken + worker.parks + worker.corrupt },
        started_at_ns => Sight::Busy { started_at_ns },
    }
}

impl Generation {
    /// Whether every child has been ready once.
    pub(in crate::process) fn is_ready(&self) -> bool {
        self.children.iter().all(|child| child.is_ready)
    }

    /// The process at this place says that it is ready.
    pub(in crate::process) fn note_ready(&mut self, place: u32) {
        if let Some(child) = self.children.iter_mut().find(|child| child.place == place) {
            child.is_ready = true;
        }
    }

    /// Whether the master is to fork this child now. Receivers are started last, so that nothing is accepted before all
    /// other processes are ready.
    pub(in crate::process) fn is_to_be_forked(&self, index: usize) -> bool {
        let is_receiver = |child: &Child| matches!(child.role, Role::Receiver { .. });
        let child = &self.children[index];
        let is_first_receiver = is_receiver(child) && child.row.incarnation == 0;
        let is_its_time = || {
            matches!(self.phase, Phase::Starting | Phase::TakingOver { .. })
                && self.children.iter().all(|child| child.is_ready || is_receiver(child))
        };
        matches!(child.state, State::Wanted { .. }) && (!is_first_receiver || is_its_time())
    }

    /// Whether it can be forked at once: for a moment others may still send what its predecessor left.
    pub(in crate::process) fn may_start(&self, index: usize) -> bool {
        self.heritage.parts.outboxes.may_start(self.children[index].place)
    }

    /// The master has forked this child.
    pub(in crate::process) fn was_forked(&mut self, index: usize, process: ProcessId, now: Milliseconds) {
        self.children[index].was_forked(process, &self.heritage.parts.processes);
        self.tell_supervisor(index, Event::Started, now);
    }

    /// The master could not fork this child.
    pub(in crate::process) fn fork_failed(&mut self, index: usize, error: &io::Error, now: Milliseconds) {
        self.say(Level::Error, format_args!("could not fork {}: {error}", self.children[index].role));
        self.tell_supervisor(index, Event::FailedToStart, now);
    }

    /// Puts in order what dead children of this generation held, all of them before any is started again. Gives back the
    /// dead of other generations.
    pub(in crate::process) fn reap_own(&mut self, dead: Vec<DeadChild>, now: Milliseconds) -> Vec<DeadChild> {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for found in dead {
            if let Some(index) = self.children.iter().position(|c| c.process == Some(found.process)) {
                self.reap(index, found.status);
                ours.push((index, death(found.status)));
            } else if !self.quarantine_queue.has_died(found.process) {
                others.push(found);
            }
        }
        if !ours.is_empty() {
            self.heritage.parts.each().for_each(Tended::wake);
        }
        for (index, death) in ours {
            self.tell_supervisor(index, death, now);
        }
        others
    }

    fn reap(&mut self, index: usize, status: ExitStatus) {
        let child = &mut self.children[index];
        let dead = self.heritage.owner(child.place);
        self.heritage.parts.each().for_each(|part| part.after_death(dead));
        self.watchdog.forget(child.place);
        let is_worker = matches!(child.role, Role::Worker { .. });
        if matches!(self.phase, Phase::Stopping { step, .. } if step > 0 || !is_worker) {
            // Another program sent its signal to leave, too, and the child was faster than the master's signal.
            child.state = State::Stopping;
        }
        let process = child.process.take().unwrap_or(self.heritage.fixed.master);
        let heritage = &self.heritage;
        let remains = heritage.remains(&child.role, child.place);
        let has_unsent = heritage.parts.outboxes.waiting(child.place) > 0;
        let dead = Dead { place: child.place, role: &child.role, process, status, has_unsent, remains };
        let finding = self.repair.after_death(&dead);
        let obituary = Obituary {
            role: &child.role,
            process,
            status,
            lived: child.forked.elapsed(),
            occupation: finding.occupation,
        };
        let is_expected = child.state == State::Stopping && status.is_orderly();
        let level = match (is_expected, finding.occupation) {
            (true, Occupation::Idle) => Level::Debug,
            (_, Occupation::Quarantined { .. }) => Level::Critical,
            _ => Level::Error,
        };
        self.heritage.log.say(level, format_args!("{obituary}"));
        child.has_died(status, &self.heritage.parts.processes);
        self.set_aside(index, finding);
    }

    /// From now on copies of a message that is set aside are refused, and it is written to the quarantine.
    fn set_aside(&mut self, index: usize, finding: Finding) {
        let Some(set_aside) = finding.set_aside else { return };
        let Parts { poison, counters, .. } = &self.heritage.parts;
        let (message, now_ns) = (&set_aside.message, monotonic_ns());
        match self.children[index].role {
            Role::Worker { group, .. } => poison.note(group, message, now_ns),
            _ => {
                counters.block(0).add(SET_ASIDE.0, 1);
                poison.note_of_receivers(message, now_ns);
            }
        }
        if !self.quarantine_queue.add(set_aside) {
            self.say(
                Level::Critical,
                format_args!("quarantine: too many messages at the same time, one is not written to a file"),
            );
        }
    }

    /// Kills processes that have worked on one message, or stood still, for longer than they may.
    fn kill_overdue(&mut self) {
        let now_ns = monotonic_ns();
        let Generation { heritage, repair, watchdog, children, .. } = self;
        watchdog.look(now_ns);
        for child in children.iter().filter(|child| child.is_ready) {
            let (Some(process), place) = (child.process, child.place) else { continue };
            let sight = match &child.role {
                Role::Worker { group, .. } if heritage.parts.status.is_held(u32::from(*group)) => {
                    // It waits for an earlier generation and looks lifeless.
                    watchdog.forget(place);
                    continue;
                }
                Role::Worker { group, index, .. } => sight(&repair.worker(*group, *index)),
                _ => Sight::Counting { count: heritage.parts.heartbeats.value(place, 0) },
            };
            let Some(overdue) = watchdog.judge(place, &child.role, sight, now_ns) else { continue };
            let is_new = match (overdue, sight) {
                (Overdue::Busy { started_at_ns, .. }, _) => repair.condemn(place, started_at_ns),
                (_, Sight::Counting { count }) if matches!(child.role, Role::Receiver { .. }) => {
                    repair.condemn(place, count)
                }
                _ => true,
            };
            if !is_new {
                continue;
            }
            if let Role::Worker { group, .. } = child.role {
                repair.count_deadline_kill(group);
            }
            heritage.log.say(Level::Error, format_args!("killing {} (pid {process}): {overdue}", child.role));
            child.send(Signal::SIGKILL);
        }
    }

    /// Something happened to a child: its next state, and what follows from it.
    pub(in crate::process) fn tell_supervisor(&mut self, index: usize, event: Event, now: Milliseconds) {
        let child = &mut self.children[index];
        let (state, action) = supervisor::next(child.state, event, now, &RestartPolicy::USUAL);
        child.state = state;
        if state == State::Gone && matches!(event, Event::Died | Event::WasKilled | Event::Starved) {
            // It is not started again: what it held goes to another worker.
            child.has_left_something = true;
        }
        match action {
            // A child that is to be started is wanted now: see `is_to_be_forked`.
            Action::Nothing | Action::Start => {}
            Action::StartLater { delay_ms } => self.start_later(index, delay_ms),
            Action::DeclareDegraded { delay_ms } => {
                let role = &self.children[index].role;
                self.say(
                    Level::Alert,
                    format_args!(
                        "{role} keeps crashing ({} early exits in a row); restarting at most every \
                         {delay_ms} ms",
                        RestartPolicy::USUAL.early_deaths_max
                    ),
                );
                self.start_later(index, delay_ms);
            }
            Action::AskToLeave => self.children[index].send(self.children[index].role.rules().leave),
        }
    }

    /// What a worker held must not wait for a successor that comes late.
    fn start_later(&mut self, index: usize, delay_ms: u64) {
        if Duration::from_millis(delay_ms) > SUCCESSOR_AWAITED {
            self.children[index].has_left_something = true;
        }
        let role = &self.children[index].role;
        self.say(Level::Warning, format_args!("restarting {role} in {delay_ms} ms"));
    }

    /// What is due by now. After a second signal to stop, a stop is cut short.
    pub(in crate::process) fn follow_the_clock(&mut self, has_second_stop_signal: bool, now: Milliseconds) {
        self.kill_overdue();
        for index in 0..self.children.len() {
            self.tell_supervisor(index, Event::TimePassed, now);
            let child = &self.children[index];
            // One that is wanted takes what its predecessor left itself.
            if child.has_left_something && !matches!(child.state, State::Wanted { .. }) {
                self.children[index].has_left_something = !self.hand_over(index);
            }
        }
        match self.phase {
            Phase::Stopping { since, .. } if has_second_stop_signal && since.elapsed() >= GRACE => {
                self.end("second stop signal");
            }
            Phase::Stopping { step, since } => self.go_on_stopping(step, since, now),
            Phase::Ending { .. } => self.send_all(Signal::SIGKILL),
            _ => {}
        }
    }

    /// Logs when workers of a group keep crashing, and when none does any more.
    pub(in crate::process) fn note_degraded(&self, now: Milliseconds) {
        for (group, setting) in (0..).zip(&self.heritage.loaded.settings().groups) {
            let is_degraded = |child: &&Child| {
                matches!(child.role, Role::Worker { group: own, .. } if u32::from(own) == group)
                    && child.state.is_on_probation(now, &RestartPolicy::USUAL)
            };
            let count = self.children.iter().filter(is_degraded).count() as u64;
            let before = self.heritage.parts.status.degraded(group);
            let (name, workers) = (&setting.name, setting.workers);
            match (before, count) {
                (0, 1..) => self.say(
                    Level::Alert,
                    format_args!("group {name} is degraded: {count} of {workers} workers keep crashing"),
                ),
                (1.., 0) => self.say(Level::Notice, format_args!("group {name} is no longer degraded")),
                _ => {}
            }
            self.heritage.parts.status.set_degraded(group, count);
        }
    }

    /// Logs the figures of every group.
    pub(in crate::process) fn log_figures(&self) {
        for group in 0..self.heritage.parts.queues.group_count() {
            let f = self.heritage.group_figures(group);
            self.heritage.log.write(
                &Line::of_core(Level::Notice),
                format_args!(
                    "group {}: depth {} of {}, delegated {}, full {}, processed {}, redelivered {}, quarantined {}",
                    f.name, f.depth, f.capacity, f.delegated, f.full, f.processed, f.redelivered, f.quarantined
                ),
            );
        }
        let restarts: u32 = self.children.iter().map(|child| child.row.restarts).sum();
        self.heritage.log.write(
            &Line::of_core(Level::Notice),
            format_args!("{} children, {restarts} restarts", self.children.len()),
        );
    }

    /// Whether the service manager is told that the server is well. A degraded group is the operator's to mend, and the
    /// others serve; without receivers or the control process none does.
    pub(in crate::process) fn is_healthy(&self, now: Milliseconds) -> bool {
        let is_well = |child: &Child| {
            let is_needed = !matches!(child.role, Role::Worker { .. });
            !(is_needed && child.state.is_on_probation(now, &RestartPolicy::USUAL))
        };
        self.phase != Phase::Starting && self.children.iter().all(is_well)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::load::{self, LoadRequest, Root};
    use crate::modules;
    use crate::process::start::boot::{self, tests::Scene};

    #[test]
    fn receivers_are_forked_when_all_others_are_ready_and_again_whenever_they_die() {
        let script = "listen=udp:127.0.0.1:0\nchildren=1\nasync_workers_group=\"name=calls;workers=1;queue=16\"\n\
                      request_route { exit; }\n";
        let scene = Scene::new(script);
        let root = Root::Text { name: "test.cfg".to_owned(), text: script.into() };
        let loaded = load::load(LoadRequest::new(root, modules::MODULES)).ok().unwrap();
        let heritage = boot::renew(loaded, &scene.heritage, &[]).unwrap();
        let mut generation = Generation::new(heritage, Phase::Starting);
        let check = |generation: &Generation, expected: &[&str]| {
            let indexes = (0..generation.children.len()).filter(|index| generation.is_to_be_forked(*index));
            let names: Vec<_> = indexes.map(|index| generation.children[index].role.rules().name).collect();
            assert_eq!(names, expected, "{:?}", generation.phase);
        };
        let (receiver, worker, control) = (0, 1, 2);
        check(&generation, &["worker", "control"]);
        for index in [worker, control] {
            generation.was_forked(index, ProcessId::own(), 0);
            check(&generation, if index == worker { &["control"] } else { &[] });
        }
        for place in [2, 3] {
            check(&generation, &[]);
            generation.note_ready(place);
        }
        check(&generation, &["receiver"]);
        // A start that is interrupted begins to receive nothing.
        generation.phase = Phase::Stopping { step: 0, since: std::time::Instant::now() };
        check(&generation, &[]);
        generation.phase = Phase::Starting;
        generation.was_forked(receiver, ProcessId::own(), 0);
        generation.note_ready(1);
        assert!(generation.is_ready());
        generation.phase = Phase::Serving;
        generation.tell_supervisor(receiver, Event::Died, 60_000);
        check(&generation, &["receiver"]);
        // A death that follows soon, and a fork that fails, wait for their time.
        generation.was_forked(receiver, ProcessId::own(), 60_000);
        generation.tell_supervisor(receiver, Event::Died, 60_001);
        check(&generation, &[]);
        generation.tell_supervisor(receiver, Event::TimePassed, 60_011);
        check(&generation, &["receiver"]);
        generation.fork_failed(receiver, &io::Error::other("no memory"), 60_012);
        check(&generation, &[]);
        generation.heritage.statistics.unlink();
    }

    #[test]
    fn a_kill_and_a_shortage_come_from_outside() {
        let killed = |signal: Signal| ExitStatus::Killed { signal: signal as i32, core_dumped: false };
        let rows = [
            (killed(Signal::SIGKILL), Event::WasKilled),
            (killed(Signal::SIGSEGV), Event::Died),
            (killed(Signal::SIGTERM), Event::Died),
            (ExitStatus::Exited(0), Event::Died),
            (ExitStatus::Exited(9), Event::Died),
            (ExitStatus::Exited(child::EXIT_FAILED), Event::Died),
            (ExitStatus::Exited(child::EXIT_STARVED), Event::Starved),
        ];
        for (status, event) in rows {
            assert_eq!(death(status), event, "{status}");
        }
    }
}
