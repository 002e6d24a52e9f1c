//! A test's own folder: gone when the test passes, left behind when it fails.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A fresh empty folder.
pub struct Folder {
    folder: Option<TempDir>,
}

impl Folder {
    /// Makes one in the system's temporary folder.
    pub fn new() -> Folder {
        let folder = tempfile::Builder::new().prefix("sworker-test-").tempdir();
        Folder { folder: Some(folder.expect("a temporary folder can be made")) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("kept until dropped").path()
    }

    /// Path of a file inside.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file inside and tells its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("could not write {}: {error}", path.display()));
        path
    }

    /// A file's text, empty when there is none; bytes that are no text are replaced.
    pub fn read(&self, name: &str) -> String {
        fs::read(self.file(name))
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if let Some(folder) = self.folder.take() {
            eprintln!("the folder of this test is left in {}", folder.keep().display());
        }
    }
}
