//! Regular expressions over the text of a message, and `/pattern/replacement/flags`.

use std::ops::Range;

use regex::bytes::{Captures, Regex};

pub use crate::bindings::preparation::build_line_regex as line_regex;
use crate::bindings::preparation::{Groups, LetterCase, Lines, Style, compile_styled, invalid_regex};

/// A regular expression over any text whose parentheses can be asked for by number.
pub fn numbered_regex(pattern: &[u8]) -> Result<Regex, String> {
    let style = Style { letter_case: LetterCase::Kept, lines: Lines::Crossed, groups: Groups::Numbered };
    compile_styled(pattern, style).map_err(|reason| invalid_regex(pattern, &reason))
}

/// A compiled `/pattern/replacement/flags`.
#[derive(Debug)]
pub struct Substitution {
    regex: Regex,
    replacement: Vec<Part>,
    is_global: bool,
}

#[derive(Debug)]
enum Part {
    Literal(Vec<u8>),
    Group(usize),
}

impl Substitution {
    /// Reads it; the first byte is the delimiter. Flags: `g` every match, `i` any case, `s` `.` matches line ends.
    pub fn parse(written: &[u8]) -> Result<Substitution, String> {
        let shape = || {
            let written = written.escape_ascii();
            format!("\"{written}\" is not /pattern/replacement/flags")
        };
        let (&delimiter, rest) = written.split_first().ok_or_else(shape)?;
        let parts = split_unescaped(rest, delimiter);
        let [pattern, replacement, flags] = parts.as_slice() else { return Err(shape()) };
        if let Some(unknown) = flags.iter().find(|flag| !b"gis".contains(flag)) {
            return Err(format!(
                "unknown flag \"{}\" of a substitution; flags are g, i, s",
                unknown.escape_ascii()
            ));
        }
        let style = Style {
            letter_case: if flags.contains(&b'i') { LetterCase::Ignored } else { LetterCase::Kept },
            lines: if flags.contains(&b's') { Lines::Crossed } else { Lines::Apart },
            groups: Groups::Numbered,
        };
        let regex = compile_styled(pattern, style).map_err(|reason| invalid_regex(pattern, &reason))?;
        let replacement = replacement_parts(replacement);
        let groups = replacement.iter().filter_map(|part| match part {
            Part::Group(group) => Some(*group),
            Part::Literal(_) => None,
        });
        if let Some(group) = groups.max().filter(|&group| group >= regex.captures_len()) {
            return Err(format!("the replacement uses group {group}, which the pattern does not have"));
        }
        Ok(Substitution { regex, replacement, is_global: flags.contains(&b'g') })
    }

    /// Whether every match is replaced.
    pub fn is_global(&self) -> bool {
        self.is_global
    }

    /// What is replaced in `text`, and by what.
    pub fn changes(&self, text: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
        let limit = if self.is_global { usize::MAX } else { 1 };
        let matches = self.regex.captures_iter(text).take(limit);
        matches.map(|captures| (captures.get_match().range(), self.expand(&captures))).collect()
    }

    /// `text` with its matches replaced; `None` without a match.
    pub fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        let changes = self.changes(text);
        if changes.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(text.len());
        let mut copied = 0;
        for (span, new) in changes {
            out.extend_from_slice(&text[copied..span.start]);
            out.extend_from_slice(&new);
            copied = span.end;
        }
        out.extend_from_slice(&text[copied..]);
        Some(out)
    }

    fn expand(&self, captures: &Captures<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.replacement {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Group(group) => {
                    out.extend_from_slice(captures.get(*group).map_or(&b""[..], |group| group.as_bytes()));
                }
            }
        }
        out
    }
}

/// Cuts at delimiters that no backslash stands before; an escaped delimiter loses its backslash.
fn split_unescaped(text: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(next) if next == delimiter => part.push(next),
                Some(next) => part.extend([b'\\', next]),
                None => part.push(b'\\'),
            },
            _ if byte == delimiter => parts.push(std::mem::take(&mut part)),
            _ => part.push(byte),
        }
    }
    parts.push(part);
    parts
}

/// `\0` to `\9` stand for groups, `\n`, `\r`, `\t` for their bytes.
fn replacement_parts(text: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        let escaped = if byte == b'\\' { bytes.next() } else { None };
        match escaped {
            Some(digit) if digit.is_ascii_digit() => {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
                parts.push(Part::Group(usize::from(digit - b'0')));
            }
            Some(b'n') => literal.push(b'\n'),
            Some(b'r') => literal.push(b'\r'),
            Some(b't') => literal.push(b'\t'),
            Some(other) => literal.push(other),
            None => literal.push(byte),
        }
    }
    parts.push(Part::Literal(literal));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutions_replace_what_they_say() {
        let rows = [
            ("/a/b/", "banana", Some("bbnana")),
            ("/a/b/g", "banana", Some("bbnbnb")),
            ("/A/b/", "banana", None),
            ("/A/b/i", "banana", Some("bbnana")),
            ("/^(.*)@(.*)$/\\2 at \\1/", "me@here", Some("here at me")),
            ("/x//", "axb", Some("ab")),
            ("#/#\\##", "a/b", Some("a#b")),
            ("/\\//-/g", "a/b/c", Some("a-b-c")),
            ("/(a)|(b)/[\\2]/g", "ab", Some("[][b]")),
            ("/b$/x/g", "ab\r\nb\r\n", Some("ax\r\nx\r\n")),
            ("/a.c/x/", "a\nc", None),
            ("/a.c/x/s", "a\nc", Some("x")),
            ("/$/\\r\\n/", "a", Some("a\r\n")),
        ];
        for (written, text, expected) in rows {
            let substitution = Substitution::parse(written.as_bytes()).unwrap();
            let changed = substitution.apply(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(changed.as_deref(), expected, "{written} on {text:?}");
        }
    }

    #[test]
    fn what_is_no_substitution_is_refused() {
        let rows = [
            ("", "is not /pattern/replacement/flags"),
            ("/a/b", "is not /pattern/replacement/flags"),
            ("/a/b/c/d", "is not /pattern/replacement/flags"),
            ("/a/b/x", "unknown flag \"x\""),
            ("/(/b/", "invalid regular expression \"(\""),
            ("/a/\\1/", "uses group 1"),
        ];
        for (written, expected) in rows {
            let reason = Substitution::parse(written.as_bytes()).unwrap_err();
            assert!(reason.contains(expected), "{written}: {reason}");
        }
    }

    #[test]
    fn expressions_stand_on_lines() {
        let text = b"OPTIONS sip:b SIP/2.0\r\nX-Foo: one\r\n\r\n";
        for (pattern, expected) in [("^x-foo: ONE$", true), ("^one", false), ("0.X", false), ("", true)] {
            assert_eq!(line_regex(pattern.as_bytes()).unwrap().is_match(text), expected, "{pattern}");
        }
        assert!(line_regex(b"[").unwrap_err().starts_with("invalid regular expression"));
    }
}
