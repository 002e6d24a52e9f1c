//! The example scripts that come with the project: each is a good script, and each does what its comment says.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Load, Message, Request, SOON, Server, processes, sworkerd, wait_until};

/// Every script of `scripts/cfg/`.
pub fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cfg");
    let entries = std::fs::read_dir(&folder).expect("the examples are there");
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut scripts: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "cfg")).collect();
    scripts.sort();
    scripts
}

#[test]
fn every_example_script_passes_the_check() {
    let names: Vec<String> =
        scripts().iter().map(|path| path.file_stem().unwrap().to_string_lossy().into()).collect();
    let expected = [
        "answer-later",
        "delegate-by-method",
        "forward",
        "load-balancer",
        "minimal",
        "order-per-call",
        "overload-503",
        "registrar",
    ];
    assert!(expected.iter().all(|name| names.iter().any(|known| known == name)), "{names:?}");
    for script in scripts() {
        let text = std::fs::read_to_string(&script).unwrap();
        let comment = text.lines().skip(1).take_while(|line| line.starts_with('#')).count();
        assert!(comment >= 2, "{} says nothing about itself", script.display());
        let finished = sworkerd(&[], &["-c", "-f", script.to_str().unwrap()]);
        assert_eq!(finished.code, Some(0), "{}:\n{}", script.display(), finished.output);
        assert!(!finished.output.contains("warning"), "{}:\n{}", script.display(), finished.output);
    }
}

/// A script's text without its fixed port.
fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cfg").join(format!("{name}.cfg"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.contains("listen=udp:127.0.0.1:5060\n"), "{name} listens where its comment says");
    text.replace("listen=udp:127.0.0.1:5060\n", "")
}

/// Whom the server forwards to.
fn callee() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port can be bound");
    socket.set_read_timeout(Some(SOON)).expect("a time above zero is taken");
    socket
}

#[test]
fn minimal_answers_every_request_but_ack() {
    let server = Server::start(&example("minimal").replace("children=2", "children=1"));
    let caller = server.caller();
    for method in ["OPTIONS", "INVITE", "REGISTER", "MESSAGE", "FOO"] {
        assert_eq!(caller.ask(&Request::new(method, &format!("minimal-{method}"))).status(), 200);
    }
    caller.expect_silence(&caller.bytes(&Request::new("ACK", "minimal-ack")), "minimal-marker");
}

#[test]
fn answer_later_holds_nobody_up() {
    let script = example("answer-later").replace("children=2", "children=1");
    let server = Server::start(&script.replace("\"REFUSE\", \"3\"", "\"REFUSE\", \"1\""));
    let caller = server.caller();
    let began = Instant::now();
    caller.send(&caller.bytes(&Request::new("OPTIONS", "scan").header("User-Agent: friendly-scanner")));
    caller.send(&caller.bytes(&Request::new("INVITE", "call")));
    assert_eq!(caller.receive().status(), 100);
    assert_eq!(caller.ask(&Request::new("OPTIONS", "quick")).status(), 200);
    assert_eq!(caller.receive().status(), 404);
    server.wait_for_log("looked for ");
    assert_eq!(caller.receive().status(), 403);
    assert!(began.elapsed() >= Duration::from_secs(1), "refused after {:?}", began.elapsed());
}

#[test]
fn delegate_by_method_keeps_the_groups_apart() {
    let server = Server::start(&example("delegate-by-method"));
    let caller = server.caller();
    for (method, title) in [("INVITE", "worker calls/"), ("REGISTER", "worker registrations/")] {
        assert_eq!(caller.ask(&Request::new(method, &format!("apart-{method}"))).status(), 200);
        let workers = server.children_titled(title);
        let log = server.log();
        let line =
            log.lines().find(|line| line.contains(&format!("{method} of"))).expect("its worker told it");
        assert!(line.contains("taken by receiver "), "{line}");
        assert!(
            workers.iter().any(|pid| line.contains(&format!("processed by {pid}"))),
            "{line}: {workers:?}"
        );
    }
    assert_eq!(caller.ask(&Request::new("OPTIONS", "apart-options")).status(), 200);
    let hops = Request::new("OPTIONS", "apart-hops");
    let spent =
        String::from_utf8(caller.bytes(&hops)).unwrap().replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(caller.ask_bytes(spent.as_bytes()).status(), 483);
}

#[test]
fn forward_sends_on_and_answers_for_itself() {
    let server = Server::start(&example("forward"));
    let (caller, callee) = (server.caller(), callee());
    caller.send(
        &Request::new("INVITE", "onward").bytes(caller.address(), callee.local_addr().expect("it is bound")),
    );
    let mut room = [0; 65_536];
    let (size, _) = callee.recv_from(&mut room).expect("it is sent on");
    let forwarded = Message::parse(&room[..size]);
    assert_eq!((forwarded.all("Via").len(), forwarded.header("Max-Forwards")), (2, "69"));
    assert_eq!(caller.ask(&Request::new("OPTIONS", "for-itself")).status(), 200);
}

#[test]
fn order_per_call_answers_each_message_of_many_calls() {
    const CALLS: usize = 20;
    const MESSAGES: usize = 10;
    let server = Server::start(&example("order-per-call").replace("children=2", "children=1"));
    let caller = server.caller();
    for number in 1..=MESSAGES {
        for call in 0..CALLS {
            let request = Request::new("INFO", &format!("call-{call}"));
            let text = String::from_utf8(caller.bytes(&request)).unwrap();
            caller.send(text.replace("CSeq: 1 ", &format!("CSeq: {number} ")).as_bytes());
        }
    }
    for _ in 0..CALLS * MESSAGES {
        assert_eq!(caller.receive().status(), 200);
    }
    wait_until("all are told", SOON, || server.log_count(" INFO\n") == CALLS * MESSAGES);
    let log = server.log();
    for call in 0..CALLS {
        let start = format!("<script>: call-{call}: ");
        let told = log.lines().filter_map(|line| line.split_once(&start)?.1.split(' ').next()?.parse().ok());
        let numbers: Vec<usize> = told.collect();
        assert_eq!(numbers, (1..=MESSAGES).collect::<Vec<_>>(), "call {call}");
    }
}

