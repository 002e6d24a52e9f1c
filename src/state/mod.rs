//! What processes share beside messages: values, locks, totals, and what the master notes for all.
//!
//! **Invariant:** shared memory is made before the first fork.
//! **Invariant:** a process that dies at any instruction leaves nothing here that the master cannot put right.

pub mod live_settings;
pub mod overload;
pub mod poison;
pub mod shared;
pub mod status;
pub mod value;
