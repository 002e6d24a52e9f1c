//! Edits never make an ambiguous message: whatever a sequence of them does, what is written is cut into the same lines
//! and the same body by a strict reader, by a lenient one, and by one that counts bytes off a stream.
//!
//! The readers here know nothing of the library: they are what stands further down the road.

use proptest::prelude::*;
use std::ops::Range;
use sworker::sip::edit::EditError;
use sworker::sip::{Edits, Message, write};

const REQUEST: &str = "INVITE sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKb;rport, SIP/2.0/UDP g\r\n\
    From: \"A\" <sip:a@d.com>;tag=1\r\nTo: <sip:b@d.com>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nX-Foo: one\r\n folded\r\n\
    Content-Type: text/plain\r\nContent-Length: 6\r\n\r\na\r\n\r\nb";
const RESPONSE: &str = "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP us\r\nv: SIP/2.0/UDP h\r\nf: <sip:a>;tag=1\r\nt: <sip:b>;tag=2\r\n\
    i: c\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n";
const BARE: &str = "OPTIONS sip:b SIP/2.0\r\nA:\r\nB: 1\r\n\r\n";

/// What a script may do to a message; places are shares of the part they stand in.
#[derive(Clone, Debug)]
enum Deed {
    Replace(prop::sample::Index, usize, String),
    ReplaceBody(prop::sample::Index, usize, String),
    ReplaceAll(String, String),
    SetValue(prop::sample::Index, String),
    Remove(prop::sample::Index),
    AddLines(prop::sample::Index, bool, String),
    Add(String, String),
    SetRequestUri(String),
    PushVia,
    PopVia,
    SetBody(String),
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "",
        "\r\n",
        "\n",
        "\r",
        "\r\n\r\n",
        "\r\n ",
        " ",
        "\t",
        ":",
        ": ",
        "X: 1",
        "X: 1\r\n",
        "l: 3\r\n",
        "l: 6",
        "Content-Length: 6\r\n",
        "SIP/2.0",
        "abc",
        "7",
        "\0",
        ";a=b",
        "INVITE sip:x SIP/2.0\r\n",
    ]);
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn deed() -> impl Strategy<Value = Deed> {
    let place = any::<prop::sample::Index>;
    let found = prop::sample::select(vec![
        "\r\n",
        "\n",
        "\r",
        ":",
        "1",
        "X-Foo: one",
        "Content-Length: ",
        "i: c\r\n",
        " ",
    ]);
    prop_oneof![
        4 => (place(), 0usize..40, text()).prop_map(|(at, size, text)| Deed::Replace(at, size, text)),
        1 => (place(), 0usize..8, text()).prop_map(|(at, size, text)| Deed::ReplaceBody(at, size, text)),
        2 => (found, text()).prop_map(|(found, text)| Deed::ReplaceAll(found.into(), text)),
        2 => (place(), text()).prop_map(|(at, text)| Deed::SetValue(at, text)),
        2 => place().prop_map(Deed::Remove),
        1 => (place(), any::<bool>(), text()).prop_map(|(at, is_before, text)| Deed::AddLines(at, is_before, text)),
        1 => (text(), text()).prop_map(|(name, value)| Deed::Add(name, value)),
        1 => text().prop_map(Deed::SetRequestUri),
        1 => Just(Deed::PushVia),
        1 => Just(Deed::PopVia),
        1 => text().prop_map(Deed::SetBody),
    ]
}

