//! What variables hold when the server begins, and the names of the values that all processes share.

use crate::routing::script_view::ScriptView;
use crate::routing::stores::VariableStore;
use std::io;

use crate::shm::{LockTable, SharedInput, SharedReading, ValueTable};

use super::Registry;
use crate::state::live_settings::is_setting;
use crate::state::overload::OverloadWord;
use crate::state::shared::SharedState;
use crate::state::value::Value;

/// What variables hold when the server begins, by slot; and other names of `$avp`.
#[derive(Default)]
pub(super) struct InitialValues {
    variables: Vec<(u32, Value)>,
    shared: Vec<(u32, Value)>,
    avp_aliases: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The process that makes the shared values, before there are others.
const FIRST_PROCESS: u32 = 0;

impl Registry {
    /// What scripts of all processes share, as it begins: made before the first fork, with room for every name.
    pub fn shared_state(&self, processes: u32) -> io::Result<SharedState> {
        let table = ValueTable::create(processes, self.shared_names.len() as u32)?;
        for (slot, value) in &self.initial.shared {
            let input = match value {
                Value::Null => continue,
                Value::Integer(number) => SharedInput::Integer(*number),
                Value::Text(text) => SharedInput::Text(text),
            };
            table.write(FIRST_PROCESS, *slot, input).map_err(io::Error::other)?;
        }
        let overload = OverloadWord::create(&self.settings().groups)?;
        let state = SharedState { values: table, locks: LockTable::create(self.lock_count)?, overload };
        self.begin_live_settings(&state)?;
        Ok(state)
    }

    /// Values that scripts share go on under their names when another script takes over; names that are new, and
    /// settings, have what their script gave them.
    pub fn carry_shared_values(&self, state: &SharedState, former: &Registry, former_state: &SharedState) {
        let mut text = Vec::new();
        for (slot, name) in (0..).zip(&self.shared_names) {
            if is_setting(name) {
                continue;
            }
            let Some(known) = former.shared_names.iter().position(|other| other == name) else { continue };
            text.clear();
            let input = match former_state.values.read(known as u32, &mut text) {
                Ok(SharedReading::Integer(number)) => SharedInput::Integer(number),
                Ok(SharedReading::Text) => SharedInput::Text(&text),
                // Somebody writes it all the time: there is no value that is more right than the first one.
                Err(_) => continue,
            };
            // It had room in the former table, so it has here, where nobody else writes yet.
            let _ = state.values.write(FIRST_PROCESS, slot, input);
        }
    }

    /// What `$var` and its kin hold when a process begins.
    pub fn first_variables(&self) -> VariableStore {
        let initial = self.initial.variables.iter().map(|(slot, value)| (*slot, value.as_ref()));
        VariableStore::beginning_with(self.slot_names.len(), initial)
    }

    pub(crate) fn shared_slot_of(&mut self, bytes: &[u8]) -> u32 {
        let name = String::from_utf8_lossy(bytes);
        let known = self.shared_names.iter().position(|known| *known == name);
        known.unwrap_or_else(|| {
            self.shared_names.push(name.into_owned());
            self.shared_names.len() - 1
        }) as u32
    }

    /// What a name of `$avp` stands for.
    pub(super) fn avp_name<'n>(&'n self, name: &'n [u8]) -> &'n [u8] {
        let alias = self.initial.avp_aliases.iter().find(|(alias, _)| alias == name);
        alias.map_or(name, |(_, meant)| meant)
    }

    /// The server begins with this value of `$shv`.
    pub(crate) fn begin_with_shared(&mut self, name: &[u8], value: Value) {
        let slot = self.shared_slot_of(name);
        self.initial.shared.push((slot, value));
    }

    /// Every process begins with this value of `$var`.
    pub(crate) fn begin_with_variable(&mut self, name: &[u8], value: Value) {
        let slot = self.slot_of(name);
        self.initial.variables.push((slot, value));
    }

    /// Another name of an `$avp`.
    pub(crate) fn add_avp_alias(&mut self, alias: &[u8], meant: &[u8]) {
        self.initial.avp_aliases.push((alias.to_vec(), meant.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::tests::registry;
    use super::*;

    #[test]
    fn shared_values_begin_as_they_were_said_to() {
        let mut registry = registry();
        assert_eq!(registry.shared_slot_of(b"other"), 0);
        registry.begin_with_shared(b"limit", Value::Integer(5));
        registry.begin_with_shared(b"state", Value::Text(b"on".to_vec()));
        assert_eq!(registry.shared_slot_of(b"limit"), 1, "a name keeps its slot");
        let shared = registry.shared_state(2).expect("memory");
        let mut out = Vec::new();
        assert_eq!(shared.values.read(0, &mut out), Ok(SharedReading::Integer(0)));
        assert_eq!(shared.values.read(1, &mut out), Ok(SharedReading::Integer(5)));
        assert_eq!(shared.values.read(2, &mut out), Ok(SharedReading::Text));
        assert_eq!((out.as_slice(), shared.values.count(), shared.locks.count()), (&b"on"[..], 3, 0));
    }

    #[test]
    fn other_names_of_pairs_are_known() {
        let mut registry = registry();
        registry.add_avp_alias(b"day", b"i:7");
        assert_eq!((registry.avp_name(b"day"), registry.avp_name(b"night")), (&b"i:7"[..], &b"night"[..]));
    }
}
