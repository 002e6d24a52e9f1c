//! Beside the reference: Debian's Kamailio reads the same bytes and the same scripts, and we agree.
//!
//! Where we mean to differ, the row says so. Debian's package has no sworker module, so nothing here delegates.

use std::time::Duration;

use crate::bad_input;
use crate::scripts::HEAD;
use crate::support::deviations::{self, Difference};
use crate::support::{Caller, Folder, Message, Request, SOON, Server, Tool};
use crate::torture;
use reference::Reference;

mod differential;
mod generator;
mod reference;
mod tasks;
mod wire;

/// The script both of them run.
fn script() -> String {
    let head = HEAD.replace("loadmodule \"sworker\"\n", "");
    format!("{head}children=1\nauto_aliases=no\nrequest_route {{ sl_send_reply(\"200\", \"OK\"); }}\n")
}

/// A reply without what must differ: the tag of To, the name of the server and the caller's port.
fn comparable(answer: &Message, caller: &Caller) -> (String, Vec<(String, String)>, String) {
    let port = caller.address().port().to_string();
    let ours =
        |value: &str| value.replace(&port, "PORT").replace(&caller.server().port().to_string(), "SERVER");
    let value = |name: &str, value: &str| match name {
        "To" => ours(value.split(";tag=").next().unwrap_or_default()),
        "Server" => "a name".into(),
        _ => ours(value),
    };
    let headers = answer.headers.iter().map(|(name, text)| (name.clone(), value(name, text)));
    (answer.start.clone(), headers.collect(), answer.body.clone())
}

#[test]
fn replies_have_the_same_lines_in_the_same_order() {
    let reference = Reference::start(&script());
    let server = Server::start(&script());
    let (theirs, ours) = (reference.caller(), server.caller());
    let rows = [
        Request::new("OPTIONS", "plain"),
        Request::new("INVITE", "no-rport").via_parameters(""),
        Request::new("INVITE", "rport-first").via_parameters(";rport;x=1"),
        Request::new("INVITE", "rport-empty").via_parameters(";rport="),
        // A `received` that came is left out: the reference adds a second one, we replace it.
        Request::new("INVITE", "routes")
            .header("Record-Route: <sip:a;lr>, <sip:b;lr>")
            .header("Record-Route: <sip:c;lr>"),
        Request::new("INVITE", "more-vias")
            .header("Via: SIP/2.0/TCP a.example.com;branch=z9hG4bK1, SIP/2.0/UDP b:5070"),
        Request::new("INVITE", "timestamp").header("Timestamp: 54"),
        Request::new("MESSAGE", "body").header("Content-Type: text/plain").body("hello"),
        Request::new("FOOBAR", "unknown-method"),
    ];
    for request in rows {
        assert_eq!(
            comparable(&ours.ask(&request), &ours),
            comparable(&theirs.ask(&request), &theirs),
            "{request:?}"
        );
    }
}

#[test]
fn the_same_broken_messages_are_answered_and_thrown_away() {
    let reference = Reference::start(&script());
    let caller = reference.caller();
    let mut differ = Vec::new();
    for (index, (what, change)) in bad_input::ANSWERED.iter().enumerate() {
        caller.send(&change(bad_input::good(&caller, &format!("good-{index}"))));
        if caller.receive_within(Duration::from_millis(500)).is_none() {
            differ.push(*what);
        }
    }
    for (index, (what, change)) in bad_input::THROWN_AWAY.iter().enumerate() {
        let bytes = change(bad_input::good(&caller, &format!("bad-{index}")));
        if !caller.is_thrown_away(&bytes, &format!("after-{index}")) {
            differ.push(*what);
        }
    }
    assert_eq!(differ, INTENDED_DIFFERENCES, "where the reference does otherwise");
}

/// The installed 5.6.3 has no limit on the size of a message yet; later ones throw it away as we do.
const INTENDED_DIFFERENCES: &[&str] = &["more than 32767 bytes"];

