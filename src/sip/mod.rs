//! RFC 3261 as values: bytes in, typed views and bytes out; no I/O, no clock, no randomness.
//!
//! ```text
//!   datagram ──► Message::parse ──► typed views on demand ──► script
//!   stream ──► framing ─┘   │        via() from() cseq() …       │
//!                           ▼                                    ▼
//!                        validate: which status is owed       Edits
//!                                                                │
//!   bytes out ◄── write::message (message + edits) ◄─────────────┤
//!             ◄── write::response (request + status) ◄───────────┘
//! ```
//!
//! A [`message::Message`] is a start line and an index of header lines over borrowed bytes: nothing is
//! copied and, up to 64 headers, nothing is allocated. Values are parsed when asked for. Only a message without
//! a usable start line fails to parse: everything else can be answered, and [`validate`] says how.
//!
//! **Invariant:** no I/O, no clock, no randomness; addresses, ports, secret keys and what a script allows
//! beside the grammar come as arguments.
//! **Invariant:** nothing from the network panics, and no accessor hands out an empty value as if it were one.
//! **Invariant:** no sequence of edits makes a message that others read as another one than was meant.
//! **Invariant:** every pass over a message is linear in its size; header, Via and header-size counts have limits.

mod ambiguity;
pub mod branch;
pub mod credentials;
pub mod cseq;
pub mod edit;
mod error;
mod find;
pub mod framing;
pub mod grammar;
pub mod header;
mod index;
pub mod list;
pub mod message;
pub mod method;
pub mod name_addr;
mod octets;
pub mod overload;
pub mod params;
mod start_line;
pub mod status;
pub mod transaction;
pub mod uri;
pub mod uri_draft;
pub mod validate;
pub mod via;
pub mod write;

pub use edit::Edits;
pub use grammar::Grammar;
pub use header::HeaderId;
pub use message::{Header, HeaderError, Message, ParseError};
pub use method::Method;
pub use status::Status;
