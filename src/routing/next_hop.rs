//! Where a message goes next: the flow to a host, to a URI, or to where a Via says.
//!
//! Addresses are used as they are. Replies go to addresses alone: a host name in a Via is whatever its sender wrote,
//! and nobody but the sender may hold up this process by it. Where a script sends a request to a host name, the system's
//! resolver is asked, which holds the process for at most [two seconds for each name server](crate::sys::resolver); what
//! lies in the outbox leaves before.
//!
//! `maddr` and `ttl` of a Via are not followed (RFC 3261 18.2.2 would): the reference does not, no element that is alive
//! sends them, and whoever did could have the answers to his requests delivered to anybody.

use std::net::{SocketAddr, ToSocketAddrs};

use super::context::{Context, Target};
use super::sending::RelayFailure;
use crate::config::settings::{ListenerSetting, parse_address};
use crate::sip::Grammar;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::via::{Rport, Via};
use crate::transport::endpoint::{Flow, Transport};

pub(super) const DEFAULT_PORT: u16 = 5060;

impl Context<'_> {
    /// The flow to what a script names.
    pub(super) fn flow_to(&mut self, target: Target<'_>, received_uri: &[u8]) -> Result<Flow, RelayFailure> {
        let named = match target {
            Target::Address(address) => Named::Address(address),
            Target::Host(host, port) => named(host, port.unwrap_or(DEFAULT_PORT))?,
            Target::NextHop => {
                let uri = self.destination_uri().or(self.changed_request_uri()).unwrap_or(received_uri);
                host_of_uri(uri, self.grammar())?
            }
        };
        self.flow_to_host(named)
    }

    /// The flow to where a URI leads.
    pub(super) fn flow_to_uri(&mut self, uri: &[u8]) -> Result<Flow, RelayFailure> {
        let named = host_of_uri(uri, self.grammar())?;
        self.flow_to_host(named)
    }

    fn flow_to_host(&mut self, named: Named) -> Result<Flow, RelayFailure> {
        if matches!(named, Named::Host(..)) {
            // The resolver may take its time.
            self.flush();
        }
        let to = named.resolve()?;
        Ok(Flow::Datagram { listener: self.listener_to(to)?, to })
    }

    /// The listener the script forces, the one the message came in by, or the first of the same kind of address.
    fn listener_to(&self, to: SocketAddr) -> Result<u16, RelayFailure> {
        let settings = self.settings();
        let fits = |listener: &ListenerSetting| {
            listener.transport == Transport::Udp && listener.address.is_ipv4() == to.is_ipv4()
        };
        let preferred = match self.forced_listener {
            Some(forced) => Some(forced),
            None if settings.mhomed => self.listener_by_route(to),
            None => None,
        };
        let wanted = preferred.unwrap_or(self.envelope().listener);
        if settings.listener(wanted).is_some_and(fits) {
            return Ok(wanted);
        }
        let first = settings.listeners.iter().position(fits);
        first.map(|index| index as u16).ok_or(RelayFailure::NoListener(to))
    }

    /// The listener on the address the kernel would send from.
    fn listener_by_route(&self, to: SocketAddr) -> Option<u16> {
        let from = crate::sys::interfaces::source_address_to(to).ok()?;
        let listeners = &self.settings().listeners;
        listeners.iter().position(|listener| listener.address.ip() == from).map(|index| index as u16)
    }

    /// The flow of a reply by the Via of the one who is to get it.
    pub(super) fn flow_by_via(&self, via: &Via<'_>) -> Result<Flow, RelayFailure> {
        let to = reply_target(via)?;
        Ok(Flow::Datagram { listener: self.listener_to(to)?, to })
    }
}

/// RFC 3261 18.2.2, RFC 3581 4: `received` before the host, `rport` before the port.
fn reply_target(via: &Via<'_>) -> Result<SocketAddr, RelayFailure> {
    check_transport(via.transport)?;
    let port = match via.rport {
        Rport::Port(port) => port,
        Rport::Absent | Rport::Empty => via.port.unwrap_or(DEFAULT_PORT),
    };
    // Never a name: whoever sends a reply with a Via of his own could hold up this process by it. A Via that we sent on
    // carries `received` wherever its host is a name (RFC 3261 18.2.1), so nothing of ours is missed.
    let host = via.received.unwrap_or(via.host);
    let address =
        parse_address(host).ok_or_else(|| RelayFailure::Unresolved(host.escape_ascii().to_string()))?;
    Ok(SocketAddr::new(address, port))
}

