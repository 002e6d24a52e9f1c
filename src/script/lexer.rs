//! Bytes to tokens, one piece of text at a time.
//!
//! A [`Cursor`] walks over one file or the value of one define; the preprocessor keeps a stack of them. A mistake is
//! reported where it begins, and lexing goes on after it, so that the parser sees as much as possible.
//!
//! **Invariant:** every call of [`Cursor::next`] but the one that says `End` moves forward.
//! **Invariant:** the work is linear in the length of the text, also when nothing in it is closed.

use super::ast::{Span, Text};
use super::diagnostic::{Diagnostic, nearest};
use super::escape::unescape;
use super::template;
use super::token::{Directive, Token, TokenKind};
use std::sync::Arc;

/// What comes next.
#[derive(Debug)]
pub(super) enum Lexeme {
    /// A token, with its literal where it has one.
    Token(Token, Option<Text>),
    /// `#!name` or `!!name`; the cursor follows the name.
    Directive(Directive, Span),
    /// The piece of text is over.
    End,
}

/// A walk over one piece of text.
#[derive(Debug)]
pub(super) struct Cursor {
    text: Arc<[u8]>,
    region: u32,
    base: u32,
    at: usize,
    obeys_directives: bool,
    is_line_start: bool,
    is_after_case: bool,
    token_count: usize,
}

impl Cursor {
    /// Over a file, in which directives are obeyed.
    pub fn over_file(text: Arc<[u8]>, region: u32, base: u32) -> Cursor {
        let obeys_directives = true;
        Cursor {
            text,
            region,
            base,
            at: 0,
            obeys_directives,
            is_line_start: true,
            is_after_case: false,
            token_count: 0,
        }
    }

    /// Over the value of a define.
    pub fn over_value(text: Arc<[u8]>, region: u32, base: u32) -> Cursor {
        Cursor { obeys_directives: false, is_line_start: false, ..Cursor::over_file(text, region, base) }
    }

    /// The next token or directive.
    pub fn next(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Lexeme {
        let before = self.at;
        if let Some(directive) = self.skip_blank(diagnostics) {
            return directive;
        }
        if self.at >= self.text.len() {
            return Lexeme::End;
        }
        // Before an included file another one has ended its line.
        let is_spaced = self.at > before || self.is_line_start;
        let (start, is_first_on_line) = (self.at, std::mem::take(&mut self.is_line_start));
        let is_after_case = std::mem::take(&mut self.is_after_case);
        let (kind, literal, is_broken) = self.scan(is_after_case, diagnostics);
        self.is_after_case = kind == TokenKind::Word && &self.text[start..self.at] == b"case";
        self.token_count += 1;
        let span = self.span(start, self.at);
        let token =
            Token { kind, span, region: self.region, text: 0, is_spaced, is_first_on_line, is_broken };
        Lexeme::Token(token, literal.map(|(bytes, raw)| Text { bytes, raw, span }))
    }

    /// Tokens seen so far.
    pub fn token_count(&self) -> usize {
        self.token_count
    }

    /// Number of the text in the source map.
    pub fn region(&self) -> u32 {
        self.region
    }

    fn scan(&mut self, is_after_case: bool, diagnostics: &mut Vec<Diagnostic>) -> Scanned {
        let byte = self.text[self.at];
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(TokenKind::Word),
            b'0'..=b'9' => self.word(TokenKind::Number),
            b'"' | b'\'' => self.literal(byte, diagnostics),
            b'$' => self.variable(diagnostics),
            b'/' if is_after_case => self.regex(),
            _ => match mark(&self.text[self.at..]) {
                Some((kind, length)) => {
                    self.at += length;
                    (kind, None, false)
                }
                None => self.unknown(diagnostics),
            },
        }
    }

