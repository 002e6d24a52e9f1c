//! Contact URIs written so that what they say leads here and what they said can be had back.
//!
//! ```text
//!  encode_contact("nat", "h")        <sip:al:pw@1.2.3.4:5070;transport=tcp>  ◄─► <sip:nat*al*pw*1.2.3.4*5070*tcp@h>
//!  contact_param_encode("p", "sip:h")                 "                      ◄─► <sip:h;p=(base64url of the URI)>
//! ```

use data_encoding::BASE64URL_NOPAD;

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome};
use crate::bindings::variables::request::replace_request_uri;
use crate::routing::context::Context;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::uri_draft::is_uri_octet;
use crate::sip::{Grammar, HeaderId};

use super::SipUtils;
use super::uris::without_param;

/// Why a URI was not rewritten.
type Refused = &'static str;

pub(super) fn encode(module: &SipUtils, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (prefix, host) = (arguments[0].text(), arguments[1].text());
    let rewritten = rewrite_contacts(context, |uri, _| encoded(uri, prefix, host, module.separator));
    outcome(context, "encode_contact", rewritten)
}

pub(super) fn decode_header(module: &SipUtils, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    let rewritten = rewrite_contacts(context, |uri, grammar| decoded(uri, grammar, module.separator));
    outcome(context, "decode_contact_header", rewritten)
}

pub(super) fn decode_request(module: &SipUtils, context: &mut Context<'_>, _: &[Argument<'_>]) -> Outcome {
    rewrite_request(context, "decode_contact", |uri, grammar| decoded(uri, grammar, module.separator))
}

pub(super) fn encode_param(_: &SipUtils, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (name, address) = (arguments[0].text(), arguments[1].text());
    let rewritten = rewrite_contacts(context, |uri, grammar| {
        if Uri::parse_within(address, grammar).is_err() || !is_param_name(name) {
            return Err("a name and a sip URI are needed");
        }
        let value = BASE64URL_NOPAD.encode(uri.raw);
        Ok([address, b";", name, b"=", value.as_bytes()].concat())
    });
    outcome(context, "contact_param_encode", rewritten)
}

pub(super) fn decode_param(_: &SipUtils, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let name = arguments[0].text();
    let rewritten = rewrite_contacts(context, |uri, grammar| decoded_param(uri, grammar, name));
    outcome(context, "contact_param_decode", rewritten)
}

