//! Route blocks and their statements.

use std::collections::{HashMap, HashSet};

use super::ast::{
    BinaryOperator, Call, Case, Expression, ExpressionKind, Item, ItemKind, Label, Route, RouteKind, Span,
    Statement, StatementKind, UnaryOperator,
};
use super::catalog::{Advice, Complaint, Remark};
use super::check::{Breakable, Checker, NESTING_MAX};
use super::check_expression::{Codes, Kind};
use super::diagnostic::Diagnostic;
use super::pattern::LetterCase;
use super::program::{Instruction, Labels, RouteId, SwitchTable, TextLabel};

impl Checker<'_> {
    /// Declares every route, so that they may call each other in any order, then checks their bodies.
    pub(super) fn routes(&mut self, items: &[Item]) {
        self.remark_on_routes(items);
        let routes: Vec<&Route> = items
            .iter()
            .filter_map(|item| match &item.kind {
                ItemKind::Route(route) => Some(route),
                _ => None,
            })
            .collect();
        for (id, blocks) in self.declare(&routes) {
            self.route_body(id, &blocks);
        }
        self.judge_usage(&routes);
    }

    /// Blocks that nothing will ever run.
    fn remark_on_routes(&mut self, items: &[Item]) {
        for item in items {
            let ItemKind::Route(route) = &item.kind else { continue };
            let (kind, name) = identity(route);
            let span = route.name.as_ref().map_or(item.span, |name| name.span);
            match self.catalog.route(kind, name) {
                Ok(None) => {}
                Ok(Some(Remark(message))) => self.diagnostics.push(Diagnostic::notice(span, message)),
                Err(Complaint { message, help }) => self.warn(span, message, help.as_deref()),
            }
        }
    }

    /// Blocks in the order of their first appearance; unnamed ones of a kind are one route, end to end.
    fn declare<'r>(&mut self, routes: &[&'r Route]) -> Vec<(RouteId, Vec<&'r Route>)> {
        let mut declared: Vec<(RouteId, Vec<&Route>)> = Vec::new();
        let mut indexes: HashMap<(RouteKind, &str), usize> = HashMap::new();
        for route in routes {
            let (kind, name) = identity(route);
            if let Some(index) = indexes.get(&(kind, name)) {
                let blocks = &mut declared[*index].1;
                if let (Some(again), Some(first)) = (&route.name, &blocks[0].name)
                    && !name.is_empty()
                {
                    let message = format!("{} is defined twice", route_title(kind, name));
                    let diagnostic =
                        Diagnostic::error(again.span, message).with_note(first.span, "first defined here");
                    self.diagnostics.push(diagnostic);
                } else {
                    blocks.push(route);
                }
            } else if let Some(id) = self.program.declare(kind, name) {
                indexes.insert((kind, name), declared.len());
                declared.push((id, vec![route]));
            }
        }
        declared
    }

    fn route_body(&mut self, id: RouteId, blocks: &[&Route]) {
        self.program.routes[id.0 as usize].entry = self.assembler.here();
        self.route = Some(id);
        for block in blocks {
            self.statements(&block.body);
        }
        self.close_delegations();
        if let Some(last) = blocks.last() {
            self.mark_line(last.end);
        }
        self.emit(Instruction::FallOff);
        self.route = None;
    }
}

