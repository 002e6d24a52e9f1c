//! Where messages wait until their time has come: seats in shared memory, filled by any process, emptied by one.
//!
//! ```text
//!  Seat { word, due }   FREE ─CAS─► FILLING|process ─► WAITING ─► MOVING|record ─► FREE
//!                              any process: Usher         the timer: Mover ─push─► ring of the group
//! ```
//!
//! **Invariants**
//! - The bytes of a seat are written only by the process that FILLING names, and read only by the mover, after it saw
//!   WAITING. WAITING is the only store that makes anything of a message visible: a process killed before it has
//!   accepted nothing, and the master frees its seat.
//! - There is one mover, with rings of its own. MOVING names the record of its ring that the push will be, so a
//!   successor knows whether the push happened: a message is moved exactly once, whoever dies.
//! - A message leaves its seat only for a ring. A full ring leaves it where it is, and all that come behind it there.
//! - Nobody waits for anybody: who finds no seat is told so.
//!
//! The mover sleeps on one word. It *says until when, fences, looks at all seats*; an usher *publishes, fences, reads
//! until when*: either the mover sees the message, or the usher sees that the mover must be woken.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::shm::memory::segment::{Plan, Segment, Shareable, Shared, SharedBytes};
use crate::shm::memory::sync::{AtomicU32, AtomicU64, Ordering, SleepWord, fence, monotonic_ns};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;
use crate::shm::queue::producer::{Placement, Producer};
use crate::shm::queue::record::{HEADER_SIZE, Header, History, RECORD_SIZE_MAX, Record};
use crate::shm::queue::ring::PushError;

/// State and time of a message. In an array of their own, so that a look at all of them is a walk over a few pages.
#[derive(Default)]
#[repr(C)]
struct Seat {
    word: AtomicU64,
    due_ns: AtomicU64,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for Seat {}

/// Where a message goes when its time has come.
#[derive(Default)]
#[repr(C)]
struct Direction {
    group: AtomicU32,
    kind: AtomicU32,
    hash: AtomicU64,
    size: AtomicU32,
}

// SAFETY: atomic integers and padding only.
unsafe impl Shareable for Direction {}

/// What ushers and the mover tell each other.
#[derive(Default)]
#[repr(C, align(128))]
struct Gate {
    /// Changed by whoever wakes the mover.
    epoch: SleepWord,
    /// Not 0 when nobody is to wait any longer.
    is_hurried: AtomicU32,
    /// The mover sleeps until this time of the monotonic clock; 0 while it is awake. Written by the mover only.
    asleep_until_ns: AtomicU64,
}

// SAFETY: atomic integers and padding only.
unsafe impl Shareable for Gate {}

/// State of a seat: a tag in the highest byte, below it what it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SeatWord(u64);

const TAG_SHIFT: u32 = 56;
const FILLING: u64 = 1;
const WAITING: u64 = 2;
const MOVING: u64 = 3;

impl SeatWord {
    const FREE: SeatWord = SeatWord(0);
    const WAITING: SeatWord = SeatWord(WAITING << TAG_SHIFT);

    fn filling(process: u32) -> SeatWord {
        SeatWord(FILLING << TAG_SHIFT | u64::from(process))
    }

    fn moving(record: u64) -> SeatWord {
        SeatWord(MOVING << TAG_SHIFT | record & ((1 << TAG_SHIFT) - 1))
    }

    /// The record of the ring that a message was about to become.
    fn moved_as(self) -> Option<u64> {
        (self.0 >> TAG_SHIFT == MOVING).then_some(self.0 & ((1 << TAG_SHIFT) - 1))
    }
}

/// Why there can be no room for messages that wait.
#[derive(Debug)]
pub enum WaitingRoomError {
    /// No seat, or more than there may be.
    SeatCount(u32),
    /// The kernel said no.
    Memory(io::Error),
}

impl fmt::Display for WaitingRoomError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeatCount(count) => {
                write!(
                    formatter,
                    "cannot reserve {count} slots for delayed messages: the limits are 1 and {SEATS_MAX}"
                )
            }
            Self::Memory(error) => {
                write!(formatter, "could not make shared memory for delayed messages: {error}")
            }
        }
    }
}

