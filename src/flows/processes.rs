//! The processes of the server, as `/proc` shows them: only its descendants are ever found here, so only they are
//! killed.

use std::fs;

use crate::sys::process::ProcessId;

/// What the titles of all our processes begin with.
const TITLE_LEAD: &str = "sworkerd: ";

/// The children of a process, in the order in which they were started.
pub(super) fn children(parent: ProcessId) -> Vec<ProcessId> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|number| ProcessId::from_number(number.parse().ok()?)).collect()
}

/// What a process of ours is: `worker calls/1`. `None` for others, and for those that have ended.
pub(super) fn title(process: ProcessId) -> Option<String> {
    let bytes = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).strip_prefix(TITLE_LEAD).map(|title| title.trim_end().to_owned())
}

/// The youngest child of this title.
pub(super) fn child_titled(parent: ProcessId, wanted: &str) -> Option<ProcessId> {
    children(parent).into_iter().rev().find(|child| title(*child).as_deref() == Some(wanted))
}

/// Whether a signal has stopped the process.
pub(super) fn is_stopped(process: ProcessId) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.trim_start().starts_with('T')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_and_others_have_no_title() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::from_number(child.id() as i32).unwrap();
        let is_child = fs::read_dir("/proc/self/task").unwrap().any(|task| {
            let path = task.unwrap().path().join("children");
            fs::read_to_string(path).unwrap_or_default().contains(&process.to_string())
        });
        assert!(is_child);
        assert_eq!(title(process), None);
        assert!(!is_stopped(process));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(title(process), None);
        assert!(children(process).is_empty());
    }
}
