//! Counters of all processes: one block per process index, one writer per block, summed by the reader.
//!
//! ```text
//!                counter 0   1   2  …
//!  process 0   │    12      0   7   │   written by process 0 only: a load and a store, no locked instruction
//!  process 1   │     3      9   0   │
//! ```
//!
//! The values stay when a process dies; its successor in the same block counts on. A gauge (a value that goes up and
//! down) is a counter that its process sets; the master sets it to 0 when the process is dead.

use std::ffi::CStr;
use std::io;
use std::ops::Range;

use crate::shm::memory::part::{Part, Tended};
use crate::shm::memory::segment::{Place, Plan, Segment, Shareable, Shared};
use crate::shm::memory::sync::Figure;

// SAFETY: one atomic integer.
unsafe impl Shareable for Figure {}

/// All counters of the server. Made by the master before the first fork.
#[derive(Clone)]
pub struct Counters {
    cells: Shared<Figure>,
    counters: usize,
    stride: usize,
}

/// What counters have room for.
#[derive(Clone, Copy, Debug)]
pub struct CounterRoom {
    /// So many blocks ...
    pub processes: u32,
    /// ... of so many numbers.
    pub counters: u32,
}

/// Where counters are.
pub(crate) struct CounterPlace {
    cells: Place<Figure>,
    counters: usize,
    stride: usize,
}

impl Part for Counters {
    const NAME: &'static CStr = c"sworker-counters";
    type Request = CounterRoom;
    type Place = CounterPlace;
    type Error = io::Error;

    fn reserve(room: &CounterRoom, plan: &mut Plan) -> io::Result<CounterPlace> {
        let counters = room.counters as usize;
        let stride = counters.max(1).next_multiple_of(CELLS_PER_LINE_PAIR);
        let cells = plan.reserve(stride.saturating_mul(room.processes as usize));
        Ok(CounterPlace { cells, counters, stride })
    }

    fn claim(place: CounterPlace, segment: &Segment) -> Counters {
        let CounterPlace { cells, counters, stride } = place;
        Counters { cells: segment.claim(cells), counters, stride }
    }
}

impl Tended for Counters {}

impl Counters {
    /// Room for `counters` numbers in each of `processes` blocks, all 0.
    pub fn create(processes: u32, counters: u32) -> io::Result<Self> {
        Self::make(&CounterRoom { processes, counters })
    }

    /// The block of a process. Only the process that has the index may write to it.
    ///
    /// # Panics
    /// When there is no such block.
    pub fn block(&self, process_index: u32) -> CounterBlock {
        CounterBlock { range: self.range(process_index), cells: self.cells.clone() }
    }

    /// The value over all processes. 0 for a counter that does not exist.
    pub fn sum(&self, counter: u32) -> u64 {
        self.cells.chunks(self.stride).fold(0, |sum, block| sum.wrapping_add(self.read(block, counter)))
    }

    /// The value of one process. 0 for a counter that does not exist.
    ///
    /// # Panics
    /// When there is no such block.
    pub fn value(&self, process_index: u32, counter: u32) -> u64 {
        self.read(&self.cells[self.range(process_index)], counter)
    }

    fn read(&self, block: &[Figure], counter: u32) -> u64 {
        block[..self.counters].get(counter as usize).map_or(0, Figure::read)
    }

    fn range(&self, process_index: u32) -> Range<usize> {
        let start = process_index as usize * self.stride;
        assert!(start + self.stride <= self.cells.len(), "counter block {process_index} was not planned");
        start..start + self.counters
    }
}

/// The counters of one process.
pub struct CounterBlock {
    cells: Shared<Figure>,
    range: Range<usize>,
}

impl CounterBlock {
    /// Counts `count` more.
    ///
    /// # Panics
    /// When there is no such counter.
    #[inline]
    pub fn add(&self, counter: u32, count: u64) {
        self.cells[self.range.clone()][counter as usize].add(count);
    }

    /// Sets a gauge.
    ///
    /// # Panics
    /// When there is no such counter.
    #[inline]
    pub fn set(&self, counter: u32, value: u64) {
        self.cells[self.range.clone()][counter as usize].set(value);
    }

    /// The value of this process.
    ///
    /// # Panics
    /// When there is no such counter.
    pub fn value(&self, counter: u32) -> u64 {
        self.cells[self.range.clone()][counter as usize].read()
    }
}

const CELLS_PER_LINE_PAIR: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_is_over_all_processes() {
        let counters = Counters::create(3, 20).expect("memory");
        for process in 0..3 {
            let block = counters.block(process);
            block.add(0, 1);
            block.add(19, u64::from(process) * 100);
        }
        let rows = [(0, 3), (1, 0), (19, 300), (20, 0), (u32::MAX, 0)];
        for (counter, expected) in rows {
            assert_eq!(counters.sum(counter), expected, "counter {counter}");
        }
        assert_eq!(counters.value(2, 19), 200);
    }

    #[test]
    fn successor_counts_on() {
        let counters = Counters::create(1, 1).expect("memory");
        counters.block(0).add(0, 5);
        counters.block(0).add(0, 2);
        assert_eq!(counters.sum(0), 7);
    }

    #[test]
    fn gauge_follows_its_last_value() {
        let counters = Counters::create(2, 1).expect("memory");
        counters.block(0).set(0, 9);
        counters.block(1).set(0, 1);
        counters.block(0).set(0, 4);
        assert_eq!((counters.sum(0), counters.block(0).value(0)), (5, 4));
    }

    #[test]
    #[should_panic(expected = "counter block 2 was not planned")]
    fn block_that_was_not_planned_is_our_bug() {
        Counters::create(2, 4).expect("memory").block(2);
    }

    #[test]
    fn server_without_counters_is_possible() {
        assert_eq!(Counters::create(1, 0).expect("memory").sum(0), 0);
        assert_eq!(Counters::create(0, 5).expect("memory").sum(0), 0);
    }
}
