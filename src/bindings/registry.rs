//! Everything a script can name, and what it stands for: modules, parameters, functions, variables, transformations.
//!
//! ```text
//!  while a script is checked                      while it runs
//!  name ─► catalog.rs ─► number in a handle       number ─► row ─► function of the core, or of a module
//! ```
//!
//! The registry owns the modules. Filled once by the checker, it does not change while messages are processed.

use crate::routing::script_view::{NotTransformed, ScriptView};
use regex::bytes::Regex;
use serde_json::Value as Json;
use std::collections::HashMap;

use crate::script::catalog::{FunctionId, FunctionRow, TransformationId, VariableHandle};
use crate::script::check::compile_shown_template;
use crate::script::diagnostic::Diagnostic;
use crate::script::host::{Argument, Outcome, Place, Reading, Refusal, ValueRef};
use crate::script::program::{CompiledTemplate, Program};

use super::command::{CORE_EVENTS, CommandError, CommandRow, CommandScope, EventRow};
use super::functions::{self, Function};
use super::module::{Loaded, ModuleEntry};
use super::transformations::{self, Transformation};
use super::variables::{self, Key, KeyRule, Subject, Variable, VariableRow};
use crate::bindings::keywords;
use crate::config::settings::listen::Resolver;
use crate::config::settings::{Draft, GroupSetting, Overrides, Settings};
use crate::routing::context::Context;
use crate::routing::continuation::Interruption;
use crate::routing::services::Scope;
use crate::routing::services::Services;
use crate::sip::Grammar;
use crate::state::live_settings::LiveSetting;
use crate::telemetry::counters;
use crate::telemetry::counters::{CounterId, CounterRow};
use crate::telemetry::log::Level;
use crate::telemetry::process_identity::ProcessIdentity;

mod catalog;
mod finish;
mod initial;
mod live;
mod refusals;

use initial::InitialValues;

/// The catalog of names and the owner of the modules.
pub struct Registry {
    available: &'static [ModuleEntry],
    modules: Vec<ModuleSlot>,
    draft: Option<Draft>,
    overrides: Overrides,
    settings: Settings,
    services: Services,
    counters: Vec<CounterRow>,
    /// Of these, the last ones are the script's own.
    script_counter_count: usize,
    functions: Vec<FunctionTarget>,
    variables: Vec<VariableTarget>,
    transformations: Vec<&'static Transformation>,
    events: Vec<EventRow>,
    regexes: Vec<Regex>,
    keys: Vec<StoredKey>,
    memory: NameMemory,
    slot_names: Vec<String>,
    declared_routes: Vec<String>,
    shared_names: Vec<String>,
    initial: InitialValues,
    loaded_at_s: u64,
    lock_count: u32,
    delayed_max: u32,
    route_names: Vec<String>,
    program_mark: u64,
    pub(crate) live_settings: Vec<LiveSetting>,
    templates: Vec<CompiledTemplate>,
    level_colours: Vec<(Level, Vec<u8>)>,
}

/// What was found once: rows are only ever added behind the others, so an answer stays right.
#[derive(Default)]
struct NameMemory {
    functions: HashMap<(String, usize), usize>,
    variables: HashMap<String, usize>,
    keys: HashMap<StoredKey, u32>,
}

/// A loaded module; it is away only while it plans or prepares.
struct ModuleSlot {
    name: &'static str,
    instance: Option<Box<dyn Loaded>>,
}

/// A function and where its code is.
#[derive(Clone, Copy)]
struct FunctionTarget {
    row: &'static FunctionRow,
    code: FunctionCode,
}

