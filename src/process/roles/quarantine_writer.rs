//! What happens to a message that was set aside: its file is written and its sender answered, in a process of its own.
//!
//! ```text
//!  master: after a death ─► QuarantineQueue ──fork──► quarantine writer: file ─► 500 to the sender ─► gone
//! ```
//!
//! The message has ended every process that touched it. So the process that reads it now does nothing else: when it dies,
//! hangs on a disk or meets the same mistake, nothing is lost but its own work. The master only forks and reaps.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::child;
use super::outbox::DirectOutbox;
use super::quarantine::{Quarantine, SetAside};
use super::role::Role;
use crate::engine::perform::{Engine, EngineParts};
use crate::process::heritage::Heritage;
use crate::routing::envelope::Incoming;
use crate::sys::process::{ProcessId, exit_now, is_shortage};
use crate::sys::session;
use crate::sys::signal::{self, Signal};
use crate::sys::title::Title;
use crate::telemetry::counters::CountNothing;
use crate::telemetry::log::Level;
use crate::telemetry::process_identity::{ProcessIdentity, ProcessKind};

/// So many may wait; of more only the obituary remains.
const WAITING_MAX: usize = 64;
/// So many are at work at the same time.
const RUNNING_MAX: usize = 4;
/// A process that takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where no descriptor is left, the process tries again so often.
const PAUSE: Duration = Duration::from_millis(100);

/// The master's list of what is to be written, and of the processes that write.
#[derive(Debug, Default)]
pub struct QuarantineQueue {
    waiting: VecDeque<SetAside>,
    running: Vec<(ProcessId, Instant)>,
}

impl QuarantineQueue {
    /// One more; false when too many wait already.
    pub fn add(&mut self, set_aside: SetAside) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push_back(set_aside);
        }
        has_room
    }

    /// The next one, when another process may be forked for it.
    pub fn take(&mut self) -> Option<SetAside> {
        if self.running.len() < RUNNING_MAX { self.waiting.pop_front() } else { None }
    }

    /// No process could be forked for it.
    pub fn put_back(&mut self, set_aside: SetAside) {
        self.waiting.push_front(set_aside);
    }

    /// This process does it.
    pub fn was_forked(&mut self, process: ProcessId) {
        self.running.push((process, Instant::now()));
    }

    /// This process ended; false when it was none of these.
    pub fn has_died(&mut self, process: ProcessId) -> bool {
        let before = self.running.len();
        self.running.retain(|(running, _)| *running != process);
        self.running.len() < before
    }

    /// Ends those that hang.
    pub fn end_the_hanging(&mut self) {
        for (process, since) in &self.running {
            if since.elapsed() > TIMEOUT {
                signal::try_send(*process, Signal::SIGKILL);
            }
        }
    }

    /// Ends all of them: the server is ended at once.
    pub fn end_all(&mut self) {
        self.waiting.clear();
        for (process, _) in &self.running {
            signal::try_send(*process, Signal::SIGKILL);
        }
    }

    /// Whether all is done.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}

/// The life of a quarantine writer, just forked by the master.
pub fn run(heritage: &Heritage, title: &mut Title, set_aside: &SetAside) -> ! {
    let pid = ProcessId::own().number() as u32;
    heritage.log.set_process(0, pid);
    child::report_panics(&heritage.log);
    for usual in [Signal::SIGCHLD, Signal::SIGSEGV, Signal::SIGBUS] {
        // A message that crashes this process too shall do so plainly.
        let _ = signal::restore_default(usual);
    }
    if let Err(error) = settle(heritage, &set_aside.group) {
        heritage.log.say(Level::Error, format_args!("the quarantine writer failed: {error}"));
        exit_now(child::EXIT_FAILED);
    }
    let _ = title.show("sworkerd: quarantine writer", "sw-quarantine");
    keep(heritage, set_aside);
    answer(heritage, set_aside, pid);
    exit_now(0)
}

/// Dies with the master and gives up what a worker gives up: it handles the very message that ended others.
fn settle(heritage: &Heritage, group: &str) -> io::Result<()> {
    session::set_parent_death_signal(Signal::SIGKILL)?;
    if ProcessId::parent() != heritage.fixed.master {
        return Err(io::Error::other("the master is gone"));
    }
    signal::unblock_all()?;
    let role = Role::Worker { group: 0, name: group.to_owned(), index: 0 };
    let give_up_at = Instant::now() + TIMEOUT / 2;
    loop {
        match child::confine(heritage, &role) {
            Err(error) if is_shortage(&error) && Instant::now() < give_up_at => std::thread::sleep(PAUSE),
            confined => return confined,
        }
    }
}

