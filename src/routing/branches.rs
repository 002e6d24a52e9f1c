//! Further targets of a request beside its Request-URI: `append_branch()`, `$branch(uri)[0]`, `$ds`.
//!
//! They are kept while the message is in hand. `forward()` goes to the Request-URI only; replies of class 3xx and a
//! relay that forks read them.

use std::fmt;

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its Request-URI.
    pub uri: Vec<u8>,
    /// Where it is sent, whatever its Request-URI says; empty when it does.
    pub destination: Vec<u8>,
    /// Its Route set; empty without.
    pub path: Vec<u8>,
    /// Preference in thousandths, 0 to 1000; `None` without.
    pub q: Option<u16>,
    /// Its flags.
    pub flags: u32,
    /// The listener it leaves by.
    pub listener: Option<u16>,
    /// Where a record of a location brought it: its id.
    pub record_id: Vec<u8>,
    /// User-Agent of that record.
    pub user_agent: Vec<u8>,
    /// Instance of that record.
    pub instance: Vec<u8>,
}

/// The targets, in the order they were added.
#[derive(Debug, Default)]
pub struct Branches {
    targets: Vec<Target>,
    /// `$sbranch`: one that is put together before it is added.
    pub draft: Option<Target>,
}

/// As many branches as `max_branches` allows are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyBranches(pub u32);

impl fmt::Display for TooManyBranches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are {} branches already (max_branches)", self.0)
    }
}

impl std::error::Error for TooManyBranches {}

impl Branches {
    /// The targets.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The targets, to be changed.
    pub fn targets_mut(&mut self) -> &mut [Target] {
        &mut self.targets
    }

    /// The place of the target at an index; negative from the last.
    pub fn position(&self, index: i64) -> Option<usize> {
        let position = match usize::try_from(index) {
            Ok(index) => index,
            Err(_) => self.targets.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
        };
        (position < self.targets.len()).then_some(position)
    }

    /// Appends a target.
    pub fn append(&mut self, target: Target, count_max: u32) -> Result<(), TooManyBranches> {
        // The Request-URI is a branch of its own.
        if self.targets.len() + 1 >= count_max as usize {
            return Err(TooManyBranches(count_max));
        }
        self.targets.push(target);
        Ok(())
    }

    /// Takes the target at an index away; false if there is none.
    pub fn remove(&mut self, index: i64) -> bool {
        let position = self.position(index);
        position.map(|position| self.targets.remove(position)).is_some()
    }

    /// Takes all away but the one that is put together.
    pub fn remove_all(&mut self) {
        self.targets.clear();
    }

    /// Forgets everything: the message is done.
    #[inline]
    pub fn clear(&mut self) {
        self.targets.clear();
        self.draft = None;
    }

    /// The targets as values of Contact: `uri, <uri>;q=0.5`, in angle brackets where asked for or needed.
    pub fn write_contacts(&self, has_all_brackets: bool, out: &mut Vec<u8>) {
        for (index, target) in self.targets.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            let has_brackets = has_all_brackets || target.q.is_some();
            if has_brackets {
                out.push(b'<');
            }
            out.extend_from_slice(&target.uri);
            if has_brackets {
                out.push(b'>');
            }
            if let Some(q) = target.q {
                out.extend_from_slice(b";q=");
                out.extend_from_slice(shown_q(q).as_bytes());
            }
        }
    }
}

/// A preference as RFC 3261 25.1 writes it.
fn shown_q(thousandths: u16) -> String {
    match thousandths {
        1000.. => "1".to_string(),
        0 => "0".to_string(),
        part => format!("0.{part:03}").trim_end_matches('0').to_string(),
    }
}

/// A preference: `0`, `0.5`, `1`, `1.000`.
pub fn parse_q(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    match (whole, part) {
        ("0" | "", part) if !text.is_empty() => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str, q: Option<u16>) -> Target {
        Target { uri: uri.as_bytes().to_vec(), q, ..Target::default() }
    }

    #[test]
    fn preferences_are_read_and_written() {
        let rows = [
            ("0.5", Some(500), "0.5"),
            ("0", Some(0), "0"),
            ("0.05", Some(50), "0.05"),
            ("0.123", Some(123), "0.123"),
            ("1", Some(1000), "1"),
            ("1.000", Some(1000), "1"),
            (".7", Some(700), "0.7"),
            ("1.1", None, ""),
            ("2", None, ""),
            ("0.1234", None, ""),
            ("-1", None, ""),
            ("", None, ""),
            ("x", None, ""),
        ];
        for (written, expected, shown) in rows {
            assert_eq!(parse_q(written.as_bytes()), expected, "{written}");
            if let Some(q) = expected {
                assert_eq!(shown_q(q), shown);
            }
        }
    }

    #[test]
    fn targets_are_counted_from_both_ends_and_limited() {
        let mut branches = Branches::default();
        assert_eq!((branches.position(0), branches.position(-1)), (None, None));
        branches.append(target("sip:a", None), 3).unwrap();
        branches.append(target("sip:b", Some(500)), 3).unwrap();
        assert_eq!(branches.append(target("sip:c", None), 3), Err(TooManyBranches(3)));
        let rows = [
            (0, Some(0)),
            (1, Some(1)),
            (2, None),
            (-1, Some(1)),
            (-2, Some(0)),
            (-3, None),
            (i64::MIN, None),
        ];
        for (index, expected) in rows {
            assert_eq!(branches.position(index), expected, "{index}");
        }
        let mut out = Vec::new();
        branches.write_contacts(false, &mut out);
        assert_eq!(out, b"sip:a, <sip:b>;q=0.5");
        out.clear();
        branches.write_contacts(true, &mut out);
        assert_eq!(out, b"<sip:a>, <sip:b>;q=0.5");
        assert!(branches.remove(-2) && !branches.remove(5));
        assert_eq!(branches.targets(), [target("sip:b", Some(500))]);
    }
}
