//! Kernel calls, each wrapped so that the rest of the house needs no `unsafe`.
//!
//! **Invariant:** nothing here knows SIP, the script or our settings.

pub mod clock;
pub mod credentials;
pub mod escape;
pub mod futex;
pub mod inherit;
pub mod interfaces;
pub mod log_write;
pub mod memory;
pub mod poll;
pub mod process;
pub mod receive;
pub mod resolver;
pub mod sandbox;
pub mod send;
pub mod session;
pub mod shared_number;
pub mod signal;
pub mod socket;
pub mod title;
pub mod unix_socket;
