//! Module `counters`: counters of the script's own: `modparam("counters", "script_counter", "calls")`,
//! `cnt_inc("calls")`. They are seen as every other counter: `$stat(calls)`, `sworkerctl stats.fetch script.`,
//! `sworkerctl cnt.get script calls`.

use std::borrow::Cow;

use crate::bindings::functions::outcome;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, Outcome, Parameter, ParameterKind,
};
use crate::bindings::planning::Planning;
use crate::bindings::preparation::Preparation;
use crate::routing::context::Context;
use crate::telemetry::counters::{CounterId, CounterRow};

/// Module `counters`.
pub struct Counters {
    group: String,
    /// As written: name with or without its group, and what it counts.
    wanted: Vec<(String, String)>,
    /// By `group.name`.
    counters: Vec<(String, CounterId)>,
}

type Row = ModuleFunction<Counters>;

const COUNTER: &[ParameterKind] = &[ParameterKind::Prepared];
const COUNTER_AMOUNT: &[ParameterKind] = &[ParameterKind::Prepared, ParameterKind::Integer];
const GROUP_DEFAULT: &str = "script";

impl Module for Counters {
    const NAME: &'static str = "counters";
    const DOCUMENTATION: &'static str = "counters defined by the script";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::text(
            "script_counter",
            "a counter and its description: name text, or group.name text",
            |module, written| {
                module.wanted.push(wanted(written)?);
                Ok(())
            },
        ),
        Parameter::text(
            "script_cnt_grp_name",
            "group of counters defined without one, by default script",
            |module, name| {
                module.group = checked_name(name)?;
                Ok(())
            },
        ),
    ];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        Row::new(
            "cnt_inc",
            "adds 1 to a counter: name or group.name",
            COUNTER,
            |module, context, arguments| {
                module.with_counter(context, "cnt_inc", &arguments[0], |context, counter| {
                    context.count(counter)
                })
            },
        )
        .prepare(Self::prepare),
        Row::new(
            "cnt_add",
            "adds an amount to a counter: name or group.name, amount",
            COUNTER_AMOUNT,
            |module, context, arguments| {
                let Some(Ok(amount)) = arguments[1].integer().map(u64::try_from) else {
                    return outcome(context, "cnt_add", Err("the amount must not be negative"));
                };
                module.with_counter(context, "cnt_add", &arguments[0], |context, counter| {
                    context.process.count_many(counter, amount);
                })
            },
        )
        .prepare(Self::prepare),
        Row::new("cnt_reset", "resets a counter to 0", COUNTER, |module, context, arguments| {
            module.with_counter(context, "cnt_reset", &arguments[0], |context, counter| {
                context.process.reset_counter(counter);
            })
        })
        .prepare(Self::prepare),
    ];

    fn new() -> Self {
        Counters { group: GROUP_DEFAULT.to_string(), wanted: Vec::new(), counters: Vec::new() }
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        planning.about("script_counter");
        for (name, documentation) in std::mem::take(&mut self.wanted) {
            let name = self.full_name(&name);
            let row = CounterRow { name: Cow::Owned(name.clone()), documentation: Cow::Owned(documentation) };
            self.counters.push((name, planning.add_counter(row)?));
        }
        Ok(())
    }
}

impl Counters {
    fn full_name(&self, name: &str) -> String {
        if name.contains('.') { name.to_string() } else { format!("{}.{name}", self.group) }
    }

    fn counter(&self, name: &[u8]) -> Option<CounterId> {
        let name = self.full_name(std::str::from_utf8(name).ok()?);
        self.counters.iter().find(|(known, _)| *known == name).map(|(_, counter)| *counter)
    }

