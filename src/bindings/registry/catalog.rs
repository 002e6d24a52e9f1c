//! The registry as the checker asks it.

use crate::routing::script_view::ScriptView;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::script::ast::RouteKind;
use crate::script::catalog::{
    Catalog, Constant, FunctionId, FunctionRow, KeyShape, ParameterFault, Refused, Subject, TransformationId,
    VariableHandle,
};
use crate::script::diagnostic::Diagnostic;

use super::super::module::Loaded;
use super::super::preparation::Preparation;
use super::super::variables::{KeyRule, structured};
use super::finish::GROUP_PARAMETER;
use super::{FunctionCode, FunctionTarget, ModuleSlot, Registry, StoredKey, VariableCode, VariableTarget};
use crate::bindings::keywords;
use crate::bindings::unsupported;
use crate::config::settings::{group, table};
use crate::script::suggest::{listed, suggestion};
use crate::state::value::Value;
use crate::telemetry::counters::ModuleCounters;
use regex::Regex;

/// Longest name of a variable or key that is kept.
const KEY_SIZE_MAX: usize = 1024;

/// `$sel(a.b)` is the select `@a.b`.
const SELECT_VARIABLE: &str = "sel";

impl Catalog for Registry {
    fn load_module(&mut self, path: &str) -> Result<Option<Diagnostic>, Diagnostic> {
        let name = module_name(path);
        if self.modules.iter().any(|module| module.name == name) {
            let by_option =
                self.overrides.load_modules.iter().find(|written| module_name(&written.value) == name);
            let help =
                by_option.map(|written| format!("the command line option {} loads it too", written.option));
            return Err(Diagnostic {
                help,
                ..Diagnostic::mistake(format!("module \"{name}\" is loaded twice"))
            });
        }
        let Some(entry) = self.available.iter().find(|entry| entry.name == name) else {
            return Err(self.unknown_module(name));
        };
        self.add_module((entry.create)());
        Ok(None)
    }

    fn set_module_parameter(
        &mut self,
        modules: &str,
        name: &str,
        value: &Constant,
    ) -> Result<Option<Diagnostic>, Diagnostic> {
        let meant = self.meant_modules(modules)?;
        if meant.is_empty() {
            return Err(self.module_not_loaded(modules));
        }
        let mut remark = None;
        for index in meant {
            remark = self.set_parameter(index, name, value)?.or(remark);
        }
        Ok(remark)
    }

    fn set_global(&mut self, name: &str, value: &Constant) -> Result<Option<Diagnostic>, Diagnostic> {
        let Some(draft) = &mut self.draft else {
            return Err(Diagnostic::mistake(format!("{name} must be set before the modules are loaded")));
        };
        draft.set(name, value).inspect_err(|_| draft.keep_name_of_group(name, value))
    }

    fn set_custom(
        &mut self,
        group: &str,
        name: &str,
        value: &Constant,
        description: &str,
    ) -> Result<(), Diagnostic> {
        let value = match value {
            Constant::Number(number) => Value::Integer(*number),
            Constant::Text(bytes) => Value::Text(bytes.clone()),
            Constant::Word(word) => Value::Text(word.clone().into_bytes()),
            _ => {
                return Err(Diagnostic::mistake(format!("{group}.{name} takes a number or a string"))
                    .with_help("write 5 or \"text\""));
            }
        };
        self.add_live_setting(group, name, value, description).map(drop)
    }

    fn finish_top_level(&mut self) -> Vec<(Subject, Diagnostic)> {
        self.finish()
    }

    fn fault_in_parameter(&self, modules: &str, name: &str) -> ParameterFault {
        let meant = self.meant_modules(modules).unwrap_or_default();
        let has_it = |index: &usize| {
            let instance = self.modules[*index].instance.as_ref();
            instance.is_some_and(|one| one.parameters().contains(&name))
        };
        match (meant.is_empty(), meant.iter().all(has_it)) {
            (true, _) => ParameterFault::Module,
            (false, false) => ParameterFault::Name,
            (false, true) => ParameterFault::Value,
        }
    }

    fn is_global(&self, name: &str) -> bool {
        table::row_named(name).is_some()
    }

