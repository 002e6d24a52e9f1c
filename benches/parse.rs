//! What it costs to index a message, and to read the fields every message needs from it.
//!
//! `index` is [`Message::parse`] alone; `route set` also reads Via, From, To, Call-ID and CSeq. Before anything is
//! measured a counting allocator shows that neither allocates, and how often crate `sipx-sip`, which parses the same
//! messages into values of its own, does for the same fields. Target: at most 0.5 µs for the route set of the INVITE
//! of 800 bytes, at most a millisecond for the worst that 64 KB can hold.

#[path = "tools/allocations.rs"]
mod allocations;

#[path = "tools/invite.rs"]
mod invite;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::SocketAddr;

use invite::{INVITE, route_set};
use sipx_sip::headers::{self as sipx_headers, CSeq, CallId};
use sworker::sip::branch::{Branch, Secret};
use sworker::sip::validate::{ValidationRules, validate};
use sworker::sip::via::ViaStamp;
use sworker::sip::{Edits, Message, Status, write};

const REGISTER: &[u8] = b"REGISTER sip:sip.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK-524287-1---1b5a39;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:alice@198.51.100.7:5060;transport=udp;ob>;+sip.instance=\"<urn:uuid:0>\";reg-id=1\r\n\
    To: <sip:alice@sip.example.com>\r\n\
    From: <sip:alice@sip.example.com>;tag=4fd2e0a1b\r\n\
    Call-ID: 84381763768423@198.51.100.7\r\n\
    CSeq: 2 REGISTER\r\n\
    Expires: 3600\r\n\
    Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"Y2FmZQ\", uri=\"sip:sip.example.com\", \
    response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, cnonce=\"0a4f113b\", qop=auth, nc=00000001\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\n\
    User-Agent: Acme Softphone 5.4.12\r\n\
    Content-Length: 0\r\n\
    \r\n";

const OK: &[u8] = b"SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bK87ab.1f2e3d.0;received=203.0.113.1\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK-524287-1---8f1c0d2a7e6b5a39;rport=5060;received=198.51.100.7\r\n\
    Record-Route: <sip:203.0.113.1;lr;ftag=4fd2e0a1b>\r\n\
    To: \"Bob Builder\" <sip:+4930123456@sip.example.com>;tag=a6c85cf\r\n\
    From: \"Alice Liddell\" <sip:alice@sip.example.com>;tag=4fd2e0a1b\r\n\
    Call-ID: 843817637684230998sdasdh09@198.51.100.7\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:bob@192.0.2.4>\r\n\
    Content-Length: 0\r\n\
    \r\n";

const MESSAGES: [(&str, &[u8]); 3] = [("INVITE", INVITE), ("REGISTER", REGISTER), ("200 OK", OK)];

/// The same fields by another parser, summed up the same way.
fn route_set_of_sipx(bytes: &'static [u8]) -> usize {
    let limits = sipx_sip::Limits::default();
    let message = sipx_sip::parse_datagram(bytes.into(), &limits).expect("a valid message");
    let headers = message.headers();
    let via: sipx_headers::Via = headers.typed().expect("a Via").expect("a valid Via");
    let from: sipx_headers::From = headers.typed().expect("a From").expect("a valid From");
    let to: sipx_headers::To = headers.typed().expect("a To").expect("a valid To");
    let call_id: CallId = headers.typed().expect("a Call-ID").expect("a valid Call-ID");
    let cseq: CSeq = headers.typed().expect("a CSeq").expect("a valid CSeq");
    let tags = from.tag().map_or(0, <[u8]>::len) + to.tag().map_or(0, <[u8]>::len);
    let branch =
        via.branch().map_or(0, <[u8]>::len) + host_size(&via.host) + usize::from(via.port.unwrap_or(0));
    tags + branch + call_id.0.len() + cseq.sequence as usize
}

fn host_size(host: &sipx_sip::Host) -> usize {
    host.to_bytes().len()
}

/// Answers a request as a server would: parse, stamp, 200.
fn answer(bytes: &[u8], source: SocketAddr, out: &mut Vec<u8>) -> usize {
    out.clear();
    let request = Message::parse(bytes).expect("a valid message");
    let via = request.via(0).expect("a valid Via");
    let mut response = write::Response::new(Status::OK);
    response.via_stamp = ViaStamp::due(&via, source);
    response.to_tag = Some(b"0123456789abcdef");
    response.header_lines = b"Server: sworker\r\n";
    write::response(&request, &response, out).expect("an answer");
    out.len()
}

