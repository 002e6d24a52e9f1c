//! Bodies of several parts (RFC 2046 5.1): `filter_body`, `remove_body_part`, `get_body_part`.

use std::ops::Range;

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome, ValueRef};
use crate::routing::context::Context;
use crate::sip::params::Params;
use crate::sip::{HeaderId, Message};

use super::TextOps;
use super::body::is_type;

/// A part of a body. Spans are in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// From its delimiter line up to the next one.
    whole: Range<usize>,
    /// Header lines and content.
    raw: Range<usize>,
    /// Content.
    content: Range<usize>,
}

/// The boundary where a script names none.
const BOUNDARY_DEFAULT: &[u8] = b"delim";

/// Makes the body one of several parts: content and type of the first, boundary.
pub(super) fn begin(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let boundary = arguments.get(2).map_or(BOUNDARY_DEFAULT, Argument::text);
    // RFC 2046 5.1.1
    let is_boundary = (1..=70).contains(&boundary.len())
        && boundary.iter().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(byte));
    if !is_boundary {
        return outcome(context, "set_body_multipart", Err("invalid boundary (RFC 2046 5.1.1)"));
    }
    let first = match arguments {
        [content, content_type, ..] => match written_part(content.text(), content_type.text(), b"") {
            Ok(part) => part,
            Err(reason) => return outcome(context, "set_body_multipart", Err(reason)),
        },
        _ => Vec::new(),
    };
    let mut body = Vec::new();
    if !first.is_empty() {
        append_delimited(boundary, &first, &mut body);
    }
    append_end(boundary, &mut body);
    let content_type = [b"multipart/mixed;boundary=\"", boundary, b"\""].concat();
    if context.message.header_named(b"MIME-Version", 0).is_none()
        && let Err(error) = context.edits.add_last(&context.message, b"MIME-Version", b"1.0")
    {
        return outcome(context, "set_body_multipart", Err(error));
    }
    let set = context.edits.set_body(&context.message, Some(&content_type), &body);
    outcome(context, "set_body_multipart", set)
}

pub(super) fn append_text(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let appended = append(context, arguments[0].text(), arguments);
    outcome(context, "append_body_part", appended)
}

pub(super) fn append_hex(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let appended = match data_encoding::HEXLOWER_PERMISSIVE.decode(arguments[0].text()) {
        Ok(content) => append(context, &content, arguments),
        Err(_) => Err("this is not hexadecimal".to_string()),
    };
    outcome(context, "append_body_part_hex", appended)
}

/// Adds a part before the end of a body that has several. What was set before must have been applied.
fn append(context: &mut Context<'_>, content: &[u8], arguments: &[Argument<'_>]) -> Result<(), String> {
    let disposition = arguments.get(2).map_or(&b""[..], Argument::text);
    let part = written_part(content, arguments[1].text(), disposition)?;
    let boundary = boundary(&context.message)
        .ok_or("the body has no parts; parts added before need msg_apply_changes()")?;
    let end = [b"--", boundary, b"--"].concat();
    let body = context.message.body();
    let at = memchr::memmem::rfind(body, &end).filter(|&at| at == 0 || body[at - 1] == b'\n');
    let at = context.message.body_start() + at.ok_or("the body of several parts has no end")?;
    let mut text = Vec::new();
    append_delimited(boundary, &part, &mut text);
    context.edits.replace(&context.message, at..at, &text).map_err(|error| error.to_string())
}

/// Header lines and content of a part.
fn written_part(content: &[u8], content_type: &[u8], disposition: &[u8]) -> Result<Vec<u8>, &'static str> {
    let is_line = |text: &[u8]| !text.iter().any(u8::is_ascii_control);
    if content_type.is_empty() || !is_line(content_type) || !is_line(disposition) {
        return Err("a part needs a type; type and disposition are one line each");
    }
    let mut part = [b"Content-Type: ", content_type, b"\r\n"].concat();
    if !disposition.is_empty() {
        part.extend_from_slice(&[b"Content-Disposition: ", disposition, b"\r\n"].concat());
    }
    part.extend_from_slice(b"\r\n");
    part.extend_from_slice(content);
    Ok(part)
}

fn append_delimited(boundary: &[u8], part: &[u8], out: &mut Vec<u8>) {
    for text in [b"--", boundary, b"\r\n", part, b"\r\n"] {
        out.extend_from_slice(text);
    }
}

fn append_end(boundary: &[u8], out: &mut Vec<u8>) {
    for text in [b"--", boundary, b"--\r\n"] {
        out.extend_from_slice(text);
    }
}

