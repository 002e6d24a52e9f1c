//! The control process: answers operators and publishes figures; never in the path of a message.

use crate::routing::script_view::ScriptView;
use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::child::{follow_master, is_asked_to_leave};
use super::role::Role;
use crate::bindings::command::{CommandError, CommandRow, CommandScope};
use crate::bindings::module::ValueRef;
use crate::control::commands::{GroupState, ListedProcess, Server};
use crate::control::server::{CommandServer, ConnectionLimits};
use crate::control::setting_commands::{PendingChange, SettingRow};
use crate::process::heritage::Heritage;
use crate::process::start::command_line::version;
use crate::shm::{GroupStatistics, ProcessFigures};
use crate::state::live_settings::LiveSetting;
use crate::state::value::Value as Stored;
use crate::sys::clock::{monotonic_coarse_ns, realtime_ns};
use crate::sys::process::ProcessId;
use crate::sys::signal::{self, Signal};
use crate::telemetry::log::Level;

/// Figures are published so often.
const PUBLISHED_EVERY: Duration = Duration::from_millis(200);
/// While another process answers at the same socket, this one checks so often whether it has left.
const UNTIL_IT_SERVES: Duration = Duration::from_millis(10);
/// An operator waits at most so long for the result of a reload, which usually takes a tenth of a second.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Clients that have asked when this process is to leave are answered within this time.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

/// The life of the control process.
pub fn run(heritage: &Heritage, place: u32) -> io::Result<()> {
    let rules = heritage.places[place as usize].rules();
    let figures = Figures::new(heritage, place);
    let mut server = CommandServer::new(heritage.commands.try_clone()?, ConnectionLimits::USUAL);
    let mut next_publication = Instant::now();
    let mut is_published = true;
    let heartbeat = heritage.parts.heartbeats.block(place);
    heritage.channel.tell_ready(place);
    while !is_asked_to_leave(&rules) {
        heartbeat.add(0, 1);
        follow_master(heritage, &rules);
        let now = Instant::now();
        if now >= next_publication {
            next_publication = now + PUBLISHED_EVERY;
            is_published = publish(heritage, &figures, is_published);
        }
        if heritage.parts.status.is_serving() {
            server.turn(&figures, next_publication.saturating_duration_since(now))?;
            if let Some(error) = server.take_refusal() {
                heritage
                    .log
                    .say(Level::Error, format_args!("could not accept a control connection: {error}"));
            }
        } else {
            std::thread::sleep(UNTIL_IT_SERVES);
        }
    }
    if heritage.parts.status.is_serving() {
        server.finish(&figures, LAST_ANSWERS);
    }
    publish(heritage, &figures, is_published);
    Ok(())
}

/// Says once that it cannot be done, not five times a second.
fn publish(heritage: &Heritage, figures: &Figures<'_>, was_published: bool) -> bool {
    match heritage.statistics.publish(&figures.groups(), &figures.process_figures()) {
        Ok(()) => true,
        Err(error) => {
            if was_published {
                heritage.log.say(Level::Error, format_args!("{error}"));
            }
            false
        }
    }
}

/// What is known about the server, read from what its processes leave in shared memory.
struct Figures<'a> {
    heritage: &'a Heritage,
    request_count: Cell<u32>,
    /// The place of this process.
    place: u32,
    /// Of all places. They are asked for all the time: text that is put together anew lets the heap grow for hours.
    titles: Vec<String>,
    waiting: RefCell<Vec<PendingChange>>,
}

impl<'a> Figures<'a> {
    fn new(heritage: &'a Heritage, place: u32) -> Figures<'a> {
        let titles = heritage.places.iter().map(ToString::to_string).collect();
        Figures { heritage, request_count: Cell::new(0), place, titles, waiting: RefCell::default() }
    }
}

/// Group and name of the setting that is not the script's.
const LOG_LEVEL: (&str, &str) = ("core", "debug");

impl Figures<'_> {
    /// What was counted, by earlier generations too. A counter that was begun anew is below 0 in one block.
    fn counted(&self, counter: u32) -> u64 {
        self.heritage.parts.counters.sum(counter).wrapping_add(self.heritage.parts.status.counter(counter))
    }

