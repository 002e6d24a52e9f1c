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

use super::command_line::{self, Attachment, CommandLine, Task};
use super::confinement;
use super::daemon::{self, Birth};
use super::memory;
use super::replay;
use super::script_source::ScriptSource;
use super::service_manager::ServiceManager;
use crate::bindings::load::{self, LoadRequest, Loaded, Rejected, ReportFormat};
use crate::bindings::manual::{self, Part};
use crate::config::instance;
use crate::config::settings::Settings;
use crate::config::sources::Reading;
use crate::flows::{self, ReportForm};
use crate::modules;
use crate::process::channel::Channel;
use crate::process::heritage;
use crate::process::heritage::{Fixed, Heritage};
use crate::process::master;
use crate::process::master::{Beginning, Master};
use crate::process::roles::control::internals;
use crate::process::roles::quarantine::{Quarantine, SetAside};
use crate::process::roles::role::Role;
use crate::process::start::pid_file::{NumberFile, Predecessor};
use crate::process::start::published_names::Names;
use crate::process::succession::handover::Handover;
use crate::process::succession::successor::Succession;
use crate::process::succession::upgrade::Program;
use crate::shm::proof::failpoint;
use crate::shm::proof::failpoint::FailpointError;
use crate::shm::{StatisticsError, StatisticsPublisher};
use crate::sip::branch::Secret;
use crate::state::parts::{HandedPart, LastingParts, PartError, PartPlan, Parts};
use crate::state::shared::SharedState;
use crate::state::values::SharedValues;
use crate::sys::clock::realtime_ns;
use crate::sys::credentials::{self, Identity};
use crate::sys::process::{ProcessId, SingleThreaded};
use crate::sys::resolver;
use crate::sys::sandbox;
use crate::sys::session::{self, ErrorOutput};
use crate::sys::signal::{self, Signal};
use crate::sys::title::Title;
use crate::sys::unix_socket;
use crate::telemetry::log::{Level, Log, Sink};
use crate::transport::listener::{ListenError, Listeners};
use crate::transport::udp::UdpOptions;

/// How long the process that was started by hand waits for a daemon's word.
const BIRTH_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the server does not start.
#[derive(Debug)]
pub(in crate::process) enum StartError {
    /// The script has mistakes; all of them, ready to be printed.
    Script(String),
    /// A socket is not there.
    Listen(ListenError),
    /// There is nothing to listen on.
    NoListener,
    /// Shared memory could not be made.
    Parts(PartError),
    /// The figures cannot be published.
    Statistics(StatisticsError),
    /// Commands cannot be answered.
    ControlSocket(PathBuf, io::Error),
    /// The pid file or a directory stands in the way; the reason is in words.
    Place(String),
    /// `SWORKER_FAIL` asks for what there is not.
    Failpoints(FailpointError),
    /// The system refused a step.
    Step(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Script(text) => write!(out, "the script has errors\n{}", text.trim_end()),
            StartError::Listen(error) => error.fmt(out),
            StartError::NoListener => {
                write!(out, "nothing to listen on: the script and -l name no UDP socket")
            }
            StartError::Parts(error) => error.fmt(out),
            StartError::Statistics(error) => error.fmt(out),
            StartError::ControlSocket(path, error) => {
                write!(out, "could not open the control socket {}: {error}", path.display())
            }
            StartError::Failpoints(error) => error.fmt(out),
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
    if let Ok(proof) = SingleThreaded::prove() {
        resolver::shorten_lookups(&proof);
    }
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
        Task::Test => flows::run(&command_line.test_request()).map_err(step("run flows")),
        Task::SelfTest => self_test(&command_line),
        Task::Options(form) => write_out(&form.text()),
        Task::PrintScript => print_script(&command_line),
        Task::Memory => print_memory(&command_line),
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
    let is_json = command_line.report_format == Some(ReportForm::Json);
    let format = if is_json { ReportFormat::Json } else { ReportFormat::Text };
    let report = load::examine(request(command_line)?, format);
    let status = if report.is_good { 0 } else { daemon::EXIT_FAILED };
    if is_json {
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
        Err(missing) => Err(StartError::Place(missing)),
    }
}

/// What shared memory a server with this script would have; nothing of it is made.
fn print_memory(command_line: &CommandLine) -> Result<i32, StartError> {
    let loaded = load(command_line)?;
    eprint!("{}", loaded.remarks.concat());
    let places = heritage::places(loaded.settings(), loaded.registry.delayed_max());
    let plan = heritage::part_plan(&loaded, &places, 0);
    write_out(&memory::table(&plan).map_err(StartError::Parts)?)
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
        credentials::give_to(&run_directory, &identity).map_err(step("change the owner of files"))?;
    }
    if let Some(root) = &settings.chroot {
        credentials::change_root(Path::new(root)).map_err(step("change the root directory"))?;
    }
    identity.assume().map_err(step("switch to another user"))?;
    limit_core_dumps(settings)?;
    let is_proven = confinement::prove(&proof, &run_directory).map_err(step("run the self-test"))?;
    Ok(if is_proven { 0 } else { EXIT_NOT_CONFINED })
}

