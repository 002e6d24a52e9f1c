//! Answering and sending on, without state: replies made here (RFC 3261 8.2.6), requests (16.11), replies by their
//! Via (16.11, 18.2.2).
//!
//! Addresses are used as they are. Replies go to addresses alone: a host name in a Via is whatever its sender wrote,
//! and nobody but the sender may hold up this process by it. Where a script sends a request to a host name, the system's
//! resolver is asked, which holds the process for at most [two seconds for each name server](crate::sys::resolver).
//!
//! `maddr` and `ttl` of a Via are not followed (RFC 3261 18.2.2 would): the reference does not, no element that is alive
//! sends them, and whoever did could have the answers to his requests delivered to anybody.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};

use crate::sip::branch::{Branch, ToTag};
use crate::sip::edit::EditError;
use crate::sip::overload::Overload;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::validate::{self, Fault, ValidationRules};
use crate::sip::via::{Rport, Via, ViaStamp};
use crate::sip::write::{self, Response};
use crate::sip::{Edits, Grammar, HeaderError, HeaderId, Method, Status};

use super::context::{Context, Target};
use crate::config::settings::{ListenerSetting, parse_address};
use crate::telemetry::counters::{
    OVERLOAD_TOLD, REPLIES_FORWARDED, REPLIES_SENT, REQUESTS_FORWARDED, SENDS_FAILED,
};
use crate::transport::endpoint::Transport;

const DEFAULT_PORT: u16 = 5060;

/// A reply to the request in hand.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'r> {
    /// The status.
    pub status: Status,
    /// The reason phrase; empty for the one the RFCs give the status.
    pub reason: &'r [u8],
    /// Further header lines, each with its line end.
    pub headers: &'r [u8],
    /// The body; its Content-Type belongs into the header lines.
    pub body: &'r [u8],
}

/// Why nothing was sent.
#[derive(Debug)]
pub enum RelayFailure {
    /// A reply cannot be answered, nor sent on as a request.
    NotARequest,
    /// An ACK is never answered (RFC 3261 17.1.1.3).
    Ack,
    /// The status is none.
    Status(u16),
    /// A header field that is needed cannot be read.
    Header(HeaderError),
    /// Two readers would cut the message into different lines or bodies.
    Broken(Fault),
    /// The message cannot be changed as needed.
    Edit(EditError),
    /// There is no second Via: the reply is not for anybody else.
    NoWayBack,
    /// The topmost Via is not ours, and `check_via` is set.
    NotOurVia,
    /// The URI says no host to send to.
    NoHost(String),
    /// The host has no address.
    Unresolved(String),
    /// Another transport is asked for than is served.
    Transport(String),
    /// No listener has an address of this kind.
    NoListener(SocketAddr),
    /// `onsend_route` dropped it.
    Withheld(SocketAddr),
    /// The kernel did not take it.
    Send(SocketAddr, io::Error),
}

impl fmt::Display for RelayFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelayFailure::NotARequest => f.write_str("the message is not a request"),
            RelayFailure::Ack => f.write_str("an ACK is never answered"),
            RelayFailure::Status(code) => write!(f, "{code} is not a status code"),
            RelayFailure::Header(error) => error.fmt(f),
            RelayFailure::Broken(fault) => write!(f, "the message is broken: {fault}"),
            RelayFailure::Edit(error) => error.fmt(f),
            RelayFailure::NoWayBack => f.write_str("the reply has no second via"),
            RelayFailure::NotOurVia => f.write_str("the topmost via of the reply is not ours"),
            RelayFailure::NoHost(uri) => write!(f, "no host to send to in \"{uri}\""),
            RelayFailure::Unresolved(host) => write!(f, "could not resolve \"{host}\""),
            RelayFailure::Transport(name) => write!(f, "transport \"{name}\" is not supported yet"),
            RelayFailure::NoListener(to) => write!(f, "no listener can send to {to}"),
            RelayFailure::Withheld(to) => write!(f, "onsend_route dropped the message to {to}"),
            RelayFailure::Send(to, error) => write!(f, "could not send to {to}: {error}"),
        }
    }
}

impl std::error::Error for RelayFailure {}

impl From<HeaderError> for RelayFailure {
    fn from(error: HeaderError) -> Self {
        RelayFailure::Header(error)
    }
}

impl From<EditError> for RelayFailure {
    fn from(error: EditError) -> Self {
        RelayFailure::Edit(error)
    }
}