/// Statements.
impl Checker<'_> {
    fn statements(&mut self, statements: &[Statement]) {
        let mut has_value = false;
        let mut end: Option<Ending> = None;
        // What is open outside is judged by what follows outside.
        let outer_count = self.open_delegations.len();
        for (index, statement) in statements.iter().enumerate() {
            if matches!(statement.kind, StatementKind::Empty) {
                continue;
            }
            if let Some(ending) = end.take() {
                self.warn(statement.span, ending.unreachable(), None);
            }
            has_value = true;
            self.statement(statement);
            if self.open_delegations.len() > outer_count && self.drops_later(&statements[index + 1..]) {
                self.open_delegations.truncate(outer_count);
            }
            end = ending(statement);
        }
        if !has_value {
            self.emit(Instruction::Succeed);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        self.nested(statement.span, |checker| checker.statement_here(statement));
    }

    fn statement_here(&mut self, statement: &Statement) {
        self.mark_line(statement.span);
        match &statement.kind {
            StatementKind::Empty => {}
            StatementKind::Block(statements) => self.statements(statements),
            StatementKind::Expression(expression) => self.action(expression),
            StatementKind::If { .. } => self.conditions(statement),
            StatementKind::While { condition, body } => self.while_loop(condition, body),
            StatementKind::Switch { subject, cases } => self.switch(statement.span, subject, cases),
            StatementKind::Break => self.break_out(statement.span),
            StatementKind::Return(code) => self.leave(code.as_ref(), 1, Instruction::Return),
            StatementKind::Exit(code) => self.leave(code.as_ref(), 1, Instruction::Exit),
            StatementKind::Drop(code) => self.leave(code.as_ref(), 0, Instruction::Drop),
        }
    }

    /// A call or an assignment as a statement.
    fn action(&mut self, expression: &Expression) {
        let begin = self.assembler.jump(Instruction::Begin);
        match &expression.kind {
            ExpressionKind::Call(call) => {
                let advice = self.call(call, Codes::Raw);
                if advice == Advice::TestThenDrop {
                    self.warn_of_ignored_result(call);
                }
            }
            ExpressionKind::Assign { target, value } => self.assign(target, value),
            _ => {
                self.error_with_help(
                    expression.span,
                    "this expression does nothing",
                    "a statement is a call, an assignment, or a word such as `if` or `exit`",
                );
                self.emit(Instruction::Null);
            }
        }
        self.emit(Instruction::Settle);
        self.assembler.land(begin);
    }

    fn warn_of_ignored_result(&mut self, call: &Call) {
        let message = format!(
            "the result of {}() is ignored: the message may be processed twice or not at all",
            call.name.text
        );
        let help = format!("write `if ({}(…)) {{ drop; }}`", call.name.text);
        self.warn(call.name.span, message, Some(&help));
    }

    /// `if … else if … else …`: a long chain is walked, not nested.
    fn conditions(&mut self, statement: &Statement) {
        let mut ends = Vec::new();
        let mut current = statement;
        while let StatementKind::If { condition, then, otherwise } = &current.kind {
            self.mark_line(condition.span);
            self.warn_of_delegation_without_drop(condition, then, otherwise.as_deref());
            self.warn_of_assignment(condition);
            let begin = self.assembler.jump(Instruction::Begin);
            let kind = self.integer_expression(condition).kind;
            self.warn_of_constant_condition(condition, kind);
            let skip = self.assembler.jump(Instruction::JumpUnless);
            self.branch(then);
            ends.push(self.assembler.jump(Instruction::Jump));
            self.assembler.land(skip);
            self.assembler.land(begin);
            match otherwise.as_deref() {
                Some(next) if matches!(next.kind, StatementKind::If { .. }) => current = next,
                Some(last) => {
                    self.branch(last);
                    break;
                }
                None => {
                    self.emit(Instruction::Succeed);
                    break;
                }
            }
        }
        for end in ends {
            self.assembler.land(end);
        }
    }

    fn branch(&mut self, statement: &Statement) {
        match &statement.kind {
            StatementKind::Block(statements) => {
                self.nested(statement.span, |checker| checker.statements(statements));
            }
            _ => self.statements(std::slice::from_ref(statement)),
        }
    }

    /// `if ($x = 1)` is a slip more often than not; a second pair of parentheses says that it is meant.
    fn warn_of_assignment(&mut self, condition: &Expression) {
        let inner = match &condition.kind {
            ExpressionKind::Group(inner) => inner,
            _ => condition,
        };
        if matches!(inner.kind, ExpressionKind::Assign { .. }) {
            let help =
                "to compare, write `==`; when it is meant, put it into parentheses of its own: `(($x = 1))`";
            self.warn(inner.span, "this condition assigns", Some(help));
        }
    }

    fn warn_of_constant_condition(&mut self, condition: &Expression, kind: Kind) {
        if kind == Kind::Text && self.constant(condition).is_some() {
            self.warn(
                condition.span,
                "the condition is literal text, its variables are not replaced here",
                None,
            );
        }
    }

    fn while_loop(&mut self, condition: &Expression, body: &Statement) {
        self.emit(Instruction::Succeed);
        self.emit(Instruction::EnterLoop);
        let start = self.assembler.here();
        self.warn_of_assignment(condition);
        let begin = self.assembler.jump(Instruction::Begin);
        self.integer_expression(condition);
        let end = self.assembler.jump(Instruction::JumpUnless);
        let too_many = self.assembler.jump(Instruction::Round);
        self.breakables.push(Breakable::default());
        self.branch(body);
        self.mark_line(condition.span);
        self.emit(Instruction::Jump(start));
        // A condition that could not be evaluated ends the loop without a blemish on the route's code.
        self.assembler.land(begin);
        self.emit(Instruction::Succeed);
        self.assembler.land(end);
        self.assembler.land(too_many);
        self.land_breaks();
        self.emit(Instruction::LeaveLoop);
    }

    fn break_out(&mut self, span: Span) {
        self.emit(Instruction::Clear);
        if self.breakables.is_empty() {
            self.warn(
                span,
                "`break` outside of a loop or switch ends the route",
                Some("write `return` to end it"),
            );
            self.emit(Instruction::FallOff);
            return;
        }
        let jump = self.assembler.jump(Instruction::Jump);
        if let Some(breakable) = self.breakables.last_mut() {
            breakable.breaks.push(jump);
        }
    }

    fn land_breaks(&mut self) {
        let breaks = self.breakables.pop().unwrap_or_default().breaks;
        for jump in breaks {
            self.assembler.land(jump);
        }
    }

    /// `return`, `exit`, `drop`. A code that cannot be evaluated is -1.
    fn leave(&mut self, code: Option<&Expression>, default: i64, instruction: Instruction) {
        let Some(code) = code else {
            self.emit(Instruction::Integer(default));
            self.emit(instruction);
            return;
        };
        let begin = self.assembler.jump(Instruction::Begin);
        let known = self.integer_expression(code);
        if known.kind == Kind::Text {
            self.error(code.span, "a return code is an integer, this is text");
        }
        self.emit(instruction);
        self.assembler.land(begin);
        self.emit(Instruction::Integer(-1));
        self.emit(instruction);
    }
}

