//! Expressions: what kind each is, which mixtures are mistakes, and the instructions they become.
//!
//! Kinds known here are those of literals and of operators with one possible result. A variable may hold anything, so
//! only literals that can never be right are refused: `1 == "1"`, `1 + "2"`, `"2" - 1`, `!"abc"`.

use super::ast::{
    BinaryOperator, Expression, ExpressionKind, Name, SelectStep, Span, Text, UnaryOperator, Variable,
};
use super::catalog::{VariableHandle, Yields};
use super::check::{Checker, NESTING_MAX};
use super::check_route::Constant;
use super::network::Network;
use super::pattern::{self, LetterCase};
use super::program::{Instruction, KeySource, PlaceShape, PositionShape};
use super::value;

/// What is known about the value of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unknown,
    Integer,
    Text,
}

/// How `==` with this on the left compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    ByLeft,
    AnyCase,
    Address,
}

/// A checked expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) kind: Kind,
    comparison: Comparison,
}

impl Known {
    pub(super) fn of(kind: Kind) -> Known {
        Known { kind, comparison: Comparison::ByLeft }
    }

    fn of_handle(handle: VariableHandle) -> Known {
        let comparison = match handle.yields {
            Yields::TextAnyCase => Comparison::AnyCase,
            Yields::Address => Comparison::Address,
            _ => Comparison::ByLeft,
        };
        Known { kind: Kind::Unknown, comparison }
    }
}

/// What the code of a function is inside an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codes {
    /// Itself: `$var(r) = f();`
    Raw,
    /// 1 if above 0, else 0.
    Truth,
}

impl Checker<'_> {
    /// Checks an expression; it leaves one value.
    pub(super) fn expression(&mut self, expression: &Expression, codes: Codes) -> Known {
        let known = self.nested(expression.span, |checker| checker.expression_here(expression, codes));
        known.unwrap_or_else(|| self.nothing())
    }

    fn expression_here(&mut self, expression: &Expression, codes: Codes) -> Known {
        match &expression.kind {
            ExpressionKind::Number(number) => {
                self.emit(Instruction::Integer(*number));
                Known::of(Kind::Integer)
            }
            ExpressionKind::Text(text) => {
                self.assembler.push_text(&text.bytes);
                Known::of(Kind::Text)
            }
            ExpressionKind::Address(name) => {
                self.assembler.push_text(name.text.as_bytes());
                Known::of(Kind::Text)
            }
            ExpressionKind::Variable(variable) => {
                self.variable(variable);
                Known::of(Kind::Unknown)
            }
            ExpressionKind::Select(steps) => self.select(expression.span, steps),
            ExpressionKind::Word(name) => self.word(name),
            ExpressionKind::Call(call) => {
                self.call(call, codes);
                Known::of(if call.name.text == "selval" { Kind::Unknown } else { Kind::Integer })
            }
            ExpressionKind::Assign { target, value } => {
                self.assign(target, value);
                Known::of(Kind::Integer)
            }
            ExpressionKind::Unary(operator, operand) => self.unary(*operator, operand),
            ExpressionKind::Binary(..) => self.binary(expression),
            ExpressionKind::Group(inner) => self.expression(inner, codes),
        }
    }

    /// The value that stands in for one that cannot be had.
    pub(super) fn nothing(&mut self) -> Known {
        self.emit(Instruction::Null);
        Known::of(Kind::Unknown)
    }

    /// `target = value`: leaves 1. Literal text is taken as it stands, variables in it are not replaced.
    pub(super) fn assign(&mut self, target: &Variable, value: &Expression) {
        let place = self.place(target, "assigned");
        if let Some(shape) = place
            && !shape.variable.is_writable
        {
            self.error(target.span, format!("${} can be read, not assigned", target.name.text));
        }
        self.expression(value, Codes::Raw);
        match place {
            Some(shape) => {
                let number = self.assembler.place(shape);
                self.emit(Instruction::Write(number));
            }
            None => self.emit(Instruction::ToInteger),
        }
    }

    fn select(&mut self, span: Span, steps: &[SelectStep]) -> Known {
        let path = select_path(steps);
        match self.catalog.select(&path) {
            Ok(handle) => self.read_handle(handle),
            Err(complaint) => {
                self.refuse(span, complaint);
                self.nothing()
            }
        }
    }

    fn word(&mut self, name: &Name) -> Known {
        match self.catalog.word(&name.text) {
            Ok(handle) if handle.yields == Yields::Myself => {
                let message = format!("`{}` can only stand beside == or !=", name.text);
                self.error_with_help(name.span, message, "write for example `uri == myself`");
                self.nothing()
            }
            Ok(handle) => self.read_handle(handle),
            Err(complaint) => {
                self.refuse(name.span, complaint);
                self.nothing()
            }
        }
    }

    fn read_handle(&mut self, variable: VariableHandle) -> Known {
        let shape = PlaceShape { variable, key: KeySource::Handle, position: PositionShape::Unset };
        let number = self.assembler.place(shape);
        self.emit(Instruction::Read(number));
        Known::of_handle(variable)
    }

    fn unary(&mut self, operator: UnaryOperator, operand: &Expression) -> Known {
        if let (UnaryOperator::Negate, ExpressionKind::Number(number)) = (operator, &operand.kind) {
            self.emit(Instruction::Integer(number.wrapping_neg()));
            return Known::of(Kind::Integer);
        }
        let known = self.expression(operand, Codes::Truth);
        let instruction = match operator {
            UnaryOperator::Not => Instruction::Not,
            UnaryOperator::BitNot => Instruction::BitNot,
            UnaryOperator::Negate => Instruction::Negate,
            UnaryOperator::Defined => Instruction::IsDefined,
            UnaryOperator::ToInteger => Instruction::ToInteger,
            UnaryOperator::ToText => Instruction::ToText,
            UnaryOperator::Length => Instruction::Length,
            UnaryOperator::IsEmpty => Instruction::IsEmpty,
        };
        if matches!(operator, UnaryOperator::Not | UnaryOperator::BitNot | UnaryOperator::Negate) {
            self.need_integer(known.kind, operand.span);
        }
        self.emit(instruction);
        Known::of(if operator == UnaryOperator::ToText { Kind::Text } else { Kind::Integer })
    }

    fn need_integer(&mut self, kind: Kind, span: Span) {
        if kind == Kind::Text {
            self.error(span, "an integer is needed here, this is text");
        }
    }
}

