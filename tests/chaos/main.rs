//! The scoreboard: what a server must survive, measured against the real one.
//!
//! ```text
//!  scripts/chaos            every row, release build
//!  scripts/chaos R2 R8      these rows
//!  CHAOS_SEED=7 scripts/chaos
//! ```
//!
//! A row does something bad to a running server under load, counts what became of every message, and says whether the
//! figure is what is promised. One line a row: what was measured, the target, what the reference server did under the
//! same treatment (measured on its own, version 5.6.3 or 6.2), the seed. The end is non-zero when a row is below its
//! target. Messages have Call-IDs of their own and answers are matched one by one.

#[path = "../server/scripts.rs"]
#[allow(dead_code, reason = "shared with the tests of the server, which use more of it")]
mod scripts;
#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of the server, which use more of it")]
mod support;

mod kills;
mod life;
mod mutants;
mod overload;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

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
    is_met: bool,
}

impl Finding {
    fn new(is_met: bool, value: impl Into<String>) -> Finding {
        Finding { value: value.into(), is_met }
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

fn rows() -> Vec<Row> {
    [kills::ROWS, overload::ROWS, life::ROWS, mutants::ROWS]
        .into_iter()
        .flat_map(|rows| rows.iter().map(Row::copied))
        .collect()
}

impl Row {
    fn copied(&self) -> Row {
        Row { ..*self }
    }

    /// Runs it; a panic inside is a row below its target.
    fn run(&self, seed: u64) -> bool {
        let started_at = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.measure)(&mut Dice(seed | 1))));
        let finding = outcome.unwrap_or_else(|_| Finding::new(false, "the row itself failed, see above"));
        let verdict = if finding.is_met { "ok  " } else { "MISS" };
        println!("{verdict} {:4} {}: {}", self.id, self.what, finding.value);
        println!("          target: {}; reference: {}", self.target, self.peer);
        println!("          seed {seed}, {:.1} s", started_at.elapsed().as_secs_f64());
        finding.is_met
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
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
    let is_wanted = |row: &&Row| wanted.is_empty() || wanted.iter().any(|id| row.id.eq_ignore_ascii_case(id));
    let (mut passed, mut failed) = (0, 0);
    for row in rows.iter().filter(is_wanted) {
        if row.run(seed) { passed += 1 } else { failed += 1 }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
