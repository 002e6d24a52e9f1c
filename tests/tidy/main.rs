//! The rules of the house, held by a test that reads the sources.
//!
//! ```text
//!  bin ─► process ─► modules, control ─► engine ─► bindings ─► routing ─► state ─► config ─► telemetry
//!      ─► shm, transport ─► sys      sip, script: nobody
//! ```
//!
//! Each broken rule is one line, `src/routing/mod.rs:35: routing may not import modules`, and all of them are told at once.
//! The checker is plain functions over text, so its own tests feed it small made-up files in both directions: what
//! must be found is found, what is allowed is left alone.

use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may import. Imports run downward only; rooms on one floor do not know each other.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("sip", &[]),
    ("script", &[]),
    ("shm", &["sys"]),
    ("transport", &["sys"]),
    ("telemetry", &["script", "shm", "sys"]),
    ("config", &["telemetry", "sip", "script", "shm", "transport", "sys"]),
    ("state", &["config", "telemetry", "sip", "script", "shm", "transport", "sys"]),
    ("routing", &["state", "config", "telemetry", "sip", "script", "shm", "transport", "sys"]),
    ("bindings", &["routing", "state", "config", "telemetry", "sip", "script", "shm", "transport", "sys"]),
    (
        "engine",
        &["bindings", "routing", "state", "config", "telemetry", "sip", "script", "shm", "transport", "sys"],
    ),
    ("modules", &["engine", "bindings", "routing", "state", "config", "telemetry", "script", "sip"]),
    ("control", &["bindings", "routing", "state", "config", "telemetry", "script", "shm", "sys"]),
    (
        "process",
        &[
            "modules",
            "control",
            "engine",
            "bindings",
            "routing",
            "state",
            "config",
            "telemetry",
            "shm",
            "transport",
            "sys",
            "sip",
            "script",
        ],
    ),
];

/// The same for the programs under the roof.
const PROGRAM_MAY_IMPORT: &[(&str, &[&str])] =
    &[("sworkerd", &["process"]), ("sworkerctl", &["control"]), ("sworkertop", &["shm", "config"])];

/// The only homes of `unsafe`.
const UNSAFE_ROOMS: &[&str] = &["sys", "shm"];

/// Files outside of them that may write it all the same, each with the reason.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("benches/tools/allocations.rs", "an allocator that counts"),
    ("benches/ring.rs", "the baseline is a heap in shared memory"),
];

/// Files, or all that begin so, that may stand without a `#[cfg(test)]`: where their tests are instead.
const TESTED_ELSEWHERE: &[(&str, &str)] = &[
    // Tables of cases from text to tree, diagnostics or outcome: one case touches most of these files.
    ("src/script/", "tests/script.rs"),
    ("src/script/", "tests/script_parse.rs"),
    ("src/routing/forward.rs", "src/engine/perform/tests.rs"),
    ("src/routing/services.rs", "src/bindings/registry.rs"),
    ("src/routing/script_view.rs", "src/bindings/registry.rs"),
    ("src/routing/shared_values.rs", "src/bindings/variables/shared.rs"),
    ("src/bindings/registry/live.rs", "src/bindings/registry/catalog.rs"),
    // The protocol of the queue: models of every interleaving, and real processes that are killed.
    ("src/shm/queue/event_count.rs", "src/shm/proof/model.rs"),
    ("src/shm/queue/producer.rs", "src/shm/queue/consumer.rs"),
    ("src/shm/queue/queue_figures.rs", "src/shm/queue/queues.rs"),
    ("src/shm/queue/slot.rs", "src/shm/queue/repair.rs"),
    ("src/shm/memory/sync.rs", "src/shm/proof/model.rs"),
    ("src/shm/proof/model.rs", "scripts/loom"),
    ("src/shm/proof/model/outbox.rs", "scripts/loom"),
    ("src/shm/proof/model/waiting.rs", "scripts/loom"),
    ("src/shm/proof/mutant.rs", "scripts/loom"),
];

const LINE_COUNT_MAX: usize = 900;

