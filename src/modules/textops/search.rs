//! Searching and replacing in the message, its header lines, its body and the Request-URI.

use std::ops::Range;

use regex::bytes::Regex;

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome, Reading, ValueRef};
use crate::bindings::variables::request::{change_request_uri, replace_request_uri};
use crate::routing::context::Context;
use crate::sip::{Header, Message};

use super::TextOps;

/// Part of a message that is searched.
#[derive(Clone, Copy, Debug)]
enum Part {
    Headers,
    Body,
}

impl Part {
    fn span(self, message: &Message<'_>) -> Range<usize> {
        match self {
            Part::Headers => message.headers_start()..message.headers_end(),
            Part::Body => message.body_start()..message.bytes().len(),
        }
    }
}

/// Everything after the first line. A match never runs across the empty line between the two.
const BEHIND_FIRST_LINE: &[Part] = &[Part::Headers, Part::Body];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    First,
    Every,
}

pub(super) fn search(module: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let regex = module.regex(context, &arguments[0]);
    regex.is_some_and(|regex| regex.is_match(context.message.bytes())).into()
}

pub(super) fn search_body(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let regex = module.regex(context, &arguments[0]);
    regex.is_some_and(|regex| regex.is_match(context.message.body())).into()
}

pub(super) fn search_header(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Some(regex) = module.regex(context, &arguments[1]) else { return Outcome::FALSE };
    let headers = chosen_headers(&context.message, arguments[0].text(), arguments[2].text());
    headers.iter().any(|header| regex.is_match(header.value)).into()
}

pub(super) fn search_append(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    append_behind(module, context, arguments, BEHIND_FIRST_LINE)
}

pub(super) fn search_append_body(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    append_behind(module, context, arguments, &[Part::Body])
}

pub(super) fn replace(module: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    replace_matches(module, context, arguments, BEHIND_FIRST_LINE, Count::First)
}

pub(super) fn replace_all(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    replace_matches(module, context, arguments, BEHIND_FIRST_LINE, Count::Every)
}

pub(super) fn replace_headers(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    replace_matches(module, context, arguments, &[Part::Headers], Count::Every)
}

pub(super) fn replace_body(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    replace_matches(module, context, arguments, &[Part::Body], Count::First)
}

pub(super) fn replace_body_all(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    replace_matches(module, context, arguments, &[Part::Body], Count::Every)
}

pub(super) fn replace_text(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    replace_plain(context, "replace_str", arguments, BEHIND_FIRST_LINE)
}

pub(super) fn replace_text_in_headers(
    _: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    replace_plain(context, "replace_hdrs_str", arguments, &[Part::Headers])
}

pub(super) fn replace_text_in_body(
    _: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    replace_plain(context, "replace_body_str", arguments, &[Part::Body])
}

