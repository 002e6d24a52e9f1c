//! Module `cfg_rpc`: in Kamailio the commands `cfg.…`. Accepted so that scripts that load it stay loadable: the control
//! socket of this server has these commands always.

use crate::bindings::module::Module;

/// Module `cfg_rpc`.
pub struct CfgRpc;

impl Module for CfgRpc {
    const NAME: &'static str = "cfg_rpc";
    const DOCUMENTATION: &'static str =
        "accepted without effect: sworkerctl has the commands cfg.get, cfg.set_now_int, … always";

    fn new() -> Self {
        CfgRpc
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::harness::check_tables;

    #[test]
    fn it_adds_nothing_to_the_language() {
        assert!(
            CfgRpc::FUNCTIONS.is_empty() && CfgRpc::VARIABLES.is_empty() && CfgRpc::PARAMETERS.is_empty()
        );
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<CfgRpc>();
    }
}
