//! Variables (`$ru`, `$hdr(X)`, `$var(x)`): what a row of their tables is, and where a name is looked up.
//!
//! The tables stand in `variables/*.rs`, one file per subject. A row is written with the small builder below:
//!
//! ```ignore
//! pub const VARIABLES: &[Variable] = &[
//!     Variable::new("si", "address of the sender", read_source_address).alias(&["src_ip"]).yields(Yields::Address),
//!     Variable::new("hdr", "body of a header", read_header).key(KeyRule::Text),
//!     Variable::new("ru", "Request-URI", read_request_uri).writable(write_request_uri),
//! ];
//!
//! fn read_source_address(context: &Context<'_>, _: &Subject<'_>, out: &mut Vec<u8>) -> Reading {
//!     answer_display(context.envelope().source.ip(), out)
//! }
//! ```
//!
//! A reader changes nothing and appends its text to `out`. A writer may refuse, with the reason. Rows of modules are
//! the same with the module as the first argument: see [`super::module::ModuleVariable`].

use crate::routing::services::Scope;
use crate::script::catalog::Yields;
use crate::script::host::{Position, Reading, Refusal, ValueRef};

use crate::routing::context::Context;

pub mod addresses;
pub mod ambient;
pub mod branches;
pub mod constants;
pub mod headers;
pub mod identity;
pub mod message;
pub mod network;
pub mod process;
pub mod request;
pub mod sending;
pub mod shared;
pub mod storage;
pub mod structured;
pub mod time;

/// Every variable of the core.
pub const TABLES: &[&[Variable]] = &[
    request::VARIABLES,
    branches::VARIABLES,
    ambient::VARIABLES,
    message::VARIABLES,
    addresses::VARIABLES,
    headers::VARIABLES,
    identity::VARIABLES,
    network::VARIABLES,
    sending::VARIABLES,
    process::VARIABLES,
    storage::VARIABLES,
    structured::VARIABLES,
    shared::VARIABLES,
    time::VARIABLES,
    constants::VARIABLES,
];

/// Reads a variable of the core.
pub type Read = fn(&Context<'_>, &Subject<'_>, &mut Vec<u8>) -> Reading;
/// Writes a variable of the core. `ValueRef::Null` is `= $null`.
pub type Write = fn(&mut Context<'_>, &Subject<'_>, ValueRef<'_>) -> Result<(), Refusal>;

/// What stands in the parentheses of a variable, in the form its [`KeyRule`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// Nothing.
    None,
    /// Text ([`KeyRule::Text`], [`KeyRule::OptionalText`]).
    Text(&'a [u8]),
    /// Index in the list of [`KeyRule::Word`].
    Word(usize),
    /// Slot in the store of script variables ([`KeyRule::Slot`]), or of shared ones ([`KeyRule::Shared`]).
    Slot(u32),
}

impl<'a> Key<'a> {
    /// The text of the key; empty where it is none.
    pub fn text(&self) -> &'a [u8] {
        match *self {
            Key::Text(bytes) => bytes,
            _ => b"",
        }
    }
}

/// Which key a variable takes. The checker refuses what does not fit; a reader never re-checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// None: `$ru`.
    None,
    /// Any text, literal or computed: `$hdr(X)`, `$avp($rU)`.
    Text,
    /// The same, where a literal may be another name of a pair, defined with `avp_aliases`: `$avp(x)`.
    PairName,
    /// Any text or none: `$T_rpl`, `$C(xy)`.
    OptionalText,
    /// One of these words: `$TV(s)`. A computed one that is not among them reads as null and refuses to be written.
    Word(&'static [&'static str]),
    /// A name in the store of script variables, literal only: `$var(x)`, `$vn(x)`.
    Slot,
    /// A name among the values all processes share, literal only: `$shv(x)`.
    Shared,
    /// Steps to a structured value, literal or computed: `$xavp(a[0]=>b)`. Arrives as text.
    Path,
}

/// Key and index of the variable being read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The key.
    pub key: Key<'a>,
    /// The index.
    pub position: Position,
}

