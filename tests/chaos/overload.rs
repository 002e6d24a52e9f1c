//! Rows in which a group is stopped, stuck, full or asked for too much.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::scripts::{HEAD, answered_by_workers, two_groups};
use super::support::load::Tally;
use super::support::{Load, Request, SOON, Server, check_config, processes, wait_until};
use super::{Dice, Finding, Row, full_or_short, median, median_ratio, microseconds, milliseconds};

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
        what: "a whole group stuck for good, 1,000 messages a second for it, 5,000 for another",
        target: "0 lost outside of it, p99 there at most 10 % higher; who does not fit into its queue gets 503",
        peer: "complete outage: 0 of 399 unrelated messages answered",
        measure: stuck,
    },
    Row {
        id: "R7",
        what: "a group asked for twice and for five times what it can do, for 10 s each",
        target: "at least 95 % of its capacity answered with 200, the rest with 503 but none inside a dialog, p99 of all \
                 100 ms, unrelated 0 lost",
        peer: "54 % lost, 57 % of unrelated traffic lost",
        measure: overload,
    },
    Row {
        id: "R15",
        what: "a queue exhausted for 60 s (2 s not optimized), then calm",
        target: "back to an empty queue and the same memory to the byte, everything answered",
        peer: "496 bytes of shared memory leaked for each message",
        measure: exhaustion,
    },
    Row {
        id: "R16",
        what: "a group that does not exist, or has no workers",
        target: "a literal name and an empty group are refused at start; a computed name gives -2, is counted and costs no memory",
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
const TURNS: usize = full_or_short(9, 3);
const MESSAGES_OUTSIDE: usize = 6_000;
/// At a thousand calls a second the queue of a group that is stuck is full before half of the turn is over.
const CALLS: usize = 1_200;
const QUEUE_OF_CALLS: usize = 256;
/// On a machine that builds and tests at the same time only a collapse is told from noise.
const P99_RATIO_MAX: f64 = full_or_short(1.1, 3.0);

fn stuck(_: &mut Dice) -> Finding {
    let script = format!(
        r#"{HEAD}
children=2
async_workers_group="name=calls;workers=2;queue={QUEUE_OF_CALLS};full=reply"
async_workers_group="name=registrations;workers=2;queue=4096"
event_route[core:pre-routing] {{
    if (is_method("INVITE")) {{ sworker_task("calls"); drop; }}
    if (sworker_task("registrations")) drop;
}}
request_route {{ sl_send_reply("200", "OK"); }}
"#
    );
    let server = Server::start(&script);
    let (mut moving, mut stuck) = (Outside::default(), Outside::default());
    let mut ratios = Vec::new();
    for turn in 0..TURNS {
        let p99_moving = moving.add(beside_calls(&server, &format!("r6-moving-{turn}"), || ()));
        let workers = server.children_titled("worker calls/");
        workers.iter().for_each(|pid| processes::freeze(*pid));
        let thaw = || workers.iter().for_each(|pid| processes::thaw(*pid));
        let p99_stuck = stuck.add(beside_calls(&server, &format!("r6-stuck-{turn}"), thaw));
        wait_until("the queue is empty", SOON, || server.group("calls")["depth"] == 0);
        ratios.push(p99_stuck.as_secs_f64() / p99_moving.as_secs_f64());
    }
    let ratio = median_ratio(ratios);
    let value = format!(
        "{} lost of {} outside of it, p99 there {} while it moves, {} while it is stuck, {ratio:.2} times (median of \
         {TURNS} turns); of {} calls for the stuck group {} were refused with 503, {} lost",
        moving.lost + stuck.lost,
        2 * TURNS * MESSAGES_OUTSIDE,
        microseconds(median(&moving.p99)),
        microseconds(median(&stuck.p99)),
        TURNS * CALLS,
        stuck.calls_refused,
        stuck.calls_lost
    );
    let nothing_is_lost =
        [&moving, &stuck].iter().all(|outside| outside.lost == 0 && outside.calls_lost == 0);
    let follows_policy = moving.calls_refused == 0 && stuck.calls_refused > 0;
    Finding::new(nothing_is_lost && follows_policy && ratio <= P99_RATIO_MAX, value)
}

/// What became of others while calls came, and of the calls.
#[derive(Default)]
struct Outside {
    lost: usize,
    p99: Vec<Duration>,
    calls_refused: usize,
    calls_lost: usize,
}

impl Outside {
    /// Adds one turn; its p99.
    fn add(&mut self, (outside, calls): (Tally, Tally)) -> Duration {
        self.lost += outside.lost.len();
        self.p99.push(outside.latency(0.99));
        self.calls_refused += calls.refused;
        self.calls_lost += calls.lost.len();
        outside.latency(0.99)
    }
}

/// Registrations at 5,000 a second beside calls at 1,000; `then` is called when the registrations are over.
fn beside_calls(server: &Server, name: &str, then: impl FnOnce()) -> (Tally, Tally) {
    std::thread::scope(|scope| {
        let calls = scope.spawn(move || {
            let load = Load::new(&format!("{name}-calls"), CALLS).rate(1_000.0);
            load.request(|name| Request::new("INVITE", name)).run(&server.caller())
        });
        let load = Load::new(name, MESSAGES_OUTSIDE).rate(5_000.0);
        let outside = load.request(|name| Request::new("REGISTER", name)).run(&server.caller());
        then();
        (outside, calls.join().expect("the load of calls ends"))
    })
}

/// Calls take 2 ms; registrations are a group of their own.
fn overload(_: &mut Dice) -> Finding {
    let script = format!(
        r#"{HEAD}loadmodule "cfgutils"
children=2
async_workers_group="name=calls;workers=2;queue=16;priority=on;full=reply"
async_workers_group="name=registrations;workers=2;queue=4096"
event_route[core:pre-routing] {{
    if (is_method("REGISTER")) {{ if (sworker_task("registrations")) drop; }}
    sworker_task("calls");
    drop;
}}
request_route {{
    if (!is_method("REGISTER")) usleep("2000");
    sl_send_reply("200", "OK");
}}
"#
    );
    let server = Server::start(&script);
    let turns = [2.0, 5.0].map(|times| (times, asked_for(&server, times)));
    let words: Vec<String> =
        turns.iter().map(|(times, found)| format!("{times} times: {}", found.words())).collect();
    Finding::new(turns.iter().all(|(_, found)| found.is_within()), words.join("; "))
}

const OVERLOAD: Duration = Duration::from_secs(10);

/// What came of asking for more than there is.
struct Overload {
    capacity: f64,
    goodput: f64,
    calls: Tally,
    /// A quarter of the capacity is asked for by requests inside dialogs.
    inside: Tally,
    unrelated: Tally,
}

impl Overload {
    fn share(&self) -> f64 {
        self.goodput / self.capacity
    }

    fn words(&self) -> String {
        format!(
            "capacity {:.0}/s, answered with 200 {:.0}/s ({:.0} %), p99 {}, {} of {} calls not answered at all; inside \
             dialogs {} refused and {} lost of {}; unrelated {} lost of {}",
            self.capacity,
            self.goodput,
            self.share() * 100.0,
            milliseconds(self.calls.latency(0.99)),
            self.calls.lost.len(),
            self.calls.sent,
            self.inside.refused,
            self.inside.lost.len(),
            self.inside.sent,
            self.unrelated.lost.len(),
            self.unrelated.sent
        )
    }

    fn is_within(&self) -> bool {
        let tallies = [&self.calls, &self.inside, &self.unrelated];
        tallies.iter().all(|tally| tally.lost.is_empty() && tally.latency(0.99) <= Duration::from_millis(100))
            && self.share() >= 0.95
            && self.calls.refused > 0
            && self.inside.refused == 0
    }
}

fn asked_for(server: &Server, times: f64) -> Overload {
    let capacity_before = capacity(server, &format!("{times}-before"));
    let at_rate = |kind: &str, share: f64| {
        let rate = capacity_before * share;
        Load::new(&format!("r7-{kind}-{times}"), (rate * OVERLOAD.as_secs_f64()) as usize).rate(rate)
    };
    let processed_before = processed(server);
    let started_at = Instant::now();
    let (calls, inside, unrelated) = std::thread::scope(|scope| {
        let inside = at_rate("inside", 0.25).request(inside_a_dialog);
        let inside = scope.spawn(move || inside.run(&server.caller()));
        let unrelated = at_rate("unrelated", 0.1).request(|name| Request::new("REGISTER", name));
        let unrelated = scope.spawn(move || unrelated.run(&server.caller()));
        let calls = at_rate("calls", times - 0.25).request(|name| Request::new("INVITE", name));
        let calls = calls.run(&server.caller());
        (calls, inside.join().expect("a load ends"), unrelated.join().expect("a load ends"))
    });
    let goodput = (processed(server) - processed_before) as f64 / started_at.elapsed().as_secs_f64();
    // Before and after, as the machine may do other things meanwhile.
    let capacity = (capacity_before + capacity(server, &format!("{times}-after"))) / 2.0;
    Overload { capacity, goodput, calls, inside, unrelated }
}

/// BYE and re-INVITE in turn.
fn inside_a_dialog(name: &str) -> Request {
    let number: usize = name.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Request::new(if number.is_multiple_of(2) { "BYE" } else { "INVITE" }, name).inside_dialog("callee")
}

/// Calls a second that the group answers when it always has something to do.
fn capacity(server: &Server, name: &str) -> f64 {
    let load = Load::new(&format!("r7-capacity-{name}"), 1_000).window(8);
    let started_at = Instant::now();
    let tally = load.request(|name| Request::new("INVITE", name)).run(&server.caller());
    tally.answered as f64 / started_at.elapsed().as_secs_f64()
}

fn processed(server: &Server) -> u64 {
    server.group("calls")["processed"].as_u64().unwrap_or(0)
}

const EXHAUSTED_FOR: Duration = Duration::from_secs(full_or_short(60, 2));
const EXHAUSTING_RATE: f64 = 4_000.0;

/// What lies in the queue, what the receiver has for itself, and what it has mapped at all: shared memory is of the size it
/// began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    depth: u64,
    receiver: u64,
    mapped: u64,
}

