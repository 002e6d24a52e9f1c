//! When the system refuses what a server needs: nothing stops, it is counted, and it is over when the reason is.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::scripts::{HEAD, answered_by_workers};
use crate::support::{
    Caller, Folder, Load, Request, SOON, Server, Tool, control_path, daemon_path, processes, wait_for,
    wait_until,
};

/// Sets a limit of a running process, as `prlimit` takes it.
#[track_caller]
fn limit(folder: &Folder, pid: i32, limit: &str) {
    let finished =
        Tool::start(folder, "prlimit", "prlimit", &["--pid", &pid.to_string(), limit]).finish(SOON);
    assert_eq!(finished.code, Some(0), "{}", finished.output);
}

/// The same for a server that runs as nobody: where root may not do everything, only nobody may do it.
#[track_caller]
fn limit_of_nobody(server: &Server, limit: &str) {
    let master = server.master().to_string();
    let words = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "prlimit", "--pid", &master, limit];
    let finished = Tool::start(server.folder(), "setpriv", "setpriv", &words).finish(SOON);
    assert_eq!(finished.code, Some(0), "{}", finished.output);
}

/// A server whose log goes where the test says.
struct Logging {
    folder: Folder,
    child: Child,
}

impl Logging {
    #[track_caller]
    fn into(script: &str, log: impl Into<Stdio>) -> Logging {
        let folder = Folder::new();
        folder.write("server.cfg", script);
        let child = Command::new(daemon_path())
            .args(["-DD", "-E", "-ddd", "-f", "server.cfg", "-w", ".", "-Y", "run", "-l", "udp:127.0.0.1:0"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(File::create(folder.file("report")).expect("a file can be made"))
            .stderr(log)
            .spawn()
            .expect("the server can be started");
        let logging = Logging { folder, child };
        wait_until("it answers", SOON, || logging.ask(&["core.version"]).is_some());
        logging
    }

    fn ask(&self, command: &[&str]) -> Option<serde_json::Value> {
        let words = [&["-Y", "run"], command].concat();
        let finished = Tool::start(&self.folder, "sworkerctl", control_path(), &words).finish(SOON);
        (finished.code == Some(0)).then(|| serde_json::from_str(&finished.output).expect("an answer is JSON"))
    }

    fn caller(&self) -> Caller {
        wait_for("it says where it listens", SOON, || {
            let report = self.folder.read("report");
            let address = report.lines().find_map(|line| line.trim().strip_prefix("udp: "))?;
            Some(Caller::new(address.parse().expect("an address")))
        })
    }

    fn counter(&self, name: &str) -> u64 {
        self.ask(&["stats.fetch", name]).and_then(|values| values[name].as_u64()).unwrap_or_default()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        processes::send_signal(self.child.id() as i32, Signal::SIGTERM);
        let status = self.child.wait();
        if !std::thread::panicking() {
            assert!(status.is_ok_and(|status| status.success()), "it ends in order");
        }
    }
}

/// Each message leaves a line of some length in the log.
fn talkative() -> String {
    let text = "x".repeat(500);
    answered_by_workers(1, 2, 1024)
        .replace("request_route {", &format!("request_route {{\n    xinfo(\"{text} $ci\\n\");"))
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    let server = Logging::into(&talkative(), OwnedFd::from(writer));
    Load::new("unread", 3_000).run(&server.caller()).assert_nothing_lost();
    wait_until("lost lines are counted", SOON, || server.counter("core.log_lines_dropped") > 0);
    drop(reader);
    Load::new("closed", 300).run(&server.caller()).assert_nothing_lost();
}

#[test]
fn a_full_disk_under_the_log_holds_up_nobody() {
    let full = File::options().write(true).open("/dev/full").expect("there is a full device");
    let server = Logging::into(&talkative(), full);
    Load::new("full", 1_000).run(&server.caller()).assert_nothing_lost();
    wait_until("lost lines are counted", SOON, || server.counter("core.log_lines_dropped") > 0);
}

#[test]
fn a_message_that_cannot_be_sent_is_counted_and_the_next_one_is_sent() {
    let script =
        format!("{HEAD}reply_to_via=yes\nchildren=1\nrequest_route {{ sl_send_reply(\"200\", \"OK\"); }}\n");
    let server = Server::start(&script);
    let caller = server.caller();
    let request = String::from_utf8(caller.bytes(&Request::new("OPTIONS", "refused"))).expect("text");
    let via = format!("SIP/2.0/UDP {}", caller.address());
    // Nobody may send to everybody without having asked for it: the kernel refuses.
    caller.send(request.replacen(&via, "SIP/2.0/UDP 255.255.255.255:5060", 1).as_bytes());
    wait_until("it is counted", SOON, || server.counter("core.sends_failed") == 1);
    assert_eq!(caller.ask(&Request::new("OPTIONS", "sent")).status(), 200);
}

#[test]
fn without_descriptors_a_reload_is_refused_and_all_goes_on() {
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let open = processes::descriptor_count(server.master());
    limit(server.folder(), server.master(), &format!("--nofile={open}:4096"));
    let refused = server.control(&["core.reload"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.output.to_lowercase().contains("too many open files"), "{refused:?}");
    Load::new("few-descriptors", 500).run(&server.caller()).assert_nothing_lost();

    limit(server.folder(), server.master(), "--nofile=1024:4096");
    assert_eq!(server.control(&["core.reload"]).code, Some(0));
}

#[test]
fn when_nobody_can_be_forked_the_rest_serves_and_the_place_is_filled_later() {
    // Root may always fork, so the server is somebody else.
    let server = Server::on(&answered_by_workers(1, 2, 64)).argument("-u").argument("nobody").start();
    limit_of_nobody(&server, "--nproc=1:4096");
    let before = server.worker("calls", 1);
    processes::send_signal(before, Signal::SIGKILL);
    server.wait_for_log("could not fork worker calls/1");
    Load::new("one-less", 500).run(&server.caller()).assert_nothing_lost();

    limit_of_nobody(&server, "--nproc=4096:4096");
    assert_ne!(server.worker("calls", 1), before);
}
