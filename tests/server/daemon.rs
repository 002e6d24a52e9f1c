//! The daemon as an operator starts it: command line, exit codes, pid file, sockets, what `ps` shows.

use std::net::UdpSocket;

use nix::sys::signal::Signal;

use crate::scripts::{answered_by_the_receiver, answered_by_workers, two_groups};
use crate::support::{
    Caller, Folder, Request, SOON, Server, Tool, daemon_path, processes, sworkerd, wait_for, wait_until,
};

#[test]
fn exit_codes_and_texts_are_those_operators_know() {
    let good = answered_by_the_receiver();
    let files = [("good.cfg", good.as_str()), ("bad.cfg", "request_route { nosuch(); }\n")];
    let rows: &[(&[&str], i32, &str)] = &[
        (&["-c", "-f", "good.cfg"], 0, "config file ok, exiting..."),
        (&["-c"], 0, "config file ok, exiting..."),
        (
            &["-f", "good.cfg", "-c", "-E", "-e", "-ddd", "-m", "64", "-M", "8", "-T", "-a", "no"],
            0,
            "config file ok",
        ),
        (
            &["-c", "-f", "good.cfg", "-A", "WITH_X", "-A", "Y=1", "-L", "/tmp", "-w", "/tmp", "-n", "2"],
            0,
            "config file ok",
        ),
        (&["-c", "-f", "bad.cfg"], 255, "nosuch"),
        (&["-c", "-f", "missing.cfg"], 255, "missing.cfg"),
        (&["--no-such-flag"], 255, "no-such-flag"),
        (&["-Z"], 255, "Z"),
        (&["-f"], 255, "-f"),
        (&["start"], 255, "start"),
        (&["-v"], 0, "version: sworker"),
        (&["--version"], 0, "version: sworker"),
        (&["-h"], 0, "-f"),
        (&["--help"], 0, "-f"),
    ];
    for (arguments, code, text) in rows {
        let finished = sworkerd(&files, arguments);
        assert_eq!(finished.code, Some(*code), "{arguments:?}:\n{}", finished.output);
        assert!(finished.output.contains(text), "{arguments:?}: no {text:?} in\n{}", finished.output);
    }
}

#[test]
fn ps_shows_who_is_who() {
    let server = Server::start(&two_groups(2, 2, 64));
    let address = server.address();
    let mut titles: Vec<String> = server.children().into_iter().map(|(_, title)| title).collect();
    titles.sort();
    let expected = [
        "control".to_string(),
        format!("receiver udp:{address}/1"),
        format!("receiver udp:{address}/2"),
        "worker calls/1".into(),
        "worker calls/2".into(),
        "worker registrations/1".into(),
        "worker registrations/2".into(),
    ];
    assert_eq!(titles, expected.map(|title| format!("sworkerd: {title}")));
    assert_eq!(processes::title(server.master()), "sworkerd: master");
}

#[test]
fn several_sockets_each_have_their_receivers_and_answer_from_their_own_port() {
    let script = answered_by_workers(2, 1, 64);
    let server =
        Server::on(&script).listen("udp:127.0.0.1:0").listen("udp:127.0.0.2:0").listen("udp:[::1]:0").start();
    assert_eq!(server.children_titled("receiver ").len(), 6);
    for (index, address) in server.listeners().iter().enumerate() {
        let caller = Caller::new(*address);
        let answer = caller.ask(&Request::new("OPTIONS", &format!("socket-{index}")));
        assert_eq!(answer.status(), 200, "{address}");
    }
}

#[test]
fn the_command_line_wins_over_the_script() {
    let server = Server::on(&answered_by_workers(1, 1, 64)).argument("-n").argument("3").start();
    assert_eq!(server.children_titled("receiver ").len(), 3);
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let script = answered_by_the_receiver();
    let listen = format!("udp:{address}");
    let finished =
        sworkerd(&[("a.cfg", &script)], &["-DD", "-E", "-f", "a.cfg", "-w", ".", "-Y", "run", "-l", &listen]);
    assert_eq!(finished.code, Some(255), "{}", finished.output);
    assert!(finished.output.contains("in use") && finished.output.contains(&address), "{}", finished.output);
}

#[test]
fn two_servers_never_share_a_port() {
    let first = Server::start(&answered_by_the_receiver());
    let listen = format!("udp:{}", first.address());
    let script = answered_by_the_receiver();
    let second =
        sworkerd(&[("a.cfg", &script)], &["-DD", "-E", "-f", "a.cfg", "-w", ".", "-Y", "run", "-l", &listen]);
    assert_eq!(second.code, Some(255), "{}", second.output);
    assert_eq!(first.caller().ask(&Request::new("OPTIONS", "still")).status(), 200);
}

/// A daemon that went to the background; killed by its pid file when the test fails.
struct Background {
    folder: Folder,
}

impl Background {
    fn pid(&self) -> Option<i32> {
        self.folder.read("server.pid").trim().parse().ok()
    }

    fn arguments() -> Vec<&'static str> {
        vec![
            "-P",
            "server.pid",
            "-w",
            ".",
            "-Y",
            "run",
            "-f",
            "server.cfg",
            "-a",
            "no",
            "-l",
            "udp:127.0.0.1:0",
        ]
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|pid| processes::is_alive(*pid)) {
            processes::tree(pid).into_iter().for_each(|pid| processes::send_signal(pid, Signal::SIGKILL));
        }
    }
}

