//! What the reference printed, line by line, against what we print on the same messages.
//!
//! `tests/golden/` holds its answers, taken once from version 6.2: each transformation
//! (`trans-golden.cfg` and `.log`) and each variable on a bare request, on an INVITE with everything in it and on a
//! reply (`pv-golden.txt`). What differs on purpose stands in `deviations.txt` beside them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use crate::support::deviations::{self, Difference};
use crate::support::{Caller, Message, Request, SOON, Server, check_config};

#[track_caller]
fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_transformation_prints_what_the_reference_prints() {
    // The port comes from the kernel.
    let script = golden("trans-golden.cfg").replace("listen=udp:127.0.0.1:17060\n", "");
    let server = Server::start(&script);
    assert_eq!(server.caller().ask(&Request::new("OPTIONS", "transformations")).status(), 200);

    let (theirs, ours) = (numbered(&golden("trans-golden.log")), numbered(&server.log()));
    let expressions = expressions(&script);
    assert_eq!(expressions.len(), 93);
    let differences: Vec<Difference> = expressions
        .iter()
        .filter_map(|(number, expression)| {
            let answer = |answers: &BTreeMap<usize, String>| answers.get(number).cloned().unwrap_or_default();
            Difference::between(expression, &answer(&theirs), &answer(&ours))
        })
        .collect();
    deviations::check("transformation", &differences);
}

/// Number and text of each transformation of the script: ` xinfo("@@7|[$(var(c){s.select,1,,})]\n"); …`.
fn expressions(script: &str) -> BTreeMap<usize, String> {
    let lines = script.lines().filter_map(|line| line.trim_start().strip_prefix("xinfo(\"@@"));
    lines
        .filter_map(|line| {
            let (number, rest) = line.split_once("|[")?;
            Some((number.parse().ok()?, rest.split_once("]\\n\")")?.0.trim_end_matches('|').to_string()))
        })
        .collect()
}

/// What was printed under each number: `@@7|[y]`, and ` is null` when the second line says so.
fn numbered(log: &str) -> BTreeMap<usize, String> {
    let mut answers = BTreeMap::new();
    for line in log.lines() {
        let Some((number, text)) = line.split_once("<script>: @@").and_then(|(_, rest)| rest.split_once('|'))
        else {
            continue;
        };
        let answer: &mut String = answers.entry(number.parse().expect("a number")).or_default();
        answer.push_str(if text == "ISNULL" { " is null" } else { text });
    }
    answers
}

#[test]
fn every_variable_reads_as_the_reference_reads_it() {
    let rows = variables();
    assert!(rows.len() > 200, "{}", rows.len());
    let (known, unknown) = known_and_unknown(&rows);
    let answers = read_on_the_three_messages(&known);
    let mut differences = Vec::new();
    for row in unknown {
        let theirs = row.theirs.join(" | ");
        differences.extend(Difference::between(&row.name, &theirs, "unknown"));
    }
    for row in known {
        let read = |index: usize| {
            let ours = answers.get(&(row.name.clone(), index)).map_or("nothing", String::as_str);
            let ours = cut_like(&row.theirs[index], ours);
            [&row.theirs[index], &ours].map(|text| without_the_moment(&row.name, text))
        };
        let [theirs, ours] = [0, 1].map(|side| [0, 1, 2].map(|index| read(index)[side].clone()).join(" | "));
        differences.extend(Difference::between(&row.name, &theirs, &ours));
    }
    deviations::check("variable", &differences);
}

/// A row of `pv-golden.txt`.
struct Row {
    name: String,
    /// The name as a script writes it.
    expression: String,
    theirs: [String; 3],
}

fn variables() -> Vec<Row> {
    let text = golden("pv-golden.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split(" | ").collect();
            let [name, first, second, third] = columns[..] else { panic!("four columns: {line:?}") };
            let name = name.to_string();
            let theirs = [first, second, third].map(str::to_string);
            Row { expression: expression(&name), name, theirs }
        })
        .collect()
}

