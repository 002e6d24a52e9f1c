//! When the system refuses what a server needs: nothing stops, it is counted, and it is over when the reason is.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::scripts::{HEAD, answered_by_workers, two_groups};
use crate::support::{
    Folder, Load, Logging, Request, SOON, Server, Tool, apart, control_path, processes, top_path, wait_until,
};

/// Sets a limit of a running process, as `prlimit` takes it.
#[track_caller]
fn limit(folder: &Folder, pid: i32, limit: &str) {
    let finished =
        Tool::start(folder, "prlimit", "prlimit", &["--pid", &pid.to_string(), limit]).finish(SOON);
    assert_eq!(finished.code, Some(0), "{}", finished.output);
}

/// The same for a server that runs as nobody: where root may not do everything, only nobody may do it.
#[track_caller]
fn limit_of_nobody(server: &Server, limit: &str) {
    let master = server.master().to_string();
    let words = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "prlimit", "--pid", &master, limit];
    let finished = Tool::start(server.folder(), "setpriv", "setpriv", &words).finish(SOON);
    assert_eq!(finished.code, Some(0), "{}", finished.output);
}

/// Each message leaves a line of some length in the log.
fn talkative() -> String {
    let text = "x".repeat(500);
    answered_by_workers(1, 2, 1024)
        .replace("request_route {", &format!("request_route {{\n    xinfo(\"{text} $ci\\n\");"))
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    let server = Logging::into(&talkative(), OwnedFd::from(writer));
    Load::new("unread", 3_000).run(&server.caller()).assert_nothing_lost();
    wait_until("lost lines are counted", SOON, || server.counter("core.log_lines_dropped") > 0);
    drop(reader);
    Load::new("closed", 300).run(&server.caller()).assert_nothing_lost();
}

#[test]
fn a_full_disk_under_the_log_holds_up_nobody() {
    let full = File::options().write(true).open("/dev/full").expect("there is a full device");
    let server = Logging::into(&talkative(), full);
    Load::new("full", 1_000).run(&server.caller()).assert_nothing_lost();
    wait_until("lost lines are counted", SOON, || server.counter("core.log_lines_dropped") > 0);
}

#[test]
fn a_syslog_that_goes_is_found_again_when_it_is_back() {
    let folder = Folder::new();
    let path = folder.file("syslog");
    let bind = || {
        let daemon = UnixDatagram::bind(&path).expect("a socket can be bound in a folder of our own");
        daemon.set_read_timeout(Some(Duration::from_millis(1))).expect("a time above zero is taken");
        daemon
    };
    let daemon = bind();
    let server =
        Server::on(&talkative()).argument(&format!("--log-engine=syslog:{}", path.display())).start();
    drop(daemon);
    std::fs::remove_file(&path).expect("our own socket can be removed");
    Load::new("gone", 500).run(&server.caller()).assert_nothing_lost();
    wait_until("lost lines are counted", SOON, || server.counter("core.log_lines_dropped") > 0);

    let daemon = bind();
    let caller = server.caller();
    let (mut asked, mut buffer) = (0, vec![0; 70_000]);
    wait_until("a line comes again", SOON, || {
        asked += 1;
        caller.ask(&Request::new("OPTIONS", &format!("back-{asked}")));
        daemon.recv(&mut buffer).is_ok_and(|size| memchr::memmem::find(&buffer[..size], b"back-").is_some())
    });
}

#[test]
fn a_queue_whose_bytes_are_used_up_is_full_and_gives_all_of_them_back() {
    // Room for 64 messages of a usual size, not for 64 of twenty kilobytes.
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let caller = server.caller();
    let large = |name: &str| caller.bytes(&Request::new("OPTIONS", name).body(&"x".repeat(20_000)));
    for round in 0..3 {
        let worker = server.worker("calls", 1);
        let full_before = server.counter("sworker.full");
        processes::freeze(worker);
        (0..64).for_each(|index| caller.send(&large(&format!("large-{round}-{index}"))));
        wait_until("there is no room for some", SOON, || server.counter("sworker.full") > full_before);
        processes::thaw(worker);
        let answers: Vec<u16> = (0..64).map(|_| caller.receive().status()).collect();
        assert_eq!(answers, vec![200; 64], "round {round}");
        wait_until("the queue is empty", SOON, || server.group("calls")["depth"] == 0);
    }
    let full = server.counter("sworker.full");
    (0..3).for_each(|index| assert_eq!(caller.ask_bytes(&large(&format!("calm-{index}"))).status(), 200));
    assert_eq!(server.counter("sworker.full"), full, "there is room again");
}

