//! Module `kex`: destination URI and the flags of branches and scripts: `setdsturi`, `isdsturiset`, `setbflag`, …

use crate::bindings::functions::branches::append_branch;
use crate::bindings::functions::flags::{flag_mask, prepare_flag};
use crate::bindings::functions::outcome;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, Outcome, ParameterKind, RouteSet, ValueRef,
};
use crate::bindings::preparation::Preparation;
use crate::routing::context::Context;
use crate::sip::uri_draft::is_uri_octet;
use crate::telemetry::log::Level;

/// Module `kex`.
pub struct Kex;

const FLAG: &[ParameterKind] = &[ParameterKind::Prepared];
const FLAG_BRANCH: &[ParameterKind] = &[ParameterKind::Prepared, ParameterKind::Integer];
const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const PLACE_TEXT: &[ParameterKind] = &[ParameterKind::Place, ParameterKind::Text];

type Row = ModuleFunction<Kex>;

impl Module for Kex {
    const NAME: &'static str = "kex";
    const DOCUMENTATION: &'static str = "destination URI and the flags of branches and scripts";
    const FUNCTIONS: &'static [Row] = &[
        Row::new("setdsturi", "sets the destination URI, as $du does", TEXT, set_destination)
            .routes(RouteSet::REQUEST),
        Row::new("resetdsturi", "clears the destination URI", &[], |_, context, _| {
            context.set_destination_uri(None);
            Outcome::TRUE
        })
        .routes(RouteSet::REQUEST),
        Row::new("isdsturiset", "true when $du is set", &[], |_, context, _| {
            context.destination_uri().is_some().into()
        })
        .routes(RouteSet::REQUEST),
        Row::new("pv_printf", "stores text in a variable", PLACE_TEXT, print_to_variable)
            .alias(&["avp_printf"]),
        Row::new(
            "setdebug",
            "sets the log level of this process, as debug does",
            &[ParameterKind::Integer],
            |_, context, arguments| match arguments[0].integer() {
                Some(number) => {
                    context.process.log().set_level(Level::from_number(number));
                    Outcome::TRUE
                }
                None => Outcome::FALSE,
            },
        ),
        Row::new("resetdebug", "resets the log level of this process to debug", &[], |_, context, _| {
            context.process.log().set_level(context.settings().debug);
            Outcome::TRUE
        }),
        Row::new("is_myself", "true when this URI, or host, is this server", TEXT, is_myself),
        flag_row("setsflag", "sets a script flag", |_, context, arguments| {
            with_mask(arguments, |mask| context.script_flags |= mask)
        }),
        flag_row("resetsflag", "resets a script flag", |_, context, arguments| {
            with_mask(arguments, |mask| context.script_flags &= !mask)
        }),
        flag_row("issflagset", "true when a script flag is set", |_, context, arguments| {
            is_set(context.script_flags, arguments)
        }),
        flag_row(
            "setbflag",
            "sets a flag of the main branch, that of the Request-URI",
            |_, context, arguments| with_mask(arguments, |mask| context.branch_flags |= mask),
        ),
        flag_row(
            "resetbflag",
            "resets a flag of the main branch, that of the Request-URI",
            |_, context, arguments| with_mask(arguments, |mask| context.branch_flags &= !mask),
        ),
        flag_row(
            "isbflagset",
            "true when a flag of the main branch, that of the Request-URI, is set",
            |_, context, arguments| is_set(context.branch_flags, arguments),
        ),
        branch_row("setbflag", "sets a flag of branch 0, 1, …", |_, context, arguments| {
            with_branch_flags(context, arguments, |flags, mask| *flags |= mask)
        }),
        branch_row("resetbflag", "resets a flag of branch 0, 1, …", |_, context, arguments| {
            with_branch_flags(context, arguments, |flags, mask| *flags &= !mask)
        }),
        branch_row("isbflagset", "true when a flag of branch 0, 1, … is set", |_, context, arguments| {
            match branch_flags(context, arguments) {
                Some(flags) => is_set(*flags, arguments),
                None => Outcome::FALSE,
            }
        }),
        Row::new(
            "km_append_branch",
            "adds the current Request-URI as a branch",
            &[],
            |_, context, arguments| append(context, arguments),
        )
        .routes(RouteSet::REQUEST),
        Row::new("km_append_branch", "adds a URI as a branch", TEXT, |_, context, arguments| {
            append(context, arguments)
        })
        .routes(RouteSet::REQUEST),
    ];

    fn new() -> Self {
        Kex
    }
}

type Call = fn(&Kex, &mut Context<'_>, &[Argument<'_>]) -> Outcome;

const fn flag_row(name: &'static str, documentation: &'static str, call: Call) -> Row {
    Row::new(name, documentation, FLAG, call).prepare(prepare_first_flag)
}

const fn branch_row(name: &'static str, documentation: &'static str, call: Call) -> Row {
    Row::new(name, documentation, FLAG_BRANCH, call).prepare(prepare_first_flag)
}

fn prepare_first_flag(
    _: &mut Kex,
    preparation: &mut Preparation<'_>,
    parameter: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    prepare_flag(preparation, parameter, literal)
}

