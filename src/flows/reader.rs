//! What reading a flow file needs everywhere: the file, the names known so far, and the errors found so far.

use super::outline::{OutlineItem, dedented, span};
use super::placeholder::{NameScope, PlaceholderText};
use super::steps::text_of;
use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;

pub(super) struct Reader<'s> {
    pub file: &'s str,
    pub scope: NameScope,
    pub diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// A text with placeholders that stands in the file.
    pub fn text(&mut self, at: Span) -> PlaceholderText {
        PlaceholderText::parse(text_of(self.file, at), at.start as usize, &self.scope, &mut self.diagnostics)
    }

    /// The lines below an item, without the white space they have in common.
    pub fn lines(&mut self, item: &OutlineItem<'_>) -> Vec<PlaceholderText> {
        let lines = dedented(&item.block);
        lines.iter().map(|line| self.text(span(line.start, line.text.len()))).collect()
    }
}
