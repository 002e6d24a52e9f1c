//! Whether every reader of an edited message cuts it into the lines and the body that were meant.
//!
//! A script may put any text anywhere into the header part. What it makes must not end the header lines early, start a
//! line that has no name, or announce another body: a reader further on that is more or less lenient than the one
//! before it would see another message (RFC 3261 7.3.1, 7.5, 18.3). A message that was received with such a fault may
//! keep it, since its bytes are passed on as they came; an edit may not add one.

use super::edit::EditError;
use super::message::Message;

/// Checks the text that was written for a message, whose header lines were meant to end at an offset.
pub(super) fn check(original: &Message<'_>, written: &[u8], headers_end: usize) -> Result<(), EditError> {
    let refuse = |reason| Err(EditError::Ambiguous(reason));
    let Ok(made) = original.parse_alike(written) else {
        return refuse("the message could not be read any more");
    };
    if made.leading_size() > 0 || made.is_request() != original.is_request() || has_new_fault(original, &made)
    {
        return refuse("the first line would not be a start line");
    }
    if made.headers_end() != headers_end {
        return refuse("the header part would end at another place");
    }
    if made.broken_line().is_some() && original.broken_line().is_none() {
        return refuse("a header line would have no name");
    }
    if odd_line_count(&made) > odd_line_count(original) {
        return refuse("a line would be blank, contain a control octet or end in half a line end");
    }
    if has_same_length(original) && !has_same_length(&made) {
        return refuse("content-length would not be that of the body");
    }
    Ok(())
}

fn has_new_fault(original: &Message<'_>, made: &Message<'_>) -> bool {
    let fault = |message: &Message<'_>| message.request_line().and_then(|line| line.fault);
    fault(made).is_some() && fault(original).is_none()
}

/// Whether Content-Length, where it is there, says what the body has. Without it the body ends with its datagram.
fn has_same_length(message: &Message<'_>) -> bool {
    let received = message.body().len() + message.trailing().len();
    match message.content_length() {
        Ok(told) => told.is_none_or(|told| told as usize == received),
        Err(_) => false,
    }
}

/// How many line ends before the body are only half of one, how many lines hold nothing but white space, and how many
/// octets end the text for some, or pass for part of a name.
fn odd_line_count(message: &Message<'_>) -> usize {
    let lines = &message.bytes()[..message.headers_end()];
    let is_half = |at: usize| match lines[at] {
        b'\r' => lines.get(at + 1).is_some_and(|&next| next != b'\n'),
        _ => at == 0 || lines[at - 1] != b'\r',
    };
    let halves = memchr::memchr2_iter(b'\r', b'\n', lines).filter(|&at| is_half(at)).count();
    let blanks = lines.split(|&byte| byte == b'\n').filter(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        !line.is_empty() && line.iter().all(u8::is_ascii_whitespace)
    });
    let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | b'\n');
    halves + blanks.count() + lines.iter().copied().filter(|byte| is_control(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = "BYE sip:b SIP/2.0\r\nA: 1\r\nl: 4\r\n\r\nbody";

    /// Judges a text as what became of a message; `|` is a line end, and the header lines are meant to end at `^`.
    fn check(original: &str, made: &str, expected: &str) {
        let headers_end = made.replace('|', "\r\n").find('^').expect("a mark");
        let written = made.replace('|', "\r\n").replace('^', "");
        let original = original.replace('|', "\r\n");
        let message = Message::parse(original.as_bytes()).unwrap();
        let shown = match super::check(&message, written.as_bytes(), headers_end) {
            Ok(()) => "fine".to_string(),
            Err(EditError::Ambiguous(reason)) => reason.to_string(),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(shown, expected, "{written:?}");
    }

    #[test]
    fn a_message_stays_one_message() {
        check(ORIGINAL, "BYE sip:b SIP/2.0|A: 2|B: 3|l: 4|^|body", "fine");
        check(ORIGINAL, "BYE sip:b SIP/2.0|A: 1| folded|l: 4|^|body", "fine");
        check(ORIGINAL, "BYE sip:b SIP/2.0|l: 2|^|bo", "fine");
        check(ORIGINAL, "BYE sip:b SIP/2.0|A: 1||l: 4|^|body", "the header part would end at another place");
        check(ORIGINAL, "BYE sip:b SIP/2.0||A: 1|l: 4|^|body", "the header part would end at another place");
        check(
            ORIGINAL,
            "BYE sip:b SIP/2.0|A: 1| |l: 4|^|body",
            "a line would be blank, contain a control octet or end in half a line end",
        );
        check(
            ORIGINAL,
            "BYE sip:b SIP/2.0|A: 1\rX: 2|l: 4|^|body",
            "a line would be blank, contain a control octet or end in half a line end",
        );
        check(
            ORIGINAL,
            "BYE sip:b SIP/2.0|A: 1\nX: 2|l: 4|^|body",
            "a line would be blank, contain a control octet or end in half a line end",
        );
        check(ORIGINAL, "BYE sip:b SIP/2.0|: 1|l: 4|^|body", "a header line would have no name");
        check(ORIGINAL, "BYE sip:b SIP/2.0|A B: 1|l: 4|^|body", "a header line would have no name");
        check(ORIGINAL, "BYE sip:b SIP/2.0|A: 1|l: 3|^|body", "content-length would not be that of the body");
        check(
            ORIGINAL,
            "BYE sip:b SIP/2.0|A: 1|l: 4|l: 5|^|body",
            "content-length would not be that of the body",
        );
        check(ORIGINAL, "BYE sip:b SIP/2.0|A: 1|^|body", "fine");
        check(ORIGINAL, "BYE sip:b SIP/2.0 |A: 1|l: 4|^|body", "fine");
        check(ORIGINAL, "BYE sip:b c SIP/2.0|A: 1|l: 4|^|body", "the first line would not be a start line");
        check(ORIGINAL, "|BYE sip:b SIP/2.0|A: 1|l: 4|^|body", "the first line would not be a start line");
        check(ORIGINAL, "SIP/2.0 200 OK|A: 1|l: 4|^|body", "the first line would not be a start line");
        check(ORIGINAL, "BYE|A: 1|l: 4|^|body", "the message could not be read any more");
    }

    #[test]
    fn control_octets_are_not_added() {
        for octet in ["\0", "\x01", "\x0b", "\x7f"] {
            let made = format!("BYE sip:b SIP/2.0|A{octet}: 1|l: 4|^|body");
            check(
                ORIGINAL,
                &made,
                "a line would be blank, contain a control octet or end in half a line end",
            );
        }
        check(ORIGINAL, "BYE sip:b SIP/2.0|A:\t\u{e4}|l: 4|^|body", "fine");
    }

    #[test]
    fn what_was_wrong_when_it_came_may_stay_wrong() {
        check(
            "BYE sip:b SIP/2.0|no colon|A: 1\rX||body",
            "BYE sip:b SIP/2.0|no colon|A: 2\rX|^|body",
            "fine",
        );
        check("BYE sip:b SIP/2.0|A: 1|l: 9||body", "BYE sip:b SIP/2.0|A: 2|l: 9|^|body", "fine");
        check("BYE sip:b SIP/2.0|A: 1||body", "BYE sip:b SIP/2.0|A: 2|^|body", "fine");
        check("BYE sip:b c SIP/2.0|A: 1||", "BYE sip:b c SIP/2.0|A: 2|^|", "fine");
    }
}
