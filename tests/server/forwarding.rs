//! Stateless forwarding: requests on by `forward()`, replies back by Via.

use std::net::UdpSocket;
use std::time::Duration;

use crate::scripts::HEAD;
use crate::support::{Message, Request, SOON, Server};

fn script(is_delegated: bool, reply_route: &str) -> String {
    let pre_routing = match is_delegated {
        true => r#"event_route[core:pre-routing] { if (sworker_task("calls")) { drop; } }"#,
        false => "",
    };
    format!(
        r#"{HEAD}
children=1
async_workers_group="name=calls;workers=1;queue=64"
{pre_routing}
request_route {{ forward(); }}
{reply_route}
"#
    )
}

/// Somebody the server forwards to.
struct Callee {
    socket: UdpSocket,
}

impl Callee {
    fn new() -> Callee {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port can be bound");
        socket.set_read_timeout(Some(SOON)).expect("a time above zero is taken");
        Callee { socket }
    }

    #[track_caller]
    fn receive(&self) -> (Message, std::net::SocketAddr) {
        let mut buffer = [0; 65_536];
        let (size, from) = self.socket.recv_from(&mut buffer).expect("the request is forwarded to us");
        (Message::parse(&buffer[..size]), from)
    }

    fn answer(&self, request: &Message, status: &str, to: std::net::SocketAddr) {
        self.socket.send_to(&reply(request, status), to).expect("loopback takes a datagram");
    }
}

/// A reply as a user agent makes it.
fn reply(request: &Message, status: &str) -> Vec<u8> {
    let echoed = request
        .headers
        .iter()
        .filter(|(name, _)| ["Via", "From", "Call-ID", "CSeq"].contains(&name.as_str()));
    let lines: String = echoed.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("SIP/2.0 {status}\r\n{lines}To: {};tag=callee\r\nContent-Length: 0\r\n\r\n", request.header("To"))
        .into()
}

/// A Via in pieces, those after the first sorted: their order has no meaning.
fn parameters(via: &str) -> Vec<&str> {
    let mut pieces: Vec<&str> = via.split(';').collect();
    pieces[1..].sort();
    pieces
}

#[test]
fn a_request_goes_on_with_our_via_and_its_reply_comes_back_without_it() {
    for is_delegated in [false, true] {
        let server = Server::start(&script(is_delegated, ""));
        let (caller, callee) = (server.caller(), Callee::new());
        let request = Request::new("INVITE", "onward").body("v=0\r\n");
        caller.send(&request.bytes(caller.address(), callee.socket.local_addr().unwrap()));

        let (forwarded, from) = callee.receive();
        assert_eq!(from, server.address(), "sent from the socket it came in by");
        let port = caller.address().port();
        let vias = forwarded.all("Via");
        assert_eq!(vias.len(), 2, "{forwarded:?}");
        assert!(
            vias[0].starts_with(&format!("SIP/2.0/UDP {};branch=z9hG4bK", server.address())),
            "{}",
            vias[0]
        );
        let theirs =
            format!("SIP/2.0/UDP {};branch=z9hG4bK-onward;rport={port};received=127.0.0.1", caller.address());
        assert_eq!(parameters(vias[1]), parameters(&theirs));
        assert_eq!(forwarded.headers[0].0, "Via", "our Via is the first header");
        assert_eq!(forwarded.header("Max-Forwards"), "70", "counting hops is the script's business");
        assert_eq!((forwarded.body.as_str(), forwarded.header("Content-Length")), ("v=0\r\n", "5"));

        callee.answer(&forwarded, "180 Ringing", from);
        assert_eq!(caller.receive().status(), 180);
        callee.answer(&forwarded, "200 OK", from);
        let answer = caller.receive();
        assert_eq!((answer.status(), answer.all("Via")), (200, vec![vias[1]]));
        assert_eq!(answer.to_tag(), Some("callee"));
    }
}

#[test]
fn a_retransmission_is_forwarded_with_the_same_branch() {
    // RFC 3261 16.11: a stateless proxy makes the same branch of the same request.
    let server = Server::start(&script(false, ""));
    let (caller, callee) = (server.caller(), Callee::new());
    let branch_of = |name: &str| {
        caller
            .send(&Request::new("INVITE", name).bytes(caller.address(), callee.socket.local_addr().unwrap()));
        callee.receive().0.all("Via")[0].to_string()
    };
    assert_eq!(branch_of("same"), branch_of("same"));
    assert_ne!(branch_of("same"), branch_of("other"));
}

#[test]
fn the_reply_route_sees_a_reply_and_may_drop_it() {
    let route = r#"reply_route {
        xinfo("reply $rs $rr of $rm\n");
        if ($rs == 183) { drop; }
    }"#;
    for is_delegated in [false, true] {
        let server = Server::start(&script(is_delegated, route));
        let (caller, callee) = (server.caller(), Callee::new());
        caller.send(
            &Request::new("INVITE", "dropped").bytes(caller.address(), callee.socket.local_addr().unwrap()),
        );
        let (forwarded, from) = callee.receive();
        for status in ["100 Trying", "183 Session Progress", "486 Busy Here"] {
            callee.answer(&forwarded, status, from);
        }
        assert_eq!([caller.receive().status(), caller.receive().status()], [100, 486]);
        for line in ["reply 183 Session Progress of INVITE", "reply 486 Busy Here of INVITE"] {
            server.wait_for_log(line);
        }
    }
}

#[test]
fn a_reply_with_one_via_goes_nowhere() {
    let server = Server::start(&script(false, ""));
    let (caller, callee) = (server.caller(), Callee::new());
    let alone = Message::parse(&caller.bytes(&Request::new("INVITE", "alone")));
    callee.answer(&alone, "200 OK", server.address());
    // A marker that goes the whole way comes first.
    caller.send(
        &Request::new("OPTIONS", "marker").bytes(caller.address(), callee.socket.local_addr().unwrap()),
    );
    let (marker, from) = callee.receive();
    callee.answer(&marker, "200 OK", from);
    assert_eq!(caller.receive().header("Call-ID"), "marker");
}

#[test]
fn a_destination_can_be_named_in_the_script() {
    let callee = Callee::new();
    let port = callee.socket.local_addr().unwrap().port();
    let script = script(false, "").replace("forward();", &format!("forward(127.0.0.1, {port});"));
    let server = Server::start(&script);
    let caller = server.caller();
    caller.send(&caller.bytes(&Request::new("MESSAGE", "named")));
    assert_eq!(callee.receive().0.header("Call-ID"), "named");
}

#[test]
fn a_destination_nobody_is_at_harms_nobody() {
    let server = Server::start(
        &script(true, "")
            .replace("forward();", r#"if ($rU == "away") { forward(); exit; } sl_send_reply("200", "OK");"#),
    );
    let caller = server.caller();
    let nowhere = Callee::new().socket.local_addr().unwrap();
    for index in 0..200 {
        let away = Request::new("OPTIONS", &format!("away-{index}")).user("away");
        caller.send(&away.bytes(caller.address(), nowhere));
        let answer = caller.ask(&Request::new("OPTIONS", &format!("here-{index}")));
        assert_eq!(answer.status(), 200);
    }
    assert!(caller.receive_within(Duration::from_millis(1)).is_none());
}
