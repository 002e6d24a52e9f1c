//! The scoreboard: what a server must survive, measured against the real one.
//!
//! ```text
//!  scripts/chaos            every row, release build
//!  scripts/chaos R2 R8      these rows
//!  CHAOS_SEED=7 scripts/chaos
//!  CHAOS_SOAK=50000000 scripts/chaos R17      messages of the soak
//!  CHAOS_DIALOGS=100000 scripts/chaos R22     dialogs of the row about order
//! ```
//!
//! A row does something bad to a running server under load, counts what became of every message, and says whether the
//! figure is what is promised. One line a row: what was measured, the target, what the reference server did under the
//! same treatment (measured on its own, version 5.6.3 or 6.2), the seed. The end is non-zero when a row is below its
//! target. Messages have Call-IDs of their own and answers are matched one by one. A row that needs what is not here, a
//! right or a program, is skipped and says so.

#[path = "../server/scripts.rs"]
#[allow(dead_code, reason = "shared with the tests of the server, which use more of it")]
mod scripts;
#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of the server, which use more of it")]
mod support;

mod changes;
mod failpoints;
mod kills;
mod life;
mod mutants;
mod order;
mod overload;
mod stuck;
mod surroundings;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

/// One row of the scoreboard.
struct Row {
    id: &'static str,
    what: &'static str,
    target: &'static str,
    peer: &'static str,
    measure: fn(&mut Dice) -> Finding,
}

/// What a row found.
struct Finding {
    value: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    Missed,
    /// It cannot be measured here.
    Skipped,
}

impl Finding {
    fn new(is_met: bool, value: impl Into<String>) -> Finding {
        Finding { value: value.into(), verdict: if is_met { Verdict::Met } else { Verdict::Missed } }
    }

    fn skipped(reason: impl Into<String>) -> Finding {
        Finding { value: reason.into(), verdict: Verdict::Skipped }
    }
}

/// Numbers that look random and come again with the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Says now and then that it is time, for what is looked at while a load runs.
struct Beat {
    every: Duration,
    next_at: Instant,
}

impl Beat {
    fn every(every: Duration) -> Beat {
        Beat { every, next_at: Instant::now() + every }
    }

    fn is_due(&mut self) -> bool {
        let is_due = Instant::now() >= self.next_at;
        if is_due {
            self.next_at = Instant::now() + self.every;
        }
        is_due
    }
}

/// All rows, in the order of their numbers.
fn rows() -> Vec<Row> {
    let subjects = [
        kills::ROWS,
        failpoints::ROWS,
        stuck::ROWS,
        overload::ROWS,
        life::ROWS,
        changes::ROWS,
        surroundings::ROWS,
        order::ROWS,
        mutants::ROWS,
    ];
    let mut rows: Vec<Row> = subjects.into_iter().flat_map(|rows| rows.iter().map(Row::copied)).collect();
    rows.sort_by_key(|row| row.id[1..].parse::<u32>().unwrap_or(u32::MAX));
    rows
}

impl Row {
    fn copied(&self) -> Row {
        Row { ..*self }
    }

    /// Runs it; a panic inside is a row below its target.
    fn run(&self, seed: u64) -> Verdict {
        let started_at = Instant::now();
        let _limit = Limit::start(self.id);
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.measure)(&mut Dice(seed | 1))));
        let finding = outcome.unwrap_or_else(|_| Finding::new(false, "the row itself failed, see above"));
        let verdict = match finding.verdict {
            Verdict::Met => "ok  ",
            Verdict::Missed => "MISS",
            Verdict::Skipped => "skip",
        };
        let seconds = started_at.elapsed().as_secs_f64();
        let Row { id, what, target, peer, .. } = self;
        println!(
            "{verdict} {id:4} {what}: {} | target: {target} | reference: {peer} | seed {seed}, {seconds:.1} s",
            finding.value
        );
        finding.verdict
    }
}

/// How long a row may take beyond what its number of messages asks for.
const ROW_LIMIT: Duration = Duration::from_secs(180);

/// Ends everything when a row takes too long: a row that hangs is below its target.
struct Limit {
    is_over: Option<Sender<()>>,
}

impl Limit {
    fn start(id: &'static str) -> Limit {
        let (is_over, waiting) = std::sync::mpsc::channel();
        let limit = match id {
            "R17" => ROW_LIMIT + life::soak_limit(),
            "R22" => ROW_LIMIT + order::limit(),
            _ => ROW_LIMIT,
        };
        std::thread::spawn(move || {
            if waiting.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                println!("MISS {id:4} still not done after {limit:?}");
                let own = std::process::id() as i32;
                let below = support::processes::tree(own).into_iter().filter(|pid| *pid != own);
                below.for_each(|pid| support::processes::send_signal(pid, Signal::SIGKILL));
                std::process::exit(1);
            }
        });
        Limit { is_over: Some(is_over) }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        drop(self.is_over.take());
    }
}

/// A figure from the environment that makes a row longer or shorter.
fn size_of_row(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What a row does in a release build, and what it does in the build of `cargo test`, where time is short.
const fn full_or_short<T: Copy>(full: T, short: T) -> T {
    if cfg!(debug_assertions) { short } else { full }
}

/// A limit on time. The build of `cargo test` runs where everything else is built and tested, too: there it only tells
/// what hangs.
const fn no_longer_than(limit: Duration) -> Duration {
    Duration::from_millis(limit.as_millis() as u64 * if cfg!(debug_assertions) { 10 } else { 1 })
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Of what was measured in turns; there is at least one.
fn median_ratio(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn microseconds(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(clock);
    let rows = rows();
    if let Some(unknown) = wanted.iter().find(|id| !rows.iter().any(|row| row.id.eq_ignore_ascii_case(id))) {
        eprintln!(
            "there is no row {unknown}; there are: {}",
            rows.iter().map(|row| row.id).collect::<Vec<_>>().join(" ")
        );
        return ExitCode::from(2);
    }
    // The one row that needs another build is run when it is asked for.
    let is_usual = |row: &Row| cfg!(feature = "crash-points") || row.id != failpoints::ROWS[0].id;
    let is_wanted = |row: &&Row| {
        (wanted.is_empty() && is_usual(row)) || wanted.iter().any(|id| row.id.eq_ignore_ascii_case(id))
    };
    let verdicts: Vec<Verdict> = rows.iter().filter(is_wanted).map(|row| row.run(seed)).collect();
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    let [passed, failed, skipped] = [Verdict::Met, Verdict::Missed, Verdict::Skipped].map(count);
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
