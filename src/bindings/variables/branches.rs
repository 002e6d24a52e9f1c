//! Further targets of the request: `$branch(uri)[0]`, `$br`, `$bR`, `$ds`, `$sbranch(uri)`.

use crate::script::host::{Position, Reading, Refusal, ValueRef};

use super::network::listener_at;
use super::{Key, KeyRule, Subject, Variable};
use crate::routing::branches::{Target, parse_q};
use crate::routing::context::Context;
use crate::sip::uri_draft::is_uri_octet;
use crate::state::value::{answer_display, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "branch",
        "field of a branch: $(branch(uri)[0]); count: number of branches, null without; uri = $null \
         removes it",
        read_branch,
    )
    .key(KeyRule::Word(PARTS))
    .writable(write_branch),
    Variable::new("br", "URI of the first branch; assigning adds one", |context, _, out| {
        match context.branches.targets().first() {
            Some(target) => answer_text(&target.uri, out),
            None => Reading::Null,
        }
    })
    .writable(|context, _, value| append(context, value)),
    Variable::new("bR", "all branches, as in Contact", |context, _, out| {
        if context.branches.targets().is_empty() {
            return Reading::Null;
        }
        context.branches.write_contacts(false, out);
        Reading::Text
    }),
    Variable::new("ds", "all branches as a Contact line", |context, _, out| {
        if context.branches.targets().is_empty() {
            return Reading::Null;
        }
        out.extend_from_slice(b"Contact: ");
        context.branches.write_contacts(true, out);
        Reading::Text
    }),
    Variable::new("sbranch", "field of a branch that is prepared before it is added", read_draft)
        .key(KeyRule::Word(DRAFT_PARTS))
        .writable(write_draft),
];

const PARTS: &[&str] =
    &["uri", "dst_uri", "path", "q", "send_socket", "flags", "ruid", "location_ua", "instance", "count"];
/// All but the last.
const DRAFT_PARTS: &[&str] =
    &["uri", "dst_uri", "path", "q", "send_socket", "flags", "ruid", "location_ua", "instance"];
const COUNT: usize = 9;

fn part(subject: &Subject<'_>) -> usize {
    match subject.key {
        Key::Word(part) => part,
        _ => COUNT,
    }
}

fn index(subject: &Subject<'_>) -> i64 {
    match subject.position {
        Position::At(index) => index,
        Position::Unset | Position::All => 0,
    }
}

fn read_branch(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let branches = &context.branches;
    if part(subject) == COUNT {
        return match branches.targets().len() {
            0 => Reading::Null,
            count => Reading::Integer(count as i64),
        };
    }
    match branches.position(index(subject)) {
        Some(position) => read_part(context, &branches.targets()[position], part(subject), out),
        None => Reading::Null,
    }
}

fn read_draft(context: &Context<'_>, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    match &context.branches.draft {
        Some(target) => read_part(context, target, part(subject), out),
        None => Reading::Null,
    }
}

fn read_part(context: &Context<'_>, target: &Target, part: usize, out: &mut Vec<u8>) -> Reading {
    let text = match part {
        0 => &target.uri,
        1 => &target.destination,
        2 => &target.path,
        3 => return target.q.map_or(Reading::Null, |q| Reading::Integer(i64::from(q))),
        4 => {
            let listener = target.listener.and_then(|index| context.settings().listener(index));
            return match listener {
                Some(listener) => {
                    answer_display(format_args!("{}:{}", listener.transport.name(), listener.address), out)
                }
                None => Reading::Null,
            };
        }
        5 => return Reading::Integer(i64::from(target.flags)),
        6 => &target.record_id,
        7 => &target.user_agent,
        _ => &target.instance,
    };
    if text.is_empty() { Reading::Null } else { answer_text(text, out) }
}

