//! The command line of `sworkerd`: one table, one row per flag, from which the help is printed too.
//!
//! Flags read as `getopt` reads them: letters without a value stand together (`-DD`, `-ddd`, `-DDEc`), a value stands
//! behind its letter or in the next word, a long name may be shortened while it is one name only.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::bindings::load::Define;
use crate::bindings::manual::{PARTS, Part};
use crate::config::settings::overrides::ModuleParameter;
use crate::config::settings::{PROCESSES_MAX, Written, listen};
use crate::flows::{ReportForm, TestRequest};
use crate::script::ast::SocketLiteral;
use crate::script::catalog::Constant;
use crate::script::suggest::nearest;
use crate::telemetry::log::Engine;

pub mod forms;

use forms::Form;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandLine {
    /// What to do.
    pub task: Task,
    /// The message to replay.
    pub replayed_file: PathBuf,
    /// The script; the built-in example without one.
    pub script: Script,
    /// The flows to run.
    pub flow_files: Vec<PathBuf>,
    /// What the server under test is told too.
    pub words_for_server: Vec<OsString>,
    /// Whether it runs for a test.
    pub is_trial: bool,
    /// How `-c` and `--test` report, where that is said.
    pub report_format: Option<ReportForm>,
    /// The one entry of the manual that is asked for.
    pub manual_name: Option<String>,
    /// How many `-D`.
    pub foreground_letters: u32,
    /// Log to error output, whatever the script says.
    pub is_logging_to_stderr: bool,
    /// Colours in the log.
    pub is_log_coloured: bool,
    /// Log engine and its data.
    pub log_engine: Option<(Engine, Option<String>)>,
    /// Children keep what rights they have.
    pub is_sandbox_refused: bool,
    /// Log level, which then beats the script's.
    pub debug: Option<i32>,
    /// File for the process id of the master.
    pub pid_file: Option<PathBuf>,
    /// File for the process group id.
    pub group_id_file: Option<PathBuf>,
    /// Directory to work in.
    pub work_directory: Option<PathBuf>,
    /// Directory for what exists while the server runs.
    pub run_directory: Option<PathBuf>,
    /// Directory that becomes the root.
    pub root_directory: Option<PathBuf>,
    /// User to become.
    pub user: Option<String>,
    /// Group to become.
    pub group: Option<String>,
    /// Receivers per UDP socket.
    pub receivers: Option<u32>,
    /// Places to listen, besides those of the script.
    pub listeners: Vec<Written<SocketLiteral>>,
    /// Directory, or several, of modules.
    pub module_path: Option<String>,
    /// `-A NAME` and `-A NAME=VALUE`, `--substdef`.
    pub defines: Vec<Written<Define>>,
    /// `--subst`.
    pub substitutions: Vec<Written<String>>,
    /// Further names of this server.
    pub aliases: Vec<Written<String>>,
    /// Limit of receive buffers in bytes.
    pub receive_buffer_max: Option<u32>,
    /// Limit of send buffers in bytes.
    pub send_buffer_max: Option<u32>,
    /// Number of this server, `$sel(cfg_get.core.server_id)`.
    pub server_id: Option<i64>,
    /// Modules to load before those of the script.
    pub modules: Vec<Written<String>>,
    /// Module, name and value of each `--modparam`.
    pub module_parameters: Vec<Written<ModuleParameter>>,
    /// Whether replies must have our Via on top.
    pub is_via_checked: bool,
    /// What was accepted and does nothing, for the operator to know.
    pub notices: Vec<String>,
}

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Serve.
    #[default]
    Serve,
    /// Check the script and say so.
    Check,
    /// Give a message that was set aside to the script once more, in this one process.
    Replay,
    /// Run flows against a server of their own.
    Test,
    /// Prove that children cannot escape.
    SelfTest,
    /// Print the script in canonical form.
    PrintScript,
    /// Print what shared memory a server takes.
    Memory,
    /// Print a part of the manual.
    Manual(Part),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Print what was built in.
    Internals,
    /// Print the options in another form.
    Options(Form),
}

/// Where the script is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Script {
    /// In the program.
    #[default]
    BuiltIn,
    /// In a file.
    File(PathBuf),
    /// On standard input.
    StandardInput,
}

/// Whether the server leaves the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// It stays.
    Foreground,
    /// It leaves.
    Daemon,
}

