//! Another program for a running server, without a message lost: the new one takes over the sockets.
//!
//! ```text
//!  SIGUSR2 ─► fork ─► exec the program of the same path, with the same words
//!                        │ sockets, the socket for commands, the key of tags: kept open, named in a hand-over
//!                        ▼
//!              an ordinary start, but nothing is bound; old and new read the same sockets
//!                        ▼ all of it is ready: one byte       ▼ it ends without that byte
//!  the old one finishes what it accepted and is gone        the old one goes on as if nothing had happened
//! ```
//!
//! The variable [`VARIABLE`] holds the number of a descriptor whose file tells the rest. It counts only when the
//! process that wrote it is the parent: whoever finds an old value in its environment starts as usual.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Value, json};

use super::heritage::Heritage;
use super::master::{Master, Phase};
use super::role::Role;
use super::supervisor::Event;
use crate::core::log::Level;
use crate::sip::branch::Secret;
use crate::sys::inherit;
use crate::sys::poll::{self, Interest};
use crate::sys::process::{self, Fork, ProcessId, exit_now};
use crate::sys::signal::{self, Signal};

/// Names the descriptor of a hand-over.
pub const VARIABLE: &str = "SWORKER_HANDOVER";

/// The new program is ready within this time, or it is ended.
const HEIR_PATIENCE: Duration = Duration::from_secs(30);

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

/// What a predecessor left to this process.
pub struct Handover {
    /// The master that is to be succeeded.
    pub predecessor: ProcessId,
    /// The number of its generation.
    pub generation: u64,
    /// Makes branches and tags.
    pub secret: Secret,
    /// Where commands are asked.
    pub commands: OwnedFd,
    /// On which the predecessor hears that this server serves.
    pub word: PipeWriter,
    /// Sockets, with the addresses that were asked for.
    pub listeners: Vec<(SocketAddr, OwnedFd)>,
}

impl Handover {
    /// What the environment names; `None` when there is nothing, or it is not for this process.
    pub fn of_environment() -> io::Result<Option<Handover>> {
        let Some(number) = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()) else {
            return Ok(None);
        };
        // An old value may name anything, or nothing.
        let Ok(file) = inherit::take(number) else { return Ok(None) };
        let mut file = File::from(file);
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        let found = serde_json::from_str(&text).map_err(io::Error::other)?;
        Handover::read(&found)
    }

    fn read(found: &Value) -> io::Result<Option<Handover>> {
        let predecessor = found["predecessor"].as_i64().and_then(|number| i32::try_from(number).ok());
        let Some(predecessor) = predecessor.and_then(ProcessId::from_number) else { return Ok(None) };
        if predecessor != ProcessId::parent() {
            return Ok(None);
        }
        let broken = || io::Error::other("the hand-over of the program before this one cannot be read");
        let take = |value: &Value| {
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok()).ok_or_else(broken)?;
            inherit::take(number)
        };
        let key = found["key"].as_str().and_then(|text| data_encoding::HEXLOWER.decode(text.as_bytes()).ok());
        let key: [u8; 16] = key.and_then(|key| key.try_into().ok()).ok_or_else(broken)?;
        let rows = found["listeners"].as_array().ok_or_else(broken)?;
        let listener = |row: &Value| {
            let wish = row["wish"].as_str().and_then(|text| text.parse().ok()).ok_or_else(broken)?;
            Ok((wish, take(&row["descriptor"])?))
        };
        Ok(Some(Handover {
            predecessor,
            generation: found["generation"].as_u64().ok_or_else(broken)?,
            secret: Secret::new(key),
            commands: take(&found["commands"])?,
            word: PipeWriter::from(take(&found["word"])?),
            listeners: rows.iter().map(listener).collect::<io::Result<_>>()?,
        }))
    }
}

