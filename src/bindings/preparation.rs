//! What literal arguments become while the script is checked: flag numbers, groups, regular expressions.

use regex::bytes::Regex;

use crate::script::diagnostic::Diagnostic;
pub use crate::script::pattern::{Groups, LetterCase, Lines, Style, compile_styled};

use crate::config::settings::Settings;

/// Handed to the `prepare` of a function row.
pub struct Preparation<'a> {
    /// What the top level decided.
    pub settings: &'a Settings,
    /// Regular expressions prepared so far; `Context::regex` gives them back.
    pub regexes: &'a mut Vec<Regex>,
}

impl Preparation<'_> {
    /// Number of a flag: 0…31, or one named by `flags name:n`.
    pub fn flag(&self, literal: &[u8]) -> Result<u32, Diagnostic> {
        let text = String::from_utf8_lossy(literal);
        match text.trim().parse::<u32>() {
            Ok(number @ 0..=31) => Ok(number),
            Ok(number) => {
                Err(Diagnostic::mistake(format!("flag {number} is out of range"))
                    .with_help("flags are 0 to 31"))
            }
            Err(_) => self.named_flag(text.trim()),
        }
    }

    /// Index of a group of workers.
    pub fn group(&self, literal: &[u8]) -> Result<u32, Diagnostic> {
        let name = String::from_utf8_lossy(literal);
        match self.settings.groups.iter().position(|group| group.name == name) {
            Some(index) => Ok(index as u32),
            None => Err(crate::routing::delegation::unknown_group(&name, &self.settings.groups)),
        }
    }

    /// A regular expression as `=~` takes it: POSIX extended, without regard to case, over bytes.
    pub fn regex(&mut self, literal: &[u8]) -> Result<u32, Diagnostic> {
        let pattern = String::from_utf8_lossy(literal);
        let regex = build_regex(&pattern).map_err(|reason| {
            Diagnostic::mistake(invalid_regex(literal, &reason)).with_help("extended syntax, as in egrep")
        })?;
        self.regexes.push(regex);
        Ok(self.regexes.len() as u32 - 1)
    }

    fn named_flag(&self, name: &str) -> Result<u32, Diagnostic> {
        let flags = &self.settings.named_flags;
        match flags.iter().find(|(known, _)| known == name) {
            Some((_, number)) => Ok(*number),
            None => {
                let names = match flags.is_empty() {
                    true => "a name that `flags` at top level defines".to_string(),
                    false => crate::script::suggest::listed(flags.iter().map(|(name, _)| name.as_str())),
                };
                let help = format!("a number from 0 to 31, or {names}");
                Err(Diagnostic::mistake(format!("unknown flag \"{name}\"")).with_help(help))
            }
        }
    }
}

/// Compiles a regular expression the way scripts mean it; the reason of a refusal is one line.
fn build_regex(pattern: &str) -> Result<Regex, String> {
    crate::script::pattern::compile(pattern.as_bytes(), LetterCase::Ignored)
}

/// Compiles a regular expression over the lines of a message, as Kamailio's text functions mean it: any case.
pub fn build_line_regex(pattern: &[u8]) -> Result<Regex, String> {
    let style = Style { letter_case: LetterCase::Ignored, lines: Lines::Apart, groups: Groups::Plain };
    compile_styled(pattern, style).map_err(|reason| invalid_regex(pattern, &reason))
}

/// Tells which expression is invalid, and why.
pub fn invalid_regex(pattern: &[u8], reason: &str) -> String {
    format!("invalid regular expression \"{}\": {reason}", String::from_utf8_lossy(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::GroupSetting;

    fn check<T: std::fmt::Debug + PartialEq>(
        prepare: impl FnOnce(&mut Preparation<'_>) -> Result<T, Diagnostic>,
        expected: Result<T, &str>,
    ) {
        let group = GroupSetting::new("calls", 1, 8);
        let settings = Settings {
            groups: vec![group],
            named_flags: vec![("acc".to_string(), 4)],
            ..Settings::default()
        };
        let mut regexes = Vec::new();
        let prepared = prepare(&mut Preparation { settings: &settings, regexes: &mut regexes });
        assert_eq!(prepared.map_err(|mistake| mistake.message), expected.map_err(str::to_string));
    }

    #[test]
    fn flags_are_numbers_or_names() {
        check(|preparation| preparation.flag(b"0"), Ok(0));
        check(|preparation| preparation.flag(b" 31 "), Ok(31));
        check(|preparation| preparation.flag(b"acc"), Ok(4));
        check(|preparation| preparation.flag(b"32"), Err("flag 32 is out of range"));
        check(|preparation| preparation.flag(b"-1"), Err("unknown flag \"-1\""));
        check(|preparation| preparation.flag(b"nat"), Err("unknown flag \"nat\""));
    }

    #[test]
    fn groups_are_known_names() {
        check(|preparation| preparation.group(b"calls"), Ok(0));
        check(|preparation| preparation.group(b"Calls"), Err("unknown worker group \"Calls\""));
        check(|preparation| preparation.group(b""), Err("unknown worker group \"\""));
    }

    #[test]
    fn expressions_are_over_bytes_without_regard_to_case() {
        let regex = build_regex("^[a-c]+x$").unwrap();
        assert!(regex.is_match(b"ABCX") && !regex.is_match(b"dx"));
        assert!(build_regex(".").unwrap().is_match(b"\xff"));
        assert!(build_regex("(").is_err());
        assert!(build_regex("((a{1000}){1000}){1000}").is_err(), "the compiled size has a limit");
    }
}