    /// White space and comments. Stops at a directive and returns it.
    fn skip_blank(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<Lexeme> {
        loop {
            match self.text.get(self.at)? {
                b'\n' => {
                    self.is_line_start = true;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'#' => {
                    if let Some(directive) = self.directive(diagnostics) {
                        return Some(directive);
                    }
                    self.skip_line();
                }
                b'!' if self.is_line_start && self.rest().starts_with(b"!!") => {
                    match self.directive(diagnostics) {
                        Some(directive) => return Some(directive),
                        None => return None,
                    }
                }
                b'/' if self.rest().starts_with(b"//") => self.skip_line(),
                b'/' if self.rest().starts_with(b"/*") => self.skip_comment(diagnostics),
                _ => return None,
            }
        }
    }

    fn directive(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<Lexeme> {
        let is_marked = self.rest().starts_with(b"#!") || self.rest().starts_with(b"!!");
        if !self.obeys_directives || !is_marked {
            return None;
        }
        let start = self.at;
        let name_end = end_of_word(&self.text, start + 2);
        let name = &self.text[start + 2..name_end];
        let span = self.span(start, name_end);
        let Some(directive) = Directive::from_name(name) else {
            if let Some(warning) = doubt_directive(name, span) {
                diagnostics.push(warning);
            }
            return None;
        };
        self.at = name_end;
        self.is_line_start = false;
        Some(Lexeme::Directive(directive, span))
    }

    fn skip_comment(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        let start = self.at;
        let mut depth = 1;
        self.at += 2;
        while let Some(found) = memchr::memchr3(b'*', b'/', b'\n', self.rest()) {
            self.at += found;
            let rest = self.rest();
            if rest.starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
            } else if rest.starts_with(b"/*") {
                depth += 1;
                self.at += 2;
            } else {
                self.is_line_start |= rest[0] == b'\n';
                self.at += 1;
            }
            if depth == 0 {
                return;
            }
        }
        self.at = self.text.len();
        diagnostics.push(
            Diagnostic::error(self.span(start, start + 2), "this comment is never closed")
                .with_help("comments nest: every `/*` needs its own `*/`"),
        );
    }

    fn word(&mut self, kind: TokenKind) -> Scanned {
        self.at = end_of_word(&self.text, self.at);
        (kind, None, false)
    }

    fn literal(&mut self, quote: u8, diagnostics: &mut Vec<Diagnostic>) -> Scanned {
        let start = self.at;
        let raw = quote == b'\'';
        let inside = start + 1;
        match end_of_literal(&self.text, inside, quote) {
            Some(end) if !self.is_forgotten_quote(inside, end) => {
                self.at = end + 1;
                let bytes = &self.text[inside..end];
                let bytes = if raw { bytes.to_vec() } else { unescape(bytes, None) };
                (TokenKind::Text, Some((bytes, raw)), false)
            }
            _ => {
                self.at = memchr::memchr(b'\n', self.rest()).map_or(self.text.len(), |line| start + line);
                diagnostics.push(
                    Diagnostic::error(self.span(start, start + 1), "this text is never closed")
                        .with_help(format!("end it with `{}`", quote as char)),
                );
                (TokenKind::Text, Some((self.text[inside..self.at].to_vec(), raw)), true)
            }
        }
    }

    /// A text over several lines whose end runs straight into a word began, most likely, with a quote that was never
    /// closed: what looks like its end is the beginning of the next text.
    fn is_forgotten_quote(&self, inside: usize, end: usize) -> bool {
        let follows = self.text.get(end + 1).copied().unwrap_or(b' ');
        let runs_on =
            follows.is_ascii_alphanumeric() || matches!(follows, b'_' | b'$' | b'<' | b'%' | b'"' | b'\'');
        runs_on && memchr::memchr(b'\n', &self.text[inside..end]).is_some()
    }

    fn variable(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Scanned {
        let start = self.at;
        match template::variable_end(&self.text, start) {
            template::VariableEnd::At(end) => {
                self.at = end;
                (TokenKind::Variable, None, false)
            }
            template::VariableEnd::NotOne => {
                self.at += 1;
                diagnostics.push(
                    Diagnostic::error(self.span(start, start + 1), "a variable needs a name after `$`")
                        .with_help("for example `$ru`, `$var(x)`, or `$(ru{s.len})`"),
                );
                (TokenKind::Unknown, None, true)
            }
            template::VariableEnd::Unclosed { opened_at } => {
                self.at = memchr::memchr(b'\n', self.rest()).map_or(self.text.len(), |line| start + line);
                diagnostics.push(
                    Diagnostic::error(self.span(opened_at, opened_at + 1), "this `(` is never closed")
                        .with_help("a variable ends on the line on which it begins"),
                );
                (TokenKind::Variable, None, true)
            }
        }
    }

    /// `/re/` or `/re/:` after `case`; a slash before a quoted text stays a slash.
    fn regex(&mut self) -> Scanned {
        let inside = self.at + 1;
        let rest = &self.text[inside..];
        let line = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
        let is_quoted = line.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'"' | b'\''));
        match end_of_regex(line) {
            Some(end) if !is_quoted => {
                self.at = inside + end + 1;
                let bytes = line[..end].to_vec();
                (TokenKind::Regex, Some((bytes, true)), false)
            }
            _ => {
                self.at = inside;
                (TokenKind::Slash, None, false)
            }
        }
    }

    fn unknown(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Scanned {
        let start = self.at;
        let is_known =
            |byte: u8| byte.is_ascii_graphic() && byte != b'\\' && byte != b'`' || byte.is_ascii_whitespace();
        let length = self.rest().iter().position(|byte| is_known(*byte)).unwrap_or(self.text.len() - start);
        self.at += length.max(1);
        let bytes = &self.text[start..self.at];
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).escape_debug().to_string();
        diagnostics.push(
            Diagnostic::error(self.span(start, self.at), format!("`{shown}` is not allowed outside quotes"))
                .with_help("put text in quotes, comments after `#`"),
        );
        (TokenKind::Unknown, None, true)
    }

    /// The rest of the line, with lines joined where they end in a backslash, and its place. White space around it
    /// is left out. The cursor then stands at the end of the last line.
    pub fn rest_of_line(&mut self) -> (Vec<u8>, Span) {
        let mut value = Vec::new();
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            self.at += 1;
        }
        let start = self.at;
        loop {
            let rest = self.rest();
            let line = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
            let end = self.at + line.len();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let joined = line.strip_suffix(b"\\");
            value.extend_from_slice(joined.unwrap_or(line));
            let is_joined = joined.is_some();
            self.at = end;
            if !is_joined || self.at >= self.text.len() {
                break;
            }
            self.at += 1;
        }
        let value = value.trim_ascii().to_vec();
        (value, self.span(start, self.at))
    }

