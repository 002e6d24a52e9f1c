//! When the kernel refuses to send or a line is too slow, or a disk is full; as root, in a network and mounts of one's own.

use std::time::{Duration, Instant};

use crate::scripts::{HEAD, answered_by_workers};
use crate::support::{Caller, Load, Request, SOON, Server, apart, wait_until};

/// Runs it where that is possible.
fn apart(scene: impl FnOnce() + Send) {
    match apart::missing() {
        None => apart::run_inside(scene),
        Some(reason) => eprintln!("skipped: {reason}"),
    }
}

#[test]
fn what_the_kernel_forbids_to_send_is_counted_and_nobody_else_notices() {
    apart(|| {
        let server = Server::start(&answered_by_workers(1, 2, 1024));
        let refused = server.caller();
        apart::forbid_sending_to(refused.address().port());
        for index in 0..20 {
            refused.send(&refused.bytes(&Request::new("OPTIONS", &format!("forbidden-{index}"))));
        }
        Load::new("allowed", 500).run(&server.caller()).assert_nothing_lost();
        wait_until("all are counted", SOON, || server.counter("core.sends_failed") == 20);
        assert!(refused.receive_within(Duration::from_millis(50)).is_none(), "it was forbidden");
        apart::allow_all();
        assert_eq!(refused.ask(&Request::new("OPTIONS", "allowed-again")).status(), 200);
        assert_eq!(server.group("calls")["worker_deaths"], 0);
    });
}

#[test]
fn a_full_send_buffer_holds_up_nobody_for_longer_than_a_moment() {
    apart(|| {
        apart::make_slow_line();
        let script = format!(
            "{HEAD}children=1\nreply_to_via=yes\nrequest_route {{ sl_send_reply(\"200\", \"OK\"); }}\n"
        );
        let server = Server::on(&script).listen(&format!("udp:{}:0", apart::NEAR)).start();
        let caller = Caller::new(server.address());
        let bytes = |index: u32| {
            let text = caller.bytes(&Request::new("INVITE", &format!("far-{index}")).via_parameters(""));
            let via = format!("SIP/2.0/UDP {}", caller.address());
            let far = format!("SIP/2.0/UDP {}:5060", apart::FAR);
            String::from_utf8_lossy(&text).replacen(&via, &far, 1)
        };
        let mut sent = 0;
        wait_until("the buffer is full", SOON, || {
            caller.send(bytes(sent).as_bytes());
            sent += 1;
            sent.is_multiple_of(50) && server.counter("core.sends_failed") > 0
        });
        apart::make_line_fast();
        let freed_at = Instant::now();
        let through = caller.ask(&Request::new("OPTIONS", "through"));
        assert_eq!(through.status(), 200);
        assert!(freed_at.elapsed() < SOON / 2, "{:?}", freed_at.elapsed());
    });
}

#[test]
fn a_message_that_finds_no_room_on_the_disk_is_told_and_its_sender_still_answered() {
    apart(|| {
        let script = format!(
            r#"{HEAD}loadmodule "cfgutils"
children=1
async_workers_group="name=calls;workers=1;queue=64;deadline_ms=100;attempts=1"
event_route[core:pre-routing] {{ if (sworker_task("calls")) drop; }}
request_route {{ if (is_method("INVITE")) usleep("60000000"); sl_send_reply("200", "OK"); }}
"#
        );
        let server = Server::start(&script);
        let directory = server.folder().file("run/quarantine");
        std::fs::create_dir(&directory).expect("a directory can be made");
        apart::mount_full_disk(&directory);
        let caller = server.caller();
        assert_eq!(caller.ask(&Request::new("INVITE", "no-room")).status(), 500);
        server.wait_for_log("could not write a message of group calls to the quarantine: No space left");
        assert_eq!(caller.ask(&Request::new("OPTIONS", "meanwhile")).status(), 200);

        apart::empty_disk(&directory);
        assert_eq!(caller.ask(&Request::new("INVITE", "room")).status(), 500);
        server.wait_for_log("quarantined a message");
        apart::command(&format!("umount {}", directory.display()));
    });
}
