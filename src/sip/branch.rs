//! Branches and tags as pure functions of a request and a secret.
//!
//! A server without transactions must give the same answer to a retransmission, and must send a CANCEL and the ACK
//! of a failure the way of their INVITE (RFC 3261 16.11, 8.2.7). So nothing here is random: a keyed hash over what
//! these requests share. The key keeps others from making branches and tags that we would take for ours.

use super::message::Message;
use super::via::MAGIC_COOKIE;
use siphasher::sip::SipHasher24;
use std::fmt;
use std::hash::Hasher;

/// The key of the hash. All processes that share an address must share it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 16]);

/// The branch of our own Via: the cookie, 16 hexadecimal digits, a point and the number of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    text: [u8; Branch::SIZE_MAX],
    size: usize,
}

/// The tag we put on To: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToTag([u8; 16]);

impl Secret {
    /// A key of random bytes, which the caller has to bring.
    pub const fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// The bytes, for a successor that is to make the same tags.
    pub const fn key(&self) -> [u8; 16] {
        self.0
    }

    /// A hash of bytes that cannot be steered without the key; for what stays inside the server.
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher(b'h');
        hasher.field(bytes);
        hasher.0.finish()
    }

    pub(super) fn hasher(&self, purpose: u8) -> FieldHasher {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write_u8(purpose);
        FieldHasher(hasher)
    }
}

impl Branch {
    const SIZE_MAX: usize = MAGIC_COOKIE.len() + 16 + 1 + 10;

    /// The branch a stateless proxy gives a request on its way to the n-th target (RFC 3261 16.11).
    ///
    /// Made from the branch received where that identifies the transaction, else from the topmost Via, From tag,
    /// Call-ID, CSeq number and Request-URI. The To tag that the RFC adds to these is left out: the ACK of a failure
    /// has one that its INVITE had not, and both must go the same way.
    pub fn of_request(request: &Message<'_>, target: u32, secret: &Secret) -> Self {
        let mut hasher = secret.hasher(b'b');
        let via = request.via(0).ok();
        match via.filter(|via| via.has_magic_cookie()) {
            Some(via) => {
                hasher.field(via.branch.unwrap_or_default());
                // Two senders may choose the same branch (17.2.3).
                hasher.folded(via.host);
                hasher.number(u64::from(via.port.unwrap_or(0)));
            }
            None => {
                hasher.field(via.map_or(&[], |via| via.raw));
                hasher.field(request.from().ok().and_then(|from| from.tag()).unwrap_or_default());
                hasher.field(request.call_id().unwrap_or_default());
                hasher.field(request.cseq().map_or(&[], |cseq| cseq.digits));
                hasher.field(request.request_line().map_or(&[], |line| line.uri));
            }
        }
        let mut branch = Branch { text: [0; Self::SIZE_MAX], size: 0 };
        branch.push(MAGIC_COOKIE);
        branch.push(&hexadecimal(hasher.finish()));
        branch.push(b".");
        branch.push_decimal(target);
        branch
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.size]
    }

    fn push(&mut self, text: &[u8]) {
        self.text[self.size..self.size + text.len()].copy_from_slice(text);
        self.size += text.len();
    }

    fn push_decimal(&mut self, number: u32) {
        if number >= 10 {
            self.push_decimal(number / 10);
        }
        self.push(&[b'0' + (number % 10) as u8]);
    }
}

impl ToTag {
    /// The tag that answers to this request carry: the same for its retransmissions, and for the ACK of a failure.
    pub fn of_request(request: &Message<'_>, secret: &Secret) -> Self {
        let mut hasher = secret.hasher(b't');
        let via = request.via(0).ok();
        hasher.field(via.map_or(&[], |via| via.branch.unwrap_or(via.raw)));
        hasher.field(request.from().ok().and_then(|from| from.tag()).unwrap_or_default());
        hasher.field(request.call_id().unwrap_or_default());
        hasher.field(request.cseq().map_or(&[], |cseq| cseq.digits));
        ToTag(hexadecimal(hasher.finish()))
    }

