//! The timer's end: moves due messages into the rings of their groups.
//!
//! ```text
//!  look at all slots ─► the due ones, oldest first:  read ─► MOVING ─► push into the ring ─► free
//!                                                               └── the ring is full: WAITING again
//! ```

use std::time::Duration;

use super::queue::DelayQueue;
use super::slot::{DelaySlot, DelayState, Target};
use crate::shm::memory::sync::{Ordering, fence, monotonic_ns};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;
use crate::shm::queue::producer::Producer;
use crate::shm::queue::record::{Record, RecordHeader};
use crate::shm::queue::ring::PushError;

/// Moves due messages into the rings of their groups.
pub struct Scheduler {
    queue: DelayQueue,
    producer: Producer,
    /// What is due at one look: time and slot.
    due: Vec<(u64, usize)>,
    /// Groups to wake when the look is over.
    is_touched: Vec<u32>,
    /// Groups and lanes that were full at this look: a later message does not overtake the one that found them so.
    is_full: Vec<(u32, usize)>,
    /// The message in hand, out of its blocks.
    message: Vec<u8>,
}

/// What a look at all slots did and saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Messages that are in a ring now.
    pub moved: u32,
    /// Messages that are due and whose ring is full.
    pub held_up: u32,
    /// Messages that could not be what a sender wrote; they are gone.
    pub corrupt: u32,
    /// When the next one is due, if there is one.
    pub next_due_ns: Option<u64>,
}

impl Scheduler {
    pub(super) fn new(queue: DelayQueue, producer: Producer) -> Scheduler {
        let (due, is_touched, is_full, message) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut scheduler = Scheduler { queue, producer, due, is_touched, is_full, message };
        scheduler.recover();
        scheduler
    }

    /// Moves what is due at `now_ns`, the longest due first; everything, when every message counts as due.
    pub fn sweep(&mut self, now_ns: u64) -> Sweep {
        let until_ns = if self.queue.is_all_expired() { u64::MAX } else { now_ns };
        let mut sweep = Sweep { next_due_ns: self.look(until_ns), ..Sweep::default() };
        let mut due = std::mem::take(&mut self.due);
        due.sort_unstable();
        self.is_full.clear();
        for (due_ns, index) in due.drain(..) {
            match self.move_message(index, due_ns.min(now_ns)) {
                Ok(()) => sweep.moved += 1,
                Err(NotMoved::Full) => sweep.held_up += 1,
                Err(NotMoved::Corrupt) => sweep.corrupt += 1,
            }
        }
        self.due = due;
        for group in self.is_touched.drain(..) {
            self.producer.wake(group);
        }
        sweep
    }

    /// Sleeps until a message that is due before `until_ns` may be there, at most for `time_max`.
    pub fn sleep(&mut self, until_ns: u64, time_max: Duration) {
        let wakeup = self.queue.wakeup();
        let key = wakeup.epoch.0.load(Ordering::Acquire);
        wakeup.asleep_until_ns.store(until_ns, Ordering::Relaxed);
        // Full fence: until when is stored before the slots are looked at. Pairs with the fence in
        // `DelaySender::wake_scheduler`.
        fence(Ordering::SeqCst);
        let until_ns = if self.queue.is_all_expired() { u64::MAX } else { until_ns };
        if !self.has_due_before(until_ns) {
            let time = Duration::from_nanos(until_ns.saturating_sub(monotonic_ns()));
            wakeup.epoch.sleep(key, Some(time.min(time_max)));
        }
        wakeup.asleep_until_ns.store(0, Ordering::Relaxed);
    }

    /// Does nothing for a while, as a ring is full; a wake ends it.
    pub fn pause(&self, time: Duration) {
        let epoch = &self.queue.wakeup().epoch;
        epoch.sleep(epoch.0.load(Ordering::Acquire), Some(time));
    }

    /// Slots that the predecessor was about to move when it died: pushed, or not. When pushed, it may have freed some
    /// of the blocks, too.
    fn recover(&mut self) {
        for index in 0..self.queue.slots.len() {
            let Some(record) = self.queue.slots[index].state().moved_as() else { continue };
            let Target { group, placement, first_block, .. } = self.queue.targets[index].load();
            let is_pushed = self.producer.next_record(group, placement).is_some_and(|next| record < next);
            if !is_pushed || mutant::MOVED_AGAIN_BY_SUCCESSOR {
                self.queue.slots[index].set(DelayState::WAITING);
            } else if mutant::CHAIN_TRUSTED_BY_SUCCESSOR {
                self.queue.free(index, first_block);
            } else {
                self.queue.free_by_search(index);
            }
            if is_pushed {
                self.producer.wake(group);
            }
        }
    }

    /// Fills `due` with what is due, and gives the time of the next message after it.
    fn look(&mut self, until_ns: u64) -> Option<u64> {
        let mut next = None;
        self.due.clear();
        for (index, slot) in self.queue.slots.iter().enumerate() {
            let Some(due_ns) = slot.due_if_waiting() else { continue };
            match due_ns <= until_ns {
                true => self.due.push((due_ns, index)),
                false => next = Some(next.map_or(due_ns, |earlier: u64| earlier.min(due_ns))),
            }
        }
        next
    }

