//! The end of a worker: take a message, work on it, finish it; sleep when the rings are empty.
//!
//! ```text
//!  loop {
//!      while let Some(delivery) = consumer.next() {
//!          …work on delivery.body()…
//!          delivery.finish();                     // the commit: until here a crash delivers it again
//!      }
//!      consumer.park(&should_stop, timeout);
//!  }
//! ```
//!
//! In a group with order a worker owns the shard of the message in its hands until it asks for the next one: a worker
//! may leave only after `next` returned none.
//!
//! After `park` a worker asks `next` at least once before it leaves: the wake it got may stand for several messages.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::event_count::Parked;
use super::queue_figures::WorkerFigures;
use super::queues::{GroupQueue, Lanes};
use super::record::{Parts, RecordHeader};
use super::ring::RingReader;
use super::slot::Slot;
use crate::shm::memory::sync::{Ordering, fence, monotonic_coarse_ns, monotonic_ns};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;

/// Takes messages from all rings of one group.
///
/// Belongs to one process; does not cross to another thread.
pub struct Consumer {
    group: Arc<GroupQueue>,
    readers: Vec<RingReader>,
    slot: Slot,
    worker: u32,
    next_reader: usize,
    /// In a group with order: the shard this worker owns, and how many messages it has taken from it in a row.
    owned: Option<(u32, u32)>,
    next_shard: u32,
    /// Messages until one is measured again.
    until_measured: u32,
    /// The last sleep ended by time alone: a message found now came without a wake.
    slept_unasked: Option<Duration>,
    not_send: PhantomData<*const ()>,
}

impl Consumer {
    pub(crate) fn attach(group: &Arc<GroupQueue>, worker: u32) -> Self {
        Self {
            readers: group.rings.iter().cloned().map(RingReader::new).collect(),
            slot: group.slots[worker as usize].clone(),
            worker,
            next_reader: worker as usize % group.rings_per_lane(),
            // A predecessor that died with a message in its slot has left its shard too.
            owned: group.shards.owned_by(worker).map(|shard| (shard, 0)),
            next_shard: worker * group.shards.count() / group.slots.len() as u32,
            until_measured: 0,
            slept_unasked: None,
            not_send: PhantomData,
            group: Arc::clone(group),
        }
    }

