//! Module `siputils`: questions about messages, URIs and numbers: `is_request`, `has_totag`, `is_numeric`, `uri_param`, …

use crate::bindings::functions::outcome;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, ModuleVariable, Outcome, Parameter, ParameterKind, RouteSet,
};
use crate::bindings::planning::Planning;
use crate::bindings::variables::KeyRule;
use crate::bindings::variables::request::{default_port, replace_request_uri};
use crate::routing::context::Context;
use crate::routing::services::StoredPlace;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::uri_draft::is_uri_octet;
use crate::sip::{HeaderId, Message, Method};

use uris::{change_uri, compare, gruu_kind, is_same_params, is_same_place, sip_of_tel, store, without_param};

mod charging;
mod contact;
mod uris;

/// Module `siputils`.
pub struct SipUtils {
    /// Between the parts of an encoded contact.
    separator: u8,
    /// The capabilities in `options_reply`, by header field.
    options: [(&'static str, Vec<u8>); 4],
    /// The variable `append_rpid_hf` takes the URI from, as written and as found.
    identity: (String, Option<StoredPlace>),
    identity_prefix: Vec<u8>,
    identity_suffix: Vec<u8>,
    made: charging::Made,
}

type Row = ModuleFunction<SipUtils>;

const ACCEPT: usize = 0;
const ACCEPT_ENCODING: usize = 1;
const ACCEPT_LANGUAGE: usize = 2;
const SUPPORTED: usize = 3;

const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const TWO_TEXTS: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text];
const INTEGER: &[ParameterKind] = &[ParameterKind::Integer];
const TEXT_PLACE: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Place];
const PLACE_TEXT: &[ParameterKind] = &[ParameterKind::Place, ParameterKind::Text];
const TWO_TEXTS_PLACE: &[ParameterKind] = &[ParameterKind::Text, ParameterKind::Text, ParameterKind::Place];
/// Requests and replies.
const ANY_MESSAGE: RouteSet = RouteSet::REQUEST.or(RouteSet::REPLY);

