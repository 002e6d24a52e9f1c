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
//! **Invariant:** no I/O, no clock, no randomness in this room; includes are read through [`source::Loader`].
//! **Invariant:** the interpreter meets no unknown name.

pub mod ast;
pub mod catalog;
pub mod host;
