//! `sworker`: a SIP server in which receiving a message and processing it are different processes.
//!
//! ```text
//!  roof   bin/         sworkerd               sworkerctl              sworkertop
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!  11     process/     the processes: start/ master/ succession/ roles/
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!  10     flows/       call flows as text, run against a server: sworkerd --test
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   9     modules/     sworker sl xlog pv textops ...     │  control/  commands server client
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   8     engine/      runs the routes of the script for one message
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   7     bindings/    what a script can name: functions and variables of the core, module registry
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   6     routing/     one message: context, delegation, replies, forwarding, branches
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   5     state/       what processes share: values, locks, poison, status
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   4     config/      settings and their sources, fixed before the start
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   3     telemetry/   log lines and counters
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   2     shm/ (!)     memory/ queue/ tables/ delay/ figures/ proof/  │  transport/  listener udp
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!   1     sys/ (!)     kernel calls   │   sip/  RFC 3261 as values   │   script/  the language
//!  ───────────────────────────────────────────────────────────────────────────────────────
//!  (!) the only two rooms where `unsafe` may be written
//! ```
//!
//! Imports run downward only; two rooms on one floor do not import each other. `tests/tidy` checks this.

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
pub mod flows;
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
