//! The end of a server, or of one generation of it: what was accepted is finished, in order and within a time.
//!
//! ```text
//!  receivers leave ─► workers leave, when their rings are empty ─► control leaves ─► the end
//!        └────────────────────┴── exit_timeout is over, or a second signal came ─► SIGKILL ─► the end
//! ```
//!
//! **Invariant:** no step waits without a deadline, not even the last one: a process that the kernel does not end is left behind.

use std::time::{Duration, Instant};

use super::damage;
use super::generation::{Generation, Phase};
use super::supervisor::{Event, Milliseconds, State};
use crate::process::master::child_slots::Child;
use crate::process::master::{EXIT_NOT_STARTED, EXIT_ORDERLY, EXIT_UNDONE, Master};
use crate::process::roles::role::{Role, STOP_STEP_COUNT};
use crate::shm::Tended;
use crate::sys::signal::Signal;
use crate::telemetry::log::Level;

/// A second signal ends everything, but not sooner after the first than this: some programs send a signal to a process
/// and then to its group, and what is accepted takes less time than this to be finished on most days.
pub(in crate::process) const GRACE: Duration = Duration::from_millis(100);
/// A process that was killed is gone within this time, or hangs in the kernel.
const END_TIMEOUT: Duration = Duration::from_secs(5);

impl Master {
    pub(in crate::process) fn begin_to_stop(&mut self, signal: Signal) {
        if self.upgrade.has_put_off(signal) {
            self.say(
                Level::Notice,
                format_args!("{signal}: exiting as soon as the new program has taken over"),
            );
            return;
        }
        self.has_stop_signal = true;
        if self.succession.is_some() {
            // Another program serves: no sender is told to go elsewhere.
            self.give_up_start(&format!("{signal} before this program was ready"));
            return;
        }
        self.say(Level::Notice, format_args!("{signal}: stopping, finishing accepted messages"));
        let is_started = self.current.phase != Phase::Starting;
        self.current.phase = Phase::Stopping { step: 0, since: Instant::now() };
        self.current.heritage.parts.status.set_stopping();
        self.expire_all();
        self.service_manager.stopping();
        self.give_up_reloading();
        self.give_up_upgrading();
        if !is_started {
            self.say(Level::Warning, format_args!("the server was still starting"));
        }
    }

    /// A signal to stop while this program stops: its second one, or its first when it stops because another program serves.
    pub(in crate::process) fn stop_sooner(&mut self, signal: Signal) {
        if self.has_stop_signal {
            self.has_second_stop_signal = true;
            return;
        }
        self.has_stop_signal = true;
        self.expire_all();
        self.say(Level::Notice, format_args!("{signal}: still finishing accepted messages"));
    }

    /// The server stops: everything that is delayed is due now, in every generation.
    fn expire_all(&self) {
        self.generations()
            .flat_map(|generation| generation.heritage.parts.each())
            .for_each(Tended::expire_all);
    }

    /// The exit status of the server, when no process of it is left.
    pub(in crate::process) fn status_of_all(&self) -> Option<i32> {
        if !self.draining.is_empty() || self.upgrade.is_under_way() {
            return None;
        }
        let start = if self.is_start_given_up { EXIT_NOT_STARTED } else { EXIT_ORDERLY };
        Some(self.current.status_at_end()?.max(self.reload.status).max(start))
    }
}