/// Replies made here.
impl Context<'_> {
    /// Answers the request in hand at once.
    pub fn reply(&mut self, status: u16, reason: &[u8], headers: &[u8]) -> Result<(), RelayFailure> {
        let status = Status::new(status).ok_or(RelayFailure::Status(status))?;
        self.send_reply(&Reply { status, reason, headers, body: b"" })
    }

    /// Answers the request in hand at once, with a body. A request whose header lines cannot be told apart, or whose
    /// Content-Length cannot be read, is answered by [`Context::answer_fault`] alone.
    fn send_reply(&mut self, reply: &Reply<'_>) -> Result<(), RelayFailure> {
        self.check_framing()?;
        self.send_response(reply)
    }

    /// Answers a broken request with the status its fault is owed, and says what is wrong in the reason phrase; a 420
    /// lists what is not supported (RFC 3261 8.2.2.3). `false` when nothing is owed: a response, an ACK, no Via.
    pub fn answer_fault(&mut self, fault: Fault, rules: &ValidationRules<'_>) -> Result<bool, RelayFailure> {
        let Some(status) = fault.status_owed(&self.message) else { return Ok(false) };
        let reason = format!("{} ({fault})", status.reason());
        let mut headers = Vec::new();
        if let Fault::Extension(id) = fault {
            append_unsupported(validate::unsupported_extensions(&self.message, id, rules), &mut headers);
        }
        self.send_response(&Reply { status, reason: reason.as_bytes(), headers: &headers, body: b"" })?;
        Ok(true)
    }

    fn check_framing(&self) -> Result<(), RelayFailure> {
        validate::check_framing(&self.message).map_err(RelayFailure::Broken)
    }

    fn send_response(&mut self, reply: &Reply<'_>) -> Result<(), RelayFailure> {
        let line = self.message.request_line().ok_or(RelayFailure::NotARequest)?;
        if line.method == Method::Ack {
            return Err(RelayFailure::Ack);
        }
        let via = self.message.via(0)?;
        let to = self.reply_address(&via)?;
        let tag = ToTag::of_request(&self.message, &self.process.secret);
        let reason = if reply.reason.is_empty() { reply.status.reason().as_bytes() } else { reply.reason };
        let own_body = self.reply_body.take().filter(|_| reply.body.is_empty());
        let mut lines = self.lines_for_reply(reply.headers);
        if let Some(body) = &own_body {
            lines.extend_from_slice(b"Content-Type: ");
            lines.extend_from_slice(&body.content_type);
            lines.extend_from_slice(b"\r\n");
        }
        self.append_redirection(reply.status, &mut lines);
        let response = Response {
            reason,
            to_tag: Some(tag.as_bytes()),
            via_stamp: ViaStamp { overload: self.overload_due(&via), ..self.via_stamp(&via) },
            header_lines: &lines,
            body: own_body.as_ref().map_or(reply.body, |body| &body.bytes),
            ..Response::new(reply.status)
        };
        let mut out = std::mem::take(&mut self.process.output);
        out.clear();
        let written = write::response(&self.message, &response, &mut out).map_err(RelayFailure::from);
        let sent = written.and_then(|()| self.send(self.envelope().listener, to, &out));
        self.reply_body = own_body;
        self.process.output = out;
        self.process.lines = lines;
        sent?;
        self.is_settled |= !reply.status.is_provisional();
        self.count(REPLIES_SENT);
        Ok(())
    }

    /// `append_to_reply` lines, those of this reply, and the name of this server.
    fn lines_for_reply(&mut self, headers: &[u8]) -> Vec<u8> {
        let mut lines = std::mem::take(&mut self.process.lines);
        lines.clear();
        lines.extend_from_slice(&self.reply_headers);
        lines.extend_from_slice(headers);
        if !lines.is_empty() && !lines.ends_with(b"\n") {
            lines.extend_from_slice(b"\r\n");
        }
        let settings = self.settings();
        if settings.is_server_signature_on && !settings.server_header.is_empty() {
            lines.extend_from_slice(&settings.server_header);
            lines.extend_from_slice(b"\r\n");
        }
        lines
    }

    /// A redirection (RFC 3261 21.3) names the further targets of the request.
    fn append_redirection(&self, status: Status, lines: &mut Vec<u8>) {
        if status.class() == 3 && !self.branches.targets().is_empty() {
            lines.extend_from_slice(b"Contact: ");
            self.branches.write_contacts(true, lines);
            lines.extend_from_slice(b"\r\n");
        }
    }

    /// To the sender, by the port it asked for; else by the port it names in Via (RFC 3261 18.2.2, RFC 3581 4). With
    /// `reply_to_via` to the address it names there, if it names one.
    fn reply_address(&self, via: &Via<'_>) -> Result<SocketAddr, RelayFailure> {
        let source = self.envelope().source;
        if self.settings().reply_to_via {
            let address = via.host_address().unwrap_or(source.ip());
            return Ok(SocketAddr::new(address, via.port.unwrap_or(DEFAULT_PORT)));
        }
        if self.is_rport_forced || via.rport != Rport::Absent {
            return Ok(source);
        }
        Ok(SocketAddr::new(source.ip(), via.port.unwrap_or(DEFAULT_PORT)))
    }

    fn via_stamp(&self, via: &Via<'_>) -> ViaStamp {
        let source = self.envelope().source;
        if self.is_rport_forced { ViaStamp::forced(via, source) } else { ViaStamp::due(via, source) }
    }

    /// What the sender named in this Via is told about overload, where it asks and a group has `oc=on`.
    #[inline]
    fn overload_due(&self, via: &Via<'_>) -> Option<Overload> {
        let due = self.process.ports.shared.overload.due(via);
        if due.is_some() {
            self.count(OVERLOAD_TOLD);
        }
        due
    }

    fn send(&mut self, listener: u16, to: SocketAddr, bytes: &[u8]) -> Result<(), RelayFailure> {
        let sent = self.process.ports.outbound.send(listener, to, bytes);
        sent.map_err(|error| {
            self.count(SENDS_FAILED);
            RelayFailure::Send(to, error)
        })
    }
}

