//! Class `s`, second part: digests, encodings, escapes and time.

use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, Encoding, HEXLOWER, HEXLOWER_PERMISSIVE,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use md5::Digest;

use crate::script::host::{Argument, Reading, ValueRef};
use crate::shm::fnv1a;
use crate::state::value::{answer_display, answer_text};

use super::input::{integer, on_argument, on_text};
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::new("s.md5", "MD5 in hexadecimal", |input, _, out| digest::<md5::Md5>(input, out)),
    Transformation::new("s.sha1", "SHA-1 in hexadecimal", |input, _, out| digest::<sha1::Sha1>(input, out)),
    Transformation::new("s.sha256", "SHA-256 in hexadecimal", |input, _, out| {
        digest::<sha2::Sha256>(input, out)
    }),
    Transformation::new("s.sha384", "SHA-384 in hexadecimal", |input, _, out| {
        digest::<sha2::Sha384>(input, out)
    }),
    Transformation::new("s.sha512", "SHA-512 in hexadecimal", |input, _, out| {
        digest::<sha2::Sha512>(input, out)
    }),
    Transformation::new("s.sha3", "SHA3-256 in hexadecimal", |input, _, out| {
        digest::<sha3::Sha3_256>(input, out)
    }),
    Transformation::new(
        "s.keccak",
        "Keccak-256, as before it became SHA-3, in hexadecimal",
        |input, _, out| digest::<sha3::Keccak256>(input, out),
    ),
    Transformation::new("s.corehash", "a stable 32-bit hash, and-ed with n-1 where n is given", hash)
        .arguments(0, 1),
    Transformation::new("s.encode.hexa", "in hexadecimal", |input, _, out| encode(input, out, &HEXLOWER)),
    Transformation::new("s.decode.hexa", "from hexadecimal", |input, _, out| {
        decode(input, out, &HEXLOWER_PERMISSIVE)
    }),
    Transformation::new("s.encode.base64", "in base64", |input, _, out| encode(input, out, &BASE64)),
    Transformation::new("s.decode.base64", "from base64", |input, _, out| decode(input, out, &BASE64)),
    Transformation::new("s.encode.base64t", "in base64 without padding", |input, _, out| {
        encode(input, out, &BASE64_NOPAD)
    }),
    Transformation::new("s.decode.base64t", "from base64, padded or not", |input, _, out| {
        decode_unpadded(input, out, &BASE64_NOPAD)
    }),
    Transformation::new("s.encode.base64url", "in base64 for URLs", |input, _, out| {
        encode(input, out, &BASE64URL)
    }),
    Transformation::new("s.decode.base64url", "from base64 for URLs", |input, _, out| {
        decode(input, out, &BASE64URL)
    }),
    Transformation::new("s.encode.base64urlt", "in base64 for URLs without padding", |input, _, out| {
        encode(input, out, &BASE64URL_NOPAD)
    }),
    Transformation::new("s.decode.base64urlt", "from base64 for URLs, padded or not", |input, _, out| {
        decode_unpadded(input, out, &BASE64URL_NOPAD)
    }),
    Transformation::new("s.encode.base58", "in base58", encode_base58),
    Transformation::new("s.decode.base58", "from base58", decode_base58),
    Transformation::new(
        "s.encode.7bit",
        "seven bits of each byte packed as a GSM terminal does, in hexadecimal",
        encode_septets,
    ),
    Transformation::new("s.decode.7bit", "the reverse of s.encode.7bit", decode_septets),
    Transformation::new("s.crc32", "CRC-32 (IEEE 802.3) as a decimal number", |input, _, _| {
        Ok(Reading::Integer(i64::from(on_text(input, crc32))))
    }),
    Transformation::new("s.escape.common", "quotes, backslash and NUL escaped by a backslash", escape_common),
    Transformation::new("s.unescape.common", "the reverse of s.escape.common", unescape_common),
    Transformation::new(
        "s.escape.user",
        "escaped for the user part of a URI (RFC 3261 25.1)",
        |input, _, out| percent(input, out, |byte| is_unreserved(byte) || b"&=+$,;?/".contains(&byte)),
    ),
    Transformation::new("s.unescape.user", "the reverse of s.escape.user", |input, _, out| {
        unpercent(input, out, false)
    }),
    Transformation::new(
        "s.escape.param",
        "escaped for a parameter of a URI (RFC 3261 25.1)",
        |input, _, out| percent(input, out, |byte| is_unreserved(byte) || b"[]/:&+$".contains(&byte)),
    ),
    Transformation::new("s.unescape.param", "the reverse of s.escape.param", |input, _, out| {
        unpercent(input, out, false)
    }),
    Transformation::new("s.urlencode.param", "encoded for a URL query", url_encode),
    Transformation::new("s.urldecode.param", "the reverse of s.urlencode.param", |input, _, out| {
        unpercent(input, out, true)
    }),
    Transformation::new("s.escape.csv", "as a quoted field of RFC 4180", escape_csv),
    Transformation::new("s.unescape.csv", "the reverse of s.escape.csv", unescape_csv),
    Transformation::new("s.escape.crlf", "carriage return and line feed as \\r and \\n", escape_line_ends),
    Transformation::new("s.unescape.crlf", "the reverse of s.escape.crlf", unescape_line_ends),
    Transformation::new("s.ftime", "seconds since 1970 in a strftime format, local time", format_time)
        .arguments(1, 1),
];

