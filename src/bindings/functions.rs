//! Functions of the core (`setflag`, `forward`, `rewriteuser`): what a row of their tables is.
//!
//! ```ignore
//! pub const FUNCTIONS: &[Function] = &[
//!     Function::new("setflag", "sets a message flag", &[ParameterKind::Prepared], set_flag).prepare(prepare_flag),
//!     Function::new("forward", "relays without state", &[], forward_to_request_uri).routes(RouteSet::REQUEST),
//! ];
//!
//! fn set_flag(context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome { … }
//! ```
//!
//! The checker reads the rows: a function gets arguments of the right number and kind and never re-checks them. A
//! function with optional arguments has one row per count. `ParameterKind::Prepared` arguments that are literals go
//! through `prepare` at load and arrive as `Argument::Prepared(number, text)`; computed ones arrive as
//! `Argument::Value`. Rows of modules are the same with the module first: [`super::module::ModuleFunction`].

use crate::script::catalog::{Advice, FunctionRow, ParameterKind, RouteSet};
use crate::script::diagnostic::Diagnostic;
use crate::script::host::{Argument, Outcome};

use super::preparation::Preparation;
use crate::routing::context::Context;
use crate::telemetry::log::Level;

pub mod branches;
pub mod flags;
pub mod general;
pub mod relay;
pub mod rewrite;

/// Every function of the core.
pub const TABLES: &[&[Function]] =
    &[relay::FUNCTIONS, rewrite::FUNCTIONS, flags::FUNCTIONS, branches::FUNCTIONS, general::FUNCTIONS];

/// Calls a function of the core.
pub type Call = fn(&mut Context<'_>, &[Argument<'_>]) -> Outcome;
/// Prepares the literal argument number `parameter` (from 0) of a function; `Ok(None)` leaves it as it stands.
pub type Prepare = fn(&mut Preparation<'_>, usize, &[u8]) -> Result<Option<u32>, Diagnostic>;

/// A row with what it does: of the core ([`Function`]), or of a module ([`super::module::ModuleFunction`]).
#[derive(Clone, Copy, Debug)]
pub struct FunctionEntry<C: 'static, P: 'static> {
    /// What the checker reads.
    pub row: FunctionRow,
    /// Prepares literals of kind `Prepared`.
    pub prepare: Option<P>,
    /// Does it.
    pub call: C,
}

/// A function of the core.
pub type Function = FunctionEntry<Call, Prepare>;

impl Function {
    /// A function that may stand in any route but `onsend_route`: there, of the core, only flags, log lines and what to
    /// do with the connection can still be asked for.
    pub const fn new(
        name: &'static str,
        documentation: &'static str,
        parameters: &'static [ParameterKind],
        call: Call,
    ) -> Function {
        let row = FunctionRow::new(name, documentation, parameters, RouteSet::BEFORE_SENDING);
        FunctionEntry { row, prepare: None, call }
    }
}

impl<C: Copy, P: Copy> FunctionEntry<C, P> {
    /// With other names.
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.row.aliases = aliases;
        self
    }

    /// Restricted to these routes.
    pub const fn routes(mut self, routes: RouteSet) -> Self {
        self.row.routes = routes;
        self
    }

    /// With advice for the author of a script. `Advice::Alias` makes this row an old or mistaken name.
    pub const fn advice(mut self, advice: Advice) -> Self {
        self.row.advice = advice;
        self
    }

    /// With one argument more behind the others: where it is called, as the line and the text of the file's name.
    pub const fn with_call_site(mut self) -> Self {
        self.row.has_call_site = true;
        self
    }

    /// Preparing its literal arguments.
    pub const fn prepare(mut self, prepare: P) -> Self {
        self.prepare = Some(prepare);
        self
    }
}

