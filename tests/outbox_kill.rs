//! Kills real processes while they send, and checks that each packet accepted leaves, in order, and at most one batch of
//! them twice for each death.
//!
//! ```text
//!  parent       forks, kills at random, reaps, leaves outboxes to others or starts successors, as the master does
//!  senders      number their packets, put a few of many sizes, note each, flush; those that rest adopt what others left
//!  collector    receives, checks every byte and the order of each sender, notes; it lives to the end
//! ```
//!
//! With the feature `crash-points` senders also end themselves at named steps, and the test fails unless every step was
//! hit. `OUTBOX_KILLS=20000` makes it longer, `POINT_HITS=50` asks for so many ends at every step.

#[path = "runner/mod.rs"]
mod runner;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use sworker::shm::proof::crash_point::Point;
use sworker::shm::{
    BATCH_COUNT, CounterBlock, Counters, Outboxes, Owner, Packet, PutError, SharedOutbox, Tended,
};
use sworker::sys::process::{
    DeadChild, ExitStatus, Fork, ProcessId, SingleThreaded, exit_now, fork, kill, try_wait_any, wait_any,
};
use sworker::sys::send::BatchSender;
use sworker::sys::socket::force_receive_buffer_size;

const SENDERS: u32 = 3;
const COLLECTOR: u32 = SENDERS;
const PACKETS_PER_SENDER: u32 = 200_000;
/// Cells of the ledger behind those of the packets. Of a sender: the number of its next packet, and how many outboxes it
/// adopted. Of the collector: how many packets came again, how often it went back to do so, and the highest number of each
/// sender.
const NEXT: u32 = SENDERS * PACKETS_PER_SENDER;
const ADOPTED: u32 = NEXT + 1;
const REPEATED: u32 = NEXT + 2;
const STEPS_BACK: u32 = NEXT + 3;
const HIGHEST: u32 = NEXT + 4;
/// What the kernel holds for the collector has an end: a sender does not go further ahead of it than this.
const AHEAD_MAX: u64 = 64;
const RECEIVE_BUFFER_SIZE: usize = 64 << 20;
const DEADLINE: Duration = Duration::from_secs(120);
const EXIT_TORN: i32 = 3;
const EXIT_OUT_OF_ORDER: i32 = 4;
const EXIT_REFUSED: i32 = 5;

fn main() {
    let test: &dyn Fn() -> Result<String, String> = &what_lies_in_an_outbox_leaves;
    exit_now(runner::main(&[("what_lies_in_an_outbox_leaves_whoever_is_killed", test)]));
}

fn environment_number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

fn what_lies_in_an_outbox_leaves() -> Result<String, String> {
    let kills = environment_number("OUTBOX_KILLS").unwrap_or(1_000);
    let mut parent = Parent {
        proof: SingleThreaded::prove().expect("one thread"),
        world: World::create(),
        children: vec![None; COLLECTOR as usize + 1],
        is_left_to_others: vec![false; SENDERS as usize],
        random: Random(0x9e37_79b9_7f4a_7c15),
        hits: vec![0; Point::OF_OUTBOXES.len()],
        hits_wanted: environment_number("POINT_HITS").unwrap_or(1),
        deaths: 0,
        deadline: Instant::now() + DEADLINE,
    };
    while parent.deaths < kills || parent.missed_point().is_some() {
        let (deaths, missed) = (parent.deaths, parent.missed_point());
        parent.check_time(&format!("{deaths} deaths, {missed:?} not hit often enough"));
        parent.start_missing();
        std::thread::sleep(Duration::from_micros(parent.random.next() % 1_000));
        let victim = (parent.random.next() % u64::from(SENDERS)) as usize;
        if let Some(process) = parent.children[victim] {
            // It may have ended by itself; how, is seen when it is reaped.
            let _ = kill(process, libc::SIGKILL);
        }
        while let Ok(Some(dead)) = try_wait_any() {
            parent.bury(dead)?;
        }
    }
    parent.finish()?;
    let hits = Point::OF_OUTBOXES.iter().zip(&parent.hits).map(|(point, hits)| format!("{point:?} {hits}"));
    let hits = hits.collect::<Vec<_>>().join(" · ");
    Ok(format!("{}; {hits}", parent.count()?))
}

