//! Structured values: `$xavp`, `$xavu`, `$xavi`; and how many values a name has: `$cnt`.

use std::borrow::Cow;

use crate::script::catalog::Yields;
use crate::script::host::{Position, Reading, Refusal, ValueRef};

use super::storage::SEPARATOR;
use super::{KeyRule, Subject, Variable};
use crate::routing::context::Context;
use crate::routing::xavps::{Content, Entry, STRUCTURE_MARK, Step, Which, XavpError, XavpStore, steps};
use crate::state::value::{answer, answer_display, answer_text};

/// The table.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "xavp",
        "structured value of the message, newest first: $xavp(root[0]=>field)",
        |context, subject, out| read(&context.process.xavps, subject, out),
    )
    .key(KeyRule::Path)
    .process_wide()
    .writable(|context, subject, value| write(&mut context.process.xavps, subject, value)),
    Variable::new(
        "xavu",
        "structured value of the message, each name once: $xavu(root=>field)",
        |context, subject, out| read(&context.process.xavus, subject, out),
    )
    .key(KeyRule::Path)
    .process_wide()
    .writable(|context, subject, value| write(&mut context.process.xavus, subject, value)),
    Variable::new(
        "xavi",
        "structured value of the message, names in any case: $xavi(root=>field)",
        |context, subject, out| read(&context.process.xavis, subject, out),
    )
    .key(KeyRule::Path)
    .process_wide()
    .writable(|context, subject, value| write(&mut context.process.xavis, subject, value)),
    Variable::new("cnt", "number of values of an $avp, $xavp, $xavu, $xavi, $hdr or $branch", count)
        .key(KeyRule::Text)
        .yields(Yields::Integer),
];

/// The steps of the key; an index after the parentheses is that of the last step.
fn steps_of<'a>(subject: &Subject<'a>) -> Result<Vec<Step<'a>>, XavpError> {
    let mut steps = steps(subject.key.text())?;
    if let Some(last) = steps.last_mut() {
        match subject.position {
            Position::Unset => {}
            Position::At(index) => last.index = Which::At(index),
            Position::All => last.index = Which::All,
        }
    }
    Ok(steps)
}

fn read(store: &XavpStore, subject: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
    let Ok(steps) = steps_of(subject) else { return Reading::Null };
    let found = store.find(&steps);
    let is_all = steps.last().is_some_and(|step| step.index == Which::All);
    match found.as_slice() {
        [] => Reading::Null,
        [one] if !is_all => answer_entry(one, out),
        many => {
            for (index, entry) in many.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(SEPARATOR);
                }
                if let Reading::Integer(number) = answer_entry(entry, out) {
                    answer_display(number, out);
                }
            }
            Reading::Text
        }
    }
}

fn answer_entry(entry: &Entry, out: &mut Vec<u8>) -> Reading {
    match &entry.content {
        Content::Plain(value) => answer(value.as_ref(), out),
        Content::Fields(_) => {
            out.extend_from_slice(STRUCTURE_MARK);
            out.extend_from_slice(&entry.name);
            answer_text(b">>", out)
        }
    }
}

fn write(store: &mut XavpStore, subject: &Subject<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
    let assigned = steps_of(subject).and_then(|steps| store.assign(&steps, value));
    assigned.map_err(|error| Refusal(error.to_string()))
}

/// The key is the name of a variable with its key: `avp(x)`.
fn count(context: &Context<'_>, subject: &Subject<'_>, _: &mut Vec<u8>) -> Reading {
    let written = subject.key.text();
    let written = written.strip_prefix(b"$").unwrap_or(written);
    Reading::Integer(counted(context, written).unwrap_or(0) as i64)
}

fn counted(context: &Context<'_>, written: &[u8]) -> Option<usize> {
    let at = memchr::memchr(b'(', written)?;
    let (name, key) = (&written[..at], written[at + 1..].strip_suffix(b")")?);
    let process = &*context.process;
    match name {
        b"avp" => Some(process.avps.values(key.strip_prefix(b"s:").unwrap_or(key)).count()),
        b"xavp" => count_entries(&process.xavps, key),
        b"xavu" => count_entries(&process.xavus, key),
        b"xavi" => count_entries(&process.xavis, key),
        b"branch" => Some(context.branches.targets().len()),
        b"hdr" => Some(context.message.headers_named(key).count()),
        _ => None,
    }
}

fn count_entries(store: &XavpStore, key: &[u8]) -> Option<usize> {
    let mut steps = steps(key).ok()?;
    steps.last_mut()?.index = Which::All;
    Some(store.find(&steps).len())
}

