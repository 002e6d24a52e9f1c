//! Directives, defines and includes: what happens between the lexer and the parser.
//!
//! ```text
//!  cursors        include b.cfg  ◄─ on top: read until its end, then go on below
//!                 script a.cfg
//!
//!  #!define N v   from here on the word N becomes the tokens of v
//!  #!ifdef N      what follows is skipped when N is not defined, up to #!else or #!endif
//!  #!subst "/a/b/"  from here on texts are changed
//! ```
//!
//! **Invariant:** no I/O: files come through a [`Loader`], the environment comes with the options.
//! **Invariant:** everything that can multiply is limited: depth and size of includes, size of all replaced defines.

mod define;
mod expression;
mod substitution;

use super::ast::{Span, Text};
use super::diagnostic::Diagnostic;
use super::lexer::{Cursor, Lexeme};
use super::parse_options::ParseOptions;
use super::source::{FileId, LoadError, SourceMap};
use super::token::{Directive, Token, TokenKind, Tokens};
use std::collections::HashMap;
use std::sync::Arc;
use substitution::SubstDirective;

/// What is left of a script when directives, defines and includes are done.
pub(super) struct Preprocessed {
    /// Its tokens.
    pub tokens: Tokens,
    /// Defines at the end, sorted by name.
    pub defines: Vec<(String, Option<String>)>,
}