/// A host as it is written: an address, or a name that the resolver knows.
enum Named {
    Address(SocketAddr),
    Host(String, u16),
}

fn host_of_uri(text: &[u8], grammar: &Grammar) -> Result<Named, RelayFailure> {
    let no_host = || RelayFailure::NoHost(text.escape_ascii().to_string());
    let uri = Uri::parse_within(text, grammar).map_err(|_| no_host())?;
    if uri.scheme == Scheme::Sips {
        return Err(RelayFailure::Transport("tls".to_string()));
    }
    check_transport(uri.transport().unwrap_or(b"udp"))?;
    let host = uri.host.filter(|_| uri.scheme == Scheme::Sip).ok_or_else(no_host)?;
    named(host, uri.port.unwrap_or(DEFAULT_PORT))
}

fn check_transport(name: &[u8]) -> Result<(), RelayFailure> {
    if name.eq_ignore_ascii_case(b"udp") {
        return Ok(());
    }
    Err(RelayFailure::Transport(name.escape_ascii().to_string()))
}

fn named(host: &[u8], port: u16) -> Result<Named, RelayFailure> {
    if let Some(address) = parse_address(host) {
        return Ok(Named::Address(SocketAddr::new(address, port)));
    }
    let name = std::str::from_utf8(host).ok().filter(|name| is_host_name(name));
    let name = name.ok_or_else(|| RelayFailure::Unresolved(host.escape_ascii().to_string()))?;
    Ok(Named::Host(name.to_owned(), port))
}

impl Named {
    /// The address as written, or as the system's resolver knows it, IPv4 before IPv6.
    fn resolve(self) -> Result<SocketAddr, RelayFailure> {
        let (name, port) = match self {
            Named::Address(address) => return Ok(address),
            Named::Host(name, port) => (name, port),
        };
        let unresolved = || RelayFailure::Unresolved(name.clone());
        let found: Vec<SocketAddr> =
            (name.as_str(), port).to_socket_addrs().map_err(|_| unresolved())?.collect();
        found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(unresolved)
    }
}

/// Nothing else is worth a question to the resolver.
fn is_host_name(name: &str) -> bool {
    let is_octet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&name.len()) && name.bytes().all(is_octet)
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    fn shown<T: fmt::Debug>(result: Result<T, RelayFailure>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn a_uri_says_where_to_send() {
        let rows = [
            ("sip:b@10.0.0.1", "10.0.0.1:5060"),
            ("sip:10.0.0.1:5070;transport=UDP", "10.0.0.1:5070"),
            ("sip:[2001:db8::1]", "[2001:db8::1]:5060"),
            ("sip:10.0.0.1;transport=tcp", "transport \"tcp\" is not supported yet"),
            ("sips:10.0.0.1", "transport \"tls\" is not supported yet"),
            ("tel:+4930", "no host to send to in \"tel:+4930\""),
            ("nonsense", "no host to send to in \"nonsense\""),
            ("sip:no_such_host..invalid", "could not resolve \"no_such_host..invalid\""),
        ];
        for (uri, expected) in rows {
            assert_eq!(
                shown(host_of_uri(uri.as_bytes(), &Grammar::STRICT).and_then(Named::resolve)),
                expected,
                "{uri}"
            );
        }
    }

    #[test]
    fn a_via_says_where_a_reply_goes() {
        let rows = [
            ("SIP/2.0/UDP 10.0.0.1;branch=x", "10.0.0.1:5060"),
            ("SIP/2.0/UDP 10.0.0.1:5070;branch=x", "10.0.0.1:5070"),
            ("SIP/2.0/UDP h.example:5070;received=10.0.0.2;branch=x", "10.0.0.2:5070"),
            ("SIP/2.0/UDP h.example:5070;rport=99;received=10.0.0.2", "10.0.0.2:99"),
            ("SIP/2.0/UDP 10.0.0.1:5070;rport", "10.0.0.1:5070"),
            ("SIP/2.0/UDP 10.0.0.1:5070;maddr=239.255.255.1;ttl=1", "10.0.0.1:5070"),
            ("SIP/2.0/UDP h.example;received=10.0.0.2;maddr=10.0.0.3", "10.0.0.2:5060"),
            ("SIP/2.0/UDP h.example", "could not resolve \"h.example\""),
            ("SIP/2.0/TCP 10.0.0.1", "transport \"TCP\" is not supported yet"),
        ];
        for (via, expected) in rows {
            assert_eq!(shown(reply_target(&Via::parse(via.as_bytes()).unwrap())), expected, "{via}");
        }
    }
}
