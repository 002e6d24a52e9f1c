//! Replies byte for byte: RFC 3261 8.2.6, `received` and `rport`, tags, and where they are sent.

use std::net::UdpSocket;

use crate::scripts::{HEAD, answered_by_the_receiver, answered_by_workers};
use crate::support::{Caller, Request, Server};

/// A server whose every word is known but the to-tag.
fn server(global: &str) -> Server {
    server_that_answers(global, "486", "Busy Here")
}

fn server_that_answers(global: &str, code: &str, reason: &str) -> Server {
    Server::start(&format!(
        "{HEAD}\nchildren=1\nserver_header=\"Server: the tested one\"\n{global}\n\
         request_route {{ sl_send_reply(\"{code}\", \"{reason}\"); }}\n"
    ))
}

/// The bytes that came with the to-tag, if there is one, replaced by `TAG`.
fn with_tag_blanked(answer: &[u8], sent_to_tag: Option<&str>) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    let to = text.lines().find(|line| line.starts_with("To:")).unwrap_or_default().to_string();
    let (before, tag) = to.split_once(";tag=").unwrap_or_else(|| panic!("no to-tag in {to:?}"));
    match sent_to_tag {
        Some(sent) => assert_eq!(tag, sent, "a tag that came must stay"),
        None => assert!(tag.len() >= 8 && tag.is_ascii(), "a weak tag: {tag:?}"),
    }
    text.replace(&to, &format!("{before};tag=TAG"))
}

#[test]
fn a_reply_is_what_rfc_3261_8_2_6_asks_byte_for_byte() {
    // A reply that makes a dialog carries the route to us (RFC 3261 12.1.1), one that does not has no need of it.
    const ROUTE: &str = "Record-Route: <sip:p2.example.com;lr>, <sip:p1.example.com;lr>\r\n";
    for (status, route) in [("200 Fine", ROUTE), ("486 Busy Here", "")] {
        let (code, reason) = status.split_once(' ').unwrap();
        let server = server_that_answers("", code, reason);
        let caller = server.caller();
        let (us, port) = (caller.address(), caller.address().port());
        let request = format!(
            "INVITE sip:bob@example.com SIP/2.0\r\n\
             Via: SIP/2.0/UDP {us};branch=z9hG4bKfirst;rport\r\n\
             Via: SIP/2.0/TCP far.example.com;branch=z9hG4bKsecond;received=10.1.2.3\r\n\
             {ROUTE}\
             Max-Forwards: 70\r\n\
             From: \"Alice, A.\" <sip:alice@example.com>;tag=abc\r\n\
             To: Bob <sip:bob@example.com>\r\n\
             Call-ID: 4711@far.example.com\r\n\
             CSeq: 314159 INVITE\r\n\
             Contact: <sip:alice@far.example.com>\r\n\
             Subject: not echoed\r\n\
             Content-Type: text/plain\r\n\
             Content-Length: 4\r\n\r\nbody"
        );
        caller.send(request.as_bytes());
        let answer = caller.receive_within(crate::support::SOON).expect("an answer comes");
        assert_eq!(
            with_tag_blanked(&answer, None),
            format!(
                "SIP/2.0 {status}\r\n\
                 Via: SIP/2.0/UDP {us};branch=z9hG4bKfirst;rport={port};received=127.0.0.1\r\n\
                 Via: SIP/2.0/TCP far.example.com;branch=z9hG4bKsecond;received=10.1.2.3\r\n\
                 {route}\
                 From: \"Alice, A.\" <sip:alice@example.com>;tag=abc\r\n\
                 To: Bob <sip:bob@example.com>;tag=TAG\r\n\
                 Call-ID: 4711@far.example.com\r\n\
                 CSeq: 314159 INVITE\r\n\
                 Server: the tested one\r\n\
                 Content-Length: 0\r\n\r\n"
            )
        );
    }
}

#[test]
fn the_top_via_tells_whence_the_request_came() {
    let server = server("");
    let caller = server.caller();
    let (us, port) = (caller.address(), caller.address().port());
    // Sent-by and parameters as they come, and the whole Via as it goes back.
    let rows = [
        (format!("{us};branch=z9hG4bK1"), format!("{us};branch=z9hG4bK1")),
        (
            format!("{us};branch=z9hG4bK2;rport"),
            format!("{us};branch=z9hG4bK2;rport={port};received=127.0.0.1"),
        ),
        (
            format!("pc.example.com:{port};branch=z9hG4bK3"),
            format!("pc.example.com:{port};branch=z9hG4bK3;received=127.0.0.1"),
        ),
        (
            "10.0.0.1:9;branch=z9hG4bK4;rport".into(),
            format!("10.0.0.1:9;branch=z9hG4bK4;rport={port};received=127.0.0.1"),
        ),
    ];
    for (sent, expected) in rows {
        let text = String::from_utf8(caller.bytes(&Request::new("OPTIONS", "via"))).unwrap();
        let old = text.lines().find(|line| line.starts_with("Via:")).unwrap().to_string();
        let answer = caller.ask_bytes(text.replace(&old, &format!("Via: SIP/2.0/UDP {sent}")).as_bytes());
        assert_eq!(answer.header("Via"), format!("SIP/2.0/UDP {expected}"), "sent {sent}");
    }
}