    /// Goes to the next line that begins with a directive about conditions, and after the directive's name.
    pub fn skip_to_condition(&mut self) -> Option<(Directive, Span)> {
        loop {
            self.skip_line();
            if self.at >= self.text.len() {
                return None;
            }
            self.at += 1;
            let rest = self.rest();
            let indent = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
            let rest = &rest[indent..];
            if !rest.starts_with(b"#!") && !rest.starts_with(b"!!") {
                continue;
            }
            let start = self.at + indent;
            let end = end_of_word(&self.text, start + 2);
            match Directive::from_name(&self.text[start + 2..end]) {
                Some(
                    directive @ (Directive::IfDefined
                    | Directive::IfNotDefined
                    | Directive::IfExpression
                    | Directive::Else
                    | Directive::EndIf),
                ) => {
                    self.at = end;
                    self.is_line_start = false;
                    return Some((directive, self.span(start, end)));
                }
                _ => continue,
            }
        }
    }

    /// Bytes of a span in this text.
    #[cfg(test)]
    fn slice(&self, span: Span) -> &[u8] {
        &self.text[(span.start - self.base) as usize..(span.end - self.base) as usize]
    }

    fn skip_line(&mut self) {
        self.at = memchr::memchr(b'\n', self.rest()).map_or(self.text.len(), |line| self.at + line);
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { start: self.base + start as u32, end: self.base + end.min(self.text.len()) as u32 }
    }
}

/// Kind, literal (bytes, raw), broken.
type Scanned = (TokenKind, Option<(Vec<u8>, bool)>, bool);