/// Switches.
impl Checker<'_> {
    fn switch(&mut self, span: Span, subject: &Expression, cases: &[Case]) {
        if cases.is_empty() {
            self.warn(span, "this switch has no case", None);
        }
        let begin = self.assembler.jump(Instruction::Begin);
        let labels = self.labels(cases);
        match labels.texts.is_empty() {
            true => self.integer_expression(subject),
            false => self.expression(subject, Codes::Truth),
        };
        let table = self.assembler.switch(SwitchTable { labels: Labels::Integers(Vec::new()), otherwise: 0 });
        self.emit(Instruction::Switch(table));
        self.breakables.push(Breakable::default());
        let mut targets = Vec::with_capacity(cases.len());
        for (index, case) in cases.iter().enumerate() {
            targets.push(self.assembler.here());
            // Labels that follow each other share a body; only the last one may be without.
            if !case.body.is_empty() || index + 1 == cases.len() {
                self.statements(&case.body);
            }
        }
        let fell_out = self.assembler.jump(Instruction::Jump);
        let unmatched = self.assembler.here();
        self.emit(Instruction::Succeed);
        self.assembler.land(fell_out);
        self.land_breaks();
        let default = cases.iter().position(|case| case.label == Label::Default).map(|index| targets[index]);
        // A subject that could not be evaluated takes the default; without one the statement has failed.
        let end = self.assembler.here();
        self.assembler.aim(begin, default.unwrap_or(end));
        *self.assembler.switch_mut(table) =
            SwitchTable { labels: labels.with_targets(&targets), otherwise: default.unwrap_or(unmatched) };
    }

    /// All labels; they must be of one kind.
    fn labels(&mut self, cases: &[Case]) -> PlainLabels {
        let mut labels = PlainLabels::default();
        let mut seen: HashMap<Constant, Span> = HashMap::new();
        let mut first_default: Option<Span> = None;
        for (index, case) in cases.iter().enumerate() {
            let constant = match &case.label {
                Label::Default => {
                    if let Some(first) = first_default.replace(case.span) {
                        let diagnostic = Diagnostic::error(case.span, "this switch has a second default");
                        self.diagnostics.push(diagnostic.with_note(first, "the first one is here"));
                    }
                    continue;
                }
                Label::Regex(text) => {
                    if let Some(regex) = self.regex(&text.bytes, text.span, LetterCase::Kept) {
                        labels.texts.push((TextLabel::Matching(regex), index));
                    }
                    labels.note_kind(Kind::Text);
                    self.compare_label_kinds(&labels, text.span);
                    continue;
                }
                Label::Value(expression) => match self.constant(expression) {
                    Some(constant) => constant,
                    None => {
                        self.error(expression.span, "a case needs a constant: a number, text, or /\"regex\"");
                        continue;
                    }
                },
            };
            if let Some(first) = seen.insert(constant.clone(), case.span) {
                let diagnostic = Diagnostic::warning(
                    case.span,
                    "this case is never reached, the same label is used above",
                );
                self.diagnostics.push(diagnostic.with_note(first, "it is here"));
            }
            match constant {
                Constant::Integer(number) => {
                    labels.integers.push((number, index));
                    labels.note_kind(Kind::Integer);
                }
                Constant::Text(bytes) => {
                    let stretch = self.assembler.text(&bytes);
                    labels.texts.push((TextLabel::Exactly(stretch), index));
                    labels.note_kind(Kind::Text);
                }
            }
            self.compare_label_kinds(&labels, case.span);
        }
        labels
    }

    fn compare_label_kinds(&mut self, labels: &PlainLabels, span: Span) {
        if labels.is_newly_mixed {
            self.error(span, "the cases of a switch are all numbers or all text, here they are mixed");
        }
    }
}

