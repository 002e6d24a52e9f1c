//! `sworker`: a SIP server in which receiving a message and processing it are different processes.
//!
//! ```text
//!  roof   bin/         sworkerd               sworkerctl              sworkertop
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!  10     process/     start/ master/ succession/ roles/     who lives, who dies, who follows
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   9     modules/     sworker sl xlog pv textops ...     │  control/  commands server client
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   8     engine/      one piece of work through the script's routes
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   7     bindings/    what a script can name: functions, variables, transformations, modules
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   6     routing/     one message: context, delegation, replies, forwarding, branches
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   5     state/       what processes share: values, locks, poison, status
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   4     config/      what was decided before the start: settings, their sources
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   3     telemetry/   what is said about the server: log, counters
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   2     shm/ (!)     memory/ queue/ tables/ delay/ figures/ proof/  │  transport/  listener udp
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   1     sys/ (!)     kernel calls   │   sip/  RFC 3261 as values   │   script/  the language
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!  (!) the only two rooms where `unsafe` may be written
//! ```
//!
//! Imports run downward only; two rooms on one floor do not know each other. `tests/tidy.rs` holds this.

// The model checker compiles the queue alone: `scripts/loom`.
#[cfg(not(loom))]
pub mod bindings;
#[cfg(not(loom))]
pub mod config;
#[cfg(not(loom))]
pub mod control;
#[cfg(not(loom))]
pub mod engine;
#[cfg(not(loom))]
pub mod modules;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod routing;
#[cfg(not(loom))]
pub mod script;
#[allow(unsafe_code)]
pub mod shm;
#[cfg(not(loom))]
pub mod sip;
#[cfg(not(loom))]
pub mod state;
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub mod sys;
#[cfg(not(loom))]
pub mod telemetry;
#[cfg(not(loom))]
pub mod transport;
