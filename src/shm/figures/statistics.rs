//! The published figures: a named piece of shared memory that viewers attach to without asking the server.
//!
//! ```text
//!  /dev/shm/sworker.<instance>
//!  ┌ header ─────────────┬ groups: fixed rows ──────┬ processes: fixed rows ─────┐
//!  │ magic version owner │ name capacity depth …    │ title pid role …           │   all 64-bit cells
//!  └─────────────────────┴──────────────────────────┴────────────────────────────┘
//!  server: a few times a second, under a version word      viewer: reads a whole snapshot, never writes
//! ```
//!
//! Only figures live here, never anything the server relies on.
//!
//! - **Ownership.** The `shared_memory` crate unlinks a name when an owner's handle is dropped, and a fork copies the
//!   owner flag. So no handle is an owner here; the master calls [`StatisticsPublisher::unlink`] on its way out.
//! - **Stale names.** A killed server leaves its name behind. The header says whose it was, by number and start time,
//!   and a new server takes the name of a dead one.
//! - **Successors.** The successor of a living publisher prepares its memory under another name and takes the real one
//!   by a rename, when it serves: there is never a moment without figures, and a successor that fails on the way has
//!   changed nothing.
//! - **`SIGBUS`.** The memory is allocated at creation, so a full `/dev/shm` is an error there. A process that may
//!   write the file may also shorten it; the publisher looks at its size before each update and goes silent, which
//!   leaves a window of microseconds in which the control process could be hit, and nothing else of the server.

use std::cell::Cell;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::posix_fallocate;
use nix::sys::mman::shm_unlink;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::histogram::{CLASS_COUNT, Histogram};
use crate::shm::queue::queue_figures::GroupStatistics;
use crate::shm::tables::sequence_lock;
use crate::sys::clock::realtime_ns;
use crate::sys::process::{ProcessId, start_ticks};

/// What is published about a group.
pub type GroupFigures = GroupStatistics;

/// What is published about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// What `ps` shows for it; at most 63 bytes are kept.
    pub title: String,
    /// The kernel's number; 0 when no process runs here now.
    pub pid: i32,
    /// Which kind of process.
    pub role: u8,
    /// The group of a worker.
    pub group: Option<u32>,
    /// The number within its role (and group).
    pub index: u32,
    /// How often the process has been replaced after a death.
    pub restarts: u32,
    /// When the process was forked, in nanoseconds since 1970.
    pub started_at_ns: u64,
    /// Messages it took: received by a receiver, taken from the queue by a worker.
    pub taken: u64,
    /// Messages it finished.
    pub finished: u64,
    /// How long it has been working on the message in its hands, in nanoseconds; 0 when it has none.
    pub busy_ns: u64,
}

/// What a viewer sees: all figures of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of the server's master process.
    pub server_pid: i32,
    /// One more for each reload of the configuration.
    pub generation: u64,
    /// How often figures have been published.
    pub updates: u64,
    /// When these were published, in nanoseconds since 1970.
    pub published_at_ns: u64,
    /// Whether the server that published them is still there.
    pub is_alive: bool,
    /// The groups, by index.
    pub groups: Vec<GroupFigures>,
    /// The processes, by row of the process table.
    pub processes: Vec<ProcessFigures>,
}

/// Why figures could not be published or read.
#[derive(Debug)]
pub enum StatisticsError {
    /// Not a name for an instance.
    InvalidName(String),
    /// Another server publishes under this name.
    InUse {
        /// The name of the instance.
        instance: String,
        /// The other server.
        pid: i32,
    },
    /// No server has published under this name.
    NotFound(String),
    /// What is there was not published by a server of this version.
    UnknownLayout(String),
    /// The server died while it published, or publishes without a pause.
    Unfinished(String),
    /// The memory of a running server was removed or shortened.
    Lost(String),
    /// The system refused.
    System(String),
}

