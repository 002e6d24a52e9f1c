//! Shards: how the messages of one key are kept in order.
//!
//! ```text
//!  key ─hash─► shard ─► one ring per producer, one for adopted messages
//!  shard { owner: 0 or worker + 1 ; ticket: the number of the next message }
//!
//!  producer   ticket := shard.ticket++ ─► record, READY
//!  worker     owner: 0 ─CAS─► itself ─► the record with the lowest ticket ─► script ─► finish ─► … ─► owner := 0
//! ```
//!
//! Only the owner claims from the rings of its shard, and it owns the shard until it has finished what it took: so no
//! two messages of a shard are worked on at the same time. A worker that dies still owns the shard of the message in
//! its slot; the successor finds the message, then the shard. No other worker may take that shard before.
//!
//! **Invariants**
//! - A worker owns at most one shard.
//! - The owner's word is changed from 0 by the new owner (compare-and-swap), to 0 by the owner or, when that is dead,
//!   by the master. Release and Acquire: the next owner of the shard sees all that was taken from its rings.
//! - A producer takes its ticket before it publishes. When one push has returned before another one began, its ticket
//!   is lower. Tickets of producers that died are gaps; they are only compared.

use crate::shm::memory::segment::{Place, Plan, Segment, Shareable, Shared};
use crate::shm::memory::sync::{AtomicU64, Ordering, fence};
use crate::shm::proof::crash_point::{Point, pass};

/// The owner of a shard. Written by workers.
#[derive(Default)]
#[repr(C, align(128))]
struct OwnerLine {
    owner: AtomicU64,
}

// SAFETY: one atomic integer.
unsafe impl Shareable for OwnerLine {}

/// The next ticket of a shard. Written by producers.
#[derive(Default)]
#[repr(C, align(128))]
struct TicketLine {
    next: AtomicU64,
}

// SAFETY: one atomic integer.
unsafe impl Shareable for TicketLine {}

/// The planned room of the shards of a group.
pub(crate) struct ShardsPlace {
    owners: Place<OwnerLine>,
    tickets: Place<TicketLine>,
}

impl ShardsPlace {
    pub(crate) fn reserve(plan: &mut Plan, count: u32) -> Self {
        Self { owners: plan.reserve(count as usize), tickets: plan.reserve(count as usize) }
    }
}

/// The shards of one group; none in a group without order.
#[derive(Clone)]
pub(crate) struct Shards {
    owners: Shared<OwnerLine>,
    tickets: Shared<TicketLine>,
}

impl Shards {
    pub(crate) fn create(segment: &Segment, place: ShardsPlace) -> Self {
        Self { owners: segment.claim(place.owners), tickets: segment.claim(place.tickets) }
    }

    #[inline]
    pub(crate) fn count(&self) -> u32 {
        self.owners.len() as u32
    }

    /// The number of the next message of a shard.
    #[inline]
    pub(crate) fn ticket(&self, shard: u32) -> u64 {
        // AcqRel: a worker that draws a later ticket has seen what was published before this one was drawn.
        self.tickets[shard as usize].next.fetch_add(1, Ordering::AcqRel)
    }

    #[inline]
    pub(crate) fn is_free(&self, shard: u32) -> bool {
        self.owner(shard).load(Ordering::Acquire) == FREE
    }

