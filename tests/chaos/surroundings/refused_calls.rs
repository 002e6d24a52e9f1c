//! Calls the kernel refuses while the system lacks something: no buffer to send from, no file in its table.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::super::scripts::{HEAD, answered_by_workers};
use super::super::support::{Request, SOON, Server, Tool, control_path, processes, wait_until};
use super::refusing::Refusing;
use super::{Refusal, load, time_until};

/// Plays the scenes, up to the first that cannot be played here, and then why not.
pub fn refusals() -> (Vec<Refusal>, Option<String>) {
    let scenes: [fn() -> Result<Refusal, String>; 4] =
        [no_buffer, no_file, no_place_to_set_aside, no_connection];
    let mut played = Vec::with_capacity(scenes.len());
    for scene in scenes {
        match scene() {
            Ok(refusal) => played.push(refusal),
            Err(reason) => return (played, Some(reason)),
        }
    }
    (played, None)
}

const SENDING: &str = "sendto,sendmsg,sendmmsg";
const OPENING: &str = "openat,openat2,socket,socketpair,accept4,memfd_create,pipe2,eventfd2,epoll_create1";

/// A worker and a receiver that answers itself have no buffer to send from (ENOBUFS): what they say is lost and counted,
/// once each; what the receiver hands over to others is answered by them.
fn no_buffer() -> Result<Refusal, String> {
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=far;workers=1;queue=4096"
async_workers_group="name=near;workers=2;queue=4096"
event_route[core:pre-routing] {{
    if (is_method("INVITE") && sworker_task("far")) drop;
    if (is_method("REGISTER") && sworker_task("near")) drop;
}}
request_route {{ sl_send_reply("200", "OK"); }}
"#
    );
    let server = Server::start(&script);
    let everyone = processes::tree(server.master());
    let caller = server.caller();
    let pids = [server.worker("far", 1), server.receiver(1)];
    let refusing = Refusing::start(server.folder(), SENDING, "ENOBUFS", &pids)?;
    for index in 0..100 {
        for method in ["INVITE", "OPTIONS"] {
            caller.send(&caller.bytes(&Request::new(method, &format!("{method}-{index}"))));
        }
    }
    let others = load("r21-buffer", 2_000).request(|name| Request::new("REGISTER", name));
    let lost = others.run(&server.caller()).lost.len();
    wait_until("all are counted", SOON, || server.counter("core.sends_failed") >= 200);
    let is_counted = server.counter("core.sends_failed") == 200;
    assert!(caller.receive_within(Duration::from_millis(1)).is_none(), "something was sent all the same");
    let ended_at = Instant::now();
    refusing.end();
    for method in ["INVITE", "OPTIONS"] {
        assert_eq!(caller.ask(&Request::new(method, &format!("again-{method}"))).status(), 200);
    }
    let recovered_after = ended_at.elapsed();
    assert_eq!(processes::tree(server.master()), everyone, "somebody died of it");
    Ok(Refusal { name: "no buffer to send (ENOBUFS)".into(), lost, is_counted, recovered_after })
}

/// The system's table of files is full (ENFILE) for the master and whoever it forks: a reload is refused with the
/// reason, a worker that dies has no successor until there is room, the rest serves.
fn no_file() -> Result<Refusal, String> {
    let server = Server::start(&answered_by_workers(1, 2, 4096));
    let refusing = Refusing::start(server.folder(), OPENING, "ENFILE", &[server.master()])?;
    let began = Instant::now();
    let refused = server.control(&["core.reload"]).output.to_lowercase();
    processes::send_signal(server.worker("calls", 1), Signal::SIGKILL);
    let lost = load("r21-file", 2_000).run(&server.caller()).lost.len();
    // Whether a child needs a file at its start is the kernel's business: Landlock does.
    let is_settled = || {
        let titled = server.children_titled("worker calls/");
        titled.len() == 2 && titled.into_iter().all(processes::is_confined)
    };
    wait_until("its successor is there or says why not", SOON, || {
        is_settled() || server.log().contains("worker calls/1 failed: Too many open files")
    });
    let lasted = began.elapsed();
    let deaths = server.group("calls")["worker_deaths"].as_u64().unwrap_or(u64::MAX);
    let ended_at = Instant::now();
    refusing.end();
    wait_until("its place is filled", SOON, is_settled);
    wait_until("a reload succeeds", SOON, || server.control(&["core.reload"]).code == Some(0));
    let recovered_after = ended_at.elapsed();
    // One start each tenth of a second, besides the kill itself.
    let is_patient = deaths <= 2 + lasted.as_millis() as u64 / 100;
    let is_counted = refused.contains("too many open files") && is_patient;
    let name = format!("no file (ENFILE), {} starts in {:.1} s", deaths - 1, lasted.as_secs_f64());
    Ok(Refusal { name: name.into(), lost, is_counted, recovered_after })
}

/// A message is set aside while the table is full: it is kept and its sender told 500 as soon as there is room.
fn no_place_to_set_aside() -> Result<Refusal, String> {
    let script = format!(
        r#"{HEAD}loadmodule "cfgutils"
children=1
async_workers_group="name=far;workers=1;queue=64;deadline_ms=100;attempts=1"
async_workers_group="name=near;workers=2;queue=4096"
event_route[core:pre-routing] {{
    if (is_method("INVITE") && sworker_task("far")) drop;
    if (sworker_task("near")) drop;
}}
request_route {{
    if (is_method("INVITE")) usleep("60000000");
    sl_send_reply("200", "OK");
}}
"#
    );
    let server = Server::start(&script);
    let refusing = Refusing::start(server.folder(), OPENING, "ENFILE", &[server.master()])?;
    let sender = server.caller();
    sender.send(&sender.bytes(&Request::new("INVITE", "set-aside")));
    server.wait_for_log("deadline_ms exceeded, busy with one message for ");
    let lost = load("r21-aside", 1_000).run(&server.caller()).lost.len();
    let ended_at = Instant::now();
    refusing.end();
    assert_eq!(sender.receive().status(), 500);
    let recovered_after = ended_at.elapsed();
    let is_counted = server.log().contains("quarantined a message");
    Ok(Refusal { name: "no file to set a message aside in".into(), lost, is_counted, recovered_after })
}

/// The same for the control process: nobody who asks is let in, it says so and does not spin; who waits meanwhile is
/// answered afterwards.
fn no_connection() -> Result<Refusal, String> {
    let server = Server::start(&answered_by_workers(1, 2, 4096));
    let control = server.child("control");
    let refusing = Refusing::start(server.folder(), OPENING, "ENFILE", &[control])?;
    let (began, before) = (Instant::now(), processes::processor_time(control));
    let words = ["-Y", "run", "core.version"];
    let mut waiting = Tool::start(server.folder(), "waiting", control_path(), &words);
    let lost = load("r21-connection", 2_000).run(&server.caller()).lost.len();
    server.wait_for_log("could not accept a control connection: Too many open files in system");
    let spent = processes::processor_time(control) - before;
    let share = spent.as_secs_f64() / began.elapsed().as_secs_f64();
    let ended_at = Instant::now();
    refusing.end();
    let recovered_after =
        ended_at.elapsed() + time_until("who waits is answered", || waiting.exit_status().is_some());
    assert_eq!(waiting.finish(SOON).code, Some(0), "who waited was sent away");
    assert_eq!(server.child("control"), control, "the control process died of it");
    Ok(Refusal {
        name: format!("no connection (ENFILE), {:.0} % of a processor", share * 100.0).into(),
        lost,
        is_counted: share < 0.1,
        recovered_after,
    })
}
