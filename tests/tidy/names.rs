//! Names that others can see: each stands for one type, and somebody uses it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::finding::Finding;
use super::source::Source;

/// How many types have one name, each with what they are.
pub const SHARED_NAMES: &[(&str, &str)] = &[
    ("2 Call", "a function of the core, an expression"),
    ("2 Counters", "a module, and what it counts with"),
    ("2 Engine", "of a message, of a log"),
    ("2 Loaded", "a script, a module"),
    ("2 Outcome", "of a reload, of a function"),
    ("2 Part", "of the manual, of shared memory"),
    ("2 Parts", "of a record, of shared memory"),
    ("2 Place", "in a script, in a segment"),
    ("2 Program", "a file on disk, a compiled script"),
    ("2 Reading", "of a source, of a variable"),
    ("2 Severity", "of a diagnostic, of a log line"),
    ("2 Subject", "of a variable, of a diagnostic"),
    ("2 Target", "of a branch, of a message"),
    ("2 Transformation", "of the core, of the tree"),
    ("2 Variable", "of the core, of the tree"),
];

/// Public items that nothing names outside their own file, `src/sip/uri.rs: Uri`, each with the reason.
pub const UNUSED_ITEMS: &[(&str, &str)] = &[
    ("src/telemetry/log.rs: to_nowhere", "benches/pipeline.rs and benches/engine.rs log nothing"),
    ("src/script/parser.rs: DIAGNOSTICS_MAX", "tests/script_parse.rs holds the parser to it"),
    ("src/shm/delay/queue.rs: with_blocks", "tests/delay_kill.rs makes a queue that is soon full"),
    ("src/shm/delay/queue.rs: free_blocks", "tests/delay_kill.rs looks for what is lost"),
    ("src/shm/proof/crash_point.rs: OF_RINGS", "tests/ring_kill.rs goes through all of them"),
    ("src/shm/proof/crash_point.rs: OF_DELAYS", "tests/delay_kill.rs goes through all of them"),
    ("src/shm/proof/crash_point.rs: OF_OUTBOXES", "tests/outbox_kill.rs goes through all of them"),
    ("src/shm/proof/crash_point.rs: point_of_exit_status", "the kill tests ask where a process ended"),
    ("src/shm/tables/table.rs: free_cell_count", "tests/table_kill.rs looks for what is lost"),
    ("src/state/parts.rs: Heartbeats", "the type of a field"),
    ("src/shm/queue/producer.rs: occupied", "tests/ring_kill.rs looks for what is left in rings"),
    ("src/sip/framing.rs: Framer", "used by streams, which come next"),
    ("src/sip/transaction.rs: TransactionKey", "used by transactions, which come next"),
    ("src/sip/transaction.rs: cancelled_by", "used by transactions, which come next"),
    ("src/sys/clock.rs: process_cpu_ns", "benches/ring.rs measures with it"),
    ("src/sys/process.rs: wait_any", "the kill tests wait for their children"),
];

/// Words that begin an item.
const ITEM_WORDS: &[&str] = &["fn", "struct", "enum", "union", "trait", "type", "const", "static"];

#[derive(Debug)]
struct Item<'s> {
    file: &'s str,
    line: usize,
    word: &'s str,
    name: &'s str,
}

/// `pub` items and methods that ship; fields and modules are none. The compiler watches over what is `pub(crate)`.
fn public_items<'s>(source: &Source<'s>) -> Vec<Item<'s>> {
    public_items_where(source, str::is_empty)
}

fn public_items_where<'s>(source: &Source<'s>, is_public: impl Fn(&str) -> bool) -> Vec<Item<'s>> {
    let mut found = Vec::new();
    for (index, token) in source.shipped().filter(|(_, token)| token.text == "pub") {
        let is_scoped = source.token_text(index + 1) == "(";
        if !is_public(if is_scoped { source.token_text(index + 2) } else { "" }) {
            continue;
        }
        // `pub(crate)`, then `const unsafe extern fn`, the last of which is the item's own word.
        let mut at = index + if is_scoped { 4 } else { 1 };
        while matches!(source.token_text(at), "const" | "async" | "unsafe" | "extern")
            && matches!(source.token_text(at + 1), "unsafe" | "extern" | "fn" | "trait")
        {
            at += 1;
        }
        let (word, name) = (source.token_text(at), source.token_text(at + 1));
        if ITEM_WORDS.contains(&word) {
            found.push(Item { file: source.name, line: token.line, word, name });
        }
    }
    found
}

