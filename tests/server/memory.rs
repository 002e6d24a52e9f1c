//! What the server's memory costs: pages that are in use, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;

use crate::scripts::HEAD;
use crate::support::{Folder, Request, SOON, Server, Tool, daemon_path, processes, wait_until};

const KIBIBYTE: u64 = 1024;
const MEGABYTE: u64 = 1_000_000;

/// One receiver and one group; `rest` is a module, or none.
fn script(rest: &str) -> String {
    format!(
        "{HEAD}children=1\nasync_workers_group=\"name=calls;workers=1\"\n{rest}\n\
         request_route {{ sl_send_reply(\"200\", \"OK\"); }}\n"
    )
}

/// Whether this user may read how the memory of a server is used: of one that forbids dumps only root may.
fn is_readable(server: &Server) -> bool {
    let is_readable = fs::read_to_string(format!("/proc/{}/smaps", server.master())).is_ok();
    assert!(is_readable || !nix::unistd::geteuid().is_root(), "the master has no smaps");
    is_readable
}

/// Bytes in use of all processes of a server: their own pages and those that they share, each page once (PSS).
fn memory_in_use(server: &Server) -> u64 {
    let children = server.children().into_iter().map(|(pid, _)| pid);
    let of = |pid: i32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process is there");
        sum_of(&rollup, "Pss_Anon:") + sum_of(&rollup, "Pss_Shmem:")
    };
    children.chain([server.master()]).map(of).sum()
}

/// Bytes of the mapping of this name in the master, and how many of them are in use (RSS).
fn mapping_of_master(server: &Server, name: &str) -> (u64, u64) {
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", server.master())).expect("the master is there");
    let start = smaps.find(&format!("/memfd:{name}")).unwrap_or_else(|| panic!("no mapping {name}"));
    let end = smaps[start..].find("VmFlags:").expect("the last line of a mapping");
    let mapping = &smaps[start..start + end];
    (sum_of(mapping, "Size:"), sum_of(mapping, "Rss:"))
}

/// The sum of the lines that begin so, in bytes.
fn sum_of(text: &str, field: &str) -> u64 {
    let lines = text.lines().filter_map(|line| line.strip_prefix(field));
    lines.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum::<u64>() * KIBIBYTE
}

/// Starts a server, lets every kind of process do something, and reads its memory.
fn measured<T>(script: &str, read: impl FnOnce(&Server) -> T) -> Option<T> {
    let server = Server::start(script);
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "memory")).status(), 200);
    is_readable(&server).then(|| read(&server))
}

#[test]
fn delayed_messages_cost_what_they_hold() {
    let Some(without) = measured(&script(""), memory_in_use) else { return };
    let rows = [("", 8 * MEGABYTE), ("modparam(\"async\", \"capacity\", 16384)", 130 * MEGABYTE)];
    for (parameter, most) in rows {
        let script = script(&format!("loadmodule \"async.so\"\n{parameter}"));
        let read = |server: &Server| (memory_in_use(server), mapping_of_master(server, "sworker-delay"));
        let Some((with, (size, resident))) = measured(&script, read) else { return };
        let cost = with.saturating_sub(without);
        assert!(cost <= most, "module async costs {cost} bytes with {parameter:?}: {with} and not {without}");
        // A machine that has too little memory is to refuse at the start, not when a message is to be delayed.
        assert_eq!(resident, size, "some of the delay queue is not there yet");
        assert!(cost >= size, "the delay queue of {size} bytes is not in the sum");
    }
}

#[test]
fn during_a_reload_each_generation_has_a_delay_queue() {
    let server = Server::start(&format!(
        "{HEAD}children=1\nloadmodule \"async.so\"\nrequest_route {{ async_route(\"LATER\", 4); }}\n\
         route[LATER] {{ sl_send_reply(\"200\", \"OK\"); }}\n"
    ));
    if !is_readable(&server) {
        return;
    }
    let shared = || processes::memory_size(server.master(), "RssShmem:");
    let (queue, before) = (mapping_of_master(&server, "sworker-delay").1, shared());
    let caller = server.caller();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "delayed")));
    wait_until("it is delayed", SOON, || server.counter("async.waiting") == 1);
    server.ask_control(&["core.reload"]);
    // The previous generation finishes what it accepted in memory of its own.
    assert!(shared() >= before + queue, "{} bytes of two generations, {before} of one", shared());
    assert_eq!(caller.receive().status(), 200);
    server.wait_for_log("generation 0 has ended");
    assert!(shared() < before + queue / 2, "{} bytes after the reload, {before} before", shared());
}

/// The lines of `sworkerd -x memory`: name, lifetime and bytes of each part, the sum last.
fn planned(folder: &Folder) -> Vec<(String, String, u64)> {
    let words = ["-x", "memory", "-f", "server.cfg", "-l", "udp:127.0.0.1:0"];
    let printed = Tool::start(folder, "plan", daemon_path(), &words).finish(SOON).output;
    let row = |line: &str| {
        let bytes = line.get(36..50)?.trim().parse().ok()?;
        Some((line[..24].trim().to_owned(), line[24..36].trim().to_owned(), bytes))
    };
    let rows: Vec<_> = printed.lines().filter_map(row).collect();
    assert!(rows.last().is_some_and(|(name, ..)| name == "total"), "{printed}");
    rows
}

/// Bytes that a process maps of shared memory, by name.
fn mapped(pid: i32) -> BTreeMap<String, u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process is there");
    let mut found = BTreeMap::new();
    for line in maps.lines() {
        let name = match (line.split_once("/memfd:"), line.contains("/dev/shm/sworker")) {
            (Some((_, name)), _) => name.trim_end_matches(" (deleted)"),
            (None, true) => "published statistics",
            (None, false) => continue,
        };
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let address = |text: &str| u64::from_str_radix(text, 16).expect("an address");
        *found.entry(name.to_owned()).or_default() += address(end) - address(start);
    }
    found
}

#[test]
fn what_is_printed_before_a_start_is_what_a_started_server_maps() {
    let groups = "async_workers_group=\"name=reg;workers=3;queue=64;oc=on\"\nmy.limit = 5 desc \"most\"\n\
                  loadmodule \"async.so\"\nloadmodule \"cfgutils\"\nroute[X] { $shv(a) = $shv(b); lock(\"k\"); unlock(\"k\"); }";
    let built_in = {
        let folder = Folder::new();
        let printed = Tool::start(&folder, "print", daemon_path(), &["--cfg-print"]).finish(SOON).output;
        // Its ports may be taken; the test listens at one of its own.
        let lines = printed.lines().filter(|line| !line.starts_with("listen"));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let rows = [script(""), script(groups), built_in];
    for (index, text) in rows.into_iter().enumerate() {
        let server = Server::on(&text).start();
        if !is_readable(&server) {
            return;
        }
        let mut plan = planned(server.folder());
        let total = plan.pop().expect("there is a sum").2;
        let found = mapped(server.master());
        for (name, lifetime, bytes) in &plan {
            assert_eq!(found.get(name), Some(bytes), "{name} in script {index}: {found:?}");
            assert_eq!(lifetime, if name == "sworker-values" { "server" } else { "generation" }, "{name}");
        }
        assert_eq!(found.len(), plan.len(), "{found:?}");
        assert_eq!(found.values().sum::<u64>(), total, "script {index}: {found:?}");
    }
}
