//! What the field's own acceptance units ask of a server, started the way those start it.
//!
//! A daemon behind a pipe: `sworkerd -P PID -w DIR -Y DIR -f ./FILE -a no -ddd -E 2>&1 | tee LOG`. It has written its pid
//! file within a second, gets its messages, is stopped by `kill $(cat PID)`, and then its log is searched.

use nix::sys::signal::Signal;

use crate::support::{
    Caller, Folder, Message, Request, SOON, Tool, daemon_path, processes, sworkerd, wait_for, wait_until,
};

/// A daemon behind a pipe, and the shell that holds the pipe's other end.
struct Unit {
    folder: Folder,
    shell: Option<Tool>,
    pid: i32,
    caller: Caller,
}

impl Unit {
    #[track_caller]
    fn start(script: &str) -> Unit {
        let folder = Folder::new();
        folder.write("unit.cfg", script);
        // Only the port is not as in the field: there it is 5060.
        let run = folder.file("run");
        std::fs::create_dir(&run).expect("a directory can be made in the test's folder");
        let run = run.display();
        let line = format!(
            "{} -P {run}/k.pid -w {run} -Y {run} -f ./unit.cfg -a no -ddd -E -l udp:127.0.0.1:0 2>&1 | tee unit.log",
            daemon_path().display()
        );
        let shell = Tool::start(&folder, "shell", "/bin/sh", &["-c", &line]);
        let pid = wait_for("the pid file is written", SOON, || folder.read("run/k.pid").trim().parse().ok());
        let address = wait_for("it listens", SOON, || processes::udp_sockets(pid).first().copied());
        Unit { folder, shell: Some(shell), pid, caller: Caller::new(address.into()) }
    }

    #[track_caller]
    fn ask(&self, request: Request) -> Message {
        self.caller.ask(&request)
    }

    /// `kill $(cat k.pid)`; then the log is whole, since its pipe has no writer left.
    #[track_caller]
    fn stop(mut self) -> String {
        processes::send_signal(self.pid, Signal::SIGTERM);
        let shell = self.shell.take().expect("stopped once");
        assert_eq!(shell.finish(SOON).code, Some(0));
        wait_until("it is gone", SOON, || !processes::is_alive(self.pid));
        let log = self.folder.read("unit.log");
        assert!(!log.contains("panicked"), "{log}");
        log
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if processes::is_alive(self.pid) {
            processes::tree(self.pid)
                .into_iter()
                .for_each(|pid| processes::send_signal(pid, Signal::SIGKILL));
        }
    }
}

