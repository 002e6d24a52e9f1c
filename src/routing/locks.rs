//! Locks of the message in hand that other processes respect.

use std::time::Duration;

use super::context::Context;
use crate::shm::Locking;

impl Context<'_> {
    /// Takes a lock that other processes respect, waiting at most so long. It is given back with the message.
    pub fn lock(&mut self, index: u32, limit: Duration) -> Locking {
        // What was sent before comes before what others send who have the lock after this process.
        self.flush_own();
        let own = self.process.identity.index;
        let mut taken = self.process.ports.shared.locks.lock(own, index, Duration::ZERO);
        if taken == Locking::Held && !limit.is_zero() {
            // This process waits now.
            self.flush();
            taken = self.process.ports.shared.locks.lock(own, index, limit);
        }
        self.process.held_locks += u32::from(taken == Locking::Taken);
        taken
    }

    /// Gives a lock back; false when this process does not have it.
    pub fn unlock(&mut self, index: u32) -> bool {
        let is_given_back = self.process.ports.shared.locks.unlock(self.process.identity.index, index);
        self.process.held_locks -= u32::from(is_given_back);
        is_given_back
    }
}
