//! Diagnostics for editors and CI: one JSON object for a script.
//!
//! ```text
//! {"file":"calls.cfg","ok":false,"errors":1,"warnings":0,"notices":0,"diagnostics":[
//!   {"file":"calls.cfg","line":14,"column":22,"end_line":14,"end_column":28,"severity":"error",
//!    "message":"unknown worker group \"cals\"","help":"groups are \"calls\"","notes":[]}]}
//! ```
//!
//! Lines and columns count from 1, columns are characters; the end follows the last one. `help` may be null, and so may
//! a place where a remark concerns no line of a file. A mistake inside an included file or the value of a define has
//! the way it came in its notes, innermost first.

use serde_json::{Map, Value, json};

use super::ast::Span;
use super::diagnostic::{Diagnostic, Severity};
use super::source::{SourceMap, SourceOrigin};

/// The object of a script: everything that is to be said about it.
pub fn report(file: &str, diagnostics: &[Diagnostic], source: &SourceMap) -> String {
    let count = |severity| diagnostics.iter().filter(|one| one.severity == severity).count();
    let errors = count(Severity::Error);
    let shown: Vec<Value> = diagnostics.iter().map(|one| object(one, source)).collect();
    let report = json!({
        "file": file,
        "ok": errors == 0,
        "errors": errors,
        "warnings": count(Severity::Warning),
        "notices": count(Severity::Notice),
        "diagnostics": shown,
    });
    format!("{report}\n")
}

fn object(diagnostic: &Diagnostic, source: &SourceMap) -> Value {
    let mut object = place(diagnostic.span, source);
    object.insert("severity".into(), diagnostic.severity.to_string().into());
    object.insert("message".into(), diagnostic.message.as_str().into());
    object.insert("help".into(), diagnostic.help.as_deref().map_or(Value::Null, Value::from));
    let own = diagnostic.notes.iter().map(|one| note(one.span, &one.message, source));
    let chain = source.chain(diagnostic.span);
    let way = chain.iter().filter_map(|(name, origin)| step(name, origin, source));
    object.insert("notes".into(), own.chain(way).collect());
    Value::Object(object)
}

fn note(span: Option<Span>, message: &str, source: &SourceMap) -> Value {
    let mut object = span.map_or_else(nowhere, |span| place(span, source));
    object.insert("message".into(), message.into());
    Value::Object(object)
}

/// How text came into the script.
fn step(name: &str, origin: &SourceOrigin, source: &SourceMap) -> Option<Value> {
    match origin {
        SourceOrigin::Root => None,
        SourceOrigin::Include { at } => Some(note(Some(*at), &format!("{name} is included here"), source)),
        SourceOrigin::Define { definition, .. } => {
            let span = (definition.end > definition.start).then_some(*definition);
            Some(note(span, &format!("in the value of `{name}`, defined here"), source))
        }
    }
}

fn place(span: Span, source: &SourceMap) -> Map<String, Value> {
    // A mistake of the script as a whole has no place of its own.
    if span == Span::default() {
        return nowhere();
    }
    let span = source.file_span(span);
    let Some(start) = source.location(span) else { return nowhere() };
    let end = source.location(Span { start: span.end, end: span.end });
    let (end_line, end_column) = end
        .filter(|end| end.file == start.file)
        .map_or((start.line, start.column), |end| (end.line, end.column));
    let values = [
        ("file", start.file.into()),
        ("line", start.line.into()),
        ("column", start.column.into()),
        ("end_line", end_line.into()),
        ("end_column", end_column.into()),
    ];
    values.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
}

fn nowhere() -> Map<String, Value> {
    ["file", "line", "column", "end_line", "end_column"]
        .into_iter()
        .map(|name| (name.to_owned(), Value::Null))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(diagnostic: Diagnostic, expected: Value) {
        let mut source = SourceMap::new();
        source.add_file("a.cfg", "one\ntwö three\n");
        let report: Value = serde_json::from_str(&report("a.cfg", &[diagnostic], &source)).unwrap();
        assert_eq!(report["diagnostics"][0], expected);
    }

    #[test]
    fn a_diagnostic_is_told_with_its_beginning_and_end() {
        check(
            Diagnostic::error(Span { start: 9, end: 14 }, "wrong \"x\"").with_help("do right"),
            json!({"file": "a.cfg", "line": 2, "column": 5, "end_line": 2, "end_column": 10, "severity": "error",
                   "message": "wrong \"x\"", "help": "do right", "notes": []}),
        );
        check(
            Diagnostic::warning(Span { start: 1, end: 6 }, "odd")
                .with_note(Span { start: 0, end: 1 }, "see")
                .with_remark("and"),
            json!({"file": "a.cfg", "line": 1, "column": 2, "end_line": 2, "end_column": 3, "severity": "warning",
                   "message": "odd", "help": null, "notes": [
                     {"file": "a.cfg", "line": 1, "column": 1, "end_line": 1, "end_column": 2, "message": "see"},
                     {"file": null, "line": null, "column": null, "end_line": null, "end_column": null, "message": "and"}]}),
        );
    }

    #[test]
    fn what_has_no_place_has_none() {
        let mut source = SourceMap::new();
        source.add_file("a.cfg", "x");
        let object = object(&Diagnostic::notice(Span::default(), "whole"), &source);
        assert_eq!((&object["line"], &object["severity"]), (&Value::Null, &json!("notice")));
    }

    #[test]
    fn the_way_through_an_include_is_told() {
        let mut source = SourceMap::new();
        source.add_file("a.cfg", "include_file \"b.cfg\"\n");
        source.add_include("b.cfg", "nonsense", Span { start: 0, end: 20 });
        let inside = Span { start: 23, end: 30 };
        let object = object(&Diagnostic::error(inside, "wrong"), &source);
        assert_eq!((&object["file"], &object["line"]), (&json!("b.cfg"), &json!(1)));
        assert_eq!(object["notes"][0]["message"], "b.cfg is included here");
        assert_eq!(object["notes"][0]["file"], "a.cfg");
    }

    #[test]
    fn the_report_counts_and_judges() {
        let source = SourceMap::new();
        let warned = report("a.cfg", &[Diagnostic::warning(Span::default(), "odd")], &source);
        let warned: Value = serde_json::from_str(&warned).unwrap();
        assert_eq!((&warned["ok"], &warned["warnings"]), (&json!(true), &json!(1)));
        let wrong = report("a.cfg", &[Diagnostic::error(Span::default(), "wrong")], &source);
        assert!(wrong.contains("\"ok\":false") && wrong.ends_with("}\n"), "{wrong}");
    }
}
