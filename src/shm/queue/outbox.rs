//! What a process sends, in memory that outlives it: packets lie here from `put` until the kernel has taken them.
//!
//! ```text
//!  put    bytes ─► arena ─► entry: listener, address, offset, size ─► put + 1        from here on it leaves
//!  flush  packets sent..put ─► carry (one sendmmsg) ─► sent + count ─► … ─► empty, the arena begins anew
//!
//!  use    0 ──master: its process died and has no successor soon──► ABANDONED ─CAS─► ADOPTED|process ─► 0
//!                                                                      └──master: a successor starts──► 0
//! ```
//!
//! **A delivery may be finished when everything it sends lies here.** What that means in the life of a message:
//!
//! | moment | what the outbox does |
//! |---|---|
//! | a worker's script sends | `put`; the delivery is finished as soon as the script ends, whether or not it has left |
//! | killed before `put` is raised | the packet is not there; its delivery is not finished, and the successor composes it again |
//! | killed after `put` is raised, before `finish` | the successor flushes it and then gets the delivery again: sent twice, as when a process is killed between a send and `finish` |
//! | killed after `finish` | the successor flushes it: sent once |
//! | killed between the kernel's call and `sent` | the successor flushes the same packets once more: at most [`BATCH_COUNT`], to the byte |
//! | a receiver answers by itself | its batch in memory is released message by message, each after its sends lie here |
//! | the place is not filled again soon | the master marks the outbox; the next worker or receiver that is about to wait adopts it |
//! | a group with order | its shard is given back only when the outbox is empty, also by the master after a death |
//! | a stop, a reload | a process flushes before it exits; a place whose outbox is not empty is filled once more |
//!
//! **Invariants**
//! - One process uses an outbox: the one of its place; after the death of that one, which `waitpid` has confirmed, its
//!   successor, or the one process that adopted it. The master starts no successor while somebody has it adopted, and
//!   gives an adopted one back when the adopter has died. The master itself never sends.
//! - `put` and `sent` only grow. `put` is raised after the packet is complete, `sent` after the kernel has answered for
//!   it. A packet the kernel refuses is answered for as well: it is the carrier's to count it, and it holds up no other.
//! - An outbox is empty before its process waits. So nothing lies here for longer than its process is busy.
//! - Places and sizes in an entry are checked before use: what cannot be true is passed over and counted.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::shm::memory::part::{Owner, Part, Tended};
use crate::shm::memory::segment::{BytesPlace, Place, Plan, Segment, Shareable, Shared, SharedBytes};
use crate::shm::memory::sync::{AtomicU32, AtomicU64, Ordering};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;

/// Packets that lie in an outbox at most: one kernel call.
pub const BATCH_COUNT: usize = 32;

/// Bytes of all packets in an outbox: room for the largest datagram, or for a batch of two kilobytes each.
const ARENA_SIZE: usize = if cfg!(loom) { 128 } else { 65_536 };

/// Something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Index of the listener it leaves by.
    pub listener: u16,
    /// Where it goes.
    pub to: SocketAddr,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Why a packet does not lie in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutError {
    /// Flush first.
    Full,
    /// No outbox has room for it, and no datagram is so large.
    TooLarge,
}

/// How far an outbox is. Written by the one process that uses it.
#[derive(Default)]
#[repr(C, align(128))]
struct Progress {
    /// Packets that were put here.
    put: AtomicU64,
    /// Packets that the kernel has answered for.
    sent: AtomicU64,
}

// SAFETY: atomic integers and padding only.
unsafe impl Shareable for Progress {}

/// One packet without its bytes.
#[derive(Default)]
#[repr(C)]
struct Entry {
    /// Where its bytes are: offset, size.
    place: AtomicU64,
    /// Listener, port, and whether the address is of version 6.
    flow: AtomicU64,
    /// The address, and for version 6 flow information and scope.
    address: [AtomicU64; 3],
}

// SAFETY: atomic integers only.
unsafe impl Shareable for Entry {}

/// Who may use an outbox besides the process of its place. Apart from what that process writes, as all others read it.
#[derive(Default)]
#[repr(transparent)]
struct Use(AtomicU32);

// SAFETY: one atomic integer.
unsafe impl Shareable for Use {}

const OWN: u32 = 0;
const ABANDONED: u32 = 1;
/// And the process after it.
const ADOPTED: u32 = 1 << 31;