/// Lints (and groups) whose `allow` switches off a rule of the house: over one item, and only with a reason.
const NEVER_ALLOWED: &[&str] =
    &["warnings", "unused", "dead_code", "clippy::all", "clippy::pedantic", "missing_docs"];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut problems = Vec::new();
    let mut names = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for path in rust_files(&root.join(folder)) {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            problems.extend(check_file(&name, &text));
            names.push(name);
        }
    }
    for (file, tests) in TESTED_ELSEWHERE {
        problems.extend(check_exception(&names, file));
        if !root.join(tests).exists() {
            problems.push(format!("tests/tidy.rs: {tests}, which tests {file}, does not exist"));
        }
    }
    problems.extend(UNSAFE_FILES.iter().filter_map(|(file, _)| check_exception(&names, file)));
    assert!(names.len() > 10, "found only {names:?}");
    assert!(problems.is_empty(), "{} rules broken:\n{}\n", problems.len(), problems.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// An exception for a file that is not there any more excuses nobody.
fn check_exception(names: &[String], exception: &str) -> Option<String> {
    let is_there = names.iter().any(|name| name.starts_with(exception));
    (!is_there).then(|| format!("tests/tidy.rs: {exception} is excused but does not exist"))
}

/// All rules over one file.
fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut problems = check_text(name, text);
    let tokens = tokens(&scrub(text));
    problems.extend(check_tokens(name, &tokens));
    if let Some(place) = Place::of(name) {
        problems.extend(check_imports(name, &place, without_tests(&tokens)));
        problems.extend(check_has_tests(name, &place, &tokens));
    }
    problems
}

// ---------------------------------------------------------------------------------------------------------------
// Rules over the text as it stands.

fn check_text(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !text.starts_with("//!") {
        problems.push(format!("{name}:1: a file begins with //! and says what it is for"));
    }
    let line_count = text.lines().count();
    if line_count > LINE_COUNT_MAX {
        problems.push(format!("{name}:{LINE_COUNT_MAX}: {line_count} lines, look for the second subject"));
    }
    for (index, line) in text.lines().enumerate() {
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            if has_word(line, mark) {
                problems.push(format!("{name}:{}: {mark} left behind", index + 1));
            }
        }
    }
    problems
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_name_char) && !after.is_some_and(is_name_char)
    })
}

// ---------------------------------------------------------------------------------------------------------------
// Rules over tokens, so that comments and strings do not count.

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Names, `::` and single other characters, each with its line.
fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let size = if is_name_char(first) {
                rest.find(|c| !is_name_char(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push(Token { line: index + 1, text: rest[..size].to_string() });
            rest = rest[size..].trim_start();
        }
    }
    found
}

/// The source with comments and the insides of strings and characters blanked out, line for line.
fn scrub(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match skipped_end(&chars, at) {
            Some(end) => end,
            None => {
                out.push(chars[at]);
                at += 1;
                continue;
            }
        };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment or literal that starts at `at` ends, if one starts there.
fn skipped_end(chars: &[char], at: usize) -> Option<usize> {
    let next = |offset: usize| chars.get(at + offset).copied();
    let in_name = at > 0 && is_name_char(chars[at - 1]);
    match (chars[at], next(1)) {
        ('/', Some('/')) => Some(find_from(chars, at, |rest| rest[0] == '\n')),
        ('/', Some('*')) => Some(block_comment_end(chars, at)),
        ('"', _) => Some(string_end(chars, at + 1)),
        ('r', Some('"' | '#')) if !in_name || chars[at - 1] == 'b' => raw_string_end(chars, at + 1),
        ('\'', Some('\\')) => Some(find_from(chars, at + 3, |rest| rest[0] == '\'') + 1),
        ('\'', Some(_)) if next(2) == Some('\'') => Some(at + 3),
        _ => None,
    }
}

fn find_from(chars: &[char], from: usize, is_there: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|index| is_there(&chars[*index..])).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hash_count = chars[start..].iter().take_while(|c| **c == '#').count();
    if chars.get(start + hash_count) != Some(&'"') {
        return None;
    }
    let closing = |rest: &[char]| {
        rest[0] == '"' && rest.len() > hash_count && rest[1..=hash_count].iter().all(|c| *c == '#')
    };
    let quote = find_from(chars, start + hash_count + 1, closing);
    Some((quote + 1 + hash_count).min(chars.len()))
}

