//! What the lexer hands to the parser.

use super::ast::{Span, Text};

/// One token. Its text stays in the source map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its place.
    pub span: Span,
    /// Number of the piece of text that `span` lies in.
    pub region: u32,
    /// Index of the literal in [`Tokens::texts`], for `Text` and `Regex`.
    pub text: u32,
    /// White space or a comment stands before it. `10.0.0.1` is several tokens that are not spaced.
    pub is_spaced: bool,
    /// It is the first on its line: where the parser takes up again after a mistake.
    pub is_first_on_line: bool,
    /// It was reported as broken; what follows from that is not reported again.
    pub is_broken: bool,
}

/// Kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `[A-Za-z_][A-Za-z0-9_]*`
    Word,
    /// Begins with a digit, goes on like a word.
    Number,
    /// A string literal.
    Text,
    /// `/…/` after `case`.
    Regex,
    /// `$…`, parentheses included.
    Variable,
    /// `(`
    LeftParenthesis,
    /// `)`
    RightParenthesis,
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// `[`
    LeftBracket,
    /// `]`
    RightBracket,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `:`
    Colon,
    /// `.`
    Dot,
    /// `=`
    Assign,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Star,
    /// `/`
    Slash,
    /// `%`
    Percent,
    /// `&`
    And,
    /// `&&`
    AndAnd,
    /// `|`
    Or,
    /// `||`
    OrOr,
    /// `^`
    Caret,
    /// `~`
    Tilde,
    /// `!`
    Not,
    /// `?`
    Question,
    /// `@`
    At,
    /// Bytes that begin nothing; already reported.
    Unknown,
    /// The end of the script.
    End,
}

/// A script as tokens: defines replaced, includes read, directives gone.
#[derive(Debug, Default)]
pub struct Tokens {
    /// The tokens; the last one is [`TokenKind::End`].
    pub list: Vec<Token>,
    /// Literals, escapes resolved.
    pub texts: Vec<Text>,
}

/// A word after `#!` that the preprocessor obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// `define`, `def`
    Define,
    /// `trydefine`, `trydef`
    TryDefine,
    /// `redefine`, `redef`
    Redefine,
    /// `undefine`, `undef`, `tryundefine`, `tryundef`
    Undefine,
    /// `defexp`
    DefineExpression,
    /// `defexps`
    DefineQuotedExpression,
    /// `defenv`
    DefineEnvironment,
    /// `defenvs`
    DefineQuotedEnvironment,
    /// `trydefenv`
    TryDefineEnvironment,
    /// `trydefenvs`
    TryDefineQuotedEnvironment,
    /// `ifdef`
    IfDefined,
    /// `ifndef`
    IfNotDefined,
    /// `ifexp`
    IfExpression,
    /// `else`
    Else,
    /// `endif`
    EndIf,
    /// `subst`
    Substitute,
    /// `substdef`
    SubstituteDefine,
    /// `substdefs`
    SubstituteDefineQuoted,
    /// `include_file`
    Include,
    /// `import_file`
    Import,
}

impl Directive {
    /// All names, for looking up and for suggesting.
    pub const NAMES: &[(&'static str, Directive)] = &[
        ("define", Directive::Define),
        ("def", Directive::Define),
        ("trydefine", Directive::TryDefine),
        ("trydef", Directive::TryDefine),
        ("redefine", Directive::Redefine),
        ("redef", Directive::Redefine),
        ("undefine", Directive::Undefine),
        ("undef", Directive::Undefine),
        ("tryundefine", Directive::Undefine),
        ("tryundef", Directive::Undefine),
        ("defexp", Directive::DefineExpression),
        ("defexps", Directive::DefineQuotedExpression),
        ("defenv", Directive::DefineEnvironment),
        ("defenvs", Directive::DefineQuotedEnvironment),
        ("trydefenv", Directive::TryDefineEnvironment),
        ("trydefenvs", Directive::TryDefineQuotedEnvironment),
        ("ifdef", Directive::IfDefined),
        ("ifndef", Directive::IfNotDefined),
        ("ifexp", Directive::IfExpression),
        ("else", Directive::Else),
        ("endif", Directive::EndIf),
        ("subst", Directive::Substitute),
        ("substdef", Directive::SubstituteDefine),
        ("substdefs", Directive::SubstituteDefineQuoted),
        ("include_file", Directive::Include),
        ("import_file", Directive::Import),
    ];

    /// The directive of this name.
    pub fn from_name(name: &[u8]) -> Option<Directive> {
        Directive::NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, directive)| *directive)
    }
}
