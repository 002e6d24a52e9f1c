//! The way out: how what runs here sends bytes, without knowing in which process it runs.

use std::io;
use std::net::SocketAddr;

/// Sends messages.
pub trait Outbound {
    /// Sends `bytes` to `to` by the listener of this index in `Settings::listeners`.
    fn send(&mut self, listener: u16, to: SocketAddr, bytes: &[u8]) -> io::Result<()>;
}
