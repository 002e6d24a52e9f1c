//! Message flags: `setflag`, `resetflag`, `isflagset`.

use crate::script::catalog::{ParameterKind, RouteSet};
use crate::script::diagnostic::Diagnostic;
use crate::script::host::{Argument, Outcome};

use super::super::preparation::Preparation;
use super::Function;
use crate::routing::context::Context;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    Function::new("setflag", "sets flag 0…31 or a named one on the message", FLAG, |context, arguments| {
        let Some(mask) = flag_mask(arguments) else { return Outcome::FALSE };
        context.flags |= mask;
        Outcome::TRUE
    })
    .routes(RouteSet::ANY)
    .prepare(prepare_flag),
    Function::new(
        "resetflag",
        "resets flag 0…31 or a named one of the message",
        FLAG,
        |context, arguments| {
            let Some(mask) = flag_mask(arguments) else { return Outcome::FALSE };
            context.flags &= !mask;
            Outcome::TRUE
        },
    )
    .routes(RouteSet::ANY)
    .prepare(prepare_flag),
    Function::new("isflagset", "true when flag 0…31 or a named one is set on the message", FLAG, is_flag_set)
        .routes(RouteSet::ANY)
        .prepare(prepare_flag),
];

const FLAG: &[ParameterKind] = &[ParameterKind::Prepared];

/// Prepares a literal flag.
pub fn prepare_flag(
    preparation: &mut Preparation<'_>,
    _: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    preparation.flag(literal).map(Some)
}

fn is_flag_set(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    flag_mask(arguments).is_some_and(|mask| context.flags & mask != 0).into()
}

/// The bit a flag argument stands for, prepared or computed.
pub fn flag_mask(arguments: &[Argument<'_>]) -> Option<u32> {
    let number = match arguments.first()? {
        Argument::Prepared(number, _) => i64::from(*number),
        computed => computed.integer()?,
    };
    u32::try_from(number).ok().and_then(|number| 1u32.checked_shl(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::host::ValueRef;

    #[test]
    fn flags_are_bits() {
        let rows = [
            (Argument::Prepared(0, b"0"), Some(1)),
            (Argument::Prepared(31, b"31"), Some(1 << 31)),
            (Argument::Value(ValueRef::Integer(4)), Some(16)),
            (Argument::Value(ValueRef::Text(b" 4 ")), Some(16)),
            (Argument::Value(ValueRef::Integer(32)), None),
            (Argument::Value(ValueRef::Integer(-1)), None),
            (Argument::Value(ValueRef::Text(b"x")), None),
            (Argument::Value(ValueRef::Null), None),
        ];
        for (argument, expected) in rows {
            assert_eq!(flag_mask(&[argument]), expected, "{argument:?}");
        }
    }
}
