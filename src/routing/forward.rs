//! Sending on, without state: requests (RFC 3261 16.11), replies by their Via (16.11, 18.2.2).
//!
//! ```text
//!  request ─► flow to the next hop ─► compose ─► onsend_route ─► sent at once: the script is told whether it left
//!  reply   ─► flow by the second Via ─► compose ─► put into the outbox
//! ```

use std::io::Write;

use super::context::{Context, Target};
use super::next_hop::DEFAULT_PORT;
use super::outgoing::Outgoing;
use super::sending::RelayFailure;
use crate::sip::branch::Branch;
use crate::sip::via::ViaStamp;
use crate::sip::{Edits, validate, write};
use crate::telemetry::counters::{REPLIES_FORWARDED, REQUESTS_FORWARDED};
use crate::transport::endpoint::Flow;

/// Requests.
impl Context<'_> {
    /// Sends the request on, with our Via on top and the script's changes made. Nothing is kept: retransmissions take
    /// the same way with the same branch, and Max-Forwards is left to the script.
    pub fn forward(&mut self, target: Target<'_>) -> Result<(), RelayFailure> {
        let line = self.message.request_line().ok_or(RelayFailure::NotARequest)?;
        self.check_framing()?;
        let flow = self.flow_to(target, line.uri)?;
        let mut out = std::mem::take(&mut self.process.output);
        let composed = self.compose_request(flow, &mut out);
        let sent = composed.and_then(|()| match self.may_leave(flow, &mut out) {
            true => self.send(&Outgoing { flow, bytes: &out }),
            false => Err(RelayFailure::Withheld(flow.to())),
        });
        self.process.output = out;
        sent?;
        self.forward_count += 1;
        self.is_settled = true;
        self.count(REQUESTS_FORWARDED);
        Ok(())
    }

    /// Sends the message as it was received, without a Via of ours: whoever gets it answers past this server.
    pub fn send_as_received(&mut self, target: Target<'_>) -> Result<(), RelayFailure> {
        let received_uri = self.message.request_line().map(|line| line.uri).unwrap_or_default();
        let flow = self.flow_to(target, received_uri)?;
        self.send(&Outgoing { flow, bytes: self.datagram.bytes })
    }

    /// Sends any bytes to where a URI leads.
    pub fn send_bytes(&mut self, uri: &[u8], bytes: &[u8]) -> Result<(), RelayFailure> {
        let flow = self.flow_to_uri(uri)?;
        self.send(&Outgoing { flow, bytes })
    }

    /// Writes the request as it is sent on by this flow into `out`: with our Via on top and the script's changes made.
    pub(super) fn compose_request(&self, flow: Flow, out: &mut Vec<u8>) -> Result<(), RelayFailure> {
        let Flow::Datagram { listener, .. } = flow;
        let mut edits = self.edits.clone();
        self.edit_forwarded(listener, &mut edits, out)?;
        out.clear();
        Ok(write::message(&self.message, &edits, out)?)
    }

    fn edit_forwarded(
        &self,
        listener: u16,
        edits: &mut Edits,
        room: &mut Vec<u8>,
    ) -> Result<(), RelayFailure> {
        let via = self.message.via(0)?;
        edits.stamp_top_via(&self.message, self.via_stamp(&via))?;
        if let Some(uri) = self.changed_request_uri() {
            edits.set_request_uri(&self.message, uri)?;
        }
        room.clear();
        self.append_own_via(listener, room);
        Ok(edits.push_via(&self.message, room)?)
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
}

/// Replies.
impl Context<'_> {
    /// Sends the reply in hand to where its second Via says, without the first.
    pub fn forward_reply(&mut self) -> Result<(), RelayFailure> {
        self.check_own_via()?;
        self.check_framing()?;
        validate::check_broadcast(&self.message).map_err(RelayFailure::Broken)?;
        let via = self.message.vias().nth(1).ok_or(RelayFailure::NoWayBack)??;
        let flow = self.flow_by_via(&via)?;
        let stamp = ViaStamp { overload: self.overload_due(&via), ..ViaStamp::default() };
        let mut edits = std::mem::take(&mut self.edits);
        let edited =
            edits.remove_top_via(&self.message).and_then(|()| edits.stamp_via(&self.message, &via, stamp));
        let mut out = std::mem::take(&mut self.process.output);
        out.clear();
        let written = edited.and_then(|()| write::message(&self.message, &edits, &mut out));
        let sent = match written {
            Ok(()) if self.may_leave(flow, &mut out) => self.put(&Outgoing { flow, bytes: &out }),
            Ok(()) => Err(RelayFailure::Withheld(flow.to())),
            Err(error) => Err(error.into()),
        };
        (self.process.output, self.edits) = (out, edits);
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
