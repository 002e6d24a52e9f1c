//! After a death that `waitpid` has confirmed: what the dead one held is put in order.
//!
//! The queues know how ([`crate::shm::Repair`]), and so does the memory that receivers read into
//! ([`ReceiveMemory::after_death`]); here is decided whether the message in hand is to blame, and what is told about one
//! that has ended too many processes.

use std::collections::HashMap;

use super::obituary::Occupation;
use crate::process::roles::quarantine::SetAside;
use crate::process::roles::receiver::envelope;
use crate::process::roles::role::Role;
use crate::routing::envelope::Envelope;
use crate::routing::work::Work;
use crate::shm::{
    Adoption, Blame, QuarantinedRecord, Queues, Repair, Repaired, WorkerStatistics, fingerprint,
};
use crate::sys::clock::realtime_ns;
use crate::sys::process::{ExitStatus, ProcessId};
use crate::sys::receive::{InHand, ReceiveMemory, Received};
use crate::sys::signal::Signal;
use crate::transport::udp::UdpListener;

/// The master's way to put the queues in order.
pub struct RepairShop {
    queues: Queues,
    repair: Repair,
    /// Processes that were ended for being too slow, by place, with what told their message from the next one.
    condemned: HashMap<u32, u64>,
    /// How processes ended over messages that are still to be delivered again, by the fingerprint of the message.
    deaths: HashMap<u64, Vec<String>>,
}

/// A child that is no more.
pub struct Dead<'a> {
    /// Where it ran.
    pub place: u32,
    /// What it was.
    pub role: &'a Role,
    /// Its process id.
    pub process: ProcessId,
    /// How it ended.
    pub status: ExitStatus,
    /// Something that it was to send lies in its outbox.
    pub has_unsent: bool,
    /// What it had read, if it was a receiver.
    pub remains: Option<Leftover<'a>>,
}

impl Dead<'_> {
    fn in_words(&self) -> String {
        let Dead { role, process, status, .. } = self;
        format!("{role} (pid {process}) ended by {status} at {}", in_words(realtime_ns()))
    }
}

/// What a dead receiver had read.
pub struct Leftover<'a> {
    /// Where it read to.
    pub memory: &'a ReceiveMemory,
    /// Where it read from.
    pub socket: &'a UdpListener,
    /// Index of that listener.
    pub listener: u16,
    /// Its last heartbeat.
    pub heartbeat: u64,
}

impl Leftover<'_> {
    fn envelope(&self, message: &Received<'_>) -> Option<Envelope> {
        envelope(message, self.socket, self.listener, realtime_ns()).ok()
    }
}

/// What was found in the hands of a dead child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// For the obituary.
    pub occupation: Occupation,
    /// The message that is not to be delivered again.
    pub set_aside: Option<SetAside>,
}

impl Finding {
    const NOTHING: Finding = Finding { occupation: Occupation::Idle, set_aside: None };
}

/// So many receivers may end because of one message, as with `attempts=` of a group.
const RECEIVERS_PER_MESSAGE: u32 = 2;

/// Of so many messages the deaths are remembered; a flood of such messages is a worse problem than a list that is cut.
const MESSAGES_REMEMBERED_MAX: usize = 1024;

impl RepairShop {
    /// Works on these queues. There must be only one.
    pub fn new(queues: &Queues) -> RepairShop {
        RepairShop {
            repair: queues.repair(),
            queues: queues.clone(),
            condemned: HashMap::new(),
            deaths: HashMap::new(),
        }
    }

    /// The figures of a worker.
    pub fn worker(&self, group: u16, index: u32) -> WorkerStatistics {
        self.queues.worker_statistics(u32::from(group), index)
    }

    /// Notes that the process at this place is ended for being too slow with the message it has in hand, which this tells
    /// from the next one: when a worker began with it, the heartbeat of a receiver. The death counts against the message.
    /// False when that was noted before.
    pub fn condemn(&mut self, place: u32, mark: u64) -> bool {
        self.condemned.insert(place, mark) != Some(mark)
    }

    /// Counts a worker that is ended because it is too slow or does not move.
    pub fn count_deadline_kill(&self, group: u16) {
        self.repair.count_deadline_kill(u32::from(group));
    }

