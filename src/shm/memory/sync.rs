//! The atomics, the fence, the sleeping word and the clock that the queue is written with.
//!
//! In the server they are the ones of the machine. Under `--cfg loom` they are those of the model checker, so that the
//! model runs the queue's own code; figures that decide nothing ([`Figure`]) stay outside the model there.

#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
pub(crate) use modelled::*;

pub(crate) use std::sync::atomic::Ordering;

/// A number with one writing process, readable by all.
#[derive(Default)]
#[repr(transparent)]
pub(crate) struct Figure(std::sync::atomic::AtomicU64);

impl Figure {
    /// Adds `count`. Only the one writer may call it: a plain load and store, no locked instruction.
    pub(crate) fn add(&self, count: u64) {
        self.set(self.read().wrapping_add(count));
    }

    /// Replaces the value. Only the one writer may call it.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value at some recent moment.
    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
mod real {
    pub(crate) use crate::sys::clock::{monotonic_coarse_ns, monotonic_ns};
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

    use crate::sys::futex::{self, Awoken};
    use std::time::Duration;

    /// A word on which one process sleeps and others wake it.
    #[derive(Default)]
    #[repr(transparent)]
    pub(crate) struct SleepWord(pub(crate) AtomicU32);

    impl SleepWord {
        /// Sleeps while the word holds `expected`.
        pub(crate) fn sleep(&self, expected: u32, timeout: Option<Duration>) -> Awoken {
            futex::wait(&self.0, expected, timeout)
        }

        /// Ends the sleep of the process on this word, if it sleeps.
        pub(crate) fn awaken(&self) {
            futex::wake(&self.0, 1);
        }
    }
}

#[cfg(loom)]
mod modelled {
    pub(crate) use crate::shm::memory::sync::awoken::Awoken;
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};

    use super::Ordering;
    use loom::sync::{Condvar, Mutex};
    use std::time::Duration;

    /// Time stands still in a model.
    pub(crate) fn monotonic_ns() -> u64 {
        1
    }

    pub(crate) use monotonic_ns as monotonic_coarse_ns;

    /// A futex as the kernel promises it: comparing and falling asleep are one step for every waker.
    #[derive(Default)]
    pub(crate) struct SleepWord(pub(crate) AtomicU32, Mutex<()>, Condvar);

    impl SleepWord {
        pub(crate) fn sleep(&self, expected: u32, _timeout: Option<Duration>) -> Awoken {
            let guard = self.1.lock().expect("no panic while held");
            if self.0.load(Ordering::Relaxed) != expected {
                return Awoken::Changed;
            }
            drop(self.2.wait(guard).expect("no panic while held"));
            Awoken::Woken
        }

        pub(crate) fn awaken(&self) {
            drop(self.1.lock().expect("no panic while held"));
            self.2.notify_all();
        }
    }
}

#[cfg(loom)]
mod awoken {
    /// Stands for `sys::futex::Awoken`, which is not compiled into the model.
    pub(crate) enum Awoken {
        Woken,
        Changed,
        #[allow(dead_code, reason = "time does not pass and nobody interrupts in the model")]
        TimedOut,
        #[allow(dead_code, reason = "time does not pass and nobody interrupts in the model")]
        Interrupted,
    }
}

#[cfg(not(loom))]
pub(crate) use crate::sys::futex::Awoken;