impl CommandLine {
    /// Reads the words after the program's name.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<CommandLine, UsageError> {
        let mut command_line = CommandLine::default();
        let mut parser = lexopt::Parser::from_args(words);
        while let Some(argument) = parser.next().map_err(UsageError::unreadable)? {
            let flag = match argument {
                lexopt::Arg::Short(letter) => by_letter(letter)?,
                lexopt::Arg::Long(name) => by_name(name)?,
                lexopt::Arg::Value(word) => {
                    command_line.take_word(&word)?;
                    continue;
                }
            };
            let value = match flag.value {
                Some(_) => parser.value().map_err(|_| UsageError::missing_value(flag))?,
                None => OsString::new(),
            };
            let value = value
                .into_string()
                .map_err(|bad| UsageError::unreadable(format!("{bad:?} is not valid text")))?;
            (flag.apply)(&mut command_line, &value)
                .map_err(|reason| UsageError::bad_value(flag, &value, &reason))?;
            command_line.note_for_server(flag, &value);
            if flag.is_without_effect {
                command_line.notices.push(format!("{} is accepted and has no effect", flag.shown_name()));
            }
        }
        if command_line.task != Task::Test {
            command_line.words_for_server.clear();
        }
        match (command_line.report_format, command_line.task) {
            (_, Task::Test) if command_line.script == Script::StandardInput => {
                Err(UsageError::script_read_once())
            }
            (None, _) | (_, Task::Test) | (Some(ReportForm::Text | ReportForm::Json), Task::Check) => {
                Ok(command_line)
            }
            _ => Err(UsageError::format_of_nothing()),
        }
    }

    /// What `--test` runs.
    pub fn test_request(self) -> TestRequest {
        let script = match self.script {
            Script::File(path) => Some(path),
            Script::BuiltIn | Script::StandardInput => None,
        };
        let form = self.report_format.unwrap_or_default();
        TestRequest { files: self.flow_files, script, words: self.words_for_server, form }
    }

    /// What is not about the test is about the server under test.
    fn note_for_server(&mut self, flag: &Flag, value: &str) {
        if !["-f", "--test", "--format", "--trial"].contains(&flag.shown_name().as_str()) {
            self.words_for_server.push(flag.shown_name().into());
            self.words_for_server.extend(flag.value.map(|_| value.into()));
        }
    }

    /// Behind `--test FILE` words are further files, behind `-x functions` a word names one entry; anywhere else it is
    /// a mistake.
    fn take_word(&mut self, word: &OsString) -> Result<(), UsageError> {
        match (self.task, &self.manual_name) {
            (Task::Test, _) => self.flow_files.push(word.into()),
            (Task::Manual(_), None) => self.manual_name = Some(word.to_string_lossy().into_owned()),
            _ => return Err(UsageError::bare_word(word)),
        }
        Ok(())
    }

    /// Whether the server leaves the terminal. `-D` and `-DD` keep it there, and so does the built-in script, which is
    /// for trying; `-DDD` makes it leave all the same.
    pub fn attachment(&self) -> Attachment {
        match (self.foreground_letters, &self.script) {
            _ if self.is_trial => Attachment::Foreground,
            (0, Script::BuiltIn) | (1 | 2, _) => Attachment::Foreground,
            _ => Attachment::Daemon,
        }
    }
}

/// A command line that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl std::error::Error for UsageError {}

impl UsageError {
    fn unreadable(reason: impl fmt::Display) -> UsageError {
        UsageError(reason.to_string())
    }

    fn bare_word(word: &OsString) -> UsageError {
        let word = word.to_string_lossy();
        let hint = match &*word {
            "start" | "stop" | "restart" => ": the service manager starts and stops the server".to_owned(),
            path if path.contains(['.', '/']) => format!("; a script is given with -f: sworkerd -f {path}"),
            _ => "; -h shows the options".to_owned(),
        };
        UsageError(format!("unknown word \"{word}\"{hint}"))
    }

    fn unknown(name: &str) -> UsageError {
        let known: Vec<String> =
            FLAGS.iter().filter_map(|flag| flag.name).map(|long| format!("--{long}")).collect();
        UsageError(match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("unknown option {name}; did you mean {near}? -h shows all"),
            None => format!("unknown option {name}; -h shows all"),
        })
    }

    fn format_of_nothing() -> UsageError {
        UsageError(
            "option --format says how -c and --test report, junit how --test does: give one of them"
                .to_owned(),
        )
    }

    fn script_read_once() -> UsageError {
        UsageError(
            "each flow reads the script again, so it cannot come from standard input: give a file".to_owned(),
        )
    }

    fn missing_value(flag: &Flag) -> UsageError {
        UsageError(format!("option {} needs a value: {}", flag.shown_name(), flag.value.unwrap_or_default()))
    }

    fn bad_value(flag: &Flag, value: &str, reason: &str) -> UsageError {
        UsageError(format!("bad value \"{value}\" of option {}: {reason}", flag.shown_name()))
    }
}

