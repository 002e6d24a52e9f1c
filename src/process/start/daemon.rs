//! Leaving the terminal, and the directory a daemon works with.
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
use crate::sys::process::{Fork, SingleThreaded, exit_now, fork};
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
    /// In the foreground no process waits, and a program that takes over from another one tells it in another way.
    pub fn in_foreground() -> Birth {
        Birth { waiting: None }
    }

    /// Leaves the terminal. Returns in the server only; the process that called waits for its word and exits.
    pub fn in_background(proof: &SingleThreaded, timeout: Duration) -> io::Result<Birth> {
        let (reader, writer) = io::pipe()?;
        if let Fork::Parent(_) = fork(proof)? {
            drop(writer);
            exit_now(wait_for_word(reader, timeout));
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
            // The process that started us may be gone already; then this is of no use.
            let _ = writer.write_all(&[SERVES]);
        }
    }
}

/// The end without a word means that the server died.
fn wait_for_word(mut reader: io::PipeReader, timeout: Duration) -> i32 {
    let deadline = Instant::now() + timeout;
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

/// Makes the run directory with mode 0700 when it is missing. One that another user owns is refused when it lies where
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
