//! Another program for a running server: it takes over the sockets, and nothing is lost.

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::scripts::answered_by_workers;
use crate::support::{
    Folder, Load, Message, Request, SOON, Server, Tool, apart, daemon_path, processes, top_path, wait_for,
    wait_until,
};

/// The master that the pid file names.
fn named_master(server: &Server) -> i32 {
    server.folder().read("server.pid").trim().parse().unwrap_or_default()
}

#[test]
fn upgrades_under_load_lose_nothing() {
    let mut server = Server::start(&answered_by_workers(2, 2, 1024));
    let masters = Cell::new(vec![server.master()]);
    let next_at = Cell::new(500);
    let load = Load::new("upgrade", 200_000).window(64).patience(Duration::from_secs(3));
    let tally = load.run_while(&server.caller(), |tally| {
        let mut known = masters.take();
        let current = *known.last().expect("there is always one");
        let named = named_master(&server);
        let is_ready = server.log_count("sworkerd: ready") > known.len();
        if tally.answered >= next_at.get() && named == current && known.len() <= 5 {
            processes::send_signal(current, Signal::SIGUSR2);
            next_at.set(usize::MAX);
        } else if named != current && named != 0 && is_ready && !processes::is_alive(current) {
            known.push(named);
            next_at.set(tally.answered + 500);
        }
        let is_done = known.len() > 5 && tally.answered >= next_at.get();
        masters.set(known);
        if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let masters = masters.take();
    tally.assert_nothing_lost();
    assert_eq!((tally.duplicates, masters.len()), (0, 6), "{}", server.log());
    assert_eq!(server.wait_for_exit(SOON), Some(0), "the first one has left in order");

    let last = masters[5];
    assert_eq!(server.ask_control(&["core.generation"])["generation"], 5);
    end(last);
    assert!(!server.folder().file("server.pid").exists(), "the pid file is left");
    assert!(!server.folder().file("run/sworker.sock").exists(), "the control socket is left");
    eprintln!("{} answered over 5 upgrades, longest gap {:?}", tally.answered, tally.gap_max);
}

#[test]
fn counters_go_on_over_programs() {
    let mut server = Server::start(&answered_by_workers(1, 1, 64));
    Load::new("before", 300).run(&server.caller()).assert_nothing_lost();
    let counted =
        |server: &Server| (server.counter("sworker.delegated"), server.group("calls")["processed"].as_u64());
    wait_until("all of it is booked", SOON, || counted(&server) == (300, Some(300)));
    server.signal(Signal::SIGUSR2);
    assert_eq!(server.wait_for_exit(SOON), Some(0));
    let successor = named_master(&server);
    wait_until("it knows what was counted", SOON, || counted(&server) == (300, Some(300)));
    Load::new("after", 200).run(&server.caller()).assert_nothing_lost();
    wait_until("it goes on", SOON, || counted(&server) == (500, Some(500)));
    end(successor);
}

/// One group whose workers count in `$shv(count)` and tell the sum; `more` stands before it.
fn counting(more: &str) -> String {
    let count = "$var(sum) = $shvinc(count);\n        sl_send_reply(\"200\", \"sum $var(sum)\");";
    let script = answered_by_workers(2, 2, 1024).replace("sl_send_reply(\"200\", \"worker $pp\");", count);
    assert!(script.contains(count), "{script}");
    script.replace("request_route {", &format!("{more}\nrequest_route {{"))
}

/// The sum that a worker tells, after it has added one.
fn sum(server: &Server, call: &str) -> i64 {
    let reply = server.caller().ask(&Request::new("OPTIONS", call));
    assert_eq!(reply.status(), 200);
    sum_of(&reply)
}

fn sum_of(reply: &Message) -> i64 {
    let reason = &reply.start;
    reason
        .strip_prefix("SIP/2.0 200 sum ")
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{reason:?}"))
}

#[test]
fn shared_values_go_on_over_programs_and_scripts_under_their_names() {
    let mut server = Server::on(&counting("modparam(\"pv\", \"shvset\", \"count=i:10\")")).start();
    assert_eq!([1, 2, 3].map(|call| sum(&server, &format!("{call}.before"))), [11, 12, 13]);
    // The next script has other names before this one, and begins with another value.
    let next = "modparam(\"pv\", \"shvset\", \"first=i:1\")\nmodparam(\"pv\", \"shvset\", \"count=i:500\")\n\
                route[X] { $shv(second) = $shv(first); }";
    replace_script(&server, &counting(next));
    server.signal(Signal::SIGUSR2);
    assert_eq!(server.wait_for_exit(SOON), Some(0), "{}", server.log());
    let mut successor = named_master(&server);
    assert_eq!([4, 5].map(|call| sum(&server, &format!("{call}.after"))), [14, 15]);
    let log = server.log();
    assert!(!log.contains("begins anew") && !log.contains("copied to larger memory"), "{log}");

    // A reload goes on as well, and so does what comes after a third program, in a copy where many names are new.
    server.ask_control(&["core.reload"]);
    assert_eq!(sum(&server, "reloaded"), 16);
    let names: String = (0..100).map(|index| format!("$shv(name{index}) = 1; ")).collect();
    replace_script(&server, &counting(&format!("route[X] {{ {names} }}")));
    processes::send_signal(successor, Signal::SIGUSR2);
    wait_until("the third program serves", SOON, || {
        let named = named_master(&server);
        named != successor && named != 0 && !processes::is_alive(successor)
    });
    successor = named_master(&server);
    assert_eq!(sum(&server, "third"), 17);
    assert!(server.log().contains("copied to larger memory"), "{}", server.log());
    end(successor);
}

#[test]
fn two_programs_write_the_same_shared_values_side_by_side() {
    let mut server = Server::start(&counting(""));
    let workers = [1, 2].map(|index| server.worker("calls", index));
    workers.into_iter().for_each(processes::freeze);
    let caller = server.caller();
    (0..20).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("{index}.held")))));
    wait_until("all are accepted", SOON, || server.counter("sworker.delegated") == 20);
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("serves: finishing accepted messages");
    let successor = named_master(&server);
    // Until then what is new may be accepted by the one that leaves.
    wait_until("the receivers of the former program are gone", SOON, || {
        !processes::children(server.master())
            .into_iter()
            .any(|pid| processes::title(pid).contains("receiver"))
    });
    let mut sums: Vec<i64> = (0..10).map(|index| sum(&server, &format!("{index}.new"))).collect();
    assert_eq!(sums, (1..=10).collect::<Vec<_>>());
    workers.into_iter().for_each(processes::thaw);
    sums.extend((0..20).map(|_| sum_of(&caller.receive())));
    sums.sort_unstable();
    assert_eq!(sums, (1..=30).collect::<Vec<_>>(), "each message has a number of its own");
    assert_eq!(server.wait_for_exit(SOON), Some(0));
    assert_eq!(sum(&server, "after"), 31);
    end(successor);
}

