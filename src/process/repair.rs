//! After a death that `waitpid` has confirmed: what the dead one held is put in order.
//!
//! The queues know how ([`crate::shm::Repair`]); here is decided whether the message in hand is to blame, and what
//! becomes of one that has ended too many workers.

use std::fs;
use std::path::{Path, PathBuf};

use super::obituary::Occupation;
use super::role::Role;
use crate::core::datagram::Circumstances;
use crate::shm::{Adoption, Blame, QuarantinedRecord, Queues, Repair, Repaired};
use crate::sys::process::ExitStatus;
use crate::sys::signal::Signal;

/// The master's way to put the queues in order.
pub struct RepairShop {
    queues: Queues,
    repair: Repair,
    quarantine: Quarantine,
}

/// What was found in the hands of a dead child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// For the obituary.
    pub occupation: Occupation,
    /// Where a message was set aside, when that happened and could be done.
    pub file: Option<PathBuf>,
}

impl RepairShop {
    /// Works on these queues; messages set aside go into `directory`. There must be only one.
    pub fn new(queues: &Queues, directory: &Path) -> RepairShop {
        RepairShop {
            repair: queues.repair(),
            queues: queues.clone(),
            quarantine: Quarantine { directory: directory.to_owned(), count: 0 },
        }
    }

    /// Puts in order what a dead child held.
    pub fn after_death(&mut self, role: &Role, status: ExitStatus) -> Finding {
        let nothing = Finding { occupation: Occupation::Idle, file: None };
        match role {
            Role::Master | Role::Control => nothing,
            Role::Receiver { producer, .. } => {
                self.repair.producer_died(*producer);
                nothing
            }
            Role::Worker { group, index, .. } => self.after_worker(u32::from(*group), *index, status),
        }
    }

    fn after_worker(&mut self, group: u32, worker: u32, status: ExitStatus) -> Finding {
        let before = self.queues.worker_statistics(group, worker);
        let is_started = before.started_at_ns != 0;
        match self.repair.worker_died(group, worker, blame(status, before.attempts)) {
            Repaired::Nothing => Finding { occupation: Occupation::Idle, file: None },
            Repaired::WillRedeliver { attempts } => {
                Finding { occupation: Occupation::Message { attempts, is_started }, file: None }
            }
            Repaired::Quarantined(record) => Finding {
                occupation: Occupation::Quarantined { size: record.body.len(), attempts: record.attempts },
                file: self.quarantine.keep(&record, status),
            },
        }
    }

    /// Once after a batch of deaths, before successors are forked.
    pub fn wake_all(&self) {
        self.repair.wake_all();
    }

    /// Gives what a dead worker held to its colleagues, as its successor will not come soon. Whether nothing is left.
    pub fn hand_over(&mut self, role: &Role) -> bool {
        match role {
            Role::Worker { group, index, .. } => {
                self.repair.adopt(u32::from(*group), *index) != Adoption::Full
            }
            _ => true,
        }
    }

    /// Whether no message of this group waits or is being worked on.
    pub fn is_drained(&self, group: u16) -> bool {
        self.repair.is_drained(u32::from(group))
    }

    /// Names of groups in which messages wait or are being worked on, with how many wait.
    pub fn undone(&self) -> Vec<(String, u64)> {
        (0..self.queues.group_count())
            .filter(|&group| !self.repair.is_drained(group))
            .map(|group| {
                let figures = self.queues.group_statistics(group);
                (figures.name, figures.depth)
            })
            .collect()
    }
}

/// A kill from outside says nothing about the message, until it happens over and over: then it may be the kernel that
/// kills whoever takes this message, for want of memory.
fn blame(status: ExitStatus, earlier_attempts: u32) -> Blame {
    const OUTSIDE: [i32; 3] = [Signal::SIGKILL as i32, Signal::SIGTERM as i32, Signal::SIGALRM as i32];
    match status {
        ExitStatus::Exited(0) => Blame::Nobody,
        ExitStatus::Killed { signal, .. }
            if OUTSIDE.contains(&signal) && earlier_attempts < KILLS_WITHOUT_BLAME =>
        {
            Blame::Nobody
        }
        _ => Blame::Message,
    }
}

const KILLS_WITHOUT_BLAME: u32 = 8;

/// The last messages that were set aside, as files to look at and to send again.
struct Quarantine {
    directory: PathBuf,
    count: u64,
}

/// More would fill the directory; older ones are replaced.
const KEPT_COUNT: u64 = 32;

impl Quarantine {
    fn keep(&mut self, record: &QuarantinedRecord, status: ExitStatus) -> Option<PathBuf> {
        let number = self.count % KEPT_COUNT;
        self.count += 1;
        let path = self.directory.join(format!("quarantined-{number}.sip"));
        let story = self.directory.join(format!("quarantined-{number}.txt"));
        fs::write(&path, &record.body).ok()?;
        // The story alone is worth less than the message; without it the message is still kept.
        let _ = fs::write(story, self.story(record, status));
        Some(path)
    }