#[test]
fn in_the_background_the_starter_returns_when_it_answers_and_the_log_keeps_its_pipe() {
    let background = Background { folder: Folder::new() };
    let folder = &background.folder;
    folder.write(
        "server.cfg",
        answered_by_workers(1, 2, 64).replace("request_route {", "request_route { xinfo(\"got $ci\\n\");"),
    );
    // The way test suites of the field start it: the shell's pipe must still get the children's lines.
    let daemon = daemon_path();
    let line =
        format!("{} {} -ddd -E 2>&1 | tee server.log", daemon.display(), Background::arguments().join(" "));
    let mut shell = Tool::start(folder, "shell", "/bin/sh", &["-c", &line]);

    let pid = wait_for("the pid file is written", SOON, || background.pid());
    wait_until("it is the master's", SOON, || processes::title(pid) == "sworkerd: master");
    assert!(shell.exit_status().is_none(), "the pipe is held open by the daemon");
    let address = wait_for("it listens", SOON, || processes::udp_sockets(pid).first().copied());
    let caller = Caller::new(address.into());
    assert_eq!(caller.ask(&Request::new("OPTIONS", "through-the-pipe")).status(), 200);
    wait_until("the worker's line comes through", SOON, || {
        folder.read("server.log").contains("got through-the-pipe")
    });

    processes::send_signal(pid, Signal::SIGTERM);
    wait_until("it ends", SOON, || !processes::is_alive(pid));
    assert_eq!(shell.finish(SOON).code, Some(0));
    assert!(background.pid().is_none(), "the pid file is left");
}

#[test]
fn the_starter_tells_whether_the_start_worked() {
    let background = Background { folder: Folder::new() };
    let folder = &background.folder;
    folder.write("server.cfg", answered_by_workers(1, 1, 64));
    let started = Tool::start(folder, "start", daemon_path(), &Background::arguments()).finish(SOON);
    assert_eq!(started.code, Some(0), "{}", started.output);
    let pid = background.pid().expect("the pid file is there when the starter returns");
    let address = processes::udp_sockets(pid)[0];
    assert_eq!(Caller::new(address.into()).ask(&Request::new("OPTIONS", "at-once")).status(), 200);

    // A second start on the same pid file is refused; so is one on the same port.
    let again = Tool::start(folder, "again", daemon_path(), &Background::arguments()).finish(SOON);
    assert_eq!(again.code, Some(255), "{}", again.output);
    let listen = format!("udp:{address}");
    let same_port = ["-P", "other.pid", "-w", ".", "-Y", "run2", "-f", "server.cfg", "-l", &listen];
    let refused = Tool::start(folder, "same-port", daemon_path(), &same_port).finish(SOON);
    assert_eq!(refused.code, Some(255), "{}", refused.output);
    assert!(processes::is_alive(pid));

    processes::send_signal(pid, Signal::SIGTERM);
    wait_until("it ends", SOON, || !processes::is_alive(pid));
}

#[test]
fn a_stale_pid_file_is_overwritten() {
    let background = Background { folder: Folder::new() };
    let folder = &background.folder;
    folder.write("server.cfg", answered_by_workers(1, 1, 64));
    let ended = Tool::start(folder, "ended", "/bin/true", &[]);
    let stale = ended.pid();
    ended.finish(SOON);
    folder.write("server.pid", format!("{stale}\n"));
    let started = Tool::start(folder, "start", daemon_path(), &Background::arguments()).finish(SOON);
    assert_eq!(started.code, Some(0), "{}", started.output);
    let pid = background.pid().expect("a new number is written");
    assert_ne!(pid, stale);
    processes::send_signal(pid, Signal::SIGTERM);
    wait_until("it ends", SOON, || !processes::is_alive(pid));
}

#[test]
fn it_is_ready_at_once() {
    let server = Server::start(&two_groups(8, 8, 1024));
    assert_eq!(server.caller().ask(&Request::new("INVITE", "first")).status(), 200);
}

#[test]
fn a_log_reader_that_stands_still_does_not_hold_up_the_traffic() {
    let background = Background { folder: Folder::new() };
    let folder = &background.folder;
    let long = "x".repeat(500);
    let script = answered_by_workers(1, 1, 256)
        .replace("request_route {", &format!("request_route {{ xinfo(\"{long}\\n\");"));
    folder.write("server.cfg", script);
    let daemon = daemon_path();
    let line = format!(
        "({} {} -DD -E 2>&1; true) | {{ head -c 1 > /dev/null; kill -STOP $$; }}",
        daemon.display(),
        Background::arguments().join(" ")
    );
    let shell = Tool::start(folder, "shell", "/bin/sh", &["-c", &line]);
    let pid = wait_for("the pid file is written", SOON, || background.pid());
    let address = wait_for("it listens", SOON, || processes::udp_sockets(pid).first().copied());
    wait_until("its reader stands still", SOON, || processes::state(shell.pid()) == Some('T'));
    // 1000 lines of 500 bytes are far more than a pipe holds.
    let tally = crate::support::Load::new("stalled", 1_000).run(&Caller::new(address.into()));
    tally.assert_nothing_lost();
    processes::send_signal(pid, Signal::SIGTERM);
    wait_until("it ends", SOON, || !processes::is_alive(pid));
    processes::thaw(shell.pid());
}

#[test]
fn another_start_of_the_server_has_other_tags() {
    let tag = || {
        let server = Server::start(&answered_by_the_receiver());
        // The same bytes for both, so from a Via that does not hold our changing port.
        let request = Request::new("OPTIONS", "same").header("X: y");
        let bytes = request.bytes("127.0.0.1:9".parse().unwrap(), "127.0.0.1:5060".parse().unwrap());
        server.caller().ask_bytes(&bytes).to_tag().expect("a tag").to_string()
    };
    assert_ne!(tag(), tag());
}
