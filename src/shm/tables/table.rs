//! Values that all processes share, each under a number: `$shv`.
//!
//! ```text
//!  slot   head: version | process | half        cells, two of each process:   [0·a][0·b][1·a][1·b] …
//!
//!  write:  fill the half of mine that the head does not name ─► swap the head
//!  read:   head ─► copy the cell it names ─► the same head?
//! ```
//!
//! **Invariants**
//! - A cell is written by one process only, and never while a head names it: no other process can make a head name it.
//! - Swapping the head is the only store that makes anything of a write visible; a process killed before it has done
//!   nothing, one killed after it has done everything. There is nothing to repair, and no process waits for another.
//! - The version grows with every write, so a head that is read twice and is the same has not changed in between.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::shm::memory::segment::{Plan, Segment, Shareable, Shared};

/// Longest text a slot can hold.
pub const SHARED_TEXT_SIZE_MAX: usize = WORDS * size_of::<u64>();

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedReading {
    /// An integer; that of a slot never written is 0.
    Integer(i64),
    /// Text: the bytes were appended to the space handed in.
    Text,
}

/// A value to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedInput<'a> {
    /// An integer.
    Integer(i64),
    /// Text of at most [`SHARED_TEXT_SIZE_MAX`] bytes.
    Text(&'a [u8]),
}

/// Why a slot was not read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// The text is longer than [`SHARED_TEXT_SIZE_MAX`].
    TooLong,
    /// The slot was not planned.
    NoSuchSlot,
    /// Others changed the slot every time while it was looked at.
    Busy,
}

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TableError::TooLong => {
                write!(f, "a shared value takes at most {SHARED_TEXT_SIZE_MAX} bytes")
            }
            TableError::NoSuchSlot => f.write_str("the shared value was not planned"),
            TableError::Busy => f.write_str("the shared value keeps changing"),
        }
    }
}

impl std::error::Error for TableError {}

/// All shared values of the server. Made by the master before the first fork.
#[derive(Clone)]
pub struct ValueTable {
    heads: Shared<Head>,
    cells: Shared<Cell>,
    processes: usize,
    _segment: Segment,
}

/// A line of its own for each: values that are written often do not slow down their neighbours.
#[derive(Default)]
#[repr(C, align(128))]
struct Head(AtomicU64);

/// One value of one process.
#[derive(Default)]
#[repr(C, align(64))]
struct Cell {
    /// The size of the text, or [`INTEGER`].
    kind: AtomicU64,
    words: Words,
}

#[repr(C)]
struct Words([AtomicU64; WORDS]);

impl Default for Words {
    fn default() -> Self {
        Words([const { AtomicU64::new(0) }; WORDS])
    }
}

// SAFETY: one atomic integer and padding.
unsafe impl Shareable for Head {}
// SAFETY: atomic integers and padding.
unsafe impl Shareable for Cell {}

/// With the word for the kind, a cell is 1024 bytes.
const WORDS: usize = 127;
const INTEGER: u64 = u64::MAX;
const ATTEMPTS_MAX: u32 = 10_000;

impl ValueTable {
    /// Room for `slots` values in a server with this number of processes, all of them the integer 0.
    pub fn create(processes: u32, slots: u32) -> io::Result<ValueTable> {
        let (processes, slots) = (processes as usize, slots as usize);
        let mut plan = Plan::default();
        let heads = plan.reserve(slots);
        let cells = plan.reserve(slots.saturating_mul(processes).saturating_mul(2));
        let segment = plan.create(c"sworker-values")?;
        Ok(ValueTable {
            heads: segment.claim(heads),
            cells: segment.claim(cells),
            processes,
            _segment: segment,
        })
    }

    /// How many values there are.
    pub fn count(&self) -> u32 {
        self.heads.len() as u32
    }

    /// What the slot holds at one recent moment; text is appended to `out`.
    pub fn read(&self, slot: u32, out: &mut Vec<u8>) -> Result<SharedReading, TableError> {
        let head = self.heads.get(slot as usize).ok_or(TableError::NoSuchSlot)?;
        self.read_with(head, slot, out).map(|(_, reading)| reading)
    }

    fn read_with(
        &self,
        head: &Head,
        slot: u32,
        out: &mut Vec<u8>,
    ) -> Result<(HeadWord, SharedReading), TableError> {
        let size = out.len();
        for _ in 0..ATTEMPTS_MAX {
            let before = HeadWord(head.0.load(Ordering::Acquire));
            let Some(cell) = self.named_cell(slot, before) else {
                return Ok((before, SharedReading::Integer(0)));
            };
            let reading = cell.load(out);
            // Acquire: pairs with the Release fence of `store`. If a word of a later value was read, the head had
            // changed before that word was written, and the change is seen here.
            fence(Ordering::Acquire);
            if head.0.load(Ordering::Relaxed) == before.0 {
                return Ok((before, reading));
            }
            out.truncate(size);
        }
        Err(TableError::Busy)
    }

