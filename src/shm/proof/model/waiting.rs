//! Messages that wait until their time has come: every order of the steps of who brings them and who moves them, and
//! deaths of both.

use loom::thread;

use super::check;
use crate::shm::proof::crash_point::Point;
use crate::shm::proof::crash_point::armed::run_until;
use crate::shm::{GroupPlan, Placement, QueuePlan, Queues, Record, WaitingRoom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A room with rings behind it. The counts are not part of the model.
struct World {
    queues: Queues,
    room: WaitingRoom,
    accepted: [AtomicU32; MESSAGES_MAX],
}

const MESSAGES_MAX: usize = 3;
/// Who brings messages; the room knows it by this number.
const BRINGER: u32 = 1;

fn world(seats: u32) -> Arc<World> {
    let group = GroupPlan { arena_size: Some(512), ..GroupPlan::new("", 1, 4) };
    Arc::new(World {
        queues: Queues::create(&QueuePlan { producers: 1, groups: vec![group] }).expect("a possible plan"),
        room: WaitingRoom::create(seats).expect("a possible room"),
        accepted: Default::default(),
    })
}

impl World {
    fn bring(&self, message: u8) {
        let record = Record { meta: &[], body: &[message; 40], xdata: &[], received_at_ns: 0 };
        if self.room.usher(BRINGER).admit(1, 0, Placement::Usual, &record).is_ok() {
            self.accepted[usize::from(message)].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn move_all(&self, looks: u32) {
        let mut mover = self.room.mover(self.queues.producer(0));
        (0..looks).for_each(|_| drop(mover.sweep(1)));
    }

    /// What was accepted is in the ring once; what a bringer died over is there at most once.
    fn check_end(&self, died_over: Option<u8>) {
        self.move_all(1);
        assert!(self.room.is_empty(), "a seat is left taken");
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

/// One seat, two messages: the second goes where the first one was, if that has been moved by then.
#[test]
fn seat_is_used_again_only_after_its_message_was_moved() {
    check(3, || {
        let world = world(1);
        let moving = world.clone();
        let mover = thread::spawn(move || moving.move_all(2));
        (0..2).for_each(|message| world.bring(message));
        mover.join().expect("no panic");
        world.check_end(None);
    });
}

/// The mover dies anywhere, while another message is brought; its successor neither loses nor repeats one.
#[test]
fn death_of_the_mover_loses_and_repeats_nothing() {
    for death in [
        Point::SeatMoving,
        Point::PushBodyWritten,
        Point::PushDescribed,
        Point::PushPublished,
        Point::PushCounted,
        Point::SeatMoved,
        Point::SeatFreed,
    ] {
        check(2, move || {
            let world = world(2);
            world.bring(0);
            let bringing = world.clone();
            let bringer = thread::spawn(move || bringing.bring(1));
            let dead = run_until(Some(death), || world.move_all(1));
            assert!(dead.is_none(), "the point was passed");
            world.move_all(1);
            bringer.join().expect("no panic");
            world.check_end(None);
        });
    }
}

/// Who brings a message dies anywhere; its seat is another one's after the funeral.
#[test]
fn death_of_a_bringer_leaves_its_seat() {
    for death in [Point::SeatTaken, Point::SeatFilled, Point::SeatPublished] {
        check(2, move || {
            let world = world(1);
            let moving = world.clone();
            let mover = thread::spawn(move || moving.move_all(2));
            let dead = run_until(Some(death), || world.bring(0));
            assert!(dead.is_none(), "the point was passed");
            world.room.forget(BRINGER);
            world.bring(1);
            mover.join().expect("no panic");
            world.check_end(Some(0));
        });
    }
}

/// The mover sleeps for ever when nobody wakes it: a lost wake is a deadlock of the model.
#[test]
fn mover_is_woken_for_what_is_due() {
    check(3, || {
        let world = world(2);
        let sleeping = world.clone();
        let mover = thread::spawn(move || {
            let mut mover = sleeping.room.mover(sleeping.queues.producer(0));
            while mover.sweep(1).moved == 0 {
                mover.sleep(u64::MAX, Duration::MAX);
            }
        });
        world.bring(0);
        mover.join().expect("no panic");
        world.check_end(None);
    });
}

/// The same for the word that nobody is to wait any longer.
#[test]
fn mover_is_woken_by_a_hurry() {
    check(3, || {
        let world = world(1);
        let record = Record { meta: &[], body: &[0; 40], xdata: &[], received_at_ns: 0 };
        world.room.usher(BRINGER).admit(u64::MAX - 1, 0, Placement::Usual, &record).expect("a seat");
        world.accepted[0].fetch_add(1, Ordering::Relaxed);
        let sleeping = world.clone();
        let mover = thread::spawn(move || {
            let mut mover = sleeping.room.mover(sleeping.queues.producer(0));
            while mover.sweep(1).moved == 0 {
                mover.sleep(u64::MAX - 1, Duration::MAX);
            }
        });
        world.room.hurry();
        mover.join().expect("no panic");
        world.check_end(None);
    });
}
