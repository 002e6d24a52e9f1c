//! Productions of the top level: modules, parameters, sockets, and the heads of route blocks.
//!
//! ```text
//!  loadmodule "x.so"        modparam("x", "name", value)      name = value
//!  listen=udp:10.0.0.1:5060 advertise 1.2.3.4 name "a"        group.name = value desc "text"
//!  request_route { … }      route[NAME] { … }                 event_route[a:b] { … }
//! ```
//!
//! Which parameters exist is not known here: any name may stand before `=`.

use super::{Parsed, Parser};
use crate::script::ast::{GlobalValue, GlobalValueKind, Item, ItemKind, Name, Route, RouteKind, Span, Text};
use crate::script::diagnostic::{Diagnostic, nearest};
use crate::script::lexer;
use crate::script::token::TokenKind;

impl Parser<'_> {
    /// The whole script.
    pub(super) fn items(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        while self.kind() != TokenKind::End {
            let start = self.position();
            if self.take(TokenKind::Semicolon) {
                continue;
            }
            match self.item() {
                Ok(kind) => items.push(Item { kind, span: self.span_from(start) }),
                Err(_) => self.skip_item(start),
            }
        }
        items
    }

    /// Moves to where the next item begins.
    fn skip_item(&mut self, start: usize) {
        if self.position() == start {
            self.advance();
        }
        while self.kind() != TokenKind::End {
            if self.token(0).is_first_on_line && self.is_item_start() {
                return;
            }
            self.advance();
        }
    }

    /// Whether what follows can only be the beginning of a top-level item.
    pub(super) fn is_item_start(&self) -> bool {
        let next = self.kind_at(1);
        match self.word() {
            "" => false,
            "loadmodule" | "loadmodulex" | "cfgengine" | "loadpath" | "mpath" => {
                matches!(next, TokenKind::Text | TokenKind::LeftParenthesis | TokenKind::Assign)
            }
            "modparam" | "modparamx" | "coreparam" => next == TokenKind::LeftParenthesis,
            "flags" | "avpflags" if next == TokenKind::Word => true,
            word if route_kind(word).is_some() => self.is_route_start(),
            _ => {
                let is_custom = next == TokenKind::Dot
                    && self.kind_at(2) == TokenKind::Word
                    && self.kind_at(3) == TokenKind::Assign;
                next == TokenKind::Assign || is_custom
            }
        }
    }

    /// Whether a route block begins here.
    pub(super) fn is_route_start(&self) -> bool {
        // `route[X];` is a mistaken call.
        let is_call = self.kind_at(3) == TokenKind::RightBracket && self.kind_at(4) == TokenKind::Semicolon;
        route_kind(self.word()).is_some()
            && matches!(self.kind_at(1), TokenKind::LeftBracket | TokenKind::LeftBrace)
            && !is_call
    }

    fn item(&mut self) -> Parsed<ItemKind> {
        match self.word() {
            "" => self.no_item(),
            "loadmodule" => self.load_module(false),
            "loadmodulex" => self.load_module(true),
            "loadpath" | "mpath" => self.load_path(),
            "modparam" => self.module_parameter(false),
            "modparamx" => self.module_parameter(true),
            "coreparam" => self.core_parameter(),
            "cfgengine" => self.config_engine(),
            "flags" | "avpflags" if self.kind_at(1) != TokenKind::Assign => self.flags(),
            word => match route_kind(word) {
                Some(kind) => self.route(kind),
                None => self.parameter(),
            },
        }
    }

    /// Something stands where an item should begin.
    fn no_item<T>(&mut self) -> Parsed<T> {
        let span = self.token(0).span;
        if self.kind() == TokenKind::RightBrace {
            return self.fail(
                Diagnostic::error(span, "this `}` closes nothing")
                    .with_help("is there one `}` too many before it?"),
            );
        }
        let message = format!("{} is not allowed outside a route", self.shown());
        let help = "outside routes are allowed: `loadmodule`, `modparam`, `name = value`; is there one `}` too \
             many before it?";
        self.fail(Diagnostic::error(span, message).with_help(help))
    }

    // Modules.

    fn load_module(&mut self, evaluated: bool) -> Parsed<ItemKind> {
        self.advance();
        let open = self.token(0);
        if !self.take(TokenKind::LeftParenthesis) {
            let path = self.expect_text("the name of the module")?;
            return Ok(ItemKind::LoadModule { path, options: None, evaluated });
        }
        let path = self.expect_text("the name of the module")?;
        let options = if self.take(TokenKind::Comma) { Some(self.expect_text("the options")?) } else { None };
        self.close(TokenKind::RightParenthesis, open)?;
        Ok(ItemKind::LoadModule { path, options, evaluated })
    }

    fn load_path(&mut self) -> Parsed<ItemKind> {
        self.advance();
        let open = self.token(0);
        if self.take(TokenKind::LeftParenthesis) {
            let path = self.expect_text("the path")?;
            self.close(TokenKind::RightParenthesis, open)?;
            return Ok(ItemKind::LoadPath(path));
        }
        self.take(TokenKind::Assign);
        Ok(ItemKind::LoadPath(self.expect_text("the path")?))
    }

    fn module_parameter(&mut self, evaluated: bool) -> Parsed<ItemKind> {
        self.advance();
        let open = self.expect_open()?;
        let modules = self.expect_text("the name of the module")?;
        self.expect_comma()?;
        let name = self.expect_text("the name of the parameter")?;
        self.expect_comma()?;
        let value = self.module_value()?;
        self.close(TokenKind::RightParenthesis, open)?;
        Ok(ItemKind::ModuleParameter { modules, name, value, evaluated })
    }

    fn core_parameter(&mut self) -> Parsed<ItemKind> {
        let name = self.name();
        let start = self.position();
        let open = self.expect_open()?;
        let parameter = self.expect_text("the name of the parameter")?;
        let parameter = GlobalValue { span: parameter.span, kind: GlobalValueKind::Text(parameter) };
        self.expect_comma()?;
        let value = self.module_value()?;
        self.close(TokenKind::RightParenthesis, open)?;
        let kind = GlobalValueKind::List(vec![parameter, value]);
        Ok(ItemKind::Global { name, value: GlobalValue { kind, span: self.span_from(start) } })
    }

    /// A text, a number, or a word such as `yes`.
    fn module_value(&mut self) -> Parsed<GlobalValue> {
        let start = self.position();
        let kind = match self.kind() {
            TokenKind::Text => GlobalValueKind::Text(self.texts()),
            TokenKind::Number | TokenKind::Minus => GlobalValueKind::Number(self.signed_number()?),
            TokenKind::Word => GlobalValueKind::Word(self.name().text),
            _ => {
                let message = format!("{} cannot be the value of a parameter", self.shown());
                let help = "a parameter is a number or a text in quotes";
                return self.fail(Diagnostic::error(self.token(0).span, message).with_help(help));
            }
        };
        if !matches!(self.kind(), TokenKind::RightParenthesis | TokenKind::End)
            && !self.token(0).is_first_on_line
        {
            return self.report_operator_in_value();
        }
        Ok(GlobalValue { kind, span: self.span_from(start) })
    }

    fn report_operator_in_value<T>(&mut self) -> Parsed<T> {
        let message = format!("{} cannot follow the value", self.shown());
        let help = "outside routes a value is one number or text; expressions need `#!defexp`";
        self.fail(Diagnostic::error(self.token(0).span, message).with_help(help))
    }

    fn config_engine(&mut self) -> Parsed<ItemKind> {
        let name = self.name();
        self.take(TokenKind::Assign);
        let text = self.expect_text("the name of the engine")?;
        let value = GlobalValue { span: text.span, kind: GlobalValueKind::Text(text) };
        Ok(ItemKind::Global { name, value })
    }

    fn flags(&mut self) -> Parsed<ItemKind> {
        let name = self.name();
        let start = self.position();
        let mut flags = Vec::new();
        loop {
            if self.kind() != TokenKind::Word {
                let message = format!("{} is not a flag name", self.shown());
                let help = "write `flags name:number, other`";
                return self.fail(Diagnostic::error(self.token(0).span, message).with_help(help));
            }
            let flag_start = self.position();
            let mut flag = self.name().text;
            if self.take(TokenKind::Colon) {
                flag = format!("{flag}:{}", self.signed_number()?);
            }
            flags.push(GlobalValue { kind: GlobalValueKind::Word(flag), span: self.span_from(flag_start) });
            if !self.take(TokenKind::Comma) {
                break;
            }
        }
        let value = GlobalValue { kind: GlobalValueKind::List(flags), span: self.span_from(start) };
        Ok(ItemKind::Global { name, value })
    }

    // Parameters.

    /// `name = value` or `group.name = value`.
    fn parameter(&mut self) -> Parsed<ItemKind> {
        let start = self.position();
        let name = self.name();
        match self.kind() {
            TokenKind::Dot if self.kind_at(1) == TokenKind::Word => {
                self.advance();
                let second = self.name();
                self.custom(name, second)
            }
            TokenKind::Assign => {
                self.advance();
                let value = self.value_of(&name)?;
                Ok(ItemKind::Global { name, value })
            }
            _ => self.no_parameter(&name, start),
        }
    }

    fn no_parameter<T>(&mut self, name: &Name, start: usize) -> Parsed<T> {
        let span = name.span;
        let is_call = self.kind() == TokenKind::LeftParenthesis;
        let is_block = matches!(self.kind(), TokenKind::LeftBrace | TokenKind::LeftBracket);
        if start == 0 && self.previous().is_broken {
            return Err(super::Skip);
        }
        if is_call || super::STATEMENT_WORDS.contains(&name.text.as_str()) {
            let message = format!("`{}` is outside a route", name.text);
            let help = "statements belong in a route; is there one `}` too many before it?";
            return self.fail(Diagnostic::error(span, message).with_help(help));
        }
        let near = nearest(&name.text, ITEM_WORDS.iter().copied());
        let message = match is_block {
            true => format!("there is no kind of route `{}`", name.text),
            false => format!("`{}` begins nothing", name.text),
        };
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if matches!(self.kind(), TokenKind::Word | TokenKind::Number | TokenKind::Text) => {
                format!("a parameter is written `{} = value`", name.text)
            }
            None => "outside routes are allowed: `loadmodule`, `modparam`, and `name = value`".to_string(),
        };
        self.fail(Diagnostic::error(span, message).with_help(help))
    }

    fn custom(&mut self, group: Name, name: Name) -> Parsed<ItemKind> {
        if !self.take(TokenKind::Assign) {
            let message = format!("`=` is expected before {}", self.shown());
            return self.fail(
                Diagnostic::error(self.token(0).span, message).with_help("write `group.name = value`"),
            );
        }
        let value = self.plain_value()?;
        let description = if matches!(self.word(), "desc" | "descr") && self.kind_at(1) == TokenKind::Text {
            self.advance();
            Some(self.texts())
        } else {
            None
        };
        Ok(ItemKind::Custom { group, name, value, description })
    }

    fn value_of(&mut self, name: &Name) -> Parsed<GlobalValue> {
        let is_missing = self.kind() == TokenKind::End
            || self.kind() == TokenKind::Semicolon
            || self.token(0).is_first_on_line && self.is_item_start();
        if is_missing {
            let message = format!("`{}` has no value", name.text);
            return self.fail(Diagnostic::error(self.span_behind(), message));
        }
        match name.text.as_str() {
            "listen" => self.several(Self::socket),
            "alias" | "domain" => self.several(|parser| Ok(vec![parser.host()?])),
            "socket" if self.kind() == TokenKind::LeftBrace => self.fields(),
            _ => {
                let value = self.plain_value()?;
                let follows_on_line = !self.token(0).is_first_on_line
                    && !matches!(self.kind(), TokenKind::Word | TokenKind::Semicolon | TokenKind::End);
                if follows_on_line { self.report_operator_in_value() } else { Ok(value) }
            }
        }
    }

    /// One number, text, word or address.
    pub(super) fn plain_value(&mut self) -> Parsed<GlobalValue> {
        let start = self.position();
        let kind = match self.kind() {
            TokenKind::Text => GlobalValueKind::Text(self.texts()),
            TokenKind::Minus => GlobalValueKind::Number(self.signed_number()?),
            TokenKind::Number if !self.is_glued_word(1) => GlobalValueKind::Number(self.signed_number()?),
            TokenKind::Word | TokenKind::Number | TokenKind::LeftBracket | TokenKind::Colon => {
                GlobalValueKind::Word(self.glued_word())
            }
            _ => {
                let message = format!("{} is not a value", self.shown());
                let help = "a value is a number, a word, or a text in quotes";
                return self.fail(Diagnostic::error(self.token(0).span, message).with_help(help));
            }
        };
        Ok(GlobalValue { kind, span: self.span_from(start) })
    }

    // Parts.

    /// Whether the token so far on continues a word such as `10.0.0.1:5060`.
    pub(super) fn is_glued_word(&self, offset: usize) -> bool {
        self.is_glued(offset) && is_word_part(self.kind_at(offset))
    }

    /// Takes tokens that stand together as one word, quotes removed: `udp:"host":5060`, `[::1]:5060`, `eth0`.
    /// Around a colon there may be white space.
    pub(super) fn glued_word(&mut self) -> String {
        let mut word = String::new();
        let mut is_first = true;
        let mut is_in_brackets = false;
        while is_word_part(self.kind()) {
            match self.kind() {
                TokenKind::LeftBracket => is_in_brackets = true,
                TokenKind::RightBracket if !std::mem::take(&mut is_in_brackets) => break,
                _ => {}
            }
            let is_colon = self.kind() == TokenKind::Colon || self.previous().kind == TokenKind::Colon;
            let goes_on = self.is_glued(0) || is_colon && !self.token(0).is_first_on_line;
            if !is_first && !goes_on {
                break;
            }
            is_first = false;
            if self.kind() == TokenKind::Text {
                word.push_str(&self.quoted_word());
            } else {
                let token = self.advance();
                word.push_str(self.text_of(token));
            }
        }
        word
    }

    /// A quoted part of an address.
    fn quoted_word(&mut self) -> String {
        let text = self.text();
        let word = lossy(&text);
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:[]*".contains(&byte);
        let is_address = word
            .starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[' || first == '*')
            && word.bytes().all(is_part)
            && word.matches('[').count() == word.matches(']').count();
        if !is_address {
            let shown: String = word.chars().take(40).collect();
            self.push(Diagnostic::error(text.span, format!("{shown:?} is not an address")));
        }
        word
    }

    /// A number with or without a minus.
    pub(super) fn signed_number(&mut self) -> Parsed<i64> {
        let is_negative = self.take(TokenKind::Minus);
        if self.kind() != TokenKind::Number {
            let message = format!("{} is not a number", self.shown());
            return self.fail(Diagnostic::error(self.token(0).span, message));
        }
        let value = self.number()?;
        // The smallest number has no positive twin in 32 bits.
        Ok(if is_negative { i64::from((value as i32).wrapping_neg()) } else { value })
    }

    /// Takes a number token.
    pub(super) fn number(&mut self) -> Parsed<i64> {
        let token = self.token(0);
        let written = self.text_of(token);
        let Some(number) = lexer::number_value(self.bytes_of(token)) else {
            let help = match written.starts_with('0') && written.bytes().all(|byte| byte.is_ascii_digit()) {
                true => "a leading 0 makes a number octal: only the digits 0 to 7",
                false => "numbers look like 42, 0x2a, 052, or 101010b",
            };
            let diagnostic = Diagnostic::error(token.span, format!("`{written}` is not a number"));
            return self.fail(diagnostic.with_help(help));
        };
        if number.is_wrapped {
            let message = format!("`{written}` does not fit into 32 bits and becomes {}", number.value);
            self.report(Diagnostic::warning(token.span, message));
        }
        self.advance();
        Ok(number.value)
    }

    fn expect_text(&mut self, what: &str) -> Parsed<Text> {
        if self.kind() == TokenKind::Text {
            return Ok(self.texts());
        }
        let message = format!("{what} is missing before {}", self.shown());
        self.fail(Diagnostic::error(self.token(0).span, message).with_help("it needs quotes"))
    }

    fn expect_open(&mut self) -> Parsed<crate::script::token::Token> {
        if self.kind() == TokenKind::LeftParenthesis {
            return Ok(self.advance());
        }
        let message = format!("`(` is expected before {}", self.shown());
        self.fail(Diagnostic::error(self.token(0).span, message))
    }

    fn expect_comma(&mut self) -> Parsed<()> {
        if self.take(TokenKind::Comma) {
            return Ok(());
        }
        let message = format!("`,` is expected before {}", self.shown());
        let help = "write `modparam(\"module\", \"parameter\", value)`";
        self.fail(Diagnostic::error(self.token(0).span, message).with_help(help))
    }

    // Routes.

    fn route(&mut self, kind: RouteKind) -> Parsed<ItemKind> {
        let word = self.name();
        let name = self.route_name(kind, &word)?;
        if self.kind() != TokenKind::LeftBrace {
            let message = format!("the body of the route is missing before {}", self.shown());
            let help = "the statements of a route are enclosed in `{ }`";
            return self.fail(Diagnostic::error(self.token(0).span, message).with_help(help));
        }
        let kind = match (kind, &name) {
            (RouteKind::Request, Some(_)) => RouteKind::Named,
            (RouteKind::Reply, Some(_)) => RouteKind::OnReply,
            (kind, _) => kind,
        };
        self.doubtful_brace = None;
        let body = self.block()?;
        Ok(ItemKind::Route(Route { kind, name, body, end: self.previous().span }))
    }

    fn route_name(&mut self, kind: RouteKind, word: &Name) -> Parsed<Option<Name>> {
        let open = self.token(0);
        if !self.take(TokenKind::LeftBracket) {
            return match kind {
                RouteKind::Event => {
                    let help = "write `event_route[core:pre-routing]`";
                    self.fail(Diagnostic::error(word.span, "an event route needs a name").with_help(help))
                }
                _ => Ok(None),
            };
        }
        if matches!(word.text.as_str(), "request_route" | "reply_route") {
            let named = if kind == RouteKind::Reply { "onreply_route" } else { "route" };
            let help = format!("a route with a name is written `{named}[NAME]`");
            return self
                .fail(Diagnostic::error(open.span, format!("`{}` has no name", word.text)).with_help(help));
        }
        let start = self.position();
        let text = match (kind, self.kind()) {
            (_, TokenKind::Text) => lossy(&self.texts()),
            (RouteKind::Event, TokenKind::Word) => self.glued_word(),
            (_, TokenKind::Word) => self.name().text,
            (_, TokenKind::Number) => self.number()?.to_string(),
            _ => {
                let message = format!("{} is not a route name", self.shown());
                return self.fail(Diagnostic::error(self.token(0).span, message));
            }
        };
        let name = Name { text, span: self.span_from(start) };
        if self.kind() == TokenKind::Minus {
            self.report(quote_the_name(self.token(0).span));
            while !matches!(self.kind(), TokenKind::RightBracket | TokenKind::LeftBrace | TokenKind::End) {
                self.advance();
            }
        }
        self.close(TokenKind::RightBracket, open)?;
        if kind == RouteKind::Event && !is_event_name(&name.text) {
            let message = format!("`{}` is not an event name", name.text);
            let help = "it has the form `module:event`, for example `core:pre-routing`";
            self.report(Diagnostic::error(name.span, message).with_help(help));
        }
        Ok(Some(name))
    }
}

