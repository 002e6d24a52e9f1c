//! Runs a checked program against a host: a stack machine without recursion and without allocation once warm.
//!
//! Text lives on one scratch space that shrinks back at every statement; a value is a stretch of it or of the
//! program's literals. A second space takes what the host writes while it still reads from the first.
//!
//! **Invariant:** every loop is bounded: rounds of one `while`, routes inside routes, statements of one run, bytes of
//! text. Reaching a bound is a complaint, and the statement or the whole run fails; nothing hangs or panics.
//!
//! A mistake while a statement runs (division by zero, a refused assignment) abandons that statement: a condition
//! counts as false, an assignment does not happen, its value is -1, and the script goes on with the next one.

mod calls;
mod operators;

use std::collections::HashMap;

use regex::bytes::Regex;

use super::ast::RouteKind;
use super::host::{Host, Reading, Severity, ValueRef};
use super::program::{Code, CompiledTemplate, Instruction, Labels, Program, RouteId, Stretch, TextLabel};
use super::value::{self, Soft};
use calls::Texts;
use operators::{equal_addresses, is_in_network};

/// What return values mean in conditions (`return_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnMode {
    /// 0: in expressions a function is 1 if its code is above 0, else 0; a condition holds above 0; `return 0` exits.
    #[default]
    Truth,
    /// 1: codes are passed on as they are, and a condition holds for anything but 0.
    Raw,
}

/// Bounds of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Statements (and rounds of loops) in one run.
    pub steps: u32,
    /// Rounds of one `while`.
    pub while_loops: u32,
    /// Routes inside routes, the first one counted.
    pub recursion: u32,
    /// Bytes of text in one statement.
    pub text_size: u32,
    /// What return values mean.
    pub return_mode: ReturnMode,
}

impl Default for RunLimits {
    fn default() -> Self {
        RunLimits {
            steps: 1_000_000,
            while_loops: 100,
            recursion: 256,
            text_size: 1 << 20,
            return_mode: ReturnMode::Truth,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The route's code: of `return`, `exit`, `drop`, else the value of its last statement.
    pub code: i64,
    /// `drop`.
    pub dropped: bool,
    /// `exit`, `return 0`, or a function that stopped the script.
    pub exited: bool,
    /// A bound on the whole run ended it.
    pub failed: bool,
}

impl Verdict {
    fn returned(code: i64) -> Verdict {
        Verdict { code, dropped: false, exited: false, failed: false }
    }

    pub(super) fn exited(code: i64) -> Verdict {
        Verdict { exited: true, ..Verdict::returned(code) }
    }

    fn dropped(code: i64) -> Verdict {
        Verdict { dropped: true, ..Verdict::returned(code) }
    }

    fn failed() -> Verdict {
        Verdict { failed: true, ..Verdict::returned(-1) }
    }
}

/// Statements after which the host is told that a run takes long: a millisecond, at a few microseconds each.
const STEPS_PER_TICK: u32 = 256;

/// The code of a call of a route that does not exist.
const CODE_OF_MISSING_ROUTE: i64 = -10;

/// A reusable machine: its spaces stay warm from run to run.
#[derive(Debug)]
pub struct Interpreter {
    limits: RunLimits,
    pub(super) values: Vec<Operand>,
    pub(super) scratch: Vec<u8>,
    pub(super) spare: Vec<u8>,
    frames: Vec<CallFrame>,
    pub(super) rounds: Vec<u32>,
    pub(super) patterns: HashMap<Box<[u8]>, Option<Regex>>,
}

impl Interpreter {
    /// A machine with these bounds.
    pub fn new(limits: RunLimits) -> Interpreter {
        Interpreter {
            limits,
            values: Vec::with_capacity(64),
            scratch: Vec::with_capacity(4096),
            spare: Vec::with_capacity(1024),
            frames: Vec::with_capacity(16),
            rounds: Vec::with_capacity(16),
            patterns: HashMap::new(),
        }
    }

    /// Runs a route to its end.
    pub fn run<H: Host>(&mut self, program: &Program, route: RouteId, host: &mut H) -> Verdict {
        let entry = program.routes[route.0 as usize].entry;
        Run::new(self, &program.code, Some(program), host, entry).finish()
    }

    /// Goes on after a call that interrupted a run of the same program, to the end of the route it stands in; the call
    /// was true. `None` when no run can have been interrupted there.
    pub fn resume<H: Host>(&mut self, program: &Program, point: u32, host: &mut H) -> Option<Verdict> {
        let on_failure = program.statement_of_interruption(point)?;
        let mut run = Run::new(self, &program.code, Some(program), host, point);
        run.frame.on_failure = on_failure;
        run.finish_call(1);
        Some(run.finish())
    }

    /// Evaluates a template outside of any route and appends its text to `out`.
    pub fn evaluate_template<H: Host>(
        &mut self,
        template: &CompiledTemplate,
        host: &mut H,
        out: &mut Vec<u8>,
    ) {
        let mut run = Run::new(self, &template.code, None, host, 0);
        run.finish();
        let Some(result) = run.machine.values.last().copied() else { return };
        value::with_text(run.resolve(result), |text| out.extend_from_slice(text));
    }
}

/// A value on the stack.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    Null,
    Integer(i64),
    /// In the scratch space.
    Scratch(Stretch),
    /// In the literals of the program.
    Literal(Stretch),
}

/// A route that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallFrame {
    /// Where its caller goes on.
    return_to: u32,
    /// Where it goes on itself when the statement is abandoned.
    on_failure: u32,
    /// Heights of the stacks when it began.
    pub(super) value_base: u32,
    scratch_base: u32,
    pub(super) round_base: u32,
    /// Its code so far.
    code: i64,
}

