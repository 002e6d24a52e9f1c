//! A kernel that refuses calls of running processes, by strace (Debian: package strace); for root, as the server lets nobody
//! else attach to its processes.

use std::process::Command;

use nix::sys::signal::Signal;

use super::super::support::{Folder, SOON, Tool, processes, wait_for};

/// While this lives, calls are refused.
pub struct Refusing {
    strace: Tool,
}

impl Refusing {
    /// From now on each of `calls` (names with commas between them) ends with `error` (`ENFILE`) when one of `pids` makes
    /// it, or a process that one of them forks meanwhile. Why not, where that cannot be had.
    #[track_caller]
    pub fn start(folder: &Folder, calls: &str, error: &str, pids: &[i32]) -> Result<Refusing, String> {
        Command::new("strace")
            .arg("-V")
            .output()
            .map_err(|error| format!("could not run strace: {error}"))?;
        let [traced, refused] = [format!("trace={calls}"), format!("inject={calls}:error={error}")];
        let numbers: Vec<String> = pids.iter().map(i32::to_string).collect();
        let mut words = vec!["-f", "-o", "/dev/null", "-e", &traced, "-e", &refused];
        words.extend(numbers.iter().flat_map(|number| ["-p", number]));
        let mut strace = Tool::start(folder, "strace", "strace", &words);
        wait_for("strace attaches or is refused", SOON, || {
            let output = strace.output();
            let is_attached = |number: &String| output.contains(&format!("Process {number} attached"));
            if numbers.iter().all(is_attached) {
                return Some(Ok(()));
            }
            let ended = strace.exit_status();
            ended.map(|_| Err(output.lines().next().unwrap_or("strace ended without a word").to_owned()))
        })?;
        Ok(Refusing { strace })
    }

    /// Lets go of them: calls are made again. Returns when that is so.
    pub fn end(self) {
        processes::send_signal(self.strace.pid(), Signal::SIGTERM);
        self.strace.finish(SOON);
    }
}
