//! Where a message came from, by which socket, and by which it is to leave: `$si`, `$sp`, `$Ri`, `$Rp`, `$pr`, `$fs`, …

use std::net::{IpAddr, SocketAddr};

use crate::script::catalog::Yields;
use crate::script::host::{Reading, Refusal, ValueRef};

use super::{Subject, Variable};
use crate::config::settings::{AdvertisedHost, ListenerSetting};
use crate::routing::context::Context;
use crate::state::value::{answer_display, answer_optional, answer_text};
use crate::transport::endpoint::Transport;

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("si", "address of the sender", source_address).alias(&["src_ip"]).yields(Yields::Address),
    Variable::new("siz", "address of the sender, IPv6 in brackets", source_host),
    Variable::new("sp", "port of the sender", source_port).yields(Yields::Integer),
    Variable::new("sid", "0: the IP identification of the packet is not available", |_, _, _| {
        Reading::Integer(0)
    })
    .yields(Yields::Integer),
    Variable::new("su", "sender as a URI: sip:address:port", source_uri),
    Variable::new("sut", "sender as a URI with its transport", source_uri_transport),
    Variable::new("sas", "sender as transport:address:port", source_socket),
    Variable::new("Ri", "address the message was received on", destination_address).yields(Yields::Address),
    Variable::new("Rp", "port the message was received on", destination_port).yields(Yields::Integer),
    Variable::new("Ru", "receiving socket as a URI: sip:address:port", destination_uri),
    Variable::new("Rut", "receiving socket as a URI with its transport", destination_uri_transport),
    Variable::new("Ras", "receiving socket as transport:address:port", destination_socket),
    Variable::new("Rn", "name of the receiving socket", listener_name),
    Variable::new("RAi", "advertised address of the receiving socket, else its own", advertised_host),
    Variable::new("RAp", "advertised port of the receiving socket, else its own", advertised_port)
        .yields(Yields::Integer),
    Variable::new("RAu", "advertised receiving socket as a URI", advertised_uri),
    Variable::new(
        "RAut",
        "advertised receiving socket as a URI with its transport",
        advertised_uri_transport,
    ),
    Variable::new("pr", "transport the message was received by, lower case", transport_name)
        .alias(&["proto"]),
    Variable::new("prid", "number of the transport: udp 1, tcp 2, tls 3", transport_number)
        .yields(Yields::Integer),
    Variable::new("conid", "number of the stream connection; null for datagrams", |_, _, _| Reading::Null),
    Variable::new("fs", "socket forced for sending, as transport:address:port", forced_socket)
        .writable(force_socket),
    Variable::new("fsn", "name of the socket forced for sending", forced_name).writable(force_name),
    Variable::new("fsp", "number of the transport of the forced socket; 0 without one", forced_transport)
        .yields(Yields::Integer),
];

/// The number scripts know a transport by.
pub fn number_of(transport: Transport) -> i64 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
    }
}

/// The listener that is written `[transport:]address[:port]`.
pub fn listener_at(listeners: &[ListenerSetting], written: &[u8]) -> Option<u16> {
    let written = std::str::from_utf8(written).ok()?.trim();
    let (transport, address) = split_transport(written);
    let address = socket_address(address)?;
    let is_it = |listener: &ListenerSetting| {
        listener.address == address && transport.is_none_or(|transport| transport == listener.transport)
    };
    listeners.iter().position(is_it).map(|index| index as u16)
}

fn split_transport(written: &str) -> (Option<Transport>, &str) {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let name = transport.name();
        if let Some((before, rest)) = written.split_at_checked(name.len())
            && before.eq_ignore_ascii_case(name)
            && let Some(address) = rest.strip_prefix(':')
        {
            return (Some(transport), address);
        }
    }
    (None, written)
}

const DEFAULT_PORT: u16 = 5060;

/// An address with or without a port; IPv6 in brackets when a port follows.
fn socket_address(written: &str) -> Option<SocketAddr> {
    let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
    match bare.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, DEFAULT_PORT)),
        Err(_) => written.parse().ok(),
    }
}

fn source_address(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_display(context.envelope().source.ip(), out)
}

fn source_host(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_host(context.envelope().source.ip(), out)
}

fn source_port(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    Reading::Integer(i64::from(context.envelope().source.port()))
}

fn source_uri(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_display(format_args!("sip:{}", context.envelope().source), out)
}

fn source_uri_transport(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let here = context.envelope();
    answer_display(format_args!("sip:{};transport={}", here.source, here.transport.name()), out)
}

fn source_socket(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let here = context.envelope();
    answer_display(format_args!("{}:{}", here.transport.name(), here.source), out)
}

fn destination_address(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_display(context.envelope().destination.ip(), out)
}

fn destination_port(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    Reading::Integer(i64::from(context.envelope().destination.port()))
}

fn destination_uri(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_display(format_args!("sip:{}", context.envelope().destination), out)
}

