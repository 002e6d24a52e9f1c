//! Races (RFC 5407): messages of one dialog that cross each other on the way, through workers that take their time.
//!
//! A server without transactions owes each of them the same: it goes on to the other side, once for each time it was
//! sent, in the order in which it came, and what belongs to one transaction keeps one branch (RFC 3261 16.11). Which
//! side wins a race is for the user agents to say.

use std::collections::HashMap;

use crate::scripts::HEAD;
use crate::support::{Caller, Message, Server};

/// Name, and who sends what in the order in which the server gets it: `>` Alice, `<` Bob; a request is a method and a
/// CSeq, a reply has its status before them. `ACK!` acknowledges a 2xx and is a transaction of its own.
const RACES: &[(&str, &[&str])] = &[
    (
        "3.1.1 INVITE again behind 200",
        &[">INVITE 1", "<180 INVITE 1", "<200 INVITE 1", ">INVITE 1", "<200 INVITE 1", ">ACK! 1"],
    ),
    (
        "3.1.2 CANCEL behind 200",
        &[
            ">INVITE 1",
            "<180 INVITE 1",
            "<200 INVITE 1",
            ">CANCEL 1",
            "<481 CANCEL 1",
            ">ACK! 1",
            ">BYE 2",
            "<200 BYE 2",
        ],
    ),
    (
        "CANCEL before 200",
        &[
            ">INVITE 1",
            "<180 INVITE 1",
            ">CANCEL 1",
            "<200 INVITE 1",
            "<200 CANCEL 1",
            ">ACK! 1",
            ">BYE 2",
            "<200 BYE 2",
        ],
    ),
    (
        "CANCEL wins",
        &[
            ">INVITE 1",
            "<180 INVITE 1",
            ">CANCEL 1",
            "<200 CANCEL 1",
            "<487 INVITE 1",
            "<487 INVITE 1",
            ">ACK 1",
            ">ACK 1",
        ],
    ),
    ("CANCEL before any reply", &[">INVITE 1", ">CANCEL 1", "<200 CANCEL 1", "<487 INVITE 1", ">ACK 1"]),
    (
        "3.1.3 early BYE behind 200",
        &[">INVITE 1", "<180 INVITE 1", "<200 INVITE 1", ">BYE 2", ">ACK! 1", "<200 BYE 2"],
    ),
    (
        "3.1.4 re-INVITE before a late ACK",
        &[
            ">INVITE 1",
            "<200 INVITE 1",
            ">INVITE 2",
            "<491 INVITE 2",
            ">ACK! 1",
            ">ACK 2",
            ">INVITE 3",
            "<200 INVITE 3",
            ">ACK! 3",
        ],
    ),
    (
        "3.1.5 re-INVITE of the callee before ACK",
        &[">INVITE 1", "<200 INVITE 1", "<INVITE 7", ">ACK! 1", ">491 INVITE 7", "<ACK 7"],
    ),
    (
        "3.1.6 BYE before a lost ACK comes",
        &[">INVITE 1", "<200 INVITE 1", ">BYE 2", "<200 INVITE 1", ">ACK! 1", "<200 BYE 2"],
    ),
    ("3.2.1 BYE crosses BYE", &[">BYE 2", "<BYE 7", ">200 BYE 7", "<200 BYE 2"]),
    ("3.2.2 re-INVITE crosses BYE", &[">INVITE 2", "<BYE 7", "<481 INVITE 2", ">200 BYE 7", ">ACK 2"]),
    (
        "3.2.3 200 of a re-INVITE crosses BYE",
        &["<INVITE 7", ">200 INVITE 7", ">BYE 2", "<ACK! 7", "<200 BYE 2"],
    ),
    ("3.2.4 ACK crosses BYE", &[">INVITE 1", "<200 INVITE 1", "<BYE 7", ">ACK! 1", ">200 BYE 7"]),
    (
        "3.3.1 re-INVITE crosses re-INVITE",
        &[
            ">INVITE 2",
            "<INVITE 7",
            ">491 INVITE 7",
            "<491 INVITE 2",
            ">ACK 2",
            "<ACK 7",
            "<INVITE 8",
            ">200 INVITE 8",
            "<ACK! 8",
        ],
    ),
    (
        "3.3.2 UPDATE crosses re-INVITE",
        &[">UPDATE 2", "<INVITE 7", ">491 INVITE 7", "<491 UPDATE 2", "<ACK 7"],
    ),
    ("3.3.3 REFER crosses BYE", &[">REFER 2", "<BYE 7", "<481 REFER 2", ">200 BYE 7"]),
    (
        "everything sent thrice",
        &[
            ">INVITE 1",
            ">INVITE 1",
            ">INVITE 1",
            "<100 INVITE 1",
            "<200 INVITE 1",
            "<200 INVITE 1",
            "<200 INVITE 1",
            ">ACK! 1",
            ">ACK! 1",
            ">ACK! 1",
        ],
    ),
];

/// How often each race is run.
const ROUNDS: usize = 6;

/// Eight workers that take up to two milliseconds for a message.
fn script() -> String {
    format!(
        r#"{HEAD}
loadmodule "cfgutils"
children=1
async_workers_group="name=calls;workers=8;queue=4096;order=callid"
event_route[core:pre-routing] {{ if (sworker_task("calls")) {{ drop; }} }}
request_route {{
    $var(pause) = $RANDOM mod 2000;
    usleep("$var(pause)");
    forward();
}}
reply_route {{
    $var(pause) = $RANDOM mod 2000;
    usleep("$var(pause)");
}}
"#
    )
}

