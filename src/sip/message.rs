//! A message: its start line and an index of its header lines, over borrowed bytes.
//!
//! [`Message::parse`] makes one pass: each header line costs a look-up in the table of names and an entry of 12
//! bytes. The topmost Via, From, To and CSeq are read at once, since no message is handled without them; other values
//! are read when asked for. Up to 64 lines nothing is allocated.
//!
//! ```
//! use sworker::sip::{HeaderId, Message, Method};
//!
//! let bytes = b"OPTIONS sip:b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\ni: c1\r\nX-Foo: one\r\n\r\n";
//! let message = Message::parse(bytes)?;
//! assert_eq!(message.method(), Ok(Method::Options));
//! assert_eq!(message.via(0)?.branch, Some(&b"z9hG4bK1"[..]));
//! assert_eq!(message.call_id()?, b"c1");
//! assert_eq!(message.header_named(b"x-foo", -1).map(|header| header.value), Some(&b"one"[..]));
//! assert!(message.header(HeaderId::Route).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::cseq::CSeq;
pub use super::error::{HeaderError, ParseError, ParseErrorKind};
use super::find::find;
use super::grammar::Grammar;
use super::header::HeaderId;
use super::index::{
    HEADER_COUNT_MAX, HEADER_SIZE_MAX, HeaderEntry, HeaderIndex, empty_line_size, is_continuation, read_line,
    trim_name,
};
use super::list::ListValues;
use super::method::Method;
use super::name_addr::{NameAddr, NameAddrs};
use super::octets::{count_while, decimal, is_space};
pub use super::start_line::{RequestLine, StartLine, StartLineFault, StatusLine};
use super::status::Status;
use super::uri::{Uri, UriError};
use super::via::{Via, ViaError, Vias};
use std::ops::Range;

/// A message over the bytes it came in.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// From the start line to the end of what was received.
    bytes: &'a [u8],
    leading_size: usize,
    start_line: StartLine<'a>,
    index: HeaderIndex,
    headers_start: usize,
    headers_end: usize,
    body_start: usize,
    has_broken_line: bool,
    grammar: Grammar,
    identity: Identity<'a>,
}

/// The fields that are read for every message, most of them more than once: read with the index.
#[derive(Clone, Copy, Debug)]
struct Identity<'a> {
    top_via: Result<Via<'a>, HeaderError>,
    from: Result<NameAddr<'a>, HeaderError>,
    to: Result<NameAddr<'a>, HeaderError>,
    cseq: Result<CSeq<'a>, HeaderError>,
}

impl Identity<'_> {
    const UNREAD: Self = Identity {
        top_via: Err(HeaderError::Missing(HeaderId::Via)),
        from: Err(HeaderError::Missing(HeaderId::From)),
        to: Err(HeaderError::Missing(HeaderId::To)),
        cseq: Err(HeaderError::Missing(HeaderId::CSeq)),
    };
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Which header field it is.
    pub id: HeaderId,
    /// The name as written, without white space; empty when the line has no colon.
    pub name: &'a [u8],
    /// The value without white space around it; may be empty, may be folded.
    pub value: &'a [u8],
    /// The whole line with its line end, and the lines folded into it.
    pub line: &'a [u8],
}

/// What a message may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the message. At most 2^32 - 1, so that an entry can point anywhere.
    pub message_size_max: usize,
    /// Header lines. At most 65,534, so that a position fits the table of first lines.
    pub header_count_max: usize,
    /// Bytes of one header line, folding included. At most 65,535, so that a name fits an entry.
    pub header_size_max: usize,
    /// Values of Via, over all its lines.
    pub via_count_max: usize,
}

/// The least size of a value of Via: a shorter text holds none.
const VIA_SIZE_MIN: usize = 8;

impl Limits {
    /// What [`Message::parse`] allows.
    pub const DEFAULT: Limits = Limits {
        message_size_max: 16 << 20,
        header_count_max: 4096,
        header_size_max: 32_768,
        via_count_max: 1024,
    };

    /// What can be indexed at all.
    pub const WIDEST: Limits = Limits {
        header_count_max: HEADER_COUNT_MAX,
        header_size_max: HEADER_SIZE_MAX,
        via_count_max: usize::MAX,
        ..Limits::DEFAULT
    };
}