fn digest<D: Digest>(input: ValueRef<'_>, out: &mut Vec<u8>) -> Answer {
    let hash = on_text(input, |text| D::digest(text));
    Ok(answer_display(HEXLOWER.encode_display(&hash), out))
}

/// FNV-1a: the same in every process and on every machine, as sharding by `s.corehash` needs it.
fn hash(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    let hash = on_text(input, fnv1a);
    match integer(arguments, 0).map(u32::try_from) {
        None if arguments.is_empty() => Ok(answer_display(hash, out)),
        Some(Ok(size)) if size > 0 => Ok(answer_display(hash & (size - 1), out)),
        _ => Err(Unfit("size of s.corehash must be an integer above 0")),
    }
}

fn encode(input: ValueRef<'_>, out: &mut Vec<u8>, encoding: &Encoding) -> Answer {
    Ok(on_text(input, |text| answer_display(encoding.encode_display(text), out)))
}

fn decode(input: ValueRef<'_>, out: &mut Vec<u8>, encoding: &Encoding) -> Answer {
    on_text(input, |text| decode_text(text, out, encoding))
}

fn decode_unpadded(input: ValueRef<'_>, out: &mut Vec<u8>, encoding: &Encoding) -> Answer {
    on_text(input, |text| {
        let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
        decode_text(&text[..text.len() - padding], out, encoding)
    })
}

fn decode_text(text: &[u8], out: &mut Vec<u8>, encoding: &Encoding) -> Answer {
    let decoded = encoding.decode(text).map_err(|_| Unfit("text is not in this encoding"))?;
    Ok(answer_text(&decoded, out))
}

const BASE58_DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Longest text for base58, whose cost grows with the square of the size.
const BASE58_SIZE_MAX: usize = 1024;

fn encode_base58(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        let digits = change_base(text, 256, 58)?;
        let zeros = text.iter().take_while(|&&byte| byte == 0).count();
        out.extend(std::iter::repeat_n(BASE58_DIGITS[0], zeros));
        out.extend(digits.iter().map(|&digit| BASE58_DIGITS[usize::from(digit)]));
        Ok(Reading::Text)
    })
}

fn decode_base58(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        let digits: Option<Vec<u8>> = text
            .iter()
            .map(|byte| BASE58_DIGITS.iter().position(|digit| digit == byte).map(|value| value as u8))
            .collect();
        let digits = digits.ok_or(Unfit("text is not base58"))?;
        let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        out.extend(std::iter::repeat_n(0, zeros));
        out.extend(change_base(&digits, 58, 256)?);
        Ok(Reading::Text)
    })
}

/// The digits of a number in another base, without leading zeros; most significant first.
fn change_base(digits: &[u8], from: u32, to: u32) -> Result<Vec<u8>, Unfit> {
    if digits.len() > BASE58_SIZE_MAX {
        return Err(Unfit("text is too long for base58"));
    }
    let mut reversed: Vec<u8> = Vec::new();
    for &digit in digits {
        let mut carry = u32::from(digit);
        for place in &mut reversed {
            carry += u32::from(*place) * from;
            *place = (carry % to) as u8;
            carry /= to;
        }
        while carry > 0 {
            reversed.push((carry % to) as u8);
            carry /= to;
        }
    }
    reversed.reverse();
    Ok(reversed)
}

/// 3GPP TS 23.038 6.1.2.1: the bits of one character follow those of the one before it, from the lowest up.
fn encode_septets(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        let (mut bits, mut count) = (0u32, 0);
        for &byte in text {
            bits |= u32::from(byte & 0x7f) << count;
            count += 7;
            while count >= 8 {
                answer_display(format_args!("{:02X}", bits & 0xff), out);
                bits >>= 8;
                count -= 8;
            }
        }
        if count > 0 {
            answer_display(format_args!("{:02X}", bits & 0xff), out);
        }
    });
    Ok(Reading::Text)
}

