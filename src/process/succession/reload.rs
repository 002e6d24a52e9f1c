//! Another configuration for a running server, without a message lost.
//!
//! ```text
//!  SIGHUP, core.reload ─► check in a helper process ──refused──► reasons to the log and to the clients that asked
//!                              │ good
//!                              ▼
//!  sockets bound, memory made ──refused──► the same; nothing has changed
//!                              ▼
//!  new generation forked; old and new read the same sockets
//!                              ▼ all of it is ready                  ▼ it does not come up
//!  old: control leaves, receivers leave, rings are drained     the new one leaves in the same way
//! ```
//!
//! When the queue memory of the generation that serves is damaged ([`crate::process::master::damage`]), the master takes
//! the same steps with the script that runs: it was checked before, so there is no check.
//!
//! **Invariant:** the process that reads a message from a socket owns it, and its generation finishes it in its own rings.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::mem;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::bindings::load::{Loaded, Rejected};
use crate::config::sources::Sources;
use crate::process::channel::Outcome;
use crate::process::heritage::Heritage;
use crate::process::master::generation::{Generation, Phase};
use crate::process::master::totals::Totals;
use crate::process::master::{EXIT_ORDERLY, Master};
use crate::process::start::boot;
use crate::process::start::script_source::ScriptSource;
use crate::sys::process::{self, DeadChild, ExitStatus, Fork, ProcessId, exit_now};
use crate::sys::session;
use crate::sys::signal::{self, Signal};
use crate::telemetry::log::Level;

/// A check that takes longer hangs.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// So many generations may drain at the same time; a reload beyond that waits until one is done.
const DRAINING_MAX: usize = 4;
/// A new generation is there within this time, or the old one stays.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(10);

/// How far the master is with a reload.
pub struct Reload {
    pub(in crate::process) script: ScriptSource,
    /// A reload was requested and has not begun.
    is_requested: bool,
    /// Numbers of requests by command, which are answered when the reload is done that began after them.
    asked: Vec<u64>,
    under_way: Option<UnderWay>,
    /// What generations that are gone counted.
    pub(in crate::process) totals: Totals,
    /// What the program before this one counted.
    pub(in crate::process) of_predecessor: Totals,
    /// The worst end among them.
    pub(in crate::process) status: i32,
}

/// A reload that has begun.
struct UnderWay {
    asked: Vec<u64>,
    began: Instant,
    check: Option<Check>,
}

/// A helper that reads the new script.
struct Check {
    helper: ProcessId,
    report: File,
}

impl Reload {
    /// None was requested; this is the script to be read.
    pub fn new(script: ScriptSource) -> Reload {
        Reload {
            script,
            is_requested: false,
            asked: Vec::new(),
            under_way: None,
            totals: Totals::default(),
            of_predecessor: Totals::default(),
            status: EXIT_ORDERLY,
        }
    }

    /// Whether one has begun and is not done.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether there is something to look after.
    pub fn is_busy(&self) -> bool {
        self.is_requested || self.under_way.is_some()
    }
}

/// The course of a reload.
impl Master {
    /// A signal or a command asks for another configuration. Requests that come while a reload is under way become one
    /// more; those that come when another program serves are passed on to it.
    pub(in crate::process) fn request_reload(&mut self) {
        self.reload.is_requested = true;
        match self.upgrade.serving() {
            Some(serving) => self.pass_on_request(serving),
            None if self.current.is_stopping() => self.reload.is_requested = false,
            None => {}
        }
    }

    /// One step, in each turn of the master.
    pub(in crate::process) fn go_on_reloading(&mut self) {
        self.go_on_draining();
        self.let_go_in_order();
        self.end_hanging_check();
        if let Phase::TakingOver { since } = self.current.phase {
            self.go_on_taking_over(since);
        }
        self.current.look_for_damage();
        let is_upgrading = self.upgrade.is_under_way() || self.upgrade.is_requested();
        let is_possible = self.current.phase == Phase::Serving && self.draining.len() < DRAINING_MAX;
        if is_upgrading || self.reload.is_under_way() || !is_possible {
            return;
        }
        if self.current.damage.take_due_renewal() {
            self.begin_renewal();
        } else if self.reload.is_requested {
            self.begin_reload();
        }
    }

    /// The control process of any generation asks, under this number.
    pub(in crate::process) fn request_reload_for(&mut self, number: u64) {
        if self.current.is_stopping() {
            self.answer(number, &Err("the server is stopping".to_owned()));
            return;
        }
        self.reload.asked.push(number);
        self.request_reload();
    }