/// One row of the table.
struct Flag {
    letter: Option<char>,
    name: Option<&'static str>,
    /// What the value is called, where there is one.
    value: Option<&'static str>,
    apply: fn(&mut CommandLine, &str) -> Result<(), String>,
    is_without_effect: bool,
    documentation: &'static str,
}

impl Flag {
    fn shown_name(&self) -> String {
        match (self.letter, self.name) {
            (Some(letter), _) => format!("-{letter}"),
            (None, Some(name)) => format!("--{name}"),
            (None, None) => String::new(),
        }
    }
}

fn by_letter(letter: char) -> Result<&'static Flag, UsageError> {
    FLAGS
        .iter()
        .find(|flag| flag.letter == Some(letter))
        .ok_or_else(|| UsageError::unknown(&format!("-{letter}")))
}

fn by_name(name: &str) -> Result<&'static Flag, UsageError> {
    let mut starting_so = FLAGS.iter().filter(|flag| flag.name.is_some_and(|long| long.starts_with(name)));
    if let Some(exact) = FLAGS.iter().find(|flag| flag.name == Some(name)) {
        return Ok(exact);
    }
    match (starting_so.next(), starting_so.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(UsageError(format!("option --{name} is ambiguous; -h shows all"))),
        (None, _) => Err(UsageError::unknown(&format!("--{name}"))),
    }
}

type Apply = fn(&mut CommandLine, &str) -> Result<(), String>;

const fn switch(letter: char, apply: Apply, documentation: &'static str) -> Flag {
    Flag { letter: Some(letter), name: None, value: None, apply, is_without_effect: false, documentation }
}

const fn valued(letter: char, value: &'static str, apply: Apply, documentation: &'static str) -> Flag {
    Flag {
        letter: Some(letter),
        name: None,
        value: Some(value),
        apply,
        is_without_effect: false,
        documentation,
    }
}

const fn long(
    name: &'static str,
    value: Option<&'static str>,
    apply: Apply,
    documentation: &'static str,
) -> Flag {
    Flag { letter: None, name: Some(name), value, apply, is_without_effect: false, documentation }
}

/// A flag that is taken so that service files and scripts written for others go on to work.
const fn ignored(
    letter: Option<char>,
    name: Option<&'static str>,
    value: Option<&'static str>,
    documentation: &'static str,
) -> Flag {
    Flag { letter, name, value, apply: |_, _| Ok(()), is_without_effect: true, documentation }
}

