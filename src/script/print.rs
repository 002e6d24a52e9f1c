//! The tree written back as a script, in one canonical form.
//!
//! ```text
//!  loadmodule("sl.so")          loadmodule "sl.so"
//!  if(a)exit;else drop;   ─►    if (a)
//!                                   exit;
//!                               else
//!                                   drop;
//! ```
//!
//! **Invariant:** what is printed parses without a remark to the same tree, but for places. Comments and directives
//! are gone, defines are replaced; those in force at the end are written at the end.

use super::ast::*;
use super::parser::is_event_name;
use super::preprocess;
use std::fmt::Write;

/// The whole script.
pub fn print(ast: &Ast) -> String {
    let mut printer = Printer { out: String::new(), indent: 0, defines: &ast.defines };
    for item in &ast.items {
        printer.item(&item.kind);
    }
    printer.defines(ast);
    printer.out
}

/// A variable as it is written in a script.
#[cfg(test)]
pub(crate) fn print_variable(variable: &Variable) -> String {
    let mut out = String::new();
    write_variable(&mut out, variable);
    out
}

/// An expression as it is written in a script.
fn print_expression(expression: &Expression) -> String {
    let mut out = String::new();
    write_expression(&mut out, expression);
    out
}

/// A text in quotes, escaped where needed.
fn print_text(text: &Text) -> String {
    let mut out = String::new();
    write_text(&mut out, text);
    out
}

struct Printer<'a> {
    out: String,
    indent: usize,
    defines: &'a [(String, Option<String>)],
}

