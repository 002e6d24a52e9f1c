//! Handing a message to a group of workers: the question, its answers, and the extra value that travels along.
//!
//! **Invariant:** `Delegated` means that a live queue owns the message; every other answer means that it does not and
//! that the caller goes on with it. No answer is a bare integer, and none is given by waiting.

use std::time::Duration;

use crate::script::diagnostic::Diagnostic;
use crate::script::host::ValueRef;

use crate::config::settings::GroupSetting;
use crate::routing::envelope::Incoming;
use crate::script::suggest::{listed, suggestion};
use crate::shm::Placement;
use crate::sip::{Message, Method};

/// Index of a group in `Settings::groups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupIndex(pub u16);

/// What became of the wish to delegate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegation {
    /// A queue of the group owns the message.
    Delegated,
    /// The queue is full.
    Full,
    /// The queue is full, and the request was answered with 503: it has been dealt with.
    Refused,
    /// There is no such group, or nothing works for it any more.
    NoSuchGroup,
    /// Message and extra value do not fit into a record.
    TooLarge,
    /// Only a receiver in pre-routing may delegate.
    NotHere,
}

/// A message that a worker goes on with in a route.
#[derive(Clone, Copy, Debug)]
pub struct Suspended<'a> {
    /// The message as the script has changed it.
    pub datagram: Incoming<'a>,
    /// The route and what belongs to the message, encoded ([`super::continuation`]).
    pub continuation: &'a [u8],
    /// The extra value of the script, encoded.
    pub xdata: &'a [u8],
    /// How long it waits before it is put into the queue.
    pub delay: Duration,
    /// It was handed on before.
    pub is_continued: bool,
}

/// The way from a process into the rings.
pub trait Delegate {
    /// Copies the message into a ring of this process and that group.
    fn delegate(
        &mut self,
        group: GroupIndex,
        placement: Placement,
        datagram: &Incoming<'_>,
        xdata: &[u8],
    ) -> Delegation;

    /// Copies a message that a worker is to go on with into a ring of this process and that group, or lets it wait.
    fn suspend(&mut self, _: GroupIndex, _: Placement, _: &Suspended<'_>) -> Delegation {
        Delegation::NotHere
    }

    /// Counts a message that was answered because the queue of the group is full.
    fn count_refused(&mut self, group: GroupIndex);

    /// Wakes workers for what was delegated since the last time; once after each batch.
    fn wake(&mut self);
}

/// Whether a message goes before others when a group has `priority=on`: it belongs to something begun (a reply, a request
/// inside a dialog, an ACK, BYE, CANCEL or PRACK), so that a busy server finishes before it begins.
pub fn is_urgent(message: &Message<'_>) -> bool {
    let Some(line) = message.request_line() else { return true };
    matches!(line.method, Method::Ack | Method::Bye | Method::Cancel | Method::Prack)
        || message.to().is_ok_and(|to| to.tag().is_some())
}

/// The extra value of a script (`modparam("sworker", "xdata", …)`), its kind kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xdata<'a> {
    /// Nothing was carried; the worker clears the variable.
    Absent,
    /// An integer.
    Integer(i64),
    /// Text, possibly empty.
    Text(&'a [u8]),
}

/// Why an extra value could not be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenXdata;

const TYPE_INTEGER: u8 = 1;
const TYPE_TEXT: u8 = 2;

impl<'a> Xdata<'a> {
    /// The form that travels: nothing, or a type byte and the value (integers big-endian), appended to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Xdata::Absent => {}
            Xdata::Integer(number) => {
                out.push(TYPE_INTEGER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Xdata::Text(bytes) => {
                out.push(TYPE_TEXT);
                out.extend_from_slice(bytes);
            }
        }
    }

    /// Reads the form that travels.
    pub fn decode(bytes: &'a [u8]) -> Result<Xdata<'a>, BrokenXdata> {
        match bytes.split_first() {
            None => Ok(Xdata::Absent),
            Some((&TYPE_INTEGER, rest)) => rest
                .try_into()
                .map(|bytes| Xdata::Integer(i64::from_be_bytes(bytes)))
                .map_err(|_| BrokenXdata),
            Some((&TYPE_TEXT, rest)) => Ok(Xdata::Text(rest)),
            Some(_) => Err(BrokenXdata),
        }
    }
}

impl<'a> From<ValueRef<'a>> for Xdata<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Null => Xdata::Absent,
            ValueRef::Integer(number) => Xdata::Integer(number),
            ValueRef::Text(bytes) => Xdata::Text(bytes),
        }
    }
}

