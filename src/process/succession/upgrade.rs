//! Another program for a running server, without a message lost: the part of the program that runs.
//!
//! ```text
//!  SIGUSR2 ─► fork ─► exec the program of the same path, with the same words
//!                        │ sockets, the socket for commands, shared values: kept open, named in a hand-over
//!                        ▼
//!              an ordinary start, but nothing is bound; old and new read the same sockets
//!                        ▼ all of it is ready: "yours"        ▼ it gives up, ends, or takes too long
//!                        ▼ it has the names: "taken"          │
//!  the old one finishes what it accepted            the old one has its names and goes on as if nothing had
//!  and is gone                                      happened; the new one finishes what it accepted and is gone
//! ```
//!
//! The other part is in [`crate::process::succession::successor`], what passes between them in [`super::handover`].
//!
//! **Invariant:** this program serves until the new one has said "taken": whatever happens to either of them before,
//! one of them serves. A successor that is told "yours" was not given up before, and may be killed afterwards but not asked
//! to leave, as it might leave with the names.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::handover::{VARIABLE, hand_over};
use crate::process::master::Master;
use crate::process::master::generation::Phase;
use crate::process::succession::successor::{READY, REASON_SIZE_MAX, Succession, TAKEN, YOURS};
use crate::sys::inherit;
use crate::sys::process::{self, DeadChild, Fork, ProcessId, exit_now};
use crate::sys::signal::{self, Signal};
use crate::telemetry::log::Level;

/// The new program is ready within this time, or it is told to leave.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(30);
/// One that is told that everything is its own has the names within this time, or it is killed.
const NAMES_TIMEOUT: Duration = Duration::from_secs(10);
/// One that was told to leave has so much more time than the messages it accepted; then it is killed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How this program was started, to start its successor in the same way.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    words: Vec<OsString>,
    directory: PathBuf,
}

impl Program {
    /// This one, with these words after its name. To be asked before the working directory changes.
    pub fn of_this_process(words: Vec<OsString>) -> io::Result<Program> {
        Ok(Program { path: std::env::current_exe()?, words, directory: std::env::current_dir()? })
    }
}

/// The program that serves now.
struct Serving {
    process: ProcessId,
    line: UnixStream,
}

/// How far the master is with an upgrade.
pub struct Upgrade {
    program: Program,
    /// An upgrade was requested that waits for a reload, or for the end of a successor.
    is_requested: bool,
    successor: Option<Successor>,
    /// Asked to stop while the successor was about to take the names: done if it does not.
    stop: Option<Signal>,
    /// The one that serves now.
    serving: Option<Serving>,
}

struct Successor {
    process: ProcessId,
    line: UnixStream,
    since: Instant,
    /// What it told: that it is ready, that it has the names, or why it gives up.
    heard: Vec<u8>,
    /// Since when everything is its own.
    told: Option<Instant>,
    /// Since when it is to leave.
    given_up: Option<Instant>,
}

/// What is to be done about a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Wait,
    /// It is ready.
    TellItIsItsOwn,
    /// It has the names.
    Leave,
    /// It is not ready in time.
    GiveUp,
    /// It was told to leave, or does so by itself.
    AwaitItsEnd,
    /// It was told that everything is its own and does not take it.
    Kill,
}

impl Successor {
    fn hear(&mut self) {
        let mut bytes = [0; REASON_SIZE_MAX];
        while let Ok(size @ 1..) = self.line.read(&mut bytes) {
            let room = REASON_SIZE_MAX.saturating_sub(self.heard.len());
            self.heard.extend_from_slice(&bytes[..size.min(room)]);
        }
    }

    fn has_names(&self) -> bool {
        self.heard.starts_with(&[READY, TAKEN])
    }

