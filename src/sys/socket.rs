//! Datagram sockets: many messages per kernel call, into buffers made once.
//!
//! ```text
//!  ReceiveBatch   headers[i] ──► iovec[i]   ──► buffers[i * size ..]
//!                            ──► sources[i]       sender's address
//!                            ──► controls[i]      address it was sent to (where asked for)
//! ```
//!
//! One call waits for the first message and takes what else is there already (`MSG_WAITFORONE`). The kernel overwrites
//! the lengths in a header, so each one used is put in order again before the next call.

use std::cell::UnsafeCell;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockAddr, SockRef};

use super::poll::{self, Interest};

/// Room for many datagrams, received by one call.
pub struct ReceiveBatch {
    size: usize,
    received_count: usize,
    buffers: Box<[UnsafeCell<u8>]>,
    parts: Box<[UnsafeCell<Part>]>,
    headers: Box<[libc::mmsghdr]>,
}

/// What one header points at besides the bytes.
struct Part {
    source: libc::sockaddr_storage,
    vector: libc::iovec,
    control: [u64; CONTROL_WORDS],
}

/// Control messages want the alignment of their header: words. Room for one `in6_pktinfo`, with some to spare.
const CONTROL_WORDS: usize = 8;

/// One datagram in a [`ReceiveBatch`].
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Who sent it; `None` when the kernel gave something that is no internet address.
    pub source: Option<SocketAddr>,
    /// The address it was sent to, when the socket was asked to tell.
    pub destination: Option<IpAddr>,
    /// Whether it was longer than the room for it.
    pub is_cut: bool,
}

impl ReceiveBatch {
    /// Room for `count` datagrams of at most `size` bytes.
    pub fn new(count: usize, size: usize) -> ReceiveBatch {
        // SAFETY: all three are plain C structures (integers and raw pointers) for which zero bytes are a value.
        let (part, header) = unsafe { (MaybeUninit::<Part>::zeroed(), std::mem::zeroed::<libc::mmsghdr>()) };
        let parts: Box<[UnsafeCell<Part>]> = (0..count)
            .map(|_| {
                // SAFETY: as above.
                UnsafeCell::new(unsafe { std::ptr::read(part.as_ptr()) })
            })
            .collect();
        let buffers = untouched_bytes(count * size);
        let mut batch =
            ReceiveBatch { size, received_count: 0, buffers, parts, headers: vec![header; count].into() };
        for index in 0..count {
            batch.point(index);
            batch.put_in_order(index);
        }
        batch
    }

    /// Lets the header point at its parts. They live in boxes, so they stay where they are when the batch moves.
    fn point(&mut self, index: usize) {
        let part = self.parts[index].get();
        let header = &mut self.headers[index].msg_hdr;
        // SAFETY: `part` points into `parts`, which this batch owns and to which nobody holds a reference here.
        unsafe {
            (*part).vector.iov_base = self.buffers[index * self.size..].as_ptr() as *mut libc::c_void;
            (*part).vector.iov_len = self.size;
            header.msg_name = (&raw mut (*part).source).cast();
            header.msg_iov = &raw mut (*part).vector;
            header.msg_control = (&raw mut (*part).control).cast();
        }
        header.msg_iovlen = 1;
    }

    /// Restores what the kernel overwrites.
    fn put_in_order(&mut self, index: usize) {
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_controllen = (CONTROL_WORDS * size_of::<u64>()) as _;
        header.msg_flags = 0;
    }

    /// Waits for a datagram and takes all that are there, at most as many as there is room for; how many. A caught
    /// signal ends the wait with [`io::ErrorKind::Interrupted`].
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for index in 0..self.received_count {
            self.put_in_order(index);
        }
        self.received_count = 0;
        // SAFETY: every header points at its own name, vector, control and byte room of the stated lengths, all owned
        // by this batch and behind `UnsafeCell`; a null time-out is allowed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        self.received_count = count as usize;
        Ok(self.received_count)
    }

    /// What the last call received.
    pub fn iter(&self) -> impl Iterator<Item = Received<'_>> {
        (0..self.received_count).map(|index| self.received(index))
    }

    fn received(&self, index: usize) -> Received<'_> {
        let header = &self.headers[index];
        let length = (header.msg_len as usize).min(self.size);
        // SAFETY: the range lies inside `buffers`; the kernel writes there only inside `receive`, which needs the
        // batch mutably, so the bytes stand still as long as this borrow lives. The same holds for the part.
        let (bytes, part) = unsafe {
            let start = self.buffers[index * self.size..].as_ptr().cast::<u8>();
            (std::slice::from_raw_parts(start, length), &*self.parts[index].get())
        };
        Received {
            bytes,
            source: read_address(&part.source, header.msg_hdr.msg_namelen),
            destination: destination(&header.msg_hdr),
            is_cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}

/// Zero bytes that cost no memory before they are used.
fn untouched_bytes(size: usize) -> Box<[UnsafeCell<u8>]> {
    let bytes = Box::into_raw(vec![0_u8; size].into_boxed_slice());
    // SAFETY: the pointer comes from a box and goes into one; a cell has the layout of what it holds.
    unsafe { Box::from_raw(bytes as *mut [UnsafeCell<u8>]) }
}

