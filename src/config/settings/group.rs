//! `async_workers_group="name=reg;workers=4;queue=8192;deadline_ms=5000;full=reply"`.
//!
//! [`KEYS`] says what the keys are; `sworkerd -x groups` prints it.
//!
//! Names of keys are read without regard to case. Unknown keys are kept out with a warning, so that a file written
//! for another server, or for a later version of this one, stays loadable.
//!
//! **Invariant:** everything is read, also after an error: all errors of a string are reported at once.

use std::ops::Range;

use super::{FullPolicy, GroupSetting, Order, PROCESSES_MAX, QUEUE_DEFAULT};
use crate::script::diagnostic::{Diagnostic, Severity};
use crate::script::suggest::{listed, suggestion};

/// Most records a ring may hold.
pub const QUEUE_MAX: u32 = 1 << 20;
const GROUP_NAME_SIZE_MAX: usize = 63;
const ATTEMPTS_MAX: u32 = 100;
/// The shortest deadline: below it a worker would be ended for waiting on a busy machine.
const DEADLINE_MS_MIN: u32 = 20;
/// A key: its name, its values with the default first, and what it does.
pub type KeyRow = (&'static str, &'static str, &'static str);

/// The keys.
pub const KEYS: [KeyRow; 13] = [
    ("name", "text", "name of the group, as used in sworker_task()"),
    ("workers", "1 to 1024", "number of workers"),
    (
        "max_workers",
        "as workers, to 1024",
        "maximum number of workers, started when all are busy and messages wait",
    ),
    ("queue", "1024, a power of two", "maximum number of waiting messages, for each receiver"),
    (
        "deadline_ms",
        "30000, 0 for never",
        "a worker that is busy longer with one message is killed and replaced",
    ),
    ("attempts", "2, 1 to 100", "deliveries of a message whose workers die; then it is quarantined"),
    (
        "full",
        "return, drop_oldest, reply",
        "a full queue: the script decides; the oldest makes room; the receiver answers 503",
    ),
    ("max_age_ms", "0 for no limit", "a message that waited longer is discarded when a worker takes it"),
    (
        "order",
        "none, callid, a variable such as fu",
        "messages of one key are processed one after another, as they were handed over",
    ),
    (
        "priority",
        "off, on",
        "replies, ACK, BYE, CANCEL and requests inside a dialog first; not together with order",
    ),
    (
        "oc",
        "off, on",
        "overload control (RFC 7339): neighbours with oc are asked to send less when the queue fills",
    ),
    ("nonblock", "number", "accepted without effect: a full queue is always answered at once"),
    ("usleep", "number", "accepted without effect: workers are woken, they do not poll"),
];

fn names_of_keys() -> impl Iterator<Item = &'static str> + Clone {
    KEYS.iter().map(|(name, ..)| *name)
}

/// A group as read, with what its author should know.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupText {
    /// The group, as far as it could be read.
    pub group: GroupSetting,
    /// What is to be said about parts of the text, mistakes among it.
    pub findings: Vec<(Range<usize>, Diagnostic)>,
}

/// Reads the string of a group; the first mistake, where there is one.
pub fn parse_group(text: &str) -> Result<GroupSetting, String> {
    let GroupText { group, findings } = read_group(text);
    match findings.into_iter().find(|(_, finding)| finding.is_error()) {
        Some((_, mistake)) => Err(mistake.message),
        None if group.name.is_empty() => Err("a group needs name=".to_string()),
        None => Ok(group),
    }
}

/// Reads the string of a group as far as it can be read.
pub fn read_group(text: &str) -> GroupText {
    let mut reader = Reader { text, group: GroupSetting::new("", 1, QUEUE_DEFAULT), findings: Vec::new() };
    let parts: Vec<Part> = parts(text).collect();
    for (index, part) in parts.iter().enumerate() {
        let is_repeated = parts[..index].iter().any(|known| known.key.eq_ignore_ascii_case(part.key));
        reader.read(part, is_repeated);
    }
    reader.compare(&parts);
    GroupText { group: reader.group, findings: reader.findings }
}

