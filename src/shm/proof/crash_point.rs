//! The named points of the ring protocol at which a test can end the process that runs it.
//!
//! In a normal build [`pass`] is nothing. With the feature `crash-points` a process can arm one point; when it passes
//! it for the n-th time, it is gone at once, with an exit status that names the point; a whole server is armed by
//! [`failpoint`](super::failpoint). Under loom the thread ends there instead.

/// A place between two steps of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it; `ALL` is the documentation")]
pub enum Point {
    AttachTailStored,
    AttachHeadStored,
    OldestTaken,
    TicketDrawn,
    PushBodyWritten,
    PushDescribed,
    PushPublished,
    PushCounted,
    WakeSleeperSeen,
    WakeTokenTaken,
    WakeBitTaken,
    WakeEpochRaised,
    WakeSent,
    WakeTokenReturned,
    ClaimTaken,
    ClaimHinted,
    ShardTaken,
    ShardReleased,
    TakeCopied,
    TakeDescribed,
    TakeHeld,
    TakeGivenBack,
    TakeStarted,
    FinishBefore,
    FinishAfter,
    RedeliveryStarted,
    ParkKeyRead,
    ParkBitSet,
    ParkFenced,
    ParkCancelled,
    ParkWoken,
    ParkBitCleared,
    ParkTokenCleared,
    DelayTaken,
    BlockTaken,
    DelayFilled,
    DelayPublished,
    DelayMoving,
    DelayMoved,
    BlockFreed,
    DelayFreed,
    OutboxWritten,
    OutboxDescribed,
    OutboxPut,
    OutboxFlushed,
    OutboxCarried,
    OutboxSent,
    OutboxAdopted,
    OutboxGivenBack,
}

impl Point {
    /// Every point, in the order of the protocol: attach, push, wake, claim, take, finish, park; then those of a delayed message,
    /// and those of an outbox.
    pub const ALL: [Self; 49] = [
        Self::AttachTailStored,
        Self::AttachHeadStored,
        Self::OldestTaken,
        Self::TicketDrawn,
        Self::PushBodyWritten,
        Self::PushDescribed,
        Self::PushPublished,
        Self::PushCounted,
        Self::WakeSleeperSeen,
        Self::WakeTokenTaken,
        Self::WakeBitTaken,
        Self::WakeEpochRaised,
        Self::WakeSent,
        Self::WakeTokenReturned,
        Self::ClaimTaken,
        Self::ClaimHinted,
        Self::ShardTaken,
        Self::ShardReleased,
        Self::TakeCopied,
        Self::TakeDescribed,
        Self::TakeHeld,
        Self::TakeGivenBack,
        Self::TakeStarted,
        Self::FinishBefore,
        Self::FinishAfter,
        Self::RedeliveryStarted,
        Self::ParkKeyRead,
        Self::ParkBitSet,
        Self::ParkFenced,
        Self::ParkCancelled,
        Self::ParkWoken,
        Self::ParkBitCleared,
        Self::ParkTokenCleared,
        Self::DelayTaken,
        Self::BlockTaken,
        Self::DelayFilled,
        Self::DelayPublished,
        Self::DelayMoving,
        Self::DelayMoved,
        Self::BlockFreed,
        Self::DelayFreed,
        Self::OutboxWritten,
        Self::OutboxDescribed,
        Self::OutboxPut,
        Self::OutboxFlushed,
        Self::OutboxCarried,
        Self::OutboxSent,
        Self::OutboxAdopted,
        Self::OutboxGivenBack,
    ];

    /// Those of a ring, and of the workers and producers at its ends.
    pub const OF_RINGS: &'static [Self] = Self::ALL.split_at(Self::DelayTaken as usize).0;

    /// Those of a delayed message.
    pub const OF_DELAYS: &'static [Self] =
        Self::ALL.split_at(Self::OutboxWritten as usize).0.split_at(Self::DelayTaken as usize).1;

    /// Those of what a process sends.
    pub const OF_OUTBOXES: &'static [Self] = Self::ALL.split_at(Self::OutboxWritten as usize).1;