fn destination_uri_transport(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let here = context.envelope();
    answer_display(format_args!("sip:{};transport={}", here.destination, here.transport.name()), out)
}

fn destination_socket(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let here = context.envelope();
    answer_display(format_args!("{}:{}", here.transport.name(), here.destination), out)
}

fn listener_name(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let name = receiving_listener(context).and_then(|listener| listener.name.as_deref());
    answer_optional(name.map(str::as_bytes), out)
}

fn advertised_host(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match receiving_listener(context).map(|listener| context.settings().advertised(listener).0) {
        Some(AdvertisedHost::Name(name)) => answer_text(name.as_bytes(), out),
        _ => answer_display(context.envelope().destination.ip(), out),
    }
}

fn advertised_port(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    let port = receiving_listener(context).map(|listener| context.settings().advertised(listener).1);
    Reading::Integer(i64::from(port.unwrap_or(context.envelope().destination.port())))
}

fn advertised_uri(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match receiving_listener(context).map(|listener| context.settings().advertised(listener)) {
        Some((host @ AdvertisedHost::Name(_), port)) => {
            answer_display(format_args!("sip:{host}:{port}"), out)
        }
        // The address a message was sent to says more than that of a listener bound to every address.
        _ => destination_uri(context, subject, out),
    }
}

fn advertised_uri_transport(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    advertised_uri(context, subject, out);
    answer_display(format_args!(";transport={}", context.envelope().transport.name()), out)
}

fn transport_name(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_text(context.envelope().transport.name().as_bytes(), out)
}

fn transport_number(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    Reading::Integer(number_of(context.envelope().transport))
}

fn forced_socket(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match forced_listener(context) {
        Some(listener) => {
            answer_display(format_args!("{}:{}", listener.transport.name(), listener.address), out)
        }
        None => Reading::Null,
    }
}

fn forced_name(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let name = forced_listener(context).and_then(|listener| listener.name.as_deref());
    answer_optional(name.map(str::as_bytes), out)
}

fn forced_transport(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    Reading::Integer(forced_listener(context).map_or(0, |listener| number_of(listener.transport)))
}

fn force_socket(context: &mut Context<'_>, _: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    force(context, value, listener_at)
}

fn force_name(context: &mut Context<'_>, _: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    force(context, value, |listeners, name| {
        let is_it = |listener: &ListenerSetting| listener.name.as_deref().map(str::as_bytes) == Some(name);
        listeners.iter().position(is_it).map(|index| index as u16)
    })
}

fn force(
    context: &mut Context<'_>,
    value: ValueRef<'_>,
    find: impl Fn(&[ListenerSetting], &[u8]) -> Option<u16>,
) -> Result<(), Refusal> {
    context.forced_listener = match value {
        ValueRef::Null | ValueRef::Text(b"") => None,
        ValueRef::Integer(_) => {
            return Err(Refusal("a socket is text such as udp:127.0.0.1:5060".to_string()));
        }
        ValueRef::Text(written) => match find(&context.settings().listeners, written) {
            Some(listener) => Some(listener),
            None => {
                return Err(Refusal(format!("no listen socket \"{}\"", written.escape_ascii())));
            }
        },
    };
    Ok(())
}

fn receiving_listener<'c>(context: &'c Context<'_>) -> Option<&'c ListenerSetting> {
    context.settings().listener(context.envelope().listener)
}

fn forced_listener<'c>(context: &'c Context<'_>) -> Option<&'c ListenerSetting> {
    context.settings().listener(context.forced_listener?)
}

fn answer_host(address: IpAddr, out: &mut Vec<u8>) -> Reading {
    match address {
        IpAddr::V4(ip) => answer_display(ip, out),
        IpAddr::V6(ip) => answer_display(format_args!("[{ip}]"), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_as_they_are_written() {
        let listener = |transport, address: &str| ListenerSetting {
            transport,
            address: address.parse().unwrap(),
            advertise: None,
            name: None,
            receivers: None,
        };
        let listeners = [
            listener(Transport::Udp, "127.0.0.1:5060"),
            listener(Transport::Tcp, "127.0.0.1:5070"),
            listener(Transport::Udp, "[::1]:5080"),
        ];
        let rows = [
            ("udp:127.0.0.1:5060", Some(0)),
            ("UDP:127.0.0.1", Some(0)),
            ("127.0.0.1", Some(0)),
            ("127.0.0.1:5070", Some(1)),
            ("udp:127.0.0.1:5070", None),
            ("udp:[::1]:5080", Some(2)),
            ("[::1]", None),
            ("127.0.0.1:99999", None),
            ("host.name:5060", None),
            ("udp:", None),
            ("", None),
        ];
        for (written, expected) in rows {
            assert_eq!(listener_at(&listeners, written.as_bytes()), expected, "{written}");
        }
    }
}
