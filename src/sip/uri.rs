//! URIs as SIP uses them: `sip:` and `sips:` in parts (RFC 3261 19.1), `tel:` (RFC 3966), anything else opaque.
//!
//! ```text
//!   sip:alice;day=tue:secret@[2001:db8::1]:5060;transport=tcp;lr?Subject=hi
//!   └┬┘ └─────┬─────┘└──┬──┘ └─────┬─────┘└─┬─┘└───────┬───────┘└────┬────┘
//!  scheme    user    password     host     port      params       headers
//! ```

use super::grammar::Grammar;
use super::octets::{address, host_length, is_host_octet, is_space, port};
use super::params::Params;
use std::fmt;
use std::net::IpAddr;

/// The part of a URI before the first colon; case does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel`
    Tel,
    /// `urn`
    Urn,
    /// Any other.
    Other(&'a [u8]),
}

/// A URI in its parts, all of them slices of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The whole text.
    pub raw: &'a [u8],
    /// The scheme.
    pub scheme: Scheme<'a>,
    /// The scheme as written.
    pub scheme_text: &'a [u8],
    /// The user part; the number of a `tel:` URI. Never empty.
    pub user: Option<&'a [u8]>,
    /// What follows `:` in the user part; may be empty.
    pub password: Option<&'a [u8]>,
    /// The host as written, brackets kept around IPv6. `None` for schemes that have none.
    pub host: Option<&'a [u8]>,
    /// The port, when written.
    pub port: Option<u16>,
    /// The URI's own parameters.
    pub params: Params<'a>,
    /// What follows `?`; `None` without it.
    pub headers: Option<&'a [u8]>,
}

/// Why a text is not a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// There is nothing.
    Empty,
    /// No scheme with a colon, or an octet that cannot be in one.
    Scheme,
    /// White space or an angle bracket inside.
    Octet,
    /// An empty user part before `@`.
    User,
    /// No host, an octet that cannot be in one, or a broken IPv6 reference.
    Host,
    /// A port that is empty, not a number or above 65535.
    Port,
    /// Text after the host that starts neither a port nor parameters nor headers.
    Trailing,
}

impl<'a> Uri<'a> {
    /// Takes a URI apart, by the grammar of RFC 3261.
    pub fn parse(raw: &'a [u8]) -> Result<Self, UriError> {
        Self::parse_within(raw, &Grammar::STRICT)
    }

    /// Takes a URI apart, by a grammar that may allow more.
    pub fn parse_within(raw: &'a [u8], grammar: &Grammar) -> Result<Self, UriError> {
        if raw.is_empty() {
            return Err(UriError::Empty);
        }
        if raw.iter().any(|&byte| is_space(byte) || matches!(byte, b'<' | b'>')) {
            return Err(UriError::Octet);
        }
        let (scheme_text, rest) = split_scheme(raw)?;
        let scheme = Scheme::from_text(scheme_text);
        let opaque = Uri {
            raw,
            scheme,
            scheme_text,
            user: None,
            password: None,
            host: None,
            port: None,
            params: Params::default(),
            headers: None,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => parse_sip(opaque, rest, grammar),
            Scheme::Tel => parse_tel(opaque, rest),
            Scheme::Urn | Scheme::Other(_) => Ok(opaque),
        }
    }

    /// The user part without what follows a `;` in it: the number of a telephone subscriber without its parameters
    /// (RFC 3261 19.1.6).
    pub fn subscriber(&self) -> Option<&'a [u8]> {
        let user = self.user?;
        Some(&user[..memchr::memchr(b';', user).unwrap_or(user.len())])
    }

    /// The IP address the host writes; `None` for a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.and_then(address)
    }

    /// The value of the `transport` parameter.
    pub fn transport(&self) -> Option<&'a [u8]> {
        self.params.text(b"transport")
    }
}

impl<'a> Scheme<'a> {
    fn from_text(text: &'a [u8]) -> Self {
        let known =
            [("sip", Scheme::Sip), ("sips", Scheme::Sips), ("tel", Scheme::Tel), ("urn", Scheme::Urn)];
        known
            .into_iter()
            .find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes()))
            .map_or(Scheme::Other(text), |(_, scheme)| scheme)
    }
}

