//! Module `textopsx`: applies changes at once and makes further ones: `msg_apply_changes`, `keep_hf`, `remove_body`, …

use std::cell::RefCell;
use std::rc::Rc;

use regex::bytes::Regex;

use crate::bindings::functions::outcome;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, ModuleVariable, Outcome, ParameterKind, Reading, RouteSet,
};
use crate::bindings::preparation::{Preparation, build_line_regex};
use crate::bindings::variables::{KeyRule, Subject};
use crate::routing::context::Context;
use crate::sip::list::ListValues;
use crate::sip::{HeaderId, Status};
use crate::state::value::answer_text;
use crate::telemetry::log::Level;

use iterators::{Deed, Iterators, change_body, change_headers};

pub mod iterators;
pub mod values;

/// Module `textopsx`.
#[derive(Default)]
pub struct TextOpsX {
    regexes: Vec<Rc<Regex>>,
    headers: RefCell<Iterators>,
    lines: RefCell<Iterators>,
}

const PREPARED: &[ParameterKind] = &[ParameterKind::Prepared];
const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const INTEGER: &[ParameterKind] = &[ParameterKind::Integer];
const TWO_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text];
const STATUS_REASON: &[ParameterKind] = &[ParameterKind::Integer, ParameterKind::Text];

/// Without these the message could not be answered.
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
    const DOCUMENTATION: &'static str = "applies changes of a message at once, and further changes";
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new(
            "msg_apply_changes",
            "applies the changes made so far to the message, so that variables show them",
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
            "removes every header field that is not mandatory",
            &[],
            |_, context, _| keep(context, |_| false),
        ),
        ModuleFunction::new(
            "keep_hf",
            "removes every header field that is not mandatory, but those whose name matches",
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
            "adds a header field after the last one of this name",
            TWO_TEXTS,
            |_, context, arguments| add_value(context, arguments, -1),
        ),
        ModuleFunction::new(
            "insert_hf_value",
            "adds a header field before the first one of this name",
            TWO_TEXTS,
            |_, context, arguments| add_value(context, arguments, 0),
        ),
        ModuleFunction::new(
            "include_hf_value",
            "adds a value to the list of a header unless it is there",
            TWO_TEXTS,
            |_, context, arguments| values::include(context, arguments),
        ),
        ModuleFunction::new(
            "exclude_hf_value",
            "removes a value from the lists of a header",
            TWO_TEXTS,
            |_, context, arguments| values::exclude(context, arguments),
        ),
        ModuleFunction::new(
            "remove_hf_value",
            "removes a value of a header: Name, Name[2], Name[-1], Name[*]",
            TEXT,
            |_, context, arguments| values::remove(context, arguments),
        )
        .alias(&["remove_hf_value2"]),
        ModuleFunction::new(
            "assign_hf_value",
            "replaces a value of a header: Name, Name[2], Name[-1], Name[*]",
            TWO_TEXTS,
            |_, context, arguments| values::assign(context, arguments),
        )
        .alias(&["assign_hf_value2"]),
        ModuleFunction::new(
            "msg_set_buffer",
            "replaces the current message by a text, as if it had been received",
            TEXT,
            |_, context, arguments| {
                let replaced = context.replace_message(arguments[0].text());
                outcome(context, "msg_set_buffer", replaced)
            },
        ),
        ModuleFunction::new(
            "change_reply_status_code",
            "changes the status of a reply within its class for 1xx and 2xx; the reason stays",
            INTEGER,
            |_, context, arguments| {
                let reason = context.message.status_line().map_or(&b""[..], |line| line.reason);
                let changed = change_status(context, &arguments[0], reason);
                outcome(context, "change_reply_status_code", changed)
            },
        )
        .routes(RouteSet::REPLY),
        ModuleFunction::new(
            "hf_iterator_start",
            "starts an iterator over the header fields",
            TEXT,
            |module: &Self, context, arguments| {
                let name = arguments[0].text();
                module.headers.borrow_mut().start(context.process.message_number, name).into()
            },
        ),
        ModuleFunction::new(
            "hf_iterator_next",
            "moves the iterator to the next header field",
            TEXT,
            |module: &Self, context, arguments| {
                let name = arguments[0].text();
                let count = context.message.header_count();
                module.headers.borrow_mut().advance(context.process.message_number, name, count).into()
            },
        ),
        ModuleFunction::new(
            "hf_iterator_end",
            "ends the iterator over the header fields",
            TEXT,
            |module: &Self, context, arguments| {
                let name = arguments[0].text();
                module.headers.borrow_mut().end(context.process.message_number, name).into()
            },
        ),
        ModuleFunction::new(
            "hf_iterator_rm",
            "removes the header field at the iterator",
            TEXT,
            |module, context, arguments| {
                let index = module.header_index(context, arguments[0].text());
                change_headers(context, index, Deed::Remove, arguments)
            },
        ),
        ModuleFunction::new(
            "hf_iterator_append",
            "adds header lines after the header field at the iterator",
            TWO_TEXTS,
            |module, context, arguments| {
                let index = module.header_index(context, arguments[0].text());
                change_headers(context, index, Deed::Append, arguments)
            },
        ),
        ModuleFunction::new(
            "hf_iterator_insert",
            "adds header lines before the header field at the iterator",
            TWO_TEXTS,
            |module, context, arguments| {
                let index = module.header_index(context, arguments[0].text());
                change_headers(context, index, Deed::Insert, arguments)
            },
        ),
        ModuleFunction::new(
            "bl_iterator_start",
            "starts an iterator over the lines of the body",
            TEXT,
            |module: &Self, context, arguments| {
                let name = arguments[0].text();
                module.lines.borrow_mut().start(context.process.message_number, name).into()
            },
        ),
        ModuleFunction::new(
            "bl_iterator_next",
            "moves the iterator to the next line of the body",
            TEXT,
            |module: &Self, context, arguments| {
                let name = arguments[0].text();
                let count = iterators::body_lines(context.message.body()).len();
                module.lines.borrow_mut().advance(context.process.message_number, name, count).into()
            },
        ),
        ModuleFunction::new(
            "bl_iterator_end",
            "ends the iterator over the lines of the body",
            TEXT,
            |module: &Self, context, arguments| {
                let name = arguments[0].text();
                module.lines.borrow_mut().end(context.process.message_number, name).into()
            },
        ),
        ModuleFunction::new(
            "bl_iterator_rm",
            "removes the line of the body at the iterator",
            TEXT,
            |module, context, arguments| {
                let index = module.line_index(context, arguments[0].text());
                change_body(context, index, Deed::Remove, arguments)
            },
        ),
        ModuleFunction::new(
            "bl_iterator_append",
            "adds text after the line of the body at the iterator",
            TWO_TEXTS,
            |module, context, arguments| {
                let index = module.line_index(context, arguments[0].text());
                change_body(context, index, Deed::Append, arguments)
            },
        ),
        ModuleFunction::new(
            "bl_iterator_insert",
            "adds text before the line of the body at the iterator",
            TWO_TEXTS,
            |module, context, arguments| {
                let index = module.line_index(context, arguments[0].text());
                change_body(context, index, Deed::Insert, arguments)
            },
        ),
    ];
    const VARIABLES: &'static [ModuleVariable<Self>] = &[
        ModuleVariable::new("hfitname", "name of the header field at an iterator", Self::read_header_name)
            .key(KeyRule::Text),
        ModuleVariable::new("hfitbody", "value of the header field at an iterator", Self::read_header_value)
            .key(KeyRule::Text),
        ModuleVariable::new(
            "blitval",
            "line of the body at an iterator",
            |module: &Self, context, subject, out| {
                let index = module.line_index(context, subject.key.text());
                iterators::read_line(context, index, subject, out)
            },
        )
        .key(KeyRule::Text),
    ];

    fn new() -> Self {
        TextOpsX::default()
    }
}

