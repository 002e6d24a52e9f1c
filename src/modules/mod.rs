//! The modules a script can load; this file is the list and nothing else.

use crate::bindings::module::ModuleEntry;

pub mod r#async;
pub mod cfg_rpc;
pub mod cfgutils;
pub mod corex;
pub mod counters;
pub mod ctl;
pub mod jsonrpcs;
pub mod kex;
pub mod maxfwd;
pub mod pv;
pub mod sanity;
pub mod siputils;
pub mod sl;
pub mod sworker;
pub mod textops;
pub mod textopsx;
pub mod xlog;

/// Every module, in the order of the manual.
pub const MODULES: &[ModuleEntry] = &[
    ModuleEntry::of::<sworker::Sworker>(),
    ModuleEntry::of::<r#async::Async>(),
    ModuleEntry::of::<sl::Stateless>(),
    ModuleEntry::of::<xlog::Xlog>(),
    ModuleEntry::of::<pv::Pv>(),
    ModuleEntry::of::<textops::TextOps>(),
    ModuleEntry::of::<textopsx::TextOpsX>(),
    ModuleEntry::of::<siputils::SipUtils>(),
    ModuleEntry::of::<maxfwd::MaxForwards>(),
    ModuleEntry::of::<sanity::Sanity>(),
    ModuleEntry::of::<kex::Kex>(),
    ModuleEntry::of::<corex::Corex>(),
    ModuleEntry::of::<cfgutils::CfgUtils>(),
    ModuleEntry::of::<ctl::Ctl>(),
    ModuleEntry::of::<jsonrpcs::JsonRpcs>(),
    ModuleEntry::of::<cfg_rpc::CfgRpc>(),
    ModuleEntry::of::<counters::Counters>(),
];

#[cfg(test)]
mod tests;