impl Printer<'_> {
    // Top level.

    fn item(&mut self, kind: &ItemKind) {
        match kind {
            ItemKind::LoadModule { path, options, evaluated } => {
                let word = if *evaluated { "loadmodulex" } else { "loadmodule" };
                let path = print_text(path);
                match options {
                    Some(options) => self.line(&format!("{word}({path}, {})", print_text(options))),
                    None => self.line(&format!("{word} {path}")),
                }
            }
            ItemKind::LoadPath(path) => self.line(&format!("loadpath {}", print_text(path))),
            ItemKind::ModuleParameter { modules, name, value, evaluated } => {
                let word = if *evaluated { "modparamx" } else { "modparam" };
                let (modules, name) = (print_text(modules), print_text(name));
                self.line(&format!("{word}({modules}, {name}, {})", global_value(value)));
            }
            ItemKind::Global { name, value } => self.global(&name.text, value),
            ItemKind::Custom { group, name, value, description } => {
                let description =
                    description.as_ref().map_or(String::new(), |text| format!(" desc {}", print_text(text)));
                self.line(&format!("{}.{} = {}{description}", group.text, name.text, global_value(value)));
            }
            ItemKind::Route(route) => self.route(route),
        }
    }

    fn global(&mut self, name: &str, value: &GlobalValue) {
        match (name, &value.kind) {
            ("flags" | "avpflags", GlobalValueKind::List(flags)) => {
                let flags: Vec<String> = flags.iter().map(global_value).collect();
                self.line(&format!("{name} {}", flags.join(", ")));
            }
            ("coreparam", GlobalValueKind::List(_)) => self.line(&format!("{name}{}", global_value(value))),
            ("cfgengine", _) => self.line(&format!("{name} {}", global_value(value))),
            _ => self.line(&format!("{name} = {}", global_value(value))),
        }
    }

    fn route(&mut self, route: &Route) {
        let word = match route.kind {
            RouteKind::Request => "request_route",
            RouteKind::Named => "route",
            RouteKind::Reply => "reply_route",
            RouteKind::OnReply => "onreply_route",
            RouteKind::Failure => "failure_route",
            RouteKind::Branch => "branch_route",
            RouteKind::OnSend => "onsend_route",
            RouteKind::Event => "event_route",
        };
        let name = route
            .name
            .as_ref()
            .map_or(String::new(), |name| format!("[{}]", self.route_name(route.kind, name)));
        self.out.push('\n');
        self.line(&format!("{word}{name} {{"));
        self.statements(&route.body);
        self.line("}");
    }

    fn route_name(&self, kind: RouteKind, name: &Name) -> String {
        let text = &name.text;
        let is_number = text.parse::<u16>().is_ok_and(|number| number.to_string() == *text);
        let is_bare = is_word(text) && !self.defines.iter().any(|(define, _)| define == text);
        let is_event = kind == RouteKind::Event && is_event_name(text);
        if is_number || is_bare || is_event { text.clone() } else { quoted(text.as_bytes()) }
    }

    /// Defines that do not come by themselves when the printed script is read.
    fn defines(&mut self, ast: &Ast) {
        let mut expected = preprocess::automatic_defines();
        for item in &ast.items {
            if let ItemKind::LoadModule { path, .. } = &item.kind {
                expected.push((preprocess::module_define(&String::from_utf8_lossy(&path.bytes)), None));
            }
        }
        for (name, value) in &ast.defines {
            if expected.iter().any(|known| known.0 == *name && known.1 == *value) {
                continue;
            }
            let value = value.as_ref().map_or(String::new(), |value| format!(" {value}"));
            self.line(&format!("#!redefine {name}{value}"));
        }
    }

    // Statements.

    fn statements(&mut self, statements: &[Statement]) {
        self.indent += 1;
        for statement in statements {
            self.statement(statement);
        }
        self.indent -= 1;
    }

    fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            StatementKind::Empty => self.line(";"),
            StatementKind::Block(body) => {
                self.line("{");
                self.statements(body);
                self.line("}");
            }
            StatementKind::Expression(expression) => self.line(&format!("{};", print_expression(expression))),
            StatementKind::If { condition, then, otherwise } => {
                self.branches(condition, then, otherwise.as_deref())
            }
            StatementKind::While { condition, body } => {
                self.headed(&format!("while {}", print_expression(condition)), body);
            }
            StatementKind::Switch { subject, cases } => self.switch(subject, cases),
            StatementKind::Break => self.line("break;"),
            StatementKind::Return(value) => self.leaving("return", value.as_ref()),
            StatementKind::Exit(value) => self.leaving("exit", value.as_ref()),
            StatementKind::Drop(value) => self.leaving("drop", value.as_ref()),
        }
    }

    fn leaving(&mut self, word: &str, value: Option<&Expression>) {
        match value {
            Some(value) => self.line(&format!("{word} {};", print_expression(value))),
            None => self.line(&format!("{word};")),
        }
    }

    /// A chain of `else if` is walked in a loop.
    fn branches(&mut self, condition: &Expression, then: &Statement, otherwise: Option<&Statement>) {
        self.headed(&format!("if {}", print_expression(condition)), then);
        let mut rest = otherwise;
        while let Some(statement) = rest {
            rest = None;
            if let StatementKind::If { condition, then, otherwise } = &statement.kind {
                self.headed(&format!("else if {}", print_expression(condition)), then);
                rest = otherwise.as_deref();
            } else {
                self.headed("else", statement);
            }
        }
    }

    /// A line with the statement that belongs to it.
    fn headed(&mut self, head: &str, body: &Statement) {
        if let StatementKind::Block(statements) = &body.kind {
            self.line(&format!("{head} {{"));
            self.statements(statements);
            self.line("}");
        } else {
            self.line(head);
            self.statements(std::slice::from_ref(body));
        }
    }

    fn switch(&mut self, subject: &Expression, cases: &[Case]) {
        self.line(&format!("switch {} {{", print_expression(subject)));
        self.indent += 1;
        for case in cases {
            match &case.label {
                Label::Value(value) => self.line(&format!("case {}:", print_expression(value))),
                Label::Regex(pattern) => self.line(&format!("case {}:", regex(pattern))),
                Label::Default => self.line("default:"),
            }
            self.statements(&case.body);
        }
        self.indent -= 1;
        self.line("}");
    }

    fn line(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.out.push_str("    ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }
}

fn global_value(value: &GlobalValue) -> String {
    match &value.kind {
        GlobalValueKind::Number(number) => number.to_string(),
        GlobalValueKind::Text(text) => print_text(text),
        GlobalValueKind::Word(word) => word.clone(),
        GlobalValueKind::Socket(socket) => socket_literal(socket),
        GlobalValueKind::List(values) => {
            let values: Vec<String> = values.iter().map(global_value).collect();
            format!("({})", values.join(", "))
        }
        GlobalValueKind::Fields(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{} = {};", name.text, global_value(value)))
                .collect();
            format!("{{ {} }}", fields.join(" "))
        }
    }
}

fn socket_literal(socket: &SocketLiteral) -> String {
    let mut out = socket.bind.clone();
    if let Some(address) = &socket.advertise {
        let _ = write!(out, " advertise {address}");
    }
    if let Some(name) = &socket.name {
        let _ = write!(out, " name {}", quoted(name.as_bytes()));
    }
    if socket.is_virtual {
        out.push_str(" virtual");
    }
    out
}

fn regex(pattern: &Text) -> String {
    let is_plain = !pattern.raw || !pattern.bytes.contains(&b'\'');
    if is_plain {
        format!("/{}", print_text(pattern))
    } else {
        format!("/{}/", String::from_utf8_lossy(&pattern.bytes))
    }
}

// Expressions.

fn write_expression(out: &mut String, expression: &Expression) {
    match &expression.kind {
        ExpressionKind::Number(number) => write_number(out, *number),
        ExpressionKind::Text(text) => write_text(out, text),
        ExpressionKind::Variable(variable) => write_variable(out, variable),
        ExpressionKind::Select(steps) => write_select(out, steps),
        ExpressionKind::Word(name) | ExpressionKind::Address(name) => out.push_str(&name.text),
        ExpressionKind::Call(call) => write_call(out, call),
        ExpressionKind::Assign { target, value } => {
            write_variable(out, target);
            out.push_str(" = ");
            write_expression(out, value);
        }
        ExpressionKind::Unary(operator, operand) => write_unary(out, *operator, operand),
        ExpressionKind::Binary(operator, left, right) => {
            write_expression(out, left);
            let _ = write!(out, " {} ", operator_text(*operator));
            write_expression(out, right);
        }
        ExpressionKind::Group(inner) => {
            out.push('(');
            write_expression(out, inner);
            out.push(')');
        }
    }
}

/// A literal is never negative as written; a wrapped one is written by its 32 bits.
fn write_number(out: &mut String, number: i64) {
    let _ = if number < 0 { write!(out, "{:#x}", number as u32) } else { write!(out, "{number}") };
}

fn write_unary(out: &mut String, operator: UnaryOperator, operand: &Expression) {
    let (before, after) = match operator {
        UnaryOperator::Not => ("!", ""),
        UnaryOperator::BitNot => ("~", ""),
        UnaryOperator::Negate => ("-", ""),
        UnaryOperator::Defined => ("defined ", ""),
        UnaryOperator::ToInteger => ("(int)", ""),
        UnaryOperator::ToText => ("(str)", ""),
        UnaryOperator::Length => ("strlen(", ")"),
        UnaryOperator::IsEmpty => ("strempty(", ")"),
    };
    out.push_str(before);
    write_expression(out, operand);
    out.push_str(after);
}

fn write_call(out: &mut String, call: &Call) {
    out.push_str(&call.name.text);
    out.push('(');
    for (index, argument) in call.arguments.iter().enumerate() {
        out.push_str(if index > 0 { ", " } else { "" });
        write_expression(out, argument);
    }
    out.push(')');
}

fn write_select(out: &mut String, steps: &[SelectStep]) {
    for (index, step) in steps.iter().enumerate() {
        let _ = match step {
            SelectStep::Name(name) => write!(out, "{}{}", if index == 0 { "@" } else { "." }, name.text),
            SelectStep::Index(number) => write!(out, "[{number}]"),
            SelectStep::Key(text) => write!(out, "[{}]", print_text(text)),
        };
    }
}

/// An operator as it is written.
fn operator_text(operator: BinaryOperator) -> &'static str {
    match operator {
        BinaryOperator::Or => "||",
        BinaryOperator::And => "&&",
        BinaryOperator::BitOr => "|",
        BinaryOperator::BitAnd => "&",
        BinaryOperator::BitXor => "^",
        BinaryOperator::ShiftLeft => "<<",
        BinaryOperator::ShiftRight => ">>",
        BinaryOperator::Equal => "==",
        BinaryOperator::NotEqual => "!=",
        BinaryOperator::Matches => "=~",
        BinaryOperator::TextEqual => "eq",
        BinaryOperator::TextNotEqual => "ne",
        BinaryOperator::IntegerEqual => "ieq",
        BinaryOperator::IntegerNotEqual => "ine",
        BinaryOperator::Greater => ">",
        BinaryOperator::Less => "<",
        BinaryOperator::GreaterOrEqual => ">=",
        BinaryOperator::LessOrEqual => "<=",
        BinaryOperator::Add => "+",
        BinaryOperator::Subtract => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "mod",
        BinaryOperator::Join => ".",
    }
}

