//! Productions of statements.
//!
//! ```text
//!  f(a, b);    $x = e;    if e s [else s]    while e s    switch e { case e: … default: … }
//!  break;      return [e];      exit [e];      drop [e];      { … }      ;
//! ```

use super::{Parsed, Parser};
use crate::script::ast::{Call, Case, Expression, ExpressionKind, Label, Name, Statement, StatementKind};
use crate::script::diagnostic::{Diagnostic, nearest};
use crate::script::token::{Token, TokenKind};

impl Parser<'_> {
    /// `{ … }`, its statements. Ends at the end of the script and before a new route, where a `}` is missing.
    pub(super) fn block(&mut self) -> Parsed<Vec<Statement>> {
        self.nested(|parser| {
            let open = parser.advance();
            let statements = parser.statements(&[]);
            parser.close_block(open);
            Ok(statements)
        })
    }

    /// Statements up to a `}`, or to one of these words.
    fn statements(&mut self, ends: &[&str]) -> Vec<Statement> {
        let mut statements = Vec::new();
        while !self.is_at_end_of_block() && !ends.contains(&self.word()) {
            let start = self.position();
            match self.statement() {
                Ok(statement) => statements.push(statement),
                Err(_) => {
                    self.skip_statement(start);
                    if self.position() == start && !self.is_at_end_of_block() {
                        self.advance();
                    }
                }
            }
        }
        // Most lists are short, and a vector begins with room for four.
        statements.shrink_to_fit();
        statements
    }

    fn is_at_end_of_block(&self) -> bool {
        matches!(self.kind(), TokenKind::RightBrace | TokenKind::End)
            || self.token(0).is_first_on_line && self.is_route_start()
    }

    /// A missing `}` is reported once, for the block that finds it missing, which is the outermost one open. Where it
    /// should have stood shows the first `}` that stands further left than the line it closes.
    fn close_block(&mut self, open: Token) {
        let closing = self.token(0);
        if self.take(TokenKind::RightBrace) {
            if self.doubtful_brace.is_none() && self.stands_further_left(closing, open) {
                self.doubtful_brace = Some(closing.span);
            }
            return;
        }
        let doubtful = self.doubtful_brace.filter(|span| span.start > open.span.start);
        if !self.is_newly_unclosed() {
            return;
        }
        let place = match self.kind() {
            TokenKind::End => "the end of the script".to_string(),
            _ => format!("`{}`", self.word()),
        };
        let diagnostic = Diagnostic::error(open.span, "this `{` is never closed");
        let diagnostic = diagnostic.with_help(format!("put a `}}` before {place}"));
        self.push(match doubtful {
            Some(span) => diagnostic.with_note(
                span,
                "this `}` closes a `{` on a line further to the right: is one missing before it?",
            ),
            None => diagnostic,
        });
    }

    fn stands_further_left(&self, closing: Token, open: Token) -> bool {
        let indent = |token: Token| {
            let line = self.source.line(token.span)?;
            line.text.iter().position(|byte| !byte.is_ascii_whitespace())
        };
        closing.is_first_on_line && indent(closing) < indent(open)
    }

    /// One statement with what ends it.
    fn statement(&mut self) -> Parsed<Statement> {
        let start = self.position();
        let kind = self.nested(Self::statement_kind)?;
        Ok(Statement { kind, span: self.span_from(start) })
    }

    fn statement_kind(&mut self) -> Parsed<StatementKind> {
        match self.kind() {
            TokenKind::Semicolon => {
                self.advance();
                Ok(StatementKind::Empty)
            }
            TokenKind::LeftBrace => Ok(StatementKind::Block(self.block()?)),
            TokenKind::Word => self.word_statement(),
            _ => self.expression_statement(),
        }
    }

    fn word_statement(&mut self) -> Parsed<StatementKind> {
        match self.word() {
            "if" => self.if_statement(),
            "while" => self.while_statement(),
            "switch" => self.switch_statement(),
            "break" => self.break_statement(),
            "return" => Ok(StatementKind::Return(self.leaving_value()?)),
            "exit" => Ok(StatementKind::Exit(self.leaving_value()?)),
            "drop" => Ok(StatementKind::Drop(self.leaving_value()?)),
            "else" => self.stray_else(),
            "case" | "default" => {
                let message = format!("`{}` is outside a `switch`", self.word());
                self.fail(Diagnostic::error(self.token(0).span, message))
            }
            "for" | "foreach" if self.kind_at(1) == TokenKind::LeftParenthesis => self.foreign_loop(),
            word if foreign_statement(word).is_some() => {
                let message = format!("there is no `{word}` in this language");
                let help = foreign_statement(word).unwrap_or_default();
                self.fail(Diagnostic::error(self.token(0).span, message).with_help(help))
            }
            _ => self.expression_statement(),
        }
    }

    // Branches.

    /// A chain of `else if` is read in a loop, so that its length costs no stack.
    fn if_statement(&mut self) -> Parsed<StatementKind> {
        let mut branches = Vec::new();
        let otherwise = loop {
            let start = self.position();
            self.advance();
            let condition = self.condition()?;
            let then = self.body("if")?;
            branches.push((start, condition, then));
            if self.word() != "else" {
                break None;
            }
            self.advance();
            if self.word() != "if" {
                break Some(Box::new(self.body("else")?));
            }
            if branches.len() >= BRANCHES_MAX {
                let message = format!("more than {BRANCHES_MAX} `else if` follow each other");
                return self.fail(Diagnostic::error(self.token(0).span, message).with_help("use `switch`"));
            }
        };
        Ok(self.nest_branches(branches, otherwise))
    }

    fn nest_branches(
        &self,
        branches: Vec<(usize, Expression, Statement)>,
        otherwise: Option<Box<Statement>>,
    ) -> StatementKind {
        let mut otherwise = otherwise;
        let mut whole = StatementKind::Empty;
        for (index, (start, condition, then)) in branches.into_iter().enumerate().rev() {
            whole = StatementKind::If { condition, then: Box::new(then), otherwise: otherwise.take() };
            if index > 0 {
                let kind = std::mem::replace(&mut whole, StatementKind::Empty);
                otherwise = Some(Box::new(Statement { kind, span: self.span_from(start) }));
            }
        }
        whole
    }

    /// A condition that cannot be read is stepped over, so that what depends on it is still looked at.
    fn condition(&mut self) -> Parsed<Expression> {
        let start = self.position();
        let is_parenthesised = self.kind() == TokenKind::LeftParenthesis;
        match self.expression() {
            Ok(condition) => Ok(condition),
            Err(skip) if !is_parenthesised => Err(skip),
            Err(skip) => {
                self.go_back(start);
                self.skip_parentheses();
                if matches!(self.kind(), TokenKind::LeftBrace) { Ok(self.placeholder()) } else { Err(skip) }
            }
        }
    }

    fn body(&mut self, word: &str) -> Parsed<Statement> {
        if self.is_at_end_of_block() {
            let message = format!("nothing follows this `{word}`");
            return self.fail(
                Diagnostic::error(self.span_behind(), message).with_help("put a statement or `{ }` here"),
            );
        }
        match self.word() {
            "then" => {
                let diagnostic = Diagnostic::error(self.token(0).span, "there is no `then` in this language");
                self.report(diagnostic.with_help("the statement follows the condition"));
                self.advance();
            }
            _ if self.kind() == TokenKind::RightParenthesis => self.extra_parenthesis(),
            _ => {}
        }
        self.statement()
    }

    fn stray_else(&mut self) -> Parsed<StatementKind> {
        let span = self.token(0).span;
        let help = match self.previous().kind {
            TokenKind::Semicolon => "a `;` ends the `if` before it: remove that `;`",
            _ => "`else` follows the statement of an `if`",
        };
        self.report(Diagnostic::error(span, "this `else` has no `if`").with_help(help));
        self.advance();
        self.nested(Self::statement_kind)
    }

    fn while_statement(&mut self) -> Parsed<StatementKind> {
        self.advance();
        let condition = self.condition()?;
        let body = Box::new(self.body("while")?);
        Ok(StatementKind::While { condition, body })
    }

    /// `for (…) s` is reported, its body still read.
    fn foreign_loop(&mut self) -> Parsed<StatementKind> {
        let message = format!("there is no `{}` in this language", self.word());
        let help = "write `$var(i) = 0; while ($var(i) < n) { …; $var(i) = $var(i) + 1; }`";
        self.report(Diagnostic::error(self.token(0).span, message).with_help(help));
        self.advance();
        let mut depth = 0usize;
        while !matches!(self.kind(), TokenKind::LeftBrace | TokenKind::RightBrace | TokenKind::End) {
            match self.kind() {
                TokenKind::LeftParenthesis => depth += 1,
                TokenKind::RightParenthesis => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.advance();
            if depth == 0 {
                break;
            }
        }
        self.nested(Self::statement_kind)
    }

    // Switch.

    fn switch_statement(&mut self) -> Parsed<StatementKind> {
        self.advance();
        let subject = self.condition()?;
        if self.kind() != TokenKind::LeftBrace {
            let message = format!("the cases are missing before {}", self.shown());
            let help = "write `switch (value) { case 1: …; break; default: …; }`";
            return self.fail(Diagnostic::error(self.token(0).span, message).with_help(help));
        }
        let open = self.advance();
        self.before_first_case();
        let mut cases = Vec::new();
        while matches!(self.word(), "case" | "default") {
            match self.case() {
                Ok(case) => cases.push(case),
                Err(_) => self.skip_case(),
            }
        }
        self.close_block(open);
        Ok(StatementKind::Switch { subject, cases })
    }

    fn before_first_case(&mut self) {
        let span = self.token(0).span;
        let has_label = |parser: &Self| matches!(parser.word(), "case" | "default");
        if has_label(self) || self.is_at_end_of_block() {
            return;
        }
        self.report(
            Diagnostic::error(span, "this is before the first `case`").with_help("it would never be reached"),
        );
        let kept = self.diagnostics().len();
        self.statements(LABELS);
        self.diagnostics().truncate(kept);
    }

    fn case(&mut self) -> Parsed<Case> {
        let start = self.position();
        let label = if self.advance_word() == "default" { Label::Default } else { self.case_label()? };
        if !self.take(TokenKind::Colon) {
            let message = format!("`:` is expected before {}", self.shown());
            return self
                .fail(Diagnostic::error(self.span_behind(), message).with_help("write `case value:`"));
        }
        let span = self.span_from(start);
        let body = self.statements(LABELS);
        Ok(Case { label, body, span })
    }

    fn case_label(&mut self) -> Parsed<Label> {
        match self.kind() {
            TokenKind::Regex => Ok(Label::Regex(self.text())),
            TokenKind::Slash if self.kind_at(1) == TokenKind::Text => {
                self.advance();
                Ok(Label::Regex(self.texts()))
            }
            _ => Ok(Label::Value(self.expression()?)),
        }
    }

    /// From a label that cannot be read to the next one.
    fn skip_case(&mut self) {
        while !self.is_at_end_of_block() && !LABELS.contains(&self.word()) {
            match self.kind() {
                TokenKind::LeftBrace => self.skip_braces(),
                _ => {
                    self.advance();
                }
            }
        }
    }

    // Leaving.

    fn break_statement(&mut self) -> Parsed<StatementKind> {
        self.advance();
        self.empty_parentheses();
        self.semicolon()?;
        Ok(StatementKind::Break)
    }

    /// What follows `return`, `exit` and `drop`: nothing, `()`, or a value.
    fn leaving_value(&mut self) -> Parsed<Option<Expression>> {
        self.advance();
        let is_bare = self.empty_parentheses() || self.ends_without_value();
        let value = if is_bare { None } else { Some(self.expression()?) };
        self.semicolon()?;
        Ok(value)
    }

    /// On the line below a `return` without `;`, a new statement is more likely than a value.
    fn ends_without_value(&self) -> bool {
        match self.kind() {
            TokenKind::Semicolon | TokenKind::RightBrace | TokenKind::End => true,
            TokenKind::Word if super::STATEMENT_WORDS.contains(&self.word()) => true,
            TokenKind::Word | TokenKind::Variable | TokenKind::LeftBrace => self.token(0).is_first_on_line,
            _ => false,
        }
    }

    fn empty_parentheses(&mut self) -> bool {
        let is_empty =
            self.kind() == TokenKind::LeftParenthesis && self.kind_at(1) == TokenKind::RightParenthesis;
        if is_empty {
            self.advance();
            self.advance();
        }
        is_empty
    }

    // Calls and assignments.

    fn expression_statement(&mut self) -> Parsed<StatementKind> {
        let start = self.position();
        if self.kind() == TokenKind::Word {
            if let Some(statement) = self.call_without_parentheses()? {
                return Ok(statement);
            }
            self.refuse_bare_word()?;
        }
        let expression = self.expression()?;
        self.semicolon()?;
        if !matches!(expression.kind, ExpressionKind::Call(_) | ExpressionKind::Assign { .. }) {
            let span = self.span_from(start);
            self.push_unless_poisoned(no_effect(&expression), span);
            // One report is enough: nothing of it is left to be reported again.
            return Ok(StatementKind::Empty);
        }
        Ok(StatementKind::Expression(expression))
    }

    fn push_unless_poisoned(&mut self, help: &str, span: crate::script::ast::Span) {
        self.report(Diagnostic::error(span, "this does nothing").with_help(help));
    }

    /// `force_rport;`
    fn call_without_parentheses(&mut self) -> Parsed<Option<StatementKind>> {
        let is_one = CALLED_WITHOUT_PARENTHESES.contains(&self.word());
        if !is_one || self.kind_at(1) == TokenKind::LeftParenthesis {
            return Ok(None);
        }
        let name = self.name();
        let span = name.span;
        self.semicolon()?;
        let call = Call { name, arguments: Vec::new() };
        Ok(Some(StatementKind::Expression(Expression { kind: ExpressionKind::Call(call), span })))
    }

    /// A word that is not called cannot begin a statement.
    fn refuse_bare_word(&mut self) -> Parsed<()> {
        let word = self.word();
        let diagnostic =
            |message: String, help: String| Diagnostic::error(self.token(0).span, message).with_help(help);
        let refused = match self.kind_at(1) {
            TokenKind::LeftParenthesis => return Ok(()),
            TokenKind::Assign => diagnostic(
                format!("`{word}` is not a variable"),
                format!("in a route only variables are assigned: `$var({word}) = …`"),
            ),
            TokenKind::Text | TokenKind::Variable | TokenKind::Number if !self.token(1).is_first_on_line => {
                diagnostic(
                    format!("the arguments of `{word}` are written in parentheses"),
                    format!(
                        "write `{word}({}…)`",
                        self.text_of(self.token(1)).chars().take(20).collect::<String>()
                    ),
                )
            }
            TokenKind::Semicolon => {
                diagnostic(format!("`{word}` alone does nothing"), format!("to call it, write `{word}();`"))
            }
            TokenKind::LeftBracket | TokenKind::LeftBrace
                if self.token(0).is_first_on_line && word != "route" =>
            {
                let near = nearest(word, ROUTE_WORDS.iter().copied());
                let help =
                    near.map_or("is a `;` missing?".to_string(), |near| format!("did you mean `{near}`?"));
                diagnostic(format!("there is no kind of route `{word}`"), help)
            }
            TokenKind::LeftBracket if word == "route" => diagnostic(
                "`route[…]` begins a block".to_string(),
                "to call a route, write `route(NAME);`".to_string(),
            ),
            _ => return Ok(()),
        };
        self.fail(refused)
    }

    /// The end of a statement. A missing one is reported right after the last token, and the statement stands.
    fn semicolon(&mut self) -> Parsed<()> {
        if self.take(TokenKind::Semicolon) {
            return Ok(());
        }
        if self.is_poisoned() {
            return Err(super::Skip);
        }
        if self.was_closing_missing_here() {
            return Ok(());
        }
        if self.kind() == TokenKind::RightParenthesis {
            self.extra_parenthesis();
            self.take(TokenKind::Semicolon);
            return Ok(());
        }
        if let Some(diagnostic) = self.foreign_operator() {
            return self.fail(diagnostic);
        }
        self.report(Diagnostic::error(self.span_behind(), "a `;` is missing").with_help("put a `;` here"));
        let goes_on = self.is_at_end_of_block()
            || self.token(0).is_first_on_line
            || matches!(self.kind(), TokenKind::Word | TokenKind::Variable | TokenKind::LeftBrace);
        if goes_on { Ok(()) } else { Err(super::Skip) }
    }

    fn extra_parenthesis(&mut self) {
        let diagnostic = Diagnostic::error(self.token(0).span, "this `)` closes nothing");
        self.report(diagnostic.with_help("remove it, or put a `(` before what it should close"));
        while self.take(TokenKind::RightParenthesis) {}
    }

    fn advance_word(&mut self) -> String {
        let Name { text, .. } = self.name();
        text
    }
}

