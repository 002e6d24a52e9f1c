//! Values that all processes share and that outlive each of them: `$shv`, `$shvinc`.

use crate::script::catalog::Yields;
use crate::script::host::{Reading, Refusal, ValueRef};
use crate::shm::{SharedInput, SharedReading, TableError};

use super::{Key, KeyRule, Subject, Variable};
use crate::routing::context::Context;
use crate::telemetry::counters::SHARED_REFUSED;

pub use crate::shm::SHARED_TEXT_SIZE_MAX as TEXT_SIZE_MAX;

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("shv", "value that all processes share, 0 until it is set; null sets it to 0", read)
        .key(KeyRule::Shared)
        .process_wide()
        .writable(write),
    Variable::new(
        "shvinc",
        "the integer of $shv after one was added, in one step among all processes",
        add_one,
    )
    .key(KeyRule::Shared)
    .yields(Yields::Integer)
    .process_wide(),
];

fn slot(subject: &Subject<'_>) -> u32 {
    match subject.key {
        Key::Slot(slot) => slot,
        _ => u32::MAX,
    }
}

fn read(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match context.process.ports.shared.values.read(slot(subject), out) {
        Ok(SharedReading::Integer(number)) => Reading::Integer(number),
        Ok(SharedReading::Text) => Reading::Text,
        Err(error) => {
            refused(context, error);
            Reading::Null
        }
    }
}

fn write(context: &mut Context<'_>, subject: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    let value = match value {
        ValueRef::Null => SharedInput::Integer(0),
        ValueRef::Integer(number) => SharedInput::Integer(number),
        ValueRef::Text(text) => SharedInput::Text(text),
    };
    let written =
        context.process.ports.shared.values.write(context.process.identity.index, slot(subject), value);
    written.map_err(|error| refused(context, error))
}

fn add_one(context: &Context<'_>, subject: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    match context.process.ports.shared.values.add(context.process.identity.index, slot(subject), 1) {
        Ok(sum) => Reading::Integer(sum),
        Err(error) => {
            refused(context, error);
            Reading::Null
        }
    }
}

fn refused(context: &Context<'_>, error: TableError) -> Refusal {
    context.count(SHARED_REFUSED);
    Refusal(error.to_string())
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::{INVITE, ScriptHarness};

    #[test]
    fn shared_values_are_zero_until_they_are_set() {
        let rows = [
            ("", "$shv(x)", "0"),
            ("$shv(x) = 5;", "$shv(x) $shv(y)", "5 0"),
            ("$shv(x) = \"text\"; $shv(y) = \"\";", "$shv(x) [$shv(y)]", "text []"),
            ("$shv(x) = \"text\"; $shv(x) = $null;", "$shv(x)", "0"),
            ("$shv(x) = 5; $shv(x) = $shv(x) + 2;", "$shv(x)", "7"),
            ("$shv(x) = 5;", "$shvinc(x) $shvinc(x) $shv(x)", "6 7 7"),
            ("$shv(x) = \"text\";", "$shvinc(x)", "1"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(ScriptHarness::told(&[], "", statements, text, INVITE), expected, "{statements}");
        }
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused_counted_and_told() {
        let script = "request_route { $shv(x) = \"kept\"; $shv(x) = $hdr(X-Long); log(2, \"<$shv(x)>\"); }";
        let long = "x".repeat(super::TEXT_SIZE_MAX + 1);
        let mut stage = ScriptHarness::new(&[], script);
        stage.receive(&INVITE.replacen("Subject: s", &format!("X-Long: {long}"), 1));
        let log = stage.log();
        assert!(log.contains("<kept>") && log.contains("takes at most 1016 bytes"), "{log}");
        assert_eq!(stage.count("core.shared_refused"), 1);
    }

    #[test]
    fn the_name_must_be_known_when_the_script_is_loaded() {
        let mistakes = ScriptHarness::mistakes(&[], "request_route { $shv($ci) = 1; }");
        assert!(mistakes.contains("must be known when the script is loaded"), "{mistakes}");
    }
}
