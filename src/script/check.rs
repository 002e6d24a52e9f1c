//! From the tree to a program: every name is looked up, every kind compared, every mistake reported in one run.
//!
//! ```text
//!  Ast ─► top level ─► routes declared ─► bodies checked and assembled ─► calls between routes ─► Program
//!         modules       names known        one pass                        kinds of route     unless an
//!         parameters                                                       unused routes      error was found
//! ```
//!
//! The files below this one hold the parts: `top_level`, `route` (blocks and statements), `switch`, `usage` (of routes
//! and functions), `expression`, `matching`, `constant`, `call`, `variable`, `absent` (modules that are not there).
//!
//! **Invariant:** what an expression is checked into leaves exactly one value on the stack, also after a mistake.

mod absent;
mod call;
mod constant;
mod expression;
mod matching;
mod route;
mod switch;
mod top_level;
mod usage;
mod variable;

use std::collections::HashSet;

use super::assembler::{Assembler, Jump};
use super::ast::{Ast, RouteKind, Span, Template};
use super::catalog::{Catalog, RouteSet};
use super::diagnostic::{self, Diagnostic};
use super::program::{CompiledTemplate, Instruction, Program, RouteId};
use super::source::SourceMap;
use super::template;

/// What checking a script gives.
#[derive(Debug)]
pub struct Checked {
    /// The program, unless there was an error.
    pub program: Option<Program>,
    /// All that is to be said, in the order of the script.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks a script against a catalog, which is filled on the way.
pub fn check(ast: &Ast, source: &SourceMap, catalog: &mut dyn Catalog) -> Checked {
    let mut checker = Checker::new(catalog, Some(source), &ast.defines);
    checker.top_level(&ast.items);
    checker.routes(&ast.items);
    checker.report_absent_modules();
    let Checker { mut program, assembler, mut diagnostics, .. } = checker;
    program.code = assembler.finish();
    diagnostic::sort(&mut diagnostics, source);
    let is_usable = !diagnostics.iter().any(Diagnostic::is_error);
    Checked { program: is_usable.then_some(program), diagnostics }
}

/// Checks text with variables that stands outside of any route, such as a parameter of a module.
pub fn compile_template(
    bytes: &[u8],
    catalog: &mut dyn Catalog,
) -> Result<CompiledTemplate, Vec<Diagnostic>> {
    compile_template_as(bytes, catalog, |checker, parsed| checker.template(parsed))
}

/// The same for text that goes to the log: the values of variables are made visible.
pub fn compile_shown_template(
    bytes: &[u8],
    catalog: &mut dyn Catalog,
) -> Result<CompiledTemplate, Vec<Diagnostic>> {
    compile_template_as(bytes, catalog, |checker, parsed| checker.shown_template(parsed))
}

fn compile_template_as(
    bytes: &[u8],
    catalog: &mut dyn Catalog,
    put_together: fn(&mut Checker<'_>, &Template),
) -> Result<CompiledTemplate, Vec<Diagnostic>> {
    let mut checker = Checker::new(catalog, None, &[]);
    let parsed = template::parse_template(bytes, Span::default(), &mut checker.diagnostics);
    put_together(&mut checker, &parsed);
    checker.assembler.emit(Instruction::Finish);
    match checker.diagnostics.iter().any(Diagnostic::is_error) {
        true => Err(checker.diagnostics),
        false => Ok(CompiledTemplate { code: checker.assembler.finish() }),
    }
}

/// How deep statements and expressions may nest.
pub(super) const NESTING_MAX: u32 = 200;

/// All that is known while a script is checked.
pub(super) struct Checker<'c> {
    pub(super) catalog: &'c mut dyn Catalog,
    pub(super) source: Option<&'c SourceMap>,
    pub(super) defines: &'c [(String, Option<String>)],
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) program: Program,
    pub(super) assembler: Assembler,
    pub(super) nesting: u32,
    /// The route whose body is being checked.
    pub(super) route: Option<RouteId>,
    /// Around the statement being checked, the innermost last.
    pub(super) breakables: Vec<Breakable>,
    pub(super) usage: Usage,
    /// Modules that are known and not here.
    pub(super) absent: Vec<AbsentModule>,
    /// Delegations whose success is not followed by `drop` so far.
    pub(super) open_delegations: Vec<Diagnostic>,
}

