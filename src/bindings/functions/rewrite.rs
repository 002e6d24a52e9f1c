//! Changes of the Request-URI: `rewriteuser`, `rewritehost`, `prefix`, `strip`, `revert_uri`, … They take effect at once.

use crate::script::catalog::ParameterKind;
use crate::script::host::{Argument, Outcome};

use super::super::variables::request::{change_request_uri, parse_port, replace_request_uri};
use super::{Function, outcome};
use crate::routing::context::Context;
use crate::sip::uri_draft::{UnfitPart, UriDraft};

/// The table.
pub const FUNCTIONS: &[Function] = &[
    Function::new("rewriteuri", "replaces the Request-URI", TEXT, |context, arguments| {
        let changed = replace_request_uri(context, arguments[0].text());
        outcome(context, "rewriteuri", changed.map_err(|refusal| refusal.0))
    })
    .alias(&["seturi"]),
    Function::new("rewriteuser", "replaces the user part of the Request-URI", TEXT, |context, arguments| {
        change(context, "rewriteuser", |draft| draft.set_user(b"", arguments[0].text()))
    })
    .alias(&["setuser", "setu"]),
    Function::new(
        "rewriteuserpass",
        "replaces user and password of the Request-URI",
        TEXT,
        |context, arguments| {
            change(context, "rewriteuserpass", |draft| draft.set_user_and_password(arguments[0].text()))
        },
    )
    .alias(&["setuserpass", "setup"]),
    Function::new(
        "rewritehost",
        "replaces the host of the Request-URI; the port stays",
        TEXT,
        |context, arguments| change(context, "rewritehost", |draft| draft.set_host(arguments[0].text())),
    )
    .alias(&["sethost", "seth"]),
    Function::new(
        "rewritehostport",
        "replaces host and port of the Request-URI",
        TEXT,
        |context, arguments| {
            change(context, "rewritehostport", |draft| draft.set_host_and_port(arguments[0].text()))
        },
    )
    .alias(&["sethostport", "sethp"]),
    Function::new(
        "rewritehostporttrans",
        "replaces host, port and transport of the Request-URI",
        TEXT,
        |context, arguments| {
            change(context, "rewritehostporttrans", |draft| {
                draft.set_host_port_and_transport(arguments[0].text())
            })
        },
    )
    .alias(&["sethostporttrans", "sethpt"]),
    Function::new(
        "rewriteport",
        "replaces the port of the Request-URI; an empty one removes it",
        TEXT,
        set_port,
    )
    .alias(&["setport", "setp"]),
    Function::new(
        "prefix",
        "prepends text to the user part of the Request-URI",
        TEXT,
        |context, arguments| {
            change(context, "prefix", |draft| {
                let user = draft.user().to_vec();
                draft.set_user(arguments[0].text(), &user)
            })
        },
    ),
    Function::new(
        "strip",
        "removes n bytes from the start of the user part",
        NUMBER,
        |context, arguments| {
            let count = size_of(arguments);
            change(context, "strip", |draft| {
                let user = draft.user().to_vec();
                draft.set_user(b"", &user[count.min(user.len())..])
            })
        },
    ),
    Function::new(
        "strip_tail",
        "removes n bytes from the end of the user part",
        NUMBER,
        |context, arguments| {
            let count = size_of(arguments);
            change(context, "strip_tail", |draft| {
                let user = draft.user().to_vec();
                draft.set_user(b"", &user[..user.len().saturating_sub(count)])
            })
        },
    ),
    Function::new(
        "userphone",
        "adds user=phone when the user part is a telephone number",
        &[],
        |context, _| {
            change(context, "userphone", |draft| {
                if is_telephone_number(draft.user()) {
                    draft.set_param("user", "phone");
                }
                Ok(())
            })
        },
    ),
    Function::new("revert_uri", "restores the Request-URI as received", &[], |context, _| {
        let is_request = context.request_uri().is_some();
        context.revert_request_uri();
        is_request.into()
    }),
];

const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const NUMBER: &[ParameterKind] = &[ParameterKind::Integer];

fn change(
    context: &mut Context<'_>,
    name: &str,
    change: impl FnOnce(&mut UriDraft) -> Result<(), UnfitPart>,
) -> Outcome {
    let changed = change_request_uri(context, change);
    outcome(context, name, changed.map_err(|refusal| refusal.0))
}

fn set_port(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    change(context, "rewriteport", |draft| match arguments[0].text() {
        b"" => draft.set_port(None),
        text => draft.set_port(Some(parse_port(text)?)),
    })
}

/// The number of bytes; a negative count is 0.
fn size_of(arguments: &[Argument<'_>]) -> usize {
    arguments[0].integer().map_or(0, |count| usize::try_from(count.max(0)).unwrap_or(usize::MAX))
}

/// RFC 3966: digits and visual separators, a plus in front of a global one.
fn is_telephone_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    digits.iter().any(u8::is_ascii_digit)
        && digits.iter().all(|byte| byte.is_ascii_digit() || b"-.()".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephone_numbers_are_known() {
        let rows = [
            ("+4930123", true),
            ("030123", true),
            ("+49-30-(12)3.4", true),
            ("", false),
            ("+", false),
            ("-", false),
            ("12a", false),
            ("1+2", false),
            ("alice", false),
        ];
        for (text, expected) in rows {
            assert_eq!(is_telephone_number(text.as_bytes()), expected, "{text}");
        }
    }
}
