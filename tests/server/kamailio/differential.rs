//! The same generated scripts and the same messages through both servers; what they print is compared line by line.
//!
//! Every disagreement stands in `tests/golden/deviations.txt` with its reason, or it is our mistake.

use std::collections::{BTreeMap, BTreeSet};

use super::generator::{self, PREPARATION, Random};
use super::reference::Pair;
use crate::bad_input;
use crate::support::deviations::{self, Difference};
use crate::support::{Caller, Request};

/// Settings and modules both servers know.
pub const HEAD: &str = "#!KAMAILIO
debug=2
children=1
auto_aliases=no
loadmodule \"sl.so\"
loadmodule \"pv.so\"
loadmodule \"xlog.so\"
loadmodule \"textops.so\"
loadmodule \"textopsx.so\"
loadmodule \"siputils.so\"
loadmodule \"kex.so\"
loadmodule \"corex.so\"
";

/// What answers the messages that are only there to be waited for.
pub const MARKER: &str = "    if ($ci =~ \"^(marker|are-you)\") { sl_send_reply(\"200\", \"OK\"); exit; }\n";

/// Compares both servers' lines. `name` tells what the line with this key is about.
fn differences(pair: &Pair, name: impl Fn(&str) -> String) -> Vec<Difference> {
    let (theirs, ours) = (by_key(pair.their_lines()), by_key(pair.our_lines()));
    assert!(!theirs.is_empty(), "the reference printed nothing");
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let between = |key: &&String| {
        let value =
            |of: &BTreeMap<String, String>| of.get(*key).map_or("no line", String::as_str).to_string();
        Difference::between(&name(key), &value(&theirs), &value(&ours))
    };
    keys.iter().filter_map(between).collect()
}

/// What was printed under each key: `key|value`. A key printed twice has both values.
fn by_key(lines: Vec<String>) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for line in lines {
        let (key, value) = line.split_once('|').unwrap_or((&line, ""));
        let known = values.entry(key.into()).or_default();
        let separator = if known.is_empty() { "" } else { " / " };
        *known = format!("{known}{separator}{value}");
    }
    values
}

