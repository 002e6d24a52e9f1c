//! The tree of a script, as the parser builds it and `print` writes it back.
//!
//! Nothing here has a meaning yet: names are text with a place. The parser always returns a tree, also for a script
//! with mistakes; what it could not read it leaves out and reports.

/// A stretch of text: offsets into the position space of the source map (all files and macro expansions in one line).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

/// A name and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name as written (defines already replaced).
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// A string literal (or adjacent literals joined), escapes resolved. Not yet searched for variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// `'…'`: taken as it stands.
    pub raw: bool,
    /// Place of the literal(s), quotes included.
    pub span: Span,
}

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ast {
    /// Top-level items in the order written.
    pub items: Vec<Item>,
    /// Defines in force at the end of the script, for `$def(NAME)` and its kin.
    pub defines: Vec<(String, Option<String>)>,
}

/// One top-level item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its place.
    pub span: Span,
}

/// Kinds of top-level item.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    /// `loadmodule "x.so"`, `loadmodule("x", "options")`, `loadmodulex`.
    LoadModule {
        /// Path or bare name.
        path: Text,
        /// Second argument.
        options: Option<Text>,
        /// `loadmodulex`: variables in the path are evaluated at load.
        evaluated: bool,
    },
    /// `loadpath "a:b"`, `mpath="a"`.
    LoadPath(Text),
    /// `modparam("m1|m2", "name", value)`, `modparamx`.
    ModuleParameter {
        /// Regular expression over the names of loaded modules.
        modules: Text,
        /// Name of the parameter.
        name: Text,
        /// Its value.
        value: GlobalValue,
        /// `modparamx`: variables in the value are evaluated at load.
        evaluated: bool,
    },
    /// `name = value`, and the keyword forms `cfgengine "native"`, `flags a:1, b`, `coreparam("n", v)`
    /// (name `coreparam`, values in a list).
    Global {
        /// Name of the parameter as written.
        name: Name,
        /// Its value.
        value: GlobalValue,
    },
    /// `group.name = value desc "text"`: a custom variable.
    Custom {
        /// Group.
        group: Name,
        /// Name in the group.
        name: Name,
        /// Default value.
        value: GlobalValue,
        /// Description.
        description: Option<Text>,
    },
    /// A route block.
    Route(Route),
}

/// Value of a global or module parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalValue {
    /// What it is.
    pub kind: GlobalValueKind,
    /// Its place.
    pub span: Span,
}

/// Kinds of value at top level.
#[derive(Clone, Debug, PartialEq)]
pub enum GlobalValueKind {
    /// A number (also negative).
    Number(i64),
    /// A quoted string.
    Text(Text),
    /// A bare word: `yes`, `LOG_LOCAL0`, `udp`, `1.2.3.4`, `[::1]`, `myhost:5060`, …
    Word(String),
    /// One socket of `listen=`.
    Socket(SocketLiteral),
    /// Several values: `listen=(a, b)`, `alias="a" "b"`, `flags a:1, b:2`.
    List(Vec<GlobalValue>),
    /// `socket = { bind = …; name = … }`.
    Fields(Vec<(Name, GlobalValue)>),
}

/// `[proto:]addr[:port] [advertise [proto:]addr[:port]] [name "x"] [virtual]`; words are left as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SocketLiteral {
    /// `[proto:]addr[:port]` as written, quotes removed.
    pub bind: String,
    /// What follows `advertise`.
    pub advertise: Option<String>,
    /// What follows `name`.
    pub name: Option<String>,
    /// `virtual` was given.
    pub is_virtual: bool,
}

/// Kinds of route block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// `request_route`, `route` without a name.
    Request,
    /// `route[NAME]`.
    Named,
    /// `reply_route`, `onreply_route` without a name.
    Reply,
    /// `onreply_route[NAME]`.
    OnReply,
    /// `failure_route[NAME]`.
    Failure,
    /// `branch_route[NAME]`.
    Branch,
    /// `onsend_route`.
    OnSend,
    /// `event_route[a:b]`.
    Event,
}

impl RouteKind {
    /// Every kind, in the order in which they are reported.
    pub const ALL: [RouteKind; 8] = [
        RouteKind::Request,
        RouteKind::Named,
        RouteKind::Reply,
        RouteKind::OnReply,
        RouteKind::Failure,
        RouteKind::Branch,
        RouteKind::OnSend,
        RouteKind::Event,
    ];

    /// As manual and help write it: `route[]` where a name belongs to it.
    pub fn word(self) -> &'static str {
        match self {
            RouteKind::Request => "request_route",
            RouteKind::Named => "route[]",
            RouteKind::Reply => "reply_route",
            RouteKind::OnReply => "onreply_route[]",
            RouteKind::Failure => "failure_route[]",
            RouteKind::Branch => "branch_route[]",
            RouteKind::OnSend => "onsend_route",
            RouteKind::Event => "event_route[]",
        }
    }
}

/// A route block.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Which kind.
    pub kind: RouteKind,
    /// Name in brackets.
    pub name: Option<Name>,
    /// Statements in order.
    pub body: Vec<Statement>,
    /// Place of the closing brace: where a flow that falls off the end stands.
    pub end: Span,
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it does.
    pub kind: StatementKind,
    /// Its place.
    pub span: Span,
}

