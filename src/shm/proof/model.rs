//! The queue's own code, run by loom through every order of its steps (within a bound) and through deaths.
//!
//! Processes are threads here; a thread that reaches its armed crash point ends there, and its "master" sees that by
//! joining it, as `waitpid` would tell. Every model asserts the same things in the end: each message accepted was
//! finished, none twice unless a worker died over it, and nothing is left in the rings. What loom adds: a lost wake is
//! a deadlock, and a missing Acquire or Release is an unordered access to the payload.
//!
//! `scripts/loom` runs the models, and the mutants that must fail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use loom::thread;

use super::crash_point::Point;
use super::crash_point::armed::run_until;
use crate::shm::{
    Blame, Consumer, GroupPlan, Lanes, Overflow, Placement, QueuePlan, Queues, Record, Repaired,
};

mod delay;
mod outbox;

/// What a model's threads share outside the queue. Not part of the model: loom runs one thread at a time.
struct World {
    queues: Queues,
    /// How often each message has been finished, and how often begun.
    finished: [AtomicU32; MESSAGES_MAX],
    accepted: [AtomicU32; MESSAGES_MAX],
    /// The messages that were in a worker's hands when it died.
    in_flight: Mutex<Vec<u8>>,
    /// The messages in the order in which they were begun.
    begun: Mutex<Vec<u8>>,
    /// 1 while a worker that lives works on a message, in models where no two may.
    is_busy: AtomicU32,
}

type Shared = std::sync::Arc<World>;

const MESSAGES_MAX: usize = 4;
/// Two records of two lines each: the third one reuses the bytes of the first.
const ARENA_SIZE: u32 = 256;

fn world(producers: u32, workers: u32, queue: u32) -> Shared {
    world_of(producers, GroupPlan::new("", workers, queue))
}

fn world_of(producers: u32, group: GroupPlan) -> Shared {
    let group = GroupPlan { arena_size: Some(ARENA_SIZE), attempts_max: 9, ..group };
    let plan = QueuePlan { producers, groups: vec![group] };
    std::sync::Arc::new(World {
        queues: Queues::create(&plan).expect("a possible plan"),
        finished: Default::default(),
        accepted: Default::default(),
        in_flight: Mutex::default(),
        begun: Mutex::default(),
        is_busy: AtomicU32::new(0),
    })
}

impl World {
    /// Pushes the messages and wakes after each, as a receiver without batches does.
    fn produce(&self, index: u32, messages: std::ops::Range<u8>) {
        let mut producer = self.queues.producer(index);
        for message in messages {
            let record = Record { meta: &[], body: &[message; 40], xdata: &[], received_at_ns: 0 };
            if producer.push_to(0, Placement::Keyed(0), &record).is_ok() {
                self.accepted[usize::from(message)].fetch_add(1, Ordering::Relaxed);
                producer.wake(0);
            }
        }
    }

    /// Takes and finishes until there is nothing to take.
    fn consume_all(&self, consumer: &mut Consumer) {
        while let Some(delivery) = consumer.next() {
            let message = delivery.body()[0];
            assert_eq!(delivery.body(), [message; 40], "payload of another message");
            self.finished[usize::from(message)].fetch_add(1, Ordering::Relaxed);
            delivery.finish();
        }
    }

    fn finished_count(&self) -> u32 {
        self.finished.iter().map(|count| count.load(Ordering::Relaxed).min(1)).sum()
    }

    /// A worker that sleeps for ever when it is not woken: a lost wake is a deadlock of the model.
    fn work_until(&self, worker: u32, messages: u32) {
        let mut consumer = self.queues.consumer(0, worker);
        loop {
            self.consume_all(&mut consumer);
            if self.finished_count() == messages {
                return;
            }
            consumer.park(&|| self.finished_count() == messages, None);
        }
    }

    /// The end is no message: the others learn of it as at shutdown.
    fn work_to_the_end(&self, worker: u32, messages: u32) {
        self.work_until(worker, messages);
        self.queues.groups()[0].events.wake_all();
    }

