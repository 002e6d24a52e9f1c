//! What the queues count, and how to read it: a reader slows down no process.

use super::queues::Queues;
use crate::shm::figures::histogram::{Histogram, HistogramFigures};
use crate::shm::memory::segment::Shareable;
use crate::shm::memory::sync::Figure;

/// Written by one worker.
#[derive(Default)]
#[repr(C, align(128))]
pub(crate) struct WorkerFigures {
    pub(crate) taken: Figure,
    pub(crate) finished: Figure,
    pub(crate) corrupt: Figure,
    pub(crate) parks: Figure,
    pub(crate) chain_wakes: Figure,
    pub(crate) late_found: Figure,
    pub(crate) expired: Figure,
    pub(crate) wait: HistogramFigures,
    pub(crate) script: HistogramFigures,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for WorkerFigures {}

/// Written by the master.
#[derive(Default)]
#[repr(C, align(128))]
pub(crate) struct GroupRepairFigures {
    pub(crate) worker_deaths: Figure,
    pub(crate) producer_deaths: Figure,
    pub(crate) claims_finished: Figure,
    pub(crate) redelivered: Figure,
    pub(crate) quarantined: Figure,
    pub(crate) adopted: Figure,
    pub(crate) corrupt: Figure,
    pub(crate) deadline_killed: Figure,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for GroupRepairFigures {}

/// A group at some recent moment. All but `depth` count since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatistics {
    /// Its name in the script.
    pub name: String,
    /// How many workers it has.
    pub workers: u32,
    /// Messages that can wait, over all producers.
    pub capacity: u64,
    /// Messages that wait now.
    pub depth: u64,
    /// The most that one producer has had waiting (sampled).
    pub depth_max: u64,
    /// Messages handed over.
    pub delegated: u64,
    /// Bytes handed over, with what is known about each message.
    pub delegated_size: u64,
    /// Messages refused because the queue was full.
    pub full: u64,
    /// Of these, messages answered with 503 by their receiver.
    pub refused: u64,
    /// Messages handed over and taken back to make room for newer ones.
    pub dropped_oldest: u64,
    /// Messages that had waited for too long when a worker took them.
    pub expired: u64,
    /// Messages refused because of their size.
    pub too_large: u64,
    /// Messages finished by workers.
    pub processed: u64,
    /// Deaths of workers after which their message was kept for the successor.
    pub redelivered: u64,
    /// Messages taken out because workers died over them.
    pub quarantined: u64,
    /// Messages of dead workers given to others.
    pub adopted: u64,
    /// Records that could not be what a producer wrote, skipped.
    pub corrupt: u64,
    /// Deaths of workers.
    pub worker_deaths: u64,
    /// Deaths of producers.
    pub producer_deaths: u64,
    /// Workers ended because they worked on one message for too long.
    pub deadline_killed: u64,
    /// Times a worker went to sleep.
    pub parks: u64,
    /// Messages found by time-out instead of by a wake: an alarm, always 0.
    pub late_found: u64,
    /// How long messages waited from receipt until a worker began with them.
    pub wait: Histogram,
    /// How long workers took for them.
    pub script: Histogram,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerState {
    /// It looks for work, or there is no process.
    #[default]
    Looking,
    /// It sleeps.
    Idle,
    /// It works on a message.
    Busy,
}

/// A worker at some recent moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStatistics {
    /// What it does.
    pub state: WorkerState,
    /// When it began with the message it works on, in monotonic nanoseconds; 0 when it has none.
    pub started_at_ns: u64,
    /// How many workers have died over the message it works on.
    pub attempts: u32,
    /// Messages taken from rings.
    pub taken: u64,
    /// Messages finished.
    pub finished: u64,
    /// Broken records skipped.
    pub corrupt: u64,
    /// Times it went to sleep.
    pub parks: u64,
    /// Times it woke another one.
    pub chain_wakes: u64,
    /// Messages found by time-out instead of by a wake.
    pub late_found: u64,
    /// How long messages waited from receipt until this worker began with them.
    pub wait: Histogram,
    /// How long it took for them.
    pub script: Histogram,
}

impl Queues {
    /// How many groups there are.
    pub fn group_count(&self) -> u32 {
        self.groups().len() as u32
    }

    /// The figures of one group.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn group_statistics(&self, group: u32) -> GroupStatistics {
        let queue = &self.groups()[group as usize];
        let repairs = &queue.repair_figures[0];
        let mut sum = GroupStatistics {
            name: queue.name.clone(),
            workers: queue.slots.len() as u32,
            redelivered: repairs.redelivered.read(),
            quarantined: repairs.quarantined.read(),
            adopted: repairs.adopted.read(),
            corrupt: self.corrupt_count(group),
            worker_deaths: repairs.worker_deaths.read(),
            producer_deaths: repairs.producer_deaths.read(),
            deadline_killed: repairs.deadline_killed.read(),
            ..GroupStatistics::default()
        };
        add_rings(&mut sum, queue);
        for worker in queue.worker_figures.iter() {
            sum.processed += worker.finished.read();
            sum.parks += worker.parks.read();
            sum.late_found += worker.late_found.read();
            sum.expired += worker.expired.read();
            sum.wait.add(&worker.wait.read());
            sum.script.add(&worker.script.read());
        }
        sum
    }

    /// How many records of a group were none.
    ///
    /// # Panics
    /// When the plan has no such group.
    pub fn corrupt_count(&self, group: u32) -> u64 {
        let queue = &self.groups()[group as usize];
        let by_workers: u64 = queue.worker_figures.iter().map(|worker| worker.corrupt.read()).sum();
        queue.repair_figures[0].corrupt.read() + by_workers
    }

    /// The figures of one worker.
    ///
    /// # Panics
    /// When the plan has no such group or worker.
    pub fn worker_statistics(&self, group: u32, worker: u32) -> WorkerStatistics {
        let queue = &self.groups()[group as usize];
        let (slot, figures) = (&queue.slots[worker as usize], &queue.worker_figures[worker as usize]);
        let is_busy = !slot.word().is_empty();
        WorkerStatistics {
            state: match is_busy {
                true => WorkerState::Busy,
                false if queue.events.is_idle(worker) => WorkerState::Idle,
                false => WorkerState::Looking,
            },
            started_at_ns: if is_busy { slot.started_at() } else { 0 },
            attempts: if is_busy { u32::from(slot.history().attempts) } else { 0 },
            taken: figures.taken.read(),
            finished: figures.finished.read(),
            corrupt: figures.corrupt.read(),
            parks: figures.parks.read(),
            chain_wakes: figures.chain_wakes.read(),
            late_found: figures.late_found.read(),
            wait: figures.wait.read(),
            script: figures.script.read(),
        }
    }
}

fn add_rings(sum: &mut GroupStatistics, queue: &super::queues::GroupQueue) {
    for (index, ring) in queue.rings.iter().enumerate() {
        let figures = ring.figures();
        // What the master adopted was handed over once before.
        if !queue.is_for_adopted(index) {
            sum.capacity += ring.capacity();
            sum.delegated += figures.pushed;
            sum.delegated_size += figures.size_sum;
        }
        sum.depth += figures.depth;
        sum.depth_max = sum.depth_max.max(figures.depth_max);
        sum.full += figures.full;
        sum.refused += figures.refused;
        sum.dropped_oldest += figures.dropped_oldest;
        sum.too_large += figures.too_large;
    }
}