    fn has_due_before(&self, until_ns: u64) -> bool {
        self.queue.slots.iter().filter_map(DelaySlot::due_if_waiting).any(|due_ns| due_ns < until_ns)
    }

    /// `since_ns` is when the message should have come into its ring.
    fn move_message(&mut self, index: usize, since_ns: u64) -> Result<(), NotMoved> {
        let Target { group, placement, first_block, .. } = self.queue.targets[index].load();
        let lane = (group, self.producer.lane(group, placement).unwrap_or_default());
        if self.is_full.contains(&lane) {
            return Err(NotMoved::Full);
        }
        let next = self.producer.next_record(group, placement);
        let (Some(header), Some(next)) = (self.read(index), next) else {
            self.queue.free_by_search(index);
            return Err(NotMoved::Corrupt);
        };
        let record = record_of(&header, &self.message, since_ns);
        self.queue.slots[index].set(DelayState::moving(next));
        pass(Point::DelayMoving);
        match self.producer.offer(group, placement, &record) {
            Ok(()) => {
                pass(Point::DelayMoved);
                self.queue.free(index, first_block);
                if !self.is_touched.contains(&group) {
                    self.is_touched.push(group);
                }
                Ok(())
            }
            Err(PushError::Full) => {
                self.queue.slots[index].set(DelayState::WAITING);
                self.is_full.push(lane);
                Err(NotMoved::Full)
            }
            Err(PushError::TooLarge) => {
                self.queue.free(index, first_block);
                Err(NotMoved::Corrupt)
            }
        }
    }

    /// Copies a message out of its blocks; `None` when it cannot be what a sender wrote.
    fn read(&mut self, index: usize) -> Option<RecordHeader> {
        let Target { size, first_block, .. } = self.queue.targets[index].load();
        // SAFETY: the slot was seen WAITING, and this is the only process that takes it out of that state.
        unsafe { self.queue.blocks.read(index as u32, first_block, size, &mut self.message)? };
        RecordHeader::decode(&self.message)
    }
}

fn record_of<'a>(header: &RecordHeader, message: &'a [u8], since_ns: u64) -> Record<'a> {
    let parts = header.parts();
    Record {
        meta: &message[parts.meta],
        body: &message[parts.body],
        xdata: &message[parts.xdata],
        // The wait in the ring begins here, also while the ring is full.
        received_at_ns: since_ns,
    }
}

enum NotMoved {
    Full,
    Corrupt,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::queue::tests::{record, scene, scene_with};
    use super::super::slot::SharedTarget;
    use super::*;
    use crate::shm::Tended;
    use crate::shm::{Placement, RECORD_SIZE_MAX};

    const NEVER: Duration = Duration::ZERO;

    #[test]
    fn what_is_due_is_moved_and_the_rest_waits() {
        let scene = scene(4, 8);
        for (due_ns, body) in [(30, 3), (10, 1), (20, 2)] {
            scene.send(due_ns, 0, &[body]).unwrap();
        }
        let mut scheduler = scene.scheduler();
        let sweep = scheduler.sweep(20);
        assert_eq!(sweep, Sweep { moved: 2, next_due_ns: Some(30), ..Sweep::default() });
        assert_eq!((scene.served(0), scene.delayed.unfinished().0), (vec![1, 2], 1));
        assert_eq!(scheduler.sweep(29).moved, 0);
        assert_eq!(scheduler.sweep(30), Sweep { moved: 1, ..Sweep::default() });
        assert_eq!((scene.served(0), scene.delayed.is_empty()), (vec![3], true));
    }

    #[test]
    fn a_message_keeps_its_group_and_its_lane() {
        let scene = scene(4, 8);
        let mut sender = scene.delayed.sender(1);
        sender.send(1, 1, Placement::Usual, &record(&[1])).unwrap();
        sender.send(2, 1, Placement::Urgent, &record(&[2])).unwrap();
        sender.send(3, 0, Placement::Keyed(77), &record(&[3])).unwrap();
        assert_eq!(scene.scheduler().sweep(3).moved, 3);
        assert_eq!((scene.served(1), scene.served(0)), (vec![2, 1], vec![3]));
    }

    #[test]
    fn a_full_ring_leaves_what_is_due_where_it_is() {
        let scene = scene(4, 2);
        (0..4).for_each(|body| scene.send(u64::from(body), 0, &[body]).unwrap());
        let mut scheduler = scene.scheduler();
        assert_eq!(scheduler.sweep(9), Sweep { moved: 2, held_up: 2, ..Sweep::default() });
        assert_eq!((scene.served(0), scene.delayed.unfinished().0), (vec![0, 1], 2));
        assert_eq!(scheduler.sweep(9).moved, 2);
        assert_eq!(scene.served(0), [2, 3]);
    }

