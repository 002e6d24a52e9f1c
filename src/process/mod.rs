//! The processes: master, receivers, workers, control.
//!
//! ```text
//!  boot ─► heritage ─► master ──fork──► child ─┬─► receiver ─► engine ─► rings
//!                        │                     ├─► worker   ◄─ rings, engine
//!              supervisor│repair│obituary      └─► control
//! ```
//!
//! **Invariant:** all shared memory and sockets exist before the first fork.
//! **Invariant:** the master has one thread, takes no lock a child can hold, waits for nobody without a deadline.

pub mod boot;
mod broken;
pub mod child;
pub mod command_line;
pub mod confinement;
pub mod control;
pub mod daemon;
pub mod engine;
pub mod heritage;
pub mod ledger;
pub mod master;
pub mod obituary;
pub mod offspring;
pub mod outbound;
pub mod overload;
pub mod quarantine;
pub mod receiver;
pub mod reload;
pub mod reload_line;
pub mod remembered;
pub mod repair;
pub mod replay;
pub mod role;
pub mod scaling;
pub mod service_manager;
pub mod supervisor;
pub mod undertaker;
pub mod upgrade;
pub mod watchdog;
pub mod worker;
