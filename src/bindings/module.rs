//! What a module is: a value that holds this process's state, and tables that say what a script can do with it.
//!
//! ```ignore
//! /// Module `maxfwd`.
//! pub struct MaxForwards { limit: Cell<i64> }
//!
//! impl Module for MaxForwards {
//!     const NAME: &'static str = "maxfwd";
//!     const DOCUMENTATION: &'static str = "checks and decrements Max-Forwards";
//!     const PARAMETERS: &'static [Parameter<Self>] =
//!         &[Parameter::integer("max_limit", "largest value accepted", |module, limit| { module.limit.set(limit); Ok(()) })];
//!     const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
//!         ModuleFunction::new("mf_process_maxfwd_header", "…", &[ParameterKind::Integer], Self::process)
//!             .routes(RouteSet::REQUEST),
//!     ];
//!     fn new() -> Self { … }
//! }
//!
//! impl MaxForwards {
//!     fn process(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome { … }
//! }
//! ```
//!
//! Functions take `&self`: a function may evaluate variables of its own module while it runs, so state that changes
//! while messages are processed stands in a `Cell` (or in a `RefCell` that is never held across a call into the
//! context). Parameters and `plan` take `&mut self`: they run before anything else does.
//!
//! Life: `new` (`loadmodule`) → parameters (`modparam`) → `plan` (whole top level read, master) → `start` (each
//! process after the fork) → `stop`.

use std::fmt;

use serde_json::Value as Json;

// What modules need of the language; they import it from here and do not know the room `script`.
pub use crate::script::ast::RouteKind;
pub use crate::script::catalog::{Advice, Constant, FunctionRow, ParameterKind, RouteSet, Yields};
pub use crate::script::diagnostic::Diagnostic;
pub use crate::script::host::{Argument, Outcome, Place, Position, Reading, Refusal, ValueRef};

use super::command::{CommandEntry, CommandError, CommandRow, CommandScope, EventRow};
use super::functions::FunctionEntry;
use super::manual::ModuleManual;
use super::planning::Planning;
use super::preparation::Preparation;
use super::transformations::Transformation;
use super::variables::{Subject, VariableEntry, VariableRow};
use crate::routing::context::Context;
use crate::telemetry::counters::{CounterRow, ModuleCounters};
use crate::telemetry::process_identity::ProcessIdentity;

/// A module.
pub trait Module: Sized + 'static {
    /// Name in `loadmodule` and `modparam`.
    const NAME: &'static str;
    /// What it is for, one line.
    const DOCUMENTATION: &'static str;
    /// Its functions.
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[];
    /// Its parameters.
    const PARAMETERS: &'static [Parameter<Self>] = &[];
    /// Its variables.
    const VARIABLES: &'static [ModuleVariable<Self>] = &[];
    /// Its transformations.
    const TRANSFORMATIONS: &'static [Transformation] = &[];
    /// What it counts.
    const COUNTERS: &'static [CounterRow] = &[];
    /// Events whose routes run because of it.
    const EVENTS: &'static [EventRow] = &[];
    /// Commands that operators can give where it is loaded.
    const COMMANDS: &'static [ModuleCommand<Self>] = &[];

    /// The module with every parameter at its default.
    fn new() -> Self;

    /// It was loaded and its counters are numbered; a module that counts keeps the numbers.
    fn number_counters(&mut self, _counters: ModuleCounters) {}

    /// The whole top level has been read: look up variables, check parameters against each other, offer
    /// services to other modules.
    fn plan(&mut self, _planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        Ok(())
    }

    /// A process begins.
    fn start(&self, _process: &ProcessIdentity) {}

    /// A process ends in order.
    fn stop(&self) {}
}

