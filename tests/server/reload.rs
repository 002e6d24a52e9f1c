//! Another configuration for a running server: checked first, nothing lost, nothing left behind.

use std::cell::Cell;
use std::ops::ControlFlow;

use nix::sys::signal::Signal;

use crate::scripts::{HEAD, answered_by_workers};
use crate::support::{Caller, Load, Request, SOON, Server, processes, wait_until};

/// Answers with a text of its own, by workers of groups with these names and sizes.
fn script(text: &str, receivers: u32, groups: &[(&str, u32)]) -> String {
    let named: String = groups
        .iter()
        .map(|(name, workers)| format!("async_workers_group=\"name={name};workers={workers};queue=1024\"\n"))
        .collect();
    let first = groups[0].0;
    format!(
        r#"{HEAD}
children={receivers}
{named}
event_route[core:pre-routing] {{
    if (sworker_task("{first}")) {{ drop; }}
}}
request_route {{ sl_send_reply("200", "{text}"); }}
"#
    )
}

/// As editors and tools do it, so that nobody ever reads half a file.
fn change(server: &Server, script: impl AsRef<[u8]>) {
    let new = server.folder().write("server.cfg.new", script);
    std::fs::rename(new, server.folder().file("server.cfg")).expect("a file can be renamed");
}

fn generation(server: &Server) -> (u64, u64) {
    let answer = server.ask_control(&["core.generation"]);
    (answer["generation"].as_u64().unwrap(), answer["draining"].as_u64().unwrap())
}

fn answer(caller: &Caller, name: &str) -> String {
    caller.ask(&Request::new("OPTIONS", name)).start
}

#[test]
fn a_changed_script_is_there_after_a_reload_and_a_wrong_one_changes_nothing() {
    let server = Server::start(&script("one", 2, &[("calls", 2)]));
    let caller = server.caller();
    assert_eq!(answer(&caller, "before"), "SIP/2.0 200 one");

    change(&server, script("two", 3, &[("other", 3), ("more", 1)]));
    let words = server.ask_control(&["core.reload"]);
    assert!(words.as_str().is_some_and(|words| words.starts_with("generation 1 serves")), "{words}");
    wait_until("the first generation is gone", SOON, || generation(&server) == (1, 0));
    assert_eq!(answer(&caller, "after"), "SIP/2.0 200 two");
    assert_eq!(server.children_titled("worker other/").len(), 3);
    assert_eq!(server.children_titled("receiver ").len(), 3);
    assert!(server.children_titled("worker calls/").is_empty());

    let children = server.children();
    change(&server, "request_route { nosuch(); }\n");
    let refused = server.control(&["core.reload"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.output.contains("nosuch") && refused.output.contains("server.cfg:1:17"), "{refused:?}");
    server.wait_for_log("reload failed, nothing changed");
    // A line of the log for each line of a mistake, so that the caret stands below its place.
    server.wait_for_log("ERROR: <core>: request_route { nosuch(); }\n");
    server.wait_for_log("ERROR: <core>:                 ^^^^^^\n");
    assert_eq!((answer(&caller, "still"), server.children()), ("SIP/2.0 200 two".to_string(), children));
}

#[test]
fn reloads_under_load_lose_nothing() {
    let server = Server::start(&script("r", 2, &[("calls", 2)]));
    let variants: [(u32, &[(&str, u32)]); 3] =
        [(3, &[("calls", 4), ("more", 1)]), (1, &[("other", 1)]), (2, &[("calls", 2)])];
    let reloads = Cell::new(0_usize);
    let next_at = Cell::new(500);
    let load = Load::new("reload", 200_000).window(64);
    let tally = load.run_while(&server.caller(), |tally| {
        if tally.answered >= next_at.get() && server.log_count("has ended") == reloads.get() {
            if reloads.get() == 12 {
                return ControlFlow::Break(());
            }
            let (receivers, groups) = variants[reloads.get() % variants.len()];
            change(&server, script("r", receivers, groups));
            server.signal(Signal::SIGHUP);
            reloads.set(reloads.get() + 1);
            next_at.set(tally.answered + 500);
        }
        ControlFlow::Continue(())
    });
    tally.assert_nothing_lost();
    assert_eq!((tally.duplicates, reloads.get()), (0, 12));
    assert_eq!(generation(&server), (12, 0));
    // Counters go on over generations: nobody sees that there were several.
    wait_until("all of it is booked", SOON, || server.counter("sworker.delegated") == tally.sent as u64);
    eprintln!("{} answered over 12 reloads, longest gap {:?}", tally.answered, tally.gap_max);
}

#[test]
fn what_waits_in_the_rings_of_the_previous_generation_is_finished_there() {
    let server = Server::start(&script("one", 1, &[("calls", 1)]));
    let caller = server.caller();
    let worker = server.worker("calls", 1);
    processes::freeze(worker);
    (0..20).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("{index}.held")))));
    wait_until("all wait", SOON, || server.counter("sworker.delegated") == 20);

    change(&server, script("two", 1, &[("calls", 1)]));
    server.ask_control(&["core.reload"]);
    wait_until("the previous receiver has left", SOON, || server.children_titled("receiver ").len() == 1);
    assert_eq!(answer(&server.caller(), "new"), "SIP/2.0 200 two");
    wait_until("what waits is told", SOON, || server.group("calls")["draining"].as_u64() >= Some(19));
    assert_eq!(generation(&server), (1, 1));

    // Killed with a message in hand: its successor is one of the same generation.
    processes::send_signal(worker, Signal::SIGKILL);
    let answers: Vec<String> = (0..20).map(|_| caller.receive().start).collect();
    assert_eq!(answers, vec!["SIP/2.0 200 one"; 20]);
    wait_until("the previous generation is gone", SOON, || generation(&server) == (1, 0));
    assert_eq!(server.counter("sworker.delegated"), 21);
    assert_eq!(server.group("calls")["draining"], 0);
}