impl Flag {
    const fn or(mut self, name: &'static str) -> Flag {
        self.name = Some(name);
        self
    }
}

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    valued('f', "FILE", |c, v| { c.script = if v == "-" { Script::StandardInput } else { Script::File(v.into()) }; Ok(()) },
        "script to run; \"-\" reads standard input; without -f a built-in example runs in the foreground"),
    switch('c', |c, _| { c.task = Task::Check; Ok(()) }, "check the script, report its errors, exit 0 or 255"),
    long("replay", Some("FILE"), |c, v| { (c.task, c.replayed_file) = (Task::Replay, v.into()); Ok(()) },
        "run the script on a quarantined message (quarantine/….sip) in one process without sockets; print \
         what would be sent"),
    long("test", Some("FILE"), |c, v| { c.task = Task::Test; c.flow_files.push(v.into()); Ok(()) },
        "run call flows (FILE.flow and further files) against a separate server on loopback, with the \
         script of -f or of the flow; exit 0 when all succeed, 1 when one fails, 2 when one cannot be \
         run; docs/flows.md has the format"),
    long("trial", None, |c, _| { c.is_trial = true; Ok(()) },
        "serve as --test does: in the foreground, on loopback with ports chosen by the kernel instead of \
         the addresses of the script, without its user, group, root and working directory, until the \
         parent process ends"),
    long("format", Some("text|json|junit"), |c, v| { c.report_format = Some(report_format(v)?); Ok(()) },
        "how -c and --test report: text for people (TAP for --test), json for editors and CI on standard output, junit for CI \
         servers (--test)"),
    long("cfg-print", None, |c, _| { c.task = Task::PrintScript; Ok(()) },
        "print the script in canonical form, includes read and defines replaced, exit 0 or 255"),
    valued('x', "PART [NAME]", manual_or_allocator,
        "print the manual, or one entry of it: functions, variables, parameters, modules, transformations, globals, groups or \
         counters; memory prints the shared memory a server with this script takes, part by part, and starts nothing; names of allocators (fm, qm, tlsf) are accepted without effect"),
    switch('D', |c, _| { c.foreground_letters += 1; Ok(()) },
        "stay in the foreground; -DD means the same (receiving and processing are always different \
         processes here, so there is no single-process mode); -DDD runs as a daemon nevertheless"),
    switch('E', |c, _| { c.is_logging_to_stderr = true; Ok(()) }, "log to error output, also as a daemon"),
    switch('e', |c, _| { c.is_log_coloured = true; Ok(()) }, "colours in the log on error output"),
    switch('d', |c, _| { c.debug = Some(c.debug.unwrap_or(0).saturating_add(1)); Ok(()) },
        "log more: -d notices, -dd information, -ddd everything; overrides debug of the script"),
    long("log-engine", Some("NAME[:DATA]"), |c, v| { c.log_engine = Some(log_engine(v)?); Ok(()) },
        "format and destination of log lines: standard, stderr, syslog[:SOCKET], journald[:SOCKET] or \
         json; overrides log_engine_type of the script"),
    long("debug", Some("LEVEL"), |c, v| { c.debug = Some(number(v)?); Ok(()) }, "log level from -5 (alert) to 3 (debug); overrides debug of the script"),
    valued('l', "ADDRESS", |c, v| { c.listeners.push(Written::new("-l", v, listen::parse_command_line(v)?)); Ok(()) },
        "additional listen socket: [proto:]host[:port][/advertised[:port]][/name]; may be repeated; port \
         0 lets the kernel choose"),
    valued('n', "COUNT", |c, v| { c.receivers = Some(process_count(v)?); Ok(()) }, "receivers per UDP socket; overrides children of the script"),
    valued('A', "NAME[=VALUE]", |c, v| { c.defines.push(Written::new("-A", v, define(v)?)); Ok(()) }, "define NAME as #!define does; may be repeated"),
    long("substdef", Some("/NAME/VALUE/"), |c, v| { c.defines.push(Written::new("--substdef", v, substitution(v)?)); Ok(()) }, "define NAME with this value"),
    long("substdefs", Some("/NAME/VALUE/"), |c, v| { let (n, w) = substitution(v)?; c.defines.push(Written::new("--substdefs", v, (n, w.map(|w| format!("\"{w}\""))))); Ok(()) },
        "define NAME with this value in quotes"),
    long("subst", Some("/PATTERN/TEXT/FLAGS"), |c, v| { c.substitutions.push(Written::new("--subst", v, v.to_owned())); Ok(()) },
        "replace text inside quotes as #!subst in the script does; flags are i (any case), g \
         (everywhere), s"),
    valued('L', "PATH", |c, v| { c.module_path = Some(v.to_owned()); Ok(()) }, "directory of modules; accepted, modules are built in"),
    long("loadmodule", Some("NAME"), |c, v| { c.modules.push(Written::new("--loadmodule", v, v.to_owned())); Ok(()) }, "load a module before the script is read, as loadmodule in it does"),
    long("modparam", Some("MODULE:NAME:TYPE:VALUE"), |c, v| { c.module_parameters.push(Written::new("--modparam", v, module_parameter(v)?)); Ok(()) },
        "set a module's parameter; TYPE is s (text) or i (integer)"),
    valued('a', "yes|no", |c, v| { if yes_or_no(v)? { c.notices.push("-a yes has no effect: name aliases one by one".to_owned()); } Ok(()) },
        "automatic aliases for the names of local addresses; always \"no\" here"),
    long("alias", Some("NAME"), |c, v| { c.aliases.push(Written::new("--alias", v, v.to_owned())); Ok(()) }, "a host name of this server; may be repeated"),
    long("domain", Some("NAME"), |c, v| { c.aliases.push(Written::new("--domain", v, v.to_owned())); Ok(()) }, "the same as --alias"),
    valued('P', "FILE", |c, v| { c.pid_file = Some(v.into()); Ok(()) }, "file for the process id of the master, in an existing directory; removed at an orderly stop"),
    valued('G', "FILE", |c, v| { c.group_id_file = Some(v.into()); Ok(()) }, "file for the process group id"),
    valued('w', "DIRECTORY", |c, v| { c.work_directory = Some(v.into()); Ok(()) }, "working directory; a daemon without it uses /"),
    valued('Y', "DIRECTORY", |c, v| { c.run_directory = Some(v.into()); Ok(()) },
        "run directory, for the control socket and quarantined messages; one per server; created with \
         mode 0700 when missing; default: rundir of the script, else /run/sworker for root, for others \
         $XDG_RUNTIME_DIR/sworker or sworker-UID in the directory for temporary files"),
    valued('t', "DIRECTORY", |c, v| { c.root_directory = Some(v.into()); Ok(()) }, "change the root directory to this one once everything is open"),
    valued('u', "USER", |c, v| { c.user = Some(v.to_owned()); Ok(()) }, "user (name or number) to run as once everything is open"),
    valued('g', "GROUP", |c, v| { c.group = Some(v.to_owned()); Ok(()) }, "group (name or number) to run as"),
    long("no-sandbox", None, |c, _| { c.is_sandbox_refused = true; Ok(()) }, "child processes are not confined, for debugging"),
    long("self-test", None, |c, _| { c.task = Task::SelfTest; Ok(()) },
        "test from inside a child of each role that it cannot escape, one line for each attempt, exit 0 \
         or 1"),
    valued('b', "BYTES", |c, v| { c.receive_buffer_max = Some(positive(v)?); Ok(()) }, "receive buffer of a socket"),
    valued('B', "BYTES", |c, v| { c.send_buffer_max = Some(positive(v)?); Ok(()) }, "send buffer of a socket"),
    switch('K', |c, _| { c.is_via_checked = true; Ok(()) }, "accept only replies with a topmost Via of this server"),
    long("server-id", Some("NUMBER"), |c, v| { c.server_id = Some(number(v)?); Ok(()) }, "number of this server for scripts"),
    switch('v', |c, _| { c.task = Task::Version; Ok(()) }, "print the version and exit").or("version"),
    switch('V', |c, _| { c.task = Task::Version; Ok(()) }, "the same as -v"),
    switch('I', |c, _| { c.task = Task::Internals; Ok(()) }, "print the build configuration and exit"),
    long("options-as", Some("man|bash"), |c, v| { c.task = Task::Options(Form::parse(v)?); Ok(()) },
        "print these options as a manual page, or as a completion for bash, and exit"),
    switch('h', |c, _| { c.task = Task::Help; Ok(()) }, "print this and exit").or("help"),
    ignored(Some('m'), None, Some("MEGABYTES"), "size of shared memory in Kamailio; queues are sized by their groups here"),
    ignored(Some('M'), None, Some("MEGABYTES"), "size of private memory in Kamailio"),
    ignored(Some('X'), None, Some("NAME"), "memory allocator in Kamailio"),
    ignored(Some('N'), None, Some("COUNT"), "TCP receivers: TCP is not supported yet"),
    ignored(Some('T'), None, None, "no TCP: it is not supported yet"),
    ignored(Some('S'), None, None, "no SCTP: it is not supported"),
    ignored(Some('Q'), None, Some("COUNT"), "SCTP receivers: SCTP is not supported"),
    ignored(Some('W'), None, Some("TYPE"), "poll method: chosen by the server"),
    ignored(Some('O'), None, Some("LEVEL"), "optimisation of scripts: always on"),
    ignored(Some('r'), None, None, "look up the host name of the sender: never done"),
    ignored(Some('R'), None, None, "look up names in Via: never done"),
    ignored(None, Some("atexit"), Some("yes|no"), "exit handlers: there are none"),
    ignored(None, Some("all-errors"), None, "all errors are always reported"),
    ignored(None, Some("iuid"), Some("TEXT"), "unique id prefix: made by the server"),
];

