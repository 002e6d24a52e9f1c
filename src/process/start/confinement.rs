//! What each child keeps of its rights, and the proof that the rest is gone: `sworkerd --self-test`.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::process::roles::role::Role;
use crate::sys::escape;
use crate::sys::memory::SharedMapping;
use crate::sys::process::{self, ExitStatus, Fork, SingleThreaded, exit_now};
use crate::sys::sandbox::{self, Rights, Signals};

/// For a child of this role, before its work: everything it does not need is given up for good.
pub fn enter(role: &Role, run_directory: &Path) -> io::Result<()> {
    let writable = [run_directory];
    sandbox::enter(&rights(role, &writable)).map_err(|error| match process::is_shortage(&error) {
        true => error,
        false => io::Error::other(format!(
            "could not confine the process (sandbox=no starts without confinement): {error}"
        )),
    })
}

fn rights<'a>(role: &Role, writable: &'a [&'a Path]) -> Rights<'a> {
    let signals = match role {
        // It signals the master to stop when an operator asks for it.
        Role::Control => Signals::Anybody,
        _ => Signals::Itself,
    };
    Rights { writable, signals }
}

/// Makes a child of each role, confined as those of a running server are, that tries to get out; a line for each
/// attempt. Whether none succeeded and nothing needed was refused.
pub fn prove(proof: &SingleThreaded, run_directory: &Path) -> io::Result<bool> {
    let mut is_proven = true;
    for role in one_of_each() {
        match process::fork(proof)? {
            Fork::Child => exit_now(prove_inside(&role, run_directory)),
            Fork::Parent(child) => {
                let dead = process::wait(child)?;
                is_proven &= dead.is_some_and(|dead| dead.status == ExitStatus::Exited(0));
            }
        }
    }
    Ok(is_proven)
}

fn one_of_each() -> [Role; 4] {
    [
        Role::Receiver { producer: 0, listener: 0, place: String::new(), number: 1 },
        Role::Worker { group: 0, name: String::new(), index: 0 },
        Role::Timer { producer: 0 },
        Role::Control,
    ]
}

/// The exit status.
fn prove_inside(role: &Role, run_directory: &Path) -> i32 {
    let name = role.rules().name;
    // The kernel reports it in a file that is not visible from inside.
    let (memory, memory_failures) = report_memory(name);
    print!("{memory}");
    if let Err(error) = enter(role, run_directory) {
        println!("{name}: {error}");
        return flushed(1);
    }
    let writable = [run_directory];
    let (text, failures) = report(name, &rights(role, &writable));
    print!("{text}");
    flushed(i32::from(failures + memory_failures > 0))
}

/// The line about shared memory, made as that of a running server is, and how many went wrong.
fn report_memory(name: &str) -> (String, usize) {
    let is_in_core_dumps =
        SharedMapping::create(c"sworker-proof", 4096).and_then(|memory| memory.is_in_core_dumps());
    match is_in_core_dumps {
        Ok(false) => (format!("{name}: {SHARED_MEMORY}: ok\n"), 0),
        Ok(true) => (format!("{name}: {SHARED_MEMORY}: FAILED: it is dumped\n"), 1),
        Err(error) => (format!("{name}: {SHARED_MEMORY}: FAILED: {error}\n"), 1),
    }
}

const SHARED_MEMORY: &str = "leave shared memory in a core dump: refused";

/// A child that exits at once flushes nothing.
fn flushed(status: i32) -> i32 {
    match io::Write::flush(&mut io::stdout()) {
        Ok(()) => status,
        Err(_) => 1,
    }
}

/// A line for each attempt, and how many went wrong.
fn report(name: &str, rights: &Rights<'_>) -> (String, usize) {
    let mut text = String::new();
    let mut failures = 0;
    for attempt in escape::attempts(rights) {
        let what = attempt.what();
        match attempt.run() {
            Ok(()) => {
                let _ = writeln!(text, "{name}: {what}: ok");
            }
            Err(reason) => {
                failures += 1;
                let _ = writeln!(text, "{name}: {what}: FAILED: {reason}");
            }
        }
    }
    (text, failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_may_send_signals() {
        let expected = [Signals::Itself, Signals::Itself, Signals::Itself, Signals::Anybody];
        for (role, signals) in one_of_each().iter().zip(expected) {
            assert_eq!(rights(role, &[]).signals, signals, "{role}");
        }
    }

    #[test]
    fn what_was_not_refused_is_told_and_counted() {
        let (text, failures) = report("nobody", &Rights { writable: &[], signals: Signals::Anybody });
        assert_eq!(text.lines().filter(|line| line.contains(": FAILED: ")).count(), failures);
        assert!(
            text.contains("nobody: execve: refused: FAILED: not refused, but the kernel says: "),
            "{text}"
        );
        assert!(text.contains("nobody: look up localhost: works: ok\n"), "{text}");
    }
}