/// Where all outboxes are.
pub(crate) struct OutboxesPlace {
    planned: Vec<Option<Planned>>,
    uses: Place<Use>,
}

struct Planned {
    progress: Place<Progress>,
    entries: Place<Entry>,
    bytes: BytesPlace,
}

/// The memory of one outbox.
#[derive(Clone)]
struct Memory {
    progress: Shared<Progress>,
    entries: Shared<Entry>,
    bytes: SharedBytes,
}

/// The outboxes of all processes that send, by the index of the process. Made by the master before the first fork.
#[derive(Clone)]
pub struct Outboxes {
    uses: Shared<Use>,
    memory: Vec<Option<Memory>>,
}

impl Part for Outboxes {
    const NAME: &'static CStr = c"sworker-outboxes";
    /// For each process, whether it has one.
    type Request = Vec<bool>;
    type Place = OutboxesPlace;
    type Error = io::Error;

    fn reserve(has_one: &Vec<bool>, plan: &mut Plan) -> io::Result<OutboxesPlace> {
        let mut reserve = |has_one: &bool| {
            has_one.then(|| Planned {
                progress: plan.reserve(1),
                entries: plan.reserve(BATCH_COUNT),
                bytes: plan.reserve_bytes(ARENA_SIZE, ARENA_SIZE),
            })
        };
        let planned: Vec<_> = has_one.iter().map(&mut reserve).collect();
        Ok(OutboxesPlace { uses: plan.reserve(planned.len()), planned })
    }

    fn claim(place: OutboxesPlace, segment: &Segment) -> Outboxes {
        let OutboxesPlace { planned, uses } = place;
        let memory = planned.into_iter().map(|planned| Some(Memory::create(segment, planned?))).collect();
        Outboxes { uses: segment.claim(uses), memory }
    }
}

impl Tended for Outboxes {
    /// What the dead process had adopted may be adopted once more.
    fn after_death(&self, dead: Owner) {
        // Outboxes are made for one generation, so the index alone names the process.
        let process = u32::from(dead.index);
        for (index, _) in (0..).zip(self.uses.iter()) {
            let left = if self.waiting(index) > 0 { ABANDONED } else { OWN };
            self.exchange(index, ADOPTED | process, left);
        }
    }

    fn unfinished(&self) -> (u64, &'static str) {
        let count = (0..self.uses.len() as u32).map(|process| self.waiting(process)).sum();
        (count, "messages that were about to be sent")
    }
}

impl Outboxes {
    /// One for each process of which `has_one` says so.
    pub fn create(has_one: impl Iterator<Item = bool>) -> io::Result<Outboxes> {
        Self::make(&has_one.collect())
    }

    /// The outbox of this process, with what a dead predecessor left there; `None` where none was planned. There must be
    /// no other process with this index, and [`may_start`](Self::may_start) said yes before this one was forked.
    pub fn attach(&self, process: u32) -> Option<SharedOutbox> {
        self.memory(process).cloned().map(SharedOutbox::attach)
    }

    /// Packets that lie in the outbox of this process. For everybody else it is a number of a moment ago.
    pub fn waiting(&self, process: u32) -> u64 {
        self.memory(process).map_or(0, Memory::waiting)
    }

    /// For the master: no successor comes soon, so whoever finds it may send what lies there. Whether anything does.
    /// May be said again and again.
    pub fn abandon(&self, process: u32) -> bool {
        let is_left = self.waiting(process) > 0;
        if is_left {
            // Release: all of what the dead process wrote, which the master knows by `waitpid`, comes before it.
            let _ = self.exchange(process, OWN, ABANDONED);
        }
        is_left
    }

    /// For the master, before it forks a process with this index: whether nobody else uses the outbox, and from now on
    /// nobody will.
    pub fn may_start(&self, process: u32) -> bool {
        let Some(word) = self.uses.get(process as usize) else { return true };
        let value = word.0.load(Ordering::Acquire);
        let adopter = value & !ADOPTED;
        // A word that no process can have written keeps no place empty.
        let is_adopted = value & ADOPTED != 0 && adopter != process && (adopter as usize) < self.uses.len();
        mutant::START_BESIDE_ADOPTER || value == OWN || (!is_adopted && self.exchange(process, value, OWN))
    }