    /// The next message for this worker: first the one that its slot holds (left by a predecessor that died), then one
    /// from a ring. `None` when all rings are empty.
    ///
    /// A delivery that was dropped without [`finish`](Delivery::finish) is given again.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "a delivery borrows the consumer")]
    pub fn next(&mut self) -> Option<Delivery<'_>> {
        self.next_after(&mut || {})
    }

    /// The same; in a group with order `before_release` is called before a shard is given back: what was sent for its
    /// messages must have left by then, or another worker is faster with the next one.
    #[inline]
    pub fn next_after(&mut self, before_release: &mut dyn FnMut()) -> Option<Delivery<'_>> {
        if self.slot.word().is_empty() {
            self.take_from_rings(before_release)?;
        } else {
            self.check_held(before_release)?;
        }
        Delivery::begin(self)
    }

    /// Moves one message into the slot. `None` when no message waits.
    #[inline]
    fn take_from_rings(&mut self, before_release: &mut dyn FnMut()) -> Option<()> {
        loop {
            let (reader, sequence) = self.claim(before_release)?;
            // SAFETY: the record was claimed for this worker just now; the slot is this worker's and empty.
            let taken = unsafe { self.slot.take(self.readers[reader].ring(), reader as u32, sequence) };
            if taken.is_ok() {
                self.figures().taken.add(1);
                // A worker that keeps a shard has given none back and has not slept since it looked last.
                if self.owned.is_none_or(|(_, row)| row == 1) {
                    self.wake_next();
                }
                return Some(());
            }
            self.figures().corrupt.add(1);
        }
    }

    #[inline]
    fn claim(&mut self, before_release: &mut dyn FnMut()) -> Option<(usize, u64)> {
        match self.group.lanes {
            Lanes::One => self.claim_in_lane(0),
            Lanes::Urgent => self.claim_in_lane(0).or_else(|| self.claim_in_lane(1)),
            Lanes::Ordered => self.claim_in_order(before_release),
        }
    }

    /// The adopted messages first, they are the oldest; then the ring after the one served last.
    #[inline]
    fn claim_in_lane(&mut self, lane: usize) -> Option<(usize, u64)> {
        let first = lane * self.group.rings_per_lane();
        let adopted = self.group.rings_per_lane() - 1;
        if let Some(sequence) = self.readers[first + adopted].claim(self.worker) {
            return Some((first + adopted, sequence));
        }
        for _ in 0..adopted {
            let index = if self.next_reader < adopted { self.next_reader } else { 0 };
            self.next_reader = index + 1;
            if let Some(sequence) = self.readers[first + index].claim(self.worker) {
                return Some((first + index, sequence));
            }
        }
        None
    }

    /// The next message of the shard in hand, for a while; then one of the next shard without an owner.
    fn claim_in_order(&mut self, before_release: &mut dyn FnMut()) -> Option<(usize, u64)> {
        if let Some((shard, row)) = self.owned.take() {
            if row < ROW_MAX
                && let Some(found) = self.claim_oldest(shard)
            {
                self.owned = Some((shard, row + 1));
                return Some(found);
            }
            before_release();
            self.group.shards.release(shard);
        }
        let count = self.group.shards.count();
        for _ in 0..count {
            let shard = if self.next_shard < count { self.next_shard } else { 0 };
            self.next_shard = shard + 1;
            if !self.is_takeable(shard) || !self.group.shards.acquire(shard, self.worker) {
                continue;
            }
            if let Some(found) = self.claim_oldest(shard) {
                self.owned = Some((shard, 1));
                return Some(found);
            }
            self.group.shards.release(shard);
        }
        None
    }

    /// The record with the lowest ticket in the rings of a shard that this worker owns; an adopted one before all.
    fn claim_oldest(&mut self, shard: u32) -> Option<(usize, u64)> {
        let rings = self.rings_of(shard);
        let adopted = rings.end - 1;
        if let Some(sequence) = self.readers[adopted].claim(self.worker) {
            return Some((adopted, sequence));
        }
        loop {
            let (_, index, sequence) = self.find_oldest(rings.start..adopted)?;
            if self.readers[index].claim_this(sequence, self.worker) {
                return Some((index, sequence));
            }
            // Its producer took it back to make room.
        }
    }

    /// Looks until it finds the same twice: while the first look goes from ring to ring, an older record may come to
    /// one that was empty when it was looked at, before a newer one comes to the next.
    fn find_oldest(&mut self, rings: Range<usize>) -> Option<(u64, usize, u64)> {
        let mut found = self.lowest_ticket(rings.clone())?;
        if rings.len() == 1 || mutant::ONE_LOOK_FOR_TICKETS {
            return Some(found);
        }
        loop {
            // A worker that has seen the newer record sees the older one after this.
            fence(Ordering::SeqCst);
            // None when its producer took it back: then whatever is there next.
            let again = self.lowest_ticket(rings.clone())?;
            if again == found {
                return Some(found);
            }
            found = again;
        }
    }

    fn lowest_ticket(&mut self, rings: Range<usize>) -> Option<(u64, usize, u64)> {
        let readers = rings.filter_map(|index| {
            let (ticket, sequence) = self.readers[index].first_ready()?;
            Some((ticket, index, sequence))
        });
        readers.min()
    }

    fn rings_of(&self, lane: u32) -> Range<usize> {
        let first = lane as usize * self.group.rings_per_lane();
        first..first + self.group.rings_per_lane()
    }

    /// Whether this shard has no owner and a message waits there.
    #[inline]
    fn is_takeable(&mut self, shard: u32) -> bool {
        let rings = self.rings_of(shard);
        self.group.shards.is_free(shard) && self.readers[rings].iter_mut().any(RingReader::has_ready)
    }

    /// The chain: a worker that has work and sees more wakes the next sleeper.
    #[inline]
    fn wake_next(&mut self) {
        if self.group.events.has_idle() && self.has_ready() && self.group.events.wake() {
            self.figures().chain_wakes.add(1);
        }
    }

    /// Whether there is a message that a worker could take now.
    fn has_ready(&mut self) -> bool {
        match self.group.lanes {
            Lanes::One | Lanes::Urgent => self.readers.iter_mut().any(RingReader::has_ready),
            Lanes::Ordered => (0..self.group.shards.count()).any(|shard| self.is_takeable(shard)),
        }
    }

    /// Lets go of a held message that cannot be one, instead of dying over it again and again.
    fn check_held(&mut self, before_release: &mut dyn FnMut()) -> Option<()> {
        // SAFETY: the slot is this worker's and held; the slice is dropped before anything else happens to it.
        if unsafe { self.slot.message() }.is_some() {
            pass(Point::RedeliveryStarted);
            return Some(());
        }
        self.figures().corrupt.add(1);
        self.slot.empty();
        self.take_from_rings(before_release)
    }

    /// Whether this worker, as things are now, goes on with another message when it asks for the next one.
    fn has_next(&mut self) -> bool {
        match (self.group.lanes, self.owned) {
            (Lanes::Ordered, Some((shard, row))) => {
                let rings = self.rings_of(shard);
                row < ROW_MAX && self.readers[rings].iter_mut().any(RingReader::has_ready)
            }
            (Lanes::Ordered, None) => false,
            _ => self.has_ready(),
        }
    }

    /// Sleeps until there may be something to do: a message came, or the master woke all, or a signal arrived, or
    /// `timeout` is over. Does not sleep when `stop` says so after this worker has announced that it will.
    ///
    /// A signal that arrives after `stop` was asked does not end the sleep; a caller that needs that gives a timeout or
    /// has the master wake all.
    pub fn park(&mut self, stop: &dyn Fn() -> bool, timeout: Option<Duration>) {
        let (group, worker) = (Arc::clone(&self.group), self.worker);
        let mut has_reason = || stop() || self.has_ready();
        let parked = group.events.park(worker, timeout, &mut has_reason);
        self.until_measured = 0;
        self.slept_unasked = timeout.filter(|_| parked == Parked::Unasked);
        if parked != Parked::Cancelled {
            self.figures().parks.add(1);
        }
    }

    /// A message that lay there for half of a sleep and then was found by time alone had lost its wake.
    fn check_for_lost_wake(&mut self, received_at_ns: u64) {
        if let Some(timeout) = self.slept_unasked.take()
            && u128::from(monotonic_ns().saturating_sub(received_at_ns)) > timeout.as_nanos() / 2
        {
            self.figures().late_found.add(1);
        }
    }

    fn figures(&self) -> &WorkerFigures {
        &self.group.worker_figures[self.worker as usize]
    }
}

