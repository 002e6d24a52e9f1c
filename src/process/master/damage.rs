//! What the processes of a generation share contradicts itself: none of it is trusted any more.
//!
//! ```text
//!  each second: counted broken records · words of every ring ──► as they must be ──► nothing
//!                                        └──► not so: said aloud, counted ─► the same script in a new generation
//! ```
//!
//! A process that goes wild may have written anywhere in that memory. The former generation passes over what is broken,
//! finishes what can be read, and is ended when it has not left after [`TIMEOUT`]: nobody waits for a word that will
//! never come.

use std::time::{Duration, Instant};

use super::generation::Phase;
use crate::process::master::Master;
use crate::telemetry::counters::MEMORY_DAMAGED;
use crate::telemetry::log::Level;

/// How long a generation may take to finish what can still be read.
pub(in crate::process) const TIMEOUT: Duration = Duration::from_secs(5);
/// The words are looked at so often; the master wakes once a second.
const LOOKED_EVERY: Duration = Duration::from_millis(500);
/// Memory that is damaged again and again is made anew so often, and no more: a start costs more than it heals then.
const RENEWED_EVERY: Duration = Duration::from_secs(5);

/// What is known about the memory of one generation.
#[derive(Clone, Copy, Debug)]
pub struct Damage {
    next_look: Instant,
    /// When another generation is to be tried, once damage was found.
    renewal_at: Option<Instant>,
    made_at: Instant,
}

impl Damage {
    /// Memory that was just made.
    pub fn none() -> Damage {
        let now = Instant::now();
        Damage { next_look: now + LOOKED_EVERY, renewal_at: None, made_at: now }
    }

    /// Whether any was found.
    pub fn is_found(&self) -> bool {
        self.renewal_at.is_some()
    }

    /// Whether it is time to replace what is damaged. Who asks tries it, and it is not time again for a while.
    pub fn is_renewal_due(&mut self) -> bool {
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

    /// The first generation is replaced at once; later ones may be damaged by the same hand.
    fn note(&mut self, generation: u64) {
        let rest = if generation == 0 { Duration::ZERO } else { RENEWED_EVERY };
        self.renewal_at = Some(self.made_at + rest);
    }
}

impl Master {
    /// One look at the memory of the generation that serves, when it is time.
    pub(in crate::process) fn look_for_damage(&mut self) {
        if self.current.phase != Phase::Serving || !self.current.damage.is_look_due() {
            return;
        }
        let Some(words) = self.current.repair.damage() else { return };
        self.current.damage.note(self.current.heritage.fixed.generation);
        self.current.heritage.parts.counters.block(0).add(MEMORY_DAMAGED.0, 1);
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
    fn damage_is_mended_at_once_and_then_no_more_often_than_a_start_is_worth() {
        let mut damage = Damage::none();
        assert!(!damage.is_found() && !damage.is_renewal_due());
        damage.note(0);
        assert!(damage.is_found() && damage.is_renewal_due());
        assert!(damage.is_found() && !damage.is_renewal_due(), "not again at once");

        let mut later = Damage::none();
        later.note(3);
        assert!(later.is_found() && !later.is_renewal_due());
        later.made_at = Instant::now().checked_sub(RENEWED_EVERY).unwrap();
        later.note(3);
        assert!(later.is_renewal_due());
    }
}
