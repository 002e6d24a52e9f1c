//! A message that ends its workers, or holds one for ever: tried twice, then set aside, and nobody else notices.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::scripts::HEAD;
use crate::support::{
    Folder, Load, Request, SOON, Server, Tool, daemon_path, processes, wait_for, wait_until,
};

/// Workers of `calls` sleep for a minute over a user "stuck", not so long over one "slow"; all else is answered at once.
fn script(settings: &str, workers: u32) -> String {
    format!(
        r#"{HEAD}
loadmodule "cfgutils"
children=1
async_workers_group="name=calls;workers={workers};queue=64;{settings}"
modparam("sworker", "xdata", "$var(x)")
event_route[core:pre-routing] {{
    $var(x) = "carried";
    if (sworker_task("calls")) {{ drop; }}
}}
request_route {{
    if ($rU == "stuck") {{ xlog("L_ERR", "begun\n"); usleep(60000000); }}
    if ($rU == "slow") {{ usleep(800000); }}
    sl_send_reply("200", "worker $pp $var(x)");
}}
"#
    )
}

fn stuck(name: &str) -> Request {
    Request::new("INVITE", name).user("stuck")
}

/// The files that were kept, oldest first.
fn kept(server: &Server) -> Vec<PathBuf> {
    let directory = server.folder().path().join("run/quarantine");
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "sip"))
        .collect();
    files.sort();
    files
}