/// Maximum number of messages taken from one shard in a row; then another shard has its turn.
const ROW_MAX: u32 = 8;

/// A message in the hands of a worker, in the worker's own slot.
///
/// Dropping it commits nothing: a worker that unwinds has not finished.
pub struct Delivery<'a> {
    consumer: &'a mut Consumer,
    header: RecordHeader,
    parts: Parts,
    earlier_attempts: u32,
    message_size: usize,
    started_at_ns: u64,
    is_measured: bool,
}

/// A busy worker reads the exact clock once for this number of messages, and after each sleep: the clock costs as much
/// as the hand-over itself. For the others a clock of a few milliseconds' grain does, which deadlines and ages need.
const MEASURE_PERIOD: u32 = 16;

impl<'a> Delivery<'a> {
    #[inline]
    fn begin(consumer: &'a mut Consumer) -> Option<Self> {
        // SAFETY: the slot is this worker's and held.
        let (message, header) = unsafe { consumer.slot.message() }?;
        let message_size = message.len();
        if consumer.slept_unasked.is_some() {
            consumer.check_for_lost_wake(header.received_at_ns);
        }
        let earlier_attempts = u32::from(consumer.slot.history().attempts);
        let is_measured = consumer.until_measured == 0;
        consumer.until_measured = if is_measured { MEASURE_PERIOD - 1 } else { consumer.until_measured - 1 };
        let started_at_ns = if is_measured { monotonic_ns() } else { monotonic_coarse_ns() };
        consumer.slot.start(started_at_ns);
        if is_measured {
            consumer.figures().wait.add(started_at_ns.saturating_sub(header.received_at_ns));
        }
        Some(Self {
            consumer,
            header,
            parts: header.parts(),
            earlier_attempts,
            message_size,
            started_at_ns,
            is_measured,
        })
    }

    /// What is known about the message besides its bytes.
    #[inline]
    pub fn meta(&self) -> &[u8] {
        &self.bytes()[self.parts.meta.clone()]
    }

    /// The message as it came.
    #[inline]
    pub fn body(&self) -> &[u8] {
        &self.bytes()[self.parts.body.clone()]
    }

    /// What the script sent along.
    #[inline]
    pub fn xdata(&self) -> &[u8] {
        &self.bytes()[self.parts.xdata.clone()]
    }

    /// 0 for the first delivery; else how many processes died while handling this message, which may then have been
    /// processed in part: treat it like a retransmission.
    pub fn earlier_attempts(&self) -> u32 {
        self.earlier_attempts
    }

