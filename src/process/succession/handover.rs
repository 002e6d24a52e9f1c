//! What a running program leaves to the one that takes over from it: descriptors that stay open, and a file that names
//! them.
//!
//! The variable [`VARIABLE`] holds the number of that file's descriptor. It counts only when there is such a file, and it
//! was written by this very process before it became another program: a program that finds an old value in its environment
//! starts as usual. Which process is the parent by now says nothing, as a predecessor may die at any moment.
//! The keys of the file keep their names (`heir`, `wish`), because programs of other versions read it.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use data_encoding::BASE64;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Value, json};

use crate::process::heritage::Heritage;
use crate::sip::branch::Secret;
use crate::state::parts::HandedPart;
use crate::sys::inherit;
use crate::sys::process::ProcessId;

/// Names the descriptor of a hand-over.
pub const VARIABLE: &str = "SWORKER_HANDOVER";

/// One more with each change of what is handed over, or of what both say on their line.
const VERSION: u64 = 2;

const FILE_NAME: &std::ffi::CStr = c"sworker-handover";

/// What a predecessor left to this process.
pub struct Handover {
    /// The master that is to be succeeded.
    pub predecessor: ProcessId,
    /// The number of its generation.
    pub generation: u64,
    /// Makes branches and tags.
    pub secret: Secret,
    /// Where commands are asked.
    pub commands: OwnedFd,
    /// On which both talk about which one serves.
    pub line: UnixStream,
    /// Sockets, with the addresses that were asked for.
    pub listeners: Vec<(SocketAddr, OwnedFd)>,
    /// A script that came on standard input.
    pub script: Option<Vec<u8>>,
    /// Shared memory that lives as long as the server.
    pub parts: Vec<HandedPart>,
}

impl Handover {
    /// What the environment names; `None` when there is nothing, or it is not for this process.
    pub fn of_environment() -> io::Result<Option<Handover>> {
        let Some(number) = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()) else {
            return Ok(None);
        };
        // An old value may name anything, or nothing; what is not ours is not touched.
        if !is_handover(number) {
            return Ok(None);
        }
        let mut file = File::from(inherit::take(number)?);
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        let found = serde_json::from_str(&text).map_err(io::Error::other)?;
        Handover::read(&found)
    }

    fn read(found: &Value) -> io::Result<Option<Handover>> {
        let predecessor = found["predecessor"].as_i64().and_then(|number| i32::try_from(number).ok());
        let Some(predecessor) = predecessor.and_then(ProcessId::from_number) else { return Ok(None) };
        if !is_for_this_process(found, predecessor) {
            return Ok(None);
        }
        if found["version"] != VERSION {
            return Err(io::Error::other("the previous program uses another hand-over format"));
        }
        let broken = || io::Error::other("the hand-over from the previous program cannot be read");
        let take = |value: &Value| {
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok()).ok_or_else(broken)?;
            inherit::take(number)
        };
        let key = found["key"].as_str().and_then(|text| data_encoding::HEXLOWER.decode(text.as_bytes()).ok());
        let key: [u8; 16] = key.and_then(|key| key.try_into().ok()).ok_or_else(broken)?;
        let rows = found["listeners"].as_array().ok_or_else(broken)?;
        let listener = |row: &Value| {
            let requested = row["wish"].as_str().and_then(|text| text.parse().ok()).ok_or_else(broken)?;
            Ok((requested, take(&row["descriptor"])?))
        };
        // Programs that hand none over do not name them.
        let no_parts = Vec::new();
        let parts = found["parts"].as_array().unwrap_or(&no_parts);
        let part = |row: &Value| {
            Ok(HandedPart {
                name: row["name"].as_str().ok_or_else(broken)?.to_owned(),
                layout: row["layout"].as_u64().ok_or_else(broken)?,
                file: take(&row["descriptor"])?,
            })
        };
        let script = match &found["script"] {
            Value::Null => None,
            text => {
                Some(text.as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok()).ok_or_else(broken)?)
            }
        };
        let line = UnixStream::from(take(&found["line"])?);
        line.set_nonblocking(true)?;
        Ok(Some(Handover {
            predecessor,
            line,
            script,
            generation: found["generation"].as_u64().ok_or_else(broken)?,
            secret: Secret::new(key),
            commands: take(&found["commands"])?,
            listeners: rows.iter().map(listener).collect::<io::Result<_>>()?,
            parts: parts.iter().map(part).collect::<io::Result<_>>()?,
        }))
    }
}

