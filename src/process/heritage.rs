//! Everything that crosses the fork, in one place: made by the master, inherited by every child.
//!
//! A child takes from here what its role needs and never makes shared memory or listening sockets of its own.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;

use crate::bindings::load::Loaded;
use crate::config::settings::{FullPolicy, Order, Settings};
use crate::engine::perform::{Engine, EngineParts};
use crate::process::channel::Channel;
use crate::process::master::repair::Leftover;
use crate::process::roles::outbox::{DirectOutbox, ProcessOutbox};
use crate::process::roles::receiver;
use crate::process::roles::role::Role;
use crate::routing::delegation::Delegate;
use crate::routing::outbox::Outbox;
use crate::shm::{
    CounterBlock, Counters, GroupPlan, GroupStatistics, Lanes, Overflow, Owner, QueuePlan,
    StatisticsPublisher,
};
use crate::sip::branch::Secret;
use crate::state::overload::is_told;
use crate::state::parts::{PartPlan, Parts};
use crate::state::shared::SharedState;
use crate::sys::process::ProcessId;
use crate::telemetry::counters::{Count, CounterId};
use crate::telemetry::log::Log;
use crate::telemetry::process_identity::ProcessIdentity;
use crate::transport::listener::Listeners;

/// What the master made before the first fork.
pub struct Heritage {
    /// The checked script, its settings and its modules.
    pub loaded: Rc<Loaded>,
    /// The log of whichever process writes.
    pub log: Rc<Log>,
    /// All sockets messages come by and leave by.
    pub listeners: Rc<Listeners>,
    /// All shared memory.
    pub parts: Parts,
    /// On which children and the master talk.
    pub channel: Channel,
    /// Values and locks that scripts of all processes share.
    pub shared: SharedState,
    /// What viewers see.
    pub statistics: StatisticsPublisher,
    /// Where commands are asked.
    pub commands: UnixListener,
    /// What runs at each place; the first one is the master.
    pub places: Vec<Role>,
    /// Directory for what exists while the server runs.
    pub run_directory: PathBuf,
    /// What does not change while the generation lives.
    pub fixed: Fixed,
}

/// What does not change while a generation lives; most of it holds for the server.
#[derive(Clone)]
pub struct Fixed {
    /// One more for each reload and each upgrade.
    pub generation: u64,
    /// Makes branches and tags, the same in every process.
    pub secret: Secret,
    /// The process that supervises all others.
    pub master: ProcessId,
    /// When the server started, in nanoseconds since 1970.
    pub started_at_ns: u64,
}

impl Heritage {
    /// The engine of a child; only receivers have a way to delegate.
    pub fn engine(&self, process: ProcessIdentity, delegate: Option<Box<dyn Delegate>>) -> Engine {
        Engine::new(EngineParts {
            loaded: self.loaded.clone(),
            outbox: self.outbox(process.index),
            delegate,
            counters: Box::new(BlockCount {
                own: self.parts.counters.block(process.index),
                all: self.parts.counters.clone(),
            }),
            log: self.log.clone(),
            shared: self.shared.clone(),
            process,
            secret: self.fixed.secret,
        })
    }

    fn outbox(&self, process: u32) -> Box<dyn Outbox> {
        let (listeners, log) = (self.listeners.clone(), self.log.clone());
        let counters = self.parts.counters.block(process);
        match ProcessOutbox::attach(&self.parts.outboxes, process, listeners, counters, log) {
            Some(outbox) => Box::new(outbox),
            None => Box::new(DirectOutbox::new(self.listeners.clone())),
        }
    }

    /// The process at this place, as the parts name it.
    pub fn owner(&self, place: u32) -> Owner {
        self.shared.values.owner(place)
    }

    /// What the process at this place had read, if it was a receiver.
    pub fn remains(&self, role: &Role, place: u32) -> Option<Leftover<'_>> {
        let Role::Receiver { producer, listener, .. } = *role else { return None };
        let socket = self.listeners.udp(listener)?;
        let memory = self.parts.inboxes.get(producer as usize)?;
        Some(Leftover { memory, socket, listener, heartbeat: self.parts.heartbeats.value(place, 0) })
    }

    /// Figures of a group, and what earlier generations counted for it.
    pub fn group_figures(&self, group: u32) -> GroupStatistics {
        let mut figures = self.parts.queues.group_statistics(group);
        self.parts.status.add_to(group, &mut figures);
        figures
    }
}

/// Counts in the block of this process, and knows the sums of all.
struct BlockCount {
    own: CounterBlock,
    all: Counters,
}

impl Count for BlockCount {
    fn add(&self, counter: CounterId, amount: u64) {
        self.own.add(counter.0, amount);
    }

    fn sum(&self, counter: CounterId) -> u64 {
        self.all.sum(counter.0)
    }
}

