//! Attempts to get out of a sandbox, and to do what must go on inside: each says what happened.
//!
//! Every attempt is harmless where it is not refused: arguments are chosen so that the kernel then finds another fault
//! in them than the one that proves the refusal.

use std::fs::{self, File};
use std::io;
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use super::process::{ProcessId, exit_now};
use super::sandbox::{self, Rights, Signals};

/// One attempt.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    row: &'a Row,
    rights: &'a Rights<'a>,
}

struct Row {
    what: &'static str,
    run: fn(&Rights<'_>) -> Result<(), String>,
    is_due: fn(&Rights<'_>) -> bool,
}

impl Attempt<'_> {
    /// What is attempted.
    pub fn what(&self) -> &'static str {
        self.row.what
    }

    /// Attempts it; the error says what is wrong with the sandbox.
    pub fn run(&self) -> Result<(), String> {
        (self.row.run)(self.rights)
    }
}

/// All attempts that these rights call for.
pub fn attempts<'a>(rights: &'a Rights<'a>) -> impl Iterator<Item = Attempt<'a>> {
    ROWS.iter().filter(|row| (row.is_due)(rights)).map(move |row| Attempt { row, rights })
}

const fn row(what: &'static str, run: fn(&Rights<'_>) -> Result<(), String>) -> Row {
    Row { what, run, is_due: |_| true }
}

/// The attempt that asks about dumps of the process's memory.
pub(super) const DUMP: &str = "leave memory in a core dump: refused";

const ROWS: &[Row] = &[
    row("hold a capability: refused", |_| match sandbox::has_capabilities() {
        Ok(false) => Ok(()),
        Ok(true) => Err("there are capabilities left".to_owned()),
        Err(error) => Err(error.to_string()),
    }),
    row("gain rights by running a program: refused", |_| match nix::sys::prctl::get_no_new_privs() {
        Ok(true) => Ok(()),
        _ => Err("the process may gain rights".to_owned()),
    }),
    row(DUMP, |_| match super::credentials::are_core_dumps_forbidden() {
        Ok(true) => Ok(()),
        _ => Err("the process may be dumped".to_owned()),
    }),
    row("execve: refused", |_| refused_call(libc::SYS_execve)),
    row("execveat: refused", |_| refused_call(libc::SYS_execveat)),
    row("fork: refused", |_| refused_fork()),
    row("ptrace: refused", |_| refused_call(libc::SYS_ptrace)),
    row("process_vm_readv: refused", |_| refused_call(libc::SYS_process_vm_readv)),
    row("mount: refused", |_| refused_call(libc::SYS_mount)),
    row("setns: refused", |_| refused_call(libc::SYS_setns)),
    row("bpf: refused", |_| refused_call(libc::SYS_bpf)),
    row("io_uring_setup: refused", |_| refused_call(libc::SYS_io_uring_setup)),
    row("splice: refused", |_| refused_call(libc::SYS_splice)),
    row("memfd_create: refused", |_| refused_call(libc::SYS_memfd_create)),
    row("pidfd_open: refused", |_| refused_call(libc::SYS_pidfd_open)),
    row("shmget: refused", |_| refused_call(libc::SYS_shmget)),
    row("mq_open: refused", |_| refused_call(libc::SYS_mq_open)),
    row("seccomp: refused", |_| refused_call(libc::SYS_seccomp)),
    row("setresuid: refused", |_| refused_call(libc::SYS_setresuid)),
    row("socket AF_PACKET: refused", |_| refused_socket(Domain::PACKET, Type::RAW)),
    row("socket AF_NETLINK: refused", |_| refused_socket(Domain::from(libc::AF_NETLINK), Type::DGRAM)),
    row("socket AF_VSOCK: refused", |_| refused_socket(Domain::VSOCK, Type::STREAM)),
    // Any user may read these where no sandbox is, and root may write the others.
    row("read /etc/passwd: refused", |_| refused_open(Path::new("/etc/passwd"))),
    row("read /proc/self/status: refused", |_| refused_open(Path::new("/proc/self/status"))),
    row("list /: refused", |_| match fs::read_dir("/") {
        Err(_) => Ok(()),
        Ok(_) => Err("it was listed".to_owned()),
    }),
    row("read /etc/shadow: refused", |_| refused_open(Path::new("/etc/shadow"))),
    row("read /proc/1/environ: refused", |_| refused_open(Path::new("/proc/1/environ"))),
    row("write in /tmp: refused", |_| refused_write(Path::new("/tmp"))),
    row("write in /var/tmp: refused", |_| refused_write(Path::new("/var/tmp"))),
    row("write in /etc: refused", |_| refused_write(Path::new("/etc"))),
    row("write in /dev/shm: refused", |_| refused_write(Path::new("/dev/shm"))),
    Row {
        what: "signal the parent: refused",
        run: |_| refused_signal(),
        is_due: |rights| rights.signals == Signals::Itself,
    },
    row("write in a directory of its own: works", |rights| {
        rights.writable.iter().try_for_each(|directory| works(write_in(directory)))
    }),
    row("look up localhost: works", |_| works(("localhost", 0).to_socket_addrs().map(drop))),
    row("open a UDP socket: works", |_| works(UdpSocket::bind("127.0.0.1:0").map(drop))),
    row("open a local socket: works", |_| works(UnixDatagram::unbound().map(drop))),
    row("read /etc/hosts: works", |_| works(fs::read("/etc/hosts").map(drop))),
];

