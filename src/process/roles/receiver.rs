//! A receiver: reads messages from one socket, runs pre-routing, pushes delegated messages into the rings.
//!
//! ```text
//!  recvmmsg ─► for each: checks of the datagram ─► engine.receive ─► (ring of a group) ─► done with
//!     ▲                                                                                      │
//!     └──────────────── engine.after_batch: wake each group once ◄───────────────────────────┘
//! ```
//!
//! Messages are read into memory that outlives this process (see `sys::receive`): what a killed receiver had read and
//! not handled, its successor handles first. What is sent for a message lies in the receiver's outbox before the message is
//! done with, and leaves before the receiver waits for the next batch.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::child::{follow_master, is_asked_to_leave};
use super::delaying::DelayingDelegate;
use crate::config::settings::Settings;
use crate::engine::perform::Engine;
use crate::process::heritage::Heritage;
use crate::routing::delegation::{Delegate, Delegation, GroupIndex, Suspended};
use crate::routing::envelope::{Envelope, Incoming};
use crate::routing::work::Work;
use crate::shm::{self, CounterBlock, InboxRoom, Placement, Producer, PushError, Record};
use crate::state::poison::Known;
use crate::sys::clock::{monotonic_ns, realtime_ns};
use crate::sys::poll;
use crate::sys::receive::{Inheritance, ReceiveBatch, Received};
use crate::telemetry::log::{Level, Log};
use crate::telemetry::process_identity::ProcessIdentity;
use crate::telemetry::throttle::Throttle;
use crate::transport::endpoint::Transport;
use crate::transport::udp::UdpListener;

/// Datagrams read by one call: as many as leave by one.
const BATCH_COUNT: usize = shm::BATCH_COUNT;

/// A busy receiver checks its master once in this number of batches; an idle one when its wait is over.
const BATCHES_PER_LOOK: u32 = 16;

/// Room for the largest datagram there is.
const DATAGRAM_SIZE_MAX: usize = 65_535;

/// The memory one receiver reads into; made by the master.
pub fn inbox_room(settings: &Settings, receivers: u32) -> InboxRoom {
    let size = (settings.msg_recv_size_max as usize).min(DATAGRAM_SIZE_MAX);
    InboxRoom { receivers, datagrams: BATCH_COUNT, size }
}

/// The life of a receiver.
pub fn run(heritage: &Heritage, process: ProcessIdentity, producer: u32, listener: u16) -> io::Result<()> {
    let socket = heritage
        .listeners
        .udp(listener)
        .ok_or_else(|| io::Error::other(format!("there is no listener {listener}")))?;
    let rules = heritage.places[process.index as usize].rules();
    let mut delegate =
        RingDelegate::new(heritage.parts.queues.producer(producer), heritage.parts.queues.group_count())
            .with_waiting(DelayingDelegate::of(heritage, process.index));
    let (mut batch, inheritance) = ReceiveBatch::attach(&heritage.parts.inboxes[producer as usize]);
    tell_inheritance(&heritage.log, inheritance);
    let is_repeated = Rc::new(Cell::new(inheritance.is_first_begun));
    delegate.mark_repeated(Rc::clone(&is_repeated));
    let process_index = process.index;
    let engine = heritage.engine(process, Some(Box::new(delegate)));
    let heartbeat = heritage.parts.heartbeats.block(process_index);
    let refusals = Throttle::default();
    let mut reader = Reader { heritage, engine, socket, listener, is_repeated, refusals, heartbeat };
    heritage.channel.tell_ready(process.index);

    let mut batch_count = 0_u32;
    while !is_asked_to_leave(&rules) {
        match batch.receive(socket.as_fd()) {
            Ok(()) => {
                reader.handle(&mut batch);
                batch_count = batch_count.wrapping_add(1);
                if batch_count.is_multiple_of(BATCHES_PER_LOOK) {
                    follow_master(heritage, &rules);
                }
            }
            Err(error) if is_temporary(&error) => {
                reader.beat();
                // What a dead process left is to be sent, even if nothing comes.
                reader.engine.flush();
                follow_master(heritage, &rules);
            }
            Err(error) => return Err(error),
        }
    }
    // What waits in the socket came while we listened; a successor may listen elsewhere, or not at all.
    let leaving_since = Instant::now();
    while leaving_since.elapsed() < LAST_LOOK_MAX && batch.receive_waiting(socket.as_fd()).is_ok() {
        reader.handle(&mut batch);
    }
    reader.engine.stop();
    Ok(())
}

