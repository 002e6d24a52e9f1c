//! The server of commands: a few connections, each with limits in size and time, none of which can hold the others.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use super::commands::{self, Server};
use crate::sys::credentials::own_user;
use crate::sys::poll::{self, Interest};
use crate::sys::unix_socket;

/// What one connection may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connection_count_max: usize,
    /// Bytes of one request.
    pub request_size_max: usize,
    /// Bytes of answers that wait for a slow reader.
    pub answer_size_max: usize,
    /// From the first byte of a request to its last, and for reading an answer.
    pub patience: Duration,
    /// Between two requests.
    pub idle_max: Duration,
}

impl ConnectionLimits {
    /// What the server uses.
    pub const USUAL: ConnectionLimits = ConnectionLimits {
        connection_count_max: 16,
        request_size_max: 64 * 1024,
        answer_size_max: 4 * 1024 * 1024,
        patience: Duration::from_secs(2),
        idle_max: Duration::from_secs(60),
    };
}

/// The server.
#[derive(Debug)]
pub struct CommandServer {
    listener: UnixListener,
    limits: ConnectionLimits,
    connections: Vec<Connection>,
    ready: Vec<bool>,
    /// Until then no connection is accepted, because the kernel refused to.
    closed_until: Option<Instant>,
    refusal: Option<io::Error>,
}

/// A connection that could not be accepted still waits, so the listener stays ready: polling it again at once would
/// spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// Something was asked and answered.
    is_served: bool,
    /// When what it does now must be over.
    deadline: Instant,
}

impl CommandServer {
    /// Serves on a listener that does not block.
    pub fn new(listener: UnixListener, limits: ConnectionLimits) -> CommandServer {
        CommandServer {
            listener,
            limits,
            connections: Vec::new(),
            ready: Vec::new(),
            closed_until: None,
            refusal: None,
        }
    }

    /// Waits for something to do, at most for `wait`, and does it.
    pub fn turn(&mut self, server: &dyn Server, wait: Duration) -> io::Result<()> {
        let pause = self.closed_until.map(|until| until.saturating_duration_since(Instant::now()));
        let pause = pause.filter(|pause| !pause.is_zero());
        let mut watched: Vec<_> = self.connections.iter().map(Connection::watched).collect();
        if pause.is_none() {
            watched.push((self.listener.as_fd(), Interest::Read));
        }
        poll::wait(&watched, pause.map_or(wait, |pause| pause.min(wait)), &mut self.ready)?;

        let now = Instant::now();
        let has_newcomer = pause.is_none() && self.ready.pop().unwrap_or(false);
        let mut ready = self.ready.iter().copied();
        let limits = &self.limits;
        self.connections.retain_mut(|connection| {
            let is_ready = ready.next().unwrap_or(false);
            let lives = !is_ready || connection.proceed(server, limits, now).is_ok();
            lives && now < connection.deadline
        });
        if has_newcomer {
            self.accept(now);
        }
        Ok(())
    }

