//! The service manager's protocol, with the test in the manager's place.

use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::scripts::answered_by_workers;
use crate::support::{SOON, Server, wait_for};

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