/// Requests sent on.
impl Context<'_> {
    /// Sends the request on, with our Via on top and the script's changes made. Nothing is kept: retransmissions take
    /// the same way with the same branch, and Max-Forwards is left to the script.
    pub fn forward(&mut self, target: Target<'_>) -> Result<(), RelayFailure> {
        let line = self.message.request_line().ok_or(RelayFailure::NotARequest)?;
        self.check_framing()?;
        let to = self.address_of(target, line.uri)?;
        let listener = self.listener_to(to)?;
        let mut edits = self.edits.clone();
        self.edit_forwarded(listener, &mut edits)?;
        self.write_and_send(&edits, listener, to)?;
        self.forward_count += 1;
        self.is_settled = true;
        self.count(REQUESTS_FORWARDED);
        Ok(())
    }

    /// Sends the message as it was received, without a Via of ours: whoever gets it answers past this server.
    pub fn send_as_received(&mut self, target: Target<'_>) -> Result<(), RelayFailure> {
        let received_uri = self.message.request_line().map(|line| line.uri).unwrap_or_default();
        let to = self.address_of(target, received_uri)?;
        let listener = self.listener_to(to)?;
        let bytes = self.datagram.bytes;
        self.send(listener, to, bytes)
    }

    /// Sends any bytes to where a URI leads.
    pub fn send_bytes(&mut self, uri: &[u8], bytes: &[u8]) -> Result<(), RelayFailure> {
        let to = address_of_uri(uri, self.grammar())?;
        let listener = self.listener_to(to)?;
        self.send(listener, to, bytes)
    }

    fn address_of(&self, target: Target<'_>, received_uri: &[u8]) -> Result<SocketAddr, RelayFailure> {
        match target {
            Target::Address(address) => Ok(address),
            Target::Host(host, port) => resolve(host, port.unwrap_or(DEFAULT_PORT)),
            Target::NextHop => {
                let uri = self.destination_uri().or(self.changed_request_uri()).unwrap_or(received_uri);
                address_of_uri(uri, self.grammar())
            }
        }
    }

    /// The listener the script forces, the one the message came in by, or the first of the same kind of address.
    fn listener_to(&self, to: SocketAddr) -> Result<u16, RelayFailure> {
        let settings = self.settings();
        let fits = |listener: &ListenerSetting| {
            listener.transport == Transport::Udp && listener.address.is_ipv4() == to.is_ipv4()
        };
        let preferred = match self.forced_listener {
            Some(forced) => Some(forced),
            None if settings.mhomed => self.listener_by_route(to),
            None => None,
        };
        let wanted = preferred.unwrap_or(self.envelope().listener);
        if settings.listener(wanted).is_some_and(fits) {
            return Ok(wanted);
        }
        let first = settings.listeners.iter().position(fits);
        first.map(|index| index as u16).ok_or(RelayFailure::NoListener(to))
    }

    /// The listener on the address the kernel would send from.
    fn listener_by_route(&self, to: SocketAddr) -> Option<u16> {
        let from = crate::sys::interfaces::source_address_to(to).ok()?;
        let listeners = &self.settings().listeners;
        listeners.iter().position(|listener| listener.address.ip() == from).map(|index| index as u16)
    }

    fn edit_forwarded(&mut self, listener: u16, edits: &mut Edits) -> Result<(), RelayFailure> {
        let via = self.message.via(0)?;
        edits.stamp_top_via(&self.message, self.via_stamp(&via))?;
        if let Some(uri) = self.changed_request_uri() {
            edits.set_request_uri(&self.message, uri)?;
        }
        let mut out = std::mem::take(&mut self.process.output);
        out.clear();
        self.append_own_via(listener, &mut out);
        let pushed = edits.push_via(&self.message, &out);
        self.process.output = out;
        Ok(pushed?)
    }

    fn append_own_via(&self, listener: u16, out: &mut Vec<u8>) {
        let Some(setting) = self.settings().listener(listener) else { return };
        let (host, port) = self.settings().advertised(setting);
        let port = self.advertised_port.unwrap_or(port);
        out.extend_from_slice(b"SIP/2.0/UDP ");
        // Writing to a vector cannot fail.
        let _ = match &self.advertised_address {
            Some(host) => out.write_all(host),
            None => write!(out, "{host}"),
        };
        let _ = write!(out, ":{port};branch=");
        let branch = Branch::of_request(&self.message, self.forward_count, &self.process.secret);
        out.extend_from_slice(branch.as_bytes());
        if self.is_local_rport_added {
            out.extend_from_slice(b";rport");
        }
    }

    fn write_and_send(&mut self, edits: &Edits, listener: u16, to: SocketAddr) -> Result<(), RelayFailure> {
        let mut out = std::mem::take(&mut self.process.output);
        out.clear();
        let written = write::message(&self.message, edits, &mut out).map_err(RelayFailure::from);
        let is_asked = self.process.on_send.is_some()
            && (self.message.is_request() || self.settings().is_reply_shown_on_send);
        let sent = written.and_then(|()| match is_asked && !self.may_leave(listener, to, &mut out) {
            true => Err(RelayFailure::Withheld(to)),
            false => self.send(listener, to, &out),
        });
        self.process.output = out;
        sent
    }
}