impl<'a> Message<'a> {
    /// Indexes a message, by the grammar of RFC 3261. Line ends, zeros and white space before the start line are
    /// passed over.
    #[inline]
    pub fn parse(received: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_within(received, &Limits::DEFAULT, &Grammar::STRICT)
    }

    /// Indexes a message under other limits, by a grammar that may allow more.
    ///
    /// A message is too big to be moved about: this becomes a part of the caller, so that it is built there, and the
    /// work is done in two functions that do not.
    #[inline]
    pub fn parse_within(received: &'a [u8], limits: &Limits, grammar: &Grammar) -> Result<Self, ParseError> {
        let start = read_start(received, limits)?;
        let mut message = Message {
            bytes: start.bytes,
            leading_size: start.leading_size,
            start_line: start.line,
            index: HeaderIndex::new(),
            headers_start: start.headers_start,
            headers_end: start.bytes.len(),
            body_start: start.bytes.len(),
            has_broken_line: false,
            grammar: *grammar,
            identity: Identity::UNREAD,
        };
        message.read_headers(limits)?;
        Ok(message)
    }

    #[inline(never)]
    fn read_headers(&mut self, limits: &Limits) -> Result<(), ParseError> {
        let header_count_max = limits.header_count_max.min(HEADER_COUNT_MAX);
        let header_size_max = limits.header_size_max.min(HEADER_SIZE_MAX);
        let leading_size = self.leading_size;
        let fail = |kind, at| Err(ParseError { kind, offset: leading_size + at });
        let bytes = self.bytes;
        let mut at = self.headers_start;
        let mut via_count = 0;
        while at < bytes.len() {
            let text = &bytes[at..];
            if let Some(size) = empty_line_size(text) {
                self.headers_end = at;
                self.body_start = at + size;
                break;
            }
            let line = read_line(text);
            if line.size > header_size_max {
                return fail(ParseErrorKind::HeaderTooLarge, at);
            }
            match line.id {
                HeaderId::Via if via_count == limits.via_count_max => {
                    return fail(ParseErrorKind::TooManyVias, at);
                }
                HeaderId::Via => via_count += 1,
                // The names of the table are tokens.
                HeaderId::Other => {
                    self.has_broken_line |= !self.grammar.is_header_name(&text[..line.name_size])
                }
                _ => {}
            }
            if self.index.len() >= header_count_max {
                return fail(ParseErrorKind::TooManyHeaders, at);
            }
            self.index.push(HeaderEntry::of(&line, at));
            at += line.size;
        }
        let may_be_too_many = self.header_bytes().len() / VIA_SIZE_MIN > limits.via_count_max;
        if may_be_too_many && self.vias().nth(limits.via_count_max).is_some() {
            return fail(ParseErrorKind::TooManyVias, self.headers_start);
        }
        self.read_identity();
        Ok(())
    }

    fn read_identity(&mut self) {
        if let Some(value) = self.value_of(HeaderId::Via) {
            self.identity.top_via = Via::parse_first(value).map(|(via, _)| via).map_err(Into::into);
        }
        self.identity.from = self.read_address(HeaderId::From);
        self.identity.to = self.read_address(HeaderId::To);
        self.identity.cseq = self.read_cseq();
    }

