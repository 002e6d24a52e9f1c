//! How what is composed for the message in hand leaves, and why it may not.

use std::fmt;
use std::net::SocketAddr;

use super::context::Context;
use super::outgoing::{NotSent, Outgoing};
use crate::sip::HeaderError;
use crate::sip::edit::EditError;
use crate::sip::validate::Fault;
use crate::telemetry::counters::SENDS_FAILED;

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
    Send(SocketAddr, NotSent),
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

impl Context<'_> {
    /// Replies leave with others where more is to do; nobody waits for what the kernel says to them. What others do who
    /// wait for a lock held here, they do after it has left.
    pub(super) fn put(&mut self, outgoing: &Outgoing<'_>) -> Result<(), RelayFailure> {
        if self.process.held_locks > 0 {
            return self.send(outgoing);
        }
        self.has_put = true;
        let put = self.process.ports.egress.put(outgoing);
        put.map_err(|not_sent| self.not_sent(outgoing, not_sent))
    }

    /// Requests leave at once: a script that is told that one did not may try another way.
    pub(super) fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), RelayFailure> {
        let sent = self.process.ports.egress.send(outgoing);
        sent.map_err(|not_sent| self.not_sent(outgoing, not_sent))
    }

    /// Lets everything leave that was put: for whoever is about to wait.
    pub fn flush(&mut self) {
        self.process.ports.egress.flush();
    }

    /// What was put for this message leaves: another process may act on it from now on, and send.
    pub(super) fn flush_own(&mut self) {
        if std::mem::take(&mut self.has_put) {
            self.flush();
        }
    }

    #[cold]
    fn not_sent(&self, outgoing: &Outgoing<'_>, not_sent: NotSent) -> RelayFailure {
        self.count(SENDS_FAILED);
        RelayFailure::Send(outgoing.flow.to(), not_sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_to_send_says_where_to() {
        let failure = RelayFailure::Send("192.0.2.1:5060".parse().unwrap(), NotSent::TooLarge);
        assert_eq!(failure.to_string(), "could not send to 192.0.2.1:5060: it is larger than any datagram");
    }
}
