//! Tokens to tree, one function per production, never stopping at a mistake.
//!
//! ```text
//!  parser              what all productions need: the tokens, reporting, taking up again after a mistake
//!  item                top level: modules, parameters, sockets, route blocks
//!  socket              addresses to listen on, names of this server
//!  statement           what stands in a route
//!  expression          operators, operands, calls
//! ```
//!
//! A production that meets a mistake either reports it and goes on as if the right thing stood there (a missing `;` or
//! `)`), or reports it and returns [`Skip`]; the reader of a list of statements or items then moves on to the next
//! place where one can begin.
//!
//! **Invariant:** one mistake is reported once: after `Skip` nothing is reported until the parser has taken up again.
//! **Invariant:** the parser never panics, always ends, and its work is linear in the number of tokens.

mod expression;
mod item;
mod socket;
mod statement;

use super::ast::{Ast, Expression, ExpressionKind, Name, Span, Text};
use super::diagnostic::{self, Diagnostic};
pub use super::parse_options::{GivenDefine, ParseOptions};
use super::preprocess;
pub use super::preprocess::{FILE_SIZE_MAX, INCLUDE_DEPTH_MAX};
use super::source::{FileId, SourceMap};
use super::token::{Token, TokenKind, Tokens};
pub(super) use item::is_event_name;

/// Reads a script. There is always a tree; what could not be read is not in it and is reported.
pub fn parse(source: &mut SourceMap, root: FileId, options: &ParseOptions<'_>) -> (Ast, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let preprocessed = preprocess::preprocess(source, root, options, &mut diagnostics);
    let mut parser = Parser::new(source, &preprocessed.tokens, &mut diagnostics);
    let items = parser.items();
    diagnostic::sort(&mut diagnostics, source);
    diagnostics.truncate(DIAGNOSTICS_MAX);
    (Ast { items, defines: preprocessed.defines }, diagnostics)
}

/// A mistake was reported; go on at the next statement or item.
#[derive(Debug)]
pub(super) struct Skip;

/// What a production returns.
pub(super) type Parsed<T> = Result<T, Skip>;

pub(super) struct Parser<'p> {
    pub(super) source: &'p SourceMap,
    tokens: &'p [Token],
    texts: &'p [Text],
    at: usize,
    diagnostics: &'p mut Vec<Diagnostic>,
    nesting: usize,
    /// Where a missing `}` was reported: the blocks around it end there too.
    unclosed_at: Option<usize>,
    /// The first `}` of the route that stands further left than the line it closes.
    pub(super) doubtful_brace: Option<Span>,
    /// Operators of the expression being read.
    pub(super) operator_count: usize,
    /// Calls whose arguments are being read.
    pub(super) open_calls: usize,
}

impl<'p> Parser<'p> {
    fn new(source: &'p SourceMap, tokens: &'p Tokens, diagnostics: &'p mut Vec<Diagnostic>) -> Parser<'p> {
        let (tokens, texts) = (tokens.list.as_slice(), tokens.texts.as_slice());
        Parser {
            source,
            tokens,
            texts,
            at: 0,
            diagnostics,
            nesting: 0,
            unclosed_at: None,
            doubtful_brace: None,
            operator_count: 0,
            open_calls: 0,
        }
    }

    // Looking.

    /// Number of the token in hand.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Kind of the token in hand.
    pub(super) fn kind(&self) -> TokenKind {
        self.token(0).kind
    }

    /// Kind of a token further on.
    pub(super) fn kind_at(&self, offset: usize) -> TokenKind {
        self.token(offset).kind
    }

    /// A token further on; after the last it is the end.
    pub(super) fn token(&self, offset: usize) -> Token {
        self.tokens.get(self.at + offset).or(self.tokens.last()).copied().unwrap_or(NOTHING)
    }

    /// The token before the one in hand.
    pub(super) fn previous(&self) -> Token {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).copied().unwrap_or(NOTHING)
    }