/// Value of a number token, wrapped to 32 bits as the language has it. `None` when it is not a number.
pub(super) fn number_value(text: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => match text.strip_suffix('b') {
            Some(digits) => (digits, 2),
            None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
            None => (text, 10),
        },
    };
    if digits.is_empty() || digits.starts_with('+') || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    // Larger than 64 bits counts as the largest 64-bit number before it is cut.
    let whole = i64::from_str_radix(digits, radix).unwrap_or(i64::MAX);
    Some(Number { value: i64::from(whole as i32), is_wrapped: u32::try_from(whole).is_err() })
}

/// A number as the script will see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// Its value.
    pub value: i64,
    /// It was too large for 32 bits.
    pub is_wrapped: bool,
}

fn end_of_word(text: &[u8], start: usize) -> usize {
    let start = start.min(text.len());
    let length = text[start..].iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'));
    length.map_or(text.len(), |length| start + length)
}

fn end_of_literal(text: &[u8], inside: usize, quote: u8) -> Option<usize> {
    if quote == b'\'' {
        return memchr::memchr(quote, &text[inside..]).map(|length| inside + length);
    }
    let mut at = inside;
    loop {
        at += memchr::memchr2(quote, b'\\', text.get(at..)?)?;
        if text[at] == quote {
            return Some(at);
        }
        at += 2;
    }
}

