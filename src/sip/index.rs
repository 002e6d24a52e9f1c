//! Where the header lines of a message stand: found in one pass, kept as entries of 12 bytes.
//!
//! The first 64 lines are kept in place, so that most messages allocate nothing; further ones go to a vector. A table
//! gives the first line of each known header field without a search.

use super::find::{find, find_word};
use super::header::{HEADER_ID_COUNT, HeaderId};
use super::octets::is_space;
use std::ops::Range;

/// How many header lines are indexed without allocating.
const INLINE_COUNT: usize = 64;

/// Maximum number of indexed header lines: a 16-bit number, of which 0 means none.
pub(super) const HEADER_COUNT_MAX: usize = u16::MAX as usize - 1;

/// The longest line whose parts fit an entry.
pub(super) const HEADER_SIZE_MAX: usize = u16::MAX as usize;

/// Where header lines stand: the first 64 in place, the rest in a vector, and the first of each identity.
///
/// An empty one is all zeros, which costs least to make.
#[derive(Clone, Debug)]
pub(super) struct HeaderIndex {
    count: usize,
    inline: [HeaderEntry; INLINE_COUNT],
    more: Vec<HeaderEntry>,
    /// The position of the first line of each identity plus one, or 0.
    first: [u16; HEADER_ID_COUNT],
}

/// Where one header line stands, in bytes from the start line, and its value, in bytes from the start of the line.
/// The line ends where the next one starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderEntry {
    pub offset: u32,
    pub value_start: u16,
    pub value_end: u16,
    pub name_size: u16,
    pub id: HeaderId,
    /// Leaves no padding, so that an empty index is one block of zeros.
    _reserved: u8,
}

