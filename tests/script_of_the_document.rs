//! The script of the module's manual, made whole, from the bytes a receiver reads to the bytes a worker sends.
//!
//! ```text
//!  bytes ─► receiver: pre-routing ─► (recorded queue) ─► worker: request_route ─► bytes
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use sworker::bindings::load::{LoadRequest, Loaded, Root, load};
use sworker::engine::perform::{Engine, EngineParts};
use sworker::modules::MODULES;
use sworker::routing::delegation::{Delegate, Delegation, GroupIndex};
use sworker::routing::envelope::{Envelope, Incoming};
use sworker::routing::outbox::Outbox;
use sworker::routing::outgoing::{NotSent, Outgoing};
use sworker::routing::work::Work;
use sworker::shm::Placement;
use sworker::sip::branch::Secret;
use sworker::telemetry::counters::{Count, CounterId};
use sworker::telemetry::log::{Level, Log, Sink};
use sworker::telemetry::process_identity::{ProcessIdentity, ProcessKind};
use sworker::transport::endpoint::Transport;

const SCRIPT: &str = r#"#!KAMAILIO
listen=udp:127.0.0.1:5060
async_workers_group="name=default;workers=4"
async_workers_group="name=registrations;workers=2"
loadmodule "sworker.so"
loadmodule "sl.so"
loadmodule "xlog.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "maxfwd.so"
modparam("sworker", "xdata", "$var(xdata)")

event_route[core:pre-routing] {
    if (is_method("ACK")) { exit; }
    $var(xdata) = "from-" + $si;
    if (is_method("REGISTER")) {
        if (sworker_task("registrations")) { drop; }
    }
    if(sworker_task("default")) {
        xinfo("===== delegate processing [$Tf] [$si:$sp]\n");
        drop;
    }
    xinfo("===== processing continues [$Tf] [$si:$sp]\n");
}

request_route {
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    if(sworker_active()) {
        xinfo("===== worker has $var(xdata)\n");
        append_to_reply("X-Worker: $var(xdata)\r\n");
        sl_send_reply("200", "OK");
        exit;
    }
    if (is_request() && !has_totag()) {
        sl_send_reply("503", "Busy $rU");
    }
}
"#;

/// Group, message and extra value.
type Delegated = (u16, Vec<u8>, Vec<u8>);

#[derive(Default)]
struct World {
    sent: RefCell<Vec<(SocketAddr, String)>>,
    queue: RefCell<Vec<Delegated>>,
    is_full: Cell<bool>,
    counts: RefCell<HashMap<u32, u64>>,
    log: Rc<RefCell<Vec<u8>>>,
}

struct Part(Rc<World>);

impl Outbox for Part {
    fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        let (to, bytes) = (outgoing.flow.to(), outgoing.bytes);
        self.0.sent.borrow_mut().push((to, String::from_utf8_lossy(bytes).into_owned()));
        Ok(())
    }
}

impl Delegate for Part {
    fn count_refused(&mut self, _: GroupIndex) {}

    fn delegate(
        &mut self,
        group: GroupIndex,
        _: Placement,
        datagram: &Incoming<'_>,
        xdata: &[u8],
    ) -> Delegation {
        if self.0.is_full.get() {
            return Delegation::Full;
        }
        self.0.queue.borrow_mut().push((group.0, datagram.bytes.to_vec(), xdata.to_vec()));
        Delegation::Delegated
    }

    fn wake(&mut self) {}
}

impl Count for Part {
    fn add(&self, counter: CounterId, amount: u64) {
        *self.0.counts.borrow_mut().entry(counter.0).or_default() += amount;
    }

    fn sum(&self, counter: CounterId) -> u64 {
        self.0.counts.borrow().get(&counter.0).copied().unwrap_or(0)
    }
}

/// A process that runs the script; everything it does goes into the world.
struct Process {
    engine: Engine,
    loaded: Rc<Loaded>,
    world: Rc<World>,
}

impl Process {
    fn new(kind: ProcessKind) -> Process {
        let root = Root::Text { name: "document.cfg".to_string(), text: SCRIPT.as_bytes().to_vec() };
        let loaded = load(LoadRequest::new(root, MODULES));
        let loaded = Rc::new(loaded.unwrap_or_else(|rejected| panic!("{}", rejected.errors.concat())));
        let world: Rc<World> = Rc::default();
        let part = || Box::new(Part(Rc::clone(&world)));
        let engine = Engine::new(EngineParts {
            shared: loaded.registry.shared_state(2).expect("memory"),
            loaded: Rc::clone(&loaded),
            outbox: part(),
            delegate: (kind == ProcessKind::Receiver).then(|| part() as Box<dyn Delegate>),
            counters: part(),
            log: Rc::new(Log::new(Sink::Memory(Rc::clone(&world.log)), Level::Info)),
            process: ProcessIdentity { index: 1, pid: 4711, kind },
            secret: Secret::new(*b"0123456789abcdef"),
        });
        Process { engine, loaded, world }
    }

