//! Locks between processes that a dead owner does not keep.
//!
//! ```text
//!  word   waiters:1 | process + 1:16        0 is free
//! ```
//!
//! **Invariants**
//! - A lock that is held names its owner, in the one store that takes it: a dead owner is found.
//! - There is no order among waiters: the first to run when a lock becomes free gets it.
//! - Every wait has a limit; a wake that was lost with its sender is replaced by looking again.
//! - Only the owner gives a lock back, or the master when `waitpid` has confirmed that the owner is dead and before
//!   its index is used again.

use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::shm::memory::part::{Owner, Part, Tended};
use crate::shm::memory::segment::{Place, Plan, Segment, Shareable, Shared};
use crate::sys::futex;

/// The result of a request for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// It is ours now.
    Taken,
    /// It was ours before.
    Ours,
    /// Another process still holds it.
    Held,
    /// There is no such lock.
    NoSuchLock,
}

/// All locks of the server. Made by the master before the first fork.
#[derive(Clone)]
pub struct LockTable {
    locks: Shared<Lock>,
}

#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct Lock(AtomicU32);

// SAFETY: one atomic integer and padding.
unsafe impl Shareable for Lock {}

const WAITERS: u32 = 1 << 31;
const OWNER: u32 = 0xffff;
/// After this time a sleeper looks again, woken or not.
const NAP: Duration = Duration::from_millis(20);

impl Part for LockTable {
    const NAME: &'static CStr = c"sworker-locks";
    /// How many locks.
    type Request = u32;
    type Place = Place<Lock>;
    type Error = io::Error;

    fn reserve(count: &u32, plan: &mut Plan) -> io::Result<Place<Lock>> {
        Ok(plan.reserve(*count as usize))
    }

    fn claim(place: Place<Lock>, segment: &Segment) -> LockTable {
        LockTable { locks: segment.claim(place) }
    }
}

impl Tended for LockTable {
    fn after_death(&self, dead: Owner) {
        // Locks are made for one generation, so the index alone names the process.
        self.release_all(u32::from(dead.index));
    }
}

impl LockTable {
    /// Locks, all free.
    pub fn create(count: u32) -> io::Result<LockTable> {
        Self::make(&count)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.locks.len() as u32
    }

    /// Takes a lock for a process if it is free.
    #[cfg(test)]
    pub(crate) fn try_lock(&self, process: u32, index: u32) -> Locking {
        match self.locks.get(index as usize) {
            Some(lock) => lock.take(owner(process), 0),
            None => Locking::NoSuchLock,
        }
    }

    /// Takes a lock for a process; waits for it at most for the given time.
    pub fn lock(&self, process: u32, index: u32, limit: Duration) -> Locking {
        let Some(lock) = self.locks.get(index as usize) else { return Locking::NoSuchLock };
        let deadline = Instant::now() + limit;
        // A process that has slept does not know whether others still sleep, and takes the lock with their mark.
        let mut mark = 0;
        loop {
            match lock.take(owner(process), mark) {
                Locking::Held => {}
                outcome => return outcome,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Locking::Held;
            }
            lock.sleep(left.min(NAP));
            mark = WAITERS;
        }
    }

    /// Gives a lock back; false when the process does not have it.
    pub fn unlock(&self, process: u32, index: u32) -> bool {
        self.locks.get(index as usize).is_some_and(|lock| lock.give_back(owner(process)))
    }

    /// Whether a process has this lock.
    pub fn is_held_by(&self, process: u32, index: u32) -> bool {
        let lock = self.locks.get(index as usize);
        lock.is_some_and(|lock| lock.0.load(Ordering::Relaxed) & OWNER == owner(process))
    }

    /// Gives back every lock that a process has: it is dead, or done with its message. Says how many there were.
    pub fn release_all(&self, process: u32) -> u32 {
        self.locks.iter().map(|lock| u32::from(lock.give_back(owner(process)))).sum()
    }
}

fn owner(process: u32) -> u32 {
    (process + 1) & OWNER
}

impl Lock {
    fn take(&self, owner: u32, mark: u32) -> Locking {
        // Acquire: pairs with the Release of `give_back`; what the last owner did is seen.
        match self.0.compare_exchange(0, owner | mark, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Locking::Taken,
            Err(word) if word & OWNER == owner => Locking::Ours,
            Err(_) => Locking::Held,
        }
    }

    fn sleep(&self, time: Duration) {
        let word = self.0.load(Ordering::Relaxed);
        if word == 0 {
            return;
        }
        let marked = word | WAITERS;
        let is_marked = word == marked
            || self.0.compare_exchange(word, marked, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_marked {
            futex::wait(&self.0, marked, Some(time));
        }
    }

    fn give_back(&self, owner: u32) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        while word & OWNER == owner {
            // Release: pairs with the Acquire of `take`.
            match self.0.compare_exchange(word, 0, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    if word & WAITERS != 0 {
                        futex::wake(&self.0, 1);
                    }
                    return true;
                }
                Err(current) => word = current,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_owner() {
        let locks = LockTable::create(2).expect("memory");
        assert_eq!(locks.try_lock(1, 0), Locking::Taken);
        assert_eq!(locks.try_lock(1, 0), Locking::Ours);
        assert_eq!(locks.try_lock(2, 0), Locking::Held);
        assert_eq!(locks.lock(2, 0, Duration::from_millis(1)), Locking::Held);
        assert_eq!(locks.try_lock(2, 1), Locking::Taken);
        assert_eq!(locks.try_lock(2, 2), Locking::NoSuchLock);
        assert!(!locks.unlock(2, 0) && !locks.unlock(2, 9));
        assert!(locks.unlock(1, 0) && !locks.unlock(1, 0));
        assert_eq!(locks.try_lock(0, 0), Locking::Taken);
    }

    #[test]
    fn what_a_dead_process_held_is_given_back() {
        let locks = LockTable::create(3).expect("memory");
        for index in 0..2 {
            assert_eq!(locks.try_lock(7, index), Locking::Taken);
        }
        assert_eq!(locks.try_lock(8, 2), Locking::Taken);
        assert_eq!(locks.release_all(7), 2);
        assert_eq!(locks.release_all(7), 0);
        assert_eq!(locks.try_lock(8, 0), Locking::Taken);
        assert_eq!(locks.try_lock(7, 2), Locking::Held);
    }

    #[test]
    fn only_one_is_inside_at_a_time() {
        let locks = LockTable::create(1).expect("memory");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for process in 0..4 {
                let (locks, inside) = (&locks, &inside);
                scope.spawn(move || {
                    for _ in 0..500 {
                        assert_eq!(locks.lock(process, 0, Duration::from_secs(20)), Locking::Taken);
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        inside.fetch_sub(1, Ordering::Relaxed);
                        assert!(locks.unlock(process, 0));
                    }
                });
            }
        });
    }

    #[test]
    fn a_sleeper_is_woken_when_the_owner_is_buried() {
        let locks = LockTable::create(1).expect("memory");
        assert_eq!(locks.try_lock(1, 0), Locking::Taken);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| locks.lock(2, 0, Duration::from_secs(20)));
            while locks.locks[0].0.load(Ordering::Relaxed) & WAITERS == 0 {
                std::thread::yield_now();
            }
            assert_eq!(locks.release_all(1), 1);
            assert_eq!(sleeper.join().expect("it lives"), Locking::Taken);
        });
    }
}
