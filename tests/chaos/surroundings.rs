//! Rows in which the system around the server fails: its log, its clock, the kernel's refusals.

mod refused_calls;
mod refusing;

use std::borrow::Cow;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::scripts::{HEAD, answered_by_workers};
use super::support::{
    Caller, Folder, Load, Logging, MovedClock, Request, SOON, Server, Tool, apart, processes, wait_until,
};
use super::{Beat, Dice, Finding, Row, milliseconds, no_longer_than};

pub const ROWS: &[Row] = &[
    Row {
        id: "R19",
        what: "nobody reads the log; its disk is full; its file deleted; syslog gone and back; 2,000 messages a second",
        target: "0 lost, what is dropped is counted, syslog is found again within 1.5 s",
        peer: "84 % lost when nobody reads stderr",
        measure: logs,
    },
    Row {
        id: "R20",
        what: "the clock jumps by an hour, a day and a year, forwards and backwards, 1,000 messages a second",
        target: "0 lost, nobody ended by a deadline, nothing too old",
        peer: "not measured",
        measure: clock,
    },
    Row {
        id: "R21",
        what: "no process, descriptor, file or buffer, no memory for a child, sending forbidden, the line too slow",
        target: "no crash, counted, 0 others lost, recovers within 1 s",
        peer: "not measured; any child's end is the end of the server",
        measure: refusals,
    },
];

/// Each message leaves a line of some length in the log.
fn talkative() -> String {
    let text = "x".repeat(500);
    answered_by_workers(1, 2, 4096)
        .replace("request_route {", &format!("request_route {{\n    xinfo(\"{text} $ci\\n\");"))
}

fn load(name: &str, messages: usize) -> Load {
    Load::new(name, messages).rate(2_000.0)
}

fn logs(_: &mut Dice) -> Finding {
    let stalled = {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        let server = Logging::into(&talkative(), OwnedFd::from(writer));
        let tally = load("r19-stalled", 4_000).run(&server.caller());
        let dropped = dropped_lines(|| server.counter("core.log_lines_dropped"));
        drop(reader);
        let closed = load("r19-closed", 1_000).run(&server.caller());
        (tally.lost.len() + closed.lost.len(), dropped)
    };
    let full = {
        let device = File::options().write(true).open("/dev/full").expect("there is a full device");
        let server = Logging::into(&talkative(), device);
        let tally = load("r19-full", 2_000).run(&server.caller());
        (tally.lost.len(), dropped_lines(|| server.counter("core.log_lines_dropped")))
    };
    let deleted = {
        let folder = Folder::new();
        let file = File::create(folder.file("log")).expect("a file can be made");
        let server = Logging::into(&talkative(), file);
        std::fs::remove_file(folder.file("log")).expect("our own file can be removed");
        load("r19-deleted", 2_000).run(&server.caller()).lost.len()
    };
    let syslog = syslog_gone_and_back();
    let value = format!(
        "stalled {} lost, {} lines dropped; full {} lost, {} dropped; deleted {deleted} lost; syslog gone {} lost, {} \
         dropped, found again after {}",
        stalled.0,
        stalled.1,
        full.0,
        full.1,
        syslog.lost,
        syslog.dropped,
        milliseconds(syslog.found_after)
    );
    let lost = stalled.0 + full.0 + deleted + syslog.lost;
    let is_counted = stalled.1 > 0 && full.1 > 0 && syslog.dropped > 0;
    let is_found_soon = syslog.found_after <= no_longer_than(Duration::from_millis(1_500));
    Finding::new(lost == 0 && is_counted && is_found_soon, value)
}

/// Waits until lines lost are in the counter.
fn dropped_lines(counter: impl Fn() -> u64) -> u64 {
    wait_until("lost lines are counted", SOON, || counter() > 0);
    counter()
}

struct Syslog {
    lost: usize,
    dropped: u64,
    found_after: Duration,
}

