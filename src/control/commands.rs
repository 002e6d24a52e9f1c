//! The commands, one row each.

use std::cell::RefCell;

use serde_json::{Value, json};

use super::counter_commands;
use super::protocol::{self, CommandError, Request};
use super::setting_commands::{self, PendingChange, SettingRow};
use crate::bindings::command::{CommandEntry, CommandRow};
use crate::script::suggest::nearest;
use crate::shm::{GroupStatistics, Histogram};

/// What commands may ask the server they run in. Nothing here waits for another process.
pub trait Server {
    /// Name and version: `sworker 0.1.0 (x86_64/linux)`.
    fn version(&self) -> String;
    /// When the server was started, in seconds since 1970.
    fn started_at_s(&self) -> u64;
    /// The clock, in seconds since 1970.
    fn now_s(&self) -> u64;
    /// Every process that lives.
    fn processes(&self) -> Vec<ListedProcess>;
    /// The figures of every group.
    fn groups(&self) -> Vec<GroupStatistics>;
    /// What the figures of each group do not tell, in the same order.
    fn group_states(&self) -> Vec<GroupState>;
    /// How often the configuration was changed, and how many former generations of processes are finishing.
    fn generation(&self) -> (u64, u64);
    /// Reads the script again and changes to it; the words are for the operator. The only request that is waited for,
    /// for a few seconds at most.
    fn reload(&self) -> Result<String, String>;
    /// Every counter with its value: `room.thing_past`.
    fn counters(&self) -> Vec<(String, u64)>;
    /// What a counter counts.
    fn counter_help(&self, name: &str) -> Option<String>;
    /// Begins a counter at 0.
    fn reset_counter(&self, name: &str);
    /// Every setting that can change while the server runs.
    fn settings(&self) -> Vec<SettingRow>;
    /// Changes one, in every process; the value is of its kind.
    fn change_setting(&self, group: &str, name: &str, value: &Value) -> Result<(), String>;
    /// Changes that wait for `cfg.commit`.
    fn waiting_changes(&self) -> &RefCell<Vec<PendingChange>>;
    /// What the server was built with, name and value.
    fn internals(&self) -> Vec<(String, String)>;
    /// The level up to which lines of the log are written, -5 to 3.
    fn log_level(&self) -> i64;
    /// Changes it in every process.
    fn set_log_level(&self, level: i64);
    /// Asks the whole server to finish and stop.
    fn stop(&self) -> Result<(), String>;
    /// Commands of the loaded modules.
    fn module_commands(&self) -> Vec<&'static CommandRow>;
    /// Runs one of them; `None` when no loaded module has it.
    fn run_of_module(&self, name: &str, given: &[Value]) -> Option<Result<Value, CommandError>>;
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedProcess {
    /// Number of its place; a successor has the same.
    pub index: u32,
    /// Its process id.
    pub pid: i32,
    /// What it is: `worker calls/2`.
    pub description: String,
    /// How often it was started again.
    pub restarts: u64,
}

/// How a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Workers that live.
    pub workers: u64,
    /// Messages that former generations still hold for it.
    pub draining: u64,
    /// Workers that die as soon as they are started.
    pub degraded: u64,
}

type Command = CommandEntry<fn(&dyn Server, &[Value]) -> Result<Value, CommandError>>;