    /// The value of the first header line of this identity.
    #[inline]
    fn value_of(&self, id: HeaderId) -> Option<&'a [u8]> {
        self.index.first_value(id).map(|span| &self.bytes[span])
    }

    /// Indexes another text by the grammar of this message.
    pub fn parse_alike<'b>(&self, text: &'b [u8]) -> Result<Message<'b>, ParseError> {
        Message::parse_within(text, &Limits::DEFAULT, &self.grammar)
    }

    /// Takes a URI apart by the grammar of this message, wherever the URI comes from.
    pub fn parse_uri<'b>(&self, text: &'b [u8]) -> Result<Uri<'b>, UriError> {
        Uri::parse_within(text, &self.grammar)
    }

    /// The grammar that the message was read by.
    pub fn grammar(&self) -> &Grammar {
        &self.grammar
    }

    /// The start line.
    pub fn start_line(&self) -> StartLine<'a> {
        self.start_line
    }

    /// The request line; `None` for a response.
    pub fn request_line(&self) -> Option<RequestLine<'a>> {
        match self.start_line {
            StartLine::Request(line) => Some(line),
            StartLine::Status(_) => None,
        }
    }

    /// The status line; `None` for a request.
    pub fn status_line(&self) -> Option<StatusLine<'a>> {
        match self.start_line {
            StartLine::Request(_) => None,
            StartLine::Status(line) => Some(line),
        }
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start_line, StartLine::Request(_))
    }

    /// The version as written, such as `SIP/2.0`.
    pub fn version(&self) -> &'a [u8] {
        match self.start_line {
            StartLine::Request(line) => line.version,
            StartLine::Status(line) => line.version,
        }
    }

    /// The status of a response; `None` for a request.
    pub fn status(&self) -> Option<Status> {
        self.status_line().map(|line| line.status)
    }

    /// The method: of a request from its first line, of a response from CSeq.
    pub fn method(&self) -> Result<Method<'a>, HeaderError> {
        match self.start_line {
            StartLine::Request(line) => Ok(line.method),
            StartLine::Status(_) => self.cseq().map(|cseq| cseq.method),
        }
    }

    /// The message from its start line to the end of its body, byte for byte.
    ///
    /// Without what led it and without what followed the body that Content-Length announces (RFC 3261 18.3).
    pub fn bytes(&self) -> &'a [u8] {
        &self.bytes[..self.body_start + self.body().len()]
    }

    /// How many line ends, zeros and white space stood before the start line.
    pub fn leading_size(&self) -> usize {
        self.leading_size
    }

    /// What was received after the body that Content-Length announces.
    pub fn trailing(&self) -> &'a [u8] {
        &self.bytes[self.body_start + self.body().len()..]
    }

    /// The body, cut to Content-Length where that is smaller; empty when there is none.
    pub fn body(&self) -> &'a [u8] {
        let available = &self.bytes[self.body_start..];
        match self.content_length() {
            Ok(Some(size)) => available.get(..size as usize).unwrap_or(available),
            _ => available,
        }
    }

    /// The header lines as they stand in the message, without the empty line that ends them.
    pub fn header_bytes(&self) -> &'a [u8] {
        &self.bytes[self.headers_start..self.headers_end]
    }

    /// Where a slice of this message stands in [`Message::bytes`]; `None` for any other slice.
    pub fn span_of(&self, slice: &[u8]) -> Option<Range<usize>> {
        let start = (slice.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        let end = start.checked_add(slice.len())?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    /// Where the header lines start in [`Message::bytes`].
    pub fn headers_start(&self) -> usize {
        self.headers_start
    }

    /// Where the header lines end in [`Message::bytes`]: at the empty line, or at the end without one.
    pub fn headers_end(&self) -> usize {
        self.headers_end
    }

    /// Where the body starts in [`Message::bytes`].
    pub fn body_start(&self) -> usize {
        self.body_start
    }

    /// How many header lines there are.
    pub fn header_count(&self) -> usize {
        self.index.len()
    }

    /// All header lines in order.
    pub fn headers<'m>(&'m self) -> impl DoubleEndedIterator<Item = Header<'a>> + use<'m, 'a> {
        (0..self.index.len()).map(|position| self.header_at(position))
    }

    /// The first header line of this identity. Costs the same wherever it stands.
    pub fn header(&self, id: HeaderId) -> Option<Header<'a>> {
        self.index.first(id).map(|position| self.header_at(position))
    }

    /// The header lines of this identity, in order.
    pub fn headers_of<'m>(
        &'m self,
        id: HeaderId,
    ) -> impl DoubleEndedIterator<Item = Header<'a>> + use<'m, 'a> {
        let start = self.index.first(id).unwrap_or(self.index.len());
        (start..self.index.len())
            .filter(move |&at| self.index.entry(at).id == id)
            .map(|at| self.header_at(at))
    }

    /// The header lines of this name, long or compact, in any case, in order.
    pub fn headers_named<'m>(
        &'m self,
        name: &'m [u8],
    ) -> impl DoubleEndedIterator<Item = Header<'a>> + use<'m, 'a> {
        let name = trim_name(name);
        let id = HeaderId::from_name(name);
        self.headers_of(id)
            .filter(move |header| id != HeaderId::Other || header.name.eq_ignore_ascii_case(name))
    }

    /// The header line of this name at an index: 0 is the first, -1 the last.
    pub fn header_named(&self, name: &[u8], index: i32) -> Option<Header<'a>> {
        let steps = usize::try_from(index.unsigned_abs()).ok()?;
        match index {
            0.. => self.headers_named(name).nth(steps),
            _ => self.headers_named(name).nth_back(steps - 1),
        }
    }

    /// The values of a header field whose commas separate values, over all its lines.
    pub fn values_of<'m>(&'m self, id: HeaderId) -> impl Iterator<Item = &'a [u8]> + use<'m, 'a> {
        self.headers_of(id).flat_map(|header| ListValues::new(header.value))
    }

    /// The first line that has no colon or no valid name before it (RFC 3261 7.3.1).
    pub fn broken_line(&self) -> Option<Header<'a>> {
        if !self.has_broken_line {
            return None;
        }
        self.headers().find(|header| !self.grammar.is_header_name(header.name))
    }

    /// All values of Via from the top, over all lines.
    pub fn vias<'m>(&'m self) -> impl Iterator<Item = Result<Via<'a>, HeaderError>> + use<'m, 'a> {
        self.headers_of(HeaderId::Via)
            .flat_map(|header| Vias::new(header.value))
            .map(|via| via.map_err(Into::into))
    }

    /// The value of Via at an index; 0 is the topmost. To see all of them, iterate over [`Message::vias`].
    pub fn via(&self, index: usize) -> Result<Via<'a>, HeaderError> {
        match index {
            0 => self.identity.top_via,
            _ => self.vias().nth(index).unwrap_or(Err(HeaderError::Missing(HeaderId::Via))),
        }
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'a>, HeaderError> {
        self.identity.from
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'a>, HeaderError> {
        self.identity.to
    }

    /// The one address of the first line of this identity.
    pub fn address(&self, id: HeaderId) -> Result<NameAddr<'a>, HeaderError> {
        match id {
            HeaderId::From => self.identity.from,
            HeaderId::To => self.identity.to,
            _ => self.read_address(id),
        }
    }

    fn read_address(&self, id: HeaderId) -> Result<NameAddr<'a>, HeaderError> {
        let value = self.value_of(id).ok_or(HeaderError::Missing(id))?;
        NameAddr::parse(value).map_err(|error| HeaderError::from_address(id, error))
    }

    /// All addresses of this identity (Contact, Route, Record-Route …), over all lines.
    pub fn addresses<'m>(
        &'m self,
        id: HeaderId,
    ) -> impl Iterator<Item = Result<NameAddr<'a>, HeaderError>> + use<'m, 'a> {
        self.headers_of(id)
            .flat_map(|header| NameAddrs::new(header.value))
            .map(move |address| address.map_err(|error| HeaderError::from_address(id, error)))
    }

    /// Call-ID; never empty.
    pub fn call_id(&self) -> Result<&'a [u8], HeaderError> {
        let value = self.value_of(HeaderId::CallId).ok_or(HeaderError::Missing(HeaderId::CallId))?;
        if value.is_empty() {
            return Err(HeaderError::Malformed(HeaderId::CallId, "it is empty"));
        }
        Ok(value)
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq<'a>, HeaderError> {
        self.identity.cseq
    }

    fn read_cseq(&self) -> Result<CSeq<'a>, HeaderError> {
        let value = self.value_of(HeaderId::CSeq).ok_or(HeaderError::Missing(HeaderId::CSeq))?;
        CSeq::parse(value).ok_or(HeaderError::Malformed(HeaderId::CSeq, "it is not a number and a method"))
    }

    /// Content-Length; several lines must agree, or two readers would cut the stream differently.
    pub fn content_length(&self) -> Result<Option<u32>, HeaderError> {
        let mut agreed = None;
        for header in self.headers_of(HeaderId::ContentLength) {
            let number = parse_number(&header)?;
            if agreed.is_some_and(|first| first != number) {
                return Err(HeaderError::Duplicate(HeaderId::ContentLength));
            }
            agreed = Some(number);
        }
        Ok(agreed)
    }

    /// Max-Forwards as written; RFC 3261 20.22 allows up to 255.
    pub fn max_forwards(&self) -> Result<Option<u32>, HeaderError> {
        self.number(HeaderId::MaxForwards)
    }

    /// The number that is the whole value of the first line of this identity, such as Expires.
    pub fn number(&self, id: HeaderId) -> Result<Option<u32>, HeaderError> {
        self.header(id).map(|header| parse_number(&header)).transpose()
    }

    /// The fields without which no message can be processed (RFC 3261 8.1.1), each readable and there once.
    ///
    /// The error names the first that is not. A message with an error may still be owed an answer: see
    /// [`super::validate`].
    pub fn require_mandatory(&self) -> Result<Mandatory<'a>, HeaderError> {
        let mandatory = Mandatory {
            via: self.via_of_sip_2()?,
            from: self.from()?,
            to: self.to()?,
            call_id: self.call_id()?,
            cseq: self.cseq()?,
        };
        for id in [HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq] {
            if self.headers_of(id).nth(1).is_some() {
                return Err(HeaderError::Duplicate(id));
            }
        }
        Ok(mandatory)
    }

    fn via_of_sip_2(&self) -> Result<Via<'a>, HeaderError> {
        let via = self.via(0)?;
        if via.is_of_sip_2() { Ok(via) } else { Err(ViaError::Protocol.into()) }
    }

    #[inline]
    fn header_at(&self, position: usize) -> Header<'a> {
        let entry = self.index.entry(position);
        let start = entry.offset as usize;
        let next = position + 1;
        let end =
            if next < self.index.len() { self.index.entry(next).offset as usize } else { self.headers_end };
        let line = &self.bytes[start..end];
        Header {
            id: entry.id,
            name: &line[..usize::from(entry.name_size)],
            value: &line[usize::from(entry.value_start)..usize::from(entry.value_end)],
            line,
        }
    }
}

