//! One ring: a single producer hands records to the workers of one group.
//!
//! ```text
//!  RingControl   producer's lines: tail, head, figures        workers' line: hint
//!  Descriptor[n] { word, offset, size }     word says who owns the record (see `word`)
//!  arena         the bytes, in the order of the records (see `arena`)
//!
//!  producer: bytes ─► offset, size ─► word = READY (Release) ─► tail
//!  worker:   word READY ─CAS─► CLAIMED|w ─► copy out ─► hold in the slot ─► word = DONE (Release)
//!  producer: word DONE (Acquire) ─► head ─► the bytes are free again
//! ```
//!
//! **Invariants**
//! - The bytes of a record are written only before READY, by the producer, and read only by the worker that CLAIMED
//!   names (or by the master when that worker is dead). They are reused only after DONE.
//! - READY is the only store that makes anything of a push visible; a producer killed before it has done nothing.
//! - A record leaves READY by one compare-and-swap and never returns to it, so every record below `hint`, and below
//!   any private cursor, has been claimed. Its producer may be the one that takes it, back, to make room
//!   ([`Overflow::DropOldest`]): straight to DONE, as it owns the bytes anyway.
//! - No process waits for another: the producer returns "full", a worker walks past records that others have claimed.
//! - Stores that repair interprets are Release stores: they reach memory in the order of the program, and a process
//!   killed between two of them leaves exactly the earlier ones.

use super::arena::{Arena, LINE_SIZE};
use super::queues::Overflow;
use super::record::{HEADER_SIZE, History, RECORD_SIZE_MAX, Record, RecordHeader};
use super::shard::Shards;
use crate::shm::memory::segment::{BytesPlace, Place, Plan, Segment, Shareable, Shared, SharedBytes};
use crate::shm::memory::sync::{AtomicU32, AtomicU64, Figure, Ordering};
use crate::shm::memory::word::{RecordState, RecordWord};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The ring has no room for it now.
    Full,
    /// No ring of this size will ever have room for it.
    TooLarge,
}

impl std::fmt::Display for PushError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Full => "could not hand over: the queue is full",
            Self::TooLarge => "cannot hand over: the message is larger than the queue takes",
        })
    }
}

impl std::error::Error for PushError {}

/// Written by the producer only; workers read `head` when they were lapped, repair and viewers read the rest.
#[derive(Default)]
#[repr(C, align(128))]
struct ProducerLine {
    tail: AtomicU64,
    head: AtomicU64,
    size_sum: Figure,
    full: Figure,
    too_large: Figure,
    depth_max: Figure,
    refused: Figure,
    dropped_oldest: Figure,
}

/// Written by all workers: the lowest record that may still be unclaimed.
#[derive(Default)]
#[repr(C, align(128))]
struct HintLine {
    hint: AtomicU64,
}

/// The control words of a ring.
#[derive(Default)]
#[repr(C)]
pub(crate) struct RingControl {
    producer: ProducerLine,
    workers: HintLine,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for RingControl {}

/// The state and the place of one record. Lies in an array of its own, never among payload bytes: a slow worker may
/// read a word whose record is long gone, and must not read there what a sender has chosen.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Descriptor {
    word: AtomicU64,
    offset: AtomicU32,
    size: AtomicU32,
}

// SAFETY: atomic integers only.
unsafe impl Shareable for Descriptor {}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Descriptor>() == 16 && size_of::<RingControl>() == 256);

/// The number that orders a record among those of other producers, in groups with order. Beside the descriptor and not
/// in the record: it is compared before the record is claimed, while the bytes may still be taken back.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Ticket {
    number: AtomicU64,
}

// SAFETY: one atomic integer.
unsafe impl Shareable for Ticket {}

/// Whether the records of a ring carry tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticketing {
    None,
    Numbered,
}

/// The planned room of a ring.
pub(crate) struct RingPlace {
    tickets: Place<Ticket>,
    control: Place<RingControl>,
    descriptors: Place<Descriptor>,
    arena: BytesPlace,
}