    /// When the message was received, in monotonic nanoseconds.
    pub fn received_at_ns(&self) -> u64 {
        self.header.received_at_ns
    }

    /// Nanoseconds from receipt until this worker began.
    pub fn queued_ns(&self) -> u64 {
        self.started_at_ns.saturating_sub(self.header.received_at_ns)
    }

    /// Whether another message waits behind this one, for this worker; in a group with order, one of the same shard.
    pub fn is_followed(&mut self) -> bool {
        self.consumer.has_next()
    }

    /// Lets go of a message that has waited for too long to matter: it is counted as expired, not as finished.
    pub fn expire(self) {
        self.consumer.slot.empty();
        self.consumer.figures().expired.add(1);
    }

    /// The commit: the message is processed and will not be delivered again.
    #[inline]
    pub fn finish(self) {
        pass(Point::FinishBefore);
        self.consumer.slot.empty();
        pass(Point::FinishAfter);
        let figures = self.consumer.figures();
        figures.finished.add(1);
        if self.is_measured {
            figures.script.add(monotonic_ns().saturating_sub(self.started_at_ns));
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the slot stays this worker's and held until `finish`, which takes the delivery and so all slices.
        unsafe { self.consumer.slot.bytes(self.message_size) }.unwrap_or(&[])
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::{GroupPlan, PushError, QueuePlan, Queues, Record, WorkerState};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn queues(producers: u32, workers: u32, queue: u32, arena_size: Option<u32>) -> Queues {
        let group = GroupPlan { arena_size, ..GroupPlan::new("calls", workers, queue) };
        Queues::create(&QueuePlan { producers, groups: vec![group] }).expect("memory")
    }

    fn record(body: &[u8]) -> Record<'_> {
        Record { meta: b"", body, xdata: b"", received_at_ns: 0 }
    }

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let queues = queues(1, 1, 8, None);
        let (mut producer, mut consumer) = (queues.producer(0), queues.consumer(0, 0));
        for lap in 0..100_u8 {
            for number in 0..5 {
                let (meta, body, xdata) = ([lap; 3], [number; 700], [lap ^ number; 5]);
                let record = Record { meta: &meta, body: &body, xdata: &xdata, received_at_ns: 5 };
                producer.push(0, &record).expect("room");
            }
            for number in 0..5 {
                let delivery = consumer.next().expect("a message");
                assert_eq!(delivery.meta(), [lap; 3]);
                assert_eq!(delivery.body(), [number; 700]);
                assert_eq!(delivery.xdata(), [lap ^ number; 5]);
                assert_eq!((delivery.earlier_attempts(), delivery.received_at_ns()), (0, 5));
                delivery.finish();
            }
            assert!(consumer.next().is_none());
        }
        assert_eq!(producer.occupied(0), (0, 0));
    }

    #[test]
    fn sizes_from_nothing_to_the_largest() {
        let queues = queues(1, 1, 4, None);
        let (mut producer, mut consumer) = (queues.producer(0), queues.consumer(0, 0));
        let bytes = vec![0x5a; 80_000];
        for size in [0, 1, 31, 32, 33, 63, 64, 65, 1500, 32_767, 65_535, 73_696] {
            producer.push(0, &record(&bytes[..size])).expect("room");
            let delivery = consumer.next().expect("a message");
            assert_eq!(delivery.body(), &bytes[..size]);
            delivery.finish();
        }
        for size in [73_697, 80_000] {
            assert_eq!(producer.push(0, &record(&bytes[..size])), Err(PushError::TooLarge));
        }
        assert_eq!(queues.group_statistics(0).too_large, 2);
    }

    #[test]
    fn full_ring_refuses_and_goes_on_when_there_is_room() {
        let queues = queues(1, 1, 4, None);
        let (mut producer, mut consumer) = (queues.producer(0), queues.consumer(0, 0));
        for _ in 0..4 {
            producer.push(0, &record(b"x")).expect("room");
        }
        assert_eq!(producer.push(0, &record(b"x")), Err(PushError::Full));
        consumer.next().expect("a message").finish();
        assert_eq!(producer.push(0, &record(b"x")), Ok(()));
        let statistics = queues.group_statistics(0);
        assert_eq!((statistics.full, statistics.depth, statistics.capacity), (1, 4, 4));
    }

