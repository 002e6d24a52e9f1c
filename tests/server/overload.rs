//! More than a group can do: what is refused, answered, dropped or too old, as its settings say.

use crate::scripts::HEAD;
use crate::support::{Caller, Message, Request, SOON, Server, processes, wait_for, wait_until};

/// One worker, a queue of 16, and these settings. What `sworker_task()` refuses is answered with its code.
fn script(settings: &str) -> String {
    format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=16;{settings}"
event_route[core:pre-routing] {{
    if (sworker_task("calls")) {{ drop; }}
    $var(code) = $rc;
    sl_send_reply("480", "code $var(code)");
    drop;
}}
request_route {{ sl_send_reply("200", "OK"); }}
"#
    )
}

/// The status and the name of each of so many answers.
fn answers(caller: &Caller, count: usize) -> Vec<(u16, String)> {
    (0..count).map(|_| caller.receive()).map(|m| (m.status(), m.header("Call-ID").to_string())).collect()
}

fn names(answers: &[(u16, String)], status: u16) -> Vec<&str> {
    answers.iter().filter(|(found, _)| *found == status).map(|(_, name)| name.as_str()).collect()
}

/// A server whose only worker stands still with one message in its hands, and 16 that wait.
fn full(settings: &str) -> (Server, Caller, i32) {
    let server = Server::start(&script(settings));
    let caller = server.caller();
    let worker = server.worker("calls", 1);
    processes::freeze(worker);
    send(&server, &caller, 0..16, 16);
    (server, caller, worker)
}

/// Sends them and waits until the receiver has delegated so many altogether.
fn send(server: &Server, caller: &Caller, names: std::ops::Range<usize>, delegated: u64) {
    names.for_each(|name| caller.send(&caller.bytes(&Request::new("INVITE", &name.to_string()))));
    wait_until("they are delegated", SOON, || server.group("calls")["delegated"] == delegated);
}

#[test]
fn a_full_group_that_replies_sends_503_with_retry_after() {
    let (server, caller, worker) = full("full=reply");
    (16..20).for_each(|name| caller.send(&caller.bytes(&Request::new("INVITE", &name.to_string()))));
    for _ in 16..20 {
        let answer = caller.receive();
        assert_eq!((answer.status(), answer.header("Retry-After")), (503, "2"));
    }
    // An ACK is never answered: the script gets it, and cannot answer it either.
    caller.send(&caller.bytes(&Request::new("ACK", "ack")));
    wait_until("the ACK is refused", SOON, || server.counter("sworker.full") == 1);
    let group = server.group("calls");
    assert_eq!([&group["refused"], &group["full"]], [4, 5], "{group}");
    assert_eq!(server.counter("sworker.refused"), 4);
    processes::thaw(worker);
    assert_eq!(names(&answers(&caller, 16), 200).len(), 16);
}

#[test]
fn a_full_group_returns_false_unless_told_otherwise() {
    let (server, caller, worker) = full("");
    caller.send(&caller.bytes(&Request::new("INVITE", "16")));
    let answer = caller.receive();
    assert_eq!(answer.start, "SIP/2.0 480 code -3");
    assert_eq!(server.group("calls")["refused"], 0);
    processes::thaw(worker);
    assert_eq!(names(&answers(&caller, 16), 200).len(), 16);
}

#[test]
fn a_full_group_that_drops_the_oldest_answers_the_newest() {
    let (server, caller, worker) = full("full=drop_oldest");
    send(&server, &caller, 16..40, 40);
    processes::thaw(worker);
    let group = server.group("calls");
    let dropped = group["dropped_oldest"].as_u64().expect("a number") as usize;
    let answers = answers(&caller, 40 - dropped);
    let mut numbers: Vec<usize> = names(&answers, 200).iter().map(|name| name.parse().unwrap()).collect();
    numbers.sort();
    // The one in the stopped worker's hands, if it had taken one, is no longer in the queue.
    let newest: Vec<usize> = (24..40).collect();
    assert!(numbers.ends_with(&newest), "{numbers:?}, {dropped} dropped");
    assert!((23..=24).contains(&dropped), "{group}");
    assert!(caller.receive_within(std::time::Duration::from_millis(200)).is_none());
    assert_eq!(server.group("calls")["full"], 0);
}

#[test]
fn what_is_too_old_is_not_processed_any_more() {
    let (server, caller, worker) = full("max_age_ms=300");
    wait_until("they are old", SOON, || server.counter("core.requests_received") >= 16);
    let aged = std::time::Instant::now();
    wait_until("time passes", SOON, || aged.elapsed() > std::time::Duration::from_millis(400));
    processes::thaw(worker);
    wait_until("they are gone", SOON, || {
        let group = server.group("calls");
        group["expired"].as_u64().unwrap_or(0) + group["processed"].as_u64().unwrap_or(0) == 16
    });
    // Whoever comes now is served.
    let fresh = caller.ask(&Request::new("INVITE", "fresh"));
    assert_eq!(fresh.status(), 200);
    let expired = server.group("calls")["expired"].as_u64().expect("a number");
    assert!(expired >= 15, "the worker may have begun with one before it was stopped; {expired} expired");
}