    /// Stores a value. `process` is the index of the process that calls; no other process may use it at the same time.
    pub fn write(&self, process: u32, slot: u32, value: SharedInput<'_>) -> Result<(), TableError> {
        let head = self.heads.get(slot as usize).ok_or(TableError::NoSuchSlot)?;
        if matches!(value, SharedInput::Text(text) if text.len() > SHARED_TEXT_SIZE_MAX) {
            return Err(TableError::TooLong);
        }
        for _ in 0..ATTEMPTS_MAX {
            let before = HeadWord(head.0.load(Ordering::Acquire));
            if self.publish(head, before, process, slot, value)? {
                return Ok(());
            }
        }
        Err(TableError::Busy)
    }

    /// Adds to the integer in the slot, in one step among all processes, and says what it is then. Text counts as 0.
    pub fn add(&self, process: u32, slot: u32, amount: i64) -> Result<i64, TableError> {
        self.change(process, slot, |number| number.wrapping_add(amount))
    }

    /// Changes the integer in the slot, in one step among all processes, and says what it is then. Text counts as 0.
    pub fn change(&self, process: u32, slot: u32, change: impl Fn(i64) -> i64) -> Result<i64, TableError> {
        let head = self.heads.get(slot as usize).ok_or(TableError::NoSuchSlot)?;
        let mut text = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            text.clear();
            let (before, reading) = self.read_with(head, slot, &mut text)?;
            let changed = change(match reading {
                SharedReading::Integer(number) => number,
                SharedReading::Text => 0,
            });
            if self.publish(head, before, process, slot, SharedInput::Integer(changed))? {
                return Ok(changed);
            }
        }
        Err(TableError::Busy)
    }

    /// Whether the value became that of the slot: not when the head has changed meanwhile.
    fn publish(
        &self,
        head: &Head,
        before: HeadWord,
        process: u32,
        slot: u32,
        value: SharedInput<'_>,
    ) -> Result<bool, TableError> {
        let half = u64::from(before.is_of(process) && before.half() == 0);
        let after = before.followed_by(process, half);
        self.named_cell(slot, after).ok_or(TableError::NoSuchSlot)?.store(value);
        // Release: a process that sees this head sees the cell it names.
        Ok(head.0.compare_exchange(before.0, after.0, Ordering::Release, Ordering::Relaxed).is_ok())
    }

    /// `None` for a slot never written, and for a head that no protocol writes.
    fn named_cell(&self, slot: u32, head: HeadWord) -> Option<&Cell> {
        let process = head.process()?;
        if process >= self.processes {
            return None;
        }
        self.cells.get((slot as usize * self.processes + process) * 2 + head.half() as usize)
    }
}

impl Cell {
    fn store(&self, value: SharedInput<'_>) {
        // Release: pairs with the Acquire fence of `read_with`. The head was read before, and does not name this cell.
        fence(Ordering::Release);
        match value {
            SharedInput::Integer(number) => {
                self.kind.store(INTEGER, Ordering::Relaxed);
                self.words.0[0].store(number as u64, Ordering::Relaxed);
            }
            SharedInput::Text(text) => {
                self.kind.store(text.len() as u64, Ordering::Relaxed);
                for (word, bytes) in self.words.0.iter().zip(text.chunks(size_of::<u64>())) {
                    let mut full = [0; size_of::<u64>()];
                    full[..bytes.len()].copy_from_slice(bytes);
                    word.store(u64::from_ne_bytes(full), Ordering::Relaxed);
                }
            }
        }
    }

    fn load(&self, out: &mut Vec<u8>) -> SharedReading {
        let size = match self.kind.load(Ordering::Relaxed) {
            INTEGER => return SharedReading::Integer(self.words.0[0].load(Ordering::Relaxed) as i64),
            // A size that cannot be true belongs to a cell that is being overwritten: the head will tell.
            size => (size as usize).min(SHARED_TEXT_SIZE_MAX),
        };
        let start = out.len();
        for word in &self.words.0[..size.div_ceil(size_of::<u64>())] {
            out.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        out.truncate(start + size);
        SharedReading::Text
    }
}

/// `version:40 | process + 1:16 | half:8`; 0 in a slot never written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct HeadWord(u64);

impl HeadWord {
    fn process(self) -> Option<usize> {
        ((self.0 >> 8 & 0xffff) as usize).checked_sub(1)
    }

