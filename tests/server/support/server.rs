//! The real daemon, started in a folder of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::caller::Caller;
use super::folder::Folder;
use super::processes;
use super::tool::{Finished, Tool};
use super::{SOON, wait_for, wait_until};

/// What the daemon writes when every process it needs is there.
const READY: &str = "sworkerd: ready";

const DAEMON: &str = env!("CARGO_BIN_EXE_sworkerd");
const CONTROL: &str = env!("CARGO_BIN_EXE_sworkerctl");
const TOP: &str = env!("CARGO_BIN_EXE_sworkertop");

/// How a server is to be started.
pub struct ServerBuilder {
    folder: Folder,
    program: PathBuf,
    script: String,
    arguments: Vec<String>,
    listen: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A running server. Dropping it stops it and checks that it stops well.
pub struct Server {
    folder: Folder,
    /// `None` once it was waited for.
    master: Option<Tool>,
    master_pid: i32,
    listeners: Vec<SocketAddr>,
    is_memory_spoilt: bool,
}

impl ServerBuilder {
    /// One more command line argument.
    pub fn argument(mut self, argument: &str) -> ServerBuilder {
        self.arguments.push(argument.into());
        self
    }

    /// One more variable of its environment.
    pub fn environment(mut self, key: &str, value: &str) -> ServerBuilder {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Starts this program instead, which must become the daemon.
    pub fn program(mut self, path: PathBuf) -> ServerBuilder {
        self.program = path;
        self
    }

    /// Starts the daemon by a name in its own folder, where a test may put another program in its place.
    pub fn of_its_own_program(self) -> ServerBuilder {
        let path = self.folder.file("sworkerd");
        // Another file system takes a copy.
        std::fs::hard_link(DAEMON, &path)
            .or_else(|_| std::fs::copy(DAEMON, &path).map(drop))
            .expect("the daemon can be put into the test's folder");
        self.program(path)
    }

    /// Its folder, before it starts.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Listens here instead of on `udp:127.0.0.1:0`; may be said several times.
    pub fn listen(mut self, address: &str) -> ServerBuilder {
        self.listen.push(address.into());
        self
    }

    /// Starts it and waits until it says it is ready.
    #[track_caller]
    pub fn start(self) -> Server {
        let ServerBuilder { folder, program, script, mut arguments, mut listen, environment } = self;
        folder.write("server.cfg", script);
        if listen.is_empty() {
            listen.push("udp:127.0.0.1:0".into());
        }
        let count = listen.len();
        arguments.extend(listen.into_iter().flat_map(|address| ["-l".to_string(), address]));
        let mut all = vec!["-DD", "-E", "-f", "server.cfg", "-w", ".", "-Y", "run", "-P", "server.pid"];
        all.extend(arguments.iter().map(String::as_str));
        let mut master = Tool::start_in(&folder, "server", program, &all, &environment);
        wait_until("the server is ready", SOON, || {
            if let Some(status) = master.exit_status() {
                panic!("the server ended at its start, {status}:\n{}", master.output());
            }
            master.output().contains(READY)
        });
        let listeners = reported_listeners(&master.output());
        assert_eq!(listeners.len(), count, "listeners in the server's report:\n{}", master.output());
        Server { folder, master_pid: master.pid(), master: Some(master), listeners, is_memory_spoilt: false }
    }
}

/// The addresses of the lines that say what listens: `udp:127.0.0.1:34567`, each once, in order.
fn reported_listeners(log: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for word in log.split(|c: char| c.is_whitespace() || c == ',' || c == '"') {
        let Some(address) = word.strip_prefix("udp:") else { continue };
        let address = address.split('/').next().unwrap_or_default();
        let Ok(address) = address.parse::<SocketAddr>() else { continue };
        if address.port() != 0 && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

impl Server {
    /// Starts a server on this script.
    #[track_caller]
    pub fn start(script: &str) -> Server {
        Server::on(script).start()
    }

    /// The same, with more to say before it starts.
    pub fn on(script: &str) -> ServerBuilder {
        ServerBuilder {
            folder: Folder::new(),
            program: DAEMON.into(),
            script: script.into(),
            arguments: vec![],
            listen: vec![],
            environment: vec![],
        }
    }

    /// First address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// All of them, in the order they were asked for.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Its folder: `server.cfg`, `run/`, `server.pid`, `server.out`.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Somebody who calls it.
    pub fn caller(&self) -> Caller {
        Caller::new(self.address())
    }

    /// All it wrote so far.
    pub fn log(&self) -> String {
        self.folder.read("server.out")
    }

    /// How often `text` is in the log.
    pub fn log_count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until the log holds `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} comes in the log"), SOON, || self.log().contains(text));
    }

    /// The master's process id.
    pub fn master(&self) -> i32 {
        self.master_pid
    }

    /// Its children that live, with what `ps` shows of them.
    pub fn children(&self) -> Vec<(i32, String)> {
        processes::children(self.master_pid).into_iter().map(|pid| (pid, processes::title(pid))).collect()
    }

    /// The children whose title begins so: `worker reg/`, `receiver`.
    pub fn children_titled(&self, start: &str) -> Vec<i32> {
        let title = format!("sworkerd: {start}");
        let titled = self.children().into_iter().filter(|(_, known)| known.starts_with(&title));
        titled.map(|(pid, _)| pid).collect()
    }

    /// The one worker of this group and number, waiting for it if it is just being made.
    #[track_caller]
    pub fn worker(&self, group: &str, number: u32) -> i32 {
        self.child(&format!("worker {group}/{number}"))
    }

    /// The one receiver of this number on the first listener.
    #[track_caller]
    pub fn receiver(&self, number: u32) -> i32 {
        self.child(&format!("receiver udp:{}/{number}", self.address()))
    }

    /// The one child of exactly this title, waiting for it if it is just being made.
    #[track_caller]
    pub fn child(&self, title: &str) -> i32 {
        let full = format!("sworkerd: {title}");
        wait_for(&full, SOON, || {
            self.children().into_iter().find_map(|(pid, known)| (known == full).then_some(pid))
        })
    }

    /// One answer of the control process, through `sworkerctl`.
    #[track_caller]
    pub fn control(&self, command: &[&str]) -> Finished {
        let arguments = [&["-Y", "run"], command].concat();
        Tool::start(&self.folder, "sworkerctl", CONTROL, &arguments).finish(SOON)
    }

    /// The result of a command that succeeds.
    #[track_caller]
    pub fn ask_control(&self, command: &[&str]) -> Value {
        let Finished { code, output } = self.control(&[&["-j"], command].concat());
        assert_eq!(code, Some(0), "sworkerctl {command:?}: {output}");
        serde_json::from_str(&output)
            .unwrap_or_else(|error| panic!("sworkerctl {command:?}: {error} in {output:?}"))
    }

    /// The value of one counter, summed over all processes.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        let values = self.ask_control(&["stats.fetch", name]);
        values[name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {values}"))
    }

    /// The figures of one group.
    #[track_caller]
    pub fn group(&self, name: &str) -> Value {
        let groups = self.ask_control(&["group.list"]);
        let found = groups.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == name).cloned());
        found.unwrap_or_else(|| panic!("no group {name} in {groups}"))
    }

    /// Sends the master a signal.
    pub fn signal(&self, signal: Signal) {
        processes::send_signal(self.master_pid, signal);
    }

    /// Waits for the master's end and tells its exit code; `None` when a signal ended it.
    #[track_caller]
    pub fn wait_for_exit(&mut self, deadline: Duration) -> Option<i32> {
        self.master.take().expect("waited for once").finish(deadline).code
    }

    /// SIGTERM; it must end with 0, leave nobody behind and have met no bug of ours.
    #[track_caller]
    fn stop_and_check(&mut self) {
        let everyone = processes::tree(self.master_pid);
        self.signal(Signal::SIGTERM);
        let code = self.wait_for_exit(SOON);
        assert_eq!(code, Some(0), "exit code after SIGTERM; log:\n{}", self.log());
        let left: Vec<i32> = everyone.into_iter().filter(|pid| processes::is_alive(*pid)).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        assert!(!self.log().contains("panicked"), "a process panicked:\n{}", self.log());
        let is_damaged = self.log().contains("queue memory is damaged");
        assert_eq!(is_damaged, self.is_memory_spoilt, "sound memory is taken for damaged:\n{}", self.log());
    }

    /// The memory of the queues is spoilt on purpose.
    pub fn expect_damage(&mut self) {
        self.is_memory_spoilt = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.master.is_none() {
            return;
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the server's log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
            processes::tree(self.master_pid)
                .into_iter()
                .for_each(|pid| processes::send_signal(pid, Signal::SIGKILL));
        } else {
            self.stop_and_check();
        }
    }
}

/// Runs the daemon with these arguments to its end, in a folder that holds `files`.
#[track_caller]
pub fn sworkerd(files: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let folder = Folder::new();
    for (name, text) in files {
        folder.write(name, text);
    }
    Tool::start(&folder, "sworkerd", DAEMON, arguments).finish(SOON)
}

/// `sworkerd -c` over a script.
#[track_caller]
pub fn check_config(script: &str) -> Finished {
    sworkerd(&[("calls.cfg", script)], &["-c", "-f", "calls.cfg"])
}

/// Where the daemon is, for tests that start it in their own way.
pub fn daemon_path() -> PathBuf {
    DAEMON.into()
}

/// Where the program that asks a running server is.
pub fn control_path() -> PathBuf {
    CONTROL.into()
}

/// Where the program that shows a running server is.
pub fn top_path() -> PathBuf {
    TOP.into()
}
