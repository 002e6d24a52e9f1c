//! Short numbers that tell messages and names apart, the same in every process of every version.
//!
//! | function | used for |
//! |---|---|
//! | [`fingerprint`] | messages: deaths over one, the name of its file in the quarantine, copies that are refused |
//! | [`fnv1a`] | names that other programs make, too: published statistics, `{s.corehash}` of scripts |
//!
//! Neither keeps a secret: whoever needs a number that a sender cannot predict uses a key.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// A fingerprint of these parts. Where one part ends and the next begins makes a difference.
pub fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish()
}

/// FNV-1a with 32 bits. Its numbers stand in names of files and in scripts, and so may never change.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_their_borders_make_a_difference() {
        let rows: [&[&[u8]]; 7] =
            [&[], &[b""], &[b"", b""], &[b"ab"], &[b"a", b"b"], &[b"ab", b""], &[b"b", b"a"]];
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(fingerprint(row), fingerprint(row));
            for other in &rows[index + 1..] {
                assert_ne!(fingerprint(row), fingerprint(other), "{row:?} {other:?}");
            }
        }
    }

    /// Files in a quarantine outlive the program that wrote them.
    #[test]
    fn numbers_stay_the_same_from_version_to_version() {
        assert_eq!(fingerprint(&[b"INVITE", b"sip:a@b"]), 0x3608_fd3d_7389_d534);
        // Of the published test vectors of FNV-1a.
        for (text, expected) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(fnv1a(text.as_bytes()), expected, "{text}");
        }
    }
}