impl RingPlace {
    /// `capacity` records and `arena_size` bytes; both powers of two.
    pub(crate) fn reserve(plan: &mut Plan, capacity: u32, arena_size: u32, ticketing: Ticketing) -> Self {
        let ticket_count = if ticketing == Ticketing::Numbered { capacity as usize } else { 0 };
        Self {
            tickets: plan.reserve(ticket_count),
            control: plan.reserve(1),
            descriptors: plan.reserve(capacity as usize),
            arena: plan.reserve_bytes(arena_size as usize, LINE_SIZE as usize),
        }
    }
}

/// A ring in shared memory.
#[derive(Clone)]
pub(crate) struct Ring {
    tickets: Shared<Ticket>,
    control: Shared<RingControl>,
    descriptors: Shared<Descriptor>,
    arena: SharedBytes,
    mask: u64,
}

impl Ring {
    /// Takes the zero bytes of `place` into use: record numbers begin at the capacity, all before it are done.
    pub(crate) fn create(segment: &Segment, place: RingPlace) -> Self {
        let descriptors = segment.claim(place.descriptors);
        let ring = Self {
            tickets: segment.claim(place.tickets),
            control: segment.claim(place.control),
            arena: segment.claim_bytes(place.arena),
            mask: descriptors.len() as u64 - 1,
            descriptors,
        };
        for (sequence, descriptor) in (0..).zip(ring.descriptors.iter()) {
            descriptor.word.store(RecordWord::done(sequence).0, Ordering::Relaxed);
        }
        ring.producer().tail.store(ring.capacity(), Ordering::Release);
        ring.producer().head.store(ring.capacity(), Ordering::Release);
        ring.hint().store(ring.capacity(), Ordering::Release);
        ring
    }

    /// How many records it takes.
    #[inline]
    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// The bytes of a record this process owns by CLAIMED, if its description can be true.
    fn place_of(&self, sequence: u64) -> Option<(usize, usize)> {
        let descriptor = self.descriptor(sequence);
        let offset = descriptor.offset.load(Ordering::Relaxed) as usize;
        let size = descriptor.size.load(Ordering::Relaxed);
        let is_possible = (HEADER_SIZE..=RECORD_SIZE_MAX).contains(&size)
            && offset.checked_add(size as usize).is_some_and(|end| end <= self.arena.size());
        is_possible.then_some((offset, size as usize))
    }

    /// Copies a record out; gives its size, or `None` when the record is broken or does not fit.
    ///
    /// # Safety
    /// The caller owns the record (its word is CLAIMED by the caller, or by a worker that is dead) and owns `target`.
    #[inline]
    pub(crate) unsafe fn copy_out(&self, sequence: u64, target: &SharedBytes) -> Option<u32> {
        let (offset, size) = self.place_of(sequence)?;
        // SAFETY: CLAIMED was reached from READY by an Acquire load, so the producer's writes are over and visible,
        // and it does not reuse the bytes before DONE. `target` is the caller's.
        unsafe { self.arena.copy_to(offset, size, target)? };
        Some(size as u32)
    }

    /// Gives a claimed record back to its producer.
    #[inline]
    pub(crate) fn give_back(&self, sequence: u64) {
        // Release: the worker that copied the record out has finished, and has noted that it holds the message, before
        // the producer sees DONE and writes over the bytes.
        self.word(sequence).store(RecordWord::done(sequence).0, mutant::GIVE_BACK);
    }

    /// The record that this worker, which is dead, was copying out.
    ///
    /// A claimed record pins `head`, and the producer stores `tail` before it publishes the next record, so the record
    /// lies in `head ..= tail` even when the producer died between publishing and counting.
    pub(crate) fn claimed_by(&self, worker: u32) -> Option<u64> {
        self.unreclaimed().find(|sequence| {
            let word = RecordWord(self.word(*sequence).load(Ordering::Acquire));
            word == RecordWord::claimed(*sequence, worker)
        })
    }

    /// Whether no record waits or is being copied out.
    pub(crate) fn is_drained(&self) -> bool {
        self.unreclaimed().all(|sequence| {
            let word = RecordWord(self.word(sequence).load(Ordering::Acquire));
            word.sequence() != sequence || word.state() == RecordState::Done
        })
    }

