//! Whether a condition holds, and the reason when it does not.

use std::net::SocketAddr;

use regex::Regex;

use super::flow::{ConditionSubject, Pattern, Relation};
use super::placeholder::{PlaceholderText, Values};
use crate::sip::Message;

/// What a condition looks at, with what was found there.
pub(super) struct Found {
    /// In words: `header To`.
    pub name: String,
    /// The text; `None` when there is no such thing.
    pub text: Option<String>,
    /// How many there are.
    pub count: usize,
}

/// What was captured: names and texts.
pub(super) type Captures = Vec<(String, String)>;

/// A message that a peer received.
#[derive(Clone, Debug)]
pub(super) struct ReceivedMessage {
    pub bytes: Vec<u8>,
    pub source: SocketAddr,
}

impl ReceivedMessage {
    /// Its first line; for what is no message all of it.
    pub fn start(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// All of it with line ends of LF.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).replace("\r\n", "\n")
    }

    /// The same, but line ends other than CRLF are marked, and so is a missing empty line after the header fields.
    fn exact_text(&self, message: Option<&Message<'_>>) -> String {
        let marked = String::from_utf8_lossy(&self.bytes).replace("\r\n", "\0").replace('\n', "\\n\n");
        let text = marked.replace('\0', "\n");
        if message.is_some_and(|message| !message.body().is_empty()) {
            return text;
        }
        text.strip_suffix("\n\n").map_or_else(|| format!("{text}\n(no empty line)"), str::to_owned)
    }

    /// A part of it.
    pub fn find(&self, subject: &ConditionSubject) -> Found {
        let message = Message::parse(&self.bytes).ok();
        let message = message.as_ref();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, found) = match subject {
            ConditionSubject::Start => ("the first line".to_owned(), Some(self.start())),
            ConditionSubject::Reason => {
                let line = message.and_then(|message| message.status_line());
                ("the reason".to_owned(), line.map(|line| text(line.reason)))
            }
            ConditionSubject::Uri => {
                let line = message.and_then(|message| message.request_line());
                ("the Request-URI".to_owned(), line.map(|line| text(line.uri)))
            }
            ConditionSubject::Header { name, number } => return self.find_header(name, *number),
            ConditionSubject::Body => {
                let body = message.map(Message::body).filter(|body| !body.is_empty());
                ("the body".to_owned(), body.map(|body| text(body).replace("\r\n", "\n")))
            }
            ConditionSubject::Source => ("the source".to_owned(), Some(self.source.to_string())),
            ConditionSubject::Message | ConditionSubject::Result(_) | ConditionSubject::Error => {
                ("the message".to_owned(), Some(self.exact_text(message)))
            }
        };
        Found { name, count: usize::from(found.is_some()), text: found }
    }

    fn find_header(&self, name: &str, number: usize) -> Found {
        let message = Message::parse(&self.bytes).ok();
        let values: Vec<String> = message
            .iter()
            .flat_map(|message| message.headers_named(name.as_bytes()))
            .map(|header| unfolded(&String::from_utf8_lossy(header.value)))
            .collect();
        let shown = if number == 1 { format!("header {name}") } else { format!("header {name}[{number}]") };
        Found { name: shown, text: values.get(number - 1).cloned(), count: values.len() }
    }
}