#[test]
fn without_rport_the_reply_goes_to_the_port_of_the_via() {
    let server = server("");
    let caller = server.caller();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.set_read_timeout(Some(crate::support::SOON)).unwrap();
    let request = Request::new("OPTIONS", "elsewhere").via_parameters("");
    caller.send(&request.bytes(other.local_addr().unwrap(), server.address()));
    let mut buffer = [0; 4096];
    let size = other.recv(&mut buffer).expect("the answer comes to the port of the Via");
    assert!(buffer[..size].starts_with(b"SIP/2.0 486 "));
}

#[test]
fn force_rport_sends_it_back_whence_it_came() {
    for (global, statement) in [("force_rport=yes", ""), ("", "force_rport();")] {
        let server = Server::start(&format!(
            "{HEAD}\nchildren=1\n{global}\nrequest_route {{ {statement} sl_send_reply(\"200\", \"OK\"); }}\n"
        ));
        let caller = server.caller();
        let request = Request::new("OPTIONS", "forced").via_parameters("");
        let answer = caller.ask_bytes(&request.bytes("127.0.0.1:9".parse().unwrap(), server.address()));
        let port = caller.address().port();
        assert!(answer.header("Via").contains(&format!(";rport={port}")), "{}", answer.header("Via"));
    }
}

#[test]
fn a_retransmission_gets_the_same_to_tag_whoever_answers_it() {
    for script in
        [answered_by_the_receiver().replace("children=1", "children=3"), answered_by_workers(3, 3, 64)]
    {
        let server = Server::start(&script);
        let caller = server.caller();
        let request = Request::new("OPTIONS", "again");
        let mut tags: Vec<String> =
            (0..30).map(|_| caller.ask(&request).to_tag().expect("a tag").to_string()).collect();
        tags.dedup();
        assert_eq!(tags.len(), 1, "{tags:?}");
        let other = caller.ask(&Request::new("OPTIONS", "other"));
        assert_ne!(other.to_tag(), Some(tags[0].as_str()));
    }
}

#[test]
fn another_start_of_the_server_has_other_tags() {
    let tag = || {
        let server = Server::start(&answered_by_the_receiver());
        // The same bytes for both, so from a Via that does not hold our changing port.
        let request = Request::new("OPTIONS", "same").header("X: y");
        let bytes = request.bytes("127.0.0.1:9".parse().unwrap(), "127.0.0.1:5060".parse().unwrap());
        server.caller().ask_bytes(&bytes).to_tag().expect("a tag").to_string()
    };
    assert_ne!(tag(), tag());
}

#[test]
fn a_to_tag_that_came_stays() {
    let server = server("");
    let caller = server.caller();
    let text = String::from_utf8(caller.bytes(&Request::new("BYE", "tagged"))).unwrap();
    let old = text.lines().find(|line| line.starts_with("To:")).unwrap().to_string();
    caller.send(text.replace(&old, &format!("{old};tag=theirs")).as_bytes());
    let answer = caller.receive_within(crate::support::SOON).expect("an answer comes");
    with_tag_blanked(&answer, Some("theirs"));
}

#[test]
fn ack_is_never_answered() {
    let server = server("");
    let caller = server.caller();
    let ack = caller.bytes(&Request::new("ACK", "ack"));
    caller.expect_silence(&ack, "after-the-ack");
}

#[test]
fn the_server_header_is_as_set() {
    let rows = [
        ("", true, ""),
        ("server_signature=no", false, ""),
        ("server_header=\"Server: mine\"", true, "mine"),
    ];
    for (global, is_there, value) in rows {
        let server = Server::start(&format!(
            "{HEAD}\nchildren=1\n{global}\nrequest_route {{ sl_send_reply(\"200\", \"OK\"); }}\n"
        ));
        let answer = server.caller().ask(&Request::new("OPTIONS", "one"));
        assert_eq!(!answer.all("Server").is_empty(), is_there, "{global}");
        if !value.is_empty() {
            assert_eq!(answer.header("Server"), value);
        }
    }
}

#[test]
fn over_ipv6_it_is_the_same() {
    let server = Server::on(&answered_by_workers(1, 1, 64)).listen("udp:[::1]:0").start();
    let caller = Caller::new(server.address());
    let answer = caller.ask(&Request::new("OPTIONS", "six"));
    let (us, port) = (caller.address(), caller.address().port());
    assert_eq!(
        answer.header("Via"),
        format!("SIP/2.0/UDP {us};branch=z9hG4bK-six;rport={port};received=::1"),
    );
}
