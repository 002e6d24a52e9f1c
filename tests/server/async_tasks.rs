//! Module `async`: a worker goes on with a request in a route of its own, at once or later.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::scripts::HEAD;
use crate::support::{
    Caller, Load, Request, SOON, Server, Tool, check_config, daemon_path, processes, wait_for, wait_until,
};

/// One receiver, two groups, and whatever the test is about.
fn script(rest: &str) -> String {
    format!(
        "{HEAD}loadmodule \"cfgutils\"\nloadmodule \"async\"\nchildren=1\n\
         async_workers_group=\"name=first;workers=1;queue=64\"\n\
         async_workers_group=\"name=calls;workers=2;queue=64\"\n{rest}"
    )
}

/// Requests are handed on to `route[TASK]` of a group, which answers with its process id.
fn handed_on_to(group: &str) -> String {
    script(&format!(
        "request_route {{ async_task_group_route(\"TASK\", \"{group}\"); sl_send_reply(\"503\", \"Busy\"); }}\n\
         route[TASK] {{ sl_send_reply(\"200\", \"worker $pp\"); }}\n"
    ))
}

/// The title of the process whose id ends a reason phrase.
#[track_caller]
fn title_of_answer(caller: &Caller, name: &str) -> String {
    let answer = caller.ask(&Request::new("OPTIONS", name));
    let pid = answer.start.split_whitespace().next_back().and_then(|word| word.parse().ok());
    processes::title(pid.unwrap_or_else(|| panic!("no process id in {}", answer.start)))
}

#[test]
fn a_task_runs_in_a_worker_of_its_group() {
    let server = Server::start(&script(
        "request_route {\n\
           if (is_method(\"OPTIONS\")) { $vn(route) = \"TASK\"; async_task_route(\"$vn(route)\"); }\n\
           async_task_group_route(\"TASK\", \"calls\");\n\
         }\n\
         route[TASK] { sl_send_reply(\"200\", \"worker $pp\"); }\n",
    ));
    let caller = server.caller();
    assert!(title_of_answer(&caller, "first").starts_with("sworkerd: worker first/"));
    let answer = caller.ask(&Request::new("MESSAGE", "calls"));
    let pids = server.children_titled("worker calls/");
    assert!(pids.iter().any(|pid| answer.start.ends_with(&format!(" {pid}"))), "{}", answer.start);
    assert_eq!((server.counter("async.handed_on"), server.counter("core.continuations_lost")), (2, 0));
}

#[test]
fn what_pre_routing_hands_on_is_processed_once() {
    let server = Server::start(&script(
        "event_route[core:pre-routing] { async_task_route(\"TASK\"); }\n\
         request_route { sl_send_reply(\"500\", \"Twice\"); }\n\
         route[TASK] { sl_send_reply(\"200\", \"worker $pp\"); }\n",
    ));
    let caller = server.caller();
    let tally = Load::new("once", 200).run(&caller);
    assert_eq!((tally.answered, tally.duplicates), (200, 0));
    assert_eq!(server.counter("core.pre_routing_dropped"), 200);
    assert!(title_of_answer(&caller, "last").starts_with("sworkerd: worker first/"));
}

#[test]
fn a_full_queue_is_false_and_the_script_decides() {
    let server = Server::start(&handed_on_to("first").replace("workers=1;queue=64", "workers=1;queue=2"));
    let caller = server.caller();
    let worker = server.worker("first", 1);
    processes::freeze(worker);
    // Given a worker that stands still and a queue of two, some of these have no room.
    (0..8).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("full-{index}")))));
    let refused = (0..4).map(|_| caller.receive().status()).filter(|status| *status == 503).count();
    assert_eq!(refused, 4);
    wait_until("they are counted", SOON, || server.counter("async.full") >= 4);
    processes::thaw(worker);
    wait_until("the rest is answered", SOON, || server.group("first")["depth"] == 0);
}

