//! Log lines: levels, form, and where they go. Writing never waits.
//!
//! ```text
//!   3(4711) INFO: {prefix}<script>: text            on stderr
//!  <30>Nov 23 07:13:06 sworkerd[4711]: INFO: …      to /dev/log
//!  {"time":"…","level":"INFO","process":3,…}        as JSON, to either
//!  MESSAGE=… PRIORITY=6 SIP_CALL_ID=…               to the journal
//! ```
//!
//! **Invariant:** what cannot be written at once is dropped and counted; the number is written when there is room
//! again.
//!
//! Control bytes are written as `\x0d` (and a backslash before an `x` as `\x5c`, so that it can be undone). A final
//! newline and tabs stay. So do newlines and colour sequences that the script itself writes, but for where a line must
//! be a line: in JSON and syslog. Those in the values of variables, which a sender may have chosen, never stay.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Write};

pub mod engine;
pub mod escape;
mod form;
pub mod level;
pub mod sink;

use form::{Heading, LogEntry};

pub use engine::{Destination, Engine};
pub use level::{Facility, Level};
pub use sink::Sink;

use std::ffi::CStr;

use crate::sys::shared_number::SharedNumber;

/// The memory of the level that all processes share: made before any other, as it is needed while these are made.
pub const LEVEL_NAME: &CStr = c"sworker-log-level";

/// What stands before the text of a line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// How serious.
    pub level: Level,
    /// Facility, when it is not the one of the log.
    pub facility: Option<Facility>,
    /// `log_prefix` as evaluated for the message in hand.
    pub prefix: &'a [u8],
    /// `<script>: ` and its kin.
    pub label: &'a [u8],
    /// Call-ID of the message in hand, empty without one.
    pub call_id: &'a [u8],
    /// The writer of the text.
    pub origin: Origin,
}

impl Line<'static> {
    /// A line of the server itself outside any message.
    pub const fn of_core(level: Level) -> Line<'static> {
        Line { level, facility: None, prefix: b"", label: b"<core>: ", call_id: b"", origin: Origin::Server }
    }
}

/// The writer of the text of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The server: one line is one line, whatever is in it.
    Server,
    /// The script: newlines and colours in it are meant. The values in its text were made visible when they were put
    /// there (parameters of kind `Shown`), and their backslashes are left as they are.
    Script,
}

/// The log of a process.
pub struct Log {
    level: LevelCell,
    facility: Cell<Facility>,
    is_coloured: Cell<bool>,
    colours: RefCell<Vec<(Level, Vec<u8>)>>,
    process: Cell<(u32, u32)>,
    sink: Sink,
    shape: Shape,
    dropped_count: Cell<u64>,
    untold_count: Cell<u64>,
    text_room: RefCell<Vec<u8>>,
    line_room: RefCell<Vec<u8>>,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Json,
}

/// The level up to which lines are written: of one process, or of all.
enum LevelCell {
    Own(Cell<Level>),
    Shared(SharedNumber),
}

impl LevelCell {
    #[inline]
    fn get(&self) -> Level {
        match self {
            LevelCell::Own(level) => level.get(),
            LevelCell::Shared(number) => Level::from_number(number.get()),
        }
    }

    fn set(&self, level: Level) {
        match self {
            LevelCell::Own(own) => own.set(level),
            LevelCell::Shared(number) => number.set(level.number()),
        }
    }
}

/// Longer lines are cut.
pub const LINE_SIZE_MAX: usize = 65_536;

impl Log {
    /// A log that writes lines up to `level`.
    pub fn new(sink: Sink, level: Level) -> Log {
        Log {
            level: LevelCell::Own(Cell::new(level)),
            facility: Cell::new(Facility::DAEMON),
            is_coloured: Cell::new(false),
            colours: RefCell::default(),
            process: Cell::new((0, std::process::id())),
            sink,
            shape: Shape::Text,
            dropped_count: Cell::new(0),
            untold_count: Cell::new(0),
            text_room: RefCell::default(),
            line_room: RefCell::default(),
        }
    }

    /// The log of an engine.
    pub fn open(destination: &Destination<'_>, level: Level) -> Log {
        let shape = match destination.engine {
            Engine::Json => Shape::Json,
            _ => Shape::Text,
        };
        Log { shape, ..Log::new(destination.open(), level) }
    }

    /// From now on this process and all its later children share one level, whichever process changes it.
    pub fn share_level(&mut self) -> io::Result<()> {
        self.level = LevelCell::Shared(SharedNumber::create(LEVEL_NAME, self.level.get().number())?);
        Ok(())
    }

