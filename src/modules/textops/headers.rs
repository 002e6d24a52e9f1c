//! Header fields: there or not, removed, added.

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome};
use crate::routing::context::Context;
use crate::sip::message::Limits;
use crate::sip::{Grammar, Header, HeaderId, Message};

use super::TextOps;

pub(super) fn is_present(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    context.message.header_named(arguments[0].text(), 0).is_some().into()
}

pub(super) fn is_present_by_pattern(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Some(regex) = module.regex(context, &arguments[0]) else { return Outcome::FALSE };
    context.message.headers().any(|header| regex.is_match(header.name)).into()
}

pub(super) fn remove(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let removed = context.edits.remove_named(&context.message, arguments[0].text());
    (removed > 0).into()
}

pub(super) fn remove_by_pattern(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Some(regex) = module.regex(context, &arguments[0]) else { return Outcome::FALSE };
    let edits = &mut context.edits;
    let matching = context.message.headers().filter(|header| regex.is_match(header.name));
    let removed = matching.filter(|header| edits.remove(&context.message, header).is_ok()).count();
    (removed > 0).into()
}

/// Header fields whose name or value matches the first expression, but not the second.
pub(super) fn remove_matching(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let removing = module.regex(context, &arguments[0]);
    let keeping = module.regex(context, &arguments[1]);
    let (Some(removing), Some(keeping)) = (removing, keeping) else { return Outcome::FALSE };
    // An empty expression would match everything and keep all.
    let has_exception = !arguments[1].text().is_empty();
    remove_where(context, |header| {
        let matches =
            |regex: &regex::bytes::Regex| regex.is_match(header.name) || regex.is_match(header.value);
        matches(&removing) && !(has_exception && matches(&keeping))
    })
}

/// Header fields of a name whose value compares as the mode says.
pub(super) fn remove_compared(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let [name, text] = [0, 1].map(|index: usize| arguments[index].text());
    let Some(comparison) = Comparison::of(arguments[2].text()) else {
        return outcome(context, "remove_hf_match", Err(Comparison::HELP));
    };
    let regex = match comparison {
        Comparison::Regex => match module.regex(context, &arguments[1]) {
            Some(regex) => Some(regex),
            None => return Outcome::FALSE,
        },
        _ => None,
    };
    let edits = &mut context.edits;
    let named = context.message.headers_named(name);
    let matching = named.filter(|header| comparison.holds(header.value, text, regex.as_deref()));
    let removed = matching.filter(|header| edits.remove(&context.message, header).is_ok()).count();
    (removed > 0).into()
}

/// The header field of a name at an index, from 0; negative from the last.
pub(super) fn remove_at(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let index = arguments[1].integer().and_then(|index| i32::try_from(index).ok());
    let header = index.and_then(|index| context.message.header_named(arguments[0].text(), index));
    match header {
        Some(header) => {
            let removed = context.edits.remove(&context.message, &header);
            outcome(context, "remove_hf_idx", removed)
        }
        None => Outcome::FALSE,
    }
}

fn remove_where(context: &mut Context<'_>, is_removed: impl Fn(&Header<'_>) -> bool) -> Outcome {
    let edits = &mut context.edits;
    let matching = context.message.headers().filter(is_removed);
    let removed = matching.filter(|header| edits.remove(&context.message, header).is_ok()).count();
    (removed > 0).into()
}

/// How `remove_hf_match` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    StartsWith,
    Contains,
    Regex,
    Glob,
}

impl Comparison {
    pub(super) const HELP: &str = "modes are eq, ne, sw, in, re, fm";

    pub(super) fn of(mode: &[u8]) -> Option<Comparison> {
        match mode {
            b"eq" => Some(Comparison::Equal),
            b"ne" => Some(Comparison::NotEqual),
            b"sw" => Some(Comparison::StartsWith),
            b"in" => Some(Comparison::Contains),
            b"re" => Some(Comparison::Regex),
            b"fm" => Some(Comparison::Glob),
            _ => None,
        }
    }

    fn holds(self, value: &[u8], text: &[u8], regex: Option<&regex::bytes::Regex>) -> bool {
        match self {
            Comparison::Equal => value == text,
            Comparison::NotEqual => value != text,
            Comparison::StartsWith => value.starts_with(text),
            Comparison::Contains => memchr::memmem::find(value, text).is_some(),
            Comparison::Regex => regex.is_some_and(|regex| regex.is_match(value)),
            Comparison::Glob => super::values::glob_matches(value, text),
        }
    }
}

/// A header line with the Request-URI: what stands before it and after it.
pub(super) fn append_request_uri(
    _: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Some(uri) = context.request_uri() else {
        return outcome(context, "append_urihf", Err("the message is not a request"));
    };
    let line = [arguments[0].text(), uri, arguments[1].text()].concat();
    let checked =
        check_lines(&line, context.grammar()).map(|()| context.edits.add_lines_last(&context.message, &line));
    outcome(context, "append_urihf", checked)
}

/// Date, for every reply made from here on.
pub(super) fn append_date_to_reply(_: &TextOps, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    let Some(line) = date_line(context) else { return Outcome::FALSE };
    context.reply_headers.extend_from_slice(line.as_bytes());
    Outcome::TRUE
}

/// Date, for the message that is sent on.
pub(super) fn append_date(_: &TextOps, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    let Some(line) = date_line(context) else { return Outcome::FALSE };
    context.edits.add_lines_last(&context.message, line.as_bytes());
    Outcome::TRUE
}

