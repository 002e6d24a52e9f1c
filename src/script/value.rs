//! Values and their rules: what counts as a number, as empty, as equal; arithmetic.
//!
//! Pure functions over [`ValueRef`]. The left operand decides how a comparison or a sum is done:
//!
//! ```text
//!  left is …   left == right            left + right
//!  integer     right read as integer    sum
//!  text        right written as text    joined text
//!  nothing     as the kind of right     as the kind of right (nothing + nothing is empty text)
//! ```
//!
//! Text that holds no number counts as 0 where an integer is needed, and unless it is empty this is reported:
//! [`Soft::is_unreadable`].

use super::ast::BinaryOperator;
use super::host::ValueRef;

/// A result that may rest on text which was read as a number although it holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soft<T> {
    /// The result.
    pub value: T,
    /// Text without a number in it was taken for 0.
    pub is_unreadable: bool,
}

impl<T> Soft<T> {
    /// A result without any doubt.
    pub fn sure(value: T) -> Soft<T> {
        Soft { value, is_unreadable: false }
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Soft<U> {
        Soft { value: change(self.value), is_unreadable: self.is_unreadable }
    }
}

/// Integer division by zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DivisionByZero;

/// The decimal form of an integer, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    /// The decimal form of `number`.
    pub fn of(number: i64) -> Decimal {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            start -= 1;
            digits[start] = b'-';
        }
        Decimal { digits, start: start as u8 }
    }

    /// Its characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[usize::from(self.start)..]
    }
}

/// The integer written in `text`: a sign, then decimal digits or `0x` and hexadecimal ones; nothing around it.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        _ => (10, digits),
    };
    // `from_str_radix` would take a second sign.
    if !digits.first()?.is_ascii_alphanumeric() {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    i64::try_from(if is_negative { -magnitude } else { magnitude }).ok()
}

/// `value` where an integer is needed.
pub fn to_integer(value: ValueRef<'_>) -> Soft<i64> {
    match value {
        ValueRef::Null => Soft::sure(0),
        ValueRef::Integer(number) => Soft::sure(number),
        ValueRef::Text(text) => match parse_integer(text) {
            Some(number) => Soft::sure(number),
            None if text.is_empty() => Soft::sure(0),
            None => Soft { value: 0, is_unreadable: true },
        },
    }
}

/// Calls `use_text` with `value` written as text; nothing is empty text.
pub fn with_text<R>(value: ValueRef<'_>, use_text: impl FnOnce(&[u8]) -> R) -> R {
    match value {
        ValueRef::Null => use_text(b""),
        ValueRef::Integer(number) => use_text(Decimal::of(number).as_bytes()),
        ValueRef::Text(text) => use_text(text),
    }
}

/// How many bytes `value` has as text.
pub fn length(value: ValueRef<'_>) -> i64 {
    with_text(value, |text| text.len() as i64)
}

/// Nothing or empty text; the integer 0 is not empty.
pub fn is_empty(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Null => true,
        ValueRef::Integer(_) => false,
        ValueRef::Text(text) => text.is_empty(),
    }
}

/// `left == right`.
pub fn equal(left: ValueRef<'_>, right: ValueRef<'_>) -> Soft<bool> {
    match (left, right) {
        (ValueRef::Null, ValueRef::Null) => Soft::sure(true),
        (ValueRef::Null, ValueRef::Integer(number)) => Soft::sure(number == 0),
        (ValueRef::Integer(number), _) => to_integer(right).map(|other| number == other),
        _ => Soft::sure(equal_text(left, right)),
    }
}

/// `left eq right`: both written as text.
pub fn equal_text(left: ValueRef<'_>, right: ValueRef<'_>) -> bool {
    with_text(left, |left| with_text(right, |right| left == right))
}

/// Both written as text, letters compared without regard to case.
pub fn equal_any_case(left: ValueRef<'_>, right: ValueRef<'_>) -> bool {
    with_text(left, |left| with_text(right, |right| left.eq_ignore_ascii_case(right)))
}

/// An operator whose operands are integers, and `&&`/`||` when both sides are known.
pub fn integer_operation(operator: BinaryOperator, left: i64, right: i64) -> Result<i64, DivisionByZero> {
    use BinaryOperator::*;
    Ok(match operator {
        Or => i64::from(left != 0 || right != 0),
        And => i64::from(left != 0 && right != 0),
        BitOr => left | right,
        BitAnd => left & right,
        BitXor => left ^ right,
        ShiftLeft => u32::try_from(right).ok().and_then(|count| left.checked_shl(count)).unwrap_or(0),
        ShiftRight => left >> right.clamp(0, 63),
        Equal | IntegerEqual | TextEqual | Matches => i64::from(left == right),
        NotEqual | IntegerNotEqual | TextNotEqual => i64::from(left != right),
        Greater => i64::from(left > right),
        Less => i64::from(left < right),
        GreaterOrEqual => i64::from(left >= right),
        LessOrEqual => i64::from(left <= right),
        Add | Join => left.wrapping_add(right),
        Subtract => left.wrapping_sub(right),
        Multiply => left.wrapping_mul(right),
        // The smallest integer divided by -1 wraps, as the machine would.
        Divide if right != 0 => left.wrapping_div(right),
        Modulo if right != 0 => left.wrapping_rem(right),
        Divide | Modulo => return Err(DivisionByZero),
    })
}

