//! The manual, printed from the tables that the checker reads: what stands here is what a script can use.
//!
//! ```text
//! $ sworkerd -x function sworker_task
//! sworker_task(text)                                            module sworker
//!     delegates the message to a group; 1 delegated, …
//!     may stand in any route
//! ```

use std::fmt::Write;

use crate::script::ast::RouteKind;
use crate::script::catalog::{Advice, FunctionRow, ParameterKind, RouteSet, Yields};

use super::functions;
use super::module::{Module, ModuleEntry, Parameter, ParameterSetter};
use super::transformations::{self, Transformation};
use super::variables::{self, KeyRule, VariableRow};
use crate::bindings::keywords;
use crate::bindings::unsupported;
use crate::config::settings::group;
use crate::config::settings::group::KeyRow;
use crate::config::settings::table::{GLOBALS, GlobalRow, Kind, Takes};
use crate::routing::services::Scope;
use crate::script::suggest::nearest;
use crate::telemetry::counters;

/// A part of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Functions of the core and of the modules.
    Functions,
    /// Variables, and the words and selects that stand for some.
    Variables,
    /// Parameters of modules.
    Parameters,
    /// Modules.
    Modules,
    /// Transformations.
    Transformations,
    /// Global parameters.
    Globals,
    /// Keys of a group of workers.
    Groups,
    /// Counters.
    Counters,
}

/// Names of the parts on the command line.
pub const PARTS: &[(&str, Part)] = &[
    ("functions", Part::Functions),
    ("variables", Part::Variables),
    ("parameters", Part::Parameters),
    ("modules", Part::Modules),
    ("transformations", Part::Transformations),
    ("globals", Part::Globals),
    ("groups", Part::Groups),
    ("counters", Part::Counters),
];

impl Part {
    /// `functions`.
    fn name(self) -> &'static str {
        PARTS.iter().find(|(_, part)| *part == self).map_or("names", |(name, _)| name)
    }

    /// `functions`, or `function`.
    pub fn named(name: &str) -> Option<Part> {
        let is_it = |(plural, _): &&(&str, Part)| *plural == name || plural.strip_suffix('s') == Some(name);
        PARTS.iter().find(is_it).map(|(_, part)| *part)
    }
}

/// The text of a part, every entry in the order of names.
pub fn print(part: Part, modules: &[ModuleEntry]) -> String {
    rendered(&entries(part, modules))
}

/// The entries of one name. When there is none: where it is instead, or what is near.
pub fn print_one(part: Part, modules: &[ModuleEntry], name: &str) -> Result<String, String> {
    let bare = name.trim_start_matches(['$', '@', '{']).trim_end_matches(['}', '(', ')']);
    let (mine, others): (Vec<Entry>, Vec<Entry>) =
        entries(part, modules).into_iter().partition(|entry| entry.names.iter().any(|known| known == bare));
    if mine.is_empty() {
        let names = others.iter().flat_map(|entry| entry.names.iter().map(String::as_str));
        return Err(missing(part, bare, nearest(bare, names)));
    }
    Ok(rendered(&mine))
}

fn missing(part: Part, name: &str, near: Option<&str>) -> String {
    let elsewhere = match part {
        Part::Functions => unsupported::module_of_function(name),
        Part::Variables => unsupported::module_of_variable(name),
        Part::Modules if unsupported::is_module(name) => {
            return unsupported::not_here_yet(&format!("module \"{name}\"")).message;
        }
        _ => None,
    };
    if let Some(module) = elsewhere {
        return unsupported::not_here_yet(&format!("\"{name}\" (module \"{module}\")")).message;
    }
    let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    format!("unknown {} \"{name}\"{hint}", part.name().trim_end_matches('s'))
}

/// One entry.
struct Entry {
    /// The name and its aliases, without marks.
    names: Vec<String>,
    /// As a script writes it.
    shape: String,
    /// Whose it is.
    owner: String,
    /// What it is and what holds for it.
    lines: Vec<String>,
}