    #[test]
    fn a_message_that_a_full_ring_holds_up_is_not_overtaken() {
        let scene = scene_with(DelayQueue::with_blocks(16, 16 * 72).expect("memory"), 64);
        // Seven large ones fill the ring, and a small one would fit beside them.
        for body in 0..9 {
            let size = if body == 8 { 1 } else { RECORD_SIZE_MAX as usize - 100 };
            scene.send(u64::from(body), 0, &vec![body; size]).unwrap();
        }
        scene.send(9, 1, &[9]).unwrap();
        let mut scheduler = scene.scheduler();
        let sweep = scheduler.sweep(9);
        assert_eq!(sweep, Sweep { moved: 8, held_up: 2, ..Sweep::default() });
        assert_eq!(scene.served(1), [9], "another group is not held up");
        let mut served = scene.served(0);
        while scheduler.sweep(9).moved > 0 {
            served.extend(scene.served(0));
        }
        assert_eq!(served, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_message_that_is_held_up_grows_older_and_is_not_counted_as_refused() {
        let scene = scene(4, 2);
        let began_ns = monotonic_ns() - 5_000_000_000;
        (0..3).for_each(|body| scene.send(began_ns, 0, &[body]).unwrap());
        let mut scheduler = scene.scheduler();
        (0..3).for_each(|_| assert_eq!(scheduler.sweep(monotonic_ns()).held_up, 1));
        assert_eq!(scene.served(0).len(), 2);
        assert_eq!((scheduler.sweep(monotonic_ns()).moved, scene.queues.group_statistics(0).full), (1, 0));
        let mut consumer = scene.queues.consumer(0, 0);
        let delivery = consumer.next().unwrap();
        assert!(delivery.queued_ns() >= 5_000_000_000, "{}", delivery.queued_ns());
        delivery.finish();
        // A message that expires early is not older for it.
        scene.send(u64::MAX, 0, b"a").unwrap();
        scene.delayed.expire_all();
        assert_eq!(scheduler.sweep(monotonic_ns()).moved, 1);
        assert!(consumer.next().unwrap().queued_ns() < 5_000_000_000);
    }

    #[test]
    fn when_all_are_expired_none_is_delayed() {
        let scene = scene(2, 8);
        scene.send(u64::MAX, 0, b"a").unwrap();
        let mut scheduler = scene.scheduler();
        assert_eq!(scheduler.sweep(5).next_due_ns, Some(u64::MAX));
        scene.delayed.expire_all();
        assert!(scene.delayed.sender(0).is_all_expired());
        assert_eq!(scheduler.sweep(5).moved, 1);
    }

    #[test]
    fn a_successor_knows_whether_the_message_was_moved() {
        let scene = scene(2, 8);
        scene.send(0, 0, &[1]).unwrap();
        let next = scene.queues.producer(0).next_record(0, Placement::Usual).unwrap();
        // Given a scheduler that died before the push.
        let index =
            (0..2).find(|index| scene.delayed.slots[*index].word.load(Ordering::Relaxed) != 0).unwrap();
        scene.delayed.slots[index].word.store(DelayState::moving(next).0, Ordering::Relaxed);
        assert_eq!(scene.scheduler().sweep(0).moved, 1);
        assert_eq!(scene.served(0), [1]);
        // And one that died after it.
        scene.send(0, 0, &[2]).unwrap();
        assert_eq!(scene.scheduler().sweep(0).moved, 1);
        scene.delayed.slots[index].word.store(DelayState::moving(next + 1).0, Ordering::Relaxed);
        assert_eq!(scene.scheduler().sweep(0).moved, 0);
        assert_eq!((scene.served(0), scene.delayed.is_empty()), (vec![2], true));
    }

    #[test]
    fn what_cannot_be_true_is_counted_and_gone() {
        let check = |deface: fn(&SharedTarget)| {
            let scene = scene(1, 8);
            scene.send(0, 0, b"a").unwrap();
            deface(&scene.delayed.targets[0]);
            assert_eq!(scene.scheduler().sweep(0), Sweep { corrupt: 1, ..Sweep::default() });
            assert!(scene.delayed.is_empty());
        };
        check(|target| target.group.store(9, Ordering::Relaxed));
        check(|target| target.size.store(9, Ordering::Relaxed));
        check(|target| target.size.store(u32::MAX, Ordering::Relaxed));
    }

    #[test]
    fn a_sleeper_is_woken_by_what_is_due_sooner_and_by_expire_all() {
        let scene = scene(2, 8);
        let far = monotonic_ns() + 3_600_000_000_000;
        let check = |act: &(dyn Fn() + Sync)| {
            std::thread::scope(|scope| {
                let delayed = scene.delayed.clone();
                let sleeper = scope.spawn(|| {
                    let mut scheduler = scene.scheduler();
                    while scheduler.sweep(monotonic_ns()).moved == 0 {
                        scheduler.sleep(far, Duration::from_secs(60));
                    }
                });
                while delayed.wakeup().asleep_until_ns.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                }
                act();
                sleeper.join().expect("it was woken");
            });
        };
        check(&|| scene.send(0, 0, b"a").unwrap());
        scene.send(far + 1, 0, b"b").unwrap();
        check(&|| scene.delayed.expire_all());
        scene.scheduler().pause(NEVER);
    }
}