    /// A log that keeps nothing.
    pub fn to_nowhere() -> Log {
        Log::new(Sink::Nowhere, Level::Alert)
    }

    /// Tells which process writes; once after each fork.
    pub fn set_process(&self, index: u32, pid: u32) {
        self.process.set((index, pid));
    }

    /// Changes the level up to which lines are written.
    pub fn set_level(&self, level: Level) {
        self.level.set(level);
    }

    /// Changes the facility of lines that name none.
    pub fn set_facility(&self, facility: Facility) {
        self.facility.set(facility);
    }

    /// Colour by level on stderr.
    pub fn set_coloured(&self, is_coloured: bool) {
        self.is_coloured.set(is_coloured);
    }

    /// Other colours for some levels, as terminal codes.
    pub fn set_colours(&self, colours: &[(Level, Vec<u8>)]) {
        self.colours.replace(colours.to_vec());
    }

    /// Level up to which lines are written.
    pub fn level(&self) -> Level {
        self.level.get()
    }

    /// Whether lines of this level are written.
    pub fn is_on(&self, level: Level) -> bool {
        level <= self.level.get()
    }

    /// Lines that could not be written since the start.
    pub fn dropped_count(&self) -> u64 {
        self.dropped_count.get()
    }

    /// Writes a line of the server outside any message.
    pub fn say(&self, level: Level, text: fmt::Arguments<'_>) {
        if self.is_on(level) {
            self.write(&Line::of_core(level), text);
        }
    }

    /// Writes words of several lines, such as mistakes in a script, as a line of the log for each: a place and the caret
    /// below it can be read there as on a terminal.
    pub fn say_lines(&self, level: Level, text: &str) {
        text.lines().for_each(|line| self.say(level, format_args!("{line}")));
    }

    /// Writes a line made of `text`, whatever the level.
    pub fn write(&self, line: &Line<'_>, text: fmt::Arguments<'_>) {
        let mut room = self.text_room.take();
        room.clear();
        // Writing to a Vec fails only when a value refuses to be shown; what is there is written then.
        let _ = room.write_fmt(text);
        self.write_bytes(line, &room);
        self.text_room.replace(room);
    }

    /// Writes a line of these bytes, whatever the level.
    pub fn write_bytes(&self, line: &Line<'_>, text: &[u8]) {
        self.tell_dropped();
        let mut room = self.line_room.take();
        self.form(line, text, &mut room);
        self.hand_over(line.facility, line.level, &room);
        self.line_room.replace(room);
    }

    fn tell_dropped(&self) {
        let untold = self.untold_count.get();
        if untold == 0 {
            return;
        }
        let mut room = Vec::new();
        let text = format!("log lines dropped: {untold}");
        self.form(&Line::of_core(Level::Warning), text.as_bytes(), &mut room);
        if self.sink.write(self.facility.get(), Level::Warning, self.process.get().1, &room) {
            self.untold_count.set(0);
        }
    }

    fn hand_over(&self, facility: Option<Facility>, level: Level, line: &[u8]) {
        let facility = facility.unwrap_or(self.facility.get());
        if !self.sink.write(facility, level, self.process.get().1, line) {
            self.dropped_count.set(self.dropped_count.get() + 1);
            self.untold_count.set(self.untold_count.get() + 1);
        }
    }

    /// The whole line as the sink takes it.
    fn form(&self, line: &Line<'_>, text: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let facility = line.facility.unwrap_or(self.facility.get());
        let entry = LogEntry { line, text, process: self.process.get(), facility };
        match (&self.sink, self.shape) {
            (Sink::Journal(journal), _) => return entry.write_journal(journal.name(), out),
            // Escaped quotes and backslashes need up to twice the room.
            (sink, Shape::Json) => entry.write_json(sink.line_size_max() / 2, out),
            (Sink::Syslog(_), Shape::Text) => entry.write_text(Heading::Bare, out),
            (_, Shape::Text) => self.form_for_terminal(&entry, out),
        }
        out.push(b'\n');
    }

    fn form_for_terminal(&self, entry: &LogEntry<'_>, out: &mut Vec<u8>) {
        if !self.is_coloured.get() {
            entry.write_text(Heading::WithProcess, out);
            return out.truncate(LINE_SIZE_MAX);
        }
        let level = entry.line.level;
        match self.colours.borrow().iter().rev().find(|(known, _)| *known == level) {
            Some((_, code)) => out.extend_from_slice(code),
            None => out.extend_from_slice(level.colour()),
        }
        entry.write_text(Heading::WithProcess, out);
        out.truncate(LINE_SIZE_MAX);
        out.extend_from_slice(b"\x1b[0m");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn written(line: &Line<'_>, text: &[u8]) -> String {
        let kept = Rc::new(RefCell::new(Vec::new()));
        let log = Log::new(Sink::Memory(kept.clone()), Level::Debug);
        log.set_process(3, 4711);
        log.write_bytes(line, text);
        String::from_utf8(kept.take()).unwrap()
    }

    fn script_line(prefix: &[u8]) -> Line<'_> {
        Line { prefix, label: b"<script>: ", origin: Origin::Script, ..Line::of_core(Level::Info) }
    }

