//! Variables, their keys, indexes and transformations, and text with variables in it.

use super::Checker;
use crate::script::ast::{Index, Piece, Template, Transformation, Variable};
use crate::script::catalog::{KeyShape, Refused};
use crate::script::program::{ARGUMENT_COUNT_MAX, Instruction, KeySource, PlaceShape, PositionShape};
use crate::script::value;

impl Checker<'_> {
    /// Reads a variable: leaves its value.
    pub(super) fn variable(&mut self, variable: &Variable) {
        let read = self.nested(variable.span, |checker| {
            if !checker.own_variable(variable) {
                checker.catalog_variable(variable);
            }
            for transformation in &variable.transformations {
                checker.transformation(transformation);
            }
        });
        if read.is_none() {
            self.nothing();
        }
    }

    /// Variables that the language answers itself: return codes, nothing, defines.
    fn own_variable(&mut self, variable: &Variable) -> bool {
        if is_return_code(&variable.name.text) {
            self.emit(Instruction::LastCode);
            return true;
        }
        if variable.name.text == "null" {
            self.emit(Instruction::Null);
            return true;
        }
        let Some(defined) = self.define_value(variable) else { return false };
        match defined {
            _ if variable.name.text == "defn" => {
                let number = defined.and_then(|text| value::parse_integer(text.trim().as_bytes()));
                self.emit(Instruction::Integer(number.unwrap_or(0)));
            }
            Some(text) => self.assembler.push_text(text.as_bytes()),
            None => self.emit(Instruction::Null),
        }
        true
    }

    /// What `$def(NAME)` and its kin stand for; `None` if it is another variable, `Some(None)` if not defined.
    pub(super) fn define_value(&self, variable: &Variable) -> Option<Option<String>> {
        let is_define = matches!(variable.name.text.as_str(), "def" | "defn" | "defv" | "defs");
        let name = variable.key.as_ref().filter(|_| is_define).and_then(literal)?;
        let defined = self.defines.iter().rev().find(|(defined, _)| defined.as_bytes() == name);
        let value = defined.map(|(_, value)| value.clone().unwrap_or_default());
        let keeps_quotes = variable.name.text == "def";
        Some(value.map(|text| if keeps_quotes { text } else { without_quotes(&text).to_owned() }))
    }

    fn catalog_variable(&mut self, variable: &Variable) {
        match self.shape(variable) {
            Some(shape) => {
                let number = self.assembler.place(shape);
                self.emit(Instruction::Read(number));
            }
            None => {
                self.nothing();
            }
        }
    }

    /// A place to be written, or to be handed to a function; leaves what it computes. `None` after a mistake, with
    /// nothing left on the stack.
    pub(super) fn place(&mut self, variable: &Variable, purpose: &str) -> Option<PlaceShape> {
        let name = &variable.name.text;
        if let Some(first) = variable.transformations.first() {
            self.error(first.span, format!("a variable with transformations cannot be {purpose}"));
            return None;
        }
        if is_return_code(name) || name == "null" || self.define_value(variable).is_some() {
            self.error(variable.span, format!("${name} can be read, not {purpose}"));
            return None;
        }
        self.shape(variable)
    }

    /// Key and index onto the stack, the rest into a shape. Nothing stays on the stack after an error.
    fn shape(&mut self, variable: &Variable) -> Option<PlaceShape> {
        let literal_key = counted_name(variable).or_else(|| variable.key.as_ref().and_then(literal));
        let key = match (&variable.key, &literal_key) {
            (None, _) => KeyShape::None,
            (Some(_), Some(bytes)) => KeyShape::Literal(bytes),
            (Some(_), None) => KeyShape::Computed,
        };
        let handle = match self.catalog.variable(&variable.name.text, key) {
            Ok(handle) => handle,
            Err(mistake) => {
                if !self.is_absent(Refused::Variable(&variable.name.text), variable.span, &mistake) {
                    self.refuse(variable.span, mistake);
                }
                return None;
            }
        };
        let key = match (&variable.key, &literal_key) {
            (Some(key), None) => {
                self.template(key);
                KeySource::Computed
            }
            (Some(_), Some(bytes)) if handle.slot == 0 => KeySource::Literal(self.assembler.text(bytes)),
            _ => KeySource::Handle,
        };
        let position = match &variable.index {
            None => PositionShape::Unset,
            Some(Index::Number(index)) => PositionShape::At(*index),
            Some(Index::All) => PositionShape::All,
            Some(Index::Variable(index)) => {
                self.variable(index);
                PositionShape::Computed
            }
        };
        Some(PlaceShape { variable: handle, key, position })
    }

    fn transformation(&mut self, transformation: &Transformation) {
        let count = transformation.arguments.len();
        if count > ARGUMENT_COUNT_MAX {
            self.error(transformation.span, format!("more than {ARGUMENT_COUNT_MAX} arguments"));
            return;
        }
        match self.catalog.transformation(&transformation.name.text, count) {
            Ok(id) => {
                for argument in &transformation.arguments {
                    self.loose_template(argument);
                }
                self.emit(Instruction::Transform(id, count as u16));
            }
            Err(mistake) => self.refuse(transformation.name.span, mistake),
        }
    }

    /// Text with variables: leaves text; nothing is written `<null>`, and empty where a transformation yields it.
    pub(super) fn template(&mut self, template: &Template) {
        self.joined(template, Values::AsTheyAre);
    }

    /// The same for header lines: the value of a variable after a colon cannot start a line of its own.
    pub(super) fn lines_template(&mut self, template: &Template) {
        self.joined(template, Values::WithinTheirLine);
    }

    /// The same for the log: the values of variables are made visible.
    pub(super) fn shown_template(&mut self, template: &Template) {
        self.joined(template, Values::Shown);
    }

    fn joined(&mut self, template: &Template, values: Values) {
        if let Some(text) = literal(template) {
            self.assembler.push_text(&text);
            return;
        }
        let mut count: u16 = 0;
        let mut is_behind_colon = false;
        for (index, piece) in template.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(bytes) => {
                    self.assembler.push_text(bytes);
                    is_behind_colon = ends_behind_colon(bytes, is_behind_colon);
                }
                Piece::Variable(variable) => {
                    self.variable_in_text(variable);
                    match values {
                        Values::WithinTheirLine if is_behind_colon => self.emit(Instruction::OneLine),
                        Values::Shown if !is_colour(variable) => {
                            let is_last = index + 1 == template.pieces.len();
                            self.emit(if is_last { Instruction::ShownLast } else { Instruction::Shown });
                        }
                        _ => {}
                    }
                }
            }
            count += 1;
            // Long templates are joined in portions; the sum of the portions is the same text.
            if count == JOINED_MAX {
                self.emit(Instruction::Join(count));
                count = 1;
            }
        }
        self.emit(Instruction::Join(count));
    }

    fn variable_in_text(&mut self, variable: &Variable) {
        self.variable(variable);
        if !variable.transformations.is_empty() {
            self.emit(Instruction::ToText);
        }
    }

    /// The same, but a variable alone keeps the kind of its value.
    pub(super) fn loose_template(&mut self, template: &Template) {
        match template.pieces.as_slice() {
            [Piece::Variable(variable)] => self.variable(variable),
            _ => self.template(template),
        }
    }
}