/// The fields every message must have, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mandatory<'a> {
    /// The topmost Via.
    pub via: Via<'a>,
    /// From.
    pub from: NameAddr<'a>,
    /// To.
    pub to: NameAddr<'a>,
    /// Call-ID.
    pub call_id: &'a [u8],
    /// CSeq.
    pub cseq: CSeq<'a>,
}

impl<'a> Header<'a> {}

/// What is known of a message before its header lines are read.
struct Start<'a> {
    /// From the start line on.
    bytes: &'a [u8],
    leading_size: usize,
    line: StartLine<'a>,
    headers_start: usize,
}

fn read_start<'a>(received: &'a [u8], limits: &Limits) -> Result<Start<'a>, ParseError> {
    let leading_size = leading_size(received);
    let bytes = &received[leading_size..];
    let fail = |kind, at| ParseError { kind, offset: leading_size + at };
    if bytes.is_empty() {
        return Err(fail(ParseErrorKind::Empty, 0));
    }
    if bytes.len() > limits.message_size_max.min(u32::MAX as usize) {
        return Err(fail(ParseErrorKind::TooLarge, 0));
    }
    let line_end = find(bytes, *b"\n").ok_or(fail(ParseErrorKind::NoLineEnd, bytes.len()))?;
    let line = bytes[..line_end].strip_suffix(b"\r").unwrap_or(&bytes[..line_end]);
    let line = StartLine::parse(line).map_err(|error| fail(error.into(), 0))?;
    let headers_start = line_end + 1;
    if is_continuation(bytes, headers_start) {
        return Err(fail(ParseErrorKind::FoldedStartLine, headers_start));
    }
    Ok(Start { bytes, leading_size, line, headers_start })
}

