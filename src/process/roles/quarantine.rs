//! A message that was set aside, and the file it is kept in.
//!
//! ```text
//!  <run directory>/quarantine/20261123T081836.123456Z-9f86d081884c7d65.sip
//!
//!  sworker quarantine 1
//!  group: calls
//!  source: 192.0.2.1:5060          …the envelope…
//!  route: RESUME                    where it was to go on, if not from the beginning; `continuation:` says it in full
//!  xdata: 0261                      as it travelled, in hexadecimal
//!  death: worker calls/1 (pid 7) ended by signal 11 …
//!  size: 412
//!
//!  INVITE sip:…                     the message, byte for byte
//! ```
//!
//! The group is empty where receivers ended over the message. One file holds all that a process was given, so that
//! `sworkerd --replay FILE` can do the same again under a debugger.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::routing::continuation::{Continuation, Resume};
use crate::routing::envelope::Envelope;
use crate::transport::endpoint::Transport;

/// A message that ended too many processes, with all that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Name of the group it was delegated to; empty when receivers ended over it.
    pub group: String,
    /// Where from, where to, by which listener and when; `None` when that could not be read.
    pub envelope: Option<Envelope>,
    /// How it was to go on, as that travelled; empty when it was to be processed from the beginning.
    pub continuation: Vec<u8>,
    /// What the script sent along, as it travelled.
    pub xdata: Vec<u8>,
    /// How many processes began with it.
    pub attempts: u32,
    /// The same for every delivery of this message, and hardly for any other.
    pub fingerprint: u64,
    /// When it was set aside, in nanoseconds since 1970.
    pub set_aside_at_ns: u64,
    /// How each of them ended.
    pub deaths: Vec<String>,
    /// The message as it came.
    pub message: Vec<u8>,
}

/// Why a file is not what was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It does not begin as such files do.
    OtherFile,
    /// A line is missing.
    Missing(&'static str),
    /// A line has a value that cannot be.
    Broken(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::OtherFile => write!(out, "it does not begin with \"{FIRST_LINE}\""),
            Unreadable::Missing(key) => write!(out, "the line \"{key}:\" is missing"),
            Unreadable::Broken(key) => write!(out, "the line \"{key}:\" cannot be read"),
        }
    }
}

impl std::error::Error for Unreadable {}

const FIRST_LINE: &str = "sworker quarantine 1";

impl SetAside {
    /// The contents of its file.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{FIRST_LINE}\ngroup: {}\n", self.group);
        if let Some(envelope) = &self.envelope {
            text.push_str(&format!(
                "source: {}\ndestination: {}\nlistener: {}\ntransport: {}\nreceived_at_ns: {}\n",
                envelope.source,
                envelope.destination,
                envelope.listener,
                envelope.transport.name(),
                envelope.received_at_ns
            ));
        }
        text.push_str(&format!("set_aside_at_ns: {}\n", self.set_aside_at_ns));
        text.push_str(&format!("attempts: {}\nfingerprint: {:016x}\n", self.attempts, self.fingerprint));
        if let Ok(Continuation { goal: Resume::Route(route), .. }) = Continuation::decode(&self.continuation)
        {
            text.push_str(&format!("route: {}\n", route.escape_ascii()));
        }
        if !self.continuation.is_empty() {
            text.push_str(&format!("continuation: {}\n", HEXLOWER.encode(&self.continuation)));
        }
        text.push_str(&format!("xdata: {}\n", HEXLOWER.encode(&self.xdata)));
        for death in &self.deaths {
            text.push_str(&format!("death: {}\n", death.replace('\n', " ")));
        }
        text.push_str(&format!("size: {}\n\n", self.message.len()));
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.message);
        bytes
    }

    /// Reads the contents of its file.
    pub fn decode(bytes: &[u8]) -> Result<SetAside, Unreadable> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or(Unreadable::OtherFile)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Unreadable::OtherFile)?;
        let lines = Lines { text: head.strip_prefix(FIRST_LINE).ok_or(Unreadable::OtherFile)? };
        let message = &bytes[end + 2..];
        if lines.number::<usize>("size")? != message.len() {
            return Err(Unreadable::Broken("size"));
        }
        let fingerprint = lines.value("fingerprint")?;
        Ok(SetAside {
            group: lines.value("group")?.to_owned(),
            envelope: lines.envelope()?,
            continuation: match lines.value("continuation") {
                Ok(_) => lines.bytes("continuation")?,
                // There was none, or an earlier version wrote the file.
                Err(_) => Vec::new(),
            },
            xdata: lines.bytes("xdata")?,
            attempts: lines.number("attempts")?,
            fingerprint: u64::from_str_radix(fingerprint, 16)
                .map_err(|_| Unreadable::Broken("fingerprint"))?,
            set_aside_at_ns: lines.number("set_aside_at_ns")?,
            deaths: lines.values("death").map(str::to_owned).collect(),
            message: message.to_vec(),
        })
    }

    /// `<time>-<fingerprint>.sip`: names sort by time.
    pub fn file_name(&self) -> String {
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.set_aside_at_ns)).unwrap_or_default();
        format!("{}-{:016x}.sip", time.strftime("%Y%m%dT%H%M%S.%6fZ"), self.fingerprint)
    }
}