    #[test]
    fn full_arena_refuses_like_a_full_ring() {
        let queues = queues(1, 1, 1024, Some(4096));
        let mut producer = queues.producer(0);
        let accepted = (0..100).filter(|_| producer.push(0, &record(&[1; 900])).is_ok()).count();
        assert_eq!(accepted, 4);
        assert_eq!(producer.push(0, &record(&[1; 1000])), Err(PushError::TooLarge));
    }

    #[test]
    fn slow_worker_does_not_hold_the_ring() {
        let queues = queues(1, 2, 4, None);
        let mut producer = queues.producer(0);
        producer.push(0, &record(b"slow")).expect("room");
        let mut slow = queues.consumer(0, 0);
        let _held = slow.next().expect("a message");
        let mut quick = queues.consumer(0, 1);
        for _ in 0..1000 {
            producer.push(0, &record(b"quick")).expect("room");
            quick.next().expect("a message").finish();
        }
        assert_eq!(queues.worker_statistics(0, 0).state, WorkerState::Busy);
        assert_eq!(queues.worker_statistics(0, 1).state, WorkerState::Looking);
    }

    #[test]
    fn worker_serves_all_producers_in_turn() {
        let queues = queues(3, 1, 64, None);
        for index in 0..3_u8 {
            let mut producer = queues.producer(u32::from(index));
            for _ in 0..10 {
                producer.push(0, &record(&[index])).expect("room");
            }
        }
        let mut consumer = queues.consumer(0, 0);
        let mut served = [0; 3];
        for _ in 0..9 {
            let delivery = consumer.next().expect("a message");
            served[usize::from(delivery.body()[0])] += 1;
            delivery.finish();
        }
        assert_eq!(served, [3, 3, 3]);
    }

    #[test]
    fn broken_records_are_counted_and_skipped() {
        let queues = queues(1, 1, 8, None);
        let mut producer = queues.producer(0);
        let ring = &queues.groups()[0].rings[0];
        let breakages: [(u64, u32, u32); 4] = [(0, u32::MAX, 40), (1, 0, u32::MAX), (2, 0, 3), (3, 0, 39)];
        for body in [&[0; 8][..]; 5] {
            producer.push(0, &record(body)).expect("room");
        }
        for (index, offset, size) in breakages {
            ring.deface(ring.capacity() + index, offset, size);
        }
        let mut consumer = queues.consumer(0, 0);
        consumer.next().expect("the one good record").finish();
        assert!(consumer.next().is_none());
        assert_eq!(queues.group_statistics(0).corrupt, 4);
        assert_eq!(queues.producer(0).occupied(0), (0, 0));
    }

    #[test]
    fn park_returns_when_told_to_stop_when_work_waits_and_when_time_is_up() {
        let queues = queues(1, 1, 8, None);
        let mut consumer = queues.consumer(0, 0);
        consumer.park(&|| true, None);
        consumer.park(&|| false, Some(Duration::from_millis(1)));
        queues.producer(0).push(0, &record(b"x")).expect("room");
        consumer.park(&|| false, None);
        consumer.next().expect("a message").finish();
        assert_eq!(queues.group_statistics(0).parks, 1);
    }

    #[test]
    fn sleeping_workers_are_woken_until_all_is_done() {
        const MESSAGES: u64 = 20_000;
        let queues = queues(2, 3, 64, None);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for worker in 0..3 {
                let (queues, is_over) = (&queues, &is_over);
                scope.spawn(move || {
                    let mut consumer = queues.consumer(0, worker);
                    while !is_over.load(Ordering::Acquire) {
                        while let Some(delivery) = consumer.next() {
                            delivery.finish();
                        }
                        consumer.park(&|| is_over.load(Ordering::Acquire), None);
                    }
                });
            }
            for index in 0..2 {
                let queues = &queues;
                scope.spawn(move || {
                    let mut producer = queues.producer(index);
                    for number in 0..MESSAGES / 2 {
                        while producer.push(0, &record(&number.to_ne_bytes())).is_err() {
                            std::thread::yield_now();
                        }
                        producer.wake(0);
                    }
                });
            }
            let deadline = std::time::Instant::now() + Duration::from_secs(30);
            while queues.group_statistics(0).processed < MESSAGES {
                assert!(std::time::Instant::now() < deadline, "{:?}", queues.group_statistics(0));
                std::thread::yield_now();
            }
            is_over.store(true, Ordering::Release);
            queues.repair().wake_all();
        });
        assert_eq!(queues.group_statistics(0).late_found, 0);
        assert!(queues.repair().is_drained(0));
    }
}