/// Puts an executable file in the place of the server's program.
fn replace_program(server: &Server, text: &str) {
    let new = server.folder().write("sworkerd.new", text);
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("a file can be made executable");
    fs::rename(new, server.folder().file("sworkerd")).expect("a file can be renamed");
}

/// As editors do it.
fn replace_script(server: &Server, text: &str) {
    let new = server.folder().write("server.cfg.new", text);
    fs::rename(new, server.folder().file("server.cfg")).expect("a file can be renamed");
}

/// All by which others find a server leads to this one, and nothing of another one lies about.
#[track_caller]
fn assert_has_all_names(server: &Server, master: i32) {
    assert_eq!(named_master(server), master);
    let rows = server.ask_control(&["core.psx"]);
    assert!(rows.as_array().is_some_and(|rows| rows.iter().any(|row| row["PID"] == master)), "{rows}");
    let figures = Tool::start(server.folder(), "top", top_path(), &["-1", "-Y", "run"]).finish(SOON);
    let first = figures.output.lines().next().unwrap_or_default();
    assert!(first.starts_with(&format!("sworker, master {master}, statistics of")), "{}", figures.output);
    let left = |folder: &Path, start: &str| {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.find(|name| name.starts_with(start))
    };
    assert_eq!(left(server.folder().path(), "server.pid."), None);
    let run = server.folder().file("run").canonicalize().unwrap();
    let instance = sworker::config::instance::name(&run);
    assert_eq!(left(Path::new("/dev/shm"), &format!("sworker-prepared.{instance}")), None);
}

