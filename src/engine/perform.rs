//! One message through one phase.
//!
//! ```text
//!  receive            read ─► pre-routing ──drop──► done (delegated, or not wanted)
//!                                 │
//!  perform  message   read ───────┴─► request_route          a negative end is a warning
//!                     set xdata   └─► reply_route ─► sent on by its Via unless dropped or not above 0
//!
//!           resumed   read ─► restore what was done ─► set xdata ─► route[the one it was suspended for]
//! ```
//!
//! A datagram that is not a message, or lacks a mandatory field, is counted and never reaches the script. By default it
//! is discarded, as operators know it. With `answer_broken_requests` a request that can be answered is told what is
//! wrong with it: 505 for another version, 400 for the rest. What the script can see is the script's to refuse, with
//! `sanity_check()`.
//!
//! **Invariant:** nothing that came from the network makes this panic or wait.

use crate::routing::script_view::ScriptView;
use std::cell::OnceCell;
use std::rc::Rc;

use super::broken;
use crate::bindings::load::Loaded;
use crate::routing::changes::REWRITES_MAX;
use crate::routing::context::{Context, Phase, Ports, ProcessState};
use crate::routing::continuation::{Continuation, Interruption, Resume};
use crate::routing::delegation::{Delegate, Xdata};
use crate::routing::envelope::Incoming;
use crate::routing::outbox::{Egress, Outbox};
use crate::routing::sending::RelayFailure;
use crate::routing::services::StoredPlace;
use crate::routing::work::{BrokenWork, Work};
use crate::script::ast::RouteKind;
use crate::script::host::ValueRef;
use crate::script::interpreter::{Interpreter, Verdict};
use crate::script::program::RouteId;
use crate::sip::branch::{Secret, ToTag};
use crate::sip::{Message, Method};
use crate::state::shared::SharedState;
use crate::telemetry::counters::{
    ACKS_ABSORBED, CONTINUATIONS_LOST, COPIES_REFUSED, Count, LOG_LINES_DROPPED, PRE_ROUTING_DROPPED,
    PROBES_RECEIVED, REPLIES_DROPPED, REPLIES_RECEIVED, REPLIES_STRAY, REQUESTS_RECEIVED,
    REQUESTS_TURNED_AWAY, SCRIPTS_FAILED, WORK_UNREADABLE, XDATA_BROKEN,
};
use crate::telemetry::log::{Level, Line, Log};
use crate::telemetry::process_identity::ProcessIdentity;

/// Smaller datagrams are keep-alives and probes.
const MESSAGE_SIZE_MIN: usize = 32;

/// What an engine is made of.
pub struct EngineParts {
    /// The script and what belongs to it.
    pub loaded: Rc<Loaded>,
    /// Sends messages.
    pub outbox: Box<dyn Outbox>,
    /// Hands messages to groups; only receivers have it.
    pub delegate: Option<Box<dyn Delegate>>,
    /// Counts.
    pub counters: Box<dyn Count>,
    /// Writes the log.
    pub log: Rc<Log>,
    /// Values and locks that scripts of all processes share.
    pub shared: SharedState,
    /// Which process this is.
    pub process: ProcessIdentity,
    /// Makes branches and tags; the same in every process of a server.
    pub secret: Secret,
}

/// Runs the script on messages, one at a time.
pub struct Engine {
    pub(super) loaded: Rc<Loaded>,
    routes: Routes,
    interpreter: Interpreter,
    pub(super) state: ProcessState,
    turns_away: bool,
    /// Log lines lost that are in the counter already.
    log_lines_dropped: u64,
}

/// The routes that messages enter by, looked up once.
#[derive(Clone, Copy, Debug)]
struct Routes {
    pre_routing: Option<RouteId>,
    request: Option<RouteId>,
    reply: Option<RouteId>,
    ack_absorbed: Option<RouteId>,
}

impl Engine {
    /// An engine for this process; modules are notified that it begins.
    pub fn new(parts: EngineParts) -> Engine {
        let EngineParts { loaded, outbox, delegate, counters, log, shared, process, secret } = parts;
        let event = loaded.registry.services().ack_absorbed;
        let routes = Routes {
            pre_routing: loaded.program.event_route("core:pre-routing"),
            request: loaded.program.request_route(),
            reply: loaded.program.reply_route(),
            ack_absorbed: event.and_then(|event| loaded.program.event_route(event)),
        };
        log.set_process(process.index, process.pid);
        log.set_colours(loaded.registry.level_colours());
        loaded.registry.start(&process);
        let ports = Ports { egress: Egress::new(outbox), delegate, counters, log, shared };
        let mut state = ProcessState::new(process, ports, secret, loaded.registry.first_variables());
        if let Some(prefix) = &loaded.log_prefix
            && loaded.settings().is_log_prefix_renewed
        {
            state.renew_log_prefix(Rc::clone(prefix), loaded.limits);
        }
        if let Some(route) = loaded.program.route(RouteKind::OnSend, b"") {
            state.run_on_send(Rc::clone(&loaded.program), route, loaded.limits);
        }
        Engine {
            routes,
            interpreter: Interpreter::new(loaded.limits),
            state,
            loaded,
            turns_away: false,
            log_lines_dropped: 0,
        }
    }

