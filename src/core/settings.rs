//! What a script's top level and the command line decide, typed.

use std::net::SocketAddr;

use super::datagram::Transport;

/// One socket to listen on. Where a script names several (`listen=(a, b)`, an interface with two addresses), there
/// are several of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSetting {
    /// How.
    pub transport: Transport,
    /// Where; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Host and port written into Via instead of the bound ones.
    pub advertise: Option<(String, Option<u16>)>,
    /// Name for `$Rn` and `$fsn`.
    pub name: Option<String>,
    /// Receivers for this socket, when it differs from `children`.
    pub receivers: Option<u32>,
}

/// One group of workers: `async_workers_group="name=reg;workers=4;queue=8192"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSetting {
    /// Name, case-sensitive.
    pub name: String,
    /// Number of workers, above 0.
    pub workers: u32,
    /// Records each ring holds (`queue=`), a power of two.
    pub queue: u32,
}
