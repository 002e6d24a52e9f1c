//! The torture messages: 49 of RFC 4475, 12 of RFC 5118 and eleven of our own, each with the outcome it must have.
//!
//! A server on our own default script gets all of them over UDP, once answering in its receiver and once through
//! delegation to a worker; both must give the same outcome. `docs/torture.md` is the table this file makes:
//!
//! ```text
//! cargo test --test server torture:: && cat target/tmp/torture.md
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::support::{Caller, Request, SOON, Server};

/// What must come of a message.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// Answered with one of these.
    Answered(&'static [u16]),
    /// A response that the reply route gets to see.
    Passed,
    /// Nothing comes of it, and nobody is told.
    Discarded,
}

use Outcome::{Answered, Discarded, Passed};

/// One message.
pub struct Row {
    /// Where it comes from: a section of an RFC, or what it is about.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What must come of it.
    pub outcome: Outcome,
}

const fn row(section: &'static str, name: &'static str, outcome: Outcome) -> Row {
    Row { section, name, outcome }
}

/// Processed as if nothing were odd about it: the default script's answer to this method.
const BUSY: Outcome = Answered(&[486]);
const FINE: Outcome = Answered(&[200]);
const UNKNOWN_METHOD: Outcome = Answered(&[405, 501]);
const BAD: Outcome = Answered(&[400]);

/// RFC 4475 lets an element refuse these or be liberal.
const BAD_OR_BUSY: Outcome = Answered(&[400, 486]);
const BAD_OR_FINE: Outcome = Answered(&[400, 200]);

pub const RFC_4475: &[Row] = &[
    row("3.1.1.1", "wsinv", BUSY),
    row("3.1.1.2", "intmeth", UNKNOWN_METHOD),
    row("3.1.1.3", "esc01", BUSY),
    row("3.1.1.4", "escnull", FINE),
    row("3.1.1.5", "esc02", UNKNOWN_METHOD),
    row("3.1.1.6", "lwsdisp", FINE),
    row("3.1.1.7", "longreq", BUSY),
    row("3.1.1.8", "dblreq", FINE),
    row("3.1.1.9", "semiuri", FINE),
    row("3.1.1.10", "transports", FINE),
    row("3.1.1.11", "mpart01", FINE),
    row("3.1.1.12", "unreason", Passed),
    row("3.1.1.13", "noreason", Passed),
    row("3.1.2.1", "badinv01", BAD),
    row("3.1.2.2", "clerr", BAD),
    row("3.1.2.3", "ncl", BAD),
    row("3.1.2.4", "scalar02", BAD),
    row("3.1.2.5", "scalarlg", Discarded),
    row("3.1.2.6", "quotbal", BAD),
    row("3.1.2.7", "ltgtruri", BAD),
    row("3.1.2.8", "lwsruri", BAD),
    row("3.1.2.9", "lwsstart", BAD_OR_BUSY),
    row("3.1.2.10", "trws", BAD_OR_FINE),
    row("3.1.2.11", "escruri", BAD_OR_BUSY),
    row("3.1.2.12", "baddate", BAD_OR_BUSY),
    row("3.1.2.13", "regbadct", BAD_OR_FINE),
    row("3.1.2.14", "badaspec", BAD_OR_FINE),
    row("3.1.2.15", "baddn", BAD_OR_FINE),
    row("3.1.2.16", "badvers", Answered(&[505])),
    row("3.1.2.17", "mismatch01", BAD),
    row("3.1.2.18", "mismatch02", Answered(&[400, 501])),
    row("3.1.2.19", "bigcode", Discarded),
    row("3.2.1", "badbranch", FINE),
    row("3.3.1", "insuf", BAD),
    row("3.3.2", "unkscm", Answered(&[416])),
    row("3.3.3", "novelsc", Answered(&[416])),
    row("3.3.4", "unksm2", Answered(&[200, 400, 404, 416])),
    row("3.3.5", "bext01", Answered(&[420])),
    row("3.3.6", "invut", Answered(&[415])),
    row("3.3.7", "regaut01", Answered(&[401, 403])),
    row("3.3.8", "multi01", BAD),
    row("3.3.9", "mcl01", BAD),
    row("3.3.10", "bcast", Discarded),
    row("3.3.11", "zeromf", Answered(&[483])),
    row("3.3.12", "cparam01", FINE),
    row("3.3.13", "cparam02", FINE),
    row("3.3.14", "regescrt", FINE),
    row("3.3.15", "sdp01", Answered(&[406, 488])),
    row("3.4.1", "inv2543", BUSY),
];

