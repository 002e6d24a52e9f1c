//! What handing a message over costs: the rings, beside the way of a datagram socket and a shared heap.
//!
//! ```text
//!  ring      push · wake │ next · finish                              sworker::shm
//!  socket    lock · allocate · unlock · clear · copy · write 8 bytes │ recv · copy · lock · free · unlock
//! ```
//!
//! Both ports run in turn in the same run, several times; the tables show medians of CPU time per message, taken from
//! each process's own CPU clock. A message is 700 bytes and 128 bytes of addresses; a worker reads every byte once.
//! The last table shows how long a sleeping worker takes to notice, with `raw_sync`'s event as a third way.
//!
//! `cargo bench --bench ring`; `RING_REPETITIONS=9` for more.

#![allow(unsafe_code, reason = "the baseline is a heap in shared memory")]

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use raw_sync::Timeout;
use raw_sync::events::{Event, EventImpl, EventInit, EventState};
use sworker::shm::{Counters, GroupPlan, Lanes, Placement, QueuePlan, Queues, Record};
use sworker::sys::clock::{monotonic_ns, process_cpu_ns};
use sworker::sys::memory::SharedMapping;
use sworker::sys::process::{ExitStatus, Fork, SingleThreaded, exit_now, fork, wait_any};

fn main() {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    if arguments.iter().any(|word| word == "--list") {
        println!("ring: benchmark");
        return;
    }
    // Without `--bench` this is a test that everything still runs.
    let is_bench = arguments.iter().any(|word| word == "--bench");
    let effort = if is_bench { Effort::full() } else { Effort::trial() };
    print_one_process(&effort);
    print_table("empty script, CPU ns per message", &effort, 0);
    print_table("script of 2 us (not counted), CPU ns per message", &effort, 2_000);
    print_order(&effort, 0);
    print_order(&effort, 2_000);
    print_latencies(&effort);
}

/// All steps of a hand-over in one process, nothing shared with another core: what the code itself costs.
fn print_one_process(effort: &Effort) {
    let way = RingWay::create(&WAKE_LOAD);
    let (mut producer, mut consumer) = (way.queues.producer(0), way.queues.consumer(0, 0));
    let record =
        Record { meta: &[1; META_SIZE], body: &[7; BODY_SIZE], xdata: &[], received_at_ns: monotonic_ns() };
    let mut measure = || {
        let before = process_cpu_ns();
        for _ in 0..effort.messages {
            producer.push(0, &record).expect("room");
            producer.wake(0);
            consumer.next().expect("a message").finish();
        }
        (process_cpu_ns() - before) as f64 / effort.messages as f64
    };
    let costs = (0..effort.repetitions).map(|_| measure()).collect();
    println!("\npush, wake, next and finish in one process: {:.0} ns", median(costs));
}

struct Effort {
    messages: u64,
    wakes: u64,
    repetitions: usize,
}

impl Effort {
    fn full() -> Self {
        let repetitions = std::env::var("RING_REPETITIONS").ok().and_then(|number| number.parse().ok());
        Self { messages: 300_000, wakes: 1_000, repetitions: repetitions.unwrap_or(5) }
    }

    fn trial() -> Self {
        Self { messages: 2_000, wakes: 20, repetitions: 1 }
    }
}

const SHAPES: [(u32, u32); 4] = [(1, 1), (1, 2), (2, 2), (2, 4)];

fn print_table(title: &str, effort: &Effort, script_ns: u64) {
    println!("\n{title} (medians of {})", effort.repetitions);
    println!(
        "  shape   ring: total = producer + worker   socket: total = producer + worker   ratio   wakes/msg"
    );
    for (producers, workers) in SHAPES {
        let messages = if script_ns == 0 { effort.messages } else { effort.messages / 3 + 1 };
        let load = Load { producers, workers, messages, script_ns };
        let (mut ring, mut socket) = (Vec::new(), Vec::new());
        for _ in 0..effort.repetitions {
            ring.push(run(&load, &RingWay::create(&load)));
            socket.push(run(&load, &SocketWay::create()));
        }
        let (ring, socket) = (median_cost(ring), median_cost(socket));
        println!(
            "  {producers}->{workers}   {:>8.0} = {:>5.0} + {:>5.0}            {:>8.0} = {:>5.0} + {:>5.0}             x{:<5.1}  {:.4}",
            ring.total(),
            ring.producer_ns,
            ring.worker_ns,
            socket.total(),
            socket.producer_ns,
            socket.worker_ns,
            socket.total() / ring.total(),
            ring.sleeps,
        );
    }
}

