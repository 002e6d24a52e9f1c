//! `async_workers_group="name=reg;workers=4;queue=8192;nonblock=0;usleep=0"`.
//!
//! Names of keys are read without regard to case. Unknown keys are kept out with a remark, so that a file written
//! for another server, or for a later version of this one, stays loadable.

use super::{GroupSetting, PROCESSES_MAX, QUEUE_DEFAULT};
use crate::core::nearest::{listed, suggestion};

/// Most records a ring may hold.
pub const QUEUE_MAX: u32 = 1 << 20;
const GROUP_NAME_SIZE_MAX: usize = 63;
const KEYS: [&str; 5] = ["name", "workers", "queue", "nonblock", "usleep"];

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
    let mut name = None;
    let mut workers = 1;
    let mut queue = QUEUE_DEFAULT;
    let mut remarks = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("\"{part}\" is not key=value"))?;
        let (key, value) = (key.trim(), value.trim());
        match key.to_ascii_lowercase().as_str() {
            "name" => name = Some(check_name(value)?),
            "workers" => workers = number("workers", value, 1, PROCESSES_MAX)?,
            "queue" => queue = queue_size(value, &mut remarks)?,
            // A full queue is always answered at once here, so both values mean the same.
            "nonblock" => drop(number("nonblock", value, 0, 1)?),
            "usleep" => {
                if number("usleep", value, 0, u32::MAX)? > 0 {
                    remarks.push("usleep has no effect: workers are woken, they do not poll".to_string());
                }
            }
            _ => remarks.push(unknown_key(key)),
        }
    }
    let name = name.ok_or("a group needs name=")?;
    Ok(GroupText { group: GroupSetting { name, workers, queue }, remarks })
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
                let group = GroupSetting { name: name.to_string(), workers, queue };
                assert_eq!(read.group, group, "{text}");
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
        check("name=reg;order=callid;ques=5", Ok(("reg", 1, QUEUE_DEFAULT, 2)));
        check("name=reg;usleep=100", Ok(("reg", 1, QUEUE_DEFAULT, 1)));
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
        check(&format!("name={}", "n".repeat(64)), Err("the name of a group has at most 63 bytes"));
    }

    #[test]
    fn an_unknown_key_is_named_with_what_is_near() {
        let remarks = parse_group("name=reg;worker=4;policy=x").unwrap().remarks;
        assert!(remarks[0].contains("\"worker\"") && remarks[0].contains("did you mean \"workers\"?"));
        assert!(remarks[1].contains("keys are \"name\", \"workers\""));
    }
}
