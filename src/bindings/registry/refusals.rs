//! What is said about a name that is not here: a typing mistake with what is near, a module that is not loaded, or
//! one that is not here yet.

use crate::script::ast::Span;
use crate::script::catalog::{FunctionRow, Refused};
use crate::script::diagnostic::Diagnostic;

use super::super::module::ModuleEntry;
use super::super::variables::VariableRow;
use super::Registry;
use super::catalog::module_name;
use crate::bindings::keywords;
use crate::bindings::unsupported;
use crate::script::suggest::{listed, nearest, suggestion};

/// Modules.
impl Registry {
    fn is_available(&self, module: &str) -> bool {
        self.available.iter().any(|entry| entry.name == module)
    }

    /// Modules in a pattern such as `m1|m2` that are known and not here; none when it means one that is loaded.
    fn absent_in_pattern(&self, pattern: &str) -> Vec<String> {
        let absent = |name: &&str| unsupported::is_module(name) && !self.is_available(name);
        pattern.split('|').map(str::trim).filter(absent).map(str::to_string).collect()
    }

    /// The modules that are known and not here, to which a refused name belongs.
    pub(super) fn modules_absent_for(&self, refused: Refused<'_>) -> Vec<String> {
        let module = match refused {
            Refused::Module(path) => Some(module_name(path)).filter(|name| unsupported::is_module(name)),
            Refused::ModulePattern(pattern) => return self.absent_in_pattern(pattern),
            // What a module of ours has too is not absent: that module is not loaded.
            Refused::Function(name) if self.entry_with(name, names_of_functions).is_some() => None,
            Refused::Variable(name) if self.entry_with(name, names_of_variables).is_some() => None,
            Refused::Function(name) => unsupported::module_of_function(name),
            Refused::Variable(name) => unsupported::module_of_variable(name),
        };
        let is_absent = |name: &&str| unsupported::is_module(name) && !self.is_available(name);
        module.filter(is_absent).map(str::to_string).into_iter().collect()
    }

    pub(super) fn unknown_module(&self, name: &str) -> Diagnostic {
        let known = || self.available.iter().map(|entry| entry.name);
        if unsupported::is_module(name) {
            return unsupported::not_here_yet(&format!("module \"{name}\""));
        }
        let help = suggestion(name, known()).unwrap_or_else(|| format!("modules are {}", listed(known())));
        Diagnostic::mistake(format!("unknown module \"{name}\"")).with_help(help)
    }

    pub(super) fn module_not_loaded(&self, modules: &str) -> Diagnostic {
        let is_available = self.is_available(modules);
        if unsupported::is_module(modules) && !is_available {
            return unsupported::not_here_yet(&format!("module \"{modules}\""));
        }
        let help = match is_available {
            true => Some(format!("`loadmodule \"{modules}.so\"` is missing before it")),
            false => suggestion(modules, self.module_names()),
        };
        Diagnostic { help, ..Diagnostic::mistake(format!("no loaded module is named \"{modules}\"")) }
    }
}

/// Functions and variables.
impl Registry {
    pub(super) fn unknown_word(&self, name: &str) -> Diagnostic {
        let known = keywords::WORDS.iter().map(|word| word.name);
        let is_variable =
            self.variables.iter().any(|target| target.row.is_named(name) && !target.row.is_word());
        let help = match is_variable {
            true => Some(format!("a variable begins with $: ${name}")),
            false => suggestion(name, known),
        };
        Diagnostic { help, ..Diagnostic::mistake(format!("unknown word \"{name}\"")) }
    }

    pub(super) fn unknown_custom(&self, group: &str, name: &str) -> Diagnostic {
        let wanted = format!("{group}.{name}");
        let known: Vec<String> =
            self.live_settings.iter().map(|custom| format!("{}.{}", custom.group, custom.name)).collect();
        let near = suggestion(&wanted, known.iter().map(String::as_str));
        let help = near.unwrap_or("define it at top level: `group.name = 5 desc \"what it is\"`".to_string());
        Diagnostic::mistake(format!("there is no custom variable {wanted}")).with_help(help)
    }

    pub(super) fn wrong_count(&self, name: &str, argument_count: usize) -> Diagnostic {
        let of_name = self.functions.iter().filter(|target| target.row.is_named(name));
        let mut counts: Vec<usize> = of_name.map(|target| target.row.parameters.len()).collect();
        counts.sort_unstable();
        counts.dedup();
        let shown: Vec<String> = counts.iter().map(usize::to_string).collect();
        let noun = if counts == [1] { "argument" } else { "arguments" };
        let message = format!("{name}() takes {} {noun}, not {argument_count}", shown.join(" or "));
        Diagnostic::mistake(message)
    }

    pub(super) fn unknown_function(&self, name: &str) -> Diagnostic {
        if let Some(entry) = self.entry_with(name, names_of_functions) {
            return not_loaded(&format!("function {name}()"), entry);
        }
        if let Some(module) = unsupported::module_of_function(name) {
            return unsupported::not_here_yet(&format!("function {name}() (module \"{module}\")"));
        }
        let known = self.functions.iter().map(|target| target.row.name);
        let help = suggestion(name, known).or_else(|| self.near_in_others(name));
        Diagnostic { help, ..Diagnostic::mistake(format!("unknown function {name}()")) }
    }

