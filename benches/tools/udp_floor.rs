//! `udp_floor`: what no SIP server over UDP can go below on this kernel.
//!
//! ```text
//!  udp_floor HOST PORT [BATCH]        prints the bound address, then answers until it is ended
//! ```
//!
//! Receives a batch, writes `SIP/2.0 200 OK` over the end of each request line in place, sends the batch back. No
//! parsing, no routing, no hand-over, one process: the cost left is that of the kernel's UDP path.

use std::io::{IoSlice, IoSliceMut, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt};

const DATAGRAM_SIZE_MAX: usize = 4096;
const SOCKET_BUFFER_SIZE: usize = 8 << 20;
const STATUS_LINE: &[u8] = b"SIP/2.0 200 OK";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, rest @ ..] = arguments.as_slice() else {
        return Err("usage: udp_floor HOST PORT [BATCH]".into());
    };
    let batch_count = rest.first().map_or(Ok(32), |text| text.parse::<usize>())?;
    let socket = UdpSocket::bind((host.as_str(), port.parse()?))?;
    // Only root may go beyond the system's limit.
    setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER_SIZE)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER_SIZE))?;
    println!("udp_floor: udp:{}", socket.local_addr()?);
    std::io::stdout().flush()?;
    let mut buffers = vec![vec![0; DATAGRAM_SIZE_MAX]; batch_count];
    loop {
        let received = receive(&socket, &mut buffers)?;
        answer(&socket, &mut buffers, &received)?;
    }
}

/// Waits for a datagram and takes what is there: sizes and senders.
fn receive(socket: &UdpSocket, buffers: &mut [Vec<u8>]) -> Result<Vec<(usize, Option<SockaddrIn>)>, Errno> {
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(buffers.len(), None);
    let mut slices: Vec<[IoSliceMut<'_>; 1]> =
        buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
    match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None) {
        Ok(results) => Ok(results.map(|result| (result.bytes, result.address)).collect()),
        Err(Errno::EINTR) => Ok(vec![]),
        Err(error) => Err(error),
    }
}

/// Turns each request into its answer and sends all of them back.
fn answer(
    socket: &UdpSocket,
    buffers: &mut [Vec<u8>],
    received: &[(usize, Option<SockaddrIn>)],
) -> Result<(), Errno> {
    let answers = buffers.iter_mut().zip(received);
    let slices: Vec<[IoSlice<'_>; 1]> =
        answers.map(|(buffer, (size, _))| [IoSlice::new(answered(&mut buffer[..*size]))]).collect();
    let addresses: Vec<Option<SockaddrIn>> = received.iter().map(|(_, address)| *address).collect();
    let mut sent_count = 0;
    while sent_count < slices.len() {
        let (slices, addresses) = (&slices[sent_count..], &addresses[sent_count..]);
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(slices.len(), None);
        match sendmmsg(socket.as_raw_fd(), &mut headers, slices, addresses, [], MsgFlags::empty()) {
            Ok(results) => sent_count += results.count(),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The request with a status line instead of its request line, in place.
fn answered(request: &mut [u8]) -> &[u8] {
    let line_end = memchr::memchr(b'\r', request).unwrap_or(0);
    match line_end.checked_sub(STATUS_LINE.len()) {
        Some(start) => {
            request[start..line_end].copy_from_slice(STATUS_LINE);
            &request[start..]
        }
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_line_becomes_a_status_line() {
        let rows: [(&str, &str); 3] = [
            ("OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n", "SIP/2.0 200 OK\r\nVia: x\r\n"),
            ("SHORT\r\n", "SHORT\r\n"),
            ("", ""),
        ];
        for (request, expected) in rows {
            assert_eq!(answered(&mut request.as_bytes().to_vec()), expected.as_bytes());
        }
    }
}