impl fmt::Display for StatisticsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName(instance) => {
                write!(
                    formatter,
                    "cannot publish statistics as {instance:?}: 1 to {INSTANCE_SIZE_MAX} letters, digits, \
                     '-', '_' or '.' are needed"
                )
            }
            Self::InUse { instance, pid } => {
                write!(formatter, "cannot publish statistics as {instance:?}: process {pid} already does")
            }
            Self::NotFound(instance) => {
                write!(formatter, "could not find statistics of {instance:?}: no server runs under this name")
            }
            Self::UnknownLayout(instance) => {
                write!(formatter, "cannot read statistics of {instance:?}: they come from another version")
            }
            Self::Unfinished(instance) => write!(
                formatter,
                "could not read statistics of {instance:?}: the server stopped while publishing"
            ),
            Self::Lost(instance) => write!(
                formatter,
                "could not publish statistics as {instance:?}: /dev/shm entry was removed or shortened"
            ),
            Self::System(reason) => write!(formatter, "could not open statistics: {reason}"),
        }
    }
}

impl std::error::Error for StatisticsError {}

/// The server's side. Made by the master; the control process, its child, publishes.
pub struct StatisticsPublisher {
    memory: Memory,
    instance: String,
    groups_max: usize,
    processes_max: usize,
    /// Whether viewers find it, as far as this process knows.
    has_name: Cell<bool>,
}

impl StatisticsPublisher {
    /// Makes the memory `/sworker.<instance>` with room for these numbers of rows, in the name of the calling process.
    /// The name must be free, or its server dead.
    pub fn create(
        instance: &str,
        generation: u64,
        groups_max: u32,
        processes_max: u32,
    ) -> Result<Self, StatisticsError> {
        check_is_free(instance, &name_of(instance)?)?;
        let publisher = Self::prepare(instance, generation, groups_max, processes_max)?;
        publisher.take_name().inspect_err(|_| publisher.unlink())?;
        Ok(publisher)
    }

    /// The same under a name that no viewer looks at, for the successor of the publisher.
    pub fn prepare(
        instance: &str,
        generation: u64,
        groups_max: u32,
        processes_max: u32,
    ) -> Result<Self, StatisticsError> {
        let (groups_max, processes_max) = (groups_max as usize, processes_max as usize);
        let published_name = name_of(instance)?;
        let prepared_name = prepared_name_of(instance);
        // Only one process prepares at a time; one that died before taking the name left this.
        let _ = shm_unlink(prepared_name.as_str());
        let memory = Memory::create(&prepared_name, published_name, memory_size(groups_max, processes_max))?;
        let instance = instance.to_owned();
        let publisher = Self { memory, instance, groups_max, processes_max, has_name: Cell::new(false) };
        publisher.write_header(generation);
        Ok(publisher)
    }

    /// Bytes of the memory for so many rows.
    pub fn size_of(groups_max: u32, processes_max: u32) -> u64 {
        memory_size(groups_max as usize, processes_max as usize) as u64
    }

    /// What was prepared takes the name in one step, also when another one has it: viewers see this from now on.
    pub fn take_name(&self) -> Result<(), StatisticsError> {
        if self.has_name.get() {
            return Ok(());
        }
        let from = path_of(&prepared_name_of(&self.instance));
        std::fs::rename(from, path_of(&self.memory.name))
            .map_err(|error| StatisticsError::System(error.to_string()))?;
        self.has_name.set(true);
        Ok(())
    }

    fn write_header(&self, generation: u64) {
        let own = ProcessId::own();
        let cells = self.memory.cells();
        let rows = [
            (VERSION, LAYOUT_VERSION),
            (GROUPS_MAX, self.groups_max as u64),
            (PROCESSES_MAX, self.processes_max as u64),
            (SERVER_PID, own.number() as u64),
            (SERVER_START, start_ticks(own).unwrap_or(0)),
            (GENERATION, generation),
        ];
        for (cell, value) in rows {
            cells[cell].store(value, Ordering::Relaxed);
        }
        // Release: a viewer that sees the magic number sees the rest of the header.
        cells[MAGIC].store(MAGIC_NUMBER, Ordering::Release);
    }

