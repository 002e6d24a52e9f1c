//! What every module and process shares: settings, messages in hand, groups, variables, modules' interface.
//!
//! **Invariant:** a message belongs to exactly one process; handing over is copy and publish.
//! **Invariant:** a delegated message is handled, or counted as lost with a reason.
//! **Invariant:** whatever is counted, configured or callable has one table row with its documentation.

pub mod branches;
pub mod context;
pub mod continuation;
pub mod counters;
pub mod datagram;
pub mod elsewhere;
pub mod functions;
pub mod groups;
pub mod host;
pub mod identity;
pub mod instance;
pub mod live_settings;
pub mod load;
pub mod log;
pub mod manual;
pub mod module;
pub mod nearest;
pub mod on_send;
pub mod onward;
pub mod outbox;
pub mod outgoing;
pub mod overload;
pub mod planning;
pub mod preparation;
pub mod registry;
pub mod relay;
pub mod services;
pub mod settings;
pub mod shared;
pub mod sources;
#[cfg(test)]
pub mod stage;
pub mod stores;
pub mod throttle;
pub mod transformations;
pub mod uri_draft;
pub mod value;
pub mod variables;
pub mod words;
pub mod xavps;
