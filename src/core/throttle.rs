//! Says a repeated complaint once a second, and how often it was meant to be said.
//!
//! ```
//! use sworker::core::throttle::Throttle;
//!
//! let throttle = Throttle::default();
//! assert_eq!(throttle.pass(5_000_000_000), Some(0));
//! assert_eq!(throttle.pass(5_100_000_000), None);
//! assert_eq!(throttle.pass(6_000_000_000), Some(1));
//! ```

use std::cell::Cell;

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
    pub fn pass(&self, now_ns: u64) -> Option<u64> {
        let last = self.last_at_ns.get();
        let is_due = last == 0 || now_ns < last || now_ns - last >= INTERVAL_NS;
        if !is_due {
            self.withheld_count.set(self.withheld_count.get() + 1);
            return None;
        }
        self.last_at_ns.set(now_ns);
        Some(self.withheld_count.replace(0))
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
            assert_eq!(throttle.pass(now_ns), expected, "at {now_ns}");
        }
    }
}
