//! Kills real processes while they write values that all of them share, and checks that every value is whole.
//!
//! ```text
//!  parent     forks, kills at random, reaps, reads, forks again
//!  children   add 1 to a shared integer and note it; write texts of one repeated letter; read and check texts;
//!             count under a lock, in two steps that nobody may come between
//! ```
//!
//! The parent gives back the locks and cells of the dead, as the master does. The sums are exact but for the addition a child
//! was killed in: it is in the value, or in nothing. Now and then a child stands still for a while, and the others
//! must go on. `TABLE_KILLS=20000` makes it longer.

#[path = "runner/mod.rs"]
mod runner;

use std::time::{Duration, Instant};

use sworker::shm::{
    Counters, LockTable, Locking, Owner, SharedInput, SharedReading, TableError, Tended, ValueRoom,
    ValueTable,
};
use sworker::sys::process::{
    ExitStatus, Fork, ProcessId, SingleThreaded, exit_now, fork, kill, try_wait_any, wait_any,
};

const CHILDREN: u32 = 4;
const SUM_SLOT: u32 = 0;
const TEXT_SLOT: u32 = 1;
const LOCKED_SLOT: u32 = 2;
const NOTED: u32 = 0;
const PROGRESS: u32 = 1;
const NOTED_LOCKED: u32 = 2;
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);
const EXIT_TORN: i32 = 3;
const EXIT_REFUSED: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    table: ValueTable,
    locks: LockTable,
    status: Counters,
}

fn main() {
    exit_now(runner::main(&[("values_stay_whole_whoever_is_killed", &values_stay_whole)]));
}

fn values_stay_whole() -> Result<String, String> {
    let kills = std::env::var("TABLE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let world = World {
        table: ValueTable::create(ValueRoom { slots: 3, writers: CHILDREN + 1 }).expect("memory"),
        locks: LockTable::create(1).expect("memory"),
        status: Counters::create(CHILDREN, 3).expect("memory"),
    };
    world.table.write(owner(CHILDREN), TEXT_SLOT, SharedInput::Text(b"aaaa")).expect("room");
    let proof = SingleThreaded::prove().expect("one thread");
    let mut children: Vec<Option<ProcessId>> = vec![None; CHILDREN as usize];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let deadline = Instant::now() + DEADLINE;
    let mut deaths = 0;
    while deaths < kills {
        assert!(Instant::now() < deadline, "{deaths} deaths after {DEADLINE:?}");
        for index in 0..CHILDREN {
            if children[index as usize].is_none() {
                children[index as usize] = Some(start(&proof, &world, index, random.next()));
            }
        }
        std::thread::sleep(Duration::from_micros(random.next() % 400));
        let victim = (random.next() % u64::from(CHILDREN)) as usize;
        if random.next().is_multiple_of(50) {
            others_go_on(&world, &children, victim, deadline);
        }
        // It may have ended by itself; how, is seen below.
        let _ = kill(children[victim].expect("just started"), libc::SIGKILL);
        let mut dead = vec![wait_any().expect("a child").expect("a child")];
        while let Ok(Some(another)) = try_wait_any() {
            dead.push(another);
        }
        for one in dead {
            let is_killed = matches!(one.status, ExitStatus::Killed { signal: libc::SIGKILL, .. });
            assert!(is_killed, "a child ended by {}", one.status);
            let index = children.iter().position(|child| *child == Some(one.process)).expect("one of ours");
            children[index] = None;
            world.locks.after_death(owner(index as u32));
            world.table.after_death(owner(index as u32));
            deaths += 1;
        }
    }
    for child in children.into_iter().flatten() {
        let _ = kill(child, libc::SIGKILL);
    }
    while let Ok(Some(_)) = wait_any() {
        deaths += 1;
    }
    (0..CHILDREN).for_each(|index| world.table.after_death(owner(index)));
    let taken = world.table.cell_count() - world.table.free_cell_count();
    assert_eq!(taken, 3, "cells that hold no value are taken after {deaths} deaths");
    let added = check_sum(&world, SUM_SLOT, NOTED, deaths);
    let counted = check_sum(&world, LOCKED_SLOT, NOTED_LOCKED, deaths);
    check_text(&world.table).expect("the last text is whole");
    Ok(format!("{deaths} deaths, {added} additions and {counted} counts under a lock noted"))
}