impl Generation {
    /// Receivers leave, then workers when their rings are empty, then control. A child that missed its signal gets it
    /// again in each turn.
    pub(in crate::process) fn go_on_stopping(&mut self, step: usize, since: Instant, now: Milliseconds) {
        if since.elapsed() >= self.exit_timeout() {
            self.end(if self.damage.is_found() {
                "remaining messages are in damaged memory"
            } else {
                "exit_timeout exceeded"
            });
            return;
        }
        if step == 0 && self.are_receivers_needed(since) {
            return;
        }
        if step <= 1 {
            self.recall_the_timer(now);
        }
        if step == 1 && self.is_something_waiting(since) {
            // What fills their ring may be the reason.
            self.recall_workers(now);
            return;
        }
        for index in 0..self.children.len() {
            if self.children[index].role.rules().stop_step == step {
                self.tell_supervisor(index, Event::Stop, now);
            }
        }
        if step == 0 {
            self.recall_receivers(now);
        }
        if step == 1 {
            self.recall_workers(now);
            // A worker that was about to sleep when its signal came sleeps until it is woken.
            self.repair.wake_all();
        }
        let is_over = |child: &Child| child.role.rules().stop_step != step || child.state == State::Gone;
        // The last thing a worker did may have been to let something wait.
        let is_left = step == 1 && self.is_something_waiting(since);
        if step < STOP_STEP_COUNT && !is_left && self.children.iter().all(is_over) {
            self.phase = Phase::Stopping { step: step + 1, since };
            self.go_on_stopping(step + 1, since, now);
        }
    }

    /// While workers finish what was accepted, receivers tell new senders to go elsewhere: for half of the time a stop
    /// may take, as what belongs to dialogs is still let in and may go on for ever. The sockets of a generation that drains are
    /// read by the next one.
    fn are_receivers_needed(&self, since: Instant) -> bool {
        let is_time_left = since.elapsed() < self.exit_timeout() / 2;
        let is_told =
            self.heritage.loaded.settings().is_stop_told && self.heritage.parts.status.is_stopping();
        is_told && is_time_left && !self.repair.undone().is_empty()
    }

    /// Whether something accepted lies in shared memory until it is due: workers are kept for it. Once half of the time
    /// is over that a stop may take, all of it is due.
    fn is_something_waiting(&self, since: Instant) -> bool {
        let parts = &self.heritage.parts;
        if since.elapsed() >= self.exit_timeout() / 2 {
            parts.each().for_each(Tended::expire_all);
        }
        !parts.each().all(Tended::is_drained)
    }

    /// Receivers that died while they left may have read messages that no process handled, or not sent all: they are started once more.
    fn recall_receivers(&mut self, now: Milliseconds) {
        for index in 0..self.children.len() {
            let child = &self.children[index];
            let Role::Receiver { producer, .. } = child.role else { continue };
            let parts = &self.heritage.parts;
            if child.state == State::Gone
                && (parts.inboxes[producer as usize].has_left() || parts.outboxes.waiting(child.place) > 0)
            {
                self.tell_supervisor(index, Event::Recalled, now);
            }
        }
    }

    /// Workers that died while they finished have left something: they are started once more.
    fn recall_workers(&mut self, now: Milliseconds) {
        for index in 0..self.children.len() {
            let Role::Worker { group, .. } = self.children[index].role else { continue };
            let is_of_group =
                |child: &Child| matches!(child.role, Role::Worker { group: other, .. } if other == group);
            let mut of_group = self.children.iter().filter(|child| is_of_group(child));
            let is_abandoned = of_group.clone().all(|child| !child.state.is_alive());
            let has_unsent = |child: &Child| self.heritage.parts.outboxes.waiting(child.place) > 0;
            let is_done = self.repair.is_drained(group) && !of_group.any(has_unsent);
            if is_abandoned && !is_done {
                self.recall_group(group, now);
            }
        }
    }

    /// Without the timer no delayed message becomes due: it is started again as long as there are any.
    fn recall_the_timer(&mut self, now: Milliseconds) {
        if self.heritage.parts.each().all(Tended::is_drained) {
            return;
        }
        for index in 0..self.children.len() {
            if matches!(self.children[index].role, Role::Timer { .. }) {
                self.tell_supervisor(index, Event::Recalled, now);
            }
        }
    }

    fn recall_group(&mut self, group: u16, now: Milliseconds) {
        for index in 0..self.children.len() {
            if matches!(self.children[index].role, Role::Worker { group: other, .. } if other == group) {
                self.tell_supervisor(index, Event::Recalled, now);
            }
        }
    }

