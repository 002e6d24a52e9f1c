//! The processes: master, receivers, workers, control, and a timer where messages can wait.
//!
//! ```text
//!  boot ─► heritage ─► master ──fork──► child ─┬─► receiver ─► engine ─► rings
//!   ▲                    │                     ├─► worker   ◄─ rings, engine
//!   │                    │                     ├─► timer    waiting room ─► rings
//!   │                    │                     └─► control
//!   │                    ├─ a child died: supervisor│repair│obituary ─► undertaker ─► quarantine ─► replay
//!   │                    ├─ too slow, too few: watchdog│scaling
//!   │                    ├─ SIGHUP: reload ─► check ─► the next generation beside this one, its elder
//!   └── exec ◄─ handover ┼─ SIGUSR2: upgrade ◄──line──► heir, another program, which takes the names
//!                        └─ SIGTERM: stop
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
mod damage;
pub mod engine;
mod generation;
pub mod handover;
pub mod heir;
pub mod heritage;
pub mod ledger;
pub mod master;
pub mod names;
pub mod number_file;
pub mod obituary;
pub mod offspring;
pub mod outbox;
pub mod overload;
mod precedence;
pub mod quarantine;
pub mod receiver;
pub mod reload;
pub mod reload_line;
pub mod remembered;
pub mod repair;
pub mod replay;
pub mod role;
pub mod scaling;
pub mod script_source;
pub mod service_manager;
pub mod stop;
pub mod supervisor;
pub mod timer;
pub mod undertaker;
pub mod upgrade;
pub mod waiting;
pub mod watchdog;
pub mod worker;