    /// A message from the network: pre-routing, and the routes unless it was dropped there.
    pub fn receive(&mut self, incoming: &Incoming<'_>) {
        let turns_away = self.turns_away;
        self.with_message(incoming, Phase::PreRouting, |run| {
            run.set_log_prefix();
            if turns_away && begins_something(&run.context.message) {
                return run.turn_away();
            }
            if !run.pre_routing_drops() {
                run.context.phase = Phase::Routing;
                run.route();
            }
        });
    }

    /// From now on a message that would begin something new is answered with 503 and without the script, so that its
    /// sender asks another server, or no longer; what belongs to something begun goes its usual way.
    pub fn turn_new_requests_away(&mut self, turns_away: bool) {
        self.turns_away = turns_away;
    }

    /// Everything read at once was received: groups are woken, once each, and what was sent leaves.
    pub fn after_batch(&mut self) {
        self.state.wake_groups();
        self.flush();
        self.count_lost_log_lines();
    }

    /// Whether another message waits for this process after the one it is given next: then what is sent for that one
    /// may leave together with what is sent for those that follow.
    pub fn set_followed(&mut self, is_followed: bool) {
        self.state.ports.egress.set_followed(is_followed);
    }

    /// Everything that was sent leaves: before this process waits.
    pub fn flush(&mut self) {
        self.state.ports.egress.flush();
    }

    /// The same, if something has been there for a millisecond.
    pub fn flush_old(&mut self) {
        self.state.ports.egress.flush_old();
    }

    /// Work that another process handed over: of workers, replay and tests. `earlier_attempts` counts processes that
    /// ended with it in hand: workers, or the receiver that may have handed it over before.
    pub fn perform(&mut self, work: &Work<'_>, earlier_attempts: u32) {
        match work {
            Work::Message { incoming, xdata } => self.with_message(incoming, Phase::Routing, |run| {
                run.set_log_prefix();
                run.tell_attempts(earlier_attempts);
                run.set_xdata(xdata);
                run.route();
            }),
            Work::Resumed { incoming, continuation, xdata } => {
                let Ok(continuation) = Continuation::decode(continuation) else {
                    return self.pass_over(&BrokenWork::Continuation(incoming.envelope));
                };
                self.with_message(incoming, Phase::Routing, |run| {
                    run.context.restore(&continuation);
                    run.set_log_prefix();
                    run.tell_attempts(earlier_attempts);
                    run.set_xdata(xdata);
                    match continuation.goal {
                        Resume::Route(name) => run.route_named(name),
                        Resume::After(interruption) => run.resume(interruption),
                    }
                });
            }
        }
        self.count_lost_log_lines();
    }

    /// Work that cannot be read is counted and told, and lost.
    #[cold]
    pub fn pass_over(&self, broken: &BrokenWork) {
        match broken {
            BrokenWork::Continuation(envelope) => {
                self.state.count(CONTINUATIONS_LOST);
                let text = format_args!("cannot resume: {broken}");
                self.state.log_about(envelope, &Line::of_core(Level::Bug), text);
            }
            BrokenWork::Kind | BrokenWork::Envelope => {
                self.state.count(WORK_UNREADABLE);
                self.state.log().say(Level::Bug, format_args!("lost: a record of a queue: {broken}"));
            }
        }
    }

    /// Answers the request with this status, without running the script. A reply or an ACK is not answered.
    pub fn answer_with(&mut self, status: u16, incoming: &Incoming<'_>) {
        self.with_message(incoming, Phase::Routing, |run| {
            run.set_log_prefix();
            run.answer_unasked(status, b"", b"");
        });
    }

    /// A copy of a message that was set aside: its sender gets the answer to the first copy.
    pub fn refuse_copy(&mut self, incoming: &Incoming<'_>) {
        self.count_copy();
        self.answer_with(500, incoming);
    }

    /// A copy of a quarantined message that no process may touch.
    pub fn count_copy(&mut self) {
        self.state.count(COPIES_REFUSED);
    }

