//! Processes: fork, wait, kill, leave.
//!
//! `fork` asks for a proof that the caller has one thread: with two, the child may inherit a lock whose holder does
//! not exist in it and hang for ever.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use nix::errno::Errno;
use nix::sys::signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, ForkResult, Pid};

/// The kernel's number of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(Pid);

impl ProcessId {
    /// The calling process.
    pub fn own() -> Self {
        Self(unistd::getpid())
    }

    /// The parent of the calling process at this moment.
    pub fn parent() -> Self {
        Self(unistd::getppid())
    }

    /// A number that came from elsewhere, such as a pid file; `None` when no process can have it.
    pub fn from_number(number: i32) -> Option<Self> {
        (number > 0).then(|| Self(Pid::from_raw(number)))
    }

    /// The number itself.
    pub fn number(self) -> i32 {
        self.0.as_raw()
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Proof that the calling process had one thread when it was made. It cannot travel to another thread.
#[derive(Debug)]
pub struct SingleThreaded(PhantomData<*const ()>);

impl SingleThreaded {
    /// Counts the threads of this process; an error when there is more than one.
    pub fn prove() -> io::Result<Self> {
        let thread_count = std::fs::read_dir("/proc/self/task")?.count();
        if thread_count != 1 {
            return Err(io::Error::other(format!(
                "process has {thread_count} threads, one is needed to fork"
            )));
        }
        Ok(Self(PhantomData))
    }
}

/// Which of the two processes we are after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, with the number of the new one.
    Parent(ProcessId),
}

/// Doubles the process.
pub fn fork(_proof: &SingleThreaded) -> io::Result<Fork> {
    // SAFETY: the proof says that no other thread exists whose locks the child could inherit.
    match unsafe { unistd::fork() }? {
        ForkResult::Child => Ok(Fork::Child),
        ForkResult::Parent { child } => Ok(Fork::Parent(ProcessId(child))),
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Killed {
        /// The number of the signal.
        signal: i32,
        /// Whether the kernel wrote a dump.
        core_dumped: bool,
    },
}

impl ExitStatus {
    /// Whether it exited with status 0.
    pub const fn is_orderly(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(status) => write!(formatter, "exit status {status}"),
            Self::Killed { signal, core_dumped } => {
                let name = signal::Signal::try_from(signal).map_or("unknown signal", signal::Signal::as_str);
                write!(formatter, "{name}{}", if core_dumped { " (core dumped)" } else { "" })
            }
        }
    }
}

/// A child that the kernel confirmed to be dead; only this allows to repair what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadChild {
    /// Which one.
    pub process: ProcessId,
    /// How it ended.
    pub status: ExitStatus,
}

/// Waits until any child ends. `None` when there is no child left.
pub fn wait_any() -> io::Result<Option<DeadChild>> {
    reap(None, WaitPidFlag::empty())
}

/// Reaps one child that has already ended, if there is one; never sleeps.
pub fn try_wait_any() -> io::Result<Option<DeadChild>> {
    reap(None, WaitPidFlag::WNOHANG)
}

/// Waits until this child ends. `None` when it is not (or no longer) ours.
pub fn wait(process: ProcessId) -> io::Result<Option<DeadChild>> {
    reap(Some(process), WaitPidFlag::empty())
}

fn reap(process: Option<ProcessId>, flags: WaitPidFlag) -> io::Result<Option<DeadChild>> {
    loop {
        match waitpid(process.map(|process| process.0), Some(flags)) {
            Ok(WaitStatus::Exited(pid, status)) => return Ok(Some(dead(pid, ExitStatus::Exited(status)))),
            Ok(WaitStatus::Signaled(pid, signal, core_dumped)) => {
                return Ok(Some(dead(pid, ExitStatus::Killed { signal: signal as i32, core_dumped })));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn dead(pid: Pid, status: ExitStatus) -> DeadChild {
    DeadChild { process: ProcessId(pid), status }
}

/// Sends the signal with this number.
pub fn kill(process: ProcessId, signal_number: i32) -> io::Result<()> {
    let signal = signal::Signal::try_from(signal_number)?;
    signal::kill(process.0, signal)?;
    Ok(())
}

/// When a process began, in the kernel's ticks since boot; `None` when there is no such process. A number together
/// with its start names one process for ever, the number alone does not.
pub fn start_ticks(process: ProcessId) -> Option<u64> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything, also spaces and parentheses.
    let after_name = &line[line.rfind(')')? + 1..];
    after_name.split_ascii_whitespace().nth(STAT_START_AFTER_NAME)?.parse().ok()
}

/// Leaves at once: no destructor, no exit handler, no flushing. The way a forked child has to go, because all of these
/// belong to its parent.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no requirement and does not return.
    unsafe { libc::_exit(status) }
}

/// `starttime` is field 22 of `/proc/PID/stat`; the name is field 2.
const STAT_START_AFTER_NAME: usize = 19;

/// Whether the system lacked something at that moment: descriptors, memory, buffers. It is no fault of the caller.
pub fn is_shortage(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_from_a_mistake() {
        let of = io::Error::from_raw_os_error;
        let rows = [
            (of(libc::ENFILE), true),
            (of(libc::EMFILE), true),
            (of(libc::ENOMEM), true),
            (of(libc::ENOBUFS), true),
            (of(libc::EACCES), false),
            (of(libc::ENOENT), false),
            (io::Error::other("of our own"), false),
        ];
        for (error, expected) in rows {
            assert_eq!(is_shortage(&error), expected, "{error}");
        }
    }

    #[test]
    fn second_thread_refuses_the_proof() {
        // The test harness runs this in a thread of its own, beside its main thread.
        let error = SingleThreaded::prove().expect_err("two threads at least").to_string();
        assert!(error.contains("threads, one is needed to fork"), "{error}");
    }

    #[test]
    fn exit_status_reads_well() {
        let rows = [
            (ExitStatus::Exited(3), "exit status 3"),
            (ExitStatus::Killed { signal: libc::SIGSEGV, core_dumped: true }, "SIGSEGV (core dumped)"),
            (ExitStatus::Killed { signal: libc::SIGKILL, core_dumped: false }, "SIGKILL"),
            (ExitStatus::Killed { signal: 99, core_dumped: false }, "unknown signal"),
        ];
        for (status, expected) in rows {
            assert_eq!(status.to_string(), expected);
        }
    }

    #[test]
    fn start_of_a_process_stays_and_that_of_nobody_is_unknown() {
        let start = start_ticks(ProcessId::own());
        assert!(start.is_some());
        assert_eq!(start, start_ticks(ProcessId::own()));
        assert_eq!(start_ticks(ProcessId::from_number(i32::MAX).expect("positive")), None);
    }

    #[test]
    fn process_numbers_are_positive() {
        assert_eq!(ProcessId::from_number(0), None);
        assert_eq!(ProcessId::from_number(-1), None);
        assert_eq!(ProcessId::from_number(ProcessId::own().number()), Some(ProcessId::own()));
    }
}