    fn setting_row(&self, setting: &LiveSetting) -> SettingRow {
        let now = self.heritage.shared.value(setting.slot);
        SettingRow {
            group: setting.group.clone(),
            name: setting.name.clone(),
            description: setting.description.clone(),
            initial: in_json(&setting.initial),
            // What changes all the time is asked for again by a client that wants to know.
            value: now.as_ref().map_or(Value::Null, in_json),
        }
    }

    fn process_figures(&self) -> Vec<ProcessFigures> {
        let rows = self.heritage.places.iter().zip(0..).map(|(role, place)| self.process(role, place));
        rows.collect()
    }

    fn process(&self, role: &Role, place: u32) -> ProcessFigures {
        let row = self.heritage.parts.processes.read(place).unwrap_or_default();
        let mut figures = ProcessFigures {
            title: self.titles[place as usize].clone(),
            pid: row.pid,
            role: row.role,
            group: row.group,
            index: row.index,
            restarts: row.restarts,
            started_at_ns: row.started_at_ns,
            ..ProcessFigures::default()
        };
        if let Role::Worker { group, index, .. } = role {
            let worker = self.heritage.parts.queues.worker_statistics(u32::from(*group), *index);
            figures.taken = worker.taken;
            figures.finished = worker.finished;
            if worker.started_at_ns != 0 {
                figures.busy_ns = monotonic_coarse_ns().saturating_sub(worker.started_at_ns);
            }
        }
        figures
    }
}

fn in_json(value: &Stored) -> Value {
    match value {
        Stored::Null => Value::Null,
        Stored::Integer(number) => (*number).into(),
        Stored::Text(text) => String::from_utf8_lossy(text).into(),
    }
}

const NS_PER_SECOND: u64 = 1_000_000_000;

