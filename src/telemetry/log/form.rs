//! The forms of a line: text as Kamailio's users know it, JSON, and the fields of the journal.
//!
//! ```text
//!  text      3(4711) INFO: {prefix}<script>: hello
//!  JSON     {"time":"2026-11-23T07:13:06.000001Z","level":"INFO","process":3,"pid":4711,"module":"script",…}
//!  journal  PRIORITY=6 · SYSLOG_IDENTIFIER=sworkerd · SWORKER_MODULE=script · MESSAGE=hello · …
//! ```

use std::io::Write;

use super::escape::{Manner, escape};
use super::{Facility, Line, Origin};

/// A line with what is known about its writer.
pub(super) struct LogEntry<'a> {
    /// What stands before the text.
    pub line: &'a Line<'a>,
    /// The text, its final newline taken off.
    pub text: &'a [u8],
    /// Index and id of the process.
    pub process: (u32, u32),
    /// The facility that holds for the line.
    pub facility: Facility,
}

/// Whether index and id of the process stand before a line, or the destination has its own place for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// They do.
    WithProcess,
    /// They do not.
    Bare,
}

/// Longest prefix or Call-ID in a form that has its own field for them.
const FIELD_SIZE_MAX: usize = 256;

impl LogEntry<'_> {
    /// A line for people, without its end.
    pub(super) fn write_text(&self, heading: Heading, out: &mut Vec<u8>) {
        if heading == Heading::WithProcess {
            let (index, pid) = self.process;
            let _ = write!(out, "{index:2}({pid}) ");
        }
        let _ = write!(out, "{}: ", self.line.level.name());
        escape(self.line.prefix, Manner::AsReceived, out);
        // The syslog protocol knows lines and nothing longer.
        let of_script = match heading {
            Heading::WithProcess => Manner::AsWritten,
            Heading::Bare => Manner::AsLine,
        };
        escape(self.line.label, of_script, out);
        escape(self.text, self.manner(of_script), out);
    }

    /// How the text is written, where a text of the script is written so.
    fn manner(&self, of_script: Manner) -> Manner {
        match self.line.origin {
            Origin::Server => Manner::AsReceived,
            Origin::Script => of_script,
        }
    }

    /// One JSON object, at most some twice `size_max` long, without its end.
    pub(super) fn write_json(&self, size_max: usize, out: &mut Vec<u8>) {
        let (index, pid) = self.process;
        let _ = write!(out, "{{\"time\":\"{:.6}\"", jiff::Timestamp::now());
        let _ = write!(out, ",\"level\":\"{}\",\"process\":{index},\"pid\":{pid}", self.line.level.name());
        for (name, bytes, manner, size_max) in [
            ("module", self.module(), Manner::AsLine, FIELD_SIZE_MAX),
            ("call_id", self.line.call_id, Manner::AsReceived, FIELD_SIZE_MAX),
            ("prefix", self.line.prefix, Manner::AsReceived, FIELD_SIZE_MAX),
            ("message", self.text, self.manner(Manner::AsLine), size_max),
        ] {
            if bytes.is_empty() && name != "message" {
                continue;
            }
            let _ = write!(out, ",\"{name}\":");
            // Writing to a Vec never fails, and text has no form JSON cannot take.
            let _ = serde_json::to_writer(&mut *out, &visible(bytes, manner, size_max));
        }
        out.push(b'}');
    }

    /// The fields of the journal's own protocol.
    pub(super) fn write_journal(&self, name: &str, out: &mut Vec<u8>) {
        let (index, pid) = self.process;
        let _ = writeln!(out, "PRIORITY={}", self.line.level.syslog_severity());
        let _ = writeln!(out, "SYSLOG_FACILITY={}", self.facility.number());
        let _ = writeln!(
            out,
            "SYSLOG_IDENTIFIER={}",
            visible(name.as_bytes(), Manner::AsReceived, FIELD_SIZE_MAX)
        );
        let _ = writeln!(out, "SYSLOG_PID={pid}\nSWORKER_PROCESS={index}");
        let _ = writeln!(out, "SWORKER_LEVEL={}", self.line.level.name());
        for (field, bytes, manner) in [
            ("SWORKER_MODULE", self.module(), Manner::AsLine),
            ("SWORKER_PREFIX", self.line.prefix, Manner::AsReceived),
            ("SIP_CALL_ID", self.line.call_id, Manner::AsReceived),
        ] {
            if !bytes.is_empty() {
                let _ = writeln!(out, "{field}={}", visible(bytes, manner, FIELD_SIZE_MAX));
            }
        }
        let mut message = Vec::with_capacity(self.text.len() + 64);
        escape(self.line.prefix, Manner::AsReceived, &mut message);
        escape(self.line.label, Manner::AsWritten, &mut message);
        escape(self.text, self.manner(Manner::AsWritten), &mut message);
        // A value with lines in it goes with its size in front.
        out.extend_from_slice(b"MESSAGE\n");
        out.extend_from_slice(&(message.len() as u64).to_le_bytes());
        out.extend_from_slice(&message);
        out.push(b'\n');
    }

    /// `<script>: ` without its ornaments.
    fn module(&self) -> &[u8] {
        let is_ornament = |byte: &u8| matches!(byte, b'<' | b'>' | b':' | b' ');
        let label = self.line.label;
        let from = label.iter().position(|byte| !is_ornament(byte)).unwrap_or(label.len());
        let to = label.iter().rposition(|byte| !is_ornament(byte)).map_or(from, |last| last + 1);
        &label[from..to]
    }
}

