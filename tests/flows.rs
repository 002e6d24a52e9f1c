//! Call flows: every `.flow` file below `tests/flows` is a test, which has the file's name.
//!
//! `flows/*.flow` must be met. `flows/failing/*.flow` must not: beside each lies what is said about it (`*.expected`),
//! with what differs from run to run replaced by a word. `BLESS=1` writes the `.expected`.
//!
//! A harness of its own, as a file is a test here: it answers what `cargo test` and `cargo nextest` ask of one.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use regex::Regex;

const DAEMON: &str = env!("CARGO_BIN_EXE_sworkerd");

type Check = fn(&Path) -> Result<(), String>;

/// One test.
struct Case {
    name: String,
    path: PathBuf,
    check: Check,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    if has("--ignored") {
        return ExitCode::SUCCESS;
    }
    // `--format terse` is how nextest asks for the list.
    let is_filter = |word: &&String| !word.starts_with('-') && *word != "terse";
    let filters: Vec<&String> = words.iter().filter(is_filter).collect();
    let is_chosen = |case: &Case| {
        filters.is_empty()
            || filters.iter().any(|filter| match has("--exact") {
                true => case.name == **filter,
                false => case.name.contains(filter.as_str()),
            })
    };
    let chosen: Vec<Case> = cases().into_iter().filter(is_chosen).collect();
    if has("--list") {
        chosen.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    let failed: Vec<&Case> = chosen.iter().filter(|case| !passes(case)).collect();
    println!("{} flows, {} failed", chosen.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes(case: &Case) -> bool {
    let result = (case.check)(&case.path);
    println!("test {} ... {}", case.name, if result.is_ok() { "ok" } else { "FAILED" });
    if let Err(reason) = &result {
        println!("{reason}");
    }
    result.is_ok()
}

/// All flows; a word that `nextest` calls a test by has no blanks.
fn cases() -> Vec<Case> {
    let rows: [(&str, &str, Check); 2] =
        [("", "tests/flows", check_met), ("failing::", "tests/flows/failing", check_failing)];
    let mut cases = Vec::new();
    for (lead, folder, check) in rows {
        let files = std::fs::read_dir(folder_of(folder)).expect("the folder of flows is there");
        let paths = files.map(|file| file.expect("a file").path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|extension| extension == "flow")).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no flows in {folder}");
        cases.extend(paths.into_iter().map(|path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Case { name: format!("{lead}{stem}"), path, check }
        }));
    }
    cases
}

fn folder_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Exit code and all that is written, error output last.
fn run(path: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(DAEMON)
        .arg("--test")
        .arg(path.file_name().unwrap_or_default())
        .args(words)
        .current_dir(path.parent().unwrap_or(path))
        .output()
        .expect("the server's program can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn check_met(path: &Path) -> Result<(), String> {
    match run(path, &[]) {
        (Some(0), _) => Ok(()),
        (code, text) => Err(format!("exit status {code:?}\n{text}")),
    }
}

/// The first line of such a flow may say what more stands on the command line: `# with -f server.cfg`.
fn check_failing(path: &Path) -> Result<(), String> {
    let flow = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let first = flow.lines().next().unwrap_or_default();
    let words: Vec<&str> = first.strip_prefix("# with ").unwrap_or_default().split_whitespace().collect();
    let (code, text) = run(path, &words);
    let seen = format!("exit status {}\n{}", code.unwrap_or(-1), unchanging(&text));
    let expected_path = path.with_extension("expected");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&expected_path, &seen).map_err(|error| error.to_string())?;
    }
    let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
    if seen == expected {
        return Ok(());
    }
    Err(format!("BLESS=1 writes the .expected when this is right:\n{seen}\nexpected was:\n{expected}"))
}

/// What differs from run to run gets a word in its place.
fn unchanging(text: &str) -> String {
    let rows = [
        (r"(127\.0\.0\.\d+):\d+", "$1:PORT"),
        (r"rport=\d+", "rport=PORT"),
        (r"tag=[0-9a-f]{16}", "tag=TAG"),
        (r"( +)\d+\(\d+\) ", "$1 N(PID) "),
        (r"process \d+", "process PID"),
        (r#""seconds":[0-9.e-]+"#, "\"seconds\":SECONDS"),
        (r#"time="[0-9.]+""#, "time=\"SECONDS\""),
        (r"after \d+ ms", "after N ms"),
        (r"sworker \(\d[0-9.]*\)", "sworker (VERSION)"),
    ];
    rows.iter().fold(text.to_owned(), |text, (pattern, word)| {
        Regex::new(pattern).expect("a pattern of ours").replace_all(&text, *word).into_owned()
    })
}
