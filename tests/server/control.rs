//! What operators ask while it runs: `sworkerctl`, `sworkertop`, and that asking never holds up the traffic.

use std::io::Write;
use std::os::unix::net::UnixStream;

use crate::scripts::{answered_by_the_receiver, two_groups};
use crate::support::{Folder, Load, Request, SOON, Server, Tool, control_path, top_path, wait_until};

#[test]
fn every_process_is_listed_with_its_id() {
    let server = Server::start(&two_groups(2, 2, 64));
    let listed = server.ask_control(&["core.psx"]);
    let mut listed: Vec<(i64, String)> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["PID"].as_i64().unwrap(), format!("sworkerd: {}", row["DSC"].as_str().unwrap())))
        .collect();
    let mut alive: Vec<(i64, String)> =
        server.children().into_iter().map(|(pid, title)| (i64::from(pid), title)).collect();
    alive.push((i64::from(server.master()), "sworkerd: master".into()));
    listed.sort();
    alive.sort();
    assert_eq!(listed, alive);
}

#[test]
fn what_a_group_did_is_counted() {
    let server = Server::start(&two_groups(2, 2, 64));
    let load = Load::new("counted", 300).request(|name| Request::new("REGISTER", name));
    load.run(&server.caller()).assert_nothing_lost();
    wait_until("all of it is booked", SOON, || server.group("registrations")["processed"] == 300);
    let group = server.group("registrations");
    let figures = ["workers", "depth", "delegated", "full", "redelivered", "quarantined", "corrupt"];
    assert_eq!(
        figures.map(|name| group[name].as_u64().unwrap_or(u64::MAX)),
        [2, 0, 300, 0, 0, 0, 0],
        "{group}"
    );
    assert!(group["capacity"].as_u64().is_some_and(|capacity| capacity >= 64), "{group}");
    assert_eq!(server.group("calls")["delegated"], 0);
    assert_eq!(server.counter("sworker.delegated"), 300);
}

#[test]
fn a_wrong_question_gets_a_clear_answer() {
    let server = Server::start(&answered_by_the_receiver());
    let rows: &[(&[&str], &str)] = &[
        (&["no.such.command"], "Method Not Found"),
        (&["core.pss"], "Method Not Found: \"core.pss\"; did you mean \"core.ps"),
        (&["system.methodHelp", "group.lst"], "did you mean \"group.list\"?"),
        (&["stats.fetch", "no.such"], "no.such"),
        (&[], "usage"),
    ];
    for (command, expected) in rows {
        let finished = server.control(command);
        assert!(finished.code.is_some_and(|code| code != 0), "{command:?}: {finished:?}");
        assert!(finished.output.contains(expected), "{command:?}: {}", finished.output);
    }
}

#[test]
fn without_a_server_it_says_so() {
    let folder = Folder::new();
    let finished = Tool::start(&folder, "sworkerctl", control_path(), &["-Y", "run", "core.ps"]).finish(SOON);
    assert!(finished.code.is_some_and(|code| code != 0), "{finished:?}");
    assert!(finished.output.contains("could not connect"), "{}", finished.output);
    assert!(
        finished.output.contains("no server runs with run directory run, use -Y for another one"),
        "{}",
        finished.output
    );
}

#[test]
fn those_who_ask_and_stand_still_hold_up_nobody() {
    let server = Server::start(&two_groups(1, 1, 64));
    let socket = std::fs::read_dir(server.folder().file("run"))
        .expect("the run directory is there")
        .map(|entry| entry.unwrap().path())
        .find(|path| UnixStream::connect(path).is_ok())
        .expect("a socket that takes connections");
    let mut idle: Vec<UnixStream> = (0..200).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    // Whoever is turned away at once is no error of ours.
    idle.iter_mut().for_each(|stream| drop(stream.write_all(b"{\"method\":")));
    Load::new("beside-idlers", 3_000).run(&server.caller()).assert_nothing_lost();
    drop(idle);
    wait_until("questions are answered again", SOON, || server.control(&["core.version"]).code == Some(0));
    assert!(server.ask_control(&["core.version"]).as_str().is_some_and(|text| text.starts_with("sworker ")));
}

#[test]
fn sworkertop_shows_groups_and_processes() {
    let server = Server::start(&two_groups(1, 2, 64));
    let load = Load::new("shown", 100).request(|name| Request::new("INVITE", name));
    load.run(&server.caller()).assert_nothing_lost();
    let show = || Tool::start(server.folder(), "sworkertop", top_path(), &["-Y", "run", "-1"]).finish(SOON);
    wait_until("the figures are published", SOON, || {
        let shown = show().output;
        shown.lines().any(|line| line.contains("calls") && line.split_whitespace().any(|word| word == "100"))
    });
    let shown = show();
    assert_eq!(shown.code, Some(0), "{}", shown.output);
    for word in
        ["capacity", "depth", "delegated", "full", "processed", "redelivered", "quarantined", "registrations"]
    {
        assert!(shown.output.contains(word), "no {word} in\n{}", shown.output);
    }
    for (pid, _) in server.children() {
        assert!(shown.output.contains(&pid.to_string()), "no {pid} in\n{}", shown.output);
    }
}
