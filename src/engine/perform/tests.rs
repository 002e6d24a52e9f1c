//! The engine, run on messages in this process: what it sends, hands over, counts and logs.

use std::cell::RefCell;
use std::net::SocketAddr;

use super::*;
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleEntry, ModuleFunction, ModuleVariable, Outcome, Parameter,
    ParameterKind,
};
use crate::bindings::planning::Planning;
use crate::bindings::variables::KeyRule;
use crate::engine::harness::{ScriptHarness, Sent};
use crate::routing::context::Target;
use crate::routing::delegation::{Delegation, GroupIndex};
use crate::state::value::answer;
use crate::telemetry::counters::{BROKEN_RECEIVED, CounterId, OVERLOAD_TOLD};
use crate::telemetry::process_identity::ProcessKind;

/// A module with the little that these scripts need.
struct Probe {
    xdata: String,
    kept: RefCell<crate::state::value::Value>,
}

const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const NUMBER: &[ParameterKind] = &[ParameterKind::Integer];

impl Module for Probe {
    const NAME: &'static str = "probe";
    const DOCUMENTATION: &'static str = "what the tests of the engine need";
    const PARAMETERS: &'static [Parameter<Self>] =
        &[Parameter::text("xdata", "the variable", |probe, name| {
            probe.xdata = String::from_utf8_lossy(name).into_owned();
            Ok(())
        })];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new("answer", "replies", NUMBER, |_, context, arguments| {
            let code = arguments[0].integer().unwrap_or(0) as u16;
            outcome(context, |context| context.reply(code, b"", b"").map_err(|failure| failure.to_string()))
        }),
        ModuleFunction::new("relay", "forwards", TEXT, |_, context, arguments| {
            let to: SocketAddr = std::str::from_utf8(arguments[0].text()).unwrap().parse().unwrap();
            outcome(context, |context| {
                context.forward(Target::Address(to)).map_err(|failure| failure.to_string())
            })
        }),
        ModuleFunction::new("delegate", "hands over", &[ParameterKind::Prepared], Probe::delegate)
            .prepare(|_, preparation, _, literal| preparation.group(literal).map(Some)),
        ModuleFunction::new("fail", "is false", &[], |_, _, _| Outcome::FALSE),
        ModuleFunction::new("add_line", "adds a header", TEXT, |_, context, arguments| {
            context.edits.add_lines_last(&context.message, arguments[0].text());
            Outcome::TRUE
        }),
        ModuleFunction::new("apply", "applies changes", &[], |_, context, _| {
            outcome(context, |context| context.apply_changes().map_err(|refused| refused.to_string()))
        }),
        ModuleFunction::new(
            "say",
            "writes a line",
            TEXT,
            |_, context: &mut Context<'_>, arguments: &[Argument<'_>]| {
                context.log_script(Level::Warning, None, b"<script>: ", arguments[0].text());
                Outcome::TRUE
            },
        ),
    ];
    const VARIABLES: &'static [ModuleVariable<Self>] = &[
        ModuleVariable::new("kept", "a value", |probe: &Probe, _, _, out| {
            answer(probe.kept.borrow().as_ref(), out)
        })
        .key(KeyRule::Text)
        .process_wide()
        .writable(|probe: &Probe, _, _, value| {
            probe.kept.borrow_mut().set(value);
            Ok(())
        }),
        ModuleVariable::new("x", "a header", |_, context, _, out| {
            let header = context.message.header_named(b"X", 0).map(|header| header.value);
            crate::state::value::answer_optional(header, out)
        }),
    ];

    fn new() -> Self {
        Probe { xdata: String::new(), kept: RefCell::default() }
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        if !self.xdata.is_empty() {
            let place = planning.place(&self.xdata)?;
            planning.services().xdata = Some(place);
        }
        Ok(())
    }
}

