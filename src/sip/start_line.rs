//! The first line of a message: a request line or a status line (RFC 3261 7.1, 7.2).
//!
//! A line is refused only when it cannot be answered. A lesser fault is noted as a [`StartLineFault`].

use super::find::find;
use super::method::Method;
use super::octets::{count_while, is_digits, is_space, is_token, is_token_octet, trim, trim_end, trim_start};
use super::status::Status;

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// Of a request.
    Request(RequestLine<'a>),
    /// Of a response.
    Status(StatusLine<'a>),
}

/// `INVITE sip:bob@example.com SIP/2.0`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: Method<'a>,
    /// The Request-URI as written; never empty, not necessarily a valid URI.
    pub uri: &'a [u8],
    /// The version as written, such as `SIP/2.0` or `sip/2.0`; never empty.
    pub version: &'a [u8],
    /// What is wrong with the line, if anything.
    pub fault: Option<StartLineFault>,
}

/// `SIP/2.0 200 OK`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusLine<'a> {
    /// The version as written.
    pub version: &'a [u8],
    /// The code.
    pub status: Status,
    /// The reason phrase; may be empty.
    pub reason: &'a [u8],
}

/// What is wrong with a request line that can still be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLineFault {
    /// SIP, but not 2.0.
    Version,
    /// Another protocol, such as HTTP.
    Protocol,
    /// More than one space between the parts, or a tab.
    Separator,
    /// White space inside the Request-URI.
    UriSpace,
}

/// Why a line is not a start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartLineError {
    Method,
    RequestUri,
    Version,
    StatusCode,
}

impl<'a> StartLine<'a> {
    /// Reads a line, its end already removed.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, StartLineError> {
        match line.split_at_checked(8) {
            Some((start, rest)) if start.eq_ignore_ascii_case(b"SIP/2.0 ") => {
                StatusLine::parse(&line[..7], rest).map(StartLine::Status)
            }
            _ => RequestLine::parse(line).map(StartLine::Request),
        }
    }
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, StartLineError> {
        let line = trim_end(line);
        let first = count_while(line, is_token_octet);
        if first == 0 || !matches!(line.get(first), Some(b' ' | b'\t')) {
            return Err(StartLineError::Method);
        }
        let last = match line.strip_suffix(b" SIP/2.0") {
            Some(before) => before.len(),
            None => line.iter().rposition(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(first),
        };
        let (method, version) = (&line[..first], &line[last + 1..]);
        let between = line.get(first + 1..last).ok_or(StartLineError::RequestUri)?;
        let uri = trim(between);
        if uri.is_empty() {
            return Err(StartLineError::RequestUri);
        }
        if !is_version(version) {
            return Err(StartLineError::Version);
        }
        let single = between.len() == uri.len() && line[first] == b' ' && line[last] == b' ';
        let fault = version_fault(version)
            .or_else(|| uri_fault(uri))
            .or((!single).then_some(StartLineFault::Separator));
        Ok(Self { method: Method::from_name(method), uri, version, fault })
    }
}

impl<'a> StatusLine<'a> {
    fn parse(version: &'a [u8], rest: &'a [u8]) -> Result<Self, StartLineError> {
        let (code, reason) = rest.split_at_checked(3).ok_or(StartLineError::StatusCode)?;
        let separated = reason.first().is_none_or(|&byte| is_space(byte));
        if !is_digits(code) || !separated {
            return Err(StartLineError::StatusCode);
        }
        let number = code.iter().fold(0, |number, &digit| number * 10 + u16::from(digit - b'0'));
        let status = Status::new(number).ok_or(StartLineError::StatusCode)?;
        Ok(Self { version, status, reason: trim_end(trim_start(reason)) })
    }
}

/// `NAME/digits.digits`, which SIP and HTTP share.
fn is_version(text: &[u8]) -> bool {
    if text == b"SIP/2.0" {
        return true;
    }
    let Some(slash) = find(text, *b"/") else { return false };
    let (name, number) = (&text[..slash], &text[slash + 1..]);
    is_token(name) && !number.is_empty() && number.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.')
}