/// Exit status of a self-test that failed.
const EXIT_NOT_CONFINED: i32 = 1;

fn load(command_line: &CommandLine) -> Result<Loaded, StartError> {
    source(command_line, None)?.load().map_err(rejected)
}

fn request(command_line: &CommandLine) -> Result<LoadRequest, StartError> {
    Ok(source(command_line, None)?.request(Reading::World))
}

/// Where the script is. What came on standard input once is not there a second time: `handed` is what it was.
fn source(command_line: &CommandLine, handed: Option<Vec<u8>>) -> Result<ScriptSource, StartError> {
    ScriptSource::of(command_line, handed).map_err(step("read the script"))
}

pub(in crate::process) fn rejected(Rejected { errors, remarks }: Rejected) -> StartError {
    StartError::Script(remarks.concat() + &errors.concat())
}

fn serve(command_line: &CommandLine, words: Vec<OsString>) -> Result<i32, StartError> {
    let handover = Handover::of_environment().map_err(step("take over from the previous program"))?;
    let (succession, handed) = handover.map(Handed::split).transpose()?.unzip();
    let line =
        succession.as_ref().map(Succession::share).transpose().map_err(step("create a socket pair"))?;
    let master = prepare(command_line, words, succession, handed).inspect_err(|error| {
        if let Some(line) = &line {
            line.give_up(&error.to_string());
        }
    })?;
    drop(line);
    Ok(master.run())
}

/// Everything up to the first fork of a child.
fn prepare(
    command_line: &CommandLine,
    words: Vec<OsString>,
    succession: Option<Succession>,
    mut handed: Option<Handed>,
) -> Result<Master, StartError> {
    let predecessor = handed.as_ref().map(|handed| handed.predecessor);
    let program = Program::of_this_process(words).map_err(step("find the executable of this program"))?;
    let script = source(command_line, handed.as_mut().and_then(|handed| handed.script.take()))?;
    let mut loaded = script.load().map_err(rejected)?;
    let script = script.made_absolute().map_err(step("find the path of the script"))?;
    let proof = SingleThreaded::prove().map_err(step("fork safely"))?;
    failpoint::arm_from_environment().map_err(StartError::Failpoints)?;
    let service_manager = ServiceManager::of_environment();
    for notice in &command_line.notices {
        eprintln!("sworkerd: notice: {notice}");
    }
    eprint!("{}", loaded.remarks.concat());

    let attachment = command_line.attachment();
    let birth = match (predecessor, attachment) {
        (None, Attachment::Daemon) => {
            Birth::in_background(&proof, BIRTH_TIMEOUT).map_err(step("detach from the terminal"))?
        }
        (Some(_), _) | (None, Attachment::Foreground) => Birth::in_foreground(),
    };
    go_to_work_directory(loaded.settings(), command_line, attachment)?;
    let run_directory = run_directory(loaded.settings())?;
    let files = number_files(command_line, predecessor)?;
    let identity = identity(loaded.settings())?;
    let before: Vec<_> = handed.iter().map(|handed| &handed.listeners).collect();
    let listeners = bind(loaded.settings(), &before)?;
    for (index, listener) in listeners.iter() {
        loaded.registry.set_listener_address(index, listener.address());
    }
    let log = Rc::new(log(loaded.settings())?);
    // What the script does not name any more is closed with the rest of what was handed over.
    let heritage = make_heritage(loaded, log, listeners, run_directory, handed)?;
    let names = names(&heritage, files, predecessor)?;
    let title = prepare_process(&heritage, &proof, &identity, &names, predecessor.is_some())?;
    if command_line.is_trial && predecessor.is_none() {
        session::set_parent_death_signal(Signal::SIGKILL).map_err(step("end with the parent"))?;
    }
    report(&heritage, attachment);
    if attachment == Attachment::Daemon {
        let is_stderr_used = heritage.loaded.settings().log_destination().is_stderr();
        let errors = if is_stderr_used { ErrorOutput::Kept } else { ErrorOutput::Silenced };
        session::silence_standard_streams(errors).map_err(step("redirect standard streams"))?;
    }
    let beginning =
        Beginning { heritage, script, title, proof, birth, succession, names, service_manager, program };
    Master::new(beginning).map_err(step("prepare the supervision of processes"))
}

