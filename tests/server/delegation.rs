//! Handing a message to a group of workers: who answers, what travels, what `sworker_task()` says.

use crate::scripts::{HEAD, answered_by_workers};
use crate::support::{Caller, Load, Request, SOON, Server, processes, wait_until};

#[test]
fn every_worker_of_a_group_gets_work() {
    let server = Server::start(&answered_by_workers(2, 3, 256));
    let caller = server.caller();
    // Given all workers but one are stopped, the one that is left answers; so each of them can.
    let workers = server.children_titled("worker calls/");
    assert_eq!(workers.len(), 3);
    for chosen in &workers {
        let others: Vec<i32> = workers.iter().copied().filter(|pid| pid != chosen).collect();
        others.iter().for_each(|pid| processes::freeze(*pid));
        // A stopped worker may hold the message it was woken for, and whoever is not woken looks every second.
        let load = Load::new(&format!("only-{chosen}"), 20).window(20);
        let tally = load.patience(std::time::Duration::from_secs(3)).run(&caller);
        assert!(tally.answered >= 18, "worker {chosen} alone answered {} of 20", tally.answered);
        others.iter().for_each(|pid| processes::thaw(*pid));
        // What the stopped ones held comes now.
        for _ in &tally.lost {
            caller.receive();
        }
    }
}

#[test]
fn thousands_of_messages_are_each_answered_once() {
    let server = Server::start(&answered_by_workers(2, 4, 1024));
    let tally = Load::new("many", 20_000).window(128).run(&server.caller());
    assert_eq!((tally.answered, tally.duplicates), (20_000, 0), "lost: {:?}", tally.lost);
}

#[test]
fn a_full_group_says_so_and_the_script_decides() {
    const COUNT: usize = 200;
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=16"
event_route[core:pre-routing] {{
    if (sworker_task("calls")) {{ drop; }}
    $var(code) = $rc;
}}
request_route {{
    if (sworker_active()) {{ sl_send_reply("200", "OK"); exit; }}
    sl_send_reply("503", "full $var(code)");
}}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let worker = server.worker("calls", 1);

    // Given a group that does not take anything, when more comes than its queue holds ...
    processes::freeze(worker);
    (0..COUNT)
        .for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("full-{index}")))));
    let refused = receive_all(&caller, "503", COUNT - 64);
    assert!(refused.iter().all(|start| start == "SIP/2.0 503 full -3"), "{refused:?}");

    // ... then what it took is answered when it goes on, and nothing is lost.
    processes::thaw(worker);
    let answered = receive_all(&caller, "200", COUNT - refused.len());
    assert_eq!(refused.len() + answered.len(), COUNT);
}

/// Receives until `at_least` answers of this status came and no more come for a moment.
fn receive_all(caller: &Caller, status: &str, at_least: usize) -> Vec<String> {
    let mut starts = Vec::new();
    wait_until("the answers come", SOON, || {
        let wait = std::time::Duration::from_millis(300);
        while let Some(bytes) = caller.receive_within(wait) {
            let start = String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_string();
            assert!(start.starts_with(&format!("SIP/2.0 {status}")), "{start}");
            starts.push(start);
        }
        starts.len() >= at_least
    });
    starts
}

#[test]
fn the_warning_about_a_wrong_place_is_not_written_for_every_message() {
    let script =
        answered_by_workers(1, 1, 64).replace("request_route {", "request_route { sworker_task(\"calls\");");
    let server = Server::start(&script);
    let tally = Load::new("wrong-place", 3_000).run(&server.caller());
    assert_eq!(tally.answered, 3_000);
    let warnings = server.log().lines().filter(|line| line.contains("WARNING")).count();
    assert!((1..100).contains(&warnings), "{warnings} warnings about 3000 messages");
}

#[test]
fn memory_stays_what_it_was() {
    let server = Server::start(&answered_by_workers(1, 2, 256));
    let caller = server.caller();
    let own_memory = || -> Vec<u64> {
        server.children().iter().map(|(pid, _)| processes::anonymous_memory_size(*pid)).collect()
    };
    Load::new("warm-up", 20_000).run(&caller);
    let before = own_memory();
    let tally = Load::new("soak", 60_000).run(&caller);
    tally.assert_nothing_lost();
    for (before, after) in before.iter().zip(own_memory()) {
        assert!(after < before + (512 << 10), "from {before} to {after} bytes in 60000 messages");
    }
}
