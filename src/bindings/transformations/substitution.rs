//! Class `re`: substitution by regular expression, `{re.subst,/pattern/replacement/flags}`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex::bytes::Regex;

use crate::bindings::preparation::{Groups, LetterCase, Lines, Style, compile_styled};
use crate::script::host::{Argument, Reading, ValueRef};
use crate::state::value::answer_text;

use super::input::{on_argument, on_text};
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[Transformation::new(
    "re.subst",
    "matches of /pattern/ replaced; flags g (all) and i (any case)",
    substitute,
)
.arguments(1, SUBST_ARGUMENTS_MAX)];

/// A pattern may hold commas, which separate arguments.
const SUBST_ARGUMENTS_MAX: usize = 16;
/// Compiled patterns kept by a process; a script that computes its patterns starts over when there are more.
const CACHE_SIZE_MAX: usize = 128;

thread_local! {
    static COMPILED: RefCell<HashMap<Vec<u8>, Option<Rc<Substitution>>>> = RefCell::new(HashMap::new());
}

/// A compiled `/pattern/replacement/flags`.
struct Substitution {
    pattern: Regex,
    replacement: Vec<ReplacementPart>,
    is_global: bool,
}

enum ReplacementPart {
    Literal(Vec<u8>),
    Group(usize),
}

fn substitute(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    let mut written = Vec::new();
    for index in 0..arguments.len() {
        if index > 0 {
            written.push(b',');
        }
        on_argument(arguments, index, |text| written.extend_from_slice(text));
    }
    let substitution = compiled(&written).ok_or(Unfit("re.subst takes /pattern/replacement/flags"))?;
    on_text(input, |text| {
        let limit = if substitution.is_global { usize::MAX } else { 1 };
        let mut copied = 0;
        for captures in substitution.pattern.captures_iter(text).take(limit) {
            let whole = captures.get_match();
            out.extend_from_slice(&text[copied..whole.start()]);
            for part in &substitution.replacement {
                match part {
                    ReplacementPart::Literal(bytes) => out.extend_from_slice(bytes),
                    ReplacementPart::Group(group) => {
                        out.extend_from_slice(
                            captures.get(*group).map_or(&b""[..], |group| group.as_bytes()),
                        );
                    }
                }
            }
            copied = whole.end();
        }
        Ok(answer_text(&text[copied..], out))
    })
}

fn compiled(written: &[u8]) -> Option<Rc<Substitution>> {
    COMPILED.with_borrow_mut(|cache| {
        if let Some(known) = cache.get(written) {
            return known.clone();
        }
        if cache.len() >= CACHE_SIZE_MAX {
            cache.clear();
        }
        let fresh = compile(written).map(Rc::new);
        cache.insert(written.to_vec(), fresh.clone());
        fresh
    })
}

fn compile(written: &[u8]) -> Option<Substitution> {
    let (&delimiter, rest) = written.split_first()?;
    let mut parts = split_unescaped(rest, delimiter).into_iter();
    let (pattern, replacement, flags) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !flags.iter().all(|flag| b"gis".contains(flag)) {
        return None;
    }
    let style = Style {
        letter_case: if flags.contains(&b'i') { LetterCase::Ignored } else { LetterCase::Kept },
        lines: if flags.contains(&b's') { Lines::Crossed } else { Lines::Apart },
        groups: Groups::Numbered,
    };
    let pattern = compile_styled(&pattern, style).ok()?;
    Some(Substitution {
        pattern,
        replacement: replacement_parts(&replacement),
        is_global: flags.contains(&b'g'),
    })
}

/// Cuts at delimiters that no backslash stands before; an escaped delimiter loses its backslash.
fn split_unescaped(text: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let part = parts.last_mut().expect("there is always a part");
        match byte {
            b'\\' => match bytes.next() {
                Some(next) if next == delimiter => part.push(next),
                Some(next) => part.extend([b'\\', next]),
                None => part.push(b'\\'),
            },
            _ if byte == delimiter => parts.push(Vec::new()),
            _ => part.push(byte),
        }
    }
    parts
}

/// `\0` to `\9` stand for groups.
fn replacement_parts(text: &[u8]) -> Vec<ReplacementPart> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after.first()) {
            (b'\\', Some(digit)) if digit.is_ascii_digit() => {
                parts.push(ReplacementPart::Literal(std::mem::take(&mut literal)));
                parts.push(ReplacementPart::Group(usize::from(digit - b'0')));
                rest = &after[1..];
            }
            (b'\\', Some(escaped)) => {
                literal.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                rest = &after[1..];
            }
            _ => literal.push(*byte),
        }
    }
    parts.push(ReplacementPart::Literal(literal));
    parts
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    #[test]
    fn matches_are_replaced() {
        check("re.subst", "abcdef", &["/c(.)/<\\1>/"], "ab<d>ef");
        check("re.subst", "abcdef", &["/C/x/i"], "abxdef");
        check("re.subst", "aXbXc", &["/X/-/"], "a-bXc");
        check("re.subst", "aXbXc", &["/X/-/g"], "a-b-c");
        check("re.subst", "a/b", &["/\\//|/"], "a|b");
        check("re.subst", "aaa", &["#a{1", "2}#x#"], "xa");
        check("re.subst", "ab", &["/b*/-/g"], "-a-");
        check("re.subst", "abc", &["/x/y/"], "abc");
    }

    #[test]
    fn what_is_no_substitution_yields_nothing() {
        check("re.subst", "abc", &["/x/y"], "<null>");
        check("re.subst", "abc", &["/(/y/"], "<null>");
        check("re.subst", "abc", &["/x/y/q"], "<null>");
        check("re.subst", "abc", &[""], "<null>");
    }
}