impl Probe {
    fn delegate(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Argument::Prepared(group, _) = arguments[0] else { return Outcome(-9) };
        let kept = self.kept.borrow().clone();
        match context.delegate(GroupIndex(group as u16), Xdata::from(kept.as_ref())) {
            Delegation::Delegated => Outcome::TRUE,
            Delegation::Full => Outcome(-3),
            _ => Outcome(-1),
        }
    }
}

fn outcome(context: &mut Context<'_>, act: impl FnOnce(&mut Context<'_>) -> Result<(), String>) -> Outcome {
    match act(context) {
        Ok(()) => Outcome::TRUE,
        Err(failure) => {
            context.log(Level::Error, format_args!("{failure}"));
            Outcome::FALSE
        }
    }
}

static MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Probe>()];

/// The harness, with what it recorded left where it is.
struct Bench(ScriptHarness);

impl Bench {
    fn new(kind: ProcessKind, script: &str) -> Bench {
        let script = format!("listen=udp:10.0.0.1:5060\nloadmodule \"probe.so\"\n{script}");
        let mut harness = ScriptHarness::of_kind(MODULES, &script, kind);
        harness.source = "192.0.2.7:17070".parse().unwrap();
        Bench(harness)
    }

    fn receiver(script: &str) -> Bench {
        Bench::new(ProcessKind::Receiver, script)
    }

    fn worker(script: &str) -> Bench {
        Bench::new(ProcessKind::Worker { group: 0 }, script)
    }

    fn receive(&mut self, text: &str) -> &mut Bench {
        self.0.receive(text);
        self
    }

    fn process(&mut self, text: &str, xdata: &[u8], earlier_attempts: u32) -> &mut Bench {
        self.0.process(text, xdata, earlier_attempts);
        self
    }

    fn sent(&self) -> Vec<String> {
        let shown = |sent: &Sent| format!("{} {}", sent.to, sent.text.replace("\r\n", "|"));
        self.0.recorded.done.sent.borrow().iter().map(shown).collect()
    }

    fn statuses(&self) -> Vec<String> {
        let first_line = |text: String| text.split(' ').take(3).collect::<Vec<_>>().join(" ");
        self.sent().into_iter().map(first_line).collect()
    }

    fn count_of(&self, counter: CounterId) -> u64 {
        self.0.recorded.sum(counter)
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&self.0.log.borrow()).into_owned()
    }
}

fn request(method: &str) -> String {
    format!(
        "{method} sip:bob@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5070;rport;branch=z9hG4bKa1\r\n\
         From: <sip:alice@example.com>;tag=f1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c1@h\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nX: one\r\nContent-Length: 0\r\n\r\n"
    )
}

const REPLY: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKb1.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.9:5070;rport=5099;received=192.0.2.8;branch=z9hG4bKa1\r\n\
    From: <sip:a@h>;tag=f1\r\nTo: <sip:b@h>;tag=t1\r\nCall-ID: c1@h\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_request_is_answered_by_the_script() {
    let mut bench = Bench::receiver("request_route { answer(200); }");
    bench.receive(&request("OPTIONS"));
    let sent = bench.sent();
    let expected = "192.0.2.7:17070 SIP/2.0 200 OK|Via: SIP/2.0/UDP 192.0.2.7:5070;rport=17070;branch=z9hG4bKa1;received=192.0.2.7|\
        From: <sip:alice@example.com>;tag=f1|To: <sip:bob@example.com>;tag=";
    assert!(sent[0].starts_with(expected), "{sent:?}");
    assert!(sent[0].contains("|Server: sworker (") && sent[0].ends_with("|Content-Length: 0||"), "{sent:?}");
    assert_eq!((sent.len(), bench.count_of(REQUESTS_RECEIVED), bench.log().as_str()), (1, 1, ""));
}

#[test]
fn retransmissions_get_the_same_answer() {
    let mut bench = Bench::receiver("request_route { answer(404); }");
    bench.receive(&request("INVITE")).receive(&request("INVITE"));
    let sent = bench.sent();
    assert_eq!(sent[0], sent[1]);
}

