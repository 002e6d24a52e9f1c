//! Module `textops`: looks into messages and changes them as text.
//!
//! Every change is an edit: it shows in the message that is sent, and here only after `msg_apply_changes()`.

use std::rc::Rc;

use regex::bytes::Regex;

use crate::bindings::module::{Argument, Diagnostic, Module, ModuleFunction, Outcome, ParameterKind};
use crate::bindings::preparation::Preparation;
use crate::routing::context::Context;
use crate::sip::Method;
use crate::telemetry::log::Level;

use pattern::{Substitution, line_regex, numbered_regex};

pub mod body;
pub mod headers;
pub mod multipart;
pub mod pattern;
pub mod search;
pub mod values;

/// Module `textops`.
#[derive(Default)]
pub struct TextOps {
    regexes: Vec<Rc<Regex>>,
    substitutions: Vec<Rc<Substitution>>,
}

const LINES: &[ParameterKind] = &[ParameterKind::Lines];
const LINES_TEXT: &[ParameterKind] = &[ParameterKind::Lines, ParameterKind::Text];
const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const TWO_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text];
const THREE_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text, ParameterKind::Text];
const PREPARED: &[ParameterKind] = &[ParameterKind::Prepared];
const PREPARED_TEXT: &[ParameterKind] = &[ParameterKind::Prepared, ParameterKind::Text];
const TWO_PREPARED: &[ParameterKind] = &[ParameterKind::Prepared, ParameterKind::Prepared];
const TEXT_INTEGER: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Integer];
const TEXT_PLACE: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Place];
const TEXT_PREPARED: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Prepared];
const PLACE_PREPARED: &[ParameterKind] = &[ParameterKind::Place, ParameterKind::Prepared];
const TWO_TEXTS_PREPARED: &[ParameterKind] =
    &[ParameterKind::Text, ParameterKind::Text, ParameterKind::Prepared];
const TEXT_PREPARED_TEXT: &[ParameterKind] =
    &[ParameterKind::Text, ParameterKind::Prepared, ParameterKind::Text];

const TEXT_PREPARED_TWO_INTEGERS_PLACE: &[ParameterKind] = &[
    ParameterKind::Text,
    ParameterKind::Prepared,
    ParameterKind::Integer,
    ParameterKind::Integer,
    ParameterKind::Place,
];

type Row = ModuleFunction<TextOps>;

