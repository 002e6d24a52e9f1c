//! Rows in which a group is stopped, stuck, full or asked for too much.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::scripts::{HEAD, answered_by_workers, two_groups};
use super::support::{Load, Request, SOON, Server, check_config, processes, wait_until};
use super::{Dice, Finding, Row, median, milliseconds};

pub const ROWS: &[Row] = &[
    Row {
        id: "R5",
        what: "a whole group stopped for 2 s at 2,000 messages a second",
        target: "0 lost in the group and outside of it",
        peer: "33 % lost, and unrelated traffic stands still",
        measure: stopped,
    },
    Row {
        id: "R6",
        what: "a whole group stuck for good",
        target: "0 lost outside of it; p99 there at most doubled",
        peer: "complete outage: 0 of 399 unrelated messages answered",
        measure: stuck,
    },
    Row {
        id: "R7",
        what: "a group asked for twice what it can do, for 5 s",
        target: "at least 95 % of its capacity answered with 200, the rest with 503, p99 of all 100 ms, unrelated 0 lost",
        peer: "54 % lost, 57 % of unrelated traffic lost",
        measure: overload,
    },
    Row {
        id: "R15",
        what: "a queue exhausted for 2 s, then calm",
        target: "back to an empty queue and the same memory, everything accepted answered",
        peer: "496 bytes of shared memory leaked for each message",
        measure: exhaustion,
    },
    Row {
        id: "R16",
        what: "a group that does not exist",
        target: "a literal name is refused at start, a computed one gives -2 and costs nothing",
        peer: "999 of 999 messages lost, and their memory",
        measure: unknown_group,
    },
];

fn stopped(_: &mut Dice) -> Finding {
    let server = Server::start(&two_groups(2, 2, 8192));
    let workers = server.children_titled("worker calls/");
    workers.iter().for_each(|pid| processes::freeze(*pid));
    let thaw_at = Instant::now() + Duration::from_secs(2);
    let mut is_frozen = true;
    let load = Load::new("r5", 8_000).rate(2_000.0).request(|name| {
        let number: usize = name.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Request::new(if number.is_multiple_of(2) { "INVITE" } else { "REGISTER" }, name)
    });
    let tally = load.run_while(&server.caller(), |_| {
        if is_frozen && Instant::now() >= thaw_at {
            workers.iter().for_each(|pid| processes::thaw(*pid));
            is_frozen = false;
        }
        ControlFlow::Continue(())
    });
    Finding::new(tally.lost.is_empty(), format!("{} lost of {}", tally.lost.len(), tally.sent))
}

/// The group moves and is stuck in turn, so that what else the machine does is in both figures.
const TURNS: usize = 3;

fn stuck(_: &mut Dice) -> Finding {
    let server = Server::start(&two_groups(2, 2, 4096));
    let (mut lost, mut moving, mut stuck) = (0, Vec::new(), Vec::new());
    let mut outside = |name: String, p99: &mut Vec<Duration>| {
        let load = Load::new(&name, 2_000).rate(2_000.0).request(|name| Request::new("REGISTER", name));
        let tally = load.run(&server.caller());
        lost += tally.lost.len();
        p99.push(tally.latency(0.99));
    };
    for turn in 0..TURNS {
        outside(format!("r6-moving-{turn}"), &mut moving);
        let workers = server.children_titled("worker calls/");
        workers.iter().for_each(|pid| processes::freeze(*pid));
        let calls = server.caller();
        (0..700).for_each(|index| {
            calls.send(&calls.bytes(&Request::new("INVITE", &format!("{index}.r6-{turn}"))));
        });
        let delegated = 700 * (turn as u64 + 1);
        wait_until("they wait in the queue", SOON, || server.group("calls")["delegated"] == delegated);
        outside(format!("r6-stuck-{turn}"), &mut stuck);
        workers.iter().for_each(|pid| processes::thaw(*pid));
        wait_until("the queue is empty", SOON, || server.group("calls")["depth"] == 0);
    }
    let (p99_moving, p99_stuck) = (median(&moving), median(&stuck));
    let value = format!(
        "{lost} lost of {} outside of it, p99 there {} while it moves, {} while it is stuck",
        2 * TURNS * 2_000,
        milliseconds(p99_moving),
        milliseconds(p99_stuck)
    );
    let limit = (p99_moving * 2).max(Duration::from_millis(5));
    Finding::new(lost == 0 && p99_stuck <= limit, value)
}

