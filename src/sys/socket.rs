//! Datagram sockets: options that other crates lack, and sending one datagram. Many at once are in `send` and `receive`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockAddr, SockRef};

use super::poll::{self, Interest};

/// Asks the kernel to tell with each datagram to which address it was sent; needed on sockets bound to all addresses.
pub fn tell_destinations(socket: BorrowedFd<'_>, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    Ok(())
}

/// Sets the size of the receive buffer beyond the system's limit, if the process may do that.
pub fn force_receive_buffer_size(socket: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::RcvBufForce, &size)?)
}

/// Sends one datagram. When the kernel has no room for it, waits for room up to `patience` and then gives up.
pub fn send(socket: BorrowedFd<'_>, to: SocketAddr, bytes: &[u8], patience: Duration) -> io::Result<()> {
    let target = SockAddr::from(to);
    let socket_ref = SockRef::from(&socket);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    retry_while_full(socket, patience, || socket_ref.send_to_with_flags(bytes, &target, flags)).map(|_| ())
}

/// Tries to send; when the kernel has no room, waits for room up to `timeout` and tries once more.
pub(super) fn retry_while_full<T>(
    socket: BorrowedFd<'_>,
    timeout: Duration,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            result => return result,
        }
    }
    poll::wait_for(socket, Interest::Write, timeout)?;
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_sent_arrives_and_what_cannot_be_sent_is_an_error() {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (sender, receiver) = (bind(), bind());
        let to = receiver.local_addr().unwrap();

        send(sender.as_fd(), to, b"hello", Duration::ZERO).unwrap();
        assert!(send(sender.as_fd(), to, &vec![0; 70_000], Duration::ZERO).is_err());

        let mut bytes = [0; 9];
        let (length, from) = receiver.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from), (&b"hello"[..], sender.local_addr().unwrap()));
    }
}