#[test]
fn killing_workers_under_load_loses_no_task() {
    let server = Server::start(&handed_on_to("calls"));
    let mut kills = 0;
    let tally = Load::new("kill", 20_000).window(32).run_while(&server.caller(), |tally| {
        let alive = server_workers(&server);
        if tally.answered > (kills + 1) * 500 && kills < 20 && alive.len() == 2 {
            processes::send_signal(alive[0], Signal::SIGKILL);
            kills += 1;
        }
        std::ops::ControlFlow::Continue(())
    });
    tally.assert_nothing_lost();
    assert!(kills >= 10 && tally.duplicates <= kills, "{} twice after {kills} kills", tally.duplicates);
}

fn server_workers(server: &Server) -> Vec<i32> {
    server.children_titled("worker calls/")
}

#[test]
fn the_check_finds_routes_and_groups_that_are_not_there() {
    let rows = [
        ("async_task_route(\"TASKS\");", "unknown route route[TASKS]"),
        ("async_task_group_route(\"TASK\", \"call\");", "unknown worker group \"call\""),
    ];
    for (statement, expected) in rows {
        let checked =
            check_config(&script(&format!("request_route {{ {statement} }}\nroute[TASK] {{ exit; }}\n")));
        assert!(checked.code == Some(255) && checked.output.contains(expected), "{}", checked.output);
    }
}

/// Requests wait so many milliseconds before `route[LATER]` answers them.
fn waiting(milliseconds: u32, parameters: &str) -> String {
    script(&format!(
        "{parameters}\nrequest_route {{ async_ms_route(\"LATER\", {milliseconds}); sl_send_reply(\"503\", \"Busy\"); }}\n\
         route[LATER] {{ sl_send_reply(\"200\", \"worker $pp\"); }}\n"
    ))
}

#[test]
fn what_waits_is_answered_and_not_before_its_time() {
    let server = Server::start(&script(
        "request_route {\n\
           if (is_method(\"OPTIONS\")) { async_ms_route(\"LATER\", \"300\"); }\n\
           async_route(\"LATER\", 1);\n\
         }\n\
         route[LATER] { sl_send_reply(\"200\", \"worker $pp\"); }\n",
    ));
    let caller = server.caller();
    for (method, milliseconds) in [("OPTIONS", 300), ("MESSAGE", 1000)] {
        let began = Instant::now();
        let answer = caller.ask(&Request::new(method, &format!("later-{method}")));
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(milliseconds), "{method} answered after {took:?}");
        assert_eq!(answer.start, format!("SIP/2.0 200 worker {}", server.worker("first", 1)));
    }
    assert_eq!(["async.delayed", "async.waiting"].map(|name| server.counter(name)), [2, 0]);
}

/// A request of almost 64 KiB is delayed whole; where its room is taken the script decides, and smaller ones are let in.
#[test]
fn a_large_request_is_delayed_too_and_shares_the_memory() {
    let server = Server::start(&script(
        "msg_recv_max_size=65535\nmodparam(\"async\", \"capacity\", 8)\n\
         request_route { async_ms_route(\"LATER\", 2000); sl_send_reply(\"503\", \"Busy\"); }\n\
         route[LATER] { sl_send_reply(\"200\", \"$(rb{s.len}) $(rb{s.substr,59980,20})\"); }\n",
    ));
    let caller = server.caller();
    let send = |name: &str, body: &str| caller.send(&caller.bytes(&Request::new("MESSAGE", name).body(body)));
    let large: String = (0..60_000).map(|index| char::from(b'a' + (index % 23) as u8)).collect();
    send("large-1", &large);
    wait_until("the first is delayed", SOON, || server.counter("async.waiting") == 1);
    // Given 8 shares of 4 KiB and 72 KiB on top, a second one does not fit.
    send("large-2", &large);
    assert_eq!(caller.receive().status(), 503);
    (0..7).for_each(|index| send(&format!("small-{index}"), "x"));
    wait_until("small ones are delayed", SOON, || server.counter("async.waiting") == 8);
    assert_eq!(server.counter("async.full"), 1);
    let answers: Vec<String> = (0..8).map(|_| caller.receive().start).collect();
    let of_large = format!("SIP/2.0 200 60000 {}", &large[59_980..]);
    assert_eq!(answers.iter().filter(|answer| **answer == of_large).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.starts_with("SIP/2.0 200 1")).count(), 7, "{answers:?}");
}

