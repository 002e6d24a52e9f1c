//! The server as its users meet it: the real daemon, real processes, SIP over real sockets.
//!
//! One program for all of these tests, a file per subject: `cargo test --test server kill::` runs one of them.
//! A new subject is a new file and a line here; [`support`] has what it needs.

mod bad_input;
mod config_errors;
mod control;
mod daemon;
mod delegation;
mod examples;
mod forwarding;
mod isolation;
mod kamailio;
mod kill;
mod pre_routing;
mod replies;
mod scripts;
mod sipp;
mod sipsak;
mod stop;
mod support;
