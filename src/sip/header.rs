//! THE table of header fields: identity, canonical name, compact form, and whether commas separate values.
//!
//! Names are found without regard to case, in their long or compact form: a name is taken as three words of eight
//! octets, a product of them picks the row and one comparison confirms it. The words of a header line are read once,
//! for the colon that ends the name and for the name.

use super::find::{WORD_SIZE, first_marked, marks};

/// How the value of a header field may be made up (RFC 3261 7.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value, at most one field of this name in a message.
    Single,
    /// One value per field; a comma inside is part of it.
    Whole,
    /// Values separated by commas, equal to several fields of this name.
    List,
}

/// One row of the table.
#[derive(Debug)]
pub struct HeaderRow {
    /// The identity.
    pub id: HeaderId,
    /// The name as the RFCs write it.
    pub name: &'static str,
    /// The one-letter form, lower case.
    pub compact: Option<u8>,
    /// Whether commas separate values.
    pub shape: Shape,
}

macro_rules! headers {
    ($($id:ident $name:literal $compact:expr, $shape:ident;)*) => {
        /// The identity of a header field; unknown names are [`HeaderId::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderId {
            /// A name that is not in the table.
            Other,
            $(#[doc = $name] $id,)*
        }

        /// Every known header field, in the order of [`HeaderId`].
        static HEADERS: &[HeaderRow] = &[
            $(HeaderRow { id: HeaderId::$id, name: $name, compact: $compact, shape: Shape::$shape },)*
        ];

        const NAMES: &[(&str, HeaderId, Option<u8>)] = &[$(($name, HeaderId::$id, $compact),)*];
    };
}

headers! {
    Via "Via" Some(b'v'), List;
    From "From" Some(b'f'), Single;
    To "To" Some(b't'), Single;
    CallId "Call-ID" Some(b'i'), Single;
    CSeq "CSeq" None, Single;
    MaxForwards "Max-Forwards" None, Single;
    Contact "Contact" Some(b'm'), List;
    ContentLength "Content-Length" Some(b'l'), Single;
    ContentType "Content-Type" Some(b'c'), Single;
    Route "Route" None, List;
    RecordRoute "Record-Route" None, List;
    UserAgent "User-Agent" None, Single;
    Server "Server" None, Single;
    Expires "Expires" None, Single;
    Allow "Allow" None, List;
    Supported "Supported" Some(b'k'), List;
    Require "Require" None, List;
    ProxyRequire "Proxy-Require" None, List;
    Unsupported "Unsupported" None, List;
    Authorization "Authorization" None, Whole;
    ProxyAuthorization "Proxy-Authorization" None, Whole;
    WwwAuthenticate "WWW-Authenticate" None, Whole;
    ProxyAuthenticate "Proxy-Authenticate" None, Whole;
    AuthenticationInfo "Authentication-Info" None, Whole;
    Accept "Accept" None, List;
    AcceptContact "Accept-Contact" Some(b'a'), List;
    AcceptEncoding "Accept-Encoding" None, List;
    AcceptLanguage "Accept-Language" None, List;
    AcceptResourcePriority "Accept-Resource-Priority" None, List;
    AlertInfo "Alert-Info" None, List;
    AllowEvents "Allow-Events" Some(b'u'), List;
    CallInfo "Call-Info" None, List;
    ContentDisposition "Content-Disposition" None, Single;
    ContentEncoding "Content-Encoding" Some(b'e'), List;
    ContentLanguage "Content-Language" None, List;
    Date "Date" None, Single;
    Diversion "Diversion" None, List;
    ErrorInfo "Error-Info" None, List;
    Event "Event" Some(b'o'), Single;
    FlowTimer "Flow-Timer" None, Single;
    Geolocation "Geolocation" None, List;
    HistoryInfo "History-Info" None, List;
    Identity "Identity" Some(b'y'), List;
    IdentityInfo "Identity-Info" Some(b'n'), Single;
    InReplyTo "In-Reply-To" None, List;
    InfoPackage "Info-Package" None, Single;
    Join "Join" None, Single;
    MaxBreadth "Max-Breadth" None, Single;
    MimeVersion "MIME-Version" None, Single;
    MinExpires "Min-Expires" None, Single;
    MinSe "Min-SE" None, Single;
    Organization "Organization" None, Single;
    PAccessNetworkInfo "P-Access-Network-Info" None, List;
    PAssertedIdentity "P-Asserted-Identity" None, List;
    PAssociatedUri "P-Associated-URI" None, List;
    PCalledPartyId "P-Called-Party-ID" None, List;
    PChargingVector "P-Charging-Vector" None, Single;
    PPreferredIdentity "P-Preferred-Identity" None, List;
    PVisitedNetworkId "P-Visited-Network-ID" None, List;
    Path "Path" None, List;
    Priority "Priority" None, Single;
    Privacy "Privacy" None, Single;
    RAck "RAck" None, Single;
    RSeq "RSeq" None, Single;
    Reason "Reason" None, List;
    RecvInfo "Recv-Info" None, List;
    ReferSub "Refer-Sub" None, Single;
    ReferTo "Refer-To" Some(b'r'), Single;
    ReferredBy "Referred-By" Some(b'b'), Single;
    RejectContact "Reject-Contact" Some(b'j'), List;
    RemotePartyId "Remote-Party-ID" None, List;
    Replaces "Replaces" None, Single;
    ReplyTo "Reply-To" None, Single;
    RequestDisposition "Request-Disposition" Some(b'd'), List;
    ResourcePriority "Resource-Priority" None, List;
    RetryAfter "Retry-After" None, Single;
    SecurityClient "Security-Client" None, List;
    SecurityServer "Security-Server" None, List;
    SecurityVerify "Security-Verify" None, List;
    ServiceRoute "Service-Route" None, List;
    SessionExpires "Session-Expires" Some(b'x'), Single;
    SipEtag "SIP-ETag" None, Single;
    SipIfMatch "SIP-If-Match" None, Single;
    Subject "Subject" Some(b's'), Single;
    SubscriptionState "Subscription-State" None, Single;
    TargetDialog "Target-Dialog" None, Single;
    Timestamp "Timestamp" None, Single;
    UserToUser "User-to-User" None, List;
    Warning "Warning" None, List;
}

