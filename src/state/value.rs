//! A value that a script can keep: nothing, an integer or text. Text keeps its room when it is overwritten, so that a
//! variable that is set for every message allocates once.

use crate::script::host::{Reading, ValueRef};

/// A stored value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// An integer.
    Integer(i64),
    /// Bytes.
    Text(Vec<u8>),
}

impl Value {
    /// Overwrites it; text goes into the room that is there.
    pub fn set(&mut self, value: ValueRef<'_>) {
        match (value, &mut *self) {
            (ValueRef::Text(bytes), Value::Text(room)) => {
                room.clear();
                room.extend_from_slice(bytes);
            }
            (ValueRef::Text(bytes), _) => *self = Value::Text(bytes.to_vec()),
            (ValueRef::Integer(number), _) => *self = Value::Integer(number),
            (ValueRef::Null, _) => *self = Value::Null,
        }
    }

    /// The value, borrowed.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Text(bytes) => ValueRef::Text(bytes),
        }
    }
}

/// Gives a value as the answer of a reader: text is appended to `out`.
pub fn answer(value: ValueRef<'_>, out: &mut Vec<u8>) -> Reading {
    match value {
        ValueRef::Null => Reading::Null,
        ValueRef::Integer(number) => Reading::Integer(number),
        ValueRef::Text(bytes) => answer_text(bytes, out),
    }
}

/// Gives text as the answer of a reader.
pub fn answer_text(bytes: &[u8], out: &mut Vec<u8>) -> Reading {
    out.extend_from_slice(bytes);
    Reading::Text
}

/// Gives text that may be missing as the answer of a reader.
pub fn answer_optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) -> Reading {
    match bytes {
        Some(bytes) => answer_text(bytes, out),
        None => Reading::Null,
    }
}

/// Gives formatted text as the answer of a reader, without allocating: `answer_display(format_args!(…), out)`.
pub fn answer_display(text: impl std::fmt::Display, out: &mut Vec<u8>) -> Reading {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{text}");
    Reading::Text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_overwritten_by_any_other() {
        let kinds =
            [ValueRef::Null, ValueRef::Integer(-5), ValueRef::Text(b"long text"), ValueRef::Text(b"")];
        for before in kinds {
            for after in kinds {
                let mut value = Value::default();
                value.set(before);
                value.set(after);
                assert_eq!(value.as_ref(), after, "{before:?} then {after:?}");
            }
        }
    }

    #[test]
    fn an_answer_appends() {
        let mut out = b"kept ".to_vec();
        assert_eq!(answer(ValueRef::Text(b"text"), &mut out), Reading::Text);
        assert_eq!(answer(ValueRef::Integer(7), &mut out), Reading::Integer(7));
        assert_eq!(answer_optional(None, &mut out), Reading::Null);
        assert_eq!(answer_display(format_args!("{}:{}", "h", 5060), &mut out), Reading::Text);
        assert_eq!(out, b"kept texth:5060");
    }
}
