//! Shared memory: the rings between receivers and workers, counters, the process table, published figures.
//!
//! ```text
//!  Queues ─┬─ Producer   push · wake                   a receiver's end
//!          ├─ Consumer   next · finish · park          a worker's end
//!          ├─ Repair     worker_died · wake_all · …    the master's, after a death
//!          └─ statistics                               anybody's
//!
//!  segment    one sealed mapping, planned before it is made
//!  ring       records from one producer to the workers of one group      word · arena · record
//!  slot       the message a worker holds
//!  event_count  sleeping and waking
//!
//!  Outboxes ── SharedOutbox                 what a process sends, until the kernel has taken it
//!
//!  DelayQueue ── DelaySender · Scheduler   delayed messages, on their way into the rings
//!
//!  Counters · ProcessTable            blocks and rows with one writer each, inherited by all
//!  ValueTable                         values that any process may write: a head that is swapped, cells from a pool
//!  fingerprint                        tells messages apart
//!  LockTable                          locks that name their owner, and are taken from a dead one
//!  StatisticsPublisher · …Viewer      figures under a name, for programs that look from outside
//! ```
//!
//! What is a `Part` of the server is made by the list in `state::parts`.
//!
//! **Invariants**
//! - No pointer, reference or function lives in shared memory.
//! - All of it exists before the first fork; nothing grows.
//! - Every process runs the same program and keeps the protocol, and may die at any instruction of it. All that such a
//!   death leaves is put in order in place: by the master ([`Repair`]) or by the successor of the dead process.
//! - What contradicts the protocol all the same, by a bug or by broken memory, is not repaired in place. Offsets and
//!   lengths are checked before use, so that it harms no process; a record that cannot be true is counted and skipped;
//!   and for the memory of the queues [`Repair::is_sound`] and that count tell the master, which starts a new
//!   generation of processes with new memory.
//! - No process waits for another, and what a dead one held is named by words that carry its index.
//!
//! A group has one **lane** of rings, or two (urgent messages first), or one for each of its shards: then the messages
//! of a shard are processed one after another, see [`shard`]. A lane is one ring per producer and one for what the
//! master adopted; a ring does not know which lane it is in.

mod delay;
mod figures;
mod fingerprint;
mod memory;
pub mod proof;
mod queue;
#[cfg(not(loom))]
mod tables;

pub use delay::queue::{DELAY_SLOTS_MAX, DELAYED_COUNT, DelayQueue, DelayQueueError, DelayRoom};
pub use delay::scheduler::{Scheduler, Sweep};
pub use delay::sender::DelaySender;
pub use figures::histogram::Histogram;
#[cfg(not(loom))]
pub use figures::statistics::{
    GroupFigures, ProcessFigures, Snapshot, StatisticsError, StatisticsPublisher, StatisticsViewer,
};
pub use fingerprint::{fingerprint, fnv1a};
pub(crate) use memory::part::{Lasting, Part};
pub use memory::part::{Lifetime, Owner, Tended};
pub(crate) use memory::segment::{Plan, Segment};
pub use queue::consumer::{Consumer, Delivery};
#[cfg(not(loom))]
pub use queue::inboxes::{InboxRoom, Inboxes};
pub use queue::outbox::{Adopted, BATCH_COUNT, Outboxes, Packet, Pending, PutError, SharedOutbox};
pub use queue::producer::{Placement, Producer};
pub use queue::queue_figures::{GroupStatistics, WorkerState, WorkerStatistics};
pub use queue::queues::{GroupPlan, Lanes, Overflow, QueuePlan, Queues, ShmError};
pub use queue::record::{RECORD_SIZE_MAX, Record};
pub use queue::repair::{Adoption, Blame, QuarantinedRecord, Repair, Repaired};
pub use queue::ring::PushError;
#[cfg(not(loom))]
pub use tables::counter::{CounterBlock, Counters};
#[cfg(not(loom))]
pub(crate) use tables::counter::{CounterPlace, CounterRoom};
#[cfg(not(loom))]
pub use tables::lock_table::{LockTable, Locking};
#[cfg(not(loom))]
pub use tables::process_table::{ProcessRow, ProcessTable};
#[cfg(not(loom))]
pub use tables::table::{
    SHARED_TEXT_SIZE_MAX, SharedInput, SharedReading, TableError, ValueRoom, ValueTable,
};