/// Keeps of a body of several parts only the first part of this type, which becomes the body.
pub(super) fn filter(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let wanted = arguments[0].text();
    if is_of_type(&context.message, wanted) {
        return Outcome::TRUE;
    }
    let body = context.message.body();
    let Some(part) = find(&context.message, wanted) else { return Outcome::FALSE };
    let content_type = content_type(&body[part.raw.clone()]).unwrap_or(wanted);
    let set = context.edits.set_body(&context.message, Some(content_type), &body[part.content]);
    outcome(context, "filter_body", set)
}

/// Takes the first part of this type out of a body of several parts.
pub(super) fn remove_part(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let Some(part) = find(&context.message, arguments[0].text()) else { return Outcome::FALSE };
    let start = context.message.body_start();
    let span = start + part.whole.start..start + part.whole.end;
    let removed = context.edits.replace(&context.message, span, b"");
    outcome(context, "remove_body_part", removed)
}

/// Stores the content of the first part of this type in a variable.
pub(super) fn part_content(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    store(context, "get_body_part", arguments, |part| part.content)
}

/// Stores the first part of this type, its header lines included, in a variable.
pub(super) fn part_raw(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    store(context, "get_body_part_raw", arguments, |part| part.raw)
}

fn store(
    context: &mut Context<'_>,
    name: &str,
    arguments: &[Argument<'_>],
    span_of: impl FnOnce(Part) -> Range<usize>,
) -> Outcome {
    let Argument::Place(place) = arguments[1] else { return Outcome::FALSE };
    let Some(part) = find(&context.message, arguments[0].text()) else { return Outcome::FALSE };
    let text = &context.message.body()[span_of(part)];
    let written = context.write(place, ValueRef::Text(text));
    outcome(context, name, written.map_err(|refusal| refusal.0))
}

fn is_of_type(message: &Message<'_>, wanted: &[u8]) -> bool {
    message.header(HeaderId::ContentType).is_some_and(|header| is_type(header.value, wanted))
}

fn boundary<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    let value = message.header(HeaderId::ContentType)?.value;
    if !is_type(value, b"multipart/*") {
        return None;
    }
    let at = memchr::memchr(b';', value)?;
    Params::new(&value[at..]).text(b"boundary")
}

fn find(message: &Message<'_>, wanted: &[u8]) -> Option<Part> {
    let boundary = boundary(message)?;
    let body = message.body();
    parts(body, boundary).into_iter().find(|part| {
        // RFC 2046 5.1: a part that does not say is plain text.
        is_type(content_type(&body[part.raw.clone()]).unwrap_or(b"text/plain"), wanted)
    })
}

/// The parts between lines `--boundary`; the line end before a delimiter belongs to it.
fn parts(body: &[u8], boundary: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut begun: Option<(usize, usize)> = None;
    let delimiter = [b"--", boundary].concat();
    for at in memchr::memmem::find_iter(body, &delimiter) {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        if let Some((whole_start, raw_start)) = begun.take() {
            parts.extend(part(body, whole_start, raw_start, at));
        }
        let behind = &body[at + delimiter.len()..];
        if behind.starts_with(b"--") {
            break;
        }
        let line_end = memchr::memchr(b'\n', behind);
        let Some(line_end) = line_end.filter(|&end| behind[..end].iter().all(u8::is_ascii_whitespace)) else {
            continue;
        };
        begun = Some((at, at + delimiter.len() + line_end + 1));
    }
    parts
}

fn part(body: &[u8], whole_start: usize, raw_start: usize, next: usize) -> Option<Part> {
    let raw_end = match &body[..next] {
        [.., b'\r', b'\n'] => next - 2,
        _ => next - 1,
    };
    let raw = raw_start..raw_end.max(raw_start);
    let text = body.get(raw.clone())?;
    let content = if text.starts_with(b"\r\n") {
        raw.start + 2
    } else {
        memchr::memmem::find(text, b"\r\n\r\n").map_or(raw.end, |at| raw.start + at + 4)
    };
    Some(Part { whole: whole_start..next, raw: raw.clone(), content: content..raw.end })
}

