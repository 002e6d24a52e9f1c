//! Which of several servers on one machine is meant: each has a run directory of its own, and everything by which it
//! can be found is named after that.

use std::env;
use std::path::{Path, PathBuf};

use crate::shm::fnv1a;
use crate::sys::credentials::own_user;

/// The run directory when none is given: the system's for root, the user's own for other users.
pub fn default_run_directory() -> PathBuf {
    run_directory_of(own_user(), env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), &env::temp_dir())
}

fn run_directory_of(user: u32, runtime: Option<PathBuf>, temporary: &Path) -> PathBuf {
    match (user, runtime.filter(|path| path.is_absolute())) {
        (0, _) => PathBuf::from("/run/sworker"),
        (_, Some(runtime)) => runtime.join("sworker"),
        (user, None) => temporary.join(format!("sworker-{user}")),
    }
}

/// Where commands are answered.
pub fn control_socket(run_directory: &Path) -> PathBuf {
    run_directory.join("sworker.sock")
}

/// The name under which figures are published: readable, made of letters, digits and dashes, and different for
/// different directories.
pub fn name(run_directory: &Path) -> String {
    let path = run_directory.canonicalize().unwrap_or_else(|_| run_directory.to_owned());
    let text = path.to_string_lossy();
    let readable: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    let readable = readable.trim_matches('-');
    let start = readable.len().saturating_sub(READABLE_SIZE_MAX);
    format!("{}-{:08x}", readable[start..].trim_matches('-'), fnv1a(text.as_bytes()))
}

/// Where the memory of that name is.
pub fn published_figures(run_directory: &Path) -> PathBuf {
    PathBuf::from(format!("/dev/shm/sworker.{}", name(run_directory)))
}

const READABLE_SIZE_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_without_being_told() {
        let rows = [
            (0, Some("/run/user/0"), "/run/sworker"),
            (0, None, "/run/sworker"),
            (1000, Some("/run/user/1000"), "/run/user/1000/sworker"),
            (1000, Some("relative"), "/var/temp/sworker-1000"),
            (1000, None, "/var/temp/sworker-1000"),
        ];
        for (user, runtime, expected) in rows {
            let found = run_directory_of(user, runtime.map(PathBuf::from), Path::new("/var/temp"));
            assert_eq!(found, Path::new(expected), "{user} {runtime:?}");
        }
    }

    #[test]
    fn names_tell_directories_apart() {
        let names: Vec<_> =
            ["/nowhere/a/b", "/nowhere/a-b", "/nowhere/a.b", "/nowhere"].map(Path::new).map(name).into();
        assert_eq!(names[0], "nowhere-a-b-550e2919");
        for (index, one) in names.iter().enumerate() {
            assert!(names[index + 1..].iter().all(|other| other != one), "{one}");
        }
        assert!(name(Path::new(&"/deep".repeat(200))).len() <= 64);
        assert!(!name(Path::new("/ü/ß")).is_empty());
    }
}
