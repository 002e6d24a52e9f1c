//! Values that all processes share, each under a number: `$shv`. They outlive scripts and, over SIGUSR2, the program.
//!
//! ```text
//!  names   key of a name ─► slot            written by one master at a time, before its processes serve
//!  slot    head: version | cell             cells   free, held by a process, or named by a head
//!
//!  write:  take a free cell ─► fill it, note which cell it replaces ─► swap the head ─► free the replaced one
//!  read:   head ─► copy the cell it names ─► the same head?
//! ```
//!
//! **Invariants**
//! - A cell is written only by the process that took it, and only before a head names it; it is freed only when no head
//!   names it any more. Its hold counts how often it was taken, so one freeing is for one use, whichever process tries it.
//! - Swapping the head is the only store that makes anything of a write visible; a process killed before it has done
//!   nothing, one killed after it has done everything, and no process waits for another.
//! - A process killed inside a write leaves at most two cells taken: the one it filled and the one that this replaced.
//!   [`ValueTable::after_death`] finds both, the second by the note in the first. A process that frees a cell settles
//!   its note first.
//! - The version grows with every write, so a head that is read twice and is the same has not changed in between.
//! - Holders are named by generation and index: processes of two programs write side by side, and each master puts right
//!   what its own children left. What a master leaves that dies with its children stays taken; there are cells to spare.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::shm::memory::part::{Lasting, Lifetime, Owner, Part, Tended};
use crate::shm::memory::segment::{Place, Plan, Segment, Shareable, Shared};

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
    header: Shared<Header>,
    names: Shared<Name>,
    heads: Shared<Head>,
    holds: Shared<Hold>,
    cells: Shared<Cell>,
    segment: Segment,
}

/// What a table has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRoom {
    /// How many values.
    pub slots: u32,
    /// How many processes write at the same time.
    pub writers: u32,
}

impl ValueRoom {
    /// One for each value, one for each process that is in the middle of a write, and some to spare.
    fn cell_count(self) -> usize {
        if self.slots == 0 { 0 } else { self.slots as usize + self.writers as usize + CELLS_TO_SPARE }
    }
}

#[derive(Default)]
#[repr(C, align(128))]
struct Header {
    slots: AtomicU64,
    writers: AtomicU64,
    /// Names that are known.
    name_count: AtomicU64,
    /// Generations that have come.
    generation_count: AtomicU64,
}

/// A name, as 128 bits, and the generation that brought it.
#[derive(Default)]
#[repr(C)]
struct Name {
    key: [AtomicU64; 2],
    generation: AtomicU64,
}

/// A line of its own for each: values that are written often do not slow down their neighbours.
#[derive(Default)]
#[repr(C, align(128))]
struct Head(AtomicU64);

/// Who has a cell, and which one it replaces.
#[derive(Default)]
#[repr(C, align(64))]
struct Hold {
    word: AtomicU64,
    /// 1 + index of the cell that a head named before this one; 0 for none ...
    replaced: AtomicU64,
    /// ... and its hold at that time.
    replaced_word: AtomicU64,
}

/// One value.
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

// SAFETY: atomic integers and padding.
unsafe impl Shareable for Header {}
// SAFETY: atomic integers.
unsafe impl Shareable for Name {}
// SAFETY: one atomic integer and padding.
unsafe impl Shareable for Head {}
// SAFETY: atomic integers and padding.
unsafe impl Shareable for Hold {}
// SAFETY: atomic integers and padding.
unsafe impl Shareable for Cell {}

/// With the word for the kind, a cell is 1024 bytes.
const WORDS: usize = 127;
const INTEGER: u64 = u64::MAX;
const ATTEMPTS_MAX: u32 = 10_000;
/// For cells that nobody gives back: of processes that died together with their master in the middle of a write.
const CELLS_TO_SPARE: usize = 32;

