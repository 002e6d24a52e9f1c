//! What arrives is not always SIP: which broken messages are answered, which are thrown away, and that no byte from
//! the network takes a process down.

use crate::scripts::{answered_by_the_receiver, answered_by_workers};
use crate::support::{Caller, Load, Request, SOON, Server, wait_until};

/// The request all rows are made from.
pub fn good(caller: &Caller, name: &str) -> String {
    String::from_utf8(caller.bytes(&Request::new("OPTIONS", name))).unwrap()
}

/// How a row changes the good request.
pub type Change = fn(String) -> Vec<u8>;

pub const ANSWERED: &[(&str, Change)] = &[
    ("as it should be", |text| text.into()),
    ("line ends of LF alone", |text| text.replace("\r\n", "\n").into()),
    ("empty lines before it", |text| format!("\r\n\r\n{text}").into()),
    ("NULs before it", |text| format!("\0\0\0{text}").into()),
    ("NUL inside a header", |text| text.replace("Max-Forwards: 70", "X-Nul: a\0b").into()),
    ("space after the version", |text| text.replacen(" SIP/2.0\r\n", " SIP/2.0 \r\n", 1).into()),
    ("version in lower case", |text| text.replacen(" SIP/2.0\r\n", " sip/2.0\r\n", 1).into()),
    ("Request-URI that is none", |text| with_uri(&text, "notauri")),
    ("Request-URI of a telephone", |text| with_uri(&text, "tel:+431234")),
    ("unknown method", |text| text.replace("OPTIONS", "FOOBAR").into()),
    ("method in lower case", |text| text.replace("OPTIONS", "options").into()),
    ("no empty line at the end", |text| text.trim_end_matches("\r\n").to_string().into_bytes_with("\r\n")),
    ("no Content-Length", |text| text.replace("Content-Length: 0\r\n", "").into()),
    ("Content-Length above the body", |text| text.replace("Content-Length: 0", "Content-Length: 50").into()),
    ("Content-Length below the body", |text| format!("{text}more than told").into()),
    ("a folded header", |text| text.replace("Max-Forwards: 70", "Subject: one\r\n two").into()),
    ("compact names", |text| compact(&text)),
    ("method of CSeq is another", |text| text.replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE").into()),
    ("number of CSeq is huge", |text| text.replace("CSeq: 1 ", "CSeq: 99999999999 ").into()),
    ("From without a tag", |text| without_from_tag(&text)),
];

pub const THROWN_AWAY: &[(&str, Change)] = &[
    ("nothing", |_| vec![]),
    ("keep-alive of CRLF", |_| b"\r\n\r\n".to_vec()),
    ("keep-alive of NULs", |_| vec![0; 4]),
    ("less than 32 bytes", |_| b"OPTIONS sip:a SIP/2.0\r\n\r\n".to_vec()),
    ("junk", |_| (0..200u32).map(|index| (index * 37 % 251) as u8).collect()),
    ("line ends of CR alone", |text| text.replace("\r\n", "\r").into()),
    ("two spaces in the request line", |text| text.replacen("OPTIONS ", "OPTIONS  ", 1).into()),
    ("version 1.0", |text| text.replacen(" SIP/2.0\r\n", " SIP/1.0\r\n", 1).into()),
    ("version 3.0", |text| text.replacen(" SIP/2.0\r\n", " SIP/3.0\r\n", 1).into()),
    ("HTTP", |text| text.replacen(" SIP/2.0\r\n", " HTTP/1.1\r\n", 1).into()),
    ("no Via", |text| without_line(&text, "Via:")),
    ("a Via that is none", |text| text.replace("Via: SIP/2.0/UDP ", "Via: \x16UD~PTo :::] ").into()),
    ("no Call-ID", |text| without_line(&text, "Call-ID:")),
    ("no From", |text| without_line(&text, "From:")),
    ("no To", |text| without_line(&text, "To:")),
    ("no CSeq", |text| without_line(&text, "CSeq:")),
    ("cut in the middle of its headers", |text| text[..text.find("Call-ID").unwrap_or(0)].into()),
    ("cut in the middle of its Via", |text| text[..text.find(";branch").unwrap_or(0)].into()),
    ("negative Content-Length", |text| text.replace("Content-Length: 0", "Content-Length: -1").into()),
    ("two From", |text| text.replace("Max-Forwards: 70", "From: <sip:x@y>;tag=2").into()),
    ("a header line without a colon", |text| text.replace("Max-Forwards: 70", "Max-Forwards 70").into()),
    ("a status line without Via", |_| b"SIP/2.0 200 OK\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n".to_vec()),
    ("more than 32767 bytes", |text| {
        text.replace("Max-Forwards: 70", &format!("X: {}", "x".repeat(33_000))).into()
    }),
];

trait WithEnd {
    fn into_bytes_with(self, end: &str) -> Vec<u8>;
}

impl WithEnd for String {
    fn into_bytes_with(mut self, end: &str) -> Vec<u8> {
        self.push_str(end);
        self.into_bytes()
    }
}

fn with_uri(text: &str, uri: &str) -> Vec<u8> {
    let rest = &text[text.find(" SIP/2.0\r\n").unwrap_or(0)..];
    format!("OPTIONS {uri}{rest}").into()
}

fn without_line(text: &str, start: &str) -> Vec<u8> {
    let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with(start));
    lines.collect::<String>().into()
}