/// A module that is known and not here: one mistake, whatever of it is used.
#[derive(Debug)]
pub(super) struct AbsentModule {
    pub(super) name: String,
    /// The first mention and what is said about it.
    pub(super) diagnostic: Diagnostic,
    pub(super) parameter_count: u32,
    pub(super) call_count: u32,
    pub(super) variable_count: u32,
}

/// Something that `break` leaves.
#[derive(Debug, Default)]
pub(super) struct Breakable {
    pub(super) breaks: Vec<Jump>,
}

/// Which route calls which, judged when all routes are known.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Calls of routes by name: from, to.
    pub(super) route_calls: Vec<(RouteId, RouteId)>,
    /// Routes that are called.
    pub(super) named: HashSet<RouteId>,
    /// Kinds of which some route is chosen by a computed name.
    pub(super) computed_kinds: HashSet<RouteKind>,
    /// Routes that call a route by a computed name.
    pub(super) computed_callers: HashSet<RouteId>,
    /// Calls of functions that may not stand everywhere.
    pub(super) function_calls: Vec<FunctionUse>,
}

/// A call of a function, and where it stands.
#[derive(Debug)]
pub(super) struct FunctionUse {
    pub(super) route: RouteId,
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) allowed: RouteSet,
}

impl<'c> Checker<'c> {
    fn new(
        catalog: &'c mut dyn Catalog,
        source: Option<&'c SourceMap>,
        defines: &'c [(String, Option<String>)],
    ) -> Checker<'c> {
        Checker {
            catalog,
            source,
            defines,
            diagnostics: Vec::new(),
            program: Program::default(),
            assembler: Assembler::default(),
            nesting: 0,
            route: None,
            breakables: Vec::new(),
            usage: Usage::default(),
            absent: Vec::new(),
            open_delegations: Vec::new(),
        }
    }

    /// Reports an error.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    /// Reports an error and what would help.
    pub(super) fn error_with_help(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.diagnostics.push(Diagnostic::error(span, message).with_help(help));
    }

    /// Reports what the catalog complains about.
    pub(super) fn refuse(&mut self, span: Span, mistake: Diagnostic) {
        self.diagnostics.push(mistake.at(span));
    }

    /// Reports something odd.
    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, help: Option<&str>) {
        let mut diagnostic = Diagnostic::warning(span, message);
        diagnostic.help = help.map(str::to_owned);
        self.diagnostics.push(diagnostic);
    }

    /// The kind of the route whose body is being checked.
    pub(super) fn route_kind(&self) -> Option<RouteKind> {
        self.route.map(|route| self.program.describe(route).0)
    }

    /// Appends an instruction.
    pub(super) fn emit(&mut self, instruction: Instruction) {
        self.assembler.emit(instruction);
    }

    /// What follows comes from the line of this span.
    pub(super) fn mark_line(&mut self, span: Span) {
        let Some(source) = self.source else { return };
        if let Some((file, line)) = source.file_line(span) {
            self.assembler.line(file, line, source.file_name(file));
        }
    }

    /// Checks something that may hold more of its own kind, unless it is nested too deeply.
    pub(super) fn nested<R>(&mut self, span: Span, check: impl FnOnce(&mut Self) -> R) -> Option<R> {
        if self.nesting >= NESTING_MAX {
            self.error(span, format!("this is nested more than {NESTING_MAX} levels deep"));
            return None;
        }
        self.nesting += 1;
        let result = check(self);
        self.nesting -= 1;
        Some(result)
    }
}