impl std::error::Error for WaitingRoomError {}

/// The seats. Made by the master before the first fork; a clone is the same memory.
#[derive(Clone)]
pub struct WaitingRoom {
    seats: Shared<Seat>,
    directions: Shared<Direction>,
    gate: Shared<Gate>,
    bytes: Vec<SharedBytes>,
    _segment: Segment,
}

impl WaitingRoom {
    /// So many seats, all free. Memory is touched only where messages have waited.
    pub fn create(seat_count: u32) -> Result<WaitingRoom, WaitingRoomError> {
        if !(1..=SEATS_MAX).contains(&seat_count) {
            return Err(WaitingRoomError::SeatCount(seat_count));
        }
        let count = seat_count as usize;
        let mut plan = Plan::default();
        let (seats, directions, gate) = (plan.reserve(count), plan.reserve(count), plan.reserve(1));
        let size = RECORD_SIZE_MAX as usize;
        let places: Vec<_> = (0..count).map(|_| plan.reserve_bytes(size, size)).collect();
        let segment = plan.create(c"sworker-waiting").map_err(WaitingRoomError::Memory)?;
        Ok(WaitingRoom {
            seats: segment.claim(seats),
            directions: segment.claim(directions),
            gate: segment.claim(gate),
            bytes: places.into_iter().map(|place| segment.claim_bytes(place)).collect(),
            _segment: segment,
        })
    }

    /// How many seats are taken.
    pub fn taken_count(&self) -> u64 {
        let is_taken = |seat: &&Seat| seat.word.load(Ordering::Relaxed) != SeatWord::FREE.0;
        self.seats.iter().filter(is_taken).count() as u64
    }

    /// Whether every seat is free.
    pub fn is_empty(&self) -> bool {
        // Acquire: who freed a seat had handed its message to a ring before.
        self.seats.iter().all(|seat| seat.word.load(Ordering::Acquire) == SeatWord::FREE.0)
    }

    /// From now on the time of every message has come.
    pub fn hurry(&self) {
        self.gate().is_hurried.store(1, Ordering::Release);
        self.wake();
    }

    /// Whether nobody is to wait any longer.
    pub fn is_hurried(&self) -> bool {
        self.gate().is_hurried.load(Ordering::Acquire) != 0
    }

    /// Makes the mover look at the seats: for the master, when a process died that may have been about to.
    pub fn wake(&self) {
        self.gate().epoch.0.fetch_add(1, Ordering::Release);
        self.gate().epoch.awaken();
    }

    /// The end of a process that lets messages wait.
    pub fn usher(&self, process: u32) -> Usher {
        let seat_count = self.seats.len();
        Usher { room: self.clone(), process, next: process as usize * SEATS_APART % seat_count }
    }

    /// The mover's end, taken over from a dead predecessor if there was one. There must be only one, and its producer
    /// must be the one its predecessor had, attached anew.
    pub fn mover(&self, producer: Producer) -> Mover {
        let (due, is_touched, is_full) = (Vec::new(), Vec::new(), Vec::new());
        let mut mover = Mover { room: self.clone(), producer, due, is_touched, is_full };
        mover.recover();
        mover
    }

