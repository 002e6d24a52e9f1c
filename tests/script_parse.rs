//! Which scripts are read, and what is said about those that are not.
//!
//! Given a script, when it is parsed, then it is accepted without a remark, or there is exactly one error, and it says
//! what is wrong. The rows follow what Kamailio accepts and rejects; where we accept more, the row says so.

use proptest::prelude::*;
use std::path::{Path, PathBuf};
use sworker::script::ast::{Ast, ItemKind};
use sworker::script::diagnostic::{self, Diagnostic};
use sworker::script::parser::{self, ParseOptions};
use sworker::script::print::print;
use sworker::script::source::{LoadError, LoadedFile, Loader, SourceMap};

fn parse(text: &str) -> (Ast, Vec<Diagnostic>, SourceMap) {
    let mut source = SourceMap::new();
    let root = source.add_file("a.cfg", text);
    let (ast, diagnostics) = parser::parse(&mut source, root, &ParseOptions::default());
    (ast, diagnostics, source)
}

fn accepted(text: &str) {
    let (ast, diagnostics, source) = parse(text);
    assert!(diagnostics.is_empty(), "{text}\n{}", diagnostic::render_all(&diagnostics, &source));
    prints_to_the_same_tree(&ast, text);
}

/// What is printed parses without a remark, and to the same tree but for places.
fn prints_to_the_same_tree(ast: &Ast, text: &str) {
    let printed = print(ast);
    let (again, diagnostics, source) = parse(&printed);
    assert!(diagnostics.is_empty(), "{text}\n{printed}\n{}", diagnostic::render_all(&diagnostics, &source));
    assert_eq!(without_places(&again), without_places(ast), "{text}\n{printed}");
    assert_eq!(print(&again), printed, "{text}");
}

