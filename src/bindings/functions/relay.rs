//! Sending on: `forward()` and its kin, and how the message is to leave: `force_send_socket`, `force_rport`, …
//!
//! `forward()` relays without keeping state (RFC 3261 16.11): own Via with a branch that retransmissions share, nothing
//! is resent, Max-Forwards is left to `mf_process_maxfwd_header()`. Addresses are used as they are; host names are
//! looked up by the system's resolver, which **holds the process** for as long as that takes.

use crate::script::catalog::{ParameterKind, RouteSet};
use crate::script::diagnostic::Diagnostic;
use crate::script::host::{Argument, Outcome};

use super::super::preparation::Preparation;
use super::super::variables::network::listener_at;
use super::super::variables::request::parse_port;
use super::Function;
use crate::routing::context::{Context, Target};
use crate::routing::sending::RelayFailure;
use crate::telemetry::log::Level;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    Function::new(
        "forward",
        "relays the request to its destination URI, else to its Request-URI",
        &[],
        to_next_hop,
    )
    .alias(&["forward_udp"])
    .routes(RouteSet::REQUEST),
    Function::new("forward", "relays the request to a host, or to the one of uri:host", HOST, to_host)
        .alias(&["forward_udp"])
        .routes(RouteSet::REQUEST),
    Function::new(
        "forward",
        "relays the request to a host and port, or to uri:host and uri:port",
        HOST_PORT,
        to_host_port,
    )
    .alias(&["forward_udp"])
    .routes(RouteSet::REQUEST),
    Function::new("forward_tcp", "refused: streams are not supported yet", &[], no_stream)
        .routes(RouteSet::REQUEST),
    Function::new("forward_tcp", "refused: streams are not supported yet", REFUSED, no_stream)
        .prepare(refuse_stream)
        .routes(RouteSet::REQUEST),
    Function::new("forward_tcp", "refused: streams are not supported yet", REFUSED_TWICE, no_stream)
        .prepare(refuse_stream)
        .routes(RouteSet::REQUEST),
    Function::new("forward_tls", "refused: streams are not supported yet", &[], no_stream)
        .routes(RouteSet::REQUEST),
    Function::new("forward_tls", "refused: streams are not supported yet", REFUSED, no_stream)
        .prepare(refuse_stream)
        .routes(RouteSet::REQUEST),
    Function::new("forward_tls", "refused: streams are not supported yet", REFUSED_TWICE, no_stream)
        .prepare(refuse_stream)
        .routes(RouteSet::REQUEST),
    Function::new(
        "force_rport",
        "sends replies to the source port of the request, as if it had asked for rport",
        &[],
        |context, _| {
            context.is_rport_forced = true;
            Outcome::TRUE
        },
    )
    .alias(&["add_rport"]),
    Function::new(
        "add_local_rport",
        "asks the next hop for rport in our Via (RFC 3581)",
        &[],
        |context, _| {
            context.is_local_rport_added = true;
            Outcome::TRUE
        },
    ),
    Function::new("set_advertised_address", "host of our Via on this message", HOST, set_advertised_address),
    Function::new("set_advertised_port", "port of our Via on this message", PORT, set_advertised_port),
    Function::new(
        "force_send_socket",
        "sends from this socket: transport:address:port",
        SOCKET,
        force_send_socket,
    )
    .prepare(prepare_socket),
    Function::new(
        "udp_mtu_try_proto",
        "accepted: streams are not supported yet, large requests are sent as they are",
        REFUSED,
        accept,
    ),
    Function::new(
        "set_forward_no_connect",
        "accepted: there is no connection to open for datagrams",
        &[],
        accept,
    )
    .routes(RouteSet::ANY),
    Function::new(
        "set_reply_no_connect",
        "accepted: there is no connection to open for datagrams",
        &[],
        accept,
    )
    .routes(RouteSet::ANY),
    Function::new(
        "set_forward_close",
        "accepted: there is no connection to close for datagrams",
        &[],
        accept,
    )
    .routes(RouteSet::ANY),
    Function::new("set_reply_close", "accepted: there is no connection to close for datagrams", &[], accept)
        .routes(RouteSet::ANY),
    Function::new("force_tcp_alias", "accepted: there is no connection to name for datagrams", &[], accept)
        .alias(&["add_tcp_alias"]),
    Function::new("force_tcp_alias", "accepted: there is no connection to name for datagrams", PORT, accept)
        .alias(&["add_tcp_alias"]),
];