/// Why the machine leaves the ordinary course. Small, since every instruction says whether it does.
#[derive(Clone, Copy)]
pub(super) enum Stop {
    /// The statement is abandoned; the reason has been reported.
    Statement,
    /// The run is over, as the verdict says.
    Run,
}

pub(super) struct Run<'r, H> {
    pub(super) machine: &'r mut Interpreter,
    pub(super) code: &'r Code,
    pub(super) program: Option<&'r Program>,
    pub(super) host: &'r mut H,
    pub(super) frame: CallFrame,
    pub(super) next: u32,
    steps_left: u32,
    /// `$rc`
    last_code: i64,
    /// How the run ended, once it has.
    verdict: Verdict,
}

impl<'r, H: Host> Run<'r, H> {
    fn new(
        machine: &'r mut Interpreter,
        code: &'r Code,
        program: Option<&'r Program>,
        host: &'r mut H,
        entry: u32,
    ) -> Run<'r, H> {
        machine.values.clear();
        machine.scratch.clear();
        machine.frames.clear();
        machine.rounds.clear();
        let frame =
            CallFrame { return_to: 0, on_failure: 0, value_base: 0, scratch_base: 0, round_base: 0, code: 1 };
        let steps_left = machine.limits.steps;
        let verdict = Verdict::returned(1);
        Run { machine, code, program, host, frame, next: entry, steps_left, last_code: 0, verdict }
    }

    fn finish(&mut self) -> Verdict {
        loop {
            match self.step() {
                Ok(()) => {}
                Err(Stop::Statement) => self.abandon_statement(),
                Err(Stop::Run) => return self.verdict,
            }
        }
    }

    pub(super) fn end(&mut self, verdict: Verdict) -> Result<(), Stop> {
        self.verdict = verdict;
        Err(Stop::Run)
    }

    #[inline(always)]
    fn step(&mut self) -> Result<(), Stop> {
        let instruction = self.code.instructions[self.next as usize];
        self.next += 1;
        match instruction {
            Instruction::Begin(on_failure) => self.begin(on_failure)?,
            Instruction::Settle => self.frame.code = self.pop_integer(),
            Instruction::Succeed => self.frame.code = 1,
            Instruction::Clear => self.frame.code = 0,

            Instruction::Integer(number) => self.push(Operand::Integer(number)),
            Instruction::Text(stretch) => self.push(Operand::Literal(stretch)),
            Instruction::Null => self.push(Operand::Null),
            Instruction::LastCode => self.push(Operand::Integer(self.last_code)),
            Instruction::Read(place) => self.read(place)?,
            Instruction::Write(place) => self.write(place)?,
            Instruction::Transform(transformation, count) => {
                self.transform(transformation, usize::from(count))?;
            }
            Instruction::Join(count) => self.join(usize::from(count))?,

            Instruction::ToInteger => {
                let number = self.pop_integer();
                self.push(Operand::Integer(number));
            }
            Instruction::ToIntegerStrictly => self.convert_to_integer_strictly()?,
            Instruction::ToText => self.convert_to_text()?,
            Instruction::OneLine => self.flatten()?,
            Instruction::Shown => self.show(b"")?,
            Instruction::ShownLast => self.show(b"\n")?,
            Instruction::Positive => self.positive(),
            Instruction::Truth => self.map_integer(|number| i64::from(number != 0)),
            Instruction::Not => self.map_integer(|number| i64::from(number == 0)),
            Instruction::BitNot => self.map_integer(|number| !number),
            Instruction::Negate => self.map_integer(i64::wrapping_neg),
            Instruction::IsDefined => self.map(|value| i64::from(value != ValueRef::Null)),
            Instruction::IsEmpty => self.map(|value| i64::from(value::is_empty(value))),
            Instruction::Length => self.map(value::length),
            Instruction::Integers(operator) => self.integers(operator)?,
            Instruction::Add => self.add()?,
            Instruction::Equal => self.compare(value::equal),
            Instruction::TextEqual => self.compare(|left, right| Soft::sure(value::equal_text(left, right))),
            Instruction::AnyCaseEqual => {
                self.compare(|left, right| Soft::sure(value::equal_any_case(left, right)))
            }
            Instruction::AddressEqual => self.compare(|left, right| Soft::sure(equal_addresses(left, right))),
            Instruction::InNetwork(network) => {
                let network = &self.code.networks[network as usize];
                self.map(|value| i64::from(is_in_network(network, value)));
            }
            Instruction::Matches(regex) => {
                let regex = &self.code.regexes[regex as usize];
                self.map(|value| i64::from(value::with_text(value, |text| regex.is_match(text))));
            }
            Instruction::MatchesComputed => self.match_computed()?,

            Instruction::Jump(target) => self.next = target,
            Instruction::JumpUnless(target) => {
                if !self.pop_condition() {
                    self.next = target;
                }
            }
            Instruction::JumpIfFalse(target) => self.jump_if(target, false),
            Instruction::JumpIfTrue(target) => self.jump_if(target, true),
            Instruction::JumpUnlessInteger(target) => {
                if !matches!(self.top(), Operand::Integer(_)) {
                    self.next = target;
                }
            }
            Instruction::Switch(table) => self.switch(table),
            Instruction::EnterLoop => self.machine.rounds.push(0),
            Instruction::Round(on_too_many) => self.round(on_too_many),
            Instruction::LeaveLoop => {
                self.machine.rounds.pop();
            }

            Instruction::Call(call) => self.call(call)?,
            Instruction::CallRoute(route) => self.call_route(route),
            Instruction::CallRouteByName => self.call_route_by_name(),
            Instruction::Return => {
                let code = self.pop_integer();
                self.leave_by_return(code)?;
            }
            Instruction::FallOff => self.leave_route(self.frame.code)?,
            Instruction::Exit => {
                let code = self.pop_integer();
                return self.end(Verdict::exited(code));
            }
            Instruction::Drop => {
                let code = self.pop_integer();
                return self.end(Verdict::dropped(code));
            }
            Instruction::Finish => return Err(Stop::Run),
        }
        Ok(())
    }
}