fn overload(_: &mut Dice) -> Finding {
    let script = format!(
        r#"{HEAD}loadmodule "cfgutils"
children=2
async_workers_group="name=calls;workers=2;queue=16"
event_route[core:pre-routing] {{
    if (is_method("INVITE")) {{
        if (sworker_task("calls")) drop;
        sl_send_reply("503", "Busy");
        drop;
    }}
}}
request_route {{
    if (is_method("ACK")) exit;
    if (is_method("INVITE")) usleep("2000");
    sl_send_reply("200", "OK");
}}
"#
    );
    let server = Server::start(&script);
    let capacity = || {
        let load = Load::new("r7-capacity", 1_000).window(8).request(|name| Request::new("INVITE", name));
        let started_at = Instant::now();
        let tally = load.run(&server.caller());
        tally.answered as f64 / started_at.elapsed().as_secs_f64()
    };
    let capacity_before = capacity();
    let processed_before = processed(&server);
    let started_at = Instant::now();
    let mixed =
        Load::new("r7", (capacity_before * 10.5) as usize).rate(capacity_before * 2.1).request(|name| {
            let number: usize = name.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            Request::new(if number.is_multiple_of(21) { "OPTIONS" } else { "INVITE" }, name)
        });
    let tally = mixed.run(&server.caller());
    let goodput = (processed(&server) - processed_before) as f64 / started_at.elapsed().as_secs_f64();
    // Before and after, as the machine may do other things meanwhile.
    let capacity = (capacity_before + capacity()) / 2.0;
    let share = goodput / capacity;
    let p99 = tally.latency(0.99);
    let value = format!(
        "capacity {capacity:.0}/s, answered with 200 {goodput:.0}/s ({:.0} %), p99 {}, {} of {} not answered at all",
        share * 100.0,
        milliseconds(p99),
        tally.lost.len(),
        tally.sent
    );
    Finding::new(share >= 0.95 && p99 <= Duration::from_millis(100) && tally.lost.is_empty(), value)
}

fn processed(server: &Server) -> u64 {
    server.group("calls")["processed"].as_u64().unwrap_or(0)
}

fn exhaustion(_: &mut Dice) -> Finding {
    let server = Server::start(&answered_by_workers(1, 2, 256));
    let _ = Load::new("r15-warm", 5_000).run(&server.caller());
    let receiver = server.receiver(1);
    let before = processes::anonymous_memory_size(receiver);
    let workers = server.children_titled("worker calls/");
    workers.iter().for_each(|pid| processes::freeze(*pid));
    let caller = server.caller();
    let thaw_at = Instant::now() + Duration::from_secs(2);
    let mut is_frozen = true;
    let tally = Load::new("r15", 12_000).rate(4_000.0).run_while(&caller, |_| {
        if is_frozen && Instant::now() >= thaw_at {
            workers.iter().for_each(|pid| processes::thaw(*pid));
            is_frozen = false;
        }
        ControlFlow::Continue(())
    });
    wait_until("the queue is empty", SOON, || server.group("calls")["depth"] == 0);
    let group = server.group("calls");
    let after = processes::anonymous_memory_size(receiver);
    let value = format!(
        "{} refused as full, {} lost of {}, depth {}, receiver's memory {before} then {after}",
        group["full"],
        tally.lost.len(),
        tally.sent,
        group["depth"]
    );
    let is_met = group["full"] != 0 && tally.lost.is_empty() && after <= before + 64 * 1024;
    Finding::new(is_met, value)
}

fn unknown_group(_: &mut Dice) -> Finding {
    let literal = check_config(&format!(
        "{HEAD}async_workers_group=\"name=calls;workers=1\"\nevent_route[core:pre-routing] {{ if (sworker_task(\"cals\")) drop; }}\nrequest_route {{ exit; }}\n"
    ));
    let is_refused = literal.code == Some(255) && literal.output.contains("cals");
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1"
event_route[core:pre-routing] {{
    $var(group) = "cals";
    $var(code) = sworker_task("$var(group)");
    sl_send_reply("200", "code $var(code)");
    drop;
}}
request_route {{ exit; }}
"#
    );
    let server = Server::start(&script);
    let start = server.caller().ask(&Request::new("OPTIONS", "r16")).start;
    let tally = Load::new("r16", 1_000).run(&server.caller());
    let is_met = is_refused && start.ends_with("code -2") && tally.lost.is_empty();
    Finding::new(
        is_met,
        format!("literal refused: {is_refused}; computed: {start}; {} lost", tally.lost.len()),
    )
}
