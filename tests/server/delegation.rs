//! Handing a message to a group of workers: who answers, what travels, what `sworker_task()` says.

use crate::scripts::{HEAD, answered_by_the_receiver, answered_by_workers, two_groups};
use crate::support::{Caller, Load, Request, SOON, Server, processes, wait_until};

/// The process id in a reason phrase such as `worker 4711`.
#[track_caller]
fn pid_in(start: &str) -> i32 {
    let last = start.split_whitespace().next_back().and_then(|word| word.parse().ok());
    last.unwrap_or_else(|| panic!("no process id in {start:?}"))
}

#[test]
fn a_delegated_message_is_answered_by_a_worker() {
    let server = Server::start(&answered_by_workers(1, 2, 64));
    let answer = server.caller().ask(&Request::new("OPTIONS", "one"));
    assert!(answer.start.starts_with("SIP/2.0 200 worker "), "{}", answer.start);
    assert!(
        server.children_titled("worker calls/").contains(&pid_in(&answer.start)),
        "{:?}",
        server.children()
    );
}

#[test]
fn without_delegation_the_receiver_answers() {
    let server = Server::start(&answered_by_the_receiver());
    let answer = server.caller().ask(&Request::new("OPTIONS", "one"));
    assert_eq!(pid_in(&answer.start), server.receiver(1));
}

#[test]
fn each_method_goes_where_the_script_sends_it() {
    let server = Server::start(&two_groups(2, 2, 64));
    let caller = server.caller();
    for (method, expected) in
        [("INVITE", "worker calls/"), ("REGISTER", "worker registrations/"), ("OPTIONS", "receiver ")]
    {
        for index in 0..20 {
            let answer = caller.ask(&Request::new(method, &format!("{method}-{index}")));
            let title = processes::title(pid_in(&answer.start));
            assert!(title.starts_with(&format!("sworkerd: {expected}")), "{method} answered by {title}");
        }
    }
}

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
fn the_worker_sees_the_message_as_it_came_and_whence() {
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=64"
event_route[core:pre-routing] {{
    $ru = "sip:changed@example.com";
    $avp(x) = "set";
    $vn(x) = "set";
    setflag(3);
    if (sworker_task("calls")) {{ drop; }}
}}
request_route {{
    if (isflagset(3)) {{ $vn(flag) = "flag"; }} else {{ $vn(flag) = "none"; }}
    sl_send_reply("200", "$rU $avp(x) $vn(x) $vn(flag) $si:$sp $Ri:$Rp $pr $hdr(X-Test)");
}}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let answer = caller.ask(&Request::new("OPTIONS", "one").user("alice").header("X-Test: as it came"));
    let expected =
        format!("alice <null> <null> none {} {} udp as it came", caller.address(), server.address());
    assert_eq!(answer.start, format!("SIP/2.0 200 {expected}"));
}

#[test]
fn xdata_travels_in_its_kind() {
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=64"
modparam("sworker", "xdata", "$var(xdata)")
event_route[core:pre-routing] {{
    switch ($rU) {{
        case "text": $var(xdata) = "some text, with " + $rm; break;
        case "number": $var(xdata) = 42; break;
        case "digits": $var(xdata) = "42"; break;
        case "negative": $var(xdata) = -7; break;
        case "zero": $var(xdata) = 0; break;
    }}
    if (sworker_task("calls")) {{ drop; }}
}}
request_route {{
    $var(is42) = "no";
    if ($var(xdata) == 42) {{ $var(is42) = "int"; }}
    if ($var(xdata) == "42") {{ $var(is42) = $var(is42) + "+str"; }}
    sl_send_reply("200", "[$var(xdata)] $var(is42)");
}}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let rows = [
        ("text", "[some text, with OPTIONS] no"),
        ("number", "[42] int+str"),
        ("digits", "[42] int+str"),
        ("negative", "[-7] no"),
        ("zero", "[0] no"),
    ];
    for (user, expected) in rows {
        let answer = caller.ask(&Request::new("OPTIONS", user).user(user));
        assert_eq!(answer.start, format!("SIP/2.0 200 {expected}"), "xdata of kind {user}");
    }
}

#[test]
fn xdata_of_the_message_before_does_not_stay() {
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=64"
modparam("sworker", "xdata", "$avp(xdata)")
event_route[core:pre-routing] {{
    if ($rU == "with") {{ $avp(xdata) = "secret"; }}
    if (sworker_task("calls")) {{ drop; }}
}}
request_route {{ sl_send_reply("200", "[$avp(xdata)]"); }}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    for (user, expected) in
        [("with", "[secret]"), ("without", "[<null>]"), ("with", "[secret]"), ("none", "[<null>]")]
    {
        let answer = caller.ask(&Request::new("OPTIONS", user).user(user));
        assert_eq!(answer.start, format!("SIP/2.0 200 {expected}"), "{user}");
    }
}

#[test]
fn what_cannot_be_delegated_is_told_by_its_return_code() {
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=64"
event_route[core:pre-routing] {{
    $var(code) = 0;
    if ($rU == "unknown") {{
        $var(group) = "no-such-group";
        sworker_task("$var(group)");
        $var(code) = $rc;
    }}
    if ($rU == "known") {{
        $var(group) = "calls";
        if (sworker_task("$var(group)")) {{ drop; }}
    }}
    if ($rU == "again") {{
        if (sworker_task("calls")) {{ drop; }}
    }}
}}
request_route {{
    if ($rU == "outside" || $rU == "again") {{
        sworker_task("calls");
        $var(code) = $rc;
    }}
    if ($rU == "known") {{ $var(code) = 1; }}
    sl_send_reply("200", "code $var(code)");
}}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let rows = [
        ("unknown", "code -2", "a computed name of no group"),
        ("outside", "code -1", "outside pre-routing, in the receiver"),
        ("again", "code -1", "inside a worker"),
        ("known", "code 1", "a computed name of a group"),
    ];
    for (user, expected, what) in rows {
        let answer = caller.ask(&Request::new("OPTIONS", user).user(user));
        assert_eq!(answer.start, format!("SIP/2.0 200 {expected}"), "{what}");
    }
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
fn the_examples_of_the_document_run_as_printed() {
    let script = format!(
        r#"{HEAD}
children=2
async_workers=2
modparam("sworker", "xdata", "$var(xdata)")
request_route {{
    if(sworker_active()) {{
        sl_send_reply("200", "in a worker");
    }}
    exit;
}}
event_route[core:pre-routing] {{
        if(sworker_task("default")) {{
                xinfo("===== delegate processing [$Tf] [$si:$sp]\n");
                drop;
        }}
        xinfo("===== processing continues [$Tf] [$si:$sp]\n");
}}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let answer = caller.ask(&Request::new("OPTIONS", "one"));
    assert_eq!(answer.start, "SIP/2.0 200 in a worker");
    server.wait_for_log("===== delegate processing [");
    server.wait_for_log(&format!("] [{}]", caller.address()));
    assert_eq!(server.log_count("===== processing continues"), 0);
}

#[test]
fn the_name_of_the_documents_headings_is_the_same_function() {
    let script = answered_by_workers(1, 1, 64).replace("sworker_task(", "swork_task(");
    let server = Server::start(&script);
    let answer = server.caller().ask(&Request::new("OPTIONS", "one"));
    assert!(answer.start.starts_with("SIP/2.0 200 worker "), "{}", answer.start);
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
