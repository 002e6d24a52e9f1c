//! Typed slots through which modules meet: one offers, another (or the engine) uses, neither knows the other.

use super::planning::StoredPlace;

/// The slots. An empty one means that no loaded module offers it.
#[derive(Debug, Default)]
pub struct Services {
    /// The variable whose value travels with a delegated message; the engine of a worker sets it before the routes.
    pub xdata: Option<StoredPlace>,
    /// By group: the variable whose value is the key of its messages, where `order=` names one.
    pub order_keys: Vec<Option<StoredPlace>>,
}
