//! What belongs to one message: it is gone with the message, or travels with it.
//!
//! **Invariant:** a message belongs to exactly one process; delegation is copy and publish.
//! **Invariant:** a delegated message is handled, or counted as lost with a reason.
//! **Invariant:** nothing here names the script's tables but through [`script_view::ScriptView`].

pub mod branches;
pub mod changes;
pub mod context;
pub mod continuation;
pub mod delegation;
pub mod envelope;
pub mod forward;
pub mod hand_over;
pub mod host;
pub mod locks;
pub mod next_hop;
pub mod on_send;
pub mod outbox;
pub mod outgoing;
pub mod reply;
pub mod script_view;
pub mod sending;
pub mod services;
pub mod shared_values;
pub mod stores;
pub mod suspend;
pub mod work;
pub mod xavps;