/// Whether text is nothing but visible ASCII and spaces, none of it a backslash.
pub(super) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|&byte| matches!(byte, b' '..=b'~') && byte != b'\\')
}

/// Writes spaces for line ends, but for those of folded text (RFC 3261 7.3.1), whose next line starts with white space.
pub fn flatten_lines(text: &mut [u8]) {
    for at in 0..text.len() {
        let is_folded = match &text[at..] {
            [b'\n', b' ' | b'\t', ..] | [b'\r', b'\n', b' ' | b'\t', ..] => true,
            [byte, ..] => !matches!(byte, b'\r' | b'\n'),
            [] => true,
        };
        if !is_folded {
            text[at] = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BinaryOperator::*;
    use ValueRef::{Integer, Null, Text};

    #[test]
    fn text_is_a_number_only_as_a_whole() {
        let rows: &[(&str, Option<i64>)] = &[
            ("5", Some(5)),
            ("05", Some(5)),
            ("-7", Some(-7)),
            ("+7", Some(7)),
            ("0x1f", Some(31)),
            ("-0x10", Some(-16)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("+-5", None),
            ("0x", None),
            ("0x-5", None),
            (" 7", None),
            ("7 ", None),
            ("12abc", None),
            ("abc", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_integer(text.as_bytes()), *expected, "{text:?}");
        }
    }

    #[test]
    fn the_left_operand_decides_how_things_compare() {
        let rows: &[(ValueRef<'_>, ValueRef<'_>, bool, bool)] = &[
            (Integer(5), Text(b"5"), true, false),
            (Text(b"5"), Integer(5), true, false),
            (Text(b"5"), Text(b"05"), false, false),
            (Integer(5), Text(b"05"), true, false),
            (Integer(5), Text(b"abc"), false, true),
            (Integer(0), Text(b"abc"), true, true),
            (Null, Integer(0), true, false),
            (Null, Integer(5), false, false),
            (Null, Text(b""), true, false),
            (Null, Text(b"<null>"), false, false),
            (Null, Null, true, false),
            (Integer(0), Null, true, false),
            (Text(b""), Null, true, false),
            (Text(b"INVITE"), Text(b"invite"), false, false),
        ];
        for (left, right, value, is_unreadable) in rows {
            assert_eq!(
                equal(*left, *right),
                Soft { value: *value, is_unreadable: *is_unreadable },
                "{left:?} {right:?}"
            );
        }
    }

    #[test]
    fn emptiness_is_not_zero() {
        for (value, expected) in
            [(Null, true), (Integer(0), false), (Text(b""), true), (Text(b"0"), false), (Text(b" "), false)]
        {
            assert_eq!(is_empty(value), expected, "{value:?}");
        }
    }

    #[test]
    fn integers_follow_the_machine_and_never_panic() {
        let rows = [
            (Divide, -7, 2, Ok(-3)),
            (Modulo, -7, 2, Ok(-1)),
            (Divide, 5, 0, Err(DivisionByZero)),
            (Modulo, 5, 0, Err(DivisionByZero)),
            (Divide, i64::MIN, -1, Ok(i64::MIN)),
            (Modulo, i64::MIN, -1, Ok(0)),
            (Add, i64::MAX, 1, Ok(i64::MIN)),
            (Multiply, i64::MAX, 2, Ok(-2)),
            (ShiftLeft, 1, 40, Ok(1 << 40)),
            (ShiftLeft, 1, 64, Ok(0)),
            (ShiftLeft, 1, -1, Ok(0)),
            (ShiftRight, -3, 1, Ok(-2)),
            (ShiftRight, -3, 400, Ok(-1)),
            (And, -3, 1, Ok(1)),
            (Or, 0, 0, Ok(0)),
            (Less, 1, 2, Ok(1)),
            (GreaterOrEqual, 1, 2, Ok(0)),
        ];
        for (operator, left, right, expected) in rows {
            assert_eq!(integer_operation(operator, left, right), expected, "{left} {operator:?} {right}");
        }
    }

    #[test]
    fn decimal_form_of_every_size() {
        for number in [0, 7, -7, 10, 1234567890, i64::MAX, i64::MIN] {
            assert_eq!(Decimal::of(number).as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn only_folded_text_keeps_its_line_ends() {
        for (text, expected) in [
            ("a\r\nEvil: b", "a  Evil: b"),
            ("a\nb\rc\r\n", "a b c  "),
            ("a\r\n b\n\tc", "a\r\n b\n\tc"),
            ("a\r\n\r\n b", "a  \r\n b"),
            ("", ""),
        ] {
            let mut flat = text.as_bytes().to_vec();
            flatten_lines(&mut flat);
            assert_eq!(flat, expected.as_bytes(), "{text:?}");
        }
    }
}