fn check_tokens(name: &str, tokens: &[Token]) -> Vec<String> {
    let mut problems = Vec::new();
    let may_be_unsafe = UNSAFE_ROOMS.iter().any(|room| name.starts_with(&format!("src/{room}/")))
        || UNSAFE_FILES.iter().any(|(file, _)| *file == name);
    let text_at = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    for (index, token) in tokens.iter().enumerate() {
        let mut report = |what: String| problems.push(format!("{name}:{}: {what}", token.line));
        match token.text.as_str() {
            "unsafe" if !may_be_unsafe => report("unsafe may be written only in sys and shm".into()),
            macro_name @ ("todo" | "unimplemented") if text_at(index + 1) == "!" => {
                report(format!("{macro_name}! left behind"));
            }
            "allow" if text_at(index + 1) == "(" => {
                let is_inner = index >= 2 && text_at(index - 1) == "[" && text_at(index - 2) == "!";
                let lints = lint_names(&tokens[index + 2..]);
                if is_inner && !(may_be_unsafe && lints == ["unsafe_code"]) {
                    report(format!("allow({}) over a whole file", lints.join(", ")));
                } else if let Some(lint) = lints.iter().find(|lint| NEVER_ALLOWED.contains(&lint.as_str()))
                    && !has_reason(&tokens[index + 2..])
                {
                    report(format!("blanket allow({lint})"));
                }
            }
            _ => {}
        }
    }
    problems
}

/// Whether the attribute says why.
fn has_reason(tokens: &[Token]) -> bool {
    tokens.iter().take_while(|token| token.text != ")").any(|token| token.text == "reason")
}

/// The names up to the closing parenthesis, `clippy::all` joined; a `reason = …` ends them.
fn lint_names(tokens: &[Token]) -> Vec<String> {
    let inside = tokens.iter().take_while(|token| token.text != ")");
    let joined: String = inside.map(|token| token.text.as_str()).collect();
    let names = joined.split(',').filter(|name| !name.is_empty() && !name.contains('='));
    names.map(str::to_string).collect()
}

// ---------------------------------------------------------------------------------------------------------------
// Rules over places: who imports whom, who is tested.

/// Where in the house a source file stands.
#[derive(Debug)]
struct Place {
    room: String,
    /// Names from the crate's root, without it: `["modules", "xlog"]`.
    path: Vec<String>,
    is_list_file: bool,
}

impl Place {
    /// `None` for `src/lib.rs` (the list of rooms), tests and benches.
    fn of(name: &str) -> Option<Place> {
        let inside = name.strip_prefix("src/")?.strip_suffix(".rs")?;
        let mut path: Vec<String> = inside.split('/').map(str::to_string).collect();
        if path.len() < 2 {
            return None;
        }
        let is_list_file = path.last().is_some_and(|last| last == "mod");
        if is_list_file {
            path.pop();
        }
        Some(Place { room: path[0].clone(), path, is_list_file })
    }

    fn is_program(&self) -> bool {
        self.room == "bin"
    }

    fn name(&self) -> &str {
        if self.is_program() { &self.path[1] } else { &self.room }
    }

    fn may_import(&self) -> &'static [&'static str] {
        let table = if self.is_program() { PROGRAM_MAY_IMPORT } else { MAY_IMPORT };
        table.iter().find(|(name, _)| *name == self.name()).map_or(&[], |(_, rooms)| rooms)
    }
}

fn is_room(name: &str) -> bool {
    MAY_IMPORT.iter().any(|(room, _)| *room == name)
}

/// Without the tests at the end of a file: these may set up what stands above the room.
fn without_tests(tokens: &[Token]) -> &[Token] {
    let names: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let begin = names.windows(5).position(|five| five[..4] == ["cfg", "(", "test", ")"]);
    &tokens[..begin.unwrap_or(tokens.len())]
}

fn check_imports(name: &str, place: &Place, tokens: &[Token]) -> Vec<String> {
    let mut problems = Vec::new();
    for (line, path) in absolute_paths(place, tokens) {
        let Some(target) = path.first().filter(|first| is_room(first)) else { continue };
        if *target != place.room {
            if !place.may_import().contains(&target.as_str()) {
                problems.push(format!("{name}:{line}: {} may not import {target}", place.name()));
            }
        } else if place.room == "modules" && place.path.len() > 1 {
            // The room's own list is known by nobody inside it: modules meet through core's services.
            if path.get(1).is_some_and(|other| *other != place.path[1] && other != "*") {
                problems.push(format!(
                    "{name}:{line}: module {} may not import module {}",
                    place.path[1], path[1]
                ));
            }
        }
    }
    problems.dedup();
    problems
}