/// Does it as the script's functions would; lines that come whole are checked by them first.
fn act(edits: &mut Edits, message: &Message<'_>, deed: &Deed) -> Result<(), EditError> {
    let header =
        |at: &prop::sample::Index| message.headers().nth(at.index(message.header_count())).expect("a line");
    match deed {
        Deed::Replace(at, size, text) => {
            edits.replace(message, span(at, *size, 0..message.headers_end()), text.as_bytes())
        }
        Deed::ReplaceBody(at, size, text) => edits.replace(
            message,
            span(at, *size, message.body_start()..message.bytes().len()),
            text.as_bytes(),
        ),
        Deed::ReplaceAll(found, text) => {
            let head = std::str::from_utf8(&message.bytes()[..message.headers_end()]).expect("plain text");
            let pieces = head.match_indices(found.as_str()).map(|(at, found)| (at..at + found.len(), text));
            edits.replace_each(message, pieces)
        }
        Deed::SetValue(at, text) => edits.set_value(message, &header(at), text.as_bytes()),
        Deed::Remove(at) => edits.remove(message, &header(at)),
        Deed::AddLines(_, _, text)
            if !text
                .lines()
                .all(|line| line.trim().is_empty() || line.starts_with("X: ") || line.starts_with("l: ")) =>
        {
            Ok(())
        }
        Deed::AddLines(at, true, text) => edits.add_lines_before(message, &header(at), text.as_bytes()),
        Deed::AddLines(at, false, text) => edits.add_lines_after(message, &header(at), text.as_bytes()),
        Deed::Add(name, value) => edits.add_last(message, name.as_bytes(), value.as_bytes()),
        Deed::SetRequestUri(uri) => edits.set_request_uri(message, uri.as_bytes()),
        Deed::PushVia => edits.push_via(message, b"SIP/2.0/UDP us;branch=z9hG4bK1"),
        Deed::PopVia => edits.remove_top_via(message),
        Deed::SetBody(body) => edits.set_body(message, Some(b"text/plain"), body.as_bytes()),
    }
}

fn span(at: &prop::sample::Index, size: usize, within: Range<usize>) -> Range<usize> {
    let start = within.start + at.index(within.len() + 1);
    start..(start + size).min(within.end)
}

/// The lines of the header part and the body, to a reader for whom only CR LF ends a line.
fn strict(text: &str) -> Option<(Vec<&str>, &str)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split("\r\n").collect(), body))
}

/// The same to a reader for whom CR, LF and CR LF each end a line.
fn lenient(text: &str) -> Option<(Vec<&str>, &str)> {
    let (mut lines, mut rest) = (Vec::new(), text);
    loop {
        let end = rest.find(['\r', '\n'])?;
        let line = &rest[..end];
        rest = rest[end..].strip_prefix("\r\n").unwrap_or(&rest[end + 1..]);
        if line.trim().is_empty() {
            return Some((lines, rest));
        }
        lines.push(line);
    }
}

/// What the lines say about the size of the body, which without them ends with its datagram; `None` where they disagree.
fn told_size(lines: &[&str], body: &str) -> Option<usize> {
    let unfolded = lines[1..].join("\r\n").replace("\r\n ", " ").replace("\r\n\t", " ");
    let is_length = |name: &str| ["content-length", "l"].contains(&name.trim_end().to_lowercase().as_str());
    let told = unfolded.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| is_length(name));
    let mut sizes: Vec<Option<usize>> = told.map(|(_, value)| value.trim().parse().ok()).collect();
    sizes.dedup();
    match sizes[..] {
        [] => Some(body.len()),
        [size] => size,
        _ => None,
    }
}

fn assert_unambiguous(written: &str) {
    let (lines, body) = strict(written).expect("header lines end");
    assert_eq!(lenient(written), Some((lines.clone(), body)), "{written:?}");
    let is_status = lines[0].get(..8).is_some_and(|start| start.eq_ignore_ascii_case("SIP/2.0 "));
    assert!(is_status || lines[0].split_ascii_whitespace().count() == 3, "{written:?}");
    for line in &lines[1..] {
        let name = line.split_once(':').map(|(name, _)| name.trim_end());
        let is_named =
            name.is_some_and(|name| !name.is_empty() && !name.contains(|c: char| !c.is_ascii_graphic()));
        assert!(is_named || line.starts_with([' ', '\t']), "{line:?} in {written:?}");
    }
    assert!(!lines.get(1).is_some_and(|line| line.starts_with([' ', '\t'])), "{written:?}");
    assert_eq!(told_size(&lines, body), Some(body.len()), "{written:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_edits_makes_an_ambiguous_message(
        original in prop::sample::select(vec![REQUEST, RESPONSE, BARE]),
        deeds in prop::collection::vec(deed(), 1..8),
    ) {
        let message = Message::parse(original.as_bytes()).expect("a message");
        let mut edits = Edits::new();
        for deed in &deeds {
            let (before, was_written) = (written(&message, &edits), edits.clone());
            if act(&mut edits, &message, deed).is_err() && !matches!(deed, Deed::SetBody(_)) {
                prop_assert_eq!(written(&message, &edits), before, "a refused edit leaves nothing: {:?}", was_written);
            }
        }
        if let Some(text) = written(&message, &edits) {
            assert_unambiguous(&text);
        }
    }
}

