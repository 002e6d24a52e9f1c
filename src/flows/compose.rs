//! Messages as peers send them: what a flow leaves out of a message is completed so that it is a good one.

use std::net::SocketAddr;

use crate::sip::{HeaderId, Message};

/// What a message is completed with.
pub(super) struct Sender<'p> {
    pub name: &'p str,
    pub address: SocketAddr,
    pub tag: &'p str,
    pub branch: &'p str,
    pub call_id: &'p str,
    pub sequence: u32,
}

/// A message from its lines: header fields that are missing are added, Content-Length among them, and lines end in
/// CRLF. Of a response only Content-Length is added.
pub(super) fn complete(lines: &[String], sender: &Sender<'_>) -> Vec<u8> {
    let (head, body) = split(lines);
    let start = head.first().map_or("", String::as_str);
    let fields = head.get(1..).unwrap_or_default();
    let mut text = format!("{start}\r\n");
    if !start.starts_with("SIP/2.0 ") {
        let missing = |row: &&(HeaderId, String)| !has(fields, row.0);
        let rows = usual_fields(start, sender);
        let (via, others) = rows.split_at(1);
        via.iter().filter(missing).for_each(|(id, value)| push(&mut text, *id, value));
        fields.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
        others.iter().filter(missing).for_each(|(id, value)| push(&mut text, *id, value));
    } else {
        fields.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
    }
    finish(text, fields, body)
}

/// Bytes as they are written: `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH` stand for one byte, lines are joined by CRLF, and
/// nothing follows the last one.
pub(super) fn exactly(lines: &[String]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            bytes.extend(b"\r\n");
        }
        unescape(line, &mut bytes)?;
    }
    Ok(bytes)
}

fn unescape(line: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        out.extend(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let (byte, size) = match escape.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'0') => (0, 1),
            Some(b'\\') => (b'\\', 1),
            Some(b'x') => {
                let digits = escape.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                (
                    digits
                        .ok_or_else(|| format!("two hexadecimal digits are needed after \\x in {line:?}"))?,
                    3,
                )
            }
            _ => return Err(format!("\\r, \\n, \\t, \\0, \\\\ or \\xHH is needed in {line:?}")),
        };
        out.push(byte);
        rest = &escape[size..];
    }
    out.extend(rest.as_bytes());
    Ok(())
}

/// The response of a user agent to a request (RFC 3261 8.2.6), with further lines.
pub(super) fn reply(
    request: &Message<'_>,
    status: &str,
    lines: &[String],
    tag: &str,
    contact: SocketAddr,
) -> Vec<u8> {
    let (fields, body) = split(lines);
    let is_final = !status.starts_with('1');
    let mut text = format!("SIP/2.0 {status}\r\n");
    for header in request.headers() {
        let is_echoed = match header.id {
            HeaderId::Via | HeaderId::From | HeaderId::CallId | HeaderId::CSeq => true,
            HeaderId::RecordRoute => !status.starts_with("100"),
            _ => false,
        };
        if is_echoed {
            text.push_str(&String::from_utf8_lossy(header.line));
        }
    }
    if let Some(to) = request.header(HeaderId::To).filter(|_| !has(fields, HeaderId::To)) {
        let value = String::from_utf8_lossy(to.value);
        let needs_tag = !status.starts_with("100") && request.to().is_ok_and(|to| to.tag().is_none());
        let tag = if needs_tag { format!(";tag={tag}") } else { String::new() };
        push(&mut text, HeaderId::To, &format!("{value}{tag}"));
    }
    let is_invite = request.method().is_ok_and(|method| method.creates_dialog());
    if is_final && is_invite && status.starts_with('2') && !has(fields, HeaderId::Contact) {
        push(&mut text, HeaderId::Contact, &format!("<sip:{contact}>"));
    }
    fields.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
    finish(text, fields, body)
}

fn finish(mut text: String, fields: &[String], body: &[String]) -> Vec<u8> {
    let body: String = body.iter().map(|line| format!("{line}\r\n")).collect();
    if !has(fields, HeaderId::ContentLength) {
        push(&mut text, HeaderId::ContentLength, &body.len().to_string());
    }
    text.push_str("\r\n");
    text.push_str(&body);
    text.into_bytes()
}

/// What a request needs, Via first.
fn usual_fields(start: &str, sender: &Sender<'_>) -> Vec<(HeaderId, String)> {
    let Sender { name, address, tag, branch, call_id, sequence } = sender;
    let mut words = start.split(' ');
    let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut rows = vec![
        (HeaderId::Via, format!("SIP/2.0/UDP {address};branch={branch};rport")),
        (HeaderId::MaxForwards, "70".to_owned()),
        (HeaderId::From, format!("<sip:{name}@{address}>;tag={tag}")),
        (HeaderId::To, format!("<{uri}>")),
        (HeaderId::CallId, (*call_id).to_owned()),
        (HeaderId::CSeq, format!("{sequence} {method}")),
    ];
    if !["ACK", "BYE", "CANCEL"].contains(&method) {
        rows.push((HeaderId::Contact, format!("<sip:{name}@{address}>")));
    }
    rows
}