    /// Accepts no new connection, and finishes the open ones: what they have asked is answered, and a connection that
    /// has come and not asked yet is waited for a little.
    pub fn finish(mut self, server: &dyn Server, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            self.connections.retain(Connection::is_owed_something);
            let rest = deadline.saturating_duration_since(Instant::now());
            if self.connections.is_empty() || rest.is_zero() {
                return;
            }
            let watched: Vec<_> = self.connections.iter().map(Connection::watched).collect();
            if poll::wait(&watched, rest, &mut self.ready).is_err() {
                return;
            }
            let mut ready = self.ready.iter().copied();
            let (limits, now) = (&self.limits, Instant::now());
            self.connections.retain_mut(|connection| {
                !ready.next().unwrap_or(false) || connection.proceed(server, limits, now).is_ok()
            });
        }
    }

    /// How many connections there are.
    #[cfg(test)]
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Why no connection can be accepted, once for each time that this begins.
    pub fn take_refusal(&mut self) -> Option<io::Error> {
        self.refusal.take()
    }

    fn accept(&mut self, now: Instant) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The client has closed the connection.
                Err(error)
                    if poll::is_transient(&error) || error.kind() == io::ErrorKind::ConnectionAborted =>
                {
                    continue;
                }
                Err(error) => return self.close_for_a_while(error, now),
            };
            self.closed_until = None;
            let is_welcome = self.connections.len() < self.limits.connection_count_max
                && unix_socket::peer(&stream).is_ok_and(|peer| peer.user == 0 || peer.user == own_user())
                && stream.set_nonblocking(true).is_ok();
            if is_welcome {
                let deadline = now + self.limits.patience;
                self.connections.push(Connection {
                    stream,
                    request: Vec::new(),
                    answer: Vec::new(),
                    is_served: false,
                    deadline,
                });
            }
        }
    }

    fn close_for_a_while(&mut self, error: io::Error, now: Instant) {
        if self.closed_until.replace(now + ACCEPT_PAUSE).is_none() {
            self.refusal = Some(error);
        }
    }
}

/// The connection is to be closed.
struct Closed;

impl Connection {
    fn watched(&self) -> (BorrowedFd<'_>, Interest) {
        let interest = if self.answer.is_empty() { Interest::Read } else { Interest::Write };
        (self.stream.as_fd(), interest)
    }

    fn is_owed_something(&self) -> bool {
        !self.is_served || !self.request.is_empty() || !self.answer.is_empty()
    }

    fn proceed(
        &mut self,
        server: &dyn Server,
        limits: &ConnectionLimits,
        now: Instant,
    ) -> Result<(), Closed> {
        if self.answer.is_empty() {
            self.read(limits, now)?;
            self.answer_lines(server, limits, now)?;
        }
        self.write(limits, now)
    }