    /// Tells every generation: the process that asked knows its number.
    fn answer(&self, number: u64, outcome: &Outcome) {
        self.generations().for_each(|generation| generation.heritage.channel.answer(number, outcome));
    }

    fn begin_reload(&mut self) {
        self.reload.is_requested = false;
        let asked = mem::take(&mut self.reload.asked);
        self.service_manager.reloading();
        let check = self.fork_check();
        let refusal = check.as_ref().err().map(|error| format!("could not check the script: {error}"));
        self.reload.under_way = Some(UnderWay { asked, began: Instant::now(), check: check.ok() });
        if let Some(refusal) = refusal {
            self.finish_reload(Err(refusal));
        }
    }

    fn fork_check(&mut self) -> io::Result<Check> {
        let report = File::from(memfd_create(c"sworker-check", MFdFlags::MFD_CLOEXEC)?);
        match process::fork(&self.proof)? {
            Fork::Child => {
                check(&self.current.heritage, &self.reload.script, &report);
            }
            Fork::Parent(helper) => Ok(Check { helper, report }),
        }
    }

    fn end_hanging_check(&mut self) {
        let Some(under_way) = &self.reload.under_way else { return };
        if let Some(check) = &under_way.check
            && under_way.began.elapsed() > CHECK_TIMEOUT
        {
            signal::try_send(check.helper, Signal::SIGKILL);
        }
    }

    /// A process ended that is none of the children's.
    pub(in crate::process) fn reap_helper(&mut self, dead: DeadChild) {
        let Some(under_way) = &mut self.reload.under_way else { return };
        let Some(check) = under_way.check.take_if(|check| check.helper == dead.process) else { return };
        if self.current.is_stopping() {
            self.finish_reload(Err("the server is stopping".to_owned()));
            return;
        }
        let renewed = verdict(check.report, dead.status)
            .and_then(|sources| self.renew(self.reload.script.load_checked(sources)));
        self.try_to_take_over(renewed);
    }

    /// The script that runs in a new generation, because the queue memory of the present one is damaged.
    fn begin_renewal(&mut self) {
        self.service_manager.reloading();
        self.reload.under_way = Some(UnderWay { asked: Vec::new(), began: Instant::now(), check: None });
        let renewed = self.renew(self.reload.script.load_again(&self.current.heritage.loaded));
        self.try_to_take_over(renewed);
    }

    fn try_to_take_over(&mut self, renewed: Result<Heritage, String>) {
        match renewed {
            Ok(heritage) => self.take_over(heritage),
            Err(refusal) => self.finish_reload(Err(refusal)),
        }
    }

    /// Everything the new generation needs, from what the helper has read: this process waits for no file and no name
    /// server. Whatever is refused here has changed nothing.
    fn renew(&mut self, loaded: Result<Loaded, Rejected>) -> Result<Heritage, String> {
        let loaded = loaded.map_err(|refused| boot::rejected(refused).to_string())?;
        let draining: Vec<&Heritage> = self.draining.iter().map(|generation| &generation.heritage).collect();
        boot::renew(loaded, &self.current.heritage, &draining).map_err(|error| error.to_string())
    }

    fn take_over(&mut self, heritage: Heritage) {
        let phase = Phase::TakingOver { since: Instant::now() };
        let replaced = mem::replace(&mut self.current, Generation::new(heritage, phase));
        self.draining.push(replaced);
        self.hold_back_the_ordered();
        self.write_totals();
        self.note_master();
    }

    fn go_on_taking_over(&mut self, since: Instant) {
        if self.current.is_ready() {
            self.current.phase = Phase::Serving;
            self.current.heritage.parts.status.set_serving();
            if let Err(error) = self.current.heritage.statistics.take_name() {
                self.say(Level::Error, format_args!("{error}"));
            }
            self.begin_to_drain();
            let number = self.current.heritage.fixed.generation;
            let words = format!("generation {number} serves after {} ms", since.elapsed().as_millis());
            self.finish_reload(Ok(words));
        } else if since.elapsed() > TAKE_OVER_TIMEOUT || self.current.is_start_hopeless() {
            self.fall_back();
        }
    }

    /// The new generation does not come up: the previous one, which never stopped serving, is the current one again.
    fn fall_back(&mut self) {
        let Some(previous) = self.draining.pop() else { return };
        let failed = mem::replace(&mut self.current, previous);
        let number = failed.heritage.fixed.generation;
        failed.heritage.statistics.unlink();
        self.draining.push(failed);
        self.begin_to_drain();
        self.write_totals();
        self.finish_reload(Err(format!("not all processes of generation {number} started")));
    }

