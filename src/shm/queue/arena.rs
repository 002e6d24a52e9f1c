//! Where a producer puts the bytes of its records: a ring of bytes, used in order and given back in order.
//!
//! ```text
//!   0                                                    size
//!   ├──────────┬───────────────┬──────────────┬──────────┤
//!   │ record n │ free          │ record n-2   │ rec n-1 ░│   ░ skipped: a record never wraps
//!   └──────────┴───────────────┴──────────────┴──────────┘
//!              ▲ next          ▲ reclaimed
//! ```
//!
//! Positions count bytes since the beginning of time; `position % size` is the place. All of this is private memory
//! of the producer and pure arithmetic: what it needs to know after a crash is rebuilt from the descriptors.

/// The unit of allocation: a cache line.
pub(crate) const LINE_SIZE: u32 = 64;

/// The free and the used part of one arena.
pub(crate) struct Arena {
    size: u64,
    reclaimed: u64,
    next: u64,
    /// The position after each live record, by its sequence modulo the ring's capacity.
    ends: Box<[u64]>,
}

impl Arena {
    /// An arena of `size` bytes without records. Both numbers are powers of two.
    pub(crate) fn new(size: u32, capacity: u64) -> Self {
        debug_assert!(size.is_power_of_two() && capacity.is_power_of_two());
        Self { size: u64::from(size), reclaimed: 0, next: 0, ends: vec![0; capacity as usize].into() }
    }

    /// A position for `record_size` contiguous bytes, or `None` while there is no room.
    #[inline]
    pub(crate) fn find(&self, record_size: u32) -> Option<u64> {
        self.find_when(self.reclaimed, record_size)
    }

    /// Whether there would be room if the bytes of all records up to `sequence`, which is in use, were given back.
    pub(crate) fn has_room_after(&self, sequence: u64, record_size: u32) -> bool {
        self.find_when(self.ends[self.index(sequence)], record_size).is_some()
    }

    #[inline]
    fn find_when(&self, reclaimed: u64, record_size: u32) -> Option<u64> {
        let need = lines(record_size);
        let until_wrap = self.size - self.offset(self.next);
        let start = if need > until_wrap { self.next + until_wrap } else { self.next };
        (start + need - reclaimed <= self.size).then_some(start)
    }

    /// The place of a position in the arena.
    #[inline]
    pub(crate) fn offset(&self, position: u64) -> u64 {
        position & (self.size - 1)
    }

    /// Takes the bytes that `find` has found for the record `sequence`.
    #[inline]
    pub(crate) fn occupy(&mut self, sequence: u64, position: u64, record_size: u32) {
        self.next = position + lines(record_size);
        let index = self.index(sequence);
        self.ends[index] = self.next;
    }

    /// Gives back the bytes of the oldest record, `sequence`.
    #[inline]
    pub(crate) fn reclaim(&mut self, sequence: u64) {
        self.reclaimed = self.ends[self.index(sequence)];
    }

    /// Takes over a record that a predecessor left, oldest first. A description that cannot be true takes no room: the
    /// reader of the record will refuse it as well.
    pub(crate) fn restore(&mut self, sequence: u64, offset: u32, record_size: u32) {
        let mut position = self.next;
        if u64::from(offset) + lines(record_size) <= self.size && offset.is_multiple_of(LINE_SIZE) {
            let lap_start = self.next - self.offset(self.next);
            let lap =
                if u64::from(offset) >= self.offset(self.next) { lap_start } else { lap_start + self.size };
            let restored_end = lap + u64::from(offset) + lines(record_size);
            if self.is_empty() {
                self.reclaimed = lap + u64::from(offset);
            }
            if restored_end - self.reclaimed <= self.size {
                position = restored_end;
            }
        }
        self.next = position;
        let index = self.index(sequence);
        self.ends[index] = position;
    }

    /// Bytes that records occupy, with what was skipped between them.
    pub(crate) fn used_size(&self) -> u64 {
        self.next - self.reclaimed
    }

    fn is_empty(&self) -> bool {
        self.next == self.reclaimed
    }

    #[inline]
    fn index(&self, sequence: u64) -> usize {
        (sequence as usize) & (self.ends.len() - 1)
    }
}

