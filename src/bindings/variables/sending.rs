//! How a message leaves, known while `onsend_route` runs: `$snd(ip)`, `$sndto(port)`, `$sndfrom(ip)`, and the words
//! `snd_ip`, `to_port`, … Null (words: nothing) everywhere else.

use std::net::SocketAddr;

use crate::script::host::Reading;

use super::network::number_of;
use super::{Key, KeyRule, Subject, Variable};
use crate::config::settings::ListenerSetting;
use crate::routing::context::Context;
use crate::routing::on_send::Leaving;
use crate::state::value::{answer_display, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "snd",
        "how the message is sent, as $sndto; null outside of onsend_route",
        |context, subject, out| read(context, subject, out, |leaving, _| leaving.to),
    )
    .key(KeyRule::Word(PARTS)),
    Variable::new(
        "sndto",
        "where the message is sent to, its text and length; null outside of onsend_route",
        |context, subject, out| read(context, subject, out, |leaving, _| leaving.to),
    )
    .key(KeyRule::Word(PARTS)),
    Variable::new(
        "sndfrom",
        "where the message is sent from, its text and length; null outside of onsend_route",
        |context, subject, out| read(context, subject, out, |_, listener| listener.address),
    )
    .key(KeyRule::Word(PARTS)),
];

const PARTS: &[&str] = &["ip", "port", "proto", "af", "buf", "len", "sproto"];

fn read(
    context: &Context<'_>,
    subject: &Subject<'_>,
    out: &mut Vec<u8>,
    end: impl Fn(&Leaving, &ListenerSetting) -> SocketAddr,
) -> Reading {
    let Some((leaving, listener)) = now(context) else { return Reading::Null };
    let end = end(leaving, listener);
    let Key::Word(part) = subject.key else { return Reading::Null };
    match PARTS[part] {
        "ip" => answer_display(end.ip(), out),
        "port" => Reading::Integer(i64::from(end.port())),
        "proto" => Reading::Integer(number_of(listener.transport)),
        "af" => Reading::Integer(if end.is_ipv4() { 2 } else { 10 }),
        "buf" => answer_text(&leaving.bytes, out),
        "len" => Reading::Integer(leaving.bytes.len() as i64),
        _ => answer_text(listener.transport.name().as_bytes(), out),
    }
}

fn now<'c>(context: &'c Context<'_>) -> Option<(&'c Leaving, &'c ListenerSetting)> {
    let leaving = context.leaving()?;
    Some((leaving, context.settings().listener(leaving.listener)?))
}

fn from(context: &Context<'_>) -> Option<SocketAddr> {
    now(context).map(|(_, listener)| listener.address)
}

fn to(context: &Context<'_>) -> Option<SocketAddr> {
    context.leaving().map(|leaving| leaving.to)
}

/// `snd_ip`
pub fn from_address(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_address(from(context), out)
}

/// `snd_port`
pub fn from_port(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    answer_port(from(context))
}

/// `snd_af`
pub fn from_family(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_family(from(context), out)
}

/// `to_ip`
pub fn to_address(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_address(to(context), out)
}

/// `to_port`
pub fn to_port(context: &Context<'_>, _: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    answer_port(to(context))
}

/// `to_af`
pub fn to_family(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    answer_family(to(context), out)
}

/// `snd_proto`, `to_proto`
pub fn transport(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match now(context) {
        Some((_, listener)) => answer_text(listener.transport.name().as_bytes(), out),
        None => Reading::Null,
    }
}

fn answer_address(end: Option<SocketAddr>, out: &mut Vec<u8>) -> Reading {
    end.map_or(Reading::Null, |end: SocketAddr| answer_display(end.ip(), out))
}

fn answer_port(end: Option<SocketAddr>) -> Reading {
    end.map_or(Reading::Null, |end| Reading::Integer(i64::from(end.port())))
}

fn answer_family(end: Option<SocketAddr>, out: &mut Vec<u8>) -> Reading {
    end.map_or(Reading::Null, |end| answer_text(if end.is_ipv4() { b"INET" } else { b"INET6" }, out))
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::check_reading;

    #[test]
    fn nothing_leaves_outside_of_onsend_route() {
        for written in ["snd(ip)", "sndto(port)", "sndto(buf)", "sndfrom(proto)", "snd(len)"] {
            for column in 0..3 {
                check_reading(written, column, "NULL");
            }
        }
    }
}