#[test]
fn a_message_that_holds_its_workers_is_tried_twice_and_then_set_aside_and_refused() {
    let server = Server::start(&script("deadline_ms=200", 2));
    let caller = server.caller();

    let answer = caller.ask(&stuck("poison"));

    assert_eq!((answer.status(), answer.header("Call-ID")), (500, "poison"));
    let group = server.group("calls");
    assert_eq!(
        [&group["deadline_killed"], &group["quarantined"], &group["redelivered"]],
        [2, 1, 1],
        "{group}"
    );
    let files =
        wait_for("the message is kept", SOON, || Some(kept(&server)).filter(|files| !files.is_empty()));
    let text = String::from_utf8(std::fs::read(&files[0]).unwrap()).unwrap();
    assert_eq!(files.len(), 1);
    for part in ["group: calls\n", "attempts: 2\n", "death: worker calls/", "\n\nINVITE sip:stuck@"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(text.contains(&format!("source: {}\n", caller.address())), "{text}");
    assert_eq!(server.log_count("killing "), 2);
    server.wait_for_log("quarantined a message");
}

#[test]
fn others_lose_nothing_while_a_poison_message_is_repeated() {
    let server = Server::start(&script("deadline_ms=100", 3));
    let poisoner = server.caller();
    let others = server.caller();
    let mut sent = 0;
    let tally = Load::new("others", 3_000).rate(1_000.0).run_while(&others, |tally| {
        // As its sender would send it again: seven times, here in less time.
        if sent < 7 && tally.sent >= sent * 400 {
            poisoner.send(&poisoner.bytes(&stuck("repeated")));
            sent += 1;
        }
        ControlFlow::Continue(())
    });
    tally.assert_nothing_lost();
    for _ in 0..sent {
        assert_eq!(poisoner.receive().status(), 500);
    }
    // Copies that come while the first one is being tried are tried as well; later ones are refused at once.
    let settled = || {
        let quarantined = server.group("calls")["quarantined"].as_u64().unwrap_or(0);
        (quarantined, quarantined + server.counter("core.copies_refused"))
    };
    wait_until("all of them are at an end", SOON, || settled().1 == sent as u64);
    assert!(settled().0 <= 2, "{} copies were tried", settled().0);
    assert_eq!(kept(&server).len() as u64, settled().0);
}

#[test]
fn a_message_over_which_workers_crash_is_set_aside_after_as_many_attempts_as_the_group_says() {
    for attempts in [1, 3] {
        let server = Server::start(&script(&format!("attempts={attempts}"), 1));
        let caller = server.caller();
        caller.send(&caller.bytes(&stuck("crash")));
        for attempt in 1..=attempts {
            let worker = busy_worker(&server, attempt);
            processes::send_signal(worker, Signal::SIGABRT);
        }
        assert_eq!(caller.receive().status(), 500, "after {attempts} attempts");
        assert_eq!(caller.ask(&Request::new("OPTIONS", "after")).status(), 200);
        let group = server.group("calls");
        assert_eq!([&group["quarantined"], &group["worker_deaths"]], [1, attempts], "{group}");
    }
}

/// The worker that has begun with the message for the n-th time.
fn busy_worker(server: &Server, attempt: usize) -> i32 {
    wait_until("the script has begun", SOON, || server.log_count("begun") == attempt);
    server.worker("calls", 1)
}

#[test]
fn who_is_slower_than_others_but_not_than_the_deadline_is_left_alone() {
    for settings in ["deadline_ms=0", "", "deadline_ms=20000"] {
        let server = Server::start(&script(settings, 1));
        let answer = server.caller().ask(&Request::new("INVITE", "slow").user("slow"));
        assert_eq!(answer.status(), 200, "{settings}");
        assert_eq!(server.group("calls")["worker_deaths"], 0, "{settings}");
    }
}

#[test]
fn a_stopped_worker_is_ended_at_the_deadline_and_its_message_answered_by_the_next() {
    let server = Server::start(&script("deadline_ms=300", 1));
    let caller = server.caller();
    let worker = server.worker("calls", 1);
    caller.send(&caller.bytes(&stuck("stuck")));
    processes::send_signal(worker, Signal::SIGSTOP);
    caller.send(&caller.bytes(&Request::new("OPTIONS", "behind")));
    let mut statuses: Vec<(u16, String)> =
        (0..2).map(|_| caller.receive()).map(|m| (m.status(), m.header("Call-ID").to_string())).collect();
    statuses.sort();
    assert_eq!(statuses, [(200, "behind".to_string()), (500, "stuck".to_string())]);
    assert!(!processes::is_alive(worker));
}

#[test]
fn what_a_worker_held_whose_successor_comes_late_is_done_by_a_colleague() {
    let server = Server::start(&script("attempts=100", 2));
    let caller = server.caller();
    let colleague = server.worker("calls", 2);
    processes::freeze(colleague);
    caller.send(&caller.bytes(&Request::new("OPTIONS", "left").user("slow")));
    wait_until("it is in hand", SOON, || {
        let group = server.group("calls");
        (&group["delegated"], &group["depth"]) == (&1.into(), &0.into())
    });
    processes::thaw(colleague);

    // Each successor crashes before it can finish, and the next one comes later.
    wait_until("a colleague has it", SOON, || {
        let successors = server.children_titled("worker calls/1");
        successors.into_iter().for_each(|pid| processes::send_signal(pid, Signal::SIGSEGV));
        server.log_count("restarting worker calls/1 in 80 ms") > 0
    });
    assert_eq!(caller.receive().start, format!("SIP/2.0 200 worker {colleague} carried"));
    let group = server.group("calls");
    assert_eq!([&group["adopted"], &group["quarantined"]], [1, 0], "{group}");
}

/// Lets time pass, as nothing that could be waited for happens in it.
fn let_pass(time: Duration) {
    let began = Instant::now();
    wait_until("time passes", SOON, || began.elapsed() >= time);
}

#[test]
fn when_the_whole_server_stood_still_nobody_is_ended_and_a_single_worker_is() {
    let server = Server::start(&script("deadline_ms=1000", 3));
    let caller = server.caller();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "slow").user("slow")));
    wait_until("it is in hand", SOON, || {
        let group = server.group("calls");
        (&group["delegated"], &group["depth"]) == (&1.into(), &0.into())
    });
    let everyone = processes::tree(server.master());

    // As a container is paused, or a virtual machine, for longer than any deadline here ...
    everyone.iter().for_each(|pid| processes::freeze(*pid));
    let_pass(Duration::from_millis(2_500));
    // ... and the master is the first to go on.
    processes::thaw(server.master());
    let_pass(Duration::from_millis(50));
    everyone.iter().for_each(|pid| processes::thaw(*pid));

    assert_eq!(caller.receive().status(), 200);
    let_pass(Duration::from_millis(1_500));
    assert_eq!((server.log_count("killing "), processes::tree(server.master())), (0, everyone));

    let worker = server.worker("calls", 2);
    processes::freeze(worker);
    wait_until("the one that stands still is ended", SOON, || !processes::is_alive(worker));
    server.wait_for_log("worker calls/2");
    assert_eq!(server.log_count("killing "), 1);
}

