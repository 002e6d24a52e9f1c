//! Blocks, rows and values under numbers, each with a protocol that a death cannot spoil.

pub(in crate::shm) mod counter;
pub(in crate::shm) mod lock_table;
pub(in crate::shm) mod process_table;
pub(in crate::shm) mod sequence_lock;
pub(in crate::shm) mod table;
