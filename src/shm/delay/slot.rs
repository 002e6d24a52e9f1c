//! The slot of a delayed message: its state and due time, and where it goes.
//!
//! ```text
//!  FREE ─CAS─► FILLING|process ─► WAITING ─► MOVING|record ─► FREE
//!              any process: DelaySender      the timer: Scheduler
//! ```
//!
//! **Invariant:** one process at a time holds a slot: the one that FILLING names, or the scheduler once it is WAITING.
//! Only that process writes the slot, its blocks and their bytes; when it is dead, the master or the next scheduler
//! does. Blocks are freed before their slot, so that a free slot has none.

use crate::shm::memory::segment::Shareable;
use crate::shm::memory::sync::{AtomicU32, AtomicU64, Ordering};
use crate::shm::queue::producer::Placement;

/// State and due time of a message. In an array of their own, so that a look at all of them is a walk over a few pages.
#[derive(Default)]
#[repr(C)]
pub(super) struct DelaySlot {
    pub(super) word: AtomicU64,
    pub(super) due_ns: AtomicU64,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for DelaySlot {}

impl DelaySlot {
    pub(super) fn is_free(&self) -> bool {
        // Acquire: the process that freed the slot had handed its message to a ring before.
        self.word.load(Ordering::Acquire) == DelayState::FREE.0
    }

    /// Takes a free slot for this process.
    pub(super) fn take(&self, process: u32) -> bool {
        let filling = DelayState::filling(process).0;
        let free = DelayState::FREE.0;
        // Acquire: what the former holder stored in the slot lies before what this process stores.
        self.word.load(Ordering::Relaxed) == free
            && self.word.compare_exchange(free, filling, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    pub(super) fn state(&self) -> DelayState {
        // Acquire: pairs with the Release of the process that stored the state; the message belongs to it.
        DelayState(self.word.load(Ordering::Acquire))
    }

    /// For the process that holds the slot.
    pub(super) fn set(&self, state: DelayState) {
        // Release: whatever the holder read or wrote before is done when another process sees the new state.
        self.word.store(state.0, Ordering::Release);
    }

    pub(super) fn due_if_waiting(&self) -> Option<u64> {
        (self.state() == DelayState::WAITING).then(|| self.due_ns.load(Ordering::Relaxed))
    }
}

/// State of a slot: a tag in the highest byte, below it what it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DelayState(pub(super) u64);

const TAG_SHIFT: u32 = 56;
const FILLING: u64 = 1;
const WAITING: u64 = 2;
const MOVING: u64 = 3;

impl DelayState {
    pub(super) const FREE: DelayState = DelayState(0);
    pub(super) const WAITING: DelayState = DelayState(WAITING << TAG_SHIFT);

    pub(super) fn filling(process: u32) -> DelayState {
        DelayState(FILLING << TAG_SHIFT | u64::from(process))
    }

    pub(super) fn moving(record: u64) -> DelayState {
        DelayState(MOVING << TAG_SHIFT | record & ((1 << TAG_SHIFT) - 1))
    }

    /// The record of the ring that a message was about to become.
    pub(super) fn moved_as(self) -> Option<u64> {
        (self.0 >> TAG_SHIFT == MOVING).then_some(self.0 & ((1 << TAG_SHIFT) - 1))
    }
}

/// Where a message goes when it is due, and where its bytes lie until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: u32,
    pub(super) placement: Placement,
    pub(super) size: u32,
    pub(super) first_block: u32,
}

/// The target in shared memory.
#[derive(Default)]
#[repr(C)]
pub(super) struct SharedTarget {
    pub(super) group: AtomicU32,
    pub(super) kind: AtomicU32,
    pub(super) hash: AtomicU64,
    pub(super) size: AtomicU32,
    pub(super) first_block: AtomicU32,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for SharedTarget {}

impl SharedTarget {
    /// For the process that fills the slot; the state orders it for all others.
    pub(super) fn store(&self, target: Target) {
        let (kind, hash) = encode_placement(target.placement);
        self.group.store(target.group, Ordering::Relaxed);
        self.kind.store(kind, Ordering::Relaxed);
        self.hash.store(hash, Ordering::Relaxed);
        self.size.store(target.size, Ordering::Relaxed);
        self.first_block.store(target.first_block, Ordering::Relaxed);
    }

    pub(super) fn load(&self) -> Target {
        let (kind, hash) = (self.kind.load(Ordering::Relaxed), self.hash.load(Ordering::Relaxed));
        Target {
            group: self.group.load(Ordering::Relaxed),
            placement: decode_placement(kind, hash),
            size: self.size.load(Ordering::Relaxed),
            first_block: self.first_block.load(Ordering::Relaxed),
        }
    }
}

fn encode_placement(placement: Placement) -> (u32, u64) {
    match placement {
        Placement::Usual => (0, 0),
        Placement::Urgent => (1, 0),
        Placement::Keyed(hash) => (2, hash),
    }
}

fn decode_placement(kind: u32, hash: u64) -> Placement {
    match kind {
        1 => Placement::Urgent,
        2 => Placement::Keyed(hash),
        _ => Placement::Usual,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back() {
        let shared = SharedTarget::default();
        for placement in [Placement::Usual, Placement::Urgent, Placement::Keyed(u64::MAX)] {
            let target = Target { group: 7, placement, size: 900, first_block: 3 };
            shared.store(target);
            assert_eq!(shared.load(), target);
        }
    }

    #[test]
    fn states_are_told_apart() {
        assert_eq!(DelayState::moving(77).moved_as(), Some(77));
        for other in [DelayState::FREE, DelayState::WAITING, DelayState::filling(77)] {
            assert_eq!(other.moved_as(), None, "{other:?}");
        }
        let slot = DelaySlot::default();
        assert!(slot.is_free() && slot.take(3) && !slot.take(4));
        assert_eq!((slot.state(), slot.due_if_waiting()), (DelayState::filling(3), None));
        slot.set(DelayState::WAITING);
        assert_eq!(slot.due_if_waiting(), Some(0));
    }
}
