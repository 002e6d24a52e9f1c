//! A receiver and the worker it hands over to, in one process, without sockets. Included by benches with `#[path]`.

use std::cell::RefCell;
use std::rc::Rc;

use sworker::bindings::load;
use sworker::bindings::load::{LoadRequest, Loaded, Root};
use sworker::engine::perform::{Engine, EngineParts};
use sworker::modules::MODULES;
use sworker::process::roles::receiver::RingDelegate;
use sworker::routing::delegation::Delegate;
use sworker::routing::envelope::{Envelope, Incoming};
use sworker::routing::outbox::Outbox;
use sworker::routing::outgoing::{NotSent, Outgoing};
use sworker::routing::work::Work;
use sworker::shm::{Consumer, GroupPlan, QueuePlan, Queues};
use sworker::sip::branch::Secret;
use sworker::telemetry::counters::CountNothing;
use sworker::telemetry::log::Log;
use sworker::telemetry::process_identity::{ProcessIdentity, ProcessKind};
use sworker::transport::endpoint::Transport;

/// Hands every request over, and answers it.
pub const SCRIPT: &str = r#"#!KAMAILIO
listen=udp:127.0.0.1:5060
async_workers_group="name=calls;workers=1;queue=1024"
loadmodule "sl"
loadmodule "sworker"
event_route[core:pre-routing] {
    if (sworker_task("calls")) {
        drop;
    }
}
request_route {
    sl_send_reply("200", "OK");
}
"#;

/// What `sip_load` sends.
pub const OPTIONS: &[u8] = b"OPTIONS sip:bench@127.0.0.1:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:15999;branch=z9hG4bK-524287-1-0000000001;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Bench\" <sip:bench@127.0.0.1:15999>;tag=0000000001\r\n\
    To: <sip:bench@127.0.0.1:5060>\r\n\
    Call-ID: 0000000001@127.0.0.1\r\n\
    CSeq: 1 OPTIONS\r\n\
    Contact: <sip:bench@127.0.0.1:15999>\r\n\
    Accept: application/sdp\r\n\
    User-Agent: sip_load\r\n\
    Content-Length: 0\r\n\r\n";

/// Keeps the last thing that was sent.
#[derive(Clone, Default)]
pub struct Kept(Rc<RefCell<Vec<u8>>>);

impl Outbox for Kept {
    fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        let mut kept = self.0.borrow_mut();
        kept.clear();
        kept.extend_from_slice(outgoing.bytes);
        Ok(())
    }
}

/// Slots of the queue.
pub const QUEUE_SIZE: u32 = 1024;

/// The messages of a group on their way from one receiver to one worker.
pub fn queues() -> Queues {
    let plan = QueuePlan { producers: 1, groups: vec![GroupPlan::new("calls", 1, QUEUE_SIZE)] };
    Queues::create(&plan).expect("there is memory for a small queue")
}

/// A message as it came from the network.
pub fn datagram(bytes: &[u8]) -> Incoming<'_> {
    let envelope = Envelope {
        source: "127.0.0.1:15999".parse().expect("an address"),
        destination: "127.0.0.1:5060".parse().expect("an address"),
        listener: 0,
        transport: Transport::Udp,
        received_at_ns: 1_795_397_110_614_143_001,
    };
    Incoming { bytes, envelope }
}

/// A receiver and the worker it hands over to.
pub struct Pipeline {
    receiver: Engine,
    worker: Engine,
    consumer: Consumer,
    sent: Kept,
}

impl Pipeline {
    /// Both with this script, and checked: a message that goes in comes out answered.
    pub fn new(script: &str) -> Pipeline {
        let root = Root::Text { name: "pipeline.cfg".into(), text: script.into() };
        let loaded = load::load(LoadRequest::new(root, MODULES));
        let loaded = Rc::new(loaded.unwrap_or_else(|rejected| panic!("{}", rejected.errors.join("\n"))));
        let queues = queues();
        let sent = Kept::default();
        let delegate = RingDelegate::new(queues.producer(0), queues.group_count());
        let mut pipeline = Pipeline {
            receiver: engine(&loaded, ProcessKind::Receiver, &sent, Some(Box::new(delegate))),
            worker: engine(&loaded, ProcessKind::Worker { group: 0 }, &sent, None),
            consumer: queues.consumer(0, 0),
            sent,
        };
        pipeline.check(Pipeline::run);
        pipeline
    }

    /// One message, answered by the worker if it was handed over.
    pub fn run(&mut self, datagram: &Incoming<'_>) {
        self.receiver.receive(datagram);
        self.receiver.after_batch();
        if let Some(delivery) = self.consumer.next() {
            let work = Work::decode(delivery.meta(), delivery.body(), delivery.xdata());
            self.worker.perform(&work.expect("what we wrote can be read"), delivery.earlier_attempts());
            delivery.finish();
        }
    }

    /// One message that the worker has in hand already.
    pub fn reply(&mut self, datagram: &Incoming<'_>) {
        self.worker.perform(&Work::Message { incoming: *datagram, xdata: b"" }, 0);
    }

    /// Lets one message take this way and checks that it was answered.
    pub fn check(&mut self, way: fn(&mut Pipeline, &Incoming<'_>)) {
        self.sent.0.borrow_mut().clear();
        way(self, &datagram(OPTIONS));
        let sent = self.sent.0.borrow();
        assert!(sent.starts_with(b"SIP/2.0 200 OK\r\n"), "{}", String::from_utf8_lossy(&sent));
    }
}

fn engine(
    loaded: &Rc<Loaded>,
    kind: ProcessKind,
    sent: &Kept,
    delegate: Option<Box<dyn Delegate>>,
) -> Engine {
    Engine::new(EngineParts {
        shared: loaded.registry.shared_state(2).expect("memory"),
        loaded: Rc::clone(loaded),
        outbox: Box::new(sent.clone()),
        delegate,
        counters: Box::new(CountNothing),
        log: Rc::new(Log::to_nowhere()),
        process: ProcessIdentity { index: 1, pid: std::process::id(), kind },
        secret: Secret::new([7; 16]),
    })
}
