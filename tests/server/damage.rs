//! Damaged queue memory: the master finds it, logs it and starts new processes with new memory; readable messages are
//! answered, and the others are logged as lost.
//!
//! A test plays the bug: it writes into the shared memory from outside.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use nix::sys::signal::Signal;

use crate::scripts::answered_by_workers;
use crate::support::{Caller, Load, Request, SOON, Server, processes, wait_until};

/// Where a process has this shared memory.
fn mapping(pid: i32, name: &str) -> std::ops::Range<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process of ours can be looked at");
    let line = maps.lines().find(|line| line.contains(&format!("/memfd:{name}"))).expect("it is mapped");
    let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text| u64::from_str_radix(text, 16).expect("a number");
    number(start)..number(end)
}

/// The queue memory of a server, into which the test writes as no process of the server does.
struct Memory {
    file: File,
    start: u64,
    bytes: Vec<u8>,
}

impl Memory {
    /// `None` where processes may not be written to.
    fn of_queues(server: &Server) -> Option<Memory> {
        let range = mapping(server.master(), "sworker-queues");
        let path = format!("/proc/{}/mem", server.master());
        let file = File::options().read(true).write(true).open(path).ok()?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start).ok()?;
        Some(Memory { file, start: range.start, bytes })
    }

    fn find(&self, text: &[u8]) -> usize {
        memchr::memmem::find(&self.bytes, text).expect("it lies there")
    }

    fn spoil(&self, at: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, self.start + at as u64).expect("it can be written to");
    }
}

/// All processes are replaced within a moment, once, and new requests are answered.
fn assert_renewed(server: &Server, before: &[i32]) {
    server.wait_for_log("queue memory is damaged");
    wait_until("others serve", SOON, || {
        let now = server.ask_control(&["core.generation"]);
        (&now["generation"], &now["draining"]) == (&1.into(), &0.into())
    });
    assert!(!before.iter().any(|pid| processes::is_alive(*pid)), "somebody is left");
    assert_eq!(server.counter("core.memory_damaged"), 1);
    Load::new("after", 500).run(&server.caller()).assert_nothing_lost();
    assert_eq!(server.log_count("queue memory is damaged"), 1);
}

/// A server whose only worker stands still while these messages wait; the worker, and who asked.
fn with_waiting(names: &[&str]) -> (Server, i32, Caller) {
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let worker = server.worker("calls", 1);
    processes::freeze(worker);
    let caller = server.caller();
    names.iter().for_each(|name| caller.send(&message(&caller, name)));
    wait_until("they wait", SOON, || server.counter("sworker.delegated") == names.len() as u64);
    (server, worker, caller)
}

fn message(caller: &Caller, name: &str) -> Vec<u8> {
    caller.bytes(&Request::new("OPTIONS", name))
}

fn pids(server: &Server) -> Vec<i32> {
    server.children().into_iter().map(|(pid, _)| pid).collect()
}

#[test]
fn a_record_that_is_none_ends_in_new_memory_and_all_others_are_answered() {
    let (mut server, worker, caller) = with_waiting(&["before", "spoilt", "behind"]);
    let Some(memory) = Memory::of_queues(&server) else {
        processes::thaw(worker);
        return eprintln!("skipped: processes may not be written to here");
    };
    let before = pids(&server);
    // The file is wrong by now: what runs is made anew, not what lies there.
    server.folder().write("server.cfg", "nonsense");
    // Its size stands in its header, close before it.
    let spoilt = message(&caller, "spoilt");
    let body = memory.find(&spoilt);
    let size = (spoilt.len() as u32).to_ne_bytes();
    let header = memory.bytes[body - 128..body].windows(4).rposition(|part| part == size).expect("its size");
    memory.spoil(body - 128 + header, &[0xff; 4]);
    server.expect_damage();

    processes::thaw(worker);

    let mut answered: Vec<String> = (0..2).map(|_| caller.receive().header("Call-ID").to_string()).collect();
    answered.sort();
    assert_eq!(answered, ["before", "behind"]);
    assert_renewed(&server, &before);
    assert_eq!(server.group("calls")["corrupt"], 1);
}

#[test]
fn a_ring_whose_words_are_spoilt_holds_up_nobody_for_long() {
    let (mut server, worker, caller) = with_waiting(&["first", "second"]);
    let Some(memory) = Memory::of_queues(&server) else {
        processes::thaw(worker);
        return eprintln!("skipped: processes may not be written to here");
    };
    let before = pids(&server);
    // The word of a record that waits is its number and a one. Without it nobody finds what comes behind.
    let words = memory.bytes.chunks_exact(16).enumerate();
    let ready = |number: u64| number << 16 | 1;
    let word_of = |chunk: &[u8]| u64::from_ne_bytes(chunk[..8].try_into().expect("eight bytes"));
    let (at, word) = words
        .map(|(index, chunk)| (index * 16, word_of(chunk)))
        .find(|(_, word)| (64..66).any(|number| *word == ready(number)))
        .expect("one waits");
    memory.spoil(at, &0_u64.to_ne_bytes());

    processes::thaw(worker);

    server.wait_for_log("inconsistent queue state in group calls");
    wait_until("others serve", SOON, || server.ask_control(&["core.generation"])["generation"] == 1);
    assert_eq!(caller.ask(&Request::new("OPTIONS", "after")).status(), 200, "{word:#x}");
    assert_renewed(&server, &before);
    // What nobody can find any more is lost, and no secret.
    server.wait_for_log("remaining messages are in damaged memory");
    server.wait_for_log("lost: 2 messages queued for group calls");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_exit(SOON), Some(1));
}
