//! Octets that a script lets in where the grammar has none (`uri_host_extra_chars`, `hdr_name_extra_chars`).
//!
//! **Invariant:** it is set once, before the first message of a process. Everything that reads a URI would have to
//! carry it along otherwise; it is looked at only where a host or the name of a header field is not as the grammar has it.

use std::cell::Cell;

use super::octets::{count_while, is_host_octet, is_token, is_token_octet};

thread_local! {
    static IN_HOSTS: Cell<Octets> = const { Cell::new(Octets::NONE) };
    static IN_HEADER_NAMES: Cell<Octets> = const { Cell::new(Octets::NONE) };
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

/// From now on hosts of URIs may have these octets, too.
pub fn allow_in_hosts(octets: Octets) {
    IN_HOSTS.set(octets);
}

/// From now on names of header fields may have these octets, too.
pub fn allow_in_header_names(octets: Octets) {
    IN_HEADER_NAMES.set(octets);
}

/// A name that a header field may have.
#[inline]
pub(super) fn is_header_name(name: &[u8]) -> bool {
    is_token(name) || is_allowed_header_name(name)
}

#[cold]
fn is_allowed_header_name(name: &[u8]) -> bool {
    let allowed = IN_HEADER_NAMES.get();
    !name.is_empty() && name.iter().all(|&octet| is_token_octet(octet) || allowed.holds(octet))
}

/// The size of the name of a host with what is allowed beside the grammar; `None` where none is or it changes nothing.
#[cold]
pub(super) fn host_length(text: &[u8]) -> Option<usize> {
    let allowed = IN_HOSTS.get();
    let size = count_while(text, |octet| is_host_octet(octet) || allowed.holds(octet));
    (allowed != Octets::NONE && size > 0).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Message;
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
        let is_whole = |name: &str| {
            let text = format!("OPTIONS sip:b SIP/2.0\r\n{name}: x\r\n\r\n");
            Message::parse(text.as_bytes()).is_ok_and(|message| message.broken_line().is_none())
        };
        assert!(is_whole("X-Y") && !is_whole("X@Y") && !is_whole(""));
        allow_in_header_names(Octets::beside_a_header_name(b"@").unwrap());
        for (name, expected) in
            [("X@Y", true), ("@", true), ("X", true), ("X<Y", false), ("X Y", false), ("", false)]
        {
            assert_eq!(is_whole(name), expected, "{name}");
        }
        allow_in_header_names(Octets::NONE);
    }

    #[test]
    fn hosts_of_uris_have_what_is_allowed_and_nothing_else() {
        let host = |text: &'static str| Uri::parse(text.as_bytes()).map(|uri| uri.host.unwrap_or_default());
        assert_eq!(host("sip:a@my$host"), Err(UriError::Trailing));
        assert_eq!(host("sip:$"), Err(UriError::Host));
        allow_in_hosts(Octets::beside_a_host(b"$").unwrap());
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
        allow_in_hosts(Octets::NONE);
        assert_eq!(host("sip:a@my$host"), Err(UriError::Trailing));
    }
}
