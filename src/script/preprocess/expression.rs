//! Expressions after `#!ifexp` and `#!defexp`: numbers, texts, names of defines, and the usual operators.
//!
//! ```text
//!  weakest  ||   &&   == != < <= > >=   + -   * / %   **   ! -   strongest
//! ```
//!
//! Numbers have a fraction here; `+` joins when its left side is text. A name without a value counts as 1 when it is
//! defined and as 0 when it is not.

use std::collections::HashMap;
use std::fmt;

/// A value of such an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum IfexpValue {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl IfexpValue {
    /// Whether `#!ifexp` takes it for true.
    pub fn is_true(&self) -> bool {
        match self {
            IfexpValue::Number(number) => *number != 0.0,
            IfexpValue::Text(text) => !text.is_empty(),
        }
    }

    fn number(&self) -> f64 {
        match self {
            IfexpValue::Number(number) => *number,
            IfexpValue::Text(text) => text.trim().parse().unwrap_or(0.0),
        }
    }
}

impl fmt::Display for IfexpValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IfexpValue::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                write!(formatter, "{}", *number as i64)
            }
            IfexpValue::Number(number) => write!(formatter, "{number}"),
            IfexpValue::Text(text) => formatter.write_str(text),
        }
    }
}

/// Evaluates; `values` gives the value of a define, `Some(None)` for one without.
pub(super) fn evaluate<'v>(
    text: &str,
    values: &dyn Fn(&str) -> Option<Option<&'v str>>,
) -> Result<IfexpValue, ExpressionError> {
    let mut reader = Reader { text, at: 0, depth: 0, values, known: HashMap::new() };
    let value = reader.binary(0)?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.error("this cannot be read"));
    }
    Ok(value)
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpressionError {
    /// Offset in the text.
    pub at: usize,
    /// What is wrong.
    pub message: &'static str,
}

struct Reader<'t, 'v, 'f> {
    text: &'t str,
    at: usize,
    depth: usize,
    values: &'f dyn Fn(&str) -> Option<Option<&'v str>>,
    known: HashMap<&'t str, IfexpValue>,
}

impl<'t> Reader<'t, '_, '_> {
    fn binary(&mut self, level: usize) -> Result<IfexpValue, ExpressionError> {
        self.enter()?;
        let mut left = if level == LEVELS.len() { self.unary()? } else { self.binary(level + 1)? };
        while level < LEVELS.len()
            && let Some(operator) = self.operator(LEVELS[level])
        {
            let right = self.binary(level + 1)?;
            left = apply(operator, left, right).map_err(|message| self.error(message))?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<IfexpValue, ExpressionError> {
        self.skip_space();
        match self.rest().as_bytes().first() {
            Some(b'!') => self.prefixed(|value| IfexpValue::Number(f64::from(!value.is_true()))),
            Some(b'-') => self.prefixed(|value| IfexpValue::Number(-value.number())),
            Some(b'(') => {
                self.at += 1;
                let value = self.binary(0)?;
                self.skip_space();
                if !self.rest().starts_with(')') {
                    return Err(self.error("a `)` is missing"));
                }
                self.at += 1;
                Ok(value)
            }
            Some(quote @ (b'"' | b'\'')) => self.quoted(*quote as char),
            Some(byte) if byte.is_ascii_digit() => self.number(),
            Some(byte) if byte.is_ascii_alphabetic() || *byte == b'_' => Ok(self.name()),
            _ => Err(self.error("a value is missing")),
        }
    }

    fn prefixed(&mut self, apply: impl Fn(IfexpValue) -> IfexpValue) -> Result<IfexpValue, ExpressionError> {
        self.at += 1;
        self.enter()?;
        let value = self.unary()?;
        self.depth -= 1;
        Ok(apply(value))
    }

    fn quoted(&mut self, quote: char) -> Result<IfexpValue, ExpressionError> {
        let inside = &self.rest()[1..];
        let Some(length) = inside.find(quote) else { return Err(self.error("this text is never closed")) };
        let text = inside[..length].to_string();
        self.at += length + 2;
        Ok(IfexpValue::Text(text))
    }

    fn number(&mut self) -> Result<IfexpValue, ExpressionError> {
        let rest = self.rest();
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '.';
        let length = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let written = &rest[..length];
        let value = match written.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).ok().map(|value| value as f64),
            None => written.parse().ok(),
        };
        let value = value.ok_or_else(|| self.error("this number cannot be read"))?;
        self.at += length;
        Ok(IfexpValue::Number(value))
    }

