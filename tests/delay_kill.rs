//! Kills real processes while they delay messages and move them, and checks that each comes out exactly once.
//!
//! ```text
//!  parent     forks, kills at random, reaps, frees the slots of the dead, forks again
//!  senders    number their messages, delay each for a moment, note what was accepted
//!  scheduler  moves what is due into the ring
//!  worker     checks each message and its time, and notes it; it lives to the end
//! ```
//!
//! At the end every slot and every block is free again. With the feature `crash-points` senders and schedulers also end
//! themselves at named steps, and the test fails unless every step was hit. `DELAY_KILLS=20000` makes it longer,
//! `POINT_HITS=50` asks for at least 50 ends at every step.

#[path = "runner/mod.rs"]
mod runner;

use std::time::{Duration, Instant};

use sworker::shm::proof::crash_point::Point;
use sworker::shm::{Counters, DelayQueue, GroupPlan, Owner, Placement, QueuePlan, Queues, Record, Tended};
use sworker::sys::clock::monotonic_ns;
use sworker::sys::process::{
    ExitStatus, Fork, ProcessId, SingleThreaded, exit_now, fork, kill, try_wait_any, wait_any,
};

const SENDERS: u32 = 2;
const SCHEDULER: u32 = SENDERS;
const WORKER: u32 = SCHEDULER + 1;
/// Fewer than are delayed at the same time, so that slots are used again and again.
const SLOTS: u32 = 16;
/// Fewer than the messages of all slots take, so that senders also find a slot and too few blocks.
const BLOCKS: usize = 40;
const MESSAGES_PER_SENDER: u32 = 200_000;
/// Cells behind those of the messages: the number of the next one.
const NEXT: u32 = SENDERS * MESSAGES_PER_SENDER;
const DEADLINE: Duration = Duration::from_secs(120);
const EXIT_TORN: i32 = 3;
const EXIT_TOO_EARLY: i32 = 4;

struct World {
    queues: Queues,
    delayed: DelayQueue,
    ledger: Counters,
}

fn main() {
    exit_now(runner::main(&[(
        "what_is_delayed_comes_out_once_whatever_is_killed",
        &what_is_delayed_comes_out_once,
    )]));
}

fn environment_number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

fn what_is_delayed_comes_out_once() -> Result<String, String> {
    let kills = environment_number("DELAY_KILLS").unwrap_or(1_000);
    let plan = QueuePlan { producers: 1, groups: vec![GroupPlan::new("calls", 1, 8)] };
    let world = World {
        queues: Queues::create(&plan).expect("memory"),
        delayed: DelayQueue::with_blocks(SLOTS, BLOCKS).expect("memory"),
        ledger: Counters::create(WORKER + 1, NEXT + 1).expect("memory"),
    };
    let mut parent = Parent {
        proof: SingleThreaded::prove().expect("one thread"),
        children: vec![None; WORKER as usize + 1],
        random: Random(0x9e37_79b9_7f4a_7c15),
        hits: vec![0; Point::OF_DELAYS.len()],
        hits_wanted: environment_number("POINT_HITS").unwrap_or(1),
        deadline: Instant::now() + DEADLINE,
        world,
    };
    let mut deaths = 0;
    while deaths < kills || parent.missed_point().is_some() {
        parent.check_time(&format!("{deaths} deaths, {:?} not hit often enough", parent.missed_point()));
        parent.start_missing();
        std::thread::sleep(Duration::from_micros(parent.random.next() % 1_500));
        let victim = (parent.random.next() % u64::from(WORKER)) as usize;
        if let Some(process) = parent.children[victim] {
            // It may have ended by itself; how, is seen when it is reaped.
            let _ = kill(process, libc::SIGKILL);
        }
        deaths += parent.reap(wait_any().expect("a child").expect("a child"))?;
        while let Ok(Some(another)) = try_wait_any() {
            deaths += parent.reap(another)?;
        }
    }
    parent.finish()?;
    let (accepted, processed) = parent.count()?;
    let hits = Point::OF_DELAYS.iter().zip(&parent.hits).map(|(point, hits)| format!("{point:?} {hits}"));
    Ok(format!(
        "{deaths} deaths, {accepted} messages noted, {processed} processed; {}",
        hits.collect::<Vec<_>>().join(" · ")
    ))
}

