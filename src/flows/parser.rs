//! From a flow file to a [`Flow`]: one table of the words a line may begin with.
//!
//! **Invariant:** parsing does not stop at an error: each wrong line gives one diagnostic, and all are reported.

use std::collections::BTreeSet;
use std::time::Duration;

use super::conditions as condition;
use super::flow::{
    AwaitedEvent, Change, Flow, FlowStep, InlineScript, NumberComparison, PeerRow, RpcCall, StepKind,
};
use super::outline::{self, OutlineItem, OutlineWord, span};
use super::placeholder::{NameScope, PlaceholderText};
use super::reader::Reader;
use super::steps::{StepResult, Words, rest_of_line, text_of, unknown_word};
use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;
use crate::sys::signal::Signal;

/// The timeout of a wait, unless the flow says otherwise. Longer than anything takes on a busy machine: only a flow that
/// fails waits for it.
const TIMEOUT_USUAL: Duration = Duration::from_secs(5);

const REPEAT_COUNT_MAX: u64 = 100_000;

/// Reads a flow file.
pub(super) fn parse(text: &str) -> (Flow, Vec<Diagnostic>) {
    let mut parser = Parser {
        reader: Reader { file: text, scope: NameScope::new(), diagnostics: Vec::new() },
        flow: Flow::default(),
        signalled: BTreeSet::new(),
        timeout: TIMEOUT_USUAL,
    };
    let items = outline::items(&outline::lines(text), &mut parser.reader.diagnostics);
    let steps = parser.steps(&items, Level::Top);
    parser.flow.steps = steps;
    if parser.flow.steps.is_empty() && parser.reader.diagnostics.is_empty() {
        let help = format!("steps are {}", outline_words(Level::Inside));
        parser
            .reader
            .diagnostics
            .push(Diagnostic::error(span(0, 1), "this flow has no steps").with_help(help));
    }
    (parser.flow, parser.reader.diagnostics)
}

struct Parser<'s> {
    reader: Reader<'s>,
    flow: Flow,
    /// Processes that were killed or signalled so far.
    signalled: BTreeSet<String>,
    timeout: Duration,
}

/// Where a line stands: what is declared for the whole flow cannot stand in a `repeat`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    Inside,
}

/// One word a line may begin with.
struct Row {
    name: &'static str,
    /// How it is written; the help of errors.
    form: &'static str,
    read: Read,
}

