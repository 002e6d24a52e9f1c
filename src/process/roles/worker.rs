//! A worker: takes one message at a time from the rings of its group and lets the engine process it.
//!
//! The message stays in the worker's slot until [`Delivery::finish`], which comes after everything the script did: what it
//! sent lies in the worker's outbox then, or has left. A worker that dies before that leaves the message to its successor,
//! so what was accepted is processed; the price is that an effect may happen twice when a worker is killed between effect
//! and `finish`. The outbox is empty before the worker sleeps, and before it gives back a shard of a group with order.

use std::io;
use std::time::Duration;

use super::child::{follow_master, is_asked_to_leave, is_orphaned};
use super::delaying::DelayingDelegate;
use crate::config::settings::GroupSetting;
use crate::engine::perform::Engine;
use crate::process::heritage::Heritage;
use crate::routing::delegation::Delegate;
use crate::routing::work::Work;
use crate::shm::{Consumer, Delivery};
use crate::sys::clock::monotonic_ns;
use crate::telemetry::process_identity::ProcessIdentity;

/// A wake is lost only with a process that is stopped while it is being woken. A colleague then finds the message after
/// this time at the latest, before its sender would send it again (500 ms).
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// A worker that waits for a earlier generation looks so often whether it may begin.
const HELD_PAUSE: Duration = Duration::from_millis(5);

/// The life of a worker.
pub fn run(heritage: &Heritage, process: ProcessIdentity, group: u16, index: u32) -> io::Result<()> {
    let rules = heritage.places[process.index as usize].rules();
    let is_leaving = || is_asked_to_leave(&rules);
    let delegate = DelayingDelegate::of(heritage, process.index);
    let mut engine =
        heritage.engine(process, delegate.map(|delegate| Box::new(delegate) as Box<dyn Delegate>));
    let mut consumer = heritage.parts.queues.consumer(u32::from(group), index);
    let max_age_ns = max_age_ns(&heritage.loaded.settings().groups[usize::from(group)]);
    heritage.channel.tell_ready(process.index);
    loop {
        // Asked first: a worker that is told to leave looks into the rings once more after that.
        let is_last_look = is_leaving() && !(is_orphaned(&rules) && is_something_waiting(heritage));
        // Without a master nothing ends the wait for a earlier generation.
        if !is_last_look && !is_orphaned(&rules) && heritage.parts.status.is_held(u32::from(group)) {
            std::thread::sleep(HELD_PAUSE);
            follow_master(heritage, &rules);
            continue;
        }
        process_waiting(heritage, &mut engine, &mut consumer, group, max_age_ns);
        if is_last_look {
            engine.stop();
            return Ok(());
        }
        consumer.park(&is_leaving, Some(SLEEP_MAX));
        follow_master(heritage, &rules);
    }
}

/// Without a master no worker is started again, so it stays until the timer has moved everything.
fn is_something_waiting(heritage: &Heritage) -> bool {
    heritage.parts.delayed.as_ref().is_some_and(|delayed| !delayed.is_empty())
}

/// What waited longer is not processed.
fn max_age_ns(group: &GroupSetting) -> u64 {
    match u64::from(group.max_age_ms) {
        0 => u64::MAX,
        milliseconds => milliseconds * 1_000_000,
    }
}

fn process_waiting(
    heritage: &Heritage,
    engine: &mut Engine,
    consumer: &mut Consumer,
    group: u16,
    max_age_ns: u64,
) {
    while let Some(mut delivery) = consumer.next_after(&mut || engine.flush()) {
        // What workers died over is no longer a matter of waiting in the queue.
        if delivery.earlier_attempts() == 0 && delivery.queued_ns() > max_age_ns {
            delivery.expire();
            continue;
        }
        // A message that has ended a worker may hold this one up as well, but not what was sent for others.
        if delivery.earlier_attempts() > 0 {
            engine.flush();
        }
        engine.set_followed(delivery.is_followed());
        process_delivery(heritage, engine, group, delivery);
        engine.flush_old();
    }
    engine.flush();
}