#[derive(Clone, Copy)]
enum FunctionCode {
    Core(&'static Function),
    Module { module: usize, function: usize },
}

/// A variable and where its code is.
#[derive(Clone, Copy)]
struct VariableTarget {
    row: &'static VariableRow,
    code: VariableCode,
}

#[derive(Clone, Copy)]
enum VariableCode {
    Core(&'static Variable),
    Module {
        module: usize,
        variable: usize,
    },
    /// A setting that can change, by its slot among the shared values.
    Live(u32),
}

/// A literal key, as its variable takes it; handles carry its number + 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum StoredKey {
    Text(Box<[u8]>),
    Word(usize),
    Slot(u32),
}

impl Registry {
    /// The names of the core, and of the modules a script may load.
    pub fn new(
        available: &'static [ModuleEntry],
        overrides: Overrides,
        resolver: Box<dyn Resolver>,
    ) -> Registry {
        let core_variables = variables::TABLES.iter().copied().chain([keywords::VARIABLES]).flatten();
        Registry {
            available,
            modules: Vec::new(),
            draft: Some(Draft::new(resolver)),
            overrides,
            settings: Settings::default(),
            services: Services::default(),
            counters: counters::CORE.to_vec(),
            script_counter_count: 0,
            functions: functions::TABLES
                .iter()
                .copied()
                .flatten()
                .map(|entry| FunctionTarget { row: &entry.row, code: FunctionCode::Core(entry) })
                .collect(),
            variables: core_variables
                .map(|entry| VariableTarget { row: &entry.row, code: VariableCode::Core(entry) })
                .collect(),
            transformations: transformations::TABLES.iter().copied().flatten().collect(),
            events: CORE_EVENTS.to_vec(),
            regexes: Vec::new(),
            keys: Vec::new(),
            memory: NameMemory::default(),
            slot_names: Vec::new(),
            declared_routes: Vec::new(),
            shared_names: Vec::new(),
            initial: InitialValues::default(),
            lock_count: 0,
            delayed_max: 0,
            route_names: Vec::new(),
            program_mark: 0,
            loaded_at_s: std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs()),
            live_settings: Vec::new(),
            templates: Vec::new(),
            level_colours: Vec::new(),
        }
    }

    /// Corrects what only the running server knows: the ports the kernel chose for sockets with port 0.
    pub fn set_listener_address(&mut self, index: u16, address: std::net::SocketAddr) {
        if let Some(listener) = self.settings.listeners.get_mut(usize::from(index)) {
            listener.address = address;
        }
    }

    /// The slots, to be filled while modules plan.
    pub fn services_mut(&mut self) -> &mut Services {
        &mut self.services
    }

    /// Every counter in the order of their numbers: those of the core, then those of the loaded modules.
    pub fn counters(&self) -> &[CounterRow] {
        &self.counters
    }

    /// The counter of this name.
    pub fn counter(&self, name: &str) -> Option<CounterId> {
        self.counters.iter().position(|row| row.name == name).map(|index| CounterId(index as u32))
    }

