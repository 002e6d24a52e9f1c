//! How serious a line is, and which facility of syslog it belongs to.

/// How serious a line is, as Kamailio numbers it: -5 alert … 0 warning … 3 debug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// -5
    Alert,
    /// -4
    Bug,
    /// -3 and -2
    Critical,
    /// -1
    Error,
    /// 0
    Warning,
    /// 1
    Notice,
    /// 2
    Info,
    /// 3
    Debug,
}

impl Level {
    /// The level of a number; numbers beyond the ends are the ends.
    pub const fn from_number(number: i64) -> Level {
        match number {
            i64::MIN..=-5 => Level::Alert,
            -4 => Level::Bug,
            -3 | -2 => Level::Critical,
            -1 => Level::Error,
            0 => Level::Warning,
            1 => Level::Notice,
            2 => Level::Info,
            3..=i64::MAX => Level::Debug,
        }
    }

    /// The number of the level.
    pub const fn number(self) -> i64 {
        match self {
            Level::Alert => -5,
            Level::Bug => -4,
            Level::Critical => -2,
            Level::Error => -1,
            Level::Warning => 0,
            Level::Notice => 1,
            Level::Info => 2,
            Level::Debug => 3,
        }
    }

    /// The level of a word as scripts write it: `L_INFO`, `L_ERR`, `info`.
    pub fn parse(word: &str) -> Option<Level> {
        let upper = word.trim().to_ascii_uppercase();
        match upper.strip_prefix("L_").unwrap_or(&upper) {
            "ALERT" => Some(Level::Alert),
            "BUG" => Some(Level::Bug),
            "CRIT2" | "CRIT" | "CRITICAL" => Some(Level::Critical),
            "ERR" | "ERROR" => Some(Level::Error),
            "WARN" | "WARNING" => Some(Level::Warning),
            "NOTICE" => Some(Level::Notice),
            "INFO" => Some(Level::Info),
            "DBG" | "DEBUG" => Some(Level::Debug),
            other => other.parse().ok().map(Level::from_number),
        }
    }

    /// The word in a line.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Alert => "ALERT",
            Level::Bug => "BUG",
            Level::Critical => "CRITICAL",
            Level::Error => "ERROR",
            Level::Warning => "WARNING",
            Level::Notice => "NOTICE",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
        }
    }

    /// The severity in syslog.
    pub const fn syslog_severity(self) -> u8 {
        match self {
            Level::Alert => 1,
            Level::Bug | Level::Critical => 2,
            Level::Error => 3,
            Level::Warning => 4,
            Level::Notice => 5,
            Level::Info => 6,
            Level::Debug => 7,
        }
    }

    /// The sequence that colours a line on a terminal.
    pub(super) const fn colour(self) -> &'static [u8] {
        match self {
            Level::Alert | Level::Bug | Level::Critical => b"\x1b[1;31m",
            Level::Error => b"\x1b[31m",
            Level::Warning => b"\x1b[33m",
            Level::Notice => b"\x1b[36m",
            Level::Info => b"\x1b[32m",
            Level::Debug => b"\x1b[2m",
        }
    }
}

/// Facility of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

const FACILITIES: &[(&str, u8)] = &[
    ("KERN", 0),
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];

impl Facility {
    /// `LOG_DAEMON`
    pub const DAEMON: Facility = Facility(3);

    /// The facility of a word: `LOG_LOCAL0`.
    pub fn parse(word: &str) -> Option<Facility> {
        let upper = word.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("LOG_").unwrap_or(&upper);
        FACILITIES.iter().find(|(name, _)| *name == bare).map(|(_, number)| Facility(*number))
    }

    /// Every name, without `LOG_`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FACILITIES.iter().map(|(name, _)| *name)
    }

    /// The name of the facility: `LOG_DAEMON`.
    pub fn name(self) -> String {
        let row = FACILITIES.iter().find(|(_, number)| *number == self.0);
        format!("LOG_{}", row.map_or("", |(name, _)| *name))
    }

    /// The number of the facility itself.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number that stands before a syslog line.
    pub const fn priority(self, level: Level) -> u8 {
        self.0 * 8 + level.syslog_severity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_from_numbers_and_words() {
        for number in [-5, -4, -2, -1, 0, 1, 2, 3] {
            assert_eq!(Level::from_number(number).number(), number);
        }
        assert_eq!((Level::from_number(-9), Level::from_number(9)), (Level::Alert, Level::Debug));
        let rows = [
            ("L_INFO", Some(Level::Info)),
            ("l_err", Some(Level::Error)),
            ("warn", Some(Level::Warning)),
            ("L_DBG", Some(Level::Debug)),
            ("3", Some(Level::Debug)),
            ("-1", Some(Level::Error)),
            ("L_LOUD", None),
            ("", None),
        ];
        for (word, expected) in rows {
            assert_eq!(Level::parse(word), expected, "{word}");
        }
    }

    #[test]
    fn a_serious_level_is_smaller() {
        assert!(Level::Alert < Level::Error && Level::Error < Level::Warning && Level::Info < Level::Debug);
    }

    #[test]
    fn facilities_make_priorities() {
        let rows =
            [("LOG_DAEMON", Some(30)), ("LOG_LOCAL0", Some(134)), ("local7", Some(190)), ("LOG_X", None)];
        for (word, expected) in rows {
            assert_eq!(
                Facility::parse(word).map(|facility| facility.priority(Level::Info)),
                expected,
                "{word}"
            );
        }
    }
}