/// Reads the file `root` and everything it includes.
pub(super) fn preprocess(
    source: &mut SourceMap,
    root: FileId,
    options: &ParseOptions<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Preprocessed {
    let mut preprocessor = Preprocessor::new(source, options, diagnostics);
    preprocessor.open_file(root);
    preprocessor.run();
    preprocessor.finish()
}

struct Preprocessor<'p, 'o> {
    source: &'p mut SourceMap,
    options: &'p ParseOptions<'o>,
    diagnostics: &'p mut Vec<Diagnostic>,
    frames: Vec<Frame>,
    conditions: Vec<Condition>,
    defines: HashMap<String, Define>,
    substitutions: Vec<SubstDirective>,
    tokens: Tokens,
    watch: Watch,
    expanded_size: usize,
    is_exhausted: bool,
    included_size: usize,
}

struct Frame {
    cursor: Cursor,
    /// Name of the file or define.
    name: String,
    /// For the value of a define: how the word stood that it replaces.
    replaced: Option<Token>,
}

struct Define {
    value: Option<Arc<[u8]>>,
    definition: Span,
}

struct Condition {
    opened_at: Span,
    has_else: bool,
}

/// What the last tokens were, as far as it matters here.
#[derive(Clone, Copy, PartialEq)]
enum Watch {
    Nothing,
    /// Behind `event_route`.
    EventRoute,
    /// In the brackets of `event_route[…]`: no define is replaced.
    EventName,
    /// Behind `loadmodule`, perhaps with a parenthesis.
    LoadModule,
}

impl<'p, 'o> Preprocessor<'p, 'o> {
    fn new(
        source: &'p mut SourceMap,
        options: &'p ParseOptions<'o>,
        diagnostics: &'p mut Vec<Diagnostic>,
    ) -> Preprocessor<'p, 'o> {
        let nowhere = Span::default();
        let automatic = automatic_defines().into_iter();
        let given = options.defines.iter().map(|one| (one.name.clone(), one.value.clone(), one.written_at));
        let defines = automatic
            .map(|(name, value)| (name, value, nowhere))
            .chain(given)
            .map(|(name, value, definition)| {
                (name, Define { value: value.map(|value| Arc::from(value.as_bytes())), definition })
            })
            .collect();
        let mut preprocessor = Preprocessor {
            source,
            options,
            diagnostics,
            frames: Vec::new(),
            conditions: Vec::new(),
            defines,
            substitutions: Vec::new(),
            tokens: Tokens::default(),
            watch: Watch::Nothing,
            expanded_size: 0,
            is_exhausted: false,
            included_size: 0,
        };
        for (written, at) in &options.substitutions {
            preprocessor.add_substitution(written, *at);
        }
        preprocessor
    }

    fn run(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            match frame.cursor.next(self.diagnostics) {
                Lexeme::End => self.close(),
                Lexeme::Directive(directive, span) => self.obey(directive, span),
                Lexeme::Token(token, literal) => {
                    let token = frame.place(token);
                    self.accept(token, literal);
                }
            }
        }
    }

    fn finish(mut self) -> Preprocessed {
        self.report_open_conditions();
        let mut defines: Vec<_> = self
            .defines
            .into_iter()
            .map(|(name, define)| {
                (name, define.value.map(|value| String::from_utf8_lossy(&value).into_owned()))
            })
            .collect();
        defines.sort();
        Preprocessed { tokens: self.tokens, defines }
    }

    fn report_open_conditions(&mut self) {
        let Some(innermost) = self.conditions.last() else { return };
        let count = self.conditions.len();
        let message =
            format!("different number of preprocessor directives: {count} more #!ifdef than #!endif");
        self.diagnostics.push(
            Diagnostic::error(innermost.opened_at, message)
                .with_help("this one is never closed: add `#!endif`"),
        );
    }

    // Files.

    fn open_file(&mut self, file: FileId) {
        let size = self.source.file_text(file).len();
        self.included_size += size;
        if size > FILE_SIZE_MAX {
            let message = format!("the file is larger than {} MB", FILE_SIZE_MAX >> 20);
            let (_, base) = self.source.region_text(file);
            self.diagnostics.push(Diagnostic::error(Span { start: base, end: base }, message));
            return;
        }
        let (text, base) = self.source.region_text(file);
        let name = self.source.file_name(file).to_string();
        self.frames.push(Frame { cursor: Cursor::over_file(text, file.0, base), name, replaced: None });
    }

    fn close(&mut self) {
        let Some(closed) = self.frames.pop() else { return };
        if self.frames.is_empty() {
            let (text, base) = self.source.region_text(FileId(closed.cursor.region()));
            let at = base + text.len() as u32;
            let span = Span { start: at, end: at };
            let region = closed.cursor.region();
            self.tokens.list.push(Token {
                kind: TokenKind::End,
                span,
                region,
                text: 0,
                is_spaced: true,
                is_first_on_line: true,
                is_broken: false,
            });
        }
    }

    /// `include_file "name"`, at the name.
    fn include(&mut self, directive: Directive, at: Span) {
        let Some(frame) = self.frames.last_mut() else { return };
        let name = match frame.cursor.next(self.diagnostics) {
            Lexeme::Token(Token { is_broken: true, .. }, _) => return,
            Lexeme::Token(_, Some(literal)) => self.substituted(literal),
            Lexeme::Token(token, None) => {
                let token = frame.place(token);
                let word = self.source.slice(token.region, token.span);
                let value = std::str::from_utf8(word).ok().and_then(|word| self.defines.get(word));
                match value.and_then(|define| define.value.as_deref()).and_then(quoted) {
                    Some(bytes) => Text { bytes: bytes.to_vec(), raw: true, span: token.span },
                    None => return self.report_missing_name(at),
                }
            }
            _ => return self.report_missing_name(at),
        };
        self.load(directive, at, &name);
    }

    fn report_missing_name(&mut self, at: Span) {
        self.error(at, "the name of the file is missing", Some("write `include_file \"other.cfg\"`"));
    }

    fn load(&mut self, directive: Directive, at: Span, name: &Text) {
        let shown = String::from_utf8_lossy(&name.bytes).into_owned();
        let mut files = self.frames.iter().filter(|frame| frame.replaced.is_none());
        let depth = files.clone().count();
        let including = files.next_back().map_or(String::new(), |frame| frame.name.clone());
        if depth > INCLUDE_DEPTH_MAX {
            let message = format!("files are included more than {INCLUDE_DEPTH_MAX} levels deep");
            return self.error(name.span, &message, Some("does a file include itself?"));
        }
        let span = self.source.join(at, name.span);
        match self.options.loader.load(&shown, &including, FILE_SIZE_MAX) {
            Ok(file) if self.included_size + file.text.len() <= TOTAL_SIZE_MAX => {
                let id = self.source.add_include(file.path, file.text, span);
                if file.is_foreign {
                    self.source.mark_foreign(id);
                }
                self.open_file(id);
            }
            Ok(_) => {
                let message =
                    format!("the files of this script are larger than {} MB together", TOTAL_SIZE_MAX >> 20);
                self.error(name.span, &message, None);
            }
            Err(LoadError::NotFound) if directive == Directive::Import => {}
            Err(LoadError::NotFound) => {
                let help = "`import_file` does the same and ignores a missing file";
                self.error(name.span, &format!("there is no file {shown:?}"), Some(help));
            }
            Err(LoadError::TooLarge) => {
                let message = format!("{shown:?} is larger than {} MB", FILE_SIZE_MAX >> 20);
                self.error(name.span, &message, None);
            }
            Err(LoadError::Refused(reason)) => {
                self.error(name.span, &format!("could not read {shown:?}: {reason}"), None);
            }
        }
    }

    // Tokens.

    fn accept(&mut self, token: Token, literal: Option<Text>) {
        if token.kind == TokenKind::Word && self.watch != Watch::EventName {
            let word = self.source.slice(token.region, token.span);
            let directive = match word {
                b"include_file" => Some(Directive::Include),
                b"import_file" => Some(Directive::Import),
                _ => None,
            };
            if let Some(directive) = directive {
                return self.include(directive, token.span);
            }
            if let Ok(name) = std::str::from_utf8(word)
                && self.defines.contains_key(name)
            {
                let name = name.to_string();
                if self.expand(&name, token) {
                    return;
                }
            }
        }
        self.push(token, literal);
    }

    fn push(&mut self, mut token: Token, literal: Option<Text>) {
        self.watch = self.watched(&token, literal.as_ref());
        if let Some(literal) = literal {
            token.text = self.tokens.texts.len() as u32;
            let literal = if token.kind == TokenKind::Text { self.substituted(literal) } else { literal };
            self.tokens.texts.push(literal);
        }
        self.tokens.list.push(token);
    }

    fn watched(&mut self, token: &Token, literal: Option<&Text>) -> Watch {
        match (self.watch, token.kind) {
            (Watch::EventRoute, TokenKind::LeftBracket) => Watch::EventName,
            (Watch::EventName, TokenKind::Word | TokenKind::Number | TokenKind::Colon | TokenKind::Minus) => {
                Watch::EventName
            }
            (Watch::LoadModule, TokenKind::LeftParenthesis) => Watch::LoadModule,
            (Watch::LoadModule, TokenKind::Text) => {
                if let Some(literal) = literal {
                    self.define_module(&literal.bytes);
                }
                Watch::Nothing
            }
            (_, TokenKind::Word) => match self.source.slice(token.region, token.span) {
                b"event_route" => Watch::EventRoute,
                b"loadmodule" | b"loadmodulex" => Watch::LoadModule,
                _ => Watch::Nothing,
            },
            _ => Watch::Nothing,
        }
    }

    fn define_module(&mut self, path: &[u8]) {
        let path = String::from_utf8_lossy(path);
        let definition = Span::default();
        self.defines.entry(module_define(&path)).or_insert(Define { value: None, definition });
    }

    /// Replaces a word by the value of its define; false when it stays.
    fn expand(&mut self, name: &str, token: Token) -> bool {
        let Some(define) = self.defines.get(name) else { return false };
        if self.frames.iter().any(|frame| frame.replaced.is_some() && frame.name == name) {
            let message = format!("the value of the define `{name}` contains itself");
            let definition = define.definition;
            self.diagnostics
                .push(Diagnostic::error(token.span, message).with_note(definition, "defined here"));
            return false;
        }
        let Some(value) = define.value.clone() else { return true };
        self.expanded_size += value.len() + EXPANSION_COST;
        if self.expanded_size > EXPANSION_SIZE_MAX || self.frames.len() >= FRAMES_MAX {
            // Reported once; from here on nothing is replaced.
            if !std::mem::replace(&mut self.is_exhausted, true) {
                self.error(
                    token.span,
                    "too many replacements of defines",
                    Some("does one multiply another?"),
                );
            }
            self.expanded_size = EXPANSION_SIZE_MAX;
            return true;
        }
        let file = self.source.add_expansion(name, value, token.span, define.definition);
        let (text, base) = self.source.region_text(file);
        let cursor = Cursor::over_value(text, file.0, base);
        self.frames.push(Frame { cursor, name: name.to_string(), replaced: Some(token) });
        true
    }

    fn substituted(&self, mut text: Text) -> Text {
        for substitution in &self.substitutions {
            substitution.apply(&mut text.bytes);
        }
        text
    }

    // Directives.

    fn obey(&mut self, directive: Directive, at: Span) {
        use Directive::*;
        match directive {
            Include | Import => return self.include(directive, at),
            Else | EndIf => return self.end_of_branch(directive, at),
            _ => {}
        }
        let Some(frame) = self.frames.last_mut() else { return };
        let (rest, span) = frame.cursor.rest_of_line();
        let rest = Rest { text: String::from_utf8_lossy(&rest).into_owned(), span, at };
        match directive {
            IfDefined | IfNotDefined | IfExpression => self.begin_condition(directive, &rest),
            Define | TryDefine | Redefine | Undefine => self.define(directive, &rest),
            DefineExpression | DefineQuotedExpression => self.define_expression(directive, &rest),
            DefineEnvironment
            | DefineQuotedEnvironment
            | TryDefineEnvironment
            | TryDefineQuotedEnvironment => {
                self.define_environment(directive, &rest);
            }
            Substitute | SubstituteDefine | SubstituteDefineQuoted => self.substitute(directive, &rest),
            Include | Import | Else | EndIf => {}
        }
    }

    fn begin_condition(&mut self, directive: Directive, rest: &Rest) {
        self.conditions.push(Condition { opened_at: rest.at, has_else: false });
        let holds = match directive {
            Directive::IfExpression => self.evaluate(rest, &rest.text).is_some_and(|value| value.is_true()),
            _ => {
                let name = rest.first_word();
                if name.is_empty() {
                    self.error(rest.at, "the name of a define is missing", None);
                }
                self.defines.contains_key(name) == (directive == Directive::IfDefined)
            }
        };
        if !holds {
            self.skip();
        }
    }

    /// `#!else` or `#!endif` after text that was read.
    fn end_of_branch(&mut self, directive: Directive, at: Span) {
        if let Some(frame) = self.frames.last_mut() {
            frame.cursor.rest_of_line();
        }
        match (self.conditions.last_mut(), directive) {
            (None, _) => self.report_stray(directive, at),
            (Some(_), Directive::EndIf) => {
                self.conditions.pop();
            }
            (Some(condition), _) => {
                let is_second = std::mem::replace(&mut condition.has_else, true);
                let opened_at = condition.opened_at;
                if is_second {
                    self.report_second_else(at, opened_at);
                }
                self.skip();
            }
        }
    }

    /// Skips to the `#!else` or `#!endif` of the innermost condition; those inside are only counted.
    fn skip(&mut self) {
        let mut inner: usize = 0;
        while let Some(frame) = self.frames.last_mut() {
            let Some((directive, at)) = frame.cursor.skip_to_condition() else {
                // The condition goes on after the place where this file was included.
                self.close();
                continue;
            };
            match directive {
                Directive::IfDefined | Directive::IfNotDefined | Directive::IfExpression => inner += 1,
                Directive::EndIf if inner > 0 => inner -= 1,
                Directive::EndIf => {
                    frame.cursor.rest_of_line();
                    self.conditions.pop();
                    return;
                }
                Directive::Else if inner == 0 => {
                    frame.cursor.rest_of_line();
                    let Some(condition) = self.conditions.last_mut() else { return };
                    if !std::mem::replace(&mut condition.has_else, true) {
                        return;
                    }
                    let opened_at = condition.opened_at;
                    self.report_second_else(at, opened_at);
                }
                _ => {}
            }
        }
    }

    fn report_stray(&mut self, directive: Directive, at: Span) {
        let name = if directive == Directive::EndIf { "endif" } else { "else" };
        let message =
            format!("different number of preprocessor directives: this #!{name} has no #!ifdef before it");
        self.error(at, &message, None);
    }

    fn report_second_else(&mut self, at: Span, opened_at: Span) {
        let diagnostic = Diagnostic::error(at, "this condition has an `#!else` already");
        self.diagnostics.push(diagnostic.with_note(opened_at, "it begins here"));
    }

    fn error(&mut self, span: Span, message: &str, help: Option<&str>) {
        let diagnostic = Diagnostic::error(span, message);
        self.diagnostics.push(Diagnostic { help: help.map(str::to_string), ..diagnostic });
    }
}