/// Runs a command of a module.
pub type ModuleCommandCall<M> = fn(&M, &CommandScope<'_>, &[Json]) -> Result<Json, CommandError>;
/// One row: a command of a module, named `module.command`.
pub type ModuleCommand<M> = CommandEntry<ModuleCommandCall<M>>;

/// Calls a function of a module.
pub type ModuleCall<M> = fn(&M, &mut Context<'_>, &[Argument<'_>]) -> Outcome;
/// Prepares the literal argument number `parameter` (from 0) of a function; `Ok(None)` leaves it as it stands.
pub type ModulePrepare<M> = fn(&mut M, &mut Preparation<'_>, usize, &[u8]) -> Result<Option<u32>, Diagnostic>;
/// Reads a variable of a module.
pub type ModuleRead<M> = fn(&M, &Context<'_>, &Subject<'_>, &mut Vec<u8>) -> Reading;
/// Writes a variable of a module.
pub type ModuleWrite<M> = fn(&M, &mut Context<'_>, &Subject<'_>, ValueRef<'_>) -> Result<(), Refusal>;

/// One row: a function of a module with a certain number of arguments.
pub type ModuleFunction<M> = FunctionEntry<ModuleCall<M>, ModulePrepare<M>>;

impl<M: 'static> ModuleFunction<M> {
    /// A function that may stand in any route.
    pub const fn new(
        name: &'static str,
        documentation: &'static str,
        parameters: &'static [ParameterKind],
        call: ModuleCall<M>,
    ) -> Self {
        let row = FunctionRow::new(name, documentation, parameters, RouteSet::ANY);
        FunctionEntry { row, prepare: None, call }
    }
}

/// One row: a variable of a module.
pub type ModuleVariable<M> = VariableEntry<ModuleRead<M>, ModuleWrite<M>>;

/// One row: a parameter of a module.
pub struct Parameter<M: 'static> {
    /// Name in `modparam`.
    pub name: &'static str,
    /// What it decides, one line.
    pub documentation: &'static str,
    /// What holds when no script sets it, as a script would write it.
    pub default: Option<&'static str>,
    /// How it is set.
    pub set: ParameterSetter<M>,
}

/// How a parameter is set, by the kind of value it takes.
pub enum ParameterSetter<M: 'static> {
    /// An integer.
    Integer(fn(&mut M, i64) -> Result<(), Diagnostic>),
    /// Text.
    Text(fn(&mut M, &[u8]) -> Result<(), Diagnostic>),
    /// Either.
    Any(fn(&mut M, &Constant) -> Result<(), Diagnostic>),
    /// Accepted without effect; the text says why.
    Ignored(&'static str),
}

impl<M: 'static> Parameter<M> {
    /// A parameter that takes an integer.
    pub const fn integer(
        name: &'static str,
        documentation: &'static str,
        set: fn(&mut M, i64) -> Result<(), Diagnostic>,
    ) -> Self {
        Parameter { name, documentation, default: None, set: ParameterSetter::Integer(set) }
    }

    /// A parameter that takes text.
    pub const fn text(
        name: &'static str,
        documentation: &'static str,
        set: fn(&mut M, &[u8]) -> Result<(), Diagnostic>,
    ) -> Self {
        Parameter { name, documentation, default: None, set: ParameterSetter::Text(set) }
    }

    /// A parameter that takes integers and text.
    pub const fn any(
        name: &'static str,
        documentation: &'static str,
        set: fn(&mut M, &Constant) -> Result<(), Diagnostic>,
    ) -> Self {
        Parameter { name, documentation, default: None, set: ParameterSetter::Any(set) }
    }

    /// With what holds when no script sets it.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// A parameter that is accepted without effect.
    pub const fn ignored(name: &'static str, why: &'static str) -> Self {
        Parameter { name, documentation: why, default: None, set: ParameterSetter::Ignored(why) }
    }
}

/// One row of the list of modules: `ModuleEntry::of::<MaxForwards>()`.
#[derive(Clone, Copy)]
pub struct ModuleEntry {
    /// Name of the module.
    pub name: &'static str,
    /// What it is for.
    pub documentation: &'static str,
    /// Makes it.
    pub(crate) create: fn() -> Box<dyn Loaded>,
    /// Its functions, whether it is loaded or not.
    pub(crate) functions: fn() -> Vec<&'static FunctionRow>,
    /// Its variables.
    pub(crate) variables: fn() -> Vec<&'static VariableRow>,
    /// Its events.
    pub(crate) events: &'static [EventRow],
    /// Its tables, for the manual.
    pub(crate) manual: fn() -> ModuleManual,
}