    /// Frees the seats that a dead process was filling: it had accepted nothing. For the master, after `waitpid`.
    pub fn forget(&self, process: u32) {
        let filling = SeatWord::filling(process).0;
        for seat in self.seats.iter() {
            let free = SeatWord::FREE.0;
            let _ = seat.word.compare_exchange(filling, free, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    fn gate(&self) -> &Gate {
        &self.gate[0]
    }
}

/// Lets messages wait.
pub struct Usher {
    room: WaitingRoom,
    process: u32,
    /// Where the next free seat is looked for first.
    next: usize,
}

impl Usher {
    /// Keeps a copy of `record` until the monotonic clock says `due_ns`, or takes nothing. Never waits.
    pub fn admit(
        &mut self,
        due_ns: u64,
        group: u32,
        placement: Placement,
        record: &Record<'_>,
    ) -> Result<(), PushError> {
        let Some(size) = record.size() else { return Err(PushError::TooLarge) };
        let index = self.take_seat().ok_or(PushError::Full)?;
        pass(Point::SeatTaken);
        self.fill(index, record);
        let direction = &self.room.directions[index];
        direction.group.store(group, Ordering::Relaxed);
        direction.size.store(size, Ordering::Relaxed);
        let (kind, hash) = encode_placement(placement);
        direction.kind.store(kind, Ordering::Relaxed);
        direction.hash.store(hash, Ordering::Relaxed);
        let seat = &self.room.seats[index];
        seat.due_ns.store(due_ns, Ordering::Relaxed);
        pass(Point::SeatFilled);
        // Release: whoever sees WAITING sees the message and its direction.
        seat.word.store(SeatWord::WAITING.0, mutant::ADMIT);
        pass(Point::SeatPublished);
        self.wake_mover(due_ns);
        Ok(())
    }

    /// Whether nobody is to wait any longer.
    pub fn is_hurried(&self) -> bool {
        self.room.is_hurried()
    }

    fn take_seat(&mut self) -> Option<usize> {
        let count = self.room.seats.len();
        let filling = SeatWord::filling(self.process).0;
        for step in 0..count {
            let index = (self.next + step) % count;
            let word = &self.room.seats[index].word;
            // Acquire: the mover has read the message before this one to its end.
            if word.load(Ordering::Relaxed) == SeatWord::FREE.0
                && word
                    .compare_exchange(SeatWord::FREE.0, filling, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                self.next = (index + 1) % count;
                return Some(index);
            }
        }
        None
    }

    fn fill(&self, index: usize, record: &Record<'_>) {
        let header = Header::of(record, History::default()).encode();
        let mut offset = 0;
        for part in [&header[..], record.meta, record.body, record.xdata] {
            // SAFETY: the seat is FILLING by this process, so nobody else reads or writes its bytes.
            let written = unsafe { self.room.bytes[index].write(offset, part) };
            debug_assert!(written.is_some(), "the size was checked");
            offset += part.len();
        }
    }

    fn wake_mover(&self, due_ns: u64) {
        // Full fence: the message is visible before it is asked until when the mover sleeps. Pairs with `sleep`.
        if !mutant::NO_FENCE_IN_ADMIT {
            fence(Ordering::SeqCst);
        }
        let is_too_late = due_ns < self.room.gate().asleep_until_ns.load(Ordering::Relaxed);
        if is_too_late || self.room.is_hurried() {
            self.room.wake();
        }
    }
}

/// Moves messages whose time has come into the rings of their groups.
pub struct Mover {
    room: WaitingRoom,
    producer: Producer,
    /// Room for what is due at one look.
    due: Vec<(u64, usize)>,
    is_touched: Vec<u32>,
    /// Groups and lanes that were full at this look: nobody overtakes whom they held up.
    is_full: Vec<(u32, usize)>,
}

/// What a look at all seats did and saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Messages that are in a ring now.
    pub moved: u32,
    /// Messages whose time has come and whose ring is full.
    pub held_up: u32,
    /// Messages that could not be what an usher wrote; they are gone.
    pub corrupt: u32,
    /// When the next one is due, if any waits.
    pub next_due_ns: Option<u64>,
}

impl Mover {
    /// Moves what is due at `now_ns`, the longest due first; everything, when nobody is to wait any longer.
    pub fn sweep(&mut self, now_ns: u64) -> Sweep {
        let until_ns = if self.room.is_hurried() { u64::MAX } else { now_ns };
        let mut sweep = Sweep { next_due_ns: self.look(until_ns), ..Sweep::default() };
        let mut due = std::mem::take(&mut self.due);
        due.sort_unstable();
        self.is_full.clear();
        for (due_ns, index) in due.drain(..) {
            match self.move_on(index, due_ns.min(now_ns)) {
                Ok(()) => sweep.moved += 1,
                Err(NotMoved::Full) => sweep.held_up += 1,
                Err(NotMoved::Corrupt) => sweep.corrupt += 1,
            }
        }
        self.due = due;
        for group in self.is_touched.drain(..) {
            self.producer.wake(group);
        }
        sweep
    }

    /// Sleeps until something before `until_ns` may have to be moved, or so long.
    pub fn sleep(&mut self, until_ns: u64, time_max: Duration) {
        let gate = self.room.gate();
        let key = gate.epoch.0.load(Ordering::Acquire);
        gate.asleep_until_ns.store(until_ns, Ordering::Relaxed);
        // Full fence: it is said until when before the seats are looked at. Pairs with `wake_mover`.
        fence(Ordering::SeqCst);
        let until_ns = if self.room.is_hurried() { u64::MAX } else { until_ns };
        if !self.has_due_before(until_ns) {
            let time = Duration::from_nanos(until_ns.saturating_sub(monotonic_ns()));
            gate.epoch.sleep(key, Some(time.min(time_max)));
        }
        gate.asleep_until_ns.store(0, Ordering::Relaxed);
    }

    /// Does nothing for a while, as a ring is full; a wake ends it.
    pub fn pause(&self, time: Duration) {
        let epoch = &self.room.gate().epoch;
        epoch.sleep(epoch.0.load(Ordering::Acquire), Some(time));
    }

    /// Seats that were about to be moved when the predecessor died: pushed, or not.
    fn recover(&mut self) {
        for index in 0..self.room.seats.len() {
            let word = &self.room.seats[index].word;
            let Some(record) = SeatWord(word.load(Ordering::Acquire)).moved_as() else { continue };
            let (group, placement) = self.direction(index);
            let is_pushed = self.producer.next_record(group, placement).is_some_and(|next| record < next);
            let is_done = is_pushed && !mutant::MOVED_AGAIN_BY_SUCCESSOR;
            word.store(if is_done { SeatWord::FREE } else { SeatWord::WAITING }.0, Ordering::Release);
            if is_pushed {
                self.producer.wake(group);
            }
        }
    }

    /// Fills `due` with what is, and says when the next one will be.
    fn look(&mut self, until_ns: u64) -> Option<u64> {
        let mut next = None;
        self.due.clear();
        for (index, seat) in self.room.seats.iter().enumerate() {
            let Some(due_ns) = seat.due_of_waiting() else { continue };
            match due_ns <= until_ns {
                true => self.due.push((due_ns, index)),
                false => next = Some(next.map_or(due_ns, |earlier: u64| earlier.min(due_ns))),
            }
        }
        next
    }

    fn has_due_before(&self, until_ns: u64) -> bool {
        self.room.seats.iter().filter_map(Seat::due_of_waiting).any(|due_ns| due_ns < until_ns)
    }

    fn direction(&self, index: usize) -> (u32, Placement) {
        let direction = &self.room.directions[index];
        let (kind, hash) = (direction.kind.load(Ordering::Relaxed), direction.hash.load(Ordering::Relaxed));
        (direction.group.load(Ordering::Relaxed), decode_placement(kind, hash))
    }

    /// `since_ns` is when the message should have come into its ring.
    fn move_on(&mut self, index: usize, since_ns: u64) -> Result<(), NotMoved> {
        let word = &self.room.seats[index].word;
        let (group, placement) = self.direction(index);
        let lane = (group, self.producer.lane(group, placement).unwrap_or_default());
        if self.is_full.contains(&lane) {
            return Err(NotMoved::Full);
        }
        let size = self.room.directions[index].size.load(Ordering::Relaxed) as usize;
        // SAFETY: the seat was seen WAITING (Acquire), and this is the only process that takes it out of that state.
        let bytes = unsafe { self.room.bytes[index].view(0, size) };
        let record = bytes.and_then(|bytes| Some((bytes, Header::decode(bytes)?)));
        let next = self.producer.next_record(group, placement);
        let (Some((bytes, header)), Some(next)) = (record, next) else {
            word.store(SeatWord::FREE.0, Ordering::Release);
            return Err(NotMoved::Corrupt);
        };
        let parts = header.parts();
        let record = Record {
            meta: &bytes[parts.meta],
            body: &bytes[parts.body],
            xdata: &bytes[parts.xdata],
            // The wait in the queue begins here, also while the queue is full.
            received_at_ns: since_ns,
        };
        word.store(SeatWord::moving(next).0, Ordering::Release);
        pass(Point::SeatMoving);
        match self.producer.offer(group, placement, &record) {
            Ok(()) => {
                pass(Point::SeatMoved);
                // Release: the message has been read to its end before an usher writes over it.
                word.store(SeatWord::FREE.0, Ordering::Release);
                pass(Point::SeatFreed);
                if !self.is_touched.contains(&group) {
                    self.is_touched.push(group);
                }
                Ok(())
            }
            Err(PushError::Full) => {
                word.store(SeatWord::WAITING.0, Ordering::Release);
                self.is_full.push(lane);
                Err(NotMoved::Full)
            }
            Err(PushError::TooLarge) => {
                word.store(SeatWord::FREE.0, Ordering::Release);
                Err(NotMoved::Corrupt)
            }
        }
    }
}

enum NotMoved {
    Full,
    Corrupt,
}

impl Seat {
    fn due_of_waiting(&self) -> Option<u64> {
        // Acquire: pairs with the Release of `admit`; the time belongs to this message.
        let is_waiting = self.word.load(Ordering::Acquire) == SeatWord::WAITING.0;
        is_waiting.then(|| self.due_ns.load(Ordering::Relaxed))
    }
}

fn encode_placement(placement: Placement) -> (u32, u64) {
    match placement {
        Placement::Usual => (0, 0),
        Placement::Urgent => (1, 0),
        Placement::Keyed(hash) => (2, hash),
    }
}

fn decode_placement(kind: u32, hash: u64) -> Placement {
    match kind {
        1 => Placement::Urgent,
        2 => Placement::Keyed(hash),
        _ => Placement::Usual,
    }
}

/// Most messages that may wait at the same time: their memory is reserved, not used.
pub const SEATS_MAX: u32 = 1 << 16;
/// Processes begin to look for a seat so far from each other.
const SEATS_APART: usize = 61;

const _: () = assert!(HEADER_SIZE < RECORD_SIZE_MAX);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::{GroupPlan, Lanes, QueuePlan, Queues};

    const NEVER: Duration = Duration::ZERO;

    struct Scene {
        queues: Queues,
        room: WaitingRoom,
    }

    fn scene(seats: u32, queue: u32) -> Scene {
        let group = |name: &str| GroupPlan::new(name, 1, queue);
        let urgent = GroupPlan { lanes: Lanes::Urgent, ..group("urgent") };
        let plan = QueuePlan { producers: 1, groups: vec![group("calls"), urgent] };
        Scene {
            queues: Queues::create(&plan).expect("memory"),
            room: WaitingRoom::create(seats).expect("memory"),
        }
    }

    impl Scene {
        fn mover(&self) -> Mover {
            self.room.mover(self.queues.producer(0))
        }

        fn admit(&self, due_ns: u64, group: u32, body: &[u8]) -> Result<(), PushError> {
            self.room.usher(7).admit(due_ns, group, Placement::Usual, &record(body))
        }

        fn served(&self, group: u32) -> Vec<u8> {
            let mut consumer = self.queues.consumer(group, 0);
            let mut bodies = Vec::new();
            while let Some(delivery) = consumer.next() {
                assert_eq!((delivery.meta(), delivery.xdata()), (&b"meta"[..], &b"extra"[..]));
                bodies.push(delivery.body()[0]);
                delivery.finish();
            }
            bodies
        }

        fn word(&self, index: usize) -> &AtomicU64 {
            &self.room.seats[index].word
        }
    }

    fn record(body: &[u8]) -> Record<'_> {
        Record { meta: b"meta", body, xdata: b"extra", received_at_ns: 5 }
    }

