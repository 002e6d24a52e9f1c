//! What ends up in the log: through every engine nothing a sender writes passes for a line, and nothing is lost.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Folder, Request, SOON, Server, wait_until};

const SCRIPT: &str = "debug=2\nchildren=1\nloadmodule \"sl\"\nloadmodule \"xlog\"\n\
    request_route {\n xlog(\"L_ERR\", \"[$hdr(X-Test)]\\n\");\n xdbg(\"deep\\n\");\n sl_send_reply(\"200\", \"OK\");\n}\n";

const ENGINES: [&str; 4] = ["stderr", "json", "syslog", "journald"];

/// A server with an engine, and the socket that its lines go to.
struct Scene {
    server: Server,
    daemon: UnixDatagram,
    taken: Vec<u8>,
    engine: &'static str,
    _folder: Folder,
}

impl Scene {
    fn new(engine: &'static str) -> Scene {
        Scene::on(engine, SCRIPT)
    }

    fn on(engine: &'static str, script: &str) -> Scene {
        let folder = Folder::new();
        let path = folder.file("log.socket");
        let daemon = UnixDatagram::bind(&path).unwrap();
        daemon.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let words = match engine {
            "syslog" | "journald" => format!("--log-engine={engine}:{}", path.display()),
            _ => format!("--log-engine={engine}"),
        };
        let server = Server::on(script).argument(&words).start();
        Scene { server, daemon, taken: Vec::new(), engine, _folder: folder }
    }

    /// Everything logged so far, until it holds `text`.
    #[track_caller]
    fn log_with(&mut self, text: &str) -> Vec<u8> {
        let give_up_at = Instant::now() + SOON;
        let holds = |bytes: &[u8]| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        loop {
            let bytes = match self.engine {
                "syslog" | "journald" => {
                    self.take_datagrams();
                    self.taken.clone()
                }
                _ => std::fs::read(self.server.folder().file("server.out")).unwrap(),
            };
            if holds(&bytes) {
                return bytes;
            }
            assert!(
                Instant::now() < give_up_at,
                "{text} does not come:\n{}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }

    /// Datagrams one after the other, each ended by a line of its own.
    fn take_datagrams(&mut self) {
        let mut buffer = vec![0; 70_000];
        while let Ok(size) = self.daemon.recv(&mut buffer) {
            self.taken.extend_from_slice(&buffer[..size]);
            self.taken.push(b'\n');
        }
    }

    /// Sends a request whose header `X-Test` has this value; the answer may fail to come.
    fn send(&self, call_id: &str, value: &[u8]) {
        let caller = self.server.caller();
        let text = String::from_utf8(caller.bytes(&Request::new("OPTIONS", call_id))).unwrap();
        let (head, rest) = text.split_once("\r\n").unwrap();
        caller.send(&[head.as_bytes(), b"\r\nX-Test: ", value, b"\r\n", rest.as_bytes()].concat());
    }
}

/// Undoes `\xNN`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(&first) = rest.first() {
        let digits = rest.strip_prefix(b"\\x").and_then(|after| std::str::from_utf8(after.get(..2)?).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(first);
                rest = &rest[1..];
            }
        }
    }
    out
}

#[test]
fn every_byte_a_header_can_hold_comes_through_every_engine_and_none_controls() {
    for engine in ENGINES {
        let mut scene = Scene::new(engine);
        for byte in 0..=255u8 {
            scene.send(&format!("byte{byte}"), &[b"<", &[b'a', byte, b'b'][..], b">"].concat());
            // A daemon's queue is short, and what finds no room in it is dropped: let it be emptied in between.
            if byte % 4 == 3 {
                let marker = format!("marker{byte}");
                scene.send(&marker, marker.as_bytes());
                scene.log_with(&format!("[{marker}]"));
            }
        }
        scene.send("marker", b"all-sent");
        let log = scene.log_with("[all-sent]");

        let is_harmless = |byte: &u8| matches!(byte, b'\t' | b'\n') || !byte.is_ascii_control();
        // The journal's own framing holds sizes in binary.
        if engine != "journald" {
            assert!(log.iter().all(is_harmless), "{engine}");
            assert!(std::str::from_utf8(&log).is_ok(), "{engine}");
        }
        let found = (0..=255u8).filter(|&byte| {
            let shown: Vec<Vec<u8>> = match engine {
                "json" => messages_of_json(&log).into_iter().map(|text| unescape(text.as_bytes())).collect(),
                _ => vec![unescape(&log)],
            };
            let wanted = [&b"[<"[..], &[b'a', byte, b'b'], b">]"].concat();
            shown.iter().any(|text| memchr::memmem::find(text, &wanted).is_some())
        });
        // CR, LF and NUL end or break a header: such a message is refused, and told as such.
        let missing: Vec<u8> = {
            let found: Vec<u8> = found.collect();
            (0..=255u8).filter(|byte| !found.contains(byte)).collect()
        };
        assert!(
            missing.iter().all(|byte| matches!(byte, 0 | b'\r' | b'\n')),
            "{engine}: {missing:?} not found"
        );
    }
}