/// `key: value`, each on a line of its own.
struct Lines<'a> {
    text: &'a str,
}

impl<'a> Lines<'a> {
    fn values(&self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix(": "))
    }

    fn value(&self, key: &'static str) -> Result<&'a str, Unreadable> {
        // An empty value may have lost the blank before it.
        let is_there_and_empty = || self.text.lines().any(|line| line.strip_prefix(key) == Some(":"));
        match self.values(key).next() {
            Some(value) => Ok(value),
            None if is_there_and_empty() => Ok(""),
            None => Err(Unreadable::Missing(key)),
        }
    }

    fn number<N: std::str::FromStr>(&self, key: &'static str) -> Result<N, Unreadable> {
        self.value(key)?.parse().map_err(|_| Unreadable::Broken(key))
    }

    fn bytes(&self, key: &'static str) -> Result<Vec<u8>, Unreadable> {
        HEXLOWER.decode(self.value(key)?.as_bytes()).map_err(|_| Unreadable::Broken(key))
    }

    fn envelope(&self) -> Result<Option<Envelope>, Unreadable> {
        if self.value("source").is_err() {
            return Ok(None);
        }
        Ok(Some(Envelope {
            source: self.number("source")?,
            destination: self.number("destination")?,
            listener: self.number("listener")?,
            transport: Transport::named(self.value("transport")?).ok_or(Unreadable::Broken("transport"))?,
            received_at_ns: self.number("received_at_ns")?,
        }))
    }
}

/// The ending of a file that is not whole yet.
const UNFINISHED: &str = "part";

/// The directory of such files.
#[derive(Clone, Debug)]
pub struct Quarantine {
    directory: PathBuf,
    count_max: usize,
    size_max: u64,
}

impl Quarantine {
    /// The one in this run directory.
    pub fn in_run_directory(run_directory: &Path) -> Quarantine {
        Quarantine { directory: run_directory.join("quarantine"), count_max: 256, size_max: 64 << 20 }
    }

