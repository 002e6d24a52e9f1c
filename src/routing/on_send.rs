//! `onsend_route`: run on every request that is sent on, when all is written and before it leaves.
//!
//! ```text
//!  forward() ─► message written ─► onsend_route ──drop──► not sent
//!                                       └─────────► sent, whatever else its end is
//! ```
//!
//! The script's own interpreter is busy then (it runs `forward()`), so the route has one of its own. A script without
//! the route pays for one test of a pointer.

use crate::script::interpreter::RunLimits;
use crate::script::program::Program;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::script::interpreter::Interpreter;
use crate::script::program::RouteId;

use super::context::Context;
use crate::telemetry::counters::SCRIPTS_FAILED;
use crate::transport::endpoint::Flow;

/// The route, and what runs it.
pub(crate) struct OnSend {
    program: Rc<Program>,
    route: RouteId,
    interpreter: Interpreter,
}

/// A message that is written and about to leave: what `$snd`, `$sndto` and `$sndfrom` show.
#[derive(Debug)]
pub struct Leaving {
    /// Index of the listener it leaves by.
    pub listener: u16,
    /// Where to.
    pub to: SocketAddr,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl OnSend {
    pub(crate) fn new(program: Rc<Program>, route: RouteId, limits: RunLimits) -> OnSend {
        OnSend { program, route, interpreter: Interpreter::new(limits) }
    }
}

impl Context<'_> {
    /// Lets the script look at what is about to leave, requests and where that is wished replies; false when it is not to.
    pub(crate) fn may_leave(&mut self, flow: Flow, bytes: &mut Vec<u8>) -> bool {
        if self.message.is_request() || self.settings().is_reply_shown_on_send {
            return self.run_on_send(flow, bytes);
        }
        true
    }

    fn run_on_send(&mut self, flow: Flow, bytes: &mut Vec<u8>) -> bool {
        // While the route runs it is not there: nothing that is sent meanwhile begins it anew.
        let Some(mut on_send) = self.process.on_send.take() else { return true };
        let Flow::Datagram { listener, to } = flow;
        self.leaving = Some(Leaving { listener, to, bytes: std::mem::take(bytes) });
        let verdict = on_send.interpreter.run(&on_send.program, on_send.route, self);
        if let Some(leaving) = self.leaving.take() {
            *bytes = leaving.bytes;
        }
        self.process.on_send = Some(on_send);
        if verdict.failed {
            self.count(SCRIPTS_FAILED);
        }
        !verdict.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::tests::with_context_logging_to;
    use super::*;
    use crate::bindings::load::{LoadRequest, Root, load};
    use crate::script::ast::RouteKind;

    #[test]
    fn the_route_sees_what_leaves_and_gives_the_bytes_back() {
        let text = "listen=udp:127.0.0.1:5060\nrequest_route { exit; }\n\
            onsend_route { if (to_port == 5070) drop; exit; }";
        let root = Root::Text { name: "t.cfg".to_string(), text: text.as_bytes().to_vec() };
        let loaded = load(LoadRequest::new(root, &[]));
        let loaded = Rc::new(loaded.unwrap_or_else(|rejected| panic!("{}", rejected.errors.concat())));
        let route = loaded.program.route(RouteKind::OnSend, b"").expect("it is in the script");
        with_context_logging_to(Rc::default(), |context| {
            let mut bytes = b"text".to_vec();
            let mut may_leave = |context: &mut Context<'_>, listener: u16, port: u16| {
                let to = SocketAddr::from(([127, 0, 0, 1], port));
                let may = context.may_leave(Flow::Datagram { listener, to }, &mut bytes);
                assert!(bytes == b"text" && context.leaving().is_none());
                may
            };
            // Without the route everything leaves.
            assert!(may_leave(context, u16::MAX, 5070));
            context.process.run_on_send(Rc::clone(&loaded.program), route, loaded.limits);
            assert!(!may_leave(context, u16::MAX, 5070));
            assert!(may_leave(context, u16::MAX, 5071));
        });
    }
}
