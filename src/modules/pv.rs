//! Module `pv`: questions about variables and their values: `is_int`, `typeof`, `pv_isset`, `not_empty`, …

use std::cell::RefCell;

use crate::core::context::Context;
use crate::core::functions::outcome;
use crate::core::log::Level;
use crate::core::module::{
    Argument, Module, ModuleFunction, Outcome, ParameterKind, Place, Reading, ValueRef,
};

/// Module `pv`.
pub struct Pv {
    room: RefCell<Vec<u8>>,
}

const PLACE: &[ParameterKind] = &[ParameterKind::Place];
const PLACE_TEXT: &[ParameterKind] = &[ParameterKind::Place, ParameterKind::Text];

impl Module for Pv {
    const NAME: &'static str = "pv";
    const DOCUMENTATION: &'static str = "asks for the kind of a variable's value, sets and clears it";
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new(
            "pv_isset",
            "true when the variable has a value",
            PLACE,
            |module, context, arguments| {
                module.with_value(context, &arguments[0], |reading, _| reading != Reading::Null)
            },
        ),
        ModuleFunction::new(
            "pv_unset",
            "takes the value of the variable away",
            PLACE,
            |_, context, arguments| write(context, "pv_unset", &arguments[0], ValueRef::Null),
        ),
        ModuleFunction::new(
            "is_int",
            "true when the variable holds an integer",
            PLACE,
            |module, context, arguments| {
                module.with_value(context, &arguments[0], |reading, _| matches!(reading, Reading::Integer(_)))
            },
        ),
        ModuleFunction::new(
            "typeof",
            "true when the value is of this kind: int, str, null",
            PLACE_TEXT,
            Self::is_of_type,
        )
        .alias(&["pv_typeof"]),
        ModuleFunction::new(
            "not_empty",
            "true when the variable holds text with at least one byte, or an integer",
            PLACE,
            |module, context, arguments| {
                module.with_value(context, &arguments[0], |reading, text| match reading {
                    Reading::Null => false,
                    Reading::Integer(_) => true,
                    Reading::Text => !text.is_empty(),
                })
            },
        ),
        ModuleFunction::new("pv_evalx", "stores text in a variable", PLACE_TEXT, |_, context, arguments| {
            write(context, "pv_evalx", &arguments[0], ValueRef::Text(arguments[1].text()))
        }),
    ];

    fn new() -> Self {
        Pv { room: RefCell::default() }
    }
}

impl Pv {
    fn with_value(
        &self,
        context: &Context<'_>,
        argument: &Argument<'_>,
        holds: impl FnOnce(Reading, &[u8]) -> bool,
    ) -> Outcome {
        let Some(place) = place_of(argument) else { return Outcome::FALSE };
        let mut room = self.room.take();
        room.clear();
        let reading = context.read(place, &mut room);
        let held = holds(reading, &room);
        self.room.replace(room);
        held.into()
    }

    fn is_of_type(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let kind = arguments[1].text();
        if ![&b"int"[..], b"str", b"null", b"xavp"].contains(&kind) {
            let kind = kind.escape_ascii();
            context.log(Level::Error, format_args!("typeof: \"{kind}\" is none of int, str, null"));
            return Outcome::FALSE;
        }
        self.with_value(context, &arguments[0], |reading, _| match reading {
            Reading::Null => kind == b"null",
            Reading::Integer(_) => kind == b"int",
            Reading::Text => kind == b"str",
        })
    }
}

fn place_of<'a>(argument: &Argument<'a>) -> Option<Place<'a>> {
    match argument {
        Argument::Place(place) => Some(*place),
        _ => None,
    }
}

fn write(context: &mut Context<'_>, name: &str, argument: &Argument<'_>, value: ValueRef<'_>) -> Outcome {
    let Some(place) = place_of(argument) else { return Outcome::FALSE };
    let written = context.write(place, value);
    outcome(context, name, written.map_err(|refusal| refusal.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::module::ModuleEntry;
    use crate::core::stage::{Stage, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Pv>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// Whether a condition holds, after some statements.
    fn holds(statements: &str, condition: &str, message: &str) -> bool {
        let script = format!(
            "loadmodule \"pv.so\"\nrequest_route {{ {statements} if ({condition}) {{ log(2, \"@@yes@@\"); }} }}"
        );
        let mut stage = Stage::new(MODULES, &script);
        stage.receive(message);
        stage.log().contains("@@yes@@")
    }

    #[test]
    fn variables_are_asked_about() {
        let rows = [
            ("", "pv_isset(\"$rU\")", true),
            ("", "pv_isset(\"$avp(x)\")", false),
            ("$avp(x) = \"\";", "pv_isset(\"$avp(x)\")", true),
            ("$avp(x) = 1; pv_unset(\"$avp(x)\");", "pv_isset(\"$avp(x)\")", false),
            ("", "pv_unset(\"$du\")", true),
            ("$var(x) = 1;", "is_int(\"$var(x)\")", true),
            ("$var(x) = \"1\";", "is_int(\"$var(x)\")", false),
            ("", "is_int(\"$avp(x)\")", false),
            ("$var(x) = 1;", "typeof(\"$var(x)\", \"int\")", true),
            ("$var(x) = \"1\";", "typeof(\"$var(x)\", \"str\")", true),
            ("", "typeof(\"$vn(x)\", \"null\")", true),
            ("", "typeof(\"$vn(x)\", \"int\")", false),
            ("", "typeof(\"$vn(x)\", \"nonsense\")", false),
            ("$var(x) = \"\";", "not_empty(\"$var(x)\")", false),
            ("$var(x) = \"a\";", "not_empty(\"$var(x)\")", true),
            ("$var(x) = 0;", "not_empty(\"$var(x)\")", true),
            ("", "not_empty(\"$vn(x)\")", false),
            ("pv_evalx(\"$var(x)\", \"a-$rU\");", "$var(x) == \"a-bob\"", true),
        ];
        for (statements, condition, expected) in rows {
            assert_eq!(holds(statements, condition, REQUEST), expected, "{statements} {condition}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        let script = "loadmodule \"pv.so\"\nrequest_route { if (is_int(\"text\")) { exit; } }";
        assert!(!Stage::mistakes(MODULES, script).is_empty());
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Pv>();
    }
}