/// Statements.
impl<H: Host> Run<'_, H> {
    #[inline]
    fn begin(&mut self, on_failure: u32) -> Result<(), Stop> {
        let Some(steps_left) = self.steps_left.checked_sub(1) else {
            let steps = self.machine.limits.steps;
            self.complain(
                Severity::Error,
                &format!("the script took more than {steps} steps and was stopped"),
            );
            return self.end(Verdict::failed());
        };
        debug_assert_eq!(
            self.machine.values.len(),
            self.frame.value_base as usize,
            "statements leave nothing behind"
        );
        self.steps_left = steps_left;
        if steps_left.is_multiple_of(STEPS_PER_TICK) {
            self.host.tick();
        }
        self.frame.on_failure = on_failure;
        self.machine.scratch.truncate(self.frame.scratch_base as usize);
        Ok(())
    }

    #[cold]
    fn abandon_statement(&mut self) {
        // Only a template has no statement around it; it ends as far as it came.
        if self.program.is_none() {
            self.next = self.code.instructions.len() as u32 - 1;
            self.machine.values.clear();
            return;
        }
        self.machine.values.truncate(self.frame.value_base as usize);
        self.frame.code = -1;
        self.next = self.frame.on_failure;
    }

    fn round(&mut self, on_too_many: u32) {
        let limit = self.machine.limits.while_loops;
        let Some(rounds) = self.machine.rounds.last_mut() else { return };
        if *rounds < limit {
            *rounds += 1;
            return;
        }
        self.complain(
            Severity::Error,
            &format!("the loop ran more than {limit} times and was ended (max_while_loops)"),
        );
        self.frame.code = -1;
        self.next = on_too_many;
    }

    fn switch(&mut self, table: u32) {
        let table = &self.code.switches[table as usize];
        let subject = self.pop();
        let target = match &table.labels {
            Labels::Integers(labels) => {
                let subject = self.integer_of(subject);
                labels.iter().find(|(label, _)| *label == subject).map(|(_, target)| *target)
            }
            Labels::Texts(labels) => value::with_text(self.resolve(subject), |subject| {
                labels.iter().find(|(label, _)| self.holds(label, subject)).map(|(_, target)| *target)
            }),
        };
        self.next = target.unwrap_or(table.otherwise);
    }

    fn holds(&self, label: &TextLabel, subject: &[u8]) -> bool {
        match label {
            TextLabel::Exactly(text) => text.of(&self.code.text) == subject,
            TextLabel::Matching(regex) => self.code.regexes[*regex as usize].is_match(subject),
        }
    }

    fn jump_if(&mut self, target: u32, wanted: bool) {
        let holds = self.pop_integer() != 0;
        if holds == wanted {
            self.push(Operand::Integer(i64::from(holds)));
            self.next = target;
        }
    }

    fn pop_condition(&mut self) -> bool {
        let number = self.pop_integer();
        match self.machine.limits.return_mode {
            ReturnMode::Truth => number > 0,
            ReturnMode::Raw => number != 0,
        }
    }

    fn positive(&mut self) {
        if self.machine.limits.return_mode == ReturnMode::Truth {
            self.map_integer(|number| i64::from(number > 0));
        }
    }
}

