//! A small world for scripts: the names a script may use and what they do, without SIP. For tests and benches.

use std::collections::HashMap;

use sworker::script::ast::RouteKind;
use sworker::script::catalog::*;
use sworker::script::diagnostic::Diagnostic;
use sworker::script::host::*;

/// A function with its name, parameters, where it may stand, and advice.
const fn function(
    name: &'static str,
    parameters: &'static [ParameterKind],
    routes: RouteSet,
    advice: Advice,
) -> FunctionRow {
    FunctionRow { advice, ..FunctionRow::new(name, "", parameters, routes) }
}

const FUNCTIONS: &[FunctionRow] = &[
    function("xlog", &[ParameterKind::Text], RouteSet::ANY, Advice::None),
    function("is_method", &[ParameterKind::Prepared], RouteSet::ANY, Advice::None),
    function("code", &[ParameterKind::Integer], RouteSet::ANY, Advice::None),
    function("shown", &[ParameterKind::Value], RouteSet::ANY, Advice::None),
    function("shown", &[ParameterKind::Value, ParameterKind::Value], RouteSet::ANY, Advice::None),
    function("search", &[ParameterKind::Literal], RouteSet::ANY, Advice::None),
    function("pv_isset", &[ParameterKind::Place], RouteSet::ANY, Advice::None),
    function("increment", &[ParameterKind::Place], RouteSet::ANY, Advice::None),
    function(
        "sl_send_reply",
        &[ParameterKind::Integer, ParameterKind::Text],
        RouteSet::REQUEST,
        Advice::None,
    ),
    function("t_on_failure", &[ParameterKind::Route(RouteKind::Failure)], RouteSet::ANY, Advice::None),
    function("t_reply_only", &[], RouteSet::of(&[RouteKind::Failure]), Advice::None),
    function("sworker_task", &[ParameterKind::Prepared], RouteSet::ANY, Advice::TestThenDrop),
    function("swork_task", &[ParameterKind::Prepared], RouteSet::ANY, Advice::Alias("sworker_task")),
];

const TRANSFORMATIONS: &[(&str, usize)] = &[("s.len", 0), ("s.tolower", 0), ("s.substr", 2)];
const GROUPS: [&str; 2] = ["calls", "registrations"];