    #[test]
    fn a_line_has_kamailios_shape() {
        assert_eq!(written(&script_line(b""), b"hello\n"), " 3(4711) INFO: <script>: hello\n");
        assert_eq!(written(&script_line(b"{1 ci} "), b"hello"), " 3(4711) INFO: {1 ci} <script>: hello\n");
        assert_eq!(written(&Line::of_core(Level::Error), b"no"), " 3(4711) ERROR: <core>: no\n");
    }

    #[test]
    fn control_bytes_are_visible_and_can_be_told_apart() {
        let rows: [(&[u8], &str, &str); 10] = [
            (b"a\nb\n", "a\nb", "a\\x0ab"),
            (b"a\r\nb\n", "a\\x0d\nb", "a\\x0d\\x0ab"),
            (b"a\n two", "a\n two", "a\\x0a two"),
            (b"tab\there", "tab\there", "tab\there"),
            (b"nul\0", "nul\\x00", "nul\\x00"),
            (b"back\\slash \\x0d", "back\\slash \\x0d", "back\\slash \\x5cx0d"),
            (b"\x1b[31;1mred\x1b[0m", "\x1b[31;1mred\x1b[0m", "\\x1b[31;1mred\\x1b[0m"),
            (b"\x1b[2J\x1b[", "\\x1b[2J\\x1b[", "\\x1b[2J\\x1b["),
            (b"\x7f", "\\x7f", "\\x7f"),
            ("größe".as_bytes(), "größe", "größe"),
        ];
        for (text, by_script, by_server) in rows {
            assert_eq!(written(&script_line(b""), text), format!(" 3(4711) INFO: <script>: {by_script}\n"));
            assert_eq!(
                written(&Line::of_core(Level::Info), text),
                format!(" 3(4711) INFO: <core>: {by_server}\n")
            );
        }
    }

    #[test]
    fn only_wanted_levels_are_written() {
        let kept = Rc::new(RefCell::new(Vec::new()));
        let log = Log::new(Sink::Memory(kept.clone()), Level::Warning);
        log.say(Level::Notice, format_args!("not this"));
        assert!(kept.borrow().is_empty());
        log.set_level(Level::Notice);
        log.say(Level::Notice, format_args!("but this"));
        assert!(String::from_utf8(kept.take()).unwrap().ends_with("NOTICE: <core>: but this\n"));
    }

    #[test]
    fn what_was_dropped_is_told_when_there_is_room_again() {
        let kept = Rc::new(RefCell::new(Vec::new()));
        let log = Log::new(Sink::Memory(kept.clone()), Level::Info);
        let held = kept.borrow_mut();
        log.say(Level::Info, format_args!("lost"));
        log.say(Level::Info, format_args!("lost"));
        drop(held);
        log.say(Level::Info, format_args!("kept"));
        let text = String::from_utf8(kept.take()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("WARNING: <core>: log lines dropped: 2"), "{text}");
        assert!(lines[1].ends_with("INFO: <core>: kept"), "{text}");
        assert_eq!((lines.len(), log.dropped_count()), (2, 2));
    }

    #[test]
    fn a_level_that_is_shared_changes_for_all_who_share_it() {
        let mut log = Log::to_nowhere();
        log.share_level().unwrap();
        assert!(!log.is_on(Level::Error) && log.level() == Level::Alert);
        log.set_level(Level::Debug);
        assert!(log.is_on(Level::Debug) && log.level() == Level::Debug);
    }

    #[test]
    fn json_lines_stand_alone_and_carry_no_colours() {
        let kept = Rc::new(RefCell::new(Vec::new()));
        let log = Log { shape: Shape::Json, ..Log::new(Sink::Memory(kept.clone()), Level::Debug) };
        log.set_coloured(true);
        log.write_bytes(&script_line(b"p "), b"one\ntwo\n");
        log.say(Level::Error, format_args!("three"));
        let text = String::from_utf8(kept.take()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["message"], &lines[1]["message"]), (&"one\\x0atwo".into(), &"three".into()));
        assert_eq!((&lines[0]["module"], &lines[1]["module"]), (&"script".into(), &"core".into()));
    }
}
