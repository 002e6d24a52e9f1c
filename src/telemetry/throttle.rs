//! Holds repeated complaints back: the same one, or the same one about the same source.
//!
//! [`Throttle`] says one complaint once a second, and how often it was meant to be said. [`SourceThrottle`] does so for
//! lines about messages, whose number the network decides: each class of line about each source may come in a burst,
//! then once a second. Its memory is a table of fixed size; sources that share a place share their burst as well, so
//! the log stays small for any senders.
//!
//! ```
//! use sworker::telemetry::throttle::{Throttle, Withheld};
//!
//! let throttle = Throttle::default();
//! assert_eq!(throttle.pass(5_000_000_000), Some(Withheld(0)));
//! assert_eq!(throttle.pass(5_100_000_000), None);
//! assert_eq!(throttle.pass(6_000_000_000).unwrap().to_string(), " (suppressed 1 similar lines)");
//! ```

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash};
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

/// How often a line was withheld since it was last written; shown at its end if it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withheld(pub u64);

impl fmt::Display for Withheld {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(out, " (suppressed {count} similar lines)"),
        }
    }
}

/// One complaint.
#[derive(Debug, Default)]
pub struct Throttle {
    last_at_ns: Cell<u64>,
    withheld_count: Cell<u64>,
}

const INTERVAL_NS: u64 = 1_000_000_000;

impl Throttle {
    /// Whether to say it at this time, and how often it was withheld since it was last said. Time that goes backwards
    /// counts as a new beginning.
    pub fn pass(&self, now_ns: u64) -> Option<Withheld> {
        let last = self.last_at_ns.get();
        let is_due = last == 0 || now_ns < last || now_ns - last >= INTERVAL_NS;
        if !is_due {
            self.withheld_count.set(self.withheld_count.get() + 1);
            return None;
        }
        self.last_at_ns.set(now_ns);
        Some(Withheld(self.withheld_count.replace(0)))
    }
}

/// Lines about messages, by class and source.
#[derive(Debug)]
pub struct SourceThrottle {
    places: Box<[Place]>,
}

/// One class of lines about one source, or those whose hashes meet here.
#[derive(Debug, Default)]
struct Place {
    /// Lines that may be written at once; one comes back each second.
    spent: Cell<u32>,
    since_ns: Cell<u64>,
    withheld_count: Cell<u64>,
}

/// How many lines of one class about one source are written at once.
const BURST: u32 = 10;
const PLACE_COUNT: usize = 256;

impl Default for SourceThrottle {
    fn default() -> Self {
        SourceThrottle { places: (0..PLACE_COUNT).map(|_| Place::default()).collect() }
    }
}

impl SourceThrottle {
    /// Whether to write a line of this class about this source, and how many were withheld since the last one.
    pub fn pass(&self, class: impl Hash, source: IpAddr, now_ns: u64) -> Option<u64> {
        let hash = BuildHasherDefault::<SipHasher13>::default().hash_one((class, source));
        self.places[hash as usize % PLACE_COUNT].pass(now_ns)
    }
}

impl Place {
    fn pass(&self, now_ns: u64) -> Option<u64> {
        self.give_back(now_ns);
        if self.spent.get() >= BURST {
            self.withheld_count.set(self.withheld_count.get() + 1);
            return None;
        }
        self.spent.set(self.spent.get() + 1);
        Some(self.withheld_count.replace(0))
    }

    /// Gives one line back for each second that went by; all of them when time went backwards.
    fn give_back(&self, now_ns: u64) {
        let since = self.since_ns.get();
        if now_ns < since || self.spent.get() == 0 {
            self.since_ns.set(now_ns);
            self.spent.set(0);
            return;
        }
        let seconds = (now_ns - since) / INTERVAL_NS;
        self.since_ns.set(since + seconds * INTERVAL_NS);
        self.spent.set(self.spent.get().saturating_sub(u32::try_from(seconds).unwrap_or(BURST)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_said_once_a_second() {
        let throttle = Throttle::default();
        let rows = [
            (10, Some(0)),
            (10, None),
            (10 + INTERVAL_NS - 1, None),
            (10 + INTERVAL_NS, Some(2)),
            (11 + INTERVAL_NS, None),
            (5, Some(1)),
            (6, None),
        ];
        for (now_ns, expected) in rows {
            assert_eq!(throttle.pass(now_ns), expected.map(Withheld), "at {now_ns}");
        }
    }

    #[test]
    fn what_was_withheld_is_told_where_there_was_any() {
        assert_eq!(format!("no{}", Withheld(0)), "no");
        assert_eq!(format!("no{}", Withheld(2)), "no (suppressed 2 similar lines)");
    }

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_source_has_a_burst_and_then_a_line_a_second() {
        let throttle = SourceThrottle::default();
        let start = 1_800_000_000 * INTERVAL_NS;
        let passed = |now: u64, count: usize| -> Vec<u64> {
            (0..count).filter_map(|_| throttle.pass("class", source(1), now)).collect()
        };
        assert_eq!(passed(start, 100), [0; BURST as usize]);
        assert!(passed(start + INTERVAL_NS - 1, 10).is_empty());
        assert_eq!(passed(start + INTERVAL_NS, 10), [100], "what was withheld is told");
        assert!(passed(start + INTERVAL_NS + 1, 5).is_empty());
        assert_eq!(passed(start + 3 * INTERVAL_NS, 5), [14, 0]);
        assert_eq!(
            passed(start + 1000 * INTERVAL_NS, 30).len(),
            BURST as usize,
            "after a calm the burst is back"
        );
        assert_eq!(passed(start, 1), [20], "time that goes backwards is a new beginning");
    }

    #[test]
    fn classes_and_sources_do_not_share_a_burst() {
        let throttle = SourceThrottle::default();
        while throttle.pass("class", source(1), 1).is_some() {}
        assert_eq!(throttle.pass("other", source(1), 1), Some(0));
        assert_eq!(throttle.pass("class", source(2), 1), Some(0));
    }

    #[test]
    fn any_number_of_sources_fills_a_table_of_fixed_size() {
        let throttle = SourceThrottle::default();
        let written = (0..1_000_000u32)
            .filter(|&number| throttle.pass("class", IpAddr::from(number.to_be_bytes()), 1).is_some())
            .count();
        assert_eq!(written, PLACE_COUNT * BURST as usize);
    }
}
