//! Module `sanity`: refuses requests that are broken, each with the answer it is owed (RFC 3261 8.2, 16.3).
//!
//! Which checks are made is a sum of the numbers in [`MESSAGE_CHECKS`]; `1024` looks at the URIs whose sum is the
//! second number. The first fault found is answered here, so that the script has nothing left to do but to end:
//!
//! ```text
//! if (!sanity_check("129023", "15")) exit;
//! ```
//!
//! What no script can be run on, such as a request without Call-ID, never comes here; the global parameter
//! `answer_broken_requests` has the engine answer that.

use std::cell::Cell;

use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, Outcome, Parameter, ParameterKind, RouteSet,
};
use crate::routing::context::Context;
use crate::sip::credentials::Credentials;
use crate::sip::validate::{self, Fault, ValidationRules};
use crate::sip::{HeaderError, HeaderId, Message};
use crate::telemetry::counters::{CounterRow, ModuleCounter, ModuleCounters, module_counters};
use crate::telemetry::log::Level;

/// Module `sanity`.
pub struct Sanity {
    message_checks: u32,
    uri_checks: u32,
    extensions: Vec<String>,
    is_autodrop: bool,
    is_noreply: bool,
    /// What `sanity_reply()` is to answer: the number of the message and its fault.
    found: Cell<Option<(u32, Fault)>>,
    counters: ModuleCounters,
}

module_counters! {
    Refused = "sanity.refused", "messages with a fault";
    Answered = "sanity.answered", "requests with a fault that were answered with an error";
}

/// One check: its number, what it looks at, and how.
struct Check {
    number: u32,
    look: fn(&Message<'_>, &ValidationRules<'_>) -> Result<(), Fault>,
}

const fn check(number: u32, look: fn(&Message<'_>, &ValidationRules<'_>) -> Result<(), Fault>) -> Check {
    Check { number, look }
}

/// The checks in the order they are made. 1024, the URIs, stands apart: it has a number of its own.
const MESSAGE_CHECKS: &[Check] = &[
    check(1, |message, _| validate::check_version(message)),
    check(2, validate::check_request_uri),
    check(4, |message, _| validate::check_readable(message)),
    check(8, |message, _| validate::check_vias(message)),
    check(16, |message, _| validate::check_vias(message)),
    check(32, |message, _| validate::check_cseq_method(message)),
    check(64, |message, _| validate::check_cseq_number(message)),
    check(128, |message, _| validate::check_content_length(message)),
    check(256, |message, _| message.number(HeaderId::Expires).map(drop).map_err(Fault::Header)),
    check(512, validate::check_extensions),
    check(2048, |message, _| check_credentials(message, |credentials| credentials.is_digest())),
    check(4096, |message, _| check_tags(message)),
    check(8192, |message, _| check_credentials(message, |_| true)),
    check(16384, |message, _| validate::check_vias(message)),
    check(32768, |message, _| check_grammar(message)),
    check(65536, |message, _| check_sizes(message)),
];

/// The check that looks at URIs.
const PARSE_URIS: u32 = 1024;
/// Whose URIs, in the second number.
const URI_CHECKS: &[(u32, HeaderId)] = &[(2, HeaderId::From), (4, HeaderId::To), (8, HeaderId::Contact)];
const REQUEST_URI: u32 = 1;

const MESSAGE_CHECKS_DEFAULT: u32 = 3047;
const URI_CHECKS_DEFAULT: u32 = 7;
const MESSAGE_CHECKS_ALL: u32 = 131_071;
const URI_CHECKS_ALL: u32 = 15;
/// The largest value that From, To, Call-ID, CSeq or the topmost Via may have, in bytes.
const VALUE_SIZE_MAX: usize = 4096;

const NONE: &[ParameterKind] = &[];
const CHECKS: &[ParameterKind] = &[ParameterKind::Integer];
const CHECKS_AND_URIS: &[ParameterKind] = &[ParameterKind::Integer, ParameterKind::Integer];

