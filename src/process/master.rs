//! The master: forks children, waits for signals, reaps children that died and starts their successors. It handles no
//! message.
//!
//! ```text
//!  loop { wait for a signal, a message of a child or the next deadline
//!         read messages           ready · reload, please
//!         read signals            stop · figures · …
//!         reap                    obituary ─► repair ─► wake ─► supervisor's table ─► fork a successor
//!         follow the clock        delayed starts · steps of an orderly stop · reload · upgrade
//!         fork                    what all of this wants }
//! ```
//!
//! What belongs to one set of processes is a method of [`Generation`]; here is what concerns the whole server, and all
//! that forks. One thread, no lock a child can hold, no wait without a deadline.

pub mod child_slots;
pub(in crate::process) mod damage;
pub(in crate::process) mod draining;
pub(in crate::process) mod generation;
pub mod obituary;
pub mod overload;
pub(in crate::process) mod precedence;
pub mod repair;
pub mod scaling;
pub mod stop;
pub(in crate::process) mod supervision;
pub mod supervisor;
pub mod totals;
pub mod watchdog;

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::channel::ChannelMessage;
use super::heritage::Heritage;
use crate::process::master::generation::{Generation, Phase};
use crate::process::master::supervisor::{Event, Milliseconds};
use crate::process::roles::child;
use crate::process::roles::quarantine_writer;
use crate::process::roles::role::Role;
use crate::process::start::daemon::Birth;
use crate::process::start::published_names::Names;
use crate::process::start::script_source::ScriptSource;
use crate::process::start::service_manager::ServiceManager;
use crate::process::succession::reload::Reload;
use crate::process::succession::successor::{DrainingPredecessor, Succession};
use crate::process::succession::upgrade::{Program, Upgrade};
use crate::shm::ProcessRow;
use crate::sys::log_write::write_where_room;
use crate::sys::poll::{self, Interest};
use crate::sys::process::{self, Fork, SingleThreaded};
use crate::sys::signal::{Signal, SignalQueue};
use crate::sys::title::Title;
use crate::telemetry::log::Level;

/// Signals the master reads; they are held back from before the first fork.
pub const SIGNALS: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPWR,
];

/// The longest wait while the server starts, stops, reloads or is being upgraded.
const TURN: Duration = Duration::from_millis(50);
/// The longest wait otherwise.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// All children must be ready within this time of the start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Exit status after an orderly stop.
pub const EXIT_ORDERLY: i32 = 0;
/// Exit status when something that was accepted was left undone, or a child had to be killed.
pub const EXIT_UNDONE: i32 = 1;
/// Exit status when not all processes came up.
pub const EXIT_NOT_STARTED: i32 = 255;

/// The process that supervises all others.
pub struct Master {
    /// The generation that serves, or is about to.
    pub(super) current: Generation,
    /// Generations that finish what they accepted, and the one that serves while the current one comes up.
    pub(super) draining: Vec<Generation>,
    pub(super) reload: Reload,
    pub(super) upgrade: Upgrade,
    /// The program before this one, until this one serves.
    pub(super) succession: Option<Succession>,
    /// The same after that, while it finishes what it accepted.
    pub(super) predecessor: Option<DrainingPredecessor>,
    pub(super) names: Names,
    pub(super) service_manager: ServiceManager,
    pub(super) proof: SingleThreaded,
    title: Title,
    signals: SignalQueue,
    birth: Birth,
    started: Instant,
    /// A signal to stop came; this program may stop for another reason.
    pub(super) has_stop_signal: bool,
    /// A second one came: the stop is cut short.
    pub(super) has_second_stop_signal: bool,
    /// Not all processes came up, or the start was interrupted.
    pub(super) is_start_given_up: bool,
}

/// What a master begins with.
pub struct Beginning {
    /// What it leaves to its children.
    pub heritage: Heritage,
    /// What a reload reads.
    pub script: ScriptSource,
    /// What `ps` shows.
    pub title: Title,
    /// That it may fork.
    pub proof: SingleThreaded,
    /// The process that waits until it serves.
    pub birth: Birth,
    /// The program whose place it takes.
    pub succession: Option<Succession>,
    /// The files and sockets by which others find it.
    pub names: Names,
    /// The service manager, which is told its state.
    pub service_manager: ServiceManager,
    /// How it was started.
    pub program: Program,
}