pub const RFC_5118: &[Row] = &[
    row("4.1", "ipv6-good", FINE),
    row("4.2", "ipv6-bad", BAD),
    row("4.3", "port-ambiguous", FINE),
    row("4.4", "port-unambiguous", FINE),
    row("4.5", "via-received-param-with-delim", FINE),
    row("4.5", "via-received-param-no-delim", FINE),
    row("4.6", "ipv6-in-sdp", BUSY),
    row("4.7", "mult-ip-in-header", FINE),
    row("4.8", "mult-ip-in-sdp", BUSY),
    row("4.9", "ipv4-mapped-ipv6", BUSY),
    row("4.10", "ipv6-bug-abnf-3-colons", FINE),
    row("4.10", "ipv6-correct-abnf-2-colons", FINE),
];

/// What has hurt others, or would hurt an operator.
pub const OUR_OWN: &[Row] = &[
    row("Content-Length is 2^32", "length-2-32", BAD),
    row("two Content-Lengths, n and 0", "length-twice", BAD),
    row("To twice, its tag empty", "to-twice", BAD),
    row("the host of Via is :::]", "via-colons", Discarded),
    row("Authorization ends in =", "digest-cut", BAD_OR_FINE),
    row("SDP without its last line end", "sdp-cut", BUSY),
    row("multipart without a boundary", "no-boundary", Answered(&[200, 400, 415])),
    row("white space and a control octet before the colon", "hidden-name", FINE),
    row("a folded User-Agent with CR LF, ESC and NUL", "log-forger", FINE),
    row("1,000 Via", "thousand-vias", FINE),
    row("2,500 Contacts", "many-contacts", FINE),
];

/// A message as it is sent.
pub fn bytes_of(corpus: &str, name: &str) -> Vec<u8> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(corpus).join(format!("{name}.dat"));
    let stored = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    if corpus == "rfc5118" { repaired(&stored) } else { stored }
}

/// Line ends of CR LF, an empty line behind the header fields, a Content-Length that fits.
fn repaired(stored: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(stored).replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let body = body.replace('\n', "\r\n");
    let mut out = String::new();
    for line in head.lines() {
        let is_length = line.to_ascii_lowercase().starts_with("content-length");
        match is_length {
            true => writeln!(out, "Content-Length: {}\r", body.len()),
            false => writeln!(out, "{line}\r"),
        }
        .expect("text can be added to text");
    }
    format!("{out}\r\n{body}").into_bytes()
}

/// A request made from a good one: these lines stand in the place of those of their name.
fn altered(method: &str, name: &str, lines: &str, body: &str) -> Vec<u8> {
    let good = format!(
        "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK-{name};rport\r\nMax-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\n\
         To: <sip:b@example.com>\r\nCall-ID: {name}\r\nCSeq: 1 {method}\r\n"
    );
    let named = |line: &str| line.split([':', ' ']).next().unwrap_or_default().to_ascii_lowercase();
    let kept =
        good.split_inclusive("\r\n").filter(|line| !lines.lines().any(|given| named(given) == named(line)));
    let kept: String = kept.collect();
    format!("{method} sip:b@example.com SIP/2.0\r\n{kept}{lines}\r\n{body}").into_bytes()
}