#[test]
fn whoever_is_killed_what_waits_is_answered() {
    let server = Server::start(&waiting(700, ""));
    let victims = ["timer", "worker first/1", "control", "receiver"];
    let mut kills = [0; 4];
    let load = Load::new("kill", 1_500).rate(300.0).patience(Duration::from_secs(4));
    let began = Instant::now();
    let tally = load.run_while(&server.caller(), |_| {
        let turn = (began.elapsed().as_millis() / 150) as usize;
        let victim = turn % victims.len();
        if kills[victim] <= turn / victims.len()
            && let [alive, ..] = server.children_titled(victims[victim])[..]
        {
            processes::send_signal(alive, Signal::SIGKILL);
            kills[victim] += 1;
        }
        std::ops::ControlFlow::Continue(())
    });
    tally.assert_nothing_lost();
    assert!(kills.iter().all(|kills| *kills >= 3), "{kills:?}");
    let (twice, count) = (tally.duplicates, kills[1] + kills[3]);
    assert!(twice <= count, "{twice} twice after {count} kills of workers and receivers");
    wait_until("nothing waits any more", SOON, || server.counter("async.waiting") == 0);
}

#[test]
fn a_worker_hands_on_too() {
    let server = Server::start(&script(
        "request_route { async_task_route(\"ONE\"); }\n\
         route[ONE] { $avp(path) = $pp; async_task_group_route(\"TWO\", \"calls\"); sl_send_reply(\"503\", \"Busy\"); }\n\
         route[TWO] { if ($avp(path) != $pp) sl_send_reply(\"200\", \"$avp(path) $pp\"); }\n",
    ));
    let caller = server.caller();
    let tally = Load::new("chain", 2_000).window(32).run(&caller);
    assert_eq!((tally.answered, tally.refused, tally.duplicates), (2_000, 0, 0));
    let answer = caller.ask(&Request::new("OPTIONS", "last"));
    let first = server.worker("first", 1);
    assert!(answer.start.starts_with(&format!("SIP/2.0 200 {first} ")), "{}", answer.start);
}

#[test]
fn what_waits_over_a_reload_has_its_time_and_its_script() {
    let server = Server::start(&waiting(1_500, "exit_timeout=20"));
    let caller = server.caller();
    let began = Instant::now();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "over")));
    wait_until("it waits", SOON, || server.counter("async.waiting") == 1);
    let old = server.worker("first", 1);
    server.folder().write("server.cfg", script("request_route { sl_send_reply(\"200\", \"new\"); }\n"));
    server.ask_control(&["core.reload"]);
    assert_eq!(caller.receive().start, format!("SIP/2.0 200 worker {old}"));
    assert!(began.elapsed() >= Duration::from_millis(1_500), "answered after {:?}", began.elapsed());
    server.wait_for_log("generation 0 has ended");
    assert_eq!(caller.ask(&Request::new("OPTIONS", "after")).start, "SIP/2.0 200 new");
}

#[test]
fn when_the_master_is_killed_what_waits_is_answered_at_once() {
    let mut server = Server::start(&waiting(60_000, ""));
    let caller = server.caller();
    (0..20).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("last-{index}")))));
    wait_until("they wait", SOON, || server.counter("async.waiting") == 20);
    processes::send_signal(server.master(), Signal::SIGKILL);
    assert!((0..20).all(|_| caller.receive().status() == 200));
    assert_eq!(server.wait_for_exit(SOON), None);
}

