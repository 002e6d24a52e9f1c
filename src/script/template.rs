//! Variables: `$name(key)`, `$(name(key)[index]{transformation,argument})`, and texts that contain them.
//!
//! ```text
//!  "call from $fU at $(fu{uri.host})\n"
//!   ─literal── ─── ─4─ ──variable───
//! ```
//!
//! The short form ends after the parenthesis of its key: in `"$rU[1]"` the bracket is text. An index or a
//! transformation needs the long form. `$$` is a dollar sign.
//!
//! **Invariant:** never panics and always ends, whatever the bytes are; nesting is limited to [`NESTING_MAX`].

use std::ops::Range;

use super::ast::{Index, Name, Piece, Span, Template, Text, Transformation, Variable};
use super::diagnostic::Diagnostic;
use super::escape::unescape;
use super::source::SourceMap;

/// Splits a text into literals and variables. `span` is the place of the text, with or without quotes; places inside
/// are exact as long as no escape was resolved (for those see [`parse_text`]).
pub fn parse_template(bytes: &[u8], span: Span, diagnostics: &mut Vec<Diagnostic>) -> Template {
    let places = Places::guess(bytes, span);
    Reader { bytes, at: 0, places: &places, nesting: 0, diagnostics }.whole_template(span)
}

/// The same for a literal of the script, with exact places also after escapes.
pub fn parse_text(text: &Text, source: &SourceMap, diagnostics: &mut Vec<Diagnostic>) -> Template {
    let places = Places::of(text, source);
    Reader { bytes: &text.bytes, at: 0, places: &places, nesting: 0, diagnostics }.whole_template(text.span)
}

/// Where a part of a literal's bytes was written, if the literal stands in one piece.
pub(super) fn part_of_text(text: &Text, source: &SourceMap, part: Range<usize>) -> Option<Span> {
    match Places::of(text, source) {
        Places::Whole(_) => None,
        places => Some(places.span(part.start, part.end)),
    }
}

/// Reads bytes that are one variable and nothing else, such as `$var(x)`.
pub fn parse_variable(bytes: &[u8], span: Span, diagnostics: &mut Vec<Diagnostic>) -> Option<Variable> {
    let places = Places::guess(bytes, span);
    Reader { bytes, at: 0, places: &places, nesting: 0, diagnostics }.whole_variable()
}

/// Where a variable that begins at a `$` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VariableEnd {
    /// Offset after it.
    At(usize),
    /// Nothing that could be a variable follows the `$`.
    NotOne,
    /// A parenthesis is open at the end of the line.
    Unclosed {
        /// Its offset.
        opened_at: usize,
    },
}

/// The extent of a variable in code: parentheses are counted, nothing else is looked at.
pub(super) fn variable_end(text: &[u8], start: usize) -> VariableEnd {
    let name_end = start + 1 + name_length(&text[start + 1..]);
    match text.get(name_end) {
        Some(b'(') => match matching_parenthesis(text, name_end) {
            Some(end) => VariableEnd::At(end + 1),
            None => VariableEnd::Unclosed { opened_at: name_end },
        },
        _ if name_end > start + 1 => VariableEnd::At(name_end),
        _ => VariableEnd::NotOne,
    }
}

/// Length of the name of a variable in its short form.
fn name_length(text: &[u8]) -> usize {
    if text.first() == Some(&b'?') {
        return 1;
    }
    text.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(text.len())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn matching_parenthesis(text: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (offset, byte) in text[open..].iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\n' => return None,
            _ => {}
        }
        if depth == 0 {
            return Some(open + offset);
        }
    }
    None
}

/// From offsets in a text to places in the source map.
enum Places {
    /// Byte `n` stands at `start + n`.
    From(u32),
    /// Byte `n` stands at `start + offsets[n]`.
    Mapped(u32, Vec<u32>),
    /// Only the whole place is known.
    Whole(Span),
}

impl Places {
    fn guess(bytes: &[u8], span: Span) -> Places {
        let length = span.end.saturating_sub(span.start) as usize;
        if length == bytes.len() {
            Places::From(span.start)
        } else if length == bytes.len() + 2 {
            Places::From(span.start + 1)
        } else {
            Places::Whole(span)
        }
    }

