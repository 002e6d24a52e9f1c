//! The lines below `expect` and `rpc`: what is looked at, and what must be true of it.

use regex::Regex;

use super::flow::{Condition, ConditionSubject, Pattern, Relation};
use super::outline::{self, OutlineItem, OutlineWord, span};
use super::placeholder::PlaceholderText;
use super::reader::Reader;
use super::steps::{StepResult, Words, rest_of_line, unknown_word};
use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;

const FORM: &str = "a condition is: start, reason, uri, header NAME, body, message or source; then is, is not, contains, \
     lacks, matches, present, absent, count or as";
const ANSWER_FORM: &str = "a condition is: result, at /POINTER or error; then is, is not, contains, lacks, matches, \
                           present, absent or as";

/// The conditions on a message.
pub(super) fn of_message(reader: &mut Reader<'_>, item: &OutlineItem<'_>) -> Vec<Condition> {
    all(reader, item, message_subject, FORM)
}

/// The conditions on an answer of the control process.
pub(super) fn of_answer(reader: &mut Reader<'_>, item: &OutlineItem<'_>) -> Vec<Condition> {
    all(reader, item, answer_subject, ANSWER_FORM)
}

type ReadSubject = fn(&mut Words<'_>) -> StepResult<ConditionSubject>;

fn all(reader: &mut Reader<'_>, item: &OutlineItem<'_>, subject: ReadSubject, form: &str) -> Vec<Condition> {
    let items = outline::items(&item.block, &mut reader.diagnostics);
    let mut conditions = Vec::new();
    for item in &items {
        match condition(reader, item, subject, form) {
            Ok(condition) => conditions.push(condition),
            Err(diagnostic) => reader.diagnostics.push(diagnostic),
        }
    }
    conditions
}

fn condition(
    reader: &mut Reader<'_>,
    item: &OutlineItem<'_>,
    subject: ReadSubject,
    form: &str,
) -> StepResult<Condition> {
    // Values are the rest of the line as it stands: quotes in it are not ours.
    let words = outline::words(&item.head, &mut Vec::new());
    let mut words = Words::new(words, item.head.span());
    let subject = subject(&mut words)?;
    let word = words.take("what must be true", form)?;
    let relation = relation(reader, item, &word, &mut words)?;
    Ok(Condition { span: item.head.span(), subject, relation })
}

fn message_subject(words: &mut Words<'_>) -> StepResult<ConditionSubject> {
    let word = words.take("what is looked at", FORM)?;
    Ok(match word.text {
        "start" => ConditionSubject::Start,
        "reason" => ConditionSubject::Reason,
        "uri" => ConditionSubject::Uri,
        "body" => ConditionSubject::Body,
        "message" => ConditionSubject::Message,
        "source" => ConditionSubject::Source,
        "header" => header(&words.take("the name of a header field", FORM)?)?,
        _ => {
            let known = ["start", "reason", "uri", "header", "body", "message", "source"].into_iter();
            return Err(unknown_word(&word, "part of a message", known));
        }
    })
}

/// `Via`, `Via[2]`.
fn header(word: &OutlineWord<'_>) -> StepResult<ConditionSubject> {
    let Some((name, number)) = word.text.split_once('[') else {
        return Ok(ConditionSubject::Header { name: word.text.to_owned(), number: 1 });
    };
    let number = number.strip_suffix(']').and_then(|number| number.parse().ok()).filter(|&number| number > 0);
    match number {
        Some(number) => Ok(ConditionSubject::Header { name: name.to_owned(), number }),
        None => Err(Diagnostic::error(word.span, "which one of these header fields?")
            .with_help(format!("{name}[1] is the first, {name}[2] the second"))),
    }
}

fn answer_subject(words: &mut Words<'_>) -> StepResult<ConditionSubject> {
    let word = words.take("what is looked at", ANSWER_FORM)?;
    match word.text {
        "result" => Ok(ConditionSubject::Result(String::new())),
        "error" => Ok(ConditionSubject::Error),
        "at" => {
            let pointer = words.take("a JSON pointer", "such as at /0/name is calls")?;
            match pointer.text.starts_with('/') {
                true => Ok(ConditionSubject::Result(pointer.text.to_owned())),
                false => Err(Diagnostic::error(pointer.span, "a JSON pointer begins with /")
                    .with_help("such as at /0/name is calls")),
            }
        }
        _ => Err(unknown_word(&word, "part of an answer", ["result", "at", "error"].into_iter())),
    }
}

fn relation(
    reader: &mut Reader<'_>,
    item: &OutlineItem<'_>,
    word: &OutlineWord<'_>,
    words: &mut Words<'_>,
) -> StepResult<Relation> {
    match word.text {
        "present" => words.end("nothing can follow present").map(|()| Relation::Present),
        "absent" => words.end("nothing can follow absent").map(|()| Relation::Absent),
        "count" => {
            let number = words.take("a number", "such as header Via count 2")?;
            let mistake = |_| Diagnostic::error(number.span, format!("\"{}\" is not a number", number.text));
            let count = number.text.parse().map_err(mistake)?;
            words.end("a number is all").map(|()| Relation::Count(count))
        }
        "as" => {
            let name = words.take("a name", "such as header Contact as contact")?;
            reader.scope.add(name.text);
            words.end("a name is all").map(|()| Relation::As(name.text.to_owned()))
        }
        "is" => match words.take_if("not") {
            Some(not) => value(reader, item, not.span).map(Relation::IsNot),
            None => value(reader, item, word.span).map(Relation::Is),
        },
        "contains" => value(reader, item, word.span).map(Relation::Contains),
        "lacks" => value(reader, item, word.span).map(Relation::Lacks),
        "matches" => {
            let (_, at) = rest_of_line(&item.head, word.span);
            pattern(reader, at).map(Relation::Matches)
        }
        _ => {
            let known =
                ["is", "contains", "lacks", "matches", "present", "absent", "count", "as"].into_iter();
            Err(unknown_word(word, "relation", known))
        }
    }
}

/// The rest of the line, or the lines below it.
fn value(reader: &mut Reader<'_>, item: &OutlineItem<'_>, behind: Span) -> StepResult<PlaceholderText> {
    let (rest, at) = rest_of_line(&item.head, behind);
    let Some(first) = item.block.first() else { return Ok(reader.text(at)) };
    if !rest.is_empty() {
        let message = "the value is on this line and below it";
        return Err(Diagnostic::error(first.span(), message).with_help("leave one of them out"));
    }
    Ok(PlaceholderText::joined(reader.lines(item)))
}

/// A regular expression; the names of its groups are known from here on.
pub(super) fn pattern(reader: &mut Reader<'_>, at: Span) -> StepResult<Pattern> {
    let text = reader.text(at);
    let literal = text.literal();
    let shape = literal.clone().unwrap_or_else(|| text.shape());
    match Regex::new(&shape) {
        Ok(regex) => {
            regex.capture_names().flatten().for_each(|name| reader.scope.add(name));
            Ok(Pattern { text, ready: literal.map(|_| regex) })
        }
        Err(error) => {
            let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
            let reason = reason.strip_prefix("error: ").unwrap_or(&reason).to_owned();
            let message = format!("this regular expression cannot be used: {reason}");
            let at = if at.start == at.end { span(at.start as usize, 1) } else { at };
            Err(Diagnostic::error(at, message)
                .with_help("write \\( for a parenthesis, and (?<name>…) to capture"))
        }
    }
}
