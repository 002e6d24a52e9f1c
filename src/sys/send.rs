//! Sending datagrams, many per kernel call.
//!
//! ```text
//!  datagrams ─► headers[i] ──► vectors[i] ──► the caller's bytes        one sendmmsg: the first `n` have left
//!                         ──► addresses[i]                              or an error: that of the first one
//! ```
//!
//! The kernel takes datagrams in order and stops at the first that it refuses. It says how many it took; why it stopped is
//! said when that datagram comes first in the next call. So an error always belongs to one datagram, and the caller goes
//! on behind it: one that cannot leave holds up and loses no other.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use socket2::SockAddr;

use super::socket;

/// Room for what the kernel is shown of a batch; used again for the next one.
#[derive(Default)]
pub struct BatchSender {
    addresses: Vec<SockAddr>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl BatchSender {
    /// Sends datagrams from one socket, in order, as many as the kernel takes at once; how many that were, at least 1
    /// where there is any. An error is that of the first datagram, and then none was sent. When the kernel has no room for
    /// the first one, waits for room up to `timeout`.
    pub fn send<'d>(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = (SocketAddr, &'d [u8])>,
        timeout: Duration,
    ) -> io::Result<usize> {
        self.describe(datagrams);
        match self.headers.is_empty() {
            true => Ok(0),
            false => socket::retry_while_full(socket, timeout, || self.attempt(socket)),
        }
    }

    /// `'d` outlives the calls of `attempt`, which are the only use of the pointers made here.
    fn describe<'d>(&mut self, datagrams: impl Iterator<Item = (SocketAddr, &'d [u8])>) {
        self.addresses.clear();
        self.vectors.clear();
        self.headers.clear();
        for (to, bytes) in datagrams {
            self.addresses.push(SockAddr::from(to));
            let iov_base = bytes.as_ptr().cast_mut().cast();
            self.vectors.push(libc::iovec { iov_base, iov_len: bytes.len() });
        }
        // Only now: the vectors above do not move any more.
        for (address, vector) in self.addresses.iter().zip(&mut self.vectors) {
            // SAFETY: a header is a plain C structure, for which zero bytes are valid: no name, no vector, no control.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = address.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            self.headers.push(header);
        }
    }

    fn attempt(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: `describe` was called with bytes that live until `send` returns; each header points at one address and
        // one vector, which stand still since. The kernel reads through the pointers and writes lengths into headers.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn bind() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    fn received(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut bytes = vec![0; 66_000];
        (0..count)
            .map(|_| {
                let size = socket.recv(&mut bytes).unwrap();
                bytes[..size].to_vec()
            })
            .collect()
    }

    /// As a caller does it: goes on behind what was refused. The refused ones, by their place in the batch.
    fn send_all(sender: &mut BatchSender, from: &UdpSocket, batch: &[(SocketAddr, Vec<u8>)]) -> Vec<usize> {
        let (mut done, mut refused) = (0, Vec::new());
        while done < batch.len() {
            let rest = batch[done..].iter().map(|(to, bytes)| (*to, bytes.as_slice()));
            match sender.send(from.as_fd(), rest, Duration::ZERO) {
                Ok(count) => done += count,
                Err(_) => {
                    refused.push(done);
                    done += 1;
                }
            }
        }
        refused
    }

    #[test]
    fn a_batch_arrives_in_order_with_one_call() {
        let (from, to) = (bind(), bind());
        let address = to.local_addr().unwrap();
        let sizes = [1, 0, 1_500, 65_507, 700];
        let batch: Vec<_> = sizes.iter().map(|size| (address, vec![*size as u8; *size])).collect();
        let mut sender = BatchSender::default();

        let all = batch.iter().map(|(to, bytes)| (*to, bytes.as_slice()));
        assert_eq!(sender.send(from.as_fd(), all, Duration::ZERO).unwrap(), sizes.len());

        let arrived = received(&to, sizes.len());
        assert!(arrived.iter().eq(batch.iter().map(|(_, bytes)| bytes)));
        assert_eq!(sender.send(from.as_fd(), std::iter::empty(), Duration::ZERO).unwrap(), 0);
    }

    #[test]
    fn each_goes_to_its_own_address() {
        let (from, peers) = (bind(), [bind(), bind()]);
        let six = UdpSocket::bind("[::1]:0");
        let address = |index: usize| peers[index].local_addr().unwrap();
        let batch = [(address(1), b"b".to_vec()), (address(0), b"a".to_vec()), (address(1), b"c".to_vec())];
        assert!(send_all(&mut BatchSender::default(), &from, &batch).is_empty());
        assert_eq!(received(&peers[0], 1), [b"a"]);
        assert_eq!(received(&peers[1], 2), [b"b", b"c"]);
        let Ok(six) = six else { return };
        let batch = [(six.local_addr().unwrap(), b"six".to_vec())];
        assert!(send_all(&mut BatchSender::default(), &six, &batch).is_empty());
        assert_eq!(received(&six, 1), [b"six"]);
    }

    #[test]
    fn what_is_refused_neither_holds_up_nor_loses_another() {
        let (from, to) = (bind(), bind());
        let good = |text: &str| (to.local_addr().unwrap(), text.as_bytes().to_vec());
        let too_large = (to.local_addr().unwrap(), vec![0; 65_508]);
        // Nobody may send to everybody without having asked for it; this socket speaks another family.
        let forbidden = ("255.255.255.255:9".parse().unwrap(), b"x".to_vec());
        let other_family = ("[::1]:9".parse().unwrap(), b"x".to_vec());
        let rows: [(Vec<_>, &[usize]); 4] = [
            (vec![too_large.clone(), good("1"), good("2")], &[0]),
            (vec![good("1"), forbidden.clone(), good("2")], &[1]),
            (vec![good("1"), good("2"), other_family.clone()], &[2]),
            (vec![forbidden, too_large, good("1"), other_family, good("2")], &[0, 1, 3]),
        ];
        for (batch, expected) in rows {
            assert_eq!(send_all(&mut BatchSender::default(), &from, &batch), expected);
            assert_eq!(received(&to, 2), [b"1", b"2"]);
        }
    }
}
