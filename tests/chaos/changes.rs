//! Rows in which a running server is told to change: another script, another program, a storm of requests.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::{HEAD, answered_by_workers};
use super::support::{Load, Request, SOON, Server, processes, wait_until};
use super::{Beat, Dice, Finding, Row, milliseconds};

pub const ROWS: &[Row] = &[
    Row {
        id: "R10",
        what: "100 reloads with other workers, groups and listeners, 10 wrong scripts among them, 2,000 messages a second",
        target: "0 lost, wrong scripts refused, no descriptor more, memory of the master within 64 KiB",
        peer: "the script cannot be reloaded; nginx loses 0 of 51,521",
        measure: reloads,
    },
    Row {
        id: "R11",
        what: "2,000 SIGHUP in 2 s, SIGHUP while workers are started, SIGHUP and SIGTERM together",
        target: "0 lost, requests combined, the last script holds, exit code 0",
        peer: "SIGHUP is ignored",
        measure: storm,
    },
    Row {
        id: "R12",
        what: "20 other programs take over the sockets, 2,000 messages a second",
        target: "0 lost, none answered twice, everybody leaves in order",
        peer: "no such thing; HAProxy loses 0 of 48,960",
        measure: upgrades,
    },
];

/// Answers with a text, by so many workers; with a second listener on request.
fn script(text: &str, receivers: u32, groups: &[(&str, u32)], listener: &str) -> String {
    let named: String = groups
        .iter()
        .map(|(name, workers)| format!("async_workers_group=\"name={name};workers={workers};queue=4096\"\n"))
        .collect();
    let first = groups[0].0;
    format!(
        "{HEAD}children={receivers}\n{listener}{named}\
         event_route[core:pre-routing] {{ if (sworker_task(\"{first}\")) drop; }}\n\
         request_route {{ sl_send_reply(\"200\", \"{text}\"); }}\n"
    )
}

/// As editors and tools do it, so that nobody ever reads half a file.
fn change(server: &Server, script: impl AsRef<[u8]>) {
    let new = server.folder().write("server.cfg.new", script);
    std::fs::rename(new, server.folder().file("server.cfg")).expect("a file can be renamed");
}

/// Which generation serves, and how many previous ones are draining.
fn generation(server: &Server) -> (u64, u64) {
    let answer = server.ask_control(&["core.generation"]);
    (answer["generation"].as_u64().unwrap_or(0), answer["draining"].as_u64().unwrap_or(0))
}

const RELOADS: usize = 100;
/// Before this many, memory and descriptors are not yet what they stay.
const WARM_AFTER: usize = 10;
const WRONG_EACH: usize = 10;

/// The reloads of R10 as they go on under load.
struct Reloads<'s> {
    server: &'s Server,
    variants: Vec<String>,
    done: usize,
    wrong: usize,
    awaited: Awaited,
    before: (usize, u64),
    beat: Beat,
}

enum Awaited {
    Nothing,
    Generation(u64),
    Refusal(usize),
}

