//! An address or a network of addresses, as scripts write them: `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `[::1]`.

use std::net::{IpAddr, Ipv4Addr};

/// Addresses that share a prefix; a single address shares all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_length: u8,
}

impl Network {
    /// Reads an address or a network.
    pub fn parse(text: &[u8]) -> Option<Network> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, suffix) = match text.split_once('/') {
            Some((address, suffix)) => (address, Some(suffix)),
            None => (text, None),
        };
        let address = parse_address(address.as_bytes())?;
        let length_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_length = match suffix {
            None => length_max,
            Some(suffix) => prefix_length(suffix, address).filter(|length| *length <= length_max)?,
        };
        Some(Network { address, prefix_length })
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => u128::from(ours.to_bits() ^ theirs.to_bits()) << 96,
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => ours.to_bits() ^ theirs.to_bits(),
            _ => return false,
        };
        differing.leading_zeros() >= u32::from(self.prefix_length)
    }
}

/// Reads an address, with or without brackets.
pub fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = text.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(text);
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `8`, or for IPv4 a mask such as `255.0.0.0`.
fn prefix_length(suffix: &str, address: IpAddr) -> Option<u8> {
    if address.is_ipv4()
        && let Ok(mask) = suffix.parse::<Ipv4Addr>()
    {
        let bits = mask.to_bits();
        let length = bits.leading_ones();
        return (length + bits.trailing_zeros() >= 32).then_some(length as u8);
    }
    suffix.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let rows: &[(&str, &str, bool)] = &[
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/255.0.0.0", "10.9.9.9", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("[::1]", "::1", true),
            ("2001:db8::/32", "2001:db8:5::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
        ];
        for (network, address, expected) in rows {
            let network = Network::parse(network.as_bytes()).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), *expected, "{network:?} {address}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/255.0.255.0",
            "10.0.0.0/",
            "host",
            "10.0.0.1/-1",
            "\u{ff}",
        ] {
            assert_eq!(Network::parse(text.as_bytes()), None, "{text}");
        }
    }
}