/// Those of a server without a predecessor are taken at once, as far as they are not already.
fn names(
    heritage: &Heritage,
    files: Vec<NumberFile>,
    predecessor: Option<ProcessId>,
) -> Result<Names, StartError> {
    let socket = instance::control_socket(&heritage.run_directory);
    if predecessor.is_some() {
        return Ok(Names::prepared(files, socket));
    }
    let mut names = Names::taken(files, socket);
    match names.take(&heritage.statistics).into_iter().next() {
        Some(refused) => Err(StartError::Place(refused)),
        None => Ok(names),
    }
}

/// Everything for the next generation of a running server, whose present ones are given. Nothing of theirs changes.
pub(in crate::process) fn renew(
    mut loaded: Loaded,
    present: &Heritage,
    draining: &[&Heritage],
) -> Result<Heritage, StartError> {
    let settings = loaded.settings();
    let log = Rc::new(log(settings)?);
    log.set_process(0, present.fixed.master.number() as u32);
    for remark in &loaded.remarks {
        log.say_lines(Level::Warning, remark);
    }
    for name in fixed_differences(present.loaded.settings(), settings) {
        log.say(Level::Warning, format_args!("{name} stays as it is until the server is started again"));
    }
    let known: Vec<&Listeners> =
        [present].into_iter().chain(draining.iter().copied()).map(|heritage| &*heritage.listeners).collect();
    let listeners = bind(settings, &known)?;
    for (index, listener) in listeners.iter() {
        loaded.registry.set_listener_address(index, listener.address());
    }
    let settings = loaded.settings();
    let places = heritage::places(settings, loaded.registry.delayed_max());
    let (group_count, place_count) = (settings.groups.len() as u32, places.len() as u32);
    let commands = present.commands.try_clone().map_err(step("share the control socket"))?;
    let fixed = Fixed { generation: present.fixed.generation + 1, ..present.fixed.clone() };
    let generation = fixed.generation;
    let kept = Kept { commands, run_directory: present.run_directory.clone(), fixed };
    let name = instance::name(&present.run_directory);
    // The present generation publishes under the name until this one serves.
    let publish = || {
        StatisticsPublisher::prepare(&name, generation, group_count, place_count)
            .map_err(StartError::Statistics)
    };
    let lasting = |plan: &PartPlan, log: &Log| {
        plan.carry(&present.parts.lasting, &mut |text| log.say(Level::Notice, format_args!("{text}")))
    };
    share(loaded, log, listeners, places, kept, lasting, publish)
}

/// Names of settings that differ and are decided once for the life of a server.
fn fixed_differences(present: &Settings, settings: &Settings) -> Vec<&'static str> {
    let rows = [
        ("user", present.user == settings.user),
        ("group", present.group == settings.group),
        ("chroot", present.chroot == settings.chroot),
        ("workdir", present.workdir == settings.workdir),
        ("rundir", present.rundir == settings.rundir),
        ("open_files_limit", present.open_files_limit == settings.open_files_limit),
        ("disable_core_dump", present.is_core_dump_disabled == settings.is_core_dump_disabled),
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
        StartError::Place(format!("could not change to working directory {}: {error}", settings.workdir))
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
            eprintln!("sworkerd: warning: replaced stale pid file {}: process {pid} is gone", path.display());
        }
        files.push(write_number("pid file", path, ProcessId::own().number())?);
    }
    if let Some(path) = &command_line.group_id_file {
        files.push(write_number("group id file", path, session::process_group())?);
    }
    Ok(files)
}

