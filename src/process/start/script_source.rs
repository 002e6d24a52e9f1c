//! Where the script of this server is, and with what the command line decides over it: understood once at the start,
//! read again at each reload.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::command_line::{CommandLine, Script};
use crate::bindings::load;
use crate::bindings::load::{LoadRequest, Loaded, Rejected, Root};
use crate::config::settings::Overrides;
use crate::config::settings::listen::{LoopbackResolver, Resolver, SystemResolver};
use crate::config::sources::{Reading, Sources};
use crate::modules;

/// The script that runs without `-f`.
const BUILT_IN_SCRIPT: &str = include_str!("../default.cfg");

/// The place of the script. It holds in another working directory, and when standard input is read to its end.
#[derive(Clone, Debug)]
pub struct ScriptSource {
    command_line: CommandLine,
    root: Root,
}

impl ScriptSource {
    /// As the command line says. A script on standard input is read now, unless it was `handed` over by a program
    /// that has read it.
    pub fn of(command_line: &CommandLine, handed: Option<Vec<u8>>) -> io::Result<ScriptSource> {
        let root = match &command_line.script {
            Script::BuiltIn => {
                Root::Text { name: "built-in script".to_owned(), text: BUILT_IN_SCRIPT.into() }
            }
            Script::File(path) => Root::File(path.clone()),
            Script::StandardInput => {
                Root::Text { name: STANDARD_INPUT.to_owned(), text: handed.map_or_else(read_input, Ok)? }
            }
        };
        Ok(ScriptSource { command_line: command_line.clone(), root })
    }

