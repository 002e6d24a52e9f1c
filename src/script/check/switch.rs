//! Switches: labels are constants of one kind, each stands once, and the default takes what failed.

use std::collections::HashMap;

use super::constant::FoldedConstant;
use super::expression::{Codes, StaticType};
use super::{Breakable, Checker};
use crate::script::ast::{Case, Expression, Label, Span};
use crate::script::diagnostic::Diagnostic;
use crate::script::pattern::LetterCase;
use crate::script::program::{Instruction, Labels, SwitchTable, TextLabel};

impl Checker<'_> {
    pub(super) fn switch(&mut self, span: Span, subject: &Expression, cases: &[Case]) {
        if cases.is_empty() {
            self.warn(span, "this switch has no case", None);
        }
        let begin = self.assembler.jump(Instruction::Begin);
        let labels = self.labels(cases);
        match labels.texts.is_empty() {
            true => self.integer_expression(subject),
            false => self.expression(subject, Codes::Truth),
        };
        let table = self.assembler.switch(SwitchTable { labels: Labels::Integers(Vec::new()), otherwise: 0 });
        self.emit(Instruction::Switch(table));
        self.breakables.push(Breakable::default());
        let mut targets = Vec::with_capacity(cases.len());
        for (index, case) in cases.iter().enumerate() {
            targets.push(self.assembler.here());
            // Labels that follow each other share a body; only the last one may be without.
            if !case.body.is_empty() || index + 1 == cases.len() {
                self.statements(&case.body);
            }
        }
        let fell_out = self.assembler.jump(Instruction::Jump);
        let unmatched = self.assembler.here();
        self.emit(Instruction::Succeed);
        self.assembler.land(fell_out);
        self.land_breaks();
        let default = cases.iter().position(|case| case.label == Label::Default).map(|index| targets[index]);
        // A subject that could not be evaluated takes the default; without one the statement has failed.
        let end = self.assembler.here();
        self.assembler.aim(begin, default.unwrap_or(end));
        *self.assembler.switch_mut(table) =
            SwitchTable { labels: labels.with_targets(&targets), otherwise: default.unwrap_or(unmatched) };
    }

    /// All labels; they must be of one kind.
    fn labels(&mut self, cases: &[Case]) -> PlainLabels {
        let mut labels = PlainLabels::default();
        let mut seen: HashMap<FoldedConstant, Span> = HashMap::new();
        let mut first_default: Option<Span> = None;
        for (index, case) in cases.iter().enumerate() {
            let constant = match &case.label {
                Label::Default => {
                    if let Some(first) = first_default.replace(case.span) {
                        let diagnostic = Diagnostic::error(case.span, "this switch has a second default");
                        self.diagnostics.push(diagnostic.with_note(first, "the first one is here"));
                    }
                    continue;
                }
                Label::Regex(text) => {
                    if let Some(regex) = self.regex(&text.bytes, text.span, LetterCase::Kept) {
                        labels.texts.push((TextLabel::Matching(regex), index));
                    }
                    labels.note_kind(StaticType::Text);
                    self.compare_label_kinds(&labels, text.span);
                    continue;
                }
                Label::Value(expression) => match self.constant(expression) {
                    Some(constant) => constant,
                    None => {
                        self.error(expression.span, "a case needs a constant: a number, text, or /\"regex\"");
                        continue;
                    }
                },
            };
            if let Some(first) = seen.insert(constant.clone(), case.span) {
                let diagnostic = Diagnostic::warning(
                    case.span,
                    "this case is never reached, the same label is used above",
                );
                self.diagnostics.push(diagnostic.with_note(first, "it is here"));
            }
            match constant {
                FoldedConstant::Integer(number) => {
                    labels.integers.push((number, index));
                    labels.note_kind(StaticType::Integer);
                }
                FoldedConstant::Text(bytes) => {
                    let stretch = self.assembler.text(&bytes);
                    labels.texts.push((TextLabel::Exactly(stretch), index));
                    labels.note_kind(StaticType::Text);
                }
            }
            self.compare_label_kinds(&labels, case.span);
        }
        labels
    }

    fn compare_label_kinds(&mut self, labels: &PlainLabels, span: Span) {
        if labels.is_newly_mixed {
            self.error(span, "the cases of a switch are all numbers or all text, here they are mixed");
        }
    }
}

/// Labels before the places of their bodies are known.
#[derive(Default)]
struct PlainLabels {
    integers: Vec<(i64, usize)>,
    texts: Vec<(TextLabel, usize)>,
    kind: Option<StaticType>,
    is_mixed: bool,
    is_newly_mixed: bool,
}

impl PlainLabels {
    fn note_kind(&mut self, kind: StaticType) {
        let differs = *self.kind.get_or_insert(kind) != kind;
        self.is_newly_mixed = differs && !self.is_mixed;
        self.is_mixed |= differs;
    }

    fn with_targets(self, targets: &[u32]) -> Labels {
        if self.kind == Some(StaticType::Integer) {
            Labels::Integers(
                self.integers.into_iter().map(|(label, index)| (label, targets[index])).collect(),
            )
        } else {
            Labels::Texts(self.texts.into_iter().map(|(label, index)| (label, targets[index])).collect())
        }
    }
}