impl Module for Sanity {
    const NAME: &'static str = "sanity";
    const DOCUMENTATION: &'static str = "checks requests and answers broken ones with an error";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::<Self>::integer(
            "autodrop",
            "1: a failed check ends the script; 0: it is false",
            |module, value| {
                module.is_autodrop = value != 0;
                Ok(())
            },
        )
        .default("1"),
        Parameter::<Self>::integer(
            "noreply",
            "1: a failed check is answered by sanity_reply() alone",
            |module, value| {
                module.is_noreply = value != 0;
                Ok(())
            },
        )
        .default("0"),
        Parameter::<Self>::integer(
            "default_checks",
            "checks made when no number is given, as a sum",
            set_checks,
        )
        .default("3047"),
        Parameter::<Self>::integer("default_msg_checks", "the same as default_checks", set_checks)
            .default("3047"),
        Parameter::<Self>::integer(
            "uri_checks",
            "URIs that check 1024 tests: 1 request, 2 From, 4 To, 8 Contact",
            set_uris,
        )
        .default("7"),
        Parameter::<Self>::integer("default_uri_checks", "the same as uri_checks", set_uris).default("7"),
        Parameter::text(
            "proxy_require",
            "extensions that Proxy-Require may name, separated by commas",
            |module, list| {
                let list = String::from_utf8_lossy(list);
                module.extensions =
                    list.split(',').map(|tag| tag.trim().to_string()).filter(|tag| !tag.is_empty()).collect();
                Ok(())
            },
        ),
    ];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new(
            "sanity_check",
            "checks the message as configured; answers a broken request",
            NONE,
            Self::check,
        )
        .routes(RouteSet::REQUEST.or(RouteSet::REPLY)),
        ModuleFunction::new(
            "sanity_check",
            "makes these checks; answers a broken request",
            CHECKS,
            Self::check,
        )
        .routes(RouteSet::REQUEST.or(RouteSet::REPLY)),
        ModuleFunction::new(
            "sanity_check",
            "makes these checks, 1024 on these URIs; answers a broken request",
            CHECKS_AND_URIS,
            Self::check,
        )
        .routes(RouteSet::REQUEST.or(RouteSet::REPLY)),
        ModuleFunction::new(
            "sanity_reply",
            "answers the fault found by the last sanity_check, when parameter noreply is set",
            NONE,
            Self::reply,
        )
        .routes(RouteSet::REQUEST),
    ];
    const COUNTERS: &'static [CounterRow] = Counter::ROWS;

    fn new() -> Self {
        Sanity {
            message_checks: MESSAGE_CHECKS_DEFAULT,
            uri_checks: URI_CHECKS_DEFAULT,
            extensions: Vec::new(),
            is_autodrop: true,
            is_noreply: false,
            found: Cell::new(None),
            counters: ModuleCounters::default(),
        }
    }

    fn number_counters(&mut self, counters: ModuleCounters) {
        self.counters = counters;
    }
}

fn set_checks(module: &mut Sanity, value: i64) -> Result<(), Diagnostic> {
    module.message_checks = sum(value, MESSAGE_CHECKS_ALL)?;
    Ok(())
}

fn set_uris(module: &mut Sanity, value: i64) -> Result<(), Diagnostic> {
    module.uri_checks = sum(value, URI_CHECKS_ALL)?;
    Ok(())
}

fn sum(value: i64, all: u32) -> Result<u32, Diagnostic> {
    u32::try_from(value).ok().filter(|sum| sum & !all == 0).ok_or_else(|| {
        Diagnostic::mistake(format!("{value} is not a sum of checks"))
            .with_help(format!("a number from 0 to {all}"))
    })
}

impl Sanity {
    fn check(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let number = |index: usize, default: u32| match arguments.get(index) {
            None => Some(default),
            Some(argument) => argument.integer().and_then(|number| u32::try_from(number).ok()),
        };
        let (Some(checks), Some(uris)) = (number(0, self.message_checks), number(1, self.uri_checks)) else {
            context.log(Level::Error, format_args!("sanity_check: the checks are not a number"));
            return Outcome::FALSE;
        };
        let tags: Vec<&str> = self.extensions.iter().map(String::as_str).collect();
        let rules = ValidationRules { extensions: &tags, ..ValidationRules::PROXY };
        match first_fault(&context.message, &rules, checks, uris) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => self.refuse(context, fault, &rules),
        }
    }

    fn refuse(&self, context: &mut Context<'_>, fault: Fault, rules: &ValidationRules<'_>) -> Outcome {
        context.count(self.counters.id(Counter::Refused));
        if self.is_noreply {
            self.found.set(Some((context.process.message_number, fault)));
        } else {
            self.answer(context, fault, rules);
        }
        if self.is_autodrop { Outcome::STOP } else { Outcome::FALSE }
    }

    fn reply(&self, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
        let number = context.process.message_number;
        let Some((_, fault)) = self.found.take().filter(|(found_in, _)| *found_in == number) else {
            return Outcome::FALSE;
        };
        let tags: Vec<&str> = self.extensions.iter().map(String::as_str).collect();
        self.answer(context, fault, &ValidationRules { extensions: &tags, ..ValidationRules::PROXY }).into()
    }

    /// Whether an answer was owed and sent.
    fn answer(&self, context: &mut Context<'_>, fault: Fault, rules: &ValidationRules<'_>) -> bool {
        match context.answer_fault(fault, rules) {
            Ok(is_answered) => {
                if is_answered {
                    context.count(self.counters.id(Counter::Answered));
                }
                is_answered
            }
            Err(failure) => {
                context.log(Level::Error, format_args!("could not answer a broken request: {failure}"));
                false
            }
        }
    }
}