fn version_fault(version: &[u8]) -> Option<StartLineFault> {
    if version == b"SIP/2.0" || version.eq_ignore_ascii_case(b"SIP/2.0") {
        None
    } else if version.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
        Some(StartLineFault::Version)
    } else {
        Some(StartLineFault::Protocol)
    }
}

fn uri_fault(uri: &[u8]) -> Option<StartLineFault> {
    // A bare CR inside the line counts: it would end the line for another reader.
    find(uri, *b" \t\r").map(|_| StartLineFault::UriSpace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(line: &str) -> String {
        match StartLine::parse(line.as_bytes()) {
            Err(error) => format!("{error:?}"),
            Ok(StartLine::Request(r)) => {
                let (uri, version) = (String::from_utf8_lossy(r.uri), String::from_utf8_lossy(r.version));
                let fault = r.fault.map_or(String::new(), |fault| format!(" {fault:?}"));
                format!("{}|{uri}|{version}{fault}", r.method)
            }
            Ok(StartLine::Status(s)) => format!("{}|{}", s.status, String::from_utf8_lossy(s.reason)),
        }
    }

    fn check(line: &str, expected: &str) {
        assert_eq!(show(line), expected, "{}", line.escape_debug());
    }

    #[test]
    fn request_lines_are_read() {
        check("INVITE sip:b@c SIP/2.0", "INVITE|sip:b@c|SIP/2.0");
        check("INVITE sip:b@c sip/2.0", "INVITE|sip:b@c|sip/2.0");
        check("invite notauri SIP/2.0  ", "invite|notauri|SIP/2.0");
        check("RE%47IST%45R sip:b SIP/2.0", "RE%47IST%45R|sip:b|SIP/2.0");
    }

    #[test]
    fn faults_that_can_be_answered_are_noted() {
        check("INVITE  sip:b SIP/2.0", "INVITE|sip:b|SIP/2.0 Separator");
        check("INVITE sip:b  SIP/2.0", "INVITE|sip:b|SIP/2.0 Separator");
        check("INVITE\tsip:b SIP/2.0", "INVITE|sip:b|SIP/2.0 Separator");
        check("INVITE sip:b; lr SIP/2.0", "INVITE|sip:b; lr|SIP/2.0 UriSpace");
        check("INVITE sip:b\rc SIP/2.0", "INVITE|sip:b\rc|SIP/2.0 UriSpace");
        check("OPTIONS sip:b SIP/7.0", "OPTIONS|sip:b|SIP/7.0 Version");
        check("GET / HTTP/1.1", "GET|/|HTTP/1.1 Protocol");
    }

    #[test]
    fn status_lines_are_read() {
        check("SIP/2.0 200 OK", "200|OK");
        check("sip/2.0 183 Session Progress ", "183|Session Progress");
        check("SIP/2.0 100 ", "100|");
        check("SIP/2.0 100", "100|");
        check("SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}", "200|= 2**3 * 5**2 \u{43d}\u{43e}");
    }

    #[test]
    fn lines_nobody_could_answer_are_errors() {
        check("", "Method");
        check("INVITE", "Method");
        check("INVITE sip:b", "RequestUri");
        check("INVITE  SIP/2.0", "RequestUri");
        check(" sip:b SIP/2.0", "Method");
        check("IN(VITE sip:b SIP/2.0", "Method");
        check("INVITE sip:b SIP", "Version");
        check("INVITE sip:b SIP/2.0\rVia: x", "Version");
        check("SIP/3.0 200 OK", "Method");
        check("SIP/2.0 4294967301 better not", "StatusCode");
        check("SIP/2.0 099 x", "StatusCode");
        check("SIP/2.0 700 x", "StatusCode");
        check("SIP/2.0 20", "StatusCode");
        check("SIP/2.0 -20 x", "StatusCode");
    }
}