    /// Replaces what viewers see. Rows beyond the room that was made are left out.
    pub fn publish(
        &self,
        groups: &[GroupFigures],
        processes: &[ProcessFigures],
    ) -> Result<(), StatisticsError> {
        if self.memory.is_cut() || self.memory.is_removed() {
            return Err(StatisticsError::Lost(self.instance.clone()));
        }
        let groups = &groups[..groups.len().min(self.groups_max)];
        let processes = &processes[..processes.len().min(self.processes_max)];
        let cells = self.memory.cells();
        sequence_lock::write(&cells[SEQUENCE], || {
            cells[PUBLISHED_AT].store(realtime_ns(), Ordering::Relaxed);
            cells[UPDATES].store(cells[UPDATES].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            cells[GROUP_COUNT].store(groups.len() as u64, Ordering::Relaxed);
            cells[PROCESS_COUNT].store(processes.len() as u64, Ordering::Relaxed);
            let (group_cells, process_cells) = cells[HEADER_CELLS..].split_at(self.groups_max * GROUP_CELLS);
            for (group, row) in groups.iter().zip(group_cells.chunks_exact(GROUP_CELLS)) {
                store(row, &group_to_cells(group));
            }
            for (process, row) in processes.iter().zip(process_cells.chunks_exact(PROCESS_CELLS)) {
                store(row, &process_to_cells(process));
            }
        });
        Ok(())
    }

    /// Whether this process has given it the name.
    pub fn has_name(&self) -> bool {
        self.has_name.get()
    }

    /// Whether viewers that come now see another memory than this one, which once had the name.
    pub fn is_replaced(&self) -> bool {
        let id = |found: io::Result<Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
        self.has_name.get()
            && id(self.memory.file.metadata()) != id(std::fs::metadata(path_of(&self.memory.name)))
    }

    /// Removes what a process prepared that died before it took the name. Not for a process that is preparing.
    pub fn sweep_prepared(&self) {
        let _ = shm_unlink(prepared_name_of(&self.instance).as_str());
    }

    /// Removes the name that it has; viewers that are attached keep what they see. For the master, on its way out.
    pub fn unlink(&self) {
        let prepared_name = prepared_name_of(&self.instance);
        let name = if self.has_name.get() { &self.memory.name } else { &prepared_name };
        let _ = shm_unlink(name.as_str());
    }
}

fn memory_size(groups_max: usize, processes_max: usize) -> usize {
    let cell_count = HEADER_CELLS + groups_max * GROUP_CELLS + processes_max * PROCESS_CELLS;
    cell_count * size_of::<u64>()
}

/// The reader's side.
pub struct StatisticsViewer {
    memory: Memory,
    instance: String,
}

impl StatisticsViewer {
    /// The figures of the running (or last) server of this instance, as they are now.
    pub fn attach(instance: &str) -> Result<Snapshot, StatisticsError> {
        Self::open(instance)?.snapshot()
    }

    /// Attaches, for a viewer that looks again and again.
    pub fn open(instance: &str) -> Result<Self, StatisticsError> {
        let name = name_of(instance)?;
        let memory = Memory::open(&name)?.ok_or_else(|| StatisticsError::NotFound(instance.to_owned()))?;
        let viewer = Self { memory, instance: instance.to_owned() };
        viewer.check_layout().ok_or_else(|| StatisticsError::UnknownLayout(instance.to_owned()))?;
        Ok(viewer)
    }

    fn check_layout(&self) -> Option<()> {
        let cells = self.memory.cells();
        let is_ours = cells.get(MAGIC)?.load(Ordering::Acquire) == MAGIC_NUMBER
            && cells.get(VERSION)?.load(Ordering::Relaxed) == LAYOUT_VERSION;
        let rows = (is_ours && cells.len() >= HEADER_CELLS).then(|| self.rows_max())?;
        let group_cells = rows.0.checked_mul(GROUP_CELLS)?;
        let needed =
            rows.1.checked_mul(PROCESS_CELLS)?.checked_add(group_cells)?.checked_add(HEADER_CELLS)?;
        (needed <= cells.len()).then_some(())
    }