#[test]
fn a_worker_goes_on_behind_the_call_that_slept() {
    let server = Server::start(&script(
        "request_route {\n\
           $avp(begun) = $pp;\n\
           if (is_method(\"OPTIONS\")) {\n\
             async_ms_sleep(\"400\");\n\
             sl_send_reply(\"200\", \"begun $avp(begun) ended $pp\");\n\
             exit;\n\
           }\n\
           sl_send_reply(\"404\", \"Not Here\");\n\
         }\n",
    ));
    let caller = server.caller();
    let began = Instant::now();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "sleeper")));
    // Meanwhile the receiver answers others, and the timer may die.
    assert_eq!(caller.ask(&Request::new("MESSAGE", "awake")).status(), 404);
    processes::send_signal(server.child("timer"), Signal::SIGKILL);
    let answer = caller.receive().start;
    assert!(began.elapsed() >= Duration::from_millis(400), "answered after {:?}", began.elapsed());
    let (receiver, worker) = (server.receiver(1), server.worker("first", 1));
    assert_eq!(answer, format!("SIP/2.0 200 begun {receiver} ended {worker}"));
}

#[test]
fn a_task_that_holds_its_workers_is_set_aside_and_can_be_replayed() {
    let script = script(
        "request_route { $avp(a) = \"kept\"; async_task_route(\"TASK\"); }\n\
         route[TASK] { usleep(\"60000000\"); sl_send_reply(\"200\", \"$avp(a)\"); }\n",
    )
    .replace("name=first;", "name=first;deadline_ms=100;");
    let server = Server::start(&script);
    assert_eq!(server.caller().ask(&Request::new("INVITE", "poison")).status(), 500);
    let directory = server.folder().path().join("run/quarantine");
    let kept = wait_for("the message is kept", SOON, || {
        let mut entries = std::fs::read_dir(&directory).ok()?.flatten().map(|entry| entry.path());
        entries.find(|path| path.extension().is_some_and(|extension| extension == "sip"))
    });
    let text = String::from_utf8(std::fs::read(&kept).unwrap()).unwrap();
    assert!(text.contains("\nroute: TASK\ncontinuation: "), "{text}");

    // The same message, with a script whose route is quick.
    server.folder().write("quick.cfg", script.replace("usleep(\"60000000\");", ""));
    let file = kept.to_str().unwrap();
    let daemon = daemon_path();
    let replay = |config: &str| {
        let arguments = ["--replay", file, "-f", config, "-l", "udp:127.0.0.1:5060"];
        Tool::start(server.folder(), "replay", &daemon, &arguments).finish(SOON)
    };
    let finished = replay("quick.cfg");
    assert_eq!(finished.code, Some(0), "{}", finished.output);
    assert!(finished.output.contains("\nSIP/2.0 200 kept\r\n"), "{}", finished.output);

    // And with one that has no such route.
    server.folder().write("none.cfg", script.replace("TASK", "OTHER"));
    let finished = replay("none.cfg");
    assert!(finished.output.contains("cannot resume: the script has no route[TASK]"), "{}", finished.output);
    assert!(finished.output.contains("--- 0 messages would be sent"), "{}", finished.output);
}

