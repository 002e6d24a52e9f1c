//! The queue itself: its slots and blocks, and the words by which senders wake the scheduler.
//!
//! The scheduler sleeps on one word. It *stores until when, fences, looks at all slots*; a sender *publishes, fences,
//! reads until when*: either the scheduler sees the message, or the sender sees that it must wake the scheduler.
//!
//! **Size:** a queue of `n` slots has memory for `n` messages of 4 KiB, and for one of the largest on top. Messages
//! share it by the KiB: `n` messages of at most 4 KiB always find room, larger ones take the room of several.

use std::ffi::CStr;
use std::fmt;
use std::io;

use super::blocks::{BLOCK_SIZE, Blocks, BlocksPlace};
use super::scheduler::Scheduler;
use super::sender::DelaySender;
use super::slot::{DelaySlot, DelayState, SharedTarget};
use crate::shm::memory::part::{Owner, Part, Tended};
use crate::shm::memory::segment::{Place, Plan, Segment, Shareable, Shared};
use crate::shm::memory::sync::{AtomicU32, AtomicU64, Ordering, SleepWord};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;
use crate::shm::queue::producer::Producer;
use crate::shm::queue::record::{HEADER_SIZE, RECORD_SIZE_MAX};

/// What senders and the scheduler tell each other.
#[derive(Default)]
#[repr(C, align(128))]
pub(super) struct Wakeup {
    /// Changed by every process that wakes the scheduler.
    pub(super) epoch: SleepWord,
    /// Not 0 when every message counts as due.
    is_all_expired: AtomicU32,
    /// The scheduler sleeps until this time of the monotonic clock; 0 while it is awake. Written by the scheduler only.
    pub(super) asleep_until_ns: AtomicU64,
}

// SAFETY: atomic integers and padding only.
unsafe impl Shareable for Wakeup {}

/// Why a queue for delayed messages cannot be made.
#[derive(Debug)]
pub enum DelayQueueError {
    /// No slot, or more than there may be.
    SlotCount(u32),
    /// The kernel said no.
    Memory(io::Error),
}

impl fmt::Display for DelayQueueError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotCount(count) => {
                write!(
                    formatter,
                    "cannot reserve {count} slots for delayed messages: the limits are 1 and {DELAY_SLOTS_MAX}"
                )
            }
            Self::Memory(error) => {
                write!(formatter, "could not make shared memory for delayed messages: {error}")
            }
        }
    }
}

impl std::error::Error for DelayQueueError {}

impl From<io::Error> for DelayQueueError {
    fn from(error: io::Error) -> Self {
        Self::Memory(error)
    }
}

/// The slots and blocks. Made by the master before the first fork; a clone is the same memory.
#[derive(Clone)]
pub struct DelayQueue {
    pub(super) slots: Shared<DelaySlot>,
    pub(super) targets: Shared<SharedTarget>,
    pub(super) wakeup: Shared<Wakeup>,
    pub(super) blocks: Blocks,
}

/// What a queue has room for.
#[derive(Clone, Copy, Debug)]
pub struct DelayRoom {
    slots: u32,
    blocks: usize,
}

impl DelayRoom {
    /// Slots, with their share of blocks.
    pub fn of(slots: u32) -> DelayRoom {
        let blocks = u64::from(slots) * u64::from(BLOCKS_PER_SLOT) + u64::from(BLOCKS_ON_TOP);
        DelayRoom { slots, blocks: blocks as usize }
    }
}

/// Where everything in a queue is.
pub(crate) struct DelayPlace {
    slots: Place<DelaySlot>,
    targets: Place<SharedTarget>,
    wakeup: Place<Wakeup>,
    blocks: BlocksPlace,
}

impl Part for DelayQueue {
    const NAME: &'static CStr = c"sworker-delay";
    type Request = DelayRoom;
    type Place = DelayPlace;
    type Error = DelayQueueError;

    fn reserve(room: &DelayRoom, plan: &mut Plan) -> Result<DelayPlace, DelayQueueError> {
        if !(1..=DELAY_SLOTS_MAX).contains(&room.slots) {
            return Err(DelayQueueError::SlotCount(room.slots));
        }
        let count = room.slots as usize;
        Ok(DelayPlace {
            slots: plan.reserve(count),
            targets: plan.reserve(count),
            wakeup: plan.reserve(1),
            blocks: BlocksPlace::reserve(plan, room.blocks),
        })
    }

    fn claim(place: DelayPlace, segment: &Segment) -> DelayQueue {
        DelayQueue {
            slots: segment.claim(place.slots),
            targets: segment.claim(place.targets),
            wakeup: segment.claim(place.wakeup),
            blocks: Blocks::claim(segment, place.blocks),
        }
    }
}