const HOST: &[ParameterKind] = &[ParameterKind::Text];
const HOST_PORT: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text];
const SOCKET: &[ParameterKind] = &[ParameterKind::Prepared];
const PORT: &[ParameterKind] = &[ParameterKind::Integer];
const REFUSED: &[ParameterKind] = &[ParameterKind::Prepared];
const REFUSED_TWICE: &[ParameterKind] = &[ParameterKind::Prepared, ParameterKind::Prepared];

/// What `forward(uri:host, uri:port)` writes for the parts of the Request-URI.
const URI_HOST: &[u8] = b"uri:host";
const URI_PORT: &[u8] = b"uri:port";

fn to_next_hop(context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    relay(context, Target::NextHop)
}

fn to_host(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (host, port) = match arguments[0].text() {
        URI_HOST => part_of_request_uri(context),
        host => (host.to_vec(), None),
    };
    relay(context, Target::Host(&host, port))
}

fn to_host_port(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (own_host, own_port) = part_of_request_uri(context);
    let host = match arguments[0].text() {
        URI_HOST => own_host,
        host => host.to_vec(),
    };
    let port = match arguments[1] {
        _ if arguments[1].text() == URI_PORT => Ok(own_port),
        argument => port_of(&argument).map(Some),
    };
    match port {
        Ok(port) => relay(context, Target::Host(&host, port)),
        Err(()) => {
            context.log(Level::Error, format_args!("forward: port is not a number from 1 to 65535"));
            Outcome::FALSE
        }
    }
}

fn port_of(argument: &Argument<'_>) -> Result<u16, ()> {
    match argument.integer() {
        Some(number) => parse_port(number.to_string().as_bytes()).map_err(|_| ()),
        None => Err(()),
    }
}

fn part_of_request_uri(context: &Context<'_>) -> (Vec<u8>, Option<u16>) {
    match context.parsed_request_uri() {
        Some(uri) => (uri.host.unwrap_or_default().to_vec(), uri.port),
        None => (Vec::new(), None),
    }
}

/// What `forward` is when `onsend_route` dropped the message, as scripts know it.
const WITHHELD: Outcome = Outcome(-510);

fn relay(context: &mut Context<'_>, target: Target<'_>) -> Outcome {
    match context.forward(target) {
        Ok(()) => Outcome::TRUE,
        Err(failure @ RelayFailure::Withheld(_)) => {
            context.log(Level::Info, format_args!("forward: {failure}"));
            WITHHELD
        }
        Err(failure) => {
            context.log(Level::Error, format_args!("forward: {failure}"));
            Outcome::FALSE
        }
    }
}

fn no_stream(context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    context.log(Level::Error, format_args!("cannot forward over TCP or TLS: streams are not supported yet"));
    Outcome::FALSE
}

fn refuse_stream(_: &mut Preparation<'_>, _: usize, _: &[u8]) -> Result<Option<u32>, Diagnostic> {
    Err(Diagnostic::mistake("cannot forward over TCP or TLS: streams are not supported yet")
        .with_help("use forward(host, port)"))
}

fn accept(_: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    Outcome::TRUE
}

fn prepare_socket(
    preparation: &mut Preparation<'_>,
    _: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    match listener_at(&preparation.settings.listeners, literal) {
        Some(index) => Ok(Some(u32::from(index))),
        // Which addresses are listened on may only be known when the sockets are bound.
        None => Ok(None),
    }
}

fn force_send_socket(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let listener = match arguments[0] {
        Argument::Prepared(index, _) => u16::try_from(index).ok(),
        argument => listener_at(&context.settings().listeners, argument.text()),
    };
    if listener.is_none() {
        let written = arguments[0].text().escape_ascii();
        context.log(Level::Error, format_args!("force_send_socket: no listen socket \"{written}\""));
        return Outcome::FALSE;
    }
    context.forced_listener = listener;
    Outcome::TRUE
}

fn set_advertised_address(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let host = arguments[0].text();
    let uri = [b"sip:", host].concat();
    let is_host = context.parse_uri(&uri).is_ok_and(|uri| uri.host == Some(host));
    if !is_host {
        let host = host.escape_ascii();
        context.log(Level::Error, format_args!("set_advertised_address: \"{host}\" is not a host"));
        return Outcome::FALSE;
    }
    context.advertised_address = Some(host.to_vec());
    Outcome::TRUE
}

