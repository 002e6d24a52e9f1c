//! A URI about to be written again with some of its parts replaced, as scripts do to the Request-URI.
//!
//! ```
//! use sworker::sip::Grammar;
//! use sworker::sip::uri_draft::UriDraft;
//!
//! let uri = b"sip:bob:secret@example.com:5070;transport=tcp";
//! let mut draft = UriDraft::parse(uri, &Grammar::STRICT)?;
//! draft.set_user(b"+49", b"30123")?;
//! assert_eq!(draft.to_bytes(), b"sip:+4930123:secret@example.com:5070;transport=tcp");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use super::grammar::Grammar;
use super::uri::{Scheme, Uri, UriError};

/// The parts of a URI, each as it will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriDraft {
    scheme: Vec<u8>,
    has_host: bool,
    user: Vec<u8>,
    password: Option<Vec<u8>>,
    host: Vec<u8>,
    port: Option<u16>,
    params: Vec<u8>,
    headers: Option<Vec<u8>>,
    grammar: Grammar,
}

/// Why a part cannot be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnfitPart {
    /// White space, an angle bracket, a quote, a control octet or `@` in a user part.
    User,
    /// Something that is no host.
    Host,
    /// Something that is no port.
    Port,
    /// Parameters that hold white space or angle brackets.
    Parameters,
    /// The scheme of this URI has no such part.
    NoSuchPart,
}

impl UriDraft {
    /// The parts of a URI; `grammar` also says what a new host may have.
    pub fn parse(text: &[u8], grammar: &Grammar) -> Result<UriDraft, UriError> {
        let uri = Uri::parse_within(text, grammar)?;
        Ok(UriDraft {
            scheme: uri.scheme_text.to_vec(),
            has_host: matches!(uri.scheme, Scheme::Sip | Scheme::Sips),
            user: uri.user.unwrap_or_default().to_vec(),
            password: uri.password.map(<[u8]>::to_vec),
            host: uri.host.unwrap_or_default().to_vec(),
            port: uri.port,
            params: uri.params.raw().to_vec(),
            headers: uri.headers.map(<[u8]>::to_vec),
            grammar: *grammar,
        })
    }

    /// The user part; empty when there is none.
    pub fn user(&self) -> &[u8] {
        &self.user
    }

    /// Replaces the user part by `prefix` and `user`; both empty take it away, with the password.
    pub fn set_user(&mut self, prefix: &[u8], user: &[u8]) -> Result<(), UnfitPart> {
        let user = [prefix, user].concat();
        if !user.iter().all(|&byte| is_user_octet(byte)) {
            return Err(UnfitPart::User);
        }
        if user.is_empty() {
            if !self.has_host {
                return Err(UnfitPart::User);
            }
            self.password = None;
        }
        self.user = user;
        Ok(())
    }

    /// Replaces user and password: `user[:password]`.
    pub fn set_user_and_password(&mut self, written: &[u8]) -> Result<(), UnfitPart> {
        let (user, password) = match memchr::memchr(b':', written) {
            Some(colon) => (&written[..colon], Some(&written[colon + 1..])),
            None => (written, None),
        };
        if !password.unwrap_or_default().iter().all(|&byte| is_user_octet(byte)) {
            return Err(UnfitPart::User);
        }
        self.set_user(b"", user)?;
        self.password = password.filter(|_| !user.is_empty()).map(<[u8]>::to_vec);
        Ok(())
    }

    /// Replaces the host.
    pub fn set_host(&mut self, host: &[u8]) -> Result<(), UnfitPart> {
        self.set_host_and_port_of(host, true)
    }

    /// Replaces host and port: `host[:port]`; without a port the old one goes too.
    pub fn set_host_and_port(&mut self, written: &[u8]) -> Result<(), UnfitPart> {
        self.set_host_and_port_of(written, false)
    }

    fn set_host_and_port_of(&mut self, written: &[u8], keeps_port: bool) -> Result<(), UnfitPart> {
        if !self.has_host {
            return Err(UnfitPart::NoSuchPart);
        }
        let text = [b"sip:", written].concat();
        let uri = Uri::parse_within(&text, &self.grammar).map_err(|_| UnfitPart::Host)?;
        let is_plain = uri.user.is_none() && uri.params.raw().is_empty() && uri.headers.is_none();
        if !is_plain || (keeps_port && uri.port.is_some()) {
            return Err(UnfitPart::Host);
        }
        self.host = uri.host.unwrap_or_default().to_vec();
        if !keeps_port {
            self.port = uri.port;
        }
        Ok(())
    }

    /// Replaces host, port and transport: `host[:port][;transport=name]`.
    pub fn set_host_port_and_transport(&mut self, written: &[u8]) -> Result<(), UnfitPart> {
        let end = memchr::memchr(b';', written).unwrap_or(written.len());
        let (place, params) = written.split_at(end);
        if !params.iter().all(|&byte| is_uri_octet(byte)) {
            return Err(UnfitPart::Parameters);
        }
        self.set_host_and_port(place)?;
        self.remove_param(b"transport");
        self.params.extend_from_slice(params);
        Ok(())
    }

    /// Replaces the port; `None` takes it away.
    pub fn set_port(&mut self, port: Option<u16>) -> Result<(), UnfitPart> {
        if !self.has_host {
            return Err(UnfitPart::NoSuchPart);
        }
        self.port = port;
        Ok(())
    }

    /// Adds a parameter, such as `user=phone`, in the place of an older one of its name.
    pub fn set_param(&mut self, name: &str, value: &str) {
        self.remove_param(name.as_bytes());
        self.params.extend_from_slice(format!(";{name}={value}").as_bytes());
    }