fn rendered(entries: &[Entry]) -> String {
    const OWNER_COLUMN: usize = 62;
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "{:<OWNER_COLUMN$}{}", entry.shape, entry.owner);
        for line in &entry.lines {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn entries(part: Part, modules: &[ModuleEntry]) -> Vec<Entry> {
    let manuals: Vec<ModuleManual> = modules.iter().map(|entry| (entry.manual)()).collect();
    let mut entries: Vec<Entry> = match part {
        Part::Functions => core_functions().chain(of_modules(manuals, |one| one.functions)).collect(),
        Part::Variables => core_variables().chain(of_modules(manuals, |one| one.variables)).collect(),
        Part::Parameters => of_modules(manuals, |one| one.parameters).collect(),
        Part::Modules => manuals.iter().map(ModuleManual::entry).collect(),
        Part::Transformations => {
            core_transformations().chain(of_modules(manuals, |one| one.transformations)).collect()
        }
        Part::Globals => GLOBALS.iter().map(global_entry).collect(),
        Part::Groups => group::KEYS.iter().map(key_entry).collect(),
        Part::Counters => {
            let core = counters::CORE.iter().map(|row| counter_entry(&row.name, &row.documentation, CORE));
            core.chain(of_modules(manuals, |one| one.counters)).collect()
        }
    };
    entries.sort_by(|left, right| (&left.names[0], &left.shape).cmp(&(&right.names[0], &right.shape)));
    entries
}

fn of_modules(
    manuals: Vec<ModuleManual>,
    rows: impl Fn(ModuleManual) -> Vec<Entry>,
) -> impl Iterator<Item = Entry> {
    manuals.into_iter().flat_map(rows)
}

const CORE: &str = "core";

/// The entries of a module, before its type is forgotten.
pub struct ModuleManual {
    name: &'static str,
    documentation: &'static str,
    functions: Vec<Entry>,
    parameters: Vec<Entry>,
    variables: Vec<Entry>,
    transformations: Vec<Entry>,
    counters: Vec<Entry>,
    events: Vec<&'static str>,
    commands: Vec<&'static str>,
}

impl ModuleManual {
    /// Those of the tables of `M`.
    pub fn of<M: Module>() -> ModuleManual {
        let owner = format!("module {}", M::NAME);
        let counter = |row: &counters::CounterRow| counter_entry(&row.name, &row.documentation, &owner);
        ModuleManual {
            name: M::NAME,
            documentation: M::DOCUMENTATION,
            functions: M::FUNCTIONS.iter().map(|entry| function_entry(&entry.row, &owner)).collect(),
            parameters: M::PARAMETERS.iter().map(|row| parameter_entry(row, M::NAME)).collect(),
            variables: M::VARIABLES.iter().map(|entry| variable_entry(&entry.row, &owner)).collect(),
            transformations: M::TRANSFORMATIONS.iter().map(|row| transformation_entry(row, &owner)).collect(),
            counters: M::COUNTERS.iter().map(counter).collect(),
            events: M::EVENTS.iter().map(|row| row.name).collect(),
            commands: M::COMMANDS.iter().map(|entry| entry.row.name).collect(),
        }
    }

    fn entry(&self) -> Entry {
        let kinds = [
            ("functions", &self.functions),
            ("parameters", &self.parameters),
            ("variables", &self.variables),
            ("transformations", &self.transformations),
        ];
        let mut lines = vec![self.documentation.to_string()];
        for (kind, entries) in kinds.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            let mut names: Vec<&str> = entries.iter().map(|entry| entry.names[0].as_str()).collect();
            names.sort_unstable();
            names.dedup();
            lines.push(format!("{kind}: {}", names.join(", ")));
        }
        for (kind, names) in [("events", &self.events), ("commands", &self.commands)] {
            if !names.is_empty() {
                lines.push(format!("{kind}: {}", names.join(", ")));
            }
        }
        Entry {
            names: vec![self.name.to_string()],
            shape: format!("loadmodule \"{}.so\"", self.name),
            owner: String::new(),
            lines,
        }
    }
}