impl Module for TextOps {
    const NAME: &'static str = "textops";
    const DOCUMENTATION: &'static str = "searches and changes messages as text";
    const FUNCTIONS: &'static [Row] = &[
        Row::new("is_method", "true when the method is one of these: INVITE|ACK", PREPARED, is_method)
            .prepare(prepare_methods),
        Row::new(
            "is_present_hf",
            "true when a header field of this name is there",
            TEXT,
            headers::is_present,
        )
        .alias(&["is_present_hf_pv"]),
        Row::new(
            "is_present_hf_re",
            "true when the name of a header field matches",
            PREPARED,
            headers::is_present_by_pattern,
        )
        .alias(&["is_present_hf_re_pv"])
        .prepare(prepare_regex),
        Row::new(
            "remove_hf",
            "removes all header fields of this name; false when there is none",
            TEXT,
            headers::remove,
        )
        .alias(&["remove_hf_pv"]),
        Row::new(
            "remove_hf_re",
            "removes all header fields whose name matches",
            PREPARED,
            headers::remove_by_pattern,
        )
        .alias(&["remove_hf_re_pv"])
        .prepare(prepare_regex),
        Row::new(
            "remove_hf_exp",
            "removes the header fields whose name or value matches, but not the second pattern",
            TWO_PREPARED,
            headers::remove_matching,
        )
        .alias(&["remove_hf_exp_pv"])
        .prepare(prepare_regex),
        Row::new(
            "remove_hf_match",
            "removes header fields by value: name, text, mode (eq, ne, sw, in, re, fm)",
            TWO_TEXTS_PREPARED,
            headers::remove_compared,
        )
        .prepare(prepare_comparison),
        Row::new(
            "remove_hf_idx",
            "removes the header field of a name at an index, from 0; negative from the last",
            TEXT_INTEGER,
            headers::remove_at,
        ),
        Row::new(
            "append_urihf",
            "adds a header line with the Request-URI: text before it, text after it",
            TWO_TEXTS,
            headers::append_request_uri,
        ),
        Row::new(
            "append_time",
            "adds Date to every reply that the server generates from now on",
            &[],
            headers::append_date_to_reply,
        ),
        Row::new("append_time_to_request", "adds Date to the request", &[], headers::append_date),
        Row::new("append_hf", "adds header lines after all others", LINES, headers::append),
        Row::new(
            "append_hf",
            "adds header lines after the last header field of this name",
            LINES_TEXT,
            headers::append_after,
        ),
        Row::new("insert_hf", "adds header lines before all others", LINES, headers::insert),
        Row::new(
            "insert_hf",
            "adds header lines before the first header field of this name",
            LINES_TEXT,
            headers::insert_before,
        ),
        Row::new(
            "append_to_reply",
            "adds header lines to every reply that the server generates from now on",
            LINES,
            headers::append_to_reply,
        ),
        Row::new("search", "true when the message matches", PREPARED, search::search).prepare(prepare_regex),
        Row::new("search_body", "true when the body matches", PREPARED, search::search_body)
            .prepare(prepare_regex),
        Row::new(
            "search_hf",
            "true when a header field of this name matches; flags: a all, f first, l last",
            TEXT_PREPARED_TEXT,
            search::search_header,
        )
        .prepare(prepare_second_regex),
        Row::new(
            "search_append",
            "adds text after the first match in the message",
            PREPARED_TEXT,
            search::search_append,
        )
        .prepare(prepare_first_regex),
        Row::new(
            "search_append_body",
            "adds text after the first match in the body",
            PREPARED_TEXT,
            search::search_append_body,
        )
        .prepare(prepare_first_regex),
        Row::new("replace", "replaces the first match after the first line", PREPARED_TEXT, search::replace)
            .prepare(prepare_first_regex),
        Row::new(
            "replace_all",
            "replaces every match after the first line",
            PREPARED_TEXT,
            search::replace_all,
        )
        .prepare(prepare_first_regex),
        Row::new(
            "replace_hdrs",
            "replaces every match in the header lines",
            PREPARED_TEXT,
            search::replace_headers,
        )
        .prepare(prepare_first_regex),
        Row::new(
            "replace_str",
            "replaces a text after the first line: text, other text, f (the first) or a (every one)",
            THREE_TEXTS,
            search::replace_text,
        ),
        Row::new(
            "replace_hdrs_str",
            "replaces a text in the header lines: text, other text, f (the first) or a (every one)",
            THREE_TEXTS,
            search::replace_text_in_headers,
        ),
        Row::new(
            "replace_body_str",
            "replaces a text in the body: text, other text, f (the first) or a (every one)",
            THREE_TEXTS,
            search::replace_text_in_body,
        ),
        Row::new(
            "regex_substring",
            "stores the match of a group of a pattern: text, pattern, number of the group, number of \
             groups, variable",
            TEXT_PREPARED_TWO_INTEGERS_PLACE,
            search::part_of_match,
        )
        .prepare(prepare_numbered_regex),
        Row::new("replace_body", "replaces the first match in the body", PREPARED_TEXT, search::replace_body)
            .prepare(prepare_first_regex),
        Row::new(
            "replace_body_all",
            "replaces every match in the body",
            PREPARED_TEXT,
            search::replace_body_all,
        )
        .prepare(prepare_first_regex),
        Row::new(
            "subst",
            "/pattern/replacement/flags after the first line; flags g all, i any case",
            PREPARED,
            search::substitute,
        )
        .prepare(prepare_substitution),
        Row::new("subst_body", "/pattern/replacement/flags in the body", PREPARED, search::substitute_body)
            .prepare(prepare_substitution),
        Row::new(
            "subst_uri",
            "/pattern/replacement/flags on the Request-URI, at once",
            PREPARED,
            search::substitute_uri,
        )
        .prepare(prepare_substitution),
        Row::new(
            "subst_user",
            "/pattern/replacement/flags on the user part of the Request-URI, at once",
            PREPARED,
            search::substitute_user,
        )
        .prepare(prepare_substitution),
        Row::new(
            "subst_hf",
            "/pattern/replacement/flags on header fields of this name; flags: a all, f first, l last",
            TEXT_PREPARED_TEXT,
            search::substitute_header,
        )
        .prepare(prepare_second_substitution),
        Row::new(
            "subst_v",
            "/pattern/replacement/flags on the text of a variable, at once",
            PLACE_PREPARED,
            search::substitute_variable,
        )
        .prepare(prepare_second_substitution),
        Row::new(
            "search_str",
            "true when the text matches: text, pattern",
            TEXT_PREPARED,
            search::search_text,
        )
        .prepare(prepare_second_regex),
        Row::new(
            "filter_body",
            "makes the part of this type the body, such as application/sdp",
            TEXT,
            multipart::filter,
        ),
        Row::new(
            "remove_body_part",
            "removes the part of this type from the body",
            TEXT,
            multipart::remove_part,
        ),
        Row::new(
            "get_body_part",
            "stores the content of the part of this type in a variable",
            TEXT_PLACE,
            multipart::part_content,
        ),
        Row::new(
            "get_body_part_raw",
            "stores the part of this type with its header lines in a variable",
            TEXT_PLACE,
            multipart::part_raw,
        ),
        Row::new(
            "set_reply_body",
            "sets body and type of every reply that the server generates from now on",
            TWO_TEXTS,
            body::set_reply_body,
        ),
        Row::new("has_body", "true when there is a body", &[], body::has_body),
        Row::new(
            "has_body",
            "true when there is a body of this type, such as application/sdp",
            TEXT,
            body::has_body_of_type,
        ),
        Row::new("set_body", "replaces the body and its type", TWO_TEXTS, body::set_body),
        Row::new("set_body_multipart", "makes the body multipart, without a part yet", &[], multipart::begin),
        Row::new(
            "set_body_multipart",
            "makes the body multipart: content of the first, its type",
            TWO_TEXTS,
            multipart::begin,
        ),
        Row::new(
            "set_body_multipart",
            "makes the body multipart: content of the first, its type, boundary",
            THREE_TEXTS,
            multipart::begin,
        ),
        Row::new(
            "append_body_part",
            "adds a part to a multipart body: content, type",
            TWO_TEXTS,
            multipart::append_text,
        ),
        Row::new(
            "append_body_part",
            "adds a part to a multipart body: content, type, Content-Disposition",
            THREE_TEXTS,
            multipart::append_text,
        ),
        Row::new(
            "append_body_part_hex",
            "adds a part to a multipart body: content in hexadecimal, type",
            TWO_TEXTS,
            multipart::append_hex,
        ),
        Row::new(
            "append_body_part_hex",
            "adds a part to a multipart body: content in hexadecimal, type, Content-Disposition",
            THREE_TEXTS,
            multipart::append_hex,
        ),
        Row::new(
            "is_audio_on_hold",
            "true when the audio in the session description is on hold",
            &[],
            body::is_audio_on_hold,
        ),
        Row::new(
            "is_privacy",
            "true when Privacy asks for this: id, header, session, user, none",
            TEXT,
            headers::is_privacy,
        ),
        Row::new(
            "starts_with",
            "true when the text begins with the second one",
            TWO_TEXTS,
            values::starts_with,
        ),
        Row::new("ends_with", "true when the text ends with the second one", TWO_TEXTS, values::ends_with),
        Row::new("str_find", "true when the text contains the second one", TWO_TEXTS, values::find),
        Row::new(
            "str_ifind",
            "true when the text contains the second one, in any case",
            TWO_TEXTS,
            values::find_any_case,
        ),
        Row::new("cmp_str", "true when two texts are equal", TWO_TEXTS, values::equal),
        Row::new("cmp_istr", "true when two texts are equal, in any case", TWO_TEXTS, values::equal_any_case),
        Row::new(
            "in_list",
            "true when the text is an element of the list: text, list, separator",
            THREE_TEXTS,
            values::in_list,
        ),
        Row::new(
            "in_list_prefix",
            "true when an element of the list begins the text: text, list, separator",
            THREE_TEXTS,
            values::in_list_prefix,
        ),
        Row::new(
            "fnmatch",
            "true when the text matches a pattern with * and ?",
            TWO_TEXTS,
            values::matches_glob,
        ),
        Row::new("fnmatch", "as with two arguments; flag i: any case", THREE_TEXTS, values::matches_glob),
    ];

    fn new() -> Self {
        TextOps::default()
    }
}

