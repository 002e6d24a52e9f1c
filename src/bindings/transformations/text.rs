//! Class `s`, first part: measuring, cutting, searching and changing text.

use memchr::memmem;

use crate::script::host::{Argument, Reading, ValueRef};
use crate::state::value::{answer_display, answer_text};

use super::input::{Separator, integer, is_space, on_argument, on_text, separator};
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::new("s.len", "number of bytes", length),
    Transformation::new("s.int", "the number in the text; null if it is not a number", number),
    Transformation::new("s.intv", "the number at the start of the text, 0 if there is none", leading_number),
    Transformation::new("s.tolower", "ASCII letters in lower case", |input, _, out| {
        map_bytes(input, out, |byte| byte.to_ascii_lowercase())
    }),
    Transformation::new("s.toupper", "ASCII letters in upper case", |input, _, out| {
        map_bytes(input, out, |byte| byte.to_ascii_uppercase())
    }),
    Transformation::new(
        "s.substr",
        "part of the text: offset (negative from the end), length (0: to the end)",
        substring,
    )
    .arguments(2, 2),
    Transformation::new("s.strip", "without the first n bytes", strip).arguments(1, 1),
    Transformation::new("s.striptail", "without the last n bytes", strip_tail).arguments(1, 1),
    Transformation::new("s.stripto", "the text from the first occurrence of a byte on", strip_to)
        .arguments(1, 2),
    Transformation::new("s.select", "field n (negative from the end) between separators", select)
        .arguments(2, 3),
    Transformation::new("s.selectws", "field n between runs of white space", select_between_spaces)
        .arguments(1, 1),
    Transformation::new("s.replace", "every occurrence of a text replaced by another", replace)
        .arguments(2, 2),
    Transformation::new("s.rm", "every occurrence of a text removed", remove).arguments(1, 1),
    Transformation::new("s.trim", "without white space at both ends", |input, _, out| {
        cut(input, out, |text| trim_end(trim_start(text)))
    }),
    Transformation::new("s.ltrim", "without white space at the start", |input, _, out| {
        cut(input, out, trim_start)
    }),
    Transformation::new("s.rtrim", "without white space at the end", |input, _, out| {
        cut(input, out, trim_end)
    }),
    Transformation::new("s.rmws", "without any white space", |input, _, out| {
        keep(input, out, |byte| !is_space(byte))
    }),
    Transformation::new(
        "s.rmhdws",
        "each line end with the white space after it as one blank",
        |input, _, out| unfold(input, out, b" "),
    ),
    Transformation::new("s.rmhlws", "without line ends and the white space after them", |input, _, out| {
        unfold(input, out, b"")
    }),
    Transformation::new("s.unquote", "without the quotes around it", |input, _, out| {
        cut(input, out, |text| without_pair(text, &[(b'"', b'"'), (b'\'', b'\'')]))
    }),
    Transformation::new("s.unbracket", "without the brackets around it", |input, _, out| {
        cut(input, out, |text| without_pair(text, &[(b'(', b')'), (b'[', b']'), (b'{', b'}'), (b'<', b'>')]))
    }),
    Transformation::new("s.count", "number of occurrences of a byte", count).arguments(1, 2),
    Transformation::new(
        "s.before",
        "the text up to the first occurrence of a byte; all of it without one",
        |input, arguments, out| {
            split_at(input, arguments, out, first, |text, at| &text[..at.unwrap_or(text.len())])
        },
    )
    .arguments(1, 2),
    Transformation::new(
        "s.after",
        "the text after the first occurrence of a byte; empty without one",
        |input, arguments, out| {
            split_at(input, arguments, out, first, |text, at| at.map_or(&b""[..], |at| &text[at + 1..]))
        },
    )
    .arguments(1, 2),
    Transformation::new(
        "s.rbefore",
        "the text up to the last occurrence of a byte; all of it without one",
        |input, arguments, out| {
            split_at(input, arguments, out, last, |text, at| &text[..at.unwrap_or(text.len())])
        },
    )
    .arguments(1, 2),
    Transformation::new(
        "s.rafter",
        "the text after the last occurrence of a byte; empty without one",
        |input, arguments, out| {
            split_at(input, arguments, out, last, |text, at| at.map_or(&b""[..], |at| &text[at + 1..]))
        },
    )
    .arguments(1, 2),
    Transformation::new(
        "s.prefixes",
        "all prefixes, up to n bytes, joined by commas",
        |input, arguments, out| prefixes(input, arguments, out, b""),
    )
    .arguments(0, 1),
    Transformation::new(
        "s.prefixes.quoted",
        "all prefixes, up to n bytes, in quotes, joined by commas",
        |input, arguments, out| prefixes(input, arguments, out, b"'"),
    )
    .arguments(0, 1),
    Transformation::new("s.charat", "the byte at a position, counted from 1", byte_at).arguments(1, 1),
    Transformation::new(
        "s.byte",
        "the number of the byte at a position, counted from 1; without one of the first",
        |input, arguments, _| byte_number(input, arguments),
    )
    .arguments(0, 1),
    Transformation::new("s.numeric", "only its digits", |input, _, out| {
        keep(input, out, |byte| byte.is_ascii_digit())
    }),
    Transformation::new(
        "s.fmtlines",
        "lines of n bytes, each but the first led by m blanks",
        |input, arguments, out| fold(input, arguments, out, b' '),
    )
    .arguments(2, 2),
    Transformation::new(
        "s.fmtlinet",
        "lines of n bytes, each but the first led by m tabs",
        |input, arguments, out| fold(input, arguments, out, b'\t'),
    )
    .arguments(2, 2),
];

