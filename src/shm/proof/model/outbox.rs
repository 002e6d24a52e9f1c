//! What a process sends: deaths at every step of put and flush, and every order of those who may send what is left.

use loom::thread;

use super::check;
use crate::shm::proof::crash_point::Point;
use crate::shm::proof::crash_point::armed::run_until;
use crate::shm::{Outboxes, Owner, Packet, SharedOutbox, Tended};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// The outboxes of three processes, and what left. Not part of the model: loom runs one thread at a time.
struct World {
    outboxes: Outboxes,
    /// What `put` has returned for.
    accepted: [AtomicU32; PACKETS_MAX],
    left: Mutex<Vec<u8>>,
}

const PACKETS_MAX: usize = 4;
const SENDER: u32 = 0;
const COLLEAGUES: [u32; 2] = [1, 2];

fn world() -> Arc<World> {
    let outboxes = Outboxes::create([true; 3].into_iter()).expect("a possible plan");
    Arc::new(World { outboxes, accepted: Default::default(), left: Mutex::default() })
}

impl World {
    /// A life of the sender: what is left, then these packets, then all leaves.
    fn send(&self, packets: std::ops::Range<u8>) {
        let mut outbox = self.outboxes.attach(SENDER).expect("planned");
        self.flush(&mut outbox);
        for number in packets {
            let to = ([127, 0, 0, number], u16::from(number)).into();
            outbox.put(&Packet { listener: u16::from(number), to, bytes: &[number; 40] }).expect("room");
            self.accepted[usize::from(number)].fetch_add(1, Ordering::Relaxed);
        }
        self.flush(&mut outbox);
    }

    fn flush(&self, outbox: &mut SharedOutbox) {
        outbox.flush(|pending| {
            let mut left = self.left.lock().expect("no panic while held");
            for index in 0..pending.len() {
                let packet = pending.packet(index).expect("what lies there is a packet");
                let number = packet.bytes[0];
                assert_eq!(packet.bytes, [number; 40], "payload of another packet");
                assert_eq!(packet.to.port(), u16::from(number), "address of another packet");
                left.push(number);
            }
            pending.len()
        });
    }

    fn adopt(&self, colleague: u32) {
        if let Some(mut adopted) = self.outboxes.adopt(colleague) {
            self.flush(&mut adopted.outbox);
            adopted.give_back();
        }
    }

    /// A sender that died here, with two packets accepted and not sent.
    fn die_with_two_packets(&self) {
        let mut outbox = self.outboxes.attach(SENDER).expect("planned");
        for number in 0..2 {
            let to = ([127, 0, 0, number], u16::from(number)).into();
            outbox.put(&Packet { listener: 0, to, bytes: &[number; 40] }).expect("room");
            self.accepted[usize::from(number)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was accepted left, in order; nothing left more often than it may.
    fn check_end(&self, times_max: usize) {
        assert_eq!(self.outboxes.waiting(SENDER), 0, "a packet is left");
        let left = self.left.lock().expect("no panic while held");
        for number in 0..PACKETS_MAX as u8 {
            let count = left.iter().filter(|found| **found == number).count();
            let is_accepted = self.accepted[usize::from(number)].load(Ordering::Relaxed) > 0;
            assert!(!is_accepted || count > 0, "packet {number} is lost");
            assert!(count <= times_max, "packet {number} was delivered {count} times");
        }
        let first_of = |number| left.iter().position(|found| *found == number);
        let firsts: Vec<_> = (0..PACKETS_MAX as u8).filter_map(first_of).collect();
        assert!(firsts.is_sorted(), "packets left out of order: {left:?}");
    }
}

/// The sender dies anywhere; its successor sends what was accepted, and nothing that was not.
#[test]
fn death_of_a_sender_loses_nothing() {
    for death in [
        Point::OutboxWritten,
        Point::OutboxDescribed,
        Point::OutboxPut,
        Point::OutboxFlushed,
        Point::OutboxCarried,
        Point::OutboxSent,
    ] {
        check(2, move || {
            let world = world();
            let dying = world.clone();
            let sender = thread::spawn(move || run_until(Some(death), || dying.send(0..2)).is_none());
            assert!(sender.join().expect("no panic"), "the point was passed");
            world.send(2..4);
            world.check_end(2);
        });
    }
}

/// Two colleagues look for what is left while the master starts a successor: one of the three sends it.
#[test]
fn abandoned_outbox_is_flushed_by_one() {
    check(3, || {
        let world = world();
        world.die_with_two_packets();
        let colleagues = COLLEAGUES.map(|colleague| {
            let world = world.clone();
            thread::spawn(move || world.adopt(colleague))
        });
        assert!(world.outboxes.abandon(SENDER));
        while !world.outboxes.may_start(SENDER) {
            thread::yield_now();
        }
        world.send(2..4);
        colleagues.into_iter().for_each(|colleague| colleague.join().expect("no panic"));
        world.check_end(1);
    });
}

/// The process that has adopted an outbox dies anywhere; another one adopts it.
#[test]
fn death_of_an_adopter_loses_nothing() {
    for death in [
        Point::OutboxAdopted,
        Point::OutboxFlushed,
        Point::OutboxCarried,
        Point::OutboxSent,
        Point::OutboxGivenBack,
    ] {
        check(2, move || {
            let world = world();
            world.die_with_two_packets();
            world.outboxes.abandon(SENDER);
            let colleague = world.clone();
            let other = thread::spawn(move || colleague.adopt(COLLEAGUES[1]));
            // The other one may have been faster.
            run_until(Some(death), || world.adopt(COLLEAGUES[0]));
            world.outboxes.after_death(Owner::new(0, COLLEAGUES[0]));
            other.join().expect("no panic");
            world.outboxes.abandon(SENDER);
            world.adopt(COLLEAGUES[1]);
            world.check_end(2);
        });
    }
}