impl Tended for DelayQueue {
    fn after_death(&self, dead: Owner) {
        // A queue is made for one generation, so the index alone names the process.
        self.release_slots_of(u32::from(dead.index));
    }

    /// The dead may have delayed a message and not woken the scheduler.
    fn wake(&self) {
        DelayQueue::wake(self);
    }

    fn is_drained(&self) -> bool {
        self.is_empty()
    }

    fn expire_all(&self) {
        if !self.is_all_expired() {
            DelayQueue::expire_all(self);
        }
    }

    fn unfinished(&self) -> (u64, &'static str) {
        (self.taken_count(), "delayed messages not yet queued for their group")
    }

    fn figures(&self, out: &mut dyn FnMut(&'static str, u64)) {
        out(DELAYED_COUNT, self.taken_count());
    }
}

/// The gauge of messages that are delayed.
pub const DELAYED_COUNT: &str = "async.waiting";

impl DelayQueue {
    /// A queue of `slot_count` free slots, with its share of blocks. All of its memory is there from the start: a machine
    /// that has too little refuses now.
    pub fn create(slot_count: u32) -> Result<DelayQueue, DelayQueueError> {
        Self::make(&DelayRoom::of(slot_count))
    }

    /// A queue with another count of blocks than its slots ask for: what [`DelayQueue::create`] makes, for tests too
    /// that want to run out of either.
    pub fn with_blocks(slots: u32, blocks: usize) -> Result<DelayQueue, DelayQueueError> {
        Self::make(&DelayRoom { slots, blocks })
    }

    /// How many slots are taken.
    fn taken_count(&self) -> u64 {
        self.slots.iter().filter(|slot| !slot.is_free()).count() as u64
    }

    /// How many blocks are free, and how many there are.
    pub fn free_blocks(&self) -> (usize, usize) {
        (self.blocks.free_count(), self.blocks.count())
    }

    /// Whether every slot is free.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(DelaySlot::is_free)
    }

    /// From now on every message is due, whatever its time.
    pub fn expire_all(&self) {
        self.wakeup().is_all_expired.store(1, Ordering::Release);
        self.wake();
    }

    /// Whether every message counts as due.
    pub fn is_all_expired(&self) -> bool {
        self.wakeup().is_all_expired.load(Ordering::Acquire) != 0
    }

    /// Makes the scheduler look at the slots: for the master, when a process died that may have been about to.
    pub fn wake(&self) {
        self.wakeup().epoch.0.fetch_add(1, Ordering::Release);
        self.wakeup().epoch.awaken();
    }

    /// The end of a process that delays messages.
    pub fn sender(&self, process: u32) -> DelaySender {
        DelaySender::new(self.clone(), process)
    }

    /// The scheduler's end, taken over from a dead predecessor if there was one. There must be only one, and its
    /// producer must be the one its predecessor had, attached again.
    pub fn scheduler(&self, producer: Producer) -> Scheduler {
        Scheduler::new(self.clone(), producer)
    }

    /// Frees the slots that a dead process was filling: it had delayed nothing. For the master, after `waitpid`.
    fn release_slots_of(&self, process: u32) {
        let filling = DelayState::filling(process);
        for index in 0..self.slots.len() {
            if self.slots[index].state() == filling {
                self.free_by_search(index);
            }
        }
    }

    /// Frees a slot whose chain of blocks is whole, for the process that holds it.
    pub(super) fn free(&self, index: usize, first_block: u32) {
        if mutant::SLOT_FREED_BEFORE_BLOCKS {
            self.slots[index].set(DelayState::FREE);
            return self.blocks.release(index as u32, first_block);
        }
        self.blocks.release(index as u32, first_block);
        self.free_without_blocks(index);
    }

    /// Frees a slot whose chain may be broken: its holder is dead, or found it so.
    pub(super) fn free_by_search(&self, index: usize) {
        if !mutant::BLOCKS_OF_THE_DEAD_KEPT {
            self.blocks.release_all_of(index as u32);
        }
        self.free_without_blocks(index);
    }

    pub(super) fn free_without_blocks(&self, index: usize) {
        self.slots[index].set(DelayState::FREE);
        pass(Point::DelayFreed);
    }

    pub(super) fn wakeup(&self) -> &Wakeup {
        &self.wakeup[0]
    }
}