fn length(input: ValueRef<'_>, _: &[Argument<'_>], _: &mut Vec<u8>) -> Answer {
    Ok(Reading::Integer(on_text(input, <[u8]>::len) as i64))
}

fn number(input: ValueRef<'_>, _: &[Argument<'_>], _: &mut Vec<u8>) -> Answer {
    let parsed = on_text(input, |text| std::str::from_utf8(text).ok()?.trim().parse().ok());
    parsed.map(Reading::Integer).ok_or(Unfit("text is not a number"))
}

fn leading_number(input: ValueRef<'_>, _: &[Argument<'_>], _: &mut Vec<u8>) -> Answer {
    Ok(Reading::Integer(on_text(input, |text| {
        let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
        let digits = text[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&text[..sign + digits]).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    })))
}

fn map_bytes(input: ValueRef<'_>, out: &mut Vec<u8>, map: impl Fn(&u8) -> u8) -> Answer {
    on_text(input, |text| out.extend(text.iter().map(map)));
    Ok(Reading::Text)
}

fn keep(input: ValueRef<'_>, out: &mut Vec<u8>, is_kept: impl Fn(u8) -> bool) -> Answer {
    on_text(input, |text| out.extend(text.iter().filter(|&&byte| is_kept(byte))));
    Ok(Reading::Text)
}

fn cut(input: ValueRef<'_>, out: &mut Vec<u8>, part: impl Fn(&[u8]) -> &[u8]) -> Answer {
    Ok(on_text(input, |text| answer_text(part(text), out)))
}

fn substring(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    let (Some(offset), Some(size)) = (integer(arguments, 0), integer(arguments, 1)) else {
        return Err(Unfit("offset and length of s.substr must be integers"));
    };
    on_text(input, |text| {
        let total = text.len() as i64;
        let start = if offset < 0 { offset.saturating_add(total) } else { offset };
        if !(0..total).contains(&start) || size < 0 {
            return Err(Unfit("s.substr is outside the text"));
        }
        let end = if size == 0 { total } else { start.saturating_add(size).min(total) };
        Ok(answer_text(&text[start as usize..end as usize], out))
    })
}

