//! Order across a reload: what an earlier generation accepted for a group comes before what the new one accepts for it.
//!
//! ```text
//!  earlier  receivers ... gone │ ring of calls ▒▒▒░ ... empty │
//!  new      workers of calls: held back ──────────────────────┴─► take from their ring, which has filled meanwhile
//! ```
//!
//! Only groups with `order=` wait, and only for groups of the same name; all others begin at once. The wait ends at the
//! latest with the earlier generation, which `exit_timeout` bounds, and at once when the new one stops itself: order
//! may be lost then, a message is not.

use super::repair::RepairShop;
use crate::config::settings::Order;
use crate::process::heritage::Heritage;
use crate::process::master::Master;
use crate::process::master::child_slots::Child;
use crate::process::roles::role::Role;

/// What is known about one generation.
struct Sight<'a> {
    heritage: &'a Heritage,
    repair: &'a RepairShop,
    children: &'a [Child],
}

impl Sight<'_> {
    /// Names of groups for which it may still accept or process something.
    fn unfinished(&self) -> Vec<&str> {
        let is_reading =
            |child: &Child| matches!(child.role, Role::Receiver { .. }) && child.process.is_some();
        let are_receivers_there = self.children.iter().any(is_reading);
        let groups = (0..).zip(&self.heritage.loaded.settings().groups);
        groups
            .filter(|(group, _)| {
                are_receivers_there || !self.repair.is_drained(*group) || self.has_unsent(*group)
            })
            .map(|(_, setting)| setting.name.as_str())
            .collect()
    }

    /// Whether a worker of the group has finished messages whose replies have not left yet.
    fn has_unsent(&self, group: u16) -> bool {
        let is_of_group =
            |child: &&Child| matches!(child.role, Role::Worker { group: own, .. } if own == group);
        let mut workers = self.children.iter().filter(is_of_group);
        workers.any(|worker| self.heritage.parts.outboxes.waiting(worker.place) > 0)
    }
}

impl Master {
    /// For the generation that is about to be forked: groups that keep order wait for the generations before.
    pub(in crate::process) fn hold_back_the_ordered(&self) {
        let is_known = |name: &str| {
            self.draining.iter().any(|earlier| {
                earlier.heritage.loaded.settings().groups.iter().any(|group| group.name == name)
            })
        };
        for (group, setting) in (0..).zip(&self.current.heritage.loaded.settings().groups) {
            if setting.order != Order::None && is_known(&setting.name) {
                self.current.heritage.parts.status.set_held(group, true);
            }
        }
    }

    /// In each turn: a group whose earlier generations have finished begins.
    pub(in crate::process) fn let_go_in_order(&self) {
        let current = Sight {
            heritage: &self.current.heritage,
            repair: &self.current.repair,
            children: &self.current.children,
        };
        let draining = self.draining.iter().map(|earlier| Sight {
            heritage: &earlier.heritage,
            repair: &earlier.repair,
            children: &earlier.children,
        });
        let all: Vec<Sight<'_>> = draining.chain([current]).collect();
        for one in &all {
            let earlier =
                all.iter().filter(|other| other.heritage.fixed.generation < one.heritage.fixed.generation);
            release(one.heritage, earlier);
        }
    }
}

fn release<'a>(heritage: &Heritage, earlier: impl Iterator<Item = &'a Sight<'a>> + Clone) {
    for (group, setting) in (0..).zip(&heritage.loaded.settings().groups) {
        let is_awaited = |other: &Sight<'_>| other.unfinished().contains(&setting.name.as_str());
        if heritage.parts.status.is_held(group) && !earlier.clone().any(is_awaited) {
            heritage.parts.status.set_held(group, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start::boot::tests::Scene;
    use crate::shm::{Packet, Record};
    use crate::sys::process::ProcessId;

    const SCRIPT: &str = "listen=udp:127.0.0.1:0\nchildren=1\n\
        async_workers_group=\"name=calls;workers=1;queue=8;order=callid\"\nrequest_route { exit; }\n";

    #[test]
    fn a_group_waits_for_receivers_and_messages_of_those_before_it() {
        let (earlier, new) = (Scene::new(SCRIPT), Scene::new(SCRIPT));
        let repair = RepairShop::new(&earlier.heritage.parts.queues);
        let mut receiver = Child::new(1, &earlier.heritage.places[1]);
        let check = |receiver: &Child, expected: bool| {
            let children = std::slice::from_ref(receiver);
            let sight = Sight { heritage: &earlier.heritage, repair: &repair, children };
            release(&new.heritage, [sight].iter());
            assert_eq!(new.heritage.parts.status.is_held(0), expected);
        };
        new.heritage.parts.status.set_held(0, true);
        receiver.process = Some(ProcessId::own());
        check(&receiver, true);

        let record = Record { meta: b"m", body: b"b", xdata: b"", received_at_ns: 1 };
        earlier.heritage.parts.queues.producer(0).push(0, &record).unwrap();
        receiver.process = None;
        check(&receiver, true);

        let mut worker = earlier.heritage.parts.queues.consumer(0, 0);
        let delivery = worker.next().unwrap();
        check(&receiver, true);
        delivery.finish();
        check(&receiver, false);
    }

    #[test]
    fn a_group_waits_for_replies_that_have_not_left() {
        let (earlier, new) = (Scene::new(SCRIPT), Scene::new(SCRIPT));
        let repair = RepairShop::new(&earlier.heritage.parts.queues);
        let is_worker = |role: &Role| matches!(role, Role::Worker { .. });
        let place = earlier.heritage.places.iter().position(is_worker).expect("the script has a worker");
        let children = [Child::new(place as u32, &earlier.heritage.places[place])];
        let check = |expected: bool| {
            let sight = Sight { heritage: &earlier.heritage, repair: &repair, children: &children };
            release(&new.heritage, [sight].iter());
            assert_eq!(new.heritage.parts.status.is_held(0), expected);
        };
        new.heritage.parts.status.set_held(0, true);
        let mut outbox = earlier.heritage.parts.outboxes.attach(place as u32).expect("it sends");
        let to = "127.0.0.1:5060".parse().unwrap();
        outbox.put(&Packet { listener: 0, to, bytes: b"SIP/2.0 200 OK" }).unwrap();
        check(true);
        outbox.flush(|pending| pending.len());
        check(false);
    }
}