impl Frame {
    /// The first token of a value stands where the replaced word stood.
    fn place(&self, token: Token) -> Token {
        match &self.replaced {
            Some(word) if self.cursor.token_count() == 1 => {
                Token { is_spaced: word.is_spaced, is_first_on_line: word.is_first_on_line, ..token }
            }
            _ => token,
        }
    }
}

/// What follows a directive on its line.
struct Rest {
    text: String,
    span: Span,
    /// The directive itself.
    at: Span,
}

impl Rest {
    fn first_word(&self) -> &str {
        if self.text.starts_with(|character: char| character.is_ascii_digit()) {
            return "";
        }
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        &self.text[..self.text.find(|character| !is_part(character)).unwrap_or(self.text.len())]
    }

    fn part(&self, start: usize, end: usize) -> Span {
        let place = |offset: usize| (self.span.start + offset as u32).min(self.span.end);
        Span { start: place(start), end: place(end) }
    }
}

/// Defines that exist without being defined.
pub(super) fn automatic_defines() -> Vec<(String, Option<String>)> {
    let define = |name: &str, value: Option<&str>| (name.to_string(), value.map(str::to_string));
    vec![
        define("KAMAILIO_6", None),
        define("KAMAILIO_6_2", None),
        define("KAMAILIO_6_2_0", None),
        define("KAMAILIO_VERSION", Some("6002000")),
        define("OS_NAME", Some(std::env::consts::OS)),
    ]
}

/// The define that says a module is loaded: `MOD_tm` for `"/path/tm.so"`.
pub(super) fn module_define(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    format!("MOD_{}", file.strip_suffix(".so").unwrap_or(file))
}

/// The inside of `"…"` or `'…'`, whatever follows it.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let quote = *text.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
    let end = memchr::memrchr(quote, &text[1..])?;
    Some(&text[1..=end])
}

/// Largest file, in bytes.
pub const FILE_SIZE_MAX: usize = 8 << 20;

/// Largest sum of all files of a script, in bytes.
pub const TOTAL_SIZE_MAX: usize = 16 << 20;

/// How deep files may include each other.
pub const INCLUDE_DEPTH_MAX: usize = 16;

/// How many defines there may be.
pub const DEFINES_MAX: usize = 4096;

/// How many substitutions there may be.
pub const SUBSTITUTIONS_MAX: usize = 256;

/// Bytes of all values put in place of defines, each use counted with [`EXPANSION_COST`].
const EXPANSION_SIZE_MAX: usize = 16 << 20;
const EXPANSION_COST: usize = 64;

/// Files and values of defines open at the same time.
const FRAMES_MAX: usize = 100;