/// A value known while checking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Constant {
    Integer(i64),
    Text(Vec<u8>),
}

/// Labels before the places of their bodies are known.
#[derive(Default)]
struct PlainLabels {
    integers: Vec<(i64, usize)>,
    texts: Vec<(TextLabel, usize)>,
    kind: Option<Kind>,
    is_mixed: bool,
    is_newly_mixed: bool,
}

impl PlainLabels {
    fn note_kind(&mut self, kind: Kind) {
        let differs = *self.kind.get_or_insert(kind) != kind;
        self.is_newly_mixed = differs && !self.is_mixed;
        self.is_mixed |= differs;
    }

    fn with_targets(self, targets: &[u32]) -> Labels {
        if self.kind == Some(Kind::Integer) {
            Labels::Integers(
                self.integers.into_iter().map(|(label, index)| (label, targets[index])).collect(),
            )
        } else {
            Labels::Texts(self.texts.into_iter().map(|(label, index)| (label, targets[index])).collect())
        }
    }
}

/// Delegation that is followed by ordinary processing.
impl Checker<'_> {
    fn warn_of_delegation_without_drop(
        &mut self,
        condition: &Expression,
        then: &Statement,
        otherwise: Option<&Statement>,
    ) {
        let Some((call, is_success)) = self.delegation_in(condition) else { return };
        let (name, span) = (call.name.text.clone(), call.name.span);
        let success = if is_success { Some(then) } else { otherwise };
        if success.is_some_and(may_drop) {
            return;
        }
        let message =
            format!("no `drop` follows when {name}() succeeds: the message is processed here as well");
        let warning = Diagnostic::warning(span, message).with_help("end the branch with `drop;`");
        match success.and_then(ending) {
            // Its caller may drop.
            Some(Ending::Word("return")) if self.is_in_named_route() => {}
            Some(Ending::Word("break")) | None => self.open_delegations.push(warning),
            Some(_) => self.diagnostics.push(warning),
        }
    }

    /// Whether what follows may drop the message, other than because it was delegated again.
    fn drops_later(&mut self, statements: &[Statement]) -> bool {
        statements.iter().any(|statement| {
            let delegates = match &statement.kind {
                StatementKind::If { condition, .. } => self.delegation_in(condition).is_some(),
                _ => false,
            };
            !delegates && may_drop(statement)
        })
    }

    /// Nothing follows any more that could drop the message, unless a caller does.
    fn close_delegations(&mut self) {
        let open = std::mem::take(&mut self.open_delegations);
        if !self.is_in_named_route() {
            self.diagnostics.extend(open);
        }
    }

    fn is_in_named_route(&self) -> bool {
        self.route_kind() == Some(RouteKind::Named)
    }

    /// A call whose success should be followed by `drop`, and whether success means that the condition holds.
    fn delegation_in<'e>(&mut self, condition: &'e Expression) -> Option<(&'e Call, bool)> {
        let mut current = condition;
        let mut is_success = true;
        loop {
            match &current.kind {
                ExpressionKind::Group(inner) => current = inner,
                ExpressionKind::Unary(UnaryOperator::Not, inner) => {
                    current = inner;
                    is_success = !is_success;
                }
                ExpressionKind::Binary(BinaryOperator::And, _, right) if is_success => current = right,
                ExpressionKind::Binary(operator, left, right) => {
                    let ExpressionKind::Number(number) = right.kind else { return None };
                    is_success = is_success == truth_beside(*operator, number)?;
                    current = left;
                }
                ExpressionKind::Call(call) => {
                    let count = call.arguments.len();
                    let handle = self.catalog.function(&call.name.text, count).ok()?;
                    let is_delegation = self.advice_of(&handle, count) == Advice::TestThenDrop;
                    return is_delegation.then_some((call, is_success));
                }
                _ => return None,
            }
        }
    }
}