    fn function(
        &mut self,
        name: &str,
        argument_count: usize,
    ) -> Result<(FunctionId, &'static FunctionRow), Diagnostic> {
        match self.function_index(name, argument_count) {
            Some(index) => Ok((FunctionId(index as u32), self.functions[index].row)),
            None if self.functions.iter().any(|target| target.row.is_named(name)) => {
                Err(self.wrong_count(name, argument_count))
            }
            None => Err(self.unknown_function(name)),
        }
    }

    fn takes_words(&self, function: FunctionId) -> bool {
        let code = self.functions.get(function.0 as usize).map(|target| target.code);
        matches!(code, Some(FunctionCode::Core(_)))
    }

    fn prepare(
        &mut self,
        function: FunctionId,
        parameter: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic> {
        let Some(target) = self.functions.get(function.0 as usize) else { return Ok(None) };
        let mut preparation = Preparation { settings: &self.settings, regexes: &mut self.regexes };
        match target.code {
            FunctionCode::Core(row) => match row.prepare {
                Some(prepare) => prepare(&mut preparation, parameter, literal),
                None => Ok(None),
            },
            FunctionCode::Module { module, function } => match &mut self.modules[module].instance {
                Some(instance) => instance.prepare(function, &mut preparation, parameter, literal),
                None => Ok(None),
            },
        }
    }

    fn variable(&mut self, name: &str, key: KeyShape<'_>) -> Result<VariableHandle, Diagnostic> {
        if let (SELECT_VARIABLE, KeyShape::Literal(path)) = (name, key) {
            return self.select(&String::from_utf8_lossy(path));
        }
        let Some(index) = self.variable_index(name) else { return Err(self.unknown_variable(name)) };
        let slot = self.keep_key(index, key)?;
        Ok(self.handle(index, slot))
    }

    fn word(&mut self, name: &str) -> Result<VariableHandle, Diagnostic> {
        let Some(word) = keywords::WORDS.iter().find(|word| word.name == name) else {
            return Err(self.unknown_word(name));
        };
        let index = self.variables.iter().position(|target| target.row.is_named(word.variable));
        let Some(index) = index else {
            return Err(unsupported::not_here_yet(&format!("the word \"{name}\"")));
        };
        Ok(VariableHandle { yields: word.yields, is_writable: false, ..self.handle(index, 0) })
    }

    fn values_of_word(&self, name: &str) -> &'static [&'static str] {
        keywords::values_of(name)
    }

    fn select(&mut self, path: &str) -> Result<VariableHandle, Diagnostic> {
        let bare = path.strip_prefix('@').unwrap_or(path);
        if let Some((group, name)) = bare.strip_prefix("cfg_get.").and_then(|rest| rest.split_once('.')) {
            return self.custom_handle(group, name);
        }
        if let Some(header) = bare.strip_prefix("msg.header[").and_then(|rest| rest.strip_suffix(']')) {
            let name = header.trim_matches(['"', '\'']);
            return self.variable("hdr", KeyShape::Literal(name.as_bytes()));
        }
        match keywords::SELECTS.iter().find(|(select, _)| *select == bare) {
            Some((_, variable)) => self.variable(variable, KeyShape::None),
            None => {
                Err(Diagnostic::mistake(format!("select \"@{bare}\" is not here yet")).with_help(format!(
                    "selects are @cfg_get.group.name, @msg.header[\"name\"], {}",
                    listed(keywords::SELECTS.iter().map(|row| row.0))
                )))
            }
        }
    }

    fn transformation(&mut self, name: &str, argument_count: usize) -> Result<TransformationId, Diagnostic> {
        let Some(index) = self.transformations.iter().position(|row| row.name == name) else {
            let known = self.transformations.iter().map(|row| row.name);
            return Err(Diagnostic {
                help: suggestion(name, known),
                ..Diagnostic::mistake(format!("unknown transformation {{{name}}}"))
            });
        };
        let (fewest, most) = self.transformations[index].argument_counts;
        if !(fewest..=most).contains(&argument_count) {
            let expected = if fewest == most { fewest.to_string() } else { format!("{fewest} to {most}") };
            let message = format!("{{{name}}} takes {expected} arguments, not {argument_count}");
            return Err(Diagnostic::mistake(message));
        }
        Ok(TransformationId(index as u32))
    }

    fn route(&mut self, kind: RouteKind, name: &str) -> Option<Diagnostic> {
        if kind == RouteKind::Named {
            self.declared_routes.push(name.to_string());
        }
        match kind {
            RouteKind::Event if self.events.iter().any(|event| event.name == name) => None,
            RouteKind::Event => Some(self.unknown_event(name)),
            _ => None,
        }
    }