impl TextOps {
    /// The regular expression of an argument, prepared or computed; what is wrong with a computed one is logged.
    fn regex(&self, context: &Context<'_>, argument: &Argument<'_>) -> Option<Rc<Regex>> {
        if let Argument::Prepared(number, _) = argument {
            return self.regexes.get(*number as usize).cloned();
        }
        self.told(context, line_regex(argument.text()).map(Rc::new))
    }

    /// The same with parentheses that can be asked for by number.
    fn numbered_regex(&self, context: &Context<'_>, argument: &Argument<'_>) -> Option<Rc<Regex>> {
        match argument {
            Argument::Prepared(..) => self.regex(context, argument),
            computed => self.told(context, numbered_regex(computed.text()).map(Rc::new)),
        }
    }

    /// The substitution of an argument, prepared or computed; what is wrong with a computed one is logged.
    fn substitution(&self, context: &Context<'_>, argument: &Argument<'_>) -> Option<Rc<Substitution>> {
        if let Argument::Prepared(number, _) = argument {
            return self.substitutions.get(*number as usize).cloned();
        }
        self.told(context, Substitution::parse(argument.text()).map(Rc::new))
    }

    fn told<T>(&self, context: &Context<'_>, made: Result<T, String>) -> Option<T> {
        made.map_err(|reason| context.log(Level::Error, format_args!("textops: {reason}"))).ok()
    }
}

