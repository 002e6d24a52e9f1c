//! Kills real processes, thousands of times, while messages pass between them, and checks that nothing is lost.
//!
//! ```text
//!  parent (master)      forks, kills at random, reaps, repairs, forks again
//!  producers            number their messages, push them, note what was accepted
//!  workers              check each message, note that it was processed, finish it; sleep without time-out
//! ```
//!
//! With the feature `crash-points` each child may also end itself at a named step of the protocol; the test fails
//! unless every step was hit. `RING_KILLS=50000` makes it longer, `POINT_HITS=50` asks for so many ends at every
//! step, `RING_SEED=…` repeats a run.
//!
//! The status lies in shared counters: which messages were accepted, how often each was processed, and the highest
//! attempt seen of each. It speaks the same language as the promise: accepted means processed, and processed twice
//! means that a worker died over it.

#[path = "runner/mod.rs"]
mod runner;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use sworker::shm::proof::crash_point::Point;
use sworker::shm::{
    Blame, Consumer, Counters, Delivery, GroupPlan, Lanes, Overflow, Placement, Producer, PushError,
    QueuePlan, Queues, Record, Repair, Repaired,
};
use sworker::sys::clock::monotonic_ns;
use sworker::sys::process::{
    DeadChild, ExitStatus, Fork, ProcessId, SingleThreaded, exit_now, fork, kill, try_wait_any, wait_any,
};

/// One load, with the processes under it.
struct Scenario {
    name: &'static str,
    producers: u32,
    workers: u32,
    queue: u32,
    arena_size: Option<u32>,
    pace: Pace,
    /// Message bodies are from 1 byte to this size.
    body_size_max: u32,
    lanes: Lanes,
    overflow: Overflow,
    /// One message in so many ends every worker that begins with it; 0 is none.
    poison_period: u64,
    deaths: u32,
    points: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Rings are full: claim, copy and finish happen all the time.
    Saturated,
    /// Workers sleep: park and wake happen all the time.
    Light,
}

const USUAL: Scenario = Scenario {
    name: "",
    producers: 2,
    workers: 4,
    queue: 256,
    arena_size: None,
    pace: Pace::Saturated,
    body_size_max: 2_000,
    lanes: Lanes::One,
    overflow: Overflow::Refuse,
    poison_period: 0,
    deaths: 1_200,
    points: false,
};

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "random_kills_saturated", ..USUAL },
    Scenario { name: "random_kills_lightly_loaded", pace: Pace::Light, ..USUAL },
    Scenario { name: "poison_messages_are_quarantined", poison_period: 401, deaths: 800, ..USUAL },
    Scenario {
        name: "tiny_rings",
        producers: 4,
        workers: 6,
        queue: 16,
        arena_size: Some(128 * 1024),
        body_size_max: 30_000,
        ..USUAL
    },
    Scenario { name: "order_of_keys", lanes: Lanes::Ordered, poison_period: 701, ..USUAL },
    Scenario {
        name: "order_of_keys_lightly_loaded",
        lanes: Lanes::Ordered,
        pace: Pace::Light,
        deaths: 800,
        ..USUAL
    },
    Scenario { name: "urgent_lane", lanes: Lanes::Urgent, deaths: 800, ..USUAL },
    Scenario { name: "oldest_make_room", overflow: Overflow::DropOldest, queue: 32, deaths: 800, ..USUAL },
    Scenario { name: "all_sizes", queue: 64, workers: 2, body_size_max: 65_535, deaths: 800, ..USUAL },
    Scenario {
        name: "one_of_each",
        producers: 1,
        workers: 1,
        queue: 4,
        pace: Pace::Light,
        deaths: 800,
        ..USUAL
    },
];