/// Most messages that may be delayed at the same time.
pub const DELAY_SLOTS_MAX: u32 = 1 << 16;
/// The share of a message: most are far smaller, so that there is room for some that are larger.
const BLOCKS_PER_SLOT: u32 = 4;
/// Room for one of the largest messages, also where all others have their share.
const BLOCKS_ON_TOP: u32 = RECORD_SIZE_MAX / BLOCK_SIZE as u32;

const _: () = assert!(HEADER_SIZE < RECORD_SIZE_MAX);

#[cfg(all(test, not(loom)))]
pub(super) mod tests {
    use super::*;
    use crate::shm::{GroupPlan, Lanes, Placement, PushError, QueuePlan, Queues, Record};

    /// A queue with rings of two groups after it: `calls`, and `urgent` with two lanes.
    pub(in crate::shm::delay) struct Scene {
        pub(in crate::shm::delay) queues: Queues,
        pub(in crate::shm::delay) delayed: DelayQueue,
    }

    pub(in crate::shm::delay) fn scene(slots: u32, ring: u32) -> Scene {
        scene_with(DelayQueue::create(slots).expect("memory"), ring)
    }

    pub(in crate::shm::delay) fn scene_with(delayed: DelayQueue, ring: u32) -> Scene {
        let group = |name: &str| GroupPlan::new(name, 1, ring);
        let urgent = GroupPlan { lanes: Lanes::Urgent, ..group("urgent") };
        let plan = QueuePlan { producers: 1, groups: vec![group("calls"), urgent] };
        Scene { queues: Queues::create(&plan).expect("memory"), delayed }
    }

    impl Scene {
        pub(in crate::shm::delay) fn scheduler(&self) -> Scheduler {
            self.delayed.scheduler(self.queues.producer(0))
        }

        pub(in crate::shm::delay) fn send(
            &self,
            due_ns: u64,
            group: u32,
            body: &[u8],
        ) -> Result<(), PushError> {
            self.delayed.sender(7).send(due_ns, group, Placement::Usual, &record(body))
        }

        /// The first byte of each message in the ring, which is empty then.
        pub(in crate::shm::delay) fn served(&self, group: u32) -> Vec<u8> {
            let mut consumer = self.queues.consumer(group, 0);
            let mut bodies = Vec::new();
            while let Some(delivery) = consumer.next() {
                assert_eq!((delivery.meta(), delivery.xdata()), (&b"meta"[..], &b"extra"[..]));
                bodies.push(delivery.body()[0]);
                delivery.finish();
            }
            bodies
        }

        pub(in crate::shm::delay) fn check_all_is_free(&self) {
            let (free, count) = self.delayed.free_blocks();
            assert_eq!((self.delayed.taken_count(), free), (0, count));
        }
    }

    pub(in crate::shm::delay) fn record(body: &[u8]) -> Record<'_> {
        Record { meta: b"meta", body, xdata: b"extra", received_at_ns: 5 }
    }

    #[test]
    fn each_slot_has_its_share_of_blocks_and_one_of_the_largest_fits_in_addition() {
        for (slots, blocks) in [(1, 76), (1024, 4168), (16_384, 65_608)] {
            let delayed = DelayQueue::create(slots).expect("memory");
            assert_eq!(delayed.free_blocks(), (blocks, blocks), "{slots} slots");
        }
    }

    #[test]
    fn what_a_dead_process_was_filling_is_free_again() {
        let scene = scene_with(DelayQueue::with_blocks(1, 3).expect("memory"), 8);
        // Given a process that died with a slot and a part of the blocks it wanted.
        assert!(scene.delayed.slots[0].take(3));
        assert!(scene.delayed.blocks.take(0, 2, &mut 0).is_some());
        assert_eq!(scene.send(0, 0, b"a"), Err(PushError::Full));
        assert_eq!(scene.scheduler().sweep(u64::MAX), crate::shm::Sweep::default());
        scene.delayed.release_slots_of(4);
        assert!(!scene.delayed.is_empty());
        scene.delayed.release_slots_of(3);
        scene.check_all_is_free();
        assert_eq!(scene.send(0, 0, b"a"), Ok(()));
        // A published message has no owner: the death of its sender changes nothing.
        scene.delayed.release_slots_of(7);
        assert_eq!(scene.scheduler().sweep(0).moved, 1);
    }

    #[test]
    fn impossible_queues_are_refused() {
        for count in [0, DELAY_SLOTS_MAX + 1] {
            let error = DelayQueue::create(count).err().expect("refused").to_string();
            assert_eq!(
                error,
                format!("cannot reserve {count} slots for delayed messages: the limits are 1 and 65536")
            );
        }
    }
}