/// What order costs: the same load once in one line, once in shards, as many keys as a busy server has calls.
fn print_order(effort: &Effort, script_ns: u64) {
    println!("\n1000 keys in order, script of {script_ns} ns (medians of {})", effort.repetitions);
    println!("  shape   no order: cpu   wall   in order: cpu   wall   throughput in order, of that without");
    for (producers, workers) in [(1, 2), (2, 2), (2, 4)] {
        let messages = if script_ns == 0 { effort.messages } else { effort.messages / 3 + 1 };
        let load = Load { producers, workers, messages, script_ns };
        let (mut free, mut ordered) = (Vec::new(), Vec::new());
        for _ in 0..effort.repetitions {
            free.push(run(&load, &RingWay::create(&load)));
            ordered.push(run(&load, &RingWay::in_order(&load)));
        }
        let (free, ordered) = (median_cost(free), median_cost(ordered));
        println!(
            "  {producers}->{workers}         {:>8.0}  {:>5.0}        {:>8.0}  {:>5.0}   {:>5.1} %",
            free.total(),
            free.wall_ns,
            ordered.total(),
            ordered.wall_ns,
            100.0 * free.wall_ns / ordered.wall_ns
        );
    }
}

fn print_latencies(effort: &Effort) {
    let ports: [(&str, &dyn Fn() -> Vec<u64>); 3] = [
        ("ring (futex)", &|| wake_latencies(effort, &RingWay::create(&WAKE_LOAD))),
        ("socket", &|| wake_latencies(effort, &SocketWay::create())),
        ("raw_sync event", &|| wake_latencies(effort, &EventWay::create())),
    ];
    println!("\na sleeping worker notices, us, 1->1 (medians of {})", effort.repetitions);
    println!("  way                  p50      p99");
    let mut results = vec![(Vec::new(), Vec::new()); ports.len()];
    for _ in 0..effort.repetitions {
        for (result, (_, measure)) in results.iter_mut().zip(&ports) {
            let mut latencies = measure();
            latencies.sort_unstable();
            result.0.push(latencies[latencies.len() / 2] as f64);
            result.1.push(latencies[latencies.len() * 99 / 100] as f64);
        }
    }
    for ((name, _), (p50, p99)) in ports.iter().zip(results) {
        println!("  {name:<16} {:>7.1}  {:>7.1}", median(p50) / 1000.0, median(p99) / 1000.0);
    }
}

/// A number of processes and what they do.
struct Load {
    producers: u32,
    workers: u32,
    messages: u64,
    script_ns: u64,
}

const WAKE_LOAD: Load = Load { producers: 1, workers: 1, messages: 0, script_ns: 0 };

/// One way to hand messages over.
trait Way {
    /// Sends so many messages; the body carries the stamp taken just before.
    fn produce(&self, index: u32, count: u64, stamp: &dyn Fn() -> u64);
    /// Receives until `is_over`; gives every message to `script`.
    fn work(&self, index: u32, is_over: &dyn Fn() -> bool, script: &mut dyn FnMut(&[u8]));
    /// Makes workers look at `is_over`.
    fn end(&self, workers: u32);
    /// How often workers slept.
    fn sleep_count(&self) -> u64 {
        0
    }
}

#[derive(Clone, Copy)]
struct Cost {
    producer_ns: f64,
    worker_ns: f64,
    sleeps: f64,
    /// From the start to the last message, divided by their number.
    wall_ns: f64,
}

impl Cost {
    fn total(&self) -> f64 {
        self.producer_ns + self.worker_ns
    }
}

