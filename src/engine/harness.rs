//! The engine, run on scripts of tests: a script and messages go in; what was sent, delegated, counted and logged
//! comes out. No process, no socket, no clock.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::perform::{Engine, EngineParts};
use crate::bindings::load::{LoadRequest, Loaded, Root, load};
use crate::bindings::module::{Module, ModuleEntry};
use crate::config::settings::listen::Resolver;
use crate::routing::context::{Context, Phase};
use crate::routing::delegation::{Delegate, Delegation, GroupIndex, Suspended};
use crate::routing::envelope::{Envelope, Incoming};
use crate::routing::outbox::Outbox;
use crate::routing::outgoing::{NotSent, Outgoing};
use crate::routing::work::Work;
use crate::script::catalog::{Catalog, KeyShape};
use crate::script::host::{Place, Position, Reading};
use crate::shm::Placement;
use crate::sip::Message;
use crate::sip::branch::Secret;
use crate::sip::message::Limits;
use crate::telemetry::counters::{Count, CounterId};
use crate::telemetry::log::{Level, Log, Sink};
use crate::telemetry::process_identity::{ProcessIdentity, ProcessKind};
use crate::transport::endpoint::{Flow, Transport};

/// A message that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Index of the listener it left by.
    pub listener: u16,
    /// Where to.
    pub to: SocketAddr,
    /// The bytes, as text.
    pub text: String,
}

/// A message that was delegated: index of the group, the message, and the extra value as it travels.
pub type Delegated = (u16, Vec<u8>, Vec<u8>);

/// A request that was handed on to a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOn {
    /// Index of the group.
    pub group: u16,
    /// How long it is to wait.
    pub delay: Duration,
    /// The message.
    pub message: Vec<u8>,
    /// How it goes on, as it travels.
    pub continuation: Vec<u8>,
    /// The extra value, as it travels.
    pub xdata: Vec<u8>,
}

/// A script, the engine that runs it, and everything it did.
pub struct ScriptHarness {
    /// What the answer to the next delegation is.
    pub answer: Rc<Cell<Delegation>>,
    /// Where the next message comes from.
    pub source: SocketAddr,
    engine: Engine,
    pub(super) recorded: Recorder,
    pub(super) log: Rc<RefCell<Vec<u8>>>,
}

/// Where messages come from.
pub const SOURCE: &str = "127.0.0.1:17070";
/// Where they arrive; the first listener of every script that names none.
pub const LISTENER: &str = "127.0.0.1:17060";
/// When they arrive.
pub const RECEIVED_NS: u64 = 1_795_397_110_614_143_001;
/// Process id of the harness.
pub const PID: u32 = 4711;

/// A request with little in it.
pub const OPTIONS: &str = "OPTIONS sip:127.0.0.1:17060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
    From: <sip:b>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

/// A request with a lot in it.
pub const INVITE: &str = "INVITE sip:bob:pw@127.0.0.1:17060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKb;rport\r\nMax-Forwards: 70\r\n\
    Record-Route: <sip:1.2.3.4;lr>\r\nRoute: <sip:127.0.0.1:17060;lr>\r\n\
    Route: <sip:127.0.0.1:17071;lr>\r\nFrom: \"Alice A\" <sip:alice@dom.com;p=1>;tag=1\r\n\
    To: \"Bob\" <sip:bob@dom.com>;tag=2\r\nContact: <sip:alice@127.0.0.1:17070>;expires=60\r\n\
    Expires: 120\r\nCall-ID: c2\r\nCSeq: 7 INVITE\r\nUser-Agent: ua/1\r\nSubject: s\r\n\
    X-Foo: one\r\nX-Foo: two\r\nDiversion: <sip:div@x.com>;reason=no-answer\r\n\
    P-Asserted-Identity: <sip:pai@x.com>\r\nRemote-Party-ID: <sip:rpid@x.com>\r\n\
    P-Preferred-Identity: <sip:ppi@x.com>\r\nRefer-To: <sip:rt@x.com>\r\n\
    Proxy-Authorization: Digest username=\"alice\", realm=\"r.com\", nonce=\"n\", uri=\"sip:u\", \
    response=\"x\", algorithm=MD5\r\nContent-Type: application/sdp\r\nContent-Length: 4\r\n\r\nabcd";

/// A reply that came back to that request.
pub const PROGRESS: &str = "SIP/2.0 183 Progress X\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:17060;branch=z9hG4bK59f6.44afc1e448a35b4c9420170d05af016e.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:17070;received=127.0.0.1;branch=z9hG4bKb;rport=17070\r\n\
    From: <sip:alice@dom.com>;tag=1\r\nTo: <sip:bob@dom.com>;tag=2\r\nCall-ID: c2\r\n\
    CSeq: 7 INVITE\r\nContact: <sip:u@127.0.0.1:17071>\r\nServer: sv/2\r\nContent-Length: 0\r\n\r\n";