impl Used {
    fn by(server: &Server) -> Used {
        let receiver = server.receiver(1);
        Used {
            depth: server.group("calls")["depth"].as_u64().unwrap_or(u64::MAX),
            receiver: processes::anonymous_memory_size(receiver),
            mapped: processes::memory_size(receiver, "VmSize:"),
        }
    }
}

fn exhaustion(_: &mut Dice) -> Finding {
    // A worker that is stopped for a minute shall not be taken for one that hangs.
    let script = answered_by_workers(1, 2, 256).replace("queue=256", "queue=256;deadline_ms=120000");
    let server = Server::start(&script);
    exhaust(&server, "r15-warm", Duration::from_millis(500));
    let before = Used::by(&server);
    let refused_before = server.group("calls")["full"].as_u64();
    let tally = exhaust(&server, "r15", EXHAUSTED_FOR);
    let after = Used::by(&server);
    let group = server.group("calls");
    let value = format!(
        "{} refused as full, {} lost of {}, depth {}, memory of the receiver {} then {}, mapped {} then {}",
        group["full"],
        tally.lost.len(),
        tally.sent,
        after.depth,
        before.receiver,
        after.receiver,
        before.mapped,
        after.mapped
    );
    let is_refusing = group["full"].as_u64() > refused_before;
    Finding::new(is_refusing && tally.lost.is_empty() && before == after, value)
}