impl Module for SipUtils {
    const NAME: &'static str = "siputils";
    const DOCUMENTATION: &'static str = "tests and changes messages, URIs and numbers";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::text("options_accept", "Accept of options_reply, by default */*", |module, text| {
            module.set_option(ACCEPT, text)
        }),
        Parameter::text(
            "options_accept_encoding",
            "Accept-Encoding of options_reply, by default empty",
            |module, text| module.set_option(ACCEPT_ENCODING, text),
        ),
        Parameter::text(
            "options_accept_language",
            "Accept-Language of options_reply, by default en",
            |module, text| module.set_option(ACCEPT_LANGUAGE, text),
        ),
        Parameter::text("options_support", "Supported of options_reply, by default empty", |module, text| {
            module.set_option(SUPPORTED, text)
        }),
        Parameter::text(
            "contact_flds_separator",
            "byte between the parts of an encoded contact, by default *",
            |module, text| match text {
                &[byte] if is_uri_octet(byte) && !b"@:;?".contains(&byte) => {
                    module.separator = byte;
                    Ok(())
                }
                _ => Err(Diagnostic::mistake("contact_flds_separator is one byte")
                    .with_help("one that does not occur in URIs, such as \"*\"")),
            },
        ),
        Parameter::text(
            "rpid_avp",
            "variable append_rpid_hf takes the URI from: $avp(rpid)",
            |module, name| {
                module.identity.0 = String::from_utf8_lossy(name).into_owned();
                Ok(())
            },
        ),
        Parameter::text("rpid_prefix", "what append_rpid_hf writes before the URI", |module, text| {
            module.identity_prefix = text.to_vec();
            Ok(())
        }),
        Parameter::text("rpid_suffix", "what append_rpid_hf writes after the URI", |module, text| {
            module.identity_suffix = text.to_vec();
            Ok(())
        }),
    ];
    const VARIABLES: &'static [ModuleVariable<Self>] = &[ModuleVariable::new(
        "pcv",
        "part of P-Charging-Vector (RFC 7315); null without one",
        charging::read,
    )
    .key(KeyRule::Word(charging::PARTS))];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new("is_request", "true for a request", &[], |_, context, _| {
            context.message.is_request().into()
        }),
        ModuleFunction::new("is_reply", "true for a reply", &[], |_, context, _| {
            (!context.message.is_request()).into()
        }),
        ModuleFunction::new(
            "has_totag",
            "true when To has a tag: the request belongs to a dialog",
            &[],
            |_, context, _| context.message.to().is_ok_and(|to| to.tag().is_some()).into(),
        ),
        ModuleFunction::new(
            "is_first_hop",
            "true when the request came directly from its sender, without a proxy between",
            &[],
            |_, context, _| is_first_hop(context, SourceRule::NotFromHere).into(),
        ),
        ModuleFunction::new(
            "is_first_hop",
            "the same; mode 1: the source of replies is not checked",
            INTEGER,
            |_, context, arguments| {
                let rule =
                    if arguments[0].integer() == Some(1) { SourceRule::Any } else { SourceRule::NotFromHere };
                is_first_hop(context, rule).into()
            },
        ),
        ModuleFunction::new("is_numeric", "true when the text is digits only", TEXT, |_, _, arguments| {
            is_all(arguments[0].text(), u8::is_ascii_digit).into()
        }),
        ModuleFunction::new(
            "is_alphanum",
            "true when the text is letters and digits only",
            TEXT,
            |_, _, arguments| is_all(arguments[0].text(), u8::is_ascii_alphanumeric).into(),
        ),
        ModuleFunction::new(
            "is_alphanumex",
            "true when the text is letters, digits and bytes of the second text only",
            TWO_TEXTS,
            |_, _, arguments| {
                let extra = arguments[1].text();
                is_all(arguments[0].text(), |byte| byte.is_ascii_alphanumeric() || extra.contains(byte))
                    .into()
            },
        ),
        ModuleFunction::new(
            "is_tel_number",
            "true for digits, with or without a + before them",
            TEXT,
            |_, _, arguments| {
                let text = arguments[0].text();
                is_all(text.strip_prefix(b"+").unwrap_or(text), |byte| byte.is_ascii_digit()).into()
            },
        ),
        ModuleFunction::new("is_e164", "true for + and 3 to 15 digits", TEXT, |_, _, arguments| {
            is_e164(arguments[0].text()).into()
        }),
        ModuleFunction::new(
            "is_uri_user_e164",
            "true when the user part of the URI is + and 3 to 15 digits",
            TEXT,
            |_, context, arguments| {
                let uri = context.parse_uri(arguments[0].text());
                uri.is_ok_and(|uri| uri.user.is_some_and(is_e164)).into()
            },
        ),
        ModuleFunction::new(
            "is_uri",
            "true when the text is a URI with a host, or a tel URI",
            TEXT,
            |_, context, arguments| {
                context
                    .parse_uri(arguments[0].text())
                    .is_ok_and(|uri| uri.host.is_some() || uri.user.is_some())
                    .into()
            },
        ),
        ModuleFunction::new(
            "uri_param",
            "true when the Request-URI has this parameter, without a value",
            TEXT,
            |_, context, arguments| {
                with_request_uri(context, |uri| {
                    uri.params.find(arguments[0].text()).is_some_and(|param| param.text().is_none())
                })
            },
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "uri_param",
            "true when the Request-URI has this parameter with this value",
            TWO_TEXTS,
            |_, context, arguments| {
                with_request_uri(context, |uri| {
                    let value =
                        uri.params.find(arguments[0].text()).map(|param| param.text().unwrap_or_default());
                    value == Some(arguments[1].text())
                })
            },
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new("add_uri_param", "adds name=value to the Request-URI", TEXT, Self::add_uri_param)
            .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "tel2sip",
            "turns a tel Request-URI into sip:number@host;user=phone",
            TEXT,
            Self::tel_to_sip,
        )
        .routes(RouteSet::REQUEST),
        ModuleFunction::new(
            "cmp_uri",
            "true when two URIs are equal (RFC 3261 19.1.4)",
            TWO_TEXTS,
            |_, context, arguments| {
                compare(context.grammar(), arguments, |one, other| {
                    is_same_place(one, other) && is_same_params(one, other)
                })
            },
        ),
        ModuleFunction::new(
            "cmp_aor",
            "true when user and host of two URIs are equal",
            TWO_TEXTS,
            |_, context, arguments| compare(context.grammar(), arguments, is_same_place),
        ),
        Row::new(
            "cmp_hdr_name",
            "true when two names are those of one header field, long or compact; -2 when not",
            TWO_TEXTS,
            |_, _, arguments| {
                if is_same_header(arguments[0].text(), arguments[1].text()) {
                    Outcome::TRUE
                } else {
                    Outcome(-2)
                }
            },
        ),
        Row::new(
            "uri_param_any",
            "true when the Request-URI has this parameter, with or without a value",
            TEXT,
            |_, context, arguments| {
                with_request_uri(context, |uri| uri.params.find(arguments[0].text()).is_some())
            },
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "get_uri_param",
            "stores the value of a parameter of the Request-URI in a variable",
            TEXT_PLACE,
            Self::get_uri_param,
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "uri_param_rm",
            "removes a parameter from the Request-URI",
            TEXT,
            |_, context, arguments| {
                let Some(uri) = context.parsed_request_uri() else { return Outcome::FALSE };
                match without_param(&uri, arguments[0].text()) {
                    Some(changed) => {
                        let replaced = replace_request_uri(context, &changed);
                        outcome(context, "uri_param_rm", replaced.map_err(|refusal| refusal.0))
                    }
                    None => Outcome::TRUE,
                }
            },
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "tel2sip",
            "turns a tel URI into a sip URI and stores it: uri, host, variable; 2 when it is not a tel URI",
            TWO_TEXTS_PLACE,
            Self::tel_to_sip_stored,
        ),
        Row::new(
            "set_uri_user",
            "sets the user part of the URI in a variable; an empty one removes it",
            PLACE_TEXT,
            |_, context, arguments| {
                change_uri(context, "set_uri_user", arguments, |draft, user| draft.set_user(b"", user))
            },
        ),
        Row::new(
            "set_uri_host",
            "sets the host of the URI in a variable",
            PLACE_TEXT,
            |_, context, arguments| {
                change_uri(context, "set_uri_host", arguments, |draft, host| draft.set_host(host))
            },
        ),
        Row::new(
            "is_gruu",
            "1 when the Request-URI is a public GRUU, 2 for a temporary one",
            &[],
            |_, context, _| gruu_kind(context.parsed_request_uri()),
        ),
        Row::new(
            "is_gruu",
            "1 when a URI is a public GRUU, 2 for a temporary one",
            TEXT,
            |_, context, arguments| gruu_kind(context.parse_uri(arguments[0].text()).ok()),
        ),
        Row::new("is_supported", "true when Supported lists this option", TEXT, |_, context, arguments| {
            let wanted = arguments[0].text();
            let mut options = context.message.values_of(HeaderId::Supported);
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted)).into()
        }),
        Row::new(
            "hdr_date_check",
            "true when Date is not older than a number of seconds; -1 without Date, -2 when it cannot be \
             read, -4 too old",
            INTEGER,
            |_, context, arguments| date_check(context, arguments[0].integer().unwrap_or(0)),
        ),
        Row::new(
            "options_reply",
            "answers an OPTIONS request to this server (no user part) with 200 and its capabilities",
            &[],
            Self::answer_options,
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "append_rpid_hf",
            "adds Remote-Party-ID with the URI of rpid_avp",
            &[],
            |module, context, _| {
                module.add_identity(context, &module.identity_prefix, &module.identity_suffix)
            },
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "append_rpid_hf",
            "adds Remote-Party-ID with the URI of rpid_avp between two texts",
            TWO_TEXTS,
            |module, context, arguments| {
                module.add_identity(context, arguments[0].text(), arguments[1].text())
            },
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "is_rpid_user_e164",
            "true when the user part of the URI of rpid_avp is + and 3 to 15 digits",
            &[],
            |module, context, _| {
                let identity = module.identity_of(context);
                context.parse_uri(&identity).is_ok_and(|uri| uri.user.is_some_and(is_e164)).into()
            },
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "encode_contact",
            "encodes the Contact URI into its user part, after a prefix, and sets another host: prefix, \
             host",
            TWO_TEXTS,
            contact::encode,
        )
        .routes(ANY_MESSAGE),
        Row::new(
            "decode_contact",
            "the Request-URI as it was before encode_contact",
            &[],
            contact::decode_request,
        )
        .routes(RouteSet::REQUEST),
        Row::new(
            "decode_contact_header",
            "Contact as it was before encode_contact",
            &[],
            contact::decode_header,
        )
        .routes(ANY_MESSAGE),
        Row::new(
            "contact_param_encode",
            "replaces the Contact URI and keeps the original in a parameter: name, URI",
            TWO_TEXTS,
            contact::encode_param,
        )
        .routes(ANY_MESSAGE),
        Row::new(
            "contact_param_decode",
            "Contact as it was before contact_param_encode: name",
            TEXT,
            contact::decode_param,
        )
        .routes(ANY_MESSAGE),
        Row::new(
            "contact_param_decode_uri",
            "the Request-URI as it was before contact_param_encode: name",
            TEXT,
            contact::decode_request_param,
        )
        .alias(&["contact_param_decode_ruri"])
        .routes(RouteSet::REQUEST),
        Row::new(
            "contact_param_rm",
            "removes a parameter from the URIs in Contact",
            TEXT,
            contact::remove_param,
        )
        .routes(ANY_MESSAGE),
        Row::new(
            "sip_p_charging_vector",
            "P-Charging-Vector: r removes it, g generates one if there is none, f replaces it by a new one",
            TEXT,
            charging::change,
        ),
    ];

    fn new() -> Self {
        SipUtils {
            separator: b'*',
            options: [
                ("Accept", b"*/*".to_vec()),
                ("Accept-Encoding", Vec::new()),
                ("Accept-Language", b"en".to_vec()),
                ("Supported", Vec::new()),
            ],
            identity: ("$avp(rpid)".to_string(), None),
            identity_prefix: Vec::new(),
            identity_suffix: b";party=calling;id-type=subscriber;screen=yes".to_vec(),
            made: charging::Made::default(),
        }
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        planning.about("rpid_avp");
        self.identity.1 = Some(planning.place(&self.identity.0)?);
        Ok(())
    }
}