/// A row of a table of variables.
#[derive(Clone, Copy, Debug)]
pub struct VariableRow {
    /// Name without `$`. One that begins with `@` is reached by a word or a select only.
    pub name: &'static str,
    /// Other names of the same variable.
    pub aliases: &'static [&'static str],
    /// What it is, one line.
    pub documentation: &'static str,
    /// Which key it takes.
    pub key: KeyRule,
    /// What it is known to yield.
    pub yields: Yields,
    /// How long it lives.
    pub scope: Scope,
    /// Whether it may be assigned.
    pub is_writable: bool,
}

impl VariableRow {
    /// A read-only variable without a key that may yield anything.
    pub const fn new(name: &'static str, documentation: &'static str) -> VariableRow {
        let (aliases, key, yields) = (&[] as _, KeyRule::None, Yields::Anything);
        VariableRow { name, aliases, documentation, key, yields, scope: Scope::Message, is_writable: false }
    }

    /// Its name, then its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Whether `$name` names it.
    pub fn is_named(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// Whether it is reached by a word or a select only, not by `$name`.
    pub fn is_word(&self) -> bool {
        self.name.starts_with('@')
    }
}

/// A row with how it is read and written: of the core ([`Variable`]), or of a module
/// ([`super::module::ModuleVariable`]).
#[derive(Clone, Copy, Debug)]
pub struct VariableEntry<R: 'static, W: 'static> {
    /// What the checker reads.
    pub row: VariableRow,
    /// Reads it.
    pub read: R,
    /// Writes it, where it may be assigned.
    pub write: Option<W>,
}

/// A variable of the core.
pub type Variable = VariableEntry<Read, Write>;

impl<R: Copy, W: Copy> VariableEntry<R, W> {
    /// A read-only variable without a key that may yield anything.
    pub const fn new(name: &'static str, documentation: &'static str, read: R) -> Self {
        VariableEntry { row: VariableRow::new(name, documentation), read, write: None }
    }

    /// With other names.
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.row.aliases = aliases;
        self
    }

    /// With a key.
    pub const fn key(mut self, key: KeyRule) -> Self {
        self.row.key = key;
        self
    }

    /// Known to yield this.
    pub const fn yields(mut self, yields: Yields) -> Self {
        self.row.yields = yields;
        self
    }

    /// Living beyond the message.
    pub const fn process_wide(mut self) -> Self {
        self.row.scope = Scope::Process;
        self
    }

    /// That may be assigned.
    pub const fn writable(mut self, write: W) -> Self {
        self.row.is_writable = true;
        self.write = Some(write);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::harness::{ScriptHarness, check_reading};

    const READINGS: &str = include_str!("variables/readings.txt");

    #[test]
    fn variables_read_as_measured() {
        for row in READINGS.lines().filter(|row| !row.starts_with('#')) {
            let columns: Vec<&str> = row.split(" | ").collect();
            let [written, values @ ..] = columns.as_slice() else { panic!("odd row {row}") };
            assert_eq!(values.len(), 3, "{row}");
            for (column, expected) in values.iter().enumerate() {
                check_reading(written, column, expected);
            }
        }
    }

    #[test]
    fn nothing_panics_on_a_message_with_nothing_in_it() {
        let bare = [
            "OPTIONS x SIP/2.0\r\n\r\n",
            "SIP/2.0 200 \r\n\r\n",
            "OPTIONS sip: SIP/2.0\r\nFrom: <\r\nVia: x\r\n",
        ];
        let keyed = |row: &VariableRow| match row.key {
            KeyRule::None => row.name.to_string(),
            KeyRule::Word(words) => format!("{}({})", row.name, words[0]),
            _ => format!("{}(x)", row.name),
        };
        let mut stage = ScriptHarness::new(&[], "request_route { exit; }");
        for entry in TABLES.iter().copied().flatten() {
            for message in bare {
                stage.read(&keyed(&entry.row), message);
            }
        }
    }

    #[test]
    fn every_row_has_its_own_names_and_is_documented() {
        let mut names: Vec<&str> = Vec::new();
        for row in TABLES.iter().copied().flatten().map(|entry| entry.row) {
            assert!(!row.documentation.is_empty() && !row.documentation.ends_with('.'), "${}", row.name);
            names.extend(row.names());
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands in two rows");
    }
}
