//! `async_workers_group="name=reg;workers=4;queue=8192;deadline_ms=5000;full=reply"`.
//!
//! | key | values | |
//! |---|---|---|
//! | `name`, `workers`, `queue` | text; numbers | |
//! | `max_workers` | 1 to 1024, as `workers` | so many run when all are busy and messages wait |
//! | `deadline_ms` | 0 (off) or milliseconds, 30000 | a worker busy longer with one message is ended |
//! | `attempts` | 1 to 100, 2 | deliveries of a message that ends its workers, before it is set aside |
//! | `full` | `return`, `drop_oldest`, `reply` | what a full queue does |
//! | `max_age_ms` | 0 (off) or milliseconds, 0 | what waited longer is not processed |
//! | `order` | `none`, `callid`, a variable such as `fu` | which messages are processed one after another |
//! | `priority` | `off`, `on` | what belongs to something begun goes first |
//! | `oc` | `off`, `on` | neighbours that ask are told how much to keep back (RFC 7339) |
//! | `nonblock`, `usleep` | numbers | known elsewhere, without effect |
//!
//! Names of keys are read without regard to case. Unknown keys are kept out with a remark, so that a file written
//! for another server, or for a later version of this one, stays loadable.

use std::ops::Range;

use super::{FullPolicy, GroupSetting, Order, PROCESSES_MAX, QUEUE_DEFAULT};
use crate::core::nearest::{listed, suggestion};

/// Most records a ring may hold.
pub const QUEUE_MAX: u32 = 1 << 20;
const GROUP_NAME_SIZE_MAX: usize = 63;
const ATTEMPTS_MAX: u32 = 100;
/// The shortest deadline: below it a worker would be ended for waiting on a busy machine.
const DEADLINE_MS_MIN: u32 = 20;
const KEYS: [&str; 13] = [
    "name",
    "workers",
    "max_workers",
    "queue",
    "deadline_ms",
    "attempts",
    "full",
    "max_age_ms",
    "order",
    "priority",
    "oc",
    "nonblock",
    "usleep",
];

/// A group as read, with what its author should know.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupText {
    /// The group.
    pub group: GroupSetting,
    /// Remarks, lower case, no full stop.
    pub remarks: Vec<String>,
}

/// Reads the string of a group.
pub fn parse_group(text: &str) -> Result<GroupText, String> {
    let mut group = GroupSetting::new("", 1, QUEUE_DEFAULT);
    let mut remarks = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("\"{part}\" is not key=value"))?;
        set(&mut group, key.trim(), value.trim(), &mut remarks)?;
    }
    if group.name.is_empty() {
        return Err("a group needs name=".to_string());
    }
    if group.has_priority && group.order != Order::None {
        group.has_priority = false;
        remarks.push("priority=on has no effect beside order=, which keeps messages in line".to_string());
    }
    group.workers_max = group.workers_max.max(group.workers);
    Ok(GroupText { group, remarks })
}

fn set(group: &mut GroupSetting, key: &str, value: &str, remarks: &mut Vec<String>) -> Result<(), String> {
    match key.to_ascii_lowercase().as_str() {
        "name" => group.name = check_name(value)?,
        "workers" => group.workers = number("workers", value, 1, PROCESSES_MAX)?,
        "max_workers" => group.workers_max = number("max_workers", value, 1, PROCESSES_MAX)?,
        "queue" => group.queue = queue_size(value, remarks)?,
        "deadline_ms" => group.deadline_ms = deadline(value)?,
        "attempts" => group.attempts = number("attempts", value, 1, ATTEMPTS_MAX)?,
        "full" => group.full = full_policy(value)?,
        "max_age_ms" => group.max_age_ms = number("max_age_ms", value, 0, u32::MAX)?,
        "order" => group.order = order(value)?,
        "priority" => group.has_priority = is_on("priority", value)?,
        "oc" => group.tells_overload = is_on("oc", value)?,
        // A full queue is always answered at once here, so both values mean the same.
        "nonblock" => drop(number("nonblock", value, 0, 1)?),
        "usleep" => {
            if number("usleep", value, 0, u32::MAX)? > 0 {
                remarks.push("usleep has no effect: workers are woken, they do not poll".to_string());
            }
        }
        _ => remarks.push(unknown_key(key)),
    }
    Ok(())
}

fn deadline(value: &str) -> Result<u32, String> {
    match number("deadline_ms", value, 0, u32::MAX)? {
        0 => Ok(0),
        milliseconds => Ok(milliseconds.max(DEADLINE_MS_MIN)),
    }
}