/// What may come of the values of variables in a template.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    AsTheyAre,
    WithinTheirLine,
    Shown,
}

/// `$C(xy)`, whose codes are meant for the terminal.
fn is_colour(variable: &Variable) -> bool {
    variable.name.text == "C" && variable.transformations.is_empty()
}

/// Whether the line that this text ends in has a colon; `before` says so of what stands before the text.
fn ends_behind_colon(bytes: &[u8], before: bool) -> bool {
    let line_start = memchr::memrchr(b'\n', bytes).map(|at| at + 1);
    let line = &bytes[line_start.unwrap_or(0)..];
    line.contains(&b':') || (before && line_start.is_none())
}

/// Values joined by one instruction.
const JOINED_MAX: u16 = 256;

/// The text of a template without variables.
pub(super) fn literal(template: &Template) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for piece in &template.pieces {
        match piece {
            Piece::Literal(bytes) => text.extend_from_slice(bytes),
            Piece::Variable(_) => return None,
        }
    }
    Some(text)
}

/// The variable whose values `$cnt` counts: it is handed on by its name, and not read.
fn counted_name(variable: &Variable) -> Option<Vec<u8>> {
    let key = variable.key.as_ref().filter(|_| variable.name.text == "cnt")?;
    let [Piece::Variable(counted)] = key.pieces.as_slice() else { return None };
    let inner = counted.key.as_ref().and_then(literal).unwrap_or_default();
    Some([counted.name.text.as_bytes(), b"(", &inner, b")"].concat())
}

fn is_return_code(name: &str) -> bool {
    matches!(name, "rc" | "retcode" | "?")
}

fn without_quotes(text: &str) -> &str {
    let trimmed = text.trim();
    trimmed.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}
