//! Classes `val` and `num`: values by their kind.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::state::value::{answer, answer_display};

use super::input::on_text;
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::new("val.n0", "0 where there is no value", |input, _, out| match input {
        ValueRef::Null => Ok(Reading::Integer(0)),
        value => Ok(answer(value, out)),
    })
    .takes_null(),
    Transformation::new("val.ne", "empty text where there is no value", |input, _, out| match input {
        ValueRef::Null => Ok(Reading::Text),
        value => Ok(answer(value, out)),
    })
    .takes_null(),
    Transformation::new("val.json", "as JSON: null, a number or a quoted string", json).takes_null(),
    Transformation::new("val.jsonqe", "escaped for the inside of a JSON string, without quotes", json_inside),
    Transformation::new("num.fdigit", "first digit of an integer, 0 for anything else", |input, _, _| {
        Ok(Reading::Integer(decimal_digits(input).map_or(0, |(first, _)| first)))
    }),
    Transformation::new("num.ldigit", "last digit of an integer, 0 for anything else", |input, _, _| {
        Ok(Reading::Integer(decimal_digits(input).map_or(0, |(_, last)| last)))
    }),
];

/// First and last decimal digit of an integer.
fn decimal_digits(input: ValueRef<'_>) -> Option<(i64, i64)> {
    let ValueRef::Integer(number) = input else { return None };
    let mut first = number.unsigned_abs();
    while first >= 10 {
        first /= 10;
    }
    Some((first as i64, (number.unsigned_abs() % 10) as i64))
}

fn json(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    match input {
        ValueRef::Null => Ok(answer_display("null", out)),
        ValueRef::Integer(number) => Ok(answer_display(number, out)),
        ValueRef::Text(_) => {
            out.push(b'"');
            json_inside(input, arguments, out)?;
            out.push(b'"');
            Ok(Reading::Text)
        }
    }
}

fn json_inside(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        // RFC 8259 8.1 allows only UTF-8; other bytes become the replacement character.
        let quoted = serde_json::to_string(&String::from_utf8_lossy(text))
            .map_err(|_| Unfit("text has no JSON form"))?;
        Ok(answer_display(&quoted[1..quoted.len() - 1], out))
    })
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::{check, check_value};
    use crate::script::host::ValueRef;

    #[test]
    fn nothing_has_stand_ins() {
        check_value("val.n0", ValueRef::Null, &[], "0");
        check_value("val.ne", ValueRef::Null, &[], "");
        check("val.n0", "x", &[], "x");
        check_value("val.ne", ValueRef::Integer(5), &[], "5");
    }

    #[test]
    fn digits_are_those_of_integers() {
        check_value("num.fdigit", ValueRef::Integer(-420), &[], "4");
        check_value("num.ldigit", ValueRef::Integer(427), &[], "7");
        check_value("num.ldigit", ValueRef::Integer(i64::MIN), &[], "8");
        check("num.fdigit", "42", &[], "0");
    }

    #[test]
    fn values_have_a_json_form() {
        check_value("val.json", ValueRef::Null, &[], "null");
        check_value("val.json", ValueRef::Integer(-1), &[], "-1");
        check("val.json", "a\"b\n", &[], "\"a\\\"b\\n\"");
        check("val.jsonqe", "a\"b", &[], "a\\\"b");
    }
}