#[test]
fn what_is_no_message_is_counted_and_left() {
    let good = request("OPTIONS");
    let without =
        |name: &str| good.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect::<String>();
    let rows = [
        (without("Via"), BROKEN_RECEIVED),
        (without("Call-ID"), BROKEN_RECEIVED),
        (without("From"), BROKEN_RECEIVED),
        (without("To"), BROKEN_RECEIVED),
        (without("CSeq"), BROKEN_RECEIVED),
        (good.replace("SIP/2.0/UDP", "SIP/2.0UDP"), BROKEN_RECEIVED),
        (
            good.replace("OPTIONS sip:bob@10.0.0.1 SIP/2.0", "OPTIONS  sip:bob@10.0.0.1 SIP/2.0"),
            BROKEN_RECEIVED,
        ),
        (good.replace("10.0.0.1 SIP/2.0", "10.0.0.1 SIP/3.0"), BROKEN_RECEIVED),
        (good.replace("10.0.0.1 SIP/2.0", "10.0.0.1 HTTP/1.1"), BROKEN_RECEIVED),
        (good.replace("\r\n", "\r"), BROKEN_RECEIVED),
        ("x".repeat(500), BROKEN_RECEIVED),
        ("\r\n\r\n".to_string(), PROBES_RECEIVED),
        ("\0\0\0\0".to_string(), PROBES_RECEIVED),
        (String::new(), PROBES_RECEIVED),
    ];
    for (text, counter) in rows {
        let mut bench =
            Bench::receiver("event_route[core:pre-routing] { answer(200); }\nrequest_route { answer(200); }");
        bench.receive(&text);
        assert_eq!((bench.sent().len(), bench.count_of(counter)), (0, 1), "{text:?}");
        assert_eq!(bench.log().is_empty(), counter == PROBES_RECEIVED, "{text:?}\n{}", bench.log());
    }
}

#[test]
fn odd_but_whole_messages_are_processed() {
    let good = request("OPTIONS");
    let rows = [
        format!("\r\n\r\n{good}"),
        format!("\0\0{good}"),
        good.replace("\r\n", "\n"),
        good.replace("X: one", "X: o\0ne"),
        good.replace("sip:bob@10.0.0.1 SIP", "notauri SIP"),
        good.replace("OPTIONS", "unknown"),
        good.replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
        good.replace(";tag=f1", ""),
        good.replace("Content-Length: 0\r\n", ""),
        good.replace("X: one", "X: one\r\n two"),
    ];
    for text in rows {
        let mut bench = Bench::receiver("request_route { answer(200); }");
        bench.receive(&text);
        assert_eq!(bench.sent().len(), 1, "{text:?}\n{}", bench.log());
    }
}

#[test]
fn only_drop_in_pre_routing_ends_a_message() {
    let rows = [
        ("drop;", false),
        ("setflag(1); drop; ", false),
        ("exit;", true),
        ("return;", true),
        ("return 0;", true),
        ("return -1;", true),
        ("fail();", true),
        ("$kept(a) = 5 / 0;", true),
    ];
    for (body, goes_on) in rows {
        let script = format!("event_route[core:pre-routing] {{ {body} }}\nrequest_route {{ answer(200); }}");
        let mut bench = Bench::receiver(&script);
        bench.receive(&request("OPTIONS"));
        assert_eq!(bench.sent().len(), usize::from(goes_on), "{body}");
        assert_eq!(bench.count_of(PRE_ROUTING_DROPPED), u64::from(!goes_on), "{body}");
    }
}