/// Every path in the code that starts at the crate's root, `super` or `self`, made absolute, with its line.
fn absolute_paths(place: &Place, tokens: &[Token]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut depth = 0;
    let mut inline: Vec<(usize, String)> = Vec::new();
    let text_at = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth = usize::saturating_sub(depth, 1);
                inline.retain(|(opened_at, _)| *opened_at < depth);
            }
            "mod" if text_at(index + 2) == "{" => inline.push((depth, text_at(index + 1).to_string())),
            start @ ("crate" | "sworker" | "super" | "self")
                if text_at(index + 1) == "::" && (index == 0 || text_at(index - 1) != "::") =>
            {
                let here = || {
                    let inner = inline.iter().map(|(_, name)| name.clone());
                    place.path.iter().cloned().chain(inner).collect::<Vec<String>>()
                };
                let base = match start {
                    "crate" if !place.is_program() => vec![],
                    "sworker" if place.is_program() => vec![],
                    "super" => parent(here()),
                    "self" => here(),
                    _ => continue,
                };
                for names in use_tree(&tokens[index + 2..]).0 {
                    found.push((token.line, resolve(base.clone(), names)));
                }
            }
            _ => {}
        }
    }
    found
}

fn parent(mut path: Vec<String>) -> Vec<String> {
    path.pop();
    path
}

fn resolve(base: Vec<String>, names: Vec<String>) -> Vec<String> {
    names.into_iter().fold(base, |mut path, name| match name.as_str() {
        "super" => parent(path),
        "self" => path,
        _ => {
            path.push(name);
            path
        }
    })
}

/// The paths of `a::b`, `a::{b, c::d}` or `{a, b}` at the start of `tokens`, and how many tokens they take.
fn use_tree(tokens: &[Token]) -> (Vec<Vec<String>>, usize) {
    let text_at = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    if text_at(0) == "{" {
        let mut all = Vec::new();
        let mut at = 1;
        while at < tokens.len() && text_at(at) != "}" {
            let (paths, count) = use_tree(&tokens[at..]);
            all.extend(paths);
            at += count.max(1);
        }
        return (all, at + 1);
    }
    if !text_at(0).chars().all(|c| is_name_char(c) || c == '*') || text_at(0) == "as" {
        return (vec![], 1);
    }
    let name = text_at(0).to_string();
    if text_at(1) != "::" {
        return (vec![vec![name]], 1);
    }
    let (rest, count) = use_tree(&tokens[2..]);
    let with_name = |path: Vec<String>| [vec![name.clone()], path].concat();
    let paths =
        if rest.is_empty() { vec![vec![name.clone()]] } else { rest.into_iter().map(with_name).collect() };
    (paths, 2 + count)
}

fn check_has_tests(name: &str, place: &Place, tokens: &[Token]) -> Vec<String> {
    let is_excused = place.is_program()
        || name.ends_with("/tests.rs")
        || TESTED_ELSEWHERE.iter().any(|(excused, _)| name.starts_with(excused));
    let is_only_a_list = place.is_list_file && !tokens.iter().any(|token| token.text == "fn");
    let names: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let is_tested = names.windows(3).any(|three| three == ["cfg", "(", "test"])
        || names.windows(5).any(|five| five == ["cfg", "(", "all", "(", "test"]);
    if is_excused || is_only_a_list || is_tested {
        return vec![];
    }
    vec![format!("{name}:1: no #[cfg(test)] here")]
}

// ---------------------------------------------------------------------------------------------------------------
// The checker checked.

/// A tested, documented file around `body`; the body starts on line 3.
fn file(body: &str) -> String {
    format!("//! Made up.\n\n{body}\n#[cfg(test)]\nmod tests {{}}\n")
}

#[track_caller]
fn check(name: &str, body: &str, expected: &[&str]) {
    assert_eq!(check_file(name, &file(body)), expected, "{name}: {body}");
}

