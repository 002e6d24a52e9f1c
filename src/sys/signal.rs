//! Signals: counted by a handler in children, read from a descriptor by the master.
//!
//! The handler does the least there is: it adds one to a counter of this process. It is installed without
//! `SA_RESTART`, so a call that waits returns and the loop around it looks at the counter.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub use nix::sys::signal::Signal;

use super::process::{self, ProcessId};

/// How often each signal was caught by this process, by number.
static CAUGHT: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];

extern "C" fn count(signal: libc::c_int) {
    if let Some(counter) = CAUGHT.get(signal as usize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// From now on `signal` is counted and interrupts a waiting call.
pub fn catch(signal: Signal) -> io::Result<()> {
    set_disposition(signal, SigHandler::Handler(count))
}

/// How often `signal` was caught since the process began.
pub fn times_caught(signal: Signal) -> u32 {
    CAUGHT[signal as usize].load(Ordering::Relaxed)
}

/// From now on `signal` does nothing.
pub fn ignore(signal: Signal) -> io::Result<()> {
    set_disposition(signal, SigHandler::SigIgn)
}

/// From now on `signal` does what the system says.
pub fn restore_default(signal: Signal) -> io::Result<()> {
    set_disposition(signal, SigHandler::SigDfl)
}

fn set_disposition(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the requirement is a handler that is async-signal-safe; `count` does one atomic addition.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Holds these signals back. A master does this before its first fork, so that nothing is lost between a child's
/// birth and its own wishes.
pub fn block(signals: &[Signal]) -> io::Result<()> {
    Ok(signals.iter().copied().collect::<SigSet>().thread_block()?)
}

/// Lets these signals through again.
pub fn unblock(signals: &[Signal]) -> io::Result<()> {
    Ok(signals.iter().copied().collect::<SigSet>().thread_unblock()?)
}

/// Lets every signal through. What a child does when it knows what each of them means.
pub fn unblock_all() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Sends `signal`; a process that is gone already is no error.
pub fn send(process: ProcessId, signal: Signal) -> io::Result<()> {
    match process::kill(process, signal as i32) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        result => result,
    }
}

/// The same where nothing can be done about a failure: it would be met again and again.
pub fn try_send(process: ProcessId, signal: Signal) {
    let _ = send(process, signal);
}

/// How long a process has after its last signal, in microseconds.
static LAST_EFFORT_US: AtomicU32 = AtomicU32::new(0);

/// From now on `signal` is counted as with [`catch`], and ends this process by `SIGALRM` after `delay` of real time,
/// whatever it does then. For the last effort of a process that no other process waits for.
pub fn catch_as_last(signal: Signal, delay: Duration) -> io::Result<()> {
    LAST_EFFORT_US.store(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX), Ordering::Relaxed);
    restore_default(Signal::SIGALRM)?;
    set_disposition(signal, SigHandler::Handler(count_as_last))
}

/// The clock is set by the handler itself: the process may be deep in something that does not look at counters.
extern "C" fn count_as_last(signal: libc::c_int) {
    let delay = LAST_EFFORT_US.load(Ordering::Relaxed);
    let timer = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval {
            tv_sec: libc::time_t::from(delay / 1_000_000),
            tv_usec: libc::suseconds_t::from(delay % 1_000_000),
        },
    };
    // SAFETY: a plain system call on a valid value that outlives it; a null pointer for the old timer is allowed. It
    // cannot fail with these arguments, so `errno` of the interrupted code stays as it is.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    count(signal);
}

/// Signals as something to poll and read.
#[derive(Debug)]
pub struct SignalQueue {
    descriptor: SignalFd,
}

impl SignalQueue {
    /// Signals of this process in `signals`, which must be blocked to arrive here. Make it after the last fork that
    /// shall not share it.
    pub fn of(signals: &[Signal]) -> io::Result<SignalQueue> {
        let set: SigSet = signals.iter().copied().collect();
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(SignalQueue { descriptor })
    }

    /// The next one, if one came; never waits.
    pub fn take(&mut self) -> io::Result<Option<Signal>> {
        loop {
            match self.descriptor.read_signal() {
                Ok(Some(entry)) => match Signal::try_from(entry.ssi_signo as i32) {
                    Ok(signal) => return Ok(Some(signal)),
                    Err(_) => continue,
                },
                Ok(None) | Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_caught_is_counted() {
        catch(Signal::SIGWINCH).unwrap();
        let before = times_caught(Signal::SIGWINCH);

        nix::sys::signal::raise(Signal::SIGWINCH).unwrap();

        assert_eq!(times_caught(Signal::SIGWINCH), before + 1);
        ignore(Signal::SIGWINCH).unwrap();
        nix::sys::signal::raise(Signal::SIGWINCH).unwrap();
        assert_eq!(times_caught(Signal::SIGWINCH), before + 1);
    }

    #[test]
    fn a_queue_gives_blocked_signals_once() {
        let set: SigSet = [Signal::SIGURG].into_iter().collect();
        set.thread_block().unwrap();
        let mut queue = SignalQueue::of(&[Signal::SIGURG]).unwrap();
        assert_eq!(queue.take().unwrap(), None);

        // `raise` aims at this thread, which has the signal blocked; several pending ones are one.
        nix::sys::signal::raise(Signal::SIGURG).unwrap();
        nix::sys::signal::raise(Signal::SIGURG).unwrap();

        assert_eq!(queue.take().unwrap(), Some(Signal::SIGURG));
        assert_eq!(queue.take().unwrap(), None);
    }

    #[test]
    fn a_process_that_is_gone_is_no_error() {
        let nobody = ProcessId::from_number(i32::MAX).unwrap();
        assert!(send(nobody, Signal::SIGTERM).is_ok());
        assert!(send(ProcessId::own(), Signal::SIGCONT).is_ok());
    }
}
