//! Questions about texts that need no message.

use crate::bindings::module::{Argument, Outcome};
use crate::routing::context::Context;

use super::TextOps;

pub(super) fn starts_with(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    arguments[0].text().starts_with(arguments[1].text()).into()
}

pub(super) fn ends_with(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    arguments[0].text().ends_with(arguments[1].text()).into()
}

pub(super) fn find(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    memchr::memmem::find(arguments[0].text(), arguments[1].text()).is_some().into()
}

pub(super) fn find_any_case(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let text = arguments[0].text().to_ascii_lowercase();
    memchr::memmem::find(&text, &arguments[1].text().to_ascii_lowercase()).is_some().into()
}

pub(super) fn equal(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    (arguments[0].text() == arguments[1].text()).into()
}

pub(super) fn equal_any_case(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    arguments[0].text().eq_ignore_ascii_case(arguments[1].text()).into()
}

pub(super) fn in_list(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    elements(arguments).any(|element| element == arguments[0].text()).into()
}

pub(super) fn in_list_prefix(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    elements(arguments).any(|element| !element.is_empty() && arguments[0].text().starts_with(element)).into()
}

/// The elements of the second argument, which the first byte of the third separates; white space around them is
/// left out.
fn elements<'a>(arguments: &[Argument<'a>]) -> impl Iterator<Item = &'a [u8]> {
    let separator = arguments[2].text().first().copied().unwrap_or(b',');
    arguments[1].text().split(move |&byte| byte == separator).map(<[u8]>::trim_ascii)
}

pub(super) fn matches_glob(_: &TextOps, _: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let is_any_case = arguments.get(2).is_some_and(|flags| flags.text().contains(&b'i'));
    let (text, glob) = (arguments[0].text(), arguments[1].text());
    if is_any_case {
        glob_matches(&text.to_ascii_lowercase(), &glob.to_ascii_lowercase()).into()
    } else {
        glob_matches(text, glob).into()
    }
}

/// `*` stands for any text, `?` for any byte. A star that was too short is tried longer, and only the last one, so
/// the time is bounded by the product of both sizes.
pub(super) fn glob_matches(text: &[u8], glob: &[u8]) -> bool {
    let (mut at, mut wanted) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match glob.get(wanted) {
            Some(b'*') => {
                star = Some((wanted, at));
                wanted += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[at] => {
                at += 1;
                wanted += 1;
            }
            _ => match star {
                Some((star_at, matched)) => {
                    star = Some((star_at, matched + 1));
                    at = matched + 1;
                    wanted = star_at + 1;
                }
                None => return false,
            },
        }
    }
    glob[wanted..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ValueRef;

    fn text(text: &'static str) -> Argument<'static> {
        Argument::Value(ValueRef::Text(text.as_bytes()))
    }

    #[test]
    fn globs_match_as_in_a_shell() {
        let rows = [
            ("abc", "abc", true),
            ("abc", "a*c", true),
            ("abc", "a?c", true),
            ("abc", "*", true),
            ("", "*", true),
            ("", "", true),
            ("abc", "a*b", false),
            ("abcabc", "*bc", true),
            ("aXbXc", "a*X?", true),
            ("abc", "ab", false),
            ("ab", "abc", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaab", "*a*a*a*a*a*c", false),
        ];
        for (text, glob, expected) in rows {
            assert_eq!(glob_matches(text.as_bytes(), glob.as_bytes()), expected, "{text} {glob}");
        }
    }

    #[test]
    fn lists_are_taken_apart_at_their_separator() {
        let rows = [
            (["b", "a,b,c", ","], true),
            (["b", "a, b ,c", ","], true),
            (["b", "a;b;c", ";"], true),
            (["b", "a;b;c", ","], false),
            (["", "a,b", ","], false),
            (["bc", "a,b,c", ","], false),
        ];
        for (written, expected) in rows {
            let arguments = written.map(text);
            let found = elements(&arguments).any(|element| element == arguments[0].text());
            assert_eq!(found, expected, "{written:?}");
        }
    }
}