fn decode_septets(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    let packed = on_text(input, |text| HEXLOWER_PERMISSIVE.decode(text));
    let packed = packed.map_err(|_| Unfit("text is not in hexadecimal"))?;
    let (mut bits, mut count) = (0u32, 0);
    for byte in packed {
        bits |= u32::from(byte) << count;
        count += 8;
        while count >= 7 {
            // The last seven bits may be padding only.
            let is_padding = count == 7 && bits & 0x7f == 0;
            if !is_padding {
                out.push((bits & 0x7f) as u8);
            }
            bits >>= 7;
            count -= 7;
        }
    }
    Ok(Reading::Text)
}

fn crc32(text: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let update = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 })
    };
    !text.iter().fold(u32::MAX, update)
}

fn escape_common(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        for &byte in text {
            match byte {
                0 => out.extend_from_slice(b"\\0"),
                b'\'' | b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                _ => out.push(byte),
            }
        }
    });
    Ok(Reading::Text)
}

fn unescape_common(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    unescape(input, out, |byte| match byte {
        b'0' => Some(0),
        b'\'' | b'"' | b'\\' => Some(byte),
        _ => None,
    })
}

fn escape_line_ends(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        for &byte in text {
            match byte {
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\n' => out.extend_from_slice(b"\\n"),
                _ => out.push(byte),
            }
        }
    });
    Ok(Reading::Text)
}

fn unescape_line_ends(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    unescape(input, out, |byte| match byte {
        b'r' => Some(b'\r'),
        b'n' => Some(b'\n'),
        _ => None,
    })
}

/// Replaces a backslash and the byte after it where `known` names what they stand for.
fn unescape(input: ValueRef<'_>, out: &mut Vec<u8>, known: impl Fn(u8) -> Option<u8>) -> Answer {
    on_text(input, |text| {
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            match (byte, after.first().and_then(|&next| known(next))) {
                (b'\\', Some(plain)) => {
                    out.push(plain);
                    rest = &after[1..];
                }
                _ => {
                    out.push(*byte);
                    rest = after;
                }
            }
        }
    });
    Ok(Reading::Text)
}

/// RFC 3261 25.1: unreserved.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)
}

fn percent(input: ValueRef<'_>, out: &mut Vec<u8>, is_plain: impl Fn(u8) -> bool) -> Answer {
    on_text(input, |text| {
        for &byte in text {
            if is_plain(byte) {
                out.push(byte);
            } else {
                answer_display(format_args!("%{byte:02x}"), out);
            }
        }
    });
    Ok(Reading::Text)
}

fn url_encode(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        for &byte in text {
            match byte {
                b' ' => out.push(b'+'),
                _ if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => out.push(byte),
                _ => {
                    answer_display(format_args!("%{byte:02x}"), out);
                }
            }
        }
    });
    Ok(Reading::Text)
}

fn unpercent(input: ValueRef<'_>, out: &mut Vec<u8>, plus_is_blank: bool) -> Answer {
    on_text(input, |text| {
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            rest = after;
            match (byte, after) {
                (b'%', [high, low, tail @ ..]) => {
                    let decoded = HEXLOWER_PERMISSIVE
                        .decode(&[*high, *low])
                        .map_err(|_| Unfit("% without two hexadecimal digits"))?;
                    out.extend(decoded);
                    rest = tail;
                }
                (b'%', _) => return Err(Unfit("% without two hexadecimal digits")),
                (b'+', _) if plus_is_blank => out.push(b' '),
                _ => out.push(*byte),
            }
        }
        Ok(Reading::Text)
    })
}

/// A field without quotes is what it is; a quote inside stands twice.
fn unescape_csv(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        let Some(rest) = text.strip_prefix(b"\"") else { return Ok(answer_text(text, out)) };
        let inner = rest.strip_suffix(b"\"").ok_or(Unfit("the quotes of the field do not close"))?;
        let mut bytes = inner.iter();
        while let Some(&byte) = bytes.next() {
            if byte == b'"' && bytes.next() != Some(&b'"') {
                return Err(Unfit("a quote in the field is not doubled"));
            }
            out.push(byte);
        }
        Ok(Reading::Text)
    })
}

fn escape_csv(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        out.push(b'"');
        for &byte in text {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    });
    Ok(Reading::Text)
}

