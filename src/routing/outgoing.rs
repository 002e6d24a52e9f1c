//! A message that is composed and may leave: its bytes, and the flow it leaves by.
//!
//! **Invariant:** composing changes nothing but a buffer, and sending takes no message in hand: what is composed can be
//! kept and sent again.

use std::fmt;
use std::io;

use crate::transport::endpoint::Flow;

/// What leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The way.
    pub flow: Flow,
    /// The message.
    pub bytes: &'a [u8],
}

/// Why a message does not leave.
#[derive(Debug)]
pub enum NotSent {
    /// No datagram is so large.
    TooLarge,
    /// The kernel did not take it.
    Refused(io::Error),
}

impl fmt::Display for NotSent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotSent::TooLarge => out.write_str("it is larger than any datagram"),
            NotSent::Refused(error) => error.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_leave_says_why() {
        let refused = NotSent::Refused(io::Error::other("the kernel has its reasons"));
        let rows =
            [(NotSent::TooLarge, "it is larger than any datagram"), (refused, "the kernel has its reasons")];
        for (not_sent, expected) in rows {
            assert_eq!(not_sent.to_string(), expected);
        }
    }
}