/// RFC 3261 20.17: always in GMT.
fn date_line(context: &Context<'_>) -> Option<String> {
    let nanoseconds = i128::from(context.envelope().received_at_ns);
    let time = jiff::Timestamp::from_nanosecond(nanoseconds).ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC);
    Some(zoned.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string())
}

pub(super) fn append(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    let checked =
        check_lines(lines, context.grammar()).map(|()| context.edits.add_lines_last(&context.message, lines));
    outcome(context, "append_hf", checked)
}

pub(super) fn insert(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    let checked = check_lines(lines, context.grammar())
        .map(|()| context.edits.add_lines_first(&context.message, lines));
    outcome(context, "insert_hf", checked)
}

pub(super) fn append_to_reply(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    if let Err(reason) = check_lines(lines, context.grammar()) {
        return outcome(context, "append_to_reply", Err(reason));
    }
    for line in lines.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        if !line.is_empty() {
            context.reply_headers.extend_from_slice(line);
            context.reply_headers.extend_from_slice(b"\r\n");
        }
    }
    Outcome::TRUE
}

/// Behind the last header field of the name; without one after all others.
pub(super) fn append_after(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    if let Err(reason) = check_lines(lines, context.grammar()) {
        return outcome(context, "append_hf", Err(reason));
    }
    let added = match context.message.header_named(arguments[1].text(), -1) {
        Some(header) => context.edits.add_lines_after(&context.message, &header, lines),
        None => {
            context.edits.add_lines_last(&context.message, lines);
            Ok(())
        }
    };
    outcome(context, "append_hf", added)
}

/// Before the first header field of the name; without one before all others.
pub(super) fn insert_before(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    if let Err(reason) = check_lines(lines, context.grammar()) {
        return outcome(context, "insert_hf", Err(reason));
    }
    let added = match context.message.header_named(arguments[1].text(), 0) {
        Some(header) => context.edits.add_lines_before(&context.message, &header, lines),
        None => {
            context.edits.add_lines_first(&context.message, lines);
            Ok(())
        }
    };
    outcome(context, "insert_hf", added)
}

pub(super) fn is_privacy(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let wanted = arguments[0].text();
    // RFC 3323 4.2: values are separated by semicolons.
    let mut values = context
        .message
        .headers_of(HeaderId::Privacy)
        .flat_map(|header| header.value.split(|&byte| matches!(byte, b';' | b',')))
        .map(<[u8]>::trim_ascii);
    values.any(|value| value.eq_ignore_ascii_case(wanted)).into()
}

/// Whether the text is header lines, as a receiver will read them.
fn check_lines(lines: &[u8], grammar: &Grammar) -> Result<(), &'static str> {
    let head = [b"X sip:x SIP/2.0\r\n", lines, b"\r\n\r\n"].concat();
    let Ok(message) = Message::parse_within(&head, &Limits::DEFAULT, grammar) else {
        return Err("this is too long for header lines");
    };
    if message.header_count() == 0 {
        return Err("there is no header line in this text");
    }
    if message.broken_line().is_some() || lines.first().is_some_and(u8::is_ascii_whitespace) {
        return Err("a line of this text has no name before a colon");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{OPTIONS, ScriptHarness};
    use crate::modules::sl::Stateless;

    #[test]
    fn only_header_lines_are_added() {
        let rows = [
            ("X-Foo: bar\r\n", true),
            ("X-Foo: bar", true),
            ("X-Foo: bar\n", true),
            ("X-Foo: a\r\nX-Bar: b\r\n", true),
            ("X-Foo: a\r\n folded\r\n", true),
            ("X-Foo:\r\n", true),
            ("", false),
            ("\r\n", false),
            ("no colon\r\n", false),
            ("X Foo: bar\r\n", false),
            (": bar\r\n", false),
            (" folded: x\r\n", false),
            ("X-Foo: a\r\nno colon\r\n", false),
        ];
        for (lines, expected) in rows {
            assert_eq!(check_lines(lines.as_bytes(), &Grammar::STRICT).is_ok(), expected, "{lines:?}");
        }
    }

    #[test]
    fn lines_for_replies_wait_until_one_is_made() {
        const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOps>(), ModuleEntry::of::<Stateless>()];
        let rows = [
            ("X-A: 1\\r\\n", "X-A: 1\r\n"),
            ("X-A: 1", "X-A: 1\r\n"),
            ("X-A: 1\\nX-B: $rm\\n", "X-A: 1\r\nX-B: OPTIONS\r\n"),
            ("no colon", ""),
            ("\\r\\n\\r\\n", ""),
        ];
        for (lines, expected) in rows {
            let head = "loadmodule \"textops.so\"\nloadmodule \"sl.so\"\n";
            let reply = "sl_send_reply(\"200\", \"OK\")";
            let script = format!("{head}request_route {{ append_to_reply(\"{lines}\"); {reply}; }}");
            let mut stage = ScriptHarness::new(MODULES, &script);
            stage.receive(OPTIONS);
            let sent = stage.sent_one().text;
            let is_ours = |line: &&str| line.starts_with("X-") || line.contains("no colon");
            let found: String = sent.split_inclusive("\r\n").filter(is_ours).collect();
            assert_eq!((found.as_str(), sent.matches("\r\n\r\n").count()), (expected, 1), "{lines}");
        }
    }
}
