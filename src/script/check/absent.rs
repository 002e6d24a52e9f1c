//! Modules that are known and not supported yet: each is reported once, where it is first mentioned, with what stays
//! unchecked.
//!
//! A script written for a larger server loads twenty modules that this one does not have and calls their functions in a
//! hundred places. That is twenty mistakes, not a hundred and twenty: calls, variables and parameters that belong to
//! such a module are counted and passed over. What stands in their arguments is checked as everywhere.

use super::variable::literal;
use super::{AbsentModule, Checker};
use crate::script::ast::{Call, ExpressionKind, RouteKind, Span};
use crate::script::catalog::Refused;
use crate::script::diagnostic::Diagnostic;
use crate::script::program::Instruction;

impl Checker<'_> {
    /// Whether a refused name belongs to modules that are not here; then that is counted, and reported once.
    pub(super) fn is_absent(&mut self, refused: Refused<'_>, span: Span, mistake: &Diagnostic) -> bool {
        let modules = self.catalog.absent_modules(refused);
        for module in &modules {
            let known = self.absent.iter().position(|absent| absent.name == *module);
            let index = known.unwrap_or_else(|| {
                self.absent.push(AbsentModule::new(module, span, mistake));
                self.absent.len() - 1
            });
            self.absent[index].count(refused);
        }
        !modules.is_empty()
    }

    /// A call of a function that is not here: its arguments are checked as text, and routes named in them are in use.
    pub(super) fn unchecked_call(&mut self, call: &Call) {
        for argument in &call.arguments {
            self.text_argument(argument);
            if let ExpressionKind::Text(text) = &argument.kind {
                let before = self.diagnostics.len();
                let name = literal(&self.parse_text(text));
                self.diagnostics.truncate(before);
                self.note_named_routes(&name.unwrap_or_default());
            }
        }
        self.emit(Instruction::Join(call.arguments.len() as u16));
        self.emit(Instruction::ToInteger);
    }

    fn note_named_routes(&mut self, name: &[u8]) {
        for kind in [RouteKind::Failure, RouteKind::Branch, RouteKind::OnReply, RouteKind::Named] {
            self.usage.named.extend(self.program.route(kind, name));
        }
    }

    /// What was counted becomes diagnostics.
    pub(super) fn report_absent_modules(&mut self) {
        let told = std::mem::take(&mut self.absent).into_iter().map(AbsentModule::into_diagnostic);
        self.diagnostics.extend(told);
    }
}

impl AbsentModule {
    fn new(name: &str, span: Span, mistake: &Diagnostic) -> AbsentModule {
        AbsentModule {
            name: name.to_owned(),
            diagnostic: mistake.clone().at(span),
            parameter_count: 0,
            call_count: 0,
            variable_count: 0,
        }
    }

    fn count(&mut self, refused: Refused<'_>) {
        match refused {
            Refused::Module(_) => {}
            Refused::ModulePattern(_) => self.parameter_count += 1,
            Refused::Function(_) => self.call_count += 1,
            Refused::Variable(_) => self.variable_count += 1,
        }
    }

    fn into_diagnostic(self) -> Diagnostic {
        let counted = [
            (self.call_count, "call of its functions", "calls of its functions"),
            (self.variable_count, "use of its variables", "uses of its variables"),
            (self.parameter_count, "parameter", "parameters"),
        ];
        let parts: Vec<String> = counted
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
            .collect();
        match parts.is_empty() {
            true => self.diagnostic,
            false => {
                let counted = parts.join(", ");
                self.diagnostic.with_remark(format!("unchecked without \"{}\": {counted}", self.name))
            }
        }
    }
}
