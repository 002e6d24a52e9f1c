//! Another program, run with a deadline, its output kept in a file of the test's folder.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::folder::Folder;
use super::wait_for;

/// A program that was started.
pub struct Tool {
    name: String,
    child: Child,
    output: std::path::PathBuf,
}

/// A program that ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All it wrote to both outputs.
    pub output: String,
}

impl Tool {
    /// Starts `program` in `folder`; both outputs go to `NAME.out` there.
    #[track_caller]
    pub fn start(folder: &Folder, name: &str, program: impl AsRef<Path>, arguments: &[&str]) -> Tool {
        Tool::start_in(folder, name, program, arguments, &[])
    }

    /// The same with more in its environment.
    #[track_caller]
    pub fn start_in(
        folder: &Folder,
        name: &str,
        program: impl AsRef<Path>,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Tool {
        let output = folder.file(&format!("{name}.out"));
        let file = File::create(&output).expect("a file can be made in the test's folder");
        let both = file.try_clone().expect("a file can be opened twice");
        let program = program.as_ref();
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(both)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("could not start {}: {error}; scripts/test installs it", program.display())
            });
        Tool { name: name.into(), child, output }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How it ended, if it did.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self, deadline: Duration) -> Finished {
        let what = format!("{} ends", self.name);
        let status = wait_for(&what, deadline, || self.exit_status());
        Finished { code: status.code(), output: self.output() }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
