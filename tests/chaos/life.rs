//! Rows about beginning, end and long life.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::answered_by_workers;
use super::support::{Load, Request, SOON, Server, processes, wait_until};
use super::{Dice, Finding, Row, median, milliseconds};

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
        what: "2 million messages, or CHAOS_SOAK, after a warm-up",
        target: "0 lost, no descriptor more, all processes together grow by less than 64 KiB; from 20 million messages on \
                 less than 1 KB a million",
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

/// Messages of the soak, in loads of this size; memory is looked at after each.
const SOAK_PART: usize = 200_000;
const SOAK_MESSAGES: usize = 2_000_000;
/// From this many on a slope below a kilobyte for a million messages can be told from a page that was touched late.
const SOAK_OF_SLOPE: usize = 20_000_000;
const SLOPE_MAX: f64 = 1024.0;

fn soak_messages() -> usize {
    std::env::var("CHAOS_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(SOAK_MESSAGES)
}

/// What the soak may take beyond the usual limit: 5,000 messages a second are much less than any machine does.
pub fn soak_limit() -> Duration {
    Duration::from_secs(soak_messages() as u64 / 5_000)
}

/// One look at all processes of a server.
struct Look {
    memory: u64,
    descriptors: usize,
}

fn soak(_: &mut Dice) -> Finding {
    let server = Server::start(&answered_by_workers(2, 2, 1024));
    let caller = server.caller();
    Load::new("r17-warm", SOAK_PART).run(&caller).assert_nothing_lost();
    let tree = processes::tree(server.master());
    let look = || Look {
        memory: tree.iter().map(|pid| processes::anonymous_memory_size(*pid)).sum(),
        descriptors: tree.iter().map(|pid| processes::descriptor_count(*pid)).sum(),
    };
    let mut looks = vec![look()];
    let (mut sent, mut lost, mut p99) = (0, 0, Vec::new());
    while sent < soak_messages() {
        let tally = Load::new(&format!("r17-{sent}"), SOAK_PART).run(&caller);
        (sent, lost) = (sent + tally.sent, lost + tally.lost.len());
        p99.push(tally.latency(0.99));
        looks.push(look());
    }
    let is_same_tree = processes::tree(server.master()) == tree;
    let growth = looks[looks.len() - 1].memory.saturating_sub(looks[0].memory);
    let slope = slope(&looks) / SOAK_PART as f64 * 1e6;
    let descriptors = looks.iter().map(|look| look.descriptors).max().unwrap_or(0) - looks[0].descriptors;
    let value = format!(
        "{lost} lost of {sent}, memory of all processes grows by {slope:.0} bytes a million messages ({growth} bytes in \
         all), {descriptors} descriptors more, p99 {} at first, {} at last",
        milliseconds(median(&p99[..p99.len().div_ceil(4)])),
        milliseconds(median(&p99[p99.len() * 3 / 4..]))
    );
    let is_flat = if sent >= SOAK_OF_SLOPE { slope < SLOPE_MAX } else { growth <= 64 * 1024 };
    Finding::new(lost == 0 && is_flat && descriptors == 0 && is_same_tree, value)
}

/// Bytes from one look to the next, by least squares.
fn slope(looks: &[Look]) -> f64 {
    let count = looks.len() as f64;
    let mean_index = (count - 1.0) / 2.0;
    let mean_memory = looks.iter().map(|look| look.memory as f64).sum::<f64>() / count;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (index, look) in looks.iter().enumerate() {
        let distance = index as f64 - mean_index;
        covariance += distance * (look.memory as f64 - mean_memory);
        variance += distance * distance;
    }
    covariance / variance.max(1.0)
}