impl ScriptHarness {
    /// What `text` becomes after some statements on a message; `head` stands before the route.
    pub fn told(
        modules: &'static [ModuleEntry],
        head: &str,
        statements: &str,
        text: &str,
        message: &str,
    ) -> String {
        let is_reply = message.starts_with("SIP/");
        let route = if is_reply { "reply_route" } else { "request_route" };
        let other = if is_reply { "request_route { exit; }" } else { "" };
        let script = format!("{head}\n{route} {{ {statements} log(2, \"@@{text}@@\"); }}\n{other}");
        let mut stage = ScriptHarness::new(modules, &script);
        stage.receive(message);
        let log = stage.log();
        let text = log.split("@@").nth(1).unwrap_or_else(|| panic!("{statements}: {log}"));
        // The log writes carriage returns visibly.
        text.replace("\\x0d\\x0a", "\n").replace("\\x0d", "")
    }

    /// The request as it is relayed after a call, without our Via; and the return code of the call.
    pub fn relayed(
        modules: &'static [ModuleEntry],
        head: &str,
        call: &str,
        message: &str,
    ) -> (String, String) {
        let script =
            format!("{head}\nrequest_route {{ $var(rc) = {call}; log(2, \"@@$var(rc)@@\"); forward(); }}");
        let mut stage = ScriptHarness::new(modules, &script);
        stage.receive(message);
        let text = stage.sent_one().text;
        let log = stage.log();
        let code = log.split("@@").nth(1).unwrap_or_else(|| panic!("{call}: {log}")).to_string();
        let ours = text.find(&format!("Via: SIP/2.0/UDP {LISTENER}")).expect("our Via");
        let end = ours + text[ours..].find("\r\n").expect("its end") + 2;
        (format!("{}{}", &text[..ours], &text[end..]), code)
    }

    /// A receiver that runs the script. A script that names no socket listens on [`LISTENER`].
    pub fn new(modules: &'static [ModuleEntry], script: &str) -> ScriptHarness {
        ScriptHarness::of_kind(modules, script, ProcessKind::Receiver)
    }

    /// A worker that runs the script.
    pub fn worker(modules: &'static [ModuleEntry], script: &str) -> ScriptHarness {
        ScriptHarness::of_kind(modules, script, ProcessKind::Worker { group: 0 })
    }

    pub(super) fn of_kind(modules: &'static [ModuleEntry], script: &str, kind: ProcessKind) -> ScriptHarness {
        let loaded = match load(request(modules, script)) {
            Ok(loaded) => loaded,
            Err(rejected) => panic!("{}", rejected.errors.concat()),
        };
        let answer = Rc::new(Cell::new(Delegation::Delegated));
        let recorded = Recorder { answer: Rc::clone(&answer), done: Rc::default() };
        let recorder = || Box::new(recorded.clone());
        let log = Rc::default();
        let engine = Engine::new(EngineParts {
            shared: loaded.registry.shared_state(2).expect("memory"),
            loaded: Rc::new(loaded),
            outbox: recorder(),
            delegate: (kind == ProcessKind::Receiver).then(|| recorder() as Box<dyn Delegate>),
            counters: recorder(),
            log: Rc::new(Log::new(Sink::Memory(Rc::clone(&log)), Level::Debug)),
            process: ProcessIdentity { index: 1, pid: PID, kind },
            secret: Secret::new([7; 16]),
        });
        ScriptHarness { answer, source: address(SOURCE), engine, recorded, log }
    }

    /// The script.
    pub fn loaded(&self) -> &Loaded {
        &self.engine.loaded
    }

    /// Every mistake in a script that must not load.
    pub fn mistakes(modules: &'static [ModuleEntry], script: &str) -> String {
        match load(request(modules, script)) {
            Ok(_) => panic!("the script was accepted:\n{script}"),
            Err(rejected) => rejected.errors.concat(),
        }
    }

    /// Gives a message from [`SOURCE`] to the engine, as a receiver or a worker does.
    pub fn receive(&mut self, message: &str) {
        match self.engine.identity().kind {
            ProcessKind::Receiver => {
                self.engine.receive(&Incoming { bytes: message.as_bytes(), envelope: self.envelope() })
            }
            _ => self.process(message, b"", 0),
        }
        self.engine.after_batch();
    }

    /// Gives it a message that was delegated.
    pub fn process(&mut self, message: &str, xdata: &[u8], earlier_attempts: u32) {
        let incoming = Incoming { bytes: message.as_bytes(), envelope: self.envelope() };
        self.engine.perform(&Work::Message { incoming, xdata }, earlier_attempts);
    }