// Variables.

fn write_variable(out: &mut String, variable: &Variable) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let name = &variable.name.text;
    let is_short = variable.index.is_none()
        && variable.transformations.is_empty()
        && (name == "?" || name.bytes().all(is_plain));
    out.push_str(if is_short { "$" } else { "$(" });
    out.push_str(name);
    if let Some(key) = &variable.key {
        out.push('(');
        write_template(out, key);
        out.push(')');
    }
    match &variable.index {
        None => {}
        Some(Index::All) => out.push_str("[*]"),
        Some(Index::Number(number)) => {
            let _ = write!(out, "[{number}]");
        }
        Some(Index::Variable(index)) => {
            out.push('[');
            write_variable(out, index);
            out.push(']');
        }
    }
    for transformation in &variable.transformations {
        write_transformation(out, transformation);
    }
    if !is_short {
        out.push(')');
    }
}

fn write_transformation(out: &mut String, transformation: &Transformation) {
    out.push('{');
    out.push_str(&transformation.name.text);
    for argument in &transformation.arguments {
        out.push(',');
        match argument.pieces.as_slice() {
            [Piece::Literal(literal)] if transformation.name.text == super::template::REGULAR_EXPRESSION => {
                out.push_str(&String::from_utf8_lossy(literal));
            }
            _ => write_template(out, argument),
        }
    }
    out.push('}');
}

