//! Module `ctl`: BINRPC on control sockets. Accepted so that scripts that load it stay loadable; it does nothing here.

use crate::bindings::module::{Module, Parameter};

/// Module `ctl`.
pub struct Ctl;

const WHY: &str = "the control socket of this server takes commands instead";

impl Module for Ctl {
    const NAME: &'static str = "ctl";
    const DOCUMENTATION: &'static str =
        "accepted without effect: the control socket of this server takes commands instead";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::ignored("binrpc", WHY),
        Parameter::ignored("fifo", WHY),
        Parameter::ignored("autoconversion", WHY),
        Parameter::ignored("binrpc_max_body_size", WHY),
        Parameter::ignored("binrpc_struct_max_body_size", WHY),
        Parameter::ignored("binrpc_buffer_size", WHY),
        Parameter::ignored("mode", WHY),
        Parameter::ignored("user", WHY),
        Parameter::ignored("group", WHY),
    ];

    fn new() -> Self {
        Ctl
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ParameterSetter;
    use crate::engine::harness::check_tables;

    #[test]
    fn every_parameter_is_accepted_and_says_why_it_has_no_effect() {
        for row in Ctl::PARAMETERS {
            assert!(matches!(row.set, ParameterSetter::Ignored(WHY)), "{}", row.name);
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Ctl>();
    }
}