impl SipUtils {
    fn add_uri_param(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let param = arguments[0].text();
        let Some(uri) = context.request_uri() else { return Outcome::FALSE };
        if param.is_empty() {
            return Outcome::TRUE;
        }
        if !param.iter().all(|&byte| is_uri_octet(byte) && byte != b'?') {
            return outcome(context, "add_uri_param", Err("invalid parameter"));
        }
        let end = memchr::memchr(b'?', uri).unwrap_or(uri.len());
        let changed = [&uri[..end], b";", param, &uri[end..]].concat();
        let replaced = replace_request_uri(context, &changed);
        outcome(context, "add_uri_param", replaced.map_err(|refusal| refusal.0))
    }

    fn set_option(&mut self, index: usize, text: &[u8]) -> Result<(), Diagnostic> {
        if text.iter().any(u8::is_ascii_control) {
            let message = format!("{} cannot be \"{}\"", self.options[index].0, text.escape_ascii());
            return Err(Diagnostic::mistake(message));
        }
        self.options[index].1 = text.to_vec();
        Ok(())
    }

    fn answer_options(&self, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
        let is_options = context.message.request_line().is_some_and(|line| line.method == Method::Options);
        let has_user = with_request_uri(context, |uri| uri.user.is_some()) == Outcome::TRUE;
        if !is_options || has_user {
            return outcome(
                context,
                "options_reply",
                Err("only an OPTIONS request to this server can be answered"),
            );
        }
        let mut lines = Vec::new();
        for (name, value) in &self.options {
            lines.extend_from_slice(name.as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value);
            lines.extend_from_slice(b"\r\n");
        }
        let sent = context.reply(200, b"OK", &lines);
        outcome(context, "options_reply", sent)
    }

