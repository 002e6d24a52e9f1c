//! SIP as the tests write and read it.
//!
//! Written apart from the server's own parser on purpose: a test must not trust the code it tests.

use std::net::SocketAddr;

/// A request to be sent; what is not said is filled in so that it is a good one.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    user: String,
    call_id: String,
    branch: String,
    via_parameters: String,
    sequence: u32,
    to_parameters: String,
    headers: Vec<String>,
    body: String,
}

impl Request {
    /// A request whose Call-ID and branch come from `name`.
    #[track_caller]
    pub fn new(method: &str, name: &str) -> Request {
        let is_token = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        assert!(!name.is_empty() && name.chars().all(is_token), "{name:?} cannot be a branch and a tag");
        Request {
            method: method.into(),
            user: "service".into(),
            call_id: name.into(),
            branch: format!("z9hG4bK-{name}"),
            via_parameters: ";rport".into(),
            sequence: 1,
            to_parameters: String::new(),
            headers: vec![],
            body: String::new(),
        }
    }

    /// User part of the Request-URI and of To.
    pub fn user(mut self, user: &str) -> Request {
        self.user = user.into();
        self
    }

    /// Everything after the branch in our Via, `;rport` unless said otherwise.
    pub fn via_parameters(mut self, parameters: &str) -> Request {
        self.via_parameters = parameters.into();
        self
    }

    /// As one inside a dialog, in which the other side has this tag.
    pub fn inside_dialog(mut self, tag: &str) -> Request {
        self.to_parameters = format!(";tag={tag}");
        self
    }

    /// One more header line, without its line end.
    pub fn header(mut self, line: &str) -> Request {
        self.headers.push(line.into());
        self
    }

    /// A body; its length is told.
    pub fn body(mut self, body: &str) -> Request {
        self.body = body.into();
        self
    }

    /// The bytes, as sent from `from` to `to`.
    pub fn bytes(&self, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let Request { method, user, call_id, branch, via_parameters, sequence, to_parameters, body, .. } =
            self;
        let more: String = self.headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        format!(
            "{method} sip:{user}@{to} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};branch={branch}{via_parameters}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:tester@{from}>;tag=from-{call_id}\r\n\
             To: <sip:{user}@{to}>{to_parameters}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {sequence} {method}\r\n\
             Contact: <sip:tester@{from}>\r\n\
             {more}Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// A message that came back, taken apart line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// First line.
    pub start: String,
    /// Name and value, in order.
    pub headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub body: String,
}

impl Message {
    /// Takes bytes apart; anything that is not a start line and header lines ended by CRLF fails the test.
    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Message {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no empty line in {text:?}"));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_string();
        let header = |line: &str| {
            let (name, value) =
                line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?} in {text:?}"));
            (name.trim_end().to_string(), value.trim().to_string())
        };
        Message { start, headers: lines.map(header).collect(), body: body.to_string() }
    }

    /// Status code; a request fails the test.
    #[track_caller]
    pub fn status(&self) -> u16 {
        let code = self.start.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
        code.unwrap_or_else(|| panic!("not a response: {:?}", self.start))
    }

    /// First header of this name, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    /// All headers of this name, top down.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The tag of To, if it has one.
    pub fn to_tag(&self) -> Option<&str> {
        self.header("To").split(';').find_map(|parameter| parameter.trim().strip_prefix("tag="))
    }
}