#[inline]
fn lines(record_size: u32) -> u64 {
    u64::from(record_size).next_multiple_of(u64::from(LINE_SIZE))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// What a producer does, or what happens to it.
    #[derive(Clone, Debug)]
    enum Step {
        Push(u32),
        /// The oldest records are done.
        Reclaim(usize),
        /// The producer died; its successor takes over, when this number of the oldest records are done.
        Attach(usize),
    }

    #[derive(Clone, Copy, Debug)]
    struct Live {
        sequence: u64,
        offset: u32,
        size: u32,
    }

    /// The arena beside a plain list of what must be in it.
    struct Pair {
        arena: Arena,
        live: VecDeque<Live>,
        next_sequence: u64,
        arena_size: u32,
        capacity: u64,
    }

    impl Pair {
        fn new(arena_size: u32, capacity: u64) -> Self {
            let arena = Arena::new(arena_size, capacity);
            Self { arena, live: VecDeque::new(), next_sequence: capacity, arena_size, capacity }
        }

        fn step(&mut self, step: &Step) {
            match *step {
                Step::Push(size) => self.push(size),
                Step::Reclaim(count) => self.reclaim(count),
                Step::Attach(count) => self.attach(count),
            }
            assert!(self.arena.used_size() <= u64::from(self.arena_size));
        }

        fn push(&mut self, size: u32) {
            if self.live.len() as u64 == self.capacity {
                return;
            }
            let Some(position) = self.arena.find(size) else {
                assert!(!self.live.is_empty(), "an empty arena refused {size} bytes");
                return;
            };
            let offset = self.arena.offset(position) as u32;
            self.check_place(offset, size);
            self.arena.occupy(self.next_sequence, position, size);
            self.live.push_back(Live { sequence: self.next_sequence, offset, size });
            self.next_sequence += 1;
        }

        fn check_place(&self, offset: u32, size: u32) {
            assert!(offset.is_multiple_of(LINE_SIZE));
            assert!(offset + size <= self.arena_size, "a record wraps");
            for other in &self.live {
                let is_apart = offset + size <= other.offset || other.offset + other.size <= offset;
                assert!(is_apart, "{offset}+{size} overlaps {other:?}");
            }
        }

        fn reclaim(&mut self, count: usize) {
            for _ in 0..count.min(self.live.len()) {
                let oldest = self.live.pop_front().expect("counted");
                self.arena.reclaim(oldest.sequence);
            }
            if self.live.is_empty() {
                assert_eq!(self.arena.used_size(), 0, "bytes stay behind");
            }
        }

        fn attach(&mut self, done: usize) {
            self.live.drain(..done.min(self.live.len()));
            self.arena = Arena::new(self.arena_size, self.capacity);
            for record in &self.live {
                self.arena.restore(record.sequence, record.offset, record.size);
            }
            let sum = self.live.iter().map(|record| lines(record.size)).sum::<u64>();
            assert!(self.arena.used_size() >= sum, "a live record is taken for free");
        }
    }

    fn sizes(limit: u32) -> impl Strategy<Value = u32> {
        prop_oneof![8 => 1..=limit.min(2000), 1 => 1..=limit, 1 => Just(limit)]
    }

    fn steps(limit: u32) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => sizes(limit).prop_map(Step::Push),
            3 => (0_usize..6).prop_map(Step::Reclaim),
            1 => (0_usize..6).prop_map(Step::Attach),
        ];
        prop::collection::vec(step, 1..400)
    }

    fn check(steps: &[Step], arena_size: u32, capacity: u64) {
        let mut pair = Pair::new(arena_size, capacity);
        steps.iter().for_each(|step| pair.step(step));
        pair.reclaim(usize::MAX);
    }

    proptest! {
        #[test]
        fn live_records_never_overlap_in_a_large_arena(steps in steps(65_535 + 32)) {
            check(&steps, 512 * 1024, 64);
        }

        #[test]
        fn live_records_never_overlap_in_a_tight_arena(steps in steps(1024)) {
            check(&steps, 4096, 8);
        }

        #[test]
        fn successor_survives_any_descriptors(
            descriptors in prop::collection::vec((any::<u32>(), any::<u32>()), 1..64),
            aligned in any::<bool>(),
        ) {
            let mut arena = Arena::new(4096, 64);
            for (sequence, (offset, size)) in (64..).zip(&descriptors) {
                let (offset, size) = if aligned { (offset % 64 * LINE_SIZE, size % 1024 + 1) } else { (*offset, *size) };
                arena.restore(sequence, offset, size);
                prop_assert!(arena.used_size() <= 4096);
            }
            for sequence in (64..).take(descriptors.len()) {
                arena.reclaim(sequence);
            }
            prop_assert_eq!(arena.used_size(), 0);
            prop_assert!(arena.find(1024).is_some());
        }
    }

    #[test]
    fn record_that_does_not_fit_before_the_wrap_starts_at_the_beginning() {
        let mut pair = Pair::new(1024, 8);
        for size in [256, 256, 256] {
            pair.push(size);
        }
        pair.push(128);
        pair.reclaim(2);
        pair.push(256);
        assert_eq!(pair.live.iter().map(|record| record.offset).collect::<Vec<_>>(), [512, 768, 0]);
    }
}