fn read_address(storage: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    let start: *const libc::sockaddr_storage = storage;
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET if length as usize >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family and the length say that a `sockaddr_in` stands here, and the storage is aligned for it.
            let address = unsafe { &*start.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(address.sin_port))))
        }
        libc::AF_INET6 if length as usize >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: the same for a `sockaddr_in6`.
            let address = unsafe { &*start.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id)))
        }
        _ => None,
    }
}

/// The address in the packet information, if the kernel added it.
fn destination(header: &libc::msghdr) -> Option<IpAddr> {
    if header.msg_controllen == 0 {
        return None;
    }
    // SAFETY: the kernel filled `msg_control` with `msg_controllen` bytes of well-formed control messages; the macros
    // stay inside them, and the type of each message says which structure its bytes are.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let found = libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(Ipv4Addr::from(u32::from_be(found.ipi_addr.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let found = libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from(found.ipi6_addr.s6_addr).into());
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

/// Asks the kernel to tell with each datagram to which address it was sent; needed on sockets bound to all addresses.
pub fn tell_destinations(socket: BorrowedFd<'_>, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    Ok(())
}

/// Sets the size of the receive buffer beyond the system's limit, for who may do that.
pub fn force_receive_buffer_size(socket: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::RcvBufForce, &size)?)
}

/// Sends one datagram. When the kernel has no room for it, waits for room up to `patience` and then gives up.
pub fn send(socket: BorrowedFd<'_>, to: SocketAddr, bytes: &[u8], patience: Duration) -> io::Result<()> {
    let target = SockAddr::from(to);
    let socket_ref = SockRef::from(&socket);
    let attempt = || socket_ref.send_to_with_flags(bytes, &target, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    loop {
        match attempt() {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    poll::wait_for(socket, Interest::Write, patience)?;
    attempt().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind(address).unwrap();
        (bind(), bind())
    }

    #[test]
    fn one_call_takes_all_that_is_there_and_rooms_are_used_again() {
        let (sender, receiver) = pair("127.0.0.1:0");
        let mut batch = ReceiveBatch::new(3, 100);

        for round in 0..3 {
            for number in 0..4 {
                sender
                    .send_to(format!("{round}.{number}").as_bytes(), receiver.local_addr().unwrap())
                    .unwrap();
            }
            // Datagrams over loopback are there when `send_to` returns: three fit, the fourth comes next.
            assert_eq!(batch.receive(receiver.as_fd()).unwrap(), 3);
            let texts: Vec<_> = batch.iter().map(|r| String::from_utf8_lossy(r.bytes).into_owned()).collect();
            assert_eq!(texts, [0, 1, 2].map(|number| format!("{round}.{number}")));
            assert!(batch.iter().all(|r| r.source == Some(sender.local_addr().unwrap()) && !r.is_cut));
            assert!(batch.iter().all(|r| r.destination.is_none()));
            assert_eq!(batch.receive(receiver.as_fd()).unwrap(), 1);
            assert_eq!(batch.iter().next().unwrap().bytes, format!("{round}.3").as_bytes());
        }
    }

    #[test]
    fn empty_and_too_long_ones_are_told() {
        let (sender, receiver) = pair("127.0.0.1:0");
        let to = receiver.local_addr().unwrap();
        let mut batch = ReceiveBatch::new(4, 10);

        for length in [0, 10, 11] {
            sender.send_to(&vec![b'x'; length], to).unwrap();
        }

        assert_eq!(batch.receive(receiver.as_fd()).unwrap(), 3);
        let shapes: Vec<_> = batch.iter().map(|r| (r.bytes.len(), r.is_cut)).collect();
        assert_eq!(shapes, [(0, false), (10, false), (10, true)]);
    }

    #[test]
    fn destinations_are_told_on_sockets_for_all_addresses() {
        for (all, one) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")] {
            let Ok(receiver) = UdpSocket::bind(all) else { continue };
            let one: IpAddr = one.parse().unwrap();
            tell_destinations(receiver.as_fd(), one.is_ipv6()).unwrap();
            let to = SocketAddr::new(one, receiver.local_addr().unwrap().port());
            let sender = UdpSocket::bind(all).unwrap();
            let mut batch = ReceiveBatch::new(2, 100);

            for _ in 0..3 {
                send(sender.as_fd(), to, b"hello", Duration::ZERO).unwrap();
                batch.receive(receiver.as_fd()).unwrap();
                let received = batch.iter().next().unwrap();
                assert_eq!((received.bytes, received.destination), (&b"hello"[..], Some(one)));
                assert_eq!(received.source.unwrap().port(), sender.local_addr().unwrap().port());
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_is_an_error() {
        let (sender, receiver) = pair("127.0.0.1:0");
        let too_long = vec![0; 70_000];
        let to = receiver.local_addr().unwrap();
        assert!(send(sender.as_fd(), to, &too_long, Duration::ZERO).is_err());
    }
}