fn prepare_regex(
    module: &mut TextOps,
    _: &mut Preparation<'_>,
    _: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    let regex = line_regex(literal).map_err(complain)?;
    module.regexes.push(Rc::new(regex));
    Ok(Some(module.regexes.len() as u32 - 1))
}

fn prepare_numbered_regex(
    module: &mut TextOps,
    _: &mut Preparation<'_>,
    _: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    let regex = numbered_regex(literal).map_err(complain)?;
    module.regexes.push(Rc::new(regex));
    Ok(Some(module.regexes.len() as u32 - 1))
}

/// The mode of `remove_hf_match`.
fn prepare_comparison(
    _: &mut TextOps,
    _: &mut Preparation<'_>,
    parameter: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    if parameter == 2 && headers::Comparison::of(literal).is_none() {
        return Err(Diagnostic::mistake(format!(
            "unknown mode \"{}\" of remove_hf_match",
            literal.escape_ascii()
        ))
        .with_help(headers::Comparison::HELP.to_string()));
    }
    Ok(None)
}

fn prepare_first_regex(
    module: &mut TextOps,
    preparation: &mut Preparation<'_>,
    parameter: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    if parameter == 0 { prepare_regex(module, preparation, parameter, literal) } else { Ok(None) }
}

fn prepare_second_regex(
    module: &mut TextOps,
    preparation: &mut Preparation<'_>,
    parameter: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    if parameter == 1 { prepare_regex(module, preparation, parameter, literal) } else { Ok(None) }
}

