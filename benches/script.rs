//! What a script costs: nanoseconds per statement and per message, and that a warm interpreter allocates nothing.
//!
//! Time is CPU time of this process, so that other work on the machine does not count. The world is small (a table
//! look-up per variable), so this is the cost of the machine, not of SIP.

#[path = "tools/allocations.rs"]
mod allocations;

#[path = "../tests/script/world.rs"]
mod world;

use std::hint::black_box;

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput};
use nix::time::{ClockId, clock_gettime};
use sworker::script::check;
use sworker::script::diagnostic::render_all;
use sworker::script::interpreter::{Interpreter, RunLimits};
use sworker::script::parser::{ParseOptions, parse};
use sworker::script::program::Program;
use sworker::script::source::SourceMap;
use world::{TestCatalog, TestHost};

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

/// The way of an INVITE through a stock configuration: request checks, in-dialog test, routing by name and by method.
const STOCK: &str = r#"
request_route {
    route(REQINIT);
    route(NATDETECT);
    if (is_method("CANCEL|BYE")) {
        if (is_method("ACK")) { route(RELAY); }
        exit;
    }
    route(WITHINDLG);
    if (is_method("INVITE") && $tt == $null) { $var(new) = 1; }
    if ($rU == $null) { sl_send_reply("484", "Address Incomplete"); exit; }
    route(AUTH);
    if (is_method("INVITE|SUBSCRIBE|OPTIONS")) { xlog("call from $fu to $tu id $ci\n"); }
    switch ($rm) {
        case "REGISTER": route(RELAY); break;
        case "OPTIONS": $var(seen) = $var(seen) + 1; break;
        default: exit;
    }
    if (uri == myself && $rU =~ "^[0-9]+$") { route(RELAY); }
    route(RELAY);
}
route[REQINIT] {
    if (src_ip != myself && $var(banned) == 1) { exit; }
    if ($ua =~ "friendly|scanner|sipcli|sipvicious") { exit; }
    if (code(1) && $var(hops) < 70) { $var(hops) = 0; }
    if (!is_method("OPTIONS") && $rU == $null) { sl_send_reply("200", "Keepalive"); exit; }
}
route[NATDETECT] {
    if (src_ip == 10.0.0.0/8 || src_ip == 192.168.0.0/16) { $var(nat) = 1; } else { $var(nat) = 0; }
    return;
}
route[WITHINDLG] {
    if (!($tt != $null)) { return; }
    exit;
}
route[AUTH] {
    if (from_uri != myself && uri != myself) { sl_send_reply("403", "Not relaying"); exit; }
    return;
}
route[RELAY] {
    if (is_method("INVITE|BYE|SUBSCRIBE|UPDATE")) { t_on_failure("MANAGE"); }
    $var(key) = $ci + ":" + $rU;
    if (!code(1)) { sl_send_reply("500", "Server Error"); }
    exit;
}
failure_route[MANAGE] { exit; }
"#;

/// Statements of one kind, a hundred of each.
const STATEMENTS: [(&str, &str); 6] = [
    ("assign integer", "$var(x) = 1;"),
    ("add", "$var(x) = $var(x) + 1;"),
    ("if integer", "if ($var(x) == 2) { exit; }"),
    ("if text", "if ($rm == \"INVITE\") { exit; }"),
    ("if call", "if (is_method(\"BYE\")) { exit; }"),
    ("xlog", "xlog(\"from $fu to $tu id $ci\");"),
];

fn program(text: &str) -> Program {
    let mut source = SourceMap::new();
    let root = source.add_file("bench.cfg", text);
    let (ast, mut diagnostics) = parse(&mut source, root, &ParseOptions::default());
    let checked = check::check(&ast, &source, &mut TestCatalog::default());
    diagnostics.extend(checked.diagnostics);
    checked.program.unwrap_or_else(|| panic!("{}", render_all(&diagnostics, &source)))
}

/// A program with its warm machine.
struct Bench {
    program: Program,
    interpreter: Interpreter,
    host: TestHost,
}

impl Bench {
    fn new(text: &str) -> Bench {
        let limits = RunLimits { steps: u32::MAX, ..RunLimits::default() };
        let host = TestHost::quiet();
        let mut bench = Bench { program: program(text), interpreter: Interpreter::new(limits), host };
        for _ in 0..100 {
            bench.message();
        }
        assert!(bench.host.complaints.is_empty(), "{:?}", bench.host.complaints);
        bench
    }

    /// A hundred times the same.
    fn of_statement(statement: &str) -> Bench {
        Bench::new(&format!("request_route {{ {} }}", statement.repeat(100)))
    }

    fn message(&mut self) -> i64 {
        let route = self.program.request_route().expect("a request_route");
        self.interpreter.run(&self.program, route, &mut self.host).code
    }
}

fn show_that_nothing_is_allocated() {
    show_no_allocations("a message through the stock routes", &mut Bench::new(STOCK));
    for (name, statement) in STATEMENTS {
        show_no_allocations(name, &mut Bench::of_statement(statement));
    }
}

/// Runs a warm program a thousand times.
fn show_no_allocations(name: &str, bench: &mut Bench) {
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
    let mut stock = Bench::new(STOCK);
    criterion.bench_function("script/message through the stock routes", |bencher| {
        bencher.iter(|| black_box(stock.message()));
    });
    let mut group = criterion.benchmark_group("script/statement");
    for (name, statement) in STATEMENTS {
        let mut bench = Bench::of_statement(statement);
        group.throughput(Throughput::Elements(100));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(bench.message())));
    }
    group.finish();
    criterion.bench_function("script/load the stock routes", |bencher| {
        bencher.iter(|| black_box(program(STOCK)));
    });
    criterion.final_summary();
}
