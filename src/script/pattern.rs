//! Regular expressions as scripts write them: POSIX extended syntax, put into the words of the `regex` crate.
//!
//! What differs, and is translated: a backslash in brackets is itself; `\<`, `\>`, `` \` ``, `\'` are the GNU
//! anchors; a backslash before any other letter is that letter (`\d` is a `d`); a second quantifier applies to the
//! first with its atom (`a+?` is `(a+)?`); `.` matches a line end; everything is bytes. What has no counterpart
//! (back references, collating symbols) is refused.

use regex::bytes::{Regex, RegexBuilder};

/// Whether letters match without regard to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LetterCase {
    /// `=~`
    Ignored,
    /// Labels of a `switch`.
    Kept,
}

/// Upper bound of what one compiled expression may occupy.
const COMPILED_SIZE_MAX: usize = 1 << 20;
/// Upper bound of the length of an expression.
const PATTERN_SIZE_MAX: usize = 16 << 10;

/// What line ends in the text mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Nothing: `^` and `$` stand at the ends of the text, `.` matches every byte.
    Joined,
    /// `^` and `$` stand at every line; `.` and `[^x]` stay inside one. A carriage return belongs to the line end.
    Apart,
    /// `^` and `$` stand at every line, `.` matches every byte.
    Crossed,
}

/// Whether parentheses are to be known after a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// They only hold together.
    Plain,
    /// What they matched can be asked for by number.
    Numbered,
}

/// How an expression is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether case counts.
    pub letter_case: LetterCase,
    /// What line ends mean.
    pub lines: Lines,
    /// Whether parentheses are numbered.
    pub groups: Groups,
}

/// Compiles a POSIX extended regular expression as `=~` and labels of a `switch` mean it.
pub fn compile(pattern: &[u8], letter_case: LetterCase) -> Result<Regex, String> {
    compile_styled(pattern, Style { letter_case, lines: Lines::Joined, groups: Groups::Plain })
}

/// Compiles a POSIX extended regular expression.
pub fn compile_styled(pattern: &[u8], style: Style) -> Result<Regex, String> {
    if pattern.len() > PATTERN_SIZE_MAX {
        return Err(format!("it is longer than {PATTERN_SIZE_MAX} bytes"));
    }
    let translated = Translation::of(pattern, style)?;
    RegexBuilder::new(&translated)
        .unicode(false)
        .dot_matches_new_line(style.lines != Lines::Apart)
        .multi_line(style.lines != Lines::Joined)
        .crlf(style.lines != Lines::Joined)
        .case_insensitive(style.letter_case == LetterCase::Ignored)
        .size_limit(COMPILED_SIZE_MAX)
        .dfa_size_limit(COMPILED_SIZE_MAX)
        .build()
        .map_err(reason)
}

/// The escapes in `pattern` that look like classes of other dialects (`\d`) and mean only their letter here.
pub fn misleading_escape(pattern: &[u8]) -> Option<char> {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'\\'
            && let Some(letter @ (b'd' | b'D' | b'n' | b't' | b'r')) = bytes.next()
        {
            return Some(char::from(*letter));
        }
    }
    None
}

/// The last line of the crate's report names the cause; the lines before it draw the translated pattern.
fn reason(error: regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

struct Translation<'p> {
    style: Style,
    rest: &'p [u8],
    out: String,
    /// Where the last atom begins in `out`, while a quantifier may follow.
    atom: Option<usize>,
    /// The last atom already carries a quantifier.
    is_quantified: bool,
    /// Where open groups begin in `out`.
    groups: Vec<usize>,
}

impl<'p> Translation<'p> {
    fn of(pattern: &'p [u8], style: Style) -> Result<String, String> {
        let mut translation = Translation {
            style,
            rest: pattern,
            out: String::new(),
            atom: None,
            is_quantified: false,
            groups: Vec::new(),
        };
        while let Some(byte) = translation.take() {
            translation.one(byte)?;
        }
        if !translation.groups.is_empty() {
            return Err("a parenthesis is not closed".into());
        }
        Ok(translation.out)
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn one(&mut self, byte: u8) -> Result<(), String> {
        match byte {
            b'(' => self.open_group(),
            b')' => return self.close_group(),
            b'|' => self.outside_atom("|"),
            b'^' => self.outside_atom("^"),
            b'$' => self.outside_atom("$"),
            b'.' => self.begin_atom("."),
            b'*' | b'+' | b'?' => return self.quantify(char::from(byte).encode_utf8(&mut [0; 4])),
            b'{' => return self.interval(),
            b'[' => return self.bracket(),
            b'\\' => return self.escape(),
            _ => self.literal(byte),
        }
        Ok(())
    }

    fn outside_atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.atom = None;
        self.is_quantified = false;
    }