    fn absent_modules(&self, refused: Refused<'_>) -> Vec<String> {
        self.modules_absent_for(refused)
    }

    fn mistake_in_global(&self, name: &str, text: &[u8]) -> Option<Range<usize>> {
        let text = std::str::from_utf8(text).ok()?;
        if name == GROUP_PARAMETER { group::value_of(text, "name") } else { None }
    }

    fn findings_in_global(&self, name: &str, text: &[u8]) -> Vec<(Range<usize>, Diagnostic)> {
        match std::str::from_utf8(text) {
            Ok(text) if name == GROUP_PARAMETER => group::read_group(text).findings,
            _ => Vec::new(),
        }
    }

    fn value_at_load(&self, variable: &str, key: &[u8]) -> Option<Vec<u8>> {
        if variable != "env" {
            return None;
        }
        let name = OsStr::from_bytes(key);
        Some(std::env::var_os(name).map(OsString::into_vec).unwrap_or_default())
    }
}

/// Modules.
impl Registry {
    /// Which loaded modules a pattern such as `m1|m2` means.
    fn meant_modules(&self, pattern: &str) -> Result<Vec<usize>, Diagnostic> {
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
            Diagnostic::mistake(format!("\"{pattern}\" is not a pattern of module names"))
                .with_help("write \"m1|m2\"")
        })?;
        Ok((0..self.modules.len()).filter(|&index| regex.is_match(self.modules[index].name)).collect())
    }

    fn add_module(&mut self, mut instance: Box<dyn Loaded>) {
        let module = self.modules.len();
        for (function, row) in instance.functions().into_iter().enumerate() {
            let code = FunctionCode::Module { module, function };
            self.functions.push(FunctionTarget { row, code });
        }
        for (variable, row) in instance.variables().into_iter().enumerate() {
            let code = VariableCode::Module { module, variable };
            self.variables.push(VariableTarget { row, code });
        }
        self.transformations.extend(instance.transformations());
        self.events.extend_from_slice(instance.events());
        instance.number_counters(ModuleCounters::behind(self.counters.len()));
        self.counters.extend_from_slice(instance.counters());
        self.modules.push(ModuleSlot { name: instance.name(), instance: Some(instance) });
    }

    fn set_parameter(
        &mut self,
        index: usize,
        name: &str,
        value: &Constant,
    ) -> Result<Option<Diagnostic>, Diagnostic> {
        let module = &mut self.modules[index];
        let module_name = module.name;
        let Some(instance) = &mut module.instance else { return Ok(None) };
        let rows = instance.parameters();
        let Some(row) = rows.iter().position(|row| *row == name) else {
            let help = suggestion(name, rows.iter().copied());
            let all = listed(rows.iter().copied());
            return Err(Diagnostic {
                help: help.or(Some(format!("its parameters: {all}"))),
                ..Diagnostic::mistake(format!("module \"{module_name}\" has no parameter \"{name}\""))
            });
        };
        let ignored = instance.set_parameter(row, value)?;
        Ok(ignored.map(|why| {
            Diagnostic::remark(format!("parameter \"{name}\" of {module_name} has no effect here: {why}"))
        }))
    }
}

/// Functions and variables.
impl Registry {
    fn function_index(&mut self, name: &str, argument_count: usize) -> Option<usize> {
        let key = (name.to_string(), argument_count);
        if let Some(known) = self.memory.functions.get(&key) {
            return Some(*known);
        }
        let is_it = |target: &FunctionTarget| {
            target.row.is_named(name) && target.row.parameters.len() == argument_count
        };
        let index = self.functions.iter().position(is_it)?;
        self.memory.functions.insert(key, index);
        Some(index)
    }

    fn variable_index(&mut self, name: &str) -> Option<usize> {
        if let Some(known) = self.memory.variables.get(name) {
            return Some(*known);
        }
        let is_it = |target: &VariableTarget| target.row.is_named(name) && !target.row.is_word();
        let index = self.variables.iter().position(is_it)?;
        self.memory.variables.insert(name.to_string(), index);
        Some(index)
    }

    fn handle(&self, index: usize, slot: u32) -> VariableHandle {
        let row = self.variables[index].row;
        VariableHandle { id: index as u32, slot, is_writable: row.is_writable, yields: row.yields }
    }