#[test]
fn what_belongs_to_something_begun_goes_first() {
    let server = Server::start(&script("priority=on"));
    let caller = server.caller();
    let worker = server.worker("calls", 1);
    processes::freeze(worker);
    send(&server, &caller, 0..8, 8);
    for name in ["bye-1", "bye-2", "bye-3"] {
        caller.send(&caller.bytes(&Request::new("BYE", name)));
    }
    wait_until("they are delegated", SOON, || server.group("calls")["delegated"] == 11);
    processes::thaw(worker);
    let order: Vec<String> = answers(&caller, 11).into_iter().map(|(_, name)| name).collect();
    // The worker may have had the first one in its hands already.
    let begun = order.iter().position(|name| name == "bye-1").expect("answered");
    assert!(begun <= 1, "{order:?}");
    assert_eq!(order[begun..begun + 3], ["bye-1", "bye-2", "bye-3"], "{order:?}");
    let rest: Vec<&String> = order.iter().filter(|name| !name.starts_with("bye")).collect();
    assert!(rest.iter().map(|name| name.parse::<usize>().unwrap()).is_sorted(), "{order:?}");
}

#[test]
fn what_belongs_to_something_begun_is_taken_while_what_is_new_is_refused() {
    let (server, caller, worker) = full("full=reply;priority=on");
    caller.send(&caller.bytes(&Request::new("INVITE", "new")));
    let refused = caller.receive();
    assert_eq!((refused.status(), refused.header("Call-ID")), (503, "new"));
    for name in ["bye-1", "bye-2"] {
        caller.send(&caller.bytes(&Request::new("BYE", name)));
    }
    wait_until("they are delegated", SOON, || server.group("calls")["delegated"] == 18);
    assert_eq!(server.group("calls")["refused"], 1);
    processes::thaw(worker);
    assert_eq!(names(&answers(&caller, 18), 200).iter().filter(|name| name.starts_with("bye")).count(), 2);
}

#[test]
fn how_long_messages_wait_and_scripts_take_is_told() {
    let server = Server::start(&script(""));
    let caller = server.caller();
    (0..50).for_each(|name| drop(caller.ask(&Request::new("OPTIONS", &format!("o{name}")))));
    wait_until("all are finished", SOON, || server.group("calls")["processed"] == 50);
    let group = server.group("calls");
    for what in ["wait_us", "script_us"] {
        let classes = group[what]["classes"].as_array().expect("a list");
        let count: u64 = classes.iter().filter_map(|class| class.as_u64()).sum();
        // After a sleep every message is measured, in a row of them one of sixteen.
        assert!((4..=50).contains(&count), "{what} in {group}");
        let (p50, max) = (group[what]["p50"].as_u64().unwrap(), group[what]["max"].as_u64().unwrap());
        assert!(p50 > 0 && p50 <= max && max < 10_000_000, "{what} in {group}");
    }
}

/// The value of a parameter in the topmost Via of an answer.
fn via_parameter(answer: &Message, name: &str) -> Option<String> {
    let lead = format!("{name}=");
    answer.header("Via").split(';').find_map(|part| part.strip_prefix(&lead)).map(str::to_string)
}

#[test]
fn a_neighbour_that_asks_is_told_how_much_to_keep_back_and_when_it_is_over() {
    const ASKS: &str = ";rport;oc;oc-algo=\"loss\"";
    let server = Server::start(&script("oc=on;full=reply"));
    let (neighbour, other) = (server.caller(), server.caller());
    let asking = |name: &str| Request::new("OPTIONS", name).via_parameters(ASKS);
    let calm = neighbour.ask(&asking("calm"));
    assert_eq!(via_parameter(&calm, "oc").as_deref(), Some("0"));
    assert_eq!(via_parameter(&calm, "oc-validity").as_deref(), Some("0"));
    assert_eq!(via_parameter(&calm, "oc-algo").as_deref(), Some("\"loss\""));
    assert_eq!(via_parameter(&other.ask(&Request::new("OPTIONS", "silent")), "oc"), None);

    // Given a full queue, when more comes, then who can is told how much to keep back, and all others to wait.
    let worker = server.worker("calls", 1);
    processes::freeze(worker);
    send(&server, &other, 0..16, 18);
    let mut asked = 0;
    let told = wait_for("the neighbour is told", SOON, || {
        asked += 1;
        let answer = neighbour.ask(&asking(&format!("full-{asked}")));
        assert_eq!((answer.status(), answer.header("Retry-After")), (503, ""));
        (via_parameter(&answer, "oc")? != "0").then_some(answer)
    });
    let percent: u8 = via_parameter(&told, "oc").and_then(|text| text.parse().ok()).expect("a number");
    assert!((1..=95).contains(&percent), "{told:?}");
    assert_eq!(via_parameter(&told, "oc-validity").as_deref(), Some("1000"));
    assert_eq!(other.ask(&Request::new("OPTIONS", "waits")).header("Retry-After"), "2");
    server.wait_for_log("neighbours are asked to send ");

    processes::thaw(worker);
    answers(&other, 16);
    server.wait_for_log("overload control: ended");
    let over = neighbour.ask(&asking("over"));
    assert_eq!((over.status(), via_parameter(&over, "oc").as_deref()), (200, Some("0")));
    let sequence =
        |answer: &Message| via_parameter(answer, "oc-seq").and_then(|text| text.parse::<f64>().ok());
    assert!(sequence(&calm) < sequence(&told) && sequence(&told) < sequence(&over));
    assert!(server.counter("core.overload_told") >= 3);
}
