//! By what others find this server: pid file, socket for commands, published figures.
//!
//! Of a server and the program that takes over from it one owns all of them at any time. The successor prepares its own
//! beside those of its predecessor and takes them when it serves; a program that owns none removes none.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::start::pid_file::NumberFile;
use crate::shm::StatisticsPublisher;
use crate::sys::process::ProcessId;

/// The names of one server.
#[derive(Debug)]
pub struct Names {
    files: Vec<NumberFile>,
    command_socket: PathBuf,
    are_ours: bool,
}

impl Names {
    /// Of a server without a predecessor; it has them.
    pub fn taken(files: Vec<NumberFile>, command_socket: PathBuf) -> Names {
        Names { files, command_socket, are_ours: true }
    }

    /// Of a program that takes over from another one; that one has them.
    pub fn prepared(files: Vec<NumberFile>, command_socket: PathBuf) -> Names {
        Names { files, command_socket, are_ours: false }
    }

    /// Whether others find this server by them.
    #[cfg(test)]
    pub(crate) fn are_ours(&self) -> bool {
        self.are_ours
    }

    /// Everything is ours from now on; what could not be taken, in words.
    pub fn take(&mut self, figures: &StatisticsPublisher) -> Vec<String> {
        self.are_ours = true;
        let taken = self.files.iter_mut().map(NumberFile::take);
        let refused: Vec<String> = taken.filter_map(Result::err).collect();
        let unseen = figures.take_name().err().map(|error| error.to_string());
        refused.into_iter().chain(unseen).collect()
    }

    /// Those of them that are files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(NumberFile::path).chain([self.command_socket.as_path()])
    }

    /// A successor that was told to take them is gone: they are ours again; what could not be taken, in words. Figures are
    /// none of these.
    pub fn take_back(&mut self) -> Vec<String> {
        self.files.iter_mut().map(NumberFile::take_back).filter_map(Result::err).collect()
    }

    /// A successor that died has left beside them what it prepared.
    pub fn sweep_after(&self, successor: ProcessId, figures: &StatisticsPublisher) {
        self.files.iter().for_each(|file| file.sweep_after(successor));
        figures.sweep_prepared();
    }

    /// The successor has them from now on.
    pub fn leave(&mut self) {
        self.are_ours = false;
        self.files.iter_mut().for_each(NumberFile::leave);
    }

    /// No other program is to find us any more. Of names that are not ours nothing is changed.
    pub fn remove(self, figures: &StatisticsPublisher) {
        if self.are_ours {
            // A program that may not remove it leaves it: a socket without a listener is replaced at the next start.
            let _ = fs::remove_file(&self.command_socket);
        }
        if self.are_ours || !figures.has_name() {
            figures.unlink();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start::boot::tests::Scene;

    #[test]
    fn names_belong_to_one_of_two_programs_at_any_time() {
        let scene = Scene::new("listen=udp:127.0.0.1:0\nrequest_route { exit; }\n");
        let figures = &scene.heritage.statistics;
        let folder = tempfile::tempdir().unwrap();
        let (path, socket) = (folder.path().join("pid"), folder.path().join("socket"));
        fs::write(&socket, "").unwrap();
        let file = |number| vec![NumberFile::prepare(&path, number).unwrap()];
        let named = || fs::read_to_string(&path).unwrap_or_default();

        let mut predecessor = Names::taken(file(1), socket.clone());
        assert_eq!(predecessor.take(figures), Vec::<String>::new());
        drop(Names::prepared(file(2), socket.clone()));
        Names::prepared(file(2), socket.clone()).remove(figures);
        assert_eq!((named().as_str(), socket.exists()), ("1\n", true));

        let mut successor = Names::prepared(file(2), socket.clone());
        successor.take(figures);
        predecessor.leave();
        predecessor.remove(figures);
        assert_eq!((named().as_str(), socket.exists()), ("2\n", true));
        fs::write(&path, "3\n").unwrap();
        assert_eq!(successor.take_back(), Vec::<String>::new());
        assert_eq!(named(), "2\n");
        fs::write(folder.path().join("pid.3"), "3\n").unwrap();
        successor.sweep_after(ProcessId::from_number(3).unwrap(), figures);
        assert!(!folder.path().join("pid.3").exists() && path.exists());
        assert!(successor.are_ours() && !Names::prepared(vec![], socket.clone()).are_ours());
        successor.remove(figures);
        assert_eq!((named().as_str(), socket.exists()), ("", false));
    }
}
