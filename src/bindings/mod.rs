//! What a script can name: modules, functions, variables, transformations, parameters, keywords.
//!
//! **Invariant:** filled while a script is checked, read-only afterwards.
//! **Invariant:** whatever is callable has one table row with its documentation.

pub mod command;
pub mod functions;
pub mod keywords;
pub mod load;
pub mod manual;
pub mod module;
pub mod planning;
pub mod preparation;
pub mod registry;
pub mod transformations;
pub mod unsupported;
pub mod variables;