fn run(load: &Load, way: &dyn Way) -> Cost {
    let board = Board::create(load.producers + load.workers);
    let each = load.messages / u64::from(load.producers);
    for index in 0..load.producers {
        board.spawn(index, || way.produce(index, each, &|| 0));
    }
    for index in 0..load.workers {
        let script = &mut |message: &[u8]| run_script(message, load.script_ns);
        board.spawn_worker(load.producers + index, index, way, script);
    }
    let started_at = monotonic_ns();
    board.finish(way, load.workers, each * u64::from(load.producers));
    let wall_ns = monotonic_ns() - started_at;
    let cpu = |from: u32, count: u32| {
        (from..from + count).map(|index| board.figures.value(index, CPU)).sum::<u64>()
    };
    let messages = (each * u64::from(load.producers)) as f64;
    Cost {
        producer_ns: cpu(0, load.producers) as f64 / messages,
        worker_ns: cpu(load.producers, load.workers) as f64 / messages - script_cost_ns(load.script_ns),
        sleeps: way.sleep_count() as f64 / messages,
        wall_ns: wall_ns as f64 / messages,
    }
}

/// One message at a time, long after the worker fell asleep.
fn wake_latencies(effort: &Effort, way: &dyn Way) -> Vec<u64> {
    let board = Board::create(2);
    let latencies = Counters::create(1, effort.wakes as u32).expect("memory");
    let stamp = || {
        std::thread::sleep(Duration::from_micros(500));
        monotonic_ns()
    };
    board.spawn(0, || way.produce(0, effort.wakes, &stamp));
    let mut seen = 0;
    let mut note = |message: &[u8]| {
        let sent_at = u64::from_ne_bytes(*message.first_chunk().expect("a stamp"));
        latencies.block(0).set(seen, monotonic_ns().saturating_sub(sent_at));
        seen += 1;
    };
    board.spawn_worker(1, 0, way, &mut note);
    board.finish(way, 1, effort.wakes);
    (0..effort.wakes as u32).map(|index| latencies.value(0, index)).collect()
}

/// Reads every byte once, then works for a while.
fn run_script(message: &[u8], duration_ns: u64) {
    let (words, _) = message.as_chunks::<8>();
    std::hint::black_box(words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word))));
    if duration_ns > 0 {
        let end = monotonic_ns() + duration_ns;
        while monotonic_ns() < end {
            std::hint::spin_loop();
        }
    }
}

/// What the waiting in the script costs alone; reading the message counts as part of the hand-over.
fn script_cost_ns(duration_ns: u64) -> f64 {
    const ROUNDS: u32 = 2_000;
    let before = process_cpu_ns();
    for _ in 0..ROUNDS {
        run_script(&[], duration_ns);
    }
    (process_cpu_ns() - before) as f64 / f64::from(ROUNDS)
}

/// What the parent and its children share besides the way: the start, the end, and figures of each.
struct Board {
    figures: Counters,
    control: Counters,
    proof: SingleThreaded,
}

impl Board {
    fn create(processes: u32) -> Self {
        Self {
            figures: Counters::create(processes, 2).expect("memory"),
            control: Counters::create(1, 2).expect("memory"),
            proof: SingleThreaded::prove().expect("one thread"),
        }
    }

    fn spawn(&self, index: u32, life: impl FnOnce()) {
        if fork(&self.proof).expect("a child") != Fork::Child {
            return;
        }
        while self.control.value(0, STARTED) == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        let before = process_cpu_ns();
        life();
        self.figures.block(index).set(CPU, process_cpu_ns() - before);
        exit_now(0);
    }

    fn spawn_worker(&self, index: u32, worker: u32, way: &dyn Way, script: &mut dyn FnMut(&[u8])) {
        let own = self.figures.block(index);
        self.spawn(index, || {
            way.work(worker, &|| self.control.value(0, OVER) != 0, &mut |message| {
                script(message);
                own.add(DONE, 1);
            });
        });
    }

    /// Starts all, waits until every message was worked on, ends the workers.
    fn finish(&self, way: &dyn Way, workers: u32, messages: u64) {
        self.control.block(0).set(STARTED, 1);
        while self.figures.sum(DONE) < messages {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.control.block(0).set(OVER, 1);
        way.end(workers);
        while let Some(dead) = wait_any().expect("our children") {
            assert_eq!(dead.status, ExitStatus::Exited(0));
        }
    }
}

const STARTED: u32 = 0;
const OVER: u32 = 1;
const CPU: u32 = 0;
const DONE: u32 = 1;

struct RingWay {
    queues: Queues,
    /// About half of the time the workers need for a full ring: sleeping shall not become the thing measured.
    full_pause: Duration,
}

impl RingWay {
    fn create(load: &Load) -> Self {
        Self::of(load, Lanes::One)
    }

    fn in_order(load: &Load) -> Self {
        Self::of(load, Lanes::Ordered)
    }

