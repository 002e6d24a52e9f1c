//! What travels with a message that another process goes on with: which route it runs, and what the script has done so
//! far.
//!
//! ```text
//!  kind:1 │ size:2 │ bytes …     one field after another, numbers big-endian; fields of an unknown kind are passed over
//! ```
//!
//! The message itself travels as it has become: with the header lines and the body that the script has changed. A new
//! Request-URI travels beside it, so that `$ou` still gives the original one.
//!
//! Here are: message flags, `$du`, `$fs`, `force_rport()`, `append_to_reply()`, `$avp`, `$xavp` and its kin. Not here are
//! further branches, and `$var`, which belongs to a process.

use super::xavps::Entry;
use crate::script::host::ValueRef;

/// Numbers and switches of the message in hand that go with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarriedFlags {
    /// `setflag()`
    pub message: u32,
    /// `setbflag()` on the Request-URI's branch.
    pub branch: u32,
    /// `setxflag()`
    pub extra: u64,
    /// `force_rport()`
    pub is_rport_forced: bool,
    /// `add_local_rport()`
    pub is_local_rport_added: bool,
    /// `$fs`
    pub forced_listener: Option<u16>,
}

/// Where a message goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume<'a> {
    /// At the beginning of the route of this name.
    Route(&'a [u8]),
    /// After the call that interrupted the script.
    After(Interruption),
}

/// Where a script was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// The place in the program.
    pub point: u32,
    /// Which program ([`crate::script::program::Program::mark`]).
    pub mark: u64,
}

/// Where and with what a message goes on, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuation<'a> {
    /// Where it goes on.
    pub goal: Resume<'a>,
    /// Flags.
    pub flags: CarriedFlags,
    /// `$ru`, where the script changed it.
    pub request_uri: Option<&'a [u8]>,
    /// `$du`, where it is set.
    pub destination_uri: Option<&'a [u8]>,
    /// What `append_to_reply()` put aside.
    pub reply_headers: &'a [u8],
    fields: Fields<'a>,
}

/// Why a continuation could not be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenContinuation;

/// A field is longer than its size can tell; no record would take it either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

const ROUTE: u8 = 1;
const FLAGS: u8 = 2;
const REQUEST_URI: u8 = 3;
const DESTINATION_URI: u8 = 4;
const REPLY_HEADERS: u8 = 5;
const AVP_INTEGER: u8 = 6;
const AVP_TEXT: u8 = 7;
const AVP_NULL: u8 = 8;
const INTERRUPTION: u8 = 9;
const XAVP: u8 = 10;

const FIELD_HEAD_SIZE: usize = 3;
const FLAGS_SIZE: usize = 4 + 4 + 8 + 1 + 2;
const RPORT_FORCED: u8 = 1;
const LOCAL_RPORT_ADDED: u8 = 2;
const LISTENER_FORCED: u8 = 4;