    /// The master's part after a worker's death, and its successor's life.
    fn reap_worker(&self, worker: u32) {
        let repair = self.queues.repair();
        let repaired = repair.worker_died(0, worker, Blame::Message);
        if let Repaired::WillRedeliver { attempts: 1.., .. } = repaired {
            let mut successor = self.queues.consumer(0, worker);
            let message = successor.next().expect("what the dead worker held").body()[0];
            self.in_flight.lock().expect("no panic while held").push(message);
        }
        repair.wake_all();
    }

    fn check_end(&self) {
        let mut consumer = self.queues.consumer(0, 0);
        self.consume_all(&mut consumer);
        assert!(self.queues.repair().is_drained(0), "something is left in the queue");
        let in_flight = self.in_flight.lock().expect("no panic while held");
        for message in 0..MESSAGES_MAX {
            let accepted = self.accepted[message].load(Ordering::Relaxed);
            let finished = self.finished[message].load(Ordering::Relaxed);
            assert!(finished >= accepted, "message {message} is lost");
            let allowed = 1 + in_flight.iter().filter(|held| usize::from(**held) == message).count() as u32;
            assert!(finished <= allowed, "message {message} was delivered {finished} times");
        }
    }
}

fn check(preemption_bound: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemption_bound);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// A ring of two records, three messages: the third goes where the first one was.
fn reuse_while_two_workers_take(death: Option<Point>) {
    let world = world(1, 2, 2);
    let (first, second) = (world.clone(), world.clone());
    let dying =
        thread::spawn(move || run_until(death, || first.consume_all(&mut first.queues.consumer(0, 0))));
    let living = thread::spawn(move || second.consume_all(&mut second.queues.consumer(0, 1)));
    world.produce(0, 0..3);
    let has_died = dying.join().expect("no panic").is_none();
    if has_died {
        world.reap_worker(0);
    }
    living.join().expect("no panic");
    world.check_end();
}

#[test]
fn record_is_reused_only_after_it_was_read() {
    check(3, || reuse_while_two_workers_take(None));
}

#[test]
fn death_of_a_worker_loses_nothing() {
    for death in [
        Point::ClaimTaken,
        Point::ClaimHinted,
        Point::TakeCopied,
        Point::TakeDescribed,
        Point::TakeHeld,
        Point::TakeGivenBack,
        Point::TakeStarted,
        Point::FinishBefore,
        Point::FinishAfter,
    ] {
        check(2, move || reuse_while_two_workers_take(Some(death)));
    }
}

/// The master repairs one worker while the producer pushes and the other worker takes.
#[test]
fn repair_disturbs_nobody() {
    for death in [Point::ClaimTaken, Point::TakeHeld, Point::TakeStarted] {
        check(2, move || {
            let world = world(1, 2, 2);
            world.produce(0, 0..1);
            let dying = world.clone();
            run_until(Some(death), || dying.consume_all(&mut dying.queues.consumer(0, 0)));
            let (producing, taking) = (world.clone(), world.clone());
            let producer = thread::spawn(move || producing.produce(0, 1..3));
            let worker = thread::spawn(move || taking.consume_all(&mut taking.queues.consumer(0, 1)));
            world.reap_worker(0);
            producer.join().expect("no panic");
            worker.join().expect("no panic");
            world.check_end();
        });
    }
}

/// A producer dies while it pushes its second message; its successor takes over and pushes a third.
#[test]
fn death_of_a_producer_loses_nothing() {
    for death in [Point::PushBodyWritten, Point::PushDescribed, Point::PushPublished, Point::PushCounted] {
        check(2, move || {
            let world = world(1, 1, 2);
            let taking = world.clone();
            let worker = thread::spawn(move || taking.consume_all(&mut taking.queues.consumer(0, 0)));
            world.produce(0, 0..1);
            let dead = run_until(Some(death), || world.produce(0, 1..2));
            assert!(dead.is_none(), "the point was passed");
            world.queues.groups()[0].events.wake_all();
            world.produce(0, 2..4);
            worker.join().expect("no panic");
            world.check_end();
        });
    }
}

