//! Class `uri`: parts of a URI. A part that a URI does not have is empty text; a text that is not a URI has no result.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::sip::Grammar;
use crate::sip::uri::{Scheme, Uri};
use crate::state::value::{answer_display, answer_text};

use super::input::{on_argument, on_text};
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::of_uri("uri.user", "user part", |input, _, grammar, out| {
        part(input, grammar, out, |uri| uri.subscriber())
    }),
    Transformation::of_uri("uri.host", "host", |input, _, grammar, out| {
        part(input, grammar, out, |uri| uri.host)
    }),
    Transformation::of_uri("uri.domain", "host", |input, _, grammar, out| {
        part(input, grammar, out, |uri| uri.host)
    }),
    Transformation::of_uri("uri.passwd", "password", |input, _, grammar, out| {
        part(input, grammar, out, |uri| uri.password)
    }),
    Transformation::of_uri("uri.port", "port as written", port),
    Transformation::of_uri("uri.params", "all parameters", |input, _, grammar, out| {
        part(input, grammar, out, |uri| Some(params(uri)))
    }),
    Transformation::of_uri("uri.param", "value of a parameter", parameter).arguments(1, 1),
    Transformation::of_uri("uri.rmparam", "the URI without a parameter", without_parameter).arguments(1, 1),
    Transformation::of_uri("uri.headers", "headers after the question mark", |input, _, grammar, out| {
        part(input, grammar, out, |uri| uri.headers)
    }),
    Transformation::of_uri("uri.transport", "value of transport", |input, _, grammar, out| {
        named(input, grammar, out, b"transport")
    }),
    Transformation::of_uri("uri.ttl", "value of ttl", |input, _, grammar, out| {
        named(input, grammar, out, b"ttl")
    }),
    Transformation::of_uri("uri.uparam", "value of user", |input, _, grammar, out| {
        named(input, grammar, out, b"user")
    }),
    Transformation::of_uri("uri.maddr", "value of maddr", |input, _, grammar, out| {
        named(input, grammar, out, b"maddr")
    }),
    Transformation::of_uri("uri.method", "value of method", |input, _, grammar, out| {
        named(input, grammar, out, b"method")
    }),
    Transformation::of_uri("uri.lr", "value of lr", |input, _, grammar, out| {
        named(input, grammar, out, b"lr")
    }),
    Transformation::of_uri("uri.r2", "value of r2", |input, _, grammar, out| {
        named(input, grammar, out, b"r2")
    }),
    Transformation::of_uri("uri.scheme", "scheme", |input, _, grammar, out| {
        part(input, grammar, out, |uri| Some(uri.scheme_text))
    }),
    Transformation::of_uri(
        "uri.duri",
        "scheme, host, port and transport: where to send to",
        |input, _, grammar, out| rebuilt(input, grammar, out, &[Part::Host, Part::Port, Part::Transport]),
    ),
    Transformation::of_uri(
        "uri.saor",
        "scheme, user and host: the address of record",
        |input, _, grammar, out| rebuilt(input, grammar, out, &[Part::User, Part::Host]),
    ),
    Transformation::of_uri("uri.suri", "scheme, user, host, port and transport", |input, _, grammar, out| {
        rebuilt(input, grammar, out, &[Part::User, Part::Host, Part::Port, Part::Transport])
    }),
    Transformation::of_uri("uri.tosocket", "proto:host:port", to_socket),
];

fn on_uri(input: ValueRef<'_>, grammar: &Grammar, apply: impl FnOnce(&Uri<'_>) -> Answer) -> Answer {
    on_text(input, |text| apply(&Uri::parse_within(text, grammar).map_err(|_| Unfit("text is not a uri"))?))
}

fn part(
    input: ValueRef<'_>,
    grammar: &Grammar,
    out: &mut Vec<u8>,
    part: impl for<'a> Fn(&Uri<'a>) -> Option<&'a [u8]>,
) -> Answer {
    on_uri(input, grammar, |uri| Ok(answer_text(part(uri).unwrap_or_default(), out)))
}

fn params<'a>(uri: &Uri<'a>) -> &'a [u8] {
    let raw = uri.params.raw();
    raw.strip_prefix(b";").unwrap_or(raw)
}

fn port(input: ValueRef<'_>, _: &[Argument<'_>], grammar: &Grammar, out: &mut Vec<u8>) -> Answer {
    on_uri(input, grammar, |uri| match uri.port {
        Some(port) => Ok(answer_display(port, out)),
        None => Ok(Reading::Text),
    })
}

fn named(input: ValueRef<'_>, grammar: &Grammar, out: &mut Vec<u8>, name: &[u8]) -> Answer {
    on_uri(input, grammar, |uri| Ok(answer_text(uri.params.text(name).unwrap_or_default(), out)))
}