/// Encodes a continuation and appends it to `out`.
pub struct ContinuationWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> ContinuationWriter<'o> {
    /// One that goes on there.
    pub fn begin(out: &'o mut Vec<u8>, goal: Resume<'_>) -> Result<ContinuationWriter<'o>, TooLong> {
        let mut writer = ContinuationWriter { out };
        match goal {
            Resume::Route(name) => writer.put(ROUTE, &[name])?,
            Resume::After(Interruption { point, mark }) => {
                writer.put(INTERRUPTION, &[&point.to_be_bytes(), &mark.to_be_bytes()])?;
            }
        }
        Ok(writer)
    }

    /// Adds flags.
    pub fn flags(&mut self, flags: &CarriedFlags) -> Result<(), TooLong> {
        if *flags == CarriedFlags::default() {
            return Ok(());
        }
        let mut switches = 0;
        for (is_on, bit) in [
            (flags.is_rport_forced, RPORT_FORCED),
            (flags.is_local_rport_added, LOCAL_RPORT_ADDED),
            (flags.forced_listener.is_some(), LISTENER_FORCED),
        ] {
            switches |= if is_on { bit } else { 0 };
        }
        let listener = flags.forced_listener.unwrap_or_default().to_be_bytes();
        let (message, branch) = (flags.message.to_be_bytes(), flags.branch.to_be_bytes());
        self.put(FLAGS, &[&message, &branch, &flags.extra.to_be_bytes(), &[switches], &listener])
    }

    /// Adds a changed Request-URI.
    pub fn request_uri(&mut self, uri: &[u8]) -> Result<(), TooLong> {
        self.put(REQUEST_URI, &[uri])
    }

    /// Adds a destination.
    pub fn destination_uri(&mut self, uri: &[u8]) -> Result<(), TooLong> {
        self.put(DESTINATION_URI, &[uri])
    }

    /// Adds header lines for replies.
    pub fn reply_headers(&mut self, lines: &[u8]) -> Result<(), TooLong> {
        if lines.is_empty() { Ok(()) } else { self.put(REPLY_HEADERS, &[lines]) }
    }

    /// Adds a pair on top of those before it.
    pub fn avp(&mut self, name: &[u8], value: ValueRef<'_>) -> Result<(), TooLong> {
        let size = u16::try_from(name.len()).map_err(|_| TooLong)?.to_be_bytes();
        match value {
            ValueRef::Integer(number) => self.put(AVP_INTEGER, &[&size, name, &number.to_be_bytes()]),
            ValueRef::Text(text) => self.put(AVP_TEXT, &[&size, name, text]),
            ValueRef::Null => self.put(AVP_NULL, &[&size, name]),
        }
    }

    /// Adds a structured value on top of those before it in its store: 0 for `$xavp`, 1 for `$xavu`, 2 for `$xavi`.
    pub fn xavp(&mut self, store: u8, entry: &Entry) -> Result<(), TooLong> {
        let mut encoded = vec![store];
        entry.encode(&mut encoded).ok_or(TooLong)?;
        self.put(XAVP, &[&encoded])
    }

    fn put(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), TooLong> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let size = u16::try_from(size).map_err(|_| TooLong)?;
        self.out.push(kind);
        self.out.extend_from_slice(&size.to_be_bytes());
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        Ok(())
    }
}

impl<'a> Continuation<'a> {
    /// Reads the form that travels: every field is whole, and it is said where the message goes on.
    pub fn decode(bytes: &'a [u8]) -> Result<Continuation<'a>, BrokenContinuation> {
        let fields = Fields { rest: bytes };
        let mut found = Continuation {
            goal: Resume::Route(b""),
            flags: CarriedFlags::default(),
            request_uri: None,
            destination_uri: None,
            reply_headers: b"",
            fields,
        };
        for field in fields {
            let (kind, value) = field?;
            match kind {
                ROUTE => found.goal = Resume::Route(value),
                INTERRUPTION => found.goal = Resume::After(decode_interruption(value)?),
                FLAGS => found.flags = decode_flags(value)?,
                REQUEST_URI => found.request_uri = Some(value),
                DESTINATION_URI => found.destination_uri = Some(value),
                REPLY_HEADERS => found.reply_headers = value,
                AVP_INTEGER | AVP_TEXT | AVP_NULL => drop(decode_avp(kind, value)?),
                XAVP => drop(decode_xavp(value)?),
                _ => {}
            }
        }
        if found.goal == Resume::Route(b"") { Err(BrokenContinuation) } else { Ok(found) }
    }

    /// The pairs, oldest first.
    pub fn avps(&self) -> impl Iterator<Item = (&'a [u8], ValueRef<'a>)> {
        self.fields.filter_map(|field| {
            let (kind, value) = field.ok()?;
            decode_avp(kind, value).ok()
        })
    }
}

impl Continuation<'_> {
    /// The structured values with the numbers of their stores, oldest first.
    pub fn xavps(&self) -> impl Iterator<Item = (u8, Entry)> {
        self.fields.filter_map(|field| match field {
            Ok((XAVP, value)) => decode_xavp(value).ok(),
            _ => None,
        })
    }
}

