//! Which process this is, which message it has in hand, and the flags on it: `$mi`, `$pp`, `$mf`, `$mF`, `$bf`, …

use crate::script::catalog::Yields;
use crate::script::host::{Reading, Refusal, ValueRef};

use super::{KeyRule, Subject, Variable};
use crate::state::value::answer_display;

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("mi", "number of the message in this process", |context, _, _| {
        Reading::Integer(i64::from(context.process.message_number))
    })
    .yields(Yields::Integer),
    Variable::new("pp", "process id", |context, _, _| {
        Reading::Integer(i64::from(context.process.identity.pid))
    })
    .yields(Yields::Integer),
    Variable::new("mf", "flags of the message as an integer", |context, _, _| {
        Reading::Integer(i64::from(context.flags))
    })
    .yields(Yields::Integer)
    .writable(|context, _, value| {
        context.flags = flags_of(value)?;
        Ok(())
    }),
    Variable::new("mF", "flags of the message, 8 hexadecimal digits", |context, _, out| {
        answer_display(format_args!("{:08X}", context.flags), out)
    })
    .yields(Yields::Text),
    Variable::new("Mf", "1 when flag n of the message is set, else 0", |context, subject, _| {
        flag_of(context.flags, subject)
    })
    .key(KeyRule::Text)
    .yields(Yields::Integer),
    Variable::new("bf", "flags of the branch as an integer", |context, _, _| {
        Reading::Integer(i64::from(context.branch_flags))
    })
    .yields(Yields::Integer)
    .writable(|context, _, value| {
        context.branch_flags = flags_of(value)?;
        Ok(())
    }),
    Variable::new("bF", "flags of the branch, 8 hexadecimal digits", |context, _, out| {
        answer_display(format_args!("{:08X}", context.branch_flags), out)
    })
    .yields(Yields::Text),
    Variable::new("Bf", "1 when flag n of the branch is set, else 0", |context, subject, _| {
        flag_of(context.branch_flags, subject)
    })
    .key(KeyRule::Text)
    .yields(Yields::Integer),
    Variable::new("sf", "script flags as an integer", |context, _, _| {
        Reading::Integer(i64::from(context.script_flags))
    })
    .yields(Yields::Integer)
    .writable(|context, _, value| {
        context.script_flags = flags_of(value)?;
        Ok(())
    }),
    Variable::new("sF", "script flags, 8 hexadecimal digits", |context, _, out| {
        answer_display(format_args!("{:08X}", context.script_flags), out)
    })
    .yields(Yields::Text),
    Variable::new("Sf", "1 when script flag n is set, else 0", |context, subject, _| {
        flag_of(context.script_flags, subject)
    })
    .key(KeyRule::Text)
    .yields(Yields::Integer),
];

/// A value as an integer, null as 0; `None` for text that is not an integer.
pub(super) fn integer_of(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Null => Some(0),
        ValueRef::Integer(number) => Some(number),
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
    }
}

fn flags_of(value: ValueRef<'_>) -> Result<u32, Refusal> {
    let fits = integer_of(value).and_then(|number| u32::try_from(number).ok());
    fits.ok_or_else(|| Refusal("flags are an integer of 32 bits".to_string()))
}

fn flag_of(flags: u32, subject: &Subject<'_>) -> Reading {
    let number: Option<u32> =
        std::str::from_utf8(subject.key.text()).ok().and_then(|text| text.trim().parse().ok());
    match number.and_then(|number| 1u32.checked_shl(number)) {
        Some(mask) => Reading::Integer(i64::from(flags & mask != 0)),
        None => Reading::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::harness::check_reading;

    #[test]
    fn flags_take_what_fits_32_bits() {
        let rows = [
            (ValueRef::Null, Some(0)),
            (ValueRef::Integer(5), Some(5)),
            (ValueRef::Integer(4_294_967_295), Some(u32::MAX)),
            (ValueRef::Text(b" 7 "), Some(7)),
            (ValueRef::Integer(-1), None),
            (ValueRef::Integer(4_294_967_296), None),
            (ValueRef::Text(b"x"), None),
        ];
        for (value, expected) in rows {
            assert_eq!(flags_of(value).ok(), expected, "{value:?}");
        }
    }

    #[test]
    fn the_process_and_its_flags_are_told() {
        let rows = [("pp", 0, Some("4711")), ("Mf(3)", 0, Some("0")), ("Mf(32)", 0, None)];
        for (written, column, expected) in rows {
            check_reading(
                written,
                column,
                &expected.map_or("NULL".to_string(), |value| format!("[{value}]")),
            );
        }
    }
}
