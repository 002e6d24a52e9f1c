//! The message in hand: what functions and variables work on.
//!
//! A context lives for one message in one process. What outlives it (script variables, buffers, the ways out) is
//! the [`ProcessState`], lent to it. How it answers and sends on stands in [`super::reply`] and [`super::forward`].

use super::changes::Rewrites;
use super::script_view::ScriptView;
use crate::script::program::{CompiledTemplate, Program};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use regex::bytes::Regex;

use crate::script::host::{Place, Reading, Refusal, ValueRef};
use crate::script::interpreter::{Interpreter, RunLimits};
use crate::script::program::RouteId;
use crate::sip::branch::Secret;
use crate::sip::uri::{Uri, UriError};
use crate::sip::{Edits, Grammar, Message};

use super::branches::Branches;
use super::on_send::{Leaving, OnSend};
use super::outbox::Egress;
use super::stores::{AvpStore, VariableStore};
use super::xavps::{Naming, XavpStore};
use crate::config::settings::Settings;
use crate::routing::delegation::Delegate;
use crate::routing::envelope::{Envelope, Incoming};
use crate::state::shared::SharedState;
use crate::telemetry::counters::{Count, CounterId, LOG_LINES_SUPPRESSED};
use crate::telemetry::log::{Facility, Level, Line, Log, Origin};
use crate::telemetry::process_identity::ProcessIdentity;
use crate::telemetry::throttle::SourceThrottle;

/// What evaluates `log_prefix` while the script runs: the script's own interpreter is busy then.
struct PrefixRenewal {
    prefix: Rc<CompiledTemplate>,
    interpreter: Interpreter,
}

/// Which routes are run on the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `event_route[core:pre-routing]`, in a receiver.
    PreRouting,
    /// `request_route` or `reply_route`.
    Routing,
}

/// Where `forward` sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// To the destination URI if one is set, else to the Request-URI.
    NextHop,
    /// To this host (address or name) and port.
    Host(&'a [u8], Option<u16>),
    /// To this address.
    Address(SocketAddr),
}

/// A body for replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyBody {
    /// Its Content-Type.
    pub content_type: Vec<u8>,
    /// The body.
    pub bytes: Vec<u8>,
}

/// URIs of From and To that wait in the edits.
#[derive(Debug, Default)]
pub struct AddressDrafts {
    /// Of From.
    pub from: Option<Vec<u8>>,
    /// Of To.
    pub to: Option<Vec<u8>>,
}

/// What a process keeps from message to message. Buffers keep their room, so that a message allocates next to nothing.
pub struct ProcessState {
    /// Which process this is.
    pub identity: ProcessIdentity,
    /// `$var` and its kin.
    pub variables: VariableStore,
    /// `$avp`; cleared after each message.
    pub avps: AvpStore,
    /// `$xavp`; cleared after each message.
    pub xavps: XavpStore,
    /// `$xavu`; cleared after each message.
    pub xavus: XavpStore,
    /// `$xavi`; cleared after each message.
    pub xavis: XavpStore,
    /// Messages processed here so far, the one in hand included: `$mi`.
    pub message_number: u32,
    /// Stands before the lines written for the message in hand.
    pub log_prefix: Vec<u8>,
    /// How many locks the message in hand has; they are given back when it is done.
    pub held_locks: u32,
    pub(crate) ports: Ports,
    pub(crate) secret: Secret,
    pub(crate) output: Vec<u8>,
    pub(crate) lines: Vec<u8>,
    throttle: SourceThrottle,
    prefix_renewal: Option<Box<PrefixRenewal>>,
    pub(crate) on_send: Option<Box<OnSend>>,
    /// Evaluates text of parameters while the script's own interpreter is busy.
    evaluator: Option<Box<Interpreter>>,
    edits: Edits,
    reply_headers: Vec<u8>,
    branches: Branches,
    pub(super) request_uri: Vec<u8>,
    destination_uri: Vec<u8>,
    pub(super) xdata: Vec<u8>,
    pub(super) order_key: Vec<u8>,
}

/// The ways out of a process.
pub struct Ports {
    /// Sends messages.
    pub egress: Egress,
    /// Hands messages to groups; only receivers have it.
    pub delegate: Option<Box<dyn Delegate>>,
    /// Counts.
    pub counters: Box<dyn Count>,
    /// Writes the log.
    pub log: Rc<Log>,
    /// Values and locks of all processes.
    pub shared: SharedState,
}

