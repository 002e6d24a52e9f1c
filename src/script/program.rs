//! A checked script in the form that runs: flat instructions for a small stack machine, every name resolved.
//!
//! ```text
//!  if (is_method("INVITE")) route(CALL);        Begin(else)      a statement; where to go on if it is abandoned
//!                                               Call(0)          arguments from the stack, result onto it
//!                                               Positive         functions are 0 or 1 in expressions
//!                                               JumpUnless(else)
//!                                               Begin(next) CallRoute(3) Settle Jump(next)
//!                                         else: Succeed
//!                                         next: …
//! ```
//!
//! Nothing in it refers to the source: places are kept as `file:line` for complaints.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use regex::bytes::Regex;

use super::ast::{BinaryOperator, RouteKind};
use super::catalog::{FunctionId, TransformationId, VariableHandle};
use super::network::Network;

/// Number of a route in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(pub(super) u32);

impl RouteId {
    /// As a bare number, the way [`super::host::Argument::Route`] carries it.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A checked script. Only the checker makes one.
#[derive(Debug, Default)]
pub struct Program {
    pub(super) code: Code,
    pub(super) routes: Vec<CompiledRoute>,
    names: [HashMap<Box<[u8]>, RouteId>; ROUTE_KIND_COUNT],
}

const ROUTE_KIND_COUNT: usize = RouteKind::Event as usize + 1;

impl Program {
    /// `request_route`.
    pub fn request_route(&self) -> Option<RouteId> {
        self.route(RouteKind::Request, b"")
    }

    /// `reply_route`, `onreply_route` without a name.
    pub fn reply_route(&self) -> Option<RouteId> {
        self.route(RouteKind::Reply, b"")
    }

    /// `event_route[name]`.
    pub fn event_route(&self, name: &str) -> Option<RouteId> {
        self.route(RouteKind::Event, name.as_bytes())
    }

    /// The route of this kind and name; kinds without a name have the empty one.
    pub fn route(&self, kind: RouteKind, name: &[u8]) -> Option<RouteId> {
        self.names[kind as usize].get(name).copied()
    }

    /// What kind of route it is and its name (empty without one).
    pub fn describe(&self, route: RouteId) -> (RouteKind, &str) {
        let route = &self.routes[route.0 as usize];
        (route.kind, &route.name)
    }

    /// The names of all routes, by number (empty without one).
    pub fn route_names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| &*route.name)
    }

    /// A fingerprint: equal for programs with the same resume points.
    pub fn mark(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let code = &self.code;
        (&code.text, &code.lines, &code.line_names, code.instructions.len(), code.calls.len())
            .hash(&mut hash);
        self.routes.iter().for_each(|route| (&route.name, route.entry).hash(&mut hash));
        hash.finish()
    }

    /// `file:line` of a place where a run was interrupted; `None` where none can have been.
    pub fn line_of_interruption(&self, point: u32) -> Option<&str> {
        self.statement_of_interruption(point).map(|_| self.code.line_of(point - 1))
    }

    /// Where the statement around an interruption goes on if it is abandoned. An interruption is after a call that can
    /// be interrupted, and no other statement begins between that call and the beginning of its own.
    pub(super) fn statement_of_interruption(&self, point: u32) -> Option<u32> {
        let before = self.code.instructions.get(..point as usize)?;
        let Some(Instruction::Call(call)) = before.last() else { return None };
        let arguments = &self.code.calls.get(*call as usize)?.arguments;
        arguments.iter().find(|argument| matches!(argument, ArgumentShape::Delay))?;
        before.iter().rev().find_map(|instruction| match instruction {
            Instruction::Begin(on_failure) => Some(*on_failure),
            _ => None,
        })
    }

    /// How many routes it has.
    pub fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// How many instructions it has.
    #[cfg(test)]
    pub(crate) fn instruction_count(&self) -> usize {
        self.code.instructions.len()
    }

    /// Gives a route a number before its body is known; `None` if its name is taken.
    pub(super) fn declare(&mut self, kind: RouteKind, name: &str) -> Option<RouteId> {
        let names = &mut self.names[kind as usize];
        if names.contains_key(name.as_bytes()) {
            return None;
        }
        let id = RouteId(self.routes.len() as u32);
        names.insert(name.as_bytes().into(), id);
        self.routes.push(CompiledRoute { kind, name: name.into(), entry: 0 });
        Some(id)
    }

    /// Names of all routes of a kind.
    pub(super) fn names_of(&self, kind: RouteKind) -> impl Iterator<Item = &str> {
        self.routes.iter().filter(move |route| route.kind == kind).map(|route| &*route.name)
    }
}

