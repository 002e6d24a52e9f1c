//! Claimed identities: digest credentials and the identity header fields: `$au`, `$ar`, `$ai`, `$di`, `$rt`, …

use crate::script::host::Reading;
use crate::sip::credentials::Credentials;
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;
use crate::sip::{HeaderId, Method};

use super::{Subject, Variable};
use crate::routing::context::Context;
use crate::state::value::{answer_optional, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new("au", "user part of the digest username", |context, _, out| {
        digest_part(context, out, |username| split_username(username).0)
    }),
    Variable::new("ad", "domain of the digest username; empty when it has none", |context, _, out| {
        digest_part(context, out, |username| split_username(username).1)
    }),
    Variable::new("aU", "digest username", |context, _, out| digest(context, b"username", out)),
    Variable::new("ar", "digest realm", |context, _, out| digest(context, b"realm", out)),
    Variable::new("adu", "digest URI; null when it is empty", digest_uri),
    Variable::new("aa", "digest algorithm", |context, _, out| digest(context, b"algorithm", out)),
    Variable::new("adn", "digest nonce", |context, _, out| digest(context, b"nonce", out)),
    Variable::new("adc", "digest cnonce", |context, _, out| digest(context, b"cnonce", out)),
    Variable::new("adr", "digest response", |context, _, out| digest(context, b"response", out)),
    Variable::new("ado", "digest opaque", |context, _, out| digest(context, b"opaque", out)),
    Variable::new("Au", "user@host of From, for accounting", |context, _, out| {
        account(context, out, |uri, out| {
            out.extend_from_slice(uri.subscriber().unwrap_or_default());
            out.push(b'@');
            out.extend_from_slice(uri.host.unwrap_or_default());
        })
    }),
    Variable::new("AU", "user part of From, for accounting; empty when there is none", |context, _, out| {
        account(context, out, |uri, out| out.extend_from_slice(uri.subscriber().unwrap_or_default()))
    }),
    Variable::new("ai", "URI of P-Asserted-Identity", |context, _, out| {
        answer_uri(context, HeaderId::PAssertedIdentity, out)
    }),
    Variable::new("pu", "URI of P-Preferred-Identity", |context, _, out| {
        answer_uri(context, HeaderId::PPreferredIdentity, out)
    }),
    Variable::new("pU", "user part of P-Preferred-Identity", |context, _, out| {
        answer_optional(preferred(context).and_then(|uri| uri.subscriber()), out)
    }),
    Variable::new("pd", "host of P-Preferred-Identity", |context, _, out| {
        answer_optional(preferred(context).and_then(|uri| uri.host), out)
    }),
    Variable::new("pn", "display name of P-Preferred-Identity", |context, _, out| {
        let identity = first(context, HeaderId::PPreferredIdentity);
        answer_optional(identity.and_then(|identity| identity.display), out)
    }),
    Variable::new("re", "URI of Remote-Party-ID", |context, _, out| {
        answer_uri(context, HeaderId::RemotePartyId, out)
    }),
    Variable::new("rt", "URI of Refer-To", |context, _, out| answer_uri(context, HeaderId::ReferTo, out)),
    Variable::new("di", "URI of Diversion", |context, _, out| answer_uri(context, HeaderId::Diversion, out)),
    Variable::new("dir", "reason in Diversion", |context, _, out| diversion(context, b"reason", out)),
    Variable::new("dip", "privacy in Diversion", |context, _, out| diversion(context, b"privacy", out)),
    Variable::new("dic", "counter in Diversion", |context, _, out| diversion(context, b"counter", out)),
];

/// The credentials of a request: those for a proxy first, except in a REGISTER.
fn credentials<'m>(context: &Context<'m>) -> Option<Credentials<'m>> {
    let line = context.message.request_line()?;
    let mut order = [HeaderId::ProxyAuthorization, HeaderId::Authorization];
    if line.method == Method::Register {
        order.reverse();
    }
    let header = order.into_iter().find_map(|id| context.message.header(id))?;
    Credentials::parse(header.value).filter(Credentials::is_digest)
}

/// A field that credentials do not have is empty; without credentials it is null.
fn digest(context: &Context<'_>, field: &[u8], out: &mut Vec<u8>) -> Reading {
    let found = credentials(context).map(|credentials| credentials.field(field).unwrap_or_default());
    answer_optional(found, out)
}

fn digest_uri(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let uri = credentials(context).and_then(|credentials| credentials.field(b"uri"));
    answer_optional(uri.filter(|uri| !uri.is_empty()), out)
}

fn digest_part(context: &Context<'_>, out: &mut Vec<u8>, part: fn(&[u8]) -> &[u8]) -> Reading {
    let username = credentials(context).map(|credentials| credentials.field(b"username").unwrap_or_default());
    answer_optional(username.map(part), out)
}

/// User and domain of a username such as `alice@example.com` or `sip:alice@example.com`.
fn split_username(username: &[u8]) -> (&[u8], &[u8]) {
    let bare = username.strip_prefix(b"sip:").unwrap_or(username);
    match memchr::memchr(b'@', bare) {
        Some(at) => (&bare[..at], &bare[at + 1..]),
        None => (bare, b""),
    }
}

fn account(context: &Context<'_>, out: &mut Vec<u8>, append: fn(&Uri<'_>, &mut Vec<u8>)) -> Reading {
    let Ok(from) = context.message.from() else { return Reading::Null };
    match context.parse_uri(from.uri) {
        Ok(uri) => {
            append(&uri, out);
            Reading::Text
        }
        Err(_) => answer_text(from.uri, out),
    }
}

fn first<'m>(context: &Context<'m>, id: HeaderId) -> Option<NameAddr<'m>> {
    context.message.addresses(id).next()?.ok()
}

fn answer_uri(context: &Context<'_>, id: HeaderId, out: &mut Vec<u8>) -> Reading {
    answer_optional(first(context, id).map(|address| address.uri), out)
}

fn preferred<'m>(context: &Context<'m>) -> Option<Uri<'m>> {
    context.parse_uri(first(context, HeaderId::PPreferredIdentity)?.uri).ok()
}

fn diversion(context: &Context<'_>, parameter: &[u8], out: &mut Vec<u8>) -> Reading {
    let diversion = first(context, HeaderId::Diversion);
    answer_optional(diversion.and_then(|diversion| diversion.params.text(parameter)), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_split_at_the_sign() {
        let rows = [
            ("alice", ("alice", "")),
            ("alice@a.com", ("alice", "a.com")),
            ("sip:alice@a.com", ("alice", "a.com")),
            ("@a.com", ("", "a.com")),
            ("", ("", "")),
        ];
        for (username, (user, domain)) in rows {
            assert_eq!(
                split_username(username.as_bytes()),
                (user.as_bytes(), domain.as_bytes()),
                "{username}"
            );
        }
    }
}
