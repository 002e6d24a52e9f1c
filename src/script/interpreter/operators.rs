//! The operators of the interpreter that need more than one line: sums, joins, comparisons, regular expressions.

use std::collections::HashMap;

use regex::bytes::Regex;

use super::calls::Texts;
use super::{Operand, Run, Stop};
use crate::script::ast::BinaryOperator;
use crate::script::host::{Host, ValueRef};
use crate::script::network::{Network, parse_address};
use crate::script::pattern::{self, LetterCase};
use crate::script::value::{self, Soft};

/// Computed regular expressions kept compiled.
const PATTERN_COUNT_MAX: usize = 64;

impl<H: Host> Run<'_, H> {
    pub(super) fn integers(&mut self, operator: BinaryOperator) -> Result<(), Stop> {
        let right = self.pop_integer();
        let left = self.pop_integer();
        match value::integer_operation(operator, left, right) {
            Ok(result) => self.push(Operand::Integer(result)),
            Err(value::DivisionByZero) => return self.abandon("division by zero"),
        }
        Ok(())
    }

    pub(super) fn add(&mut self) -> Result<(), Stop> {
        let (left, right) = (self.machine.values[self.machine.values.len() - 2], self.top());
        if matches!((left, right), (Operand::Integer(_), _) | (Operand::Null, Operand::Integer(_))) {
            return self.integers(BinaryOperator::Add);
        }
        let start = self.machine.scratch.len();
        self.append(left);
        self.append(right);
        self.machine.values.truncate(self.machine.values.len() - 2);
        self.push_text_since(start)
    }

    pub(super) fn join(&mut self, count: usize) -> Result<(), Stop> {
        let first = self.machine.values.len() - count;
        let start = self.machine.scratch.len();
        for index in first..first + count {
            match self.machine.values[index] {
                Operand::Null => self.machine.scratch.extend_from_slice(b"<null>"),
                value => self.append(value),
            }
        }
        self.machine.values.truncate(first);
        self.push_text_since(start)
    }

    pub(super) fn convert_to_text(&mut self) -> Result<(), Stop> {
        if matches!(self.top(), Operand::Scratch(_) | Operand::Literal(_)) {
            return Ok(());
        }
        let value = self.pop();
        let start = self.machine.scratch.len();
        self.append(value);
        self.push_text_since(start)
    }

    /// Removes line ends from a text; a text without them stays where it is.
    pub(super) fn flatten(&mut self) -> Result<(), Stop> {
        let top = self.top();
        let ends_line = matches!(self.resolve(top), ValueRef::Text(text) if memchr::memchr2(b'\r', b'\n', text).is_some());
        if !ends_line {
            return Ok(());
        }
        let value = self.pop();
        let start = self.machine.scratch.len();
        self.append(value);
        value::flatten_lines(&mut self.machine.scratch[start..]);
        self.push_text_since(start)
    }

    /// Text as the host shows it in its log, but for this end; where nothing needs showing it stays where it is.
    pub(super) fn show(&mut self, kept_end: &[u8]) -> Result<(), Stop> {
        let top = self.top();
        let texts = Texts { scratch: &self.machine.scratch, literals: &self.code.text };
        let ValueRef::Text(text) = texts.resolve(top) else { return Ok(()) };
        let (text, end) = match text.strip_suffix(kept_end) {
            Some(text) => (text, kept_end),
            None => (text, &b""[..]),
        };
        if value::is_plain(text) {
            return Ok(());
        }
        self.machine.spare.clear();
        self.host.show(text, &mut self.machine.spare);
        let start = self.machine.scratch.len();
        self.machine.scratch.extend_from_slice(&self.machine.spare);
        self.machine.scratch.extend_from_slice(end);
        self.pop();
        self.push_text_since(start)
    }

    pub(super) fn convert_to_integer_strictly(&mut self) -> Result<(), Stop> {
        let value = self.pop();
        let Soft { value: number, is_unreadable } = value::to_integer(self.resolve(value));
        if is_unreadable {
            let message = self.with_quoted(value, |text| format!("{text} is not an integer"));
            return self.abandon(&message);
        }
        self.push(Operand::Integer(number));
        Ok(())
    }

    pub(super) fn match_computed(&mut self) -> Result<(), Stop> {
        let pattern = self.pop();
        let subject = self.pop();
        let machine = &mut *self.machine;
        let texts = Texts { scratch: &machine.scratch, literals: &self.code.text };
        let regex =
            value::with_text(texts.resolve(pattern), |pattern| remembered(&mut machine.patterns, pattern));
        let held =
            regex.map(|regex| value::with_text(texts.resolve(subject), |subject| regex.is_match(subject)));
        match held {
            Some(held) => self.push(Operand::Integer(i64::from(held))),
            None => {
                let message = self.with_quoted(pattern, |text| format!("{text} is not a regular expression"));
                return self.abandon(&message);
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn compare(&mut self, holds: impl FnOnce(ValueRef<'_>, ValueRef<'_>) -> Soft<bool>) {
        let right = self.pop();
        let left = self.pop();
        let Soft { value: held, is_unreadable } = holds(self.resolve(left), self.resolve(right));
        if is_unreadable {
            self.complain_of_unreadable(right);
        }
        self.push(Operand::Integer(i64::from(held)));
    }

    #[inline]
    pub(super) fn map(&mut self, change: impl FnOnce(ValueRef<'_>) -> i64) {
        let value = self.pop();
        let number = change(self.resolve(value));
        self.push(Operand::Integer(number));
    }

    #[inline]
    pub(super) fn map_integer(&mut self, change: impl FnOnce(i64) -> i64) {
        let number = self.pop_integer();
        self.push(Operand::Integer(change(number)));
    }
}

/// Compares addresses; as text if one side is no address.
pub(super) fn equal_addresses(left: ValueRef<'_>, right: ValueRef<'_>) -> bool {
    if let (ValueRef::Text(left), ValueRef::Text(right)) = (left, right)
        && let (Some(left), Some(network)) = (parse_address(left), Network::parse(right))
    {
        return network.contains(left);
    }
    value::equal_text(left, right)
}

pub(super) fn is_in_network(network: &Network, value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Text(text) => parse_address(text).is_some_and(|address| network.contains(address)),
        _ => false,
    }
}

/// The compiled form of a computed regular expression, compiled at its first use.
fn remembered<'p>(patterns: &'p mut HashMap<Box<[u8]>, Option<Regex>>, pattern: &[u8]) -> Option<&'p Regex> {
    if !patterns.contains_key(pattern) {
        if patterns.len() >= PATTERN_COUNT_MAX {
            patterns.clear();
        }
        patterns.insert(pattern.into(), pattern::compile(pattern, LetterCase::Ignored).ok());
    }
    patterns.get(pattern)?.as_ref()
}
