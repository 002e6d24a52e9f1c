//! Header fields: there or not, removed, added.

use crate::core::context::Context;
use crate::core::functions::outcome;
use crate::core::module::{Argument, Outcome};
use crate::sip::{HeaderId, Message};

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

pub(super) fn append(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    let checked = check_lines(lines).map(|()| context.edits.add_lines_last(&context.message, lines));
    outcome(context, "append_hf", checked)
}

pub(super) fn insert(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    let checked = check_lines(lines).map(|()| context.edits.add_lines_first(&context.message, lines));
    outcome(context, "insert_hf", checked)
}

pub(super) fn append_to_reply(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    if let Err(reason) = check_lines(lines) {
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

/// Behind the last header field of the name; without one behind all others.
pub(super) fn append_after(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let lines = arguments[0].text();
    if let Err(reason) = check_lines(lines) {
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
    if let Err(reason) = check_lines(lines) {
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

/// Whether the text is header lines, as somebody who receives them will read them.
fn check_lines(lines: &[u8]) -> Result<(), &'static str> {
    let head = [b"X sip:x SIP/2.0\r\n", lines, b"\r\n\r\n"].concat();
    let Ok(message) = Message::parse(&head) else { return Err("this is too much for header lines") };
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
    use crate::core::module::ModuleEntry;
    use crate::core::stage::{OPTIONS, Stage};

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
            assert_eq!(check_lines(lines.as_bytes()).is_ok(), expected, "{lines:?}");
        }
    }

    #[test]
    fn lines_for_replies_wait_until_one_is_made() {
        const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOps>()];
        let rows = [
            ("X-A: 1\\r\\n", "X-A: 1\r\n"),
            ("X-A: 1", "X-A: 1\r\n"),
            ("X-A: 1\\nX-B: $rm\\n", "X-A: 1\r\nX-B: OPTIONS\r\n"),
            ("no colon", ""),
            ("\\r\\n\\r\\n", ""),
        ];
        for (lines, expected) in rows {
            let head = "loadmodule \"textops.so\"\n";
            let script = format!("{head}request_route {{ append_to_reply(\"{lines}\"); }}");
            let mut stage = Stage::new(MODULES, &script);
            assert_eq!(stage.reply_headers_after(OPTIONS), expected, "{lines}");
        }
    }
}