impl Server for Figures<'_> {
    fn version(&self) -> String {
        version()
    }

    fn started_at_s(&self) -> u64 {
        self.heritage.fixed.started_at_ns / NS_PER_SECOND
    }

    fn now_s(&self) -> u64 {
        realtime_ns() / NS_PER_SECOND
    }

    fn processes(&self) -> Vec<ListedProcess> {
        let living = self.process_figures().into_iter().zip(0..).filter(|(figures, _)| figures.pid != 0);
        let row = |(figures, index): (ProcessFigures, u32)| ListedProcess {
            index,
            pid: figures.pid,
            description: figures.title,
            restarts: u64::from(figures.restarts),
        };
        living.map(row).collect()
    }

    fn groups(&self) -> Vec<GroupStatistics> {
        (0..self.heritage.parts.queues.group_count())
            .map(|group| self.heritage.group_figures(group))
            .collect()
    }

    fn group_states(&self) -> Vec<GroupState> {
        let status = &self.heritage.parts.status;
        let living = |group| {
            let rows = (0..)
                .zip(&self.heritage.places)
                .filter_map(|(place, _)| self.heritage.parts.processes.read(place));
            rows.filter(|row| row.group == Some(group) && row.pid != 0).count() as u64
        };
        let state = |group| GroupState {
            workers: living(group),
            draining: status.waiting(group),
            degraded: status.degraded(group),
        };
        (0..self.heritage.parts.queues.group_count()).map(state).collect()
    }

    fn generation(&self) -> (u64, u64) {
        (self.heritage.fixed.generation, self.heritage.parts.status.draining_count())
    }

    fn reload(&self) -> Result<String, String> {
        // Several may be asked for in one turn, and each is waited for.
        self.heritage.parts.heartbeats.block(self.place).add(0, 1);
        let number = self.request_count.get() + 1;
        self.request_count.set(number);
        // Two control processes never ask under one number: that of their process is part of it.
        let number = (ProcessId::own().number() as u64) << 32 | u64::from(number);
        self.heritage.channel.reload(number, RELOAD_TIMEOUT)
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let mut gauges = Vec::new();
        self.heritage
            .parts
            .each()
            .for_each(|part| part.figures(&mut |name, value| gauges.push((name, value))));
        let rows = self.heritage.loaded.registry.counters();
        let value = |index, name: &str| {
            let gauge = gauges.iter().find(|(of, _)| *of == name);
            gauge.map_or_else(|| self.counted(index), |(_, value)| *value)
        };
        (0..).zip(rows).map(|(index, row)| (row.name.to_string(), value(index, &row.name))).collect()
    }

    fn counter_help(&self, name: &str) -> Option<String> {
        let rows = self.heritage.loaded.registry.counters();
        Some(rows.iter().find(|row| row.name == name)?.documentation.to_string())
    }

    fn reset_counter(&self, name: &str) {
        if let Some(counter) = self.heritage.loaded.registry.counter(name) {
            let block = self.heritage.parts.counters.block(self.place);
            block.add(counter.0, self.counted(counter.0).wrapping_neg());
        }
    }

    fn settings(&self) -> Vec<SettingRow> {
        let level = SettingRow {
            group: LOG_LEVEL.0.to_owned(),
            name: LOG_LEVEL.1.to_owned(),
            description: "level up to which lines of the log are written, -5 to 3".to_owned(),
            initial: self.heritage.loaded.settings().debug.number().into(),
            value: self.log_level().into(),
        };
        let live =
            self.heritage.loaded.registry.live_settings().iter().map(|setting| self.setting_row(setting));
        std::iter::once(level).chain(live).collect()
    }

    fn change_setting(&self, group: &str, name: &str, value: &Value) -> Result<(), String> {
        if (group, name) == LOG_LEVEL {
            let level = value.as_i64().filter(|level| (-5..=9).contains(level));
            self.set_log_level(level.ok_or("the level must be from -5 to 3")?);
            return Ok(());
        }
        let setting = self.heritage.loaded.registry.live_setting(group.as_bytes(), name.as_bytes());
        let setting = setting.ok_or_else(|| format!("there is no setting {group}.{name}"))?;
        let value = match value {
            Value::Number(number) => ValueRef::Integer(number.as_i64().ok_or("an integer is needed")?),
            Value::String(text) => ValueRef::Text(text.as_bytes()),
            _ => ValueRef::Null,
        };
        let value = setting.fitting(value)?;
        let stored = self.heritage.shared.store(self.place, setting.slot, value.as_ref());
        stored.map_err(|error| error.to_string())
    }

    fn waiting_changes(&self) -> &RefCell<Vec<PendingChange>> {
        &self.waiting
    }

    fn internals(&self) -> Vec<(String, String)> {
        internals()
    }

    fn log_level(&self) -> i64 {
        self.heritage.log.level().number()
    }

    fn set_log_level(&self, level: i64) {
        self.heritage.log.set_level(Level::from_number(level));
    }

    fn module_commands(&self) -> Vec<&'static CommandRow> {
        self.heritage.loaded.registry.commands().collect()
    }

    fn run_of_module(&self, name: &str, given: &[Value]) -> Option<Result<Value, CommandError>> {
        let (registry, shared) = (&self.heritage.loaded.registry, &self.heritage.shared);
        let shared_names = registry.shared_names();
        let scope = CommandScope { shared_names, shared, process_index: self.place };
        registry.run_command(name, &scope, given)
    }

    fn stop(&self) -> Result<(), String> {
        signal::send(self.heritage.fixed.master, Signal::SIGTERM)
            .map_err(|error| format!("could not reach the master: {error}"))
    }
}

