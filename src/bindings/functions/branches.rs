//! Further targets of the request: `remove_branch`, `clear_branches`; and how modules add one.

use crate::script::catalog::{ParameterKind, RouteSet};
use crate::script::host::{Argument, Outcome, Refusal};

use super::Function;
use crate::routing::branches::{Target, parse_q};
use crate::routing::context::Context;
use crate::sip::uri_draft::is_uri_octet;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    Function::new("remove_branch", "removes the first branch", &[], |context, _| {
        context.branches.remove(0).into()
    })
    .routes(RouteSet::REQUEST),
    Function::new(
        "remove_branch",
        "removes the branch at an index, from 0",
        &[ParameterKind::Integer],
        |context, arguments| {
            arguments[0].integer().is_some_and(|index| context.branches.remove(index)).into()
        },
    )
    .routes(RouteSet::REQUEST),
    Function::new("clear_branches", "removes all branches", &[], |context, _| {
        context.branches.remove_all();
        Outcome::TRUE
    })
    .routes(RouteSet::REQUEST),
];

/// Adds a target: the URI given, or the Request-URI with everything the script decided for it; and a preference.
pub fn append_branch(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Result<(), Refusal> {
    let uri = arguments.first().map(Argument::text).filter(|uri| !uri.is_empty());
    let mut target = match uri {
        Some(uri) if uri.iter().all(|&byte| is_uri_octet(byte)) => {
            Target { uri: uri.to_vec(), ..Target::default() }
        }
        Some(_) => return Err(Refusal("invalid uri".to_string())),
        None => target_of_request(context)?,
    };
    if let Some(q) = arguments.get(1).map(Argument::text).filter(|q| !q.is_empty()) {
        target.q = Some(parse_q(q).ok_or_else(|| Refusal("q is a number from 0 to 1".to_string()))?);
    }
    let count_max = context.settings().max_branches;
    context.branches.append(target, count_max).map_err(|error| Refusal(error.to_string()))
}

fn target_of_request(context: &Context<'_>) -> Result<Target, Refusal> {
    let uri = context.request_uri().ok_or_else(|| Refusal("the message is not a request".to_string()))?;
    Ok(Target {
        uri: uri.to_vec(),
        destination: context.destination_uri().unwrap_or_default().to_vec(),
        flags: context.branch_flags,
        listener: context.forced_listener,
        ..Target::default()
    })
}

#[cfg(test)]
mod tests {
    use crate::engine::harness::{PROGRESS, ScriptHarness};

    #[test]
    fn branches_belong_to_requests() {
        let script = "reply_route { remove_branch(0); }\nrequest_route { exit; }";
        let mistakes = ScriptHarness::mistakes(&[], script);
        assert!(mistakes.contains("remove_branch"), "{mistakes}");
        assert_eq!(ScriptHarness::told(&[], "", "", "$branch(count)", PROGRESS), "<null>");
    }
}