/// A name of a type, visible in the whole crate, that stands for more than one. An excuse says how many there are.
pub fn check_shared_names(sources: &[Source<'_>]) -> Vec<Finding> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.module.is_some()) {
        let items = public_items_where(source, |scope| matches!(scope, "" | "crate"));
        for item in items.iter().filter(|item| !matches!(item.word, "fn" | "const" | "static")) {
            places.entry(item.name).or_default().push(format!("{}:{}", item.file, item.line));
        }
    }
    let shared = places.into_iter().filter(|(_, places)| places.len() > 1);
    shared
        .map(|(name, places)| Finding {
            key: format!("{} {name}", places.len()),
            text: format!("{name} is the name of {} types: {}", places.len(), places.join(", ")),
        })
        .collect()
}

/// A public item that the product names in its own file at most, so that it could be private, or gone. Tests do not
/// count, nor do lists that hand it on. A type that public signatures of its file show is part of them. Methods are
/// known by their names alone: one that shares its name with another is not found.
pub fn check_unused_items(sources: &[Source<'_>]) -> Vec<Finding> {
    let product: Vec<&Source<'_>> = sources.iter().filter(|source| source.module.is_some()).collect();
    let mut namers: HashMap<&str, HashSet<&str>> = HashMap::new();
    for source in &product {
        for name in used_names(source) {
            namers.entry(name).or_default().insert(source.name);
        }
    }
    let is_used = |item: &Item<'_>| {
        namers.get(item.name).is_some_and(|files| files.iter().any(|file| *file != item.file))
    };
    let mut found = Vec::new();
    for source in product {
        let in_signatures = signature_names(source);
        for item in public_items(source) {
            let is_part_of_another = item.word != "fn" && in_signatures.contains(item.name);
            if !is_used(&item) && !is_part_of_another {
                let what = format!(
                    "{}:{}: no product code outside this file names {}",
                    item.file, item.line, item.name
                );
                found.push(Finding { key: format!("{}: {}", item.file, item.name), text: what });
            }
        }
    }
    found
}

/// Names in product code that is neither the definition of that name nor a list that hands it on.
fn used_names<'s>(source: &Source<'s>) -> HashSet<&'s str> {
    let mut handed_on = HashSet::new();
    let mut is_list = false;
    let mut used = HashSet::new();
    for (index, token) in source.shipped() {
        let previous = if index == 0 { "" } else { source.token_text(index - 1) };
        match token.text {
            "use" if matches!(previous, "pub" | ")") => is_list = true,
            ";" => is_list = false,
            name if is_list => drop(handed_on.insert(name)),
            name if ITEM_WORDS.contains(&previous) || previous == "mod" => drop(handed_on.insert(name)),
            name => drop(used.insert(name)),
        }
    }
    used
}

/// Names in what others can see of a file's items: types of arguments, results, fields, variants and associated types.
fn signature_names<'s>(source: &Source<'s>) -> HashSet<&'s str> {
    let mut names = HashSet::new();
    for (index, token) in source.shipped().filter(|(_, token)| matches!(token.text, "pub" | "type")) {
        let head = if token.text == "pub" { source.token_text(index + 1) } else { "type" };
        // The item's own name is no use of it.
        let from = index + 1 + usize::from(token.text == "pub") + usize::from(ITEM_WORDS.contains(&head));
        names.extend(names_seen(source, from, matches!(head, "enum" | "trait")));
    }
    names
}

/// The names from `from` on, up to the end of the field or to the body of the function, which nobody sees.
fn names_seen<'s>(source: &Source<'s>, from: usize, is_body_seen: bool) -> Vec<&'s str> {
    let mut names = Vec::new();
    let mut depth = 0usize;
    for index in from..source.tokens.len() {
        match source.token_text(index) {
            ">" if matches!(source.token_text(index - 1), "-" | "=") => {}
            "{" if !is_body_seen => break,
            "(" | "[" | "<" | "{" => depth += 1,
            ")" | "]" | ">" | "}" if depth == 0 => break,
            "}" if depth == 1 => break,
            ")" | "]" | ">" | "}" => depth -= 1,
            ";" | "," if depth == 0 => break,
            name => names.push(name),
        }
    }
    names
}

/// Made-up files: name and text.
type Files<'f> = &'f [(&'f str, &'f str)];

