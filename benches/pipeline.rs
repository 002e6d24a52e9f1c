//! What a message costs from its bytes to the bytes of its answer, without sockets, in one process.
//!
//! ```text
//!  delegated   bytes ─► parse ─► pre-routing ─► ring ─► parse ─► request_route ─► 200 OK        (hand-off path)
//!  direct      bytes ─► parse ─────────────────────────────────► request_route ─► 200 OK
//!  reply                                                        parse ─► request_route ─► 200 OK
//! ```
//!
//! Both ends of the ring are here, so nobody sleeps and nobody is woken: what is left is our own code. Before anything
//! is measured it is checked that an answer comes out.

#[path = "tools/pipeline.rs"]
mod pipeline;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pipeline::{OPTIONS, Pipeline, SCRIPT, datagram};

fn pipeline(criterion: &mut Criterion) {
    let datagram = datagram(OPTIONS);
    let direct_script = SCRIPT.replace("if (sworker_task(\"calls\"))", "if ($rm == \"NOBODY\")");
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(1));
    for (name, script) in [("delegated", SCRIPT), ("direct", &direct_script)] {
        let mut pipeline = Pipeline::new(script);
        group.bench_function(name, |bencher| bencher.iter(|| pipeline.run(black_box(&datagram))));
        pipeline.check(Pipeline::run);
    }
    let mut pipeline = Pipeline::new(SCRIPT);
    pipeline.check(Pipeline::reply);
    group.bench_function("reply", |bencher| bencher.iter(|| pipeline.reply(black_box(&datagram))));
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
