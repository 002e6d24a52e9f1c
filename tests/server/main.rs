//! The server as its users meet it: the real daemon, real processes, SIP over real sockets.
//!
//! One program for all of these tests, a file per subject: `cargo test --test server kill::` runs one of them.
//! A new subject is a new file and a line here; [`support`] has what it needs.

mod acceptance;
mod async_tasks;
mod bad_days;
mod bad_input;
mod clock;
mod config_errors;
mod confinement;
mod control;
mod control_socket;
mod daemon;
mod damage;
mod delegation;
mod examples;
mod flow_runner;
mod golden;
mod isolation;
mod kamailio;
mod kill;
mod logs;
mod memory;
mod network;
mod order;
mod overload;
mod poison;
mod races;
mod reload;
mod scaling;
mod scripts;
mod sipp;
mod sipsak;
mod stop;
mod support;
mod systemd;
mod torture;
mod upgrade;
