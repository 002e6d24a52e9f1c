//! Via: the way a response goes back (RFC 3261 20.42, RFC 3581).
//!
//! ```text
//!   SIP/2.0/UDP host.example.com:5060;branch=z9hG4bK87asdks7;rport;received=192.0.2.1
//!   └──┬──┘ └┬┘ └──────┬───────┘ └┬─┘ └─────────────────────┬───────────────────────┘
//!  protocol transport host       port                    params
//! ```

use super::octets::{
    address, count_while, host_length, is_space, is_token_octet, port, trim_end, trim_start,
};
use super::overload::Overload;
use super::params::Params;
use super::params::find_outside_quotes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What starts every branch made by RFC 3261 rules (8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// One value of a Via header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The version of SIP as written; `2.0` unless the sender speaks another one.
    pub version: &'a [u8],
    /// The transport as written, such as `UDP`.
    pub transport: &'a [u8],
    /// The host as written, brackets kept around IPv6.
    pub host: &'a [u8],
    /// The port, when written.
    pub port: Option<u16>,
    /// All parameters.
    pub params: Params<'a>,
    /// The first `branch`; never empty.
    pub branch: Option<&'a [u8]>,
    /// The first `received`, as written; never empty.
    pub received: Option<&'a [u8]>,
    /// The first `rport`.
    pub rport: Rport,
    /// The whole value.
    pub raw: &'a [u8],
}

/// The `rport` parameter (RFC 3581 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rport {
    /// Not there.
    Absent,
    /// There without a usable value: the sender asks for its port.
    Empty,
    /// The port a server has put there.
    Port(u16),
}

/// What the server that receives a request notes on its topmost Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ViaStamp {
    /// The address it came from, for `received`.
    pub received: Option<IpAddr>,
    /// The port it came from, for `rport`.
    pub rport: Option<u16>,
    /// The overload control for its sender; in responses only.
    pub overload: Option<Overload>,
}

impl ViaStamp {
    /// What is due: the port where the sender asked for it (RFC 3581 4), the address where the sender asked for the
    /// port, has already claimed one, or is not the host it names (RFC 3261 18.2.1).
    pub fn due(via: &Via<'_>, source: SocketAddr) -> Self {
        let asked = via.rport != Rport::Absent;
        let differs = via.host_address() != Some(source.ip());
        let received = (asked || via.received.is_some() || differs).then(|| source.ip());
        Self { received, rport: asked.then(|| source.port()), overload: None }
    }

    /// What is due when the port is noted without being asked for.
    pub fn forced(via: &Via<'_>, source: SocketAddr) -> Self {
        Self { rport: Some(source.port()), ..Self::due(via, source) }
    }

    /// Whether there is nothing to note.
    pub fn is_empty(&self) -> bool {
        self.received.is_none() && self.rport.is_none() && self.overload.is_none()
    }
}

/// Why a text is not a Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViaError {
    /// It does not start with `SIP/2.0/`.
    Protocol,
    /// No transport.
    Transport,
    /// No host, an octet that cannot be in one, or a broken IPv6 reference.
    Host,
    /// A port that is empty, not a number or above 65535.
    Port,
    /// Text after the host that is neither port nor parameter.
    Stray,
}

impl<'a> Via<'a> {
    /// Reads a text that holds exactly one value.
    pub fn parse(value: &'a [u8]) -> Result<Self, ViaError> {
        let (via, rest) = Self::parse_first(value)?;
        if rest.is_empty() { Ok(via) } else { Err(ViaError::Stray) }
    }

    /// Reads the first value of a list; the second part is what follows its comma, or empty.
    pub fn parse_first(value: &'a [u8]) -> Result<(Self, &'a [u8]), ViaError> {
        let text = trim_start(value);
        let (version, rest) = split_protocol(text)?;
        let (transport, rest) = split_transport(rest)?;
        let (host, rest) = split_host(rest)?;
        let (port, rest) = split_port(rest)?;
        if !matches!(rest.first(), None | Some(b';' | b',')) {
            return Err(ViaError::Stray);
        }
        let (params, rest) = rest.split_at(find_outside_quotes(rest, b','));
        let raw = trim_end(&text[..text.len() - rest.len()]);
        let mut via = Self {
            version,
            transport,
            host,
            port,
            params: Params::new(params),
            branch: None,
            received: None,
            rport: Rport::Absent,
            raw,
        };
        via.note_params();
        Ok((via, rest.get(1..).unwrap_or_default()))
    }

    /// Whether the sender speaks SIP/2.0. The meaning of the fields of another version is not known.
    pub fn is_of_sip_2(&self) -> bool {
        self.version == b"2.0"
    }