#[test]
fn imports_that_run_upward_or_sideways_are_found() {
    let rows = [
        (
            "src/routing/mod.rs",
            "use crate::modules::xlog;",
            "src/routing/mod.rs:3: routing may not import modules",
        ),
        (
            "src/routing/host.rs",
            "\nfn f() { crate::process::go() }",
            "src/routing/host.rs:4: routing may not import process",
        ),
        ("src/sip/uri.rs", "use crate::{sys::clock, sip::via};", "src/sip/uri.rs:3: sip may not import sys"),
        (
            "src/sip/uri.rs",
            "use crate::{\n  sip::{a, b},\n  script,\n};",
            "src/sip/uri.rs:3: sip may not import script",
        ),
        ("src/shm/ring.rs", "use super::super::sip::Via;", "src/shm/ring.rs:3: shm may not import sip"),
        ("src/shm/mod.rs", "use super::sip::Via;", "src/shm/mod.rs:3: shm may not import sip"),
        (
            "src/shm/mod.rs",
            "mod a { use super::super::routing::X; }",
            "src/shm/mod.rs:3: shm may not import routing",
        ),
        (
            "src/transport/udp.rs",
            "use crate::shm as memory;",
            "src/transport/udp.rs:3: transport may not import shm",
        ),
        (
            "src/control/server.rs",
            "use crate::modules::*;",
            "src/control/server.rs:3: control may not import modules",
        ),
        ("src/modules/xlog.rs", "use crate::shm::Ring;", "src/modules/xlog.rs:3: modules may not import shm"),
        (
            "src/bin/sworkerctl.rs",
            "use sworker::telemetry::log;",
            "src/bin/sworkerctl.rs:3: sworkerctl may not import telemetry",
        ),
        (
            "src/bin/sworkertop.rs",
            "use sworker::{shm, sys};",
            "src/bin/sworkertop.rs:3: sworkertop may not import sys",
        ),
        (
            "src/modules/xlog.rs",
            "use crate::modules::sl::reply;",
            "src/modules/xlog.rs:3: module xlog may not import module sl",
        ),
        (
            "src/modules/xlog.rs",
            "use super::sl;",
            "src/modules/xlog.rs:3: module xlog may not import module sl",
        ),
        (
            "src/modules/tm/timer.rs",
            "use super::super::sl;",
            "src/modules/tm/timer.rs:3: module tm may not import module sl",
        ),
    ];
    for (name, body, expected) in rows {
        check(name, body, &[expected]);
    }
}

#[test]
fn imports_that_run_downward_or_stay_at_home_are_left_alone() {
    let rows = [
        ("src/routing/mod.rs", "use crate::{sip::Via, script::ast, shm, transport, sys};"),
        ("src/routing/host.rs", "use core::fmt; use std::process; use super::module::Module;"),
        ("src/sys/mod.rs", "mod tests { use super::process::fork; }"),
        ("src/sys/mod.rs", "use self::process::fork;"),
        (
            "src/sip/uri.rs",
            "// use crate::core;\n/* crate::sys /* crate::shm */ crate::core */ pub(crate) fn f() {}",
        ),
        (
            "src/sip/uri.rs",
            r##"const A: &str = "crate::core"; const B: &str = r#"" crate::sys"#; const C: char = '"';"##,
        ),
        ("src/sip/uri.rs", "fn f<'a>(x: &'a str) -> char { '\\'' } // crate::core"),
        ("src/modules/mod.rs", "pub mod sl; pub use crate::modules::sl::Sl;"),
        ("src/modules/tm/mod.rs", "mod timer; use super::tm::timer::Wheel; use crate::bindings::module;"),
        ("src/modules/sworker.rs", "fn f() { sworker::shm() }"),
        (
            "src/process/master.rs",
            "use crate::{control, routing, modules, script, shm, sip, sys, transport};",
        ),
        ("src/bin/sworkerd.rs", "use sworker::process::start::boot; mod core {}"),
        ("src/lib.rs", "pub mod core; pub use crate::process::boot;"),
        ("tests/daemon.rs", "use sworker::shm::Ring;"),
    ];
    for (name, body) in rows {
        check(name, body, &[]);
    }
}

