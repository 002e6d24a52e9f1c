//! Text in which `${…}` stands for what is known when it is used: addresses, tags, what was captured before.
//!
//! `$${` is a `${` that stands for itself.

use std::collections::BTreeSet;

use super::outline::span;
use crate::script::ast::Span;
use crate::script::diagnostic::Diagnostic;
use crate::script::suggest::{listed, suggestion};

/// A text with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PlaceholderText {
    pieces: Vec<Piece>,
    /// Where it stands.
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Name(String),
}

/// Looks up the values of placeholders.
pub(super) trait Values {
    /// The value of a placeholder.
    fn value(&self, name: &str) -> Result<String, String>;
}

/// The names that a placeholder may have at one place of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct NameScope {
    names: BTreeSet<String>,
}

/// Names that are always known.
const ALWAYS: [&str; 6] = ["server", "server.host", "server.port", "branch", "call_id", "round"];

/// Prefix of the addresses of listeners; which ones exist is known when the server runs.
pub(super) const LISTENER_LEAD: &str = "server.";
/// The process id of a process.
pub(super) const PROCESS_LEAD: &str = "pid ";

/// The fields of a peer: `alice.port`.
pub(super) const OF_PEER: [&str; 4] = ["host", "port", "tag", "branch"];

impl NameScope {
    /// The names that are known everywhere.
    pub fn new() -> NameScope {
        NameScope { names: ALWAYS.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// One more name.
    pub fn add(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// A peer, with all that is known of it.
    pub fn add_peer(&mut self, name: &str) {
        self.add(name);
        OF_PEER.iter().for_each(|field| self.add(&format!("{name}.{field}")));
    }

    fn knows(&self, name: &str) -> bool {
        let listener = name.strip_prefix(LISTENER_LEAD);
        let is_listener = listener
            .and_then(|rest| rest.split('.').next())
            .is_some_and(|number| number.parse::<usize>().is_ok_and(|number| number > 0));
        is_listener || name.starts_with(PROCESS_LEAD) || self.names.contains(name)
    }

    fn complaint(&self, name: &str, at: Span) -> Diagnostic {
        let names = || self.names.iter().map(String::as_str);
        let help = suggestion(name, names()).unwrap_or_else(|| format!("names are {}", listed(names())));
        Diagnostic::error(at, format!("unknown name \"{name}\" in ${{…}}")).with_help(help)
    }
}

impl PlaceholderText {
    /// Reads a text that begins at `start` of the file.
    pub fn parse(
        text: &str,
        start: usize,
        scope: &NameScope,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> PlaceholderText {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let offset = start + (text.len() - rest.len()) + at;
            if rest[..at].ends_with('$') {
                pieces.push(Piece::Literal(format!("{}{{", &rest[..at])));
                rest = &rest[at + 2..];
                continue;
            }
            pieces.push(Piece::Literal(rest[..at].to_owned()));
            let inside = &rest[at + 2..];
            let Some(size) = inside.find('}') else {
                let open = span(offset, rest.len() - at);
                let help = "write ${name}, or $${ where no name is meant";
                diagnostics.push(Diagnostic::error(open, "this ${ is not closed").with_help(help));
                rest = "";
                break;
            };
            let name = inside[..size].trim();
            if !scope.knows(name) {
                diagnostics.push(scope.complaint(name, span(offset, size + 3)));
            }
            pieces.push(Piece::Name(name.to_owned()));
            rest = &inside[size + 1..];
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        PlaceholderText { pieces, span: span(start, text.len()) }
    }

    /// Lines as one text.
    pub fn joined(lines: Vec<PlaceholderText>) -> PlaceholderText {
        let mut all = PlaceholderText::default();
        for (index, line) in lines.into_iter().enumerate() {
            match index {
                0 => all.span = line.span,
                _ => all.pieces.push(Piece::Literal("\n".to_owned())),
            }
            all.span.end = line.span.end;
            all.pieces.extend(line.pieces);
        }
        all
    }

    /// The text with everything filled in.
    pub fn fill(&self, values: &dyn Values) -> Result<String, String> {
        self.pieces.iter().try_fold(String::new(), |mut filled, piece| {
            match piece {
                Piece::Literal(text) => filled.push_str(text),
                Piece::Name(name) => filled.push_str(&values.value(name)?),
            }
            Ok(filled)
        })
    }

    /// The same as part of a regular expression: what is filled in stands for itself.
    pub fn fill_pattern(&self, values: &dyn Values) -> Result<String, String> {
        self.fill(&Escaped(values))
    }

    /// The text, when it has no placeholder.
    pub fn literal(&self) -> Option<String> {
        let is_literal = |piece: &Piece| matches!(piece, Piece::Literal(_));
        self.pieces.iter().all(is_literal).then(|| self.shape())
    }

    /// The text with something in the place of each placeholder.
    pub fn shape(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Name(_) => "x".to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }
}

struct Escaped<'v>(&'v dyn Values);

impl Values for Escaped<'_> {
    fn value(&self, name: &str) -> Result<String, String> {
        self.0.value(name).map(|value| regex::escape(&value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Upper;

    impl Values for Upper {
        fn value(&self, name: &str) -> Result<String, String> {
            Ok(name.to_uppercase())
        }
    }

    fn check(text: &str, expected: &str, mistakes: &[&str]) {
        let mut scope = NameScope::new();
        scope.add_peer("alice");
        let mut diagnostics = Vec::new();
        let parsed = PlaceholderText::parse(text, 0, &scope, &mut diagnostics);
        assert_eq!(parsed.fill(&Upper).unwrap(), expected, "{text}");
        let told: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        assert_eq!(told, mistakes, "{text}");
    }

    #[test]
    fn names_are_filled_in() {
        check("", "", &[]);
        check("plain $rm $(ru) text", "plain $rm $(ru) text", &[]);
        check("<sip:x@${server}>;tag=${alice.tag}", "<sip:x@SERVER>;tag=ALICE.TAG", &[]);
        check("${ server.2.port }${pid worker calls/1}", "SERVER.2.PORTPID WORKER CALLS/1", &[]);
        check("a $${server} ${alice}", "a ${server} ALICE", &[]);
    }

    #[test]
    fn mistakes_are_told() {
        check("${alcie}", "ALCIE", &["unknown name \"alcie\" in ${…}"]);
        check("${server.0}", "SERVER.0", &["unknown name \"server.0\" in ${…}"]);
        check("a ${b", "a ", &["this ${ is not closed"]);
    }

    #[test]
    fn values_in_a_pattern_stand_for_themselves() {
        struct Dots;
        impl Values for Dots {
            fn value(&self, _: &str) -> Result<String, String> {
                Ok("1.2".to_owned())
            }
        }
        let text = PlaceholderText::parse("^${server}.$", 0, &NameScope::new(), &mut Vec::new());
        assert_eq!(text.fill_pattern(&Dots).unwrap(), r"^1\.2.$");
    }
}