fn write_branch(
    context: &mut Context<'_>,
    subject: &Subject<'_>,
    value: ValueRef<'_>,
) -> Result<(), Refusal> {
    let (part, index) = (part(subject), index(subject));
    if part == COUNT {
        return Err(Refusal("the number of branches cannot be assigned".to_string()));
    }
    let Some(position) = context.branches.position(index) else {
        return Err(Refusal(format!("there is no branch {index}")));
    };
    if part == 0 && value == ValueRef::Null {
        context.branches.remove(index);
        return Ok(());
    }
    let change = change_of(context, part, value)?;
    change.apply(&mut context.branches.targets_mut()[position]);
    Ok(())
}

fn write_draft(context: &mut Context<'_>, subject: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    let change = change_of(context, part(subject), value)?;
    change.apply(context.branches.draft.get_or_insert_default());
    Ok(())
}

fn append(context: &mut Context<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    let ValueRef::Text(uri) = value else { return Err(Refusal("a branch is a uri".to_string())) };
    let target = Target { uri: checked_uri(uri)?.to_vec(), ..Target::default() };
    let count_max = context.settings().max_branches;
    context.branches.append(target, count_max).map_err(|error| Refusal(error.to_string()))
}

/// What is to become of a part, checked.
enum Change {
    Text(usize, Vec<u8>),
    Preference(Option<u16>),
    Listener(Option<u16>),
    Flags(u32),
}

impl Change {
    fn apply(self, target: &mut Target) {
        match self {
            Change::Text(0, text) => target.uri = text,
            Change::Text(1, text) => target.destination = text,
            Change::Text(2, text) => target.path = text,
            Change::Text(6, text) => target.record_id = text,
            Change::Text(7, text) => target.user_agent = text,
            Change::Text(_, text) => target.instance = text,
            Change::Preference(q) => target.q = q,
            Change::Listener(listener) => target.listener = listener,
            Change::Flags(flags) => target.flags = flags,
        }
    }
}

fn change_of(context: &Context<'_>, part: usize, value: ValueRef<'_>) -> Result<Change, Refusal> {
    let refuse = |reason: &str| Err(Refusal(reason.to_string()));
    match (part, value) {
        (3, ValueRef::Null) => Ok(Change::Preference(None)),
        (3, ValueRef::Integer(q @ 0..=1000)) => Ok(Change::Preference(Some(q as u16))),
        (3, ValueRef::Text(text)) if parse_q(text).is_some() => Ok(Change::Preference(parse_q(text))),
        (3, _) => refuse("q is a number from 0 to 1000, or text from 0 to 1"),
        (4, ValueRef::Null) => Ok(Change::Listener(None)),
        (4, ValueRef::Text(socket)) => match listener_at(&context.settings().listeners, socket) {
            Some(listener) => Ok(Change::Listener(Some(listener))),
            None => refuse("no such listen socket"),
        },
        (5, ValueRef::Null) => Ok(Change::Flags(0)),
        (5, ValueRef::Integer(flags)) => match u32::try_from(flags) {
            Ok(flags) => Ok(Change::Flags(flags)),
            Err(_) => refuse("flags are 32 bits"),
        },
        (part, ValueRef::Null) => Ok(Change::Text(part, Vec::new())),
        (part @ (0 | 1), ValueRef::Text(uri)) => Ok(Change::Text(part, checked_uri(uri)?.to_vec())),
        (part, ValueRef::Text(text)) if text.iter().all(|byte| !byte.is_ascii_control()) => {
            Ok(Change::Text(part, text.to_vec()))
        }
        _ => refuse("this part of a branch is text without control characters"),
    }
}

