//! Bodies: there or not, of which type, replaced, and what a session description says about hold.

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome};
use crate::routing::context::{Context, ReplyBody};
use crate::sip::HeaderId;

use super::TextOps;

pub(super) fn has_body(_: &TextOps, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    (!context.message.body().is_empty()).into()
}

pub(super) fn has_body_of_type(
    _: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let content_type = context.message.header(HeaderId::ContentType).map(|header| header.value);
    let has_type = content_type.is_some_and(|value| is_type(value, arguments[0].text()));
    (has_type && !context.message.body().is_empty()).into()
}

/// Compares a Content-Type without its parameters; `type/*` stands for every subtype.
pub(super) fn is_type(value: &[u8], wanted: &[u8]) -> bool {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let bare = value[..end].trim_ascii();
    match wanted.strip_suffix(b"*") {
        Some(class) => bare.get(..class.len()).is_some_and(|start| start.eq_ignore_ascii_case(class)),
        None => bare.eq_ignore_ascii_case(wanted.trim_ascii()),
    }
}

pub(super) fn set_body(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (body, content_type) = (arguments[0].text(), arguments[1].text());
    if content_type.is_empty() {
        return outcome(context, "set_body", Err("a body needs a type"));
    }
    let set = context.edits.set_body(&context.message, Some(content_type), body);
    outcome(context, "set_body", set)
}

pub(super) fn set_reply_body(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (body, content_type) = (arguments[0].text(), arguments[1].text());
    let is_line = !content_type.is_empty() && !content_type.iter().any(u8::is_ascii_control);
    if !is_line {
        return outcome(context, "set_reply_body", Err("a body needs a type, in one line"));
    }
    context.reply_body = Some(ReplyBody { content_type: content_type.to_vec(), bytes: body.to_vec() });
    Outcome::TRUE
}

pub(super) fn is_audio_on_hold(_: &TextOps, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    is_on_hold(context.message.body()).into()
}

/// Whether an audio stream only sends, is inactive (RFC 3264 8.4) or has no address to send to (RFC 2543).
fn is_on_hold(description: &[u8]) -> bool {
    let mut is_audio = false;
    let mut is_session_held = false;
    let mut held = false;
    let mut has_audio = false;
    for line in description.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        let is_held = is_hold_line(line);
        if let Some(media) = line.strip_prefix(b"m=") {
            is_audio = media.starts_with(b"audio");
            has_audio |= is_audio;
        } else if is_audio {
            held |= is_held;
        } else if !has_audio {
            is_session_held |= is_held;
        }
    }
    has_audio && (held || is_session_held)
}

fn is_hold_line(line: &[u8]) -> bool {
    matches!(line, b"a=sendonly" | b"a=inactive" | b"c=IN IP4 0.0.0.0" | b"c=IN IP6 ::")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::ScriptHarness;

    #[test]
    fn types_are_compared_without_parameters() {
        let rows = [
            ("application/sdp", "application/sdp", true),
            ("Application/SDP; charset=utf-8", "application/sdp", true),
            ("application/sdp", "application/*", true),
            ("text/plain", "application/*", false),
            ("application/sdpx", "application/sdp", false),
            ("", "application/sdp", false),
        ];
        for (value, wanted, expected) in rows {
            assert_eq!(is_type(value.as_bytes(), wanted.as_bytes()), expected, "{value} as {wanted}");
        }
    }

    #[test]
    fn hold_is_seen_in_the_audio() {
        let rows = [
            ("v=0\r\nm=audio 1 RTP/AVP 0\r\na=sendonly\r\n", true),
            ("v=0\r\nm=audio 1 RTP/AVP 0\r\na=inactive\r\n", true),
            ("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 1 RTP/AVP 0\r\n", true),
            ("v=0\r\nm=audio 1 RTP/AVP 0\r\na=sendrecv\r\n", false),
            ("v=0\r\nm=video 1 RTP/AVP 0\r\na=sendonly\r\n", false),
            ("v=0\r\nm=audio 1 RTP/AVP 0\r\nm=video 1 RTP/AVP 0\r\na=sendonly\r\n", false),
            ("", false),
        ];
        for (description, expected) in rows {
            assert_eq!(is_on_hold(description.as_bytes()), expected, "{description:?}");
        }
    }

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOps>()];

    const REQUEST: &str = "INVITE sip:bob@127.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa\r\nFrom: <sip:a@b.com>;tag=1\r\n\
        To: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\nX-Foo: one\r\nX-Foo: two\r\n\
        Privacy: id;header\r\nContent-Type: application/sdp\r\nContent-Length: 10\r\n\r\nv=0\r\ns=x\r\n";

    fn changed(call: &str) -> (String, String) {
        ScriptHarness::relayed(MODULES, "loadmodule \"textops.so\"", call, REQUEST)
    }

    #[test]
    fn a_new_body_comes_with_its_type_and_size() {
        let (text, _) = changed("set_body(\"hello\", \"text/plain\")");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "hello");
        assert!(head.contains("Content-Type: text/plain") && head.contains("Content-Length: 5"), "{text}");
        assert!(!head.contains("application/sdp") && !head.contains("Content-Length: 10"), "{text}");
        let (text, _) = changed("replace_body(\"s=x\", \"s=longer\")");
        assert!(text.contains("Content-Length: 15") && text.ends_with("s=longer\r\n"), "{text}");
    }
}