    /// A name that is near, of a module that is not loaded.
    fn near_in_others(&self, name: &str) -> Option<String> {
        self.others().find_map(|entry| {
            let near = nearest(name, names_of_functions(entry))?;
            Some(format!("did you mean \"{near}\" of module \"{}\", which is not loaded?", entry.name))
        })
    }

    pub(super) fn unknown_variable(&self, name: &str) -> Diagnostic {
        if let Some(entry) = self.entry_with(name, names_of_variables) {
            return not_loaded(&format!("variable ${name}"), entry);
        }
        if let Some(module) = unsupported::module_of_variable(name) {
            return unsupported::not_here_yet(&format!("variable ${name} (module \"{module}\")"));
        }
        let known =
            self.variables.iter().map(|target| target.row).filter(|row| !row.is_word()).map(|row| row.name);
        let known = std::iter::once("null").chain(known);
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let help = match nearest(name, known) {
            Some(near) => Some(format!("did you mean ${near}?")),
            None => is_plain.then(|| format!("a variable of your own is written $var({name})")),
        };
        Diagnostic { help, ..Diagnostic::mistake(format!("unknown variable ${name}")) }
    }

    /// A module that is not loaded and has a row of this name.
    fn entry_with(
        &self,
        name: &str,
        names: impl Fn(&ModuleEntry) -> Vec<&'static str>,
    ) -> Option<&'static ModuleEntry> {
        self.others().find(|entry| names(entry).contains(&name))
    }

    /// Modules that could be loaded and are not.
    fn others(&self) -> impl Iterator<Item = &'static ModuleEntry> {
        let is_loaded = |module: &str| self.modules.iter().any(|slot| slot.name == module);
        self.available.iter().filter(move |entry| !is_loaded(entry.name))
    }
}

fn names_of_functions(entry: &ModuleEntry) -> Vec<&'static str> {
    (entry.functions)().into_iter().flat_map(FunctionRow::names).collect()
}

fn names_of_variables(entry: &ModuleEntry) -> Vec<&'static str> {
    (entry.variables)().into_iter().flat_map(VariableRow::names).collect()
}

fn not_loaded(what: &str, entry: &ModuleEntry) -> Diagnostic {
    Diagnostic::mistake(format!("{what} belongs to module \"{}\", which is not loaded", entry.name))
        .with_help(format!("`loadmodule \"{}.so\"` is missing", entry.name))
}

impl Registry {
    /// An event that runs nothing: of a module that is not loaded, known elsewhere, near to one that is known, or of
    /// somebody's own making.
    pub(super) fn unknown_event(&self, name: &str) -> Diagnostic {
        let remark = |why: &str| Diagnostic::remark(format!("event_route[{name}] is not run here{why}"));
        let has_it = |entry: &&ModuleEntry| entry.events.iter().any(|event| event.name == name);
        if let Some(entry) = self.others().find(has_it) {
            return remark(&format!(": module \"{}\" is not loaded", entry.name));
        }
        let near = suggestion(name, self.events.iter().map(|event| event.name));
        match near.filter(|_| !unsupported::is_event(name)) {
            None => remark(""),
            Some(help) => {
                Diagnostic::warning(Span::default(), format!("no event is called \"{name}\"")).with_help(help)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::tests::registry;
    use super::*;

    #[test]
    fn names_of_modules_that_are_not_here_are_one_mistake_of_the_module() {
        use Refused::{Function, Module, ModulePattern, Variable};
        let rows = [
            (Module("/usr/lib/kamailio/modules/tm.so"), &["tm"][..]),
            (Module("first"), &[]),
            (Module("nonsense"), &[]),
            (ModulePattern("tm|first|htable"), &["tm", "htable"]),
            (ModulePattern("first"), &[]),
            (Function("t_relay"), &["tm"]),
            (Function("t_really"), &[]),
            (Function("force_tcp_alias"), &[]),
            (Variable("sht"), &["htable"]),
            (Variable("nothing"), &[]),
        ];
        for (refused, expected) in rows {
            assert_eq!(registry().modules_absent_for(refused), expected, "{refused:?}");
        }
    }

    #[test]
    fn what_is_near_is_found_in_modules_that_are_not_loaded_too() {
        let help = |name: &str| registry().unknown_function(name).help.unwrap_or_default();
        assert_eq!(
            help("macth_text"),
            "did you mean \"match_text\" of module \"first\", which is not loaded?"
        );
        assert_eq!(help("wholly_other"), "");
        assert!(registry().unknown_variable("f_plain").message.contains("belongs to module \"first\""));
    }

    #[test]
    fn events_that_run_nothing_are_told() {
        let registry = registry();
        assert!(registry.unknown_event("core:pre-rounting").help.unwrap().contains("core:pre-routing"));
        for name in ["xhttp:request", "mine:own"] {
            assert!(registry.unknown_event(name).message.contains(name));
        }
    }
}
