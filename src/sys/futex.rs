//! Sleeping on a 32-bit word that several processes share.
//!
//! **Invariant:** the calls never carry `FUTEX_PRIVATE_FLAG`; with it a wake does not reach another process.

use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Why [`wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awoken {
    /// [`wake`] was called on the word (or the kernel returned early: look at the word again).
    Woken,
    /// The word did not hold the expected value; the process did not sleep.
    Changed,
    /// The time was up.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Sleeps while `word` holds `expected`, at most for `timeout` when one is given.
///
/// The kernel compares and falls asleep in one step, so a wake after a change of the word is never missed.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Awoken {
    let time = timeout.map(|duration| libc::timespec {
        tv_sec: duration.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: duration.subsec_nanos() as libc::c_long,
    });
    let time_pointer = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `word` is a live, aligned 32-bit word, and `time_pointer` is null or points to `time`, which outlives
    // the call. FUTEX_WAIT reads both and writes neither.
    let result =
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, time_pointer) };
    if result == 0 {
        return Awoken::Woken;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Awoken::Changed,
        Some(libc::ETIMEDOUT) => Awoken::TimedOut,
        _ => Awoken::Interrupted,
    }
}

/// Wakes up to `count` sleepers on `word`, in this and in other processes; returns how many there were.
pub fn wake(word: &AtomicU32, count: u32) -> u32 {
    let count = count.min(i32::MAX as u32);
    // SAFETY: FUTEX_WAKE uses the address only as a name; it does not touch the memory.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    u32::try_from(woken).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn wait_returns_at_once_when_the_word_differs() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, None), Awoken::Changed);
    }

    #[test]
    fn wait_ends_when_the_time_is_up() {
        let word = AtomicU32::new(0);
        assert_eq!(wait(&word, 0, Some(Duration::from_millis(2))), Awoken::TimedOut);
    }

    #[test]
    fn wake_without_sleepers_wakes_nobody() {
        assert_eq!(wake(&AtomicU32::new(0), u32::MAX), 0);
    }

    #[test]
    fn wake_reaches_a_sleeping_thread() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(Ordering::Acquire) == 0 {
                    wait(&word, 0, None);
                }
            });
            word.store(1, Ordering::Release);
            wake(&word, 1);
        });
    }
}