/// Others may read the same socket and senders may never pause: a last look is not endless.
const LAST_LOOK_MAX: Duration = Duration::from_millis(200);

/// What a receiver does with what it read.
struct Reader<'h> {
    heritage: &'h Heritage,
    engine: Engine,
    socket: &'h UdpListener,
    listener: u16,
    /// The message in hand was in the hands of a receiver that died.
    is_repeated: Rc<Cell<bool>>,
    refusals: Throttle,
    heartbeat: CounterBlock,
}

impl Reader<'_> {
    /// Shows that this process moves.
    fn beat(&self) {
        self.heartbeat.add(0, 1);
    }

    fn handle(&mut self, batch: &mut ReceiveBatch<'_>) {
        let received_at_ns = realtime_ns();
        let is_stopping =
            self.heritage.parts.status.is_stopping() && self.heritage.loaded.settings().is_stop_told;
        self.engine.turn_new_requests_away(is_stopping);
        while let Some(received) = batch.current() {
            batch.begin();
            self.beat();
            self.engine.set_followed(batch.is_followed());
            match envelope(&received, self.socket, self.listener, received_at_ns) {
                Ok(envelope) => {
                    self.receive(&Incoming { bytes: received.bytes, envelope });
                }
                Err(refusal) => tell(&self.heritage.log, &self.refusals, refusal, &received),
            }
            batch.advance();
            self.is_repeated.set(false);
            self.engine.flush_old();
        }
        self.engine.after_batch();
    }

    fn receive(&mut self, datagram: &Incoming<'_>) {
        match self.heritage.parts.poison.known_to_receivers(datagram.bytes, monotonic_ns) {
            Known::Not => self.engine.receive(datagram),
            Known::Copy => self.engine.refuse_copy(datagram),
            Known::Unreadable => self.engine.count_copy(),
        }
    }
}

fn tell_inheritance(log: &Log, inheritance: Inheritance) {
    if inheritance.left > 0 {
        let left = inheritance.left;
        log.say(Level::Notice, format_args!("recovered {left} messages read by the previous receiver"));
    }
}

/// A signal, or news about something sent earlier (an ICMP message): nothing is wrong with the socket.
fn is_temporary(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    let is_of_another_datagram =
        matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | NetworkDown);
    is_of_another_datagram || poll::is_transient(error)
}

/// Why a datagram is not even looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::process) enum Refusal {
    /// A sender without address or port cannot be answered.
    NoSender,
    /// It is longer than `msg_recv_max_size` allows.
    TooLong,
}

/// What is known about a datagram besides its bytes.
pub(in crate::process) fn envelope(
    received: &Received<'_>,
    socket: &UdpListener,
    listener: u16,
    received_at_ns: u64,
) -> Result<Envelope, Refusal> {
    if received.is_cut {
        return Err(Refusal::TooLong);
    }
    let source = received.source.filter(|source| source.port() != 0).ok_or(Refusal::NoSender)?;
    let destination = socket.destination(received.destination);
    Ok(Envelope { source, destination, listener, transport: Transport::Udp, received_at_ns })
}

