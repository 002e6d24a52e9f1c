//! One row per process of the server, written by the master, readable by all.
//!
//! What a role is, is not known here: it is a byte. A row is read as it was at one moment.

use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::sequence_lock;
use crate::shm::memory::part::{Part, Tended};
use crate::shm::memory::segment::{Place, Plan, Segment, Shareable, Shared};

/// What the table knows about a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessRow {
    /// The kernel's number; 0 when no process runs in this row.
    pub pid: i32,
    /// Which kind of process.
    pub role: u8,
    /// The group of a worker.
    pub group: Option<u32>,
    /// The number within its role (and group).
    pub index: u32,
    /// 1 for the first process of this row, one more for each successor.
    pub incarnation: u32,
    /// When the process was forked, in nanoseconds since 1970.
    pub started_at_ns: u64,
    /// How the predecessor ended, as the kernel's `wait` writes it; `None` when there was none.
    pub last_exit_status: Option<i32>,
    /// How often the process has been replaced after a death.
    pub restarts: u32,
}

#[derive(Default)]
#[repr(C, align(128))]
pub(crate) struct Row {
    version: AtomicU64,
    pid: AtomicU64,
    /// role:8 | incarnation:32
    role_incarnation: AtomicU64,
    /// group + 1 (0 is none):32 | index:32
    group_index: AtomicU64,
    started_at_ns: AtomicU64,
    /// -1 when there was no predecessor; a status is never negative.
    last_exit_status: AtomicI64,
    restarts: AtomicU64,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for Row {}

/// The table. Made by the master before the first fork.
#[derive(Clone)]
pub struct ProcessTable {
    rows: Shared<Row>,
}

impl Part for ProcessTable {
    const NAME: &'static CStr = c"sworker-processes";
    /// How many rows.
    type Request = u32;
    type Place = Place<Row>;
    type Error = io::Error;

    fn reserve(count: &u32, plan: &mut Plan) -> io::Result<Place<Row>> {
        Ok(plan.reserve(*count as usize))
    }

    fn claim(place: Place<Row>, segment: &Segment) -> ProcessTable {
        let table = ProcessTable { rows: segment.claim(place) };
        for row in 0..table.count() {
            table.write(row, &ProcessRow::default());
        }
        table
    }
}

impl Tended for ProcessTable {}

impl ProcessTable {
    /// A table of `count` rows in which no process runs.
    pub fn create(count: u32) -> io::Result<Self> {
        Self::make(&count)
    }

    /// How many rows there are.
    pub fn count(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Replaces a row. Only the master may call it.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn write(&self, index: u32, row: &ProcessRow) {
        let cells = &self.rows[index as usize];
        sequence_lock::write(&cells.version, || cells.store(row));
    }

    /// The row at one recent moment. `None` when there is no such row, or the master died while it wrote it.
    pub fn read(&self, index: u32) -> Option<ProcessRow> {
        let cells = self.rows.get(index as usize)?;
        sequence_lock::read(&cells.version, || cells.load())
    }

    /// All rows that can be read, with their indexes.
    pub fn iter(&self) -> impl Iterator<Item = (u32, ProcessRow)> + '_ {
        (0..self.count()).filter_map(|index| Some((index, self.read(index)?)))
    }
}

impl Row {
    fn store(&self, row: &ProcessRow) {
        let group = row.group.map_or(0, |group| u64::from(group) + 1);
        self.pid.store(row.pid as u64, Ordering::Relaxed);
        self.role_incarnation
            .store(u64::from(row.role) << 32 | u64::from(row.incarnation), Ordering::Relaxed);
        self.group_index.store(group << 32 | u64::from(row.index), Ordering::Relaxed);
        self.started_at_ns.store(row.started_at_ns, Ordering::Relaxed);
        self.last_exit_status.store(row.last_exit_status.map_or(-1, i64::from), Ordering::Relaxed);
        self.restarts.store(u64::from(row.restarts), Ordering::Relaxed);
    }

    fn load(&self) -> ProcessRow {
        let role_incarnation = self.role_incarnation.load(Ordering::Relaxed);
        let group_index = self.group_index.load(Ordering::Relaxed);
        ProcessRow {
            pid: self.pid.load(Ordering::Relaxed) as i32,
            role: (role_incarnation >> 32) as u8,
            group: (group_index >> 32).checked_sub(1).map(|group| group as u32),
            index: group_index as u32,
            incarnation: role_incarnation as u32,
            started_at_ns: self.started_at_ns.load(Ordering::Relaxed),
            last_exit_status: i32::try_from(self.last_exit_status.load(Ordering::Relaxed))
                .ok()
                .filter(|status| *status >= 0),
            restarts: self.restarts.load(Ordering::Relaxed) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back() {
        let table = ProcessTable::create(3).expect("memory");
        let rows = [
            ProcessRow::default(),
            ProcessRow {
                pid: i32::MAX,
                role: u8::MAX,
                group: Some(u32::MAX - 1),
                index: u32::MAX,
                incarnation: u32::MAX,
                started_at_ns: u64::MAX,
                last_exit_status: Some(i32::MAX),
                restarts: u32::MAX,
            },
            ProcessRow { pid: 1, group: Some(0), last_exit_status: Some(0), ..ProcessRow::default() },
        ];
        for (index, row) in (0..).zip(&rows) {
            assert_eq!(table.read(index), Some(ProcessRow::default()));
            table.write(index, row);
        }
        assert!(table.iter().map(|(_, row)| row).eq(rows));
        assert_eq!(table.read(3), None);
    }
}
