//! Module `async` beside the reference, which needs transactions for it: what the route sees that goes on, in which
//! order, and which calls are false.

use super::reference::Pair;
use crate::support::{Request, SOON, wait_until};

/// Statements before the request goes on, the call that hands it on, and what is told behind it if that is false.
const ROWS: [(&str, &str); 9] = [
    ("state", "async_task_route(\"TASK\");"),
    ("computed", "$var(n) = \"ASK\"; async_task_route(\"T$var(n)\");"),
    ("group", "async_task_group_route(\"TASK\", \"calls\");"),
    ("slept", "async_sleep(\"1\"); xlog(\"L_ERR\", \"@@slept $hdr(Call-ID) $avp(a) $ru $var(x)|@@\\n\");"),
    ("in-a-route", "route(SLEEPER); xlog(\"L_ERR\", \"@@the caller of the route goes on|@@\\n\");"),
    ("no-route", "$var(rc) = async_task_route(\"NO$rm\"); xlog(\"L_ERR\", \"@@no route $var(rc)|@@\\n\");"),
    ("no-time", "$var(rc) = async_route(\"TASK\", \"0\"); xlog(\"L_ERR\", \"@@no time $var(rc)|@@\\n\");"),
    ("past", "$var(rc) = async_route(\"TASK\", \"-3\"); xlog(\"L_ERR\", \"@@past $var(rc)|@@\\n\");"),
    ("later", "async_route(\"TASK\", \"1\"); xlog(\"L_ERR\", \"@@not ended|@@\\n\");"),
];

fn script(transactions: &str) -> String {
    let head = "#!KAMAILIO\ndebug=0\nchildren=1\nauto_aliases=no\nasync_workers=1\n\
        async_workers_group=\"name=calls;workers=1\"\n";
    let cases: String = ROWS
        .iter()
        .map(|(name, statements)| format!("if ($hdr(Call-ID) == \"{name}\") {{ {statements} exit; }}\n"))
        .collect();
    format!(
        "{head}{transactions}loadmodule \"sl\"\nloadmodule \"pv\"\nloadmodule \"xlog\"\nloadmodule \"textops\"\n\
         loadmodule \"async\"\n\
         request_route {{\n\
           if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"OK\"); exit; }}\n\
           setflag(3); $ru = \"sip:new@example.com\"; $du = \"sip:192.0.2.1:5070\"; $var(x) = \"here\";\n\
           $avp(a) = \"old\"; $avp(a) = 7;\n\
           $xavp(call=>from) = \"first\"; $xavp(call[0]=>to) = 5; $xavp(call=>from) = \"second\";\n\
           {cases}\
         }}\n\
         route[SLEEPER] {{ async_sleep(\"1\"); xlog(\"L_ERR\", \"@@route slept $avp(a)|@@\\n\"); }}\n\
         route[TASK] {{\n\
           if (isflagset(3)) {{ $var(flag) = \"set\"; }}\n\
           xlog(\"L_ERR\", \"@@$hdr(Call-ID) $rm $ru $ou $du $avp(a) $(avp(a)[1]) $xavp(call=>from) $xavp(call[1]=>to) $var(x) $var(flag)|@@\\n\");\n\
           exit;\n\
           xlog(\"L_ERR\", \"@@behind exit|@@\\n\");\n\
         }}\n"
    )
}

#[test]
fn requests_go_on_with_the_same_state() {
    let pair = Pair::start_each(&script("loadmodule \"tm\"\nloadmodule \"tmx\"\n"), &script(""));
    for (name, _) in ROWS {
        pair.send(&format!("behind-{name}"), |caller| caller.bytes(&Request::new("MESSAGE", name)));
    }
    let sorted = |lines: Vec<String>| {
        let mut lines = lines;
        lines.sort();
        lines
    };
    wait_until("each has told its line", SOON, || {
        [pair.their_lines().len(), pair.our_lines().len()].iter().all(|count| *count >= ROWS.len())
    });
    let theirs = sorted(pair.their_lines());
    assert_eq!(theirs.len(), ROWS.len(), "{theirs:?}");
    assert_eq!(sorted(pair.our_lines()), theirs);
}
