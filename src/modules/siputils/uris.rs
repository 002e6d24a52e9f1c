//! URIs compared, taken apart and put together, in the Request-URI and in variables.

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome, ValueRef};
use crate::routing::context::Context;
use crate::sip::Grammar;
use crate::sip::uri::Uri;
use crate::sip::uri_draft::{UnfitPart, UriDraft};

/// RFC 3261 19.1.6: visual separators do not go over, parameters do in lower case.
pub(super) fn sip_of_tel(number: &[u8], uri: &Uri<'_>, host: &[u8]) -> Vec<u8> {
    let number: Vec<u8> = number.iter().copied().filter(|byte| !b"-.()".contains(byte)).collect();
    let params = uri.params.raw().to_ascii_lowercase();
    [b"sip:", &*number, &*params, b"@", host, b";user=phone"].concat()
}

pub(super) fn store(context: &mut Context<'_>, name: &str, argument: &Argument<'_>, text: &[u8]) -> Outcome {
    let Argument::Place(place) = argument else { return Outcome::FALSE };
    let written = context.write(*place, ValueRef::Text(text));
    outcome(context, name, written.map_err(|refusal| refusal.0))
}

/// Changes the URI that a variable holds.
pub(super) fn change_uri(
    context: &mut Context<'_>,
    name: &str,
    arguments: &[Argument<'_>],
    change: impl FnOnce(&mut UriDraft, &[u8]) -> Result<(), UnfitPart>,
) -> Outcome {
    let Argument::Place(place) = arguments[0] else { return Outcome::FALSE };
    let mut current = Vec::new();
    context.read(place, &mut current);
    let draft = UriDraft::parse(&current, context.grammar()).map_err(|error| error.to_string());
    let changed = draft.and_then(|mut draft| {
        change(&mut draft, arguments[1].text()).map_err(|unfit| unfit.to_string())?;
        Ok(draft.to_bytes())
    });
    match changed {
        Ok(changed) => store(context, name, &arguments[0], &changed),
        Err(reason) => outcome(context, name, Err(reason)),
    }
}

/// The URI without a parameter; `None` where it has no such one.
pub(super) fn without_param(uri: &Uri<'_>, name: &[u8]) -> Option<Vec<u8>> {
    uri.params.find(name)?;
    let end = uri.raw.len() - uri.headers.map_or(0, |headers| headers.len() + 1);
    let start = end - uri.params.raw().len();
    let mut changed = uri.raw[..start].to_vec();
    for param in uri.params.iter().filter(|param| !param.is_named(name)) {
        changed.push(b';');
        changed.extend_from_slice(param.name);
        if let Some(value) = param.text() {
            changed.push(b'=');
            changed.extend_from_slice(value);
        }
    }
    changed.extend_from_slice(&uri.raw[end..]);
    Some(changed)
}

/// A public GRUU names its instance, a temporary one only has the parameter (RFC 5627 3).
pub(super) fn gruu_kind(uri: Option<Uri<'_>>) -> Outcome {
    match uri.and_then(|uri| uri.params.find(b"gr")) {
        Some(param) if param.text().is_some() => Outcome(1),
        Some(_) => Outcome(2),
        None => Outcome::FALSE,
    }
}

pub(super) fn compare(
    grammar: &Grammar,
    arguments: &[Argument<'_>],
    is_same: fn(&Uri<'_>, &Uri<'_>) -> bool,
) -> Outcome {
    let uri = |index: usize| Uri::parse_within(arguments[index].text(), grammar);
    match (uri(0), uri(1)) {
        (Ok(one), Ok(other)) => is_same(&one, &other).into(),
        _ => Outcome::FALSE,
    }
}

pub(super) fn is_same_place(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    let same_host = match (one.host, other.host) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    };
    one.scheme == other.scheme && one.user == other.user && same_host && one.port == other.port
}

/// Parameters in both must agree; user, ttl, method, maddr and transport must not stand in one only.
pub(super) fn is_same_params(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    const WEIGHTY: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    let agrees = |from: &Uri<'_>, to: &Uri<'_>| {
        from.params.iter().all(|param| match to.params.find(param.name) {
            Some(twin) => {
                let value = |text: Option<&[u8]>| text.unwrap_or_default().to_ascii_lowercase();
                value(twin.text()) == value(param.text())
            }
            None => !WEIGHTY.iter().any(|name| param.is_named(name)),
        })
    };
    agrees(one, other) && agrees(other, one) && one.headers == other.headers && one.password == other.password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_compared_as_the_rfc_says() {
        let rows = [
            ("sip:alice@a.com", "sip:alice@A.COM", true),
            ("sip:alice@a.com", "sip:Alice@a.com", false),
            ("sip:a.com", "sip:a.com:5060", false),
            ("sip:alice@a.com;transport=TCP", "SIP:alice@a.com;Transport=tcp", true),
            ("sip:alice@a.com;transport=udp", "sip:alice@a.com", false),
            ("sip:alice@a.com;newparam=5", "sip:alice@a.com", true),
            ("sip:alice@a.com;security=on", "sip:alice@a.com;security=off", false),
            ("sip:alice@a.com?Subject=x", "sip:alice@a.com", false),
            ("sip:alice@a.com", "tel:alice", false),
            ("not a uri", "not a uri", false),
        ];
        for (one, other, expected) in rows {
            let text = |text: &'static str| Argument::Value(ValueRef::Text(text.as_bytes()));
            let outcome = compare(&Grammar::STRICT, &[text(one), text(other)], |one, other| {
                is_same_place(one, other) && is_same_params(one, other)
            });
            assert_eq!(outcome == Outcome::TRUE, expected, "{one} and {other}");
        }
    }
}
