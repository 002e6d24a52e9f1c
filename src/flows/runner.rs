//! One flow against one server: its steps in order, each with a deadline, and what is said at the first that is not met.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::flow::{AwaitedEvent, Change, Flow, FlowStep, PeerIndex, StartPattern, StepKind};
use super::judge::{ReceivedMessage, judge};
use super::peer::FlowPeer;
use super::placeholder::PlaceholderText;
use super::server::ServerUnderTest;
use super::trouble::Trouble;
use super::view::{KnownValues, View};
use super::watch::Watch;
use super::{compose, processes};
use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;
use crate::script::suggest::listed;
use crate::sip::Message;
use crate::sys::signal::Signal;

/// Lines of the log that are shown of a flow that failed.
const LOG_LINES_SHOWN: usize = 20;

pub(super) type Done = Result<(), Trouble>;

/// A flow on its way.
pub(super) struct Runner<'f> {
    flow: &'f Flow,
    /// A name for Call-ID and branches.
    name: &'f str,
    pub server: ServerUnderTest,
    peers: Vec<FlowPeer>,
    pub watch: &'f mut Watch,
    pub known: KnownValues,
    /// How many messages were sent.
    sent_count: usize,
    /// The last step that did something to the server, and how long the log was then.
    last_act: (Span, usize),
    /// Whether the flow has seen the end of the server.
    is_over: bool,
}

/// The `-A` words of a flow's defines; peers are bound, and there is no server yet.
pub(super) fn define_words(flow: &Flow, peers: &[FlowPeer]) -> Result<Vec<String>, Trouble> {
    let view = View { known: &KnownValues::default(), peers, server: None, call_id: "" };
    let mut words = Vec::new();
    for (name, value) in &flow.defines {
        let value = value.fill(&view).map_err(|reason| Trouble::unmet(value.span, reason))?;
        words.extend(["-A".to_owned(), format!("{name}={value}")]);
    }
    Ok(words)
}