fn end_of_regex(line: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b'\\' => at += 2,
            b'/' => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// The mark that `text` begins with, and its length.
fn mark(text: &[u8]) -> Option<(TokenKind, usize)> {
    use TokenKind::*;
    let second = text.get(1).copied().unwrap_or(0);
    let found = match (text[0], second) {
        (b'=', b'=') => (Equal, 2),
        (b'=', b'~') => (Matches, 2),
        (b'!', b'=') => (NotEqual, 2),
        (b'<', b'=') => (LessOrEqual, 2),
        (b'>', b'=') => (GreaterOrEqual, 2),
        (b'<', b'<') => (ShiftLeft, 2),
        (b'>', b'>') => (ShiftRight, 2),
        (b'&', b'&') => (AndAnd, 2),
        (b'|', b'|') => (OrOr, 2),
        (b'(', _) => (LeftParenthesis, 1),
        (b')', _) => (RightParenthesis, 1),
        (b'{', _) => (LeftBrace, 1),
        (b'}', _) => (RightBrace, 1),
        (b'[', _) => (LeftBracket, 1),
        (b']', _) => (RightBracket, 1),
        (b',', _) => (Comma, 1),
        (b';', _) => (Semicolon, 1),
        (b':', _) => (Colon, 1),
        (b'.', _) => (Dot, 1),
        (b'=', _) => (Assign, 1),
        (b'<', _) => (Less, 1),
        (b'>', _) => (Greater, 1),
        (b'+', _) => (Plus, 1),
        (b'-', _) => (Minus, 1),
        (b'*', _) => (Star, 1),
        (b'/', _) => (Slash, 1),
        (b'%', _) => (Percent, 1),
        (b'&', _) => (And, 1),
        (b'|', _) => (Or, 1),
        (b'^', _) => (Caret, 1),
        (b'~', _) => (Tilde, 1),
        (b'!', _) => (Not, 1),
        (b'?', _) => (Question, 1),
        (b'@', _) => (At, 1),
        _ => return None,
    };
    Some(found)
}

/// `#!ifdfe` is a comment, as every unknown word there; most likely it was not meant as one.
fn doubt_directive(name: &[u8], span: Span) -> Option<Diagnostic> {
    let name = std::str::from_utf8(name).ok()?;
    if SIGNATURES.contains(&name) {
        return None;
    }
    let near = nearest(name, Directive::NAMES.iter().map(|(known, _)| *known))?;
    Some(
        Diagnostic::warning(span, format!("`#!{name}` is not a directive, so this line is a comment"))
            .with_help(format!("did you mean `#!{near}`?")),
    )
}

/// First lines that name the language of a script.
const SIGNATURES: &[&str] = &["KAMAILIO", "OPENSER", "SER", "MAXCOMPAT", "ALL"];

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str) -> (String, Vec<Diagnostic>) {
        let mut cursor = Cursor::over_file(Arc::from(text.as_bytes()), 0, 0);
        let mut diagnostics = Vec::new();
        let mut seen = Vec::new();
        loop {
            match cursor.next(&mut diagnostics) {
                Lexeme::End => break,
                Lexeme::Directive(directive, _) => {
                    let (rest, _) = cursor.rest_of_line();
                    seen.push(format!("#{directive:?}({})", String::from_utf8_lossy(&rest)));
                }
                Lexeme::Token(_, Some(literal)) => {
                    seen.push(format!("{:?}", String::from_utf8_lossy(&literal.bytes)))
                }
                Lexeme::Token(token, None) => {
                    seen.push(String::from_utf8_lossy(cursor.slice(token.span)).into())
                }
            }
        }
        (seen.join(" "), diagnostics)
    }

    fn check(text: &str, expected: &str) {
        let (seen, diagnostics) = lex(text);
        assert_eq!(seen, expected, "{text}");
        assert!(diagnostics.is_empty(), "{text}: {diagnostics:?}");
    }

    #[test]
    fn text_becomes_tokens() {
        check("a==b=~c!=d<=e<<f&&g||h!i", "a == b =~ c != d <= e << f && g || h ! i");
        check("x /* a /* b */ c */ y // z\n# w\nv", "x y v");
        check("$ru $(ru{s.len}) $var(a(b)c)d $?", "$ru $(ru{s.len}) $var(a(b)c) d $?");
        check("10.0.0.0/8", "10 . 0 . 0 . 0 / 8");
        check("case /a b/: case /\"x\":", "case \"a b\" : case / \"x\" :");
        check("#!define A b \\\n c\nd", "#Define(A b  c) d");
        check("#!KAMAILIO\n#!/usr/bin/x\n##!define a\n!!def A b\n!!x", "#Define(A b) ! ! x");
        check("a #!def B c\r\nd", "a #Define(B c) d");
        check("", "");
    }

    #[test]
    fn escapes_become_bytes() {
        check(r#""a\n\t\\\"\x41\101\q\x""#, r#""a\n\t\\\"AA\\q\\x""#);
        check(r"'a\n'", r#""a\\n""#);
        check("\"a\\\nb\"", "\"ab\"");
        let mut offsets = Vec::new();
        assert_eq!(unescape(br"a\nb", Some(&mut offsets)), b"a\nb");
        assert_eq!(offsets, [0, 1, 3, 4]);
    }

    #[test]
    fn numbers_have_four_forms_and_32_bits() {
        for (text, expected) in [
            ("0", Some(0)),
            ("42", Some(42)),
            ("0x1f", Some(31)),
            ("017", Some(15)),
            ("101b", Some(5)),
            ("9223372036854775807", Some(-1)),
            ("99999999999999999999999", Some(-1)),
            ("4294967295", Some(-1)),
            ("08", None),
            ("12abc", None),
            ("0x", None),
            ("2b", None),
        ] {
            assert_eq!(number_value(text.as_bytes()).map(|number| number.value), expected, "{text}");
        }
    }

    #[test]
    fn what_is_never_closed_is_reported_once_where_it_begins() {
        let reported = |text: &str, start: u32, message: &str| {
            let (_, diagnostics) = lex(text);
            assert_eq!(diagnostics.len(), 1, "{text}: {diagnostics:?}");
            assert_eq!(
                (diagnostics[0].span.start, diagnostics[0].message.as_str()),
                (start, message),
                "{text}"
            );
        };
        reported("a /* b", 2, "this comment is never closed");
        reported("a \"b", 2, "this text is never closed");
        reported("f(\"b);\nf(\"c\");\n", 2, "this text is never closed");
        reported("$var(a", 4, "this `(` is never closed");
        reported("$(var(a)\nb", 1, "this `(` is never closed");
        reported("a $ b", 2, "a variable needs a name after `$`");
        reported("a \\ b", 2, "`\\\\` is not allowed outside quotes");
        reported("#!ifdfe X", 0, "`#!ifdfe` is not a directive, so this line is a comment");
    }
}