    /// What `SWORKER_FAIL` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AttachTailStored => "ring.attach_tail",
            Self::AttachHeadStored => "ring.attach_head",
            Self::OldestTaken => "ring.oldest",
            Self::TicketDrawn => "ring.ticket",
            Self::PushBodyWritten => "ring.write",
            Self::PushDescribed => "ring.describe",
            Self::PushPublished => "ring.publish",
            Self::PushCounted => "ring.count",
            Self::WakeSleeperSeen => "wake.sleeper",
            Self::WakeTokenTaken => "wake.token",
            Self::WakeBitTaken => "wake.bit",
            Self::WakeEpochRaised => "wake.epoch",
            Self::WakeSent => "wake.sent",
            Self::WakeTokenReturned => "wake.returned",
            Self::ClaimTaken => "ring.claim",
            Self::ClaimHinted => "ring.hint",
            Self::ShardTaken => "shard.take",
            Self::ShardReleased => "shard.release",
            Self::TakeCopied => "take.copy",
            Self::TakeDescribed => "take.describe",
            Self::TakeHeld => "take.hold",
            Self::TakeGivenBack => "take.give_back",
            Self::TakeStarted => "take.start",
            Self::FinishBefore => "finish.before",
            Self::FinishAfter => "finish.after",
            Self::RedeliveryStarted => "redelivery.start",
            Self::ParkKeyRead => "park.key",
            Self::ParkBitSet => "park.bit",
            Self::ParkFenced => "park.fence",
            Self::ParkCancelled => "park.cancel",
            Self::ParkWoken => "park.woken",
            Self::ParkBitCleared => "park.clear_bit",
            Self::ParkTokenCleared => "park.clear_token",
            Self::DelayTaken => "delay.take",
            Self::BlockTaken => "delay.take_block",
            Self::DelayFilled => "delay.fill",
            Self::DelayPublished => "delay.publish",
            Self::DelayMoving => "delay.move",
            Self::DelayMoved => "delay.moved",
            Self::BlockFreed => "delay.free_block",
            Self::DelayFreed => "delay.free",
            Self::OutboxWritten => "outbox.write",
            Self::OutboxDescribed => "outbox.describe",
            Self::OutboxPut => "outbox.put",
            Self::OutboxFlushed => "outbox.flush",
            Self::OutboxCarried => "outbox.carry",
            Self::OutboxSent => "outbox.sent",
            Self::OutboxAdopted => "outbox.adopt",
            Self::OutboxGivenBack => "outbox.give_back",
        }
    }

    /// The point of this name.
    pub fn named(name: &str) -> Option<Point> {
        Self::ALL.into_iter().find(|point| point.name() == name)
    }
}

#[cfg(any(loom, feature = "crash-points"))]
pub(crate) use armed::pass;

#[cfg(all(feature = "crash-points", not(loom)))]
pub use armed::{arm, point_of_exit_status};

/// Marks a point; nothing in a normal build.
#[cfg(not(any(loom, feature = "crash-points")))]
#[inline(always)]
pub(crate) fn pass(_point: Point) {}

#[cfg(all(feature = "crash-points", not(loom)))]
mod armed {
    use super::Point;
    use std::sync::atomic::{AtomicU32, Ordering};

    static POINT: AtomicU32 = AtomicU32::new(u32::MAX);
    static PASSES_LEFT: AtomicU32 = AtomicU32::new(0);
    const FIRST_EXIT_STATUS: i32 = 100;

    /// From now on, the `passes`-th time this process comes by `point` is its end.
    pub fn arm(point: Point, passes: u32) {
        PASSES_LEFT.store(passes, Ordering::Relaxed);
        POINT.store(u32::from(point as u8), Ordering::Relaxed);
    }

    /// The point at which a process with this exit status ended.
    pub fn point_of_exit_status(status: i32) -> Option<Point> {
        let index = usize::try_from(status - FIRST_EXIT_STATUS).ok()?;
        Point::ALL.get(index).copied()
    }

    #[inline]
    pub(crate) fn pass(point: Point) {
        if POINT.load(Ordering::Relaxed) == u32::from(point as u8) {
            end_if_due(point);
        }
        crate::shm::proof::failpoint::pass(point);
    }

    #[cold]
    fn end_if_due(point: Point) {
        let left = PASSES_LEFT.load(Ordering::Relaxed);
        if left <= 1 {
            crate::sys::process::exit_now(FIRST_EXIT_STATUS + i32::from(point as u8));
        }
        PASSES_LEFT.store(left - 1, Ordering::Relaxed);
    }
}

#[cfg(loom)]
pub(crate) mod armed {
    use super::Point;
    use std::cell::Cell;

    loom::thread_local! {
        static POINT: Cell<Option<Point>> = Cell::new(None);
    }

    /// What a dying thread unwinds with.
    pub(crate) struct Died;

    /// Runs `life` in this thread with one armed point; `None` when it ended there.
    pub(crate) fn run_until<R>(point: Option<Point>, life: impl FnOnce() -> R) -> Option<R> {
        POINT.with(|armed| armed.set(point));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(life));
        POINT.with(|armed| armed.set(None));
        match outcome {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Died>() => None,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }

    pub(crate) fn pass(point: Point) {
        if POINT.with(|armed| armed.get()) == Some(point) {
            std::panic::resume_unwind(Box::new(Died));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_point_stands_at_its_own_number() {
        for (index, point) in Point::ALL.into_iter().enumerate() {
            assert_eq!(point as usize, index);
        }
    }

    #[test]
    fn every_point_is_found_by_its_own_name() {
        for point in Point::ALL {
            assert_eq!(Point::named(point.name()), Some(point));
        }
        assert_eq!(Point::named("ring"), None);
    }
}