fn parameter(
    input: ValueRef<'_>,
    arguments: &[Argument<'_>],
    grammar: &Grammar,
    out: &mut Vec<u8>,
) -> Answer {
    on_argument(arguments, 0, |name| named(input, grammar, out, name))
}

fn without_parameter(
    input: ValueRef<'_>,
    arguments: &[Argument<'_>],
    grammar: &Grammar,
    out: &mut Vec<u8>,
) -> Answer {
    on_argument(arguments, 0, |name| {
        on_uri(input, grammar, |uri| {
            let tail_size = uri.params.raw().len() + uri.headers.map_or(0, |headers| headers.len() + 1);
            out.extend_from_slice(&uri.raw[..uri.raw.len() - tail_size]);
            for param in uri.params.iter().filter(|param| !param.is_named(name)) {
                out.push(b';');
                out.extend_from_slice(param.raw);
            }
            if let Some(headers) = uri.headers {
                out.push(b'?');
                out.extend_from_slice(headers);
            }
            Ok(Reading::Text)
        })
    })
}

/// A part that a rebuilt URI keeps where the original has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Host,
    Port,
    Transport,
}

fn rebuilt(input: ValueRef<'_>, grammar: &Grammar, out: &mut Vec<u8>, parts: &[Part]) -> Answer {
    on_uri(input, grammar, |uri| {
        let host = uri.host.ok_or(Unfit("uri has no host"))?;
        out.extend_from_slice(uri.scheme_text);
        out.push(b':');
        for part in parts {
            match part {
                Part::User => {
                    if let Some(user) = uri.user {
                        out.extend_from_slice(user);
                        out.push(b'@');
                    }
                }
                Part::Host => out.extend_from_slice(host),
                Part::Port => {
                    if let Some(port) = uri.port {
                        answer_display(format_args!(":{port}"), out);
                    }
                }
                Part::Transport => {
                    if let Some(transport) = uri.transport() {
                        out.extend_from_slice(b";transport=");
                        out.extend_from_slice(transport);
                    }
                }
            }
        }
        Ok(Reading::Text)
    })
}

fn to_socket(input: ValueRef<'_>, _: &[Argument<'_>], grammar: &Grammar, out: &mut Vec<u8>) -> Answer {
    on_uri(input, grammar, |uri| {
        let host = uri.host.ok_or(Unfit("uri has no host"))?;
        let is_secure = uri.scheme == Scheme::Sips;
        out.extend_from_slice(uri.transport().unwrap_or(if is_secure { b"tls" } else { b"udp" }));
        out.push(b':');
        out.extend_from_slice(host);
        let port = uri.port.unwrap_or(if is_secure { 5061 } else { 5060 });
        Ok(answer_display(format_args!(":{port}"), out))
    })
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    const FULL: &str = "sip:bob:pw@example.com:5070;transport=tcp;tag=1?h=v";
    const BARE: &str = "sip:example.com";

    #[test]
    fn parts_of_a_uri() {
        check("uri.user", FULL, &[], "bob");
        check("uri.host", FULL, &[], "example.com");
        check("uri.port", FULL, &[], "5070");
        check("uri.passwd", FULL, &[], "pw");
        check("uri.params", FULL, &[], "transport=tcp;tag=1");
        check("uri.param", FULL, &["tag"], "1");
        check("uri.param", FULL, &["zz"], "");
        check("uri.headers", FULL, &[], "h=v");
        check("uri.transport", FULL, &[], "tcp");
        check("uri.scheme", FULL, &[], "sip");
    }

    #[test]
    fn what_is_missing_is_empty_and_what_is_no_uri_is_null() {
        for name in ["uri.port", "uri.user", "uri.transport", "uri.params", "uri.headers"] {
            check(name, BARE, &[], "");
        }
        check("uri.host", "notauri", &[], "<null>");
        check("uri.duri", "tel:+1", &[], "<null>");
    }

    #[test]
    fn uris_are_rebuilt() {
        check("uri.duri", FULL, &[], "sip:example.com:5070;transport=tcp");
        check("uri.saor", FULL, &[], "sip:bob@example.com");
        check("uri.suri", FULL, &[], "sip:bob@example.com:5070;transport=tcp");
        check("uri.tosocket", FULL, &[], "tcp:example.com:5070");
        check("uri.tosocket", "sips:h", &[], "tls:h:5061");
        check("uri.rmparam", FULL, &["tag"], "sip:bob:pw@example.com:5070;transport=tcp?h=v");
        check("uri.rmparam", BARE, &["tag"], BARE);
        check("uri.duri", BARE, &[], BARE);
    }
}
