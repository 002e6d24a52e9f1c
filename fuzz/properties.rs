//! What must hold for any bytes: the properties that the fuzz targets search for exceptions to.
//!
//! Nothing here needs a fuzzer. `tests/properties.rs` holds every seed and every input that once broke something
//! against them, so they stay true in every run of the tests.

// Each program that includes this file uses the part it needs.
#![allow(dead_code, reason = "shared by the fuzz targets and two programs of tests")]

use std::net::IpAddr;

use sworker::bindings::registry::Registry;
use sworker::config::settings::listen::Resolver;
use sworker::control::protocol;
use sworker::modules::MODULES;
use sworker::routing::continuation::Continuation;
use sworker::routing::delegation::Xdata;
use sworker::routing::envelope::{ENVELOPE_SIZE, Envelope};
use sworker::routing::work::Work;
use sworker::script::check::check;
use sworker::script::parser::{ParseOptions, parse};
use sworker::script::source::SourceMap;
use sworker::sip::framing::{Frame, FrameLimits, Framer, MissingLength};
use sworker::sip::message::{Header, ParseErrorKind};
use sworker::sip::name_addr::NameAddr;
use sworker::sip::uri::Uri;
use sworker::sip::validate::{ValidationRules, validate};
use sworker::sip::via::ViaStamp;
use sworker::sip::{Edits, HeaderId, Message, Status, write};

/// What must hold of any bytes.
pub type Property = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Property)] = &[
    ("parser", read_everything),
    ("framer", frame_in_any_pieces),
    ("reply_builder", reply_to),
    ("edits", edit),
    ("script", load_script),
    ("rpc", answer_line),
    ("record", decode_record),
];

/// Asks a message for everything it can be asked for, and checks that no part is handed out empty or from elsewhere.
pub fn read_everything(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    assert!(message.bytes().len() + message.leading_size() + message.trailing().len() == bytes.len());
    message.headers().for_each(|header| read_header(&message, &header));
    for via in message.vias().take(100).flatten() {
        assert!(!via.host.is_empty() && !via.transport.is_empty());
        assert!(via.branch.is_none_or(|branch| !branch.is_empty()));
        let _ =
            (via.received_address(), via.host_address(), via.has_magic_cookie(), via.params.is_well_formed());
    }
    for id in [HeaderId::From, HeaderId::To, HeaderId::Contact, HeaderId::Route] {
        message.addresses(id).take(100).flatten().for_each(|address| read_address(&address));
    }
    let _ = (
        validate(&message, &ValidationRules::PROXY),
        validate(&message, &ValidationRules::SERVER),
        message.require_mandatory(),
    );
    write_everything(&message);
}

fn read_header(message: &Message<'_>, header: &Header<'_>) {
    let span = message.span_of(header.line).expect("a part of the message");
    assert_eq!(&message.bytes()[span], header.line);
    let _ = sworker::sip::credentials::Credentials::parse(header.value)
        .map(|credentials| credentials.iter().count());
}

fn read_address(address: &NameAddr<'_>) {
    assert!(!address.uri.is_empty() && address.display.is_none_or(|name| !name.is_empty()));
    assert!(address.tag().is_none_or(|tag| !tag.is_empty()));
    if let Ok(uri) = Uri::parse(address.uri) {
        assert!(uri.user.is_none_or(|user| !user.is_empty()) && uri.host.is_none_or(|host| !host.is_empty()));
    }
}

/// Answers and forwards it; both results must be messages again.
fn write_everything(message: &Message<'_>) {
    let (mut edits, mut out) = (Edits::new(), Vec::new());
    write::message(message, &edits, &mut out).expect("no edit puts text in as it is");
    assert_eq!(out, message.bytes());
    let source = "192.0.2.9:5060".parse().expect("an address");
    let mut response = write::Response::new(Status::BAD_REQUEST);
    response.to_tag = Some(b"tag");
    if let Ok(via) = message.via(0) {
        response.via_stamp = ViaStamp::due(&via, source);
        edits.stamp_top_via(message, ViaStamp::forced(&via, source)).expect("a Via that can be read");
    }
    out.clear();
    if write::response(message, &response, &mut out).is_ok() {
        let answer = Message::parse(&out).expect("an answer");
        assert_eq!((answer.status(), answer.content_length()), (Some(Status::BAD_REQUEST), Ok(Some(0))));
        assert_eq!(answer.headers_of(HeaderId::Via).count(), message.headers_of(HeaderId::Via).count());
    }
    let _ = edits.set_request_uri(message, b"sip:next");
    edits.push_via(message, b"SIP/2.0/UDP us;branch=z9hG4bK1").expect("a Via");
    out.clear();
    write::message(message, &edits, &mut out).expect("no edit puts text in as it is");
    let forwarded = Message::parse(&out);
    if let Err(error) = &forwarded {
        // One Via more may be one too many; nothing else can be wrong with it.
        assert!(
            matches!(error.kind, ParseErrorKind::TooManyVias | ParseErrorKind::TooManyHeaders),
            "{error}"
        );
    }
    if let Ok(forwarded) = forwarded {
        assert_eq!(forwarded.via(0).expect("our Via").host, b"us");
        assert_eq!(forwarded.body(), message.body());
        assert_eq!(forwarded.content_length(), message.content_length());
    }
}

