//! Handing the message in hand on, as it has become, to a worker that goes on with it in a route.
//!
//! ```text
//!  request_route { …; async_task_route("RESUME"); }     message + continuation ─► ring, or a wait ─► ring
//!                                                              worker: restore ─► route[RESUME]
//! ```
//!
//! **Invariant:** from the moment a message is handed on, the rest of the script may still answer it, but no other
//! route is begun with it here.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::script::host::{Reading, ValueRef};
use crate::sip::validate::{check_framing, check_readable_with};
use crate::sip::write;

use super::context::Context;
use super::continuation::{CarriedFlags, Continuation, ContinuationWriter, Resume, TooLong};
use super::xavps::Entry;
use crate::routing::delegation::{Delegation, GroupIndex, Suspended, Xdata};
use crate::routing::envelope::Incoming;

/// The counter row under which is shown how many messages wait now: read from where they wait, not counted.
pub use crate::shm::DELAYED_COUNT;

/// Why a message could not be handed on; it is still here, and ours to process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHandedOn {
    /// It is a reply, which has no sender waiting for an answer.
    NotARequest,
    /// Nothing in this process can hand it on.
    NotHere,
    /// There is no such group.
    NoSuchGroup,
    /// The queue of the group is full, or as many messages wait as may.
    Full,
    /// With all that belongs to it, it does not fit into a record.
    TooLarge,
    /// What the script made of it is no message.
    Broken,
}

impl fmt::Display for NotHandedOn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            NotHandedOn::NotARequest => "only requests can be suspended",
            NotHandedOn::NotHere => "this process cannot suspend requests",
            NotHandedOn::NoSuchGroup => "no such worker group",
            NotHandedOn::Full => "the queue is full",
            NotHandedOn::TooLarge => "message and values are larger than a queue record",
            NotHandedOn::Broken => "the changed message cannot be parsed",
        })
    }
}

impl std::error::Error for NotHandedOn {}

impl From<TooLong> for NotHandedOn {
    fn from(_: TooLong) -> Self {
        NotHandedOn::TooLarge
    }
}