    fn rows_max(&self) -> (usize, usize) {
        let cells = self.memory.cells();
        let row_count = |cell: usize| cells[cell].load(Ordering::Relaxed) as usize;
        (row_count(GROUPS_MAX), row_count(PROCESSES_MAX))
    }

    /// All figures of one moment.
    pub fn snapshot(&self) -> Result<Snapshot, StatisticsError> {
        // Asked again each time: what is in shared memory may have changed since `open`.
        if self.memory.is_cut() || self.check_layout().is_none() {
            return Err(StatisticsError::UnknownLayout(self.instance.clone()));
        }
        let cells = self.memory.cells();
        let copy = sequence_lock::read(&cells[SEQUENCE], || {
            cells.iter().map(|cell| cell.load(Ordering::Relaxed)).collect::<Vec<_>>()
        });
        let copy = copy.ok_or_else(|| StatisticsError::Unfinished(self.instance.clone()))?;
        Ok(snapshot_of(&copy, self.rows_max().0))
    }
}

fn snapshot_of(cells: &[u64], groups_max: usize) -> Snapshot {
    let (header, rows) = cells.split_at(HEADER_CELLS);
    let (group_cells, process_cells) = rows.split_at((groups_max * GROUP_CELLS).min(rows.len()));
    let group_rows = group_cells.chunks_exact(GROUP_CELLS).take(header[GROUP_COUNT] as usize);
    let process_rows = process_cells.chunks_exact(PROCESS_CELLS).take(header[PROCESS_COUNT] as usize);
    Snapshot {
        server_pid: header[SERVER_PID] as i32,
        generation: header[GENERATION],
        updates: header[UPDATES],
        published_at_ns: header[PUBLISHED_AT],
        is_alive: is_alive(header[SERVER_PID], header[SERVER_START]),
        groups: group_rows.map(group_from_cells).collect(),
        processes: process_rows.map(process_from_cells).collect(),
    }
}

fn is_alive(pid: u64, start: u64) -> bool {
    let process = i32::try_from(pid).ok().and_then(ProcessId::from_number);
    process.and_then(start_ticks) == Some(start)
}

/// A name is free when its server is dead, or when its creator died before it wrote its number.
fn check_is_free(instance: &str, name: &str) -> Result<(), StatisticsError> {
    let Ok(Some(memory)) = Memory::open(name) else { return Ok(()) };
    let viewer = StatisticsViewer { memory, instance: instance.to_owned() };
    if viewer.check_layout().is_none() {
        return Ok(());
    }
    let [pid, start] =
        [SERVER_PID, SERVER_START].map(|cell| viewer.memory.cells()[cell].load(Ordering::Relaxed));
    match is_alive(pid, start) {
        true => Err(StatisticsError::InUse { instance: instance.to_owned(), pid: pid as i32 }),
        false => Ok(()),
    }
}

fn name_of(instance: &str) -> Result<String, StatisticsError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if instance.is_empty() || instance.len() > INSTANCE_SIZE_MAX || !instance.bytes().all(is_allowed) {
        return Err(StatisticsError::InvalidName(instance.to_owned()));
    }
    Ok(format!("/sworker.{instance}"))
}

/// What has not taken its name yet; the first letters differ from those of every name.
fn prepared_name_of(instance: &str) -> String {
    format!("/sworker-prepared.{instance}")
}

/// Made in one piece: it is asked for five times a second, and text that grows lets the heap creep.
fn path_of(name: &str) -> String {
    ["/dev/shm", name].concat()
}

/// Named memory, mapped and looked at as cells.
struct Memory {
    shmem: Shmem,
    /// The same memory: its name may belong to another server by now.
    file: File,
    /// The name by which viewers find it, now or later.
    name: String,
}