#[test]
fn a_message_that_cannot_be_sent_is_counted_and_the_next_one_is_sent() {
    let script =
        format!("{HEAD}reply_to_via=yes\nchildren=1\nrequest_route {{ sl_send_reply(\"200\", \"OK\"); }}\n");
    let server = Server::start(&script);
    let caller = server.caller();
    let request = String::from_utf8(caller.bytes(&Request::new("OPTIONS", "refused"))).expect("text");
    let via = format!("SIP/2.0/UDP {}", caller.address());
    // Nobody may send to everybody without having asked for it: the kernel refuses.
    caller.send(request.replacen(&via, "SIP/2.0/UDP 255.255.255.255:5060", 1).as_bytes());
    wait_until("it is counted", SOON, || server.counter("core.sends_failed") == 1);
    assert_eq!(caller.ask(&Request::new("OPTIONS", "sent")).status(), 200);
}

#[test]
fn without_descriptors_a_reload_is_refused_and_all_goes_on() {
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let open = processes::descriptor_count(server.master());
    limit(server.folder(), server.master(), &format!("--nofile={open}:4096"));
    let refused = server.control(&["core.reload"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.output.to_lowercase().contains("too many open files"), "{refused:?}");
    Load::new("few-descriptors", 500).run(&server.caller()).assert_nothing_lost();

    limit(server.folder(), server.master(), "--nofile=1024:4096");
    assert_eq!(server.control(&["core.reload"]).code, Some(0));
}

#[test]
fn without_descriptors_who_asks_waits_and_the_control_process_does_not_spin() {
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let control = server.child("control");
    limit(server.folder(), control, "--nofile=4:4096");
    let (began, before) = (Instant::now(), processes::processor_time(control));
    let words = ["-Y", "run", "-t", "10", "core.version"];
    let waiting = Tool::start(server.folder(), "waiting", control_path(), &words);
    server.wait_for_log("could not accept a control connection: Too many open files");
    Load::new("nobody-asks", 2_000).rate(2_000.0).run(&server.caller()).assert_nothing_lost();
    let (spent, passed) = (processes::processor_time(control) - before, began.elapsed());
    assert!(spent < passed / 10, "{spent:?} of {passed:?}");
    assert_eq!(server.log_count("could not accept a control connection"), 1, "it is said once");

    limit(server.folder(), control, "--nofile=1024:4096");
    let answered = waiting.finish(SOON);
    assert_eq!(answered.code, Some(0), "{answered:?}");
    assert_eq!(server.child("control"), control);
}

#[test]
fn who_is_forked_without_descriptors_has_all_its_rights_or_is_forked_again() {
    let server = Server::start(&answered_by_workers(1, 2, 64));
    limit(server.folder(), server.master(), "--nofile=12:4096");
    processes::send_signal(server.worker("calls", 1), Signal::SIGKILL);
    let is_settled = || {
        let titled = server.children_titled("worker calls/");
        titled.len() == 2 && titled.into_iter().all(processes::is_confined)
    };
    // Only where the kernel restricts files a child needs some at its start.
    match server.log().contains("this kernel has no Landlock") {
        true => wait_until("a successor is there", SOON, is_settled),
        false => server.wait_for_log("worker calls/1 failed: Too many open files"),
    }
    Load::new("few-descriptors", 500).run(&server.caller()).assert_nothing_lost();
    assert!(!server.log().contains("keeps crashing"), "it is not its own fault");

    limit(server.folder(), server.master(), "--nofile=1024:4096");
    wait_until("its place is filled", SOON, is_settled);
}

#[test]
fn when_nobody_can_be_forked_the_rest_serves_and_the_place_is_filled_later() {
    if !apart::is_root() {
        return eprintln!("skipped: only root can switch to another user");
    }
    // Root may always fork, so the server is somebody else.
    let server = Server::on(&answered_by_workers(1, 2, 64)).argument("-u").argument("nobody").start();
    limit_of_nobody(&server, "--nproc=1:4096");
    let before = server.worker("calls", 1);
    processes::send_signal(before, Signal::SIGKILL);
    server.wait_for_log("could not fork worker calls/1");
    Load::new("one-less", 500).run(&server.caller()).assert_nothing_lost();

    limit_of_nobody(&server, "--nproc=4096:4096");
    assert_ne!(server.worker("calls", 1), before);
}

#[test]
fn a_group_whose_worker_does_not_hold_is_degraded_and_said_so_until_it_works_again() {
    let server = Server::start(&two_groups(1, 2, 64));
    // Given a worker that crashes as soon as it is started, again and again ...
    let crash = || {
        let found = server.children_titled("worker calls/1");
        found.into_iter().for_each(|pid| processes::send_signal(pid, Signal::SIGSEGV));
    };
    wait_until("the group is degraded", SOON * 3, || {
        crash();
        server.log_count("group calls is degraded: 1 of 2 workers keep crashing") == 1
    });
    assert_eq!(server.group("calls")["degraded"], 1);
    server.wait_for_log("worker calls/1 keeps crashing (10 early exits in a row)");

    // ... everybody else is served, by the rest of its group as well ...
    for method in ["INVITE", "REGISTER", "OPTIONS"] {
        let load = Load::new(method, 500).request(move |name| Request::new(method, name));
        load.run(&server.caller()).assert_nothing_lost();
    }
    assert_eq!(server.group("registrations")["degraded"], 0);

    // ... and the place is filled when that is possible again.
    wait_until("the group works again", SOON * 2, || server.group("calls")["degraded"] == 0);
    server.wait_for_log("group calls is no longer degraded");
    assert_eq!(server.children_titled("worker calls/").len(), 2);
}

/// From now on nobody whom this thread starts can confine itself.
fn refuse_filters() {
    let always = vec![];
    let filter = SeccompFilter::new(
        [(libc::SYS_seccomp, always)].into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        std::env::consts::ARCH.try_into().expect("one that has such filters"),
    );
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("a filter can be set");
}

#[test]
fn a_generation_that_does_not_come_up_is_rolled_back_and_nothing_is_lost() {
    refuse_filters();
    let script = |sandbox: &str| format!("sandbox={sandbox}\n{}", answered_by_workers(2, 2, 1024));
    let server = Server::start(&script("no"));
    let children = server.children();
    // Given a script that is in order, but whose children cannot begin ...
    let new = server.folder().write("server.cfg.new", script("yes"));
    std::fs::rename(new, server.folder().file("server.cfg")).expect("a file can be renamed");
    for (signal, refusal) in [
        (Signal::SIGHUP, "reload failed, nothing changed: not all processes of generation 1 started"),
        (Signal::SIGUSR2, "this program continues: not all processes started (exit status 255)"),
    ] {
        // ... it is given up, and nobody notices.
        server.signal(signal);
        let load = Load::new(signal.as_str(), 1_000_000).window(16);
        let tally = load.run_while(&server.caller(), |_| match server.log_count(refusal) {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        tally.assert_nothing_lost();
        wait_until("it is gone", SOON, || server.ask_control(&["core.generation"])["draining"] == 0);
        assert_eq!((server.children(), tally.duplicates), (children.clone(), 0));
        assert_eq!(server.ask_control(&["core.generation"])["generation"], 0);
        let figures = Tool::start(server.folder(), "top", top_path(), &["-1", "-Y", "run"]).finish(SOON);
        assert!(
            figures.output.contains(&format!("master {}, statistics", server.master())),
            "{}",
            figures.output
        );
    }
    server.wait_for_log("could not confine the process");

    // ... and the next one comes up when it can.
    let new = server.folder().write("server.cfg.new", script("no"));
    std::fs::rename(new, server.folder().file("server.cfg")).expect("a file can be renamed");
    let words = server.ask_control(&["core.reload"]);
    assert!(words.as_str().is_some_and(|words| words.contains("serves after")), "{words}");
}