#[test]
fn overload_503_refuses_with_a_time_and_loses_nothing() {
    let server = Server::start(&example("overload-503"));
    let worker = server.worker("calls", 1);
    let caller = server.caller();
    let capacity = server.group("calls")["capacity"].as_u64().expect("a group tells its capacity") as usize;
    // One more may be in the worker's hands when it is stopped.
    let (sent, taken_max) = (capacity + 60, capacity + 1);
    processes::freeze(worker);
    for index in 0..sent {
        caller.send(&caller.bytes(&Request::new("INVITE", &format!("overload-{index}"))));
    }
    // The worker stands still, so what is more than the queue holds is refused.
    for _ in 0..sent - taken_max {
        let answer = caller.receive();
        assert_eq!((answer.status(), answer.header("Retry-After")), (503, "5"));
    }
    processes::thaw(worker);
    // Every message got its answer. Each receiver has a ring of its own: the one that refused was full, the other may
    // have had fewer messages to hand over than its ring holds.
    let rest: Vec<u16> = (sent - taken_max..sent).map(|_| caller.receive().status()).collect();
    let accepted = rest.iter().filter(|status| **status == 200).count();
    assert!(rest.iter().all(|status| [200, 503].contains(status)), "{rest:?}");
    assert!(accepted >= capacity / 2, "{accepted} of {capacity}");
    Load::new("after-overload", 100).window(8).run(&caller).assert_nothing_lost();
}

#[test]
fn registrar_answers_as_a_registrar() {
    let server = Server::start(&example("registrar"));
    let caller = server.caller();
    let contact = format!("<sip:tester@{}>", caller.address());
    let register = |name: &str| Request::new("REGISTER", name);
    let rows: [(Request, u16, &str, String); 6] = [
        (register("plain"), 200, "Contact", format!("{contact};expires=3600")),
        (register("ten-minutes").header("Expires: 600"), 200, "Contact", format!("{contact};expires=600")),
        (register("too-brief").header("Expires: 10"), 423, "Min-Expires", "60".into()),
        (register("away").header("Expires: 0"), 200, "Contact", format!("{contact};expires=0")),
        (Request::new("INVITE", "no-calls"), 405, "Contact", String::new()),
        (Request::new("OPTIONS", "alive"), 200, "Contact", String::new()),
    ];
    for (request, status, header, value) in rows {
        let answer = caller.ask(&request);
        assert_eq!((answer.status(), answer.header(header)), (status, value.as_str()), "{request:?}");
    }
    let all_away = |name: &str, expires: &str| {
        let text = String::from_utf8(caller.bytes(&register(name).header(expires))).unwrap();
        caller.ask_bytes(text.replace(&format!("Contact: {contact}"), "Contact: *").as_bytes()).status()
    };
    assert_eq!(all_away("all-away", "Expires: 0"), 200);
    assert_eq!(all_away("all-but-not-now", "Expires: 60"), 400);
    let asked = String::from_utf8(caller.bytes(&register("asked"))).unwrap();
    let asked = caller.ask_bytes(asked.replace(&format!("Contact: {contact}\r\n"), "").as_bytes());
    assert_eq!((asked.status(), asked.header("Contact")), (200, ""));
}

#[test]
fn load_balancer_spreads_calls_and_keeps_each_together() {
    let servers = [callee(), callee(), callee()];
    let mut script = example("load-balancer");
    for (index, socket) in servers.iter().enumerate() {
        let port = socket.local_addr().expect("it is bound").port();
        script =
            script.replace(&format!("sip:127.0.0.1:508{}!", index + 1), &format!("sip:127.0.0.1:{port}!"));
    }
    let server = Server::start(&script);
    let caller = server.caller();
    let mut chosen: Vec<Option<String>> = vec![None; 60];
    for method in ["INVITE", "BYE"] {
        for (call, known) in chosen.iter_mut().enumerate() {
            let name = format!("spread-{call}");
            let request = String::from_utf8(caller.bytes(&Request::new(method, &name))).unwrap();
            caller.send(request.as_bytes());
            let line = format!("{name}: {method} goes to ");
            server.wait_for_log(&format!("{line}sip:"));
            let log = server.log();
            let place = log.split(&line).nth(1).and_then(|rest| rest.lines().next()).map(str::to_string);
            assert!(known.is_none() || *known == place, "{name}: {known:?}, then {place:?}");
            *known = place;
        }
    }
    for socket in &servers {
        let port = socket.local_addr().expect("it is bound").port();
        let count = chosen.iter().flatten().filter(|place| place.ends_with(&format!(":{port}"))).count();
        assert!((8..=40).contains(&count), "{count} of 60 calls went to one of three servers");
        let mut room = [0; 65_536];
        for _ in 0..2 * count {
            let (size, _) = socket.recv_from(&mut room).expect("each message comes to the server chosen");
            assert_eq!(Message::parse(&room[..size]).all("Via").len(), 2);
        }
    }
    let own = format!("OPTIONS sip:{} SIP/2.0", server.address());
    let request = String::from_utf8(caller.bytes(&Request::new("OPTIONS", "own"))).unwrap();
    let request = request.replacen(&format!("OPTIONS sip:service@{} SIP/2.0", server.address()), &own, 1);
    assert_eq!(caller.ask_bytes(request.as_bytes()).status(), 200);
}