#[cfg(feature = "crash-points")]
const POINT_SCENARIOS: &[Scenario] = &[
    Scenario { name: "saturated", points: true, poison_period: 997, deaths: 700, ..USUAL },
    Scenario { name: "lightly loaded", points: true, pace: Pace::Light, deaths: 1_500, ..USUAL },
    Scenario {
        name: "in order, the oldest making room",
        points: true,
        lanes: Lanes::Ordered,
        overflow: Overflow::DropOldest,
        queue: 8,
        ..USUAL
    },
    // One worker that is dead or busy most of the time leaves a producer with a full ring of records nobody has.
    Scenario {
        name: "the oldest making room",
        points: true,
        producers: 3,
        workers: 1,
        overflow: Overflow::DropOldest,
        queue: 8,
        deaths: 300,
        ..USUAL
    },
    Scenario {
        name: "busy and idle in turn",
        points: true,
        workers: 2,
        queue: 4,
        pace: Pace::Light,
        ..USUAL
    },
];

fn main() {
    let seed = environment_number("RING_SEED").unwrap_or_else(monotonic_ns);
    eprintln!("seed {seed}");
    let play = |scenario: &'static Scenario| move || run(scenario, seed, &mut [0; Point::OF_RINGS.len()]);
    let plays: Vec<_> = SCENARIOS.iter().map(|scenario| (scenario.name, play(scenario))).collect();
    let points = || every_crash_point(seed, &mut [0; Point::OF_RINGS.len()]);
    let mut tests: Vec<runner::Test<'_>> = plays.iter().map(|(name, play)| (*name, play as _)).collect();
    if cfg!(feature = "crash-points") {
        tests.push((CRASH_POINT_TEST, &points));
    }
    exit_now(runner::main(&tests));
}

#[cfg(not(feature = "crash-points"))]
fn every_crash_point(_seed: u64, _histogram: &mut Histogram) -> Result<String, String> {
    Err("needs the feature crash-points".into())
}

/// Each scenario again and again until every point has ended somebody often enough, within a limit.
#[cfg(feature = "crash-points")]
fn every_crash_point(seed: u64, histogram: &mut Histogram) -> Result<String, String> {
    let wanted = environment_number("POINT_HITS").unwrap_or(1);
    let mut summaries = Vec::new();
    for round in 0..POINT_ROUNDS_MAX * wanted {
        for scenario in POINT_SCENARIOS {
            let summary = run(scenario, seed + round, histogram)?;
            summaries.push(format!("{}: {summary}", scenario.name));
        }
        if histogram.iter().all(|hits| u64::from(*hits) >= wanted) {
            break;
        }
    }
    let rows = Point::OF_RINGS.iter().zip(histogram.iter()).map(|(point, hits)| format!("{point:?} {hits}"));
    summaries.push(rows.collect::<Vec<_>>().join(" · "));
    let summary = summaries.join("\n     ");
    match histogram.iter().position(|hits| u64::from(*hits) < wanted) {
        Some(missed) => Err(format!(
            "{:?} was hit {} times of {wanted}\n     {summary}",
            Point::OF_RINGS[missed],
            histogram[missed]
        )),
        None => Ok(summary),
    }
}

type Histogram = [u32; Point::OF_RINGS.len()];

/// What all processes of a run share; made before the first fork.
struct World<'a> {
    scenario: &'a Scenario,
    queues: Queues,
    control: Counters,
    /// Per producer: how many numbers it has used.
    used: Counters,
    /// Per producer and message number: 1 when `push` said yes.
    accepted: Counters,
    /// Per worker and message: how often it did its effect, and the highest attempt it saw.
    processed: Counters,
    attempts: Counters,
    /// In order: per producer and key, the last message worked on, and whether somebody works on one. One process at a
    /// time writes them, if order is kept.
    last_of_key: Counters,
    key_is_busy: Counters,
    /// Per worker: the longest wait of a message in the queue.
    longest_wait: Counters,
    bytes: Vec<u8>,
}

