//! What a script allows beside the grammar of RFC 3261 (`uri_host_extra_chars`, `hdr_name_extra_chars`).
//!
//! A message keeps the grammar it was read by. Whoever reads the text of a script takes that of the message in hand.

use super::octets::{count_while, is_host_octet, is_token, is_token_octet};

/// What may stand where the grammar of RFC 3261 does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grammar {
    /// Octets that hosts of URIs may have, too.
    pub in_hosts: Octets,
    /// Octets that names of header fields may have, too.
    pub in_header_names: Octets,
}

/// A set of octets of ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Octets(u128);

impl Octets {
    const NONE: Octets = Octets(0);

    /// What a text consists of; the error is an octet that would end a host or is not visible.
    pub fn beside_a_host(text: &[u8]) -> Result<Octets, u8> {
        Octets::without(text, b":;?@[]<>\",")
    }

    /// The same for the name of a header field, which only a colon ends.
    pub fn beside_a_header_name(text: &[u8]) -> Result<Octets, u8> {
        Octets::without(text, b":")
    }

    fn without(text: &[u8], ends: &[u8]) -> Result<Octets, u8> {
        text.iter().try_fold(Octets::NONE, |octets, &octet| {
            let is_possible = octet.is_ascii_graphic() && !ends.contains(&octet);
            if is_possible { Ok(octets.with(octet)) } else { Err(octet) }
        })
    }

    const fn with(self, octet: u8) -> Octets {
        Octets(self.0 | 1 << octet)
    }

    fn holds(self, octet: u8) -> bool {
        octet.is_ascii() && self.0 >> octet & 1 == 1
    }
}

impl Grammar {
    /// That of RFC 3261, with nothing beside it.
    pub const STRICT: Grammar = Grammar { in_hosts: Octets::NONE, in_header_names: Octets::NONE };

    /// A name that a header field may have.
    #[inline]
    pub(super) fn is_header_name(&self, name: &[u8]) -> bool {
        is_token(name) || self.is_allowed_header_name(name)
    }

    #[cold]
    fn is_allowed_header_name(&self, name: &[u8]) -> bool {
        !name.is_empty()
            && name.iter().all(|&octet| is_token_octet(octet) || self.in_header_names.holds(octet))
    }

    /// The size of the name of a host with what is allowed beside the grammar; `None` where that changes nothing.
    #[cold]
    pub(super) fn host_length(&self, text: &[u8]) -> Option<usize> {
        let size = count_while(text, |octet| is_host_octet(octet) || self.in_hosts.holds(octet));
        (self.in_hosts != Octets::NONE && size > 0).then_some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Message;
    use crate::sip::message::Limits;
    use crate::sip::uri::{Uri, UriError};

    #[test]
    fn only_what_cannot_end_a_host_may_be_in_one() {
        assert!(Octets::beside_a_host(b"$_~!").is_ok_and(|octets| octets.holds(b'$') && !octets.holds(b'%')));
        for (text, octet) in [(&b"$:"[..], b':'), (b"@", b'@'), (b"a b", b' '), (b"\0", 0), (b"\xe4", 0xe4)] {
            assert_eq!(Octets::beside_a_host(text), Err(octet), "{}", text.escape_ascii());
        }
        assert!(!Octets(u128::MAX).holds(0x80) && !Octets(u128::MAX).holds(0xff));
        assert!(Octets::beside_a_header_name(b"@<>").is_ok_and(|octets| octets.holds(b'@')));
        assert_eq!(Octets::beside_a_header_name(b"@:"), Err(b':'));
    }

    #[test]
    fn names_of_header_fields_have_what_is_allowed_and_nothing_else() {
        let is_whole = |name: &str, grammar: &Grammar| {
            let text = format!("OPTIONS sip:b SIP/2.0\r\n{name}: x\r\n\r\n");
            Message::parse_within(text.as_bytes(), &Limits::DEFAULT, grammar)
                .is_ok_and(|message| message.broken_line().is_none())
        };
        let strict = Grammar::STRICT;
        assert!(is_whole("X-Y", &strict) && !is_whole("X@Y", &strict) && !is_whole("", &strict));
        let in_header_names = Octets::beside_a_header_name(b"@").unwrap();
        let grammar = Grammar { in_header_names, ..strict };
        for (name, expected) in
            [("X@Y", true), ("@", true), ("X", true), ("X<Y", false), ("X Y", false), ("", false)]
        {
            assert_eq!(is_whole(name, &grammar), expected, "{name}");
        }
    }

    #[test]
    fn hosts_of_uris_have_what_is_allowed_and_nothing_else() {
        let strict = |text: &'static str| Uri::parse(text.as_bytes()).map(|uri| uri.host.unwrap_or_default());
        assert_eq!(strict("sip:a@my$host"), Err(UriError::Trailing));
        assert_eq!(strict("sip:$"), Err(UriError::Host));
        let grammar = Grammar { in_hosts: Octets::beside_a_host(b"$").unwrap(), ..Grammar::STRICT };
        let host = |text: &'static str| {
            Uri::parse_within(text.as_bytes(), &grammar).map(|uri| uri.host.unwrap_or_default())
        };
        for (text, expected) in [
            ("sip:a@my$host", Ok(&b"my$host"[..])),
            ("sip:$:5070;lr", Ok(b"$")),
            ("sip:a@my$host:5070;lr?x=y", Ok(b"my$host")),
            ("sip:a@h;x=$", Ok(b"h")),
            ("sip:a@my$ho^st", Err(UriError::Trailing)),
            ("sip:a@[::1]$", Err(UriError::Trailing)),
            ("sip:a@^", Err(UriError::Host)),
            ("sip:a@", Err(UriError::Host)),
        ] {
            assert_eq!(host(text), expected, "{text}");
        }
    }
}