struct World {
    outboxes: Outboxes,
    ledger: Counters,
    /// Packets leave by either.
    listeners: [UdpSocket; 2],
    collector: UdpSocket,
    address: SocketAddr,
    size_max: usize,
}

impl World {
    fn create() -> World {
        let bind = || UdpSocket::bind("127.0.0.1:0").expect("a port");
        let collector = bind();
        // Beyond the system's limit only for who may do that; without it, what waits there must be small.
        let is_large = force_receive_buffer_size(collector.as_fd(), RECEIVE_BUFFER_SIZE).is_ok();
        World {
            outboxes: Outboxes::create((0..=COLLECTOR).map(|process| process != COLLECTOR)).expect("memory"),
            ledger: Counters::create(COLLECTOR + 1, HIGHEST + SENDERS).expect("memory"),
            listeners: [bind(), bind()],
            address: collector.local_addr().expect("an address"),
            collector,
            size_max: if is_large { 65_507 } else { 300 },
        }
    }

    /// The bytes of a packet follow from its number, so the collector knows them.
    fn bytes(&self, packet: u32) -> Vec<u8> {
        let hash = mix(u64::from(packet));
        // Nine in ten are small, as in life.
        let size_max = if hash.is_multiple_of(10) { self.size_max } else { self.size_max.min(1_500) };
        let mut bytes = vec![b'a' + (packet % 26) as u8; 4 + (hash >> 8) as usize % (size_max - 3)];
        bytes[..4].copy_from_slice(&packet.to_le_bytes());
        bytes
    }

    fn flush(&self, outbox: &mut SharedOutbox) {
        let mut sender = BatchSender::default();
        outbox.flush(|pending| {
            let Some(first) = pending.packet(0) else { exit_now(EXIT_TORN) };
            let socket = self.listeners[usize::from(first.listener)].as_fd();
            let packets = pending.of_one_listener().map(|packet| (packet.to, packet.bytes));
            sender.send(socket, packets, DEADLINE).unwrap_or_else(|_| exit_now(EXIT_REFUSED))
        });
    }
}

struct Parent {
    proof: SingleThreaded,
    world: World,
    children: Vec<Option<ProcessId>>,
    /// What the dead one left is to be adopted before it has a successor.
    is_left_to_others: Vec<bool>,
    random: Random,
    /// How often each point ended somebody.
    hits: Vec<u32>,
    hits_wanted: u32,
    deaths: u32,
    deadline: Instant,
}

impl Parent {
    fn missed_point(&self) -> Option<Point> {
        let missed = self.hits.iter().position(|hits| *hits < self.hits_wanted);
        let missed = missed.map(|index| Point::OF_OUTBOXES[index]);
        missed.filter(|_| cfg!(feature = "crash-points"))
    }

    fn check_time(&self, what: &str) {
        assert!(Instant::now() < self.deadline, "after {DEADLINE:?}: {what}");
    }

    fn start_missing(&mut self) {
        for index in 0..=COLLECTOR {
            if self.children[index as usize].is_none() && self.may_start(index) {
                let seed = self.random.next() | 1;
                match fork(&self.proof).expect("another process") {
                    Fork::Parent(child) => self.children[index as usize] = Some(child),
                    Fork::Child if index == COLLECTOR => collect(&self.world),
                    Fork::Child => send(&self.world, index, &mut Random(seed)),
                }
            }
        }
    }

