//! The server under test: this program once more, as a trial, in a directory of its own.
//!
//! **Invariant:** whatever happens to a flow, no process of its server is left when the [`ServerUnderTest`] is dropped.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::processes;
use super::trouble::Trouble;
use super::watch::Watch;
use crate::control::client::{self, ClientError};
use crate::sys::process::{self, ExitStatus, ProcessId};
use crate::sys::signal::{self, Signal};

/// How long the server has until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it has to finish what it accepted.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer of the control process may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the server writes when every process it needs is there.
const READY: &str = "sworkerd: ready\n";

/// Lines of the log that show that the server itself is broken.
const PANIC: &str = "panicked at";

/// Which script is run.
pub(super) enum ScriptOfServer<'s> {
    /// A file of the user, with all it includes.
    File(&'s Path),
    /// A text, and the name of the file it stands in.
    PlaceholderText { text: &'s str, name: &'s str },
}

/// A server that runs.
pub(super) struct ServerUnderTest {
    directory: PathBuf,
    /// The process that was started; after an upgrade another one is the master.
    started: ProcessId,
    ended: Cell<Option<ExitStatus>>,
    pub listeners: Vec<SocketAddr>,
    /// The file of a script that came as text, and how it is called to the user.
    script: Option<(PathBuf, String)>,
    stopped: Vec<ProcessId>,
}

/// Why there is no server.
pub(super) enum StartFailure {
    /// It ended with these words.
    Refused(String),
    Trouble(Trouble),
}

impl From<Trouble> for StartFailure {
    fn from(trouble: Trouble) -> StartFailure {
        StartFailure::Trouble(trouble)
    }
}

impl ServerUnderTest {
    /// Starts a server with further words on its command line, and waits until it serves.
    pub fn start(
        script: &ScriptOfServer<'_>,
        words: &[OsString],
        watch: &mut Watch,
    ) -> Result<ServerUnderTest, StartFailure> {
        let trouble = |what: &'static str| move |error: io::Error| Trouble::system(what, &error);
        let directory = nix::unistd::mkdtemp(&std::env::temp_dir().join("sworker-flow-XXXXXX"))
            .map_err(|errno| Trouble::system("make a directory", &errno.into()))?;
        let mut server = ServerUnderTest {
            directory,
            started: ProcessId::own(),
            ended: Cell::new(None),
            listeners: vec![],
            script: None,
            stopped: vec![],
        };
        let path = match *script {
            ScriptOfServer::File(path) => path.to_owned(),
            ScriptOfServer::PlaceholderText { text, name } => {
                let path = server.directory.join("flow.cfg");
                fs::write(&path, text).map_err(trouble("write the script"))?;
                server.script = Some((path.clone(), name.to_owned()));
                path
            }
        };
        let program = std::env::current_exe().map_err(trouble("find the executable of this program"))?;
        let report = File::create(server.directory.join("report")).map_err(trouble("write"))?;
        let log = File::create(server.log_path()).map_err(trouble("write"))?;
        let child = Command::new(program)
            .args(words)
            .arg("--trial")
            .arg("-Y")
            .arg(server.run_directory())
            .arg("-f")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(report)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(trouble("start the server"))?;
        server.started = ProcessId::from_number(child.id() as i32).unwrap_or(server.started);
        server.wait_until_ready(watch)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, watch: &mut Watch) -> Result<(), StartFailure> {
        let deadline = Instant::now() + START_TIMEOUT;
        let is_ready = watch.wait_for(deadline, || {
            let is_over = self.has_ended();
            Ok((is_over || self.log().contains(READY)).then_some(!is_over))
        })?;
        match is_ready {
            Some(true) => {}
            Some(false) => return Err(StartFailure::Refused(self.log())),
            None => {
                let text = format!("it was not ready after {START_TIMEOUT:?}\n{}", self.log());
                return Err(StartFailure::Refused(text));
            }
        }
        let report = fs::read_to_string(self.directory.join("report")).unwrap_or_default();
        self.listeners = listeners(&report);
        Ok(())
    }

    fn run_directory(&self) -> PathBuf {
        self.directory.join("run")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// All it wrote so far, with the script called by the name its user knows.
    pub fn log(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned();
        match &self.script {
            Some((path, name)) => text.replace(&*path.to_string_lossy(), name),
            None => text,
        }
    }

    /// Puts another script in the place of the one it was started on, as editors do.
    pub fn change_script(&self, text: &str) -> io::Result<()> {
        let Some((path, _)) = &self.script else { return Ok(()) };
        let new = path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, path)
    }

