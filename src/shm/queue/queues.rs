//! All rings, slots and sleeping places of a server: planned, made, and handed out by index.
//!
//! ```text
//!            ring (producer 0, group "calls") ─┐
//!  receivers ring (producer 1, group "calls") ─┼─► workers of "calls", one slot each
//!  master    ring (adopted,    group "calls") ─┘
//! ```
//!
//! Those rings are one lane; a group may have several of them, see [`Lanes`].
//!
//! The master creates this before the first fork; every child asks for its own end by its index.
//!
//! **Invariant:** an index of a producer or worker is given to a new process only after the old process was reaped
//! *and* repaired. With sequences that never repeat this is what excludes every mix-up of old and new.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::consumer::Consumer;
use super::event_count::{EventCount, EventCountPlace};
use super::producer::Producer;
use super::queue_figures::{GroupRepairFigures, WorkerFigures};
use super::record::{HEADER_SIZE, RECORD_SIZE_MAX};
use super::repair::Repair;
use super::ring::{Ring, RingPlace, Ticketing};
use super::shard::{Shards, ShardsPlace, shard_count};
use super::slot::{Slot, SlotPlace};
use crate::shm::memory::part::{Part, Tended};
use crate::shm::memory::segment::{Place, Plan, Segment, Shared};
use crate::shm::memory::word::{RINGS_MAX, WORKERS_MAX};

/// What one group of workers needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    /// Its name in the script.
    pub name: String,
    /// How many workers.
    pub workers: u32,
    /// How many records each producer can have waiting; rounded up to a power of two.
    pub queue: u32,
    /// Bytes for the records of one producer; a power of two. `None` chooses 1 KiB per record, and at least room for
    /// four of the largest. A smaller arena takes only messages up to a quarter of it.
    pub arena_size: Option<u32>,
    /// Number of deaths of workers after which a message is quarantined instead of delivered again; at least 1.
    pub attempts_max: u32,
    /// How messages wait.
    pub lanes: Lanes,
    /// What a producer does when its ring is full.
    pub overflow: Overflow,
}

/// How the messages of a group wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lanes {
    /// In one line for each producer.
    #[default]
    One,
    /// In two lines for each producer; workers look into the urgent one first.
    Urgent,
    /// In as many lines as the group has shards. The messages of a shard are processed one after another.
    Ordered,
}

/// What a producer does when its ring is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It refuses the new message.
    #[default]
    Refuse,
    /// It takes the oldest message back that no worker has claimed.
    DropOldest,
}

impl GroupPlan {
    /// A group with one line for each producer, that refuses what has no room and delivers twice at most.
    pub fn new(name: &str, workers: u32, queue: u32) -> Self {
        Self {
            name: name.to_owned(),
            workers,
            queue,
            arena_size: None,
            attempts_max: 2,
            lanes: Lanes::default(),
            overflow: Overflow::default(),
        }
    }
}

/// What all groups need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePlan {
    /// How many processes hand over messages (the receivers).
    pub producers: u32,
    /// The groups, in the order of their indexes.
    pub groups: Vec<GroupPlan>,
}

/// Why shared memory could not be made.
#[derive(Debug)]
pub enum ShmError {
    /// More processes than the words of a ring can name.
    TooManyProducers(u32),
    /// No worker, or more than the words of a ring can name.
    WorkerCount {
        /// The group.
        group: String,
        /// The number asked for.
        workers: u32,
    },
    /// A queue of no or of too many records.
    QueueSize {
        /// The group.
        group: String,
        /// The number asked for.
        queue: u32,
    },
    /// Not a power of two, or outside the limits.
    ArenaSize {
        /// The group.
        group: String,
        /// The size asked for.
        size: u32,
    },
    /// The kernel said no.
    Memory(io::Error),
}

