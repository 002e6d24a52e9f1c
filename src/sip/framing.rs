//! Where one message ends in a stream (RFC 3261 18.3). Pure: bytes in, a verdict out.
//!
//! Every call consumes something, waits for more, or says that the stream is lost: a reader that cannot tell where a
//! message ends must close the connection, since the next byte could be anything.
//!
//! A [`Framer`] remembers how far it has looked, so that bytes that trickle in are each looked at once.

use super::header::HeaderId;
use super::index::read_line;
use super::octets::{count_while, decimal, is_space};
use std::fmt;

/// What a stream may bring at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes from the start line to the empty line.
    pub head_size_max: usize,
    /// Bytes of a whole message.
    pub message_size_max: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { head_size_max: 65_536, message_size_max: 1 << 20 }
    }
}

/// What is to be done about a message without Content-Length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MissingLength {
    /// The stream is lost, as RFC 3261 18.3 has it.
    #[default]
    Refuse,
    /// The message has no body.
    NoBody,
}

/// The verdict on the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// No verdict before there is more.
    Incomplete,
    /// That many bytes mean nothing; drop them.
    Padding {
        /// How many.
        size: usize,
    },
    /// A ping of two line ends, to be answered with one (RFC 5626 3.5.1); drop it.
    Ping {
        /// How many bytes it takes.
        size: usize,
    },
    /// A whole message; take it.
    Message {
        /// How many bytes it takes.
        size: usize,
    },
}

/// Why the end of the message is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The header lines do not end within the limit.
    HeadTooLarge,
    /// The message is longer than the limit.
    MessageTooLarge,
    /// There is no Content-Length.
    NoLength,
    /// Content-Length is not a number.
    BadLength,
    /// Content-Length is there more than once, with different numbers.
    Conflict,
}

/// Finds messages in a stream.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    limits: FrameLimits,
    missing_length: MissingLength,
    /// How many bytes at hand are known not to end the header lines.
    searched: usize,
    /// The size of the message at hand, once its header lines are complete.
    message_size: Option<usize>,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new(limits: FrameLimits, missing_length: MissingLength) -> Self {
        Self { limits, missing_length, searched: 0, message_size: None }
    }

    /// Judges the bytes at hand, which start where the last verdict with a size ended and only grow until the next.
    pub fn judge(&mut self, bytes: &[u8]) -> Result<Frame, FrameError> {
        if self.searched == 0
            && self.message_size.is_none()
            && bytes.first().is_none_or(|&byte| is_padding(byte))
        {
            return Ok(judge_padding(bytes));
        }
        let Some(size) = self.message_size(bytes)? else { return Ok(Frame::Incomplete) };
        if bytes.len() < size {
            return Ok(Frame::Incomplete);
        }
        (self.searched, self.message_size) = (0, None);
        Ok(Frame::Message { size })
    }

    fn message_size(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        if self.message_size.is_some() {
            return Ok(self.message_size);
        }
        let Some(head_size) = self.head_size(bytes)? else { return Ok(None) };
        let body_size = match body_size(&bytes[..head_size])? {
            Some(size) => size as usize,
            None if self.missing_length == MissingLength::NoBody => 0,
            None => return Err(FrameError::NoLength),
        };
        let size = head_size.saturating_add(body_size);
        if size > self.limits.message_size_max {
            return Err(FrameError::MessageTooLarge);
        }
        self.message_size = Some(size);
        Ok(self.message_size)
    }

    /// The size of the header lines with the empty line after them, once it is there.
    fn head_size(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let within = &bytes[..bytes.len().min(self.limits.head_size_max)];
        while let Some(found) = memchr::memchr(b'\n', within.get(self.searched..).unwrap_or_default()) {
            self.searched += found;
            match &within[self.searched + 1..] {
                [b'\n', ..] => return Ok(Some(self.searched + 2)),
                [b'\r', b'\n', ..] => return Ok(Some(self.searched + 3)),
                // The line end has to be seen again with what follows it.
                [] | [b'\r'] => return self.head_pending(within),
                _ => self.searched += 1,
            }
        }
        self.searched = within.len();
        self.head_pending(within)
    }

    fn head_pending(&self, within: &[u8]) -> Result<Option<usize>, FrameError> {
        if within.len() == self.limits.head_size_max { Err(FrameError::HeadTooLarge) } else { Ok(None) }
    }
}

/// Line ends, spaces and zeros in front of a message mean nothing, but two line ends are a ping.
fn judge_padding(bytes: &[u8]) -> Frame {
    if bytes.starts_with(b"\r\n\r\n") {
        return Frame::Ping { size: 4 };
    }
    if b"\r\n\r\n".starts_with(bytes) {
        return Frame::Incomplete;
    }
    let odd = count_while(bytes, |byte| is_padding(byte) && byte != b'\r');
    let size = if odd > 0 { odd } else { count_while(bytes, is_padding).min(2) };
    Frame::Padding { size }
}

