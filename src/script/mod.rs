//! The configuration language: text to tree to checked program to execution.
//!
//! ```text
//!  text ─► lexer ─► preprocess ─► parser ─► Ast ─► check(Ast, Catalog) ─► Program ─► Interpreter(Program, Host)
//!          source     defines                │          │                    │
//!          map        includes               ▼          ▼                    ▼
//!                                          print    diagnostics           Verdict
//! ```
//!
//! Stages are types: a [`program::Program`] has been checked completely, so no unchecked script can run because no
//! such value exists. The language knows nothing of SIP: what names mean it asks a [`catalog::Catalog`] while checking,
//! and what they do it asks a [`host::Host`] while running.
//!
//! The parser always returns a tree and all diagnostics; each mistake is one diagnostic with its place and what would
//! help. `tests/script_parse.rs` holds what is accepted and what is said about the rest.
//!
//! **Invariant:** no I/O, no clock, no randomness in this room; includes are read through [`source::Loader`].
//! **Invariant:** the interpreter meets no unknown name.

mod assembler;
pub mod ast;
pub mod catalog;
pub mod check;
pub mod diagnostic;
pub mod diagnostic_json;
mod escape;
pub mod host;
pub mod interpreter;
mod lexer;
mod network;
mod parse_options;
pub mod parser;
pub mod pattern;
mod preprocess;
pub mod print;
pub mod program;
pub mod source;
pub mod suggest;
pub mod template;
mod token;
pub mod value;
