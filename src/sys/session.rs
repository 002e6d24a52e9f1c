//! What binds a process to the world around it: its parent, its session, its standard streams.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd;

use super::process::ProcessId;
use super::signal::Signal;

/// Asks the kernel to send `signal` to this process when its parent dies.
///
/// Changing user or group clears the wish, and a parent that died before the call is not noticed: call after
/// dropping privileges, then compare [`ProcessId::parent`].
pub fn set_parent_death_signal(signal: Signal) -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(signal)?)
}

/// From now on processes below this one whose parent ends become children of this one.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Whether a process of this number exists, of whichever user.
pub fn exists(process: ProcessId) -> bool {
    let target = unistd::Pid::from_raw(process.number());
    !matches!(nix::sys::signal::kill(target, None), Err(Errno::ESRCH))
}

/// Leaves the terminal and its process group.
pub fn start() -> io::Result<()> {
    unistd::setsid()?;
    Ok(())
}

/// Number of the process group of this process.
pub fn process_group() -> i32 {
    unistd::getpgrp().as_raw()
}

/// Whether error output stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorOutput {
    /// It stays.
    Kept,
    /// It is silenced too.
    Silenced,
}

/// Points standard input and output to nowhere, and error output too if that is wanted.
pub fn silence_standard_streams(errors: ErrorOutput) -> io::Result<()> {
    let nowhere = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    unistd::dup2_stdin(nowhere.as_fd())?;
    unistd::dup2_stdout(nowhere.as_fd())?;
    if errors == ErrorOutput::Silenced {
        unistd::dup2_stderr(nowhere.as_fd())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existence_is_told_apart() {
        assert!(exists(ProcessId::own()) && exists(ProcessId::parent()));
        assert!(!exists(ProcessId::from_number(i32::MAX).unwrap()));
    }
}
