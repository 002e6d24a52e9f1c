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
