//! A running server whose processes end at every named step of the queue's protocol, and while they hold a lock.
//!
//! Only a build with the feature `crash-points` has these steps; `scripts/chaos R3` makes one.

use super::Row;
#[cfg(not(feature = "crash-points"))]
use super::{Dice, Finding};

pub const ROWS: &[Row] = &[Row {
    id: "R3",
    what: "processes end at every step of the queue's protocol, and while they hold a lock",
    target: "0 lost, 0 set aside, nobody stuck, longest wait of a message 100 ms (250 not optimized), 28 of the 32 steps met",
    peer: "the whole server exits; a lock whose holder is gone is never given back",
    measure: every_step,
}];

#[cfg(not(feature = "crash-points"))]
fn every_step(_: &mut Dice) -> Finding {
    Finding::new(false, "this build has no failpoints: scripts/chaos R3 makes one that has")
}

#[cfg(feature = "crash-points")]
use with_failpoints::every_step;

#[cfg(feature = "crash-points")]
mod with_failpoints {
    use std::ops::ControlFlow;
    use std::time::Duration;

    use nix::sys::signal::Signal;
    use sworker::shm::proof::crash_point::Point;

    use super::super::scripts::HEAD;
    use super::super::support::{Load, Request, SOON, Server, processes, wait_until};
    use super::super::{Dice, Finding, milliseconds};

    const MESSAGES: usize = 60_000;
    const DEATHS_OF_A_POINT: usize = 10;
    const KILLS_OF_LOCK_HOLDERS: usize = 30;
    const LONGEST_WAIT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 100 });
    /// Some steps are only met when two processes come by at the same time; `ring_kill` goes on until it met all of them.
    const STEPS_MET_MIN: usize = 28;
    /// Who passes a step once a message passes it this often between two ends, and who seldom does, this often.
    const PASSES_OF_THE_OFTEN: usize = 3_000;
    const PASSES_OF_THE_SELDOM: usize = 3;

    /// A group of each kind of lane; workers of `locked` hold a lock for most of their time.
    fn script() -> String {
        format!(
            r#"{HEAD}loadmodule "cfgutils"
modparam("cfgutils", "lock_set_size", 4)
children=2
async_workers_group="name=plain;workers=2;queue=1024"
async_workers_group="name=ordered;workers=2;queue=1024;order=callid"
async_workers_group="name=urgent;workers=2;queue=1024;priority=on"
async_workers_group="name=locked;workers=2;queue=1024"
event_route[core:pre-routing] {{
    if (is_method("OPTIONS") && sworker_task("plain")) drop;
    if (is_method("INVITE") && sworker_task("ordered")) drop;
    if (is_method("REGISTER") && sworker_task("urgent")) drop;
    if (is_method("MESSAGE") && sworker_task("locked")) drop;
}}
request_route {{
    if (is_method("MESSAGE")) {{ lock("one"); usleep("500"); unlock("one"); }}
    sl_send_reply("200", "OK");
}}
"#
        )
    }

    /// What is armed: each step of the rings, so that its ends are spread over the load. To take the oldest away is to lose it by order,
    /// so that step is for `ring_kill` alone.
    fn armed(dice: &mut Dice) -> (Vec<Point>, String) {
        let points: Vec<Point> =
            Point::OF_RINGS.iter().copied().filter(|point| *point != Point::OldestTaken).collect();
        let words: Vec<String> = points
            .iter()
            .map(|point| {
                let passes = if is_seldom(*point) { PASSES_OF_THE_SELDOM } else { PASSES_OF_THE_OFTEN };
                let passes = passes + dice.below(passes);
                format!("{}:kill@{passes}x{DEATHS_OF_A_POINT}", point.name())
            })
            .collect();
        (points, words.join(","))
    }

    fn is_seldom(point: Point) -> bool {
        use Point::*;
        matches!(
            point,
            AttachTailStored
                | AttachHeadStored
                | WakeTokenReturned
                | ClaimHinted
                | TakeGivenBack
                | RedeliveryStarted
                | ParkCancelled
        )
    }

    pub fn every_step(dice: &mut Dice) -> Finding {
        let (points, words) = armed(dice);
        let server = Server::on(&script()).environment("SWORKER_FAIL", &words).start();
        let mut kills = 0;
        let load = Load::new("r3", MESSAGES).rate(2_000.0).request(|name| {
            let number: usize = name.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            Request::new(["OPTIONS", "INVITE", "REGISTER", "MESSAGE"][number % 4], name)
        });
        let tally = load.run_while(&server.caller(), |tally| {
            if tally.answered / (MESSAGES / KILLS_OF_LOCK_HOLDERS) > kills {
                kills += 1;
                let holders = server.children_titled("worker locked/");
                holders.iter().take(1).for_each(|pid| processes::send_signal(*pid, Signal::SIGKILL));
            }
            ControlFlow::Continue(())
        });
        let groups = ["plain", "ordered", "urgent", "locked"];
        wait_until("nothing is left in a queue", SOON, || {
            groups.iter().all(|group| server.group(group)["depth"] == 0)
        });
        let set_aside: u64 =
            groups.iter().map(|group| server.group(group)["quarantined"].as_u64().unwrap_or(0)).sum();
        let deaths = |point: &Point| server.log_count(&format!("failpoint {} ends", point.name()));
        let met = points.iter().filter(|point| deaths(point) > 0).count();
        let never: Vec<&str> =
            points.iter().filter(|point| deaths(point) == 0).map(|point| point.name()).collect();
        let total: usize = points.iter().map(deaths).sum();
        let longest = tally.latency(1.0);
        let value = format!(
            "{} lost of {}, {set_aside} set aside, {total} ends at {met} of {} steps (not met: {}), {kills} kills of lock \
             holders, longest wait {}",
            tally.lost.len(),
            tally.sent,
            points.len(),
            if never.is_empty() { "none".into() } else { never.join(" ") },
            milliseconds(longest)
        );
        Finding::new(
            tally.lost.is_empty() && set_aside == 0 && longest <= LONGEST_WAIT && met >= STEPS_MET_MIN,
            value,
        )
    }
}