impl fmt::Display for ShmError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyProducers(count) => {
                write!(formatter, "cannot queue for {count} receivers: the limit is {PRODUCERS_MAX}")
            }
            Self::WorkerCount { group, workers } => {
                write!(
                    formatter,
                    "cannot give group {group:?} {workers} workers: the limits are 1 and {WORKERS_MAX}"
                )
            }
            Self::QueueSize { group, queue } => {
                write!(
                    formatter,
                    "cannot queue {queue} messages for group {group:?}: the limits are 1 and {QUEUE_MAX}"
                )
            }
            Self::ArenaSize { group, size } => write!(
                formatter,
                "cannot use {size} bytes for the queue of group {group:?}: a power of two from {ARENA_SIZE_MIN} to \
                 {ARENA_SIZE_MAX} is needed"
            ),
            Self::Memory(error) => write!(formatter, "could not make shared memory: {error}"),
        }
    }
}

impl std::error::Error for ShmError {}

impl From<io::Error> for ShmError {
    fn from(error: io::Error) -> Self {
        Self::Memory(error)
    }
}

/// One group in shared memory. Its rings stand lane by lane; the last one of each lane is the one on which the master
/// puts adopted messages.
pub(crate) struct GroupQueue {
    pub(crate) name: String,
    pub(crate) attempts_max: u32,
    pub(crate) lanes: Lanes,
    pub(crate) overflow: Overflow,
    pub(crate) rings: Vec<Ring>,
    /// As many as there are lanes in a group with order, else none.
    pub(crate) shards: Shards,
    rings_per_lane: u32,
    pub(crate) slots: Vec<Slot>,
    pub(crate) events: EventCount,
    pub(crate) worker_figures: Shared<WorkerFigures>,
    pub(crate) repair_figures: Shared<GroupRepairFigures>,
}

impl GroupQueue {
    pub(crate) fn lane_count(&self) -> u32 {
        self.rings.len() as u32 / self.rings_per_lane
    }

    /// How many rings a lane has: one for each producer, and the one for adopted messages.
    #[inline]
    pub(crate) fn rings_per_lane(&self) -> usize {
        self.rings_per_lane as usize
    }

    /// The lane of the ring with this index.
    pub(crate) fn lane_of(&self, ring: u32) -> u32 {
        ring / self.rings_per_lane
    }

    /// The ring of this producer in this lane.
    pub(crate) fn ring(&self, lane: u32, producer: u32) -> &Ring {
        &self.rings[(lane * self.rings_per_lane + producer) as usize]
    }

    /// Whether the ring with this index is one for adopted messages.
    pub(crate) fn is_for_adopted(&self, ring: usize) -> bool {
        ring % self.rings_per_lane() == self.rings_per_lane() - 1
    }
}

/// All queues of the server.
#[derive(Clone)]
pub struct Queues {
    groups: Arc<[Arc<GroupQueue>]>,
    segment: Segment,
    producers: u32,
}

/// Where all queues are.
pub(crate) struct QueuesPlace {
    groups: Vec<GroupPlace>,
    producers: u32,
}

impl Part for Queues {
    const NAME: &'static CStr = c"sworker-queues";
    type Request = QueuePlan;
    type Place = QueuesPlace;
    type Error = ShmError;

    fn reserve(queues: &QueuePlan, plan: &mut Plan) -> Result<QueuesPlace, ShmError> {
        if queues.producers > PRODUCERS_MAX {
            return Err(ShmError::TooManyProducers(queues.producers));
        }
        let producers = queues.producers;
        let groups = queues.groups.iter().map(|group| GroupPlace::reserve(plan, group, producers));
        Ok(QueuesPlace { groups: groups.collect::<Result<_, _>>()?, producers })
    }

    fn claim(place: QueuesPlace, segment: &Segment) -> Queues {
        let groups = place.groups.into_iter().map(|group| Arc::new(group.create(segment))).collect();
        Queues { groups, segment: segment.clone(), producers: place.producers }
    }
}

/// What a dead process held is judged by the master's [`Repair`], which knows how it died.
impl Tended for Queues {
    fn wake(&self) {
        self.groups.iter().for_each(|group| group.events.wake_all());
    }
}

impl Queues {
    /// Makes the queues, in one piece of memory that all later children share.
    pub fn create(plan: &QueuePlan) -> Result<Self, ShmError> {
        Self::make(plan)
    }

    /// The producer's ends of this index, taken over from a dead predecessor if there was one. For the child that has
    /// the index, after the fork.
    ///
    /// # Panics
    /// When the plan has no such index.
    pub fn producer(&self, index: u32) -> Producer {
        assert!(index < self.producers, "producer {index} of {}", self.producers);
        Producer::attach(&self.groups, index)
    }

