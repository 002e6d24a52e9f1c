//! Whoever is killed: what was accepted is answered, and the server goes on.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::scripts::{HEAD, answered_by_workers, two_groups};
use crate::support::{Load, Request, SOON, Server, processes, wait_until};

const WORKER_KILLS: usize = 200;
const RECEIVER_KILLS: usize = 50;
/// Messages between two kills: enough that the successor is in the middle of its work when its turn comes.
const MESSAGES_PER_KILL: usize = 500;
/// The load ends when the kills are done, or the test fails here.
const MESSAGES_MAX: usize = 1_000_000;

/// Kills one process after another, each time so many more messages were answered and everybody is back: who kills a
/// process faster than it starts tests how long the supervisor waits between starts.
struct Killer {
    kills: usize,
    kill_count: usize,
    victim_count: usize,
    answered_at_kill: usize,
}

impl Killer {
    fn new(kill_count: usize, victim_count: usize) -> Killer {
        Killer { kills: 0, kill_count, victim_count, answered_at_kill: 0 }
    }

    fn when_due(&mut self, answered: usize, victims: impl Fn() -> Vec<i32>) -> ControlFlow<()> {
        if answered < self.answered_at_kill + MESSAGES_PER_KILL {
            return ControlFlow::Continue(());
        }
        if self.kills == self.kill_count {
            return ControlFlow::Break(());
        }
        let alive = victims();
        if alive.len() == self.victim_count {
            // The kernel lists the eldest child first, so everybody has his turn.
            processes::send_signal(alive[0], Signal::SIGKILL);
            self.kills += 1;
            self.answered_at_kill = answered;
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn killing_workers_under_load_loses_nothing() {
    let server = Server::start(&answered_by_workers(2, 4, 1024));
    let mut killer = Killer::new(WORKER_KILLS, 4);
    let load = Load::new("kill", MESSAGES_MAX).window(64);
    let tally = load.run_while(&server.caller(), |tally| {
        killer.when_due(tally.answered, || server.children_titled("worker calls/"))
    });
    assert_eq!(killer.kills, WORKER_KILLS);
    tally.assert_nothing_lost();
    assert!(
        tally.duplicates <= killer.kills,
        "{} answers twice after {} kills",
        tally.duplicates,
        killer.kills
    );
    wait_until("all workers are back", SOON, || server.children_titled("worker calls/").len() == 4);
    wait_until("the queue is empty again", SOON, || server.group("calls")["depth"] == 0);
    let group = server.group("calls");
    assert_eq!([&group["quarantined"], &group["corrupt"]], [0, 0], "{group}");
    eprintln!("{} kills, {} twice, longest gap {:?}", killer.kills, tally.duplicates, tally.gap_max);
}

#[test]
fn killing_receivers_under_load_loses_nothing() {
    let server = Server::start(&answered_by_workers(3, 2, 1024));
    let mut killer = Killer::new(RECEIVER_KILLS, 3);
    let load = Load::new("kill", MESSAGES_MAX).window(64).patience(Duration::from_secs(2));
    let tally = load.run_while(&server.caller(), |tally| {
        killer.when_due(tally.answered, || server.children_titled("receiver "))
    });
    assert_eq!(killer.kills, RECEIVER_KILLS);
    tally.assert_nothing_lost();
    // What a receiver had in hand when it was killed is handled again.
    assert!(tally.duplicates <= killer.kills, "{} twice after {} kills", tally.duplicates, killer.kills);
    wait_until("all receivers are back", SOON, || server.children_titled("receiver ").len() == 3);
    let accepted = server.counter("sworker.delegated");
    let answers = (tally.answered + tally.duplicates) as u64;
    assert!(accepted <= answers, "accepted {accepted}, answers {answers}");
    eprintln!("{} kills, {} twice, longest gap {:?}", killer.kills, tally.duplicates, tally.gap_max);
}

#[test]
fn a_worker_killed_with_a_message_in_hand_leaves_it_to_its_successor() {
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let caller = server.caller();
    let worker = server.worker("calls", 1);
    // Given a worker that stands still with messages waiting, when it is killed ...
    processes::freeze(worker);
    (0..20).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("{index}.held")))));
    processes::send_signal(worker, Signal::SIGKILL);
    // ... another one of the same name answers them all.
    let pids: Vec<String> = (0..20).map(|_| caller.receive().start).collect();
    let successor = server.worker("calls", 1);
    assert_ne!(successor, worker);
    assert!(pids.iter().all(|start| *start == format!("SIP/2.0 200 worker {successor}")), "{pids:?}");
}

#[test]
fn any_way_a_worker_ends_is_an_ordinary_event() {
    let server = Server::start(&two_groups(1, 1, 64));
    let caller = server.caller();
    // Not SIGSEGV: Rust's own handler for it expects the fault to come again and lets one sent by hand pass.
    for (signal, processed) in
        [Signal::SIGKILL, Signal::SIGABRT, Signal::SIGILL, Signal::SIGFPE].into_iter().zip(1..)
    {
        let before = server.worker("calls", 1);
        let bystander = server.worker("registrations", 1);
        processes::send_signal(before, signal);
        wait_until("another worker is there", SOON, || server.worker("calls", 1) != before);
        assert_eq!(caller.ask(&Request::new("INVITE", &format!("after-{signal}"))).status(), 200);
        // Killed between its answer and the end of its script, the next one would be killed over the same message.
        wait_until("it has finished", SOON, || server.group("calls")["processed"] == processed);
        assert_eq!(server.worker("registrations", 1), bystander, "{signal} hit somebody else too");
    }
    assert!(processes::is_alive(server.master()));
}

