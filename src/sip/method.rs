//! Methods of requests (RFC 3261 7.1 and its extensions), each with the bit scripts know it by.

use std::fmt;

/// The method of a request, or of a CSeq. Case matters: `invite` is not INVITE (RFC 3261 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'a> {
    /// Opens or changes a session (RFC 3261 13).
    Invite,
    /// Ends a pending INVITE (RFC 3261 9).
    Cancel,
    /// Confirms the final response to an INVITE (RFC 3261 13, 17).
    Ack,
    /// Ends a session (RFC 3261 15).
    Bye,
    /// Carries application data inside a dialog (RFC 6086).
    Info,
    /// Binds contacts to an address of record (RFC 3261 10).
    Register,
    /// Asks for notifications (RFC 6665).
    Subscribe,
    /// Brings a notification (RFC 6665).
    Notify,
    /// Carries an instant message (RFC 3428).
    Message,
    /// Asks what the peer can do (RFC 3261 11).
    Options,
    /// Confirms a provisional response (RFC 3262).
    Prack,
    /// Changes a session before it is answered (RFC 3311).
    Update,
    /// Asks the peer to contact a third party (RFC 3515).
    Refer,
    /// Publishes event state (RFC 3903).
    Publish,
    /// Any other token.
    Other(&'a [u8]),
}

/// THE table of known methods: value, name, bit.
static METHODS: [(Method<'static>, &[u8], u32); 14] = [
    (Method::Invite, b"INVITE", 1),
    (Method::Cancel, b"CANCEL", 2),
    (Method::Ack, b"ACK", 4),
    (Method::Bye, b"BYE", 8),
    (Method::Info, b"INFO", 16),
    (Method::Register, b"REGISTER", 32),
    (Method::Subscribe, b"SUBSCRIBE", 64),
    (Method::Notify, b"NOTIFY", 128),
    (Method::Message, b"MESSAGE", 256),
    (Method::Options, b"OPTIONS", 512),
    (Method::Prack, b"PRACK", 1024),
    (Method::Update, b"UPDATE", 2048),
    (Method::Refer, b"REFER", 4096),
    (Method::Publish, b"PUBLISH", 8192),
];

impl<'a> Method<'a> {
    /// The method of this name; any unknown name is [`Method::Other`].
    pub fn from_name(name: &'a [u8]) -> Self {
        match name {
            b"INVITE" => Method::Invite,
            b"CANCEL" => Method::Cancel,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"INFO" => Method::Info,
            b"REGISTER" => Method::Register,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"MESSAGE" => Method::Message,
            b"OPTIONS" => Method::Options,
            b"PRACK" => Method::Prack,
            b"UPDATE" => Method::Update,
            b"REFER" => Method::Refer,
            b"PUBLISH" => Method::Publish,
            other => Method::Other(other),
        }
    }

    /// The name as it stands in a request line.
    pub fn name(&self) -> &'a [u8] {
        match self {
            Method::Other(name) => name,
            known => METHODS[known.position()].1,
        }
    }

    /// The bit by which scripts know this method (`$rmid`, `is_method`); `None` for an unknown one.
    pub fn bit(&self) -> Option<u32> {
        match self {
            Method::Other(_) => None,
            known => Some(METHODS[known.position()].2),
        }
    }

    /// Whether a success response to it sets up a dialog, so that Record-Route is copied (RFC 3261 12.1.1).
    pub fn creates_dialog(&self) -> bool {
        matches!(self, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
    }

    /// Every known method with its bit, in the order of the bits.
    pub fn all() -> impl Iterator<Item = (Method<'static>, u32)> {
        METHODS.iter().map(|&(method, _, bit)| (method, bit))
    }

    fn position(&self) -> usize {
        METHODS.iter().position(|(method, _, _)| method == self).unwrap_or(0)
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_method_survives_the_way_through_its_name() {
        let mut bits = 0;
        for (method, bit) in Method::all() {
            assert_eq!(Method::from_name(method.name()), method);
            assert_eq!(method.bit(), Some(bit));
            assert_eq!(bits & bit, 0, "{method} shares its bit");
            bits |= bit;
        }
        assert_eq!(bits, 16383);
    }

    #[test]
    fn unknown_and_lower_case_methods_are_kept_as_they_are() {
        for name in [&b"invite"[..], b"PING", b"!interesting-Method0123456789_*+`.%indeed'~"] {
            let method = Method::from_name(name);
            assert_eq!(method, Method::Other(name));
            assert_eq!((method.name(), method.bit()), (name, None));
        }
    }
}
