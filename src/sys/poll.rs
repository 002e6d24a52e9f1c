//! Waiting for descriptors, always with a deadline.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

/// What one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end.
    Read,
    /// Room to write, or the end.
    Write,
}

/// Waits until one of `descriptors` is ready or `limit` has passed; `ready[i]` says whether the i-th is. A signal
/// ends the wait early with nothing ready.
pub fn wait(
    descriptors: &[(BorrowedFd<'_>, Interest)],
    limit: Duration,
    ready: &mut Vec<bool>,
) -> io::Result<()> {
    let mut entries: Vec<PollFd<'_>> =
        descriptors.iter().map(|&(descriptor, interest)| PollFd::new(descriptor, flags(interest))).collect();
    ready.clear();
    match nix::poll::poll(&mut entries, rounded_up(limit)) {
        Ok(_) => {
            ready.extend(entries.iter().map(|entry| entry.revents().is_none_or(|events| !events.is_empty())));
            Ok(())
        }
        Err(Errno::EINTR) => {
            ready.resize(descriptors.len(), false);
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a call on a descriptor that failed so may succeed when it is made again.
pub fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Waits for one descriptor; whether it became ready.
pub fn wait_for(descriptor: BorrowedFd<'_>, interest: Interest, limit: Duration) -> io::Result<bool> {
    let mut entries = [PollFd::new(descriptor, flags(interest))];
    match nix::poll::poll(&mut entries, rounded_up(limit)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn flags(interest: Interest) -> PollFlags {
    match interest {
        Interest::Read => PollFlags::POLLIN,
        Interest::Write => PollFlags::POLLOUT,
    }
}

/// Whole milliseconds, never less than asked: a wait that ends a little early would spin until its time has come.
fn rounded_up(limit: Duration) -> PollTimeout {
    let milliseconds = limit.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
    PollTimeout::try_from(milliseconds as i32).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn ready_descriptors_are_told_from_others() {
        let (mut one_end, other_end) = UnixStream::pair().unwrap();
        let (_silent, silent_end) = UnixStream::pair().unwrap();
        let mut ready = Vec::new();
        let both = [(other_end.as_fd(), Interest::Read), (silent_end.as_fd(), Interest::Read)];

        wait(&both, Duration::ZERO, &mut ready).unwrap();
        assert_eq!(ready, [false, false]);

        one_end.write_all(b"x").unwrap();
        wait(&both, Duration::from_secs(5), &mut ready).unwrap();
        assert_eq!(ready, [true, false]);
        assert!(wait_for(one_end.as_fd(), Interest::Write, Duration::ZERO).unwrap());
        assert!(!wait_for(silent_end.as_fd(), Interest::Read, Duration::ZERO).unwrap());
    }

    #[test]
    fn limits_are_rounded_up() {
        let rows = [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)];
        for (nanoseconds, milliseconds) in rows {
            let expected = PollTimeout::try_from(milliseconds).unwrap();
            assert_eq!(rounded_up(Duration::from_nanos(nanoseconds)), expected, "{nanoseconds} ns");
        }
    }
}
