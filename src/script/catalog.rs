//! What the checker asks about names: modules, parameters, functions, variables, transformations, groups.
//!
//! The catalog is filled while the top level of the script is checked (`loadmodule`, `modparam`, globals), then asked
//! while the routes are checked. Its answers are small numbers that the interpreter hands back to the host.

use std::ops::Range;

use super::ast::RouteKind;
use super::diagnostic::Diagnostic;

/// Number of a function in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionId(pub u32);

/// Number of a transformation in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransformationId(pub u32);

/// What the catalog answers for a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariableHandle {
    /// Number of the variable.
    pub id: u32,
    /// The literal key, resolved to a number by the catalog (slot of `$var(x)`, header of `$hdr(X)`). 0 without; a
    /// literal key is then handed to the host as text.
    pub slot: u32,
    /// Whether it may be assigned.
    pub is_writable: bool,
    /// What it always yields, where that is known.
    pub yields: Yields,
}

/// What is known before running about the kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// Integer, text or nothing.
    Anything,
    /// Always an integer.
    Integer,
    /// Text or nothing; `==` on it compares without regard to case (core words such as `method`, `uri`).
    TextAnyCase,
    /// Text or nothing.
    Text,
    /// An IP address as text: `==` against an address or a network compares addresses.
    Address,
    /// Whether an address or URI is this server (`myself`): only beside `==` and `!=`. It is read with the text of the
    /// other operand as its key, and yields an integer other than 0 if that is this server.
    Myself,
}

/// Shape of the key of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyShape<'a> {
    /// `$ru`
    None,
    /// `$var(x)`: known now.
    Literal(&'a [u8]),
    /// `$avp($rU)`: known when it runs; handed to the host as text.
    Computed,
}

/// What a function expects of one argument. The checker evaluates by it; a function never re-checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Text; variables inside a literal are replaced.
    Text,
    /// Header lines: text in which a variable after a name and its colon stays in its line, whatever it holds.
    Lines,
    /// Text for the log: what a variable in it holds is made visible there, and starts no line of its own.
    Shown,
    /// Text exactly as written: `$` means nothing (regular expressions with `$`).
    Literal,
    /// An integer (number, variable, or text that holds one).
    Integer,
    /// An integer that says for how long the run is suspended; the function gets the point at which it can resume.
    Delay,
    /// Any value, kind kept.
    Value,
    /// A variable, written bare or as the whole of a string: `$var(x)`, `"$avp(y)"`.
    Place,
    /// Name of a route of this kind, or text that computes one. The literal `"0"` stands for none: the integer 0.
    Route(RouteKind),
    /// Text that the catalog prepares when it is a literal (a regular expression, a worker group, a log level, …).
    Prepared,
}

/// Set of kinds of route in which a function may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSet(pub u16);

impl RouteSet {
    /// Every kind.
    pub const ANY: RouteSet = RouteSet(u16::MAX);
    /// Every kind but `onsend_route`, where the message is on its way already.
    pub const BEFORE_SENDING: RouteSet = RouteSet(!RouteSet::of(&[RouteKind::OnSend]).0);
    /// `request_route`, routes called from it and event routes.
    pub const REQUEST: RouteSet = RouteSet::of(&[RouteKind::Request, RouteKind::Named, RouteKind::Event]);
    /// `reply_route` and `onreply_route[X]`.
    pub const REPLY: RouteSet = RouteSet::of(&[RouteKind::Reply, RouteKind::OnReply, RouteKind::Named]);

    /// The set of these kinds.
    pub const fn of(kinds: &[RouteKind]) -> RouteSet {
        let mut bits = 0;
        let mut index = 0;
        while index < kinds.len() {
            bits |= 1 << kinds[index] as u16;
            index += 1;
        }
        RouteSet(bits)
    }

    /// Both sets together.
    pub const fn or(self, other: RouteSet) -> RouteSet {
        RouteSet(self.0 | other.0)
    }

    /// Whether `kind` is in it.
    pub const fn contains(self, kind: RouteKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }
}

/// A row of a table of functions: a name with a certain number of arguments.
#[derive(Clone, Copy, Debug)]
pub struct FunctionRow {
    /// Name in the script.
    pub name: &'static str,
    /// Other names of the same function.
    pub aliases: &'static [&'static str],
    /// What it does, one line.
    pub documentation: &'static str,
    /// What each argument must be.
    pub parameters: &'static [ParameterKind],
    /// Where it may stand.
    pub routes: RouteSet,
    /// What the checker tells about a call of it.
    pub advice: Advice,
    /// Whether the place of the call follows its arguments: a prepared one, line and name of the file.
    pub has_call_site: bool,
}

impl FunctionRow {
    /// A function that may stand in these routes.
    pub const fn new(
        name: &'static str,
        documentation: &'static str,
        parameters: &'static [ParameterKind],
        routes: RouteSet,
    ) -> FunctionRow {
        let (aliases, advice) = (&[] as _, Advice::None);
        FunctionRow { name, aliases, documentation, parameters, routes, advice, has_call_site: false }
    }