fn process_delivery(heritage: &Heritage, engine: &mut Engine, group: u16, delivery: Delivery<'_>) {
    match Work::decode(delivery.meta(), delivery.body(), delivery.xdata()) {
        Ok(work) if heritage.parts.poison.knows(group, work.incoming().bytes, monotonic_ns) => {
            engine.refuse_copy(work.incoming());
        }
        Ok(work) => engine.perform(&work, delivery.earlier_attempts()),
        Err(broken) => engine.pass_over(&broken),
    }
    delivery.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start::boot::tests::Scene;
    use crate::routing::delegation::Xdata;
    use crate::routing::envelope::Envelope;
    use crate::shm::Record;
    use crate::telemetry::counters::{COPIES_REFUSED, WORK_UNREADABLE};
    use crate::telemetry::process_identity::ProcessKind;
    use crate::transport::endpoint::Transport;
    use std::net::UdpSocket;

    const SCRIPT: &str = "listen=udp:127.0.0.1:0\nchildren=1\nloadmodule \"sl\"\nloadmodule \"pv\"\nloadmodule \"sworker\"\n\
        async_workers_group=\"name=calls;workers=1;queue=16\"\nmodparam(\"sworker\", \"xdata\", \"$var(x)\")\n\
        request_route { sl_send_reply(\"200\", \"$var(x)\"); }\n";

    fn push(scene: &Scene, meta: &[u8], source: &UdpSocket, extra: &str) {
        let body = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: {extra}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            source.local_addr().unwrap()
        );
        let mut xdata = Vec::new();
        Xdata::Text(extra.as_bytes()).encode(&mut xdata);
        let record = Record { meta, body: body.as_bytes(), xdata: &xdata, received_at_ns: 1 };
        scene.heritage.parts.queues.producer(0).push(0, &record).unwrap();
    }

    fn envelope(scene: &Scene, source: &UdpSocket) -> Envelope {
        Envelope {
            source: source.local_addr().unwrap(),
            destination: scene.heritage.listeners.udp(0).unwrap().address(),
            listener: 0,
            transport: Transport::Udp,
            received_at_ns: 1,
        }
    }

    #[test]
    fn what_waits_is_answered_and_finished_and_what_is_broken_is_finished_too() {
        let scene = Scene::new(SCRIPT);
        let source = UdpSocket::bind("127.0.0.1:0").unwrap();
        source.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let whole = Work::meta_of_message(&envelope(&scene, &source));
        push(&scene, &whole, &source, "first");
        push(&scene, &whole[1..], &source, "broken");
        let unknown_kind = [&[99], &whole[1..]].concat();
        push(&scene, &unknown_kind, &source, "of a later program");
        push(&scene, &whole, &source, "second");

        let process = ProcessIdentity { index: 2, pid: 7, kind: ProcessKind::Worker { group: 0 } };
        let mut engine = scene.heritage.engine(process, None);
        let mut consumer = scene.heritage.parts.queues.consumer(0, 0);
        process_waiting(&scene.heritage, &mut engine, &mut consumer, 0, u64::MAX);

        for expected in ["first", "second"] {
            let mut bytes = [0; 2000];
            let size = source.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..size]);
            assert!(text.starts_with(&format!("SIP/2.0 200 {expected}\r\n")), "{text}");
        }
        let figures = scene.heritage.parts.queues.group_statistics(0);
        assert_eq!((figures.depth, figures.processed), (0, 4));
        assert_eq!(scene.heritage.parts.counters.sum(WORK_UNREADABLE.0), 2);
    }

    #[test]
    fn a_copy_of_what_was_set_aside_is_refused_and_the_script_does_not_see_it() {
        let scene = Scene::new(SCRIPT);
        let source = UdpSocket::bind("127.0.0.1:0").unwrap();
        source.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let whole = Work::meta_of_message(&envelope(&scene, &source));
        push(&scene, &whole, &source, "copy");
        push(&scene, &whole, &source, "another");
        let mut consumer = scene.heritage.parts.queues.consumer(0, 0);
        let body = consumer.next().unwrap().body().to_vec();
        scene.heritage.parts.poison.note(0, &body, monotonic_ns());

        let process = ProcessIdentity { index: 2, pid: 7, kind: ProcessKind::Worker { group: 0 } };
        let mut engine = scene.heritage.engine(process, None);
        process_waiting(&scene.heritage, &mut engine, &mut consumer, 0, u64::MAX);

        for expected in ["SIP/2.0 500 ", "SIP/2.0 200 another"] {
            let mut bytes = [0; 2000];
            let size = source.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..size]);
            assert!(text.starts_with(expected), "{text}");
        }
        assert_eq!(scene.heritage.parts.counters.sum(COPIES_REFUSED.0), 1);
    }
}
