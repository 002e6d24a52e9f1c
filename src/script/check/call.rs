//! Calls: the function, its arguments as it wants them, routes and the few calls the language answers itself.

use super::expression::Codes;
use super::route::route_title;
use super::variable::literal;
use super::{Checker, FunctionUse};
use crate::script::ast::{Call, Expression, ExpressionKind, Name, Piece, RouteKind, Span, Template, Text};
use crate::script::catalog::{Advice, FunctionId, FunctionRow, ParameterKind, Refused, RouteSet};
use crate::script::diagnostic::{Diagnostic, nearest};
use crate::script::program::{ARGUMENT_COUNT_MAX, ArgumentShape, CallShape, Instruction, RouteId};
use crate::script::template;
use crate::script::value;

impl Checker<'_> {
    /// Checks a call; it leaves one value. Says what a careful script does with it.
    pub(super) fn call(&mut self, call: &Call, codes: Codes) -> Advice {
        match call.name.text.as_str() {
            "route" => self.route_call(call),
            "selval" => {
                self.selected_value(call);
                return Advice::None;
            }
            _ => return self.function_call(call, codes),
        }
        self.finish_call(codes);
        Advice::None
    }

    fn finish_call(&mut self, codes: Codes) {
        if codes == Codes::Truth {
            self.emit(Instruction::Positive);
        }
    }

    fn function_call(&mut self, call: &Call, codes: Codes) -> Advice {
        let (id, row) = match self.catalog.function(&call.name.text, call.arguments.len()) {
            Ok(found) => found,
            Err(mistake) => {
                self.unknown_call(call, mistake);
                return Advice::None;
            }
        };
        if call.arguments.len() > ARGUMENT_COUNT_MAX {
            self.error(call.name.span, format!("more than {ARGUMENT_COUNT_MAX} arguments"));
            self.nothing();
            return Advice::None;
        }
        self.note_use(call, row);
        self.refuse_bare_words(call, id);
        let mut arguments: Vec<ArgumentShape> = call
            .arguments
            .iter()
            .enumerate()
            .map(|(index, argument)| {
                // A function may take more arguments than it describes; the last description holds for them.
                let kinds = row.parameters;
                let kind = kinds.get(index).or(kinds.last()).copied().unwrap_or(ParameterKind::Text);
                self.argument(id, index, kind, argument)
            })
            .collect();
        if row.has_call_site {
            arguments.push(self.place_of_call(call.name.span));
        }
        let arguments = arguments.into_boxed_slice();
        let operand_count = arguments.iter().map(|shape| shape.operand_count() as u32).sum();
        let number = self.assembler.call(CallShape { function: id, arguments, operand_count });
        self.emit(Instruction::Call(number));
        self.finish_call(codes);
        let advice = self.advice_of(row, call.arguments.len());
        if advice == Advice::TestThenDrop {
            self.warn_of_late_delegation(call);
        }
        advice
    }

    fn place_of_call(&mut self, span: Span) -> ArgumentShape {
        let place = self.source.and_then(|source| {
            let (file, line) = source.file_line(span)?;
            Some((line, source.file_name(file)))
        });
        let (line, file) = place.unwrap_or((0, ""));
        ArgumentShape::Prepared(line, self.assembler.text(file.as_bytes()))
    }

    /// The advice for a function; for another name of one that of the function itself.
    pub(super) fn advice_of(&mut self, row: &FunctionRow, argument_count: usize) -> Advice {
        let Advice::Alias(instead) = row.advice else { return row.advice };
        let name = instead.trim_end_matches("()");
        self.catalog.function(name, argument_count).map_or(row.advice, |(_, row)| row.advice)
    }

    fn unknown_call(&mut self, call: &Call, mistake: Diagnostic) {
        if self.is_absent(Refused::Function(&call.name.text), call.name.span, &mistake) {
            return self.unchecked_call(call);
        }
        self.refuse(call.name.span, mistake);
        self.nothing();
    }

    /// `sl_send_reply(200, OK)`: only functions of the core take words as they stand.
    fn refuse_bare_words(&mut self, call: &Call, function: FunctionId) {
        if self.catalog.takes_words(function) {
            return;
        }
        for argument in &call.arguments {
            if let ExpressionKind::Word(name) = &argument.kind {
                let message = format!("`{}` is not a value", name.text);
                let help = format!("text needs quotes: \"{}\"; a variable begins with $", name.text);
                self.error_with_help(argument.span, message, help);
            }
        }
    }

    /// Where the message was received and routes run, it is delegated no more.
    fn warn_of_late_delegation(&mut self, call: &Call) {
        let Some(route) = self.route else { return };
        let (kind, name) = self.program.describe(route);
        let is_early = match kind {
            RouteKind::Event => name == PRE_ROUTING,
            // The caller may be pre-routing.
            RouteKind::Named => true,
            _ => false,
        };
        if !is_early {
            let message = format!(
                "{}() always fails here: only event_route[{PRE_ROUTING}] can delegate",
                call.name.text
            );
            self.warn(call.name.span, message, Some("move the call there"));
        }
    }

    fn note_use(&mut self, call: &Call, row: &FunctionRow) {
        if let Advice::Alias(advice) = row.advice {
            let notice = Diagnostic::notice(call.name.span, format!("{}() is an old name", call.name.text));
            self.diagnostics.push(notice.with_help(format!("write {advice}()")));
        }
        if let (Some(route), true) = (self.route, row.routes != RouteSet::ANY) {
            let (name, span) = (call.name.text.clone(), call.name.span);
            self.usage.function_calls.push(FunctionUse { route, name, span, allowed: row.routes });
        }
    }

    /// `selval(condition, a, b)`
    fn selected_value(&mut self, call: &Call) {
        let [condition, held, otherwise] = call.arguments.as_slice() else {
            self.error(call.name.span, format!("selval() takes 3 arguments, not {}", call.arguments.len()));
            self.nothing();
            return;
        };
        self.integer_expression(condition);
        let skip = self.assembler.jump(Instruction::JumpUnless);
        self.expression(held, Codes::Truth);
        let end = self.assembler.jump(Instruction::Jump);
        self.assembler.land(skip);
        self.expression(otherwise, Codes::Truth);
        self.assembler.land(end);
    }
}