/// Variables without a key: name, whether writable, what they yield, value in the test message.
const PLAIN: &[(&str, bool, Yields, ValueRef<'static>)] = &[
    ("ru", true, Yields::Text, ValueRef::Text(b"sip:bob@example.com")),
    ("rU", false, Yields::Text, ValueRef::Text(b"bob")),
    ("rm", false, Yields::Text, ValueRef::Text(b"OPTIONS")),
    ("fu", false, Yields::Text, ValueRef::Text(b"sip:alice@example.com")),
    ("tu", false, Yields::Text, ValueRef::Text(b"sip:bob@example.com")),
    ("tt", false, Yields::Text, ValueRef::Null),
    ("ci", false, Yields::Text, ValueRef::Text(b"3848276298220188511@host")),
    ("ua", false, Yields::Text, ValueRef::Null),
    ("si", false, Yields::Text, ValueRef::Text(b"127.0.0.1")),
    ("sp", false, Yields::Integer, ValueRef::Integer(5066)),
    // Words:
    ("method", false, Yields::TextAnyCase, ValueRef::Text(b"OPTIONS")),
    ("uri", false, Yields::TextAnyCase, ValueRef::Text(b"sip:bob@example.com")),
    ("from_uri", false, Yields::TextAnyCase, ValueRef::Text(b"sip:alice@example.com")),
    ("proto", false, Yields::TextAnyCase, ValueRef::Text(b"udp")),
    ("af", false, Yields::TextAnyCase, ValueRef::Text(b"INET")),
    ("src_ip", false, Yields::Address, ValueRef::Text(b"127.0.0.1")),
    ("dst_ip", false, Yields::Address, ValueRef::Text(b"127.0.0.1")),
    ("src_port", false, Yields::Integer, ValueRef::Integer(5066)),
    ("myself", false, Yields::Myself, ValueRef::Null),
    // Selects:
    ("ruri.user", false, Yields::Text, ValueRef::Text(b"bob")),
];
const FIRST_WORD: usize = 10;
const FIRST_SELECT: usize = 19;
const ID_OF_VAR: u32 = 1000;
const ID_OF_AVP: u32 = 1001;
const ID_OF_STORE: u32 = 1002;

/// The names.
#[derive(Default)]
pub struct TestCatalog {
    /// What the top level did, in words.
    pub top_level: Vec<String>,
    slots: HashMap<Vec<u8>, u32>,
}

fn handle(index: usize) -> VariableHandle {
    let (_, is_writable, yields, _) = PLAIN[index];
    VariableHandle { id: index as u32, slot: 0, is_writable, yields }
}

impl Catalog for TestCatalog {
    fn load_module(&mut self, path: &str) -> Result<Option<Diagnostic>, Diagnostic> {
        let name = path.trim_end_matches(".so");
        if name == "nothere" {
            return Err(Diagnostic::mistake(format!("unknown module \"{name}\"")));
        }
        let row = format!("load {name}");
        if self.top_level.contains(&row) {
            return Err(Diagnostic::mistake(format!("module \"{name}\" is loaded twice")));
        }
        self.top_level.push(row);
        Ok(None)
    }

    fn set_module_parameter(
        &mut self,
        modules: &str,
        name: &str,
        value: &Constant,
    ) -> Result<Option<Diagnostic>, Diagnostic> {
        if !self.top_level.contains(&format!("load {modules}")) {
            return Err(Diagnostic::mistake(format!("module \"{modules}\" is not loaded")));
        }
        self.top_level.push(format!("{modules}.{name} = {value:?}"));
        Ok(None)
    }

    fn set_global(&mut self, name: &str, value: &Constant) -> Result<Option<Diagnostic>, Diagnostic> {
        match name {
            "unheard_of" => Err(Diagnostic::mistake(format!("unknown parameter \"{name}\""))),
            "tos" => Ok(Some(Diagnostic::remark("\"tos\" is accepted without effect"))),
            _ => {
                self.top_level.push(format!("{name} = {value:?}"));
                Ok(None)
            }
        }
    }

    fn set_custom(&mut self, group: &str, name: &str, value: &Constant, _: &str) -> Result<(), Diagnostic> {
        self.top_level.push(format!("{group}.{name} = {value:?}"));
        Ok(())
    }

    fn finish_top_level(&mut self) -> Vec<(Subject, Diagnostic)> {
        self.top_level.push("end".into());
        Vec::new()
    }

    fn function(
        &mut self,
        name: &str,
        argument_count: usize,
    ) -> Result<(FunctionId, &'static FunctionRow), Diagnostic> {
        if !FUNCTIONS.iter().any(|row| row.is_named(name)) {
            return Err(Diagnostic::mistake(format!("unknown function {name}()")));
        }
        let found =
            FUNCTIONS.iter().position(|row| row.is_named(name) && row.parameters.len() == argument_count);
        let Some(index) = found else {
            return Err(Diagnostic::mistake(format!("{name}() does not take {argument_count} arguments")));
        };
        Ok((FunctionId(index as u32), &FUNCTIONS[index]))
    }

    fn prepare(&mut self, function: FunctionId, _: usize, literal: &[u8]) -> Result<Option<u32>, Diagnostic> {
        let literal = String::from_utf8_lossy(literal);
        match FUNCTIONS[function.0 as usize].name {
            "sworker_task" | "swork_task" => match GROUPS.iter().position(|group| *group == literal) {
                Some(index) => Ok(Some(index as u32)),
                None => Err(Diagnostic::mistake(format!("unknown worker group \"{literal}\""))
                    .with_help("groups are \"calls\", \"registrations\"")),
            },
            _ => Ok(None),
        }
    }

    fn variable(&mut self, name: &str, key: KeyShape<'_>) -> Result<VariableHandle, Diagnostic> {
        let store = match name {
            "var" => ID_OF_VAR,
            "avp" => ID_OF_AVP,
            "store" => ID_OF_STORE,
            _ => {
                let found = PLAIN[..FIRST_WORD].iter().position(|row| row.0 == name);
                return found
                    .map(handle)
                    .ok_or_else(|| Diagnostic::mistake(format!("unknown variable ${name}")));
            }
        };
        let slot = match key {
            KeyShape::None => {
                return Err(Diagnostic::mistake(format!("${name} needs a name in parentheses")));
            }
            KeyShape::Literal(_) if store == ID_OF_STORE => 0,
            KeyShape::Literal(key) => {
                let next = self.slots.len() as u32 + 1;
                *self.slots.entry([name.as_bytes(), b":", key].concat()).or_insert(next)
            }
            KeyShape::Computed => 0,
        };
        Ok(VariableHandle { id: store, slot, is_writable: true, yields: Yields::Anything })
    }

    fn word(&mut self, name: &str) -> Result<VariableHandle, Diagnostic> {
        let found = PLAIN[FIRST_WORD..FIRST_SELECT].iter().position(|row| row.0 == name);
        found
            .map(|index| handle(index + FIRST_WORD))
            .ok_or_else(|| Diagnostic::mistake(format!("unknown word {name}")))
    }

    fn select(&mut self, path: &str) -> Result<VariableHandle, Diagnostic> {
        let found = PLAIN[FIRST_SELECT..].iter().position(|row| row.0 == path);
        found
            .map(|index| handle(index + FIRST_SELECT))
            .ok_or_else(|| Diagnostic::mistake(format!("unknown select @{path}")))
    }

    fn transformation(&mut self, name: &str, argument_count: usize) -> Result<TransformationId, Diagnostic> {
        let found = TRANSFORMATIONS.iter().position(|row| *row == (name, argument_count));
        found.map(|index| TransformationId(index as u32)).ok_or_else(|| {
            Diagnostic::mistake(format!("unknown transformation {{{name}}} with {argument_count} arguments"))
        })
    }
}

/// A value somebody stored.
#[derive(Clone, Debug)]
enum Stored {
    Integer(i64),
    Text(Vec<u8>),
}

impl Stored {
    fn of(value: ValueRef<'_>) -> Option<Stored> {
        match value {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(Stored::Integer(number)),
            ValueRef::Text(text) => Some(Stored::Text(text.to_vec())),
        }
    }

    fn read(&self, out: &mut Vec<u8>) -> Reading {
        match self {
            Stored::Integer(number) => Reading::Integer(*number),
            Stored::Text(text) => {
                out.extend_from_slice(text);
                Reading::Text
            }
        }
    }
}

/// What the names do.
#[derive(Default)]
pub struct TestHost {
    /// What xlog wrote.
    pub log: Vec<u8>,
    is_quiet: bool,
    /// Complaints: `place: message`.
    pub complaints: Vec<String>,
    /// Calls so far.
    pub calls: u64,
    vars: Vec<Option<Stored>>,
    avps: HashMap<u32, Vec<Stored>>,
    store: HashMap<Vec<u8>, Stored>,
}

impl Host for TestHost {
    fn read(&mut self, place: Place<'_>, out: &mut Vec<u8>) -> Reading {
        match place.variable.id {
            ID_OF_VAR => match self.vars.get(place.variable.slot as usize) {
                Some(Some(stored)) => stored.read(out),
                _ => Reading::Integer(0),
            },
            ID_OF_AVP => {
                let index = match place.position {
                    Position::At(index) => usize::try_from(index).unwrap_or(usize::MAX),
                    _ => 0,
                };
                let stack = self.avps.get(&place.variable.slot);
                let found = stack.and_then(|stack| stack.iter().rev().nth(index));
                found.map_or(Reading::Null, |stored| stored.read(out))
            }
            ID_OF_STORE => self.store.get(place.key).map_or(Reading::Null, |stored| stored.read(out)),
            id if PLAIN[id as usize].2 == Yields::Myself => {
                Reading::Integer(i64::from(place.key.ends_with(b"example.com") || place.key == b"127.0.0.1"))
            }
            id => match PLAIN[id as usize].3 {
                ValueRef::Null => Reading::Null,
                ValueRef::Integer(number) => Reading::Integer(number),
                ValueRef::Text(text) => {
                    out.extend_from_slice(text);
                    Reading::Text
                }
            },
        }
    }

    fn write(&mut self, place: Place<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
        match place.variable.id {
            ID_OF_VAR => self.write_var(place.variable.slot as usize, value),
            ID_OF_AVP => {
                let stack = self.avps.entry(place.variable.slot).or_default();
                match (Stored::of(value), place.position) {
                    (Some(stored), _) => stack.push(stored),
                    (None, Position::All) => stack.clear(),
                    (None, _) => {
                        stack.pop();
                    }
                }
            }
            ID_OF_STORE => match Stored::of(value) {
                Some(stored) => {
                    self.store.insert(place.key.to_vec(), stored);
                }
                None => {
                    self.store.remove(place.key);
                }
            },
            _ => return Err(Refusal("this request URI cannot be set".into())),
        }
        Ok(())
    }

    fn transform(
        &mut self,
        transformation: TransformationId,
        input: ValueRef<'_>,
        arguments: &[Argument<'_>],
        out: &mut Vec<u8>,
    ) -> Reading {
        let ValueRef::Text(input) = input else { return Reading::Null };
        match TRANSFORMATIONS[transformation.0 as usize].0 {
            "s.len" => return Reading::Integer(input.len() as i64),
            "s.tolower" => out.extend(input.iter().map(u8::to_ascii_lowercase)),
            _ => {
                let number = |index: usize| arguments[index].integer().unwrap_or(0) as usize;
                out.extend(input.iter().skip(number(0)).take(number(1)));
            }
        }
        Reading::Text
    }

    fn call(&mut self, function: FunctionId, arguments: &[Argument<'_>]) -> Outcome {
        self.calls += 1;
        match FUNCTIONS[function.0 as usize].name {
            "xlog" if self.is_quiet => Outcome::from(!arguments[0].text().is_empty()),
            "xlog" => {
                self.log.extend_from_slice(arguments[0].text());
                Outcome::TRUE
            }
            "is_method" => {
                Outcome::from(arguments[0].text().split(|byte| *byte == b'|').any(|name| name == b"OPTIONS"))
            }
            "code" => Outcome(arguments[0].integer().unwrap_or(0)),
            "shown" => {
                self.log.extend(format!("{arguments:?}").bytes());
                Outcome::TRUE
            }
            "pv_isset" | "increment" => self.call_with_place(function, arguments),
            "sworker_task" => {
                self.log.extend(format!("{arguments:?}").bytes());
                Outcome::TRUE
            }
            _ => Outcome::TRUE,
        }
    }

    fn show(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text.escape_ascii().to_string().as_bytes());
    }

    fn complain(&mut self, severity: Severity, place: &str, message: &str) {
        self.complaints.push(format!("{place}: {severity:?}: {message}"));
    }
}

impl TestHost {
    /// A host whose xlog makes its text and throws it away.
    #[allow(dead_code, reason = "only the bench is quiet")]
    pub fn quiet() -> TestHost {
        TestHost { is_quiet: true, ..TestHost::default() }
    }

    /// A value over one of its kind needs no new room; the bench counts on it.
    fn write_var(&mut self, slot: usize, value: ValueRef<'_>) {
        if self.vars.len() <= slot {
            self.vars.resize(slot + 1, None);
        }
        match (&mut self.vars[slot], value) {
            (Some(Stored::Text(old)), ValueRef::Text(new)) => {
                old.clear();
                old.extend_from_slice(new);
            }
            (var, value) => *var = Stored::of(value),
        }
    }

    fn call_with_place(&mut self, function: FunctionId, arguments: &[Argument<'_>]) -> Outcome {
        let Argument::Place(place) = arguments[0] else { return Outcome(-9) };
        let reading = self.read(place, &mut Vec::new());
        if FUNCTIONS[function.0 as usize].name == "pv_isset" {
            return Outcome::from(reading != Reading::Null);
        }
        match reading {
            Reading::Integer(number) => {
                Outcome::from(self.write(place, ValueRef::Integer(number + 1)).is_ok())
            }
            _ => Outcome::FALSE,
        }
    }
}