fn with_mask(arguments: &[Argument<'_>], apply: impl FnOnce(u32)) -> Outcome {
    match flag_mask(arguments) {
        Some(mask) => {
            apply(mask);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

fn is_set(flags: u32, arguments: &[Argument<'_>]) -> Outcome {
    flag_mask(arguments).is_some_and(|mask| flags & mask != 0).into()
}

/// Flags of a branch: 0 is the Request-URI, 1 the first further target.
fn branch_flags<'c>(context: &'c mut Context<'_>, arguments: &[Argument<'_>]) -> Option<&'c mut u32> {
    match arguments[1].integer() {
        Some(0) => Some(&mut context.branch_flags),
        Some(number @ 1..) if context.branches.position(number - 1).is_some() => {
            let position = context.branches.position(number - 1)?;
            context.branches.targets_mut().get_mut(position).map(|target| &mut target.flags)
        }
        _ => {
            context.log(Level::Error, format_args!("there is no such branch"));
            None
        }
    }
}

fn with_branch_flags(
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
    apply: impl FnOnce(&mut u32, u32),
) -> Outcome {
    let Some(flags) = branch_flags(context, arguments) else { return Outcome::FALSE };
    with_mask(arguments, |mask| apply(flags, mask))
}

fn append(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let appended = append_branch(context, arguments);
    outcome(context, "km_append_branch", appended.map_err(|refusal| refusal.0))
}

fn set_destination(_: &Kex, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let uri = arguments[0].text();
    if uri.is_empty() || !uri.iter().all(|&byte| is_uri_octet(byte)) {
        return outcome(context, "setdsturi", Err("invalid uri"));
    }
    context.set_destination_uri(Some(uri));
    Outcome::TRUE
}

fn print_to_variable(_: &Kex, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let Argument::Place(place) = arguments[0] else { return Outcome::FALSE };
    let written = context.write(place, ValueRef::Text(arguments[1].text()));
    outcome(context, "pv_printf", written.map_err(|refusal| refusal.0))
}

fn is_myself(_: &Kex, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let written = arguments[0].text();
    let as_host = [b"sip:", written].concat();
    let uri = match context.parse_uri(written) {
        Ok(uri) if uri.host.is_some() => Ok(uri),
        _ => context.parse_uri(&as_host),
    };
    match uri {
        Ok(uri) => context.settings().is_myself(uri.host.unwrap_or_default(), uri.port.unwrap_or(0)).into(),
        Err(_) => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Kex>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// Whether a condition holds, after some statements.
    fn holds(statements: &str, condition: &str, message: &str) -> bool {
        let script = format!(
            "loadmodule \"kex.so\"\nrequest_route {{ {statements} if ({condition}) {{ log(2, \"@@yes@@\"); }} }}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(message);
        stage.log().contains("@@yes@@")
    }

    #[test]
    fn destinations_and_flags_are_kept_for_the_message() {
        let rows = [
            ("", "isdsturiset()", false),
            ("setdsturi(\"sip:1.2.3.4\");", "isdsturiset()", true),
            ("setdsturi(\"sip:1.2.3.4\");", "$du == \"sip:1.2.3.4\"", true),
            ("setdsturi(\"a b\");", "isdsturiset()", false),
            ("setdsturi(\"sip:1.2.3.4\"); resetdsturi();", "isdsturiset()", false),
            ("setdebug(-3); log(2, \"@@yes@@\"); resetdebug();", "$rm == \"none\"", false),
            ("resetdebug(); setdebug(3);", "is_myself(\"127.0.0.1\")", true),
            ("", "is_myself(\"sip:x@127.0.0.1:17060\")", true),
            ("", "is_myself(\"127.0.0.1\")", true),
            ("", "is_myself(\"sip:x@127.0.0.1:1\")", false),
            ("", "is_myself(\"sip:x@example.com\")", false),
            ("", "is_myself(\"\")", false),
            ("pv_printf(\"$avp(x)\", \"<$rU>\");", "$avp(x) == \"<bob>\"", true),
            ("pv_printf(\"$si\", \"x\");", "$si == \"127.0.0.1\"", true),
            ("setbflag(3);", "isbflagset(3)", true),
            ("setbflag(3);", "$bf == 8", true),
            ("setbflag(3);", "issflagset(3)", false),
            ("setbflag(3); resetbflag(3);", "isbflagset(3)", false),
            ("setbflag(3, 0);", "isbflagset(3, 0)", true),
            ("setbflag(3, 1);", "isbflagset(3)", false),
            ("setbflag(3, 1);", "isbflagset(3, 1)", false),
            ("km_append_branch(); setbflag(3, 1);", "isbflagset(3, 1) && $branch(flags) == 8", true),
            ("km_append_branch(); setbflag(3, 1); resetbflag(3, 1);", "isbflagset(3, 1)", false),
            ("km_append_branch(\"sip:x@y\");", "$branch(uri) == \"sip:x@y\"", true),
            ("setsflag(0);", "issflagset(0) && $sf == 1", true),
            ("setsflag(0); resetsflag(0);", "issflagset(0)", false),
        ];
        for (statements, condition, expected) in rows {
            assert_eq!(holds(statements, condition, REQUEST), expected, "{statements} {condition}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Kex>();
    }
}