    #[test]
    fn what_is_due_is_moved_and_the_rest_waits() {
        let scene = scene(4, 8);
        for (due_ns, body) in [(30, 3), (10, 1), (20, 2)] {
            scene.admit(due_ns, 0, &[body]).unwrap();
        }
        let mut mover = scene.mover();
        let sweep = mover.sweep(20);
        assert_eq!(sweep, Sweep { moved: 2, next_due_ns: Some(30), ..Sweep::default() });
        assert_eq!((scene.served(0), scene.room.taken_count()), (vec![1, 2], 1));
        assert_eq!(mover.sweep(29).moved, 0);
        assert_eq!(mover.sweep(30), Sweep { moved: 1, ..Sweep::default() });
        assert_eq!((scene.served(0), scene.room.is_empty()), (vec![3], true));
    }

    #[test]
    fn a_message_keeps_its_group_and_its_lane() {
        let scene = scene(4, 8);
        let mut usher = scene.room.usher(1);
        usher.admit(1, 1, Placement::Usual, &record(&[1])).unwrap();
        usher.admit(2, 1, Placement::Urgent, &record(&[2])).unwrap();
        usher.admit(3, 0, Placement::Keyed(77), &record(&[3])).unwrap();
        assert_eq!(scene.mover().sweep(3).moved, 3);
        assert_eq!((scene.served(1), scene.served(0)), (vec![2, 1], vec![3]));
    }