/// What a function gives back for something that may be refused; the reason goes to the log.
pub fn outcome(context: &Context<'_>, name: &str, done: Result<(), impl std::fmt::Display>) -> Outcome {
    match done {
        Ok(()) => Outcome::TRUE,
        Err(reason) => {
            context.log(Level::Error, format_args!("{name}: {reason}"));
            Outcome::FALSE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::harness::ScriptHarness;

    const REQUEST: &str = "MESSAGE sip:+4930:pw@127.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\n\
        Content-Length: 2\r\n\r\nhi";

    /// The Request-URI after a statement.
    fn check_uri(statement: &str, expected: &str) {
        let mut stage =
            ScriptHarness::new(&[], &format!("request_route {{ {statement}; log(2, \"<$ru>\"); }}"));
        stage.receive(REQUEST);
        let log = stage.log();
        assert!(log.contains(&format!("<{expected}>")), "{statement}: {log}");
    }

    #[test]
    fn the_request_uri_is_rewritten() {
        let rows = [
            ("rewriteuri(\"sip:x@y\")", "sip:x@y"),
            ("seturi(\"sip:$fU@y\")", "sip:a@y"),
            ("rewriteuser(\"al\")", "sip:al:pw@127.0.0.1:5070"),
            ("setu(\"al\")", "sip:al:pw@127.0.0.1:5070"),
            ("setuserpass(\"al:x\")", "sip:al:x@127.0.0.1:5070"),
            ("sethost(\"h.com\")", "sip:+4930:pw@h.com:5070"),
            ("sethostport(\"h.com\")", "sip:+4930:pw@h.com"),
            ("rewritehostport(\"h.com:99\")", "sip:+4930:pw@h.com:99"),
            ("sethpt(\"h.com:99;transport=udp\")", "sip:+4930:pw@h.com:99;transport=udp"),
            ("setport(\"99\")", "sip:+4930:pw@127.0.0.1:99"),
            ("setp(\"\")", "sip:+4930:pw@127.0.0.1"),
            ("prefix(\"0\")", "sip:0+4930:pw@127.0.0.1:5070"),
            ("strip(3)", "sip:30:pw@127.0.0.1:5070"),
            ("strip(99)", "sip:127.0.0.1:5070"),
            ("strip(-1)", "sip:+4930:pw@127.0.0.1:5070"),
            ("strip_tail(2)", "sip:+49:pw@127.0.0.1:5070"),
            ("userphone()", "sip:+4930:pw@127.0.0.1:5070;user=phone"),
            ("prefix(\"0\"); revert_uri()", "sip:+4930:pw@127.0.0.1:5070"),
            ("sethost(\"a b\")", "sip:+4930:pw@127.0.0.1:5070"),
            ("setport(\"x\")", "sip:+4930:pw@127.0.0.1:5070"),
        ];
        for (statement, expected) in rows {
            check_uri(statement, expected);
        }
    }

    #[test]
    fn flags_are_set_tested_and_named() {
        let script = "flags caller:7\nrequest_route {\n\
            setflag(caller); if (isflagset(7)) { log(2, \"<a $mf>\"); }\n\
            resetflag(\"caller\"); if (!isflagset(7)) { log(2, \"<b $mf>\"); } }";
        let mut stage = ScriptHarness::new(&[], script);
        stage.receive(REQUEST);
        let log = stage.log();
        assert!(log.contains("<a 128>") && log.contains("<b 0>"), "{log}");
    }

    #[test]
    fn what_is_refused_is_refused_before_it_runs() {
        let rows = [
            ("exec(\"rm -rf /\")", "exec() cannot be used"),
            ("error(\"a\", \"b\")", "error() cannot be used"),
            ("forward_tls(\"127.0.0.1\", \"5061\")", "streams are not supported yet"),
            ("log(\"L_LOUD\", \"x\")", "unknown log level \"L_LOUD\""),
            ("setflag(32)", "flag 32 is out of range"),
        ];
        for (statement, expected) in rows {
            let mistakes = ScriptHarness::mistakes(&[], &format!("request_route {{ {statement}; }}"));
            assert!(mistakes.contains(expected), "{statement}: {mistakes}");
        }
    }

    #[test]
    fn every_row_is_documented_and_no_name_has_two_rows_of_one_size() {
        let mut keys = Vec::new();
        for row in TABLES.iter().copied().flatten().map(|entry| entry.row) {
            assert!(!row.documentation.is_empty() && !row.documentation.ends_with('.'), "{}", row.name);
            keys.extend(row.names().map(|name| (name, row.parameters.len())));
        }
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
