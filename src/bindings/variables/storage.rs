//! What a script keeps: `$var`, `$vn`, `$vz`, `$avp`; and what its surroundings hold: `$env`, `$_s`.

use crate::script::catalog::Yields;
use crate::script::host::{Position, Reading, Refusal, ValueRef};

use super::{Key, KeyRule, Subject, Variable};
use crate::routing::context::Context;
use crate::routing::stores::TooManyAvps;
use crate::state::value::{answer, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("var", "script variable of this process, 0 until it is set; keeps its value", read_zero)
        .key(KeyRule::Slot)
        .alias(&["vz"])
        .process_wide()
        .writable(write_variable),
    Variable::new("vn", "script variable of this process, null until it is set; keeps its value", read_null)
        .key(KeyRule::Slot)
        .process_wide()
        .writable(write_variable),
    // Its store can be set before a message is there, which is what the scope says; it is emptied after each one.
    Variable::new("avp", "stack of values that lives as long as the message, newest first", read_avp)
        .key(KeyRule::PairName)
        .process_wide()
        .writable(write_avp),
    Variable::new("env", "environment variable of the server", read_environment).key(KeyRule::Text),
    Variable::new(
        "envn",
        "environment variable as an integer; 0 when it is not a number",
        read_environment_number,
    )
    .key(KeyRule::Text)
    .yields(Yields::Integer),
    Variable::new("_s", "the text in the parentheses with its variables replaced", read_key)
        .key(KeyRule::Text)
        .yields(Yields::Text),
];

/// Stands between values where all of a name are asked for.
pub const SEPARATOR: &[u8] = b", ";

fn slot(subject: &Subject<'_>) -> u32 {
    match subject.key {
        Key::Slot(slot) => slot,
        _ => u32::MAX,
    }
}

fn read_zero(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match context.process.variables.value(slot(subject)) {
        ValueRef::Null => Reading::Integer(0),
        value => answer(value, out),
    }
}

fn read_null(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer(context.process.variables.value(slot(subject)), out)
}

fn write_variable(
    context: &mut Context<'_>,
    subject: &Subject<'_>,
    value: ValueRef<'_>,
) -> Result<(), Refusal> {
    match slot(subject) {
        // No script has so many names: the key was none.
        u32::MAX => Err(Refusal("a script variable needs a name".to_string())),
        slot => {
            context.process.variables.set(slot, value);
            Ok(())
        }
    }
}

/// The name in the store: the class `s:` is the same as none.
fn avp_name<'a>(subject: &Subject<'a>) -> &'a [u8] {
    let written = subject.key.text();
    written.strip_prefix(b"s:").unwrap_or(written)
}

fn read_avp(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let mut values = context.process.avps.values(avp_name(subject));
    match subject.position {
        Position::Unset => values.next().map_or(Reading::Null, |value| answer(value, out)),
        Position::At(index) => match usize::try_from(index) {
            Ok(index) => values.nth(index).map_or(Reading::Null, |value| answer(value, out)),
            Err(_) => Reading::Null,
        },
        Position::All => answer_all(values, out),
    }
}

fn answer_all<'a>(values: impl Iterator<Item = ValueRef<'a>>, out: &mut Vec<u8>) -> Reading {
    let mut is_first = true;
    for value in values {
        if !std::mem::take(&mut is_first) {
            out.extend_from_slice(SEPARATOR);
        }
        if let Reading::Integer(number) = answer(value, out) {
            crate::state::value::answer_display(number, out);
        }
    }
    if is_first { Reading::Null } else { Reading::Text }
}

fn write_avp(context: &mut Context<'_>, subject: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    let name = avp_name(subject);
    let avps = &mut context.process.avps;
    match (subject.position, value) {
        (Position::All, value) => {
            avps.remove_all(name);
            if value != ValueRef::Null {
                avps.push(name, value).map_err(too_many)?;
            }
        }
        (Position::Unset, ValueRef::Null) => {
            avps.remove(name, 0);
        }
        (Position::Unset, value) => avps.push(name, value).map_err(too_many)?,
        (Position::At(index), value) => {
            let changed = usize::try_from(index).is_ok_and(|index| match value {
                ValueRef::Null => avps.remove(name, index),
                value => avps.set(name, index, value),
            });
            if !changed {
                return Err(Refusal(format!("there is no value at index {index}")));
            }
        }
    }
    Ok(())
}