    /// Whether the To tag of this request is the one we gave: an ACK to our own final response (RFC 3261 8.2.7).
    pub fn is_on(request: &Message<'_>, secret: &Secret) -> bool {
        let tag = request.to().ok().and_then(|to| to.tag());
        tag.is_some_and(|tag| tag == ToTag::of_request(request, secret).as_bytes())
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Secret {
    /// The key is not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Hashes fields so that no two lists of fields look alike: each is led by its size.
pub(super) struct FieldHasher(pub(super) SipHasher24);

impl FieldHasher {
    pub(super) fn field(&mut self, text: &[u8]) {
        self.0.write_usize(text.len());
        self.0.write(text);
    }

    /// A field whose case does not matter.
    pub(super) fn folded(&mut self, text: &[u8]) {
        self.0.write_usize(text.len());
        text.iter().for_each(|byte| self.0.write_u8(byte.to_ascii_lowercase()));
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.write_u64(number);
    }

    pub(super) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

fn hexadecimal(number: u64) -> [u8; 16] {
    std::array::from_fn(|index| b"0123456789abcdef"[(number >> (60 - 4 * index)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret::new([7; 16]);

    fn request(method: &str, via: &str, to: &str, from_tag: &str) -> Vec<u8> {
        format!(
            "{method} sip:b SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:a>;tag={from_tag}\r\nTo: {to}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
        )
        .into_bytes()
    }

    fn branch(bytes: &[u8]) -> Branch {
        Branch::of_request(&Message::parse(bytes).unwrap(), 0, &SECRET)
    }

    #[test]
    fn cancel_and_ack_go_the_way_of_their_invite() {
        for via in ["h;branch=z9hG4bKx", "h;branch=1", "h"] {
            let invite = branch(&request("INVITE", via, "<sip:b>", "1"));
            assert_eq!(branch(&request("INVITE", via, "<sip:b>", "1")), invite, "retransmission, {via}");
            assert_eq!(branch(&request("CANCEL", via, "<sip:b>", "1")), invite, "CANCEL, {via}");
            assert_eq!(branch(&request("ACK", via, "<sip:b>;tag=9", "1")), invite, "ACK, {via}");
        }
    }

    #[test]
    fn other_transactions_and_targets_get_other_branches() {
        let first = branch(&request("INVITE", "h;branch=z9hG4bKx", "<sip:b>", "1"));
        assert_ne!(branch(&request("INVITE", "h;branch=z9hG4bKy", "<sip:b>", "1")), first);
        assert_ne!(branch(&request("INVITE", "i;branch=z9hG4bKx", "<sip:b>", "1")), first);
        assert_eq!(branch(&request("INVITE", "H;branch=z9hG4bKx", "<sip:b>", "1")), first);
        let old = branch(&request("INVITE", "h", "<sip:b>", "1"));
        assert_ne!(branch(&request("INVITE", "h", "<sip:b>", "2")), old);
        let bytes = request("INVITE", "h;branch=z9hG4bKx", "<sip:b>", "1");
        let message = Message::parse(&bytes).unwrap();
        assert_ne!(Branch::of_request(&message, 1, &SECRET), first);
        assert_ne!(Branch::of_request(&message, 0, &Secret::new([8; 16])), first);
    }

    #[test]
    fn branches_have_their_form_for_any_target() {
        let bytes = request("INVITE", "h;branch=z9hG4bKx", "<sip:b>", "1");
        let branch = Branch::of_request(&Message::parse(&bytes).unwrap(), u32::MAX, &SECRET).to_string();
        let (hash, target) = branch.strip_prefix("z9hG4bK").and_then(|rest| rest.split_once('.')).unwrap();
        assert!(hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(target, "4294967295");
    }

    #[test]
    fn our_tag_is_known_again_on_the_ack() {
        let invite = request("INVITE", "h;branch=z9hG4bKx", "<sip:b>", "1");
        let tag = ToTag::of_request(&Message::parse(&invite).unwrap(), &SECRET);
        let to = format!("<sip:b>;tag={}", tag.as_bytes().escape_ascii());
        let is_ours = |bytes: &[u8]| ToTag::is_on(&Message::parse(bytes).unwrap(), &SECRET);
        assert!(is_ours(&request("ACK", "h;branch=z9hG4bKx", &to, "1")));
        assert!(!is_ours(&request("ACK", "h;branch=z9hG4bKx", "<sip:b>;tag=1", "1")));
        assert!(!is_ours(&request("ACK", "h;branch=z9hG4bKx", "<sip:b>", "1")));
        assert!(!is_ours(&request("ACK", "h;branch=z9hG4bKy", &to, "1")));
    }

    #[test]
    fn requests_without_the_fields_still_get_both() {
        let message = Message::parse(b"X a:b SIP/2.0\r\n\r\n").unwrap();
        assert_eq!(Branch::of_request(&message, 0, &SECRET), Branch::of_request(&message, 0, &SECRET));
        assert_eq!(ToTag::of_request(&message, &SECRET).as_bytes().len(), 16);
        assert!(!ToTag::is_on(&message, &SECRET));
    }
}
