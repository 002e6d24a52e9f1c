//! The row about the order of messages.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::scripts::HEAD;
use super::support::{Caller, Request, Server};
use super::{Dice, Finding, Row};

pub const ROWS: &[Row] = &[Row {
    id: "R22",
    what: "many dialogs of 3 messages each, 8 workers that take 0 to 5 ms, in order and without it",
    target: "0 of them overtaken, at least 90 % of the throughput without order (median of 5 turns)",
    peer: "61 % overtaken",
    measure: order,
}];

const MESSAGES_OF_A_DIALOG: usize = 3;
/// So many dialogs begin before the first one is asked for its next message.
const DIALOGS_AT_ONCE: usize = 60;

/// On a machine that builds and tests at the same time only a collapse is told from noise.
const RATIO_MIN: u32 = if cfg!(debug_assertions) { 50 } else { 90 };

/// With order and without it in turn, so that what else the machine does is in both figures.
const TURNS: usize = 5;

fn order(_: &mut Dice) -> Finding {
    let dialogs = std::env::var("CHAOS_DIALOGS").ok().and_then(|text| text.parse().ok()).unwrap_or(6_000);
    let (mut with, mut without, mut ratios) = (Played::default(), Played::default(), Vec::new());
    for _ in 0..TURNS {
        let (loose, ordered) = (play("none", dialogs / TURNS), play("callid", dialogs / TURNS));
        ratios.push((ordered.per_second / loose.per_second * 100.0).round() as u32);
        with.add(&ordered);
        without.add(&loose);
    }
    let per_second = with.per_second / TURNS as f64;
    let value = format!(
        "{} overtaken of {} ({dialogs} dialogs), {} lost, {per_second:.0}/s; percent of the throughput without order, in \
         turns: {ratios:?}; there {} of {} overtaken",
        with.overtaken, with.answered, with.lost, without.overtaken, without.answered
    );
    ratios.sort();
    let ratio = ratios[TURNS / 2];
    // Where nothing is overtaken without order, nothing could have been seen.
    let is_met = with.overtaken == 0 && with.lost == 0 && without.overtaken > 0 && ratio >= RATIO_MIN;
    Finding::new(is_met, value)
}

#[derive(Default)]
struct Played {
    answered: usize,
    overtaken: usize,
    lost: usize,
    per_second: f64,
}

impl Played {
    fn add(&mut self, other: &Played) {
        self.answered += other.answered;
        self.overtaken += other.overtaken;
        self.lost += other.lost;
        self.per_second += other.per_second;
    }
}

fn play(order: &str, dialogs: usize) -> Played {
    let script = format!(
        r#"{HEAD}loadmodule "cfgutils"
children=1
async_workers_group="name=calls;workers=8;queue=4096;order={order}"
event_route[core:pre-routing] {{ if (sworker_task("calls")) drop; }}
request_route {{
    $var(pause) = $RANDOM mod 5000;
    usleep("$var(pause)");
    sl_send_reply("200", "$hdr(X-Number)");
}}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let mut last: HashMap<usize, usize> = HashMap::new();
    let mut played = Played::default();
    let (mut sent, total, started_at) = (0, dialogs * MESSAGES_OF_A_DIALOG, Instant::now());
    while played.answered < total {
        while sent < total && sent - played.answered < DIALOGS_AT_ONCE * MESSAGES_OF_A_DIALOG {
            // The messages of a dialog follow one another at once, which is when they overtake.
            caller.send(&message(&caller, sent / MESSAGES_OF_A_DIALOG, sent % MESSAGES_OF_A_DIALOG));
            sent += 1;
        }
        let Some((dialog, number)) = answer(&caller) else { break };
        let is_next = number == last.get(&dialog).map_or(0, |last| last + 1);
        let highest = last.entry(dialog).or_default();
        *highest = number.max(*highest);
        played.overtaken += usize::from(!is_next);
        played.answered += 1;
    }
    played.lost = total - played.answered;
    played.per_second = played.answered as f64 / started_at.elapsed().as_secs_f64();
    played
}

fn message(caller: &Caller, dialog: usize, number: usize) -> Vec<u8> {
    let request = Request::new("INFO", &format!("dialog-{dialog}"));
    caller.bytes(&request.header(&format!("X-Number: {dialog}/{number}")))
}

/// Dialog and number of the next answer, if one comes.
fn answer(caller: &Caller) -> Option<(usize, usize)> {
    let bytes = caller.receive_within(Duration::from_secs(3))?;
    let text = String::from_utf8_lossy(&bytes);
    let (dialog, number) = text.strip_prefix("SIP/2.0 200 ")?.lines().next()?.split_once('/')?;
    Some((dialog.parse().ok()?, number.parse().ok()?))
}
