//! Parameters `;name=value;flag;name="quoted value"` after a URI or a header value (RFC 3261 25.1).

use super::find::{find, find_word};
use super::octets::{count_while, is_space, quoted_length, trim, trim_end, trim_start, unquote};

/// A run of parameters, each led by `;`. Copyable; iterating borrows nothing but the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Params<'a> {
    raw: &'a [u8],
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name; never empty.
    pub name: &'a [u8],
    /// What follows `=`, quotes kept; `None` without `=`, empty for `name=`.
    pub value: Option<&'a [u8]>,
    /// The whole parameter without its `;`.
    pub raw: &'a [u8],
}

impl<'a> Param<'a> {
    /// The value without its quotes, escapes kept; `None` when there is none or it is empty.
    pub fn text(&self) -> Option<&'a [u8]> {
        self.value.map(unquote).filter(|text| !text.is_empty())
    }

    /// Whether it has this name; case does not matter.
    #[inline]
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.name == name || self.name.eq_ignore_ascii_case(name)
    }
}

impl<'a> Params<'a> {
    /// The parameters in this text, which is empty or starts with `;`.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw: trim_end(raw) }
    }

    /// The text as it stands in the message, from the first `;`.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The parameters in order; empty ones (`;;`) are passed over.
    pub fn iter(&self) -> ParamIter<'a> {
        ParamIter { rest: self.raw }
    }

    /// The first parameter of this name.
    pub fn find(&self, name: &[u8]) -> Option<Param<'a>> {
        self.iter().find(|param| param.is_named(name))
    }

    /// The non-empty value, without quotes, of the first parameter of this name.
    pub fn text(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.find(name).and_then(|param| param.text())
    }

    /// Whether every `;` is followed by a parameter with a name and quoted strings are closed.
    pub fn is_well_formed(&self) -> bool {
        let mut rest = trim_start(self.raw);
        while let [b';', after @ ..] = rest {
            let body = trim_start(after);
            let (raw, next) = split_param(body);
            let named = raw.first().is_some_and(|&byte| byte != b'=');
            if !named || has_open_quote(raw) {
                return false;
            }
            rest = trim_start(next);
        }
        rest.is_empty()
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = Param<'a>;
    type IntoIter = ParamIter<'a>;

    fn into_iter(self) -> ParamIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Params`].
#[derive(Clone, Debug)]
pub struct ParamIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ParamIter<'a> {
    type Item = Param<'a>;

    #[inline]
    fn next(&mut self) -> Option<Param<'a>> {
        loop {
            let skipped = count_while(self.rest, |byte| byte == b';' || is_space(byte));
            self.rest = &self.rest[skipped..];
            if self.rest.is_empty() {
                return None;
            }
            let (param, next) = split_first(self.rest);
            self.rest = next;
            if !param.name.is_empty() {
                return Some(param);
            }
        }
    }
}

/// Cuts at the next `;` outside of quotes.
fn split_param(text: &[u8]) -> (&[u8], &[u8]) {
    let end = find_outside_quotes(text, b';');
    text.split_at(end)
}

/// The parameter that a text starts with, its name perhaps empty, and what follows from the next `;` on.
#[inline]
fn split_first(text: &[u8]) -> (Param<'_>, &[u8]) {
    let name_end = find_word(text, *b"=;\"").unwrap_or(text.len());
    let (end, value_start) = match text.get(name_end) {
        Some(b'=') => {
            let start = name_end + 1;
            (start + find_outside_quotes(&text[start..], b';'), Some(start))
        }
        Some(b'"') => (name_end + find_outside_quotes(&text[name_end..], b';'), None),
        _ => (name_end, None),
    };
    let (raw, rest) = text.split_at(end);
    let value = value_start.map(|start| trim(&raw[start..]));
    (Param { name: trim_end(&raw[..name_end]), value, raw: trim_end(raw) }, rest)
}

fn has_open_quote(text: &[u8]) -> bool {
    find(text, *b"\"").is_some_and(|start| quoted_length(&text[start..]).is_none())
}

/// Where the wanted octet first stands outside of quoted strings, or the length of the text.
///
/// A quote that never closes hides the rest of the text, as it would hide it from a strict reader.
#[inline]
pub(super) fn find_outside_quotes(text: &[u8], wanted: u8) -> usize {
    let mut at = 0;
    while let Some(found) = find(&text[at..], [wanted, b'"']) {
        at += found;
        if text[at] == wanted {
            return at;
        }
        match quoted_length(&text[at..]) {
            Some(length) => at += length,
            None => break,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], expected: &[(&str, Option<&str>)]) {
        let found: Vec<_> = Params::new(input)
            .iter()
            .map(|p| (String::from_utf8_lossy(p.name), p.value.map(String::from_utf8_lossy)))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).into(), v.map(Into::into))).collect();
        assert_eq!(found, expected, "{}", input.escape_ascii());
    }

    #[test]
    fn names_and_values_come_in_order() {
        check(b"", &[]);
        check(b";lr", &[("lr", None)]);
        check(b";a=1;b;c=", &[("a", Some("1")), ("b", None), ("c", Some(""))]);
        check(b" ; tag  =\r\n 19n ; x", &[("tag", Some("19n")), ("x", None)]);
        check(br#";a="x;y\";z";b=2"#, &[("a", Some(r#""x;y\";z""#)), ("b", Some("2"))]);
        check(b";received=2001:db8::9:255", &[("received", Some("2001:db8::9:255"))]);
    }

    #[test]
    fn broken_parameters_do_not_hide_the_others() {
        check(b";;;a=1;;", &[("a", Some("1"))]);
        check(b";=x;a", &[("a", None)]);
        check(b";a=b=c", &[("a", Some("b=c"))]);
        check(b";a=\"open;b=1", &[("a", Some("\"open;b=1"))]);
    }

    #[test]
    fn only_non_empty_values_count_as_text() {
        let params = Params::new(b";tag=;Tag=x;q=\"a b\";e=\"\"");
        assert_eq!(params.text(b"tag"), None);
        assert_eq!(params.text(b"Q"), Some(&b"a b"[..]));
        assert_eq!(params.text(b"e"), None);
        assert_eq!(params.text(b"none"), None);
    }

    #[test]
    fn well_formed_means_every_semicolon_leads_a_name() {
        for (input, expected) in [
            (&b""[..], true),
            (b";a;b=\"x;;y\"", true),
            (b" ; a = 1 ; b", true),
            (b";;", false),
            (b";a;", false),
            (b";=1", false),
            (b";a=\"x", false),
        ] {
            assert_eq!(Params::new(input).is_well_formed(), expected, "{}", input.escape_ascii());
        }
    }
}