#[test]
fn a_delegated_message_goes_on_in_a_worker_with_its_extra_value() {
    let script = "async_workers_group=\"name=calls;workers=1\"\nmodparam(\"probe\", \"xdata\", \"$kept(x)\")\n\
        event_route[core:pre-routing] { $kept(x) = \"to worker\"; if (delegate(\"calls\")) drop; }\n\
        request_route { if ($kept(x) == \"to worker\") answer(200); else answer(500); }";
    let mut receiver = Bench::receiver(script);
    receiver.receive(&request("INVITE"));
    assert_eq!((receiver.sent().len(), receiver.0.recorded.done.woken.get()), (0, 1));
    let delegated = receiver.0.delegated();
    let (group, bytes, xdata) = &delegated[0];
    assert_eq!((*group, bytes.as_slice()), (0, request("INVITE").as_bytes()));

    let mut worker = Bench::worker(script);
    worker.process(&request("INVITE"), xdata, 0);
    assert_eq!(worker.statuses(), ["192.0.2.7:17070 SIP/2.0 200"]);
    // Neither a message without a value nor one whose value is broken has that of the message before.
    for without in [&b""[..], b"\x09broken"] {
        worker.process(&request("INVITE"), without, 0);
        assert_eq!(worker.statuses().last().unwrap(), "192.0.2.7:17070 SIP/2.0 500");
        worker.process(&request("INVITE"), xdata, 0);
        assert_eq!(worker.statuses().last().unwrap(), "192.0.2.7:17070 SIP/2.0 200");
    }
    assert_eq!(worker.count_of(XDATA_BROKEN), 1);
}

#[test]
fn messages_are_delegated_only_in_pre_routing_and_only_once() {
    let script = "async_workers_group=\"name=calls;workers=1\"\n\
        request_route { if (delegate(\"calls\")) drop; answer(503); }";
    let mut receiver = Bench::receiver(script);
    receiver.receive(&request("INVITE"));
    let mut worker = Bench::worker(script);
    worker.process(&request("INVITE"), b"", 0);
    for bench in [&receiver, &worker] {
        assert_eq!(bench.statuses(), ["192.0.2.7:17070 SIP/2.0 503"]);
        assert!(bench.0.recorded.done.delegated.borrow().is_empty());
    }
}

#[test]
fn a_full_group_leaves_the_message_here() {
    let script = "async_workers_group=\"name=calls;workers=1\"\n\
        event_route[core:pre-routing] { if (delegate(\"calls\")) drop; }\nrequest_route { answer(503); }";
    let mut bench = Bench::receiver(script);
    bench.0.answer.set(Delegation::Full);
    bench.receive(&request("INVITE"));
    assert_eq!(bench.statuses(), ["192.0.2.7:17070 SIP/2.0 503"]);
}

#[test]
fn replies_are_forwarded_by_their_via_unless_the_script_says_no() {
    let rows = [
        ("", 1, 0),
        ("reply_route { exit; }", 1, 0),
        ("reply_route { return; }", 1, 0),
        ("reply_route { setflag(1); }", 1, 0),
        ("reply_route { drop; }", 0, 0),
        ("reply_route { return 0; }", 0, 0),
        ("reply_route { return -1; }", 0, 1),
        ("reply_route { fail(); }", 0, 1),
    ];
    for (route, sent_count, warning_count) in rows {
        let mut bench = Bench::receiver(&format!("request_route {{ exit; }}\n{route}"));
        bench.receive(REPLY);
        assert_eq!(bench.sent().len(), sent_count, "{route}");
        assert_eq!(bench.log().matches("error while trying script").count(), warning_count, "{route}");
        if let Some(sent) = bench.sent().first() {
            let expected = "192.0.2.8:5099 SIP/2.0 200 OK|Via: SIP/2.0/UDP 192.0.2.9:5070;rport=5099;";
            assert!(sent.starts_with(expected), "{sent}");
        }
    }
}