fn report_format(text: &str) -> Result<ReportForm, String> {
    match text {
        "text" => Ok(ReportForm::Text),
        "json" => Ok(ReportForm::Json),
        "junit" => Ok(ReportForm::Junit),
        _ => Err("text, json or junit is needed".to_owned()),
    }
}

/// `-x` chooses an allocator elsewhere.
fn manual_or_allocator(command_line: &mut CommandLine, text: &str) -> Result<(), String> {
    if text == "memory" {
        command_line.task = Task::Memory;
        return Ok(());
    }
    if let Some(part) = Part::named(text) {
        command_line.task = Task::Manual(part);
        return Ok(());
    }
    if ["fm", "qm", "tlsf", "f_malloc", "q_malloc", "tlsf_malloc"].contains(&text) {
        command_line.notices.push(format!("-x {text} is accepted and has no effect"));
        return Ok(());
    }
    let parts: Vec<&str> = PARTS.iter().map(|(name, _)| *name).chain(["memory"]).collect();
    Err(format!("one of {} is needed", parts.join(", ")))
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.trim().parse().map_err(|_| "a number is needed".to_owned())
}

fn positive(text: &str) -> Result<u32, String> {
    number(text).ok().filter(|&count| count > 0).ok_or_else(|| "a number above 0 is needed".to_owned())
}

fn process_count(text: &str) -> Result<u32, String> {
    let wanted = || format!("a number from 1 to {PROCESSES_MAX} is needed");
    number(text).ok().filter(|count| (1..=PROCESSES_MAX).contains(count)).ok_or_else(wanted)
}

/// `NAME` or `NAME:DATA`.
fn log_engine(text: &str) -> Result<(Engine, Option<String>), String> {
    let (name, data) = match text.split_once(':') {
        Some((name, data)) => (name, Some(data.to_owned())),
        None => (text, None),
    };
    Ok((Engine::parse(name)?, data))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "1" => Ok(true),
        "no" | "off" | "false" | "0" => Ok(false),
        _ => Err("yes or no is needed".to_owned()),
    }
}