fn written(message: &Message<'_>, edits: &Edits) -> Option<String> {
    let mut out = Vec::new();
    let written = write::message(message, edits, &mut out);
    assert_eq!(written.is_err(), out.is_empty(), "what is refused leaves nothing behind");
    written.is_ok().then(|| String::from_utf8(out).expect("plain text"))
}

/// Replaces the first place of a text and says what became of it.
fn replaced(original: &str, found: &str, text: &str) -> Result<String, EditError> {
    let message = Message::parse(original.as_bytes()).expect("a message");
    let at = original.find(found).expect("the text is there");
    let mut edits = Edits::new();
    edits.replace(&message, at..at + found.len(), text.as_bytes())?;
    Ok(written(&message, &edits).expect("what was taken can be written"))
}

#[test]
fn what_scripts_do_to_header_lines_is_taken() {
    let rows = [
        ("X-Foo: one\r\n folded\r\n", ""),
        ("Content-Length: 6\r\n", ""),
        ("X-Foo: one", "X-Foo: two\r\nX-Bar: three"),
        ("X-Foo: one", "X-Foo: two\r\n more"),
        ("Call-ID: c\r\n", "Call-ID: c\r\nX: 1\r\n"),
        ("<sip:b@d.com>", "sip:c"),
        ("sip:bob@127.0.0.1", "sip:carol@example.com"),
    ];
    for (found, text) in rows {
        assert_eq!(
            replaced(REQUEST, found, text).as_deref(),
            Ok(&*REQUEST.replacen(found, text, 1)),
            "{found}"
        );
    }
}

#[test]
fn what_would_make_another_message_is_refused() {
    let rows = [
        ("X-Foo: one", "X-Foo: one\r\n\r\nINVITE sip:evil SIP/2.0"),
        ("X-Foo: one", "X-Foo: one\n\nevil"),
        ("X-Foo: one", "X-Foo: one\rX: 1"),
        ("X-Foo: one", "X-Foo: one\nX: 1"),
        ("X-Foo", ""),
        ("X-Foo", "X Foo"),
        ("Call-ID: c", ""),
        ("Call-ID: c", " "),
        ("Content-Length: 6", "Content-Length: 1"),
        ("Call-ID: c", "Call-ID: c\r\nl: 0"),
        ("INVITE sip:bob@127.0.0.1 SIP/2.0", ""),
        (" SIP/2.0\r\n", " x SIP/2.0\r\n"),
        ("INVITE ", "\r\nINVITE "),
    ];
    for (found, text) in rows {
        let refused = replaced(REQUEST, found, text);
        assert!(matches!(refused, Err(EditError::Ambiguous(_))), "{found:?} by {text:?}: {refused:?}");
    }
}

/// Messages as they come, with everything that a lenient sender may do: the text of a request, cut at its line ends.
fn as_senders_write_it() -> Vec<(&'static str, Vec<u8>)> {
    let change = |found: &str, text: &str| REQUEST.replace(found, text).into_bytes();
    let head = REQUEST.split_once("\r\n\r\n").expect("a body").0;
    let many: String = (0..300).map(|number| format!("X-{number}: {number}\r\n")).collect();
    let parts = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n";
    let mut binary = format!("{}\r\n\r\n", head.replace("Length: 6", "Length: 256")).into_bytes();
    binary.extend(0..=255u8);
    vec![
        ("usual", change("", "")),
        ("line feeds only", change("\r\n", "\n")),
        ("one line feed", change("Call-ID: c\r\n", "Call-ID: c\n")),
        ("compact names", change("Content-Length", "l")),
        ("no Content-Length", change("Content-Length: 6\r\n", "")),
        ("two of them", change("Content-Length: 6", "l: 6\r\nContent-Length: 6")),
        ("two that disagree", change("Content-Length: 6", "l: 5\r\nContent-Length: 6")),
        ("a folded one", change("Length: 6", "Length:\r\n 6 ")),
        ("one with spaces", change("Length: 6", "Length \t: 6\t ")),
        ("one too large", change("Length: 6", "Length: 60")),
        ("one too small", change("Length: 6", "Length: 2")),
        ("line ends before it", format!("\r\n\r\n{REQUEST}").into_bytes()),
        ("line ends behind it", format!("{REQUEST}\r\n\r\n").into_bytes()),
        ("header lines without end", head.as_bytes().to_vec()),
        ("header lines without empty line", format!("{head}\r\n").into_bytes()),
        ("a body of parts", change("a\r\n\r\nb", parts)),
        ("a binary body", binary),
        ("other letters", change("\"A\"", "\"\u{e4}\u{20ac}\"")),
        ("half a line end", change("X-Foo: one", "X-Foo: o\rne")),
        ("a null", change("X-Foo: one", "X-Foo: o\0ne")),
        ("a line without name", change("X-Foo: one", "nothing here")),
        ("a blank line", change(" folded", " ")),
        ("a space too many", change("SIP/2.0\r\nVia", "SIP/2.0 \r\nVia")),
        ("a response", change("INVITE sip:bob@127.0.0.1 SIP/2.0", "SIP/2.0 200 OK")),
        ("a bare response", change("INVITE sip:bob@127.0.0.1 SIP/2.0", "SIP/2.0 200")),
        ("many lines", change("X-Foo: one\r\n folded\r\n", &many)),
    ]
}

