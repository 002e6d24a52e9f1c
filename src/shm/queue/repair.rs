//! What the master does after a death: bring what the dead process held to where the living find it.
//!
//! ```text
//!  reap all dead ─► repair each ─► wake_all ─► fork successors (same index)
//! ```
//!
//! | worker died | what it left | repair |
//! |---|---|---|
//! | before its claim, or after `finish` | nothing | nothing |
//! | between claim and hold | record CLAIMED, slot empty | copy the record into the slot, give it back |
//! | between hold and done | record CLAIMED, slot held | give the record back |
//! | before the script began | slot held, not started | keep; no attempt is counted |
//! | in the script | slot held, started | count the attempt; keep for the successor, or quarantine |
//! | as the owner of a shard | owner's word | free the shard, unless the slot is held |
//! | around its sleep | idle bit, token, epoch | clear the bit; `wake_all` does the rest |
//!
//! A producer leaves nothing to undo: what it had not published is invisible. But it may have published without waking
//! a worker, and so `wake_all` follows here too.
//!
//! **Invariants**
//! - Only a death that `waitpid` has confirmed is repaired. A stopped or slow process is never touched: it would come
//!   back and write over what others own by then.
//! - Every step can be done twice.

use std::sync::Arc;

use super::producer::Producer;
use super::queues::GroupQueue;
use super::record::{HISTORY_OFFSET, HISTORY_SIZE, History, Record, RecordHeader};
use super::ring::PushError;
use super::slot::Slot;
use crate::shm::fingerprint;
use crate::shm::proof::mutant;

/// Whether a worker's death counts against the message it was working on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// It crashed, or ran into a limit: the message may be the reason.
    Message,
    /// It was ended for a reason outside, such as the shutdown of the server.
    Nobody,
}

/// What became of the message that a dead worker held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It held none.
    Nothing,
    /// The successor of this worker receives it first.
    WillRedeliver {
        /// How many workers have begun with it so far.
        attempts: u32,
        /// Tells it from others, see [`QuarantinedRecord::fingerprint`].
        fingerprint: u64,
    },
    /// It has ended too many workers and will not be delivered again.
    Quarantined(QuarantinedRecord),
}

/// A message that was taken out of the queue because workers died over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedRecord {
    /// What was known about it besides its bytes.
    pub meta: Vec<u8>,
    /// The message as it came.
    pub body: Vec<u8>,
    /// What the script sent along.
    pub xdata: Vec<u8>,
    /// When it was received, in monotonic nanoseconds.
    pub received_at_ns: u64,
    /// How many workers have begun with it.
    pub attempts: u32,
    /// A hash over all of the above but the attempts: the same for every delivery of this message.
    pub fingerprint: u64,
}

/// What became of an attempt to give a dead worker's message to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// The worker held none.
    Nothing,
    /// The other workers of the group have it.
    Adopted,
    /// No room now: try again, or let the successor have it.
    Full,
}

/// The master's tool. It takes no lock and never waits.
pub struct Repair {
    groups: Vec<Arc<GroupQueue>>,
    adopter: Producer,
}

impl Repair {
    pub(crate) fn new(groups: &[Arc<GroupQueue>], producers: u32) -> Self {
        Self { groups: groups.to_vec(), adopter: Producer::attach_adopter(groups, producers) }
    }

    /// After the death of a producer. Its successor takes its rings over when it attaches; without one they drain.
    pub fn producer_died(&self, _index: u32) {
        for group in &self.groups {
            group.repair_figures[0].producer_deaths.add(1);
        }
    }

    /// After the death of a worker.
    ///
    /// # Panics
    /// When the plan has no such group or worker.
    pub fn worker_died(&self, group: u32, worker: u32, blame: Blame) -> Repaired {
        let repaired = self.worker_died_with_unsent(group, worker, blame);
        self.free_shard(group, worker);
        repaired
    }