/// Replies sent on.
impl Context<'_> {
    /// Sends the reply in hand to where its second Via says, without the first.
    pub fn forward_reply(&mut self) -> Result<(), RelayFailure> {
        self.check_own_via()?;
        self.check_framing()?;
        validate::check_broadcast(&self.message).map_err(RelayFailure::Broken)?;
        let via = self.message.vias().nth(1).ok_or(RelayFailure::NoWayBack)??;
        let to = reply_target(&via)?;
        let listener = self.listener_to(to)?;
        let stamp = ViaStamp { overload: self.overload_due(&via), ..ViaStamp::default() };
        let mut edits = std::mem::take(&mut self.edits);
        let edited =
            edits.remove_top_via(&self.message).and_then(|()| edits.stamp_via(&self.message, &via, stamp));
        let sent = match edited {
            Ok(()) => self.write_and_send(&edits, listener, to),
            Err(error) => Err(error.into()),
        };
        self.edits = edits;
        sent?;
        self.count(REPLIES_FORWARDED);
        Ok(())
    }

    fn check_own_via(&self) -> Result<(), RelayFailure> {
        let via = self.message.via(0)?;
        let is_ours = || self.settings().is_myself(via.host, via.port.unwrap_or(DEFAULT_PORT));
        if self.settings().check_via && !is_ours() { Err(RelayFailure::NotOurVia) } else { Ok(()) }
    }
}

