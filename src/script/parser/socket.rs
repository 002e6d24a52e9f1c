//! Productions of sockets and hosts at top level.
//!
//! ```text
//!  listen=udp:10.0.0.1:5060 advertise 203.0.113.1:5060 name "main"     listen=(a, b)     listen=udp:(a, b):5060
//!  alias=example.com "example.org:5060"                                socket = { bind = …; name = … }
//! ```

use super::item::lossy;
use super::{Parsed, Parser};
use crate::script::ast::{GlobalValue, GlobalValueKind, SocketLiteral};
use crate::script::diagnostic::Diagnostic;
use crate::script::token::TokenKind;

impl Parser<'_> {
    /// One or several values: `a`, `a b`, `(a, b)`.
    pub(super) fn several(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Parsed<Vec<GlobalValue>>,
    ) -> Parsed<GlobalValue> {
        let start = self.position();
        let open = self.token(0);
        let mut values = Vec::new();
        let is_list = self.take(TokenKind::LeftParenthesis);
        loop {
            values.extend(one(self)?);
            let goes_on = if is_list { self.take(TokenKind::Comma) } else { self.is_another_value() };
            if !goes_on {
                break;
            }
        }
        if is_list {
            self.close(TokenKind::RightParenthesis, open)?;
        }
        let span = self.span_from(start);
        match <[GlobalValue; 1]>::try_from(values) {
            Ok([value]) => Ok(value),
            Err(values) => Ok(GlobalValue { kind: GlobalValueKind::List(values), span }),
        }
    }

    fn is_another_value(&self) -> bool {
        match self.kind() {
            TokenKind::Text | TokenKind::Number | TokenKind::LeftBracket => true,
            TokenKind::Word => !self.is_item_start(),
            _ => false,
        }
    }

    pub(super) fn host(&mut self) -> Parsed<GlobalValue> {
        let start = self.position();
        let kind = match self.kind() {
            // Neighbouring texts are several hosts here.
            TokenKind::Text if !self.is_glued_word(1) => GlobalValueKind::Text(self.text()),
            TokenKind::Text
            | TokenKind::Word
            | TokenKind::Number
            | TokenKind::LeftBracket
            | TokenKind::Star => GlobalValueKind::Word(self.glued_word()),
            _ => {
                let message = format!("{} is not a host", self.shown());
                let help = "write `alias=host`, `alias=host:port`, or `alias=\"host\"`";
                return self.fail(Diagnostic::error(self.token(0).span, message).with_help(help));
            }
        };
        Ok(GlobalValue { kind, span: self.span_from(start) })
    }

    /// One socket, or several when the address is a list: `udp:(a, b):5060`.
    pub(super) fn socket(&mut self) -> Parsed<Vec<GlobalValue>> {
        let start = self.position();
        let binds = self.bind_addresses()?;
        let mut socket = SocketLiteral::default();
        loop {
            match self.word() {
                "advertise" if self.kind_at(1) != TokenKind::Assign => {
                    self.advance();
                    socket.advertise = Some(self.socket_address("the address to advertise")?);
                }
                "name" if self.kind_at(1) == TokenKind::Text => {
                    self.advance();
                    socket.name = Some(lossy(&self.texts()));
                }
                "virtual" if self.kind_at(1) != TokenKind::Assign => {
                    self.advance();
                    socket.is_virtual = true;
                }
                _ => break,
            }
        }
        let span = self.span_from(start);
        let value = |bind| GlobalValue {
            kind: GlobalValueKind::Socket(SocketLiteral { bind, ..socket.clone() }),
            span,
        };
        Ok(binds.into_iter().map(value).collect())
    }

    fn bind_addresses(&mut self) -> Parsed<Vec<String>> {
        let is_list = self.kind() == TokenKind::Word
            && self.kind_at(1) == TokenKind::Colon
            && self.kind_at(2) == TokenKind::LeftParenthesis;
        if !is_list {
            return Ok(vec![self.socket_address("the address")?]);
        }
        let protocol = self.name().text;
        self.advance();
        let open = self.advance();
        let mut addresses = vec![self.socket_address("the address")?];
        while self.take(TokenKind::Comma) {
            addresses.push(self.socket_address("the address")?);
        }
        self.close(TokenKind::RightParenthesis, open)?;
        let port = if self.kind() == TokenKind::Colon { self.glued_word() } else { String::new() };
        Ok(addresses.into_iter().map(|address| format!("{protocol}:{address}{port}")).collect())
    }

    fn socket_address(&mut self, what: &str) -> Parsed<String> {
        match self.kind() {
            TokenKind::Text
            | TokenKind::Word
            | TokenKind::Number
            | TokenKind::LeftBracket
            | TokenKind::Star => Ok(self.glued_word()),
            _ => {
                let message = format!("{what} is missing before {}", self.shown());
                let help = "a socket is written `[protocol:]address[:port]`, for example `udp:10.0.0.1:5060`";
                self.fail(Diagnostic::error(self.token(0).span, message).with_help(help))
            }
        }
    }

    /// `{ bind = …; name = … }`
    pub(super) fn fields(&mut self) -> Parsed<GlobalValue> {
        let start = self.position();
        let open = self.advance();
        let mut fields = Vec::new();
        loop {
            if self.take(TokenKind::Semicolon) {
                continue;
            }
            if self.kind() != TokenKind::Word {
                break;
            }
            let name = self.name();
            if !self.take(TokenKind::Assign) {
                let message = format!("`=` is expected before {}", self.shown());
                return self.fail(Diagnostic::error(self.token(0).span, message));
            }
            let value = self.plain_value()?;
            fields.push((name, value));
        }
        self.close(TokenKind::RightBrace, open)?;
        Ok(GlobalValue { kind: GlobalValueKind::Fields(fields), span: self.span_from(start) })
    }
}
