//! The errors of a script, reported so that its author can fix them.
//!
//! ```text
//! calls.cfg:14:22: error: unknown worker group "cals"
//!     if (sworker_task("cals")) {
//!                      ^^^^^^
//! help: groups are "calls", "registrations"
//! ```
//!
//! **Invariant:** only the line at fault is shown, at most [`SHOWN_MAX`] characters of it, without control characters.

use super::ast::Span;
use super::source::{SourceMap, SourceOrigin, is_continuation};
use std::fmt::{self, Write};

/// How serious it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The script cannot be used.
    Error,
    /// It can, but probably does not do what its author wants.
    Warning,
    /// Worth knowing.
    Notice,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        })
    }
}

/// Something said beside the main message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// A place, if it has one.
    pub span: Option<Span>,
    /// What is said.
    pub message: String,
}

/// One remark about a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How serious it is.
    pub severity: Severity,
    /// What it is about; the default where that is the script as a whole, or is not known yet.
    pub span: Span,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What would help.
    pub help: Option<String>,
    /// Other places that matter.
    pub notes: Vec<Note>,
}

impl Diagnostic {
    /// An error.
    pub fn error(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Error, span, message: message.into(), help: None, notes: Vec::new() }
    }

    /// A warning.
    pub fn warning(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(span, message) }
    }

    /// A notice.
    pub fn notice(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Notice, ..Diagnostic::error(span, message) }
    }

    /// An error, worded where its place in the script is not known: by a module, by a setting.
    pub fn mistake(message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(Span::default(), message)
    }

    /// The same of something that is no mistake and whose author should know about it.
    pub fn remark(message: impl Into<String>) -> Diagnostic {
        Diagnostic::notice(Span::default(), message)
    }

    /// The same at its place.
    pub fn at(self, span: Span) -> Diagnostic {
        Diagnostic { span, ..self }
    }

    /// The same with help.
    pub fn with_help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The same with a further place.
    pub fn with_note(mut self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.notes.push(Note { span: Some(span), message: message.into() });
        self
    }

    /// The same with something else said, without a place.
    pub fn with_remark(mut self, message: impl Into<String>) -> Diagnostic {
        self.notes.push(Note { span: None, message: message.into() });
        self
    }

    /// Whether it keeps the script from being used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The text shown to people: several lines, each with its end.
    pub fn render(&self, source: &SourceMap) -> String {
        let mut text = format!("{}{}: {}\n", place(source, self.span), self.severity, self.message);
        // A notice is one line: it is read in passing.
        if self.severity != Severity::Notice && self.span != Span::default() {
            render_line(source, self.span, &mut text);
        }
        if let Some(help) = &self.help {
            let _ = writeln!(text, "help: {help}");
        }
        for note in &self.notes {
            let at = note.span.map_or(String::new(), |span| place(source, span));
            let _ = writeln!(text, "{at}note: {}", note.message);
        }
        for (name, origin) in source.chain(self.span).into_iter().take(CHAIN_MAX) {
            render_origin(source, name, origin, &mut text);
        }
        // Names and messages may quote what the script says; control characters reach no terminal.
        text.chars().map(|character| if character == '\n' { character } else { visible(character) }).collect()
    }
}

impl From<String> for Diagnostic {
    fn from(message: String) -> Diagnostic {
        Diagnostic::mistake(message)
    }
}

impl From<&str> for Diagnostic {
    fn from(message: &str) -> Diagnostic {
        Diagnostic::mistake(message)
    }
}

/// Renders many in the order of their places.
pub fn render_all(diagnostics: &[Diagnostic], source: &SourceMap) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_cached_key(|diagnostic| (sort_position(source, diagnostic.span), diagnostic.severity));
    sorted.into_iter().map(|diagnostic| diagnostic.render(source)).collect()
}

/// Sorts by place, the order in which they are shown.
pub fn sort(diagnostics: &mut [Diagnostic], source: &SourceMap) {
    diagnostics
        .sort_by_cached_key(|diagnostic| (sort_position(source, diagnostic.span), diagnostic.severity));
}

