//! Class `sock`: parts of a socket such as `udp:1.2.3.4:5060`.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::state::value::{answer_display, answer_text};

use super::input::on_text;
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::new("sock.proto", "protocol", |input, _, out| part(input, out, |socket| socket.protocol)),
    Transformation::new("sock.host", "host", |input, _, out| part(input, out, |socket| socket.host)),
    Transformation::new("sock.port", "port", |input, _, out| part(input, out, |socket| socket.port)),
    Transformation::new("sock.touri", "as a SIP URI with transport", to_uri),
];

struct Socket<'a> {
    protocol: &'a [u8],
    host: &'a [u8],
    port: &'a [u8],
}

/// `proto:host[:port]`, an IPv6 host in brackets.
fn on_socket(input: ValueRef<'_>, apply: impl FnOnce(&Socket<'_>) -> Answer) -> Answer {
    on_text(input, |text| {
        let parsed = memchr::memchr(b':', text).and_then(|colon| {
            let (protocol, rest) = (&text[..colon], &text[colon + 1..]);
            let host_size = match rest {
                [b'[', ..] => memchr::memchr(b']', rest)? + 1,
                _ => memchr::memchr(b':', rest).unwrap_or(rest.len()),
            };
            let (host, tail) = rest.split_at(host_size);
            let port = if tail.is_empty() { tail } else { tail.strip_prefix(b":")? };
            let is_whole = !protocol.is_empty() && !host.is_empty() && port.iter().all(u8::is_ascii_digit);
            is_whole.then_some(Socket { protocol, host, port })
        });
        apply(&parsed.ok_or(Unfit("text is not a socket"))?)
    })
}

fn part(input: ValueRef<'_>, out: &mut Vec<u8>, part: impl for<'a> Fn(&Socket<'a>) -> &'a [u8]) -> Answer {
    on_socket(input, |socket| Ok(answer_text(part(socket), out)))
}

fn to_uri(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_socket(input, |socket| {
        answer_display("sip:", out);
        out.extend_from_slice(socket.host);
        if !socket.port.is_empty() {
            out.push(b':');
            out.extend_from_slice(socket.port);
        }
        out.extend_from_slice(b";transport=");
        Ok(answer_text(socket.protocol, out))
    })
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    #[test]
    fn parts_of_a_socket() {
        check("sock.host", "udp:1.2.3.4:5060", &[], "1.2.3.4");
        check("sock.port", "udp:1.2.3.4:5060", &[], "5060");
        check("sock.proto", "udp:1.2.3.4:5060", &[], "udp");
        check("sock.host", "tls:[::1]:5061", &[], "[::1]");
        check("sock.port", "tcp:h", &[], "");
        check("sock.touri", "udp:[::1]:5060", &[], "sip:[::1]:5060;transport=udp");
        check("sock.host", "1.2.3.4", &[], "<null>");
        check("sock.host", "udp:[::1", &[], "<null>");
        check("sock.host", "udp:h:x", &[], "<null>");
    }
}