impl ModuleEntry {
    /// The entry of a module.
    pub const fn of<M: Module>() -> ModuleEntry {
        ModuleEntry {
            name: M::NAME,
            documentation: M::DOCUMENTATION,
            create: || Box::new(M::new()),
            functions: function_rows::<M>,
            variables: variable_rows::<M>,
            events: M::EVENTS,
            manual: || ModuleManual::of::<M>(),
        }
    }
}

impl fmt::Debug for ModuleEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module {}", self.name)
    }
}

fn function_rows<M: Module>() -> Vec<&'static FunctionRow> {
    M::FUNCTIONS.iter().map(|entry| &entry.row).collect()
}

fn variable_rows<M: Module>() -> Vec<&'static VariableRow> {
    M::VARIABLES.iter().map(|entry| &entry.row).collect()
}

/// A loaded module whose type is forgotten; rows are named by their index in the table of the module.
pub(crate) trait Loaded {
    fn name(&self) -> &'static str;
    fn functions(&self) -> Vec<&'static FunctionRow>;
    fn variables(&self) -> Vec<&'static VariableRow>;
    /// Their names.
    fn parameters(&self) -> Vec<&'static str>;
    fn transformations(&self) -> &'static [Transformation];
    fn counters(&self) -> &'static [CounterRow];
    fn events(&self) -> &'static [EventRow];
    fn commands(&self) -> Vec<&'static CommandRow>;
    fn run_command(
        &self,
        command: usize,
        scope: &CommandScope<'_>,
        given: &[Json],
    ) -> Result<Json, CommandError>;
    fn number_counters(&mut self, counters: ModuleCounters);
    fn set_parameter(&mut self, index: usize, value: &Constant) -> Result<Option<&'static str>, Diagnostic>;
    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic>;
    fn start(&self, process: &ProcessIdentity);
    fn stop(&self);
    fn prepare(
        &mut self,
        function: usize,
        preparation: &mut Preparation<'_>,
        parameter: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic>;
    fn call(&self, function: usize, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome;
    fn read(
        &self,
        variable: usize,
        context: &Context<'_>,
        subject: &Subject<'_>,
        out: &mut Vec<u8>,
    ) -> Reading;
    fn write(
        &self,
        variable: usize,
        context: &mut Context<'_>,
        subject: &Subject<'_>,
        value: ValueRef<'_>,
    ) -> Result<(), Refusal>;
}

impl<M: Module> Loaded for M {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn functions(&self) -> Vec<&'static FunctionRow> {
        function_rows::<M>()
    }

    fn variables(&self) -> Vec<&'static VariableRow> {
        variable_rows::<M>()
    }