/// Where everything in a table is.
pub(crate) struct ValuePlace {
    room: ValueRoom,
    header: Place<Header>,
    names: Place<Name>,
    heads: Place<Head>,
    holds: Place<Hold>,
    cells: Place<Cell>,
}

impl Part for ValueTable {
    const NAME: &'static CStr = c"sworker-values";
    const LIFETIME: Lifetime = Lifetime::Server;
    type Request = ValueRoom;
    type Place = ValuePlace;
    type Error = io::Error;

    fn reserve(room: &ValueRoom, plan: &mut Plan) -> io::Result<ValuePlace> {
        let (slots, cells) = (room.slots as usize, room.cell_count());
        Ok(ValuePlace {
            room: *room,
            header: plan.reserve(1),
            names: plan.reserve(slots),
            heads: plan.reserve(slots),
            holds: plan.reserve(cells),
            cells: plan.reserve(cells),
        })
    }

    fn claim(place: ValuePlace, segment: &Segment) -> ValueTable {
        let ValuePlace { room, header, names, heads, holds, cells } = place;
        let table = ValueTable {
            header: segment.claim(header),
            names: segment.claim(names),
            heads: segment.claim(heads),
            holds: segment.claim(holds),
            cells: segment.claim(cells),
            segment: segment.clone(),
        };
        table.header().slots.store(room.slots.into(), Ordering::Relaxed);
        table.header().writers.store(room.writers.into(), Ordering::Relaxed);
        table
    }
}

impl Lasting for ValueTable {
    const LAYOUT: u64 = 1;

    fn file(&self) -> BorrowedFd<'_> {
        self.segment.file()
    }

    fn adopt(file: File) -> io::Result<ValueTable> {
        let segment = Segment::adopt(file)?;
        let broken = || io::Error::other("the shared values are not in the form this program knows");
        let header: Shared<Header> = segment.first().ok_or_else(broken)?;
        let number = |cell: &AtomicU64| u32::try_from(cell.load(Ordering::Relaxed)).map_err(|_| broken());
        let room = ValueRoom { slots: number(&header[0].slots)?, writers: number(&header[0].writers)? };
        Self::claim_planned_alike(&room, &segment)?.ok_or_else(broken)
    }
}

impl Tended for ValueTable {
    fn after_death(&self, dead: Owner) {
        for (index, hold) in self.holds.iter().enumerate() {
            let word = HoldWord(hold.word.load(Ordering::Acquire));
            if !word.is_held_by(dead) {
                continue;
            }
            if self.is_named(index) {
                self.settle(index, word, self.holds.len());
                continue;
            }
            // Nobody published it, or somebody replaced it, who frees it as well. What it was to replace may be a value still.
            if self.noted_by(index, word).is_some_and(|(replaced, _)| !self.is_named(replaced)) {
                self.settle(index, word, self.holds.len());
            }
            self.free(index, word);
        }
    }
}

impl ValueTable {
    /// Room for values, all of them the integer 0 and without a name.
    pub fn create(room: ValueRoom) -> io::Result<ValueTable> {
        Self::make(&room)
    }

    /// How many values there are.
    pub fn count(&self) -> u32 {
        self.heads.len() as u32
    }

    /// Whether the slots suffice for so many more names, and the cells for so many processes of the next generation beside
    /// those of the present ones.
    pub fn has_room_for(&self, new_names: u32, writers: u32) -> bool {
        let writers_max = self.header().writers.load(Ordering::Relaxed);
        self.name_count() + u64::from(new_names) <= self.names.len() as u64
            && u64::from(writers).saturating_mul(2) <= writers_max
    }

    /// The slot of a name.
    pub fn slot_of(&self, key: u128) -> Option<u32> {
        (0..).zip(self.known_names()).find(|(_, name)| name.key() == key).map(|(slot, _)| slot)
    }

