//! Delayed messages: they lie in shared memory until they are due, then go into the rings of their groups.
//!
//! ```text
//!  any process                                                                    the timer
//!  DelaySender ── takes a slot and blocks, fills them, publishes ──► DelayQueue ── Scheduler ──► ring of the group
//!
//!  slot   state and due time of one message        blocks   its bytes, in a chain of blocks of 1 KiB
//! ```
//!
//! **Invariants**
//! - Publishing the slot is the only store that makes anything of a message visible: a sender killed before it has
//!   delayed nothing, and the master frees what it held.
//! - There is one scheduler, with rings of its own. A slot that is being moved names the record of the ring that the
//!   push will be, so a successor knows whether the push happened: a message is moved exactly once, whatever dies.
//! - A message leaves the queue only for a ring. A full ring leaves it where it is, and all later ones of that ring.
//! - No process waits for another: a sender that finds no slot, or too few blocks, gets "full".

mod blocks;
pub(in crate::shm) mod queue;
pub(in crate::shm) mod scheduler;
pub(in crate::shm) mod sender;
mod slot;