/// What is wrong with a key, when a script is checked.
pub fn check_path(key: &[u8]) -> Result<(), Cow<'static, str>> {
    steps(key).map(drop).map_err(|error| error.to_string().into())
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::{INVITE, ScriptHarness};

    fn after(statements: &str, text: &str) -> String {
        ScriptHarness::told(&[], "", statements, text, INVITE)
    }

    /// What the reference printed for the same assignments.
    #[test]
    fn structured_values_read_as_measured() {
        let sides = "$xavp(side=>lr)=\"external\"; $xavp(side[0]=>free)=\"left\"; \
            $xavp(side=>lr)=\"internal\"; $xavp(side[0]=>free)=\"right\";";
        let rows = [
            ("", "$xavp(x) $xavu(x) $xavi(x) $xavp(x=>a)", "<null> <null> <null> <null>"),
            (
                sides,
                "$xavp(side[0]=>lr) $xavp(side[0]=>free) $xavp(side[1]=>lr) $xavp(side[1]=>free) $xavp(side[-1]=>lr)",
                "internal right external left external",
            ),
            (sides, "$xavp(side)", "<<xavp:side>>"),
            (
                "$xavp(a=>b)=1; $xavp(a[0]=>b)=2;",
                "$xavp(a=>b) $xavp(a=>b[1]) $(xavp(a=>b)[1]) $xavp(a=>b[*])",
                "2 1 1 2, 1",
            ),
            (
                "$xavp(n)=5; $xavp(n)=\"six\";",
                "$xavp(n) $xavp(n[0]) $xavp(n[1]) $xavp(n[2])",
                "six six 5 <null>",
            ),
            ("$xavp(n)=5; $xavp(n)=6; $xavp(n[0])=7;", "$xavp(n) $xavp(n[1])", "7 5"),
            ("$xavp(n)=5; $xavp(n)=6; $xavp(n)=$null;", "$xavp(n) $xavp(n[1])", "5 <null>"),
            ("$xavp(ct)=\"flat\"; $xavp(ct[0]=>z)=1;", "$xavp(ct) $xavp(ct=>z)", "flat <null>"),
            ("$xavp(nope[3]=>z)=1;", "$xavp(nope[3]=>z) $xavp(nope=>z)", "<null> <null>"),
            (
                "$xavu(u=>a)=1; $xavu(u=>a)=2; $xavu(u=>b)=3; $xavu(v)=\"x\"; $xavu(v)=\"y\";",
                "$xavu(u=>a) $xavu(u=>b) $xavu(v)",
                "2 3 y",
            ),
            (
                "$xavi(WhatEver=>FoO)=1; $xavi(whatever[0]=>foo)=2;",
                "$xavi(WHATEVER=>FOO) $xavi(whatever[0]=>foo[1])",
                "2 1",
            ),
            ("$var(x)=\"cs\"; $xavp(cs=>n)=5;", "$xavp($var(x)=>n)", "5"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after(statements, text), expected, "{statements}");
        }
    }

    #[test]
    fn values_are_counted() {
        let rows = [
            ("", "$cnt($avp(q)) $cnt($xavp(q)) $cnt($ru) $cnt($hdr(X-Foo))", "0 0 0 2"),
            ("$avp(q)=1; $avp(q)=2;", "$cnt($avp(q)) $cnt($avp(s:q)) $cnt($avp(r))", "2 2 0"),
            ("$xavp(q)=1; $xavp(q)=2;", "$cnt($xavp(q)) $cnt($xavp(q=>a))", "2 0"),
            ("$xavp(q=>a)=1; $xavp(q[0]=>a)=2;", "$cnt($xavp(q=>a)) $cnt($xavp(q))", "2 1"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after(statements, text), expected, "{statements}");
        }
    }

    #[test]
    fn structured_values_do_not_outlive_the_message() {
        let mut stage = ScriptHarness::new(
            &[],
            "request_route { log(2, \"<$xavp(a=>b)$xavu(a)$xavi(a)>\"); $xavp(a=>b)=1; $xavu(a)=1; $xavi(a)=1; }",
        );
        stage.receive(INVITE);
        stage.log();
        stage.receive(INVITE);
        assert!(stage.log().contains("<<null><null><null>>"));
    }

    #[test]
    fn a_name_that_is_none_is_found_by_the_checker() {
        for key in ["a=>", "a[x]", "[0]", "a=>b=>c=>d=>e=>f=>g=>h=>i"] {
            let mistakes = ScriptHarness::mistakes(&[], &format!("request_route {{ $xavp({key}) = 1; }}"));
            assert!(mistakes.contains("$xavp"), "{key}: {mistakes}");
        }
    }
}
