//! Leaving the terminal, and the files by which a daemon is found.
//!
//! ```text
//!  sworkerd (waits) ──fork──► session leader ──fork──► the server
//!      ▲  exits with the status     leaves at once        │
//!      └──────────── one byte: it serves, or it failed ◄──┘
//! ```

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sys::credentials::own_user;
use crate::sys::poll::{self, Interest};
use crate::sys::process::{Fork, ProcessId, SingleThreaded, exit_now, fork};
use crate::sys::session;

/// Exit status of a server that did not come up.
pub const EXIT_FAILED: i32 = 255;

/// How the process that was started by hand learns what became of the server.
#[derive(Debug)]
pub struct Birth {
    waiting: Option<io::PipeWriter>,
}

const SERVES: u8 = 1;

impl Birth {
    /// In the foreground nobody waits.
    pub fn in_foreground() -> Birth {
        Birth { waiting: None }
    }

    /// The program before this one waits.
    pub fn awaited_by(waiting: io::PipeWriter) -> Birth {
        Birth { waiting: Some(waiting) }
    }

    /// Leaves the terminal. Returns in the server only; the process that called waits for its word and exits.
    pub fn in_background(proof: &SingleThreaded, patience: Duration) -> io::Result<Birth> {
        let (reader, writer) = io::pipe()?;
        if let Fork::Parent(_) = fork(proof)? {
            drop(writer);
            exit_now(wait_for_word(reader, patience));
        }
        drop(reader);
        session::start()?;
        // A second child is no session leader, so opening a terminal can never make it one of ours.
        if let Fork::Parent(_) = fork(proof)? {
            exit_now(0);
        }
        Ok(Birth { waiting: Some(writer) })
    }

    /// The server serves.
    pub fn succeeded(&mut self) {
        if let Some(mut writer) = self.waiting.take() {
            // Who started us may be gone already; then nobody wants to know.
            let _ = writer.write_all(&[SERVES]);
        }
    }
}

/// The end without a word means that the server died.
fn wait_for_word(mut reader: io::PipeReader, patience: Duration) -> i32 {
    let deadline = Instant::now() + patience;
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        match poll::wait_for(reader.as_fd(), Interest::Read, rest) {
            Ok(true) => break,
            Ok(false) if Instant::now() < deadline => continue,
            Ok(false) | Err(_) => return EXIT_FAILED,
        }
    }
    let mut word = [0];
    match reader.read(&mut word) {
        Ok(1) if word[0] == SERVES => 0,
        _ => EXIT_FAILED,
    }
}

/// A file that holds a number of this server, removed when it is dropped in the process that wrote it.
#[derive(Debug)]
pub struct NumberFile {
    path: PathBuf,
    number: i32,
    writer: ProcessId,
}

impl Drop for NumberFile {
    fn drop(&mut self) {
        if self.writer == ProcessId::own() {
            self.remove();
        }
    }
}

/// What was found at the place of a pid file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// Nothing.
    None,
    /// The number of a process that is gone.
    Stale(i32),
}

impl NumberFile {
    /// Looks whether a server lives that wrote `path` before.
    /// One that this process succeeds is none.
    pub fn predecessor(path: &Path, succeeded: Option<ProcessId>) -> Result<Predecessor, String> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Predecessor::None),
            Err(error) => return Err(format!("could not read pid file {}: {error}", path.display())),
        };
        if text.trim().is_empty() {
            return Ok(Predecessor::None);
        }
        let Some(process) = text.trim().parse().ok().and_then(ProcessId::from_number) else {
            return Err(format!(
                "pid file {} holds no process id; remove it if it is of no use",
                path.display()
            ));
        };
        if process != ProcessId::own() && Some(process) != succeeded && session::exists(process) {
            return Err(format!(
                "pid file {}: process {process} lives; is the server running?",
                path.display()
            ));
        }
        Ok(Predecessor::Stale(process.number()))
    }

    /// Writes `number`; the error says what the path is and why it cannot be written.
    pub fn write(path: &Path, number: i32) -> Result<NumberFile, String> {
        let refused = |error: io::Error| format!("{}: {error}", path.display());
        let path = std::path::absolute(path).map_err(refused)?;
        fs::write(&path, format!("{number}\n")).map_err(|error| match path.parent() {
            Some(directory) if error.kind() == io::ErrorKind::NotFound => {
                format!("{}: there is no directory {}", path.display(), directory.display())
            }
            _ => refused(error),
        })?;
        Ok(NumberFile { path, number, writer: ProcessId::own() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file if it is still ours.
    fn remove(&self) {
        let is_ours = fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == self.number.to_string());
        if is_ours {
            // In a directory that we may no longer write to, an empty file says the same.
            if fs::remove_file(&self.path).is_err() {
                let _ = fs::write(&self.path, "");
            }
        }
    }
}

/// Makes the run directory with mode 0700 when it is missing. One that somebody else owns is refused when it lies where
/// anybody may put one.
pub fn prepare_run_directory(path: &Path) -> Result<PathBuf, String> {
    let refused =
        |reason: &dyn std::fmt::Display| format!("cannot use run directory {}: {reason}", path.display());
    let path = std::path::absolute(path).map_err(|error| refused(&error))?;
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(&path) {
        Ok(()) => {}
        Err(error) => return Err(refused(&error)),
    }
    let found = fs::symlink_metadata(&path).map_err(|error| refused(&error))?;
    if found.is_symlink() && found.uid() != own_user() && found.uid() != 0 {
        return Err(refused(&"it is another user's link"));
    }
    let found = fs::metadata(&path).map_err(|error| refused(&error))?;
    if found.uid() != own_user() && own_user() != 0 {
        return Err(refused(&"it belongs to another user"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn pid_files_of_others_are_respected_and_stale_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let check = |content: Option<&str>, expected: Result<Predecessor, &str>| {
            match content {
                Some(content) => fs::write(&path, content).unwrap(),
                None => fs::remove_file(&path).unwrap_or_default(),
            }
            match (NumberFile::predecessor(&path, None), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{content:?}"),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (found, _) => panic!("{content:?} gave {found:?}"),
            }
        };
        let parent = ProcessId::parent().to_string();
        check(None, Ok(Predecessor::None));
        check(Some(""), Ok(Predecessor::None));
        check(Some("2147483647\n"), Ok(Predecessor::Stale(i32::MAX)));
        check(Some(&parent), Err("lives; is the server running?"));
        check(Some(&ProcessId::own().to_string()), Ok(Predecessor::Stale(ProcessId::own().number())));
        for nonsense in ["abc", "-1", "0", "12 13", "99999999999"] {
            check(Some(nonsense), Err("holds no process id"));
        }
    }

    #[test]
    fn a_number_file_goes_with_its_server_unless_another_one_wrote_it_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");

        let file = NumberFile::write(&path, 42).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "42\n");
        fs::write(&path, "43\n").unwrap();
        drop(file);
        assert!(path.exists());

        drop(NumberFile::write(&path, 42).unwrap());
        assert!(!path.exists());
        let refused = NumberFile::write(&folder.path().join("no/such/pid"), 1).unwrap_err();
        assert!(
            refused.contains(&format!("there is no directory {}/no/such", folder.path().display())),
            "{refused}"
        );
    }

    #[test]
    fn run_directories_are_made_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let made = prepare_run_directory(&path).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(prepare_run_directory(&path), Ok(made));

        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(prepare_run_directory(&file).is_err());
    }
}
