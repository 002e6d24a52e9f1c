//! A group that stands still is nobody else's business.

use std::time::Duration;

use crate::scripts::two_groups;
use crate::support::{Caller, Load, Request, SOON, Server, processes, wait_until};

const COUNT: usize = 5_000;

/// Sends so many INVITEs, in steps the socket's buffer can hold, until all of them wait in the queue of `calls`.
fn leave_waiting(server: &Server, caller: &Caller, count: usize) {
    for index in 0..count {
        caller.send(&caller.bytes(&Request::new("INVITE", &format!("{index}.waiting"))));
        if (index + 1) % 100 == 0 {
            wait_until("they are taken", SOON, || server.group("calls")["delegated"] == index + 1);
        }
    }
}

#[test]
fn with_one_group_stopped_the_other_and_the_receivers_lose_nothing() {
    let server = Server::start(&two_groups(2, 2, 1024));
    let stuck = server.children_titled("worker calls/");
    assert_eq!(stuck.len(), 2);

    // Given a whole group that does not move, with work waiting for it ...
    stuck.iter().for_each(|pid| processes::freeze(*pid));
    let waiting = server.caller();
    leave_waiting(&server, &waiting, 500);

    // ... everybody else is served as if it were not there ...
    let others = server.caller();
    for method in ["REGISTER", "OPTIONS"] {
        let load = Load::new(method, COUNT).request(move |name| Request::new(method, name));
        let tally = load.run(&others);
        assert_eq!((tally.answered, tally.duplicates), (COUNT, 0), "{method}: lost {:?}", tally.lost);
    }

    // ... and what waited is answered when the group moves again.
    stuck.iter().for_each(|pid| processes::thaw(*pid));
    let mut call_ids: Vec<String> =
        (0..500).map(|_| waiting.receive().header("Call-ID").to_string()).collect();
    call_ids.sort();
    call_ids.dedup();
    assert_eq!(call_ids.len(), 500);
}

#[test]
fn an_overfull_stopped_group_does_not_hold_up_the_receivers() {
    // The queue holds less than what comes: the surplus falls through to the receivers, by this script's choice.
    let server = Server::start(&two_groups(2, 1, 16));
    let stuck = server.worker("calls", 1);
    processes::freeze(stuck);
    let load = Load::new("mixed", 4_000).window(256).patience(Duration::from_millis(500));
    let mixed = load.request(|name| {
        let number: usize = name.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Request::new(if number.is_multiple_of(4) { "INVITE" } else { "OPTIONS" }, name)
    });
    let caller = server.caller();
    let tally = mixed.run(&caller);
    let lost_others: Vec<&usize> = tally.lost.iter().filter(|index| **index % 4 != 0).collect();
    assert!(lost_others.is_empty(), "traffic outside the group was lost: {lost_others:?}");
    assert_eq!(tally.sent, 4_000);

    // What the group had accepted is still answered.
    processes::thaw(stuck);
    for _ in &tally.lost {
        caller.receive();
    }
}

#[test]
fn with_one_group_stopped_the_others_are_not_slower() {
    let server = Server::start(&two_groups(2, 2, 4096));
    let p99 = |name: &str| {
        let register = Load::new(name, 2_000).rate(1_000.0).request(|name| Request::new("REGISTER", name));
        let tally = register.run(&server.caller());
        tally.assert_nothing_lost();
        tally.latency(0.99)
    };
    let before = p99("before");
    let stuck = server.children_titled("worker calls/");
    stuck.iter().for_each(|pid| processes::freeze(*pid));
    let waiting = server.caller();
    leave_waiting(&server, &waiting, 1_000);
    let with_stuck = p99("with-a-stuck-group");
    stuck.iter().for_each(|pid| processes::thaw(*pid));
    eprintln!("p99 {before:?}, with a group stopped {with_stuck:?}");
    // On a busy machine of two cores a tight bound would measure the machine; a blocked receiver costs far more.
    assert!(
        with_stuck < before * 2 + Duration::from_millis(50),
        "p99 went from {before:?} to {with_stuck:?}"
    );
}