    /// Whether its words can be what the protocol writes; if not, the ring is damaged (see the invariants of [`crate::shm`]).
    /// It holds while other processes work and after any of them died: numbers only rise, so that each is compared with
    /// one that was read before it and one that was read after it.
    pub(crate) fn is_sound(&self, workers: u32) -> bool {
        let hint = self.hint().load(Ordering::Acquire);
        let head = self.producer().head.load(Ordering::Acquire);
        let tail = self.tail();
        let head_after = self.producer().head.load(Ordering::Acquire);
        // A record is published before it is counted, and may be claimed in between.
        let is_hint_possible = hint <= tail.saturating_add(1);
        let is_span_possible = head <= tail && tail.saturating_sub(head_after) <= self.capacity();
        is_hint_possible
            && is_span_possible
            && (head.max(head_after).min(tail)..tail).all(|sequence| self.is_word_possible(sequence, workers))
    }

    /// Whether the word of this record, which was published, can be that of it or of one that came later to its place.
    fn is_word_possible(&self, sequence: u64, workers: u32) -> bool {
        let word = RecordWord(self.word(sequence).load(Ordering::Acquire));
        let is_state_known = match word.state() {
            RecordState::Done | RecordState::Ready => true,
            RecordState::Claimed(worker) => worker < workers,
            RecordState::Broken => false,
        };
        let is_of_this_place = word.sequence() & self.mask == sequence & self.mask;
        is_state_known && is_of_this_place && (sequence..=self.tail()).contains(&word.sequence())
    }

    fn tail(&self) -> u64 {
        self.producer().tail.load(Ordering::Acquire)
    }

    fn unreclaimed(&self) -> std::ops::RangeInclusive<u64> {
        let head = self.producer().head.load(Ordering::Acquire);
        let tail = self.producer().tail.load(Ordering::Acquire);
        // At most one whole ring, whatever the two words say.
        head.max(tail.saturating_sub(self.capacity()))..=tail
    }

    /// The figures of the producer.
    pub(crate) fn figures(&self) -> RingFigures {
        let producer = self.producer();
        let tail = producer.tail.load(Ordering::Relaxed);
        RingFigures {
            pushed: tail.saturating_sub(self.capacity()),
            depth: tail.saturating_sub(self.hint().load(Ordering::Relaxed)).min(self.capacity()),
            depth_max: producer.depth_max.read(),
            size_sum: producer.size_sum.read(),
            full: producer.full.read(),
            too_large: producer.too_large.read(),
            refused: producer.refused.read(),
            dropped_oldest: producer.dropped_oldest.read(),
        }
    }

    /// What a crashed process might leave: a record with a false description.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn deface(&self, sequence: u64, offset: u32, size: u32) {
        self.descriptor(sequence).offset.store(offset, Ordering::Relaxed);
        self.descriptor(sequence).size.store(size, Ordering::Relaxed);
    }

    /// The same: a word that no process writes, and impossible control words.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn deface_words(&self, defaced: Defaced) {
        match defaced {
            Defaced::Word(sequence, word) => self.word(sequence).store(word, Ordering::Release),
            Defaced::Head(head) => self.producer().head.store(head, Ordering::Release),
            Defaced::Tail(tail) => self.producer().tail.store(tail, Ordering::Release),
            Defaced::Hint(hint) => self.hint().store(hint, Ordering::Release),
        }
    }

    #[inline]
    fn descriptor(&self, sequence: u64) -> &Descriptor {
        &self.descriptors[(sequence & self.mask) as usize]
    }

    /// The ticket of a record whose word was seen READY; meaningless once it is not.
    #[inline]
    fn ticket(&self, sequence: u64) -> u64 {
        self.tickets
            .get((sequence & self.mask) as usize)
            .map_or(0, |ticket| ticket.number.load(Ordering::Relaxed))
    }

    #[inline]
    fn word(&self, sequence: u64) -> &AtomicU64 {
        &self.descriptor(sequence).word
    }

    #[inline]
    fn producer(&self) -> &ProducerLine {
        &self.control[0].producer
    }

    #[inline]
    fn hint(&self) -> &AtomicU64 {
        &self.control[0].workers.hint
    }
}

