//! What a running script asks of the world around it.
//!
//! Values that are text live on the interpreter's scratch space: a reader *appends* bytes and says so, and nothing is
//! allocated for a statement once the space has grown to its working size.

use super::catalog::{FunctionId, TransformationId, VariableHandle};

/// What reading a variable, or applying a transformation, gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No value.
    Null,
    /// An integer; its text is its decimal form.
    Integer(i64),
    /// Text: the bytes were appended to the space handed in.
    Text,
}

/// A value as handed to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// No value.
    Null,
    /// An integer.
    Integer(i64),
    /// Bytes.
    Text(&'a [u8]),
}

/// An index after a variable, evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// None written.
    Unset,
    /// `[n]`
    At(i64),
    /// `[*]`
    All,
}

/// A variable with key and index evaluated: a place that can be read or written.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What the catalog answered for the name.
    pub variable: VariableHandle,
    /// The key, unless it is a literal that the catalog took into the handle (`slot` other than 0). For a variable
    /// that yields `Myself`, the text it is compared with.
    pub key: &'a [u8],
    /// The index.
    pub position: Position,
}

/// One evaluated argument of a call.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A value.
    Value(ValueRef<'a>),
    /// A place to read or to write (parameter kind `Place`).
    Place(Place<'a>),
    /// A literal that the catalog prepared at load: its number and its text.
    Prepared(u32, &'a [u8]),
    /// A route, by its number in the program (parameter kind `Route`).
    Route(u32),
    /// How long the run is to be interrupted (parameter kind `Delay`).
    Delay {
        /// The integer.
        number: i64,
        /// Where the run can go on after the call (`Interpreter::resume`); `None` inside a loop, and where the value of
        /// the call is part of something.
        point: Option<u32>,
    },
}

impl<'a> Argument<'a> {
    /// The bytes of a text argument; empty for anything else.
    pub fn text(&self) -> &'a [u8] {
        match *self {
            Argument::Value(ValueRef::Text(bytes)) | Argument::Prepared(_, bytes) => bytes,
            _ => b"",
        }
    }

    /// The integer, read from text if need be.
    pub fn integer(&self) -> Option<i64> {
        match *self {
            Argument::Value(ValueRef::Integer(number)) | Argument::Delay { number, .. } => Some(number),
            Argument::Value(ValueRef::Text(bytes)) | Argument::Prepared(_, bytes) => {
                std::str::from_utf8(bytes).ok()?.trim().parse().ok()
            }
            _ => None,
        }
    }
}

/// What a function gave back: above 0 true, below 0 false, 0 stops the script as `exit` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(pub i64);

impl Outcome {
    /// Success.
    pub const TRUE: Outcome = Outcome(1);
    /// Failure.
    pub const FALSE: Outcome = Outcome(-1);
    /// Stop the script.
    pub const STOP: Outcome = Outcome(0);
}

impl From<bool> for Outcome {
    fn from(held: bool) -> Self {
        if held { Outcome::TRUE } else { Outcome::FALSE }
    }
}

/// Why an assignment was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// How serious a mistake of the running script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something failed.
    Error,
    /// Something is odd.
    Warning,
}

/// The world of a running script.
pub trait Host {
    /// Reads a place; text is appended to `out`.
    fn read(&mut self, place: Place<'_>, out: &mut Vec<u8>) -> Reading;

    /// Assigns to a place.
    fn write(&mut self, place: Place<'_>, value: ValueRef<'_>) -> Result<(), Refusal>;

    /// Applies a transformation; text is appended to `out`, which never holds `input` or `arguments`.
    fn transform(
        &mut self,
        transformation: TransformationId,
        input: ValueRef<'_>,
        arguments: &[Argument<'_>],
        out: &mut Vec<u8>,
    ) -> Reading;

    /// Calls a function.
    fn call(&mut self, function: FunctionId, arguments: &[Argument<'_>]) -> Outcome;

    /// A run takes long: called every few hundred statements, for what must not wait until it is over.
    fn tick(&mut self) {}

    /// Appends text as it may stand in a line of the log: nothing in it controls a terminal or ends the line, and the
    /// original can be restored.
    fn show(&mut self, text: &[u8], out: &mut Vec<u8>);

    /// A run-time mistake (division by zero, step limit, …) at `place` (`file:line`).
    fn complain(&mut self, severity: Severity, place: &str, message: &str);
}