/// Which bytes of the string of a group are the value of a key, where it is given.
pub fn value_of(text: &str, key: &str) -> Option<Range<usize>> {
    let part = parts(text).filter(|part| part.key.eq_ignore_ascii_case(key)).last()?;
    Some(place(text, part.value?))
}

/// One `key=value`.
struct Part<'t> {
    whole: &'t str,
    key: &'t str,
    value: Option<&'t str>,
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(|whole| match whole.split_once('=') {
        Some((key, value)) => Part { whole, key: key.trim(), value: Some(value.trim()) },
        None => Part { whole, key: whole, value: None },
    })
}

/// Where a piece of a text stands in it.
fn place(text: &str, piece: &str) -> Range<usize> {
    let start = piece.as_ptr() as usize - text.as_ptr() as usize;
    start..start + piece.len()
}

struct Reader<'t> {
    text: &'t str,
    group: GroupSetting,
    findings: Vec<(Range<usize>, Diagnostic)>,
}

impl Reader<'_> {
    fn say(&mut self, severity: Severity, piece: &str, message: String, help: Option<String>) {
        let diagnostic = Diagnostic { severity, help, ..Diagnostic::mistake(message) };
        self.findings.push((place(self.text, piece), diagnostic));
    }

    fn read(&mut self, part: &Part<'_>, is_repeated: bool) {
        let Some(value) = part.value else {
            let (message, help) = match is_key(part.key) {
                true => (format!("\"{}\" has no value", part.key), format!("write {}=…", part.key)),
                false => {
                    (format!("\"{}\" is not key=value", part.key), "write name=calls;workers=4".to_string())
                }
            };
            return self.say(Severity::Error, part.whole, message, Some(help));
        };
        if !is_key(part.key) {
            let message = format!("unknown key \"{}\" in a worker group has no effect", part.key);
            let help = suggestion(part.key, names_of_keys())
                .unwrap_or_else(|| format!("keys are {}", listed(names_of_keys())));
            return self.say(Severity::Warning, part.key, message, Some(help));
        }
        if is_repeated {
            let message = format!("{} is given twice in this group: the last one is used", part.key);
            self.say(Severity::Warning, part.key, message, None);
        }
        match set(&mut self.group, part.key, value) {
            Ok(None) => {}
            Ok(Some(remark)) => self.say(Severity::Notice, value, remark, None),
            Err(Diagnostic { message, help, .. }) => {
                let piece = if value.is_empty() { part.whole } else { value };
                self.say(Severity::Error, piece, message, help);
            }
        }
    }

    /// What holds between keys.
    fn compare(&mut self, parts: &[Part<'_>]) {
        let written = |key: &str| {
            parts.iter().rev().find(|part| part.key.eq_ignore_ascii_case(key)).and_then(|part| part.value)
        };
        let GroupSetting { workers, workers_max, .. } = self.group;
        if let Some(value) = written("max_workers").filter(|_| workers_max < workers) {
            let message =
                format!("max_workers={workers_max} is less than workers={workers}, which is used instead");
            self.say(Severity::Notice, value, message, None);
        }
        self.group.workers_max = workers_max.max(workers);
        if self.group.has_priority && self.group.order != Order::None {
            self.group.has_priority = false;
            let message =
                "priority=on has no effect together with order=, which keeps messages in order".to_string();
            self.say(Severity::Warning, written("priority").unwrap_or(self.text), message, None);
        }
    }
}

fn is_key(key: &str) -> bool {
    names_of_keys().any(|known| known.eq_ignore_ascii_case(key))
}

