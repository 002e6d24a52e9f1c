//! A running reference, and the two servers side by side on one script.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Caller, Folder, Request, SOON, Server, Tool, processes, wait_until};

/// Debian's Kamailio on a port of its own, in the foreground, its log in a file.
pub struct Reference {
    folder: Folder,
    master: Tool,
    address: SocketAddr,
}

impl Reference {
    /// Starts it on this script and waits until it answers; the script must answer OPTIONS.
    #[track_caller]
    pub fn start(script: &str) -> Reference {
        let folder = Folder::new();
        folder.write("k.cfg", script);
        // It cannot be told to take any port, so it gets one that was free a moment ago.
        let address =
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let listen = format!("udp:{address}");
        let arguments = [
            "-DD", "-E", "-M", "256", "-f", "k.cfg", "-w", ".", "-Y", "run", "-T", "-a", "no", "-l", &listen,
        ];
        let mut master = Tool::start(&folder, "kamailio", "kamailio", &arguments);
        let caller = Caller::new(address);
        wait_until("the reference answers", SOON, || {
            assert!(master.exit_status().is_none(), "the reference ended:\n{}", complaints(&master.output()));
            caller.send(&caller.bytes(&Request::new("OPTIONS", "are-you-there")));
            caller.receive_within(Duration::from_millis(50)).is_some()
        });
        Reference { folder, master, address }
    }

    /// Somebody who calls it.
    pub fn caller(&self) -> Caller {
        Caller::new(self.address)
    }

    /// All it wrote so far, byte by byte.
    pub fn log(&self) -> Vec<u8> {
        std::fs::read(self.folder.file("kamailio.out")).unwrap_or_default()
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // Its children do not notice the death of their parent, so everyone is ended by number.
        let everyone = processes::tree(self.master.pid());
        processes::send_signal(self.master.pid(), Signal::SIGKILL);
        everyone.into_iter().for_each(|pid| processes::send_signal(pid, Signal::SIGKILL));
    }
}

/// Both servers on the same script, and one caller of both.
pub struct Pair {
    /// The reference.
    pub reference: Reference,
    /// Ours.
    pub server: Server,
    /// Who calls the reference.
    pub to_theirs: Caller,
    /// The same one calls ours.
    pub to_ours: Caller,
}

impl Pair {
    /// Starts both.
    #[track_caller]
    pub fn start(script: &str) -> Pair {
        Pair::start_each(script, script)
    }

    /// Starts both, ours on a script of its own.
    #[track_caller]
    pub fn start_each(theirs: &str, ours: &str) -> Pair {
        let reference = Reference::start(theirs);
        let server = Server::start(ours);
        let to_ours = server.caller();
        let to_theirs = to_ours.towards(reference.address);
        Pair { reference, server, to_theirs, to_ours }
    }

    /// Sends the same to both, one after the other, and waits until each has done with it.
    #[track_caller]
    pub fn send(&self, marker: &str, bytes: impl Fn(&Caller) -> Vec<u8>) {
        for caller in [&self.to_theirs, &self.to_ours] {
            caller.send(&bytes(caller));
            caller.send(&caller.bytes(&Request::new("OPTIONS", marker)));
            wait_until("the marker is answered", SOON, || {
                let answer = caller.receive_within(SOON).expect("the marker is answered");
                String::from_utf8_lossy(&answer).contains(&format!("Call-ID: {marker}\r\n"))
            });
        }
    }

    /// What the reference printed between `@@` and `|@@`, in order, its ports replaced by names.
    pub fn their_lines(&self) -> Vec<String> {
        lines(&self.reference.log(), &self.to_theirs)
    }

    /// The same of ours. Our log writes control bytes as `\x0d`; here they are bytes again.
    pub fn our_lines(&self) -> Vec<String> {
        lines(&unescape(self.server.log().as_bytes()), &self.to_ours)
    }
}

/// Its log without the warnings, of which it has many.
fn complaints(log: &str) -> String {
    log.lines()
        .filter(|line| !line.trim().is_empty() && !line.contains("WARNING"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The pieces between `@@` and `|@@`.
fn lines(log: &[u8], caller: &Caller) -> Vec<String> {
    let text = String::from_utf8_lossy(log);
    let ports = [(caller.address().port(), "CALLER"), (caller.server().port(), "SERVER")];
    let named = |piece: &str| {
        ports.iter().fold(piece.to_string(), |piece, (port, name)| piece.replace(&port.to_string(), name))
    };
    let mut found = Vec::new();
    let mut rest = text.as_ref();
    while let Some(start) = rest.find("<script>: @@") {
        let piece = &rest[start + "<script>: @@".len()..];
        let end = piece.find("|@@\n").unwrap_or(piece.len());
        found.push(named(&piece[..end]).escape_debug().to_string());
        rest = &piece[end..];
    }
    found
}

/// `\x0d` as the byte it stands for.
fn unescape(log: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(log.len());
    let mut rest = log;
    while let [first, after @ ..] = rest {
        let hex = after.strip_prefix(b"x").and_then(|digits| std::str::from_utf8(digits.get(..2)?).ok());
        match hex.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}