// Functions.

fn core_functions() -> impl Iterator<Item = Entry> {
    functions::TABLES.iter().copied().flatten().map(|entry| function_entry(&entry.row, CORE))
}

/// What a row is, and its other names.
fn first_lines(documentation: &str, aliases: &[&str]) -> Vec<String> {
    let mut lines = vec![documentation.to_string()];
    if !aliases.is_empty() {
        lines.push(format!("also {}", aliases.join(", ")));
    }
    lines
}

fn function_entry(row: &FunctionRow, owner: &str) -> Entry {
    let arguments: Vec<&str> = row.parameters.iter().map(parameter_word).collect();
    let mut lines = first_lines(row.documentation, row.aliases);
    lines.push(routes_in_words(row.routes));
    match row.advice {
        Advice::None => {}
        Advice::TestThenDrop => lines.push("test its result, and `drop` when it is true".to_string()),
        Advice::Alias(instead) => lines.push(format!("write {instead} instead")),
    }
    Entry {
        names: row.names().map(str::to_string).collect(),
        shape: format!("{}({})", row.name, arguments.join(", ")),
        owner: owner.to_string(),
        lines,
    }
}

fn parameter_word(kind: &ParameterKind) -> &'static str {
    match kind {
        ParameterKind::Text | ParameterKind::Shown => "text",
        ParameterKind::Lines => "header lines",
        ParameterKind::Literal => "literal",
        ParameterKind::Integer | ParameterKind::Delay => "integer",
        ParameterKind::Value => "value",
        ParameterKind::Place => "variable",
        ParameterKind::Prepared => "text checked at load",
        ParameterKind::Route(kind) => kind.word(),
    }
}

fn routes_in_words(routes: RouteSet) -> String {
    if RouteKind::ALL.iter().all(|kind| routes.contains(*kind)) {
        return "can be used in any route".to_string();
    }
    if routes == RouteSet::BEFORE_SENDING {
        return "can be used in any route but onsend_route".to_string();
    }
    let allowed = RouteKind::ALL.into_iter().filter(|kind| routes.contains(*kind));
    let words: Vec<&str> = allowed.map(RouteKind::word).collect();
    format!("can be used in {}", words.join(", "))
}

fn key_entry((name, values, text): &KeyRow) -> Entry {
    Entry {
        names: vec![name.to_string()],
        shape: format!("{name} = {values}"),
        owner: "async_workers_group".to_string(),
        lines: vec![text.to_string()],
    }
}

// Variables.

fn core_variables() -> impl Iterator<Item = Entry> {
    let rows = variables::TABLES.iter().copied().flatten().map(|entry| variable_entry(&entry.row, CORE));
    let words = keywords::WORDS.iter().map(|word| stand_in(word.name, word.name.to_string(), word.variable));
    let selects =
        keywords::SELECTS.iter().map(|(name, variable)| stand_in(name, format!("@{name}"), variable));
    let select = Entry {
        names: vec!["sel".to_string()],
        shape: "$sel(select)".to_string(),
        owner: CORE.to_string(),
        lines: vec![
            "a select, written without @: $sel(cfg_get.group.name)".to_string(),
            "read only".to_string(),
        ],
    };
    rows.chain(words).chain(selects).chain([select])
}

/// A word or select.
fn stand_in(name: &str, shape: String, variable: &str) -> Entry {
    let entry = keywords::VARIABLES.iter().find(|entry| entry.row.name == variable);
    let line = entry.map_or(format!("short for ${variable}"), |entry| entry.row.documentation.to_string());
    Entry { names: vec![name.to_string()], shape, owner: CORE.to_string(), lines: vec![line] }
}

