//! Changes to a message, kept apart from it until it is written.
//!
//! [`Edits`] remembers spans of the original bytes and what stands there instead. The message itself stays as it was
//! received, so a reader of a header field after an edit still sees the old one until the message has been written and
//! parsed again. Cleared edits keep their memory: the next message costs no allocation.
//!
//! Most changes cannot break a message, whatever text they bring. Text that goes into the header part as it is
//! ([`Edits::replace`]) and another Content-Length can: what would come of them is looked at before they are taken, and
//! again when the message is written, since a later change may meet them.
//!
//! ```
//! use sworker::sip::{Edits, Message, write};
//!
//! let message = Message::parse(b"BYE sip:b SIP/2.0\r\nX: 1\r\n\r\n")?;
//! let mut edits = Edits::new();
//! edits.push_via(&message, b"SIP/2.0/UDP us;branch=z9hG4bK1")?;
//! edits.remove_named(&message, b"X");
//! let mut out = Vec::new();
//! write::message(&message, &edits, &mut out)?;
//! assert_eq!(out, b"BYE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\r\n\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::header::HeaderId;
use super::message::{Header, HeaderError, Message};
use super::octets::{is_space, is_token};
use super::via::{Via, ViaStamp};
use super::write::{self, append_header, append_lines, append_stamped_via, append_whole_lines};
use std::fmt;
use std::ops::Range;

/// What to change when a message is written.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// Ordered by offset; at one offset insertions before the one removal or replacement.
    changes: Vec<Splice>,
    /// The new texts, one after the other.
    texts: Vec<u8>,
    request_uri: Option<Range<usize>>,
    pub(super) body: BodyEdit,
    /// Whether a script wrote lines or parts of them, so that what comes of it has to be looked at.
    is_suspect: bool,
}

/// One place where something else stands in the written message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Splice {
    /// Where, in [`Message::bytes`].
    pub at: usize,
    /// How many bytes are left out.
    pub removed: usize,
    /// What stands there instead, as a part of the texts.
    text: Range<usize>,
}

