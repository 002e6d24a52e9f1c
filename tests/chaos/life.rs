//! Rows about beginning, end and long life.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::answered_by_workers;
use super::support::{Load, Request, SOON, Server, processes, wait_until};
use super::{Dice, Finding, Row, full_or_short, median, microseconds, milliseconds, size_of_row};

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
        what: "50 million messages, or CHAOS_SOAK, at 50,000 a second, after a warm-up",
        target: "0 lost, no descriptor more, all processes together grow by less than 1 KB a million messages, p99 drifts by \
                 less than 5 % (below 20 million messages: growth less than 64 KiB)",
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
const SOAK_MESSAGES: usize = full_or_short(50_000_000, 2_000_000);
/// Messages a second, and how many may be under way: a machine that falls behind does not fall over.
const SOAK_RATE: f64 = 50_000.0;
const SOAK_WINDOW: usize = 512;
/// From this many on a slope below a kilobyte for a million messages can be told from a page that was touched late, and a
/// drift of latency from noise.
const SOAK_OF_SLOPE: usize = 20_000_000;
const SLOPE_MAX: f64 = 1024.0;
const DRIFT_MAX_PERCENT: f64 = 5.0;

fn soak_messages() -> usize {
    size_of_row("CHAOS_SOAK", SOAK_MESSAGES)
}

/// What the soak may take beyond the usual limit.
pub fn soak_limit() -> Duration {
    Duration::from_secs(soak_messages() as u64 / full_or_short(20_000, 5_000))
}

/// One look at all processes of a server.
struct Look {
    memory: u64,
    descriptors: usize,
}

fn soak(_: &mut Dice) -> Finding {
    let server = Server::start(&answered_by_workers(2, 2, 1024));
    let caller = server.caller();
    let part = |name: &str| Load::new(name, SOAK_PART).rate(SOAK_RATE).window(SOAK_WINDOW).run(&caller);
    part("r17-warm").assert_nothing_lost();
    let tree = processes::tree(server.master());
    let look = || Look {
        memory: tree.iter().map(|pid| processes::anonymous_memory_size(*pid)).sum(),
        descriptors: tree.iter().map(|pid| processes::descriptor_count(*pid)).sum(),
    };
    let mut looks = vec![look()];
    let (mut sent, mut lost, mut p99, started_at) = (0, 0, Vec::new(), Instant::now());
    while sent < soak_messages() {
        let tally = part(&format!("r17-{sent}"));
        (sent, lost) = (sent + tally.sent, lost + tally.lost.len());
        p99.push(tally.latency(0.99));
        looks.push(look());
    }
    let rate = sent as f64 / started_at.elapsed().as_secs_f64();
    let is_same_tree = processes::tree(server.master()) == tree;
    let growth = looks[looks.len() - 1].memory.saturating_sub(looks[0].memory);
    let slope = slope(&looks.iter().map(|look| look.memory as f64).collect::<Vec<_>>());
    let slope = slope / SOAK_PART as f64 * 1e6;
    let descriptors = looks.iter().map(|look| look.descriptors).max().unwrap_or(0) - looks[0].descriptors;
    let quarter = p99.len().div_ceil(4);
    let (at_first, at_last) = (median(&p99[..quarter]), median(&p99[p99.len() - quarter..]));
    let drift = (at_last.as_secs_f64() / at_first.as_secs_f64() - 1.0) * 100.0;
    let value = format!(
        "{lost} lost of {sent} at {rate:.0}/s, memory of all processes grows by {slope:.0} bytes a million messages \
         ({growth} bytes in all), {descriptors} descriptors more, p99 {} in the first quarter, {} in the last ({drift:+.1} %)",
        microseconds(at_first),
        microseconds(at_last)
    );
    let is_flat = match sent >= SOAK_OF_SLOPE {
        true => slope < SLOPE_MAX && drift < DRIFT_MAX_PERCENT,
        false => growth <= 64 * 1024,
    };
    Finding::new(lost == 0 && is_flat && descriptors == 0 && is_same_tree, value)
}

/// How much a value rises from one look to the next, by least squares.
fn slope(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean_index = (count - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / count;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let distance = index as f64 - mean_index;
        covariance += distance * (value - mean);
        variance += distance * distance;
    }
    covariance / variance.max(1.0)
}