/// Sets a key; what is worth knowing about what became of the value.
fn set(group: &mut GroupSetting, key: &str, value: &str) -> Result<Option<String>, Diagnostic> {
    match key.to_ascii_lowercase().as_str() {
        "name" => group.name = check_name(value)?,
        "workers" => group.workers = number("workers", value, 1, PROCESSES_MAX)?,
        "max_workers" => group.workers_max = number("max_workers", value, 1, PROCESSES_MAX)?,
        "queue" => return queue_size(group, value),
        "deadline_ms" => return deadline(group, value),
        "attempts" => group.attempts = number("attempts", value, 1, ATTEMPTS_MAX)?,
        "full" => group.full = one_of("full", value, FULL_POLICIES)?,
        "max_age_ms" => group.max_age_ms = number("max_age_ms", value, 0, u32::MAX)?,
        "order" => group.order = order(value)?,
        "priority" => group.has_priority = one_of("priority", value, ON_OR_OFF)?,
        "oc" => group.tells_overload = one_of("oc", value, ON_OR_OFF)?,
        // A full queue is always answered at once here, so all values mean the same.
        "nonblock" => drop(number("nonblock", value, 0, u32::MAX)?),
        "usleep" if number("usleep", value, 0, u32::MAX)? > 0 => {
            return Ok(Some("usleep has no effect: workers are woken, they do not poll".to_string()));
        }
        _ => {}
    }
    Ok(None)
}

fn deadline(group: &mut GroupSetting, value: &str) -> Result<Option<String>, Diagnostic> {
    let asked = number("deadline_ms", value, 0, u32::MAX)?;
    group.deadline_ms = if asked == 0 { 0 } else { asked.max(DEADLINE_MS_MIN) };
    let is_raised = group.deadline_ms != asked;
    Ok(is_raised.then(|| format!("deadline_ms={asked} is raised to {DEADLINE_MS_MIN}, the minimum")))
}

const FULL_POLICIES: &[(&str, FullPolicy)] =
    &[("return", FullPolicy::Return), ("drop_oldest", FullPolicy::DropOldest), ("reply", FullPolicy::Reply)];

/// Names first, as they are listed.
const ON_OR_OFF: &[(&str, bool)] =
    &[("on", true), ("off", false), ("yes", true), ("no", false), ("1", true), ("0", false)];

fn one_of<T: Copy>(key: &str, value: &str, rows: &[(&str, T)]) -> Result<T, Diagnostic> {
    let lower = value.to_ascii_lowercase();
    let row = rows.iter().find(|(name, _)| *name == lower);
    row.map(|(_, meant)| *meant).ok_or_else(|| {
        let names = || rows.iter().map(|(name, _)| *name).filter(|name| name.len() > 1);
        Diagnostic {
            help: suggestion(&lower, names()),
            ..Diagnostic::mistake(format!("{key} takes {}, not \"{value}\"", listed(names())))
        }
    })
}

fn order(value: &str) -> Result<Order, Diagnostic> {
    match value.to_ascii_lowercase().as_str() {
        "" => Err("order takes none, callid or a variable such as fu".to_string().into()),
        "none" => Ok(Order::None),
        "callid" => Ok(Order::CallId),
        _ if value.starts_with('$') => Ok(Order::Variable(value.to_string())),
        _ => Ok(Order::Variable(format!("${value}"))),
    }
}

fn check_name(name: &str) -> Result<String, String> {
    match name.len() {
        0 => Err("the name of a group cannot be empty".to_string()),
        1..=GROUP_NAME_SIZE_MAX => Ok(name.to_string()),
        _ => Err(format!("the name of a group has at most {GROUP_NAME_SIZE_MAX} bytes")),
    }
}

fn number(key: &str, value: &str, least: u32, most: u32) -> Result<u32, String> {
    match value.parse::<u32>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{key} takes a number from {least} to {most}, not \"{value}\"")),
    }
}