    fn custom_handle(&mut self, group: &str, name: &str) -> Result<VariableHandle, Diagnostic> {
        let Some(slot) = self.live_setting(group.as_bytes(), name.as_bytes()).map(|setting| setting.slot)
        else {
            return Err(self.unknown_custom(group, name));
        };
        self.variables.push(VariableTarget { row: keywords::CUSTOM, code: VariableCode::Live(slot) });
        Ok(self.handle(self.variables.len() - 1, 0))
    }

    /// Checks a key against the rule of its variable; literal ones are kept, and their number + 1 is the answer.
    fn keep_key(&mut self, index: usize, key: KeyShape<'_>) -> Result<u32, Diagnostic> {
        let row = self.variables[index].row;
        let name = row.name;
        let stored = match (row.key, key) {
            (KeyRule::None | KeyRule::OptionalText, KeyShape::None) => return Ok(0),
            (KeyRule::None, _) => {
                return Err(Diagnostic::mistake(format!("${name} takes nothing in parentheses")));
            }
            (
                KeyRule::Slot | KeyRule::Shared | KeyRule::Text | KeyRule::PairName | KeyRule::Path,
                KeyShape::Literal(b""),
            )
            | (_, KeyShape::None) => {
                return Err(Diagnostic::mistake(format!("${name} needs a name in parentheses"))
                    .with_help(format!("write ${name}(name)")));
            }
            (KeyRule::Slot | KeyRule::Shared, KeyShape::Computed) => {
                return Err(Diagnostic::mistake(format!(
                    "the name in ${name}(…) must be known when the script is loaded"
                ))
                .with_help("names computed while it runs can be had with $avp(…)"));
            }
            (_, KeyShape::Computed) => return Ok(0),
            (_, KeyShape::Literal(bytes)) if bytes.len() > KEY_SIZE_MAX => {
                return Err(Diagnostic::mistake(format!("the name in ${name}(…) is too long")));
            }
            (KeyRule::PairName, KeyShape::Literal(bytes)) => StoredKey::Text(self.avp_name(bytes).into()),
            (KeyRule::Text | KeyRule::OptionalText, KeyShape::Literal(bytes)) => {
                StoredKey::Text(bytes.into())
            }
            (KeyRule::Word(words), KeyShape::Literal(bytes)) => {
                StoredKey::Word(word_index(name, words, bytes)?)
            }
            (KeyRule::Slot, KeyShape::Literal(bytes)) => StoredKey::Slot(self.slot_of(bytes)),
            (KeyRule::Shared, KeyShape::Literal(bytes)) => StoredKey::Slot(self.shared_slot_of(bytes)),
            (KeyRule::Path, KeyShape::Literal(bytes)) => {
                structured::check_path(bytes).map_err(|reason| {
                    Diagnostic::mistake(format!("${name}({}): {reason}", bytes.escape_ascii()))
                })?;
                StoredKey::Text(bytes.into())
            }
        };
        Ok(self.number_of(stored))
    }

    pub(super) fn slot_of(&mut self, bytes: &[u8]) -> u32 {
        let name = String::from_utf8_lossy(bytes);
        let known = self.slot_names.iter().position(|known| *known == name);
        known.unwrap_or_else(|| {
            self.slot_names.push(name.into_owned());
            self.slot_names.len() - 1
        }) as u32
    }

    fn number_of(&mut self, key: StoredKey) -> u32 {
        if let Some(known) = self.memory.keys.get(&key) {
            return *known;
        }
        self.keys.push(key.clone());
        let number = self.keys.len() as u32;
        self.memory.keys.insert(key, number);
        number
    }
}

fn word_index(name: &str, words: &[&str], bytes: &[u8]) -> Result<usize, Diagnostic> {
    words.iter().position(|word| word.as_bytes() == bytes).ok_or_else(|| {
        let written = String::from_utf8_lossy(bytes);
        Diagnostic::mistake(format!("${name} has no part \"{written}\""))
            .with_help(format!("its parts are {}", listed(words.iter().copied())))
    })
}

