//! Whole calls by sipp, the field's own load generator: no call may fail.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::scripts::{HEAD, answered_by_the_receiver, two_groups};
use crate::support::{Finished, Folder, SOON, Server, Tool, processes, wait_for};

/// sipp opens sockets for remote control and for media too; on other loopback addresses they are told apart from the
/// one for SIP.
const OTHER_SOCKETS: [&str; 4] = ["-ci", "127.0.0.9", "-mi", "127.0.0.8"];

const RUN_TIME: Duration = Duration::from_secs(60);

const BETWEEN_KILLS: Duration = Duration::from_millis(100);

fn scenario(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(name);
    path.to_string_lossy().into_owned()
}

/// A sipp that calls `server`, `rate` calls a second, `count` in all; `callee` is where the calls are for. It sends
/// nothing twice, so that whatever the server loses is a failed call.
fn start_calls(
    folder: &Folder,
    server: &str,
    callee: &str,
    scenario_name: &str,
    count: u32,
    rate: u32,
) -> Tool {
    let (count, rate, scenario) = (count.to_string(), rate.to_string(), scenario(scenario_name));
    #[rustfmt::skip]
    let arguments = [
        server, "-sf", &scenario, "-key", "callee", callee, "-m", &count, "-r", &rate, "-l", "2000",
        "-i", "127.0.0.1", "-nostdin", "-nr", "-recv_timeout", "10000", "-timeout", "50s", "-timeout_error",
        "-buff_size", "4194304",
    ];
    Tool::start(folder, "sipp-caller", "sipp", &[&arguments[..], &OTHER_SOCKETS].concat())
}

/// The same, to its end.
fn call(folder: &Folder, server: &str, callee: &str, scenario_name: &str, count: u32, rate: u32) -> Finished {
    start_calls(folder, server, callee, scenario_name, count, rate).finish(RUN_TIME)
}

/// A sipp that answers calls, and the address it does that on.
fn callee(folder: &Folder) -> (Tool, SocketAddrV4) {
    let scenario = scenario("callee.xml");
    let arguments = ["-sf", &scenario, "-i", "127.0.0.1", "-nostdin", "-nr", "-buff_size", "4194304"];
    let tool = Tool::start(folder, "sipp-callee", "sipp", &[&arguments[..], &OTHER_SOCKETS].concat());
    let address = wait_for("sipp listens", SOON, || {
        let bound = processes::udp_sockets(tool.pid()).into_iter();
        bound.filter(|address| *address.ip() == Ipv4Addr::LOCALHOST && address.port() != 0).min()
    });
    (tool, address)
}

/// All calls went well: exit code 0 says so, and no failure is counted.
#[track_caller]
fn assert_no_call_failed(finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{}", finished.output);
}

#[test]
fn delegated_requests_and_calls_all_succeed() {
    let server = Server::start(&two_groups(2, 2, 1024));
    let address = server.address().to_string();
    for (name, count, rate) in
        [("options.xml", 2000, 2000), ("register.xml", 2000, 2000), ("call.xml", 1000, 500)]
    {
        let finished = call(server.folder(), &address, &address, name, count, rate);
        assert_no_call_failed(&finished);
    }
}

#[test]
fn the_script_of_the_document_delegates_whole_calls() {
    let server = Server::start(&format!(
        r#"{HEAD}
children=2
async_workers=4
modparam("sworker", "xdata", "$var(xdata)")
request_route {{
    if(sworker_active()) {{
        if(!is_method("ACK")) sl_send_reply("200", "$var(xdata)");
        exit;
    }}
    sl_send_reply("500", "Not Delegated");
}}
event_route[core:pre-routing] {{
    $var(xdata) = "for the worker";
    if(sworker_task("default")) {{
        xdbg("===== delegate processing [$Tf] [$si:$sp]\n");
        drop;
    }}
    xinfo("===== processing continues [$Tf] [$si:$sp]\n");
}}
"#
    ));
    let address = server.address().to_string();
    assert_no_call_failed(&call(server.folder(), &address, &address, "call.xml", 2000, 500));
    assert_eq!(server.log_count("processing continues"), 0);
}

#[test]
fn calls_answered_by_the_receiver_all_succeed() {
    let script = answered_by_the_receiver()
        .replace("request_route {", "request_route { if (is_method(\"ACK\")) { exit; }");
    let server = Server::start(&script);
    let address = server.address().to_string();
    assert_no_call_failed(&call(server.folder(), &address, &address, "call.xml", 1000, 500));
}

#[test]
fn calls_forwarded_through_us_between_two_sipp_all_succeed() {
    for pre_routing in ["if (sworker_task(\"calls\")) { drop; }", "exit;"] {
        let server = Server::start(&format!(
            r#"{HEAD}
children=2
async_workers_group="name=calls;workers=2;queue=1024"
event_route[core:pre-routing] {{ {pre_routing} }}
request_route {{ forward(); }}
reply_route {{ exit; }}
"#
        ));
        let (mut called, callee) = callee(server.folder());
        let finished =
            call(server.folder(), &server.address().to_string(), &callee.to_string(), "call.xml", 500, 250);
        assert_no_call_failed(&finished);
        assert!(called.exit_status().is_none(), "the called side ended: {}", called.output());
    }
}

#[test]
fn calls_go_on_while_workers_are_killed() {
    let server = Server::start(&two_groups(2, 2, 1024));
    let address = server.address().to_string();
    let mut sipp = start_calls(server.folder(), &address, &address, "call.xml", 1500, 300);
    let (mut kill_count, mut killed_at) = (0, Instant::now());
    wait_for("sipp ends", RUN_TIME, || {
        if killed_at.elapsed() > BETWEEN_KILLS {
            let workers = server.children_titled("worker calls/");
            if let Some(worker) = workers.get(kill_count % 2) {
                processes::send_signal(*worker, Signal::SIGKILL);
                kill_count += 1;
                killed_at = Instant::now();
            }
        }
        sipp.exit_status()
    });
    let finished = sipp.finish(SOON);
    assert_no_call_failed(&finished);
    assert!(kill_count >= 20, "only {kill_count} kills");
}
