//! `sworkerd --replay FILE -f cfg`: a message that was set aside, given once more to the script that it ended.
//!
//! One process, no fork, no socket, no queue: a debugger can stop at any line of it. What the script would send is
//! printed, the log goes to error output.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use crate::bindings::load::Loaded;
use crate::config::settings::GroupSetting;
use crate::engine::perform::{Engine, EngineParts};
use crate::process::roles::quarantine::SetAside;
use crate::routing::delegation::{Delegate, Delegation, GroupIndex};
use crate::routing::envelope::Incoming;
use crate::routing::outbox::Outbox;
use crate::routing::outgoing::{NotSent, Outgoing};
use crate::routing::work::Work;
use crate::shm::Placement;
use crate::sip::branch::Secret;
use crate::sys::process::ProcessId;
use crate::telemetry::counters::CountNothing;
use crate::telemetry::log::Log;
use crate::telemetry::process_identity::{ProcessIdentity, ProcessKind};
use crate::transport::endpoint::Flow;

/// Runs the routes on the message, as a worker of its group would at its first delivery, or a receiver where it has no
/// group. What would be sent or handed over goes to `out`; gives the number of messages.
pub fn replay(
    loaded: Rc<Loaded>,
    set_aside: &SetAside,
    log: Rc<Log>,
    out: &mut dyn Write,
) -> Result<usize, String> {
    let envelope = set_aside
        .envelope
        .ok_or("the source address of the message was not readable when it was quarantined")?;
    let kind = kind(&loaded.settings().groups, &set_aside.group)?;
    let kept = Kept { events: Rc::default(), loaded: Rc::clone(&loaded) };
    let pid = ProcessId::own().number() as u32;
    // One process that writes: this one.
    let shared =
        loaded.registry.shared_state(1).map_err(|error| format!("could not make shared memory: {error}"))?;
    let mut engine = Engine::new(EngineParts {
        loaded,
        shared,
        outbox: Box::new(kept.clone()),
        delegate: (kind == ProcessKind::Receiver).then(|| Box::new(kept.clone()) as Box<dyn Delegate>),
        counters: Box::new(CountNothing),
        log,
        process: ProcessIdentity { index: 0, pid, kind },
        secret: Secret::new([0; 16]),
    });
    let datagram = Incoming { bytes: &set_aside.message, envelope };
    match kind {
        ProcessKind::Receiver => engine.receive(&datagram),
        _ => match Work::of_message(datagram, &set_aside.continuation, &set_aside.xdata) {
            Ok(work) => engine.perform(&work, 0),
            Err(broken) => engine.pass_over(&broken),
        },
    }
    engine.stop();
    let events = kept.events.take();
    print(&events, out).map_err(|error| format!("could not print: {error}"))
}

fn kind(groups: &[GroupSetting], name: &str) -> Result<ProcessKind, String> {
    if name.is_empty() {
        return Ok(ProcessKind::Receiver);
    }
    let group = groups.iter().position(|group| group.name == name);
    let group = group.ok_or_else(|| format!("the script has no group \"{name}\""))?;
    Ok(ProcessKind::Worker { group: group as u16 })
}

enum Event {
    Sent { listener: u16, to: SocketAddr, bytes: Vec<u8> },
    HandedOver { group: String },
}

/// Sends and hands over nothing; keeps what would have been.
#[derive(Clone)]
struct Kept {
    events: Rc<RefCell<Vec<Event>>>,
    loaded: Rc<Loaded>,
}

impl Outbox for Kept {
    fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), NotSent> {
        let Outgoing { flow: Flow::Datagram { listener, to }, bytes } = *outgoing;
        self.events.borrow_mut().push(Event::Sent { listener, to, bytes: bytes.to_vec() });
        Ok(())
    }
}

