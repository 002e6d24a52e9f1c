//! What a service manager such as systemd is told: ready, reloading, stopping, and that all is well.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is told, and nothing costs anything. The variable names a socket;
//! each word is one datagram. With `WatchdogSec=` the manager kills a server that is silent for too long: the master
//! says that it is alive from its own loop, and only while no part of the tree is missing for longer than a restart
//! takes.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The way to the service manager.
#[derive(Debug)]
pub struct ServiceManager {
    /// Connected at the start, as the name may be out of reach after a change of the root directory, and never waiting:
    /// a manager that does not read must not hold up the master.
    socket: Option<UnixDatagram>,
    /// How often the manager wants to hear that all is well.
    watchdog: Option<Duration>,
    next_ping: Instant,
}

/// Within the time the manager allows there are so many signs of life.
const PINGS_PER_PERIOD: u32 = 3;

impl ServiceManager {
    /// As the environment says. A daemon is another process than the one that was started, and so the address of the
    /// watchdog's request is not compared.
    pub fn of_environment() -> ServiceManager {
        let microseconds = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        ServiceManager {
            socket: env::var_os("NOTIFY_SOCKET").and_then(|name| connect(&name).ok()),
            watchdog: microseconds.filter(|period| *period > 0).map(Duration::from_micros),
            next_ping: Instant::now(),
        }
    }

    /// One that tells nothing.
    #[cfg(test)]
    fn absent() -> ServiceManager {
        ServiceManager { socket: None, watchdog: None, next_ping: Instant::now() }
    }

    /// All processes serve; the master is this one.
    pub fn ready(&self, master: u32, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::MainPid(master), NotifyState::Status(status)]);
    }

    /// Another configuration is being looked at. The manager wants to know when that began, to tell it from the end of
    /// an earlier one.
    pub fn reloading(&self) {
        if self.socket.is_some()
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            self.tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]);
        }
    }

    /// The reload is over, with whatever result.
    pub fn reloaded(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// What is accepted is being finished.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping: finishing accepted messages")]);
    }

    /// Another program serves from now on, and this process leaves in order.
    pub fn succeeded_by(&self, master: u32) {
        self.tell(&[NotifyState::MainPid(master)]);
    }

    /// One line for the operator.
    pub fn status(&self, status: &str) {
        self.tell(&[NotifyState::Status(status)]);
    }

    /// A sign of life, when one is due and all is well.
    pub fn ping(&mut self, is_healthy: bool) {
        let Some(period) = self.watchdog else { return };
        let now = Instant::now();
        if is_healthy && now >= self.next_ping {
            self.next_ping = now + period / PINGS_PER_PERIOD;
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// How long the master may sleep at most.
    pub fn pause(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some()).map(|period| period / (2 * PINGS_PER_PERIOD))
    }

    fn tell(&self, words: &[NotifyState<'_>]) {
        if let Some(socket) = &self.socket {
            let text: String = words.iter().map(|word| format!("{word}\n")).collect();
            // A manager that does not listen misses it: a server serves without a manager as well.
            let _ = socket.send(text.as_bytes());
        }
    }
}

/// A path, or a name of the abstract kind after an `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(watchdog: Option<Duration>) -> (UnixDatagram, ServiceManager) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let socket = connect(path.as_os_str()).unwrap();
        (manager, ServiceManager { socket: Some(socket), watchdog, next_ping: Instant::now() })
    }

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 500];
        let size = manager.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..size]).into_owned())
    }

    #[test]
    fn words_are_those_of_the_protocol() {
        let (manager, server) = scene(None);
        server.ready(7, "serves");
        assert_eq!(heard(&manager).unwrap(), "READY=1\nMAINPID=7\nSTATUS=serves\n");
        server.reloading();
        let text = heard(&manager).unwrap();
        let number = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.lines().next());
        assert!(number.is_some_and(|number| number.parse::<u64>().is_ok_and(|now| now > 0)), "{text}");
        server.reloaded("as before");
        assert_eq!(heard(&manager).unwrap(), "READY=1\nSTATUS=as before\n");
        server.stopping();
        assert!(heard(&manager).unwrap().starts_with("STOPPING=1\n"));
    }

    #[test]
    fn signs_of_life_come_when_due_and_only_from_a_healthy_server() {
        let (manager, mut server) = scene(Some(Duration::from_secs(3600)));
        server.ping(false);
        assert_eq!(heard(&manager), None);
        server.ping(true);
        server.ping(true);
        assert_eq!((heard(&manager).as_deref(), heard(&manager)), (Some("WATCHDOG=1\n"), None));
        assert_eq!(server.pause(), Some(Duration::from_secs(600)));
    }

    #[test]
    fn a_manager_that_does_not_read_does_not_hold_up_the_master() {
        let (_manager, server) = scene(None);
        (0..10_000).for_each(|_| server.status("once more"));
        let mut absent = ServiceManager::absent();
        absent.ready(1, "");
        absent.ping(true);
        assert_eq!(absent.pause(), None);
    }
}