    fn next_step(&self) -> Step {
        match (self.given_up, self.told) {
            (Some(_), _) => Step::AwaitItsEnd,
            (None, None) if self.heard == [READY] => Step::TellItIsItsOwn,
            (None, None) if self.since.elapsed() > SUCCESSOR_TIMEOUT => Step::GiveUp,
            (None, Some(_)) if self.has_names() => Step::Leave,
            (None, Some(since)) if since.elapsed() > NAMES_TIMEOUT => Step::Kill,
            (None, _) => Step::Wait,
        }
    }

    fn tell_it_is_its_own(&mut self) {
        match self.line.write_all(&[YOURS]) {
            Ok(()) => self.told = Some(Instant::now()),
            // A successor that cannot be told is not ready any more.
            Err(_) => self.heard.clear(),
        }
    }

    /// Why it gave up, in its own words.
    fn reason(&self) -> String {
        let words = String::from_utf8_lossy(&self.heard);
        let words = words.trim_start_matches([READY as char, TAKEN as char]).trim();
        if words.is_empty() { "no reason given".to_owned() } else { words.to_owned() }
    }

    /// What it accepted is finished, but not for longer than a stop may take.
    fn give_up(&mut self, timeout: Duration) {
        match self.given_up {
            None => {
                self.given_up = Some(Instant::now());
                signal::try_send(self.process, Signal::SIGTERM);
            }
            Some(since) if since.elapsed() > timeout => self.kill(),
            Some(_) => {}
        }
    }

    fn kill(&self) {
        signal::try_send(self.process, Signal::SIGKILL);
    }
}

impl Upgrade {
    /// None is under way; the next one starts this program.
    pub fn new(program: Program) -> Upgrade {
        Upgrade { program, is_requested: false, successor: None, stop: None, serving: None }
    }

    /// Whether a new program is on its way.
    pub fn is_under_way(&self) -> bool {
        self.successor.is_some()
    }

    /// Whether one is to begin as soon as nothing else is under way.
    pub fn is_requested(&self) -> bool {
        self.is_requested
    }

    /// The program that serves now, as long as it lives.
    pub fn serving(&self) -> Option<ProcessId> {
        self.serving.as_ref().map(|serving| serving.process)
    }

    /// Keeps a signal to stop for the case that the successor does not take what it was told is its own. Whether there is
    /// such a successor.
    pub fn has_put_off(&mut self, stop: Signal) -> bool {
        let is_its_own = self.successor.as_ref().is_some_and(|successor| successor.told.is_some());
        if is_its_own {
            self.stop = Some(stop);
        }
        is_its_own
    }

    /// For a child that was just forked: these lines are none of its business.
    pub fn forget_lines(&mut self) {
        self.successor = None;
        self.serving = None;
    }
}

impl Master {
    /// SIGUSR2. It waits for a reload that is under way, and for a successor, which may be dead already: if that one takes
    /// over, the request is fulfilled.
    pub(in crate::process) fn request_upgrade(&mut self) {
        self.upgrade.is_requested = true;
        if self.upgrade.is_under_way() {
            let text = "SIGUSR2: an upgrade is already running; if it fails, another one is started";
            self.say(Level::Notice, format_args!("{text}"));
        }
    }

    fn begin_upgrade(&mut self) {
        self.upgrade.is_requested = false;
        match self.fork_successor() {
            Ok(successor) => {
                self.say(
                    Level::Notice,
                    format_args!("SIGUSR2: started the new program as process {}", successor.process),
                );
                self.upgrade.successor = Some(successor);
            }
            Err(error) => self.say(Level::Error, format_args!("could not start the new program: {error}")),
        }
    }

    fn fork_successor(&mut self) -> io::Result<Successor> {
        let (line, others) = UnixStream::pair()?;
        line.set_nonblocking(true)?;
        match process::fork(&self.proof)? {
            Fork::Child => {
                let error = self.become_successor(&others);
                Succession::new(others).give_up(&format!("could not execute the new program: {error}"));
                exit_now(crate::process::roles::child::EXIT_FAILED)
            }
            Fork::Parent(process) => {
                let (since, heard) = (Instant::now(), Vec::new());
                Ok(Successor { process, line, since, heard, told: None, given_up: None })
            }
        }
    }

