//! The end of the top level: what can be judged only when all of it, and the command line, is known.

use crate::script::catalog::{Catalog, ParameterFault, Subject};
use crate::script::diagnostic::Diagnostic;

use super::super::module::Loaded;
use super::super::planning::Planning;
use super::Registry;
use crate::config::settings::overrides::{ModuleParameter, Written};
use crate::config::settings::{Order, group};
use crate::routing::services::StoredPlace;
use crate::script::suggest::suggestion;

/// The global parameter that defines groups.
pub(super) const GROUP_PARAMETER: &str = "async_workers_group";

impl Registry {
    /// `--loadmodule`, before anything else is read.
    pub fn load_modules_of_command_line(&mut self) -> Vec<(Subject, Diagnostic)> {
        let wanted = self.overrides.load_modules.clone();
        let load = |written: &Written<String>| {
            let mistake = self.load_module(&written.value).err()?;
            Some((written.argument(), mistake))
        };
        wanted.iter().filter_map(load).collect()
    }

    /// Settings are decided, parameters of the command line set, keys of groups looked up, modules planned.
    pub(super) fn finish(&mut self) -> Vec<(Subject, Diagnostic)> {
        let Some(draft) = self.draft.take() else { return Vec::new() };
        // What is decided stays known also after a mistake: its groups and flags are not mistakes too.
        let finished = draft.finish(&self.overrides);
        self.settings = finished.settings;
        let mut said = finished.said;
        said.extend(self.set_parameters_of_command_line());
        said.extend(self.find_order_keys(&finished.group_texts));
        said.extend(self.plan_modules());
        said
    }

    fn set_parameters_of_command_line(&mut self) -> Vec<(Subject, Diagnostic)> {
        let wanted = self.overrides.module_parameters.clone();
        let set = |written: &Written<ModuleParameter>| {
            let (modules, name, value) = &written.value;
            let mistake = self.set_module_parameter(modules, name, value).err()?;
            let fault = self.fault_in_parameter(modules, name);
            Some((written.place_of(fault), mistake))
        };
        wanted.iter().filter_map(set).collect()
    }

    /// The variable by which each group keeps messages in order, where it names one.
    fn find_order_keys(&mut self, texts: &[(String, String)]) -> Vec<(Subject, Diagnostic)> {
        let orders: Vec<_> =
            self.settings.groups.iter().map(|group| (group.name.clone(), group.order.clone())).collect();
        let mut said = Vec::new();
        let mut keys: Vec<Option<StoredPlace>> = Vec::new();
        for (name, order) in orders {
            let Order::Variable(written) = order else {
                keys.push(None);
                continue;
            };
            match (Planning { registry: self, parameter: None }).place(&written) {
                Ok(place) => keys.push(Some(place)),
                Err(mistake) => {
                    keys.push(None);
                    let text = texts.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
                    said.push(no_order(&name, &written, text, mistake));
                }
            }
        }
        self.services.order_keys = keys;
        said
    }

    /// Each module plans while it is away from its slot, so that it can ask the whole registry.
    fn plan_modules(&mut self) -> Vec<(Subject, Diagnostic)> {
        let mut said = Vec::new();
        for index in 0..self.modules.len() {
            let Some(mut instance) = self.modules[index].instance.take() else { continue };
            let mut planning = Planning { registry: self, parameter: None };
            if let Err(mistake) = instance.plan(&mut planning) {
                let parameter = planning.parameter;
                let about = self.subject_of_plan(instance.as_ref(), parameter);
                said.push((about, mistake));
            }
            self.modules[index].instance = Some(instance);
        }
        said
    }

    /// The command line sets parameters last, so it is to blame for those it sets.
    fn subject_of_plan(&self, module: &dyn Loaded, parameter: Option<&'static str>) -> Subject {
        let module = module.name().to_string();
        let Some(name) = parameter else { return Subject::Module(module) };
        let is_it = |written: &&Written<ModuleParameter>| {
            let (modules, set, _) = &written.value;
            set == name && modules.split('|').any(|one| one == module)
        };
        match self.overrides.module_parameters.iter().rev().find(is_it) {
            Some(written) => written.place_of(ParameterFault::Value),
            None => Subject::Parameter { module, name: name.to_string() },
        }
    }
}

