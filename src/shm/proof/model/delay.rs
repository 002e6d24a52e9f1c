//! Delayed messages: every order of the steps of senders and the scheduler, and deaths of both.

use loom::thread;

use super::check;
use crate::shm::proof::crash_point::Point;
use crate::shm::proof::crash_point::armed::run_until;
use crate::shm::{DelayQueue, DelaySender, GroupPlan, Owner, Placement, QueuePlan, Queues, Record, Tended};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A queue for delayed messages with a ring after it. The counts are not part of the model.
struct World {
    queues: Queues,
    delayed: DelayQueue,
    accepted: [AtomicU32; MESSAGES_MAX],
}

const MESSAGES_MAX: usize = 3;
/// The sender's number, by which the queue knows it.
const SENDER: u32 = 1;
/// Number of blocks of a message in the model.
const BLOCKS: usize = 2;

fn world(slots: u32, blocks: usize) -> Arc<World> {
    let group = GroupPlan { arena_size: Some(512), ..GroupPlan::new("", 1, 4) };
    Arc::new(World {
        queues: Queues::create(&QueuePlan { producers: 1, groups: vec![group] }).expect("a possible plan"),
        delayed: DelayQueue::with_blocks(slots, blocks).expect("a possible queue"),
        accepted: Default::default(),
    })
}

impl World {
    fn send(&self, message: u8) {
        self.send_by(&mut self.delayed.sender(SENDER), message);
    }