    fn prepare(
        &mut self,
        _: &mut Preparation<'_>,
        parameter: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic> {
        if parameter > 0 {
            return Ok(None);
        }
        match self.counter(literal) {
            Some(counter) => Ok(Some(counter.0)),
            None => {
                let name = literal.escape_ascii();
                let help = format!("modparam(\"counters\", \"script_counter\", \"{name}\") defines it");
                Err(Diagnostic::mistake(format!("there is no counter \"{name}\" of the script"))
                    .with_help(help))
            }
        }
    }

    fn with_counter(
        &self,
        context: &mut Context<'_>,
        name: &str,
        argument: &Argument<'_>,
        act: impl FnOnce(&mut Context<'_>, CounterId),
    ) -> Outcome {
        let counter = match argument {
            Argument::Prepared(number, _) => Some(CounterId(*number)),
            computed => self.counter(computed.text()),
        };
        match counter {
            Some(counter) => {
                act(context, counter);
                Outcome::TRUE
            }
            None => outcome(context, name, Err("there is no such counter of the script")),
        }
    }
}

/// `name text`, `group.name text`; without a text the name says enough.
fn wanted(written: &[u8]) -> Result<(String, String), Diagnostic> {
    let text = String::from_utf8_lossy(written);
    let (name, documentation) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let parts: Vec<String> =
        name.split('.').map(|part| checked_name(part.as_bytes())).collect::<Result<_, _>>()?;
    if parts.len() > 2 {
        return Err(Diagnostic::mistake(format!("\"{name}\" has more than one dot"))
            .with_help("write name or group.name"));
    }
    let documentation = documentation.trim();
    let told = if documentation.is_empty() { "counted by the script" } else { documentation };
    Ok((parts.join("."), told.to_string()))
}

fn checked_name(name: &[u8]) -> Result<String, Diagnostic> {
    let is_name =
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte));
    match is_name {
        true => Ok(String::from_utf8_lossy(name).into_owned()),
        false => Err(Diagnostic::mistake(format!(
            "\"{}\" cannot be the name of a counter or its group",
            name.escape_ascii()
        ))
        .with_help("names are letters, digits, _ and -")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{OPTIONS, ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Counters>()];

    fn head(counters: &[&str]) -> String {
        let set = |name: &&str| format!("modparam(\"counters\", \"script_counter\", \"{name}\")\n");
        format!("loadmodule \"counters.so\"\n{}", counters.iter().map(set).collect::<String>())
    }

    #[test]
    fn counters_are_added_to_read_and_begun_anew() {
        let head = head(&["calls some calls", "grp.other"]);
        let rows = [
            ("", "$stat(calls) $stat(script.calls) $stat(grp.other)", "0 0 0"),
            ("cnt_inc(\"calls\"); cnt_inc(\"script.calls\");", "$stat(calls) $stat(other)", "2 0"),
            ("cnt_add(\"grp.other\", 5);", "$stat(other) $stat(grp.other)", "5 5"),
            ("$var(n) = \"calls\"; cnt_add(\"$var(n)\", \"3\");", "$stat(calls)", "3"),
            (
                "cnt_add(\"calls\", 5); $var(r) = cnt_reset(\"calls\"); cnt_inc(\"calls\");",
                "$var(r) $stat(calls)",
                "1 1",
            ),
            ("$var(r) = cnt_add(\"calls\", -5);", "$var(r) $stat(calls)", "-1 0"),
            ("$var(n) = \"none\"; $var(r) = cnt_inc(\"$var(n)\");", "$var(r)", "-1"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(
                ScriptHarness::told(MODULES, &head, statements, text, OPTIONS),
                expected,
                "{statements}"
            );
        }
    }

    #[test]
    fn groups_have_other_names_where_the_script_says_so() {
        let script = head(&["calls"])
            + "modparam(\"counters\", \"script_cnt_grp_name\", \"mine\")\nrequest_route { cnt_inc(\"calls\"); }";
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(OPTIONS);
        assert_eq!(stage.count("mine.calls"), 1);
        let rows = stage.loaded().registry.counters();
        assert_eq!(rows.last().map(|row| &*row.documentation), Some("counted by the script"));
    }

    #[test]
    fn mistakes_are_told() {
        let route = "request_route { exit; }";
        let rows = [
            (head(&["a b", "a c"]) + route, "there is a counter \"script.a\" already"),
            (
                head(&["core.requests_received"]) + route,
                "there is a counter \"core.requests_received\" already",
            ),
            (head(&["a.b.c"]) + route, "\"a.b.c\" has more than one dot"),
            (head(&["a$"]) + route, "\"a$\" cannot be the name"),
            (head(&[""]) + route, "\"\" cannot be the name"),
            (head(&["a"]) + "request_route { cnt_inc(\"b\"); }", "there is no counter \"b\" of the script"),
            (head(&["a"]) + "request_route { cnt_add(\"a\", \"x\"); }", "an integer is needed here"),
        ];
        for (script, expected) in rows {
            let mistakes = ScriptHarness::mistakes(MODULES, &script);
            assert!(mistakes.contains(expected), "{script}\n{mistakes}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Counters>();
    }
}