fn prepare_substitution(
    module: &mut TextOps,
    _: &mut Preparation<'_>,
    _: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    let substitution = Substitution::parse(literal).map_err(complain)?;
    module.substitutions.push(Rc::new(substitution));
    Ok(Some(module.substitutions.len() as u32 - 1))
}

fn prepare_second_substitution(
    module: &mut TextOps,
    preparation: &mut Preparation<'_>,
    parameter: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    if parameter == 1 { prepare_substitution(module, preparation, parameter, literal) } else { Ok(None) }
}

fn complain(message: String) -> Diagnostic {
    Diagnostic::mistake(message)
}

/// Known methods become their bits; a list with an unknown one is compared by name.
fn prepare_methods(
    _: &mut TextOps,
    _: &mut Preparation<'_>,
    _: usize,
    literal: &[u8],
) -> Result<Option<u32>, Diagnostic> {
    if literal.trim_ascii().is_empty() {
        return Err(complain("is_method takes at least one method".to_string()));
    }
    let bits = method_names(literal).map(|name| Method::from_name(name).bit());
    Ok(bits.collect::<Option<Vec<u32>>>().map(|bits| bits.into_iter().fold(0, |mask, bit| mask | bit)))
}

fn method_names(written: &[u8]) -> impl Iterator<Item = &[u8]> {
    written.split(|&byte| byte == b'|').map(<[u8]>::trim_ascii)
}