    fn story(&self, record: &QuarantinedRecord, status: ExitStatus) -> String {
        let way = match Circumstances::decode(&record.meta) {
            Ok(circumstances) => format!(
                "from {} to {} by listener {} ({})",
                circumstances.source,
                circumstances.destination,
                circumstances.listener,
                circumstances.transport.name()
            ),
            Err(_) => "circumstances unreadable".to_owned(),
        };
        format!(
            "message {} set aside after {} attempts; the last worker ended by {status}\n{way}\nxdata: {:?}\n",
            self.count,
            record.attempts,
            String::from_utf8_lossy(&record.xdata)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::datagram::Transport;
    use crate::shm::{GroupPlan, QueuePlan, Record};

    const CRASH: ExitStatus = ExitStatus::Killed { signal: 11, core_dumped: false };
    const KILL: ExitStatus = ExitStatus::Killed { signal: 9, core_dumped: false };

    struct Scene {
        queues: Queues,
        shop: RepairShop,
        folder: tempfile::TempDir,
    }

    fn scene() -> Scene {
        let group = GroupPlan { name: "calls".into(), workers: 2, queue: 8, arena_size: None };
        let queues =
            Queues::create(&QueuePlan { producers: 1, groups: vec![group], attempts_max: 2 }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let shop = RepairShop::new(&queues, folder.path());
        Scene { queues, shop, folder }
    }

    impl Scene {
        fn push(&self, body: &[u8]) {
            let circumstances = Circumstances {
                source: "192.0.2.1:5060".parse().unwrap(),
                destination: "192.0.2.2:5060".parse().unwrap(),
                listener: 0,
                transport: Transport::Udp,
                received_at_ns: 1,
            };
            let meta = circumstances.encode();
            let record = Record { meta: &meta, body, xdata: b"x", received_at_ns: 1 };
            self.queues.producer(0).push(0, &record).unwrap();
        }

        /// A worker takes a message and is gone.
        fn take_and_die(&mut self, index: u32, status: ExitStatus) -> Finding {
            let mut consumer = self.queues.consumer(0, index);
            assert!(consumer.next().is_some());
            self.shop.after_death(&worker(index), status)
        }
    }

    fn worker(index: u32) -> Role {
        Role::Worker { group: 0, name: "calls".to_owned(), index }
    }

    #[test]
    fn a_message_that_ends_two_workers_is_set_aside_with_its_story() {
        let mut scene = scene();
        scene.push(b"poison");
        assert!(!scene.shop.is_drained(0));

        let first = scene.take_and_die(0, CRASH);
        assert_eq!(first.occupation, Occupation::Message { attempts: 1, is_started: true });
        let second = scene.take_and_die(0, CRASH);
        assert_eq!(second.occupation, Occupation::Quarantined { size: 6, attempts: 2 });

        assert_eq!(fs::read(second.file.unwrap()).unwrap(), b"poison");
        let story = fs::read_to_string(scene.folder.path().join("quarantined-0.txt")).unwrap();
        assert!(story.contains("after 2 attempts") && story.contains("from 192.0.2.1:5060"), "{story}");
        assert!(scene.shop.is_drained(0) && scene.shop.undone().is_empty());
    }

    #[test]
    fn kills_from_outside_are_not_the_messages_fault_until_there_are_many() {
        let mut scene = scene();
        scene.push(b"innocent");
        for attempts in 1..=KILLS_WITHOUT_BLAME {
            let finding = scene.take_and_die(0, KILL);
            assert_eq!(finding.occupation, Occupation::Message { attempts, is_started: true });
        }
        scene.take_and_die(0, KILL);
        assert!(matches!(scene.take_and_die(0, KILL).occupation, Occupation::Quarantined { .. }));
    }

    #[test]
    fn what_waits_for_an_absent_successor_goes_to_a_colleague() {
        let mut scene = scene();
        scene.push(b"urgent");
        scene.take_and_die(0, KILL);
        assert_eq!(scene.shop.undone().len(), 1);

        assert!(scene.shop.hand_over(&worker(0)));

        let mut colleague = scene.queues.consumer(0, 1);
        let delivery = colleague.next().unwrap();
        assert_eq!((delivery.body(), delivery.attempts()), (&b"urgent"[..], 2));
        delivery.finish();
        assert!(scene.shop.is_drained(0) && scene.shop.hand_over(&Role::Control));
    }

    #[test]
    fn only_the_last_ones_are_kept() {
        let mut scene = scene();
        for number in 0..KEPT_COUNT + 3 {
            scene.push(format!("{number}").as_bytes());
            scene.take_and_die(0, CRASH);
            scene.take_and_die(0, CRASH);
        }
        let files = fs::read_dir(scene.folder.path()).unwrap().count() as u64;
        assert_eq!(files, 2 * KEPT_COUNT);
        assert_eq!(fs::read(scene.folder.path().join("quarantined-2.sip")).unwrap(), b"34");
    }
}
