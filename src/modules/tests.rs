//! `uri_host_extra_chars` and `hdr_name_extra_chars` hold wherever a script has something read, and only for that
//! script.

use crate::engine::harness::ScriptHarness;

use super::MODULES;

const MODULE_LINES: &str = "loadmodule \"pv\"\nloadmodule \"siputils\"\nloadmodule \"kex\"\nloadmodule \"corex\"\n\
    loadmodule \"textops\"\nloadmodule \"textopsx\"\nloadmodule \"sanity\"\nloadmodule \"sl\"\n";
const ALLOWED: &str = "uri_host_extra_chars=\"~\"\nhdr_name_extra_chars=\"@\"\n";

/// No host in it can be read by the grammar of RFC 3261, and one line has no name there.
const REQUEST: &str = "INVITE sip:bob@my~host SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKb;rport\r\nMax-Forwards: 70\r\n\
    From: <sip:alice@from~host>;tag=1\r\nTo: <sip:bob@to~host;user=phone>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n\
    Contact: <sip:alice@contact~host>\r\nP-Preferred-Identity: <sip:ppi@preferred~host>\r\n\
    X@Y: 1\r\nContent-Length: 0\r\n\r\n";

/// What a script writes, by the grammar of RFC 3261 and by its own.
const READERS: &[(&str, &str, &str, &str)] = &[
    ("", "$rU $rd $rp", "<null> <null> <null>", "bob my~host 5060"),
    ("", "$oU $od $nh(d) $rUl", "<null> <null> <null> 0", "bob my~host my~host 3"),
    ("$du = \"sip:h~h:5070\";", "$dd $dp", "<null> <null>", "h~h 5070"),
    ("", "$fU $fd $td", "<null> <null> <null>", "alice from~host to~host"),
    ("", "$pU $pd", "<null> <null>", "ppi preferred~host"),
    ("", "$(ru{uri.host}) $(ru{uri.saor})", " ", "my~host sip:bob@my~host"),
    ("", "$(ru{urialias.encode})", "", "my~host~5060~1"),
    ("", "$(hdr(To){tobody.user}) $(hdr(To){tobody.host})", " ", "bob to~host"),
    ("$rU = \"eve\";", "$ru", "sip:bob@my~host", "sip:eve@my~host"),
    ("$ru = \"sip:a@b\"; $rd = \"c~d\";", "$ru", "sip:a@b", "sip:a@c~d"),
    ("$ru = \"sip:a@b\"; rewritehostport(\"c~d:1\");", "$ru", "sip:a@b", "sip:a@c~d:1"),
    ("$fU = \"eve\"; msg_apply_changes();", "$fu", "sip:alice@from~host", "sip:eve@from~host"),
    ("$ru = \"sip:a@b\"; $fd = \"c~d\"; msg_apply_changes();", "$fu", "sip:alice@from~host", "sip:alice@c~d"),
    ("if (is_uri(\"sip:a@b~c\")) $var(x) = 1;", "$var(x)", "0", "1"),
    ("if (cmp_uri(\"sip:a@b~c\", \"sip:a@b~c\")) $var(x) = 1;", "$var(x)", "0", "1"),
    ("if (cmp_aor(\"sip:a@b~c\", \"sip:a@b~c\")) $var(x) = 1;", "$var(x)", "0", "1"),
    ("if (is_gruu(\"sip:a@b~c;gr\")) $var(x) = 1;", "$var(x)", "0", "1"),
    ("if (has_ruri_user()) $var(x) = 1;", "$var(x)", "0", "1"),
    ("uri_param_rm(\"p\"); $var(x) = $rc;", "$var(x)", "-1", "1"),
    ("encode_contact(\"n\", \"h\"); msg_apply_changes();", "$ct", CONTACT, "<sip:n*alice**contact~host**@h>"),
    (
        "contact_param_encode(\"p\", \"sip:h~h\"); msg_apply_changes();",
        "$ct",
        CONTACT,
        "<sip:h~h;p=c2lwOmFsaWNlQGNvbnRhY3R-aG9zdA>",
    ),
    // Where it fails, nothing after it is run.
    ("sanity_check(\"1024\", \"7\");", "passed", "", "passed"),
    ("if (is_myself(\"sip:a@ours~host\")) $var(x) = 1;", "$var(x)", "0", "1"),
    ("set_advertised_address(\"a~b\"); $var(x) = $rc;", "$var(x)", "-1", "1"),
    ("append_hf(\"A@B: 2\\r\\n\"); msg_apply_changes();", "$hdr(A@B)", "<null>", "2"),
];

const CONTACT: &str = "<sip:alice@contact~host>";

fn engine(head: &str, statements: &str, text: &str) -> ScriptHarness {
    let script = format!(
        "{head}alias=\"ours~host\"\n{MODULE_LINES}request_route {{ $var(x) = 0; {statements} log(2, \"@@{text}@@\"); }}\n"
    );
    ScriptHarness::new(MODULES, &script)
}

fn told(engine: &mut ScriptHarness) -> String {
    engine.receive(REQUEST);
    let log = engine.log();
    log.split("@@").nth(1).unwrap_or_default().to_string()
}

/// Both engines live in one thread and take turns: what one script allows, the other does not learn.
#[test]
fn a_script_allows_octets_wherever_it_has_something_read_and_for_itself_alone() {
    for (statements, text, strict, lenient) in READERS {
        let mut engines = [engine("", statements, text), engine(ALLOWED, statements, text)];
        for _ in 0..2 {
            let found = engines.each_mut().map(told);
            assert_eq!(found.each_ref().map(String::as_str), [*strict, *lenient], "{statements} {text}");
        }
    }
}