enum Read {
    /// Something about the flow as a whole.
    Declaration(fn(&mut Parser<'_>, &OutlineItem<'_>, &mut Words<'_>, &str) -> StepResult<()>),
    /// A step without lines below it.
    Line(fn(&mut Parser<'_>, &mut Words<'_>, &str) -> StepResult<StepKind>),
    /// A step with lines below it.
    Block(fn(&mut Parser<'_>, &OutlineItem<'_>, &mut Words<'_>, &str) -> StepResult<StepKind>),
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "test", form: "test WHAT IT SHOWS", read: Read::Declaration(|p, i, w, f| p.test(i, w, f)) },
    Row { name: "timeout", form: "timeout TIME", read: Read::Declaration(|p, i, w, f| p.default_timeout(i, w, f)) },
    Row { name: "define", form: "define NAME VALUE", read: Read::Declaration(|p, i, w, f| p.define(i, w, f)) },
    Row { name: "peer", form: "peer NAME [on ADDRESS]", read: Read::Declaration(|p, i, w, f| p.peer(i, w, f)) },
    Row { name: "script", form: "script, and below it the lines of a script", read: Read::Declaration(|p, i, w, f| p.script(i, w, f)) },
    Row { name: "send", form: "send PEER [to ADDRESS] [exactly], and below it the message", read: Read::Block(|p, i, w, f| p.send(i, w, f)) },
    Row { name: "reply", form: "reply PEER [to METHOD] STATUS [REASON], and below it more header fields", read: Read::Block(|p, i, w, f| p.reply(i, w, f)) },
    Row { name: "expect", form: "expect PEER STATUS|METHOD|any [within TIME], or expect PEER nothing for TIME", read: Read::Block(|p, i, w, f| p.expect(i, w, f)) },
    Row { name: "ignore", form: "ignore PEER STATUS|METHOD|any", read: Read::Line(|p, w, f| p.ignore(w, f)) },
    Row { name: "kill", form: "kill PROCESS", read: Read::Line(|p, w, f| p.kill(w, f)) },
    Row { name: "signal", form: "signal PROCESS SIGNAL", read: Read::Line(|p, w, f| p.signal(w, f)) },
    Row { name: "wait", form: "wait counter|process|log|rpc|exit …", read: Read::Block(|p, i, w, f| p.wait(i, w, f)) },
    Row { name: "rpc", form: "rpc METHOD [ARGUMENT…], and below it what the answer must be", read: Read::Block(|p, i, w, f| p.rpc(i, w, f)) },
    Row { name: "log", form: "log lacks \"TEXT\", or log count \"TEXT\" [=|>=|<=|>|<] NUMBER", read: Read::Line(|p, w, f| p.log(w, f)) },
    Row { name: "change", form: "change script, and below it the lines of another script", read: Read::Block(|p, i, w, f| p.change(i, w, f)) },
    Row { name: "repeat", form: "repeat COUNT, and below it steps", read: Read::Block(|p, i, w, f| p.repeat(i, w, f)) },
];

fn outline_words(level: Level) -> String {
    crate::script::suggest::listed(names(level))
}

fn names(level: Level) -> impl Iterator<Item = &'static str> + Clone {
    let is_there = move |row: &&Row| level == Level::Top || !matches!(row.read, Read::Declaration(_));
    ROWS.iter().filter(is_there).map(|row| row.name)
}

impl Parser<'_> {
    fn steps(&mut self, items: &[OutlineItem<'_>], level: Level) -> Vec<FlowStep> {
        let mut steps = Vec::new();
        for item in items {
            match self.step(item, level) {
                Ok(Some(kind)) => steps.push(FlowStep { span: item.head.span(), kind }),
                Ok(None) => {}
                Err(diagnostic) => self.reader.diagnostics.push(diagnostic),
            }
        }
        steps
    }

    fn step(&mut self, item: &OutlineItem<'_>, level: Level) -> StepResult<Option<StepKind>> {
        let mut words =
            Words::new(outline::words(&item.head, &mut self.reader.diagnostics), item.head.span());
        let first = words.take("a step", "")?;
        let Some(row) = ROWS.iter().find(|row| row.name == first.text) else {
            return Err(unknown_word(&first, "step", names(level)));
        };
        match row.read {
            Read::Declaration(_) if level == Level::Inside => {
                let message = format!("\"{}\" applies to the whole flow and cannot be repeated", row.name);
                Err(Diagnostic::error(first.span, message).with_help("write it above the steps"))
            }
            Read::Declaration(read) => read(self, item, &mut words, row.form).map(|()| None),
            Read::Block(read) => read(self, item, &mut words, row.form).map(Some),
            Read::Line(read) => {
                no_block(item, row.form)?;
                let kind = read(self, &mut words, row.form)?;
                words.end(row.form).map(|()| Some(kind))
            }
        }
    }

    // ---- what holds for the whole flow ------------------------------------------------------------------------------

    fn test(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<()> {
        no_block(item, form)?;
        let first = words.take("what the flow shows", form)?;
        self.flow.title =
            Some(item.head.text[first.span.start as usize - item.head.start..].trim().to_owned());
        Ok(())
    }

    fn default_timeout(
        &mut self,
        item: &OutlineItem<'_>,
        words: &mut Words<'_>,
        form: &str,
    ) -> StepResult<()> {
        no_block(item, form)?;
        self.timeout = words.time()?;
        words.end(form)
    }

    fn define(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<()> {
        no_block(item, form)?;
        let name = words.take("a name", form)?;
        if !name.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let message = format!("\"{}\" is not a name for a define", name.text);
            return Err(Diagnostic::error(name.span, message).with_help("letters, digits and _ make a name"));
        }
        let (_, value) = rest_of_line(&item.head, name.span);
        let value = self.reader.text(value);
        self.flow.defines.push((name.text.to_owned(), value));
        Ok(())
    }

    fn peer(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<()> {
        no_block(item, form)?;
        let name = words.take("a name", form)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let is_taken = ["server", "branch", "call_id", "round"].contains(&name.text);
        if !name.text.chars().all(is_name) || is_taken {
            let help = "letters, digits, - and _ make a name; server, branch, call_id and round are taken";
            let message = format!("\"{}\" is not a name for a peer", name.text);
            return Err(Diagnostic::error(name.span, message).with_help(help));
        }
        if let Some(known) = self.flow.peers.iter().find(|peer| peer.name == name.text) {
            let message = format!("peer \"{}\" is declared twice", name.text);
            return Err(Diagnostic::error(name.span, message).with_note(known.span, "it was declared here"));
        }
        let address = if words.takes("on") { Some(words.take("an address", form)?) } else { None };
        let loopback = OutlineWord { text: "127.0.0.1", span: name.span, is_quoted: false };
        let address = address.unwrap_or(loopback);
        let mistake = |_| {
            let message = format!("\"{}\" is not an address", address.text);
            Diagnostic::error(address.span, message)
                .with_help("an address of this machine, such as 127.0.0.2 or ::1")
        };
        let row = PeerRow {
            name: name.text.to_owned(),
            span: name.span,
            address: address.text.parse().map_err(mistake)?,
        };
        words.end(form)?;
        self.reader.scope.add_peer(name.text);
        self.flow.peers.push(row);
        Ok(())
    }

    fn script(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<()> {
        words.end(form)?;
        if let Some(known) = &self.flow.script {
            let help = "change script puts another one in its place while the server runs";
            let twice = Diagnostic::error(item.head.span(), "a flow begins with one script").with_help(help);
            return Err(twice.with_note(known.span, "this one was there before"));
        }
        self.flow.script = Some(InlineScript { span: item.head.span(), text: self.script_text(item, form)? });
        Ok(())
    }

    /// A script whose line numbers are those of the flow file, so that its errors are reported at the right position.
    fn script_text(&self, item: &OutlineItem<'_>, form: &str) -> StepResult<String> {
        let Some(first) = item.block.first() else { return Err(block_missing(item, form)) };
        let before = self.reader.file[..first.start].matches('\n').count();
        let lines: String = item.block.iter().map(|line| format!("{}\n", line.text)).collect();
        Ok("\n".repeat(before) + &lines)
    }

    // ---- messages ---------------------------------------------------------------------------------------------------

    fn send(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let peer = words.peer(&self.flow.peers, form)?;
        let to = if words.takes("to") { Some(words.take("an address", form)?) } else { None };
        let is_exact = words.takes("exactly");
        words.end(form)?;
        let to = to.map(|word| self.reader.text(word.span));
        let lines = self.reader.lines(item);
        let Some(first) = lines.first() else { return Err(block_missing(item, form)) };
        if is_exact {
            return Ok(StepKind::SendExactly { peer, to, lines });
        }
        let start = text_of(self.reader.file, first.span);
        if !start.starts_with("SIP/2.0 ") && !start.ends_with(" SIP/2.0") {
            let help =
                "such as OPTIONS sip:test@${server} SIP/2.0; an invalid message can be sent with `exactly`";
            let message = "a message begins with a request line or a status line";
            return Err(Diagnostic::error(first.span, message).with_help(help));
        }
        Ok(StepKind::Send { peer, to, lines })
    }

    fn reply(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let peer = words.peer(&self.flow.peers, form)?;
        let method =
            if words.takes("to") { Some(words.take("a method", form)?.text.to_owned()) } else { None };
        let code = words.take("a status", form)?;
        if code.text.parse::<u16>().ok().is_none_or(|code| !(100..700).contains(&code)) {
            let message = format!("\"{}\" is not a status", code.text);
            return Err(Diagnostic::error(code.span, message).with_help(form.to_owned()));
        }
        let line = item.head.span();
        let status = self.reader.text(Span { start: code.span.start, end: line.end });
        Ok(StepKind::Reply { peer, method, status, lines: self.reader.lines(item) })
    }

    fn expect(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let peer = words.peer(&self.flow.peers, form)?;
        if words.takes("nothing") {
            no_block(item, form)?;
            if !words.takes("for") {
                words.take("for TIME", form)?;
                return Err(Diagnostic::error(item.head.span(), "how long?").with_help(form.to_owned()));
            }
            let time = words.time()?;
            return words.end(form).map(|()| StepKind::ExpectNothing { peer, time });
        }
        let start = words.start_pattern(form)?;
        let timeout = words.timeout(self.timeout)?;
        words.end(form)?;
        let conditions = condition::of_message(&mut self.reader, item);
        Ok(StepKind::Expect { peer, start, timeout, conditions })
    }

    fn ignore(&mut self, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let peer = words.peer(&self.flow.peers, form)?;
        Ok(StepKind::Ignore { peer, start: words.start_pattern(form)? })
    }

    // ---- processes --------------------------------------------------------------------------------------------------

    /// The title of a process, such as `worker calls/1`.
    fn process(&mut self, words: &mut Words<'_>, form: &str) -> StepResult<PlaceholderText> {
        let kind = words.take("a process", form)?;
        let rest = match kind.text {
            "worker" => Some(words.take("GROUP/NUMBER", "such as worker calls/1")?),
            "receiver" => Some(words.take("the number of a receiver", "such as receiver 1")?),
            "master" | "control" | "timer" => None,
            _ => {
                let kinds = ["master", "worker", "receiver", "control", "timer"].into_iter();
                return Err(unknown_word(&kind, "process", kinds));
            }
        };
        let stretch = Span { start: kind.span.start, end: rest.unwrap_or(kind).span.end };
        Ok(self.reader.text(stretch))
    }

    fn kill(&mut self, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let process = self.process(words, form)?;
        self.note_signalled(&process);
        Ok(StepKind::Signal { process, signal: Signal::SIGKILL, timeout: self.timeout })
    }

    fn signal(&mut self, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let process = self.process(words, form)?;
        self.note_signalled(&process);
        let signal = words.signal("such as HUP, TERM, STOP or CONT")?;
        Ok(StepKind::Signal { process, signal, timeout: self.timeout })
    }

    fn note_signalled(&mut self, process: &PlaceholderText) {
        self.signalled.insert(text_of(self.reader.file, process.span).to_owned());
    }

    // ---- waiting ----------------------------------------------------------------------------------------------------

    fn wait(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let what = words.take("what to wait for", form)?;
        if what.text != "rpc" {
            no_block(item, form)?;
        }
        let event = match what.text {
            "counter" => wait_for_counter(words)?,
            "process" => self.wait_for_process(words)?,
            "log" => self.wait_for_log(words)?,
            "exit" => wait_for_exit(words)?,
            "rpc" => AwaitedEvent::Answer(self.command(item, words)?),
            _ => {
                let known = ["counter", "process", "log", "rpc", "exit"].into_iter();
                return Err(unknown_word(&what, "thing to wait for", known));
            }
        };
        let timeout = words.timeout(self.timeout)?;
        words.end("at the end of the line: within TIME")?;
        Ok(StepKind::Wait { event, timeout })
    }

    fn wait_for_process(&mut self, words: &mut Words<'_>) -> StepResult<AwaitedEvent> {
        const FORM: &str = "wait process PROCESS running|gone|restarted";
        let process = self.process(words, FORM)?;
        let word = words.take("running, gone or restarted", FORM)?;
        let rows = [("running", Change::Running), ("gone", Change::Gone), ("restarted", Change::Restarted)];
        let Some((_, change)) = rows.into_iter().find(|(name, _)| *name == word.text) else {
            return Err(unknown_word(&word, "change", rows.iter().map(|(name, _)| *name)));
        };
        let name = text_of(self.reader.file, process.span);
        if change == Change::Restarted && !self.signalled.contains(name) {
            let help = format!(
                "kill {name}, or signal it, in a step before: another process than that one is waited for"
            );
            return Err(
                Diagnostic::error(process.span, "nothing has happened to this process").with_help(help)
            );
        }
        Ok(AwaitedEvent::Process { process, change })
    }

    fn wait_for_log(&mut self, words: &mut Words<'_>) -> StepResult<AwaitedEvent> {
        const FORM: &str = "wait log \"TEXT\", or wait log matches \"PATTERN\"";
        let is_pattern = words.peek().is_some_and(|word| !word.is_quoted) && words.takes("matches");
        let word = quoted(words, FORM)?;
        match is_pattern {
            true => Ok(AwaitedEvent::LogMatches(condition::pattern(&mut self.reader, word.span)?)),
            false => Ok(AwaitedEvent::LogHolds(self.reader.text(word.span))),
        }
    }

    fn log(&mut self, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let what = words.take("lacks or count", form)?;
        if !["lacks", "count"].contains(&what.text) {
            let help = "log lacks and log count look at once, wait log \"TEXT\" waits";
            return Err(
                unknown_word(&what, "question about the log", ["lacks", "count"].into_iter()).with_help(help)
            );
        }
        let word = quoted(words, form)?;
        let text = self.reader.text(word.span);
        let (comparison, number) = match what.text {
            "lacks" => (NumberComparison::Equal, 0),
            _ => words.comparison(form)?,
        };
        Ok(StepKind::LogCount { text, comparison, number })
    }

    fn rpc(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, _: &str) -> StepResult<StepKind> {
        let command = self.command(item, words)?;
        Ok(StepKind::Command { command })
    }

    fn command(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>) -> StepResult<RpcCall> {
        let method = words.take("a command", "sworkerctl help lists them")?.text.to_owned();
        let mut arguments = Vec::new();
        while words.peek().is_some_and(|word| word.is_quoted || word.text != "within")
            && let Some(word) = words.next()
        {
            arguments.push(self.reader.text(word.span));
        }
        Ok(RpcCall { method, arguments, conditions: condition::of_answer(&mut self.reader, item) })
    }

    // ---- the rest ---------------------------------------------------------------------------------------------------

    fn change(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        if !words.takes("script") {
            let word = words.take("script", form)?;
            return Err(unknown_word(&word, "thing to change", ["script"].into_iter()));
        }
        words.end(form)?;
        Ok(StepKind::ChangeScript { text: self.script_text(item, form)? })
    }

    fn repeat(&mut self, item: &OutlineItem<'_>, words: &mut Words<'_>, form: &str) -> StepResult<StepKind> {
        let word = words.take("a number", form)?;
        let count = word.text.parse::<u64>().ok().filter(|count| (1..=REPEAT_COUNT_MAX).contains(count));
        let Some(count) = count else {
            let message = format!("\"{}\" is not a number from 1 to {REPEAT_COUNT_MAX}", word.text);
            return Err(Diagnostic::error(word.span, message).with_help(form.to_owned()));
        };
        words.end(form)?;
        if item.block.is_empty() {
            return Err(block_missing(item, form));
        }
        let items = outline::items(&item.block, &mut self.reader.diagnostics);
        Ok(StepKind::Repeat { count: count as u32, steps: self.steps(&items, Level::Inside) })
    }
}

fn wait_for_counter(words: &mut Words<'_>) -> StepResult<AwaitedEvent> {
    const FORM: &str = "wait counter NAME [=|>=|<=|>|<] NUMBER";
    let name = words.take("the name of a counter", FORM)?.text.to_owned();
    let (comparison, number) = words.comparison(FORM)?;
    Ok(AwaitedEvent::Counter { name, comparison, number })
}

fn wait_for_exit(words: &mut Words<'_>) -> StepResult<AwaitedEvent> {
    const FORM: &str = "wait exit STATUS";
    let word = words.take("an exit status", FORM)?;
    let mistake =
        |_| Diagnostic::error(word.span, format!("\"{}\" is not an exit status", word.text)).with_help(FORM);
    Ok(AwaitedEvent::Exit { status: word.text.parse().map_err(mistake)? })
}

fn quoted<'s>(words: &mut Words<'s>, form: &str) -> StepResult<OutlineWord<'s>> {
    let word = words.take("text in quotes", form)?;
    match word.is_quoted {
        true => Ok(word),
        false => {
            Err(Diagnostic::error(word.span, "text in quotes is needed here").with_help(form.to_owned()))
        }
    }
}

/// A line that has nothing below it.
fn no_block(item: &OutlineItem<'_>, form: &str) -> StepResult<()> {
    match item.block.first() {
        None => Ok(()),
        Some(line) => {
            let message = "this step takes no indented lines";
            let mistake = Diagnostic::error(line.span(), message).with_help(form.to_owned());
            Err(mistake.with_note(item.head.span(), "the step is here"))
        }
    }
}

fn block_missing(item: &OutlineItem<'_>, form: &str) -> Diagnostic {
    Diagnostic::error(item.head.span(), "the lines that belong here are missing")
        .with_help(format!("{form}, indented"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/flows.md");

    #[test]
    fn the_example_of_the_document_has_no_errors() {
        let example = DOCUMENT.split("```\n").nth(1).expect("an example in a fence");
        let (flow, diagnostics) = parse(example);
        assert_eq!(diagnostics, []);
        assert_eq!((flow.peers.len(), flow.defines.len(), flow.steps.len()), (2, 1, 6));
    }

    #[test]
    fn every_word_is_documented() {
        for row in ROWS {
            assert!(
                DOCUMENT.contains(&format!("| `{}", row.name)),
                "{} is missing in docs/flows.md",
                row.name
            );
        }
    }
}
