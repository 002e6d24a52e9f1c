//! The key of a transaction (RFC 3261 17.1.3, 17.2.3).

use super::branch::{FieldHasher, Secret};
use super::message::{HeaderError, Message};
use super::method::Method;
use super::via::Via;

/// The server transaction a request belongs to. An ACK has the key of its INVITE.
#[derive(Clone, Copy, Debug)]
pub struct TransactionKey<'a> {
    via: Via<'a>,
    method: Method<'a>,
    /// What the branch does not say when it was not made by RFC 3261 rules.
    legacy: Option<Legacy<'a>>,
}

/// The fields RFC 2543 elements are matched by. The To tag is left out: it differs on the ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Legacy<'a> {
    request_uri: &'a [u8],
    from_tag: Option<&'a [u8]>,
    call_id: &'a [u8],
    cseq_digits: &'a [u8],
}

impl<'a> TransactionKey<'a> {
    /// The key of a request; an error names the field that is missing or cannot be read.
    pub fn of_request(request: &Message<'a>) -> Result<Self, HeaderError> {
        let via = request.via(0)?;
        let method = match request.method()? {
            Method::Ack => Method::Invite,
            method => method,
        };
        let legacy = if via.has_magic_cookie() { None } else { Some(Legacy::of_request(request)?) };
        Ok(Self { via, method, legacy })
    }

    /// The key of the transaction that a CANCEL cancels (RFC 3261 9.2).
    pub fn cancelled_by(cancel: &Message<'a>) -> Result<Self, HeaderError> {
        Self::of_request(cancel).map(|key| Self { method: Method::Invite, ..key })
    }

    /// A hash that equal keys share, for a table.
    pub fn hash(&self, secret: &Secret) -> u64 {
        let mut hasher = secret.hasher(b'k');
        hasher.field(self.via.branch.unwrap_or_default());
        hasher.folded(self.via.host);
        hasher.number(u64::from(self.sent_by_port()));
        hasher.field(self.method.name());
        if let Some(legacy) = &self.legacy {
            legacy.hash_into(&mut hasher);
        }
        hasher.finish()
    }

    /// A port that is not written is the default one (RFC 3261 18.1.1).
    fn sent_by_port(&self) -> u16 {
        let default = if self.via.transport.eq_ignore_ascii_case(b"TLS") { 5061 } else { 5060 };
        self.via.port.unwrap_or(default)
    }
}

impl PartialEq for TransactionKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.via.branch == other.via.branch
            && self.via.host.eq_ignore_ascii_case(other.via.host)
            && self.sent_by_port() == other.sent_by_port()
            && self.method == other.method
            && self.legacy == other.legacy
    }
}

impl Eq for TransactionKey<'_> {}

impl<'a> Legacy<'a> {
    fn of_request(request: &Message<'a>) -> Result<Self, HeaderError> {
        Ok(Self {
            request_uri: request.request_line().map_or(&[], |line| line.uri),
            from_tag: request.from()?.tag(),
            call_id: request.call_id()?,
            cseq_digits: request.cseq()?.digits,
        })
    }

    fn hash_into(&self, hasher: &mut FieldHasher) {
        hasher.field(self.request_uri);
        hasher.field(self.from_tag.unwrap_or_default());
        hasher.field(self.call_id);
        hasher.field(self.cseq_digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret::new([1; 16]);

    fn request(method: &str, via: &str, call_id: &str) -> Vec<u8> {
        format!(
            "{method} sip:b SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\r\n"
        )
        .into_bytes()
    }

    fn check(first: &[u8], second: &[u8], same: bool) {
        let (first, second) = (Message::parse(first).unwrap(), Message::parse(second).unwrap());
        let keys = [&first, &second].map(|message| TransactionKey::of_request(message).unwrap());
        assert_eq!(keys[0] == keys[1], same, "{keys:?}");
        assert_eq!(keys[0].hash(&SECRET) == keys[1].hash(&SECRET), same, "{keys:?}");
    }

    #[test]
    fn branch_sender_and_method_tell_transactions_apart() {
        let invite = request("INVITE", "h;branch=z9hG4bKx", "c");
        check(&invite, &invite, true);
        check(&invite, &request("ACK", "h;branch=z9hG4bKx", "c"), true);
        check(&invite, &request("INVITE", "H:5060;branch=z9hG4bKx", "other"), true);
        check(&invite, &request("INVITE", "h:5061;branch=z9hG4bKx", "c"), false);
        check(&invite, &request("INVITE", "h;branch=z9hG4bKX", "c"), false);
        check(&invite, &request("CANCEL", "h;branch=z9hG4bKx", "c"), false);
    }

    #[test]
    fn old_branches_need_the_other_fields() {
        check(&request("INVITE", "h;branch=1", "c"), &request("ACK", "h;branch=1", "c"), true);
        check(&request("INVITE", "h;branch=1", "c"), &request("INVITE", "h;branch=1", "d"), false);
        check(&request("INVITE", "h", "c"), &request("INVITE", "h", "d"), false);
    }

    #[test]
    fn a_cancel_points_at_its_invite() {
        let (invite, cancel) =
            (request("INVITE", "h;branch=z9hG4bKx", "c"), request("CANCEL", "h;branch=z9hG4bKx", "c"));
        let (invite, cancel) = (Message::parse(&invite).unwrap(), Message::parse(&cancel).unwrap());
        assert_eq!(TransactionKey::cancelled_by(&cancel), TransactionKey::of_request(&invite));
    }

    #[test]
    fn a_request_without_via_has_no_key() {
        let message = Message::parse(b"INVITE sip:b SIP/2.0\r\n\r\n").unwrap();
        assert!(TransactionKey::of_request(&message).is_err());
    }
}
