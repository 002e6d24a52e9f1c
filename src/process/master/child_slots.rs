//! One child as the master sees it: its place, what is there now, and its row in the table that all can read.

use std::time::Instant;

use super::supervisor::State;
use crate::process::roles::role::Role;
use crate::shm::{ProcessRow, ProcessTable};
use crate::sys::clock::realtime_ns;
use crate::sys::process::{ExitStatus, ProcessId};
use crate::sys::signal::{self, Signal};

/// One place of the server and what is there now.
#[derive(Debug)]
pub struct Child {
    /// Row in the process table.
    pub place: u32,
    /// What runs here.
    pub role: Role,
    /// What the supervisor thinks of it.
    pub state: State,
    /// The process, while there is one.
    pub process: Option<ProcessId>,
    /// When it was forked last.
    pub forked: Instant,
    /// Whether a process of this place has ever been ready.
    pub is_ready: bool,
    /// What all can read about it.
    pub row: ProcessRow,
    /// What it held when it died has found no taker yet.
    pub has_left_something: bool,
}

impl Child {
    /// A child that is to be started for the first time.
    pub fn new(place: u32, role: &Role) -> Child {
        let mut row = ProcessRow { role: role.rules().code, ..ProcessRow::default() };
        match *role {
            Role::Worker { group, index, .. } => (row.group, row.index) = (Some(u32::from(group)), index),
            Role::Receiver { producer, .. } | Role::Timer { producer } => row.index = producer,
            Role::Master | Role::Control => {}
        }
        Child {
            place,
            role: role.clone(),
            state: State::NEW,
            process: None,
            forked: Instant::now(),
            is_ready: false,
            row,
            has_left_something: false,
        }
    }

    /// One that is not to be started until it is needed.
    pub fn dormant(place: u32, role: &Role) -> Child {
        Child { state: State::Gone, is_ready: true, ..Child::new(place, role) }
    }

    /// It exists.
    pub fn was_forked(&mut self, process: ProcessId, table: &ProcessTable) {
        self.process = Some(process);
        self.forked = Instant::now();
        self.row.pid = process.number();
        self.row.restarts = self.row.incarnation;
        self.row.incarnation += 1;
        self.row.started_at_ns = realtime_ns();
        table.write(self.place, &self.row);
    }

    /// It does not exist any more.
    pub fn has_died(&mut self, status: ExitStatus, table: &ProcessTable) {
        self.process = None;
        self.row.pid = 0;
        self.row.last_exit_status = Some(wait_status(status));
        table.write(self.place, &self.row);
    }

    /// Sends a signal, if there is a process.
    pub fn send(&self, signal: Signal) {
        if let Some(process) = self.process {
            signal::try_send(process, signal);
        }
    }
}

/// The number the kernel's `wait` gives for it.
fn wait_status(status: ExitStatus) -> i32 {
    const CORE_DUMPED: i32 = 0x80;
    match status {
        ExitStatus::Exited(code) => code << 8,
        ExitStatus::Killed { signal, core_dumped } => signal | if core_dumped { CORE_DUMPED } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_a_life_and_the_next_one() {
        let table = ProcessTable::create(3).unwrap();
        let role = Role::Worker { group: 4, name: "calls".to_owned(), index: 1 };
        let mut child = Child::new(2, &role);
        let shape = |table: &ProcessTable| {
            let row = table.read(2).unwrap();
            (row.pid, row.group, row.index, row.incarnation, row.restarts, row.last_exit_status)
        };
        let own = ProcessId::own();

        child.was_forked(own, &table);
        assert_eq!(shape(&table), (own.number(), Some(4), 1, 1, 0, None));
        child.has_died(ExitStatus::Killed { signal: 9, core_dumped: false }, &table);
        assert_eq!(shape(&table), (0, Some(4), 1, 1, 0, Some(9)));
        child.was_forked(own, &table);
        assert_eq!(shape(&table), (own.number(), Some(4), 1, 2, 1, Some(9)));
    }

    #[test]
    fn ends_are_written_as_wait_writes_them() {
        let rows = [
            (ExitStatus::Exited(0), 0),
            (ExitStatus::Exited(70), 70 << 8),
            (ExitStatus::Killed { signal: 6, core_dumped: false }, 6),
            (ExitStatus::Killed { signal: 11, core_dumped: true }, 11 | 0x80),
        ];
        for (status, number) in rows {
            assert_eq!(wait_status(status), number);
        }
    }
}
