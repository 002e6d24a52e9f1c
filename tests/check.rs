//! `-c` as a whole: a script goes in, and what is said about it comes out, with every module there is.
//!
//! `script/accept_reject.txt` says what is accepted; `script/examine/*.cfg` lie beside what is said about them (`.out`),
//! which `BLESS=1` writes again.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;
use sworker::bindings::load::{LoadRequest, Report, ReportFormat, Root, examine, load, print_canonical};
use sworker::config::settings::Written;
use sworker::modules::MODULES;

/// Stands before the scripts of the table.
const HEAD: &str = "#!KAMAILIO\nlisten=udp:127.0.0.1:5060\nloadmodule \"sl\"\nloadmodule \"pv\"\nloadmodule \"xlog\"\nloadmodule \"textops\"\n";

fn request(name: &str, text: impl Into<Vec<u8>>) -> LoadRequest {
    LoadRequest::new(Root::Text { name: name.to_owned(), text: text.into() }, MODULES)
}

fn told(text: &str) -> Report {
    examine(request("t.cfg", text), ReportFormat::Text)
}

fn json(text: &str) -> Value {
    let report = examine(request("t.cfg", text), ReportFormat::Json);
    serde_json::from_str(&report.text).unwrap()
}

fn of_file(path: &Path) -> Report {
    examine(LoadRequest::new(Root::File(path.to_owned()), MODULES), ReportFormat::Text)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script").join(name)
}

// ---- what is accepted -----------------------------------------------------------------------------------------------

/// Verdict and script of every row.
fn matrix() -> Vec<(String, String)> {
    let parameters = rows_of("parameters.txt").into_iter();
    let parameters =
        parameters.map(|(verdict, line)| (verdict, format!("{line}\nrequest_route {{ exit; }}")));
    rows_of("accept_reject.txt").into_iter().chain(parameters).collect()
}

fn rows_of(name: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(folder(name)).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let split = |row: &str| {
        let (verdict, script) = row.split_once(' ').unwrap_or_else(|| panic!("odd row {row}"));
        (verdict.to_owned(), script.trim_start().replace(" ⏎ ", "\n"))
    };
    rows.map(split).collect()
}

