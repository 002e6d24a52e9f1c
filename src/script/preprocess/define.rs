//! Directives that define and substitute: `#!define`, `#!defexp`, `#!defenv`, `#!subst` and their kin.

use std::sync::Arc;

use super::expression::{self, IfexpValue};
use super::substitution::{self, SubstDirective};
use super::{DEFINES_MAX, Define, Preprocessor, Rest, SUBSTITUTIONS_MAX, quoted};
use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;
use crate::script::token::Directive;

impl Preprocessor<'_, '_> {
    pub(super) fn define(&mut self, directive: Directive, rest: &Rest) {
        let Some((name, value)) = self.name_and_value(rest) else { return };
        match directive {
            Directive::Undefine => {
                self.defines.remove(name);
            }
            Directive::TryDefine if self.defines.contains_key(name) => {}
            Directive::Redefine => {
                self.defines.remove(name);
                self.define_as(name, value, rest);
            }
            _ => self.define_as(name, value, rest),
        }
    }

    fn name_and_value<'r>(&mut self, rest: &'r Rest) -> Option<(&'r str, Option<&'r str>)> {
        let name = rest.first_word();
        let span = rest.part(0, name.len());
        if name.is_empty() {
            self.error(rest.at, "the name of a define is missing", Some("it begins with a letter or `_`"));
            return None;
        }
        let behind = &rest.text[name.len()..];
        if !behind.is_empty() && !behind.starts_with([' ', '\t']) {
            let wrong = behind.chars().next().unwrap_or(' ');
            let message = format!("`{wrong}` cannot be part of the name of a define");
            self.error(span, &message, Some("use letters, digits and `_`"));
            return None;
        }
        let value = behind.trim();
        Some((name, (!value.is_empty()).then_some(value)))
    }

    pub(super) fn define_as(&mut self, name: &str, value: Option<&str>, rest: &Rest) {
        let definition = rest.part(0, name.len().max(1));
        if let Some(first) = self.defines.get(name) {
            let mut diagnostic = Diagnostic::error(definition, format!("`{name}` is already defined"))
                .with_help(format!("to replace it write `#!redefine {name}`, to keep it `#!trydef {name}`"));
            if first.definition != Span::default() {
                diagnostic = diagnostic.with_note(first.definition, "first defined here");
            }
            self.diagnostics.push(diagnostic);
            return;
        }
        if self.defines.len() >= DEFINES_MAX {
            return self.error(definition, &format!("there are more than {DEFINES_MAX} defines"), None);
        }
        let value = value.map(|value| Arc::from(value.as_bytes()));
        self.defines.insert(name.to_string(), Define { value, definition });
    }

    pub(super) fn define_expression(&mut self, directive: Directive, rest: &Rest) {
        let Some((name, text)) = self.name_and_value(rest) else { return };
        let Some(text) = text else { return self.error(rest.at, "the expression is missing", None) };
        let Some(value) = self.evaluate(rest, text) else { return };
        let value = match directive {
            Directive::DefineQuotedExpression => quote(&value.to_string()),
            _ => value.to_string(),
        };
        self.define_as(name, Some(&value), rest);
    }

    pub(super) fn evaluate(&mut self, rest: &Rest, text: &str) -> Option<IfexpValue> {
        let defines = &self.defines;
        let values = |name: &str| {
            defines
                .get(name)
                .map(|define| define.value.as_deref().and_then(|value| std::str::from_utf8(value).ok()))
        };
        match expression::evaluate(text, &values) {
            Ok(value) => Some(value),
            Err(error) => {
                let offset = rest.text.len() - text.len() + error.at;
                let span = rest.part(offset, offset);
                self.error(
                    span,
                    error.message,
                    Some("the expression is a number, text or define with operators"),
                );
                None
            }
        }
    }

    pub(super) fn define_environment(&mut self, directive: Directive, rest: &Rest) {
        use Directive::*;
        let name = rest.first_word();
        if name.is_empty() {
            return self.error(rest.at, "the name of an environment variable is missing", None);
        }
        let variable = rest.text[name.len()..].trim().strip_prefix('=').map_or(name, str::trim);
        let found = self.options.environment.iter().find(|(known, _)| known == variable);
        let is_try = matches!(directive, TryDefineEnvironment | TryDefineQuotedEnvironment);
        let Some((_, value)) = found else {
            if !is_try {
                let message = format!("the environment has no `{variable}`");
                let help = format!("`#!trydefenv {variable}` continues without it");
                self.error(rest.part(0, rest.text.len()), &message, Some(&help));
            }
            return;
        };
        if is_try && self.defines.contains_key(name) {
            return;
        }
        let is_quoted = matches!(directive, DefineQuotedEnvironment | TryDefineQuotedEnvironment);
        let value = if is_quoted { quote(value) } else { value.clone() };
        self.define_as(name, Some(&value), rest);
    }

    pub(super) fn substitute(&mut self, directive: Directive, rest: &Rest) {
        let Some(written) = quoted(rest.text.as_bytes()) else {
            let help = "write `#!subst \"/pattern/replacement/flags\"`";
            return self.error(rest.at, "a substitution is written in quotes", Some(help));
        };
        let written = String::from_utf8_lossy(written).into_owned();
        let span = rest.part(0, rest.text.len());
        let Some([pattern, replacement, _]) = self.add_substitution(&written, span) else { return };
        let value = match directive {
            Directive::SubstituteDefine => replacement.to_string(),
            Directive::SubstituteDefineQuoted => quote(replacement),
            _ => return,
        };
        if !is_name(pattern) {
            return self.error(span, &format!("`{pattern}` cannot be the name of a define"), None);
        }
        self.define_as(pattern, Some(&value), rest);
    }

    /// Puts a substitution into force; its parts.
    pub(super) fn add_substitution<'w>(&mut self, written: &'w str, span: Span) -> Option<[&'w str; 3]> {
        let Some(parts) = substitution::split(written) else {
            let help = "it has the form `/pattern/replacement/flags`; the first character separates";
            self.error(span, "this substitution is not complete", Some(help));
            return None;
        };
        match SubstDirective::new(parts[0], parts[1], parts[2]) {
            Ok(_) if self.substitutions.len() >= SUBSTITUTIONS_MAX => {
                let message = format!("there are more than {SUBSTITUTIONS_MAX} substitutions");
                self.error(span, &message, None);
            }
            Ok(substitution) => {
                self.substitutions.push(substitution);
                return Some(parts);
            }
            Err(reason) => self.error(span, &reason, None),
        }
        None
    }
}

fn is_name(text: &str) -> bool {
    let begins = |character: char| character.is_ascii_alphabetic() || character == '_';
    text.starts_with(begins)
        && text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