/// `MODULE:NAME:TYPE:VALUE`.
fn module_parameter(text: &str) -> Result<ModuleParameter, String> {
    let mut parts = text.splitn(4, ':');
    let mut part = || parts.next().ok_or_else(|| "MODULE:NAME:TYPE:VALUE is expected".to_owned());
    let (module, name, kind, value) = (part()?, part()?, part()?, part()?);
    let value = match kind {
        "s" => Constant::Text(value.as_bytes().to_vec()),
        "i" => Constant::Number(number(value)?),
        _ => return Err(format!("type \"{kind}\" is neither s (text) nor i (integer)")),
    };
    Ok((module.to_owned(), name.to_owned(), value))
}

fn define(text: &str) -> Result<Define, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("a name of letters, digits and _ is needed".to_owned());
    }
    Ok((name.to_owned(), value))
}

/// `/NAME/VALUE/`, the first character being the separator.
fn substitution(text: &str) -> Result<Define, String> {
    let shape = || "/NAME/VALUE/ is needed".to_owned();
    let separator = text.chars().next().ok_or_else(shape)?;
    let parts: Vec<&str> = text.split(separator).collect();
    match parts[..] {
        ["", name, value, ""] => {
            let (name, _) = define(name)?;
            Ok((name, Some(value.to_owned())))
        }
        _ => Err(shape()),
    }
}