#[cold]
fn tell(log: &Log, refusals: &Throttle, refusal: Refusal, received: &Received<'_>) {
    let Some(held_back) = refusals.pass(monotonic_ns()) else { return };
    let why = match refusal {
        Refusal::NoSender => "no sender address",
        Refusal::TooLong => "longer than msg_recv_max_size",
    };
    let source = received.source.map_or("nowhere".to_owned(), |source| source.to_string());
    log.say(Level::Info, format_args!("datagram from {source} dropped: {why}{held_back}"));
}

/// The way from a receiver into its rings.
pub struct RingDelegate {
    producer: Producer,
    /// Groups that were given something since the last wake.
    is_touched: Vec<bool>,
    meta: Vec<u8>,
    waiting: Option<DelayingDelegate>,
    /// The message in hand may have been handed over by a receiver that died.
    is_repeated: Rc<Cell<bool>>,
}

impl RingDelegate {
    /// Hands over through this producer's rings.
    pub fn new(producer: Producer, group_count: u32) -> RingDelegate {
        RingDelegate {
            producer,
            is_touched: vec![false; group_count as usize],
            meta: Vec::new(),
            waiting: None,
            is_repeated: Rc::default(),
        }
    }

    /// While this is set, a delegated message is marked as possibly delegated before.
    fn mark_repeated(&mut self, is_repeated: Rc<Cell<bool>>) {
        self.is_repeated = is_repeated;
    }

    /// Lets messages wait here that are not to be processed at once.
    fn with_waiting(self, waiting: Option<DelayingDelegate>) -> RingDelegate {
        RingDelegate { waiting, ..self }
    }

    fn push(
        &mut self,
        group: GroupIndex,
        placement: Placement,
        meta: &[u8],
        body: &[u8],
        xdata: &[u8],
    ) -> Delegation {
        let Some(is_touched) = self.is_touched.get_mut(usize::from(group.0)) else {
            return Delegation::NoSuchGroup;
        };
        let record = Record { meta, body, xdata, received_at_ns: monotonic_ns() };
        let group = u32::from(group.0);
        let pushed = match self.is_repeated.get() {
            false => self.producer.push_to(group, placement, &record),
            true => self.producer.push_again(group, placement, &record),
        };
        match pushed {
            Ok(()) => {
                *is_touched = true;
                Delegation::Delegated
            }
            Err(PushError::Full) => Delegation::Full,
            Err(PushError::TooLarge) => Delegation::TooLarge,
        }
    }
}

impl Delegate for RingDelegate {
    fn delegate(
        &mut self,
        group: GroupIndex,
        placement: Placement,
        datagram: &Incoming<'_>,
        xdata: &[u8],
    ) -> Delegation {
        let meta = Work::meta_of_message(&datagram.envelope);
        self.push(group, placement, &meta, datagram.bytes, xdata)
    }

    fn suspend(&mut self, group: GroupIndex, placement: Placement, suspended: &Suspended<'_>) -> Delegation {
        if !suspended.delay.is_zero() {
            let waiting = self.waiting.as_mut();
            return waiting
                .map_or(Delegation::NotHere, |waiting| waiting.suspend(group, placement, suspended));
        }
        let Suspended { datagram, continuation, xdata, .. } = suspended;
        Work::write_meta_of_resumed(&datagram.envelope, continuation, &mut self.meta);
        let meta = std::mem::take(&mut self.meta);
        let delegation = self.push(group, placement, &meta, datagram.bytes, xdata);
        self.meta = meta;
        delegation
    }

    fn count_refused(&mut self, group: GroupIndex) {
        self.producer.count_refused(u32::from(group.0));
    }

