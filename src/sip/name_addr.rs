//! Addresses in header fields: `"Alice" <sip:alice@example.com>;tag=1`, `sip:alice@example.com;tag=1` and `*`.
//!
//! Without angle brackets the parameters belong to the header field, not to the URI (RFC 3261 20).

use super::find::{find, find_or_end};
use super::list::find_comma;
use super::octets::{quoted_length, trim, trim_end, trim_start};
use super::params::Params;
use std::fmt;

/// One address of From, To, Contact, Route and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, quotes kept. Never empty.
    pub display: Option<&'a [u8]>,
    /// The text of the URI; never empty. `*` for the wildcard of Contact.
    pub uri: &'a [u8],
    /// The parameters of the header field.
    pub params: Params<'a>,
    /// The whole value.
    pub raw: &'a [u8],
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameAddrError {
    /// There is no URI.
    NoUri,
    /// A quote or angle bracket that does not close.
    Unbalanced,
    /// Text between the parts that belongs to none of them.
    Stray,
}

impl<'a> NameAddr<'a> {
    /// Reads a value that holds exactly one address.
    pub fn parse(value: &'a [u8]) -> Result<Self, NameAddrError> {
        let (address, rest) = Self::parse_first(value)?;
        if rest.is_empty() { Ok(address) } else { Err(NameAddrError::Stray) }
    }

    /// Reads the first address of a list; the second part is what follows its comma, or empty.
    pub fn parse_first(value: &'a [u8]) -> Result<(Self, &'a [u8]), NameAddrError> {
        let text = trim_start(value);
        let (display, uri, after) = match find_bracket(text)? {
            Some(open) => split_brackets(text, open)?,
            None => split_bare(text),
        };
        if uri.is_empty() {
            return Err(NameAddrError::NoUri);
        }
        let after_space = trim_start(after);
        if !matches!(after_space.first(), None | Some(b';' | b',')) {
            return Err(NameAddrError::Stray);
        }
        let params_end = find_comma(after_space);
        let (params, rest) = after_space.split_at(params_end);
        let raw = trim_end(&text[..text.len() - rest.len()]);
        let display = Some(display).filter(|name| !name.is_empty());
        let rest = rest.get(1..).unwrap_or_default();
        Ok((Self { display, uri, params: Params::new(params), raw }, rest))
    }

    /// The non-empty value of the `tag` parameter (RFC 3261 19.3).
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.text(b"tag")
    }

    /// Whether it is the wildcard `*` (RFC 3261 10.2.2).
    pub fn is_wildcard(&self) -> bool {
        self.uri == b"*"
    }
}

/// The addresses of one header value.
#[derive(Clone, Debug)]
pub struct NameAddrs<'a> {
    rest: &'a [u8],
}

impl<'a> NameAddrs<'a> {
    /// The addresses in this value.
    pub fn new(value: &'a [u8]) -> Self {
        Self { rest: trim(value) }
    }
}

impl<'a> Iterator for NameAddrs<'a> {
    type Item = Result<NameAddr<'a>, NameAddrError>;

    /// After an error there are no more addresses: where the next one would start is unknown.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match NameAddr::parse_first(self.rest) {
            Ok((address, rest)) => {
                self.rest = rest;
                Some(Ok(address))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Where the `<` of a name-addr stands; `None` for an addr-spec.
fn find_bracket(text: &[u8]) -> Result<Option<usize>, NameAddrError> {
    if text.first() != Some(&b'"') {
        let first = find(text, *b"<;,");
        return Ok(first.filter(|&at| text[at] == b'<'));
    }
    let quoted = quoted_length(text).ok_or(NameAddrError::Unbalanced)?;
    let rest = trim_start(&text[quoted..]);
    if rest.first() != Some(&b'<') {
        return Err(NameAddrError::Stray);
    }
    Ok(Some(text.len() - rest.len()))
}

type Parts<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn split_brackets(text: &[u8], open: usize) -> Result<Parts<'_>, NameAddrError> {
    let inner = &text[open + 1..];
    let close = find(inner, *b">").ok_or(NameAddrError::Unbalanced)?;
    Ok((trim_end(&text[..open]), trim(&inner[..close]), &inner[close + 1..]))
}

fn split_bare(text: &[u8]) -> Parts<'_> {
    let end = find_or_end(text, *b";,");
    (&[], trim_end(&text[..end]), &text[end..])
}

impl NameAddrError {
    /// The reason in words.
    pub fn reason(&self) -> &'static str {
        match self {
            NameAddrError::NoUri => "address has no uri",
            NameAddrError::Unbalanced => "address has a quote or angle bracket that does not close",
            NameAddrError::Stray => "address has text that belongs to no part of it",
        }
    }
}

impl fmt::Display for NameAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for NameAddrError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// display | uri | params, for each address
    fn show(input: &str) -> String {
        let shown = NameAddrs::new(input.as_bytes()).map(|address| match address {
            Err(error) => format!("{error:?}"),
            Ok(a) => format!(
                "{}|{}|{}",
                String::from_utf8_lossy(a.display.unwrap_or(b"-")),
                String::from_utf8_lossy(a.uri),
                String::from_utf8_lossy(a.params.raw())
            ),
        });
        shown.collect::<Vec<_>>().join(" , ")
    }

    fn check(input: &str, expected: &str) {
        assert_eq!(show(input), expected, "{input}");
    }

    #[test]
    fn both_forms_and_the_wildcard_are_read() {
        check("<sip:b>;tag=1", "-|sip:b|;tag=1");
        check("\"Alice A\" <sip:alice@dom.com;p=1>;tag=1", "\"Alice A\"|sip:alice@dom.com;p=1|;tag=1");
        check("sip:a@b;tag=1", "-|sip:a@b|;tag=1");
        check("Bell Alexander<sip:a@b>", "Bell Alexander|sip:a@b|");
        check(
            "\"J Rosenberg \\\\\\\"\"       <sip:j@x>\r\n  ;\r\n  tag = 98",
            "\"J Rosenberg \\\\\\\"\"|sip:j@x|;\r\n  tag = 98",
        );
        check("*", "-|*|");
        check("< sip:a@b >", "-|sip:a@b|");
    }

    #[test]
    fn lists_are_cut_at_commas_outside_of_brackets_and_quotes() {
        check(
            "<sip:a,b@c>;x=\",\" , \"D, E\" <sip:f>,sip:g;h",
            "-|sip:a,b@c|;x=\",\" , \"D, E\"|sip:f| , -|sip:g|;h",
        );
        check("<sip:a>,", "-|sip:a|");
        check("", "");
    }

    #[test]
    fn broken_addresses_are_errors() {
        check("<>", "NoUri");
        check(";tag=1", "NoUri");
        check("\"Mr. J. User <sip:j@x>", "Unbalanced");
        check("\"A\" <sip:j@x", "Unbalanced");
        check("\"A\" sip:j@x", "Stray");
        check("<sip:a> x", "Stray");
        check("<sip:a>, ,", "-|sip:a| , NoUri");
        assert_eq!(NameAddr::parse(b"Bell, A <sip:a@b>;tag=43"), Err(NameAddrError::Stray));
        assert_eq!(NameAddr::parse(b""), Err(NameAddrError::NoUri));
    }

    #[test]
    fn an_empty_tag_is_no_tag() {
        for (input, expected) in
            [(&b"<sip:a>;tag="[..], None), (b"<sip:a>;tag", None), (b"<sip:a>;TAG=x", Some(&b"x"[..]))]
        {
            assert_eq!(NameAddr::parse(input).unwrap().tag(), expected);
        }
    }
}
