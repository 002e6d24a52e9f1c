//! Constants: characters that are hard to write, numbers of names, versions, colours.

use crate::script::catalog::Yields;
use crate::script::host::Reading;

use super::{Key, KeyRule, Variable};
use crate::state::value::answer_text;

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("En", "line feed", |_, _, out| answer_text(b"\n", out)).yields(Yields::Text),
    Variable::new("Er", "carriage return", |_, _, out| answer_text(b"\r", out)).yields(Yields::Text),
    Variable::new("Es", "space", |_, _, out| answer_text(b" ", out)).yields(Yields::Text),
    Variable::new("Et", "tab", |_, _, out| answer_text(b"\t", out)).yields(Yields::Text),
    Variable::new("Ec", "comma", |_, _, out| answer_text(b",", out)).yields(Yields::Text),
    Variable::new("Eq", "double quote", |_, _, out| answer_text(b"\"", out)).yields(Yields::Text),
    Variable::new("Ek", "single quote", |_, _, out| answer_text(b"'", out)).yields(Yields::Text),
    Variable::new("Ei", "colon", |_, _, out| answer_text(b":", out)).yields(Yields::Text),
    Variable::new("Ej", "semicolon", |_, _, out| answer_text(b";", out)).yields(Yields::Text),
    Variable::new("Eb", "backslash", |_, _, out| answer_text(b"\\", out)).yields(Yields::Text),
    Variable::new("Ev", "backquote", |_, _, out| answer_text(b"`", out)).yields(Yields::Text),
    Variable::new("true", "1", |_, _, _| Reading::Integer(1)).yields(Yields::Integer),
    Variable::new("K", "number of a transport or an address family", |_, subject, _| match subject.key {
        Key::Word(word) => Reading::Integer(NUMBERS[word]),
        _ => Reading::Null,
    })
    .key(KeyRule::Word(NUMBER_WORDS))
    .yields(Yields::Integer),
    Variable::new(
        "version",
        "num: version of the language; full: name and version; hash: empty",
        |_, subject, out| match subject.key {
            Key::Word(word) => answer_text(VERSIONS[word].as_bytes(), out),
            _ => Reading::Null,
        },
    )
    .key(KeyRule::Word(VERSION_WORDS)),
    Variable::new("ksr", "ver: version of the language", |_, _, out| {
        answer_text(LANGUAGE_VERSION.as_bytes(), out)
    })
    .key(KeyRule::Word(&["ver"])),
    Variable::new("err.class", "class of the last error: null, errors are in the log", |_, _, _| {
        Reading::Null
    }),
    Variable::new("err.level", "level of the last error: null, errors are in the log", |_, _, _| {
        Reading::Null
    }),
    Variable::new("err.info", "text of the last error: null, errors are in the log", |_, _, _| Reading::Null),
    Variable::new("err.rcode", "status for the last error: null, errors are in the log", |_, _, _| {
        Reading::Null
    }),
    Variable::new("err.rreason", "reason for the last error: null, errors are in the log", |_, _, _| {
        Reading::Null
    }),
    Variable::new(
        "C",
        "colours for a terminal: foreground and background letter, x is the default",
        |_, subject, out| append_colours(subject.key.text(), out),
    )
    .key(KeyRule::Text)
    .yields(Yields::Text),
];

/// The version of the configuration language that scripts can test for.
const LANGUAGE_VERSION: &str = "6.2.0";

const VERSION_WORDS: &[&str] = &["num", "full", "hash"];
const VERSIONS: &[&str] = &[LANGUAGE_VERSION, concat!("sworker ", env!("CARGO_PKG_VERSION")), ""];

const NUMBER_WORDS: &[&str] = &["IPv4", "IPv6", "UDP", "TCP", "TLS", "SCTP", "WS", "WSS"];
/// Address families as Linux numbers them, transports as `$prid` does.
const NUMBERS: &[i64] = &[2, 10, 1, 2, 3, 4, 5, 6];

/// Letters of the colours in the order of the terminal's codes.
const COLOURS: &[u8] = b"srgybpcw";

/// The terminal's code of two letters: foreground, where a capital letter is bold, and background. A letter that is no
/// colour is passed over.
pub fn append_colours(letters: &[u8], out: &mut Vec<u8>) -> Reading {
    let code = |letter: Option<&u8>, plain: usize| {
        let letter = letter?.to_ascii_lowercase();
        COLOURS.iter().position(|&colour| colour == letter).map(|index| plain + index)
    };
    let is_bold = letters.first().is_some_and(u8::is_ascii_uppercase) && code(letters.first(), 0).is_some();
    out.extend_from_slice(if is_bold { b"\x1b[1" } else { b"\x1b[0" });
    for code in [code(letters.first(), 30), code(letters.get(1), 40)].into_iter().flatten() {
        crate::state::value::answer_display(format_args!(";{code}"), out);
    }
    answer_text(b"m", out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::harness::check_reading;

    #[test]
    fn words_and_their_values_are_in_step() {
        assert_eq!(NUMBER_WORDS.len(), NUMBERS.len());
        assert_eq!(VERSION_WORDS.len(), VERSIONS.len());
    }

    #[test]
    fn colours_are_terminal_codes() {
        let rows = [
            ("xx", "\x1b[0m"),
            ("gx", "\x1b[0;32m"),
            ("Rs", "\x1b[1;31;40m"),
            ("xw", "\x1b[0;47m"),
            ("?", "\x1b[0m"),
            ("", "\x1b[0m"),
        ];
        for (letters, expected) in rows {
            let mut out = Vec::new();
            assert_eq!(append_colours(letters.as_bytes(), &mut out), Reading::Text);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{letters}");
        }
    }

    #[test]
    fn constants_are_what_they_say() {
        let rows = [
            ("En", 0, Some("\n")),
            ("Er", 0, Some("\r")),
            ("Es", 0, Some(" ")),
            ("Et", 0, Some("\t")),
            ("version(num)", 0, Some("6.2.0")),
            ("ksr(ver)", 0, Some("6.2.0")),
            ("version(hash)", 0, Some("")),
        ];
        for (written, column, expected) in rows {
            check_reading(
                written,
                column,
                &expected.map_or("NULL".to_string(), |value| format!("[{value}]")),
            );
        }
    }
}
