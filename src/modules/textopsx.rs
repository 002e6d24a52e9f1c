//! Module `textopsx`: applies changes at once and makes further ones: `msg_apply_changes`, `keep_hf`, `remove_body`, …

use std::rc::Rc;

use regex::bytes::{Regex, RegexBuilder};

use crate::core::context::Context;
use crate::core::functions::outcome;
use crate::core::log::Level;
use crate::core::module::{Argument, Complaint, Module, ModuleFunction, Outcome, ParameterKind, RouteSet};
use crate::core::preparation::Preparation;
use crate::sip::list::ListValues;
use crate::sip::{HeaderId, Status};

/// Module `textopsx`.
#[derive(Default)]
pub struct TextOpsX {
    regexes: Vec<Rc<Regex>>,
}

const PREPARED: &[ParameterKind] = &[ParameterKind::Prepared];
const TWO_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text];
const STATUS_REASON: &[ParameterKind] = &[ParameterKind::Integer, ParameterKind::Text];

/// Without these nobody could answer the message.
const ALWAYS_KEPT: &[HeaderId] = &[
    HeaderId::Via,
    HeaderId::From,
    HeaderId::To,
    HeaderId::CallId,
    HeaderId::CSeq,
    HeaderId::Route,
    HeaderId::RecordRoute,
    HeaderId::Contact,
    HeaderId::ContentType,
    HeaderId::ContentLength,
    HeaderId::MaxForwards,
];

impl Module for TextOpsX {
    const NAME: &'static str = "textopsx";
    const DOCUMENTATION: &'static str = "applies changes of a message at once and makes further ones";
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new(
            "msg_apply_changes",
            "makes the message what it has been changed to, so that variables show it",
            &[],
            |_, context, _| {
                let applied = context.apply_changes();
                outcome(context, "msg_apply_changes", applied)
            },
        ),
        ModuleFunction::new("remove_body", "removes the body and its type", &[], |_, context, _| {
            context.edits.remove_body(&context.message);
            Outcome::TRUE
        }),
        ModuleFunction::new(
            "change_reply_status",
            "changes status and reason of a reply, within its class for 1xx and 2xx",
            STATUS_REASON,
            Self::change_status,
        )
        .routes(RouteSet::REPLY),
        ModuleFunction::new(
            "keep_hf",
            "removes every header field a message can do without",
            &[],
            |_, context, _| keep(context, |_| false),
        ),
        ModuleFunction::new(
            "keep_hf",
            "removes every header field a message can do without, but those whose name matches",
            PREPARED,
            Self::keep_matching,
        )
        .prepare(Self::prepare_regex),
        ModuleFunction::new(
            "hf_value_exists",
            "true when a header field of this name lists this value",
            TWO_TEXTS,
            |_, context, arguments| {
                let headers = context.message.headers_named(arguments[0].text());
                let mut values = headers.flat_map(|header| ListValues::new(header.value));
                values.any(|value| value.eq_ignore_ascii_case(arguments[1].text())).into()
            },
        ),
        ModuleFunction::new(
            "append_hf_value",
            "adds a header field behind the last one of this name",
            TWO_TEXTS,
            |_, context, arguments| add_value(context, arguments, -1),
        ),
        ModuleFunction::new(
            "insert_hf_value",
            "adds a header field before the first one of this name",
            TWO_TEXTS,
            |_, context, arguments| add_value(context, arguments, 0),
        ),
    ];

    fn new() -> Self {
        TextOpsX::default()
    }
}