fn decode_xavp(bytes: &[u8]) -> Result<(u8, Entry), BrokenContinuation> {
    let (store, rest) = bytes.split_first().ok_or(BrokenContinuation)?;
    Ok((*store, Entry::decode(rest).ok_or(BrokenContinuation)?))
}

fn decode_flags(bytes: &[u8]) -> Result<CarriedFlags, BrokenContinuation> {
    let bytes: &[u8; FLAGS_SIZE] = bytes.try_into().map_err(|_| BrokenContinuation)?;
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
    };
    let switches = bytes[16];
    Ok(CarriedFlags {
        message: number(0..4) as u32,
        branch: number(4..8) as u32,
        extra: number(8..16),
        is_rport_forced: switches & RPORT_FORCED != 0,
        is_local_rport_added: switches & LOCAL_RPORT_ADDED != 0,
        forced_listener: (switches & LISTENER_FORCED != 0).then_some(number(17..19) as u16),
    })
}

fn decode_interruption(bytes: &[u8]) -> Result<Interruption, BrokenContinuation> {
    let (point, mark) = bytes.split_first_chunk().ok_or(BrokenContinuation)?;
    let mark = mark.try_into().map_err(|_| BrokenContinuation)?;
    Ok(Interruption { point: u32::from_be_bytes(*point), mark: u64::from_be_bytes(mark) })
}

/// Name and value of a pair.
fn decode_avp(kind: u8, bytes: &[u8]) -> Result<(&[u8], ValueRef<'_>), BrokenContinuation> {
    let (size, rest) = bytes.split_first_chunk().ok_or(BrokenContinuation)?;
    let (name, value) = rest.split_at_checked(u16::from_be_bytes(*size).into()).ok_or(BrokenContinuation)?;
    let value = match kind {
        AVP_TEXT => ValueRef::Text(value),
        AVP_INTEGER => {
            let bytes = value.try_into().map_err(|_| BrokenContinuation)?;
            ValueRef::Integer(i64::from_be_bytes(bytes))
        }
        AVP_NULL if value.is_empty() => ValueRef::Null,
        _ => return Err(BrokenContinuation),
    };
    Ok((name, value))
}