    fn receive(&mut self, text: &str) {
        self.engine.receive(&datagram(text.as_bytes()));
        self.engine.after_batch();
    }

    fn process(&mut self, text: &str, xdata: &[u8]) {
        self.engine.perform(&Work::Message { incoming: datagram(text.as_bytes()), xdata }, 0);
    }

    fn sent(&self) -> Vec<(SocketAddr, String)> {
        self.world.sent.take()
    }

    fn log(&self) -> String {
        String::from_utf8(self.world.log.take()).unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        let counter = self.loaded.registry.counter(name).unwrap();
        self.world.counts.borrow().get(&counter.0).copied().unwrap_or(0)
    }
}

fn datagram(bytes: &[u8]) -> Incoming<'_> {
    let envelope = Envelope {
        source: "127.0.0.1:7070".parse().unwrap(),
        destination: "127.0.0.1:5060".parse().unwrap(),
        listener: 0,
        transport: Transport::Udp,
        received_at_ns: 1_795_397_110_614_143_001,
    };
    Incoming { bytes, envelope }
}

fn request(method: &str, hops: u32) -> String {
    format!(
        "{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:7070;branch=z9hG4bKa;rport\r\n\
         Max-Forwards: {hops}\r\nFrom: <sip:alice@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\n\
         CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_delegated_message_is_answered_by_the_worker_with_the_extra_value() {
    let mut receiver = Process::new(ProcessKind::Receiver);
    receiver.receive(&request("OPTIONS", 70));

    // The receiver has done nothing but hand over.
    assert!(receiver.sent().is_empty());
    let log = receiver.log();
    assert!(log.contains("<script>: ===== delegate processing [Mon Nov 23"), "{log}");
    assert!(log.contains("[127.0.0.1:7070]\n"), "{log}");
    assert_eq!(receiver.count("sworker.delegated"), 1);
    let queue = receiver.world.queue.take();
    let [(group, bytes, xdata)] = queue.as_slice() else { panic!("{queue:?}") };
    assert_eq!(bytes, request("OPTIONS", 70).as_bytes(), "exactly what came from the network");
    assert_eq!(receiver.loaded.settings().groups[usize::from(*group)].name, "default");

    let mut worker = Process::new(ProcessKind::Worker { group: *group });
    worker.process(&request("OPTIONS", 70), xdata);
    let sent = worker.sent();
    let [(to, text)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(to.to_string(), "127.0.0.1:7070");
    assert!(text.starts_with("SIP/2.0 200 OK\r\n"), "{text}");
    assert!(text.contains("\r\nX-Worker: from-127.0.0.1\r\n"), "{text}");
    assert!(text.contains(";rport=7070;received=127.0.0.1\r\n"), "{text}");
    let log = worker.log();
    assert!(log.contains("===== worker has from-127.0.0.1"), "{log}");
}

#[test]
fn the_group_is_chosen_by_the_script() {
    let mut receiver = Process::new(ProcessKind::Receiver);
    receiver.receive(&request("REGISTER", 70));
    let queue = receiver.world.queue.take();
    assert_eq!(receiver.loaded.settings().groups[usize::from(queue[0].0)].name, "registrations");
}

#[test]
fn a_full_group_leaves_the_message_to_the_receiver() {
    let mut receiver = Process::new(ProcessKind::Receiver);
    receiver.world.is_full.set(true);
    receiver.receive(&request("INVITE", 70));
    let sent = receiver.sent();
    let [(_, text)] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(text.starts_with("SIP/2.0 503 Busy bob\r\n"), "{text}");
    assert_eq!(receiver.count("sworker.full"), 1);
    let log = receiver.log();
    assert!(log.contains("the queue is full") && log.contains("===== processing continues"), "{log}");

    // The ACK to that answer of ours ends here.
    let tag = text.split("To: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let ack = request("ACK", 70).replace("<sip:bob@c.com>", tag);
    receiver.receive(&ack);
    assert!(receiver.sent().is_empty() && receiver.world.queue.take().is_empty());
}

#[test]
fn a_message_without_hops_is_answered_so() {
    let mut worker = Process::new(ProcessKind::Worker { group: 0 });
    worker.process(&request("OPTIONS", 0), b"");
    let sent = worker.sent();
    assert!(sent[0].1.starts_with("SIP/2.0 483 Too Many Hops\r\n"), "{}", sent[0].1);
}
