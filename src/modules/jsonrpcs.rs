//! Module `jsonrpcs`: JSON-RPC on FIFO, datagram sockets and HTTP. Accepted so that scripts that load it stay loadable; it does nothing here.

use crate::bindings::module::{Module, ModuleFunction, Outcome, Parameter, RouteSet};

/// Module `jsonrpcs`.
pub struct JsonRpcs;

const WHY: &str = "the control socket of this server takes commands instead";

impl Module for JsonRpcs {
    const NAME: &'static str = "jsonrpcs";
    const DOCUMENTATION: &'static str =
        "accepted without effect: the control socket of this server takes commands instead";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::ignored("pretty_format", WHY),
        Parameter::ignored("transport", WHY),
        Parameter::ignored("fifo_name", WHY),
        Parameter::ignored("fifo_mode", WHY),
        Parameter::ignored("fifo_group", WHY),
        Parameter::ignored("fifo_user", WHY),
        Parameter::ignored("fifo_reply_dir", WHY),
        Parameter::ignored("dgram_socket", WHY),
        Parameter::ignored("dgram_mode", WHY),
        Parameter::ignored("dgram_group", WHY),
        Parameter::ignored("dgram_user", WHY),
        Parameter::ignored("dgram_timeout", WHY),
        Parameter::ignored("tcp_socket", WHY),
    ];

    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[ModuleFunction::new(
        "jsonrpc_dispatch",
        "answers a command received by HTTP; HTTP is not supported here, so it is false",
        &[],
        |_, _, _| Outcome::FALSE,
    )
    .routes(RouteSet::REQUEST)];

    fn new() -> Self {
        JsonRpcs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ParameterSetter;
    use crate::engine::harness::check_tables;

    #[test]
    fn every_parameter_is_accepted_and_says_why_it_has_no_effect() {
        for row in JsonRpcs::PARAMETERS {
            assert!(matches!(row.set, ParameterSetter::Ignored(WHY)), "{}", row.name);
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<JsonRpcs>();
    }
}
