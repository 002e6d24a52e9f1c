//! Words without `$` (`method`, `src_ip`, `myself`) and selects: which variables they stand for.

use crate::script::catalog::Yields;
use crate::script::host::Reading;
use crate::sip::uri::{Scheme, Uri};

use super::variables::{KeyRule, Subject, Variable, VariableRow, sending};
use crate::routing::context::Context;
use crate::routing::services::Scope;
use crate::state::value::answer_text;

/// A word.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// As the script writes it.
    pub name: &'static str,
    /// The variable it stands for.
    pub variable: &'static str,
    /// How it compares.
    pub yields: Yields,
}

const fn word(name: &'static str, variable: &'static str, yields: Yields) -> Word {
    Word { name, variable, yields }
}

/// Every word.
pub const WORDS: &[Word] = &[
    word("method", "rm", Yields::TextAnyCase),
    word("uri", "ru", Yields::TextAnyCase),
    word("from_uri", "fu", Yields::TextAnyCase),
    word("to_uri", "tu", Yields::TextAnyCase),
    word("status", "rs", Yields::TextAnyCase),
    word("src_ip", "si", Yields::Address),
    word("src_port", "sp", Yields::Integer),
    word("dst_ip", "Ri", Yields::Address),
    word("dst_port", "Rp", Yields::Integer),
    word("proto", "pr", Yields::TextAnyCase),
    word("af", ADDRESS_FAMILY, Yields::TextAnyCase),
    word("msg:len", MESSAGE_SIZE, Yields::Integer),
    word("max_len", MESSAGE_SIZE_MAX, Yields::Integer),
    word("myself", MYSELF, Yields::Myself),
    word("snd_ip", "@snd_ip", Yields::Address),
    word("snd_port", "@snd_port", Yields::Integer),
    word("snd_proto", "@snd_proto", Yields::TextAnyCase),
    word("snd_af", "@snd_af", Yields::TextAnyCase),
    word("to_ip", "@to_ip", Yields::Address),
    word("to_port", "@to_port", Yields::Integer),
    word("to_proto", "@snd_proto", Yields::TextAnyCase),
    word("to_af", "@to_af", Yields::TextAnyCase),
];

/// The only words that a word can be equal to, where that is known.
pub fn values_of(word: &str) -> &'static [&'static str] {
    match word {
        "proto" | "snd_proto" | "to_proto" => &["UDP", "TCP", "TLS", "SCTP", "WS", "WSS"],
        "af" | "snd_af" | "to_af" => &["INET", "INET6"],
        _ => &[],
    }
}

/// Selects that stand for a variable.
pub const SELECTS: &[(&str, &str)] = &[
    ("method", "rm"),
    ("ruri", "ru"),
    ("ruri.user", "rU"),
    ("ruri.host", "rd"),
    ("from.uri", "fu"),
    ("from.tag", "ft"),
    ("to.uri", "tu"),
    ("to.tag", "tt"),
    ("call_id", "ci"),
    ("src.ip", "si"),
    ("ruri.port", "rp"),
    ("from.uri.user", "fU"),
    ("from.uri.host", "fd"),
    ("from.name", "fn"),
    ("to.uri.user", "tU"),
    ("to.uri.host", "td"),
    ("to.name", "tn"),
    ("contact.uri", "ctu"),
    ("cseq", "csb"),
    ("cseq.num", "cs"),
    ("cseq.method", "rm"),
    ("src.port", "sp"),
    ("msg.body", "rb"),
];

/// The variable of a custom value.
pub const CUSTOM: &VariableRow =
    &VariableRow { scope: Scope::Process, ..VariableRow::new("@cfg_get", "a setting that can change") };

const ADDRESS_FAMILY: &str = "@af";
const MESSAGE_SIZE: &str = "@msg:len";
const MESSAGE_SIZE_MAX: &str = "@max_len";
const MYSELF: &str = "@myself";

/// Variables that only words name.
pub const VARIABLES: &[Variable] = &[
    Variable::new(ADDRESS_FAMILY, "INET or INET6, as the message was received", read_address_family),
    Variable::new(MESSAGE_SIZE, "size of the message in bytes", read_message_size),
    Variable::new(MESSAGE_SIZE_MAX, "maximum size of a message", read_message_size_max),
    Variable::new(MYSELF, "compared with an address or URI: true when it is this server", read_myself)
        .key(KeyRule::Text),
    Variable::new("@snd_ip", "address the message is sent from; only in onsend_route", sending::from_address),
    Variable::new("@snd_port", "port the message is sent from; only in onsend_route", sending::from_port),
    Variable::new("@snd_proto", "transport the message is sent by; only in onsend_route", sending::transport),
    Variable::new(
        "@snd_af",
        "INET or INET6, as the message is sent; only in onsend_route",
        sending::from_family,
    ),
    Variable::new("@to_ip", "address the message is sent to; only in onsend_route", sending::to_address),
    Variable::new("@to_port", "port the message is sent to; only in onsend_route", sending::to_port),
    Variable::new(
        "@to_af",
        "INET or INET6, as the message is sent; only in onsend_route",
        sending::to_family,
    ),
];

fn read_address_family(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let family: &[u8] = if context.envelope().source.is_ipv4() { b"INET" } else { b"INET6" };
    answer_text(family, out)
}

fn read_message_size(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    Reading::Integer(context.datagram.bytes.len() as i64)
}

fn read_message_size_max(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    Reading::Integer(i64::from(context.settings().msg_recv_size_max))
}

/// The key is what is compared: a URI, or an address or host.
fn read_myself(context: &Context<'_>, subject: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    let text = subject.key.text();
    let (host, port) = match context.parse_uri(text) {
        // A URI without a port means the default one of its scheme.
        Ok(Uri { host: Some(host), port, scheme, .. }) => {
            (host, port.unwrap_or(if scheme == Scheme::Sips { 5061 } else { 5060 }))
        }
        _ => (text, 0),
    };
    Reading::Integer(i64::from(context.settings().is_myself(host, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_each_other_only_once_and_never_a_variable_of_the_script() {
        for (index, word) in WORDS.iter().enumerate() {
            assert!(WORDS[..index].iter().all(|other| other.name != word.name), "{}", word.name);
        }
        assert!(VARIABLES.iter().all(|entry| entry.row.is_word()) && CUSTOM.is_word());
        for word in WORDS.iter().filter(|word| !values_of(word.name).is_empty()) {
            assert_eq!(word.yields, Yields::TextAnyCase, "{}", word.name);
        }
    }
}
