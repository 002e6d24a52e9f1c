//! A network and mounts of one's own, in which sending can be forbidden or made slow and disks be full; for root.
//!
//! One thread alone enters them, and every process it starts from then on. They are gone with the last of them.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use nix::sched::{CloneFlags, unshare};

/// Whether the tests run as root, who can become another user and have another root directory.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Why none can be had here, as root of a container may have neither the right nor the programs; `None` where it can.
/// Found out once, by trying all that the tests do inside.
pub fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let found = MISSING.get_or_init(|| match is_root() {
        true => std::thread::scope(|scope| scope.spawn(try_all).join())
            .unwrap_or_else(|_| Err("a panic".into()))
            .err(),
        false => Some("only root can have a network of its own".to_owned()),
    });
    found.as_deref()
}

fn try_all() -> Result<(), String> {
    enter()?;
    FORBID.iter().chain([&ALLOW]).chain(&SLOW).chain([&FAST]).try_for_each(|line| attempt(line))?;
    attempt("mount -t tmpfs -o size=16k none /mnt")
}

fn enter() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .map_err(|error| format!("could not have a network and mounts of one's own: {error}"))?;
    attempt("mount --make-rprivate /")?;
    attempt("ip link set lo up")
}

/// Runs `scene` in a thread that has mounts of its own, and a network of its own with loopback up and nothing else.
pub fn run_inside<R: Send>(scene: impl FnOnce() -> R + Send) -> R {
    let inside = || {
        enter().expect("it was possible before");
        scene()
    };
    let outcome = std::thread::scope(|scope| scope.spawn(inside).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a command that must succeed; its words are separated by blanks.
#[track_caller]
pub fn command(line: &str) {
    attempt(line).unwrap_or_else(|reason| panic!("{reason}"));
}

fn attempt(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command has a name");
    let output = Command::new(program).args(words).output();
    let output =
        output.map_err(|error| format!("could not run {line}: {error}; scripts/test installs it"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("{line}: {}", errors.trim()))
}

const FORBID: [&str; 2] =
    ["nft add table ip refusal", "nft add chain ip refusal out { type filter hook output priority 0 ; }"];
const ALLOW: &str = "nft delete table ip refusal";
const SLOW: [&str; 6] = [
    "ip link add near type veth peer name far",
    "ip address add 192.0.2.1/24 dev near",
    "ip link set near up",
    "ip link set far up",
    "ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev near nud permanent",
    "tc qdisc add dev near root tbf rate 8kbit burst 2kb limit 100mb",
];
const FAST: &str = "tc qdisc delete dev near root";

/// From now on the kernel refuses to send to this UDP port (EPERM), until [`allow_all`].
#[track_caller]
pub fn forbid_sending_to(port: u16) {
    FORBID.iter().for_each(|line| command(line));
    command(&format!("nft add rule ip refusal out udp dport {port} drop"));
}

/// Takes [`forbid_sending_to`] back.
#[track_caller]
pub fn allow_all() {
    command(ALLOW);
}

/// An address behind a line so slow that the buffer of whoever sends to it is soon full. The way to it begins at
/// [`NEAR`].
pub const FAR: &str = "192.0.2.2";
/// Our end of the slow line.
pub const NEAR: &str = "192.0.2.1";

/// Makes the slow line.
#[track_caller]
pub fn make_slow_line() {
    SLOW.iter().for_each(|line| command(line));
}

/// Makes it fast again; what waits in it is lost.
#[track_caller]
pub fn make_line_fast() {
    command(FAST);
}

/// A disk of a few kilobytes at this place, full from the start.
#[track_caller]
pub fn mount_full_disk(place: &Path) {
    command(&format!("mount -t tmpfs -o size=16k none {}", place.display()));
    let filled = std::fs::write(place.join("filler"), [0; 64 << 10]);
    assert!(filled.is_err(), "more was written than there is room");
}

/// Gives it room again.
pub fn empty_disk(place: &Path) {
    std::fs::remove_file(place.join("filler")).expect("our own file can be removed");
}
