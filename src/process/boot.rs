//! From the command line to a running server: the order of start, as a list.
//!
//! ```text
//!  load the script ─► leave the terminal ─► directories, pid file ─► sockets ─► shared memory ─► control socket
//!      ─► limits ─► title, signals ─► root, user ─► master (forks)
//! ```
//!
//! Whatever can be refused is refused before the first child exists, and in words.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::command_line::{self, Attachment, CommandLine, Script, Task};
use super::confinement;
use super::control::internals;
use super::daemon::{self, Birth, NumberFile, Predecessor};
use super::heritage::{self, Heritage, Readiness};
use super::ledger::Ledger;
use super::master::{self, Master};
use super::quarantine::SetAside;
use super::reload_line::ReloadLine;
use super::replay;
use super::role::Role;
use super::service_manager::ServiceManager;
use super::upgrade::{Handover, Program};
use crate::core::instance;
use crate::core::load::{self, LoadRequest, Loaded, Rejected, ReportFormat, Root};
use crate::core::log::{Level, Log, Sink};
use crate::core::manual::{self, Part};
use crate::core::settings::listen::SystemResolver;
use crate::core::settings::{Overrides, Settings};
use crate::modules;
use crate::shm::{Counters, ProcessTable, Queues, ShmError, StatisticsError, StatisticsPublisher};
use crate::sip::branch::Secret;
use crate::sys::clock::realtime_ns;
use crate::sys::credentials::{self, Identity};
use crate::sys::process::{ProcessId, SingleThreaded};
use crate::sys::sandbox;
use crate::sys::session::{self, ErrorOutput};
use crate::sys::signal;
use crate::sys::title::Title;
use crate::sys::unix_socket;
use crate::transport::listener::{ListenError, Listeners};
use crate::transport::udp::UdpOptions;

/// The script that runs without `-f`.
pub const BUILT_IN_SCRIPT: &str = include_str!("default.cfg");

/// How long the process that was started by hand waits for a daemon's word.
const BIRTH_PATIENCE: Duration = Duration::from_secs(30);