/// Kinds of statement.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// `;`
    Empty,
    /// `{ … }`
    Block(Vec<Statement>),
    /// A function call, an assignment, or another expression used as a statement.
    Expression(Expression),
    /// `if (c) s else s`
    If {
        /// Condition.
        condition: Expression,
        /// Taken when it holds.
        then: Box<Statement>,
        /// Taken otherwise.
        otherwise: Option<Box<Statement>>,
    },
    /// `while (c) s`
    While {
        /// Condition.
        condition: Expression,
        /// Repeated.
        body: Box<Statement>,
    },
    /// `switch (e) { case …: … default: … }`
    Switch {
        /// What is compared.
        subject: Expression,
        /// Cases in the order written; control falls through.
        cases: Vec<Case>,
    },
    /// `break`
    Break,
    /// `return [e]`
    Return(Option<Expression>),
    /// `exit [e]`
    Exit(Option<Expression>),
    /// `drop [e]`
    Drop(Option<Expression>),
}

/// One label of a switch with the statements up to the next label.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The label.
    pub label: Label,
    /// What follows it.
    pub body: Vec<Statement>,
    /// Place of the label.
    pub span: Span,
}

/// Label of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// `case EXPR:` with a constant.
    Value(Expression),
    /// `case /"re":` or `case /re/:`
    Regex(Text),
    /// `default:`
    Default,
}

/// One expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// What it is.
    pub kind: ExpressionKind,
    /// Its place.
    pub span: Span,
}

/// Kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpressionKind {
    /// An integer.
    Number(i64),
    /// A string literal; whether variables in it count depends on where it stands.
    Text(Text),
    /// `$name…`
    Variable(Variable),
    /// `@a.b["x"].c[2]`
    Select(Vec<SelectStep>),
    /// A core word without `$`: `method`, `uri`, `src_ip`, `myself`, `status`, `msg:len`, … or a symbolic constant
    /// such as `INVITE`, `UDP`, `INET6`, `max_len`.
    Word(Name),
    /// An IP address or network, unquoted: `10.0.0.0/8`, `[::1]`.
    Address(Name),
    /// `f(a, b)`, `route(X)`, `forward()`; core statements without parentheses too.
    Call(Call),
    /// `= ` inside an expression, or as a statement.
    Assign {
        /// What is assigned to.
        target: Box<Variable>,
        /// The value.
        value: Box<Expression>,
    },
    /// One operand.
    Unary(UnaryOperator, Box<Expression>),
    /// Two operands.
    Binary(BinaryOperator, Box<Expression>, Box<Expression>),
    /// `( e )`: kept so that the printed form is the written one.
    Group(Box<Expression>),
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Name of the function.
    pub name: Name,
    /// Arguments.
    pub arguments: Vec<Expression>,
}

/// A step of a select.
#[derive(Clone, Debug, PartialEq)]
pub enum SelectStep {
    /// `.name`
    Name(Name),
    /// `[n]`
    Index(i64),
    /// `["text"]`
    Key(Text),
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOperator {
    /// `!`, `not`
    Not,
    /// `~`
    BitNot,
    /// `-`
    Negate,
    /// `defined`
    Defined,
    /// `(int)`
    ToInteger,
    /// `(str)`
    ToText,
    /// `strlen(e)`
    Length,
    /// `strempty(e)`
    IsEmpty,
}

/// Operators with two operands, from the weakest to the strongest bond (contract: see `parser::expression`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOperator {
    /// `||`, `or`
    Or,
    /// `&&`, `and`
    And,
    /// `|`
    BitOr,
    /// `&`
    BitAnd,
    /// `^`
    BitXor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `eq`: as text
    TextEqual,
    /// `ne`: as text
    TextNotEqual,
    /// `ieq`: as integers
    IntegerEqual,
    /// `ine`: as integers
    IntegerNotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `>=`
    GreaterOrEqual,
    /// `<=`
    LessOrEqual,
    /// `+`: sum, or joined text
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `mod`
    Modulo,
    /// `.`: joined text
    Join,
}

/// `$name(key)[index]{transformation}…` or `$(name(key)[index]{transformation}…)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Name: `ru`, `var`, `err.class`, `?`.
    pub name: Name,
    /// What stands in the parentheses.
    pub key: Option<Template>,
    /// What stands in the brackets.
    pub index: Option<Index>,
    /// Applied left to right.
    pub transformations: Vec<Transformation>,
    /// Whole place, `$` included.
    pub span: Span,
}

/// An index after a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Index {
    /// `[n]`, negative from the end.
    Number(i64),
    /// `[*]`
    All,
    /// `[$var(i)]`
    Variable(Box<Variable>),
}

/// `{class.name,argument,…}`
#[derive(Clone, Debug, PartialEq)]
pub struct Transformation {
    /// `class.name`, such as `s.substr`, `s.encode.base64`, `uri.user`.
    pub name: Name,
    /// Arguments as written between commas.
    pub arguments: Vec<Template>,
    /// Place with braces.
    pub span: Span,
}

/// Text with variables in it: `"from $fu to $tu"`, or the key of `$avp($rU)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// Parts in order; neighbouring literals are one.
    pub pieces: Vec<Piece>,
    /// Its place.
    pub span: Span,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text as it stands (`$$` already one `$`).
    Literal(Vec<u8>),
    /// A variable.
    Variable(Variable),
}
