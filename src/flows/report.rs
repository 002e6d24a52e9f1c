//! The report: TAP for people, `prove` and CI servers; JUnit for the test pages of CI servers; JSON for programs.
//!
//! TAP is the default because it is one line for each flow, which an operator reads without knowing TAP. Failures go to
//! standard error as diagnostics, in the format of `-c`.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

/// The form of the report on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportForm {
    /// Test Anything Protocol, a line for each flow.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowVerdict {
    Passed,
    /// A step was not met.
    Failed,
    /// The flow file or the script has errors, or a system call failed.
    NotRun,
}

/// One flow, as it ended.
#[derive(Clone, Debug)]
pub(super) struct FlowOutcome {
    pub file: String,
    pub title: Option<String>,
    pub verdict: FlowVerdict,
    /// What is wrong, as shown to people.
    pub text: String,
    pub took: Duration,
}

impl FlowOutcome {
    fn name(&self) -> String {
        match &self.title {
            Some(title) => format!("{}: {title}", self.file),
            None => self.file.clone(),
        }
    }

    fn word(&self) -> &'static str {
        match self.verdict {
            FlowVerdict::Passed => "passed",
            FlowVerdict::Failed => "failed",
            FlowVerdict::NotRun => "not run",
        }
    }
}

/// The plan, before the first flow.
pub(super) fn tap_head(count: usize) -> String {
    format!("TAP version 13\n1..{count}\n")
}

/// The line of a flow.
pub(super) fn tap_line(number: usize, outcome: &FlowOutcome) -> String {
    let word = if outcome.verdict == FlowVerdict::Passed { "ok" } else { "not ok" };
    // A hash would begin a directive.
    format!("{word} {number} - {}\n", outcome.name().replace('#', "\\#"))
}

/// All of them as one JSON document.
pub(super) fn json(outcomes: &[FlowOutcome]) -> String {
    let row = |outcome: &FlowOutcome| {
        json!({
            "file": outcome.file,
            "title": outcome.title,
            "result": outcome.word(),
            "seconds": outcome.took.as_secs_f64(),
            "text": outcome.text,
        })
    };
    let is_good = outcomes.iter().all(|outcome| outcome.verdict == FlowVerdict::Passed);
    format!("{}\n", json!({"ok": is_good, "flows": outcomes.iter().map(row).collect::<Vec<_>>()}))
}

/// All of them as one JUnit document.
pub(super) fn junit(outcomes: &[FlowOutcome]) -> String {
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
    let (failed, not_run) = (count(FlowVerdict::Failed), count(FlowVerdict::NotRun));
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"sworkerd --test\" tests=\"{}\" failures=\"{failed}\" errors=\"{not_run}\">\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let (name, file) = (escaped(&outcome.name()), escaped(&outcome.file));
        let seconds = outcome.took.as_secs_f64();
        let _ = write!(text, "  <testcase name=\"{name}\" classname=\"{file}\" time=\"{seconds:.3}\"");
        let element = match outcome.verdict {
            FlowVerdict::Passed => {
                text.push_str("/>\n");
                continue;
            }
            FlowVerdict::Failed => "failure",
            FlowVerdict::NotRun => "error",
        };
        let first = escaped(outcome.text.lines().next().unwrap_or_default());
        let all = escaped(&outcome.text);
        let _ = writeln!(text, ">\n    <{element} message=\"{first}\">{all}</{element}>\n  </testcase>");
    }
    text.push_str("</testsuite>\n");
    text
}

/// Text for XML, without the control characters it cannot hold.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            other if other.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Vec<FlowOutcome> {
        let outcome = |file: &str, verdict, text: &str| FlowOutcome {
            file: file.to_owned(),
            title: (verdict != FlowVerdict::NotRun).then(|| "calls #1".to_owned()),
            verdict,
            text: text.to_owned(),
            took: Duration::from_millis(1500),
        };
        vec![
            outcome("a.flow", FlowVerdict::Passed, ""),
            outcome("b.flow", FlowVerdict::Failed, "b.flow:1:2: error: <sip:\"x\">\0\nmore\n"),
            outcome("c.flow", FlowVerdict::NotRun, "c.flow: cannot\n"),
        ]
    }

    #[test]
    fn a_flow_is_a_line_of_tap() {
        let lines: Vec<String> =
            (1..).zip(&outcomes()).map(|(number, outcome)| tap_line(number, outcome)).collect();
        assert_eq!(
            lines,
            ["ok 1 - a.flow: calls \\#1\n", "not ok 2 - b.flow: calls \\#1\n", "not ok 3 - c.flow\n"]
        );
    }

    #[test]
    fn json_and_junit_say_the_same() {
        let value: serde_json::Value = serde_json::from_str(&json(&outcomes())).unwrap();
        assert_eq!(value["ok"], false);
        assert_eq!(value["flows"][1]["result"], "failed");
        assert_eq!(value["flows"][2]["title"], serde_json::Value::Null);
        assert_eq!(
            junit(&outcomes()),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuite name=\"sworkerd --test\" tests=\"3\" failures=\"1\" errors=\"1\">\n\
             \x20 <testcase name=\"a.flow: calls #1\" classname=\"a.flow\" time=\"1.500\"/>\n\
             \x20 <testcase name=\"b.flow: calls #1\" classname=\"b.flow\" time=\"1.500\">\n\
             \x20   <failure message=\"b.flow:1:2: error: &lt;sip:&quot;x&quot;&gt;\u{fffd}\">b.flow:1:2: error: \
             &lt;sip:&quot;x&quot;&gt;\u{fffd}\nmore\n</failure>\n  </testcase>\n\
             \x20 <testcase name=\"c.flow\" classname=\"c.flow\" time=\"1.500\">\n\
             \x20   <error message=\"c.flow: cannot\">c.flow: cannot\n</error>\n  </testcase>\n</testsuite>\n"
        );
    }
}
