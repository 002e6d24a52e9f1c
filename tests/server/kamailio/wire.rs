//! What leaves the two servers on the same messages, line by line: replies of their own, requests they forward, and
//! the replies to those.

use std::net::UdpSocket;

use super::differential::{HEAD, MARKER, messages};
use super::reference::Pair;
use crate::support::deviations::{self, Difference};
use crate::support::{Caller, Request, SOON};

/// Everything that came back before the marker's answer.
#[track_caller]
fn answers(caller: &Caller, bytes: &[u8], marker: &str) -> Vec<Vec<u8>> {
    caller.send(bytes);
    caller.send(&caller.bytes(&Request::new("OPTIONS", marker)));
    let mut answers = Vec::new();
    loop {
        let answer = caller.receive_within(SOON).expect("the marker is answered");
        if String::from_utf8_lossy(&answer).contains(&format!("Call-ID: {marker}\r\n")) {
            return answers;
        }
        answers.push(answer);
    }
}

/// The lines of a message, without what must differ: ports, our own branch and tag, the name of the server.
fn lines(message: &[u8], server: &Caller) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    let text = text.replace(&server.server().port().to_string(), "SERVER");
    let text = text.replace(&server.address().port().to_string(), "CALLER");
    let mut is_first_via = true;
    let mut line = |line: &str| {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        let line = match name.as_str() {
            "server" => "Server: a name".into(),
            "to" | "t" => without(line, ";tag=", is_own_tag),
            "via" | "v" if std::mem::take(&mut is_first_via) => {
                sorted(&without(line, ";branch=", is_own_branch))
            }
            "via" | "v" => sorted(line),
            _ => line.to_string(),
        };
        line.escape_debug().to_string()
    };
    text.split('\n').map(|text| line(text.strip_suffix('\r').unwrap_or(text))).collect()
}

/// A Via with its parameters sorted: their order has no meaning.
fn sorted(via: &str) -> String {
    let (host, parameters) = via.split_once(';').unwrap_or((via, ""));
    let mut parameters: Vec<&str> = parameters.split(';').collect();
    parameters.sort_unstable();
    format!("{host};{}", parameters.join(";"))
}

/// The line with the value behind `key` taken out, if it is one the server made.
fn without(line: &str, key: &str, is_own: fn(&str) -> bool) -> String {
    let Some(start) = line.find(key).map(|start| start + key.len()) else { return line.into() };
    let size = line[start..].find([';', ',', ' ']).unwrap_or(line.len() - start);
    if is_own(&line[start..start + size]) {
        return format!("{}OURS{}", &line[..start], &line[start + size..]);
    }
    line.into()
}

fn is_own_tag(tag: &str) -> bool {
    tag.len() >= 16 && tag.chars().all(|c| c.is_ascii_hexdigit() || ".-".contains(c))
}

fn is_own_branch(branch: &str) -> bool {
    branch.starts_with("z9hG4bK") && !branch.contains('-')
}

/// The lines that only one of the two has, as a difference.
fn difference(what: &str, theirs: &[Vec<String>], ours: &[Vec<String>]) -> Option<Difference> {
    if theirs == ours {
        return None;
    }
    let (theirs, ours) = (theirs.concat(), ours.concat());
    let only = |these: &[String], those: &[String]| {
        let mut only: Vec<String> = Vec::new();
        let count = |of: &[String], line: &String| of.iter().filter(|known| *known == line).count();
        for line in these {
            if count(these, line) > count(those, line) + count(&only, line) {
                only.push(line.clone());
            }
        }
        only.join(" / ")
    };
    Difference::between(what, &only(&theirs, &ours), &only(&ours, &theirs)).or_else(|| {
        let (theirs, ours) = theirs.iter().zip(&ours).find(|(theirs, ours)| theirs != ours)?;
        Difference::between(what, &format!("first {theirs}"), &format!("first {ours}"))
    })
}

