//! What is known only when all routes are: which are never called, and which functions stand where they may not.

use std::collections::HashSet;

use super::route::{identity, route_title};
use super::{Checker, FunctionUse};
use crate::script::ast::{Route, RouteKind};
use crate::script::diagnostic::Diagnostic;
use crate::script::program::RouteId;

impl Checker<'_> {
    pub(super) fn judge_usage(&mut self, routes: &[&Route]) {
        self.judge_function_calls();
        let mut judged = HashSet::new();
        for route in routes {
            let (kind, name) = identity(route);
            let Some(id) = self.program.route(kind, name.as_bytes()) else { continue };
            if !judged.insert(id) {
                continue;
            }
            let is_called = self.usage.named.contains(&id) || self.usage.computed_kinds.contains(&kind);
            let has_caller = matches!(
                kind,
                RouteKind::Named | RouteKind::Failure | RouteKind::Branch | RouteKind::OnReply
            );
            if let Some(span) = route.name.as_ref().map(|name| name.span)
                && has_caller
                && !is_called
            {
                let message = format!("nothing in this script calls {}", route_title(kind, name));
                self.diagnostics.push(Diagnostic::notice(span, message));
            }
        }
    }

    fn judge_function_calls(&mut self) {
        let uses = std::mem::take(&mut self.usage.function_calls);
        let reaching = self.reaching_kinds();
        for function_use in uses {
            let (kind, name) = self.program.describe(function_use.route);
            let kinds = &reaching[function_use.route.0 as usize];
            let is_allowed = match kind {
                RouteKind::Named => {
                    function_use.allowed.contains(RouteKind::Named)
                        || kinds.iter().any(|kind| function_use.allowed.contains(*kind))
                }
                _ => function_use.allowed.contains(kind),
            };
            if !is_allowed {
                let message =
                    format!("{}() cannot be used in {}", function_use.name, route_title(kind, name));
                let help = format!("it can be used in {}", kinds_in_words(&function_use));
                self.error_with_help(function_use.span, message, help);
            }
        }
    }

    /// For every route, the kinds of the routes from which it can be reached through calls.
    fn reaching_kinds(&self) -> Vec<HashSet<RouteKind>> {
        let mut reaching = vec![HashSet::new(); self.program.route_count()];
        for index in 0..reaching.len() as u32 {
            let (kind, _) = self.program.describe(RouteId(index));
            if kind != RouteKind::Named {
                for reached in self.reached_from(RouteId(index)) {
                    reaching[reached.0 as usize].insert(kind);
                }
            }
        }
        reaching
    }

    fn reached_from(&self, start: RouteId) -> HashSet<RouteId> {
        let mut reached = HashSet::from([start]);
        let mut open = vec![start];
        while let Some(from) = open.pop() {
            let calls = self
                .usage
                .route_calls
                .iter()
                .filter(|(caller, _)| *caller == from)
                .map(|(_, called)| *called);
            let mut next: Vec<RouteId> = calls.collect();
            if self.usage.computed_callers.contains(&from) {
                let all = (0..self.program.route_count() as u32).map(RouteId);
                next.extend(all.filter(|id| self.program.describe(*id).0 == RouteKind::Named));
            }
            open.extend(next.into_iter().filter(|id| reached.insert(*id)));
        }
        reached
    }
}

fn kinds_in_words(function_use: &FunctionUse) -> String {
    let allowed = RouteKind::ALL.into_iter().filter(|kind| function_use.allowed.contains(*kind));
    allowed.map(RouteKind::word).collect::<Vec<_>>().join(", ")
}
