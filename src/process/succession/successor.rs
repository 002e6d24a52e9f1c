//! The new program's part of an upgrade: it comes up beside its predecessor, asks for its place, and serves.
//!
//! ```text
//!  workers, control ─► receivers ─► ready ──"ready"──► predecessor ──"yours"──► names "taken", serving
//!        └──────────────┴─► it does not come up, or is told to leave: ──why──► finishes what it accepted, leaves
//! ```
//!
//! Names (see [`crate::process::start::published_names`]) are its own from the moment at which the predecessor gives them
//! up; until then it changes nothing that others see. When the predecessor dies meanwhile, it takes over, because no other
//! program is there to serve.
//!
//! Both programs talk on a stream, in single bytes, a reason in words and lines of totals. This is not the channel between
//! a master and its children ([`crate::process::channel`]): the two programs may be of different versions, so what passes
//! here stays as it is, or the version of the hand-over rises ([`super::handover`]) and they refuse each other.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::process::master::Master;
use crate::process::master::generation::Phase;
use crate::process::master::totals::Totals;
use crate::telemetry::log::Level;

/// The successor is ready.
pub(in crate::process) const READY: u8 = 1;
/// The predecessor leaves everything to its successor.
pub(in crate::process) const YOURS: u8 = 2;
/// The successor has taken the names.
pub(in crate::process) const TAKEN: u8 = 3;
/// A reason is cut when it is longer.
pub(in crate::process) const REASON_SIZE_MAX: usize = 4_096;
/// The predecessor, which looks twenty times a second, answers within this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The successor's end of the line to its predecessor.
#[derive(Debug)]
pub struct Succession {
    line: UnixStream,
}

/// The program before this one, while it finishes what it accepted.
#[derive(Debug)]
pub struct DrainingPredecessor {
    line: UnixStream,
    heard: Vec<u8>,
}

/// More than a server has to tell.
const HEARD_SIZE_MAX: usize = 1 << 20;

impl DrainingPredecessor {
    /// Whether there will be nothing more.
    fn hear(&mut self) -> bool {
        let mut bytes = [0; 4_096];
        loop {
            match self.line.read(&mut bytes) {
                Ok(size @ 1..) if self.heard.len() < HEARD_SIZE_MAX => {
                    self.heard.extend_from_slice(&bytes[..size]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Ok(_) | Err(_) => return true,
            }
        }
    }

    /// The last whole line that was not asked for before.
    fn last_line(&mut self) -> Option<String> {
        let end = self.heard.iter().rposition(|byte| *byte == b'\n')?;
        let rest = self.heard.split_off(end + 1);
        let lines = String::from_utf8(std::mem::replace(&mut self.heard, rest)).ok()?;
        lines.lines().last().map(str::to_owned)
    }
}

/// What is heard from the predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing yet.
    None,
    /// Everything is the successor's.
    Yours,
    /// It does not exist any more.
    Gone,
}

impl Succession {
    /// On this line, which does not wait.
    pub fn new(line: UnixStream) -> Succession {
        Succession { line }
    }

    /// Another handle to the same line.
    pub fn share(&self) -> io::Result<Succession> {
        Ok(Succession { line: self.line.try_clone()? })
    }

    /// A predecessor that cannot be told is gone, which will be heard.
    fn tell(&self, word: u8) {
        let _ = (&self.line).write(&[word]);
    }

    /// Nothing will come of it, for this reason.
    pub fn give_up(&self, reason: &str) {
        let end = reason.floor_char_boundary(REASON_SIZE_MAX);
        // A predecessor that cannot be told sees us leave.
        let _ = (&self.line).write(&reason.as_bytes()[..end]);
    }

    fn answer(&self) -> Answer {
        match (&self.line).read(&mut [0]) {
            Ok(0) => Answer::Gone,
            Ok(_) => Answer::Yours,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Answer::None
            }
            Err(_) => Answer::Gone,
        }
    }
}

