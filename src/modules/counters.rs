//! Module `counters`: counters of scripts. Accepted so that scripts that load it stay loadable; it does nothing here.

use crate::core::module::{Module, Parameter};

/// Module `counters`.
pub struct Counters;

const WHY: &str = "the counters of this server are always on";

impl Module for Counters {
    const NAME: &'static str = "counters";
    const DOCUMENTATION: &'static str = "accepted without effect: the counters of this server are always on";
    const PARAMETERS: &'static [Parameter<Self>] = &[Parameter::ignored("script_cnt_grp_name", WHY)];

    fn new() -> Self {
        Counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::module::ParameterSetter;
    use crate::core::stage::check_tables;

    #[test]
    fn every_parameter_is_accepted_and_says_why_it_has_no_effect() {
        for row in Counters::PARAMETERS {
            assert!(matches!(row.set, ParameterSetter::Ignored(WHY)), "{}", row.name);
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Counters>();
    }
}