/// The tree as text, places left out.
fn without_places(ast: &Ast) -> String {
    let tree = format!("{ast:#?}");
    let mut kept = String::new();
    let mut lines = tree.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().ends_with("Span {") {
            lines.by_ref().take_while(|line| line.trim() != "},").for_each(drop);
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Exactly one error, at this line and column, with this message.
fn rejected(text: &str, place: &str, message: &str) {
    let (_, diagnostics, source) = parse(text);
    let rendered = diagnostic::render_all(&diagnostics, &source);
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    assert_eq!(errors, 1, "{text}\n{rendered}");
    assert!(rendered.contains(&format!("a.cfg:{place}: error: {message}")), "{text}\n{rendered}");
}

fn in_route(statements: &str) -> String {
    format!("request_route {{\n{statements}\n}}\n")
}

#[test]
fn statements_are_accepted() {
    for statements in ACCEPTED_STATEMENTS {
        accepted(&in_route(statements));
    }
}

#[test]
fn top_level_is_accepted() {
    for text in ACCEPTED_TOP_LEVEL {
        accepted(&format!("{text}\nrequest_route {{ exit; }}\n"));
    }
}

#[test]
fn wrong_statements_are_rejected_once() {
    for (statements, column, message) in REJECTED_STATEMENTS {
        rejected(&in_route(statements), &format!("2:{column}"), message);
    }
}

#[test]
fn wrong_top_level_is_rejected_once() {
    for (text, place, message) in REJECTED_TOP_LEVEL {
        rejected(&format!("{text}\nrequest_route {{ exit; }}\n"), place, message);
    }
}

const ACCEPTED_STATEMENTS: &[&str] = &[
    "$(avp(x)[*]) = $null;",
    "if ($var(x) = 1) exit;",
    "if (($x = 1)) exit;",
    "force_rport; add_rport;",
    "revert_uri; set_forward_no_connect; set_reply_close; force_tcp_alias;",
    "break;",
    "break();",
    "drop();",
    "drop 1;",
    "exit(0);",
    "return(1)+2;",
    "return 1+2;",
    "return -1;",
    "return $var(x)+2;",
    "exit;;",
    "if (src_ip == 10.0.0.0 / 8) exit;",
    "if (src_ip == ::1) exit;",
    "if (src_ip == [::1]) exit;",
    "if (src_ip == 2001:db8::1) exit;",
    "if (src_ip == 2001:db8::/32) exit;",
    "if (src_ip == fe80::1) exit;",
    "if (src_ip == 10.0.0.0/255.0.0.0) exit;",
    "if (src_ip == \"10.0.0.0/8\") exit;",
    "if (src_ip == abc.example.com) exit;",
    "while $var(x) { break; }",
    "if (1) { } else { exit; }",
    "{ }",
    ";",
    "{ exit; };",
    "switch($var(x)) { case 1: case 2: break; default: exit; }",
    "switch($var(x)) { case 1+2: break; }",
    "switch($var(x)) { case -1: break; }",
    "switch($var(x)) { case (1): break; }",
    "switch($var(x)) { case 1:xlog(\"a\"); }",
    "switch $var(x) { case 1: break; }",
    "switch($var(x)) { }",
    "switch($rm) { case \"A\" \"B\": break; case /\"x\": exit; case /^a(b|c)$/: drop; }",
    "forward(1.2.3.4);",
    "forward(1.2.3.4:5060);",
    "forward(1.2.3.4,5060);",
    "forward(host.example.com, 5060);",
    "forward(my-host.example.com, 5060);",
    "forward(\"host\");",
    "forward(uri:host, uri:port);",
    "forward(uri:host);",
    "forward();",
    "forward_udp(1.2.3.4, 5060);",
    "force_send_socket(udp:1.2.3.4:5060);",
    "force_send_socket(udp:[::1]:5060);",
    "force_send_socket(1.2.3.4);",
    "set_advertised_address(\"h\"); set_advertised_address(1.2.3.4); set_advertised_port(5060);",
    "udp_mtu_try_proto(TCP);",
    "log(L_ERR, \"x\"); log(1, \"x\"); log(\"x\");",
    "setflag(1); setflag(NAMED);",
    "route(\"a\" + $rU);",
    "route(\"with-dash\");",
    "route(A);",
    "route(1);",
    "route($var(x));",
    "seturi(\"sip:a@b\"); setport(5060); strip(1); prefix(\"1\");",
    "exec(\"x\"); error(\"a\",\"b\");",
    "remove_branch(1); remove_branch();",
    "if (uri == myself) exit; if (myself == uri) exit;",
    "if (method == INVITE) exit; if (method==\"INVITE\") exit;",
    "if (proto==UDP) exit; if (proto==WSS) exit; if (af==INET6) exit;",
    "if (msg:len >= max_len) exit; if (msg:len > 100) exit;",
    "if (@src.ip == \"x\") exit;",
    "if (%from == \"x\") exit;",
    "if (@msg.header[\"X\"] == \"x\" || @contact.uri.host == \"a\") exit; if (@via[-1].host==\"x\") exit;",
    "if (!$var(x) == 5) exit;",
    "if (!!$var(x)) exit;",
    "if (not $var(x) and $var(y) or 1) exit;",
    "$var(x) = (int)$rU + (str) 5; $var(y) = ( int ) $rU;",
    "$var(x) = strlen($rU); $var(x)=strempty($rU); if (defined $rU && 1) exit;",
    "$var(x) = defined($rU);",
    "$var(x) = -$var(y); $var(x) = ~5; $var(x) = 1 << 2 >> 1; $var(x) = 5 mod 2; $var(x) = 5 - -2;",
    "$var(x) = 1 ^ 2 & 3 | 4;",
    "$(var(x)) = 5;",
    "if ($? == 1) exit; if ($rc) exit; if ($retcode<0) exit;",
    "$var(x) = 'a' \"b\";",
    "$var(x) = \"a\nb\";",
    "$var(x) = 0x1F; $var(x) = 017; $var(x)=101b;",
    "if (1) exit; else if (2) exit; else exit;",
    "xlog( \"a\" \"b\" );",
    "if ((((1)))) exit;",
    "if ($rU =~ \"x\" and $rU != \"y\") exit;",
    "if ($rU==$null) exit;",
    "if $rU eq \"x\" exit;",
    "if ($var(a) ieq 5 || $var(b) ine 5 || $rU ne \"x\") exit;",
    "$xavp(a[0]=>b) = 1; $xavp(a=>b)=2; $sht(t=>$ci) = 3;",
    "$var(x) = selval($rU, 2, 3); f(selval($rU, 2, strlen($rU)));",
    "$var( x ) = 1;",
    "$var(x) = $(rU{s.len}); $var(x) = $(rU{s.substr,0,2}{s.len}); $var(x) = $(rU{s.select,1,,});",
    "$var(x) = $avp(a$b);",
    "$var(r) = f($rU, 1 + 2, \"x\" + $fU);",
    "#!ifdef NOPE\nthis is :=\n#!else\nexit;\n#!endif",
];

const ACCEPTED_TOP_LEVEL: &[&str] = &[
    "#!KAMAILIO",
    "listen=udp:127.0.0.1:5060",
    "listen=127.0.0.1 listen=udp:127.0.0.1:5062",
    "listen=udp:127.0.0.1 udp:127.0.0.2",
    "listen=(127.0.0.1, 127.0.0.2)",
    "listen=udp:(127.0.0.1, 127.0.0.2):5060",
    "listen=\"127.0.0.1\"",
    "listen=udp:lo:5060",
    "listen=eth0",
    "listen=udp:[::1]:5060 name \"x\"",
    "listen=udp:127.0.0.1:5060 advertise 1.2.3.4:5060 name \"foo\"",
    "listen=udp:127.0.0.1:5060 advertise udp:1.2.3.4",
    "listen=udp:127.0.0.1:5060 advertise \"1.2.3.4\":5060 virtual",
    "listen=udp:127.0.0.1:5060 name \"foo\" advertise 1.2.3.4",
    "#!define MY 10.0.0.1\nlisten=udp:MY:5060",
    "socket = { bind = udp:127.0.0.1:5060-5070; name = \"a\"; }",
    "socket = {\n bind = udp:127.0.0.1:5060\n workers = 3\n virtual = yes\n}",
    "alias=a.example.com b.example.com\ndebug=1",
    "alias=\"a.example.com\" \"b.example.com:5060\"",
    "alias=a.example.com:5060",
    "alias=udp:a.example.com:5060",
    "alias=a-b.example.com",
    "alias=(a.b, c.d)",
    "domain=3cx.example.com",
    "port=5060",
    "debug=-1;",
    "debug = - 1",
    "log_facility=LOG_LOCAL0",
    "fork=yes",
    "user=foo",
    "user=\"foo\"",
    "mpath=\"/x\"",
    "mpath \"/x\"",
    "loadpath=\"/usr/lib/\"",
    "loadpath(\"/usr/lib\")",
    "loadmodule(\"sl.so\")",
    "loadmodule(\"sl.so\", \"global\")",
    "loadmodule \"sl\" \".so\"",
    "loadmodulex \"$def(X)\"",
    "modparam(\"pv\", \"varset\", \"a\" \"=i:1\")",
    "modparam(\"pv|sl\", 'varset', \"a=i:1\");",
    "modparam(\"xlog\", \"buf_size\", -4096)",
    "modparam(\"xlog\", \"buf_size\", yes)",
    "modparamx(\"xlog\", \"buf_size\", \"$def(X)\")",
    "cfgengine \"native\"",
    "cfgengine=\"native\"",
    "flags a:1, b",
    "flags a, b;",
    "avpflags a, b",
    "coreparam(\"iuid\", 1)",
    "foo.bar = 5 desc \"x\"",
    "foo.bar = \"x\"",
    "foo.bar = 5",
    "foo.bar = yes",
    "tos=IPTOS_LOWDELAY",
    "tcp_source_ipv4=1.2.3.4",
    "advertised_address=1.2.3.4",
    "advertised_address=foo.example.com",
    ";;;",
    "debug=1 debug=2",
    "failure_route { exit; }",
    "branch_route { exit; }",
    "onsend_route { exit; }",
    "reply_route { exit; }",
    "onreply_route { exit; }",
    "onreply_route[X] { exit; }",
    "onreply_route[1] { exit; }",
    "failure_route[\"a-b\"] { exit; }",
    "route[A] { }",
    "route[A] { exit; };",
    "route[A] { ; }",
    "event_route[core:pre-routing] { exit; }",
    "event_route [core:pre-routing] { exit; }",
    "event_route[ core:pre-routing ] { exit; }",
    "event_route[\"core:pre-routing\"] { exit; }",
    "event_route[a:b:c-d_1] { exit; }",
    "#!define FOO 1\nroute[FOO] { exit; }\nevent_route[FOO:b] { exit; }",
    "#!define X 5 # foo\ndebug=X",
    "#!define X Y\n#!define Y 5\ndebug=X",
    "#!trydef X 5\n#!trydefine X 6\n#!redefine X 7\n#!redef X 8\ndebug=X\n#!undef X\n#!undefine X",
    "#!undef NOPE",
    "#!redefine NOPE 5",
    "  #!define X 5\ndebug=X",
    "debug=1 #!define X 5\ndebug=X",
    "!!define X 5\ndebug=X",
    "#!ifdef X\nfoo\n#!ifdef Y\n#!else\nbar\n#!endif\n#!endif",
    "#!ifndef X\n#!else\nfoo\n#!endif",
    "#!ifdef MOD_sl\nfoo\n#!endif\nloadmodule \"/x/sl.so\"\n#!ifndef MOD_sl\nfoo\n#!endif",
    "#!ifndef KAMAILIO_6\nfoo\n#!endif\n#!ifndef OS_NAME\nfoo\n#!endif",
    "#!ifexp KAMAILIO_VERSION < 6000000\nfoo\n#!endif",
    "#!defexp X 5+5\ndebug=X",
    "#!defexps X \"a\" + \"b\"\nuser=X",
    "#!trydefenv NOPENOPE",
    "#!foo",
    "#!subst \"/a/b/\"",
    "#!substdef \"!XX!5!\"\ndebug=XX",
    "#!substdefs \"!XX!5!g\"\nuser=XX",
    "import_file \"/nope\"",
    "#!import_file \"/nope\"",
    "/* a /* b */ c */ debug=1",
];

const REJECTED_STATEMENTS: &[(&str, u32, &str)] = &[
    ("if ($rU !~ \"x\") exit;", 9, "there is no operator `!~`"),
    ("$var(x) := 1;", 9, "there is no operator `:=`"),
    ("$var(x) += 1;", 9, "there is no operator `+=`"),
    ("$var(x)++;", 8, "there is no operator `++`"),
    ("$var(x)--;", 8, "there is no operator `--`"),
    ("$var(x) = 1 ? 2 : 3;", 13, "there is no operator `?:`"),
    ("$var(x) = 5 % 3;", 13, "there is no operator `%`"),
    ("if ($x === 1) { exit; }", 8, "there is no operator `===`"),
    ("$var(x) = \"a\" . \"b\";", 15, "there is no operator `.`"),
    ("continue;", 1, "there is no `continue`"),
    ("for ($var(i) = 0; $var(i) < 5; $var(i) = $var(i) + 1) { exit; }", 1, "there is no `for`"),
    ("if (1) { exit; } elsif (2) { exit; }", 18, "there is no `elsif`"),
    ("exit\nexit;", 5, "a `;` is missing"),
    ("xlog(\"a\")\nxlog(\"b\");", 10, "a `;` is missing"),
    ("exit exit;", 5, "a `;` is missing"),
    ("$var(x) = 1", 12, "a `;` is missing"),
    ("xlog(\"a\"", 5, "this `(` is never closed"),
    ("xlog(\"a\";", 5, "this `(` is never closed"),
    ("if (f(\"a\") { exit; }", 4, "this `(` is never closed"),
    ("xlog(\"a));\nexit;", 6, "this text is never closed"),
    ("xlog(\"a\"));", 10, "this `)` closes nothing"),
    ("if ($x)) { exit; }", 8, "this `)` closes nothing"),
    ("xlog(\"a\",);", 9, "nothing follows this `,`"),
    ("xlog(\"a\" $rU);", 10, "`$rU` is not allowed here"),
    ("f(g(1));", 3, "`g` cannot be called inside the arguments of another function"),
    ("route(A-B);", 8, "a name with `-` must be in quotes"),
    ("else exit;", 1, "this `else` has no `if`"),
    ("if (1) { exit; }; else { exit; }", 19, "this `else` has no `if`"),
    ("if (1) then exit;", 8, "there is no `then`"),
    ("if (1)", 7, "nothing follows this `if`"),
    ("case 1: exit;", 1, "`case` is outside a `switch`"),
    ("switch ($x) { exit; case 1: break; }", 15, "this is before the first `case`"),
    ("switch ($x) { case 1 break; }", 21, "`:` is expected before `break`"),
    ("$var(x);", 1, "this does nothing"),
    ("$var(x) == 1;", 1, "this does nothing"),
    ("1;", 1, "this does nothing"),
    ("\"abc\";", 1, "this does nothing"),
    ("method;", 1, "`method` alone does nothing"),
    ("x = 1;", 1, "`x` is not a variable"),
    ("xlog \"abc\";", 1, "the arguments of `xlog` are written in parentheses"),
    ("route[X];", 1, "`route[…]` begins a block"),
    ("$avp(x)[0] = 5;", 8, "an index needs the long form"),
    ("$var(x) = $rU{s.len};", 14, "a transformation needs the long form"),
    ("$var(x) = $(rU[a]);", 15, "this index cannot be read"),
    ("$var(x) = $(rU;", 12, "this `(` is never closed"),
    ("$var(x) = ;", 11, "a value is missing before `;`"),
    ("$var(x) = 08;", 11, "`08` is not a number"),
    ("$var(x) = 12abc;", 11, "`12abc` is not a number"),
    ("$var(x) = +5;", 11, "a value is missing before `+`"),
    ("if () exit;", 5, "there is nothing in these parentheses"),
    ("5 = $var(x);", 3, "only a variable can be assigned to"),
    ("§ exit;", 1, "`§` is not allowed outside quotes"),
];

const REJECTED_TOP_LEVEL: &[(&str, &str, &str)] = &[
    ("debug=1+1", "1:8", "`+` cannot follow the value"),
    ("debug=", "1:7", "`debug` has no value"),
    ("debug = = 5", "1:9", "`=` is not a value"),
    ("loadmodule sl", "1:12", "the name of the module is missing before `sl`"),
    ("modparam(\"xlog\", \"buf_size\", 4096+1)", "1:34", "`+` cannot follow the value"),
    ("modparam(\"xlog\" \"buf_size\", 4096)", "1:29", "the name of the parameter is missing before `4096`"),
    ("modparam(\"xlog\", \"buf_size\", 4096", "1:9", "this `(` is never closed"),
    ("modparam \"xlog\" \"buf_size\" 4096", "1:10", "`(` is expected"),
    ("flags a:1 b:2", "1:11", "`b` begins nothing"),
    ("reply_route[X] { exit; }", "1:12", "`reply_route` has no name"),
    ("request_route[X] { exit; }", "1:14", "`request_route` has no name"),
    ("failure_route[a-b] { exit; }", "1:16", "a name with `-` must be in quotes"),
    ("route[A] exit;", "1:10", "the body of the route is missing before `exit`"),
    ("event_route[core] { exit; }", "1:13", "`core` is not an event name"),
    ("event_route { exit; }", "1:1", "an event route needs a name"),
    ("reqest_route { exit; }", "1:1", "there is no kind of route `reqest_route`"),
    ("xlog(\"a\");", "1:1", "`xlog` is outside a route"),
    ("route[A] { exit; } }", "1:20", "this `}` closes nothing"),
    ("route[A] { if (1) { exit; }\nroute[B] { exit; }", "1:10", "this `{` is never closed"),
    ("route[A] {\nif (1) {\nexit;\n}", "1:10", "this `{` is never closed"),
    ("route[A] {\n  }\n  exit;\n  if (1) { exit; }\n}\n", "3:3", "`exit` is outside a route"),
    ("#!define X 5\n#!define X 6", "2:10", "`X` is already defined"),
    ("#!define X\nroute[X] { exit; }", "2:8", "`]` is not a route name"),
    ("#!define X X\nuser=X", "2:6", "the value of the define `X` contains itself"),
    ("#!define a-b 5", "1:10", "`-` cannot be part of the name of a define"),
    ("#!ifdef X\nfoo", "1:1", "different number of preprocessor directives: 1 more #!ifdef than #!endif"),
    ("#!endif", "1:1", "different number of preprocessor directives"),
    ("#!else", "1:1", "different number of preprocessor directives"),
    ("#!ifdef X\n#!else\n#!else\n#!endif", "3:1", "this condition has an `#!else` already"),
    ("#!ifdef\n#!endif", "1:1", "the name of a define is missing"),
    ("#!ifexp 1 +\n#!endif", "1:12", "a value is missing"),
    ("#!defenv NOPENOPE", "1:10", "the environment has no `NOPENOPE`"),
    ("#!subst \"/a/b\"", "1:9", "this substitution is not complete"),
    ("#!subst \"/a(/b/\"", "1:9", "this pattern cannot be read"),
    ("include_file \"/nope\"", "1:14", "there is no file \"/nope\""),
    ("/* a", "1:1", "this comment is never closed"),
];

#[test]
fn a_missing_brace_is_looked_for_where_the_indentation_changes() {
    let text = "route[A] {\n    if (1) {\n        if (2) {\n            f();\n    }\n}\nroute[B] { }\n";
    let (_, diagnostics, source) = parse(text);
    let rendered = diagnostic::render_all(&diagnostics, &source);
    assert_eq!(diagnostics.len(), 1, "{rendered}");
    assert!(
        rendered.contains("a.cfg:5:5: note: this `}` closes a `{` on a line further to the right"),
        "{rendered}"
    );
}

#[test]
fn a_tree_is_returned_in_spite_of_mistakes() {
    let (ast, diagnostics, _) =
        parse("route[A] { f( }\nroute[B] { g(); h(] ; i(); }\nlisten=\nroute[C] { exit }\n");
    assert_eq!(diagnostics.len(), 4, "{diagnostics:?}");
    let routes = ast.items.iter().filter(|item| matches!(item.kind, ItemKind::Route(_))).count();
    assert_eq!(routes, 3);
}

// Stock script.

/// The script that Debian's package installs, when it is there.
const STOCK_SCRIPT: &str = "/etc/kamailio/kamailio.cfg";

#[test]
fn the_stock_script_is_read_and_printed() {
    let Ok(text) = std::fs::read_to_string(STOCK_SCRIPT) else { return };
    let mut features: Vec<&str> = text
        .split(|byte: char| !byte.is_ascii_alphanumeric() && byte != '_')
        .filter(|word| word.starts_with("WITH_"))
        .collect();
    features.sort_unstable();
    features.dedup();
    assert!(features.len() > 10, "{features:?}");
    let each = features.iter().map(|feature| vec![*feature]);
    for defines in each.chain([Vec::new(), features.clone()]) {
        let mut options = ParseOptions::default();
        defines.iter().for_each(|define| options.define(define));
        let mut source = SourceMap::new();
        let root = source.add_file(STOCK_SCRIPT, text.as_str());
        let (ast, diagnostics) = parser::parse(&mut source, root, &options);
        let rendered = diagnostic::render_all(&diagnostics, &source);
        assert!(diagnostics.is_empty(), "{defines:?}\n{rendered}");
        if defines.len() != 1 {
            prints_to_the_same_tree(&ast, STOCK_SCRIPT);
        }
    }
}

// Includes.

/// Files by name.
struct Files(Vec<(&'static str, Vec<u8>)>);

impl Loader for Files {
    fn load(&self, name: &str, _: &str, size_max: usize) -> Result<LoadedFile, LoadError> {
        let (path, text) = self.0.iter().find(|(known, _)| *known == name).ok_or(LoadError::NotFound)?;
        if text.len() > size_max {
            return Err(LoadError::TooLarge);
        }
        Ok(LoadedFile { path: path.to_string(), text: text.clone(), is_foreign: false })
    }
}

fn parse_files(files: Vec<(&'static str, Vec<u8>)>, text: &str) -> (Ast, String) {
    let files = Files(files);
    let options = ParseOptions { loader: &files, ..ParseOptions::default() };
    let mut source = SourceMap::new();
    let root = source.add_file("a.cfg", text);
    let (ast, diagnostics) = parser::parse(&mut source, root, &options);
    (ast, diagnostic::render_all(&diagnostics, &source))
}

#[test]
fn included_files_are_part_of_the_script() {
    let files = vec![("b.cfg", b"f();\n#!define X 7\n".to_vec()), ("c.cfg", b"#!ifdef NOPE\n".to_vec())];
    let (ast, rendered) = parse_files(
        files,
        "route {\ninclude_file \"b.cfg\"\n$x = X;\n}\n#!include_file \"c.cfg\"\nthis is skipped\n#!endif\n",
    );
    assert_eq!(rendered, "");
    assert!(print(&ast).contains("    f();\n    $x = 7;\n"), "{}", print(&ast));
}

#[test]
fn an_included_file_does_not_go_on_with_the_word_before_it() {
    let files = vec![("b.cfg", b"request_route { exit; }".to_vec()), ("c.cfg", b"children=2".to_vec())];
    let text = "listen=udp:127.0.0.1:5098\ninclude_file \"b.cfg\"\ninclude_file \"c.cfg\"\ndebug=1\n";
    let (ast, rendered) = parse_files(files, text);
    assert_eq!((rendered.as_str(), ast.items.len()), ("", 4), "{}", print(&ast));
}

#[test]
fn a_mistake_in_an_included_file_says_how_it_came_here() {
    let files = vec![("b.cfg", b"#!define BAD 08\nf(BAD);\n".to_vec())];
    let (_, rendered) = parse_files(files, "route {\ninclude_file \"b.cfg\"\n}\n");
    let expected = "b.cfg:2:3: error: `08` is not a number\nf(BAD);\n  ^^^\n\
                    help: a leading 0 makes a number octal: only the digits 0 to 7\n\
                    b.cfg:1:10: note: in the value of `BAD`, defined here\n\
                    a.cfg:2:1: note: b.cfg is included here\n";
    assert_eq!(rendered, expected);
}

#[test]
fn includes_are_limited() {
    let itself = vec![("a.cfg", b"include_file \"a.cfg\"\n".to_vec())];
    let (_, rendered) = parse_files(itself, "include_file \"a.cfg\"\n");
    assert!(rendered.contains("files are included more than 16 levels deep"), "{rendered}");
    let large = vec![("b.cfg", vec![b' '; (8 << 20) + 1])];
    let (_, rendered) = parse_files(large, "include_file \"b.cfg\"\n");
    assert!(rendered.contains("\"b.cfg\" is larger than 8 MB"), "{rendered}");
    let many = vec![("b.cfg", vec![b' '; 6 << 20])];
    let (_, rendered) = parse_files(many, &"include_file \"b.cfg\"\n".repeat(4));
    assert!(rendered.contains("larger than 16 MB together"), "{rendered}");
}

#[test]
fn multiplying_defines_are_limited() {
    let mut text = String::from("#!define A0 x x\n");
    for level in 1..60 {
        text.push_str(&format!("#!define A{level} A{} A{}\n", level - 1, level - 1));
    }
    text.push_str("user=A59\n");
    let (_, diagnostics, source) = parse(&text);
    let rendered = diagnostic::render_all(&diagnostics, &source);
    assert_eq!(rendered.matches("too many replacements of defines").count(), 1, "{rendered}");
}

#[test]
fn the_environment_and_the_command_line_give_defines() {
    let mut options =
        ParseOptions { environment: vec![("HOME".into(), "/x".into())], ..ParseOptions::default() };
    options.define("A=5");
    options.define("B");
    let mut source = SourceMap::new();
    let text = "#!ifdef B\n#!defenvs HOME\n#!defenv N=HOME\nuser=HOME\ndebug=A\n#!endif\n";
    let root = source.add_file("a.cfg", text);
    let (ast, diagnostics) = parser::parse(&mut source, root, &options);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert!(print(&ast).starts_with("user = \"/x\"\ndebug = 5\n"), "{}", print(&ast));
    assert!(ast.defines.contains(&("N".to_string(), Some("/x".to_string()))), "{:?}", ast.defines);
}

#[test]
fn substitutions_change_texts() {
    let text = "#!subst \"/a(b+)/<\\1>/g\"\n#!substdef \"!HOST!example.com!g\"\nuser=\"abbcab\"\nalias=\"HOST\"\nalias=HOST\n";
    let (ast, diagnostics, _) = parse(text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert!(
        print(&ast).starts_with("user = \"<bb>c<b>\"\nalias = \"example.com\"\nalias = example.com\n"),
        "{}",
        print(&ast)
    );
}

// Limits.

#[test]
fn deep_and_long_scripts_are_refused_or_read_but_never_break() {
    let many = 20_000;
    for text in [
        in_route(&"{".repeat(many)),
        in_route(&format!("f({}", "(".repeat(many))),
        in_route(&format!("$x = {}1;", "!".repeat(many))),
        in_route(&format!("$x = 1{};", "+1".repeat(many))),
        in_route(&format!("$x = {};", "$x = ".repeat(many))),
        in_route(&"if (1) ".repeat(many)),
        in_route(&format!("if (1) exit; {}", "else if (1) exit; ".repeat(many))),
        in_route(&"else ".repeat(many)),
        in_route(&"for (;;) ".repeat(many)),
        in_route(&format!("$x = {};", "strlen(".repeat(many))),
        in_route(&format!("$x = {};", "$(x(".repeat(many))),
        in_route(&"switch (1) { case 1: ".repeat(many)),
        in_route(&"$x = \"a\n".repeat(many)),
        in_route(&"f('\n".repeat(many)),
        "/*".repeat(many),
        "$(a\n".repeat(many),
        "#!ifdef X\n".repeat(many),
        "}".repeat(many),
        "a.".repeat(many),
        "listen=".repeat(many),
        in_route(&"a:".repeat(many)),
        in_route(&format!("$x = {}", "1:".repeat(many))),
    ] {
        let (ast, _, _) = parse(&text);
        let _ = print(&ast);
    }
}

/// The work is linear: a script ten times as long takes about ten times as long, not a hundred times.
#[test]
fn a_long_script_is_read_quickly() {
    let line = "    if ($rU =~ \"^[0-9]+$\" && is_method(\"INVITE|ACK\")) { $var(x) = FLAG + 1; xlog(\"x $rU\\n\"); }\n";
    let text = format!("#!define FLAG 3\nrequest_route {{\n{}}}\n", line.repeat(10_000));
    let start = std::time::Instant::now();
    let (_, diagnostics, _) = parse(&text);
    let took = start.elapsed();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert!(took.as_secs() < 5, "{took:?}");
}

// Whatever comes.

fn never_breaks(text: &[u8]) {
    let mut source = SourceMap::new();
    let root = source.add_file("a.cfg", text);
    let (ast, diagnostics) = parser::parse(&mut source, root, &ParseOptions::default());
    let rendered = diagnostic::render_all(&diagnostics, &source);
    assert!(diagnostics.len() <= parser::DIAGNOSTICS_MAX);
    if diagnostics.is_empty() {
        prints_to_the_same_tree(&ast, &String::from_utf8_lossy(text));
    }
    assert!(!rendered.contains('\0'));
}

fn sample() -> Vec<u8> {
    let mut text = ACCEPTED_TOP_LEVEL.join("\n");
    text.push_str(&in_route(&ACCEPTED_STATEMENTS.join("\n")));
    text.into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        never_breaks(&bytes);
    }

    #[test]
    fn any_tokens_are_survived(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..120)) {
        never_breaks(tokens.concat().as_bytes());
        never_breaks(in_route(&tokens.join(" ")).as_bytes());
    }

    #[test]
    fn changed_scripts_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, prop::sample::select(TOKENS)), 1..6)
    ) {
        let mut text = sample();
        for (at, removed, inserted) in changes {
            let at = at.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.bytes());
        }
        never_breaks(&text);
    }

    #[test]
    fn rows_next_to_each_other_are_read(
        rows in prop::collection::vec(prop::sample::select(ACCEPTED_STATEMENTS), 1..8)
    ) {
        accepted(&in_route(&rows.join("\n")));
    }
}

