//! Which status a broken message is owed, and why.
//!
//! [`Message::parse`] refuses only what cannot be answered. Everything else comes here: the first fault found is named,
//! with the status a request is owed for it. Whether to answer, to discard or to go on is the caller's to decide. The
//! order is that of RFC 3261 8.2 and 16.3.

use super::header::HeaderId;
use super::message::{HeaderError, Message, ParseErrorKind, StartLineFault};
use super::method::Method;
use super::params::Params;
use super::status::Status;
use super::uri::UriError;
use super::via::ViaError;
use std::fmt;

/// As what the message is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementRole {
    /// To be passed on: Max-Forwards and Proxy-Require count.
    Proxy,
    /// To be answered here: Require counts.
    Server,
}

/// What is asked of a message.
#[derive(Clone, Copy, Debug)]
pub struct ValidationRules<'r> {
    /// As what it is received.
    pub role: ElementRole,
    /// URI schemes the Request-URI may have, in lower case.
    pub schemes: &'r [&'r str],
    /// Option tags that Require or Proxy-Require may name (RFC 3261 19.2).
    pub extensions: &'r [&'r str],
}

impl ValidationRules<'static> {
    /// A proxy for `sip`, `sips`, `tel` and `urn`, without extensions.
    pub const PROXY: ValidationRules<'static> = ValidationRules {
        role: ElementRole::Proxy,
        schemes: &["sip", "sips", "tel", "urn"],
        extensions: &[],
    };

    /// A server for `sip`, `sips` and `tel`, without extensions.
    pub const SERVER: ValidationRules<'static> =
        ValidationRules { role: ElementRole::Server, schemes: &["sip", "sips", "tel"], extensions: &[] };
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request line.
    StartLine(StartLineFault),
    /// A header field that is missing, cannot be read, or is there too often.
    Header(HeaderError),
    /// A header line without a colon or without a valid name before it.
    BrokenLine,
    /// A carriage return that ends no line, where another reader may see a line end.
    BareCarriageReturn,
    /// The Request-URI.
    RequestUri(UriError),
    /// The scheme of the Request-URI is not supported.
    Scheme,
    /// The method of CSeq is not that of the request (RFC 3261 8.1.1.5).
    CSeqMethod,
    /// The number of CSeq is not below 2^31 (RFC 3261 8.1.1.5).
    CSeqNumber,
    /// Max-Forwards is above 255 (RFC 3261 20.22).
    MaxForwards,
    /// The body is shorter than Content-Length says (RFC 3261 18.3).
    BodyCut,
    /// The request has no hop left (RFC 3261 16.3 step 3).
    NoHopLeft,
    /// An extension is required that we do not have (RFC 3261 16.3 step 5, 8.2.2.3).
    Extension(HeaderId),
    /// A response that would be broadcast (RFC 4475 3.3.10).
    Broadcast,
    /// There is more of something than is allowed (RFC 3261 21.5.7).
    AboveLimit(ParseErrorKind),
}

/// Looks for the first fault of a message.
pub fn validate(message: &Message<'_>, rules: &ValidationRules<'_>) -> Result<(), Fault> {
    check_readable(message)?;
    check_lines(message)?;
    check_cseq_number(message)?;
    check_content_length(message)?;
    if message.request_line().is_none() {
        return check_broadcast(message);
    }
    check_cseq_method(message)?;
    check_request_uri(message, rules)?;
    check_hops(message, rules)?;
    check_extensions(message, rules)
}

/// Without this a message cannot be processed: a start line of SIP/2.0 and the five fields of RFC 3261 8.1.1, each
/// readable and there once.
pub fn check_readable(message: &Message<'_>) -> Result<(), Fault> {
    check_version(message)?;
    message.require_mandatory().map(drop).map_err(Fault::Header)
}

/// What is made of From, To, Call-ID and CSeq where one is there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// It is a fault.
    Refused,
    /// The first one counts.
    Ignored,
}

