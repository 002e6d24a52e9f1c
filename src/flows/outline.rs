//! A flow file as an outline: lines, and below each of them what is indented deeper.
//!
//! ```text
//!  # a comment                       no item
//!  expect alice 200                  item "expect alice 200"
//!      header To contains ;tag=        its block: one line
//! ```
//!
//! A block is a message, a script, or again an outline, depending on its item.

use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;

/// One line as it stands in the file, without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutlineLine<'s> {
    /// All of it.
    pub text: &'s str,
    /// Offset of its first byte in the file.
    pub start: usize,
}

impl<'s> OutlineLine<'s> {
    /// Bytes of white space at its beginning.
    pub fn indent(&self) -> usize {
        self.text.len() - self.text.trim_start().len()
    }

    /// What stands between the white space at both ends.
    pub fn content(&self) -> &'s str {
        self.text.trim()
    }

    /// Where that is.
    pub fn span(&self) -> Span {
        span(self.start + self.indent(), self.content().len())
    }

    fn is_blank(&self) -> bool {
        self.content().is_empty()
    }

    fn is_comment(&self) -> bool {
        self.content().starts_with('#')
    }
}

/// A stretch of the file.
pub(super) fn span(start: usize, size: usize) -> Span {
    Span { start: start as u32, end: (start + size) as u32 }
}

/// A line with what is indented below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutlineItem<'s> {
    /// The line itself.
    pub head: OutlineLine<'s>,
    /// The lines below, blank ones at both ends left out.
    pub block: Vec<OutlineLine<'s>>,
}

/// The lines of a file.
pub(super) fn lines(text: &str) -> Vec<OutlineLine<'_>> {
    let mut start = 0;
    let mut lines = Vec::new();
    for raw in text.split_inclusive('\n') {
        lines.push(OutlineLine { text: raw.trim_end_matches(['\n', '\r']), start });
        start += raw.len();
    }
    lines
}

/// The items of a block. A line inside the block that is indented less than its first line is an error.
pub(super) fn items<'s>(
    lines: &[OutlineLine<'s>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<OutlineItem<'s>> {
    let first = lines.iter().find(|line| !line.is_blank() && !line.is_comment());
    let Some(base) = first.map(OutlineLine::indent) else { return Vec::new() };
    let mut items: Vec<OutlineItem<'s>> = Vec::new();
    for &line in lines {
        let indent = line.indent();
        match items.last_mut() {
            Some(item) if line.is_blank() || indent > base => item.block.push(line),
            _ if line.is_blank() || line.is_comment() => {}
            _ if indent < base => diagnostics.push(
                Diagnostic::error(line.span(), "this line is indented less than those before it")
                    .with_help("lines that belong together begin in the same column"),
            ),
            _ => items.push(OutlineItem { head: line, block: Vec::new() }),
        }
    }
    for item in &mut items {
        trim(&mut item.block);
    }
    items
}

/// Takes blank lines away from both ends.
fn trim(block: &mut Vec<OutlineLine<'_>>) {
    let end = block.iter().rposition(|line| !line.is_blank()).map_or(0, |last| last + 1);
    block.truncate(end);
    let blank = block.iter().take_while(|line| line.is_blank()).count();
    block.drain(..blank);
}

/// The lines of a block without the white space they have in common.
pub(super) fn dedented<'s>(block: &[OutlineLine<'s>]) -> Vec<OutlineLine<'s>> {
    let indent = block.iter().filter(|line| !line.is_blank()).map(OutlineLine::indent).min().unwrap_or(0);
    let cut = |line: &OutlineLine<'s>| {
        let indent = indent.min(line.text.len());
        OutlineLine { text: line.text.get(indent..).unwrap_or_default(), start: line.start + indent }
    };
    block.iter().map(cut).collect()
}

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutlineWord<'s> {
    /// What it says; of a word in quotes what stands between them.
    pub text: &'s str,
    /// Where that is.
    pub span: Span,
    /// Whether it stands in quotes.
    pub is_quoted: bool,
}

/// The words of a line. A word in double quotes may hold blanks; a backslash before a quote keeps the word going.
pub(super) fn words<'s>(line: &OutlineLine<'s>, diagnostics: &mut Vec<Diagnostic>) -> Vec<OutlineWord<'s>> {
    let text = line.text;
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(blank) = text[at..].find(|c: char| !c.is_whitespace()) {
        let start = at + blank;
        let is_quoted = text[start..].starts_with('"');
        let from = start + usize::from(is_quoted);
        let size = if is_quoted { quoted_size(&text[from..]) } else { plain_size(&text[from..]) };
        let size = size.unwrap_or_else(|| {
            let rest = span(line.start + start, text.trim_end().len() - start);
            diagnostics.push(Diagnostic::error(rest, "these quotes are not closed"));
            text.trim_end().len() - from
        });
        words.push(OutlineWord {
            text: &text[from..from + size],
            span: span(line.start + from, size),
            is_quoted,
        });
        at = (from + size + usize::from(is_quoted)).min(text.len());
    }
    words
}

fn quoted_size(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.find(|c: char| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    })
}

fn plain_size(text: &str) -> Option<usize> {
    Some(text.find(char::is_whitespace).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items as `head{block|block}`.
    fn check(text: &str, expected: &[&str], mistake_count: usize) {
        let mut diagnostics = Vec::new();
        let items = items(&lines(text), &mut diagnostics);
        let shown = |item: &OutlineItem<'_>| {
            let block: Vec<&str> = dedented(&item.block).iter().map(|line| line.text).collect();
            format!("{}{{{}}}", item.head.content(), block.join("|"))
        };
        assert_eq!(items.iter().map(shown).collect::<Vec<_>>(), expected, "{text:?}");
        assert_eq!(diagnostics.len(), mistake_count, "{text:?}: {diagnostics:?}");
    }

    #[test]
    fn lines_become_an_outline() {
        check("", &[], 0);
        check("# only\n\n", &[], 0);
        check("a\nb\r\n", &["a{}", "b{}"], 0);
        check("a\n\n  x\n    y\n\n  z\n\nb\n", &["a{x|  y||z}", "b{}"], 0);
        check("a\n  # of the block\n  x\n# outside\nb\n", &["a{# of the block|x}", "b{}"], 0);
        check("  a\n    x\n  b\n", &["a{x}", "b{}"], 0);
        check("  a\nb\n", &["a{}"], 1);
        check("a\n    x\n  y\n", &["a{  x|y}"], 0);
    }

    #[test]
    fn lines_become_words() {
        let text = r#"wait log "a \"b\" c" within  2s"#;
        let mut diagnostics = Vec::new();
        let line = OutlineLine { text, start: 10 };
        let words = words(&line, &mut diagnostics);
        let texts: Vec<&str> = words.iter().map(|word| word.text).collect();
        assert_eq!(texts, ["wait", "log", r#"a \"b\" c"#, "within", "2s"]);
        assert_eq!((words[2].span, words[2].is_quoted), (Span { start: 20, end: 29 }, true));
        assert!(diagnostics.is_empty());
    }

    #[test]
    fn quotes_that_are_not_closed_are_a_mistake() {
        let mut diagnostics = Vec::new();
        let words = words(&OutlineLine { text: "log \"abc ", start: 0 }, &mut diagnostics);
        assert_eq!(words[1].text, "abc");
        assert_eq!(diagnostics[0].span, Span { start: 4, end: 8 });
    }
}