#[test]
fn a_program_that_does_not_come_up_changes_nothing() {
    let script = answered_by_workers(1, 1, 64);
    let server = Server::on(&script).of_its_own_program().start();
    let children = server.children_titled("worker ");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mistaken = || replace_script(&server, "nonsense");
    let in_the_way = || replace_script(&server, &format!("{script}listen=udp:{address}\n"));
    let exits = || replace_program(&server, "#!/bin/sh\nexit 3\n");
    let is_killed = || replace_program(&server, "#!/bin/sh\nkill -9 $$\n");
    let is_no_program = || {
        let new = server.folder().write("sworkerd.new", "nothing to execute");
        fs::rename(new, server.folder().file("sworkerd")).unwrap();
    };
    let is_not_there = || fs::remove_file(server.folder().file("sworkerd")).unwrap();
    let too_few_files = || {
        replace_script(&server, &script);
        let daemon = daemon_path();
        replace_program(&server, &format!("#!/bin/sh\nulimit -n 16\nexec {} \"$@\"\n", daemon.display()));
    };
    let rows: [(&dyn Fn(), &str); 7] = [
        (&mistaken, "server.cfg:1:1: error:"),
        (&in_the_way, "address in use (exit status 255)"),
        (&exits, "no reason given (exit status 3)"),
        (&is_killed, "no reason given (SIGKILL)"),
        (&is_no_program, "could not execute the new program: Permission denied"),
        (&is_not_there, "could not execute the new program: No such file"),
        (&too_few_files, "Too many open files"),
    ];
    for (count, (prepare, reason)) in (1..).zip(rows) {
        prepare();
        server.signal(Signal::SIGUSR2);
        wait_until(reason, SOON, || server.log_count("this program continues: ") == count);
        let log = server.log();
        let told = log.rsplit("this program continues: ").next().unwrap_or_default();
        assert!(told.contains(reason), "{reason:?} is not in {told}");
        assert_eq!(server.caller().ask(&Request::new("OPTIONS", &format!("{count}.after"))).status(), 200);
        assert_eq!(server.children_titled("worker "), children);
        assert_has_all_names(&server, server.master());
    }
}

/// The next program stops the one that runs and then becomes the daemon: it comes up and is not answered.
const STOPS_ITS_PREDECESSOR: &str = "kill -STOP $PPID";

fn replace_by_daemon_after(server: &Server, words: &str) {
    let daemon = daemon_path();
    replace_program(server, &format!("#!/bin/sh\n{words}\nexec {} \"$@\"\n", daemon.display()));
}

/// The new program, when its receivers are there.
fn successor(server: &Server) -> Option<i32> {
    let masters = server.children_titled("master");
    let is_up = |pid: &i32| {
        processes::children(*pid).into_iter().any(|child| processes::title(child).contains("receiver"))
    };
    masters.into_iter().find(is_up)
}