    #[test]
    fn who_finds_no_seat_is_told_and_seats_are_used_again() {
        let scene = scene(2, 8);
        for _ in 0..5 {
            assert_eq!((scene.admit(0, 0, b"a"), scene.admit(0, 0, b"b")), (Ok(()), Ok(())));
            assert_eq!(scene.admit(0, 0, b"c"), Err(PushError::Full));
            assert_eq!(scene.mover().sweep(0).moved, 2);
            assert_eq!(scene.served(0).len(), 2);
        }
        let huge = vec![b'x'; RECORD_SIZE_MAX as usize];
        assert_eq!(scene.admit(0, 0, &huge), Err(PushError::TooLarge));
    }

    #[test]
    fn a_full_ring_leaves_what_is_due_where_it_is() {
        let scene = scene(4, 2);
        (0..4).for_each(|body| scene.admit(u64::from(body), 0, &[body]).unwrap());
        let mut mover = scene.mover();
        assert_eq!(mover.sweep(9), Sweep { moved: 2, held_up: 2, ..Sweep::default() });
        assert_eq!((scene.served(0), scene.room.taken_count()), (vec![0, 1], 2));
        assert_eq!(mover.sweep(9).moved, 2);
        assert_eq!(scene.served(0), [2, 3]);
    }

    #[test]
    fn nobody_overtakes_a_message_that_a_full_ring_holds_up() {
        let scene = scene(16, 64);
        // Seven large ones fill the ring, and a small one would fit beside them.
        for body in 0..9 {
            let size = if body == 8 { 1 } else { RECORD_SIZE_MAX as usize - 100 };
            scene.admit(u64::from(body), 0, &vec![body; size]).unwrap();
        }
        scene.admit(9, 1, &[9]).unwrap();
        let mut mover = scene.mover();
        let sweep = mover.sweep(9);
        assert_eq!(sweep, Sweep { moved: 8, held_up: 2, ..Sweep::default() });
        assert_eq!(scene.served(1), [9], "another group is not held up");
        let mut served = scene.served(0);
        while mover.sweep(9).moved > 0 {
            served.extend(scene.served(0));
        }
        assert_eq!(served, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn who_is_held_up_grows_older_and_is_not_counted_as_refused() {
        let scene = scene(4, 2);
        let began_ns = monotonic_ns() - 5_000_000_000;
        (0..3).for_each(|body| scene.admit(began_ns, 0, &[body]).unwrap());
        let mut mover = scene.mover();
        (0..3).for_each(|_| assert_eq!(mover.sweep(monotonic_ns()).held_up, 1));
        assert_eq!(scene.served(0).len(), 2);
        assert_eq!((mover.sweep(monotonic_ns()).moved, scene.queues.group_statistics(0).full), (1, 0));
        let mut consumer = scene.queues.consumer(0, 0);
        let delivery = consumer.next().unwrap();
        assert!(delivery.queued_ns() >= 5_000_000_000, "{}", delivery.queued_ns());
        delivery.finish();
        // Nobody is older than it would have been without a hurry.
        scene.admit(u64::MAX, 0, b"a").unwrap();
        scene.room.hurry();
        assert_eq!(mover.sweep(monotonic_ns()).moved, 1);
        assert!(consumer.next().unwrap().queued_ns() < 5_000_000_000);
    }

    #[test]
    fn in_a_hurry_nobody_waits() {
        let scene = scene(2, 8);
        scene.admit(u64::MAX, 0, b"a").unwrap();
        let mut mover = scene.mover();
        assert_eq!(mover.sweep(5).next_due_ns, Some(u64::MAX));
        scene.room.hurry();
        assert!(scene.room.usher(0).is_hurried());
        assert_eq!(mover.sweep(5).moved, 1);
    }

    #[test]
    fn a_seat_that_a_dead_process_was_filling_is_free_again() {
        let scene = scene(1, 8);
        scene.word(0).store(SeatWord::filling(3).0, Ordering::Relaxed);
        assert_eq!(scene.admit(0, 0, b"a"), Err(PushError::Full));
        assert_eq!(scene.mover().sweep(u64::MAX), Sweep::default());
        scene.room.forget(4);
        assert!(!scene.room.is_empty());
        scene.room.forget(3);
        assert_eq!(scene.admit(0, 0, b"a"), Ok(()));
        // What waits is nobody's: the death of who brought it changes nothing.
        scene.room.forget(7);
        assert_eq!(scene.mover().sweep(0).moved, 1);
    }

    #[test]
    fn a_successor_knows_whether_the_message_was_moved() {
        let scene = scene(2, 8);
        scene.admit(0, 0, &[1]).unwrap();
        let next = scene.queues.producer(0).next_record(0, Placement::Usual).unwrap();
        // Given a mover that died before the push.
        let index = (0..2).find(|index| scene.word(*index).load(Ordering::Relaxed) != 0).unwrap();
        scene.word(index).store(SeatWord::moving(next).0, Ordering::Relaxed);
        assert_eq!(scene.mover().sweep(0).moved, 1);
        assert_eq!(scene.served(0), [1]);
        // And one that died behind it.
        scene.admit(0, 0, &[2]).unwrap();
        assert_eq!(scene.mover().sweep(0).moved, 1);
        scene.word(index).store(SeatWord::moving(next + 1).0, Ordering::Relaxed);
        assert_eq!(scene.mover().sweep(0).moved, 0);
        assert_eq!((scene.served(0), scene.room.is_empty()), (vec![2], true));
    }

    #[test]
    fn what_cannot_be_true_is_counted_and_gone() {
        let check = |deface: fn(&Direction)| {
            let scene = scene(1, 8);
            scene.admit(0, 0, b"a").unwrap();
            deface(&scene.room.directions[0]);
            assert_eq!(scene.mover().sweep(0), Sweep { corrupt: 1, ..Sweep::default() });
            assert!(scene.room.is_empty());
        };
        check(|direction| direction.group.store(9, Ordering::Relaxed));
        check(|direction| direction.size.store(9, Ordering::Relaxed));
        check(|direction| direction.size.store(u32::MAX, Ordering::Relaxed));
    }

    #[test]
    fn a_sleeper_is_woken_by_what_is_due_sooner_and_by_a_hurry() {
        let scene = scene(2, 8);
        let far = monotonic_ns() + 3_600_000_000_000;
        let check = |act: &(dyn Fn() + Sync)| {
            std::thread::scope(|scope| {
                let room = scene.room.clone();
                let sleeper = scope.spawn(|| {
                    let mut mover = scene.mover();
                    while mover.sweep(monotonic_ns()).moved == 0 {
                        mover.sleep(far, Duration::from_secs(60));
                    }
                });
                while room.gate().asleep_until_ns.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                }
                act();
                sleeper.join().expect("it was woken");
            });
        };
        check(&|| scene.admit(0, 0, b"a").unwrap());
        scene.admit(far + 1, 0, b"b").unwrap();
        check(&|| scene.room.hurry());
        scene.mover().pause(NEVER);
    }

    #[test]
    fn impossible_rooms_are_refused() {
        for count in [0, SEATS_MAX + 1] {
            let error = WaitingRoom::create(count).err().expect("refused").to_string();
            assert_eq!(
                error,
                format!("cannot reserve {count} slots for delayed messages: the limits are 1 and 65536")
            );
        }
    }
}