fn write_number(what: &str, path: &Path, number: i32) -> Result<NumberFile, StartError> {
    NumberFile::prepare(path, number)
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
    let places = heritage::places(settings, loaded.registry.delayed_max());
    let (group_count, place_count) = (settings.groups.len() as u32, places.len() as u32);
    let name = instance::name(&run_directory);
    let socket = instance::control_socket(&run_directory);
    let listen = |path: &Path| {
        unix_socket::listen(path).map_err(|error| StartError::ControlSocket(path.to_owned(), error))
    };
    let is_successor = handed.is_some();
    let (commands, secret, generation, parts) = match handed {
        Some(handed) => (handed.commands, handed.secret, handed.generation + 1, Some(handed.parts)),
        None => (listen(&socket)?, Secret::new(random_key()?), 0, None),
    };
    if !is_successor {
        // The socket for commands is ours: no other server works in this directory.
        Quarantine::in_run_directory(&run_directory).sweep();
    }
    let fixed = Fixed { generation, secret, master: ProcessId::own(), started_at_ns: realtime_ns() };
    let kept = Kept { commands, run_directory, fixed };
    let publish = || {
        let publish = if is_successor { StatisticsPublisher::prepare } else { StatisticsPublisher::create };
        publish(&name, generation, group_count, place_count).map_err(StartError::Statistics)
    };
    let lasting = |plan: &PartPlan, log: &Log| match parts {
        Some(parts) => {
            let said = &mut |text: String| log.say(Level::Notice, format_args!("{text}"));
            let adopted = plan.adopt(parts, said)?;
            plan.carry(&adopted, said)
        }
        None => plan.make_lasting(),
    };
    share(loaded, log, listeners, places, kept, lasting, publish)
}

/// What a program before this one left.
struct Handed {
    predecessor: ProcessId,
    generation: u64,
    secret: Secret,
    commands: UnixListener,
    listeners: Listeners,
    script: Option<Vec<u8>>,
    parts: Vec<HandedPart>,
}

impl Handed {
    fn split(handover: Handover) -> Result<(Succession, Handed), StartError> {
        let Handover { predecessor, generation, secret, commands, line, listeners, script, parts } = handover;
        let succession = Succession::new(line);
        let listeners = Listeners::adopt(listeners)
            .map_err(step("take over sockets"))
            .inspect_err(|error| succession.give_up(&error.to_string()))?;
        let commands = commands.into();
        Ok((succession, Handed { predecessor, generation, secret, commands, listeners, script, parts }))
    }
}

/// What stays the same from one generation to the next, but for its number.
struct Kept {
    commands: UnixListener,
    run_directory: PathBuf,
    fixed: Fixed,
}

/// The shared memory of one generation.
fn share(
    loaded: Loaded,
    log: Rc<Log>,
    listeners: Listeners,
    places: Vec<Role>,
    kept: Kept,
    lasting: impl FnOnce(&PartPlan, &Log) -> Result<LastingParts, PartError>,
    publish: impl FnOnce() -> Result<StatisticsPublisher, StartError>,
) -> Result<Heritage, StartError> {
    let plan = heritage::part_plan(&loaded, &places, kept.fixed.generation);
    let parts = plan.make(lasting(&plan, &log).map_err(StartError::Parts)?).map_err(StartError::Parts)?;
    Ok(Heritage {
        shared: shared_state(&loaded, &parts, kept.fixed.generation)
            .map_err(step("set the first shared values"))?,
        parts,
        channel: Channel::new().map_err(step("create the socket pair of the processes"))?,
        commands: kept.commands,
        statistics: publish()?,
        loaded: Rc::new(loaded),
        log,
        listeners: Rc::new(listeners),
        places,
        run_directory: kept.run_directory,
        fixed: kept.fixed,
    })
}

/// The values, locks and the word about overload, as this script knows them.
fn shared_state(loaded: &Loaded, parts: &Parts, generation: u64) -> io::Result<SharedState> {
    let names = loaded.registry.shared_names();
    let (values, settings) = (parts.lasting.values.clone(), parts.settings.clone());
    let shared = SharedState {
        values: SharedValues::of(names, values, settings, generation)?,
        locks: parts.locks.clone(),
        overload: parts.overload.clone(),
    };
    loaded.registry.begin_shared(&shared)?;
    Ok(shared)
}