/// What a signal asks the master to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Stop,
    EndSoon,
    LogFigures,
    Reload,
    Upgrade,
    /// Including SIGCHLD: dead children are looked for in every turn, as one signal may stand for many.
    Nothing,
}

fn order(signal: Signal, phase: Phase) -> Order {
    match (signal, phase) {
        (Signal::SIGTERM | Signal::SIGINT, Phase::Stopping { .. }) => Order::EndSoon,
        (Signal::SIGTERM | Signal::SIGINT, Phase::Ending { .. }) => Order::Nothing,
        (Signal::SIGTERM | Signal::SIGINT, _) => Order::Stop,
        (Signal::SIGUSR1, _) => Order::LogFigures,
        (Signal::SIGUSR2, Phase::Serving | Phase::TakingOver { .. }) => Order::Upgrade,
        (Signal::SIGHUP, _) => Order::Reload,
        _ => Order::Nothing,
    }
}

impl Master {
    /// A master whose children do not exist yet.
    pub fn new(beginning: Beginning) -> io::Result<Master> {
        let Beginning { heritage, script, title, proof, birth, .. } = beginning;
        let Beginning { succession, names, service_manager, program, .. } = beginning;
        let signals = SignalQueue::of(&SIGNALS)?;
        Ok(Master {
            current: Generation::new(heritage, Phase::Starting),
            draining: Vec::new(),
            reload: Reload::new(script),
            upgrade: Upgrade::new(program),
            succession,
            predecessor: None,
            names,
            service_manager,
            proof,
            title,
            signals,
            birth,
            started: Instant::now(),
            has_stop_signal: false,
            has_second_stop_signal: false,
            is_start_given_up: false,
        })
    }

    /// Supervises until the end; the exit status.
    pub fn run(mut self) -> i32 {
        self.note_master();
        self.fork_wanted();
        loop {
            self.wait();
            self.read_messages();
            self.read_signals();
            self.reap_children();
            // Successors of the dead come first: each of the next steps takes its time.
            self.fork_wanted();
            self.fork_quarantine_writers();
            self.follow_the_clock();
            self.go_on_reloading();
            self.go_on_succeeding();
            self.listen_to_predecessor();
            self.go_on_upgrading();
            self.look_after_current();
            self.fork_wanted();
            if let Some(status) = self.status_of_all() {
                self.tell_totals();
                self.names.remove(&self.current.heritage.statistics);
                return status;
            }
        }
    }

    pub(super) fn note_master(&self) {
        let row = ProcessRow {
            pid: self.current.heritage.fixed.master.number(),
            role: Role::Master.rules().code,
            incarnation: 1,
            started_at_ns: self.current.heritage.fixed.started_at_ns,
            ..ProcessRow::default()
        };
        self.current.heritage.parts.processes.write(0, &row);
    }

    pub(super) fn say(&self, level: Level, text: fmt::Arguments<'_>) {
        self.current.say(level, text);
    }

    pub(super) fn now(&self) -> Milliseconds {
        self.started.elapsed().as_millis() as Milliseconds
    }

    fn wait(&self) {
        let watched = [self.signals.as_fd(), self.current.heritage.channel.as_fd()]
            .map(|descriptor| (descriptor, Interest::Read));
        let mut ready = Vec::new();
        if let Err(error) = poll::wait(&watched, self.time_to_wait(), &mut ready) {
            self.say(Level::Critical, format_args!("could not wait for signals: {error}"));
            std::thread::sleep(TURN);
        }
    }

    fn time_to_wait(&self) -> Duration {
        let now = self.now();
        let next_deadline = self.current.children.iter().filter_map(|child| child.state.deadline()).min();
        let until_deadline = next_deadline.map(|at| Duration::from_millis(at.saturating_sub(now)));
        let is_alone = self.draining.is_empty()
            && self.predecessor.is_none()
            && !self.reload.is_busy()
            && !self.upgrade.is_under_way();
        let is_quiet = self.current.phase == Phase::Serving
            && is_alone
            && !self.current.has_leftovers()
            && self.current.quarantine_queue.is_idle();
        let usual = if is_quiet { SLEEP_MAX } else { TURN };
        [
            until_deadline,
            self.current.watchdog.pause(),
            self.current.scaling.pause(),
            self.current.overload.pause(),
            self.service_manager.pause(),
        ]
        .into_iter()
        .chain(self.draining.iter().map(|generation| generation.watchdog.pause()))
        .flatten()
        .fold(usual, Duration::min)
    }