/// The bytes of one of our own.
pub fn own_bytes(name: &str) -> Vec<u8> {
    let options = |lines: &str| altered("OPTIONS", name, lines, "");
    let contacts = |count: usize| (0..count).map(|n| format!("<sip:{n}@h>")).collect::<Vec<_>>().join(",");
    match name {
        "length-2-32" => options("Content-Length: 4294967296\r\n"),
        "length-twice" => altered("OPTIONS", name, "Content-Length: 4\r\nContent-Length: 0\r\n", "abcd"),
        "to-twice" => options("To: <sip:b@example.com>;tag=\r\nTo: <sip:c@example.com>;tag=\r\n"),
        "via-colons" => options("Via: SIP/2.0/\x16UD~PTo :::]\r\n"),
        "digest-cut" => altered("REGISTER", name, "Authorization: Digest username=\"a\", realm=\r\n", ""),
        "sdp-cut" => {
            let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nb=";
            let lines = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n", sdp.len());
            altered("INVITE", name, &lines, sdp)
        }
        "no-boundary" => altered(
            "MESSAGE",
            name,
            "Content-Type: multipart/mixed\r\nContent-Length: 10\r\n",
            "--x\r\nhello",
        ),
        "hidden-name" => options("X-Secret \x01\t: hidden\r\nX-Secret: plain\r\n"),
        "log-forger" => options("User-Agent: one\r\n  1(1) ALERT: forged\x1b[2J\0end\r\n"),
        "thousand-vias" => options(&"v:SIP/2.0/UDP 192.0.2.9\r\n".repeat(1000)),
        "many-contacts" => altered("REGISTER", name, &format!("Contact: {}\r\n", contacts(2500)), ""),
        _ => panic!("{name} is not one of ours"),
    }
}

/// The default script, its pre-routing kept or left out, on ports of the kernel's choosing. Replies go to where the
/// message came from, whatever its Via says: the hosts of the RFCs are not ours.
fn default_script(delegates: bool) -> String {
    let script = include_str!("../../src/process/default.cfg");
    let kept: String = script.split_inclusive('\n').filter(|line| !line.starts_with("listen=")).collect();
    let script = kept.replace("children=2", "children=1\nforce_rport=yes").replace("workers=2", "workers=1");
    assert!(script.contains("event_route[core:pre-routing]") && script.contains("force_rport"));
    match delegates {
        true => script,
        // A route nobody calls: the receiver goes on with request_route.
        false => script.replace("event_route[core:pre-routing]", "route[NOT_DELEGATED]"),
    }
}

/// Every message with its corpus.
pub fn corpus() -> Vec<(&'static str, &'static Row, Vec<u8>)> {
    let of_rfc = |corpus: &'static str, rows: &'static [Row]| {
        rows.iter().map(move |row| (corpus, row, bytes_of(corpus, row.name)))
    };
    let own = OUR_OWN.iter().map(|row| ("own", row, own_bytes(row.name)));
    of_rfc("rfc4475", RFC_4475).chain(of_rfc("rfc5118", RFC_5118)).chain(own).collect()
}

/// The line the default script's reply route writes of a response it lets through.
const REPLY_SEEN: &str = "===== reply ";

/// What came of it: the status line of the answer, `passed` or `discarded`.
fn outcome_on(server: &Server, caller: &Caller, marker: &str, bytes: &[u8]) -> String {
    let seen_before = server.log_count(REPLY_SEEN);
    caller.send(bytes);
    // Requests of different groups overtake each other, so the markers go one by one through both.
    let answers = ["OPTIONS", "REGISTER"].map(|method| {
        let name = format!("marker-{marker}-{}", method.to_ascii_lowercase());
        caller.send(&caller.bytes(&Request::new(method, &name)));
        let mut others = Vec::new();
        loop {
            let answer = caller.receive_within(SOON).unwrap_or_else(|| panic!("no answer to {name}"));
            // Answers to folded requests are folded, so they are not taken apart further.
            let answer = String::from_utf8_lossy(&answer);
            if answer.contains(&format!("\r\nCall-ID: {name}\r\n")) {
                return others;
            }
            others.push(answer.lines().next().unwrap_or_default().to_string());
        }
    });
    let answers = answers.concat();
    match answers.as_slice() {
        [one] => one.clone(),
        [] if server.log_count(REPLY_SEEN) > seen_before => "passed".into(),
        [] => "discarded".into(),
        more => panic!("{} answers to one message: {more:?}", more.len()),
    }
}