/// Routes.
impl Checker<'_> {
    fn route_call(&mut self, call: &Call) {
        if self.route_kind() == Some(RouteKind::OnSend) {
            self.error(call.name.span, "route() cannot be used in onsend_route");
        }
        let [argument] = call.arguments.as_slice() else {
            self.error(
                call.name.span,
                format!("route() takes the name of one route, not {}", call.arguments.len()),
            );
            self.nothing();
            return;
        };
        match self.route_name(argument) {
            RouteName::Literal(name) => match self.find_route(RouteKind::Named, &name, argument.span) {
                Some(route) => {
                    if let Some(caller) = self.route {
                        self.usage.route_calls.push((caller, route));
                    }
                    self.emit(Instruction::CallRoute(route));
                }
                None => {
                    self.nothing();
                }
            },
            RouteName::OnStack => {
                self.note_computed_route(RouteKind::Named);
                self.emit(Instruction::CallRouteByName);
            }
        }
    }

    fn note_computed_route(&mut self, kind: RouteKind) {
        self.usage.computed_kinds.insert(kind);
        if let (Some(caller), RouteKind::Named) = (self.route, kind) {
            self.usage.computed_callers.insert(caller);
        }
    }

    /// The name of a route: known now, or left on the stack.
    fn route_name(&mut self, argument: &Expression) -> RouteName {
        match &argument.kind {
            ExpressionKind::Word(name) | ExpressionKind::Address(name) => {
                RouteName::Literal(name.text.clone())
            }
            ExpressionKind::Number(number) => RouteName::Literal(number.to_string()),
            ExpressionKind::Text(text) => {
                let parsed = self.parse_text(text);
                match literal(&parsed) {
                    Some(name) => RouteName::Literal(String::from_utf8_lossy(&name).into_owned()),
                    None => {
                        self.template(&parsed);
                        RouteName::OnStack
                    }
                }
            }
            _ => {
                self.plain_value(argument);
                self.emit(Instruction::ToText);
                RouteName::OnStack
            }
        }
    }

    fn find_route(&mut self, kind: RouteKind, name: &str, span: Span) -> Option<RouteId> {
        let found = self.program.route(kind, name.as_bytes());
        match found {
            Some(route) => {
                self.usage.named.insert(route);
            }
            None => {
                let names: Vec<String> = self.program.names_of(kind).map(str::to_owned).collect();
                let message = format!("unknown route {}", route_title(kind, name));
                match nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => self.error_with_help(span, message, format!("did you mean \"{near}\"?")),
                    None => self.error_with_help(span, message, listed("routes of this kind are", &names)),
                }
            }
        }
        found
    }
}