    /// The same for another working directory: a path is as it was here.
    pub fn made_absolute(mut self) -> io::Result<ScriptSource> {
        if let Root::File(path) = &mut self.root {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    /// What a program that takes over cannot read again.
    pub fn unrepeatable(&self) -> Option<&[u8]> {
        match (&self.command_line.script, &self.root) {
            (Script::StandardInput, Root::Text { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// Reads and checks it; what was read is noted.
    pub fn load(&self) -> Result<Loaded, Rejected> {
        load::load(self.request(Reading::Noting(Rc::default())))
    }

    /// The script that was checked, from what was read then and nothing else.
    pub fn load_checked(&self, sources: Sources) -> Result<Loaded, Rejected> {
        load::load(self.request(Reading::Noted(Rc::new(sources))))
    }

    /// What runs already, once more, whatever became of its files.
    pub fn load_again(&self, loaded: &Loaded) -> Result<Loaded, Rejected> {
        let request = self.request(Reading::Noted(Rc::clone(&loaded.sources)));
        // Before a server changed its directory the files had other names.
        load::load(LoadRequest { root: loaded.root.clone(), ..request })
    }

    /// What to load.
    pub fn request(&self, reading: Reading) -> LoadRequest {
        LoadRequest {
            root: self.root.clone(),
            defines: self.command_line.defines.clone(),
            substitutions: self.command_line.substitutions.clone(),
            modules: modules::MODULES,
            overrides: overrides(&self.command_line),
            resolver: resolver(&self.command_line),
            reading,
        }
    }
}

/// A trial needs no interface and no name of the machine the script was written for.
fn resolver(command_line: &CommandLine) -> Box<dyn Resolver> {
    match command_line.is_trial {
        true => Box::new(LoopbackResolver),
        false => Box::new(SystemResolver),
    }
}

const STANDARD_INPUT: &str = "standard input";

fn read_input() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::stdin().lock(), &mut text)?;
    Ok(text)
}

fn overrides(command_line: &CommandLine) -> Overrides {
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    Overrides {
        listen: command_line.listeners.clone(),
        aliases: command_line.aliases.clone(),
        children: command_line.receivers,
        debug: command_line.debug.map(i64::from),
        is_trial: command_line.is_trial,
        log_stderror: command_line.is_logging_to_stderr,
        log_color: command_line.is_log_coloured,
        log_engine: command_line.log_engine.as_ref().map(|(engine, _)| *engine),
        log_engine_data: command_line.log_engine.as_ref().and_then(|(_, data)| data.clone()),
        is_sandbox_refused: command_line.is_sandbox_refused,
        user: command_line.user.clone(),
        group: command_line.group.clone(),
        chroot: text(&command_line.root_directory),
        workdir: text(&command_line.work_directory),
        rundir: text(&command_line.run_directory),
        receive_buffer_size_max: command_line.receive_buffer_max,
        send_buffer_size_max: command_line.send_buffer_max,
        check_via: command_line.is_via_checked,
        server_id: command_line.server_id,
        module_path: command_line
            .module_path
            .iter()
            .flat_map(|paths| paths.split(':'))
            .map(str::to_owned)
            .collect(),
        load_modules: command_line.modules.clone(),
        module_parameters: command_line.module_parameters.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::log::Level;
    use std::path::Path;

    fn source(words: &str) -> ScriptSource {
        let command_line = CommandLine::parse(words.split_ascii_whitespace().map(Into::into)).unwrap();
        ScriptSource::of(&command_line, Some(b"handed".to_vec())).unwrap()
    }

    fn load(words: &str) -> Loaded {
        source(words).load().unwrap_or_else(|rejected| panic!("{}", rejected.errors.concat()))
    }

    #[test]
    fn the_built_in_script_is_without_reproach() {
        let loaded = load("");
        assert_eq!(loaded.remarks, Vec::<String>::new());
        let groups: Vec<_> = loaded.settings().groups.iter().map(|group| group.name.as_str()).collect();
        assert!(groups.contains(&"calls") && groups.contains(&"registrations"), "{groups:?}");
        assert_eq!(loaded.settings().listeners[0].address.to_string(), "127.0.0.1:5060");
    }

    #[test]
    fn the_command_line_reaches_the_settings() {
        let words =
            "-l udp:127.0.0.1:5099 -n 3 -ddd -E -u root -g root -w /tmp -Y /tmp/run -b 1000 -B 2000 -K";
        let loaded = load(words);
        let settings = loaded.settings();
        assert!(settings.listeners.iter().any(|one| one.address.port() == 5099));
        assert_eq!((settings.children, settings.debug), (3, Level::Debug));
        assert!(settings.log_stderror && settings.check_via);
        assert_eq!((settings.workdir.as_str(), settings.rundir.as_str()), ("/tmp", "/tmp/run"));
        assert_eq!((settings.receive_buffer_size_max, settings.send_buffer_size_max), (1000, 2000));
        assert_eq!((settings.user.as_deref(), settings.group.as_deref()), (Some("root"), Some("root")));
    }

    #[test]
    fn standard_input_is_kept_and_everything_else_is_found_again() {
        assert_eq!(source("-f -").unrepeatable(), Some(&b"handed"[..]));
        assert_eq!(source("-f a.cfg").unrepeatable(), None);
        assert_eq!(source("").unrepeatable(), None);
        let Root::File(path) = source("-f a.cfg").made_absolute().unwrap().root else { panic!("a file") };
        assert!(path.is_absolute() && path.ends_with("a.cfg"), "{path:?}");
    }

    #[test]
    fn the_script_that_was_checked_is_the_one_that_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cfg");
        let script = |children: u32| {
            format!("listen=udp:127.0.0.1:5098\nchildren={children}\nrequest_route {{ exit; }}\n")
        };
        std::fs::write(&path, script(3)).unwrap();
        let source = source(&format!("-f {}", path.display()));
        let loaded = source.load().ok().unwrap();
        std::fs::write(&path, script(4)).unwrap();
        let children =
            |loaded: Result<Loaded, Rejected>| loaded.ok().map(|loaded| loaded.settings().children);
        assert_eq!(children(source.load()), Some(4));
        assert_eq!(children(source.load_checked((*loaded.sources).clone())), Some(3));
        assert_eq!(children(source.load_again(&loaded)), Some(3));
    }

    #[test]
    fn what_runs_is_loaded_again_also_when_its_files_are_gone_or_have_other_names() {
        let folder = tempfile::tempdir_in(".").unwrap();
        let file = |name: &str| Path::new(folder.path().file_name().unwrap()).join(name);
        std::fs::write(file("a.cfg"), "listen=udp:127.0.0.1:5098\ninclude_file \"b.cfg\"\n").unwrap();
        std::fs::write(file("b.cfg"), "request_route { exit; }\n").unwrap();
        let source = source(&format!("-f {}", file("a.cfg").display()));
        let first = source.load().unwrap_or_else(|refused| panic!("{}", refused.errors.concat()));
        drop(folder);
        let source = source.made_absolute().unwrap();
        let second =
            source.load_again(&first).unwrap_or_else(|refused| panic!("{}", refused.errors.concat()));
        assert!(source.load_again(&second).is_ok() && source.load().is_err());
    }
}