fn queue_size(group: &mut GroupSetting, value: &str) -> Result<Option<String>, Diagnostic> {
    let asked = number("queue", value, 2, QUEUE_MAX)?;
    group.queue = asked.next_power_of_two();
    let is_rounded = group.queue != asked;
    Ok(is_rounded.then(|| format!("queue={asked} is rounded up to {}, the next power of two", group.queue)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, u32, u32, usize), &str>) {
        match (parse_group(text), expected) {
            (Ok(group), Ok((name, workers, queue, finding_count))) => {
                assert_eq!(group, GroupSetting::new(name, workers, queue), "{text}");
                let findings = read_group(text).findings;
                assert_eq!(findings.len(), finding_count, "{text}: {findings:?}");
            }
            (Err(reason), Err(expected)) => assert_eq!(reason, expected, "{text}"),
            (read, expected) => panic!("{text}: {read:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn groups_are_read() {
        check("name=reg;workers=4;queue=8192;nonblock=0;usleep=0", Ok(("reg", 4, 8192, 0)));
        check("name=reg;workers=4;", Ok(("reg", 4, QUEUE_DEFAULT, 0)));
        check(" NAME = Reg ; Workers = 2 ; NonBlock=1 ", Ok(("Reg", 2, QUEUE_DEFAULT, 0)));
        check("name=reg", Ok(("reg", 1, QUEUE_DEFAULT, 0)));
        check("name=reg;queue=1000", Ok(("reg", 1, 1024, 1)));
        check("name=reg;shape=round;ques=5", Ok(("reg", 1, QUEUE_DEFAULT, 2)));
        check("name=reg;usleep=100", Ok(("reg", 1, QUEUE_DEFAULT, 1)));
        check(
            "name=reg;deadline_ms=30000;attempts=2;full=return;max_age_ms=0;order=none;priority=off;oc=off",
            Ok(("reg", 1, QUEUE_DEFAULT, 0)),
        );
    }

    #[test]
    fn what_a_group_does_in_bad_times_is_read() {
        let check = |text: &str, change: fn(&mut GroupSetting)| {
            let mut expected = GroupSetting::new("reg", 1, QUEUE_DEFAULT);
            change(&mut expected);
            assert_eq!(parse_group(&format!("name=reg;{text}")), Ok(expected), "{text}");
        };
        check("deadline_ms=500", |group| group.deadline_ms = 500);
        check("deadline_ms=0", |group| group.deadline_ms = 0);
        check("deadline_ms=1", |group| group.deadline_ms = DEADLINE_MS_MIN);
        check("attempts=1", |group| group.attempts = 1);
        check("full=reply", |group| group.full = FullPolicy::Reply);
        check("full=Drop_Oldest", |group| group.full = FullPolicy::DropOldest);
        check("max_age_ms=4000", |group| group.max_age_ms = 4_000);
        check("order=callid", |group| group.order = Order::CallId);
        check("order=fu", |group| group.order = Order::Variable("$fu".to_string()));
        check("order=$hdr(X)", |group| group.order = Order::Variable("$hdr(X)".to_string()));
        check("priority=on", |group| group.has_priority = true);
        check("oc=on", |group| group.tells_overload = true);
    }

    #[test]
    fn messages_in_line_cannot_overtake() {
        let read = read_group("name=reg;order=callid;priority=on");
        assert!(!read.group.has_priority);
        assert_eq!(read.findings.len(), 1, "{:?}", read.findings);
    }

    #[test]
    fn bad_groups_are_refused() {
        check("", Err("a group needs name="));
        check("workers=4", Err("a group needs name="));
        check("name=;workers=4", Err("the name of a group cannot be empty"));
        check("name=reg;workers=0", Err("workers takes a number from 1 to 1024, not \"0\""));
        check("name=reg;workers=-1", Err("workers takes a number from 1 to 1024, not \"-1\""));
        check("name=reg;workers=many", Err("workers takes a number from 1 to 1024, not \"many\""));
        check("name=reg;queue=1", Err("queue takes a number from 2 to 1048576, not \"1\""));
        check(
            "name=reg;queue=99999999999",
            Err("queue takes a number from 2 to 1048576, not \"99999999999\""),
        );
        check("name=reg;workers", Err("\"workers\" has no value"));
        check("name=reg;worker", Err("\"worker\" is not key=value"));
        check("name=reg;deadline_ms=x", Err("deadline_ms takes a number from 0 to 4294967295, not \"x\""));
        check("name=reg;attempts=0", Err("attempts takes a number from 1 to 100, not \"0\""));
        check("name=reg;full=block", Err("full takes \"return\", \"drop_oldest\", \"reply\", not \"block\""));
        check("name=reg;order=", Err("order takes none, callid or a variable such as fu"));
        check("name=reg;priority=high", Err("priority takes \"on\", \"off\", \"yes\", \"no\", not \"high\""));
        check("name=reg;oc=loss", Err("oc takes \"on\", \"off\", \"yes\", \"no\", not \"loss\""));
        check(&format!("name={}", "n".repeat(64)), Err("the name of a group has at most 63 bytes"));
    }

    #[test]
    fn all_that_is_to_be_said_is_said_where_it_is() {
        use Severity::{Error, Notice, Warning};
        /// Severity, piece of the text, part of the message.
        type Said = (Severity, &'static str, &'static str);
        let rows: &[(&str, &[Said])] = &[
            ("name=reg; workers=0 ;queue=8", &[(Error, "0", "workers takes a number")]),
            ("name=reg;workers", &[(Error, "workers", "has no value")]),
            ("name=;workers=4", &[(Error, "name=", "cannot be empty")]),
            ("workers=x;full=replay", &[(Error, "x", "workers takes"), (Error, "replay", "full takes")]),
            ("name=reg;queues=8;order=callid", &[(Warning, "queues", "unknown key \"queues\"")]),
            ("name=reg;workers=1;WORKERS=2", &[(Warning, "WORKERS", "given twice")]),
            ("name=reg;queue=1000", &[(Notice, "1000", "is rounded up to 1024")]),
            ("name=reg;deadline_ms=5", &[(Notice, "5", "is raised to 20")]),
            ("name=reg;max_workers=2;workers=4", &[(Notice, "2", "less than workers=4")]),
            ("name=reg;workers=4;max_workers=2", &[(Notice, "2", "less than workers=4")]),
            ("name=reg;usleep=100", &[(Notice, "100", "no effect")]),
            ("name=reg;order=callid;priority=on", &[(Warning, "on", "no effect together with order=")]),
        ];
        for (text, expected) in rows {
            let findings = read_group(text).findings;
            assert_eq!(findings.len(), expected.len(), "{text}: {findings:?}");
            for ((part, finding), (severity, piece, message)) in findings.iter().zip(*expected) {
                assert_eq!((finding.severity, &text[part.clone()]), (*severity, *piece), "{text}");
                assert!(finding.message.contains(message), "{text}: {}", finding.message);
            }
        }
    }

    #[test]
    fn workers_may_grow_in_any_order_of_the_keys() {
        let rows =
            [("workers=2", 2, 2), ("workers=2;max_workers=6", 2, 6), ("max_workers=6;workers=2", 2, 6)];
        for (text, workers, workers_max) in rows {
            let group = parse_group(&format!("name=reg;{text}")).unwrap();
            assert_eq!((group.workers, group.workers_max), (workers, workers_max), "{text}");
        }
    }

    #[test]
    fn values_are_found_again() {
        let rows = [
            ("name=a;order = fu ", "order", Some("fu")),
            ("name=a", "order", None),
            ("order", "order", None),
        ];
        for (text, key, expected) in rows {
            assert_eq!(value_of(text, key).map(|range| &text[range]), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_what_is_near() {
        let findings = read_group("name=reg;worker=4;policy=x").findings;
        let help: Vec<&str> = findings.iter().filter_map(|(_, finding)| finding.help.as_deref()).collect();
        assert_eq!(help[0], "did you mean \"workers\"?");
        assert!(help[1].starts_with("keys are \"name\", \"workers\", \"max_workers\""));
    }
}
