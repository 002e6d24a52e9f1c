//! Rows in which somebody is killed.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sworker::shm::BATCH_COUNT;

use super::scripts::{HEAD, answered_by_workers, two_groups};
use super::support::load::Tally;
use super::support::{Load, Request, SOON, Server, processes, wait_until};
use super::{Beat, Dice, Finding, Row, milliseconds, no_longer_than};

pub const ROWS: &[Row] = &[
    Row {
        id: "R1",
        what: "kill -9 of receivers, 50 times, 5,000 messages a second",
        target: "0 lost, longest gap 50 ms, successors settled within 30 ms (p99)",
        peer: "the whole server exits; everything after the kill is lost",
        measure: receivers,
    },
    Row {
        id: "R2",
        what: "kill -9 of workers, 200 times, also in the middle of the script",
        target: "0 lost, also of another group; for each kill at most one redelivered and one batch sent again; who is answered \
                 twice is told the same",
        peer: "the whole server exits; everything queued is lost",
        measure: workers,
    },
    Row {
        id: "R9",
        what: "kill -9 of the master, 20 times",
        target: "children gone in 500 ms, a new start answers in 1 s",
        peer: "12 orphans go on for ever and hold the ports",
        measure: masters,
    },
    Row {
        id: "R13",
        what: "a worker that ends as soon as it starts, for 3 s",
        target: "no more than 60 starts, the rest loses nothing, recovery within 6 s",
        peer: "the whole server exits",
        measure: crash_loop,
    },
];

/// Kills a random process of this title `left` times, `every` so many answers, and looks how long its place stays empty.
struct Killer<'s> {
    server: &'s Server,
    title: &'static str,
    total: usize,
    left: usize,
    every: usize,
    next_at: usize,
    /// Who was killed last and when, until somebody else is in that place.
    killed: Option<(i32, Instant)>,
    look: Beat,
    /// From each kill until all are there again.
    absences: Vec<Duration>,
}