    fn get_uri_param(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Some(uri) = context.parsed_request_uri() else { return Outcome::FALSE };
        let Some(param) = uri.params.find(arguments[0].text()) else { return Outcome::FALSE };
        let value = param.text().unwrap_or_default().to_vec();
        store(context, "get_uri_param", &arguments[1], &value)
    }

    fn tel_to_sip_stored(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Ok(uri) = context.parse_uri(arguments[0].text()) else {
            return outcome(context, "tel2sip", Err("this is not a URI"));
        };
        let (Scheme::Tel, Some(number)) = (uri.scheme, uri.user) else { return Outcome(2) };
        let sip = sip_of_tel(number, &uri, arguments[1].text());
        store(context, "tel2sip", &arguments[2], &sip)
    }

    /// The URI that `rpid_avp` holds; empty without one.
    fn identity_of(&self, context: &Context<'_>) -> Vec<u8> {
        let mut identity = Vec::new();
        if let Some(place) = self.identity.1 {
            context.read(place.place(), &mut identity);
        }
        identity
    }

    fn add_identity(&self, context: &mut Context<'_>, prefix: &[u8], suffix: &[u8]) -> Outcome {
        let identity = self.identity_of(context);
        if identity.is_empty() {
            return Outcome::FALSE;
        }
        let value = [prefix, b"<", &*identity, b">", suffix].concat();
        let added = context.edits.add_last(&context.message, b"Remote-Party-ID", &value);
        outcome(context, "append_rpid_hf", added)
    }