#[test]
fn what_a_successor_accepted_is_finished_when_it_has_to_leave() {
    let server = Server::on(&answered_by_workers(2, 2, 1024)).of_its_own_program().start();
    replace_by_daemon_after(&server, STOPS_ITS_PREDECESSOR);
    let stage = Cell::new((0, 300));
    let load = Load::new("given-up", 200_000).window(64).patience(Duration::from_secs(3));
    let tally = load.run_while(&server.caller(), |tally| {
        let (step, at) = stage.get();
        let next = |count: usize| stage.set((step + 1, tally.answered + count));
        match (step, successor(&server)) {
            _ if tally.answered < at => {}
            (0, _) => {
                server.signal(Signal::SIGUSR2);
                next(0);
            }
            (1, Some(_)) => next(1_000),
            (2, Some(successor)) => {
                processes::send_signal(successor, Signal::SIGTERM);
                next(0);
            }
            (3, None) => {
                processes::thaw(server.master());
                next(500);
            }
            (4, _) => return ControlFlow::Break(()),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    tally.assert_nothing_lost();
    assert_eq!((tally.duplicates, stage.get().0), (0, 4));
    server.wait_for_log("this program continues: SIGTERM before this program was ready");
    assert_has_all_names(&server, server.master());
    assert!(server.counter("sworker.delegated") < tally.sent as u64, "the successor took a part of it");
}

#[test]
fn a_successor_takes_the_place_of_a_predecessor_that_dies_meanwhile() {
    let mut server = Server::on(&answered_by_workers(1, 1, 64)).of_its_own_program().start();
    replace_by_daemon_after(&server, STOPS_ITS_PREDECESSOR);
    server.signal(Signal::SIGUSR2);
    let successor = wait_for("the successor is up", SOON, || successor(&server));
    assert_eq!(named_master(&server), server.master());
    let receivers = server.children_titled("receiver ");
    server.signal(Signal::SIGKILL);
    assert_eq!(server.wait_for_exit(SOON), None);
    wait_until("the successor is named", SOON, || named_master(&server) == successor);
    // What a receiver of a killed master has in hand is lost with it.
    wait_until("its receivers are gone", SOON, || !receivers.iter().any(|pid| processes::is_alive(*pid)));
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "after")).status(), 200);
    assert_has_all_names(&server, successor);
    end(successor);
    assert!(!server.folder().file("server.pid").exists(), "the pid file is left");
}

#[test]
fn a_successor_whose_predecessor_died_before_it_began_takes_its_place() {
    let mut server = Server::on(&answered_by_workers(1, 1, 64)).of_its_own_program().start();
    let parent = "$(cut -d' ' -f4 /proc/$$/stat)";
    let words = format!("kill -KILL $PPID\nwhile [ \"{parent}\" = \"$PPID\" ]; do :; done");
    replace_by_daemon_after(&server, &words);
    server.signal(Signal::SIGUSR2);
    assert_eq!(server.wait_for_exit(SOON), None);
    wait_until("the successor serves or is gone", SOON, || {
        server.log_count("sworkerd: ready") == 2 || server.log().contains("sworkerd: error")
    });
    let successor = named_master(&server);
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "after")).status(), 200, "{}", server.log());
    assert_has_all_names(&server, successor);
    end(successor);
}

/// A program that says it is ready, is told that everything is its own, and does this instead of taking it.
fn successor_that_does_not_take(words: &str) -> String {
    format!(
        "#!/bin/bash\nline=$(grep -o '\"line\":[0-9]*' /proc/self/fd/$SWORKER_HANDOVER | cut -d: -f2)\n\
         printf '\\x01' >&$line\nread -r -N 1 -u $line\n{words}\n"
    )
}

#[test]
fn a_successor_that_does_not_take_what_it_is_given_leaves_everything_as_it_was() {
    let mut server = Server::on(&answered_by_workers(1, 1, 64)).of_its_own_program().start();
    let children = server.children_titled("worker ");
    let takes_a_name = "echo $$ > server.pid\nkill -9 $$";
    let rows = [
        ("kill -9 $$", "no reason given (SIGKILL)"),
        ("exit 0", "no reason given (exit status 0)"),
        ("printf 'not now' >&$line\nexit 255", "not now (exit status 255)"),
        (
            "kill -TERM $PPID\nkill -HUP $PPID\necho $$ > server.pid\nexit 1",
            "no reason given (exit status 1)",
        ),
    ];
    let rows = [rows[0], (takes_a_name, rows[0].1), rows[1], rows[2], rows[3]];
    let last = rows.len();
    for (count, (words, reason)) in (1..).zip(rows) {
        replace_program(&server, &successor_that_does_not_take(words));
        server.signal(Signal::SIGUSR2);
        wait_until(reason, SOON, || server.log_count("this program continues: ") == count);
        let log = server.log();
        let told = log.rsplit("this program continues: ").next().unwrap_or_default();
        assert!(told.contains(reason), "{reason:?} is not in {told}");
        if count < last {
            assert_eq!(
                server.caller().ask(&Request::new("OPTIONS", &format!("{count}.after"))).status(),
                200
            );
            assert_eq!(server.children_titled("worker "), children);
            assert_has_all_names(&server, server.master());
        }
    }
    // The last one asked for a stop, which had to wait until it was clear who serves.
    assert_eq!(server.wait_for_exit(SOON), Some(0), "{}", server.log());
    assert!(!server.folder().file("server.pid").exists(), "the pid file is left");
}