    /// An outbox that a dead process left and nobody else has adopted, for `process`, which flushes it and gives it back.
    pub fn adopt(&self, process: u32) -> Option<Adopted<'_>> {
        let is_abandoned = |word: &Use| word.0.load(Ordering::Relaxed) == ABANDONED;
        let index = self.uses.iter().position(is_abandoned)? as u32;
        if !self.exchange(index, ABANDONED, ADOPTED | process) {
            return None;
        }
        pass(Point::OutboxAdopted);
        let outbox = SharedOutbox::attach(self.memory(index)?.clone());
        Some(Adopted { all: self, index, process, outbox })
    }

    /// Acquire and Release: who has taken the outbox sees what the one before wrote, in both directions.
    fn exchange(&self, index: u32, from: u32, to: u32) -> bool {
        let word = &self.uses[index as usize].0;
        word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn memory(&self, process: u32) -> Option<&Memory> {
        self.memory.get(process as usize)?.as_ref()
    }
}

impl Memory {
    fn create(segment: &Segment, planned: Planned) -> Memory {
        Memory {
            progress: segment.claim(planned.progress),
            entries: segment.claim(planned.entries),
            bytes: segment.claim_bytes(planned.bytes),
        }
    }

    fn waiting(&self) -> u64 {
        let progress = &self.progress[0];
        let sent = progress.sent.load(Ordering::Acquire);
        progress.put.load(Ordering::Acquire).saturating_sub(sent)
    }

    fn entry(&self, number: u64) -> &Entry {
        &self.entries[(number % BATCH_COUNT as u64) as usize]
    }
}

/// An outbox that its process has died over, in the hands of another one.
pub struct Adopted<'o> {
    all: &'o Outboxes,
    index: u32,
    process: u32,
    /// What is to be flushed.
    pub outbox: SharedOutbox,
}

impl Adopted<'_> {
    /// It is empty now: its place may be filled again. One that is not stays adopted until this process has died.
    pub fn give_back(self) {
        if self.outbox.is_empty() {
            self.all.exchange(self.index, ADOPTED | self.process, OWN);
            pass(Point::OutboxGivenBack);
        }
    }
}

/// The one end of an outbox.
pub struct SharedOutbox {
    memory: Memory,
    put: u64,
    sent: u64,
    /// Where the bytes of the next packet go.
    end: usize,
    /// Packets that could not be what a process puts here.
    corrupt_count: u64,
}

impl SharedOutbox {
    fn attach(memory: Memory) -> SharedOutbox {
        let (put, sent) = {
            let progress = &memory.progress[0];
            (progress.put.load(Ordering::Acquire), progress.sent.load(Ordering::Acquire))
        };
        // Behind what a predecessor left there is no room until that is sent.
        let end = if put == sent { 0 } else { ARENA_SIZE };
        let mut outbox = SharedOutbox { memory, put, sent, end, corrupt_count: 0 };
        // More than a batch is nothing that the protocol leaves.
        if put.checked_sub(sent).is_none_or(|count| count > BATCH_COUNT as u64) {
            outbox.corrupt_count = 1;
            outbox.note_sent(put);
        }
        outbox
    }

    /// Release: the kernel has answered for all packets before this number.
    fn note_sent(&mut self, number: u64) {
        self.sent = number;
        self.memory.progress[0].sent.store(number, Ordering::Release);
        if self.is_empty() {
            self.end = 0;
        }
    }

    /// Packets that lie here.
    #[inline]
    pub fn len(&self) -> usize {
        (self.put - self.sent) as usize
    }