/// What was noted is in the sum; what is in the sum beyond that was added by children that did not live to note it.
fn check_sum(world: &World, slot: u32, noted: u32, deaths: u64) -> u64 {
    let noted = world.status.sum(noted);
    let Ok(SharedReading::Integer(sum)) = world.table.read(slot, &mut Vec::new()) else {
        panic!("the sum cannot be read");
    };
    let sum = sum as u64;
    assert!((noted..=noted + deaths).contains(&sum), "noted {noted}, sum {sum}, {deaths} deaths");
    assert!(noted > 0, "nothing was added");
    noted
}

/// One child is stopped, at whatever it does; the others still write. It must not have the lock: nobody takes that
/// from one who lives.
fn others_go_on(world: &World, children: &[Option<ProcessId>], stopped: usize, deadline: Instant) {
    kill(children[stopped].expect("it runs"), libc::SIGSTOP).expect("it can be stopped");
    let progress = |index: usize| world.status.value(index as u32, PROGRESS);
    let before: Vec<u64> = (0..children.len()).map(progress).collect();
    while (0..children.len()).any(|index| index != stopped && progress(index) < before[index] + 20) {
        if world.locks.is_held_by(stopped as u32, 0) {
            return;
        }
        assert!(Instant::now() < deadline, "the others wait for a process that stands still");
        std::thread::yield_now();
    }
}

fn owner(index: u32) -> Owner {
    Owner::new(0, index)
}

fn start(proof: &SingleThreaded, world: &World, index: u32, seed: u64) -> ProcessId {
    match fork(proof).expect("another process") {
        Fork::Parent(child) => child,
        Fork::Child => live(world, index, &mut Random(seed | 1)),
    }
}

fn live(world: &World, index: u32, random: &mut Random) -> ! {
    let block = world.status.block(index);
    loop {
        match world.table.add(owner(index), SUM_SLOT, 1) {
            Ok(_) => block.add(NOTED, 1),
            Err(_) => exit_now(EXIT_REFUSED),
        }
        let letter = b'a' + (random.next() % 26) as u8;
        let text = vec![letter; 1 + (random.next() % 1_000) as usize];
        if world.table.write(owner(index), TEXT_SLOT, SharedInput::Text(&text)).is_err() {
            exit_now(EXIT_REFUSED);
        }
        if check_text(&world.table).is_err() {
            exit_now(EXIT_TORN);
        }
        count_under_lock(world, index);
        block.add(NOTED_LOCKED, 1);
        world.locks.unlock(index, 0);
        block.add(PROGRESS, 1);
    }
}

fn count_under_lock(world: &World, index: u32) {
    if world.locks.lock(index, 0, LOCK_WAIT_MAX) != Locking::Taken {
        exit_now(EXIT_REFUSED);
    }
    let count = match world.table.read(LOCKED_SLOT, &mut Vec::new()) {
        Ok(SharedReading::Integer(count)) => count,
        _ => exit_now(EXIT_REFUSED),
    };
    if world.table.write(owner(index), LOCKED_SLOT, SharedInput::Integer(count + 1)).is_err() {
        exit_now(EXIT_REFUSED);
    }
}

/// Texts of several letters are none that anybody wrote.
fn check_text(table: &ValueTable) -> Result<(), String> {
    let mut text = Vec::new();
    match table.read(TEXT_SLOT, &mut text) {
        Ok(SharedReading::Text) if text.iter().all(|byte| *byte == text[0]) => Ok(()),
        Err(TableError::Busy) => Ok(()),
        other => Err(format!("{other:?}: {}", text.escape_ascii())),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