fn checked_uri(uri: &[u8]) -> Result<&[u8], Refusal> {
    let is_uri = !uri.is_empty() && uri.iter().all(|&byte| is_uri_octet(byte));
    if is_uri { Ok(uri) } else { Err(Refusal("invalid uri".to_string())) }
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::{INVITE, ScriptHarness};

    fn after(statements: &str, text: &str) -> String {
        ScriptHarness::told(&[], "", statements, text, INVITE)
    }

    const TWO: &str =
        "$br = \"sip:b1@1.1.1.1:5061;transport=tcp\"; $br = \"sip:b2@2.2.2.2\"; $(branch(q)[1]) = 500;";

    /// What the reference printed for the same steps.
    #[test]
    fn branches_read_as_measured() {
        let changed = format!(
            "{TWO} $(branch(uri)[0]) = \"sip:b1x@3.3.3.3\"; $(branch(dst_uri)[0]) = \"sip:9.9.9.9\"; $(branch(flags)[0]) = 8; $(branch(q)[0]) = 300;"
        );
        let rows = [
            (
                "",
                "[$branch(count)] [$br] [$bR] [$branch(uri)] [$(branch(uri)[0])] [$ds] [$sbranch(uri)]",
                "[<null>] [<null>] [<null>] [<null>] [<null>] [<null>] [<null>]",
            ),
            (
                TWO,
                "$branch(count) $br $branch(uri)",
                "2 sip:b1@1.1.1.1:5061;transport=tcp sip:b1@1.1.1.1:5061;transport=tcp",
            ),
            (TWO, "$bR", "sip:b1@1.1.1.1:5061;transport=tcp, <sip:b2@2.2.2.2>;q=0.5"),
            (TWO, "$ds", "Contact: <sip:b1@1.1.1.1:5061;transport=tcp>, <sip:b2@2.2.2.2>;q=0.5"),
            (
                TWO,
                "$(branch(uri)[-1]) $(branch(q)[1]) $(branch(dst_uri)[0]) $(branch(uri)[2])",
                "sip:b2@2.2.2.2 500 <null> <null>",
            ),
            (
                &changed,
                "$(branch(uri)[0]) $(branch(dst_uri)[0]) $(branch(flags)[0]) $(branch(q)[0]) $(branch(path)[0])",
                "sip:b1x@3.3.3.3 sip:9.9.9.9 8 300 <null>",
            ),
            (&format!("{TWO} $(branch(uri)[0]) = $null;"), "$branch(count) $branch(uri)", "1 sip:b2@2.2.2.2"),
            (&format!("{TWO} remove_branch(0);"), "$branch(count) $branch(uri)", "1 sip:b2@2.2.2.2"),
            (&format!("{TWO} remove_branch();"), "$branch(count) $branch(uri)", "1 sip:b2@2.2.2.2"),
            (&format!("{TWO} clear_branches();"), "$branch(count)", "<null>"),
            (
                "$sbranch(uri) = \"sip:s@5.5.5.5\"; $sbranch(flags) = 4;",
                "$sbranch(uri) $sbranch(flags) $branch(count)",
                "sip:s@5.5.5.5 4 <null>",
            ),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after(statements, text), expected, "{statements}");
        }
    }

    #[test]
    fn what_does_not_fit_a_branch_is_refused() {
        let rows = [
            ("$br = \"a b\";", "$branch(count)", "<null>"),
            ("$(branch(uri)[0]) = \"sip:x@y\";", "$branch(count)", "<null>"),
            (&format!("{TWO} $(branch(q)[0]) = 2000;"), "$(branch(q)[0])", "<null>"),
            (&format!("{TWO} $(branch(flags)[0]) = -1;"), "$(branch(flags)[0])", "0"),
            (
                &format!("{TWO} $(branch(send_socket)[0]) = \"udp:9.9.9.9:9\";"),
                "$(branch(send_socket)[0])",
                "<null>",
            ),
            (
                &format!("{TWO} $(branch(send_socket)[0]) = \"udp:127.0.0.1:17060\";"),
                "$(branch(send_socket)[0])",
                "udp:127.0.0.1:17060",
            ),
            (&format!("{TWO} $(branch(path)[0]) = \"<sip:p>\\r\\nX: y\";"), "$(branch(path)[0])", "<null>"),
            (&"$br = \"sip:x@y\"; ".repeat(12), "$branch(count)", "11"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after(statements, text), expected, "{statements}");
        }
    }
}
