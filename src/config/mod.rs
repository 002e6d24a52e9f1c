//! What was decided before the start: settings of the script and the command line, and the texts they were read from.
//!
//! **Invariant:** nothing here changes while a generation lives.
//! **Invariant:** whatever can be configured has one table row with its documentation.

pub mod instance;
pub mod settings;
pub mod sources;