fn write_template(out: &mut String, template: &Template) {
    for piece in &template.pieces {
        match piece {
            Piece::Literal(literal) => out.push_str(&String::from_utf8_lossy(literal).replace('$', "$$")),
            Piece::Variable(variable) => write_variable(out, variable),
        }
    }
}

// Texts.

fn write_text(out: &mut String, text: &Text) {
    let as_raw = std::str::from_utf8(&text.bytes).ok().filter(|inside| text.raw && !inside.contains('\''));
    match as_raw {
        Some(inside) => {
            let _ = write!(out, "'{inside}'");
        }
        None => out.push_str(&quoted(&text.bytes)),
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                control if control.is_ascii_control() => {
                    let _ = write!(out, "\\x{:02x}", control as u32);
                }
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::parser::{ParseOptions, parse};
    use super::super::source::SourceMap;
    use super::*;

    fn check(statement: &str, expected: &str) {
        let mut source = SourceMap::new();
        let root = source.add_file("a.cfg", format!("route {{ {statement} }}"));
        let (ast, diagnostics) = parse(&mut source, root, &ParseOptions::default());
        assert!(diagnostics.is_empty(), "{statement}: {diagnostics:?}");
        let printed = print(&ast);
        let body = printed.strip_prefix("\nrequest_route {\n").and_then(|rest| rest.strip_suffix("}\n"));
        assert_eq!(body, Some(expected), "{printed}");
    }

    #[test]
    fn statements_have_one_form() {
        check("if(1)exit;else drop ( ) ;", "    if (1)\n        exit;\n    else\n        drop;\n");
        check("if 1 {} else if 2 ;", "    if 1 {\n    }\n    else if 2\n        ;\n");
        check("force_rport ;", "    force_rport();\n");
        check("$x=1 or 2 and not 3;", "    $x = 1 || 2 && !3;\n");
        check("switch(1){case 1:default:}", "    switch (1) {\n        case 1:\n        default:\n    }\n");
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        check("f(\"a\\n\\x01\\\"\\xff\", 'a\\n');", "    f(\"a\\n\\x01\\\"\\xff\", 'a\\n');\n");
        check("$x = 4294967295;", "    $x = 0xffffffff;\n");
        check("$(x{s.select,1,,}) = $avp(a$$b);", "    $(x{s.select,1,,}) = $avp(a$$b);\n");
        check("$x = $(hdr(A)[-1]{re.subst,/a{2}$/b/g});", "    $x = $(hdr(A)[-1]{re.subst,/a{2}$/b/g});\n");
        check("$x = @via[ 1 ].host == 10.0.0.0 / 8;", "    $x = @via[1].host == 10.0.0.0/8;\n");
    }
}
