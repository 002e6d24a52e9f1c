//! A peer: a socket of its own, and what is known of the messages it sent and received.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::compose::{self, Sender};
use super::flow::{PeerRow, StartPattern};
use super::judge::ReceivedMessage;
use super::trouble::Trouble;
use super::watch::Watch;
use crate::sip::Message;
use crate::sys::socket;

/// Room for messages that come faster than a flow expects them.
const RECEIVE_BUFFER_SIZE: usize = 4 << 20;

const DATAGRAM_SIZE_MAX: usize = 65_536;

/// How long a send may wait for room in the socket's buffer.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct FlowPeer {
    pub name: String,
    socket: UdpSocket,
    pub address: SocketAddr,
    /// The tag of its own in every dialog.
    pub tag: String,
    /// The branch of its last request.
    pub branch: String,
    sequence: u32,
    /// The requests it received, the last one at the end.
    requests: Vec<ReceivedMessage>,
    ignored: Vec<StartPattern>,
}

impl FlowPeer {
    /// Binds its socket to a port the kernel chooses.
    pub fn new(row: &PeerRow) -> io::Result<FlowPeer> {
        let socket = UdpSocket::bind((row.address, 0))?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_SIZE)?;
        socket.set_nonblocking(true)?;
        Ok(FlowPeer {
            address: socket.local_addr()?,
            name: row.name.clone(),
            socket,
            tag: format!("{}-tag", row.name),
            branch: String::new(),
            sequence: 0,
            requests: Vec::new(),
            ignored: Vec::new(),
        })
    }

    /// Completes a message of its own; `branch` is a new one.
    pub fn compose(&mut self, lines: &[String], branch: &str, call_id: &str) -> Vec<u8> {
        let start = lines.first().map_or("", String::as_str);
        let is_of_last = start.starts_with("ACK ") || start.starts_with("CANCEL ");
        let sequence = if is_of_last { self.sequence.max(1) } else { self.sequence + 1 };
        let sender =
            Sender { name: &self.name, address: self.address, tag: &self.tag, branch, call_id, sequence };
        let bytes = compose::complete(lines, &sender);
        if !start.starts_with("SIP/2.0 ") {
            let (branch, sequence) = compose::identity(&bytes);
            self.branch = branch.unwrap_or_default();
            self.sequence = sequence.unwrap_or(self.sequence);
        }
        bytes
    }

    /// Sends a datagram from its socket.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        socket::send(self.socket.as_fd(), to, bytes, SEND_TIMEOUT)
    }

    /// From now on such messages are passed over.
    pub fn ignore(&mut self, start: &StartPattern) {
        self.ignored.push(start.clone());
    }

    /// The last request it received, or the last of a method.
    pub fn last_request(&self, method: Option<&str>) -> Option<&ReceivedMessage> {
        let is_it = |request: &&ReceivedMessage| {
            method.is_none_or(|method| request.start().split(' ').next() == Some(method))
        };
        self.requests.iter().rev().find(is_it)
    }

    /// The next message that is not passed over, when there is one before `deadline`.
    pub fn receive(
        &mut self,
        watch: &mut Watch,
        deadline: Instant,
    ) -> Result<Option<ReceivedMessage>, Trouble> {
        let mut buffer = vec![0; DATAGRAM_SIZE_MAX];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((size, source)) => {
                    let received = ReceivedMessage { bytes: buffer[..size].to_vec(), source };
                    if !self.ignored.iter().any(|start| start.fits(&received)) {
                        self.note(&received);
                        return Ok(Some(received));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                    watch.wait_for_message(&self.socket, deadline)?;
                }
                // An ICMP error for a message sent before: nothing listened at its destination.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(Trouble::system("receive", &error)),
            }
        }
    }

    fn note(&mut self, received: &ReceivedMessage) {
        if Message::parse(&received.bytes).is_ok_and(|message| message.is_request()) {
            self.requests.push(received.clone());
        }
    }
}

impl StartPattern {
    /// Whether a message begins so.
    pub fn fits(&self, received: &ReceivedMessage) -> bool {
        let Ok(message) = Message::parse(&received.bytes) else { return *self == StartPattern::Any };
        let status = message.status_line().map(|line| line.status.code());
        match self {
            StartPattern::Any => true,
            StartPattern::Status(wanted) => status == Some(*wanted),
            StartPattern::StatusClass(class) => status.is_some_and(|status| status / 100 == *class),
            StartPattern::Method(name) => {
                message.request_line().is_some_and(|line| line.method.name() == name.as_bytes())
            }
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            StartPattern::Any => "a message".to_owned(),
            StartPattern::Status(status) => status.to_string(),
            StartPattern::StatusClass(class) => format!("{class}xx"),
            StartPattern::Method(name) => name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_told_apart() {
        let message = |start: &str| ReceivedMessage {
            bytes: format!("{start}\r\nCall-ID: 1\r\n\r\n").into_bytes(),
            source: "127.0.0.1:5".parse().unwrap(),
        };
        let rows = [
            (StartPattern::Any, "SIP/2.0 200 OK", true),
            (StartPattern::Any, "nonsense", true),
            (StartPattern::Status(200), "SIP/2.0 200 OK", true),
            (StartPattern::Status(200), "SIP/2.0 202 OK", false),
            (StartPattern::StatusClass(2), "SIP/2.0 202 OK", true),
            (StartPattern::StatusClass(2), "SIP/2.0 302 Moved", false),
            (StartPattern::Method("BYE".to_owned()), "BYE sip:a SIP/2.0", true),
            (StartPattern::Method("BYE".to_owned()), "SIP/2.0 200 OK", false),
            (StartPattern::Status(200), "BYE sip:a SIP/2.0", false),
        ];
        for (pattern, start, expected) in rows {
            assert_eq!(pattern.fits(&message(start)), expected, "{pattern:?} {start}");
        }
    }

    #[test]
    fn numbers_go_on_and_acknowledgements_keep_them() {
        let row = PeerRow {
            name: "alice".to_owned(),
            span: crate::script::ast::Span::default(),
            address: "127.0.0.1".parse().unwrap(),
        };
        let mut peer = FlowPeer::new(&row).unwrap();
        let mut sequence = |start: &str| {
            let bytes = peer.compose(&[start.to_owned()], "z9hG4bK1", "c");
            compose::identity(&bytes).1
        };
        let numbers = ["INVITE sip:b SIP/2.0", "ACK sip:b SIP/2.0", "BYE sip:b SIP/2.0"].map(&mut sequence);
        assert_eq!(numbers, [Some(1), Some(1), Some(2)]);
    }
}
