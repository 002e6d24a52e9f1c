//! A clock that jumps: nothing that waits is hurried or held up by it.

use crate::scripts::HEAD;
use crate::support::{Load, MovedClock, Request};

#[test]
fn a_clock_that_jumps_by_days_loses_nothing_ends_nobody_and_makes_nothing_too_old() {
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=1024;deadline_ms=1000;max_age_ms=1000"
event_route[core:pre-routing] {{ if (sworker_task("calls")) drop; }}
request_route {{ sl_send_reply("200", "$TS"); }}
"#
    );
    let Some((server, clock)) = MovedClock::start(&script) else {
        return eprintln!("skipped: libfaketime is not installed; scripts/test installs it");
    };
    for seconds in [86_400, -86_400, 3_600, 0] {
        clock.set(seconds);
        Load::new(&format!("jump{}", seconds.unsigned_abs()), 500)
            .run(&server.caller())
            .assert_nothing_lost();
    }
    let group = server.group("calls");
    assert_eq!([&group["expired"], &group["deadline_killed"], &group["worker_deaths"]], [0, 0, 0], "{group}");
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "after")).status(), 200);
}
