//! A process gives up, for good, what it does not need: capabilities, kernel calls, files.
//!
//! ```text
//!  capabilities: none ─► no new rights ─► Landlock: few files to read, fewer to write ─► seccomp: refused calls
//! ```
//!
//! **Invariants**
//! - A refused call gets an error (`EPERM`, `EACCES`), never with a signal: a library that tries something it can do
//!   without goes on to work. Looking up names stays possible.
//! - Calls that handle messages are decided by their number alone, which lets the kernel remember the answer and not
//!   run the filter for them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use caps::{CapSet, Capability};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use super::process::is_shortage;

/// What a process keeps.
#[derive(Clone, Copy, Debug)]
pub struct Rights<'a> {
    /// Directories it may write in, besides reading.
    pub writable: &'a [&'a Path],
    /// The processes it may send signals to.
    pub signals: Signals,
}

/// The processes a process may send signals to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// All processes of its own user.
    Anybody,
    /// Itself.
    Itself,
}

/// Gives up everything but `rights`. The caller has one thread.
pub fn enter(rights: &Rights<'_>) -> io::Result<()> {
    drop_capabilities()?;
    super::credentials::forbid_new_rights()?;
    restrict_files(rights)?;
    refuse_calls()
}

/// For the process that supervises the others: of all capabilities only the one to bind ports below 1024 is left, where
/// it was there.
pub fn keep_binding_ports() -> io::Result<()> {
    let held = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    if held.is_empty() {
        return Ok(());
    }
    let kept = held.into_iter().filter(|held| *held == Capability::CAP_NET_BIND_SERVICE).collect();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Whether the kernel can restrict the files a process sees; [`enter`] does without where it cannot.
pub fn can_restrict_files() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create);
    ruleset.map_err(in_kernel_words).map_or_else(|error| is_shortage(&error), |_| true)
}

/// Whether this process holds any capability.
pub fn has_capabilities() -> io::Result<bool> {
    for set in [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable, CapSet::Ambient] {
        if !caps::read(None, set).map_err(io::Error::other)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn drop_capabilities() -> io::Result<()> {
    // Only a process that may change the bounding set has to: others gain nothing by it, as they get no new rights.
    let _ = caps::clear(None, CapSet::Bounding);
    // A service manager may have refused the call that changes them, and taken them away before.
    if !has_capabilities()? {
        return Ok(());
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    Ok(())
}

// Files.

/// Needed to look up names and to tell the time. Whatever is missing is not needed.
const READABLE: &[&str] = &[
    "/dev/null",
    "/dev/urandom",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/lib",
    "/lib64",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/var/run/nscd",
];

/// The newest rules we ask for; older kernels do what they know.
const LANDLOCK: ABI = ABI::V6;

fn restrict_files(rights: &Rights<'_>) -> io::Result<()> {
    let mut shortage = None;
    let mut beneath = |paths: &[&Path], access| beneath(paths, access, &mut shortage);
    let readable: Vec<&Path> = READABLE.iter().map(Path::new).collect();
    let rules = [
        beneath(&readable, AccessFs::from_read(LANDLOCK)),
        beneath(&[Path::new("/dev/null")], AccessFs::from_file(LANDLOCK)),
        beneath(rights.writable, AccessFs::from_all(LANDLOCK)),
    ];
    if let Some(shortage) = shortage.filter(|_| can_restrict_files()) {
        return Err(shortage);
    }
    let status = restrict_to(rules.into_iter().flatten(), rights.signals).map_err(in_kernel_words)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced if !can_restrict_files() => Ok(()),
        RulesetStatus::NotEnforced => Err(io::Error::other("the kernel did not restrict files")),
    }
}

/// A rule for each path that is there. What is there and cannot be opened, because no descriptor is left at this
/// moment, is a `shortage`: a process that began without that rule would be refused the path for its whole life.
fn beneath(
    paths: &[&Path],
    access: BitFlags<AccessFs>,
    shortage: &mut Option<io::Error>,
) -> Vec<PathBeneath<PathFd>> {
    let mut rules = Vec::with_capacity(paths.len());
    for path in paths {
        match PathFd::new(path) {
            Ok(opened) => {
                let access = if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK) };
                rules.push(PathBeneath::new(opened, access));
            }
            Err(PathFdError::OpenCall { source, .. }) if is_shortage(&source) => *shortage = Some(source),
            Err(_) => {}
        }
    }
    rules
}

fn restrict_to(
    rules: impl Iterator<Item = PathBeneath<PathFd>>,
    signals: Signals,
) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(LANDLOCK))?;
    if signals == Signals::Itself {
        ruleset = ruleset.scope(Scope::Signal)?;
    }
    ruleset.create()?.add_rules(rules.map(Ok::<_, RulesetError>))?.restrict_self()
}

/// A shortage stays one.
fn in_kernel_words(error: RulesetError) -> io::Error {
    let cause = io::Error::from_raw_os_error(*landlock::Errno::from(&error));
    if is_shortage(&cause) { cause } else { io::Error::other(error) }
}