    /// Messages of children, of all generations.
    fn read_messages(&mut self) {
        let mut reloads = Vec::new();
        for generation in self.generations_mut() {
            while let Some(message) = generation.heritage.channel.receive() {
                match message {
                    ChannelMessage::Ready { place } => generation.note_ready(place),
                    ChannelMessage::ReloadRequest { number } => reloads.push(number),
                    // Only the master sends this.
                    ChannelMessage::ReloadResult { .. } => {}
                }
            }
        }
        reloads.into_iter().for_each(|number| self.request_reload_for(number));
        if self.current.phase == Phase::Starting && self.current.is_ready() {
            self.came_up();
        }
    }

    // Forks.

    /// Forks every child that is wanted now.
    fn fork_wanted(&mut self) {
        let now = self.now();
        for which in 0..=self.draining.len() {
            for index in 0..self.generation(which).children.len() {
                if self.generation(which).is_to_be_forked(index) {
                    self.fork_child(which, index, now);
                }
            }
        }
    }

    fn fork_child(&mut self, which: usize, index: usize, now: Milliseconds) {
        if !self.generation(which).may_start(index) {
            self.generation(which).tell_supervisor(index, Event::FailedToStart, now);
            return;
        }
        match process::fork(&self.proof) {
            Ok(Fork::Child) => {
                self.keep_only(which);
                let place = self.current.children[index].place;
                child::run(&self.current.heritage, &mut self.title, place)
            }
            Ok(Fork::Parent(process)) => self.generation(which).was_forked(index, process, now),
            Err(error) => self.generation(which).fork_failed(index, &error, now),
        }
    }

    /// What was set aside is written and answered by processes of their own.
    fn fork_quarantine_writers(&mut self) {
        for which in 0..=self.draining.len() {
            self.generation(which).quarantine_queue.end_the_hanging();
            while let Some(set_aside) = self.generation(which).quarantine_queue.take() {
                match process::fork(&self.proof) {
                    Ok(Fork::Child) => {
                        self.keep_only(which);
                        quarantine_writer::run(&self.current.heritage, &mut self.title, &set_aside)
                    }
                    Ok(Fork::Parent(process)) => {
                        self.generation(which).quarantine_queue.was_forked(process);
                    }
                    Err(error) => {
                        self.say(Level::Error, format_args!("could not fork the quarantine writer: {error}"));
                        self.generation(which).quarantine_queue.put_back(set_aside);
                        return;
                    }
                }
            }
        }
    }

    /// One of those that drain, or behind them the one that serves.
    fn generation(&mut self, which: usize) -> &mut Generation {
        self.draining.get_mut(which).unwrap_or(&mut self.current)
    }

    /// For a child that was just forked: what belongs to other generations and to other programs is let go, memory and
    /// descriptors alike. Another program may wait for their end.
    fn keep_only(&mut self, which: usize) {
        if let Some(own) = self.draining.get_mut(which) {
            mem::swap(&mut self.current, own);
        }
        self.draining.clear();
        self.upgrade.forget_lines();
        self.succession = None;
        self.predecessor = None;
    }

    // Start.

    /// This program serves: the process that waits for it and the service manager are told.
    pub(super) fn begin_to_serve(&mut self) {
        self.current.phase = Phase::Serving;
        self.current.heritage.parts.status.set_serving();
        self.birth.succeeded();
        self.service_manager
            .ready(self.current.heritage.fixed.master.number() as u32, &self.current.status_text());
        let took_ms = self.started.elapsed().as_millis();
        self.say(
            Level::Notice,
            format_args!("ready: {} processes started in {took_ms} ms", self.current.process_count()),
        );
        // A pipe without room does not hold up the master.
        write_where_room(io::stderr().as_fd(), b"sworkerd: ready\n");
    }

