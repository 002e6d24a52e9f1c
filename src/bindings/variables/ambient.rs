//! What the server knows about itself, and what belongs to transactions, locations and routes that are not run here:
//! `$stat(name)`, `$ccp(group.name)`, `$Tb`, `$iuid`, `$af(name)`, `$msgbuf(0)`, `$T_branch_idx`, …

use crate::script::catalog::Yields;
use crate::script::host::{Reading, Refusal, ValueRef};

use super::{Key, KeyRule, Subject, Variable};
use crate::routing::context::Context;
use crate::state::value::{answer_display, answer_text};
use crate::telemetry::counters::{
    REPLIES_FORWARDED, REPLIES_RECEIVED, REPLIES_SENT, REQUESTS_FORWARDED, REQUESTS_RECEIVED,
};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "stat",
        "value of a counter, by its own name or Kamailio's; null when there is none",
        read_counter,
    )
    .key(KeyRule::Text),
    Variable::new(
        "ccp",
        "runtime setting: group.name of the top level, core.debug; null when there is none",
        read_setting,
    )
    .key(KeyRule::Text)
    .process_wide()
    .writable(write_setting),
    Variable::new("Tb", "seconds since 1970 when the script was loaded", |context, _, _| {
        Reading::Integer(context.script().loaded_at_s() as i64)
    })
    .yields(Yields::Integer),
    Variable::new("iuid", "text that identifies the current message on this machine", |context, _, out| {
        let (identity, number) = (context.process.identity, context.process.message_number);
        let begun = context.script().loaded_at_s();
        answer_display(format_args!("{begun:x}-{:x}-{}-{number:x}", identity.pid, identity.index), out)
    })
    .yields(Yields::Text),
    Variable::new(
        "af",
        "family of the receiving address: name IPv4 or IPv6, id 2 or 10",
        |context, subject, out| {
            let is_ipv4 = context.envelope().destination.is_ipv4();
            match subject.key {
                Key::Word(0) => Reading::Integer(if is_ipv4 { 2 } else { 10 }),
                _ => answer_text(if is_ipv4 { b"IPv4" } else { b"IPv6" }, out),
            }
        },
    )
    .key(KeyRule::Word(&["id", "name"])),
    Variable::new(
        "msgbuf",
        "the byte of the message at a position, counted from 0; a byte put in its place is sent on",
        read_byte,
    )
    .key(KeyRule::Text)
    .writable(write_byte),
    absent("ruid", "id of the record a location was looked up in; null without a location service"),
    absent("location_ua", "User-Agent of that record; null without a location service"),
    absent("T_branch_idx", "number of the current branch; null outside of transactions"),
    absent("T_reply_code", "status of the reply of a transaction; null outside of transactions"),
    absent("T_reply_reason", "reason of the reply of a transaction; null outside of transactions"),
    absent("T_reply_ruid", "record id of the branch that replied; null outside of transactions"),
    absent("T_reply_last", "status of the last reply of a transaction; null outside of transactions"),
    absent("rcv", "a message as received; null outside of event_route[core:msg-received]")
        .key(KeyRule::Word(RECEIVE_PARTS)),
];

const RECEIVE_PARTS: &[&str] =
    &["buf", "len", "proto", "sproto", "srcip", "srcport", "rcvip", "rcvport", "af"];

/// What only exists in routes this server does not run, as the reference reads it elsewhere.
const fn absent(name: &'static str, documentation: &'static str) -> Variable {
    Variable::new(name, documentation, |_, _, _| Reading::Null)
}

/// Names scripts of Kamailio use.
const COUNTER_NAMES: &[(&str, crate::telemetry::counters::CounterId)] = &[
    ("rcv_requests", REQUESTS_RECEIVED),
    ("rcv_replies", REPLIES_RECEIVED),
    ("fwd_requests", REQUESTS_FORWARDED),
    ("fwd_replies", REPLIES_FORWARDED),
    ("sent_replies", REPLIES_SENT),
];

fn read_counter(context: &Context<'_>, subject: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    let Ok(name) = std::str::from_utf8(subject.key.text()) else { return Reading::Null };
    let known = COUNTER_NAMES.iter().find(|(known, _)| *known == name).map(|(_, counter)| *counter);
    let script = context.script();
    match known.or_else(|| script.counter_named(name)) {
        Some(counter) => Reading::Integer(context.process.ports.counters.sum(counter) as i64),
        None => Reading::Null,
    }
}

fn group_and_name(written: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = written.iter().position(|byte| matches!(byte, b'.' | b':'))?;
    Some((&written[..at], &written[at + 1..]))
}

const LOG_LEVEL: (&[u8], &[u8]) = (b"core", b"debug");

fn read_setting(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let Some((group, name)) = group_and_name(subject.key.text()) else { return Reading::Null };
    if (group, name) == LOG_LEVEL {
        return Reading::Integer(context.log_level());
    }
    match context.script().live_setting(group, name) {
        Some(setting) => context.read_shared(setting.slot, out),
        None => Reading::Null,
    }
}