/// `bytes` with everything made visible, cut to a size between two characters.
fn visible(bytes: &[u8], manner: Manner, size_max: usize) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    escape(&bytes[..bytes.len().min(size_max)], manner, &mut out);
    let mut text = String::from_utf8_lossy(&out).into_owned();
    text.truncate(text.floor_char_boundary(size_max));
    text
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::escape::unescape;
    use super::*;

    fn entry<'a>(line: &'a Line<'a>, text: &'a [u8]) -> LogEntry<'a> {
        LogEntry { line, text, process: (3, 4711), facility: Facility::DAEMON }
    }

    fn line<'a>(prefix: &'a [u8], call_id: &'a [u8], origin: Origin) -> Line<'a> {
        Line { level: Level::Info, facility: None, prefix, label: b"<script>: ", call_id, origin }
    }

    #[test]
    fn a_json_line_is_one_object_with_everything_in_it() {
        let mut out = Vec::new();
        entry(&line(b"{1} ", b"c1@h", Origin::Script), b"a\r\n\"b\" \xff").write_json(1000, &mut out);
        assert!(!out.contains(&b'\n'));
        let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
        for (name, value) in [
            ("level", "INFO"),
            ("module", "script"),
            ("call_id", "c1@h"),
            ("prefix", "{1} "),
            ("message", "a\\x0d\\x0a\"b\" \\xff"),
        ] {
            assert_eq!(object[name], value, "{name}");
        }
        assert_eq!((object["process"].as_u64(), object["pid"].as_u64()), (Some(3), Some(4711)));
        let time = object["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(time.duration_until(jiff::Timestamp::now()).as_secs() < 5);
    }

    #[test]
    fn what_is_too_long_is_cut_and_stays_json() {
        for fill in [&b"x"[..], b"\"", b"\n", "ö".as_bytes(), b"\xc3"] {
            let text = fill.repeat(50_000);
            let mut out = Vec::new();
            entry(&line(&text, &text, Origin::Server), &text).write_json(1000, &mut out);
            assert!(out.len() < 3500, "{} bytes", out.len());
            let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert!(object["message"].as_str().unwrap().len() > 990);
        }
    }

    #[test]
    fn every_byte_comes_through_every_form_and_none_controls() {
        for byte in 0..=255u8 {
            let text = [b'a', byte, b' ', b'b'];
            let made_of = line(&text, &text, Origin::Server);
            let made = entry(&made_of, &text);

            let mut shown = Vec::new();
            made.write_text(Heading::Bare, &mut shown);
            made.write_text(Heading::WithProcess, &mut shown);
            assert!(shown.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()), "{byte:#x}");
            assert!(unescape(&shown).ends_with(&text), "{byte:#x}");

            let mut json = Vec::new();
            made.write_json(1000, &mut json);
            assert!(json.iter().all(|byte| !byte.is_ascii_control()), "{byte:#x}");
            let object: serde_json::Value = serde_json::from_slice(&json).unwrap();
            for name in ["message", "prefix", "call_id"] {
                assert_eq!(unescape(object[name].as_str().unwrap().as_bytes()), text, "{name} {byte:#x}");
            }

            let mut journal = Vec::new();
            made.write_journal("sworkerd", &mut journal);
            let fields = fields_of(&journal);
            for name in ["MESSAGE", "SWORKER_PREFIX", "SIP_CALL_ID"] {
                let (_, value) = fields.iter().find(|(known, _)| known == name).unwrap();
                assert!(unescape(value).ends_with(&text), "{name} {byte:#x}");
                assert!(value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()), "{byte:#x}");
            }
        }
    }

    /// What the journal would take out of a datagram.
    pub(in super::super) fn fields_of(datagram: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        let mut rest = datagram;
        while !rest.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n').expect("a field ends");
            let (field, after) = (&rest[..end], &rest[end + 1..]);
            match field.iter().position(|&byte| byte == b'=') {
                Some(at) => {
                    fields.push((String::from_utf8(field[..at].to_vec()).unwrap(), field[at + 1..].to_vec()));
                    rest = after;
                }
                None => {
                    let (size, after) = after.split_at(8);
                    let size = u64::from_le_bytes(size.try_into().unwrap()) as usize;
                    fields.push((String::from_utf8(field.to_vec()).unwrap(), after[..size].to_vec()));
                    assert_eq!(after[size], b'\n');
                    rest = &after[size + 1..];
                }
            }
        }
        fields
    }

    #[test]
    fn the_journal_gets_fields_it_understands() {
        let mut out = Vec::new();
        entry(&line(b"", b"", Origin::Script), b"two\nlines").write_journal("sworkerd", &mut out);
        let fields = fields_of(&out);
        let expected: [(&str, &[u8]); 8] = [
            ("PRIORITY", b"6"),
            ("SYSLOG_FACILITY", b"3"),
            ("SYSLOG_IDENTIFIER", b"sworkerd"),
            ("SYSLOG_PID", b"4711"),
            ("SWORKER_PROCESS", b"3"),
            ("SWORKER_LEVEL", b"INFO"),
            ("SWORKER_MODULE", b"script"),
            ("MESSAGE", b"<script>: two\nlines"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| (name.to_string(), value.to_vec())).collect();
        assert_eq!(fields, expected);
    }
}