    fn envelope(&self) -> Envelope {
        Envelope {
            source: self.source,
            destination: self.loaded().settings().listeners[0].address,
            listener: 0,
            transport: Transport::Udp,
            received_at_ns: RECEIVED_NS,
        }
    }

    /// Reads a variable as it stands before any route: `None` for null. Integers are shown as `123`.
    pub fn read(&mut self, written: &str, message: &str) -> Option<String> {
        let incoming = Incoming { bytes: message.as_bytes(), envelope: self.envelope() };
        let grammar = &self.loaded().settings().grammar;
        let parsed = Message::parse_within(incoming.bytes, &Limits::DEFAULT, grammar).expect("a message");
        let (name, key, position) = split(written);
        let Engine { loaded, state, .. } = &mut self.engine;
        state.message_number += 1;
        let registry = &mut Rc::get_mut(loaded).expect("only the engine holds it").registry;
        let shape = match key {
            Some(key) => KeyShape::Literal(key.as_bytes()),
            None => KeyShape::None,
        };
        let variable = Catalog::variable(registry, name, shape)
            .unwrap_or_else(|mistake| panic!("${written}: {}", mistake.message));
        let context = Context::new(incoming, parsed, Phase::Routing, registry, state);
        let mut out = Vec::new();
        let reading = context.read(Place { variable, key: b"", position }, &mut out);
        match reading {
            Reading::Null => None,
            Reading::Integer(number) => Some(number.to_string()),
            Reading::Text => Some(String::from_utf8(out).expect("the value is text")),
        }
    }

    /// What was sent since the last time.
    pub fn sent(&mut self) -> Vec<Sent> {
        self.recorded.done.sent.take()
    }

    /// The one message that was sent since the last time.
    pub fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}\n{}", self.log());
        sent.remove(0)
    }

    /// What was delegated since the last time.
    pub fn delegated(&mut self) -> Vec<Delegated> {
        self.recorded.done.delegated.take()
    }

    /// What was handed on since the last time.
    pub fn suspended(&mut self) -> Vec<HandedOn> {
        self.recorded.done.suspended.take()
    }

    /// Goes on with a request that was suspended.
    pub fn go_on(&mut self, suspended: &HandedOn) {
        let incoming = Incoming { bytes: &suspended.message, envelope: self.envelope() };
        let work = Work::of_message(incoming, &suspended.continuation, &suspended.xdata);
        self.engine.perform(&work, 0);
    }

    /// Goes on with a message whose state travelled as these bytes.
    pub(super) fn resume(&mut self, message: &str, continuation: &[u8]) {
        let incoming = Incoming { bytes: message.as_bytes(), envelope: self.envelope() };
        self.engine.perform(&Work::Resumed { incoming, continuation, xdata: b"" }, 0);
    }

    /// What was logged since the last time.
    pub fn log(&mut self) -> String {
        String::from_utf8(self.log.take()).expect("the log is text")
    }

    /// How often something was counted.
    pub fn count(&self, name: &str) -> u64 {
        let counter = self.loaded().registry.counter(name).expect("there is such a counter");
        self.recorded.sum(counter)
    }
}

