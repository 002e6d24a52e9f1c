//! Stream sockets that have a path, for the same machine only: made so that only their owner can open them.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The process at the other end of a connection, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process.
    pub pid: i32,
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// Listens at `path`, mode 0600, never blocking on accept. A stale socket is replaced; one that answers belongs to a
/// running server and is refused, and so is any file that is not a socket.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    remove_if_abandoned(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The path takes the mode of the socket: at no moment can another user open it.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    let listener = UnixListener::from(OwnedFd::from(socket));
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn remove_if_abandoned(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file of that name exists and is not a socket",
        ));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server answers there")),
    }
}

/// The peer.
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = getsockopt(&stream.as_fd(), PeerCredentials)?;
    Ok(Peer { pid: credentials.pid(), user: credentials.uid(), group: credentials.gid() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::credentials::own_user;
    use crate::sys::process::ProcessId;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_can_open_it_and_peers_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");

        let listener = listen(&path).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let _client = UnixStream::connect(&path).unwrap();
        let (served, _) = listener.accept().unwrap();
        let peer = peer(&served).unwrap();
        assert_eq!((peer.pid, peer.user), (ProcessId::own().number(), own_user()));
    }

    #[test]
    fn abandoned_sockets_are_replaced_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");

        let first = listen(&path).unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(listen(&path).is_ok());

        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert_eq!(listen(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