/// Every command of the server itself; modules have theirs.
const COMMANDS: &[Command] = &[
    Command::new("cfg.commit", "applies the delayed changes in the order they were requested", setting_commands::commit),
    Command::new("cfg.diff", "the delayed changes beside the current values", setting_commands::diff),
    Command::new("cfg.get", "value of a runtime setting, or of all in a group; arguments: GROUP [NAME], such as core debug", setting_commands::get),
    Command::new("cfg.help", "description and type of a runtime setting; arguments: GROUP NAME", setting_commands::help),
    Command::new("cfg.list", "the runtime settings; argument: [GROUP]", setting_commands::list),
    Command::new("cfg.reset", "resets runtime settings to their values at the start; arguments: GROUP [NAME]", setting_commands::reset),
    Command::new("cfg.rollback", "discards the delayed changes", setting_commands::rollback),
    Command::new("cfg.set", "changes a runtime setting in every process at once; arguments: GROUP NAME VALUE, such as core debug 3", setting_commands::set).alias(&["cfg.set_now_int", "cfg.set_now_string", "cfg.seti", "cfg.sets"]),
    Command::new("cfg.set_delayed", "a change that is delayed until cfg.commit; arguments: GROUP NAME VALUE", setting_commands::set_delayed).alias(&["cfg.set_delayed_int", "cfg.set_delayed_string"]),
    Command::new("cnt.get", "the value of a counter; arguments: GROUP NAME, where sworker.delegated is sworker delegated", counter_commands::get).alias(&["cnt.get_raw"]),
    Command::new("cnt.grp_get_all", "the counters of a group with their values; argument: GROUP", counter_commands::of_group_all),
    Command::new("cnt.grps_list", "the groups of counters", counter_commands::groups),
    Command::new("cnt.help", "description of a counter; arguments: GROUP NAME", counter_commands::help),
    Command::new("cnt.reset", "resets a counter to 0; arguments: GROUP NAME", counter_commands::reset_one),
    Command::new("cnt.var_list", "the names of the counters of a group; argument: GROUP", counter_commands::names),
    Command::new("core.echo", "returns its arguments", |_, given| Ok(json!(given))),
    Command::new("core.generation", "how often all processes were replaced (generation), and how many previous generations are \
             finishing (draining)", |server, _| {
            let (generation, draining) = server.generation();
            Ok(json!({"generation": generation, "draining": draining}))
        }),
    Command::new("core.info", "what the server was built with", |server, _| {
            let rows = server.internals().into_iter().map(|(name, value)| (name, Value::from(value)));
            Ok(Value::Object(rows.collect()))
        }),
    Command::new("core.kill", "stops the server once it has finished accepted messages; takes no argument", stop),
    Command::new("core.ps", "process id and description of each process, in one list", ps),
    Command::new("core.psx", "index (IDX), id (PID), description (DSC) of each process", psx),
    Command::new("core.reload", "checks the script and switches to it without losing a message, or reports its errors", |server, _| server.reload().map(Value::from).map_err(|reason| CommandError::failed(&reason))),
    Command::new("core.uptime", "start time and uptime in seconds", uptime),
    Command::new("core.version", "name and version of the server", |server, _| Ok(server.version().into())),
    Command::new("corex.debug", "log level; a number as argument sets it in every process", |server, given| {
            if let Some(wanted) = given.first() {
                server.set_log_level(level(wanted)?);
            }
            Ok(json!({"level": server.log_level()}))
        }),
    Command::new("group.list", "each group of workers: number of workers and its maximum; capacity and depth of its queue; \
             messages delegated, refused because the queue was full (of these answered with 503), dropped \
             for newer ones, too old when taken (max_age_ms), processed, redelivered after a worker's \
             death, and quarantined; waiting time and script time; messages still held by previous \
             generations (draining); workers that keep crashing (degraded)", |server, _| {
            let states = server.group_states();
            Ok(server.groups().iter().zip(states).map(|(figures, state)| group(figures, state)).collect())
        }),
    Command::new("stats.fetch", "counters by name with their values; arguments: names, rooms (\"sworker.\" or \"sworker:\") or \"all\"", counter_commands::fetch).alias(&["stats.fetchn"]),
    Command::new("stats.get_statistics", "counters as lines \"room:name = value\"; arguments as of stats.fetch", counter_commands::get_statistics),
    Command::new("stats.reset_statistics", "resets counters to 0; arguments: names, rooms (\"sworker.\") or \"all\"", counter_commands::reset).alias(&["stats.clear_statistics"]),
    Command::new("system.listMethods", "the names of all commands", |server, _| Ok(names(server).into_iter().collect())),
    Command::new("system.methodHelp", "what a command does; argument: its name", help),
];

/// Reads a line, runs what it asks for, and gives the line to answer with. `None` when no answer is wanted.
pub fn answer(server: &dyn Server, line: &[u8]) -> Option<Vec<u8>> {
    match protocol::read_request(line) {
        Ok(request) => {
            let answer = run(server, &request);
            Some(protocol::write_answer(&request.id?, &answer))
        }
        Err((id, fault)) => Some(protocol::write_answer(&id, &Err(fault))),
    }
}

/// Elsewhere a signal number follows; here nothing does, and a call with a number means something else than a stop.
fn stop(server: &dyn Server, arguments: &[Value]) -> Result<Value, CommandError> {
    if !arguments.is_empty() {
        return Err(CommandError::failed("core.kill takes no argument here: it is an orderly stop"));
    }
    server.stop().map(|()| Value::Null).map_err(|reason| CommandError::failed(&reason))
}

fn run(server: &dyn Server, request: &Request) -> Result<Value, CommandError> {
    match COMMANDS.iter().find(|entry| entry.row.is_named(&request.method)) {
        Some(entry) => (entry.call)(server, &request.parameters),
        None => server
            .run_of_module(&request.method, &request.parameters)
            .unwrap_or_else(|| Err(unknown(server, &request.method))),
    }
}

