//! Transformations (`{s.len}`, `{uri.user}`): what a row of their tables is.
//!
//! ```ignore
//! pub const TRANSFORMATIONS: &[Transformation] = &[
//!     Transformation::new("s.len", "number of bytes", length),
//!     Transformation::new("s.substr", "part of the text", substring).arguments(2, 2),
//! ];
//! ```
//!
//! A transformation appends its text to `out`. An input it cannot be applied to is an [`Unfit`]: the script sees null
//! and the log says why. A null input never reaches it unless the row says so ([`Transformation::takes_null`]).

pub mod alias;
pub mod encoding;
mod input;
pub mod line;
pub mod name_addr;
pub mod param;
mod row;
pub mod socket;
pub mod substitution;
pub mod text;
pub mod uri;
pub mod value;

pub use row::{Apply, Transformation, Unfit};

/// Every transformation of the core.
pub const TABLES: &[&[Transformation]] = &[
    text::TRANSFORMATIONS,
    encoding::TRANSFORMATIONS,
    uri::TRANSFORMATIONS,
    param::TRANSFORMATIONS,
    name_addr::TRANSFORMATIONS,
    line::TRANSFORMATIONS,
    value::TRANSFORMATIONS,
    socket::TRANSFORMATIONS,
    substitution::TRANSFORMATIONS,
    alias::TRANSFORMATIONS,
];

#[cfg(test)]
mod test {
    //! How the rows of every table are tested: `check("s.len", "abc", &[], "3")`; `<null>` where nothing comes out.

    use super::*;
    use crate::script::host::{Argument, Reading, ValueRef};
    use crate::sip::Grammar;

    /// Applies the row `name` to text.
    pub(crate) fn check(name: &str, input: &str, arguments: &[&str], expected: &str) {
        check_value(name, ValueRef::Text(input.as_bytes()), arguments, expected);
    }

    /// Applies the row `name` to any value.
    pub(crate) fn check_value(name: &str, input: ValueRef<'_>, arguments: &[&str], expected: &str) {
        let row = TABLES.iter().copied().flatten().find(|row| row.name == name).expect(name);
        let (fewest, most) = row.argument_counts;
        assert!((fewest..=most).contains(&arguments.len()), "{name} takes {fewest} to {most} arguments");
        let arguments: Vec<_> =
            arguments.iter().map(|text| Argument::Value(ValueRef::Text(text.as_bytes()))).collect();
        let mut out = Vec::new();
        let answer = match row.apply.to(input, &arguments, &Grammar::STRICT, &mut out) {
            Err(_) | Ok(Reading::Null) => "<null>".to_owned(),
            Ok(Reading::Integer(number)) => number.to_string(),
            Ok(Reading::Text) => String::from_utf8_lossy(&out).into_owned(),
        };
        assert_eq!(answer, expected, "{input:?}{{{name}}}");
    }

    #[test]
    fn rows_have_a_class_a_name_of_their_own_and_a_documentation() {
        let rows: Vec<&Transformation> = TABLES.iter().copied().flatten().collect();
        for (index, row) in rows.iter().enumerate() {
            assert!(rows[..index].iter().all(|other| other.name != row.name), "{} stands twice", row.name);
            assert!(
                row.name.split_once('.').is_some_and(|(class, name)| !class.is_empty() && !name.is_empty())
            );
            assert!(
                !row.documentation.is_empty() && row.argument_counts.0 <= row.argument_counts.1,
                "{}",
                row.name
            );
        }
    }
}