    /// As the master decides it; now and then a successor is wanted before anybody has adopted what was left.
    fn may_start(&mut self, index: u32) -> bool {
        if let Some(is_left) = self.is_left_to_others.get_mut(index as usize) {
            *is_left &= self.world.outboxes.abandon(index) && !self.random.next().is_multiple_of(8);
            if *is_left {
                return false;
            }
        }
        self.world.outboxes.may_start(index)
    }

    fn bury(&mut self, dead: DeadChild) -> Result<(), String> {
        let index = self.children.iter().position(|child| *child == Some(dead.process)).expect("one of ours");
        match dead.status {
            ExitStatus::Killed { signal: libc::SIGKILL, .. } if index != COLLECTOR as usize => {}
            ExitStatus::Exited(status) if self.note_point(status) => {}
            status => return Err(format!("process {index} ended by {status}")),
        }
        self.deaths += 1;
        self.children[index] = None;
        self.world.outboxes.after_death(Owner::new(0, index as u32));
        self.is_left_to_others[index] = self.random.next().is_multiple_of(2);
        Ok(())
    }

    #[cfg(feature = "crash-points")]
    fn note_point(&mut self, status: i32) -> bool {
        let point = sworker::shm::proof::crash_point::point_of_exit_status(status);
        let index = point.and_then(|point| Point::OF_OUTBOXES.iter().position(|known| *known == point));
        index.map(|index| self.hits[index] += 1).is_some()
    }

    #[cfg(not(feature = "crash-points"))]
    fn note_point(&mut self, _: i32) -> bool {
        false
    }

