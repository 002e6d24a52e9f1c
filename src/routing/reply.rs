//! Replies made here, without state (RFC 3261 8.2.6).
//!
//! ```text
//!  reply ─► compose: bytes and flow ─► put into the outbox
//! ```

use std::net::SocketAddr;

use super::context::Context;
use super::next_hop::DEFAULT_PORT;
use super::outgoing::Outgoing;
use super::sending::RelayFailure;
use crate::sip::branch::ToTag;
use crate::sip::overload::Overload;
use crate::sip::validate::{self, Fault, ValidationRules};
use crate::sip::via::{Rport, Via, ViaStamp};
use crate::sip::write::{self, Response};
use crate::sip::{HeaderId, Method, Status};
use crate::telemetry::counters::{OVERLOAD_TOLD, REPLIES_SENT};
use crate::transport::endpoint::Flow;

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

impl Context<'_> {
    /// Answers the request in hand. One whose header lines cannot be told apart, or whose Content-Length cannot be read, is
    /// answered by [`Context::answer_fault`] alone.
    pub fn reply(&mut self, status: u16, reason: &[u8], headers: &[u8]) -> Result<(), RelayFailure> {
        let status = Status::new(status).ok_or(RelayFailure::Status(status))?;
        self.check_framing()?;
        self.answer(&Reply { status, reason, headers, body: b"" })
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
        self.answer(&Reply { status, reason: reason.as_bytes(), headers: &headers, body: b"" })?;
        Ok(true)
    }

    pub(super) fn check_framing(&self) -> Result<(), RelayFailure> {
        validate::check_framing(&self.message).map_err(RelayFailure::Broken)
    }

    fn answer(&mut self, reply: &Reply<'_>) -> Result<(), RelayFailure> {
        let mut out = std::mem::take(&mut self.process.output);
        let composed = self.compose_reply(reply, &mut out);
        let sent = composed.and_then(|flow| self.put(&Outgoing { flow, bytes: &out }));
        self.process.output = out;
        if !reply.body.is_empty() {
            self.reply_body = None;
        }
        sent?;
        self.is_settled |= !reply.status.is_provisional();
        self.count(REPLIES_SENT);
        Ok(())
    }

    /// Writes a reply to the request in hand into `out`; the flow it is to leave by. Nothing else changes.
    pub(super) fn compose_reply(
        &mut self,
        reply: &Reply<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Flow, RelayFailure> {
        out.clear();
        let line = self.message.request_line().ok_or(RelayFailure::NotARequest)?;
        if line.method == Method::Ack {
            return Err(RelayFailure::Ack);
        }
        let via = self.message.via(0)?;
        let to = self.reply_address(&via)?;
        let tag = ToTag::of_request(&self.message, &self.process.secret);
        let reason = if reply.reason.is_empty() { reply.status.reason().as_bytes() } else { reply.reason };
        let mut lines = self.lines_for_reply(reply.headers);
        let own_body = self.reply_body.as_ref().filter(|_| reply.body.is_empty());
        if let Some(body) = own_body {
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
            body: own_body.map_or(reply.body, |body| &body.bytes),
            ..Response::new(reply.status)
        };
        let written = write::response(&self.message, &response, out);
        self.process.lines = lines;
        written?;
        Ok(Flow::Datagram { listener: self.envelope().listener, to })
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

    pub(super) fn via_stamp(&self, via: &Via<'_>) -> ViaStamp {
        let source = self.envelope().source;
        if self.is_rport_forced { ViaStamp::forced(via, source) } else { ViaStamp::due(via, source) }
    }

    /// What the sender named in this Via is told about overload, where it asks and a group has `oc=on`.
    #[inline]
    pub(super) fn overload_due(&self, via: &Via<'_>) -> Option<Overload> {
        let due = self.process.ports.shared.overload.due(via);
        if due.is_some() {
            self.count(OVERLOAD_TOLD);
        }
        due
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

#[cfg(test)]
mod tests {
    use crate::bindings::module::{Module, ModuleEntry, ModuleFunction, Outcome, ParameterKind};
    use crate::engine::harness::{OPTIONS, ScriptHarness};
    use crate::routing::context::ReplyBody;

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