    /// Puts in order what a dead child held.
    pub fn after_death(&mut self, dead: &Dead<'_>) -> Finding {
        match dead.role {
            Role::Master | Role::Control => Finding::NOTHING,
            Role::Timer { producer } => {
                self.repair.producer_died(*producer);
                Finding::NOTHING
            }
            Role::Receiver { producer, .. } => {
                self.repair.producer_died(*producer);
                dead.remains.as_ref().map_or(Finding::NOTHING, |remains| self.after_receiver(dead, remains))
            }
            Role::Worker { group, index, .. } => {
                let before = self.worker(*group, *index);
                let blame = self.blame(dead, before.started_at_ns, before.attempts);
                let is_started = before.started_at_ns != 0;
                let repaired = match dead.has_unsent {
                    true => self.repair.worker_died_with_unsent(u32::from(*group), *index, blame),
                    false => self.repair.worker_died(u32::from(*group), *index, blame),
                };
                self.finding(dead, repaired, is_started)
            }
        }
    }

    fn after_receiver(&mut self, dead: &Dead<'_>, remains: &Leftover<'_>) -> Finding {
        let blame = self.blame(dead, remains.heartbeat, remains.memory.earlier_deaths());
        match remains.memory.after_death(blame == Blame::Message, RECEIVERS_PER_MESSAGE) {
            InHand::Nothing => Finding::NOTHING,
            InHand::Again { message, deaths } => {
                self.remember(fingerprint_of_received(&message), dead.in_words());
                let occupation = Occupation::Message { attempts: deaths, is_started: true };
                Finding { occupation, set_aside: None }
            }
            InHand::PassedOver { message, deaths } => {
                let fingerprint = fingerprint_of_received(&message);
                let set_aside = SetAside {
                    group: String::new(),
                    envelope: remains.envelope(&message),
                    continuation: Vec::new(),
                    xdata: Vec::new(),
                    attempts: deaths,
                    fingerprint,
                    set_aside_at_ns: realtime_ns(),
                    deaths: self.deaths_over(fingerprint, dead),
                    message: message.bytes.to_vec(),
                };
                let occupation = Occupation::Quarantined { size: message.bytes.len(), attempts: deaths };
                Finding { occupation, set_aside: Some(set_aside) }
            }
        }
    }

    /// A process that was killed for being too slow was so because of its message, if that is still the one in its hands.
    fn blame(&mut self, dead: &Dead<'_>, mark: u64, earlier_attempts: u32) -> Blame {
        match self.condemned.remove(&dead.place) {
            Some(condemned) if condemned == mark => Blame::Message,
            _ => blame(dead.status, earlier_attempts),
        }
    }

    fn deaths_over(&mut self, fingerprint: u64, last: &Dead<'_>) -> Vec<String> {
        let mut deaths = self.deaths.remove(&fingerprint).unwrap_or_default();
        deaths.push(last.in_words());
        deaths
    }

    fn finding(&mut self, dead: &Dead<'_>, repaired: Repaired, is_started: bool) -> Finding {
        match repaired {
            Repaired::Nothing => Finding::NOTHING,
            Repaired::WillRedeliver { attempts, fingerprint } => {
                if is_started {
                    self.remember(fingerprint, dead.in_words());
                }
                Finding { occupation: Occupation::Message { attempts, is_started }, set_aside: None }
            }
            Repaired::Quarantined(record) => {
                let deaths = self.deaths_over(record.fingerprint, dead);
                Finding {
                    occupation: Occupation::Quarantined {
                        size: record.body.len(),
                        attempts: record.attempts,
                    },
                    set_aside: Some(set_aside(dead.role, record, deaths)),
                }
            }
        }
    }

    fn remember(&mut self, fingerprint: u64, death: String) {
        if self.deaths.len() == MESSAGES_REMEMBERED_MAX && !self.deaths.contains_key(&fingerprint) {
            // Nearly all of them were processed long ago by a successor, of which the master hears nothing.
            self.deaths.clear();
        }
        self.deaths.entry(fingerprint).or_default().push(death);
    }