#[track_caller]
fn check(rule: fn(&[Source<'_>]) -> Vec<Finding>, files: Files<'_>, expected: &[&str]) {
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| Source::of(name, text)).collect();
    let found: Vec<String> = rule(&sources).into_iter().map(|finding| finding.key).collect();
    assert_eq!(found, expected, "{files:?}");
}

#[test]
fn a_name_of_two_types_is_found() {
    let rows: [(Files<'_>, &[&str]); 7] = [
        (&[("src/shm/a.rs", "pub struct A;"), ("src/sip/b.rs", "pub enum A {}")], &["2 A"]),
        (&[("src/shm/a.rs", "pub trait A {} mod b { pub type A = u8; }")], &["2 A"]),
        (
            &[("src/shm/a.rs", "pub(crate) struct A;"), ("src/sip/b.rs", "pub(crate) unsafe trait A {}")],
            &["2 A"],
        ),
        // What others cannot see, functions, and types of tests.
        (
            &[
                ("src/shm/a.rs", "pub struct A;"),
                ("src/sip/b.rs", "struct A; mod c { pub(super) struct A; }"),
            ],
            &[],
        ),
        (&[("src/shm/a.rs", "pub struct A;"), ("src/sip/b.rs", "pub fn A() {} pub const A: u8 = 1;")], &[]),
        (&[("src/shm/a.rs", "pub struct A;"), ("src/sip/b.rs", "#[cfg(test)] pub struct A;")], &[]),
        (&[("src/shm/a.rs", "pub struct A;"), ("tests/b.rs", "pub struct A;")], &[]),
    ];
    for (files, expected) in rows {
        check(check_shared_names, files, expected);
    }
}

#[test]
fn a_public_item_that_nothing_outside_its_file_names_is_found() {
    let rows: [(&str, &str, &[&str]); 9] = [
        ("pub fn a() {}", "", &["src/shm/a.rs: a"]),
        ("pub const fn a() {} fn b() { a() }", "", &["src/shm/a.rs: a"]),
        ("impl B { pub unsafe extern \"C\" fn a(&self) {} }", "", &["src/shm/a.rs: a"]),
        ("pub const A: u8 = 1; pub static B: u8 = 2;", "", &["src/shm/a.rs: A", "src/shm/a.rs: B"]),
        ("pub struct A; impl A { fn f() {} }", "", &["src/shm/a.rs: A"]),
        ("pub fn a() {}", "pub use super::a::a; // a\nconst B: &str = \"a\";", &["src/shm/a.rs: a"]),
        ("pub fn a() {}", "#[cfg(test)] mod tests { fn f() { a() } }", &["src/shm/a.rs: a"]),
        ("pub fn a() {}", "fn a() {}", &["src/shm/a.rs: a"]),
        ("pub struct A; fn f() -> A {}", "", &["src/shm/a.rs: A"]),
    ];
    for (text, other, expected) in rows {
        check(check_unused_items, &[("src/shm/a.rs", text), ("src/shm/b.rs", other)], expected);
    }
}

#[test]
fn a_public_item_that_somebody_names_is_left_alone() {
    let rows = [
        ("pub fn a() {}", "fn f() { super::a() }"),
        ("pub fn a() {}", "use super::a::a;"),
        ("impl B { pub fn a(&self) {} }", "fn f(b: B) { b.a() }"),
        ("pub(crate) fn a() {} fn b() {} #[cfg(test)] pub fn c() {}", ""),
        ("pub mod a; pub use a::A;", ""),
        // Part of what another item shows.
        ("pub struct A; pub fn b(c: u8) -> Result<u8, A> {}", "fn f() { b() }"),
        ("pub struct A; pub enum B { C { d: u8 }, D(A) }", "fn f(b: B) {}"),
        ("pub struct A; pub struct B { c: u8, pub d: Option<A> }", "fn f(b: B) {}"),
        ("pub struct A; impl Iterator for B { type Item = A; }", ""),
    ];
    for (text, other) in rows {
        check(check_unused_items, &[("src/shm/a.rs", text), ("src/shm/b.rs", other)], &[]);
    }
    check(
        check_unused_items,
        &[("src/shm/a.rs", "pub fn a() {}"), ("src/bin/b.rs", "fn main() { a() }")],
        &[],
    );
    check(check_unused_items, &[("tests/a.rs", "pub fn a() {}")], &[]);
}