/// The number of bytes that argument 0 asks to take away, at most all.
fn amount(arguments: &[Argument<'_>], text: &[u8]) -> Result<usize, Unfit> {
    let amount = integer(arguments, 0).ok_or(Unfit("number of bytes must be an integer"))?;
    usize::try_from(amount).map(|n| n.min(text.len())).map_err(|_| Unfit("number of bytes is negative"))
}

fn strip(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| Ok(answer_text(&text[amount(arguments, text)?..], out)))
}

fn strip_tail(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| Ok(answer_text(&text[..text.len() - amount(arguments, text)?], out)))
}

fn strip_to(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    split_at(input, arguments, out, first, |text, at| &text[at.unwrap_or(text.len())..])
}

fn select(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    let separator = separator(arguments, 1).ok_or(Unfit("separator of s.select must be one byte"))?;
    select_field(input, arguments, out, separator)
}

fn select_between_spaces(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    select_field(input, arguments, out, Separator::AnySpace)
}

/// The field that argument 0 names; empty text outside the range.
fn select_field(
    input: ValueRef<'_>,
    arguments: &[Argument<'_>],
    out: &mut Vec<u8>,
    separator: Separator,
) -> Answer {
    let index = integer(arguments, 0).ok_or(Unfit("index of a field must be an integer"))?;
    on_text(input, |text| {
        let mut fields = separator.fields(text);
        let field = match usize::try_from(index) {
            Ok(index) => fields.nth(index),
            Err(_) => usize::try_from(-(index + 1)).ok().and_then(|index| fields.nth_back(index)),
        };
        Ok(answer_text(field.unwrap_or_default(), out))
    })
}

fn replace(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_argument(arguments, 1, |replacement| replace_all(input, arguments, replacement, out))
}

fn remove(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    replace_all(input, arguments, b"", out)
}

fn replace_all(
    input: ValueRef<'_>,
    arguments: &[Argument<'_>],
    replacement: &[u8],
    out: &mut Vec<u8>,
) -> Answer {
    on_argument(arguments, 0, |searched| {
        if searched.is_empty() {
            return Err(Unfit("the text searched for is empty"));
        }
        on_text(input, |text| {
            let mut copied = 0;
            for at in memmem::find_iter(text, searched) {
                out.extend_from_slice(&text[copied..at]);
                out.extend_from_slice(replacement);
                copied = at + searched.len();
            }
            Ok(answer_text(&text[copied..], out))
        })
    })
}

fn trim_start(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&byte| is_space(byte)).count()..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    &text[..text.len() - text.iter().rev().take_while(|&&byte| is_space(byte)).count()]
}

/// Joins lines: a line end that white space follows, together with that white space, becomes `joint`.
fn unfold(input: ValueRef<'_>, out: &mut Vec<u8>, joint: &[u8]) -> Answer {
    on_text(input, |text| {
        let mut rest = text;
        while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
            let break_size = rest[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let after = &rest[at + break_size..];
            let blanks = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            if blanks == 0 {
                out.extend_from_slice(&rest[..at + break_size]);
            } else {
                out.extend_from_slice(&rest[..at]);
                out.extend_from_slice(joint);
            }
            rest = &after[blanks..];
        }
        Ok(answer_text(rest, out))
    })
}

fn without_pair<'a>(text: &'a [u8], pairs: &[(u8, u8)]) -> &'a [u8] {
    match text {
        [open, inner @ .., close] if pairs.contains(&(*open, *close)) => inner,
        _ => text,
    }
}

fn count(input: ValueRef<'_>, arguments: &[Argument<'_>], _: &mut Vec<u8>) -> Answer {
    let separator = separator(arguments, 0).ok_or(Unfit("s.count takes one byte"))?;
    Ok(
        Reading::Integer(
            on_text(input, |text| text.iter().filter(|&&byte| separator.is(byte)).count()) as i64
        ),
    )
}

type Find = fn(&[u8], Separator) -> Option<usize>;