fn syslog_gone_and_back() -> Syslog {
    let folder = Folder::new();
    let path = folder.file("syslog");
    let daemon = bind_syslog(&path);
    let engine = format!("--log-engine=syslog:{}", path.display());
    let server = Server::on(&talkative()).argument(&engine).start();
    load("r19-before", 500).run(&server.caller()).assert_nothing_lost();
    drop(daemon);
    std::fs::remove_file(&path).expect("our own socket can be removed");
    let lost = load("r19-gone", 2_000).run(&server.caller()).lost.len();
    let dropped = dropped_lines(|| server.counter("core.log_lines_dropped"));
    let daemon = bind_syslog(&path);
    let back_at = Instant::now();
    let caller = server.caller();
    let mut asked = 0;
    wait_until("a line comes again", SOON, || {
        asked += 1;
        caller.ask(&Request::new("OPTIONS", &format!("back-{asked}")));
        has_line_of(&daemon, "back-")
    });
    Syslog { lost, dropped, found_after: back_at.elapsed() }
}

fn bind_syslog(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("a socket can be bound in a folder of our own");
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a time above zero is taken");
    socket
}

fn has_line_of(daemon: &UnixDatagram, text: &str) -> bool {
    let mut buffer = vec![0; 70_000];
    while let Ok(size) = daemon.recv(&mut buffer) {
        if memchr::memmem::find(&buffer[..size], text.as_bytes()).is_some() {
            return true;
        }
    }
    false
}

/// How far the server's clock is put from ours, one after the other.
const JUMPS: [i64; 6] = [3_600, -3_600, 86_400, -86_400, 31_536_000, 0];

fn clock(_: &mut Dice) -> Finding {
    let script = format!(
        r#"{HEAD}
children=2
async_workers_group="name=calls;workers=2;queue=4096;deadline_ms=2000;max_age_ms=2000"
event_route[core:pre-routing] {{ if (sworker_task("calls")) drop; }}
request_route {{ sl_send_reply("200", "$TS"); }}
"#
    );
    let Some((server, clock)) = MovedClock::start(&script) else {
        return Finding::skipped("libfaketime is not installed (Debian: package faketime)");
    };
    let mut seen = 0;
    let mut beat = Beat::every(Duration::from_millis(700));
    let tally = Load::new("r20", 100_000).rate(1_000.0).run_while(&server.caller(), |_| {
        if !beat.is_due() {
            return ControlFlow::Continue(());
        }
        let Some(seconds) = JUMPS.get(seen) else { return ControlFlow::Break(()) };
        clock.set(*seconds);
        seen += 1;
        ControlFlow::Continue(())
    });
    let group = server.group("calls");
    let value = format!(
        "{} lost of {} over {seen} jumps, {} ended by a deadline, {} too old, longest wait {}",
        tally.lost.len(),
        tally.sent,
        group["deadline_killed"],
        group["expired"],
        milliseconds(tally.latency(1.0))
    );
    let is_met = group["deadline_killed"] == 0 && group["expired"] == 0 && seen == JUMPS.len();
    Finding::new(is_met && tally.lost.is_empty(), value)
}

/// One refusal: how many others were lost meanwhile, whether it was counted or told, how long recovery took.
struct Refusal {
    name: Cow<'static, str>,
    lost: usize,
    is_counted: bool,
    recovered_after: Duration,
}

fn refusals(_: &mut Dice) -> Finding {
    let mut found = vec![no_descriptor(), no_memory()];
    let mut left_out = Vec::new();
    match apart::is_root() {
        true => found.push(no_process()),
        false => left_out.push("LEFT OUT: no process: only root can switch to another user".to_owned()),
    }
    match apart::missing() {
        None => found.extend(apart::run_inside(|| [sending_forbidden(), line_too_slow()])),
        Some(reason) => left_out.push(format!("LEFT OUT: sending forbidden, line too slow: {reason}")),
    }
    match apart::is_root() {
        true => {
            let (played, refused) = refused_calls::refusals();
            found.extend(played);
            left_out.extend(refused.map(|reason| format!("LEFT OUT: no buffer, no file: {reason}")));
        }
        false => left_out.push("LEFT OUT: no buffer, no file: only root can attach to the server".to_owned()),
    }
    let words: Vec<String> = found
        .iter()
        .map(|refusal| {
            let counted = if refusal.is_counted { "counted" } else { "NOT COUNTED" };
            let recovered = milliseconds(refusal.recovered_after);
            format!("{}: {} lost, {counted}, over after {recovered}", refusal.name, refusal.lost)
        })
        .chain(left_out)
        .collect();
    let is_met = found.iter().all(|refusal| {
        refusal.lost == 0
            && refusal.is_counted
            && refusal.recovered_after <= no_longer_than(Duration::from_secs(1))
    });
    Finding::new(is_met, words.join("; "))
}

