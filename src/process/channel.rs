//! The channel between the master and its children: typed messages, one datagram each, on one socket pair for each
//! generation.
//!
//! ```text
//!  any child        ── Ready { place } ──────────────────►  master
//!  control process  ── ReloadRequest { number } ─────────►  master
//!  control process  ◄─ ReloadResult { number, outcome } ──  master
//! ```
//!
//! Datagrams need no framing: a child that sends nonsense, or dies while it sends, spoils no other message, and the
//! master never waits for the rest of one. The master's end never blocks. Of the children only the control process
//! receives; after its death its successor finds an answer that is not its own, which it knows by the number.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::sys::poll::{self, Interest};

/// What became of a request, in words.
pub type Outcome = Result<String, String>;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelMessage {
    /// The child at this place is ready.
    Ready {
        /// Its place.
        place: u32,
    },
    /// The control process asks for a reload.
    ReloadRequest {
        /// Tells this request from all others.
        number: u64,
    },
    /// What became of it.
    ReloadResult {
        /// The number of the request.
        number: u64,
        /// For the client that asked.
        outcome: Outcome,
    },
}

const READY: u8 = 1;
const RELOAD_REQUEST: u8 = 2;
const RELOAD_SUCCEEDED: u8 = 3;
const RELOAD_FAILED: u8 = 4;

/// Kind and number; text follows.
const HEAD_SIZE: usize = 1 + size_of::<u64>();
/// Longer diagnostics are cut: a datagram must fit into what the kernel keeps for a socket.
const TEXT_SIZE_MAX: usize = 60_000;
/// How long a child waits for room to send.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

impl ChannelMessage {
    fn encode(&self) -> Vec<u8> {
        let (kind, number, text) = match self {
            ChannelMessage::Ready { place } => (READY, u64::from(*place), ""),
            ChannelMessage::ReloadRequest { number } => (RELOAD_REQUEST, *number, ""),
            ChannelMessage::ReloadResult { number, outcome: Ok(text) } => {
                (RELOAD_SUCCEEDED, *number, text.as_str())
            }
            ChannelMessage::ReloadResult { number, outcome: Err(text) } => {
                (RELOAD_FAILED, *number, text.as_str())
            }
        };
        let text = &text.as_bytes()[..text.floor_char_boundary(TEXT_SIZE_MAX)];
        [&[kind][..], &number.to_ne_bytes(), text].concat()
    }

    fn decode(bytes: &[u8]) -> Option<ChannelMessage> {
        let (kind, rest) = bytes.split_first()?;
        let (number, text) = rest.split_first_chunk()?;
        let number = u64::from_ne_bytes(*number);
        let words = || String::from_utf8_lossy(text).into_owned();
        match (*kind, text.is_empty()) {
            (READY, true) => Some(ChannelMessage::Ready { place: u32::try_from(number).ok()? }),
            (RELOAD_REQUEST, true) => Some(ChannelMessage::ReloadRequest { number }),
            (RELOAD_SUCCEEDED, _) => Some(ChannelMessage::ReloadResult { number, outcome: Ok(words()) }),
            (RELOAD_FAILED, _) => Some(ChannelMessage::ReloadResult { number, outcome: Err(words()) }),
            _ => None,
        }
    }
}

/// Both ends; each process uses its own.
#[derive(Debug)]
pub struct Channel {
    master: UnixDatagram,
    children: UnixDatagram,
}

impl Channel {
    /// Makes it.
    pub fn new() -> io::Result<Channel> {
        let (master, children) = UnixDatagram::pair()?;
        master.set_nonblocking(true)?;
        children.set_nonblocking(true)?;
        Ok(Channel { master, children })
    }

    /// For the child at this place: it is ready. A message that cannot be sent is no reason to fail: a master that reads
    /// nothing for so long supervises nothing either.
    pub fn tell_ready(&self, place: u32) {
        let _ = self.send(&ChannelMessage::Ready { place }, Instant::now() + SEND_TIMEOUT);
    }

    /// For the control process: asks for a reload under this number and waits for its result.
    pub fn reload(&self, number: u64, timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        self.send(&ChannelMessage::ReloadRequest { number }, deadline)
            .map_err(|error| format!("could not reach the master: {error}"))?;
        loop {
            match receive(&self.children) {
                Ok(Some(ChannelMessage::ReloadResult { number: of, outcome })) if of == number => {
                    return outcome;
                }
                Ok(_) => continue,
                Err(error) if poll::is_transient(&error) => {}
                Err(error) => return Err(format!("no answer from the master: {error}")),
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err("the reload is still running: see the log for its result".to_owned());
            }
            poll::wait_for(self.children.as_fd(), Interest::Read, rest).map_err(|error| error.to_string())?;
        }
    }

