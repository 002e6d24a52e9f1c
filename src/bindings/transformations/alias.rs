//! Class `urialias`: where a URI leads, in the form that parameters `alias` carry it: `10.0.0.1~5060~1`.

use crate::script::host::{Argument, Reading, ValueRef};
use crate::sip::Grammar;
use crate::sip::uri::{Scheme, Uri};
use crate::state::value::answer_display;

use super::input::on_text;
use super::{Transformation, Unfit};

type Answer = Result<Reading, Unfit>;

/// The table.
pub const TRANSFORMATIONS: &[Transformation] = &[
    Transformation::of_uri(
        "urialias.encode",
        "host, port and number of the transport of a URI: host~port~1",
        encode,
    ),
    Transformation::new("urialias.decode", "the URI that leads to host~port~1", decode),
];

/// Transports by their numbers.
const TRANSPORTS: [(&str, u32); 6] = [("udp", 1), ("tcp", 2), ("tls", 3), ("sctp", 4), ("ws", 5), ("wss", 6)];

fn encode(input: ValueRef<'_>, _: &[Argument<'_>], grammar: &Grammar, out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        let uri = Uri::parse_within(text, grammar).map_err(|_| Unfit("text is not a uri"))?;
        let host = uri.host.ok_or(Unfit("the uri has no host"))?;
        let is_secure = uri.scheme == Scheme::Sips;
        let name = uri.transport().unwrap_or(if is_secure { b"tls" } else { b"udp" });
        let number = TRANSPORTS.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        let (name, number) = number.ok_or(Unfit("the transport of the uri is not known"))?;
        let default_port = if matches!(*name, "tls" | "wss") { 5061 } else { 5060 };
        out.extend_from_slice(host);
        Ok(answer_display(format_args!("~{}~{number}", uri.port.unwrap_or(default_port)), out))
    })
}

fn decode(input: ValueRef<'_>, _: &[Argument<'_>], out: &mut Vec<u8>) -> Answer {
    on_text(input, |text| {
        let shape = Unfit("text is not host~port~transport");
        let text = std::str::from_utf8(text).map_err(|_| shape)?;
        let mut parts = text.split('~');
        let (Some(host), Some(port), Some(number), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape);
        };
        let port: u16 = port.parse().map_err(|_| shape)?;
        let number: u32 = number.parse().map_err(|_| shape)?;
        let (name, _) = TRANSPORTS.iter().find(|(_, known)| *known == number).ok_or(shape)?;
        if host.is_empty() || host.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
            return Err(shape);
        }
        match *name {
            "udp" => Ok(answer_display(format_args!("sip:{host}:{port}"), out)),
            name => Ok(answer_display(format_args!("sip:{host}:{port};transport={name}"), out)),
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::bindings::transformations::test::check;

    #[test]
    fn where_a_uri_leads_is_encoded_and_decoded() {
        check("urialias.encode", "sip:s@5.5.5.5", &[], "5.5.5.5~5060~1");
        check("urialias.encode", "sip:s@5.5.5.5:5080;transport=TCP", &[], "5.5.5.5~5080~2");
        check("urialias.encode", "sips:[2001:db8::1]", &[], "[2001:db8::1]~5061~3");
        check("urialias.encode", "tel:+49", &[], "<null>");
        check("urialias.encode", "nonsense", &[], "<null>");
        check("urialias.decode", "1.2.3.4~5080~2", &[], "sip:1.2.3.4:5080;transport=tcp");
        check("urialias.decode", "1.2.3.4~5080~1", &[], "sip:1.2.3.4:5080");
        for wrong in
            ["", "1.2.3.4", "h~x~1", "h~5060~9", "h~5060", "h~5060~1~2", "~5060~1", "a b~1~1", "h~70000~1"]
        {
            check("urialias.decode", wrong, &[], "<null>");
        }
    }
}
