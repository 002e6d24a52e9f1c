//! Values separated by commas (RFC 3261 7.3.1), with commas inside quotes and angle brackets left alone.

use super::find::find;
use super::octets::{quoted_length, trim};

/// Iterates over the values of one header field; empty ones are passed over.
#[derive(Clone, Debug)]
pub struct ListValues<'a> {
    rest: &'a [u8],
}

impl<'a> ListValues<'a> {
    /// The values in this header value.
    pub fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }
}

impl<'a> Iterator for ListValues<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = find_comma(self.rest);
            let value = trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

/// Where the first value ends: at a comma outside of quotes and brackets, or at the end of the text.
pub(super) fn find_comma(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = find(&text[at..], *b",\"<") {
        at += found;
        let step = match text[at] {
            b',' => return at,
            b'"' => quoted_length(&text[at..]),
            _ => find(&text[at..], *b">").map(|end| end + 1),
        };
        // A quote or bracket that never closes takes the rest with it.
        let Some(step) = step else { break };
        at += step;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &[&str]) {
        let found: Vec<_> = ListValues::new(input.as_bytes()).map(String::from_utf8_lossy).collect();
        assert_eq!(found, expected, "{input}");
    }

    #[test]
    fn commas_outside_of_quotes_and_brackets_separate() {
        check("INVITE, ACK ,BYE", &["INVITE", "ACK", "BYE"]);
        check("\"Bell, A\" <sip:a@b;x=1,2>, <sip:c>", &["\"Bell, A\" <sip:a@b;x=1,2>", "<sip:c>"]);
        check("a\r\n ,\r\n b", &["a", "b"]);
        check("", &[]);
        check(" , ,, a,", &["a"]);
    }

    #[test]
    fn what_never_closes_takes_the_rest() {
        check("a, \"b, c", &["a", "\"b, c"]);
        check("<a, b", &["<a, b"]);
    }
}
