//! How a worker sleeps and how others wake it, without a lost wake and without a system call while workers are busy.
//!
//! ```text
//!  idle mask   one bit per worker: "wake me before you rely on me"      set by its worker, taken by one waker
//!  epoch[w]    the word worker w sleeps on                              changed by wakers only
//!  token       0, or when a wake was sent that is still on its way      "chain": one wake in flight per group
//! ```
//!
//! The pattern, written once. A waker *publishes, fences, reads the mask*; a worker *sets its bit, fences, scans the
//! rings*. The two fences are in one total order, so either the waker sees the bit or the worker sees the record.
//!
//! Chain: only one wake travels at a time; the woken worker clears the token before it scans, and after its first claim
//! wakes the next one when more work and more sleepers are there. A waker that finds the token taken may go, because
//! the token's worker will look after it. A waker that took the token and found no sleeper must give it back and then
//! look again, since others may have gone because of it.
//!
//! Bits and words name their owner, so the master can clear what a dead process left; a count could not be repaired.

use crate::shm::memory::segment::{Place, Plan, Segment, Shareable, Shared};
use crate::shm::memory::sync::{AtomicU64, Awoken, Ordering, SleepWord, fence, monotonic_ns};
use crate::shm::proof::crash_point::{Point, pass};
use crate::shm::proof::mutant;
use std::time::Duration;

/// 64 workers' bits.
#[derive(Default)]
#[repr(C, align(128))]
struct IdleWord {
    bits: AtomicU64,
}

// SAFETY: one atomic integer.
unsafe impl Shareable for IdleWord {}

/// The one wake in flight.
#[derive(Default)]
#[repr(C, align(128))]
struct TokenLine {
    sent_at: AtomicU64,
}

// SAFETY: one atomic integer.
unsafe impl Shareable for TokenLine {}

/// The word a worker sleeps on.
#[derive(Default)]
#[repr(C, align(128))]
struct EpochLine {
    epoch: SleepWord,
}

// SAFETY: one atomic integer.
unsafe impl Shareable for EpochLine {}

/// The planned room of an event count.
pub(crate) struct EventCountPlace {
    idle: Place<IdleWord>,
    token: Place<TokenLine>,
    epochs: Place<EpochLine>,
}

impl EventCountPlace {
    pub(crate) fn reserve(plan: &mut Plan, workers: u32) -> Self {
        Self {
            idle: plan.reserve(workers.div_ceil(BITS_PER_WORD) as usize),
            token: plan.reserve(1),
            epochs: plan.reserve(workers as usize),
        }
    }
}

/// The sleeping and waking of one group.
#[derive(Clone)]
pub(crate) struct EventCount {
    idle: Shared<IdleWord>,
    token: Shared<TokenLine>,
    epochs: Shared<EpochLine>,
}

/// How a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// There was a reason to stay awake.
    Cancelled,
    /// Another process woke this one.
    Woken,
    /// The time was up or a signal came, and no waker had chosen this process.
    Unasked,
}

impl EventCount {
    pub(crate) fn create(segment: &Segment, place: EventCountPlace) -> Self {
        Self {
            idle: segment.claim(place.idle),
            token: segment.claim(place.token),
            epochs: segment.claim(place.epochs),
        }
    }

    /// Whether some worker sleeps or is about to; a hint.
    #[inline]
    pub(crate) fn has_idle(&self) -> bool {
        self.idle.iter().any(|word| word.bits.load(Ordering::Relaxed) != 0)
    }

    /// Whether this worker sleeps or is about to; a hint.
    pub(crate) fn is_idle(&self, worker: u32) -> bool {
        let (word, bit) = self.bit(worker);
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// After publishing: makes sure that a worker will look, if all of them may be asleep. Returns whether it woke one.
    #[inline]
    pub(crate) fn wake(&self) -> bool {
        if !mutant::NO_FENCE_IN_WAKE {
            // Full fence: the record is published before the mask is read. Pairs with the fence in `park`.
            fence(Ordering::SeqCst);
        }
        self.has_idle() && self.wake_one()
    }

    #[cold]
    fn wake_one(&self) -> bool {
        pass(Point::WakeSleeperSeen);
        loop {
            let now = monotonic_ns() | 1;
            let sent_at = self.token().load(Ordering::Relaxed);
            if sent_at != 0 && now.saturating_sub(sent_at) < TOKEN_LIFE_NS {
                return false;
            }
            if self.token().compare_exchange(sent_at, now, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                return false;
            }
            pass(Point::WakeTokenTaken);
            if self.wake_lowest() {
                return true;
            }
            self.token().swap(0, Ordering::AcqRel);
            pass(Point::WakeTokenReturned);
            if mutant::NAIVE_TOKEN_RETURN {
                return false;
            }
            fence(Ordering::SeqCst);
            if !self.has_idle() {
                return false;
            }
        }
    }

    fn wake_lowest(&self) -> bool {
        for (word_index, word) in (0..).zip(self.idle.iter()) {
            let mut bits = word.bits.load(Ordering::Relaxed);
            while bits != 0 {
                let index = bits.trailing_zeros();
                let bit = 1 << index;
                if word.bits.fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
                    pass(Point::WakeBitTaken);
                    self.raise(word_index * BITS_PER_WORD + index);
                    return true;
                }
                bits &= !bit;
            }
        }
        false
    }

