//! Runs the tests of a program that forks and so cannot use the usual harness, whose threads a fork would lose.
//!
//! Included with `#[path]`. Understands what `cargo test` and `cargo nextest` say to a test program.

/// A test: what it is called, and what it says when it passes or fails.
pub type Test<'t> = (&'t str, &'t dyn Fn() -> Result<String, String>);

/// Lists or runs the tests that the arguments of this process select, and gives the exit status.
pub fn main(tests: &[Test<'_>]) -> i32 {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let selected = tests.iter().filter(|(name, _)| arguments.selects(name));
    if arguments.is_list {
        selected.for_each(|(name, _)| println!("{name}: test"));
        return 0;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in selected {
        match test() {
            Ok(summary) => {
                passed += 1;
                println!("test {name} ... ok\n     {summary}");
            }
            Err(reason) => {
                failed += 1;
                println!("test {name} ... FAILED\n     {reason}");
            }
        }
    }
    println!("\n{passed} passed, {failed} failed");
    i32::from(failed > 0)
}

/// What `cargo test` and `cargo nextest` say: `--list`, `--exact NAME`, `--skip NAME`, part of a name; the rest is
/// of no meaning here.
#[derive(Default)]
struct Arguments {
    is_list: bool,
    is_exact: bool,
    is_ignored_only: bool,
    names: Vec<String>,
    skipped: Vec<String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => arguments.is_list = true,
                "--exact" => arguments.is_exact = true,
                "--ignored" => arguments.is_ignored_only = true,
                "--skip" => arguments.skipped.extend(words.next()),
                "--format" | "--test-threads" | "--color" | "--logfile" | "-Z" | "--report-time" => {
                    words.next();
                }
                word if word.starts_with('-') => {}
                _ => arguments.names.push(word),
            }
        }
        arguments
    }

    fn selects(&self, name: &str) -> bool {
        let matches =
            |wanted: &String| if self.is_exact { name == wanted } else { name.contains(wanted.as_str()) };
        // No test here is marked as ignored.
        !self.is_ignored_only
            && (self.names.is_empty() || self.names.iter().any(matches))
            && !self.skipped.iter().any(matches)
    }
}
