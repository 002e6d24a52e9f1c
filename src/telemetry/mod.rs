//! What is said about the server: the log, counters, and which process speaks.
//!
//! **Invariant:** nothing is decided by what is written or counted here.
//! **Invariant:** whatever is counted has one row with its documentation.

pub mod counters;
pub mod log;
pub mod process_identity;
pub mod throttle;
