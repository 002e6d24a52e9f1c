//! The tree of processes, as `/proc` shows it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Direct children of a process that are still there; a zombie is not.
pub fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids = lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>());
    pids.filter(|pid| is_alive(*pid)).collect()
}

/// The process and everything below it.
pub fn tree(pid: i32) -> Vec<i32> {
    let below = children(pid).into_iter().flat_map(tree);
    std::iter::once(pid).chain(below).collect()
}

/// What `ps` shows: `sworkerd: worker reg/2`.
pub fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    text.trim().to_string()
}

/// True while the process runs, sleeps or is stopped; false for a zombie and for nobody.
pub fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Whether the process has given up its rights for good, the last thing a child of the server does before its work.
pub fn is_confined(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Time the process has spent on a processor, in the kernel's ticks of 10 ms.
pub fn processor_time(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let columns = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = columns.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The letter of `/proc/PID/stat`: `R` running, `S` sleeping, `T` stopped, `Z` zombie.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

/// Sends a signal; a process that is gone already is not an error.
pub fn send_signal(pid: i32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        assert_eq!(error, nix::errno::Errno::ESRCH, "could not send {signal} to {pid}");
    }
}

/// Stops a process and waits until the kernel says it is stopped.
pub fn freeze(pid: i32) {
    send_signal(pid, Signal::SIGSTOP);
    super::wait_until("the process is stopped", Duration::from_secs(5), || state(pid) == Some('T'));
}

/// Lets a stopped process go on.
pub fn thaw(pid: i32) {
    send_signal(pid, Signal::SIGCONT);
}

/// Number of open file descriptors.
pub fn descriptor_count(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Bytes of memory that belong to this process alone.
pub fn anonymous_memory_size(pid: i32) -> u64 {
    memory_size(pid, "RssAnon:")
}

/// Bytes of memory of one kind, by its name in `/proc/PID/status`.
pub fn memory_size(pid: i32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// The IPv4 UDP sockets a process has bound. Of a server that forbids dumps only root sees the descriptors: for anybody
/// else the titles of its receivers tell.
pub fn udp_sockets(pid: i32) -> Vec<SocketAddrV4> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return named_sockets(pid) };
    let links = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let names = links.filter_map(|link| link.to_str().map(str::to_string));
    let inodes: Vec<String> = names
        .filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_string()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/udp")).unwrap_or_default();
    table.lines().skip(1).filter_map(|line| udp_row(line, &inodes)).collect()
}

/// The addresses in titles such as `sworkerd: receiver udp:127.0.0.1:5060/1`, each once.
fn named_sockets(pid: i32) -> Vec<SocketAddrV4> {
    let titles = children(pid).into_iter().map(title);
    let mut found: Vec<SocketAddrV4> = titles
        .filter_map(|title| title.split_once("receiver udp:")?.1.split('/').next()?.parse().ok())
        .collect();
    found.dedup();
    found
}

/// One row of `/proc/net/udp`, if its inode is one of ours: column 1 is the local address, column 9 the inode.
fn udp_row(line: &str, inodes: &[String]) -> Option<SocketAddrV4> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    if !inodes.iter().any(|inode| columns.get(9) == Some(&inode.as_str())) {
        return None;
    }
    let (address, port) = columns.get(1)?.split_once(':')?;
    let address = u32::from_str_radix(address, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(address.to_le_bytes()), u16::from_str_radix(port, 16).ok()?))
}