fn is_padding(byte: u8) -> bool {
    is_space(byte) || byte == 0
}

/// What the header lines say about the size of the body. Lines that disagree could be read differently by others.
fn body_size(head: &[u8]) -> Result<Option<u32>, FrameError> {
    let mut agreed = None;
    let mut at = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    while at < head.len() {
        let text = &head[at..];
        let line = read_line(text);
        at += line.size;
        if line.id != HeaderId::ContentLength {
            continue;
        }
        let size = decimal(&text[line.value]).ok_or(FrameError::BadLength)?;
        if agreed.is_some_and(|first| first != size) {
            return Err(FrameError::Conflict);
        }
        agreed = Some(size);
    }
    Ok(agreed)
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::HeadTooLarge => "header lines do not end within the limit",
            FrameError::MessageTooLarge => "message is longer than the limit",
            FrameError::NoLength => "message has no content-length",
            FrameError::BadLength => "content-length is not a number",
            FrameError::Conflict => "content-length is there twice with different numbers",
        })
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a stream in pieces of one size and lists the verdicts that are not "more".
    fn verdicts(stream: &[u8], piece_size: usize) -> String {
        let limits = FrameLimits { head_size_max: 200, message_size_max: 1000 };
        let mut framer = Framer::new(limits, MissingLength::Refuse);
        let (mut start, mut shown) = (0, Vec::new());
        for end in (0..stream.len()).step_by(piece_size).map(|at| (at + piece_size).min(stream.len())) {
            while start < end {
                match framer.judge(&stream[start..end]) {
                    Ok(Frame::Incomplete) => break,
                    Ok(Frame::Padding { size }) => start += size,
                    Ok(Frame::Ping { size }) => (start, _) = (start + size, shown.push("ping".to_string())),
                    Ok(Frame::Message { size }) => (start, _) = (start + size, shown.push(size.to_string())),
                    Err(error) => {
                        shown.push(format!("{error:?}"));
                        return shown.join(" ");
                    }
                }
                assert!(start <= end);
            }
        }
        shown.join(" ")
    }

    fn check(stream: &str, expected: &str) {
        for piece_size in [1, 2, 3, 7, stream.len().max(1)] {
            assert_eq!(
                verdicts(stream.as_bytes(), piece_size),
                expected,
                "pieces of {piece_size}: {stream:?}"
            );
        }
    }

    #[test]
    fn messages_end_where_content_length_says() {
        check("A b:c SIP/2.0\r\nl: 0\r\n\r\n", "23");
        check("A b:c SIP/2.0\r\nContent-Length: 3\r\n\r\nabcA b:c SIP/2.0\nl:1\n\nx", "39 20");
        check("A b:c SIP/2.0\r\nl : \r\n 2\r\n\r\nabc", "29");
        check("A b:c SIP/2.0\r\nl: 2\r\nl: 02\r\n\r\nab", "32");
        check("A b:c SIP/2.0\r\nl: 5\r\n\r\nab", "");
    }

    #[test]
    fn padding_and_pings_stand_between_messages() {
        check("\r\n\r\n", "ping");
        check("\r\nA b:c SIP/2.0\r\nl: 0\r\n\r\n", "23");
        check(" \0\n\t A b:c SIP/2.0\r\nl: 0\r\n\r\n\r\n\r\n", "23 ping");
        check("\r\rA b:c SIP/2.0\r\nl: 0\r\n\r\n", "23");
        check("\r\n", "");
    }

    #[test]
    fn streams_are_lost_where_the_end_is_unknown() {
        check("A b:c SIP/2.0\r\n\r\n", "NoLength");
        check("A b:c SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\n", "Conflict");
        for number in [
            "",
            "-1",
            "+1",
            "0x10",
            "1 1",
            "1,1",
            "4294967296",
            "18446744073709551616",
            "9223372036854775808",
        ] {
            check(&format!("A b:c SIP/2.0\r\nl: {number}\r\n\r\n"), "BadLength");
        }
        check("A b:c SIP/2.0\r\nl: 2000\r\n\r\n", "MessageTooLarge");
        check("A b:c SIP/2.0\r\nl: 4294967295\r\n\r\n", "MessageTooLarge");
        check(&format!("A b:c SIP/2.0\r\nX: {}", "a".repeat(300)), "HeadTooLarge");
        check(&"A: b\r\n".repeat(50), "HeadTooLarge");
    }

    #[test]
    fn a_missing_length_may_mean_no_body() {
        let mut framer = Framer::new(FrameLimits::default(), MissingLength::NoBody);
        assert_eq!(framer.judge(b"A b:c SIP/2.0\r\n\r\nX"), Ok(Frame::Message { size: 17 }));
    }
}