/// What a sender can bring into a line without a byte that ends a header: colours, and line ends behind escapes.
#[test]
fn neither_a_colour_nor_a_decoded_line_end_of_a_sender_comes_through() {
    let script = SCRIPT
        .replace("[$hdr(X-Test)]\\n", "[$hdr(X-Test)] $(hdr(X-Test){s.unescape.user}) $C(gx)meant$C(xx)\\n");
    let sent = b"\x1b[8mhidden\x1b[0m%0aALERT: forged%1b[31m\\x0d";
    for engine in ENGINES {
        let mut scene = Scene::on(engine, &script);
        scene.send("coloured", sent);
        scene.send("marker", b"after");
        let log = scene.log_with("[after]");
        // The script's own colours are for terminals and for the journal, which keeps them apart.
        let of_script = String::from_utf8_lossy(&log).replace("\x1b[0;32mmeant\x1b[0m", "meant");
        assert!(!of_script.contains('\x1b'), "{engine}: {of_script:?}");
        assert!(!of_script.lines().any(|line| line.starts_with("ALERT")), "{engine}: {of_script}");
        let text = match engine {
            "json" => messages_of_json(&log).join("\n"),
            _ => String::from_utf8_lossy(&log).into_owned(),
        };
        assert!(text.contains(r"[\x1b[8mhidden\x1b[0m%0aALERT: forged%1b[31m\x5cx0d]"), "{engine}: {text}");
        assert!(text.contains(r"hidden\x1b[0m\x0aALERT: forged\x1b[31m\x5cx0d "), "{engine}: {text}");
    }
}

fn messages_of_json(log: &[u8]) -> Vec<String> {
    let lines = log.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"{"));
    let objects = lines.map(|line| serde_json::from_slice::<Value>(line).expect("each line is an object"));
    objects.map(|object| object["message"].as_str().expect("with a message").to_string()).collect()
}

#[test]
fn a_folded_header_forges_no_line_in_any_engine() {
    for engine in ENGINES {
        let mut scene = Scene::new(engine);
        scene.send("forger", b"x\r\n 0(1) ALERT: <core>: forged\r\n\t{\"level\":\"ALERT\"}\r\n PRIORITY=1");
        scene.send("marker", b"after");
        let log = String::from_utf8_lossy(&scene.log_with("[after]")).into_owned();
        assert!(log.contains("forged"), "{engine}: {log}");
        for line in log.lines() {
            let start = line.trim_start();
            let is_forged =
                ["0(1) ALERT", "{\"level\":\"ALERT\"", "PRIORITY=1"].iter().any(|f| start.starts_with(f));
            assert!(!is_forged, "{engine}: {line}");
        }
    }
}

#[test]
fn json_lines_tell_process_module_and_call() {
    let mut scene = Scene::new("json");
    scene.send("my-call", b"words");
    let log = scene.log_with("[words]");
    let lines = log.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"{"));
    let objects: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let object =
        objects.iter().find(|object| object["message"] == "[words]").expect("the line of the script");
    assert_eq!((&object["level"], &object["module"]), (&"ERROR".into(), &"script".into()));
    assert_eq!(object["call_id"], "my-call");
    let pid = i32::try_from(object["pid"].as_i64().unwrap()).unwrap();
    assert_eq!(scene.server.children_titled("receiver"), [pid]);
}

#[test]
fn the_level_changes_in_every_process_while_the_server_runs() {
    let server = Server::on(SCRIPT).start();
    let caller = server.caller();
    caller.ask(&Request::new("OPTIONS", "before"));
    assert_eq!(server.log_count("deep"), 0);
    assert!(server.control(&["cfg.set_now_int", "core", "debug", "3"]).code == Some(0));
    caller.ask(&Request::new("OPTIONS", "during"));
    server.wait_for_log("DEBUG: <script>: deep");
    assert_eq!(server.ask_control(&["cfg.get", "core", "debug"]), 3);
    assert_eq!(server.ask_control(&["corex.debug", "2"])["level"], 2);
    caller.ask(&Request::new("OPTIONS", "after"));
    assert_eq!(server.log_count("deep"), 1);
}

#[test]
fn a_log_nobody_reads_holds_nobody_up() {
    let mut scene = Scene::new("syslog");
    let load = crate::support::Load::new("unread", 3_000);
    load.run(&scene.server.caller()).assert_nothing_lost();
    wait_until("dropped lines are counted", SOON, || scene.server.counter("core.log_lines_dropped") > 0);
    scene.take_datagrams();
    scene.send("marker", b"room-again");
    let log = String::from_utf8_lossy(&scene.log_with("[room-again]")).into_owned();
    assert!(log.contains("log lines dropped: "), "what was dropped is told");
}
