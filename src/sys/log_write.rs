//! Writing to a descriptor that another process may have made blocking, without ever waiting for room.
//!
//! Standard error may be a pipe whose reader has stopped. Making it non-blocking would change it for every process that
//! shares it, so room is asked for first, and a pipe is given no more at once than it then takes for certain.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

/// What a pipe that is ready for writing takes as a whole (`PIPE_BUF` on Linux).
const PIPE_SHARE: usize = 4096;

/// Writes all of `line` if there is room for it now. A line longer than a pipe takes at once is written in parts;
/// false when it could not be written, or not to its end.
pub fn write_where_room(descriptor: BorrowedFd<'_>, line: &[u8]) -> bool {
    if is_file(descriptor) {
        return write_part(descriptor, line) == line.len();
    }
    line.chunks(PIPE_SHARE).all(|part| has_room(descriptor) && write_part(descriptor, part) == part.len())
}

fn is_file(descriptor: BorrowedFd<'_>) -> bool {
    fstat(descriptor).is_ok_and(|status| {
        SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG
    })
}

fn has_room(descriptor: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(descriptor, PollFlags::POLLOUT)];
    let is_ready = |asked: &PollFd<'_>| asked.revents().is_some_and(|events| events == PollFlags::POLLOUT);
    poll(&mut asked, PollTimeout::ZERO).is_ok_and(|count| count == 1) && is_ready(&asked[0])
}

/// How much was written; interrupted writes are tried again.
fn write_part(descriptor: BorrowedFd<'_>, part: &[u8]) -> usize {
    loop {
        match write(descriptor, part) {
            Ok(size) => return size,
            Err(Errno::EINTR) => {}
            Err(_) => return 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_nobody_reads_refuses_instead_of_waiting() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let line = [b'x'; 1000];
        let written = (0..10_000).take_while(|_| write_where_room(writer.as_fd(), &line)).count();
        assert!((10..10_000).contains(&written), "{written}");
        drop(writer);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), written * line.len());
    }

    #[test]
    fn a_file_takes_long_lines_whole_and_a_closed_pipe_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(write_where_room(file.as_fd(), &[b'x'; 100_000]));
        file.rewind().unwrap();
        assert_eq!(file.read_to_end(&mut Vec::new()).unwrap(), 100_000);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert!(!write_where_room(writer.as_fd(), b"line"));
    }
}
