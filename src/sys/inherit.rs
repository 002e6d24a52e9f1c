//! Descriptors that outlive `exec`, and taking them over on the other side.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// From now on this descriptor is still open after `exec`; its number.
pub fn keep(descriptor: BorrowedFd<'_>) -> io::Result<RawFd> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(descriptor.as_raw_fd())
}

/// Takes over what the program before this one kept under this number. Later programs do not see it.
///
/// A number may be taken once: the caller has it from the process that started this program, before anything else was
/// opened.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a standard stream cannot be taken over"));
    }
    // SAFETY: a plain system call; a number that is not open is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open, as the call above says, and nothing in this program owns it: it was open before the
    // program began and is not a standard stream.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Becomes another program, with one more variable. Returns only the reason why that could not be.
pub fn execute(
    program: &Path,
    arguments: &[OsString],
    directory: &Path,
    variable: (&str, &str),
) -> io::Error {
    Command::new(program).args(arguments).current_dir(directory).env(variable.0, variable.1).exec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, IntoRawFd};

    fn is_kept(descriptor: BorrowedFd<'_>) -> bool {
        fcntl(descriptor, FcntlArg::F_GETFD).unwrap() & FdFlag::FD_CLOEXEC.bits() == 0
    }

    #[test]
    fn what_is_kept_is_open_for_the_next_program_and_what_is_taken_is_not() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(!is_kept(reader.as_fd()));
        let number = keep(reader.as_fd()).unwrap();
        assert!(is_kept(reader.as_fd()));
        assert_eq!(number, reader.as_raw_fd());
        let taken = take(reader.into_raw_fd()).unwrap();
        assert!(!is_kept(taken.as_fd()));
    }

    #[test]
    fn numbers_that_are_not_open_or_belong_to_everybody_are_refused() {
        for number in [-1, 0, 2, 1_000_000] {
            assert!(take(number).is_err(), "{number}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let error = execute(Path::new("/nowhere/program"), &[], Path::new("/"), ("A", "b"));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
