//! The end of a process that hands messages over.

use std::marker::PhantomData;
use std::sync::Arc;

use super::event_count::EventCount;
use super::queues::{GroupQueue, Lanes, Overflow};
use super::record::{History, Record};
use super::ring::{PushError, RingWriter};

/// Pushes messages to every group, through one ring for each.
///
/// Belongs to one process; does not cross to another thread.
pub struct Producer {
    ways: Vec<Way>,
    not_send: PhantomData<*const ()>,
}

/// What is known about a message that says where it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Nothing.
    #[default]
    Usual,
    /// It goes before others, where the group has an urgent lane.
    Urgent,
    /// The hash of its key: messages with the same one stay in order, where the group keeps order.
    Keyed(u64),
}

/// The way to one group.
struct Way {
    kind: Lanes,
    writers: Vec<RingWriter>,
    events: EventCount,
}

impl Way {
    fn attach(group: &GroupQueue, producer: u32, overflow: Overflow) -> Self {
        let writer = |lane: u32| {
            let writer = RingWriter::attach(group.ring(lane, producer).clone()).with_overflow(overflow);
            match group.lanes {
                Lanes::Ordered => writer.with_tickets(group.shards.clone(), lane),
                Lanes::One | Lanes::Urgent => writer,
            }
        };
        Self {
            kind: group.lanes,
            writers: (0..group.lane_count()).map(writer).collect(),
            events: group.events.clone(),
        }
    }

    #[inline]
    fn lane(&self, placement: Placement) -> usize {
        match (self.kind, placement) {
            (Lanes::One, _) | (Lanes::Urgent, Placement::Urgent) => 0,
            (Lanes::Urgent, _) => 1,
            // There are as many as a power of two.
            (Lanes::Ordered, Placement::Keyed(hash)) => hash as usize & (self.writers.len() - 1),
            (Lanes::Ordered, _) => 0,
        }
    }
}

impl Producer {
    pub(crate) fn attach(groups: &[Arc<GroupQueue>], ring_index: u32) -> Self {
        let way = |group: &Arc<GroupQueue>| Way::attach(group, ring_index, group.overflow);
        Self { ways: groups.iter().map(way).collect(), not_send: PhantomData }
    }

    /// The master's, for messages that were accepted already: it takes none of them back.
    pub(crate) fn attach_adopter(groups: &[Arc<GroupQueue>], ring_index: u32) -> Self {
        let way = |group: &Arc<GroupQueue>| Way::attach(group, ring_index, Overflow::Refuse);
        Self { ways: groups.iter().map(way).collect(), not_send: PhantomData }
    }

    /// Gives a copy of `record` to the group, or takes nothing. Never waits and makes no system call. Workers that
    /// are awake see it at once; call [`wake`](Self::wake) after the last one of a batch.
    ///
    /// # Panics
    /// When the plan has no such group.
    #[inline]
    pub fn push(&mut self, group: u32, record: &Record<'_>) -> Result<(), PushError> {
        self.push_to(group, Placement::Usual, record)
    }

    /// The same for a message about which something is known that says where it waits.
    ///
    /// # Panics
    /// When the plan has no such group.
    #[inline]
    pub fn push_to(
        &mut self,
        group: u32,
        placement: Placement,
        record: &Record<'_>,
    ) -> Result<(), PushError> {
        self.writer(group, placement).push(record, History::default())
    }