impl<'s> Reloads<'s> {
    fn new(server: &'s Server, variants: Vec<String>) -> Reloads<'s> {
        let beat = Beat::every(Duration::from_millis(10));
        Reloads { server, variants, done: 0, wrong: 0, awaited: Awaited::Nothing, before: (0, 0), beat }
    }

    /// Descriptors of master and children, and memory of the master.
    fn sizes(&self) -> (usize, u64) {
        let tree = processes::tree(self.server.master());
        let descriptors = tree.into_iter().map(processes::descriptor_count).sum();
        (descriptors, processes::anonymous_memory_size(self.server.master()))
    }

    fn go_on(&mut self) -> ControlFlow<()> {
        if !self.beat.is_due() {
            return ControlFlow::Continue(());
        }
        match self.awaited {
            Awaited::Generation(number) if generation(self.server) != (number, 0) => {
                return ControlFlow::Continue(());
            }
            Awaited::Refusal(count) if self.server.log_count("reload failed, nothing changed") < count => {
                return ControlFlow::Continue(());
            }
            _ => {}
        }
        if self.done == WARM_AFTER * self.variants.len() && self.before.0 == 0 {
            self.before = self.sizes();
        }
        if self.done == RELOADS && self.wrong == RELOADS / WRONG_EACH {
            return ControlFlow::Break(());
        }
        self.next();
        ControlFlow::Continue(())
    }

    fn next(&mut self) {
        let is_wrong = self.wrong < self.done / WRONG_EACH;
        if is_wrong {
            self.wrong += 1;
            change(self.server, "request_route { nosuch(); }\n");
            self.awaited = Awaited::Refusal(self.wrong);
        } else {
            self.done += 1;
            change(self.server, &self.variants[self.done % self.variants.len()]);
            self.awaited = Awaited::Generation(self.done as u64);
        }
        self.server.signal(Signal::SIGHUP);
    }
}

fn reloads(_: &mut Dice) -> Finding {
    let usual = script("usual", 2, &[("calls", 2)], "");
    let server = Server::start(&usual);
    let more = "listen=udp:127.0.0.2:0\n";
    let variants = vec![
        usual,
        script("wide", 3, &[("calls", 4), ("more", 1)], more),
        script("narrow", 1, &[("other", 1)], ""),
        script("ordered", 2, &[("calls", 3)], more),
    ];
    let mut reloads = Reloads::new(&server, variants);
    let load = Load::new("r10", 400_000).rate(2_000.0);
    let tally = load.run_while(&server.caller(), |_| reloads.go_on());
    let (before, after) = (reloads.before, reloads.sizes());
    let value = format!(
        "{} lost of {} over {} reloads and {} wrong scripts, longest gap {}, descriptors {} then {}, memory of the \
         master {} then {}",
        tally.lost.len(),
        tally.sent,
        reloads.done,
        reloads.wrong,
        milliseconds(tally.gap_max),
        before.0,
        after.0,
        before.1,
        after.1
    );
    let is_met = tally.lost.is_empty()
        && reloads.done == RELOADS
        && reloads.wrong == RELOADS / WRONG_EACH
        && before.0 == after.0
        && after.1 <= before.1 + (64 << 10);
    Finding::new(is_met, value)
}

const REQUESTS: usize = 2_000;
const STORM: Duration = Duration::from_secs(2);

fn storm(dice: &mut Dice) -> Finding {
    let of = |text: &str| script(text, 1, &[("calls", 2)], "");
    let server = Server::start(&of("0"));
    let (mut sent, started_at) = (0, Instant::now());
    let tally = Load::new("r11", 1_000_000).rate(1_000.0).run_while(&server.caller(), |_| {
        let due = REQUESTS as f64 * started_at.elapsed().as_secs_f64() / STORM.as_secs_f64();
        while sent < (due as usize).min(REQUESTS) {
            sent += 1;
            if sent.is_multiple_of(100) {
                change(&server, of(&sent.to_string()));
            }
            server.signal(Signal::SIGHUP);
        }
        if sent == REQUESTS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let caller = server.caller();
    let mut asked = 0;
    wait_until("the last script holds", SOON, || {
        asked += 1;
        caller.ask(&Request::new("OPTIONS", &format!("last-{asked}"))).start == "SIP/2.0 200 2000"
    });
    wait_until("all previous ones are gone", SOON, || generation(&server).1 == 0);
    let generations = generation(&server).0;
    let lost_while_forking = reload_while_forking(&server, dice);
    drop(server);
    let codes = [[Signal::SIGHUP, Signal::SIGTERM], [Signal::SIGTERM, Signal::SIGHUP]].map(reload_and_stop);
    let value = format!(
        "{} lost of {}, {generations} generations of {REQUESTS} requests, the last script holds, {lost_while_forking} lost \
         while workers were started, exit codes {codes:?}",
        tally.lost.len(),
        tally.sent
    );
    let is_met = tally.lost.is_empty() && generations < 500 && lost_while_forking == 0;
    Finding::new(is_met && codes == [Some(0); 2], value)
}

/// Kills a worker and requests a reload in the same moment, 20 times.
fn reload_while_forking(server: &Server, dice: &mut Dice) -> usize {
    let mut left = 20;
    let mut beat = Beat::every(Duration::from_millis(50));
    let tally = Load::new("r11-fork", 1_000_000).rate(1_000.0).run_while(&server.caller(), |_| {
        if beat.is_due() {
            let workers = server.children_titled("worker calls/");
            if let Some(victim) = workers.get(dice.below(workers.len().max(1))) {
                processes::send_signal(*victim, Signal::SIGKILL);
            }
            server.signal(Signal::SIGHUP);
            left -= 1;
        }
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    wait_until("the reloads are done", SOON, || generation(server).1 == 0);
    tally.lost.len()
}

fn reload_and_stop(signals: [Signal; 2]) -> Option<i32> {
    let mut server = Server::start(&answered_by_workers(2, 2, 64));
    signals.into_iter().for_each(|signal| server.signal(signal));
    server.wait_for_exit(SOON)
}

const UPGRADES: usize = 20;

/// The master that the pid file names.
fn named_master(server: &Server) -> i32 {
    server.folder().read("server.pid").trim().parse().unwrap_or_default()
}

fn upgrades(_: &mut Dice) -> Finding {
    let mut server = Server::start(&answered_by_workers(2, 2, 4096));
    let mut masters = vec![server.master()];
    let mut is_asked = false;
    let mut beat = Beat::every(Duration::from_millis(20));
    let load = Load::new("r12", 1_000_000).rate(2_000.0);
    let tally = load.run_while(&server.caller(), |_| {
        if !beat.is_due() {
            return ControlFlow::Continue(());
        }
        let current = *masters.last().expect("there is always one");
        let named = named_master(&server);
        let is_replaced = named != current && named != 0 && !processes::is_alive(current);
        if is_asked && is_replaced && server.log_count("sworkerd: ready") > masters.len() {
            masters.push(named);
            is_asked = false;
        } else if !is_asked && masters.len() > UPGRADES {
            return ControlFlow::Break(());
        } else if !is_asked {
            processes::send_signal(current, Signal::SIGUSR2);
            is_asked = true;
        }
        ControlFlow::Continue(())
    });
    let first = server.wait_for_exit(SOON);
    let last = *masters.last().expect("there is always one");
    let everyone = processes::tree(last);
    processes::send_signal(last, Signal::SIGTERM);
    wait_until("the last one leaves", SOON, || !everyone.iter().any(|pid| processes::is_alive(*pid)));
    let value = format!(
        "{} lost of {}, {} answered twice, {} programs, longest gap {}, exit code of the first {first:?}",
        tally.lost.len(),
        tally.sent,
        tally.duplicates,
        masters.len(),
        milliseconds(tally.gap_max)
    );
    let is_met = tally.lost.is_empty() && tally.duplicates == 0 && masters.len() == UPGRADES + 1;
    Finding::new(is_met && first == Some(0), value)
}
