//! How the protocols are proven: points at which a process may be killed, models, mutants.

pub mod crash_point;
#[cfg(not(loom))]
pub mod failpoint;
#[cfg(all(loom, test))]
pub(in crate::shm) mod model;
pub(in crate::shm) mod mutant;