    // Signals.

    fn read_signals(&mut self) {
        loop {
            match self.signals.take() {
                Ok(Some(signal)) => self.obey(signal),
                Ok(None) => return,
                Err(error) => {
                    self.say(Level::Critical, format_args!("could not read signals: {error}"));
                    return;
                }
            }
        }
    }

    fn obey(&mut self, signal: Signal) {
        match order(signal, self.current.phase) {
            Order::Stop => self.begin_to_stop(signal),
            Order::EndSoon => self.stop_sooner(signal),
            Order::LogFigures => self.current.log_figures(),
            Order::Reload => self.request_reload(),
            Order::Upgrade => self.request_upgrade(),
            Order::Nothing => {}
        }
    }

    // Deaths and the clock.

    fn reap_children(&mut self) {
        let mut dead = Vec::new();
        loop {
            match process::try_wait_any() {
                Ok(Some(found)) => dead.push(found),
                Ok(None) => break,
                Err(error) => {
                    self.say(Level::Critical, format_args!("could not wait for children: {error}"));
                    break;
                }
            }
        }
        if dead.is_empty() {
            return;
        }
        let now = self.now();
        for generation in self.generations_mut() {
            dead = generation.reap_own(dead, now);
        }
        for found in dead {
            if !self.reap_successor(&found) {
                self.reap_helper(found);
            }
        }
    }

    fn follow_the_clock(&mut self) {
        self.current.follow_the_clock(self.has_second_stop_signal, self.now());
        let is_late = self.started.elapsed() > START_TIMEOUT || self.current.is_start_hopeless();
        if self.current.phase == Phase::Starting && is_late {
            self.give_up_start("not all processes started");
        }
    }

    /// What is done for the generation that serves alone.
    fn look_after_current(&mut self) {
        let now = self.now();
        self.current.note_degraded(now);
        self.current.scale_groups(now);
        self.current.control_overload();
        self.service_manager.ping(self.current.is_healthy(now) || self.current.is_stopping());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_mean_different_things_in_different_phases() {
        use Signal::*;
        let stopping = Phase::Stopping { step: 1, since: Instant::now() };
        let ending = Phase::Ending { status: 1, since: Instant::now() };
        let succeeding = Phase::Succeeding { since: Instant::now() };
        let rows = [
            (SIGTERM, Phase::Starting, Order::Stop),
            (SIGTERM, Phase::Serving, Order::Stop),
            (SIGINT, Phase::Serving, Order::Stop),
            (SIGTERM, stopping, Order::EndSoon),
            (SIGINT, stopping, Order::EndSoon),
            (SIGTERM, ending, Order::Nothing),
            (SIGUSR1, Phase::Serving, Order::LogFigures),
            (SIGUSR1, stopping, Order::LogFigures),
            (SIGHUP, Phase::Serving, Order::Reload),
            (SIGHUP, stopping, Order::Reload),
            (SIGUSR2, Phase::TakingOver { since: Instant::now() }, Order::Upgrade),
            (SIGCHLD, Phase::Serving, Order::Nothing),
            (SIGUSR2, Phase::Serving, Order::Upgrade),
            (SIGUSR2, stopping, Order::Nothing),
            (SIGTERM, succeeding, Order::Stop),
            (SIGHUP, succeeding, Order::Reload),
            (SIGUSR2, succeeding, Order::Nothing),
            (SIGPWR, Phase::Serving, Order::Nothing),
        ];
        for (signal, phase, expected) in rows {
            assert_eq!(order(signal, phase), expected, "{signal} while {phase:?}");
        }
    }

    #[test]
    fn the_signals_children_wait_for_are_held_back_across_the_fork() {
        for role in [
            Role::Receiver { producer: 0, listener: 0, place: String::new(), number: 1 },
            Role::Worker { group: 0, name: String::new(), index: 0 },
            Role::Timer { producer: 0 },
            Role::Control,
        ] {
            let rules = role.rules();
            assert!(SIGNALS.contains(&rules.leave), "{role}");
            assert!(rules.orphaned == Signal::SIGKILL || SIGNALS.contains(&rules.orphaned), "{role}");
        }
    }
}