#[test]
fn whatever_a_message_is_like_ordinary_edits_are_taken() {
    type Edit = fn(&mut Edits, &Message<'_>) -> Result<(), EditError>;
    let ordinary: [(&str, Edit); 12] = [
        ("lines with all kinds of ends", |edits, message| {
            edits.add_lines_last(message, b"X-A: 1\r\n");
            edits.add_lines_last(message, b"X-B: 1\n");
            edits.add_lines_first(message, b"X-C: 1\r\nX-D: 2\r\n folded");
            Ok(())
        }),
        ("lines behind the last one", |edits, message| {
            let last = message.headers().last().expect("a line");
            edits.add_lines_after(message, &last, "X-New: \u{e4}\r\n".as_bytes())
        }),
        ("lines before the first one", |edits, message| {
            let first = message.headers().next().expect("a line");
            edits.add_lines_before(message, &first, b"X-New: 1\r\n")
        }),
        ("a line less", |edits, message| {
            edits.add_lines_last(message, b"X-New: 1\r\n");
            edits.remove_named(message, b"X-Foo");
            Ok(())
        }),
        ("no Content-Length", |edits, message| {
            edits.add_lines_last(message, b"X-New: 1\r\n");
            edits.remove_named(message, b"Content-Length");
            Ok(())
        }),
        ("another value", |edits, message| {
            let header = message.headers_named(b"To").next().expect("it is there");
            edits.replace(message, message.span_of(header.value).expect("its own"), b"<sip:x@y>;tag=7")
        }),
        ("another line", |edits, message| {
            let header = message.headers_named(b"Call-ID").next().expect("it is there");
            edits.replace(message, message.span_of(header.line).expect("its own"), b"Call-ID: d\r\n")
        }),
        ("another body", |edits, message| {
            edits.add_lines_last(message, b"X-New: 1\r\n");
            edits.set_body(message, Some(b"text/plain"), b"a\r\n\r\nb")
        }),
        ("no body", |edits, message| {
            edits.add_lines_last(message, b"X-New: 1\r\n");
            edits.remove_body(message);
            Ok(())
        }),
        ("a longer body", |edits, message| match message.body_start() {
            start if start < message.bytes().len() => edits.replace(message, start..start + 1, b"v\n\nw"),
            _ => Ok(()),
        }),
        ("its own Via", |edits, message| {
            edits.add_lines_first(message, b"Record-Route: <sip:us;lr>\r\n");
            edits.push_via(message, b"SIP/2.0/UDP us;branch=z9hG4bK1")
        }),
        ("a Via less", |edits, message| {
            edits.add_lines_last(message, b"X-New: 1\r\n");
            edits.remove_top_via(message)
        }),
    ];
    for (what, bytes) in as_senders_write_it() {
        let message = Message::parse(&bytes).expect("a message");
        for (edit, act) in ordinary {
            let (mut edits, mut out) = (Edits::new(), Vec::new());
            assert_eq!(act(&mut edits, &message), Ok(()), "{edit} in {what}");
            assert_eq!(write::message(&message, &edits, &mut out), Ok(()), "{edit} in {what}");
        }
    }
}
