//! What a script is read with: what the command line defines, and where includes come from.

use super::ast::Span;
use super::source::{Loader, NoIncludes};

/// A define that the command line gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenDefine {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Where it is given; nowhere is the default.
    pub written_at: Span,
}

/// What a script is read with.
#[derive(Clone)]
pub struct ParseOptions<'o> {
    /// Defines of the command line.
    pub defines: Vec<GivenDefine>,
    /// Substitutions of the command line, `/pattern/replacement/flags`, and where each is written.
    pub substitutions: Vec<(String, Span)>,
    /// The environment, for `#!defenv`.
    pub environment: Vec<(String, String)>,
    /// Reads included files.
    pub loader: &'o dyn Loader,
}

impl Default for ParseOptions<'_> {
    fn default() -> Self {
        ParseOptions {
            defines: Vec::new(),
            substitutions: Vec::new(),
            environment: Vec::new(),
            loader: &NoIncludes,
        }
    }
}

impl ParseOptions<'_> {
    /// Adds a define as the command line gives it: `NAME` or `NAME=value`.
    pub fn define(&mut self, argument: &str) {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (argument, None),
        };
        self.defines.retain(|known| known.name != name);
        self.defines.push(GivenDefine { name: name.to_string(), value, written_at: Span::default() });
    }
}
