//! Another program for a running server, without a message lost: the part of the program that runs.
//!
//! ```text
//!  SIGUSR2 ─► fork ─► exec the program of the same path, with the same words
//!                        │ sockets, the socket for commands, the key of tags: kept open, named in a hand-over
//!                        ▼
//!              an ordinary start, but nothing is bound; old and new read the same sockets
//!                        ▼ all of it is ready                 ▼ it gives up, ends, or takes too long
//!  the old one leaves it the names, finishes        the old one has kept its names and goes on as if nothing had
//!  what it accepted and is gone                     happened; the new one finishes what it accepted and is gone
//! ```
//!
//! The other part is in [`super::heir`], what passes between them in [`super::handover`].
//!
//! **Invariant:** who is told "yours" was not given up before, and is not afterwards.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::handover::{VARIABLE, hand_over};
use super::heir::{READY, REASON_SIZE_MAX, Succession, TAKEN, YOURS};
use super::master::{Master, Phase};
use super::role::Role;
use super::supervisor::Event;
use crate::core::log::Level;
use crate::sys::inherit;
use crate::sys::process::{self, DeadChild, Fork, ProcessId, exit_now};
use crate::sys::signal::{self, Signal};

/// The new program is ready within this time, or it is told to leave.
const HEIR_PATIENCE: Duration = Duration::from_secs(30);
/// One that is told that everything is its own has the names within this time.
const NAMES_PATIENCE: Duration = Duration::from_secs(1);
/// One that was told to leave has so much more time than the messages it accepted; then it is killed.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

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

/// The program that serves after this one.
struct Successor {
    line: UnixStream,
    since: Instant,
    has_names: bool,
}

/// How far the master is with an upgrade.
pub struct Upgrade {
    program: Program,
    heir: Option<Heir>,
    /// The one that serves now.
    successor: Option<Successor>,
}

struct Heir {
    process: ProcessId,
    line: UnixStream,
    since: Instant,
    /// What it told: that it is ready, or why it gives up.
    heard: Vec<u8>,
    /// Since when it is to leave.
    given_up: Option<Instant>,
}

impl Heir {
    fn hear(&mut self) {
        let mut bytes = [0; REASON_SIZE_MAX];
        while let Ok(size @ 1..) = self.line.read(&mut bytes) {
            let room = REASON_SIZE_MAX.saturating_sub(self.heard.len());
            self.heard.extend_from_slice(&bytes[..size.min(room)]);
        }
    }

    fn is_ready(&self) -> bool {
        self.heard == [READY]
    }

    /// Why it gave up, in its own words.
    fn reason(&self) -> String {
        let words = String::from_utf8_lossy(&self.heard);
        let words = words.trim_start_matches(READY as char).trim();
        if words.is_empty() { "it did not say why".to_owned() } else { words.to_owned() }
    }

    /// What it accepted is finished, but not for longer than a stop may take.
    fn give_up(&mut self, patience: Duration) {
        match self.given_up {
            None => {
                self.given_up = Some(Instant::now());
                let _ = signal::send(self.process, Signal::SIGTERM);
            }
            Some(since) if since.elapsed() > patience => self.kill(),
            Some(_) => {}
        }
    }

    fn kill(&self) {
        // Who is gone already is no error, and any other one would be met again and again.
        let _ = signal::send(self.process, Signal::SIGKILL);
    }
}

impl Upgrade {
    /// None is under way; the next one starts this program.
    pub fn new(program: Program) -> Upgrade {
        Upgrade { program, heir: None, successor: None }
    }

    /// Whether a new program is on its way.
    pub fn is_under_way(&self) -> bool {
        self.heir.is_some()
    }

    /// Whether somebody leaves too early who leaves now: names lead nowhere until the new program has them.
    pub fn is_awaited(&self) -> bool {
        self.heir.is_some() || self.successor.as_ref().is_some_and(|successor| !successor.has_names)
    }

    /// The new program has told that it has the names, or has had time enough.
    fn listen_to_successor(&mut self) {
        let Some(Successor { line, since, has_names }) = &mut self.successor else { return };
        let mut word = [0];
        let has_ended = match line.read(&mut word) {
            Ok(0) => true,
            Ok(_) => word == [TAKEN],
            Err(_) => false,
        };
        *has_names |= has_ended || since.elapsed() > NAMES_PATIENCE;
    }
}

impl Master {
    /// SIGUSR2.
    pub(super) fn begin_upgrade(&mut self) {
        if self.reload.is_busy() || self.upgrade.is_under_way() {
            self.say(Level::Warning, format_args!("SIGUSR2: not now, something else is under way"));
            return;
        }
        match self.fork_heir() {
            Ok(heir) => {
                self.say(
                    Level::Notice,
                    format_args!("SIGUSR2: process {} begins to take over", heir.process),
                );
                self.upgrade.heir = Some(heir);
            }
            Err(error) => self.say(Level::Error, format_args!("could not start the new program: {error}")),
        }
    }

