//! Rules over the text as it stands: the head, marks left behind, measure.

use super::finding::{Finding, Raised, check_counts};
use super::source::{Source, is_name_char};

/// Lines of a file of the product, without blank ones and tests.
const LINE_COUNT_MAX: usize = 600;

/// Lines of any file, with all there is in it.
const TOTAL_LINE_COUNT_MAX: usize = 900;

/// Files that may be longer: up to so many lines, and why.
const LONG_FILES: Raised<'_> = &[
    ("src/config/settings/table.rs", 680, "a table: one row for each setting"),
    ("src/process/start/boot.rs", 675, "splits into the steps of a start"),
];

/// Rust files that lie in one folder.
const FILE_COUNT_MAX: usize = 24;

/// Folders that may hold more: up to so many files, and why.
const CROWDED_FOLDERS: Raised<'_> = &[
    ("src/sip", 28, "RFC 3261 has many parts"),
    ("tests/server", 40, "a file for each subject of the whole server"),
];

pub fn check_head(source: &Source<'_>) -> Vec<Finding> {
    let what = "a file begins with //! and says what it is for";
    let is_missing = !source.text.starts_with("//!");
    is_missing.then(|| Finding::at(source.name, 1, what)).into_iter().collect()
}

pub fn check_marks(source: &Source<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        // Most files have none: one search over the text is quicker than one for each line.
        if !source.text.contains(mark) {
            continue;
        }
        let lines = source.text.lines().enumerate().filter(|(_, line)| has_word(line, mark));
        found.extend(
            lines.map(|(index, _)| Finding::at(source.name, index + 1, format!("{mark} left behind"))),
        );
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_name_char) && !after.is_some_and(is_name_char)
    })
}

pub fn check_measure(sources: &[Source<'_>]) -> Vec<String> {
    let product = sources.iter().filter(|source| source.module.is_some());
    let lines = product.map(|source| (source.name, source.product_line_count()));
    let total_lines = sources.iter().map(|source| (source.name, source.text.lines().count()));
    let mut folders: Vec<(&str, usize)> = Vec::new();
    for source in sources {
        match folders.iter_mut().find(|(folder, _)| *folder == source.folder()) {
            Some((_, count)) => *count += 1,
            None => folders.push((source.folder(), 1)),
        }
    }
    let mut problems = check_counts("LONG_FILES", lines, LINE_COUNT_MAX, LONG_FILES, "lines");
    problems.extend(check_counts("nothing", total_lines, TOTAL_LINE_COUNT_MAX, &[], "lines and tests"));
    problems.extend(check_counts("CROWDED_FOLDERS", folders, FILE_COUNT_MAX, CROWDED_FOLDERS, "files"));
    problems
}

#[test]
fn a_file_without_a_head_is_found() {
    let rows = [("//! Uri.\n", 0), ("use std::fmt;\n//! Uri.\n", 1), ("/// Uri.\n", 1), ("", 1)];
    for (text, expected) in rows {
        assert_eq!(check_head(&Source::of("src/sip/uri.rs", text)).len(), expected, "{text}");
    }
}

#[test]
fn marks_are_found_with_their_line_and_words_around_them_left_alone() {
    let rows = [
        (concat!("//! Uri.\n// TO", "DO: later"), vec![concat!("src/sip/uri.rs:2: TO", "DO left behind")]),
        (concat!("/// FIX", "ME"), vec![concat!("src/sip/uri.rs:1: FIX", "ME left behind")]),
        (concat!("const AUTO", "DOX: u8 = 1; // MASTO", "DON TO", "DO_S"), vec![]),
    ];
    for (text, expected) in rows {
        let found = check_marks(&Source::of("src/sip/uri.rs", text));
        assert_eq!(found.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn a_long_file_and_a_crowded_folder_are_found() {
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(LINE_COUNT_MAX));
    let tested =
        format!("//! Long.\n\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(LINE_COUNT_MAX));
    let names: Vec<String> = (0..=FILE_COUNT_MAX).map(|index| format!("src/made_up/{index}.rs")).collect();
    let mut sources: Vec<Source<'_>> = names.iter().map(|name| Source::of(name, "//! Short.\n")).collect();
    sources[0] = Source::of(&names[0], &long);
    sources[1] = Source::of(&names[1], &tested);
    let endless = "\n".repeat(TOTAL_LINE_COUNT_MAX + 1);
    sources.push(Source::of("tests/made_up.rs", &endless));
    sources.push(Source::of("tests/made_up_too.rs", &endless[1..]));
    let found = |sources: &[Source<'_>]| {
        let of_made_up = |problem: &String| problem.contains("made_up");
        check_measure(sources).into_iter().filter(of_made_up).collect::<Vec<_>>()
    };
    let expected = [
        "src/made_up/0.rs: 601 lines, 600 are allowed: look for the second subject",
        "tests/made_up.rs: 901 lines and tests, 900 are allowed: look for the second subject",
        "src/made_up: 25 files, 24 are allowed: look for the second subject",
    ];
    assert_eq!(found(&sources), expected);
    assert_eq!(found(&sources[1..=FILE_COUNT_MAX]), Vec::<String>::new());
}
