//! What is wrong with a script is said where it is wrong, with help, and the server does not start.

use crate::scripts::{HEAD, two_groups};
use crate::support::{Folder, SOON, Tool, check_config, daemon_path};

/// Where the rows' own lines begin in the checked script.
fn first_line() -> usize {
    HEAD.lines().count() + 1
}

#[test]
fn a_good_script_is_said_to_be_good() {
    let finished = check_config(&two_groups(2, 2, 64));
    assert_eq!(finished.code, Some(0), "{}", finished.output);
    assert!(finished.output.contains("config file ok, exiting..."), "{}", finished.output);
}

#[test]
fn a_mistake_is_told_with_its_place_and_with_help() {
    // The lines after the common head, and what must be in the answer; `@` is the first of those lines.
    let rows: &[(&str, &[&str])] = &[
        (
            "async_workers_group=\"name=calls;workers=1\"\nevent_route[core:pre-routing] { sworker_task(\"cals\"); }\nrequest_route { exit; }",
            &["calls.cfg:@+1:", "cals", "calls"],
        ),
        (
            "request_route { sl_send_repl(\"200\", \"OK\"); }",
            &["calls.cfg:@:17", "sl_send_repl", "sl_send_reply"],
        ),
        ("request_route { sl_send_reply(\"200\"); }", &["calls.cfg:@:", "sl_send_reply"]),
        ("childern=4\nrequest_route { exit; }", &["calls.cfg:@:1", "childern", "children"]),
        ("request_route { $var(x) = 1 }", &["calls.cfg:@:", "error"]),
        ("request_route { if ($rZ == 1) { exit; } }", &["calls.cfg:@:", "$rZ"]),
        ("request_route { $si = \"1.2.3.4\"; }", &["calls.cfg:@:", "$si"]),
        (
            "request_route { route(ELSEWHERE); }\nroute[ELSEWERE] { exit; }",
            &["calls.cfg:@:", "ELSEWHERE", "ELSEWERE"],
        ),
        ("loadmodule \"nosuch\"\nrequest_route { exit; }", &["calls.cfg:@:", "nosuch"]),
        (
            "modparam(\"sworker\", \"xdatum\", \"$var(x)\")\nrequest_route { exit; }",
            &["calls.cfg:@:", "xdatum", "xdata"],
        ),
        ("modparam(\"sworker\", \"xdata\", \"$si\")\nrequest_route { exit; }", &["calls.cfg:@:", "$si"]),
        (
            "modparam(\"sworker\", \"xdata\", \"$nosuch(x)\")\nrequest_route { exit; }",
            &["calls.cfg:@:", "$nosuch"],
        ),
        ("modparam(\"sworker\", \"xdata\", \"$ru\")\nrequest_route { exit; }", &["calls.cfg:@:", "$ru"]),
        (
            "event_route[core:pre-routing] { sworker_task(\"calls\"); }\nrequest_route { exit; }",
            &["calls.cfg:@:", "calls"],
        ),
        ("request_route { exit; }\nroute[A] { exit; }\nroute[A] { exit; }", &["calls.cfg:@+2:", "A"]),
        ("request_route { ", &["calls.cfg:", "error"]),
        ("async_workers_group=\"workers=4\"\nrequest_route { exit; }", &["calls.cfg:@:", "name"]),
        ("async_workers_group=\"name=a;workers=0\"\nrequest_route { exit; }", &["calls.cfg:@:", "workers"]),
        ("listen=udp:300.1.1.1:5060\nrequest_route { exit; }", &["calls.cfg:@:", "300.1.1.1"]),
        (
            "#!ifdef X\nrequest_route { exit; }",
            &["calls.cfg:", "different number of preprocessor directives"],
        ),
    ];
    for (lines, expected) in rows {
        let finished = check_config(&format!("{HEAD}{lines}\n"));
        assert_eq!(finished.code, Some(255), "accepted:\n{lines}\n{}", finished.output);
        for part in *expected {
            let part = part
                .replace("@+2", &(first_line() + 2).to_string())
                .replace("@+1", &(first_line() + 1).to_string())
                .replace('@', &first_line().to_string());
            assert!(finished.output.contains(&part), "no {part:?} about\n{lines}\nin\n{}", finished.output);
        }
        assert!(finished.output.contains("error"), "{}", finished.output);
        assert!(!finished.output.contains("config file ok"), "{}", finished.output);
    }
}

#[test]
fn the_line_is_shown_with_a_caret_under_the_mistake() {
    let finished = check_config(&format!("{HEAD}request_route {{ sl_send_repl(\"200\", \"OK\"); }}\n"));
    let lines: Vec<&str> = finished.output.lines().collect();
    let shown = lines.iter().position(|line| line.contains("request_route { sl_send_repl"));
    let shown = shown.unwrap_or_else(|| panic!("the line is not shown:\n{}", finished.output));
    let column = lines[shown].find("sl_send_repl").unwrap();
    assert_eq!(lines[shown + 1].find('^'), Some(column), "the caret is elsewhere:\n{}", finished.output);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let finished =
        check_config(&format!("{HEAD}request_route {{\n nosuch1();\n nosuch2();\n}}\nnosuch3=1\n"));
    for name in ["nosuch1", "nosuch2", "nosuch3"] {
        assert!(finished.output.contains(name), "{name} is not told:\n{}", finished.output);
    }
}

#[test]
fn what_is_accepted_without_effect_is_a_notice_and_no_mistake() {
    let finished =
        check_config(&format!("{HEAD}mem_join=1\ntcp_rd_buf_size=16384\nrequest_route {{ exit; }}\n"));
    assert_eq!(finished.code, Some(0), "{}", finished.output);
}

#[test]
fn failpoints_that_do_not_exist_refuse_the_start_and_what_exists_is_told() {
    let rows = [
        ("ring.publsh:abort@17", "unknown point \"ring.publsh\", points are ring.attach_tail, "),
        ("ring.publish:explode@17", "unknown action \"explode\", actions are abort, kill"),
        ("ring.publish", "\"ring.publish\" is not of the form POINT:ACTION@COUNT"),
        // Right, but this program was built without them.
        ("ring.publish:abort@17", "this program has no failpoints"),
    ];
    let usual = if cfg!(feature = "crash-points") { &rows[..3] } else { &rows[..] };
    for (words, expected) in usual {
        let folder = Folder::new();
        folder.write("calls.cfg", "request_route { exit; }\n");
        let environment = [("SWORKER_FAIL".to_string(), words.to_string())];
        let arguments = ["-DD", "-E", "-f", "calls.cfg", "-Y", "run", "-l", "udp:127.0.0.1:0"];
        let done = Tool::start_in(&folder, "sworkerd", daemon_path(), &arguments, &environment).finish(SOON);
        let error = format!("sworkerd: error: SWORKER_FAIL: {expected}");
        assert!(done.code == Some(255) && done.output.contains(&error), "{words}: {done:?}");
    }
}
