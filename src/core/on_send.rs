//! `onsend_route`: run on every request that is sent on, when all is written and before it leaves.
//!
//! ```text
//!  forward() ─► message written ─► onsend_route ──drop──► not sent
//!                                       └─────────► sent, whatever else its end is
//! ```
//!
//! The script's own interpreter is busy then (it runs `forward()`), so the route has one of its own. A script without
//! the route pays for one test of a pointer.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::script::interpreter::Interpreter;
use crate::script::program::RouteId;

use super::context::Context;
use super::counters::SCRIPTS_FAILED;
use super::load::Loaded;

/// The route, and what runs it.
pub(super) struct OnSend {
    loaded: Rc<Loaded>,
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
    pub(super) fn new(loaded: Rc<Loaded>, route: RouteId) -> OnSend {
        let interpreter = Interpreter::new(loaded.limits);
        OnSend { loaded, route, interpreter }
    }
}

impl Context<'_> {
    /// Lets the script look at what is about to leave; false when it is not to.
    pub(super) fn may_leave(&mut self, listener: u16, to: SocketAddr, bytes: &mut Vec<u8>) -> bool {
        // While the route runs it is not there: nothing that is sent meanwhile begins it anew.
        let Some(mut on_send) = self.process.on_send.take() else { return true };
        self.leaving = Some(Leaving { listener, to, bytes: std::mem::take(bytes) });
        let verdict = on_send.interpreter.run(&on_send.loaded.program, on_send.route, self);
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