/// Every row: those of the server, then those of modules.
fn rows(server: &dyn Server) -> Vec<&'static CommandRow> {
    COMMANDS.iter().map(|entry| &entry.row).chain(server.module_commands()).collect()
}

/// Every name, in order.
fn names(server: &dyn Server) -> Vec<&'static str> {
    let mut names: Vec<_> = rows(server).into_iter().flat_map(CommandRow::names).collect();
    names.sort_unstable();
    names
}

fn unknown(server: &dyn Server, method: &str) -> CommandError {
    CommandError::unknown_method(method, nearest(method, names(server)))
}

/// A level, as a number or as its text.
fn level(given: &Value) -> Result<i64, CommandError> {
    let number = given.as_i64().or_else(|| given.as_str().and_then(|text| text.trim().parse().ok()));
    let level = number.filter(|number| (-5..=9).contains(number));
    level.ok_or_else(|| CommandError::bad_parameters("the level must be from -5 to 3"))
}

fn ps(server: &dyn Server, _: &[Value]) -> Result<Value, CommandError> {
    let pair = |row: ListedProcess| [json!(row.pid), json!(row.description)];
    Ok(server.processes().into_iter().flat_map(pair).collect())
}

fn psx(server: &dyn Server, _: &[Value]) -> Result<Value, CommandError> {
    let object = |row: ListedProcess| json!({"IDX": row.index, "PID": row.pid, "DSC": row.description, "restarts": row.restarts});
    Ok(server.processes().into_iter().map(object).collect())
}

fn uptime(server: &dyn Server, _: &[Value]) -> Result<Value, CommandError> {
    let (now, since) = (server.now_s(), server.started_at_s());
    Ok(json!({"now": in_words(now), "up_since": in_words(since), "uptime": now.saturating_sub(since)}))
}

fn in_words(seconds: u64) -> String {
    match jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)) {
        Ok(time) => time.strftime("%a %b %e %H:%M:%S %Y").to_string(),
        Err(_) => seconds.to_string(),
    }
}

fn group(figures: &GroupStatistics, state: GroupState) -> Value {
    json!({
        "name": figures.name,
        "workers": state.workers,
        "max_workers": figures.workers,
        "capacity": figures.capacity,
        "depth": figures.depth,
        "depth_max": figures.depth_max,
        "delegated": figures.delegated,
        "full": figures.full,
        "refused": figures.refused,
        "dropped_oldest": figures.dropped_oldest,
        "expired": figures.expired,
        "too_large": figures.too_large,
        "processed": figures.processed,
        "redelivered": figures.redelivered,
        "quarantined": figures.quarantined,
        "adopted": figures.adopted,
        "corrupt": figures.corrupt,
        "worker_deaths": figures.worker_deaths,
        "deadline_killed": figures.deadline_killed,
        "late_found": figures.late_found,
        "draining": state.draining,
        "degraded": state.degraded,
        "wait_us": percentiles(&figures.wait),
        "script_us": percentiles(&figures.script),
    })
}

/// Times within which half of the messages, 99 of a hundred and all lie, in microseconds, as classes that double.
fn percentiles(histogram: &Histogram) -> Value {
    let microseconds = |percent| histogram.percentile_ns(percent) / 1_000;
    json!({"p50": microseconds(50), "p99": microseconds(99), "max": microseconds(100), "classes": histogram.0})
}

