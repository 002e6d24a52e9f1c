//! How many instructions a message costs, step by step. Counted by callgrind, so that a busy machine does not matter.
//!
//! ```text
//!  parse      bytes ─► index, Via, From, To, Call-ID, CSeq            an INVITE of 800 bytes
//!  script     the routes of a stock configuration                     without SIP
//!  hand_off   encode ─► push, wake ─► claim, copy ─► decode ─► finish an INVITE of 800 bytes, one process
//!  reply      bytes ─► parse ─► request_route ─► 200 OK               a worker's engine
//!  message    bytes ─► pre-routing ─► ring ─► request_route ─► 200 OK all of it
//! ```
//!
//! `scripts/instructions` runs this and compares with `benches/instructions.baseline`. Each bench handles [`MESSAGES`]
//! messages with buffers that have grown; setting up is not counted.

#![allow(missing_docs, reason = "gungraun makes public modules of the benches")]

#[path = "tools/invite.rs"]
mod invite;

#[path = "tools/stock.rs"]
mod stock;

#[path = "tools/pipeline.rs"]
mod pipeline;

use std::hint::black_box;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use invite::{INVITE, route_set};
use pipeline::{OPTIONS, Pipeline, QUEUE_SIZE, SCRIPT, datagram, queues};
use stock::{STOCK, WarmProgram};
use sworker::process::roles::receiver::RingDelegate;
use sworker::routing::delegation::{Delegate, Delegation, GroupIndex};
use sworker::routing::envelope::Incoming;
use sworker::routing::work::Work;
use sworker::shm::{Consumer, Placement};

/// Messages in one bench. Many, so that what is not part of a message does not count.
const MESSAGES: usize = 100;

/// Both ends of a queue.
struct HandOff {
    delegate: RingDelegate,
    consumer: Consumer,
}

impl HandOff {
    /// With every slot used once: the first round through the ring is not like the others.
    fn new() -> HandOff {
        let queues = queues();
        let delegate = RingDelegate::new(queues.producer(0), queues.group_count());
        let mut hand_off = HandOff { delegate, consumer: queues.consumer(0, 0) };
        let invite = datagram(INVITE);
        for _ in 0..2 * QUEUE_SIZE {
            assert_eq!(hand_off.run(&invite), INVITE.len());
        }
        hand_off
    }

    /// One message through the queue; gives its size at the other end.
    fn run(&mut self, datagram: &Incoming<'_>) -> usize {
        let delegation = self.delegate.delegate(GroupIndex(0), Placement::Usual, datagram, b"");
        assert_eq!(delegation, Delegation::Delegated);
        self.delegate.wake();
        let delivery = self.consumer.next().expect("the message that was handed over");
        let work = Work::decode(delivery.meta(), delivery.body(), delivery.xdata());
        // As the engine takes it: by reference.
        let size = black_box(&work).as_ref().expect("what we wrote can be read").incoming().bytes.len();
        delivery.finish();
        size
    }
}

/// A pipeline whose buffers have grown.
fn warm_pipeline() -> Pipeline {
    let mut pipeline = Pipeline::new(SCRIPT);
    pipeline.check(Pipeline::reply);
    for _ in 0..MESSAGES {
        pipeline.run(&datagram(OPTIONS));
    }
    pipeline
}

#[library_benchmark]
fn parse() -> usize {
    (0..MESSAGES).map(|_| route_set(black_box(INVITE))).sum()
}

// What was set up is given back, so that dropping it does not count.

#[library_benchmark(setup = WarmProgram::new)]
#[bench::stock(STOCK)]
fn script(mut program: WarmProgram) -> WarmProgram {
    for _ in 0..MESSAGES {
        black_box(program.message());
    }
    program
}

#[library_benchmark(setup = HandOff::new)]
#[bench::invite()]
fn hand_off(mut hand_off: HandOff) -> HandOff {
    let invite = datagram(INVITE);
    for _ in 0..MESSAGES {
        black_box(hand_off.run(black_box(&invite)));
    }
    hand_off
}

#[library_benchmark(setup = warm_pipeline)]
#[bench::options()]
fn reply(mut pipeline: Pipeline) -> Pipeline {
    let options = datagram(OPTIONS);
    for _ in 0..MESSAGES {
        pipeline.reply(black_box(&options));
    }
    pipeline
}

#[library_benchmark(setup = warm_pipeline)]
#[bench::options()]
fn message(mut pipeline: Pipeline) -> Pipeline {
    let options = datagram(OPTIONS);
    for _ in 0..MESSAGES {
        pipeline.run(black_box(&options));
    }
    pipeline
}

library_benchmark_group!(name = steps, benchmarks = [parse, script, hand_off, reply, message]);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = steps
);