    /// The end of a worker. For the child that has the index, after the fork.
    ///
    /// # Panics
    /// When the plan has no such group or worker.
    pub fn consumer(&self, group: u32, worker: u32) -> Consumer {
        Consumer::attach(&self.groups[group as usize], worker)
    }

    /// The master's tool for what dead processes left. There must be only one.
    pub fn repair(&self) -> Repair {
        Repair::new(&self.groups, self.producers)
    }

    /// Fills this process's page tables, so that the first messages of a child cost no page faults.
    pub fn prefault(&self) -> io::Result<()> {
        self.segment.prefault()
    }

    pub(crate) fn groups(&self) -> &[Arc<GroupQueue>] {
        &self.groups
    }
}

pub(crate) struct GroupPlace {
    name: String,
    attempts_max: u32,
    lanes: Lanes,
    overflow: Overflow,
    rings_per_lane: u32,
    events: EventCountPlace,
    rings: Vec<RingPlace>,
    shards: ShardsPlace,
    slots: Vec<SlotPlace>,
    worker_figures: Place<WorkerFigures>,
    repair_figures: Place<GroupRepairFigures>,
}

impl GroupPlace {
    fn reserve(plan: &mut Plan, group: &GroupPlan, producers: u32) -> Result<Self, ShmError> {
        if !(1..=WORKERS_MAX).contains(&group.workers) {
            return Err(ShmError::WorkerCount { group: group.name.clone(), workers: group.workers });
        }
        let rings_per_lane = producers + 1;
        let lane_count = match group.lanes {
            Lanes::One => 1,
            Lanes::Urgent => 2,
            Lanes::Ordered => shard_count(group.workers, RINGS_MAX, rings_per_lane),
        };
        let shard_count = if group.lanes == Lanes::Ordered { lane_count } else { 0 };
        let queue = queue_of_lane(group, shard_count);
        let (capacity, arena_size) = (queue_capacity(group, queue)?, arena_size(group, queue)?);
        let ticketing = if shard_count > 0 { Ticketing::Numbered } else { Ticketing::None };
        let ring_count = lane_count * rings_per_lane;
        Ok(Self {
            name: group.name.clone(),
            lanes: group.lanes,
            overflow: group.overflow,
            rings_per_lane,
            shards: ShardsPlace::reserve(plan, shard_count),
            attempts_max: group.attempts_max.max(1),
            events: EventCountPlace::reserve(plan, group.workers),
            rings: (0..ring_count)
                .map(|_| RingPlace::reserve(plan, capacity, arena_size, ticketing))
                .collect(),
            slots: (0..group.workers).map(|_| SlotPlace::reserve(plan)).collect(),
            worker_figures: plan.reserve(group.workers as usize),
            repair_figures: plan.reserve(1),
        })
    }

    fn create(self, segment: &Segment) -> GroupQueue {
        GroupQueue {
            name: self.name,
            attempts_max: self.attempts_max,
            lanes: self.lanes,
            overflow: self.overflow,
            rings_per_lane: self.rings_per_lane,
            shards: Shards::create(segment, self.shards),
            events: EventCount::create(segment, self.events),
            rings: self.rings.into_iter().map(|place| Ring::create(segment, place)).collect(),
            slots: self.slots.into_iter().map(|place| Slot::create(segment, place)).collect(),
            worker_figures: segment.claim(self.worker_figures),
            repair_figures: segment.claim(self.repair_figures),
        }
    }
}

/// The records of each ring. A group with order has many rings, and most messages may be of few keys: each ring has
/// some times its part, and never less than a few bursts need.
fn queue_of_lane(group: &GroupPlan, shard_count: u32) -> u32 {
    if shard_count == 0 {
        return group.queue;
    }
    (group.queue.saturating_mul(SHARE_OF_SHARD) / shard_count).max(SHARD_QUEUE_MIN).min(group.queue)
}

fn queue_capacity(group: &GroupPlan, queue: u32) -> Result<u32, ShmError> {
    if !(1..=QUEUE_MAX).contains(&group.queue) {
        return Err(ShmError::QueueSize { group: group.name.clone(), queue: group.queue });
    }
    Ok(queue.next_power_of_two().max(QUEUE_MIN))
}