/// One message of a race.
struct Step<'s> {
    is_of_alice: bool,
    status: Option<&'s str>,
    method: &'s str,
    sequence: &'s str,
    is_for_2xx: bool,
}

impl Step<'_> {
    fn read(text: &str) -> Step<'_> {
        let words: Vec<&str> = text[1..].split(' ').collect();
        let (status, request) = words.split_at(words.len() - 2);
        Step {
            is_of_alice: text.starts_with('>'),
            status: status.first().copied(),
            method: request[0].trim_end_matches('!'),
            sequence: request[1],
            is_for_2xx: request[0].ends_with('!'),
        }
    }

    /// Whoever sent the request of this transaction.
    fn is_asked_by_alice(&self) -> bool {
        self.is_of_alice == self.status.is_none()
    }

    /// ACK of a refusal and CANCEL carry the branch of their INVITE (RFC 3261 9.1, 17.1.1.3).
    fn transaction(&self) -> String {
        let method = match self.method {
            "ACK" if !self.is_for_2xx => "INVITE",
            "CANCEL" => "INVITE",
            method => method,
        };
        format!("{method}-{}", self.sequence)
    }

    fn bytes(&self, call: &str, number: usize, asker: &Caller, asked: &Caller) -> Vec<u8> {
        let Step { method, sequence, .. } = self;
        let via = format!("SIP/2.0/UDP {};branch=z9hG4bK-{call}-{}", asker.address(), self.transaction());
        let start = match self.status {
            Some(status) => {
                let ours = asked.server();
                format!("SIP/2.0 {status} So\r\nVia: SIP/2.0/UDP {ours};branch=z9hG4bK-ours\r\n")
            }
            None => format!("{method} sip:peer@{} SIP/2.0\r\nMax-Forwards: 70\r\n", asked.address()),
        };
        format!(
            "{start}Via: {via}\r\nFrom: <sip:x@a>;tag=1\r\nTo: <sip:x@b>;tag=2\r\nCall-ID: {call}\r\n\
             CSeq: {sequence} {method}\r\nX-Number: {number}\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }
}

/// What one side got of each call, in its order.
fn collect(side: &Caller, count: usize) -> HashMap<String, Vec<Message>> {
    let mut calls: HashMap<String, Vec<Message>> = HashMap::new();
    for _ in 0..count {
        let message = side.receive();
        calls.entry(message.header("Call-ID").to_string()).or_default().push(message);
    }
    calls
}

fn numbers(messages: &[Message]) -> Vec<usize> {
    messages.iter().map(|message| message.header("X-Number").parse().expect("a number")).collect()
}

#[test]
fn messages_that_cross_each_other_all_arrive_once_and_in_order() {
    let server = Server::start(&script());
    let (alice, bob) = (server.caller(), server.caller());
    let calls: Vec<(String, &[&str])> = (0..ROUNDS)
        .flat_map(|round| {
            RACES.iter().enumerate().map(move |(race, (_, steps))| (format!("r{race}-{round}"), *steps))
        })
        .collect();
    // A call at once: while a worker takes its time for one message, the others have taken those behind it.
    for (call, steps) in &calls {
        for (number, step) in steps.iter().map(|text| Step::read(text)).enumerate() {
            let (asker, asked) = if step.is_asked_by_alice() { (&alice, &bob) } else { (&bob, &alice) };
            let sender = if step.is_of_alice { &alice } else { &bob };
            sender.send(&step.bytes(call, number, asker, asked));
        }
    }
    for (side, is_alice) in [(&alice, true), (&bob, false)] {
        let due = |steps: &[&str]| -> Vec<usize> {
            let is_due = |(_, text): &(usize, &&str)| Step::read(text).is_of_alice != is_alice;
            steps.iter().enumerate().filter(is_due).map(|(number, _)| number).collect()
        };
        let arrived = collect(side, calls.iter().map(|(_, steps)| due(steps).len()).sum());
        for (call, steps) in &calls {
            let messages = arrived.get(call).map_or(&[][..], Vec::as_slice);
            assert_eq!(numbers(messages), due(steps), "{call}: {steps:?}");
            assert_branches(messages, steps);
        }
        // Nothing is on its way any more: what comes next is what is sent next.
        let other = if is_alice { &bob } else { &alice };
        let marker = if is_alice { "<OPTIONS 99" } else { ">OPTIONS 99" };
        other.send(&Step::read(marker).bytes("marker", 0, other, side));
        assert_eq!(side.receive().header("Call-ID"), "marker");
    }
    assert_eq!(server.counter("core.sends_failed"), 0);
}

/// Requests of one transaction left with one branch of ours, those of different ones with different ones; replies came
/// back without it.
fn assert_branches(messages: &[Message], steps: &[&str]) {
    let mut branches: HashMap<String, String> = HashMap::new();
    for (message, number) in messages.iter().zip(numbers(messages)) {
        let step = Step::read(steps[number]);
        let vias = message.all("Via");
        assert_eq!(vias.len(), if step.status.is_some() { 1 } else { 2 }, "{message:?}");
        if step.status.is_none() {
            let key = format!("{}{}", step.transaction(), if step.is_for_2xx { " of its own" } else { "" });
            let known = branches.entry(key).or_insert_with(|| vias[0].to_string());
            assert_eq!(known, vias[0], "step {number} of {steps:?}");
        }
    }
    let mut different: Vec<&String> = branches.values().collect();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), branches.len(), "{branches:?}");
}