    fn tel_to_sip(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Some(uri) = context.parsed_request_uri() else { return Outcome::FALSE };
        let (Scheme::Tel, Some(number)) = (uri.scheme, uri.user) else { return Outcome::TRUE };
        let changed = sip_of_tel(number, &uri, arguments[0].text());
        let replaced = replace_request_uri(context, &changed);
        outcome(context, "tel2sip", replaced.map_err(|refusal| refusal.0))
    }
}

fn is_same_header(one: &[u8], other: &[u8]) -> bool {
    match HeaderId::from_name(one) {
        HeaderId::Other => one.eq_ignore_ascii_case(other),
        known => known == HeaderId::from_name(other),
    }
}

fn date_check(context: &Context<'_>, seconds: i64) -> Outcome {
    let Some(header) = context.message.header_named(b"Date", 0) else { return Outcome(-1) };
    let date = std::str::from_utf8(header.value).ok();
    let Some(date) = date.and_then(|text| jiff::fmt::rfc2822::parse(text.trim()).ok()) else {
        return Outcome(-2);
    };
    let now_s = (context.envelope().received_at_ns / NS_PER_SECOND) as i64;
    if date.timestamp().as_second() < now_s.saturating_sub(seconds) { Outcome(-4) } else { Outcome::TRUE }
}

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Which replies are from the first hop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceRule {
    /// Those that did not come from this server.
    NotFromHere,
    /// All.
    Any,
}