#[test]
fn values_changed_while_the_server_runs_are_seen_by_workers() {
    let server = Server::start(&script(
        "my.loc = \"here\" desc \"a place\"\nmy.num = 42 desc \"a number\"\n\
         request_route { async_task_route(\"TASK\"); }\n\
         route[TASK] {\n\
           if (@cfg_get.my.num == 42) { $vn(is) = \"old\"; } else { $vn(is) = \"new\"; }\n\
           sl_send_reply(\"200\", \"$vn(is) $sel(cfg_get.my.loc) $sel(cfg_get.my.num)\");\n\
         }\n",
    ));
    let caller = server.caller();
    let answer = |name: &str| caller.ask(&Request::new("OPTIONS", name)).start;
    assert_eq!(answer("before"), "SIP/2.0 200 old here 42");
    server.ask_control(&["cfg.set_now_int", "my", "num", "-7"]);
    server.ask_control(&["cfg.set_now_string", "my", "loc", "there and back"]);
    assert_eq!(answer("after"), "SIP/2.0 200 new there and back -7");
    assert_eq!(server.ask_control(&["cfg.get", "my", "loc"]), "there and back");
    // A worker that comes later sees them too.
    let worker = server.worker("first", 1);
    processes::send_signal(worker, Signal::SIGKILL);
    wait_until("another worker is there", SOON, || server.worker("first", 1) != worker);
    assert_eq!(answer("successor"), "SIP/2.0 200 new there and back -7");
    // A number put where text is becomes text, as with the reference.
    server.ask_control(&["cfg.set_now_int", "my", "loc", "5"]);
    assert_eq!(answer("converted"), "SIP/2.0 200 new 5 -7");
    assert_ne!(server.control(&["cfg.set_now_string", "my", "num", "five"]).code, Some(0));
}

#[test]
fn what_waits_over_an_upgrade_is_answered_by_the_program_that_accepted_it() {
    let mut server = Server::start(&waiting(1_500, "exit_timeout=20"));
    let caller = server.caller();
    let began = Instant::now();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "over")));
    wait_until("it waits", SOON, || server.counter("async.waiting") == 1);
    let old = server.worker("first", 1);
    server.signal(Signal::SIGUSR2);
    assert_eq!(caller.receive().start, format!("SIP/2.0 200 worker {old}"));
    assert!(began.elapsed() >= Duration::from_millis(1_500), "answered after {:?}", began.elapsed());
    assert_eq!(server.wait_for_exit(SOON), Some(0));
    let successor: i32 = server.folder().read("server.pid").trim().parse().expect("a process id");
    let everyone = processes::tree(successor);
    processes::send_signal(successor, Signal::SIGTERM);
    wait_until("the successor leaves", SOON, || !everyone.iter().any(|pid| processes::is_alive(*pid)));
}

#[test]
fn what_would_wait_too_long_over_a_reload_goes_on_early() {
    let server = Server::start(&waiting(60_000, "exit_timeout=4"));
    let caller = server.caller();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "early")));
    wait_until("it waits", SOON, || server.counter("async.waiting") == 1);
    server.folder().write("server.cfg", script("request_route { sl_send_reply(\"200\", \"new\"); }\n"));
    let began = Instant::now();
    server.ask_control(&["core.reload"]);
    assert!(caller.receive().start.starts_with("SIP/2.0 200 worker "));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "half of exit_timeout was not over after {took:?}");
    server.wait_for_log("generation 0 has ended");
    assert_eq!(server.log_count("lost:"), 0);
}

#[test]
fn a_timer_killed_while_its_generation_leaves_has_a_successor() {
    let server = Server::start(&waiting(1_500, "exit_timeout=20"));
    let caller = server.caller();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "leaving")));
    wait_until("it waits", SOON, || server.counter("async.waiting") == 1);
    let (timer, worker) = (server.child("timer"), server.worker("first", 1));
    server.folder().write("server.cfg", script("request_route { sl_send_reply(\"200\", \"new\"); }\n"));
    server.ask_control(&["core.reload"]);
    server.wait_for_log("generation 0 is draining: it finishes accepted messages and exits");
    processes::send_signal(timer, Signal::SIGKILL);
    assert_eq!(caller.receive().start, format!("SIP/2.0 200 worker {worker}"));
    server.wait_for_log("generation 0 has ended");
    assert_eq!(server.log_count("lost:"), 0);
}