fn first(text: &[u8], separator: Separator) -> Option<usize> {
    text.iter().position(|&byte| separator.is(byte))
}

fn last(text: &[u8], separator: Separator) -> Option<usize> {
    text.iter().rposition(|&byte| separator.is(byte))
}

fn split_at(
    input: ValueRef<'_>,
    arguments: &[Argument<'_>],
    out: &mut Vec<u8>,
    find: Find,
    part: fn(&[u8], Option<usize>) -> &[u8],
) -> Answer {
    let separator = separator(arguments, 0).ok_or(Unfit("the byte to look for must be one byte"))?;
    Ok(on_text(input, |text| answer_text(part(text, find(text, separator)), out)))
}

fn prefixes(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>, quote: &[u8]) -> Answer {
    on_text(input, |text| {
        let longest = if arguments.is_empty() { text.len() } else { amount(arguments, text)? };
        if longest > PREFIX_SIZE_MAX {
            return Err(Unfit("text is too long to list its prefixes"));
        }
        for size in 1..=longest {
            if size > 1 {
                out.push(b',');
            }
            out.extend_from_slice(quote);
            out.extend_from_slice(&text[..size]);
            out.extend_from_slice(quote);
        }
        Ok(Reading::Text)
    })
}

fn byte_at(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    let position = integer(arguments, 0).ok_or(Unfit("position of s.charat must be an integer"))?;
    on_text(input, |text| {
        let index = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
        match index.and_then(|index| text.get(index)) {
            Some(byte) => Ok(answer_text(&[*byte], out)),
            None => Err(Unfit("s.charat is outside the text")),
        }
    })
}

/// Without a position the first byte.
fn byte_number(input: ValueRef<'_>, arguments: &[Argument<'_>]) -> Answer {
    let position = match arguments {
        [] => 1,
        _ => integer(arguments, 0).ok_or(Unfit("position of s.byte must be an integer"))?,
    };
    on_text(input, |text| {
        let index = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
        match index.and_then(|index| text.get(index)) {
            Some(byte) => Ok(Reading::Integer(i64::from(*byte))),
            None => Err(Unfit("s.byte is outside the text")),
        }
    })
}

fn fold(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>, blank: u8) -> Answer {
    let (Some(width), Some(indent)) = (integer(arguments, 0), integer(arguments, 1)) else {
        return Err(Unfit("width and indent must be integers"));
    };
    let (Ok(width), Ok(indent)) = (usize::try_from(width), usize::try_from(indent)) else {
        return Err(Unfit("width or indent is negative"));
    };
    if width == 0 || indent > INDENT_MAX {
        return Err(Unfit("width is 0 or indent too large"));
    }
    on_text(input, |text| {
        for (index, line) in text.chunks(width).enumerate() {
            if index > 0 {
                answer_display("\r\n", out);
                out.resize(out.len() + indent, blank);
            }
            out.extend_from_slice(line);
        }
    });
    Ok(Reading::Text)
}

