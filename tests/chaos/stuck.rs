//! Rows in which a message holds or ends its workers.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::HEAD;
use super::support::{Caller, Load, Request, SOON, Server, processes, wait_until};
use super::{Beat, Dice, Finding, Row, milliseconds};

pub const ROWS: &[Row] = &[
    Row {
        id: "R4",
        what: "a worker stopped, one that hangs in its script, one that spins; deadline 500 ms, 2,000 messages a second",
        target: "0 lost, the stopped one ended within two deadlines, who hangs answered with 500 after two attempts, who \
                 spins ended by the limit of steps or the deadline",
        peer: "the group is short of these workers for ever",
        measure: held_workers,
    },
    Row {
        id: "R14",
        what: "a message that crashes its worker, sent 7 times as its sender would, 2,000 others a second",
        target: "at most 2 workers ended by it, 7 answers 500, one file to replay, 0 others lost",
        peer: "each copy ends the whole server; five in ten seconds and the service manager gives up",
        measure: poison,
    },
];

const DEADLINE: Duration = Duration::from_millis(500);
/// What the master's look at the clock, a start and a busy machine may add.
const GRACE: Duration = Duration::from_millis(300);

fn held_workers(_: &mut Dice) -> Finding {
    let script = format!(
        r#"{HEAD}
children=2
max_while_loops=100000000
loadmodule "cfgutils"
async_workers_group="name=calls;workers=4;queue=8192;deadline_ms={}"
event_route[core:pre-routing] {{ if (sworker_task("calls")) drop; }}
request_route {{
    if ($rU == "hang") {{ usleep("60000000"); }}
    if ($rU == "spin") {{ while (1) {{ $var(turns) = $var(turns) + 1; }} }}
    sl_send_reply("200", "OK");
}}
"#,
        DEADLINE.as_millis()
    );
    let server = Server::start(&script);
    let other = server.caller();
    let started_at = Instant::now();
    let (mut stopped, mut freed_after, mut hung_at, mut refused) = (None, None, None, None);
    let tally = Load::new("r4", 8_000).rate(2_000.0).run_while(&server.caller(), |tally| {
        match stopped {
            None if started_at.elapsed() > DEADLINE => {
                let victim = server.worker("calls", 1);
                processes::freeze(victim);
                stopped = Some((victim, Instant::now()));
            }
            Some((victim, since)) if freed_after.is_none() && !processes::is_alive(victim) => {
                freed_after = Some(since.elapsed());
            }
            _ => {}
        }
        match hung_at {
            None if tally.answered > 2_500 => {
                other.send(&other.bytes(&Request::new("INVITE", "spin").user("spin")));
                other.send(&other.bytes(&Request::new("INVITE", "hang").user("hang")));
                hung_at = Some(Instant::now());
            }
            Some(since) if refused.is_none() && since.elapsed() > DEADLINE => {
                let bytes =
                    other.receive_within(Duration::from_micros(1)).filter(|bytes| is_about(bytes, "hang"));
                refused = bytes.map(|bytes| (is_refusal(&bytes), since.elapsed()));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    // A million steps take longer than the deadline in a build that is not optimized.
    let set_aside = || server.group("calls")["quarantined"].as_u64().unwrap_or(0);
    let stepped = || server.counter("core.scripts_failed");
    wait_until("both are at an end", SOON, || set_aside() + stepped() == 2);
    let (killed, stepped) = (server.group("calls")["deadline_killed"].clone(), stepped());
    let freed_after = freed_after.unwrap_or(Duration::MAX);
    let (is_refused, refused_after) = refused.unwrap_or((false, Duration::MAX));
    let value = format!(
        "{} lost of {}, longest wait {}, the stopped one ended after {}, who hangs answered with 500 after {}, {killed} \
         ended by the deadline, {stepped} by the limit of steps",
        tally.lost.len(),
        tally.sent,
        milliseconds(tally.latency(1.0)),
        milliseconds(freed_after),
        milliseconds(refused_after)
    );
    let limit = DEADLINE * 2 + GRACE;
    let is_met = tally.lost.is_empty() && tally.latency(1.0) <= limit && freed_after <= limit && is_refused;
    Finding::new(is_met && refused_after <= limit, value)
}

/// When the copies of a request over UDP are sent, RFC 3261 17.1.1.2, ten times as fast.
const COPIES_AT_MS: [u64; 7] = [0, 50, 150, 350, 750, 1_550, 3_150];

fn poison(_: &mut Dice) -> Finding {
    let script = format!(
        r#"{HEAD}loadmodule "cfgutils"
children=2
async_workers_group="name=calls;workers=4;queue=8192"
event_route[core:pre-routing] {{ if (sworker_task("calls")) drop; }}
request_route {{
    if ($rU == "poison") {{ xlog("L_ERR", "poisoned $pp\n"); usleep("60000000"); }}
    sl_send_reply("200", "OK");
}}
"#
    );
    let server = Server::start(&script);
    let poisoner = server.caller();
    let copy = poisoner.bytes(&Request::new("INVITE", "poison").user("poison"));
    let started_at = Instant::now();
    let mut beat = Beat::every(Duration::from_millis(2));
    let (mut sent, mut ended) = (0, 0);
    let tally = Load::new("r14", 8_000).rate(2_000.0).run_while(&server.caller(), |_| {
        let is_due = |at_ms: &u64| started_at.elapsed() >= Duration::from_millis(*at_ms);
        if COPIES_AT_MS.get(sent).is_some_and(is_due) {
            poisoner.send(&copy);
            sent += 1;
        }
        if beat.is_due() {
            ended += end_the_poisoned(&server, ended);
        }
        ControlFlow::Continue(())
    });
    let refusals = (0..sent).filter(|_| is_refused(&poisoner)).count();
    let files = std::fs::read_dir(server.folder().file("run/quarantine")).into_iter().flatten().count();
    let value = format!(
        "{} others lost of {}, {ended} workers ended over {sent} copies, {refusals} answers 500, {files} files",
        tally.lost.len(),
        tally.sent
    );
    let is_met = tally.lost.is_empty() && sent == COPIES_AT_MS.len() && refusals == sent;
    Finding::new(is_met && ended <= 2 && files == 1, value)
}

/// Crashes whoever has begun with the message since the last time; how many that were.
fn end_the_poisoned(server: &Server, known: usize) -> usize {
    let log = server.log();
    let begun = log.lines().filter_map(|line| line.split_once("poisoned ")?.1.trim().parse::<i32>().ok());
    begun.skip(known).inspect(|pid| processes::send_signal(*pid, Signal::SIGABRT)).count()
}

fn is_refused(caller: &Caller) -> bool {
    caller.receive_within(SOON).is_some_and(|bytes| is_refusal(&bytes))
}

fn is_refusal(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SIP/2.0 500 ")
}

fn is_about(bytes: &[u8], call_id: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(&format!("Call-ID: {call_id}\r\n"))
}