/// [`check_readable`], where fields that are repeated may be wanted.
pub fn check_readable_with(message: &Message<'_>, repeated: Repeated) -> Result<(), Fault> {
    match check_readable(message) {
        // Told last: each field can be read.
        Err(Fault::Header(HeaderError::Duplicate(_))) if repeated == Repeated::Ignored => Ok(()),
        checked => checked,
    }
}

/// Whether two readers would cut the message into the same lines and the same body: every header line has a name
/// and Content-Length says one thing. What fails here is neither answered as if it were whole nor sent on.
pub fn check_framing(message: &Message<'_>) -> Result<(), Fault> {
    if message.broken_line().is_some() {
        return Err(Fault::BrokenLine);
    }
    message.content_length().map(drop).map_err(Fault::Header)
}

impl Fault {
    /// What the sender of this message is owed; `None` when it must not be answered: it is a response or an ACK,
    /// speaks another protocol, or has no Via to answer to.
    pub fn status_owed(&self, message: &Message<'_>) -> Option<Status> {
        let line = message.request_line()?;
        let has_via = message.via(0).is_ok();
        (has_via && line.method != Method::Ack).then(|| self.status()).flatten()
    }

    fn status(&self) -> Option<Status> {
        match self {
            Fault::StartLine(StartLineFault::Protocol) | Fault::Broadcast => None,
            Fault::StartLine(StartLineFault::Version) => Some(Status::VERSION_NOT_SUPPORTED),
            Fault::Scheme => Some(Status::UNSUPPORTED_URI_SCHEME),
            Fault::NoHopLeft => Some(Status::TOO_MANY_HOPS),
            Fault::Extension(_) => Some(Status::BAD_EXTENSION),
            Fault::AboveLimit(_) => Some(Status::MESSAGE_TOO_LARGE),
            _ => Some(Status::BAD_REQUEST),
        }
    }
}

/// The option tags of Require or Proxy-Require that are not among ours: what Unsupported lists in a 420.
pub fn unsupported_extensions<'m, 'a>(
    message: &'m Message<'a>,
    id: HeaderId,
    rules: &'m ValidationRules<'m>,
) -> impl Iterator<Item = &'a [u8]> + use<'m, 'a> {
    let known = |tag: &[u8]| rules.extensions.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(tag));
    message.values_of(id).filter(move |tag| !known(tag))
}

/// The request line is one of SIP/2.0.
pub fn check_version(message: &Message<'_>) -> Result<(), Fault> {
    match message.request_line().and_then(|line| line.fault) {
        Some(fault) => Err(Fault::StartLine(fault)),
        None => Ok(()),
    }
}

/// Every header line has a name, no carriage return stands alone, and every Via, address and parameter can be read.
pub fn check_lines(message: &Message<'_>) -> Result<(), Fault> {
    if message.broken_line().is_some() {
        return Err(Fault::BrokenLine);
    }
    let lines = message.header_bytes();
    let bare = |at: usize| lines.get(at + 1).is_some_and(|&next| next != b'\n');
    if memchr::memchr_iter(b'\r', lines).any(bare) {
        return Err(Fault::BareCarriageReturn);
    }
    check_vias(message)?;
    for id in [HeaderId::From, HeaderId::To, HeaderId::Contact, HeaderId::Route, HeaderId::RecordRoute] {
        for address in message.addresses(id) {
            check_params(id, address.map_err(Fault::Header)?.params)?;
        }
    }
    Ok(())
}

/// Every Via can be read.
pub fn check_vias(message: &Message<'_>) -> Result<(), Fault> {
    message.vias().try_for_each(|via| {
        let via = via.map_err(Fault::Header)?;
        if !via.is_of_sip_2() {
            return Err(Fault::Header(ViaError::Protocol.into()));
        }
        check_params(HeaderId::Via, via.params)
    })
}

fn check_params(id: HeaderId, params: Params<'_>) -> Result<(), Fault> {
    if params.is_well_formed() {
        return Ok(());
    }
    Err(Fault::Header(HeaderError::Malformed(id, "a parameter has no name or an open quote")))
}