/// As many sleeping workers and producers as given; ends only when every message was found by a wake.
fn sleep_and_wake(producers: u8, workers: u32, messages_each: u8) {
    let world = world(u32::from(producers), workers, 4);
    let messages = u32::from(producers * messages_each);
    let sleepers = (0..workers).map(|worker| {
        let world = world.clone();
        thread::spawn(move || world.work_to_the_end(worker, messages))
    });
    let sleepers = sleepers.collect::<Vec<_>>();
    let others = (1..producers).map(|index| {
        let world = world.clone();
        let first = index * messages_each;
        thread::spawn(move || world.produce(u32::from(index), first..first + messages_each))
    });
    let others = others.collect::<Vec<_>>();
    world.produce(0, 0..messages_each);
    for thread in sleepers.into_iter().chain(others) {
        thread.join().expect("no panic");
    }
    world.check_end();
}

#[test]
fn one_worker_is_woken_for_each_message() {
    check(3, || sleep_and_wake(1, 1, 2));
}

#[test]
fn one_of_two_workers_is_woken() {
    check(2, || sleep_and_wake(1, 2, 1));
}

#[test]
fn woken_worker_wakes_the_next() {
    check(1, || sleep_and_wake(1, 2, 2));
}

#[test]
fn two_producers_wake_one_worker() {
    check(3, || sleep_and_wake(2, 1, 1));
}

#[test]
fn two_producers_wake_two_workers() {
    check(1, || sleep_and_wake(2, 2, 1));
}

/// A waker dies anywhere in its wake; `wake_all` makes it good.
#[test]
fn death_of_a_waker_leaves_nobody_asleep() {
    for death in [
        Point::PushPublished,
        Point::PushCounted,
        Point::WakeSleeperSeen,
        Point::WakeTokenTaken,
        Point::WakeBitTaken,
        Point::WakeEpochRaised,
        Point::WakeSent,
    ] {
        check(2, move || {
            let world = world(1, 1, 2);
            let sleeping = world.clone();
            let worker = thread::spawn(move || sleeping.work_until(0, 2));
            let dead = run_until(Some(death), || world.produce(0, 0..1)).is_none();
            if dead {
                world.queues.groups()[0].events.wake_all();
            }
            world.produce(0, 1..2);
            worker.join().expect("no panic");
            world.check_end();
        });
    }
}

/// A worker dies anywhere in its sleep; the other one, which also sleeps, gets the work.
#[test]
fn death_of_a_sleeper_takes_no_wake_with_it() {
    for death in [
        Point::ParkKeyRead,
        Point::ParkBitSet,
        Point::ParkFenced,
        Point::ParkCancelled,
        Point::ParkWoken,
        Point::ParkBitCleared,
        Point::ParkTokenCleared,
    ] {
        check(2, move || {
            let world = world(1, 2, 2);
            let (mortal, other) = (world.clone(), world.clone());
            let sleeper =
                thread::spawn(move || run_until(Some(death), || mortal.work_to_the_end(0, 1)).is_none());
            let worker = thread::spawn(move || other.work_to_the_end(1, 1));
            world.produce(0, 0..1);
            if sleeper.join().expect("no panic") {
                world.reap_worker(0);
            }
            worker.join().expect("no panic");
            world.check_end();
        });
    }
}

/// Works off messages of one key: no other worker may work on one at the same time, and none may come before an older
/// one.
fn work_in_order(world: &World, consumer: &mut Consumer) {
    while let Some(delivery) = consumer.next() {
        let message = delivery.body()[0];
        assert_eq!(delivery.body(), [message; 40], "payload of another message");
        assert_eq!(world.is_busy.swap(1, Ordering::Relaxed), 0, "two messages of one key at the same time");
        world.begun.lock().expect("no panic while held").push(message);
        // Others may run now.
        thread::yield_now();
        world.is_busy.store(0, Ordering::Relaxed);
        world.finished[usize::from(message)].fetch_add(1, Ordering::Relaxed);
        delivery.finish();
    }
}