    fn remove_param(&mut self, name: &[u8]) {
        let kept = crate::sip::params::Params::new(&self.params);
        let mut params = Vec::with_capacity(self.params.len());
        for param in kept.iter().filter(|param| !param.is_named(name)) {
            params.push(b';');
            params.extend_from_slice(param.raw);
        }
        self.params = params;
    }

    /// The URI as text.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.host.len() + self.user.len() + self.params.len() + 32);
        out.extend_from_slice(&self.scheme);
        out.push(b':');
        out.extend_from_slice(&self.user);
        if let Some(password) = &self.password {
            out.push(b':');
            out.extend_from_slice(password);
        }
        if self.has_host && !self.user.is_empty() {
            out.push(b'@');
        }
        out.extend_from_slice(&self.host);
        if let Some(port) = self.port {
            out.extend_from_slice(format!(":{port}").as_bytes());
        }
        out.extend_from_slice(&self.params);
        if let Some(headers) = &self.headers {
            out.push(b'?');
            out.extend_from_slice(headers);
        }
        out
    }
}

/// Whether an octet may stand in a URI that is written between angle brackets or in a request line.
pub fn is_uri_octet(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !matches!(byte, b'<' | b'>' | b'"')
}

fn is_user_octet(byte: u8) -> bool {
    is_uri_octet(byte) && !matches!(byte, b'@' | b':')
}

impl fmt::Display for UnfitPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnfitPart::User => "invalid user part of a uri",
            UnfitPart::Host => "invalid host of a uri",
            UnfitPart::Port => "invalid port",
            UnfitPart::Parameters => "invalid parameters of a uri",
            UnfitPart::NoSuchPart => "the scheme of the uri has no such part",
        })
    }
}

impl std::error::Error for UnfitPart {}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "sip:bob:pw@h.com:5070;transport=tcp;lr?Subject=x";

    fn check(
        uri: &str,
        change: impl Fn(&mut UriDraft) -> Result<(), UnfitPart>,
        expected: Result<&str, UnfitPart>,
    ) {
        let mut draft = UriDraft::parse(uri.as_bytes(), &Grammar::STRICT).unwrap();
        assert_eq!(draft.to_bytes(), uri.as_bytes(), "unchanged");
        let changed = change(&mut draft).map(|()| String::from_utf8(draft.to_bytes()).unwrap());
        assert_eq!(changed.as_deref().map_err(|error| *error), expected, "{uri}");
    }

    #[test]
    fn parts_are_replaced_and_the_others_stay() {
        check(FULL, |d| d.set_user(b"", b"al"), Ok("sip:al:pw@h.com:5070;transport=tcp;lr?Subject=x"));
        check(FULL, |d| d.set_user(b"+1", b"bob"), Ok("sip:+1bob:pw@h.com:5070;transport=tcp;lr?Subject=x"));
        check(FULL, |d| d.set_user(b"", b""), Ok("sip:h.com:5070;transport=tcp;lr?Subject=x"));
        check("sip:h.com", |d| d.set_user(b"", b"al"), Ok("sip:al@h.com"));
        check("tel:+1234", |d| d.set_user(b"", b"99"), Ok("tel:99"));
        check(FULL, |d| d.set_user_and_password(b"u:p"), Ok("sip:u:p@h.com:5070;transport=tcp;lr?Subject=x"));
        check(FULL, |d| d.set_user_and_password(b"u"), Ok("sip:u@h.com:5070;transport=tcp;lr?Subject=x"));
        check(FULL, |d| d.set_host(b"[::1]"), Ok("sip:bob:pw@[::1]:5070;transport=tcp;lr?Subject=x"));
        check(FULL, |d| d.set_host_and_port(b"a:1"), Ok("sip:bob:pw@a:1;transport=tcp;lr?Subject=x"));
        check(FULL, |d| d.set_host_and_port(b"a"), Ok("sip:bob:pw@a;transport=tcp;lr?Subject=x"));
        check(FULL, |d| d.set_port(Some(9)), Ok("sip:bob:pw@h.com:9;transport=tcp;lr?Subject=x"));
        check(FULL, |d| d.set_port(None), Ok("sip:bob:pw@h.com;transport=tcp;lr?Subject=x"));
        let transport = |d: &mut UriDraft| d.set_host_port_and_transport(b"a:1;transport=udp");
        check(FULL, transport, Ok("sip:bob:pw@a:1;lr;transport=udp?Subject=x"));
        let phone = |d: &mut UriDraft| {
            d.set_param("user", "phone");
            Ok(())
        };
        check("sip:1@h;user=ip", phone, Ok("sip:1@h;user=phone"));
    }

    #[test]
    fn what_would_break_the_uri_is_refused() {
        for user in ["a b", "a@b", "a>", "a\r\n", "a:b", "\"", "\u{7f}"] {
            check(FULL, |d| d.set_user(b"", user.as_bytes()), Err(UnfitPart::User));
        }
        for host in ["", "a b", "a;lr", "a:5060", "[::g]", "x@a", "a\r\nVia: x"] {
            check(FULL, |d| d.set_host(host.as_bytes()), Err(UnfitPart::Host));
        }
        for place in ["", "a:0x1", "a:", "a:99999", ":5060", "a?b"] {
            check(FULL, |d| d.set_host_and_port(place.as_bytes()), Err(UnfitPart::Host));
        }
        check(FULL, |d| d.set_host_port_and_transport(b"a;x=>"), Err(UnfitPart::Parameters));
        check("tel:+1234", |d| d.set_host(b"a"), Err(UnfitPart::NoSuchPart));
        check("tel:+1234", |d| d.set_port(Some(1)), Err(UnfitPart::NoSuchPart));
        check("tel:+1234", |d| d.set_user(b"", b""), Err(UnfitPart::User));
    }
}