/// Content-Length is one number and the body is not shorter.
pub fn check_content_length(message: &Message<'_>) -> Result<(), Fault> {
    let told = message.content_length().map_err(Fault::Header)?;
    let cut = told.is_some_and(|size| size as usize > message.body().len());
    if cut { Err(Fault::BodyCut) } else { Ok(()) }
}

/// The number of CSeq is below 2^31.
pub fn check_cseq_number(message: &Message<'_>) -> Result<(), Fault> {
    match message.cseq().map_err(Fault::Header)?.number() {
        Some(_) => Ok(()),
        None => Err(Fault::CSeqNumber),
    }
}

/// The method of CSeq is that of the request.
pub fn check_cseq_method(message: &Message<'_>) -> Result<(), Fault> {
    let Some(line) = message.request_line() else { return Ok(()) };
    let method = message.cseq().map_err(Fault::Header)?.method;
    if method == line.method { Ok(()) } else { Err(Fault::CSeqMethod) }
}

/// The Request-URI can be read and its scheme is one of ours.
pub fn check_request_uri(message: &Message<'_>, rules: &ValidationRules<'_>) -> Result<(), Fault> {
    let Some(line) = message.request_line() else { return Ok(()) };
    match message.parse_uri(line.uri) {
        Ok(uri) if rules.allows_scheme(uri.scheme_text) => Ok(()),
        Ok(_) => Err(Fault::Scheme),
        Err(error) => Err(Fault::RequestUri(error)),
    }
}

impl ValidationRules<'_> {
    fn allows_scheme(&self, scheme: &[u8]) -> bool {
        self.schemes.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(scheme))
    }

    /// The header field that lists the extensions asked of this role.
    fn requirement(&self) -> HeaderId {
        match self.role {
            ElementRole::Proxy => HeaderId::ProxyRequire,
            ElementRole::Server => HeaderId::Require,
        }
    }
}

/// Max-Forwards is a number up to 255, and for a proxy not 0.
pub fn check_hops(message: &Message<'_>, rules: &ValidationRules<'_>) -> Result<(), Fault> {
    match message.max_forwards().map_err(Fault::Header)? {
        Some(0) if rules.role == ElementRole::Proxy => Err(Fault::NoHopLeft),
        Some(256..) => Err(Fault::MaxForwards),
        _ => Ok(()),
    }
}

/// Every extension required of this role is one of ours.
pub fn check_extensions(message: &Message<'_>, rules: &ValidationRules<'_>) -> Result<(), Fault> {
    let id = rules.requirement();
    // RFC 3261 8.2.2.3: neither ACK nor CANCEL is refused for an extension.
    let exempt =
        message.request_line().is_some_and(|line| matches!(line.method, Method::Ack | Method::Cancel));
    let unknown = unsupported_extensions(message, id, rules).next().is_some();
    if unknown && !exempt { Err(Fault::Extension(id)) } else { Ok(()) }
}

