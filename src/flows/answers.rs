//! Steps that ask the control process: `rpc`, `wait rpc`, `wait counter`.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::flow::{ConditionSubject, NumberComparison, RpcCall};
use super::judge::{Found, judge};
use super::runner::{Done, Runner, indented};
use super::server::ServerUnderTest;
use super::trouble::Trouble;
use crate::control::client::{self, ClientError};
use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;
use crate::script::suggest::suggestion;

impl Runner<'_> {
    /// Waits until a counter, summed over all processes, compares so.
    pub fn wait_for_counter(
        &mut self,
        name: &str,
        (comparison, number): (NumberComparison, u64),
        deadline: Instant,
        after: &str,
        at: Span,
    ) -> Done {
        let (server, mut last) = (&self.server, 0);
        let ask = || match server.ask("stats.fetch", &[name.into()]) {
            Ok(answer) => {
                last = answer[name].as_u64().unwrap_or_default();
                Ok(comparison.holds(last, number).then_some(()))
            }
            Err(ClientError::Refused(fault)) => Err(unknown_counter(server, name, fault.message, at)),
            // The control process may have just been killed.
            Err(_) => Ok(None),
        };
        if self.watch.wait_for(deadline, ask)?.is_some() {
            return Ok(());
        }
        let message = format!("counter {name} is {last} {after}, not {}{number}", comparison.words());
        Err(self.with_log(Trouble::unmet(at, message)))
    }

    /// Repeats a command until all conditions on its answer hold.
    pub fn wait_for_answer(&mut self, command: &RpcCall, deadline: Instant, at: Span) -> Done {
        let mut last = Ok(());
        loop {
            let answer = self.ask(command, at)?;
            if answer.is_ok() || !command.conditions.is_empty() {
                last = self.judge_answer(command, &answer, at);
            }
            if last.is_ok() || Instant::now() >= deadline {
                return last;
            }
            let soon = deadline.min(Instant::now() + Duration::from_millis(5));
            self.watch.wait_for(soon, || Ok(None::<()>))?;
        }
    }

    /// Runs a command: its result, or why it was refused.
    pub fn ask(&self, command: &RpcCall, at: Span) -> Result<Result<Value, String>, Trouble> {
        let arguments = self.fill_all(&command.arguments)?;
        let arguments: Vec<Value> = arguments.iter().map(|word| client::argument(word)).collect();
        match self.server.ask(&command.method, &arguments) {
            Ok(answer) => Ok(Ok(answer)),
            Err(ClientError::Refused(fault)) => Ok(Err(fault.message)),
            Err(error) => Err(self.with_log(Trouble::unmet(at, error.to_string()))),
        }
    }

    /// Checks the conditions on an answer.
    pub fn judge_answer(&mut self, command: &RpcCall, answer: &Result<Value, String>, at: Span) -> Done {
        let is_error_expected = command.conditions.iter().any(|one| one.subject == ConditionSubject::Error);
        if let (Err(reason), false) = (answer, is_error_expected) {
            return Err(self.with_log(Trouble::unmet(at, format!("the command failed: {reason}"))));
        }
        for condition in &command.conditions {
            let found = find_in_answer(&condition.subject, answer);
            match judge(&condition.relation, &found, &self.view()) {
                Ok(captures) => self.known.captured.extend(captures),
                Err(reason) => {
                    let text = match answer {
                        Ok(value) => format!("{value:#}"),
                        Err(reason) => reason.clone(),
                    };
                    let came = format!("this was the answer:\n{}", indented(&text));
                    let diagnostic = Diagnostic::error(condition.span, reason).with_remark(came);
                    return Err(Trouble::Unmet(Box::new(diagnostic)));
                }
            }
        }
        Ok(())
    }
}

fn unknown_counter(server: &ServerUnderTest, name: &str, reason: String, at: Span) -> Trouble {
    let all = server.ask("stats.fetch", &["all".into()]).unwrap_or_default();
    let names = all.as_object().into_iter().flat_map(|rows| rows.keys().map(String::as_str));
    let help = suggestion(name, names).unwrap_or_else(|| "sworkerd -x counters lists them".to_owned());
    Trouble::Unmet(Box::new(Diagnostic::error(at, reason).with_help(help)))
}

fn find_in_answer(subject: &ConditionSubject, answer: &Result<Value, String>) -> Found {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (name, text) = match (subject, answer) {
        (ConditionSubject::Result(pointer), Ok(value)) if pointer.is_empty() => {
            ("the result".to_owned(), Some(shown(value)))
        }
        (ConditionSubject::Result(pointer), Ok(value)) => {
            (format!("value at {pointer}"), value.pointer(pointer).map(shown))
        }
        (ConditionSubject::Error, Err(reason)) => ("the error".to_owned(), Some(reason.clone())),
        (ConditionSubject::Error, Ok(_)) => ("the error".to_owned(), None),
        _ => ("the result".to_owned(), None),
    };
    Found { name, count: usize::from(text.is_some()), text }
}
