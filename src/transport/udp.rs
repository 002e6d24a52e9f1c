//! Listening for datagrams.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::sys::send::BatchSender;
use crate::sys::socket;

/// How a socket is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpOptions {
    /// Bytes the kernel may hold for us; `None` leaves the system's default. The kernel's own limit holds.
    pub receive_buffer_size: Option<usize>,
    /// Bytes the kernel may hold that we send.
    pub send_buffer_size: Option<usize>,
    /// Type of service of what we send.
    pub type_of_service: Option<u32>,
    /// Whether an address that no interface has yet may be bound.
    pub is_free_bind: bool,
}

/// A bound socket.
#[derive(Debug)]
pub struct UdpListener {
    descriptor: OwnedFd,
    address: SocketAddr,
    wish: SocketAddr,
}

impl UdpListener {
    /// Binds `address`; port 0 lets the kernel choose one. A port in use is an error: nothing is shared. For that
    /// reason no address is ever "reused", which for datagrams would mean stealing.
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<UdpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        apply(&socket, address, options)?;
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        let descriptor = OwnedFd::from(socket);
        if bound.ip().is_unspecified() {
            socket::tell_destinations(descriptor.as_fd(), bound.is_ipv6())?;
        }
        Ok(UdpListener { descriptor, address: bound, wish: address })
    }

    /// A socket that another program bound after it was asked for `wish`.
    pub fn adopt(descriptor: OwnedFd, wish: SocketAddr) -> io::Result<UdpListener> {
        let bound = SockRef::from(&descriptor).local_addr()?.as_socket();
        let address = bound.ok_or_else(|| io::Error::other("it is not an internet socket"))?;
        Ok(UdpListener { descriptor, address, wish })
    }

    /// The same socket once more, with these options from now on.
    pub fn share(&self, options: &UdpOptions) -> io::Result<UdpListener> {
        let descriptor = self.descriptor.try_clone()?;
        apply(&SockRef::from(&descriptor), self.address, options)?;
        Ok(UdpListener { descriptor, address: self.address, wish: self.wish })
    }

    /// The address that was asked for; port 0 when the kernel was to choose one.
    pub fn wish(&self) -> SocketAddr {
        self.wish
    }

    /// Where it is bound, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address a message was sent to, from the data of the kernel.
    pub fn destination(&self, told: Option<IpAddr>) -> SocketAddr {
        SocketAddr::new(told.unwrap_or(self.address.ip()), self.address.port())
    }

    /// Sends one datagram from here.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        socket::send(self.as_fd(), to, bytes, SEND_TIMEOUT)
    }

    /// Sends datagrams from here, in order, as many as the kernel takes at once; how many that were. An error is that of
    /// the first one.
    pub fn send_many<'d>(
        &self,
        sender: &mut BatchSender,
        datagrams: impl Iterator<Item = (SocketAddr, &'d [u8])>,
    ) -> io::Result<usize> {
        sender.send(self.as_fd(), datagrams, SEND_TIMEOUT)
    }

    /// Bytes the kernel holds for us at most, as it says.
    pub fn receive_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(&self.descriptor).recv_buffer_size()
    }
}

/// A full send buffer empties at the speed of the network card: a few milliseconds, or never.
const SEND_TIMEOUT: Duration = Duration::from_millis(20);

/// The longest wait for a datagram: a reader must notice that its master is gone.
const RECEIVE_PAUSE: Duration = Duration::from_millis(200);

fn apply(socket: &Socket, address: SocketAddr, options: &UdpOptions) -> io::Result<()> {
    socket.set_read_timeout(Some(RECEIVE_PAUSE))?;
    if let Some(size) = options.receive_buffer_size {
        socket.set_recv_buffer_size(size)?;
        // The system's limit may be lower; a process that may exceed it does.
        if socket.recv_buffer_size()? < size {
            let _ = crate::sys::socket::force_receive_buffer_size(socket.as_fd(), size);
        }
    }
    if let Some(size) = options.send_buffer_size {
        socket.set_send_buffer_size(size)?;
    }
    match (options.type_of_service, address.is_ipv6()) {
        (Some(tos), false) => socket.set_tos_v4(tos)?,
        (Some(tos), true) => socket.set_tclass_v6(tos)?,
        (None, _) => {}
    }
    match (options.is_free_bind, address.is_ipv6()) {
        (true, false) => socket.set_freebind_v4(true),
        (true, true) => socket.set_freebind_v6(true),
        (false, _) => Ok(()),
    }
}

impl AsFd for UdpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::receive::{ReceiveBatch, ReceiveMemory};

    fn bind(address: &str) -> io::Result<UdpListener> {
        UdpListener::bind(address.parse().unwrap(), &UdpOptions::default())
    }

    #[test]
    fn the_chosen_port_is_told_and_belongs_to_one() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let Ok(first) = bind(address) else { continue };
            assert_ne!(first.address().port(), 0);
            let error = bind(&first.address().to_string()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address}");
        }
    }

    #[test]
    fn a_port_for_all_addresses_excludes_single_ones() {
        let all = bind("0.0.0.0:0").unwrap();
        let one = format!("127.0.0.1:{}", all.address().port());
        assert_eq!(bind(&one).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn both_families_may_use_one_port() {
        let Ok(six) = bind("[::]:0") else { return };
        assert!(bind(&format!("0.0.0.0:{}", six.address().port())).is_ok());
    }

    #[test]
    fn options_reach_the_kernel() {
        let options = UdpOptions {
            receive_buffer_size: Some(100_000),
            send_buffer_size: Some(100_000),
            type_of_service: Some(0x10),
            is_free_bind: true,
        };
        // An address of the documentation network: no host has it, free bind allows it.
        let listener = UdpListener::bind("192.0.2.1:0".parse().unwrap(), &options).unwrap();
        assert!(listener.receive_buffer_size().unwrap() >= 100_000);
        assert_eq!(SockRef::from(&listener.descriptor).tos_v4().unwrap(), 0x10);
        assert!(bind("192.0.2.1:0").is_err());
    }

    #[test]
    fn nobody_waits_for_a_datagram_for_ever() {
        let listener = bind("127.0.0.1:0").unwrap();
        let memory = ReceiveMemory::create(c"sworker-test", 1, 10).unwrap();
        let (mut batch, _) = ReceiveBatch::attach(&memory);
        for listener in [&listener, &listener.share(&UdpOptions::default()).unwrap()] {
            let error = batch.receive(listener.as_fd()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn what_is_sent_comes_from_here_and_its_destination_is_known() {
        let (all, one) = (bind("0.0.0.0:0").unwrap(), bind("127.0.0.1:0").unwrap());
        let to = SocketAddr::new("127.0.0.3".parse().unwrap(), all.address().port());

        one.send(to, b"x").unwrap();

        let memory = ReceiveMemory::create(c"sworker-test", 1, 10).unwrap();
        let (mut batch, _) = ReceiveBatch::attach(&memory);
        batch.receive(all.as_fd()).unwrap();
        let received = batch.current().unwrap();
        assert_eq!(received.source, Some(one.address()));
        assert_eq!(all.destination(received.destination), to);
    }
}