/// `/usr/lib/x86_64-linux-gnu/kamailio/modules/sl.so`, `sl.so` and `sl` are the same.
pub(super) fn module_name(path: &str) -> &str {
    let file = path.trim().rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".so").unwrap_or(file)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bindings::module::{
        Module, ModuleEntry, ModuleFunction, ModuleVariable, Outcome, Parameter, ParameterKind,
    };
    use crate::bindings::planning::Planning;
    use crate::config::settings::Overrides;
    use crate::config::settings::listen::tests::TestMachine;
    use crate::script::catalog::Yields;
    use crate::state::value::answer_text;
    use crate::telemetry::counters::CounterRow;

    /// A module with a row of each kind.
    struct First {
        size: i64,
        name: Vec<u8>,
    }

    impl Module for First {
        const NAME: &'static str = "first";
        const DOCUMENTATION: &'static str = "a module";
        const PARAMETERS: &'static [Parameter<Self>] = &[
            Parameter::integer("size", "a size", |first, size| {
                first.size = size;
                Ok(())
            }),
            Parameter::text("name", "a name", |first, name| {
                first.name = name.to_vec();
                Ok(())
            }),
            Parameter::ignored("old_size", "sizes grow by themselves"),
        ];
        const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
            ModuleFunction::new("act", "acts", &[], |_, _, _| Outcome::TRUE),
            ModuleFunction::new(
                "act",
                "acts twice",
                &[ParameterKind::Text, ParameterKind::Text],
                |_, _, _| Outcome(2),
            ),
            ModuleFunction::new("match_text", "matches", &[ParameterKind::Prepared], |_, _, _| Outcome::TRUE)
                .alias(&["text_matches"])
                .prepare(|_, preparation, _, literal| preparation.regex(literal).map(Some)),
        ];
        const VARIABLES: &'static [ModuleVariable<Self>] = &[
            ModuleVariable::new("f_plain", "plain", |_, _, _, out| answer_text(b"x", out)),
            ModuleVariable::new("f_text", "by text", |_, _, _, out| answer_text(b"x", out))
                .key(KeyRule::Text),
            ModuleVariable::new("f_word", "by word", |_, _, _, out| answer_text(b"x", out))
                .key(KeyRule::Word(&["a", "b"])),
            ModuleVariable::new("f_slot", "by slot", |_, _, _, out| answer_text(b"x", out))
                .key(KeyRule::Slot)
                .process_wide(),
        ];
        const COUNTERS: &'static [CounterRow] = &[CounterRow::new("first.acted", "acts")];

        fn new() -> Self {
            First { size: 8, name: Vec::new() }
        }

        fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
            planning.about("size");
            if self.size > 100 {
                return Err(Diagnostic::mistake(format!("size {} is too large", self.size)));
            }
            planning.about("name");
            let name = String::from_utf8_lossy(&self.name).into_owned();
            if name.is_empty() { Ok(()) } else { planning.place(&name).map(drop) }
        }
    }

    struct Second;

    impl Module for Second {
        const NAME: &'static str = "second";
        const DOCUMENTATION: &'static str = "another module";
        const PARAMETERS: &'static [Parameter<Self>] = &[Parameter::integer("size", "a size", |_, _| Ok(()))];

        fn new() -> Self {
            Second
        }
    }

    pub(in crate::bindings::registry) static MODULES: &[ModuleEntry] =
        &[ModuleEntry::of::<First>(), ModuleEntry::of::<Second>()];

    pub(in crate::bindings::registry) fn registry() -> Registry {
        Registry::new(MODULES, Overrides::default(), Box::new(TestMachine))
    }

    pub(in crate::bindings::registry) fn loaded() -> Registry {
        let mut registry = registry();
        registry.load_module("first.so").unwrap();
        registry.load_module("second").unwrap();
        registry
    }

    /// The message of a mistake and its help, or nothing.
    fn said<T>(result: Result<T, Diagnostic>) -> String {
        match result {
            Ok(_) => String::new(),
            Err(Diagnostic { message, help: None, .. }) => message,
            Err(Diagnostic { message, help: Some(help), .. }) => format!("{message}; {help}"),
        }
    }

    #[test]
    fn modules_are_loaded_once_by_any_form_of_their_name() {
        for path in ["first", "first.so", "/usr/lib/x86_64-linux-gnu/kamailio/modules/first.so", "./first.so"]
        {
            let mut registry = registry();
            assert_eq!(said(registry.load_module(path)), "", "{path}");
            assert_eq!(said(registry.load_module("first")), "module \"first\" is loaded twice");
        }
        let rows = [
            ("frist.so", "unknown module \"frist\"; did you mean \"first\"?"),
            ("nothing", "unknown module \"nothing\"; modules are \"first\", \"second\""),
            ("tm.so", "module \"tm\" exists in Kamailio and is not here yet"),
        ];
        for (path, expected) in rows {
            assert_eq!(said(registry().load_module(path)), expected);
        }
    }

    #[test]
    fn parameters_are_set_by_patterns_of_names_and_kinds_are_checked() {
        let text = |text: &str| Constant::Text(text.as_bytes().to_vec());
        let rows = [
            ("first", "size", Constant::Number(5), ""),
            ("first|second", "size", Constant::Number(5), ""),
            (".*", "size", Constant::Number(5), ""),
            ("first", "size", text("5"), "parameter \"size\" takes an integer"),
            ("first", "name", Constant::Number(5), "parameter \"name\" takes a string"),
            (
                "first",
                "sise",
                Constant::Number(5),
                "module \"first\" has no parameter \"sise\"; did you mean \"size\"?",
            ),
            (
                "first|second",
                "name",
                text("n"),
                "module \"second\" has no parameter \"name\"; its parameters: \"size\"",
            ),
            ("fir", "size", Constant::Number(5), "no loaded module is named \"fir\""),
            (
                "frist",
                "size",
                Constant::Number(5),
                "no loaded module is named \"frist\"; did you mean \"first\"?",
            ),
            ("(", "size", Constant::Number(5), "\"(\" is not a pattern of module names; write \"m1|m2\""),
        ];
        for (modules, name, value, expected) in rows {
            assert_eq!(
                said(loaded().set_module_parameter(modules, name, &value)),
                expected,
                "{modules} {name}"
            );
        }
        let early = registry().set_module_parameter("first", "size", &Constant::Number(5));
        assert_eq!(
            said(early),
            "no loaded module is named \"first\"; `loadmodule \"first.so\"` is missing before it"
        );
        let remark =
            loaded().set_module_parameter("first", "old_size", &Constant::Number(5)).unwrap().unwrap();
        assert!(remark.message.ends_with("has no effect here: sizes grow by themselves"), "{remark:?}");
    }

    #[test]
    fn modules_plan_when_the_top_level_is_read() {
        let finish = |name: &str, value: Constant| {
            let mut registry = loaded();
            registry.set_module_parameter("first", name, &value).unwrap();
            let mistakes = registry.finish_top_level();
            mistakes.into_iter().map(|(_, mistake)| mistake.message).collect::<Vec<_>>()
        };
        assert!(finish("size", Constant::Number(100)).is_empty());
        assert_eq!(finish("size", Constant::Number(101)), ["size 101 is too large"]);
        assert!(finish("name", Constant::Text(b"$f_slot(a)".to_vec())).is_empty());
        assert_eq!(finish("name", Constant::Text(b"$f_slat(a)".to_vec())), ["unknown variable $f_slat"]);
    }

    #[test]
    fn functions_are_found_by_name_and_count() {
        let rows = [
            ("act", 0, ""),
            ("act", 2, ""),
            ("act", 1, "act() takes 0 or 2 arguments, not 1"),
            ("match_text", 1, ""),
            ("text_matches", 1, ""),
            ("macth_text", 1, "unknown function macth_text(); did you mean \"match_text\"?"),
            ("t_relay", 0, "function t_relay() (module \"tm\") exists in Kamailio and is not here yet"),
        ];
        for (name, count, expected) in rows {
            assert_eq!(said(loaded().function(name, count)), expected);
        }
        let missing = registry().function("text_matches", 1);
        assert_eq!(
            said(missing),
            "function text_matches() belongs to module \"first\", which is not loaded; `loadmodule \"first.so\"` is missing"
        );
    }

    #[test]
    fn literals_are_prepared_once_the_script_is_checked() {
        let mut registry = loaded();
        let function = registry.function("match_text", 1).unwrap().0;
        assert_eq!(registry.prepare(function, 0, b"^a+$"), Ok(Some(0)));
        assert!(registry.regex(0).unwrap().is_match(b"AAA"));
        assert!(said(registry.prepare(function, 0, b"(")).starts_with("invalid regular expression \"(\": "));
        let plain = registry.function("act", 0).unwrap().0;
        assert_eq!(registry.prepare(plain, 0, b"x"), Ok(None));
    }

    #[test]
    fn keys_of_variables_follow_their_rules() {
        use KeyShape::{Computed, Literal, None};
        let rows = [
            ("f_plain", None, ""),
            ("f_plain", Literal(b"x"), "$f_plain takes nothing in parentheses"),
            ("f_plain", Computed, "$f_plain takes nothing in parentheses"),
            ("f_text", Literal(b"x"), ""),
            ("f_text", Computed, ""),
            ("f_text", None, "$f_text needs a name in parentheses; write $f_text(name)"),
            ("f_word", Literal(b"b"), ""),
            ("f_word", Computed, ""),
            ("f_word", Literal(b"c"), "$f_word has no part \"c\"; its parts are \"a\", \"b\""),
            ("f_slot", Literal(b"x"), ""),
            ("f_slot", Literal(b""), "$f_slot needs a name in parentheses; write $f_slot(name)"),
            ("f_text", Literal(b""), "$f_text needs a name in parentheses; write $f_text(name)"),
            (
                "f_slot",
                Computed,
                "the name in $f_slot(…) must be known when the script is loaded; names computed while it runs can be had with $avp(…)",
            ),
            ("f_plian", None, "unknown variable $f_plian; did you mean $f_plain?"),
            (
                "dlg_var",
                Literal(b"x"),
                "variable $dlg_var (module \"dialog\") exists in Kamailio and is not here yet",
            ),
            ("@myself", None, "unknown variable $@myself"),
        ];
        for (name, key, expected) in rows {
            assert_eq!(said(loaded().variable(name, key)), expected, "{name} {key:?}");
        }
    }

    #[test]
    fn equal_keys_share_a_number_and_slots_are_counted() {
        let mut registry = loaded();
        let before = registry.variable_names().len();
        let mut slot = |key: &[u8]| registry.variable("f_slot", KeyShape::Literal(key)).unwrap().slot;
        let (first, again, other) = (slot(b"a"), slot(b"a"), slot(b"b"));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert_eq!(registry.variable_names().len(), before + 2);
    }

    #[test]
    fn custom_variables_are_read_by_select_and_by_name() {
        let mut registry = loaded();
        registry.set_custom("pstn", "gateway", &Constant::Text(b"10.0.0.9".to_vec()), "where to").unwrap();
        assert_eq!(
            said(registry.set_custom("pstn", "gateway", &Constant::Number(1), "")),
            "pstn.gateway is defined twice"
        );
        let setting = registry.live_setting(b"pstn", b"gateway").expect("it was defined");
        assert_eq!(
            (setting.description.as_str(), &setting.initial),
            ("where to", &Value::Text(b"10.0.0.9".to_vec()))
        );
        assert!(registry.select("cfg_get.pstn.gateway").is_ok());
        assert!(
            said(registry.select("cfg_get.pstn.gatewya"))
                .starts_with("there is no custom variable pstn.gatewya")
        );
        let path = KeyShape::Literal(b"cfg_get.pstn.gateway");
        assert!(registry.variable("sel", path).is_ok());
        assert_eq!(
            registry.select("msg.header[\"X-Foo\"]"),
            registry.variable("hdr", KeyShape::Literal(b"X-Foo"))
        );
        assert_eq!(registry.variable("sel", KeyShape::Literal(b"ruri.user")), registry.select("ruri.user"));
        assert!(said(registry.select("tls.peer")).starts_with("select \"@tls.peer\" is not here yet"));
    }

    #[test]
    fn words_stand_for_variables() {
        let mut registry = loaded();
        assert_eq!(registry.word("src_ip").unwrap().yields, Yields::Address);
        assert_eq!(registry.word("myself").unwrap().yields, Yields::Myself);
        assert_eq!(said(registry.word("src_pi")), "unknown word \"src_pi\"; did you mean \"src_ip\"?");
        assert_eq!(
            said(registry.word("f_plain")),
            "unknown word \"f_plain\"; a variable begins with $: $f_plain"
        );
        for word in keywords::WORDS {
            assert_eq!(said(registry.word(word.name)), "", "{}", word.name);
        }
    }

    #[test]
    fn transformations_are_found_by_name_and_count() {
        let mut registry = loaded();
        assert_eq!(said(registry.transformation("s.len", 0)), "");
        assert_eq!(said(registry.transformation("s.len", 1)), "{s.len} takes 0 arguments, not 1");
        assert_eq!(
            said(registry.transformation("s.lem", 0)),
            "unknown transformation {s.lem}; did you mean \"s.len\"?"
        );
    }
}
