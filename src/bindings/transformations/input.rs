//! What a transformation is applied to, as text, and its arguments.

use std::io::Write;

use crate::script::host::{Argument, ValueRef};

/// Longest decimal form of an `i64`.
const DECIMAL_SIZE_MAX: usize = 20;

/// Calls `apply` with the text of a value: bytes as they are, an integer in decimal, nothing as empty text.
pub fn on_text<R>(value: ValueRef<'_>, apply: impl FnOnce(&[u8]) -> R) -> R {
    match value {
        ValueRef::Null => apply(b""),
        ValueRef::Text(bytes) => apply(bytes),
        ValueRef::Integer(number) => {
            let mut room = [0; DECIMAL_SIZE_MAX];
            let mut rest = &mut room[..];
            // Twenty bytes hold every i64.
            let _ = write!(rest, "{number}");
            let unused = rest.len();
            apply(&room[..DECIMAL_SIZE_MAX - unused])
        }
    }
}

/// Calls `apply` with the text of argument number `index`; empty text where it is missing.
pub fn on_argument<R>(arguments: &[Argument<'_>], index: usize, apply: impl FnOnce(&[u8]) -> R) -> R {
    match arguments.get(index) {
        Some(Argument::Value(value)) => on_text(*value, apply),
        Some(other) => apply(other.text()),
        None => apply(b""),
    }
}

/// The integer of argument number `index`.
pub fn integer(arguments: &[Argument<'_>], index: usize) -> Option<i64> {
    arguments.get(index)?.integer()
}

/// The separator that begins at argument number `index`: one byte or an escape (`\t`, `\s`, …). A comma separates
/// arguments, so as a separator it arrives as two empty arguments.
pub fn separator(arguments: &[Argument<'_>], index: usize) -> Option<Separator> {
    on_argument(arguments, index, |text| match text {
        [] if arguments.len() == index + 2 => Some(Separator::Byte(b',')),
        [byte] => Some(Separator::Byte(*byte)),
        [b'\\', escape] => Some(match escape {
            b't' => Separator::Byte(b'\t'),
            b'n' => Separator::Byte(b'\n'),
            b'r' => Separator::Byte(b'\r'),
            b'w' => Separator::Byte(b' '),
            b's' => Separator::AnySpace,
            other => Separator::Byte(*other),
        }),
        _ => None,
    })
}

/// What stands between fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// This byte.
    Byte(u8),
    /// A run of white space.
    AnySpace,
}

impl Separator {
    /// Whether `byte` is one.
    pub fn is(self, byte: u8) -> bool {
        match self {
            Separator::Byte(separator) => byte == separator,
            Separator::AnySpace => is_space(byte),
        }
    }

    /// The fields of a text.
    pub fn fields(self, text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
        let skips_empty = self == Separator::AnySpace;
        text.split(move |&byte| self.is(byte)).filter(move |field| !(skips_empty && field.is_empty()))
    }
}

/// White space of the `s` class: blank, tab, carriage return, line feed.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments<'a>(texts: &[&'a str]) -> Vec<Argument<'a>> {
        texts.iter().map(|text| Argument::Value(ValueRef::Text(text.as_bytes()))).collect()
    }

    #[test]
    fn values_have_a_text() {
        for (value, expected) in [
            (ValueRef::Null, ""),
            (ValueRef::Integer(-12), "-12"),
            (ValueRef::Integer(i64::MIN), "-9223372036854775808"),
            (ValueRef::Text(b"x"), "x"),
        ] {
            on_text(value, |text| assert_eq!(text, expected.as_bytes()));
        }
    }

    #[test]
    fn separators_are_bytes_escapes_or_the_comma() {
        for (written, expected) in [
            (&["1", ";"][..], Some(Separator::Byte(b';'))),
            (&["1", "", ""], Some(Separator::Byte(b','))),
            (&["1", ""], None),
            (&["1", "\\t"], Some(Separator::Byte(b'\t'))),
            (&["1", "\\s"], Some(Separator::AnySpace)),
            (&["1", "\\\\"], Some(Separator::Byte(b'\\'))),
            (&["1", "ab"], None),
        ] {
            assert_eq!(separator(&arguments(written), 1), expected, "{written:?}");
        }
    }
}
