//! The message a worker holds: a copy of its own, in shared memory, from claim to finish.
//!
//! ```text
//!  word:  0 ─► held(ring, record) ─► 0
//!         copy is complete    └── script runs ──┘  finish: the one store that commits
//! ```
//!
//! The slot outlives its worker. What it holds when the worker dies is what the successor receives first.
//!
//! **Why a slot may be read as `&[u8]`:** its bytes are written by the worker of that index while it copies a record
//! out, and by the master when that worker has been reaped and no successor has been forked. Both write only while
//! the word is 0, and a [`Delivery`](crate::shm::Delivery) exists only while the word is not 0. So no process writes while
//! a slice lives. What a crashed process could have left there is bytes of any value, which is what `&[u8]` means;
//! lengths are checked against the slot before a slice is made.

use super::record::{History, RECORD_SIZE_MAX, RecordHeader};
use super::ring::Ring;
use crate::shm::memory::segment::{BytesPlace, Place, Plan, Segment, Shareable, Shared, SharedBytes};
use crate::shm::memory::sync::{AtomicU32, AtomicU64, Ordering};
use crate::shm::memory::word::SlotWord;
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;

/// The words of a slot. Written by the worker, and by the master when the worker is dead.
#[derive(Default)]
#[repr(C, align(128))]
pub(crate) struct SlotControl {
    word: AtomicU64,
    /// When the script began with the message; 0 while it has not.
    started_at: AtomicU64,
    size: AtomicU32,
    attempts: AtomicU32,
    blamed: AtomicU32,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for SlotControl {}

/// The planned room of a slot.
pub(crate) struct SlotPlace {
    control: Place<SlotControl>,
    bytes: BytesPlace,
}

impl SlotPlace {
    pub(crate) fn reserve(plan: &mut Plan) -> Self {
        let size = RECORD_SIZE_MAX as usize;
        Self { control: plan.reserve(1), bytes: plan.reserve_bytes(size, size) }
    }
}

/// The slot of one worker.
#[derive(Clone)]
pub(crate) struct Slot {
    control: Shared<SlotControl>,
    bytes: SharedBytes,
}

/// A record that cannot be what a producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

impl Slot {
    pub(crate) fn create(segment: &Segment, place: SlotPlace) -> Self {
        Self { control: segment.claim(place.control), bytes: segment.claim_bytes(place.bytes) }
    }

    /// Moves a claimed record into this slot and gives it back to its producer. A corrupt record is given back and
    /// nothing is held.
    ///
    /// # Safety
    /// The record is claimed, and the slot owned and empty: by the caller, or by a dead worker for which the caller
    /// (the master) acts.
    #[inline]
    pub(crate) unsafe fn take(&self, ring: &Ring, ring_index: u32, sequence: u64) -> Result<(), Corrupt> {
        // SAFETY: as our caller promises.
        let copied = unsafe { ring.copy_out(sequence, &self.bytes) };
        pass(Point::TakeCopied);
        // SAFETY: the caller owns the slot.
        let header = copied.and_then(|size| Some((size, unsafe { self.decode(size)? })));
        let Some((size, header)) = header else {
            ring.give_back(sequence);
            return Err(Corrupt);
        };
        self.describe(size, header.history);
        pass(Point::TakeDescribed);
        if mutant::DONE_BEFORE_HOLD {
            ring.give_back(sequence);
        }
        // Release, and before DONE in the order of the program: at every instant the message is in the ring or here.
        self.control().word.store(SlotWord::held(ring_index, sequence).0, Ordering::Release);
        pass(Point::TakeHeld);
        ring.give_back(sequence);
        pass(Point::TakeGivenBack);
        Ok(())
    }

    #[inline]
    fn describe(&self, size: u32, history: History) {
        let control = self.control();
        control.size.store(size, Ordering::Relaxed);
        control.started_at.store(0, Ordering::Relaxed);
        self.set_history(history);
    }

    fn set_history(&self, history: History) {
        self.control().attempts.store(u32::from(history.attempts), Ordering::Relaxed);
        self.control().blamed.store(u32::from(history.blamed), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn word(&self) -> SlotWord {
        SlotWord(self.control().word.load(Ordering::Acquire))
    }

    /// How often the message has been begun and left by a death.
    #[inline]
    pub(crate) fn history(&self) -> History {
        History {
            attempts: self.control().attempts.load(Ordering::Relaxed) as u16,
            blamed: self.control().blamed.load(Ordering::Relaxed) as u16,
        }
    }

    /// Notes that the script begins with the message.
    #[inline]
    pub(crate) fn start(&self, now_ns: u64) {
        self.control().started_at.store(now_ns, Ordering::Release);
        pass(Point::TakeStarted);
    }

    /// When the script began with the message held, in monotonic nanoseconds; 0 when it has not.
    pub(crate) fn started_at(&self) -> u64 {
        self.control().started_at.load(Ordering::Acquire)
    }

    /// Notes that a worker has died over the message, and makes it ready to be begun again.
    ///
    /// `started_at` is cleared first: a master that was interrupted here and repairs again counts nothing twice.
    pub(crate) fn count_attempt(&self, history: History) {
        self.control().started_at.store(0, Ordering::Release);
        self.set_history(history);
    }

    /// Lets go of the message. Release: everything the script did comes before it.
    #[inline]
    pub(crate) fn empty(&self) {
        self.control().word.store(SlotWord::EMPTY.0, Ordering::Release);
    }

    /// The message held and its header; `None` when the slot is not valid.
    ///
    /// # Safety
    /// The slot is held (its word is not 0), belongs to the caller, and is not emptied while the slice lives.
    #[inline]
    pub(crate) unsafe fn message(&self) -> Option<(&[u8], RecordHeader)> {
        let size = self.control().size.load(Ordering::Relaxed);
        // SAFETY: as our caller promises.
        let bytes = unsafe { self.bytes(size as usize)? };
        Some((bytes, RecordHeader::decode(bytes)?))
    }

    /// The first bytes of the slot; `None` when it is not so large.
    ///
    /// # Safety
    /// As for [`message`](Self::message).
    #[inline]
    pub(crate) unsafe fn bytes(&self, size: usize) -> Option<&[u8]> {
        // SAFETY: the word is not 0, so no process writes (see the head of this file).
        unsafe { self.bytes.view(0, size) }
    }

    /// # Safety
    /// The caller owns the slot.
    #[inline]
    unsafe fn decode(&self, size: u32) -> Option<RecordHeader> {
        // SAFETY: the caller owns the slot and does not write while this slice lives.
        RecordHeader::decode(unsafe { self.bytes.view(0, size as usize)? })
    }

    /// What a crashed process might leave: a word that names another ring.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn deface(&self, ring: u32) {
        self.control().word.store(SlotWord::held(ring, 0).0, Ordering::Release);
    }

    #[inline]
    fn control(&self) -> &SlotControl {
        &self.control[0]
    }
}
