//! Beside the reference: Debian's Kamailio reads the same bytes and the same scripts, and we agree.
//!
//! Where we mean to differ, the row says so. Debian's package has no sworker module, so nothing here delegates.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::bad_input;
use crate::scripts::HEAD;
use crate::support::{Caller, Folder, Message, Request, SOON, Server, Tool, wait_until};

/// The script both of them run.
fn script() -> String {
    let head = HEAD.replace("loadmodule \"sworker\"\n", "");
    format!("{head}children=1\nauto_aliases=no\nrequest_route {{ sl_send_reply(\"200\", \"OK\"); }}\n")
}

/// A running reference.
struct Reference {
    _folder: Folder,
    _master: Tool,
    address: SocketAddr,
}

impl Reference {
    #[track_caller]
    fn start() -> Reference {
        let folder = Folder::new();
        folder.write("k.cfg", script());
        // It cannot be told to take any port, so it gets one that was free a moment ago.
        let address =
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let listen = format!("udp:{address}");
        let arguments = ["-DD", "-E", "-f", "k.cfg", "-w", ".", "-Y", "run", "-T", "-l", &listen];
        let mut master = Tool::start(&folder, "kamailio", "kamailio", &arguments);
        let caller = Caller::new(address);
        wait_until("the reference answers", SOON, || {
            assert!(master.exit_status().is_none(), "the reference ended:\n{}", master.output());
            caller.send(&caller.bytes(&Request::new("OPTIONS", "are-you-there")));
            caller.receive_within(Duration::from_millis(50)).is_some()
        });
        Reference { _folder: folder, _master: master, address }
    }
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
    let reference = Reference::start();
    let server = Server::start(&script());
    let (theirs, ours) = (Caller::new(reference.address), server.caller());
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
    let reference = Reference::start();
    let caller = Caller::new(reference.address);
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
        if ours.code != theirs.code {
            differ.push(format!("{lines}\nours:\n{}\ntheirs:\n{}", ours.output, theirs.output));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n----\n"));
}