/// First line of `-v`, and of the answer to `core.version` behind its first word.
pub fn version() -> String {
    format!("sworker {} ({}/{})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS)
}

/// The text of `-h`.
pub fn help() -> String {
    let mut text = format!("version: {}\nusage: sworkerd [options]\n\n", version());
    for flag in FLAGS.iter().filter(|flag| !flag.is_without_effect) {
        text.push_str(&help_line(flag));
    }
    text.push_str("\naccepted without effect, so that existing service files work:\n");
    for flag in FLAGS.iter().filter(|flag| flag.is_without_effect) {
        text.push_str(&help_line(flag));
    }
    text
}

fn help_line(flag: &Flag) -> String {
    let letter = flag.letter.map(|letter| format!("-{letter}"));
    let name = flag.name.map(|name| format!("--{name}"));
    let names = [letter, name].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let head = format!("{names} {}", flag.value.unwrap_or_default());
    let mut lines = wrapped(flag.documentation, 78 - HELP_INDENT).into_iter();
    let mut text = format!(
        "  {:<width$}{}\n",
        head.trim_end(),
        lines.next().unwrap_or_default(),
        width = HELP_INDENT - 2
    );
    if head.trim_end().len() > HELP_INDENT - 3 {
        text = format!(
            "  {}\n{:HELP_INDENT$}{}\n",
            head.trim_end(),
            "",
            wrapped(flag.documentation, 78 - HELP_INDENT)[0]
        );
    }
    for line in lines {
        text.push_str(&format!("{:HELP_INDENT$}{line}\n", ""));
    }
    text
}

const HELP_INDENT: usize = 26;

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last().map_or(0, String::len);
        if last > 0 && last + 1 + word.len() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT_OF_NOTHING: &str =
        "option --format says how -c and --test report, junit how --test does: give one of them";

    fn parse(words: &str) -> Result<CommandLine, String> {
        CommandLine::parse(words.split_ascii_whitespace().map(OsString::from))
            .map_err(|error| error.to_string())
    }

    fn check(words: &str, change: impl FnOnce(&mut CommandLine)) {
        let mut expected = CommandLine::default();
        change(&mut expected);
        assert_eq!(parse(words), Ok(expected), "{words}");
    }

    #[test]
    fn flags_read_as_getopt_reads_them() {
        check("", |_| {});
        check("-f x.cfg", |c| c.script = Script::File("x.cfg".into()));
        check("-fx.cfg", |c| c.script = Script::File("x.cfg".into()));
        check("-f -", |c| c.script = Script::StandardInput);
        check("-ddd", |c| c.debug = Some(3));
        check("-d -d", |c| c.debug = Some(2));
        check("--debug=-1", |c| c.debug = Some(-1));
        check("--debug 2", |c| c.debug = Some(2));
        check("--deb=2", |c| c.debug = Some(2));
        check("-DDEc", |c| {
            (c.foreground_letters, c.is_logging_to_stderr, c.task) = (2, true, Task::Check);
        });
        check("-a no", |_| {});
        check("-ano", |_| {});
        check("-a yes", |c| c.notices = vec!["-a yes has no effect: name aliases one by one".into()]);
        check("--modparam=sworker:xdata:s:$var(a:b) --modparam m:n:i:7", |c| {
            let row = |text: &str, module: &str, name: &str, value| {
                Written::new("--modparam", text, (module.to_owned(), name.to_owned(), value))
            };
            c.module_parameters = vec![
                row("sworker:xdata:s:$var(a:b)", "sworker", "xdata", Constant::Text(b"$var(a:b)".to_vec())),
                row("m:n:i:7", "m", "n", Constant::Number(7)),
            ];
        });
        check("-K", |c| c.is_via_checked = true);
        check("-Ee -n 4", |c| {
            (c.is_logging_to_stderr, c.is_log_coloured, c.receivers) = (true, true, Some(4));
        });
        check("-A WITH_X -A PORT=5070 -AA=b=c", |c| {
            let row = |text: &str, name: &str, value: Option<&str>| {
                Written::new("-A", text, (name.to_owned(), value.map(str::to_owned)))
            };
            c.defines = vec![
                row("WITH_X", "WITH_X", None),
                row("PORT=5070", "PORT", Some("5070")),
                row("A=b=c", "A", Some("b=c")),
            ];
        });
        check("--substdef=/A/b/ --substdefs !C!d/e!", |c| {
            let row = |option: &str, text: &str, name: &str, value: &str| {
                Written::new(option, text, (name.to_owned(), Some(value.to_owned())))
            };
            c.defines =
                vec![row("--substdef", "/A/b/", "A", "b"), row("--substdefs", "!C!d/e!", "C", "\"d/e\"")];
        });
        check("--subst=/a/b/g", |c| {
            c.substitutions = vec![Written::new("--subst", "/a/b/g", "/a/b/g".to_owned())];
        });
        check("-l udp:127.0.0.1:0 -l [::1]", |c| {
            let socket = |bind: &str| {
                Written::new("-l", bind, SocketLiteral { bind: bind.to_owned(), ..SocketLiteral::default() })
            };
            c.listeners = vec![socket("udp:127.0.0.1:0"), socket("[::1]")];
        });
        check("-P p -w w -Y y -u u -g g -t t", |c| {
            c.pid_file = Some("p".into());
            c.work_directory = Some("w".into());
            c.run_directory = Some("y".into());
            c.user = Some("u".into());
            c.group = Some("g".into());
            c.root_directory = Some("t".into());
        });
        check("--alias a --domain=b", |c| {
            c.aliases =
                vec![Written::new("--alias", "a", "a".into()), Written::new("--domain", "b", "b".into())];
        });
        check("--replay q.sip -f x.cfg", |c| {
            (c.task, c.replayed_file) = (Task::Replay, "q.sip".into());
            c.script = Script::File("x.cfg".into());
        });
        check("--log-engine=json", |c| c.log_engine = Some((Engine::Json, None)));
        check("--log-engine syslog:/x/y", |c| c.log_engine = Some((Engine::Syslog, Some("/x/y".into()))));
        check("--no-sandbox --self-test", |c| (c.is_sandbox_refused, c.task) = (true, Task::SelfTest));
        check("--options-as man", |c| c.task = Task::Options(Form::Page));
        check("-h", |c| c.task = Task::Help);
        check("--version", |c| c.task = Task::Version);
        check("-c --format=json", |c| (c.task, c.report_format) = (Task::Check, Some(ReportForm::Json)));
        check("--cfg-print -f x", |c| {
            (c.task, c.script) = (Task::PrintScript, Script::File("x".into()));
        });
        check("--test a.flow b.flow -f x -DA N=1 --format=junit", |c| {
            (c.task, c.script) = (Task::Test, Script::File("x".into()));
            c.flow_files = vec!["a.flow".into(), "b.flow".into()];
            (c.foreground_letters, c.report_format) = (1, Some(ReportForm::Junit));
            c.defines = vec![Written::new("-A", "N=1", ("N".into(), Some("1".into())))];
            c.words_for_server = ["-D", "-A", "N=1"].map(OsString::from).into();
        });
        check("--trial", |c| c.is_trial = true);
        check("-x functions", |c| c.task = Task::Manual(Part::Functions));
        check("-x function sworker_task", |c| {
            (c.task, c.manual_name) = (Task::Manual(Part::Functions), Some("sworker_task".into()));
        });
        check("-x memory -f x", |c| (c.task, c.script) = (Task::Memory, Script::File("x".into())));
        check("-x tlsf", |c| c.notices = vec!["-x tlsf is accepted and has no effect".into()]);
    }

    #[test]
    fn flags_for_others_are_taken_with_a_notice() {
        let words = "-m 64 -M8 -x fm -X fm -N 2 -TS -Q 1 -W epoll -O 1 -rR --atexit=no --all-errors";
        let command_line = parse(words).unwrap();
        assert_eq!(command_line.notices.len(), 14);
        assert_eq!(command_line.notices[0], "-m is accepted and has no effect");
        assert_eq!(CommandLine { notices: vec![], ..command_line }, CommandLine::default());
    }

    #[test]
    fn mistakes_are_told() {
        let rows = [
            ("-z", "unknown option -z; -h shows all"),
            ("-Dz", "unknown option -z; -h shows all"),
            ("--nonsense", "unknown option --nonsense; -h shows all"),
            ("--subst", "option --subst needs a value: /PATTERN/TEXT/FLAGS"),
            ("--a=1", "option --a is ambiguous; -h shows all"),
            ("-f", "option -f needs a value: FILE"),
            (
                "--log-engine=pigeon",
                "bad value \"pigeon\" of option --log-engine: unknown log engine \"pigeon\"; engines are \
                 \"standard\", \"stderr\", \"syslog\", \"journald\", \"json\"",
            ),
            ("--options-as=texinfo", "bad value \"texinfo\" of option --options-as: man or bash is needed"),
            ("start", "unknown word \"start\": the service manager starts and stops the server"),
            ("-D stop", "unknown word \"stop\": the service manager starts and stops the server"),
            ("x.cfg", "unknown word \"x.cfg\"; a script is given with -f: sworkerd -f x.cfg"),
            ("-DD /etc/x", "unknown word \"/etc/x\"; a script is given with -f: sworkerd -f /etc/x"),
            ("nonsense", "unknown word \"nonsense\"; -h shows the options"),
            ("--format=json", FORMAT_OF_NOTHING),
            ("--cfg-print --format text", FORMAT_OF_NOTHING),
            ("-c --format junit", FORMAT_OF_NOTHING),
            (
                "--test a.flow -f -",
                "each flow reads the script again, so it cannot come from standard input: give a file",
            ),
            ("--modparm=a:b:i:1", "unknown option --modparm; did you mean --modparam? -h shows all"),
            ("-x functions a b", "unknown word \"b\"; -h shows the options"),
            (
                "-x nonsense",
                "bad value \"nonsense\" of option -x: one of functions, variables, parameters, modules, \
                 transformations, globals, groups, counters, memory is needed",
            ),
            ("--format=xml", "bad value \"xml\" of option --format: text, json or junit is needed"),
            ("-n 0", "bad value \"0\" of option -n: a number from 1 to 1024 is needed"),
            ("-n many", "bad value \"many\" of option -n: a number from 1 to 1024 is needed"),
            ("-a maybe", "bad value \"maybe\" of option -a: yes or no is needed"),
            ("-A =x", "bad value \"=x\" of option -A: a name of letters, digits and _ is needed"),
            (
                "--modparam=a:b:s",
                "bad value \"a:b:s\" of option --modparam: MODULE:NAME:TYPE:VALUE is expected",
            ),
            ("--modparam=a:b:i:c", "bad value \"a:b:i:c\" of option --modparam: a number is needed"),
            (
                "--modparam=a:b:x:c",
                "bad value \"a:b:x:c\" of option --modparam: type \"x\" is neither s (text) nor i (integer)",
            ),
            ("--substdef=/a/b", "bad value \"/a/b\" of option --substdef: /NAME/VALUE/ is needed"),
            ("-l udp:h:x", "bad value \"udp:h:x\" of option -l: \"x\" in \"udp:h:x\" is not a port"),
        ];
        for (words, message) in rows {
            assert_eq!(parse(words), Err(message.to_owned()), "{words}");
        }
        assert!(parse("--help=yes").is_err());
    }

    #[test]
    fn letters_decide_whether_it_leaves_the_terminal() {
        let rows = [
            ("", Attachment::Foreground),
            ("-f x", Attachment::Daemon),
            ("-f x -D", Attachment::Foreground),
            ("-f x -DD", Attachment::Foreground),
            ("-f x -DDD", Attachment::Daemon),
            ("-DDD", Attachment::Daemon),
        ];
        for (words, attachment) in rows {
            assert_eq!(parse(words).unwrap().attachment(), attachment, "{words}");
        }
    }

    #[test]
    fn every_flag_is_there_once_and_has_its_line_of_help() {
        let text = help();
        for (index, flag) in FLAGS.iter().enumerate() {
            assert!(!flag.documentation.is_empty());
            let others = &FLAGS[index + 1..];
            assert!(
                others.iter().all(|o| o.letter.is_none() || o.letter != flag.letter),
                "{}",
                flag.shown_name()
            );
            assert!(others.iter().all(|o| o.name.is_none() || o.name != flag.name), "{}", flag.shown_name());
            assert!(text.contains(&flag.shown_name()));
        }
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.starts_with("version: sworker "));
    }
}