fn is_method(_: &TextOps, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let Ok(method) = context.message.method() else { return Outcome::FALSE };
    match arguments[0] {
        Argument::Prepared(mask, _) => method.bit().is_some_and(|bit| mask & bit != 0).into(),
        computed => method_names(computed.text()).any(|name| name == method.name()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    #[test]
    fn lists_of_methods_become_bits_where_they_can() {
        let rows: [(&str, Option<Option<u32>>); 6] = [
            ("INVITE", Some(Some(1))),
            ("INVITE|ACK", Some(Some(5))),
            (" BYE | REGISTER ", Some(Some(40))),
            ("INVITE|KDMQ", Some(None)),
            ("invite", Some(None)),
            ("  ", None),
        ];
        for (written, expected) in rows {
            let mut module = TextOps::default();
            let settings = crate::config::settings::Settings::default();
            let mut preparation = Preparation { settings: &settings, regexes: &mut Vec::new() };
            let prepared = prepare_methods(&mut module, &mut preparation, 0, written.as_bytes());
            assert_eq!(prepared.ok(), expected, "{written}");
        }
    }

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOps>()];

    const REQUEST: &str = "INVITE sip:bob@127.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa\r\nFrom: <sip:a@b.com>;tag=1\r\n\
        To: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\nX-Foo: one\r\nX-Foo: two\r\n\
        Privacy: id;header\r\nContent-Type: application/sdp\r\nContent-Length: 10\r\n\r\nv=0\r\ns=x\r\n";

    fn stage(statements: &str) -> ScriptHarness {
        ScriptHarness::new(MODULES, &format!("loadmodule \"textops.so\"\nrequest_route {{ {statements} }}"))
    }

    #[test]
    fn messages_are_looked_into() {
        let rows = [
            ("is_method(\"INVITE\")", true),
            ("is_method(\"ACK|INVITE|BYE\")", true),
            ("is_method(\"ACK|BYE\")", false),
            ("is_method(\"invite\")", false),
            ("is_method(\"$rm\")", true),
            ("is_present_hf(\"x-foo\")", true),
            ("is_present_hf(\"i\")", true),
            ("is_present_hf(\"X-Bar\")", false),
            ("is_present_hf_re(\"^x-\")", true),
            ("is_present_hf_re(\"^y-\")", false),
            ("search(\"^INVITE sip:\")", true),
            ("search(\"^x-foo: TWO\")", true),
            ("search(\"three\")", false),
            ("search_body(\"^s=x\")", true),
            ("search_body(\"X-Foo\")", false),
            ("search_hf(\"X-Foo\", \"^two\", \"a\")", true),
            ("search_hf(\"X-Foo\", \"^two\", \"f\")", false),
            ("search_hf(\"X-Foo\", \"^two\", \"l\")", true),
            ("has_body()", true),
            ("has_body(\"application/sdp\")", true),
            ("has_body(\"text/plain\")", false),
            ("is_privacy(\"id\")", true),
            ("is_privacy(\"session\")", false),
            ("is_audio_on_hold()", false),
            ("starts_with(\"$ru\", \"sip:b\")", true),
            ("starts_with(\"$ru\", \"sips:\")", false),
            ("ends_with(\"$ru\", \":5070\")", true),
            ("ends_with(\"$ru\", \"sip:\")", false),
            ("str_find(\"abc\", \"bc\")", true),
            ("str_find(\"abc\", \"BC\")", false),
            ("str_ifind(\"abc\", \"BC\")", true),
            ("cmp_str(\"$ci\", \"c1\")", true),
            ("cmp_istr(\"$ci\", \"C1\")", true),
            ("in_list(\"b\", \"a,b\", \",\")", true),
            ("in_list_prefix(\"4930\", \"49, 33\", \",\")", true),
            ("in_list_prefix(\"4430\", \"49, 33\", \",\")", false),
            ("fnmatch(\"$rU\", \"b?b\")", true),
            ("fnmatch(\"$rU\", \"B*\", \"i\")", true),
            ("search_str(\"abc\", \"^A.c$\")", true),
            ("search_str(\"abc\", \"^b\")", false),
            ("search(\"^CSeq:[^x]+invite$\")", true),
            ("search(\"^CSeq:[^w]+two$\")", false),
            (
                "$var(x) = \"banana\"; if (subst_v(\"$var(x)\", \"/a(.)/<\\\\1>/g\") && $var(x) == \"b<n><n>a\")",
                true,
            ),
            ("$var(x) = \"banana\"; if (!subst_v(\"$var(x)\", \"/x/y/\") && $var(x) == \"banana\")", true),
        ];
        for (condition, expected) in rows {
            let condition = match condition.starts_with('$') {
                true => condition.to_string(),
                false => format!("if ({condition})"),
            };
            let mut stage = stage(&format!("{condition} {{ log(2, \"@@yes@@\"); }}"));
            stage.receive(REQUEST);
            assert_eq!(stage.log().contains("@@yes@@"), expected, "{condition}");
        }
    }

    #[test]
    fn mistakes_in_patterns_are_told_before_the_script_runs() {
        let rows = [
            ("search(\"[\")", "invalid regular expression"),
            ("subst(\"/a/b\")", "is not /pattern/replacement/flags"),
            ("subst_user(\"/a/b/q\")", "unknown flag \"q\""),
            ("is_method(\"\")", "at least one method"),
            ("remove_hf_match(\"X-Foo\", \"one\", \"xx\")", "unknown mode \"xx\""),
            ("remove_hf_exp(\"[\", \"x\")", "invalid regular expression"),
            ("search(\"(a)\\\\1\")", "back reference"),
            ("search_str(\"x\", \"(\")", "invalid regular expression"),
        ];
        for (statement, expected) in rows {
            let script = format!("loadmodule \"textops.so\"\nrequest_route {{ {statement}; }}");
            let mistakes = ScriptHarness::mistakes(MODULES, &script);
            assert!(mistakes.contains(expected), "{statement}: {mistakes}");
        }
        let mut stage = stage("if (search(\"$ci[\")) { exit; }");
        stage.receive(REQUEST);
        let log = stage.log();
        assert!(log.contains("invalid regular expression"), "{log}");
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<TextOps>();
    }
}