impl Delegate for Kept {
    fn delegate(&mut self, group: GroupIndex, _: Placement, _: &Incoming<'_>, _: &[u8]) -> Delegation {
        let groups = &self.loaded.settings().groups;
        let Some(group) = groups.get(usize::from(group.0)) else { return Delegation::NoSuchGroup };
        self.events.borrow_mut().push(Event::HandedOver { group: group.name.clone() });
        Delegation::Delegated
    }

    fn count_refused(&mut self, _: GroupIndex) {}

    fn wake(&mut self) {}
}

/// How many messages would be sent.
fn print(events: &[Event], out: &mut dyn Write) -> io::Result<usize> {
    let mut sent_count = 0;
    for event in events {
        match event {
            Event::HandedOver { group } => writeln!(out, "--- handed over to group {group}")?,
            Event::Sent { listener, to, bytes } => {
                sent_count += 1;
                writeln!(out, "--- {} bytes to {to} by listener {listener}", bytes.len())?;
                out.write_all(bytes)?;
                if !bytes.ends_with(b"\n") {
                    writeln!(out)?;
                }
            }
        }
    }
    writeln!(out, "--- {sent_count} messages would be sent")?;
    Ok(sent_count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::load::{LoadRequest, Root, load};
    use crate::modules;
    use crate::routing::delegation::Xdata;
    use crate::routing::envelope::Envelope;
    use crate::transport::endpoint::Transport;

    fn set_aside(group: &str) -> SetAside {
        let mut xdata = Vec::new();
        Xdata::Text(b"carried").encode(&mut xdata);
        let address = "127.0.0.1:5060".parse().unwrap();
        SetAside {
            group: group.to_owned(),
            envelope: Some(Envelope {
                source: "192.0.2.1:5070".parse().unwrap(),
                destination: address,
                listener: 0,
                transport: Transport::Udp,
                received_at_ns: 1,
            }),
            continuation: vec![],
            xdata,
            attempts: 2,
            fingerprint: 1,
            set_aside_at_ns: 1,
            deaths: vec![],
            message: b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport\r\n\
                From: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        }
    }

    fn run(set_aside: &SetAside) -> Result<String, String> {
        let text = "listen=udp:127.0.0.1:5060\nloadmodule \"sl\"\nloadmodule \"pv\"\nloadmodule \"sworker\"\n\
            async_workers_group=\"name=other;workers=1\"\nasync_workers_group=\"name=calls;workers=1\"\n\
            modparam(\"sworker\", \"xdata\", \"$var(x)\")\n\
            event_route[core:pre-routing] { if (sworker_task(\"calls\")) drop; }\n\
            request_route { if (sworker_active()) sl_send_reply(\"200\", \"$var(x)\"); }\n";
        let root = Root::Text { name: "test.cfg".to_owned(), text: text.into() };
        let loaded = load(LoadRequest::new(root, modules::MODULES)).map_err(|r| r.errors.concat()).unwrap();
        let mut out = Vec::new();
        replay(Rc::new(loaded), set_aside, Rc::new(Log::to_nowhere()), &mut out)
            .map(|_| String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_would_be_sent_is_printed() {
        let text = run(&set_aside("calls")).unwrap();
        assert!(text.contains(" bytes to 192.0.2.1:5070 by listener 0\nSIP/2.0 200 carried\r\n"), "{text}");
        assert!(text.ends_with("--- 1 messages would be sent\n"), "{text}");
    }

    #[test]
    fn what_ended_receivers_is_played_to_one() {
        let text = run(&set_aside("")).unwrap();
        assert_eq!(text, "--- handed over to group calls\n--- 0 messages would be sent\n");
    }

    #[test]
    fn what_cannot_be_played_is_told() {
        assert_eq!(run(&set_aside("gone")), Err("the script has no group \"gone\"".to_owned()));
        let lost = SetAside { envelope: None, ..set_aside("calls") };
        assert!(run(&lost).unwrap_err().starts_with("the source address of the message"));
    }
}
