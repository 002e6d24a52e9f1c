//! The timer: moves delayed messages into the rings of their groups when they are due.
//!
//! ```text
//!  look at all slots ─► move what is due ─► wake its groups ─► sleep until the next is due, or until one comes sooner
//! ```
//!
//! It runs no script and sends nothing. Its successor knows what was moved when it dies (see
//! [`crate::shm::DelayQueue`]), and what was not is moved then. No message is moved before its time, unless the
//! server stops.

use std::io;
use std::time::Duration;

use super::child::{follow_master, is_asked_to_leave, is_orphaned};
use crate::process::heritage::Heritage;
use crate::shm::{Scheduler, Sweep};
use crate::sys::clock::monotonic_ns;
use crate::telemetry::log::Level;

/// A wake is lost only with a process that dies while it wakes. What waits is then found after this time at the latest.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// A full ring is tried again so soon.
const PAUSE: Duration = Duration::from_millis(1);

/// The life of the timer.
pub fn run(heritage: &Heritage, place: u32, producer: u32) -> io::Result<()> {
    let rules = heritage.places[place as usize].rules();
    let delayed =
        heritage.parts.delayed.as_ref().ok_or_else(|| io::Error::other("there is no delay queue"))?;
    let mut scheduler = delayed.scheduler(heritage.parts.queues.producer(producer));
    let heartbeat = heritage.parts.heartbeats.block(place);
    heritage.channel.tell_ready(place);
    loop {
        heartbeat.add(0, 1);
        // Asked first: a timer that is told to leave looks once more after that.
        let is_last_look = is_asked_to_leave(&rules);
        if is_orphaned(&rules) {
            // Else that is the master's to say: another program may have sent the signal, and gets a successor.
            delayed.expire_all();
        }
        let sweep = scheduler.sweep(monotonic_ns());
        tell(heritage, &sweep);
        // Without a master this process has no successor: what a full ring holds up is tried again.
        let is_held_up = is_orphaned(&rules) && !delayed.is_empty();
        if is_last_look && !is_held_up {
            return Ok(());
        }
        rest(&mut scheduler, &sweep);
        follow_master(heritage, &rules);
    }
}

fn rest(scheduler: &mut Scheduler, sweep: &Sweep) {
    match sweep.held_up {
        0 => scheduler.sleep(sweep.next_due_ns.unwrap_or(u64::MAX), SLEEP_MAX),
        _ => scheduler.pause(PAUSE),
    }
}

fn tell(heritage: &Heritage, sweep: &Sweep) {
    if sweep.corrupt > 0 {
        let count = sweep.corrupt;
        heritage.log.say(Level::Bug, format_args!("lost: {count} corrupt delayed messages"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::roles::role::Role;
    use crate::process::start::boot::tests::Scene;
    use crate::shm::{Placement, Record};

    #[test]
    fn it_rests_until_something_is_due_or_has_room() {
        let scene = Scene::new(
            "listen=udp:127.0.0.1:0\nchildren=1\nasync_workers_group=\"name=calls;workers=1;queue=2\"\n\
             loadmodule \"async\"\nrequest_route { exit; }\n",
        );
        let heritage = &scene.heritage;
        let timer = heritage.places.iter().find_map(|role| match role {
            Role::Timer { producer } => Some(*producer),
            _ => None,
        });
        let delayed = heritage.parts.delayed.as_ref().unwrap();
        let mut scheduler =
            delayed.scheduler(heritage.parts.queues.producer(timer.expect("there is a timer")));
        let record = Record { meta: b"m", body: b"b", xdata: b"", received_at_ns: 0 };
        let mut sender = delayed.sender(1);
        let due_ns = monotonic_ns() + 30_000_000;
        (0..3).for_each(|_| sender.send(due_ns, 0, Placement::Usual, &record).unwrap());
        let mut moved = 0;
        let mut held_up = 0;
        while moved < 3 {
            let sweep = scheduler.sweep(monotonic_ns());
            assert!(sweep.moved == 0 || monotonic_ns() >= due_ns, "moved before its time");
            (moved, held_up) = (moved + sweep.moved, held_up + sweep.held_up);
            rest(&mut scheduler, &sweep);
            if sweep.held_up > 0 {
                heritage.parts.queues.consumer(0, 0).next().expect("one of two").finish();
            }
        }
        assert!(held_up > 0 && delayed.is_empty());
    }
}