/// RFC 3261 7.5: line ends before the start line are ignored; zeros and spaces are, too.
fn leading_size(received: &[u8]) -> usize {
    count_while(received, |byte| is_space(byte) || byte == 0)
}

fn parse_number(header: &Header<'_>) -> Result<u32, HeaderError> {
    decimal(header.value).ok_or(HeaderError::Malformed(header.id, "it is not a number below 2^32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:bob:pw@127.0.0.1:17060;transport=udp SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKb;rport, SIP/2.0/TCP first\r\n\
        Max-Forwards: 0068\r\n\
        From: \"Alice A\" <sip:alice@dom.com;p=1>;tag=1\r\n\
        t: \"Bob\" <sip:bob@dom.com>;tag=2\r\n\
        Contact: <sip:alice@127.0.0.1:17070>;expires=60, sip:b\r\n\
        i: c2\r\n\
        CSeq: 7 INVITE\r\n\
        X-Foo: one\r\n\
        v: SIP/2.0/TLS last\r\n\
        x-foo\t: two,\r\n  folded \r\n\
        Subject:\r\n\
        l: 4\r\n\
        \r\n\
        abcdEXTRA";

    fn text(part: Option<Header<'_>>) -> Option<String> {
        part.map(|header| String::from_utf8_lossy(header.value).into_owned())
    }

    #[test]
    fn typed_values_come_from_their_lines() {
        let message = Message::parse(INVITE).unwrap();
        let line = message.request_line().unwrap();
        assert_eq!((line.method, line.uri, line.fault), (Method::Invite, &INVITE[7..47], None));
        let hosts: Vec<_> = message.vias().map(|via| via.unwrap().host).collect();
        assert_eq!(hosts, [&b"127.0.0.1"[..], b"first", b"last"]);
        assert_eq!(message.via(2).unwrap().transport, b"TLS");
        assert_eq!(message.via(3), Err(HeaderError::Missing(HeaderId::Via)));
        assert_eq!(message.from().unwrap().display, Some(&b"\"Alice A\""[..]));
        assert_eq!(message.to().unwrap().tag(), Some(&b"2"[..]));
        assert_eq!(message.call_id(), Ok(&b"c2"[..]));
        assert_eq!(message.cseq().unwrap().number(), Some(7));
        assert_eq!(message.max_forwards(), Ok(Some(68)));
        assert_eq!(message.number(HeaderId::Expires), Ok(None));
        let contacts: Vec<_> =
            message.addresses(HeaderId::Contact).map(|contact| contact.unwrap().uri).collect();
        assert_eq!(contacts, [&b"sip:alice@127.0.0.1:17070"[..], b"sip:b"]);
        assert!(message.require_mandatory().is_ok());
        assert!(message.status().is_none());
    }

    #[test]
    fn names_match_in_any_form_and_are_counted_from_both_ends() {
        let message = Message::parse(INVITE).unwrap();
        let rows: &[(&[u8], i32, Option<&str>)] = &[
            (b"X-Foo", 0, Some("one")),
            (b"x-FOO", 1, Some("two,\r\n  folded")),
            (b"X-Foo", 2, None),
            (b"X-Foo ", -1, Some("two,\r\n  folded")),
            (b"X-Foo", -2, Some("one")),
            (b"X-Foo", -3, None),
            (b"X-Foo", i32::MIN, None),
            (b"To", 0, Some("\"Bob\" <sip:bob@dom.com>;tag=2")),
            (b"v", -1, Some("SIP/2.0/TLS last")),
            (b"Subject", 0, Some("")),
            (b"X-Fo", 0, None),
            (b"", 0, None),
        ];
        for (name, index, expected) in rows {
            let found = text(message.header_named(name, *index));
            assert_eq!(found.as_deref(), *expected, "{} {index}", name.escape_ascii());
        }
        assert_eq!(message.headers_named(b"via").count(), 2);
        assert_eq!(message.headers_of(HeaderId::Via).count(), 2);
        assert_eq!(message.header(HeaderId::Route), None);
        let folded = message.header_named(b"x-foo", -1).unwrap();
        assert_eq!((folded.name, folded.line), (&b"x-foo"[..], &b"x-foo\t: two,\r\n  folded \r\n"[..]));
    }

    #[test]
    fn lines_cover_the_header_part_without_gaps() {
        let message = Message::parse(INVITE).unwrap();
        let joined: Vec<u8> = message.headers().flat_map(|header| header.line.iter().copied()).collect();
        assert_eq!(joined, message.header_bytes());
        for header in message.headers() {
            let span = message.span_of(header.value).unwrap();
            assert_eq!(&message.bytes()[span], header.value);
        }
        assert_eq!(message.span_of(b"elsewhere"), None);
    }

    #[test]
    fn the_body_ends_where_content_length_says() {
        let rows: &[(&str, &str, &str)] = &[
            ("l: 4\r\n\r\nabcdEXTRA", "abcd", "EXTRA"),
            ("l: 9\r\n\r\nabcd", "abcd", ""),
            ("l: 0\r\n\r\nabcd", "", "abcd"),
            ("\r\nabcd", "abcd", ""),
            ("l: -1\r\n\r\nabcd", "abcd", ""),
            ("l: 1\r\nl: 2\r\n\r\nabcd", "abcd", ""),
            ("l: 2\r\nl: 02\r\n\r\nabcd", "ab", "cd"),
            ("l: 4\r\n", "", ""),
            ("l: 4", "", ""),
            ("l: 4\r\n\r", "", ""),
        ];
        for (rest, body, trailing) in rows {
            let bytes = format!("A b SIP/2.0\r\n{rest}");
            let message = Message::parse(bytes.as_bytes()).unwrap();
            assert_eq!(message.body(), body.as_bytes(), "{rest:?}");
            assert_eq!(message.trailing(), trailing.as_bytes(), "{rest:?}");
            assert_eq!([message.bytes(), message.trailing()].concat(), bytes.as_bytes());
        }
    }

    #[test]
    fn content_length_is_one_number_or_an_error() {
        let malformed = HeaderError::Malformed(HeaderId::ContentLength, "it is not a number below 2^32");
        let duplicate = HeaderError::Duplicate(HeaderId::ContentLength);
        let zeros = "0".repeat(200);
        let rows = [
            ("0", Ok(Some(0))),
            (zeros.as_str(), Ok(Some(0))),
            ("4294967295", Ok(Some(u32::MAX))),
            ("4294967296", Err(malformed)),
            ("18446744073709551620", Err(malformed)),
            ("-1", Err(malformed)),
            ("+0", Err(malformed)),
            ("0x10", Err(malformed)),
            ("", Err(malformed)),
            ("1 1", Err(malformed)),
            ("5\r\nContent-Length: 5", Ok(Some(5))),
            ("5\r\nContent-Length: 50", Err(duplicate)),
            ("5\r\nX: y\r\nl : 05", Ok(Some(5))),
        ];
        for (value, expected) in rows {
            let bytes = format!("A b SIP/2.0\r\nContent-Length: {value}\r\n\r\n");
            assert_eq!(Message::parse(bytes.as_bytes()).unwrap().content_length(), expected, "{value:?}");
        }
    }

    type Row = (&'static [u8], Option<(ParseErrorKind, usize)>);

    #[test]
    fn only_bytes_without_a_start_line_are_refused() {
        let rows: &[Row] = &[
            (b"", Some((ParseErrorKind::Empty, 0))),
            (b"\r\n\r\n\0 \t", Some((ParseErrorKind::Empty, 7))),
            (b"A b SIP/2.0", Some((ParseErrorKind::NoLineEnd, 11))),
            (b"A b SIP/2.0\rVia: x\r\r", Some((ParseErrorKind::NoLineEnd, 20))),
            (b"\r\nA b SIP/2.0\r\n folded\r\n", Some((ParseErrorKind::FoldedStartLine, 15))),
            (b"\r\njunk\r\n", Some((ParseErrorKind::Method, 2))),
            (b"A b C\r\n", Some((ParseErrorKind::Version, 0))),
            (b"A SIP/2.0\r\n", Some((ParseErrorKind::RequestUri, 0))),
            (b"SIP/2.0 4294967301 x\r\n", Some((ParseErrorKind::StatusCode, 0))),
            (b"A b SIP/2.0\n", None),
            (b"\0\0\r\n A b SIP/2.0\r\n", None),
        ];
        for (bytes, expected) in rows {
            let found = Message::parse(bytes).err().map(|error| (error.kind, error.offset));
            assert_eq!(found, *expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn limits_have_errors_of_their_own() {
        let limits =
            Limits { message_size_max: 80, header_count_max: 3, header_size_max: 20, via_count_max: 2 };
        let check = |headers: &str, expected: Option<ParseErrorKind>| {
            let bytes = format!("A b SIP/2.0\r\n{headers}\r\n");
            let found = Message::parse_within(bytes.as_bytes(), &limits, &Grammar::STRICT)
                .err()
                .map(|error| error.kind);
            assert_eq!(found, expected, "{headers:?}");
        };
        check("A: 1\r\nA: 1\r\nA: 1\r\n", None);
        check("A: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\n", Some(ParseErrorKind::TooManyHeaders));
        check("A: 345678901234567\r\n", None);
        check("A: 3456789012345678\r\n", Some(ParseErrorKind::HeaderTooLarge));
        check("A: 1\r\n 2\r\n 3\r\n 4\r\n 5\r\n", Some(ParseErrorKind::HeaderTooLarge));
        check("v: 1\r\nVia: 2\r\n", None);
        check("v: 1\r\nVia: 2\r\nv:3\r\n", Some(ParseErrorKind::TooManyVias));
        check(&"\r\n".repeat(40), Some(ParseErrorKind::TooLarge));
    }

    #[test]
    fn headers_beyond_the_inline_ones_are_found_as_well() {
        let mut bytes = b"A b SIP/2.0\r\n".to_vec();
        for number in 0..1000 {
            bytes.extend_from_slice(format!("X-{number}: {number}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"Call-ID: last\r\n\r\n");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.header_count(), 1001);
        assert_eq!(message.call_id(), Ok(&b"last"[..]));
        for number in [0, 63, 64, 65, 999] {
            let name = format!("x-{number}");
            assert_eq!(text(message.header_named(name.as_bytes(), 0)), Some(number.to_string()));
        }
    }

    #[test]
    fn missing_broken_and_repeated_fields_are_told_apart() {
        use HeaderError::{Duplicate, Malformed, Missing};
        let full = ["Via: SIP/2.0/UDP h", "From: <sip:a>", "To: <sip:b>", "Call-ID: c", "CSeq: 1 A"];
        let check = |lines: &[&str], expected: Result<(), HeaderError>| {
            let bytes = format!("A b SIP/2.0\r\n{}\r\n\r\n", lines.join("\r\n"));
            let found = Message::parse(bytes.as_bytes()).unwrap().require_mandatory().map(|_| ());
            assert_eq!(found, expected, "{lines:?}");
        };
        check(&full, Ok(()));
        let ids = [HeaderId::Via, HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq];
        for (index, id) in ids.into_iter().enumerate() {
            let mut lines = full.to_vec();
            lines.remove(index);
            check(&lines, Err(Missing(id)));
            let twice = [&full[..], &full[index..=index]].concat();
            check(&twice, if id == HeaderId::Via { Ok(()) } else { Err(Duplicate(id)) });
            let empty = format!("{}:", id.name());
            let mut lines = full.to_vec();
            lines[index] = &empty;
            let bytes = format!("A b SIP/2.0\r\n{}\r\n\r\n", lines.join("\r\n"));
            let found = Message::parse(bytes.as_bytes()).unwrap().require_mandatory();
            assert!(matches!(found, Err(Malformed(broken, _)) if broken == id), "{found:?}");
        }
    }

    #[test]
    fn lines_without_a_name_are_kept_and_told() {
        let broken = |line: &str| {
            let bytes = format!("A b SIP/2.0\r\nX: 1\r\n{line}\r\nY: 2\r\n\r\n");
            let message = Message::parse(bytes.as_bytes()).unwrap();
            assert_eq!(message.header_count(), 3);
            message.broken_line().map(|header| header.line == format!("{line}\r\n").as_bytes())
        };
        assert_eq!(broken("Fine: 1"), None);
        assert_eq!(broken("no colon here"), Some(true));
        assert_eq!(broken(": no name"), Some(true));
        assert_eq!(broken("two words: x"), Some(true));
        assert_eq!(broken("Fine \x01\t: 1"), None);
        assert_eq!(broken("\u{e4}: x"), Some(true));
    }
}