fn content_type(part: &[u8]) -> Option<&[u8]> {
    let lines = part.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| memchr::memchr(b':', line).map(|at| (&line[..at], &line[at + 1..])))
        .find(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(b"Content-Type"))
        .map(|(_, value)| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::ScriptHarness;

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOps>()];
    const BODY: &str = "preamble\r\n--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=x\r\n\r\n\
        --b1\r\nContent-Type: text/plain;x=y\r\nX: z\r\n\r\nhello\r\n--b1--\r\n";

    fn request() -> String {
        format!(
            "INVITE sip:bob@127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa\r\n\
             From: <sip:a@b.com>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\
             Content-Type: multipart/mixed;boundary=\"b1\"\r\nContent-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        )
    }

    #[test]
    fn parts_are_found_between_their_delimiters() {
        let shown: Vec<&str> =
            parts(BODY.as_bytes(), b"b1").into_iter().map(|part| &BODY[part.content]).collect();
        assert_eq!(shown, ["v=0\r\ns=x\r\n", "hello"]);
        for odd in ["", "--b1", "--b1\r\n", "--b1\r\n--b1--", "x--b1\r\n\r\nno\r\n--b1", "--b1\n\n--b1"] {
            assert!(parts(odd.as_bytes(), b"b1").len() <= 1, "{odd:?}");
        }
    }

    #[test]
    fn parts_are_put_together() {
        let made = "set_body_multipart(\"one\", \"text/plain\", \"d1\");";
        let more = "append_body_part(\"two\", \"text/html\", \"inline\");";
        let end = "Content-Type: text/html\r\nContent-Disposition: inline\r\n\r\ntwo\r\n";
        let rows = [
            (made.to_string(), "--d1\r\nContent-Type: text/plain\r\n\r\none\r\n--d1--\r\n".to_string()),
            ("set_body_multipart();".to_string(), "--delim--\r\n".to_string()),
            (more.to_string(), BODY.replace("--b1--", &format!("--b1\r\n{end}--b1--"))),
            (
                "append_body_part_hex(\"4142\", \"x/y\");".to_string(),
                BODY.replace("--b1--", "--b1\r\nContent-Type: x/y\r\n\r\nAB\r\n--b1--"),
            ),
            ("append_body_part_hex(\"4\", \"x/y\");".to_string(), BODY.to_string()),
            ("append_body_part(\"x\", \"\");".to_string(), BODY.to_string()),
            ("append_body_part(\"x\", \"a\\r\\nX: y\");".to_string(), BODY.to_string()),
            ("set_body_multipart(\"x\", \"a/b\", \"d 1\");".to_string(), BODY.to_string()),
            ("set_body(\"x\", \"a/b\"); $var(r) = 1;".to_string(), "x".to_string()),
        ];
        for (statements, expected) in rows {
            let script = format!(
                "loadmodule \"textops.so\"\nrequest_route {{ {statements} forward(127.0.0.1, 5099); }}"
            );
            let mut stage = ScriptHarness::new(MODULES, &script);
            stage.receive(&request());
            let text = stage.sent_one().text;
            let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
            assert_eq!(body, expected, "{statements}");
            assert!(head.contains(&format!("Content-Length: {}", expected.len())), "{statements}: {head}");
            let is_new = statements.starts_with("set_body_multipart") && body != BODY;
            assert_eq!(head.contains("MIME-Version: 1.0"), is_new, "{statements}: {head}");
        }
    }

    #[test]
    fn parts_are_read_kept_and_removed() {
        let rows = [
            ("get_body_part(\"application/sdp\", \"$var(p)\");", "[$var(p)]", "[v=0\ns=x\n]"),
            ("get_body_part(\"text/*\", \"$var(p)\");", "[$var(p)]", "[hello]"),
            (
                "get_body_part_raw(\"text/plain\", \"$var(p)\");",
                "[$var(p)]",
                "[Content-Type: text/plain;x=y\nX: z\n\nhello]",
            ),
            ("$var(r) = get_body_part(\"image/png\", \"$var(p)\");", "$var(r) $var(p)", "-1 0"),
        ];
        for (statements, text, expected) in rows {
            let told =
                ScriptHarness::told(MODULES, "loadmodule \"textops.so\"", statements, text, &request());
            assert_eq!(told, expected, "{statements}");
        }
        let sent =
            |call: &str| ScriptHarness::relayed(MODULES, "loadmodule \"textops.so\"", call, &request()).0;
        let kept = sent("filter_body(\"text/plain\")");
        assert!(
            kept.ends_with("\r\n\r\nhello") && kept.contains("Content-Type: text/plain;x=y\r\n"),
            "{kept}"
        );
        assert!(kept.contains("Content-Length: 5\r\n") && !kept.contains("multipart"), "{kept}");
        let left = sent("remove_body_part(\"application/sdp\")");
        assert!(!left.contains("v=0") && left.ends_with("hello\r\n--b1--\r\n"), "{left}");
        assert!(left.contains("preamble\r\n--b1\r\nContent-Type: text/plain"), "{left}");
        assert_eq!(sent("filter_body(\"image/png\")"), request());
    }
}