    fn raise(&self, worker: u32) {
        let Some(line) = self.epochs.get(worker as usize) else { return };
        line.epoch.0.fetch_add(1, Ordering::Release);
        pass(Point::WakeEpochRaised);
        line.epoch.awaken();
        pass(Point::WakeSent);
    }

    /// Sleeps until woken, unless `has_reason` finds one to stay awake after the bit is set.
    pub(crate) fn park(
        &self,
        worker: u32,
        timeout: Option<Duration>,
        has_reason: &mut dyn FnMut() -> bool,
    ) -> Parked {
        // Before the bit: a waker that takes the bit changes the epoch, and then we do not sleep on the old one.
        let key = self.epoch(worker).0.load(Ordering::Acquire);
        pass(Point::ParkKeyRead);
        let (word, bit) = self.bit(worker);
        word.fetch_or(bit, Ordering::SeqCst);
        pass(Point::ParkBitSet);
        // Full fence: the bit is set before the rings are scanned. Pairs with the fence in `wake`.
        fence(Ordering::SeqCst);
        pass(Point::ParkFenced);
        let has_slept = !has_reason() && self.sleep(worker, key, timeout);
        pass(if has_slept { Point::ParkWoken } else { Point::ParkCancelled });
        // Acquire: the process that took the bit took the token before, and `clear_token` must see that.
        let was_chosen =
            word.load(Ordering::Acquire) & bit == 0 || word.fetch_and(!bit, Ordering::AcqRel) & bit == 0;
        pass(Point::ParkBitCleared);
        self.clear_token();
        match (has_slept, was_chosen) {
            (false, _) => Parked::Cancelled,
            (true, true) => Parked::Woken,
            (true, false) => Parked::Unasked,
        }
    }

    /// Always true: the worker went to sleep, however it ended.
    fn sleep(&self, worker: u32, key: u32, timeout: Option<Duration>) -> bool {
        let epoch = self.epoch(worker);
        while epoch.0.load(Ordering::Acquire) == key {
            match epoch.sleep(key, timeout) {
                Awoken::Woken | Awoken::Changed => {}
                Awoken::TimedOut | Awoken::Interrupted => break,
            }
        }
        true
    }

    /// The token may be ours, even when we stayed awake: it is cleared before the next scan, never after it.
    fn clear_token(&self) {
        if self.token().load(Ordering::Relaxed) != 0 {
            self.token().swap(0, Ordering::AcqRel);
            pass(Point::ParkTokenCleared);
            fence(Ordering::SeqCst);
        }
    }

    /// After deaths: forgets the token and all bits, and makes every worker look once.
    pub(crate) fn wake_all(&self) {
        self.token().swap(0, Ordering::AcqRel);
        for word in self.idle.iter() {
            word.bits.swap(0, Ordering::AcqRel);
        }
        for worker in 0..self.epochs.len() as u32 {
            self.raise(worker);
        }
    }

    /// Clears the bit of a worker that is dead.
    pub(crate) fn forget(&self, worker: u32) {
        let (word, bit) = self.bit(worker);
        word.fetch_and(!bit, Ordering::AcqRel);
    }

    #[inline]
    fn token(&self) -> &AtomicU64 {
        &self.token[0].sent_at
    }

    fn epoch(&self, worker: u32) -> &SleepWord {
        &self.epochs[worker as usize].epoch
    }

    fn bit(&self, worker: u32) -> (&AtomicU64, u64) {
        let word = &self.idle[(worker / BITS_PER_WORD) as usize].bits;
        (word, 1 << (worker % BITS_PER_WORD))
    }
}

const BITS_PER_WORD: u32 = 64;

/// A wake that has not arrived after this time is taken for lost with the process that sent it.
const TOKEN_LIFE_NS: u64 = 1_000_000;