#[test]
fn what_was_set_aside_can_be_replayed_in_one_process() {
    let server = Server::start(&script("deadline_ms=100;attempts=1", 1));
    let caller = server.caller();
    assert_eq!(caller.ask(&stuck("again")).status(), 500);
    let file = wait_for("the message is kept", SOON, || kept(&server).pop());
    // With a script that does not sleep, what would have been answered is shown.
    let folder = Folder::new();
    let quick = script("", 1).replace("usleep(60000000);", "");
    folder.write("quick.cfg", quick.replace("children=1", "children=1\nlisten=udp:127.0.0.1:5060"));
    let file = file.to_str().unwrap();
    let done = Tool::start(
        &folder,
        "replay",
        daemon_path().to_str().unwrap(),
        &["--replay", file, "-f", "quick.cfg"],
    )
    .finish(SOON);
    assert_eq!(done.code, Some(0), "{}", done.output);
    for part in [
        &format!("bytes to {} by listener 0", caller.address()),
        "SIP/2.0 200 worker ",
        " carried\r\n",
        "Call-ID: again\r\n",
        "begun",
        "--- 1 messages would be sent",
    ] {
        assert!(done.output.contains(part), "no {part:?} in {}", done.output);
    }
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_reason() {
    let rows = [("nothing.sip", "cannot replay nothing.sip: "), ("bad.sip", "it does not begin with")];
    for (file, reason) in rows {
        let done = crate::support::sworkerd(&[("bad.sip", "INVITE")], &["--replay", file]);
        assert!(done.code != Some(0) && done.output.contains(reason), "{file}: {}", done.output);
    }
}

/// A script that lets receivers do all the work. They crash over a user "crash", and turn for ever over one "stuck", as a
/// worker holds what they wait for; it is ended after 5 s.
fn in_receivers(settings: &str) -> String {
    format!(
        r#"{HEAD}
loadmodule "cfgutils"
modparam("cfgutils", "lock_set_size", 4)
children=1
max_while_loops=100000
{settings}
async_workers_group="name=calls;workers=1;queue=64;deadline_ms=5000;attempts=1"
event_route[core:pre-routing] {{
    if ($rU == "crash") {{ xlog("L_ERR", "begun\n"); abort(); }}
    if ($rU == "stuck") {{ xlog("L_ERR", "begun\n"); while (1) {{ lock("held"); }} }}
    if ($rm == "MESSAGE" && sworker_task("calls")) {{ drop; }}
}}
request_route {{
    if (sworker_active()) {{ lock("held"); xlog("L_ERR", "locked\n"); usleep(60000000); }}
    sl_send_reply("200", "process $pp");
}}
"#
    )
}

/// Lets a worker take what receivers wait for over a user "stuck".
fn hold(server: &Server) {
    let caller = server.caller();
    caller.send(&caller.bytes(&Request::new("MESSAGE", "holder")));
    server.wait_for_log("locked");
}

#[test]
fn a_message_that_ends_receivers_is_set_aside_and_its_copies_end_nobody() {
    for (settings, user) in [("", "crash"), ("process_deadline_ms=1000", "stuck")] {
        let server = Server::start(&in_receivers(settings));
        hold(&server);
        let poisoner = server.caller();
        let poison = poisoner.bytes(&Request::new("INVITE", "poison").user(user));
        let mut is_sent = false;
        let tally = Load::new(user, 2_000).rate(1_000.0).run_while(&server.caller(), |tally| {
            if !is_sent && tally.answered > 100 {
                poisoner.send(&poison);
                is_sent = true;
            }
            ControlFlow::Continue(())
        });
        tally.assert_nothing_lost();
        assert_eq!(poisoner.receive().status(), 500, "{user}");
        for _ in 0..6 {
            poisoner.send(&poison);
            assert_eq!(poisoner.receive().status(), 500, "a copy of {user}");
        }

        assert_eq!(server.log_count("begun"), 2, "{user}");
        assert_eq!([server.counter("core.set_aside"), server.counter("core.copies_refused")], [1, 6]);
        let file = wait_for("the message is kept", SOON, || kept(&server).pop());
        let text = String::from_utf8(std::fs::read(&file).unwrap()).unwrap();
        let source = format!("source: {}\n", poisoner.address());
        for part in ["group: \n", "attempts: 2\n", "death: receiver ", "\n\nINVITE sip:", &source] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert_eq!(text.matches("death: receiver ").count(), 2, "{text}");
    }
}

#[test]
fn receivers_that_are_killed_over_a_message_do_not_take_it_with_them() {
    let server = Server::start(&in_receivers(""));
    hold(&server);
    let caller = server.caller();
    caller.send(&caller.bytes(&stuck("innocent")));
    for begun in 1..=4 {
        wait_until("the script has begun", SOON, || server.log_count("begun") == begun);
        server
            .children_titled("receiver")
            .into_iter()
            .for_each(|pid| processes::send_signal(pid, Signal::SIGKILL));
    }
    wait_until("it is begun once more", SOON, || server.log_count("begun") == 5);
    assert_eq!(server.counter("core.set_aside"), 0);
    assert!(kept(&server).is_empty());
}

#[test]
fn a_receiver_a_timer_and_a_control_process_that_are_stopped_are_replaced() {
    let server = Server::start(&in_receivers("process_deadline_ms=1000\nloadmodule \"async\""));
    let caller = server.caller();
    for title in ["receiver", "timer", "control"] {
        let stopped = server.children_titled(title)[0];
        processes::freeze(stopped);
        caller.send(&caller.bytes(&Request::new("OPTIONS", title)));
        wait_until("who stands still is ended", Duration::from_secs(30), || !processes::is_alive(stopped));
        assert_eq!(caller.receive().header("Call-ID"), title);
        wait_until("it has a successor", SOON, || server.children_titled(title).len() == 1);
    }
    assert_eq!(server.log_count("killing "), 3);
}
