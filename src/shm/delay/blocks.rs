//! The bytes of delayed messages: blocks of one size, as many to a message as it needs, in a chain.
//!
//! ```text
//!  slot 7 ─first_block─► [slot 7 | next 12] ─► [slot 7 | next none]        a free block: 0
//!                         1 KiB of bytes        1 KiB of bytes
//! ```
//!
//! A block says in one word to which slot it belongs and which block follows, so taking it is one compare-and-exchange.
//!
//! **Invariants**
//! - Only the process that holds the slot changes the word of its blocks or touches their bytes. So a slot whose
//!   process died tells which blocks are to be freed, also when its chain was half made or half freed.
//! - A chain is read as something that a crashed process wrote: a block of another slot ends it.

use crate::shm::memory::segment::{BytesPlace, Place, Plan, Segment, Shareable, Shared, SharedBytes};
use crate::shm::memory::sync::{AtomicU64, Ordering};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;
use crate::shm::queue::record::RECORD_SIZE_MAX;

/// Owner and successor of a block.
#[derive(Default)]
#[repr(transparent)]
pub(super) struct BlockWord(AtomicU64);

// SAFETY: one atomic integer.
unsafe impl Shareable for BlockWord {}

/// The value of a [`BlockWord`]: the number of the slot plus one above, the index of the next block below.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link(u64);

impl Link {
    const FREE: Link = Link(0);

    fn new(slot: u32, next: u32) -> Link {
        Link((u64::from(slot) + 1) << 32 | u64::from(next))
    }

    fn belongs_to(self, slot: u32) -> bool {
        self.0 >> 32 == u64::from(slot) + 1
    }

    fn next(self) -> u32 {
        self.0 as u32
    }
}

/// The planned room of all blocks.
pub(super) struct BlocksPlace {
    words: Place<BlockWord>,
    bytes: BytesPlace,
}

impl BlocksPlace {
    pub(super) fn reserve(plan: &mut Plan, count: usize) -> BlocksPlace {
        BlocksPlace {
            words: plan.reserve(count),
            bytes: plan.reserve_bytes(count.saturating_mul(BLOCK_SIZE), BLOCK_SIZE),
        }
    }
}

/// All blocks.
#[derive(Clone)]
pub(super) struct Blocks {
    words: Shared<BlockWord>,
    bytes: SharedBytes,
}

impl Blocks {
    pub(super) fn claim(segment: &Segment, place: BlocksPlace) -> Blocks {
        Blocks { words: segment.claim(place.words), bytes: segment.claim_bytes(place.bytes) }
    }

    pub(super) fn count(&self) -> usize {
        self.words.len()
    }

    pub(super) fn free_count(&self) -> usize {
        self.words.iter().filter(|word| word.0.load(Ordering::Relaxed) == Link::FREE.0).count()
    }

    /// Chains `count` free blocks for a slot that this process holds, and gives the first one; with fewer free blocks
    /// it takes none. The search begins at `cursor`.
    pub(super) fn take(&self, slot: u32, count: u32, cursor: &mut usize) -> Option<u32> {
        let (mut first, mut missing) = (NONE, count);
        for index in (*cursor..self.count()).chain(0..*cursor) {
            if !self.take_one(index, Link::new(slot, first)) {
                continue;
            }
            pass(Point::BlockTaken);
            (first, missing) = (index as u32, missing - 1);
            if missing == 0 {
                *cursor = (index + 1) % self.count();
                return Some(first);
            }
        }
        self.release(slot, first);
        None
    }

    fn take_one(&self, index: usize, link: Link) -> bool {
        let word = &self.words[index].0;
        let free = Link::FREE.0;
        // Acquire: pairs with the Release of `free`; the message before this one has been read to its end.
        word.load(Ordering::Relaxed) == free
            && word.compare_exchange(free, link.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Writes the parts one after the other; `None` when they do not fit into the chain.
    ///
    /// # Safety
    /// This process holds the slot, and took the chain for it.
    pub(super) unsafe fn write(&self, slot: u32, first: u32, parts: &[&[u8]]) -> Option<()> {
        let mut chain = self.chain(slot, first);
        let (mut block, mut used) = (chain.next()?, 0);
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                if used == BLOCK_SIZE {
                    (block, used) = (chain.next()?, 0);
                }
                let (now, later) = rest.split_at(rest.len().min(BLOCK_SIZE - used));
                // SAFETY: the block belongs to the slot, which the caller holds, so no other process touches it.
                unsafe { self.bytes.write(block * BLOCK_SIZE + used, now)? };
                (rest, used) = (later, used + now.len());
            }
        }
        Some(())
    }

    /// Replaces `target` by the first `size` bytes of a chain; `None` when the chain holds less.
    ///
    /// # Safety
    /// This process holds the slot.
    pub(super) unsafe fn read(&self, slot: u32, first: u32, size: u32, target: &mut Vec<u8>) -> Option<()> {
        target.clear();
        let size = Some(size).filter(|size| *size <= RECORD_SIZE_MAX)? as usize;
        let mut chain = self.chain(slot, first);
        while target.len() < size {
            let (block, part) = (chain.next()?, (size - target.len()).min(BLOCK_SIZE));
            // SAFETY: the block belongs to the slot, which the caller holds, so no other process writes it.
            target.extend_from_slice(unsafe { self.bytes.view(block * BLOCK_SIZE, part)? });
        }
        Some(())
    }

