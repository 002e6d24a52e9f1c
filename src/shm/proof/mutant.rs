//! Known mistakes, each switched on by `--cfg mutant="name"`, that the model must find.
//!
//! They show that the proof has teeth: `scripts/loom` fails when a mutant passes. Without the flag all of this is
//! constant and leaves no trace in the program.

use crate::shm::memory::sync::Ordering;

/// The waker looks for sleepers without the full fence after publishing.
pub(crate) const NO_FENCE_IN_WAKE: bool = cfg!(mutant = "no_fence_in_wake");

/// A waker that found no sleeper gives its token back without looking again.
pub(crate) const NAIVE_TOKEN_RETURN: bool = cfg!(mutant = "naive_token_return");

/// A worker frees the record before it has noted that it holds the message.
pub(crate) const DONE_BEFORE_HOLD: bool = cfg!(mutant = "done_before_hold");

/// A worker takes the lowest ticket of one look over the rings of its shard.
pub(crate) const ONE_LOOK_FOR_TICKETS: bool = cfg!(mutant = "one_look_for_tickets");

/// The master frees the shard of a dead worker although its message is still to be delivered.
pub(crate) const SHARD_FREED_TOO_EARLY: bool = cfg!(mutant = "shard_freed_too_early");

/// How a record is published; pairs with the Acquire load of a worker that looks for a record.
pub(crate) const PUBLISH: Ordering =
    if cfg!(mutant = "relaxed_ready") { Ordering::Relaxed } else { Ordering::Release };

/// How a record is given back; pairs with the Acquire load of the producer that reuses it.
pub(crate) const GIVE_BACK: Ordering =
    if cfg!(mutant = "relaxed_done") { Ordering::Relaxed } else { Ordering::Release };

/// A sender of a delayed message reads until when the scheduler sleeps without the full fence after publishing.
pub(crate) const NO_FENCE_IN_SEND: bool = cfg!(mutant = "no_fence_in_send");

/// The successor of a scheduler does not look whether the message it was moving is in the ring already.
pub(crate) const MOVED_AGAIN_BY_SUCCESSOR: bool = cfg!(mutant = "moved_again_by_successor");

/// The successor of a scheduler follows the chain of blocks that its predecessor had begun to free.
pub(crate) const CHAIN_TRUSTED_BY_SUCCESSOR: bool = cfg!(mutant = "chain_trusted_by_successor");

/// The slot of a dead process is freed, and the blocks it had taken are not.
pub(crate) const BLOCKS_OF_THE_DEAD_KEPT: bool = cfg!(mutant = "blocks_of_the_dead_kept");

/// A slot is free before its blocks are.
pub(crate) const SLOT_FREED_BEFORE_BLOCKS: bool = cfg!(mutant = "slot_freed_before_blocks");

/// How a delayed message is published; pairs with the Acquire load of the scheduler.
pub(crate) const DELAY_PUBLISHED: Ordering =
    if cfg!(mutant = "relaxed_delay") { Ordering::Relaxed } else { Ordering::Release };

/// How a block of a delayed message is freed; pairs with the Acquire exchange of the sender that takes it.
pub(crate) const BLOCK_FREED: Ordering =
    if cfg!(mutant = "relaxed_block") { Ordering::Relaxed } else { Ordering::Release };

/// An outbox says that it holds a packet before the packet is there.
pub(crate) const PUT_BEFORE_PACKET: bool = cfg!(mutant = "put_before_packet");

/// An outbox says that its packets were sent before the kernel has seen them.
pub(crate) const SENT_BEFORE_CARRIED: bool = cfg!(mutant = "sent_before_carried");

/// The master starts a successor while another process has the outbox of its place.
pub(crate) const START_BESIDE_ADOPTER: bool = cfg!(mutant = "start_beside_adopter");
