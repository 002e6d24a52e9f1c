//! What one message costs in the engine, without sockets: a receiver that delegates, a worker that answers.
//!
//! ```text
//! cargo bench --bench engine
//! ```

use std::rc::Rc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sworker::bindings::load::{LoadRequest, Root, load};
use sworker::bindings::module::{Argument, Module, ModuleEntry, ModuleFunction, Outcome, ParameterKind};
use sworker::engine::perform::{Engine, EngineParts};
use sworker::routing::context::Context;
use sworker::routing::delegation::{Delegate, Delegation, GroupIndex, Xdata};
use sworker::routing::envelope::{Envelope, Incoming};
use sworker::routing::outbox::Outbox;
use sworker::routing::outgoing::{NotSent, Outgoing};
use sworker::routing::work::Work;
use sworker::sip::branch::Secret;
use sworker::telemetry::counters::CountNothing;
use sworker::telemetry::log::Log;
use sworker::telemetry::process_identity::{ProcessIdentity, ProcessKind};
use sworker::transport::endpoint::Transport;

/// The two functions that the script needs, without what real modules do around them.
struct Bare;

impl Module for Bare {
    const NAME: &'static str = "bare";
    const DOCUMENTATION: &'static str = "answers and delegates";
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new("answer", "replies 200", &[], Bare::answer),
        ModuleFunction::new("delegate", "hands over", &[ParameterKind::Prepared], Bare::delegate)
            .prepare(|_, preparation, _, literal| preparation.group(literal).map(Some)),
    ];

    fn new() -> Self {
        Bare
    }
}

impl Bare {
    fn answer(&self, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
        Outcome::from(context.reply(200, b"OK", b"").is_ok())
    }

    fn delegate(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Argument::Prepared(group, _) = arguments[0] else { return Outcome::FALSE };
        Outcome::from(context.delegate(GroupIndex(group as u16), Xdata::Absent) == Delegation::Delegated)
    }
}

static MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Bare>()];

/// Takes everything and keeps nothing.
struct Nowhere;

impl Outbox for Nowhere {
    fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        std::hint::black_box(outgoing.bytes);
        Ok(())
    }
}

impl Delegate for Nowhere {
    fn delegate(
        &mut self,
        _: GroupIndex,
        _: sworker::shm::Placement,
        datagram: &Incoming<'_>,
        _: &[u8],
    ) -> Delegation {
        std::hint::black_box(datagram.bytes);
        Delegation::Delegated
    }

    fn count_refused(&mut self, _: GroupIndex) {}

    fn wake(&mut self) {}
}

const SCRIPT: &str = "listen=udp:127.0.0.1:5060\nasync_workers_group=\"name=calls;workers=1\"\nloadmodule \"bare.so\"\n\
    event_route[core:pre-routing] { if ($si != \"10.0.0.1\" && delegate(\"calls\")) drop; }\n\
    request_route { if (src_ip == 10.0.0.0/8) exit; setflag(1); answer(); }\n";

const OPTIONS: &[u8] = b"OPTIONS sip:nobody@127.0.0.1:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:40000;branch=z9hG4bK.5a9f2c1e;rport;alias\r\n\
    From: sip:sipsak@127.0.0.1:40000;tag=7c3b2a19\r\nTo: sip:nobody@127.0.0.1:5060\r\n\
    Call-ID: 2084252185@127.0.0.1\r\nCSeq: 1 OPTIONS\r\nContact: sip:sipsak@127.0.0.1:40000\r\n\
    Content-Length: 0\r\nMax-Forwards: 70\r\nUser-Agent: sipsak 0.9.8.1\r\nAccept: text/plain\r\n\r\n";

fn engine(kind: ProcessKind) -> Engine {
    let root = Root::Text { name: "bench.cfg".to_string(), text: SCRIPT.as_bytes().to_vec() };
    let loaded =
        load(LoadRequest::new(root, MODULES)).unwrap_or_else(|rejected| panic!("{:?}", rejected.errors));
    Engine::new(EngineParts {
        shared: loaded.registry.shared_state(2).expect("memory"),
        loaded: Rc::new(loaded),
        outbox: Box::new(Nowhere),
        delegate: (kind == ProcessKind::Receiver).then(|| Box::new(Nowhere) as Box<dyn Delegate>),
        counters: Box::new(CountNothing),
        log: Rc::new(Log::to_nowhere()),
        process: ProcessIdentity { index: 1, pid: 1, kind },
        secret: Secret::new([7; 16]),
    })
}

fn message_costs(criterion: &mut Criterion) {
    let address = "127.0.0.1:40000".parse().expect("an address");
    let envelope = Envelope {
        source: address,
        destination: address,
        listener: 0,
        transport: Transport::Udp,
        received_at_ns: 1,
    };
    let datagram = Incoming { bytes: OPTIONS, envelope };
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    let mut receiver = engine(ProcessKind::Receiver);
    group.bench_function("receive and delegate", |bencher| bencher.iter(|| receiver.receive(&datagram)));
    let mut worker = engine(ProcessKind::Worker { group: 0 });
    let work = Work::Message { incoming: datagram, xdata: b"" };
    group.bench_function("process and answer", |bencher| bencher.iter(|| worker.perform(&work, 0)));
    group.finish();
}

criterion_group!(benches, message_costs);
criterion_main!(benches);
