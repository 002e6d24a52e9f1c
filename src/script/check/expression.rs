//! Expressions: what kind each is, which mixtures are mistakes, and the instructions they become.
//!
//! Kinds known here are those of literals and of operators with one possible result. A variable may hold anything, so
//! only literals that can never be right are refused: `1 == "1"`, `1 + "2"`, `"2" - 1`, `!"abc"`.

use super::Checker;
use crate::script::ast::{
    BinaryOperator, Expression, ExpressionKind, Name, RouteKind, SelectStep, Span, Text, UnaryOperator,
    Variable,
};
use crate::script::catalog::{VariableHandle, Yields};
use crate::script::diagnostic::Diagnostic;
use crate::script::diagnostic::nearest;
use crate::script::program::{Instruction, KeySource, PlaceShape, PositionShape};

/// What is known about the value of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaticType {
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
pub(super) struct CheckedExpression {
    pub(super) kind: StaticType,
    comparison: Comparison,
}

impl CheckedExpression {
    pub(super) fn of(kind: StaticType) -> CheckedExpression {
        CheckedExpression { kind, comparison: Comparison::ByLeft }
    }

    fn of_handle(handle: VariableHandle) -> CheckedExpression {
        let comparison = match handle.yields {
            Yields::TextAnyCase => Comparison::AnyCase,
            Yields::Address => Comparison::Address,
            _ => Comparison::ByLeft,
        };
        CheckedExpression { kind: StaticType::Unknown, comparison }
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

/// What the surroundings make of the value of an expression.
///
/// It matters for `+` alone: where a number is wanted (conditions, operands of `-`, `<`, `&&`, …) it adds, even if its
/// left operand turns out to be text; elsewhere its left operand decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Anything,
    Integer,
}

/// One operator of a chain that leans to the left, with its right operand.
struct Link<'e> {
    operator: BinaryOperator,
    right: &'e Expression,
    wanted: Wanted,
}

/// Words about the message being sent.
const ONSEND_WORDS: [&str; 8] =
    ["snd_ip", "snd_port", "snd_proto", "snd_af", "to_ip", "to_port", "to_proto", "to_af"];

