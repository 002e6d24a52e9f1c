//! Durations counted in classes that double: cheap to add to, small enough to publish.
//!
//! ```text
//!  class 0: below 2 µs   1: 2–4 µs   2: 4–8 µs   …   22: 4–8 s   23: all above      (a µs here is 1024 ns)
//! ```

use crate::shm::memory::sync::Figure;

/// How many classes there are.
pub const CLASS_COUNT: usize = 24;

/// Written by one process.
#[derive(Default)]
#[repr(C)]
pub(crate) struct HistogramFigures {
    classes: [Figure; CLASS_COUNT],
}

impl HistogramFigures {
    /// Counts one duration.
    #[inline]
    pub(crate) fn add(&self, duration_ns: u64) {
        self.classes[class_of(duration_ns)].add(1);
    }

    pub(crate) fn read(&self) -> Histogram {
        Histogram(std::array::from_fn(|class| self.classes[class].read()))
    }
}

/// How many durations fell into each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram(pub [u64; CLASS_COUNT]);

impl Histogram {
    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Histogram) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// How many there are in all classes.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time within which this many of a hundred lie, in nanoseconds: the upper end of the class. 0 when nothing
    /// was counted.
    pub fn percentile_ns(&self, percent: u64) -> u64 {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (class, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return UNIT_NS << (class + 1);
            }
        }
        0
    }
}

const UNIT_NS: u64 = 1024;

#[inline]
fn class_of(duration_ns: u64) -> usize {
    let units = duration_ns / UNIT_NS;
    ((u64::BITS - (units >> 1).leading_zeros()) as usize).min(CLASS_COUNT - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_classes() {
        let check = |duration_ns: u64, expected: usize| {
            assert_eq!(class_of(duration_ns), expected, "{duration_ns} ns");
        };
        check(0, 0);
        check(2 * UNIT_NS - 1, 0);
        check(2 * UNIT_NS, 1);
        check(4 * UNIT_NS - 1, 1);
        check(4 * UNIT_NS, 2);
        check(UNIT_NS << 10, 10);
        check(UNIT_NS << 23, 23);
        check(u64::MAX, 23);
    }

    #[test]
    fn percentiles_are_the_upper_ends_of_classes() {
        let figures = HistogramFigures::default();
        assert_eq!(figures.read().percentile_ns(99), 0);
        (0..98).for_each(|_| figures.add(5 * UNIT_NS));
        (0..2).for_each(|_| figures.add(1_000 * UNIT_NS));
        let mut histogram = figures.read();
        assert_eq!((histogram.count(), histogram.percentile_ns(50)), (100, 8 * UNIT_NS));
        assert_eq!((histogram.percentile_ns(98), histogram.percentile_ns(99)), (8 * UNIT_NS, 1024 * UNIT_NS));
        histogram.add(&figures.read());
        assert_eq!(histogram.count(), 200);
    }
}
