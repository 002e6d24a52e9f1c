//! Module `pv`: questions about variables and their values (`is_int`, `typeof`, `pv_isset`, …), structured values
//! (`xavp_params_explode`, `xavp_copy`, …), and what variables hold when the server begins (`shvset`, `varset`).

use std::cell::RefCell;

use serde_json::{Value as Json, json};

use crate::bindings::command::{CommandError, CommandScope};
use crate::bindings::functions::outcome;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleCommand, ModuleFunction, Outcome, Parameter, ParameterKind, Place,
    Reading, RouteSet, ValueRef,
};
use crate::bindings::planning::Planning;
use crate::routing::context::Context;
use crate::state::value::Value;
use crate::telemetry::log::Level;

use structured::{is_structure, xavi, xavp, xavu};

pub mod structured;

/// Module `pv`.
pub struct Pv {
    room: RefCell<Vec<u8>>,
    shared: Vec<(Vec<u8>, Value)>,
    variables: Vec<(Vec<u8>, Value)>,
    avp_aliases: Vec<(Vec<u8>, Vec<u8>)>,
}

const PLACE: &[ParameterKind] = &[ParameterKind::Place];
const PLACE_TEXT: &[ParameterKind] = &[ParameterKind::Place, ParameterKind::Text];
const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const TWO_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text];
const TEXT_PLACE: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Place];
const TEXT_INTEGER: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Integer];
const TWO_TEXTS_INTEGER: &[ParameterKind] =
    &[ParameterKind::Text, ParameterKind::Text, ParameterKind::Integer];
const THREE_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text, ParameterKind::Text];
const FOUR_TEXTS: &[ParameterKind] =
    &[ParameterKind::Text, ParameterKind::Text, ParameterKind::Text, ParameterKind::Text];
const TEXT_INTEGER_TEXT: &[ParameterKind] =
    &[ParameterKind::Text, ParameterKind::Integer, ParameterKind::Text];
const TEXT_INTEGER_TEXT_INTEGER: &[ParameterKind] =
    &[ParameterKind::Text, ParameterKind::Integer, ParameterKind::Text, ParameterKind::Integer];

type Row = ModuleFunction<Pv>;