fn is_as_it_must_be(outcome: Outcome, found: &str) -> bool {
    match outcome {
        Passed => found == "passed",
        Discarded => found == "discarded",
        Answered(codes) => {
            let code = found.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
            code.is_some_and(|code| codes.contains(&code))
        }
    }
}

#[test]
fn all_seventy_two_have_the_outcome_they_must_have_in_both_ways() {
    let direct = Server::start(&default_script(false));
    let delegated = Server::start(&default_script(true));
    let (one, other) = (direct.caller(), delegated.caller());
    let (mut wrong, mut table) = (Vec::new(), String::new());
    let rows = corpus();
    assert_eq!(rows.len(), 72);
    for (corpus, row, bytes) in rows {
        let found = outcome_on(&direct, &one, row.name, &bytes);
        let through_worker = outcome_on(&delegated, &other, row.name, &bytes);
        if found != through_worker {
            wrong.push(format!("{}: {found} in a receiver, {through_worker} through delegation", row.name));
        }
        if !is_as_it_must_be(row.outcome, &found) {
            wrong.push(format!("{} must be {:?}, is {found}", row.name, row.outcome));
        }
        let shown = found.trim_start_matches("SIP/2.0 ");
        writeln!(
            table,
            "| {corpus} | {} | {} | {} | {shown} |",
            row.section,
            row.name,
            shown_need(row.outcome)
        )
        .expect("text can be added to text");
    }
    assert!(wrong.is_empty(), "{} of 72 are wrong:\n{}", wrong.len(), wrong.join("\n"));
    check_document(&table);
}

fn shown_need(outcome: Outcome) -> String {
    match outcome {
        Passed => "reaches the reply route".into(),
        Discarded => "discarded".into(),
        Answered(codes) => codes.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
    }
}

/// The table in the document is the one that was just measured.
fn check_document(table: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let measured = Path::new(env!("CARGO_TARGET_TMPDIR")).join("torture.md");
    std::fs::write(&measured, table).expect("the folder of the target can be written");
    let document = std::fs::read_to_string(root.join("docs/torture.md")).unwrap_or_default();
    assert!(document.contains(table), "docs/torture.md does not have the table of {}", measured.display());
}

#[test]
fn a_field_cannot_hide_from_its_removal() {
    let target = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    target.set_read_timeout(Some(SOON)).expect("a time above zero is taken");
    let to = target.local_addr().expect("a bound socket has an address");
    let server = Server::start(&format!(
        "{}children=1\nrequest_route {{ remove_hf(\"X-Secret\"); $du = \"sip:{to}\"; forward(); }}\n",
        crate::scripts::HEAD
    ));
    server.caller().send(&own_bytes("hidden-name"));
    let mut buffer = [0; 4096];
    let size = target.recv(&mut buffer).expect("it is sent on");
    let text = String::from_utf8_lossy(&buffer[..size]).to_ascii_lowercase();
    assert!(!text.contains("x-secret") && text.contains("call-id: hidden-name"), "{text}");
}

#[test]
fn a_sender_cannot_write_lines_into_the_log() {
    let script = format!(
        "{}children=1\nrequest_route {{ xlog(\"L_NOTICE\", \"agent $ua\\n\"); sl_send_reply(\"200\", \"OK\"); }}\n",
        crate::scripts::HEAD
    );
    let server = Server::start(&script.replace("debug=2", "debug=3"));
    let caller = server.caller();
    caller.send(&own_bytes("log-forger"));
    assert!(caller.receive_within(SOON).is_some());
    server.wait_for_log("agent one");
    let log = server.log();
    assert!(!log.contains('\x1b') && !log.contains('\0'), "{log:?}");
    let forged = log.lines().find(|line| line.trim_start().starts_with("1(1) ALERT"));
    assert_eq!(forged, None, "{log}");
}