fn too_many(_: TooManyAvps) -> Refusal {
    Refusal("the message carries too many values".to_string())
}

fn environment(subject: &Subject<'_>) -> Option<std::ffi::OsString> {
    let name = std::str::from_utf8(subject.key.text()).ok()?;
    // The standard library does not take every name.
    let is_name = !name.is_empty() && !name.contains(['=', '\0']);
    is_name.then(|| std::env::var_os(name)).flatten()
}

fn read_environment(_: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match environment(subject) {
        Some(value) => answer_text(value.as_encoded_bytes(), out),
        None => Reading::Null,
    }
}

fn read_environment_number(_: &Context<'_>, subject: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    let number = environment(subject).and_then(|value| value.to_str()?.trim().parse().ok());
    Reading::Integer(number.unwrap_or(0))
}

fn read_key(_: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_text(subject.key.text(), out)
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::{INVITE, ScriptHarness, check_reading};

    fn after(statements: &str, text: &str) -> String {
        ScriptHarness::told(&[], "", statements, text, INVITE)
    }

    #[test]
    fn pairs_and_script_variables_keep_what_they_are_given() {
        let three = "$avp(x) = 1; $avp(x) = 2; $avp(s:x) = \"three\";";
        let rows = [
            ("", "$avp(x) $var(x) $vn(y) $vz(z)", "<null> 0 <null> 0"),
            (
                three,
                "$avp(x) $(avp(x)[0]) $(avp(x)[2]) $(avp(x)[3]) $(avp(x)[-1])",
                "three three 1 <null> <null>",
            ),
            (three, "$(avp(x)[*])", "three, 2, 1"),
            (&format!("{three} $avp(x) = $null;"), "$(avp(x)[*])", "2, 1"),
            (&format!("{three} $(avp(x)[1]) = 7;"), "$(avp(x)[*])", "three, 7, 1"),
            (&format!("{three} $(avp(x)[*]) = $null;"), "$avp(x)", "<null>"),
            (&format!("{three} $(avp(x)[*]) = 5;"), "$(avp(x)[*])", "5"),
            ("$avp($rU) = 5;", "$avp(bob)", "5"),
            ("$var(a) = \"t\"; $var(b) = 5;", "$var(a)$var(b)", "t5"),
            ("$var(a) = \"t\"; $var(a) = $null;", "$var(a)", "0"),
            ("$vn(a) = \"t\"; $vn(a) = $null;", "$vn(a)", "<null>"),
            ("$mf = 5;", "$mf $mF $Mf(2) $Mf(1)", "5 00000005 1 0"),
            ("setflag(4);", "$mf", "16"),
            ("$bf = 1; $sf = 2;", "$bF $sF", "00000001 00000002"),
            ("$fs = \"udp:127.0.0.1:17060\";", "$fs $fsp", "udp:127.0.0.1:17060 1"),
            ("$fs = \"udp:127.0.0.1:1\";", "$fs $fsp", "<null> 0"),
            ("$fs = \"udp:127.0.0.1:17060\"; $fs = $null;", "$fs", "<null>"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after(statements, text), expected, "{statements}");
        }
    }

    #[test]
    fn script_variables_outlive_the_message_and_pairs_do_not() {
        let script = "request_route { log(2, \"<$var(x) $avp(x)>\"); $var(x) = 5; $avp(x) = 5; }";
        let mut stage = ScriptHarness::new(&[], script);
        stage.receive(INVITE);
        assert!(stage.log().contains("<0 <null>>"));
        stage.receive(INVITE);
        assert!(stage.log().contains("<5 <null>>"));
    }

    #[test]
    fn what_the_surroundings_do_not_hold_is_null() {
        check_reading("env(PATH_THAT_IS_NOT_SET)", 0, "NULL");
        check_reading("env(a=b)", 0, "NULL");
        check_reading("envn(PATH_THAT_IS_NOT_SET)", 0, "[0]");
        check_reading("_s(text)", 0, "[text]");
        let path = std::env::var("PATH").unwrap();
        check_reading("env(PATH)", 0, &format!("[{path}]"));
    }
}
