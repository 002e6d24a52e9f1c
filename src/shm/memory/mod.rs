//! Mappings that processes share: planned, made once, sealed; words and orderings of which the rest is built.

pub(in crate::shm) mod part;
pub(in crate::shm) mod segment;
pub(in crate::shm) mod sync;
pub(in crate::shm) mod word;
