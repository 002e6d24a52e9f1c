//! Modules, parameters and globals, in the order written.

use super::ast::{GlobalValue, GlobalValueKind, Item, ItemKind, Piece, Span, Text};
use super::catalog::{Complaint, Constant, Remark};
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::template;

impl Checker<'_> {
    pub(super) fn top_level(&mut self, items: &[Item]) {
        for item in items {
            self.item(item);
        }
        for complaint in self.catalog.finish_top_level() {
            self.refuse(Span::default(), complaint);
        }
    }

    fn item(&mut self, item: &Item) {
        match &item.kind {
            ItemKind::LoadModule { path, evaluated, .. } => self.load_module(path, *evaluated),
            ItemKind::LoadPath(path) => {
                let value = Constant::Text(path.bytes.clone());
                let result = self.catalog.set_global("loadpath", &value);
                self.settle(item.span, result);
            }
            ItemKind::ModuleParameter { modules, name, value, evaluated } => {
                let value = if *evaluated { self.evaluated_constant(value) } else { Some(constant(value)) };
                let (modules, name) = (text_of(modules), text_of(name));
                let Some(value) = value else { return };
                let result = self.catalog.set_module_parameter(&modules, &name, &value);
                self.settle(item.span, result);
            }
            ItemKind::Global { name, value } => {
                let result = self.catalog.set_global(&name.text, &constant(value));
                self.settle(item.span, result);
            }
            ItemKind::Custom { group, name, value, .. } => {
                let result = self.catalog.set_custom(&group.text, &name.text, &constant(value));
                self.settle(item.span, result.map(|()| None));
            }
            ItemKind::Route(_) => {}
        }
    }

    fn load_module(&mut self, path: &Text, is_evaluated: bool) {
        let name = if is_evaluated { self.evaluated_text(path) } else { Some(text_of(path)) };
        let Some(name) = name else { return };
        let result = self.catalog.load_module(&name);
        self.settle(path.span, result);
    }

    fn settle(&mut self, span: Span, result: Result<Option<Remark>, Complaint>) {
        match result {
            Ok(None) => {}
            Ok(Some(Remark(message))) => self.diagnostics.push(Diagnostic::notice(span, message)),
            Err(complaint) => self.refuse(span, complaint),
        }
    }

    fn evaluated_constant(&mut self, value: &GlobalValue) -> Option<Constant> {
        match &value.kind {
            GlobalValueKind::Text(text) => Some(Constant::Text(self.evaluated_text(text)?.into_bytes())),
            _ => Some(constant(value)),
        }
    }

    /// Text with the variables that have a value before anything runs, the defines, replaced.
    fn evaluated_text(&mut self, text: &Text) -> Option<String> {
        let parsed = template::parse_template(&text.bytes, text.span, &mut self.diagnostics);
        let mut evaluated = Vec::new();
        for piece in &parsed.pieces {
            match piece {
                Piece::Literal(bytes) => evaluated.extend_from_slice(bytes),
                Piece::Variable(variable) => match self.define_value(variable) {
                    Some(value) => evaluated.extend_from_slice(value.unwrap_or_default().as_bytes()),
                    None => {
                        let message =
                            format!("${} has no value when the script is loaded", variable.name.text);
                        self.error_with_help(
                            variable.span,
                            message,
                            "only $def(NAME) and its kin can stand here",
                        );
                        return None;
                    }
                },
            }
        }
        Some(String::from_utf8_lossy(&evaluated).into_owned())
    }
}

fn text_of(text: &Text) -> String {
    String::from_utf8_lossy(&text.bytes).into_owned()
}

/// A value at top level, typed.
fn constant(value: &GlobalValue) -> Constant {
    match &value.kind {
        GlobalValueKind::Number(number) => Constant::Number(*number),
        GlobalValueKind::Text(text) => Constant::Text(text.bytes.clone()),
        GlobalValueKind::Word(word) => match word.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" | "enable" | "enabled" => Constant::Number(1),
            "no" | "off" | "false" | "disable" | "disabled" => Constant::Number(0),
            _ => Constant::Word(word.clone()),
        },
        GlobalValueKind::Socket(socket) => Constant::Socket(socket.clone()),
        GlobalValueKind::List(values) => Constant::List(values.iter().map(constant).collect()),
        GlobalValueKind::Fields(fields) => Constant::Fields(
            fields.iter().map(|(name, value)| (name.text.clone(), constant(value))).collect(),
        ),
    }
}
