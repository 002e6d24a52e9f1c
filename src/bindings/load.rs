//! From a file to everything a server runs on: text read, parsed, checked, settings decided, modules ready.
//!
//! ```text
//!  LoadRequest ─► read ─► parse ─► check (with the registry as catalog) ─► Loaded     load
//!                  │        │        └─► every mistake, rendered            Rejected, Report     examine
//!                  │        └─► printed in canonical form                                        print_canonical
//!                  └─► why it cannot be read
//! ```

use crate::routing::script_view::ScriptView;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::script::ast::{Ast, Item, ItemKind, RouteKind, Span};
use crate::script::catalog::Subject;
use crate::script::check::{check, compile_template};
use crate::script::diagnostic::{self, Diagnostic, Note, Severity};
use crate::script::diagnostic_json;
use crate::script::interpreter::{ReturnMode, RunLimits};
use crate::script::parser::{FILE_SIZE_MAX, GivenDefine, ParseOptions, parse};
use crate::script::print::print;
use crate::script::program::{CompiledTemplate, Program};
use crate::script::source::{LoadError, LoadedFile, Loader, SourceMap, candidates};

use super::module::ModuleEntry;
use super::registry::Registry;
use crate::config::settings::listen::{Resolver, SystemResolver};
use crate::config::settings::{Overrides, Settings, Written};
use crate::config::sources::{Reading, RootText, Sources};

/// Statements in one run of a route.
const STEPS_MAX: u32 = 1_000_000;

/// Where the script comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// A file.
    File(PathBuf),
    /// Text at hand (a default script, standard input), with the name it is reported under.
    Text {
        /// The name.
        name: String,
        /// The text.
        text: Vec<u8>,
    },
}

/// Name and value of a define.
pub type Define = (String, Option<String>);

/// What to load, and with what.
pub struct LoadRequest {
    /// The script.
    pub root: Root,
    /// Defines of the command line (`-A NAME=value`, `--substdef`).
    pub defines: Vec<Written<Define>>,
    /// Substitutions of the command line (`--subst`).
    pub substitutions: Vec<Written<String>>,
    /// Modules a script may load.
    pub modules: &'static [ModuleEntry],
    /// What the command line decides over the script.
    pub overrides: Overrides,
    /// What names of hosts and interfaces stand for.
    pub resolver: Box<dyn Resolver>,
    /// Where all of this is read from.
    pub reading: Reading,
}

impl LoadRequest {
    /// A script on this machine, with nothing else decided.
    pub fn new(root: Root, modules: &'static [ModuleEntry]) -> LoadRequest {
        LoadRequest {
            root,
            defines: Vec::new(),
            substitutions: Vec::new(),
            modules,
            overrides: Overrides::default(),
            resolver: Box::new(SystemResolver),
            reading: Reading::World,
        }
    }
}

/// A script that can run, and all it needs.
pub struct Loaded {
    /// The routes.
    pub program: Rc<Program>,
    /// The names, the settings and the modules.
    pub registry: Registry,
    /// `log_prefix`, when there is one.
    pub log_prefix: Option<Rc<CompiledTemplate>>,
    /// Bounds of a run.
    pub limits: RunLimits,
    /// Name of the script.
    pub name: String,
    /// Warnings and notices, rendered.
    pub remarks: Vec<String>,
    /// Where it came from, and what was read there if that was noted: enough to make the same once more.
    pub root: Root,
    /// See `root`.
    pub sources: Rc<Sources>,
}

impl Loaded {
    /// What the top level and the command line decided.
    pub fn settings(&self) -> &Settings {
        self.registry.settings()
    }
}

/// A script that cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Every mistake, rendered: `file:line:column: error: …`.
    pub errors: Vec<String>,
    /// Warnings and notices, rendered.
    pub remarks: Vec<String>,
}