/// Routes.
impl<H: Host> Run<'_, H> {
    fn call_route(&mut self, route: RouteId) {
        let limit = self.machine.limits.recursion;
        if self.machine.frames.len() + 1 >= limit as usize {
            self.complain(
                Severity::Error,
                &format!("route() calls are nested more than {limit} levels deep (max_recursive_level)"),
            );
            self.finish_call(-1);
            return;
        }
        let Some(program) = self.program else { return self.finish_call(CODE_OF_MISSING_ROUTE) };
        self.machine.frames.push(CallFrame { return_to: self.next, ..self.frame });
        self.frame = CallFrame {
            return_to: 0,
            on_failure: 0,
            value_base: self.machine.values.len() as u32,
            scratch_base: self.machine.scratch.len() as u32,
            round_base: self.machine.rounds.len() as u32,
            code: 1,
        };
        self.next = program.routes[route.0 as usize].entry;
    }

    fn call_route_by_name(&mut self) {
        let name = self.pop();
        match self.find_route(RouteKind::Named, name) {
            Some(route) => self.call_route(route),
            None => {
                self.complain_of_missing_route(name);
                self.finish_call(CODE_OF_MISSING_ROUTE);
            }
        }
    }

    fn find_route(&self, kind: RouteKind, name: Operand) -> Option<RouteId> {
        value::with_text(self.resolve(name), |name| self.program?.route(kind, name))
    }

    fn leave_by_return(&mut self, code: i64) -> Result<(), Stop> {
        if code == 0 && self.machine.limits.return_mode == ReturnMode::Truth {
            return self.end(Verdict::exited(0));
        }
        self.leave_route(code)
    }

    fn leave_route(&mut self, code: i64) -> Result<(), Stop> {
        let Some(caller) = self.machine.frames.pop() else {
            return self.end(Verdict::returned(code));
        };
        self.machine.values.truncate(self.frame.value_base as usize);
        self.machine.scratch.truncate(self.frame.scratch_base as usize);
        self.machine.rounds.truncate(self.frame.round_base as usize);
        self.next = caller.return_to;
        self.frame = caller;
        self.finish_call(code);
        Ok(())
    }

    /// The code of a function or route is the result of the call, also in `$rc`.
    pub(super) fn finish_call(&mut self, code: i64) {
        self.last_code = code;
        self.push(Operand::Integer(code));
    }

    pub(super) fn complain_of_missing_route(&mut self, name: Operand) {
        let message = self.with_quoted(name, |name| format!("there is no route {name}"));
        self.complain(Severity::Error, &message);
    }
}

