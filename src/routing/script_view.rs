//! What a message in hand may ask of the script's tables. `bindings::registry::Registry` is the only implementation
//! that ships.

use regex::bytes::Regex;

use crate::config::settings::Settings;
use crate::script::catalog::{FunctionId, TransformationId};
use crate::script::host::{Argument, Outcome, Place, Reading, Refusal, ValueRef};
use crate::script::program::CompiledTemplate;
use crate::sip::Grammar;
use crate::state::live_settings::LiveSetting;
use crate::telemetry::counters::CounterId;

use super::context::Context;
use super::continuation::Interruption;
use super::services::Services;

/// A transformation refused its input.
#[derive(Debug)]
pub struct NotTransformed {
    /// Name of the transformation.
    pub name: &'static str,
    /// Why it yields nothing.
    pub reason: String,
}

/// The tables after the names of a script, read-only while messages are processed.
pub trait ScriptView {
    /// What the top level decided.
    fn settings(&self) -> &Settings;

    /// What modules offer each other.
    fn services(&self) -> &Services;

    /// Reads a variable; text is appended to `out`.
    fn read(&self, context: &Context<'_>, place: Place<'_>, out: &mut Vec<u8>) -> Reading;

    /// Assigns to a variable.
    fn write(&self, context: &mut Context<'_>, place: Place<'_>, value: ValueRef<'_>) -> Result<(), Refusal>;

    /// Applies a transformation; text is appended to `out`.
    fn transform(
        &self,
        id: TransformationId,
        input: ValueRef<'_>,
        arguments: &[Argument<'_>],
        grammar: &Grammar,
        out: &mut Vec<u8>,
    ) -> Result<Reading, NotTransformed>;

    /// Calls a function.
    fn call(&self, id: FunctionId, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome;

    /// A regular expression prepared at load.
    fn regex(&self, number: u32) -> Option<&Regex>;

    /// Text with variables that a module had compiled.
    fn template(&self, number: u32) -> Option<&CompiledTemplate>;

    /// Where a run of the script was interrupted, for the process that resumes it.
    fn interruption(&self, point: u32) -> Interruption;

    /// The name of the route of this number.
    fn route_name(&self, number: u32) -> Option<&str>;

    /// Whether the script has `route[name]`.
    fn has_route(&self, name: &[u8]) -> bool;

    /// The setting of this name that can change while the server runs.
    fn live_setting(&self, group: &[u8], name: &[u8]) -> Option<&LiveSetting>;

    /// The counter of this name; one of the script's own also without its group.
    fn counter_named(&self, name: &str) -> Option<CounterId>;

    /// The names scripts gave to `$var` and its kin, in the order of their slots.
    fn variable_names(&self) -> &[String];

    /// When the script was loaded, in seconds since 1970.
    fn loaded_at_s(&self) -> u64;
}