    /// After the death of a worker that has not sent all it was to send: nobody else goes on with its shard.
    ///
    /// # Panics
    /// When the plan has no such group or worker.
    pub fn worker_died_with_unsent(&self, group: u32, worker: u32, blame: Blame) -> Repaired {
        let group = &self.groups[group as usize];
        group.events.forget(worker);
        group.repair_figures[0].worker_deaths.add(1);
        let slot = &group.slots[worker as usize];
        Self::finish_claim(group, slot, worker);
        if slot.word().is_empty() { Repaired::Nothing } else { Self::judge(group, slot, blame) }
    }

    /// Gives back the shard of a dead and repaired worker.
    fn free_shard(&self, group: u32, worker: u32) {
        let group = &self.groups[group as usize];
        // While the message is to be delivered again, no other worker may take its shard.
        if group.slots[worker as usize].word().is_empty() || mutant::SHARD_FREED_TOO_EARLY {
            group.shards.forget(worker);
        }
    }

    /// Counts a worker that is about to be ended because it has worked on one message for too long.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn count_deadline_kill(&self, group: u32) {
        self.groups[group as usize].repair_figures[0].deadline_killed.add(1);
    }

    /// A record that the worker was copying out moves on to its slot, as the worker would have done.
    fn finish_claim(group: &GroupQueue, slot: &Slot, worker: u32) {
        for (ring_index, ring) in (0..).zip(&group.rings) {
            let Some(sequence) = ring.claimed_by(worker) else { continue };
            if slot.word().is_of(ring_index, sequence) {
                ring.give_back(sequence);
                continue;
            }
            // SAFETY: the worker that claimed the record is dead, and so its record and its empty slot are the
            // master's. (A worker claims only with an empty slot.)
            match unsafe { slot.take(ring, ring_index, sequence) } {
                Ok(()) => group.repair_figures[0].claims_finished.add(1),
                Err(_) => group.repair_figures[0].corrupt.add(1),
            }
        }
    }

    fn judge(group: &GroupQueue, slot: &Slot, blame: Blame) -> Repaired {
        let figures = &group.repair_figures[0];
        // The protocol writes only rings that exist: another number is damage, and the slot holds no message.
        let is_of_a_ring = (slot.word().ring() as usize) < group.rings.len();
        // SAFETY: the worker is dead; the slot is held, and no other process empties it.
        let held = unsafe { slot.message() }.filter(|_| is_of_a_ring);
        let Some((message, header)) = held else {
            figures.corrupt.add(1);
            slot.empty();
            return Repaired::Nothing;
        };
        let history = counted(slot, blame);
        if u32::from(history.blamed) >= group.attempts_max {
            let record = quarantined(message, &header, history);
            figures.quarantined.add(1);
            slot.empty();
            return Repaired::Quarantined(record);
        }
        let fingerprint = fingerprint_of_record(message);
        slot.count_attempt(history);
        figures.redelivered.add(1);
        Repaired::WillRedeliver { attempts: u32::from(history.attempts), fingerprint }
    }

    /// Once after each batch of deaths, before successors are forked: wakes that died with their sender are made good.
    pub fn wake_all(&self) {
        for group in &self.groups {
            group.events.wake_all();
        }
    }

    /// Gives the message of a dead and repaired worker, which will not be forked again soon, to the other workers, and its
    /// shard with it. What it was to send has left.
    ///
    /// # Panics
    /// When the plan has no such group or worker.
    pub fn adopt(&mut self, group: u32, worker: u32) -> Adoption {
        let queue = Arc::clone(&self.groups[group as usize]);
        let slot = &queue.slots[worker as usize];
        if slot.word().is_empty() {
            queue.shards.forget(worker);
            queue.events.wake_all();
            return Adoption::Nothing;
        }
        // SAFETY: the worker is dead; the slot is held, and no other process empties it.
        let Some((message, header)) = (unsafe { slot.message() }) else { return Adoption::Nothing };
        let lane = queue.lane_of(slot.word().ring());
        match self.adopter.push_with_history(group, lane, &record(message, &header), slot.history()) {
            Ok(()) => {}
            Err(PushError::Full | PushError::TooLarge) => return Adoption::Full,
        }
        slot.empty();
        queue.shards.forget(worker);
        queue.repair_figures[0].adopted.add(1);
        self.adopter.wake(group);
        Adoption::Adopted
    }

    /// Whether the words of a group's rings and slots can be what the protocol writes. If not, no repair helps: the
    /// master replaces the memory. Records are not read here: the worker that takes one checks it, counts it as corrupt
    /// and skips it.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn is_sound(&self, group: u32) -> bool {
        let group = &self.groups[group as usize];
        let is_of_a_ring = |slot: &Slot| {
            let word = slot.word();
            word.is_empty() || (word.ring() as usize) < group.rings.len()
        };
        group.rings.iter().all(|ring| ring.is_sound(group.slots.len() as u32))
            && group.slots.iter().all(is_of_a_ring)
    }

    /// Whether no message of the group waits or is being worked on.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn is_drained(&self, group: u32) -> bool {
        let group = &self.groups[group as usize];
        group.rings.iter().all(|ring| ring.is_drained())
            && group.slots.iter().all(|slot| slot.word().is_empty())
    }
}