/// What scripts do with a value that a sender chose, and that holds line ends once its escapes are undone.
const INJECTIONS: &[&str] = &[
    "append_hf(\"X-A: $var(v)\\r\\n\"); forward();",
    "insert_hf(\"X-A: a$var(v)b\\r\\n\"); forward();",
    "append_hf(\"X-A: $var(v)\\r\\n\", \"Call-ID\"); forward();",
    "insert_hf(\"X-A: $var(v)\", \"Call-ID\"); forward();",
    "append_hf_value(\"X-A\", \"$var(v)\"); forward();",
    "insert_hf_value(\"Subject\", \"$var(v)\"); forward();",
    "append_to_reply(\"X-A: $var(v)\\r\\n\"); sl_send_reply(\"200\", \"OK\");",
    "sl_send_reply(\"200\", \"$var(v)\");",
    "$ru = \"sip:\" + $var(v) + \"@example.com\"; forward();",
    "$rU = $var(v); forward();",
    "$rd = $var(v); forward();",
    "$fu = \"sip:\" + $var(v) + \"@example.com\"; forward();",
    "$tU = $var(v); forward();",
    "$fn = $var(v); forward();",
    "subst_hf(\"Subject\", \"/one/$var(v)/\", \"a\"); forward();",
    "set_body(\"text\", \"$var(v)\"); forward();",
    "$du = \"sip:\" + $var(v) + \"@\" + $var(to); forward();",
];

#[test]
fn no_value_starts_a_line_of_its_own() {
    let target = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    target.set_nonblocking(true).expect("a socket can be told not to wait");
    let to = target.local_addr().expect("a bound socket has an address");
    let cases = INJECTIONS.iter().enumerate();
    let cases: String =
        cases.map(|(index, statements)| format!("case \"{index}\": {statements} break;\n")).collect();
    let script = format!(
        "{}loadmodule \"textopsx\"\nchildren=1\nrequest_route {{ $var(to) = \"{to}\"; $du = \"sip:\" + $var(to);\n\
         $var(v) = $(hdr(X-Value){{s.unescape.user}});\n\
         switch ($hdr(X-Case)) {{ {cases} default: sl_send_reply(\"200\", \"marker\"); }} }}\n",
        crate::scripts::HEAD
    );
    let server = Server::start(&script);
    let caller = server.caller();
    let mut buffer = [0; 4096];
    let mut flattened = 0;
    for (index, statements) in INJECTIONS.iter().enumerate() {
        for value in
            ["v%0d%0aEvil: 1", "v%0aEvil: 1", "v%0dEvil: 1", "v%0d%0a%0d%0aEvil: 1", "%0d%0a%20%0d%0aEvil: 1"]
        {
            let case =
                Request::new("OPTIONS", "case").header(&format!("X-Case: {index}")).header("Subject: one");
            caller.send(&caller.bytes(&case.header(&format!("X-Value: {value}"))));
            caller.send(&caller.bytes(&Request::new("OPTIONS", "marker")));
            let mut seen = Vec::new();
            loop {
                let answer = caller.receive_within(SOON).expect("the marker is answered");
                if answer.windows(11).any(|part| part == b" 200 marker") {
                    break;
                }
                seen.push(answer);
            }
            while let Ok(size) = target.recv(&mut buffer) {
                seen.push(buffer[..size].to_vec());
            }
            for message in seen {
                let text = String::from_utf8_lossy(&message).into_owned();
                flattened += usize::from(text.contains("v  Evil: 1"));
                let is_evil = text.split(['\r', '\n']).any(|line| line.starts_with("Evil"));
                assert!(!is_evil, "{statements} with {value}:\n{text}");
            }
        }
    }
    assert!(flattened >= 5, "the values were not sent on within their lines: {flattened}");
}

#[test]
fn large_messages_are_answered_at_once() {
    let server = Server::start(&default_script(false));
    let caller = server.caller();
    for name in ["thousand-vias", "many-contacts"] {
        let bytes = own_bytes(name);
        let started = std::time::Instant::now();
        for _ in 0..20 {
            caller.send(&bytes);
            assert!(caller.receive_within(SOON).is_some(), "{name}");
        }
        // Debug builds on a shared machine: this is a guard against quadratic work, not a measurement.
        let each = started.elapsed() / 20;
        assert!(each < Duration::from_millis(200), "{name}: {each:?}");
    }
}