    /// The slot of a name that this generation knows, and whether its value is still to begin: nobody has served under it.
    /// For a master whose processes do not exist yet; `None` when all slots have names.
    pub fn name_slot(&self, key: u128, generation: u64) -> Option<(u32, bool)> {
        let is_new = |name: &Name| name.generation.load(Ordering::Relaxed) >= generation;
        if let Some(slot) = self.slot_of(key) {
            return Some((slot, is_new(&self.names[slot as usize])));
        }
        let slot = self.name_count();
        let name = self.names.get(slot as usize)?;
        name.key[0].store((key >> 64) as u64, Ordering::Relaxed);
        name.key[1].store(key as u64, Ordering::Relaxed);
        name.generation.store(generation, Ordering::Relaxed);
        // Release: who sees the count sees the name. A master killed before it has named nothing.
        self.header().name_count.store(slot + 1, Ordering::Release);
        Some((slot as u32, true))
    }

    /// A number for a generation that no other one has, whatever they are called: two programs that come one after the
    /// other, and the first of which failed, count the same.
    pub fn number_generation(&self) -> u64 {
        self.header().generation_count.fetch_add(1, Ordering::Relaxed)
    }

    fn known_names(&self) -> &[Name] {
        &self.names[..(self.name_count() as usize).min(self.names.len())]
    }

    fn name_count(&self) -> u64 {
        self.header().name_count.load(Ordering::Acquire)
    }

    fn header(&self) -> &Header {
        &self.header[0]
    }

    /// How many cells are free: what is neither a value nor in the hands of a process.
    pub fn free_cell_count(&self) -> usize {
        self.holds.iter().filter(|hold| !HoldWord(hold.word.load(Ordering::Relaxed)).is_held()).count()
    }

    /// How many cells there are.
    pub fn cell_count(&self) -> usize {
        self.holds.len()
    }

    /// What the slot holds at one recent moment; text is appended to `out`.
    pub fn read(&self, slot: u32, out: &mut Vec<u8>) -> Result<SharedReading, TableError> {
        let head = self.heads.get(slot as usize).ok_or(TableError::NoSuchSlot)?;
        self.read_with(head, out).map(|(_, reading)| reading)
    }

