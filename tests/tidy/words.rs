//! Rules over single tokens: what is written in some rooms only, or never.

use super::finding::Finding;
use super::source::{Source, Token};

/// The only homes of `unsafe`.
pub const UNSAFE_ROOMS: &[&str] = &["sys", "shm"];

/// Files outside of them that may write it all the same, each with the reason.
pub const UNSAFE_FILES: &[(&str, &str)] = &[
    ("benches/tools/allocations.rs", "an allocator that counts"),
    ("benches/ring.rs", "the baseline is a heap in shared memory"),
];

/// Lints (and groups) whose `allow` switches off a rule of the house: over one item, and only with a reason.
const NEVER_ALLOWED: &[&str] =
    &["warnings", "unused", "dead_code", "clippy::all", "clippy::pedantic", "missing_docs"];

/// Files with a blanket `allow`, each with the reason.
pub const BLANKET_ALLOWS: &[(&str, &str)] =
    &[("benches/instructions.rs", "gungraun makes public modules of the benches")];

/// What the product may write only in some files or folders: the tokens, the homes, and why.
const AT_HOME: &[(&[&str], &[&str], &str)] = &[
    (
        &["SharedMapping", "::", "create"],
        &["src/sys/memory.rs", "src/shm/memory/"],
        "memory is made in one place",
    ),
    (&["Plan", "::", "default"], &["src/shm/memory/"], "memory is planned in one place"),
    (&["thread_local", "!"], &["src/sys/", "src/process/roles/child.rs"], "state that no argument shows"),
    (&["sendto"], &["src/sys/"], "what leaves has one way out"),
    (&["sendmsg"], &["src/sys/"], "what leaves has one way out"),
    (&["sendmmsg"], &["src/sys/"], "what leaves has one way out"),
    (&["send_to"], &["src/sys/"], "what leaves has one way out"),
    (&["send_to_with_flags"], &["src/sys/"], "what leaves has one way out"),
];

/// Files that do so elsewhere, `src/sip/uri.rs: sendto`, each with the reason.
pub const AWAY_FROM_HOME: &[(&str, &str)] = &[
    ("src/bindings/transformations/substitution.rs: thread_local!", "memory that is used again"),
    ("src/process/start/confinement.rs: SharedMapping::create", "asks what the system does with such memory"),
    (
        "src/sys/shared_number.rs: SharedMapping::create",
        "the level of the log, which is needed before all other memory",
    ),
];

fn is_in_unsafe_room(name: &str) -> bool {
    let room = name.strip_prefix("src/").and_then(|inside| inside.split_once('/')).map(|(room, _)| room);
    room.is_some_and(|room| UNSAFE_ROOMS.contains(&room))
}

/// `unsafe` outside its homes. An excuse names the file.
pub fn check_unsafe(source: &Source<'_>) -> Vec<Finding> {
    let is_home = is_in_unsafe_room(source.name);
    let written = source.tokens.iter().filter(|token| token.text == "unsafe" && !is_home);
    let what = format!("unsafe may be written only in {}", UNSAFE_ROOMS.join(" and "));
    written.map(|token| Finding::at(source.name, token.line, &what)).collect()
}

/// An excuse names the file and what it writes.
pub fn check_homes(source: &Source<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_away = |homes: &[&str]| !homes.iter().any(|home| source.name.starts_with(home));
    let rows: Vec<_> = AT_HOME.iter().filter(|(_, homes, _)| is_away(homes)).collect();
    for (index, token) in source.shipped().filter(|_| source.module.is_some()) {
        for (written, homes, reason) in &rows {
            if token.text == written[0]
                && (1..written.len()).all(|at| source.token_text(index + at) == written[at])
            {
                let written = written.concat();
                let text = format!(
                    "{}:{}: {written} may be written only in {}: {reason}",
                    source.name,
                    token.line,
                    homes.join(" and ")
                );
                found.push(Finding { key: format!("{}: {written}", source.name), text });
            }
        }
    }
    found
}

pub fn check_placeholders(source: &Source<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        if matches!(token.text, "todo" | "unimplemented") && source.token_text(index + 1) == "!" {
            found.push(Finding::at(source.name, token.line, format!("{}! left behind", token.text)));
        }
    }
    found
}

pub fn check_allows(source: &Source<'_>) -> Vec<Finding> {
    let may_be_unsafe =
        is_in_unsafe_room(source.name) || UNSAFE_FILES.iter().any(|(file, _)| *file == source.name);
    let mut found = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        if token.text != "allow" || source.token_text(index + 1) != "(" {
            continue;
        }
        let is_inner =
            index >= 2 && source.token_text(index - 2) == "!" && source.token_text(index - 1) == "[";
        let inside = &source.tokens[index + 2..];
        let lints = lint_names(inside);
        if is_inner && !(may_be_unsafe && lints == ["unsafe_code"]) {
            found.push(Finding::at(
                source.name,
                token.line,
                format!("allow({}) over a whole file", lints.join(", ")),
            ));
        } else if let Some(lint) = lints.iter().find(|lint| NEVER_ALLOWED.contains(&lint.as_str()))
            && !has_reason(inside)
        {
            found.push(Finding::at(source.name, token.line, format!("blanket allow({lint})")));
        }
    }
    found
}