fn check_order(world: &World) {
    let begun = world.begun.lock().expect("no panic while held");
    assert!(begun.is_sorted(), "messages were delivered out of order: {begun:?}");
}

fn ordered(producers: u32, workers: u32, queue: u32) -> Shared {
    world_of(producers, GroupPlan { lanes: Lanes::Ordered, ..GroupPlan::new("", workers, queue) })
}

/// Two workers, one key, two producers whose pushes follow each other: what was pushed first is begun first.
fn one_key_through_two_producers(death: Option<Point>) {
    let world = ordered(2, 2, 2);
    let (first, second) = (world.clone(), world.clone());
    let dying =
        thread::spawn(move || run_until(death, || work_in_order(&first, &mut first.queues.consumer(0, 0))));
    let living = thread::spawn(move || work_in_order(&second, &mut second.queues.consumer(0, 1)));
    world.produce(1, 0..1);
    world.produce(0, 1..2);
    world.produce(1, 2..3);
    if dying.join().expect("no panic").is_none() {
        world.is_busy.store(0, Ordering::Relaxed);
        world.reap_ordered_worker(0);
    }
    living.join().expect("no panic");
    work_in_order(&world, &mut world.queues.consumer(0, 1));
    check_order(&world);
    world.check_end();
}

impl World {
    /// The master's part, and a successor that works on where the dead worker was.
    fn reap_ordered_worker(&self, worker: u32) {
        let repair = self.queues.repair();
        if let Repaired::WillRedeliver { attempts: 1.., .. } = repair.worker_died(0, worker, Blame::Message) {
            let held = self.queues.consumer(0, worker).next().expect("what the dead worker held").body()[0];
            self.in_flight.lock().expect("no panic while held").push(held);
        }
        repair.wake_all();
        work_in_order(self, &mut self.queues.consumer(0, worker));
    }
}

#[test]
fn messages_of_one_key_stay_in_order() {
    check(2, || one_key_through_two_producers(None));
}

#[test]
fn death_of_the_owner_of_a_shard_keeps_order() {
    for death in [
        Point::ShardTaken,
        Point::ClaimTaken,
        Point::TakeHeld,
        Point::TakeStarted,
        Point::FinishAfter,
        Point::ShardReleased,
    ] {
        check(1, move || one_key_through_two_producers(Some(death)));
    }
}

/// A worker that gives a shard back while the other one falls asleep over it: one of them must look again.
#[test]
fn shard_given_back_is_found_by_a_sleeper() {
    check(1, || {
        let world = ordered(1, 2, 2);
        let sleepers = (0..2).map(|worker| {
            let world = world.clone();
            thread::spawn(move || world.work_to_the_end(worker, 2))
        });
        let sleepers = sleepers.collect::<Vec<_>>();
        world.produce(0, 0..2);
        for sleeper in sleepers {
            sleeper.join().expect("no panic");
        }
        world.check_end();
    });
}

/// A producer takes the oldest record back while a worker wants it: one of the two has it, never both.
#[test]
fn oldest_record_is_taken_back_or_worked_on() {
    for lanes in [Lanes::One, Lanes::Ordered] {
        check(3, move || {
            let plan = GroupPlan { overflow: Overflow::DropOldest, lanes, ..GroupPlan::new("", 1, 2) };
            let world = world_of(1, plan);
            let taking = world.clone();
            let worker = thread::spawn(move || taking.consume_all(&mut taking.queues.consumer(0, 0)));
            world.produce(0, 0..4);
            worker.join().expect("no panic");
            world.consume_all(&mut world.queues.consumer(0, 0));
            let accepted: u32 = world.accepted.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            let finished: u32 = world.finished.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            let dropped = world.queues.group_statistics(0).dropped_oldest as u32;
            assert_eq!(finished + dropped, accepted, "a message is lost, or was delivered twice");
            assert!(world.finished.iter().all(|count| count.load(Ordering::Relaxed) <= 1), "delivered twice");
            assert!(world.queues.repair().is_drained(0), "something is left in the queue");
        });
    }
}