    /// Whether everything has left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.put == self.sent
    }

    /// Whether a whole batch lies here.
    pub fn is_full(&self) -> bool {
        self.len() == BATCH_COUNT
    }

    /// Packets that were passed over because they could not be any, since this was asked last.
    pub fn take_corrupt_count(&mut self) -> u64 {
        std::mem::take(&mut self.corrupt_count)
    }

    /// Takes a copy. From its return on the packet leaves, whoever dies.
    #[inline]
    pub fn put(&mut self, packet: &Packet<'_>) -> Result<(), PutError> {
        let size = packet.bytes.len();
        if size > ARENA_SIZE {
            return Err(PutError::TooLarge);
        }
        if self.is_full() || size > ARENA_SIZE - self.end {
            return Err(PutError::Full);
        }
        if mutant::PUT_BEFORE_PACKET {
            self.memory.progress[0].put.store(self.put + 1, Ordering::Release);
        }
        // SAFETY: this is the one process that uses the outbox, and bytes from `end` on belong to no packet in it.
        unsafe { self.memory.bytes.write(self.end, packet.bytes) }.ok_or(PutError::TooLarge)?;
        pass(Point::OutboxWritten);
        self.memory.entry(self.put).describe(self.end, packet);
        pass(Point::OutboxDescribed);
        self.end += size;
        self.put += 1;
        // Release, and last: whoever finds the number finds the packet.
        self.memory.progress[0].put.store(self.put, Ordering::Release);
        pass(Point::OutboxPut);
        Ok(())
    }

    /// Hands everything to `carry` until all has left. `carry` is shown what waits, in order, and says how many from the
    /// first on have left or been refused, at least one.
    pub fn flush(&mut self, mut carry: impl FnMut(&Pending<'_>) -> usize) {
        while !self.is_empty() {
            if mutant::SENT_BEFORE_CARRIED {
                self.memory.progress[0].sent.store(self.put, Ordering::Release);
            }
            pass(Point::OutboxFlushed);
            let pending = Pending { memory: &self.memory, first: self.sent, count: self.len() };
            let count = carry(&pending).clamp(1, self.len());
            self.corrupt_count += (0..count).filter(|index| pending.packet(*index).is_none()).count() as u64;
            pass(Point::OutboxCarried);
            self.note_sent(self.sent + count as u64);
            pass(Point::OutboxSent);
        }
    }
}

impl Entry {
    fn describe(&self, offset: usize, packet: &Packet<'_>) {
        let store = |word: &AtomicU64, value: u64| word.store(value, Ordering::Relaxed);
        let (version, address) = match packet.to {
            SocketAddr::V4(to) => (0, [u64::from(to.ip().to_bits()), 0, 0]),
            SocketAddr::V6(to) => {
                let bits = to.ip().to_bits();
                let beside = u64::from(to.flowinfo()) << 32 | u64::from(to.scope_id());
                (IS_V6, [(bits >> 64) as u64, bits as u64, beside])
            }
        };
        store(&self.place, (offset as u64) << 32 | packet.bytes.len() as u64);
        store(&self.flow, version | u64::from(packet.listener) << 16 | u64::from(packet.to.port()));
        self.address.iter().zip(address).for_each(|(word, value)| store(word, value));
    }

    fn to(&self) -> SocketAddr {
        let flow = self.flow.load(Ordering::Relaxed);
        let [first, second, beside] = [0, 1, 2].map(|index| self.address[index].load(Ordering::Relaxed));
        if flow & IS_V6 == 0 {
            return SocketAddr::new(IpAddr::V4((first as u32).into()), flow as u16);
        }
        let address = (u128::from(first) << 64 | u128::from(second)).into();
        SocketAddr::V6(SocketAddrV6::new(address, flow as u16, (beside >> 32) as u32, beside as u32))
    }
}

const IS_V6: u64 = 1 << 32;

/// What waits in an outbox while it is flushed.
pub struct Pending<'o> {
    memory: &'o Memory,
    first: u64,
    count: usize,
}