    fn name(&mut self) -> IfexpValue {
        let rest = self.rest();
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let length = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let name = &rest[..length];
        self.at += length;
        let values = self.values;
        self.known.entry(name).or_insert_with(|| meaning(values(name))).clone()
    }

    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        self.skip_space();
        let rest = self.rest();
        let found = operators.iter().find(|operator| rest.starts_with(**operator)).copied()?;
        // `*` is not the beginning of `**`, which binds stronger and was not there to be read.
        if found == "*" && rest.starts_with("**") {
            return None;
        }
        self.at += found.len();
        Some(found)
    }

    fn enter(&mut self) -> Result<(), ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.error("this is nested too deeply")) } else { Ok(()) }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn error(&self, message: &'static str) -> ExpressionError {
        ExpressionError { at: self.at, message }
    }
}

fn meaning(value: Option<Option<&str>>) -> IfexpValue {
    match value {
        None => IfexpValue::Number(0.0),
        Some(None) => IfexpValue::Number(1.0),
        Some(Some(text)) => match text.trim().parse::<f64>() {
            Ok(number) => IfexpValue::Number(number),
            Err(_) => IfexpValue::Text(unquote(text.trim()).to_string()),
        },
    }
}

fn unquote(text: &str) -> &str {
    let inside = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

fn apply(operator: &str, left: IfexpValue, right: IfexpValue) -> Result<IfexpValue, &'static str> {
    let truth = |is: bool| IfexpValue::Number(f64::from(is));
    let order = match (&left, &right) {
        (IfexpValue::Text(left), IfexpValue::Text(right)) => left.partial_cmp(right),
        _ => left.number().partial_cmp(&right.number()),
    };
    Ok(match operator {
        "||" => truth(left.is_true() || right.is_true()),
        "&&" => truth(left.is_true() && right.is_true()),
        "==" => truth(order.is_some_and(|order| order.is_eq())),
        "!=" => truth(order.is_none_or(|order| order.is_ne())),
        "<=" => truth(order.is_some_and(|order| order.is_le())),
        ">=" => truth(order.is_some_and(|order| order.is_ge())),
        "<" => truth(order.is_some_and(|order| order.is_lt())),
        ">" => truth(order.is_some_and(|order| order.is_gt())),
        "+" if matches!(left, IfexpValue::Text(_)) => IfexpValue::Text(format!("{left}{right}")),
        "+" => IfexpValue::Number(left.number() + right.number()),
        "-" => IfexpValue::Number(left.number() - right.number()),
        "*" => IfexpValue::Number(left.number() * right.number()),
        "/" | "%" if right.number() == 0.0 => return Err("this divides by zero"),
        "/" => IfexpValue::Number(left.number() / right.number()),
        "%" => IfexpValue::Number(left.number() % right.number()),
        _ => IfexpValue::Number(left.number().powf(right.number())),
    })
}

/// Operators from the weakest to the strongest level; longer ones before those they begin with.
const LEVELS: &[&[&str]] =
    &[&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"], &["**"]];

const DEPTH_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let values = |name: &str| match name {
            "VERSION" => Some(Some("6002000")),
            "NAME" => Some(Some("\"abc\"")),
            "BARE" => Some(None),
            _ => None,
        };
        let seen = evaluate(text, &values);
        let seen = seen.as_ref().map(ToString::to_string).map_err(|error| error.message);
        assert_eq!(seen, expected.map(str::to_string), "{text}");
    }

    #[test]
    fn values_follow_from_operators() {
        check("1 + 2 * 3", Ok("7"));
        check("2 ** 3 * 2", Ok("16"));
        check("(1 + 2) * 3 % 5", Ok("4"));
        check("7 / 2", Ok("3.5"));
        check("-3 + !0", Ok("-2"));
        check("VERSION >= 5006000 && !MISSING", Ok("1"));
        check("BARE || MISSING", Ok("1"));
        check("NAME + 1", Ok("abc1"));
        check("NAME == \"abc\"", Ok("1"));
        check("'a' < 'b'", Ok("1"));
        check("0x10", Ok("16"));
    }

    #[test]
    fn mistakes_are_errors() {
        check("", Err("a value is missing"));
        check("1 +", Err("a value is missing"));
        check("(1", Err("a `)` is missing"));
        check("1 2", Err("this cannot be read"));
        check("1 / 0", Err("this divides by zero"));
        check("\"a", Err("this text is never closed"));
        check("1a", Err("this number cannot be read"));
        check(&"(".repeat(10_000), Err("this is nested too deeply"));
    }
}