/// `Unsupported: a, b` with its line end.
fn append_unsupported<'t>(tags: impl Iterator<Item = &'t [u8]>, out: &mut Vec<u8>) {
    for tag in tags {
        let lead = if out.is_empty() { HeaderId::Unsupported.name().as_bytes() } else { b"" };
        out.extend_from_slice(lead);
        out.extend_from_slice(if lead.is_empty() { b", " } else { b": " });
        // A tag is one word; what is folded or quoted beyond that is not repeated to the sender.
        out.extend(tag.iter().copied().filter(u8::is_ascii_graphic));
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 3261 18.2.2, RFC 3581 4: `received` before the host, `rport` before the port.
fn reply_target(via: &Via<'_>) -> Result<SocketAddr, RelayFailure> {
    check_transport(via.transport)?;
    let port = match via.rport {
        Rport::Port(port) => port,
        Rport::Absent | Rport::Empty => via.port.unwrap_or(DEFAULT_PORT),
    };
    // Never a name: whoever sends a reply with a Via of his own could hold up this process by it. A Via that we sent on
    // carries `received` wherever its host is a name (RFC 3261 18.2.1), so nothing of ours is missed.
    let host = via.received.unwrap_or(via.host);
    let address =
        parse_address(host).ok_or_else(|| RelayFailure::Unresolved(host.escape_ascii().to_string()))?;
    Ok(SocketAddr::new(address, port))
}

fn address_of_uri(text: &[u8], grammar: &Grammar) -> Result<SocketAddr, RelayFailure> {
    let no_host = || RelayFailure::NoHost(text.escape_ascii().to_string());
    let uri = Uri::parse_within(text, grammar).map_err(|_| no_host())?;
    if uri.scheme == Scheme::Sips {
        return Err(RelayFailure::Transport("tls".to_string()));
    }
    check_transport(uri.transport().unwrap_or(b"udp"))?;
    let host = uri.host.filter(|_| uri.scheme == Scheme::Sip).ok_or_else(no_host)?;
    resolve(host, uri.port.unwrap_or(DEFAULT_PORT))
}

fn check_transport(name: &[u8]) -> Result<(), RelayFailure> {
    if name.eq_ignore_ascii_case(b"udp") {
        return Ok(());
    }
    Err(RelayFailure::Transport(name.escape_ascii().to_string()))
}

/// The address of a host: as written, or as the system's resolver knows it, IPv4 before IPv6.
fn resolve(host: &[u8], port: u16) -> Result<SocketAddr, RelayFailure> {
    if let Some(address) = parse_address(host) {
        return Ok(SocketAddr::new(address, port));
    }
    let unresolved = || RelayFailure::Unresolved(host.escape_ascii().to_string());
    let name = std::str::from_utf8(host).ok().filter(|name| is_host_name(name)).ok_or_else(unresolved)?;
    let found: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(|_| unresolved())?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(unresolved)
}

/// Nothing else is worth a question to the resolver.
fn is_host_name(name: &str) -> bool {
    let is_octet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&name.len()) && name.bytes().all(is_octet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::{Module, ModuleEntry, ModuleFunction, Outcome, ParameterKind};
    use crate::engine::harness::{OPTIONS, ScriptHarness};
    use crate::routing::context::ReplyBody;

    fn shown<T: fmt::Debug>(result: Result<T, RelayFailure>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn a_uri_says_where_to_send() {
        let rows = [
            ("sip:b@10.0.0.1", "10.0.0.1:5060"),
            ("sip:10.0.0.1:5070;transport=UDP", "10.0.0.1:5070"),
            ("sip:[2001:db8::1]", "[2001:db8::1]:5060"),
            ("sip:10.0.0.1;transport=tcp", "transport \"tcp\" is not supported yet"),
            ("sips:10.0.0.1", "transport \"tls\" is not supported yet"),
            ("tel:+4930", "no host to send to in \"tel:+4930\""),
            ("nonsense", "no host to send to in \"nonsense\""),
            ("sip:no_such_host..invalid", "could not resolve \"no_such_host..invalid\""),
        ];
        for (uri, expected) in rows {
            assert_eq!(shown(address_of_uri(uri.as_bytes(), &Grammar::STRICT)), expected, "{uri}");
        }
    }

    #[test]
    fn a_via_says_where_a_reply_goes() {
        let rows = [
            ("SIP/2.0/UDP 10.0.0.1;branch=x", "10.0.0.1:5060"),
            ("SIP/2.0/UDP 10.0.0.1:5070;branch=x", "10.0.0.1:5070"),
            ("SIP/2.0/UDP h.example:5070;received=10.0.0.2;branch=x", "10.0.0.2:5070"),
            ("SIP/2.0/UDP h.example:5070;rport=99;received=10.0.0.2", "10.0.0.2:99"),
            ("SIP/2.0/UDP 10.0.0.1:5070;rport", "10.0.0.1:5070"),
            ("SIP/2.0/UDP 10.0.0.1:5070;maddr=239.255.255.1;ttl=1", "10.0.0.1:5070"),
            ("SIP/2.0/UDP h.example;received=10.0.0.2;maddr=10.0.0.3", "10.0.0.2:5060"),
            ("SIP/2.0/UDP h.example", "could not resolve \"h.example\""),
            ("SIP/2.0/TCP 10.0.0.1", "transport \"TCP\" is not supported yet"),
        ];
        for (via, expected) in rows {
            assert_eq!(shown(reply_target(&Via::parse(via.as_bytes()).unwrap())), expected, "{via}");
        }
    }

    /// Replies, as a module would make them.
    struct Replier;

    impl Module for Replier {
        const NAME: &'static str = "replier";
        const DOCUMENTATION: &'static str = "replies for tests";
        const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
            ModuleFunction::new(
                "answer",
                "replies with a status",
                &[ParameterKind::Integer],
                |_, context, arguments| {
                    let status = arguments[0].integer().and_then(|code| u16::try_from(code).ok());
                    context.reply(status.unwrap_or(0), b"", b"").is_ok().into()
                },
            ),
            ModuleFunction::new("give_body", "sets the body of replies", &[], |_, context, _| {
                let body = ReplyBody { content_type: b"text/plain".to_vec(), bytes: b"sorry".to_vec() };
                context.reply_body = Some(body);
                Outcome::TRUE
            }),
        ];

        fn new() -> Self {
            Replier
        }
    }

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Replier>()];

    fn reply_after(statements: &str) -> String {
        let script = format!("loadmodule \"replier.so\"\nrequest_route {{ {statements} }}");
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(OPTIONS);
        stage.sent_one().text
    }

    #[test]
    fn a_redirection_names_the_further_targets() {
        let branches = "$br = \"sip:a@x\"; $br = \"sip:b@y\"; $(branch(q)[1]) = 500;";
        let contact = "Contact: <sip:a@x>, <sip:b@y>;q=0.5\r\n";
        assert!(reply_after(&format!("{branches} answer(302);")).contains(contact));
        assert!(!reply_after(&format!("{branches} answer(404);")).contains("Contact"));
        assert!(!reply_after("answer(302);").contains("Contact"));
    }

    #[test]
    fn a_reply_goes_to_the_sender_or_to_an_address_in_its_via() {
        let rows = [
            ("", "SIP/2.0/UDP 10.9.9.9:5099", "127.0.0.1:5099"),
            ("", "SIP/2.0/UDP 10.9.9.9:5099;rport", "127.0.0.1:17070"),
            ("", "SIP/2.0/UDP 10.9.9.9:5099;maddr=10.8.8.8", "127.0.0.1:5099"),
            ("reply_to_via=yes\n", "SIP/2.0/UDP 10.9.9.9:5099;rport", "10.9.9.9:5099"),
            ("reply_to_via=yes\n", "SIP/2.0/UDP [2001:db8::9]", "[2001:db8::9]:5060"),
            ("reply_to_via=yes\n", "SIP/2.0/UDP localhost:5099", "127.0.0.1:5099"),
            ("reply_to_via=yes\n", "SIP/2.0/UDP 10.9.9.9;maddr=10.8.8.8", "10.9.9.9:5060"),
        ];
        for (settings, via, expected) in rows {
            let script = format!("{settings}loadmodule \"replier.so\"\nrequest_route {{ answer(200); }}");
            let mut stage = ScriptHarness::new(MODULES, &script);
            let line = OPTIONS.lines().find(|line| line.starts_with("Via:")).expect("a Via");
            stage.receive(&OPTIONS.replacen(line, &format!("Via: {via};branch=z9hG4bK1"), 1));
            assert_eq!(stage.sent_one().to.to_string(), expected, "{settings}{via}");
        }
    }

    #[test]
    fn a_body_set_for_replies_comes_with_its_type() {
        let reply = reply_after("give_body(); answer(404);");
        assert!(
            reply.contains("Content-Type: text/plain\r\n") && reply.contains("Content-Length: 5\r\n"),
            "{reply}"
        );
        assert!(reply.ends_with("\r\n\r\nsorry"), "{reply}");
        assert!(reply_after("answer(404);").ends_with("\r\n\r\n"));
    }
}