    fn of(text: &Text, source: &SourceMap) -> Places {
        let written = source.text(text.span);
        let Some(inside) = written.get(1..written.len().saturating_sub(1)) else {
            return Places::Whole(text.span);
        };
        if inside == text.bytes {
            return Places::From(text.span.start + 1);
        }
        let mut offsets = Vec::new();
        if written.starts_with(b"\"") && unescape(inside, Some(&mut offsets)) == text.bytes {
            return Places::Mapped(text.span.start + 1, offsets);
        }
        // Several literals joined, or changed by a substitution.
        Places::Whole(text.span)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        match self {
            Places::From(base) => Span { start: base + start as u32, end: base + end as u32 },
            Places::Mapped(base, offsets) => {
                let place = |at: usize| base + offsets.get(at).or(offsets.last()).copied().unwrap_or(0);
                Span { start: place(start), end: place(end) }
            }
            Places::Whole(span) => *span,
        }
    }
}

/// What was wrong has been reported.
struct Broken;

type Read<T> = Result<T, Broken>;

struct Reader<'t, 'd> {
    bytes: &'t [u8],
    at: usize,
    places: &'t Places,
    nesting: usize,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl Reader<'_, '_> {
    fn whole_template(mut self, span: Span) -> Template {
        let mut pieces = Pieces::default();
        while let Some(found) = memchr::memchr(b'$', &self.bytes[self.at..]) {
            pieces.literal(&self.bytes[self.at..self.at + found]);
            self.at += found;
            if self.peek_at(1) == Some(b'$') {
                pieces.literal(b"$");
                self.at += 2;
                continue;
            }
            match self.variable() {
                Ok(variable) => {
                    self.doubt_transformation(&variable);
                    pieces.list.push(Piece::Variable(variable));
                }
                // One mistake, one report: the rest of this text is not looked at.
                Err(Broken) => break,
            }
        }
        pieces.literal(&self.bytes[self.at.min(self.bytes.len())..]);
        Template { pieces: pieces.list, span }
    }

    fn whole_variable(mut self) -> Option<Variable> {
        if self.peek() != Some(b'$') {
            self.report(0, self.bytes.len(), "a variable begins with `$`", None);
            return None;
        }
        let variable = self.variable().ok()?;
        if self.at < self.bytes.len() {
            self.report(self.at, self.bytes.len(), "the variable ends before this", Some(LONG_FORM));
            return None;
        }
        Some(variable)
    }

    /// At a `$`.
    fn variable(&mut self) -> Read<Variable> {
        if self.nesting >= NESTING_MAX {
            self.report(self.at, self.at + 1, "variables are nested too deeply", None);
            return Err(Broken);
        }
        self.nesting += 1;
        let variable = if self.peek_at(1) == Some(b'(') { self.long_form() } else { self.short_form() };
        self.nesting -= 1;
        variable
    }

    fn short_form(&mut self) -> Read<Variable> {
        let start = self.at;
        let length = name_length(&self.bytes[start + 1..]);
        if length == 0 {
            let help = "write `$$` for a dollar sign";
            self.report(start, start + 1, "a variable needs a name after `$`", Some(help));
            return Err(Broken);
        }
        let name = self.name(start + 1, start + 1 + length);
        self.at = start + 1 + length;
        let key = self.key()?;
        let span = self.places.span(start, self.at);
        Ok(Variable { name, key, index: None, transformations: Vec::new(), span })
    }

    fn long_form(&mut self) -> Read<Variable> {
        let start = self.at;
        self.at += 2;
        self.skip_space();
        let name_start = self.at;
        let is_part = |byte: u8| is_name_byte(byte) || byte == b'.' || byte == b'?';
        while self.peek().is_some_and(is_part) {
            self.at += 1;
        }
        if self.at == name_start {
            self.report(start, name_start, "a variable needs a name in `$( )`", None);
            return Err(Broken);
        }
        let name = self.name(name_start, self.at);
        let key = self.key()?;
        self.skip_space();
        let index = self.index()?;
        let transformations = self.transformations()?;
        if self.peek() != Some(b')') {
            self.report_unfinished(start);
            return Err(Broken);
        }
        self.at += 1;
        Ok(Variable { name, key, index, transformations, span: self.places.span(start, self.at) })
    }

    fn report_unfinished(&mut self, start: usize) {
        match self.peek() {
            None => self.report(start + 1, start + 2, "this `(` is never closed", None),
            Some(_) => {
                let help = "after the name come `(key)`, `[index]`, and `{transformation}`, in this order";
                self.report(self.at, self.at + 1, "this is not allowed in a variable", Some(help));
            }
        }
    }

    fn name(&self, start: usize, end: usize) -> Name {
        Name {
            text: String::from_utf8_lossy(&self.bytes[start..end]).into_owned(),
            span: self.places.span(start, end),
        }
    }

    /// `(key)`, if there is one.
    fn key(&mut self) -> Read<Option<Template>> {
        if self.peek() != Some(b'(') {
            return Ok(None);
        }
        let open = self.at;
        self.at += 1;
        self.skip_space();
        let start = self.at;
        let mut pieces = Pieces::default();
        let mut depth = 0usize;
        loop {
            match self.peek() {
                None => {
                    self.report(open, open + 1, "this `(` is never closed", None);
                    return Err(Broken);
                }
                Some(b')') if depth == 0 => break,
                Some(b'$') => self.piece(&mut pieces)?,
                Some(byte) => {
                    depth = match byte {
                        b'(' => depth + 1,
                        b')' => depth - 1,
                        _ => depth,
                    };
                    pieces.literal(&[byte]);
                    self.at += 1;
                }
            }
        }
        let mut end = self.at;
        if let Some(Piece::Literal(last)) = pieces.list.last_mut() {
            let kept = last.trim_ascii_end().len();
            end -= last.len() - kept;
            last.truncate(kept);
            if kept == 0 {
                pieces.list.pop();
            }
        }
        self.at += 1;
        Ok(Some(Template { pieces: pieces.list, span: self.places.span(start, end) }))
    }

    /// At a `$` inside a key or an argument: a variable, or the dollar sign of a regular expression.
    fn piece(&mut self, pieces: &mut Pieces) -> Read<()> {
        match self.peek_at(1) {
            Some(b'$') => {
                pieces.literal(b"$");
                self.at += 2;
            }
            Some(byte) if is_name_byte(byte) || byte == b'(' || byte == b'?' => {
                let variable = self.variable()?;
                pieces.list.push(Piece::Variable(variable));
            }
            _ => {
                pieces.literal(b"$");
                self.at += 1;
            }
        }
        Ok(())
    }

    /// `[index]`, if there is one.
    fn index(&mut self) -> Read<Option<Index>> {
        if self.peek() != Some(b'[') {
            return Ok(None);
        }
        let open = self.at;
        self.at += 1;
        self.skip_space();
        let index = match self.peek() {
            Some(b'*') => {
                self.at += 1;
                Some(Index::All)
            }
            Some(b'$') => Some(Index::Variable(Box::new(self.variable()?))),
            _ => self.number().map(Index::Number),
        };
        self.skip_space();
        match index {
            Some(index) if self.peek() == Some(b']') => {
                self.at += 1;
                self.skip_space();
                Ok(Some(index))
            }
            _ => {
                let help = "an index is a number, `*`, or a variable";
                self.report(open, self.at.max(open + 1), "this index cannot be read", Some(help));
                Err(Broken)
            }
        }
    }

    fn number(&mut self) -> Option<i64> {
        let start = self.at;
        if matches!(self.peek(), Some(b'-' | b'+')) {
            self.at += 1;
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        std::str::from_utf8(&self.bytes[start..self.at]).ok()?.parse::<i32>().ok().map(i64::from)
    }

    fn transformations(&mut self) -> Read<Vec<Transformation>> {
        let mut list = Vec::new();
        while self.peek() == Some(b'{') {
            list.push(self.transformation()?);
            self.skip_space();
        }
        Ok(list)
    }

    fn transformation(&mut self) -> Read<Transformation> {
        let open = self.at;
        self.at += 1;
        self.skip_space();
        let name_start = self.at;
        while self.peek().is_some_and(|byte| is_name_byte(byte) || byte == b'.') {
            self.at += 1;
        }
        let name = self.name(name_start, self.at);
        self.skip_space();
        let arguments = match self.peek() {
            Some(b',') if name.text == REGULAR_EXPRESSION => vec![self.delimited_argument(open)?],
            Some(b',') => self.arguments(open)?,
            _ => Vec::new(),
        };
        if self.peek() != Some(b'}') || name.text.is_empty() {
            let help = "a transformation looks like `{s.len}` or `{s.substr,0,2}`";
            self.report(open, self.at.max(open + 1), "this transformation cannot be read", Some(help));
            return Err(Broken);
        }
        self.at += 1;
        Ok(Transformation { name, arguments, span: self.places.span(open, self.at) })
    }

    /// At the first comma.
    fn arguments(&mut self, open: usize) -> Read<Vec<Template>> {
        let mut arguments = Vec::new();
        while self.peek() == Some(b',') {
            self.at += 1;
            let start = self.at;
            let mut pieces = Pieces::default();
            // `{s.select,1,,}`: the last argument is a comma.
            if self.bytes[self.at..].starts_with(b",}") {
                pieces.literal(b",");
                self.at += 1;
            }
            loop {
                match self.peek() {
                    None => {
                        self.report(open, open + 1, "this `{` is never closed", None);
                        return Err(Broken);
                    }
                    Some(b',' | b'}') => break,
                    Some(b'$') => self.piece(&mut pieces)?,
                    Some(byte) => {
                        pieces.literal(&[byte]);
                        self.at += 1;
                    }
                }
            }
            arguments.push(Template { pieces: pieces.list, span: self.places.span(start, self.at) });
        }
        Ok(arguments)
    }

    /// `,/pattern/replacement/flags` up to the brace: one literal, in which only its own delimiter means something.
    fn delimited_argument(&mut self, open: usize) -> Read<Template> {
        self.at += 1;
        let start = self.at;
        let delimiter = self.peek();
        let mut seen = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => self.at += 1,
                b'}' if seen >= 3 => break,
                _ if Some(byte) == delimiter => seen += 1,
                _ => {}
            }
            self.at += 1;
        }
        if self.at >= self.bytes.len() {
            let help = "it looks like `{re.subst,/pattern/replacement/flags}`";
            self.report(open, open + 1, "this substitution is not complete", Some(help));
            return Err(Broken);
        }
        let mut pieces = Pieces::default();
        pieces.literal(&self.bytes[start..self.at]);
        Ok(Template { pieces: pieces.list, span: self.places.span(start, self.at) })
    }