/// What the program was built with.
pub fn internals() -> Vec<(String, String)> {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let panics = if cfg!(panic = "abort") { "a crash" } else { "the end of its process" };
    let rows = [
        ("version", version()),
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("system", std::env::consts::OS.to_owned()),
        ("profile", profile.to_owned()),
        ("panic", panics.to_owned()),
    ];
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::instance;
    use crate::process::master::child_slots::Child;
    use crate::process::start::boot::tests::Scene;
    use crate::shm::StatisticsViewer;
    use crate::sys::process::ExitStatus;

    const SCRIPT: &str = "listen=udp:127.0.0.1:0\nchildren=1\nloadmodule \"sworker\"\n\
        async_workers_group=\"name=calls;workers=2;queue=16\"\nrequest_route { exit; }\n";

    #[test]
    fn only_those_who_live_are_listed_each_at_its_place() {
        let scene = Scene::new(SCRIPT);
        let heritage = &scene.heritage;
        for place in [2, 3] {
            let mut child = Child::new(place, &heritage.places[place as usize]);
            child.was_forked(ProcessId::own(), &heritage.parts.processes);
            if place == 2 {
                child.has_died(ExitStatus::Exited(0), &heritage.parts.processes);
            }
        }
        let figures = Figures::new(heritage, 0);
        let rows = figures.processes();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].index, rows[0].description.as_str()),
            (3, heritage.places[3].to_string().as_str())
        );
    }

    #[test]
    fn counters_carry_their_names_and_sums_over_all_processes() {
        let scene = Scene::new(SCRIPT);
        let figures = Figures::new(&scene.heritage, 0);
        let index = scene.heritage.loaded.registry.counter("sworker.delegated").unwrap();
        scene.heritage.parts.counters.block(1).add(index.0, 2);
        scene.heritage.parts.counters.block(2).add(index.0, 3);
        let value = |name: &str| figures.counters().into_iter().find(|row| row.0 == name).map(|row| row.1);
        assert_eq!((value("sworker.delegated"), value("sworker.full")), (Some(5), Some(0)));
        assert_eq!(value("sworker.nothing"), None);
    }

    #[test]
    fn viewers_see_what_was_published() {
        let scene = Scene::new(SCRIPT);
        let figures = Figures::new(&scene.heritage, 0);
        assert!(publish(&scene.heritage, &figures, true));
        let snapshot = StatisticsViewer::attach(&instance::name(&scene.heritage.run_directory)).unwrap();
        let titles: Vec<_> = snapshot.processes.iter().map(|process| process.title.clone()).collect();
        let places: Vec<_> = scene.heritage.places.iter().map(ToString::to_string).collect();
        assert_eq!(titles, places);
        assert!(snapshot.groups.iter().any(|group| group.name == "calls" && group.workers == 2));
    }

    #[test]
    fn a_setting_is_changed_for_every_process_and_a_counter_begins_anew() {
        let script = format!("my.limit = 5 desc \"most\"\nmy.note = \"few\"\n{SCRIPT}");
        let scene = Scene::new(&script);
        let figures = Figures::new(&scene.heritage, 1);
        let shown =
            |name: &str| figures.settings().into_iter().find(|row| row.name == name).map(|row| row.value);
        assert_eq!((shown("limit"), shown("note")), (Some(5.into()), Some("few".into())));
        assert_eq!(figures.change_setting("my", "limit", &7.into()), Ok(()));
        let slot = scene.heritage.loaded.registry.live_setting(b"my", b"limit").expect("it is there").slot;
        assert_eq!(scene.heritage.shared.clone().value(slot), Ok(Stored::Integer(7)));
        assert!(figures.change_setting("my", "limit", &"x".into()).is_err());
        assert!(figures.change_setting("my", "none", &7.into()).is_err());
        assert!(figures.change_setting("core", "debug", &99.into()).is_err());

        let index = scene.heritage.loaded.registry.counter("sworker.delegated").expect("it is there").0;
        scene.heritage.parts.counters.block(2).add(index, 3);
        figures.reset_counter("sworker.delegated");
        assert_eq!(figures.counted(index), 0);
        scene.heritage.parts.counters.block(2).add(index, 2);
        assert_eq!(figures.counted(index), 2);
    }
}
