//! Expressions of literals are values already while a script is checked.

use super::{Checker, NESTING_MAX};
use crate::script::ast::{BinaryOperator, Expression, ExpressionKind, UnaryOperator};
use crate::script::value;

/// A value known while checking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum FoldedConstant {
    Integer(i64),
    Text(Vec<u8>),
}

impl Checker<'_> {
    /// The value of an expression made of literals.
    pub(super) fn constant(&self, expression: &Expression) -> Option<FoldedConstant> {
        constant_within(expression, NESTING_MAX)
    }
}

/// What is nested deeper is reported where it is checked; here it is just not a constant.
fn constant_within(expression: &Expression, depth_left: u32) -> Option<FoldedConstant> {
    let depth_left = depth_left.checked_sub(1)?;
    match &expression.kind {
        ExpressionKind::Number(number) => Some(FoldedConstant::Integer(*number)),
        ExpressionKind::Text(text) => Some(FoldedConstant::Text(text.bytes.clone())),
        ExpressionKind::Group(inner) => constant_within(inner, depth_left),
        ExpressionKind::Unary(operator, operand) => match (operator, constant_within(operand, depth_left)?) {
            (UnaryOperator::Negate, FoldedConstant::Integer(number)) => {
                Some(FoldedConstant::Integer(number.wrapping_neg()))
            }
            (UnaryOperator::BitNot, FoldedConstant::Integer(number)) => {
                Some(FoldedConstant::Integer(!number))
            }
            _ => None,
        },
        ExpressionKind::Binary(operator, left, right) => {
            match (constant_within(left, depth_left)?, operator, constant_within(right, depth_left)?) {
                (FoldedConstant::Integer(left), _, FoldedConstant::Integer(right)) => {
                    value::integer_operation(*operator, left, right).ok().map(FoldedConstant::Integer)
                }
                (FoldedConstant::Text(left), BinaryOperator::Add | BinaryOperator::Join, right) => {
                    Some(FoldedConstant::Text([left, right.into_text()].concat()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

impl FoldedConstant {
    pub(super) fn into_text(self) -> Vec<u8> {
        match self {
            FoldedConstant::Integer(number) => number.to_string().into_bytes(),
            FoldedConstant::Text(bytes) => bytes,
        }
    }
}