/// RFC 3986 3.1: a letter, then letters, digits, `+`, `-` and `.`, up to the colon.
fn split_scheme(raw: &[u8]) -> Result<(&[u8], &[u8]), UriError> {
    let colon = memchr::memchr(b':', raw).ok_or(UriError::Scheme)?;
    let (scheme, rest) = (&raw[..colon], &raw[colon + 1..]);
    let fits = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if fits { Ok((scheme, rest)) } else { Err(UriError::Scheme) }
}

fn parse_sip<'a>(mut uri: Uri<'a>, rest: &'a [u8], grammar: &Grammar) -> Result<Uri<'a>, UriError> {
    let mut rest = rest;
    // The user part may hold `;` and `?` (RFC 4475 3.1.1.9); nothing after it may hold an unescaped `@`.
    if let Some(at) = memchr::memchr(b'@', rest) {
        (uri.user, uri.password) = split_user(&rest[..at])?;
        rest = &rest[at + 1..];
    }
    let host_end = host_end(rest, grammar).ok_or(UriError::Host)?;
    uri.host = Some(&rest[..host_end]);
    if rest[0] == b'[' && uri.address().is_none() {
        return Err(UriError::Host);
    }
    rest = &rest[host_end..];
    if let [b':', after @ ..] = rest {
        let digits = super::octets::count_while(after, |byte| byte.is_ascii_digit());
        uri.port = Some(port(&after[..digits]).ok_or(UriError::Port)?);
        rest = &after[digits..];
        if rest.first().is_some_and(|&byte| is_host_octet(byte) || byte == b':') {
            return Err(UriError::Port);
        }
    }
    finish(uri, rest)
}

/// Where the host ends that `rest` begins with.
fn host_end(rest: &[u8], grammar: &Grammar) -> Option<usize> {
    let usual = host_length(rest);
    match usual.and_then(|end| rest.get(end)) {
        None if usual.is_some() => usual,
        Some(b':' | b';' | b'?') => usual,
        _ if rest.first() == Some(&b'[') => usual,
        _ => grammar.host_length(rest).or(usual),
    }
}

type UserAndPassword<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn split_user(text: &[u8]) -> Result<UserAndPassword<'_>, UriError> {
    let (user, password) = match memchr::memchr(b':', text) {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    };
    if user.is_empty() { Err(UriError::User) } else { Ok((Some(user), password)) }
}

fn parse_tel<'a>(mut uri: Uri<'a>, rest: &'a [u8]) -> Result<Uri<'a>, UriError> {
    let end = memchr::memchr2(b';', b'?', rest).unwrap_or(rest.len());
    if end == 0 {
        return Err(UriError::User);
    }
    uri.user = Some(&rest[..end]);
    finish(uri, &rest[end..])
}

/// What may follow the host or number: parameters, then headers.
fn finish<'a>(mut uri: Uri<'a>, rest: &'a [u8]) -> Result<Uri<'a>, UriError> {
    if !matches!(rest.first(), None | Some(b';' | b'?')) || memchr::memchr(b'@', rest).is_some() {
        return Err(UriError::Trailing);
    }
    let question = memchr::memchr(b'?', rest).unwrap_or(rest.len());
    uri.params = Params::new(&rest[..question]);
    uri.headers = rest.get(question + 1..);
    Ok(uri)
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::Empty => "uri is empty",
            UriError::Scheme => "uri has no valid scheme",
            UriError::Octet => "uri has white space or an angle bracket inside",
            UriError::User => "uri has an empty user part",
            UriError::Host => "uri has no valid host",
            UriError::Port => "uri has no valid port after the colon",
            UriError::Trailing => "uri has text after the host that is no parameter",
        })
    }
}

impl std::error::Error for UriError {}

