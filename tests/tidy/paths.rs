//! The paths a file writes: imports, re-exports and mentions, made absolute where they say where they begin.

use super::source::{Source, Token, is_name_char};

/// How a path is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `use a::b;`
    Import,
    /// `pub use a::b;`, which hands on and does not use.
    Reexport,
    /// `a::b` in an expression or a type.
    Mention,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Path<'s> {
    pub line: usize,
    pub ships: bool,
    pub kind: Kind,
    /// From the crate's root when `is_absolute`, else as written.
    pub names: Vec<&'s str>,
    pub is_absolute: bool,
    /// The name an import has here: its last one, or the one after `as`.
    pub alias: &'s str,
}

/// Every path of the file. Those that start with `crate`, `self`, `super`, and in programs `sworker`, are absolute.
pub fn paths<'s>(source: &'s Source<'_>) -> Vec<Path<'s>> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    let mut depth = 0usize;
    let mut inline: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let previous = if at == 0 { "" } else { tokens[at - 1].text };
        let starts_path = source.token_text(at + 1) == "::" && previous != "::";
        let (kind, trees, size) = match tokens[at].text {
            "{" => {
                depth += 1;
                (Kind::Mention, vec![], 1)
            }
            "}" => {
                depth = depth.saturating_sub(1);
                inline.retain(|(opened_at, _)| *opened_at < depth);
                (Kind::Mention, vec![], 1)
            }
            "mod" if source.token_text(at + 2) == "{" => {
                inline.push((depth, source.token_text(at + 1)));
                (Kind::Mention, vec![], 2)
            }
            "use" if source.token_text(at + 1) != "<" => {
                let (trees, size) = use_tree(&tokens[at + 1..]);
                let kind = if matches!(previous, "pub" | ")") { Kind::Reexport } else { Kind::Import };
                (kind, trees, 1 + size)
            }
            first if starts_path && first.chars().all(is_name_char) => {
                let (names, size) = mention(&tokens[at..]);
                (Kind::Mention, vec![(names, None)], size)
            }
            _ => (Kind::Mention, vec![], 1),
        };
        for (names, alias) in trees {
            let here = source.module.iter().flat_map(|module| module.path.iter().copied());
            let here = here.chain(inline.iter().map(|(_, name)| *name)).collect();
            let is_program = source.module.as_ref().is_some_and(|module| module.is_program());
            let alias = alias.or(names.last().copied()).unwrap_or("");
            let (is_absolute, names) = absolute(here, names, is_program);
            let Token { line, ships, .. } = tokens[at];
            found.push(Path { line, ships, kind, names, is_absolute, alias });
        }
        at += size;
    }
    found
}

fn absolute<'s>(mut here: Vec<&'s str>, names: Vec<&'s str>, is_program: bool) -> (bool, Vec<&'s str>) {
    match names.first() {
        Some(&"crate") if !is_program => here.clear(),
        Some(&"sworker") if is_program => here.clear(),
        Some(&"self") => {}
        Some(&"super") => {
            here.pop();
        }
        _ => return (false, names),
    }
    for name in &names[1..] {
        match *name {
            "super" => drop(here.pop()),
            "self" => {}
            name => here.push(name),
        }
    }
    (true, here)
}

/// The names of `a::b::c` at the start of `tokens`, and how many tokens they take.
fn mention<'s>(tokens: &'s [Token<'_>]) -> (Vec<&'s str>, usize) {
    let text_at = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let mut names = vec![text_at(0)];
    let mut at = 1;
    while text_at(at) == "::" && text_at(at + 1).starts_with(is_name_char) {
        names.push(text_at(at + 1));
        at += 2;
    }
    (names, at)
}

type Tree<'s> = (Vec<&'s str>, Option<&'s str>);

/// The paths of `a::b as x`, `a::{b, c::d}` or `{a, b}` at the start of `tokens`, and how many tokens they take.
fn use_tree<'s>(tokens: &'s [Token<'_>]) -> (Vec<Tree<'s>>, usize) {
    let text_at = |index: usize| tokens.get(index).map_or("", |token| token.text);
    match text_at(0) {
        "::" => {
            let (trees, size) = use_tree(&tokens[1..]);
            return (trees, size + 1);
        }
        "{" => return use_list(tokens),
        name if !name.chars().all(|c| is_name_char(c) || c == '*') || name.is_empty() => return (vec![], 1),
        _ => {}
    }
    let name = text_at(0);
    match text_at(1) {
        "::" => {
            let (rest, size) = use_tree(&tokens[2..]);
            let with_name = |(names, alias): Tree<'s>| match names[..] {
                ["self"] => (vec![name], alias),
                _ => ([vec![name], names].concat(), alias),
            };
            (rest.into_iter().map(with_name).collect(), 2 + size)
        }
        "as" => (vec![(vec![name], Some(text_at(2)))], 3),
        _ => (vec![(vec![name], None)], 1),
    }
}

fn use_list<'s>(tokens: &'s [Token<'_>]) -> (Vec<Tree<'s>>, usize) {
    let text_at = |index: usize| tokens.get(index).map_or("}", |token| token.text);
    let mut all = Vec::new();
    let mut at = 1;
    while text_at(at) != "}" {
        let (trees, size) = use_tree(&tokens[at..]);
        all.extend(trees);
        at += size;
    }
    (all, at + 1)
}

/// How a path is written, its names (after a `/` when it is absolute), and what it is called here.
type Expected<'e> = &'e [(Kind, &'e str, &'e str)];

#[test]
fn paths_are_found_with_their_kind_and_made_absolute() {
    let rows: [(&str, Expected<'_>); 12] = [
        ("use crate::a::{b, c::d as e};", &[(Kind::Import, "/a/b", "b"), (Kind::Import, "/a/c/d", "e")]),
        ("pub use super::a;", &[(Kind::Reexport, "/sip/a", "a")]),
        ("pub(crate) use self::a::*;", &[(Kind::Reexport, "/sip/uri/a/*", "*")]),
        ("use a::{self, b};", &[(Kind::Import, "a", "a"), (Kind::Import, "a/b", "b")]),
        ("use super::super::sys::A;", &[(Kind::Import, "/sys/A", "A")]),
        (
            "mod m { use super::A; } use super::B;",
            &[(Kind::Import, "/sip/uri/A", "A"), (Kind::Import, "/sip/B", "B")],
        ),
        ("f(crate::a::b(), c::D::e::<F>())", &[(Kind::Mention, "/a/b", "b"), (Kind::Mention, "c/D/e", "e")]),
        ("fn f() -> impl T + use<'a> {}", &[]),
        ("use a as b; use c;", &[(Kind::Import, "a", "b"), (Kind::Import, "c", "c")]),
        ("use ::a::b;", &[(Kind::Import, "a/b", "b")]),
        ("use {a, b::c};", &[(Kind::Import, "a", "a"), (Kind::Import, "b/c", "c")]),
        ("// crate::a\nlet x = \"crate::b\"; self.x", &[]),
    ];
    for (text, expected) in rows {
        let source = Source::of("src/sip/uri.rs", text);
        let shown: Vec<(Kind, String, &str)> = paths(&source)
            .into_iter()
            .map(|path| {
                let root = if path.is_absolute { "/" } else { "" };
                (path.kind, format!("{root}{}", path.names.join("/")), path.alias)
            })
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(kind, names, alias)| (*kind, names.to_string(), *alias)).collect();
        assert_eq!(shown, expected, "{text}");
    }
}