fn without_from_tag(text: &str) -> Vec<u8> {
    let lines = text.split_inclusive("\r\n").map(|line| match line.strip_prefix("From:") {
        Some(value) => format!("From:{}\r\n", value.split(";tag=").next().unwrap_or_default()),
        None => line.to_string(),
    });
    lines.collect::<String>().into()
}

fn compact(text: &str) -> Vec<u8> {
    let names = [("Via:", "v:"), ("From:", "f:"), ("To:", "t:"), ("Call-ID:", "i:"), ("Contact:", "m:")];
    let all = names.iter().fold(text.to_string(), |text, (long, short)| text.replace(long, short));
    all.replace("Content-Length:", "l:").into()
}

/// The same rows wherever the message is looked at.
fn check_all_rows(server: &Server) {
    let caller = server.caller();
    let mut wrong = Vec::new();
    for (index, (what, change)) in ANSWERED.iter().enumerate() {
        caller.send(&change(good(&caller, &format!("good-{index}"))));
        match caller.receive_within(crate::support::SOON) {
            Some(answer) if answer[8..].starts_with(b"200 ") => {}
            Some(answer) => wrong.push(format!("{what}: {}", String::from_utf8_lossy(&answer))),
            None => wrong.push(format!("not answered: {what}")),
        }
    }
    for (index, (what, change)) in THROWN_AWAY.iter().enumerate() {
        let (bytes, marker) = (change(good(&caller, &format!("bad-{index}"))), format!("after-{index}"));
        if !caller.is_thrown_away(&bytes, &marker) {
            wrong.push(format!("answered: {what}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn in_a_receiver_each_row_of_the_table_holds() {
    check_all_rows(&Server::start(&answered_by_the_receiver()));
}

#[test]
fn in_a_worker_each_row_of_the_table_holds() {
    check_all_rows(&Server::start(&answered_by_workers(1, 1, 64)));
}

/// What a row of [`THROWN_AWAY`] is told where broken requests are answered; the others are owed nothing.
const TOLD: &[(&str, &str)] = &[
    ("two spaces in the request line", "400 Bad Request (request line is not separated by single spaces)"),
    ("version 1.0", "505 Version Not Supported (version is not SIP/2.0)"),
    ("version 3.0", "505 Version Not Supported (version is not SIP/2.0)"),
    ("no Call-ID", "400 Bad Request (no Call-ID)"),
    ("no From", "400 Bad Request (no From)"),
    ("no To", "400 Bad Request (no To)"),
    ("no CSeq", "400 Bad Request (no CSeq)"),
    ("cut in the middle of its headers", "400 Bad Request (no Call-ID)"),
    ("cut in the middle of its Via", "400 Bad Request (no From)"),
    ("negative Content-Length", "400 Bad Request (bad Content-Length: it is not a number below 2^32)"),
    ("two From", "400 Bad Request (more than one From)"),
    ("a header line without a colon", "400 Bad Request (a header line has no valid name before a colon)"),
];

#[test]
fn a_server_that_answers_broken_requests_says_what_is_wrong() {
    let script =
        answered_by_workers(1, 1, 64).replace("children=1", "children=1\nanswer_broken_requests=yes");
    let server = Server::start(&script);
    let caller = server.caller();
    for (index, (what, change)) in THROWN_AWAY.iter().enumerate() {
        let bytes = change(good(&caller, &format!("bad-{index}")));
        let told = TOLD.iter().find(|(row, _)| row == what).map(|(_, told)| *told);
        match told {
            None => caller.expect_silence(&bytes, &format!("after-{index}")),
            Some(told) => {
                caller.send(&bytes);
                let answer = caller.receive_within(crate::support::SOON).unwrap_or_default();
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert_eq!(answer.lines().next(), Some(format!("SIP/2.0 {told}").as_str()), "{what}");
            }
        }
    }
    assert_eq!(server.counter("core.broken_answered"), TOLD.len() as u64);
}

#[test]
fn a_parser_that_is_not_strict_takes_the_first_of_each_field() {
    for script in [answered_by_the_receiver(), answered_by_workers(1, 1, 64)] {
        let script = script.replace("children=1", "children=1\nsip_parser_mode=0");
        let server = Server::start(&script);
        let caller = server.caller();
        for second in ["From: <sip:z@z>;tag=z", "t: <sip:z@z>;tag=z", "Call-ID: zzz", "CSeq: 77 BYE"] {
            let text = good(&caller, "first").replacen("\r\n\r\n", &format!("\r\n{second}\r\n\r\n"), 1);
            caller.send(text.as_bytes());
            let answer = caller.receive_within(crate::support::SOON).expect("it is answered");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(
                answer.starts_with("SIP/2.0 200 ") && answer.contains("\r\nCall-ID: first\r\n"),
                "{answer}"
            );
            assert!(!answer.contains(second) && !answer.contains("z@z"), "{second} comes back: {answer}");
        }
        assert_eq!(server.counter("core.broken_received"), 0);
    }
}

#[test]
fn hosts_have_what_the_script_allows_beside_the_grammar() {
    let script = "children=1\nloadmodule \"sl\"\nloadmodule \"pv\"\nloadmodule \"sanity\"\n\
        request_route { if (sanity_check(\"1026\", \"7\")) sl_send_reply(\"200\", \"$rd $fd\"); }\n";
    let rows = [
        ("", "400 Bad Request (bad request-uri: uri has text after the host that is no parameter)"),
        ("uri_host_extra_chars=\"$\"\n", "200 my$host an$other"),
        (
            "uri_host_extra_chars=\"^\"\n",
            "400 Bad Request (bad request-uri: uri has text after the host that is no parameter)",
        ),
    ];
    for (parameter, expected) in rows {
        let server = Server::start(&format!("{parameter}{script}"));
        let caller = server.caller();
        let text = good(&caller, "extra");
        let (head, rest) = text.split_once("\r\n").expect("lines");
        let kept = rest.split_inclusive("\r\n").filter(|line| !line.starts_with("From:"));
        let method = head.split(' ').next().expect("a method");
        let rest: String = kept.collect();
        caller.send(
            format!("{method} sip:b@my$host SIP/2.0\r\nFrom: <sip:a@an$other>;tag=1\r\n{rest}").as_bytes(),
        );
        let answer = caller.receive_within(crate::support::SOON).expect("it is answered");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(answer.lines().next(), Some(format!("SIP/2.0 {expected}").as_str()), "{parameter}");
    }
}

#[test]
fn the_version_is_echoed_as_it_came_or_as_it_should_be() {
    let server = Server::start(&answered_by_the_receiver());
    let caller = server.caller();
    caller.send(good(&caller, "lower").replacen(" SIP/2.0\r\n", " sip/2.0\r\n", 1).as_bytes());
    let answer = caller.receive_within(crate::support::SOON).expect("lower case is answered");
    assert!(answer[..8].eq_ignore_ascii_case(b"SIP/2.0 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn forty_thousand_damaged_messages_take_nobody_down() {
    const COUNT: u64 = 40_000;
    let server = Server::start(&answered_by_workers(2, 2, 256));
    let caller = server.caller();
    let before = server.children();
    let text = good(&caller, "damaged").into_bytes();
    let mut random = Random(0x5eed);
    for round in 0..COUNT {
        caller.send(&damage(&text, &mut random));
        if round % 64 == 0 {
            // Keep pace with the server, so that the damaged ones are read and not lost in the socket's buffer.
            let tally = Load::new(&format!("pace-{round}"), 1).run(&caller);
            assert_eq!(tally.answered, 1, "deaf after {round} damaged messages");
        }
    }
    assert_eq!(server.children(), before, "somebody died");
    let log_size = server.log().len();
    assert!(log_size < 1 << 20, "wrote {log_size} bytes of log about {COUNT} damaged messages");
}

#[test]
fn what_is_said_of_a_sender_over_and_over_is_held_back_and_told_and_others_are_heard() {
    let server = Server::start(&answered_by_workers(1, 1, 64));
    let (noisy, other) = (server.caller(), Caller::at("127.0.0.9:0", server.address()));
    let send = |caller: &Caller, name: &str| caller.send(&without_line(&good(caller, name), "CSeq:"));
    let lines = || server.log_count("message discarded: no CSeq");
    // Given one who sends a hundred broken messages at once ...
    (0..100).for_each(|index| send(&noisy, &format!("noisy-{index}")));
    wait_until("all are counted", SOON, || server.counter("core.broken_received") == 100);
    let held_back = server.counter("core.log_lines_suppressed");
    assert!((80..=90).contains(&held_back), "{held_back} lines were held back");
    assert_eq!(lines() as u64, 100 - held_back, "{}", server.log());
    // ... when a second goes by, then the next line says how many were held back ...
    wait_until("one more is written", SOON, || {
        send(&noisy, "late");
        server.log_count("similar lines about this source") > 0
    });
    assert!(server.log().contains("(suppressed "), "{}", server.log());
    // ... and another sender was never held back.
    send(&other, "other");
    server.wait_for_log("bytes from 127.0.0.9:");
}

/// A small generator of our own (xorshift), so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One to four hurts: a byte changed, a piece cut out, doubled, or replaced by something nasty.
fn damage(text: &[u8], random: &mut Random) -> Vec<u8> {
    const NASTY: &[&[u8]] =
        &[b"\r\n\r\n", b"\0", b"%00", b"4294967296", b"-1", b";;;;", b"<<>>\"", b"\xff\xfe", b"SIP/2.0"];
    let mut bytes = text.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.next() as u8,
            1 => drop(bytes.drain(at..end)),
            2 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
            3 => bytes.splice(at..end, NASTY[random.below(NASTY.len())].iter().copied()).for_each(drop),
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            bytes.push(b'S');
        }
    }
    bytes
}