/// A value in one line (RFC 3261 7.3.1).
fn unfolded(value: &str) -> String {
    value.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Whether a relation holds: what it captured, or why it does not.
pub(super) fn judge(relation: &Relation, found: &Found, values: &dyn Values) -> Result<Captures, String> {
    let Found { name, text, count } = found;
    let there = || text.as_deref().ok_or_else(|| format!("there is no {}", name.trim_start_matches("the ")));
    let none = Ok(Vec::new());
    match relation {
        Relation::Present => there().and(none),
        Relation::Absent => match text {
            Some(text) => Err(format!("{name} should be absent and is {}", quoted(text))),
            None => none,
        },
        Relation::Count(wanted) if count == wanted => none,
        Relation::Count(wanted) => Err(format!("{name} is there {count} times, not {wanted} times")),
        Relation::As(key) => Ok(vec![(key.clone(), there()?.to_owned())]),
        Relation::Is(wanted) => {
            let (text, wanted) = (there_or_empty(text, wanted, values, there)?, wanted.fill(values)?);
            match without_end(&text) == without_end(&wanted) {
                true => none,
                false => Err(difference(name, &text, &wanted)),
            }
        }
        Relation::IsNot(unwanted) => match there()? {
            text if without_end(text) == without_end(&unwanted.fill(values)?) => {
                Err(format!("{name} is {}", quoted(text)))
            }
            _ => none,
        },
        Relation::Contains(wanted) => {
            let (text, wanted) = (there()?, wanted.fill(values)?);
            let reason = || format!("{name} is {}, which does not contain {}", quoted(text), quoted(&wanted));
            if text.contains(&wanted) { none } else { Err(reason()) }
        }
        Relation::Lacks(unwanted) => {
            let unwanted = unwanted.fill(values)?;
            match text {
                Some(text) if text.contains(&unwanted) => {
                    Err(format!("{name} is {}, which contains {}", quoted(text), quoted(&unwanted)))
                }
                _ => none,
            }
        }
        Relation::Matches(pattern) => matches(pattern, name, there()?, values),
    }
}

/// An absent body is an empty one.
fn there_or_empty<'t>(
    text: &Option<String>,
    wanted: &PlaceholderText,
    values: &dyn Values,
    there: impl Fn() -> Result<&'t str, String>,
) -> Result<String, String> {
    match text {
        None if wanted.fill(values)?.is_empty() => Ok(String::new()),
        _ => there().map(str::to_owned),
    }
}

fn matches(pattern: &Pattern, name: &str, text: &str, values: &dyn Values) -> Result<Captures, String> {
    let filled = pattern.text.fill_pattern(values)?;
    let regex = match &pattern.ready {
        Some(regex) => regex.clone(),
        None => Regex::new(&filled).map_err(|error| format!("{filled} cannot be used: {error}"))?,
    };
    let Some(found) = regex.captures(text) else {
        return Err(format!("{name} is {}, which does not match {filled}", quoted(text)));
    };
    let names = regex.capture_names().flatten();
    Ok(names.filter_map(|key| Some((key.to_owned(), found.name(key)?.as_str().to_owned()))).collect())
}

fn without_end(text: &str) -> &str {
    text.trim_end_matches('\n')
}

/// For texts of several lines: the first line that differs.
fn difference(name: &str, text: &str, wanted: &str) -> String {
    if !text.contains('\n') && !wanted.contains('\n') {
        return format!("{name} is {}, not {}", quoted(text), quoted(wanted));
    }
    let (text, wanted) = (without_end(text), without_end(wanted));
    let count = text.lines().count().max(wanted.lines().count());
    let line = |of: &str, number: usize| of.lines().nth(number).map_or("missing".to_owned(), quoted);
    let number = (0..count).find(|number| line(text, *number) != line(wanted, *number)).unwrap_or_default();
    format!("line {} of {name} is {}, not {}", number + 1, line(text, number), line(wanted, number))
}