const TOKENS: &[&str] = &[
    "if",
    "else",
    "while",
    "switch",
    "case",
    "default",
    "return",
    "route",
    "event_route",
    "f",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    ":",
    ",",
    ".",
    "=",
    "==",
    "=~",
    "!",
    "!~",
    "+",
    "-",
    "*",
    "/",
    "%",
    "\"",
    "'",
    "\"a\"",
    "$x",
    "$(x",
    "$(x{s.len})",
    "{s.len}",
    "$",
    "@a.b",
    "#",
    "#!define X ",
    "#!ifdef X",
    "#!else",
    "#!endif",
    "\n",
    " ",
    "/*",
    "*/",
    "//",
    "1",
    "0x",
    "10.0.0.1",
    "::1",
    "listen=",
    "alias=",
    "modparam(",
    "loadmodule",
    "\\",
    "é",
    "\0",
    "!!",
    "?",
    "defined",
    "(int)",
    "strlen(",
    "name",
    "advertise",
    "desc",
];

// Golden files.

/// Every `tests/script/parse/*.cfg` has beside it what is printed (`.out`): the script in canonical form, then what is
/// said about it. With `BLESS=1` the files are written instead of compared.
#[test]
fn golden_scripts_stay_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script/parse");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of golden scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cfg"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        let name = script.file_name().expect("a name").to_string_lossy().into_owned();
        let mut source = SourceMap::new();
        let root = source.add_file(name.clone(), std::fs::read(&script).expect("a script"));
        let (ast, diagnostics) = parser::parse(&mut source, root, &ParseOptions::default());
        let seen = format!("{}\n----\n{}", print(&ast), diagnostic::render_all(&diagnostics, &source));
        let golden = script.with_extension("out");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &seen).expect("to write the golden file");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(seen, expected, "{name}: run with BLESS=1 when this is right");
    }
}