#[test]
fn scripts_are_accepted_and_refused_as_the_table_says() {
    let mut differ = Vec::new();
    for (verdict, script) in matrix() {
        let report = told(&format!("{HEAD}{script}\n"));
        if report.is_good != matches!(verdict.as_str(), "good" | "wider" | "newer") {
            differ.push(format!("{verdict}: {script}\n{}", report.text));
        }
        assert!(report.is_good || report.text.contains("error: "), "{script}\n{}", report.text);
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn the_table_is_what_the_reference_says() {
    let program =
        ["/usr/sbin/kamailio", "/usr/local/sbin/kamailio"].into_iter().find(|path| Path::new(path).exists());
    let Some(program) = program else { return eprintln!("skipped: kamailio is not installed") };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.cfg");
    let mut differ = Vec::new();
    for (verdict, script) in matrix().into_iter().filter(|(verdict, _)| verdict != "newer") {
        fs::write(&path, format!("{HEAD}{script}\n")).unwrap();
        let mut command = Command::new(program);
        let judged =
            command.arg("-c").arg("-f").arg(&path).stdout(Stdio::null()).stderr(Stdio::null()).status();
        // It may also crash over a script; that is no acceptance.
        if judged.unwrap().success() != matches!(verdict.as_str(), "good" | "stricter") {
            differ.push(format!("{verdict}: {script}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn the_stock_script_lacks_modules_and_nothing_else() {
    let path = Path::new("/etc/kamailio/kamailio.cfg");
    let Ok(text) = fs::read_to_string(path) else { return eprintln!("skipped: kamailio is not installed") };
    let mut switches: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("WITH_"))
        .map(str::to_owned)
        .collect();
    switches.sort();
    switches.dedup();
    assert!(switches.len() > 15, "{switches:?}");
    let defines = switches.iter().map(|name| Written::new("-A", name, (name.clone(), None))).collect();
    let root = Root::File(path.to_owned());
    let report = examine(LoadRequest { defines, ..LoadRequest::new(root, MODULES) }, ReportFormat::Json);
    let report: Value = serde_json::from_str(&report.text).unwrap();
    let mut modules = Vec::new();
    for one in report["diagnostics"].as_array().unwrap().iter().filter(|one| one["severity"] == "error") {
        let message = one["message"].as_str().unwrap();
        let module = message
            .strip_prefix("module \"")
            .and_then(|rest| rest.strip_suffix("\" exists in Kamailio and is not here yet"));
        modules.push(module.unwrap_or_else(|| panic!("{one}")).to_owned());
    }
    let count = modules.len();
    modules.dedup();
    assert_eq!(modules.len(), count, "a module is told twice: {modules:?}");
}

// ---- what is said ---------------------------------------------------------------------------------------------------

#[test]
fn golden_reports_stay_as_they_are() {
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(folder("examine")).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "cfg"));
    assert!(!scripts.is_empty());
    for path in scripts {
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = examine(request(name, fs::read(&path).unwrap()), ReportFormat::Text).text;
        let golden = path.with_extension("out");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &said).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(said, expected, "{name}: run with BLESS=1 when this is right");
    }
}

#[test]
fn each_mistake_is_told_once_where_it_is_with_what_is_near() {
    // What follows the head; the text at the place; what is said; the help.
    let rows: &[(&str, &str, &str, &str)] = &[
        ("request_route { xlgo(\"x\"); }", "xlgo", "unknown function xlgo()", "\"xlog\""),
        ("request_route { sl_send_reply(\"200\"); }", "sl_send_reply", "takes 2 arguments, not 1", ""),
        ("request_route { xlog(\"a $sii b\\n\"); }", "$sii", "unknown variable $sii", "$si"),
        (
            "request_route { xlog(\"a $(ru{uri.usre}) b\"); }",
            "uri.usre",
            "unknown transformation {uri.usre}",
            "\"uri.user\"",
        ),
        ("loadmodule \"textopps\"\nrequest_route { exit; }", "\"textopps\"", "unknown module", "\"textops\""),
        (
            "modparam(\"sl\", \"default_coed\", 1)\nrequest_route { exit; }",
            "\"default_coed\"",
            "no parameter \"default_coed\"",
            "\"default_code\"",
        ),
        ("childern=2\nrequest_route { exit; }", "childern", "unknown global parameter", "\"children\""),
        (
            "request_route { route(REALY); }\nroute[RELAY] { exit; }\nrequest_route { route(RELAY); }",
            "REALY",
            "unknown route route[REALY]",
            "\"RELAY\"",
        ),
        (
            "loadmodule \"sworker\"\nasync_workers_group=\"name=calls;workers=1\"\nevent_route[core:pre-routing] { if (sworker_task(\"cals\")) drop; }\nrequest_route { exit; }",
            "\"cals\"",
            "unknown worker group \"cals\"",
            "\"calls\"",
        ),
        (
            "loadmodule \"sworker\"\nasync_workers_group=\"name=calls;workers=0;queue=8\"\nevent_route[core:pre-routing] { if (sworker_task(\"calls\")) drop; }\nrequest_route { exit; }",
            "0",
            "workers takes a number",
            "",
        ),
        (
            "async_workers_group=\"name=a;workers=1\"\nasync_workers_group=\"workers=1;name=a\"\nrequest_route { exit; }",
            "a",
            "defined twice",
            "",
        ),
        (
            "loadmodule \"sworker\"\nmodparam(\"sworker\", \"xdata\", \"$ru\")\nrequest_route { exit; }",
            "\"$ru\"",
            "$ru",
            "",
        ),
        (
            "loadmodule \"sworker\"\nmodparam(\"sworker\", \"xdata\", \"$nosuch(x)\")\nrequest_route { exit; }",
            "\"$nosuch(x)\"",
            "unknown variable $nosuch",
            "",
        ),
        (
            "async_workers_group=\"name=a;order=call-id\"\nrequest_route { exit; }",
            "call-id",
            "order: ",
            "did you mean \"callid\"?",
        ),
        (
            "async_workers_group=\"name=a;full=replay\"\nrequest_route { exit; }",
            "replay",
            "full takes",
            "\"reply\"",
        ),
        (
            "async_workers_group=\"name=a;priority\"\nrequest_route { exit; }",
            "priority",
            "no value",
            "priority=",
        ),
        ("debug=high\nrequest_route { exit; }", "high", "a level from -5 to 3", "L_INFO"),
        ("log_facility=LOG_LOCAL9\nrequest_route { exit; }", "LOG_LOCAL9", "unknown facility", "LOG_LOCAL0"),
        ("children=\"4\"\nrequest_route { exit; }", "\"4\"", "from 1 to 1024", "without quotes"),
        ("log_stderror=perhaps\nrequest_route { exit; }", "perhaps", "yes or no", "or 1"),
        (
            "modparam(\"sll\", \"default_code\", 1)\nrequest_route { exit; }",
            "\"sll\"",
            "no loaded module",
            "\"sl\"",
        ),
        (
            "modparam(\"sl\", \"default_code\", \"x\")\nrequest_route { exit; }",
            "\"x\"",
            "takes an integer",
            "",
        ),
        ("request_route { $si = \"1\"; }", "$si", "$si can be read, not assigned", ""),
        (
            "reply_route { sl_send_reply(\"200\", \"OK\"); }\nrequest_route { exit; }",
            "sl_send_reply",
            "cannot be used in reply_route",
            "request_route",
        ),
        (
            "onsend_route { route(A); }\nroute[A] { exit; }\nrequest_route { route(A); }",
            "route",
            "route() cannot be used in onsend_route",
            "",
        ),
        ("request_route { sl_send_reply(200, OK); }", "OK", "`OK` is not a value", "\"OK\""),
        ("request_route { if (proto == UPD) drop; }", "UPD", "`proto` is never `UPD`", "did you mean UDP?"),
        ("request_route { if (af != INET4) drop; }", "INET4", "`af` is never `INET4`", "INET, INET6"),
        ("request_route { $var() = 1; }", "$var()", "$var needs a name", "$var(name)"),
        ("request_route { if (snd_ip == 1.2.3.4) drop; }", "snd_ip", "only in onsend_route", ""),
        (
            "request_route { $var(x) = $sel(cfg_get.a.b); }",
            "$sel(cfg_get.a.b)",
            "there is no custom variable a.b",
            "group.name",
        ),
        (
            "loadmodulex \"$env(SWORKER_NOT_SET)texops\"\nrequest_route { exit; }",
            "\"$env(SWORKER_NOT_SET)texops\"",
            "unknown module \"texops\"",
            "\"textops\"",
        ),
        (
            "request_route { t_relay(); xlog(\"$sii\"); t_relay(); t_on_failure(\"$sii\"); }",
            "t_relay",
            "function t_relay() (module \"tm\") exists",
            "",
        ),
    ];
    for (lines, place, message, help) in rows {
        let text = format!("{HEAD}{lines}\n");
        let report = json(&text);
        let all = report["diagnostics"].as_array().unwrap();
        let said: Vec<&Value> =
            all.iter().filter(|one| one["message"].as_str().unwrap().contains(message)).collect();
        assert_eq!(said.len(), 1, "{lines}\n{report}");
        assert_eq!(said[0]["severity"], "error", "{report}");
        assert_eq!(text_at(&text, said[0]), *place, "{lines}\n{report}");
        assert!(said[0]["help"].as_str().unwrap_or_default().contains(help), "{lines}\n{report}");
    }
}

#[test]
fn doubts_are_warnings_and_change_nothing() {
    let delegating = |body: &str| {
        format!(
            "loadmodule \"sworker\"\nasync_workers_group=\"name=calls\"\nevent_route[core:pre-routing] {{ {body} }}\nrequest_route {{ exit; }}"
        )
    };
    // What is said, or nothing.
    let rows = [
        ("request_route { exit; xlog(\"x\"); }".to_owned(), "never reached, `exit`"),
        (
            "request_route { if (is_method(\"A\")) { exit; } else { return; } xlog(\"x\"); }".to_owned(),
            "every branch",
        ),
        ("request_route { if (is_method(\"A\")) { exit; } xlog(\"x\"); }".to_owned(), ""),
        (delegating("sworker_task(\"calls\"); drop;"), "the result of sworker_task() is ignored"),
        (delegating("swork_task(\"calls\"); drop;"), "the result of swork_task() is ignored"),
        (delegating("if (sworker_task(\"calls\")) { exit; }"), "no `drop` follows"),
        (delegating("if (swork_task(\"calls\")) { xlog(\"x\"); }"), "no `drop` follows"),
        (delegating("if (!sworker_task(\"calls\")) { xlog(\"x\"); }"), "no `drop` follows"),
        (delegating("if (sworker_task(\"calls\") > 0) exit;"), "no `drop` follows"),
        (delegating("if (sworker_task(\"calls\") == 0) xlog(\"x\"); else exit;"), "no `drop` follows"),
        (delegating("if (sworker_task(\"calls\") == 1) drop;"), ""),
        (
            delegating("drop; } request_route { if (sworker_task(\"calls\")) drop;"),
            "only event_route[core:pre-routing]",
        ),
        (
            delegating("drop; } reply_route { if (sworker_task(\"calls\")) drop;"),
            "only event_route[core:pre-routing]",
        ),
        ("request_route { if ($rU = \"a\") exit; }".to_owned(), "this condition assigns"),
        ("request_route { while ($var(x) = 1) break; }".to_owned(), "this condition assigns"),
        ("request_route { if (($rU = \"a\")) exit; }".to_owned(), ""),
        (delegating("if (sworker_task(\"calls\")) { xlog(\"x\"); drop; }"), ""),
        (delegating("if (sworker_task(\"calls\")) { xlog(\"x\"); } drop;"), ""),
        (delegating("{ if (!sworker_task(\"calls\")) { xlog(\"x\"); } } drop;"), ""),
        (delegating("if (!sworker_task(\"calls\")) exit; drop;"), ""),
        (
            delegating(
                "route(GO); if ($rc == 1) drop; } route[GO] { if (sworker_task(\"calls\")) return 1; return -1;",
            ),
            "",
        ),
        (
            "async_workers_group=\"name=a;queues=8\"\nrequest_route { exit; }".to_owned(),
            "unknown key \"queues\"",
        ),
        (
            "async_workers_group=\"name=a;workers=1;workers=2\"\nrequest_route { exit; }".to_owned(),
            "given twice",
        ),
        ("children=2".to_owned(), "there is no request_route"),
        (
            "event_route[core:pre-routing] { exit; }\nreply_route { exit; }".to_owned(),
            "there is no request_route",
        ),
        (
            "event_route[core:pre-rounting] { drop; }\nrequest_route { exit; }".to_owned(),
            "no event is called \"core:pre-rounting\"",
        ),
    ];
    for (lines, expected) in rows {
        let report = json(&format!("{HEAD}{lines}\n"));
        assert_eq!(report["ok"], true, "{lines}\n{report}");
        let warnings: Vec<&Value> = report["diagnostics"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["severity"] == "warning")
            .collect();
        assert_eq!(warnings.len(), usize::from(!expected.is_empty()), "{lines}\n{report}");
        assert!(
            warnings.iter().all(|one| one["message"].as_str().unwrap().contains(expected)),
            "{lines}\n{report}"
        );
    }
}

#[test]
fn notices_are_one_line_each() {
    let lines = "mem_join=1\ntcp_rd_buf_size=16384\nmodparam(\"sl\", \"bind_tm\", 1)\nrequest_route { exit; }\nroute[NOBODY] { exit; }\nevent_route[xhttp:request] { exit; }\n";
    let report = told(&format!("{HEAD}{lines}"));
    assert!(report.is_good, "{}", report.text);
    for (line, part) in report.text.lines().zip([
        "mem_join",
        "tcp_rd_buf_size",
        "bind_tm",
        "route[NOBODY]",
        "event_route[xhttp:request]",
        "5 notices",
    ]) {
        assert!(line.contains(part), "no {part} in {line}\n{}", report.text);
    }
    assert_eq!(report.text.lines().count(), 6, "{}", report.text);
}

/// The text between the places of a diagnostic.
fn text_at(text: &str, diagnostic: &Value) -> String {
    let number = |name: &str| diagnostic[name].as_u64().unwrap_or_else(|| panic!("{diagnostic}")) as usize;
    assert_eq!(number("line"), number("end_line"), "{diagnostic}");
    let line = text.lines().nth(number("line") - 1).unwrap();
    line.chars().skip(number("column") - 1).take(number("end_column") - number("column")).collect()
}

// ---- the command line ------------------------------------------------------------------------------------------------

/// What is said of a script that is started with one option; the option is checked by the real command line.
fn with_option(option: &str, script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.cfg");
    fs::write(&path, script).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sworkerd"));
    let words = option.split_ascii_whitespace();
    let output = command.arg("-c").arg("-f").arg(&path).args(words).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_mistake_of_the_command_line_is_shown_there() {
    const SCRIPT: &str =
        "listen=udp:127.0.0.1:5060\nloadmodule \"sl\"\nloadmodule \"sworker\"\nrequest_route { exit; }\n";
    // The option as it is shown, what is marked in it, what is said.
    let rows = [
        ("-l udp:no_such_host:5060", "udp:no_such_host:5060", "could not resolve"),
        ("--alias a:b", "a:b", "not a port"),
        ("--domain a:b", "a:b", "not a port"),
        ("--loadmodule xlgo", "xlgo", "unknown module \"xlgo\"\n"),
        ("--modparam slx:default_code:i:500", "slx", "no loaded module"),
        ("--modparam sl:default_coed:i:500", "default_coed", "no parameter \"default_coed\""),
        ("--modparam sl:default_code:s:500", "500", "takes an integer"),
        ("--modparam sl:default_code:i:5", "5", "default_code cannot be 5"),
        ("--modparam sworker:xdata:s:$ru", "$ru", "cannot be the xdata variable"),
        ("--subst /a(/b/", "/a(/b/", "this pattern cannot be read"),
        ("--subst /a/b", "/a/b", "not complete"),
    ];
    for (option, marked, message) in rows {
        let said = with_option(option, SCRIPT);
        let column = option.find(' ').unwrap() + 1;
        let column = option[column..].rfind(marked).unwrap() + column;
        let shown = format!("{option}\n{}{}\n", " ".repeat(column), "^".repeat(marked.len()));
        let line = said.lines().find(|line| line.contains("error: ")).unwrap_or_default();
        assert!(line.starts_with("command line: error: "), "{option}\n{said}");
        assert!(said.contains(message) && said.contains(&shown), "{option}\n{shown}\n{said}");
    }
}

#[test]
fn the_value_of_a_define_of_the_command_line_is_shown_with_it() {
    let said = with_option("-A CALL=xlgo", "request_route { CALL(\"x\"); }\n");
    assert!(said.contains("t.cfg:1:17: error: unknown function xlgo()"), "{said}");
    assert!(said.contains("command line: note: in the value of `CALL`, defined here"), "{said}");
    let said = with_option("--loadmodule xlog.so", "loadmodule \"xlog\"\nrequest_route { exit; }\n");
    assert!(said.contains("t.cfg:1:12: error: module \"xlog\" is loaded twice"), "{said}");
    assert!(said.contains("help: the command line option --loadmodule xlog.so loads it too"), "{said}");
    let said = with_option("--substdef /A/5/", "#!define A 6\nrequest_route { exit; }\n");
    assert!(said.contains("`A` is already defined"), "{said}");
    assert!(said.contains("command line: note: first defined here"), "{said}");
}

#[test]
fn a_substitution_of_the_command_line_changes_texts() {
    let script = "request_route { xlog(\"here\"); sl_send_reply(\"200\", \"OK\"); }\n";
    let text = format!("{HEAD}{script}");
    let subst = |written: &str| Written::new("--subst", written, written.to_owned());
    let changed = LoadRequest {
        substitutions: vec![subst("/h(.)r/H\\1R/"), subst("!OK!Fine!")],
        ..request("t.cfg", text)
    };
    let printed = print_canonical(changed).unwrap();
    assert!(printed.contains("\"HeRe\"") && printed.contains("\"Fine\""), "{printed}");
}

#[test]
fn an_empty_script_is_none() {
    for text in ["", "\n", "#!KAMAILIO\n# nothing\n", "#!define A 1\n", "/* */"] {
        let report = told(text);
        assert!(
            !report.is_good && report.text.contains("error: the script t.cfg is empty"),
            "{text:?}\n{}",
            report.text
        );
    }
}

// ---- includes -------------------------------------------------------------------------------------------------------

#[test]
fn a_mistake_in_an_include_or_a_define_says_how_it_came_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.cfg"), "#!define CALL xlgo(\"x\")\ninclude_file \"b.cfg\"\nrequest_route { exit; }\n")
        .unwrap();
    fs::write(path("b.cfg"), "loadmodule \"xlog\"\nroute[B] { CALL; }\n").unwrap();
    let said = of_file(&path("a.cfg")).text;
    for part in [
        "b.cfg:2:12: error: unknown function xlgo()",
        "a.cfg:1:10: note: in the value of `CALL`",
        "a.cfg:2:1: note: ",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

#[test]
fn what_is_no_proper_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    nix::unistd::mkfifo(&path("pipe.cfg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink(path("loop.cfg"), path("loop.cfg")).unwrap();
    fs::create_dir(path("directory.cfg")).unwrap();
    fs::write(path("large.cfg"), vec![b'#'; (8 << 20) + 1]).unwrap();
    fs::write(path("self.cfg"), "include_file \"self.cfg\"\n").unwrap();
    let rows = [
        ("pipe.cfg", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("directory.cfg", "not a regular file"),
        ("loop.cfg", "could not read"),
        ("large.cfg", "larger than 8 MB"),
        ("self.cfg", "more than 16 levels deep"),
        ("none.cfg", "there is no file"),
    ];
    for (name, expected) in rows {
        fs::write(path("a.cfg"), format!("include_file \"{name}\"\nrequest_route {{ exit; }}\n")).unwrap();
        let report = of_file(&path("a.cfg"));
        assert!(!report.is_good && report.text.contains(expected), "{name}:\n{}", report.text);
        let itself = of_file(&folder.path().join(name));
        assert!(!itself.is_good, "{name}:\n{}", itself.text);
    }
}

#[test]
fn of_a_file_of_somebody_else_no_more_than_one_line_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "first=1\nsecond=2\nthird=3\n").unwrap();
    let mine = folder.path().join("a.cfg");
    fs::write(&mine, "include_file \"secret\"\nrequest_route { nosuch(); }\n").unwrap();
    let told_lines =
        |text: &str| ["first", "second", "third"].into_iter().filter(|word| text.contains(word)).count();
    assert!(told_lines(&of_file(&mine).text) > 1, "one's own file is told whole");
    if fs::metadata(&secret).unwrap().uid() != 0
        || std::os::unix::fs::chown(&secret, Some(65534), None).is_err()
    {
        return eprintln!("skipped: only root can give a file away");
    }
    let said = of_file(&mine).text;
    assert!(told_lines(&said) <= 1, "{said}");
    assert!(said.contains("belongs to another user") && said.contains("nosuch"), "{said}");
}

// ---- printing -------------------------------------------------------------------------------------------------------

#[test]
fn the_printed_script_holds_its_includes_and_prints_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.cfg"), "#!define N 3\n#!ifdef N\ninclude_file \"b.cfg\"\n#!endif\nrequest_route{route(B);if($var(x)==N)exit;else drop;}\n").unwrap();
    fs::write(path("b.cfg"), "children=N\nroute[B]{$var(x)=N;return;}\n").unwrap();
    let printed = print_canonical(LoadRequest::new(Root::File(path("a.cfg")), MODULES)).unwrap();
    assert!(printed.contains("children = 3\n") || printed.contains("children=3\n"), "{printed}");
    assert!(!printed.contains("include_file") && !printed.contains("#!ifdef"), "{printed}");
    assert_eq!(print_canonical(request("again.cfg", printed.as_str())).unwrap(), printed);
    let broken = print_canonical(request("t.cfg", "request_route { exit")).unwrap_err();
    assert!(broken.errors.concat().contains("t.cfg:1:"), "{broken:?}");
}

#[test]
fn every_accepted_script_prints_to_itself() {
    for (verdict, script) in
        matrix().into_iter().filter(|(verdict, _)| matches!(verdict.as_str(), "good" | "wider" | "newer"))
    {
        let printed = print_canonical(request("t.cfg", format!("{HEAD}{script}\n"))).unwrap();
        let again = print_canonical(request("t.cfg", printed.as_str()))
            .unwrap_or_else(|wrong| panic!("{verdict}: {script}\n{printed}\n{wrong:?}"));
        assert_eq!(again, printed, "{script}");
        assert!(told(&printed).is_good, "{script}\n{printed}");
    }
}

// ---- never breaks, never loops, never crawls ------------------------------------------------------------------------

#[test]
fn many_mistakes_do_not_make_it_crawl() {
    let script = |count: usize| {
        format!("{HEAD}request_route {{\n{}exit;\n}}\n", "    nosuch($nosuch, \"$nosuch\");\n".repeat(count))
    };
    let shortest = |count: usize| {
        let text = script(count);
        (0..3)
            .map(|_| {
                let begin = Instant::now();
                assert!(!told(&text).is_good);
                begin.elapsed()
            })
            .min()
            .unwrap()
    };
    let (few, many) = (shortest(500), shortest(4000));
    assert!(many < few * 32 + Duration::from_millis(50), "8 times the mistakes take {few:?} and {many:?}");
}

/// Pieces of scripts, right and wrong.
const SOUP: &[&str] = &[
    "request_route {",
    "event_route[core:pre-routing] {",
    "}",
    "{",
    ";",
    "(",
    ")",
    "if (",
    "else ",
    "while (",
    "switch ($rU) {",
    "case 1:",
    "default:",
    "break;",
    "exit;",
    "drop;",
    "return 1;",
    "route(A);",
    "route[A] {",
    "loadmodule \"",
    "tm",
    "sl",
    "\"",
    "modparam(\"tm\", \"x\", 1)\n",
    "listen=udp:127.0.0.1\n",
    "async_workers_group=\"name=a;workers=0\"\n",
    "t_relay(\"$ru",
    "sworker_task(\"a\")",
    "$var(x)",
    "$(ru{uri.user})",
    "$sel(cfg_get.a.b)",
    "@ruri.user",
    "a.b = 5 desc \"x\"\n",
    " == ",
    " = ",
    "5",
    "\"a\"",
    "!",
    "&&",
    "-",
    "#!define X X\n",
    "#!ifdef X\n",
    "#!endif\n",
    "include_file \"x\"\n",
    "X",
    "\n",
    "snd_ip",
    "onsend_route {",
    "flags a:1\n",
    "xlog(\"$",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_script_breaks_the_check(pieces in prop::collection::vec(prop::sample::select(SOUP), 0..50)) {
        let text = pieces.concat();
        let report = told(&format!("{HEAD}{text}"));
        let loaded = load(request("t.cfg", format!("{HEAD}{text}")));
        prop_assert_eq!(report.is_good, loaded.is_ok());
        if let Ok(printed) = print_canonical(request("t.cfg", text.as_str())) {
            let again = print_canonical(request("t.cfg", printed.as_str()));
            prop_assert_eq!(again.as_ref().ok(), Some(&printed), "{}", text);
        }
    }

    #[test]
    fn no_bytes_break_the_check(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let report = examine(request("t.cfg", bytes), ReportFormat::Json);
        let parsed: Result<Value, _> = serde_json::from_str(&report.text);
        prop_assert!(parsed.is_ok());
    }
}