/// Whether a comparison of a call with a number asks for its success or for its failure.
fn truth_beside(operator: BinaryOperator, number: i64) -> Option<bool> {
    match (operator, number) {
        (BinaryOperator::Greater, 0) | (BinaryOperator::GreaterOrEqual | BinaryOperator::Equal, 1) => {
            Some(true)
        }
        (BinaryOperator::NotEqual, 0) => Some(true),
        (BinaryOperator::Equal, 0) | (BinaryOperator::NotEqual | BinaryOperator::Less, 1) => Some(false),
        _ => None,
    }
}

/// Whether some way through the statement drops the message; a called route might.
fn may_drop(statement: &Statement) -> bool {
    match &statement.kind {
        StatementKind::Drop(_) => true,
        StatementKind::Block(statements) => statements.iter().any(may_drop),
        StatementKind::If { then, otherwise, .. } => {
            may_drop(then) || otherwise.as_deref().is_some_and(may_drop)
        }
        StatementKind::While { body, .. } => may_drop(body),
        StatementKind::Switch { cases, .. } => cases.iter().any(|case| case.body.iter().any(may_drop)),
        StatementKind::Expression(Expression { kind: ExpressionKind::Call(call), .. }) => {
            call.name.text == "route"
        }
        _ => false,
    }
}

/// How a statement keeps what follows it from being reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// By this word.
    Word(&'static str),
    /// In each of its branches.
    EveryBranch,
}

impl Ending {
    fn unreachable(self) -> String {
        match self {
            Ending::Word(word) => format!("this is never reached, `{word}` comes before it"),
            Ending::EveryBranch => {
                "this is never reached, every branch of the statement before it leaves".to_owned()
            }
        }
    }
}

fn ending(statement: &Statement) -> Option<Ending> {
    ending_within(statement, NESTING_MAX)
}

/// What is nested deeper is reported where it is checked.
fn ending_within(statement: &Statement, depth_left: u32) -> Option<Ending> {
    let depth_left = depth_left.checked_sub(1)?;
    match &statement.kind {
        StatementKind::Return(_) => Some(Ending::Word("return")),
        StatementKind::Exit(_) => Some(Ending::Word("exit")),
        StatementKind::Drop(_) => Some(Ending::Word("drop")),
        StatementKind::Break => Some(Ending::Word("break")),
        StatementKind::Block(statements) => {
            let is_something = |one: &&Statement| !matches!(one.kind, StatementKind::Empty);
            ending_within(statements.iter().rev().find(is_something)?, depth_left)
        }
        StatementKind::If { .. } => every_branch_ends(statement, depth_left),
        _ => None,
    }
}

/// A long chain of `else if` is walked, not nested.
fn every_branch_ends(mut statement: &Statement, depth_left: u32) -> Option<Ending> {
    while let StatementKind::If { then, otherwise, .. } = &statement.kind {
        ending_within(then, depth_left)?;
        statement = otherwise.as_deref()?;
    }
    ending_within(statement, depth_left).map(|_| Ending::EveryBranch)
}

