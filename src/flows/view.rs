//! What placeholders stand for while a flow runs.

use std::collections::HashMap;

use super::peer::FlowPeer;
use super::placeholder::{LISTENER_LEAD, PROCESS_LEAD, Values};
use super::server::ServerUnderTest;
use crate::sys::process::ProcessId;

/// What placeholders stand for, apart from peers and server.
#[derive(Default)]
pub(super) struct KnownValues {
    pub captured: HashMap<String, String>,
    pub branch: String,
    pub round: u32,
    /// Processes by their names, as they were when they were signalled.
    pub signalled: HashMap<String, ProcessId>,
}

/// Everything a placeholder may ask for.
pub(super) struct View<'r> {
    pub known: &'r KnownValues,
    pub peers: &'r [FlowPeer],
    pub server: Option<&'r ServerUnderTest>,
    pub call_id: &'r str,
}

impl Values for View<'_> {
    fn value(&self, name: &str) -> Result<String, String> {
        if let Some(text) = self.known.captured.get(name) {
            return Ok(text.clone());
        }
        if let Some(process) = name.strip_prefix(PROCESS_LEAD) {
            let process = self.server.and_then(|server| server.process(process.trim()));
            return process.map(|id| id.to_string()).ok_or_else(|| format!("there is no process for {name}"));
        }
        match name {
            "branch" => return Ok(self.known.branch.clone()),
            "call_id" => return Ok(self.call_id.to_owned()),
            "round" => return Ok(self.known.round.to_string()),
            _ => {}
        }
        let (owner, field) = name.split_once('.').unwrap_or((name, ""));
        if let Some(peer) = self.peers.iter().find(|peer| peer.name == owner) {
            return Ok(match field {
                "host" => peer.address.ip().to_string(),
                "port" => peer.address.port().to_string(),
                "tag" => peer.tag.clone(),
                "branch" => peer.branch.clone(),
                _ => peer.address.to_string(),
            });
        }
        self.of_listener(name)
    }
}

impl View<'_> {
    /// `server`, `server.port`, `server.2`, `server.2.host`.
    fn of_listener(&self, name: &str) -> Result<String, String> {
        let rest = name.strip_prefix(LISTENER_LEAD).unwrap_or_default();
        let (number, field) = match rest.split_once('.') {
            Some((number, field)) => (number.parse().unwrap_or(1), field),
            None => rest.parse().map_or((1, rest), |number| (number, "")),
        };
        let listeners = self.server.map_or(&[][..], |server| &server.listeners);
        let Some(address) = listeners.get(number - 1) else {
            return Err(format!("the server has {} listeners, so there is no ${{{name}}}", listeners.len()));
        };
        Ok(match field {
            "host" => address.ip().to_string(),
            "port" => address.port().to_string(),
            _ => address.to_string(),
        })
    }
}