/// What becomes of the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyEdit {
    #[default]
    Keep,
    /// The body stays or has changes inside; Content-Length is rewritten.
    Recount,
    /// Another body, as a part of the texts.
    Replace(Range<usize>),
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditError {
    /// The span is not inside the message, or runs across the end of the header lines.
    Span,
    /// The header line is not one of this message.
    ForeignHeader,
    /// The name is no token.
    Name,
    /// The text would end its line and start another.
    LineEnd,
    /// A receiver could read another message than was meant; with the reason.
    Ambiguous(&'static str),
    /// A response has no Request-URI.
    NotARequest,
    /// The topmost Via is missing or cannot be read.
    Via(HeaderError),
}

impl Edits {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all changes and keeps the memory.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.texts.clear();
        self.request_uri = None;
        self.body = BodyEdit::Keep;
        self.is_suspect = false;
    }

    /// Whether the message would be written as it was received.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.body == BodyEdit::Keep
    }

    /// Sets the Request-URI; the last one set counts.
    pub fn set_request_uri(&mut self, message: &Message<'_>, uri: &[u8]) -> Result<(), EditError> {
        let line = message.request_line().ok_or(EditError::NotARequest)?;
        if uri.is_empty() || uri.iter().any(|&byte| is_space(byte) || byte == 0) {
            return Err(EditError::LineEnd);
        }
        let span = message.span_of(line.uri).ok_or(EditError::Span)?;
        let text = self.keep_text(|texts| texts.extend_from_slice(uri));
        self.request_uri = Some(text.clone());
        self.put(span, text);
        Ok(())
    }

    /// The Request-URI that has been set; `None` while it is that of the message.
    pub fn request_uri(&self) -> Option<&[u8]> {
        self.request_uri.clone().map(|text| &self.texts[text])
    }

    /// Adds a header field after all others.
    pub fn add_last(&mut self, message: &Message<'_>, name: &[u8], value: &[u8]) -> Result<(), EditError> {
        self.add_header(message, message.headers_end(), name, value)
    }

    fn add_header(
        &mut self,
        message: &Message<'_>,
        at: usize,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), EditError> {
        check_header(name, value)?;
        if HeaderId::from_name(name) == HeaderId::ContentLength {
            return self.attempt(message, |edits| {
                edits.insert_header(at, name, value);
                Ok(())
            });
        }
        self.insert_header(at, name, value);
        Ok(())
    }

    fn insert_header(&mut self, at: usize, name: &[u8], value: &[u8]) {
        let text = self.keep_text(|texts| append_header(texts, name, value));
        self.insert(at, text);
    }

    /// Adds whole header lines, as a script wrote them, before all others.
    ///
    /// Empty lines are left out and line ends made whole, so that the text cannot end the header lines.
    pub fn add_lines_first(&mut self, message: &Message<'_>, lines: &[u8]) {
        self.add_lines(message.headers_start(), lines);
    }

    /// Adds whole header lines, as a script wrote them, after all others.
    pub fn add_lines_last(&mut self, message: &Message<'_>, lines: &[u8]) {
        self.add_lines(message.headers_end(), lines);
    }

    /// Adds whole header lines before a header line of the message.
    pub fn add_lines_before(
        &mut self,
        message: &Message<'_>,
        header: &Header<'_>,
        lines: &[u8],
    ) -> Result<(), EditError> {
        let span = line_span(message, header)?;
        self.add_lines(span.start, lines);
        Ok(())
    }

    /// Adds whole header lines after a header line of the message.
    pub fn add_lines_after(
        &mut self,
        message: &Message<'_>,
        header: &Header<'_>,
        lines: &[u8],
    ) -> Result<(), EditError> {
        let span = line_span(message, header)?;
        self.add_lines(span.end, lines);
        Ok(())
    }

    fn add_lines(&mut self, at: usize, lines: &[u8]) {
        let text = self.keep_text(|texts| append_lines(texts, lines));
        self.insert(at, text);
        self.is_suspect = true;
    }

    /// Removes one header line, and every change inside it.
    pub fn remove(&mut self, message: &Message<'_>, header: &Header<'_>) -> Result<(), EditError> {
        let span = line_span(message, header)?;
        self.put(span, 0..0);
        Ok(())
    }

    /// Removes all header lines of a name, long or compact, in any case; says how many.
    pub fn remove_named(&mut self, message: &Message<'_>, name: &[u8]) -> usize {
        message.headers_named(name).filter(|header| self.remove(message, header).is_ok()).count()
    }

    /// Puts another value into a header line; its name stays as written.
    pub fn set_value(
        &mut self,
        message: &Message<'_>,
        header: &Header<'_>,
        value: &[u8],
    ) -> Result<(), EditError> {
        check_value(value)?;
        // A line without a name is all value: an empty one in its place would end the header lines.
        if header.name.is_empty() {
            return Err(EditError::Name);
        }
        line_span(message, header)?;
        let span = message.span_of(header.value).ok_or(EditError::ForeignHeader)?;
        if header.id == HeaderId::ContentLength {
            return self.replace(message, span, value);
        }
        let text = self.keep_text(|texts| append_whole_lines(texts, value));
        self.put(span, text);
        Ok(())
    }

    /// Replaces a span of [`Message::bytes`]; of two equal spans the last counts.
    ///
    /// The text is taken as it is, unless others would read the message it makes as another one. A change in the body
    /// makes Content-Length be rewritten.
    pub fn replace(
        &mut self,
        message: &Message<'_>,
        span: Range<usize>,
        text: &[u8],
    ) -> Result<(), EditError> {
        self.replace_each(message, [(span, text)])
    }

    /// Replaces several spans, as [`Edits::replace`] does one: all of them or, with an error, none.
    pub fn replace_each<T: AsRef<[u8]>>(
        &mut self,
        message: &Message<'_>,
        pieces: impl IntoIterator<Item = (Range<usize>, T)>,
    ) -> Result<(), EditError> {
        self.attempt(message, |edits| {
            pieces
                .into_iter()
                .try_for_each(|(span, text)| edits.replace_unchecked(message, span, text.as_ref()))
        })
    }

    /// Makes changes, looks at what would be written, and takes them back where it must not be.
    fn attempt(
        &mut self,
        message: &Message<'_>,
        change: impl FnOnce(&mut Self) -> Result<(), EditError>,
    ) -> Result<(), EditError> {
        let before = self.clone();
        self.is_suspect = true;
        let changed = change(self).and_then(|()| write::message(message, self, &mut Vec::new()));
        if changed.is_err() {
            *self = before;
        }
        changed
    }

    fn replace_unchecked(
        &mut self,
        message: &Message<'_>,
        span: Range<usize>,
        text: &[u8],
    ) -> Result<(), EditError> {
        let in_head = span.end <= message.headers_end();
        let in_body = span.start >= message.body_start() && span.end <= message.bytes().len();
        if span.start > span.end || !(in_head || in_body) {
            return Err(EditError::Span);
        }
        if !in_head {
            self.recount(message);
        }
        let text = self.keep_text(|texts| texts.extend_from_slice(text));
        self.put(span, text);
        Ok(())
    }

    /// Puts a Via on top of all header lines.
    pub fn push_via(&mut self, message: &Message<'_>, value: &[u8]) -> Result<(), EditError> {
        check_value(value)?;
        let text = self.keep_text(|texts| append_header(texts, b"Via", value));
        let at = message.headers_start();
        let position = self.changes.partition_point(|change| change.at < at);
        self.changes.insert(position, Splice { at, removed: 0, text });
        Ok(())
    }

    /// Removes the topmost Via value of the message: its line, or its part of a line that has more of them.
    pub fn remove_top_via(&mut self, message: &Message<'_>) -> Result<(), EditError> {
        let (header, via, rest) = top_via(message)?;
        if rest.is_empty() {
            return self.remove(message, &header);
        }
        let start = message.span_of(via.raw).ok_or(EditError::Span)?.start;
        let end = message.span_of(rest).ok_or(EditError::Span)?.start;
        self.put(start..end, 0..0);
        Ok(())
    }

    /// Notes where the message came from on its topmost Via (RFC 3261 18.2.1, RFC 3581 4).
    pub fn stamp_top_via(&mut self, message: &Message<'_>, stamp: ViaStamp) -> Result<(), EditError> {
        let (_, via, _) = top_via(message)?;
        self.stamp_via(message, &via, stamp)
    }

    /// The same on one of its other Vias.
    pub fn stamp_via(
        &mut self,
        message: &Message<'_>,
        via: &Via<'_>,
        stamp: ViaStamp,
    ) -> Result<(), EditError> {
        if stamp.is_empty() {
            return Ok(());
        }
        let span = message.span_of(via.raw).ok_or(EditError::Span)?;
        let text = self.keep_text(|texts| append_stamped_via(texts, via, stamp));
        self.put(span, text);
        Ok(())
    }

    /// Replaces the body, and its type unless `None`; Content-Length is rewritten.
    pub fn set_body(
        &mut self,
        message: &Message<'_>,
        content_type: Option<&[u8]>,
        body: &[u8],
    ) -> Result<(), EditError> {
        if let Some(content_type) = content_type {
            check_value(content_type)?;
            self.remove_named(message, b"Content-Type");
            self.add_last(message, b"Content-Type", content_type)?;
        }
        self.recount(message);
        let text = self.keep_text(|texts| texts.extend_from_slice(body));
        self.body = BodyEdit::Replace(text);
        Ok(())
    }

    /// Removes the body and its type.
    pub fn remove_body(&mut self, message: &Message<'_>) {
        self.remove_named(message, b"Content-Type");
        self.recount(message);
        self.body = BodyEdit::Replace(0..0);
    }

    /// Whether what is written has to be looked at.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    pub(super) fn changes(&self) -> &[Splice] {
        &self.changes
    }

    pub(super) fn text(&self, range: &Range<usize>) -> &[u8] {
        &self.texts[range.clone()]
    }

    /// Has Content-Length rewritten in place of what the message says.
    fn recount(&mut self, message: &Message<'_>) {
        if self.body == BodyEdit::Keep {
            self.remove_named(message, b"Content-Length");
            self.body = BodyEdit::Recount;
        }
    }

    fn keep_text(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.texts.len();
        append(&mut self.texts);
        start..self.texts.len()
    }

    /// Inserts after what was inserted at the same place, and before what is removed there.
    fn insert(&mut self, at: usize, text: Range<usize>) {
        let position =
            self.changes.partition_point(|change| change.at < at || (change.at == at && change.removed == 0));
        self.changes.insert(position, Splice { at, removed: 0, text });
    }

    /// Removes or replaces a span. At one offset the longer removal holds; of equal ones the later.
    fn put(&mut self, span: Range<usize>, text: Range<usize>) {
        let (at, removed) = (span.start, span.len());
        if removed == 0 {
            return self.insert(at, text);
        }
        let position = self.changes.partition_point(|change| change.at <= at);
        let change = Splice { at, removed, text };
        match position.checked_sub(1).map(|last| &mut self.changes[last]) {
            Some(last) if last.at == at && last.removed > 0 => {
                if last.removed <= removed {
                    *last = change;
                }
            }
            _ => self.changes.insert(position, change),
        }
    }
}

