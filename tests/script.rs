//! Scripts as a whole: text in, diagnostics or behaviour out.
//!
//! `script/check/*.cfg` are scripts with mistakes; beside each lies what is said about it (`*.out`).
//! `script/run/*.cfg` are scripts that run; beside each lies how it ended and what it did. `BLESS=1` writes the `.out`.

#[path = "script/world.rs"]
mod world;

use std::path::Path;

use proptest::prelude::*;
use sworker::script::ast::{
    Ast, Expression, ExpressionKind, Item, ItemKind, Route, RouteKind, Span, Statement, StatementKind,
    UnaryOperator,
};
use sworker::script::check::{self, Checked};
use sworker::script::diagnostic::{Diagnostic, render_all};
use sworker::script::interpreter::{Interpreter, ReturnMode, RunLimits, Verdict};
use sworker::script::parser::{ParseOptions, parse};
use sworker::script::program::{Program, RouteId};
use sworker::script::source::SourceMap;
use world::{TestCatalog, TestHost};

fn load(name: &str, text: &str, catalog: &mut TestCatalog) -> (Option<Program>, String) {
    let mut source = SourceMap::new();
    let root = source.add_file(name, text);
    let (ast, mut diagnostics) = parse(&mut source, root, &ParseOptions::default());
    let Checked { program, diagnostics: more } = check::check(&ast, &source, catalog);
    diagnostics.extend(more);
    let is_broken = diagnostics.iter().any(Diagnostic::is_error);
    (program.filter(|_| !is_broken), render_all(&diagnostics, &source))
}

fn program(text: &str) -> Program {
    let (program, rendered) = load("t.cfg", text, &mut TestCatalog::default());
    program.unwrap_or_else(|| panic!("{text}\n{rendered}"))
}

fn request_route(program: &Program) -> RouteId {
    program.request_route().expect("a request_route")
}

/// Runs a script with these limits: how it ended and its world afterwards.
fn run_within(text: &str, limits: RunLimits) -> (Verdict, TestHost) {
    let program = program(text);
    let mut host = TestHost::default();
    let verdict = Interpreter::new(limits).run(&program, request_route(&program), &mut host);
    (verdict, host)
}

fn run(text: &str) -> (Verdict, TestHost) {
    run_within(text, RunLimits::default())
}

// ---- diagnostics ----------------------------------------------------------------------------------------------------

/// Every `.cfg` in a folder of `tests/script` gives what lies beside it.
fn check_golden(folder: &str, seen: impl Fn(&str, &str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script").join(folder);
    let mut scripts: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "cfg"));
    assert!(!scripts.is_empty());
    for path in scripts {
        let name = path.file_name().unwrap().to_str().unwrap();
        let seen = seen(name, &std::fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("out");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &seen).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(seen, expected, "{name}: run with BLESS=1 when this is right");
    }
}

#[test]
fn mistakes_are_reported_as_expected() {
    check_golden("check", |name, text| load(name, text, &mut TestCatalog::default()).1);
}

#[test]
fn scripts_do_what_they_did() {
    check_golden("run", |_, text| {
        let (verdict, host) = run(text);
        let mut seen = String::from_utf8_lossy(&host.log).into_owned();
        seen.push_str(&host.complaints.iter().map(|line| format!("complaint: {line}\n")).collect::<String>());
        seen.push_str(&format!("{verdict:?}\n"));
        seen
    });
}