    /// Writes the file, whole or not at all. The oldest files go when there would be too many, or too much in them.
    pub fn keep(&self, set_aside: &SetAside) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let bytes = set_aside.encode();
        self.make_room(bytes.len() as u64)?;
        let path = self.directory.join(set_aside.file_name());
        let unfinished = path.with_extension(UNFINISHED);
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&bytes)?;
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }

    /// Removes what was begun and never finished. At a start, when no process writes there.
    pub fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                // What cannot be removed takes some room and does no other harm.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn make_room(&self, size: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sip") {
                files.push((path.clone(), fs::metadata(&path).map_or(0, |found| found.len())));
            }
        }
        files.sort();
        let mut sum = files.iter().map(|(_, size)| size).sum::<u64>() + size;
        let mut count = files.len() + 1;
        for (path, size) in files {
            if count <= self.count_max && sum <= self.size_max {
                break;
            }
            match fs::remove_file(path) {
                // Another quarantine writer makes room, too, and was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            (count, sum) = (count - 1, sum - size);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_aside(message: &[u8], at_ns: u64) -> SetAside {
        SetAside {
            group: "calls".to_owned(),
            envelope: Some(Envelope {
                source: "192.0.2.1:5060".parse().unwrap(),
                destination: "[2001:db8::1]:5070".parse().unwrap(),
                listener: 3,
                transport: Transport::Udp,
                received_at_ns: 77,
            }),
            continuation: b"\x01\0\x06RESUME".to_vec(),
            xdata: b"\x02a\n\nb".to_vec(),
            attempts: 2,
            fingerprint: 0xab,
            set_aside_at_ns: at_ns,
            deaths: vec!["first".to_owned(), "second: with a colon".to_owned()],
            message: message.to_vec(),
        }
    }

    #[test]
    fn what_was_kept_is_read_back() {
        let usual = set_aside(b"INVITE sip:a SIP/2.0\r\n\r\nbody\n\n\xff\0", 1_795_422_316_123_456_789);
        let rows = [
            SetAside { envelope: None, ..usual.clone() },
            SetAside { deaths: vec![], xdata: vec![], ..usual.clone() },
            SetAside { continuation: vec![], ..usual.clone() },
            SetAside { continuation: b"broken".to_vec(), ..usual.clone() },
            SetAside { message: vec![], ..usual.clone() },
            usual,
        ];
        for row in rows {
            assert_eq!(SetAside::decode(&row.encode()), Ok(row));
        }
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let good = String::from_utf8(set_aside(b"m", 1).encode()).unwrap();
        let check = |text: &str, expected: &str| {
            assert_eq!(SetAside::decode(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
        };
        check("", "it does not begin with \"sworker quarantine 1\"");
        check("INVITE sip:a SIP/2.0\n\nx", "it does not begin with \"sworker quarantine 1\"");
        check(&good.replace("group: calls\n", ""), "the line \"group:\" is missing");
        check(&good.replace("listener: 3", "listener: x"), "the line \"listener:\" cannot be read");
        check(&good.replace("transport: udp", "transport: dove"), "the line \"transport:\" cannot be read");
        assert!(good.contains("\nroute: RESUME\ncontinuation: 01000652"), "{good}");
        let broken = good.replace("continuation: 01", "continuation: 0");
        check(&broken, "the line \"continuation:\" cannot be read");
        check(&good.replace("xdata: 02", "xdata: 0"), "the line \"xdata:\" cannot be read");
        check(&format!("{good}cut or longer"), "the line \"size:\" cannot be read");
    }

    #[test]
    fn what_a_crash_left_unfinished_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::in_run_directory(folder.path());
        quarantine.sweep();
        let kept = quarantine.keep(&set_aside(b"m", 1)).unwrap();
        let (part, other) = (kept.with_extension("part"), quarantine.directory.join("notes.txt"));
        fs::write(&part, "half a").unwrap();
        fs::write(&other, "of the operator").unwrap();
        quarantine.sweep();
        assert_eq!([kept.exists(), part.exists(), other.exists()], [true, false, true]);
    }

    #[test]
    fn only_so_many_and_so_much_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine =
            Quarantine { count_max: 3, size_max: 1200, ..Quarantine::in_run_directory(folder.path()) };
        let names = || {
            let mut names: Vec<String> = fs::read_dir(&quarantine.directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let keep = |size: usize, second: u64| {
            let one = set_aside(&vec![b'x'; size], second * 1_000_000_000);
            let path = quarantine.keep(&one).unwrap();
            assert_eq!(SetAside::decode(&fs::read(&path).unwrap()), Ok(one));
        };
        (1..=5).for_each(|second| keep(1, second));
        assert_eq!(
            names(),
            [3, 4, 5].map(|second| format!("19700101T00000{second}.000000Z-00000000000000ab.sip"))
        );
        keep(700, 6);
        assert_eq!(names().len(), 1, "a large one takes the room of all others");
    }
}