/// To look means to read `/proc`, which takes a tenth of this time.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl<'s> Killer<'s> {
    fn new(server: &'s Server, title: &'static str, left: usize, every: usize) -> Killer<'s> {
        Killer {
            server,
            title,
            total: server.children_titled(title).len(),
            left,
            every,
            next_at: every,
            killed: None,
            look: Beat::every(LOOK_EVERY),
            absences: Vec::with_capacity(left),
        }
    }

    fn when_due(&mut self, answered: usize, dice: &mut Dice) -> ControlFlow<()> {
        if let Some((victim, killed_at)) = self.killed {
            if self.look.is_due() && self.is_complete_without(victim) {
                self.absences.push(killed_at.elapsed());
                self.killed = None;
            }
            return ControlFlow::Continue(());
        }
        if answered < self.next_at {
            return ControlFlow::Continue(());
        }
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        let alive = self.server.children_titled(self.title);
        let victim = alive[dice.below(alive.len())];
        processes::send_signal(victim, Signal::SIGKILL);
        self.killed = Some((victim, Instant::now()));
        self.left -= 1;
        self.next_at = answered + self.every;
        ControlFlow::Continue(())
    }

    /// Whether as many as at first have their titles and are confined, which is the last step before their work.
    fn is_complete_without(&self, victim: i32) -> bool {
        let titled = self.server.children_titled(self.title);
        let settled = titled.into_iter().filter(|pid| *pid != victim && processes::is_confined(*pid));
        settled.count() == self.total
    }

    /// The time within which this part of the successors were there.
    fn absence(&self, part: f64) -> Duration {
        let mut sorted = self.absences.clone();
        sorted.sort();
        let index = (sorted.len() as f64 * part) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

fn receivers(dice: &mut Dice) -> Finding {
    let server = Server::start(&answered_by_workers(3, 2, 8192));
    let mut killer = Killer::new(&server, "receiver ", RECEIVER_KILLS, 250);
    let load = Load::new("r1", 1_000_000).rate(5_000.0);
    let began = Instant::now();
    let tally = load.run_while(&server.caller(), |tally| killer.when_due(tally.answered, dice));
    let value = format!(
        "{} lost of {} ({:.0} a second), {} answered twice, longest gap {}; {} successors settled after {} (median), {} \
         (p99)",
        tally.lost.len(),
        tally.sent,
        tally.sent as f64 / began.elapsed().as_secs_f64(),
        tally.duplicates,
        milliseconds(tally.gap_max),
        killer.absences.len(),
        milliseconds(killer.absence(0.5)),
        milliseconds(killer.absence(0.99))
    );
    let is_complete = killer.absences.len() == RECEIVER_KILLS;
    let is_soon = killer.absence(0.99) <= no_longer_than(Duration::from_millis(30))
        && tally.gap_max <= no_longer_than(Duration::from_millis(50));
    Finding::new(tally.lost.is_empty() && is_complete && is_soon, value)
}

const RECEIVER_KILLS: usize = 50;
const WORKER_KILLS: usize = 200;

/// Kills come before an answer is sent and after it, when the successor sends another one.
fn workers(dice: &mut Dice) -> Finding {
    let script = format!(
        r#"{HEAD}loadmodule "cfgutils"
children=2
async_workers_group="name=calls;workers=4;queue=8192"
async_workers_group="name=registrations;workers=2;queue=8192"
event_route[core:pre-routing] {{
    if (is_method("REGISTER") && sworker_task("registrations")) drop;
    if (sworker_task("calls")) drop;
}}
request_route {{
    if (!is_method("REGISTER")) usleep("250");
    sl_send_reply("200", "OK");
    if (!is_method("REGISTER")) usleep("250");
}}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let calls = |name: &str, count| Load::new(name, count).rate(3_000.0);
    let (calm, others_in_calm) = beside_others(&server, "r2-calm", || calls("r2-before", 6_000).run(&caller));
    let mut killer = Killer::new(&server, "worker calls/", WORKER_KILLS, 100);
    let (tally, others) = beside_others(&server, "r2-others", || {
        calls("r2", 1_000_000).run_while(&caller, |tally| killer.when_due(tally.answered, dice))
    });
    let redelivered = server.group("calls")["redelivered"].as_u64().unwrap_or(u64::MAX);
    // Some of them their workers had not sent: then they left once.
    let sent_again = server.counter("core.sends_taken_over");
    let value = format!(
        "{} lost of {}, {redelivered} redelivered, {sent_again} sent by successors, {} answered twice, {} of these with other bytes, p99 {}; of another group \
         {} lost of {}, p99 {} (before the kills {})",
        tally.lost.len(),
        tally.sent,
        tally.duplicates,
        tally.differing,
        milliseconds(tally.latency(0.99)),
        others.lost.len(),
        others.sent,
        milliseconds(others.latency(0.99)),
        milliseconds(others_in_calm.latency(0.99))
    );
    let is_nothing_lost = [&calm, &tally, &others_in_calm, &others].iter().all(|tally| tally.lost.is_empty());
    let is_once_a_kill = redelivered <= WORKER_KILLS as u64
        && sent_again <= (WORKER_KILLS * BATCH_COUNT) as u64
        && tally.duplicates as u64 <= redelivered + sent_again;
    let is_said_the_same = tally.differing == 0 && others.duplicates == 0;
    Finding::new(is_nothing_lost && is_once_a_kill && is_said_the_same, value)
}

/// Lets others register themselves, 1,000 a second, for as long as `during` takes; what became of both.
fn beside_others(server: &Server, name: &str, during: impl FnOnce() -> Tally) -> (Tally, Tally) {
    let (caller, is_over) = (server.caller(), AtomicBool::new(false));
    let register = || {
        let load = Load::new(name, 1_000_000).rate(1_000.0).request(|name| Request::new("REGISTER", name));
        load.run_while(&caller, |_| match is_over.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    };
    std::thread::scope(|scope| {
        let others = scope.spawn(register);
        let tally = during();
        is_over.store(true, Ordering::Relaxed);
        (tally, others.join().expect("the load of the others runs to its end"))
    })
}

fn masters(_: &mut Dice) -> Finding {
    let mut slowest_end = Duration::ZERO;
    let mut slowest_start = Duration::ZERO;
    for round in 0..20 {
        let mut server = Server::start(&two_groups(2, 2, 64));
        let address = server.address();
        let children = processes::children(server.master());
        let killed_at = Instant::now();
        processes::send_signal(server.master(), Signal::SIGKILL);
        wait_until("the children leave", SOON, || !children.iter().any(|pid| processes::is_alive(*pid)));
        slowest_end = slowest_end.max(killed_at.elapsed());
        server.wait_for_exit(SOON);
        let started_at = Instant::now();
        let again = Server::on(&two_groups(2, 2, 64)).listen(&format!("udp:{address}")).start();
        again.caller().ask(&Request::new("INVITE", &format!("r9-{round}")));
        slowest_start = slowest_start.max(started_at.elapsed());
    }
    let value = format!(
        "children gone after {} at most, a new start answered after {} at most",
        milliseconds(slowest_end),
        milliseconds(slowest_start)
    );
    Finding::new(slowest_end <= Duration::from_millis(500) && slowest_start <= Duration::from_secs(1), value)
}

fn crash_loop(_: &mut Dice) -> Finding {
    let server = Server::start(&two_groups(2, 2, 1024));
    let mut deaths = 0;
    let mut last = 0;
    let ends_at = Instant::now() + Duration::from_secs(3);
    let load = Load::new("r13", 1_000_000).rate(1_000.0).request(|name| Request::new("REGISTER", name));
    let tally = load.run_while(&server.caller(), |_| {
        if Instant::now() >= ends_at {
            return ControlFlow::Break(());
        }
        let victim = server.children_titled("worker calls/1").first().copied().unwrap_or(last);
        if victim != last {
            processes::send_signal(victim, Signal::SIGABRT);
            last = victim;
            deaths += 1;
        }
        ControlFlow::Continue(())
    });
    let ended_at = Instant::now();
    wait_until("the worker is back", SOON, || {
        server.children_titled("worker calls/1").first().is_some_and(|pid| *pid != last)
    });
    let recovery = ended_at.elapsed();
    let value = format!(
        "{deaths} starts, {} of {} messages to others lost, back after {}",
        tally.lost.len(),
        tally.sent,
        milliseconds(recovery)
    );
    Finding::new(deaths <= 60 && tally.lost.is_empty() && recovery < Duration::from_secs(6), value)
}
