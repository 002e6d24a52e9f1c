//! The messages that were set aside lately: a copy of one is answered with 500 before it ends another process.
//!
//! A sender repeats a request until it is answered, up to seven times in 32 seconds (RFC 3261 17.1.1.2), and its copies
//! are the same to the byte. The master writes here what it sets aside; receivers and workers look before they run the
//! script. While nothing was set aside that look is one load.
//!
//! A generation begins with an empty memory: under another script the message gets another chance.

use std::ffi::CStr;
use std::io;

use crate::shm::{
    CounterBlock, CounterPlace, CounterRoom, Counters, Part, Plan, Segment, Tended, fingerprint,
};

/// In place of a group, for messages that ended their receivers ...
const NO_GROUP: u16 = u16::MAX;
/// ... and for those whose copies did so again: whoever reads them ends, even without the script.
const UNREADABLE: u16 = u16::MAX - 1;

/// 64 times T1, after which its sender gives a transaction up.
const REMEMBERED_FOR_NS: u64 = 32_000_000_000;
/// Of more messages than this the oldest are forgotten.
const PLACES: u32 = 64;
/// How many were noted ever.
const NOTED: u32 = 0;
/// When the last one will be forgotten; 0 where there was none. Behind it two numbers for each place, key and end.
const LAST_END: u32 = 1;
const FIRST_PLACE: u32 = 2;

/// What is known of a message before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Not,
    /// It is a copy of one that ended its receivers.
    Copy,
    /// It is one whose copies ended receivers, too, that were only to refuse them.
    Unreadable,
}

/// The memory; a look at it is shared, to write belongs to the master.
pub struct PoisonCache {
    numbers: CounterBlock,
}

impl Part for PoisonCache {
    const NAME: &'static CStr = c"sworker-poison";
    type Request = ();
    type Place = CounterPlace;
    type Error = io::Error;

    fn reserve(_: &(), plan: &mut Plan) -> io::Result<CounterPlace> {
        Counters::reserve(&CounterRoom { processes: 1, counters: FIRST_PLACE + 2 * PLACES }, plan)
    }

    fn claim(place: CounterPlace, segment: &Segment) -> PoisonCache {
        PoisonCache { numbers: Counters::claim(place, segment).block(0) }
    }
}

impl Tended for PoisonCache {}

impl PoisonCache {
    /// An empty one.
    pub fn create() -> io::Result<PoisonCache> {
        Self::make(&())
    }

    /// Notes a message of this group that was set aside; for the master.
    pub fn note(&self, group: u16, message: &[u8], now_ns: u64) {
        let noted = self.numbers.value(NOTED);
        let place = key_of((noted % u64::from(PLACES)) as u32);
        // A reader between these two sees the new key with the old end, and lets one more copy through at worst.
        self.numbers.set(place, key(group, message));
        let end_ns = now_ns.saturating_add(REMEMBERED_FOR_NS);
        self.numbers.set(place + 1, end_ns);
        self.numbers.set(NOTED, noted + 1);
        self.numbers.set(LAST_END, end_ns);
    }

    /// The same for a message that ended its receivers.
    pub fn note_of_receivers(&self, message: &[u8], now_ns: u64) {
        let is_copy = self.knows(NO_GROUP, message, || now_ns);
        self.note(if is_copy { UNREADABLE } else { NO_GROUP }, message, now_ns);
    }

    /// What a receiver is to do with a message that may be a copy of one that ended others.
    #[inline]
    pub fn known_to_receivers(&self, message: &[u8], now_ns: impl Fn() -> u64) -> Known {
        if self.numbers.value(LAST_END) == 0 || !self.knows(NO_GROUP, message, &now_ns) {
            Known::Not
        } else if self.knows(UNREADABLE, message, &now_ns) {
            Known::Unreadable
        } else {
            Known::Copy
        }
    }

    /// Whether this is a copy of a message that was set aside in this group lately.
    #[inline]
    pub fn knows(&self, group: u16, message: &[u8], now_ns: impl FnOnce() -> u64) -> bool {
        self.numbers.value(LAST_END) > 0 && self.finds(group, message, now_ns())
    }

    #[cold]
    fn finds(&self, group: u16, message: &[u8], now_ns: u64) -> bool {
        if now_ns >= self.numbers.value(LAST_END) {
            return false;
        }
        let wanted = key(group, message);
        (0..PLACES)
            .map(key_of)
            .any(|place| self.numbers.value(place) == wanted && self.numbers.value(place + 1) > now_ns)
    }
}

fn key_of(place: u32) -> u32 {
    FIRST_PLACE + 2 * place
}

fn key(group: u16, message: &[u8]) -> u64 {
    fingerprint(&[&group.to_be_bytes(), message])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_known_in_its_group_for_as_long_as_its_sender_repeats_it() {
        let memory = PoisonCache::create().expect("memory");
        let knows = |group, message: &str, now_ns| memory.knows(group, message.as_bytes(), || now_ns);
        assert!(!knows(1, "poison", 5));
        memory.note(1, b"poison", 5);
        let rows = [
            (1, "poison", 5, true),
            (1, "poison", 4 + REMEMBERED_FOR_NS, true),
            (1, "poison", 5 + REMEMBERED_FOR_NS, false),
            (0, "poison", 5, false),
            (1, "poison ", 5, false),
            (1, "", 5, false),
        ];
        for (group, message, now_ns, expected) in rows {
            assert_eq!(knows(group, message, now_ns), expected, "{message:?} of {group} at {now_ns}");
        }
    }

    #[test]
    fn what_ends_receivers_that_only_refuse_it_is_not_even_read() {
        let memory = PoisonCache::create().expect("memory");
        let known = |message: &[u8]| memory.known_to_receivers(message, || 5);
        assert_eq!(known(b"poison"), Known::Not);
        memory.note_of_receivers(b"poison", 5);
        assert_eq!((known(b"poison"), known(b"other")), (Known::Copy, Known::Not));
        memory.note_of_receivers(b"poison", 5);
        assert_eq!((known(b"poison"), known(b"other")), (Known::Unreadable, Known::Not));
        assert_eq!(memory.known_to_receivers(b"poison", || 5 + REMEMBERED_FOR_NS), Known::Not);
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let memory = PoisonCache::create().expect("memory");
        for number in 0..=PLACES {
            memory.note(0, &number.to_be_bytes(), 1);
        }
        let knows = |number: u32| memory.knows(0, &number.to_be_bytes(), || 1);
        assert_eq!((knows(0), knows(1), knows(PLACES)), (false, true, true));
    }
}