#[test]
fn a_successor_that_dies_leaves_nothing_about() {
    let server = Server::on(&answered_by_workers(1, 1, 64)).of_its_own_program().start();
    replace_by_daemon_after(&server, STOPS_ITS_PREDECESSOR);
    server.signal(Signal::SIGUSR2);
    let successor = wait_for("the successor is up", SOON, || successor(&server));
    processes::send_signal(successor, Signal::SIGKILL);
    processes::thaw(server.master());
    server.wait_for_log("this program continues: no reason given (SIGKILL)");
    assert_has_all_names(&server, server.master());
}

#[test]
fn a_request_for_another_script_is_not_lost_between_two_programs() {
    for (words, signals) in [
        ("kill -HUP $PPID", &[Signal::SIGUSR2][..]),
        ("", &[Signal::SIGHUP, Signal::SIGUSR2]),
        ("", &[Signal::SIGUSR2, Signal::SIGHUP]),
    ] {
        let mut server = Server::on(&answered_by_workers(1, 1, 64)).of_its_own_program().start();
        replace_by_daemon_after(&server, words);
        signals.iter().for_each(|signal| server.signal(*signal));
        assert_eq!(server.wait_for_exit(SOON), Some(0), "{}", server.log());
        let successor = named_master(&server);
        wait_until("it has another generation", SOON, || {
            server.ask_control(&["core.generation"])["generation"] == 2
        });
        end(successor);
    }
}

#[test]
fn a_program_that_is_asked_to_stop_while_it_leaves_finishes_what_it_accepted() {
    let mut server = Server::start(&answered_by_workers(1, 1, 64));
    let worker = server.worker("calls", 1);
    processes::freeze(worker);
    let caller = server.caller();
    (0..20).for_each(|index| caller.send(&caller.bytes(&Request::new("OPTIONS", &format!("{index}.held")))));
    wait_until("all are accepted", SOON, || server.counter("sworker.delegated") == 20);
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("serves: finishing accepted messages");
    let successor = named_master(&server);
    server.signal(Signal::SIGTERM);
    server.wait_for_log("SIGTERM: still finishing accepted messages");
    processes::thaw(worker);
    let answers: Vec<u16> = (0..20).map(|_| caller.receive().status()).collect();
    assert_eq!(answers, [200; 20]);
    assert_eq!(server.wait_for_exit(SOON), Some(0));
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "after")).status(), 200);
    end(successor);
}

#[test]
fn a_stop_ends_an_upgrade_that_hangs() {
    let mut server = Server::on(&answered_by_workers(1, 1, 64)).of_its_own_program().start();
    replace_program(&server, "#!/bin/sh\nexec sleep 1000\n");
    server.signal(Signal::SIGUSR2);
    let is_asleep = |pid: &i32| processes::title(*pid) == "sleep 1000";
    let hanging = wait_for("the other program runs", SOON, || {
        processes::children(server.master()).into_iter().find(is_asleep)
    });
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_exit(SOON), Some(0));
    assert!(!processes::is_alive(hanging));
    assert!(!server.folder().file("server.pid").exists(), "the pid file is left");
}

