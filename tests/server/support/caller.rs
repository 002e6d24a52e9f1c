//! Somebody who speaks SIP to the server over one UDP socket.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::SOON;
use super::sip::{Message, Request};

/// A socket of our own and the server's address.
pub struct Caller {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Caller {
    /// A fresh socket, on the address family of the server.
    pub fn new(server: SocketAddr) -> Caller {
        Caller::at(if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }, server)
    }

    /// The same with an address of its own.
    pub fn at(local: &str, server: SocketAddr) -> Caller {
        let socket = UdpSocket::bind(local).expect("a loopback port can be bound");
        let larger = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        larger.expect("the kernel takes a wish for a larger buffer");
        Caller { socket, server }
    }

    /// The same socket speaking to another server.
    pub fn towards(&self, server: SocketAddr) -> Caller {
        Caller { socket: self.socket.try_clone().expect("a socket can be shared"), server }
    }

    /// Our own address.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Whom we speak to.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The bytes of a request from us to the server.
    pub fn bytes(&self, request: &Request) -> Vec<u8> {
        request.bytes(self.address(), self.server)
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).expect("loopback takes a datagram");
    }

    /// The next datagram, or `None` when there is none within the time.
    pub fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        let give_up_at = Instant::now() + time;
        let mut buffer = vec![0; 65_536];
        loop {
            let left = give_up_at.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
            self.socket.set_read_timeout(Some(left)).expect("a time above zero is taken");
            match self.socket.recv(&mut buffer) {
                Ok(size) => return Some(buffer[..size].to_vec()),
                // The server was not there when we sent: the kernel tells us on the next call.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("could not receive: {error}"),
            }
            if Instant::now() >= give_up_at {
                return None;
            }
        }
    }

    /// The next message.
    #[track_caller]
    pub fn receive(&self) -> Message {
        Message::parse(&self.receive_within(SOON).expect("a message comes"))
    }

    /// Sends a request and waits for one answer.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Message {
        self.ask_bytes(&self.bytes(request))
    }

    /// Sends bytes and waits for one answer.
    #[track_caller]
    pub fn ask_bytes(&self, bytes: &[u8]) -> Message {
        self.send(bytes);
        let answer = self.receive_within(SOON);
        Message::parse(&answer.unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(bytes))))
    }

    /// Sends bytes that get no answer, then a good request as a marker, and checks that the next thing to come is
    /// the marker's answer. Needs a server where order holds: one receiver, and one worker if it delegates.
    #[track_caller]
    pub fn expect_silence(&self, bytes: &[u8], marker: &str) {
        let is_silent = self.is_thrown_away(bytes, marker);
        assert!(is_silent, "answered, but should not: {}", String::from_utf8_lossy(bytes));
    }

    /// The same as a question.
    #[track_caller]
    pub fn is_thrown_away(&self, bytes: &[u8], marker: &str) -> bool {
        self.send(bytes);
        let answer = self.ask(&Request::new("OPTIONS", marker));
        if answer.header("Call-ID") == marker {
            return true;
        }
        assert_eq!(self.receive().header("Call-ID"), marker);
        false
    }

    /// The socket, for a load of many requests.
    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }
}