/// A process keeps its number when it becomes another program. Older programs do not name the successor.
fn is_for_this_process(found: &Value, predecessor: ProcessId) -> bool {
    match found["heir"].as_i64() {
        Some(successor) => successor == i64::from(ProcessId::own().number()),
        None => predecessor == ProcessId::parent(),
    }
}

/// Whether this number is that of a file made by [`hand_over`].
fn is_handover(number: i32) -> bool {
    let name = format!("/memfd:{} (deleted)", FILE_NAME.to_string_lossy());
    std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|found| found == Path::new(&name))
}

/// Writes what the next program needs; the number of the descriptor. For a process that is about to become it.
pub(in crate::process) fn hand_over(
    heritage: &Heritage,
    line: &UnixStream,
    script: Option<&[u8]>,
) -> io::Result<(File, i32)> {
    let listener = |(_, listener): (u16, &crate::transport::udp::UdpListener)| {
        let descriptor = inherit::keep(listener.as_fd())?;
        Ok(json!({"wish": listener.wish().to_string(), "descriptor": descriptor}))
    };
    let part = |(name, layout, file): (String, u64, BorrowedFd<'_>)| {
        Ok(json!({"name": name, "layout": layout, "descriptor": inherit::keep(file)?}))
    };
    let parts = heritage.parts.lasting.files().into_iter().map(part).collect::<io::Result<Vec<_>>>()?;
    let text = json!({
        "parts": parts,
        "version": VERSION,
        "script": script.map(|text| BASE64.encode(text)),
        "predecessor": heritage.fixed.master.number(),
        "heir": ProcessId::own().number(),
        "generation": heritage.fixed.generation,
        "key": data_encoding::HEXLOWER.encode(&heritage.fixed.secret.key()),
        "commands": inherit::keep(heritage.commands.as_fd())?,
        "line": inherit::keep(line.as_fd())?,
        "listeners": heritage.listeners.iter().map(listener).collect::<io::Result<Vec<_>>>()?,
    });
    let mut file = File::from(memfd_create(FILE_NAME, MFdFlags::empty())?);
    file.write_all(text.to_string().as_bytes())?;
    let number = inherit::keep(file.as_fd())?;
    Ok((file, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn only_a_word_for_this_process_counts_and_only_when_it_is_whole() {
        let parent = ProcessId::parent().number();
        assert!(Handover::read(&json!({})).unwrap().is_none());
        assert!(Handover::read(&json!({"predecessor": ProcessId::own().number()})).unwrap().is_none());
        let refused = |found: Value| Handover::read(&found).err().map(|error| error.to_string());
        let other = refused(json!({"predecessor": parent, "version": 1}));
        assert!(other.is_some_and(|text| text.ends_with("uses another hand-over format")));
        let own = ProcessId::own().number();
        let orphan = json!({"predecessor": i32::MAX, "heir": own, "version": 1});
        assert!(refused(orphan).is_some_and(|text| text.ends_with("uses another hand-over format")));
        let others = json!({"predecessor": parent, "heir": parent, "version": VERSION});
        assert!(Handover::read(&others).unwrap().is_none());
        let short = json!({"predecessor": parent, "version": VERSION});
        assert!(refused(short).is_some_and(|text| text.ends_with("cannot be read")));
        let broken = json!({"predecessor": parent, "version": VERSION, "key": "00", "listeners": []});
        assert!(refused(broken).is_some());
    }

    #[test]
    fn what_an_old_number_names_is_left_alone() {
        let plain = tempfile::tempfile().unwrap();
        let memory = File::from(memfd_create(c"something", MFdFlags::MFD_CLOEXEC).unwrap());
        let ours = File::from(memfd_create(FILE_NAME, MFdFlags::MFD_CLOEXEC).unwrap());
        let (pipe, _writer) = io::pipe().unwrap();
        for (number, expected) in [
            (plain.as_raw_fd(), false),
            (memory.as_raw_fd(), false),
            (pipe.as_raw_fd(), false),
            (1_000_000, false),
            (-1, false),
            (ours.as_raw_fd(), true),
        ] {
            assert_eq!(is_handover(number), expected, "{number}");
        }
    }
}