fn help(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let Some(name) = given.first().and_then(Value::as_str) else {
        return Err(CommandError::bad_parameters("the name of a command is needed"));
    };
    match rows(server).into_iter().find(|row| row.is_named(name)) {
        Some(row) => Ok(row.documentation.into()),
        None => Err(unknown(server, name)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::cell::Cell;

    /// A server that stands still.
    #[derive(Default)]
    pub struct Still {
        pub is_stopped: Cell<bool>,
        pub level: Cell<i64>,
        pub begun_anew: RefCell<Vec<String>>,
        changed: RefCell<Vec<PendingChange>>,
        waiting: RefCell<Vec<PendingChange>>,
    }

    impl Server for Still {
        fn version(&self) -> String {
            "sworker 9.9.9 (any/os)".to_owned()
        }
        fn started_at_s(&self) -> u64 {
            1_000_000_000
        }
        fn now_s(&self) -> u64 {
            1_000_000_060
        }
        fn processes(&self) -> Vec<ListedProcess> {
            let row = |index, pid, description: &str| ListedProcess {
                index,
                pid,
                description: description.to_owned(),
                restarts: 2,
            };
            vec![row(0, 70, "master"), row(1, 71, "worker calls/1")]
        }
        fn groups(&self) -> Vec<GroupStatistics> {
            vec![GroupStatistics {
                name: "calls".to_owned(),
                capacity: 8,
                delegated: 5,
                ..Default::default()
            }]
        }
        fn counters(&self) -> Vec<(String, u64)> {
            [("core.messages_received", 7), ("sworker.delegated", 5), ("sworker.full", 0)]
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec()
        }
        fn counter_help(&self, name: &str) -> Option<String> {
            Some(format!("help for {name}"))
        }
        fn reset_counter(&self, name: &str) {
            self.begun_anew.borrow_mut().push(name.to_owned());
        }
        fn settings(&self) -> Vec<SettingRow> {
            let row = |group: &str, name: &str, description: &str, initial: Value| {
                let changed = self.changed.borrow();
                let last = changed.iter().rev().find(|one| one.group == group && one.name == name);
                let value = last.map_or(initial.clone(), |one| one.value.clone());
                SettingRow {
                    group: group.to_owned(),
                    name: name.to_owned(),
                    description: description.to_owned(),
                    initial,
                    value,
                }
            };
            let level = SettingRow { value: self.level.get().into(), ..row("core", "debug", "", json!(0)) };
            vec![
                level,
                row("my", "limit", "a limit", json!(5)),
                row("my", "note", "what is noted", json!("few")),
            ]
        }
        fn change_setting(&self, group: &str, name: &str, value: &Value) -> Result<(), String> {
            match (group, value.as_i64()) {
                ("core", level) => self.level.set(level.filter(|level| *level < 9).ok_or("no level")?),
                _ => self.changed.borrow_mut().push(PendingChange {
                    group: group.to_owned(),
                    name: name.to_owned(),
                    value: value.clone(),
                }),
            }
            Ok(())
        }
        fn waiting_changes(&self) -> &RefCell<Vec<PendingChange>> {
            &self.waiting
        }
        fn group_states(&self) -> Vec<GroupState> {
            vec![GroupState { workers: 2, draining: 3, degraded: 1 }]
        }
        fn generation(&self) -> (u64, u64) {
            (4, 1)
        }
        fn reload(&self) -> Result<String, String> {
            if self.is_stopped.get() { Err("it stops".to_owned()) } else { Ok("generation 5".to_owned()) }
        }
        fn internals(&self) -> Vec<(String, String)> {
            vec![("version".to_owned(), self.version())]
        }
        fn module_commands(&self) -> Vec<&'static CommandRow> {
            const ROW: &CommandRow = &CommandRow {
                name: "first.count",
                aliases: &["first.size"],
                documentation: "counts its arguments",
            };
            vec![ROW]
        }
        fn run_of_module(&self, name: &str, given: &[Value]) -> Option<Result<Value, CommandError>> {
            self.module_commands()[0].is_named(name).then(|| Ok(given.len().into()))
        }
        fn log_level(&self) -> i64 {
            self.level.get()
        }
        fn set_log_level(&self, level: i64) {
            self.level.set(level);
        }
        fn stop(&self) -> Result<(), String> {
            if self.is_stopped.replace(true) { Err("it stops already".to_owned()) } else { Ok(()) }
        }
    }

    fn ask(method: &str, parameters: Value) -> Result<Value, CommandError> {
        ask_of(&Still::default(), method, parameters)
    }

    pub fn ask_of(server: &Still, method: &str, parameters: Value) -> Result<Value, CommandError> {
        let line = json!({"jsonrpc": "2.0", "method": method, "params": parameters, "id": 7}).to_string();
        let line = answer(server, line.as_bytes()).expect("an id was given, so there is an answer");
        protocol::read_answer(&line)
    }

    #[test]
    fn answers_have_the_shapes_operators_know() {
        let rows = [
            ("core.echo", json!(["a", 1]), json!(["a", 1])),
            ("core.version", json!([]), json!("sworker 9.9.9 (any/os)")),
            (
                "core.uptime",
                json!([]),
                json!({"now": "Sun Sep  9 01:47:40 2001", "up_since": "Sun Sep  9 01:46:40 2001", "uptime": 60}),
            ),
            ("core.generation", json!([]), json!({"generation": 4, "draining": 1})),
            ("core.reload", json!([]), json!("generation 5")),
            ("core.info", json!([]), json!({"version": "sworker 9.9.9 (any/os)"})),
            ("core.ps", json!([]), json!([70, "master", 71, "worker calls/1"])),
            (
                "core.psx",
                json!([]),
                json!([{"IDX": 0, "PID": 70, "DSC": "master", "restarts": 2},
                       {"IDX": 1, "PID": 71, "DSC": "worker calls/1", "restarts": 2}]),
            ),
            (
                "stats.get_statistics",
                json!(["all"]),
                json!(["core:messages_received = 7", "sworker:delegated = 5", "sworker:full = 0"]),
            ),
            ("stats.get_statistics", json!(["core:"]), json!(["core:messages_received = 7"])),
            ("stats.fetch", json!(["sworker."]), json!({"sworker.delegated": 5, "sworker.full": 0})),
            (
                "stats.fetch",
                json!(["sworker.full", "core:messages_received"]),
                json!({"core.messages_received": 7, "sworker.full": 0}),
            ),
            ("system.methodHelp", json!(["core.echo"]), json!("returns its arguments")),
        ];
        for (method, parameters, result) in rows {
            assert_eq!(ask(method, parameters.clone()), Ok(result), "{method} {parameters}");
        }
        let groups = ask("group.list", json!([])).unwrap();
        for (name, value) in [
            ("name", json!("calls")),
            ("capacity", json!(8)),
            ("delegated", json!(5)),
            ("draining", json!(3)),
            ("degraded", json!(1)),
        ] {
            assert_eq!(groups[0][name], value);
        }
    }

    #[test]
    fn what_cannot_be_answered_is_a_fault() {
        let rows = [
            ("core.nothing", json!([]), -32601),
            ("cfg.get", json!(["core", "children"]), -32602),
            ("cfg.get", json!([]), -32602),
            ("cfg.set_now_int", json!(["core", "debug"]), -32602),
            ("cfg.set_now_int", json!(["core", "debug", "loud"]), -32602),
            ("corex.debug", json!([99]), -32602),
            ("stats.fetch", json!([5]), -32602),
            ("stats.fetch", json!(["nothing."]), -32602),
            ("stats.fetch", json!(["sworker"]), -32602),
            ("system.methodHelp", json!([]), -32602),
            ("system.methodHelp", json!(["core.nothing"]), -32601),
        ];
        for (method, parameters, code) in rows {
            let fault = ask(method, parameters).unwrap_err();
            assert_eq!(fault.code, code, "{method}: {}", fault.message);
        }
    }

    #[test]
    fn the_level_of_the_log_is_asked_for_and_changed() {
        let server = Still::default();
        assert!(ask_of(&server, "cfg.set_now_int", json!(["core", "debug", 99])).is_err());
        for (wanted, level) in [(json!(3), 3), (json!("-1"), -1)] {
            let answer = ask_of(&server, "cfg.set_now_int", json!(["core", "debug", wanted]));
            assert_eq!(answer, Ok(Value::Null));
            assert_eq!(ask_of(&server, "cfg.get", json!(["core", "debug"])), Ok(json!(level)));
        }
        assert_eq!(ask_of(&server, "corex.debug", json!([2])), Ok(json!({"level": 2})));
        assert_eq!(ask_of(&server, "corex.debug", json!([])), Ok(json!({"level": 2})));
    }

    #[test]
    fn stopping_is_asked_for_once() {
        let server = Still::default();
        assert!(ask_of(&server, "core.kill", json!([15])).is_err() && !server.is_stopped.get());
        assert_eq!(ask_of(&server, "core.kill", json!([])), Ok(Value::Null));
        assert!(server.is_stopped.get());
        assert_eq!(ask_of(&server, "core.kill", json!([])).unwrap_err().message, "it stops already");
        assert_eq!(ask_of(&server, "core.reload", json!([])).unwrap_err().message, "it stops");
    }

    #[test]
    fn every_command_is_listed_once_with_its_documentation() {
        let server = Still::default();
        let names = names(&server);
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert_eq!(ask("system.listMethods", json!([])), Ok(json!(names)));
        assert!(COMMANDS.is_sorted_by_key(|entry| entry.row.name));
        assert!(rows(&server).iter().all(|row| !row.documentation.is_empty()));
    }

    #[test]
    fn commands_of_modules_stand_beside_those_of_the_server() {
        for name in ["first.count", "first.size"] {
            assert_eq!(ask(name, json!([1, 2])), Ok(json!(2)));
            assert_eq!(ask("system.methodHelp", json!([name])), Ok(json!("counts its arguments")));
        }
        let fault = ask("first.cuont", json!([])).unwrap_err();
        assert!(fault.message.contains("did you mean \"first.count\"?"), "{}", fault.message);
    }

    #[test]
    fn without_an_id_there_is_no_answer() {
        assert_eq!(answer(&Still::default(), br#"{"jsonrpc":"2.0","method":"core.ps"}"#), None);
    }
}