impl ProcessState {
    /// What a process begins with.
    pub fn new(
        identity: ProcessIdentity,
        ports: Ports,
        secret: Secret,
        variables: VariableStore,
    ) -> ProcessState {
        ProcessState {
            identity,
            variables,
            avps: AvpStore::default(),
            xavps: XavpStore::new(Naming::Stack),
            xavus: XavpStore::new(Naming::Unique),
            xavis: XavpStore::new(Naming::AnyCase),
            message_number: 0,
            held_locks: 0,
            log_prefix: Vec::new(),
            ports,
            secret,
            output: Vec::with_capacity(2048),
            lines: Vec::with_capacity(256),
            throttle: SourceThrottle::default(),
            prefix_renewal: None,
            on_send: None,
            evaluator: None,
            edits: Edits::new(),
            reply_headers: Vec::new(),
            branches: Branches::default(),
            request_uri: Vec::new(),
            destination_uri: Vec::new(),
            xdata: Vec::new(),
            order_key: Vec::new(),
        }
    }

    /// From now on `log_prefix` is evaluated before each function of the script, not once for each message.
    pub fn renew_log_prefix(&mut self, prefix: Rc<CompiledTemplate>, limits: RunLimits) {
        let interpreter = Interpreter::new(limits);
        self.prefix_renewal = Some(Box::new(PrefixRenewal { prefix, interpreter }));
    }

    /// From now on this `onsend_route` is run on every request that is sent on.
    pub fn run_on_send(&mut self, program: Rc<Program>, route: RouteId, limits: RunLimits) {
        self.on_send = Some(Box::new(OnSend::new(program, route, limits)));
    }

    /// Wakes workers for what was delegated since the last time.
    pub fn wake_groups(&mut self) {
        if let Some(delegate) = &mut self.ports.delegate {
            delegate.wake();
        }
    }

    /// The log.
    pub fn log(&self) -> &Rc<Log> {
        &self.ports.log
    }

    /// Writes a line of the server about a message. How many come is decided by who sends, so lines of one place in
    /// this program about one source are held back after a burst, and what was held back is told.
    #[track_caller]
    pub fn log_about(&self, envelope: &Envelope, line: &Line<'_>, text: fmt::Arguments<'_>) {
        let log = &self.ports.log;
        if !log.is_on(line.level) {
            return;
        }
        let place = std::panic::Location::caller();
        let class = (place.file(), place.line());
        match self.throttle.pass(class, envelope.source.ip(), envelope.received_at_ns) {
            Some(0) => log.write(line, text),
            Some(count) => {
                log.write(line, format_args!("{text} (suppressed {count} similar lines about this source)"));
            }
            None => self.count(LOG_LINES_SUPPRESSED),
        }
    }

    /// Counts one more.
    pub fn count(&self, counter: CounterId) {
        self.ports.counters.add(counter, 1);
    }

    /// Begins a counter at 0.
    pub fn reset_counter(&self, counter: CounterId) {
        self.ports.counters.reset(counter);
    }

    /// Counts so many more.
    pub fn count_many(&self, counter: CounterId, amount: u64) {
        self.ports.counters.add(counter, amount);
    }
}

