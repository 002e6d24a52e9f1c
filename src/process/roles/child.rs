//! The first and the last moments of every child.
//!
//! ```text
//!  fork ─► signals ─► follow the master into death ─► title, sandbox ─► the role's own loop ─► leave at once
//! ```
//!
//! Nothing of a child ever returns into the master's frames: it leaves by `exit_now`, also when it panics.

use std::cell::RefCell;
use std::io;
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use super::role::{Role, Rules};
use super::{control, receiver, timer, worker};
use crate::process::heritage::Heritage;
use crate::process::start::confinement;
use crate::shm::proof::failpoint;
use crate::sys::process::{ProcessId, exit_now, is_shortage};
use crate::sys::session;
use crate::sys::signal::{self, Signal};
use crate::sys::title::Title;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::process_identity::{ProcessIdentity, ProcessKind};

/// Exit status after a panic, where a panic does not abort.
const EXIT_PANICKED: i32 = 70;
/// Exit status of a child that could not begin or go on.
pub const EXIT_FAILED: i32 = 71;
/// The same because the system lacked something at that moment, such as a descriptor.
pub const EXIT_STARVED: i32 = 75;

/// How long orphaned workers have to finish what was accepted.
const LAST_EFFORT: Duration = Duration::from_millis(300);

/// A child of the master at this place, just forked.
pub fn run(heritage: &Heritage, title: &mut Title, place: u32) -> ! {
    let role = &heritage.places[place as usize];
    heritage.log.set_process(place, ProcessId::own().number() as u32);
    report_panics(&heritage.log);
    match begin(heritage, title, role).and_then(|()| work(heritage, role, place)) {
        Ok(()) => exit_now(0),
        Err(error) => {
            heritage.log.say(Level::Error, format_args!("{role} failed: {error}"));
            exit_now(if is_shortage(&error) { EXIT_STARVED } else { EXIT_FAILED })
        }
    }
}

fn begin(heritage: &Heritage, title: &mut Title, role: &Role) -> io::Result<()> {
    let rules = role.rules();
    set_signals(&rules)?;
    session::set_parent_death_signal(rules.orphaned)?;
    follow_master(heritage, &rules);
    // A title that cannot be shown is a flaw and no reason not to serve.
    let _ = title.show(&format!("sworkerd: {role}"), rules.short_name);
    failpoint::activate();
    confine(heritage, role)
}

/// Gives up for good what this role does not need, unless the script wants no sandbox.
pub(in crate::process) fn confine(heritage: &Heritage, role: &Role) -> io::Result<()> {
    match heritage.loaded.settings().is_sandboxed {
        true => confinement::enter(role, &heritage.run_directory),
        false => Ok(()),
    }
}

/// What each signal means to a child. They are all held back until this is done; what came meanwhile comes then.
fn set_signals(rules: &Rules) -> io::Result<()> {
    // A key pressed at the terminal, or a service manager's signal to all processes, is the master's business.
    for others in
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE]
    {
        signal::ignore(others)?;
    }
    // The run-time library has handlers of its own for some of these, which take the first one sent from outside for
    // a mistake and let it pass.
    for usual in [Signal::SIGCHLD, Signal::SIGSEGV, Signal::SIGBUS] {
        signal::restore_default(usual)?;
    }
    signal::catch(rules.leave)?;
    if rules.orphaned != Signal::SIGKILL {
        signal::catch_as_last(rules.orphaned, LAST_EFFORT)?;
    }
    signal::unblock_all()
}

/// Whether the master is gone, and what was accepted is to be finished in a short time.
pub fn is_orphaned(rules: &Rules) -> bool {
    signal::times_caught(rules.orphaned) > 0
}

/// Whether this child was asked to finish and leave.
pub fn is_asked_to_leave(rules: &Rules) -> bool {
    signal::times_caught(rules.leave) > 0 || signal::times_caught(rules.orphaned) > 0
}

/// The kernel's signal at the death of the master is the first line. This is the second, for a child that missed it because
/// the master died before the kernel knew of the request, or forgot it: an orphan sends itself what the kernel would have sent.
/// Each role asks now and then in its loop; it costs one system call.
pub fn follow_master(heritage: &Heritage, rules: &Rules) {
    if ProcessId::parent() != heritage.fixed.master && signal::times_caught(rules.orphaned) == 0 {
        // To oneself it cannot fail.
        let _ = signal::send(ProcessId::own(), rules.orphaned);
    }
}

fn work(heritage: &Heritage, role: &Role, place: u32) -> io::Result<()> {
    let pid = ProcessId::own().number() as u32;
    let identity = |kind| ProcessIdentity { index: place, pid, kind };
    match role {
        Role::Master => Err(io::Error::other("the master is not a child")),
        Role::Receiver { producer, listener, .. } => {
            receiver::run(heritage, identity(ProcessKind::Receiver), *producer, *listener)
        }
        Role::Worker { group, index, .. } => {
            worker::run(heritage, identity(ProcessKind::Worker { group: *group }), *group, *index)
        }
        Role::Timer { producer } => timer::run(heritage, place, *producer),
        Role::Control => control::run(heritage, place),
    }
}

thread_local! {
    /// Where a panic is told; the hook itself may hold nothing that belongs to one thread.
    static LAST_WORDS: RefCell<Option<Rc<Log>>> = const { RefCell::new(None) };
}

/// A panic is told in the log, and ends the process before any frame is unwound.
pub(in crate::process) fn report_panics(log: &Rc<Log>) {
    LAST_WORDS.set(Some(log.clone()));
    panic::set_hook(Box::new(|what| {
        let log = LAST_WORDS.with(|words| words.try_borrow().ok().and_then(|words| words.clone()));
        if let Some(log) = log {
            log.say(Level::Bug, format_args!("{what}"));
        }
        if cfg!(panic = "unwind") {
            exit_now(EXIT_PANICKED);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_leaves_when_it_is_told_or_orphaned() {
        // Signals that nothing else in this process uses.
        for told in [Signal::SIGIO, Signal::SIGVTALRM] {
            let quiet = Rules { leave: Signal::SIGPROF, orphaned: Signal::SIGPROF, ..Role::Control.rules() };
            let rules = match told {
                Signal::SIGIO => Rules { leave: told, ..quiet },
                _ => Rules { orphaned: told, ..quiet },
            };
            signal::catch(told).unwrap();
            assert!(!is_asked_to_leave(&rules));
            signal::send(ProcessId::own(), told).unwrap();
            let deadline = std::time::Instant::now() + Duration::from_secs(5);
            while !is_asked_to_leave(&rules) {
                assert!(std::time::Instant::now() < deadline, "{told} was not noticed");
                std::thread::yield_now();
            }
        }
    }
}