impl HeaderIndex {
    #[inline]
    pub(super) fn new() -> Self {
        let empty = HeaderEntry {
            offset: 0,
            value_start: 0,
            value_end: 0,
            name_size: 0,
            id: HeaderId::Other,
            _reserved: 0,
        };
        Self { count: 0, inline: [empty; INLINE_COUNT], more: Vec::new(), first: [0; HEADER_ID_COUNT] }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn push(&mut self, entry: HeaderEntry) {
        let position = self.count;
        match self.inline.get_mut(position) {
            Some(slot) => *slot = entry,
            None => self.push_more(entry),
        }
        self.count = position + 1;
        let first = &mut self.first[entry.id as usize];
        if *first == 0 {
            // Positions beyond the last 16-bit one cannot be reached: limits end before.
            *first = (position + 1) as u16;
        }
    }

    #[cold]
    fn push_more(&mut self, entry: HeaderEntry) {
        self.more.push(entry);
    }

    #[inline]
    pub(super) fn entry(&self, position: usize) -> &HeaderEntry {
        self.inline.get(position).unwrap_or_else(|| &self.more[position - INLINE_COUNT])
    }

    /// Where the value of the first line of this identity stands, in bytes from the start line.
    #[inline]
    pub(super) fn first_value(&self, id: HeaderId) -> Option<Range<usize>> {
        let entry = self.entry(self.first(id)?);
        let start = entry.offset as usize;
        Some(start + usize::from(entry.value_start)..start + usize::from(entry.value_end))
    }

    #[inline]
    pub(super) fn first(&self, id: HeaderId) -> Option<usize> {
        usize::from(self.first[id as usize]).checked_sub(1)
    }
}

impl HeaderEntry {
    /// What is kept of a line of at most [`HEADER_SIZE_MAX`] bytes.
    #[inline]
    pub(super) fn of(line: &HeaderLine, offset: usize) -> HeaderEntry {
        debug_assert!(line.size <= HEADER_SIZE_MAX);
        HeaderEntry {
            offset: offset as u32,
            value_start: line.value.start as u16,
            value_end: line.value.end as u16,
            name_size: line.name_size as u16,
            id: line.id,
            _reserved: 0,
        }
    }
}

/// One header line as [`read_line`] finds it; places count from its start.
pub(super) struct HeaderLine {
    pub id: HeaderId,
    pub name_size: usize,
    pub value: Range<usize>,
    pub size: usize,
}

/// Reads the header line that a text starts with. Without a colon it has no name and is all value.
#[inline]
pub(super) fn read_line(text: &[u8]) -> HeaderLine {
    let Some((id, name_size)) = HeaderId::of_line(text) else { return read_other_line(text) };
    // From the start on, although the name has no line end in it: so it need not wait for where the name ends.
    let size = line_end(text, 0);
    HeaderLine { id, name_size, value: without_space(&text[..size], name_size + 1), size }
}

/// The same for a line of an unknown name or none, or with white space before its colon, or at the end of the text.
fn read_other_line(text: &[u8]) -> HeaderLine {
    let name_end = find_word(text, *b":\n").unwrap_or(text.len());
    let size = line_end(text, name_end);
    let (name_size, value_start) = match text.get(name_end) {
        Some(b':') => (trim_name(&text[..name_end]).len(), name_end + 1),
        _ => (0, 0),
    };
    HeaderLine {
        id: HeaderId::from_start(text, name_size),
        name_size,
        value: without_space(&text[..size], value_start),
        size,
    }
}

/// What is left of a line from an offset without the white space on either side.
#[inline]
fn without_space(line: &[u8], from: usize) -> Range<usize> {
    match line.get(from..) {
        // As it is usually written.
        Some([b' ', first, .., last, b'\r', b'\n']) if *first > b' ' && *last > b' ' => {
            from + 1..line.len() - 2
        }
        _ => without_any_space(line, from),
    }
}

fn without_any_space(line: &[u8], from: usize) -> Range<usize> {
    let (mut start, mut end) = (from, line.len());
    while start < end && is_space(line[start]) {
        start += 1;
    }
    while start < end && is_space(line[end - 1]) {
        end -= 1;
    }
    // A value that is not there follows the colon: what is put there must not start the next line.
    if start < end { start..end } else { from..from }
}

/// Where the line that goes on at an offset ends, the lines folded into it included (RFC 3261 7.3.1).
#[inline(always)]
fn line_end(bytes: &[u8], offset: usize) -> usize {
    let mut at = offset;
    loop {
        let Some(size) = find(&bytes[at..], *b"\n") else { return bytes.len() };
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
/// They are no part of the name for matching, or a field could hide from its removal after them.
#[inline]
pub(super) fn trim_name(name: &[u8]) -> &[u8] {
    let is_visible = |byte: u8| byte > b' ' && byte != 0x7f;
    match name {
        [.., last] if is_visible(*last) => name,
        _ => &name[..name.iter().rposition(|&byte| is_visible(byte)).map_or(0, |last| last + 1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: (&str, &str, usize)) {
        let line = read_line(text.as_bytes());
        assert_eq!((&text[..line.name_size], &text[line.value], line.size), expected, "{text:?}");
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
        check("A: b\n", ("A", "b", 5));
        check("A:\tb \t \r\n", ("A", "b", 9));
        check("A: \x01\r\n", ("A", "\x01", 6));
        check("A: \r\n \r\n", ("A", "", 8));
        check("Via: b, c\r\n and some more of it\r\n", ("Via", "b, c\r\n and some more of it", 33));
        check("Via\n: some text of another line\r\n", ("", "Via", 4));
        check("Via : some text of the same line\r\n", ("Via", "some text of the same line", 34));
        check("", ("", "", 0));
    }

    #[test]
    fn an_entry_is_small_and_holds_the_longest_line() {
        assert_eq!(size_of::<HeaderEntry>(), 12);
        let line = |size| HeaderLine { id: HeaderId::Via, name_size: size - 1, value: size..size, size };
        let entry = HeaderEntry::of(&line(HEADER_SIZE_MAX), 7);
        assert_eq!((entry.offset, entry.name_size, entry.value_end), (7, 65_534, 65_535));
    }
}
