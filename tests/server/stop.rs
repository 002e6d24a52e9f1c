//! An orderly end: nothing new, everything accepted, exit code 0.

use nix::sys::signal::Signal;

use crate::scripts::{HEAD, answered_by_workers};
use crate::support::{Request, SOON, Server, processes};

const WAITING: usize = 200;

/// A group that stands still with accepted messages; returns when all of them are in its queue.
fn server_with_waiting_messages() -> (Server, crate::support::Caller, i32) {
    let script = format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=1024"
event_route[core:pre-routing] {{
    if (sworker_task("calls")) {{ xinfo("accepted $ci\n"); drop; }}
}}
request_route {{ sl_send_reply("200", "OK"); }}
"#
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let worker = server.worker("calls", 1);
    processes::freeze(worker);
    (0..WAITING)
        .for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("{index}.waiting")))));
    server.wait_for_log(&format!("accepted {}.waiting", WAITING - 1));
    (server, caller, worker)
}

#[test]
fn what_was_accepted_is_answered_before_the_end() {
    let (mut server, caller, worker) = server_with_waiting_messages();
    server.signal(Signal::SIGTERM);
    processes::thaw(worker);
    let answers: Vec<u16> = (0..WAITING).map(|_| caller.receive().status()).collect();
    assert_eq!(answers, vec![200; WAITING]);
    assert_eq!(server.wait_for_exit(SOON), Some(0));
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let (mut server, _caller, _worker) = server_with_waiting_messages();
    let everyone = processes::tree(server.master());
    server.signal(Signal::SIGTERM);
    server.wait_for_log("SIGTERM: stopping, finishing accepted messages");
    // Without it this takes until exit_timeout is over, a minute.
    server.signal(Signal::SIGTERM);
    assert_ne!(server.wait_for_exit(SOON), Some(0));
    assert!(!everyone.into_iter().any(processes::is_alive));
}

#[test]
fn an_idle_server_stops_at_once_by_sigterm_and_by_sigint() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start(&answered_by_workers(4, 4, 64));
        let everyone = processes::tree(server.master());
        server.signal(signal);
        assert_eq!(server.wait_for_exit(SOON), Some(0));
        assert!(!everyone.into_iter().any(processes::is_alive));
        assert!(!server.folder().file("server.pid").exists(), "the pid file is left");
    }
}

#[test]
fn whoever_asks_for_something_new_in_a_stop_is_told_to_go_elsewhere() {
    let (mut server, caller, worker) = server_with_waiting_messages();
    server.signal(Signal::SIGTERM);
    server.wait_for_log("SIGTERM: stopping, finishing accepted messages");
    let other = server.caller();
    let refused = other.ask(&Request::new("OPTIONS", "new"));
    assert_eq!((refused.status(), refused.header("Retry-After")), (503, "5"), "{refused:?}");
    // What belongs to a dialog goes its usual way.
    other.send(&other.bytes(&Request::new("BYE", "old").inside_dialog("known")));
    server.wait_for_log("accepted old");
    processes::thaw(worker);
    let answers: Vec<u16> = (0..WAITING).map(|_| caller.receive().status()).collect();
    assert_eq!(answers, vec![200; WAITING]);
    assert_eq!(other.receive().status(), 200);
    assert_eq!(server.wait_for_exit(SOON), Some(0));
}