impl Memory {
    /// Made as `first_name`, to be called `name`.
    fn create(first_name: &str, name: String, size: usize) -> Result<Self, StatisticsError> {
        let mut shmem = ShmemConf::new().os_id(first_name).size(size).create().map_err(system)?;
        shmem.set_owner(false);
        let file = allocate(first_name, shmem.len()).map_err(|error| {
            let _ = shm_unlink(first_name);
            StatisticsError::System(error.to_string())
        })?;
        Ok(Self { shmem, file, name })
    }

    fn open(name: &str) -> Result<Option<Self>, StatisticsError> {
        match ShmemConf::new().os_id(name).open() {
            Ok(shmem) => {
                let file = File::open(path_of(name)).map_err(|e| StatisticsError::System(e.to_string()))?;
                Ok(Some(Self { shmem, file, name: name.to_owned() }))
            }
            Err(ShmemError::MapOpenFailed(errno)) if errno == libc::ENOENT as u32 => Ok(None),
            Err(error) => Err(system(error)),
        }
    }

    /// Whether looking into it could end this process.
    fn is_cut(&self) -> bool {
        let size = self.file.metadata().map_or(0, |metadata| metadata.len());
        size < self.shmem.len() as u64
    }

    /// Whether no process publishes under the name any more.
    fn is_removed(&self) -> bool {
        !Path::new(&path_of(&self.name)).exists()
    }

    fn cells(&self) -> &[AtomicU64] {
        let count = self.shmem.len() / size_of::<u64>();
        // SAFETY: the mapping is page-aligned, at least this long, lives as long as `self`, and is only ever accessed
        // as atomic 64-bit cells, by us and by every other process of this program.
        unsafe { std::slice::from_raw_parts(self.shmem.as_ptr().cast::<AtomicU64>(), count) }
    }
}

/// Gives the memory room now, as a full machine would kill a process that writes there later.
fn allocate(name: &str, size: usize) -> io::Result<File> {
    let file = OpenOptions::new().write(true).open(path_of(name))?;
    posix_fallocate(&file, 0, size as libc::off_t)?;
    Ok(file)
}

fn system(error: ShmemError) -> StatisticsError {
    let errno = match error {
        ShmemError::MapCreateFailed(errno)
        | ShmemError::MapOpenFailed(errno)
        | ShmemError::UnknownOsError(errno) => errno,
        other => return StatisticsError::System(other.to_string()),
    };
    StatisticsError::System(io::Error::from_raw_os_error(errno as i32).to_string())
}

fn store(row: &[AtomicU64], values: &[u64]) {
    for (cell, value) in row.iter().zip(values) {
        cell.store(*value, Ordering::Relaxed);
    }
}

fn group_to_cells(group: &GroupFigures) -> [u64; GROUP_CELLS] {
    let mut cells = [0; GROUP_CELLS];
    text_to_cells(&group.name, &mut cells[..TEXT_CELLS]);
    cells[WAIT..SCRIPT].copy_from_slice(&group.wait.0);
    cells[SCRIPT..].copy_from_slice(&group.script.0);
    cells[TEXT_CELLS..WAIT].copy_from_slice(&[
        u64::from(group.workers),
        group.capacity,
        group.depth,
        group.depth_max,
        group.delegated,
        group.delegated_size,
        group.full,
        group.too_large,
        group.processed,
        group.redelivered,
        group.quarantined,
        group.adopted,
        group.corrupt,
        group.worker_deaths,
        group.producer_deaths,
        group.parks,
        group.late_found,
        group.refused,
        group.deadline_killed,
        group.dropped_oldest,
        group.expired,
    ]);
    cells
}

fn group_from_cells(cells: &[u64]) -> GroupFigures {
    let (name, figures) = cells.split_at(TEXT_CELLS);
    GroupFigures {
        name: text_from_cells(name),
        workers: figures[0] as u32,
        capacity: figures[1],
        depth: figures[2],
        depth_max: figures[3],
        delegated: figures[4],
        delegated_size: figures[5],
        full: figures[6],
        too_large: figures[7],
        processed: figures[8],
        redelivered: figures[9],
        quarantined: figures[10],
        adopted: figures[11],
        corrupt: figures[12],
        worker_deaths: figures[13],
        producer_deaths: figures[14],
        parks: figures[15],
        late_found: figures[16],
        refused: figures[17],
        deadline_killed: figures[18],
        dropped_oldest: figures[19],
        expired: figures[20],
        wait: histogram_from_cells(&cells[WAIT..SCRIPT]),
        script: histogram_from_cells(&cells[SCRIPT..]),
    }
}

