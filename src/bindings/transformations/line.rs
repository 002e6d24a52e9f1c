//! Class `line`: text as lines.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::state::value::answer_text;

use super::input::{integer, on_argument, on_text};
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::new("line.count", "number of lines", count),
    Transformation::new("line.at", "line n (negative from the end), counted from 0, without its end", at)
        .arguments(1, 1),
    Transformation::new("line.sw", "the first line that starts with a text", starting_with).arguments(1, 1),
];

/// The lines of a text without their ends; a final line end begins no line.
fn lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn count(input: ValueRef<'_>, _: &[Argument<'_>], _: &mut Vec<u8>) -> Answer {
    Ok(on_lines(input, |text| Reading::Integer(lines(text).count() as i64)))
}

/// An empty text has no lines: nothing comes of it.
fn on_lines(input: ValueRef<'_>, apply: impl FnOnce(&[u8]) -> Reading) -> Reading {
    on_text(input, |text| if text.is_empty() { Reading::Null } else { apply(text) })
}

fn at(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    let index = integer(arguments, 0).ok_or(Unfit("index of a line must be an integer"))?;
    Ok(on_lines(input, |text| {
        let line = match usize::try_from(index) {
            Ok(index) => lines(text).nth(index),
            Err(_) => usize::try_from(-(index + 1)).ok().and_then(|index| lines(text).nth_back(index)),
        };
        answer_text(line.unwrap_or_default(), out)
    }))
}

fn starting_with(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    Ok(on_argument(arguments, 0, |start| {
        on_lines(input, |text| {
            answer_text(lines(text).find(|line| line.starts_with(start)).unwrap_or_default(), out)
        })
    }))
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    #[test]
    fn lines_are_counted_and_found() {
        const TEXT: &str = "a1\r\nb2\r\nc3";
        check("line.count", TEXT, &[], "3");
        check("line.count", "a\nb\n", &[], "2");
        check("line.count", "", &[], "<null>");
        check("line.at", "", &["0"], "<null>");
        check("line.at", TEXT, &["1"], "b2");
        check("line.at", TEXT, &["-1"], "c3");
        check("line.at", TEXT, &["9"], "");
        check("line.sw", TEXT, &["b"], "b2");
        check("line.sw", TEXT, &["x"], "");
    }
}
