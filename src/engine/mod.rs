//! One piece of work through the script's routes, in whichever process.
//!
//! **Invariant:** workers, receivers, replay and tests use this engine; there is no second one.

pub mod broken;
#[cfg(test)]
pub mod harness;
pub mod perform;