#[test]
fn what_must_not_be_written_is_found_and_told_with_its_line() {
    let to_do = concat!("// TO", "DO: later");
    let fix_me = concat!("/// FIX", "ME");
    let rows = [
        ("src/sip/uri.rs", "fn f() { unsafe { g() } }", "unsafe may be written only in sys and shm"),
        ("tests/kill.rs", "fn f() { unsafe { g() } }", "unsafe may be written only in sys and shm"),
        ("src/sip/uri.rs", to_do, concat!("TO", "DO left behind")),
        ("src/sip/uri.rs", fix_me, concat!("FIX", "ME left behind")),
        ("src/sip/uri.rs", "fn f() { todo!() }", "todo! left behind"),
        ("src/sip/uri.rs", "fn f() { unimplemented!(\"x\") }", "unimplemented! left behind"),
        (
            "src/sip/uri.rs",
            "#![allow(clippy::too_many_lines)]",
            "allow(clippy::too_many_lines) over a whole file",
        ),
        ("src/sip/uri.rs", "#[allow(clippy::all)] fn f() {}", "blanket allow(clippy::all)"),
        ("src/sip/uri.rs", "#[allow(dead_code)] fn f() {}", "blanket allow(dead_code)"),
    ];
    for (name, body, expected) in rows {
        check(name, body, &[&format!("{name}:3: {expected}")]);
    }
}

#[test]
fn what_may_be_written_is_left_alone() {
    let rows = [
        ("src/sys/futex.rs", "fn f() { unsafe { g() } }"),
        ("src/shm/ring.rs", "fn f() { unsafe { g() } }"),
        ("src/sip/uri.rs", "// unsafe is a word; so is \"todo!\"\nconst UNSAFE: &str = \"unsafe todo!()\";"),
        ("src/sip/uri.rs", "#[allow(clippy::too_many_arguments, reason = \"all of them\")] fn f() {}"),
        ("src/lib.rs", "#[allow(unsafe_code)]\npub mod shm;"),
        ("src/shm/memory/sync.rs", "#[allow(dead_code, reason = \"only the model makes it\")] struct A;"),
        ("benches/ring.rs", "#![allow(unsafe_code, reason = \"a heap\")]\nfn f() { unsafe { g() } }"),
        ("src/sip/uri.rs", concat!("const AUTO", "DOX: u8 = 1; // MASTO", "DON")),
    ];
    for (name, body) in rows {
        check(name, body, &[]);
    }
}

#[test]
fn a_file_without_a_head_or_tests_or_measure_is_found() {
    let tail = "#[cfg(test)] mod tests {}\n";
    let long = format!("//! Long.\n{}{tail}", "\n".repeat(LINE_COUNT_MAX));
    let rows = [
        (
            "src/sip/uri.rs",
            format!("use std::fmt;\n{tail}"),
            "src/sip/uri.rs:1: a file begins with //! and says what it is for",
        ),
        (
            "tests/daemon.rs",
            "use std::fmt;".into(),
            "tests/daemon.rs:1: a file begins with //! and says what it is for",
        ),
        ("src/sip/uri.rs", "//! Uri.\nfn f() {}\n".into(), "src/sip/uri.rs:1: no #[cfg(test)] here"),
        ("src/sip/mod.rs", "//! Sip.\nfn f() {}\n".into(), "src/sip/mod.rs:1: no #[cfg(test)] here"),
        ("src/sip/uri.rs", "//! Uri.\n// #[cfg(test)]\n".into(), "src/sip/uri.rs:1: no #[cfg(test)] here"),
        ("src/sip/uri.rs", long, "src/sip/uri.rs:900: 902 lines, look for the second subject"),
    ];
    for (name, text, expected) in rows {
        assert_eq!(check_file(name, &text), [expected]);
    }
}

#[test]
fn lists_programs_tests_and_excused_files_need_no_tests_of_their_own() {
    let rows = [
        ("src/sip/mod.rs", "//! Sip.\npub mod uri;\n"),
        ("src/bin/sworkerd.rs", "//! The daemon.\nfn main() {}\n"),
        ("src/script/ast.rs", "//! The tree.\npub struct Ast;\n"),
        ("tests/daemon.rs", "//! The daemon.\nfn f() {}\n"),
        ("src/shm/ring.rs", "//! Ring.\n#[cfg(all(test, not(loom)))]\nmod tests {}\n"),
    ];
    for (name, text) in rows {
        assert_eq!(check_file(name, text), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn an_excuse_for_a_file_that_is_gone_is_found() {
    let names = vec!["src/sip/uri.rs".to_string()];
    let expected = ["tests/tidy.rs: src/sip/old.rs is excused but does not exist"];
    let found: Vec<_> = ["src/sip/uri.rs", "src/sip/", "src/sip/old.rs"]
        .iter()
        .filter_map(|e| check_exception(&names, e))
        .collect();
    assert_eq!(found, expected);
}