/// Replaces a text as it stands, without a pattern.
fn replace_plain(
    context: &mut Context<'_>,
    name: &str,
    arguments: &[Argument<'_>],
    parts: &[Part],
) -> Outcome {
    let [wanted, text, mode] = [0, 1, 2].map(|index: usize| arguments[index].text());
    let count = match (wanted, mode) {
        (b"", _) => return outcome(context, name, Err("there is no text to look for")),
        (_, b"f" | b"F") => 1,
        (_, b"a" | b"A") => usize::MAX,
        _ => return outcome(context, name, Err("the mode is f or a")),
    };
    let mut found = Vec::new();
    for part in parts {
        let whole = part.span(&context.message);
        let starts = memchr::memmem::find_iter(&context.message.bytes()[whole.clone()], wanted);
        found.extend(starts.map(|at| whole.start + at..whole.start + at + wanted.len()));
    }
    found.truncate(count);
    if found.is_empty() {
        return Outcome::FALSE;
    }
    let mut replaced = found.into_iter().map(|span| context.edits.replace(&context.message, span, text));
    let replaced = replaced.find(Result::is_err).unwrap_or(Ok(()));
    outcome(context, name, replaced)
}

/// Stores what a group of the pattern matches, 0 for the whole; -2 when nothing does.
pub(super) fn part_of_match(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Argument::Place(place) = arguments[4] else { return Outcome::FALSE };
    let [wanted, count] = [2, 3].map(|index: usize| arguments[index].integer().unwrap_or(-1));
    if !(0..count).contains(&wanted) {
        return outcome(
            context,
            "regex_substring",
            Err("the number of the part must be below the number of parts"),
        );
    }
    let Some(regex) = module.numbered_regex(context, &arguments[1]) else { return Outcome::FALSE };
    let Some(found) = regex.captures(arguments[0].text()) else { return Outcome(-2) };
    let part = found.get(wanted as usize).map(|part| part.as_bytes());
    let Some(part) = part else {
        return outcome(context, "regex_substring", Err("the pattern has no such part"));
    };
    let written = context.write(place, ValueRef::Text(part));
    outcome(context, "regex_substring", written.map_err(|refusal| refusal.0))
}

pub(super) fn substitute(module: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    substitute_in(module, context, arguments, BEHIND_FIRST_LINE)
}

pub(super) fn substitute_body(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    substitute_in(module, context, arguments, &[Part::Body])
}

pub(super) fn substitute_uri(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Some(substitution) = module.substitution(context, &arguments[0]) else { return Outcome::FALSE };
    match context.request_uri().and_then(|uri| substitution.apply(uri)) {
        Some(uri) => {
            let replaced = replace_request_uri(context, &uri);
            outcome(context, "subst_uri", replaced.map_err(|refusal| refusal.0))
        }
        None => Outcome::FALSE,
    }
}

pub(super) fn substitute_user(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Some(substitution) = module.substitution(context, &arguments[0]) else { return Outcome::FALSE };
    let mut is_changed = false;
    let replaced = change_request_uri(context, |draft| match substitution.apply(draft.user()) {
        Some(user) => {
            is_changed = true;
            draft.set_user(b"", &user)
        }
        None => Ok(()),
    });
    match outcome(context, "subst_user", replaced.map_err(|refusal| refusal.0)) {
        Outcome::TRUE => is_changed.into(),
        failed => failed,
    }
}

/// Puts the changed text into the variable.
pub(super) fn substitute_variable(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Argument::Place(place) = arguments[0] else { return Outcome::FALSE };
    let Some(substitution) = module.substitution(context, &arguments[1]) else { return Outcome::FALSE };
    let mut text = Vec::new();
    match context.read(place, &mut text) {
        Reading::Text => {}
        Reading::Integer(number) => text = number.to_string().into_bytes(),
        Reading::Null => return Outcome::FALSE,
    }
    match substitution.apply(&text) {
        Some(changed) => {
            let written = context.write(place, ValueRef::Text(&changed));
            outcome(context, "subst_v", written.map_err(|refusal| refusal.0))
        }
        None => Outcome::FALSE,
    }
}

/// Whether any text matches.
pub(super) fn search_text(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    match module.regex(context, &arguments[1]) {
        Some(regex) => regex.is_match(arguments[0].text()).into(),
        None => Outcome::FALSE,
    }
}

pub(super) fn substitute_header(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Some(substitution) = module.substitution(context, &arguments[1]) else { return Outcome::FALSE };
    let mut is_changed = false;
    for header in chosen_headers(&context.message, arguments[0].text(), arguments[2].text()) {
        let Some(value) = substitution.apply(header.value) else { continue };
        if let Err(error) = context.edits.set_value(&context.message, &header, &value) {
            return outcome(context, "subst_hf", Err(error));
        }
        is_changed = true;
    }
    is_changed.into()
}

/// Flags: `a` all header fields of the name, `f` the first, `l` the last; none is all.
fn chosen_headers<'m>(message: &Message<'m>, name: &[u8], flags: &[u8]) -> Vec<Header<'m>> {
    match flags.first().map(u8::to_ascii_lowercase) {
        Some(b'f') => message.header_named(name, 0).into_iter().collect(),
        Some(b'l') => message.header_named(name, -1).into_iter().collect(),
        _ => message.headers_named(name).collect(),
    }
}

fn append_behind(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
    parts: &[Part],
) -> Outcome {
    let Some(regex) = module.regex(context, &arguments[0]) else { return Outcome::FALSE };
    let Some(found) = matches(&regex, &context.message, parts, Count::First).pop() else {
        return Outcome::FALSE;
    };
    let changed = context.edits.replace(&context.message, found.end..found.end, arguments[1].text());
    outcome(context, "search_append", changed)
}

fn replace_matches(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
    parts: &[Part],
    count: Count,
) -> Outcome {
    let Some(regex) = module.regex(context, &arguments[0]) else { return Outcome::FALSE };
    let found = matches(&regex, &context.message, parts, count);
    let is_found = !found.is_empty();
    let pieces = found.into_iter().map(|span| (span, arguments[1].text()));
    match context.edits.replace_each(&context.message, pieces) {
        Ok(()) => is_found.into(),
        Err(error) => outcome(context, "replace", Err(error)),
    }
}