/// Each of these lines is in the log exactly so often.
#[track_caller]
fn expect(log: &str, rows: &[(&str, usize)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter(|(text, count)| log.matches(text).count() != *count)
        .map(|(text, count)| format!("{text:?} {} times, not {count}", log.matches(text).count()))
        .collect();
    assert!(wrong.is_empty(), "{}\nin\n{log}", wrong.join("\n"));
}

#[test]
fn directives_that_do_not_match_are_refused_by_their_name() {
    let rows = [
        "#!ifdef A\nrequest_route { exit; }\n",
        "#!ifndef A\n#!ifdef B\n#!endif\nrequest_route { exit; }\n",
        "request_route { exit; }\n#!endif\n",
        "#!ifdef A\n#!else\nrequest_route { exit; }\n",
    ];
    for script in rows {
        for arguments in [&["-c", "-f", "unit.cfg"][..], &["-P", "k.pid", "-w", ".", "-f", "unit.cfg", "-E"]]
        {
            let finished = sworkerd(&[("unit.cfg", script)], arguments);
            assert_ne!(finished.code, Some(0), "{script}");
            assert!(
                finished.output.contains("different number of preprocessor directives"),
                "{script}{}",
                finished.output
            );
        }
    }
    let balanced = "#!ifdef A\n#!ifdef B\n#!endif\n#!else\n#!endif\nrequest_route { exit; }\n";
    assert_eq!(sworkerd(&[("unit.cfg", balanced)], &["-c", "-f", "unit.cfg"]).code, Some(0));
}

#[test]
fn numbers_and_letters_are_told_apart() {
    let asks = [
        ("is_tel_number(\"+493012345\")", true),
        ("is_tel_number(\"493012345\")", true),
        ("is_tel_number(\"$rU\")", true),
        ("is_tel_number(\"+49 30\")", false),
        ("is_tel_number(\"alice\")", false),
        ("is_numeric(\"0123456789\")", true),
        ("is_numeric(\"+123\")", false),
        ("is_numeric(\"12a\")", false),
        ("is_numeric(\"$var(number)\")", true),
        ("is_alphanum(\"abcXYZ123\")", true),
        ("is_alphanum(\"abc-1\")", false),
        ("is_alphanum(\"$fU\")", true),
        ("is_alphanumex(\"abc-1_2\", \"-_\")", true),
        ("is_alphanumex(\"abc.1\", \"-_\")", false),
    ];
    let lines: String = asks
        .iter()
        .enumerate()
        .map(|(index, (ask, _))| {
            format!(
                "if ({ask}) {{ xlog(\"L_INFO\", \"<<{index} yes>>\\n\"); }} \
                 else {{ xlog(\"L_INFO\", \"<<{index} no>>\\n\"); }}\n"
            )
        })
        .collect();
    let unit = Unit::start(&format!(
        "#!KAMAILIO\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"xlog.so\"\n\
         loadmodule \"siputils.so\"\n\
         request_route {{\n$var(number) = 42;\n{lines}sl_send_reply(\"200\", \"OK\");\nexit;\n}}\n"
    ));
    assert_eq!(unit.ask(Request::new("OPTIONS", "numbers").user("+493012345")).status(), 200);
    let log = unit.stop();
    let answers = asks.iter().enumerate();
    let answers: Vec<String> = answers
        .map(|(index, (_, holds))| format!("<<{index} {}>>", if *holds { "yes" } else { "no" }))
        .collect();
    expect(&log, &answers.iter().map(|text| (text.as_str(), 1)).collect::<Vec<_>>());
}

/// Values the script defines for itself, and what prints them.
const OWN_VALUES: &str = "my.loc = \"here and there\" desc \"a place\"\nmy.num = 42 desc \"a number\"\n";

/// What both processes print of them.
fn print_own_values(who: &str) -> String {
    format!(
        "xlog(\"L_INFO\", \"<<{who}: $sel(cfg_get.my.loc) $sel(cfg_get.my.num)>>\\n\");\n\
         if (@cfg_get.my.loc == \"here and there\") {{ xlog(\"L_INFO\", \"<<{who} select>>\\n\"); }}\n"
    )
}

#[track_caller]
fn expect_own_values_in_two_processes(log: &str) {
    expect(
        log,
        &[
            ("<<received: here and there 42>>", 1),
            ("<<received select>>", 1),
            ("<<task: here and there 42>>", 1),
            ("<<task select>>", 1),
        ],
    );
    let process = |text: &str| {
        let line = log.lines().find(|line| line.contains(text)).expect("it is there");
        line.split(')').next().map(|start| start.trim().to_string())
    };
    assert_ne!(process("<<received:"), process("<<task:"), "the task runs in a worker");
}

#[test]
fn values_of_the_script_are_seen_in_a_worker() {
    let unit = Unit::start(&format!(
        "#!KAMAILIO\nasync_workers=1\n{OWN_VALUES}\
         loadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"xlog.so\"\nloadmodule \"sworker.so\"\n\
         event_route[core:pre-routing] {{\n{}if (sworker_task(\"default\")) drop;\n}}\n\
         request_route {{\n{}sl_send_reply(\"200\", \"OK\");\n}}\n",
        print_own_values("received"),
        print_own_values("task"),
    ));
    assert_eq!(unit.ask(Request::new("OPTIONS", "delegated")).status(), 200);
    expect_own_values_in_two_processes(&unit.stop());
}

#[test]
fn values_of_the_script_are_seen_in_a_task_of_module_async() {
    let script = format!(
        "#!KAMAILIO\nasync_workers=1\n{OWN_VALUES}\
         loadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"xlog.so\"\nloadmodule \"async.so\"\n\
         request_route {{\n{}sl_send_reply(\"200\", \"OK\");\nasync_task_route(\"TASK\");\nexit;\n}}\n\
         route[TASK] {{\n{}}}\n",
        print_own_values("received"),
        print_own_values("task"),
    );
    let unit = Unit::start(&script);
    assert_eq!(unit.ask(Request::new("OPTIONS", "task")).status(), 200);
    wait_until("the task ran", SOON, || unit.folder.read("unit.log").contains("<<task"));
    expect_own_values_in_two_processes(&unit.stop());
}

#[test]
fn structured_values_know_no_case_and_can_be_taken_away() {
    let unit = Unit::start(
        "#!KAMAILIO\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"xlog.so\"\n\
         loadmodule \"textops.so\"\n\
         request_route {\n\
           if (!is_method(\"MESSAGE\")) { sl_send_reply(\"200\", \"OK\"); exit; }\n\
           $xavi(WhatEver=>FOO) = 1;\n\
           $xavi(whatever[0]=>bar) = \"two\";\n\
           xlog(\"L_INFO\", \"<<xavi $xavi(WHATEVER=>foo) $xavi(whatEver[0]=>BAR)>>\\n\");\n\
           if (pv_isset(\"$xavi(whatever=>FOO)\")) { xlog(\"L_INFO\", \"<<set>>\\n\"); }\n\
           if (!pv_isset(\"$xavi(whatever=>none)\")) { xlog(\"L_INFO\", \"<<not set>>\\n\"); }\n\
           pv_unset(\"$xavi(whatever[0]=>foo)\");\n\
           if (!pv_isset(\"$xavi(WHATEVER=>FOO)\")) { xlog(\"L_INFO\", \"<<unset>>\\n\"); }\n\
           xlog(\"L_INFO\", \"<<left $xavi(whatever=>bar)>>\\n\");\n\
           xavi_rm(\"WhatEver\");\n\
           if ($xavi(whatever=>bar) == $null) { xlog(\"L_INFO\", \"<<gone>>\\n\"); }\n\
           $xavp(Case=>a) = \"capital\";\n\
           if ($xavp(case=>a) == $null) { xlog(\"L_INFO\", \"<<xavp knows case>>\\n\"); }\n\
           sl_send_reply(\"202\", \"Accepted\");\n\
         }\n",
    );
    assert_eq!(unit.ask(Request::new("MESSAGE", "structured").body("hello")).status(), 202);
    let log = unit.stop();
    expect(
        &log,
        &[
            ("<<xavi 1 two>>", 1),
            ("<<set>>", 1),
            ("<<not set>>", 1),
            ("<<unset>>", 1),
            ("<<left two>>", 1),
            ("<<gone>>", 1),
            ("<<xavp knows case>>", 1),
        ],
    );
}