    /// `"$rU{s.len}"` prints the braces; most likely they were meant as a transformation.
    fn doubt_transformation(&mut self, variable: &Variable) {
        let rest = &self.bytes[self.at..];
        let Some(inside) = rest.strip_prefix(b"{") else { return };
        let class = inside.iter().position(|byte| !byte.is_ascii_lowercase()).unwrap_or(inside.len());
        let looks_meant = class > 0 && inside.get(class) == Some(&b'.');
        if !looks_meant {
            return;
        }
        let Some(end) = memchr::memchr(b'}', rest) else { return };
        let message = "after a variable without `$( )`, this is only text";
        let written = String::from_utf8_lossy(&rest[..=end]).into_owned();
        let span = self.places.span(self.at, self.at + end + 1);
        self.diagnostics.push(
            Diagnostic::warning(span, message)
                .with_help(format!("to transform the value, write `$({}…{written})`", variable.name.text)),
        );
    }

    fn report(&mut self, start: usize, end: usize, message: &str, help: Option<&str>) {
        let end = end.min(self.bytes.len()).max(start);
        let diagnostic = Diagnostic::error(self.places.span(start, end), message);
        self.diagnostics.push(Diagnostic { help: help.map(str::to_string), ..diagnostic });
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte == b' ' || byte == b'\t') {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn peek_at(&self, offset: usize) -> Option<u8> {
        self.bytes.get(self.at + offset).copied()
    }
}

/// Pieces in which neighbouring literals are one.
#[derive(Default)]
struct Pieces {
    list: Vec<Piece>,
}

impl Pieces {
    fn literal(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.list.last_mut() {
            Some(Piece::Literal(last)) => last.extend_from_slice(bytes),
            _ => self.list.push(Piece::Literal(bytes.to_vec())),
        }
    }
}

/// How deep variables may stand in keys, indexes and arguments of each other.
pub const NESTING_MAX: usize = 16;

/// The transformation whose argument has a delimiter of its own.
pub(super) const REGULAR_EXPRESSION: &str = "re.subst";

const LONG_FORM: &str =
    "an index or a transformation needs the long form, `$(name(key)[index]{transformation})`";

#[cfg(test)]
mod tests {
    use super::super::ast::{ExpressionKind, ItemKind, StatementKind};
    use super::super::print::print_variable;
    use super::*;