/// The next hop of a response is one host.
pub fn check_broadcast(message: &Message<'_>) -> Result<(), Fault> {
    let next_hop = message.via(1).ok().and_then(|via| via.received_address().or(via.host_address()));
    match next_hop {
        Some(std::net::IpAddr::V4(address)) if address.is_broadcast() => Err(Fault::Broadcast),
        _ => Ok(()),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Fault::StartLine(StartLineFault::Version) => "version is not SIP/2.0",
            Fault::StartLine(StartLineFault::Protocol) => "protocol is not SIP",
            Fault::StartLine(StartLineFault::Separator) => "request line is not separated by single spaces",
            Fault::StartLine(StartLineFault::UriSpace) => "request-uri has white space inside",
            Fault::Header(error) => return error.fmt(f),
            Fault::BrokenLine => "a header line has no valid name before a colon",
            Fault::BareCarriageReturn => "a carriage return ends no line",
            Fault::RequestUri(error) => return write!(f, "bad request-uri: {error}"),
            Fault::Scheme => "uri scheme is not supported",
            Fault::CSeqMethod => "method of CSeq is not that of the request",
            Fault::CSeqNumber => "number of CSeq is not below 2^31",
            Fault::MaxForwards => "Max-Forwards is above 255",
            Fault::BodyCut => "body is shorter than Content-Length",
            Fault::NoHopLeft => "Max-Forwards is 0",
            Fault::Extension(id) => return write!(f, "{} names an unknown extension", id.name()),
            Fault::AboveLimit(limit) => return limit.fmt(f),
            Fault::Broadcast => "next hop of the response is a broadcast address",
        };
        f.write_str(reason)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ValidationRules<'_> = ValidationRules { extensions: &["path"], ..ValidationRules::PROXY };

    /// The status owed and the fault, for a request with one line put in the place of the one with its name.
    fn judge(line: &str, more: &str, rules: &ValidationRules<'_>) -> String {
        let mut text = format!("{line}\r\n");
        let full =
            ["Via: SIP/2.0/UDP h", "From: <sip:a>;tag=1", "To: <sip:b>", "Call-ID: c", "CSeq: 1 INVITE"];
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_string();
        full.iter().filter(|line| !more.lines().any(|other| name(other) == name(line))).for_each(|line| {
            text += line;
            text += "\r\n";
        });
        text += more;
        let message = Message::parse(text.as_bytes()).unwrap();
        match validate(&message, rules) {
            Ok(()) => "fine".into(),
            Err(fault) => format!("{} {fault}", fault.status_owed(&message).map_or(0, Status::code)),
        }
    }

    fn check(line: &str, more: &str, expected: &str) {
        assert_eq!(judge(line, more, &RULES), expected, "{line} / {more:?}");
    }

    #[test]
    fn each_fault_has_its_status() {
        let line = "INVITE sip:b SIP/2.0";
        check(line, "\r\n", "fine");
        check("INVITE sip:b SIP/7.0", "\r\n", "505 version is not SIP/2.0");
        check("INVITE / HTTP/1.1", "\r\n", "0 protocol is not SIP");
        check("INVITE  sip:b SIP/2.0", "\r\n", "400 request line is not separated by single spaces");
        check("INVITE sip:b; lr SIP/2.0", "\r\n", "400 request-uri has white space inside");
        check(
            "INVITE <sip:b> SIP/2.0",
            "\r\n",
            "400 bad request-uri: uri has white space or an angle bracket inside",
        );
        check("INVITE mailto:b SIP/2.0", "\r\n", "416 uri scheme is not supported");
        check("INVITE TEL:1 SIP/2.0", "\r\n", "fine");
        check(line, "CSeq: 1 BYE\r\n\r\n", "400 method of CSeq is not that of the request");
        check(line, "CSeq: 2147483648 INVITE\r\n\r\n", "400 number of CSeq is not below 2^31");
        check(line, "CSeq: x\r\n\r\n", "400 bad CSeq: it is not a number and a method");
        check(line, "To: <sip:a>\r\nTo: <sip:b>\r\n\r\n", "400 more than one To");
        check(line, "Call-ID:\r\n\r\n", "400 bad Call-ID: it is empty");
        check(line, "no colon\r\n\r\n", "400 a header line has no valid name before a colon");
        check(line, "X: a\rb\r\n\r\n", "400 a carriage return ends no line");
        check(
            line,
            "Contact: <sip:a>;;\r\n\r\n",
            "400 bad Contact: a parameter has no name or an open quote",
        );
        check(line, "Via: SIP/2.0/UDP h, junk\r\n\r\n", "400 bad Via: via does not start with SIP/2.0/");
        check(line, "Via: junk\r\n\r\n", "0 bad Via: via does not start with SIP/2.0/");
        check(line, "Content-Length: 5\r\n\r\nabcd", "400 body is shorter than Content-Length");
        check(
            line,
            "Content-Length: -5\r\n\r\nabcd",
            "400 bad Content-Length: it is not a number below 2^32",
        );
        check(line, "Content-Length: 4\r\nl: 3\r\n\r\nabcd", "400 more than one Content-Length");
        check(line, "Max-Forwards: 0\r\n\r\n", "483 Max-Forwards is 0");
        check(line, "Max-Forwards: 256\r\n\r\n", "400 Max-Forwards is above 255");
        check(line, "Max-Forwards: many\r\n\r\n", "400 bad Max-Forwards: it is not a number below 2^32");
        check(line, "Proxy-Require: path\r\n\r\n", "fine");
        check(line, "Proxy-Require: path, x\r\n\r\n", "420 Proxy-Require names an unknown extension");
        check(line, "Require: x\r\n\r\n", "fine");
    }

    #[test]
    fn repeated_fields_may_be_wanted() {
        let good = "A b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a>\r\nTo: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 A\r\n";
        let rows = [
            ("", true, true),
            ("f: <sip:z>\r\n", false, true),
            ("To: <sip:z>\r\nto: <sip:y>\r\n", false, true),
            ("Call-ID: z\r\n", false, true),
            ("CSeq: x\r\n", false, true),
        ];
        for (more, strict, lenient) in rows {
            let text = format!("{good}{more}\r\n");
            let message = Message::parse(text.as_bytes()).unwrap();
            let is_fine = |repeated| check_readable_with(&message, repeated).is_ok();
            assert_eq!(
                (is_fine(Repeated::Refused), is_fine(Repeated::Ignored)),
                (strict, lenient),
                "{more:?}"
            );
            assert_eq!(message.from().unwrap().uri, b"sip:a", "the first one counts");
        }
        for first in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let text = format!("{}To: <sip:y>\r\n\r\n", good.replacen(first, "X", 1));
            let message = Message::parse(text.as_bytes()).unwrap();
            let is_fine = check_readable_with(&message, Repeated::Ignored).is_ok();
            assert_eq!(is_fine, first == "To", "without {first}");
        }
    }

    #[test]
    fn a_server_minds_other_fields_than_a_proxy() {
        let line = "INVITE sip:b SIP/2.0";
        assert_eq!(judge(line, "Max-Forwards: 0\r\n\r\n", &ValidationRules::SERVER), "fine");
        assert_eq!(judge(line, "Proxy-Require: x\r\n\r\n", &ValidationRules::SERVER), "fine");
        assert_eq!(
            judge(line, "Require: x\r\n\r\n", &ValidationRules::SERVER),
            "420 Require names an unknown extension"
        );
        assert_eq!(
            judge("CANCEL sip:b SIP/2.0", "CSeq: 1 CANCEL\r\nRequire: x\r\n\r\n", &ValidationRules::SERVER),
            "fine"
        );
        assert_eq!(
            judge("INVITE urn:b SIP/2.0", "\r\n", &ValidationRules::SERVER),
            "416 uri scheme is not supported"
        );
    }

    #[test]
    fn responses_and_acks_are_owed_nothing() {
        check("ACK sip:b SIP/2.0", "CSeq: 1 INVITE\r\n\r\n", "0 method of CSeq is not that of the request");
        check(
            "SIP/2.0 200 OK",
            "CSeq: 9292394834772304023312 INVITE\r\n\r\n",
            "0 number of CSeq is not below 2^31",
        );
        check("SIP/2.0 200 OK", "\r\n", "fine");
        let vias = "Via: SIP/2.0/UDP us\r\nVia: SIP/2.0/UDP 255.255.255.255\r\n\r\n";
        check("SIP/2.0 200 OK", vias, "0 next hop of the response is a broadcast address");
    }

    #[test]
    fn a_420_can_list_what_is_not_supported() {
        let message = Message::parse(b"A b SIP/2.0\r\nRequire: path, a\r\nrequire: b\r\n\r\n").unwrap();
        let tags: Vec<_> = unsupported_extensions(&message, HeaderId::Require, &RULES).collect();
        assert_eq!(tags, [b"a", b"b"]);
    }
}
