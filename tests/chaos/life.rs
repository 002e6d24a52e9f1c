//! Rows about beginning, end and long life.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::answered_by_workers;
use super::support::{Load, Request, SOON, Server, processes, wait_until};
use super::{Dice, Finding, Row, milliseconds};

pub const ROWS: &[Row] = &[
    Row {
        id: "R8",
        what: "SIGTERM with 1,000 messages queued",
        target: "all of them answered, exit code 0",
        peer: "53 of 59 lost, exit after 23 ms",
        measure: termination,
    },
    Row {
        id: "R17",
        what: "a million messages, after a warm-up",
        target: "no process grows by more than 64 KiB, no descriptor more",
        peer: "not measured",
        measure: soak,
    },
];

fn termination(_: &mut Dice) -> Finding {
    let mut server = Server::start(&answered_by_workers(1, 2, 2048));
    let workers = server.children_titled("worker calls/");
    workers.iter().for_each(|pid| processes::freeze(*pid));
    let caller = server.caller();
    for index in 0..1_000 {
        caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("{index}.r8"))));
        if index % 100 == 99 {
            wait_until("they are taken", SOON, || server.group("calls")["delegated"] == index + 1);
        }
    }
    let asked_at = Instant::now();
    server.signal(Signal::SIGTERM);
    workers.iter().for_each(|pid| processes::thaw(*pid));
    let answered = (0..1_000).filter(|_| caller.receive_within(Duration::from_secs(5)).is_some()).count();
    let code = server.wait_for_exit(SOON);
    let value =
        format!("{answered} of 1000 answered, exit code {code:?} after {}", milliseconds(asked_at.elapsed()));
    Finding::new(answered == 1_000 && code == Some(0), value)
}

fn soak(_: &mut Dice) -> Finding {
    let server = Server::start(&answered_by_workers(2, 2, 1024));
    let caller = server.caller();
    Load::new("r17-warm", 100_000).run(&caller).assert_nothing_lost();
    let tree = processes::tree(server.master());
    let sizes = || -> Vec<(u64, usize)> {
        tree.iter()
            .map(|pid| (processes::anonymous_memory_size(*pid), processes::descriptor_count(*pid)))
            .collect()
    };
    let before = sizes();
    let tally = Load::new("r17", 1_000_000).run(&caller);
    let after = sizes();
    let growth = before.iter().zip(&after).map(|(b, a)| a.0.saturating_sub(b.0)).max().unwrap_or(0);
    let descriptors = before.iter().zip(&after).map(|(b, a)| a.1.saturating_sub(b.1)).max().unwrap_or(0);
    let value = format!(
        "{} lost of {}, largest growth {growth} bytes, {descriptors} descriptors more",
        tally.lost.len(),
        tally.sent
    );
    Finding::new(tally.lost.is_empty() && growth <= 64 * 1024 && descriptors == 0, value)
}
