//! Escapes of a `"…"` text: what they stand for, and where each byte came from.

/// Replaces the escapes of a `"…"` text. `offsets`, when wanted, takes for every byte of the result its offset in
/// `raw`, and at the end the length of `raw`.
pub(super) fn unescape(raw: &[u8], mut offsets: Option<&mut Vec<u32>>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let (byte, length) = if raw[at] == b'\\' { escape(&raw[at..]) } else { (Some(raw[at]), 1) };
        if let Some(byte) = byte {
            bytes.push(byte);
            if let Some(offsets) = offsets.as_deref_mut() {
                offsets.push(at as u32);
            }
        }
        at += length;
    }
    if let Some(offsets) = offsets {
        offsets.push(raw.len() as u32);
    }
    bytes
}

/// The byte that an escape stands for, and its length. An unknown one is a backslash.
fn escape(raw: &[u8]) -> (Option<u8>, usize) {
    match raw.get(1) {
        Some(b'n') => (Some(b'\n'), 2),
        Some(b'r') => (Some(b'\r'), 2),
        Some(b'a') => (Some(0x07), 2),
        Some(b't') => (Some(b'\t'), 2),
        Some(b'"') => (Some(b'"'), 2),
        Some(b'\\') => (Some(b'\\'), 2),
        Some(b'\n') => (None, 2),
        Some(b'\r') if raw.get(2) == Some(&b'\n') => (None, 3),
        Some(b'x') => {
            digits(&raw[2..], 16, 2).map_or((Some(b'\\'), 1), |(byte, length)| (Some(byte), 2 + length))
        }
        Some(b'0'..=b'7') => {
            digits(&raw[1..], 8, 3).map_or((Some(b'\\'), 1), |(byte, length)| (Some(byte), 1 + length))
        }
        _ => (Some(b'\\'), 1),
    }
}

fn digits(raw: &[u8], radix: u32, length_max: usize) -> Option<(u8, usize)> {
    let mut value = 0;
    let mut length = 0;
    while length < length_max
        && let Some(digit) = raw.get(length).and_then(|byte| (*byte as char).to_digit(radix))
    {
        value = value * radix + digit;
        length += 1;
    }
    (length > 0).then_some((value as u8, length))
}
