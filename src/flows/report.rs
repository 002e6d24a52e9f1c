//! What is said about the flows that were run: TAP for people and for whatever reads test results of the shell, JUnit
//! for the pages of CI servers, JSON for programs.
//!
//! TAP, because a line for each flow is what an operator reads anyway, and `prove` and CI servers understand it. What
//! was not met goes to error output, in the form in which `-c` tells mistakes.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

/// The form of the report on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportForm {
    /// Test Anything Protocol, a line for each flow.
    #[default]
    Tap,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// A step was not met.
    Failed,
    /// It did not come to that: the flow file or the script has mistakes, or the system refused something.
    NotRun,
}

/// One flow, as it ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub file: String,
    pub title: Option<String>,
    pub verdict: Verdict,
    /// What is wrong, as shown to people.
    pub text: String,
    pub took: Duration,
}

impl Outcome {
    fn name(&self) -> String {
        match &self.title {
            Some(title) => format!("{}: {title}", self.file),
            None => self.file.clone(),
        }
    }

    fn word(&self) -> &'static str {
        match self.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::NotRun => "not run",
        }
    }
}

/// The plan, before the first flow.
pub(super) fn tap_head(count: usize) -> String {
    format!("TAP version 13\n1..{count}\n")
}

/// The line of a flow.
pub(super) fn tap_line(number: usize, outcome: &Outcome) -> String {
    let word = if outcome.verdict == Verdict::Passed { "ok" } else { "not ok" };
    // A hash would begin a directive.
    format!("{word} {number} - {}\n", outcome.name().replace('#', "\\#"))
}

/// All of them as one JSON document.
pub(super) fn json(outcomes: &[Outcome]) -> String {
    let row = |outcome: &Outcome| {
        json!({
            "file": outcome.file,
            "title": outcome.title,
            "result": outcome.word(),
            "seconds": outcome.took.as_secs_f64(),
            "text": outcome.text,
        })
    };
    let is_good = outcomes.iter().all(|outcome| outcome.verdict == Verdict::Passed);
    format!("{}\n", json!({"ok": is_good, "flows": outcomes.iter().map(row).collect::<Vec<_>>()}))
}

/// All of them as one JUnit document.
pub(super) fn junit(outcomes: &[Outcome]) -> String {
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
    let (failed, not_run) = (count(Verdict::Failed), count(Verdict::NotRun));
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
            Verdict::Passed => {
                text.push_str("/>\n");
                continue;
            }
            Verdict::Failed => "failure",
            Verdict::NotRun => "error",
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

    fn outcomes() -> Vec<Outcome> {
        let outcome = |file: &str, verdict, text: &str| Outcome {
            file: file.to_owned(),
            title: (verdict != Verdict::NotRun).then(|| "calls #1".to_owned()),
            verdict,
            text: text.to_owned(),
            took: Duration::from_millis(1500),
        };
        vec![
            outcome("a.flow", Verdict::Passed, ""),
            outcome("b.flow", Verdict::Failed, "b.flow:1:2: error: <sip:\"x\">\0\nmore\n"),
            outcome("c.flow", Verdict::NotRun, "c.flow: cannot\n"),
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