/// The address a host is, with or without brackets around IPv6; `None` for a name.
pub fn host_address(host: &[u8]) -> Option<IpAddr> {
    address(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scheme | user | password | host | port | params | headers
    fn show(input: &str) -> String {
        let text = |part: Option<&[u8]>| part.map_or("-".into(), |t| t.escape_ascii().to_string());
        match Uri::parse(input.as_bytes()) {
            Err(error) => format!("{error:?}"),
            Ok(uri) => format!(
                "{}|{}|{}|{}|{}|{}|{}",
                uri.scheme_text.escape_ascii(),
                text(uri.user),
                text(uri.password),
                text(uri.host),
                uri.port.map_or("-".into(), |p| p.to_string()),
                uri.params.raw().escape_ascii(),
                text(uri.headers),
            ),
        }
    }

    fn check(input: &str, expected: &str) {
        assert_eq!(show(input), expected, "{input}");
    }

    #[test]
    fn sip_uris_come_apart() {
        check("sip:b", "sip|-|-|b|-||-");
        check("sip:bob:pw@127.0.0.1:17060;transport=udp", "sip|bob|pw|127.0.0.1|17060|;transport=udp|-");
        check("SIPS:alice@example.com?a=b&c=d", "SIPS|alice|-|example.com|-||a=b&c=d");
        check("sip:user;par=u%40example.net@example.com", "sip|user;par=u%40example.net|-|example.com|-||-");
        check("sip:a@[2001:db8::10]:5070;lr", "sip|a|-|[2001:db8::10]|5070|;lr|-");
        check("sip:a:@h", "sip|a||h|-||-");
        check(
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
            "sip|1_unusual.URI~(to-be!sure)&isn\\'t+it$/crazy?,/;;*|&it+has=1,weird!*pas$wo~d_too.(doesn\\'t-it)|example.com|-||-",
        );
        check("sip:null-%00-null@example.com", "sip|null-%00-null|-|example.com|-||-");
    }

    #[test]
    fn other_schemes_keep_what_they_have() {
        check("tel:+1-201-555-0123;phone-context=x", "tel|+1-201-555-0123|-|-|-|;phone-context=x|-");
        check("urn:service:sos", "urn|-|-|-|-||-");
        check("soap.beep://192.0.2.103:3002", "soap.beep|-|-|-|-||-");
        check("nobodyKnowsThisScheme:totallyopaquecontent", "nobodyKnowsThisScheme|-|-|-|-||-");
    }

    #[test]
    fn what_is_not_a_uri_says_why() {
        check("", "Empty");
        check("notauri", "Scheme");
        check(":x", "Scheme");
        check("1sip:x", "Scheme");
        check("<sip:user@example.com>", "Octet");
        check("sip:user@example.com; lr", "Octet");
        check("sip:", "Host");
        check("sip:a@", "Host");
        check("sip:@h", "User");
        check("sip::pw@h", "User");
        check("tel:;x", "User");
        check("sip:a@b@c", "Trailing");
        check("sip:h;x=a@b", "sip|h;x=a|-|b|-||-");
        check("sip:a@2001:db8::10", "Port");
        check("sip:[2001:db8::10", "Host");
        check("sip:[1:2]", "Host");
        check("sip:h:", "Port");
        check("sip:h:65536", "Port");
        check("sip:h:5060x", "Port");
        check("sip:h/x", "Trailing");
    }

    #[test]
    fn addresses_are_read_from_the_host() {
        // RFC 5118 4.10: the grammar of RFC 3261 allows three colons there, and two are meant.
        let uri = Uri::parse(b"sip:user@[2001:db8:::192.0.2.1]").unwrap();
        assert_eq!(uri.address(), "2001:db8::192.0.2.1".parse().ok());
        assert!(Uri::parse(b"sip:[2001:db8:::1]").is_err() && Uri::parse(b"sip:[:::::192.0.2.1]").is_err());
        // RFC 5118 4.3: without brackets inside, the last group belongs to the address.
        let uri = Uri::parse(b"sip:[2001:db8::10:5070]").unwrap();
        assert_eq!((uri.address(), uri.port), ("2001:db8::10:5070".parse().ok(), None));
        assert_eq!(Uri::parse(b"sip:192.0.2.1").unwrap().address(), "192.0.2.1".parse().ok());
        assert_eq!(Uri::parse(b"sip:example.com").unwrap().address(), None);
    }
}
