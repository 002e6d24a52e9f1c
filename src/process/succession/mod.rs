//! One program or script after another: reload by SIGHUP, upgrade by SIGUSR2, what is handed over.

pub mod handover;
pub mod reload;
pub mod successor;
pub mod upgrade;