impl Context<'_> {
    /// Gives the message, as it has become, to a group: once the delay is over, a worker goes on with it at the goal. A
    /// full queue of a group with `full=reply` answers it with 503 instead, and then it is dealt with as well.
    pub fn suspend(
        &mut self,
        group: GroupIndex,
        goal: Resume<'_>,
        delay: Duration,
    ) -> Result<(), NotHandedOn> {
        if !self.message.is_request() {
            return Err(NotHandedOn::NotARequest);
        }
        self.flush_own();
        let placement = self.placement(group);
        let mut continuation = Vec::with_capacity(64);
        self.write_continuation(goal, &mut continuation)?;
        let xdata = self.carried_xdata();
        // The Request-URI is not among these changes: it travels beside the message.
        let bytes = match self.edits.is_empty() {
            true => Cow::Borrowed(self.message.bytes()),
            false => Cow::Owned(self.write_changed()?),
        };
        let datagram = Incoming { bytes: &bytes, envelope: self.datagram.envelope };
        let is_continued = self.is_continued;
        let suspended =
            Suspended { datagram, continuation: &continuation, xdata: &xdata, delay, is_continued };
        let delegation = match &mut self.process.ports.delegate {
            Some(delegate) => delegate.suspend(group, placement, &suspended),
            None => Delegation::NotHere,
        };
        match self.refuse_if_full(group, delegation) {
            Delegation::Delegated | Delegation::Refused => {
                self.is_suspended = true;
                Ok(())
            }
            Delegation::Full => Err(NotHandedOn::Full),
            Delegation::NoSuchGroup => Err(NotHandedOn::NoSuchGroup),
            Delegation::TooLarge => Err(NotHandedOn::TooLarge),
            Delegation::NotHere => Err(NotHandedOn::NotHere),
        }
    }

    /// Takes up what another process did with the message before it was handed on.
    pub fn restore(&mut self, continuation: &Continuation<'_>) {
        let CarriedFlags { message, branch, extra, is_rport_forced, is_local_rport_added, forced_listener } =
            continuation.flags;
        self.is_continued = true;
        (self.flags, self.branch_flags, self.extra_flags) = (message, branch, extra);
        self.is_rport_forced = is_rport_forced;
        self.is_local_rport_added = is_local_rport_added;
        let listener_count = self.settings().listeners.len();
        self.forced_listener = forced_listener.filter(|index| usize::from(*index) < listener_count);
        if let Some(uri) = continuation.request_uri {
            self.set_request_uri(uri);
        }
        self.set_destination_uri(continuation.destination_uri);
        self.reply_headers.extend_from_slice(continuation.reply_headers);
        for (name, value) in continuation.avps() {
            // There were no more of them where they come from.
            let _ = self.process.avps.push(name, value);
        }
        for (store, Entry { name, content }) in continuation.xavps() {
            let process = &mut *self.process;
            let store = match store {
                0 => &mut process.xavps,
                1 => &mut process.xavus,
                _ => &mut process.xavis,
            };
            let _ = store.push(&name, content);
        }
    }

    fn write_continuation(&self, goal: Resume<'_>, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let mut writer = ContinuationWriter::begin(out, goal)?;
        writer.flags(&CarriedFlags {
            message: self.flags,
            branch: self.branch_flags,
            extra: self.extra_flags,
            is_rport_forced: self.is_rport_forced,
            is_local_rport_added: self.is_local_rport_added,
            forced_listener: self.forced_listener,
        })?;
        if let Some(uri) = self.changed_request_uri() {
            writer.request_uri(uri)?;
        }
        if let Some(uri) = self.destination_uri() {
            writer.destination_uri(uri)?;
        }
        writer.reply_headers(&self.reply_headers)?;
        self.process.avps.all().try_for_each(|(name, value)| writer.avp(name, value))?;
        let stores = [&self.process.xavps, &self.process.xavus, &self.process.xavis];
        (0..).zip(stores).try_for_each(|(number, store)| {
            store.roots().iter().try_for_each(|entry| writer.xavp(number, entry))
        })
    }

    /// The extra value of the script, as it is now.
    fn carried_xdata(&self) -> Vec<u8> {
        let (mut text, mut encoded) = (Vec::new(), Vec::new());
        let Some(place) = self.script().services().xdata else { return encoded };
        let value = match self.read(place.place(), &mut text) {
            Reading::Null => ValueRef::Null,
            Reading::Integer(number) => ValueRef::Integer(number),
            Reading::Text => ValueRef::Text(&text),
        };
        Xdata::from(value).encode(&mut encoded);
        encoded
    }

    /// Checks that the message is still valid after the changes of the script, before another process has to read it.
    fn write_changed(&self) -> Result<Vec<u8>, NotHandedOn> {
        let mut text = Vec::with_capacity(self.datagram.bytes.len() + 256);
        write::message(&self.message, &self.edits, &mut text).map_err(|_| NotHandedOn::Broken)?;
        let settings = self.settings();
        let (answers, repeated) = (settings.answers_broken_requests, settings.repeated_fields);
        let is_whole = self.message.parse_alike(&text).is_ok_and(|message| {
            check_readable_with(&message, repeated).is_ok() && (!answers || check_framing(&message).is_ok())
        });
        if is_whole { Ok(text) } else { Err(NotHandedOn::Broken) }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::routing::context::tests::with_context_logging_to;

    fn with_context(act: impl FnOnce(&mut Context<'_>)) {
        with_context_logging_to(Rc::default(), act);
    }

    #[test]
    fn what_one_process_did_another_takes_up() {
        let mut encoded = Vec::new();
        with_context(|context| {
            (context.flags, context.branch_flags, context.extra_flags) = (1, 2, 3);
            context.is_rport_forced = true;
            context.set_request_uri(b"sip:new@h");
            context.reply_headers.extend_from_slice(b"X: 1\r\n");
            context.process.avps.push(b"a", ValueRef::Integer(7)).unwrap();
            // A listener that is not there on the other side.
            context.forced_listener = Some(99);
            context.write_continuation(Resume::Route(b"R"), &mut encoded).unwrap();
        });
        with_context(|context| {
            context.restore(&Continuation::decode(&encoded).unwrap());
            assert_eq!((context.flags, context.branch_flags, context.extra_flags), (1, 2, 3));
            assert!(context.is_continued && context.is_rport_forced && !context.is_local_rport_added);
            assert_eq!(context.request_uri(), Some(&b"sip:new@h"[..]));
            assert_eq!((context.destination_uri(), context.forced_listener), (None, None));
            assert_eq!(context.reply_headers, b"X: 1\r\n");
            assert_eq!(context.process.avps.values(b"a").next(), Some(ValueRef::Integer(7)));
        });
    }

    #[test]
    fn what_cannot_be_handed_on_is_still_ours() {
        with_context(|context| {
            let answer = context.suspend(GroupIndex(0), Resume::Route(b"R"), Duration::ZERO);
            assert_eq!((answer, context.is_suspended), (Err(NotHandedOn::NotHere), false));
            context.process.avps.push(b"a", ValueRef::Text(&[b'x'; 70_000])).unwrap();
            let answer = context.suspend(GroupIndex(0), Resume::Route(b"R"), Duration::ZERO);
            assert_eq!(answer, Err(NotHandedOn::TooLarge));
        });
    }

    #[test]
    fn what_the_script_made_unreadable_is_not_handed_on() {
        with_context(|context| {
            // This message lacks what every message must have; received as it is, this was not checked.
            assert_eq!(
                context.suspend(GroupIndex(0), Resume::Route(b"R"), Duration::ZERO),
                Err(NotHandedOn::NotHere)
            );
            context.edits.remove_named(&context.message, b"X");
            assert_eq!(
                context.suspend(GroupIndex(0), Resume::Route(b"R"), Duration::ZERO),
                Err(NotHandedOn::Broken)
            );
        });
    }
}
