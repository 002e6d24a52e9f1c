//! Every file of the product has its tests, or says where they are.

use std::path::Path;

use super::finding::Finding;
use super::source::Source;

/// Files, or all that begin so, that may stand without a `#[cfg(test)]`: where their tests are instead.
pub const TESTED_ELSEWHERE: &[(&str, &str)] = &[
    // Flows that must pass and flows that must fail, with the text of their reports.
    ("src/flows/", "tests/flows.rs"),
    // Tables of cases from text to tree, diagnostics or outcome: one case touches most of these files.
    ("src/script/", "tests/script.rs"),
    ("src/script/", "tests/script_parse.rs"),
    ("src/routing/forward.rs", "src/engine/perform/tests.rs"),
    ("src/routing/locks.rs", "src/modules/cfgutils.rs"),
    ("src/routing/services.rs", "src/bindings/registry.rs"),
    ("src/routing/script_view.rs", "src/bindings/registry.rs"),
    ("src/routing/shared_values.rs", "src/bindings/variables/shared.rs"),
    ("src/bindings/registry/live.rs", "src/bindings/registry/catalog.rs"),
    ("src/bindings/transformations/row.rs", "src/bindings/transformations.rs"),
    ("src/bindings/transformations/row.rs", "src/bindings/transformations.rs"),
    ("src/bindings/transformations/row.rs", "src/bindings/transformations.rs"),
    ("src/process/master/draining.rs", "tests/server/reload.rs"),
    // The protocol of the queue: models of every interleaving, and real processes that are killed.
    ("src/shm/queue/event_count.rs", "src/shm/proof/model.rs"),
    ("src/shm/queue/queue_figures.rs", "src/shm/queue/queues.rs"),
    ("src/shm/memory/sync.rs", "src/shm/proof/model.rs"),
    ("src/shm/proof/model.rs", "scripts/loom"),
    ("src/shm/proof/model/delay.rs", "scripts/loom"),
    ("src/shm/proof/model/outbox.rs", "scripts/loom"),
    ("src/shm/proof/mutant.rs", "scripts/loom"),
];

pub fn check_has_tests(source: &Source<'_>) -> Vec<Finding> {
    let Some(module) = &source.module else { return vec![] };
    let is_only_a_list = module.is_list_file && !source.tokens.iter().any(|token| token.text == "fn");
    let names: Vec<&str> = source.tokens.iter().map(|token| token.text).collect();
    let is_tested = names.windows(3).any(|three| three == ["cfg", "(", "test"])
        || names.windows(5).any(|five| five == ["cfg", "(", "all", "(", "test"]);
    if is_tested || is_only_a_list || module.is_program() || source.name.ends_with("/tests.rs") {
        return vec![];
    }
    let excused = TESTED_ELSEWHERE.iter().find(|(excused, _)| source.name.starts_with(excused));
    let text = format!("{}:1: no #[cfg(test)] here", source.name);
    vec![Finding { key: excused.map_or(source.name, |(excused, _)| excused).into(), text }]
}

pub fn check_test_homes(root: &Path) -> Vec<String> {
    let missing = TESTED_ELSEWHERE.iter().filter(|(_, tests)| !root.join(tests).exists());
    missing.map(|(file, tests)| format!("tests/tidy: {tests}, which tests {file}, does not exist")).collect()
}

#[test]
fn a_file_without_tests_is_found() {
    let rows = [
        ("src/sip/uri.rs", "//! Uri.\nfn f() {}\n", "src/sip/uri.rs"),
        ("src/sip/mod.rs", "//! Sip.\nfn f() {}\n", "src/sip/mod.rs"),
        ("src/sip/uri.rs", "//! Uri.\n// #[cfg(test)]\n", "src/sip/uri.rs"),
        ("src/script/ast.rs", "//! The tree.\npub struct Ast;\n", "src/script/"),
    ];
    for (name, text, key) in rows {
        let expected = Finding { key: key.into(), text: format!("{name}:1: no #[cfg(test)] here") };
        assert_eq!(check_has_tests(&Source::of(name, text)), [expected]);
    }
}

#[test]
fn lists_programs_and_tests_need_no_tests_of_their_own() {
    let rows = [
        ("src/sip/uri.rs", "//! Uri.\n#[cfg(test)]\nmod tests {}\n"),
        ("src/sip/mod.rs", "//! Sip.\npub mod uri;\n"),
        ("src/bin/sworkerd.rs", "//! The daemon.\nfn main() {}\n"),
        ("tests/daemon.rs", "//! The daemon.\nfn f() {}\n"),
        ("src/shm/ring.rs", "//! Ring.\n#[cfg(all(test, not(loom)))]\nmod tests {}\n"),
    ];
    for (name, text) in rows {
        assert_eq!(check_has_tests(&Source::of(name, text)), [], "{name}");
    }
}
