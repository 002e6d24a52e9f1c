//! What a rule has found, and the lists of excuses, which only shrink.

/// A broken rule: `text` is what is reported, `key` what an excuse names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub key: String,
    pub text: String,
}

impl Finding {
    /// The file, and what is wrong in which of its lines. An excuse names the file.
    pub fn at(file: &str, line: usize, what: impl AsRef<str>) -> Finding {
        Finding { key: file.into(), text: format!("{file}:{line}: {}", what.as_ref()) }
    }
}

/// What is left once the excused findings are taken away; an excuse that excuses nothing is an error too.
pub fn excuse<'e>(
    list: &str,
    found: Vec<Finding>,
    excused: impl IntoIterator<Item = &'e str>,
) -> Vec<String> {
    let excused: Vec<&str> = excused.into_iter().collect();
    let is_found = |excuse: &str| found.iter().any(|finding| finding.key == excuse);
    let idle: Vec<String> = excused
        .iter()
        .filter(|excuse| !is_found(excuse))
        .map(|excuse| format!("tests/tidy: {list} excuses {excuse}, which needs it no longer"))
        .collect();
    let left = found.iter().filter(|finding| !excused.contains(&finding.key.as_str()));
    left.map(|finding| finding.text.clone()).chain(idle).collect()
}

/// Names that may have more than the rule's maximum: up to which count, and why.
pub type Raised<'r> = &'r [(&'r str, usize, &'r str)];

/// The same for a rule that counts: an excuse raises the maximum for one name, up to the count it has today.
pub fn check_counts<'c>(
    list: &str,
    counts: impl IntoIterator<Item = (&'c str, usize)>,
    max: usize,
    raised: Raised<'_>,
    unit: &str,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut above = Vec::new();
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > max) {
        let row = raised.iter().find(|(raised, ..)| *raised == name);
        above.push(name);
        let max = row.map_or(max, |(_, max, _)| *max);
        if count > max {
            problems.push(format!("{name}: {count} {unit}, {max} are allowed: look for the second subject"));
        }
    }
    let idle = raised.iter().filter(|(name, ..)| !above.contains(name));
    problems.extend(
        idle.map(|(name, ..)| format!("tests/tidy: {list} excuses {name}, which needs it no longer")),
    );
    problems
}

#[test]
fn an_excuse_takes_away_what_it_names_and_is_an_error_when_nothing_needs_it() {
    let found = || vec![Finding::at("src/a.rs", 3, "wrong"), Finding::at("src/b.rs", 4, "wrong too")];
    let rows: [(&[&str], &[&str]); 4] = [
        (&[], &["src/a.rs:3: wrong", "src/b.rs:4: wrong too"]),
        (&["src/a.rs"], &["src/b.rs:4: wrong too"]),
        (&["src/b.rs", "src/a.rs"], &[]),
        (
            &["src/a.rs", "src/b.rs", "src/c.rs"],
            &["tests/tidy: LIST excuses src/c.rs, which needs it no longer"],
        ),
    ];
    for (excused, expected) in rows {
        assert_eq!(excuse("LIST", found(), excused.iter().copied()), expected, "{excused:?}");
    }
}

#[test]
fn a_raised_maximum_holds_for_its_name_and_is_an_error_when_nothing_needs_it() {
    let rows: [(usize, Raised<'_>, &[&str]); 6] = [
        (24, &[], &[]),
        (25, &[], &["src/a: 25 files, 24 are allowed: look for the second subject"]),
        (25, &[("src/a", 30, "why")], &[]),
        (31, &[("src/a", 30, "why")], &["src/a: 31 files, 30 are allowed: look for the second subject"]),
        (24, &[("src/a", 30, "why")], &["tests/tidy: LIST excuses src/a, which needs it no longer"]),
        (3, &[("src/gone", 30, "why")], &["tests/tidy: LIST excuses src/gone, which needs it no longer"]),
    ];
    for (count, raised, expected) in rows {
        assert_eq!(
            check_counts("LIST", [("src/a", count)], 24, raised, "files"),
            expected,
            "{count} {raised:?}"
        );
    }
}
