//! Classes `nameaddr` and `tobody`: parts of an address as in From, To and Contact.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::sip::list::ListValues;
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;
use crate::state::value::answer_text;

use super::input::on_text;
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::new("nameaddr.name", "display name with its quotes", |input, _, out| {
        part_in_list(input, out, |address| address.display)
    }),
    Transformation::new("nameaddr.uri", "URI", |input, _, out| {
        part_in_list(input, out, |address| Some(address.uri))
    }),
    Transformation::new("nameaddr.len", "number of bytes of display name and URI with its brackets", length),
    Transformation::new("tobody.uri", "URI", |input, _, out| part(input, out, |address| Some(address.uri))),
    Transformation::new("tobody.display", "display name with its quotes", |input, _, out| {
        part(input, out, |address| address.display)
    }),
    Transformation::new("tobody.tag", "tag", |input, _, out| part(input, out, |address| address.tag())),
    Transformation::of_uri("tobody.user", "user part of the URI", |input, _, grammar, out| {
        part(input, out, |address| Uri::parse_within(address.uri, grammar).ok()?.user)
    }),
    Transformation::of_uri("tobody.host", "host of the URI", |input, _, grammar, out| {
        part(input, out, |address| Uri::parse_within(address.uri, grammar).ok()?.host)
    }),
    Transformation::new("tobody.params", "parameters after the URI", |input, _, out| {
        part(input, out, |address| address.params.raw().strip_prefix(b";"))
    }),
];

/// `nameaddr`: of a list such as Contact or Route the first one.
fn in_list(input: ValueRef<'_>, apply: impl FnOnce(&NameAddr<'_>) -> Answer) -> Answer {
    on_text(input, |text| {
        let first = ListValues::new(text).next().unwrap_or(text);
        apply(&NameAddr::parse(first).map_err(|_| Unfit("text is not an address"))?)
    })
}

/// `tobody`: one address, as From and To hold it.
fn alone(input: ValueRef<'_>, apply: impl FnOnce(&NameAddr<'_>) -> Answer) -> Answer {
    on_text(input, |text| match NameAddr::parse(text) {
        Ok(address) if address.uri != b"*" => apply(&address),
        _ => Err(Unfit("text is not an address")),
    })
}

fn part_in_list(
    input: ValueRef<'_>,
    out: &mut Vec<u8>,
    part: impl for<'a> Fn(&NameAddr<'a>) -> Option<&'a [u8]>,
) -> Answer {
    in_list(input, |address| Ok(answer_text(part(address).unwrap_or_default(), out)))
}

fn part(
    input: ValueRef<'_>,
    out: &mut Vec<u8>,
    part: impl for<'a> Fn(&NameAddr<'a>) -> Option<&'a [u8]>,
) -> Answer {
    alone(input, |address| Ok(answer_text(part(address).unwrap_or_default(), out)))
}

fn length(input: ValueRef<'_>, _: &[Argument<'_>], _: &mut Vec<u8>) -> Answer {
    in_list(input, |address| {
        let size = address.raw.len() - address.params.raw().len();
        Ok(Reading::Integer(address.raw[..size].trim_ascii_end().len() as i64))
    })
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    const FULL: &str = "\"Bob\" <sip:bob@dom.com:5061>;tag=77;x=1";

    #[test]
    fn parts_of_an_address() {
        check("nameaddr.name", FULL, &[], "\"Bob\"");
        check("nameaddr.uri", FULL, &[], "sip:bob@dom.com:5061");
        check("nameaddr.len", FULL, &[], "28");
        check("tobody.uri", FULL, &[], "sip:bob@dom.com:5061");
        check("tobody.tag", FULL, &[], "77");
        check("tobody.user", FULL, &[], "bob");
        check("tobody.host", FULL, &[], "dom.com");
        check("tobody.display", FULL, &[], "\"Bob\"");
        check("tobody.params", FULL, &[], "tag=77;x=1");
    }

    #[test]
    fn what_is_missing_is_empty_and_what_is_no_address_is_null() {
        check("tobody.tag", "sip:b", &[], "");
        check("tobody.display", "sip:b", &[], "");
        check("tobody.user", "<notauri>", &[], "");
        check("tobody.uri", "\"Bob", &[], "<null>");
        check("tobody.uri", "*", &[], "<null>");
        check("tobody.uri", "<sip:a@b>, <sip:c@d>", &[], "<null>");
        check("nameaddr.uri", "*", &[], "*");
        check("nameaddr.uri", "\"a, b\" <sip:a@b>;expires=60, <sip:c@d>", &[], "sip:a@b");
    }
}