/// Passes a request on as a proxy would: stamp, own Via, another Request-URI.
fn forward(bytes: &[u8], source: SocketAddr, edits: &mut Edits, out: &mut Vec<u8>) -> usize {
    out.clear();
    edits.clear();
    let request = Message::parse(bytes).expect("a valid message");
    let via = request.via(0).expect("a valid Via");
    let branch = Branch::of_request(&request, 0, &Secret::new([1; 16]));
    edits.stamp_top_via(&request, ViaStamp::due(&via, source)).expect("a stamp");
    edits.push_via(&request, branch.as_bytes()).expect("a Via");
    edits.set_request_uri(&request, b"sip:bob@192.0.2.4").expect("a Request-URI");
    write::message(&request, edits, out).expect("an unambiguous message");
    out.len()
}

/// Nothing of the path of a message may allocate once its buffers have grown.
fn assert_no_allocation(name: &str, run: impl FnMut() -> usize) {
    assert_eq!(allocations_of(run), 0, "{name} allocates");
}

/// How often a call allocates that is not the first one.
fn allocations_of(mut run: impl FnMut() -> usize) -> u64 {
    black_box(run());
    let before = allocations::count();
    black_box(run());
    allocations::count() - before
}

fn parse(criterion: &mut Criterion) {
    for (name, bytes) in MESSAGES {
        assert_eq!(route_set(bytes), route_set_of_sipx(bytes), "both read the same fields of {name}");
        println!(
            "{name}: sipx-sip allocates {} times for the route set",
            allocations_of(|| route_set_of_sipx(bytes))
        );
        let index = || Message::parse(black_box(bytes)).map_or(0, |message| message.header_count());
        assert_no_allocation("index", index);
        assert_no_allocation("route set", || route_set(black_box(bytes)));
        let mut group = criterion.benchmark_group(format!("{name} ({} bytes)", bytes.len()));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("index", |bencher| bencher.iter(index));
        group.bench_function("route set", |bencher| bencher.iter(|| route_set(black_box(bytes))));
        group.bench_function("route set, sipx-sip", |bencher| {
            bencher.iter(|| route_set_of_sipx(black_box(bytes)));
        });
        group.bench_function("validate", |bencher| {
            let message = Message::parse(bytes).expect("a valid message");
            bencher.iter(|| validate(black_box(&message), &ValidationRules::PROXY));
        });
        group.finish();
    }
}

fn write_out(criterion: &mut Criterion) {
    let source = "198.51.100.7:5060".parse().expect("an address");
    let (mut edits, mut out) = (Edits::new(), Vec::new());
    assert_no_allocation("answer", || answer(black_box(INVITE), source, &mut out));
    assert_no_allocation("forward", || forward(black_box(INVITE), source, &mut edits, &mut out));
    let mut group = criterion.benchmark_group("INVITE, parsed and written");
    group.bench_function("answer", |bencher| bencher.iter(|| answer(black_box(INVITE), source, &mut out)));
    group.bench_function("forward", |bencher| {
        bencher.iter(|| forward(black_box(INVITE), source, &mut edits, &mut out));
    });
    group.finish();
}

/// The worst that 64 KB can hold; each must stay under a millisecond.
fn worst(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("64 KB");
    for (name, lines) in [
        ("4000 headers", "X-Aaaa: bbbbbb\r\n".repeat(4000)),
        ("950 Via", "Via: SIP/2.0/UDP host.example.com:5060;branch=z9hG4bKaaaaaa;rport\r\n".repeat(950)),
        ("5000 folded lines", "X: a\r\n b\r\n c\r\n".repeat(2500)),
        ("1800 quoted To", "To: \"a\\\"b\" <sip:a@b>;a=\"x\";b=\"y\"\r\n".repeat(1800)),
        ("8000 Route in two lines", format!("Route: {}<sip:a>\r\n", "<sip:a>,".repeat(4000)).repeat(2)),
        ("32000 empty parameters, twice", format!("Via: SIP/2.0/UDP h{}\r\n", ";".repeat(32_000)).repeat(2)),
        ("32000 folds of two lines", format!("X: {}\r\n", "\n ".repeat(16_000)).repeat(2)),
        ("names without an end", format!("{}\r\n", "a".repeat(32_000)).repeat(2)),
    ] {
        let bytes = format!("OPTIONS sip:b SIP/2.0\r\n{lines}\r\n").into_bytes();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let message = Message::parse(black_box(&bytes)).expect("within the limits");
                (validate(&message, &ValidationRules::PROXY).is_ok(), message.vias().count())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parse, write_out, worst);
criterion_main!(benches);