    fn read(&mut self, limits: &ConnectionLimits, now: Instant) -> Result<(), Closed> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Closed),
            Ok(count) => {
                if self.request.is_empty() {
                    self.deadline = now + limits.patience;
                }
                self.request.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) if poll::is_transient(&error) => Ok(()),
            Err(_) => Err(Closed),
        }
    }

    fn answer_lines(
        &mut self,
        server: &dyn Server,
        limits: &ConnectionLimits,
        now: Instant,
    ) -> Result<(), Closed> {
        while let Some(end) = self.request.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.request.drain(..=end).collect();
            self.is_served = true;
            if let Some(answer) = commands::answer(server, line.trim_ascii()) {
                self.answer.extend_from_slice(&answer);
            }
            self.deadline = now + limits.patience;
            if self.answer.len() > limits.answer_size_max {
                return Err(Closed);
            }
        }
        if self.request.len() > limits.request_size_max { Err(Closed) } else { Ok(()) }
    }

    fn write(&mut self, limits: &ConnectionLimits, now: Instant) -> Result<(), Closed> {
        if self.answer.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.answer) {
            Ok(count) => {
                self.answer.drain(..count);
                if self.answer.is_empty() && self.request.is_empty() {
                    self.deadline = now + limits.idle_max;
                }
                Ok(())
            }
            Err(error) if poll::is_transient(&error) => Ok(()),
            Err(_) => Err(Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::commands::tests::Still;
    use std::path::PathBuf;

    struct Scene {
        server: CommandServer,
        path: PathBuf,
        _folder: tempfile::TempDir,
    }

    fn scene(limits: ConnectionLimits) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let server = CommandServer::new(unix_socket::listen(&path).unwrap(), limits);
        Scene { server, path, _folder: folder }
    }

    impl Scene {
        fn connect(&mut self) -> UnixStream {
            let stream = UnixStream::connect(&self.path).unwrap();
            stream.set_nonblocking(true).unwrap();
            self.turn();
            stream
        }

        fn turn(&mut self) {
            self.server.turn(&Still::default(), Duration::from_millis(20)).unwrap();
        }

        /// Lets the server go on until the client has something, is closed, or a second has passed.
        fn read(&mut self, client: &mut UnixStream) -> Option<String> {
            let deadline = Instant::now() + Duration::from_secs(1);
            let mut bytes = vec![0; 100_000];
            while Instant::now() < deadline {
                self.turn();
                match client.read(&mut bytes) {
                    Ok(0) => return None,
                    Ok(count) => return Some(String::from_utf8_lossy(&bytes[..count]).into_owned()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(_) => return None,
                }
            }
            panic!("neither an answer nor an end within a second");
        }
    }

    const ECHO: &str = "{\"jsonrpc\":\"2.0\",\"method\":\"core.echo\",\"params\":[1],\"id\":1}\n";
    const ECHOED: &str = "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[1]}\n";

    #[test]
    fn requests_are_answered_whole_in_pieces_and_several_at_once() {
        let mut scene = scene(ConnectionLimits::USUAL);
        let mut client = scene.connect();

        client.write_all(ECHO.as_bytes()).unwrap();
        assert_eq!(scene.read(&mut client).as_deref(), Some(ECHOED));

        for byte in ECHO.bytes() {
            client.write_all(&[byte]).unwrap();
            scene.turn();
        }
        assert_eq!(scene.read(&mut client).as_deref(), Some(ECHOED));

        client.write_all(ECHO.repeat(2).as_bytes()).unwrap();
        assert_eq!(scene.read(&mut client), Some(ECHOED.repeat(2)));

        client.write_all(b"nonsense\n").unwrap();
        assert!(scene.read(&mut client).unwrap().contains("-32700"));
    }

    #[test]
    fn who_leaves_answers_what_was_asked_and_lets_nobody_wait_who_was_served() {
        let mut scene = scene(ConnectionLimits::USUAL);
        let (mut served, mut asking) = (scene.connect(), scene.connect());
        let request = b"{\"jsonrpc\":\"2.0\",\"method\":\"core.version\",\"id\":1}\n";
        served.write_all(request).unwrap();
        assert!(scene.read(&mut served).is_some());
        let mut silent = scene.connect();
        scene.turn();
        asking.write_all(request).unwrap();

        scene.server.finish(&Still::default(), Duration::from_millis(20));

        let mut bytes = [0; 1000];
        assert!(asking.read(&mut bytes).is_ok_and(|size| size > 0), "what was asked is answered");
        assert!(served.read(&mut bytes).is_ok_and(|size| size == 0), "who was served is let go");
        assert!(silent.read(&mut bytes).is_ok_and(|size| size == 0), "who says nothing is let go too");
    }

    #[test]
    fn a_request_without_end_is_cut_off() {
        let mut scene = scene(ConnectionLimits { request_size_max: 10_000, ..ConnectionLimits::USUAL });
        let mut client = scene.connect();
        while client.write(&[b'x'; 4096]).is_ok() && scene.server.connection_count() > 0 {
            scene.turn();
        }
        assert_eq!(scene.server.connection_count(), 0);
    }

    #[test]
    fn who_dawdles_is_cut_off() {
        let mut scene =
            scene(ConnectionLimits { patience: Duration::from_millis(50), ..ConnectionLimits::USUAL });
        let mut client = scene.connect();
        client.write_all(b"{").unwrap();
        assert_eq!(scene.read(&mut client), None);
    }

    #[test]
    fn many_connections_leave_the_first_ones_in_peace() {
        let mut scene = scene(ConnectionLimits { connection_count_max: 2, ..ConnectionLimits::USUAL });
        let mut first = scene.connect();
        let _second = scene.connect();
        let mut third = scene.connect();

        assert_eq!(scene.read(&mut third), None);
        first.write_all(ECHO.as_bytes()).unwrap();
        assert_eq!(scene.read(&mut first).as_deref(), Some(ECHOED));
    }
}
