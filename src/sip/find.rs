//! Where one of a few octets first stands in a text.
//!
//! The texts of a message are short: a line, a name, a parameter. A search that sees sixteen octets at a time and has
//! nothing to set up is done with them before a library function, which pays off on pages, has been called.

const CHUNK_SIZE: usize = 16;
pub(super) const WORD_SIZE: usize = 8;
const REPEATED: u64 = 0x0101_0101_0101_0101;

/// The first place of any of the wanted octets.
#[inline(always)]
pub(super) fn find<const N: usize>(text: &[u8], wanted: [u8; N]) -> Option<usize> {
    let Some(last) = text.last_chunk() else { return find_word(text, wanted) };
    let (chunks, _) = text.as_chunks();
    for (index, chunk) in chunks.iter().enumerate() {
        if has_one_of(chunk, wanted) {
            return Some(index * CHUNK_SIZE + place_in(chunk, wanted));
        }
    }
    // Overlaps the chunk before it, in which nothing was found.
    let start = text.len() - CHUNK_SIZE;
    has_one_of(last, wanted).then(|| start + place_in(last, wanted))
}

/// Where the first of the wanted octets stands, or the length of the text.
#[inline(always)]
pub(super) fn find_or_end<const N: usize>(text: &[u8], wanted: [u8; N]) -> usize {
    find(text, wanted).unwrap_or(text.len())
}

/// The same as [`find`], eight octets at a time: for texts that are shorter still, such as names.
#[inline(always)]
pub(super) fn find_word<const N: usize>(text: &[u8], wanted: [u8; N]) -> Option<usize> {
    let Some(&last) = text.last_chunk() else {
        return text.iter().position(|&octet| is_one_of(octet, wanted));
    };
    let (words, _) = text.as_chunks();
    for (index, &word) in words.iter().enumerate() {
        if let Some(at) = find_in_word(word, wanted) {
            return Some(index * WORD_SIZE + at);
        }
    }
    find_in_word(last, wanted).map(|at| text.len() - WORD_SIZE + at)
}

#[inline(always)]
fn find_in_word<const N: usize>(octets: [u8; WORD_SIZE], wanted: [u8; N]) -> Option<usize> {
    let marks = marks(u64::from_le_bytes(octets), wanted);
    (marks != 0).then(|| first_marked(marks))
}

/// Where the first of the wanted octets stands in a chunk that has one.
#[inline(always)]
fn place_in<const N: usize>(chunk: &[u8; CHUNK_SIZE], wanted: [u8; N]) -> usize {
    let (words, _) = chunk.as_chunks();
    let first = marks(u64::from_le_bytes(words[0]), wanted);
    if first != 0 {
        return first_marked(first);
    }
    WORD_SIZE + first_marked(marks(u64::from_le_bytes(words[1]), wanted))
}

/// Has the top bit set in the lowest octet that is wanted, and none below; higher octets may be marked wrongly.
#[inline(always)]
pub(super) fn marks<const N: usize>(word: u64, wanted: [u8; N]) -> u64 {
    wanted.iter().fold(0, |marks, &octet| marks | zero_octets(word ^ repeat(octet)))
}

/// The lowest octet that is marked.
#[inline(always)]
pub(super) fn first_marked(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Without an early end, so that the compiler compares all octets at once.
#[inline(always)]
fn has_one_of<const N: usize>(chunk: &[u8; CHUNK_SIZE], wanted: [u8; N]) -> bool {
    chunk.iter().fold(false, |found, &octet| found | is_one_of(octet, wanted))
}

/// Without branches.
#[inline(always)]
fn is_one_of<const N: usize>(octet: u8, wanted: [u8; N]) -> bool {
    wanted.iter().fold(false, |found, &wanted| found | (octet == wanted))
}

const fn repeat(octet: u8) -> u64 {
    REPEATED * octet as u64
}

/// Has the top bit set in the lowest octet that is zero; higher octets may be set wrongly.
const fn zero_octets(word: u64) -> u64 {
    word.wrapping_sub(REPEATED) & !word & (REPEATED << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets next to the wanted ones are what a careless search would take for them.
    const NEIGHBOURS: &[u8] = b"\x0b;9\x09\xba\x8a\x3b\x00\xff\x80";

    #[test]
    fn the_first_wanted_octet_is_found_wherever_it_stands() {
        for size in 0..70 {
            for end in [":", "\n", ":\n", "\n:x:", "", "x\n", "xxxxxxxx:xxxxxxxxxxxxxxxx"] {
                let neighbours = (0..size).map(|at| NEIGHBOURS[at % NEIGHBOURS.len()]);
                let text: Vec<u8> = neighbours.chain(end.bytes()).collect();
                let expected = text.iter().position(|byte| b":\n".contains(byte));
                assert_eq!(find(&text, *b":\n"), expected, "{}", text.escape_ascii());
                assert_eq!(find_word(&text, *b":\n"), expected, "{}", text.escape_ascii());
                assert_eq!(find_or_end(&text, *b":\n"), expected.unwrap_or(text.len()));
            }
        }
    }

    #[test]
    fn every_octet_is_told_from_every_other() {
        for wanted in 0..=u8::MAX {
            for other in (0..=u8::MAX).filter(|&other| other != wanted) {
                let mut text = [other; 40];
                assert_eq!((find(&text, [wanted]), find_word(&text, [wanted])), (None, None));
                text[21] = wanted;
                assert_eq!((find(&text, [wanted]), find_word(&text, [wanted])), (Some(21), Some(21)));
            }
        }
    }
}