/// A group whose `order=` names nothing there is.
fn no_order(group: &str, written: &str, text: &str, mistake: Diagnostic) -> (Subject, Diagnostic) {
    let word = written.trim_start_matches('$');
    let near = suggestion(word, ["none", "callid"]);
    let message = format!("worker group \"{group}\": order: {}", mistake.message);
    let choice = "order takes none, callid or a variable such as fu".to_string();
    let help = near.or(mistake.help).map_or(choice.clone(), |near| format!("{near} {choice}"));
    let part = group::value_of(text, "order").unwrap_or(0..text.len());
    let about = Subject::PartOfGlobal { name: GROUP_PARAMETER.to_string(), text: text.into(), part };
    (about, Diagnostic::mistake(message).with_help(help))
}

#[cfg(test)]
mod tests {
    use super::super::catalog::tests::{MODULES, loaded};
    use super::*;
    use crate::config::settings::Overrides;
    use crate::config::settings::listen::tests::TestMachine;
    use crate::routing::script_view::ScriptView;
    use crate::script::ast::SocketLiteral;
    use crate::script::catalog::Constant;

    /// What is said about a piece of an option or a text, and the piece.
    fn said((about, diagnostic): (Subject, Diagnostic)) -> (String, String) {
        let piece = match about {
            Subject::Option { option, part } => option[part].to_string(),
            Subject::PartOfGlobal { text, part, .. } => String::from_utf8_lossy(&text[part]).into_owned(),
            other => format!("{other:?}"),
        };
        (diagnostic.message, piece)
    }

    #[test]
    fn the_command_line_sets_parameters_last_and_answers_for_them() {
        let parameter = |text: &str, name: &str, value| {
            Written::new("--modparam", text, ("first".to_string(), name.to_string(), value))
        };
        let rows = [
            (parameter("first:size:i:101", "size", Constant::Number(101)), "size 101 is too large"),
            (parameter("first:size:i:many", "size", Constant::Text(b"many".to_vec())), "size"),
            (parameter("first:sise:i:1", "sise", Constant::Number(1)), "no parameter \"sise\""),
            (
                parameter("first:name:s:$f_slat(a)", "name", Constant::Text(b"$f_slat(a)".to_vec())),
                "unknown variable $f_slat",
            ),
        ];
        for (written, expected) in rows {
            let option = written.option.clone();
            let overrides = Overrides { module_parameters: vec![written], ..Overrides::default() };
            let mut registry = Registry::new(MODULES, overrides, Box::new(TestMachine));
            registry.load_module("first").unwrap();
            let told: Vec<_> = registry.finish_top_level().into_iter().map(said).collect();
            assert_eq!(told.len(), 1, "{option}: {told:?}");
            assert!(told[0].0.contains(expected), "{option}: {told:?}");
            let piece = if expected.contains("sise") { "sise" } else { option.rsplit(':').next().unwrap() };
            assert_eq!(told[0].1, piece, "{option}");
        }
    }

    #[test]
    fn what_else_the_command_line_gets_wrong_is_told_there() {
        let socket = |bind: &str| SocketLiteral { bind: bind.to_string(), ..SocketLiteral::default() };
        let overrides = Overrides {
            listen: vec![
                Written::new("-l", "127.0.0.1:5099", socket("127.0.0.1:5099")),
                Written::new("-l", "nowhere", socket("nowhere")),
            ],
            aliases: vec![Written::new("--alias", "a:b", "a:b".to_string())],
            load_modules: vec![Written::new("--loadmodule", "frist", "frist".to_string())],
            ..Overrides::default()
        };
        let mut registry = Registry::new(MODULES, overrides, Box::new(TestMachine));
        let (message, piece) = said(registry.load_modules_of_command_line().remove(0));
        assert_eq!((message.as_str(), piece.as_str()), ("unknown module \"frist\"", "frist"));
        let told: Vec<_> = registry.finish_top_level().into_iter().map(said).collect();
        assert_eq!(told.iter().map(|(_, piece)| piece.as_str()).collect::<Vec<_>>(), ["nowhere", "a:b"]);
        assert_eq!(registry.settings().listeners[0].address.port(), 5099);
    }

    #[test]
    fn an_order_that_is_none_is_told_without_any_module() {
        let told = |text: &str| {
            let mut registry = loaded();
            registry.set_global(GROUP_PARAMETER, &Constant::Text(text.as_bytes().to_vec())).unwrap();
            registry.finish_top_level()
        };
        let mut late = told("name=reg; order=call-id ;queue=8");
        assert!(late[0].1.help.as_deref().unwrap().contains("did you mean \"callid\"?"), "{late:?}");
        assert_eq!(said(late.remove(0)).1, "call-id");
        for text in ["name=reg;order=callid", "name=reg;order=none", "name=reg;order=f_plain", "name=reg"] {
            assert!(told(text).is_empty(), "{text}");
        }
    }
}
