//! One message as it lies in shared memory: a header of fixed size, then three runs of bytes.
//!
//! ```text
//!  0              8           12          16           20          22        24         32
//!  │ received_at  │ body_size │ meta_size │ xdata_size │ attempts  │ blamed  │ reserved │ meta │ body │ xdata │
//! ```
//!
//! What the three runs mean is not known here. A header that comes out of shared memory is looked at as at something
//! a crashed process wrote: it is valid only if its sizes add up to the size of the record.

use std::ops::Range;

/// A message to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What is known about the message besides its bytes: addresses, listener, transport.
    pub meta: &'a [u8],
    /// The message as it came.
    pub body: &'a [u8],
    /// What the script sends along.
    pub xdata: &'a [u8],
    /// When the message was received: nanoseconds of the monotonic clock. The wait in the queue is counted from here.
    pub received_at_ns: u64,
}

impl Record<'_> {
    /// Bytes needed in an arena; `None` when that is more than any arena takes.
    #[inline]
    pub(crate) fn size(&self) -> Option<u32> {
        let size = HEADER_SIZE as usize + self.meta.len() + self.body.len() + self.xdata.len();
        u32::try_from(size).ok().filter(|size| *size <= RECORD_SIZE_MAX)
    }
}

/// The numbers in front of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) received_at_ns: u64,
    pub(crate) body_size: u32,
    pub(crate) meta_size: u32,
    pub(crate) xdata_size: u32,
    pub(crate) history: History,
}

/// How often a message has been tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// How many workers began with it and died.
    pub(crate) attempts: u16,
    /// How many of those deaths count against the message.
    pub(crate) blamed: u16,
}

impl RecordHeader {
    #[inline]
    pub(crate) fn of(record: &Record<'_>, history: History) -> Self {
        Self {
            received_at_ns: record.received_at_ns,
            body_size: record.body.len() as u32,
            meta_size: record.meta.len() as u32,
            xdata_size: record.xdata.len() as u32,
            history,
        }
    }

    #[inline]
    pub(crate) fn encode(&self) -> [u8; HEADER_SIZE as usize] {
        let mut bytes = [0; HEADER_SIZE as usize];
        bytes[0..8].copy_from_slice(&self.received_at_ns.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.body_size.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.meta_size.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.xdata_size.to_ne_bytes());
        bytes[20..22].copy_from_slice(&self.history.attempts.to_ne_bytes());
        bytes[22..24].copy_from_slice(&self.history.blamed.to_ne_bytes());
        bytes
    }

    /// The header of a whole record, if it can be one.
    #[inline]
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let (header, rest) = record.split_first_chunk::<{ HEADER_SIZE as usize }>()?;
        let header = Self {
            received_at_ns: u64::from_ne_bytes(*header.first_chunk()?),
            body_size: number_at(header, 8)?,
            meta_size: number_at(header, 12)?,
            xdata_size: number_at(header, 16)?,
            history: History {
                attempts: u16::from_ne_bytes(*header[20..].first_chunk()?),
                blamed: u16::from_ne_bytes(*header[22..].first_chunk()?),
            },
        };
        let sum = u64::from(header.body_size) + u64::from(header.meta_size) + u64::from(header.xdata_size);
        (sum == rest.len() as u64).then_some(header)
    }

    /// Where the parts lie in the record.
    #[inline]
    pub(crate) fn parts(&self) -> Parts {
        let meta_end = HEADER_SIZE + self.meta_size;
        let body_end = meta_end + self.body_size;
        Parts {
            meta: HEADER_SIZE as usize..meta_end as usize,
            body: meta_end as usize..body_end as usize,
            xdata: body_end as usize..(body_end + self.xdata_size) as usize,
        }
    }
}

/// Where the parts of a record lie, from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) meta: Range<usize>,
    pub(crate) body: Range<usize>,
    pub(crate) xdata: Range<usize>,
}

#[inline]
fn number_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Where a header says how often the message has been tried: all else of a record stays the same.
pub(crate) const HISTORY_OFFSET: usize = 20;
pub(crate) const HISTORY_SIZE: usize = 4;

/// The size of the numbers in front.
pub(crate) const HEADER_SIZE: u32 = 32;

/// The largest record: a body of 64 KiB and 8 KiB for everything else.
pub const RECORD_SIZE_MAX: u32 = 72 * 1024;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn written(meta: &[u8], body: &[u8], xdata: &[u8]) -> Vec<u8> {
        let record = Record { meta, body, xdata, received_at_ns: 77 };
        let header = RecordHeader::of(&record, History { attempts: 3, blamed: 2 });
        [&header.encode()[..], meta, body, xdata].concat()
    }

    #[test]
    fn header_reads_back_with_its_parts() {
        let bytes = written(b"me", b"body!", b"x");
        let header = RecordHeader::decode(&bytes).expect("valid");
        assert_eq!(header.received_at_ns, 77);
        assert_eq!(header.history, History { attempts: 3, blamed: 2 });
        let parts = header.parts();
        assert_eq!(&bytes[parts.meta], b"me");
        assert_eq!(&bytes[parts.body], b"body!");
        assert_eq!(&bytes[parts.xdata], b"x");
    }

    #[test]
    fn broken_headers_are_refused() {
        let good = written(b"me", b"body!", b"x");
        let check = |name: &str, bytes: &[u8]| assert_eq!(RecordHeader::decode(bytes), None, "{name}");
        check("empty", &[]);
        check("shorter than a header", &good[..31]);
        check("one byte missing", &good[..good.len() - 1]);
        check("one byte too many", &[&good[..], &[0]].concat());
        for field in [8, 12, 16] {
            let mut bytes = good.clone();
            bytes[field..field + 4].fill(0xff);
            check("absurd size", &bytes);
        }
    }

    #[test]
    fn record_has_a_largest_size() {
        let check = |body_size: usize, expected: Option<u32>| {
            let record = Record { meta: &[0; 100], body: &vec![0; body_size], xdata: &[], received_at_ns: 0 };
            assert_eq!(record.size(), expected, "{body_size}");
        };
        check(0, Some(132));
        check(65_535, Some(65_667));
        check(RECORD_SIZE_MAX as usize - 132, Some(RECORD_SIZE_MAX));
        check(RECORD_SIZE_MAX as usize - 131, None);
    }
}
