//! Rows in which somebody is killed.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::{HEAD, answered_by_workers, two_groups};
use super::support::{Load, Request, SOON, Server, processes, wait_until};
use super::{Dice, Finding, Row, milliseconds};

pub const ROWS: &[Row] = &[
    Row {
        id: "R1",
        what: "kill -9 of receivers, 50 times, 5,000 messages a second",
        target: "0 lost, longest gap 50 ms",
        peer: "the whole server exits; everything after the kill is lost",
        measure: receivers,
    },
    Row {
        id: "R2",
        what: "kill -9 of workers, 200 times, also in the middle of the script",
        target: "0 accepted messages lost, at most one answered twice for each kill",
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

/// Kills `count` processes of this title, a random one each time, `every` so many answers.
struct Killer<'s> {
    server: &'s Server,
    title: &'static str,
    total: usize,
    left: usize,
    every: usize,
    next_at: usize,
}

impl<'s> Killer<'s> {
    fn new(server: &'s Server, title: &'static str, left: usize, every: usize) -> Killer<'s> {
        Killer { server, title, total: server.children_titled(title).len(), left, every, next_at: every }
    }

    fn when_due(&mut self, answered: usize, dice: &mut Dice) -> ControlFlow<()> {
        if answered < self.next_at {
            return ControlFlow::Continue(());
        }
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        let alive = self.server.children_titled(self.title);
        if alive.len() == self.total {
            processes::send_signal(alive[dice.below(alive.len())], Signal::SIGKILL);
            self.left -= 1;
            self.next_at = answered + self.every;
        }
        ControlFlow::Continue(())
    }
}

fn receivers(dice: &mut Dice) -> Finding {
    let server = Server::start(&answered_by_workers(3, 2, 8192));
    let mut killer = Killer::new(&server, "receiver ", 50, 250);
    let load = Load::new("r1", 1_000_000).rate(5_000.0);
    let tally = load.run_while(&server.caller(), |tally| killer.when_due(tally.answered, dice));
    let value = format!(
        "{} lost of {}, {} answered twice, longest gap {}",
        tally.lost.len(),
        tally.sent,
        tally.duplicates,
        milliseconds(tally.gap_max)
    );
    Finding::new(tally.lost.is_empty() && tally.gap_max <= Duration::from_millis(50), value)
}

fn workers(dice: &mut Dice) -> Finding {
    let script = format!(
        r#"{HEAD}loadmodule "cfgutils"
children=2
async_workers_group="name=calls;workers=4;queue=8192"
event_route[core:pre-routing] {{ if (sworker_task("calls")) drop; }}
request_route {{ usleep("500"); sl_send_reply("200", "OK"); }}
"#
    );
    let server = Server::start(&script);
    let mut killer = Killer::new(&server, "worker calls/", 200, 100);
    let load = Load::new("r2", 1_000_000).rate(3_000.0);
    let tally = load.run_while(&server.caller(), |tally| killer.when_due(tally.answered, dice));
    let group = server.group("calls");
    let value = format!(
        "{} lost of {}, {} answered twice, {} redelivered, p99 {}",
        tally.lost.len(),
        tally.sent,
        tally.duplicates,
        group["redelivered"],
        milliseconds(tally.latency(0.99))
    );
    Finding::new(tally.lost.is_empty() && tally.duplicates <= 200, value)
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