    /// Names of the loaded modules in the order they were loaded.
    pub fn module_names(&self) -> impl Iterator<Item = &'static str> {
        self.modules.iter().map(|module| module.name)
    }

    /// Compiles text for the log, with variables, that stands in a parameter.
    pub(crate) fn keep_template(&mut self, text: &[u8]) -> Result<u32, Diagnostic> {
        let compiled = compile_shown_template(text, self).map_err(|mistakes| {
            // Its places are those of this text, not of the script.
            let first = mistakes.into_iter().find(Diagnostic::is_error);
            first.map_or(Diagnostic::mistake(""), |one| Diagnostic { notes: Vec::new(), ..one })
        })?;
        self.templates.push(compiled);
        Ok(self.templates.len() as u32 - 1)
    }

    /// The colours scripts chose for levels of the log, as terminal codes.
    pub fn level_colours(&self) -> &[(Level, Vec<u8>)] {
        &self.level_colours
    }

    pub(crate) fn colour_level(&mut self, level: Level, code: Vec<u8>) {
        self.level_colours.push((level, code));
    }

    /// A counter of the script's own.
    pub(crate) fn add_counter(&mut self, row: CounterRow) -> Result<CounterId, Diagnostic> {
        if self.counter(&row.name).is_some() {
            let message = format!("there is a counter \"{}\" already", row.name);
            return Err(Diagnostic::mistake(message));
        }
        self.counters.push(row);
        self.script_counter_count += 1;
        Ok(CounterId(self.counters.len() as u32 - 1))
    }

    /// The counter of the script's own that is called so behind the name of its group.
    fn script_counter(&self, name: &str) -> Option<CounterId> {
        let is_it = |row: &CounterRow| row.name.split_once('.').is_some_and(|(_, rest)| rest == name);
        let first = self.counters.len() - self.script_counter_count;
        let found = self.counters[first..].iter().position(is_it)?;
        Some(CounterId((first + found) as u32))
    }

    /// At least so many locks are wanted.
    pub(crate) fn reserve_locks(&mut self, count: u32) {
        self.lock_count = self.lock_count.max(count);
    }

    /// Reserves room for `message_count` delayed messages.
    pub(crate) fn reserve_delays(&mut self, message_count: u32) {
        self.delayed_max = self.delayed_max.max(message_count);
    }

    /// How many messages can be delayed at the same time; 0 where no loaded module delays any.
    pub fn delayed_max(&self) -> u32 {
        self.delayed_max
    }

    /// A group of a module's making, where the script has defined none.
    pub(crate) fn begin_with_group(&mut self, group: GroupSetting) {
        if self.settings.groups.is_empty() {
            self.settings.groups.push(group);
        }
    }

    /// The script has been checked: modules can name its routes and places.
    pub(crate) fn learn_program(&mut self, program: &Program) {
        self.route_names = program.route_names().map(str::to_owned).collect();
        if self.delayed_max > 0 {
            self.program_mark = program.mark();
        }
    }

    /// A process begins: every module is told.
    pub fn start(&self, process: &ProcessIdentity) {
        self.modules.iter().filter_map(|module| module.instance.as_ref()).for_each(|one| one.start(process));
    }

    /// A process ends in order: every module is told.
    pub fn stop(&self) {
        self.modules.iter().filter_map(|module| module.instance.as_ref()).for_each(|one| one.stop());
    }

    /// Commands of the loaded modules.
    pub fn commands(&self) -> impl Iterator<Item = &'static CommandRow> {
        self.modules.iter().filter_map(|module| module.instance.as_ref()).flat_map(|one| one.commands())
    }

    /// Runs a command of a loaded module; `None` when none has it.
    pub fn run_command(
        &self,
        name: &str,
        scope: &CommandScope<'_>,
        given: &[Json],
    ) -> Option<Result<Json, CommandError>> {
        let has_it = |module: &ModuleSlot| {
            let instance = module.instance.as_deref()?;
            let command = instance.commands().iter().position(|row| row.is_named(name))?;
            Some(instance.run_command(command, scope, given))
        };
        self.modules.iter().find_map(has_it)
    }

    /// How long what a variable holds lives.
    pub fn scope_of(&self, variable: VariableHandle) -> Scope {
        self.variables.get(variable.id as usize).map_or(Scope::Message, |target| target.row.scope)
    }
}

/// What runs on a message.
impl ScriptView for Registry {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn services(&self) -> &Services {
        &self.services
    }

    fn regex(&self, number: u32) -> Option<&Regex> {
        self.regexes.get(number as usize)
    }

    fn template(&self, number: u32) -> Option<&CompiledTemplate> {
        self.templates.get(number as usize)
    }

    fn interruption(&self, point: u32) -> Interruption {
        Interruption { point, mark: self.program_mark }
    }

    fn route_name(&self, number: u32) -> Option<&str> {
        self.route_names.get(number as usize).map(String::as_str)
    }

    fn has_route(&self, name: &[u8]) -> bool {
        self.declared_routes.iter().any(|known| known.as_bytes() == name)
    }

    fn live_setting(&self, group: &[u8], name: &[u8]) -> Option<&LiveSetting> {
        let is_it = |one: &&LiveSetting| one.group.as_bytes() == group && one.name.as_bytes() == name;
        self.live_settings.iter().find(is_it)
    }

    fn counter_named(&self, name: &str) -> Option<CounterId> {
        self.counter(name).or_else(|| self.script_counter(name))
    }

    fn variable_names(&self) -> &[String] {
        &self.slot_names
    }

    fn loaded_at_s(&self) -> u64 {
        self.loaded_at_s
    }

    fn call(&self, id: FunctionId, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        match self.functions.get(id.0 as usize).map(|target| target.code) {
            Some(FunctionCode::Core(row)) => (row.call)(context, arguments),
            Some(FunctionCode::Module { module, function }) => match self.module(module) {
                Some(instance) => instance.call(function, context, arguments),
                None => Outcome::FALSE,
            },
            None => Outcome::FALSE,
        }
    }