    fn become_successor(&self, line: &UnixStream) -> io::Error {
        // What is held back now stays so in the new program, whichever it is: this one must be able to end it.
        let script = self.reload.script.unrepeatable();
        let handed = signal::unblock(&[Signal::SIGTERM])
            .and_then(|()| hand_over(&self.current.heritage, line, script));
        match handed {
            Ok((_file, number)) => {
                let Program { path, words, directory } = &self.upgrade.program;
                inherit::execute(path, words, directory, (VARIABLE, &number.to_string()))
            }
            Err(error) => error,
        }
    }

    /// One step, in each turn of the master.
    pub(in crate::process) fn go_on_upgrading(&mut self) {
        let timeout = self.current.exit_timeout() + LEAVE_TIMEOUT;
        let is_time =
            self.upgrade.is_requested && self.current.phase == Phase::Serving && !self.reload.is_under_way();
        let Some(successor) = &mut self.upgrade.successor else {
            if is_time {
                self.begin_upgrade();
            }
            return;
        };
        successor.hear();
        if matches!(self.current.phase, Phase::Ending { .. }) {
            successor.kill();
            return;
        }
        let process = successor.process;
        match successor.next_step() {
            Step::Wait => {}
            Step::TellItIsItsOwn => successor.tell_it_is_its_own(),
            Step::Leave => self.leave_to_successor(),
            Step::AwaitItsEnd => successor.give_up(timeout),
            Step::Kill => successor.kill(),
            Step::GiveUp => {
                successor.give_up(timeout);
                self.say(
                    Level::Error,
                    format_args!(
                        "the new program (process {process}) is not ready after {SUCCESSOR_TIMEOUT:?}: \
                         stopping it"
                    ),
                );
            }
        }
    }

    /// A process ended: whether it was the new program. One that had the names and left in order was stopped, and so is
    /// this one; any other one has not taken over.
    pub(in crate::process) fn reap_successor(&mut self, dead: &DeadChild) -> bool {
        if self.upgrade.serving() == Some(dead.process) {
            self.upgrade.serving = None;
            return true;
        }
        let Some(successor) =
            self.upgrade.successor.as_mut().filter(|successor| successor.process == dead.process)
        else {
            return false;
        };
        successor.hear();
        if successor.has_names() && dead.status.is_orderly() {
            self.leave_to_successor();
            self.upgrade.serving = None;
            return true;
        }
        let (process, reason, is_told) = (successor.process, successor.reason(), successor.told.is_some());
        self.upgrade.successor = None;
        self.names.sweep_after(process, &self.current.heritage.statistics);
        if is_told {
            self.take_names_back();
        }
        let DeadChild { status, .. } = dead;
        self.say(
            Level::Error,
            format_args!("upgrade failed (process {process}), this program continues: {reason} ({status})"),
        );
        if let Some(signal) = self.upgrade.stop.take() {
            self.begin_to_stop(signal);
        }
        true
    }

    /// The successor may have died between taking one of them and telling it.
    fn take_names_back(&mut self) {
        for complaint in self.names.take_back() {
            self.say(Level::Error, format_args!("{complaint}"));
        }
        if self.current.heritage.statistics.is_replaced() {
            // A name that another memory has had is taken by a rename only, and so by the next generation.
            self.say(
                Level::Warning,
                format_args!("the published statistics are lost: reloading to publish them again"),
            );
            self.request_reload();
        }
    }

    /// The program that serves after this one goes on with what it has counted: told when it leaves and again at its end,
    /// when the rest is counted, too.
    pub(in crate::process) fn tell_totals(&mut self) {
        let text = self.totals_of_all().encode();
        if let Some(serving) = &mut self.upgrade.serving {
            // What cannot be told now is no reason to stay.
            let _ = serving.line.write_all(format!("{text}\n").as_bytes());
        }
    }