fn split(lines: &[String]) -> (&[String], &[String]) {
    let end = lines.iter().position(String::is_empty).unwrap_or(lines.len());
    (&lines[..end], lines.get(end + 1..).unwrap_or_default())
}

fn has(fields: &[String], id: HeaderId) -> bool {
    let name = |line: &String| line.split(':').next().unwrap_or_default().trim_end().to_owned();
    fields.iter().any(|line| HeaderId::from_name(name(line).as_bytes()) == id)
}

fn push(text: &mut String, id: HeaderId, value: &str) {
    text.push_str(&format!("{}: {value}\r\n", id.name()));
}

/// The branch in the topmost Via, the number in CSeq.
pub(super) fn identity(message: &[u8]) -> (Option<String>, Option<u32>) {
    let Ok(message) = Message::parse(message) else { return (None, None) };
    let branch = message.via(0).ok().and_then(|via| via.branch.map(<[u8]>::to_vec));
    let branch = branch.map(|branch| String::from_utf8_lossy(&branch).into_owned());
    (branch, message.cseq().ok().and_then(|cseq| cseq.number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender<'static> {
        Sender {
            name: "alice",
            address: "127.0.0.1:5".parse().unwrap(),
            tag: "t",
            branch: "z9hG4bK1",
            call_id: "c",
            sequence: 7,
        }
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(written: &str, expected: &str) {
        let bytes = complete(&lines(written), &sender());
        assert_eq!(String::from_utf8(bytes).unwrap(), expected.replace('\n', "\r\n"));
    }

    #[test]
    fn what_is_left_out_is_completed() {
        check(
            "OPTIONS sip:b SIP/2.0",
            "OPTIONS sip:b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5;branch=z9hG4bK1;rport\nMax-Forwards: 70\n\
             From: <sip:alice@127.0.0.1:5>;tag=t\nTo: <sip:b>\nCall-ID: c\nCSeq: 7 OPTIONS\n\
             Contact: <sip:alice@127.0.0.1:5>\nContent-Length: 0\n\n",
        );
        check(
            "BYE sip:b SIP/2.0\nv: SIP/2.0/UDP h\nf: <sip:a>\ni: x\nt: <sip:b>;tag=1\nCSeq: 2 BYE\nMax-Forwards: 1\nl: 3\n\nab",
            "BYE sip:b SIP/2.0\nv: SIP/2.0/UDP h\nf: <sip:a>\ni: x\nt: <sip:b>;tag=1\nCSeq: 2 BYE\nMax-Forwards: 1\nl: 3\n\nab\n",
        );
        check("SIP/2.0 200 OK\nX: y\n\na\n\nb", "SIP/2.0 200 OK\nX: y\nContent-Length: 8\n\na\n\nb\n");
    }

    #[test]
    fn bytes_are_sent_as_written() {
        let bytes = exactly(&lines("a\\0\\x41\\\\\n b\\r\\n")).unwrap();
        assert_eq!(bytes, b"a\0A\\\r\n b\r\n");
        assert!(exactly(&lines("\\q")).is_err() && exactly(&lines("\\x4")).is_err());
    }

    #[test]
    fn a_reply_echoes_the_request() {
        let request = b"INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b\r\n\
            Record-Route: <sip:p;lr>\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";
        let message = Message::parse(request).unwrap();
        let address = "127.0.0.1:6".parse().unwrap();
        let text = |status: &str, more: &str| {
            String::from_utf8(reply(&message, status, &lines(more), "theirs", address)).unwrap()
        };
        assert_eq!(
            text("200 OK", "X: y\n\nv=0").replace("\r\n", "\n"),
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nVia: SIP/2.0/UDP b\nRecord-Route: <sip:p;lr>\n\
             From: <sip:a>;tag=1\nCall-ID: c\nCSeq: 1 INVITE\nTo: <sip:b>;tag=theirs\nContact: <sip:127.0.0.1:6>\n\
             X: y\nContent-Length: 5\n\nv=0\n"
        );
        let trying = text("100 Trying", "");
        assert!(trying.contains("To: <sip:b>\r\n") && !trying.contains("Record-Route"), "{trying}");
    }

    #[test]
    fn branch_and_number_are_found() {
        let bytes = complete(&lines("ACK sip:b SIP/2.0"), &sender());
        assert_eq!(identity(&bytes), (Some("z9hG4bK1".to_owned()), Some(7)));
        assert_eq!(identity(b"nonsense"), (None, None));
    }
}