/// Fields one after another; the first broken one is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), BrokenContinuation>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.rest.split_first_chunk::<FIELD_HEAD_SIZE>().and_then(|(head, rest)| {
            let (value, rest) = rest.split_at_checked(u16::from_be_bytes([head[1], head[2]]).into())?;
            self.rest = rest;
            Some((head[0], value))
        });
        if field.is_none() {
            self.rest = b"";
        }
        Some(field.ok_or(BrokenContinuation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: CarriedFlags = CarriedFlags {
        message: 0x8000_0001,
        branch: 7,
        extra: u64::MAX - 1,
        is_rport_forced: true,
        is_local_rport_added: false,
        forced_listener: Some(513),
    };

    fn written(write: impl FnOnce(&mut ContinuationWriter<'_>) -> Result<(), TooLong>) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut ContinuationWriter::begin(&mut out, Resume::Route(b"RESUME")).unwrap()).unwrap();
        out
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = written(|writer| {
            writer.flags(&FULL)?;
            writer.request_uri(b"sip:new@h")?;
            writer.destination_uri(b"sip:next")?;
            writer.reply_headers(b"Retry-After: 2\r\n")?;
            writer.avp(b"a", ValueRef::Integer(-5))?;
            writer.avp(b"", ValueRef::Text(b""))?;
            writer.avp(b"a", ValueRef::Text(b"two\0\n"))?;
            writer.avp(b"none", ValueRef::Null)
        });
        let read = Continuation::decode(&bytes).unwrap();
        assert_eq!((read.goal, read.flags), (Resume::Route(b"RESUME"), FULL));
        assert_eq!(
            (read.request_uri, read.destination_uri),
            (Some(&b"sip:new@h"[..]), Some(&b"sip:next"[..]))
        );
        assert_eq!(read.reply_headers, b"Retry-After: 2\r\n");
        let expected: [(&[u8], ValueRef<'_>); 4] = [
            (b"a", ValueRef::Integer(-5)),
            (b"", ValueRef::Text(b"")),
            (b"a", ValueRef::Text(b"two\0\n")),
            (b"none", ValueRef::Null),
        ];
        assert_eq!(read.avps().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_bare_route_is_all_it_needs() {
        let bytes = written(|writer| writer.flags(&CarriedFlags::default()));
        let read = Continuation::decode(&bytes).unwrap();
        assert_eq!((read.goal, read.flags), (Resume::Route(b"RESUME"), CarriedFlags::default()));
        assert_eq!((read.request_uri, read.avps().count()), (None, 0));
        let behind = Resume::After(Interruption { point: 70_000, mark: u64::MAX - 7 });
        let mut out = Vec::new();
        ContinuationWriter::begin(&mut out, behind).unwrap();
        assert_eq!(Continuation::decode(&out).unwrap().goal, behind);
    }

    #[test]
    fn a_field_of_a_later_version_is_passed_over() {
        let bytes =
            [written(|_| Ok(())), vec![200, 0, 2, 9, 9], written(|writer| writer.request_uri(b"sip:u"))];
        let bytes = bytes.concat();
        assert_eq!(Continuation::decode(&bytes).unwrap().request_uri, Some(&b"sip:u"[..]));
    }

    #[test]
    fn broken_bytes_are_refused() {
        let good = written(|writer| writer.flags(&FULL));
        let rows = [
            ("nothing", vec![]),
            ("no route", written(|_| Ok(()))[9..].to_vec()),
            ("an empty route", vec![ROUTE, 0, 0]),
            ("half an interruption", vec![INTERRUPTION, 0, 11, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
            ("half a place", vec![INTERRUPTION, 0, 3, 0, 0, 0]),
            ("half a head", [&good[..], &[ROUTE, 0]].concat()),
            ("half a field", good[..good.len() - 1].to_vec()),
            ("flags of another size", [&good[..], &[FLAGS, 0, 1, 1]].concat()),
            ("a pair without a name", [&good[..], &[AVP_TEXT, 0, 1, 0]].concat()),
            ("a name that is longer than its field", [&good[..], &[AVP_TEXT, 0, 3, 0, 2, b'x']].concat()),
            ("a short number", [&good[..], &[AVP_INTEGER, 0, 3, 0, 0, 7]].concat()),
            ("a structured value that is none", [&good[..], &[XAVP, 0, 2, 0, 9]].concat()),
            ("a structured value without a store", [&good[..], &[XAVP, 0, 0]].concat()),
            ("a null that is something", [&good[..], &[AVP_NULL, 0, 3, 0, 0, 7]].concat()),
        ];
        for (what, bytes) in rows {
            assert_eq!(Continuation::decode(&bytes), Err(BrokenContinuation), "{what}");
        }
    }

    #[test]
    fn what_no_field_takes_is_refused() {
        let long = vec![b'x'; 70_000];
        let mut out = Vec::new();
        assert!(ContinuationWriter::begin(&mut out, Resume::Route(&long)).is_err());
        let mut writer = ContinuationWriter::begin(&mut out, Resume::Route(b"R")).unwrap();
        assert_eq!(writer.avp(&long, ValueRef::Null), Err(TooLong));
        assert_eq!(writer.avp(b"x", ValueRef::Text(&long)), Err(TooLong));
        assert_eq!(writer.reply_headers(&long), Err(TooLong));
    }
}
