//! `event_route[core:pre-routing]`: when it runs, and what its end means.

use crate::scripts::HEAD;
use crate::support::{Request, Server};

fn script(pre_routing: &str) -> String {
    format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=64"
event_route[core:pre-routing] {{
    {pre_routing}
}}
request_route {{
    if (sworker_active()) {{ sl_send_reply("200", "worker"); exit; }}
    sl_send_reply("200", "receiver");
}}
"#
    )
}

#[test]
fn only_drop_keeps_a_message_from_going_on() {
    let server = Server::start(&script(
        r#"switch ($rU) {
            case "exit": exit;
            case "return": return;
            case "return0": return 0;
            case "return-1": return -1;
            case "drop": drop;
            case "failing": $var(code) = "abc"; sl_send_reply("$var(code)", "none"); break;
        }"#,
    ));
    let caller = server.caller();
    for user in ["exit", "return", "return0", "return-1", "failing", "other"] {
        let answer = caller.ask(&Request::new("OPTIONS", user).user(user));
        assert_eq!(answer.start, "SIP/2.0 200 receiver", "{user}");
    }
    let dropped = caller.bytes(&Request::new("OPTIONS", "dropped").user("drop"));
    caller.expect_silence(&dropped, "after-the-dropped-one");
}

#[test]
fn who_delegates_and_does_not_drop_gets_the_message_processed_twice() {
    let server = Server::start(&script(r#"sworker_task("calls");"#));
    let caller = server.caller();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "twice")));
    let mut starts = [caller.receive().start, caller.receive().start];
    starts.sort();
    assert_eq!(starts, ["SIP/2.0 200 receiver", "SIP/2.0 200 worker"]);
}

#[test]
fn it_runs_once_for_each_message_and_never_in_a_worker() {
    let server =
        Server::start(&script(r#"xinfo("pre-routing of $ci\n"); if (sworker_task("calls")) { drop; }"#));
    let caller = server.caller();
    for index in 0..5 {
        let name = format!("message-{index}");
        assert_eq!(caller.ask(&Request::new("OPTIONS", &name)).start, "SIP/2.0 200 worker");
        assert_eq!(server.log_count(&format!("pre-routing of {name}")), 1);
    }
}

#[test]
fn what_is_set_there_stays_when_the_receiver_goes_on() {
    let script = format!(
        r#"{HEAD}
children=1
event_route[core:pre-routing] {{
    $avp(x) = "kept";
    setflag(3);
    $rU = "changed";
}}
request_route {{
    if (isflagset(3)) {{ sl_send_reply("200", "$avp(x) $rU"); }}
}}
"#
    );
    let server = Server::start(&script);
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "one")).start, "SIP/2.0 200 kept changed");
}
