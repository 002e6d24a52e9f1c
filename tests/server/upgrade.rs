//! Another program for a running server: it takes over the sockets, and nothing is lost.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::scripts::answered_by_workers;
use crate::support::{Load, Request, SOON, Server, processes, wait_until};

/// The master that the pid file names.
fn named_master(server: &Server) -> i32 {
    server.folder().read("server.pid").trim().parse().unwrap_or_default()
}

#[test]
fn upgrades_under_load_lose_nothing() {
    let mut server = Server::start(&answered_by_workers(2, 2, 1024));
    let masters = Cell::new(vec![server.master()]);
    let next_at = Cell::new(500);
    let load = Load::new("upgrade", 200_000).window(64).patience(Duration::from_secs(3));
    let tally = load.run_while(&server.caller(), |tally| {
        let mut known = masters.take();
        let current = *known.last().expect("there is always one");
        let named = named_master(&server);
        let is_ready = server.log_count("sworkerd: ready") > known.len();
        if tally.answered >= next_at.get() && named == current && known.len() <= 5 {
            processes::send_signal(current, Signal::SIGUSR2);
            next_at.set(usize::MAX);
        } else if named != current && named != 0 && is_ready && !processes::is_alive(current) {
            known.push(named);
            next_at.set(tally.answered + 500);
        }
        let is_done = known.len() > 5 && tally.answered >= next_at.get();
        masters.set(known);
        if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let masters = masters.take();
    tally.assert_nothing_lost();
    assert_eq!((tally.duplicates, masters.len()), (0, 6), "{}", server.log());
    assert_eq!(server.wait_for_exit(SOON), Some(0), "the first one has left in order");

    let last = masters[5];
    assert_eq!(server.ask_control(&["core.generation"])["generation"], 5);
    let everyone = processes::tree(last);
    processes::send_signal(last, Signal::SIGTERM);
    wait_until("the last one leaves", SOON, || !everyone.iter().any(|pid| processes::is_alive(*pid)));
    assert!(!server.folder().file("server.pid").exists(), "the pid file is left");
    assert!(!server.folder().file("run/sworker.sock").exists(), "the control socket is left");
    eprintln!("{} answered over 5 upgrades, longest gap {:?}", tally.answered, tally.gap_max);
}

#[test]
fn a_program_that_does_not_come_up_changes_nothing() {
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let children = server.children_titled("worker ");
    let new = server.folder().write("server.cfg.new", "nonsense");
    std::fs::rename(new, server.folder().file("server.cfg")).expect("a file can be renamed");
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("did not take over: all stays as it was");
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "after")).status(), 200);
    assert_eq!(server.children_titled("worker "), children);
    assert_eq!(named_master(&server), server.master());
}