/// `setpriv … prlimit` for a server that runs as nobody: where root may not do everything, only nobody may do it.
fn limit_of_nobody(server: &Server, limit: &str) {
    let master = server.master().to_string();
    let words = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "prlimit", "--pid", &master, limit];
    let finished = Tool::start(server.folder(), "setpriv", "setpriv", &words).finish(SOON);
    assert_eq!(finished.code, Some(0), "{}", finished.output);
}

fn time_until(what: &str, holds: impl FnMut() -> bool) -> Duration {
    let since = Instant::now();
    wait_until(what, SOON, holds);
    since.elapsed()
}

/// Nobody can be forked: a worker dies and its place stays empty.
fn no_process() -> Refusal {
    let server = Server::on(&answered_by_workers(1, 2, 4096)).argument("-u").argument("nobody").start();
    limit_of_nobody(&server, "--nproc=1:4096");
    processes::send_signal(server.worker("calls", 1), Signal::SIGKILL);
    server.wait_for_log("could not fork worker calls/1");
    let lost = load("r21-process", 2_000).run(&server.caller()).lost.len();
    limit_of_nobody(&server, "--nproc=4096:4096");
    let recovered_after =
        time_until("its place is filled", || server.children_titled("worker calls/").len() == 2);
    Refusal { name: "no process".into(), lost, is_counted: true, recovered_after }
}

/// No file can be opened: a reload is refused with the reason.
fn no_descriptor() -> Refusal {
    let server = Server::start(&answered_by_workers(1, 2, 4096));
    let open = processes::descriptor_count(server.master());
    let limit = |limit: &str| {
        let words = ["--pid", &server.master().to_string(), limit];
        let finished = Tool::start(server.folder(), "prlimit", "prlimit", &words).finish(SOON);
        assert_eq!(finished.code, Some(0), "{}", finished.output);
    };
    limit(&format!("--nofile={open}:4096"));
    let refused = server.control(&["core.reload"]).output.to_lowercase();
    let lost = load("r21-descriptor", 2_000).run(&server.caller()).lost.len();
    limit("--nofile=1024:4096");
    let recovered_after =
        time_until("a reload succeeds", || server.control(&["core.reload"]).code == Some(0));
    Refusal {
        name: "no descriptor".into(),
        lost,
        is_counted: refused.contains("too many open files"),
        recovered_after,
    }
}

/// A worker in a control group without memory is ended by the kernel with its next page; where control groups cannot be
/// made, `kill -9` stands for that.
fn no_memory() -> Refusal {
    let script = answered_by_workers(1, 2, 4096);
    let server = Server::start(&script);
    let victim = server.worker("calls", 1);
    let starved = Starved::start(victim);
    let mut is_killed_by_hand = false;
    let tally = Load::new("r21-memory", 6_000)
        .rate(2_000.0)
        .request(|name| Request::new("OPTIONS", name).body(&"x".repeat(name.len() * 1_000)))
        .run_while(&server.caller(), |tally| {
            if tally.answered > 4_000 && !is_killed_by_hand && processes::is_alive(victim) {
                is_killed_by_hand = true;
                processes::send_signal(victim, Signal::SIGKILL);
            }
            ControlFlow::Continue(())
        });
    let recovered_after =
        time_until("its place is filled", || server.children_titled("worker calls/").len() == 2);
    let is_counted = server.group("calls")["worker_deaths"] == 1;
    let name = match (starved.is_some(), is_killed_by_hand) {
        (true, false) => "no memory",
        _ => "kill -9 in place of no memory",
    };
    Refusal { name: name.into(), lost: tally.lost.len(), is_counted, recovered_after }
}

