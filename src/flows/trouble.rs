//! Why a flow does not go on.

use std::io;

use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;
use crate::sys::signal::Signal;

/// Why a flow does not go on.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A step was not met.
    Unmet(Box<Diagnostic>),
    /// A signal ended the run.
    Interrupted(Signal),
    /// The system refused something.
    System(String),
}

impl Trouble {
    /// The system's refusal of a step of ours.
    pub fn system(what: &str, error: &io::Error) -> Trouble {
        Trouble::System(format!("could not {what}: {error}"))
    }

    /// A step that was not met, at its place.
    pub fn unmet(span: Span, message: impl Into<String>) -> Trouble {
        Trouble::Unmet(Box::new(Diagnostic::error(span, message)))
    }
}