    /// The address in `received`, with or without brackets (RFC 5118 4.5).
    pub fn received_address(&self) -> Option<IpAddr> {
        self.received.and_then(address)
    }

    /// The address the host writes; `None` for a name.
    pub fn host_address(&self) -> Option<IpAddr> {
        address(self.host)
    }

    /// Whether the branch was made by RFC 3261 rules and so identifies a transaction (17.2.3).
    pub fn has_magic_cookie(&self) -> bool {
        self.branch.is_some_and(|branch| branch.len() > MAGIC_COOKIE.len() && starts_with_cookie(branch))
    }

    /// One pass over the parameters for the three that every message needs.
    fn note_params(&mut self) {
        for param in self.params {
            match param.name.len() {
                5 if param.is_named(b"rport") && self.rport == Rport::Absent => {
                    self.rport = param.text().and_then(port).map_or(Rport::Empty, Rport::Port);
                }
                6 if param.is_named(b"branch") && self.branch.is_none() => self.branch = param.text(),
                8 if param.is_named(b"received") && self.received.is_none() => self.received = param.text(),
                _ => {}
            }
        }
    }
}

/// The cookie is compared without case, as tokens are (RFC 3261 7.3.1).
fn starts_with_cookie(branch: &[u8]) -> bool {
    branch[..MAGIC_COOKIE.len()].eq_ignore_ascii_case(MAGIC_COOKIE)
}

/// The values of one header field. A field without any value is an error, not nothing.
#[derive(Clone, Debug)]
pub struct Vias<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Vias<'a> {
    /// The values in this header value.
    pub fn new(value: &'a [u8]) -> Self {
        Self { rest: Some(value) }
    }
}

impl<'a> Iterator for Vias<'a> {
    type Item = Result<Via<'a>, ViaError>;

    /// After an error there are no more values: where the next one would start is unknown.
    fn next(&mut self) -> Option<Self::Item> {
        let parsed = Via::parse_first(self.rest.take()?);
        Some(parsed.map(|(via, rest)| {
            self.rest = Some(rest).filter(|rest| !rest.is_empty());
            via
        }))
    }
}

/// The version in `SIP/2.0/`, with white space where the grammar allows it, and what follows.
fn split_protocol(text: &[u8]) -> Result<(&[u8], &[u8]), ViaError> {
    if let Some(rest) = text.strip_prefix(b"SIP/2.0/") {
        return Ok((&text[4..7], rest));
    }
    let rest = skip_word(text, b"SIP").and_then(|rest| skip_word(rest, b"/")).ok_or(ViaError::Protocol)?;
    let (version, rest) = rest.split_at(count_while(rest, |byte| byte.is_ascii_digit() || byte == b'.'));
    let rest = skip_word(trim_start(rest), b"/").filter(|_| !version.is_empty());
    Ok((version, rest.ok_or(ViaError::Protocol)?))
}

fn skip_word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then(|| trim_start(rest))
}

fn split_transport(text: &[u8]) -> Result<(&[u8], &[u8]), ViaError> {
    let text = trim_start(text);
    let (transport, rest) = text.split_at(count_while(text, is_token_octet));
    if transport.is_empty() || !rest.first().is_some_and(|&byte| is_space(byte)) {
        return Err(ViaError::Transport);
    }
    Ok((transport, trim_start(rest)))
}

fn split_host(text: &[u8]) -> Result<(&[u8], &[u8]), ViaError> {
    let (host, rest) = text.split_at(host_length(text).ok_or(ViaError::Host)?);
    if host[0] == b'[' && address(host).is_none() {
        return Err(ViaError::Host);
    }
    Ok((host, trim_start(rest)))
}

fn split_port(text: &[u8]) -> Result<(Option<u16>, &[u8]), ViaError> {
    let [b':', after @ ..] = text else { return Ok((None, text)) };
    let after = trim_start(after);
    let (digits, rest) = after.split_at(count_while(after, |byte| byte.is_ascii_digit()));
    let number = port(digits).ok_or(ViaError::Port)?;
    Ok((Some(number), trim_start(rest)))
}

impl ViaError {
    /// The reason in words.
    pub fn reason(&self) -> &'static str {
        match self {
            ViaError::Protocol => "via does not start with SIP/2.0/",
            ViaError::Transport => "via has no transport",
            ViaError::Host => "via has no valid host",
            ViaError::Port => "via has no valid port after the colon",
            ViaError::Stray => "via has text after the host that is no parameter",
        }
    }
}

