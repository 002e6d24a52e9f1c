//! Class `uri`: parts of a URI. What a URI does not have is empty text; what is not a URI yields nothing.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::sip::uri::{Scheme, Uri};
use crate::state::value::{answer_display, answer_text};

use super::input::{on_argument, on_text};
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::new("uri.user", "user part", |input, _, out| part(input, out, |uri| uri.subscriber())),
    Transformation::new("uri.host", "host", |input, _, out| part(input, out, |uri| uri.host)),
    Transformation::new("uri.domain", "host", |input, _, out| part(input, out, |uri| uri.host)),
    Transformation::new("uri.passwd", "password", |input, _, out| part(input, out, |uri| uri.password)),
    Transformation::new("uri.port", "port as written", port),
    Transformation::new("uri.params", "all parameters", |input, _, out| {
        part(input, out, |uri| Some(params(uri)))
    }),
    Transformation::new("uri.param", "value of a parameter", parameter).arguments(1, 1),
    Transformation::new("uri.rmparam", "the URI without a parameter", without_parameter).arguments(1, 1),
    Transformation::new("uri.headers", "headers after the question mark", |input, _, out| {
        part(input, out, |uri| uri.headers)
    }),
    Transformation::new("uri.transport", "value of transport", |input, _, out| {
        named(input, out, b"transport")
    }),
    Transformation::new("uri.ttl", "value of ttl", |input, _, out| named(input, out, b"ttl")),
    Transformation::new("uri.uparam", "value of user", |input, _, out| named(input, out, b"user")),
    Transformation::new("uri.maddr", "value of maddr", |input, _, out| named(input, out, b"maddr")),
    Transformation::new("uri.method", "value of method", |input, _, out| named(input, out, b"method")),
    Transformation::new("uri.lr", "value of lr", |input, _, out| named(input, out, b"lr")),
    Transformation::new("uri.r2", "value of r2", |input, _, out| named(input, out, b"r2")),
    Transformation::new("uri.scheme", "scheme", |input, _, out| {
        part(input, out, |uri| Some(uri.scheme_text))
    }),
    Transformation::new("uri.duri", "scheme, host, port and transport: where to send to", |input, _, out| {
        rebuilt(input, out, &[Part::Host, Part::Port, Part::Transport])
    }),
    Transformation::new("uri.saor", "scheme, user and host: the address of record", |input, _, out| {
        rebuilt(input, out, &[Part::User, Part::Host])
    }),
    Transformation::new("uri.suri", "scheme, user, host, port and transport", |input, _, out| {
        rebuilt(input, out, &[Part::User, Part::Host, Part::Port, Part::Transport])
    }),
    Transformation::new("uri.tosocket", "proto:host:port", to_socket),
];

fn on_uri(input: ValueRef<'_>, apply: impl FnOnce(&Uri<'_>) -> Answer) -> Answer {
    on_text(input, |text| apply(&Uri::parse(text).map_err(|_| Unfit("text is not a uri"))?))
}

fn part(
    input: ValueRef<'_>,
    out: &mut Vec<u8>,
    part: impl for<'a> Fn(&Uri<'a>) -> Option<&'a [u8]>,
) -> Answer {
    on_uri(input, |uri| Ok(answer_text(part(uri).unwrap_or_default(), out)))
}

fn params<'a>(uri: &Uri<'a>) -> &'a [u8] {
    let raw = uri.params.raw();
    raw.strip_prefix(b";").unwrap_or(raw)
}

fn port(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_uri(input, |uri| match uri.port {
        Some(port) => Ok(answer_display(port, out)),
        None => Ok(Reading::Text),
    })
}

fn named(input: ValueRef<'_>, out: &mut Vec<u8>, name: &[u8]) -> Answer {
    on_uri(input, |uri| Ok(answer_text(uri.params.text(name).unwrap_or_default(), out)))
}

fn parameter(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_argument(arguments, 0, |name| named(input, out, name))
}

fn without_parameter(input: ValueRef<'_>, arguments: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_argument(arguments, 0, |name| {
        on_uri(input, |uri| {
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

fn rebuilt(input: ValueRef<'_>, out: &mut Vec<u8>, parts: &[Part]) -> Answer {
    on_uri(input, |uri| {
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

fn to_socket(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_uri(input, |uri| {
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
