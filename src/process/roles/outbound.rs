//! The way out of a process: the listeners that every child inherits.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::routing::outbound::Outbound;
use crate::transport::listener::Listeners;

/// Sends by the listener a message names.
pub struct ListenerOutbound {
    listeners: Rc<Listeners>,
}

impl ListenerOutbound {
    /// Sends by these.
    pub fn new(listeners: Rc<Listeners>) -> ListenerOutbound {
        ListenerOutbound { listeners }
    }
}

impl Outbound for ListenerOutbound {
    fn send(&mut self, listener: u16, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.listeners.send(listener, to, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::udp::UdpOptions;
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn messages_leave_by_the_listener_they_name() {
        let addresses = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| address.parse().unwrap());
        let listeners = Rc::new(Listeners::bind(&addresses, &UdpOptions::default()).unwrap());
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut outbound = ListenerOutbound::new(listeners.clone());

        for (index, listener) in listeners.iter() {
            outbound.send(index, peer.local_addr().unwrap(), b"hello").unwrap();
            let mut bytes = [0; 10];
            assert_eq!(peer.recv_from(&mut bytes).unwrap(), (5, listener.address()));
        }
        assert!(outbound.send(2, peer.local_addr().unwrap(), b"hello").is_err());
    }
}