    fn half(self) -> u64 {
        self.0 & 1
    }

    fn is_of(self, process: u32) -> bool {
        self.process() == Some(process as usize)
    }

    fn followed_by(self, process: u32, half: u64) -> HeadWord {
        let version = (self.0 >> 24).wrapping_add(1);
        HeadWord(version << 24 | ((u64::from(process) + 1) & 0xffff) << 8 | half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(table: &ValueTable, slot: u32) -> String {
        let mut out = Vec::new();
        match table.read(slot, &mut out) {
            Ok(SharedReading::Integer(number)) => number.to_string(),
            Ok(SharedReading::Text) => format!("\"{}\"", String::from_utf8(out).expect("text")),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_slot_holds_what_was_last_written_by_whomever() {
        let table = ValueTable::create(3, 2).expect("memory");
        assert_eq!(shown(&table, 0), "0");
        let long = vec![b'x'; SHARED_TEXT_SIZE_MAX];
        let rows: [(u32, SharedInput<'_>, String); 7] = [
            (0, SharedInput::Integer(-5), "-5".into()),
            (0, SharedInput::Text(b"short"), "\"short\"".into()),
            (2, SharedInput::Text(b"exactly8"), "\"exactly8\"".into()),
            (2, SharedInput::Text(b""), "\"\"".into()),
            (1, SharedInput::Text(&long), format!("\"{}\"", "x".repeat(SHARED_TEXT_SIZE_MAX))),
            (1, SharedInput::Integer(i64::MAX), i64::MAX.to_string()),
            (1, SharedInput::Integer(i64::MIN), i64::MIN.to_string()),
        ];
        for (process, value, expected) in rows {
            table.write(process, 1, value).expect("room");
            assert_eq!(shown(&table, 1), expected);
        }
        assert_eq!(shown(&table, 0), "0", "the neighbour is as it was");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let table = ValueTable::create(1, 1).expect("memory");
        table.write(0, 0, SharedInput::Integer(7)).expect("room");
        let long = vec![b'x'; SHARED_TEXT_SIZE_MAX + 1];
        let rows = [
            (0, 0, SharedInput::Text(&long), TableError::TooLong),
            (0, 1, SharedInput::Integer(1), TableError::NoSuchSlot),
            (1, 0, SharedInput::Integer(1), TableError::NoSuchSlot),
            (0xffff, 0, SharedInput::Integer(1), TableError::NoSuchSlot),
        ];
        for (process, slot, value, expected) in rows {
            assert_eq!(table.write(process, slot, value), Err(expected));
        }
        assert_eq!(shown(&table, 0), "7");
        assert_eq!(shown(&table, 1), "the shared value was not planned");
    }

    #[test]
    fn a_head_that_no_protocol_writes_reads_as_never_written() {
        let table = ValueTable::create(1, 1).expect("memory");
        for head in [5 << 8, 0xffff << 8, u64::MAX] {
            table.heads[0].0.store(head, Ordering::Relaxed);
            assert_eq!(shown(&table, 0), "0");
        }
        table.write(0, 0, SharedInput::Integer(3)).expect("room");
        assert_eq!(shown(&table, 0), "3");
    }

    #[test]
    fn sums_of_all_threads_are_exact() {
        let table = ValueTable::create(4, 1).expect("memory");
        std::thread::scope(|scope| {
            for process in 0..4 {
                let table = &table;
                scope.spawn(move || (0..5_000).for_each(|_| _ = table.add(process, 0, 1).expect("room")));
            }
        });
        assert_eq!(shown(&table, 0), "20000");
    }

    #[test]
    fn readers_never_see_half_a_text() {
        let table = ValueTable::create(3, 1).expect("memory");
        let rounds = 20_000;
        std::thread::scope(|scope| {
            for process in 0..2 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let text = vec![b'a' + (round % 26) as u8; 8 + round % 200];
                        table.write(process, 0, SharedInput::Text(&text)).expect("room");
                    }
                    table.write(process, 0, SharedInput::Text(b"end")).expect("room");
                });
            }
            let mut out = Vec::new();
            while out != b"end" {
                out.clear();
                if table.read(0, &mut out) == Ok(SharedReading::Text) {
                    let is_whole = out == b"end" || out.iter().all(|byte| *byte == out[0]);
                    assert!(is_whole, "{}", out.escape_ascii());
                }
            }
        });
    }
}
