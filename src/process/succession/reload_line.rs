//! The line on which the control process asks the master to reload and hears what became of it.
//!
//! Datagrams between two ends of one pair: nothing to frame, and nobody waits because the other end does not read. Each
//! generation has a line of its own, so an answer goes to the process that asked, or to its successor, which knows by
//! the number that it did not ask.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::sys::poll::{self, Interest};

/// Both ends; each process uses its own.
#[derive(Debug)]
pub struct ReloadLine {
    master: UnixDatagram,
    control: UnixDatagram,
}

/// What became of a wish: the words for whoever asked.
pub type Outcome = Result<String, String>;

const NUMBER_SIZE: usize = size_of::<u64>();
const HEAD_SIZE: usize = NUMBER_SIZE + 1;
/// Longer diagnostics are cut: a datagram must fit into what the kernel keeps for the line.
const TEXT_SIZE_MAX: usize = 60_000;
const SUCCEEDED: u8 = 1;

impl ReloadLine {
    /// Makes the line.
    pub fn new() -> io::Result<ReloadLine> {
        let (master, control) = UnixDatagram::pair()?;
        master.set_nonblocking(true)?;
        control.set_nonblocking(true)?;
        Ok(ReloadLine { master, control })
    }

    /// For the control process: asks under this number and waits for the answer.
    pub fn ask(&self, number: u64, patience: Duration) -> Outcome {
        let deadline = Instant::now() + patience;
        self.control
            .send(&number.to_ne_bytes())
            .map_err(|error| format!("could not reach the master: {error}"))?;
        let mut bytes = vec![0; HEAD_SIZE + TEXT_SIZE_MAX];
        loop {
            match self.control.recv(&mut bytes) {
                Ok(size) => match read_answer(&bytes[..size]) {
                    Some((of, outcome)) if of == number => return outcome,
                    _ => continue,
                },
                Err(error) if poll::is_transient(&error) => {}
                Err(error) => return Err(format!("no answer from the master: {error}")),
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err("the reload is still running: see the log for its result".to_owned());
            }
            poll::wait_for(self.control.as_fd(), Interest::Read, rest).map_err(|error| error.to_string())?;
        }
    }

    /// For the master: the number of the next wish.
    pub fn next_wish(&self) -> Option<u64> {
        let mut number = [0; NUMBER_SIZE];
        let size = self.master.recv(&mut number).ok()?;
        (size == NUMBER_SIZE).then(|| u64::from_ne_bytes(number))
    }

    /// For the master: what became of the wish of this number. Who does not listen any more misses it.
    pub fn answer(&self, number: u64, outcome: &Outcome) {
        let (mark, text) = match outcome {
            Ok(text) => (SUCCEEDED, text),
            Err(text) => (0, text),
        };
        let mut bytes = number.to_ne_bytes().to_vec();
        bytes.push(mark);
        bytes.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(TEXT_SIZE_MAX)]);
        let _ = self.master.send(&bytes);
    }
}

fn read_answer(bytes: &[u8]) -> Option<(u64, Outcome)> {
    let (number, rest) = bytes.split_first_chunk::<NUMBER_SIZE>()?;
    let (mark, text) = rest.split_first()?;
    let text = String::from_utf8_lossy(text).into_owned();
    Some((u64::from_ne_bytes(*number), if *mark == SUCCEEDED { Ok(text) } else { Err(text) }))
}

/// For the master, to wait for wishes.
impl AsFd for ReloadLine {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn who_asks_hears_its_own_answer_and_no_other() {
        let line = ReloadLine::new().unwrap();
        line.answer(6, &Ok("of somebody else".to_owned()));
        line.answer(7, &Err("a mistake".to_owned()));
        assert_eq!(line.ask(7, SHORT), Err("a mistake".to_owned()));
        line.answer(8, &Ok("done".to_owned()));
        assert_eq!(line.ask(8, SHORT), Ok("done".to_owned()));
        assert_eq!([line.next_wish(), line.next_wish(), line.next_wish()], [Some(7), Some(8), None]);
    }

    #[test]
    fn nobody_waits_for_ever_and_long_words_are_cut() {
        let line = ReloadLine::new().unwrap();
        assert!(line.ask(1, SHORT).unwrap_err().starts_with("the reload is still running"));
        line.answer(2, &Err("ä".repeat(TEXT_SIZE_MAX)));
        assert_eq!(line.ask(2, SHORT).unwrap_err().len(), TEXT_SIZE_MAX);
        // Nobody reads any more: the master is not held up.
        (0..10_000).for_each(|number| line.answer(number, &Ok(String::new())));
    }
}
