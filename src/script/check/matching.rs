//! What a value is held against: networks and regular expressions, compiled once.

use super::Checker;
use super::constant::FoldedConstant;
use super::expression::{CheckedExpression, Codes, StaticType};
use crate::script::ast::{Expression, Span};
use crate::script::network::Network;
use crate::script::pattern::{self, LetterCase};
use crate::script::program::Instruction;

impl Checker<'_> {
    pub(super) fn in_network(&mut self, text: &[u8], span: Span) {
        match Network::parse(text) {
            Some(network) => {
                let number = self.assembler.network(network);
                self.emit(Instruction::InNetwork(number));
            }
            None => {
                let message = format!("\"{}\" is not an address or a network", text.escape_ascii());
                self.error_with_help(
                    span,
                    message,
                    "write for example 10.0.0.1, 10.0.0.0/8 or [::1]; host names are not looked up",
                );
                self.emit(Instruction::Truth);
            }
        }
    }

    pub(super) fn matches(
        &mut self,
        left: CheckedExpression,
        left_span: Span,
        right: &Expression,
    ) -> CheckedExpression {
        if left.kind == StaticType::Integer {
            self.error(left_span, "text is needed before =~, this is an integer");
        }
        match self.constant(right) {
            Some(constant) => {
                let pattern = match constant {
                    FoldedConstant::Text(bytes) => bytes,
                    FoldedConstant::Integer(number) => number.to_string().into_bytes(),
                };
                match self.regex(&pattern, right.span, LetterCase::Ignored) {
                    Some(regex) => self.emit(Instruction::Matches(regex)),
                    None => self.emit(Instruction::Truth),
                }
            }
            None => {
                self.expression(right, Codes::Truth);
                self.emit(Instruction::MatchesComputed);
            }
        }
        CheckedExpression::of(StaticType::Integer)
    }

    /// Compiles a regular expression written in the script.
    pub(super) fn regex(&mut self, pattern: &[u8], span: Span, letter_case: LetterCase) -> Option<u32> {
        if let Some(letter) = pattern::misleading_escape(pattern) {
            let message = format!("\"\\{letter}\" is the letter \"{letter}\" in these regular expressions");
            self.warn(span, message, Some("write [0-9] for a digit, [[:space:]] for a space"));
        }
        if let Some(known) = self.assembler.known_regex(pattern, letter_case) {
            return Some(known);
        }
        match pattern::compile(pattern, letter_case) {
            Ok(regex) => Some(self.assembler.regex(pattern, letter_case, regex)),
            Err(why) => {
                self.error(span, format!("this regular expression cannot be used: {why}"));
                None
            }
        }
    }
}