fn arena_size(group: &GroupPlan, queue: u32) -> Result<u32, ShmError> {
    let largest = (4 * RECORD_SIZE_MAX).next_power_of_two();
    let usual = queue.saturating_mul(USUAL_RECORD_SIZE).clamp(largest, ARENA_SIZE_MAX).next_power_of_two();
    let size = group.arena_size.unwrap_or(usual);
    if !size.is_power_of_two() || !(ARENA_SIZE_MIN..=ARENA_SIZE_MAX).contains(&size) {
        return Err(ShmError::ArenaSize { group: group.name.clone(), size });
    }
    Ok(size)
}

const PRODUCERS_MAX: u32 = RINGS_MAX - 1;
const QUEUE_MIN: u32 = 2;
const QUEUE_MAX: u32 = 1 << 20;
const SHARE_OF_SHARD: u32 = 4;
const SHARD_QUEUE_MIN: u32 = 64;
const USUAL_RECORD_SIZE: u32 = 1024;
const ARENA_SIZE_MIN: u32 = 4 * (HEADER_SIZE + 32);
const ARENA_SIZE_MAX: u32 = 1 << 30;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn plan(workers: u32, queue: u32, arena_size: Option<u32>) -> QueuePlan {
        let group = GroupPlan { arena_size, ..GroupPlan::new("calls", workers, queue) };
        QueuePlan { producers: 1, groups: vec![group] }
    }

    #[test]
    fn impossible_plans_are_refused_with_the_reason() {
        let check = |plan: QueuePlan, expected: &str| {
            let error = Queues::create(&plan).err().expect("refused").to_string();
            assert_eq!(error, expected);
        };
        check(plan(0, 8, None), "cannot give group \"calls\" 0 workers: the limits are 1 and 1024");
        check(plan(1025, 8, None), "cannot give group \"calls\" 1025 workers: the limits are 1 and 1024");
        check(plan(1, 0, None), "cannot queue 0 messages for group \"calls\": the limits are 1 and 1048576");
        check(
            plan(1, u32::MAX, None),
            "cannot queue 4294967295 messages for group \"calls\": the limits are 1 and 1048576",
        );
        let arena = "bytes for the queue of group \"calls\": a power of two from 256 to 1073741824 is needed";
        check(plan(1, 8, Some(1000)), &format!("cannot use 1000 {arena}"));
        check(plan(1, 8, Some(64)), &format!("cannot use 64 {arena}"));
        let mut many = plan(1, 8, None);
        many.producers = u32::MAX;
        check(many, "cannot queue for 4294967295 receivers: the limit is 32767");
    }

    #[test]
    fn queue_size_is_rounded_up() {
        let check = |queue: u32, expected: u32| {
            assert_eq!(
                queue_capacity(&plan(1, queue, None).groups[0], queue).expect("possible"),
                expected,
                "{queue}"
            );
        };
        check(1, 2);
        check(2, 2);
        check(1000, 1024);
        check(QUEUE_MAX, QUEUE_MAX);
    }

    #[test]
    fn arena_has_room_for_the_usual_and_for_the_largest() {
        let check = |queue: u32, expected: u32| {
            let plan = plan(1, queue, None);
            assert_eq!(arena_size(&plan.groups[0], queue).expect("possible"), expected, "{queue}");
        };
        check(2, 512 * 1024);
        check(1024, 1024 * 1024);
        check(8192, 8 * 1024 * 1024);
        check(QUEUE_MAX, ARENA_SIZE_MAX);
    }

    #[test]
    fn a_shard_has_more_than_its_part_of_the_queue() {
        let check = |queue: u32, shard_count: u32, expected: u32| {
            let group = GroupPlan::new("calls", 1, queue);
            assert_eq!(queue_of_lane(&group, shard_count), expected, "{queue} in {shard_count}");
        };
        check(8192, 0, 8192);
        check(8192, 64, 512);
        check(1024, 64, 64);
        check(16, 8, 16);
        check(QUEUE_MAX, 8, QUEUE_MAX / 2);
    }
}