#[test]
fn one_mistake_is_one_diagnostic() {
    // Body of request_route; the message; the text under the carets.
    let rows: &[(&str, &str, &str)] = &[
        (r#"if (1 == "1") exit;"#, "the left side is an integer, this is text", "\"1\""),
        (r#"$var(x) = 1 + "2";"#, "the left side is an integer, this is text", "\"2\""),
        (r#"$var(x) = "2" - 1;"#, "an integer is needed here, this is text", "\"2\""),
        (r#"$var(x) = $var(y) - "1";"#, "an integer is needed here, this is text", "\"1\""),
        (r#"if (!$rm == "ACK") exit;"#, "the left side is an integer, this is text", "\"ACK\""),
        (r#"if (!"abc") exit;"#, "an integer is needed here, this is text", "\"abc\""),
        (r#"if ($var(x) > "b") exit;"#, "an integer is needed here, this is text", "\"b\""),
        (r#"if ("a" && 1) exit;"#, "an integer is needed here, this is text", "\"a\""),
        (r#"if (is_method("BYE") == "1") exit;"#, "the left side is an integer, this is text", "\"1\""),
        (r#"if (1 eq "1") exit;"#, "the left side is an integer, this is text", "\"1\""),
        (r#"if (1 =~ "1") exit;"#, "text is needed before =~, this is an integer", "1"),
        (
            r#"if ($rU =~ "(") exit;"#,
            "this regular expression cannot be used: a parenthesis is not closed",
            "\"(\"",
        ),
        (r#"return "abc";"#, "a return code is an integer, this is text", "\"abc\""),
        ("$rm = 5;", "$rm can be read, not assigned", "$rm"),
        ("$rc = 5;", "$rc can be read, not assigned", "$rc"),
        ("$null = 5;", "$null can be read, not assigned", "$null"),
        ("$def(x) = 5;", "$def can be read, not assigned", "$def(x)"),
        ("$nope = 5;", "unknown variable $nope", "$nope"),
        ("$var(x) = $nope;", "unknown variable $nope", "$nope"),
        (r#"xlog("a $nope b\n");"#, "unknown variable $nope", "$nope"),
        (r#"xlog("é\t$(rU{s.nope}) b\n");"#, "unknown transformation {s.nope} with 0 arguments", "s.nope"),
        (r#"nope("x");"#, "unknown function nope()", "nope"),
        (r#"xlog("x", "y");"#, "xlog() does not take 2 arguments", "xlog"),
        (
            r#"xlog(is_method("x"));"#,
            "`is_method` cannot be called inside the arguments of another function",
            "is_method",
        ),
        (r#"if (sworker_task("cals")) drop;"#, "unknown worker group \"cals\"", "\"cals\""),
        ("route(NOPE);", "unknown route route[NOPE]", "NOPE"),
        (r#"t_on_failure("NOPE");"#, "unknown route failure_route[NOPE]", "\"NOPE\""),
        (r#"pv_isset("x");"#, "a variable is needed here", "\"x\""),
        (
            r#"increment("$(var(x){s.len})");"#,
            "a variable with transformations cannot be passed to a function that assigns it",
            "{s.len}",
        ),
        (r#"code("abc");"#, "an integer is needed here, not \"abc\"", "\"abc\""),
        ("t_reply_only();", "t_reply_only() cannot be used in request_route", "t_reply_only"),
        (
            r#"if (src_ip == "10.0.0.0/40") exit;"#,
            "\"10.0.0.0/40\" is not an address or a network",
            "\"10.0.0.0/40\"",
        ),
        ("if (nope == 1) exit;", "unknown word nope", "nope"),
        ("if ($rm == INVITE) exit;", "unknown word INVITE", "INVITE"),
        (
            "switch ($rm) { case 1: break; case \"a\": break; }",
            "the cases of a switch are all numbers or all text, here they are mixed",
            "case \"a\":",
        ),
        ("switch ($rm) { default: break; default: break; }", "this switch has a second default", "default:"),
        (
            "switch ($rm) { case $var(x): break; }",
            "a case needs a constant: a number, text, or /\"regex\"",
            "$var(x)",
        ),
        (
            "switch ($rm) { case /\"(\": break; }",
            "this regular expression cannot be used: a parenthesis is not closed",
            "\"(\"",
        ),
        // Warnings and notices:
        ("exit; xlog(\"x\");", "this is never reached, `exit` comes before it", "xlog(\"x\");"),
        (
            "sworker_task(\"calls\");",
            "the result of sworker_task() is ignored: the message may be processed twice or not at all",
            "sworker_task",
        ),
        (
            "if (sworker_task(\"calls\")) exit;",
            "no `drop` follows when sworker_task() succeeds: the message is processed here as well",
            "sworker_task",
        ),
        ("if (swork_task(\"calls\")) drop;", "swork_task() is an old name", "swork_task"),
        (
            "if ($rU =~ \"^\\\\d+$\") exit;",
            "\"\\d\" is the letter \"d\" in these regular expressions",
            "\"^\\\\d+$\"",
        ),
        (
            "if (\"abc\") exit;",
            "the condition is literal text, its variables are not replaced here",
            "(\"abc\")",
        ),
        (
            "switch ($rm) { case 1: break; case 1: break; }",
            "this case is never reached, the same label is used above",
            "case 1:",
        ),
        ("break;", "`break` outside of a loop or switch ends the route", "break;"),
    ];
    for (body, message, marked) in rows {
        let text = format!("{} {{ {body} }}", route_for(body));
        let mut source = SourceMap::new();
        let root = source.add_file("t.cfg", text.as_str());
        let (ast, mut diagnostics) = parse(&mut source, root, &ParseOptions::default());
        diagnostics.extend(check::check(&ast, &source, &mut TestCatalog::default()).diagnostics);
        let rendered = render_all(&diagnostics, &source);
        assert_eq!(diagnostics.len(), 1, "{body}\n{rendered}");
        assert_eq!(diagnostics[0].message, *message, "{body}\n{rendered}");
        let shown = String::from_utf8_lossy(source.text(diagnostics[0].span)).into_owned();
        assert_eq!(
            shown.trim_end_matches([':', ';']),
            marked.trim_end_matches([':', ';']),
            "{body}\n{rendered}"
        );
    }
}

/// Where such a statement belongs.
fn route_for(body: &str) -> &'static str {
    if body.contains("work") { "event_route[core:pre-routing]" } else { "request_route" }
}

#[test]
fn what_is_right_is_accepted_in_silence() {
    let rows = [
        "if ($var(x) == \"\" || $var(y) == $null) { xlog(\"x\\n\"); }",
        "if (method == INVITE && src_ip == 10.0.0.0/8) { exit; } xlog(\"x\");",
        "if (src_ip != myself) exit;",
        "if (uri == myself) exit;",
        "if (myself == uri) exit;",
        "if (from_uri == uri) exit;",
        "if (proto == UDP || af == INET6) exit;",
        "if (\"1\" == 1) exit;",
        "$var(x) = \"1\" + 2;",
        "$var(x) = (int)\"5\" + strlen(\"abc\");",
        "$var(x) = selval($rm == \"OPTIONS\", \"yes\", \"no\");",
        "$var(x) = is_method(\"BYE\") + 1;",
        "$store($rU) = @ruri.user;",
        "if (!sworker_task(\"calls\")) { xlog(\"full\"); } else { drop; }",
        "if ($var(x) == 1 && sworker_task($var(g))) { drop; }",
        "search(\"^sip:[0-9]+$\");",
        "sl_send_reply(\"200\", \"OK\");",
        "sl_send_reply(200, \"$rU is here\");",
        "t_on_failure(\"0\");",
        "while ($var(i) < 3) { $var(i) = $var(i) + 1; if ($var(i) == 2) break; }",
        "switch ($rm) { case \"A\": case \"B\": xlog(\"x\"); break; case /\"^C\": exit; default: drop; }",
        "{ } ; if ($rU) { }",
        "if (sworker_task(\"calls\") > 0) { drop; }",
        "if (sworker_task(\"calls\") == 0) { xlog(\"full\"); } else { drop; }",
        "if (($var(x) = 1)) { exit; }",
        "while (true) { if ($var(x) == no) break; } $var(x) = on;",
    ];
    for body in rows {
        let (program, said) =
            load("t.cfg", &format!("{} {{ {body} }}", route_for(body)), &mut TestCatalog::default());
        assert_eq!(said, "", "{body}");
        assert!(program.is_some(), "{body}");
    }
}

#[test]
fn the_top_level_is_told_in_order() {
    let mut catalog = TestCatalog::default();
    let text = "#!define SIZE 7\nchildren=SIZE\nlog_stderror=yes\nloadmodule \"pv.so\"\nmodparam(\"pv\", \"x\", \"a b\")\n\
                modparamx(\"pv\", \"y\", \"n$def(SIZE)\")\nroute[X] { exit; }\nrequest_route { route(X); }\n";
    let (program, said) = load("t.cfg", text, &mut catalog);
    assert_eq!(said, "");
    assert!(program.is_some());
    let expected = [
        "children = Number(7)",
        "log_stderror = Number(1)",
        "load pv",
        "pv.x = Text([97, 32, 98])",
        "pv.y = Text([110, 55])",
        "end",
    ];
    assert_eq!(catalog.top_level, expected);
}

// ---- behaviour ------------------------------------------------------------------------------------------------------

/// Routes for the rows below.
const ROUTES: &str = r#"
route[RM5] { return -5; }
route[R7] { return 7; }
route[NAMED1] { return 11; }
route[SW] { switch ($rm) { case "OPTIONS": $var(k) = 1; break; } }
route[SWN] { switch ($rm) { case "X": $var(k) = 1; break; } }
route[SWF] { switch ($rm) { case "OPTIONS": is_method("BYE"); } }
route[SWERR] { switch (5 / $var(zero)) { case 0: $var(k) = 1; } }
route[WH] { while (1) { break; } }
route[WHN] { $var(k) = 0; while ($var(k) < 3) { $var(k) = $var(k) + 1; is_method("BYE"); } }
route[WH0] { while (0) { $var(k) = 1; } }
route[WHERR] { while (5 / $var(zero)) { $var(k) = 1; } }
route[WLIM] { while (1) { $var(k) = 1; } }
route[IFF] { if ($var(zero)) { $var(k) = 1; } }
route[IFM] { if (is_method("BYE")) { $var(k) = 1; } }
route[IFB] { if (1) { is_method("BYE"); } }
route[IFERR] { if (5 / $var(zero)) { $var(k) = 1; } }
route[AS] { $var(k) = 0; }
route[ASE] { $var(k) = 5 / $var(zero); }
route[ASF] { $var(k) = is_method("BYE"); }
route[RET] { return; }
route[RETE] { return 5 / $var(zero); }
route[EMPTY] { ; }
route[REC] { $var(i) = $var(i) + 1; route(REC); }
failure_route[F] { exit; }
"#;

fn evaluated(body: &str) -> (Verdict, TestHost) {
    run(&format!(
        "request_route {{ $var(five) = 5; $var(neg) = -3; $var(s5) = \"5\"; $var(s05) = \"05\"; $var(abc) = \"abc\"; $var(e) = \"\"; $var(name) = \"R7\";\n{body} }}\n{ROUTES}"
    ))
}

#[test]
fn expressions_have_the_measured_values() {
    // An expression, what it gives when assigned, how many complaints.
    let rows: &[(&str, &str, usize)] = &[
        ("$var(five) == $var(s5)", "1", 0),
        ("$var(s5) == $var(five)", "1", 0),
        ("$var(s5) == $var(s05)", "0", 0),
        ("$var(five) == $var(s05)", "1", 0),
        ("$var(five) == $var(abc)", "0", 1),
        ("$var(five) != $var(abc)", "1", 1),
        ("$var(zero) == $var(abc)", "1", 1),
        ("$var(five) > $var(abc)", "1", 1),
        ("$var(zero) == \"\"", "0", 0),
        ("$var(e) == \"\"", "1", 0),
        ("$avp(u) == \"\"", "1", 0),
        ("\"\" == $avp(u)", "1", 0),
        ("\"\" != $var(five)", "1", 0),
        ("$avp(u) == 0", "1", 0),
        ("$avp(u) != 0", "0", 0),
        ("$avp(u) == \"<null>\"", "0", 0),
        ("$avp(u) == $avp(v)", "1", 0),
        ("$avp(u) == $var(e)", "1", 0),
        ("$var(zero) == $avp(u)", "1", 0),
        ("$var(e) == $avp(u)", "1", 0),
        ("$var(zero) == $null", "0", 0),
        ("$null == $avp(u)", "1", 0),
        ("$avp(u) != $null", "0", 0),
        // Nothing on the left is a value like others, and beside nothing on the right `eq` asks whether it is there.
        ("$null == 0", "1", 0),
        ("$null != 0", "0", 0),
        ("$null == \"abc\"", "0", 0),
        ("\"\" == 0", "0", 0),
        ("\"\" eq $null", "0", 0),
        ("$avp(u) eq $null", "1", 0),
        // `+` adds where a number is wanted; elsewhere its left side decides.
        ("$var(s5) + $var(five)", "55", 0),
        ("($var(s5) + $var(five)) * 1", "10", 0),
        ("-($var(s5) + 1)", "-6", 0),
        ("($var(s5) + 1) > 50", "0", 0),
        ("($var(s5) + 1) + 1", "511", 0),
        ("1 + ($var(s5) + 1)", "7", 0),
        ("$var(five) + ($var(s5) + 1)", "11", 0),
        ("$var(s5) + ($var(s5) + 1)", "551", 0),
        ("$var(five) == ($var(s5) + 0)", "1", 0),
        ("\"4\" + $var(s5) == 45", "1", 0),
        ("$avp(u) =~ \"^$\"", "1", 0),
        ("$avp(u) =~ \".*\"", "1", 0),
        ("$var(five) =~ \"^5\"", "1", 0),
        ("$rm =~ \"^opt\"", "1", 0),
        ("$rm =~ $var(abc)", "0", 0),
        ("\"xABCx\" =~ $var(abc)", "1", 0),
        ("$rm == \"options\"", "0", 0),
        ("$rm eq \"OPTIONS\"", "1", 0),
        ("method == \"options\"", "1", 0),
        ("method == OPTIONS", "1", 0),
        ("method != options", "0", 0),
        ("method == INVITE", "0", 0),
        ("!method == \"BYE\"", "1", 0),
        ("!method =~ \"^opt\" || 0", "0", 0),
        ("!uri == myself", "0", 0),
        ("!src_ip == 10.0.0.0/8 && 1", "1", 0),
        ("proto == UDP", "1", 0),
        ("af == INET6", "0", 0),
        ("src_ip == 127.0.0.0/8", "1", 0),
        ("src_ip == \"127.0.0.0/255.0.0.0\"", "1", 0),
        ("src_ip != 10.0.0.0/8", "1", 0),
        ("src_ip == dst_ip", "1", 0),
        ("src_ip == myself", "1", 0),
        ("uri == myself", "1", 0),
        ("myself != uri", "0", 0),
        ("src_ip =~ \"^127\"", "1", 0),
        ("src_port == 5066", "1", 0),
        ("$avp(u) + 5", "5", 0),
        ("$avp(u) + \"x\"", "x", 0),
        ("5 + $avp(u)", "5", 0),
        ("\"x\" + $avp(u) + \"y\"", "xy", 0),
        ("$var(five) + $var(s5)", "10", 0),
        ("$var(s5) + $var(five)", "55", 0),
        ("$var(s5) + 7", "57", 0),
        ("7 - $var(s5)", "2", 0),
        ("$var(five) + $var(abc)", "5", 1),
        ("$var(abc) - 1", "-1", 1),
        ("$var(abc) + 1", "abc1", 0),
        ("-$var(abc)", "0", 1),
        ("-$var(s5)", "-5", 0),
        ("-7 / 2", "-3", 0),
        ("-7 mod 2", "-1", 0),
        ("1 << 40", "1099511627776", 0),
        ("$var(neg) >> 1", "-2", 0),
        ("2 + 3 * 4", "14", 0),
        ("(2 + 3) * 4", "20", 0),
        ("!$var(five)", "0", 0),
        ("!$var(neg)", "0", 0),
        ("!$avp(u)", "1", 0),
        ("!$var(abc)", "1", 1),
        ("~$var(five)", "-6", 0),
        ("$var(neg) && $var(five)", "1", 0),
        ("$var(abc) || 1", "1", 1),
        ("$var(zero) && 5 / $var(zero)", "0", 0),
        ("$var(five) || 5 / $var(zero)", "1", 0),
        ("$var(zero) || $var(zero) || $var(neg)", "1", 0),
        ("(int)$var(abc)", "0", 1),
        ("(int)$var(s05)", "5", 0),
        ("(str)$var(five) + 1", "51", 0),
        ("strlen($avp(u))", "0", 0),
        ("strlen($var(five))", "1", 0),
        ("strempty($avp(u))", "1", 0),
        ("strempty($var(zero))", "0", 0),
        ("defined $avp(u)", "0", 0),
        ("defined $var(unset)", "1", 0),
        ("$var(five) eq $var(s5)", "1", 0),
        ("$var(abc) ieq 0", "1", 1),
        ("$var(e) ieq 0", "1", 0),
        ("$avp(u) ine 0", "0", 0),
        ("$var(five) ne \"6\"", "1", 0),
        ("is_method(\"BYE\")", "-1", 0),
        ("(is_method(\"BYE\"))", "-1", 0),
        ("is_method(\"BYE\") + 1", "1", 0),
        ("!is_method(\"BYE\")", "1", 0),
        ("is_method(\"BYE\") == -1", "0", 0),
        ("is_method(\"BYE\") == 0", "1", 0),
        ("route(RM5)", "-5", 0),
        ("route(RM5) && 1", "0", 0),
        ("route(R7) == 7", "0", 0),
        ("route(R7)", "7", 0),
        ("route($var(name))", "7", 0),
        ("route(\"$var(name)\")", "7", 0),
        ("route(\"NAMED\" + 1)", "11", 0),
        ("route($rU)", "-10", 1),
        ("($var(w) = 0)", "1", 0),
        ("($var(w) = \"abc\") + 1", "2", 0),
        ("\"a$rU\"", "a$rU", 0),
        ("'a\\n'", "a\\n", 0),
        ("selval($var(five) > 3, \"big\", \"small\")", "big", 0),
        ("selval($var(five) > 8, \"big\", $null)", "0", 0),
        ("@ruri.user", "bob", 0),
        ("$(rU{s.len}) + 1", "4", 0),
        ("$(ru{s.substr,4,3}{s.len})", "3", 0),
        ("$(rm{s.tolower})", "options", 0),
        ("$(tt{s.len})", "0", 0),
        ("$(ru{s.substr,$var(five),3})", "ob@", 0),
        ("$null", "0", 0),
    ];
    for (expression, expected, complaint_count) in rows {
        let (_, host) = evaluated(&format!("$var(result) = {expression};\nxlog(\"$var(result)\");"));
        assert_eq!(String::from_utf8_lossy(&host.log), *expected, "{expression}");
        assert_eq!(host.complaints.len(), *complaint_count, "{expression}: {:?}", host.complaints);
    }
}

#[test]
fn conditions_hold_above_zero() {
    let rows = [
        ("$var(five)", true, true),
        ("$var(zero)", false, false),
        ("$var(neg)", false, true),
        ("$var(s5)", true, true),
        ("$var(abc)", false, false),
        ("$avp(u)", false, false),
        ("is_method(\"OPTIONS\")", true, true),
        ("is_method(\"BYE\")", false, true),
        ("route(RM5)", false, true),
        ("($var(w) = 0)", true, true),
        ("5 / $var(zero) == 0", false, false),
        ("!(5 / $var(zero))", false, false),
        ("$rm =~ $var(bad)", false, false),
    ];
    for (condition, expected, expected_raw) in rows {
        let text = format!(
            "request_route {{ $var(five) = 5; $var(neg) = -3; $var(s5) = \"5\"; $var(abc) = \"abc\"; $var(bad) = \"(\";\n\
             if ({condition}) xlog(\"yes\"); else xlog(\"no\"); }}\nroute[RM5] {{ return -5; }}"
        );
        let said = |holds: bool| if holds { "yes" } else { "no" };
        assert_eq!(String::from_utf8_lossy(&run(&text).1.log), said(expected), "{condition}");
        let limits = RunLimits { return_mode: ReturnMode::Raw, ..RunLimits::default() };
        let log = run_within(&text, limits).1.log;
        assert_eq!(String::from_utf8_lossy(&log), said(expected_raw), "{condition}, raw");
    }
}

#[test]
fn a_route_that_falls_off_its_end_has_the_value_of_its_last_statement() {
    let rows = [
        ("SW", 0),
        ("SWN", 1),
        ("SWF", -1),
        ("SWERR", -1),
        ("WH", 0),
        ("WHN", -1),
        ("WH0", 1),
        ("WHERR", 1),
        ("WLIM", -1),
        ("IFF", 1),
        ("IFM", 1),
        ("IFB", -1),
        ("IFERR", 1),
        ("AS", 1),
        ("ASE", -1),
        ("ASF", 1),
        ("RET", 1),
        ("RETE", -1),
        ("EMPTY", 1),
    ];
    for (route, expected) in rows {
        let (verdict, host) = evaluated(&format!(
            "$var(r) = route({route}); xlog(\"$var(r) $rc\"); $avp(x) = 1; route({route});"
        ));
        assert_eq!(String::from_utf8_lossy(&host.log), format!("{expected} {expected}"), "{route}");
        assert_eq!(verdict.code, expected, "{route} as the last statement");
        assert!(!verdict.exited && !verdict.failed && !verdict.dropped, "{route}");
    }
}

#[test]
fn statements_do_what_they_say() {
    // Body, what it logs.
    let rows: &[(&str, &str)] = &[
        (
            "switch ($var(five)) { case 5: xlog(\"5\"); case 6: xlog(\"6\"); break; case 7: xlog(\"7\"); }",
            "56",
        ),
        ("switch ($var(s5)) { case 5: xlog(\"5\"); break; default: xlog(\"d\"); }", "5"),
        ("switch ($var(five)) { case \"5\": xlog(\"5\"); break; default: xlog(\"d\"); }", "5"),
        ("switch ($avp(u)) { case 0: xlog(\"0\"); break; default: xlog(\"d\"); }", "0"),
        ("switch ($avp(u)) { case \"\": xlog(\"e\"); break; default: xlog(\"d\"); }", "e"),
        ("switch ($var(abc)) { case 0: xlog(\"0\"); break; default: xlog(\"d\"); }", "0"),
        ("switch ($rm) { case /\"^opt\": xlog(\"ci\"); break; case /\"^OPT\": xlog(\"cs\"); break; }", "cs"),
        (
            "switch ($rm) { case \"a\": xlog(\"a\"); break; default: xlog(\"d\"); case \"c\": xlog(\"c\"); }",
            "dc",
        ),
        ("switch (5 / $var(zero)) { case 0: xlog(\"0\"); break; default: xlog(\"d\"); } xlog(\".\");", "d."),
        ("switch ($rm) { case \"a\": case \"OPTIONS\": xlog(\"o\"); case \"z\": } xlog(\".\");", "o."),
        ("switch (route(R7)) { case 1: xlog(\"1\"); break; case 7: xlog(\"7\"); }", "1"),
        (
            "$var(i) = 0; while ($var(i) < 5) { $var(i) = $var(i) + 1; if ($var(i) == 3) { break; } xlog(\"$var(i)\"); } xlog(\".\");",
            "12.",
        ),
        (
            "$var(i) = 0; while (1) { switch ($var(i)) { case 2: xlog(\"b\"); break; default: xlog(\"d\"); } $var(i) = $var(i) + 1; if ($var(i) > 3) break; }",
            "ddbd",
        ),
        ("$var(i) = 0; while ($var(i) < 100) { $var(i) = $var(i) + 1; } xlog(\"$var(i)\");", "100"),
        ("$var(i) = 0; while (1) { $var(i) = $var(i) + 1; } xlog(\"$var(i)\");", "100"),
        (
            "if ($var(zero)) xlog(\"a\"); else if ($var(five) == 4) xlog(\"b\"); else if ($var(five) == 5) { xlog(\"c\"); } else xlog(\"d\"); xlog(\".\");",
            "c.",
        ),
        ("$var(r) = 88; $var(r) = 5 / $var(zero); xlog(\"$var(r) $rc\");", "88 0"),
        ("$ru = \"x\"; xlog(\"went on\");", "went on"),
        (
            "$avp(a) = 1; $avp(a) = \"two\"; xlog(\"$avp(a) $(avp(a)[1])\"); $avp(a) = $null; xlog(\" $avp(a)\");",
            "two 1 1",
        ),
        ("$avp(a) = 1; $avp(a) = 2; $(avp(a)[*]) = $null; xlog(\"$avp(a)\");", "<null>"),
        ("$var(i) = 1; $avp(a) = 1; $avp(a) = 2; xlog(\"$(avp(a)[$var(i)])\");", "1"),
        ("$store($rU) = \"here\"; xlog(\"$store(bob) $store($rU) $store($ci)\");", "here here <null>"),
        ("$store(\"\") = 1; xlog(\"[$tt] $$ 100% [$null]\");", "[<null>] $ 100% [<null>]"),
        ("is_method(\"BYE\"); xlog(\"$rc\"); is_method(\"OPTIONS\"); xlog(\"$retcode $?\");", "-11 1"),
        (
            "code(\"7\"); xlog(\"$rc\"); code(\"$var(s5)\"); xlog(\"$rc\"); code($var(five) + 1); xlog(\"$rc\");",
            "756",
        ),
        ("if (code($var(abc))) xlog(\"y\"); else xlog(\"n\");", "n"),
        ("increment(\"$var(five)\"); increment($var(five)); xlog(\"$var(five)\");", "7"),
        ("if (pv_isset(\"$avp(u)\")) xlog(\"y\"); else xlog(\"n\"); if (pv_isset($rU)) xlog(\"y\");", "ny"),
        ("xlog($rU); xlog(\"a\" + $rU); xlog(5); xlog($avp(u)); xlog('$rU\\n');", "bobabob5bob\\n"),
        (
            "shown(\"$var(five)\"); shown($avp(u), \"a$rU\");",
            "[Value(Integer(5))][Value(Null), Value(Text([97, 98, 111, 98]))]",
        ),
        (
            "if (sworker_task(\"registrations\")) { drop; }",
            "[Prepared(1, [114, 101, 103, 105, 115, 116, 114, 97, 116, 105, 111, 110, 115])]",
        ),
        ("$var(i) = 0; route(REC); xlog(\"$var(i) $rc\");", "255 -1"),
        ("t_on_failure(\"F\"); t_on_failure(\"0\"); xlog(\"ok\");", "ok"),
    ];
    for (body, expected) in rows {
        let (_, host) = evaluated(body);
        assert_eq!(String::from_utf8_lossy(&host.log), *expected, "{body}\n{:?}", host.complaints);
    }
}

#[test]
fn a_run_ends_as_its_script_says() {
    let ended = |code| Verdict { code, dropped: false, exited: false, failed: false };
    let exited = |code| Verdict { exited: true, ..ended(code) };
    let dropped = |code| Verdict { dropped: true, ..ended(code) };
    let rows = [
        ("exit;", exited(1)),
        ("exit(5);", exited(5)),
        ("drop;", dropped(0)),
        ("drop(3);", dropped(3)),
        ("return;", ended(1)),
        ("return 0;", exited(0)),
        ("return -1;", ended(-1)),
        ("return (1 == 1);", ended(1)),
        ("return is_method(\"BYE\");", exited(0)),
        ("code(0); xlog(\"no\");", exited(0)),
        ("if (code(0)) xlog(\"no\"); xlog(\"no\");", exited(0)),
        ("route(EXIT); xlog(\"no\");", exited(1)),
        ("if (route(DROP)) xlog(\"no\"); xlog(\"no\");", dropped(0)),
        ("route(ZERO); xlog(\"no\");", exited(0)),
        ("is_method(\"BYE\");", ended(-1)),
        ("xlog(\"\");", ended(1)),
    ];
    for (body, expected) in rows {
        let text = format!(
            "request_route {{ {body} }}\nroute[EXIT] {{ exit; }}\nroute[DROP] {{ while (1) {{ drop; }} }}\nroute[ZERO] {{ return 0; }}"
        );
        let (verdict, host) = run(&text);
        assert_eq!(verdict, expected, "{body}");
        assert_eq!(host.log, b"", "{body}");
    }
}

#[test]
fn raw_return_values_are_passed_on() {
    let text = "request_route { if (route(M2) == -2) xlog(\"same\"); route(ZERO); xlog(\" on\"); } route[M2] { return -2; } route[ZERO] { return 0; }";
    let (verdict, host) =
        run_within(text, RunLimits { return_mode: ReturnMode::Raw, ..RunLimits::default() });
    assert_eq!(String::from_utf8_lossy(&host.log), "same on");
    assert!(!verdict.exited);
}

#[test]
fn defines_are_variables_too() {
    let text = "#!define A 7\n#!define S \"text\"\n#!define E\nrequest_route {\n\
                xlog(\"$def(A) $defn(A) $def(S) $defs(S) [$def(E)] $def(NONE) $defn(NONE)\");\n\
                $var(r) = $def(A) + 1; xlog(\" $var(r)\"); $var(r) = $defn(A) + 1; xlog(\" $var(r)\"); }";
    assert_eq!(String::from_utf8_lossy(&run(text).1.log), "7 7 \"text\" text [] <null> 0 71 8");
}

// ---- limits ---------------------------------------------------------------------------------------------------------

#[test]
fn nothing_runs_without_end() {
    let rows = [
        // Two to the power of 255 calls.
        (
            "route(A); } route[A] { route(A); route(A);",
            "t.cfg:1: Error: the script took more than 5000 steps and was stopped",
        ),
        (
            "while (1) { while (1) { while (1) { $var(x) = 1; } } }",
            "t.cfg:1: Error: the script took more than 5000 steps and was stopped",
        ),
    ];
    for (body, expected) in rows {
        let (verdict, host) = run_within(
            &format!("request_route {{ {body} }}"),
            RunLimits { steps: 5000, ..RunLimits::default() },
        );
        assert!(verdict.failed, "{body}");
        assert_eq!(host.complaints.last().map(String::as_str), Some(expected), "{body}");
    }
}

#[test]
fn text_does_not_grow_without_end() {
    let text = "request_route { $var(t) = \"xxxxxxxxxxxxxxxx\"; while ($var(i) < 90) {\n$var(i) = $var(i) + 1;\n$var(t) = $var(t) + $var(t); } xlog(\"$(var(t){s.len})\"); }";
    let (_, host) = run_within(text, RunLimits { text_size: 1000, ..RunLimits::default() });
    assert_eq!(String::from_utf8_lossy(&host.log), "256");
    assert_eq!(host.complaints[0], "t.cfg:3: Error: more than 1000 bytes of text in one statement");
}

#[test]
fn deep_and_long_scripts_are_bounded() {
    // A long chain is no depth; depth is refused, not followed.
    let chain = (0..240).map(|number| format!("$var(x) == {number}")).collect::<Vec<_>>().join(" || ");
    let (program, said) =
        load("t.cfg", &format!("request_route {{ if ({chain}) exit; }}"), &mut TestCatalog::default());
    assert!(program.is_some(), "{said}");
    let deep = format!("request_route {{ $var(x) = {}1{}; }}", "(".repeat(5000), ")".repeat(5000));
    let (program, said) = load("t.cfg", &deep, &mut TestCatalog::default());
    assert!(program.is_none());
    assert!(said.contains("nested"), "{said}");
}

#[test]
fn a_tree_that_is_too_deep_is_refused_by_the_checker_itself() {
    let mut expression = Expression { kind: ExpressionKind::Number(1), span: Span::default() };
    for _ in 0..1000 {
        let kind = ExpressionKind::Unary(UnaryOperator::Not, Box::new(expression));
        expression = Expression { kind, span: Span::default() };
    }
    let mut statement = Statement { kind: StatementKind::Return(Some(expression)), span: Span::default() };
    for _ in 0..100 {
        statement = Statement { kind: StatementKind::Block(vec![statement]), span: Span::default() };
    }
    let route = Route { kind: RouteKind::Request, name: None, body: vec![statement], end: Span::default() };
    let item = Item { kind: ItemKind::Route(route), span: Span::default() };
    let ast = Ast { items: vec![item], defines: Vec::new() };
    let Checked { program, diagnostics } = check::check(&ast, &SourceMap::new(), &mut TestCatalog::default());
    assert!(program.is_none());
    assert_eq!(diagnostics[0].message, "this is nested more than 200 levels deep");
    assert_eq!(diagnostics.len(), 1);
}

#[test]
fn complaints_name_the_line() {
    let (_, host) =
        run("request_route {\n  $var(x) = 1;\n  $var(x) =\n    5 / $var(zero);\n  route($rU);\n}");
    let expected = ["t.cfg:3: Error: division by zero", "t.cfg:5: Error: there is no route \"bob\""];
    assert_eq!(host.complaints, expected);
}

/// Pieces that scripts are made of, to be put together without sense.
const SOUP: [&str; 58] = [
    "if",
    "(",
    ")",
    "{",
    "}",
    "else",
    "while",
    "switch",
    "case",
    "default:",
    ":",
    ";",
    ";",
    ";",
    "break;",
    "return",
    "exit;",
    "drop;",
    "$var(x)",
    "$var(y)",
    "$avp(a)",
    "$(avp(a)[1])",
    "$(avp(a)[*])",
    "$null",
    "$rc",
    "$rU",
    "$tt",
    "$(rU{s.len})",
    "$(ru{s.substr,$var(x),2})",
    "$store($rU)",
    "=",
    "=",
    "==",
    "!=",
    "=~",
    "+",
    "-",
    "*",
    "/",
    "mod",
    "&&",
    "||",
    "!",
    "~",
    "<",
    ">",
    "<<",
    "\"a\"",
    "\"\"",
    "\"$var(x) $rU\"",
    "1",
    "0",
    "-3",
    "is_method(\"BYE\")",
    "route(A)",
    "xlog(\"$var(x)\");",
    "code($var(x));",
    "myself",
];

/// Whole statements, so that nonsense is not only a syntax error.
const STATEMENTS: [&str; 14] = [
    "$var(x) = $var(x) + 1;",
    "$var(y) = $var(y) + \"ab\" + $rU;",
    "$avp(a) = $var(x);",
    "$(avp(a)[*]) = $null;",
    "if ($var(x) / $var(z) > 1) {",
    "} else {",
    "while ($var(x) < 7) {",
    "switch ($var(x)) { case 1: case 2:",
    "default:",
    "break;",
    "}",
    "route(A);",
    "$store($var(x)) = $var(y) - (route(A) && is_method(\"BYE\"));",
    "if (selval($var(x) mod 2, $rU =~ $var(y), code($var(x))) || !route($rU)) return $var(x);",
];

fn survive(body: &str) {
    let text = format!("request_route {{ {body} }}\nroute[A] {{ $var(x) = $var(x) + 1; {body} }}");
    if let (Some(program), _) = load("soup.cfg", &text, &mut TestCatalog::default()) {
        let limits = RunLimits { steps: 500, text_size: 500, ..RunLimits::default() };
        Interpreter::new(limits).run(&program, request_route(&program), &mut TestHost::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_script_makes_the_server_panic(pieces in prop::collection::vec(prop::sample::select(&SOUP[..]), 0..40)) {
        survive(&pieces.join(" "));
    }

    #[test]
    fn no_program_makes_the_server_panic(statements in prop::collection::vec(prop::sample::select(&STATEMENTS[..]), 0..25)) {
        // Braces are evened out, so that most of these run.
        let mut body = String::new();
        let mut depth = 0usize;
        for statement in statements {
            let (opens, closes) = (statement.matches('{').count(), statement.matches('}').count());
            // Each piece closes before it opens.
            if closes > depth {
                continue;
            }
            depth = depth - closes + opens;
            body.push_str(statement);
        }
        body.push_str(&"}".repeat(depth));
        survive(&body);
    }
}

// ---- templates outside of routes --------------------------------------------------------------------------------------

#[test]
fn templates_stand_alone() {
    let mut catalog = TestCatalog::default();
    let template = check::compile_template(b"{$rm $(rU{s.len}) $tt} ", &mut catalog).unwrap();
    let mut out = b"> ".to_vec();
    let mut interpreter = Interpreter::new(RunLimits::default());
    interpreter.evaluate_template(&template, &mut TestHost::default(), &mut out);
    assert_eq!(String::from_utf8_lossy(&out), "> {OPTIONS 3 <null>} ");
    let mistakes = check::compile_template(b"$rm $nope", &mut catalog).unwrap_err();
    assert_eq!(mistakes[0].message, "unknown variable $nope");
}