/// Sends so long to a group that is stopped, and a second more when it moves; until its queue is empty.
fn exhaust(server: &Server, name: &str, time: Duration) -> Tally {
    let workers = server.children_titled("worker calls/");
    workers.iter().for_each(|pid| processes::freeze(*pid));
    let thaw_at = Instant::now() + time;
    let mut is_frozen = true;
    let count = (EXHAUSTING_RATE * (time.as_secs_f64() + 1.0)) as usize;
    let tally = Load::new(name, count).rate(EXHAUSTING_RATE).run_while(&server.caller(), |_| {
        if is_frozen && Instant::now() >= thaw_at {
            workers.iter().for_each(|pid| processes::thaw(*pid));
            is_frozen = false;
        }
        ControlFlow::Continue(())
    });
    wait_until("the queue is empty", SOON, || server.group("calls")["depth"] == 0);
    tally
}

fn unknown_group(_: &mut Dice) -> Finding {
    let refuses = |group: &str, asked: &str| {
        let checked = check_config(&format!(
            "{HEAD}async_workers_group=\"{group}\"\n\
             event_route[core:pre-routing] {{ if (sworker_task(\"{asked}\")) drop; }}\nrequest_route {{ exit; }}\n"
        ));
        checked.code == Some(255) && checked.output.contains(asked)
    };
    let is_unknown_refused = refuses("name=calls;workers=1", "cals");
    let is_empty_refused = refuses("name=calls;workers=0", "calls");
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
    let _ = Load::new("r16-warm", 1_000).run(&server.caller());
    let before = Used::by(&server);
    let tally = Load::new("r16", 1_000).run(&server.caller());
    let is_without_trace = Used::by(&server) == before;
    let counted = server.counter("sworker.unknown_group");
    let value = format!(
        "unknown name refused: {is_unknown_refused}, group without workers refused: {is_empty_refused}; computed: {start}, \
         counted {counted} times, {} lost, memory as before: {is_without_trace}",
        tally.lost.len()
    );
    let is_refused = is_unknown_refused && is_empty_refused && start.ends_with("code -2");
    Finding::new(is_refused && counted == 2_001 && tally.lost.is_empty() && is_without_trace, value)
}
