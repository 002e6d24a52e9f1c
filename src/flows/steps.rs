//! Parsing the words of a step: peers, times, statuses, numbers, signals, each with its diagnostic.

use std::time::Duration;

use super::flow::{NumberComparison, PeerIndex, PeerRow, StartPattern};
use super::outline::{OutlineWord, span};
use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;
use crate::script::suggest::{listed, suggestion};
use crate::sys::signal::Signal;

/// The words of one line, taken one after the other.
pub(super) struct Words<'s> {
    words: std::vec::IntoIter<OutlineWord<'s>>,
    /// The whole line, for what is missing at its end.
    line: Span,
}

/// A parsed part of a step, or what is wrong with it.
pub(super) type StepResult<T> = Result<T, Diagnostic>;

impl<'s> Words<'s> {
    pub fn new(words: Vec<OutlineWord<'s>>, line: Span) -> Words<'s> {
        Words { words: words.into_iter(), line }
    }

    /// The next word, which must be there.
    pub fn take(&mut self, what: &str, form: &str) -> StepResult<OutlineWord<'s>> {
        let end = Span { start: self.line.end, end: self.line.end };
        let missing = || Diagnostic::error(end, format!("{what} is missing here")).with_help(form.to_owned());
        self.words.next().ok_or_else(missing)
    }

    /// The next word, if there is one.
    pub fn next(&mut self) -> Option<OutlineWord<'s>> {
        self.words.next()
    }

    /// The next word without taking it.
    pub fn peek(&self) -> Option<&OutlineWord<'s>> {
        self.words.as_slice().first()
    }

    /// Takes the next word when it is this one.
    pub fn takes(&mut self, word: &str) -> bool {
        self.take_if(word).is_some()
    }

    /// The next word, when it is this one.
    pub fn take_if(&mut self, word: &str) -> Option<OutlineWord<'s>> {
        let is_it = self.peek().is_some_and(|next| !next.is_quoted && next.text == word);
        if is_it { self.words.next() } else { None }
    }

    /// `within TIME` at the end, or `usual`.
    pub fn timeout(&mut self, usual: Duration) -> StepResult<Duration> {
        if !self.takes("within") {
            return Ok(usual);
        }
        self.time()
    }

    /// `200ms`, `200 ms`, `2s`, `1min`.
    pub fn time(&mut self) -> StepResult<Duration> {
        const FORM: &str = "times are written 200ms, 2s or 1min";
        let word = self.take("a time", FORM)?;
        let digits = word.text.len() - word.text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let mut unit = &word.text[digits..];
        if unit.is_empty()
            && let Some(next) = self.words.next()
        {
            unit = next.text;
        }
        let number = word.text[..digits].parse::<u32>().ok();
        let each = [("ms", 1), ("s", 1_000), ("min", 60_000)].into_iter().find(|(name, _)| *name == unit);
        match (number, each) {
            (Some(number), Some((_, each))) if number > 0 => {
                Ok(Duration::from_millis(u64::from(number) * each))
            }
            _ => {
                Err(Diagnostic::error(word.span, format!("\"{}\" is not a time", word.text)).with_help(FORM))
            }
        }
    }

    /// The name of a peer that was declared.
    pub fn peer(&mut self, peers: &[PeerRow], form: &str) -> StepResult<PeerIndex> {
        let word = self.take("a peer", form)?;
        peers.iter().position(|peer| peer.name == word.text).ok_or_else(|| unknown_peer(&word, peers))
    }

    /// A status, a class of them, a method, or `any`.
    pub fn start_pattern(&mut self, form: &str) -> StepResult<StartPattern> {
        let word = self.take("a status or a method", form)?;
        let text = word.text;
        if text == "any" {
            return Ok(StartPattern::Any);
        }
        if let Some(class) = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok()) {
            return match class {
                1..=6 => Ok(StartPattern::StatusClass(class)),
                _ => Err(no_status(&word)),
            };
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let status = text.parse::<u16>().ok().filter(|status| (100..700).contains(status));
            return status.map(StartPattern::Status).ok_or_else(|| no_status(&word));
        }
        if text.chars().all(|c| c.is_ascii_uppercase()) {
            return Ok(StartPattern::Method(text.to_owned()));
        }
        let message = format!("\"{text}\" is neither a status nor a method");
        Err(Diagnostic::error(word.span, message).with_help(form.to_owned()))
    }

    /// A number, with how it is compared before it.
    pub fn comparison(&mut self, form: &str) -> StepResult<(NumberComparison, u64)> {
        let mut word = self.take("a number", form)?;
        let written = NumberComparison::WRITTEN.iter().find(|(text, _)| *text == word.text);
        let comparison = written.map_or(NumberComparison::Equal, |(_, comparison)| *comparison);
        if written.is_some() {
            word = self.take("a number", form)?;
        }
        let number = word.text.parse();
        let mistake = |_| Diagnostic::error(word.span, format!("\"{}\" is not a number", word.text));
        number.map(|number| (comparison, number)).map_err(|error| mistake(error).with_help(form.to_owned()))
    }

    /// The name of a signal, with or without SIG.
    pub fn signal(&mut self, form: &str) -> StepResult<Signal> {
        let word = self.take("a signal", form)?;
        let name = word.text.to_ascii_uppercase();
        let full = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
        full.parse().map_err(|_| {
            let names = || Signal::iterator().map(Signal::as_str);
            let help = suggestion(&full, names()).unwrap_or_else(|| form.to_owned());
            Diagnostic::error(word.span, format!("unknown signal \"{}\"", word.text)).with_help(help)
        })
    }

    /// Nothing may be left.
    pub fn end(&mut self, form: &str) -> StepResult<()> {
        match self.words.next() {
            None => Ok(()),
            Some(word) => {
                let message = format!("\"{}\" does not belong here", word.text);
                Err(Diagnostic::error(word.span, message).with_help(form.to_owned()))
            }
        }
    }
}

fn no_status(word: &OutlineWord<'_>) -> Diagnostic {
    let message = format!("\"{}\" is not a status", word.text);
    Diagnostic::error(word.span, message).with_help("a status is a number from 100 to 699, or 1xx to 6xx")
}

fn unknown_peer(word: &OutlineWord<'_>, peers: &[PeerRow]) -> Diagnostic {
    let names = || peers.iter().map(|peer| peer.name.as_str());
    let help = match peers {
        [] => format!("declare it before: peer {}", word.text),
        _ => suggestion(word.text, names()).unwrap_or_else(|| format!("peers are {}", listed(names()))),
    };
    Diagnostic::error(word.span, format!("unknown peer \"{}\"", word.text)).with_help(help)
}

/// A word that is none of `known`.
pub(super) fn unknown_word<'k>(
    word: &OutlineWord<'_>,
    what: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> Diagnostic {
    let help = suggestion(word.text, known.clone()).unwrap_or_else(|| format!("one of {}", listed(known)));
    Diagnostic::error(word.span, format!("unknown {what} \"{}\"", word.text)).with_help(help)
}

/// The text of a span, by its offset in the file.
pub(super) fn text_of(file: &str, stretch: Span) -> &str {
    file.get(stretch.start as usize..stretch.end as usize).unwrap_or_default()
}

/// The rest of a line after a word.
pub(super) fn rest_of_line<'s>(line: &super::outline::OutlineLine<'s>, behind: Span) -> (&'s str, Span) {
    let from = (behind.end as usize).saturating_sub(line.start).min(line.text.len());
    let rest = line.text[from..].trim_end();
    let blank = rest.len() - rest.trim_start().len();
    (rest.trim_start(), span(line.start + from + blank, rest.len() - blank))
}