#[test]
fn workers_that_left_come_back_for_what_does_not_fit_into_their_queue() {
    let mut server = Server::start(
        &script(
            "stop_reply=no\nexit_timeout=6\n\
             request_route { async_task_route(\"ONE\"); }\n\
             route[ONE] { usleep(\"20000\"); async_task_group_route(\"TWO\", \"calls\"); sl_send_reply(\"503\", \"Busy\"); }\n\
             route[TWO] { sl_send_reply(\"200\", \"OK\"); }\n",
        )
        .replace("name=calls;workers=2;queue=64", "name=calls;workers=1;queue=2"),
    );
    let caller = server.caller();
    (0..40).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("back-{index}")))));
    wait_until("they are accepted", SOON, || server.counter("async.handed_on") >= 40);
    server.signal(Signal::SIGTERM);
    assert!((0..40).all(|_| caller.receive().status() == 200));
    assert_eq!(server.wait_for_exit(SOON), Some(0));
}

/// Some ask every process of a server for a change of program, not the master alone.
#[test]
fn a_timer_that_is_told_to_leave_hurries_nobody() {
    let server = Server::start(&waiting(1_500, ""));
    let caller = server.caller();
    let began = Instant::now();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "patient")));
    wait_until("it waits", SOON, || server.counter("async.waiting") == 1);
    let timer = server.child("timer");
    processes::send_signal(timer, Signal::SIGUSR2);
    wait_until("it has a successor", SOON, || {
        server.children_titled("timer").first().is_some_and(|&other| other != timer)
    });
    assert_eq!(caller.receive().status(), 200);
    assert!(began.elapsed() >= Duration::from_millis(1_500), "answered after {:?}", began.elapsed());
}

#[test]
fn workers_held_back_for_order_begin_when_the_master_is_killed() {
    let ordered = |routes: &str| {
        script(routes)
            .replace("name=first;workers=1;queue=64", "name=first;workers=1;queue=1024")
            .replace("name=calls;workers=2;queue=64", "name=calls;workers=1;queue=2;order=callid")
    };
    let mut server = Server::start(&ordered(
        "exit_timeout=20\nrequest_route { async_task_group_route(\"SLOW\", \"calls\"); }\n\
         route[SLOW] { sl_send_reply(\"100\", \"begun\"); usleep(\"10000000\"); }\n",
    ));
    let caller = server.caller();
    assert_eq!(caller.ask(&Request::new("OPTIONS", "slow")).status(), 100);
    let previous = server.receiver(1);
    server.folder().write(
        "server.cfg",
        ordered(
            "exit_timeout=20\nrequest_route { async_task_route(\"WAIT\"); }\n\
             route[WAIT] { async_task_group_route(\"HELD\", \"calls\"); sl_send_reply(\"503\", \"Busy\"); }\n\
             route[HELD] { sl_send_reply(\"200\", \"OK\"); }\n",
        ),
    );
    server.ask_control(&["core.reload"]);
    wait_until("the previous receiver is gone", SOON, || !processes::is_alive(previous));
    // More than the timer's queue takes, whatever shard each one is in.
    let count = 200;
    (0..count)
        .for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("held-{index}")))));
    wait_until("they wait", SOON, || server.counter("async.handed_on") == 2 * count + 1);
    assert!(server.counter("async.waiting") > 0, "all of them fit into the queue");
    processes::send_signal(server.master(), Signal::SIGKILL);
    assert!((0..count).all(|_| caller.receive().status() == 200));
    assert_eq!(server.wait_for_exit(SOON), None);
}

#[test]
fn what_still_waits_at_the_end_is_told() {
    let mut server = Server::start(&waiting(60_000, "exit_timeout=1"));
    let caller = server.caller();
    (0..3).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("told-{index}")))));
    wait_until("they wait", SOON, || server.counter("async.waiting") == 3);
    processes::freeze(server.child("timer"));
    server.signal(Signal::SIGTERM);
    server.wait_for_log("lost: 3 delayed messages not yet queued for their group");
    assert_ne!(server.wait_for_exit(SOON), Some(0));
}
