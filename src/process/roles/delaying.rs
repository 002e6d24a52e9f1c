//! Delegation with a delay, or from a worker, which has no rings of its own: the message goes into the delay queue, from
//! where the timer moves it into a ring.
//!
//! While the server stops nothing is delayed: a message is due at once, and one that was delayed before is refused, so that
//! a route which delays itself again and again comes to an end.

use crate::process::heritage::Heritage;
use crate::routing::delegation::{Delegate, Delegation, GroupIndex, Suspended};
use crate::routing::envelope::Incoming;
use crate::routing::work::Work;
use crate::shm::{DelaySender, Placement, PushError, Record};
use crate::sys::clock::monotonic_ns;

/// Puts messages into the delay queue.
pub struct DelayingDelegate {
    sender: DelaySender,
    group_count: u32,
    meta: Vec<u8>,
}

impl DelayingDelegate {
    /// The one of the process at this place; `None` where no module delays messages.
    pub fn of(heritage: &Heritage, place: u32) -> Option<DelayingDelegate> {
        let delayed = heritage.parts.delayed.as_ref()?;
        Some(DelayingDelegate {
            sender: delayed.sender(place),
            group_count: heritage.parts.queues.group_count(),
            meta: Vec::new(),
        })
    }
}

impl Delegate for DelayingDelegate {
    fn delegate(&mut self, _: GroupIndex, _: Placement, _: &Incoming<'_>, _: &[u8]) -> Delegation {
        Delegation::NotHere
    }

    fn suspend(&mut self, group: GroupIndex, placement: Placement, suspended: &Suspended<'_>) -> Delegation {
        if u32::from(group.0) >= self.group_count {
            return Delegation::NoSuchGroup;
        }
        if suspended.is_continued && !suspended.delay.is_zero() && self.sender.is_all_expired() {
            return Delegation::Full;
        }
        Work::write_meta_of_resumed(&suspended.datagram.envelope, suspended.continuation, &mut self.meta);
        let now_ns = monotonic_ns();
        let record = Record {
            meta: &self.meta,
            body: suspended.datagram.bytes,
            xdata: suspended.xdata,
            received_at_ns: now_ns,
        };
        let due_ns = now_ns.saturating_add(u64::try_from(suspended.delay.as_nanos()).unwrap_or(u64::MAX));
        match self.sender.send(due_ns, u32::from(group.0), placement, &record) {
            Ok(()) => Delegation::Delegated,
            Err(PushError::Full) => Delegation::Full,
            Err(PushError::TooLarge) => Delegation::TooLarge,
        }
    }

    fn count_refused(&mut self, _: GroupIndex) {}

    fn wake(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start::boot::tests::Scene;
    use crate::routing::envelope::Envelope;
    use crate::shm::Tended;
    use crate::transport::endpoint::Transport;
    use std::time::Duration;

    fn scene() -> Scene {
        Scene::new(
            "listen=udp:127.0.0.1:0\nchildren=1\nasync_workers_group=\"name=calls;workers=1;queue=16\"\n\
             loadmodule \"async\"\nmodparam(\"async\", \"capacity\", 2)\nrequest_route { exit; }\n",
        )
    }

    fn envelope() -> Envelope {
        let source = "192.0.2.1:5060".parse().unwrap();
        Envelope { source, destination: source, listener: 0, transport: Transport::Udp, received_at_ns: 1 }
    }

    fn suspended(delay: Duration, is_continued: bool) -> Suspended<'static> {
        let datagram = Incoming { bytes: b"m", envelope: envelope() };
        Suspended { datagram, continuation: b"c", xdata: b"x", delay, is_continued }
    }

    #[test]
    fn answers_tell_what_became_of_the_message() {
        let scene = scene();
        let mut delegate = DelayingDelegate::of(&scene.heritage, 2).unwrap();
        let long = Duration::MAX;
        let rows = [
            (GroupIndex(1), long, Delegation::NoSuchGroup),
            (GroupIndex(0), long, Delegation::Delegated),
            (GroupIndex(0), Duration::ZERO, Delegation::Delegated),
            (GroupIndex(0), Duration::ZERO, Delegation::Full),
        ];
        for (group, delay, expected) in rows {
            assert_eq!(delegate.suspend(group, Placement::Usual, &suspended(delay, false)), expected);
        }
        let other = delegate.delegate(GroupIndex(0), Placement::Usual, &suspended(long, false).datagram, b"");
        assert_eq!(other, Delegation::NotHere);
        assert_eq!(scene.heritage.parts.delayed.as_ref().unwrap().unfinished().0, 2);
    }

    #[test]
    fn while_the_server_stops_only_what_has_not_waited_is_taken() {
        let scene = scene();
        let mut delegate = DelayingDelegate::of(&scene.heritage, 2).unwrap();
        scene.heritage.parts.delayed.as_ref().unwrap().expire_all();
        let mut suspend = |delay, is_continued| {
            delegate.suspend(GroupIndex(0), Placement::Usual, &suspended(delay, is_continued))
        };
        let second = Duration::from_secs(1);
        assert_eq!(suspend(second, true), Delegation::Full);
        assert_eq!(suspend(second, false), Delegation::Delegated);
        assert_eq!(suspend(Duration::ZERO, true), Delegation::Delegated);
    }

    #[test]
    fn without_a_module_that_delays_messages_there_is_no_queue() {
        let scene = Scene::new("listen=udp:127.0.0.1:0\nchildren=1\nrequest_route { exit; }\n");
        assert!(DelayingDelegate::of(&scene.heritage, 1).is_none());
    }
}