    /// The same for a message that a producer before this one was about to hand over when it died, and may have handed
    /// over: the worker that processes it learns that it is not the first one.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn push_again(
        &mut self,
        group: u32,
        placement: Placement,
        record: &Record<'_>,
    ) -> Result<(), PushError> {
        // Nothing says that the message was the reason.
        self.writer(group, placement).push(record, History { attempts: 1, blamed: 0 })
    }

    /// The same for a message that waits elsewhere until there is room: a full ring is not counted as a refusal.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub(crate) fn offer(
        &mut self,
        group: u32,
        placement: Placement,
        record: &Record<'_>,
    ) -> Result<(), PushError> {
        self.writer(group, placement).offer(record, History::default())
    }

    /// The end of the ring that a message goes into.
    #[inline]
    fn writer(&mut self, group: u32, placement: Placement) -> &mut RingWriter {
        let way = &mut self.ways[group as usize];
        let lane = way.lane(placement);
        &mut way.writers[lane]
    }

    /// Which of the lines of its group a message joins; `None` when there is no such group.
    pub(crate) fn lane(&self, group: u32, placement: Placement) -> Option<usize> {
        Some(self.ways.get(group as usize)?.lane(placement))
    }

    /// The number of the record that the next push of this process will be; `None` when there is no such group.
    pub(crate) fn next_record(&self, group: u32, placement: Placement) -> Option<u64> {
        let way = self.ways.get(group as usize)?;
        Some(way.writers[way.lane(placement)].next_record())
    }

    pub(crate) fn push_with_history(
        &mut self,
        group: u32,
        lane: u32,
        record: &Record<'_>,
        history: History,
    ) -> Result<(), PushError> {
        // The lane was read from the slot of a process that crashed: an invalid number means the last one.
        let writers = &mut self.ways[group as usize].writers;
        let lane = (lane as usize).min(writers.len() - 1);
        writers[lane].push(record, history)
    }

    /// Makes sure that a worker of the group looks at what was pushed. Costs a few nanoseconds while all are awake.
    ///
    /// # Panics
    /// When the plan has no such group.
    #[inline]
    pub fn wake(&mut self, group: u32) {
        self.ways[group as usize].events.wake();
    }

    /// Counts a message that was answered because the ring is full.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn count_refused(&mut self, group: u32) {
        self.ways[group as usize].writers[0].count_refused();
    }

    /// Records of this producer, and bytes they occupy, that the group has not finished copying out.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn occupied(&mut self, group: u32) -> (u64, u64) {
        let rings = self.ways[group as usize].writers.iter_mut().map(RingWriter::occupied);
        rings.fold((0, 0), |sum, ring| (sum.0 + ring.0, sum.1 + ring.1))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::{Blame, GroupPlan, QueuePlan, Queues};

    fn queues(plan: GroupPlan) -> Queues {
        Queues::create(&QueuePlan { producers: 1, groups: vec![plan] }).expect("memory")
    }

    fn record(body: &[u8]) -> Record<'_> {
        Record { meta: b"", body, xdata: b"", received_at_ns: 0 }
    }

    fn served(queues: &Queues) -> Vec<u8> {
        let mut consumer = queues.consumer(0, 0);
        let mut bodies = Vec::new();
        while let Some(delivery) = consumer.next() {
            bodies.push(delivery.body()[0]);
            delivery.finish();
        }
        bodies
    }

    #[test]
    fn urgent_messages_overtake_others_and_not_each_other() {
        let queues = queues(GroupPlan { lanes: Lanes::Urgent, ..GroupPlan::new("calls", 1, 8) });
        let mut producer = queues.producer(0);
        for (body, placement) in
            [(1, Placement::Usual), (2, Placement::Urgent), (3, Placement::Usual), (4, Placement::Urgent)]
        {
            producer.push_to(0, placement, &record(&[body])).expect("room");
        }
        assert_eq!(served(&queues), [2, 4, 1, 3]);
        assert!(queues.repair().is_drained(0));
    }

    #[test]
    fn a_full_lane_leaves_the_other_one_alone() {
        let queues = queues(GroupPlan { lanes: Lanes::Urgent, ..GroupPlan::new("calls", 1, 2) });
        let mut producer = queues.producer(0);
        for expected in [Ok(()), Ok(()), Err(PushError::Full)] {
            assert_eq!(producer.push(0, &record(b"x")), expected);
        }
        assert_eq!(producer.push_to(0, Placement::Urgent, &record(b"x")), Ok(()));
        assert_eq!(queues.group_statistics(0).depth, 3);
    }

    #[test]
    fn an_adopted_message_stays_in_its_lane() {
        let queues = queues(GroupPlan { lanes: Lanes::Urgent, ..GroupPlan::new("calls", 1, 8) });
        let mut producer = queues.producer(0);
        producer.push(0, &record(&[1])).expect("room");
        queues.consumer(0, 0).next().expect("a message");
        let mut repair = queues.repair();
        repair.worker_died(0, 0, Blame::Nobody);
        repair.adopt(0, 0);
        producer.push(0, &record(&[2])).expect("room");
        producer.push_to(0, Placement::Urgent, &record(&[3])).expect("room");
        assert_eq!(served(&queues), [3, 1, 2]);
    }

    #[test]
    fn what_may_have_been_handed_over_before_is_marked() {
        let queues = queues(GroupPlan::new("calls", 1, 8));
        let mut producer = queues.producer(0);
        producer.push_again(0, Placement::Usual, &record(b"again")).expect("room");
        producer.push(0, &record(b"new")).expect("room");
        let mut consumer = queues.consumer(0, 0);
        for (body, attempts) in [(&b"again"[..], 1), (b"new", 0)] {
            let delivery = consumer.next().expect("a message");
            assert_eq!((delivery.body(), delivery.earlier_attempts()), (body, attempts));
            delivery.finish();
        }
    }

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        for lanes in [Lanes::One, Lanes::Urgent, Lanes::Ordered] {
            let plan = GroupPlan { lanes, overflow: Overflow::DropOldest, ..GroupPlan::new("calls", 1, 4) };
            let queues = queues(plan);
            let mut producer = queues.producer(0);
            for body in 0..100 {
                assert_eq!(producer.push(0, &record(&[body])), Ok(()));
            }
            let statistics = queues.group_statistics(0);
            assert_eq!((statistics.dropped_oldest, statistics.full), (96, 0), "{lanes:?}");
            assert_eq!(served(&queues), [96, 97, 98, 99], "{lanes:?}");
            assert_eq!(producer.occupied(0), (0, 0));
        }
    }

    #[test]
    fn a_large_message_takes_the_room_of_several_small_ones() {
        let plan = GroupPlan {
            overflow: Overflow::DropOldest,
            arena_size: Some(4096),
            ..GroupPlan::new("calls", 1, 64)
        };
        let queues = queues(plan);
        let mut producer = queues.producer(0);
        (0..32).for_each(|body| producer.push(0, &record(&[body; 90])).expect("room"));
        producer.push(0, &record(&[99; 900])).expect("room is made");
        let bodies = served(&queues);
        assert_eq!((bodies[0], bodies.last()), (8, Some(&99)), "{bodies:?}");
    }

    #[test]
    fn nothing_is_taken_back_for_a_message_that_is_refused_all_the_same() {
        let plan = GroupPlan {
            overflow: Overflow::DropOldest,
            arena_size: Some(4096),
            ..GroupPlan::new("calls", 1, 64)
        };
        let queues = queues(plan);
        let mut producer = queues.producer(0);
        (0..32).for_each(|body| producer.push(0, &record(&[body; 90])).expect("room"));
        // Eight stand in the way; a worker has the sixth of them in its hands.
        let ring = &queues.groups()[0].rings[0];
        let mut reader = crate::shm::queue::ring::RingReader::new(ring.clone());
        let (_, first) = reader.first_ready().expect("the oldest");
        assert!(reader.claim_this(first + 5, 0));
        assert_eq!(producer.push(0, &record(&[99; 900])), Err(PushError::Full));
        let figures = queues.group_statistics(0);
        assert_eq!((figures.dropped_oldest, figures.full, figures.delegated), (0, 1, 32));

        ring.give_back(first + 5);
        assert_eq!(producer.push(0, &record(&[99; 900])), Ok(()));
        let figures = queues.group_statistics(0);
        assert_eq!((figures.dropped_oldest, figures.full, figures.delegated), (7, 1, 33));
        assert_eq!(served(&queues).len(), 25);
    }

    #[test]
    fn what_a_worker_has_in_its_hands_is_not_taken_back() {
        let plan = GroupPlan { overflow: Overflow::DropOldest, ..GroupPlan::new("calls", 1, 2) };
        let queues = queues(plan);
        let mut producer = queues.producer(0);
        (0..2).for_each(|body| producer.push(0, &record(&[body])).expect("room"));
        // A worker that stopped while it copied the oldest one out.
        let mut reader = crate::shm::queue::ring::RingReader::new(queues.groups()[0].rings[0].clone());
        let claimed = reader.claim(0).expect("the oldest");
        assert_eq!(producer.push(0, &record(&[2])), Err(PushError::Full));
        queues.groups()[0].rings[0].give_back(claimed);
        assert_eq!(producer.push(0, &record(&[2])), Ok(()));
        assert_eq!(served(&queues), [1, 2]);
    }
}