/// Why the server does not start.
#[derive(Debug)]
pub enum StartError {
    /// The script has mistakes; all of them, ready to be printed.
    Script(String),
    /// A socket is not there.
    Listen(ListenError),
    /// There is nothing to listen on.
    NoListener,
    /// The queues could not be made.
    Queues(ShmError),
    /// The figures cannot be published.
    Statistics(StatisticsError),
    /// Commands cannot be answered.
    ControlSocket(PathBuf, io::Error),
    /// The pid file or a directory stands in the way; the reason is in words.
    Place(String),
    /// The system refused a step.
    Step(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Script(text) => write!(out, "the script has mistakes\n{}", text.trim_end()),
            StartError::Listen(error) => error.fmt(out),
            StartError::NoListener => {
                write!(out, "nothing to listen on: the script and -l name no UDP socket")
            }
            StartError::Queues(error) => error.fmt(out),
            StartError::Statistics(error) => error.fmt(out),
            StartError::ControlSocket(path, error) => {
                write!(out, "could not listen for commands at {}: {error}", path.display())
            }
            StartError::Place(reason) => write!(out, "{reason}"),
            StartError::Step(what, error) => write!(out, "could not {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

fn step(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::Step(what, error)
}

/// Does what the command line says; the exit status.
pub fn main(words: impl IntoIterator<Item = std::ffi::OsString>) -> i32 {
    let words: Vec<_> = words.into_iter().collect();
    let command_line = match CommandLine::parse(words.clone()) {
        Ok(command_line) => command_line,
        Err(error) => {
            eprintln!("sworkerd: error: {error}");
            return daemon::EXIT_FAILED;
        }
    };
    let done = match command_line.task {
        Task::Serve => serve(&command_line, words),
        Task::Check => check(&command_line),
        Task::Replay => replay(&command_line),
        Task::SelfTest => self_test(&command_line),
        Task::Options(form) => write_out(&form.text()),
        Task::PrintScript => print_script(&command_line),
        Task::Manual(part) => print_manual(&command_line, part),
        Task::Help => write_out(&command_line::help()),
        Task::Version => write_out(&format!("version: {}\n", command_line::version())),
        Task::Internals => {
            let rows = internals().into_iter().map(|(name, value)| format!("{name}: {value}\n"));
            write_out(&rows.collect::<String>())
        }
    };
    match done {
        Ok(status) => status,
        Err(StartError::Script(text)) => {
            eprint!("{text}");
            daemon::EXIT_FAILED
        }
        Err(error) => {
            eprintln!("sworkerd: error: {error}");
            daemon::EXIT_FAILED
        }
    }
}

/// To standard output. A reader that has read enough and left (`| head`) is no mistake.
fn write_out(text: &str) -> Result<i32, StartError> {
    match io::Write::write_all(&mut io::stdout().lock(), text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(step("write")(error)),
        _ => Ok(0),
    }
}

fn check(command_line: &CommandLine) -> Result<i32, StartError> {
    let report = load::examine(request(command_line)?, command_line.report_format.unwrap_or_default());
    let status = if report.is_good { 0 } else { daemon::EXIT_FAILED };
    if command_line.report_format == Some(ReportFormat::Json) {
        write_out(&report.text)?;
        return Ok(status);
    }
    eprint!("{}", report.text);
    if report.is_good {
        eprintln!("config file ok, exiting...");
    }
    Ok(status)
}

fn print_script(command_line: &CommandLine) -> Result<i32, StartError> {
    let printed = load::print_canonical(request(command_line)?).map_err(rejected)?;
    write_out(&printed)
}

fn print_manual(command_line: &CommandLine, part: Part) -> Result<i32, StartError> {
    let Some(name) = &command_line.manual_name else {
        return write_out(&manual::print(part, modules::MODULES));
    };
    match manual::print_one(part, modules::MODULES, name) {
        Ok(text) => write_out(&text),
        Err(near) => {
            let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
            Err(StartError::Place(format!("the manual has no \"{name}\" there{hint}")))
        }
    }
}

fn replay(command_line: &CommandLine) -> Result<i32, StartError> {
    let path = &command_line.replayed_file;
    let cannot = |reason: String| StartError::Place(format!("cannot replay {}: {reason}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| cannot(error.to_string()))?;
    let set_aside = SetAside::decode(&bytes).map_err(|unreadable| cannot(unreadable.to_string()))?;
    let mut loaded = load(command_line)?;
    eprint!("{}", loaded.remarks.concat());
    let addresses: Vec<_> = loaded.settings().listeners.iter().map(|listener| listener.address).collect();
    for (index, address) in (0..).zip(addresses) {
        loaded.registry.set_listener_address(index, address);
    }
    for death in &set_aside.deaths {
        eprintln!("sworkerd: {death}");
    }
    let log = Log::new(Sink::Stderr, loaded.settings().debug);
    replay::replay(Rc::new(loaded), &set_aside, Rc::new(log), &mut io::stdout().lock()).map_err(cannot)?;
    Ok(0)
}

/// Proves that children of each role cannot escape, under the user and in the run directory the server would have.
fn self_test(command_line: &CommandLine) -> Result<i32, StartError> {
    let loaded = load(command_line)?;
    let proof = SingleThreaded::prove().map_err(step("fork safely"))?;
    let settings = loaded.settings();
    let run_directory = run_directory(settings)?;
    let identity = identity(settings)?;
    if identity.is_change() {
        credentials::give_to(&run_directory, &identity).map_err(step("give files to the user"))?;
    }
    if let Some(root) = &settings.chroot {
        credentials::change_root(Path::new(root)).map_err(step("change the root directory"))?;
    }
    identity.assume().map_err(step("become another user"))?;
    limit_core_dumps(settings)?;
    let is_proven = confinement::prove(&proof, &run_directory).map_err(step("prove the sandbox"))?;
    Ok(if is_proven { 0 } else { EXIT_NOT_CONFINED })
}

/// Exit status of a self-test that failed.
const EXIT_NOT_CONFINED: i32 = 1;

/// Loads the script as the command line says, with what the command line decides over it.
pub(super) fn load(command_line: &CommandLine) -> Result<Loaded, StartError> {
    load::load(request(command_line)?).map_err(rejected)
}

fn rejected(Rejected { errors, remarks }: Rejected) -> StartError {
    StartError::Script(remarks.concat() + &errors.concat())
}

fn request(command_line: &CommandLine) -> Result<LoadRequest, StartError> {
    let root = match &command_line.script {
        Script::BuiltIn => Root::Text { name: "built-in script".to_owned(), text: BUILT_IN_SCRIPT.into() },
        Script::File(path) => Root::File(path.clone()),
        Script::StandardInput => {
            let mut text = Vec::new();
            io::Read::read_to_end(&mut io::stdin().lock(), &mut text).map_err(step("read the script"))?;
            Root::Text { name: "standard input".to_owned(), text }
        }
    };
    Ok(LoadRequest {
        root,
        defines: command_line.defines.clone(),
        substitutions: command_line.substitutions.clone(),
        modules: modules::MODULES,
        overrides: overrides(command_line),
        resolver: Box::new(SystemResolver),
    })
}

fn overrides(command_line: &CommandLine) -> Overrides {
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    Overrides {
        listen: command_line.listeners.clone(),
        aliases: command_line.aliases.clone(),
        children: command_line.receivers,
        debug: command_line.debug.map(i64::from),
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

fn serve(command_line: &CommandLine, words: Vec<OsString>) -> Result<i32, StartError> {
    let handover = Handover::of_environment().map_err(step("take over from the program before this one"))?;
    let predecessor = handover.as_ref().map(|handover| handover.predecessor);
    let program = Program::of_this_process(words).map_err(step("find this program"))?;
    let mut loaded = load(command_line)?;
    let proof = SingleThreaded::prove().map_err(step("fork safely"))?;
    let service_manager = ServiceManager::of_environment();
    let for_reloads = for_reloads(command_line)?;
    for notice in &command_line.notices {
        eprintln!("sworkerd: notice: {notice}");
    }
    eprint!("{}", loaded.remarks.concat());

    let attachment = command_line.attachment();
    let (birth, handed) = match (handover, attachment) {
        (Some(handover), _) => {
            let Handover { predecessor, generation, secret, commands, word, listeners } = handover;
            let listeners = Listeners::adopt(listeners).map_err(step("take over sockets"))?;
            let fixed = Handed { predecessor, generation, secret, commands: commands.into() };
            (Birth::awaited_by(word), Some((listeners, fixed)))
        }
        (None, Attachment::Foreground) => (Birth::in_foreground(), None),
        (None, Attachment::Daemon) => {
            (Birth::in_background(&proof, BIRTH_PATIENCE).map_err(step("leave the terminal"))?, None)
        }
    };
    let (adopted, handed) = handed.unzip();
    go_to_work_directory(loaded.settings(), command_line, attachment)?;
    let run_directory = run_directory(loaded.settings())?;
    let files = number_files(command_line, predecessor)?;
    let identity = identity(loaded.settings())?;
    let listeners = bind(loaded.settings(), &adopted.iter().collect::<Vec<_>>())?;
    // What the script does not name any more is closed.
    drop(adopted);
    for (index, listener) in listeners.iter() {
        loaded.registry.set_listener_address(index, listener.address());
    }
    let log = Rc::new(log(loaded.settings())?);
    let heritage = make_heritage(loaded, log, listeners, run_directory, handed)?;
    let title = prepare_process(&heritage, &proof, &identity, &files, predecessor.is_some())?;
    report(&heritage, attachment);
    if attachment == Attachment::Daemon {
        let is_stderr_used = heritage.loaded.settings().log_destination().is_stderr();
        let errors = if is_stderr_used { ErrorOutput::Kept } else { ErrorOutput::Silenced };
        session::silence_standard_streams(errors).map_err(step("silence standard streams"))?;
    }
    let commands = instance::control_socket(&heritage.run_directory);
    let master = Master::new(heritage, for_reloads, title, proof, birth, service_manager, program)
        .map_err(step("prepare supervision"))?;
    let end = master.run();
    if !end.is_succeeded {
        // Whoever may not remove it leaves it: a socket nobody listens to is replaced at the next start.
        let _ = std::fs::remove_file(commands);
    }
    Ok(end.status)
}

/// The command line as it is understood later: in another directory, and without standard input.
fn for_reloads(command_line: &CommandLine) -> Result<CommandLine, StartError> {
    let mut later = command_line.clone();
    if let Script::File(path) = &mut later.script {
        *path = std::path::absolute(&*path).map_err(step("find the script again"))?;
    }
    Ok(later)
}

/// Everything for the next generation of a running server, whose present ones are given. Nothing of theirs changes.
pub(super) fn renew(
    mut loaded: Loaded,
    former: &Heritage,
    elders: &[&Heritage],
) -> Result<Heritage, StartError> {
    let settings = loaded.settings();
    let log = Rc::new(log(settings)?);
    log.set_process(0, former.master.number() as u32);
    for remark in &loaded.remarks {
        log.say(Level::Warning, format_args!("{}", remark.trim_end()));
    }
    for name in fixed_differences(former.loaded.settings(), settings) {
        log.say(Level::Warning, format_args!("{name} stays as it is until the server is started again"));
    }
    let known: Vec<&Listeners> =
        [former].into_iter().chain(elders.iter().copied()).map(|heritage| &*heritage.listeners).collect();
    let listeners = bind(settings, &known)?;
    for (index, listener) in listeners.iter() {
        loaded.registry.set_listener_address(index, listener.address());
    }
    let settings = loaded.settings();
    let places = heritage::places(settings);
    let (group_count, place_count) = (settings.groups.len() as u32, places.len() as u32);
    let commands = former.commands.try_clone().map_err(step("share the control socket"))?;
    let generation = former.generation + 1;
    let fixed = Fixed {
        commands,
        run_directory: former.run_directory.clone(),
        secret: former.secret,
        started_at_ns: former.started_at_ns,
        generation,
    };
    // Last, as it is the only step that takes something away: the name under which the former one publishes.
    let publish =
        || former.statistics.replace(generation, group_count, place_count).map_err(StartError::Statistics);
    let heritage = share(loaded, log, listeners, places, fixed, publish)?;
    let registry = &heritage.loaded.registry;
    registry.carry_shared_values(&heritage.shared, &former.loaded.registry, &former.shared);
    Ok(heritage)
}

/// Names of settings that differ and are decided once for the life of a server.
fn fixed_differences(former: &Settings, settings: &Settings) -> Vec<&'static str> {
    let rows = [
        ("user", former.user == settings.user),
        ("group", former.group == settings.group),
        ("chroot", former.chroot == settings.chroot),
        ("workdir", former.workdir == settings.workdir),
        ("rundir", former.rundir == settings.rundir),
        ("open_files_limit", former.open_files_limit == settings.open_files_limit),
        ("disable_core_dump", former.is_core_dump_disabled == settings.is_core_dump_disabled),
    ];
    rows.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
}

/// A daemon works where it is told, or in the root; in the foreground we stay unless told otherwise.
fn go_to_work_directory(
    settings: &Settings,
    command_line: &CommandLine,
    attachment: Attachment,
) -> Result<(), StartError> {
    let is_told = command_line.work_directory.is_some() || settings.workdir != Settings::default().workdir;
    if !is_told && attachment == Attachment::Foreground {
        return Ok(());
    }
    std::env::set_current_dir(&settings.workdir).map_err(|error| {
        StartError::Place(format!("could not work in directory {}: {error}", settings.workdir))
    })
}

fn run_directory(settings: &Settings) -> Result<PathBuf, StartError> {
    let is_told = settings.rundir != Settings::default().rundir;
    let path = if is_told { PathBuf::from(&settings.rundir) } else { instance::default_run_directory() };
    daemon::prepare_run_directory(&path).map_err(StartError::Place)
}

/// Pid and group id files, if wanted; a living predecessor is respected.
fn number_files(
    command_line: &CommandLine,
    succeeded: Option<ProcessId>,
) -> Result<Vec<NumberFile>, StartError> {
    let mut files = Vec::new();
    if let Some(path) = &command_line.pid_file {
        if let Predecessor::Stale(pid) =
            NumberFile::predecessor(path, succeeded).map_err(StartError::Place)?
        {
            eprintln!(
                "sworkerd: warning: pid file {} names process {pid}, which is gone: replaced",
                path.display()
            );
        }
        files.push(write_number("pid file", path, ProcessId::own().number())?);
    }
    if let Some(path) = &command_line.group_id_file {
        files.push(write_number("group id file", path, session::process_group())?);
    }
    Ok(files)
}

fn write_number(what: &str, path: &Path, number: i32) -> Result<NumberFile, StartError> {
    NumberFile::write(path, number)
        .map_err(|reason| StartError::Place(format!("could not write {what} {reason}")))
}

fn identity(settings: &Settings) -> Result<Identity, StartError> {
    Identity::look_up(settings.user.as_deref(), settings.group.as_deref())
        .map_err(|error| StartError::Place(error.to_string()))
}

fn bind(settings: &Settings, before: &[&Listeners]) -> Result<Listeners, StartError> {
    if settings.listeners.is_empty() {
        return Err(StartError::NoListener);
    }
    let addresses: Vec<_> = settings.listeners.iter().map(|listener| listener.address).collect();
    let options = UdpOptions {
        receive_buffer_size: Some(receive_buffer_size(settings)),
        send_buffer_size: Some(settings.send_buffer_size_max as usize),
        type_of_service: settings.tos.map(u32::from),
        is_free_bind: settings.is_free_bind,
    };
    Listeners::renew(&addresses, &options, before).map_err(StartError::Listen)
}

/// Unless the script or `-b` says otherwise, room for what comes while receivers are being started again: 4 MiB are
/// some 3000 messages.
fn receive_buffer_size(settings: &Settings) -> usize {
    const USUAL: usize = 4 << 20;
    match settings.receive_buffer_size_max {
        untold if untold == Settings::default().receive_buffer_size_max => USUAL,
        told => told as usize,
    }
}

fn log(settings: &Settings) -> Result<Log, StartError> {
    let mut log = Log::open(&settings.log_destination(), settings.debug);
    log.share_level().map_err(step("make shared memory for the log"))?;
    log.set_facility(settings.log_facility);
    log.set_coloured(settings.log_color);
    Ok(log)
}

/// All shared memory and the control socket.
fn make_heritage(
    loaded: Loaded,
    log: Rc<Log>,
    listeners: Listeners,
    run_directory: PathBuf,
    handed: Option<Handed>,
) -> Result<Heritage, StartError> {
    let settings = loaded.settings();
    let places = heritage::places(settings);
    let (group_count, place_count) = (settings.groups.len() as u32, places.len() as u32);
    let name = instance::name(&run_directory);
    let socket = instance::control_socket(&run_directory);
    let listen = |path: &Path| {
        unix_socket::listen(path).map_err(|error| StartError::ControlSocket(path.to_owned(), error))
    };
    let predecessor = handed.as_ref().map(|handed| handed.predecessor);
    let (commands, secret, generation) = match handed {
        Some(handed) => (handed.commands, handed.secret, handed.generation + 1),
        None => (listen(&socket)?, Secret::new(random_key()?), 0),
    };
    let fixed = Fixed { commands, run_directory, secret, started_at_ns: realtime_ns(), generation };
    let publish = || {
        StatisticsPublisher::succeed(&name, generation, group_count, place_count, predecessor)
            .map_err(StartError::Statistics)
    };
    share(loaded, log, listeners, places, fixed, publish)
}

/// What a program before this one left, besides sockets.
struct Handed {
    predecessor: ProcessId,
    generation: u64,
    secret: Secret,
    commands: UnixListener,
}

/// What stays the same from one generation to the next, but for its number.
struct Fixed {
    commands: UnixListener,
    run_directory: PathBuf,
    secret: Secret,
    started_at_ns: u64,
    generation: u64,
}

/// The shared memory of one generation.
fn share(
    loaded: Loaded,
    log: Rc<Log>,
    listeners: Listeners,
    places: Vec<Role>,
    fixed: Fixed,
    publish: impl FnOnce() -> Result<StatisticsPublisher, StartError>,
) -> Result<Heritage, StartError> {
    let settings = loaded.settings();
    let count = places.len() as u32;
    let counter_count = loaded.registry.counters().len() as u32;
    Ok(Heritage {
        queues: Queues::create(&heritage::queue_plan(settings, &places)).map_err(StartError::Queues)?,
        receive_memory: heritage::receive_memory(settings, &places)
            .map_err(step("make shared memory for receivers"))?,
        counters: Counters::create(count, counter_count).map_err(step("make shared memory for counters"))?,
        ledger: Ledger::create(counter_count, settings.groups.len() as u32)
            .map_err(step("make shared memory for totals"))?,
        shared: loaded.registry.shared_state(count).map_err(step("make shared memory for values"))?,
        processes: ProcessTable::create(count).map_err(step("make shared memory for processes"))?,
        readiness: Readiness::new().map_err(step("make a pipe"))?,
        reload_line: ReloadLine::new().map_err(step("make a line for reloads"))?,
        commands: fixed.commands,
        generation: fixed.generation,
        statistics: publish()?,
        loaded: Rc::new(loaded),
        log,
        listeners: Rc::new(listeners),
        places,
        run_directory: fixed.run_directory,
        secret: fixed.secret,
        master: ProcessId::own(),
        started_at_ns: fixed.started_at_ns,
    })
}

fn random_key() -> Result<[u8; 16], StartError> {
    let mut key = [0; 16];
    getrandom::fill(&mut key)
        .map_err(|error| StartError::Step("draw a random key", io::Error::other(error.to_string())))?;
    Ok(key)
}

/// Limits, title, signals; then root directory and user are given up for good.
fn prepare_process(
    heritage: &Heritage,
    proof: &SingleThreaded,
    identity: &Identity,
    files: &[NumberFile],
    is_heir: bool,
) -> Result<Title, StartError> {
    let settings = heritage.loaded.settings();
    if let Some(count) = settings.open_files_limit {
        let allowed = credentials::limit_open_files(count).map_err(step("limit open files"))?;
        if allowed < count {
            heritage
                .log
                .say(Level::Warning, format_args!("{allowed} open files are allowed instead of {count}"));
        }
    }
    let mut title = Title::take_over(proof).map_err(step("prepare the title"))?;
    // A title that cannot be shown is a flaw and no reason not to serve.
    let _ = title.show(&format!("sworkerd: {}", Role::Master), Role::Master.rules().short_name);
    heritage.log.set_process(0, heritage.master.number() as u32);
    signal::block(&master::SIGNALS).map_err(step("hold back signals"))?;
    // An heir is born with the root and the user that its predecessor chose.
    if !is_heir {
        become_user(heritage, identity, files)?;
    }
    limit_core_dumps(settings)?;
    credentials::forbid_new_rights().map_err(step("give up gaining rights"))?;
    if settings.is_sandboxed {
        sandbox::keep_binding_ports().map_err(step("give up capabilities"))?;
    }
    tell_confinement(heritage);
    Ok(title)
}

fn limit_core_dumps(settings: &Settings) -> Result<(), StartError> {
    match settings.is_core_dump_disabled {
        true => credentials::forbid_core_dumps().map_err(step("forbid core dumps")),
        false => credentials::allow_core_dumps().map_err(step("allow core dumps")),
    }
}

/// Says once what is missing, not once for each child.
fn tell_confinement(heritage: &Heritage) {
    if !heritage.loaded.settings().is_sandboxed {
        heritage.log.say(Level::Warning, format_args!("children are not confined: sandbox=no"));
    } else if !sandbox::can_restrict_files() {
        let text = "this kernel has no Landlock: children see all files of their user";
        heritage.log.say(Level::Notice, format_args!("{text}"));
    }
}

fn become_user(heritage: &Heritage, identity: &Identity, files: &[NumberFile]) -> Result<(), StartError> {
    let settings = heritage.loaded.settings();
    if identity.is_change() {
        let socket = instance::control_socket(&heritage.run_directory);
        let owned = [heritage.run_directory.as_path(), &socket].into_iter();
        for path in owned.chain(files.iter().map(NumberFile::path)) {
            credentials::give_to(path, identity).map_err(step("give files to the user"))?;
        }
        let figures = instance::published_figures(&heritage.run_directory);
        credentials::give_to(&figures, identity).map_err(step("give the figures to the user"))?;
    }
    if let Some(root) = &settings.chroot {
        credentials::change_root(Path::new(root)).map_err(step("change the root directory"))?;
    }
    identity.assume().map_err(step("become another user"))
}

/// What an operator wants to see at a start.
fn report(heritage: &Heritage, attachment: Attachment) {
    let text = report_text(heritage.loaded.settings(), &heritage.places, heritage.master, attachment);
    // Somebody may have closed the other end; then nobody wants to see it.
    let mut out = io::stdout().lock();
    let _ = io::Write::write_all(&mut out, text.as_bytes());
    let _ = io::Write::flush(&mut out);
}

fn report_text(settings: &Settings, places: &[Role], master: ProcessId, attachment: Attachment) -> String {
    let mut text = format!("{}, master process {master}\nListening on\n", command_line::version());
    for listener in &settings.listeners {
        text.push_str(&format!("{INDENT}{}: {}\n", listener.transport.name(), listener.address));
    }
    text.push_str("Receivers\n");
    for (index, listener) in (0..).zip(&settings.listeners) {
        let is_its = |role: &&Role| matches!(role, Role::Receiver { listener, .. } if *listener == index);
        let count = places.iter().filter(is_its).count();
        text.push_str(&format!("{INDENT}{count} on {}:{}\n", listener.transport.name(), listener.address));
    }
    text.push_str("Groups of workers\n");
    if settings.groups.is_empty() {
        text.push_str(&format!("{INDENT}none: receivers process everything themselves\n"));
    }
    for group in &settings.groups {
        let (name, workers, queue) = (&group.name, group.workers, group.queue);
        text.push_str(&format!("{INDENT}{name}: {workers} workers, queue of {queue} for each receiver\n"));
    }
    if let (Attachment::Foreground, Some(listener)) = (attachment, settings.listeners.first()) {
        text.push_str(&format!("Try it: sipsak -vv -s sip:test@{}\n", listener.address));
    }
    text
}

/// As wide as what operators of such servers are used to.
const INDENT: &str = "             ";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a master would leave to its children, for one script. Nobody is forked.
    pub struct Scene {
        pub heritage: Heritage,
        _folder: tempfile::TempDir,
    }

    impl Scene {
        pub fn new(script: &str) -> Scene {
            let root = Root::Text { name: "test.cfg".to_owned(), text: script.into() };
            let mut loaded = load::load(LoadRequest::new(root, modules::MODULES))
                .unwrap_or_else(|rejected| panic!("{}", rejected.errors.concat()));
            let listeners = bind(loaded.settings(), &[]).unwrap();
            for (index, listener) in listeners.iter() {
                loaded.registry.set_listener_address(index, listener.address());
            }
            let folder = tempfile::tempdir().unwrap();
            let log = Rc::new(Log::to_nowhere());
            let heritage = make_heritage(loaded, log, listeners, folder.path().to_owned(), None).unwrap();
            Scene { heritage, _folder: folder }
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            self.heritage.statistics.unlink();
        }
    }

    fn command_line(words: &str) -> CommandLine {
        CommandLine::parse(words.split_ascii_whitespace().map(Into::into)).unwrap()
    }

    #[test]
    fn the_built_in_script_is_without_reproach() {
        let loaded = load(&command_line("")).map_err(|error| error.to_string()).unwrap();
        assert_eq!(loaded.remarks, Vec::<String>::new());
        let groups: Vec<_> = loaded.settings().groups.iter().map(|group| group.name.as_str()).collect();
        assert!(groups.contains(&"calls") && groups.contains(&"registrations"), "{groups:?}");
        assert_eq!(loaded.settings().listeners[0].address.to_string(), "127.0.0.1:5060");
    }

    #[test]
    fn the_command_line_reaches_the_settings() {
        let words =
            "-l udp:127.0.0.1:5099 -n 3 -ddd -E -u root -g root -w /tmp -Y /tmp/run -b 1000 -B 2000 -K";
        let settings = load(&command_line(words)).map_err(|error| error.to_string()).unwrap();
        let settings = settings.settings();
        assert!(settings.listeners.iter().any(|one| one.address.port() == 5099));
        assert_eq!((settings.children, settings.debug), (3, Level::Debug));
        assert!(settings.log_stderror && settings.check_via);
        assert_eq!((settings.workdir.as_str(), settings.rundir.as_str()), ("/tmp", "/tmp/run"));
        assert_eq!((settings.receive_buffer_size_max, settings.send_buffer_size_max), (1000, 2000));
        assert_eq!((settings.user.as_deref(), settings.group.as_deref()), (Some("root"), Some("root")));
    }

    #[test]
    fn mistakes_of_a_start_are_told_with_their_reason() {
        let missing = load(&command_line("-f /nowhere/x.cfg")).map(|_| ()).unwrap_err();
        assert!(missing.to_string().contains("could not open /nowhere/x.cfg: no such file"), "{missing}");

        let directory = Settings { rundir: "/proc/nowhere".to_owned(), ..Settings::default() };
        let refused = run_directory(&directory).unwrap_err().to_string();
        assert!(refused.starts_with("cannot use run directory /proc/nowhere: "), "{refused}");

        let nobody = Settings { user: Some("no-such-user".to_owned()), ..Settings::default() };
        let unknown = identity(&nobody).unwrap_err().to_string();
        assert_eq!(unknown, "there is no user \"no-such-user\" on this system");

        let nothing = bind(&Settings::default(), &[]).map(|_| ()).unwrap_err().to_string();
        assert_eq!(nothing, "nothing to listen on: the script and -l name no UDP socket");
    }

    #[test]
    fn a_start_reports_ports_groups_and_how_to_try_it() {
        let scene = Scene::new(
            "listen=udp:127.0.0.1:0\nchildren=2\nasync_workers_group=\"name=calls;workers=3;queue=64\"\n\
             request_route { exit; }\n",
        );
        let Heritage { loaded, places, master, .. } = &scene.heritage;
        let text = report_text(loaded.settings(), places, *master, Attachment::Foreground);
        let address = scene.heritage.listeners.udp(0).unwrap().address();
        assert_ne!(address.port(), 0);
        for line in [
            format!("{INDENT}udp: {address}\n"),
            format!("{INDENT}2 on udp:{address}\n"),
            format!("{INDENT}calls: 3 workers, queue of 64 for each receiver\n"),
            format!("Try it: sipsak -vv -s sip:test@{address}\n"),
        ] {
            assert!(text.contains(&line), "no {line:?} in\n{text}");
        }
        assert!(!report_text(loaded.settings(), places, *master, Attachment::Daemon).contains("Try it"));
    }
}