/// Two operands.
impl Checker<'_> {
    /// Chains such as `a || b || c` lean to the left; they are walked, so that their length does not count as depth.
    fn binary(&mut self, expression: &Expression) -> Known {
        let mut chain = Vec::new();
        let mut first = expression;
        while let ExpressionKind::Binary(operator, left, right) = &first.kind {
            chain.push((*operator, &**left, &**right));
            first = left;
        }
        let Some((operator, left, right)) = chain.pop() else { return self.nothing() };
        let (is_negated, left) = negated_word(operator, left);
        // `"" == $x`, `$null != $x`, `myself == uri`: these decide how the other side is looked at.
        let is_turned = is_equality(operator) && self.is_telling(left) && !self.is_telling(right);
        let (left, right) = if is_turned { (right, left) } else { (left, right) };
        let mut known = self.expression(left, Codes::Truth);
        known = self.operation(operator, known, left.span, right);
        if is_negated {
            self.emit(Instruction::Not);
        }
        let mut span =
            Span { start: left.span.start.min(right.span.start), end: left.span.end.max(right.span.end) };
        while let Some((operator, _, right)) = chain.pop() {
            known = self.operation(operator, known, span, right);
            span.end = right.span.end;
        }
        known
    }

    /// The left operand is on the stack.
    fn operation(
        &mut self,
        operator: BinaryOperator,
        left: Known,
        left_span: Span,
        right: &Expression,
    ) -> Known {
        use BinaryOperator::*;
        match operator {
            Or => self.logical(Instruction::JumpIfTrue, left, left_span, right),
            And => self.logical(Instruction::JumpIfFalse, left, left_span, right),
            Equal => self.equality(left, right),
            NotEqual => {
                let plain = self.equality(left, right);
                self.emit(Instruction::Not);
                plain
            }
            Matches => self.matches(left, left_span, right),
            TextEqual | TextNotEqual => {
                let known = self.expression(right, Codes::Truth);
                self.refuse_mixture(left.kind, known.kind, right.span);
                self.emit(Instruction::TextEqual);
                if operator == TextNotEqual {
                    self.emit(Instruction::Not);
                }
                Known::of(Kind::Integer)
            }
            Add | Join => self.sum(left, right),
            _ => {
                self.need_integer(left.kind, left_span);
                let known = self.expression(right, Codes::Truth);
                self.need_integer(known.kind, right.span);
                self.emit(Instruction::Integers(operator));
                Known::of(Kind::Integer)
            }
        }
    }

    fn logical(
        &mut self,
        skip: fn(u32) -> Instruction,
        left: Known,
        left_span: Span,
        right: &Expression,
    ) -> Known {
        self.need_integer(left.kind, left_span);
        let end = self.assembler.jump(skip);
        let known = self.expression(right, Codes::Truth);
        self.need_integer(known.kind, right.span);
        self.emit(Instruction::Truth);
        self.assembler.land(end);
        Known::of(Kind::Integer)
    }

    fn sum(&mut self, left: Known, right: &Expression) -> Known {
        let known = self.expression(right, Codes::Truth);
        self.refuse_mixture(left.kind, known.kind, right.span);
        self.emit(Instruction::Add);
        Known::of(left.kind)
    }

    /// An integer on the left makes the right one be read as an integer; literal text can never be meant.
    fn refuse_mixture(&mut self, left: Kind, right: Kind, right_span: Span) {
        if left == Kind::Integer && right == Kind::Text {
            self.error(right_span, "the left side is an integer, this is text");
        }
    }

    /// `==`, as 0 or 1.
    fn equality(&mut self, left: Known, right: &Expression) -> Known {
        let result = Known::of(Kind::Integer);
        match &ungrouped(right).kind {
            ExpressionKind::Variable(variable) if is_null(variable) => {
                self.emit(Instruction::IsDefined);
                self.emit(Instruction::Not);
            }
            ExpressionKind::Text(text) if text.bytes.is_empty() => {
                self.refuse_mixture(left.kind, Kind::Text, right.span);
                self.emit(Instruction::IsEmpty);
            }
            ExpressionKind::Address(name) => self.in_network(name.text.as_bytes(), name.span),
            ExpressionKind::Text(text) if left.comparison == Comparison::Address => {
                self.in_network(&text.bytes, text.span);
            }
            ExpressionKind::Word(name) => self.equal_to_word(left, name),
            _ => {
                let known = self.expression(right, Codes::Truth);
                self.refuse_mixture(left.kind, known.kind, right.span);
                self.emit(match (left.comparison, known.comparison) {
                    (Comparison::ByLeft, _) => Instruction::Equal,
                    (Comparison::AnyCase, _) => Instruction::AnyCaseEqual,
                    (Comparison::Address, _) => Instruction::AddressEqual,
                });
            }
        }
        result
    }

    /// `src_ip == myself`, `method == INVITE`, `from_uri == to_uri`.
    fn equal_to_word(&mut self, left: Known, name: &Name) {
        match self.catalog.word(&name.text) {
            Ok(handle) if handle.yields == Yields::Myself => {
                self.emit(Instruction::ToText);
                let shape =
                    PlaceShape { variable: handle, key: KeySource::Computed, position: PositionShape::Unset };
                let number = self.assembler.place(shape);
                self.emit(Instruction::Read(number));
                self.emit(Instruction::Truth);
            }
            Ok(handle) => {
                self.read_handle(handle);
                self.emit(match left.comparison {
                    Comparison::ByLeft => Instruction::Equal,
                    Comparison::AnyCase => Instruction::AnyCaseEqual,
                    Comparison::Address => Instruction::AddressEqual,
                });
            }
            // Words such as INVITE or UDP are text beside a word that compares as such.
            Err(_) if left.comparison == Comparison::AnyCase => {
                self.assembler.push_text(name.text.as_bytes());
                self.emit(Instruction::AnyCaseEqual);
            }
            Err(complaint) => {
                self.refuse(name.span, complaint);
                self.emit(Instruction::Truth);
            }
        }
    }

    fn in_network(&mut self, text: &[u8], span: Span) {
        match Network::parse(text) {
            Some(network) => {
                let number = self.assembler.network(network);
                self.emit(Instruction::InNetwork(number));
            }
            None => {
                let message = format!("\"{}\" is not an address or a network", text.escape_ascii());
                self.error_with_help(
                    span,
                    message,
                    "write for example 10.0.0.1, 10.0.0.0/8 or [::1]; host names are not looked up",
                );
                self.emit(Instruction::Truth);
            }
        }
    }

    fn matches(&mut self, left: Known, left_span: Span, right: &Expression) -> Known {
        if left.kind == Kind::Integer {
            self.error(left_span, "text is needed before =~, this is an integer");
        }
        match self.constant(right) {
            Some(constant) => {
                let pattern = match constant {
                    Constant::Text(bytes) => bytes,
                    Constant::Integer(number) => number.to_string().into_bytes(),
                };
                match self.regex(&pattern, right.span, LetterCase::Ignored) {
                    Some(regex) => self.emit(Instruction::Matches(regex)),
                    None => self.emit(Instruction::Truth),
                }
            }
            None => {
                self.expression(right, Codes::Truth);
                self.emit(Instruction::MatchesComputed);
            }
        }
        Known::of(Kind::Integer)
    }

    /// Compiles a regular expression written in the script.
    pub(super) fn regex(&mut self, pattern: &[u8], span: Span, letter_case: LetterCase) -> Option<u32> {
        if let Some(letter) = pattern::misleading_escape(pattern) {
            let message = format!("\"\\{letter}\" is the letter \"{letter}\" in these regular expressions");
            self.warn(span, message, Some("write [0-9] for a digit, [[:space:]] for a space"));
        }
        match pattern::compile(pattern, letter_case) {
            Ok(regex) => Some(self.assembler.regex(regex)),
            Err(why) => {
                self.error(span, format!("this regular expression cannot be used: {why}"));
                None
            }
        }
    }

    /// Whether this operand of `==` says how the other one is looked at: nothing, empty text, `myself`, an address.
    fn is_telling(&mut self, expression: &Expression) -> bool {
        match &ungrouped(expression).kind {
            ExpressionKind::Variable(variable) => is_null(variable),
            ExpressionKind::Text(Text { bytes, .. }) => bytes.is_empty(),
            ExpressionKind::Address(_) => true,
            ExpressionKind::Word(name) => {
                self.catalog.word(&name.text).is_ok_and(|handle| handle.yields == Yields::Myself)
            }
            _ => false,
        }
    }
}