impl Module for Pv {
    const NAME: &'static str = "pv";
    const DOCUMENTATION: &'static str = "tests, sets and clears the values of variables";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::text("shvset", "initial value of a $shv: name=i:5 or name=s:text", |module, written| {
            module.shared.push(named_value(written)?);
            Ok(())
        }),
        Parameter::text(
            "varset",
            "initial value of a $var in every process: name=i:5 or name=s:text",
            |module, written| {
                module.variables.push(named_value(written)?);
                Ok(())
            },
        ),
        Parameter::text("avp_aliases", "other names of $avp: alias=name;alias=i:5", |module, written| {
            let aliases = written.split(|&byte| byte == b';').filter(|alias| !alias.trim_ascii().is_empty());
            for alias in aliases {
                module.avp_aliases.push(avp_alias(alias)?);
            }
            Ok(())
        }),
    ];
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
            "clears the value of the variable",
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
            "true when the value has this type: int, str, null, xavp",
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
        Row::new("pv_xavp_print", "writes every $xavp to the log", &[], |_, context, _| {
            structured::print(context, xavp, "pv_xavp_print")
        }),
        Row::new("pv_xavu_print", "writes every $xavu to the log", &[], |_, context, _| {
            structured::print(context, xavu, "pv_xavu_print")
        }),
        Row::new("pv_xavi_print", "writes every $xavi to the log", &[], |_, context, _| {
            structured::print(context, xavi, "pv_xavi_print")
        }),
        Row::new(
            "xavp_params_explode",
            "makes an $xavp from the parameters in a text: text, name",
            TWO_TEXTS,
            |_, context, arguments| {
                structured::explode_params(context, xavp, "xavp_params_explode", arguments)
            },
        ),
        Row::new(
            "xavu_params_explode",
            "makes an $xavu from the parameters in a text: text, name",
            TWO_TEXTS,
            |_, context, arguments| {
                structured::explode_params(context, xavu, "xavu_params_explode", arguments)
            },
        ),
        Row::new(
            "xavp_params_implode",
            "stores the fields of an $xavp as parameters in a variable",
            TEXT_PLACE,
            |_, context, arguments| {
                structured::implode_params(context, xavp, "xavp_params_implode", arguments)
            },
        ),
        Row::new(
            "xavu_params_implode",
            "stores the fields of an $xavu as parameters in a variable",
            TEXT_PLACE,
            |_, context, arguments| {
                structured::implode_params(context, xavu, "xavu_params_implode", arguments)
            },
        ),
        Row::new(
            "xavp_slist_explode",
            "makes an $xavp with a field v for each element: list, separator, mode (t: trimmed), name",
            FOUR_TEXTS,
            structured::explode_list,
        ),
        Row::new("xavp_rm", "removes every $xavp of this name", TEXT, |_, context, arguments| {
            structured::remove(context, xavp, arguments)
        })
        .alias(&["xavp_rm_all"]),
        Row::new("xavu_rm", "removes the $xavu of this name", TEXT, |_, context, arguments| {
            structured::remove(context, xavu, arguments)
        }),
        Row::new("xavi_rm", "removes every $xavi of this name", TEXT, |_, context, arguments| {
            structured::remove(context, xavi, arguments)
        })
        .alias(&["xavi_rm_all"]),
        Row::new(
            "xavp_child_rm",
            "removes a field of the newest $xavp of this name",
            TWO_TEXTS,
            |_, context, arguments| structured::remove_child(context, xavp, arguments),
        )
        .alias(&["xavp_rm_child"]),
        Row::new(
            "xavi_child_rm",
            "removes a field of the newest $xavi of this name",
            TWO_TEXTS,
            |_, context, arguments| structured::remove_child(context, xavi, arguments),
        )
        .alias(&["xavi_rm_child"]),
        Row::new(
            "xavp_child_seti",
            "sets a field of the newest $xavp of this name to an integer",
            TWO_TEXTS_INTEGER,
            |_, context, arguments| structured::set_child(context, xavp, "xavp_child_seti", arguments),
        ),
        Row::new(
            "xavp_child_sets",
            "sets a field of the newest $xavp of this name to a text",
            THREE_TEXTS,
            |_, context, arguments| structured::set_child(context, xavp, "xavp_child_sets", arguments),
        ),
        Row::new(
            "xavi_child_seti",
            "sets a field of the newest $xavi of this name to an integer",
            TWO_TEXTS_INTEGER,
            |_, context, arguments| structured::set_child(context, xavi, "xavi_child_seti", arguments),
        ),
        Row::new(
            "xavi_child_sets",
            "sets a field of the newest $xavi of this name to a text",
            THREE_TEXTS,
            |_, context, arguments| structured::set_child(context, xavi, "xavi_child_sets", arguments),
        ),
        Row::new(
            "xavp_copy",
            "copies an $xavp on top of those of another name: name, index, other name",
            TEXT_INTEGER_TEXT,
            structured::copy,
        ),
        Row::new(
            "xavp_copy",
            "copies an $xavp over another: name, index, other name, its index",
            TEXT_INTEGER_TEXT_INTEGER,
            structured::copy,
        )
        .alias(&["xavp_copy_dst"]),
        Row::new(
            "pv_var_to_xavp",
            "copies a $var, or all of them with *, into fields of an $xavp of its own: name, $xavp",
            TWO_TEXTS,
            structured::copy_variables,
        ),
        Row::new(
            "pv_xavp_to_var",
            "copies the fields of an $xavp into the $var of the same names",
            TEXT,
            structured::copy_to_variables,
        ),
        Row::new("sbranch_reset", "clears $sbranch", &[], |_, context, _| {
            context.branches.draft = None;
            Outcome::TRUE
        }),
        Row::new("sbranch_append", "adds $sbranch as a branch", &[], |_, context, _| {
            let count_max = context.settings().max_branches;
            match context.branches.draft.clone().filter(|target| !target.uri.is_empty()) {
                Some(target) => {
                    let appended = context.branches.append(target, count_max);
                    outcome(context, "sbranch_append", appended)
                }
                None => outcome(context, "sbranch_append", Err("$sbranch(uri) is not set")),
            }
        })
        .routes(RouteSet::REQUEST),
        Row::new(
            "sbranch_set_ruri",
            "replaces the Request-URI, destination, flags and socket by those of $sbranch",
            &[],
            |_, context, _| set_request_from_draft(context),
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "xavp_lshift",
            "makes the $xavp at the index the first of its name, those before it the last",
            TEXT_INTEGER,
            structured::shift,
        ),
    ];

    const COMMANDS: &'static [ModuleCommand<Self>] = &[
        ModuleCommand::new(
            "pv.shvGet",
            "a shared value ($shv), or all that the script names; argument: [NAME]",
            get_shared,
        ),
        ModuleCommand::new(
            "pv.shvSet",
            "sets a shared value ($shv) for every process; arguments: NAME int|str VALUE",
            set_shared,
        ),
    ];

    fn new() -> Self {
        Pv { room: RefCell::default(), shared: Vec::new(), variables: Vec::new(), avp_aliases: Vec::new() }
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        for (name, value) in self.shared.drain(..) {
            planning.begin_with_shared(&name, value);
        }
        for (name, value) in self.variables.drain(..) {
            planning.begin_with_variable(&name, value);
        }
        for (alias, meant) in self.avp_aliases.drain(..) {
            planning.add_avp_alias(&alias, &meant);
        }
        Ok(())
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
            context.log(
                Level::Error,
                format_args!("typeof: unknown type \"{kind}\", types are int, str, null, xavp"),
            );
            return Outcome::FALSE;
        }
        self.with_value(context, &arguments[0], |reading, text| match reading {
            Reading::Null => kind == b"null",
            Reading::Integer(_) => kind == b"int",
            Reading::Text if is_structure(text) => kind == b"xavp",
            Reading::Text => kind == b"str",
        })
    }
}

