//! What every module and process shares: settings, messages in hand, groups, variables, modules' interface.
//!
//! **Invariant:** a message belongs to exactly one process; handing over is copy and publish.
//! **Invariant:** a delegated message is handled, or counted as lost with a reason.
//! **Invariant:** whatever is counted, configured or callable has one table row with its documentation.

pub mod datagram;
pub mod settings;
