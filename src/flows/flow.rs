//! A flow as it was read: its peers, its script, and its steps in order.

use std::net::IpAddr;
use std::time::Duration;

use regex::Regex;

use super::placeholder::PlaceholderText;
use crate::script::ast::Span;
use crate::sys::signal::Signal;

/// One flow file.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// What it shows, in the words of `test`.
    pub title: Option<String>,
    /// The script, if the file brings its own.
    pub script: Option<InlineScript>,
    /// `#!define`s for the script: `-A NAME=VALUE`.
    pub defines: Vec<(String, PlaceholderText)>,
    /// The SIP user agents of the flow.
    pub peers: Vec<PeerRow>,
    /// The steps in order.
    pub steps: Vec<FlowStep>,
}

/// A script in the flow file.
#[derive(Clone, Debug)]
pub(super) struct InlineScript {
    /// The word `script`.
    pub span: Span,
    /// The script, after an empty line for each line of the file before it: line numbers of errors fit the file.
    pub text: String,
}

/// A peer, as declared.
#[derive(Clone, Debug)]
pub(super) struct PeerRow {
    pub name: String,
    pub span: Span,
    /// Where its socket is bound.
    pub address: IpAddr,
}

/// A peer by its place in [`Flow::peers`].
pub(super) type PeerIndex = usize;

/// One step.
#[derive(Clone, Debug)]
pub(super) struct FlowStep {
    /// Its first line.
    pub span: Span,
    pub kind: StepKind,
}

/// The kinds of steps.
#[derive(Clone, Debug)]
pub(super) enum StepKind {
    /// Sends a message that is completed.
    Send { peer: PeerIndex, to: Option<PlaceholderText>, lines: Vec<PlaceholderText> },
    /// Sends bytes as they are.
    SendExactly { peer: PeerIndex, to: Option<PlaceholderText>, lines: Vec<PlaceholderText> },
    /// Answers the last request, or the last of a method.
    Reply { peer: PeerIndex, method: Option<String>, status: PlaceholderText, lines: Vec<PlaceholderText> },
    /// The next message is this one.
    Expect { peer: PeerIndex, start: StartPattern, timeout: Duration, conditions: Vec<Condition> },
    /// No message comes.
    ExpectNothing { peer: PeerIndex, time: Duration },
    /// From now on such messages are passed over.
    Ignore { peer: PeerIndex, start: StartPattern },
    /// A signal, SIGKILL among them, to a process that is there or comes in time.
    Signal { process: PlaceholderText, signal: Signal, timeout: Duration },
    /// Waits until something holds.
    Wait { event: AwaitedEvent, timeout: Duration },
    /// A command, whose answer must be this.
    Command { command: RpcCall },
    /// How often the log says something so far.
    LogCount { text: PlaceholderText, comparison: NumberComparison, number: u64 },
    /// Another script in the place of the one the server was started on.
    ChangeScript { text: String },
    /// The same again.
    Repeat { count: u32, steps: Vec<FlowStep> },
}

impl StepKind {
    /// Whether it does something to the server, and does not only look.
    pub fn is_act(&self) -> bool {
        use StepKind::{ChangeScript, Command, Reply, Send, SendExactly, Signal};
        matches!(
            self,
            Send { .. }
                | SendExactly { .. }
                | Reply { .. }
                | Signal { .. }
                | Command { .. }
                | ChangeScript { .. }
        )
    }
}

/// Which messages are meant by their first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartPattern {
    Any,
    Status(u16),
    /// `2xx`: by the hundreds.
    StatusClass(u16),
    Method(String),
}

/// What one waits for.
#[derive(Clone, Debug)]
pub(super) enum AwaitedEvent {
    Counter {
        name: String,
        comparison: NumberComparison,
        number: u64,
    },
    Process {
        process: PlaceholderText,
        change: Change,
    },
    LogHolds(PlaceholderText),
    LogMatches(Pattern),
    /// Every condition on the answer holds.
    Answer(RpcCall),
    /// The server has ended.
    Exit {
        status: i32,
    },
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberComparison {
    Equal,
    AtLeast,
    AtMost,
    Above,
    Below,
}

impl NumberComparison {
    /// Each as it is written; nothing means equal.
    pub const WRITTEN: [(&'static str, NumberComparison); 5] = [
        ("=", NumberComparison::Equal),
        (">=", NumberComparison::AtLeast),
        ("<=", NumberComparison::AtMost),
        (">", NumberComparison::Above),
        ("<", NumberComparison::Below),
    ];

    /// Whether it holds.
    pub fn holds(self, left: u64, right: u64) -> bool {
        match self {
            NumberComparison::Equal => left == right,
            NumberComparison::AtLeast => left >= right,
            NumberComparison::AtMost => left <= right,
            NumberComparison::Above => left > right,
            NumberComparison::Below => left < right,
        }
    }

    /// In words, before the number: `at least 2`.
    pub fn words(self) -> &'static str {
        match self {
            NumberComparison::Equal => "",
            NumberComparison::AtLeast => "at least ",
            NumberComparison::AtMost => "at most ",
            NumberComparison::Above => "more than ",
            NumberComparison::Below => "less than ",
        }
    }
}

/// What becomes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Running,
    Gone,
    /// Another one than the one that was signalled.
    Restarted,
}

/// A command for the control process, with what its answer must be.
#[derive(Clone, Debug)]
pub(super) struct RpcCall {
    pub method: String,
    pub arguments: Vec<PlaceholderText>,
    pub conditions: Vec<Condition>,
}

/// One line below `expect` or `rpc`.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub span: Span,
    pub subject: ConditionSubject,
    pub relation: Relation,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConditionSubject {
    /// The first line.
    Start,
    /// The reason phrase of a response.
    Reason,
    /// The Request-URI.
    Uri,
    /// A header field; 1 is the first of its name.
    Header {
        name: String,
        number: usize,
    },
    Body,
    /// The whole message.
    Message,
    /// The address it was sent from.
    Source,
    /// The answer of a command as JSON, or a part of it by its JSON pointer.
    Result(String),
    /// Why a command was refused.
    Error,
}

/// What must be true of it.
#[derive(Clone, Debug)]
pub(super) enum Relation {
    Is(PlaceholderText),
    IsNot(PlaceholderText),
    Contains(PlaceholderText),
    Lacks(PlaceholderText),
    /// Named groups are captured.
    Matches(Pattern),
    Present,
    Absent,
    Count(usize),
    /// It is there, and is kept under a name.
    As(String),
}

/// A regular expression whose placeholders are not filled in yet.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub text: PlaceholderText,
    /// The expression, when it has no placeholder.
    pub ready: Option<Regex>,
}