    /// The current word; empty when the token is not a word.
    pub(super) fn word(&self) -> &'p str {
        self.word_at(0)
    }

    /// A word further on; empty when the token is not a word.
    pub(super) fn word_at(&self, offset: usize) -> &'p str {
        let token = self.token(offset);
        if token.kind == TokenKind::Word { self.text_of(token) } else { "" }
    }

    /// The bytes of a token, which are ASCII for all but literals.
    pub(super) fn text_of(&self, token: Token) -> &'p str {
        std::str::from_utf8(self.source.slice(token.region, token.span)).unwrap_or("")
    }

    /// Bytes of a token, whatever they are.
    pub(super) fn bytes_of(&self, token: Token) -> &'p [u8] {
        self.source.slice(token.region, token.span)
    }

    /// The literal of a token.
    pub(super) fn literal_of(&self, token: Token) -> Option<&'p Text> {
        self.texts.get(token.text as usize)
    }

    /// Whether the token so far on follows its neighbour without white space.
    pub(super) fn is_glued(&self, offset: usize) -> bool {
        let token = self.token(offset);
        !token.is_spaced && token.kind != TokenKind::End
    }

    // Taking.

    /// Goes on; stays at the end.
    pub(super) fn advance(&mut self) -> Token {
        let token = self.token(0);
        if token.kind != TokenKind::End {
            self.at += 1;
        }
        token
    }

    /// Goes on if the token is of this kind.
    pub(super) fn take(&mut self, kind: TokenKind) -> bool {
        let is_it = self.kind() == kind;
        if is_it {
            self.advance();
        }
        is_it
    }

    /// Reads again from a token already taken.
    pub(super) fn go_back(&mut self, position: usize) {
        self.at = position;
    }

    /// Takes a word as a name.
    pub(super) fn name(&mut self) -> Name {
        let token = self.advance();
        Name { text: self.text_of(token).to_string(), span: token.span }
    }

    /// Takes one literal, and those that follow it, as one text.
    pub(super) fn texts(&mut self) -> Text {
        let start = self.at;
        let mut text = self.text();
        while self.kind() == TokenKind::Text && !self.previous().is_broken {
            let next = self.text();
            text.bytes.extend_from_slice(&next.bytes);
            text.raw &= next.raw;
        }
        text.span = self.span_from(start);
        text
    }

    /// Takes one literal.
    pub(super) fn text(&mut self) -> Text {
        let token = self.advance();
        let empty = || Text { bytes: Vec::new(), raw: false, span: token.span };
        self.literal_of(token).cloned().unwrap_or_else(empty)
    }

    /// From a token to the last one taken.
    pub(super) fn span_from(&self, start: usize) -> Span {
        let (first, last) = (self.tokens.get(start).copied().unwrap_or(NOTHING), self.previous());
        if first.region == last.region && first.span.start <= last.span.end {
            return Span { start: first.span.start, end: last.span.end };
        }
        self.source.join(first.span, last.span)
    }

    /// The place right after the last token taken.
    pub(super) fn span_behind(&self) -> Span {
        let end = self.source.file_span(self.previous().span).end;
        Span { start: end, end }
    }

    // Reporting.

    /// Reports, unless the mistake follows from one already reported by the lexer.
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        if !self.is_poisoned() {
            self.push(diagnostic);
        }
    }

    /// Reports also beside a broken token.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < DIAGNOSTICS_MAX {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Where reports of variables go.
    pub(super) fn diagnostics(&mut self) -> &mut Vec<Diagnostic> {
        self.diagnostics
    }

    /// Reports and gives up on the statement or item.
    pub(super) fn fail<T>(&mut self, diagnostic: Diagnostic) -> Parsed<T> {
        self.report(diagnostic);
        Err(Skip)
    }

    /// Whether the token in hand or the last one was broken.
    pub(super) fn is_poisoned(&self) -> bool {
        self.token(0).is_broken || self.previous().is_broken
    }

    /// The token in hand, as a message shows it.
    pub(super) fn shown(&self) -> String {
        let token = self.token(0);
        match token.kind {
            TokenKind::End => "the end of the script".to_string(),
            TokenKind::Text => "a text".to_string(),
            TokenKind::Regex => "a regular expression".to_string(),
            _ => format!("`{}`", String::from_utf8_lossy(self.bytes_of(token))),
        }
    }

    /// Takes the closing mark of what was opened at `open`. When it is missing, that is reported at the opening one,
    /// and the parser goes on as if it were there where that makes sense.
    pub(super) fn close(&mut self, kind: TokenKind, open: Token) -> Parsed<()> {
        if self.take(kind) {
            return Ok(());
        }
        let (opened, closing) = match kind {
            TokenKind::RightParenthesis => ("(", ")"),
            TokenKind::RightBracket => ("[", "]"),
            _ => ("{", "}"),
        };
        let goes_on = self.can_follow_missing_close();
        if goes_on {
            self.unclosed_at = Some(self.at);
            self.report(
                Diagnostic::error(open.span, format!("this `{opened}` is never closed"))
                    .with_help(format!("put a `{closing}` before {}", self.shown())),
            );
            return Ok(());
        }
        let message = format!("{} is not allowed here", self.shown());
        let help = format!("`{opened}` is open: an operator or `{closing}` is expected");
        let diagnostic = Diagnostic::error(self.token(0).span, message).with_help(help);
        self.fail(diagnostic.with_note(open.span, format!("the `{opened}` opened here")))
    }

    fn can_follow_missing_close(&self) -> bool {
        let token = self.token(0);
        matches!(
            token.kind,
            TokenKind::Semicolon | TokenKind::LeftBrace | TokenKind::RightBrace | TokenKind::End
        ) || token.is_first_on_line
            || STATEMENT_WORDS.contains(&self.word())
    }

    /// Whether a `}` is missing here for the first time.
    pub(super) fn is_newly_unclosed(&mut self) -> bool {
        self.unclosed_at.replace(self.at) != Some(self.at)
    }

    /// Whether a `)` or `}` was found missing here: a `;` that is missing too is part of the same mistake.
    pub(super) fn was_closing_missing_here(&self) -> bool {
        self.unclosed_at == Some(self.at)
    }

    // Limits.

    /// Runs a production one level deeper.
    pub(super) fn nested<T>(&mut self, production: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= NESTING_MAX {
            let span = self.token(0).span;
            return self.fail(Diagnostic::error(
                span,
                format!("this is nested more than {NESTING_MAX} levels deep"),
            ));
        }
        self.nesting += 1;
        let result = production(self);
        self.nesting -= 1;
        result
    }

    // Taking up again.

    /// Moves to where the next statement can begin: after a `;` or a block, before a `}`, at a line that looks like the
    /// beginning of a statement. What began the mistake is not read again.
    pub(super) fn skip_statement(&mut self, start: usize) {
        let was_poisoned = self.is_poisoned();
        while self.kind() != TokenKind::End {
            if self.at > start
                && (was_poisoned && self.token(0).is_first_on_line || self.looks_like_statement())
            {
                return;
            }
            match self.kind() {
                TokenKind::RightBrace => return,
                TokenKind::Semicolon => {
                    self.advance();
                    return;
                }
                TokenKind::LeftBrace => {
                    self.skip_braces();
                    if self.word() != "else" {
                        return;
                    }
                }
                _ => {
                    self.advance();
                }
            }
        }
    }

    fn looks_like_statement(&self) -> bool {
        let token = self.token(0);
        if !token.is_first_on_line {
            return false;
        }
        match token.kind {
            TokenKind::Variable => self.kind_at(1) == TokenKind::Assign,
            TokenKind::Word => {
                STATEMENT_WORDS.contains(&self.word())
                    || self.kind_at(1) == TokenKind::LeftParenthesis && !continues(self.previous().kind)
                    || self.is_item_start()
            }
            _ => false,
        }
    }

    /// From a `{` to after its `}`, or to where a new item begins.
    pub(super) fn skip_braces(&mut self) {
        let mut depth = 0usize;
        while self.kind() != TokenKind::End {
            match self.kind() {
                TokenKind::LeftBrace => depth += 1,
                TokenKind::RightBrace => depth -= 1,
                TokenKind::Word if self.token(0).is_first_on_line && self.is_route_start() => return,
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    /// From a `(` to after its `)`, or to where it cannot go on.
    pub(super) fn skip_parentheses(&mut self) {
        let mut depth = 0usize;
        while !matches!(
            self.kind(),
            TokenKind::End | TokenKind::LeftBrace | TokenKind::RightBrace | TokenKind::Semicolon
        ) {
            match self.kind() {
                TokenKind::LeftParenthesis => depth += 1,
                TokenKind::RightParenthesis => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    /// An expression that stands for one that could not be read.
    pub(super) fn placeholder(&self) -> Expression {
        Expression { kind: ExpressionKind::Number(1), span: self.token(0).span }
    }
}

/// Behind these a line break means nothing.
fn continues(kind: TokenKind) -> bool {
    !matches!(
        kind,
        TokenKind::Word
            | TokenKind::Number
            | TokenKind::Text
            | TokenKind::Variable
            | TokenKind::RightParenthesis
            | TokenKind::RightBracket
            | TokenKind::RightBrace
            | TokenKind::Semicolon
    )
}

const NOTHING: Token = Token {
    kind: TokenKind::End,
    span: Span { start: 0, end: 0 },
    region: 0,
    text: 0,
    is_spaced: true,
    is_first_on_line: true,
    is_broken: false,
};

/// Words that begin a statement and nothing else.
pub(super) const STATEMENT_WORDS: &[&str] =
    &["if", "else", "while", "switch", "case", "default", "break", "return", "exit", "drop"];

/// How deep blocks and expressions may stand in each other.
pub const NESTING_MAX: usize = 100;

/// Remarks about one script that are kept.
pub const DIAGNOSTICS_MAX: usize = 200;
