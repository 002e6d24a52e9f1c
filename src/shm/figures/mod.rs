//! Figures for programs that look from outside.

pub(in crate::shm) mod histogram;
#[cfg(not(loom))]
pub(in crate::shm) mod statistics;
