//! The rules of the house, held by a test that reads the sources.
//!
//! Each broken rule is one line, `src/sip/mod.rs:35: sip may not import modules`, and all of them are told at once.
//! A rule is a plain function over text, so its own tests feed it small made-up files in both directions: what must be
//! found is found, what is allowed is left alone. What a rule excuses stands in a list beside it, with the reason; an
//! excuse that nothing needs any more is an error, so the lists only shrink.
//!
//! | file | rules |
//! |---|---|
//! | `text` | the head, marks left behind, lines of a file, files of a folder |
//! | `words` | `unsafe`, `allow`, what is written in one place only: shared memory, `thread_local!`, `sendto` |
//! | `tested` | every file has tests |
//! | `floors` | which room may import which |
//! | `circles` | files that name each other in a circle |
//! | `names` | a public type's name stands once; nothing public is unused |
//! | `picture` | README, `lib.rs`, folders and floors show the same rooms |

mod circles;
mod finding;
mod floors;
mod names;
mod paths;
mod picture;
mod source;
mod tested;
mod text;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use finding::{Finding, excuse};
use source::{Source, mark_test_files};

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = read_files(root, &["src", "tests", "benches"]);
    let mut sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source::of(name, text)).collect();
    mark_test_files(&mut sources);
    let mut problems = check_files(&sources);
    problems.extend(check_house(root, &sources));
    assert!(sources.len() > 10, "found only {} files", sources.len());
    assert!(problems.is_empty(), "{} rules broken:\n{}\n", problems.len(), problems.join("\n"));
}

/// Rules over each file by itself.
fn check_files(sources: &[Source<'_>]) -> Vec<String> {
    let each = |rule: fn(&Source<'_>) -> Vec<Finding>| sources.iter().flat_map(rule).collect::<Vec<_>>();
    let unexcused = [text::check_head, text::check_marks, words::check_placeholders];
    let mut problems: Vec<String> =
        unexcused.into_iter().flat_map(each).map(|finding| finding.text).collect();
    problems.extend(each(floors::check_imports).into_iter().map(|finding| finding.text));
    problems.extend(excuse("BLANKET_ALLOWS", each(words::check_allows), keys(words::BLANKET_ALLOWS)));
    problems.extend(excuse("UNSAFE_FILES", each(words::check_unsafe), keys(words::UNSAFE_FILES)));
    problems.extend(excuse("AWAY_FROM_HOME", each(words::check_homes), keys(words::AWAY_FROM_HOME)));
    problems.extend(excuse(
        "TESTED_ELSEWHERE",
        each(tested::check_has_tests),
        keys(tested::TESTED_ELSEWHERE),
    ));
    problems
}

/// Rules over all files together.
fn check_house(root: &Path, sources: &[Source<'_>]) -> Vec<String> {
    let excused_circles: Vec<String> =
        circles::CIRCLES.iter().map(|(files, _)| circles::circle_key(files)).collect();
    let excused_circles = excused_circles.iter().map(String::as_str);
    let mut problems = text::check_measure(sources);
    problems.extend(tested::check_test_homes(root));
    problems.extend(floors::check_floors(floors::MAY_IMPORT));
    problems.extend(excuse("CIRCLES", circles::check_circles(sources), excused_circles));
    problems.extend(excuse("SHARED_NAMES", names::check_shared_names(sources), keys(names::SHARED_NAMES)));
    problems.extend(excuse("UNUSED_ITEMS", names::check_unused_items(sources), keys(names::UNUSED_ITEMS)));
    problems.extend(check_pictures(root, sources));
    problems
}

fn check_pictures(root: &Path, sources: &[Source<'_>]) -> Vec<String> {
    let lib = sources.iter().find(|source| source.name == "src/lib.rs").expect("a library");
    let declared = (0..lib.tokens.len()).filter(|index| lib.token_text(*index) == "mod");
    let folders =
        sources.iter().filter_map(|source| source.module.as_ref()).filter(|module| !module.is_program());
    let readme = fs::read_to_string(root.join("README.md")).expect("a README");
    let mut problems = picture::check_picture("README.md", &readme);
    problems.extend(picture::check_picture(lib.name, lib.text));
    problems.extend(picture::check_same_rooms("src/lib.rs", declared.map(|index| lib.token_text(index + 1))));
    problems.extend(picture::check_same_rooms("src", folders.map(|module| module.room)));
    problems
}

fn keys(excuses: &'static [(&'static str, &'static str)]) -> impl Iterator<Item = &'static str> {
    excuses.iter().map(|(key, _)| *key)
}

/// The Rust files below `folders`, by their name from `root`.
fn read_files(root: &Path, folders: &[&str]) -> Vec<(String, String)> {
    let paths = folders.iter().flat_map(|folder| rust_files(&root.join(folder)));
    let name =
        |path: &Path| path.strip_prefix(root).expect("a path below the root").to_string_lossy().into_owned();
    paths.map(|path| (name(&path), fs::read_to_string(&path).expect("a readable source"))).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