pub(super) fn decode_request_param(
    _: &SipUtils,
    context: &mut Context<'_>,
    arguments: &[Argument<'_>],
) -> Outcome {
    let name = arguments[0].text();
    rewrite_request(context, "contact_param_decode_uri", |uri, grammar| decoded_param(uri, grammar, name))
}

pub(super) fn remove_param(_: &SipUtils, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let name = arguments[0].text();
    let rewritten =
        rewrite_contacts(context, |uri, _| Ok(without_param(uri, name).unwrap_or_else(|| uri.raw.to_vec())));
    outcome(context, "contact_param_rm", rewritten)
}

/// Puts another URI in the place of each one of the Contact header fields; display names and parameters stay.
fn rewrite_contacts(
    context: &mut Context<'_>,
    rewrite: impl Fn(&Uri<'_>, &Grammar) -> Result<Vec<u8>, Refused>,
) -> Result<(), String> {
    let mut changes = Vec::new();
    for address in context.message.addresses(HeaderId::Contact) {
        let address = address.map_err(|error| error.to_string())?;
        if address.is_wildcard() {
            continue;
        }
        let uri = context.parse_uri(address.uri).map_err(|error| error.to_string())?;
        let written = rewrite(&uri, context.grammar())?;
        let span = context.message.span_of(address.uri).ok_or("the Contact was changed already")?;
        // What stands without brackets needs them, or its parameters would be those of the header field.
        let is_in_brackets = span.start > 0 && context.message.bytes()[span.start - 1] == b'<';
        changes.push((span, if is_in_brackets { written } else { [b"<", &*written, b">"].concat() }));
    }
    if changes.is_empty() {
        return Err("there is no Contact with a URI".to_string());
    }
    for (span, written) in changes {
        context.edits.replace(&context.message, span, &written).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn rewrite_request(
    context: &mut Context<'_>,
    name: &str,
    rewrite: impl Fn(&Uri<'_>, &Grammar) -> Result<Vec<u8>, Refused>,
) -> Outcome {
    let current = context.request_uri().unwrap_or_default().to_vec();
    let rewritten = context.parse_uri(&current).map_err(|error| error.to_string());
    let rewritten = rewritten.and_then(|uri| rewrite(&uri, context.grammar()).map_err(str::to_string));
    let done =
        rewritten.and_then(|written| replace_request_uri(context, &written).map_err(|refusal| refusal.0));
    outcome(context, name, done)
}

/// `sip:prefix*user*password*host*port*transport@place`; what is not there is empty.
fn encoded(uri: &Uri<'_>, prefix: &[u8], place: &[u8], separator: u8) -> Result<Vec<u8>, Refused> {
    let host = uri.host.filter(|_| matches!(uri.scheme, Scheme::Sip | Scheme::Sips));
    let port = uri.port.map(|port| port.to_string()).unwrap_or_default();
    let parts = [
        prefix,
        uri.user.unwrap_or_default(),
        uri.password.unwrap_or_default(),
        host.ok_or("the Contact is not a sip URI")?,
        port.as_bytes(),
        uri.transport().unwrap_or_default(),
    ];
    if parts.iter().any(|part| part.contains(&separator)) {
        return Err("the URI contains the separator");
    }
    if !prefix.iter().chain(place).all(|&byte| is_uri_octet(byte) && byte != b'@') {
        return Err("the prefix or the host cannot be part of a URI");
    }
    Ok([uri.scheme_text, b":", &*parts.join(&separator), b"@", place].concat())
}

/// The URI that was encoded by [`encoded`].
fn decoded(uri: &Uri<'_>, grammar: &Grammar, separator: u8) -> Result<Vec<u8>, Refused> {
    let parts: Vec<&[u8]> = uri.user.unwrap_or_default().split(|&byte| byte == separator).collect();
    let [_, user, password, host, port, transport] = parts.as_slice() else {
        return Err("this is not the URI of an encoded contact");
    };
    let mut written = [uri.scheme_text, b":", user].concat();
    let mut part = |lead: &[u8], text: &[u8]| {
        if !text.is_empty() {
            written.extend_from_slice(lead);
            written.extend_from_slice(text);
        }
    };
    part(b":", password);
    part(if user.is_empty() { b"" } else { b"@" }, host);
    part(b":", port);
    part(b";transport=", transport);
    whole_uri(written, grammar)
}

fn decoded_param(uri: &Uri<'_>, grammar: &Grammar, name: &[u8]) -> Result<Vec<u8>, Refused> {
    let value = uri.params.text(name).ok_or("the URI has no such parameter")?;
    let bare = value.len() - value.iter().rev().take_while(|&&byte| byte == b'=').count();
    let decoded = BASE64URL_NOPAD.decode(&value[..bare]);
    whole_uri(decoded.map_err(|_| "the parameter is not base64url")?, grammar)
}

/// Whatever came from outside is a URI before it becomes part of a message.
fn whole_uri(written: Vec<u8>, grammar: &Grammar) -> Result<Vec<u8>, Refused> {
    let is_whole =
        Uri::parse_within(&written, grammar).is_ok() && written.iter().all(|&byte| is_uri_octet(byte));
    if is_whole { Ok(written) } else { Err("the decoded text is not a URI") }
}

fn is_param_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_uri_octet(byte) && !b";=?@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{REQUEST, logged};

    fn after(contact: &str, call: &str) -> String {
        let message = REQUEST.replace("CSeq:", &format!("{contact}CSeq:"));
        let script = format!(
            "$var(r) = {call}; msg_apply_changes(); log(2, \"@@$var(r) $ct $(hdr(Contact)[-1])@@\");"
        );
        logged(&script, &message)
    }

    #[test]
    fn contacts_are_encoded_and_decoded() {
        let full = "Contact: \"Al\" <sip:al:pw@1.2.3.4:5070;transport=tcp;x=1>;q=0.5\r\n";
        let rows = [
            (
                full,
                "encode_contact(\"nat\", \"h.com\")",
                "1 \"Al\" <sip:nat*al*pw*1.2.3.4*5070*tcp@h.com>;q=0.5",
            ),
            (
                "Contact: <sip:nat*al*pw*1.2.3.4*5070*tcp@h>;q=0.5\r\n",
                "decode_contact_header()",
                "1 <sip:al:pw@1.2.3.4:5070;transport=tcp>;q=0.5",
            ),
            ("Contact: sip:1.2.3.4;q=1\r\n", "encode_contact(\"n\", \"h\")", "1 <sip:n***1.2.3.4**@h>;q=1"),
            ("Contact: <sip:n***1.2.3.4**@h>\r\n", "decode_contact_header()", "1 <sip:1.2.3.4>"),
            ("Contact: <sip:a*b@c>\r\n", "encode_contact(\"n\", \"h\")", "-1 <sip:a*b@c>"),
            ("Contact: <sip:a@c>\r\n", "decode_contact_header()", "-1 <sip:a@c>"),
            ("Contact: <sip:n***a b**@h>\r\n", "decode_contact_header()", "-1 "),
            ("Contact: *\r\n", "encode_contact(\"n\", \"h\")", "-1 *"),
            ("", "encode_contact(\"n\", \"h\")", "-1 <null>"),
            (
                full,
                "contact_param_encode(\"alias\", \"sip:10.1.1.1:5062\")",
                "1 \"Al\" <sip:10.1.1.1:5062;alias=c2lwOmFsOnB3QDEuMi4zLjQ6NTA3MDt0cmFuc3BvcnQ9dGNwO3g9MQ>;q=0.5",
            ),
            (
                "Contact: <sip:h;alias=c2lwOmFAYg==>\r\nm: <sip:h;alias=c2lwOmNAZA>\r\n",
                "contact_param_decode(\"alias\")",
                "1 <sip:a@b> <sip:c@d>",
            ),
            ("Contact: <sip:h;alias=???>\r\n", "contact_param_decode(\"alias\")", "-1 <sip:h;alias=???>"),
            // "sip:a>\r\nX: y" does not become a header line.
            ("Contact: <sip:h;p=c2lwOmE-DQpYOiB5>\r\n", "contact_param_decode(\"p\")", "-1 <sip:h;p="),
            (full, "contact_param_rm(\"x\")", "1 \"Al\" <sip:al:pw@1.2.3.4:5070;transport=tcp>;q=0.5"),
            (full, "contact_param_rm(\"none\")", "1 \"Al\" <sip:al:pw@1.2.3.4:5070;transport=tcp;x=1>;q=0.5"),
        ];
        for (contact, call, expected) in rows {
            let told = after(contact, call);
            assert!(told.starts_with(expected) || told.contains(&format!("{expected} ")), "{call}: {told}");
        }
    }

    #[test]
    fn the_request_uri_is_decoded() {
        let rows = [
            (
                "sip:nat*al*pw*1.2.3.4*5070*tcp@h",
                "decode_contact()",
                "1 sip:al:pw@1.2.3.4:5070;transport=tcp",
            ),
            ("sip:bob@h", "decode_contact()", "-1 sip:bob@h"),
            ("sip:h;alias=c2lwOmFAYg", "contact_param_decode_uri(\"alias\")", "1 sip:a@b"),
            ("sip:h;alias=c2lwOmFAYg", "contact_param_decode_ruri(\"none\")", "-1 sip:h;alias=c2lwOmFAYg"),
        ];
        for (uri, call, expected) in rows {
            let script = format!("$ru = \"{uri}\"; $var(r) = {call}; log(2, \"@@$var(r) $ru@@\");");
            assert_eq!(logged(&script, REQUEST), expected, "{uri}");
        }
    }
}
