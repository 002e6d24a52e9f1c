//! Route blocks and their statements.

use std::collections::HashMap;

use super::expression::{Codes, StaticType};
use super::{Breakable, Checker, NESTING_MAX};
use crate::script::ast::{
    BinaryOperator, Call, Expression, ExpressionKind, Item, ItemKind, Route, RouteKind, Span, Statement,
    StatementKind, UnaryOperator,
};
use crate::script::catalog::Advice;
use crate::script::diagnostic::Diagnostic;
use crate::script::program::{Instruction, RouteId};

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
            let said = self.catalog.route(kind, name);
            self.diagnostics.extend(said.map(|diagnostic| diagnostic.at(span)));
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
    pub(super) fn statements(&mut self, statements: &[Statement]) {
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

    fn warn_of_constant_condition(&mut self, condition: &Expression, kind: StaticType) {
        if kind == StaticType::Text && self.constant(condition).is_some() {
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

    pub(super) fn land_breaks(&mut self) {
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
        if known.kind == StaticType::Text {
            self.error(code.span, "a return code is an integer, this is text");
        }
        self.emit(instruction);
        self.assembler.land(begin);
        self.emit(Instruction::Integer(-1));
        self.emit(instruction);
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
                    let (_, row) = self.catalog.function(&call.name.text, count).ok()?;
                    let is_delegation = self.advice_of(row, count) == Advice::TestThenDrop;
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

/// Kind and name of a block; `route[0]` is the main route, as it always was.
pub(super) fn identity(route: &Route) -> (RouteKind, &str) {
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
