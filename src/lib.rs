//! `sworker`: a SIP server in which receiving a message and processing it are different processes.
//!
//! ```text
//!  roof   bin/       sworkerd               sworkerctl              sworkertop
//!  ──────────────────────────────────────────────────────────────────────────────────────
//!   5     process/   boot master supervisor · receiver worker timer control · engine repair · reload upgrade
//!  ──────────────────────────────────────────────────────────────────────────────────────
//!   4     modules/   sworker sl xlog pv textops ...        │  control/  commands server client
//!  ──────────────────────────────────────────────────────────────────────────────────────
//!   3     core/      module context datagram groups outbound services settings counters log
//!  ──────────────────────────────────────────────────────────────────────────────────────
//!   2     shm/ (!)   segment ring slot repair waiting_room │  transport/  listener udp
//!  ──────────────────────────────────────────────────────────────────────────────────────
//!   1     sys/ (!)   kernel calls   │   sip/  RFC 3261 as values   │   script/  the language
//!  ──────────────────────────────────────────────────────────────────────────────────────
//!  (!) the only two rooms where `unsafe` may be written
//! ```
//!
//! Imports run downward only; two rooms on one floor do not know each other. `tests/tidy/` holds this.

// The model checker compiles the queue alone: `scripts/loom`.
#[cfg(not(loom))]
pub mod control;
#[cfg(not(loom))]
pub mod core;
#[cfg(not(loom))]
pub mod modules;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod script;
#[allow(unsafe_code)]
pub mod shm;
#[cfg(not(loom))]
pub mod sip;
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod sys;
#[cfg(not(loom))]
pub mod transport;
