//! Damaged queue memory: when the memory of the queues contradicts its own protocol, the master replaces it.
//!
//! ```text
//!  each second: count of corrupt records · words of every ring and slot ──► possible ──► nothing
//!                      └──► impossible: ALERT, core.memory_damaged ──► the same script in a new generation
//! ```
//!
//! No process that keeps the protocol causes this, however it dies (see the invariants of [`crate::shm`]): the cause is
//! a bug or broken memory, and how much of the memory is wrong is unknown. So nothing is repaired in place. The master
//! starts a new generation with new memory, from the script that runs and not from the file. The damaged generation
//! skips corrupt records and processes the readable ones; after [`TIMEOUT`] the master kills its processes, because a
//! ring with a wrong word may never become empty, and logs the messages that are lost.

use std::time::{Duration, Instant};

use super::generation::{Generation, Phase};
use crate::telemetry::counters::MEMORY_DAMAGED;
use crate::telemetry::log::Level;

/// How long a damaged generation may process the messages that can still be read.
pub(in crate::process) const TIMEOUT: Duration = Duration::from_secs(5);
/// The least time between two checks; a master with nothing to do wakes once a second.
const LOOKED_EVERY: Duration = Duration::from_millis(500);
/// The least time between two renewals. A bug that damages each new memory at once must not make the master start
/// processes all the time.
const RENEWED_EVERY: Duration = Duration::from_secs(5);

/// What is known about the memory of one generation.
#[derive(Clone, Copy, Debug)]
pub struct Damage {
    next_look: Instant,
    /// Once damage was found: when the next attempt to start a new generation is due.
    renewal_at: Option<Instant>,
    made_at: Instant,
}

impl Damage {
    /// For memory that was just made.
    pub fn none() -> Damage {
        let now = Instant::now();
        Damage { next_look: now + LOOKED_EVERY, renewal_at: None, made_at: now }
    }

    /// Whether damage was found.
    pub fn is_found(&self) -> bool {
        self.renewal_at.is_some()
    }

    /// Whether a new generation is to be started now. The next attempt is due [`RENEWED_EVERY`] after this one.
    pub fn take_due_renewal(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.renewal_at.is_some_and(|at| now >= at);
        if is_due {
            self.renewal_at = Some(now + RENEWED_EVERY);
        }
        is_due
    }

    fn is_look_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = !self.is_found() && now >= self.next_look;
        if is_due {
            self.next_look = now + LOOKED_EVERY;
        }
        is_due
    }

    /// The first generation is replaced at once. A later one may suffer from the same bug, and has lived for
    /// [`RENEWED_EVERY`] when it is replaced.
    fn note(&mut self, generation: u64) {
        let rest = if generation == 0 { Duration::ZERO } else { RENEWED_EVERY };
        self.renewal_at = Some(self.made_at + rest);
    }
}

impl Generation {
    /// Checks the memory of the generation that serves, when a check is due.
    pub(in crate::process) fn look_for_damage(&mut self) {
        if self.phase != Phase::Serving || !self.damage.is_look_due() {
            return;
        }
        let Some(words) = self.repair.damage() else { return };
        self.damage.note(self.heritage.fixed.generation);
        self.heritage.parts.counters.block(0).add(MEMORY_DAMAGED.0, 1);
        self.say(
            Level::Alert,
            format_args!("queue memory is damaged ({words}): starting new processes with new memory"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_damage_is_answered_at_once_and_later_ones_at_intervals() {
        let mut damage = Damage::none();
        assert!(!damage.is_found() && !damage.take_due_renewal());
        damage.note(0);
        assert!(damage.is_found() && damage.take_due_renewal());
        assert!(damage.is_found() && !damage.take_due_renewal(), "not again at once");

        let mut later = Damage::none();
        later.note(3);
        assert!(later.is_found() && !later.take_due_renewal());
        later.made_at = Instant::now().checked_sub(RENEWED_EVERY).unwrap();
        later.note(3);
        assert!(later.take_due_renewal());
    }
}