// Kernel calls.

/// Calls that handling messages does not need.
///
/// A list of what is refused, not of what is allowed: looking up a name runs whatever `nsswitch.conf` of this machine
/// names, and its libraries make calls that cannot be known here; with an allow list a machine with another one would
/// have no names, or no log. What an intruder would gain by is in the list, and `--self-test` shows it refused.
const REFUSED: &[i64] = &[
    // Other programs and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Another user, another world.
    libc::SYS_capset,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_mknodat,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_personality,
    // Wide doors into the kernel, through which its faults were reached again and again.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_splice,
    libc::SYS_vmsplice,
    libc::SYS_tee,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_fanotify_init,
    libc::SYS_seccomp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Memory, queues and locks that outlive their process and that every process of the user shares.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_vhangup,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
];

/// The older spellings of some of them.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mknod,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// Kinds of socket that are left: local ones, for logs and look-ups, and the internet.
const SOCKET_FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// Calls that type input into a terminal.
const TERMINAL_REQUESTS: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

fn refuse_calls() -> io::Result<()> {
    let program = program().map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).map(|&call| (call, Vec::new())).collect();
    let is_other_family = |family: i32| argument(0, SeccompCmpOp::Ne, family as u64);
    let other_families = SOCKET_FAMILIES.into_iter().map(is_other_family).collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(other_families)?]);
    let requests = TERMINAL_REQUESTS.into_iter();
    let requests = requests.map(|request| SeccompRule::new(vec![argument(1, SeccompCmpOp::Eq, request)?]));
    rules.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?.try_into()?;
    Ok(other_numbering_refused().into_iter().chain(filter).collect())
}

fn argument(
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
}

/// Every call has a second number on x86-64 (the x32 way of calling): refused, whatever it is.
#[cfg(target_arch = "x86_64")]
fn other_numbering_refused() -> BpfProgram {
    const X32_BIT: u32 = 0x4000_0000;
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    vec![
        sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32_BIT },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | libc::EPERM as u32 },
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn other_numbering_refused() -> BpfProgram {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::escape;
    use std::time::{Duration, Instant};

    #[test]
    fn what_handles_messages_is_not_in_the_list() {
        let needed = [
            libc::SYS_recvmmsg,
            libc::SYS_recvmsg,
            libc::SYS_sendmsg,
            libc::SYS_sendto,
            libc::SYS_futex,
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_accept4,
            libc::SYS_ppoll,
            libc::SYS_openat,
            libc::SYS_mmap,
            libc::SYS_getrandom,
        ];
        assert!(needed.iter().all(|call| !REFUSED.contains(call) && !REFUSED_HERE.contains(call)));
    }

    /// The shortest of some measured times of one call that the filter lets through.
    fn call_time() -> Duration {
        const CALLS: u32 = 20_000;
        let measured = (0..7).map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                std::hint::black_box(nix::unistd::getppid());
            }
            start.elapsed() / CALLS
        });
        measured.min().unwrap_or_default()
    }

    #[test]
    fn who_supervises_keeps_one_capability_at_most() {
        let (before, after) = std::thread::spawn(|| {
            let before = caps::read(None, CapSet::Permitted).unwrap();
            keep_binding_ports().unwrap();
            (before, caps::read(None, CapSet::Permitted).unwrap())
        })
        .join()
        .unwrap();
        let could_bind = before.contains(&Capability::CAP_NET_BIND_SERVICE);
        assert_eq!(after.into_iter().collect::<Vec<_>>().len(), usize::from(could_bind));
    }

    #[test]
    fn calls_that_are_let_through_cost_little_more() {
        let (before, after) = std::thread::spawn(|| {
            let before = call_time();
            enter(&Rights { writable: &[], signals: Signals::Anybody }).unwrap();
            (before, call_time())
        })
        .join()
        .unwrap();
        eprintln!("a kernel call took {before:?} before and {after:?} inside");
        // Running the whole list each time would cost more than this.
        assert!(after < before * 2 + Duration::from_nanos(500), "{before:?} became {after:?}");
    }

    /// The sandbox holds for one thread, so a thread of its own is as good as a process.
    #[test]
    fn nothing_escapes_and_what_is_needed_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let writable = [folder.path()];
        let rights = Rights { writable: &writable, signals: Signals::Anybody };
        let attempt_all = || {
            enter(&rights).unwrap();
            escape::attempts(&rights).map(|attempt| (attempt.what(), attempt.run())).collect::<Vec<_>>()
        };
        let outcomes = std::thread::scope(|scope| scope.spawn(attempt_all).join()).unwrap();
        assert!(outcomes.len() > 15);
        for (what, outcome) in outcomes {
            // Whether a dump may be written is said for the whole process, which runs all tests.
            let is_of_process = what == escape::DUMP;
            assert!(outcome.is_ok() || is_of_process, "{what}: {outcome:?}");
        }
    }
}