    fn parameters(&self) -> Vec<&'static str> {
        M::PARAMETERS.iter().map(|row| row.name).collect()
    }

    fn transformations(&self) -> &'static [Transformation] {
        M::TRANSFORMATIONS
    }

    fn counters(&self) -> &'static [CounterRow] {
        M::COUNTERS
    }

    fn events(&self) -> &'static [EventRow] {
        M::EVENTS
    }

    fn commands(&self) -> Vec<&'static CommandRow> {
        M::COMMANDS.iter().map(|entry| &entry.row).collect()
    }

    fn run_command(
        &self,
        command: usize,
        scope: &CommandScope<'_>,
        given: &[Json],
    ) -> Result<Json, CommandError> {
        (M::COMMANDS[command].call)(self, scope, given)
    }

    fn number_counters(&mut self, counters: ModuleCounters) {
        Module::number_counters(self, counters);
    }

    fn set_parameter(&mut self, index: usize, value: &Constant) -> Result<Option<&'static str>, Diagnostic> {
        let row = &M::PARAMETERS[index];
        match (&row.set, value) {
            (ParameterSetter::Ignored(why), _) => return Ok(Some(why)),
            (ParameterSetter::Any(set), _) => set(self, value)?,
            (ParameterSetter::Integer(set), Constant::Number(number)) => set(self, *number)?,
            (ParameterSetter::Text(set), Constant::Text(bytes)) => set(self, bytes)?,
            (ParameterSetter::Integer(_), _) => return Err(wrong_kind(row.name, "an integer")),
            (ParameterSetter::Text(_), _) => return Err(wrong_kind(row.name, "a string")),
        }
        Ok(None)
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        Module::plan(self, planning)
    }

    fn start(&self, process: &ProcessIdentity) {
        Module::start(self, process);
    }

    fn stop(&self) {
        Module::stop(self);
    }

    fn prepare(
        &mut self,
        function: usize,
        preparation: &mut Preparation<'_>,
        parameter: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic> {
        match M::FUNCTIONS[function].prepare {
            Some(prepare) => prepare(self, preparation, parameter, literal),
            None => Ok(None),
        }
    }

    fn call(&self, function: usize, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        (M::FUNCTIONS[function].call)(self, context, arguments)
    }

    fn read(
        &self,
        variable: usize,
        context: &Context<'_>,
        subject: &Subject<'_>,
        out: &mut Vec<u8>,
    ) -> Reading {
        (M::VARIABLES[variable].read)(self, context, subject, out)
    }

    fn write(
        &self,
        variable: usize,
        context: &mut Context<'_>,
        subject: &Subject<'_>,
        value: ValueRef<'_>,
    ) -> Result<(), Refusal> {
        match M::VARIABLES[variable].write {
            Some(write) => write(self, context, subject, value),
            None => Err(Refusal(format!("${} cannot be assigned", M::VARIABLES[variable].row.name))),
        }
    }
}

fn wrong_kind(name: &str, expected: &str) -> Diagnostic {
    Diagnostic::mistake(format!("parameter \"{name}\" takes {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Kept {
        size: i64,
    }

    impl Module for Kept {
        const NAME: &'static str = "kept";
        const DOCUMENTATION: &'static str = "keeps a size";
        const PARAMETERS: &'static [Parameter<Self>] = &[
            Parameter::integer("size", "the size", |kept, size| {
                kept.size = size;
                Ok(())
            }),
            Parameter::any("either", "a number or text", |kept, value| {
                kept.size = i64::from(matches!(value, Constant::Text(_)));
                Ok(())
            }),
            Parameter::ignored("old", "nobody needs it"),
        ];
        const FUNCTIONS: &'static [ModuleFunction<Self>] =
            &[ModuleFunction::new("keep", "keeps", &[], |_, _, _| Outcome::TRUE).alias(&["hold"])];

        fn new() -> Self {
            Kept { size: 1 }
        }
    }

    #[test]
    fn parameters_take_their_kind_only() {
        let text = Constant::Text(b"x".to_vec());
        let mut kept = Kept::new();
        assert_eq!(kept.set_parameter(0, &Constant::Number(7)), Ok(None));
        assert_eq!(kept.size, 7);
        assert_eq!(kept.set_parameter(0, &text).unwrap_err().message, "parameter \"size\" takes an integer");
        assert_eq!(kept.set_parameter(1, &text), Ok(None));
        assert_eq!(kept.size, 1);
        assert_eq!(kept.set_parameter(2, &text), Ok(Some("nobody needs it")));
    }

    #[test]
    fn an_entry_tells_the_tables_of_its_module() {
        let entry = ModuleEntry::of::<Kept>();
        assert_eq!((entry.name, entry.documentation), ("kept", "keeps a size"));
        let functions = (entry.functions)();
        assert_eq!(functions[0].names().collect::<Vec<_>>(), ["keep", "hold"]);
        assert!(functions[0].is_named("hold") && !functions[0].is_named("holds"));
        assert_eq!((entry.create)().name(), "kept");
    }
}
