//! What the command line decides over the script (`-l` adds, everything else replaces).

use std::ops::Range;

use super::Settings;
use crate::script::ast::SocketLiteral;
use crate::script::catalog::{Constant, ParameterFault, Subject};
use crate::telemetry::log::{Engine, Level};

/// What an option of the command line says, and how it is shown in diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// The option and its value: `--modparam sl:default_code:i:404`.
    pub option: String,
    /// What it says.
    pub value: T,
}

impl<T> Written<T> {
    /// The option of this name with this text as its value.
    pub fn new(name: &str, text: &str, value: T) -> Written<T> {
        Written { option: format!("{name} {text}"), value }
    }

    /// All of the text that is the option's value.
    pub fn argument(&self) -> Subject {
        self.part(0..usize::MAX)
    }

    /// Some bytes of that text.
    pub fn part(&self, part: Range<usize>) -> Subject {
        let name_size = self.option.find(' ').map_or(0, |blank| blank + 1);
        let size = self.option.len() - name_size;
        let part = part.start.min(size) + name_size..part.end.min(size) + name_size;
        Subject::Option { option: self.option.clone(), part }
    }
}

/// Module, name and value of a `--modparam`.
pub type ModuleParameter = (String, String, Constant);

impl Written<ModuleParameter> {
    /// Where the option names the module, the parameter, or the value.
    pub fn place_of(&self, fault: ParameterFault) -> Subject {
        let (module, name, _) = &self.value;
        let name_at = module.len() + 1;
        // Behind the name stand the letter of the type and two colons.
        let value_at = name_at + name.len() + 3;
        self.part(match fault {
            ParameterFault::Module => 0..module.len(),
            ParameterFault::Name => name_at..name_at + name.len(),
            ParameterFault::Value => value_at..usize::MAX,
        })
    }
}

/// The command line, as far as settings are concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `-l`, added to the sockets of the script.
    pub listen: Vec<Written<SocketLiteral>>,
    /// `--alias`, `--domain`, added.
    pub aliases: Vec<Written<String>>,
    /// `-n`
    pub children: Option<u32>,
    /// `-d` (counted from 0), `--debug`.
    pub debug: Option<i64>,
    /// `--trial`
    pub is_trial: bool,
    /// `-E`
    pub log_stderror: bool,
    /// `-e`
    pub log_color: bool,
    /// `--log-engine`
    pub log_engine: Option<Engine>,
    /// The text after the colon of `--log-engine`.
    pub log_engine_data: Option<String>,
    /// `--no-sandbox`
    pub is_sandbox_refused: bool,
    /// `-u`
    pub user: Option<String>,
    /// `-g`
    pub group: Option<String>,
    /// `-t`
    pub chroot: Option<String>,
    /// `-w`
    pub workdir: Option<String>,
    /// `-Y`
    pub rundir: Option<String>,
    /// `-b`
    pub receive_buffer_size_max: Option<u32>,
    /// `-B`
    pub send_buffer_size_max: Option<u32>,
    /// `-K`
    pub check_via: bool,
    /// `--server-id`
    pub server_id: Option<i64>,
    /// `-L`
    pub module_path: Vec<String>,
    /// `--loadmodule`: loaded before the script is checked.
    pub load_modules: Vec<Written<String>>,
    /// `--modparam`: set when the whole top level has been read.
    pub module_parameters: Vec<Written<ModuleParameter>>,
}

impl Overrides {
    /// The options that may be found wrong when the script is known, as they are shown.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        let listen = self.listen.iter().map(|one| one.option.as_str());
        let aliases = self.aliases.iter().map(|one| one.option.as_str());
        let modules = self.load_modules.iter().map(|one| one.option.as_str());
        let parameters = self.module_parameters.iter().map(|one| one.option.as_str());
        listen.chain(aliases).chain(modules).chain(parameters)
    }

    pub(super) fn apply(&self, settings: &mut Settings) {
        fn replace<T: Clone>(field: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
        replace(&mut settings.children, &self.children);
        replace(&mut settings.rundir, &self.rundir);
        replace(&mut settings.receive_buffer_size_max, &self.receive_buffer_size_max);
        replace(&mut settings.send_buffer_size_max, &self.send_buffer_size_max);
        replace(&mut settings.server_id, &self.server_id);
        if self.is_trial {
            settings.workdir = Settings::default().workdir;
            (settings.user, settings.group, settings.chroot) = (None, None, None);
            settings.log_stderror = true;
        }
        replace(&mut settings.workdir, &self.workdir);
        settings.user = self.user.clone().or(settings.user.take());
        settings.group = self.group.clone().or(settings.group.take());
        settings.chroot = self.chroot.clone().or(settings.chroot.take());
        settings.debug = self.debug.map_or(settings.debug, Level::from_number);
        settings.log_stderror |= self.log_stderror;
        if let Some(engine) = self.log_engine {
            settings.log_engine = engine;
            settings.log_engine_data = self.log_engine_data.clone();
        }
        settings.is_sandboxed &= !self.is_sandbox_refused;
        settings.log_color |= self.log_color;
        settings.check_via |= self.check_via;
        settings.module_path.extend(self.module_path.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_options_are_found() {
        let value = ("sl".to_string(), "default_code".to_string(), Constant::Number(4));
        let written = Written::new("--modparam", "sl:default_code:i:4", value);
        let rows = [
            (written.argument(), "sl:default_code:i:4"),
            (written.place_of(ParameterFault::Module), "sl"),
            (written.place_of(ParameterFault::Name), "default_code"),
            (written.place_of(ParameterFault::Value), "4"),
        ];
        for (subject, expected) in rows {
            let Subject::Option { option, part } = subject else { panic!("{subject:?}") };
            assert_eq!(&option[part], expected);
        }
    }

    #[test]
    fn the_command_line_wins_where_it_speaks() {
        let script = Settings { user: Some("sip".to_string()), debug: Level::Debug, ..Settings::default() };
        let mut settings = script.clone();
        Overrides::default().apply(&mut settings);
        assert_eq!(settings, script);
        let overrides = Overrides {
            children: Some(2),
            debug: Some(0),
            log_stderror: true,
            user: Some("other".to_string()),
            workdir: Some("/tmp".to_string()),
            ..Overrides::default()
        };
        overrides.apply(&mut settings);
        assert_eq!((settings.children, settings.debug, settings.log_stderror), (2, Level::Warning, true));
        assert_eq!((settings.user.as_deref(), settings.workdir.as_str()), (Some("other"), "/tmp"));
    }
}