#[test]
fn a_neighbour_that_asks_is_told_about_overload_in_replies_made_here_and_in_those_sent_on() {
    const ASKS: &str = "192.0.2.9:5070;oc;oc-algo=\"loss\"";
    let groups = "async_workers_group=\"name=calls;workers=1;oc=on\"\n";
    let mut bench = Bench::receiver(&format!("{groups}request_route {{ answer(200); }}"));
    // The parameters that came from below stand in our own Via, which goes.
    let from_below = REPLY.replacen("z9hG4bKb1.0", "z9hG4bKb1.0;oc=90;oc-algo=\"loss\"", 1);
    bench.receive(&from_below.replacen("192.0.2.9:5070", ASKS, 1));
    bench.receive(&request("OPTIONS").replacen(";branch", ";oc;branch", 1));
    let sent = bench.sent();
    for text in &sent {
        let (_, told) = text.split_once(";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=").expect(text);
        assert!(!told.contains("oc=") && !text.contains(";oc;"), "{text}");
    }
    assert_eq!((sent.len(), bench.count_of(OVERLOAD_TOLD)), (2, 2));

    for (text, groups) in [(REPLY.replacen("192.0.2.9:5070", ASKS, 1), ""), (REPLY.to_string(), groups)] {
        let mut bench = Bench::receiver(&format!("{groups}request_route {{ exit; }}"));
        bench.receive(&text);
        assert!(!bench.sent()[0].contains("oc="), "neither where it is off nor to who does not ask");
    }
}

#[test]
fn a_reply_without_a_way_back_is_counted() {
    let mut bench = Bench::receiver("request_route { exit; }");
    bench.receive(&REPLY.replace("Via: SIP/2.0/UDP 192.0.2.9", "X-Via: SIP/2.0/UDP 192.0.2.9"));
    assert_eq!((bench.sent().len(), bench.count_of(REPLIES_STRAY)), (0, 1));
    let mut strict = Bench::receiver("check_via=yes\nrequest_route { exit; }");
    strict.receive(REPLY).receive(&REPLY.replace("UDP 10.0.0.1:5060", "UDP 10.0.0.9:5060"));
    assert_eq!((strict.sent().len(), strict.count_of(REPLIES_STRAY)), (1, 1));
}

#[test]
fn a_negative_end_is_told() {
    let mut bench = Bench::receiver("request_route { fail(); }");
    bench.receive(&request("OPTIONS"));
    assert!(bench.log().contains(" 1(4711) WARNING: <core>: error while trying script"), "{}", bench.log());
    assert_eq!(bench.count_of(SCRIPTS_FAILED), 1);
}

#[test]
fn a_request_whose_script_ran_into_a_limit_is_refused_where_an_answer_is_owed() {
    let check = |method: &str, before: &str, expected: &[&str]| {
        let script = format!("max_while_loops=0\nrequest_route {{ {before} while (1) {{ }} }}");
        let mut bench = Bench::receiver(&script);
        bench.receive(&request(method));
        let sent = bench.sent();
        let starts: Vec<&str> = sent.iter().map(|text| text.split_once(' ').unwrap_or_default().1).collect();
        let are_expected = starts.iter().zip(expected).all(|(start, expected)| start.starts_with(expected));
        assert!(starts.len() == expected.len() && are_expected, "{method} {before}: {starts:?}");
        assert_eq!(bench.count_of(SCRIPTS_FAILED), 1, "{method} {before}");
    };
    check("OPTIONS", "", &["SIP/2.0 500 "]);
    check("INVITE", "answer(100);", &["SIP/2.0 100 ", "SIP/2.0 500 "]);
    check("INVITE", "answer(200);", &["SIP/2.0 200 "]);
    check("INVITE", "relay(\"192.0.2.50:5080\");", &["INVITE "]);
    check("ACK", "", &[]);
}

