//! What a process is given to do, and the form in which it travels through a ring.
//!
//! A record of a ring carries three byte strings: `meta`, written and read here; `body`, the message; and `xdata`, the
//! extra value of the script.
//!
//! ```text
//!  meta of a message   MESSAGE:1 │ envelope
//!  of a resumed one    RESUMED:1 │ envelope │ fields of the continuation
//!
//!  a field             kind:1 │ size:2 │ bytes …        numbers big-endian; the envelope is the first field
//! ```
//!
//! A worker reads all of it as something a crashed process wrote: every field is checked when it is decoded. Fields of
//! an unknown kind are passed over.
//!
//! **Invariant:** work that cannot be read, of an unknown kind for instance, is counted, passed over and finished.

use std::fmt;

use super::envelope::{ENVELOPE_SIZE, Envelope, Incoming};

/// A piece of work.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// A message, delegated by a receiver as it came from the network.
    Message {
        /// The message.
        incoming: Incoming<'a>,
        /// The extra value as it travels. Decoded with the script's variable at hand: a broken one loses no message.
        xdata: &'a [u8],
    },
    /// A message that another process has begun with and suspended.
    Resumed {
        /// The message, as it had become.
        incoming: Incoming<'a>,
        /// Where and with what it goes on, as it travels ([`super::continuation`]): work is small enough to be moved.
        continuation: &'a [u8],
        /// The extra value as it travels.
        xdata: &'a [u8],
    },
}

/// Why work cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenWork {
    /// Its kind is unknown, or missing.
    Kind,
    /// The envelope.
    Envelope,
    /// The state of a message that was suspended.
    Continuation(Envelope),
}

impl fmt::Display for BrokenWork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            BrokenWork::Kind => "it is of no known kind",
            BrokenWork::Envelope => "its envelope cannot be read",
            BrokenWork::Continuation(_) => "the saved state of the message cannot be read",
        })
    }
}

impl std::error::Error for BrokenWork {}

const MESSAGE: u8 = 1;
const RESUMED: u8 = 2;

/// Head of the field that the envelope is; its kind is none of the continuation's.
const ENVELOPE_HEAD: [u8; 3] = [64, 0, ENVELOPE_SIZE as u8];
const HEAD_SIZE: usize = 1 + ENVELOPE_HEAD.len();
const MESSAGE_META_SIZE: usize = HEAD_SIZE + ENVELOPE_SIZE;

/// Kind of work and head of the envelope together: written and compared as one number.
const fn head(kind: u8) -> [u8; HEAD_SIZE] {
    [kind, ENVELOPE_HEAD[0], ENVELOPE_HEAD[1], ENVELOPE_HEAD[2]]
}

const MESSAGE_HEAD: [u8; HEAD_SIZE] = head(MESSAGE);
const RESUMED_HEAD: [u8; HEAD_SIZE] = head(RESUMED);

impl<'a> Work<'a> {
    /// The `meta` of a message as it came.
    #[inline]
    pub fn meta_of_message(envelope: &Envelope) -> [u8; MESSAGE_META_SIZE] {
        meta(MESSAGE, envelope)
    }

    /// Writes the `meta` of a suspended message.
    pub fn write_meta_of_resumed(envelope: &Envelope, continuation: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&meta(RESUMED, envelope));
        out.extend_from_slice(continuation);
    }

    /// The envelope in a `meta`, and the fields after it: how a message goes on, or nothing.
    #[inline]
    pub fn split(meta: &'a [u8]) -> Result<(Envelope, &'a [u8]), BrokenWork> {
        let (kind, encoded, fields) = fields_of(meta)?;
        let envelope = Envelope::decode(encoded).map_err(|_| BrokenWork::Envelope)?;
        Ok((envelope, if kind == RESUMED { fields } else { &[] }))
    }

    /// Reads a record of a ring. Inlined, so that the work is built where it is used: it is too large to be moved.
    #[inline(always)]
    pub fn decode(meta: &'a [u8], body: &'a [u8], xdata: &'a [u8]) -> Result<Work<'a>, BrokenWork> {
        let (kind, encoded, fields) = fields_of(meta)?;
        let Ok(envelope) = Envelope::decode(encoded) else { return Err(BrokenWork::Envelope) };
        let incoming = Incoming { bytes: body, envelope };
        match kind {
            MESSAGE => Ok(Work::Message { incoming, xdata }),
            _ => Ok(Work::Resumed { incoming, continuation: fields, xdata }),
        }
    }

    /// A message as it came, or one to be resumed where there is an encoded continuation.
    pub fn of_message(incoming: Incoming<'a>, continuation: &'a [u8], xdata: &'a [u8]) -> Work<'a> {
        match continuation {
            [] => Work::Message { incoming, xdata },
            continuation => Work::Resumed { incoming, continuation, xdata },
        }
    }

    /// The message.
    #[inline]
    pub fn incoming(&self) -> &Incoming<'a> {
        match self {
            Work::Message { incoming, .. } | Work::Resumed { incoming, .. } => incoming,
        }
    }
}

