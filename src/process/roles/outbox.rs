//! The way out of a process: by way of memory that outlives it, to the listeners that every child inherits.
//!
//! ```text
//!  put ──► outbox in shared memory ──flush──► one kernel call for all that leave by one listener
//!                      ▲
//!          what a predecessor left, first of all; what other dead processes left, before this one waits
//! ```
//!
//! What the kernel refuses is counted and logged with its destination, and nothing else is held up by it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::routing::outbox::Outbox;
use crate::routing::outgoing::{NotSent, Outgoing};
use crate::shm::{CounterBlock, Outboxes, Packet, Pending, PutError, SharedOutbox};
use crate::sys::clock::monotonic_ns;
use crate::sys::send::BatchSender;
use crate::telemetry::counters::{SENDS_FAILED, SENDS_TAKEN_OVER};
use crate::telemetry::log::{Level, Log};
use crate::telemetry::throttle::Throttle;
use crate::transport::endpoint::Flow;
use crate::transport::listener::Listeners;

/// The outbox of a receiver or worker.
pub struct ProcessOutbox {
    own: SharedOutbox,
    all: Outboxes,
    process: u32,
    carrier: Carrier,
}

impl ProcessOutbox {
    /// The end of the process of this index, when it has one. What a predecessor left there has left on return.
    pub fn attach(
        all: &Outboxes,
        process: u32,
        listeners: Rc<Listeners>,
        counters: CounterBlock,
        log: Rc<Log>,
    ) -> Option<ProcessOutbox> {
        let own = all.attach(process)?;
        let sender = BatchSender::default();
        let carrier = Carrier { listeners, sender, counters, log, last: None, failures: Throttle::default() };
        let mut outbox = ProcessOutbox { own, all: all.clone(), process, carrier };
        outbox.carrier.take_over(&mut outbox.own, "the process before this one");
        Some(outbox)
    }

    fn flush_own(&mut self) {
        self.carrier.flush(&mut self.own);
        self.carrier.tell_last();
    }

    fn put_own(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        let Flow::Datagram { listener, to } = outgoing.flow;
        let packet = Packet { listener, to, bytes: outgoing.bytes };
        let mut put = self.own.put(&packet);
        if put == Err(PutError::Full) {
            self.flush_own();
            put = self.own.put(&packet);
        }
        put.map_err(|_| NotSent::TooLarge)
    }
}

impl Outbox for ProcessOutbox {
    fn put(&mut self, outgoing: &Outgoing<'_>) -> Result<usize, NotSent> {
        self.put_own(outgoing)?;
        Ok(self.own.len())
    }

    fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        self.put_own(outgoing)?;
        self.carrier.flush(&mut self.own);
        self.carrier.last.take().map_or(Ok(()), |(_, error)| Err(NotSent::Refused(error)))
    }

    fn flush(&mut self) {
        self.flush_own();
        while let Some(mut adopted) = self.all.adopt(self.process) {
            self.carrier.take_over(&mut adopted.outbox, "a process that died");
            adopted.give_back();
        }
    }
}

/// Brings what lies in an outbox to the kernel.
struct Carrier {
    listeners: Rc<Listeners>,
    sender: BatchSender,
    counters: CounterBlock,
    log: Rc<Log>,
    /// What was put last was refused, which its sender may want to know.
    last: Option<(SocketAddr, io::Error)>,
    failures: Throttle,
}

impl Carrier {
    fn flush(&mut self, outbox: &mut SharedOutbox) {
        outbox.flush(|pending| self.carry(pending));
        for _ in 0..outbox.take_corrupt_count() {
            self.fail(format_args!("a message that was to leave cannot be read back: it is lost"));
        }
    }

    /// The first of what waits and all behind it that leave by the same listener; of how many the kernel has decided.
    fn carry(&mut self, pending: &Pending<'_>) -> usize {
        let Some(first) = pending.packet(0) else { return 1 };
        let sent = match pending.len() {
            1 => self.listeners.send(first.listener, first.to, first.bytes).map(|()| 1),
            _ => {
                let datagrams = pending.of_one_listener().map(|packet| (packet.to, packet.bytes));
                self.listeners.send_many(first.listener, &mut self.sender, datagrams)
            }
        };
        sent.unwrap_or_else(|error| {
            match pending.len() {
                1 => self.last = Some((first.to, error)),
                _ => self.fail(format_args!("could not send to {}: {error}", first.to)),
            }
            1
        })
    }