#[test]
fn a_request_is_sent_on_with_our_via_and_the_changes_of_the_script() {
    let mut bench = Bench::receiver(
        "request_route { add_line(\"Y: two\\r\\n\"); relay(\"192.0.2.50:5080\"); relay(\"192.0.2.51:5080\"); }",
    );
    bench.receive(&request("INVITE"));
    let sent = bench.sent();
    assert!(
        sent[0].starts_with(
            "192.0.2.50:5080 INVITE sip:bob@10.0.0.1 SIP/2.0|Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK"
        ),
        "{sent:?}"
    );
    assert!(
        sent[0].contains("|Via: SIP/2.0/UDP 192.0.2.7:5070;rport=17070;branch=z9hG4bKa1;received=192.0.2.7|"),
        "{sent:?}"
    );
    assert!(sent[0].contains("|Max-Forwards: 70|") && sent[0].contains("|Y: two|"), "{sent:?}");
    // Each target has a branch of its own, and one of our Vias only.
    assert_eq!(sent[1].matches("Via: SIP/2.0/UDP 10.0.0.1:5060").count(), 1, "{sent:?}");
    let branch = |text: &str| text.split("branch=").nth(1).unwrap().split('|').next().unwrap().to_string();
    assert_ne!(branch(&sent[0]), branch(&sent[1]));
}

#[test]
fn an_ack_to_our_own_answer_ends_here() {
    let mut bench = Bench::receiver("request_route { say(\"seen\"); answer(486); }");
    bench.receive(&request("INVITE"));
    let answer = bench.sent().remove(0);
    let tag = answer.split("To: <sip:bob@example.com>;tag=").nth(1).unwrap().split('|').next().unwrap();
    let ack =
        request("ACK").replace("To: <sip:bob@example.com>", &format!("To: <sip:bob@example.com>;tag={tag}"));
    bench.receive(&ack);
    assert_eq!((bench.count_of(ACKS_ABSORBED), bench.log().matches("seen").count()), (1, 1));
    bench.receive(&request("ACK"));
    assert_eq!((bench.count_of(ACKS_ABSORBED), bench.log().matches("seen").count()), (1, 2));
    assert!(bench.log().contains("an ACK is never answered"));
}

#[test]
fn applied_changes_are_seen_and_limited() {
    let mut bench = Bench::receiver(
        "request_route { add_line(\"X: two\\r\\n\"); apply(); apply(); apply(); apply(); apply(); say(\"$x $si\"); }",
    );
    bench.receive(&request("OPTIONS").replace("X: one\r\n", ""));
    assert!(bench.log().contains("<script>: two 192.0.2.7\n"), "{}", bench.log());
    assert!(bench.log().contains("changes were applied 4 times already"), "{}", bench.log());
}

#[test]
fn the_prefix_stands_before_every_line_of_a_message() {
    let mut bench = Bench::receiver("log_prefix=\"{$si} \"\nrequest_route { say(\"hello\"); fail(); }");
    bench.receive(&request("OPTIONS"));
    let log = bench.log();
    assert!(log.contains("WARNING: {192.0.2.7} <script>: hello\n"), "{log}");
    assert!(log.contains("WARNING: {192.0.2.7} <core>: error while trying script"), "{log}");
}

#[test]
fn the_prefix_is_what_held_when_the_message_came_or_what_holds_now() {
    let script =
        "log_prefix=\"{$rU} \"\nrequest_route { $rU = \"one\"; say(\"a\"); $rU = \"two\"; say(\"b\"); }";
    for (mode, expected) in [(0, ["{bob} ", "{bob} "]), (1, ["{one} ", "{two} "])] {
        let mut bench = Bench::receiver(&format!("log_prefix_mode={mode}\n{script}"));
        bench.receive(&request("OPTIONS"));
        let log = bench.log();
        for (prefix, text) in expected.iter().zip(["a", "b"]) {
            assert!(log.contains(&format!("{prefix}<script>: {text}\n")), "mode {mode}: {log}");
        }
    }
}

#[test]
fn words_compare_with_what_the_message_came_by() {
    let script = "request_route { if (src_ip == 192.0.2.0/24 && dst_port != 1 && af == INET && !(src_ip == myself)) say(\"yes\"); \
        if (src_port == 17070 && max_len > 100) say(\"and\"); }";
    let words_needing_variables = script.replace("dst_port != 1 && ", "");
    let mut bench = Bench::receiver(&words_needing_variables);
    bench.receive(&request("OPTIONS"));
    assert_eq!(
        bench.log().matches("<script>: yes").count() + bench.log().matches("<script>: and").count(),
        2,
        "{}",
        bench.log()
    );
}

