//! Productions of expressions.
//!
//! ```text
//!  weakest   =
//!            ||  or          &&  and         |      &      ^      <<  >>
//!            ==  !=  =~  eq  ne  ieq  ine    <  >  <=  >=
//!            +  -            *  /  mod
//!            !  not  ~  -    defined         (int)  (str)
//!  strongest operands: 1  "text"  $var(x)  @a.b  10.0.0.0/8  word  f(a, b)  ( e )
//! ```

use super::item::quote_the_name;
use super::{Parsed, Parser};
use crate::script::ast::{
    BinaryOperator, Call, Expression, ExpressionKind, Name, Piece, SelectStep, Template, UnaryOperator,
    Variable,
};
use crate::script::diagnostic::Diagnostic;
use crate::script::template;
use crate::script::token::TokenKind;
use std::net::Ipv6Addr;

impl Parser<'_> {
    /// One whole expression.
    pub(super) fn expression(&mut self) -> Parsed<Expression> {
        let outer_count = std::mem::take(&mut self.operator_count);
        let expression = self.inner_expression();
        self.operator_count = outer_count;
        expression
    }

    /// An expression inside another: operators go on being counted.
    fn inner_expression(&mut self) -> Parsed<Expression> {
        self.nested(|parser| {
            let start = parser.position();
            let left = parser.binary(1)?;
            if parser.kind() == TokenKind::Assign { parser.assignment(start, left) } else { Ok(left) }
        })
    }

    fn assignment(&mut self, start: usize, left: Expression) -> Parsed<Expression> {
        let equals = self.token(0).span;
        let ExpressionKind::Variable(target) = left.kind else {
            let diagnostic = Diagnostic::error(equals, "only a variable can be assigned to");
            return self.fail(diagnostic.with_help("to compare, write `==`"));
        };
        self.advance();
        let value = Box::new(self.inner_expression()?);
        let kind = ExpressionKind::Assign { target: Box::new(target), value };
        Ok(Expression { kind, span: self.span_from(start) })
    }

    // Operators.

    /// Operators that bind at least as strongly as `level`, from left to right.
    fn binary(&mut self, level: u8) -> Parsed<Expression> {
        let start = self.position();
        let mut left = self.unary()?;
        while let Some((operator, strength)) = self.binary_operator()
            && strength >= level
        {
            self.count_operator()?;
            self.advance();
            let right = self.binary(strength + 1)?;
            let kind = ExpressionKind::Binary(operator, Box::new(left), Box::new(right));
            left = Expression { kind, span: self.span_from(start) };
        }
        if let Some(diagnostic) = self.foreign_operator() {
            return self.fail(diagnostic);
        }
        Ok(left)
    }

    /// Long chains make deep trees; code that walks them relies on this limit.
    fn count_operator(&mut self) -> Parsed<()> {
        self.operator_count += 1;
        if self.operator_count > OPERATORS_MAX {
            let message = format!("more than {OPERATORS_MAX} operators in one expression");
            return self
                .fail(Diagnostic::error(self.token(0).span, message).with_help("divide it by variables"));
        }
        Ok(())
    }

    fn binary_operator(&self) -> Option<(BinaryOperator, u8)> {
        use BinaryOperator::*;
        Some(match self.kind() {
            TokenKind::OrOr => (Or, 1),
            TokenKind::AndAnd => (And, 2),
            TokenKind::Or => (BitOr, 3),
            TokenKind::And => (BitAnd, 4),
            TokenKind::Caret => (BitXor, 5),
            TokenKind::ShiftLeft => (ShiftLeft, 6),
            TokenKind::ShiftRight => (ShiftRight, 6),
            TokenKind::Equal if self.is_glued(1) && self.kind_at(1) == TokenKind::Assign => return None,
            TokenKind::Equal => (Equal, 7),
            TokenKind::NotEqual => (NotEqual, 7),
            TokenKind::Matches => (Matches, 7),
            TokenKind::Greater => (Greater, 8),
            TokenKind::Less => (Less, 8),
            TokenKind::GreaterOrEqual => (GreaterOrEqual, 8),
            TokenKind::LessOrEqual => (LessOrEqual, 8),
            TokenKind::Plus | TokenKind::Minus | TokenKind::Star if self.is_compound() => return None,
            TokenKind::Plus => (Add, 9),
            TokenKind::Minus => (Subtract, 9),
            TokenKind::Star => (Multiply, 10),
            TokenKind::Slash => (Divide, 10),
            TokenKind::Word => match self.word() {
                "or" => (Or, 1),
                "and" => (And, 2),
                "eq" => (TextEqual, 7),
                "ne" => (TextNotEqual, 7),
                "ieq" => (IntegerEqual, 7),
                "ine" => (IntegerNotEqual, 7),
                "mod" => (Modulo, 10),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// `+=`, `++` and their kin, which are two tokens here.
    fn is_compound(&self) -> bool {
        self.is_glued(1)
            && (self.kind_at(1) == TokenKind::Assign
                || self.kind() != TokenKind::Minus && self.kind_at(1) == self.kind()
                || self.kind() == TokenKind::Minus && self.kind_at(1) == TokenKind::Minus && self.is_suffix())
    }

    /// `$i--;` is meant as one operator, `1 --1` is not.
    fn is_suffix(&self) -> bool {
        matches!(self.kind_at(2), TokenKind::Semicolon | TokenKind::RightParenthesis | TokenKind::RightBrace)
    }

    /// What stands where an operator could, and belongs to another language.
    pub(super) fn foreign_operator(&self) -> Option<Diagnostic> {
        let (here, next) = (self.token(0), self.token(1));
        let is_glued = self.is_glued(1);
        let pair = |second: TokenKind| is_glued && next.kind == second;
        let (text, help) = match here.kind {
            TokenKind::Not if pair(TokenKind::Tilde) => ("!~", "write `!(a =~ b)`"),
            TokenKind::Colon if pair(TokenKind::Assign) => (":=", "to assign, write `=`"),
            TokenKind::Plus if pair(TokenKind::Assign) => ("+=", "write `$x = $x + …`"),
            TokenKind::Minus if pair(TokenKind::Assign) => ("-=", "write `$x = $x - …`"),
            TokenKind::Star if pair(TokenKind::Assign) => ("*=", "write `$x = $x * …`"),
            TokenKind::Plus if pair(TokenKind::Plus) => ("++", "write `$x = $x + 1`"),
            TokenKind::Minus if pair(TokenKind::Minus) => ("--", "write `$x = $x - 1`"),
            TokenKind::Star if pair(TokenKind::Star) => ("**", "there is no power; multiply"),
            TokenKind::Equal if pair(TokenKind::Assign) => ("===", "write `==`, or `eq` to compare as text"),
            TokenKind::Question => ("?:", "write `selval(condition, a, b)`, or `if … else …`"),
            TokenKind::Percent => ("%", "write `mod`"),
            TokenKind::Dot => (".", "texts are joined with `+`"),
            _ => return None,
        };
        let two = is_glued && text.len() > 1 && text != "?:";
        let end = if two { next.span.end.max(here.span.end) } else { here.span.end };
        let span = crate::script::ast::Span { start: here.span.start, end };
        Some(Diagnostic::error(span, format!("there is no operator `{text}`")).with_help(help))
    }

    fn unary(&mut self) -> Parsed<Expression> {
        let operator = match self.kind() {
            TokenKind::Not => UnaryOperator::Not,
            TokenKind::Tilde => UnaryOperator::BitNot,
            TokenKind::Minus => UnaryOperator::Negate,
            TokenKind::Word if self.word() == "not" => UnaryOperator::Not,
            TokenKind::Word if self.word() == "defined" => UnaryOperator::Defined,
            TokenKind::LeftParenthesis => match self.cast() {
                Some(operator) => operator,
                None => return self.operand(),
            },
            _ => return self.operand(),
        };
        let start = self.position();
        let is_cast = matches!(operator, UnaryOperator::ToInteger | UnaryOperator::ToText);
        for _ in 0..if is_cast { 3 } else { 1 } {
            self.advance();
        }
        self.count_operator()?;
        let operand = Box::new(self.nested(Self::unary)?);
        Ok(Expression { kind: ExpressionKind::Unary(operator, operand), span: self.span_from(start) })
    }

    /// `(int)` or `(str)`
    fn cast(&self) -> Option<UnaryOperator> {
        let is_closed = self.kind_at(2) == TokenKind::RightParenthesis;
        match self.word_at(1) {
            "int" if is_closed => Some(UnaryOperator::ToInteger),
            "str" if is_closed => Some(UnaryOperator::ToText),
            _ => None,
        }
    }

    // Operands.

    fn operand(&mut self) -> Parsed<Expression> {
        let start = self.position();
        let kind = match self.kind() {
            TokenKind::LeftParenthesis => self.group()?,
            TokenKind::Text => ExpressionKind::Text(self.texts()),
            TokenKind::Variable => ExpressionKind::Variable(self.variable()?),
            TokenKind::At => ExpressionKind::Select(self.select()?),
            TokenKind::Percent if self.kind_at(1) == TokenKind::Word && self.is_glued(1) => {
                ExpressionKind::Variable(self.old_variable())
            }
            TokenKind::Number | TokenKind::LeftBracket | TokenKind::Colon if self.is_address() => {
                self.address()?
            }
            TokenKind::Number => ExpressionKind::Number(self.number()?),
            TokenKind::Word if self.is_address() => self.address()?,
            TokenKind::Word => self.word_operand()?,
            _ => return self.no_operand(),
        };
        Ok(Expression { kind, span: self.span_from(start) })
    }

    fn no_operand<T>(&mut self) -> Parsed<T> {
        let token = self.token(0);
        let before = self.previous();
        let diagnostic = match token.kind {
            TokenKind::Assign if before.kind == TokenKind::Matches || before.kind == TokenKind::Equal => {
                Diagnostic::error(token.span, "there is one `=` too many").with_help("write `==` or `=~`")
            }
            TokenKind::Slash if before.kind == TokenKind::Matches => {
                Diagnostic::error(token.span, "a regular expression needs quotes here")
                    .with_help("write `=~ \"…\"`; `/…/` is for `case`")
            }
            TokenKind::RightParenthesis if before.kind == TokenKind::LeftParenthesis => {
                Diagnostic::error(token.span, "there is nothing in these parentheses")
            }
            TokenKind::RightParenthesis if before.kind == TokenKind::Comma => {
                Diagnostic::error(before.span, "nothing follows this `,`").with_help("remove it")
            }
            _ => {
                let message = format!("a value is missing before {}", self.shown());
                Diagnostic::error(
                    if token.is_first_on_line { self.span_behind() } else { token.span },
                    message,
                )
            }
        };
        self.fail(diagnostic)
    }

    fn group(&mut self) -> Parsed<ExpressionKind> {
        let open = self.advance();
        let inner = self.inner_expression()?;
        self.close(TokenKind::RightParenthesis, open)?;
        Ok(ExpressionKind::Group(Box::new(inner)))
    }

    fn variable(&mut self) -> Parsed<Variable> {
        let token = self.advance();
        if token.is_broken {
            return Err(super::Skip);
        }
        self.refuse_long_parts(token.span)?;
        let bytes = self.bytes_of(token);
        template::parse_variable(bytes, token.span, self.diagnostics()).ok_or(super::Skip)
    }

    /// `%name`, the old way to write `$avp(name)`.
    fn old_variable(&mut self) -> Variable {
        let start = self.position();
        let percent = self.advance();
        let key = self.name();
        let pieces = vec![Piece::Literal(key.text.into_bytes())];
        Variable {
            name: Name { text: "avp".to_string(), span: percent.span },
            key: Some(Template { pieces, span: key.span }),
            index: None,
            transformations: Vec::new(),
            span: self.span_from(start),
        }
    }

    /// `$avp(x)[0]` and `$rU{s.len}` need the long form.
    fn refuse_long_parts(&mut self, span: crate::script::ast::Span) -> Parsed<()> {
        let is_index = self.kind() == TokenKind::LeftBracket;
        let is_transformation = self.kind() == TokenKind::LeftBrace
            && self.kind_at(1) == TokenKind::Word
            && self.kind_at(2) == TokenKind::Dot;
        if !self.is_glued(0) || !(is_index || is_transformation) {
            return Ok(());
        }
        let written = String::from_utf8_lossy(self.source.text(span)).into_owned();
        let inner = written.trim_start_matches('$').to_string();
        let (what, example) = if is_index {
            ("an index", format!("$({inner}[…])"))
        } else {
            ("a transformation", format!("$({inner}{{…}})"))
        };
        let diagnostic =
            Diagnostic::error(self.token(0).span, format!("{what} needs the long form of a variable"));
        self.report(diagnostic.with_help(format!("write `{example}`")));
        let open = self.kind();
        let close =
            if open == TokenKind::LeftBracket { TokenKind::RightBracket } else { TokenKind::RightBrace };
        while !matches!(self.kind(), TokenKind::Semicolon | TokenKind::End) && self.kind() != close {
            self.advance();
        }
        self.take(close);
        Ok(())
    }

    /// `@a.b["x"].c[2]`
    fn select(&mut self) -> Parsed<Vec<SelectStep>> {
        let at = self.advance();
        let mut steps = Vec::new();
        loop {
            if self.kind() != TokenKind::Word {
                let diagnostic = Diagnostic::error(at.span, "a select needs a name after `@` and every `.`");
                return self
                    .fail(diagnostic.with_help("for example `@via[1].host` or `@msg.header[\"X-Name\"]`"));
            }
            steps.push(SelectStep::Name(self.name()));
            while self.kind() == TokenKind::LeftBracket && self.is_glued(0) {
                steps.push(self.select_index()?);
            }
            if self.kind() != TokenKind::Dot || !self.is_glued(0) {
                return Ok(steps);
            }
            self.advance();
        }
    }

    fn select_index(&mut self) -> Parsed<SelectStep> {
        let open = self.advance();
        let step = match self.kind() {
            TokenKind::Text => SelectStep::Key(self.texts()),
            _ => SelectStep::Index(self.signed_number()?),
        };
        self.close(TokenKind::RightBracket, open)?;
        Ok(step)
    }

    // Words and calls.

    fn word_operand(&mut self) -> Parsed<ExpressionKind> {
        if self.kind_at(1) == TokenKind::LeftParenthesis {
            return self.call();
        }
        if super::STATEMENT_WORDS.contains(&self.word()) {
            return self.no_operand();
        }
        let mut name = self.name();
        let is_pair = self.kind() == TokenKind::Colon
            && WORD_PAIRS.contains(&(name.text.as_str(), self.word_at(1)))
            && self.is_glued(0)
            && self.is_glued(1);
        if is_pair {
            self.advance();
            let second = self.name();
            name.span = self.source.join(name.span, second.span);
            name.text = format!("{}:{}", name.text, second.text);
        }
        Ok(match number_of_word(&name.text) {
            Some(number) => ExpressionKind::Number(number),
            None => ExpressionKind::Word(name),
        })
    }

    fn call(&mut self) -> Parsed<ExpressionKind> {
        let name = self.name();
        let operator = match name.text.as_str() {
            "strlen" => Some(UnaryOperator::Length),
            "strempty" => Some(UnaryOperator::IsEmpty),
            _ => None,
        };
        if operator.is_none() && name.text != "selval" && self.open_calls > 0 {
            let message =
                format!("`{}` cannot be called inside the arguments of another function", name.text);
            let help = format!("call it before: `$var(x) = {}(…);`", name.text);
            return self.fail(Diagnostic::error(name.span, message).with_help(help));
        }
        let open = self.advance();
        if let Some(operator) = operator {
            let operand = Box::new(self.inner_expression()?);
            self.close(TokenKind::RightParenthesis, open)?;
            return Ok(ExpressionKind::Unary(operator, operand));
        }
        self.open_calls += usize::from(name.text != "selval");
        let arguments = self.arguments(&name, open);
        self.open_calls -= usize::from(name.text != "selval");
        Ok(ExpressionKind::Call(Call { arguments: arguments?, name }))
    }

    fn arguments(&mut self, function: &Name, open: crate::script::token::Token) -> Parsed<Vec<Expression>> {
        let mut arguments = Vec::with_capacity(1);
        if self.take(TokenKind::RightParenthesis) {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.argument(&function.text)?);
            if !self.take(TokenKind::Comma) {
                break;
            }
        }
        self.close(TokenKind::RightParenthesis, open)?;
        Ok(arguments)
    }

    fn argument(&mut self, function: &str) -> Parsed<Expression> {
        if ADDRESS_FUNCTIONS.contains(&function) && self.is_host() {
            let start = self.position();
            let text = self.glued_word();
            let span = self.span_from(start);
            return Ok(Expression { kind: ExpressionKind::Address(Name { text, span }), span });
        }
        let is_dashed = function == "route"
            && self.kind() == TokenKind::Word
            && self.kind_at(1) == TokenKind::Minus
            && self.is_glued(1);
        if is_dashed {
            let span = self.token(1).span;
            return self.fail(quote_the_name(span).with_help("write `route(\"with-dash\")`"));
        }
        self.inner_expression()
    }

    /// A host, address or socket in the arguments of `forward` and its kin: several tokens that stand together.
    fn is_host(&self) -> bool {
        let is_pair =
            self.kind_at(1) == TokenKind::Colon && WORD_PAIRS.contains(&(self.word(), self.word_at(2)));
        matches!(self.kind(), TokenKind::Word | TokenKind::Number | TokenKind::LeftBracket)
            && (self.kind() == TokenKind::LeftBracket || self.is_glued(1))
            && !is_pair
            && matches!(
                self.kind_at(1),
                TokenKind::Dot | TokenKind::Colon | TokenKind::Minus | TokenKind::Number | TokenKind::Word
            )
    }

    // Addresses.

    /// Whether an IP address or a host name with dots stands here.
    fn is_address(&self) -> bool {
        match self.kind() {
            TokenKind::LeftBracket => true,
            TokenKind::Colon => self.ipv6_length().is_some(),
            TokenKind::Number if self.is_glued(1) && self.kind_at(1) == TokenKind::Dot => true,
            TokenKind::Number => self.ipv6_length().is_some(),
            _ => self.ipv6_length().is_some() || self.host_length().is_some(),
        }
    }

    /// Number of tokens of an IPv6 address without brackets.
    fn ipv6_length(&self) -> Option<usize> {
        if self.kind() != TokenKind::Colon && !(self.kind_at(1) == TokenKind::Colon && self.is_glued(1)) {
            return None;
        }
        let mut text = String::new();
        let mut count = 0;
        let mut longest = None;
        let is_part =
            |kind| matches!(kind, TokenKind::Word | TokenKind::Number | TokenKind::Colon | TokenKind::Dot);
        while count < ADDRESS_TOKENS_MAX
            && is_part(self.kind_at(count))
            && (count == 0 || self.is_glued(count))
        {
            text.push_str(self.text_of(self.token(count)));
            count += 1;
            if text.parse::<Ipv6Addr>().is_ok() {
                longest = Some(count);
            }
        }
        longest
    }

    /// Number of tokens of a host name with at least one dot.
    fn host_length(&self) -> Option<usize> {
        let mut count = 1;
        let mut has_dot = false;
        while self.is_glued(count)
            && self.is_glued(count + 1)
            && matches!(self.kind_at(count), TokenKind::Dot | TokenKind::Minus)
            && matches!(self.kind_at(count + 1), TokenKind::Word | TokenKind::Number)
            && count < ADDRESS_TOKENS_MAX
        {
            has_dot |= self.kind_at(count) == TokenKind::Dot;
            count += 2;
        }
        has_dot.then_some(count)
    }

    fn address(&mut self) -> Parsed<ExpressionKind> {
        let start = self.position();
        let mut text = match self.kind() {
            TokenKind::LeftBracket => self.bracketed_address()?,
            _ => {
                let dotted = self.host_length();
                let length = self.ipv6_length().or(dotted).unwrap_or(1);
                self.tokens_text(length)
            }
        };
        if self.kind() == TokenKind::Slash && self.kind_at(1) == TokenKind::Number {
            self.advance();
            text.push('/');
            let length = self.host_length().unwrap_or(1);
            text.push_str(&self.tokens_text(length));
        }
        Ok(ExpressionKind::Address(Name { text, span: self.span_from(start) }))
    }

    /// Takes `count` tokens as one text.
    fn tokens_text(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let token = self.advance();
            text.push_str(self.text_of(token));
        }
        text
    }

    fn bracketed_address(&mut self) -> Parsed<String> {
        let open = self.advance();
        let length = self.ipv6_length().unwrap_or(0);
        let inside = self.tokens_text(length);
        if length == 0 {
            let diagnostic = Diagnostic::error(open.span, "an IPv6 address is expected in these brackets");
            return self.fail(diagnostic.with_help("a value with an index is written `$(avp(x)[0])`"));
        }
        self.close(TokenKind::RightBracket, open)?;
        Ok(format!("[{inside}]"))
    }
}

/// Words with a colon in them.
const WORD_PAIRS: &[(&str, &str)] = &[("msg", "len"), ("uri", "host"), ("uri", "port")];

/// Functions whose arguments may be hosts and sockets without quotes.
const ADDRESS_FUNCTIONS: &[&str] = &[
    "forward",
    "forward_udp",
    "forward_tcp",
    "forward_tls",
    "forward_sctp",
    "send",
    "send_tcp",
    "force_send_socket",
    "set_advertised_address",
];

/// Operators in one expression.
const OPERATORS_MAX: usize = 500;

/// Tokens looked at for one address.
const ADDRESS_TOKENS_MAX: usize = 24;
/// The words of the language that are numbers wherever a value stands.
fn number_of_word(word: &str) -> Option<i64> {
    match word {
        "yes" | "true" | "on" | "enable" => Some(1),
        "no" | "false" | "off" | "disable" => Some(0),
        _ => None,
    }
}
