//! Rows about beginning, end and long life.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::answered_by_workers;
use super::support::{Caller, Load, Message, Request, SOON, Server, processes, wait_until};
use super::{
    Dice, Finding, Row, full_or_short, median, median_ratio, microseconds, milliseconds, no_longer_than,
    size_of_row,
};

pub const ROWS: &[Row] = &[
    Row {
        id: "R8",
        what: "SIGTERM with 1,000 messages queued, 500 new ones; a second SIGTERM",
        target: "what waits answered, each new one told 503 with Retry-After, exit code 0; the second ends all within 1 s",
        peer: "53 of 59 lost, exit after 23 ms",
        measure: termination,
    },
    Row {
        id: "R17",
        what: "50 million messages, or CHAOS_SOAK, at 50,000 a second, after a warm-up",
        target: "0 lost, no descriptor more, all processes together grow by less than 1 KB a million messages, p99 \
                 less than 5 % above that of a server that just started (below 20 million messages: growth less than 64 KiB)",
        peer: "not measured",
        measure: soak,
    },
];

fn termination(_: &mut Dice) -> Finding {
    let drained = drain();
    let insisted = insist();
    let value = format!(
        "{} of {QUEUED} answered, {} of {NEWCOMERS} newcomers meanwhile told 503 with Retry-After, exit code {:?} after {}; a \
         second SIGTERM ended {} of {} processes and {QUEUED} waiting messages after {}, exit code {:?}",
        drained.answered,
        drained.refused,
        drained.code,
        milliseconds(drained.took),
        insisted.ended,
        insisted.processes,
        milliseconds(insisted.took),
        insisted.code
    );
    let is_drained = drained.answered == QUEUED && drained.refused == NEWCOMERS && drained.code == Some(0);
    let is_ended = insisted.ended == insisted.processes && insisted.code != Some(0);
    let is_at_once = insisted.took <= no_longer_than(Duration::from_secs(1));
    Finding::new(is_drained && is_ended && is_at_once, value)
}

/// Messages that wait when SIGTERM comes.
const QUEUED: usize = 1_000;
/// Requests that come after it.
const NEWCOMERS: usize = 500;
/// What the server writes when it has heard.
const IS_FINISHING: &str = "SIGTERM: stopping, finishing accepted messages";

/// A server whose workers stand still, with messages in their queue.
struct Queued {
    server: Server,
    workers: Vec<i32>,
    caller: Caller,
}

impl Queued {
    fn start() -> Queued {
        let server = Server::start(&answered_by_workers(1, 2, 2048));
        let workers = server.children_titled("worker calls/");
        workers.iter().for_each(|pid| processes::freeze(*pid));
        let caller = server.caller();
        for index in 0..QUEUED {
            caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("{index}.r8"))));
            if index % 100 == 99 {
                wait_until("they are taken", SOON, || server.group("calls")["delegated"] == index + 1);
            }
        }
        Queued { server, workers, caller }
    }
}

struct Drained {
    answered: usize,
    refused: usize,
    code: Option<i32>,
    took: Duration,
}

/// One SIGTERM: what waits is answered, who comes now is sent elsewhere.
fn drain() -> Drained {
    let Queued { mut server, workers, caller } = Queued::start();
    let newcomer = server.caller();
    let asked_at = Instant::now();
    server.signal(Signal::SIGTERM);
    server.wait_for_log(IS_FINISHING);
    let refused = (0..NEWCOMERS)
        .filter(|index| {
            let answer = newcomer.ask(&Request::new("OPTIONS", &format!("{index}.r8-new")));
            (answer.status(), answer.header("Retry-After").is_empty()) == (503, false)
        })
        .count();
    workers.iter().for_each(|pid| processes::thaw(*pid));
    let is_served = |bytes: Vec<u8>| Message::parse(&bytes).status() == 200;
    let answered =
        (0..QUEUED).filter(|_| caller.receive_within(Duration::from_secs(5)).is_some_and(is_served)).count();
    let code = server.wait_for_exit(SOON);
    Drained { answered, refused, code, took: asked_at.elapsed() }
}

