//! A network and mounts of one's own, in which sending can be forbidden or made slow and disks be full; for root.
//!
//! One thread alone enters them, and every process it starts from then on. They are gone with the last of them.

use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Whether one can be had here.
pub fn is_possible() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs `scene` in a thread that has mounts of its own, and a network of its own with loopback up and nothing else.
pub fn run_inside<R: Send>(scene: impl FnOnce() -> R + Send) -> R {
    let inside = || {
        let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
        unshare(own).expect("root may have a network and mounts of its own");
        command("mount --make-rprivate /");
        command("ip link set lo up");
        scene()
    };
    let outcome = std::thread::scope(|scope| scope.spawn(inside).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a command that must succeed; its words are separated by blanks.
#[track_caller]
pub fn command(line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command has a name");
    let output = Command::new(program).args(words).output();
    let output =
        output.unwrap_or_else(|error| panic!("could not run {line}: {error}; scripts/test installs it"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// From now on the kernel refuses to send to this UDP port (EPERM), until [`allow_all`].
#[track_caller]
pub fn forbid_sending_to(port: u16) {
    command("nft add table ip refusal");
    command("nft add chain ip refusal out { type filter hook output priority 0 ; }");
    command(&format!("nft add rule ip refusal out udp dport {port} drop"));
}

/// Takes [`forbid_sending_to`] back.
#[track_caller]
pub fn allow_all() {
    command("nft delete table ip refusal");
}

/// An address behind a line so slow that the buffer of whoever sends to it is soon full. The way to it begins at
/// [`NEAR`].
pub const FAR: &str = "192.0.2.2";
/// Our end of the slow line.
pub const NEAR: &str = "192.0.2.1";

/// Makes the slow line.
#[track_caller]
pub fn make_slow_line() {
    command("ip link add near type veth peer name far");
    command("ip address add 192.0.2.1/24 dev near");
    command("ip link set near up");
    command("ip link set far up");
    command("ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev near nud permanent");
    command("tc qdisc add dev near root tbf rate 8kbit burst 2kb limit 100mb");
}

/// Makes it fast again; what waits in it is lost.
#[track_caller]
pub fn make_line_fast() {
    command("tc qdisc delete dev near root");
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