/// The stack, the scratch space, complaints.
impl<H: Host> Run<'_, H> {
    #[inline]
    pub(super) fn push(&mut self, value: Operand) {
        self.machine.values.push(value);
    }

    /// The checker balances pushes and pops; an empty stack reads as nothing rather than panics.
    #[inline]
    pub(super) fn pop(&mut self) -> Operand {
        self.machine.values.pop().unwrap_or(Operand::Null)
    }

    pub(super) fn top(&self) -> Operand {
        self.machine.values.last().copied().unwrap_or(Operand::Null)
    }

    #[inline]
    pub(super) fn pop_integer(&mut self) -> i64 {
        let value = self.pop();
        self.integer_of(value)
    }

    #[inline]
    pub(super) fn integer_of(&mut self, value: Operand) -> i64 {
        if let Operand::Integer(number) = value {
            return number;
        }
        let Soft { value: number, is_unreadable } = value::to_integer(self.resolve(value));
        if is_unreadable {
            self.complain_of_unreadable(value);
        }
        number
    }

    pub(super) fn resolve(&self, value: Operand) -> ValueRef<'_> {
        Texts { scratch: &self.machine.scratch, literals: &self.code.text }.resolve(value)
    }

    /// Appends a value, as text, to the scratch space.
    pub(super) fn append(&mut self, value: Operand) {
        let scratch = &mut self.machine.scratch;
        match value {
            Operand::Null => {}
            Operand::Integer(number) => scratch.extend_from_slice(value::Decimal::of(number).as_bytes()),
            Operand::Scratch(stretch) => {
                scratch.extend_from_within(stretch.start as usize..stretch.end as usize)
            }
            Operand::Literal(stretch) => scratch.extend_from_slice(stretch.of(&self.code.text)),
        }
    }

    pub(super) fn push_reading(&mut self, reading: Reading, start: usize) -> Result<(), Stop> {
        match reading {
            Reading::Null => self.push(Operand::Null),
            Reading::Integer(number) => self.push(Operand::Integer(number)),
            Reading::Text => return self.push_text_since(start),
        }
        Ok(())
    }

    /// Pushes what was appended to the scratch space since it had this size.
    pub(super) fn push_text_since(&mut self, start: usize) -> Result<(), Stop> {
        let (end, limit) = (self.machine.scratch.len(), self.machine.limits.text_size);
        if end > limit as usize {
            return self.abandon(&format!("more than {limit} bytes of text in one statement"));
        }
        self.push(Operand::Scratch(Stretch { start: start as u32, end: end as u32 }));
        Ok(())
    }

    #[cold]
    pub(super) fn abandon(&mut self, message: &str) -> Result<(), Stop> {
        self.complain(Severity::Error, message);
        Err(Stop::Statement)
    }

    #[cold]
    pub(super) fn complain_of_unreadable(&mut self, value: Operand) {
        let message = self.with_quoted(value, |text| format!("{text} is not an integer, 0 is used"));
        self.complain(Severity::Warning, &message);
    }

    #[cold]
    fn complain(&mut self, severity: Severity, message: &str) {
        let place = self.code.line_of(self.next.saturating_sub(1));
        self.host.complain(severity, place, message);
    }

    /// A value in quotes, shortened, for a complaint.
    pub(super) fn with_quoted(&self, value: Operand, use_text: impl FnOnce(&str) -> String) -> String {
        const SHOWN_SIZE_MAX: usize = 64;
        value::with_text(self.resolve(value), |text| {
            let shown = &text[..text.len().min(SHOWN_SIZE_MAX)];
            let rest = if shown.len() < text.len() { "…" } else { "" };
            use_text(&format!("\"{}{rest}\"", shown.escape_ascii()))
        })
    }
}