    pub(in crate::process) fn end(&mut self, reason: &str) {
        let living = self.children.iter().filter(|child| child.process.is_some()).count();
        self.say(Level::Error, format_args!("stopping by SIGKILL ({reason}): {living} processes"));
        let mut status = if living == 0 { EXIT_ORDERLY } else { EXIT_UNDONE };
        for (name, depth) in self.repair.undone() {
            status = EXIT_UNDONE;
            self.say(
                Level::Error,
                format_args!("lost: {depth} messages queued for group {name}, and those being processed"),
            );
        }
        for (count, what) in self.heritage.parts.each().map(Tended::unfinished) {
            if count > 0 {
                status = EXIT_UNDONE;
                self.say(Level::Error, format_args!("lost: {count} {what}"));
            }
        }
        self.kill_all(status);
    }

    fn kill_all(&mut self, status: i32) {
        self.quarantine_queue.end_all();
        self.send_all(Signal::SIGKILL);
        for child in &mut self.children {
            child.state = if child.process.is_some() { State::Stopping } else { State::Gone };
        }
        self.phase = Phase::Ending { status, since: Instant::now() };
    }

    pub(in crate::process) fn send_all(&self, signal: Signal) {
        self.children.iter().for_each(|child| child.send(signal));
    }

    /// How long a stop may take.
    pub(in crate::process) fn exit_timeout(&self) -> Duration {
        let usual = Duration::from_secs(u64::from(self.heritage.loaded.settings().exit_timeout_s));
        if self.damage.is_found() { usual.min(damage::TIMEOUT) } else { usual }
    }

    /// The exit status of this generation, when it is at its end.
    pub(in crate::process) fn status_at_end(&self) -> Option<i32> {
        let living = self.children.iter().filter(|child| child.process.is_some());
        let count = living.clone().count();
        let end = judge_end(self.phase, count, self.quarantine_queue.is_idle())?;
        if count > 0 {
            let names: Vec<_> = living.map(|child| child.role.to_string()).collect();
            self.say(
                Level::Critical,
                format_args!(
                    "SIGKILL did not end these processes, exiting without them: {}",
                    names.join(", ")
                ),
            );
        }
        Some(end)
    }

    /// Its control process leaves at once: two would answer at one socket.
    pub(in crate::process) fn stop_control(&mut self, now: Milliseconds) {
        for index in 0..self.children.len() {
            if self.children[index].role == Role::Control {
                self.tell_supervisor(index, Event::Stop, now);
            }
        }
    }
}

/// The exit status at the end: without processes, or with some that cannot be killed.
fn judge_end(phase: Phase, living_count: usize, is_quarantine_idle: bool) -> Option<i32> {
    match phase {
        Phase::Stopping { step, .. } if step == STOP_STEP_COUNT => {
            (living_count == 0 && is_quarantine_idle).then_some(EXIT_ORDERLY)
        }
        Phase::Ending { status, .. } if living_count == 0 => Some(status),
        Phase::Ending { status, since } if since.elapsed() >= END_TIMEOUT => Some(status.max(EXIT_UNDONE)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_comes_when_no_process_is_left_or_none_can_be_killed() {
        let now = Instant::now();
        let long_ago = now.checked_sub(END_TIMEOUT).unwrap();
        let check = |phase, living_count, is_quarantine_idle, expected| {
            assert_eq!(
                judge_end(phase, living_count, is_quarantine_idle),
                expected,
                "{phase:?} {living_count}"
            );
        };
        let last_step = Phase::Stopping { step: STOP_STEP_COUNT, since: long_ago };
        check(Phase::Serving, 0, true, None);
        check(Phase::Stopping { step: 1, since: long_ago }, 0, true, None);
        check(last_step, 0, true, Some(EXIT_ORDERLY));
        check(last_step, 0, false, None);
        check(last_step, 1, true, None);
        check(Phase::Ending { status: 7, since: now }, 0, false, Some(7));
        check(Phase::Ending { status: 0, since: now }, 3, true, None);
        check(Phase::Ending { status: 0, since: long_ago }, 3, true, Some(EXIT_UNDONE));
        check(Phase::Ending { status: 7, since: long_ago }, 3, true, Some(7));
    }
}
