//! The processes: master, receivers, workers, control, and a timer where messages can wait.
//!
//! ```text
//!  boot ─► heritage ─► master ──fork──► child ─┬─► receiver ─► engine ─► rings
//!   ▲                    │                     ├─► worker   ◄─ rings, engine
//!   │                    │                     ├─► timer    waiting room ─► rings
//!   │                    │                     └─► control
//!   │                    ├─ a child died: supervisor│repair│obituary ─► quarantine writer ─► quarantine ─► replay
//!   │                    ├─ too slow, too few: watchdog│scaling
//!   │                    ├─ SIGHUP: reload ─► check ─► the next generation, beside this one until that drains
//!   └── exec ◄─ handover ┼─ SIGUSR2: upgrade ◄──line──► successor, another program, which takes the names
//!                        └─ SIGTERM: stop
//! ```
//!
//! **Invariant:** all shared memory and sockets exist before the first fork.
//! **Invariant:** the master has one thread, takes no lock a child can hold, never waits without a deadline.

pub mod channel;
pub mod heritage;
pub mod master;
pub mod roles;
pub mod start;
pub mod succession;
