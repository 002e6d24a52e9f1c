//! An INVITE of 800 bytes, and the fields every message needs read from it. Included by benches with `#[path]`.

use sworker::sip::Message;

/// A softphone's INVITE with a small body.
pub const INVITE: &[u8] = b"INVITE sip:+4930123456@sip.example.com:5060;user=phone;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK-524287-1---8f1c0d2a7e6b5a39;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:alice@198.51.100.7:5060;transport=udp;ob>\r\n\
    To: \"Bob Builder\" <sip:+4930123456@sip.example.com>\r\n\
    From: \"Alice Liddell\" <sip:alice@sip.example.com>;tag=4fd2e0a1b\r\n\
    Call-ID: 843817637684230998sdasdh09@198.51.100.7\r\n\
    CSeq: 314159 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE\r\n\
    Supported: replaces, timer, outbound, path\r\n\
    User-Agent: Acme Softphone 5.12\r\n\
    Session-Expires: 1800\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 128\r\n\
    \r\n\
    v=0\r\no=- 3848 3848 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\n\
    a=rtpmap:0 PCMU/8000\r\na=x\r\n";

/// The message the target names.
const _: () = assert!(INVITE.len() == 800);

/// Reads what every message needs, and sums it up so that nothing is left out.
pub fn route_set(bytes: &[u8]) -> usize {
    let message = Message::parse(bytes).expect("a valid message");
    let via = message.via(0).expect("a valid Via");
    let from = message.from().expect("a valid From");
    let to = message.to().expect("a valid To");
    let call_id = message.call_id().expect("a valid Call-ID");
    let cseq = message.cseq().expect("a valid CSeq");
    let tags = from.tag().map_or(0, <[u8]>::len) + to.tag().map_or(0, <[u8]>::len);
    let branch = via.branch.map_or(0, <[u8]>::len) + via.host.len() + usize::from(via.port.unwrap_or(0));
    tags + branch + call_id.len() + cseq.number().map_or(0, |number| number as usize)
}