/// Loads a script.
pub fn load(request: LoadRequest) -> Result<Loaded, Rejected> {
    let (root, reading) = (request.root.clone(), request.reading.clone());
    let Judged { name, source, diagnostics, program, mut registry, log_prefix } =
        judge(request).map_err(Rejected::because)?;
    let (errors, remarks) = rendered(&diagnostics, &source);
    match program {
        Some(program) if errors.is_empty() => {
            let limits = limits(registry.settings());
            registry.learn_program(&program);
            let sources = reading.noted();
            let (program, log_prefix) = (Rc::new(program), log_prefix.map(Rc::new));
            Ok(Loaded { program, registry, log_prefix, limits, name, remarks, root, sources })
        }
        _ => Err(Rejected { errors, remarks }),
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportFormat {
    /// For people: lines with carets.
    #[default]
    Text,
    /// For editors and CI: one JSON object.
    Json,
}

/// What checking a script found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the script could run.
    pub is_good: bool,
    /// Everything that is to be said.
    pub text: String,
}

/// Checks a script, for `-c`. Warnings and notices are reported and change nothing.
pub fn examine(request: LoadRequest, format: ReportFormat) -> Report {
    let root = request.root.name();
    let judged = judge(request);
    let (source, diagnostics) = match judged {
        Ok(Judged { source, diagnostics, .. }) => (source, diagnostics),
        Err(reason) => (SourceMap::new(), vec![Diagnostic::error(Span::default(), reason)]),
    };
    let is_good = !diagnostics.iter().any(Diagnostic::is_error);
    let text = match format {
        ReportFormat::Json => diagnostic_json::report(&root, &diagnostics, &source),
        ReportFormat::Text => {
            let (errors, remarks) = rendered(&diagnostics, &source);
            remarks.concat() + &errors.concat() + &summary(&diagnostics)
        }
    };
    Report { is_good, text }
}

/// The script in canonical form, includes and defines resolved, for `--cfg-print`. Only what cannot be read is a
/// mistake here.
pub fn print_canonical(request: LoadRequest) -> Result<String, Rejected> {
    let read = read(&request).map_err(Rejected::because)?;
    let (errors, remarks) = rendered(&read.diagnostics, &read.source);
    if errors.is_empty() { Ok(print(&read.ast)) } else { Err(Rejected { errors, remarks }) }
}

/// A script as far as it can be read without knowing any name.
struct ReadScript {
    name: String,
    source: SourceMap,
    ast: Ast,
    diagnostics: Vec<Diagnostic>,
}

fn read(request: &LoadRequest) -> Result<ReadScript, String> {
    let reading = request.reading.clone();
    let (text, owner) = reading.root(|| read_root(&request.root))?;
    let loader = FileLoader { owner, reading };
    let name = request.root.name();
    let mut source = SourceMap::new();
    let file = source.add_file(name.as_str(), text);
    add_options(request, &mut source);
    let options = ParseOptions {
        defines: request.defines.iter().map(|written| given(written, &source)).collect(),
        substitutions: request
            .substitutions
            .iter()
            .map(|one| (one.value.clone(), place(one, &source)))
            .collect(),
        environment: environment(),
        loader: &loader,
    };
    let (ast, diagnostics) = parse(&mut source, file, &options);
    Ok(ReadScript { name, source, ast, diagnostics })
}

/// The options in which a mistake may be found later are places too.
fn add_options(request: &LoadRequest, source: &mut SourceMap) {
    let defines = request.defines.iter().map(|one| one.option.as_str());
    let substitutions = request.substitutions.iter().map(|one| one.option.as_str());
    let options: Vec<&str> = defines.chain(substitutions).chain(request.overrides.options()).collect();
    if !options.is_empty() {
        source.add_command_line(&options);
    }
}

fn given(written: &Written<Define>, source: &SourceMap) -> GivenDefine {
    let (name, value) = written.value.clone();
    GivenDefine { name, value, written_at: place(written, source) }
}

/// Where the value of an option stands.
fn place<T>(written: &Written<T>, source: &SourceMap) -> Span {
    place_of(&written.argument(), source)
}

fn place_of(about: &Subject, source: &SourceMap) -> Span {
    let Subject::Option { option, part } = about else { return Span::default() };
    source.option_span(option, part.clone()).unwrap_or_default()
}

/// A script with everything that is known about it.
struct Judged {
    name: String,
    source: SourceMap,
    /// In the order of their places.
    diagnostics: Vec<Diagnostic>,
    program: Option<Program>,
    registry: Registry,
    log_prefix: Option<CompiledTemplate>,
}

fn judge(request: LoadRequest) -> Result<Judged, String> {
    let ReadScript { name, source, ast, mut diagnostics } = read(&request)?;
    diagnostics.extend(doubt_about_the_whole(&name, &ast, &diagnostics));
    let resolver = request.reading.resolver(request.resolver);
    let mut registry = Registry::new(request.modules, request.overrides, resolver);
    let said = registry.load_modules_of_command_line();
    diagnostics.extend(said.into_iter().map(|(about, mistake)| mistake.at(place_of(&about, &source))));
    let checked = check(&ast, &source, &mut registry);
    diagnostics.extend(checked.diagnostics);
    let log_prefix = compile_log_prefix(&mut registry, &mut diagnostics);
    diagnostic::sort(&mut diagnostics, &source);
    spare_foreign_files(&mut diagnostics, &source);
    Ok(Judged { name, source, diagnostics, program: checked.program, registry, log_prefix })
}

/// Of a file with another owner than the script, no more than the first line at fault is shown: a mistaken
/// `include_file "/etc/shadow"` must not print it.
fn spare_foreign_files(diagnostics: &mut Vec<Diagnostic>, source: &SourceMap) {
    let mut told: Vec<String> = Vec::new();
    diagnostics.retain_mut(|one| {
        let Some(file) = source.foreign_file(one.span) else { return true };
        let is_first = !told.iter().any(|known| known == file);
        if is_first {
            told.push(file.to_string());
            let remark = format!("{file} belongs to another user: its other errors are not shown");
            one.notes.push(Note { span: None, message: remark });
        }
        is_first
    });
}

/// `2 errors, 1 warning`; nothing where nothing was said.
fn summary(diagnostics: &[Diagnostic]) -> String {
    let counted = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Notice, "notice")];
    let parts: Vec<String> = counted
        .into_iter()
        .map(|(severity, word)| (diagnostics.iter().filter(|one| one.severity == severity).count(), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if parts.is_empty() { String::new() } else { format!("{}\n", parts.join(", ")) }
}

impl Rejected {
    fn because(reason: String) -> Rejected {
        Rejected { errors: vec![format!("error: {reason}\n")], remarks: Vec::new() }
    }
}

fn limits(settings: &Settings) -> RunLimits {
    RunLimits {
        steps: STEPS_MAX,
        // Without a limit of its own a loop is still bounded by the steps of the run.
        while_loops: if settings.max_while_loops == 0 { STEPS_MAX } else { settings.max_while_loops },
        recursion: settings.max_recursive_level,
        return_mode: if settings.is_raw_return_mode { ReturnMode::Raw } else { ReturnMode::Truth },
        ..RunLimits::default()
    }
}

fn environment() -> Vec<(String, String)> {
    let text = |value: std::ffi::OsString| value.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// An empty script is an error. One without a `request_route` runs and answers no request.
fn doubt_about_the_whole(name: &str, ast: &Ast, found: &[Diagnostic]) -> Option<Diagnostic> {
    let nowhere = Span::default();
    if found.iter().any(Diagnostic::is_error) {
        // What could not be read may be the very thing that is missed.
        return None;
    }
    let is_main =
        |item: &Item| matches!(&item.kind, ItemKind::Route(route) if route.kind == RouteKind::Request);
    if ast.items.is_empty() {
        let error = Diagnostic::error(nowhere, format!("the script {name} is empty"));
        return Some(error.with_help("write at least `request_route { … }`"));
    }
    let warning = "there is no request_route: no request will be processed or answered";
    let help = "write `request_route { … }`; one in an included file counts too";
    (!ast.items.iter().any(is_main)).then(|| Diagnostic::warning(nowhere, warning).with_help(help))
}

fn compile_log_prefix(
    registry: &mut Registry,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CompiledTemplate> {
    let prefix = registry.settings().log_prefix.clone();
    if prefix.is_empty() {
        return None;
    }
    compile_template(&prefix, registry)
        .map_err(|mistakes| {
            diagnostics.extend(mistakes.into_iter().map(|mut mistake| {
                mistake.message = format!("log_prefix: {}", mistake.message);
                // The places are those of the text of the prefix, not of the script.
                mistake.at(Span::default())
            }));
        })
        .ok()
}

/// Errors, and the rest.
fn rendered(diagnostics: &[Diagnostic], source: &SourceMap) -> (Vec<String>, Vec<String>) {
    let (errors, others): (Vec<_>, Vec<_>) = diagnostics.iter().partition(|one| one.is_error());
    let render = |one: &Diagnostic| one.render(source);
    (errors.into_iter().map(render).collect(), others.into_iter().map(render).collect())
}

impl Root {
    /// The name it is reported under.
    fn name(&self) -> String {
        match self {
            Root::Text { name, .. } => name.clone(),
            Root::File(path) => path.display().to_string(),
        }
    }
}

fn read_root(root: &Root) -> Result<RootText, String> {
    match root {
        Root::Text { text, .. } if text.len() > FILE_SIZE_MAX => Err(too_large("the script")),
        Root::Text { text, .. } => {
            Ok((text.clone(), std::fs::metadata("/proc/self").ok().map(|own| own.uid())))
        }
        Root::File(path) => {
            let name = path.display().to_string();
            match read_file(path, FILE_SIZE_MAX) {
                Ok((text, owner)) => Ok((text, Some(owner))),
                Err(LoadError::NotFound) => Err(format!("could not open {name}: no such file")),
                Err(LoadError::TooLarge) => Err(too_large(&name)),
                Err(LoadError::Refused(reason)) => Err(format!("could not open {name}: {reason}")),
            }
        }
    }
}

fn too_large(name: &str) -> String {
    format!("{name} is larger than {} MB", FILE_SIZE_MAX >> 20)
}

/// Reads included files from the file system.
struct FileLoader {
    /// The owner of the script.
    owner: Option<u32>,
    reading: Reading,
}

impl Loader for FileLoader {
    fn load(&self, name: &str, including: &str, size_max: usize) -> Result<LoadedFile, LoadError> {
        self.reading.file(name, including, || self.find(name, including, size_max))
    }
}

impl FileLoader {
    fn find(&self, name: &str, including: &str, size_max: usize) -> Result<LoadedFile, LoadError> {
        for path in candidates(name, including) {
            match read_file(Path::new(&path), size_max) {
                Ok((text, owner)) => {
                    let is_foreign = self.owner.is_some_and(|mine| mine != owner);
                    return Ok(LoadedFile { path, text, is_foreign });
                }
                Err(LoadError::NotFound) => {}
                Err(refused) => return Err(refused),
            }
        }
        Err(LoadError::NotFound)
    }
}

/// Reads a regular file; its bytes and its owner. A directory, device or pipe is refused before it is read: it could
/// hold the start for ever. It is opened without waiting, so that a pipe cannot do that either.
fn read_file(path: &Path, size_max: usize) -> Result<(Vec<u8>, u32), LoadError> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(refused)?;
    let metadata = file.metadata().map_err(refused)?;
    if !metadata.is_file() {
        return Err(LoadError::Refused("not a regular file".to_string()));
    }
    let mut text = Vec::with_capacity((metadata.len() as usize).min(size_max) + 1);
    file.take(size_max as u64 + 1).read_to_end(&mut text).map_err(refused)?;
    if text.len() > size_max { Err(LoadError::TooLarge) } else { Ok((text, metadata.uid())) }
}

fn refused(error: std::io::Error) -> LoadError {
    match error.kind() {
        std::io::ErrorKind::NotFound => LoadError::NotFound,
        std::io::ErrorKind::PermissionDenied => LoadError::Refused("permission denied".to_string()),
        _ => LoadError::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::listen::tests::TestMachine;

    fn load_text(text: &str) -> Result<Loaded, Rejected> {
        let root = Root::Text { name: "test.cfg".to_string(), text: text.as_bytes().to_vec() };
        load(LoadRequest { resolver: Box::new(TestMachine), ..LoadRequest::new(root, &[]) })
    }

    fn errors(text: &str) -> String {
        load_text(text).err().map(|rejected| rejected.errors.concat()).unwrap_or_default()
    }

    #[test]
    fn a_script_becomes_settings_and_a_program() {
        let loaded = load_text(
            "#!KAMAILIO\nlisten=udp:127.0.0.1:5070\nchildren=2\nlog_prefix=\"{$si} \"\nmemlog=5\n\
             async_workers_group=\"name=reg;workers=3\"\nrequest_route { setflag(1); exit; }\n",
        )
        .unwrap_or_else(|rejected| panic!("{}", rejected.errors.concat()));
        assert_eq!(loaded.settings().listeners[0].address.to_string(), "127.0.0.1:5070");
        assert_eq!((loaded.settings().children, loaded.settings().groups[0].workers), (2, 3));
        assert!(loaded.program.request_route().is_some() && loaded.log_prefix.is_some());
        assert!(loaded.remarks.concat().contains("memlog"), "{:?}", loaded.remarks);
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_help() {
        let rows = [
            (
                "childern=2\nrequest_route { exit; }",
                &["test.cfg:1:", "unknown global parameter \"childern\"", "\"children\""][..],
            ),
            (
                "request_route { setflog(1); }",
                &["test.cfg:1:17", "unknown function setflog()", "\"setflag\""],
            ),
            ("request_route { setflag(32); }", &["flag 32 is out of range"]),
            ("request_route { setflag(1, 2); }", &["setflag() takes 1 argument, not 2"]),
            (
                "request_route { t_relay(); }",
                &["t_relay() (module \"tm\") exists in Kamailio and is not here yet"],
            ),
            (
                "loadmodule \"tm.so\"\nrequest_route { exit; }",
                &["test.cfg:1:12", "module \"tm\" exists in Kamailio"],
            ),
            (
                "loadmodule \"/usr/lib/x/nonsense.so\"\nrequest_route { exit; }",
                &["unknown module \"nonsense\""],
            ),
            ("modparam(\"slx\", \"x\", 1)\nrequest_route { exit; }", &["no loaded module is named \"slx\""]),
            (
                "modparam(\"tm\", \"fr_timer\", 1)\nrequest_route { exit; }",
                &["test.cfg:1:1", "module \"tm\" exists in Kamailio and is not here yet"],
            ),
            (
                "request_route { if ($sp == 1 && $sii == 2) exit; }",
                &["unknown variable $sii", "did you mean $si?"],
            ),
            ("request_route { if ($si(x) == 1) exit; }", &["$si takes nothing in parentheses"]),
            (
                "log_prefix=\"{$nothing_here} \"\nrequest_route { exit; }",
                &["log_prefix: unknown variable $nothing_here"],
            ),
            (
                "listen=udp:nowhere.example\nrequest_route { exit; }",
                &["test.cfg:1:", "could not resolve \"nowhere.example\""],
            ),
            ("listen=tcp:127.0.0.1\nrequest_route { exit; }", &["there is nothing to listen on"]),
        ];
        for (text, expected) in rows {
            let errors = errors(text);
            for part in expected {
                assert!(errors.contains(part), "{text}\nlacks {part}:\n{errors}");
            }
        }
    }

    #[test]
    fn files_are_read_with_their_includes_and_odd_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.cfg");
        std::fs::write(&path, "include_file \"more.cfg\"\nrequest_route { exit; }\n").unwrap();
        std::fs::write(folder.path().join("more.cfg"), "listen=udp:127.0.0.1:5099\n").unwrap();
        let load_path = |path: PathBuf| load(LoadRequest::new(Root::File(path), &[]));
        let loaded = load_path(path).unwrap_or_else(|rejected| panic!("{}", rejected.errors.concat()));
        assert_eq!(loaded.settings().listeners[0].address.port(), 5099);
        let reason = |path: PathBuf| load_path(path).err().map(|rejected| rejected.errors.concat());
        assert!(reason(folder.path().join("none.cfg")).unwrap().contains("no such file"));
        assert!(reason(folder.path().to_path_buf()).unwrap().contains("not a regular file"));
        assert!(reason(PathBuf::from("/dev/zero")).unwrap().contains("not a regular file"));
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let root = Root::Text {
            name: "t".into(),
            text: b"listen=udp:127.0.0.1:1\nrequest_route { exit; }".to_vec(),
        };
        let overrides = Overrides {
            load_modules: vec![Written::new("--loadmodule", "nonsense", "nonsense".to_string())],
            ..Overrides::default()
        };
        let rejected = load(LoadRequest { overrides, ..LoadRequest::new(root.clone(), &[]) }).err().unwrap();
        assert!(rejected.errors.concat().contains("unknown module \"nonsense\""));
        let overrides = Overrides { children: Some(7), ..Overrides::default() };
        let loaded = load(LoadRequest { overrides, ..LoadRequest::new(root, &[]) }).ok().unwrap();
        assert_eq!(loaded.settings().children, 7);
    }
}
