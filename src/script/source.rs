//! All text of one script in one position space.
//!
//! ```text
//!  position   0 ........ 900 | 900 ... 960 | 960 ...... 1400 | ...
//!  region     calls.cfg      | define FOO  | include x.cfg   |
//!                              used at 120   named at 300
//! ```
//!
//! A [`Span`] is two offsets into this space, so a place needs eight bytes wherever it is kept, and still says through
//! which includes and defines the text came. Every use of a define is a region of its own that shares the text.
//!
//! **Invariant:** regions lie one after the other, in the order they were added, with one free offset between them, so
//! that the place after the last byte of a region belongs to that region.

use super::ast::Span;
use std::ops::Range;
use std::sync::Arc;

/// What the command line is called where a file would be named.
const COMMAND_LINE: &str = "command line";

/// Number of a file in a [`SourceMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(pub u32);

/// A place as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location<'s> {
    /// Name of the file.
    pub file: &'s str,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

/// A line of a file and where a span lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine<'s> {
    /// The bytes of the line, without its end.
    pub text: &'s [u8],
    /// Offset in `text` at which the span begins.
    pub start: usize,
    /// Offset in `text` after the part of the span that lies on this line.
    pub end: usize,
}

/// How a piece of text came into the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceOrigin {
    /// It is the script itself.
    Root,
    /// A file named by another.
    Include {
        /// Where it was named.
        at: Span,
    },
    /// The value of a define.
    Define {
        /// Where the define was used.
        at: Span,
        /// Where it was defined; empty for automatic ones and those of the command line.
        definition: Span,
    },
}

struct Region {
    name: String,
    base: u32,
    text: Arc<[u8]>,
    /// Offsets at which lines begin; only for files.
    lines: Vec<u32>,
    origin: SourceOrigin,
    is_foreign: bool,
    is_command_line: bool,
}

impl Region {
    fn end(&self) -> u32 {
        self.base + self.text.len() as u32
    }
}

/// All text of one script.
#[derive(Default)]
pub struct SourceMap {
    regions: Vec<Region>,
}

impl SourceMap {
    /// An empty map.
    pub fn new() -> SourceMap {
        SourceMap::default()
    }

    /// Adds a file. Text beyond the position space (4 GiB for everything together) is cut off.
    pub fn add_file(&mut self, name: impl Into<String>, text: impl Into<Vec<u8>>) -> FileId {
        FileId(self.add(name.into(), Arc::from(text.into()), SourceOrigin::Root))
    }

    /// Adds a file that another names at `at`.
    pub fn add_include(&mut self, name: impl Into<String>, text: impl Into<Vec<u8>>, at: Span) -> FileId {
        FileId(self.add(name.into(), Arc::from(text.into()), SourceOrigin::Include { at }))
    }

    /// Adds the options that the script is read with, one a line, so that a mistake in one is shown there.
    pub fn add_command_line(&mut self, options: &[&str]) {
        let file = self.add_file(COMMAND_LINE, options.join("\n"));
        if let Some(region) = self.regions.get_mut(file.0 as usize) {
            region.is_command_line = true;
        }
    }

    /// The place of some bytes of an option given to [`SourceMap::add_command_line`].
    pub fn option_span(&self, option: &str, part: Range<usize>) -> Option<Span> {
        let region = self.regions.iter().find(|region| region.is_command_line)?;
        let text = std::str::from_utf8(&region.text).ok()?;
        let begins = region.lines.iter().find(|start| {
            let rest = &text[**start as usize..];
            rest.strip_prefix(option).is_some_and(|behind| behind.is_empty() || behind.starts_with('\n'))
        })?;
        let start = region.base + begins;
        Some(Span { start: start + part.start as u32, end: start + part.end.min(option.len()) as u32 })
    }

    /// Whether a place is on the command line.
    pub fn is_command_line(&self, span: Span) -> bool {
        self.region_at(self.file_span(span).start).is_some_and(|index| self.regions[index].is_command_line)
    }

    /// This file has another owner than the script: little of it is to be shown.
    pub(super) fn mark_foreign(&mut self, file: FileId) {
        if let Some(region) = self.regions.get_mut(file.0 as usize) {
            region.is_foreign = true;
        }
    }

    /// The name of the file a span stands in, if that has another owner than the script.
    pub fn foreign_file(&self, span: Span) -> Option<&str> {
        let region = &self.regions[self.region_at(self.file_span(span).start)?];
        region.is_foreign.then_some(region.name.as_str())
    }

    /// Adds one use of a define.
    pub(super) fn add_expansion(
        &mut self,
        name: &str,
        text: Arc<[u8]>,
        at: Span,
        definition: Span,
    ) -> FileId {
        FileId(self.add(name.to_string(), text, SourceOrigin::Define { at, definition }))
    }