/// The message in hand.
pub struct Context<'m> {
    /// Bytes as received, and envelope.
    pub datagram: Incoming<'m>,
    /// The parsed message.
    pub message: Message<'m>,
    /// What is to be changed when it is sent on.
    pub edits: Edits,
    /// Header lines for every reply made from here on (`append_to_reply`), each with its line end.
    pub reply_headers: Vec<u8>,
    /// Which routes are run.
    pub phase: Phase,
    /// Flags of the message, `setflag(0)` is bit 0.
    pub flags: u32,
    /// Flags of the branch the Request-URI stands for, `setbflag(0)` is bit 0.
    pub branch_flags: u32,
    /// Flags of the script's run, `setsflag(0)` is bit 0.
    pub script_flags: u32,
    /// Further flags of the message, `setxflag(0)` is bit 0.
    pub extra_flags: u64,
    /// `force_rport()`: answer to the port the message came from.
    pub is_rport_forced: bool,
    /// `add_local_rport()`: put `;rport` into our own Via.
    pub is_local_rport_added: bool,
    /// `$fs`: listener to send by, instead of the one the message came in by.
    pub forced_listener: Option<u16>,
    /// `set_advertised_address`: host for our Via on this message.
    pub advertised_address: Option<Vec<u8>>,
    /// `set_advertised_port`: port for our Via on this message.
    pub advertised_port: Option<u16>,
    /// The body of every reply made from here on (`set_reply_body`).
    pub reply_body: Option<ReplyBody>,
    /// What the URIs of From and To are to become, as far as the script has changed them.
    pub address_drafts: AddressDrafts,
    /// Further targets of the request.
    pub branches: Branches,
    /// Another process has begun with the message and handed it on.
    pub is_continued: bool,
    /// The message was handed on: no other route begins with it here.
    pub is_suspended: bool,
    /// The request got its final reply here, or was sent on to somebody who gives one.
    pub is_settled: bool,
    /// What outlives the message.
    pub process: &'m mut ProcessState,
    pub(crate) forward_count: u32,
    /// Something was put into the outbox for this message, and may lie there.
    pub(super) has_put: bool,
    pub(crate) leaving: Option<Leaving>,
    script: &'m dyn ScriptView,
    settings: &'m Settings,
    pub(super) rewrites: &'m Rewrites,
    pub(super) is_request_uri_changed: bool,
    is_destination_set: bool,
}

