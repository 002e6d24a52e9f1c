//! What a message travels by, and which way.
//!
//! **Invariant:** nobody above this room names the transport of what is to leave but by its [`Flow`].

use std::net::SocketAddr;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS.
    Tls,
}

impl Transport {
    /// Lower-case name, as `$pr` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }

    /// The one of this lower-case name.
    pub fn named(name: &str) -> Option<Transport> {
        [Transport::Udp, Transport::Tcp, Transport::Tls]
            .into_iter()
            .find(|transport| transport.name() == name)
    }

    /// The one of this number (`as u8`).
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Transport> {
        [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().find(|t| *t as u8 == byte)
    }
}

/// The way of a message to its next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Datagrams, each for itself.
    Datagram {
        /// Index of the listener it leaves by, in `Settings::listeners`.
        listener: u16,
        /// Where it goes.
        to: SocketAddr,
    },
}

impl Flow {
    /// Where it goes.
    pub fn to(self) -> SocketAddr {
        let Flow::Datagram { to, .. } = self;
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_leads_somewhere() {
        let to = "[::1]:5060".parse().unwrap();
        assert_eq!(Flow::Datagram { listener: 1, to }.to(), to);
    }

    #[test]
    fn names_and_numbers_are_read_back() {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            assert_eq!(Transport::named(transport.name()), Some(transport));
            assert_eq!(Transport::from_byte(transport as u8), Some(transport));
        }
        assert_eq!((Transport::named("UDP"), Transport::from_byte(9)), (None, None));
    }
}