fn substitute_in(
    module: &TextOps,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
    parts: &[Part],
) -> Outcome {
    let Some(substitution) = module.substitution(context, &arguments[0]) else { return Outcome::FALSE };
    let mut pieces = Vec::new();
    for part in parts {
        let whole = part.span(&context.message);
        let changes = substitution.changes(&context.message.bytes()[whole.clone()]);
        let placed =
            |(span, text): (Range<usize>, _)| (whole.start + span.start..whole.start + span.end, text);
        pieces.extend(changes.into_iter().map(placed));
        if !pieces.is_empty() && !substitution.is_global() {
            break;
        }
    }
    let is_changed = !pieces.is_empty();
    match context.edits.replace_each(&context.message, pieces) {
        Ok(()) => is_changed.into(),
        Err(error) => outcome(context, "subst", Err(error)),
    }
}

/// Where in the message the expression matches.
fn matches(regex: &Regex, message: &Message<'_>, parts: &[Part], count: Count) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for part in parts {
        let whole = part.span(message);
        for one in regex.find_iter(&message.bytes()[whole.clone()]) {
            found.push(whole.start + one.start()..whole.start + one.end());
            if count == Count::First {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::ScriptHarness;

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOps>()];

    const REQUEST: &str = "INVITE sip:bob@127.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa\r\nFrom: <sip:a@b.com>;tag=1\r\n\
        To: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\nX-Foo: one\r\nX-Foo: two\r\n\
        Privacy: id;header\r\nContent-Type: application/sdp\r\nContent-Length: 10\r\n\r\nv=0\r\ns=x\r\n";

    fn changed(call: &str) -> (String, String) {
        ScriptHarness::relayed(MODULES, "loadmodule \"textops.so\"", call, REQUEST)
    }

    #[test]
    fn messages_are_changed_in_one_place_only() {
        let rows = [
            ("remove_hf(\"X-Foo\")", "X-Foo: one\r\nX-Foo: two\r\n", ""),
            ("remove_hf_re(\"^priv\")", "Privacy: id;header\r\n", ""),
            ("remove_hf_exp(\"^x-|^id\", \"two|privacy\")", "X-Foo: one\r\n", ""),
            ("remove_hf_match(\"X-Foo\", \"two\", \"eq\")", "X-Foo: two\r\n", ""),
            ("remove_hf_match(\"X-Foo\", \"two\", \"ne\")", "X-Foo: one\r\n", ""),
            ("remove_hf_match(\"x-foo\", \"t\", \"sw\")", "X-Foo: two\r\n", ""),
            ("remove_hf_match(\"X-Foo\", \"n\", \"in\")", "X-Foo: one\r\n", ""),
            ("remove_hf_match(\"X-Foo\", \"^T.O$\", \"re\")", "X-Foo: two\r\n", ""),
            ("remove_hf_match(\"X-Foo\", \"o?e\", \"fm\")", "X-Foo: one\r\n", ""),
            ("remove_hf_idx(\"X-Foo\", -1)", "X-Foo: two\r\n", ""),
            (
                "append_urihf(\"X-Uri: <\", \">\\r\\n\")",
                "\r\n\r\nv=0",
                "\r\nX-Uri: <sip:bob@127.0.0.1:5070>\r\n\r\nv=0",
            ),
            ("append_time_to_request()", "\r\n\r\nv=0", "\r\nDate: Mon, 23 Nov 2026 01:25:10 GMT\r\n\r\nv=0"),
            ("append_hf(\"X-New: $rU\\r\\n\")", "\r\n\r\nv=0", "\r\nX-New: bob\r\n\r\nv=0"),
            ("append_hf(\"X-New: 1\\r\\n\", \"X-Foo\")", "two\r\n", "two\r\nX-New: 1\r\n"),
            ("insert_hf(\"X-New: 1\\r\\n\", \"X-Foo\")", "X-Foo: one", "X-New: 1\r\nX-Foo: one"),
            ("insert_hf(\"X-New: 1\\r\\n\", \"Call-ID\")", "Call-ID", "X-New: 1\r\nCall-ID"),
            ("replace(\"one|two\", \"three\")", "X-Foo: one", "X-Foo: three"),
            (
                "replace_hdrs(\"X-Foo: \", \"X-Bar: \")",
                "X-Foo: one\r\nX-Foo: two",
                "X-Bar: one\r\nX-Bar: two",
            ),
            ("replace_body(\"x\", \"y\")", "s=x", "s=y"),
            ("replace_str(\"X-Foo: o\", \"X-Foo: 1o\", \"f\")", "X-Foo: one", "X-Foo: 1one"),
            ("replace_str(\".\", \".\", \"a\")", "", ""),
            ("replace_hdrs_str(\"X-Foo: o\", \"X-Bar: o\", \"a\")", "X-Foo: one", "X-Bar: one"),
            ("replace_body_str(\"s=\", \"t=\", \"a\")", "s=x", "t=x"),
            ("replace_body_all(\"=\", \"=\")", "", ""),
            ("search_append(\"one\", \"-more\")", "X-Foo: one", "X-Foo: one-more"),
            ("subst(\"/X-Foo: (.*)/X-Foo: <\\\\1>/\")", "X-Foo: one", "X-Foo: <one>"),
            ("subst_body(\"/x/y/\")", "s=x", "s=y"),
            ("subst_hf(\"X-Foo\", \"/o/0/g\", \"l\")", "two", "tw0"),
            ("subst_hf(\"X-Foo\", \"/^o/0/\", \"a\")", "X-Foo: one", "X-Foo: 0ne"),
            ("subst_uri(\"/bob/al/\")", "sip:bob@", "sip:al@"),
            ("subst_user(\"/^b(.*)/c\\\\1/\")", "sip:bob@", "sip:cob@"),
        ];
        for (statement, old, new) in rows {
            let (text, code) = changed(statement);
            assert_eq!(code, "1", "{statement}");
            assert_eq!(text, REQUEST.replacen(old, new, 1), "{statement}");
        }
    }

    #[test]
    fn parts_of_matches_are_stored() {
        let rows = [
            ("\"([a-z]+)([0-9]+)\", 2, 3", "1 123"),
            ("\"([a-z]+)([0-9]+)\", \"0\", \"3\"", "1 abc123"),
            ("\"([a-z]+)([0-9]+)\", 3, 3", "-1 0"),
            ("\"([a-z]+)\", 2, 3", "-1 0"),
            ("\"zzz\", 0, 1", "-2 0"),
            ("\"$(ci{s.rm,1})([a-z]+)\", 1, 2", "-2 0"),
            ("\"_$(ci{s.rm,c1})([a-z]+)\", 1, 2", "1 abc"),
        ];
        for (arguments, expected) in rows {
            let call = format!("$var(r) = regex_substring(\"__abc123__\", {arguments}, \"$var(o)\");");
            let told =
                ScriptHarness::told(MODULES, "loadmodule \"textops.so\"", &call, "$var(r) $var(o)", REQUEST);
            assert_eq!(told, expected, "{arguments}");
        }
    }

    #[test]
    fn what_finds_nothing_or_is_refused_changes_nothing() {
        let rows = [
            "remove_hf(\"X-Bar\")",
            "remove_hf_re(\"^y-\")",
            "remove_hf_exp(\"^y-\", \"\")",
            "remove_hf_match(\"X-Foo\", \"three\", \"eq\")",
            "remove_hf_idx(\"X-Foo\", 2)",
            "append_urihf(\"no colon\", \"\")",
            "append_hf(\"no colon\")",
            "append_hf(\"\\r\\n\\r\\nbody\")",
            "insert_hf(\"\")",
            "replace(\"three\", \"x\")",
            "subst(\"/three/x/\")",
            "subst_user(\"/b/ /\")",
            "subst_uri(\"/x/y/\")",
            "subst_hf(\"X-Foo\", \"/o/a\\r\\nb/\", \"a\")",
            "set_body(\"x\", \"\")",
            "replace_str(\"three\", \"x\", \"a\")",
            "replace_str(\"\", \"x\", \"a\")",
            "replace_str(\"one\", \"x\", \"b\")",
            "replace_body_str(\"one\", \"x\", \"a\")",
            "replace(\"X-Foo: one\", \"\")",
            "replace(\"X-Foo: one\", \"X-Foo: one\\r\\n\\r\\nevil\")",
            "replace_all(\"X-Foo\", \"\")",
            "replace_hdrs(\"Length: 10\", \"Length: 3\")",
            "search_append(\"one\", \"\\r\\n\\r\\n\")",
            "subst(\"/X-Foo: one/X-Foo: one\\r\\n\\r\\nevil/\")",
        ];
        for statement in rows {
            let (text, code) = changed(statement);
            assert_eq!(code, "-1", "{statement}");
            assert_eq!(text, REQUEST, "{statement}");
        }
    }
}
