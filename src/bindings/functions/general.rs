//! What belongs to no message: `log`, and the functions of other servers that this one refuses.

use crate::script::catalog::{ParameterKind, RouteSet};
use crate::script::diagnostic::Diagnostic;
use crate::script::host::{Argument, Outcome};

use super::super::preparation::Preparation;
use super::Function;
use crate::routing::context::Context;
use crate::telemetry::log::Level;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    Function::new(
        "log",
        "writes text to the log as an error",
        &[ParameterKind::Shown],
        |context, arguments| write(context, Level::Error, arguments[0]),
    )
    .routes(RouteSet::ANY),
    Function::new(
        "log",
        "writes text to the log at a level: a number or a word such as L_INFO",
        &[ParameterKind::Prepared, ParameterKind::Shown],
        |context, arguments| match level_of(&arguments[0]) {
            Some(level) => write(context, level, arguments[1]),
            None => Outcome::FALSE,
        },
    )
    .routes(RouteSet::ANY)
    .prepare(prepare_level),
    Function::new("exec", "refused: waiting for the program would block the process", PROGRAM, refused)
        .prepare(refuse_exec),
    Function::new("error", "refused: reply with sl_send_reply and log with xlog", TWO_TEXTS, refused)
        .prepare(refuse_error),
];

const PROGRAM: &[ParameterKind] = &[ParameterKind::Prepared];
const TWO_TEXTS: &[ParameterKind] = &[ParameterKind::Prepared, ParameterKind::Prepared];
const LABEL: &[u8] = b"<script>: ";

/// Levels from the most serious on; a prepared level is an index here.
const LEVELS: [Level; 8] = [
    Level::Alert,
    Level::Bug,
    Level::Critical,
    Level::Error,
    Level::Warning,
    Level::Notice,
    Level::Info,
    Level::Debug,
];

/// Number of a literal level, to be given back by [`level_of`].
pub fn prepare_log_level(literal: &[u8]) -> Result<u32, Diagnostic> {
    let level = std::str::from_utf8(literal).ok().and_then(Level::parse);
    let index = level.and_then(|level| LEVELS.iter().position(|known| *known == level));
    index.map(|index| index as u32).ok_or_else(|| {
        Diagnostic::mistake(format!("unknown log level \"{}\"", literal.escape_ascii())).with_help(
            "levels are L_ALERT, L_BUG, L_CRIT, L_ERR, L_WARN, L_NOTICE, L_INFO, L_DBG, or -5 to 3",
        )
    })
}

/// The level of an argument, prepared or computed.
pub fn level_of(argument: &Argument<'_>) -> Option<Level> {
    match argument {
        Argument::Prepared(index, _) => LEVELS.get(*index as usize).copied(),
        computed => match computed.integer() {
            Some(number) => Some(Level::from_number(number)),
            None => std::str::from_utf8(computed.text()).ok().and_then(Level::parse),
        },
    }
}

fn prepare_level(
    _: &mut Preparation<'_>,
    parameter: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    if parameter == 0 { prepare_log_level(literal).map(Some) } else { Ok(None) }
}

fn write(context: &mut Context<'_>, level: Level, text: Argument<'_>) -> Outcome {
    context.log_script(level, None, LABEL, text.text());
    Outcome::TRUE
}

fn refuse_exec(_: &mut Preparation<'_>, _: usize, _: &[u8]) -> Result<Option<u32>, Diagnostic> {
    Err(Diagnostic::mistake("exec() cannot be used: waiting for the program would block the process")
        .with_help("let another program read the log or the control socket"))
}

fn refuse_error(_: &mut Preparation<'_>, _: usize, _: &[u8]) -> Result<Option<u32>, Diagnostic> {
    Err(Diagnostic::mistake("error() cannot be used: it has no effect")
        .with_help("use sl_send_reply() and xlog()"))
}

fn refused(context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    context.log(Level::Error, format_args!("exec() and error() cannot be used"));
    Outcome::FALSE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::host::ValueRef;

    #[test]
    fn levels_are_words_and_numbers() {
        let rows = [
            ("L_ALERT", Some(Level::Alert)),
            ("L_INFO", Some(Level::Info)),
            ("L_DBG", Some(Level::Debug)),
            ("L_WARN", Some(Level::Warning)),
            ("-1", Some(Level::Error)),
            ("3", Some(Level::Debug)),
            ("L_LOUD", None),
            ("", None),
        ];
        for (written, expected) in rows {
            let prepared = prepare_log_level(written.as_bytes()).ok();
            let level = prepared.and_then(|index| level_of(&Argument::Prepared(index, written.as_bytes())));
            assert_eq!(level, expected, "{written} prepared");
            let computed = level_of(&Argument::Value(ValueRef::Text(written.as_bytes())));
            assert_eq!(computed, expected, "{written} computed");
        }
        assert_eq!(level_of(&Argument::Value(ValueRef::Integer(2))), Some(Level::Info));
        assert_eq!(level_of(&Argument::Value(ValueRef::Null)), None);
    }
}
