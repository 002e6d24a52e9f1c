//! Messages out: a received message with its edits, or a response made from a request (RFC 3261 8.2.6).
//!
//! Everything is appended to a buffer of the caller, which can reuse it for the next message.

use super::ambiguity;
use super::edit::{BodyEdit, EditError, Edits, Splice};
use super::header::HeaderId;
use super::message::{Header, HeaderError, Message};
use super::octets::{trim, trim_end, trim_start};
use super::overload::Overload;
use super::status::Status;
use super::via::{Via, ViaStamp};
use std::io::Write;
use std::net::IpAddr;
use std::ops::Range;

/// Appends a message as its edits make it; without edits byte for byte as it was received.
///
/// Edits belong to the message they were made for. Nothing is appended where they make a message that others would
/// read as another one.
pub fn message(message: &Message<'_>, edits: &Edits, out: &mut Vec<u8>) -> Result<(), EditError> {
    if edits.is_empty() {
        out.extend_from_slice(message.bytes());
        return Ok(());
    }
    let start = out.len();
    let headers_end = append_edited(message, edits, out);
    if !edits.is_suspect() {
        return Ok(());
    }
    let checked = ambiguity::check(message, &out[start..], headers_end - start);
    if checked.is_err() {
        out.truncate(start);
    }
    checked
}

/// Appends an edited message; says where its header lines end in the output.
fn append_edited(message: &Message<'_>, edits: &Edits, out: &mut Vec<u8>) -> usize {
    let bytes = message.bytes();
    let (head, tail) =
        edits.changes().split_at(edits.changes().partition_point(|c| c.at < message.headers_end()));
    let (added, inside_body) = tail.split_at(tail.partition_point(|c| c.at == message.headers_end()));
    splice(bytes, 0..message.headers_end(), head, edits, |piece| out.extend_from_slice(piece));
    end_line(out);
    added.iter().for_each(|change| out.extend_from_slice(change.text(edits)));
    let content = message.body_start()..bytes.len();
    match &edits.body {
        BodyEdit::Replace(text) => append_content_length(out, edits.text(text).len()),
        BodyEdit::Recount => {
            let mut size = 0;
            splice(bytes, content.clone(), inside_body, edits, |piece| size += piece.len());
            append_content_length(out, size);
        }
        BodyEdit::Keep => {}
    }
    let headers_end = out.len();
    out.extend_from_slice(b"\r\n");
    match &edits.body {
        BodyEdit::Replace(text) => out.extend_from_slice(edits.text(text)),
        _ => splice(bytes, content, inside_body, edits, |piece| out.extend_from_slice(piece)),
    }
    headers_end
}

/// A response that a request is answered with.
#[derive(Clone, Copy, Debug)]
pub struct Response<'r> {
    /// The status code.
    pub status: Status,
    /// The reason phrase; line ends in it become spaces.
    pub reason: &'r [u8],
    /// What is put on To where it has no tag. A 100 goes without (RFC 3261 8.2.6.2).
    pub to_tag: Option<&'r [u8]>,
    /// What is put on the topmost Via.
    pub via_stamp: ViaStamp,
    /// Further header lines, each with its line end; empty lines are left out.
    pub header_lines: &'r [u8],
    /// The body; its Content-Type belongs into the header lines.
    pub body: &'r [u8],
}

impl<'r> Response<'r> {
    /// A response with the default reason phrase and nothing else.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            reason: status.reason().as_bytes(),
            to_tag: None,
            via_stamp: ViaStamp::default(),
            header_lines: b"",
            body: b"",
        }
    }
}