impl<'o> Pending<'o> {
    /// How many packets.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The packet at this place, from 0; `None` when the slot is not valid.
    pub fn packet(&self, index: usize) -> Option<Packet<'o>> {
        let entry = (index < self.count).then(|| self.memory.entry(self.first + index as u64))?;
        let place = entry.place.load(Ordering::Relaxed);
        // SAFETY: the process that uses the outbox writes bytes only in `put`, which needs the outbox mutably; this
        // borrows from it.
        let bytes = unsafe { self.memory.bytes.view((place >> 32) as usize, place as u32 as usize) }?;
        let listener = (entry.flow.load(Ordering::Relaxed) >> 16) as u16;
        Some(Packet { listener, to: entry.to(), bytes })
    }

    /// The first packets, as long as they leave by the listener of the first one; none when the first one cannot be one.
    pub fn of_one_listener(&self) -> impl Iterator<Item = Packet<'o>> {
        let listener = self.packet(0).map(|packet| packet.listener);
        (0..self.count)
            .map_while(|index| self.packet(index))
            .take_while(move |packet| Some(packet.listener) == listener)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SENDER: u32 = 1;
    const OTHER: u32 = 2;

    fn outboxes() -> Outboxes {
        Outboxes::create([false, true, true].into_iter()).expect("memory")
    }

    fn packet<'a>(to: &str, bytes: &'a [u8]) -> Packet<'a> {
        Packet { listener: 3, to: to.parse().unwrap(), bytes }
    }

    fn put(outbox: &mut SharedOutbox, text: &str) {
        outbox.put(&packet("127.0.0.1:5060", text.as_bytes())).expect("room");
    }

    /// What leaves, when the kernel takes so many at a time.
    fn flushed(outbox: &mut SharedOutbox, at_a_time: usize) -> Vec<String> {
        let mut left = Vec::new();
        outbox.flush(|pending| {
            let count = at_a_time.min(pending.len());
            left.extend((0..count).filter_map(|index| pending.packet(index)).map(text));
            count
        });
        left
    }

    fn text(packet: Packet<'_>) -> String {
        String::from_utf8(packet.bytes.to_vec()).unwrap()
    }

    #[test]
    fn packets_leave_as_they_came_whatever_the_kernel_takes_at_a_time() {
        let outboxes = outboxes();
        let mut outbox = outboxes.attach(SENDER).unwrap();
        let rows =
            ["127.0.0.1:5060", "255.255.255.255:65535", "[::1]:1", "[fe80::1%7]:5061", "[2001:db8::9]:0"];
        for at_a_time in [1, 2, 32, 1_000] {
            let packets: Vec<_> = rows.iter().map(|to| packet(to, to.as_bytes())).collect();
            packets.iter().for_each(|packet| outbox.put(packet).unwrap());
            assert_eq!((outbox.len(), outboxes.waiting(SENDER)), (rows.len(), rows.len() as u64));
            let mut left = 0;
            outbox.flush(|pending| {
                let count = at_a_time.min(pending.len());
                for index in 0..count {
                    assert_eq!(pending.packet(index), Some(packets[left + index]));
                }
                assert_eq!(pending.packet(pending.len()), None);
                left += count;
                count
            });
            assert_eq!((left, outboxes.waiting(SENDER)), (rows.len(), 0));
        }
    }

    #[test]
    fn packets_of_one_listener_go_together() {
        let outboxes = outboxes();
        let mut outbox = outboxes.attach(SENDER).unwrap();
        for (listener, bytes) in [(1, b"a"), (1, b"b"), (0, b"c"), (1, b"d")] {
            outbox.put(&Packet { listener, ..packet("127.0.0.1:1", bytes) }).unwrap();
        }
        let mut calls = Vec::new();
        outbox.flush(|pending| {
            let together: Vec<_> = pending.of_one_listener().map(text).collect();
            let count = together.len();
            calls.push(together.concat());
            count
        });
        assert_eq!(calls, ["ab", "c", "d"]);
    }

    #[test]
    fn an_outbox_is_full_by_count_or_by_size_and_has_room_again_when_flushed() {
        let outboxes = outboxes();
        let mut outbox = outboxes.attach(SENDER).unwrap();
        let large = vec![7; ARENA_SIZE];
        let check = |sizes: &[usize], next: usize, expected: Result<(), PutError>| {
            let mut outbox = outboxes.attach(OTHER).unwrap();
            for size in sizes {
                outbox.put(&packet("127.0.0.1:1", &large[..*size])).unwrap();
            }
            let found = outbox.put(&packet("127.0.0.1:1", &vec![1; next]));
            assert_eq!(found, expected, "{sizes:?} {next}");
            flushed(&mut outbox, 32);
            assert!(outbox.put(&packet("127.0.0.1:1", &large)).is_ok(), "{sizes:?} {next}");
            outbox.flush(|pending| pending.len());
        };
        check(&[1; 31], 1, Ok(()));
        check(&[1; 32], 1, Err(PutError::Full));
        check(&[0; 32], 0, Err(PutError::Full));
        check(&[65_507], 29, Ok(()));
        check(&[65_507], 30, Err(PutError::Full));
        check(&[], ARENA_SIZE, Ok(()));
        check(&[], ARENA_SIZE + 1, Err(PutError::TooLarge));
        check(&[1; 32], ARENA_SIZE + 1, Err(PutError::TooLarge));
        assert_eq!(outbox.put(&packet("127.0.0.1:1", b"")), Ok(()));
    }

    #[test]
    fn a_successor_sends_first_what_its_predecessor_left() {
        let outboxes = outboxes();
        let mut dead = outboxes.attach(SENDER).unwrap();
        (0..3).for_each(|number| put(&mut dead, &number.to_string()));
        // The kernel has taken all three; the death came before the second answer was noted.
        let mut calls = 0;
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            dead.flush(|_| {
                calls += 1;
                assert!(calls < 2, "died here");
                1
            });
        }));
        assert!(died.is_err());
        let mut successor = outboxes.attach(SENDER).unwrap();
        assert_eq!(successor.len(), 2);
        let next = packet("127.0.0.1:1", b"new");
        assert_eq!(successor.put(&next), Err(PutError::Full), "first what was left");
        assert_eq!(flushed(&mut successor, 32), ["1", "2"]);
        assert_eq!(successor.put(&next), Ok(()));
        assert_eq!(flushed(&mut successor, 32), ["new"]);
        assert!(outboxes.attach(SENDER).unwrap().is_empty());
    }

    #[test]
    fn an_abandoned_outbox_has_one_user_at_a_time() {
        let outboxes = outboxes();
        assert!(!outboxes.abandon(SENDER) && outboxes.adopt(OTHER).is_none(), "nothing lies there");
        put(&mut outboxes.attach(SENDER).unwrap(), "left");
        assert!(outboxes.adopt(OTHER).is_none(), "nobody abandoned it");
        assert!(outboxes.may_start(SENDER));

        assert!(outboxes.abandon(SENDER) && outboxes.abandon(SENDER));
        let adopted = outboxes.adopt(OTHER).expect("abandoned");
        assert!(outboxes.adopt(0).is_none(), "somebody has it");
        assert!(!outboxes.may_start(SENDER) && outboxes.abandon(SENDER) && !outboxes.may_start(SENDER));
        // The adopter dies.
        drop(adopted);
        outboxes.after_death(Owner::new(0, 0));
        assert!(!outboxes.may_start(SENDER), "another one has died");
        outboxes.after_death(Owner::new(0, OTHER));
        let mut adopted = outboxes.adopt(0).expect("abandoned once more");
        assert_eq!(flushed(&mut adopted.outbox, 1), ["left"]);
        adopted.give_back();
        assert!(outboxes.may_start(SENDER) && !outboxes.abandon(SENDER));

        // A successor comes before anybody has adopted it.
        put(&mut outboxes.attach(SENDER).unwrap(), "kept");
        assert!(outboxes.abandon(SENDER) && outboxes.may_start(SENDER) && outboxes.adopt(OTHER).is_none());
        assert_eq!(flushed(&mut outboxes.attach(SENDER).unwrap(), 32), ["kept"]);
        // An adopter that dies when all is sent leaves nothing to adopt.
        put(&mut outboxes.attach(SENDER).unwrap(), "last");
        outboxes.abandon(SENDER);
        flushed(&mut outboxes.adopt(OTHER).unwrap().outbox, 32);
        outboxes.after_death(Owner::new(0, OTHER));
        assert!(outboxes.may_start(SENDER) && outboxes.adopt(0).is_none());
        assert!(outboxes.may_start(0) && outboxes.attach(0).is_none(), "this process sends nothing");
    }

    #[test]
    fn what_cannot_be_a_packet_is_passed_over_and_counted() {
        let outboxes = outboxes();
        let memory = outboxes.memory(SENDER).unwrap();
        let mut outbox = outboxes.attach(SENDER).unwrap();
        for text in ["a", "b", "c"] {
            put(&mut outbox, text);
        }
        memory.entry(1).place.store(u64::MAX, Ordering::Relaxed);
        let mut left = Vec::new();
        outbox.flush(|pending| {
            let together: Vec<_> = pending.of_one_listener().map(text).collect();
            let count = together.len();
            left.extend(together);
            count
        });
        assert_eq!((left, outbox.take_corrupt_count()), (vec!["a".to_owned(), "c".to_owned()], 1));

        for (put, sent) in [(0, 1), (u64::MAX, 0), (40, 7)] {
            memory.progress[0].put.store(put, Ordering::Relaxed);
            memory.progress[0].sent.store(sent, Ordering::Relaxed);
            let mut outbox = outboxes.attach(SENDER).unwrap();
            assert_eq!((outbox.len(), outbox.take_corrupt_count()), (0, 1), "{put} {sent}");
        }
    }

    #[test]
    fn a_word_that_no_process_wrote_keeps_no_place_empty() {
        let outboxes = outboxes();
        let place = SENDER as usize;
        for damaged in [2, ADOPTED | SENDER, ADOPTED | 99, u32::MAX] {
            outboxes.uses[place].0.store(damaged, Ordering::Release);
            assert!(outboxes.may_start(SENDER), "{damaged:#x}");
            assert_eq!(outboxes.uses[place].0.load(Ordering::Acquire), OWN);
        }
    }
}
