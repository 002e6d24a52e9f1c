//! The control socket against those who mean no good: strangers, dawdlers, and whoever asks without end.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::scripts::answered_by_the_receiver;
use crate::support::{Load, SOON, Server, control_path};

fn socket_of(server: &Server) -> PathBuf {
    let entries = fs::read_dir(server.folder().file("run")).expect("the run directory is there");
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.into_iter().find(|path| UnixStream::connect(path).is_ok()).expect("a socket that takes connections")
}

fn mode_of(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn only_its_owner_can_open_it() {
    let server = Server::start(&answered_by_the_receiver());
    assert_eq!(mode_of(&socket_of(&server)), 0o600);
    assert_eq!(mode_of(&server.folder().file("run")) & 0o077, 0);
}

#[test]
fn a_stranger_is_turned_away_even_where_the_socket_lies_open() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can ask as somebody else");
        return;
    }
    let server = Server::start(&answered_by_the_receiver());
    let socket = socket_of(&server);
    for (path, mode) in
        [(server.folder().path().to_owned(), 0o755), (server.folder().file("run"), 0o755), (socket, 0o666)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("the system has it").uid.as_raw();
    // A copy where everybody can run it.
    let program = server.folder().file("sworkerctl");
    fs::copy(control_path(), &program).unwrap();
    let ask_as = |user: u32| {
        let mut command = Command::new(&program);
        command.args(["-Y", "run", "core.version"]).current_dir(server.folder().path()).uid(user);
        command.stdin(Stdio::null()).output().expect("sworkerctl runs")
    };
    let refused = ask_as(nobody);
    assert!(!refused.status.success() && !String::from_utf8_lossy(&refused.stdout).contains("sworker "));
    assert!(ask_as(0).status.success());
}

#[test]
fn who_sends_a_byte_at_a_time_is_cut_off_and_holds_up_nobody() {
    let server = Server::start(&answered_by_the_receiver());
    let mut slow = UnixStream::connect(socket_of(&server)).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let started = Instant::now();
    let is_cut_off = |slow: &mut UnixStream| {
        slow.write_all(b" ").is_err()
            || match slow.read(&mut [0; 16]) {
                Ok(count) => count == 0,
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
    };
    while !is_cut_off(&mut slow) {
        assert!(started.elapsed() < SOON, "still listened to after {:?}", started.elapsed());
        assert_eq!(server.control(&["core.echo", "beside"]).code, Some(0));
    }
    assert!(started.elapsed() > Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn a_request_of_ten_megabytes_is_cut_off_early_and_costs_no_message() {
    let server = Server::start(&answered_by_the_receiver());
    let mut stream = UnixStream::connect(socket_of(&server)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    let block = [b'x'; 4096];
    let total = 10 << 20;
    let taken =
        (0..total / block.len()).take_while(|_| stream.write_all(&block).is_ok()).count() * block.len();
    // The limit, and what the kernel keeps for a reader that is slow.
    assert!(taken < 1 << 20, "{taken} bytes were taken");
    Load::new("beside-the-large-one", 1_000).run(&server.caller()).assert_nothing_lost();
    assert_eq!(server.control(&["core.echo", "after"]).code, Some(0));
}