/// Longest text whose prefixes are listed: the list grows with its square.
const PREFIX_SIZE_MAX: usize = 256;
/// Widest indent of folded lines.
const INDENT_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    #[test]
    fn text_is_measured_and_cut() {
        check("s.len", "abcdef", &[], "6");
        check("s.int", "42", &[], "42");
        check("s.int", "abcdef", &[], "<null>");
        check("s.int", "99999999999999999999", &[], "<null>");
        check("s.intv", "-12ab", &[], "-12");
        check("s.intv", "ab", &[], "0");
        check("s.substr", "abcdef", &["2", "3"], "cde");
        check("s.substr", "abcdef", &["-3", "2"], "de");
        check("s.substr", "abcdef", &["2", "0"], "cdef");
        check("s.substr", "abcdef", &["99", "2"], "<null>");
        check("s.substr", "abcdef", &["-99", "2"], "<null>");
        check("s.substr", "abcdef", &["1", "9223372036854775807"], "bcdef");
        check("s.strip", "abcdef", &["2"], "cdef");
        check("s.strip", "abcdef", &["200"], "");
        check("s.strip", "abcdef", &["-1"], "<null>");
        check("s.striptail", "abcdef", &["2"], "abcd");
        check("s.stripto", "abcdef", &["d"], "def");
        check("s.charat", "abcdef", &["1"], "a");
        check("s.byte", "abc", &[], "97");
        check("s.byte", "abc", &["3"], "99");
        check("s.byte", "abc", &["4"], "<null>");
        check("s.byte", "", &[], "<null>");
        check("s.charat", "abcdef", &["0"], "<null>");
        check("s.charat", "abcdef", &["7"], "<null>");
    }

    #[test]
    fn fields_are_selected_from_both_ends() {
        check("s.select", "x,y,z", &["1", "", ""], "y");
        check("s.select", "x,y,z", &["-1", "", ""], "z");
        check("s.select", "x,y,z", &["9", "", ""], "");
        check("s.select", "x,y,z", &["-9", "", ""], "");
        check("s.select", "x,y,z", &["-9223372036854775808", "", ""], "");
        check("s.select", "x;y", &["1", ";"], "y");
        check("s.selectws", "12 34\t56", &["1"], "34");
        check("s.selectws", "12 34\t56", &["2"], "56");
        check("s.count", "x,y,z", &["", ""], "2");
    }

    #[test]
    fn text_is_changed() {
        check("s.toupper", "abcDEF1", &[], "ABCDEF1");
        check("s.tolower", "ABC", &[], "abc");
        check("s.replace", "abcdef", &["c", "XX"], "abXXdef");
        check("s.replace", "abababa", &["a", "c"], "cbcbcbc");
        check("s.replace", "abc", &["", "c"], "<null>");
        check("s.rm", "abcdef", &["cd"], "abef");
        check("s.trim", "  mid  ", &[], "mid");
        check("s.rtrim", "  mid  ", &[], "  mid");
        check("s.ltrim", "  mid  ", &[], "mid  ");
        check("s.rmws", " a\tb\r\n c", &[], "abc");
        check("s.rmhdws", "a\r\n  b\r\nc", &[], "a b\r\nc");
        check("s.rmhlws", "a\r\n  b", &[], "ab");
        check("s.unquote", "\"quoted\"", &[], "quoted");
        check("s.unquote", "'q'", &[], "q");
        check("s.unquote", "\"", &[], "\"");
        check("s.unbracket", "<br>", &[], "br");
        check("s.unbracket", "<br]", &[], "<br]");
        check("s.numeric", "abcdef", &[], "");
        check("s.numeric", "(040)1234/567-89", &[], "040123456789");
        check("s.fmtlines", "abcdefgh", &["4", "2"], "abcd\r\n  efgh");
        check("s.fmtlinet", "abcde", &["4", "1"], "abcd\r\n\te");
        check("s.fmtlines", "abc", &["0", "1"], "<null>");
    }

    #[test]
    fn text_is_split_at_a_byte() {
        check("s.before", "x,y,z", &["", ""], "x");
        check("s.after", "x,y,z", &["", ""], "y,z");
        check("s.rbefore", "x,y,z", &["", ""], "x,y");
        check("s.rafter", "x,y,z", &["", ""], "z");
        check("s.before", "abcdef", &["Z"], "abcdef");
        check("s.after", "abcdef", &["Z"], "");
        check("s.rbefore", "abcdefcgh", &["c"], "abcdef");
        check("s.rafter", "abcdefcgh", &["c"], "gh");
        check("s.before", "abcdef", &["ab"], "<null>");
    }

    #[test]
    fn prefixes_are_listed() {
        check("s.prefixes", "abc", &[], "a,ab,abc");
        check("s.prefixes", "abcdef", &["3"], "a,ab,abc");
        check("s.prefixes.quoted", "12", &[], "'1','12'");
        check("s.prefixes", &"x".repeat(300), &[], "<null>");
    }
}