/// A stream is cut into the same messages however it comes.
pub fn frame_in_any_pieces(bytes: &[u8]) {
    let Some((&pattern, stream)) = bytes.split_first() else { return };
    let pieces = [usize::from(pattern & 15) + 1, usize::from(pattern >> 4) * 7 + 1];
    let whole = cut(stream, &[stream.len().max(1)]);
    assert_eq!(cut(stream, &pieces), whole, "in pieces of {pieces:?}");
    let mut end = 0;
    for (start, next) in whole.0 {
        assert!(start >= end && next > start && next <= stream.len());
        end = next;
    }
}

/// Whatever a request lacks, its response is a message with what there was, once.
pub fn reply_to(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let Ok(request) = Message::parse(bytes) else { return };
    let statuses = [Status::TRYING, Status::OK, Status::BAD_REQUEST, Status::BAD_EXTENSION];
    let mut response = write::Response::new(statuses[usize::from(choice & 3)]);
    response.reason = &bytes[..bytes.len().min(usize::from(choice))];
    response.to_tag = Some(b"our-tag");
    response.header_lines = &bytes[bytes.len() / 2..];
    response.body = &bytes[..bytes.len().min(7)];
    let mut out = Vec::new();
    let is_owed = request.header(HeaderId::Via).is_some();
    assert_eq!(write::response(&request, &response, &mut out).is_ok(), is_owed);
    if !is_owed {
        return assert!(out.is_empty());
    }
    // Lines given with a response are the caller's; without them it has exactly what the request had.
    response.header_lines = b"";
    out.clear();
    write::response(&request, &response, &mut out).expect("a Via is there");
    let answer = Message::parse(&out).expect("a response is a message");
    assert_eq!(answer.status(), Some(response.status));
    assert_eq!(answer.content_length(), Ok(Some(response.body.len() as u32)));
    assert_eq!((answer.body(), answer.trailing()), (response.body, &b""[..]));
    for id in [HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq] {
        assert_eq!(answer.headers_of(id).count(), usize::from(request.header(id).is_some()), "{id:?}");
    }
    assert!(answer.broken_line().is_none());
    let tags = |to: NameAddr<'_>| to.params.iter().filter(|param| param.is_named(b"tag")).count();
    if let (Ok(asked), Ok(told)) = (request.to(), answer.to())
        && tags(asked) <= 1
    {
        assert!(tags(told) <= 1, "To has a tag of ours besides its own");
    }
}

/// An edit that is taken changes what it says and nothing else.
pub fn edit(bytes: &[u8]) {
    let Some((&[operation, split], rest)) = bytes.split_first_chunk::<2>() else { return };
    let (text, bytes) = rest.split_at(usize::from(split).min(rest.len()));
    let Ok(message) = Message::parse(bytes) else { return };
    if message.header_count() > 1000 || message.headers_end() == message.bytes().len() {
        // A message without an end to its header lines gets one, which may end a line that was open.
        return;
    }
    let mut edits = Edits::new();
    let before = message.header_count();
    let expected = match operation % 8 {
        0 => edits.add_last(&message, b"X-Added", text).ok().map(|()| before + 1),
        1 => edits.add_last(&message, text, b"value").ok().map(|()| before + 1),
        2 => edits.push_via(&message, text).ok().map(|()| before + 1),
        3 => Some(before - edits.remove_named(&message, text)),
        4 => edits.set_request_uri(&message, text).ok().map(|()| before),
        5 => message
            .headers()
            .last()
            .and_then(|header| edits.set_value(&message, &header, text).ok().map(|()| before)),
        6 => {
            let lengths = message.headers_of(HeaderId::ContentLength).count();
            edits.set_body(&message, None, text).ok().map(|()| before - lengths + 1)
        }
        _ => {
            edits.remove_named(&message, b"Via");
            Some(before - message.headers_of(HeaderId::Via).count())
        }
    };
    let Some(expected) = expected else { return assert!(edits.is_empty(), "a refused edit leaves nothing") };
    let mut out = Vec::new();
    write::message(&message, &edits, &mut out).expect("no edit puts text in as it is");
    let written = match Message::parse(&out) {
        Ok(written) => written,
        Err(error) => {
            let is_limit = matches!(error.kind, ParseErrorKind::TooManyVias | ParseErrorKind::HeaderTooLarge);
            return assert!(is_limit, "{error}");
        }
    };
    assert_eq!(written.header_count(), expected, "operation {}", operation % 8);
    match operation % 8 {
        3 => assert_eq!(written.headers_named(text).count(), 0, "a removed field is still there"),
        4 => assert_eq!(written.request_line().map(|line| line.uri), Some(text)),
        6 => assert_eq!((written.body(), written.trailing()), (text, &b""[..])),
        7 => assert_eq!(written.headers_of(HeaderId::Via).count(), 0),
        _ => {}
    }
}

