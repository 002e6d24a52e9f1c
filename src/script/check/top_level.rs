//! Modules, parameters and globals, in the order written.

use super::Checker;
use super::variable::literal;
use crate::script::ast::{GlobalValue, GlobalValueKind, Item, ItemKind, Name, Piece, Span, Text, Variable};
use crate::script::catalog::{Constant, ParameterFault, Refused, Subject};
use crate::script::diagnostic::Diagnostic;
use crate::script::template;

impl Checker<'_> {
    pub(super) fn top_level(&mut self, items: &[Item]) {
        for item in items {
            self.item(item);
        }
        for (about, diagnostic) in self.catalog.finish_top_level() {
            self.diagnostics.push(diagnostic.at(self.place_of(&about, items)));
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
                let value_of =
                    if *evaluated { self.evaluated_constant(value) } else { Some(constant(value)) };
                let Some(constant) = value_of else { return };
                self.module_parameter(item.span, modules, name, value, &constant);
            }
            ItemKind::Global { name, value } => self.global(item.span, name, value),
            ItemKind::Custom { group, name, value, description } => {
                let told = description.as_ref().map(|text| String::from_utf8_lossy(&text.bytes));
                let (value, told) = (constant(value), told.unwrap_or_default());
                let result = self.catalog.set_custom(&group.text, &name.text, &value, &told);
                self.settle(item.span, result.map(|()| None));
            }
            ItemKind::Route(_) => {}
        }
    }

    fn load_module(&mut self, path: &Text, is_evaluated: bool) {
        let name = if is_evaluated { self.evaluated_text(path) } else { Some(text_of(path)) };
        let Some(name) = name else { return };
        match self.catalog.load_module(&name) {
            Err(mistake) if self.is_absent(Refused::Module(&name), path.span, &mistake) => {}
            result => self.settle(path.span, result),
        }
    }

    fn module_parameter(
        &mut self,
        span: Span,
        modules: &Text,
        name: &Text,
        value: &GlobalValue,
        constant: &Constant,
    ) {
        let (pattern, parameter) = (text_of(modules), text_of(name));
        let result = self.catalog.set_module_parameter(&pattern, &parameter, constant);
        let Err(mistake) = result else { return self.settle(span, result) };
        if self.is_absent(Refused::ModulePattern(&pattern), span, &mistake) {
            return;
        }
        let at_fault = match self.catalog.fault_in_parameter(&pattern, &parameter) {
            ParameterFault::Module => modules.span,
            ParameterFault::Name => name.span,
            ParameterFault::Value => value.span,
        };
        self.refuse(at_fault, mistake);
    }

    fn global(&mut self, span: Span, name: &Name, value: &GlobalValue) {
        let result = self.catalog.set_global(&name.text, &constant(value));
        let is_told = match &value.kind {
            GlobalValueKind::Text(text) => self.tell_findings(&name.text, text),
            _ => false,
        };
        match (&result, &value.kind) {
            (Err(_), _) if is_told => {}
            (Err(_), GlobalValueKind::Text(text)) => {
                let part = self.mistake_in(&name.text, text);
                self.settle(part.unwrap_or(self.global_at_fault(name, value)), result);
            }
            (Err(_), _) => self.settle(self.global_at_fault(name, value), result),
            (Ok(_), _) => self.settle(span, result),
        }
    }

    /// Says what there is to say about parts of a text; whether a mistake is among that.
    fn tell_findings(&mut self, name: &str, text: &Text) -> bool {
        let findings = self.catalog.findings_in_global(name, &text.bytes);
        let has_mistake = findings.iter().any(|(_, diagnostic)| diagnostic.is_error());
        for (part, diagnostic) in findings {
            let place = self.source.and_then(|source| template::part_of_text(text, source, part));
            self.diagnostics.push(diagnostic.at(place.unwrap_or(text.span)));
        }
        has_mistake
    }

    fn global_at_fault(&self, name: &Name, value: &GlobalValue) -> Span {
        if self.catalog.is_global(&name.text) { value.span } else { name.span }
    }

    /// The place inside a text at which a global parameter found its mistake.
    fn mistake_in(&self, name: &str, text: &Text) -> Option<Span> {
        let range = self.catalog.mistake_in_global(name, &text.bytes)?;
        template::part_of_text(text, self.source?, range)
    }

    fn settle(&mut self, span: Span, result: Result<Option<Diagnostic>, Diagnostic>) {
        let said = result.unwrap_or_else(Some);
        self.diagnostics.extend(said.map(|diagnostic| diagnostic.at(span)));
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
                Piece::Variable(variable) => match self.value_at_load(variable) {
                    Some(value) => evaluated.extend_from_slice(&value),
                    None => {
                        let message =
                            format!("${} has no value when the script is loaded", variable.name.text);
                        self.error_with_help(
                            variable.span,
                            message,
                            "only $def(NAME) and its kin and $env(NAME) are allowed here",
                        );
                        return None;
                    }
                },
            }
        }
        Some(String::from_utf8_lossy(&evaluated).into_owned())
    }
}

impl Checker<'_> {
    fn value_at_load(&self, variable: &Variable) -> Option<Vec<u8>> {
        if let Some(defined) = self.define_value(variable) {
            return Some(defined.unwrap_or_default().into_bytes());
        }
        let key = variable.key.as_ref().and_then(literal)?;
        self.catalog.value_at_load(&variable.name.text, &key)
    }
}

impl Checker<'_> {
    fn place_of(&self, about: &Subject, items: &[Item]) -> Span {
        let place = match about {
            Subject::Option { option, part } => {
                self.source.and_then(|source| source.option_span(option, part.clone()))
            }
            Subject::PartOfGlobal { name, text, part } => {
                items.iter().rev().find_map(|item| match &item.kind {
                    ItemKind::Global {
                        name: set,
                        value: GlobalValue { kind: GlobalValueKind::Text(written), .. },
                    } if set.text == *name && written.bytes == *text => {
                        template::part_of_text(written, self.source?, part.clone()).or(Some(written.span))
                    }
                    _ => None,
                })
            }
            _ => None,
        };
        place.unwrap_or_else(|| statement_about(about, items))
    }
}

/// The statement that a late mistake is about.
fn statement_about(about: &Subject, items: &[Item]) -> Span {
    let is_it = |item: &&Item| match (about, &item.kind) {
        (Subject::Module(module), ItemKind::LoadModule { path, .. }) => {
            let path = text_of(path);
            let file = path.rsplit('/').next().unwrap_or(&path);
            file.strip_suffix(".so").unwrap_or(file) == module
        }
        (Subject::Parameter { module, name }, ItemKind::ModuleParameter { modules, name: set, .. }) => {
            text_of(set) == *name && is_among(module, &text_of(modules))
        }
        (Subject::Global(name), ItemKind::Global { name: set, .. }) => set.text == *name,
        _ => false,
    };
    items.iter().rev().find(is_it).map_or(Span::default(), |item| match &item.kind {
        ItemKind::ModuleParameter { value, .. } => value.span,
        ItemKind::LoadModule { path, .. } => path.span,
        _ => item.span,
    })
}

/// Whether `m1|m2` names a module; any other pattern may.
fn is_among(module: &str, pattern: &str) -> bool {
    pattern.split('|').any(|one| one == module) || pattern.contains(['*', '.', '[', '('])
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