    fn begin_atom(&mut self, text: &str) {
        self.atom = Some(self.out.len());
        self.is_quantified = false;
        self.out.push_str(text);
    }

    fn literal(&mut self, byte: u8) {
        self.begin_atom("");
        push_literal(&mut self.out, byte);
    }

    fn open_group(&mut self) {
        self.groups.push(self.out.len());
        self.outside_atom(match self.style.groups {
            Groups::Plain => "(?:",
            Groups::Numbered => "(",
        });
    }

    fn close_group(&mut self) -> Result<(), String> {
        let start = self.groups.pop().ok_or("a `)` has no `(` before it")?;
        self.out.push(')');
        self.atom = Some(start);
        self.is_quantified = false;
        Ok(())
    }

    fn quantify(&mut self, quantifier: &str) -> Result<(), String> {
        let Some(start) = self.atom else {
            return Err(format!("nothing precedes \"{quantifier}\""));
        };
        if self.is_quantified {
            self.out.insert_str(start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(quantifier);
        self.is_quantified = true;
        Ok(())
    }

    /// `{n}`, `{n,}`, `{,m}`, `{n,m}`; any other brace is itself.
    fn interval(&mut self) -> Result<(), String> {
        let body_end = self.rest.iter().position(|byte| *byte == b'}');
        let body = body_end.map(|end| &self.rest[..end]);
        let is_interval =
            body.is_some_and(|body| body.iter().any(u8::is_ascii_digit) && body.iter().all(is_interval_byte));
        let (true, Some(end), Some(body)) = (is_interval, body_end, body) else {
            self.literal(b'{');
            return Ok(());
        };
        let zero = if body.starts_with(b",") { "0" } else { "" };
        let quantifier = format!("{{{zero}{}}}", String::from_utf8_lossy(body));
        self.rest = &self.rest[end + 1..];
        self.quantify(&quantifier)
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.take() {
            None => return Err("it ends with a backslash".into()),
            Some(b'<') => self.outside_atom(r"\b{start}"),
            Some(b'>') => self.outside_atom(r"\b{end}"),
            Some(b'`') => self.outside_atom(r"\A"),
            Some(b'\'') => self.outside_atom(r"\z"),
            Some(b'b') => self.outside_atom(r"\b"),
            Some(b'B') => self.outside_atom(r"\B"),
            Some(b'w') => self.begin_atom(r"\w"),
            Some(b'W') => self.begin_atom(r"\W"),
            Some(b's') => self.begin_atom(r"\s"),
            Some(b'S') => self.begin_atom(r"\S"),
            Some(digit @ b'1'..=b'9') => {
                return Err(format!("the back reference \"\\{}\" cannot be matched", char::from(digit)));
            }
            Some(byte) => self.literal(byte),
        }
        Ok(())
    }

    fn bracket(&mut self) -> Result<(), String> {
        self.begin_atom("[");
        if self.rest.first() == Some(&b'^') {
            self.take();
            self.out.push('^');
            if self.style.lines == Lines::Apart {
                self.out.push_str(r"\r\n");
            }
        }
        let mut is_first = true;
        loop {
            match self.take() {
                None => return Err("a bracket is not closed".into()),
                Some(b']') if !is_first => break,
                Some(b'[') if matches!(self.rest.first(), Some(b':' | b'.' | b'=')) => self.class()?,
                // A hyphen at either end is itself, elsewhere it makes a range.
                Some(b'-') if is_first || self.rest.first() == Some(&b']') => self.out.push_str(r"\-"),
                Some(b'-') => self.out.push('-'),
                Some(byte) => push_literal(&mut self.out, byte),
            }
            is_first = false;
        }
        self.out.push(']');
        Ok(())
    }

    /// `[:alpha:]` inside brackets.
    fn class(&mut self) -> Result<(), String> {
        const NAMES: [&str; 12] = [
            "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
            "upper", "xdigit",
        ];
        let end = self.rest.windows(2).position(|pair| pair == b":]");
        let name = match (self.rest.first(), end) {
            (Some(b':'), Some(end)) if end > 0 => String::from_utf8_lossy(&self.rest[1..end]).into_owned(),
            _ => return Err("collating symbols are not supported".into()),
        };
        if !NAMES.contains(&name.as_str()) {
            return Err(format!("the class \"[:{name}:]\" does not exist"));
        }
        self.out.push_str(&format!("[:{name}:]"));
        self.rest = &self.rest[name.len() + 3..];
        Ok(())
    }
}

fn is_interval_byte(byte: &u8) -> bool {
    byte.is_ascii_digit() || *byte == b','
}

fn push_literal(out: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || byte == b'_' {
        out.push(char::from(byte));
    } else {
        out.push_str(&format!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        let regex =
            compile(pattern.as_bytes(), LetterCase::Ignored).unwrap_or_else(|why| panic!("{pattern}: {why}"));
        assert_eq!(regex.is_match(text.as_bytes()), expected, "{pattern} on {text:?}");
    }

    #[test]
    fn posix_syntax_keeps_its_meaning() {
        check("^opt", "OPTIONS", true);
        check("^(A|B)+$", "abba", true);
        check("^a+?$", "", true);
        check("^a*+$", "aaa", true);
        check(r"^[\.]$", r"\", true);
        check(r"^[\.]$", ".", true);
        check(r"^[]x]$", "]", true);
        check(r"^[^]x]$", "]", false);
        check(r"^[a-c-]+$", "a-c", true);
        check(r"^[a&&b]$", "&", true);
        check(r"^[[:digit:]]{2,3}$", "123", true);
        check(r"^a{,2}$", "aaa", false);
        check(r"^a{b$", "a{b", true);
        check(r"^\d$", "d", true);
        check(r"^\d$", "5", false);
        check(r"\<bob\>", "sip:bob@x", true);
        check(r"\<bob\>", "bobby", false);
        check("a.b", "a\nb", true);
        check(r"^sip:\+?[0-9]+@", "sip:+491@", true);
        check("", "anything", true);
        check("(|a)b", "b", true);
        check("é", "É", false);
    }

    #[test]
    fn lines_are_apart_when_asked() {
        let find = |pattern: &str, lines: Lines, text: &str| {
            let style = Style { letter_case: LetterCase::Ignored, lines, groups: Groups::Numbered };
            let regex = compile_styled(pattern.as_bytes(), style).unwrap();
            let found = regex.captures(text.as_bytes()).map(|all| all[all.len() - 1].to_vec());
            found.map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let text = "To: x\r\nFrom: y;tag=1\r\n";
        let rows = [
            ("^to: (.*)$", Lines::Apart, Some("x")),
            ("^to: ([^;]+)", Lines::Apart, Some("x")),
            ("^from: ([^;]+)", Lines::Apart, Some("y")),
            ("^from: (.)", Lines::Joined, None),
            ("^to: ([^;]+)", Lines::Crossed, Some("x\r\nFrom: y")),
            ("(y).*", Lines::Joined, Some("y")),
            ("((a)|(y))", Lines::Joined, Some("y")),
        ];
        for (pattern, lines, expected) in rows {
            assert_eq!(find(pattern, lines, text).as_deref(), expected, "{pattern} {lines:?}");
        }
    }

    #[test]
    fn case_counts_when_asked() {
        let regex = compile(b"^OPT", LetterCase::Kept).unwrap();
        assert!(regex.is_match(b"OPTIONS") && !regex.is_match(b"options"));
    }

    #[test]
    fn what_cannot_be_matched_is_refused() {
        let rows: &[(&str, &str)] = &[
            ("(", "a parenthesis is not closed"),
            (")", "a `)` has no `(` before it"),
            ("[a", "a bracket is not closed"),
            ("*a", "nothing precedes \"*\""),
            ("(?i)a", "nothing precedes \"?\""),
            (r"(a)\1", "the back reference \"\\1\" cannot be matched"),
            (r"a\", "it ends with a backslash"),
            ("[[.a.]]", "collating symbols are not supported"),
            ("[[:foo:]]", "the class \"[:foo:]\" does not exist"),
            ("a{3,2}", "invalid repetition count range, the start must be <= the end"),
        ];
        for (pattern, expected) in rows {
            let why = compile(pattern.as_bytes(), LetterCase::Kept).unwrap_err();
            assert_eq!(why, *expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_cannot_grow_without_limit() {
        assert!(compile(b"((a{1000}){1000}){1000}", LetterCase::Kept).is_err());
        assert!(compile(&vec![b'('; 10_000], LetterCase::Kept).is_err());
        assert!(compile([vec![b'('; 8000], vec![b')'; 8000]].concat().as_slice(), LetterCase::Kept).is_err());
    }

    #[test]
    fn escapes_of_other_dialects_are_noticed() {
        assert_eq!(misleading_escape(br"^\d+$"), Some('d'));
        assert_eq!(misleading_escape(br"^\\d\.$"), None);
    }
}