/// The history of a message with the death of its worker. A death before the script began is no attempt.
fn counted(slot: &Slot, blame: Blame) -> History {
    let history = slot.history();
    if slot.started_at() == 0 {
        return history;
    }
    let blamed = history.blamed.saturating_add(u16::from(blame == Blame::Message));
    History { attempts: history.attempts.saturating_add(1), blamed }
}

fn record<'a>(message: &'a [u8], header: &RecordHeader) -> Record<'a> {
    let parts = header.parts();
    Record {
        meta: &message[parts.meta],
        body: &message[parts.body],
        xdata: &message[parts.xdata],
        received_at_ns: header.received_at_ns,
    }
}

fn quarantined(message: &[u8], header: &RecordHeader, history: History) -> QuarantinedRecord {
    let record = record(message, header);
    QuarantinedRecord {
        meta: record.meta.to_vec(),
        body: record.body.to_vec(),
        xdata: record.xdata.to_vec(),
        received_at_ns: record.received_at_ns,
        attempts: u32::from(history.attempts),
        fingerprint: fingerprint_of_record(message),
    }
}

/// Over the whole record without the part of its header that changes from delivery to delivery.
fn fingerprint_of_record(message: &[u8]) -> u64 {
    let (before, rest) = message.split_at(HISTORY_OFFSET.min(message.len()));
    fingerprint(&[before, rest.get(HISTORY_SIZE..).unwrap_or_default()])
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::{Consumer, GroupPlan, QueuePlan, Queues};

    fn queues(attempts_max: u32) -> Queues {
        let group = GroupPlan { arena_size: Some(4096), attempts_max, ..GroupPlan::new("calls", 2, 4) };
        Queues::create(&QueuePlan { producers: 1, groups: vec![group] }).expect("memory")
    }

    fn push(queues: &Queues, body: &[u8]) {
        let record = Record { meta: b"meta", body, xdata: b"xdata", received_at_ns: 9 };
        let mut producer = queues.producer(0);
        producer.push(0, &record).expect("room");
        producer.wake(0);
    }

    /// A worker that dies in its script: the delivery is dropped without `finish`.
    fn begin(consumer: &mut Consumer) -> (Vec<u8>, u32) {
        let delivery = consumer.next().expect("a message");
        (delivery.body().to_vec(), delivery.earlier_attempts() + 1)
    }

    fn attempts_of(repaired: Repaired) -> Option<u32> {
        match repaired {
            Repaired::WillRedeliver { attempts, .. } => Some(attempts),
            _ => None,
        }
    }

    #[test]
    fn worker_without_message_leaves_nothing() {
        let queues = queues(2);
        assert_eq!(queues.repair().worker_died(0, 1, Blame::Message), Repaired::Nothing);
    }

    #[test]
    fn successor_receives_the_message_of_the_dead_first() {
        let queues = queues(2);
        push(&queues, b"first");
        push(&queues, b"second");
        assert_eq!(begin(&mut queues.consumer(0, 0)), (b"first".to_vec(), 1));

        let repaired = queues.repair().worker_died(0, 0, Blame::Message);

        assert_eq!(attempts_of(repaired), Some(1));
        let mut successor = queues.consumer(0, 0);
        assert_eq!(begin(&mut successor), (b"first".to_vec(), 2));
        successor.next().expect("still held").finish();
        assert_eq!(begin(&mut successor), (b"second".to_vec(), 1));
    }

    #[test]
    fn message_that_ends_worker_after_worker_is_quarantined() {
        let queues = queues(2);
        push(&queues, b"poison");
        let repair = queues.repair();
        for attempts in 1..=2 {
            assert_eq!(begin(&mut queues.consumer(0, 0)), (b"poison".to_vec(), attempts));
            let repaired = repair.worker_died(0, 0, Blame::Message);
            if attempts == 1 {
                assert_eq!(attempts_of(repaired), Some(1));
                continue;
            }
            let Repaired::Quarantined(record) = repaired else { panic!("{repaired:?}") };
            assert_eq!(
                (&record.body[..], &record.meta[..], &record.xdata[..]),
                (&b"poison"[..], &b"meta"[..], &b"xdata"[..])
            );
            assert_eq!((record.attempts, record.received_at_ns), (2, 9));
        }
        assert!(queues.consumer(0, 0).next().is_none());
        assert!(repair.is_drained(0));
        assert_eq!(queues.group_statistics(0).quarantined, 1);
    }

    #[test]
    fn deaths_that_are_not_the_messages_fault_never_quarantine() {
        let queues = queues(1);
        push(&queues, b"innocent");
        for attempts in 1..=5 {
            assert_eq!(begin(&mut queues.consumer(0, 0)).1, attempts);
            let repaired = queues.repair().worker_died(0, 0, Blame::Nobody);
            assert_eq!(attempts_of(repaired), Some(attempts));
        }
    }

    #[test]
    fn death_before_the_script_counts_no_attempt() {
        let queues = queues(1);
        push(&queues, b"innocent");
        begin(&mut queues.consumer(0, 0));
        assert_eq!(attempts_of(queues.repair().worker_died(0, 0, Blame::Nobody)), Some(1));
        // The successor dies before it asks for its message.
        assert_eq!(attempts_of(queues.repair().worker_died(0, 0, Blame::Message)), Some(1));
        assert_eq!(begin(&mut queues.consumer(0, 0)).1, 2);
    }

    #[test]
    fn record_claimed_but_not_yet_held_moves_to_the_slot() {
        let queues = queues(1);
        push(&queues, b"claimed");
        // A worker that dies right after its claim.
        let mut reader = crate::shm::queue::ring::RingReader::new(queues.groups()[0].rings[0].clone());
        reader.claim(1).expect("a message");
        assert!(!queues.repair().is_drained(0));

        assert_eq!(queues.repair().worker_died(0, 0, Blame::Message), Repaired::Nothing);
        let repaired = queues.repair().worker_died(0, 1, Blame::Message);

        assert_eq!(attempts_of(repaired), Some(0));
        assert_eq!(begin(&mut queues.consumer(0, 1)), (b"claimed".to_vec(), 1));
        assert_eq!(queues.producer(0).occupied(0), (0, 0));
    }

    #[test]
    fn a_slot_that_names_no_ring_of_its_group_is_let_go_and_counted() {
        // One producer and the master each have a ring.
        for (ring, expected) in [(0, Some(1)), (1, Some(1)), (2, None), (0x7fff, None)] {
            let queues = queues(2);
            push(&queues, b"held");
            begin(&mut queues.consumer(0, 0));
            queues.groups()[0].slots[0].deface(ring);
            let repaired = queues.repair().worker_died(0, 0, Blame::Message);
            assert_eq!(attempts_of(repaired), expected, "{ring}");
            assert_eq!(queues.group_statistics(0).corrupt, u64::from(expected.is_none()), "{ring}");
            assert_eq!(queues.repair().is_drained(0), expected.is_none(), "{ring}");
        }
    }

    #[test]
    fn what_no_protocol_writes_is_told_from_what_one_does() {
        use crate::shm::queue::ring::Defaced;
        use crate::shm::queue::ring::Defaced::*;
        let check = |defaced: Option<Defaced>, expected: bool| {
            let queues = queues(2);
            (0..3).for_each(|_| push(&queues, b"message"));
            begin(&mut queues.consumer(0, 0));
            let ring = &queues.groups()[0].rings[0];
            assert_eq!(ring.capacity(), 4, "records begin at this number");
            defaced.into_iter().for_each(|defaced| ring.deface_words(defaced));
            assert_eq!(queues.repair().is_sound(0), expected, "{defaced:?}");
        };
        let (claimed_by_0, claimed_by_2) = (6 << 16 | 0x8000, 6 << 16 | 0x8002);
        check(None, true);
        // Sequence 6 is the last one published; its words are done, ready and claimed by a worker there is.
        [6 << 16, 6 << 16 | 1, claimed_by_0].into_iter().for_each(|word| check(Some(Word(6, word)), true));
        // No such worker, no state, an older record, one of another place, one that is yet to come, noise.
        for word in [claimed_by_2, 6 << 16 | 2, 2 << 16 | 1, 5 << 16 | 1, 10 << 16 | 1, 0, u64::MAX] {
            check(Some(Word(6, word)), false);
        }
        [Head(8), Head(u64::MAX), Head(0), Tail(3), Tail(10), Tail(u64::MAX), Hint(9), Hint(u64::MAX)]
            .into_iter()
            .for_each(|words| check(Some(words), false));
        [Head(7), Tail(6), Hint(8), Hint(0)].into_iter().for_each(|words| check(Some(words), true));
    }

    #[test]
    fn memory_at_work_is_always_sound() {
        let queues = queues(2);
        let repair = queues.repair();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut producer, mut consumer) = (queues.producer(0), queues.consumer(0, 0));
                let record = Record { meta: b"", body: b"b", xdata: b"", received_at_ns: 1 };
                for round in 0..20_000 {
                    for _ in 0..round % 5 {
                        // Four at a time find room: the worker has emptied the ring.
                        producer.push(0, &record).expect("room");
                    }
                    while let Some(delivery) = consumer.next() {
                        delivery.finish();
                    }
                }
                is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(repair.is_sound(0));
            }
        });
    }

    #[test]
    fn adopted_message_keeps_its_history_and_goes_to_another_worker() {
        let queues = queues(3);
        push(&queues, b"orphan");
        begin(&mut queues.consumer(0, 0));
        let mut repair = queues.repair();
        assert_eq!(repair.adopt(0, 1), Adoption::Nothing);
        repair.worker_died(0, 0, Blame::Message);

        assert_eq!(repair.adopt(0, 0), Adoption::Adopted);

        assert_eq!(repair.adopt(0, 0), Adoption::Nothing);
        let mut other = queues.consumer(0, 1);
        let delivery = other.next().expect("adopted");
        assert_eq!(
            (delivery.body(), delivery.meta(), delivery.xdata()),
            (&b"orphan"[..], &b"meta"[..], &b"xdata"[..])
        );
        assert_eq!((delivery.earlier_attempts(), delivery.received_at_ns()), (1, 9));
        delivery.finish();
        assert!(repair.is_drained(0));
        let statistics = queues.group_statistics(0);
        assert_eq!((statistics.delegated, statistics.adopted, statistics.processed), (1, 1, 1));
    }

    #[test]
    fn adoption_waits_for_room() {
        let queues = queues(3);
        let mut repair = queues.repair();
        for expected in
            [Adoption::Adopted, Adoption::Adopted, Adoption::Adopted, Adoption::Adopted, Adoption::Full]
        {
            push(&queues, b"orphan");
            // A worker that sees the receivers' ring only.
            let group = &queues.groups()[0];
            let sequence =
                crate::shm::queue::ring::RingReader::new(group.rings[0].clone()).claim(0).expect("a message");
            assert!(sequence >= group.rings[0].capacity());
            repair.worker_died(0, 0, Blame::Message);
            assert_eq!(repair.adopt(0, 0), expected);
        }
        let mut consumer = queues.consumer(0, 0);
        for _ in 0..5 {
            consumer.next().expect("held or adopted").finish();
        }
        assert!(repair.is_drained(0));
    }
}