#[test]
fn the_same_scripts_are_good_and_bad() {
    let rows = [
        "request_route { exit; }",
        "request_route { if $rU == \"a\" exit; }",
        "request_route { ; }",
        "request_route { exit;; };",
        "request_route { if (is_method(\"A\") and not is_method(\"B\") or is_method('C')) { drop; } }",
        "request_route { $var(x) = \"a\" + \"b\" + 3; }",
        "request_route { $var(x) = (int)\"3\"; }",
        "request_route { switch ($rU) { case \"a\": break; default: exit; } }",
        "request_route { route(A); }\nroute[A] { return -1; }",
        "request_route { while ($var(i) < 3) { $var(i) = $var(i) + 1; } }",
        "request_route { exit }",
        "request_route { $var(x) := 1; }",
        "request_route { $var(x)++; }",
        "request_route { nosuchfunction(); }",
        "request_route { sl_send_reply(\"200\"); }",
        "request_route { $si = \"1\"; }",
        "request_route { $nosuch = 1; }",
        "route[A] { exit; }\nroute[A] { exit; }\nrequest_route { exit; }",
        "nosuchparameter=1\nrequest_route { exit; }",
        "loadmodule \"nosuchmodule.so\"\nrequest_route { exit; }",
        "modparam(\"sl\", \"nosuch\", 1)\nrequest_route { exit; }",
        "#!define X 1\n#!ifdef X\nrequest_route { exit; }\n#!endif",
        "#!ifdef X\nrequest_route { exit; }",
        "event_route[core:nobody-knows] { exit; }\nrequest_route { exit; }",
        "listen=udp:127.0.0.1:5060\nlisten=udp:127.0.0.2:5060 advertise 1.2.3.4:5\nrequest_route { exit; }",
        "children=4\nlog_prefix=\"{$ci} \"\nserver_signature=no\nrequest_route { exit; }",
        "request_route { }",
        "request_route { if (1 == \"1\") exit; }",
        "request_route { $var(x) = 1 + \"2\"; }",
        "request_route { $var(x) = \"2\" + 1; }",
        "request_route { $var(x) = \"2\" - 1; }",
        "request_route { if (!\"abc\") exit; }",
        "request_route { $var(x) = strlen(5); }",
        "request_route { $var(x) = (3 + $rU) == \"a\"; }",
        "request_route { $var(x) = $var(y) % 2; }",
        "request_route { route(NOPE); }",
        "request_route { xlog(\"$nosuch(x)\"); }",
        "request_route { xlog(\"$(ru{s.nosuch})\"); }",
        "request_route { xlog(\"L_NOSUCH\", \"a\"); }",
        "request_route { xlog($rU); }",
        "request_route { is_method($rm); }",
        "request_route { is_method(\"A\", \"B\"); }",
        "request_route { sl_send_reply(\"200\", \"a\" + \"b\"); }",
        "request_route { switch ($rU) { case /\"a\": exit; case \"b\": exit; } }",
        "request_route { switch ($rU) { case /b/: exit; } }",
        "request_route { switch ($rU) { case 1: exit; case \"a\": exit; } }",
        "request_route { switch ($rU) { default: exit; default: exit; } }",
        "request_route { if ($rU =~ \"(a\") exit; }",
        "request_route { return \"a\"; }",
        "request_route { break; }",
        "request_route { exit; }\nrequest_route { exit; }",
        "request_route { if (is_method(\"A\") exit; }",
        "request_route { if (src_ip == 300.1.1.1) exit; }",
        "request_route { if (src_ip == 10.0.0.0/8 or src_ip == \"10.0.0.1\") exit; }",
        "request_route { if (method == INVITE && uri == myself) exit; }",
        "request_route { setflag(99); }",
        "request_route { setflag(nosuch); }",
        "request_route { $avp(s:x) = 1; $avp(i:5) = 1; $(avp(x)[0]) = 1; }",
        "request_route { $rm = \"x\"; }",
        "route[a-b] { exit; }\nrequest_route { exit; }",
        "route[\"a-b\"] { exit; }\nrequest_route { exit; }",
        "event_route[nocolon] { exit; }\nrequest_route { exit; }",
        "onreply_route { sl_send_reply(\"200\", \"OK\"); }\nrequest_route { exit; }",
        "failure_route[X] { exit; }\nbranch_route[X] { exit; }\nonsend_route { exit; }\nrequest_route { exit; }",
        "#!define A 1\n#!define A 2\nrequest_route { exit; }",
        "debug=abc\nrequest_route { exit; }",
        "listen=nosuch:1.2.3.4\nrequest_route { exit; }",
        "async_workers_group=\"name=;workers=2\"\nrequest_route { exit; }",
        "async_workers_group=\"workers=2\"\nrequest_route { exit; }",
        "modparam(\"xlog\", \"buf_size\", \"abc\")\nrequest_route { exit; }",
        "modparam(\"xlog|pv\", \"buf_size\", 1)\nrequest_route { exit; }",
        "",
    ];
    let head = HEAD.replace("loadmodule \"sworker\"\n", "");
    let mut differ = Vec::new();
    for lines in rows {
        let folder = Folder::new();
        folder.write("a.cfg", format!("{head}{lines}\n"));
        let verdict = |name: &str, program: &std::path::Path| {
            Tool::start(&folder, name, program, &["-c", "-f", "a.cfg"]).finish(SOON)
        };
        let theirs = verdict("kamailio", "kamailio".as_ref());
        let ours = verdict("sworkerd", &crate::support::daemon_path());
        let word = |code: Option<i32>| if code == Some(0) { "good" } else { "bad" };
        let name = lines.replace('\n', " / ");
        differ.extend(Difference::between(&name, word(theirs.code), word(ours.code)));
    }
    deviations::check("script", &differ);
}