    fn wake(&mut self) {
        for (group, is_touched) in (0..).zip(&mut self.is_touched) {
            if std::mem::take(is_touched) {
                self.producer.wake(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::{GroupPlan, QueuePlan, Queues};

    fn datagram(bytes: &[u8]) -> Incoming<'_> {
        let envelope = Envelope {
            source: "192.0.2.1:5060".parse().unwrap(),
            destination: "192.0.2.2:5060".parse().unwrap(),
            listener: 3,
            transport: Transport::Udp,
            received_at_ns: 77,
        };
        Incoming { bytes, envelope }
    }

    fn queues(queue: u32) -> Queues {
        let group = |name: &str| GroupPlan::new(name, 1, queue);
        let plan = QueuePlan { producers: 1, groups: vec![group("a"), group("b")] };
        Queues::create(&plan).unwrap()
    }

    #[test]
    fn what_is_delegated_arrives_with_its_circumstances_and_extra_value() {
        let queues = queues(8);
        let mut delegate = RingDelegate::new(queues.producer(0), queues.group_count());

        assert_eq!(
            delegate.delegate(GroupIndex(1), Placement::Usual, &datagram(b"INVITE"), b"x"),
            Delegation::Delegated
        );
        delegate.wake();

        let mut consumer = queues.consumer(1, 0);
        let delivery = consumer.next().unwrap();
        assert_eq!(Work::split(delivery.meta()), Ok((datagram(b"").envelope, &[][..])));
        assert_eq!((delivery.body(), delivery.xdata()), (&b"INVITE"[..], &b"x"[..]));
        assert!(queues.consumer(0, 0).next().is_none());
    }

    #[test]
    fn what_a_dead_receiver_may_have_handed_over_is_marked_and_nothing_else() {
        let queues = queues(8);
        let mut delegate = RingDelegate::new(queues.producer(0), queues.group_count());
        let is_repeated = Rc::new(Cell::new(true));
        delegate.mark_repeated(Rc::clone(&is_repeated));
        let mut hand_over = || delegate.delegate(GroupIndex(0), Placement::Usual, &datagram(b"BYE"), b"");
        assert_eq!(hand_over(), Delegation::Delegated);
        is_repeated.set(false);
        assert_eq!(hand_over(), Delegation::Delegated);
        let mut consumer = queues.consumer(0, 0);
        for attempts in [1, 0] {
            let delivery = consumer.next().unwrap();
            assert_eq!(delivery.earlier_attempts(), attempts);
            delivery.finish();
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let queues = queues(2);
        let mut delegate = RingDelegate::new(queues.producer(0), queues.group_count());
        let large = vec![b'x'; 80_000];
        let rows = [
            (GroupIndex(2), &b"m"[..], Delegation::NoSuchGroup),
            (GroupIndex(0), &large, Delegation::TooLarge),
            (GroupIndex(0), b"m", Delegation::Delegated),
            (GroupIndex(0), b"m", Delegation::Delegated),
            (GroupIndex(0), b"m", Delegation::Full),
            (GroupIndex(1), b"m", Delegation::Delegated),
        ];
        for (group, bytes, expected) in rows {
            assert_eq!(delegate.delegate(group, Placement::Usual, &datagram(bytes), b""), expected);
        }
    }

    #[test]
    fn what_cannot_be_answered_or_is_too_long_is_dropped() {
        let socket = UdpListener::bind("127.0.0.1:0".parse().unwrap(), &Default::default()).unwrap();
        let port = socket.address().port();
        let check =
            |source: Option<&str>, destination: Option<&str>, is_cut, expected: Result<&str, Refusal>| {
                let received = Received {
                    bytes: b"",
                    source: source.map(|text| text.parse().unwrap()),
                    destination: destination.map(|text| text.parse().unwrap()),
                    is_cut,
                };
                let found = envelope(&received, &socket, 0, 1).map(|c| c.destination.to_string());
                assert_eq!(found, expected.map(|ip| format!("{ip}:{port}")));
            };
        check(None, None, false, Err(Refusal::NoSender));
        check(Some("192.0.2.1:0"), None, false, Err(Refusal::NoSender));
        check(Some("192.0.2.1:1"), None, true, Err(Refusal::TooLong));
        check(Some("192.0.2.1:1"), None, false, Ok("127.0.0.1"));
        check(Some("192.0.2.1:1"), Some("127.0.0.9"), false, Ok("127.0.0.9"));
    }
}
