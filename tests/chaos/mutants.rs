//! Rows in which what comes from the network is wrong.

use std::path::Path;
use std::time::{Duration, Instant};

use super::support::{Caller, Request, SOON, Server, processes, wait_until};
use super::{Dice, Finding, Row, milliseconds, size_of_row};

pub const ROWS: &[Row] = &[Row {
    id: "R24",
    what: "a million mutated messages at the default script, with the debug=1 it names",
    target: "no crash, no hang, no leak, at most 1 MB of log",
    peer: "no crash, 980 MB of log for 1.1 million",
    measure: mutants,
}];

/// How many mutants, unless `CHAOS_MUTANTS` says otherwise.
const COUNT: usize = 1_000_000;
/// After so many one good request must be answered: the server lives, and it has taken what was sent before.
const BURST: usize = 100;
/// Part of the mutants that come before memory is measured for the first time.
const WARM_UP: usize = 10;
const LOG_SIZE_MAX: usize = 1_000_000;
const GROWTH_MAX: u64 = 256 * 1024;

/// What breaks parsers: line ends, separators without what they separate, numbers at the ends of their ranges.
const TOKENS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    "\r\n ",
    ":",
    ";",
    ",",
    "=",
    "\"",
    "\\",
    "<",
    ">",
    "<>",
    "@",
    "%",
    "%00",
    "%0d%0a",
    "[",
    "]",
    "[::1]",
    ":::]",
    "sip:",
    "sips:",
    "tel:",
    "SIP/2.0",
    "SIP/2.0/UDP ",
    "SIP/7.0",
    ";tag=",
    ";branch=",
    ";rport",
    ";received=",
    ";lr",
    "0",
    "-1",
    "+0",
    "0x10",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "99999999999999999999",
    "000000000000000000000000000000000000000000",
    "\u{fffd}",
    "\x1b[31m",
    "Via: ",
    "v: ",
    "From: ",
    "To: ",
    "t: ",
    "Call-ID: ",
    "CSeq: ",
    "Content-Length: ",
    "l: ",
    "Contact: *",
    "Require: x",
    "Max-Forwards: 0\r\n",
    "Route: ",
    "Authorization: Digest ",
    "Content-Type: multipart/mixed",
    "ACK",
    "CANCEL",
    "REGISTER",
];

fn mutants(dice: &mut Dice) -> Finding {
    let count = size_of_row("CHAOS_MUTANTS", COUNT);
    let server = Server::start(&default_script());
    let caller = server.caller();
    let originals = originals(&caller);
    let children = processes::tree(server.master());
    let mut slowest = torment(&server, &originals, dice, count / WARM_UP);
    let before = sizes(&children);
    slowest = slowest.max(torment(&server, &originals, dice, count - count / WARM_UP));
    wait_until("the queues are empty", SOON, || {
        ["calls", "registrations"].iter().all(|group| server.group(group)["depth"] == 0)
    });
    let is_same = processes::tree(server.master()) == children;
    let growth =
        before.iter().zip(sizes(&children)).map(|(before, after)| after.saturating_sub(*before)).max();
    let (growth, log_size) = (growth.unwrap_or(0), server.log().len());
    let value = format!(
        "{count} mutants: every process is {}, slowest proof of life {}, largest growth {growth} bytes, {log_size} bytes of log",
        if is_same { "still there" } else { "NOT still there" },
        milliseconds(slowest)
    );
    Finding::new(is_same && growth <= GROWTH_MAX && log_size <= LOG_SIZE_MAX, value)
}

/// The script that runs without `-f`, with the level of log that it names for where strangers can send.
fn default_script() -> String {
    let script = include_str!("../../src/process/default.cfg");
    let quiet = script.replacen("\ndebug=2\n", "\ndebug=1\n", 1);
    assert_ne!(quiet, script, "the level of log stands in the default script");
    let is_kept = |line: &&str| !line.starts_with("listen=");
    quiet.lines().filter(is_kept).fold(String::new(), |text, line| text + line + "\n")
}

/// What mutants are made from: requests of each kind, and the torture messages.
fn originals(caller: &Caller) -> Vec<Vec<u8>> {
    let methods = ["INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE"];
    let mut all: Vec<Vec<u8>> = methods
        .iter()
        .map(|method| {
            caller.bytes(&Request::new(method, "r24").header("X-Folded: one\r\n two").body("v=0\r\n"))
        })
        .collect();
    for folder in ["rfc4475", "rfc5118"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(folder);
        let mut files: Vec<_> =
            folder.read_dir().expect("torture messages").flatten().map(|file| file.path()).collect();
        files.sort();
        all.extend(files.iter().map(|file| std::fs::read(file).expect("a torture message")));
    }
    all
}

/// Sends so many mutants; the slowest answer to the good requests between them.
fn torment(server: &Server, originals: &[Vec<u8>], dice: &mut Dice, count: usize) -> Duration {
    let (tormentor, honest) = (server.caller(), server.caller());
    let mut slowest = Duration::ZERO;
    for sent in 0..count {
        tormentor.send(&mutant(originals, dice));
        if sent % BURST == BURST - 1 {
            let asked_at = Instant::now();
            let probe = Request::new("OPTIONS", &format!("{sent}.{count}.r24"));
            let answer = honest.ask(&probe);
            assert_eq!(
                (answer.status(), answer.header("Call-ID")),
                (200, format!("{sent}.{count}.r24").as_str())
            );
            slowest = slowest.max(asked_at.elapsed());
        }
    }
    slowest
}

/// One of the originals, changed in one to eight places.
fn mutant(originals: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = originals[dice.below(originals.len())].clone();
    for _ in 0..=dice.below(8) {
        change(&mut bytes, originals, dice);
    }
    // What is longer is no datagram.
    bytes.truncate(60_000);
    bytes
}

fn change(bytes: &mut Vec<u8>, originals: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let end = (at + dice.below(40)).min(bytes.len());
    match dice.below(8) {
        0 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
        1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let again = bytes[at..end].repeat(1 + dice.below(50));
            bytes.splice(at..at, again);
        }
        5 => {
            let other = &originals[dice.below(originals.len())];
            let from = dice.below(other.len());
            let until = (from + dice.below(200)).min(other.len());
            bytes.splice(at..end, other[from..until].iter().copied());
        }
        _ => drop(bytes.splice(at..end, TOKENS[dice.below(TOKENS.len())].bytes())),
    }
}

fn sizes(processes: &[i32]) -> Vec<u64> {
    processes.iter().map(|pid| processes::anonymous_memory_size(*pid)).collect()
}