/// The kind of block that a word begins.
fn route_kind(word: &str) -> Option<RouteKind> {
    Some(match word {
        "request_route" | "route" => RouteKind::Request,
        "reply_route" | "onreply_route" => RouteKind::Reply,
        "failure_route" => RouteKind::Failure,
        "branch_route" => RouteKind::Branch,
        "onsend_route" => RouteKind::OnSend,
        "event_route" => RouteKind::Event,
        _ => return None,
    })
}

/// `part:part…`, each of letters, digits, `-` and `_`, the first beginning with a letter.
pub(in crate::script) fn is_event_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.contains(':')
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.split(':').all(is_part)
}

fn is_word_part(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Word
            | TokenKind::Number
            | TokenKind::Text
            | TokenKind::Colon
            | TokenKind::Dot
            | TokenKind::Minus
            | TokenKind::Star
            | TokenKind::LeftBracket
            | TokenKind::RightBracket
    )
}

pub(super) fn quote_the_name(span: Span) -> Diagnostic {
    Diagnostic::error(span, "a name with `-` must be in quotes").with_help("write `route[\"with-dash\"]`")
}

pub(super) fn lossy(text: &Text) -> String {
    String::from_utf8_lossy(&text.bytes).into_owned()
}

/// Words an item can begin with, beside the names of parameters.
const ITEM_WORDS: &[&str] = &[
    "loadmodule",
    "loadmodulex",
    "loadpath",
    "modparam",
    "modparamx",
    "cfgengine",
    "coreparam",
    "request_route",
    "reply_route",
    "onreply_route",
    "failure_route",
    "branch_route",
    "onsend_route",
    "event_route",
    "route",
    "include_file",
    "import_file",
];
