//! Commands of operators and events of scripts: what their rows are. Those of modules stand in the tables of the module.

use serde_json::Value as Json;

use crate::script::host::ValueRef;
use crate::state::shared::SharedState;
use crate::state::value::Value;
use crate::state::values::is_hidden;

/// One row: an event whose route is run.
#[derive(Clone, Copy, Debug)]
pub struct EventRow {
    /// As in `event_route[name]`.
    pub name: &'static str,
    /// When it is run, one line.
    pub documentation: &'static str,
}

/// Events of the core.
pub const CORE_EVENTS: &[EventRow] = &[EventRow {
    name: "core:pre-routing",
    documentation: "a receiver has read a message; it may be delegated to a group of workers",
}];

/// One row: a command.
#[derive(Clone, Copy, Debug)]
pub struct CommandRow {
    /// Its name.
    pub name: &'static str,
    /// Other names of the same command.
    pub aliases: &'static [&'static str],
    /// What it does, and with which arguments.
    pub documentation: &'static str,
}

impl CommandRow {
    /// Its name, then its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Whether `name` names it.
    pub fn is_named(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

/// A row with what it does: of the server, or of a module ([`super::module::ModuleCommand`]).
#[derive(Clone, Copy, Debug)]
pub struct CommandEntry<C: 'static> {
    /// What operators can read about it.
    pub row: CommandRow,
    /// Does it.
    pub call: C,
}

impl<C: Copy> CommandEntry<C> {
    /// A command of one name.
    pub const fn new(name: &'static str, documentation: &'static str, call: C) -> Self {
        CommandEntry { row: CommandRow { name, aliases: &[], documentation }, call }
    }

    /// With other names.
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.row.aliases = aliases;
        self
    }
}

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// Number, as JSON-RPC defines it.
    pub code: i64,
    /// What is wrong: lower case, no full stop.
    pub message: String,
}

impl CommandError {
    /// The code of a command that was understood and could not be done.
    pub const FAILED: i64 = -32000;

    /// The arguments are not what the command needs.
    pub fn bad_parameters(reason: &str) -> CommandError {
        CommandError { code: -32602, message: reason.to_owned() }
    }

    /// The command was understood and could not be done.
    pub fn failed(reason: &str) -> CommandError {
        CommandError { code: CommandError::FAILED, message: reason.to_owned() }
    }
}

/// What a command of a module works on. It runs in the control process, where no message is in hand, and does not wait.
pub struct CommandScope<'a> {
    /// Names of the values that all processes share, by slot.
    pub shared_names: &'a [String],
    /// Values that all processes share.
    pub shared: &'a SharedState,
    /// The process that runs the command.
    pub process_index: u32,
}

impl CommandScope<'_> {
    /// The shared values (`$shv`) that the script names, with their slots.
    pub fn shared_values(&self) -> impl Iterator<Item = (u32, &str)> {
        let names = self.shared_names.iter().map(String::as_str);
        (0..).zip(names).filter(|(_, name)| !is_hidden(name))
    }

    /// What a slot holds; a value that others write all the time cannot be read.
    pub fn read(&self, slot: u32) -> Result<Json, CommandError> {
        match self.shared.value(slot).map_err(|error| CommandError::failed(&error.to_string()))? {
            Value::Null => Ok(Json::Null),
            Value::Integer(number) => Ok(number.into()),
            Value::Text(text) => Ok(String::from_utf8_lossy(&text).into()),
        }
    }

    /// Changes it for every process.
    pub fn write(&self, slot: u32, value: ValueRef<'_>) -> Result<(), CommandError> {
        let stored = self.shared.store(self.process_index, slot, value);
        stored.map_err(|error| CommandError::failed(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_every_one_of_its_names() {
        let entry = CommandEntry::new("a.get", "gets", ()).alias(&["a.fetch"]);
        assert!(entry.row.is_named("a.get") && entry.row.is_named("a.fetch") && !entry.row.is_named("a"));
    }
}