/// `hdr(Via)[-1]` is `$(hdr(Via)[-1])`; the one about `$avp(x)` had its name interpolated when it was taken.
fn expression(name: &str) -> String {
    format!("$({})", name.replace("<null>", "$avp(x)"))
}

/// Golden answers were cut where they were long and at a line end; ours is cut at the same place.
fn cut_like(theirs: &str, ours: &str) -> String {
    let is_whole = !theirs.starts_with('[') || theirs.ends_with(']');
    let size = if is_whole { ours.len() } else { theirs.len().min(ours.len()) };
    String::from_utf8_lossy(&ours.as_bytes()[..size]).into_owned()
}

/// The rows whose variable the checker knows, and the others; one run of the checker for all, a line per row.
fn known_and_unknown(rows: &[Row]) -> (Vec<&Row>, Vec<&Row>) {
    let head = "loadmodule \"pv\"\nloadmodule \"xlog\"\nloadmodule \"kex\"\nrequest_route {\n";
    let line_of_first = head.lines().count() + 1;
    let lines: String = rows.iter().map(|row| format!("xinfo(\"{}\");\n", row.expression)).collect();
    let checked = check_config(&format!("{head}{lines}}}\n"));
    let is_refused = |index: usize| checked.output.contains(&format!("calls.cfg:{}:", line_of_first + index));
    let (unknown, known): (Vec<_>, Vec<_>) = (0..rows.len()).partition(|index| is_refused(*index));
    let rows_of = |indices: Vec<usize>| indices.into_iter().map(|index| &rows[index]).collect();
    (rows_of(known), rows_of(unknown))
}

/// What the server prints for each row on each of the three messages.
fn read_on_the_three_messages(rows: &[&Row]) -> BTreeMap<(String, usize), String> {
    let print = |(index, row): (usize, &&Row)| {
        let expression = &row.expression;
        format!(
            "if ({expression} == $null) {{ xinfo(\"@@$var(message)/{index}|NULL\\n\"); }}\n\
             else {{ xinfo(\"@@$var(message)/{index}|[{expression}]\\n\"); }}\n"
        )
    };
    let prints: String = rows.iter().enumerate().map(print).collect();
    let callee = UdpSocket::bind("127.0.0.1:0").expect("a loopback port can be bound");
    let callee_port = callee.local_addr().expect("it is bound").port();
    let script = format!(
        "debug=2\nchildren=1\nloadmodule \"sl\"\nloadmodule \"pv\"\nloadmodule \"xlog\"\nloadmodule \"kex\"\n\
         route[PRINT] {{\n{prints}}}\n\
         request_route {{\n\
         if ($rm == \"OPTIONS\") {{ $var(message) = 0; route(PRINT); sl_send_reply(\"200\", \"OK\"); exit; }}\n\
         $var(message) = 1; route(PRINT); forward(127.0.0.1, {callee_port}); exit;\n}}\n\
         reply_route {{ $var(message) = 2; route(PRINT); exit; }}\n"
    );
    let server = Server::start(&script);
    let caller = server.caller();
    speak(&server, &caller, &callee);

    let ports =
        [(server.address().port(), "17060"), (caller.address().port(), "17070"), (callee_port, "17071")];
    let mut answers = BTreeMap::new();
    for line in server.log().lines() {
        let Some((place, text)) = line.split_once("<script>: @@").and_then(|(_, rest)| rest.split_once('|'))
        else {
            continue;
        };
        let Some((message, index)) = place.split_once('/') else { continue };
        let text =
            ports.iter().fold(text.to_string(), |text, (port, name)| text.replace(&port.to_string(), name));
        let (message, index): (usize, usize) = (message.parse().unwrap(), index.parse().unwrap());
        answers.insert((rows[index].name.clone(), message), text);
    }
    answers
}