    fn take_over(&mut self, outbox: &mut SharedOutbox, whose: &str) {
        let count = outbox.len();
        if count > 0 {
            self.counters.add(SENDS_TAKEN_OVER.0, count as u64);
            self.log
                .say(Level::Notice, format_args!("sending {count} messages that {whose} was about to send"));
        }
        self.flush(outbox);
        self.tell_last();
    }

    fn tell_last(&mut self) {
        if let Some((to, error)) = self.last.take() {
            self.fail(format_args!("could not send to {to}: {error}"));
        }
    }

    #[cold]
    fn fail(&self, text: std::fmt::Arguments<'_>) {
        self.counters.add(SENDS_FAILED.0, 1);
        if let Some(withheld) = self.failures.pass(monotonic_ns()) {
            self.log.say(Level::Error, format_args!("{text}{withheld}"));
        }
    }
}

/// The way out of a process that sends a message or two and has no outbox: each leaves at once.
pub struct DirectOutbox {
    listeners: Rc<Listeners>,
}

impl DirectOutbox {
    /// Sends by these.
    pub fn new(listeners: Rc<Listeners>) -> DirectOutbox {
        DirectOutbox { listeners }
    }
}

impl Outbox for DirectOutbox {
    fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        let Flow::Datagram { listener, to } = outgoing.flow;
        self.listeners.send(listener, to, outgoing.bytes).map_err(NotSent::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::Counters;
    use crate::telemetry::log::Sink;
    use crate::transport::udp::UdpOptions;
    use std::cell::RefCell;
    use std::net::UdpSocket;
    use std::time::Duration;

    struct Scene {
        listeners: Rc<Listeners>,
        outboxes: Outboxes,
        counters: Counters,
        log: Rc<RefCell<Vec<u8>>>,
        peer: UdpSocket,
    }

    const PROCESS: u32 = 1;
    const OTHER: u32 = 2;

    fn scene() -> Scene {
        let addresses = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| address.parse().unwrap());
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Scene {
            listeners: Rc::new(Listeners::bind(&addresses, &UdpOptions::default()).unwrap()),
            outboxes: Outboxes::create([false, true, true].into_iter()).unwrap(),
            counters: Counters::create(3, SENDS_TAKEN_OVER.0 + 1).unwrap(),
            log: Rc::default(),
            peer,
        }
    }

    impl Scene {
        fn attach(&self, process: u32) -> ProcessOutbox {
            let log = Rc::new(Log::new(Sink::Memory(self.log.clone()), Level::Debug));
            let counters = self.counters.block(process);
            ProcessOutbox::attach(&self.outboxes, process, self.listeners.clone(), counters, log).unwrap()
        }