/// A route: where its instructions begin.
#[derive(Debug)]
pub(super) struct CompiledRoute {
    pub(super) kind: RouteKind,
    pub(super) name: Box<str>,
    pub(super) entry: u32,
}

/// Text with variables in it, resolved; belongs to no program.
#[derive(Debug)]
pub struct CompiledTemplate {
    pub(super) code: Code,
}

/// Instructions and the tables they point into.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) instructions: Vec<Instruction>,
    /// All literal text, end to end.
    pub(super) text: Vec<u8>,
    pub(super) places: Vec<PlaceShape>,
    pub(super) calls: Vec<CallShape>,
    pub(super) regexes: Vec<Regex>,
    pub(super) networks: Vec<Network>,
    pub(super) switches: Vec<SwitchTable>,
    /// First instruction of each stretch that comes from one line, and the number of that line's name.
    pub(super) lines: Vec<(u32, u32)>,
    pub(super) line_names: Vec<Box<str>>,
}

impl Code {
    /// `file:line` of an instruction.
    pub(super) fn line_of(&self, instruction: u32) -> &str {
        let after = self.lines.partition_point(|(first, _)| *first <= instruction);
        match after.checked_sub(1) {
            Some(index) => &self.line_names[self.lines[index].1 as usize],
            None => "script",
        }
    }
}

/// A stretch of literal text or of the scratch space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Stretch {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// One step of the machine. "Pops" and "pushes" are about the stack of values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instruction {
    /// A statement, or the condition of a loop, begins; abandoned, it goes on at this instruction.
    Begin(u32),
    /// Pops the value of the statement: the code of the route so far.
    Settle,
    /// The code of the route so far is 1.
    Succeed,
    /// The code of the route so far is 0: `break`.
    Clear,

    /// Pushes a number.
    Integer(i64),
    /// Pushes literal text.
    Text(Stretch),
    /// Pushes nothing, as a value.
    Null,
    /// Pushes the code of the last function or route: `$rc`.
    LastCode,
    /// Pops what the place computes, pushes its value.
    Read(u32),
    /// Pops the value, then what the place computes; assigns; pushes 1.
    Write(u32),
    /// Pops the arguments (by their number) and the input, pushes the result.
    Transform(TransformationId, u16),
    /// Pops a number of values, pushes them joined; null is written `<null>`.
    Join(u16),

    /// Pops and pushes: as an integer, text read leniently.
    ToInteger,
    /// As an integer; text that holds none abandons the statement.
    ToIntegerStrictly,
    /// As text; nothing is empty.
    ToText,
    /// Text without line ends, each written as a space; what is folded stays. Other values are unchanged.
    OneLine,
    /// Text as it may stand in a line of the log. Other values are unchanged.
    Shown,
    /// The same at the end of such a line, which a newline may end.
    ShownLast,
    /// 1 for a value above 0, else 0 (with raw return values: unchanged).
    Positive,
    /// 1 for a value other than 0, else 0.
    Truth,
    /// `!`
    Not,
    /// `~`
    BitNot,
    /// `-`
    Negate,
    /// 1 if it is something.
    IsDefined,
    /// 1 for nothing and for empty text.
    IsEmpty,
    /// Count of bytes.
    Length,
    /// Pops right and left, pushes the result. Operators on integers only.
    Integers(BinaryOperator),
    /// `+` as the left operand decides.
    Add,
    /// `==` as the left operand decides.
    Equal,
    /// `eq`
    TextEqual,
    /// `==` on words that know no case.
    AnyCaseEqual,
    /// `==` on addresses; on text if one side is not an address.
    AddressEqual,
    /// Whether the address popped is in this network.
    InNetwork(u32),
    /// Pops text, pushes whether the regular expression matches.
    Matches(u32),
    /// Pops a pattern and text.
    MatchesComputed,

    /// Goes on there.
    Jump(u32),
    /// Pops; goes on there unless it counts as true in a condition.
    JumpUnless(u32),
    /// `&&`: pops; if it is 0, pushes 0 and goes on there.
    JumpIfFalse(u32),
    /// `||`: pops; if it is not 0, pushes 1 and goes on there.
    JumpIfTrue(u32),
    /// Looks at the value on top and goes on there unless it is an integer.
    JumpUnlessInteger(u32),
    /// Pops the subject and goes on where the table says.
    Switch(u32),
    /// Begins counting the rounds of a loop.
    EnterLoop,
    /// One more round; too many abandon the loop, to this instruction.
    Round(u32),
    /// Ends counting.
    LeaveLoop,

    /// Calls a function of the catalog, pushes its code.
    Call(u32),
    /// Runs a route, pushes its code.
    CallRoute(RouteId),
    /// Pops a name, runs that route, pushes its code.
    CallRouteByName,
    /// Pops the code and leaves the route.
    Return,
    /// Leaves the route with the code so far.
    FallOff,
    /// Pops the code and ends the script.
    Exit,
    /// Pops the code and ends the script; the message goes no further.
    Drop,
    /// End of a template.
    Finish,
}