/// What is known only when all routes are.
impl Checker<'_> {
    fn judge_usage(&mut self, routes: &[&Route]) {
        self.judge_function_calls();
        let mut judged = HashSet::new();
        for route in routes {
            let (kind, name) = identity(route);
            let Some(id) = self.program.route(kind, name.as_bytes()) else { continue };
            if !judged.insert(id) {
                continue;
            }
            let is_called = self.usage.named.contains(&id) || self.usage.computed_kinds.contains(&kind);
            let has_caller = matches!(
                kind,
                RouteKind::Named | RouteKind::Failure | RouteKind::Branch | RouteKind::OnReply
            );
            if let Some(span) = route.name.as_ref().map(|name| name.span)
                && has_caller
                && !is_called
            {
                let message = format!("nothing in this script calls {}", route_title(kind, name));
                self.diagnostics.push(Diagnostic::notice(span, message));
            }
        }
    }

    fn judge_function_calls(&mut self) {
        let uses = std::mem::take(&mut self.usage.function_calls);
        let reaching = self.reaching_kinds();
        for function_use in uses {
            let (kind, name) = self.program.describe(function_use.route);
            let kinds = &reaching[function_use.route.0 as usize];
            let is_allowed = match kind {
                RouteKind::Named => {
                    function_use.allowed.contains(RouteKind::Named)
                        || kinds.iter().any(|kind| function_use.allowed.contains(*kind))
                }
                _ => function_use.allowed.contains(kind),
            };
            if !is_allowed {
                let message =
                    format!("{}() cannot be used in {}", function_use.name, route_title(kind, name));
                let help = format!("it can be used in {}", kinds_in_words(&function_use));
                self.error_with_help(function_use.span, message, help);
            }
        }
    }

    /// For every route, the kinds of the routes from which it can be reached through calls.
    fn reaching_kinds(&self) -> Vec<HashSet<RouteKind>> {
        let mut reaching = vec![HashSet::new(); self.program.route_count()];
        for index in 0..reaching.len() as u32 {
            let (kind, _) = self.program.describe(RouteId(index));
            if kind != RouteKind::Named {
                for reached in self.reached_from(RouteId(index)) {
                    reaching[reached.0 as usize].insert(kind);
                }
            }
        }
        reaching
    }

    fn reached_from(&self, start: RouteId) -> HashSet<RouteId> {
        let mut reached = HashSet::from([start]);
        let mut open = vec![start];
        while let Some(from) = open.pop() {
            let calls = self
                .usage
                .route_calls
                .iter()
                .filter(|(caller, _)| *caller == from)
                .map(|(_, called)| *called);
            let mut next: Vec<RouteId> = calls.collect();
            if self.usage.computed_callers.contains(&from) {
                let all = (0..self.program.route_count() as u32).map(RouteId);
                next.extend(all.filter(|id| self.program.describe(*id).0 == RouteKind::Named));
            }
            open.extend(next.into_iter().filter(|id| reached.insert(*id)));
        }
        reached
    }
}

/// Kind and name of a block; `route[0]` is the main route, as it always was.
fn identity(route: &Route) -> (RouteKind, &str) {
    let name = route.name.as_ref().map_or("", |name| name.text.as_str());
    match (route.kind, name) {
        (RouteKind::Named, "0" | "") => (RouteKind::Request, ""),
        (RouteKind::OnReply, "0" | "") => (RouteKind::Reply, ""),
        (kind, name) => (kind, name),
    }
}

/// `route[CALL]`, `request_route`.
pub(super) fn route_title(kind: RouteKind, name: &str) -> String {
    if name.is_empty() { kind_title(kind).to_owned() } else { format!("{}[{name}]", kind_title(kind)) }
}

fn kind_title(kind: RouteKind) -> &'static str {
    kind.word().trim_end_matches("[]")
}

fn kinds_in_words(function_use: &super::check::FunctionUse) -> String {
    let allowed = RouteKind::ALL.into_iter().filter(|kind| function_use.allowed.contains(*kind));
    allowed.map(RouteKind::word).collect::<Vec<_>>().join(", ")
}
