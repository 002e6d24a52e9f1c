//! The example scripts that come with the project are good scripts.

use std::path::Path;

use crate::support::sworkerd;

#[test]
fn every_example_script_passes_the_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cfg");
    let entries = std::fs::read_dir(&folder).expect("the examples are there");
    let scripts: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "cfg"))
        .collect();
    assert!(scripts.len() >= 3, "{scripts:?}");
    for script in scripts {
        let text = std::fs::read_to_string(&script).unwrap();
        let comment = text.lines().skip(1).take_while(|line| line.starts_with('#')).count();
        assert!(comment >= 2, "{} says nothing about itself", script.display());
        let finished = sworkerd(&[], &["-c", "-f", script.to_str().unwrap()]);
        assert_eq!(finished.code, Some(0), "{}:\n{}", script.display(), finished.output);
        assert!(!finished.output.contains("warning"), "{}:\n{}", script.display(), finished.output);
    }
}