impl<'a> From<Xdata<'a>> for ValueRef<'a> {
    fn from(xdata: Xdata<'a>) -> Self {
        match xdata {
            Xdata::Absent => ValueRef::Null,
            Xdata::Integer(number) => ValueRef::Integer(number),
            Xdata::Text(bytes) => ValueRef::Text(bytes),
        }
    }
}

/// The mistake about a group that does not exist.
pub fn unknown_group(name: &str, groups: &[GroupSetting]) -> Diagnostic {
    let names = || groups.iter().map(|group| group.name.as_str());
    let help = match suggestion(name, names()) {
        _ if groups.is_empty() => {
            "no group is defined; write async_workers_group=\"name=…;workers=4\" at top level".to_string()
        }
        Some(near) => format!("{near} groups are {}", listed(names())),
        None => format!("groups are {}", listed(names())),
    };
    Diagnostic::mistake(format!("unknown worker group \"{name}\"")).with_help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_value_keeps_its_kind_on_the_way() {
        let rows = [
            Xdata::Absent,
            Xdata::Integer(0),
            Xdata::Integer(i64::MIN),
            Xdata::Text(b""),
            Xdata::Text(b"42"),
            Xdata::Text(b"\x00\x01\xff"),
        ];
        for xdata in rows {
            let mut travelled = Vec::new();
            xdata.encode(&mut travelled);
            assert_eq!(Xdata::decode(&travelled), Ok(xdata));
            assert_eq!(Xdata::from(ValueRef::from(xdata)), xdata);
        }
    }

    #[test]
    fn a_broken_extra_value_is_refused() {
        for bytes in [&[0][..], &[3, 1, 2], &[TYPE_INTEGER], &[TYPE_INTEGER, 1, 2, 3], &[TYPE_INTEGER; 10]] {
            assert_eq!(Xdata::decode(bytes), Err(BrokenXdata), "{bytes:?}");
        }
    }

    #[test]
    fn what_belongs_to_something_begun_goes_first() {
        let request = |method: &str, to: &str| {
            format!(
                "{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=1\r\nTo: {to}\r\n\
                 Call-ID: 1\r\nCSeq: 1 {method}\r\n\r\n"
            )
        };
        let rows = [
            (request("INVITE", "<sip:a@b>"), false),
            (request("REGISTER", "<sip:a@b>"), false),
            (request("OPTIONS", "<sip:a@b;tag=9>"), false),
            (request("MESSAGE", "not an address"), false),
            (request("INVITE", "<sip:a@b>;tag=2"), true),
            (request("INFO", "<sip:a@b>;tag=2"), true),
            (request("ACK", "<sip:a@b>"), true),
            (request("BYE", "<sip:a@b>"), true),
            (request("CANCEL", "<sip:a@b>"), true),
            (
                request("INVITE", "<sip:a@b>").replacen("INVITE sip:a@b SIP/2.0", "SIP/2.0 180 Ringing", 1),
                true,
            ),
        ];
        for (text, expected) in rows {
            let message = Message::parse(text.as_bytes()).unwrap();
            assert_eq!(is_urgent(&message), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_group_is_told_with_what_there_is() {
        let group = |name: &str| GroupSetting::new(name, 1, 8);
        let groups = [group("calls"), group("registrations")];
        let help = |name: &str, groups: &[GroupSetting]| unknown_group(name, groups).help.unwrap();
        assert_eq!(unknown_group("cals", &groups).message, "unknown worker group \"cals\"");
        assert_eq!(help("cals", &groups), "did you mean \"calls\"? groups are \"calls\", \"registrations\"");
        assert_eq!(help("other", &groups), "groups are \"calls\", \"registrations\"");
        assert!(help("other", &[]).starts_with("no group is defined"));
    }
}