    /// Literals as they are, variables in angle brackets.
    fn split(text: &str) -> (String, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let span = Span { start: 100, end: 100 + text.len() as u32 };
        let template = parse_template(text.as_bytes(), span, &mut diagnostics);
        let shown = template.pieces.iter().map(|piece| match piece {
            Piece::Literal(literal) => String::from_utf8_lossy(literal).into_owned(),
            Piece::Variable(variable) => format!("<{}>", print_variable(variable)),
        });
        (shown.collect(), diagnostics)
    }

    fn check(text: &str, expected: &str) {
        let (seen, diagnostics) = split(text);
        assert_eq!(seen, expected, "{text}");
        assert!(diagnostics.is_empty(), "{text}: {diagnostics:?}");
    }

    #[test]
    fn variables_are_found_in_text() {
        check("", "");
        check("plain", "plain");
        check("===== [$Tf] [$si:$sp]\n", "===== [<$Tf>] [<$si>:<$sp>]\n");
        check("{$mt $hdr(CSeq) $ci} ", "{<$mt> <$hdr(CSeq)> <$ci>} ");
        check("$$5 $$ru", "$5 $ru");
        check("$rU[1].x", "<$rU>[1].x");
        check("$(rU)x $? $(err.class)", "<$rU>x <$?> <$(err.class)>");
        check("$avp($rU)", "<$avp($rU)>");
        check("$sht(t=>$ci::$(fu{uri.user}))", "<$sht(t=>$ci::$(fu{uri.user}))>");
        check("$xavp(a[0]=>b)", "<$xavp(a[0]=>b)>");
        check("$(hdr(X-Y)[-1])", "<$(hdr(X-Y)[-1])>");
        check("$(avp(x)[*]) $(avp(x)[$var(i)])", "<$(avp(x)[*])> <$(avp(x)[$var(i)])>");
        check("$( ru {s.len} { s.int } )", "<$(ru{s.len}{s.int})>");
        check("$(ru{s.substr,$var(i),2})", "<$(ru{s.substr,$var(i),2})>");
        check("$(ru{s.select,1,,}{s.rm,}{s.x,a,,b})", "<$(ru{s.select,1,,}{s.rm,}{s.x,a,,b})>");
        check("$(ru{re.subst,/^(.{3})x,$/\\1/g})", "<$(ru{re.subst,/^(.{3})x,$/\\1/g})>");
        check("$shtcn(t=>~x$)", "<$shtcn(t=>~x$$)>");
        check("$var( x )", "<$var(x)>");
        check("$avp()", "<$avp()>");
    }