    /// Says what became of the reload under way: to the log, the clients that asked and the service manager.
    fn finish_reload(&mut self, outcome: Outcome) {
        let Some(under_way) = self.reload.under_way.take() else { return };
        match &outcome {
            Ok(words) => self.say(Level::Notice, format_args!("reloaded: {words}")),
            Err(words) => {
                let words = format!("reload failed, nothing changed: {words}");
                self.current.heritage.log.say_lines(Level::Error, &words);
            }
        }
        under_way.asked.iter().for_each(|number| self.answer(*number, &outcome));
        if !self.current.is_stopping() {
            let status = self.current.status_text();
            self.service_manager.reloaded(&status);
        }
    }

    /// The program that serves after this one does what was requested of this one and has not begun.
    pub(in crate::process) fn pass_on_request(&mut self, successor: ProcessId) {
        if mem::take(&mut self.reload.is_requested) {
            signal::try_send(successor, Signal::SIGHUP);
        }
    }

    /// The server stops: nothing is begun any more.
    pub(in crate::process) fn give_up_reloading(&mut self) {
        self.reload.is_requested = false;
        for number in mem::take(&mut self.reload.asked) {
            self.answer(number, &Err("the server is stopping".to_owned()));
        }
        if let Some(check) = self.reload.under_way.as_ref().and_then(|under_way| under_way.check.as_ref()) {
            signal::try_send(check.helper, Signal::SIGKILL);
        }
        self.begin_to_drain();
    }
}

/// The life of the helper: everything that can be wrong with the script is told here, and whatever happens to the process
/// that reads it happens to no other. Of a good one is told what was read.
fn check(heritage: &Heritage, script: &ScriptSource, mut report: &File) -> ! {
    for usual in [Signal::SIGCHLD, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGPIPE] {
        let _ = signal::restore_default(usual);
    }
    let _ = session::set_parent_death_signal(Signal::SIGKILL);
    crate::process::roles::child::report_panics(&heritage.log);
    let status = match script.load() {
        Ok(loaded) => match report.write_all(&loaded.sources.encode()) {
            Ok(()) => 0,
            Err(_) => crate::process::roles::child::EXIT_FAILED,
        },
        Err(refused) => {
            // Words that find no room are missed; the status says enough to refuse.
            let _ = report.write_all(boot::rejected(refused).to_string().as_bytes());
            EXIT_REFUSED
        }
    };
    exit_now(status)
}

/// The helper has told what is wrong with the script.
const EXIT_REFUSED: i32 = 1;

/// What the helper has read, or why the script is refused.
fn verdict(mut report: File, status: ExitStatus) -> Result<Sources, String> {
    let mut told = Vec::new();
    let read = report.rewind().and_then(|()| report.read_to_end(&mut told));
    match status {
        ExitStatus::Exited(0 | EXIT_REFUSED) if read.is_err() => {
            Err(format!("could not read the result of the script check: {}", read.unwrap_err()))
        }
        ExitStatus::Exited(0) => {
            Sources::decode(&told).ok_or_else(|| "the result of the script check is incomplete".to_owned())
        }
        ExitStatus::Exited(EXIT_REFUSED) => Err(String::from_utf8_lossy(&told).into_owned()),
        other => Err(format!("the process that checked the script ended by {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_satisfied_helper_lets_a_reload_go_on() {
        let report = |text: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text).unwrap();
            file
        };
        let check = |text: &[u8], status: ExitStatus, expected: Result<Sources, &str>| {
            assert_eq!(verdict(report(text), status), expected.map_err(str::to_owned), "{status}");
        };
        let good = Sources::default().encode();
        check(&good, ExitStatus::Exited(0), Ok(Sources::default()));
        let part = Err("the result of the script check is incomplete");
        check(&good[..good.len() - 1], ExitStatus::Exited(0), part.clone());
        check(b"", ExitStatus::Exited(0), part);
        check(b"a.cfg:1:1: error", ExitStatus::Exited(EXIT_REFUSED), Err("a.cfg:1:1: error"));
        let killed = ExitStatus::Killed { signal: 9, core_dumped: false };
        check(&good, killed, Err("the process that checked the script ended by SIGKILL"));
        check(
            b"",
            ExitStatus::Exited(70),
            Err("the process that checked the script ended by exit status 70"),
        );
    }
}