    /// It has said that it has the names.
    fn leave_to_successor(&mut self) {
        let Some(Successor { process, line, .. }) = self.upgrade.successor.take() else { return };
        self.upgrade.serving = Some(Serving { process, line });
        self.has_stop_signal = self.upgrade.stop.take().is_some();
        self.names.leave();
        self.tell_totals();
        self.say(
            Level::Notice,
            format_args!("the new program (process {process}) serves: finishing accepted messages"),
        );
        self.service_manager.succeeded_by(process.number() as u32);
        self.current.phase = Phase::Stopping { step: 0, since: Instant::now() };
        self.pass_on_request(process);
        self.give_up_reloading();
        self.current.stop_control(self.now());
    }

    /// The server stops: no program is to come after it.
    pub(in crate::process) fn give_up_upgrading(&mut self) {
        let timeout = self.current.exit_timeout() + LEAVE_TIMEOUT;
        self.upgrade.is_requested = false;
        if let Some(successor) = &mut self.upgrade.successor {
            successor.give_up(timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn successor() -> (Successor, UnixStream) {
        let (line, others) = UnixStream::pair().unwrap();
        line.set_nonblocking(true).unwrap();
        let process = ProcessId::from_number(i32::MAX).unwrap();
        (
            Successor { process, line, since: Instant::now(), heard: vec![], told: None, given_up: None },
            others,
        )
    }

    #[test]
    fn an_heir_is_told_when_it_is_ready_and_left_to_when_it_has_the_names() {
        let check = |heard: &[&[u8]], is_told: bool, step: Step, reason: &str| {
            let (mut successor, mut others) = successor();
            successor.told = is_told.then(Instant::now);
            for word in heard {
                others.write_all(word).unwrap();
                successor.hear();
            }
            drop(others);
            successor.hear();
            assert_eq!((successor.next_step(), successor.reason().as_str()), (step, reason), "{heard:?}");
        };
        let silent = "no reason given";
        check(&[], false, Step::Wait, silent);
        check(&[&[READY]], false, Step::TellItIsItsOwn, silent);
        check(&[b"no ", b"room\n"], false, Step::Wait, "no room");
        check(&[&[READY], b"told to leave"], false, Step::Wait, "told to leave");
        check(&[&[READY]], true, Step::Wait, silent);
        check(&[&[READY], &[TAKEN]], true, Step::Leave, silent);
        check(&[&[READY], b"told to leave"], true, Step::Wait, "told to leave");
        let long = "x".repeat(REASON_SIZE_MAX);
        check(&[long.as_bytes(), b"more"], false, Step::Wait, &long);
    }

    #[test]
    fn an_heir_that_takes_too_long_is_asked_to_leave_and_one_that_could_have_the_names_is_killed() {
        let ago = |time: Duration| Instant::now().checked_sub(time + Duration::from_secs(1)).unwrap();
        let check = |heard: &[u8], is_told: bool, is_given_up: bool, step: Step| {
            let (mut successor, _others) = successor();
            successor.heard = heard.to_vec();
            successor.since = ago(SUCCESSOR_TIMEOUT);
            successor.told = is_told.then(|| ago(NAMES_TIMEOUT));
            successor.given_up = is_given_up.then(Instant::now);
            assert_eq!(successor.next_step(), step, "{heard:?} {is_told} {is_given_up}");
        };
        check(&[], false, false, Step::GiveUp);
        check(&[], false, true, Step::AwaitItsEnd);
        check(&[READY], false, false, Step::TellItIsItsOwn);
        check(&[READY], false, true, Step::AwaitItsEnd);
        check(&[READY], true, false, Step::Kill);
        check(&[READY, TAKEN], true, false, Step::Leave);
    }

    #[test]
    fn who_cannot_be_told_is_not_ready_any_more() {
        let (mut successor, others) = successor();
        successor.heard = vec![READY];
        drop(others);
        successor.tell_it_is_its_own();
        assert_eq!((successor.told, successor.next_step()), (None, Step::Wait));
    }
}