enum RouteName {
    Literal(String),
    OnStack,
}

/// The event in which a message can be delegated.
const PRE_ROUTING: &str = "core:pre-routing";

/// Names in words, cut short.
fn listed(introduction: &str, names: &[String]) -> String {
    const SHOWN_MAX: usize = 10;
    if names.is_empty() {
        return "the script has no route of this kind".into();
    }
    let mut shown: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| format!("\"{name}\"")).collect();
    if names.len() > SHOWN_MAX {
        shown.push("…".into());
    }
    format!("{introduction} {}", shown.join(", "))
}

/// Arguments. Each is left as what its kind says, so that no function looks at it twice.
impl Checker<'_> {
    fn argument(
        &mut self,
        function: FunctionId,
        index: usize,
        kind: ParameterKind,
        argument: &Expression,
    ) -> ArgumentShape {
        match kind {
            ParameterKind::Text => self.text_argument(argument),
            ParameterKind::Lines => self.lines_argument(argument),
            ParameterKind::Shown => self.shown_argument(argument),
            ParameterKind::Literal => self.literal_argument(argument),
            ParameterKind::Integer => self.integer_argument(argument),
            ParameterKind::Delay => {
                self.integer_argument(argument);
                return ArgumentShape::Delay;
            }
            ParameterKind::Value => self.value_argument(argument),
            ParameterKind::Place => return self.place_argument(argument),
            ParameterKind::Route(kind) => return self.route_argument(kind, argument),
            ParameterKind::Prepared => return self.prepared_argument(function, index, argument),
        }
        ArgumentShape::Value
    }

    pub(super) fn text_argument(&mut self, argument: &Expression) {
        match plain_text(argument) {
            Some(text) => self.assembler.push_text(&text),
            None => match &argument.kind {
                ExpressionKind::Text(text) => {
                    let parsed = self.parse_text(text);
                    self.template(&parsed);
                }
                _ => {
                    self.plain_value(argument);
                    self.emit(Instruction::ToText);
                }
            },
        }
    }

    fn lines_argument(&mut self, argument: &Expression) {
        match (&argument.kind, plain_text(argument)) {
            (ExpressionKind::Text(text), None) => {
                let parsed = self.parse_text(text);
                self.lines_template(&parsed);
            }
            _ => self.text_argument(argument),
        }
    }

    fn shown_argument(&mut self, argument: &Expression) {
        match (&argument.kind, plain_text(argument)) {
            (_, Some(text)) => self.assembler.push_text(&text),
            (ExpressionKind::Text(text), None) => {
                let parsed = self.parse_text(text);
                self.shown_template(&parsed);
            }
            _ => {
                self.text_argument(argument);
                self.emit(Instruction::ShownLast);
            }
        }
    }

    fn literal_argument(&mut self, argument: &Expression) {
        match &argument.kind {
            ExpressionKind::Text(text) => self.assembler.push_text(&text.bytes),
            _ => self.text_argument(argument),
        }
    }

    fn integer_argument(&mut self, argument: &Expression) {
        if let ExpressionKind::Text(text) = &argument.kind {
            let parsed = self.parse_text(text);
            match literal(&parsed) {
                Some(bytes) => self.literal_integer(&bytes, text.span),
                None => {
                    self.loose_template(&parsed);
                    self.emit(Instruction::ToIntegerStrictly);
                }
            }
            return;
        }
        self.plain_value(argument);
        if !matches!(argument.kind, ExpressionKind::Number(_)) {
            self.emit(Instruction::ToIntegerStrictly);
        }
    }

    fn literal_integer(&mut self, bytes: &[u8], span: Span) {
        let number = value::parse_integer(bytes);
        if number.is_none() {
            self.error(span, format!("an integer is needed here, not \"{}\"", bytes.escape_ascii()));
        }
        self.emit(Instruction::Integer(number.unwrap_or(0)));
    }

    fn value_argument(&mut self, argument: &Expression) {
        match &argument.kind {
            ExpressionKind::Text(text) => {
                let parsed = self.parse_text(text);
                self.loose_template(&parsed);
            }
            ExpressionKind::Word(Name { text, .. }) | ExpressionKind::Address(Name { text, .. }) => {
                self.assembler.push_text(text.as_bytes());
            }
            _ => self.plain_value(argument),
        }
    }

    fn place_argument(&mut self, argument: &Expression) -> ArgumentShape {
        let parsed;
        let variable = match &argument.kind {
            ExpressionKind::Variable(variable) => Some(variable),
            ExpressionKind::Text(text) => {
                let before = self.diagnostics.len();
                parsed = self.parse_text(text);
                match parsed.pieces.as_slice() {
                    [Piece::Variable(variable)] => Some(variable),
                    _ if self.diagnostics.len() > before => return self.no_argument(),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some(variable) = variable else {
            self.error_with_help(
                argument.span,
                "a variable is needed here",
                "write it as $var(x) or \"$var(x)\"",
            );
            return self.no_argument();
        };
        match self.place(variable, "passed to a function that assigns it") {
            Some(shape) => ArgumentShape::Place(shape),
            None => self.no_argument(),
        }
    }

    /// A route by name. `"0"` stands for none, as 0, unless a route is called so.
    fn route_argument(&mut self, kind: RouteKind, argument: &Expression) -> ArgumentShape {
        match self.route_name(argument) {
            RouteName::Literal(name) if name == "0" && self.program.route(kind, b"0").is_none() => {
                self.emit(Instruction::Integer(0));
                ArgumentShape::Value
            }
            RouteName::Literal(name) => match self.find_route(kind, &name, argument.span) {
                Some(route) => ArgumentShape::Route(route),
                None => self.no_argument(),
            },
            RouteName::OnStack => {
                self.note_computed_route(kind);
                ArgumentShape::NamedRoute(kind)
            }
        }
    }

    fn prepared_argument(
        &mut self,
        function: FunctionId,
        index: usize,
        argument: &Expression,
    ) -> ArgumentShape {
        let known = match (&argument.kind, plain_text(argument)) {
            (_, Some(known)) => Some(known),
            (ExpressionKind::Text(text), None) => {
                let parsed = self.parse_text(text);
                let known = literal(&parsed);
                if known.is_none() {
                    self.template(&parsed);
                }
                known
            }
            _ => {
                self.plain_value(argument);
                self.emit(Instruction::ToText);
                None
            }
        };
        let Some(known) = known else { return ArgumentShape::Value };
        match self.catalog.prepare(function, index, &known) {
            Ok(Some(number)) => ArgumentShape::Prepared(number, self.assembler.text(&known)),
            Ok(None) => {
                self.assembler.push_text(&known);
                ArgumentShape::Value
            }
            Err(mistake) => {
                self.refuse(argument.span, mistake);
                self.no_argument()
            }
        }
    }

    fn no_argument(&mut self) -> ArgumentShape {
        self.nothing();
        ArgumentShape::Value
    }

    /// An argument that is an expression; a call is not one.
    fn plain_value(&mut self, argument: &Expression) {
        if let ExpressionKind::Call(call) = &argument.kind
            && call.name.text != "selval"
        {
            let help = "assign its result to a variable first";
            self.error_with_help(argument.span, "a call cannot be an argument of a call", help);
            self.nothing();
            return;
        }
        self.expression(argument, Codes::Truth);
    }

    /// Literal text of the script, searched for variables.
    pub(super) fn parse_text(&mut self, text: &Text) -> Template {
        match self.source {
            Some(source) => template::parse_text(text, source, &mut self.diagnostics),
            None => template::parse_template(&text.bytes, text.span, &mut self.diagnostics),
        }
    }
}

/// The text of an argument that holds no variable: a word, an address, a number, a literal. In a literal, a `$` that
/// no name follows is itself (the end of a regular expression).
fn plain_text(argument: &Expression) -> Option<Vec<u8>> {
    match &argument.kind {
        ExpressionKind::Word(name) | ExpressionKind::Address(name) => Some(name.text.clone().into_bytes()),
        ExpressionKind::Number(number) => Some(number.to_string().into_bytes()),
        ExpressionKind::Text(text) => (!may_hold_variable(&text.bytes)).then(|| text.bytes.clone()),
        _ => None,
    }
}

fn may_hold_variable(bytes: &[u8]) -> bool {
    let is_name_start = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'(' | b'?' | b'$');
    bytes.windows(2).any(|pair| pair[0] == b'$' && is_name_start(pair[1]))
}