impl<'m> Context<'m> {
    /// Takes a message in hand.
    #[inline]
    pub fn new(
        datagram: Incoming<'m>,
        message: Message<'m>,
        phase: Phase,
        script: &'m dyn ScriptView,
        process: &'m mut ProcessState,
    ) -> Context<'m> {
        let settings = script.settings();
        let edits = std::mem::take(&mut process.edits);
        let reply_headers = std::mem::take(&mut process.reply_headers);
        let branches = std::mem::take(&mut process.branches);
        Context {
            datagram,
            message,
            edits,
            reply_headers,
            phase,
            flags: 0,
            branch_flags: 0,
            script_flags: 0,
            extra_flags: 0,
            is_rport_forced: settings.force_rport,
            is_local_rport_added: settings.local_rport,
            forced_listener: None,
            advertised_address: None,
            advertised_port: None,
            reply_body: None,
            address_drafts: AddressDrafts::default(),
            branches,
            is_continued: false,
            is_suspended: false,
            is_settled: false,
            process,
            forward_count: 0,
            has_put: false,
            leaving: None,
            script,
            settings,
            rewrites: &[],
            is_request_uri_changed: false,
            is_destination_set: false,
        }
    }

    /// With room for rewritten texts; without it [`Context::apply_changes`] is refused.
    #[inline]
    pub fn with_rewrites(mut self, rewrites: &'m Rewrites) -> Context<'m> {
        self.rewrites = rewrites;
        self
    }

    /// Where from, where to and when the message was received.
    pub fn envelope(&self) -> &Envelope {
        &self.datagram.envelope
    }

    /// What is about to leave; only while `onsend_route` runs.
    pub fn leaving(&self) -> Option<&Leaving> {
        self.leaving.as_ref()
    }

    /// What the top level decided.
    pub fn settings(&self) -> &'m Settings {
        self.settings
    }

    /// The script's tables.
    pub fn script(&self) -> &'m dyn ScriptView {
        self.script
    }

    /// A regular expression prepared at load.
    pub fn regex(&self, number: u32) -> Option<&'m Regex> {
        self.script.regex(number)
    }

    /// Whether a worker runs this.
    pub fn is_worker(&self) -> bool {
        self.process.identity.is_worker()
    }

    /// The Request-URI: changed by the script, or as received; `None` for a response.
    pub fn request_uri(&self) -> Option<&[u8]> {
        self.changed_request_uri().or(self.message.request_line().map(|line| line.uri))
    }

    /// The Request-URI in its parts; `None` for a response, and where it cannot be read.
    pub fn parsed_request_uri(&self) -> Option<Uri<'_>> {
        self.parse_uri(self.request_uri()?).ok()
    }

    /// Takes a URI apart by the grammar of this script, wherever the URI comes from.
    pub fn parse_uri<'t>(&self, text: &'t [u8]) -> Result<Uri<'t>, UriError> {
        self.message.parse_uri(text)
    }

    /// The grammar of this script.
    pub fn grammar(&self) -> &Grammar {
        self.message.grammar()
    }

    /// The Request-URI as changed by the script, if it was.
    pub fn changed_request_uri(&self) -> Option<&[u8]> {
        self.is_request_uri_changed.then_some(self.process.request_uri.as_slice())
    }

    /// Changes the Request-URI.
    pub fn set_request_uri(&mut self, uri: &[u8]) {
        self.process.request_uri.clear();
        self.process.request_uri.extend_from_slice(uri);
        self.is_request_uri_changed = true;
    }

    /// Takes changes of the Request-URI back.
    pub fn revert_request_uri(&mut self) {
        self.is_request_uri_changed = false;
    }

    /// `$du`: where to send, whatever the Request-URI says.
    pub fn destination_uri(&self) -> Option<&[u8]> {
        self.is_destination_set.then_some(self.process.destination_uri.as_slice())
    }

    /// Sets or clears `$du`.
    pub fn set_destination_uri(&mut self, uri: Option<&[u8]>) {
        self.process.destination_uri.clear();
        self.process.destination_uri.extend_from_slice(uri.unwrap_or_default());
        self.is_destination_set = uri.is_some();
    }

    /// Reads a variable (an `Argument::Place`, or one looked up by `Planning::place`); text is appended to `out`.
    pub fn read(&self, place: Place<'_>, out: &mut Vec<u8>) -> Reading {
        self.script.read(self, place, out)
    }

    /// Assigns to a variable.
    pub fn write(&mut self, place: Place<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
        let script = self.script;
        script.write(self, place, value)
    }

    /// The key of branches and tags.
    pub fn secret(&self) -> &Secret {
        &self.process.secret
    }

    /// Counts one more.
    pub fn count(&self, counter: CounterId) {
        self.process.count(counter);
    }

    /// Writes a line of the server itself: `LEVEL: {prefix}<core>: text`, held back where they become too many.
    #[track_caller]
    pub fn log(&self, level: Level, text: fmt::Arguments<'_>) {
        let line =
            Line { prefix: &self.process.log_prefix, call_id: self.logged_call_id(), ..Line::of_core(level) };
        self.process.log_about(self.envelope(), &line, text);
    }

    /// Writes a line of the script (`xlog`): `label` is the module's prefix, by default `<script>: `; newlines in
    /// `text` are the script's own and stay.
    pub fn log_script(&self, level: Level, facility: Option<Facility>, label: &[u8], text: &[u8]) {
        let log = &self.process.ports.log;
        if log.is_on(level) {
            let prefix = &self.process.log_prefix;
            let call_id = self.logged_call_id();
            log.write_bytes(&Line { level, facility, prefix, label, call_id, origin: Origin::Script }, text);
        }
    }

    /// Appends what text with variables, compiled by `Planning::template`, is for the message in hand.
    pub fn append_template(&mut self, number: u32, out: &mut Vec<u8>) {
        let Some(template) = self.script.template(number) else { return };
        let evaluator = self.process.evaluator.take();
        let mut evaluator = evaluator.unwrap_or_else(|| Box::new(Interpreter::new(RunLimits::default())));
        evaluator.evaluate_template(template, self, out);
        self.process.evaluator = Some(evaluator);
    }

    /// The level up to which lines of the log are written, as its number.
    pub fn log_level(&self) -> i64 {
        self.process.ports.log.level().number()
    }

    /// Changes it in every process.
    pub fn set_log_level(&self, level: i64) {
        self.process.ports.log.set_level(Level::from_number(level));
    }

    /// Evaluates `log_prefix` where that is due before each function.
    pub(crate) fn renew_log_prefix(&mut self) {
        // While it is evaluated it is not there, so that nothing it calls begins anew.
        let Some(mut renewal) = self.process.prefix_renewal.take() else { return };
        let mut prefix = std::mem::take(&mut self.process.log_prefix);
        prefix.clear();
        renewal.interpreter.evaluate_template(&renewal.prefix, self, &mut prefix);
        self.process.log_prefix = prefix;
        self.process.prefix_renewal = Some(renewal);
    }

    fn logged_call_id(&self) -> &[u8] {
        self.message.call_id().unwrap_or_default()
    }

    /// Whether lines of this level are written: ask before building an expensive one.
    pub fn is_logged(&self, level: Level) -> bool {
        self.process.ports.log.is_on(level)
    }
}

