//! Where lines go: stderr, syslog, memory, nowhere. A line that finds no room at once is refused.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Facility, Level};
use crate::sys::log_write::write_where_room;

/// A destination of lines.
pub enum Sink {
    /// Standard error, with process index and id before each line.
    Stderr,
    /// The local syslog daemon.
    Syslog(Syslog),
    /// A buffer, for tests; while somebody holds it, it has no room.
    Memory(Rc<RefCell<Vec<u8>>>),
    /// Nowhere.
    Nowhere,
}

impl Sink {
    /// The system's syslog socket, with this name in each line.
    pub fn syslog(name: &str) -> Sink {
        Sink::Syslog(Syslog::new(PathBuf::from("/dev/log"), name))
    }

    /// Whether process index and id are written by us (syslog has its own place for them).
    pub(super) fn is_terminal_like(&self) -> bool {
        !matches!(self, Sink::Syslog(_))
    }

    /// Writes a whole line; false when there is no room for it.
    pub(super) fn write(&self, facility: Facility, level: Level, pid: u32, line: &[u8]) -> bool {
        match self {
            Sink::Stderr => write_where_room(std::io::stderr().as_fd(), line),
            Sink::Syslog(syslog) => syslog.write(facility.priority(level), pid, line),
            Sink::Memory(kept) => kept.try_borrow_mut().map(|mut kept| kept.extend_from_slice(line)).is_ok(),
            Sink::Nowhere => true,
        }
    }
}

/// The socket of the local syslog daemon. It is connected when first needed, and again when the daemon went away.
pub struct Syslog {
    path: PathBuf,
    name: String,
    socket: RefCell<Option<UnixDatagram>>,
    last_attempt: Cell<Option<Instant>>,
    room: RefCell<Vec<u8>>,
}

const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Larger datagrams are refused by some daemons.
const DATAGRAM_SIZE_MAX: usize = 8_192;

impl Syslog {
    /// A daemon listening at `path`.
    pub fn new(path: PathBuf, name: &str) -> Syslog {
        Syslog {
            path,
            name: name.to_string(),
            socket: RefCell::default(),
            last_attempt: Cell::default(),
            room: RefCell::default(),
        }
    }

    fn write(&self, priority: u8, pid: u32, line: &[u8]) -> bool {
        let mut room = self.room.take();
        room.clear();
        let now = jiff::Zoned::now();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let _ = write!(room, "<{priority}>{} {}[{pid}]: ", now.strftime("%b %e %H:%M:%S"), self.name);
        room.extend_from_slice(text);
        room.truncate(DATAGRAM_SIZE_MAX);
        let is_sent = self.send(&room) || (self.connect() && self.send(&room));
        self.room.replace(room);
        is_sent
    }

    fn send(&self, datagram: &[u8]) -> bool {
        self.socket.borrow().as_ref().is_some_and(|socket| socket.send(datagram).is_ok())
    }

    /// Connects anew, at most once a second; the socket never waits.
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
        let sink = Sink::Syslog(Syslog::new(path, "sworkerd"));
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
        let absent = Sink::Syslog(Syslog::new(path.clone(), "sworkerd"));
        assert!(!absent.write(Facility::DAEMON, Level::Info, 1, b"line\n"));
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let full = Sink::Syslog(Syslog::new(path, "sworkerd"));
        let written =
            (0..100_000).take_while(|_| full.write(Facility::DAEMON, Level::Info, 1, b"line\n")).count();
        assert!(written > 0 && written < 100_000, "a daemon that reads nothing took {written} lines");
    }
}
