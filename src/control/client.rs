//! Asking a running server.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::protocol::{self, CommandError};
use crate::config::instance;

/// Why there is no result.
#[derive(Debug)]
pub enum ClientError {
    /// No server answers there.
    CouldNotConnect(PathBuf, io::Error),
    /// The connection broke.
    Broken(io::Error),
    /// The server closed the connection or took too long.
    NoAnswer,
    /// The server says no.
    Refused(CommandError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::CouldNotConnect(path, error) => {
                write!(out, "could not connect to {}: {error}", path.display())?;
                match (error.kind(), path.parent()) {
                    (io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, Some(directory)) => write!(
                        out,
                        "; no server runs with run directory {}, use -Y for another one",
                        directory.display()
                    ),
                    _ => Ok(()),
                }
            }
            ClientError::Broken(error) => write!(out, "could not talk to the server: {error}"),
            ClientError::NoAnswer => write!(out, "the server gave no answer"),
            // The general code says nothing, and errors of a script take many lines.
            ClientError::Refused(fault) if fault.code == CommandError::FAILED => {
                write!(out, "{}", fault.message)
            }
            ClientError::Refused(fault) => write!(out, "{} ({})", fault.message, fault.code),
        }
    }
}

impl std::error::Error for ClientError {}

/// Runs one command on the server that listens at `path`; waits for `patience` at most.
pub fn call(
    path: &Path,
    method: &str,
    parameters: &[Value],
    patience: Duration,
) -> Result<Value, ClientError> {
    let deadline = Instant::now() + patience;
    let mut stream =
        UnixStream::connect(path).map_err(|error| ClientError::CouldNotConnect(path.to_owned(), error))?;
    stream.set_write_timeout(Some(patience)).map_err(ClientError::Broken)?;
    stream.write_all(&protocol::write_request(method, parameters)).map_err(ClientError::Broken)?;
    let line = read_line(&mut stream, deadline)?;
    protocol::read_answer(&line).map_err(ClientError::Refused)
}

fn read_line(stream: &mut UnixStream, deadline: Instant) -> Result<Vec<u8>, ClientError> {
    let mut line = Vec::new();
    let mut bytes = [0; 65_536];
    while !line.ends_with(b"\n") {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(ClientError::NoAnswer);
        }
        stream.set_read_timeout(Some(rest)).map_err(ClientError::Broken)?;
        match stream.read(&mut bytes) {
            Ok(0) => return Err(ClientError::NoAnswer),
            Ok(count) => line.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(ClientError::NoAnswer),
            Err(error) => return Err(ClientError::Broken(error)),
        }
    }
    Ok(line)
}

/// Where a server listens by default.
pub fn default_socket() -> PathBuf {
    socket_in(&instance::default_run_directory())
}

/// Where a server of this run directory listens.
pub fn socket_in(run_directory: &Path) -> PathBuf {
    instance::control_socket(run_directory)
}

/// An argument as people type it: `i:5` and `s:5` say what it is, digits are a number, anything else is text.
pub fn argument(word: &str) -> Value {
    match (word.strip_prefix("s:"), word.strip_prefix("i:").unwrap_or(word).parse::<i64>()) {
        (Some(text), _) => text.into(),
        (None, Ok(number)) => number.into(),
        (None, Err(_)) => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::commands::tests::Still;
    use crate::control::server::{CommandServer, ConnectionLimits};
    use crate::sys::unix_socket;
    use serde_json::json;

    #[test]
    fn arguments_are_what_they_look_like() {
        let rows = [
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("i:5", json!(5)),
            ("s:5", json!("5")),
            ("s:", json!("")),
            ("5a", json!("5a")),
            ("i:x", json!("i:x")),
            ("core:", json!("core:")),
        ];
        for (word, value) in rows {
            assert_eq!(argument(word), value, "{word}");
        }
    }

    #[test]
    fn a_call_reaches_the_server_and_its_answer_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut server = CommandServer::new(unix_socket::listen(&path).unwrap(), ConnectionLimits::USUAL);
        let call = |method: &'static str, parameters: Vec<Value>| {
            let path = path.clone();
            std::thread::spawn(move || super::call(&path, method, &parameters, Duration::from_secs(5)))
        };
        let mut finish = |caller: std::thread::JoinHandle<Result<Value, ClientError>>| {
            while !caller.is_finished() {
                server.turn(&Still::default(), Duration::from_millis(10)).unwrap();
            }
            caller.join().unwrap()
        };

        assert_eq!(finish(call("core.echo", vec![json!("x")])).unwrap(), json!(["x"]));
        let refused = finish(call("nothing", vec![])).unwrap_err().to_string();
        assert_eq!(refused, "Method Not Found: \"nothing\"; system.listMethods shows all (-32601)");
    }

    #[test]
    fn a_missing_or_silent_server_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let patience = Duration::from_millis(50);
        let missing = call(&path, "core.ps", &[], patience).unwrap_err();
        assert!(matches!(missing, ClientError::CouldNotConnect(..)), "{missing}");

        let _silent = unix_socket::listen(&path).unwrap();
        let silent = call(&path, "core.ps", &[], patience).unwrap_err();
        assert!(matches!(silent, ClientError::NoAnswer), "{silent}");
    }
}
