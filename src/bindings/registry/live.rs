//! Settings that change while the server runs, as the registry keeps them.

use std::io;

use super::Registry;
use crate::routing::script_view::ScriptView;
use crate::script::diagnostic::Diagnostic;
use crate::state::live_settings::LiveSetting;
use crate::state::shared::SharedState;
use crate::state::value::Value;
use crate::state::values::hidden_name;

impl Registry {
    /// Every setting that can change, in the order they were defined.
    pub fn live_settings(&self) -> &[LiveSetting] {
        &self.live_settings
    }

    /// One more setting; its slot.
    pub(in crate::bindings) fn add_live_setting(
        &mut self,
        group: &str,
        name: &str,
        initial: Value,
        description: &str,
    ) -> Result<u32, Diagnostic> {
        if self.live_setting(group.as_bytes(), name.as_bytes()).is_some() {
            return Err(Diagnostic::mistake(format!("{group}.{name} is defined twice")));
        }
        let slot = self.shared_slot_of(hidden_name(&format!("{group}.{name}")).as_bytes());
        let setting = LiveSetting {
            group: group.to_string(),
            name: name.to_string(),
            description: description.to_string(),
            initial,
            slot,
        };
        setting.fitting(setting.initial.as_ref())?;
        self.live_settings.push(setting);
        Ok(slot)
    }

    /// Gives every setting what it begins with.
    pub(in crate::bindings) fn begin_live_settings(&self, state: &SharedState) -> io::Result<()> {
        self.live_settings.iter().try_for_each(|setting| {
            state.store(0, setting.slot, setting.initial.as_ref()).map_err(io::Error::other)
        })
    }
}