#[test]
fn replies_are_the_same_on_good_and_odd_messages() {
    let script = format!(
        "{HEAD}request_route {{\n{MARKER}\
         if ($hdr(X-Reply) == \"more\") {{ append_to_reply(\"X-More: $rm\\r\\n\"); }}\n\
         if ($hdr(X-Reply) == \"rport\") {{ force_rport(); }}\n\
         if ($hdr(X-Code) != $null) {{ $var(code) = $(hdr(X-Code){{s.int}}); sl_send_reply(\"$var(code)\", \"$hdr(X-Reason)\"); exit; }}\n\
         sl_send_reply(\"200\", \"OK\");\n}}\n"
    );
    let pair = Pair::start(&script);
    let mut all = messages(&pair.to_ours);
    let coded = |name: &str, code: &str, reason: &str| {
        Request::new("INVITE", name).header(&format!("X-Code: {code}")).header(&format!("X-Reason: {reason}"))
    };
    let more = [
        coded("code-100", "100", "Trying"),
        coded("code-183", "183", "Session Progress"),
        coded("code-302", "302", "Moved Temporarily"),
        coded("code-404", "404", "Not Found"),
        coded("code-503", "503", "Busy: a \"reason\""),
        coded("code-699", "699", "x"),
        Request::new("INVITE", "more-lines").header("X-Reply: more"),
        Request::new("INVITE", "forced-rport").header("X-Reply: rport").via_parameters(""),
        Request::new("CANCEL", "cancel"),
    ];
    all.extend(more.iter().map(|request| {
        (
            format!("{request:?}").split('"').nth(5).unwrap_or_default().to_string(),
            pair.to_ours.bytes(request),
        )
    }));
    let mut found = Vec::new();
    for (index, (what, _)) in all.iter().enumerate() {
        let of = |caller: &Caller, side: &str| {
            let mut all = messages(caller);
            all.extend(more.iter().map(|request| (String::new(), caller.bytes(request))));
            let came = answers(caller, &all[index].1, &format!("marker-{side}-{index}"));
            came.iter().map(|answer| lines(answer, caller)).collect::<Vec<_>>()
        };
        let (theirs, ours) = (of(&pair.to_theirs, "theirs"), of(&pair.to_ours, "ours"));
        found.extend(difference(what, &theirs, &ours));
    }
    deviations::check("reply", &found);
}

#[test]
fn forwarded_requests_and_their_replies_are_the_same() {
    let callee = UdpSocket::bind("127.0.0.1:0").expect("a loopback port can be bound");
    callee.set_read_timeout(Some(SOON)).expect("a time above zero is taken");
    let port = callee.local_addr().expect("it is bound").port();
    let script = format!(
        "{HEAD}loadmodule \"maxfwd.so\"\nrequest_route {{\n\
         if ($ci =~ \"^are-you\") {{ sl_send_reply(\"200\", \"OK\"); exit; }}\n\
         if ($rm == \"INVITE\") {{ append_hf(\"X-Added: $rm\\r\\n\"); insert_hf(\"X-First: 1\\r\\n\"); \
         remove_hf(\"Contact\"); mf_process_maxfwd_header(\"10\"); }}\n\
         if ($rm == \"MESSAGE\") {{ $rU = \"other\"; force_rport(); set_advertised_address(\"example.com\"); }}\n\
         if ($rm == \"NOTIFY\") {{ add_local_rport(); subst_body(\"/hello/bye/\"); }}\n\
         forward(127.0.0.1, {port});\n}}\nreply_route {{ exit; }}\n"
    );
    let pair = Pair::start(&script);
    let mut found = Vec::new();
    let all = messages(&pair.to_ours);
    for (index, (what, _)) in all.iter().enumerate() {
        let of = |caller: &Caller| {
            // The marker is forwarded too, and comes after what it marks.
            caller.send(&messages(caller)[index].1);
            let marker = format!("marker-{index}-{}", caller.server().port());
            caller.send(&caller.bytes(&Request::new("OPTIONS", &marker)));
            let mut came = Vec::new();
            let mut room = [0; 65_536];
            loop {
                let (size, from) = callee.recv_from(&mut room).expect("the marker is forwarded");
                if String::from_utf8_lossy(&room[..size]).contains(&format!("Call-ID: {marker}")) {
                    return came;
                }
                came.push(lines(&room[..size], caller));
                callee.send_to(&reply(&room[..size]), from).expect("loopback takes a datagram");
                came.extend(caller.receive_within(SOON).map(|reply| lines(&reply, caller)));
            }
        };
        let (theirs, ours) = (of(&pair.to_theirs), of(&pair.to_ours));
        found.extend(difference(what, &theirs, &ours));
    }
    deviations::check("forward", &found);
}

/// A reply to a forwarded request, made of its own lines.
fn reply(request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let is_echoed = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        ["via", "v", "from", "f", "to", "t", "call-id", "i", "cseq"].contains(&name.as_str())
    };
    let echoed: String = text.split("\r\n").filter(is_echoed).map(|line| format!("{line}\r\n")).collect();
    format!("SIP/2.0 200 Fine Then\r\n{echoed}X-Callee: yes\r\nContent-Length: 0\r\n\r\n").into_bytes()
}