impl fmt::Display for ViaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ViaError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// transport | host | port | branch | received | rport, for each value
    fn show(input: &str) -> String {
        let text = |part: Option<&[u8]>| part.map_or("-".into(), |t| t.escape_ascii().to_string());
        let shown = Vias::new(input.as_bytes()).map(|via| match via {
            Err(error) => format!("{error:?}"),
            Ok(v) => format!(
                "{}|{}|{}|{}|{}|{:?}",
                text(Some(v.transport)),
                text(Some(v.host)),
                v.port.map_or("-".into(), |p| p.to_string()),
                text(v.branch),
                text(v.received),
                v.rport
            ),
        });
        shown.collect::<Vec<_>>().join(" , ")
    }

    fn check(input: &str, expected: &str) {
        assert_eq!(show(input), expected, "{}", input.escape_debug());
    }

    #[test]
    fn values_come_apart() {
        check("SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport", "UDP|127.0.0.1|17070|z9hG4bKa|-|Empty");
        check("SIP/2.0/TLS h;rport=5061;received=192.0.2.1;branch=x", "TLS|h|-|x|192.0.2.1|Port(5061)");
        check(
            "sip/2.0/UDP [2001:db8::9:1]:5060;received=[2001:db8::9:255]",
            "UDP|[2001:db8::9:1]|5060|-|[2001:db8::9:255]|Absent",
        );
        check(
            "SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw",
            "UDP|192.0.2.2|-|390skdjuw|-|Absent",
        );
        check("SIP/2.0/UDP host : 5060 ; branch = z9hG4bK1", "UDP|host|5060|z9hG4bK1|-|Absent");
        check("SIP/2.0/UNKNOWN t1.example.com", "UNKNOWN|t1.example.com|-|-|-|Absent");
    }

    #[test]
    fn several_values_share_a_field() {
        check(
            "SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239",
            "TCP|spindle.example.com|-|z9hG4bK9ikj8|-|Absent , UDP|192.168.255.111|-|z9hG4bK30239|-|Absent",
        );
        check("SIP/2.0/UDP a;x=\",\",SIP/2.0/UDP b", "UDP|a|-|-|-|Absent , UDP|b|-|-|-|Absent");
    }

    #[test]
    fn broken_values_are_errors() {
        check("", "Protocol");
        check("SIP//UDP h", "Protocol");
        check("SIP/3.0 UDP h", "Protocol");
        check("HTTP/1.1 h", "Protocol");
        check("SIP/2.0/UDP", "Transport");
        check("SIP/2.0/ h", "Transport");
        check("SIP/2.0/UDP ", "Host");
        check("SIP/2.0/\x16UD~PTo :::]", "Transport");
        check("SIP/2.0/UDP :::]", "Host");
        check("SIP/2.0/UDP [::1", "Host");
        check("SIP/2.0/UDP [:::1]", "Host");
        check("SIP/2.0/UDP 2001:db8::9:1;branch=x", "Port");
        check("SIP/2.0/UDP h:", "Port");
        check("SIP/2.0/UDP h:99999", "Port");
        check("SIP/2.0/UDP h x", "Stray");
        check("SIP/2.0/UDP 192.0.2.15;;,;,,", "UDP|192.0.2.15|-|-|-|Absent , Protocol");
    }

    #[test]
    fn unusable_parameter_values_are_absent() {
        check("SIP/2.0/UDP h;branch=;received=;rport=", "UDP|h|-|-|-|Empty");
        check("SIP/2.0/UDP h;branch;rport=70000", "UDP|h|-|-|-|Empty");
        check("SIP/2.0/UDP h;rport;rport=5", "UDP|h|-|-|-|Empty");
    }

    #[test]
    fn the_cookie_alone_is_no_branch() {
        let cookie = |branch: &str| {
            let text = format!("SIP/2.0/UDP h;branch={branch}");
            Via::parse(text.as_bytes()).unwrap().has_magic_cookie()
        };
        assert!(cookie("z9hG4bK1"));
        assert!(cookie("Z9HG4BK1"));
        assert!(!cookie("z9hG4bK"));
        assert!(!cookie("z9hG4b"));
        assert!(!cookie("1"));
    }

    #[test]
    fn another_version_is_read_and_told() {
        for (text, version, is_ours) in [
            ("SIP/2.0/UDP h", "2.0", true),
            ("SIP / 2.0 / UDP h", "2.0", true),
            ("sip/7.0/UDP h", "7.0", false),
            ("SIP/2/UDP h", "2", false),
        ] {
            let via = Via::parse(text.as_bytes()).unwrap();
            assert_eq!((via.version, via.is_of_sip_2()), (version.as_bytes(), is_ours), "{text}");
        }
    }
}
