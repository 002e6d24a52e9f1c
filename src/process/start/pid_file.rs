//! Files that hold a number of this server, such as its pid file.
//!
//! A file appears whole or not at all: it is written beside its place and takes it by a rename. In a directory where
//! this user may make no file, one that is there already (given to the user by a program that began as root) is overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::sys::process::ProcessId;
use crate::sys::session;

/// Such a file. It is removed when this is dropped in the process that prepared it.
#[derive(Debug)]
pub struct NumberFile {
    path: PathBuf,
    number: i32,
    stage: Stage,
    writer: ProcessId,
}

/// How far a number is on its way into its file.
#[derive(Debug)]
enum Stage {
    /// Written beside the place it is to take.
    Beside(PathBuf),
    /// To be written into what is there.
    Over(File),
    /// It is there.
    Taken,
    /// The file belongs to another program.
    Left,
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
                "pid file {} contains no process id; remove it if it is not needed",
                path.display()
            ));
        };
        if Some(process) == succeeded {
            return Ok(Predecessor::None);
        }
        if process != ProcessId::own() && session::exists(process) {
            return Err(format!(
                "pid file {}: process {process} is running; is the server already started?",
                path.display()
            ));
        }
        Ok(Predecessor::Stale(process.number()))
    }

    /// Makes ready to write `number`; what is there stays until [`NumberFile::take`].
    pub fn prepare(path: &Path, number: i32) -> Result<NumberFile, String> {
        let refused = |error: io::Error| match path.parent() {
            Some(directory) if error.kind() == io::ErrorKind::NotFound => {
                format!("{}: there is no directory {}", path.display(), directory.display())
            }
            _ => format!("{}: {error}", path.display()),
        };
        // A link goes on to point where it does.
        let path = fs::canonicalize(path).or_else(|_| std::path::absolute(path)).map_err(refused)?;
        let stage = match fs::metadata(&path) {
            Ok(found) if !found.is_file() => Stage::Over(open(&path).map_err(refused)?),
            _ => write_beside(&path, number)
                .map(Stage::Beside)
                .or_else(|error| open(&path).map(Stage::Over).map_err(|_| error))
                .map_err(refused)?,
        };
        Ok(NumberFile { path, number, stage, writer: ProcessId::own() })
    }

    /// The number is in its file.
    pub fn take(&mut self) -> Result<(), String> {
        let taken = match &mut self.stage {
            Stage::Beside(beside) => fs::rename(beside, &self.path),
            Stage::Over(file) => overwrite(file, self.number),
            Stage::Taken | Stage::Left => Ok(()),
        };
        taken.map_err(|error| format!("could not write {}: {error}", self.path.display()))?;
        self.stage = Stage::Taken;
        Ok(())
    }

    /// The number is in its file again, whatever wrote there since.
    pub fn take_back(&mut self) -> Result<(), String> {
        let mut again = NumberFile::prepare(&self.path, self.number)?;
        again.take()?;
        // What is dropped removes nothing.
        self.leave();
        *self = again;
        Ok(())
    }

    /// Removes what a process that died had prepared: its own number, or that of the process group, which is ours, too.
    pub fn sweep_after(&self, process: ProcessId) {
        let _ = fs::remove_file(beside(&self.path, process.number()));
        let _ = fs::remove_file(beside(&self.path, self.number));
    }

    /// Another program has the file from now on.
    pub fn leave(&mut self) {
        self.stage = Stage::Left;
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

impl Drop for NumberFile {
    fn drop(&mut self) {
        if self.writer != ProcessId::own() {
            return;
        }
        match &self.stage {
            // What cannot be removed now is overwritten by the next one of this number.
            Stage::Beside(beside) => drop(fs::remove_file(beside)),
            Stage::Taken => self.remove(),
            Stage::Over(_) | Stage::Left => {}
        }
    }
}

fn write_beside(path: &Path, number: i32) -> io::Result<PathBuf> {
    let beside = beside(path, number);
    fs::write(&beside, format!("{number}\n")).inspect_err(|_| drop(fs::remove_file(&beside)))?;
    Ok(beside)
}

fn beside(path: &Path, number: i32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    path.with_file_name(name)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// A program that reads meanwhile finds digits, and at no time nothing.
fn overwrite(file: &mut File, number: i32) -> io::Result<()> {
    let text = format!("{number}\n");
    file.write_all(text.as_bytes())?;
    match file.metadata()?.is_file() {
        true => file.set_len(text.len() as u64),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

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
        check(Some(&parent), Err("is running; is the server already started?"));
        check(Some(&ProcessId::own().to_string()), Ok(Predecessor::Stale(ProcessId::own().number())));
        for nonsense in ["abc", "-1", "0", "12 13", "99999999999"] {
            check(Some(nonsense), Err("contains no process id"));
        }
        fs::write(&path, &parent).unwrap();
        assert_eq!(NumberFile::predecessor(&path, Some(ProcessId::parent())), Ok(Predecessor::None));
    }

    fn taken(path: &Path, number: i32) -> NumberFile {
        let mut file = NumberFile::prepare(path, number).unwrap();
        file.take().unwrap();
        file
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_number_file_goes_with_its_server_unless_another_one_wrote_it_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");

        let file = taken(&path, 42);
        assert_eq!(fs::read_to_string(&path).unwrap(), "42\n");
        fs::write(&path, "43\n").unwrap();
        drop(file);
        assert!(path.exists());

        drop(taken(&path, 42));
        assert_eq!(names(folder.path()), Vec::<String>::new());
        assert!(NumberFile::prepare(&folder.path().join("no/such/pid"), 1).is_err());
    }

    #[test]
    fn who_gives_up_before_its_turn_has_changed_nothing_and_who_was_succeeded_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut predecessor = taken(&path, 42);

        drop(NumberFile::prepare(&path, 43).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "42\n");

        // The same number: a process group is handed on.
        let successor = taken(&path, 42);
        predecessor.leave();
        drop(predecessor);
        assert_eq!(names(folder.path()), ["pid"]);
        drop(successor);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_plain_file_is_written_to_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "123456789\n").unwrap();
        symlink(&target, &link).unwrap();
        let file = taken(&link, 7);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "7\n");
        drop(file);

        let null = Path::new("/dev/null");
        let before = fs::metadata(null).unwrap().ino();
        drop(taken(null, 7));
        assert_eq!(fs::metadata(null).unwrap().ino(), before);

        // As it is where nothing may be made beside it.
        fs::write(&target, "123456789\n").unwrap();
        overwrite(&mut open(&target).unwrap(), 42).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "42\n");
    }
}