    /// Once after a batch of deaths, before successors are forked.
    pub fn wake_all(&self) {
        self.repair.wake_all();
    }

    /// Gives what a dead worker held to its colleagues, as its successor will not come soon. Whether nothing is left. What
    /// it was to send has left.
    pub fn hand_over(&mut self, role: &Role) -> bool {
        match role {
            Role::Worker { group, index, .. } => {
                self.repair.adopt(u32::from(*group), *index) != Adoption::Full
            }
            _ => true,
        }
    }

    /// What in the memory of the queues cannot be, in words, if there is anything.
    pub fn damage(&self) -> Option<String> {
        (0..self.queues.group_count()).find_map(|group| {
            let corrupt_count = self.queues.corrupt_count(group);
            if corrupt_count == 0 && self.repair.is_sound(group) {
                return None;
            }
            let name = self.queues.group_statistics(group).name;
            Some(match corrupt_count {
                0 => format!("inconsistent queue state in group {name}"),
                count => format!("{count} corrupt records in group {name}"),
            })
        })
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
/// kills each process that takes this message, for want of memory.
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

fn set_aside(role: &Role, record: QuarantinedRecord, deaths: Vec<String>) -> SetAside {
    let group = match role {
        Role::Worker { name, .. } => name.clone(),
        _ => String::new(),
    };
    let (envelope, continuation) = Work::split(&record.meta).ok().unzip();
    SetAside {
        group,
        envelope,
        continuation: continuation.unwrap_or_default().to_vec(),
        xdata: record.xdata,
        attempts: record.attempts,
        fingerprint: record.fingerprint,
        set_aside_at_ns: realtime_ns(),
        deaths,
        message: record.body,
    }
}

/// The same for every copy of a message from one sender.
fn fingerprint_of_received(message: &Received<'_>) -> u64 {
    let source = message.source.map_or_else(String::new, |source| source.to_string());
    fingerprint(&[source.as_bytes(), message.bytes])
}

fn in_words(nanoseconds: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::roles::quarantine::Quarantine;
    use crate::shm::{GroupPlan, QueuePlan, Record};
    use crate::state::poison::PoisonCache;
    use crate::transport::endpoint::Transport;

    const CRASH: ExitStatus = ExitStatus::Killed { signal: 11, core_dumped: false };
    const KILL: ExitStatus = ExitStatus::Killed { signal: 9, core_dumped: false };

    struct Scene {
        queues: Queues,
        shop: RepairShop,
    }

    fn scene() -> Scene {
        let group = GroupPlan::new("calls", 2, 8);
        let queues = Queues::create(&QueuePlan { producers: 1, groups: vec![group] }).unwrap();
        let shop = RepairShop::new(&queues);
        Scene { queues, shop }
    }

    impl Scene {
        fn push(&self, body: &[u8]) {
            let envelope = Envelope {
                source: "192.0.2.1:5060".parse().unwrap(),
                destination: "192.0.2.2:5060".parse().unwrap(),
                listener: 0,
                transport: Transport::Udp,
                received_at_ns: 1,
            };
            let mut meta = Vec::new();
            Work::write_meta_of_resumed(&envelope, b"\x01\0\x06RESUME", &mut meta);
            let record = Record { meta: &meta, body, xdata: b"x", received_at_ns: 1 };
            self.queues.producer(0).push(0, &record).unwrap();
        }

        /// A worker takes a message and is gone.
        fn take_and_die(&mut self, index: u32, status: ExitStatus) -> Finding {
            let mut consumer = self.queues.consumer(0, index);
            assert!(consumer.next().is_some());
            reap(&mut self.shop, &worker(index), status)
        }
    }

    const PLACE: u32 = 3;

    /// As the master does it: each deed is counted once.
    fn condemn(shop: &mut RepairShop, mark: u64) -> bool {
        let is_new = shop.condemn(PLACE, mark);
        if is_new {
            shop.count_deadline_kill(0);
        }
        is_new
    }

    fn reap(shop: &mut RepairShop, role: &Role, status: ExitStatus) -> Finding {
        shop.after_death(&Dead {
            place: PLACE,
            role,
            process: ProcessId::own(),
            status,
            has_unsent: false,
            remains: None,
        })
    }

    fn worker(index: u32) -> Role {
        Role::Worker { group: 0, name: "calls".to_owned(), index }
    }

    #[test]
    fn a_message_that_ends_two_workers_is_set_aside_with_all_that_is_known() {
        let mut scene = scene();
        scene.push(b"poison");
        assert!(!scene.shop.is_drained(0));

        let first = scene.take_and_die(0, CRASH);
        assert_eq!(first.occupation, Occupation::Message { attempts: 1, is_started: true });
        let second = scene.take_and_die(0, CRASH);
        assert_eq!(second.occupation, Occupation::Quarantined { size: 6, attempts: 2 });

        let set_aside = second.set_aside.unwrap();
        assert_eq!((set_aside.message.as_slice(), set_aside.group.as_str()), (&b"poison"[..], "calls"));
        assert_eq!((set_aside.xdata.as_slice(), set_aside.attempts), (&b"x"[..], 2));
        assert_eq!(set_aside.continuation, b"\x01\0\x06RESUME");
        assert_eq!(set_aside.envelope.unwrap().source.to_string(), "192.0.2.1:5060");
        assert_eq!(set_aside.deaths.len(), 2);
        assert!(set_aside.deaths.iter().all(|death| death.contains("SIGSEGV")), "{:?}", set_aside.deaths);
        assert!(scene.shop.is_drained(0) && scene.shop.undone().is_empty());
    }

    /// The file of a message, the memory of copies and a replay mean the same message.
    #[test]
    fn what_is_set_aside_is_found_again_by_its_file_and_its_copies() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::in_run_directory(folder.path());
        let known = PoisonCache::create().unwrap();
        let mut fingerprints = Vec::new();
        for message in [&b"poison"[..], b"other"] {
            let mut scene = scene();
            scene.push(message);
            scene.take_and_die(0, CRASH);
            let set_aside = scene.take_and_die(0, CRASH).set_aside.expect("it ended two workers");
            known.note(0, &set_aside.message, 1);
            let path = quarantine.keep(&set_aside).unwrap();
            // What a replay reads.
            let replayed = SetAside::decode(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(replayed, set_aside);
            let name = path.to_string_lossy().into_owned();
            assert!(name.ends_with(&format!("-{:016x}.sip", replayed.fingerprint)), "{name}");
            assert!(known.knows(0, &replayed.message, || 1) && replayed.message == message);
            fingerprints.push(replayed.fingerprint);
        }
        assert_ne!(fingerprints[0], fingerprints[1]);
        assert!(!known.knows(0, b"third", || 1));
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
        assert_eq!((delivery.body(), delivery.earlier_attempts()), (&b"urgent"[..], 1));
        delivery.finish();
        assert!(scene.shop.is_drained(0) && scene.shop.hand_over(&Role::Control));
    }

    #[test]
    fn a_worker_ended_for_being_slow_counts_against_its_message_and_no_other() {
        let mut scene = scene();
        scene.push(b"slow");
        scene.queues.consumer(0, 0).next().unwrap();
        let started_at_ns = scene.shop.worker(0, 0).started_at_ns;
        assert_ne!(started_at_ns, 0);
        // It finished in time after all and had begun with another one when it was killed.
        assert!(condemn(&mut scene.shop, started_at_ns - 1));
        reap(&mut scene.shop, &worker(0), KILL);
        for attempts in 2..=3 {
            scene.queues.consumer(0, 0).next().unwrap();
            let started_at_ns = scene.shop.worker(0, 0).started_at_ns;
            assert!(condemn(&mut scene.shop, started_at_ns));
            assert!(!condemn(&mut scene.shop, started_at_ns));
            let finding = reap(&mut scene.shop, &worker(0), KILL);
            match attempts {
                2 => assert_eq!(finding.occupation, Occupation::Message { attempts, is_started: true }),
                _ => assert_eq!(finding.occupation, Occupation::Quarantined { size: 4, attempts }),
            }
        }
        assert_eq!(scene.queues.group_statistics(0).deadline_killed, 3);
    }
}