/// How many identities there are, [`HeaderId::Other`] included.
pub const HEADER_ID_COUNT: usize = NAMES.len() + 1;

impl HeaderId {
    /// The identity of a name in any case, long or compact; white space around it is the caller's to remove.
    pub fn from_name(name: &[u8]) -> HeaderId {
        HeaderId::from_start(name, name.len())
    }

    /// The identity of the name of a size that a text starts with.
    ///
    /// What follows the name does not count, but where there is enough of it, nothing has to be copied to look at the
    /// name as words.
    #[inline]
    pub(super) fn from_start(text: &[u8], size: usize) -> HeaderId {
        match size {
            1..=NAME_SIZE_MAX => NameWords::read(text, size).find(size),
            _ => HeaderId::Other,
        }
    }

    /// The header field that a line names and the size of the name, where that is plain: a name of the table with its
    /// colon right after it, and text enough to read it in words. Such a name has no line end in it.
    #[inline]
    pub(super) fn of_line(text: &[u8]) -> Option<(HeaderId, usize)> {
        let (name, size) = NameWords::up_to_colon(text.first_chunk()?)?;
        match name.find(size) {
            HeaderId::Other => None,
            id => Some((id, size)),
        }
    }

    /// The row of the table; `None` for [`HeaderId::Other`].
    pub fn row(self) -> Option<&'static HeaderRow> {
        HEADERS.get((self as usize).checked_sub(1)?)
    }

    /// The canonical name; empty for [`HeaderId::Other`], whose name only the message knows.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// Whether commas separate values. Unknown fields are taken whole.
    pub fn shape(self) -> Shape {
        self.row().map_or(Shape::Whole, |row| row.shape)
    }
}

/// The size of the longest name of the table.
const NAME_SIZE_MAX: usize = 24;

/// A name in lower case, filled up with zeros.
#[derive(Clone, Copy)]
struct NameWords([u64; 3]);

impl NameWords {
    #[inline]
    fn read(text: &[u8], size: usize) -> Self {
        match text.first_chunk() {
            Some(octets) => Self::of(octets, size),
            None => {
                let mut octets = [0; NAME_SIZE_MAX];
                octets[..size].copy_from_slice(&text[..size]);
                Self::of(&octets, size)
            }
        }
    }

    #[inline]
    const fn of(octets: &[u8; NAME_SIZE_MAX], size: usize) -> Self {
        let (words, _) = octets.as_chunks::<8>();
        let masks = &MASKS[size];
        Self([
            lower_case(u64::from_le_bytes(words[0]) & masks[0]),
            lower_case(u64::from_le_bytes(words[1]) & masks[1]),
            lower_case(u64::from_le_bytes(words[2]) & masks[2]),
        ])
    }