impl Splice {
    pub(super) fn text<'e>(&self, edits: &'e Edits) -> &'e [u8] {
        &edits.texts[self.text.clone()]
    }
}

/// The line of the topmost Via, its first value, and what follows that value's comma.
fn top_via<'a>(message: &Message<'a>) -> Result<(Header<'a>, Via<'a>, &'a [u8]), EditError> {
    let header = message.header(HeaderId::Via).ok_or(EditError::Via(HeaderError::Missing(HeaderId::Via)))?;
    let (via, rest) = Via::parse_first(header.value).map_err(|error| EditError::Via(error.into()))?;
    Ok((header, via, super::octets::trim(rest)))
}

fn line_span(message: &Message<'_>, header: &Header<'_>) -> Result<Range<usize>, EditError> {
    let span = message.span_of(header.line).ok_or(EditError::ForeignHeader)?;
    let inside = span.start >= message.headers_start() && span.end <= message.headers_end();
    if inside { Ok(span) } else { Err(EditError::ForeignHeader) }
}

fn check_header(name: &[u8], value: &[u8]) -> Result<(), EditError> {
    if is_token(name) { check_value(value) } else { Err(EditError::Name) }
}

/// A value may be folded, but neither go on in a line of its own nor have a line of white space alone, which some
/// take for the end of the header lines.
fn check_value(value: &[u8]) -> Result<(), EditError> {
    let ends_line = |at: usize| match (value[at], value.get(at + 1)) {
        (b'\r', next) => next != Some(&b'\n'),
        (_, next) => !matches!(next, Some(b' ' | b'\t')),
    };
    let is_blank = |line: &[u8]| line.iter().all(|&byte| is_space(byte));
    let is_broken = memchr::memchr2_iter(b'\r', b'\n', value).any(ends_line)
        || value.split(|&byte| byte == b'\n').skip(1).any(is_blank);
    if is_broken { Err(EditError::LineEnd) } else { Ok(()) }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::Span => f.write_str("span is not inside the header lines or the body"),
            EditError::ForeignHeader => f.write_str("header line is not one of this message"),
            EditError::Name => f.write_str("header name is not a token"),
            EditError::LineEnd => f.write_str("text is empty or would end its line"),
            EditError::Ambiguous(reason) => f.write_str(reason),
            EditError::NotARequest => f.write_str("a response has no request-uri"),
            EditError::Via(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EditError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::write;

    const REQUEST: &str = "BYE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;rport, SIP/2.0/UDP g\r\nA: 1\r\nB: 2\r\na: 3\r\nl: 4\r\n\r\nbody";

    /// Makes edits, writes the message and shows its lines joined by `|`.
    fn edited(text: &str, edit: impl FnOnce(&mut Edits, &Message<'_>)) -> String {
        let message = Message::parse(text.as_bytes()).unwrap();
        let mut edits = Edits::new();
        edit(&mut edits, &message);
        let mut out = Vec::new();
        write::message(&message, &edits, &mut out).unwrap();
        String::from_utf8_lossy(&out).replace("\r\n", "|")
    }

    fn check(edit: impl FnOnce(&mut Edits, &Message<'_>), expected: &str) {
        assert_eq!(edited(REQUEST, edit), expected);
    }

    fn stamp() -> ViaStamp {
        ViaStamp { received: "192.0.2.9".parse().ok(), rport: Some(7), overload: None }
    }

    #[test]
    fn nothing_changes_without_edits() {
        assert_eq!(edited(REQUEST, |_, _| {}), REQUEST.replace("\r\n", "|"));
        check(
            |edits, message| {
                edits.add_last(message, b"X", b"1").unwrap();
                edits.clear();
                assert!(edits.is_empty());
            },
            &REQUEST.replace("\r\n", "|"),
        );
    }

    #[test]
    fn a_proxy_changes_its_request() {
        check(
            |edits, message| {
                edits.add_lines_first(message, b"Record-Route: <sip:us;lr>\r\n");
                edits.set_request_uri(message, b"sip:first").unwrap();
                edits.set_request_uri(message, b"sip:second").unwrap();
                edits.stamp_top_via(message, stamp()).unwrap();
                edits.push_via(message, b"SIP/2.0/UDP us;branch=z9hG4bK1").unwrap();
                edits.add_last(message, b"X", b"1").unwrap();
                assert_eq!(edits.request_uri(), Some(&b"sip:second"[..]));
            },
            "BYE sip:second SIP/2.0|Via: SIP/2.0/UDP us;branch=z9hG4bK1|Record-Route: <sip:us;lr>|\
             Via: SIP/2.0/UDP h;rport=7;received=192.0.2.9, SIP/2.0/UDP g|A: 1|B: 2|a: 3|l: 4|X: 1||body",
        );
    }

    #[test]
    fn the_topmost_via_goes_alone() {
        let expected = "BYE sip:b SIP/2.0|Via: SIP/2.0/UDP g|A: 1|B: 2|a: 3|l: 4||body";
        check(|edits, message| edits.remove_top_via(message).unwrap(), expected);
        let stamped_first = |edits: &mut Edits, message: &Message<'_>| {
            edits.stamp_top_via(message, stamp()).unwrap();
            edits.remove_top_via(message).unwrap();
        };
        check(stamped_first, expected);
        let removed_first = |edits: &mut Edits, message: &Message<'_>| {
            edits.remove_top_via(message).unwrap();
            edits.stamp_top_via(message, stamp()).unwrap();
        };
        check(removed_first, expected);
        let alone =
            edited("A b SIP/2.0\r\nv: SIP/2.0/UDP h\r\nVia: SIP/2.0/UDP g\r\n\r\n", |edits, message| {
                edits.remove_top_via(message).unwrap();
            });
        assert_eq!(alone, "A b SIP/2.0|Via: SIP/2.0/UDP g||");
    }

    #[test]
    fn header_lines_come_and_go() {
        check(
            |edits, message| {
                assert_eq!(edits.remove_named(message, b"A"), 2);
                assert_eq!(edits.remove_named(message, b"A"), 2);
                let b = message.header_named(b"B", 0).unwrap();
                edits.add_lines_before(message, &b, b"C: 1\r\n").unwrap();
                edits.add_lines_after(message, &b, b"D: 1\r\nE: 2").unwrap();
                edits.set_value(message, &b, b"new").unwrap();
            },
            "BYE sip:b SIP/2.0|Via: SIP/2.0/UDP h;rport, SIP/2.0/UDP g|C: 1|B: new|D: 1|E: 2|l: 4||body",
        );
    }

    #[test]
    fn another_body_brings_its_length() {
        check(
            |edits, message| {
                edits.set_body(message, Some(b"text/plain"), b"one").unwrap();
                edits.set_body(message, None, b"seven..").unwrap();
                edits.remove_named(message, b"Via");
                edits.remove_named(message, b"A");
            },
            "BYE sip:b SIP/2.0|B: 2|Content-Type: text/plain|Content-Length: 7||seven..",
        );
        check(
            |edits, message| {
                let start = message.body_start();
                edits.replace(message, start + 1..start + 3, b"LONGER").unwrap();
                edits.remove_named(message, b"Via");
            },
            "BYE sip:b SIP/2.0|A: 1|B: 2|a: 3|Content-Length: 8||bLONGERy",
        );
        check(
            |edits, message| {
                edits.remove_body(message);
                edits.remove_named(message, b"Via");
            },
            "BYE sip:b SIP/2.0|A: 1|B: 2|a: 3|Content-Length: 0||",
        );
    }

    #[test]
    fn a_value_is_set_in_its_line_where_there_was_none() {
        for line in ["A:\r\n", "A: \r\n", "A :\t\r\n \r\n"] {
            let text = format!("A b SIP/2.0\r\n{line}B: 2\r\n\r\n");
            let written = edited(&text, |edits, message| {
                let header = message.header_named(b"A", 0).unwrap();
                edits.set_value(message, &header, b"1").unwrap();
            });
            let written = written.replace('|', "\r\n");
            let message = Message::parse(written.as_bytes()).unwrap();
            assert_eq!(message.header_count(), 2, "{written}");
            assert_eq!(message.header_named(b"A", 0).unwrap().value, b"1", "{written}");
        }
    }

    #[test]
    fn cut_messages_are_completed_when_they_are_changed() {
        let add = |text: &str| edited(text, |edits, message| edits.add_last(message, b"X", b"1").unwrap());
        assert_eq!(add("A b SIP/2.0\r\nB: 1"), "A b SIP/2.0|B: 1|X: 1||");
        assert_eq!(add("A b SIP/2.0\r\nB: 1\r"), "A b SIP/2.0|B: 1|X: 1||");
        assert_eq!(add("A b SIP/2.0\r\nB: 1\r\n"), "A b SIP/2.0|B: 1|X: 1||");
        assert_eq!(add("A b SIP/2.0\r\n"), "A b SIP/2.0|X: 1||");
    }

    #[test]
    fn changes_that_would_break_the_message_are_refused() {
        let message = Message::parse(REQUEST.as_bytes()).unwrap();
        let mut edits = Edits::new();
        let foreign = Message::parse(b"A b SIP/2.0\r\nB: 1\r\n\r\n").unwrap();
        let header = foreign.headers().next().unwrap();
        let (end, body) = (message.headers_end(), message.body_start());
        let rows = [
            (edits.add_last(&message, b"X", b"1\r\nY: 2"), EditError::LineEnd),
            (edits.add_last(&message, b"X", b"1\rY"), EditError::LineEnd),
            (edits.add_last(&message, b"X", b"1\n"), EditError::LineEnd),
            (edits.add_last(&message, b"X Y", b"1"), EditError::Name),
            (edits.add_last(&message, b"", b"1"), EditError::Name),
            (edits.push_via(&message, b"a\r\n\r\nb"), EditError::LineEnd),
            (edits.set_request_uri(&message, b"sip:b SIP/2.0\r\nX: y"), EditError::LineEnd),
            (edits.set_request_uri(&message, b""), EditError::LineEnd),
            (edits.remove(&message, &header), EditError::ForeignHeader),
            (edits.replace(&message, end..body, b""), EditError::Span),
            (edits.replace(&message, 0..REQUEST.len() + 1, b""), EditError::Span),
            (edits.remove_top_via(&foreign), EditError::Via(HeaderError::Missing(HeaderId::Via))),
        ];
        for (result, expected) in rows {
            assert_eq!(result, Err(expected));
        }
        assert!(edits.is_empty());
        let lines = |lines: &[u8]| {
            edited("A b SIP/2.0\r\n\r\n", |edits, message| edits.add_lines_first(message, lines))
        };
        assert_eq!(lines(b"X: 1\rY: 2\r\r\n"), "A b SIP/2.0|X: 1 Y: 2 ||");
        assert_eq!(lines(b" X: 1\r\n\r\nY: 2\r\n more\r\n"), "A b SIP/2.0|X: 1|Y: 2| more||");
    }
}
