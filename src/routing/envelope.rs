//! One message as it came from the network, and the form in which its envelope travels with it ([`super::work`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::transport::endpoint::Transport;

/// Where from, where to, by which listener and when a message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Sender.
    pub source: SocketAddr,
    /// Address the message was sent to (of the listener, unless the kernel reported a better one).
    pub destination: SocketAddr,
    /// Index of the listener in `Settings::listeners`.
    pub listener: u16,
    /// How it came.
    pub transport: Transport,
    /// Wall-clock time of receipt, nanoseconds since 1970.
    pub received_at_ns: u64,
}

/// A message with its envelope, bytes borrowed from a receive buffer or from a worker's slot.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The message exactly as received.
    pub bytes: &'a [u8],
    /// Its envelope.
    pub envelope: Envelope,
}

/// An envelope could not be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenEnvelope;

const ADDRESS_SIZE: usize = 19;
/// Size of an encoded envelope in bytes.
pub const ENVELOPE_SIZE: usize = 2 * ADDRESS_SIZE + 2 + 1 + 8;

impl Envelope {
    /// The form that travels: addresses as family, 16 bytes and port, then listener, transport and time; big-endian.
    #[inline]
    pub fn encode(&self) -> [u8; ENVELOPE_SIZE] {
        let mut out = [0; ENVELOPE_SIZE];
        self.encode_to(&mut out);
        out
    }

    /// Writes the form that travels over zeros.
    #[inline]
    pub fn encode_to(&self, out: &mut [u8; ENVELOPE_SIZE]) {
        encode_address(&self.source, &mut out[..ADDRESS_SIZE]);
        encode_address(&self.destination, &mut out[ADDRESS_SIZE..2 * ADDRESS_SIZE]);
        let rest = &mut out[2 * ADDRESS_SIZE..];
        rest[..2].copy_from_slice(&self.listener.to_be_bytes());
        rest[2] = self.transport as u8;
        rest[3..].copy_from_slice(&self.received_at_ns.to_be_bytes());
    }

    /// Reads the form that travels.
    #[inline]
    pub fn decode(bytes: &[u8; ENVELOPE_SIZE]) -> Result<Envelope, BrokenEnvelope> {
        let rest = &bytes[2 * ADDRESS_SIZE..];
        Ok(Envelope {
            source: decode_address(&bytes[..ADDRESS_SIZE])?,
            destination: decode_address(&bytes[ADDRESS_SIZE..2 * ADDRESS_SIZE])?,
            listener: u16::from_be_bytes([rest[0], rest[1]]),
            transport: Transport::from_byte(rest[2]).ok_or(BrokenEnvelope)?,
            received_at_ns: u64::from_be_bytes(rest[3..].try_into().map_err(|_| BrokenEnvelope)?),
        })
    }
}

#[inline]
fn encode_address(address: &SocketAddr, out: &mut [u8]) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out[0] = 4;
            out[1..5].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out[0] = 6;
            out[1..17].copy_from_slice(&ip.octets());
        }
    }
    out[17..19].copy_from_slice(&address.port().to_be_bytes());
}

#[inline]
fn decode_address(bytes: &[u8]) -> Result<SocketAddr, BrokenEnvelope> {
    let octets: [u8; 16] = bytes[1..17].try_into().map_err(|_| BrokenEnvelope)?;
    let ip: IpAddr = match bytes[0] {
        4 => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(),
        6 => Ipv6Addr::from(octets).into(),
        _ => return Err(BrokenEnvelope),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes([bytes[17], bytes[18]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(source: &str, destination: &str) -> Envelope {
        Envelope {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            listener: 7,
            transport: Transport::Udp,
            received_at_ns: 1_795_397_110_614_143_001,
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for (source, destination) in
            [("1.2.3.4:5060", "127.0.0.1:65535"), ("[2001:db8::1]:1", "[::1]:5060"), ("0.0.0.0:0", "[::]:0")]
        {
            let envelope = sample(source, destination);
            assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
        }
    }

    #[test]
    fn broken_bytes_are_refused() {
        let good = sample("1.2.3.4:5060", "127.0.0.1:5060").encode();
        let damaged = |index: usize, byte: u8| {
            let mut bytes = good;
            bytes[index] = byte;
            bytes
        };
        let rows = [
            ("family of source", damaged(0, 5)),
            ("family of destination", damaged(ADDRESS_SIZE, 0)),
            ("transport", damaged(2 * ADDRESS_SIZE + 2, 9)),
        ];
        for (what, bytes) in rows {
            assert_eq!(Envelope::decode(&bytes), Err(BrokenEnvelope), "{what}");
        }
    }
}
