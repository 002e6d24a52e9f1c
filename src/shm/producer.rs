//! The end of a process that hands messages over.

use std::marker::PhantomData;
use std::sync::Arc;

use super::event_count::EventCount;
use super::queues::GroupQueue;
use super::record::{History, Record};
use super::ring::{PushError, RingWriter};

/// Hands messages to every group, each through a ring of its own.
///
/// Belongs to one process; does not cross to another thread.
pub struct Producer {
    lanes: Vec<Lane>,
    not_send: PhantomData<*const ()>,
}

struct Lane {
    writer: RingWriter,
    events: EventCount,
}

impl Producer {
    pub(crate) fn attach(groups: &[Arc<GroupQueue>], ring_index: u32) -> Self {
        let lane = |group: &Arc<GroupQueue>| Lane {
            writer: RingWriter::attach(group.rings[ring_index as usize].clone()),
            events: group.events.clone(),
        };
        Self { lanes: groups.iter().map(lane).collect(), not_send: PhantomData }
    }

    /// Gives a copy of `record` to the group, or takes nothing. Never waits and makes no system call. Workers that
    /// are awake see it at once; call [`wake`](Self::wake) after the last one of a batch.
    ///
    /// # Panics
    /// When the plan has no such group.
    #[inline]
    pub fn push(&mut self, group: u32, record: &Record<'_>) -> Result<(), PushError> {
        self.push_with_history(group, record, History::default())
    }

    pub(crate) fn push_with_history(
        &mut self,
        group: u32,
        record: &Record<'_>,
        history: History,
    ) -> Result<(), PushError> {
        self.lanes[group as usize].writer.push(record, history)
    }

    /// Makes sure that a worker of the group looks at what was pushed. Costs a few nanoseconds while all are awake.
    ///
    /// # Panics
    /// When the plan has no such group.
    #[inline]
    pub fn wake(&mut self, group: u32) {
        self.lanes[group as usize].events.wake();
    }

    /// Records of this producer, and bytes they occupy, that the group has not finished copying out.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn occupied(&mut self, group: u32) -> (u64, u64) {
        self.lanes[group as usize].writer.occupied()
    }
}
