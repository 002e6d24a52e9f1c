//! What a module can look up and offer when the whole top level has been read.

use crate::routing::script_view::ScriptView;
use crate::routing::services::StoredPlace;
use crate::script::catalog::{Catalog, KeyShape};
use crate::script::diagnostic::Diagnostic;

use super::registry::Registry;
use super::variables::constants::append_colours;
use crate::config::settings::{GroupSetting, Settings};
use crate::routing::services::Services;
pub use crate::shm::DELAY_SLOTS_MAX;
use crate::state::value::Value;
use crate::state::values::hidden_name;
use crate::telemetry::counters::{CounterId, CounterRow};
use crate::telemetry::log::Level;

/// Handed to `Module::plan`.
pub struct Planning<'a> {
    pub(crate) registry: &'a mut Registry,
    /// The parameter that is being looked at: a mistake is told where it was set.
    pub(crate) parameter: Option<&'static str>,
}

impl Planning<'_> {
    /// What the top level decided.
    pub fn settings(&self) -> &Settings {
        self.registry.settings()
    }

    /// What follows is about this parameter: a mistake is told at its `modparam`, not at `loadmodule`.
    pub fn about(&mut self, parameter: &'static str) {
        self.parameter = Some(parameter);
    }

    /// The slots through which modules meet.
    pub fn services(&mut self) -> &mut Services {
        self.registry.services_mut()
    }

    /// The server begins with this value of `$shv(name)`.
    pub fn begin_with_shared(&mut self, name: &[u8], value: Value) {
        self.registry.begin_with_shared(name, value);
    }

    /// Every process begins with this value of `$var(name)`.
    pub fn begin_with_variable(&mut self, name: &[u8], value: Value) {
        self.registry.begin_with_variable(name, value);
    }

    /// The server has at least so many locks.
    pub fn reserve_locks(&mut self, count: u32) {
        self.registry.reserve_locks(count);
    }

    /// Reserves room for `message_count` delayed messages.
    pub fn reserve_delays(&mut self, message_count: u32) {
        self.registry.reserve_delays(message_count);
    }

    /// Where the script has defined no group, there is this one.
    pub fn begin_with_group(&mut self, group: GroupSetting) {
        self.registry.begin_with_group(group);
    }

    /// A value of all processes that scripts cannot name; its slot. It begins so, and goes on when another script takes over.
    pub fn hidden_shared(&mut self, name: &str, initial: Value) -> u32 {
        let name = hidden_name(name);
        self.registry.begin_with_shared(name.as_bytes(), initial);
        self.registry.shared_slot_of(name.as_bytes())
    }

    /// A setting that operators can change while the server runs; its slot.
    pub fn add_live_setting(
        &mut self,
        group: &str,
        name: &str,
        initial: Value,
        description: &str,
    ) -> Result<u32, Diagnostic> {
        self.registry.add_live_setting(group, name, initial, description)
    }

    /// A counter of the script's own.
    pub fn add_counter(&mut self, row: CounterRow) -> Result<CounterId, Diagnostic> {
        self.registry.add_counter(row)
    }

    /// Text for the log, with variables, that stands in a parameter; `Context::append_template` evaluates it.
    pub fn template(&mut self, text: &[u8]) -> Result<u32, Diagnostic> {
        self.registry.keep_template(text)
    }

    /// Lines of this level have these colours (as in `$C(xy)`) on a terminal.
    pub fn colour_level(&mut self, level: Level, letters: &[u8]) {
        let mut code = Vec::new();
        append_colours(letters, &mut code);
        self.registry.colour_level(level, code);
    }

    /// `$avp(alias)` is `$avp(meant)`.
    pub fn add_avp_alias(&mut self, alias: &[u8], meant: &[u8]) {
        self.registry.add_avp_alias(alias, meant);
    }

    /// The variable written as `$name`, `$name(key)` or `$(name(key))`, without index and transformations.
    pub fn place(&mut self, written: &str) -> Result<StoredPlace, Diagnostic> {
        let (name, key) = split_variable(written).ok_or_else(|| {
            Diagnostic::mistake(format!("\"{written}\" is not a variable"))
                .with_help("write one such as \"$var(name)\"")
        })?;
        let shape = key.map_or(KeyShape::None, |key| KeyShape::Literal(key.as_bytes()));
        let variable = self.registry.variable(name, shape)?;
        Ok(StoredPlace { variable, scope: self.registry.scope_of(variable) })
    }
}

/// Name and key of a plain variable.
fn split_variable(written: &str) -> Option<(&str, Option<&str>)> {
    let rest = written.trim().strip_prefix('$')?;
    let rest = match rest.strip_prefix('(') {
        Some(inner) => inner.strip_suffix(')')?,
        None => rest,
    };
    let (name, key) = match rest.split_once('(') {
        Some((name, key)) => (name, Some(key.strip_suffix(')')?)),
        None => (rest, None),
    };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.?".contains(c));
    let is_plain = !key.is_some_and(|key| key.is_empty() || key.contains(['$', '(', ')']));
    (is_name && is_plain).then_some((name, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_variables_are_read_and_others_refused() {
        let rows = [
            ("$var(xdata)", Some(("var", Some("xdata")))),
            (" $ru ", Some(("ru", None))),
            ("$(avp(x))", Some(("avp", Some("x")))),
            ("$(ru)", Some(("ru", None))),
            ("var(x)", None),
            ("$", None),
            ("$()", None),
            ("$var()", None),
            ("$var(x", None),
            ("$var($ci)", None),
            ("$(var(x){s.len})", None),
            ("$(avp(x)[1])", None),
            ("text", None),
        ];
        for (written, expected) in rows {
            assert_eq!(split_variable(written), expected, "{written}");
        }
    }
}