/// The kind of work, its encoded envelope, and the fields after it.
#[inline]
fn fields_of(meta: &[u8]) -> Result<(u8, &[u8; ENVELOPE_SIZE], &[u8]), BrokenWork> {
    let Some((head, rest)) = meta.split_first_chunk() else { return Err(fault_of(meta)) };
    let kind = match *head {
        MESSAGE_HEAD => MESSAGE,
        RESUMED_HEAD => RESUMED,
        _ => return Err(fault_of(meta)),
    };
    let (envelope, fields) = rest.split_first_chunk().ok_or(BrokenWork::Envelope)?;
    Ok((kind, envelope, fields))
}

/// What is wrong with a `meta` that does not begin as work does.
#[cold]
fn fault_of(meta: &[u8]) -> BrokenWork {
    match meta.first() {
        Some(&(MESSAGE | RESUMED)) => BrokenWork::Envelope,
        _ => BrokenWork::Kind,
    }
}

#[inline]
fn meta(kind: u8, envelope: &Envelope) -> [u8; MESSAGE_META_SIZE] {
    let mut out = [0; MESSAGE_META_SIZE];
    out[..HEAD_SIZE].copy_from_slice(&head(kind));
    if let Some(rest) = out[HEAD_SIZE..].first_chunk_mut() {
        envelope.encode_to(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::continuation::{Continuation, Resume};
    use crate::transport::endpoint::Transport;

    const CONTINUATION: &[u8] = b"\x01\0\x06RESUME";

    fn envelope() -> Envelope {
        Envelope {
            source: "192.0.2.1:5060".parse().unwrap(),
            destination: "[2001:db8::1]:5061".parse().unwrap(),
            listener: 7,
            transport: Transport::Udp,
            received_at_ns: 77,
        }
    }

    fn resumed(continuation: &[u8]) -> Vec<u8> {
        let mut meta = b"from before".to_vec();
        Work::write_meta_of_resumed(&envelope(), continuation, &mut meta);
        meta
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let meta = Work::meta_of_message(&envelope());
        let work = Work::decode(&meta, b"INVITE", b"x").unwrap();
        assert!(matches!(work, Work::Message { xdata: b"x", .. }), "{work:?}");
        assert_eq!((work.incoming().bytes, work.incoming().envelope), (&b"INVITE"[..], envelope()));

        let meta = resumed(CONTINUATION);
        let work = Work::decode(&meta, b"INVITE", b"x").unwrap();
        let Work::Resumed { incoming, continuation, xdata: b"x" } = work else { panic!("{work:?}") };
        assert_eq!((incoming.envelope, continuation), (envelope(), CONTINUATION));
        assert_eq!(Work::split(&meta), Ok((envelope(), CONTINUATION)));
    }

    #[test]
    fn fields_of_a_later_program_are_passed_over() {
        let later = b"\x50\0\x03new";
        let meta = [&Work::meta_of_message(&envelope())[..], later].concat();
        assert!(matches!(Work::decode(&meta, b"m", b""), Ok(Work::Message { .. })));
        let meta = resumed(&[later, CONTINUATION].concat());
        let Ok(Work::Resumed { continuation, .. }) = Work::decode(&meta, b"m", b"") else {
            panic!("{meta:?}")
        };
        assert_eq!(Continuation::decode(continuation).map(|one| one.goal), Ok(Resume::Route(b"RESUME")));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let good = Work::meta_of_message(&envelope());
        let with = |index: usize, byte: u8| {
            let mut bytes = good.to_vec();
            bytes[index] = byte;
            bytes
        };
        let rows = [
            (vec![], BrokenWork::Kind),
            (with(0, 0), BrokenWork::Kind),
            (with(0, 3), BrokenWork::Kind),
            (good[..1].to_vec(), BrokenWork::Envelope),
            (good[..good.len() - 1].to_vec(), BrokenWork::Envelope),
            (with(1, 65), BrokenWork::Envelope),
            (with(3, 48), BrokenWork::Envelope),
            (with(4, 9), BrokenWork::Envelope),
        ];
        for (meta, expected) in rows {
            assert_eq!(Work::decode(&meta, b"m", b"").unwrap_err(), expected, "{meta:?}");
        }
    }
}