    /// Takes a shard; false when another worker has it.
    #[inline]
    pub(crate) fn acquire(&self, shard: u32, worker: u32) -> bool {
        let taken = self
            .owner(shard)
            .compare_exchange(FREE, word(worker), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if taken {
            pass(Point::ShardTaken);
        }
        taken
    }

    /// Gives a shard back. What was published while it was owned may have been seen by no other worker: the worker that
    /// gives it back looks again, and wakes others if it finds more than it can do.
    #[inline]
    pub(crate) fn release(&self, shard: u32) {
        self.owner(shard).store(FREE, Ordering::Release);
        pass(Point::ShardReleased);
        // Full fence: the shard is free before the idle mask is read. Pairs with the fence in `park`.
        fence(Ordering::SeqCst);
    }

    /// The shard this worker owns.
    pub(crate) fn owned_by(&self, worker: u32) -> Option<u32> {
        (0..self.count()).find(|shard| self.owner(*shard).load(Ordering::Acquire) == word(worker))
    }

    /// Frees the shard of a worker that is dead and holds nothing.
    pub(crate) fn forget(&self, worker: u32) {
        if let Some(shard) = self.owned_by(worker) {
            self.release(shard);
        }
    }

    #[inline]
    fn owner(&self, shard: u32) -> &AtomicU64 {
        &self.owners[shard as usize].owner
    }
}

const FREE: u64 = 0;

#[inline]
fn word(worker: u32) -> u64 {
    u64::from(worker) + 1
}

/// So many shards for each worker: few enough to look through, many enough that two busy keys rarely share one.
const SHARDS_PER_WORKER: u32 = if cfg!(loom) { 1 } else { 8 };

/// The number of shards of a group, at most `rings_max / rings_each`.
pub(crate) fn shard_count(workers: u32, rings_max: u32, rings_each: u32) -> u32 {
    let wanted = workers.saturating_mul(SHARDS_PER_WORKER).next_power_of_two();
    let possible = (rings_max / rings_each).max(1);
    // The largest power of two that is possible.
    wanted.min(1 << possible.ilog2())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::{Adoption, Blame, GroupPlan, Lanes, Placement, Producer, QueuePlan, Queues, Record};

    #[test]
    fn there_are_several_shards_for_each_worker_and_never_more_rings_than_words_can_name() {
        let check = |workers: u32, rings_each: u32, expected: u32| {
            assert_eq!(shard_count(workers, 1 << 15, rings_each), expected, "{workers} {rings_each}");
        };
        check(1, 2, 8);
        check(3, 2, 32);
        check(8, 3, 64);
        check(1024, 2, 8192);
        check(1024, 17, 1024);
        check(1024, 32768, 1);
        check(8, 40_000, 1);
    }

    #[test]
    fn a_shard_has_one_owner() {
        let mut plan = Plan::default();
        let place = ShardsPlace::reserve(&mut plan, 4);
        let shards = Shards::create(&plan.create(c"test-shards").expect("memory"), place);
        assert!(shards.acquire(2, 7) && !shards.acquire(2, 8) && !shards.is_free(2));
        assert_eq!((shards.owned_by(7), shards.owned_by(8)), (Some(2), None));
        shards.forget(8);
        assert!(!shards.is_free(2));
        shards.forget(7);
        assert!(shards.is_free(2) && shards.acquire(2, 8));
        assert_eq!([shards.ticket(2), shards.ticket(2), shards.ticket(3)], [0, 1, 0]);
    }

    fn queues(producers: u32, workers: u32) -> Queues {
        let group = GroupPlan { lanes: Lanes::Ordered, ..GroupPlan::new("calls", workers, 64) };
        Queues::create(&QueuePlan { producers, groups: vec![group] }).expect("memory")
    }

    fn push(producer: &mut Producer, key: u64, body: &[u8]) {
        let record = Record { meta: b"", body, xdata: b"", received_at_ns: 0 };
        producer.push_to(0, Placement::Keyed(key), &record).expect("room");
    }

    #[test]
    fn messages_of_one_key_wait_for_each_other_and_others_do_not() {
        let queues = queues(1, 3);
        let mut producer = queues.producer(0);
        for body in [b"a1", b"a2", b"b1"] {
            push(&mut producer, u64::from(body[0]), body);
        }
        let (mut first, mut second, mut third) =
            (queues.consumer(0, 0), queues.consumer(0, 1), queues.consumer(0, 2));

        let mut held = vec![];
        let a = first.next().expect("a message");
        held.push(a.body().to_vec());
        let b = second.next().expect("a message");
        held.push(b.body().to_vec());
        held.sort();
        assert_eq!(held, [b"a1", b"b1"], "not two of the same key at once");
        assert!(third.next().is_none(), "a2 waits for a1");

        b.finish();
        a.finish();
        assert!(third.next().is_none(), "the key is not free before its worker has asked again");
        let next = [first.next().map(|d| d.body().to_vec()), second.next().map(|d| d.body().to_vec())];
        assert!(next.contains(&Some(b"a2".to_vec())), "{next:?}");
    }

    #[test]
    fn messages_of_one_key_keep_the_order_in_which_several_producers_took_them() {
        let queues = queues(3, 2);
        let mut producers: Vec<_> = (0..3).map(|index| queues.producer(index)).collect();
        let order = [2, 0, 0, 1, 2, 1, 0, 2, 2, 1, 0, 1, 1, 2, 0, 0, 0, 2, 1, 0];
        for (number, producer) in (0_u8..).zip(order) {
            push(&mut producers[producer], 7, &[number]);
        }
        let mut consumer = queues.consumer(0, 1);
        for number in 0..order.len() as u8 {
            let delivery = consumer.next().expect("a message");
            assert_eq!(delivery.body(), [number]);
            delivery.finish();
        }
        assert!(consumer.next().is_none() && queues.repair().is_drained(0));
    }

    #[test]
    fn a_worker_that_has_had_its_row_lets_other_keys_come_first() {
        let queues = queues(1, 1);
        let mut producer = queues.producer(0);
        (0..20).for_each(|_| push(&mut producer, 1, b"many"));
        push(&mut producer, 2, b"one");
        let mut consumer = queues.consumer(0, 0);
        let mut served = Vec::new();
        while let Some(delivery) = consumer.next() {
            served.push(delivery.body().to_vec());
            delivery.finish();
        }
        let place = served.iter().position(|body| body == b"one").expect("served");
        assert!(place <= 8 && served.len() == 21, "the other key came after {place}");
    }

    #[test]
    fn a_dead_workers_successor_goes_on_where_it_was_and_nobody_else() {
        let queues = queues(1, 2);
        let mut producer = queues.producer(0);
        [b"1", b"2", b"3"].iter().for_each(|body| push(&mut producer, 5, *body));
        queues.consumer(0, 0).next().expect("the first");
        let repair = queues.repair();
        repair.worker_died(0, 0, Blame::Message);
        repair.worker_died(0, 0, Blame::Nobody);

        let mut other = queues.consumer(0, 1);
        assert!(other.next().is_none(), "the shard belongs to the dead worker's successor");
        let mut successor = queues.consumer(0, 0);
        for (body, attempts) in [(b"1", 1), (b"2", 0), (b"3", 0)] {
            let delivery = successor.next().expect("a message");
            assert_eq!((delivery.body(), delivery.earlier_attempts()), (&body[..], attempts));
            delivery.finish();
        }
        assert!(successor.next().is_none());
    }

    #[test]
    fn what_a_dead_worker_held_comes_first_for_the_one_who_adopts_it() {
        let queues = queues(2, 2);
        push(&mut queues.producer(1), 5, b"1");
        push(&mut queues.producer(0), 5, b"2");
        queues.consumer(0, 0).next().expect("the first");
        let mut repair = queues.repair();
        repair.worker_died(0, 0, Blame::Message);
        assert_eq!(repair.adopt(0, 0), Adoption::Adopted);

        let mut other = queues.consumer(0, 1);
        for (body, attempts) in [(b"1", 1), (b"2", 0)] {
            let delivery = other.next().expect("a message");
            assert_eq!((delivery.body(), delivery.earlier_attempts()), (&body[..], attempts));
            delivery.finish();
        }
        assert!(other.next().is_none() && repair.is_drained(0));
        let statistics = queues.group_statistics(0);
        assert_eq!((statistics.delegated, statistics.adopted, statistics.processed), (2, 1, 2));
    }

    #[test]
    fn a_shard_is_free_after_a_death_without_a_message_and_after_a_quarantine() {
        let queues = queues(1, 2);
        let mut producer = queues.producer(0);
        [b"1", b"2"].iter().for_each(|body| push(&mut producer, 5, *body));
        for _ in 0..2 {
            queues.consumer(0, 0).next().expect("the first");
            queues.repair().worker_died(0, 0, Blame::Message);
        }
        assert_eq!(queues.group_statistics(0).quarantined, 1);
        let mut other = queues.consumer(0, 1);
        other.next().expect("the second").finish();
        // Dead after its last message, before it asked for another one.
        queues.repair().worker_died(0, 1, Blame::Nobody);
        push(&mut producer, 5, b"3");
        queues.consumer(0, 0).next().expect("the third").finish();
    }
}