impl<'f> Runner<'f> {
    pub fn new(
        flow: &'f Flow,
        name: &'f str,
        server: ServerUnderTest,
        peers: Vec<FlowPeer>,
        watch: &'f mut Watch,
    ) -> Runner<'f> {
        Runner {
            flow,
            name,
            server,
            peers,
            watch,
            known: KnownValues::default(),
            sent_count: 0,
            last_act: (Span::default(), 0),
            is_over: false,
        }
    }

    /// All steps, then the end of the server, at which nothing may be left over.
    pub fn run(&mut self) -> Done {
        self.run_steps(&self.flow.steps)?;
        if !self.is_over {
            self.refuse_early_end(self.last_span())?;
        }
        if let Err(reason) = self.server.stop(self.watch)? {
            return Err(self.with_log(Trouble::unmet(self.last_span(), reason)));
        }
        self.refuse_leftovers()
    }

    fn last_span(&self) -> Span {
        self.flow.steps.last().map_or(Span::default(), |step| step.span)
    }

    fn run_steps(&mut self, steps: &[FlowStep]) -> Done {
        for step in steps {
            if step.kind.is_act() {
                self.last_act = (step.span, self.server.log().len());
            }
            self.run_step(step)?;
        }
        Ok(())
    }

    fn run_step(&mut self, step: &FlowStep) -> Done {
        let at = step.span;
        match &step.kind {
            StepKind::Send { peer, to, lines } => self.send(*peer, to.as_ref(), lines, at),
            StepKind::SendExactly { peer, to, lines } => self.send_exactly(*peer, to.as_ref(), lines, at),
            StepKind::Reply { peer, method, status, lines } => {
                self.reply(*peer, method.as_deref(), status, lines, at)
            }
            StepKind::Expect { .. } => self.expect(step),
            StepKind::ExpectNothing { peer, time } => self.expect_nothing(*peer, *time, at),
            StepKind::Ignore { peer, start } => {
                self.peers[*peer].ignore(start);
                Ok(())
            }
            StepKind::Signal { process, signal, timeout } => self.signal(process, *signal, *timeout, at),
            StepKind::Wait { event, timeout } => self.wait(event, *timeout, at),
            StepKind::Command { command } => {
                let answer = self.ask(command, at)?;
                self.judge_answer(command, &answer, at)
            }
            StepKind::LogCount { text, comparison, number } => {
                let text = self.fill(text)?;
                let count = self.server.log().matches(&text).count() as u64;
                let words = comparison.words();
                let message = format!("the log holds \"{text}\" {count} times, not {words}{number} times");
                let unmet = || self.with_log(Trouble::unmet(at, message));
                if comparison.holds(count, *number) { Ok(()) } else { Err(unmet()) }
            }
            StepKind::ChangeScript { text } => {
                self.server.change_script(text).map_err(|error| Trouble::system("write the script", &error))
            }
            StepKind::Repeat { count, steps } => (1..=*count).try_for_each(|round| {
                self.known.round = round;
                self.run_steps(steps)
            }),
        }
    }

    // ---- values -----------------------------------------------------------------------------------------------------

    pub fn view(&self) -> View<'_> {
        View { known: &self.known, peers: &self.peers, server: Some(&self.server), call_id: self.name }
    }

    fn fill(&self, text: &PlaceholderText) -> Result<String, Trouble> {
        text.fill(&self.view()).map_err(|reason| Trouble::unmet(text.span, reason))
    }

    pub fn fill_all(&self, lines: &[PlaceholderText]) -> Result<Vec<String>, Trouble> {
        lines.iter().map(|line| self.fill(line)).collect()
    }

    fn server_address(
        &self,
        to: Option<&PlaceholderText>,
        at: Span,
    ) -> Result<std::net::SocketAddr, Trouble> {
        let Some(to) = to else {
            let first = self.server.listeners.first().copied();
            return first.ok_or_else(|| Trouble::unmet(at, "the server has no listener"));
        };
        let address = self.fill(to)?;
        address.parse().map_err(|_| {
            let help = "an address and a port, such as ${server.2}";
            Trouble::Unmet(Box::new(
                Diagnostic::error(to.span, format!("\"{address}\" is not an address")).with_help(help),
            ))
        })
    }

    // ---- messages ---------------------------------------------------------------------------------------------------

    fn send(
        &mut self,
        peer: PeerIndex,
        to: Option<&PlaceholderText>,
        lines: &[PlaceholderText],
        at: Span,
    ) -> Done {
        self.sent_count += 1;
        self.known.branch = format!("z9hG4bK-{}-{}", self.name, self.sent_count);
        let lines = self.fill_all(lines)?;
        let bytes = self.peers[peer].compose(&lines, &self.known.branch, self.name);
        self.send_bytes(peer, to, &bytes, at)
    }

    fn send_exactly(
        &mut self,
        peer: PeerIndex,
        to: Option<&PlaceholderText>,
        lines: &[PlaceholderText],
        at: Span,
    ) -> Done {
        let filled = self.fill_all(lines)?;
        let bytes = compose::exactly(&filled).map_err(|reason| Trouble::unmet(at, reason))?;
        self.send_bytes(peer, to, &bytes, at)
    }

    fn send_bytes(&mut self, peer: PeerIndex, to: Option<&PlaceholderText>, bytes: &[u8], at: Span) -> Done {
        let to = self.server_address(to, at)?;
        let peer = &self.peers[peer];
        match peer.send(bytes, to) {
            Ok(()) => Ok(()),
            Err(error) => Err(Trouble::unmet(at, format!("{} could not send to {to}: {error}", peer.name))),
        }
    }

    fn reply(
        &mut self,
        index: PeerIndex,
        method: Option<&str>,
        status: &PlaceholderText,
        lines: &[PlaceholderText],
        at: Span,
    ) -> Done {
        let (status, lines) = (self.fill(status)?, self.fill_all(lines)?);
        let peer = &self.peers[index];
        let Some(request) = peer.last_request(method) else {
            let message = format!("{} has received no {} to answer", peer.name, method.unwrap_or("request"));
            return Err(Trouble::unmet(at, message));
        };
        let message = Message::parse(&request.bytes)
            .map_err(|error| Trouble::unmet(at, format!("the request cannot be read: {error}")))?;
        let bytes = compose::reply(&message, &status, &lines, &peer.tag, peer.address);
        match peer.send(&bytes, request.source) {
            Ok(()) => Ok(()),
            Err(error) => Err(Trouble::unmet(
                at,
                format!("{} could not send to {}: {error}", peer.name, request.source),
            )),
        }
    }

    fn expect(&mut self, step: &FlowStep) -> Done {
        let StepKind::Expect { peer, start, timeout, conditions } = &step.kind else { return Ok(()) };
        let deadline = Instant::now() + *timeout;
        let Some(received) = self.peers[*peer].receive(self.watch, deadline)? else {
            return Err(self.nothing_came(*peer, start, *timeout, step.span));
        };
        let name = &self.peers[*peer].name;
        if !start.fits(&received) {
            let message = format!("{name} received \"{}\", not {}", received.start(), start.words());
            return Err(self.unmet_by(&received, step.span, message));
        }
        for condition in conditions {
            let found = received.find(&condition.subject);
            match judge(&condition.relation, &found, &self.view()) {
                Ok(captures) => self.known.captured.extend(captures),
                Err(reason) => return Err(self.unmet_by(&received, condition.span, reason)),
            }
        }
        Ok(())
    }

    fn expect_nothing(&mut self, peer: PeerIndex, time: Duration, at: Span) -> Done {
        match self.peers[peer].receive(self.watch, Instant::now() + time)? {
            None => Ok(()),
            Some(received) => {
                let message =
                    format!("{} received \"{}\", not nothing", self.peers[peer].name, received.start());
                Err(self.unmet_by(&received, at, message))
            }
        }
    }

    fn unmet_by(&self, received: &ReceivedMessage, at: Span, message: String) -> Trouble {
        let came = format!("this came from {}:\n{}", received.source, indented(&received.text()));
        let diagnostic = Diagnostic::error(at, message).with_remark(came);
        self.with_log(Trouble::Unmet(Box::new(diagnostic)))
    }

    /// What the others received instead may say why.
    fn nothing_came(
        &mut self,
        peer: PeerIndex,
        start: &StartPattern,
        timeout: Duration,
        at: Span,
    ) -> Trouble {
        let name = &self.peers[peer].name;
        let mut diagnostic = Diagnostic::error(
            at,
            format!("{name} received nothing within {timeout:?}, not {}", start.words()),
        );
        for other in (0..self.peers.len()).filter(|other| *other != peer) {
            if let Ok(Some(received)) = self.peers[other].receive(self.watch, Instant::now()) {
                let (name, text) = (&self.peers[other].name, indented(&received.text()));
                diagnostic = diagnostic.with_remark(format!("{name} has received this:\n{text}"));
            }
        }
        if let Some(status) = self.server.exit_status() {
            diagnostic = diagnostic.with_remark(format!("the server has ended: {status}"));
        }
        self.with_log(Trouble::Unmet(Box::new(diagnostic)))
    }

    fn refuse_early_end(&mut self, at: Span) -> Done {
        match self.server.exit_status() {
            Some(status) => Err(self.with_log(Trouble::unmet(at, format!("the server has ended: {status}")))),
            None => Ok(()),
        }
    }

    /// The server has ended: whatever it sent is here.
    fn refuse_leftovers(&mut self) -> Done {
        for index in 0..self.peers.len() {
            if let Some(received) = self.peers[index].receive(self.watch, Instant::now())? {
                let peer = &self.flow.peers[index];
                let message = format!("{} received a message that no step expects", peer.name);
                let help = format!("expect it, or write `ignore {} any` where it does not matter", peer.name);
                let came = format!("this came from {}:\n{}", received.source, indented(&received.text()));
                let diagnostic = Diagnostic::error(peer.span, message).with_help(help).with_remark(came);
                return Err(Trouble::Unmet(Box::new(diagnostic)));
            }
        }
        Ok(())
    }

    /// Adds the last lines that the server wrote since something was last done to it.
    pub fn with_log(&self, trouble: Trouble) -> Trouble {
        let Trouble::Unmet(diagnostic) = trouble else { return trouble };
        let (act, from) = self.last_act;
        let log = self.server.log();
        let lines: Vec<&str> = log.get(from..).unwrap_or(&log).lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        let (lead, text) = match shown {
            [] => ("the server has logged nothing since", String::new()),
            _ => ("the server's log since", format!(":\n{}", indented(&shown.join("\n")))),
        };
        Trouble::Unmet(Box::new(match act == Span::default() {
            true => diagnostic.with_remark(format!("{lead} its start{text}")),
            false => diagnostic.with_note(act, format!("{lead} this step{text}")),
        }))
    }

    // ---- processes --------------------------------------------------------------------------------------------------

    fn signal(&mut self, process: &PlaceholderText, signal: Signal, timeout: Duration, at: Span) -> Done {
        let name = self.fill(process)?;
        let deadline = Instant::now() + timeout;
        let server = &self.server;
        let Some(id) = self.watch.wait_for(deadline, || Ok(server.process(&name)))? else {
            return Err(self.no_process(&name, process.span));
        };
        self.server.send(id, signal).map_err(|error| Trouble::system("send a signal", &error))?;
        self.known.signalled.insert(name, id);
        if signal != Signal::SIGSTOP {
            return Ok(());
        }
        let is_stopped = || Ok(processes::is_stopped(id).then_some(()));
        match self.watch.wait_for(deadline, is_stopped)? {
            Some(()) => Ok(()),
            None => Err(Trouble::unmet(at, "the process did not stop")),
        }
    }

    fn no_process(&self, name: &str, at: Span) -> Trouble {
        let mut titles = self.server.titles();
        titles.sort();
        titles.dedup();
        let help = format!("processes are {}", listed(titles.iter().map(String::as_str)));
        let diagnostic = Diagnostic::error(at, format!("the server has no process {name}")).with_help(help);
        Trouble::Unmet(Box::new(diagnostic))
    }

    // ---- waiting ----------------------------------------------------------------------------------------------------

    fn wait(&mut self, event: &AwaitedEvent, timeout: Duration, at: Span) -> Done {
        let deadline = Instant::now() + timeout;
        let after = format!("after {timeout:?}");
        match event {
            AwaitedEvent::Exit { status } => self.wait_for_exit(*status, deadline, &after, at),
            AwaitedEvent::Counter { name, comparison, number } => {
                self.wait_for_counter(name, (*comparison, *number), deadline, &after, at)
            }
            AwaitedEvent::Answer(command) => self.wait_for_answer(command, deadline, at),
            AwaitedEvent::Process { process, change } => {
                self.wait_for_process(process, *change, deadline, &after, at)
            }
            AwaitedEvent::LogHolds(text) => {
                let text = self.fill(text)?;
                self.wait_for_log(|log| log.contains(&text), &format!("\"{text}\""), deadline, &after, at)
            }
            AwaitedEvent::LogMatches(pattern) => {
                let shape = pattern.text.fill_pattern(&self.view());
                let shape = shape.map_err(|reason| Trouble::unmet(pattern.text.span, reason))?;
                let regex = regex::Regex::new(&format!("(?m){shape}"))
                    .map_err(|error| Trouble::unmet(pattern.text.span, error.to_string()))?;
                self.wait_for_log(|log| regex.is_match(log), &shape, deadline, &after, at)
            }
        }
    }

    fn wait_for_exit(&mut self, wanted: i32, deadline: Instant, after: &str, at: Span) -> Done {
        let server = &self.server;
        let ended = self.watch.wait_for(deadline, || Ok(server.exit_status()))?;
        self.is_over = true;
        let message = match ended {
            Some(crate::sys::process::ExitStatus::Exited(status)) if status == wanted => return Ok(()),
            Some(status) => format!("the server ended with {status}, not exit status {wanted}"),
            None => format!("the server has not ended {after}"),
        };
        Err(self.with_log(Trouble::unmet(at, message)))
    }

    fn wait_for_process(
        &mut self,
        process: &PlaceholderText,
        change: Change,
        deadline: Instant,
        after: &str,
        at: Span,
    ) -> Done {
        let name = self.fill(process)?;
        let (server, before) = (&self.server, self.known.signalled.get(&name).copied());
        let holds = || {
            let now = server.process(&name);
            let holds = match change {
                Change::Running => now.is_some(),
                Change::Gone => now.is_none(),
                Change::Restarted => now.is_some() && now != before,
            };
            Ok(holds.then_some(()))
        };
        if self.watch.wait_for(deadline, holds)?.is_some() {
            return Ok(());
        }
        let message = match (change, self.server.process(&name)) {
            (Change::Gone, _) => format!("{name} is still there {after}"),
            (_, None) => return Err(self.with_log(self.no_process(&name, process.span))),
            (_, Some(id)) => format!("{name} is still process {id} {after}"),
        };
        Err(self.with_log(Trouble::unmet(at, message)))
    }

    fn wait_for_log(
        &mut self,
        is_there: impl Fn(&str) -> bool,
        what: &str,
        deadline: Instant,
        after: &str,
        at: Span,
    ) -> Done {
        let server = &self.server;
        match self.watch.wait_for(deadline, || Ok(is_there(&server.log()).then_some(())))? {
            Some(()) => Ok(()),
            None => Err(self.with_log(Trouble::unmet(at, format!("the log does not hold {what} {after}")))),
        }
    }
}

/// Text of others below a note of ours.
pub(super) fn indented(text: &str) -> String {
    let mut out = String::new();
    for line in text.trim_end().lines() {
        let _ = writeln!(out, "    {line}");
    }
    out.truncate(out.trim_end().len());
    out
}