#[test]
fn killing_the_control_process_leaves_the_traffic_alone() {
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let before = server.child("control");
    processes::send_signal(before, Signal::SIGKILL);
    let tally = Load::new("without-control", 2_000).run(&server.caller());
    tally.assert_nothing_lost();
    wait_until("there is another control process", SOON, || server.child("control") != before);
}

#[test]
fn when_the_master_is_killed_its_children_leave_and_a_new_start_answers() {
    let mut server = Server::start(&two_groups(2, 2, 64));
    let address = server.address();
    let children: Vec<i32> = processes::children(server.master());
    assert!(children.len() >= 7, "{children:?}");

    let killed_at = Instant::now();
    processes::send_signal(server.master(), Signal::SIGKILL);
    wait_until("the children leave", SOON, || !children.iter().any(|pid| processes::is_alive(*pid)));
    let gone_after = killed_at.elapsed();
    assert_eq!(server.wait_for_exit(SOON), None);

    let started_at = Instant::now();
    let again = Server::on(&two_groups(2, 2, 64)).listen(&format!("udp:{address}")).start();
    assert_eq!(again.caller().ask(&Request::new("INVITE", "again")).status(), 200);
    let answered_after = started_at.elapsed();
    eprintln!("children gone after {gone_after:?}, new server answered after {answered_after:?}");
}

#[test]
fn no_kill_leaves_descriptors_or_processes_behind() {
    let server = Server::start(&answered_by_workers(1, 2, 64));
    let kill_both = || {
        for title in ["worker calls/", "receiver "] {
            let before = server.children_titled(title);
            processes::send_signal(before[0], Signal::SIGKILL);
            wait_until("it is replaced", SOON, || {
                let now = server.children_titled(title);
                now.len() == before.len() && !now.contains(&before[0])
            });
        }
    };
    kill_both();
    let (children, descriptors) = (server.children().len(), processes::descriptor_count(server.master()));
    // Who is killed at birth again and again is started later and later, so these are few.
    (0..5).for_each(|_| kill_both());
    assert_eq!(
        (server.children().len(), processes::descriptor_count(server.master())),
        (children, descriptors)
    );
}

#[test]
fn what_a_receiver_had_handed_over_when_it_was_killed_is_marked_when_its_successor_does_it_again() {
    let script = format!(
        r#"{HEAD}
loadmodule "cfgutils"
modparam("cfgutils", "lock_set_size", 1)
children=1
async_workers_group="name=calls;workers=2;queue=64"
event_route[core:pre-routing] {{
    sworker_task("calls");
    $var(round) = 0;
    while ($rU == "held" && $var(round) < 100) {{
        lock("key");
        $var(round) = $var(round) + 1;
    }}
    drop;
}}
request_route {{
    if ($rU == "holder") {{
        lock("key");
        xlog("L_ERR", "holding\n");
        usleep(6000000);
    }}
    sl_send_reply("200", "worker");
}}
"#
    );
    // Given a receiver that waits for a lock after it has handed a message over ...
    let server = Server::start(&script);
    let caller = server.caller();
    let holder = server.caller();
    holder.send(&holder.bytes(&Request::new("OPTIONS", "holder").user("holder")));
    server.wait_for_log("holding");
    caller.send(&caller.bytes(&Request::new("OPTIONS", "held").user("held")));
    for time in 0..2 {
        assert_eq!(caller.receive().start, "SIP/2.0 200 worker");
        assert_eq!(server.log_count("redelivered message, processes that died while handling it: 1"), time);
        processes::send_signal(server.receiver(1), Signal::SIGABRT);
    }
    server.wait_for_log("quarantined after 2 attempts");
    assert_eq!(caller.receive().status(), 500);
    assert_eq!(caller.ask(&Request::new("OPTIONS", "next")).status(), 200);
    assert_eq!(server.log_count("redelivered message"), 1);
}

/// From now on the kernel takes the request to be told of a parent's death from this thread and whoever it starts, and
/// forgets it.
fn forget_requests_for_deaths() {
    use seccompiler::{
        SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    const PR_SET_PDEATHSIG: u64 = 1;
    let request =
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PR_SET_PDEATHSIG).unwrap();
    let rules = [(libc::SYS_prctl, vec![SeccompRule::new(vec![request]).unwrap()])];
    let architecture = std::env::consts::ARCH.try_into().expect("one that has such filters");
    let filter = SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(0),
        architecture,
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).expect("a filter can be set");
}

#[test]
fn children_leave_with_their_master_even_if_the_kernel_does_not_tell_them() {
    forget_requests_for_deaths();
    let mut server = Server::start(&answered_by_workers(2, 2, 64));
    let children: Vec<i32> = server.children().into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(children.len(), 5);
    server.signal(Signal::SIGKILL);
    assert_eq!(server.wait_for_exit(SOON), None);
    let began = Instant::now();
    wait_until("all have left", SOON, || !children.iter().any(|pid| processes::is_alive(*pid)));
    eprintln!("children left after {:?}", began.elapsed());
}
