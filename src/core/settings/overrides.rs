//! What the command line decides over the script (`-l` adds, everything else replaces).

use super::Settings;
use crate::core::log::{Engine, Level};
use crate::script::ast::SocketLiteral;
use crate::script::catalog::Constant;

/// The command line, as far as settings are concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `-l`, added to the sockets of the script.
    pub listen: Vec<SocketLiteral>,
    /// `--alias`, `--domain`, added.
    pub aliases: Vec<String>,
    /// `-n`
    pub children: Option<u32>,
    /// `-d` (counted from 0), `--debug`.
    pub debug: Option<i64>,
    /// `-E`
    pub log_stderror: bool,
    /// `-e`
    pub log_color: bool,
    /// `--log-engine`
    pub log_engine: Option<Engine>,
    /// What stands behind the colon of `--log-engine`.
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
    pub load_modules: Vec<String>,
    /// `--modparam`: set when the whole top level has been read.
    pub module_parameters: Vec<(String, String, Constant)>,
}

impl Overrides {
    pub(super) fn apply(&self, settings: &mut Settings) {
        fn replace<T: Clone>(field: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
        replace(&mut settings.children, &self.children);
        replace(&mut settings.workdir, &self.workdir);
        replace(&mut settings.rundir, &self.rundir);
        replace(&mut settings.receive_buffer_size_max, &self.receive_buffer_size_max);
        replace(&mut settings.send_buffer_size_max, &self.send_buffer_size_max);
        replace(&mut settings.server_id, &self.server_id);
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
