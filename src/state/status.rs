//! What a generation of processes should know about those before it, and about the stop it lives in: a few numbers in
//! shared memory, written by the master, read by its children.
//!
//! ```text
//!  counters of earlier generations │ figures of their groups │ messages they still hold │ how many live │ serving? stopping?
//! ```
//!
//! A reload replaces every process and all shared memory, and yet a viewer sees one server: totals go on where they
//! were. Names tie them together, as indexes belong to one script.

use std::ffi::CStr;
use std::io;

use crate::shm::{
    CounterBlock, CounterPlace, CounterRoom, Counters, GroupStatistics, Part, Plan, Segment, Tended,
};

/// The numbers. Made with the rest of a generation's shared memory.
pub struct ServerStatus {
    cells: CounterBlock,
    counter_count: u32,
    group_count: u32,
}

/// Figures of a group that add up over generations.
pub const GROUP_FIGURES: [fn(&mut GroupStatistics) -> &mut u64; 16] = [
    |group| &mut group.delegated,
    |group| &mut group.delegated_size,
    |group| &mut group.full,
    |group| &mut group.refused,
    |group| &mut group.dropped_oldest,
    |group| &mut group.expired,
    |group| &mut group.too_large,
    |group| &mut group.processed,
    |group| &mut group.redelivered,
    |group| &mut group.quarantined,
    |group| &mut group.adopted,
    |group| &mut group.corrupt,
    |group| &mut group.worker_deaths,
    |group| &mut group.producer_deaths,
    |group| &mut group.deadline_killed,
    |group| &mut group.late_found,
];
/// Behind the figures of a group: what older generations still hold for it, how many of its workers do not hold, and
/// whether these wait for older generations.
const WAITING: u32 = GROUP_FIGURES.len() as u32;
const DEGRADED: u32 = WAITING + 1;
const IS_HELD: u32 = DEGRADED + 1;
const GROUP_CELLS: u32 = IS_HELD + 1;

/// Cells of their own, before all others.
const DRAINING_COUNT: u32 = 0;
const IS_STOPPING: u32 = 1;
const IS_SERVING: u32 = 2;
const OWN_CELLS: u32 = 3;

/// What a status has room for.
#[derive(Clone, Copy, Debug)]
pub struct StatusRoom {
    /// How many counters.
    pub counters: u32,
    /// How many groups.
    pub groups: u32,
}

/// Where a status is.
pub(crate) struct StatusPlace {
    room: StatusRoom,
    cells: CounterPlace,
}

impl Part for ServerStatus {
    const NAME: &'static CStr = c"sworker-status";
    type Request = StatusRoom;
    type Place = StatusPlace;
    type Error = io::Error;

    fn reserve(room: &StatusRoom, plan: &mut Plan) -> io::Result<StatusPlace> {
        let counters = OWN_CELLS + room.counters + room.groups * GROUP_CELLS;
        let cells = Counters::reserve(&CounterRoom { processes: 1, counters }, plan)?;
        Ok(StatusPlace { room: *room, cells })
    }

    fn claim(place: StatusPlace, segment: &Segment) -> ServerStatus {
        let cells = Counters::claim(place.cells, segment).block(0);
        ServerStatus { cells, counter_count: place.room.counters, group_count: place.room.groups }
    }
}

impl Tended for ServerStatus {}

impl ServerStatus {
    /// Room for so many counters and groups, all 0.
    pub fn create(counters: u32, groups: u32) -> io::Result<ServerStatus> {
        Self::make(&StatusRoom { counters, groups })
    }

    /// How many older generations live.
    pub fn draining_count(&self) -> u64 {
        self.cells.value(DRAINING_COUNT)
    }

    /// The master's word: so many older generations live.
    pub fn set_draining_count(&self, count: u64) {
        self.cells.set(DRAINING_COUNT, count);
    }

    /// Whether the server stops, and nothing new is to be begun.
    pub fn is_stopping(&self) -> bool {
        self.cells.value(IS_STOPPING) != 0
    }

    /// The master's word: nothing new is to be begun.
    pub fn set_stopping(&self) {
        self.cells.set(IS_STOPPING, 1);
    }

    /// Whether this generation is the one that serves, and not one that comes up beside another.
    pub fn is_serving(&self) -> bool {
        self.cells.value(IS_SERVING) != 0
    }

    /// The master's word: this generation serves from now on.
    pub fn set_serving(&self) {
        self.cells.set(IS_SERVING, 1);
    }

    /// What earlier generations counted.
    pub fn counter(&self, index: u32) -> u64 {
        if index < self.counter_count { self.cells.value(OWN_CELLS + index) } else { 0 }
    }

    /// The master's word: earlier generations counted this.
    pub fn set_counter(&self, index: u32, value: u64) {
        if index < self.counter_count {
            self.cells.set(OWN_CELLS + index, value);
        }
    }

    /// Messages that older generations still hold for a group.
    pub fn waiting(&self, group: u32) -> u64 {
        self.group_cell(group, WAITING).map_or(0, |cell| self.cells.value(cell))
    }

    /// Workers of a group that die as soon as they are started.
    pub fn degraded(&self, group: u32) -> u64 {
        self.group_cell(group, DEGRADED).map_or(0, |cell| self.cells.value(cell))
    }

    /// The master's word: so many workers of a group do not hold.
    pub fn set_degraded(&self, group: u32, count: u64) {
        if let Some(cell) = self.group_cell(group, DEGRADED) {
            self.cells.set(cell, count);
        }
    }

    /// Whether workers of a group wait until older generations have finished what they hold for it.
    pub fn is_held(&self, group: u32) -> bool {
        self.group_cell(group, IS_HELD).is_some_and(|cell| self.cells.value(cell) != 0)
    }

    /// The master's word: workers of a group wait, or begin.
    pub fn set_held(&self, group: u32, is_held: bool) {
        if let Some(cell) = self.group_cell(group, IS_HELD) {
            self.cells.set(cell, u64::from(is_held));
        }
    }

    /// Adds what earlier generations of a group counted.
    pub fn add_to(&self, group: u32, figures: &mut GroupStatistics) {
        for (cell, figure) in (0..).zip(GROUP_FIGURES) {
            *figure(figures) += self.group_cell(group, cell).map_or(0, |cell| self.cells.value(cell));
        }
    }

    /// Writes down what earlier generations of a group counted, and what they still hold.
    pub fn set_group(&self, group: u32, totals: &mut GroupStatistics, waiting: u64) {
        for (cell, figure) in (0..).zip(GROUP_FIGURES) {
            if let Some(cell) = self.group_cell(group, cell) {
                self.cells.set(cell, *figure(totals));
            }
        }
        if let Some(cell) = self.group_cell(group, WAITING) {
            self.cells.set(cell, waiting);
        }
    }

    fn group_cell(&self, group: u32, cell: u32) -> Option<u32> {
        (group < self.group_count).then(|| OWN_CELLS + self.counter_count + group * GROUP_CELLS + cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_and_groups_that_do_not_hold_are_told_once_and_seen_by_all() {
        let status = ServerStatus::create(3, 2).unwrap();
        assert!(!status.is_stopping());
        status.set_stopping();
        status.set_degraded(1, 4);
        status.set_degraded(2, 9);
        assert!(status.is_stopping());
        assert_eq!([0, 1, 2].map(|group| status.degraded(group)), [0, 4, 0]);
    }
}