    fn of(load: &Load, lanes: Lanes) -> Self {
        let group = GroupPlan { lanes, ..GroupPlan::new("bench", load.workers, 1024) };
        let plan = QueuePlan { producers: load.producers, groups: vec![group] };
        let full_pause = Duration::from_nanos(500 * load.script_ns / u64::from(load.workers)).max(FULL_PAUSE);
        Self { queues: Queues::create(&plan).expect("memory"), full_pause }
    }
}

impl Way for RingWay {
    fn produce(&self, index: u32, count: u64, stamp: &dyn Fn() -> u64) {
        self.queues.prefault().expect("memory");
        let mut producer = self.queues.producer(index);
        let mut body = [7; BODY_SIZE];
        for number in 0..count {
            let now = stamp();
            body[..8].copy_from_slice(&now.to_ne_bytes());
            let record = Record { meta: &[1; META_SIZE], body: &body, xdata: &[], received_at_ns: now };
            // Where there is no order, a key means nothing.
            let placement = Placement::Keyed((number % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
            while producer.push_to(0, placement, &record).is_err() {
                std::thread::sleep(self.full_pause);
            }
            producer.wake(0);
        }
    }

    fn work(&self, index: u32, is_over: &dyn Fn() -> bool, script: &mut dyn FnMut(&[u8])) {
        self.queues.prefault().expect("memory");
        let mut consumer = self.queues.consumer(0, index);
        while !is_over() {
            while let Some(delivery) = consumer.next() {
                std::hint::black_box(delivery.meta().iter().fold(0, |sum, byte| sum ^ byte));
                script(delivery.body());
                delivery.finish();
            }
            consumer.park(is_over, None);
        }
    }

    fn end(&self, _workers: u32) {
        self.queues.repair().wake_all();
    }

    fn sleep_count(&self) -> u64 {
        self.queues.group_statistics(0).parks
    }
}

/// Blocks of one size in shared memory under one lock; an 8-byte handle travels through a datagram socket.
struct SocketWay {
    heap: SharedMapping,
    sender: UnixDatagram,
    receiver: UnixDatagram,
}

impl SocketWay {
    fn create() -> Self {
        let heap = SharedMapping::create(c"ring-bench-heap", BLOCK_SIZE * (BLOCK_COUNT + 1)).expect("memory");
        let (sender, receiver) = UnixDatagram::pair().expect("sockets");
        let way = Self { heap, sender, receiver };
        for block in 1..=BLOCK_COUNT as u64 {
            way.free(block);
        }
        way
    }

    /// The first block holds the lock, then the first free block.
    fn lock_word(&self) -> &AtomicU32 {
        // SAFETY: the mapping starts with this word, lives as long as `self`, and is accessed there only atomically.
        unsafe { &*self.heap.start().cast::<AtomicU32>() }
    }

    /// The word that links free blocks: of block 0 the head of the list.
    fn link(&self, block: u64) -> &AtomicU64 {
        assert!(block <= BLOCK_COUNT as u64);
        // SAFETY: the block lies in the mapping; its link is its second word, accessed only atomically while it is free.
        unsafe { &*self.heap.start().add(block as usize * BLOCK_SIZE + 8).cast::<AtomicU64>() }
    }

    fn lock(&self) {
        let mut tries = 0;
        while self.lock_word().compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            tries += 1;
            if tries > 1024 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    fn unlock(&self) {
        self.lock_word().store(0, Ordering::Release);
    }

    fn allocate(&self) -> u64 {
        loop {
            self.lock();
            let block = self.link(0).load(Ordering::Relaxed);
            if block != 0 {
                self.link(0).store(self.link(block).load(Ordering::Relaxed), Ordering::Relaxed);
            }
            self.unlock();
            if block != 0 {
                return block;
            }
            std::thread::sleep(FULL_PAUSE);
        }
    }

    fn free(&self, block: u64) {
        self.lock();
        self.link(block).store(self.link(0).load(Ordering::Relaxed), Ordering::Relaxed);
        self.link(0).store(block, Ordering::Relaxed);
        self.unlock();
    }

    /// The bytes of a block that is allocated, and so belongs to one process.
    fn bytes(&self, block: u64) -> *mut u8 {
        assert!((1..=BLOCK_COUNT as u64).contains(&block));
        // SAFETY: the block lies in the mapping.
        unsafe { self.heap.start().add(block as usize * BLOCK_SIZE + 16) }
    }
}

impl Way for SocketWay {
    fn produce(&self, _index: u32, count: u64, stamp: &dyn Fn() -> u64) {
        self.heap.prefault().expect("memory");
        let mut message = [7_u8; META_SIZE + BODY_SIZE];
        for _ in 0..count {
            message[META_SIZE..META_SIZE + 8].copy_from_slice(&stamp().to_ne_bytes());
            let block = self.allocate();
            // SAFETY: the block is ours until its handle is sent, and larger than a message.
            unsafe {
                std::ptr::write_bytes(self.bytes(block), 0, META_SIZE + BODY_SIZE);
                std::ptr::copy_nonoverlapping(message.as_ptr(), self.bytes(block), message.len());
            }
            self.sender.send(&block.to_ne_bytes()).expect("the other end is open");
        }
    }

    fn work(&self, _index: u32, _is_over: &dyn Fn() -> bool, script: &mut dyn FnMut(&[u8])) {
        self.heap.prefault().expect("memory");
        let mut handle = [0; 8];
        let mut message = [0_u8; META_SIZE + BODY_SIZE];
        loop {
            self.receiver.recv(&mut handle).expect("the other end is open");
            let block = u64::from_ne_bytes(handle);
            if block == 0 {
                return;
            }
            // SAFETY: the block is ours since its handle came, and larger than a message.
            unsafe { std::ptr::copy_nonoverlapping(self.bytes(block), message.as_mut_ptr(), message.len()) };
            self.free(block);
            std::hint::black_box(message[..META_SIZE].iter().fold(0, |sum, byte| sum ^ byte));
            script(&message[META_SIZE..]);
        }
    }

    fn end(&self, workers: u32) {
        for _ in 0..workers {
            self.sender.send(&[0; 8]).expect("the other end is open");
        }
    }
}

/// One cell for the stamp, and `raw_sync`'s event for the wake.
struct EventWay {
    memory: SharedMapping,
    event: Box<dyn EventImpl>,
}

impl EventWay {
    fn create() -> Self {
        let memory = SharedMapping::create(c"ring-bench-event", 4096).expect("memory");
        // SAFETY: the second kilobyte of the mapping is used for nothing else and is larger than the event.
        let (event, _) = unsafe { Event::new(memory.start().add(1024), true) }.expect("an event");
        Self { memory, event }
    }

    fn stamp(&self) -> &AtomicU64 {
        // SAFETY: the mapping starts with this word, lives as long as `self`, and is accessed there only atomically.
        unsafe { &*self.memory.start().cast::<AtomicU64>() }
    }
}

impl Way for EventWay {
    fn produce(&self, _index: u32, count: u64, stamp: &dyn Fn() -> u64) {
        for _ in 0..count {
            let now = stamp();
            while self.stamp().load(Ordering::Acquire) != 0 {
                std::thread::yield_now();
            }
            self.stamp().store(now, Ordering::Release);
            self.event.set(EventState::Signaled).expect("nobody died");
        }
    }

    fn work(&self, _index: u32, is_over: &dyn Fn() -> bool, script: &mut dyn FnMut(&[u8])) {
        while !is_over() {
            self.event.wait(Timeout::Infinite).expect("nobody died");
            let stamp = self.stamp().load(Ordering::Acquire);
            if stamp != 0 {
                script(&stamp.to_ne_bytes());
                self.stamp().store(0, Ordering::Release);
            }
        }
    }

    fn end(&self, _workers: u32) {
        self.event.set(EventState::Signaled).expect("nobody died");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn median_cost(costs: Vec<Cost>) -> Cost {
    let of = |part: fn(&Cost) -> f64| median(costs.iter().map(part).collect());
    Cost {
        producer_ns: of(|cost| cost.producer_ns),
        worker_ns: of(|cost| cost.worker_ns),
        sleeps: of(|cost| cost.sleeps),
        wall_ns: of(|cost| cost.wall_ns),
    }
}

const BODY_SIZE: usize = 700;
const META_SIZE: usize = 128;
const BLOCK_SIZE: usize = 1024;
const BLOCK_COUNT: usize = 4096;
/// Calls at the same time.
const KEYS: u64 = 1_000;
const FULL_PAUSE: Duration = Duration::from_micros(100);
