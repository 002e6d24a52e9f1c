//! When the message was received, and what time it is: `$Ts`, `$Tf`, `$TV(s)`, `$time(year)`, `$timef(%Y)`, …

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::script::catalog::Yields;
use crate::script::host::Reading;

use super::{Key, KeyRule, Subject, Variable};
use crate::routing::context::Context;
use crate::state::value::{answer_display, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("Ts", "seconds since 1970 when the message was received", received_seconds)
        .yields(Yields::Integer),
    Variable::new("TS", "seconds since 1970 now", current_seconds).yields(Yields::Integer),
    Variable::new("Tf", "time of receipt as text: Mon Nov 23 01:25:10 2026", received_text)
        .yields(Yields::Text),
    Variable::new("TF", "time now as text: Mon Nov 23 01:25:10 2026", current_text).yields(Yields::Text),
    Variable::new(
        "TV",
        "time as s (seconds), u (microseconds of the second) of the receipt; sn, un now; Sm, Sn as s.u",
        time_value,
    )
    .key(KeyRule::Word(VALUE_WORDS)),
    Variable::new("time", "part of the local time now", |_, subject, _| part(subject, &local()))
        .key(KeyRule::Word(PART_WORDS))
        .yields(Yields::Integer),
    Variable::new("utime", "part of the universal time now", |_, subject, _| part(subject, &universal()))
        .key(KeyRule::Word(PART_WORDS))
        .yields(Yields::Integer),
    Variable::new("timef", "local time now in a format of strftime", |_, subject, out| {
        formatted(subject.key.text(), &local(), out)
    })
    .key(KeyRule::Text),
    Variable::new("utimef", "universal time now in a format of strftime", |_, subject, out| {
        formatted(subject.key.text(), &universal(), out)
    })
    .key(KeyRule::Text),
];

const VALUE_WORDS: &[&str] = &["s", "u", "sn", "un", "Sn", "Sm"];
const PART_WORDS: &[&str] = &["sec", "min", "hour", "mday", "mon", "year", "wday", "yday", "isdst"];
const TEXT_FORMAT: &str = "%a %b %e %H:%M:%S %Y";
const NS_PER_SECOND: u64 = 1_000_000_000;

/// Looked up once: asking the system for its zone reads files.
static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);

fn received_seconds(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    Reading::Integer((context.envelope().received_at_ns / NS_PER_SECOND) as i64)
}

fn current_seconds(_: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    Reading::Integer((current_ns() / NS_PER_SECOND) as i64)
}

fn received_text(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    formatted(TEXT_FORMAT.as_bytes(), &zoned(context.envelope().received_at_ns, &ZONE), out)
}

fn current_text(_: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    formatted(TEXT_FORMAT.as_bytes(), &local(), out)
}

fn time_value(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let Key::Word(word) = subject.key else { return Reading::Null };
    let word = VALUE_WORDS[word];
    let ns = match word {
        "s" | "u" | "Sm" => context.envelope().received_at_ns,
        _ => current_ns(),
    };
    let (seconds, microseconds) = (ns / NS_PER_SECOND, ns % NS_PER_SECOND / 1000);
    match word {
        "s" | "sn" => Reading::Integer(seconds as i64),
        "u" | "un" => Reading::Integer(microseconds as i64),
        _ => answer_display(format_args!("{seconds}.{microseconds:06}"), out),
    }
}

/// The parts as `struct tm` names them; months, weekdays and days of the year count from 1.
fn part(subject: &Subject<'_>, time: &Zoned) -> Reading {
    let Key::Word(word) = subject.key else { return Reading::Null };
    Reading::Integer(match PART_WORDS[word] {
        "sec" => i64::from(time.second()),
        "min" => i64::from(time.minute()),
        "hour" => i64::from(time.hour()),
        "mday" => i64::from(time.day()),
        "mon" => i64::from(time.month()),
        "year" => i64::from(time.year()),
        "wday" => i64::from(time.weekday().to_sunday_one_offset()),
        "yday" => i64::from(time.day_of_year()),
        _ => i64::from(time.time_zone().to_offset_info(time.timestamp()).dst().is_dst()),
    })
}

/// A format that cannot be followed yields null.
fn formatted(format: &[u8], time: &Zoned, out: &mut Vec<u8>) -> Reading {
    match jiff::fmt::strtime::format(format, time) {
        Ok(text) => answer_text(text.as_bytes(), out),
        Err(_) => Reading::Null,
    }
}

fn local() -> Zoned {
    zoned(current_ns(), &ZONE)
}

fn universal() -> Zoned {
    zoned(current_ns(), &TimeZone::UTC)
}

fn zoned(ns: u64, zone: &TimeZone) -> Zoned {
    // Nanoseconds in 64 bits end in the year 2554, which a timestamp holds.
    let time = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(zone.clone())
}

fn current_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::harness::check_reading;
    use crate::script::host::Position;

    const RECEIVED_NS: u64 = 1_795_397_110_614_143_001;

    #[test]
    fn times_are_written_as_scripts_know_them() {
        let time = zoned(RECEIVED_NS, &TimeZone::UTC);
        let rows = [
            (TEXT_FORMAT, Some("Mon Nov 23 01:25:10 2026")),
            ("%Y", Some("2026")),
            ("%Y-%m-%d %H:%M:%S", Some("2026-11-23 01:25:10")),
            ("", Some("")),
            ("%!", None),
        ];
        for (format, expected) in rows {
            let mut out = Vec::new();
            let reading = formatted(format.as_bytes(), &time, &mut out);
            let text = (reading == Reading::Text).then(|| String::from_utf8(out).unwrap());
            assert_eq!(text.as_deref(), expected, "{format}");
        }
        let first = zoned(1_788_220_800 * NS_PER_SECOND, &TimeZone::UTC);
        let mut out = Vec::new();
        formatted(TEXT_FORMAT.as_bytes(), &first, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "Tue Sep  1 00:00:00 2026");
    }

    #[test]
    fn parts_of_a_time_count_as_scripts_count() {
        let time = zoned(RECEIVED_NS, &TimeZone::UTC);
        let rows = [
            ("sec", 10),
            ("min", 25),
            ("hour", 1),
            ("mday", 23),
            ("mon", 11),
            ("year", 2026),
            ("wday", 2),
            ("yday", 327),
            ("isdst", 0),
        ];
        for (word, expected) in rows {
            let index = PART_WORDS.iter().position(|known| *known == word).unwrap();
            let subject = Subject { key: Key::Word(index), position: Position::Unset };
            assert_eq!(part(&subject, &time), Reading::Integer(expected), "{word}");
        }
    }

    #[test]
    fn the_time_of_receipt_is_that_of_the_message() {
        let rows = [
            ("Ts", 0, Some("1795397110")),
            ("TV(s)", 0, Some("1795397110")),
            ("TV(u)", 0, Some("614143")),
            ("TV(Sm)", 0, Some("1795397110.614143")),
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