    /// The process ends in order: modules are notified.
    pub fn stop(&mut self) {
        self.loaded.registry.stop();
    }

    /// Which process this is.
    pub fn identity(&self) -> ProcessIdentity {
        self.state.identity
    }

    /// Takes the message in hand, if it is one the script can see, and lets go of it afterwards.
    #[inline]
    fn with_message(&mut self, incoming: &Incoming<'_>, phase: Phase, act: impl FnOnce(&mut Run<'_, '_>)) {
        let Some(message) = self.read(incoming) else { return };
        let rewrites = [const { OnceCell::new() }; REWRITES_MAX];
        let Engine { loaded, routes, interpreter, state, .. } = self;
        let context = Context::new(*incoming, message, phase, &loaded.registry, state);
        act(&mut Run { loaded, routes, interpreter, context: context.with_rewrites(&rewrites) });
    }

    /// Parses a datagram. A message that cannot be processed is counted, logged and dropped.
    // Inlined: a message holds an index of a kilobyte, which is better made where it stays than moved.
    #[inline]
    fn read<'d>(&mut self, datagram: &Incoming<'d>) -> Option<Message<'d>> {
        if datagram.bytes.len() < MESSAGE_SIZE_MIN {
            self.state.count(PROBES_RECEIVED);
            return None;
        }
        self.state.message_number = self.state.message_number.wrapping_add(1);
        let settings = self.loaded.settings();
        let (repeated, answers) = (settings.repeated_fields, settings.answers_broken_requests);
        match broken::parse(datagram.bytes, &settings.grammar, repeated, answers) {
            Ok(message) => {
                self.state.count(if message.is_request() { REQUESTS_RECEIVED } else { REPLIES_RECEIVED });
                Some(message)
            }
            Err(broken) => {
                broken.refuse(datagram, &self.loaded, &mut self.state);
                None
            }
        }
    }

    fn count_lost_log_lines(&mut self) {
        let dropped = self.state.log().dropped_count();
        if dropped != self.log_lines_dropped {
            self.state.count_many(LOG_LINES_DROPPED, dropped - self.log_lines_dropped);
            self.log_lines_dropped = dropped;
        }
    }
}

/// A request outside any dialog and transaction that this server may know.
fn begins_something(message: &Message<'_>) -> bool {
    let Some(line) = message.request_line() else { return false };
    let belongs_to_another = matches!(line.method, Method::Ack | Method::Cancel);
    !belongs_to_another && message.to().is_ok_and(|to| to.tag().is_none())
}

/// One message on its way through the routes.
struct Run<'r, 'm> {
    loaded: &'r Loaded,
    routes: &'r Routes,
    interpreter: &'r mut Interpreter,
    context: Context<'m>,
}

impl Run<'_, '_> {
    fn set_log_prefix(&mut self) {
        let mut prefix = std::mem::take(&mut self.context.process.log_prefix);
        prefix.clear();
        if let Some(template) = &self.loaded.log_prefix {
            self.interpreter.evaluate_template(template, &mut self.context, &mut prefix);
        }
        self.context.process.log_prefix = prefix;
    }

    #[cold]
    fn turn_away(&mut self) {
        self.context.count(REQUESTS_TURNED_AWAY);
        self.answer_unasked(503, b"Server Is Stopping", b"Retry-After: 5\r\n");
    }

    /// Answers without the script.
    fn answer_unasked(&mut self, status: u16, reason: &[u8], lines: &[u8]) {
        if let Err(failure) = self.context.reply(status, reason, lines) {
            self.context.log(Level::Info, format_args!("could not answer with {status}: {failure}"));
        }
    }

    /// Only `drop` matters, and whether the message was handed on: every other end lets the message go on here.
    fn pre_routing_drops(&mut self) -> bool {
        let Some(route) = self.routes.pre_routing else { return false };
        let verdict = self.run(route);
        if verdict.failed {
            self.context.count(SCRIPTS_FAILED);
        }
        // A request that was handed on belongs to another process now, even without a `drop` in the script.
        let is_gone = verdict.dropped || self.context.is_suspended;
        if is_gone {
            self.context.count(PRE_ROUTING_DROPPED);
        }
        is_gone
    }

    fn route(&mut self) {
        if self.context.message.is_request() {
            self.route_request();
        } else {
            self.route_reply();
        }
    }

    fn route_request(&mut self) {
        if self.is_ack_to_us() {
            self.context.count(ACKS_ABSORBED);
            if let Some(route) = self.routes.ack_absorbed {
                self.run(route);
            }
            return;
        }
        let Some(route) = self.routes.request else {
            self.context.count(SCRIPTS_FAILED);
            return;
        };
        let verdict = self.run(route);
        if verdict.code < 0 && !verdict.dropped {
            self.warn("request_route", verdict);
        }
        if verdict.failed {
            self.refuse_unfinished();
        }
    }