impl Master {
    /// All of it is ready. Without a predecessor it serves; with one it asks first.
    pub(in crate::process) fn came_up(&mut self) {
        match &self.succession {
            Some(succession) => {
                succession.tell(READY);
                self.current.phase = Phase::Succeeding { since: Instant::now() };
            }
            None => self.begin_to_serve(),
        }
    }

    /// One step, in each turn of the master.
    pub(in crate::process) fn go_on_succeeding(&mut self) {
        let (Phase::Succeeding { since }, Some(succession)) = (self.current.phase, &self.succession) else {
            return;
        };
        match succession.answer() {
            Answer::None if since.elapsed() > ANSWER_TIMEOUT => {
                self.give_up_start("the previous program does not answer");
            }
            Answer::None => {}
            Answer::Yours => self.take_place(),
            Answer::Gone => {
                self.say(Level::Warning, format_args!("the previous program is gone: taking over"));
                self.take_place();
            }
        }
    }

    fn take_place(&mut self) {
        for complaint in self.names.take(&self.current.heritage.statistics) {
            self.say(Level::Error, format_args!("{complaint}"));
        }
        if let Some(succession) = self.succession.take() {
            succession.tell(TAKEN);
            self.predecessor = Some(DrainingPredecessor { line: succession.line, heard: Vec::new() });
        }
        self.begin_to_serve();
    }

    /// In each turn: what the program before this one has counted goes on here.
    pub(in crate::process) fn listen_to_predecessor(&mut self) {
        let Some(predecessor) = &mut self.predecessor else { return };
        let has_ended = predecessor.hear();
        let told = predecessor.last_line().and_then(|line| Totals::decode(&line));
        if has_ended {
            self.predecessor = None;
        }
        if let Some(totals) = told {
            self.reload.of_predecessor = totals;
            self.write_totals();
        }
    }

    /// It does not come up, or shall not: what was accepted is finished all the same.
    pub(in crate::process) fn give_up_start(&mut self, reason: &str) {
        self.say(Level::Critical, format_args!("start aborted: {reason}"));
        if let Some(succession) = &self.succession {
            succession.give_up(reason);
        }
        self.is_start_given_up = true;
        self.current.phase = Phase::Stopping { step: 0, since: Instant::now() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> (UnixStream, Succession) {
        let (predecessor, own) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        (predecessor, Succession::new(own))
    }

    #[test]
    fn a_successor_asks_and_hears_and_notices_when_it_is_alone() {
        let (mut predecessor, succession) = line();
        succession.tell(READY);
        let mut word = [0];
        predecessor.read_exact(&mut word).unwrap();
        assert_eq!((word, succession.answer()), ([READY], Answer::None));
        predecessor.write_all(&[YOURS]).unwrap();
        assert_eq!(succession.answer(), Answer::Yours);
        drop(predecessor);
        assert_eq!(succession.answer(), Answer::Gone);
        succession.tell(READY);
        succession.give_up("nobody hears it");
    }

    #[test]
    fn the_last_whole_line_of_a_predecessor_counts() {
        let (mut predecessor, succession) = line();
        let mut draining = DrainingPredecessor { line: succession.line, heard: Vec::new() };
        let mut check = |told: &[u8], expected: Option<&str>| {
            predecessor.write_all(told).unwrap();
            assert!(!draining.hear());
            assert_eq!(draining.last_line().as_deref(), expected, "{told:?}");
        };
        check(b"on", None);
        check(b"e\ntwo\nthr", Some("two"));
        check(b"ee\n", Some("three"));
        check(b"\xff\n", None);
        check(b"four\n", Some("four"));
        drop(predecessor);
        assert!(draining.hear() && draining.last_line().is_none());
    }

    #[test]
    fn long_reasons_are_cut_and_no_program_waits() {
        let (mut predecessor, succession) = line();
        let reason = "ä".repeat(REASON_SIZE_MAX);
        succession.give_up(&reason);
        (0..1_000).for_each(|_| succession.give_up(&reason));
        let mut heard = vec![0; REASON_SIZE_MAX];
        predecessor.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), "ä".repeat(REASON_SIZE_MAX / 2));
    }
}