/// The three messages the golden answers were taken on, to the byte; only the ports are others.
fn speak(server: &Server, caller: &Caller, callee: &UdpSocket) {
    let (here, there) = (caller.address(), server.address());
    let options = format!(
        "OPTIONS sip:{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKa;rport\r\nFrom: <sip:b>;tag=1\r\n\
         To: <sip:127.0.0.1>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n"
    );
    assert_eq!(caller.ask_bytes(options.as_bytes()).status(), 200);

    let callee_address = callee.local_addr().expect("it is bound");
    caller.send(invite(here, there, callee_address).as_bytes());
    callee.set_read_timeout(Some(SOON)).expect("a time above zero is taken");
    let mut room = [0; 65_536];
    let (size, _) = callee.recv_from(&mut room).expect("the INVITE is forwarded");
    assert_eq!(Message::parse(&room[..size]).all("Via").len(), 2);

    // The Vias are those the reference had made, so that all that is read from them can be compared.
    let reply = format!(
        "SIP/2.0 183 Progress X\r\n\
         Via: SIP/2.0/UDP {there};branch=z9hG4bK59f6.44afc1e448a35b4c9420170d05af016e.0\r\n\
         Via: SIP/2.0/UDP {here};received=127.0.0.1;branch=z9hG4bKb;rport={}\r\n\
         From: <sip:alice@dom.com>;tag=1\r\nTo: <sip:bob@dom.com>;tag=2\r\nCall-ID: c2\r\nCSeq: 7 INVITE\r\n\
         Contact: <sip:u@{callee_address}>\r\nServer: sv/2\r\nContent-Length: 0\r\n\r\n",
        here.port()
    );
    callee.send_to(reply.as_bytes(), there).expect("loopback takes a datagram");
    assert_eq!(caller.receive().status(), 183);
}

fn invite(here: SocketAddr, there: SocketAddr, callee: SocketAddr) -> String {
    let (server_port, caller_port, callee_port) = (there.port(), here.port(), callee.port());
    format!(
        "INVITE sip:bob:pw@127.0.0.1:{server_port};transport=udp SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:{caller_port};branch=z9hG4bKb;rport\r\n\
         Max-Forwards: 70\r\nRecord-Route: <sip:1.2.3.4;lr>\r\nRoute: <sip:127.0.0.1:{server_port};lr>\r\n\
         Route: <sip:127.0.0.1:{callee_port};lr>\r\nFrom: \"Alice A\" <sip:alice@dom.com;p=1>;tag=1\r\n\
         To: \"Bob\" <sip:bob@dom.com>;tag=2\r\nContact: <sip:alice@127.0.0.1:{caller_port}>;expires=60\r\n\
         Expires: 120\r\nCall-ID: c2\r\nCSeq: 7 INVITE\r\nUser-Agent: ua/1\r\nSubject: s\r\nX-Foo: one\r\n\
         X-Foo: two\r\nDiversion: <sip:div@x.com>;reason=no-answer\r\nP-Asserted-Identity: <sip:pai@x.com>\r\n\
         Remote-Party-ID: <sip:rpid@x.com>\r\nP-Preferred-Identity: <sip:ppi@x.com>\r\n\
         Refer-To: <sip:rt@x.com>\r\nProxy-Authorization: Digest username=\"alice\", realm=\"r.com\", nonce=\"n\", \
         uri=\"sip:u\", response=\"x\", algorithm=MD5\r\nContent-Type: application/sdp\r\n\
         Content-Length: 4\r\n\r\nabcd"
    )
}

/// Variables that tell the time, the process or this machine: only the form of what they print can be compared.
const OF_THE_MOMENT: &[&str] = &[
    "pp",
    "Tb",
    "Tf",
    "TF",
    "Ts",
    "TS",
    "TV(s)",
    "TV(u)",
    "time(year)",
    "timef(%Y)",
    "utime(hour)",
    "env(HOME)",
];

/// The form of a text that differs from run to run: each run of digits is one `0`, of letters one `a`.
fn without_the_moment(name: &str, text: &str) -> String {
    if !OF_THE_MOMENT.contains(&name) {
        return text.to_string();
    }
    let kind = |c: char| match c {
        c if c.is_ascii_digit() => '0',
        c if c.is_ascii_alphabetic() => 'a',
        other => other,
    };
    let mut form: Vec<char> = text.chars().map(kind).collect();
    form.dedup();
    form.into_iter().collect()
}