impl Checker<'_> {
    /// Checks an expression; it leaves one value.
    pub(super) fn expression(&mut self, expression: &Expression, codes: Codes) -> CheckedExpression {
        self.wanted_expression(expression, codes, Wanted::Anything)
    }

    /// The same where the value is used as an integer.
    pub(super) fn integer_expression(&mut self, expression: &Expression) -> CheckedExpression {
        self.wanted_expression(expression, Codes::Truth, Wanted::Integer)
    }

    fn wanted_expression(
        &mut self,
        expression: &Expression,
        codes: Codes,
        wanted: Wanted,
    ) -> CheckedExpression {
        let known =
            self.nested(expression.span, |checker| checker.expression_here(expression, codes, wanted));
        known.unwrap_or_else(|| self.nothing())
    }

    fn expression_here(
        &mut self,
        expression: &Expression,
        codes: Codes,
        wanted: Wanted,
    ) -> CheckedExpression {
        match &expression.kind {
            ExpressionKind::Number(number) => {
                self.emit(Instruction::Integer(*number));
                CheckedExpression::of(StaticType::Integer)
            }
            ExpressionKind::Text(text) => {
                self.assembler.push_text(&text.bytes);
                CheckedExpression::of(StaticType::Text)
            }
            ExpressionKind::Address(name) => {
                self.assembler.push_text(name.text.as_bytes());
                CheckedExpression::of(StaticType::Text)
            }
            ExpressionKind::Variable(variable) => {
                self.variable(variable);
                CheckedExpression::of(StaticType::Unknown)
            }
            ExpressionKind::Select(steps) => self.select(expression.span, steps),
            ExpressionKind::Word(name) => self.word(name),
            ExpressionKind::Call(call) => {
                self.call(call, codes);
                CheckedExpression::of(if call.name.text == "selval" {
                    StaticType::Unknown
                } else {
                    StaticType::Integer
                })
            }
            ExpressionKind::Assign { target, value } => {
                self.assign(target, value);
                CheckedExpression::of(StaticType::Integer)
            }
            ExpressionKind::Unary(operator, operand) => self.unary(*operator, operand),
            ExpressionKind::Binary(..) => self.binary(expression, wanted),
            ExpressionKind::Group(inner) => self.wanted_expression(inner, codes, wanted),
        }
    }

    /// The value that stands in for one that cannot be had.
    pub(super) fn nothing(&mut self) -> CheckedExpression {
        self.emit(Instruction::Null);
        CheckedExpression::of(StaticType::Unknown)
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

    fn select(&mut self, span: Span, steps: &[SelectStep]) -> CheckedExpression {
        let path = select_path(steps);
        match self.catalog.select(&path) {
            Ok(handle) => self.read_handle(handle),
            Err(mistake) => {
                self.refuse(span, mistake);
                self.nothing()
            }
        }
    }

    /// A core word; those about the message being sent mean something only while one is.
    fn known_word(&mut self, name: &Name) -> Result<VariableHandle, Diagnostic> {
        if ONSEND_WORDS.contains(&name.text.as_str()) && self.route_kind() != Some(RouteKind::OnSend) {
            return Err(Diagnostic::mistake(format!("`{}` has a value only in onsend_route", name.text)));
        }
        self.catalog.word(&name.text)
    }

    fn word(&mut self, name: &Name) -> CheckedExpression {
        match self.known_word(name) {
            Ok(handle) if handle.yields == Yields::Myself => {
                let message = format!("`{}` can only be used with == or !=", name.text);
                self.error_with_help(name.span, message, "write for example `uri == myself`");
                self.nothing()
            }
            Ok(handle) => self.read_handle(handle),
            Err(mistake) => {
                self.refuse(name.span, mistake);
                self.nothing()
            }
        }
    }

    fn read_handle(&mut self, variable: VariableHandle) -> CheckedExpression {
        let shape = PlaceShape { variable, key: KeySource::Handle, position: PositionShape::Unset };
        let number = self.assembler.place(shape);
        self.emit(Instruction::Read(number));
        CheckedExpression::of_handle(variable)
    }

    fn unary(&mut self, operator: UnaryOperator, operand: &Expression) -> CheckedExpression {
        if let (UnaryOperator::Negate, ExpressionKind::Number(number)) = (operator, &operand.kind) {
            self.emit(Instruction::Integer(number.wrapping_neg()));
            return CheckedExpression::of(StaticType::Integer);
        }
        let known = match operator {
            UnaryOperator::Not | UnaryOperator::BitNot | UnaryOperator::Negate | UnaryOperator::ToInteger => {
                self.integer_expression(operand)
            }
            _ => self.expression(operand, Codes::Truth),
        };
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
        CheckedExpression::of(if operator == UnaryOperator::ToText {
            StaticType::Text
        } else {
            StaticType::Integer
        })
    }

    fn need_integer(&mut self, kind: StaticType, span: Span) {
        if kind == StaticType::Text {
            self.error(span, "an integer is needed here, this is text");
        }
    }
}