/// Writes what the next program needs; the number of the descriptor. For a process that is about to become it.
fn hand_over(heritage: &Heritage, word: &PipeWriter) -> io::Result<(File, i32)> {
    let listener = |(_, listener): (u16, &crate::transport::udp::UdpListener)| {
        let descriptor = inherit::keep(listener.as_fd())?;
        Ok(json!({"wish": listener.wish().to_string(), "descriptor": descriptor}))
    };
    let text = json!({
        "predecessor": heritage.master.number(),
        "generation": heritage.generation,
        "key": data_encoding::HEXLOWER.encode(&heritage.secret.key()),
        "commands": inherit::keep(heritage.commands.as_fd())?,
        "word": inherit::keep(word.as_fd())?,
        "listeners": heritage.listeners.iter().map(listener).collect::<io::Result<Vec<_>>>()?,
    });
    let mut file = File::from(memfd_create(c"sworker-handover", MFdFlags::empty())?);
    file.write_all(text.to_string().as_bytes())?;
    let number = inherit::keep(file.as_fd())?;
    Ok((file, number))
}

/// How far the master is with an upgrade.
pub struct Upgrade {
    program: Program,
    heir: Option<Heir>,
    /// The new program serves: names and files belong to it now.
    pub(super) is_succeeded: bool,
}

struct Heir {
    process: ProcessId,
    word: PipeReader,
    since: Instant,
}

impl Upgrade {
    /// None is under way; the next one starts this program.
    pub fn new(program: Program) -> Upgrade {
        Upgrade { program, heir: None, is_succeeded: false }
    }

    /// Whether a new program is on its way.
    pub fn is_under_way(&self) -> bool {
        self.heir.is_some()
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
        let (reader, writer) = io::pipe()?;
        match process::fork(&self.proof)? {
            Fork::Child => {
                let error = self.become_heir(&writer);
                self.say(Level::Error, format_args!("could not become the new program: {error}"));
                exit_now(super::child::EXIT_FAILED)
            }
            Fork::Parent(process) => Ok(Heir { process, word: reader, since: Instant::now() }),
        }
    }

    fn become_heir(&self, word: &PipeWriter) -> io::Error {
        match hand_over(&self.heritage, word) {
            Ok((_file, number)) => {
                let Program { path, words, directory } = &self.upgrade.program;
                inherit::execute(path, words, directory, (VARIABLE, &number.to_string()))
            }
            Err(error) => error,
        }
    }

    /// One step, in each turn of the master.
    pub(super) fn go_on_upgrading(&mut self) {
        let Some(heir) = &mut self.upgrade.heir else { return };
        if heir.since.elapsed() > HEIR_PATIENCE || matches!(self.phase, Phase::Ending { .. }) {
            // Who is gone already is no error, and any other one would be met again and again.
            let _ = signal::send(heir.process, Signal::SIGKILL);
        }
        if !poll::wait_for(heir.word.as_fd(), Interest::Read, Duration::ZERO).unwrap_or(false) {
            return;
        }
        let mut word = [0];
        let has_come = heir.word.read(&mut word).is_ok_and(|size| size == 1);
        let process = heir.process;
        self.upgrade.heir = None;
        if has_come {
            self.leave_to(process);
        } else {
            self.say(Level::Error, format_args!("process {process} did not take over: all stays as it was"));
            self.publish_again();
        }
    }

    fn leave_to(&mut self, heir: ProcessId) {
        self.upgrade.is_succeeded = true;
        self.say(Level::Notice, format_args!("process {heir} serves: finishing what was accepted"));
        self.service_manager.succeeded_by(heir.number() as u32);
        if !self.is_stopping() {
            self.phase = Phase::Stopping { step: 0, since: Instant::now() };
        }
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
        if let Some(heir) = &self.upgrade.heir {
            let _ = signal::send(heir.process, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parents_word_counts_and_only_when_it_is_whole() {
        let parent = ProcessId::parent().number();
        assert!(Handover::read(&json!({})).unwrap().is_none());
        assert!(Handover::read(&json!({"predecessor": ProcessId::own().number()})).unwrap().is_none());
        assert!(Handover::read(&json!({"predecessor": parent})).is_err());
        let short = json!({"predecessor": parent, "key": "00", "listeners": [], "generation": 1});
        assert!(Handover::read(&short).is_err());
    }
}