struct Parent {
    proof: SingleThreaded,
    world: World,
    children: Vec<Option<ProcessId>>,
    random: Random,
    /// How often each point ended a process.
    hits: Vec<u32>,
    hits_wanted: u32,
    deadline: Instant,
}

impl Parent {
    fn missed_point(&self) -> Option<Point> {
        let missed = self.hits.iter().position(|hits| *hits < self.hits_wanted);
        let missed = missed.map(|index| Point::OF_DELAYS[index]);
        missed.filter(|_| cfg!(feature = "crash-points"))
    }

    fn check_time(&self, what: &str) {
        assert!(Instant::now() < self.deadline, "after {DEADLINE:?}: {what}");
    }

    fn start_missing(&mut self) {
        for index in 0..=WORKER {
            if self.children[index as usize].is_none() {
                let seed = self.random.next() | 1;
                match fork(&self.proof).expect("another process") {
                    Fork::Parent(child) => self.children[index as usize] = Some(child),
                    Fork::Child => live(&self.world, index, &mut Random(seed)),
                }
            }
        }
    }

    /// As the master does it: the slots that the dead process was filling are free, its rings are its successor's.
    fn reap(&mut self, dead: sworker::sys::process::DeadChild) -> Result<u32, String> {
        let index = self.children.iter().position(|child| *child == Some(dead.process)).expect("one of ours");
        match dead.status {
            ExitStatus::Killed { signal: libc::SIGKILL, .. } => {}
            ExitStatus::Exited(status) if self.note_point(status) => {}
            status => return Err(format!("process {index} ended by {status}")),
        }
        self.children[index] = None;
        self.world.delayed.after_death(Owner::new(0, index as u32));
        self.world.delayed.wake();
        if index == SCHEDULER as usize {
            self.world.queues.repair().producer_died(0);
        }
        self.world.queues.repair().wake_all();
        Ok(1)
    }

    #[cfg(feature = "crash-points")]
    fn note_point(&mut self, status: i32) -> bool {
        let point = sworker::shm::proof::crash_point::point_of_exit_status(status);
        let index = point.and_then(|point| Point::OF_DELAYS.iter().position(|delay| *delay == point));
        index.map(|index| self.hits[index] += 1).is_some()
    }

    #[cfg(not(feature = "crash-points"))]
    fn note_point(&mut self, _: i32) -> bool {
        false
    }

    /// The senders are gone; every delayed message comes out.
    fn finish(&mut self) -> Result<(), String> {
        for index in 0..SENDERS as usize {
            if let Some(process) = self.children[index] {
                let _ = kill(process, libc::SIGKILL);
            }
        }
        while self.children[..SENDERS as usize].iter().any(Option::is_some) {
            let dead = wait_any().expect("a child").expect("a child");
            self.reap(dead)?;
        }
        self.world.delayed.expire_all();
        while !(self.world.delayed.is_empty() && self.world.queues.repair().is_drained(0)) {
            self.check_time(&format!("{} slots are taken", self.world.delayed.unfinished().0));
            if self.children[SCHEDULER as usize].is_none() {
                let seed = self.random.next() | 1;
                match fork(&self.proof).expect("another process") {
                    Fork::Parent(child) => self.children[SCHEDULER as usize] = Some(child),
                    Fork::Child => live(&self.world, SCHEDULER, &mut Random(seed)),
                }
            }
            if let Ok(Some(dead)) = try_wait_any() {
                self.reap(dead)?;
            }
            std::thread::yield_now();
        }
        for process in self.children.iter().flatten() {
            let _ = kill(*process, libc::SIGKILL);
        }
        while let Ok(Some(_)) = wait_any() {}
        match self.world.delayed.free_blocks() {
            (free, count) if free == count => Ok(()),
            (free, count) => Err(format!("{} of {count} blocks are left taken", count - free)),
        }
    }