impl TextOpsX {
    fn prepare_regex(
        &mut self,
        _: &mut Preparation<'_>,
        _: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Complaint> {
        let regex = name_regex(literal).map_err(|message| Complaint { message, help: None })?;
        self.regexes.push(Rc::new(regex));
        Ok(Some(self.regexes.len() as u32 - 1))
    }

    fn keep_matching(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let regex = match arguments[0] {
            Argument::Prepared(number, _) => self.regexes.get(number as usize).cloned(),
            computed => match name_regex(computed.text()) {
                Ok(regex) => Some(Rc::new(regex)),
                Err(reason) => {
                    context.log(Level::Error, format_args!("keep_hf: {reason}"));
                    None
                }
            },
        };
        match regex {
            Some(regex) => keep(context, |name| regex.is_match(name)),
            None => Outcome::FALSE,
        }
    }

    fn change_status(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let changed = change_status(context, &arguments[0], arguments[1].text());
        outcome(context, "change_reply_status", changed)
    }
}

fn name_regex(pattern: &[u8]) -> Result<Regex, String> {
    let text = std::str::from_utf8(pattern).map_err(|_| "a pattern is not valid text".to_string())?;
    let mut builder = RegexBuilder::new(text);
    builder.case_insensitive(true).unicode(false).size_limit(1 << 20);
    builder.build().map_err(|error| {
        let reason = error.to_string();
        format!("invalid regular expression \"{text}\": {}", reason.lines().last().unwrap_or_default().trim())
    })
}

fn keep(context: &mut Context<'_>, is_kept: impl Fn(&[u8]) -> bool) -> Outcome {
    let edits = &mut context.edits;
    for header in context.message.headers() {
        if !ALWAYS_KEPT.contains(&header.id)
            && !is_kept(header.name)
            && let Err(error) = edits.remove(&context.message, &header)
        {
            return outcome(context, "keep_hf", Err(error));
        }
    }
    Outcome::TRUE
}

/// A final reply must not become a provisional one or the other way round: transactions end by it.
fn change_status(context: &mut Context<'_>, code: &Argument<'_>, reason: &[u8]) -> Result<(), String> {
    let Some(line) = context.message.status_line() else { return Err("this is no reply".to_string()) };
    let code = code.integer().and_then(|code| u16::try_from(code).ok()).and_then(Status::new);
    let status = code.ok_or("the status is not a number from 100 to 699")?;
    if (line.status.class() < 3 || status.class() < 3) && line.status.class() != status.class() {
        return Err(format!("a {} cannot become a {status}", line.status));
    }
    if reason.iter().any(|&byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err("the reason holds a line end".to_string());
    }
    let version = context.message.span_of(line.version).ok_or("the first line is not one of this message")?;
    let first_line = &context.message.bytes()[..context.message.headers_start()];
    let end = first_line.trim_ascii_end().len();
    let text = [format!(" {status} ").as_bytes(), reason].concat();
    context.edits.replace(&context.message, version.end..end, &text).map_err(|error| error.to_string())
}

fn add_value(context: &mut Context<'_>, arguments: &[Argument<'_>], index: i32) -> Outcome {
    let (name, value) = (arguments[0].text(), arguments[1].text());
    // The check of name and value is that of a field on its own; only the place differs.
    let Some(header) = context.message.header_named(name, index) else {
        let added = context.edits.add_last(&context.message, name, value);
        return outcome(context, "append_hf_value", added);
    };
    if value.iter().any(|&byte| matches!(byte, b'\r' | b'\n')) {
        return outcome(context, "append_hf_value", Err("the value holds a line end"));
    }
    let line = [header.name, b": ", value, b"\r\n"].concat();
    let added = if index < 0 {
        context.edits.add_lines_after(&context.message, &header, &line)
    } else {
        context.edits.add_lines_before(&context.message, &header, &line)
    };
    outcome(context, "append_hf_value", added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::module::ModuleEntry;
    use crate::core::stage::{Stage, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOpsX>()];

    const REQUEST: &str = "INFO sip:bob@127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 INFO\r\nX-Foo: 1\r\n\
        Supported: path, 100rel\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
    const REPLY: &str = "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 127.0.0.1:17060;branch=z9hG4bKx\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa\r\nFrom: <sip:a@b.com>;tag=1\r\n\
        To: <sip:c@d>;tag=2\r\nCall-ID: c1\r\nCSeq: 1 INFO\r\n\r\n";

    fn after(route: &str, statements: &str, text: &str, message: &str) -> String {
        let script =
            format!("loadmodule \"textopsx.so\"\n{route} {{ {statements} log(2, \"@@{text}@@\"); }}\n");
        let script =
            if route == "request_route" { script } else { format!("{script}request_route {{ exit; }}") };
        let mut stage = Stage::new(MODULES, &script);
        stage.receive(message);
        let log = stage.log();
        let found = log.split("@@").nth(1).unwrap_or_else(|| panic!("{statements}: {log}"));
        found.replace("\\x0d", "")
    }

    #[test]
    fn changes_show_once_they_are_applied() {
        let rows = [
            ("$fu = \"sip:x@y\";", "$fu", "sip:a@b.com"),
            ("$fu = \"sip:x@y\"; msg_apply_changes();", "$fu $ft", "sip:x@y 1"),
            ("$fU = \"al\"; msg_apply_changes(); $fd = \"h\"; msg_apply_changes();", "$fu", "sip:al@h"),
            ("$rU = \"al\"; msg_apply_changes();", "$ru $ou", "sip:al@127.0.0.1:5070 sip:al@127.0.0.1:5070"),
            ("remove_body(); msg_apply_changes();", "[$rb] $cT $cl", "[] <null> 0"),
            ("append_hf_value(\"X-Foo\", \"2\"); msg_apply_changes();", "$(hdr(X-Foo)[*])", "1, 2"),
            ("insert_hf_value(\"X-Foo\", \"0\"); msg_apply_changes();", "$(hdr(X-Foo)[*])", "0, 1"),
            ("append_hf_value(\"X-New\", \"n\"); msg_apply_changes();", "$hdr(X-New)", "n"),
            ("append_hf_value(\"X-Foo\", \"a\\r\\nb\"); msg_apply_changes();", "$(hdr(X-Foo)[*])", "1"),
            ("keep_hf(); msg_apply_changes();", "$hdr(X-Foo) $ci $rb", "<null> c1 hi"),
            ("keep_hf(\"^X-\"); msg_apply_changes();", "$hdr(X-Foo) $hdr(Supported)", "1 <null>"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after("request_route", statements, text, REQUEST), expected, "{statements}");
        }
    }

    #[test]
    fn values_of_lists_are_found() {
        for (value, expected) in [("path", "1"), ("100REL", "1"), ("timer", "-1")] {
            let statements = format!("$var(rc) = hf_value_exists(\"Supported\", \"{value}\");");
            assert_eq!(after("request_route", &statements, "$var(rc)", REQUEST), expected, "{value}");
        }
    }

    #[test]
    fn the_status_of_a_reply_changes_within_its_class() {
        let first_line = |code: &str, reason: &str| {
            let statements = format!("change_reply_status({code}, \"{reason}\");");
            after("reply_route", &statements, "$mbu", REPLY).lines().next().unwrap().to_string()
        };
        assert_eq!(first_line("404", "Gone Fishing"), "SIP/2.0 404 Gone Fishing");
        assert_eq!(first_line("603", "No"), "SIP/2.0 603 No");
        for (code, reason) in [("200", "OK"), ("180", "x"), ("99", "x"), ("404", "a\\r\\nVia: x")] {
            assert_eq!(first_line(code, reason), "SIP/2.0 486 Busy Here", "{code} {reason}");
        }
    }

    #[test]
    fn changes_are_applied_only_so_often() {
        let statements = "msg_apply_changes(); ".repeat(6) + "$var(rc) = msg_apply_changes();";
        assert_eq!(after("request_route", &statements, "$var(rc) $ci", REQUEST), "-1 c1");
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<TextOpsX>();
    }
}