/// Whether the attribute says why.
fn has_reason(tokens: &[Token<'_>]) -> bool {
    tokens.iter().take_while(|token| token.text != ")").any(|token| token.text == "reason")
}

/// The names up to the closing parenthesis, `clippy::all` joined; a `reason = …` ends them.
fn lint_names(tokens: &[Token<'_>]) -> Vec<String> {
    let inside = tokens.iter().take_while(|token| token.text != ")");
    let joined: String = inside.map(|token| token.text).collect();
    let names = joined.split(',').filter(|name| !name.is_empty() && !name.contains('='));
    names.map(str::to_string).collect()
}

/// All rules of this file, as `line: what`.
#[track_caller]
fn check(name: &str, text: &str, expected: &[&str]) {
    let source = Source::of(name, text);
    let rules = [check_unsafe, check_homes, check_placeholders, check_allows];
    let found: Vec<String> =
        rules.iter().flat_map(|rule| rule(&source)).map(|finding| finding.text).collect();
    let expected: Vec<String> = expected.iter().map(|problem| format!("{name}:{problem}")).collect();
    assert_eq!(found, expected, "{name}: {text}");
}

#[test]
fn what_must_not_be_written_is_found_and_told_with_its_line() {
    let rows = [
        ("src/sip/uri.rs", "\nfn f() { unsafe { g() } }", "2: unsafe may be written only in sys and shm"),
        ("tests/kill.rs", "fn f() { unsafe { g() } }", "1: unsafe may be written only in sys and shm"),
        ("src/sip/uri.rs", "fn f() { todo!() }", "1: todo! left behind"),
        ("tests/kill.rs", "fn f() { unimplemented!(\"x\") }", "1: unimplemented! left behind"),
        (
            "src/sip/uri.rs",
            "#![allow(clippy::too_many_lines)]",
            "1: allow(clippy::too_many_lines) over a whole file",
        ),
        ("src/sip/uri.rs", "#[allow(clippy::all)] fn f() {}", "1: blanket allow(clippy::all)"),
        ("src/sip/uri.rs", "#[allow(dead_code)] fn f() {}", "1: blanket allow(dead_code)"),
        (
            "src/shm/ring.rs",
            "fn f() { SharedMapping::create(n, s) }",
            "1: SharedMapping::create may be written only in src/sys/memory.rs and src/shm/memory/: \
             memory is made in one place",
        ),
        (
            "src/process/master.rs",
            "let mut plan = Plan::default();",
            "1: Plan::default may be written only in src/shm/memory/: memory is planned in one place",
        ),
        (
            "src/sip/uri.rs",
            "thread_local! {}",
            "1: thread_local! may be written only in src/sys/ and src/process/roles/child.rs: \
             state that no argument shows",
        ),
        (
            "src/routing/outbox.rs",
            "libc::sendto(a)",
            "1: sendto may be written only in src/sys/: what leaves has one way out",
        ),
    ];
    for (name, text, expected) in rows {
        check(name, text, &[expected]);
    }
}

#[test]
fn what_may_be_written_is_left_alone() {
    let rows = [
        ("src/sys/futex.rs", "fn f() { unsafe { g() } thread_local! {} libc::sendmmsg() }"),
        ("src/shm/ring.rs", "fn f() { unsafe { g() } }"),
        ("src/shm/memory/segment.rs", "fn f() { SharedMapping::create(n, s); Plan::default(); }"),
        ("src/shm/ring.rs", "#[cfg(test)] mod tests { fn f() { Plan::default() } }"),
        ("tests/daemon.rs", "fn f() { socket.send_to(b, a); }"),
        ("src/sip/uri.rs", "// unsafe is a word; so is \"todo!\"\nconst UNSAFE: &str = \"unsafe todo!()\";"),
        ("src/sip/uri.rs", "#[allow(clippy::too_many_arguments, reason = \"all of them\")] fn f() {}"),
        ("src/lib.rs", "#[allow(unsafe_code)]\npub mod shm;"),
        ("src/shm/sync.rs", "#[allow(dead_code, reason = \"only the model makes it\")] struct A;"),
        ("src/shm/ring.rs", "#![allow(unsafe_code, reason = \"a heap\")]"),
    ];
    for (name, text) in rows {
        check(name, text, &[]);
    }
}
