//! The service manager's protocol, with the test in the manager's place, and the unit as systemd judges it.

use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::scripts::answered_by_workers;
use crate::support::{Folder, SOON, Server, Tool, daemon_path, processes, wait_for, wait_until};

/// The socket a manager would listen on, in the server's folder.
fn manager_and_server(watchdog_us: Option<&str>) -> (UnixDatagram, Server) {
    let mut builder = Server::on(&answered_by_workers(1, 1, 64));
    let path = builder.folder().file("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket can be made in the test's folder");
    manager.set_nonblocking(true).expect("a socket can be made non-blocking");
    builder = builder.environment("NOTIFY_SOCKET", path.to_str().expect("a plain path"));
    if let Some(period) = watchdog_us {
        builder = builder.environment("WATCHDOG_USEC", period);
    }
    (manager, builder.start())
}

/// The next word that begins so; those before it are passed over.
#[track_caller]
fn hear(manager: &UnixDatagram, start: &str) -> String {
    wait_for(start, SOON, || {
        let mut bytes = [0; 1_000];
        let size = manager.recv(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes[..size]).into_owned();
        text.starts_with(start).then_some(text)
    })
}

#[test]
fn ready_reloading_and_stopping_are_told_as_the_protocol_wants() {
    let (manager, mut server) = manager_and_server(None);
    let ready = hear(&manager, "READY=1\n");
    assert!(ready.contains(&format!("MAINPID={}\n", server.master())), "{ready}");
    assert!(ready.contains("STATUS="), "{ready}");

    server.signal(Signal::SIGHUP);
    assert!(hear(&manager, "RELOADING=1\n").contains("MONOTONIC_USEC="));
    assert!(hear(&manager, "READY=1\n").contains("generation 1"));

    server.folder().write("server.cfg", "nonsense");
    server.signal(Signal::SIGHUP);
    hear(&manager, "RELOADING=1\n");
    assert!(hear(&manager, "READY=1\n").contains("generation 1"), "a refused reload is over too");

    server.signal(Signal::SIGTERM);
    hear(&manager, "STOPPING=1\n");
    assert_eq!(server.wait_for_exit(SOON), Some(0));
}

#[test]
fn signs_of_life_come_more_often_than_the_manager_asks_for() {
    let (manager, _server) = manager_and_server(Some("300000"));
    hear(&manager, "READY=1\n");
    let began = std::time::Instant::now();
    (0..5).for_each(|_| drop(hear(&manager, "WATCHDOG=1\n")));
    assert!(began.elapsed().as_millis() >= 300, "five signs of life in {:?}", began.elapsed());
}

#[test]
fn a_daemon_that_forks_tells_its_main_process() {
    let folder = Folder::new();
    folder.write("server.cfg", answered_by_workers(1, 1, 64));
    let path = folder.file("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket can be made in the test's folder");
    manager.set_nonblocking(true).expect("a socket can be made non-blocking");
    let environment = [("NOTIFY_SOCKET".to_string(), path.to_str().expect("a plain path").to_string())];
    let arguments =
        ["-P", "server.pid", "-w", ".", "-Y", "run", "-f", "server.cfg", "-a", "no", "-l", "udp:127.0.0.1:0"];
    let starter = Tool::start_in(&folder, "start", daemon_path(), &arguments, &environment);
    let started_by = starter.pid();
    assert_eq!(starter.finish(SOON).code, Some(0));

    // What Type=forking finds in PIDFile= and what Type=notify is told is the same process, and not the starter.
    let master: i32 = folder.read("server.pid").trim().parse().expect("the pid file is there");
    let ready = hear(&manager, "READY=1\n");
    assert!(ready.contains(&format!("MAINPID={master}\n")), "{ready}");
    assert_ne!(master, started_by);
    processes::send_signal(master, Signal::SIGHUP);
    hear(&manager, "RELOADING=1\n");
    hear(&manager, "READY=1\n");
    processes::send_signal(master, Signal::SIGTERM);
    hear(&manager, "STOPPING=1\n");
    wait_until("it ends", SOON, || !processes::is_alive(master));
}

/// The largest exposure the unit may have, as `systemd-analyze security` counts it, in tenths.
const EXPOSURE_MAX: &str = "15";

#[test]
fn the_unit_exposes_little() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd/sworker.service");
    let mut analyze = std::process::Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX, unit]);
    match analyze.output() {
        Err(error) => eprintln!("skipped: systemd-analyze does not run: {error}"),
        Ok(judged) => {
            let text = String::from_utf8_lossy(&judged.stdout);
            let verdict = text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or(&text);
            assert!(verdict.contains("Overall exposure level"), "{verdict}{judged:?}");
            assert!(judged.status.success(), "{verdict}");
        }
    }
}