/// The place of every process: master, receivers by listener, workers by group, a timer where messages can be delayed,
/// control.
pub fn places(settings: &Settings, delayed_max: u32) -> Vec<Role> {
    let mut places = vec![Role::Master];
    let mut producer = 0;
    for (listener, setting) in (0..).zip(&settings.listeners) {
        let place = format!("{}:{}", setting.transport.name(), setting.address);
        for number in 1..=setting.receivers.unwrap_or(settings.children) {
            places.push(Role::Receiver { producer, listener, place: place.clone(), number });
            producer += 1;
        }
    }
    for (group, setting) in (0..).zip(&settings.groups) {
        for index in 0..setting.workers_max {
            places.push(Role::Worker { group, name: setting.name.clone(), index });
        }
    }
    if delayed_max > 0 {
        places.push(Role::Timer { producer });
    }
    places.push(Role::Control);
    places
}

/// What the queues must have room for.
fn queue_plan(settings: &Settings, places: &[Role]) -> QueuePlan {
    let is_producer = |role: &&Role| matches!(role, Role::Receiver { .. } | Role::Timer { .. });
    let group = |setting: &crate::config::settings::GroupSetting| GroupPlan {
        attempts_max: setting.attempts,
        lanes: match (&setting.order, setting.has_priority) {
            (Order::None, false) => Lanes::One,
            (Order::None, true) => Lanes::Urgent,
            (Order::CallId | Order::Variable(_), _) => Lanes::Ordered,
        },
        overflow: match setting.full {
            FullPolicy::DropOldest => Overflow::DropOldest,
            FullPolicy::Return | FullPolicy::Reply => Overflow::Refuse,
        },
        ..GroupPlan::new(&setting.name, setting.workers_max, setting.queue)
    };
    QueuePlan {
        producers: places.iter().filter(is_producer).count() as u32,
        groups: settings.groups.iter().map(group).collect(),
    }
}

/// Whether a process of this role handles messages, and so sends some.
fn sends(role: &Role) -> bool {
    matches!(role, Role::Receiver { .. } | Role::Worker { .. })
}

/// What all shared memory of a generation is to have room for.
pub fn part_plan(loaded: &Loaded, places: &[Role], generation: u64) -> PartPlan {
    let (settings, registry) = (loaded.settings(), &loaded.registry);
    let receivers = places.iter().filter(|role| matches!(role, Role::Receiver { .. })).count() as u32;
    PartPlan {
        queues: queue_plan(settings, places),
        processes: places.len() as u32,
        counters: registry.counters().len() as u32,
        outboxes: places.iter().map(sends).collect(),
        delay_slots: registry.delayed_max(),
        inboxes: receiver::inbox_room(settings, receivers),
        value_names: registry.shared_names().to_vec(),
        locks: registry.lock_count(),
        tells_overload: is_told(&settings.groups),
        generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{GroupSetting, ListenerSetting};
    use crate::transport::endpoint::Transport;

    fn settings() -> Settings {
        let listener = |address: &str, receivers| ListenerSetting {
            transport: Transport::Udp,
            address: address.parse().unwrap(),
            advertise: None,
            name: None,
            receivers,
        };
        let group = |name: &str, workers| GroupSetting::new(name, workers, 16);
        Settings {
            listeners: vec![listener("127.0.0.1:5060", None), listener("[::1]:5070", Some(1))],
            children: 2,
            groups: vec![group("calls", 1), group("reg", 2)],
            ..Settings::default()
        }
    }

    #[test]
    fn every_process_has_a_place_and_receivers_are_numbered_through() {
        let titles: Vec<_> = places(&settings(), 0).iter().map(ToString::to_string).collect();
        assert_eq!(
            titles,
            [
                "master",
                "receiver udp:127.0.0.1:5060/1",
                "receiver udp:127.0.0.1:5060/2",
                "receiver udp:[::1]:5070/1",
                "worker calls/1",
                "worker reg/1",
                "worker reg/2",
                "control",
            ]
        );
        let producers: Vec<_> = places(&settings(), 0)
            .into_iter()
            .filter_map(|role| match role {
                Role::Receiver { producer, .. } => Some(producer),
                _ => None,
            })
            .collect();
        assert_eq!(producers, [0, 1, 2]);
    }

    #[test]
    fn queues_are_planned_for_every_receiver_and_group() {
        let plan = queue_plan(&settings(), &places(&settings(), 0));
        let groups: Vec<_> = plan.groups.iter().map(|g| (g.name.as_str(), g.workers, g.queue)).collect();
        assert_eq!((plan.producers, groups), (3, vec![("calls", 1, 16), ("reg", 2, 16)]));
    }

    #[test]
    fn where_messages_can_be_delayed_there_is_a_timer_with_rings_of_its_own() {
        let places = places(&settings(), 8);
        assert!(places.contains(&Role::Timer { producer: 3 }), "{places:?}");
        assert_eq!(queue_plan(&settings(), &places).producers, 4);
    }
}
