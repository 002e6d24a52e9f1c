//! The rings between receivers and workers: records, slots, waking, repair after a death; and what processes send.

pub(in crate::shm) mod arena;
pub(in crate::shm) mod consumer;
pub(in crate::shm) mod event_count;
#[cfg(not(loom))]
pub(in crate::shm) mod inboxes;
pub(in crate::shm) mod outbox;
pub(in crate::shm) mod producer;
pub(in crate::shm) mod queue_figures;
pub(in crate::shm) mod queues;
pub(in crate::shm) mod record;
pub(in crate::shm) mod repair;
pub(in crate::shm) mod ring;
pub(in crate::shm) mod shard;
pub(in crate::shm) mod slot;