/// What is written over by [`Ring::deface_words`].
#[cfg(all(test, not(loom)))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Defaced {
    Word(u64, u64),
    Head(u64),
    Tail(u64),
    Hint(u64),
}

/// What a ring has seen since its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RingFigures {
    pub(crate) pushed: u64,
    pub(crate) depth: u64,
    pub(crate) depth_max: u64,
    pub(crate) size_sum: u64,
    pub(crate) full: u64,
    pub(crate) too_large: u64,
    pub(crate) refused: u64,
    pub(crate) dropped_oldest: u64,
}

/// The producer's end, with what only the producer needs to know.
pub(crate) struct RingWriter {
    ring: Ring,
    arena: Arena,
    head: u64,
    tail: u64,
    record_size_max: u32,
    overflow: Overflow,
    /// Where tickets are drawn, in groups with order.
    shard: Option<(Shards, u32)>,
}

impl RingWriter {
    /// Takes the producer's end over, also from a predecessor that died anywhere.
    ///
    /// There must be no other writer: an index is given to a new process only when the old one was reaped.
    pub(crate) fn attach(ring: Ring) -> Self {
        let arena_size = ring.arena.size() as u32;
        let mut writer = Self {
            arena: Arena::new(arena_size, ring.capacity()),
            head: ring.producer().head.load(Ordering::Acquire),
            tail: ring.producer().tail.load(Ordering::Acquire),
            record_size_max: (arena_size / RECORDS_PER_ARENA_MIN).min(RECORD_SIZE_MAX),
            ring,
            overflow: Overflow::Refuse,
            shard: None,
        };
        writer.find_tail();
        writer.find_head();
        for sequence in writer.head..writer.tail {
            let descriptor = writer.ring.descriptor(sequence);
            let offset = descriptor.offset.load(Ordering::Relaxed);
            writer.arena.restore(sequence, offset, descriptor.size.load(Ordering::Relaxed));
        }
        writer
    }

    /// What to do when there is no room.
    pub(crate) fn with_overflow(self, overflow: Overflow) -> Self {
        Self { overflow, ..self }
    }

    /// Records carry tickets of this shard.
    pub(crate) fn with_tickets(self, shards: Shards, shard: u32) -> Self {
        Self { shard: Some((shards, shard)), ..self }
    }

    /// The predecessor may have died between publishing a record and counting it.
    fn find_tail(&mut self) {
        while RecordWord(self.ring.word(self.tail).load(Ordering::Acquire)).sequence() == self.tail {
            self.tail += 1;
        }
        self.ring.producer().tail.store(self.tail, Ordering::Release);
        pass(Point::AttachTailStored);
    }

    fn find_head(&mut self) {
        self.head = self.head.max(self.tail.saturating_sub(self.ring.capacity()));
        while self.head < self.tail && self.is_done(self.head) {
            self.head += 1;
        }
        self.ring.producer().head.store(self.head, Ordering::Release);
        pass(Point::AttachHeadStored);
    }

    /// The number of the record that the next push will be.
    pub(crate) fn next_record(&self) -> u64 {
        self.tail
    }

    /// Publishes a copy of `record`, or takes nothing and counts why. Never waits.
    #[inline]
    pub(crate) fn push(&mut self, record: &Record<'_>, history: History) -> Result<(), PushError> {
        self.offer(record, history).inspect_err(|reason| match reason {
            PushError::Full => self.ring.producer().full.add(1),
            PushError::TooLarge => self.ring.producer().too_large.add(1),
        })
    }

    /// The same for a message that is offered until there is room: a full ring is not counted.
    #[inline]
    pub(crate) fn offer(&mut self, record: &Record<'_>, history: History) -> Result<(), PushError> {
        let size = record.size().filter(|size| *size <= self.record_size_max).ok_or(PushError::TooLarge)?;
        let Some(position) = self.find_room(size).or_else(|| self.make_room(size)) else {
            self.ring.producer().depth_max.set(self.ring.capacity().min(self.tail - self.head));
            return Err(PushError::Full);
        };
        self.draw_ticket();
        let offset = self.arena.offset(position) as u32;
        self.write(offset, record, history);
        pass(Point::PushBodyWritten);
        self.publish(offset, size);
        self.arena.occupy(self.tail, position, size);
        self.count(size);
        Ok(())
    }

