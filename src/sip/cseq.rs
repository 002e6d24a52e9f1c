//! CSeq: a number and a method (RFC 3261 20.16).

use super::method::Method;
use super::octets::{count_while, decimal, is_space, is_token, trim, trim_start};

/// The value of a CSeq header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The digits as written; never empty, perhaps more than a number can hold.
    pub digits: &'a [u8],
    /// The method.
    pub method: Method<'a>,
    /// The whole value.
    pub raw: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Reads the value; `None` unless it is digits, white space and a token.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let raw = trim(value);
        let (digits, rest) = raw.split_at(count_while(raw, |byte| byte.is_ascii_digit()));
        let method = trim_start(rest);
        let separated = rest.first().is_some_and(|&byte| is_space(byte));
        (!digits.is_empty() && separated && is_token(method)).then(|| Self {
            digits,
            method: Method::from_name(method),
            raw,
        })
    }

    /// The number; `None` when it is not below 2^31 (RFC 3261 8.1.1.5).
    pub fn number(&self) -> Option<u32> {
        decimal(self.digits).filter(|&number| number < 1 << 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static [u8], Option<(Option<u32>, Method<'static>)>);

    #[test]
    fn digits_and_a_method_make_a_cseq() {
        let rows: &[Row] = &[
            (b"1 OPTIONS", Some((Some(1), Method::Options))),
            (b"0009\r\n  INVITE", Some((Some(9), Method::Invite))),
            (b"2147483647 ACK", Some((Some(2147483647), Method::Ack))),
            (b"2147483648 ACK", Some((None, Method::Ack))),
            (b"99999999999 INVITE", Some((None, Method::Invite))),
            (b"8 ping", Some((Some(8), Method::Other(b"ping")))),
            (b"", None),
            (b"1", None),
            (b"1 ", None),
            (b"INVITE", None),
            (b"-1 INVITE", None),
            (b"1INVITE", None),
            (b"1 INVITE x", None),
        ];
        for (value, expected) in rows {
            let found = CSeq::parse(value).map(|cseq| (cseq.number(), cseq.method));
            assert_eq!(found, *expected, "{}", value.escape_ascii());
        }
    }
}