    fn add(&mut self, name: String, text: Arc<[u8]>, origin: SourceOrigin) -> u32 {
        let base = self.regions.last().map_or(0, |last| last.end().saturating_add(1));
        let room = (u32::MAX - 1).saturating_sub(base) as usize;
        let text = if text.len() > room { Arc::from(&text[..room]) } else { text };
        let lines = match origin {
            SourceOrigin::Define { .. } => Vec::new(),
            _ => std::iter::once(0)
                .chain(memchr::memchr_iter(b'\n', &text).map(|offset| offset as u32 + 1))
                .collect(),
        };
        self.regions.push(Region {
            name,
            base,
            text,
            lines,
            origin,
            is_foreign: false,
            is_command_line: false,
        });
        self.regions.len() as u32 - 1
    }

    /// The text of a file.
    pub fn file_text(&self, file: FileId) -> &[u8] {
        self.regions.get(file.0 as usize).map_or(&[], |region| &region.text)
    }

    /// Name of a file.
    pub fn file_name(&self, file: FileId) -> &str {
        self.regions.get(file.0 as usize).map_or("", |region| &region.name)
    }

    /// Shared text of a region and the position of its first byte.
    pub(super) fn region_text(&self, file: FileId) -> (Arc<[u8]>, u32) {
        let region = &self.regions[file.0 as usize];
        (Arc::clone(&region.text), region.base)
    }

    /// Bytes of a span known to lie in this region.
    pub(super) fn slice(&self, region: u32, span: Span) -> &[u8] {
        let Some(region) = self.regions.get(region as usize) else { return &[] };
        let start = span.start.saturating_sub(region.base) as usize;
        let end = span.end.saturating_sub(region.base) as usize;
        region.text.get(start..end).unwrap_or(&[])
    }

    /// Bytes of a span; empty when it does not lie in one piece of text.
    pub fn text(&self, span: Span) -> &[u8] {
        self.region_at(span.start).map_or(&[], |index| self.slice(index as u32, span))
    }

    /// The span as it stands in a file: a place inside a define becomes the place where the define is used.
    pub fn file_span(&self, span: Span) -> Span {
        let mut span = span;
        while let Some(index) = self.region_at(span.start) {
            match &self.regions[index].origin {
                // A use always precedes its expansion in the position space, so this ends.
                SourceOrigin::Define { at, .. } if at.start < span.start => span = *at,
                _ => break,
            }
        }
        span
    }

    /// From the beginning of `first` to the end of `last`, as far as both stand in one file.
    pub fn join(&self, first: Span, last: Span) -> Span {
        if self.region_at(first.start) == self.region_at(last.start) && first.start <= last.end {
            return Span { start: first.start, end: last.end };
        }
        let (first, last) = (self.file_span(first), self.file_span(last));
        let same_file = self.region_at(first.start) == self.region_at(last.start);
        if same_file && first.start <= last.end { Span { start: first.start, end: last.end } } else { first }
    }

    /// File, line and column of the beginning of a span (of the use, inside a define). `None` on an empty map.
    pub fn location(&self, span: Span) -> Option<Location<'_>> {
        let position = self.file_span(span).start;
        let (region, line, line_start, offset) = self.line_of(position)?;
        let column = region.text[line_start..offset].iter().filter(|byte| !is_continuation(**byte)).count();
        Some(Location { file: &region.name, line: line as u32 + 1, column: column as u32 + 1 })
    }

    /// Number of the file and of the line in it, from 1, without looking for the column.
    pub(super) fn file_line(&self, span: Span) -> Option<(FileId, u32)> {
        let index = self.region_at(self.file_span(span).start)?;
        let region = &self.regions[index];
        let offset = self.file_span(span).start.saturating_sub(region.base);
        let line = region.lines.partition_point(|start| *start <= offset);
        Some((FileId(index as u32), line.max(1) as u32))
    }

    /// The line on which a span begins.
    pub fn line(&self, span: Span) -> Option<SourceLine<'_>> {
        let span = self.file_span(span);
        let (region, _, line_start, offset) = self.line_of(span.start)?;
        let line_end = memchr::memchr(b'\n', &region.text[line_start..])
            .map_or(region.text.len(), |length| line_start + length);
        let text = &region.text[line_start..line_end];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let start = (offset - line_start).min(text.len());
        let end = start + (span.end.saturating_sub(span.start) as usize).min(text.len() - start);
        Some(SourceLine { text, start, end })
    }

    /// How the text at a span came here, innermost first: defines used, then files included. Empty in the script itself.
    pub fn chain(&self, span: Span) -> Vec<(&str, &SourceOrigin)> {
        let mut chain = Vec::new();
        let mut position = span.start;
        while let Some(index) = self.region_at(position) {
            let region = &self.regions[index];
            let at = match &region.origin {
                SourceOrigin::Root => break,
                SourceOrigin::Include { at } | SourceOrigin::Define { at, .. } => *at,
            };
            chain.push((region.name.as_str(), &region.origin));
            if at.start >= position {
                break;
            }
            position = at.start;
        }
        chain
    }

    fn line_of(&self, position: u32) -> Option<(&Region, usize, usize, usize)> {
        let region = &self.regions[self.region_at(position)?];
        let offset = ((position - region.base) as usize).min(region.text.len());
        let line = region.lines.partition_point(|start| *start as usize <= offset).saturating_sub(1);
        let line_start = region.lines.get(line).copied().unwrap_or(0) as usize;
        Some((region, line, line_start, offset))
    }

    fn region_at(&self, position: u32) -> Option<usize> {
        let after = self.regions.partition_point(|region| region.base <= position);
        after.checked_sub(1)
    }
}