fn histogram_from_cells(cells: &[u64]) -> Histogram {
    Histogram(std::array::from_fn(|class| cells[class]))
}

fn process_to_cells(process: &ProcessFigures) -> [u64; PROCESS_CELLS] {
    let mut cells = [0; PROCESS_CELLS];
    text_to_cells(&process.title, &mut cells[..TEXT_CELLS]);
    cells[TEXT_CELLS..].copy_from_slice(&[
        process.pid as u64,
        u64::from(process.role),
        process.group.map_or(0, |group| u64::from(group) + 1),
        u64::from(process.index),
        u64::from(process.restarts),
        process.started_at_ns,
        process.taken,
        process.finished,
        process.busy_ns,
    ]);
    cells
}

fn process_from_cells(cells: &[u64]) -> ProcessFigures {
    let (title, figures) = cells.split_at(TEXT_CELLS);
    ProcessFigures {
        title: text_from_cells(title),
        pid: figures[0] as i32,
        role: figures[1] as u8,
        group: figures[2].checked_sub(1).map(|group| group as u32),
        index: figures[3] as u32,
        restarts: figures[4] as u32,
        started_at_ns: figures[5],
        taken: figures[6],
        finished: figures[7],
        busy_ns: figures[8],
    }
}

/// Cut at a character's end when it is too long; the last byte stays 0.
fn text_to_cells(text: &str, cells: &mut [u64]) {
    let room = std::mem::size_of_val(cells) - 1;
    let bytes = &text.as_bytes()[..text.floor_char_boundary(room)];
    for (cell, chunk) in cells.iter_mut().zip(bytes.chunks(size_of::<u64>())) {
        let mut word = [0; size_of::<u64>()];
        word[..chunk.len()].copy_from_slice(chunk);
        *cell = u64::from_ne_bytes(word);
    }
}