    /// A limit ended the script, and the next try would end there as well: 500, where an answer is owed still.
    #[cold]
    fn refuse_unfinished(&mut self) {
        if self.context.is_settled || self.context.is_suspended {
            return;
        }
        if let Err(failure) = self.context.reply(500, b"", b"") {
            self.context.log(Level::Info, format_args!("could not answer with 500: {failure}"));
        }
    }

    fn route_reply(&mut self) {
        if let Some(route) = self.routes.reply {
            let verdict = self.run(route);
            if verdict.code < 0 && !verdict.dropped {
                self.warn("reply_route", verdict);
            }
            if verdict.dropped || verdict.code <= 0 {
                self.context.count(REPLIES_DROPPED);
                return;
            }
        }
        if let Err(failure) = self.context.forward_reply() {
            self.tell_not_forwarded(&failure);
        }
    }

    fn route_named(&mut self, name: &[u8]) {
        let named = self.loaded.program.route(RouteKind::Named, name);
        let title = format!("route[{}]", name.escape_ascii());
        let Some(route) = named else {
            self.context.count(CONTINUATIONS_LOST);
            self.context.log(Level::Error, format_args!("cannot resume: the script has no {title}"));
            return;
        };
        let verdict = self.run(route);
        if verdict.code < 0 && !verdict.dropped {
            self.warn(&title, verdict);
        }
    }

    fn resume(&mut self, interruption: Interruption) {
        let Interruption { point, .. } = interruption;
        let program = &self.loaded.program;
        let line = program.line_of_interruption(point);
        let is_ours = self.loaded.registry.interruption(point) == interruption;
        let (Some(line), true) = (line, is_ours) else {
            self.context.count(CONTINUATIONS_LOST);
            let text = format_args!(
                "cannot resume: the script has changed since the request was suspended, the request \
                     is lost"
            );
            self.context.log(Level::Error, text);
            return;
        };
        if let Some(verdict) = self.interpreter.resume(program, point, &mut self.context)
            && verdict.code < 0
            && !verdict.dropped
        {
            self.warn(line, verdict);
        }
    }

    /// The ACK to a final reply made here has reached its end (RFC 3261 8.2.7).
    fn is_ack_to_us(&self) -> bool {
        let message = &self.context.message;
        let is_ack = message.request_line().is_some_and(|line| line.method == Method::Ack);
        is_ack && ToTag::is_on(message, self.context.secret())
    }

    fn run(&mut self, route: RouteId) -> Verdict {
        self.interpreter.run(&self.loaded.program, route, &mut self.context)
    }

    #[cold]
    fn warn(&self, route: &str, verdict: Verdict) {
        self.context.count(SCRIPTS_FAILED);
        let why = if verdict.failed { "a limit was exceeded" } else { "negative return code" };
        self.context.log(
            Level::Warning,
            format_args!("error while trying script: {route}: {why} ({})", verdict.code),
        );
    }

    #[cold]
    fn tell_not_forwarded(&self, failure: &RelayFailure) {
        let level = match failure {
            RelayFailure::Withheld(_) => Level::Info,
            RelayFailure::NoWayBack | RelayFailure::NotOurVia => {
                self.context.count(REPLIES_STRAY);
                Level::Info
            }
            _ => Level::Error,
        };
        self.context.log(level, format_args!("could not forward reply: {failure}"));
    }

    fn tell_attempts(&self, attempts: u32) {
        if attempts > 0 {
            let text = format_args!("redelivered message, processes that died while handling it: {attempts}");
            self.context.log(Level::Notice, text);
        }
    }

    /// Sets the variable that carries the extra value, cleared when none was carried.
    fn set_xdata(&mut self, bytes: &[u8]) {
        let Some(place) = self.loaded.registry.services().xdata else { return };
        let Ok(xdata) = Xdata::decode(bytes) else {
            self.context.count(XDATA_BROKEN);
            self.context.log(Level::Warning, format_args!("xdata of a delegated message cannot be read"));
            return self.write_xdata(place, ValueRef::Null);
        };
        self.write_xdata(place, xdata.into());
    }

    fn write_xdata(&mut self, place: StoredPlace, value: ValueRef<'_>) {
        if let Err(refusal) = self.context.write(place.place(), value) {
            self.context.count(XDATA_BROKEN);
            let text = format_args!("xdata of a delegated message cannot be set: {}", refusal.0);
            self.context.log(Level::Warning, text);
        }
    }
}

#[cfg(test)]
mod tests;