/// Whether a byte continues a UTF-8 character.
pub(super) fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// A file found for an include.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedFile {
    /// Name under which it is reported; it includes other files from that directory.
    pub path: String,
    /// Its bytes.
    pub text: Vec<u8>,
    /// Whether it has another owner than the script that includes it.
    pub is_foreign: bool,
}

/// Why a file could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// There is no such file: an error for `include_file`, nothing for `import_file`.
    NotFound,
    /// It is larger than allowed.
    TooLarge,
    /// Any other reason (not a regular file, no permission), worded lower case without full stop.
    Refused(String),
}

/// Reads included files. The language itself does no I/O.
pub trait Loader {
    /// Loads `name`, included by the file `including`; at most `size_max` bytes. A relative name is tried as it
    /// stands, then beside the including file: [`candidates`].
    fn load(&self, name: &str, including: &str, size_max: usize) -> Result<LoadedFile, LoadError>;
}

/// A loader that finds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIncludes;

impl Loader for NoIncludes {
    fn load(&self, _: &str, _: &str, _: usize) -> Result<LoadedFile, LoadError> {
        Err(LoadError::NotFound)
    }
}

/// Paths at which an included file is looked for, in order.
pub fn candidates(name: &str, including: &str) -> Vec<String> {
    let mut paths = vec![name.to_string()];
    if !name.starts_with('/')
        && let Some((directory, _)) = including.rsplit_once('/')
    {
        paths.push(format!("{directory}/{name}"));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u32, end: u32) -> Span {
        Span { start, end }
    }

    #[test]
    fn places_are_found_in_files() {
        let mut source = SourceMap::new();
        source.add_file("a.cfg", "one\ntwö three\r\nfour");
        let check = |at: u32, line: u32, column: u32| {
            let location = source.location(span(at, at)).unwrap();
            assert_eq!((location.file, location.line, location.column), ("a.cfg", line, column), "at {at}");
            assert_eq!(source.file_line(span(at, at)), Some((FileId(0), line)), "at {at}");
        };
        check(0, 1, 1);
        check(3, 1, 4);
        check(4, 2, 1);
        check(9, 2, 5);
        check(16, 3, 1);
        check(20, 3, 5);
        assert_eq!(source.line(span(9, 14)).unwrap().text, "twö three".as_bytes());
    }

    #[test]
    fn a_place_in_a_define_is_the_place_of_its_use() {
        let mut source = SourceMap::new();
        let root = source.add_file("a.cfg", "#!define X Y\nX\n");
        let use_site = span(13, 14);
        let expansion = source.add_expansion("X", Arc::from(&b"Y"[..]), use_site, span(9, 10));
        let (_, base) = source.region_text(expansion);
        assert_eq!(source.file_span(span(base, base + 1)), use_site);
        assert_eq!(source.text(span(base, base + 1)), b"Y");
        assert_eq!(source.chain(span(base, base + 1)).len(), 1);
        assert_eq!(source.chain(use_site).len(), 0);
        assert_eq!(source.file_name(root), "a.cfg");
        assert_eq!(source.join(span(9, 10), span(base, base + 1)), span(9, 14));
    }

    #[test]
    fn options_are_places_too() {
        let mut source = SourceMap::new();
        source.add_file("a.cfg", "exit;");
        source.add_command_line(&["-A X=-A", "--modparam sl:code:i:1", "-A X"]);
        let rows = [
            ("-A X", 0..4, Some("-A X")),
            ("-A X=-A", 5..7, Some("-A")),
            ("--modparam sl:code:i:1", 14..18, Some("code")),
            ("--modparam sl:code:i:1", 11..900, Some("sl:code:i:1")),
            ("--modparam sl", 0..1, None),
            ("--alias x", 0..1, None),
        ];
        for (option, part, expected) in rows {
            let found = source.option_span(option, part.clone());
            assert_eq!(found.map(|span| source.text(span)), expected.map(str::as_bytes), "{option} {part:?}");
            assert!(found.is_none_or(|span| source.is_command_line(span)), "{option}");
        }
        assert!(!source.is_command_line(span(0, 4)));
    }

    #[test]
    fn an_empty_map_has_no_places() {
        assert_eq!(SourceMap::new().location(span(5, 6)), None);
        assert_eq!(SourceMap::new().text(span(5, 6)), b"");
    }

    #[test]
    fn included_names_are_looked_for_beside_the_including_file() {
        assert_eq!(candidates("b.cfg", "/etc/x/a.cfg"), ["b.cfg", "/etc/x/b.cfg"]);
        assert_eq!(candidates("/b.cfg", "/etc/x/a.cfg"), ["/b.cfg"]);
        assert_eq!(candidates("b.cfg", "a.cfg"), ["b.cfg"]);
    }
}