fn first_fault(
    message: &Message<'_>,
    rules: &ValidationRules<'_>,
    checks: u32,
    uris: u32,
) -> Result<(), Fault> {
    for check in MESSAGE_CHECKS {
        if checks & check.number != 0 {
            (check.look)(message, rules)?;
        }
    }
    if checks & PARSE_URIS != 0 { check_uris(message, uris) } else { Ok(()) }
}

fn check_uris(message: &Message<'_>, uris: u32) -> Result<(), Fault> {
    if let Some(line) = message.request_line().filter(|_| uris & REQUEST_URI != 0) {
        message.parse_uri(line.uri).map_err(Fault::RequestUri)?;
    }
    let wanted = URI_CHECKS.iter().filter(|(number, _)| uris & number != 0);
    wanted.map(|(_, id)| *id).try_for_each(|id| check_addresses(message, id))
}

fn check_addresses(message: &Message<'_>, id: HeaderId) -> Result<(), Fault> {
    for address in message.addresses(id) {
        let address = address.map_err(Fault::Header)?;
        if !address.is_wildcard() && message.parse_uri(address.uri).is_err() {
            return Err(Fault::Header(HeaderError::Malformed(id, "its uri cannot be read")));
        }
    }
    Ok(())
}

/// What a Digest must say (RFC 3261 22.4); other schemes are for `accepts` to say.
fn check_credentials(message: &Message<'_>, accepts: fn(&Credentials<'_>) -> bool) -> Result<(), Fault> {
    for id in [HeaderId::Authorization, HeaderId::ProxyAuthorization] {
        for header in message.headers_of(id) {
            let malformed = |reason| Fault::Header(HeaderError::Malformed(id, reason));
            let credentials = Credentials::parse(header.value).ok_or(malformed("it is empty"))?;
            if !accepts(&credentials) {
                return Err(malformed("its scheme is not Digest"));
            }
            let lacks = |name: &&[u8]| credentials.field(name).is_none_or(<[u8]>::is_empty);
            if credentials.is_digest() && DIGEST_FIELDS.iter().any(lacks) {
                return Err(malformed("a field that Digest must have is missing or empty"));
            }
        }
    }
    Ok(())
}

const DIGEST_FIELDS: &[&[u8]] = &[b"username", b"realm", b"nonce", b"uri", b"response"];

fn check_tags(message: &Message<'_>) -> Result<(), Fault> {
    for id in [HeaderId::From, HeaderId::To] {
        let address = message.address(id).map_err(Fault::Header)?;
        if address.params.iter().filter(|param| param.is_named(b"tag")).nth(1).is_some() {
            return Err(Fault::Header(HeaderError::Malformed(id, "it has more than one tag")));
        }
    }
    Ok(())
}

/// The rest of the grammar that others may stumble over, and responses nobody should send on.
fn check_grammar(message: &Message<'_>) -> Result<(), Fault> {
    validate::check_lines(message)?;
    // The last hop is `mf_process_maxfwd_header`'s to refuse.
    validate::check_hops(message, &ValidationRules::SERVER)?;
    if message.is_request() { Ok(()) } else { validate::check_broadcast(message) }
}

