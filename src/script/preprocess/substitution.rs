//! `#!subst "/pattern/replacement/flags"`: how texts are changed.
//!
//! The first character separates the parts. Flags are `i` (any case), `g` (everywhere), `s` (`.` matches line ends);
//! in the replacement `\1` to `\9` are groups of the pattern and `\0` all of it.
//!
//! **Invariant:** patterns run in linear time and have a limited size, as has what they make of a text.

use regex::bytes::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;

/// A substitution in force.
pub(super) struct SubstDirective {
    pattern: Regex,
    replacement: Vec<ReplacementPart>,
    is_global: bool,
}

enum ReplacementPart {
    Literal(Vec<u8>),
    Group(usize),
}

impl SubstDirective {
    /// Reads the three parts; the error says what is wrong with them.
    pub fn new(pattern: &str, replacement: &str, flags: &str) -> Result<SubstDirective, String> {
        if let Some(wrong) = flags.chars().find(|flag| !"igs".contains(*flag)) {
            return Err(format!("a substitution has no flag `{wrong}`: only i, g, s"));
        }
        let pattern = RegexBuilder::new(pattern)
            .case_insensitive(flags.contains('i'))
            .dot_matches_new_line(flags.contains('s'))
            .size_limit(PATTERN_SIZE_MAX)
            .build()
            .map_err(|error| format!("this pattern cannot be read: {}", last_line(&error.to_string())))?;
        Ok(SubstDirective {
            pattern,
            replacement: replacement_parts(replacement),
            is_global: flags.contains('g'),
        })
    }

    /// Changes a text where the pattern matches: once, or everywhere with the flag `g`.
    pub fn apply(&self, text: &mut Vec<u8>) {
        let count = usize::from(!self.is_global);
        let replace = |captures: &Captures<'_>| self.replacement_for(captures);
        if let Cow::Owned(changed) = self.pattern.replacen(text, count, replace) {
            *text = changed;
            text.truncate(SUBSTITUTED_SIZE_MAX);
        }
    }

    fn replacement_for(&self, captures: &Captures<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.replacement {
            match part {
                ReplacementPart::Literal(literal) => bytes.extend_from_slice(literal),
                ReplacementPart::Group(index) => {
                    bytes.extend_from_slice(captures.get(*index).map_or(&[], |found| found.as_bytes()));
                }
            }
        }
        bytes
    }
}

/// `\0` to `\9` are groups, any other character after a backslash is itself.
fn replacement_parts(replacement: &str) -> Vec<ReplacementPart> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut bytes = replacement.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, byte == b'\\') {
            (_, true) => match bytes.next() {
                Some(digit @ b'0'..=b'9') => {
                    parts.push(ReplacementPart::Literal(std::mem::take(&mut literal)));
                    parts.push(ReplacementPart::Group(usize::from(digit - b'0')));
                }
                Some(b'n') => literal.push(b'\n'),
                Some(b'r') => literal.push(b'\r'),
                Some(b't') => literal.push(b'\t'),
                Some(other) => literal.push(other),
                None => literal.push(b'\\'),
            },
            (byte, false) => literal.push(byte),
        }
    }
    parts.push(ReplacementPart::Literal(literal));
    parts
}

/// Splits at the delimiter that the text begins with; a backslash keeps one from separating.
pub(super) fn split(written: &str) -> Option<[&str; 3]> {
    let delimiter = written.chars().next()?;
    let mut parts = [""; 3];
    let mut start = delimiter.len_utf8();
    let mut is_escaped = false;
    let mut index = 0;
    for (at, character) in written.char_indices().skip(1) {
        if character == delimiter && !is_escaped {
            *parts.get_mut(index)? = &written[start..at];
            start = at + character.len_utf8();
            index += 1;
            if index == 2 {
                parts[2] = &written[start..];
                return Some(parts);
            }
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    None
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

const PATTERN_SIZE_MAX: usize = 1 << 20;

/// A text may not grow beyond this by substitution.
const SUBSTITUTED_SIZE_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, text: &str, expected: &str) {
        let [pattern, replacement, flags] = split(written).expect("three parts");
        let mut text = text.as_bytes().to_vec();
        SubstDirective::new(pattern, replacement, flags).expect("a pattern").apply(&mut text);
        assert_eq!(String::from_utf8_lossy(&text), expected, "{written}");
    }

    #[test]
    fn texts_are_changed() {
        check("/a/b/", "aa", "ba");
        check("/a/b/g", "aa", "bb");
        check("!A!b!gi", "aA", "bb");
        check("/(x)(y)/\\2\\1<\\0>/", "xy", "yx<xy>");
        check("/a\\/b/c\\/d/", "a/b", "c/d");
        check("/a/\\n\\q/", "a", "\nq");
        check("/a.b/c/s", "a\nb", "c");
    }

    #[test]
    fn mistakes_are_errors() {
        assert_eq!(split("/a/b"), None);
        assert_eq!(split(""), None);
        assert!(SubstDirective::new("a(", "", "").is_err());
        assert!(SubstDirective::new("a", "", "x").is_err());
        assert!(SubstDirective::new("(a{1000}){1000}", "", "").is_err());
    }
}