/// Lets go of the message: buffers and locks go back to the process, pairs are forgotten.
impl Drop for Context<'_> {
    #[inline]
    fn drop(&mut self) {
        let process = &mut *self.process;
        self.edits.clear();
        self.reply_headers.clear();
        self.branches.clear();
        process.branches = std::mem::take(&mut self.branches);
        process.edits = std::mem::take(&mut self.edits);
        process.reply_headers = std::mem::take(&mut self.reply_headers);
        if std::mem::take(&mut process.held_locks) > 0 {
            process.ports.shared.locks.release_all(process.identity.index);
        }
        process.avps.clear();
        process.xavps.clear();
        process.xavus.clear();
        process.xavis.clear();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::super::changes::REWRITES_MAX;
    use super::*;
    use crate::config::settings::listen::SystemResolver;
    use crate::routing::outgoing::{NotSent, Outgoing};
    use crate::telemetry::counters::CountNothing;
    use crate::telemetry::log::Sink;
    use crate::telemetry::process_identity::ProcessKind;
    use crate::transport::endpoint::Transport;
    use std::cell::OnceCell;

    struct Nowhere;

    impl crate::routing::outbox::Outbox for Nowhere {
        fn send(&mut self, _: &Outgoing<'_>) -> Result<(), NotSent> {
            Ok(())
        }
    }

    pub(crate) const REQUEST: &[u8] =
        b"BYE sip:bob@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nX: one\r\n\r\n";

    /// A context in a receiver without any settings, its log written to `kept`.
    pub(crate) fn with_context_logging_to(kept: Rc<RefCell<Vec<u8>>>, act: impl FnOnce(&mut Context<'_>)) {
        let resolver = Box::new(SystemResolver);
        let registry = crate::bindings::registry::Registry::new(&[], Default::default(), resolver);
        let ports = Ports {
            egress: Egress::new(Box::new(Nowhere)),
            delegate: None,
            counters: Box::new(CountNothing),
            log: Rc::new(Log::new(Sink::Memory(kept), Level::Debug)),
            shared: registry.shared_state(2).expect("memory"),
        };
        let identity = ProcessIdentity { index: 1, pid: 2, kind: ProcessKind::Receiver };
        let mut process =
            ProcessState::new(identity, ports, Secret::new([1; 16]), registry.first_variables());
        let source = "192.0.2.1:5060".parse().unwrap();
        let envelope = Envelope {
            source,
            destination: source,
            listener: 0,
            transport: Transport::Udp,
            received_at_ns: 1,
        };
        let datagram = Incoming { bytes: REQUEST, envelope };
        let message = Message::parse(REQUEST).unwrap();
        let rewrites = [const { OnceCell::new() }; REWRITES_MAX];
        let context = Context::new(datagram, message, Phase::PreRouting, &registry, &mut process);
        let mut context = context.with_rewrites(&rewrites);
        act(&mut context);
    }

    fn with_context(act: impl FnOnce(&mut Context<'_>)) {
        with_context_logging_to(Rc::default(), act);
    }

    #[test]
    fn the_request_uri_is_changed_and_taken_back() {
        with_context(|context| {
            assert_eq!(
                (context.request_uri(), context.changed_request_uri()),
                (Some(&b"sip:bob@h"[..]), None)
            );
            context.set_request_uri(b"sip:eve@h");
            assert_eq!(context.request_uri(), Some(&b"sip:eve@h"[..]));
            context.revert_request_uri();
            assert_eq!(context.request_uri(), Some(&b"sip:bob@h"[..]));
        });
    }

    #[test]
    fn the_destination_is_set_and_cleared() {
        with_context(|context| {
            assert_eq!(context.destination_uri(), None);
            context.set_destination_uri(Some(b"sip:10.0.0.1"));
            assert_eq!(context.destination_uri(), Some(&b"sip:10.0.0.1"[..]));
            context.set_destination_uri(None);
            assert_eq!(context.destination_uri(), None);
        });
    }
}
