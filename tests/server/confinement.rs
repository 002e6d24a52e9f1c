//! What children may not do, seen from outside, and the server's own proof from inside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::scripts::two_groups;
use crate::support::{Folder, Load, Request, SOON, Server, Tool, daemon_path, processes, sworkerd};

/// One line of `/proc/PID/status`.
#[track_caller]
fn status(pid: i32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_string()
}

#[track_caller]
fn assert_confined(server: &Server) {
    let children = server.children();
    assert!(children.len() > 3);
    const BIND_PORTS_BELOW_1024: u64 = 1 << 10;
    let of_master = u64::from_str_radix(&status(server.master(), "CapEff"), 16).unwrap();
    assert_eq!(of_master & !BIND_PORTS_BELOW_1024, 0, "capabilities of the master: {of_master:#x}");
    for (pid, title) in children {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(pid, set), "0000000000000000", "{set} of {title}");
        }
        assert_eq!((status(pid, "NoNewPrivs"), status(pid, "Seccomp")), ("1".into(), "2".into()), "{title}");
        assert_memory_stays_here(pid, &title);
    }
}

/// No core file may be written, and one that is written all the same holds nothing of the memory that all share.
#[track_caller]
fn assert_memory_stays_here(pid: i32, title: &str) {
    let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
    let limits = of("limits").expect("the process is there");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{title}: {core}");
    // Who cannot be dumped shows its memory to root alone.
    let Ok(areas) = of("smaps") else {
        assert!(!nix::unistd::geteuid().is_root(), "{title} has no smaps");
        return;
    };
    let (mut area, mut shared) = ("", 0);
    for line in areas.lines() {
        match line.strip_prefix("VmFlags:") {
            Some(flags) if area.contains("/memfd:sworker") => {
                shared += 1;
                assert!(flags.split_whitespace().any(|flag| flag == "dd"), "{title}: {area}: {flags}");
            }
            Some(_) => {}
            None if line.contains('-')
                && line.split(' ').next().is_some_and(|first| !first.ends_with(':')) =>
            {
                area = line;
            }
            None => {}
        }
    }
    assert!(shared > 0, "{title} shares no memory");
}

#[test]
fn every_child_is_confined_and_so_is_its_successor() {
    let server = Server::start(&two_groups(2, 2, 64));
    assert_confined(&server);
    let victim = server.worker("calls", 1);
    processes::send_signal(victim, nix::sys::signal::Signal::SIGKILL);
    crate::support::wait_until("there is a successor", SOON, || {
        server.children_titled("worker calls/1").iter().any(|pid| *pid != victim)
            && server.log_count("sworkerd: ready") > 0
            && server.children_titled("worker calls/1").iter().all(|pid| status(*pid, "Seccomp") == "2")
    });
    let load = Load::new("confined", 400).request(|name| Request::new("INVITE", name));
    load.run(&server.caller()).assert_nothing_lost();
    assert_confined(&server);
}

#[test]
fn a_switch_turns_it_off() {
    let server = Server::on(&two_groups(1, 1, 64)).argument("--no-sandbox").start();
    for (pid, title) in server.children() {
        assert_eq!(status(pid, "Seccomp"), "0", "{title}");
    }
    server.wait_for_log("children are not confined");
    assert_eq!(server.caller().ask(&Request::new("INVITE", "free")).status(), 200);
}

#[track_caller]
fn assert_proven(code: Option<i32>, output: &str) {
    assert_eq!(code, Some(0), "{output}");
    for role in ["receiver", "worker", "timer", "control"] {
        let lines = output.lines().filter(|line| line.starts_with(&format!("{role}: ")));
        let (good, all) =
            lines.fold((0, 0), |(good, all), line| (good + usize::from(line.ends_with(": ok")), all + 1));
        assert!(all > 20 && good == all, "{role}: {good} of {all}\n{output}");
    }
    for what in [
        "execve: refused",
        "ptrace: refused",
        "socket AF_PACKET: refused",
        "read /etc/passwd: refused",
        "read /etc/shadow: refused",
        "write in /tmp: refused",
        "leave memory in a core dump: refused",
        "leave shared memory in a core dump: refused",
    ] {
        assert_eq!(output.matches(&format!("{what}: ok")).count(), 4, "{what}\n{output}");
    }
}

#[test]
fn the_server_proves_from_inside_that_nothing_escapes() {
    let finished = sworkerd(&[], &["--self-test", "-Y", "run"]);
    assert_proven(finished.code, &finished.output);
}

#[test]
fn another_user_serves_and_is_confined_too() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can switch to another user");
        return;
    }
    // Another user must be able to reach the run directory.
    let place = Folder::new();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = place.file("run").to_string_lossy().into_owned();

    let arguments = ["--self-test", "-u", "nobody", "-g", "daemon", "-Y", &run];
    let finished = Tool::start(&place, "self-test", daemon_path(), &arguments).finish(SOON);
    assert_proven(finished.code, &finished.output);

    let server = ["-u", "nobody", "-g", "daemon", "-Y", &run]
        .into_iter()
        .fold(Server::on(&two_groups(1, 1, 64)), |s, a| s.argument(a));
    let server = server.start();
    assert_confined(&server);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("the system has it").uid.to_string();
    let daemon = nix::unistd::Group::from_name("daemon").unwrap().expect("the system has it").gid.to_string();
    for (pid, title) in server.children() {
        for (line, expected) in [("Uid", &nobody), ("Gid", &daemon)] {
            let found = status(pid, line);
            assert!(found.split_whitespace().all(|one| one == expected), "{title}: {line} {found}");
        }
        // The kernel gives the files of who cannot be dumped to root, whoever the process is.
        let owner = fs::metadata(format!("/proc/{pid}/status")).expect("the process is there").uid();
        assert_eq!(owner, 0, "{title} can be dumped");
        let groups = status(pid, "Groups");
        assert!(!groups.split_whitespace().any(|group| group == "0"), "{title} is in groups {groups}");
    }
    assert_eq!(server.caller().ask(&Request::new("INVITE", "nobody")).status(), 200);
}
