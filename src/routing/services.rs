//! Typed slots through which modules meet: one offers, another (or the engine) uses, neither knows the other.

use crate::script::catalog::VariableHandle;
use crate::script::host::{Place, Position};

/// The slots. An empty one means that no loaded module offers it.
#[derive(Debug, Default)]
pub struct Services {
    /// The variable whose value travels with a delegated message; the engine of a worker sets it before the routes.
    pub xdata: Option<StoredPlace>,
    /// By group: the variable whose value is the key of its messages, where `order=` names one.
    pub order_keys: Vec<Option<StoredPlace>>,
    /// The event whose route is run when an ACK to a reply made here ends here.
    pub ack_absorbed: Option<&'static str>,
}

/// A variable named by a parameter of a module, ready to be read and written with `Context::read` and `write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPlace {
    /// The variable; literal keys are in it.
    pub variable: VariableHandle,
    /// Whether it can be set before a message is there.
    pub scope: Scope,
}

impl StoredPlace {
    /// As a place.
    pub fn place(&self) -> Place<'static> {
        Place { variable: self.variable, key: b"", position: Position::Unset }
    }
}

/// How long what a variable holds lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// As long as the message in hand; it cannot be set without one.
    Message,
    /// Beyond a message (`$var`, `$shv`): it can be set before a message is there, as `xdata` needs it.
    Process,
}
