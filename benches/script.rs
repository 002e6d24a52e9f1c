//! What a script costs: nanoseconds per statement and per message, and that a warm interpreter allocates nothing.
//!
//! Time is CPU time of this process, so that other work on the machine does not count. The world is small (a table
//! look-up per variable), so this is the cost of the machine, not of SIP.

#[path = "tools/allocations.rs"]
mod allocations;

#[path = "tools/stock.rs"]
mod stock;

use std::hint::black_box;

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput};
use nix::time::{ClockId, clock_gettime};
use stock::{STOCK, WarmProgram, program};

/// CPU time of this process instead of the clock on the wall.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("this process has a CPU clock");
        Duration::from(now)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, left: &Duration, right: &Duration) -> Duration {
        *left + *right
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Statements of one kind, a hundred of each.
const STATEMENTS: [(&str, &str); 6] = [
    ("assign integer", "$var(x) = 1;"),
    ("add", "$var(x) = $var(x) + 1;"),
    ("if integer", "if ($var(x) == 2) { exit; }"),
    ("if text", "if ($rm == \"INVITE\") { exit; }"),
    ("if call", "if (is_method(\"BYE\")) { exit; }"),
    ("xlog", "xlog(\"from $fu to $tu id $ci\");"),
];

/// A hundred times the same.
fn of_statement(statement: &str) -> WarmProgram {
    WarmProgram::new(&format!("request_route {{ {} }}", statement.repeat(100)))
}

fn show_that_nothing_is_allocated() {
    show_no_allocations("a message through the stock routes", &mut WarmProgram::new(STOCK));
    for (name, statement) in STATEMENTS {
        show_no_allocations(name, &mut of_statement(statement));
    }
}

/// Runs a warm program a thousand times.
fn show_no_allocations(name: &str, bench: &mut WarmProgram) {
    let before = allocations::count();
    for _ in 0..1_000 {
        black_box(bench.message());
    }
    let count = allocations::count() - before;
    println!("script/allocations of 1000 runs, {name}: {count}");
    assert_eq!(count, 0, "{name}: the interpreter allocates in its steady state");
}

fn main() {
    show_that_nothing_is_allocated();
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let mut stock = WarmProgram::new(STOCK);
    criterion.bench_function("script/message through the stock routes", |bencher| {
        bencher.iter(|| black_box(stock.message()));
    });
    let mut group = criterion.benchmark_group("script/statement");
    for (name, statement) in STATEMENTS {
        let mut bench = of_statement(statement);
        group.throughput(Throughput::Elements(100));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(bench.message())));
    }
    group.finish();
    criterion.bench_function("script/load the stock routes", |bencher| {
        bencher.iter(|| black_box(program(STOCK)));
    });
    criterion.final_summary();
}