/// The seed of what is generated; another one in `SWORKER_SEED` looks elsewhere.
fn seed(usual: u64) -> u64 {
    std::env::var("SWORKER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Corners that chance seldom finds: nothing and empty text on either side, sums that add or join.
const CORNERS: &[&str] = &[
    "$null == 0",
    "$null != 0",
    "$null == $var(text)",
    "$null != $var(text)",
    "$null == $vn(nothing)",
    "$null == $var(zero)",
    "$null == \"\"",
    "$null == \"abc\"",
    "$null == $null",
    "$null eq \"\"",
    "\"\" == $null",
    "\"\" eq $null",
    "\"\" == $var(text)",
    "\"\" == $var(empty)",
    "\"\" == $var(zero)",
    "\"\" != $var(five)",
    "\"\" == 0",
    "$var(zero) == \"\"",
    "$vn(nothing) == \"\"",
    "$vn(nothing) == 0",
    "$vn(nothing) + 1",
    "($vn(nothing) + 1) + 1",
    "$vn(nothing) - 1",
    "-$vn(nothing)",
    "\"a\" + $vn(nothing) + \"b\"",
    "$var(digits) + $var(minus)",
    "($var(digits) + $var(minus)) * 1",
    "-($var(digits) + $var(minus))",
    "(int)($var(digits) + $var(minus))",
    "($var(digits) + 1) + 1",
    "1 + ($var(digits) + 1)",
    "$var(five) + ($var(digits) + 1)",
    "$var(five) == ($var(digits) + 1)",
    "$var(digits) == ($var(digits) + \"\")",
    "(str)($var(digits) + 1)",
    "$var(mixed) + 1",
    "$var(mixed) == 7",
    "7 == $var(mixed)",
    "5 == $var(padded)",
    "$var(padded) == 5",
    "$var(five) / 0",
    "$var(five) mod $var(zero)",
];

#[test]
fn generated_expressions_have_the_same_values() {
    const COUNT: usize = 400;
    let mut random = Random::seeded(seed(1));
    let generated = (0..COUNT).map(|index| generator::expression(&mut random, index % 4));
    let expressions: Vec<String> = generated.chain(CORNERS.iter().map(|text| text.to_string())).collect();
    let ask = |(index, expression): (usize, &String)| {
        format!(
            "route[V{index}] {{ $var(r) = \"kept\"; $var(r) = {expression};\n\
             if (is_int(\"$var(r)\")) {{ xinfo(\"@@{index}v|int $var(r)|@@\\n\"); }}\n\
             else {{ xinfo(\"@@{index}v|str $var(r)|@@\\n\"); }} return 1; }}\n\
             route[C{index}] {{ if ({expression}) {{ xinfo(\"@@{index}c|true|@@\\n\"); }}\n\
             else {{ xinfo(\"@@{index}c|false|@@\\n\"); }} return 1; }}\n"
        )
    };
    let asked: String = expressions.iter().enumerate().map(ask).collect();
    let calls: String =
        (0..expressions.len()).map(|index| format!("    route(V{index}); route(C{index});\n")).collect();
    let pair = Pair::start(&format!("{HEAD}{asked}request_route {{\n{MARKER}{PREPARATION}{calls}}}\n"));
    pair.send("marker", |caller| caller.bytes(&Request::new("OPTIONS", "values").user("alice")));
    let name = |key: &str| {
        let index: usize = key.trim_end_matches(['v', 'c']).parse().expect("a number");
        format!("{} {}", if key.ends_with('v') { "value of" } else { "truth of" }, expressions[index])
    };
    deviations::check("expression", &differences(&pair, name));
}

#[test]
fn generated_routes_come_by_the_same_places() {
    const COUNT: usize = 120;
    let mut random = Random::seeded(seed(2));
    let mut routes: Vec<String> = Vec::new();
    let mut script = format!("{HEAD}max_while_loops=5\n");
    for index in 0..COUNT {
        // A route calls those written before it, so that no call comes back to itself.
        let known = &routes[routes.len().saturating_sub(6)..];
        script += &format!("route[R{index}] {{\n{}}}\n", generator::flow(&mut random, 2, known));
        routes.push(format!("R{index}"));
    }
    let cases: String = (0..COUNT)
        .map(|index| format!("case \"u{index}\": route(R{index}); xinfo(\"@@back $rc|@@\\n\"); break;\n"))
        .collect();
    script += &format!(
        "request_route {{\n{MARKER}{PREPARATION}xinfo(\"@@$rU|@@\\n\");\n\
         switch ($rU) {{\n{cases}}}\nxinfo(\"@@end|@@\\n\");\n}}\n"
    );
    let pair = Pair::start(&script);
    for index in 0..COUNT {
        let request = Request::new("OPTIONS", &format!("flow-{index}")).user(&format!("u{index}"));
        pair.send(&format!("marker-{index}"), |caller| caller.bytes(&request));
    }
    let (theirs, ours) = (traces(&pair.their_lines()), traces(&pair.our_lines()));
    assert_eq!(theirs.len(), COUNT);
    let between = |index: usize| {
        Difference::between(&format!("route R{index}"), &theirs[index].join(" "), &ours[index].join(" "))
    };
    let differ: Vec<Difference> = (0..COUNT).filter_map(between).collect();
    if let Some(first) = differ.first() {
        eprintln!("{first:?}\n{}", route_text(&script, &first.name));
    }
    deviations::check("flow", &differ);
}

/// The lines between one request's first and the next one's.
fn traces(lines: &[String]) -> Vec<Vec<String>> {
    let mut traces: Vec<Vec<String>> = Vec::new();
    for line in lines {
        match line.starts_with('u') {
            true => traces.push(Vec::new()),
            false => traces.last_mut().expect("a request's name comes first").push(line.clone()),
        }
    }
    traces
}

fn route_text(script: &str, name: &str) -> String {
    let route = name.rsplit(' ').next().unwrap_or_default();
    let start = script.find(&format!("route[{route}]")).unwrap_or(0);
    script[start..].split("\nroute[").next().unwrap_or_default().to_string()
}

/// Variables, transformations and conditions read on every message.
const READ: &[&str] = &[
    "$rm",
    "$rU",
    "$rd",
    "$rp",
    "$rP",
    "$rz",
    "$ru",
    "$ou",
    "$oU",
    "$od",
    "$op",
    "$rv",
    "$ci",
    "$cs",
    "$csb",
    "$cT",
    "$cl",
    "$ct",
    "$fu",
    "$fU",
    "$fd",
    "$fn",
    "$ft",
    "$tu",
    "$tU",
    "$td",
    "$tn",
    "$tt",
    "$ua",
    "$rb",
    "$bs",
    "$ml",
    "$mt",
    "$mf",
    "$sf",
    "$bf",
    "$si",
    "$sp",
    "$su",
    "$pr",
    "$proto",
    "$Ri",
    "$Rp",
    "$du",
    "$dd",
    "$dp",
    "$rs",
    "$rr",
    "$re",
    "$rt",
    "$ai",
    "$pu",
    "$pU",
    "$pd",
    "$di",
    "$dir",
    "$dip",
    "$dic",
    "$au",
    "$aU",
    "$ar",
    "$ad",
    "$adu",
    "$aa",
    "$adn",
    "$adr",
    "$Au",
    "$AU",
    "$rUl",
    "$fUl",
    "$tUl",
    "$rmid",
    "$mts",
    "$nh(u)",
    "$nh(d)",
    "$nh(p)",
    "$nh(U)",
    "$nh(P)",
    "$br",
    "$ds",
    "$hdr(Via)",
    "$(hdr(Via)[0])",
    "$(hdr(Via)[1])",
    "$(hdr(Via)[-1])",
    "$(hdr(Via)[*])",
    "$hdrc(Via)",
    "$hdr(v)",
    "$hdr(X-Foo)",
    "$(hdr(X-Foo)[1])",
    "$(hdr(X-Foo)[-1])",
    "$(hdr(X-Foo)[-2])",
    "$(hdr(X-Foo)[9])",
    "$hdrc(X-Foo)",
    "$hdr(Max-Forwards)",
    "$hdr(Content-Length)",
    "$hdr(Route)",
    "$(hdr(Route)[1])",
    "$hdr(Subject)",
    "$hdr(s)",
    "$hdr(Supported)",
    "$hdrc(Contact)",
    "$expires(min)",
    "$expires(max)",
    "$(ru{uri.host})",
    "$(ru{uri.port})",
    "$(ru{uri.params})",
    "$(ru{uri.headers})",
    "$(ru{uri.user})",
    "$(ru{uri.passwd})",
    "$(ru{uri.scheme})",
    "$(ru{uri.transport})",
    "$(ru{uri.param,lr})",
    "$(ct{nameaddr.name})",
    "$(ct{nameaddr.uri})",
    "$(ct{nameaddr.len})",
    "$(ct{tobody.uri})",
    "$(ct{tobody.user})",
    "$(ct{tobody.host})",
    "$(ct{tobody.params})",
    "$(hdr(From){nameaddr.uri})",
    "$(hdr(From){tobody.tag})",
    "$(hdr(From){tobody.display})",
    "$(hdr(To){tobody.params})",
    "$(hdr(From){tobody.params}{param.value,tag})",
    "$(hdr(From){tobody.params}{param.count})",
    "$(hdr(From){tobody.params}{param.name,1})",
    "$(hdr(From){tobody.params}{param.valueat,1})",
    "$(hdr(Via){param.in,rport})",
    "$(hdr(Content-Type){s.select,0,/})",
    "$(hdr(Content-Type){s.tolower})",
    "$(ci{s.md5})",
    "$(ci{s.len})",
    "$(fu{s.substr,0,4})",
    "$(fu{s.substr,-4,0})",
    "$(rb{line.count})",
    "$(rb{line.at,0})",
    "$(rb{line.sw,v})",
    "$(rb{s.len})",
    "$(fu{s.rm,sip:})",
    "$(fu{s.replace,sip,tel})",
    "$(fn{s.unquote})",
    "$(tn{s.unquote})",
    "$(fu{s.encode.hexa})",
    "$(fu{s.encode.base64})",
    "$(fu{s.escape.param})",
    "$(fu{s.escape.user})",
    "$(fu{s.escape.common})",
    "$(fu{re.subst,/sip:([^@]*)@.*/\\\\1/})",
    "$(fu{re.subst,/S/x/gi})",
    "$(fu{s.select,-1,@})",
    "$(fu{s.before,@})",
    "$(fu{s.after,@})",
    "$(fu{s.strip,4})",
    "$(fu{s.striptail,4})",
    "$(fu{s.prefixes,4})",
    "$(fu{s.numeric})",
    "$(fu{s.count,e})",
    "$(fu{s.trim})",
    "$(fu{s.urlencode.param})",
    "$(fu{s.sha256})",
    "$(fu{s.sha512})",
    "$(fU{s.toupper}{s.tolower}{s.len})",
];

/// Conditions asked on every message.
const ASKED: &[&str] = &[
    "method == \"INVITE\"",
    "method == \"options\"",
    "method != \"REGISTER\"",
    "method =~ \"^o\"",
    "method == INVITE",
    "uri == myself",
    "uri != myself",
    "uri =~ \"service\"",
    "from_uri =~ \"tester\"",
    "to_uri =~ \"service\"",
    "from_uri == myself",
    "to_uri == myself",
    "src_ip == 127.0.0.1",
    "src_ip == 127.0.0.0/8",
    "src_ip == 10.0.0.0/8",
    "src_ip == myself",
    "dst_ip == 127.0.0.1",
    "proto == UDP",
    "proto == TCP",
    "af == INET",
    "af == INET6",
    "msg:len > 400",
    "msg:len >= 65535",
    "$ru =~ \"service@\"",
    "$rU == \"service\"",
    "$rU == $null",
    "$hdr(X-Foo) == $null",
    "$tt == $null",
    "is_method(\"INVITE|OPTIONS\")",
    "is_method(\"FOOBAR\")",
    "has_totag()",
    "is_present_hf(\"X-Foo\")",
    "is_present_hf(\"Subject\")",
    "is_present_hf(\"s\")",
    "search(\"tester\")",
    "search(\"^X-Foo\")",
    "search_body(\"hello\")",
    "has_body()",
    "has_body(\"application/sdp\")",
    "has_body(\"text/plain\")",
    "starts_with(\"$fu\", \"sip:t\")",
    "is_audio_on_hold()",
    "isflagset(3)",
    "is_request()",
    "is_reply()",
    "is_first_hop()",
    "is_uri_user_e164(\"$fu\")",
    "uri_param(\"lr\")",
    "uri_param_any(\"transport\")",
    "uri_param_any(\"user\")",
    "cmp_hdr_name(\"i\", \"Call-ID\")",
    "is_gruu(\"sip:a@b;gr\")",
    "is_supported(\"path\")",
    "is_supported(\"100rel\")",
    "is_first_hop(\"1\")",
    "replace_str(\"tester\", \"tester\", \"a\")",
    "replace_body_str(\"v=0\", \"v=0\", \"f\")",
    "regex_substring(\"$ci\", \"([a-z]+)\", \"0\", \"1\", \"$var(o)\")",
    "uri_param(\"lr\")",
    "uri_param(\"transport\", \"udp\")",
    "is_tel_number(\"$rU\")",
    "is_numeric(\"$cs\")",
    "is_alphanum(\"$fU\")",
    "is_myself(\"$ru\")",
    "in_list(\"$rm\", \"INVITE,OPTIONS\", \",\")",
    "cmp_str(\"$rm\", \"OPTIONS\")",
    "cmp_istr(\"$rm\", \"options\")",
    "isdsturiset()",
];

/// Good messages with more in them than the good one of the broken ones.
fn rich(caller: &Caller) -> Vec<Vec<u8>> {
    let sdp = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n";
    let requests = [
        Request::new("INVITE", "rich-sdp").header("Content-Type: application/sdp").body(sdp),
        Request::new("MESSAGE", "rich-text").header("Content-Type: text/plain").body("hello\r\nworld"),
        Request::new("OPTIONS", "rich-headers")
            .header("X-Foo: one")
            .header("x-foo: two")
            .header("X-FOO:   three  ")
            .header("Subject: a \"b\" c")
            .header("Supported: path, 100rel")
            .header("User-Agent: tester/1.0 (x; y)"),
        Request::new("OPTIONS", "rich-routes")
            .header("Route: <sip:127.0.0.2;lr>, <sip:b@127.0.0.3:5070;lr>")
            .header("Route: <sip:c@127.0.0.4>")
            .header("Record-Route: <sip:a;lr>"),
        Request::new("INVITE", "rich-identities")
            .header("Diversion: \"D\" <sip:div@x.com>;reason=no-answer;counter=3;privacy=full")
            .header("P-Asserted-Identity: \"P\" <sip:pai@x.com>")
            .header("Remote-Party-ID: <sip:rpid@x.com>;party=calling")
            .header("P-Preferred-Identity: <sip:ppi@x.com:5070>")
            .header("Refer-To: \"R\" <sip:rt@x.com?Replaces=a%40b>"),
        Request::new("REGISTER", "rich-credentials").header("Expires: 300").header(
            "Authorization: Digest username=\"al ice@dom\", realm=\"r.com\", nonce=\"n=+/\", uri=\"sip:u\", \
             response=\"x\", algorithm=MD5, cnonce=\"c\", opaque=\"o\", qop=auth, nc=00000001",
        ),
        Request::new("REGISTER", "rich-proxy-credentials").header(
            "Proxy-Authorization: Digest username=\"bob\",realm=\"\",nonce=\"\",uri=\"\",response=\"\"",
        ),
        Request::new("OPTIONS", "rich-vias")
            .header("Via: SIP/2.0/TCP a.example.com;branch=z9hG4bK1, SIP/2.0/UDP b:5070;received=1.2.3.4"),
        Request::new("NOTIFY", "rich-event")
            .header("Event: presence")
            .header("Subscription-State: active;expires=3"),
    ];
    let mut all: Vec<Vec<u8>> = requests.iter().map(|request| caller.bytes(request)).collect();
    let good = bad_input::good(caller, "rich-changed");
    let start = good.lines().next().unwrap_or_default().to_string();
    let uris = [
        "sip:127.0.0.1",
        "sip:alice@example.com:5080;transport=tcp;lr;x=a%20b?Subject=hi&Priority=urgent",
        "sips:bob@example.com",
        "sip:bob:secret@[::1]:5070;maddr=1.2.3.4",
        "tel:+43-1-234;phone-context=x",
        "sip:@example.com",
        "sip:a@b@c",
        "urn:service:sos",
        "sip:+431234;isub=1@example.com;user=phone",
    ];
    all.extend(
        uris.iter().map(|uri| good.replacen(&start, &format!("OPTIONS {uri} SIP/2.0"), 1).into_bytes()),
    );
    let from = good.lines().find(|line| line.starts_with("From:")).unwrap_or_default().to_string();
    let froms = [
        "From: \"A \\\"quoted\\\" name\" <sip:tester@a.example.com;x=1>;tag=t;y=2",
        "From: Alice Person <sip:tester@a.example.com>;tag=t",
        "From: sip:tester@a.example.com;tag=t",
        "From:<tel:+431234>;tag=t",
        "From: \"\" <sip:a.example.com>;tag=",
        "From: <sip:tester:pw@a.example.com:5070?x=y> ; tag = spaced",
        "f: <sip:tester@a.example.com>;TAG=upper",
    ];
    all.extend(froms.iter().map(|line| good.replace(&from, line).into_bytes()));
    let contact = good.lines().find(|line| line.starts_with("Contact:")).unwrap_or_default().to_string();
    let contacts = [
        "Contact: *",
        "Contact: <sip:a@1.2.3.4>;expires=60, \"B\" <sip:b@1.2.3.4>;q=0.5;expires=30\r\nExpires: 120",
        "m: sip:a@1.2.3.4;expires=60",
        "Contact: \"a, b\" <sip:a@1.2.3.4;transport=tcp>;x=\"y;z\"",
    ];
    all.extend(contacts.iter().map(|line| good.replace(&contact, line).into_bytes()));
    all
}

/// Good messages with much in them and odd ones that are answered, each with a name.
pub fn messages(caller: &Caller) -> Vec<(String, Vec<u8>)> {
    let rich = rich(caller).into_iter().enumerate().map(|(index, bytes)| (format!("rich {index}"), bytes));
    let odd = bad_input::ANSWERED.iter().enumerate().map(|(index, (what, change))| {
        (what.to_string(), change(bad_input::good(caller, &format!("odd-{index}"))))
    });
    rich.chain(odd).collect()
}

#[test]
fn variables_and_conditions_read_the_same_on_good_and_odd_messages() {
    let reads = READ.iter().enumerate().map(|(index, read)| {
        format!(
            "if ({read} == $null) {{ xinfo(\"@@$var(n) r{index}|NULL|@@\\n\"); }}\n\
             else {{ xinfo(\"@@$var(n) r{index}|[{read}]|@@\\n\"); }}\n"
        )
    });
    let asks = ASKED.iter().enumerate().map(|(index, ask)| {
        format!(
            "if ({ask}) {{ xinfo(\"@@$var(n) a{index}|true|@@\\n\"); }}\n\
             else {{ xinfo(\"@@$var(n) a{index}|false|@@\\n\"); }}\n"
        )
    });
    let body: String = reads.chain(asks).collect();
    let pair = Pair::start(&format!(
        "{HEAD}request_route {{\nif ($ci =~ \"^marker\") {{ $var(n) = $var(n) + 1; }}\n{MARKER}xinfo(\"@@$var(n) ci|$ci|@@\\n\");\n{body}\nsl_send_reply(\"200\", \"OK\");\n}}\n"
    ));
    for index in 0..messages(&pair.to_ours).len() {
        pair.send(&format!("marker-{index}"), |caller| messages(caller).swap_remove(index).1);
    }
    let name = |key: &str| {
        let (message, what) = key.split_once(' ').expect("number and question");
        let index: Option<usize> = what[1..].parse().ok();
        match (what.as_bytes()[0], index) {
            (b'r', Some(index)) => READ[index].to_string(),
            (b'a', Some(index)) => ASKED[index].to_string(),
            _ => format!("Call-ID of message {message}"),
        }
    };
    // One row for a question and its two answers, on however many messages.
    let mut found = differences(&pair, name);
    found.sort_by(|a, b| (&a.name, &a.theirs, &a.ours).cmp(&(&b.name, &b.theirs, &b.ours)));
    found.dedup();
    deviations::check("message", &found);
}