    /// Nobody sends anything new; what was left leaves, and the collector has received it.
    fn finish(&mut self) -> Result<(), String> {
        for process in self.children[..SENDERS as usize].iter().flatten() {
            let _ = kill(*process, libc::SIGKILL);
        }
        while self.children[..SENDERS as usize].iter().any(Option::is_some) {
            let dead = wait_any().expect("a child").expect("a child");
            self.bury(dead)?;
        }
        for index in 0..SENDERS {
            assert!(self.world.outboxes.may_start(index), "nobody is left to have adopted it");
            self.world.flush(&mut self.world.outboxes.attach(index).expect("planned"));
        }
        while self.first_lost().is_some() && Instant::now() < self.deadline {
            if let Ok(Some(dead)) = try_wait_any() {
                return Err(format!("the collector ended by {}", dead.status));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.children[COLLECTOR as usize].map(|collector| kill(collector, libc::SIGKILL));
        while let Ok(Some(_)) = wait_any() {}
        match self.first_lost() {
            Some(packet) => Err(format!("packet {packet} was accepted and did not leave")),
            None => Ok(()),
        }
    }

    fn first_lost(&self) -> Option<u32> {
        let ledger = &self.world.ledger;
        let is_lost = |packet: &u32| {
            ledger.value(packet / PACKETS_PER_SENDER, *packet) > 0 && ledger.value(COLLECTOR, *packet) == 0
        };
        (0..NEXT).find(is_lost)
    }

    /// One batch for each death at most came twice.
    fn count(&self) -> Result<String, String> {
        let ledger = &self.world.ledger;
        let accepted: u64 = (0..NEXT).map(|packet| ledger.value(packet / PACKETS_PER_SENDER, packet)).sum();
        let [repeated, steps_back] = [REPEATED, STEPS_BACK].map(|cell| ledger.value(COLLECTOR, cell));
        let (deaths, adopted) = (u64::from(self.deaths), ledger.sum(ADOPTED));
        let text = format!(
            "{deaths} deaths, {accepted} packets accepted, {repeated} came again after {steps_back} deaths, {adopted} outboxes \
             adopted"
        );
        let is_within = steps_back <= deaths && repeated <= steps_back * BATCH_COUNT as u64;
        match is_within && accepted > 1_000 && adopted > 0 {
            true => Ok(text),
            false => Err(text),
        }
    }
}

fn send(world: &World, sender: u32, random: &mut Random) -> ! {
    arm(random);
    let block = world.ledger.block(sender);
    let mut outbox = world.outboxes.attach(sender).expect("planned");
    world.flush(&mut outbox);
    let beginning = block.value(NEXT);
    loop {
        for _ in 0..random.next() % 48 {
            put_one(world, sender, &block, &mut outbox);
        }
        world.flush(&mut outbox);
        if let Some(mut adopted) = world.outboxes.adopt(sender) {
            world.flush(&mut adopted.outbox);
            adopted.give_back();
            block.add(ADOPTED, 1);
        }
        let highest = || world.ledger.value(COLLECTOR, HIGHEST + sender);
        while block.value(NEXT).saturating_sub(highest().max(beginning)) > AHEAD_MAX {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

fn put_one(world: &World, sender: u32, block: &CounterBlock, outbox: &mut SharedOutbox) {
    let number = block.value(NEXT);
    assert!(number < u64::from(PACKETS_PER_SENDER), "room in the ledger");
    // A number is used once, whatever becomes of it.
    block.add(NEXT, 1);
    let packet = sender * PACKETS_PER_SENDER + number as u32;
    let bytes = world.bytes(packet);
    // Long rows leave by one, so that calls are large.
    let listener = u16::from(mix(u64::from(packet / 40)).is_multiple_of(2));
    let content = Packet { listener, to: world.address, bytes: &bytes };
    loop {
        match outbox.put(&content) {
            Ok(()) => break block.add(packet, 1),
            Err(PutError::Full) => world.flush(outbox),
            Err(PutError::TooLarge) => exit_now(EXIT_REFUSED),
        }
    }
}

/// Every other process ends itself, after some passes of a point.
#[cfg(feature = "crash-points")]
fn arm(random: &mut Random) {
    if random.next().is_multiple_of(2) {
        let point = Point::OF_OUTBOXES[(random.next() % Point::OF_OUTBOXES.len() as u64) as usize];
        let is_seldom = matches!(point, Point::OutboxAdopted | Point::OutboxGivenBack);
        let passes = if is_seldom { 1 } else { 1 + (random.next() % 40) as u32 };
        sworker::shm::proof::crash_point::arm(point, passes);
    }
}

#[cfg(not(feature = "crash-points"))]
fn arm(_: &mut Random) {}

/// Packets of a sender come in order. Some come again, to the byte: none that is more than a batch back, and each had come.
fn collect(world: &World) -> ! {
    let block = world.ledger.block(COLLECTOR);
    let mut bytes = vec![0; 65_536];
    let mut last = [None; SENDERS as usize];
    let mut highest = [None; SENDERS as usize];
    loop {
        let size = world.collector.recv(&mut bytes).expect("a socket that works");
        let Some(packet) = bytes[..size].first_chunk().map(|number| u32::from_le_bytes(*number)) else {
            exit_now(EXIT_TORN)
        };
        if packet >= NEXT || bytes[..size] != world.bytes(packet) {
            exit_now(EXIT_TORN);
        }
        let (sender, number) = ((packet / PACKETS_PER_SENDER) as usize, packet % PACKETS_PER_SENDER);
        if last[sender].is_some_and(|last| number <= last) {
            block.add(STEPS_BACK, 1);
        }
        last[sender] = Some(number);
        match highest[sender] {
            Some(highest) if number <= highest => {
                if block.value(packet) == 0 || highest - number >= BATCH_COUNT as u32 {
                    exit_now(EXIT_OUT_OF_ORDER);
                }
                block.add(REPEATED, 1);
            }
            _ => highest[sender] = Some(number),
        }
        block.add(packet, 1);
        block.set(HIGHEST + sender as u32, u64::from(highest[sender].unwrap_or_default()));
    }
}

fn mix(number: u64) -> u64 {
    Random(number.wrapping_add(0x9e37_79b9_7f4a_7c15)).next().wrapping_mul(0xbf58_476d_1ce4_e5b9)
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
