//! Makes control bytes visible, so that nothing a sender writes can pass for something else in a log.
//!
//! A byte becomes `\x0d`, and a backslash before an `x` becomes `\x5c`, so that it can be undone. Tabs and UTF-8 stay;
//! bytes that are no UTF-8, and the control characters that UTF-8 can spell (U+0080 to U+009F), do not.

use std::io::Write;

use super::Origin;

/// Appends `text` with its control bytes made visible.
pub fn escape(text: &[u8], origin: Origin, out: &mut Vec<u8>) {
    let mut plain_from = 0;
    let mut at = 0;
    while at < text.len() {
        let plain_size = plain_size(&text[at..]);
        if plain_size > 0 {
            at += plain_size;
            continue;
        }
        out.extend_from_slice(&text[plain_from..at]);
        let kept = match origin {
            Origin::Script => meant_by_script(text, at),
            Origin::Server => 0,
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
fn plain_size(text: &[u8]) -> usize {
    match text[0] {
        b'\t' => 1,
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

/// How many bytes from here on are a newline or a colour sequence that the script wrote.
///
/// A newline before white space folds a header field: it came from a sender, who would start a log line of his own
/// with it. What a script writes of whole messages (`$mb`, `$rb`) has lines, and those stay.
fn meant_by_script(text: &[u8], at: usize) -> usize {
    if text[at] == b'\n' {
        let folds = matches!(text.get(at + 1), Some(b' ' | b'\t'));
        return usize::from(!folds);
    }
    let Some(parameters) = text[at..].strip_prefix(b"\x1b[") else { return 0 };
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

    fn escaped(text: &[u8], origin: Origin) -> Vec<u8> {
        let mut out = Vec::new();
        escape(text, origin, &mut out);
        out
    }

    #[test]
    fn every_byte_can_be_told_from_every_other_and_none_controls() {
        for byte in 0..=255u8 {
            for text in [vec![byte], vec![b'a', byte, b'b'], vec![b'\\', byte, b'0', b'd'], vec![0xc3, byte]]
            {
                let shown = escaped(&text, Origin::Server);
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
            for origin in [Origin::Server, Origin::Script] {
                assert_eq!(String::from_utf8(escaped(text, origin)).as_deref(), Ok(expected));
            }
        }
    }
}