impl TextOpsX {
    fn header_index(&self, context: &Context<'_>, name: &[u8]) -> Option<usize> {
        self.headers.borrow().index(context.process.message_number, name)
    }

    fn line_index(&self, context: &Context<'_>, name: &[u8]) -> Option<usize> {
        self.lines.borrow().index(context.process.message_number, name)
    }

    fn read_header_name(&self, context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
        let index = self.header_index(context, subject.key.text());
        iterators::header_at(context, index).map_or(Reading::Null, |header| answer_text(header.name, out))
    }

    fn read_header_value(&self, context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
        let index = self.header_index(context, subject.key.text());
        iterators::header_at(context, index).map_or(Reading::Null, |header| answer_text(header.value, out))
    }

    fn prepare_regex(
        &mut self,
        _: &mut Preparation<'_>,
        _: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic> {
        let regex = build_line_regex(literal)?;
        self.regexes.push(Rc::new(regex));
        Ok(Some(self.regexes.len() as u32 - 1))
    }

    fn keep_matching(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let regex = match arguments[0] {
            Argument::Prepared(number, _) => self.regexes.get(number as usize).cloned(),
            computed => match build_line_regex(computed.text()) {
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
    let Some(line) = context.message.status_line() else { return Err("this is not a reply".to_string()) };
    let code = code.integer().and_then(|code| u16::try_from(code).ok()).and_then(Status::new);
    let status = code.ok_or("the status is not a number from 100 to 699")?;
    if (line.status.class() < 3 || status.class() < 3) && line.status.class() != status.class() {
        return Err(format!("a {} cannot become a {status}", line.status));
    }
    if reason.iter().any(|&byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err("the reason phrase contains a line end".to_string());
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
        return outcome(context, "append_hf_value", Err("the value contains a line end"));
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
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

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
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(message);
        let log = stage.log();
        let found = log.split("@@").nth(1).unwrap_or_else(|| panic!("{statements}: {log}"));
        found.replace("\\x0d\\x0a", "\n")
    }

    #[test]
    fn changes_show_once_they_are_applied() {
        let rows = [
            ("$fu = \"sip:x@y\";", "$fu", "sip:a@b.com"),
            ("$fu = \"sip:x@y\"; msg_apply_changes();", "$fu $ft", "sip:x@y 1"),
            ("$fU = \"al\"; msg_apply_changes(); $fd = \"h\"; msg_apply_changes();", "$fu", "sip:al@h"),
            ("$rU = \"al\"; msg_apply_changes();", "$ru $ou", "sip:al@127.0.0.1:5070 sip:al@127.0.0.1:5070"),
            ("remove_body(); msg_apply_changes();", "[$rb] $cT $cl", "[] <null> 0"),
            ("append_hf_value(\"X-Foo\", \"2\"); msg_apply_changes();", "$(hdr(X-Foo)[*])", "1,2"),
            ("insert_hf_value(\"X-Foo\", \"0\"); msg_apply_changes();", "$(hdr(X-Foo)[*])", "0,1"),
            ("append_hf_value(\"X-New\", \"n\"); msg_apply_changes();", "$hdr(X-New)", "n"),
            ("append_hf_value(\"X-Foo\", \"a\\r\\nb\"); msg_apply_changes();", "$(hdr(X-Foo)[*])", "1"),
            (
                "msg_set_buffer(\"BYE sip:x SIP/2.0\\r\\nCall-ID: c9\\r\\n\\r\\n\");",
                "$rm $ru $ci $fu",
                "BYE sip:x c9 <null>",
            ),
            ("$var(r) = msg_set_buffer(\"nonsense\");", "$var(r) $rm $ci", "-1 INFO c1"),
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
        let kept = after("reply_route", "change_reply_status_code(480);", "$mbu", REPLY);
        assert!(kept.starts_with("SIP/2.0 480 Busy Here"), "{kept}");
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