fn no_effect(expression: &Expression) -> &'static str {
    use crate::script::ast::BinaryOperator::Equal;
    match expression.kind {
        ExpressionKind::Binary(Equal, ..) => "`==` compares; to assign, write `=`",
        _ => {
            "a statement is a call, an assignment, or one of `if`, `while`, `switch`, `return`, `exit`, `drop`, `break`"
        }
    }
}

/// What to write instead of a statement of another language.
fn foreign_statement(word: &str) -> Option<&'static str> {
    Some(match word {
        "continue" => "put the rest of the loop's body into an `if`",
        "elseif" | "elsif" | "elif" => "write `else if`",
        "do" => "write `while (condition) { … }`",
        "goto" => "call a route: `route(NAME);`",
        "function" | "def" | "sub" => "write a route: `route[NAME] { … }`, and call it with `route(NAME);`",
        "let" | "set" | "local" => "assign to a variable: `$var(name) = value;`",
        _ => return None,
    })
}

/// Core functions that may be called without `()`.
const CALLED_WITHOUT_PARENTHESES: &[&str] = &[
    "force_rport",
    "add_rport",
    "add_local_rport",
    "revert_uri",
    "force_tcp_alias",
    "add_tcp_alias",
    "set_forward_no_connect",
    "set_reply_no_connect",
    "set_forward_close",
    "set_reply_close",
];

/// Words that begin a route block, for suggestions.
const ROUTE_WORDS: &[&str] = &[
    "route",
    "request_route",
    "reply_route",
    "onreply_route",
    "failure_route",
    "branch_route",
    "onsend_route",
    "event_route",
];

const LABELS: &[&str] = &["case", "default"];

/// `else if` that may follow each other.
const BRANCHES_MAX: usize = 500;