fn keep(heritage: &Heritage, set_aside: &SetAside) {
    let message = match set_aside.group.as_str() {
        "" => "a message".to_owned(),
        group => format!("a message of group {group}"),
    };
    match Quarantine::in_run_directory(&heritage.run_directory).keep(set_aside) {
        Ok(path) => {
            heritage.log.say(Level::Critical, format_args!("quarantined {message}: {}", path.display()));
        }
        Err(error) => heritage
            .log
            .say(Level::Critical, format_args!("could not write {message} to the quarantine: {error}")),
    }
}

/// 500 where one is owed: a request other than ACK, by the listener it came in by.
fn answer(heritage: &Heritage, set_aside: &SetAside, pid: u32) {
    let Some(envelope) = set_aside.envelope else { return };
    let mut engine = Engine::new(EngineParts {
        loaded: heritage.loaded.clone(),
        outbox: Box::new(DirectOutbox::new(heritage.listeners.clone())),
        delegate: None,
        counters: Box::new(CountNothing),
        log: heritage.log.clone(),
        shared: heritage.shared.clone(),
        process: ProcessIdentity { index: 0, pid, kind: ProcessKind::Worker { group: 0 } },
        secret: heritage.fixed.secret,
    });
    engine.answer_with(500, &Incoming { bytes: &set_aside.message, envelope });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start::boot::tests::Scene;
    use crate::routing::envelope::Envelope;
    use crate::transport::endpoint::Transport;
    use std::net::UdpSocket;

    fn set_aside(message: &str) -> SetAside {
        SetAside {
            group: "calls".to_owned(),
            envelope: None,
            continuation: vec![],
            xdata: vec![],
            attempts: 2,
            fingerprint: 1,
            set_aside_at_ns: 1,
            deaths: vec![],
            message: message.into(),
        }
    }

    #[test]
    fn a_few_work_at_a_time_and_no_more_wait_than_the_list_holds() {
        let mut queue = QuarantineQueue::default();
        assert!((0..WAITING_MAX).all(|_| queue.add(set_aside("m"))));
        assert!(!queue.add(set_aside("one too many")));
        let processes: Vec<_> =
            (1..=RUNNING_MAX as i32).map(|number| ProcessId::from_number(number).unwrap()).collect();
        for process in &processes {
            assert!(queue.take().is_some());
            queue.was_forked(*process);
        }
        assert!(queue.take().is_none());
        assert!(queue.has_died(processes[0]) && !queue.has_died(processes[0]));
        let again = queue.take().unwrap();
        queue.put_back(again);
        assert!(queue.take().is_some() && !queue.is_idle());
        assert!(QuarantineQueue::default().is_idle());
    }

    #[test]
    fn a_sender_is_told_only_where_an_answer_is_owed() {
        let scene = Scene::new(
            "listen=udp:127.0.0.1:0\nchildren=1\nasync_workers_group=\"name=calls;workers=1;queue=16\"\n\
             request_route { exit; }\n",
        );
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let address = sender.local_addr().unwrap();
        let request = |method: &str| {
            format!(
                "{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=1\r\n\
                 To: <sip:a@b>\r\nCall-ID: {method}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let reply = request("INVITE").replacen("INVITE sip:a@b SIP/2.0", "SIP/2.0 200 OK", 1);
        for message in [request("ACK"), reply, "no message at all, and long enough".into(), request("INVITE")]
        {
            let envelope = Envelope {
                source: address,
                destination: scene.heritage.listeners.udp(0).unwrap().address(),
                listener: 0,
                transport: Transport::Udp,
                received_at_ns: 1,
            };
            answer(&scene.heritage, &SetAside { envelope: Some(envelope), ..set_aside(&message) }, 7);
        }
        let mut bytes = [0; 2000];
        let size = sender.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..size]);
        assert!(text.starts_with("SIP/2.0 500 ") && text.contains("Call-ID: INVITE\r\n"), "{text}");
        sender.set_nonblocking(true).unwrap();
        assert!(sender.recv(&mut bytes).is_err(), "more than one answer");
    }
}
