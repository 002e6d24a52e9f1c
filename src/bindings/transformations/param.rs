//! Class `param`: lists such as `a;b=2;c="x"`, with another separator where one is given.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::state::value::answer_text;

use super::input::{integer, on_argument, on_text};
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::new("param.value", "value of a parameter", value).arguments(1, 2),
    Transformation::new("param.in", "1 where the parameter is there, else 0", is_in).arguments(1, 2),
    Transformation::new("param.valueat", "value of parameter n, counted from 0", value_at).arguments(1, 2),
    Transformation::new("param.name", "name of parameter n, counted from 0", name_at).arguments(1, 2),
    Transformation::new("param.count", "number of parameters", count).arguments(0, 1),
];

/// One parameter of a list.
struct Entry<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

/// The parameters of a list, cut at separators outside of quotes; empty ones are passed over.
fn entries(text: &[u8], separator: u8) -> impl Iterator<Item = Entry<'_>> {
    let mut is_quoted = false;
    text.split(move |&byte| {
        is_quoted ^= byte == b'"';
        byte == separator && !is_quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|entry| !entry.is_empty())
    .map(|entry| {
        let equals = memchr::memchr(b'=', entry).unwrap_or(entry.len());
        let value = entry.get(equals + 1..).unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        Entry { name: entry[..equals].trim_ascii(), value }
    })
}

fn separator(arguments: &[Argument<'_>], index: usize) -> Result<u8, Unfit> {
    on_argument(arguments, index, |text| match text {
        [] => Ok(b';'),
        [byte] => Ok(*byte),
        _ => Err(Unfit("separator of parameters must be one byte")),
    })
}

/// An empty text is no list: nothing comes of it.
fn on_list(input: ValueRef<'_>, apply: impl FnOnce(&[u8]) -> Reading) -> Reading {
    on_text(input, |text| if text.is_empty() { Reading::Null } else { apply(text) })
}

/// Calls `apply` with the parameter that argument 0 names.
fn find(
    input: ValueRef<'_>,
    arguments: &[Argument<'_>],
    apply: impl FnOnce(Option<Entry<'_>>) -> Reading,
) -> Answer {
    let separator = separator(arguments, 1)?;
    Ok(on_argument(arguments, 0, |name| {
        on_list(input, |text| {
            apply(entries(text, separator).find(|entry| entry.name.eq_ignore_ascii_case(name)))
        })
    }))
}

/// Calls `apply` with the parameter at the index that argument 0 gives.
fn at(
    input: ValueRef<'_>,
    arguments: &[Argument<'_>],
    apply: impl FnOnce(Option<Entry<'_>>) -> Reading,
) -> Answer {
    let separator = separator(arguments, 1)?;
    let index = integer(arguments, 0).ok_or(Unfit("index of a parameter must be an integer"))?;
    let index = usize::try_from(index).map_err(|_| Unfit("index of a parameter is negative"))?;
    Ok(on_list(input, |text| apply(entries(text, separator).nth(index))))
}

fn value(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    find(input, arguments, |entry| answer_text(entry.map_or(&b""[..], |entry| entry.value), out))
}

fn is_in(input: ValueRef<'_>, arguments: &[Argument<'_>], _: &mut Vec<u8>) -> Answer {
    find(input, arguments, |entry| Reading::Integer(entry.is_some().into()))
}

fn value_at(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    at(input, arguments, |entry| answer_text(entry.map_or(&b""[..], |entry| entry.value), out))
}

fn name_at(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    at(input, arguments, |entry| answer_text(entry.map_or(&b""[..], |entry| entry.name), out))
}

fn count(input: ValueRef<'_>, arguments: &[Argument<'_>], _: &mut Vec<u8>) -> Answer {
    let separator = separator(arguments, 0)?;
    Ok(on_list(input, |text| Reading::Integer(entries(text, separator).count() as i64)))
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    const LIST: &str = "a;b=2;c=\"x;y\"";

    #[test]
    fn parameters_are_found_by_name_and_place() {
        check("param.value", LIST, &["b"], "2");
        check("param.value", LIST, &["c"], "x;y");
        check("param.value", LIST, &["zz"], "");
        check("param.in", LIST, &["a"], "1");
        check("param.in", LIST, &["zz"], "0");
        check("param.valueat", LIST, &["0"], "");
        check("param.valueat", LIST, &["1"], "2");
        check("param.name", LIST, &["1"], "b");
        check("param.name", LIST, &["9"], "");
        check("param.count", LIST, &[], "3");
        check("param.count", "", &[], "<null>");
        check("param.value", "", &["a"], "<null>");
    }

    #[test]
    fn another_separator_can_be_named() {
        check("param.value", "x=1&y=2", &["y", "&"], "2");
        check("param.count", "x=1&y=2", &["&"], "2");
        check("param.count", "x", &["&&"], "<null>");
        check("param.name", "x", &["-1"], "<null>");
    }
}
