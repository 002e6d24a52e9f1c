//! One row of the table of transformations.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::sip::Grammar;

/// Why a transformation yields nothing, for the log: lower case, no full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

/// Applies a transformation. Arguments are evaluated (`Argument::Value`); text goes to `out`, which holds neither
/// the input nor the arguments.
#[derive(Clone, Copy, Debug)]
pub enum Apply {
    /// One that no grammar changes.
    ToText(ApplyToText),
    /// One that reads a URI.
    ToUri(ApplyToUri),
}

type ApplyToText = fn(ValueRef<'_>, &[Argument<'_>], &mut Vec<u8>) -> Result<Reading, Unfit>;
type ApplyToUri = fn(ValueRef<'_>, &[Argument<'_>], &Grammar, &mut Vec<u8>) -> Result<Reading, Unfit>;

impl Apply {
    /// Applies it to a value.
    pub fn to(
        self,
        input: ValueRef<'_>,
        arguments: &[Argument<'_>],
        grammar: &Grammar,
        out: &mut Vec<u8>,
    ) -> Result<Reading, Unfit> {
        match self {
            Apply::ToText(apply) => apply(input, arguments, out),
            Apply::ToUri(apply) => apply(input, arguments, grammar, out),
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Transformation {
    /// Class and name: `s.len`.
    pub name: &'static str,
    /// What it does, one line.
    pub documentation: &'static str,
    /// Fewest and most arguments.
    pub argument_counts: (usize, usize),
    /// Whether a null input is handed to it; otherwise null stays null.
    pub is_for_null: bool,
    /// Does it.
    pub apply: Apply,
}

impl Transformation {
    /// One that reads a URI.
    pub const fn of_uri(
        name: &'static str,
        documentation: &'static str,
        apply: ApplyToUri,
    ) -> Transformation {
        let row = Transformation::new(name, documentation, |_, _, _| Ok(Reading::Null));
        Transformation { apply: Apply::ToUri(apply), ..row }
    }

    /// A transformation without arguments.
    pub const fn new(name: &'static str, documentation: &'static str, apply: ApplyToText) -> Transformation {
        let apply = Apply::ToText(apply);
        Transformation { name, documentation, argument_counts: (0, 0), is_for_null: false, apply }
    }

    /// With this number of arguments.
    pub const fn arguments(self, fewest: usize, most: usize) -> Transformation {
        Transformation { argument_counts: (fewest, most), ..self }
    }

    /// Handed null inputs too.
    pub const fn takes_null(self) -> Transformation {
        Transformation { is_for_null: true, ..self }
    }
}
