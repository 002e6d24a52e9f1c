//! Where lines go: stderr, syslog, the journal, memory, nowhere. A line that finds no room at once is refused.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Facility, LINE_SIZE_MAX, Level};
use crate::sys::log_write::write_where_room;

/// A destination of lines.
pub enum Sink {
    /// Standard error, with process index and id before each line.
    Stderr,
    /// The local syslog daemon.
    Syslog(Daemon),
    /// The journal of systemd.
    Journal(Daemon),
    /// A buffer, for tests; while it is borrowed, it has no room.
    Memory(Rc<RefCell<Vec<u8>>>),
    /// Nowhere.
    Nowhere,
}

/// Larger datagrams are refused by some syslog daemons.
const SYSLOG_SIZE_MAX: usize = 8_192;
/// Room for what stands before the text of a syslog datagram, and for the fixed part of a JSON object.
const HEADING_SIZE_MAX: usize = 1_024;

impl Sink {
    /// A syslog daemon that listens at `path`, with this name in each line.
    pub fn syslog(path: PathBuf, name: &str) -> Sink {
        Sink::Syslog(Daemon::connected(path, name))
    }

    /// A journal that listens at `path`, with this name in each entry.
    pub fn journal(path: PathBuf, name: &str) -> Sink {
        Sink::Journal(Daemon::connected(path, name))
    }

    /// The longest line that is taken whole.
    pub(super) fn line_size_max(&self) -> usize {
        match self {
            Sink::Syslog(_) => SYSLOG_SIZE_MAX - HEADING_SIZE_MAX,
            _ => LINE_SIZE_MAX,
        }
    }

    /// Writes a whole line; false when there is no room for it.
    pub(super) fn write(&self, facility: Facility, level: Level, pid: u32, line: &[u8]) -> bool {
        match self {
            Sink::Stderr => write_where_room(std::io::stderr().as_fd(), line),
            Sink::Syslog(daemon) => daemon.write_syslog(facility.priority(level), pid, line),
            Sink::Journal(daemon) => daemon.write(line),
            Sink::Memory(kept) => kept.try_borrow_mut().map(|mut kept| kept.extend_from_slice(line)).is_ok(),
            Sink::Nowhere => true,
        }
    }
}

/// The socket of a local daemon that takes datagrams. It is connected again when the daemon went away.
pub struct Daemon {
    path: PathBuf,
    name: String,
    socket: RefCell<Option<UnixDatagram>>,
    last_attempt: Cell<Option<Instant>>,
    room: RefCell<Vec<u8>>,
}

const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

impl Daemon {
    /// A daemon listening at `path`, connected when it is there.
    fn connected(path: PathBuf, name: &str) -> Daemon {
        let daemon = Daemon {
            path,
            name: name.to_string(),
            socket: RefCell::default(),
            last_attempt: Cell::default(),
            room: RefCell::default(),
        };
        // No attempt has failed yet: a daemon that starts in this second is found at the first line.
        daemon.connect();
        daemon.last_attempt.set(None);
        daemon
    }

    /// Name of the program in what is written.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn write_syslog(&self, priority: u8, pid: u32, line: &[u8]) -> bool {
        let mut room = self.room.take();
        room.clear();
        let now = jiff::Zoned::now();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let _ = write!(room, "<{priority}>{} {}[{pid}]: ", now.strftime("%b %e %H:%M:%S"), self.name);
        room.extend_from_slice(text);
        room.truncate(SYSLOG_SIZE_MAX);
        let is_sent = self.write(&room);
        self.room.replace(room);
        is_sent
    }

    fn write(&self, datagram: &[u8]) -> bool {
        self.send(datagram) || (self.connect() && self.send(datagram))
    }

    fn send(&self, datagram: &[u8]) -> bool {
        self.socket.borrow().as_ref().is_some_and(|socket| socket.send(datagram).is_ok())
    }

    /// Connects again, at most once a second; the socket never waits.
    fn connect(&self) -> bool {
        let is_too_early = |last: Instant| last.elapsed() < RECONNECT_PAUSE;
        if self.last_attempt.get().is_some_and(is_too_early) {
            return false;
        }
        self.last_attempt.set(Some(Instant::now()));
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect(&self.path)?;
            Ok(socket)
        });
        let is_connected = connected.is_ok();
        self.socket.replace(connected.ok());
        is_connected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syslog_line_carries_priority_time_name_and_pid() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let sink = Sink::syslog(path, "sworkerd");
        assert!(sink.write(Facility::DAEMON, Level::Info, 4711, b"INFO: <script>: hello\n"));
        let mut buffer = [0; 256];
        let size = daemon.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..size]).unwrap();
        assert!(text.starts_with("<30>"), "{text}");
        assert!(text.ends_with(" sworkerd[4711]: INFO: <script>: hello"), "{text}");
        assert_eq!(text[4..].split(' ').find(|part| part.contains(':')).unwrap().len(), 8, "{text}");
    }

    #[test]
    fn without_a_daemon_lines_are_refused_and_with_a_full_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let absent = Sink::syslog(path.clone(), "sworkerd");
        assert!(!absent.write(Facility::DAEMON, Level::Info, 1, b"line\n"));
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let full = Sink::syslog(path, "sworkerd");
        let written =
            (0..100_000).take_while(|_| full.write(Facility::DAEMON, Level::Info, 1, b"line\n")).count();
        assert!(written > 0 && written < 100_000, "a daemon that reads nothing took {written} lines");
    }

    #[test]
    fn a_daemon_that_comes_back_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let sink = Sink::syslog(path.clone(), "sworkerd");
        assert!(sink.write(Facility::DAEMON, Level::Info, 1, b"one\n"));
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        assert!(sink.write(Facility::DAEMON, Level::Info, 1, b"two\n"));
        let mut buffer = [0; 256];
        let size = second.recv(&mut buffer).unwrap();
        assert!(buffer[..size].ends_with(b": two"));
    }

    #[test]
    fn a_journal_gets_its_datagrams_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let sink = Sink::journal(path, "sworkerd");
        assert!(sink.write(Facility::DAEMON, Level::Info, 1, b"MESSAGE=one\nPRIORITY=6\n"));
        let mut buffer = [0; 256];
        let size = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"MESSAGE=one\nPRIORITY=6\n");
    }
}