fn full_policy(value: &str) -> Result<FullPolicy, String> {
    match value.to_ascii_lowercase().as_str() {
        "return" => Ok(FullPolicy::Return),
        "drop_oldest" => Ok(FullPolicy::DropOldest),
        "reply" => Ok(FullPolicy::Reply),
        _ => Err(format!("full takes return, drop_oldest or reply, not \"{value}\"")),
    }
}

fn order(value: &str) -> Result<Order, String> {
    match value.to_ascii_lowercase().as_str() {
        "" => Err("order takes none, callid or a variable such as fu".to_string()),
        "none" => Ok(Order::None),
        "callid" => Ok(Order::CallId),
        _ if value.starts_with('$') => Ok(Order::Variable(value.to_string())),
        _ => Ok(Order::Variable(format!("${value}"))),
    }
}

fn is_on(key: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "yes" | "1" => Ok(true),
        "off" | "no" | "0" => Ok(false),
        _ => Err(format!("{key} takes on or off, not \"{value}\"")),
    }
}

/// Which bytes of the string of a group are its mistake: the first part that is wrong by itself.
pub fn faulty_part(text: &str) -> Option<Range<usize>> {
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let mut name = None;
    for part in parts {
        let range = offset(part)..offset(part) + part.len();
        if parse_group(&format!("name=x;{part}")).is_err() {
            return Some(range);
        }
        if part.to_ascii_lowercase().starts_with("name") {
            name = Some(range);
        }
    }
    // Each part is right, so it is the name: given twice, or missing.
    name
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

fn queue_size(value: &str, remarks: &mut Vec<String>) -> Result<u32, String> {
    let asked = number("queue", value, 2, QUEUE_MAX)?;
    let size = asked.next_power_of_two();
    if size != asked {
        remarks.push(format!("queue={asked} becomes {size}, the next power of two"));
    }
    Ok(size)
}

fn unknown_key(key: &str) -> String {
    match suggestion(key, KEYS) {
        Some(near) => format!("unknown key \"{key}\" in a worker group has no effect; {near}"),
        None => format!("unknown key \"{key}\" in a worker group has no effect; keys are {}", listed(KEYS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, u32, u32, usize), &str>) {
        match (parse_group(text), expected) {
            (Ok(read), Ok((name, workers, queue, remark_count))) => {
                assert_eq!(read.group, GroupSetting::new(name, workers, queue), "{text}");
                assert_eq!(read.remarks.len(), remark_count, "{text}: {:?}", read.remarks);
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
            let read = parse_group(&format!("name=reg;{text}")).unwrap();
            assert_eq!((read.group, read.remarks), (expected, vec![]), "{text}");
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
        let read = parse_group("name=reg;order=callid;priority=on").unwrap();
        assert!(!read.group.has_priority);
        assert_eq!(read.remarks.len(), 1, "{:?}", read.remarks);
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
        check("name=reg;workers", Err("\"workers\" is not key=value"));
        check("name=reg;deadline_ms=x", Err("deadline_ms takes a number from 0 to 4294967295, not \"x\""));
        check("name=reg;attempts=0", Err("attempts takes a number from 1 to 100, not \"0\""));
        check("name=reg;full=block", Err("full takes return, drop_oldest or reply, not \"block\""));
        check("name=reg;order=", Err("order takes none, callid or a variable such as fu"));
        check("name=reg;priority=high", Err("priority takes on or off, not \"high\""));
        check("name=reg;oc=loss", Err("oc takes on or off, not \"loss\""));
        check(&format!("name={}", "n".repeat(64)), Err("the name of a group has at most 63 bytes"));
    }

    #[test]
    fn the_part_at_fault_is_found() {
        let rows = [
            ("name=reg; workers=0 ;queue=8", Some("workers=0")),
            ("name=;workers=4", Some("name=")),
            ("name=reg;workers=1", Some("name=reg")),
            ("name=reg;workers", Some("workers")),
            ("workers=1", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(faulty_part(text).map(|range| &text[range]), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_what_is_near() {
        let remarks = parse_group("name=reg;worker=4;policy=x").unwrap().remarks;
        assert!(remarks[0].contains("\"worker\"") && remarks[0].contains("did you mean \"workers\"?"));
        assert!(remarks[1].contains("keys are \"name\", \"workers\", \"max_workers\""));
    }
}