    /// Frees the chain of a slot that this process holds.
    pub(super) fn release(&self, slot: u32, first: u32) {
        self.chain(slot, first).for_each(|index| self.free(index));
    }

    /// Frees every block of a slot whose chain may be broken. This process holds the slot, or its holder is dead.
    pub(super) fn release_all_of(&self, slot: u32) {
        for (index, word) in self.words.iter().enumerate() {
            if Link(word.0.load(Ordering::Relaxed)).belongs_to(slot) {
                self.free(index);
            }
        }
    }

    fn free(&self, index: usize) {
        // Release: pairs with the Acquire of `take_one`; the message has been read before another is written here.
        self.words[index].0.store(Link::FREE.0, mutant::BLOCK_FREED);
        pass(Point::BlockFreed);
    }

    /// The blocks of a slot from `first` on, up to the end of the chain or to a block of another slot. A block may be
    /// freed when the iterator has given it.
    fn chain(&self, slot: u32, first: u32) -> impl Iterator<Item = usize> {
        let mut next = first;
        std::iter::from_fn(move || {
            let index = next as usize;
            let link = Link(self.words.get(index)?.0.load(Ordering::Relaxed));
            next = link.next();
            link.belongs_to(slot).then_some(index)
        })
    }
}

/// How many blocks a message of this size takes.
pub(super) fn block_count(size: u32) -> u32 {
    size.div_ceil(BLOCK_SIZE as u32)
}

/// The end of a chain: there are fewer blocks.
const NONE: u32 = u32::MAX;

/// Most requests fit into one block or two; the largest message takes 72.
#[cfg(not(loom))]
pub(super) const BLOCK_SIZE: usize = 1024;
/// In the model a small message has two blocks.
#[cfg(loom)]
pub(super) const BLOCK_SIZE: usize = 64;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn blocks(count: usize) -> Blocks {
        let mut plan = Plan::default();
        let place = BlocksPlace::reserve(&mut plan, count);
        Blocks::claim(&plan.create(c"sworker-test").expect("memory"), place)
    }

    #[test]
    fn what_is_written_over_the_edges_of_blocks_reads_back() {
        let blocks = blocks(80);
        let mut read = Vec::new();
        for size in [1, 1023, 1024, 1025, 2048, 5000, RECORD_SIZE_MAX] {
            let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            let (head, rest) = bytes.split_at(size as usize / 3);
            let first = blocks.take(5, block_count(size), &mut 40).expect("blocks");
            // SAFETY: this is the only process.
            unsafe {
                assert_eq!(blocks.write(5, first, &[head, b"", rest]), Some(()), "{size}");
                assert_eq!(blocks.read(5, first, size, &mut read), Some(()), "{size}");
            }
            assert!(read == bytes, "{size}");
            assert_eq!(blocks.free_count(), 80 - block_count(size) as usize);
            blocks.release(5, first);
            assert_eq!(blocks.free_count(), 80);
        }
    }

    #[test]
    fn too_few_blocks_are_none() {
        let blocks = blocks(4);
        let mut cursor = 3;
        assert!(blocks.take(0, 3, &mut cursor).is_some());
        assert_eq!((blocks.take(1, 2, &mut cursor), blocks.free_count()), (None, 1));
        assert!(blocks.take(1, 1, &mut cursor).is_some());
        blocks.release_all_of(0);
        assert_eq!(blocks.free_count(), 3);
    }

    #[test]
    fn a_broken_chain_is_not_read() {
        let check = |name: &str, first: u32, size: u32, deface: fn(&Blocks)| {
            let blocks = blocks(4);
            // Chained from the last one taken: 2, 1, 0.
            assert_eq!(blocks.take(7, 3, &mut 0), Some(2));
            deface(&blocks);
            // SAFETY: this is the only process.
            assert_eq!(unsafe { blocks.read(7, first, size, &mut Vec::new()) }, None, "{name}");
            blocks.release_all_of(7);
            assert!(blocks.words.iter().all(|word| !Link(word.0.load(Ordering::Relaxed)).belongs_to(7)));
        };
        fn link(blocks: &Blocks, index: usize, slot: u32, next: u32) {
            blocks.words[index].0.store(Link::new(slot, next).0, Ordering::Relaxed);
        }
        check("longer than the chain", 2, 3 * BLOCK_SIZE as u32 + 1, |_| {});
        check("no such block", 4, 1, |_| {});
        check("a free block", 3, 1, |_| {});
        check("larger than any message", 2, RECORD_SIZE_MAX + 1, |blocks| link(blocks, 0, 7, 2));
        check("a block of another slot", 2, 2048, |blocks| link(blocks, 1, 6, 0));
    }
}
