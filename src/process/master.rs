//! The master: forks, waits for signals, buries the dead and starts their successors. It handles no message.
//!
//! ```text
//!  loop { wait for a signal, a child's word or the next deadline
//!         hear who is ready
//!         read signals            stop · figures · …
//!         reap the dead           obituary ─► repair ─► wake ─► supervisor's table ─► successor, same place
//!         follow the clock        delayed starts · steps of an orderly stop }
//! ```
//!
//! One thread, no lock a child can hold, no wait without a deadline.

pub mod child_slots;
pub(in crate::process) mod damage;
pub(in crate::process) mod generation;
pub mod obituary;
pub mod overload;
pub(in crate::process) mod precedence;
pub mod repair;
pub mod scaling;
pub mod stop;
pub mod supervisor;
pub mod totals;
pub mod watchdog;

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::heritage::Heritage;
use crate::process::master::child_slots::Child;
use crate::process::master::generation::{Generation, Phase};
use crate::process::master::obituary::{Obituary, Occupation};
use crate::process::master::repair::Dead;
use crate::process::master::supervisor::{Action, Event, Milliseconds, Patience, State};
use crate::process::master::watchdog::{Overdue, Sight};
use crate::process::roles::child;
use crate::process::roles::quarantine_writer;
use crate::process::roles::role::Role;
use crate::process::start::daemon::Birth;
use crate::process::start::published_names::Names;
use crate::process::start::script_source::ScriptSource;
use crate::process::start::service_manager::ServiceManager;
use crate::process::succession::reload::Reload;
use crate::process::succession::successor::{Former, Succession};
use crate::process::succession::upgrade::{Program, Upgrade};
use crate::shm::{ProcessRow, Tended, WorkerStatistics};
use crate::state::parts::Parts;
use crate::sys::clock::monotonic_ns;
use crate::sys::log_write::write_where_room;
use crate::sys::poll::{self, Interest};
use crate::sys::process::{self, DeadChild, ExitStatus, Fork, SingleThreaded};
use crate::sys::signal::{Signal, SignalQueue};
use crate::sys::title::Title;
use crate::telemetry::counters::SET_ASIDE;
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