    /// What was noted came out; nothing came out twice.
    fn count(&self) -> Result<(u64, u64), String> {
        let (mut accepted, mut processed) = (0, 0);
        for message in 0..NEXT {
            let noted: u64 = (0..SENDERS).map(|sender| self.world.ledger.value(sender, message)).sum();
            let came_out = self.world.ledger.value(WORKER, message);
            if came_out < noted || came_out > 1 {
                return Err(format!("message {message}: accepted {noted} times, processed {came_out} times"));
            }
            (accepted, processed) = (accepted + noted, processed + came_out);
        }
        match accepted > 1_000 {
            true => Ok((accepted, processed)),
            false => Err(format!("only {accepted} messages were accepted")),
        }
    }
}

fn live(world: &World, index: u32, random: &mut Random) -> ! {
    match index {
        WORKER => work(world),
        SCHEDULER => {
            arm(random, &[Point::DelayMoving, Point::DelayMoved, Point::BlockFreed, Point::DelayFreed]);
            move_on(world)
        }
        sender => {
            // Blocks and slots are freed by a sender that found too few.
            let frees = [Point::BlockFreed, Point::DelayFreed];
            let points = [Point::DelayTaken, Point::BlockTaken, Point::DelayFilled, Point::DelayPublished];
            arm(random, &[&points[..], &frees].concat());
            send(world, sender, random)
        }
    }
}

/// Every other process ends itself, after some passes of a point of its role.
#[cfg(feature = "crash-points")]
fn arm(random: &mut Random, points: &[Point]) {
    if random.next().is_multiple_of(2) {
        let point = points[(random.next() % points.len() as u64) as usize];
        sworker::shm::proof::crash_point::arm(point, 1 + (random.next() % 30) as u32);
    }
}

#[cfg(not(feature = "crash-points"))]
fn arm(_: &mut Random, _: &[Point]) {}

/// A message is its number and its time, and a letter again and again.
fn send(world: &World, sender: u32, random: &mut Random) -> ! {
    let block = world.ledger.block(sender);
    let mut end = world.delayed.sender(sender);
    loop {
        let number = block.value(NEXT);
        assert!(number < u64::from(MESSAGES_PER_SENDER), "room in the ledger");
        // A number is used once, whatever becomes of it.
        block.add(NEXT, 1);
        let message = sender * MESSAGES_PER_SENDER + number as u32;
        let due_ns = monotonic_ns() + random.next() % 2_000_000;
        let mut body = vec![b'a' + (message % 26) as u8; 12 + (random.next() % 6_000) as usize];
        body[..4].copy_from_slice(&message.to_le_bytes());
        body[4..12].copy_from_slice(&due_ns.to_le_bytes());
        let record = Record { meta: b"meta", body: &body, xdata: b"", received_at_ns: due_ns };
        match end.send(due_ns, 0, Placement::Usual, &record) {
            Ok(()) => block.add(message, 1),
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

fn move_on(world: &World) -> ! {
    let mut scheduler = world.delayed.scheduler(world.queues.producer(0));
    loop {
        let sweep = scheduler.sweep(monotonic_ns());
        match sweep.held_up {
            0 => scheduler.sleep(sweep.next_due_ns.unwrap_or(u64::MAX), Duration::from_millis(100)),
            _ => scheduler.pause(Duration::from_micros(100)),
        }
    }
}

fn work(world: &World) -> ! {
    let block = world.ledger.block(WORKER);
    let mut consumer = world.queues.consumer(0, 0);
    loop {
        while let Some(delivery) = consumer.next() {
            let body = delivery.body();
            let (Some((number, rest)), b"meta") = (body.split_first_chunk(), delivery.meta()) else {
                exit_now(EXIT_TORN);
            };
            let message = u32::from_le_bytes(*number);
            let Some((due_ns, letters)) = rest.split_first_chunk() else { exit_now(EXIT_TORN) };
            let letter = b'a' + (message % 26) as u8;
            if message >= NEXT || letters.iter().any(|found| *found != letter) {
                exit_now(EXIT_TORN);
            }
            if monotonic_ns() < u64::from_le_bytes(*due_ns) && !world.delayed.is_all_expired() {
                exit_now(EXIT_TOO_EARLY);
            }
            block.add(message, 1);
            delivery.finish();
        }
        consumer.park(&|| false, Some(Duration::from_millis(100)));
    }
}

/// xorshift
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
