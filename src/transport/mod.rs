//! Listeners and the datagrams they carry.
//!
//! **Invariant:** nothing here knows the script or a module, and SIP only as bytes.
//! **Invariant:** a port belongs to one server: no listener shares it with another program.

pub mod endpoint;
pub mod listener;
pub mod udp;
