//! Groups that have more workers when they need them.

use std::collections::HashSet;

use crate::scripts::answered_by_workers;
use crate::support::{Request, SOON, Server, wait_until};

#[test]
fn a_group_grows_when_all_are_busy_with_the_script_of_today_and_shrinks_when_it_is_quiet() {
    let script = answered_by_workers(1, 1, 64)
        .replace("workers=1;", "workers=1;max_workers=3;")
        .replace("loadmodule \"sworker\"", "loadmodule \"sworker\"\nloadmodule \"cfgutils\"")
        .replace("request_route {", "request_route {\n    usleep(\"200000\");");
    let server = Server::start(&script);
    assert_eq!(server.children_titled("worker calls/").len(), 1);
    let counts = || {
        let group = server.group("calls");
        (group["workers"].as_u64(), group["max_workers"].as_u64())
    };
    assert_eq!(counts(), (Some(1), Some(3)));
    let new = server.folder().write("server.cfg.new", script.replace("worker $pp", "today $pp"));
    std::fs::rename(new, server.folder().file("server.cfg")).expect("a file can be renamed");
    server.ask_control(&["core.reload"]);
    wait_until("the reload is done", SOON, || server.ask_control(&["core.generation"])["draining"] == 0);

    let caller = server.caller();
    (0..16).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("{index}.slow")))));
    wait_until("two more have come", SOON, || server.children_titled("worker calls/").len() == 3);
    assert_eq!(counts(), (Some(3), Some(3)));
    let answers: Vec<String> = (0..16).map(|_| caller.receive().start).collect();
    assert!(answers.iter().all(|start| start.starts_with("SIP/2.0 200 today ")), "{answers:?}");
    assert_eq!(answers.into_iter().collect::<HashSet<_>>().len(), 3, "all three have worked");

    wait_until("they leave again", SOON * 2, || server.children_titled("worker calls/").len() == 1);
    assert_eq!(server.group("calls")["redelivered"], 0);
}