/// While the server stops, and while it starts, the master looks around so often.
const TURN: Duration = Duration::from_millis(50);
/// Otherwise it sleeps until a signal or a deadline, or so long.
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
    /// The generation it works on: nearly always the one that serves (see `generation`).
    pub(super) current: Generation,
    /// Generations that finish what they accepted.
    pub(super) elders: Vec<Generation>,
    pub(super) reload: Reload,
    pub(super) upgrade: Upgrade,
    /// The program before this one, until it has left its place.
    pub(super) succession: Option<Succession>,
    /// The same when it has left it and finishes its work.
    pub(super) former: Option<Former>,
    pub(super) names: Names,
    pub(super) service_manager: ServiceManager,
    pub(super) proof: SingleThreaded,
    title: Title,
    signals: SignalQueue,
    birth: Birth,
    started: Instant,
    /// Somebody wishes the end; this program may be on its way there for another reason.
    pub(super) is_stop_wanted: bool,
    /// The wish to stop was repeated.
    pub(super) is_hurried: bool,
    /// Not all processes came up, or were not to.
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
    /// Whoever waits for it to serve.
    pub birth: Birth,
    /// The program whose place it takes.
    pub succession: Option<Succession>,
    /// By what others find it.
    pub names: Names,
    /// Who is told how it is.
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
    /// Including the death of a child: the dead are looked for in every turn, as one signal may stand for many.
    Nothing,
}

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
            elders: Vec::new(),
            reload: Reload::new(script),
            upgrade: Upgrade::new(program),
            succession,
            former: None,
            names,
            service_manager,
            proof,
            title,
            signals,
            birth,
            started: Instant::now(),
            is_stop_wanted: false,
            is_hurried: false,
            is_start_given_up: false,
        })
    }

    /// Supervises until the end; the exit status.
    pub fn run(mut self) -> i32 {
        self.note_master();
        self.start_what_is_due();
        loop {
            self.wait();
            self.hear_readiness();
            self.read_signals();
            self.reap_children();
            self.undertake();
            self.follow_the_clock();
            self.look_for_damage();
            self.go_on_reloading();
            self.go_on_succeeding();
            self.listen_to_predecessor();
            self.go_on_upgrading();
            self.note_degraded();
            self.scale_groups();
            self.control_overload();
            self.tell_service_manager();
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

    pub(super) fn say(&self, level: Level, text: std::fmt::Arguments<'_>) {
        self.current.heritage.log.say(level, text);
    }

    fn now(&self) -> Milliseconds {
        self.started.elapsed().as_millis() as Milliseconds
    }

    fn wait(&self) {
        let watched = [
            self.signals.as_fd(),
            self.current.heritage.readiness.as_fd(),
            self.current.heritage.reload_line.as_fd(),
        ]
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
        let is_alone = self.elders.is_empty()
            && self.former.is_none()
            && !self.reload.is_busy()
            && !self.upgrade.is_under_way();
        let is_quiet = self.current.phase == Phase::Serving
            && is_alone
            && !self.current.has_leftovers()
            && self.current.undertaking.is_idle();
        let usual = if is_quiet { SLEEP_MAX } else { TURN };
        [
            until_deadline,
            self.current.watchdog.pause(),
            self.current.scaling.pause(),
            self.current.overload.pause(),
            self.service_manager.pause(),
        ]
        .into_iter()
        .chain(self.elders.iter().map(|elder| elder.watchdog.pause()))
        .flatten()
        .fold(usual, Duration::min)
    }

    // Start.

    /// Who is wanted and was never there. Receivers come last: nothing is accepted before all else is ready.
    pub(super) fn start_what_is_due(&mut self) {
        for index in 0..self.current.children.len() {
            let is_receiver = |child: &Child| matches!(child.role, Role::Receiver { .. });
            let are_others_ready =
                || self.current.children.iter().all(|child| child.is_ready || is_receiver(child));
            let child = &self.current.children[index];
            if child.state == State::NEW && (!is_receiver(child) || are_others_ready()) {
                self.start(index);
            }
        }
    }

    /// Forks the child of this index, whose state is `Wanted`.
    pub(super) fn start(&mut self, index: usize) {
        let place = self.current.children[index].place;
        if !self.current.heritage.parts.outboxes.may_start(place) {
            // Somebody sends what its predecessor left, for a moment.
            self.tell_supervisor(index, Event::FailedToStart);
            return;
        }
        match process::fork(&self.proof) {
            Ok(Fork::Child) => {
                self.forget_others();
                child::run(&self.current.heritage, &mut self.title, place)
            }
            Ok(Fork::Parent(process)) => {
                self.current.children[index].was_forked(process, &self.current.heritage.parts.processes);
                self.tell_supervisor(index, Event::Started);
            }
            Err(error) => {
                self.say(
                    Level::Error,
                    format_args!("could not fork {}: {error}", self.current.children[index].role),
                );
                self.tell_supervisor(index, Event::FailedToStart);
            }
        }
    }

    pub(super) fn hear_readiness(&mut self) {
        while let Some(place) = self.current.heritage.readiness.hear() {
            if let Some(child) = self.current.children.iter_mut().find(|child| child.place == place) {
                child.is_ready = true;
            }
        }
        if matches!(self.current.phase, Phase::Starting | Phase::TakingOver { .. }) {
            self.start_what_is_due();
        }
        if self.current.phase == Phase::Starting && self.current.children.iter().all(|child| child.is_ready) {
            self.came_up();
        }
    }

    /// Everybody is told.
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
        // Who cannot take a line now does not hold up the master.
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
            Order::LogFigures => self.log_figures(),
            Order::Reload => self.request_reload(),
            Order::Upgrade => self.request_upgrade(),
            Order::Nothing => {}
        }
    }

    fn log_figures(&self) {
        for group in 0..self.current.heritage.parts.queues.group_count() {
            let f = self.current.heritage.group_figures(group);
            self.current.heritage.log.write(
                &crate::telemetry::log::Line::of_core(Level::Notice),
                format_args!(
                    "group {}: depth {} of {}, delegated {}, full {}, processed {}, redelivered {}, quarantined {}",
                    f.name, f.depth, f.capacity, f.delegated, f.full, f.processed, f.redelivered, f.quarantined
                ),
            );
        }
        let restarts: u32 = self.current.children.iter().map(|child| child.row.restarts).sum();
        self.current.heritage.log.write(
            &crate::telemetry::log::Line::of_core(Level::Notice),
            format_args!("{} children, {restarts} restarts", self.current.children.len()),
        );
    }

    // Deaths.

    /// All that died are reaped and repaired before any successor is forked.
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
        dead = self.reap_our_own(dead);
        for index in 0..self.elders.len() {
            dead = self.with_draining(index, |master| master.reap_our_own(dead));
        }
        for found in dead {
            if !self.reap_successor(&found) {
                self.reap_helper(found);
            }
        }
    }

    /// Those of this generation; the others are given back.
    fn reap_our_own(&mut self, dead: Vec<DeadChild>) -> Vec<DeadChild> {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for found in dead {
            if let Some(index) = self.current.children.iter().position(|c| c.process == Some(found.process)) {
                self.reap(index, found.status);
                ours.push((index, death(found.status)));
            } else if !self.current.undertaking.has_died(found.process) {
                others.push(found);
            }
        }
        if !ours.is_empty() {
            self.current.heritage.parts.each().for_each(Tended::wake);
        }
        for (index, death) in ours {
            self.tell_supervisor(index, death);
        }
        others
    }

    fn reap(&mut self, index: usize, status: ExitStatus) {
        let child = &mut self.current.children[index];
        let dead = self.current.heritage.owner(child.place);
        self.current.heritage.parts.each().for_each(|part| part.after_death(dead));
        self.current.watchdog.forget(child.place);
        let is_worker = matches!(child.role, Role::Worker { .. });
        if matches!(self.current.phase, Phase::Stopping { step, .. } if step > 0 || !is_worker) {
            // Somebody else told it to leave, too, and it was faster than our word.
            child.state = State::Stopping;
        }
        let process = child.process.take().unwrap_or(self.current.heritage.fixed.master);
        let heritage = &self.current.heritage;
        let remains = heritage.remains(&child.role, child.place);
        let has_unsent = heritage.parts.outboxes.waiting(child.place) > 0;
        let dead = Dead { place: child.place, role: &child.role, process, status, has_unsent, remains };
        let finding = self.current.repair.after_death(&dead);
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
        self.current.heritage.log.say(level, format_args!("{obituary}"));
        child.has_died(status, &self.current.heritage.parts.processes);
        if let Some(set_aside) = &finding.set_aside {
            let Parts { poison, counters, .. } = &self.current.heritage.parts;
            let (message, now_ns) = (&set_aside.message, monotonic_ns());
            match self.current.children[index].role {
                Role::Worker { group, .. } => poison.note(group, message, now_ns),
                _ => {
                    counters.block(0).add(SET_ASIDE.0, 1);
                    poison.note_of_receivers(message, now_ns);
                }
            }
        }
        if let Some(set_aside) = finding.set_aside
            && !self.current.undertaking.add(set_aside)
        {
            self.say(
                Level::Critical,
                format_args!("quarantine: too many messages at the same time, one is not written to a file"),
            );
        }
    }

    /// What was set aside is kept and answered by processes of their own.
    pub(super) fn undertake(&mut self) {
        self.current.undertaking.end_the_hanging();
        while let Some(set_aside) = self.current.undertaking.take() {
            match process::fork(&self.proof) {
                Ok(Fork::Child) => {
                    self.forget_others();
                    quarantine_writer::run(&self.current.heritage, &mut self.title, &set_aside)
                }
                Ok(Fork::Parent(process)) => self.current.undertaking.was_forked(process),
                Err(error) => {
                    self.say(Level::Error, format_args!("could not fork the quarantine writer: {error}"));
                    self.current.undertaking.put_back(set_aside);
                    return;
                }
            }
        }
    }

    /// Processes that work on one message, or stand still, for longer than they may.
    fn end_the_overdue(&mut self) {
        let now_ns = monotonic_ns();
        let Generation { heritage, repair, watchdog, children, .. } = &mut self.current;
        watchdog.look(now_ns);
        for child in children.iter().filter(|child| child.is_ready) {
            let (Some(process), place) = (child.process, child.place) else { continue };
            let sight = match &child.role {
                Role::Worker { group, .. } if heritage.parts.status.is_held(u32::from(*group)) => {
                    // It waits for a former generation and looks lifeless.
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

    pub(super) fn tell_supervisor(&mut self, index: usize, event: Event) {
        let now = self.now();
        let child = &mut self.current.children[index];
        let (state, action) = supervisor::next(child.state, event, now, &Patience::USUAL);
        child.state = state;
        if state == State::Gone && matches!(event, Event::Died | Event::WasKilled | Event::Starved) {
            // Nobody will take its place: what it held goes to a colleague.
            child.has_left_something = true;
        }
        match action {
            Action::Nothing => {}
            Action::Start => self.start(index),
            Action::StartLater { delay_ms } => self.start_later(index, delay_ms),
            Action::DeclareDegraded { delay_ms } => {
                let role = &self.current.children[index].role;
                self.say(
                    Level::Alert,
                    format_args!(
                        "{role} keeps crashing ({} early exits in a row); restarting at most every \
                         {delay_ms} ms",
                        Patience::USUAL.early_deaths_max
                    ),
                );
                self.start_later(index, delay_ms);
            }
            Action::AskToLeave => {
                self.current.children[index].send(self.current.children[index].role.rules().leave)
            }
        }
    }

    /// What a worker held must not wait for a successor that comes late.
    fn start_later(&mut self, index: usize, delay_ms: u64) {
        if Duration::from_millis(delay_ms) > TURN {
            self.current.children[index].has_left_something = true;
        }
        let role = &self.current.children[index].role;
        self.say(Level::Warning, format_args!("restarting {role} in {delay_ms} ms"));
    }

    // The clock.

    pub(super) fn follow_the_clock(&mut self) {
        self.end_the_overdue();
        for index in 0..self.current.children.len() {
            self.tell_supervisor(index, Event::TimePassed);
            if self.current.children[index].has_left_something {
                self.current.children[index].has_left_something = !self.current.hand_over(index);
            }
        }
        match self.current.phase {
            Phase::Starting if self.started.elapsed() > START_TIMEOUT || self.current.is_start_hopeless() => {
                self.give_up_start("not all processes started");
            }
            Phase::Stopping { step, since } => self.go_on_stopping(step, since),
            Phase::Ending { .. } => self.send_all(Signal::SIGKILL),
            _ => {}
        }
    }

    /// Says aloud when workers of a group do not hold, and when all of them do again.
    fn note_degraded(&self) {
        let now = self.now();
        for (group, setting) in (0..).zip(&self.current.heritage.loaded.settings().groups) {
            let is_degraded = |child: &&Child| {
                matches!(child.role, Role::Worker { group: own, .. } if u32::from(own) == group)
                    && child.state.is_on_probation(now, &Patience::USUAL)
            };
            let count = self.current.children.iter().filter(is_degraded).count() as u64;
            let before = self.current.heritage.parts.status.degraded(group);
            let (name, workers) = (&setting.name, setting.workers);
            match (before, count) {
                (0, 1..) => self.say(
                    Level::Alert,
                    format_args!("group {name} is degraded: {count} of {workers} workers keep crashing"),
                ),
                (1.., 0) => self.say(Level::Notice, format_args!("group {name} is no longer degraded")),
                _ => {}
            }
            self.current.heritage.parts.status.set_degraded(group, count);
        }
    }

    // The service manager.

    fn tell_service_manager(&mut self) {
        // A degraded group is the operator's to mend, and the rest serves; without receivers nobody does.
        let now = self.now();
        let is_well = |child: &Child| {
            let is_needed = !matches!(child.role, Role::Worker { .. });
            !(is_needed && child.state.is_on_probation(now, &Patience::USUAL))
        };
        let is_healthy = self.current.phase != Phase::Starting && self.current.children.iter().all(is_well);
        self.service_manager.ping(is_healthy || self.current.is_stopping());
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
