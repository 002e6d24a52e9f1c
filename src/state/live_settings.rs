//! Settings that change while the server runs: `group.name = value desc "…"` of the top level, and those of modules.
//!
//! Each has a slot among the values all processes share, so that a change by an operator (`cfg.set_now_int`) is seen by
//! the next statement that reads it, in every process. A reload begins with what the new script says.

use crate::script::host::ValueRef;
use crate::shm::{SharedInput, SharedReading, TableError};

use super::shared::SharedState;
use super::value::Value;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSetting {
    /// Its group.
    pub group: String,
    /// Its name in the group.
    pub name: String,
    /// What it is, as the script says.
    pub description: String,
    /// What it begins with; its kind, integer or text, stays.
    pub initial: Value,
    /// Its slot among the shared values.
    pub slot: u32,
}

impl LiveSetting {
    /// The value as the kind of this setting, or why it cannot be.
    pub fn fitting(&self, value: ValueRef<'_>) -> Result<Value, String> {
        let name = format_args!("{}.{}", self.group, self.name);
        match (&self.initial, value) {
            (_, ValueRef::Null) => Err(format!("{name} needs a value")),
            (Value::Integer(_), ValueRef::Integer(number)) => Ok(Value::Integer(number)),
            (Value::Integer(_), ValueRef::Text(text)) => {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
                let number = number
                    .ok_or_else(|| format!("{name} takes an integer, not \"{}\"", text.escape_ascii()))?;
                Ok(Value::Integer(number))
            }
            (_, ValueRef::Integer(number)) => Ok(Value::Text(number.to_string().into_bytes())),
            (_, ValueRef::Text(text)) if text.len() > crate::shm::SHARED_TEXT_SIZE_MAX => {
                Err(format!("{name}: {}", TableError::TooLong))
            }
            (_, ValueRef::Text(text)) => Ok(Value::Text(text.to_vec())),
        }
    }
}

/// What the server writes while nobody else does, and what an operator wishes.
impl SharedState {
    /// Stores a value as the process of this index.
    pub fn store(&self, process: u32, slot: u32, value: ValueRef<'_>) -> Result<(), TableError> {
        let input = match value {
            ValueRef::Null => SharedInput::Integer(0),
            ValueRef::Integer(number) => SharedInput::Integer(number),
            ValueRef::Text(text) => SharedInput::Text(text),
        };
        self.values.write(process, slot, input)
    }

    /// What a slot holds now.
    pub fn value(&self, slot: u32) -> Result<Value, TableError> {
        let mut text = Vec::new();
        Ok(match self.values.read(slot, &mut text)? {
            SharedReading::Integer(number) => Value::Integer(number),
            SharedReading::Text => Value::Text(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_the_kind_of_their_setting_or_are_refused() {
        let setting = |initial| LiveSetting {
            group: "g".to_string(),
            name: "n".to_string(),
            description: String::new(),
            initial,
            slot: 0,
        };
        let (number, text) = (setting(Value::Integer(5)), setting(Value::Text(b"x".to_vec())));
        let long = [b'x'; crate::shm::SHARED_TEXT_SIZE_MAX + 1];
        let rows = [
            (&number, ValueRef::Integer(7), Ok(Value::Integer(7))),
            (&number, ValueRef::Text(b" 7 "), Ok(Value::Integer(7))),
            (&number, ValueRef::Text(b"x"), Err("g.n takes an integer, not \"x\"")),
            (&number, ValueRef::Null, Err("g.n needs a value")),
            (&text, ValueRef::Integer(7), Ok(Value::Text(b"7".to_vec()))),
            (&text, ValueRef::Text(b""), Ok(Value::Text(Vec::new()))),
            (&text, ValueRef::Text(&long), Err("g.n: a shared value takes at most 1016 bytes")),
        ];
        for (setting, value, expected) in rows {
            assert_eq!(setting.fitting(value), expected.map_err(str::to_string), "{value:?}");
        }
    }
}
