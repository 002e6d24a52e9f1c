//! What processes share beside messages: values, locks, totals, and what the master notes for all.
//!
//! **Invariant:** shared memory is made by [`parts`] before the first fork; its list names all of it.
//! **Invariant:** what is held in a part of server lifetime names generation and index; a generation that does not serve yet
//! writes nothing there but names and values that no earlier one had.
//! **Invariant:** a process that dies at any instruction leaves nothing here that the master cannot put right.

pub mod live_settings;
pub mod overload;
pub mod parts;
pub mod poison;
pub mod shared;
pub mod status;
pub mod value;
pub mod values;
