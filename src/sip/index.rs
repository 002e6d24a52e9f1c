//! Where the header lines of a message stand: found in one pass, kept as entries of 16 bytes.
//!
//! The first 64 lines are kept in place, so that most messages allocate nothing; further ones go to a vector. A
//! table tells the first line of each known header field without a search.

use super::header::{HEADER_ID_COUNT, HeaderId};
use super::octets::{find_name_end, trim_end, trim_start};

/// How many header lines are indexed without allocating.
const INLINE_COUNT: usize = 64;

/// Says that no header line of an identity has been seen.
pub(super) const NONE: u16 = u16::MAX;

/// Where header lines stand: the first 64 in place, the rest in a vector, and the first of each identity.
#[derive(Clone, Debug)]
pub(super) struct Index {
    count: usize,
    inline: [Entry; INLINE_COUNT],
    more: Vec<Entry>,
    first: [u16; HEADER_ID_COUNT],
}

/// Where one header line stands, in bytes from the start line. It ends where the next one starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub offset: u32,
    pub value_offset: u32,
    pub value_size: u32,
    pub name_size: u16,
    pub id: HeaderId,
    /// Leaves no padding, so that an empty index is one block of zeros.
    _reserved: u8,
}

impl Index {
    pub(super) fn new() -> Self {
        let empty = Entry {
            offset: 0,
            value_offset: 0,
            value_size: 0,
            name_size: 0,
            id: HeaderId::Other,
            _reserved: 0,
        };
        Self { count: 0, inline: [empty; INLINE_COUNT], more: Vec::new(), first: [NONE; HEADER_ID_COUNT] }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let first = &mut self.first[entry.id as usize];
        if *first == NONE {
            // Positions beyond the last 16-bit one cannot be reached: limits end before.
            *first = u16::try_from(self.count).unwrap_or(NONE);
        }
        match self.inline.get_mut(self.count) {
            Some(slot) => *slot = entry,
            None => self.more.push(entry),
        }
        self.count += 1;
    }

    pub(super) fn entry(&self, position: usize) -> &Entry {
        self.inline.get(position).unwrap_or_else(|| &self.more[position - INLINE_COUNT])
    }

    pub(super) fn first(&self, id: HeaderId) -> Option<usize> {
        let position = self.first[id as usize];
        (position != NONE).then_some(usize::from(position))
    }
}

impl Entry {
    /// Reads the line that starts at an offset, and where the next one starts.
    pub(super) fn read(bytes: &[u8], offset: usize) -> (Entry, usize) {
        let line = read_line(bytes, offset);
        let entry = Entry {
            offset: offset as u32,
            value_offset: line.value_offset as u32,
            value_size: line.value.len() as u32,
            // A name that does not fit is longer than any limit on lines.
            name_size: u16::try_from(line.name_size).unwrap_or(0),
            id: line.id,
            _reserved: 0,
        };
        (entry, line.next)
    }
}

/// One header line as [`read_line`] finds it.
pub(super) struct Line<'a> {
    pub id: HeaderId,
    pub name_size: usize,
    pub value_offset: usize,
    pub value: &'a [u8],
    pub next: usize,
}

/// Reads the header line that starts at an offset. Without a colon it has no name and is all value.
#[inline]
pub(super) fn read_line(bytes: &[u8], offset: usize) -> Line<'_> {
    let name_end = offset + find_name_end(&bytes[offset..]);
    let next = line_end(bytes, name_end);
    let has_colon = bytes.get(name_end) == Some(&b':');
    let (name, value_start) = match has_colon {
        true => (trim_name(&bytes[offset..name_end]), name_end + 1),
        false => (&bytes[..0], offset),
    };
    let value_to_end = trim_start(&bytes[value_start..next]);
    Line {
        id: HeaderId::from_name(name),
        name_size: name.len(),
        // A value that is not there stands behind the colon: what is put there must not start the next line.
        value_offset: if value_to_end.is_empty() { value_start } else { next - value_to_end.len() },
        value: trim_end(value_to_end),
        next,
    }
}

/// Where the line that goes on at an offset ends, the lines folded into it included (RFC 3261 7.3.1).
fn line_end(bytes: &[u8], offset: usize) -> usize {
    let mut at = offset;
    loop {
        let Some(size) = memchr::memchr(b'\n', &bytes[at..]) else { return bytes.len() };
        at += size + 1;
        if !is_continuation(bytes, at) {
            return at;
        }
    }
}

pub(super) fn is_continuation(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b' ' | b'\t'))
}

/// The size of the line end that text starts with, if it does: the end of the header lines.
pub(super) fn empty_line_size(text: &[u8]) -> Option<usize> {
    match text {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] | [b'\r'] => Some(1),
        _ => None,
    }
}

/// A header name without the white space and control octets that may stand between it and the colon.
///
/// They are no part of the name for matching, or a field could hide from its removal behind them.
pub(super) fn trim_name(name: &[u8]) -> &[u8] {
    let size = name.iter().rposition(|&byte| byte > b' ' && byte != 0x7f).map_or(0, |last| last + 1);
    &name[..size]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: (&str, &str, usize)) {
        let line = read_line(bytes.as_bytes(), 0);
        let name = &bytes[..line.name_size];
        assert!(bytes.as_bytes()[line.value_offset..].starts_with(line.value));
        assert_eq!((name, &*String::from_utf8_lossy(line.value), line.next), expected, "{bytes:?}");
    }

    #[test]
    fn a_line_is_a_name_a_value_and_where_the_next_one_starts() {
        check("A: b\r\nC: d\r\n", ("A", "b", 6));
        check("A:b\nC: d\n", ("A", "b", 4));
        check("Name \t:\r\n\tvalue \r\n\r\n", ("Name", "value", 18));
        check("A: b\r\n c\r\n\td\r\nE: f", ("A", "b\r\n c\r\n\td", 14));
        check("A:\r\n", ("A", "", 4));
        check("A: cut", ("A", "cut", 6));
        check("no colon\r\n: x", ("", "no colon", 10));
        check(": x\r\n", ("", "x", 5));
        check("A:b:c\r\n", ("A", "b:c", 7));
    }

    #[test]
    fn an_entry_has_no_padding() {
        assert_eq!(size_of::<Entry>(), 16);
    }
}