#[test]
fn a_storm_ends_on_the_last_file() {
    let server = Server::start(&script("0", 1, &[("calls", 1)]));
    let caller = server.caller();
    for round in 1..=2_000 {
        if round % 100 == 0 {
            change(&server, script(&round.to_string(), 1, &[("calls", 1)]));
        }
        server.signal(Signal::SIGHUP);
    }
    wait_until("the last file holds", SOON, || answer(&caller, "storm") == "SIP/2.0 200 2000");
    wait_until("all others are gone", SOON, || generation(&server).1 == 0);
    assert!(generation(&server).0 < 500, "requests are combined: {:?}", generation(&server));
}

#[test]
fn listeners_that_stay_are_kept_and_a_socket_in_use_refuses_the_reload() {
    let with = |extra: &str| format!("{}{extra}", script("l", 1, &[("calls", 1)]));
    let server = Server::start(&with(""));
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    change(&server, with(&format!("listen=udp:{address}\n")));
    let refused = server.control(&["core.reload"]);
    assert!(refused.output.contains(&format!("could not bind udp {address}: address in use")), "{refused:?}");
    assert_eq!(generation(&server), (0, 0));

    drop(taken);
    server.ask_control(&["core.reload"]);
    assert_eq!(answer(&server.caller(), "kept"), "SIP/2.0 200 l");
    assert_eq!(answer(&Caller::new(address), "added"), "SIP/2.0 200 l");
    wait_until("the first generation is gone", SOON, || generation(&server) == (1, 0));

    change(&server, with(""));
    server.ask_control(&["core.reload"]);
    wait_until("the socket is free again", SOON, || std::net::UdpSocket::bind(address).is_ok());
    assert_eq!(answer(&server.caller(), "kept-on"), "SIP/2.0 200 l");
}

#[test]
fn many_reloads_leave_nothing_behind() {
    let server = Server::start(&answered_by_workers(1, 2, 64));
    let reload = || {
        let before = generation(&server).0;
        server.ask_control(&["core.reload"]);
        wait_until("it is done", SOON, || generation(&server) == (before + 1, 0));
    };
    (0..10).for_each(|_| reload());
    let measure = || (processes::descriptor_count(server.master()), server.children().len());
    let (before, memory) = (measure(), processes::anonymous_memory_size(server.master()));
    (0..100).for_each(|_| reload());
    assert_eq!(measure(), before);
    let grown = processes::anonymous_memory_size(server.master()).saturating_sub(memory);
    assert!(grown < 256 << 10, "the master has grown by {grown} bytes");
    let child = server.worker("calls", 1);
    let descriptors = processes::descriptor_count(child);
    reload();
    assert_eq!(processes::descriptor_count(server.worker("calls", 1)), descriptors);
}

#[test]
fn a_stop_ends_a_reload_and_a_reload_never_begins_in_a_stop() {
    for order in [[Signal::SIGHUP, Signal::SIGTERM], [Signal::SIGTERM, Signal::SIGHUP]] {
        let mut server = Server::start(&answered_by_workers(2, 2, 64));
        let everyone = processes::tree(server.master());
        order.into_iter().for_each(|signal| server.signal(signal));
        assert_eq!(server.wait_for_exit(SOON), Some(0), "{order:?}:\n{}", server.log());
        assert!(!everyone.into_iter().any(processes::is_alive));
    }
}
