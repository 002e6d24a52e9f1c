//! P-Charging-Vector (RFC 7315 5.6): `sip_p_charging_vector("g")`, `$pcv(value)`.

use std::cell::RefCell;

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome, Reading};
use crate::bindings::variables::{Key, Subject};
use crate::routing::context::Context;
use crate::sip::params::Params;
use crate::state::value::{answer_optional, answer_text};

use super::SipUtils;

/// Parts of `$pcv`.
pub(super) const PARTS: &[&str] = &["value", "genaddr", "orig", "term", "all"];
/// The parameters they stand for.
const PARAMETERS: &[&[u8]] = &[b"icid-value", b"icid-generated-at", b"orig-ioi", b"term-ioi"];
const NAME: &[u8] = b"P-Charging-Vector";

/// What was made for the message of this number.
pub(super) type Made = RefCell<(u32, Vec<u8>)>;

/// `r` removes it, `g` makes one where none is, `f` puts a new one in place of what came.
pub(super) fn change(module: &SipUtils, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let flags = arguments[0].text();
    if flags.is_empty() || !flags.iter().all(|flag| b"rgf".contains(flag)) {
        return outcome(context, "sip_p_charging_vector", Err("flags are r, g and f"));
    }
    let is_removed = flags.iter().any(|flag| b"rf".contains(flag));
    let is_made = flags.iter().any(|flag| b"gf".contains(flag));
    if is_removed {
        context.edits.remove_named(&context.message, NAME);
    }
    let is_there = context.message.header_named(NAME, 0).is_some();
    if !is_made || (is_there && !is_removed) {
        return Outcome::TRUE;
    }
    let here = context.envelope();
    let (pid, number) = (context.process.identity.pid, context.process.message_number);
    let value = format!(
        "icid-value={:016X}{pid:08X}{number:08X}; icid-generated-at={}",
        here.received_at_ns,
        here.destination.ip()
    );
    let added = context.edits.add_last(&context.message, NAME, value.as_bytes());
    module.made.replace((number, value.into_bytes()));
    outcome(context, "sip_p_charging_vector", added)
}

/// Of what was made for this message, else of what came with it.
pub(super) fn read(
    module: &SipUtils,
    context: &Context<'_>,
    subject: &Subject<'_>,
    out: &mut Vec<u8>,
) -> Reading {
    let made = module.made.borrow();
    let came = context.message.header_named(NAME, 0).map(|header| header.value);
    let is_made_for_it = made.0 == context.process.message_number && !made.1.is_empty();
    let Some(value) = (if is_made_for_it { Some(&*made.1) } else { came }) else { return Reading::Null };
    let Key::Word(part) = subject.key else { return Reading::Null };
    match PARAMETERS.get(part) {
        Some(name) => answer_optional(Params::new(&[b";", value].concat()).text(name), out),
        None => {
            answer_text(b"P-Charging-Vector: ", out);
            answer_text(value, out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{REQUEST, logged};

    #[test]
    fn a_vector_is_made_kept_replaced_and_removed() {
        let came = REQUEST.replace("CSeq:", "P-Charging-Vector: icid-value=\"x y\";orig-ioi=a.com\r\nCSeq:");
        let number = format!("{:016X}{:08X}{:08X}", 1_795_397_110_614_143_001_u64, 4711, 1);
        let made = format!("icid-value={number}; icid-generated-at=127.0.0.1");
        let rows = [
            (REQUEST, "", "$pcv(value) $pcv(all)".to_string(), "<null> <null>".to_string()),
            (
                &came,
                "",
                "$pcv(value)|$pcv(orig)|$pcv(term)|$pcv(genaddr)".to_string(),
                "x y|a.com|<null>|<null>".to_string(),
            ),
            (
                REQUEST,
                "sip_p_charging_vector(\"g\");",
                "$pcv(value) $pcv(genaddr)".to_string(),
                format!("{number} 127.0.0.1"),
            ),
            (
                REQUEST,
                "sip_p_charging_vector(\"g\"); msg_apply_changes();",
                "$hdr(P-Charging-Vector)".to_string(),
                made.clone(),
            ),
            (
                &came,
                "sip_p_charging_vector(\"g\"); msg_apply_changes();",
                "$pcv(value)".to_string(),
                "x y".to_string(),
            ),
            (
                &came,
                "sip_p_charging_vector(\"f\"); msg_apply_changes();",
                "$hdrc(P-Charging-Vector) $hdr(P-Charging-Vector)".to_string(),
                format!("1 {made}"),
            ),
            (
                &came,
                "sip_p_charging_vector(\"r\"); msg_apply_changes();",
                "$hdrc(P-Charging-Vector)".to_string(),
                "0".to_string(),
            ),
            (REQUEST, "$var(r) = sip_p_charging_vector(\"x\");", "$var(r)".to_string(), "-1".to_string()),
        ];
        for (message, statements, text, expected) in rows {
            let script = format!("{statements} log(2, \"@@{text}@@\");");
            assert_eq!(logged(&script, message), expected, "{statements} {text}");
        }
    }
}
