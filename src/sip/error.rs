//! Why bytes are not a message, and why a header field of a message cannot be had.

use super::header::HeaderId;
use super::name_addr::NameAddrError;
use super::start_line::StartLineError;
use super::via::ViaError;
use std::fmt;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where, in bytes from the start of what was received.
    pub offset: usize,
}

/// The kinds of [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// Nothing but line ends, spaces and zeros.
    Empty,
    /// More bytes than allowed.
    TooLarge,
    /// The first line does not end.
    NoLineEnd,
    /// The first line is continued by white space.
    FoldedStartLine,
    /// The first line does not start with a token and a space.
    Method,
    /// The request line has no Request-URI.
    RequestUri,
    /// The request line does not end in a version.
    Version,
    /// The status code is not three digits between 100 and 699.
    StatusCode,
    /// More header lines than allowed.
    TooManyHeaders,
    /// A header line longer than allowed.
    HeaderTooLarge,
    /// More Via lines than allowed.
    TooManyVias,
}

/// What is wrong with a header field that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It is not there.
    Missing(HeaderId),
    /// Its value cannot be read, and why.
    Malformed(HeaderId, &'static str),
    /// It is there more than once but may be only once.
    Duplicate(HeaderId),
}

impl HeaderError {
    /// Which header field it is about.
    pub fn id(&self) -> HeaderId {
        match self {
            HeaderError::Missing(id) | HeaderError::Malformed(id, _) | HeaderError::Duplicate(id) => *id,
        }
    }

    pub(super) fn from_address(id: HeaderId, error: NameAddrError) -> Self {
        HeaderError::Malformed(id, error.reason())
    }
}

impl From<ViaError> for HeaderError {
    fn from(error: ViaError) -> Self {
        HeaderError::Malformed(HeaderId::Via, error.reason())
    }
}

impl From<StartLineError> for ParseErrorKind {
    fn from(error: StartLineError) -> Self {
        match error {
            StartLineError::Method => ParseErrorKind::Method,
            StartLineError::RequestUri => ParseErrorKind::RequestUri,
            StartLineError::Version => ParseErrorKind::Version,
            StartLineError::StatusCode => ParseErrorKind::StatusCode,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParseErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseErrorKind::Empty => "nothing but white space",
            ParseErrorKind::TooLarge => "message larger than allowed",
            ParseErrorKind::NoLineEnd => "first line does not end",
            ParseErrorKind::FoldedStartLine => "first line is continued by white space",
            ParseErrorKind::Method => "first line does not start with a method",
            ParseErrorKind::RequestUri => "first line has no request-uri",
            ParseErrorKind::Version => "first line does not end in a version",
            ParseErrorKind::StatusCode => "status code is not between 100 and 699",
            ParseErrorKind::TooManyHeaders => "more header lines than allowed",
            ParseErrorKind::HeaderTooLarge => "header line longer than allowed",
            ParseErrorKind::TooManyVias => "more via than allowed",
        })
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Missing(id) => write!(f, "no {}", id.name()),
            HeaderError::Malformed(id, reason) => write!(f, "bad {}: {reason}", id.name()),
            HeaderError::Duplicate(id) => write!(f, "more than one {}", id.name()),
        }
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field_the_reason_and_the_place() {
        let parse = ParseError { kind: ParseErrorKind::StatusCode, offset: 2 };
        assert_eq!(parse.to_string(), "status code is not between 100 and 699 at byte 2");
        for (error, expected) in [
            (HeaderError::Missing(HeaderId::CallId), "no Call-ID"),
            (HeaderError::Duplicate(HeaderId::From), "more than one From"),
            (HeaderError::from(ViaError::Host), "bad Via: via has no valid host"),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