fn text_from_cells(cells: &[u64]) -> String {
    let bytes = cells.iter().flat_map(|cell| cell.to_ne_bytes()).take_while(|byte| *byte != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

// The cells of the header.
const MAGIC: usize = 0;
const VERSION: usize = 1;
const GROUPS_MAX: usize = 2;
const PROCESSES_MAX: usize = 3;
const SERVER_PID: usize = 4;
const SERVER_START: usize = 5;
const GENERATION: usize = 6;
const SEQUENCE: usize = 7;
const PUBLISHED_AT: usize = 8;
const UPDATES: usize = 9;
const GROUP_COUNT: usize = 10;
const PROCESS_COUNT: usize = 11;
const HEADER_CELLS: usize = 16;

const TEXT_CELLS: usize = 8;
const WAIT: usize = TEXT_CELLS + 21;
const SCRIPT: usize = WAIT + CLASS_COUNT;
const GROUP_CELLS: usize = SCRIPT + CLASS_COUNT;
const PROCESS_CELLS: usize = TEXT_CELLS + 9;

const MAGIC_NUMBER: u64 = u64::from_be_bytes(*b"SWRKSTAT");
/// One more with every change of the rows.
const LAYOUT_VERSION: u64 = 2;
const INSTANCE_SIZE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A name of its own for each test of each run, removed at the end.
    struct Instance(String);

    impl Instance {
        fn new(test: &str) -> Self {
            Self(format!("test-{}-{test}", ProcessId::own()))
        }

        fn create(&self) -> Result<StatisticsPublisher, StatisticsError> {
            StatisticsPublisher::create(&self.0, 3, 2, 2)
        }
    }

    impl Drop for Instance {
        fn drop(&mut self) {
            let _ = shm_unlink(format!("/sworker.{}", self.0).as_str());
        }
    }

    fn group(name: &str) -> GroupFigures {
        GroupFigures {
            name: name.into(),
            workers: 1,
            capacity: 2,
            depth: 3,
            depth_max: 4,
            delegated: 5,
            delegated_size: 6,
            full: 7,
            too_large: 8,
            processed: 9,
            redelivered: 10,
            quarantined: 11,
            adopted: 12,
            corrupt: 13,
            worker_deaths: 14,
            producer_deaths: 15,
            parks: 16,
            late_found: u64::MAX,
            refused: 17,
            deadline_killed: 18,
            dropped_oldest: 19,
            expired: 20,
            wait: Histogram(std::array::from_fn(|class| 100 + class as u64)),
            script: Histogram(std::array::from_fn(|class| 200 + class as u64)),
        }
    }

    fn process(title: &str, group: Option<u32>) -> ProcessFigures {
        ProcessFigures {
            title: title.into(),
            pid: 77,
            role: 2,
            group,
            index: 3,
            restarts: 4,
            started_at_ns: 5,
            taken: 6,
            finished: 7,
            busy_ns: 8,
        }
    }

    #[test]
    fn viewer_sees_what_was_published() {
        let instance = Instance::new("published");
        let publisher = instance.create().expect("created");
        let groups = [group("calls"), group("")];
        let processes = [process("sworkerd: worker calls/1", Some(0)), process("", None)];
        publisher.publish(&[], &[]).expect("published");
        publisher.publish(&groups, &processes).expect("published");

        let snapshot = StatisticsViewer::attach(&instance.0).expect("attached");

        assert_eq!(snapshot.groups, groups);
        assert_eq!(snapshot.processes, processes);
        assert_eq!((snapshot.generation, snapshot.updates, snapshot.is_alive), (3, 2, true));
        assert_eq!(snapshot.server_pid, ProcessId::own().number());
        assert!(snapshot.published_at_ns > 0);
    }

    #[test]
    fn a_name_that_another_one_took_is_noticed_and_what_nobody_took_is_swept() {
        let instance = Instance::new("replaced");
        let first = instance.create().expect("created");
        let second = StatisticsPublisher::prepare(&instance.0, 4, 1, 1).expect("prepared");
        assert_eq!((first.is_replaced(), second.is_replaced()), (false, false));
        first.sweep_prepared();
        assert!(second.take_name().is_err(), "it is swept");
        assert!(!first.is_replaced());
        let third = StatisticsPublisher::prepare(&instance.0, 5, 1, 1).expect("prepared");
        third.take_name().expect("taken");
        assert_eq!((first.is_replaced(), third.is_replaced()), (true, false));
    }

    #[test]
    fn rows_beyond_the_room_are_left_out() {
        let instance = Instance::new("room");
        let publisher = instance.create().expect("created");
        publisher.publish(&[group("a"), group("b"), group("c")], &[]).expect("published");
        let snapshot = StatisticsViewer::attach(&instance.0).expect("attached");
        assert_eq!(snapshot.groups.iter().map(|group| &group.name[..]).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn name_of_a_living_server_is_not_taken_and_that_of_a_dead_one_is() {
        let instance = Instance::new("stale");
        let publisher = instance.create().expect("created");
        let error = instance.create().err().expect("in use").to_string();
        assert!(error.ends_with(&format!("process {} already does", ProcessId::own())), "{error}");
        // The same number, but another process.
        publisher.memory.cells()[SERVER_START].fetch_add(1, Ordering::Relaxed);
        assert!(!StatisticsViewer::attach(&instance.0).expect("attached").is_alive);
        instance.create().expect("taken over");
    }

    #[test]
    fn strange_memory_is_refused() {
        let instance = Instance::new("strange");
        let publisher = instance.create().expect("created");
        let check = |cell: usize, value: u64| {
            let before = publisher.memory.cells()[cell].swap(value, Ordering::Relaxed);
            let error = StatisticsViewer::attach(&instance.0).err();
            assert!(matches!(error, Some(StatisticsError::UnknownLayout(_))), "cell {cell}: {error:?}");
            publisher.memory.cells()[cell].store(before, Ordering::Relaxed);
        };
        check(MAGIC, 0);
        check(VERSION, 99);
        check(GROUPS_MAX, u64::MAX);
        check(PROCESSES_MAX, 3);
        publisher.memory.cells()[GROUP_COUNT].store(u64::MAX, Ordering::Relaxed);
        assert_eq!(StatisticsViewer::attach(&instance.0).expect("attached").groups.len(), 2);
        publisher.memory.cells()[SEQUENCE].store(1, Ordering::Relaxed);
        assert!(matches!(StatisticsViewer::attach(&instance.0), Err(StatisticsError::Unfinished(_))));
    }

    #[test]
    fn shortened_or_removed_memory_is_noticed() {
        let instance = Instance::new("short");
        let publisher = instance.create().expect("created");
        let viewer = StatisticsViewer::open(&instance.0).expect("attached");
        OpenOptions::new()
            .write(true)
            .open(path_of(&publisher.memory.name))
            .and_then(|file| file.set_len(8))
            .expect("cut");
        assert!(matches!(publisher.publish(&[], &[]), Err(StatisticsError::Lost(_))));
        assert!(matches!(viewer.snapshot(), Err(StatisticsError::UnknownLayout(_))));
        assert!(matches!(StatisticsViewer::attach(&instance.0), Err(StatisticsError::UnknownLayout(_))));
        publisher.unlink();
        assert!(matches!(publisher.publish(&[], &[]), Err(StatisticsError::Lost(_))));
        assert!(matches!(StatisticsViewer::attach(&instance.0), Err(StatisticsError::NotFound(_))));
    }

    #[test]
    fn what_is_prepared_is_seen_when_it_takes_the_name_and_not_before() {
        let instance = Instance::new("prepared");
        let former = instance.create().expect("created");
        let seen = || StatisticsViewer::attach(&instance.0).expect("attached").generation;
        let prepare =
            |generation| StatisticsPublisher::prepare(&instance.0, generation, 1, 1).expect("prepared");

        let given_up = prepare(4);
        given_up.publish(&[group("a")], &[]).expect("published");
        assert_eq!(seen(), 3);
        given_up.unlink();
        assert!(!Path::new(&path_of(&prepared_name_of(&instance.0))).exists());
        assert!(given_up.take_name().is_err());
        assert_eq!(seen(), 3);

        // A process that died before it took the name is in no other's way.
        prepare(5);
        let next = prepare(6);
        next.take_name().expect("taken");
        assert_eq!(seen(), 6);
        // The previous publisher may write there until it leaves: the new memory is smaller, and not its own.
        former.publish(&[group("a"), group("b")], &[]).expect("published");
        next.publish(&[group("c")], &[]).expect("published");
        assert_eq!(StatisticsViewer::attach(&instance.0).expect("attached").groups, [group("c")]);
    }

    #[test]
    fn dropping_a_handle_keeps_the_name() {
        let instance = Instance::new("drop");
        drop(instance.create().expect("created"));
        assert!(StatisticsViewer::attach(&instance.0).is_ok());
    }

    #[test]
    fn names_are_checked() {
        let check = |instance: &str, expected: bool| {
            assert_eq!(name_of(instance).is_ok(), expected, "{instance:?}");
        };
        check("default", true);
        check("a-b_c.5", true);
        check("", false);
        check("../x", false);
        check("a b", false);
        check(&"x".repeat(64), true);
        check(&"x".repeat(65), false);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let check = |text: &str, expected: &str| {
            let mut cells = [0; TEXT_CELLS];
            text_to_cells(text, &mut cells);
            assert_eq!(text_from_cells(&cells), expected);
        };
        check("", "");
        check("eight888", "eight888");
        check(&"x".repeat(63), &"x".repeat(63));
        check(&"x".repeat(64), &"x".repeat(63));
        check(&format!("{}é", "x".repeat(62)), &"x".repeat(62));
    }
}
