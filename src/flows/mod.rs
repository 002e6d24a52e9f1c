//! Call flows as text, run against a real server: `sworkerd --test FILE.flow -f their.cfg`. The format: `docs/flows.md`.
//!
//! ```text
//!  FILE.flow ─► outline ─► parser ─► flow ──► runner ─┬─ peers ◄──UDP──► the server, a child: sworkerd --trial
//!                            │                        ├─ judge            ▲ signals   ▲ commands
//!                            ▼                        └─ watch, server ───┴───────────┘
//!                   what is wrong, and where    suite ─► report: TAP, JSON, JUnit
//! ```
//!
//! **Invariant:** every wait has a deadline, and a signal that ends the run ends the wait.
//! **Invariant:** no process of a server outlives its flow, however that ends.

mod answers;
mod compose;
mod conditions;
mod flow;
mod judge;
mod outline;
mod parser;
mod peer;
mod placeholder;
mod processes;
mod reader;
mod report;
mod runner;
mod server;
mod steps;
mod suite;
mod trouble;
mod view;
mod watch;

pub use report::ReportForm;
pub use suite::{TestRequest, run};