#[test]
fn an_old_hand_over_in_the_environment_is_no_obstacle() {
    let daemon = daemon_path();
    for number in ["0", "2", "7", "9", "999", "-1", "x", ""] {
        let builder = Server::on(&answered_by_workers(1, 1, 64)).environment("SWORKER_HANDOVER", number);
        let line = format!("#!/bin/sh\nexec 7< /etc/passwd 9> pipe\nexec {} \"$@\"\n", daemon.display());
        let path = builder.folder().write("start", line);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let server = builder.program(path).start();
        assert_eq!(server.caller().ask(&Request::new("OPTIONS", "started")).status(), 200);
    }
}

#[test]
fn a_script_that_came_on_standard_input_stays_over_reloads_and_upgrades() {
    let builder = Server::on(&answered_by_workers(1, 1, 64));
    let daemon = daemon_path();
    // The words of the test's own server begin with -DD -E -f server.cfg.
    let line = format!("#!/bin/sh\nshift 4\nexec {} -DD -E -f - \"$@\" < server.cfg\n", daemon.display());
    let path = builder.folder().write("start", line);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut server = builder.program(path).start();
    for round in ["first", "second"] {
        let words = server.ask_control(&["core.reload"]);
        assert!(words.as_str().is_some_and(|words| words.contains("serves after")), "{words}");
        assert_eq!(server.caller().ask(&Request::new("OPTIONS", round)).status(), 200);
    }
    server.signal(Signal::SIGUSR2);
    assert_eq!(server.wait_for_exit(SOON), Some(0));
    let successor = named_master(&server);
    assert_ne!(successor, server.master(), "who leaves knows that its successor has the names");
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "third")).status(), 200);
    end(successor);
}

/// For another user to reach, with its pid file in a directory where it may make none.
fn server_of_nobody(arguments: &[&str]) -> Server {
    let builder = Server::on(&answered_by_workers(1, 1, 64)).of_its_own_program();
    fs::set_permissions(builder.folder().path(), fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = [&["-u", "nobody"], arguments].concat();
    arguments.iter().fold(builder, |builder, argument| builder.argument(argument)).start()
}

#[test]
fn another_user_takes_over_from_itself() {
    if !apart::is_root() {
        return eprintln!("skipped: only root can switch to another user");
    }
    let mut server = server_of_nobody(&[]);
    server.signal(Signal::SIGUSR2);
    assert_eq!(server.wait_for_exit(SOON), Some(0), "{}", server.log());
    let successor = named_master(&server);
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "after")).status(), 200);
    assert_has_all_names(&server, successor);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("the system has it").uid.as_raw();
    assert_eq!(fs::metadata(format!("/proc/{successor}")).unwrap().uid(), nobody);
    end(successor);
    // The directory is another user's: the file stays and holds nothing.
    assert_eq!(server.folder().read("server.pid"), "");
}

#[test]
fn a_program_outside_of_the_root_directory_cannot_take_over_and_nothing_changes() {
    if !apart::is_root() {
        return eprintln!("skipped: only root can have another root directory");
    }
    let root = Folder::new();
    let server = server_of_nobody(&["--no-sandbox", "-t", root.path().to_str().unwrap()]);
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("this program continues: could not execute the new program: No such file");
    assert_eq!(named_master(&server), server.master());
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "after")).status(), 200);
}

/// What is killed in the middle of upgrades, one after the other: the successor, or the program before it; so many
/// milliseconds after the successor began; whether SIGHUPs come meanwhile.
const KILLS: [(bool, u64, bool); 12] = [
    (true, 0, false),
    (false, 0, false),
    (true, 5, true),
    (false, 5, true),
    (true, 10, false),
    (false, 10, false),
    (true, 20, true),
    (false, 20, true),
    (true, 30, false),
    (false, 30, false),
    (true, 50, true),
    (false, 50, true),
];

/// A storm of upgrades as it goes on under load.
struct Storm<'s> {
    server: &'s Server,
    master: i32,
    round: usize,
    stage: ScriptHarness,
}

/// How far a round is.
#[derive(Clone, Copy)]
enum ScriptHarness {
    Calm,
    Asked,
    Begun { successor: i32, at: Instant },
    Killed { victim: i32, next: i32 },
}

