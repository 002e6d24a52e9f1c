//! Every seed of the fuzz targets, and every input that once broke something, keeps the properties.
//!
//! `fuzz/regressions/TARGET/` has the inputs, each under a name that says what it broke; `scripts/fuzz` finds new ones.

#[path = "../fuzz/properties.rs"]
mod properties;

use std::path::Path;

#[test]
fn seeds_and_regressions_keep_the_properties() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, property) in properties::TARGETS {
        let mut count = 0;
        for folder in ["fuzz/seeds", "fuzz/regressions"] {
            let Ok(entries) = std::fs::read_dir(root.join(folder).join(target)) else { continue };
            for entry in entries {
                let path = entry.expect("the folder can be read").path();
                println!("{}", path.display());
                property(&std::fs::read(&path).expect("an input can be read"));
                count += 1;
            }
        }
        assert!(count > 0, "{target} has no seed");
    }
}

#[test]
fn the_torture_messages_keep_the_properties() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    for corpus in ["rfc4475", "rfc5118"] {
        for entry in std::fs::read_dir(root.join(corpus)).expect("the corpus is there") {
            let bytes = std::fs::read(entry.expect("the folder can be read").path()).expect("a message");
            properties::read_everything(&bytes);
            for choice in 0..4 {
                properties::reply_to(&[&[choice], &bytes[..]].concat());
            }
            for operation in 0..8 {
                properties::edit(&[&[operation, 3], &b"v\r\n"[..], &bytes[..]].concat());
            }
        }
    }
}

#[test]
fn every_target_has_a_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let count = std::fs::read_dir(folder).expect("the targets are there").count();
    assert_eq!(count, properties::TARGETS.len());
    let script = include_str!("../scripts/fuzz");
    assert!(
        properties::TARGETS.iter().all(|(name, _)| script.contains(name)),
        "scripts/fuzz runs all of them"
    );
}