/// How a place is put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceShape {
    pub(super) variable: VariableHandle,
    pub(super) key: KeySource,
    pub(super) position: PositionShape,
}

/// Where the key of a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    /// No argument, or the catalog took it into the handle.
    Handle,
    /// A literal that the catalog left as it is.
    Literal(Stretch),
    /// Text on the stack, below the index.
    Computed,
}

/// An index after a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PositionShape {
    Unset,
    At(i64),
    All,
    /// On the stack.
    Computed,
}

impl PlaceShape {
    /// How many values it takes from the stack.
    pub(super) fn operand_count(&self) -> usize {
        usize::from(self.key == KeySource::Computed) + usize::from(self.position == PositionShape::Computed)
    }
}

/// A call: the function and what its arguments are made of.
#[derive(Debug)]
pub(super) struct CallShape {
    pub(super) function: FunctionId,
    pub(super) arguments: Box<[ArgumentShape]>,
    /// Values all arguments together take from the stack.
    pub(super) operand_count: u32,
}

/// Most arguments a call or a transformation may have.
pub const ARGUMENT_COUNT_MAX: usize = 16;

/// What one argument is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum ArgumentShape {
    /// One value from the stack.
    Value,
    /// Known to the catalog; its text is a literal.
    Prepared(u32, Stretch),
    /// A place; its key and index from the stack.
    Place(PlaceShape),
    /// An integer from the stack, handed over with the place after the call.
    Delay,
    /// A route.
    Route(RouteId),
    /// A route of this kind whose name lies on the stack.
    NamedRoute(RouteKind),
}

impl ArgumentShape {
    /// How many values it takes from the stack.
    pub(super) fn operand_count(&self) -> usize {
        match self {
            ArgumentShape::Value | ArgumentShape::Delay | ArgumentShape::NamedRoute(_) => 1,
            ArgumentShape::Place(place) => place.operand_count(),
            ArgumentShape::Prepared(..) | ArgumentShape::Route(_) => 0,
        }
    }
}

/// Where a switch goes on.
#[derive(Debug)]
pub(super) struct SwitchTable {
    pub(super) labels: Labels,
    /// Where it goes on if no label holds.
    pub(super) otherwise: u32,
}

/// Labels of one kind, in the order written.
#[derive(Debug)]
pub(super) enum Labels {
    Integers(Vec<(i64, u32)>),
    Texts(Vec<(TextLabel, u32)>),
}

/// A label that is text.
#[derive(Clone, Copy, Debug)]
pub(super) enum TextLabel {
    Exactly(Stretch),
    Matching(u32),
}