/// A script is accepted or refused with reasons that can be shown, and what was read can be printed.
pub fn load_script(bytes: &[u8]) {
    let mut source = SourceMap::new();
    let root = source.add_file("fuzz.cfg", bytes.to_vec());
    let options = ParseOptions::default();
    let (ast, diagnostics) = parse(&mut source, root, &options);
    let mut registry = Registry::new(MODULES, Default::default(), Box::new(NoNames));
    let checked = check(&ast, &source, &mut registry);
    let is_wrong = |all: &[sworker::script::diagnostic::Diagnostic]| all.iter().any(|one| one.is_error());
    let refused = is_wrong(&diagnostics) || is_wrong(&checked.diagnostics);
    assert!(checked.program.is_some() || refused, "a script is refused without a reason");
    for diagnostic in diagnostics.iter().chain(&checked.diagnostics) {
        assert!(!diagnostic.render(&source).is_empty());
    }
    let _ = sworker::script::print::print(&ast);
}

/// A machine without interfaces and names.
struct NoNames;

impl Resolver for NoNames {
    fn interface(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    fn every_interface(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn host(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// A line on the control socket is a request or has a fault that can be answered.
pub fn answer_line(bytes: &[u8]) {
    match protocol::read_request(bytes) {
        Ok(request) => {
            let line = protocol::write_request(&request.method, &request.parameters);
            let again = protocol::read_request(&line).expect("what was written can be read");
            assert_eq!((again.method, again.parameters), (request.method, request.parameters));
        }
        Err((id, fault)) => {
            let line = protocol::write_answer(&id, &Err(fault.clone()));
            assert_eq!(protocol::read_answer(&line), Err(fault));
        }
    }
    let _ = protocol::read_answer(bytes);
}

/// What a crashed process left in shared memory is read as it was written, or refused.
pub fn decode_record(bytes: &[u8]) {
    let (head, rest) = bytes.split_at(bytes.len().min(ENVELOPE_SIZE));
    if let Ok(envelope) = head.try_into().map_err(drop).and_then(|head| Envelope::decode(head).map_err(drop))
    {
        assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }
    if let Ok(Work::Resumed { continuation, .. }) = Work::decode(bytes, b"", b"") {
        assert!(continuation.avps().count() + continuation.xavps().count() <= bytes.len());
    }
    for part in [bytes, rest] {
        if let Ok(continuation) = Continuation::decode(part) {
            assert!(continuation.avps().count() + continuation.xavps().count() <= part.len());
        }
    }
    if let Ok(xdata) = Xdata::decode(rest) {
        let mut again = Vec::new();
        xdata.encode(&mut again);
        assert_eq!(again, rest);
    }
}

/// Feeds a stream in pieces; where each message starts and ends, and whether the stream was lost.
pub fn cut(stream: &[u8], pieces: &[usize]) -> (Vec<(usize, usize)>, bool) {
    let mut framer = Framer::new(FrameLimits::default(), MissingLength::NoBody);
    let (mut start, mut end, mut messages) = (0, 0, Vec::new());
    for size in pieces.iter().cycle() {
        if end == stream.len() {
            break;
        }
        end = (end + size).min(stream.len());
        loop {
            match framer.judge(&stream[start..end]) {
                Ok(Frame::Incomplete) => break,
                Ok(Frame::Padding { size } | Frame::Ping { size }) => start += size,
                Ok(Frame::Message { size }) => {
                    messages.push((start, start + size));
                    start += size;
                }
                Err(_) => return (messages, true),
            }
            assert!(start <= end, "a verdict takes what is there");
        }
    }
    (messages, false)
}
