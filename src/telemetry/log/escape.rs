//! Makes control bytes visible, so that nothing a sender writes can pass for something else in a log.
//!
//! A byte becomes `\x0d`, and a backslash before an `x` becomes `\x5c`, so that it can be undone. Tabs and UTF-8 stay;
//! bytes that are no UTF-8, and the control characters that UTF-8 can spell (U+0080 to U+009F), do not.

use std::io::Write;

/// The origin of a text, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As a sender wrote it: everything is made visible.
    AsReceived,
    /// What was received has been made visible in it already; the rest is the script's own. It goes where a line must
    /// be a line.
    AsLine,
    /// The same where newlines and colours may be.
    AsWritten,
}

/// Appends `text` with its control bytes made visible.
pub fn escape(text: &[u8], manner: Manner, out: &mut Vec<u8>) {
    let mut plain_from = 0;
    let mut at = 0;
    while at < text.len() {
        let plain_size = plain_size(&text[at..], manner);
        if plain_size > 0 {
            at += plain_size;
            continue;
        }
        out.extend_from_slice(&text[plain_from..at]);
        let kept = match manner {
            Manner::AsWritten => meant_by_script(&text[at..]),
            Manner::AsReceived | Manner::AsLine => 0,
        };
        if kept > 0 {
            out.extend_from_slice(&text[at..at + kept]);
        } else {
            let _ = write!(out, "\\x{:02x}", text[at]);
        }
        at += kept.max(1);
        plain_from = at;
    }
    out.extend_from_slice(&text[plain_from..]);
}

/// The size of the character that `text` begins with, 0 when it may not be written as it is.
fn plain_size(text: &[u8], manner: Manner) -> usize {
    match text[0] {
        b'\t' => 1,
        b'\\' if manner != Manner::AsReceived => 1,
        b'\\' => usize::from(text.get(1) != Some(&b'x')),
        byte if byte.is_ascii() => usize::from(!byte.is_ascii_control()),
        first => multibyte_size(text, first),
    }
}

fn multibyte_size(text: &[u8], first: u8) -> usize {
    let size = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return 0,
    };
    let character = text.get(..size).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let is_plain = character.is_some_and(|text| !text.starts_with(char::is_control));
    if is_plain { size } else { 0 }
}

/// The size of the newline or colour sequence that `text` begins with: the script wrote it.
fn meant_by_script(text: &[u8]) -> usize {
    if text[0] == b'\n' {
        return 1;
    }
    let Some(parameters) = text.strip_prefix(b"\x1b[") else { return 0 };
    let size = parameters.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    if parameters.get(size) == Some(&b'm') { size + 3 } else { 0 }
}

/// Undoes [`escape`].
#[cfg(test)]
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(&first) = rest.first() {
        let number = rest.strip_prefix(b"\\x").and_then(|after| after.get(..2));
        match number.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(first);
                rest = &rest[1..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8], manner: Manner) -> Vec<u8> {
        let mut out = Vec::new();
        escape(text, manner, &mut out);
        out
    }

    #[test]
    fn every_byte_can_be_told_from_every_other_and_none_controls() {
        for byte in 0..=255u8 {
            for text in [vec![byte], vec![b'a', byte, b'b'], vec![b'\\', byte, b'0', b'd'], vec![0xc3, byte]]
            {
                let shown = escaped(&text, Manner::AsReceived);
                assert_eq!(unescape(&shown), text, "{byte:#x}");
                assert!(shown.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()), "{byte:#x}");
                assert!(std::str::from_utf8(&shown).is_ok(), "{byte:#x}");
            }
        }
    }

    #[test]
    fn only_whole_and_harmless_characters_stay() {
        let rows: [(&[u8], &str); 7] = [
            ("größe €😀".as_bytes(), "größe €😀"),
            (b"\xc3", "\\xc3"),
            (b"\xc3(", "\\xc3("),
            (b"\xe2\x82", "\\xe2\\x82"),
            (b"\xc2\x9b31m", "\\xc2\\x9b31m"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
            (b"\xff\xfe", "\\xff\\xfe"),
        ];
        for (text, expected) in rows {
            for manner in [Manner::AsReceived, Manner::AsLine, Manner::AsWritten] {
                assert_eq!(String::from_utf8(escaped(text, manner)).as_deref(), Ok(expected));
            }
        }
    }
}
