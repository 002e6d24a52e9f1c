//! `tests/golden/deviations.txt`: every place where we answer otherwise than the reference on purpose.
//!
//! A test collects all differences of its subject and hands them to [`check`]. It fails for a difference the file does
//! not explain, for one it explains with another answer than the one seen, and for a row that no longer happens.

use std::path::Path;

/// One place where the two answers are not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What was asked: a variable, a transformation, a statement.
    pub name: String,
    /// The answer of the reference.
    pub theirs: String,
    /// Our answer.
    pub ours: String,
}

impl Difference {
    /// The difference of two answers, or `None` when they are the same.
    pub fn between(name: &str, theirs: &str, ours: &str) -> Option<Difference> {
        let difference = || Difference { name: name.into(), theirs: theirs.into(), ours: ours.into() };
        (theirs != ours).then(difference)
    }
}

/// A row of the file.
#[derive(Debug, Default)]
struct Deviation {
    subject: String,
    name: String,
    theirs: String,
    ours: String,
    reason: String,
}

/// Holds what was found in one subject against the rows of that subject.
#[track_caller]
pub fn check(subject: &str, found: &[Difference]) {
    let rows: Vec<Deviation> = read().into_iter().filter(|row| row.subject == subject).collect();
    let explains = |row: &Deviation, found: &Difference| {
        // Blanks around an answer do not show in the file.
        (row.name.as_str(), row.theirs.trim(), row.ours.trim())
            == (found.name.as_str(), found.theirs.trim(), found.ours.trim())
    };
    let unexplained = found.iter().filter(|found| !rows.iter().any(|row| explains(row, found)));
    let outdated = rows.iter().filter(|row| !found.iter().any(|found| explains(row, found)));
    let show = |name: &str, theirs: &str, ours: &str| {
        format!("[{subject}] {name}\n    theirs:  {theirs}\n    ours:    {ours}\n")
    };
    let unexplained: String = unexplained.map(|one| show(&one.name, &one.theirs, &one.ours)).collect();
    let outdated: String = outdated.map(|one| show(&one.name, &one.theirs, &one.ours)).collect();
    assert!(
        unexplained.is_empty() && outdated.is_empty(),
        "differences that tests/golden/deviations.txt does not explain:\n{unexplained}\n\
         rows of it that no longer happen:\n{outdated}"
    );
}

/// All rows. A file that is not in its form fails the test.
#[track_caller]
fn read() -> Vec<Deviation> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/deviations.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rows: Vec<Deviation> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("deviations.txt:{}", index + 1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            let (subject, name) = head.split_once("] ").unwrap_or_else(|| panic!("{place}: [subject] name"));
            rows.push(Deviation { subject: subject.into(), name: name.into(), ..Deviation::default() });
            continue;
        }
        let row = rows.last_mut().unwrap_or_else(|| panic!("{place}: a row begins with [subject] name"));
        let (key, value) = line.trim_start().split_once(':').unwrap_or_else(|| panic!("{place}: key: value"));
        let value = value.trim_start().to_string();
        match key {
            "theirs" => row.theirs = value,
            "ours" => row.ours = value,
            "because" => row.reason = value,
            _ => panic!("{place}: {key:?} is none of theirs, ours, because"),
        }
    }
    for row in &rows {
        assert!(!row.reason.is_empty(), "[{}] {} has no reason", row.subject, row.name);
    }
    rows
}
