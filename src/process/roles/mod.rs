//! What a child does, by its role: receiver, worker, timer, control process, quarantine writer.

pub mod child;
pub mod control;
pub mod delaying;
pub mod outbox;
pub mod quarantine;
pub mod quarantine_writer;
pub mod receiver;
pub mod role;
pub mod timer;
pub mod worker;