    #[inline]
    fn find_room(&mut self, size: u32) -> Option<u64> {
        if self.has_free_descriptor()
            && let Some(position) = self.arena.find(size)
        {
            return Some(position);
        }
        // Looking at what the workers have finished costs cache misses, so it is done only when it looks full.
        self.reclaim();
        if self.has_free_descriptor() { self.arena.find(size) } else { None }
    }

    /// Takes the oldest records back, as many as stand in the way. When a worker has one of these in its hands, nothing
    /// is taken back; one that takes one in this very moment ends it, and what was taken back by then is counted.
    #[cold]
    fn make_room(&mut self, size: u32) -> Option<u64> {
        if self.overflow == Overflow::Refuse {
            return None;
        }
        for sequence in self.head..self.end_of_obstacles(size)? {
            let (ready, done) = (RecordWord::ready(sequence).0, RecordWord::done(sequence).0);
            // The same compare-and-swap as a worker's: one of the two gets the record.
            match self.ring.word(sequence).compare_exchange(ready, done, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    pass(Point::OldestTaken);
                    self.ring.producer().dropped_oldest.add(1);
                }
                // A worker has just finished with it.
                Err(word) if word == done => {}
                Err(_) => break,
            }
        }
        self.reclaim();
        if self.has_free_descriptor() { self.arena.find(size) } else { None }
    }

    /// Behind the last of the oldest records that stand in the way of one more, when no worker has any of them.
    fn end_of_obstacles(&self, size: u32) -> Option<u64> {
        for sequence in self.head..self.tail {
            let word = RecordWord(self.ring.word(sequence).load(Ordering::Acquire));
            if word != RecordWord::ready(sequence) && word != RecordWord::done(sequence) {
                return None;
            }
            let has_free_descriptor = self.tail - sequence <= self.ring.capacity();
            if has_free_descriptor && self.arena.has_room_after(sequence, size) {
                return Some(sequence + 1);
            }
        }
        None
    }

    #[inline]
    fn draw_ticket(&self) {
        let Some((shards, shard)) = &self.shard else { return };
        let index = (self.tail & self.ring.mask) as usize;
        if let Some(ticket) = self.ring.tickets.get(index) {
            // Relaxed: READY is stored after it.
            ticket.number.store(shards.ticket(*shard), Ordering::Relaxed);
            pass(Point::TicketDrawn);
        }
    }

    #[inline]
    fn has_free_descriptor(&self) -> bool {
        self.tail - self.head < self.ring.capacity()
    }

    fn reclaim(&mut self) {
        let before = self.head;
        while self.head < self.tail && self.is_done(self.head) {
            self.arena.reclaim(self.head);
            self.head += 1;
        }
        if self.head != before {
            self.ring.producer().head.store(self.head, Ordering::Release);
        }
    }

    #[inline]
    fn is_done(&self, sequence: u64) -> bool {
        // Acquire: pairs with the Release of DONE; the worker has finished reading the bytes before they are reused.
        RecordWord(self.ring.word(sequence).load(Ordering::Acquire)) == RecordWord::done(sequence)
    }

    #[inline]
    fn write(&self, offset: u32, record: &Record<'_>, history: History) {
        let header = RecordHeader::of(record, history).encode();
        let mut at = offset as usize;
        for part in [&header[..], record.meta, record.body, record.xdata] {
            // SAFETY: the arena found these bytes free: no live record overlaps them, and the worker that read the
            // last one there has stored DONE, which was loaded with Acquire. This is the only producer.
            let written = unsafe { self.ring.arena.write(at, part) };
            debug_assert!(written.is_some(), "the arena gives out places inside itself");
            at += part.len();
        }
    }

    #[inline]
    fn publish(&mut self, offset: u32, size: u32) {
        let descriptor = self.ring.descriptor(self.tail);
        descriptor.offset.store(offset, Ordering::Relaxed);
        descriptor.size.store(size, Ordering::Relaxed);
        pass(Point::PushDescribed);
        // Release: a worker that sees READY sees the bytes and their place.
        descriptor.word.store(RecordWord::ready(self.tail).0, mutant::PUBLISH);
        pass(Point::PushPublished);
    }

    #[inline]
    fn count(&mut self, size: u32) {
        self.tail += 1;
        let producer = self.ring.producer();
        // Release: repair relies on `tail` being stored after READY of the record before it.
        producer.tail.store(self.tail, Ordering::Release);
        producer.size_sum.add(u64::from(size));
        if self.tail.is_multiple_of(DEPTH_SAMPLE_PERIOD) {
            let depth = self.tail.saturating_sub(self.ring.hint().load(Ordering::Relaxed));
            if depth > producer.depth_max.read() {
                producer.depth_max.set(depth.min(self.ring.capacity()));
            }
        }
        pass(Point::PushCounted);
    }

    /// Counts a message that was answered by its receiver because there is no room.
    pub(crate) fn count_refused(&self) {
        self.ring.producer().refused.add(1);
    }

    /// Records and arena bytes that are not yet free again, after a look at what has been finished.
    pub(crate) fn occupied(&mut self) -> (u64, u64) {
        self.reclaim();
        (self.tail - self.head, self.arena.used_size())
    }
}