    fn refused(text: &str, start: u32, message: &str) {
        let (_, diagnostics) = split(text);
        assert_eq!(diagnostics.len(), 1, "{text}: {diagnostics:?}");
        assert_eq!(
            (diagnostics[0].span.start - 100, diagnostics[0].message.as_str()),
            (start, message),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_reported_once() {
        refused("costs 5$", 7, "a variable needs a name after `$`");
        refused("a $ b $", 2, "a variable needs a name after `$`");
        refused("$() $()", 0, "a variable needs a name in `$( )`");
        refused("x $var(a", 6, "this `(` is never closed");
        refused("$(var(a)", 1, "this `(` is never closed");
        refused("$(var(a)[1", 8, "this index cannot be read");
        refused("$(var(a)[x])", 8, "this index cannot be read");
        refused("$(ru{s.len)", 4, "this transformation cannot be read");
        refused("$(ru{s.substr,1)", 4, "this `{` is never closed");
        refused("$(ru{re.subst,/a/b)", 4, "this substitution is not complete");
        refused("$(ru-x)", 4, "this is not allowed in a variable");
        refused("$rU{s.len}", 3, "after a variable without `$( )`, this is only text");
        refused(&"$(x(".repeat(100), 64, "variables are nested too deeply");
    }

    #[test]
    fn places_behind_escapes_are_exact() {
        let mut source = SourceMap::new();
        let script = "route { f(\"\\n\\x41 $fu\\n\"); }";
        let root = source.add_file("a.cfg", script);
        let (ast, _) = super::super::parser::parse(&mut source, root, &Default::default());
        let ItemKind::Route(route) = &ast.items[0].kind else { panic!("{ast:?}") };
        let StatementKind::Expression(expression) = &route.body[0].kind else { panic!("{route:?}") };
        let ExpressionKind::Call(call) = &expression.kind else { panic!("{expression:?}") };
        let ExpressionKind::Text(text) = &call.arguments[0].kind else { panic!("{call:?}") };
        let mut diagnostics = Vec::new();
        let template = parse_text(text, &source, &mut diagnostics);
        let Piece::Variable(variable) = &template.pieces[1] else { panic!("{template:?}") };
        assert_eq!(source.text(variable.span), b"$fu");
    }

    #[test]
    fn a_variable_alone_is_read_whole() {
        let read = |text: &str| {
            let mut diagnostics = Vec::new();
            let span = Span { start: 0, end: text.len() as u32 };
            let variable = parse_variable(text.as_bytes(), span, &mut diagnostics);
            assert_eq!(variable.is_none(), !diagnostics.is_empty(), "{text}");
            variable.map(|variable| print_variable(&variable))
        };
        assert_eq!(read("$var(x)").as_deref(), Some("$var(x)"));
        assert_eq!(read("$(var(x))").as_deref(), Some("$var(x)"));
        assert_eq!(read("$var(x)[0]"), None);
        assert_eq!(read("var(x)"), None);
        assert_eq!(read(""), None);
    }
}