    fn send(&self, message: &ChannelMessage, deadline: Instant) -> io::Result<()> {
        let bytes = message.encode();
        loop {
            match self.children.send(&bytes) {
                Err(error) if poll::is_transient(&error) && Instant::now() < deadline => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    poll::wait_for(self.children.as_fd(), Interest::Write, rest)?;
                }
                sent => return sent.map(drop),
            }
        }
    }

    /// For the master: the next message of a child. Never waits.
    pub fn receive(&self) -> Option<ChannelMessage> {
        loop {
            match receive(&self.master) {
                Ok(Some(message)) => return Some(message),
                // Nonsense.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// For the master: what became of the request of this number. A control process that reads nothing misses it.
    pub fn answer(&self, number: u64, outcome: &Outcome) {
        let message = ChannelMessage::ReloadResult { number, outcome: outcome.clone() };
        let _ = self.master.send(&message.encode());
    }
}

fn receive(end: &UnixDatagram) -> io::Result<Option<ChannelMessage>> {
    let mut bytes = vec![0; HEAD_SIZE + TEXT_SIZE_MAX];
    let size = end.recv(&mut bytes)?;
    Ok(ChannelMessage::decode(&bytes[..size]))
}

/// For the master, to wait for messages.
impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn messages_are_read_as_they_were_written_and_nothing_else_is_one() {
        let outcomes = [Ok("done".to_owned()), Ok(String::new()), Err("a mistake\n".to_owned())];
        let results = outcomes.map(|outcome| ChannelMessage::ReloadResult { number: u64::MAX, outcome });
        let others = [ChannelMessage::Ready { place: u32::MAX }, ChannelMessage::ReloadRequest { number: 7 }];
        for message in results.into_iter().chain(others) {
            assert_eq!(ChannelMessage::decode(&message.encode()), Some(message));
        }
        let request = ChannelMessage::ReloadRequest { number: 7 }.encode();
        let too_large = [&[READY][..], &u64::MAX.to_ne_bytes()].concat();
        let unknown = [&[9][..], &request[1..]].concat();
        for bytes in [&b""[..], b"\x01", &request[..8], &[&request[..], b"x"].concat(), &too_large, &unknown]
        {
            assert_eq!(ChannelMessage::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn the_master_hears_children_in_order_and_passes_over_nonsense() {
        let channel = Channel::new().unwrap();
        assert_eq!(channel.receive(), None);
        for place in [7, 0, u32::MAX] {
            channel.tell_ready(place);
            channel.children.send(b"a").unwrap();
            channel.children.send(b"").unwrap();
        }
        let heard: Vec<_> = (0..4).map(|_| channel.receive()).collect();
        let ready = |place| Some(ChannelMessage::Ready { place });
        assert_eq!(heard, [ready(7), ready(0), ready(u32::MAX), None]);
    }

    #[test]
    fn a_child_waits_for_room_instead_of_losing_its_message() {
        let channel = Channel::new().unwrap();
        let mut sent = 0_u32;
        while channel.children.send(&ChannelMessage::Ready { place: sent }.encode()).is_ok() {
            sent += 1;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| channel.tell_ready(u32::MAX));
            let mut heard = Vec::new();
            while heard.last() != Some(&ChannelMessage::Ready { place: u32::MAX }) {
                assert!(poll::wait_for(channel.as_fd(), Interest::Read, SEND_TIMEOUT).unwrap(), "{heard:?}");
                heard.extend(channel.receive());
            }
            assert_eq!(heard.len() as u32, sent + 1);
        });
    }

    #[test]
    fn a_request_gets_its_own_answer_and_no_other() {
        let channel = Channel::new().unwrap();
        channel.answer(6, &Ok("of another process".to_owned()));
        channel.answer(7, &Err("a mistake".to_owned()));
        assert_eq!(channel.reload(7, SHORT), Err("a mistake".to_owned()));
        channel.answer(8, &Ok("done".to_owned()));
        assert_eq!(channel.reload(8, SHORT), Ok("done".to_owned()));
        let request = |number| Some(ChannelMessage::ReloadRequest { number });
        assert_eq!([channel.receive(), channel.receive(), channel.receive()], [request(7), request(8), None]);
    }

    #[test]
    fn no_process_waits_for_ever_and_long_words_are_cut() {
        let channel = Channel::new().unwrap();
        assert!(channel.reload(1, SHORT).unwrap_err().starts_with("the reload is still running"));
        channel.answer(2, &Err("ä".repeat(TEXT_SIZE_MAX)));
        assert_eq!(channel.reload(2, SHORT).unwrap_err().len(), TEXT_SIZE_MAX);
        // The control process reads no more: the master is not held up.
        (0..10_000).for_each(|number| channel.answer(number, &Ok(String::new())));
    }
}