    fn read(&self, context: &Context<'_>, place: Place<'_>, out: &mut Vec<u8>) -> Reading {
        let Some(target) = self.variables.get(place.variable.id as usize) else { return Reading::Null };
        let Some(key) = self.key_of(target.row.key, &place) else { return Reading::Null };
        let subject = Subject { key, position: place.position };
        match target.code {
            VariableCode::Core(row) => (row.read)(context, &subject, out),
            VariableCode::Module { module, variable } => match self.module(module) {
                Some(instance) => instance.read(variable, context, &subject, out),
                None => Reading::Null,
            },
            VariableCode::Live(slot) => context.read_shared(slot, out),
        }
    }

    fn write(&self, context: &mut Context<'_>, place: Place<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
        let refuse = |reason: &str| Err(Refusal(reason.to_string()));
        let Some(target) = self.variables.get(place.variable.id as usize) else {
            return refuse("there is no such variable");
        };
        let Some(key) = self.key_of(target.row.key, &place) else {
            return Err(Refusal(format!("${} has no such part", target.row.name)));
        };
        let subject = Subject { key, position: place.position };
        match target.code {
            VariableCode::Core(row) => match row.write {
                Some(write) => write(context, &subject, value),
                None => Err(Refusal(format!("${} cannot be assigned", target.row.name))),
            },
            VariableCode::Module { module, variable } => match self.module(module) {
                Some(instance) => instance.write(variable, context, &subject, value),
                None => refuse("its module is not loaded"),
            },
            VariableCode::Live(_) => refuse("custom variables are read-only"),
        }
    }

    /// Applies a transformation; null stays null unless the row takes it.
    fn transform(
        &self,
        id: TransformationId,
        input: ValueRef<'_>,
        arguments: &[Argument<'_>],
        grammar: &Grammar,
        out: &mut Vec<u8>,
    ) -> Result<Reading, NotTransformed> {
        let Some(row) = self.transformations.get(id.0 as usize) else { return Ok(Reading::Null) };
        if input == ValueRef::Null && !row.is_for_null {
            return Ok(Reading::Null);
        }
        let size = out.len();
        row.apply.to(input, arguments, grammar, out).map_err(|unfit| {
            out.truncate(size);
            NotTransformed { name: row.name, reason: unfit.0.to_string() }
        })
    }
}

impl Registry {
    fn module(&self, index: usize) -> Option<&dyn Loaded> {
        self.modules.get(index)?.instance.as_deref()
    }

    /// The key as the variable takes it; `None` where a computed one does not fit.
    fn key_of<'k>(&'k self, rule: KeyRule, place: &Place<'k>) -> Option<Key<'k>> {
        if place.variable.slot > 0 {
            return match self.keys.get(place.variable.slot as usize - 1)? {
                StoredKey::Text(bytes) => Some(Key::Text(bytes)),
                StoredKey::Word(index) => Some(Key::Word(*index)),
                StoredKey::Slot(slot) => Some(Key::Slot(*slot)),
            };
        }
        match rule {
            KeyRule::None => Some(Key::None),
            KeyRule::Text | KeyRule::PairName | KeyRule::Path => Some(Key::Text(place.key)),
            KeyRule::OptionalText => {
                Some(if place.key.is_empty() { Key::None } else { Key::Text(place.key) })
            }
            KeyRule::Word(words) => words.iter().position(|word| word.as_bytes() == place.key).map(Key::Word),
            KeyRule::Slot | KeyRule::Shared => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::catalog::tests::{loaded, registry};
    use super::*;

    #[test]
    fn counters_of_modules_follow_those_of_the_core() {
        let registry = loaded();
        assert_eq!(registry.counter("first.acted"), Some(CounterId(counters::CORE.len() as u32)));
        assert_eq!(registry.counters().len(), counters::CORE.len() + 1);
        assert_eq!(registry.counter("first.slept"), None);
    }

    #[test]
    fn modules_are_named_in_the_order_they_were_loaded() {
        assert_eq!(registry().module_names().count(), 0);
        assert_eq!(loaded().module_names().collect::<Vec<_>>(), ["first", "second"]);
    }

    #[test]
    fn the_port_the_kernel_chose_becomes_known() {
        let mut registry = loaded();
        crate::script::catalog::Catalog::finish_top_level(&mut registry);
        let address = "127.0.0.1:49152".parse().unwrap();
        registry.set_listener_address(0, address);
        registry.set_listener_address(u16::MAX, address);
        assert_eq!(registry.settings().listeners[0].address, address);
    }
}
