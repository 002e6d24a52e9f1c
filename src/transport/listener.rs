//! The listeners of a server, in the order of their indexes, all bound before the first fork.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::udp::{UdpListener, UdpOptions};
use crate::sys::send::BatchSender;

/// Why a listener is not there.
#[derive(Debug)]
pub enum ListenError {
    /// The kernel refused.
    CouldNotBind(SocketAddr, io::Error),
    /// A message can name 65535 listeners and not more.
    TooMany(usize),
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::CouldNotBind(address, error) => {
                write!(out, "could not bind udp {address}: {}", reason(error))
            }
            ListenError::TooMany(count) => {
                write!(out, "cannot listen on {count} sockets: the maximum is 65535")
            }
        }
    }
}

impl std::error::Error for ListenError {}

/// The kernel's reason, in our manner of writing.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no interface has this address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// All listeners of a server.
#[derive(Debug, Default)]
pub struct Listeners {
    udp: Vec<UdpListener>,
}

impl Listeners {
    /// Binds all of `addresses` or none: the i-th address is the listener of index i; port 0 lets the kernel choose.
    pub fn bind(addresses: &[SocketAddr], options: &UdpOptions) -> Result<Listeners, ListenError> {
        if addresses.len() > usize::from(u16::MAX) {
            return Err(ListenError::TooMany(addresses.len()));
        }
        let bind = |&address: &SocketAddr| {
            UdpListener::bind(address, options).map_err(|error| ListenError::CouldNotBind(address, error))
        };
        Ok(Listeners { udp: addresses.iter().map(bind).collect::<Result<_, _>>()? })
    }

    /// Sockets that another program bound, with the addresses it was asked for.
    pub fn adopt(sockets: Vec<(SocketAddr, OwnedFd)>) -> io::Result<Listeners> {
        let adopt = |(wish, descriptor)| UdpListener::adopt(descriptor, wish);
        Ok(Listeners { udp: sockets.into_iter().map(adopt).collect::<Result<_, _>>()? })
    }

    /// The same, but what one of `before` listens on already is shared with it instead of bound again: nothing that
    /// waits in such a socket is lost, and there is no moment without a listener.
    pub fn renew(
        addresses: &[SocketAddr],
        options: &UdpOptions,
        before: &[&Listeners],
    ) -> Result<Listeners, ListenError> {
        if addresses.len() > usize::from(u16::MAX) {
            return Err(ListenError::TooMany(addresses.len()));
        }
        // Several listeners may have asked for the kernel's choice of a port: each is shared once.
        let mut shared = Vec::new();
        let mut renew = |&address: &SocketAddr| {
            let known = before.iter().flat_map(|listeners| &listeners.udp);
            let found =
                known.filter(|one| one.wish() == address).find(|one| !shared.contains(&one.address()));
            let listener = match found {
                Some(found) => {
                    shared.push(found.address());
                    found.share(options)
                }
                None => UdpListener::bind(address, options),
            };
            listener.map_err(|error| ListenError::CouldNotBind(address, error))
        };
        Ok(Listeners { udp: addresses.iter().map(&mut renew).collect::<Result<_, _>>()? })
    }

    /// The listener of this index.
    pub fn udp(&self, index: u16) -> Option<&UdpListener> {
        self.udp.get(usize::from(index))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.udp.len()
    }

    /// Index and listener of each.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &UdpListener)> {
        (0..).zip(&self.udp)
    }

    /// Sends datagrams from the listener of this index, in order, as many as the kernel takes at once; how many that were.
    /// An error is that of the first one.
    pub fn send_many<'d>(
        &self,
        index: u16,
        sender: &mut BatchSender,
        datagrams: impl Iterator<Item = (SocketAddr, &'d [u8])>,
    ) -> io::Result<usize> {
        match self.udp(index) {
            Some(listener) => listener.send_many(sender, datagrams),
            None => Err(no_listener(index)),
        }
    }

    /// Sends from the listener of this index.
    pub fn send(&self, index: u16, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        match self.udp(index) {
            Some(listener) => listener.send(to, bytes),
            None => Err(no_listener(index)),
        }
    }
}

fn no_listener(index: u16) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no listener {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(addresses: &[&str]) -> Result<Listeners, String> {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Listeners::bind(&addresses, &UdpOptions::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn listeners_have_the_order_of_the_addresses() {
        let listeners = bind(&["127.0.0.2:0", "127.0.0.1:0"]).unwrap();

        let ips: Vec<_> = listeners.iter().map(|(index, l)| (index, l.address().ip().to_string())).collect();
        assert_eq!(ips, [(0, "127.0.0.2".to_owned()), (1, "127.0.0.1".to_owned())]);
        assert_eq!(listeners.count(), 2);
        assert!(listeners.udp(2).is_none());
        let error = listeners.send(2, "127.0.0.1:9".parse().unwrap(), b"x").unwrap_err();
        assert_eq!(error.to_string(), "there is no listener 2");
    }

    #[test]
    fn what_did_not_change_is_shared_and_the_rest_is_bound() {
        let before = bind(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"]).unwrap();
        let wishes = ["127.0.0.3:0", "127.0.0.1:0", "127.0.0.1:0"].map(|text| text.parse().unwrap());
        let after = Listeners::renew(&wishes, &UdpOptions::default(), &[&before]).unwrap();
        let address = |listeners: &Listeners, index| listeners.udp(index).unwrap().address();
        assert_eq!((address(&after, 1), address(&after, 2)), (address(&before, 0), address(&before, 1)));
        assert_eq!(address(&after, 0).ip().to_string(), "127.0.0.3");
        // A listener outlives the one it was shared with.
        drop(before);
        after.send(1, address(&after, 2), b"x").unwrap();
        let taken = [address(&after, 0)];
        let refused = Listeners::renew(&taken, &UdpOptions::default(), &[]).map(|_| ()).unwrap_err();
        assert!(refused.to_string().ends_with("address in use"), "{refused}");
    }

    #[test]
    fn refusals_say_what_and_why() {
        let taken = bind(&["127.0.0.1:0"]).unwrap();
        let address = taken.udp(0).unwrap().address().to_string();
        let rows = [
            (address.as_str(), format!("could not bind udp {address}: address in use")),
            ("192.0.2.1:5060", "could not bind udp 192.0.2.1:5060: no interface has this address".to_owned()),
        ];
        for (address, message) in rows {
            assert_eq!(bind(&[address]).map(|_| ()), Err(message));
        }
    }
}