    /// Its name, then its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Whether `name` names it.
    pub fn is_named(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

/// Things worth a warning about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing.
    None,
    /// Its result should be tested, and success should be followed by `drop` (`sworker_task`).
    TestThenDrop,
    /// An old or mistaken name; the text says what to write instead. It works.
    Alias(&'static str),
}

/// A value given at top level, typed.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A number; bare `yes`, `on`, `true`, `enable` are 1, their opposites 0.
    Number(i64),
    /// A quoted string.
    Text(Vec<u8>),
    /// Any other bare word.
    Word(String),
    /// A socket of `listen=`.
    Socket(super::ast::SocketLiteral),
    /// Several.
    List(Vec<Constant>),
    /// `socket = { … }`.
    Fields(Vec<(String, Constant)>),
}

/// A statement of the top level, named by what it sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// None: the command line, or the script as a whole.
    Nowhere,
    /// The `loadmodule` of this module.
    Module(String),
    /// The `modparam` that last set this parameter of this module.
    Parameter {
        /// Name of the module.
        module: String,
        /// Name of the parameter.
        name: String,
    },
    /// The last statement that sets a global parameter of this name.
    Global(String),
    /// Some bytes of the text that a global parameter is set to.
    PartOfGlobal {
        /// Name of the parameter.
        name: String,
        /// The text.
        text: Vec<u8>,
        /// Which bytes of it.
        part: Range<usize>,
    },
    /// Some bytes of an option of the command line.
    Option {
        /// The option with its value, as the source map has it.
        option: String,
        /// Which bytes of it.
        part: Range<usize>,
    },
}

/// What a `modparam` that was refused got wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterFault {
    /// No loaded module is meant.
    Module,
    /// The module has no such parameter.
    Name,
    /// The parameter does not take this value.
    Value,
}

/// A name that the catalog refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<'a> {
    /// In `loadmodule`.
    Module(&'a str),
    /// The pattern of modules in `modparam`.
    ModulePattern(&'a str),
    /// A function.
    Function(&'a str),
    /// A variable.
    Variable(&'a str),
}

/// The names a script may use. What a catalog has to say comes without a place: whoever asks knows it.
pub trait Catalog {
    /// `loadmodule`.
    fn load_module(&mut self, path: &str) -> Result<Option<Diagnostic>, Diagnostic>;

    /// `modparam`; `modules` is a regular expression over loaded modules.
    fn set_module_parameter(
        &mut self,
        modules: &str,
        name: &str,
        value: &Constant,
    ) -> Result<Option<Diagnostic>, Diagnostic>;

    /// A global parameter.
    fn set_global(&mut self, name: &str, value: &Constant) -> Result<Option<Diagnostic>, Diagnostic>;

    /// A custom variable `group.name`.
    fn set_custom(
        &mut self,
        group: &str,
        name: &str,
        value: &Constant,
        description: &str,
    ) -> Result<(), Diagnostic>;

    /// The top level has been read: everything that needs all of it (for example whether the variable of
    /// `modparam("sworker", "xdata", …)` exists) is checked here. What there is to say, and about which statement.
    fn finish_top_level(&mut self) -> Vec<(Subject, Diagnostic)>;

    /// What a refused parameter of modules got wrong.
    fn fault_in_parameter(&self, _modules: &str, _name: &str) -> ParameterFault {
        ParameterFault::Value
    }

    /// Whether a global parameter has this name.
    fn is_global(&self, _name: &str) -> bool {
        true
    }

    /// The function with this name and number of arguments.
    fn function(
        &mut self,
        name: &str,
        argument_count: usize,
    ) -> Result<(FunctionId, &'static FunctionRow), Diagnostic>;

    /// Whether a function takes bare words as text, as those of the core do: `log(L_INFO, "x")`.
    fn takes_words(&self, _function: FunctionId) -> bool {
        true
    }

    /// Prepares a literal argument of a function (parameter kind `Prepared`): `Ok(Some(n))` hands `n` to every call.
    fn prepare(
        &mut self,
        function: FunctionId,
        parameter: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic>;

    /// The variable of this name.
    fn variable(&mut self, name: &str, key: KeyShape<'_>) -> Result<VariableHandle, Diagnostic>;

    /// A core word without `$` (`method`, `src_ip`, `myself`, …): the variable it stands for. Next to `==`, a word that
    /// is not a variable (`INVITE`, `UDP`, `INET6`) is text if the other side yields `TextAnyCase`.
    fn word(&mut self, name: &str) -> Result<VariableHandle, Diagnostic>;

    /// The only words that `==` beside this core word can meet; none where anything can.
    fn values_of_word(&self, _name: &str) -> &'static [&'static str] {
        &[]
    }

    /// A select: the variable it stands for.
    fn select(&mut self, path: &str) -> Result<VariableHandle, Diagnostic>;

    /// The transformation with this name and number of arguments.
    fn transformation(&mut self, name: &str, argument_count: usize) -> Result<TransformationId, Diagnostic>;

    /// A route block: something to know about it (it is never run here), or why it is probably a mistake, which is a
    /// warning.
    fn route(&mut self, _kind: RouteKind, _name: &str) -> Option<Diagnostic> {
        None
    }

    /// The modules that a refused name belongs to, when they are known and just not here: their absence is one mistake,
    /// however often their names are used.
    fn absent_modules(&self, _refused: Refused<'_>) -> Vec<String> {
        Vec::new()
    }

    /// All that is to be said about parts of the text that a global parameter is set to, refused or not: which bytes of
    /// it, and what. An error is among the reasons for which the value is refused.
    fn findings_in_global(&self, _name: &str, _text: &[u8]) -> Vec<(Range<usize>, Diagnostic)> {
        Vec::new()
    }

    /// Which bytes of a text that a global parameter refused are the mistake, where that is known and each part is
    /// right by itself.
    fn mistake_in_global(&self, _name: &str, _text: &[u8]) -> Option<Range<usize>> {
        None
    }

    /// The value of a variable that has one before anything runs: `$env(HOME)`.
    fn value_at_load(&self, _variable: &str, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