/// The candidate nearest to a mistyped name, if one is near enough to be meant.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > NAME_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let allowed = (name.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= allowed)
        .map(|candidate| {
            (edit_distance(name.as_bytes(), candidate.to_ascii_lowercase().as_bytes()), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
fn edit_distance(left: &[u8], right: &[u8]) -> usize {
    let mut before_last = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for row in 1..=left.len() {
        let mut current = vec![row; right.len() + 1];
        for column in 1..=right.len() {
            let replaced = last[column - 1] + usize::from(left[row - 1] != right[column - 1]);
            current[column] = replaced.min(last[column] + 1).min(current[column - 1] + 1);
            let is_swap = row > 1
                && column > 1
                && left[row - 1] == right[column - 2]
                && left[row - 2] == right[column - 1];
            if is_swap {
                current[column] = current[column].min(before_last[column - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

fn sort_position(source: &SourceMap, span: Span) -> Vec<u32> {
    let mut positions: Vec<u32> = source
        .chain(span)
        .iter()
        .map(|(_, origin)| match origin {
            SourceOrigin::Include { at } | SourceOrigin::Define { at, .. } => at.start,
            SourceOrigin::Root => 0,
        })
        .collect();
    positions.insert(0, span.start);
    positions.reverse();
    positions
}

/// `file:line:column: `; nothing where the script as a whole is meant.
fn place(source: &SourceMap, span: Span) -> String {
    if span == Span::default() {
        return String::new();
    }
    match source.location(span) {
        Some(location) if source.is_command_line(span) => format!("{}: ", location.file),
        Some(location) => format!("{}:{}:{}: ", location.file, location.line, location.column),
        None => String::new(),
    }
}

fn render_line(source: &SourceMap, span: Span, out: &mut String) {
    let Some(line) = source.line(span) else { return };
    if line.text.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let from = window_start(line.text, line.start);
    let shown = &line.text[from..];
    let mut marks = String::new();
    let mut text = String::new();
    for (count, (offset, character)) in characters(shown).enumerate() {
        let at = from + offset;
        if count == SHOWN_MAX {
            break;
        }
        text.push(visible(character));
        if at < line.start {
            marks.push(if character == '\t' { '\t' } else { ' ' });
        } else if at < line.end {
            marks.push('^');
        }
    }
    if !marks.contains('^') {
        marks.push('^');
    }
    let _ = writeln!(out, "{}\n{}", text.trim_end(), marks);
}

/// Long lines are shown from a little before the place.
fn window_start(line: &[u8], start: usize) -> usize {
    if start < SHOWN_MAX / 2 {
        return 0;
    }
    let mut from = start - SHOWN_MAX / 4;
    while from < start && is_continuation(line[from]) {
        from += 1;
    }
    from
}

fn characters(bytes: &[u8]) -> impl Iterator<Item = (usize, char)> {
    let mut offset = 0;
    bytes.utf8_chunks().flat_map(move |chunk| {
        let start = offset;
        offset += chunk.valid().len() + chunk.invalid().len();
        let invalid = (!chunk.invalid().is_empty()).then(|| (start + chunk.valid().len(), '\u{fffd}'));
        chunk.valid().char_indices().map(move |(at, character)| (start + at, character)).chain(invalid)
    })
}

fn visible(character: char) -> char {
    if character != '\t' && character.is_control() { '\u{fffd}' } else { character }
}

fn render_origin(source: &SourceMap, name: &str, origin: &SourceOrigin, out: &mut String) {
    let _ = match origin {
        SourceOrigin::Root => Ok(()),
        SourceOrigin::Include { at } => writeln!(out, "{}note: {name} is included here", place(source, *at)),
        SourceOrigin::Define { definition, .. } if definition.end > definition.start => {
            writeln!(out, "{}note: in the value of `{name}`, defined here", place(source, *definition))
        }
        SourceOrigin::Define { .. } => writeln!(out, "note: in the value of the define `{name}`"),
    };
}

/// Characters of a line that are shown.
pub const SHOWN_MAX: usize = 160;

/// Steps of an include or define chain that are shown.
const CHAIN_MAX: usize = 8;

/// Longer names are not compared.
const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, start: u32, end: u32, expected: &str) {
        let mut source = SourceMap::new();
        source.add_file("a.cfg", text);
        let diagnostic = Diagnostic::error(Span { start, end }, "wrong").with_help("do right");
        assert_eq!(diagnostic.render(&source), expected);
    }

    #[test]
    fn the_place_is_marked() {
        check("one two\n", 4, 7, "a.cfg:1:5: error: wrong\none two\n    ^^^\nhelp: do right\n");
        check("\tone\ttwo\n", 5, 8, "a.cfg:1:6: error: wrong\n\tone\ttwo\n\t   \t^^^\nhelp: do right\n");
        check("é x", 3, 4, "a.cfg:1:3: error: wrong\né x\n  ^\nhelp: do right\n");
        check("one", 3, 3, "a.cfg:1:4: error: wrong\none\n   ^\nhelp: do right\n");
        check("one\ntwo\n", 2, 6, "a.cfg:1:3: error: wrong\none\n  ^\nhelp: do right\n");
        check("a\x1b[0m", 0, 1, "a.cfg:1:1: error: wrong\na\u{fffd}[0m\n^\nhelp: do right\n");
        check("one\n\n", 4, 4, "a.cfg:2:1: error: wrong\nhelp: do right\n");
        check("one", 900, 901, "a.cfg:1:4: error: wrong\none\n   ^\nhelp: do right\n");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let mut source = SourceMap::new();
        source.add_file("a.cfg", "x".repeat(10_000));
        let rendered = Diagnostic::warning(Span { start: 5000, end: 5003 }, "wrong").render(&source);
        assert!(rendered.len() < 500, "{rendered}");
        assert!(rendered.contains("a.cfg:1:5001: warning"), "{rendered}");
        assert!(rendered.contains("^^^"), "{rendered}");
    }

    #[test]
    fn many_are_shown_in_order() {
        let mut source = SourceMap::new();
        source.add_file("a.cfg", "one two");
        let later = Diagnostic::error(Span { start: 4, end: 7 }, "second");
        let sooner = Diagnostic::error(Span { start: 0, end: 3 }, "first").with_note(later.span, "see here");
        let rendered = render_all(&[later, sooner], &source);
        assert!(rendered.find("first") < rendered.find("second"), "{rendered}");
        assert!(rendered.contains("a.cfg:1:5: note: see here\n"), "{rendered}");
    }

    #[test]
    fn a_near_name_is_found() {
        let names = ["calls", "registrations", "xlog", "sl_send_reply"];
        for (name, expected) in [
            ("cals", Some("calls")),
            ("clals", Some("calls")),
            ("Xlog", Some("xlog")),
            ("sl_send_repyl", Some("sl_send_reply")),
            ("nothing", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, names), expected, "{name}");
        }
    }
}