fn random_key() -> Result<[u8; 16], StartError> {
    let mut key = [0; 16];
    getrandom::fill(&mut key)
        .map_err(|error| StartError::Step("generate a random key", io::Error::other(error.to_string())))?;
    Ok(key)
}

/// Limits, title, signals; then root directory and user are given up for good.
fn prepare_process(
    heritage: &Heritage,
    proof: &SingleThreaded,
    identity: &Identity,
    names: &Names,
    is_successor: bool,
) -> Result<Title, StartError> {
    let settings = heritage.loaded.settings();
    if let Some(count) = settings.open_files_limit {
        let allowed = credentials::limit_open_files(count).map_err(step("limit open files"))?;
        if allowed < count {
            heritage
                .log
                .say(Level::Warning, format_args!("open files limit is {allowed} instead of {count}"));
        }
    }
    let mut title = Title::take_over(proof).map_err(step("prepare the title"))?;
    // A title that cannot be shown is a flaw and no reason not to serve.
    let _ = title.show(&format!("sworkerd: {}", Role::Master), Role::Master.rules().short_name);
    heritage.log.set_process(0, heritage.fixed.master.number() as u32);
    signal::block(&master::SIGNALS).map_err(step("block signals"))?;
    // A successor is born with the root and the user that its predecessor chose.
    if !is_successor {
        become_user(heritage, identity, names)?;
    }
    limit_core_dumps(settings)?;
    credentials::forbid_new_rights().map_err(step("set no_new_privs"))?;
    if settings.is_sandboxed {
        sandbox::keep_binding_ports().map_err(step("drop capabilities"))?;
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
        let text = "this kernel has no Landlock: child processes can access all files of their user";
        heritage.log.say(Level::Notice, format_args!("{text}"));
    }
}

fn become_user(heritage: &Heritage, identity: &Identity, names: &Names) -> Result<(), StartError> {
    let settings = heritage.loaded.settings();
    if identity.is_change() {
        for path in [heritage.run_directory.as_path()].into_iter().chain(names.paths()) {
            credentials::give_to(path, identity).map_err(step("change the owner of files"))?;
        }
        let figures = instance::published_figures(&heritage.run_directory);
        credentials::give_to(&figures, identity).map_err(step("change the owner of the statistics"))?;
    }
    if let Some(root) = &settings.chroot {
        credentials::change_root(Path::new(root)).map_err(step("change the root directory"))?;
    }
    identity.assume().map_err(step("switch to another user"))
}

/// What an operator wants to see at a start.
fn report(heritage: &Heritage, attachment: Attachment) {
    let text = report_text(heritage.loaded.settings(), &heritage.places, heritage.fixed.master, attachment);
    // The other end may be closed; then the text is of no use.
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
pub(in crate::process) mod tests {
    use super::*;
    use crate::bindings::load::Root;

    /// What a master would leave to its children, for one script. No process is forked.
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
    fn mistakes_of_a_start_are_told_with_their_reason() {
        let missing = load(&command_line("-f /nowhere/x.cfg")).map(|_| ()).unwrap_err();
        assert!(missing.to_string().contains("could not open /nowhere/x.cfg: no such file"), "{missing}");

        let directory = Settings { rundir: "/proc/nowhere".to_owned(), ..Settings::default() };
        let refused = run_directory(&directory).unwrap_err().to_string();
        assert!(refused.starts_with("cannot use run directory /proc/nowhere: "), "{refused}");

        let nobody = Settings { user: Some("no-such-user".to_owned()), ..Settings::default() };
        let unknown = identity(&nobody).unwrap_err().to_string();
        assert_eq!(unknown, "unknown user \"no-such-user\" on this system");

        let nothing = bind(&Settings::default(), &[]).map(|_| ()).unwrap_err().to_string();
        assert_eq!(nothing, "nothing to listen on: the script and -l name no UDP socket");
    }

    #[test]
    fn a_start_reports_ports_groups_and_how_to_try_it() {
        let scene = Scene::new(
            "listen=udp:127.0.0.1:0\nchildren=2\nasync_workers_group=\"name=calls;workers=3;queue=64\"\n\
             request_route { exit; }\n",
        );
        let Heritage { loaded, places, fixed, .. } = &scene.heritage;
        let text = report_text(loaded.settings(), places, fixed.master, Attachment::Foreground);
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
        assert!(!report_text(loaded.settings(), places, fixed.master, Attachment::Daemon).contains("Try it"));
    }
}