    fn read_with(&self, head: &Head, out: &mut Vec<u8>) -> Result<(HeadWord, SharedReading), TableError> {
        let size = out.len();
        for _ in 0..ATTEMPTS_MAX {
            let before = HeadWord(head.0.load(Ordering::Acquire));
            let Some(cell) = self.cell_of(before) else {
                return Ok((before, SharedReading::Integer(0)));
            };
            let reading = self.cells[cell].load(out);
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

    /// Stores a value. Nobody else may write as this owner at the same time.
    pub fn write(&self, owner: Owner, slot: u32, value: SharedInput<'_>) -> Result<(), TableError> {
        let head = self.heads.get(slot as usize).ok_or(TableError::NoSuchSlot)?;
        if matches!(value, SharedInput::Text(text) if text.len() > SHARED_TEXT_SIZE_MAX) {
            return Err(TableError::TooLong);
        }
        let (cell, word) = self.take(owner).ok_or(TableError::Busy)?;
        self.cells[cell].store(value);
        for _ in 0..ATTEMPTS_MAX {
            if self.publish(head, HeadWord(head.0.load(Ordering::Acquire)), cell) {
                return Ok(());
            }
        }
        self.free(cell, word);
        Err(TableError::Busy)
    }

    /// Adds to the integer in the slot, in one step among all processes, and says what it is then. Text counts as 0.
    pub fn add(&self, owner: Owner, slot: u32, amount: i64) -> Result<i64, TableError> {
        self.change(owner, slot, |number| number.wrapping_add(amount))
    }

    /// Changes the integer in the slot, in one step among all processes, and says what it is then. Text counts as 0.
    pub fn change(&self, owner: Owner, slot: u32, change: impl Fn(i64) -> i64) -> Result<i64, TableError> {
        let head = self.heads.get(slot as usize).ok_or(TableError::NoSuchSlot)?;
        let (cell, word) = self.take(owner).ok_or(TableError::Busy)?;
        self.change_into(head, cell, change).inspect_err(|_| self.free(cell, word))
    }

    fn change_into(&self, head: &Head, cell: usize, change: impl Fn(i64) -> i64) -> Result<i64, TableError> {
        let mut text = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            text.clear();
            let (before, reading) = self.read_with(head, &mut text)?;
            let changed = change(match reading {
                SharedReading::Integer(number) => number,
                SharedReading::Text => 0,
            });
            self.cells[cell].store(SharedInput::Integer(changed));
            if self.publish(head, before, cell) {
                return Ok(changed);
            }
        }
        Err(TableError::Busy)
    }

    /// Takes a free cell.
    fn take(&self, owner: Owner) -> Option<(usize, HoldWord)> {
        // Everybody begins elsewhere, so that two of them seldom want the same cell.
        let start = usize::from(owner.index).wrapping_mul(CELLS_BETWEEN) % self.holds.len();
        (start..self.holds.len()).chain(0..start).find_map(|index| {
            let hold = &self.holds[index].word;
            let before = HoldWord(hold.load(Ordering::Relaxed));
            let after = before.taken_by(owner);
            // Acquire: pairs with the Release of `free`; the head no longer names this cell when its bytes are written.
            let is_ours = !before.is_held()
                && hold.compare_exchange(before.0, after.0, Ordering::Acquire, Ordering::Relaxed).is_ok();
            is_ours.then_some((index, after))
        })
    }

    /// Whether the value in the cell became that of the slot: not when the head has changed meanwhile.
    fn publish(&self, head: &Head, before: HeadWord, cell: usize) -> bool {
        let Some(replaced) = self.note(head, before, cell) else { return false };
        if !self.swap(head, before, cell) {
            return false;
        }
        if let Some((replaced, word)) = replaced {
            self.release(replaced, word, self.holds.len());
        }
        true
    }

    /// Notes in the hold of a cell which one it is about to replace; `None` when the head has changed meanwhile.
    fn note(&self, head: &Head, before: HeadWord, cell: usize) -> Option<Option<(usize, HoldWord)>> {
        let replaced = self.cell_of(before);
        // Acquire: the hold of a later use was taken after the free, and that came after the swap of the head, which is
        // seen here then. A note of a later use would let a death free what that use replaces.
        let word = replaced.map_or(0, |replaced| self.holds[replaced].word.load(Ordering::Acquire));
        if head.0.load(Ordering::Relaxed) != before.0 {
            return None;
        }
        let hold = &self.holds[cell];
        hold.replaced.store(replaced.map_or(0, |replaced| replaced as u64 + 1), Ordering::Relaxed);
        hold.replaced_word.store(word, Ordering::Relaxed);
        Some(replaced.map(|replaced| (replaced, HoldWord(word))))
    }

    fn swap(&self, head: &Head, before: HeadWord, cell: usize) -> bool {
        let after = before.followed_by(cell);
        // Release: whoever sees this head sees the cell it names, and its note.
        head.0.compare_exchange(before.0, after.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Frees a cell that no head names any more, after what it replaced itself, if the one who had to do that died.
    fn release(&self, cell: usize, word: HoldWord, depth: usize) {
        self.settle(cell, word, depth);
        self.free(cell, word);
    }

    /// Frees what a cell replaced that was published. Whoever has freed it already is no obstacle.
    fn settle(&self, cell: usize, word: HoldWord, depth: usize) {
        let noted = self.noted_by(cell, word);
        let Some((replaced, replaced_word)) = noted.filter(|_| depth > 0) else { return };
        if self.holds[replaced].word.load(Ordering::Acquire) == replaced_word.0 {
            self.release(replaced, replaced_word, depth - 1);
        }
    }

    /// What this use of a cell has noted.
    fn noted_by(&self, cell: usize, word: HoldWord) -> Option<(usize, HoldWord)> {
        let hold = &self.holds[cell];
        let replaced = (hold.replaced.load(Ordering::Relaxed) as usize).checked_sub(1)?;
        let replaced_word = HoldWord(hold.replaced_word.load(Ordering::Relaxed));
        // Acquire: a note of a later use was written after the cell was taken again, and that is seen here.
        fence(Ordering::Acquire);
        let is_of_this_use = hold.word.load(Ordering::Relaxed) == word.0;
        (is_of_this_use && replaced < self.holds.len() && replaced_word.is_held())
            .then_some((replaced, replaced_word))
    }

    fn free(&self, cell: usize, word: HoldWord) {
        // Release: pairs with the Acquire of `take`.
        let _ = self.holds[cell].word.compare_exchange(
            word.0,
            word.freed().0,
            Ordering::Release,
            Ordering::Relaxed,
        );
    }

    fn is_named(&self, cell: usize) -> bool {
        self.heads.iter().any(|head| self.cell_of(HeadWord(head.0.load(Ordering::Acquire))) == Some(cell))
    }

    /// `None` for a slot never written, and for a head that no protocol writes.
    fn cell_of(&self, head: HeadWord) -> Option<usize> {
        head.cell().filter(|cell| *cell < self.cells.len())
    }
}

impl Name {
    fn key(&self) -> u128 {
        let [high, low] = [0, 1].map(|half: usize| u128::from(self.key[half].load(Ordering::Relaxed)));
        high << 64 | low
    }
}

/// Indexes of processes stand side by side; what they take first does not.
const CELLS_BETWEEN: usize = 7;

impl Cell {
    fn store(&self, value: SharedInput<'_>) {
        // Release: pairs with the Acquire fence of `read_with`. The cell was taken before, and no head named it then.
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

/// `version:40 | cell + 1:24`; 0 in a slot never written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct HeadWord(u64);

const CELL_BITS: u32 = 24;

impl HeadWord {
    fn cell(self) -> Option<usize> {
        ((self.0 & ((1 << CELL_BITS) - 1)) as usize).checked_sub(1)
    }

    fn followed_by(self, cell: usize) -> HeadWord {
        let version = (self.0 >> CELL_BITS).wrapping_add(1);
        HeadWord(version << CELL_BITS | (cell as u64 + 1))
    }
}

/// `held:1 | use:31 | generation:16 | index:16`; free with the count of uses so far, at first 0.
#[derive(Clone, Copy, PartialEq, Eq)]
struct HoldWord(u64);

const HELD: u64 = 1 << 63;
const USE_SHIFT: u32 = 32;

impl HoldWord {
    fn is_held(self) -> bool {
        self.0 & HELD != 0
    }

    fn is_held_by(self, owner: Owner) -> bool {
        self.is_held() && self.0 as u32 == Self::owner_bits(owner)
    }

    fn owner_bits(owner: Owner) -> u32 {
        u32::from(owner.generation) << 16 | u32::from(owner.index)
    }

    fn taken_by(self, owner: Owner) -> HoldWord {
        let uses = (self.0 >> USE_SHIFT).wrapping_add(1) & (HELD >> USE_SHIFT).wrapping_sub(1);
        HoldWord(HELD | uses << USE_SHIFT | u64::from(Self::owner_bits(owner)))
    }

    fn freed(self) -> HoldWord {
        HoldWord(self.0 & !HELD & !u64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(writers: u32, slots: u32) -> ValueTable {
        ValueTable::create(ValueRoom { slots, writers }).expect("memory")
    }

    fn owner(index: u32) -> Owner {
        Owner::new(0, index)
    }

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
        let table = of(3, 2);
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
            table.write(owner(process), 1, value).expect("room");
            assert_eq!(shown(&table, 1), expected);
        }
        assert_eq!(shown(&table, 0), "0", "the neighbour is as it was");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let table = of(1, 1);
        table.write(owner(0), 0, SharedInput::Integer(7)).expect("room");
        let long = vec![b'x'; SHARED_TEXT_SIZE_MAX + 1];
        let rows = [
            (0, 0, SharedInput::Text(&long), TableError::TooLong),
            (0, 1, SharedInput::Integer(1), TableError::NoSuchSlot),
            (0xffff, 1, SharedInput::Integer(1), TableError::NoSuchSlot),
        ];
        for (process, slot, value, expected) in rows {
            assert_eq!(table.write(owner(process), slot, value), Err(expected));
        }
        assert_eq!(shown(&table, 0), "7");
        assert_eq!(shown(&table, 1), "the shared value was not planned");
    }

    #[test]
    fn a_head_that_no_protocol_writes_reads_as_never_written() {
        let table = of(1, 1);
        for head in [1 << CELL_BITS, 0xffff, u64::MAX] {
            table.heads[0].0.store(head, Ordering::Relaxed);
            assert_eq!(shown(&table, 0), "0");
        }
        table.write(owner(0), 0, SharedInput::Integer(3)).expect("room");
        assert_eq!(shown(&table, 0), "3");
    }

    #[test]
    fn sums_of_all_threads_are_exact() {
        let table = of(4, 1);
        std::thread::scope(|scope| {
            for process in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    (0..5_000).for_each(|_| _ = table.add(owner(process), 0, 1).expect("room"))
                });
            }
        });
        assert_eq!(shown(&table, 0), "20000");
    }

    #[test]
    fn readers_never_see_half_a_text() {
        let table = of(3, 1);
        let rounds = 20_000;
        std::thread::scope(|scope| {
            for process in 0..2 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let text = vec![b'a' + (round % 26) as u8; 8 + round % 200];
                        table.write(owner(process), 0, SharedInput::Text(&text)).expect("room");
                    }
                    table.write(owner(process), 0, SharedInput::Text(b"end")).expect("room");
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

    /// A process that dies after so many steps of a write of 5 to slot 0.
    fn die_in_write(table: &ValueTable, owner: Owner, steps: u32) {
        let (cell, word) = table.take(owner).expect("a free cell");
        if steps == 0 {
            return;
        }
        table.cells[cell].store(SharedInput::Integer(5));
        let head = &table.heads[0];
        let before = HeadWord(head.0.load(Ordering::Acquire));
        let noted = table.note(head, before, cell).expect("nobody else writes");
        if steps == 1 || !table.swap(head, before, cell) || steps == 2 {
            return;
        }
        assert!(table.holds[cell].word.load(Ordering::Relaxed) == word.0);
        let (replaced, replaced_word) = noted.expect("there was a value");
        table.settle(replaced, replaced_word, 9);
    }

    /// All cells but those that heads name are free.
    #[track_caller]
    fn check_nothing_is_left(table: &ValueTable, named: usize) {
        assert_eq!(table.cell_count() - table.free_cell_count(), named);
    }

    #[test]
    fn a_process_that_dies_in_a_write_has_done_all_of_it_or_nothing_and_leaves_no_cell() {
        for (steps, expected) in [(0, "1"), (1, "1"), (2, "5"), (3, "5")] {
            let table = of(3, 2);
            table.write(owner(0), 0, SharedInput::Integer(1)).expect("room");
            die_in_write(&table, owner(1), steps);
            assert_eq!(shown(&table, 0), expected, "{steps}");
            table.after_death(Owner::new(1, 1));
            table.after_death(owner(1));
            check_nothing_is_left(&table, 1);
            table.after_death(owner(1));
            assert_eq!(shown(&table, 0), expected, "{steps}");
            check_nothing_is_left(&table, 1);
        }
    }

    #[test]
    fn a_writer_whose_head_has_changed_notes_nothing_of_a_later_use() {
        let table = of(3, 2);
        table.write(owner(0), 0, SharedInput::Integer(1)).expect("room");
        let head = &table.heads[0];
        let before = HeadWord(head.0.load(Ordering::Acquire));
        let (cell, _) = table.take(owner(1)).expect("a free cell");
        // Meanwhile the value is replaced, and its cell holds the next one, which replaces that.
        for number in 2..9 {
            table.write(owner(2), 0, SharedInput::Integer(number)).expect("room");
        }
        assert!(table.note(head, before, cell).is_none() && !table.publish(head, before, cell));
        table.after_death(owner(1));
        assert_eq!(shown(&table, 0), "8");
        check_nothing_is_left(&table, 1);
    }

    #[test]
    fn what_the_dead_left_is_found_whatever_others_do_before_their_deaths_are_known() {
        for first in 0..4 {
            for second in 0..4 {
                for (is_written, order) in [(false, [1, 2]), (true, [1, 2]), (false, [2, 1]), (true, [2, 1])]
                {
                    let table = of(3, 1);
                    table.write(owner(0), 0, SharedInput::Integer(1)).expect("room");
                    die_in_write(&table, owner(1), first);
                    die_in_write(&table, owner(2), second);
                    if is_written {
                        table.write(owner(0), 0, SharedInput::Integer(9)).expect("room");
                    }
                    let before = shown(&table, 0);
                    order.iter().for_each(|index| table.after_death(owner(*index)));
                    assert_eq!(shown(&table, 0), before, "{first} {second} {is_written}");
                    check_nothing_is_left(&table, 1);
                }
            }
        }
    }

    #[test]
    fn a_name_has_its_slot_and_begins_until_its_generation_has_served() {
        let table = of(1, 2);
        assert_eq!(
            (table.slot_of(7), table.has_room_for(2, 0), table.has_room_for(3, 0)),
            (None, true, false)
        );
        assert_eq!(table.name_slot(7, 0), Some((0, true)));
        assert_eq!(table.name_slot(1 << 100, 1), Some((1, true)));
        assert_eq!(table.name_slot(7, 1), Some((0, false)));
        assert_eq!(table.name_slot(1 << 100, 1), Some((1, true)), "a generation that did not come up");
        assert_eq!(table.name_slot(1 << 100, 2), Some((1, false)));
        assert_eq!((table.slot_of(7), table.slot_of(1 << 100)), (Some(0), Some(1)));
        assert_eq!((table.name_slot(8, 2), table.has_room_for(0, 0)), (None, true));
        assert!(!table.has_room_for(0, 1) && of(4, 1).has_room_for(0, 2));
    }

    #[test]
    fn another_program_adopts_the_same_values_and_nothing_else() {
        let table = of(2, 3);
        table.name_slot(7, 0);
        table.write(owner(0), 0, SharedInput::Integer(1)).expect("room");
        let file = || File::from(table.file().try_clone_to_owned().unwrap());
        let adopted = ValueTable::adopt(file()).unwrap();
        assert_eq!(adopted.slot_of(7), Some(0));
        adopted.add(Owner::new(1, 0), 0, 4).expect("room");
        assert_eq!((shown(&table, 0), shown(&adopted, 0)), ("5".into(), "5".into()));
        table.header().slots.store(4_000, Ordering::Relaxed);
        let refused = ValueTable::adopt(file()).err().unwrap().to_string();
        assert_eq!(refused, "the shared values are not in the form this program knows");
        table.header().slots.store(u64::MAX, Ordering::Relaxed);
        assert!(ValueTable::adopt(file()).is_err());
    }

    #[test]
    fn many_writers_leave_no_cell_behind() {
        let table = of(4, 2);
        std::thread::scope(|scope| {
            for process in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..5_000 {
                        table.add(owner(process), 0, 1).expect("room");
                        table.write(owner(process), 1, SharedInput::Integer(round)).expect("room");
                    }
                });
            }
        });
        check_nothing_is_left(&table, 2);
    }
}