struct Insisted {
    processes: usize,
    ended: usize,
    code: Option<i32>,
    took: Duration,
}

/// A second SIGTERM while nothing moves: nobody is waited for.
fn insist() -> Insisted {
    let Queued { mut server, .. } = Queued::start();
    let everyone = processes::tree(server.master());
    server.signal(Signal::SIGTERM);
    server.wait_for_log(IS_FINISHING);
    let insisted_at = Instant::now();
    server.signal(Signal::SIGTERM);
    let code = server.wait_for_exit(SOON);
    let took = insisted_at.elapsed();
    let ended = everyone.iter().filter(|pid| !processes::is_alive(**pid)).count();
    Insisted { processes: everyone.len(), ended, code, took }
}

/// Messages of the soak, in loads of this size; memory is looked at after each.
const SOAK_PART: usize = 200_000;
const SOAK_MESSAGES: usize = full_or_short(50_000_000, 2_000_000);
/// Messages a second, and how many may be under way: a machine that falls behind does not fall over.
const SOAK_RATE: f64 = 50_000.0;
const SOAK_WINDOW: usize = 512;
/// From this many on a slope below a kilobyte for a million messages can be told from a page that was touched late, and
/// what age does to latency is asked.
const SOAK_OF_SLOPE: usize = 20_000_000;
const SLOPE_MAX: f64 = 1024.0;

/// The server that has come through the soak and one that just started answer in turn, so that what else the machine does
/// is in both figures: from one hour to the next its own times drift by more than is asked here.
const AGE_TURNS: usize = 31;
const AGE_MESSAGES: usize = 6_000;
const AGE_RATE: f64 = 5_000.0;
const AGE_RATIO_MAX: f64 = 1.05;

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
    let server = Server::start(&soaked());
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
    let age = age_in_latency(&caller);
    let is_same_tree = processes::tree(server.master()) == tree;
    let growth = looks[looks.len() - 1].memory.saturating_sub(looks[0].memory);
    let slope = slope(&looks) / SOAK_PART as f64 * 1e6;
    let descriptors = looks.iter().map(|look| look.descriptors).max().unwrap_or(0) - looks[0].descriptors;
    let value = format!(
        "{lost} lost of {sent} at {rate:.0}/s, p99 {}, memory of all processes grows by {slope:.0} bytes a million messages \
         ({growth} bytes in all), {descriptors} descriptors more; then p99 {} and {} of a server that just started, {:.2} \
         times (median of {AGE_TURNS} turns)",
        microseconds(median(&p99)),
        microseconds(median(&age.old)),
        microseconds(median(&age.fresh)),
        age.ratio
    );
    let is_flat = match sent >= SOAK_OF_SLOPE {
        true => slope < SLOPE_MAX && age.ratio < AGE_RATIO_MAX,
        false => growth <= 64 * 1024,
    };
    Finding::new(lost == 0 && is_flat && descriptors == 0 && is_same_tree, value)
}

/// p99 of a server that has come through the soak, and of one that just started.
#[derive(Default)]
struct Age {
    old: Vec<Duration>,
    fresh: Vec<Duration>,
    ratio: f64,
}

fn age_in_latency(old: &Caller) -> Age {
    let server = Server::start(&soaked());
    let fresh = server.caller();
    let p99 = |name: String, caller: &Caller| {
        let tally = Load::new(&name, AGE_MESSAGES).rate(AGE_RATE).run(caller);
        tally.assert_nothing_lost();
        tally.latency(0.99)
    };
    p99("r17-fresh-warm".into(), &fresh);
    let (mut age, mut ratios) = (Age::default(), Vec::new());
    for turn in 0..AGE_TURNS {
        age.old.push(p99(format!("r17-old-{turn}"), old));
        age.fresh.push(p99(format!("r17-fresh-{turn}"), &fresh));
        ratios.push(age.old[turn].as_secs_f64() / age.fresh[turn].as_secs_f64());
    }
    age.ratio = median_ratio(ratios);
    age
}

fn soaked() -> String {
    answered_by_workers(2, 2, 1024)
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