/// Checks the tables of a module: every row is documented in one line, and no name has two rows with as many arguments.
#[track_caller]
pub fn check_tables<M: Module>() {
    let mut names = Vec::new();
    let mut check_documentation = |kind: &str, name: &str, documentation: &str| {
        let is_one_line =
            !documentation.is_empty() && !documentation.ends_with('.') && !documentation.contains('\n');
        assert!(is_one_line, "{kind} {name}: \"{documentation}\"");
        names.push(format!("{kind} {name}"));
    };
    check_documentation("module", M::NAME, M::DOCUMENTATION);
    for row in M::FUNCTIONS.iter().map(|entry| entry.row) {
        for name in row.names() {
            let count = row.parameters.len();
            check_documentation("function", &format!("{name} with {count}"), row.documentation);
        }
    }
    M::PARAMETERS.iter().for_each(|row| check_documentation("parameter", row.name, row.documentation));
    for row in M::VARIABLES.iter().map(|entry| entry.row) {
        check_documentation("variable", row.name, row.documentation);
    }
    M::EVENTS.iter().for_each(|row| check_documentation("event", row.name, row.documentation));
    for row in M::COMMANDS.iter().map(|entry| entry.row) {
        row.names().for_each(|name| check_documentation("command", name, row.documentation));
        assert!(row.names().all(|name| name.starts_with(&format!("{}.", M::NAME))), "{}", row.name);
    }
    for row in M::COUNTERS {
        check_documentation("counter", &row.name, &row.documentation);
        assert!(row.name.starts_with(&format!("{}.", M::NAME)), "{}", row.name);
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands twice in the tables of {}", M::NAME);
}

/// Checks what a variable reads as on the OPTIONS (0), the INVITE (1) or the reply (2): `[text]` or `NULL`.
#[track_caller]
pub fn check_reading(written: &str, column: usize, expected: &str) {
    let mut stage = ScriptHarness::new(&[], "request_route { exit; }");
    let messages = [OPTIONS, INVITE, PROGRESS];
    // The number of the message counts those before it.
    for message in &messages[..column] {
        stage.read("rm", message);
    }
    if column == 2 {
        stage.source = "127.0.0.1:17071".parse().unwrap();
    }
    let value = stage.read(written, messages[column]);
    let shown = value.map_or("NULL".to_string(), |value| format!("[{value}]"));
    assert_eq!(shown, expected, "${written} on the {}", ["OPTIONS", "INVITE", "183"][column]);
}

fn request(modules: &'static [ModuleEntry], script: &str) -> LoadRequest {
    let listen = if script.contains("listen=") { String::new() } else { format!("listen=udp:{LISTENER}\n") };
    let text = format!("{listen}{script}\n").into_bytes();
    let root = Root::Text { name: "stage.cfg".to_string(), text };
    LoadRequest { resolver: Box::new(NoNames), ..LoadRequest::new(root, modules) }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// `name`, `name(key)`, `name(key)[index]`.
fn split(written: &str) -> (&str, Option<&str>, Position) {
    let (rest, position) = match written.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((rest, "*")) => (rest, Position::All),
        Some((rest, index)) => (rest, Position::At(index.parse().expect("an index"))),
        None => (written, Position::Unset),
    };
    match rest.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        Some((name, key)) => (name, Some(key), position),
        None => (rest, None, position),
    }
}

/// Everything that left the process.
#[derive(Default)]
pub(super) struct Done {
    pub(super) sent: RefCell<Vec<Sent>>,
    pub(super) delegated: RefCell<Vec<Delegated>>,
    pub(super) woken: Cell<u32>,
    suspended: RefCell<Vec<HandedOn>>,
    counts: RefCell<HashMap<CounterId, u64>>,
}

/// Every way out of the engine.
#[derive(Clone)]
pub(super) struct Recorder {
    answer: Rc<Cell<Delegation>>,
    pub(super) done: Rc<Done>,
}

impl Outbox for Recorder {
    fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        let Outgoing { flow: Flow::Datagram { listener, to }, bytes } = *outgoing;
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.done.sent.borrow_mut().push(Sent { listener, to, text });
        Ok(())
    }
}

impl Delegate for Recorder {
    fn delegate(
        &mut self,
        group: GroupIndex,
        _: Placement,
        incoming: &Incoming<'_>,
        xdata: &[u8],
    ) -> Delegation {
        if self.answer.get() == Delegation::Delegated {
            self.done.delegated.borrow_mut().push((group.0, incoming.bytes.to_vec(), xdata.to_vec()));
        }
        self.answer.get()
    }

    fn suspend(&mut self, group: GroupIndex, _: Placement, suspended: &Suspended<'_>) -> Delegation {
        if self.answer.get() == Delegation::Delegated {
            self.done.suspended.borrow_mut().push(HandedOn {
                group: group.0,
                delay: suspended.delay,
                message: suspended.datagram.bytes.to_vec(),
                continuation: suspended.continuation.to_vec(),
                xdata: suspended.xdata.to_vec(),
            });
        }
        self.answer.get()
    }

    fn count_refused(&mut self, _: GroupIndex) {}

    fn wake(&mut self) {
        self.done.woken.set(self.done.woken.get() + 1);
    }
}

impl Count for Recorder {
    fn add(&self, counter: CounterId, amount: u64) {
        let mut counts = self.done.counts.borrow_mut();
        let count = counts.entry(counter).or_default();
        *count = count.wrapping_add(amount);
    }

    fn sum(&self, counter: CounterId) -> u64 {
        self.done.counts.borrow().get(&counter).copied().unwrap_or(0)
    }
}

/// A machine without interfaces and names.
struct NoNames;

impl Resolver for NoNames {
    fn interface(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    fn every_interface(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn host(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_taken_apart() {
        let rows = [
            ("ru", ("ru", None, Position::Unset)),
            ("hdr(X-Foo)", ("hdr", Some("X-Foo"), Position::Unset)),
            ("hdr(X-Foo)[-1]", ("hdr", Some("X-Foo"), Position::At(-1))),
            ("avp(x)[*]", ("avp", Some("x"), Position::All)),
        ];
        for (written, expected) in rows {
            assert_eq!(split(written), expected, "{written}");
        }
    }
}
