//! Several flow files, one after the other, each with a server of its own.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::flow::{Flow, StepKind};
use super::parser;
use super::peer::FlowPeer;
use super::report::{self, FlowOutcome, FlowVerdict, ReportForm};
use super::runner::{self, Runner};
use super::server::{ScriptOfServer, ServerUnderTest, StartFailure};
use super::trouble::Trouble;
use super::watch::Watch;
use crate::script::diagnostic::{Diagnostic, render_all};
use crate::script::source::SourceMap;
use crate::sys::session;
use crate::sys::signal::Signal;

/// What is to be run.
#[derive(Clone, Debug, Default)]
pub struct TestRequest {
    /// The flow files, in order.
    pub files: Vec<PathBuf>,
    /// The script of `-f`, instead of those in the files.
    pub script: Option<PathBuf>,
    /// Further words for the command line of the server.
    pub words: Vec<OsString>,
    /// How it is reported.
    pub form: ReportForm,
}

/// A flow was not met.
const EXIT_FAILED: i32 = 1;
/// A flow could not be run.
const EXIT_NOT_RUN: i32 = 2;

/// Runs all flows and reports; the exit status: 0 when all were met, 1 when one was not, 2 when one could not be run.
pub fn run(request: &TestRequest) -> io::Result<i32> {
    session::adopt_orphans()?;
    let mut suite = Suite { request, watch: Watch::new()?, outcomes: Vec::new() };
    let interrupted = suite.run_all()?;
    match request.form {
        ReportForm::Text => {}
        ReportForm::Json => print(&report::json(&suite.outcomes))?,
        ReportForm::Junit => print(&report::junit(&suite.outcomes))?,
    }
    if let Some(signal) = interrupted {
        eprintln!("sworkerd: error: ended by {signal}; the server was stopped");
        return Ok(EXIT_NOT_RUN);
    }
    let has = |verdict| suite.outcomes.iter().any(|outcome| outcome.verdict == verdict);
    Ok(match (has(FlowVerdict::NotRun), has(FlowVerdict::Failed)) {
        (true, _) => EXIT_NOT_RUN,
        (false, true) => EXIT_FAILED,
        (false, false) => 0,
    })
}

/// To standard output, at once: error output is read beside it.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

struct Suite<'r> {
    request: &'r TestRequest,
    watch: Watch,
    outcomes: Vec<FlowOutcome>,
}

/// How one flow ended, with what is said of it.
struct Ended {
    verdict: FlowVerdict,
    text: String,
    /// No other flow can be run either.
    is_last: bool,
}

impl Ended {
    fn passed() -> Ended {
        Ended { verdict: FlowVerdict::Passed, text: String::new(), is_last: false }
    }

    fn not_run(text: String) -> Ended {
        Ended { verdict: FlowVerdict::NotRun, text, is_last: false }
    }
}

impl Suite<'_> {
    fn run_all(&mut self) -> io::Result<Option<Signal>> {
        let is_tap = self.request.form == ReportForm::Text;
        if is_tap {
            print(&report::tap_head(self.request.files.len()))?;
        }
        for (number, file) in (1..).zip(&self.request.files) {
            let began = Instant::now();
            let mut title = None;
            let ended = match self.run_file(file, &mut title) {
                Ok(ended) => ended,
                Err(signal) => return Ok(Some(signal)),
            };
            let (verdict, text, file) = (ended.verdict, ended.text, file.display().to_string());
            let outcome = FlowOutcome { file, title, verdict, text, took: began.elapsed() };
            if is_tap {
                print(&report::tap_line(number, &outcome))?;
            }
            eprint!("{}", outcome.text);
            self.outcomes.push(outcome);
            if ended.is_last && is_tap {
                print("Bail out! The server does not start on this script\n")?;
            }
            if ended.is_last {
                break;
            }
        }
        Ok(None)
    }

    /// Runs one file. Only a signal that ends everything is an error.
    fn run_file(&mut self, path: &Path, title: &mut Option<String>) -> Result<Ended, Signal> {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let text = format!("sworkerd: error: could not read {name}: {error}\n");
                return Ok(Ended::not_run(text));
            }
        };
        let mut source = SourceMap::new();
        source.add_file(name.clone(), text.clone());
        let (flow, mut diagnostics) = parser::parse(&text);
        title.clone_from(&flow.title);
        diagnostics.extend(self.refuse_script(&flow));
        if !diagnostics.is_empty() {
            return Ok(Ended::not_run(render_all(&diagnostics, &source)));
        }
        let met = self.run_flow(&flow, path, &name);
        Ok(match met {
            Ok(()) => Ended::passed(),
            Err(StartFailure::Trouble(Trouble::Interrupted(signal))) => return Err(signal),
            Err(StartFailure::Trouble(Trouble::Unmet(diagnostic))) => {
                Ended { verdict: FlowVerdict::Failed, text: diagnostic.render(&source), is_last: false }
            }
            Err(StartFailure::Trouble(Trouble::System(reason))) => {
                Ended::not_run(format!("sworkerd: error: {name}: {reason}\n"))
            }
            Err(StartFailure::Refused(log)) => {
                let text = format!("sworkerd: error: {name}: the server does not start:\n{log}");
                Ended { is_last: self.request.script.is_some(), ..Ended::not_run(text) }
            }
        })
    }

    /// A flow has one script: its own, or that of `-f`.
    fn refuse_script(&self, flow: &Flow) -> Option<Diagnostic> {
        if self.request.script.is_none() {
            let at = flow.steps.first().map(|step| step.span)?;
            let help = "add -f FILE to the command line, or a script to the flow";
            return flow
                .script
                .is_none()
                .then(|| Diagnostic::error(at, "there is no script to run").with_help(help));
        }
        let change = flow.steps.iter().find(|step| matches!(step.kind, StepKind::ChangeScript { .. }))?;
        let help = "leave -f out to run the script of the flow, and change that";
        Some(Diagnostic::error(change.span, "the script of -f is not changed").with_help(help))
    }

    fn run_flow(&mut self, flow: &Flow, path: &Path, name: &str) -> Result<(), StartFailure> {
        let peers = flow.peers.iter().map(|row| {
            let refused = |error: io::Error| {
                let message = format!("could not bind a socket at {}: {error}", row.address);
                Trouble::Unmet(Box::new(Diagnostic::error(row.span, message)))
            };
            FlowPeer::new(row).map_err(refused)
        });
        let peers: Vec<FlowPeer> = peers.collect::<Result<_, _>>()?;
        let mut words = self.request.words.clone();
        words.extend(runner::define_words(flow, &peers)?.into_iter().map(OsString::from));
        let script = match (&self.request.script, &flow.script) {
            (Some(path), _) => ScriptOfServer::File(path),
            (None, own) => {
                let text = own.as_ref().map_or("", |script| script.text.as_str());
                ScriptOfServer::PlaceholderText { text, name }
            }
        };
        let server = ServerUnderTest::start(&script, &words, &mut self.watch)?;
        let token = token_of(path);
        Ok(Runner::new(flow, &token, server, peers, &mut self.watch).run()?)
    }
}

/// The name of the file without what a Call-ID or a branch cannot hold.
fn token_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_become_tokens() {
        let rows = [("a/b-c.flow", "b-c"), ("ä b.flow", "__b"), ("x.y.flow", "x_y")];
        for (path, expected) in rows {
            assert_eq!(token_of(Path::new(path)), expected);
        }
    }
}