impl<'a> World<'a> {
    fn create(scenario: &'a Scenario, random: &mut Random) -> Result<Self, String> {
        let group = GroupPlan {
            arena_size: scenario.arena_size,
            attempts_max: ATTEMPTS_MAX,
            lanes: scenario.lanes,
            overflow: scenario.overflow,
            ..GroupPlan::new("killed", scenario.workers, scenario.queue)
        };
        let plan = QueuePlan { producers: scenario.producers, groups: vec![group] };
        let counters =
            |blocks: u32, count: u32| Counters::create(blocks, count).map_err(|error| error.to_string());
        let messages = scenario.producers * MESSAGES_PER_PRODUCER;
        Ok(Self {
            scenario,
            queues: Queues::create(&plan).map_err(|error| error.to_string())?,
            control: counters(1, 2)?,
            used: counters(scenario.producers, 1)?,
            accepted: counters(scenario.producers, MESSAGES_PER_PRODUCER)?,
            processed: counters(scenario.workers, messages)?,
            attempts: counters(scenario.workers, messages)?,
            last_of_key: counters(scenario.producers, KEYS)?,
            key_is_busy: counters(1, KEYS)?,
            longest_wait: counters(scenario.workers, 1)?,
            bytes: std::iter::repeat_with(|| random.next() as u8).take(2 * 65_536).collect(),
        })
    }

    fn is_over(&self, flag: u32) -> bool {
        self.control.value(0, flag) != 0
    }

    /// The body of a message follows from its number, so that the worker knows what to expect.
    fn body(&self, message: u32) -> &[u8] {
        let hash = mix(u64::from(message));
        // Nine in ten are small, as in life.
        let limit = if hash.is_multiple_of(10) {
            self.scenario.body_size_max
        } else {
            self.scenario.body_size_max.min(1500)
        };
        let size = 1 + (hash >> 8) as u32 % limit;
        let start = (hash >> 40) as usize % 65_536;
        &self.bytes[start..start + size as usize]
    }

    fn is_poison(&self, message: u32) -> bool {
        let period = self.scenario.poison_period;
        period != 0 && mix(u64::from(message) + 7).is_multiple_of(period)
    }
}