fn check_sizes(message: &Message<'_>) -> Result<(), Fault> {
    for id in [HeaderId::Via, HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq] {
        if message.header(id).is_some_and(|header| header.value.len() > VALUE_SIZE_MAX) {
            return Err(Fault::Header(HeaderError::Malformed(id, "it is longer than 4096 bytes")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Sanity>()];

    /// A request whose lines are those given and, for the rest, good ones.
    fn request(line: &str, lines: &str) -> String {
        let method = line.split(' ').next().unwrap_or_default();
        let cseq = format!("CSeq: 1 {method}");
        let good = [
            "Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport",
            "From: <sip:a@b.com>;tag=1",
            "To: <sip:c@d.com>",
            "Call-ID: c1",
            &cseq,
        ];
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_string();
        let is_given = |good: &str| lines.lines().any(|line| name(line) == name(good));
        let kept: String =
            good.iter().filter(|line| !is_given(line)).map(|line| format!("{line}\r\n")).collect();
        format!("{line}\r\n{kept}{lines}\r\n")
    }

    fn script(parameters: &str, call: &str) -> String {
        format!(
            "loadmodule \"sanity.so\"\n{parameters}\nrequest_route {{ $var(rc) = {call}; log(2, \"@@$var(rc)@@\"); }}"
        )
    }

    /// The status line that goes out, or `fine` when the check is true.
    fn answer(parameters: &str, call: &str, message: &str) -> String {
        let mut stage = ScriptHarness::new(MODULES, &script(parameters, call));
        stage.receive(message);
        let went_on = stage.log().contains("@@1@@");
        match stage.sent().as_slice() {
            [] if went_on => "fine".into(),
            [] => "silent".into(),
            [sent] => sent.text.lines().next().unwrap_or_default().trim_start_matches("SIP/2.0 ").into(),
            more => panic!("{more:?}"),
        }
    }

    const LINE: &str = "OPTIONS sip:c@d.com SIP/2.0";

    #[test]
    fn each_number_is_one_check() {
        let rows = [
            (
                2,
                "OPTIONS soap.beep:x SIP/2.0",
                "",
                "416 Unsupported URI Scheme (uri scheme is not supported)",
            ),
            (2, "OPTIONS sip:a@[::1 SIP/2.0", "", "400 Bad Request (bad request-uri: "),
            (32, LINE, "CSeq: 1 BYE\r\n", "400 Bad Request (method of CSeq is not that of the request)"),
            (64, LINE, "CSeq: 2147483648 OPTIONS\r\n", "400 Bad Request (number of CSeq is not below 2^31)"),
            (128, LINE, "Content-Length: 5\r\n", "400 Bad Request (body is shorter than Content-Length)"),
            (128, LINE, "Content-Length: -5\r\n", "400 Bad Request (bad Content-Length"),
            (256, LINE, "Expires: soon\r\n", "400 Bad Request (bad Expires"),
            (
                512,
                LINE,
                "Proxy-Require: x\r\n",
                "420 Bad Extension (Proxy-Require names an unknown extension)",
            ),
            (1024, LINE, "From: <sip:a@>;tag=1\r\n", "400 Bad Request (bad From: its uri cannot be read)"),
            (
                2048,
                LINE,
                "Authorization: Basic x\r\n",
                "400 Bad Request (bad Authorization: its scheme is not Digest)",
            ),
            (
                2048,
                LINE,
                "Authorization: Digest username=\"a\", realm=\r\n",
                "400 Bad Request (bad Authorization: a field",
            ),
            (
                8192,
                LINE,
                "Authorization: Digest username=\"a\"\r\n",
                "400 Bad Request (bad Authorization: a field",
            ),
            (
                4096,
                LINE,
                "To: <sip:c@d>;tag=1;TAG=2\r\n",
                "400 Bad Request (bad To: it has more than one tag)",
            ),
            (32768, LINE, "Contact: <sip:a>;;\r\n", "400 Bad Request (bad Contact"),
            (32768, LINE, "Max-Forwards: 300\r\n", "400 Bad Request (Max-Forwards is above 255)"),
            (32768, LINE, "no colon\r\n", "400 Bad Request (a header line has no valid name before a colon)"),
        ];
        for (number, line, lines, expected) in rows {
            let message = request(line, lines);
            let call = |checks: u32| format!("sanity_check(\"{checks}\", \"15\")");
            let found = answer("", &call(number), &message);
            assert!(found.starts_with(expected), "{number} {lines:?}: {found}");
            if lines != "no colon\r\n" {
                assert_eq!(answer("", &call(16384), &message), "fine", "{number} {lines:?} by another check");
            }
        }
        let vias = "Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\nVia: SIP/3.0/UDP h\r\n";
        for number in [8, 16, 16384] {
            let found = answer("", &format!("sanity_check({number})"), &request(LINE, vias));
            assert!(found.starts_with("400 Bad Request (bad Via: "), "{number}: {found}");
        }
        for number in [1, 2, 4, 32, 64] {
            let found = answer("", &format!("sanity_check({number})"), &request(LINE, vias));
            assert_eq!(found, "fine", "{number} looks at the second Via");
        }
        let long = format!("Call-ID: {}\r\n", "c".repeat(4097));
        assert!(answer("", "sanity_check(65536)", &request(LINE, &long)).starts_with("400 "));
        assert_eq!(answer("", "sanity_check(65536)", &request(LINE, "")), "fine");
    }

    #[test]
    fn good_messages_pass_every_check() {
        for lines in [
            "",
            "Contact: *\r\nExpires: 0\r\n",
            "Authorization: Unheard of=it\r\n",
            "Proxy-Require: p , q\r\n",
        ] {
            let found = answer(
                "modparam(\"sanity\", \"proxy_require\", \"p,q\")",
                "sanity_check(129023, 15)",
                &request(LINE, lines),
            );
            assert_eq!(found, "fine", "{lines:?}");
        }
    }

    #[test]
    fn a_420_lists_what_is_not_supported() {
        let mut stage = ScriptHarness::new(
            MODULES,
            &script("modparam(\"sanity\", \"proxy_require\", \" known \")", "sanity_check(512)"),
        );
        stage.receive(&request(LINE, "Proxy-Require: a, known\r\nProxy-Require: b\r\n"));
        let text = stage.sent_one().text;
        assert!(text.contains("\r\nUnsupported: a, b\r\n"), "{text}");
        assert_eq!((stage.count("sanity.refused"), stage.count("sanity.answered")), (1, 1));
    }

    #[test]
    fn the_parameters_say_which_checks_are_made_and_what_follows() {
        let bad_expires = request(LINE, "Expires: soon\r\n");
        let autodrop = |value: u8| format!("modparam(\"sanity\", \"autodrop\", {value})");
        let run = |parameters: &str| {
            let mut stage = ScriptHarness::new(MODULES, &script(parameters, "sanity_check()"));
            stage.receive(&bad_expires);
            let log = stage.log();
            (stage.sent().len(), log.contains("@@-1@@"), log.contains("@@"))
        };
        assert_eq!(run(""), (1, false, false), "the script is ended");
        assert_eq!(run(&autodrop(0)), (1, true, true), "the script goes on");
        assert_eq!(run("modparam(\"sanity\", \"default_checks\", 4)"), (0, false, true), "not checked");
        assert_eq!(run("modparam(\"sanity\", \"noreply\", 1)"), (0, false, false), "not answered");
        for wrong in ["\"default_checks\", -1", "\"default_msg_checks\", 131072", "\"uri_checks\", 16"] {
            let text = script(&format!("modparam(\"sanity\", {wrong})"), "sanity_check()");
            assert!(ScriptHarness::mistakes(MODULES, &text).contains("is not a sum of checks"), "{wrong}");
        }
    }

    #[test]
    fn an_answer_can_be_left_to_the_script() {
        let head = "modparam(\"sanity\", \"noreply\", 1)\nmodparam(\"sanity\", \"autodrop\", 0)";
        let call = "sanity_check(); $var(rc) = sanity_reply(); $var(again) = sanity_reply()";
        let broken = request(LINE, "Expires: soon\r\n");
        assert!(answer(head, call, &broken).starts_with("400 "), "{}", answer(head, call, &broken));
        assert_eq!(answer(head, "sanity_reply()", &broken), "silent", "nothing was found yet");
    }

    #[test]
    fn acks_and_replies_are_refused_in_silence() {
        let ack = request("ACK sip:c@d.com SIP/2.0", "Expires: soon\r\n");
        assert_eq!(answer("", "sanity_check()", &ack), "silent");
        let mut stage = ScriptHarness::new(
            MODULES,
            "loadmodule \"sanity.so\"\nreply_route { sanity_check(\"64\"); log(2, \"@@\"); }\nrequest_route { exit; }",
        );
        let reply = request("SIP/2.0 200 OK", "CSeq: 9292394834772304023312 OPTIONS\r\n");
        stage.receive(&reply);
        assert!(stage.sent().is_empty() && !stage.log().contains("@@"));
        assert_eq!((stage.count("sanity.refused"), stage.count("sanity.answered")), (1, 0));
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Sanity>();
        let all = MESSAGE_CHECKS.iter().fold(PARSE_URIS, |sum, check| sum | check.number);
        assert_eq!(all, MESSAGE_CHECKS_ALL);
    }
}