fn variable_entry(row: &VariableRow, owner: &str) -> Entry {
    let key = match row.key {
        KeyRule::None => String::new(),
        KeyRule::Text | KeyRule::PairName => "(text)".to_string(),
        KeyRule::OptionalText => "[(text)]".to_string(),
        KeyRule::Word(words) => format!("({})", words.join("|")),
        _ => "(name)".to_string(),
    };
    let yields = match row.yields {
        Yields::Anything => "",
        Yields::Integer => ", an integer",
        Yields::Text | Yields::TextAnyCase => ", text",
        Yields::Address => ", an address",
        Yields::Myself => ", only with == and !=",
    };
    let access = if row.is_writable { "read and written" } else { "read only" };
    let scope = if row.scope == Scope::Process { ", keeps its value after the message" } else { "" };
    let mut lines = first_lines(row.documentation, row.aliases);
    lines.push(format!("{access}{yields}{scope}"));
    Entry {
        names: row.names().map(str::to_string).collect(),
        shape: format!("${}{key}", row.name),
        owner: owner.to_string(),
        lines,
    }
}

// Parameters, transformations, globals, counters.

fn parameter_entry<M>(row: &Parameter<M>, module: &str) -> Entry {
    let (value, line) = match &row.set {
        ParameterSetter::Integer(_) => ("integer", row.documentation.to_string()),
        ParameterSetter::Text(_) => ("\"text\"", row.documentation.to_string()),
        ParameterSetter::Any(_) => ("integer or \"text\"", row.documentation.to_string()),
        ParameterSetter::Ignored(why) => ("value", format!("accepted without effect: {why}")),
    };
    Entry {
        names: vec![row.name.to_string()],
        shape: format!("modparam(\"{module}\", \"{}\", {value})", row.name),
        owner: format!("module {module}"),
        lines: [Some(line), row.default.map(|value| format!("default: {value}"))]
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn core_transformations() -> impl Iterator<Item = Entry> {
    transformations::TABLES.iter().copied().flatten().map(|row| transformation_entry(row, CORE))
}

fn transformation_entry(row: &Transformation, owner: &str) -> Entry {
    let (least, most) = row.argument_counts;
    let mut shape = format!("{{{}", row.name);
    for index in 0..most.min(least + 3) {
        shape.push_str(if index < least { ",a" } else { "[,a]" });
    }
    shape.push('}');
    Entry {
        names: vec![row.name.to_string()],
        shape,
        owner: owner.to_string(),
        lines: vec![row.documentation.to_string()],
    }
}

fn global_entry(row: &GlobalRow) -> Entry {
    let (value, note) = match &row.kind {
        Kind::Flag(_) => ("yes|no".to_string(), None),
        Kind::Number { least, most, .. } => (format!("{least}…{most}"), None),
        Kind::Text(_) => ("\"text\"".to_string(), None),
        Kind::Level(_) => ("level".to_string(), None),
        Kind::Special(_) => ("…".to_string(), None),
        Kind::Ignored { takes, .. } => {
            let value = match takes {
                Takes::Number => "number",
                Takes::Text => "\"text\"",
                Takes::Anything => "…",
            };
            (value.to_string(), Some("accepted without effect: "))
        }
    };
    let mut lines = first_lines(row.documentation, &row.names[1..]);
    lines[0].insert_str(0, note.unwrap_or_default());
    lines.extend(row.default_value().map(|value| format!("default: {value}")));
    Entry {
        names: row.names.iter().map(|name| (*name).to_string()).collect(),
        shape: format!("{} = {value}", row.names[0]),
        owner: CORE.to_string(),
        lines,
    }
}

fn counter_entry(name: &str, documentation: &str, owner: &str) -> Entry {
    Entry {
        names: vec![name.to_string()],
        shape: name.to_string(),
        owner: owner.to_string(),
        lines: vec![documentation.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::super::module::Outcome;
    use super::*;
    use crate::bindings::module::ModuleFunction;
    use crate::telemetry::counters::CounterRow;

    struct Sample;

    impl Module for Sample {
        const NAME: &'static str = "sample";
        const DOCUMENTATION: &'static str = "shows rows";
        const FUNCTIONS: &'static [ModuleFunction<Self>] = &[ModuleFunction::new(
            "show",
            "shows",
            &[ParameterKind::Text, ParameterKind::Place],
            |_, _, _| Outcome::TRUE,
        )
        .alias(&["display"])
        .routes(RouteSet::REQUEST)
        .advice(Advice::TestThenDrop)];
        const PARAMETERS: &'static [Parameter<Self>] = &[
            Parameter::integer("size", "the size", |_, _| Ok(())).default("5"),
            Parameter::ignored("old", "nobody needs it"),
        ];
        const COUNTERS: &'static [CounterRow] = &[CounterRow::new("sample.shown", "what was shown")];

        fn new() -> Self {
            Sample
        }
    }

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Sample>()];

    #[test]
    fn an_entry_says_all_that_its_row_knows() {
        let rows = [
            (
                Part::Functions,
                "display",
                &[
                    "show(text, variable)",
                    "module sample",
                    "    also display",
                    "can be used in request_route, route[], event_route[]\n",
                    "`drop`",
                ][..],
            ),
            (Part::Functions, "setflag()", &["setflag(text checked at load)", "core", "any route"]),
            (Part::Variables, "$si", &["$si", "address"]),
            (
                Part::Variables,
                "var",
                &["$var(name)", "read and written", "keeps its value after the message"],
            ),
            (Part::Variables, "src_ip", &["src_ip", "short for $si"]),
            (Part::Variables, "@ruri.user", &["@ruri.user", "short for $rU"]),
            (
                Part::Parameters,
                "size",
                &["modparam(\"sample\", \"size\", integer)", "    the size\n", "    default: 5\n"],
            ),
            (Part::Parameters, "old", &["accepted without effect: nobody needs it"]),
            (
                Part::Modules,
                "sample",
                &["loadmodule \"sample.so\"", "functions: show", "parameters: old, size"],
            ),
            (Part::Transformations, "{s.substr}", &["{s.substr,a,a}", "core"]),
            (Part::Globals, "children", &["children = 1…1024", "    default: 8\n"]),
            (Part::Globals, "log_facility", &["default: LOG_DAEMON"]),
            (Part::Globals, "reply_to_via", &["yes|no", "default: no"]),
            (Part::Globals, "mem_log", &["accepted without effect", "also mem_log"]),
            (Part::Groups, "oc", &["oc = off, on", "(RFC 7339)"]),
            (Part::Counters, "sample.shown", &["what was shown"]),
        ];
        for (part, name, expected) in rows {
            let text = print_one(part, MODULES, name).unwrap_or_else(|near| panic!("{name}: {near:?}"));
            for line in expected {
                assert!(text.contains(line), "{name} lacks {line:?}:\n{text}");
            }
        }
    }

    #[test]
    fn every_part_is_in_the_order_of_names_and_knows_its_name() {
        for (name, part) in PARTS {
            assert_eq!(Part::named(name), Some(*part));
            assert_eq!(Part::named(name.strip_suffix('s').unwrap()), Some(*part));
            let names: Vec<String> =
                entries(*part, MODULES).into_iter().map(|one| one.names[0].clone()).collect();
            assert!(!names.is_empty() && names.is_sorted(), "{name}: {names:?}");
        }
        assert_eq!(Part::named("fm"), None);
    }

    #[test]
    fn an_unknown_name_is_answered_with_what_is_near() {
        let rows = [
            (Part::Functions, "shwo", "unknown function \"shwo\"; did you mean \"show\"?"),
            (Part::Functions, "nothing_like_it", "unknown function \"nothing_like_it\""),
            (
                Part::Functions,
                "t_relay",
                "\"t_relay\" (module \"tm\") exists in Kamailio and is not here yet",
            ),
            (Part::Variables, "$sht", "\"sht\" (module \"htable\") exists in Kamailio and is not here yet"),
            (Part::Modules, "htable", "module \"htable\" exists in Kamailio and is not here yet"),
            (Part::Globals, "t_relay", "unknown global \"t_relay\""),
        ];
        for (part, name, expected) in rows {
            assert_eq!(print_one(part, MODULES, name), Err(expected.to_string()));
        }
    }
}