fn write_setting(
    context: &mut Context<'_>,
    subject: &Subject<'_>,
    value: ValueRef<'_>,
) -> Result<(), Refusal> {
    let written = subject.key.text();
    let (group, name) = group_and_name(written).unwrap_or((written, b""));
    if (group, name) == LOG_LEVEL {
        let level = super::process::integer_of(value).filter(|level| (-5..=9).contains(level));
        context.set_log_level(level.ok_or_else(|| Refusal("a level is -5 to 3".to_string()))?);
        return Ok(());
    }
    let setting = context.script().live_setting(group, name);
    let setting =
        setting.ok_or_else(|| Refusal(format!("no runtime setting \"{}\"", written.escape_ascii())))?;
    let value = setting.fitting(value).map_err(Refusal)?;
    context.write_shared(setting.slot, value.as_ref()).map_err(|error| Refusal(error.to_string()))
}

fn position(subject: &Subject<'_>) -> Option<usize> {
    std::str::from_utf8(subject.key.text()).ok()?.trim().parse().ok()
}

/// An edit, as every change of a message: it shows when changes are applied, and where the message is sent on.
fn write_byte(context: &mut Context<'_>, subject: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    let ValueRef::Text(&[byte]) = value else { return Err(Refusal("$msgbuf takes one byte".to_string())) };
    let at = position(subject).filter(|&at| at < context.message.bytes().len());
    let at = at.ok_or_else(|| Refusal("the message has no byte at this position".to_string()))?;
    let replaced = context.edits.replace(&context.message, at..at + 1, &[byte]);
    replaced.map_err(|error| Refusal(error.to_string()))
}

fn read_byte(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match position(subject).and_then(|index| context.message.bytes().get(index)) {
        Some(byte) => answer_text(&[*byte], out),
        None => Reading::Null,
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::{INVITE, OPTIONS, ScriptHarness, check_reading};

    #[test]
    fn what_is_not_run_here_reads_as_null_everywhere() {
        for written in [
            "T_branch_idx",
            "T_reply_code",
            "ruid",
            "location_ua",
            "snd(ip)",
            "sndto(ip)",
            "sndfrom(ip)",
            "rcv(buf)",
            "rcv(proto)",
        ] {
            for column in 0..3 {
                check_reading(written, column, "NULL");
            }
        }
    }

    #[test]
    fn the_server_tells_about_itself() {
        let head = "limits.calls = 5 desc \"most calls\"";
        let rows = [
            ("$ccp(limits.calls) $ccp(limits.none) $ccp(x) $ccp(core.debug)", "5 <null> <null> 3"),
            ("$af(name) $af(id)", "IPv4 2"),
            ("$msgbuf(0)$msgbuf(3)[$msgbuf(99999)][$msgbuf(x)]", "II[<null>][<null>]"),
            ("$stat(rcv_requests) $stat(core.requests_received) $stat(nothing)", "1 1 <null>"),
        ];
        for (text, expected) in rows {
            assert_eq!(ScriptHarness::told(&[], head, "", text, INVITE), expected, "{text}");
        }
    }

    #[test]
    fn bytes_of_the_message_are_changed_where_it_is_sent_on() {
        let rows = [
            ("$msgbuf(0) = \"J\";", "JNVITE"),
            ("$msgbuf(0) = \"JJ\";", "INVITE"),
            ("$msgbuf(99999) = \"J\";", "INVITE"),
        ];
        for (statements, expected) in rows {
            let script = format!("request_route {{ {statements} forward(127.0.0.1, 5099); }}");
            let mut stage = ScriptHarness::new(&[], &script);
            stage.receive(INVITE);
            let text = stage.sent_one().text;
            assert!(text.starts_with(expected), "{statements}: {text}");
        }
    }

    #[test]
    fn settings_are_changed_and_keep_their_kind() {
        let head = "limits.calls = 5 desc \"most calls\"\nlimits.note = \"few\"";
        let rows = [
            ("$ccp(limits.calls) = 7;", "$ccp(limits.calls) $sel(cfg_get.limits.calls)", "7 7"),
            ("$ccp(limits.calls) = \"8\";", "$ccp(limits.calls)", "8"),
            ("$ccp(limits.calls) = \"many\";", "$ccp(limits.calls)", "5"),
            ("$ccp(limits.note) = 3;", "$ccp(limits.note)", "3"),
            ("$ccp(limits.none) = 3;", "$ccp(limits.none)", "<null>"),
            ("$ccp(core.debug) = 2;", "$ccp(core.debug)", "2"),
            ("$ccp(core.debug) = 99;", "$ccp(core.debug)", "3"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(ScriptHarness::told(&[], head, statements, text, INVITE), expected, "{statements}");
        }
    }

    #[test]
    fn counters_are_read_back() {
        let mut stage = ScriptHarness::new(
            &[],
            "request_route { $shv(x) = $hdr(X-Long); log(2, \"<$stat(core.shared_refused)>\"); }",
        );
        stage.receive(&OPTIONS.replacen("Call-ID", &format!("X-Long: {}\r\nCall-ID", "x".repeat(2000)), 1));
        assert!(stage.log().contains("<1>"));
    }

    #[test]
    fn messages_have_names_of_their_own() {
        let mut stage =
            ScriptHarness::new(&[], "request_route { log(2, \"<$iuid>\"); log(2, \"<$iuid>\"); }");
        let ids = |log: String| {
            log.split('<')
                .filter_map(|part| part.split_once('>'))
                .map(|(id, _)| id.to_string())
                .collect::<Vec<_>>()
        };
        stage.receive(OPTIONS);
        let first = ids(stage.log());
        stage.receive(OPTIONS);
        let second = ids(stage.log());
        assert!(
            first[1] == first[3] && second[1] == second[3] && first[1] != second[1],
            "{first:?} {second:?}"
        );
    }
}