fn format_time(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    let seconds = on_text(input, |text| std::str::from_utf8(text).ok()?.trim().parse::<i64>().ok());
    let seconds = seconds.ok_or(Unfit("seconds of s.ftime are not a number"))?;
    let time = Timestamp::from_second(seconds).map_err(|_| Unfit("seconds of s.ftime are out of range"))?;
    on_argument(arguments, 0, |format| {
        let text = jiff::fmt::strtime::format(format, &time.to_zoned(TimeZone::system()))
            .map_err(|_| Unfit("format of s.ftime is not understood"))?;
        Ok(answer_text(text.as_bytes(), out))
    })
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    #[test]
    fn septets_and_checks_are_those_of_the_standards() {
        check("s.encode.7bit", "x y", &[], "78501E");
        check("s.encode.7bit", "hello world", &[], "E8329BFD06DDDF723619");
        check("s.encode.7bit", "", &[], "");
        check("s.decode.7bit", "E8329BFD06DDDF723619", &[], "hello world");
        check("s.decode.7bit", "78501e", &[], "x y");
        check("s.decode.7bit", "7", &[], "<null>");
        check("s.decode.7bit", "zz", &[], "<null>");
        check("s.crc32", "123456789", &[], "3421780262");
        check("s.crc32", "", &[], "0");
    }

    #[test]
    fn digests_are_hexadecimal() {
        check("s.md5", "abcdef", &[], "e80b5017098950fc58aad83c8c14978e");
        check("s.sha1", "abc", &[], "a9993e364706816aba3e25717850c26c9cd0d89d");
        check("s.sha256", "abcdef", &[], "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721");
        check(
            "s.sha512",
            "",
            &[],
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        );
        check("s.sha3", "abc", &[], "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
        check("s.keccak", "", &[], "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        check("s.corehash", "abcdef", &["1"], "0");
        check("s.corehash", "abcdef", &["0"], "<null>");
        check("s.corehash", "", &[], "2166136261");
    }

    #[test]
    fn encodings_go_both_ways() {
        for (name, plain, encoded) in [
            ("hexa", "abcdef", "616263646566"),
            ("base64", "abcdef", "YWJjZGVm"),
            ("base64", "abcd", "YWJjZA=="),
            ("base64t", "abcd", "YWJjZA"),
            ("base64url", "~~~?", "fn5-Pw=="),
            ("base64urlt", "~~~?", "fn5-Pw"),
            ("base58", "Hello World!", "2NEpo7TZRRrLZSi2U"),
            ("base58", "", ""),
            ("base58", "\0\0a", "112g"),
        ] {
            check(&format!("s.encode.{name}"), plain, &[], encoded);
            check(&format!("s.decode.{name}"), encoded, &[], plain);
        }
        check("s.decode.base64t", "YWJjZA==", &[], "abcd");
        check("s.decode.base64", "?", &[], "<null>");
        check("s.decode.hexa", "61 62", &[], "<null>");
        check("s.decode.base58", "0", &[], "<null>");
    }

    #[test]
    fn escapes_go_both_ways() {
        for (name, plain, escaped) in [
            ("common", "it's \"a\\\0\"", "it\\'s \\\"a\\\\\\0\\\""),
            ("user", "a b@c;d", "a%20b%40c;d"),
            ("param", "a;b=c", "a%3bb%3dc"),
            ("crlf", "a\r\nb", "a\\r\\nb"),
        ] {
            check(&format!("s.escape.{name}"), plain, &[], escaped);
            check(&format!("s.unescape.{name}"), escaped, &[], plain);
        }
        check("s.unescape.user", "%4", &[], "<null>");
        check("s.unescape.user", "%zz", &[], "<null>");
        check("s.unescape.common", "a\\xb\\", &[], "a\\xb\\");
        check("s.urlencode.param", "a b&c", &[], "a+b%26c");
        check("s.urldecode.param", "a+b%26c", &[], "a b&c");
        check("s.unescape.csv", "\"foo,bar\"\"baz\"", &[], "foo,bar\"baz");
        check("s.unescape.csv", "plain", &[], "plain");
        check("s.unescape.csv", "\"open", &[], "<null>");
        check("s.unescape.csv", "\"a\"b\"", &[], "<null>");
        check("s.escape.csv", "foo,bar\"baz", &[], "\"foo,bar\"\"baz\"");
    }

    #[test]
    fn time_is_formatted() {
        check("s.ftime", "86400", &["%Y-%m"], "1970-01");
        check("s.ftime", "x", &["%Y"], "<null>");
        check("s.ftime", "9223372036854775807", &["%Y"], "<null>");
        check("s.ftime", "0", &["%"], "<null>");
    }
}
