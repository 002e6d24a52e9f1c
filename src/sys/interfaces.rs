//! The network interfaces of this machine and their addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// One address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Name of the interface: `eth0`.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

/// Every IPv4 and IPv6 address of every interface that is up, in the kernel's order.
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let all = getifaddrs().map_err(io::Error::from)?;
    let is_up = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP);
    Ok(all
        .filter(|one| is_up(one.flags))
        .filter_map(|one| {
            let address = ip_of(&one.address?)?;
            Some(InterfaceAddress { name: one.interface_name, address })
        })
        .collect())
}

/// The address the kernel would send from to this destination. Nothing is sent.
pub fn source_address_to(destination: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(destination)?;
    Ok(socket.local_addr()?.ip())
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let all = addresses().unwrap();
        assert!(all.iter().any(|one| one.address == loopback && !one.name.is_empty()), "{all:?}");
    }

    #[test]
    fn the_way_to_the_loopback_address_starts_there() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(source_address_to((loopback, 9).into()).unwrap(), loopback);
    }
}