    /// The octets before the first colon, and how many they are.
    #[inline]
    fn up_to_colon(octets: &[u8; NAME_SIZE_MAX]) -> Option<(Self, usize)> {
        let (words, _) = octets.as_chunks();
        let [first, second, third] = [words[0], words[1], words[2]].map(u64::from_le_bytes);
        let colons = marks(first, [b':']);
        if colons != 0 {
            return Some((Self([name_before(colons, first), 0, 0]), first_marked(colons)));
        }
        let colons = marks(second, [b':']);
        if colons != 0 {
            let words = [lower_case(first), name_before(colons, second), 0];
            return Some((Self(words), WORD_SIZE + first_marked(colons)));
        }
        let colons = marks(third, [b':']);
        let words = [lower_case(first), lower_case(second), name_before(colons, third)];
        (colons != 0).then(|| (Self(words), 2 * WORD_SIZE + first_marked(colons)))
    }

    #[inline]
    fn find(self, size: usize) -> HeaderId {
        let mut slot = self.slot();
        loop {
            let known = &SLOTS[slot];
            // Zeros at the end of a name must not pass for what a shorter one is filled up with.
            if known.words.is(self) && known.size == size {
                return known.id;
            }
            if known.size == 0 {
                return HeaderId::Other;
            }
            slot = (slot + 1) % SLOT_COUNT;
        }
    }

    /// Compared as words: the derived comparison would go through memory that has just been written in halves.
    #[inline]
    fn is(self, other: Self) -> bool {
        let [first, second, third] = self.0;
        (first ^ other.0[0]) | (second ^ other.0[1]) | (third ^ other.0[2]) == 0
    }

    const fn slot(self) -> usize {
        let mixed = self.0[0] ^ self.0[1].rotate_left(13) ^ self.0[2].rotate_left(29);
        (mixed.wrapping_mul(MULTIPLIER) >> (64 - SLOT_COUNT.trailing_zeros())) as usize
    }
}

/// Sets bit 5 wherever bit 6 is set, and so turns exactly the letters `A` to `Z` into those of the table: the other
/// octets of its names, digits and `-`, have no bit 6 and are left as they are.
const fn lower_case(word: u64) -> u64 {
    word | (word & 0x4040_4040_4040_4040) >> 1
}

/// The octets of a word below the first one that is marked, in lower case.
#[inline]
const fn name_before(marks: u64, word: u64) -> u64 {
    let first = marks & marks.wrapping_neg();
    lower_case(word & (first >> 7).wrapping_sub(1))
}

/// Which octets of its three words belong to a name of each size.
static MASKS: [[u64; 3]; NAME_SIZE_MAX + 1] = {
    let mut masks = [[0; 3]; NAME_SIZE_MAX + 1];
    let mut size = 0;
    while size <= NAME_SIZE_MAX {
        let mut octet = 0;
        while octet < size {
            masks[size][octet / 8] |= 0xff << (octet % 8 * 8);
            octet += 1;
        }
        size += 1;
    }
    masks
};

const SLOT_COUNT: usize = 512;

/// Gives every name of the table a slot of its own. A new name may share one: the next free one is then taken.
const MULTIPLIER: u64 = 0xf08f_c659_e9bc_5371;

/// A name of the table where its words lead; of size 0 where none does.
#[derive(Clone, Copy)]
struct Slot {
    words: NameWords,
    size: usize,
    id: HeaderId,
}

static SLOTS: [Slot; SLOT_COUNT] = {
    let mut slots = [Slot { words: NameWords([0; 3]), size: 0, id: HeaderId::Other }; SLOT_COUNT];
    let mut row = 0;
    while row < NAMES.len() {
        let (name, id, compact) = NAMES[row];
        put(&mut slots, name.as_bytes(), id);
        if let Some(letter) = compact {
            put(&mut slots, &[letter], id);
        }
        row += 1;
    }
    slots
};