fn works(outcome: io::Result<()>) -> Result<(), String> {
    outcome.map_err(|error| error.to_string())
}

/// Refused with this error, which the kernel itself would not give for such arguments.
fn refused_with(outcome: Result<(), Errno>, expected: Errno) -> Result<(), String> {
    match outcome {
        Err(error) if error == expected => Ok(()),
        Err(error) => Err(format!("not refused, but the kernel says: {error}")),
        Ok(()) => Err("it was done".to_owned()),
    }
}

fn refused_call(number: i64) -> Result<(), String> {
    // SAFETY: no call that is attempted this way does anything with these arguments: a null pointer, a process or
    // descriptor -1 that does not exist, a user that stays the same (-1).
    let result = unsafe { libc::syscall(number, -1_i64, -1_i64, -1_i64, -1_i64, -1_i64, -1_i64) };
    refused_with(Errno::result(result).map(drop), Errno::EPERM)
}

fn refused_fork() -> Result<(), String> {
    // SAFETY: should there be a child after all, it leaves at once and runs nothing else.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD as i64, 0_i64, 0_i64, 0_i64, 0_i64) } {
        0 => exit_now(0),
        result => refused_with(Errno::result(result).map(drop), Errno::EPERM),
    }
}

fn refused_socket(domain: Domain, kind: Type) -> Result<(), String> {
    let outcome = Socket::new(domain, kind, None).map(drop);
    refused_with(outcome.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0))), Errno::EPERM)
}

fn refused_open(path: &Path) -> Result<(), String> {
    match File::open(path) {
        Err(_) => Ok(()),
        Ok(_) => Err("it was opened".to_owned()),
    }
}

fn refused_write(directory: &Path) -> Result<(), String> {
    match write_in(directory) {
        Err(_) => Ok(()),
        Ok(()) => Err("a file was made there".to_owned()),
    }
}

/// Makes a file and takes it away again.
fn write_in(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".sworker-escape-{}", ProcessId::own()));
    File::options().write(true).create_new(true).open(&path)?;
    fs::remove_file(path)
}

fn refused_signal() -> Result<(), String> {
    let parent = nix::unistd::getppid();
    refused_with(nix::sys::signal::kill(parent, None), Errno::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_sandbox_attempts_tell_that_nothing_was_refused() {
        let rights = Rights { writable: &[], signals: Signals::Itself };
        let failed: Vec<_> = attempts(&rights)
            .filter(|attempt| attempt.run().is_err())
            .map(|attempt| attempt.what())
            .collect();
        for what in [
            "execve: refused",
            "fork: refused",
            "ptrace: refused",
            "read /etc/passwd: refused",
            "read /proc/self/status: refused",
            "list /: refused",
            "write in /tmp: refused",
        ] {
            assert!(failed.contains(&what), "{what} was refused without a sandbox; failed: {failed:?}");
        }
        for what in failed {
            assert!(what.ends_with(": refused"), "{what} must work here");
        }
    }

    #[test]
    fn signals_are_tried_only_where_they_are_to_be_refused() {
        let count = |signals| attempts(&Rights { writable: &[], signals }).count();
        assert_eq!(count(Signals::Itself), count(Signals::Anybody) + 1);
    }
}
