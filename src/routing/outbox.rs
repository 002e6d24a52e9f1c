//! The way out: what runs here hands over what is to leave, without knowing in which process it runs.
//!
//! ```text
//!  reply     put ─► leaves with those that follow, or at once when no other message waits for this process
//!  request   send ─► leaves now, and all that was put before it: the script is told whether the kernel took it
//! ```
//!
//! **Invariants**
//! - A delivery is finished only after its sends lie in an outbox that outlives the process. An outbox is empty before a
//!   process waits: for the next message, a lock, a name, a time.
//! - What another process may do because of this message, it does after what was sent for it has left: sends leave before
//!   the message is handed on and before a lock is given back.

use super::outgoing::{NotSent, Outgoing};
use crate::shm::BATCH_COUNT;
use crate::sys::clock::monotonic_ns;

/// Sends messages.
pub trait Outbox {
    /// Takes a copy; from now on it leaves, whoever dies. How many lie here now. What the kernel says to it is counted and
    /// logged when it leaves. An outbox that keeps nothing sends it.
    fn put(&mut self, outgoing: &Outgoing<'_>) -> Result<usize, NotSent> {
        self.send(outgoing).map(|()| 0)
    }

    /// Takes a copy, and all that lies here leaves now, in order. The kernel's answer to this one.
    fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent>;

    /// All that lies here leaves now.
    fn flush(&mut self) {}
}

/// Decides when what is put into an outbox leaves.
pub struct Egress {
    outbox: Box<dyn Outbox>,
    /// Another message waits for this process behind the one in hand: what is put can leave together with more.
    is_followed: bool,
    /// Since when something lies in the outbox; 0 when nothing does.
    put_since_ns: u64,
}

/// No longer than this does a message lie in the outbox of a busy process.
const HELD_MAX_NS: u64 = 1_000_000;

impl Egress {
    /// Sends by this outbox.
    pub fn new(outbox: Box<dyn Outbox>) -> Egress {
        Egress { outbox, is_followed: false, put_since_ns: 0 }
    }

    /// Whether another message waits for this process behind the one it works on next.
    pub fn set_followed(&mut self, is_followed: bool) {
        self.is_followed = is_followed;
    }

    /// Lets a message leave: with those that follow, or at once when nothing else waits for this process.
    pub fn put(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        if !self.is_followed {
            return self.send(outgoing);
        }
        match self.outbox.put(outgoing)? {
            1 => self.put_since_ns = monotonic_ns(),
            BATCH_COUNT => self.flush(),
            _ => {}
        }
        Ok(())
    }

    /// Lets a message leave now, behind all that were put before it, and says what the kernel says.
    pub fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        self.put_since_ns = 0;
        self.outbox.send(outgoing)
    }

    /// Lets everything leave that was put: this process is about to wait.
    pub fn flush(&mut self) {
        self.put_since_ns = 0;
        self.outbox.flush();
    }

    /// The same where something has been there for long: this process is busy.
    #[inline]
    pub fn flush_old(&mut self) {
        if self.put_since_ns != 0 && monotonic_ns() >= self.put_since_ns + HELD_MAX_NS {
            self.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::endpoint::Flow;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    /// Keeps what is put; what left stands in the list, one text for each time something left.
    #[derive(Default)]
    struct Kept {
        lies_here: String,
        count: usize,
        left: Rc<RefCell<Vec<String>>>,
    }

    impl Outbox for Kept {
        fn put(&mut self, outgoing: &Outgoing<'_>) -> Result<usize, NotSent> {
            self.lies_here.push_str(std::str::from_utf8(outgoing.bytes).unwrap());
            self.count += 1;
            Ok(self.count)
        }

        fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
            self.put(outgoing)?;
            self.flush();
            Ok(())
        }

        fn flush(&mut self) {
            self.count = 0;
            self.left.borrow_mut().push(std::mem::take(&mut self.lies_here));
        }
    }

    fn outgoing(text: &str) -> Outgoing<'_> {
        let flow = Flow::Datagram { listener: 0, to: "127.0.0.1:5060".parse().unwrap() };
        Outgoing { flow, bytes: text.as_bytes() }
    }

    #[test]
    fn what_is_put_leaves_with_more_only_where_more_is_to_come() {
        let kept = Kept::default();
        let left = Rc::clone(&kept.left);
        let mut egress = Egress::new(Box::new(kept));
        egress.put(&outgoing("a")).unwrap();
        assert_eq!(left.take(), ["a"], "nothing else waits");
        egress.set_followed(true);
        egress.put(&outgoing("b")).unwrap();
        egress.put(&outgoing("c")).unwrap();
        assert!(left.borrow().is_empty());
        egress.set_followed(false);
        egress.put(&outgoing("d")).unwrap();
        assert_eq!(left.take(), ["bcd"], "the last one takes them along");
        egress.set_followed(true);
        egress.put(&outgoing("e")).unwrap();
        egress.send(&outgoing("f")).unwrap();
        assert_eq!(left.take(), ["ef"], "a request leaves at once, behind what was put");
        egress.put(&outgoing("g")).unwrap();
        egress.flush();
        assert_eq!(left.take(), ["g"]);
        (0..BATCH_COUNT).for_each(|_| egress.put(&outgoing("h")).unwrap());
        assert_eq!(left.take(), ["h".repeat(BATCH_COUNT)], "a batch");
    }

    #[test]
    fn what_lies_there_for_a_millisecond_leaves() {
        let kept = Kept::default();
        let left = Rc::clone(&kept.left);
        let mut egress = Egress::new(Box::new(kept));
        egress.flush_old();
        assert!(left.borrow().is_empty(), "nothing was put");
        egress.set_followed(true);
        let began = Instant::now();
        egress.put(&outgoing("a")).unwrap();
        while left.borrow().is_empty() {
            egress.flush_old();
            assert!(began.elapsed() < Duration::from_secs(5), "it never left");
        }
        assert!(began.elapsed() >= Duration::from_nanos(HELD_MAX_NS), "{:?}", began.elapsed());
        assert_eq!(left.take(), ["a"]);
        egress.flush_old();
        assert!(left.borrow().is_empty());
    }
}