    /// How it ended, if no master of this server is there any more.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.has_ended().then_some(self.ended_first()).flatten()
    }

    fn has_ended(&self) -> bool {
        self.ended_first().is_some() && self.successor().is_none()
    }

    /// How the process ended that was started; after an upgrade it may have a successor.
    fn ended_first(&self) -> Option<ExitStatus> {
        while let Ok(Some(dead)) = process::try_wait_any() {
            if dead.process == self.started {
                self.ended.set(Some(dead.status));
            }
        }
        self.ended.get()
    }

    /// After an upgrade the new program's master is a child of the old one, and then ours.
    fn successor(&self) -> Option<ProcessId> {
        processes::child_titled(ProcessId::own(), "master")
    }

    fn master(&self) -> ProcessId {
        if self.ended_first().is_none() { self.started } else { self.successor().unwrap_or(self.started) }
    }

    /// The process of this title. `receiver 1` is one of the first listener.
    pub fn process(&self, title: &str) -> Option<ProcessId> {
        let master = self.master();
        match title.split_once(' ') {
            None if title == "master" => {
                self.ended_first().is_none().then_some(master).or_else(|| self.successor())
            }
            Some(("receiver", rest)) => {
                let (address, number) = match rest.rsplit_once('/') {
                    Some((address, number)) => (address.to_owned(), number),
                    None => (self.listeners.first()?.to_string(), rest),
                };
                processes::child_titled(master, &format!("receiver udp:{address}/{number}"))
            }
            _ => processes::child_titled(master, title),
        }
    }

    /// Titles of all processes that can be named now.
    pub fn titles(&self) -> Vec<String> {
        let master = self.master();
        processes::children(master).into_iter().filter_map(processes::title).collect()
    }

    /// Sends a signal to a process of this server.
    pub fn send(&mut self, process: ProcessId, signal: Signal) -> io::Result<()> {
        match signal {
            Signal::SIGSTOP => self.stopped.push(process),
            Signal::SIGCONT => self.stopped.retain(|stopped| *stopped != process),
            _ => {}
        }
        signal::send(process, signal)
    }

    /// Runs a command in the control process.
    pub fn ask(&self, method: &str, arguments: &[Value]) -> Result<Value, ClientError> {
        client::call(&client::socket_in(&self.run_directory()), method, arguments, ANSWER_TIMEOUT)
    }

    /// Asks it to end in order; how it did, or why that is no good end.
    pub fn stop(&mut self, watch: &mut Watch) -> Result<Result<(), String>, Trouble> {
        for process in std::mem::take(&mut self.stopped) {
            let _ = signal::send(process, Signal::SIGCONT);
        }
        let was_running = !self.has_ended();
        if was_running {
            let _ = signal::send(self.master(), Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let ended = watch.wait_for(deadline, || Ok(self.has_ended().then_some(())))?;
        Ok(match (ended, self.ended_first()) {
            _ if self.log().contains(PANIC) => Err("a process of the server panicked".to_owned()),
            (None, _) => {
                Err(format!("the server did not stop within {STOP_TIMEOUT:?}, and its processes were killed"))
            }
            (Some(()), Some(status)) if was_running && !status.is_orderly() => {
                Err(format!("the server did not stop in order: {status}"))
            }
            _ => Ok(()),
        })
    }

    /// Kills all processes that are left. All of them become children of this process, as it adopts orphans.
    fn end_all(&mut self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            let left = processes::children(ProcessId::own());
            if left.is_empty() {
                return;
            }
            for process in &left {
                let _ = signal::send(*process, Signal::SIGKILL);
            }
            for process in left {
                let _ = process::wait(process);
            }
        }
    }
}

impl Drop for ServerUnderTest {
    fn drop(&mut self) {
        self.end_all();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The addresses of the lines `udp: 127.0.0.1:5060` after `Listening on`.
fn listeners(report: &str) -> Vec<SocketAddr> {
    let lines = report.lines().skip_while(|line| *line != "Listening on").skip(1);
    lines.map_while(|line| line.trim().strip_prefix("udp: ")?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_from_the_report() {
        let report = "sworker 1, master process 7\nListening on\n      udp: 127.0.0.1:5\n      udp: [::1]:6\n\
                      Receivers\n      2 on udp:127.0.0.1:5\n";
        let found: Vec<String> = listeners(report).iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["127.0.0.1:5", "[::1]:6"]);
        assert!(listeners("").is_empty());
    }
}