fn set_request_from_draft(context: &mut Context<'_>) -> Outcome {
    let Some(target) = context.branches.draft.clone() else {
        return outcome(context, "sbranch_set_ruri", Err("$sbranch is not set"));
    };
    if !target.uri.is_empty() {
        context.set_request_uri(&target.uri);
    }
    if !target.destination.is_empty() {
        context.set_destination_uri(Some(&target.destination));
    }
    context.forced_listener = target.listener.or(context.forced_listener);
    context.branch_flags = target.flags;
    Outcome::TRUE
}

/// `name=i:5`, `name=s:text`.
fn named_value(written: &[u8]) -> Result<(Vec<u8>, Value), Diagnostic> {
    let shape = || {
        Diagnostic::mistake(format!("\"{}\" is not name=i:number or name=s:text", written.escape_ascii()))
            .with_help("write such as \"limit=i:5\" or \"state=s:on\"")
    };
    let at = memchr::memchr(b'=', written).ok_or_else(shape)?;
    let name = written[..at].trim_ascii();
    let value = match written[at + 1..].trim_ascii_start().split_at_checked(2) {
        Some((b"i:" | b"I:", number)) => {
            let number = std::str::from_utf8(number).ok().and_then(|number| number.trim().parse().ok());
            Value::Integer(number.ok_or_else(shape)?)
        }
        Some((b"s:" | b"S:", text)) if text.len() <= crate::bindings::variables::shared::TEXT_SIZE_MAX => {
            Value::Text(text.to_vec())
        }
        _ => return Err(shape()),
    };
    if name.is_empty() { Err(shape()) } else { Ok((name.to_vec(), value)) }
}

