//! What variables hold when the server begins, and the names of the values that all processes share.

use crate::routing::script_view::ScriptView;
use crate::routing::stores::VariableStore;
use std::io;

use crate::shm::{LockTable, ValueTable};

use super::Registry;
use crate::state::overload::OverloadWord;
use crate::state::shared::SharedState;
use crate::state::value::Value;
use crate::state::values::{SettingTable, SharedValues, count_of_settings, room_of_values};

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
    /// What scripts of all processes share, in memory of its own: for one process that has no others beside it.
    pub fn shared_state(&self, processes: u32) -> io::Result<SharedState> {
        let (settings, values) = count_of_settings(&self.shared_names);
        let values = ValueTable::create(room_of_values(values, processes))?;
        let state = SharedState {
            values: SharedValues::of(&self.shared_names, values, SettingTable::create(settings)?, 0)?,
            locks: LockTable::create(self.lock_count)?,
            overload: OverloadWord::create(&self.settings().groups)?,
        };
        self.begin_shared(&state)?;
        Ok(state)
    }

    /// Gives the values that nobody has had yet, and every setting, what the script says they begin with.
    pub fn begin_shared(&self, state: &SharedState) -> io::Result<()> {
        for (slot, value) in self.initial.shared.iter().filter(|(slot, _)| state.values.is_new(*slot)) {
            state.store(FIRST_PROCESS, *slot, value.as_ref()).map_err(io::Error::other)?;
        }
        self.begin_live_settings(state)
    }

    /// The names of the values that all processes share, by slot.
    pub fn shared_names(&self) -> &[String] {
        &self.shared_names
    }

    /// How many locks the script has.
    pub fn lock_count(&self) -> u32 {
        self.lock_count
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
    use crate::shm::SharedReading;

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