fn set_advertised_port(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    match port_of(&arguments[0]) {
        Ok(port) => {
            context.advertised_port = Some(port);
            Outcome::TRUE
        }
        Err(()) => {
            context
                .log(Level::Error, format_args!("set_advertised_port: a port is a number from 1 to 65535"));
            Outcome::FALSE
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::ScriptHarness;

    const REQUEST: &str = "MESSAGE sip:+4930:pw@127.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\n\
        Content-Length: 2\r\n\r\nhi";

    #[test]
    fn requests_are_relayed_to_where_the_script_says() {
        let rows = [
            ("forward()", "127.0.0.1:5070"),
            ("forward_udp()", "127.0.0.1:5070"),
            ("forward(\"127.0.0.2\")", "127.0.0.2:5060"),
            ("forward(\"127.0.0.2\", 5080)", "127.0.0.2:5080"),
            ("forward(\"127.0.0.2\", \"5080\")", "127.0.0.2:5080"),
            ("forward(\"uri:host\")", "127.0.0.1:5070"),
            ("$du = \"sip:127.0.0.3:99\"; forward()", "127.0.0.3:99"),
            ("sethost(\"127.0.0.4\"); forward()", "127.0.0.4:5070"),
        ];
        for (statement, expected) in rows {
            let mut stage = ScriptHarness::new(&[], &format!("request_route {{ {statement}; }}"));
            stage.receive(REQUEST);
            let sent = stage.sent_one();
            assert_eq!(sent.to.to_string(), expected, "{statement}");
            let lines: Vec<&str> = sent.text.split("\r\n").collect();
            assert!(
                lines[1].starts_with("Via: SIP/2.0/UDP 127.0.0.1:17060;branch=z9hG4bK"),
                "{statement}: {}",
                sent.text
            );
            assert_eq!(lines[2], "Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa", "{statement}");
            // Counting hops is the work of mf_process_maxfwd_header().
            assert_eq!(lines[3], "Max-Forwards: 70", "{statement}");
        }
    }

    #[test]
    fn what_cannot_be_relayed_is_told() {
        let rows = [
            ("forward(\"127.0.0.2\", 0)", "port is not a number"),
            ("forward(\"127.0.0.2\", \"x\")", "port is not a number"),
            ("$du = \"sip:127.0.0.1;transport=tcp\"; forward()", "not supported yet"),
            ("forward_tcp()", "streams are not supported yet"),
            ("force_send_socket(\"udp:127.0.0.9:1\")", "no listen socket \"udp:127.0.0.9:1\""),
            ("set_advertised_address(\"a b\")", "\"a b\" is not a host"),
            ("set_advertised_port(0)", "from 1 to 65535"),
        ];
        for (statement, expected) in rows {
            let mut stage = ScriptHarness::new(&[], &format!("request_route {{ {statement}; }}"));
            stage.receive(REQUEST);
            assert!(stage.sent().is_empty(), "{statement}");
            let log = stage.log();
            assert!(log.contains(expected), "{statement}: {log}");
        }
    }

    #[test]
    fn our_via_says_what_the_script_wants() {
        let rows = [
            ("add_local_rport()", "Via: SIP/2.0/UDP 127.0.0.1:17060;", ";rport"),
            ("set_advertised_address(\"sip.example.com\")", "Via: SIP/2.0/UDP sip.example.com:17060;", ""),
            ("set_advertised_port(5099)", "Via: SIP/2.0/UDP 127.0.0.1:5099;", ""),
        ];
        for (statement, start, part) in rows {
            let mut stage = ScriptHarness::new(&[], &format!("request_route {{ {statement}; forward(); }}"));
            stage.receive(REQUEST);
            let text = stage.sent_one().text;
            let via = text.lines().nth(1).unwrap();
            assert!(via.starts_with(start) && via.contains(part), "{statement}: {via}");
        }
        let mut stage = ScriptHarness::new(&[], "request_route { force_rport(); forward(); }");
        stage.receive(REQUEST);
        let text = stage.sent_one().text;
        let theirs = text.lines().nth(2).unwrap();
        assert!(theirs.ends_with(";rport=17070"), "{theirs}");
    }

    #[test]
    fn a_message_leaves_by_the_socket_that_is_forced() {
        let script = "listen=udp:127.0.0.1:17060\nlisten=udp:127.0.0.1:17061 name \"second\"\n\
            request_route { force_send_socket(\"udp:127.0.0.1:17061\"); log(2, \"<$fs $fsn>\"); forward(); }";
        let mut stage = ScriptHarness::new(&[], script);
        stage.receive(REQUEST);
        assert_eq!(stage.sent_one().listener, 1);
        assert!(stage.log().contains("<udp:127.0.0.1:17061 second>"));
    }
}