#[test]
fn a_flood_of_broken_messages_is_a_few_lines_of_log() {
    let mut bench = Bench::receiver("request_route { answer(200); }");
    for _ in 0..10_000 {
        bench.receive("this is no message, but it is long enough for one\r\n\r\n");
    }
    let log = bench.log();
    assert!(log.contains("message discarded") && log.lines().count() <= 20, "{log}");
}

#[test]
fn a_message_that_ended_workers_is_told() {
    let mut bench = Bench::worker("request_route { answer(200); }");
    bench.process(&request("OPTIONS"), b"", 1);
    assert!(
        bench.log().contains("NOTICE: <core>: redelivered message, processes that died while handling it: 1"),
        "{}",
        bench.log()
    );
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn what_is_sent_on_is_shown_to_the_script_first() {
    let looks = "say(\"$sndto(ip):$sndto(port)/$sndto(proto)/$sndto(af) $sndfrom(ip):$sndfrom(port) $snd(sproto) $(snd(buf){s.substr,0,6})\");";
    let script = format!(
        "request_route {{ $var(r) = forward(10.9.9.9, 5070); say(\"r=$var(r) [$sndto(ip)]\"); }}\n\
         onsend_route {{ {looks} if (snd_ip == 10.0.0.1 && snd_port == 5060 && to_ip == 10.9.9.9 && to_port == 5070 \
           && snd_proto == UDP && to_af == INET) say(\"words\"); if (method == \"BYE\") drop; \
           if (method == \"INFO\") exit; if (method == \"PING\") return 0; }}"
    );
    // A request that is dropped does not leave, and `forward` says so; every other end lets it go.
    for (method, is_sent, code) in
        [("INVITE", true, 1), ("BYE", false, -510), ("INFO", true, 1), ("PING", true, 1)]
    {
        let mut bench = Bench::receiver(&script);
        bench.receive(&request(method));
        let log = bench.log();
        assert_eq!(bench.sent().len(), usize::from(is_sent), "{method}: {log}");
        let seen = format!("10.9.9.9:5070/1/2 10.0.0.1:5060 udp {}", &format!("{method} sip:")[..6]);
        for part in [seen.as_str(), "words", &format!("r={code} [<null>]")] {
            assert!(log.contains(part), "{method}: {part}: {log}");
        }
        assert_eq!(log.contains("INFO: <core>: forward: onsend_route dropped"), !is_sent, "{log}");
    }
}

#[test]
fn replies_are_shown_where_the_script_asks_for_it() {
    let route = "request_route { exit; }\nonsend_route { say(\"leaves\"); drop; }";
    for (head, is_sent) in [("", true), ("onsend_route_reply=yes\n", false)] {
        let mut bench = Bench::receiver(&format!("{head}{route}"));
        bench.receive(REPLY);
        assert_eq!((bench.sent().len(), bench.log().contains("leaves")), (usize::from(is_sent), !is_sent));
        assert!(!bench.log().contains("ERROR"), "{}", bench.log());
    }
    // What is made here does not pass it.
    let mut bench = Bench::receiver("request_route { answer(200); }\nonsend_route { drop; }");
    assert_eq!(bench.receive(&request("OPTIONS")).sent().len(), 1);
}

#[test]
fn a_suspended_message_whose_state_cannot_be_read_is_counted_and_lost() {
    let mut bench = Bench::worker("request_route { answer(200); }");
    let text = request("OPTIONS");
    for continuation in [&b"\x01\0\x09short"[..], b"\x50\0\x03new"] {
        bench.0.resume(&text, continuation);
    }
    assert_eq!((bench.sent().len(), bench.count_of(CONTINUATIONS_LOST)), (0, 2));
    assert!(bench.log().contains("cannot resume: the saved state of the message cannot be read"));
}