impl Storm<'_> {
    /// The successor of this round, as the log tells it.
    fn successor(&self) -> Option<i32> {
        let log = self.server.log();
        let line = log
            .lines()
            .filter(|line| line.contains("SIGUSR2: started the new program as process "))
            .nth(self.round)?;
        line.rsplit("process ").next()?.split(' ').next()?.parse().ok()
    }

    /// Kills one of both; who was killed, and who serves then. A successor that is the only one left is not killed: that
    /// would be the end of the server, as it is at any time.
    fn kill(&self, is_successor: bool, successor: i32) -> (i32, i32) {
        processes::send_signal(self.master, Signal::SIGSTOP);
        // One that has left is gone by now.
        let is_moving = || matches!(processes::state(self.master), Some('R' | 'S' | 'D'));
        wait_until("it stands still", SOON, || !is_moving());
        let is_left_to = self.server.log().contains(&format!("process {successor}) serves"));
        let (victim, next) =
            if is_successor && !is_left_to { (successor, self.master) } else { (self.master, successor) };
        processes::send_signal(victim, Signal::SIGKILL);
        processes::thaw(self.master);
        (victim, next)
    }

    fn go_on(&mut self) -> ControlFlow<()> {
        let Some((is_successor, after_ms, has_hangups)) = KILLS.get(self.round).copied() else {
            return ControlFlow::Break(());
        };
        match self.stage {
            ScriptHarness::Calm => {
                processes::send_signal(self.master, Signal::SIGUSR2);
                self.stage = ScriptHarness::Asked;
            }
            ScriptHarness::Asked => {
                if let Some(successor) = self.successor() {
                    self.stage = ScriptHarness::Begun { successor, at: Instant::now() };
                }
            }
            ScriptHarness::Begun { successor, at } => {
                if has_hangups {
                    processes::send_signal(self.master, Signal::SIGHUP);
                }
                if at.elapsed() >= Duration::from_millis(after_ms) {
                    let (victim, next) = self.kill(is_successor, successor);
                    self.stage = ScriptHarness::Killed { victim, next };
                }
            }
            ScriptHarness::Killed { victim, next } => {
                if !processes::is_alive(victim) && named_master(self.server) == next {
                    (self.master, self.stage) = (next, ScriptHarness::Calm);
                    self.round += 1;
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// So many messages may be in the hands of processes that die with a master that is killed.
const IN_HAND_MAX: usize = 64;

#[test]
fn whoever_is_killed_in_an_upgrade_somebody_serves() {
    let mut server = Server::start(&counting(""));
    let mut storm = Storm { server: &server, master: server.master(), round: 0, stage: ScriptHarness::Calm };
    let load = Load::new("storm", 30_000).rate(1_000.0);
    let tally = load.run_while(&server.caller(), |_| storm.go_on());
    let (round, master) = (storm.round, storm.master);
    eprintln!("{round} kills, {} lost of {}, longest gap {:?}", tally.lost.len(), tally.sent, tally.gap_max);
    assert_eq!(round, KILLS.len(), "{}", server.log());
    assert!(tally.lost.len() <= KILLS.len() * IN_HAND_MAX, "{} lost of {}", tally.lost.len(), tally.sent);
    server.wait_for_exit(SOON);
    Load::new("calm", 500).run(&server.caller()).assert_nothing_lost();
    assert_has_all_names(&server, master);
    // Every answer was counted in the shared value first, by whichever program.
    let (counted, answered) = (sum(&server, "counted"), tally.answered as i64 + 501);
    assert!(counted >= answered, "{counted} counted of {answered} answered");
    assert!(counted <= 2 * (tally.sent as i64 + 501), "{counted} counted of {} sent", tally.sent);
    end(master);
}

/// Asks a master that is no child of ours to stop, and waits until nobody of it is left.
#[track_caller]
fn end(master: i32) {
    let everyone = processes::tree(master);
    processes::send_signal(master, Signal::SIGTERM);
    wait_until("it leaves", SOON, || !everyone.iter().any(|pid| processes::is_alive(*pid)));
}