/// Puts a name into the first free slot from the one its words lead to.
const fn put(slots: &mut [Slot; SLOT_COUNT], name: &[u8], id: HeaderId) {
    let mut octets = [0; NAME_SIZE_MAX];
    octets.split_at_mut(name.len()).0.copy_from_slice(name);
    let words = NameWords::of(&octets, name.len());
    let mut slot = words.slot();
    while slots[slot].size != 0 {
        slot = (slot + 1) % SLOT_COUNT;
    }
    slots[slot] = Slot { words, size: name.len(), id };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_in_its_compact_form() {
        for (index, row) in HEADERS.iter().enumerate() {
            assert_eq!(row.id as usize, index + 1);
            assert_eq!(HeaderId::from_name(row.name.as_bytes()), row.id);
            assert_eq!(HeaderId::from_name(row.name.to_uppercase().as_bytes()), row.id);
            assert_eq!(HeaderId::from_name(row.name.to_lowercase().as_bytes()), row.id);
            if let Some(letter) = row.compact {
                assert_eq!(HeaderId::from_name(&[letter]), row.id);
                assert_eq!(HeaderId::from_name(&[letter.to_ascii_uppercase()]), row.id);
            }
        }
    }

    #[test]
    fn names_near_a_known_one_are_unknown() {
        for name in [
            &b""[..],
            b"Vi",
            b"Viaa",
            b"V!a",
            b"Call_ID",
            b"Call-ID ",
            b"X-Foo",
            b"z",
            b"\xf6",
            b"\x16",
            b"ma8-forwards",
        ] {
            assert_eq!(HeaderId::from_name(name), HeaderId::Other, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn compact_letters_are_each_given_once() {
        let mut seen = Vec::new();
        for letter in HEADERS.iter().filter_map(|row| row.compact) {
            assert!(letter.is_ascii_lowercase() && !seen.contains(&letter), "{letter}");
            seen.push(letter);
        }
        assert_eq!(seen.len(), 20);
    }

    #[test]
    fn names_are_found_where_other_text_follows_or_none() {
        for row in HEADERS {
            for after in ["", ":", ": value of some length that fills three words\r\n", "\0\0\0"] {
                let text = format!("{}{after}", row.name);
                assert_eq!(HeaderId::from_start(text.as_bytes(), row.name.len()), row.id, "{text:?}");
            }
            assert_eq!(HeaderId::from_name(format!("{}\0", row.name).as_bytes()), HeaderId::Other);
            let changed = |at: usize| {
                let mut name = row.name.as_bytes().to_vec();
                (0..=u8::MAX).filter(move |byte| {
                    name[at] = *byte;
                    HeaderId::from_name(&name) == row.id
                })
            };
            for (at, byte) in row.name.bytes().enumerate() {
                let cases = if byte.is_ascii_alphabetic() { 2 } else { 1 };
                assert_eq!(changed(at).count(), cases, "octet {at} of {}", row.name);
            }
        }
    }

    #[test]
    fn a_line_tells_its_field_where_a_known_name_stands_before_the_colon() {
        let value = " a value that fills three words\r\n";
        for row in HEADERS {
            let plain = (row.name.len() < NAME_SIZE_MAX).then_some((row.id, row.name.len()));
            for (line, expected) in [
                (format!("{}:{value}", row.name), plain),
                (format!("{}:{value}", row.name.to_uppercase()), plain),
                (format!("{} :{value}", row.name), None),
                (format!(" {}:{value}", row.name), None),
                (format!("{}\n:{value}", row.name), None),
                (format!("\n{}:{value}", row.name), None),
                (format!("{}\0:{value}", row.name), None),
                (format!("X{}:{value}", row.name), None),
                (format!("{}{value}", row.name), None),
                (format!("{}:", row.name), None),
                (format!(":{}:{value}", row.name), None),
            ] {
                assert_eq!(HeaderId::of_line(line.as_bytes()), expected, "{line:?}");
            }
            if let Some(letter) = row.compact {
                let line = format!("{}:{value}", char::from(letter));
                assert_eq!(HeaderId::of_line(line.as_bytes()), Some((row.id, 1)), "{line:?}");
            }
        }
    }

    #[test]
    fn names_share_few_slots() {
        let steps = |slot: &Slot| {
            let home = slot.words.slot();
            (0..).find(|step| SLOTS[(home + step) % SLOT_COUNT].words.is(slot.words))
        };
        let longest = SLOTS.iter().filter(|slot| slot.size > 0).map(steps).max();
        assert!(longest.flatten() <= Some(3));
        let compact_count = HEADERS.iter().filter(|row| row.compact.is_some()).count();
        assert_eq!(SLOTS.iter().filter(|slot| slot.size > 0).count(), HEADERS.len() + compact_count);
    }
}