/// A request with one Via; a reply whose topmost Record-Route is this server, unless it came from here.
fn is_first_hop(context: &Context<'_>, rule: SourceRule) -> bool {
    let message: &Message<'_> = &context.message;
    if message.is_request() {
        return message.vias().count() == 1;
    }
    let route = message.addresses(HeaderId::RecordRoute).next().and_then(Result::ok);
    let Some(Ok(uri)) = route.map(|route| message.parse_uri(route.uri)) else { return false };
    let host = uri.host.unwrap_or_default();
    let source = context.envelope().source;
    let came_from_it =
        uri.address() == Some(source.ip()) && uri.port.unwrap_or(default_port(&uri)) == source.port();
    context.settings().is_myself(host, uri.port.unwrap_or(0)) && (rule == SourceRule::Any || !came_from_it)
}

fn is_all(text: &[u8], fits: impl Fn(&u8) -> bool) -> bool {
    !text.is_empty() && text.iter().all(fits)
}

fn is_e164(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b"+") else { return false };
    (3..=15).contains(&digits.len()) && is_all(digits, u8::is_ascii_digit)
}

fn with_request_uri(context: &Context<'_>, holds: impl FnOnce(&Uri<'_>) -> bool) -> Outcome {
    context.parsed_request_uri().is_some_and(|uri| holds(&uri)).into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<SipUtils>()];
    /// With what applies changes.
    const MODULES_WITH_TEXT: &[ModuleEntry] = &[ModuleEntry::of::<SipUtils>(), ModuleEntry::of::<Applying>()];

    /// Applies changes, as module `textopsx` does.
    struct Applying;

    impl Module for Applying {
        const NAME: &'static str = "applying";
        const DOCUMENTATION: &'static str = "applies changes";
        const FUNCTIONS: &'static [ModuleFunction<Self>] =
            &[ModuleFunction::new("msg_apply_changes", "applies changes", &[], |_, context, _| {
                context.apply_changes().is_ok().into()
            })];

        fn new() -> Self {
            Applying
        }
    }

    /// What stands between the marks of the line that statements wrote.
    pub(in crate::modules::siputils) fn logged(statements: &str, message: &str) -> String {
        let script = format!(
            "loadmodule \"siputils.so\"\nloadmodule \"applying.so\"\nrequest_route {{ {statements} }}"
        );
        let mut stage = ScriptHarness::new(MODULES_WITH_TEXT, &script);
        stage.receive(message);
        let log = stage.log();
        let text = log.split("@@").nth(1).unwrap_or_else(|| panic!("{statements}: {log}"));
        text.to_string()
    }

    pub(in crate::modules::siputils) const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// Whether a condition holds, after some statements.
    fn holds(statements: &str, condition: &str, message: &str) -> bool {
        let script = format!(
            "loadmodule \"siputils.so\"\nrequest_route {{ {statements} if ({condition}) {{ log(2, \"@@yes@@\"); }} }}"
        );
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(message);
        stage.log().contains("@@yes@@")
    }

    #[test]
    fn messages_are_asked_about() {
        let in_dialog = REQUEST.replace("<sip:bob@c.com>", "<sip:bob@c.com>;tag=9");
        let second_hop = REQUEST.replace("From:", "Via: SIP/2.0/UDP h;branch=z9hG4bKb\r\nFrom:");
        let params = REQUEST.replace(":17060 SIP", ":17060;a=1;b SIP");
        let rows = [
            ("is_request()", REQUEST, true),
            ("is_reply()", REQUEST, false),
            ("has_totag()", REQUEST, false),
            ("has_totag()", &in_dialog, true),
            ("is_first_hop()", REQUEST, true),
            ("is_first_hop()", &second_hop, false),
            ("is_numeric(\"123\")", REQUEST, true),
            ("is_numeric(\"12a\")", REQUEST, false),
            ("is_numeric(\"\")", REQUEST, false),
            ("is_numeric(\"$rU\")", REQUEST, false),
            ("is_alphanum(\"$rU\")", REQUEST, true),
            ("is_alphanum(\"a-b\")", REQUEST, false),
            ("is_alphanumex(\"a-b\", \"-_\")", REQUEST, true),
            ("is_tel_number(\"+4930123\")", REQUEST, true),
            ("is_tel_number(\"+49-30\")", REQUEST, false),
            ("is_tel_number(\"+\")", REQUEST, false),
            ("is_uri_user_e164(\"sip:+4930123@x\")", REQUEST, true),
            ("is_uri(\"sip:x\")", REQUEST, true),
            ("is_uri(\"x\")", REQUEST, false),
            ("uri_param(\"a\")", &params, false),
            ("uri_param_any(\"a\")", &params, true),
            ("uri_param_any(\"c\")", &params, false),
            ("uri_param(\"b\")", &params, true),
            ("uri_param(\"c\")", &params, false),
            ("uri_param(\"a\", \"1\")", &params, true),
            ("uri_param(\"a\", \"2\")", &params, false),
            ("cmp_aor(\"sip:a@B;x=1\", \"sip:a@b\")", REQUEST, true),
        ];
        for (condition, message, expected) in rows {
            assert_eq!(holds("", condition, message), expected, "{condition}");
        }
    }

    #[test]
    fn the_request_uri_is_changed() {
        let rows = [
            ("add_uri_param(\"x=1\");", "$ru == \"sip:bob@127.0.0.1:17060;x=1\""),
            ("$ru = \"sip:a@b?s=1\"; add_uri_param(\"x\");", "$ru == \"sip:a@b;x?s=1\""),
            ("add_uri_param(\"a b\");", "$ru == \"sip:bob@127.0.0.1:17060\""),
            ("$ru = \"tel:+49-30\"; tel2sip(\"h.com\");", "$ru == \"sip:+4930@h.com;user=phone\""),
        ];
        for (statements, condition) in rows {
            assert!(holds(statements, condition, REQUEST), "{statements} {condition}");
        }
    }

    #[test]
    fn questions_have_numbers_for_answers() {
        let date = REQUEST
            .replace("From:", "Date: Mon, 23 Nov 2026 01:00:00 GMT\r\nSupported: path, Outbound\r\nFrom:");
        let rows = [
            ("cmp_hdr_name(\"f\", \"From\")", 1),
            ("cmp_hdr_name(\"X-a\", \"x-A\")", 1),
            ("cmp_hdr_name(\"X-a\", \"From\")", -2),
            ("is_gruu()", -1),
            ("is_gruu(\"sip:a@b;gr\")", 2),
            ("is_gruu(\"sip:a@b;gr=x\")", 1),
            ("is_gruu(\"x\")", -1),
            ("is_supported(\"outbound\")", 1),
            ("is_supported(\"100rel\")", -1),
            ("is_first_hop(1)", 1),
            ("hdr_date_check(10)", -4),
            ("hdr_date_check(\"3000000000\")", 1),
            ("is_rpid_user_e164()", -1),
            ("append_rpid_hf()", -1),
        ];
        for (call, expected) in rows {
            let told = logged(&format!("$var(r) = {call}; log(2, \"@@$var(r)@@\");"), &date);
            assert_eq!(told, expected.to_string(), "{call}");
        }
        for (header, expected) in [("", "-1"), ("Date: yesterday\r\n", "-2")] {
            let message = REQUEST.replace("From:", &format!("{header}From:"));
            let told = logged("$var(r) = hdr_date_check(10); log(2, \"@@$var(r)@@\");", &message);
            assert_eq!(told, expected, "{header}");
        }
    }

    #[test]
    fn uris_in_variables_are_changed() {
        let uri = "$var(u) = \"sip:user@host:5070;x=1?h=2\"; $ru = \"sip:bob@h;a=1;b;c=x?s=1\";";
        let rows = [
            ("$var(r) = get_uri_param(\"a\", \"$var(v)\");", "$var(r) $var(v)", "1 1"),
            ("$var(r) = get_uri_param(\"b\", \"$var(v)\");", "$var(r) [$var(v)]", "1 []"),
            ("$var(r) = get_uri_param(\"z\", \"$var(v)\");", "$var(r) $var(v)", "-1 0"),
            ("$var(r) = uri_param_rm(\"a\");", "$var(r) $ru", "1 sip:bob@h;b;c=x?s=1"),
            ("$var(r) = uri_param_rm(\"z\");", "$var(r) $ru", "1 sip:bob@h;a=1;b;c=x?s=1"),
            (
                "$var(r) = set_uri_user(\"$var(u)\", \"new\");",
                "$var(r) $var(u)",
                "1 sip:new@host:5070;x=1?h=2",
            ),
            ("$var(r) = set_uri_user(\"$var(u)\", \"\");", "$var(r) $var(u)", "1 sip:host:5070;x=1?h=2"),
            (
                "$var(r) = set_uri_user(\"$var(u)\", \"a b\");",
                "$var(r) $var(u)",
                "-1 sip:user@host:5070;x=1?h=2",
            ),
            ("$var(r) = set_uri_host(\"$var(u)\", \"h2\");", "$var(r) $var(u)", "1 sip:user@h2:5070;x=1?h=2"),
            (
                "$var(r) = set_uri_host(\"$var(u)\", \"\");",
                "$var(r) $var(u)",
                "-1 sip:user@host:5070;x=1?h=2",
            ),
            ("$var(r) = set_uri_user(\"$var(none)\", \"x\");", "$var(r)", "-1"),
            (
                "$var(r) = tel2sip(\"tel:+12-(34)-56-78;Ext=200;ISUB=+123-456\", \"foo.com\", \"$var(t)\");",
                "$var(r) $var(t)",
                "1 sip:+12345678;ext=200;isub=+123-456@foo.com;user=phone",
            ),
            ("$var(r) = tel2sip(\"sip:a@b\", \"foo.com\", \"$var(t)\");", "$var(r) $var(t)", "2 0"),
            (
                "$avp(rpid) = \"sip:+49123@h\"; $var(r) = append_rpid_hf(); msg_apply_changes();",
                "$var(r) $hdr(Remote-Party-ID)",
                "1 <sip:+49123@h>;party=calling;id-type=subscriber;screen=yes",
            ),
            (
                "$avp(rpid) = \"sip:+49123@h\"; append_rpid_hf(\"A \", \";x\"); $var(r) = is_rpid_user_e164(); msg_apply_changes();",
                "$var(r) $hdr(Remote-Party-ID)",
                "1 A <sip:+49123@h>;x",
            ),
        ];
        for (statements, text, expected) in rows {
            let told = logged(&format!("{uri} {statements} log(2, \"@@{text}@@\");"), REQUEST);
            assert_eq!(told, expected, "{statements}");
        }
    }

    #[test]
    fn options_to_this_server_itself_is_answered() {
        let head = "loadmodule \"siputils.so\"\nmodparam(\"siputils\", \"options_support\", \"path\")\n";
        let script = format!("{head}request_route {{ $rU = $null; options_reply(); }}");
        let mut stage = ScriptHarness::new(MODULES, &script);
        stage.receive(REQUEST);
        let text = stage.sent_one().text;
        for part in ["SIP/2.0 200 OK", "Accept: */*\r\n", "Accept-Language: en\r\n", "Supported: path\r\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let mut stage = ScriptHarness::new(MODULES, &script.replace("$rU = $null;", ""));
        stage.receive(REQUEST);
        assert!(stage.sent().is_empty());
        let mistakes = ScriptHarness::mistakes(MODULES, &script.replace("\"path\"", "\"a\\r\\nX: y\""));
        assert!(mistakes.contains("Supported cannot be"), "{mistakes}");
    }

    #[test]
    fn global_numbers_are_known() {
        let rows = [
            ("+123", true),
            ("+123456789012345", true),
            ("+12", false),
            ("+1234567890123456", false),
            ("123", false),
            ("+12a4", false),
            ("", false),
        ];
        for (text, expected) in rows {
            assert_eq!(is_e164(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<SipUtils>();
    }
}