fn produce(world: &World<'_>, index: u32, random: &mut Random) {
    let mut producer = world.queues.producer(index);
    let (used, accepted) = (world.used.block(index), world.accepted.block(index));
    while !world.is_over(PRODUCERS_STOP) {
        let number = used.value(0) as u32;
        if number >= MESSAGES_PER_PRODUCER {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        // Before the push: whatever happens, no number is used twice.
        used.set(0, u64::from(number) + 1);
        if !push(world, &mut producer, index * MESSAGES_PER_PRODUCER + number) {
            return;
        }
        accepted.set(number, 1);
        if world.scenario.pace == Pace::Light || random.below(8) == 0 {
            producer.wake(0);
        }
        if world.scenario.overflow == Overflow::DropOldest && random.below(4) == 0 {
            // Nothing else holds such a producer up.
            std::thread::sleep(Duration::from_micros(random.below(300)));
        }
        if world.scenario.pace == Pace::Light && random.below(4) != 0 {
            std::thread::sleep(Duration::from_micros(random.below(150)));
        }
    }
    producer.wake(0);
}

/// False when the run is over before there was room.
fn push(world: &World<'_>, producer: &mut Producer, message: u32) -> bool {
    let meta = message.to_ne_bytes();
    let body = world.body(message);
    let record =
        Record { meta: &meta, body, xdata: &body[..body.len() % 64], received_at_ns: monotonic_ns() };
    loop {
        match producer.push_to(0, placement(world, message), &record) {
            Ok(()) => return true,
            Err(PushError::TooLarge) => exit_now(EXIT_TOO_LARGE),
            Err(PushError::Full) if world.is_over(PRODUCERS_STOP) => return false,
            Err(PushError::Full) => {
                producer.wake(0);
                std::thread::yield_now();
            }
        }
    }
}

/// Messages of one key come from all producers.
fn key(message: u32) -> u32 {
    mix(u64::from(message % MESSAGES_PER_PRODUCER) + 99) as u32 % KEYS
}

fn placement(world: &World<'_>, message: u32) -> Placement {
    match world.scenario.lanes {
        Lanes::One => Placement::Usual,
        Lanes::Urgent if mix(u64::from(message)).is_multiple_of(3) => Placement::Urgent,
        Lanes::Urgent => Placement::Usual,
        Lanes::Ordered => Placement::Keyed(mix(u64::from(key(message)))),
    }
}

/// Nobody else works on a message of this key, and no later one of its producer has been worked on.
fn begin_in_order(world: &World<'_>, message: u32, attempt: u32) {
    let (key, producer) = (key(message), message / MESSAGES_PER_PRODUCER);
    let is_busy = world.key_is_busy.block(0);
    if is_busy.value(key) != 0 && attempt == 1 {
        // Of whoever was ended over a message nothing is left but this mark, and the next attempt or a quarantine: only
        // a message that is begun for the first time beside one that lives is out of order.
        let other = is_busy.value(key) as u32 - 1;
        if world.scenario.poison_period == 0 || !world.is_poison(other) {
            exit_now(EXIT_OUT_OF_ORDER);
        }
    }
    is_busy.set(key, u64::from(message) + 1);
    let last = world.last_of_key.block(producer);
    let number = u64::from(message % MESSAGES_PER_PRODUCER) + 1;
    if last.value(key) > number || (last.value(key) == number && attempt == 1) {
        exit_now(EXIT_OUT_OF_ORDER);
    }
    last.set(key, number);
}

fn work(world: &World<'_>, index: u32, random: &mut Random) {
    let mut consumer = world.queues.consumer(0, index);
    loop {
        while let Some(delivery) = consumer.next() {
            process(world, index, delivery, random);
        }
        if world.is_over(WORKERS_STOP) {
            return;
        }
        park(world, &mut consumer);
    }
}

/// Without time-out: a worker whose wake is lost sleeps until the test fails.
fn park(world: &World<'_>, consumer: &mut Consumer) {
    consumer.park(&|| world.is_over(WORKERS_STOP), None);
}

fn process(world: &World<'_>, index: u32, delivery: Delivery<'_>, random: &mut Random) {
    let Ok(meta) = delivery.meta().try_into() else { exit_now(EXIT_CORRUPT) };
    let message = u32::from_ne_bytes(meta);
    if message >= world.scenario.producers * MESSAGES_PER_PRODUCER || delivery.body() != world.body(message) {
        exit_now(EXIT_CORRUPT);
    }
    if delivery.xdata() != &delivery.body()[..delivery.body().len() % 64] {
        exit_now(EXIT_CORRUPT);
    }
    if world.scenario.lanes == Lanes::Ordered {
        begin_in_order(world, message, delivery.earlier_attempts() + 1);
    }
    let attempts = world.attempts.block(index);
    attempts.set(message, attempts.value(message).max(u64::from(delivery.earlier_attempts() + 1)));
    if world.is_poison(message) {
        exit_now(EXIT_POISONED);
    }
    if delivery.earlier_attempts() == 0 && world.processed.sum(message) != 0 {
        exit_now(EXIT_ILLEGAL_DUPLICATE);
    }
    let wait = world.longest_wait.block(index);
    wait.set(0, wait.value(0).max(delivery.queued_ns()));
    run_script(random);
    world.processed.block(index).add(message, 1);
    if world.scenario.lanes == Lanes::Ordered {
        world.key_is_busy.block(0).set(key(message), 0);
    }
    delivery.finish();
}

/// Mostly quick, sometimes slow.
fn run_script(random: &mut Random) {
    let duration_ns = if random.below(50) == 0 { random.below(200_000) } else { random.below(2_000) };
    let end = monotonic_ns() + duration_ns;
    while monotonic_ns() < end {
        std::hint::spin_loop();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Producer(u32),
    Worker(u32),
}

/// The master of the test.
struct Master<'a> {
    world: World<'a>,
    repair: Repair,
    proof: SingleThreaded,
    random: Random,
    children: Vec<(ProcessId, Role)>,
    histogram: &'a mut Histogram,
    quarantined: Vec<u32>,
    deaths: u32,
}

fn run(scenario: &Scenario, seed: u64, histogram: &mut Histogram) -> Result<String, String> {
    let mut random = Random(mix(seed ^ mix(scenario.name.len() as u64)));
    let world = World::create(scenario, &mut random)?;
    let mut master = Master {
        repair: world.queues.repair(),
        world,
        proof: SingleThreaded::prove().map_err(|error| error.to_string())?,
        random,
        children: Vec::new(),
        histogram,
        quarantined: Vec::new(),
        deaths: 0,
    };
    let outcome = master.play();
    master.end_everybody();
    outcome.and_then(|()| master.check_ledger())
}

impl Master<'_> {
    fn play(&mut self) -> Result<(), String> {
        let scenario = self.world.scenario;
        let producers = (0..scenario.producers).map(Role::Producer);
        for role in producers.chain((0..scenario.workers).map(Role::Worker)) {
            self.start(role, scenario.points)?;
        }
        let deaths_wanted =
            (u64::from(scenario.deaths) * environment_number("RING_KILLS").unwrap_or(5_000) / 5_000) as u32;
        while self.deaths < deaths_wanted {
            self.kill_some()?;
        }
        self.drain()
    }

    fn start(&mut self, role: Role, may_end_at_point: bool) -> Result<(), String> {
        let mut child_random = Random(self.random.next() | 1);
        let point = (may_end_at_point && cfg!(feature = "crash-points")).then(|| self.choose_point(role));
        match fork(&self.proof).map_err(|error| error.to_string())? {
            Fork::Parent(pid) => self.children.push((pid, role)),
            Fork::Child => {
                if let Some((point, passes)) = point {
                    arm(point, passes);
                }
                let life = AssertUnwindSafe(|| match role {
                    Role::Producer(index) => produce(&self.world, index, &mut child_random),
                    Role::Worker(index) => work(&self.world, index, &mut child_random),
                });
                exit_now(if catch_unwind(life).is_ok() { 0 } else { EXIT_PANICKED });
            }
        }
        Ok(())
    }

    /// The point of this role that was hit least, or any; rare points at their first pass.
    fn choose_point(&mut self, role: Role) -> (Point, u32) {
        let of_role = |point: &&Point| match role {
            Role::Producer(_) => (**point as u8) < Point::ClaimTaken as u8,
            Role::Worker(_) => **point as u8 >= Point::WakeSleeperSeen as u8,
        };
        let mut candidates = Point::OF_RINGS.iter().filter(of_role).copied().collect::<Vec<_>>();
        if self.random.below(2) == 0 {
            candidates.sort_by_key(|point| self.histogram[*point as usize]);
            candidates.truncate(3);
        }
        let point = candidates[self.random.below(candidates.len() as u64) as usize];
        let passes = if self.histogram[point as usize] < 3 { 1 } else { 1 + self.random.below(40) as u32 };
        (point, passes)
    }

    /// One to four processes at once, then whoever has ended besides.
    fn kill_some(&mut self) -> Result<(), String> {
        std::thread::sleep(Duration::from_micros(self.random.below(1_500)));
        let stopped = self.stop_one();
        let count = 1 + self.random.below(self.random.0 % 4 + 1);
        for _ in 0..count {
            let victim = self.random.below(self.children.len() as u64) as usize;
            // It may have ended by itself already.
            let _ = kill(self.children[victim].0, libc::SIGKILL);
        }
        let mut dead = vec![wait_any().map_err(|error| error.to_string())?.ok_or("no child is left")?];
        self.collect(&mut dead)?;
        self.reap(&dead, self.world.scenario.points)?;
        if let Some(stopped) = stopped {
            // It may have been killed as well.
            let _ = kill(stopped, libc::SIGCONT);
        }
        Ok(())
    }

    /// Now and then a worker stands still for a while: nobody may take anything from it.
    fn stop_one(&mut self) -> Option<ProcessId> {
        if self.random.below(20) != 0 {
            return None;
        }
        let victim = self.random.below(self.children.len() as u64) as usize;
        let victim = self.children[victim].0;
        kill(victim, libc::SIGSTOP).ok().map(|()| victim)
    }

    fn collect(&self, dead: &mut Vec<DeadChild>) -> Result<(), String> {
        while let Some(child) = try_wait_any().map_err(|error| error.to_string())? {
            dead.push(child);
        }
        Ok(())
    }

    /// Reaped are all; now repair each, wake, and only then start the successors.
    fn reap(&mut self, dead: &[DeadChild], may_end_at_point: bool) -> Result<(), String> {
        let mut roles = Vec::new();
        for child in dead {
            let index =
                self.children.iter().position(|(pid, _)| *pid == child.process).ok_or("a stranger died")?;
            let (_, role) = self.children.swap_remove(index);
            self.deaths += 1;
            self.judge(child.status, role)?;
            roles.push(role);
        }
        // The others are at work meanwhile: whatever a kill leaves is no damage.
        assert!(self.repair.is_sound(0), "words that no protocol writes");
        self.repair.wake_all();
        for role in roles {
            self.start(role, may_end_at_point)?;
        }
        Ok(())
    }

    fn judge(&mut self, status: ExitStatus, role: Role) -> Result<(), String> {
        let blame = match status {
            ExitStatus::Killed { signal: libc::SIGKILL, .. } => Blame::Nobody,
            ExitStatus::Exited(EXIT_POISONED) => Blame::Message,
            ExitStatus::Exited(status) if let Some(point) = point_of(status) => {
                self.histogram[point as usize] += 1;
                Blame::Nobody
            }
            ExitStatus::Exited(EXIT_CORRUPT) => return Err("a message was not what had been sent".into()),
            ExitStatus::Exited(EXIT_OUT_OF_ORDER) => return Err("a message overtook another one".into()),
            ExitStatus::Exited(EXIT_ILLEGAL_DUPLICATE) => {
                return Err("a message came twice without a death".into());
            }
            other => return Err(format!("a child ended with {other}")),
        };
        match role {
            Role::Producer(index) => self.repair.producer_died(index),
            Role::Worker(index) => {
                if let Repaired::Quarantined(record) = self.repair.worker_died(0, index, blame) {
                    let meta = record.meta.try_into().map_err(|_| "a quarantined record is broken")?;
                    self.quarantined.push(u32::from_ne_bytes(meta));
                }
            }
        }
        Ok(())
    }

    /// No more kills: what was accepted has to be done by those who live, woken by nothing but the protocol.
    fn drain(&mut self) -> Result<(), String> {
        self.world.control.block(0).set(PRODUCERS_STOP, 1);
        let deadline = Instant::now() + DRAIN_TIME_MAX;
        let mut is_quiet = false;
        while !is_quiet {
            if Instant::now() > deadline {
                return Err(format!("stuck: {:?}", self.world.queues.group_statistics(0)));
            }
            std::thread::sleep(Duration::from_micros(200));
            let mut dead = Vec::new();
            self.collect(&mut dead)?;
            self.bury_after_stop(&dead)?;
            let producers_left =
                self.children.iter().filter(|(_, role)| matches!(role, Role::Producer(_))).count();
            is_quiet = producers_left == 0 && self.repair.is_drained(0);
        }
        Ok(())
    }

    /// Producers leave now; a worker may still die of poison or at its point, and is replaced.
    fn bury_after_stop(&mut self, dead: &[DeadChild]) -> Result<(), String> {
        let has_left = |child: &&DeadChild| child.status == ExitStatus::Exited(0);
        for child in dead.iter().filter(has_left) {
            self.children.retain(|(pid, _)| *pid != child.process);
        }
        let died = dead.iter().filter(|child| !has_left(child)).copied().collect::<Vec<_>>();
        if died.is_empty() { Ok(()) } else { self.reap(&died, false) }
    }

    /// Whatever happened, no process is left behind.
    fn end_everybody(&mut self) {
        self.world.control.block(0).set(PRODUCERS_STOP, 1);
        self.world.control.block(0).set(WORKERS_STOP, 1);
        self.repair.wake_all();
        let deadline = Instant::now() + LEAVE_TIME_MAX;
        while !self.children.is_empty() {
            if Instant::now() > deadline {
                for (pid, _) in &self.children {
                    let _ = kill(*pid, libc::SIGKILL);
                }
            }
            while let Ok(Some(dead)) = try_wait_any() {
                self.children.retain(|(pid, _)| *pid != dead.process);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn check_ledger(&self) -> Result<String, String> {
        let scenario = self.world.scenario;
        let mut sums = Sums::default();
        for producer in 0..scenario.producers {
            for number in 0..self.world.used.value(producer, 0) as u32 {
                let is_accepted = self.world.accepted.value(producer, number) != 0;
                self.check_message(producer * MESSAGES_PER_PRODUCER + number, is_accepted, &mut sums)?;
            }
        }
        self.check_memory()?;
        // A producer that is killed right after it took a record back has not counted it.
        let counted = self.world.queues.group_statistics(0).dropped_oldest;
        if sums.dropped > counted + u64::from(self.deaths) {
            return Err(format!("{} are missing, {counted} were taken back", sums.dropped));
        }
        let longest = (0..scenario.workers).map(|worker| self.world.longest_wait.value(worker, 0)).max();
        let statistics = self.world.queues.group_statistics(0);
        Ok(format!(
            "{} deaths, {} accepted, 0 lost, {} taken back, {} processed twice or more, {} redelivered, \
             {} quarantined, {} full, longest wait {} ms",
            self.deaths,
            sums.accepted,
            sums.dropped,
            sums.repeated,
            statistics.redelivered,
            self.quarantined.len(),
            statistics.full,
            longest.unwrap_or(0) / 1_000_000,
        ))
    }

    fn check_message(&self, message: u32, is_accepted: bool, sums: &mut Sums) -> Result<(), String> {
        let processed = self.world.processed.sum(message);
        let workers = 0..self.world.scenario.workers;
        let attempts = workers.map(|worker| self.world.attempts.value(worker, message)).max().unwrap_or(0);
        let quarantined = self.quarantined.iter().filter(|held| **held == message).count();
        sums.accepted += u64::from(is_accepted);
        sums.repeated += u64::from(processed > 1);
        if processed > attempts {
            return Err(format!("message {message} was processed {processed} times in {attempts} attempts"));
        }
        if self.world.is_poison(message) && self.world.scenario.overflow == Overflow::Refuse {
            let is_right = processed == 0 && (quarantined == 1 || (!is_accepted && quarantined == 0));
            return is_right
                .then_some(())
                .ok_or(format!("poison {message} was quarantined {quarantined} times"));
        }
        if quarantined != 0 {
            return Err(format!("message {message} was quarantined without blame"));
        }
        if is_accepted && processed == 0 && self.world.scenario.overflow == Overflow::DropOldest {
            sums.dropped += 1;
            return Ok(());
        }
        if is_accepted && processed == 0 {
            return Err(format!("message {message} is lost"));
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), String> {
        for index in 0..self.world.scenario.producers {
            let occupied = self.world.queues.producer(index).occupied(0);
            if occupied != (0, 0) {
                return Err(format!("producer {index} still occupies {occupied:?} (records, bytes)"));
            }
        }
        let statistics = self.world.queues.group_statistics(0);
        if (statistics.depth, statistics.late_found, statistics.corrupt) != (0, 0, 0) {
            return Err(format!("not back to the beginning: {statistics:?}"));
        }
        Ok(())
    }
}

#[derive(Default)]
struct Sums {
    accepted: u64,
    repeated: u64,
    dropped: u64,
}

#[cfg(feature = "crash-points")]
fn arm(point: Point, passes: u32) {
    sworker::shm::proof::crash_point::arm(point, passes);
}

#[cfg(not(feature = "crash-points"))]
fn arm(_point: Point, _passes: u32) {}

#[cfg(feature = "crash-points")]
fn point_of(status: i32) -> Option<Point> {
    sworker::shm::proof::crash_point::point_of_exit_status(status)
}

#[cfg(not(feature = "crash-points"))]
fn point_of(_status: i32) -> Option<Point> {
    None
}

fn environment_number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A small generator whose whole run follows from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

const CRASH_POINT_TEST: &str = "every_crash_point";
#[cfg(feature = "crash-points")]
const POINT_ROUNDS_MAX: u64 = 12;
const MESSAGES_PER_PRODUCER: u32 = 200_000;
const ATTEMPTS_MAX: u32 = 2;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(20);
const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);

const PRODUCERS_STOP: u32 = 0;
const WORKERS_STOP: u32 = 1;

const EXIT_POISONED: i32 = 66;
const EXIT_PANICKED: i32 = 70;
const EXIT_CORRUPT: i32 = 71;
const EXIT_ILLEGAL_DUPLICATE: i32 = 72;
const EXIT_TOO_LARGE: i32 = 73;
const EXIT_OUT_OF_ORDER: i32 = 74;

const KEYS: u32 = 40;