/// Appends the response to a request.
///
/// All Via, From, To, Call-ID and CSeq are copied in the order of the request (RFC 3261 8.2.6.2), each of the last four
/// once; Record-Route where the response may set up a dialog (12.1.1), Timestamp into a 100 (8.2.6.1). What a broken
/// request lacks, the response lacks, too; only without any Via it cannot be sent.
pub fn response(
    request: &Message<'_>,
    response: &Response<'_>,
    out: &mut Vec<u8>,
) -> Result<(), HeaderError> {
    if request.header(HeaderId::Via).is_none() {
        return Err(HeaderError::Missing(HeaderId::Via));
    }
    append_status_line(out, request, response);
    let mut copied = Copied::default();
    for header in request.headers() {
        let first = copied.note(header.id);
        match header.id {
            HeaderId::Via if first => append_top_via(out, request, &header, response.via_stamp),
            HeaderId::Via => append_copy(out, &header),
            HeaderId::To if first => append_to(out, request, &header, response),
            HeaderId::From | HeaderId::CallId | HeaderId::CSeq if first => append_copy(out, &header),
            HeaderId::RecordRoute if copies_record_route(request, response.status) => {
                append_copy(out, &header)
            }
            HeaderId::Timestamp if first && response.status == Status::TRYING => append_copy(out, &header),
            _ => {}
        }
    }
    append_lines(out, response.header_lines);
    append_content_length(out, response.body.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(response.body);
    Ok(())
}

/// Which fields have been met.
#[derive(Default)]
struct Copied(u128);

impl Copied {
    /// Notes a field; says whether it is the first of its kind.
    fn note(&mut self, id: HeaderId) -> bool {
        let bit = 1 << (id as u8);
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }
}

/// RFC 3261 12.1.1: responses that set up a dialog tell its route.
fn copies_record_route(request: &Message<'_>, status: Status) -> bool {
    let sets_up = matches!(status.code(), 101..=299);
    sets_up && request.request_line().is_some_and(|line| line.method.creates_dialog())
}

fn append_status_line(out: &mut Vec<u8>, request: &Message<'_>, response: &Response<'_>) {
    // The version as the sender writes it; a sender of another version gets ours.
    let version = Some(request.version()).filter(|version| version.eq_ignore_ascii_case(b"SIP/2.0"));
    out.extend_from_slice(version.unwrap_or(b"SIP/2.0"));
    out.push(b' ');
    append_number(out, response.status.code().into());
    out.push(b' ');
    out.extend(response.reason.iter().map(|&byte| if byte < b' ' { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

fn append_top_via(out: &mut Vec<u8>, request: &Message<'_>, header: &Header<'_>, stamp: ViaStamp) {
    let (Ok(via), false) = (request.via(0), stamp.is_empty()) else {
        return append_copy(out, header);
    };
    let Some(start) = offset_in(header.line, via.raw) else { return append_copy(out, header) };
    append_whole_lines(out, &header.line[..start]);
    append_stamped_via(out, &via, stamp);
    append_whole_lines(out, trim_end(&header.line[start + via.raw.len()..]));
    out.extend_from_slice(b"\r\n");
}

fn append_to(out: &mut Vec<u8>, request: &Message<'_>, header: &Header<'_>, response: &Response<'_>) {
    let to_tag = response.to_tag.filter(|_| response.status != Status::TRYING);
    let parsed = request.to().ok();
    let (Some(tag), false) = (to_tag, parsed.is_some_and(|to| to.tag().is_some())) else {
        return append_copy(out, header);
    };
    // An empty tag gives way, or the response would carry two of them.
    let empty = parsed.and_then(|to| to.params.find(b"tag"));
    let place = empty.and_then(|param| Some((offset_in(header.line, param.raw)?, param.raw.len())));
    let line = trim_end(header.line);
    let (before, after, lead) = match place {
        Some((start, size)) => (&line[..start], &line[start + size..], &b"tag="[..]),
        None => (line, &b""[..], &b";tag="[..]),
    };
    append_whole_lines(out, before);
    out.extend_from_slice(lead);
    out.extend_from_slice(tag);
    append_whole_lines(out, after);
    out.extend_from_slice(b"\r\n");
}

/// Appends a header line as it was received; only its line ends are made CR LF.
fn append_copy(out: &mut Vec<u8>, header: &Header<'_>) {
    append_whole_lines(out, trim_end(header.line));
    out.extend_from_slice(b"\r\n");
}

/// Appends text with every line end made CR LF.
pub(super) fn append_whole_lines(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        out.extend_from_slice(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]));
        out.extend_from_slice(b"\r\n");
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends header lines as a script wrote them: empty lines left out, line ends made whole.
///
/// So no value that found its way into a line can end the header lines and start a body. A first line that starts
/// with white space would continue the line before it, so that white space goes.
pub(super) fn append_lines(out: &mut Vec<u8>, lines: &[u8]) {
    let mut first = true;
    for line in lines.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if first { trim_start(line) } else { line };
        if trim(line).is_empty() {
            continue;
        }
        first = false;
        // A carriage return that ends no line here may end one for another reader.
        out.extend(line.iter().map(|&byte| if byte == b'\r' { b' ' } else { byte }));
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends `name: value` and a line end.
pub(super) fn append_header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    append_whole_lines(out, trim(value));
    out.extend_from_slice(b"\r\n");
}

/// Appends a Via value with `rport` and `received` filled in, everything else as it was received.
///
/// `rport` is filled where it stands; `received` always ends up last, and what the sender claimed there is dropped:
/// only the server that receives may say so (RFC 3261 18.2.1).
pub(super) fn append_stamped_via(out: &mut Vec<u8>, via: &Via<'_>, stamp: ViaStamp) {
    let mut written = 0;
    let mut port = stamp.rport;
    for param in via.params {
        let is_received = param.is_named(b"received") && stamp.received.is_some();
        let is_rport = param.is_named(b"rport") && stamp.rport.is_some();
        let is_overload = stamp.overload.is_some() && Overload::is_about(&param);
        let is_replaced = is_received || is_rport || is_overload;
        let Some(start) = offset_in(via.raw, param.raw).filter(|_| is_replaced) else { continue };
        let kept_end = match memchr::memrchr(b';', &via.raw[written..start]) {
            Some(semicolon) => written + semicolon,
            None => start,
        };
        out.extend_from_slice(&via.raw[written..kept_end]);
        if let Some(port) = port.take_if(|_| is_rport) {
            append_port(out, port);
        }
        written = start + param.raw.len();
    }
    out.extend_from_slice(&via.raw[written..]);
    if let Some(port) = port {
        append_port(out, port);
    }
    if let Some(received) = stamp.received {
        out.extend_from_slice(b";received=");
        append_address(out, received);
    }
    if let Some(overload) = stamp.overload {
        overload.append(out);
    }
}

fn append_content_length(out: &mut Vec<u8>, size: usize) {
    out.extend_from_slice(b"Content-Length: ");
    append_number(out, size as u64);
    out.extend_from_slice(b"\r\n");
}

fn append_port(out: &mut Vec<u8>, port: u16) {
    out.extend_from_slice(b";rport=");
    append_number(out, port.into());
}

fn append_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                append_number(out, octet.into());
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends a decimal number. The machinery of formatting would be a tenth of the work of a reply.
fn append_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Ends the last line where the received one was cut.
fn end_line(out: &mut Vec<u8>) {
    match out.last() {
        Some(b'\n') | None => {}
        Some(b'\r') => out.push(b'\n'),
        Some(_) => out.extend_from_slice(b"\r\n"),
    }
}

/// Where a part of a text stands in it.
fn offset_in(text: &[u8], part: &[u8]) -> Option<usize> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    (start + part.len() <= text.len()).then_some(start)
}

/// Hands out the pieces of a span with its changes made. What was inserted inside a removed span goes with it.
fn splice<'p>(
    bytes: &'p [u8],
    span: Range<usize>,
    changes: &[Splice],
    edits: &'p Edits,
    mut emit: impl FnMut(&'p [u8]),
) {
    let mut written = span.start;
    for change in changes {
        if change.at >= written {
            emit(bytes.get(written..change.at).unwrap_or_default());
            emit(change.text(edits));
        }
        written = written.max(change.at + change.removed);
    }
    emit(bytes.get(written..span.end).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::status::Status;

    const SOURCE: &str = "192.0.2.9:17070";

    fn request(via: &str, to: &str, more: &str) -> Vec<u8> {
        format!(
            "INVITE sip:b sip/2.0\r\n{via}\r\nRecord-Route: <sip:r;lr>\r\nFROM : <sip:a>;tag=1\r\nTo: {to}\r\n\
             i: c1\r\nMax-Forwards: 70\r\n{more}CSeq: 7 INVITE\r\nTimestamp: 54\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// Answers the request and shows the lines of the response, joined by `|`.
    fn answer(request: &[u8], make: impl FnOnce(&mut Response<'_>), status: Status) -> String {
        let message = Message::parse(request).unwrap();
        let mut answer = Response::new(status);
        if let Ok(via) = message.via(0) {
            answer.via_stamp = ViaStamp::due(&via, SOURCE.parse().unwrap());
        }
        answer.to_tag = Some(b"tt");
        make(&mut answer);
        let mut out = b"already there".to_vec();
        response(&message, &answer, &mut out).unwrap();
        let written = out.strip_prefix(b"already there").unwrap();
        assert!(Message::parse(written).is_ok());
        String::from_utf8_lossy(written).replace("\r\n", "|")
    }

    fn line_of<'t>(text: &'t str, start: &str) -> &'t str {
        text.split('|').find(|line| line.starts_with(start)).unwrap_or("none")
    }

    #[test]
    fn a_response_copies_what_8_2_6_asks_in_the_order_of_the_request() {
        let bytes =
            request("Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport\r\nv:SIP/2.0/TCP g", "<sip:b>", "X: y\r\n");
        let full = |response: &mut Response<'_>| {
            response.header_lines = b"Server: s\r\n\r\nContact: <sip:c>\n";
            response.body = b"abc";
        };
        assert_eq!(
            answer(&bytes, full, Status::OK),
            "sip/2.0 200 OK|Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport=17070;received=192.0.2.9|v:SIP/2.0/TCP g|\
             Record-Route: <sip:r;lr>|FROM : <sip:a>;tag=1|To: <sip:b>;tag=tt|i: c1|CSeq: 7 INVITE|Server: s|\
             Contact: <sip:c>|Content-Length: 3||abc"
        );
        assert_eq!(
            answer(&bytes, |_| {}, Status::TRYING),
            "sip/2.0 100 Trying|Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport=17070;received=192.0.2.9|v:SIP/2.0/TCP g|\
             FROM : <sip:a>;tag=1|To: <sip:b>|i: c1|CSeq: 7 INVITE|Timestamp: 54|Content-Length: 0||"
        );
    }

    #[test]
    fn the_topmost_via_tells_where_the_request_came_from() {
        let rows = [
            ("SIP/2.0/UDP h;rport", "SIP/2.0/UDP h;rport=17070;received=192.0.2.9"),
            ("SIP/2.0/UDP 192.0.2.9;branch=x", "SIP/2.0/UDP 192.0.2.9;branch=x"),
            (
                "SIP/2.0/UDP 192.0.2.9;rport;branch=x",
                "SIP/2.0/UDP 192.0.2.9;rport=17070;branch=x;received=192.0.2.9",
            ),
            ("SIP/2.0/UDP 192.0.2.1;branch=x", "SIP/2.0/UDP 192.0.2.1;branch=x;received=192.0.2.9"),
            ("SIP/2.0/UDP h;received=6.6.6.6;rport=1;x", "SIP/2.0/UDP h;rport=17070;x;received=192.0.2.9"),
            (
                "SIP/2.0/UDP h ; rport ; received = 1 ;rport;a",
                "SIP/2.0/UDP h ;rport=17070  ;a;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP h;rport , SIP/2.0/UDP g",
                "SIP/2.0/UDP h;rport=17070;received=192.0.2.9 , SIP/2.0/UDP g",
            ),
            ("SIP/2.0/UDP h;a=\"x;rport\"", "SIP/2.0/UDP h;a=\"x;rport\";received=192.0.2.9"),
            ("junk", "junk"),
        ];
        for (via, expected) in rows {
            let text = answer(&request(&format!("Via: {via}"), "<sip:b>", ""), |_| {}, Status::OK);
            assert_eq!(line_of(&text, "Via: "), format!("Via: {expected}"));
        }
    }

    #[test]
    fn the_port_may_be_noted_without_being_asked_for() {
        let via = Via::parse(b"SIP/2.0/UDP 192.0.2.9").unwrap();
        let stamp = ViaStamp::forced(&via, SOURCE.parse().unwrap());
        let mut out = Vec::new();
        append_stamped_via(&mut out, &via, stamp);
        assert_eq!(out, b"SIP/2.0/UDP 192.0.2.9;rport=17070");
    }

    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 7, 10, 255, 65_535, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            append_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
        for address in ["0.0.0.0", "192.0.2.255", "::", "2001:db8::1", "::ffff:1.2.3.4"] {
            let mut out = Vec::new();
            append_address(&mut out, address.parse().unwrap());
            assert_eq!(out, address.as_bytes());
        }
    }

    #[test]
    fn ipv6_is_received_without_brackets() {
        let via = Via::parse(b"SIP/2.0/UDP [2001:db8::1];rport").unwrap();
        let mut out = Vec::new();
        append_stamped_via(&mut out, &via, ViaStamp::due(&via, "[2001:db8::2]:5".parse().unwrap()));
        assert_eq!(out, b"SIP/2.0/UDP [2001:db8::1];rport=5;received=2001:db8::2");
    }

    #[test]
    fn to_gets_a_tag_only_where_it_has_none() {
        let rows = [
            ("<sip:b>", "<sip:b>;tag=tt"),
            ("<sip:b>;tag=x", "<sip:b>;tag=x"),
            ("<sip:b>;tag=;a=b", "<sip:b>;tag=tt;a=b"),
            ("<sip:b>;tag", "<sip:b>;tag=tt"),
            ("sip:b", "sip:b;tag=tt"),
            ("<sip:b>\r\nTo: <sip:c>;tag=", "<sip:b>;tag=tt"),
            ("\"open <sip:b>", "\"open <sip:b>;tag=tt"),
        ];
        for (to, expected) in rows {
            let text = answer(&request("Via: SIP/2.0/UDP h", to, ""), |_| {}, Status::OK);
            assert_eq!(line_of(&text, "To: "), format!("To: {expected}"));
            assert_eq!(text.matches("|To: ").count(), 1, "{text}");
        }
    }

    #[test]
    fn broken_requests_are_answered_with_what_they_have() {
        let shown =
            answer(b"INVITE x SIP/2.0\nVia: SIP/2.0/UDP\n 192.0.2.9\n\n", |_| {}, Status::BAD_REQUEST);
        assert_eq!(shown, "SIP/2.0 400 Bad Request|Via: SIP/2.0/UDP| 192.0.2.9|Content-Length: 0||");
        let message = Message::parse(b"INVITE x SIP/2.0\r\n\r\n").unwrap();
        let mut out = Vec::new();
        let result = response(&message, &Response::new(Status::OK), &mut out);
        assert_eq!((result, out.len()), (Err(HeaderError::Missing(HeaderId::Via)), 0));
    }

    #[test]
    fn a_reason_cannot_start_a_line() {
        let bytes = request("Via: SIP/2.0/UDP h", "<sip:b>", "");
        let text = answer(&bytes, |response| response.reason = b"No\r\nX: y", Status::OK);
        assert_eq!(line_of(&text, "sip/2.0"), "sip/2.0 200 No  X: y");
    }
}