/// Values known while checking.
impl Checker<'_> {
    /// The value of an expression made of literals.
    pub(super) fn constant(&self, expression: &Expression) -> Option<Constant> {
        constant_within(expression, NESTING_MAX)
    }
}

/// What is nested deeper is reported where it is checked; here it is just not a constant.
fn constant_within(expression: &Expression, depth_left: u32) -> Option<Constant> {
    let depth_left = depth_left.checked_sub(1)?;
    match &expression.kind {
        ExpressionKind::Number(number) => Some(Constant::Integer(*number)),
        ExpressionKind::Text(text) => Some(Constant::Text(text.bytes.clone())),
        ExpressionKind::Group(inner) => constant_within(inner, depth_left),
        ExpressionKind::Unary(operator, operand) => match (operator, constant_within(operand, depth_left)?) {
            (UnaryOperator::Negate, Constant::Integer(number)) => {
                Some(Constant::Integer(number.wrapping_neg()))
            }
            (UnaryOperator::BitNot, Constant::Integer(number)) => Some(Constant::Integer(!number)),
            _ => None,
        },
        ExpressionKind::Binary(operator, left, right) => {
            match (constant_within(left, depth_left)?, operator, constant_within(right, depth_left)?) {
                (Constant::Integer(left), _, Constant::Integer(right)) => {
                    value::integer_operation(*operator, left, right).ok().map(Constant::Integer)
                }
                (Constant::Text(left), BinaryOperator::Add | BinaryOperator::Join, right) => {
                    Some(Constant::Text([left, right.into_text()].concat()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

impl Constant {
    fn into_text(self) -> Vec<u8> {
        match self {
            Constant::Integer(number) => number.to_string().into_bytes(),
            Constant::Text(bytes) => bytes,
        }
    }
}

/// A core word stands only in comparisons, so `!method == "ACK"` says that the method is another: the comparison is
/// negated, not the word.
fn negated_word(operator: BinaryOperator, left: &Expression) -> (bool, &Expression) {
    use BinaryOperator::*;
    let is_comparison =
        matches!(operator, Equal | NotEqual | Matches | Greater | Less | GreaterOrEqual | LessOrEqual);
    match &left.kind {
        ExpressionKind::Unary(UnaryOperator::Not, inner)
            if is_comparison && matches!(inner.kind, ExpressionKind::Word(_)) =>
        {
            (true, inner)
        }
        _ => (false, left),
    }
}

fn is_equality(operator: BinaryOperator) -> bool {
    matches!(operator, BinaryOperator::Equal | BinaryOperator::NotEqual)
}

fn is_null(variable: &Variable) -> bool {
    variable.name.text == "null" && variable.key.is_none() && variable.transformations.is_empty()
}

fn ungrouped(mut expression: &Expression) -> &Expression {
    while let ExpressionKind::Group(inner) = &expression.kind {
        expression = inner;
    }
    expression
}

fn select_path(steps: &[SelectStep]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            SelectStep::Name(name) if path.is_empty() => path.push_str(&name.text),
            SelectStep::Name(name) => path.push_str(&format!(".{}", name.text)),
            SelectStep::Index(index) => path.push_str(&format!("[{index}]")),
            SelectStep::Key(key) => path.push_str(&format!("[\"{}\"]", String::from_utf8_lossy(&key.bytes))),
        }
    }
    path
}
