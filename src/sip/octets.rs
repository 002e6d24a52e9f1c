//! The octet classes of the SIP grammar (RFC 3261 25.1), and trimming and numbers over them.
//!
//! Line ends count as white space here: inside a header value they only occur as folding (RFC 3261 7.3.1).

use super::find::find;

const TOKEN: u8 = 1;
const HOST: u8 = 2;
const DIGIT: u8 = 4;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let byte = octet as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
        {
            table[octet] |= TOKEN;
        }
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_') {
            table[octet] |= HOST;
        }
        if byte.is_ascii_digit() {
            table[octet] |= DIGIT;
        }
        octet += 1;
    }
    table
}

fn has_class(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Space, tab or a part of a folded line end.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// One octet of a token.
pub(super) fn is_token_octet(byte: u8) -> bool {
    has_class(byte, TOKEN)
}

/// A non-empty token, such as a method or the name of a parameter.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| has_class(byte, TOKEN))
}

/// One octet of a host name or IPv4 address; `_` is not in the grammar but is in use.
pub(super) fn is_host_octet(byte: u8) -> bool {
    has_class(byte, HOST)
}

/// The text without white space before it.
pub(super) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text {
        if !is_space(*first) {
            break;
        }
        text = rest;
    }
    text
}

/// The text without white space after it.
pub(super) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text {
        if !is_space(*last) {
            break;
        }
        text = rest;
    }
    text
}

/// The text without white space on either side.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// How many octets from the start satisfy the predicate.
pub(super) fn count_while(text: &[u8], predicate: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|&byte| !predicate(byte)).unwrap_or(text.len())
}

/// Only decimal digits, at least one.
pub(super) fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| has_class(byte, DIGIT))
}

/// A number of decimal digits; `None` for anything else: empty, signed, or above `u32::MAX`.
pub(super) fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |number, &byte| {
        if !byte.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(u32::from(byte - b'0'))
    })
}

/// A port number of decimal digits, up to 65535.
pub(super) fn port(text: &[u8]) -> Option<u16> {
    decimal(text).and_then(|number| u16::try_from(number).ok())
}

/// The length of the quoted string at the start of the text, both quotes included; `None` if it does not end.
///
/// Backslash escapes the octet after it (RFC 3261 25.1).
pub(super) fn quoted_length(text: &[u8]) -> Option<usize> {
    debug_assert_eq!(text.first(), Some(&b'"'));
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        let found = find(rest, *b"\"\\")?;
        at += found;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The text inside one pair of quotes, still escaped; text without quotes as it is.
pub(super) fn unquote(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inner @ .., b'"'] => inner,
        _ => text,
    }
}

/// The host at the start of the text and its length: a bracketed IPv6 reference, or a name or IPv4 address.
pub(super) fn host_length(text: &[u8]) -> Option<usize> {
    if text.first() == Some(&b'[') {
        let end = find(text, *b"]")?;
        let inner = &text[1..end];
        let fits =
            !inner.is_empty() && inner.iter().all(|&b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        return (fits && inner.contains(&b':')).then_some(end + 1);
    }
    let length = count_while(text, is_host_octet);
    (length > 0).then_some(length)
}

/// The IP address a host text writes, with or without brackets around IPv6.
pub(super) fn address(host: &[u8]) -> Option<std::net::IpAddr> {
    let bare = match host {
        [b'[', inner @ .., b']'] => inner,
        _ => host,
    };
    let text = std::str::from_utf8(bare).ok()?;
    text.parse().ok().or_else(|| with_three_colons(text))
}

/// The grammar of RFC 3261 lets a sender write three colons before an IPv4 part; two are meant (RFC 5118 4.10).
#[cold]
fn with_three_colons(text: &str) -> Option<std::net::IpAddr> {
    let (before, after) = text.split_once(":::")?;
    after.contains('.').then(|| format!("{before}::{after}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_decimal_digits_within_32_bits() {
        let rows: &[(&[u8], Option<u32>)] = &[
            (b"0", Some(0)),
            (b"0068", Some(68)),
            (b"4294967295", Some(u32::MAX)),
            (b"4294967296", None),
            (b"18446744073709551616", None),
            (b"-1", None),
            (b"+0", None),
            (b"0x10", None),
            (b"1 ", None),
            (b"", None),
        ];
        for (text, expected) in rows {
            assert_eq!(decimal(text), *expected, "{}", text.escape_ascii());
        }
        let zeros = [b'0'; 200];
        assert_eq!(decimal(&zeros), Some(0));
    }

    #[test]
    fn quoted_strings_end_at_the_first_quote_that_is_not_escaped() {
        let rows: &[(&[u8], Option<usize>)] = &[
            (br#""""#, Some(2)),
            (br#""a\"b" c"#, Some(6)),
            (br#""a\\""#, Some(5)),
            (br#"""#, None),
            (br#""a\"#, None),
            (br#""a\""#, None),
        ];
        for (text, expected) in rows {
            assert_eq!(quoted_length(text), *expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn hosts_are_names_addresses_or_bracketed_ipv6() {
        let rows: &[(&[u8], Option<usize>)] = &[
            (b"example.com:5060", Some(11)),
            (b"192.0.2.1;x", Some(9)),
            (b"[2001:db8::1]:5060", Some(13)),
            (b"[::ffff:192.0.2.1]", Some(18)),
            (b"[]", None),
            (b"[abc]", None),
            (b"[::1", None),
            (b":::]", None),
            (b"", None),
        ];
        for (text, expected) in rows {
            assert_eq!(host_length(text), *expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn trimming_takes_folded_line_ends_too() {
        assert_eq!(trim(b" \r\n\t a b \r\n "), b"a b");
        assert_eq!(trim(b" \t"), b"");
        assert_eq!(unquote(b"\"a\""), b"a");
        assert_eq!(unquote(b"\""), b"\"");
    }
}