/// A control group (version 1 or 2) without a byte, with one process in it; gone with the value.
struct Starved {
    directory: PathBuf,
}

impl Starved {
    fn start(pid: i32) -> Option<Starved> {
        let places = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        places.into_iter().find_map(|(root, limit)| {
            let directory = Path::new(root).join(format!("sworker-chaos-{pid}"));
            std::fs::create_dir(&directory).ok()?;
            let starved = Starved { directory };
            let write = |file: &str, text: String| std::fs::write(starved.directory.join(file), text).ok();
            write("cgroup.procs", pid.to_string())?;
            write(limit, "0".into())?;
            Some(starved)
        })
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        // Whose process is not reaped yet cannot be removed; an empty directory there harms nobody.
        let _ = std::fs::remove_dir(&self.directory);
    }
}

/// The kernel refuses to send to one caller (EPERM); others are served.
fn sending_forbidden() -> Refusal {
    let server = Server::start(&answered_by_workers(1, 2, 4096));
    let refused = server.caller();
    apart::forbid_sending_to(refused.address().port());
    (0..100).for_each(|index| refused.send(&refused.bytes(&Request::new("OPTIONS", &format!("no-{index}")))));
    let lost = load("r21-forbidden", 2_000).run(&server.caller()).lost.len();
    wait_until("all are counted", SOON, || server.counter("core.sends_failed") >= 100);
    apart::allow_all();
    let recovered_after = time_until("it is answered", || {
        refused.send(&refused.bytes(&Request::new("OPTIONS", "again")));
        refused.receive_within(Duration::from_millis(500)).is_some()
    });
    Refusal { name: "sending forbidden".into(), lost, is_counted: true, recovered_after }
}

/// Answers to one host leave too slowly, until the kernel's buffer is full; others are served.
fn line_too_slow() -> Refusal {
    apart::make_slow_line();
    let script = format!(
        r#"{HEAD}
children=1
reply_to_via=yes
async_workers_group="name=far;workers=1;queue=4096"
async_workers_group="name=near;workers=2;queue=4096"
event_route[core:pre-routing] {{
    if (is_method("INVITE") && sworker_task("far")) drop;
    if (sworker_task("near")) drop;
}}
request_route {{ sl_send_reply("200", "OK"); }}
"#
    );
    // One listener for each: the buffer that is full belongs to a socket.
    let server =
        Server::on(&script).listen(&format!("udp:{}:0", apart::NEAR)).listen("udp:127.0.0.1:0").start();
    let [slow, fast] = [0, 1].map(|index| Caller::new(server.listeners()[index]));
    let far = |name: &str| {
        let text = String::from_utf8_lossy(&slow.bytes(&Request::new("INVITE", name).via_parameters("")))
            .into_owned();
        let via = format!("SIP/2.0/UDP {}", slow.address());
        text.replacen(&via, &format!("SIP/2.0/UDP {}:5060", apart::FAR), 1)
    };
    (0..600).for_each(|index| slow.send(far(&format!("far-{index}")).as_bytes()));
    let lost = load("r21-slow", 4_000).run(&fast).lost.len();
    wait_until("full buffers are counted", SOON, || server.counter("core.sends_failed") > 0);
    wait_until("nothing waits", SOON, || server.group("far")["depth"] == 0);
    apart::make_line_fast();
    let failed = server.counter("core.sends_failed");
    let recovered_after = time_until("it is sent at once", || {
        let before = server.group("far")["processed"].as_u64();
        slow.send(far("far-again").as_bytes());
        wait_until("it is processed", SOON, || server.group("far")["processed"].as_u64() > before);
        server.counter("core.sends_failed") == failed
    });
    Refusal { name: "line too slow".into(), lost, is_counted: failed > 0, recovered_after }
}