    fn send_by(&self, sender: &mut DelaySender, message: u8) {
        let record = Record { meta: &[], body: &[message; 40], xdata: &[], received_at_ns: 0 };
        if sender.send(1, 0, Placement::Usual, &record).is_ok() {
            self.accepted[usize::from(message)].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn move_all(&self, looks: u32) {
        let mut scheduler = self.delayed.scheduler(self.queues.producer(0));
        (0..looks).for_each(|_| drop(scheduler.sweep(1)));
    }

    /// A message that was accepted is in the ring once; one over which its sender died is there at most once.
    fn check_end(&self, died_over: Option<u8>) {
        self.move_all(1);
        assert!(self.delayed.is_empty(), "a slot is left taken");
        let (free, count) = self.delayed.free_blocks();
        assert_eq!(free, count, "a block is left taken");
        let mut consumer = self.queues.consumer(0, 0);
        let mut delivered = [0; MESSAGES_MAX];
        while let Some(delivery) = consumer.next() {
            let message = delivery.body()[0];
            assert_eq!(delivery.body(), [message; 40], "payload of another message");
            delivered[usize::from(message)] += 1;
            delivery.finish();
        }
        for (message, (count, accepted)) in (0..).zip(delivered.iter().zip(&self.accepted)) {
            let accepted = accepted.load(Ordering::Relaxed);
            let is_open = died_over == Some(message);
            assert!(*count >= accepted, "message {message} is lost");
            assert!(
                *count <= accepted.max(u32::from(is_open)),
                "message {message} was delivered {count} times"
            );
        }
    }
}

/// One slot, two messages: the second takes the slot of the first, if that has been moved by then.
#[test]
fn slot_is_used_again_only_after_its_message_was_moved() {
    check(3, || {
        let world = world(1, BLOCKS);
        let moving = world.clone();
        let scheduler = thread::spawn(move || moving.move_all(2));
        (0..2).for_each(|message| world.send(message));
        scheduler.join().expect("no panic");
        world.check_end(None);
    });
}

/// Two slots and blocks for one message: the second takes the blocks of the first and never its slot.
#[test]
fn blocks_are_used_again_only_after_they_were_read() {
    check(3, || {
        let world = world(2, BLOCKS);
        let moving = world.clone();
        let mut sender = world.delayed.sender(SENDER);
        world.send_by(&mut sender, 0);
        let scheduler = thread::spawn(move || moving.move_all(1));
        world.send_by(&mut sender, 1);
        scheduler.join().expect("no panic");
        world.check_end(None);
    });
}

/// Two senders want four blocks of three: at least one finds too few, and gives back what it took.
#[test]
fn sender_without_enough_blocks_takes_none() {
    check(3, || {
        let world = world(2, BLOCKS + 1);
        let sending = world.clone();
        let sender = thread::spawn(move || sending.send_by(&mut sending.delayed.sender(2), 0));
        world.send(1);
        sender.join().expect("no panic");
        world.check_end(None);
        let accepted: u32 = world.accepted.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        assert!(accepted <= 1, "a block was taken twice");
    });
}

/// The scheduler dies anywhere, while another message is sent; its successor neither loses nor repeats one.
#[test]
fn death_of_the_scheduler_loses_and_repeats_nothing() {
    for death in [
        Point::DelayMoving,
        Point::PushBodyWritten,
        Point::PushDescribed,
        Point::PushPublished,
        Point::PushCounted,
        Point::DelayMoved,
        Point::BlockFreed,
        Point::DelayFreed,
    ] {
        check(3, move || {
            let world = world(2, 2 * BLOCKS);
            world.send(0);
            let sending = world.clone();
            let sender = thread::spawn(move || sending.send(1));
            let dead = run_until(Some(death), || world.move_all(1));
            assert!(dead.is_none(), "the point was passed");
            world.move_all(1);
            sender.join().expect("no panic");
            world.check_end(None);
        });
    }
}

/// A sender dies anywhere; its slot and its blocks are another one's when the master has seen its death.
#[test]
fn death_of_a_sender_leaves_nothing_taken() {
    for death in [Point::DelayTaken, Point::BlockTaken, Point::DelayFilled, Point::DelayPublished] {
        check(3, move || {
            let world = world(1, BLOCKS);
            let moving = world.clone();
            let scheduler = thread::spawn(move || moving.move_all(2));
            let dead = run_until(Some(death), || world.send(0));
            assert!(dead.is_none(), "the point was passed");
            world.delayed.after_death(Owner::new(0, SENDER));
            world.send(1);
            scheduler.join().expect("no panic");
            world.check_end(Some(0));
        });
    }
}

/// A sender that found too few blocks dies while it gives them back.
#[test]
fn death_of_a_sender_without_enough_blocks_leaves_nothing_taken() {
    for death in [Point::BlockFreed, Point::DelayFreed] {
        check(3, move || {
            let world = world(2, BLOCKS + 1);
            world.send_by(&mut world.delayed.sender(2), 0);
            let dead = run_until(Some(death), || world.send(1));
            assert!(dead.is_none(), "the point was passed");
            let moving = world.clone();
            let scheduler = thread::spawn(move || moving.move_all(1));
            world.delayed.after_death(Owner::new(0, SENDER));
            world.send(2);
            scheduler.join().expect("no panic");
            world.check_end(None);
        });
    }
}

/// The scheduler sleeps for ever when nothing wakes it: a lost wake is a deadlock of the model.
#[test]
fn scheduler_is_woken_for_what_is_due() {
    check(3, || {
        let world = world(2, BLOCKS);
        let sleeping = world.clone();
        let scheduler = thread::spawn(move || {
            let mut scheduler = sleeping.delayed.scheduler(sleeping.queues.producer(0));
            while scheduler.sweep(1).moved == 0 {
                scheduler.sleep(u64::MAX, Duration::MAX);
            }
        });
        world.send(0);
        scheduler.join().expect("no panic");
        world.check_end(None);
    });
}

/// The same for the word that every message is due.
#[test]
fn scheduler_is_woken_by_expire_all() {
    check(3, || {
        let world = world(1, BLOCKS);
        let record = Record { meta: &[], body: &[0; 40], xdata: &[], received_at_ns: 0 };
        world.delayed.sender(SENDER).send(u64::MAX - 1, 0, Placement::Usual, &record).expect("a slot");
        world.accepted[0].fetch_add(1, Ordering::Relaxed);
        let sleeping = world.clone();
        let scheduler = thread::spawn(move || {
            let mut scheduler = sleeping.delayed.scheduler(sleeping.queues.producer(0));
            while scheduler.sweep(1).moved == 0 {
                scheduler.sleep(u64::MAX - 1, Duration::MAX);
            }
        });
        world.delayed.expire_all();
        scheduler.join().expect("no panic");
        world.check_end(None);
    });
}
