//! The row about the order of messages.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::HEAD;
use super::support::{Caller, Request, Server, processes};
use super::{Dice, Finding, Row, full_or_short, size_of_row};

pub const ROWS: &[Row] = &[Row {
    id: "R22",
    what: "100,000 dialogs, or CHAOS_DIALOGS, of 3 messages each, 8 workers that take 0 to 5 ms; then with workers killed",
    target: "0 of them overtaken, also by kills, 0 lost, at least 90 % of the throughput without order (median of 5 turns)",
    peer: "61 % overtaken",
    measure: order,
}];

const MESSAGES_OF_A_DIALOG: usize = 3;
/// So many dialogs begin before the first one is asked for its next message.
const DIALOGS_AT_ONCE: usize = 60;

/// On a machine that builds and tests at the same time only a collapse is told from noise.
const RATIO_MIN: u32 = full_or_short(90, 50);

/// With order and without it in turn, so that what else the machine does is in both figures.
const TURNS: usize = 5;
const DIALOGS_OF_A_TURN: usize = full_or_short(1_200, 600);

/// While workers are killed, one for so many answers.
const DIALOGS_UNDER_KILLS: usize = full_or_short(4_000, 600);
const ANSWERS_FOR_A_KILL: usize = 100;

fn dialogs() -> usize {
    size_of_row("CHAOS_DIALOGS", full_or_short(100_000, 6_000))
}

/// What the row may take beyond the usual limit: eight workers do some 3,000 of its messages a second.
pub fn limit() -> Duration {
    Duration::from_secs((dialogs() * MESSAGES_OF_A_DIALOG) as u64 / 1_000)
}

fn order(dice: &mut Dice) -> Finding {
    let (mut with, mut without, mut ratios) = (Played::default(), Played::default(), Vec::new());
    for _ in 0..TURNS {
        let (loose, ordered) = (play("none", DIALOGS_OF_A_TURN), play("callid", DIALOGS_OF_A_TURN));
        ratios.push((ordered.per_second() / loose.per_second() * 100.0).round() as u32);
        with.add(&ordered);
        without.add(&loose);
    }
    with.add(&play("callid", dialogs().saturating_sub(TURNS * DIALOGS_OF_A_TURN)));
    let mut kills = Kills { dice, done: 0 };
    let killed = play_under("callid", DIALOGS_UNDER_KILLS, Some(&mut kills));
    let value = format!(
        "{} overtaken of {}, {} lost, {:.0}/s; percent of the throughput without order, in turns: {ratios:?}; there {} \
         of {} overtaken; over {} kills {} overtaken of {}, {} lost, {} answered twice",
        with.overtaken,
        with.answered,
        with.lost,
        with.per_second(),
        without.overtaken,
        without.answered,
        kills.done,
        killed.overtaken,
        killed.answered,
        killed.lost,
        killed.repeated
    );
    ratios.sort();
    let ratio = ratios[TURNS / 2];
    // Where nothing is overtaken without order, nothing could have been seen.
    let is_in_order = with.overtaken == 0 && with.lost == 0 && with.repeated == 0 && without.overtaken > 0;
    let is_in_order_under_kills =
        killed.overtaken == 0 && killed.lost == 0 && kills.done > 0 && killed.repeated <= kills.done;
    Finding::new(is_in_order && is_in_order_under_kills && ratio >= RATIO_MIN, value)
}

#[derive(Default)]
struct Played {
    answered: usize,
    overtaken: usize,
    /// Answered once more, at once, by the successor of a worker that was killed.
    repeated: usize,
    lost: usize,
    time: Duration,
}

impl Played {
    fn add(&mut self, other: &Played) {
        self.answered += other.answered;
        self.overtaken += other.overtaken;
        self.repeated += other.repeated;
        self.lost += other.lost;
        self.time += other.time;
    }

    fn per_second(&self) -> f64 {
        self.answered as f64 / self.time.as_secs_f64()
    }

    /// Books an answer; `last` is the highest number of its dialog so far.
    fn book(&mut self, last: &mut Option<usize>, number: usize) {
        if *last == Some(number) {
            self.repeated += 1;
            return;
        }
        self.overtaken += usize::from(number != last.map_or(0, |last| last + 1));
        self.answered += 1;
        *last = (*last).max(Some(number));
    }
}

/// Kills workers, a random one each time, as long as none is missing.
struct Kills<'d> {
    dice: &'d mut Dice,
    done: usize,
}

impl Kills<'_> {
    fn when_due(&mut self, server: &Server, answered: usize) {
        if answered / ANSWERS_FOR_A_KILL <= self.done {
            return;
        }
        let workers = server.children_titled("worker calls/");
        if workers.len() == WORKERS {
            processes::send_signal(workers[self.dice.below(WORKERS)], Signal::SIGKILL);
            self.done += 1;
        }
    }
}

const WORKERS: usize = 8;

fn play(order: &str, dialogs: usize) -> Played {
    play_under(order, dialogs, None)
}

fn play_under(order: &str, dialogs: usize, mut kills: Option<&mut Kills<'_>>) -> Played {
    let script = format!(
        r#"{HEAD}loadmodule "cfgutils"
children=1
async_workers_group="name=calls;workers={WORKERS};queue=4096;order={order}"
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
    let mut last: HashMap<usize, Option<usize>> = HashMap::new();
    let mut played = Played::default();
    let (mut sent, total, started_at) = (0, dialogs * MESSAGES_OF_A_DIALOG, Instant::now());
    while played.answered < total {
        while sent < total && sent - played.answered < DIALOGS_AT_ONCE * MESSAGES_OF_A_DIALOG {
            // The messages of a dialog follow one another at once, which is when they overtake.
            caller.send(&message(&caller, sent / MESSAGES_OF_A_DIALOG, sent % MESSAGES_OF_A_DIALOG));
            sent += 1;
        }
        let Some((dialog, number)) = answer(&caller) else { break };
        played.book(last.entry(dialog).or_default(), number);
        if let Some(kills) = &mut kills {
            kills.when_due(&server, played.answered);
        }
    }
    played.lost = total - played.answered;
    played.time = started_at.elapsed();
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