/// What both run on the torture messages: the checks of the configuration Kamailio comes with, then 200.
fn torture_script(globals: &str) -> String {
    let head = HEAD.replace("loadmodule \"sworker\"\n", "").replace("debug=2", "debug=3");
    format!(
        r#"{head}children=1
auto_aliases=no
force_rport=yes
{globals}
loadmodule "maxfwd"
loadmodule "sanity"
modparam("sanity", "autodrop", 0)
request_route {{
    if (!sanity_check("17895", "7")) {{
        exit;
    }}
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    sl_send_reply("200", "OK");
}}
reply_route {{
    xlog("L_NOTICE", "{REPLY_SEEN}$rs\n");
}}
"#
    )
}

const REPLY_SEEN: &str = "===== reply ";

/// The status of what comes back before the answer to a marker; `passed` where the reply route saw it.
fn outcome(caller: &Caller, name: &str, bytes: &[u8], replies_seen: impl Fn() -> usize) -> String {
    let seen_before = replies_seen();
    caller.send(bytes);
    let marker = format!("marker-{name}");
    caller.send(&caller.bytes(&Request::new("OPTIONS", &marker)));
    let mut outcome = None;
    loop {
        let answer = caller.receive_within(SOON).unwrap_or_else(|| panic!("no answer to {marker}"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.contains(&format!("\r\nCall-ID: {marker}\r\n")) {
            break;
        }
        outcome = Some(answer.get(8..11).unwrap_or("?").to_string());
    }
    match outcome {
        Some(status) => status,
        None if replies_seen() > seen_before => "passed".into(),
        None => "silent".into(),
    }
}

#[test]
fn every_disagreement_about_a_torture_message_is_explained() {
    let explained = include_str!("../golden/torture-disagreements.txt");
    let reference = Reference::start(&torture_script(""));
    let server = Server::start(&torture_script("answer_broken_requests=yes"));
    let (theirs, ours) = (reference.caller(), server.caller());
    let mut found = Vec::new();
    for (_, row, bytes) in torture::corpus() {
        let our_outcome = outcome(&ours, row.name, &bytes, || server.log_count(REPLY_SEEN));
        let their_outcome = outcome(&theirs, row.name, &bytes, || {
            String::from_utf8_lossy(&reference.log()).matches(REPLY_SEEN).count()
        });
        if our_outcome != their_outcome {
            found.push(format!("{}: {our_outcome} here, {their_outcome} there", row.name));
        }
    }
    let lines: Vec<&str> =
        explained.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let known: Vec<&str> = lines.iter().map(|line| line.split("; ").next().unwrap_or_default()).collect();
    assert_eq!(found, known, "tests/golden/torture-disagreements.txt");
    assert!(
        lines.iter().all(|line| line.split_once("; ").is_some_and(|(_, why)| why.len() > 10)),
        "{lines:#?}"
    );
}

#[test]
fn the_example_scripts_are_good_for_both() {
    for path in crate::examples::scripts() {
        let text = std::fs::read_to_string(&path).expect("an example can be read");
        // Debian's package has no module sworker: what it exports is replaced by something of the same form.
        let stubbed =
            text.replace("sworker_task(", "is_method(").replace("sworker_active()", "is_method(\"X\")");
        let lines = stubbed.lines().filter(|line| !line.contains("\"sworker\""));
        let folder = Folder::new();
        folder.write("example.cfg", lines.map(|line| format!("{line}\n")).collect::<String>());
        let arguments = ["-c", "-f", "example.cfg"];
        let finished = Tool::start(&folder, "kamailio", "kamailio", &arguments).finish(SOON);
        assert_eq!(finished.code, Some(0), "{}:\n{}", path.display(), finished.output);
        // It goes on after some mistakes, and tells them.
        let is_complaint = |line: &&str| line.contains("ERROR") || line.contains("CRITICAL");
        let complaints: Vec<&str> = finished.output.lines().filter(is_complaint).collect();
        assert!(complaints.is_empty(), "{}: {complaints:?}", path.display());
    }
}
