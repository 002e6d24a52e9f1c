//! A server whose log goes where the test says: into a pipe, a device, a file.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::caller::Caller;
use super::folder::Folder;
use super::server::{control_path, daemon_path};
use super::tool::Tool;
use super::{SOON, processes, wait_for, wait_until};

/// A server whose log goes where the test says.
pub struct Logging {
    folder: Folder,
    child: Child,
}

impl Logging {
    /// Starts it on this script with `log` as its stderr, and waits until it answers commands.
    #[track_caller]
    pub fn into(script: &str, log: impl Into<Stdio>) -> Logging {
        let folder = Folder::new();
        folder.write("server.cfg", script);
        let child = Command::new(daemon_path())
            .args(["-DD", "-E", "-ddd", "-f", "server.cfg", "-w", ".", "-Y", "run", "-l", "udp:127.0.0.1:0"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(File::create(folder.file("report")).expect("a file can be made"))
            .stderr(log)
            .spawn()
            .expect("the server can be started");
        let logging = Logging { folder, child };
        wait_until("it answers", SOON, || logging.ask(&["core.version"]).is_some());
        logging
    }

    /// The result of a command, if there was one.
    pub fn ask(&self, command: &[&str]) -> Option<serde_json::Value> {
        let words = [&["-Y", "run"], command].concat();
        let finished = Tool::start(&self.folder, "sworkerctl", control_path(), &words).finish(SOON);
        (finished.code == Some(0)).then(|| serde_json::from_str(&finished.output).expect("an answer is JSON"))
    }

    /// Somebody who calls it.
    pub fn caller(&self) -> Caller {
        wait_for("it says where it listens", SOON, || {
            let report = self.folder.read("report");
            let address = report.lines().find_map(|line| line.trim().strip_prefix("udp: "))?;
            Some(Caller::new(address.parse().expect("an address")))
        })
    }

    /// The value of one counter, summed over all processes.
    pub fn counter(&self, name: &str) -> u64 {
        self.ask(&["stats.fetch", name]).and_then(|values| values[name].as_u64()).unwrap_or_default()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        processes::send_signal(self.child.id() as i32, Signal::SIGTERM);
        let status = self.child.wait();
        if !std::thread::panicking() {
            assert!(status.is_ok_and(|status| status.success()), "it ends in order");
        }
    }
}
