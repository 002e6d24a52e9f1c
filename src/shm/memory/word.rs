//! The two words that name the owner of a message: one per descriptor, one per worker's slot.
//!
//! ```text
//!  descriptor   sequence:48 | tag:16     tag = 0 done · 1 ready · 0x8000|worker claimed
//!  slot         1 | ring:15 | sequence:48     or 0 when the worker holds nothing
//! ```
//!
//! A sequence never repeats (2^48 records are 8 years at a million a second), so a compare-and-swap on a word can
//! only succeed on the record it was meant for. The zero word is "record 0 is done".

/// The state of one record of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordState {
    /// Not in use: the producer may put record `sequence + capacity` there.
    Done,
    /// Published, waits for a worker.
    Ready,
    /// This worker is copying it out.
    Claimed(u32),
    /// No protocol writes this.
    Broken,
}

/// A descriptor's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordWord(pub(crate) u64);

impl RecordWord {
    #[inline]
    pub(crate) fn done(sequence: u64) -> Self {
        Self(sequence << TAG_BITS)
    }

    #[inline]
    pub(crate) fn ready(sequence: u64) -> Self {
        Self(sequence << TAG_BITS | TAG_READY)
    }

    #[inline]
    pub(crate) fn claimed(sequence: u64, worker: u32) -> Self {
        Self(sequence << TAG_BITS | TAG_CLAIMED | u64::from(worker))
    }

    #[inline]
    pub(crate) fn sequence(self) -> u64 {
        self.0 >> TAG_BITS
    }

    pub(crate) fn state(self) -> RecordState {
        match self.0 & TAG_MASK {
            TAG_DONE => RecordState::Done,
            TAG_READY => RecordState::Ready,
            tag if tag & TAG_CLAIMED != 0 => RecordState::Claimed((tag & !TAG_CLAIMED) as u32),
            _ => RecordState::Broken,
        }
    }
}

/// A slot's word: the message a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotWord(pub(crate) u64);

impl SlotWord {
    pub(crate) const EMPTY: Self = Self(0);

    #[inline]
    pub(crate) fn held(ring: u32, sequence: u64) -> Self {
        Self(HELD | u64::from(ring) << SEQUENCE_BITS | sequence & SEQUENCE_MASK)
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// The ring the message came from.
    pub(crate) fn ring(self) -> u32 {
        ((self.0 & !HELD) >> SEQUENCE_BITS) as u32
    }

    /// Whether the message came from this record.
    pub(crate) fn is_of(self, ring: u32, sequence: u64) -> bool {
        self == Self::held(ring, sequence)
    }
}

/// The highest number of workers a word can name.
pub(crate) const WORKERS_MAX: u32 = 1 << 10;
/// The highest number of rings of a group a word can name.
pub(crate) const RINGS_MAX: u32 = 1 << 15;

const TAG_BITS: u32 = 16;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
const TAG_DONE: u64 = 0;
const TAG_READY: u64 = 1;
const TAG_CLAIMED: u64 = 0x8000;
const HELD: u64 = 1 << 63;
const SEQUENCE_BITS: u32 = 48;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn record_words_read_back() {
        let last = SEQUENCE_MASK;
        let rows = [
            (RecordWord(0), 0, RecordState::Done),
            (RecordWord::done(5), 5, RecordState::Done),
            (RecordWord::ready(last), last, RecordState::Ready),
            (RecordWord::claimed(7, 0), 7, RecordState::Claimed(0)),
            (RecordWord::claimed(last, WORKERS_MAX), last, RecordState::Claimed(WORKERS_MAX)),
            (RecordWord(2), 0, RecordState::Broken),
        ];
        for (word, sequence, state) in rows {
            assert_eq!((word.sequence(), word.state()), (sequence, state), "{word:?}");
        }
    }

    #[test]
    fn slot_words_tell_their_record() {
        let word = SlotWord::held(RINGS_MAX - 1, SEQUENCE_MASK);
        assert!(word.is_of(RINGS_MAX - 1, SEQUENCE_MASK));
        assert_eq!(word.ring(), RINGS_MAX - 1);
        assert!(!word.is_of(0, SEQUENCE_MASK));
        assert!(!word.is_of(RINGS_MAX - 1, 0));
        assert!(!word.is_empty());
        assert!(SlotWord(0).is_empty());
    }
}