/// A worker's view of a ring, with its private place in it.
pub(crate) struct RingReader {
    ring: Ring,
    cursor: u64,
}

impl RingReader {
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring, cursor: 0 }
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Takes the oldest free record; the caller owns it until it is given back.
    #[inline]
    pub(crate) fn claim(&mut self, worker: u32) -> Option<u64> {
        while let Some(sequence) = self.find_ready() {
            if self.claim_this(sequence, worker) {
                return Some(sequence);
            }
        }
        None
    }

    /// Takes this record, the first free one; false when another worker just took it.
    #[inline]
    pub(crate) fn claim_this(&mut self, sequence: u64, worker: u32) -> bool {
        self.cursor = sequence + 1;
        let ready = RecordWord::ready(sequence).0;
        let claimed = RecordWord::claimed(sequence, worker).0;
        let word = self.ring.word(sequence);
        let is_taken = word.compare_exchange(ready, claimed, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_taken {
            pass(Point::ClaimTaken);
            self.ring.hint().store(sequence + 1, Ordering::Relaxed);
            pass(Point::ClaimHinted);
        }
        is_taken
    }

    /// The ticket and the number of the first free record.
    #[inline]
    pub(crate) fn first_ready(&mut self) -> Option<(u64, u64)> {
        let sequence = self.find_ready()?;
        Some((self.ring.ticket(sequence), sequence))
    }

    /// Whether a record waits.
    #[inline]
    pub(crate) fn has_ready(&mut self) -> bool {
        self.find_ready().is_some()
    }

    #[inline]
    fn find_ready(&mut self) -> Option<u64> {
        let hint = self.ring.hint().load(Ordering::Relaxed);
        let mut sequence = self.cursor.max(hint);
        loop {
            // Acquire: pairs with the Release of READY; a worker that sees it sees the bytes.
            let word = RecordWord(self.ring.word(sequence).load(Ordering::Acquire));
            if word.sequence() < sequence {
                self.cursor = sequence;
                if hint < sequence {
                    // A worker that stood still has set it back, or a producer took records back.
                    self.ring.hint().store(sequence, Ordering::Relaxed);
                }
                return None;
            }
            if word == RecordWord::ready(sequence) {
                self.cursor = sequence;
                return Some(sequence);
            }
            sequence = if word.sequence() == sequence {
                sequence + 1
            } else {
                // Lapped while we were not looking: everything before `head` is done.
                (sequence + 1).max(self.ring.producer().head.load(Ordering::Relaxed))
            };
        }
    }
}

/// An arena has room for this number of its largest records. Two would do for progress (what is skipped at the wrap and
/// the record itself always fit into an empty arena), and are enough for a model.
const RECORDS_PER_ARENA_MIN: u32 = if cfg!(loom) { 2 } else { 4 };

/// The producer compares its depth with the maximum once in this number of records.
const DEPTH_SAMPLE_PERIOD: u64 = 16;