/// `alias=name`, `alias=s:name`, `alias=i:5`.
fn avp_alias(written: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Diagnostic> {
    let shape = || {
        Diagnostic::mistake(format!("\"{}\" is not alias=name", written.trim_ascii().escape_ascii()))
            .with_help("write such as \"caller=s:caller_id;day=i:7\"")
    };
    let at = memchr::memchr(b'=', written).ok_or_else(shape)?;
    let (alias, meant) = (written[..at].trim_ascii(), written[at + 1..].trim_ascii());
    let meant = match meant.split_at_checked(2) {
        Some((b"s:" | b"S:", name)) => name.to_vec(),
        Some((b"i:" | b"I:", number)) => [b"i:", number].concat(),
        _ => meant.to_vec(),
    };
    if alias.is_empty() || meant.is_empty() { Err(shape()) } else { Ok((alias.to_vec(), meant)) }
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

fn get_shared(_: &Pv, scope: &CommandScope<'_>, given: &[Json]) -> Result<Json, CommandError> {
    let shown = |(slot, name): (u32, &str)| {
        let value = scope.read(slot)?;
        let kind = if value.is_i64() { "int" } else { "str" };
        Ok(json!({"name": name, "type": kind, "value": value}))
    };
    match given.first() {
        None => scope.shared_values().map(shown).collect(),
        Some(name) => shown(shared_value(scope, name)?),
    }
}

fn set_shared(_: &Pv, scope: &CommandScope<'_>, given: &[Json]) -> Result<Json, CommandError> {
    let [name, Json::String(kind), value] = given else {
        return Err(CommandError::bad_parameters("a name, int or str, and a value are needed"));
    };
    let (slot, _) = shared_value(scope, name)?;
    // A command line has no kinds: its numbers may arrive as text, and its text as numbers.
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let value = match kind.as_str() {
        "int" => ValueRef::Integer(
            text.trim().parse().map_err(|_| CommandError::bad_parameters("the value must be an integer"))?,
        ),
        "str" => ValueRef::Text(text.as_bytes()),
        _ => return Err(CommandError::bad_parameters("the type must be int or str")),
    };
    scope.write(slot, value).map(|()| Json::Null)
}

/// Slot and name of a shared value of the script.
fn shared_value<'s>(scope: &'s CommandScope<'_>, name: &Json) -> Result<(u32, &'s str), CommandError> {
    let found = scope.shared_values().find(|(_, known)| name.as_str() == Some(*known));
    found.ok_or_else(|| CommandError::bad_parameters(&format!("the script has no shared value {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Pv>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// Whether a condition holds, after some statements.
    fn holds(statements: &str, condition: &str, message: &str) -> bool {
        let script = format!(
            "loadmodule \"pv.so\"\nrequest_route {{ {statements} if ({condition}) {{ log(2, \"@@yes@@\"); }} }}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
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
            ("$xavp(x=>a) = 1;", "typeof(\"$xavp(x)\", \"xavp\")", true),
            ("$xavp(x=>a) = 1;", "typeof(\"$xavp(x=>a)\", \"int\")", true),
            ("$xavp(x=>a) = 1;", "pv_isset(\"$xavp(x)\") && $xavp(x) != $null", true),
            ("", "typeof(\"$xavp(x)\", \"null\")", true),
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
    fn a_branch_is_put_together_and_used() {
        let draft = "$sbranch(uri) = \"sip:s@5.5.5.5\"; $sbranch(flags) = 4; $sbranch(dst_uri) = \"sip:d\";";
        let rows = [
            (
                "sbranch_append();",
                "$branch(count) $branch(uri) $branch(flags) $sbranch(uri)",
                "1 sip:s@5.5.5.5 4 sip:s@5.5.5.5",
            ),
            ("sbranch_set_ruri();", "$ru $du $bf $branch(count)", "sip:s@5.5.5.5 sip:d 4 <null>"),
            ("sbranch_reset();", "$sbranch(uri)", "<null>"),
            ("sbranch_reset(); $var(r) = sbranch_append();", "$var(r) $branch(count)", "-1 <null>"),
            ("sbranch_reset(); $var(r) = sbranch_set_ruri();", "$var(r) $du", "-1 <null>"),
        ];
        for (statements, text, expected) in rows {
            let told = ScriptHarness::told(
                MODULES,
                "loadmodule \"pv.so\"",
                &format!("{draft} {statements}"),
                text,
                REQUEST,
            );
            assert_eq!(told, expected, "{statements}");
        }
    }

    #[test]
    fn variables_begin_with_what_parameters_say() {
        let head = "loadmodule \"pv.so\"\nmodparam(\"pv\", \"shvset\", \"a=i:5\")\n\
            modparam(\"pv\", \"shvset\", \"b=s:text\")\nmodparam(\"pv\", \"varset\", \"c=i:6\")\n\
            modparam(\"pv\", \"varset\", \"d=s:x y\")\n\
            modparam(\"pv\", \"avp_aliases\", \"al=i:50;be=s:beta\")\n";
        let rows = [
            ("", "$shv(a) $shv(b) $var(c) $var(d)", "5 text 6 x y"),
            ("$avp(al) = \"v50\"; $avp(be) = \"vb\";", "$avp(i:50) $avp(beta) $avp(s:beta)", "v50 vb vb"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(
                ScriptHarness::told(MODULES, head, statements, text, REQUEST),
                expected,
                "{statements}"
            );
        }
        for (name, written) in [
            ("shvset", "a"),
            ("shvset", "a=5"),
            ("varset", "=i:5"),
            ("varset", "a=i:x"),
            ("avp_aliases", "x"),
        ] {
            let script = format!(
                "loadmodule \"pv.so\"\nmodparam(\"pv\", \"{name}\", \"{written}\")\nrequest_route {{ exit; }}"
            );
            assert!(ScriptHarness::mistakes(MODULES, &script).contains("is not "), "{name} {written}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        let script = "loadmodule \"pv.so\"\nrequest_route { if (is_int(\"text\")) { exit; } }";
        assert!(!ScriptHarness::mistakes(MODULES, script).is_empty());
    }

    #[test]
    fn operators_read_and_set_shared_values() {
        let script = "loadmodule \"pv.so\"\nmodparam(\"pv\", \"shvset\", \"limit=i:5\")\nhidden.x = 1 desc \"no shv\"\n\
            request_route { $shv(note) = \"few\"; }";
        let stage = ScriptHarness::new(MODULES, script);
        let registry = &stage.loaded().registry;
        let shared = registry.shared_state(2).expect("memory");
        let scope = CommandScope { shared_names: registry.shared_names(), shared: &shared, process_index: 1 };
        let run = |name: &str, given: Json| {
            let answer = registry.run_command(name, &scope, given.as_array().unwrap());
            answer.expect("there is this command").map_err(|fault| fault.message)
        };
        let limit = |value: i64| json!({"name": "limit", "type": "int", "value": value});
        assert_eq!(run("pv.shvGet", json!(["limit"])), Ok(limit(5)));
        assert_eq!(run("pv.shvSet", json!(["limit", "int", "7"])), Ok(Json::Null));
        assert_eq!(run("pv.shvSet", json!(["note", "str", 12])), Ok(Json::Null));
        let note = json!({"name": "note", "type": "str", "value": "12"});
        let mut all = run("pv.shvGet", json!([])).unwrap();
        all.as_array_mut().unwrap().sort_by_key(|one| one["name"].to_string());
        assert_eq!(all, json!([limit(7), note]));
        let rows = [
            (json!(["nothing", "int", 1]), "the script has no shared value \"nothing\""),
            (json!(["limit", "int", "many"]), "the value must be an integer"),
            (json!(["limit", "float", 1]), "the type must be int or str"),
            (json!(["limit", 1]), "a name, int or str, and a value are needed"),
        ];
        for (given, expected) in rows {
            assert_eq!(run("pv.shvSet", given), Err(expected.to_string()));
        }
        assert!(registry.run_command("pv.nothing", &scope, &[]).is_none());
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Pv>();
    }
}
