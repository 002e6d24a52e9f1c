//! THE table of header fields: identity, canonical name, compact form, and whether commas separate values.
//!
//! Names are found without regard to case, in their long or compact form, without allocating: a small hash over
//! length, first and last letter picks the candidate and one comparison confirms it.

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
        pub static HEADERS: &[HeaderRow] = &[
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
        if let [letter] = name {
            return compact(*letter);
        }
        let mut slot = slot_of(name);
        loop {
            let Some(row) = usize::from(SLOTS[slot]).checked_sub(1) else { return HeaderId::Other };
            let (known, id, _) = NAMES[row];
            if is_same_name(known.as_bytes(), name) {
                return id;
            }
            slot = (slot + 1) % SLOT_COUNT;
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

/// Whether two names are equal but for the case of letters, the first being one of the table: letters and `-` only.
///
/// Words of eight octets are compared at once, the last overlapping the one before; every header line of every
/// message comes through here.
fn is_same_name(known: &[u8], name: &[u8]) -> bool {
    if known.len() != name.len() {
        return false;
    }
    let Some(last) = known.len().checked_sub(8) else {
        return known.iter().zip(name).all(|(&known, &name)| (known ^ name) & !((known & 0x40) >> 1) == 0);
    };
    let mut at = 0;
    while at < last {
        if !is_same_word(known, name, at) {
            return false;
        }
        at += 8;
    }
    is_same_word(known, name, last)
}

fn is_same_word(known: &[u8], name: &[u8], at: usize) -> bool {
    let (Some(known), Some(name)) = (word(known, at), word(name, at)) else { return false };
    // Of the octets in the table only letters have bit 6; where it is set, bit 5 is their case.
    let case_bits = (known & 0x4040_4040_4040_4040) >> 1;
    (known ^ name) & !case_bits == 0
}

fn word(text: &[u8], at: usize) -> Option<u64> {
    let octets = text.get(at..at + 8)?;
    octets.try_into().ok().map(u64::from_le_bytes)
}

fn compact(letter: u8) -> HeaderId {
    COMPACT.get(usize::from(letter.to_ascii_lowercase())).copied().unwrap_or(HeaderId::Other)
}

static COMPACT: [HeaderId; 128] = {
    let mut table = [HeaderId::Other; 128];
    let mut row = 0;
    while row < NAMES.len() {
        if let Some(letter) = NAMES[row].2 {
            table[letter as usize] = NAMES[row].1;
        }
        row += 1;
    }
    table
};

const SLOT_COUNT: usize = 512;

/// Row number plus one of the name that hashes here, or 0; collisions move to the next slot.
static SLOTS: [u8; SLOT_COUNT] = {
    let mut slots = [0; SLOT_COUNT];
    let mut row = 0;
    while row < NAMES.len() {
        let mut slot = slot_of(NAMES[row].0.as_bytes());
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = row as u8 + 1;
        row += 1;
    }
    slots
};

const fn slot_of(name: &[u8]) -> usize {
    if name.is_empty() {
        return 0;
    }
    let first = (name[0] | 0x20) as usize;
    let middle = (name[name.len() / 2] | 0x20) as usize;
    let last = (name[name.len() - 1] | 0x20) as usize;
    (name.len() * 41 + first * 7 + middle * 19 + last * 5) % SLOT_COUNT
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
    fn the_hash_keeps_chains_short() {
        let longest = HEADERS.iter().map(|row| {
            let home = slot_of(row.name.as_bytes());
            (0..).find(|step| SLOTS[(home + step) % SLOT_COUNT] as usize == row.id as usize).unwrap()
        });
        assert!(longest.max() <= Some(3));
    }
}
