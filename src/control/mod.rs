//! Commands for operators: protocol, server and client.
//!
//! ```text
//!  sworkerctl ──► client ══ UNIX stream socket, one JSON object per line ══► server ──► commands ──► figures
//! ```
//!
//! **Invariant:** no command can block or slow the path of a message: the server lives in a process of its own, reads
//! figures that others publish, and every connection has limits in size and time.

pub mod client;
pub mod commands;
pub mod counter_commands;
pub mod protocol;
pub mod server;
pub mod setting_commands;