    fn fork_heir(&mut self) -> io::Result<Heir> {
        let (line, others) = UnixStream::pair()?;
        line.set_nonblocking(true)?;
        match process::fork(&self.proof)? {
            Fork::Child => {
                let error = self.become_heir(&others);
                Succession::new(others).give_up(&format!("could not become the new program: {error}"));
                exit_now(super::child::EXIT_FAILED)
            }
            Fork::Parent(process) => {
                Ok(Heir { process, line, since: Instant::now(), heard: Vec::new(), given_up: None })
            }
        }
    }

    fn become_heir(&self, line: &UnixStream) -> io::Error {
        // What is held back now stays so in the new program, whichever it is: this one must be able to end it.
        let script = self.reload.script.unrepeatable();
        let handed =
            signal::unblock(&[Signal::SIGTERM]).and_then(|()| hand_over(&self.heritage, line, script));
        match handed {
            Ok((_file, number)) => {
                let Program { path, words, directory } = &self.upgrade.program;
                inherit::execute(path, words, directory, (VARIABLE, &number.to_string()))
            }
            Err(error) => error,
        }
    }

    /// One step, in each turn of the master.
    pub(super) fn go_on_upgrading(&mut self) {
        let patience = self.exit_timeout() + LEAVE_PATIENCE;
        self.upgrade.listen_to_successor();
        let Some(heir) = &mut self.upgrade.heir else { return };
        heir.hear();
        if matches!(self.phase, Phase::Ending { .. }) {
            heir.kill();
        } else if heir.given_up.is_some() {
            heir.give_up(patience);
        } else if heir.is_ready() && heir.line.write_all(&[YOURS]).is_ok() {
            let process = heir.process;
            let line = self.upgrade.heir.take().map(|heir| heir.line);
            self.upgrade.successor =
                line.map(|line| Successor { line, since: Instant::now(), has_names: false });
            self.leave_to(process);
        } else if heir.since.elapsed() > HEIR_PATIENCE {
            let process = heir.process;
            heir.give_up(patience);
            self.say(
                Level::Error,
                format_args!("process {process} is not ready after {HEIR_PATIENCE:?}: it is told to leave"),
            );
        }
    }

    /// A process ended: whether it was the new program, which then has not taken over.
    pub(super) fn bury_heir(&mut self, dead: &DeadChild) -> bool {
        let Some(mut heir) = self.upgrade.heir.take_if(|heir| heir.process == dead.process) else {
            return false;
        };
        heir.hear();
        let (process, reason) = (heir.process, heir.reason());
        let DeadChild { status, .. } = dead;
        self.say(
            Level::Error,
            format_args!("process {process} did not take over: all stays as it was: {reason} ({status})"),
        );
        true
    }

    /// Whoever serves after this program goes on with what it has counted: told when it leaves and again at its end,
    /// when the rest is counted, too.
    pub(super) fn tell_totals(&mut self) {
        let text = self.totals_of_all().encode();
        if let Some(successor) = &mut self.upgrade.successor {
            // What cannot be told now is no reason to stay.
            let _ = successor.line.write_all(format!("{text}\n").as_bytes());
        }
    }

    fn leave_to(&mut self, heir: ProcessId) {
        self.names.leave();
        self.tell_totals();
        self.say(Level::Notice, format_args!("process {heir} serves: finishing what was accepted"));
        self.service_manager.succeeded_by(heir.number() as u32);
        self.phase = Phase::Stopping { step: 0, since: Instant::now() };
        self.give_up_reloading();
        // Two would answer at one socket.
        for index in 0..self.children.len() {
            if self.children[index].role == Role::Control {
                self.tell_supervisor(index, Event::Stop);
            }
        }
    }

    /// The server stops: nobody is to come after it.
    pub(super) fn give_up_upgrading(&mut self) {
        let patience = self.exit_timeout() + LEAVE_PATIENCE;
        if let Some(heir) = &mut self.upgrade.heir {
            heir.give_up(patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_heir_is_ready_when_it_says_so_and_nothing_else_after_it() {
        let check = |heard: &[&[u8]], is_ready: bool, reason: &str| {
            let (line, mut others) = UnixStream::pair().unwrap();
            line.set_nonblocking(true).unwrap();
            let process = ProcessId::from_number(i32::MAX).unwrap();
            let mut heir = Heir { process, line, since: Instant::now(), heard: vec![], given_up: None };
            for word in heard {
                others.write_all(word).unwrap();
                heir.hear();
            }
            drop(others);
            heir.hear();
            assert_eq!((heir.is_ready(), heir.reason().as_str()), (is_ready, reason), "{heard:?}");
        };
        check(&[], false, "it did not say why");
        check(&[&[READY]], true, "it did not say why");
        check(&[b"no ", b"room\n"], false, "no room");
        check(&[&[READY], b"told to leave"], false, "told to leave");
        let long = "x".repeat(REASON_SIZE_MAX);
        check(&[long.as_bytes(), b"more"], false, &long);
    }
}