/// In quotes, shortened to a readable length.
fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 300;
    let text = text.replace('\n', "\\n");
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("\"{}…\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::placeholder::NameScope;
    use super::*;

    struct Nothing;

    impl Values for Nothing {
        fn value(&self, name: &str) -> Result<String, String> {
            Err(format!("{name} is not known"))
        }
    }

    fn text(text: &str) -> PlaceholderText {
        PlaceholderText::parse(text, 0, &NameScope::new(), &mut Vec::new())
    }

    fn received() -> ReceivedMessage {
        let bytes = b"SIP/2.0 200 Fine\r\nv: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\nTo: <sip:b>;tag=7\r\n\r\none\r\ntwo\r\n";
        ReceivedMessage { bytes: bytes.to_vec(), source: "127.0.0.1:5".parse().unwrap() }
    }

    #[track_caller]
    fn check(subject: ConditionSubject, relation: Relation, expected: Result<&[(&str, &str)], &str>) {
        let judged = judge(&relation, &received().find(&subject), &Nothing);
        let judged = judged.as_ref().map_err(String::as_str).map(|captures| {
            captures.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>()
        });
        assert_eq!(judged, expected.map(<[_]>::to_vec), "{subject:?} {relation:?}");
    }

    #[test]
    fn conditions_hold_or_say_why_not() {
        use Relation::{Absent, As, Contains, Count, Is, IsNot, Lacks, Present};
        let via = |number| ConditionSubject::Header { name: "Via".to_owned(), number };
        let none: Result<&[(&str, &str)], &str> = Ok(&[]);
        check(ConditionSubject::Reason, Is(text("Fine")), none);
        check(ConditionSubject::Reason, Is(text("OK")), Err("the reason is \"Fine\", not \"OK\""));
        check(ConditionSubject::Uri, Present, Err("there is no Request-URI"));
        check(ConditionSubject::Reason, IsNot(text("Fine")), Err("the reason is \"Fine\""));
        check(via(1), Contains(text("UDP a")), none);
        check(
            via(2),
            Contains(text("c")),
            Err("header Via[2] is \"SIP/2.0/UDP b\", which does not contain \"c\""),
        );
        check(via(3), Absent, none);
        check(via(1), Absent, Err("header Via should be absent and is \"SIP/2.0/UDP a\""));
        check(via(1), Count(2), none);
        check(via(1), Count(1), Err("header Via is there 2 times, not 1 times"));
        check(via(2), As("b".to_owned()), Ok(&[("b", "SIP/2.0/UDP b")]));
        check(
            ConditionSubject::Body,
            Lacks(text("two")),
            Err("the body is \"one\\ntwo\\n\", which contains \"two\""),
        );
        check(ConditionSubject::Body, Is(text("one\ntwo")), none);
        check(ConditionSubject::Body, Is(text("one\n2")), Err("line 2 of the body is \"two\", not \"2\""));
        check(ConditionSubject::Source, Is(text("127.0.0.1:5")), none);
    }

    #[test]
    fn a_message_to_the_letter_has_its_line_ends() {
        let whole = |bytes: &[u8]| {
            let received = ReceivedMessage { bytes: bytes.to_vec(), source: "127.0.0.1:5".parse().unwrap() };
            received.find(&ConditionSubject::Message).text.unwrap_or_default()
        };
        assert_eq!(whole(b"SIP/2.0 200 OK\r\nTo: a\r\n\r\n"), "SIP/2.0 200 OK\nTo: a");
        assert_eq!(whole(b"SIP/2.0 200 OK\nTo: a\r\n\r\n"), "SIP/2.0 200 OK\\n\nTo: a");
        assert_eq!(whole(b"SIP/2.0 200 OK\r\nTo: a\r\n"), "SIP/2.0 200 OK\nTo: a\n\n(no empty line)");
        assert_eq!(whole(b"SIP/2.0 200 OK\r\nTo: a\r\n\r\nx"), "SIP/2.0 200 OK\nTo: a\n\nx");
    }

    #[test]
    fn patterns_capture() {
        let to = || ConditionSubject::Header { name: "To".to_owned(), number: 1 };
        let pattern =
            |shape: &str| Relation::Matches(Pattern { text: text(shape), ready: Regex::new(shape).ok() });
        check(to(), pattern(";tag=(?<tag>.*)"), Ok(&[("tag", "7")]));
        check(to(), pattern("^x"), Err("header To is \"<sip:b>;tag=7\", which does not match ^x"));
    }
}
