//! The end of a process that delays messages.
//!
//! ```text
//!  take a slot ─► take its blocks ─► fill both ─► publish ─► wake the scheduler if it sleeps for too long
//!                       └── too few: free the slot, the queue is full
//! ```

use super::blocks::block_count;
use super::queue::DelayQueue;
use super::slot::{DelayState, Target};
use crate::shm::memory::sync::{Ordering, fence};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;
use crate::shm::queue::producer::Placement;
use crate::shm::queue::record::{History, Record, RecordHeader};
use crate::shm::queue::ring::PushError;

/// Delays messages.
pub struct DelaySender {
    queue: DelayQueue,
    process: u32,
    /// Where the search for a free slot begins.
    next_slot: usize,
    /// Where the search for free blocks begins.
    next_block: usize,
}

impl DelaySender {
    pub(super) fn new(queue: DelayQueue, process: u32) -> DelaySender {
        let start = process as usize * SLOTS_APART;
        let (slot_count, block_count) = (queue.slots.len(), queue.blocks.count());
        let next_block = start * block_count / slot_count % block_count;
        DelaySender { queue, process, next_slot: start % slot_count, next_block }
    }

    /// Keeps a copy of `record` until the monotonic clock says `due_ns`, or takes nothing. Never waits.
    pub fn send(
        &mut self,
        due_ns: u64,
        group: u32,
        placement: Placement,
        record: &Record<'_>,
    ) -> Result<(), PushError> {
        let size = record.size().ok_or(PushError::TooLarge)?;
        let index = self.take_slot().ok_or(PushError::Full)?;
        pass(Point::DelayTaken);
        let Some(first_block) = self.queue.blocks.take(index as u32, block_count(size), &mut self.next_block)
        else {
            self.queue.free_without_blocks(index);
            return Err(PushError::Full);
        };
        self.fill(index, first_block, record);
        self.queue.targets[index].store(Target { group, placement, size, first_block });
        let slot = &self.queue.slots[index];
        slot.due_ns.store(due_ns, Ordering::Relaxed);
        pass(Point::DelayFilled);
        // Release: a process that sees WAITING sees the message and its target.
        slot.word.store(DelayState::WAITING.0, mutant::DELAY_PUBLISHED);
        pass(Point::DelayPublished);
        self.wake_scheduler(due_ns);
        Ok(())
    }

    /// Whether every message counts as due.
    pub fn is_all_expired(&self) -> bool {
        self.queue.is_all_expired()
    }

    fn take_slot(&mut self) -> Option<usize> {
        let count = self.queue.slots.len();
        let mut indexes = (self.next_slot..count).chain(0..self.next_slot);
        let index = indexes.find(|index| self.queue.slots[*index].take(self.process))?;
        self.next_slot = (index + 1) % count;
        Some(index)
    }

    fn fill(&self, index: usize, first_block: u32, record: &Record<'_>) {
        let header = RecordHeader::of(record, History::default()).encode();
        let parts = [&header[..], record.meta, record.body, record.xdata];
        // SAFETY: the slot is FILLING by this process, and the chain was taken for it.
        let written = unsafe { self.queue.blocks.write(index as u32, first_block, &parts) };
        debug_assert!(written.is_some(), "the blocks were counted");
    }

    fn wake_scheduler(&self, due_ns: u64) {
        // Full fence: the message is visible before this process reads until when the scheduler sleeps. Pairs with
        // the fence in `Scheduler::sleep`.
        if !mutant::NO_FENCE_IN_SEND {
            fence(Ordering::SeqCst);
        }
        let is_too_late = due_ns < self.queue.wakeup().asleep_until_ns.load(Ordering::Relaxed);
        if is_too_late || self.queue.is_all_expired() {
            self.queue.wake();
        }
    }
}

/// The searches of two processes begin this many slots apart.
const SLOTS_APART: usize = 61;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::queue::tests::{record, scene, scene_with};
    use super::*;
    use crate::shm::RECORD_SIZE_MAX;
    use crate::shm::Tended;

    #[test]
    fn without_a_free_slot_the_queue_is_full_and_slots_are_used_again() {
        let scene = scene(2, 8);
        for _ in 0..5 {
            assert_eq!((scene.send(0, 0, b"a"), scene.send(0, 0, b"b")), (Ok(()), Ok(())));
            assert_eq!(scene.send(0, 0, b"c"), Err(PushError::Full));
            assert_eq!(scene.scheduler().sweep(0).moved, 2);
            assert_eq!(scene.served(0).len(), 2);
        }
        let huge = vec![b'x'; RECORD_SIZE_MAX as usize];
        assert_eq!(scene.send(0, 0, &huge), Err(PushError::TooLarge));
        scene.check_all_is_free();
    }

    /// How many messages of `size` bytes, all in all, a queue of 64 slots takes.
    fn taken_of(size: usize) -> u32 {
        let scene = scene(64, 8);
        let body = vec![b'x'; size - record(b"").size().expect("small") as usize];
        let mut sender = scene.delayed.sender(1);
        let count = (0..100).filter(|_| sender.send(0, 0, Placement::Usual, &record(&body)).is_ok()).count();
        count as u32
    }

    #[test]
    fn messages_share_the_memory_of_a_queue() {
        // 64 slots have 64 times 4 blocks and 72 on top.
        let rows = [(100, 64), (1024, 64), (4096, 64), (6 * 1024, 54), (16 * 1024, 20), (72 * 1024, 4)];
        for (size, expected) in rows {
            assert_eq!(taken_of(size), expected, "{size}");
        }
    }

    #[test]
    fn a_message_without_enough_blocks_takes_nothing_and_smaller_ones_are_let_in() {
        let scene = scene_with(DelayQueue::with_blocks(4, 8).expect("memory"), 8);
        assert_eq!(scene.send(0, 0, &[1; 5 * 1024]), Ok(()));
        for _ in 0..3 {
            assert_eq!(scene.send(0, 0, &[2; 2 * 1024]), Err(PushError::Full));
            assert_eq!((scene.delayed.unfinished().0, scene.delayed.free_blocks()), (1, (2, 8)));
        }
        assert_eq!(scene.send(1, 0, &[3; 1500]), Ok(()));
        assert_eq!(scene.scheduler().sweep(1).moved, 2);
        assert_eq!(scene.served(0), [1, 3]);
        scene.check_all_is_free();
    }

    #[test]
    fn one_of_the_largest_fits_where_all_others_have_their_share() {
        let scene = scene(16, 64);
        let body = vec![7; 4000];
        (0..15).for_each(|_| scene.send(0, 0, &body).unwrap());
        let size_besides = record(b"").size().expect("small");
        let largest = vec![9; (RECORD_SIZE_MAX - size_besides) as usize];
        assert_eq!(scene.send(1, 0, &largest), Ok(()));
        assert_eq!(scene.scheduler().sweep(1).moved, 16);
        let mut consumer = scene.queues.consumer(0, 0);
        let mut sizes = Vec::new();
        while let Some(delivery) = consumer.next() {
            assert!(delivery.body() == body || delivery.body() == largest);
            sizes.push(delivery.body().len());
            delivery.finish();
        }
        assert_eq!((sizes.len(), sizes.last()), (16, Some(&largest.len())));
    }
}
