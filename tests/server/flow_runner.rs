//! Flows that are broken off: whatever ends their runner, no server is left behind.

use nix::sys::signal::Signal;

use crate::scripts::answered_by_workers;
use crate::support::{Folder, SOON, Tool, daemon_path, processes, wait_until};

/// A flow in which nothing happens for longer than any test takes.
const PATIENT: &str = "peer alice\nexpect alice nothing for 10min\n";

/// Ends a runner in the middle of its flow: its exit code and what it wrote.
#[track_caller]
fn break_off(signal: Signal) -> (Option<i32>, String) {
    let folder = Folder::new();
    folder.write("patient.flow", PATIENT);
    folder.write("server.cfg", answered_by_workers(1, 2, 64));
    let words = ["--test", "patient.flow", "-f", "server.cfg"];
    let runner = Tool::start(&folder, "sworkerd", daemon_path(), &words);
    // The runner, a master, a receiver, two workers, the control process.
    wait_until("its server runs", SOON, || processes::tree(runner.pid()).len() == 6);
    let everyone = processes::tree(runner.pid());
    processes::send_signal(runner.pid(), signal);
    let finished = runner.finish(SOON);
    wait_until("all are gone", SOON, || !everyone.iter().any(|pid| processes::is_alive(*pid)));
    (finished.code, finished.output)
}

#[test]
fn a_runner_that_is_asked_to_end_stops_its_server() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (code, output) = break_off(signal);
        assert_eq!(code, Some(2), "{output}");
        assert!(output.contains(&format!("error: ended by {signal}; the server was stopped")), "{output}");
    }
}

#[test]
fn a_runner_that_is_killed_takes_its_server_with_it() {
    assert_eq!(break_off(Signal::SIGKILL).0, None);
}
