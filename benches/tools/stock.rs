//! The routes of a stock configuration, and a program with its warm machine. Included by benches with `#[path]`.

use sworker::script::check;
use sworker::script::diagnostic::render_all;
use sworker::script::interpreter::{Interpreter, RunLimits};
use sworker::script::parser::{ParseOptions, parse};
use sworker::script::program::Program;
use sworker::script::source::SourceMap;

use world::{TestCatalog, TestHost};

#[path = "../../tests/script/world.rs"]
mod world;

/// The way of an INVITE through a stock configuration: request checks, in-dialog test, routing by name and by method.
pub const STOCK: &str = r#"
request_route {
    route(REQINIT);
    route(NATDETECT);
    if (is_method("CANCEL|BYE")) {
        if (is_method("ACK")) { route(RELAY); }
        exit;
    }
    route(WITHINDLG);
    if (is_method("INVITE") && $tt == $null) { $var(new) = 1; }
    if ($rU == $null) { sl_send_reply("484", "Address Incomplete"); exit; }
    route(AUTH);
    if (is_method("INVITE|SUBSCRIBE|OPTIONS")) { xlog("call from $fu to $tu id $ci\n"); }
    switch ($rm) {
        case "REGISTER": route(RELAY); break;
        case "OPTIONS": $var(seen) = $var(seen) + 1; break;
        default: exit;
    }
    if (uri == myself && $rU =~ "^[0-9]+$") { route(RELAY); }
    route(RELAY);
}
route[REQINIT] {
    if (src_ip != myself && $var(banned) == 1) { exit; }
    if ($ua =~ "friendly|scanner|sipcli|sipvicious") { exit; }
    if (code(1) && $var(hops) < 70) { $var(hops) = 0; }
    if (!is_method("OPTIONS") && $rU == $null) { sl_send_reply("200", "Keepalive"); exit; }
}
route[NATDETECT] {
    if (src_ip == 10.0.0.0/8 || src_ip == 192.168.0.0/16) { $var(nat) = 1; } else { $var(nat) = 0; }
    return;
}
route[WITHINDLG] {
    if (!($tt != $null)) { return; }
    exit;
}
route[AUTH] {
    if (from_uri != myself && uri != myself) { sl_send_reply("403", "Not relaying"); exit; }
    return;
}
route[RELAY] {
    if (is_method("INVITE|BYE|SUBSCRIBE|UPDATE")) { t_on_failure("MANAGE"); }
    $var(key) = $ci + ":" + $rU;
    if (!code(1)) { sl_send_reply("500", "Server Error"); }
    exit;
}
failure_route[MANAGE] { exit; }
"#;

/// Text to program; what is wrong with it ends the bench.
pub fn program(text: &str) -> Program {
    let mut source = SourceMap::new();
    let root = source.add_file("bench.cfg", text);
    let (ast, mut diagnostics) = parse(&mut source, root, &ParseOptions::default());
    let checked = check::check(&ast, &source, &mut TestCatalog::default());
    diagnostics.extend(checked.diagnostics);
    checked.program.unwrap_or_else(|| panic!("{}", render_all(&diagnostics, &source)))
}

/// A program with its warm machine.
pub struct WarmProgram {
    program: Program,
    interpreter: Interpreter,
    host: TestHost,
}

impl WarmProgram {
    /// Loads the program and runs it until its buffers have grown.
    pub fn new(text: &str) -> WarmProgram {
        let limits = RunLimits { steps: u32::MAX, ..RunLimits::default() };
        let host = TestHost::quiet();
        let mut bench = WarmProgram { program: program(text), interpreter: Interpreter::new(limits), host };
        for _ in 0..100 {
            bench.message();
        }
        assert!(bench.host.complaints.is_empty(), "{:?}", bench.host.complaints);
        bench
    }

    /// One message; gives the code the script ended with.
    pub fn message(&mut self) -> i64 {
        let route = self.program.request_route().expect("a request_route");
        self.interpreter.run(&self.program, route, &mut self.host).code
    }
}
