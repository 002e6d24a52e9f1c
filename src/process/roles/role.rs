//! The kinds of process, one row each.
//!
//! | role | count | owns | stops |
//! |---|---|---|---|
//! | master | 1 | the tree of processes | last |
//! | receiver | `children` per UDP socket | one listener at a time, pre-routing | first: finishes its batch |
//! | worker | as the group says | one message at a time | second: drains its group's rings |
//! | timer | 1, where messages can be delayed | delayed messages until they are due | third: no message is delayed any more |
//! | control | 1 | commands, statistics | with it |

use std::fmt;

use crate::sys::signal::Signal;

/// What a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Forks, reaps, starts again; handles no message.
    Master,
    /// Reads messages from one listener.
    Receiver {
        /// Index among all receivers, and so of its rings.
        producer: u32,
        /// Index of the listener.
        listener: u16,
        /// The listener as people read it: `udp:127.0.0.1:5060`.
        place: String,
        /// Number among the receivers of this listener, from 1.
        number: u32,
    },
    /// Processes messages of one group.
    Worker {
        /// Index of the group.
        group: u16,
        /// Its name.
        name: String,
        /// Index within the group, from 0.
        index: u32,
    },
    /// Moves delayed messages into the rings of their groups when they are due.
    Timer {
        /// Index of its rings, behind those of all receivers.
        producer: u32,
    },
    /// Answers operators and publishes figures.
    Control,
}

/// What holds for all processes of a role.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Word for it.
    pub name: &'static str,
    /// Number for it in shared memory.
    pub code: u8,
    /// Name in `top`; at most 15 bytes. The master keeps the program's own name, so that `killall sworkerd` asks the
    /// whole server to stop.
    pub short_name: &'static str,
    /// The signal that asks it to finish. Workers have one that is not sent by accident: a service manager that
    /// sends `SIGTERM` to every process must not stop them before the receivers have handed over their last message.
    pub leave: Signal,
    /// The signal the kernel sends it when the master dies. Workers catch it and finish what was accepted.
    pub orphaned: Signal,
    /// In which step of an orderly stop it is asked to leave.
    pub stop_step: usize,
}

/// How many steps an orderly stop has.
pub const STOP_STEP_COUNT: usize = 3;

impl Role {
    /// The row of this role.
    pub const fn rules(&self) -> Rules {
        match self {
            Role::Master => Rules {
                name: "master",
                code: 1,
                short_name: "sworkerd",
                leave: Signal::SIGTERM,
                orphaned: Signal::SIGKILL,
                stop_step: STOP_STEP_COUNT,
            },
            Role::Receiver { .. } => Rules {
                name: "receiver",
                code: 2,
                short_name: "sworkerd-recv",
                leave: Signal::SIGTERM,
                orphaned: Signal::SIGKILL,
                stop_step: 0,
            },
            Role::Worker { .. } => Rules {
                name: "worker",
                code: 3,
                short_name: "sworkerd-work",
                leave: Signal::SIGUSR2,
                orphaned: Signal::SIGPWR,
                stop_step: 1,
            },
            Role::Timer { .. } => Rules {
                name: "timer",
                code: 5,
                short_name: "sworkerd-time",
                leave: Signal::SIGUSR2,
                orphaned: Signal::SIGPWR,
                stop_step: 2,
            },
            Role::Control => Rules {
                name: "control",
                code: 4,
                short_name: "sworkerd-ctl",
                leave: Signal::SIGTERM,
                orphaned: Signal::SIGKILL,
                stop_step: 2,
            },
        }
    }
}

/// As `ps` shows it, without the program's name. Workers count from 1 there, as people do.
impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Master => write!(out, "master"),
            Role::Receiver { place, number, .. } => write!(out, "receiver {place}/{number}"),
            Role::Worker { name, index, .. } => write!(out, "worker {name}/{}", index + 1),
            Role::Timer { .. } => write!(out, "timer"),
            Role::Control => write!(out, "control"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<(Role, &'static str)> {
        vec![
            (Role::Master, "master"),
            (
                Role::Receiver {
                    producer: 0,
                    listener: 0,
                    place: "udp:127.0.0.1:5060".to_owned(),
                    number: 1,
                },
                "receiver udp:127.0.0.1:5060/1",
            ),
            (Role::Worker { group: 1, name: "reg".to_owned(), index: 1 }, "worker reg/2"),
            (Role::Timer { producer: 1 }, "timer"),
            (Role::Control, "control"),
        ]
    }

    #[test]
    fn titles() {
        for (role, title) in rows() {
            assert_eq!(role.to_string(), title);
            assert!(title.starts_with(role.rules().name));
            assert!(role.rules().short_name.len() <= 15);
        }
    }

    #[test]
    fn receivers_stop_before_workers_and_workers_before_control() {
        let mut order: Vec<_> = rows().into_iter().map(|(role, _)| role).collect();
        order.sort_by_key(|role| role.rules().stop_step);
        let names: Vec<_> = order.iter().map(|role| role.rules().name).collect();
        assert_eq!(names, ["receiver", "worker", "timer", "control", "master"]);
        assert!(order[..4].iter().all(|role| role.rules().stop_step < STOP_STEP_COUNT));
    }
}