        fn outgoing<'a>(&self, listener: u16, bytes: &'a [u8]) -> Outgoing<'a> {
            let to = self.peer.local_addr().unwrap();
            Outgoing { flow: Flow::Datagram { listener, to }, bytes }
        }

        /// Nobody may send to everybody without having asked for it.
        fn forbidden<'a>(&self, bytes: &'a [u8]) -> Outgoing<'a> {
            let to = "255.255.255.255:9".parse().unwrap();
            Outgoing { flow: Flow::Datagram { listener: 0, to }, bytes }
        }

        fn received(&self) -> (String, SocketAddr) {
            let mut bytes = [0; 2000];
            let (size, from) = self.peer.recv_from(&mut bytes).expect("a packet");
            (String::from_utf8_lossy(&bytes[..size]).into_owned(), from)
        }

        fn has_received(&self) -> bool {
            self.peer.set_nonblocking(true).unwrap();
            let has_received = self.peer.recv(&mut [0; 10]).is_ok();
            self.peer.set_nonblocking(false).unwrap();
            has_received
        }

        fn log(&self) -> String {
            String::from_utf8(self.log.take()).unwrap()
        }
    }

    #[test]
    fn messages_leave_by_the_listener_they_name() {
        let scene = scene();
        let direct: Box<dyn Outbox> = Box::new(DirectOutbox::new(scene.listeners.clone()));
        for mut outbox in [direct, Box::new(scene.attach(PROCESS))] {
            for (index, listener) in scene.listeners.iter() {
                outbox.send(&scene.outgoing(index, b"hello")).unwrap();
                assert_eq!(scene.received(), ("hello".to_owned(), listener.address()));
            }
            let error = outbox.send(&scene.outgoing(2, b"hello")).unwrap_err();
            assert_eq!(error.to_string(), "there is no listener 2");
        }
    }

    #[test]
    fn what_is_put_leaves_with_a_flush_or_before_what_is_sent() {
        let scene = scene();
        let mut outbox = scene.attach(PROCESS);
        assert_eq!(outbox.put(&scene.outgoing(0, b"1")).unwrap(), 1);
        assert_eq!(outbox.put(&scene.outgoing(1, b"2")).unwrap(), 2);
        assert!(!scene.has_received());
        outbox.flush();
        assert_eq!([scene.received().0, scene.received().0], ["1", "2"]);
        outbox.put(&scene.outgoing(1, b"3")).unwrap();
        outbox.send(&scene.outgoing(0, b"4")).unwrap();
        assert_eq!([scene.received().0, scene.received().0], ["3", "4"]);
        // A batch, and more bytes than there is room for.
        for size in [4, 1_999] {
            let texts: Vec<String> = (0..40).map(|number| format!("{number:>size$}")).collect();
            for text in &texts {
                outbox.put(&scene.outgoing(0, text.as_bytes())).unwrap();
            }
            outbox.flush();
            texts.iter().for_each(|text| assert_eq!(&scene.received().0, text));
        }
    }

    #[test]
    fn who_sends_is_told_what_the_kernel_said_and_what_was_put_is_counted_and_logged() {
        let scene = scene();
        let mut outbox = scene.attach(PROCESS);
        let failed = || scene.counters.sum(SENDS_FAILED.0);
        let refused = outbox.send(&scene.forbidden(b"x")).unwrap_err();
        assert!(matches!(refused, NotSent::Refused(_)), "{refused}");
        assert!(matches!(outbox.send(&scene.outgoing(0, &[0; 65_537])), Err(NotSent::TooLarge)));
        assert!(matches!(outbox.send(&scene.outgoing(0, &[0; 65_530])), Err(NotSent::Refused(_))));
        assert_eq!((failed(), scene.log()), (0, String::new()), "the one who sends it counts it");

        outbox.put(&scene.forbidden(b"x")).unwrap();
        outbox.put(&scene.outgoing(0, b"1")).unwrap();
        outbox.put(&scene.forbidden(b"x")).unwrap();
        outbox.send(&scene.outgoing(0, b"2")).unwrap();
        assert_eq!([scene.received().0, scene.received().0], ["1", "2"]);
        assert_eq!(failed(), 2);
        assert!(scene.log().contains("could not send to 255.255.255.255:9: Permission denied"));
        outbox.put(&scene.forbidden(b"x")).unwrap();
        outbox.flush();
        assert_eq!(failed(), 3);
        outbox.send(&scene.outgoing(0, b"3")).expect("what was refused before is forgotten");
    }

    #[test]
    fn what_dead_processes_left_leaves_before_this_one_waits() {
        let scene = scene();
        let taken_over = || scene.counters.sum(SENDS_TAKEN_OVER.0);
        let mut dead = scene.attach(PROCESS);
        dead.put(&scene.outgoing(0, b"left")).unwrap();
        drop(dead);
        let mut successor = scene.attach(PROCESS);
        assert_eq!((scene.received().0, taken_over()), ("left".to_owned(), 1));
        assert!(
            scene.log().contains("sending 1 messages that the process before this one was about to send")
        );

        successor.put(&scene.outgoing(0, b"again")).unwrap();
        drop(successor);
        let mut colleague = scene.attach(OTHER);
        colleague.flush();
        assert!(!scene.has_received(), "its successor may come");
        assert!(scene.outboxes.abandon(PROCESS));
        colleague.flush();
        assert_eq!((scene.received().0, taken_over()), ("again".to_owned(), 2));
        assert!(scene.outboxes.may_start(PROCESS));
    }
}
