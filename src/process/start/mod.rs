//! From the command line to a running master: options, the script, run directory, pid file, confinement.

pub mod boot;
pub mod command_line;
pub mod confinement;
pub mod daemon;
pub(in crate::process) mod memory;
pub mod pid_file;
pub mod published_names;
pub mod replay;
pub mod script_source;
pub mod service_manager;