/// Two operands.
impl Checker<'_> {
    /// Chains such as `a || b || c` lean to the left; they are walked, so that their length does not count as depth.
    fn binary(&mut self, expression: &Expression, wanted: Wanted) -> CheckedExpression {
        let (left, mut chain) = links(expression, wanted);
        let Some(Link { operator, right, wanted }) = chain.pop() else { return self.nothing() };
        let (is_negated, left) = negated_word(operator, left);
        // `"" == $x`, `myself == uri`: these decide how the other side is looked at. `$null` does so on the right only:
        // on the left it is a value like others, the same as 0 and as empty text.
        let is_value = matches!(&ungrouped(left).kind, ExpressionKind::Variable(_));
        let is_turned = is_equality(operator)
            && !is_value
            && self.is_telling(left)
            && !self.is_telling(right)
            && kind_of(right) != StaticType::Integer;
        let (left, right) = if is_turned { (right, left) } else { (left, right) };
        let left_wanted = wanted_on_the_left(operator, kind_of(left), wanted);
        let mut known = self.wanted_expression(left, Codes::Truth, left_wanted);
        known = self.operation(operator, known, left.span, right, wanted);
        if is_negated {
            self.emit(Instruction::Not);
        }
        let mut span =
            Span { start: left.span.start.min(right.span.start), end: left.span.end.max(right.span.end) };
        while let Some(Link { operator, right, wanted }) = chain.pop() {
            known = self.operation(operator, known, span, right, wanted);
            span.end = right.span.end;
        }
        known
    }

    /// The left operand is on the stack.
    fn operation(
        &mut self,
        operator: BinaryOperator,
        left: CheckedExpression,
        left_span: Span,
        right: &Expression,
        wanted: Wanted,
    ) -> CheckedExpression {
        use BinaryOperator::*;
        if matches!(operator, Equal | NotEqual) {
            self.refuse_value_of_word(left_span, right);
        }
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
                if matches!(&ungrouped(right).kind, ExpressionKind::Variable(variable) if is_null(variable)) {
                    self.emit(Instruction::IsDefined);
                    self.emit(Instruction::Not);
                } else {
                    let known = self.expression(right, Codes::Truth);
                    self.refuse_mixture(left.kind, known.kind, right.span);
                    self.emit(Instruction::TextEqual);
                }
                if operator == TextNotEqual {
                    self.emit(Instruction::Not);
                }
                CheckedExpression::of(StaticType::Integer)
            }
            Add if left.kind != StaticType::Text && wanted == Wanted::Integer => {
                self.sum_of_integers(left, right)
            }
            Add | Join => self.sum(left, right),
            _ => {
                self.need_integer(left.kind, left_span);
                let known = self.integer_expression(right);
                self.need_integer(known.kind, right.span);
                self.emit(Instruction::Integers(operator));
                CheckedExpression::of(StaticType::Integer)
            }
        }
    }

    /// `proto == UPD` would never hold.
    fn refuse_value_of_word(&mut self, left: Span, right: &Expression) {
        let (Some(source), ExpressionKind::Word(value)) = (self.source, &ungrouped(right).kind) else {
            return;
        };
        let word = String::from_utf8_lossy(source.text(left)).into_owned();
        let values = self.catalog.values_of_word(&word);
        if values.is_empty() || values.iter().any(|known| known.eq_ignore_ascii_case(&value.text)) {
            return;
        }
        let near = nearest(&value.text, values.iter().copied());
        let near = near.map_or(String::new(), |near| format!("did you mean {near}? "));
        let message = format!("`{word}` is never `{}`", value.text);
        self.error_with_help(value.span, message, format!("{near}it is one of {}", values.join(", ")));
    }

    fn logical(
        &mut self,
        skip: fn(u32) -> Instruction,
        left: CheckedExpression,
        left_span: Span,
        right: &Expression,
    ) -> CheckedExpression {
        self.need_integer(left.kind, left_span);
        let end = self.assembler.jump(skip);
        let known = self.integer_expression(right);
        self.need_integer(known.kind, right.span);
        self.emit(Instruction::Truth);
        self.assembler.land(end);
        CheckedExpression::of(StaticType::Integer)
    }

    fn sum(&mut self, left: CheckedExpression, right: &Expression) -> CheckedExpression {
        let known = self.beside(left, right);
        self.refuse_mixture(left.kind, known.kind, right.span);
        self.emit(Instruction::Add);
        CheckedExpression::of(left.kind)
    }

    fn sum_of_integers(&mut self, left: CheckedExpression, right: &Expression) -> CheckedExpression {
        let known = self.integer_expression(right);
        self.refuse_mixture(left.kind, known.kind, right.span);
        self.emit(Instruction::Integers(BinaryOperator::Add));
        CheckedExpression::of(left.kind)
    }

    /// The right operand of an operator whose left one, on the stack, decides what is wanted: an integer beside an
    /// integer. Where only the running script shows that, a sum is written twice, once for each case.
    fn beside(&mut self, left: CheckedExpression, right: &Expression) -> CheckedExpression {
        match left.kind {
            StaticType::Integer => self.integer_expression(right),
            StaticType::Unknown if is_open_sum(right) => {
                let otherwise = self.assembler.jump(Instruction::JumpUnlessInteger);
                self.integer_expression(right);
                let end = self.assembler.jump(Instruction::Jump);
                self.assembler.land(otherwise);
                let told_count = self.diagnostics.len();
                let known = self.expression(right, Codes::Truth);
                self.diagnostics.truncate(told_count);
                self.assembler.land(end);
                known
            }
            _ => self.expression(right, Codes::Truth),
        }
    }

    /// An integer on the left makes the right one be read as an integer; literal text can never be meant.
    fn refuse_mixture(&mut self, left: StaticType, right: StaticType, right_span: Span) {
        if left == StaticType::Integer && right == StaticType::Text {
            self.error(right_span, "the left side is an integer, this is text");
        }
    }

    /// `==`, as 0 or 1.
    fn equality(&mut self, left: CheckedExpression, right: &Expression) -> CheckedExpression {
        let result = CheckedExpression::of(StaticType::Integer);
        match &ungrouped(right).kind {
            ExpressionKind::Variable(variable) if is_null(variable) => {
                self.emit(Instruction::IsDefined);
                self.emit(Instruction::Not);
            }
            ExpressionKind::Text(text) if text.bytes.is_empty() => {
                self.refuse_mixture(left.kind, StaticType::Text, right.span);
                self.emit(Instruction::IsEmpty);
            }
            ExpressionKind::Address(name) => self.in_network(name.text.as_bytes(), name.span),
            ExpressionKind::Text(text) if left.comparison == Comparison::Address => {
                self.in_network(&text.bytes, text.span);
            }
            ExpressionKind::Word(name) => self.equal_to_word(left, name),
            _ => {
                let known = self.beside(left, right);
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
    fn equal_to_word(&mut self, left: CheckedExpression, name: &Name) {
        match self.known_word(name) {
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
            Err(mistake) => {
                self.refuse(name.span, mistake);
                self.emit(Instruction::Truth);
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
                self.known_word(name).is_ok_and(|handle| handle.yields == Yields::Myself)
            }
            _ => false,
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

/// The leftmost operand of a chain, and the operators over it, outermost first, each with what is wanted of it.
fn links(expression: &Expression, wanted: Wanted) -> (&Expression, Vec<Link<'_>>) {
    let mut chain = Vec::new();
    let mut leftmost = expression;
    while let ExpressionKind::Binary(operator, left, right) = &leftmost.kind {
        chain.push(Link { operator: *operator, right, wanted });
        leftmost = left;
    }
    let mut kinds = vec![kind_of(leftmost)];
    for link in chain.iter().rev() {
        kinds.push(kind_of_operation(link.operator, kinds[kinds.len() - 1]));
    }
    // The kind of everything left of an operator, counted from the last one.
    kinds.pop();
    let mut wanted = wanted;
    for link in &mut chain {
        link.wanted = wanted;
        wanted = wanted_on_the_left(link.operator, kinds.pop().unwrap_or(StaticType::Unknown), wanted);
    }
    (leftmost, chain)
}

/// What an operator makes of the value on its left, `wanted` being what is made of its own.
fn wanted_on_the_left(operator: BinaryOperator, left: StaticType, wanted: Wanted) -> Wanted {
    use BinaryOperator::*;
    match operator {
        Add if left == StaticType::Text => Wanted::Anything,
        Add => wanted,
        Join | Equal | NotEqual | Matches | TextEqual | TextNotEqual => Wanted::Anything,
        _ => Wanted::Integer,
    }
}

/// What is known of the value of an expression without checking it.
fn kind_of(expression: &Expression) -> StaticType {
    match &ungrouped(expression).kind {
        ExpressionKind::Number(_) | ExpressionKind::Assign { .. } => StaticType::Integer,
        ExpressionKind::Text(_) | ExpressionKind::Address(_) => StaticType::Text,
        ExpressionKind::Unary(UnaryOperator::ToText, _) => StaticType::Text,
        ExpressionKind::Unary(..) => StaticType::Integer,
        ExpressionKind::Binary(operator, left, _) => {
            // Only sums take their kind from the left; the chain of them is walked.
            let (mut operator, mut left) = (operator, &**left);
            while let (BinaryOperator::Add | BinaryOperator::Join, ExpressionKind::Binary(next, further, _)) =
                (operator, &ungrouped(left).kind)
            {
                (operator, left) = (next, &**further);
            }
            match operator {
                BinaryOperator::Add | BinaryOperator::Join => kind_of(left),
                _ => StaticType::Integer,
            }
        }
        ExpressionKind::Call(call) if call.name.text != "selval" => StaticType::Integer,
        _ => StaticType::Unknown,
    }
}

fn kind_of_operation(operator: BinaryOperator, left: StaticType) -> StaticType {
    match operator {
        BinaryOperator::Add | BinaryOperator::Join => left,
        _ => StaticType::Integer,
    }
}

/// A sum of which only the running script shows whether it adds or joins.
fn is_open_sum(expression: &Expression) -> bool {
    matches!(ungrouped(expression).kind, ExpressionKind::Binary(BinaryOperator::Add, ..))
        && kind_of(expression) == StaticType::Unknown
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
