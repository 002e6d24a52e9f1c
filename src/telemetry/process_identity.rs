//! Which process this is, as far as what runs in it may know.

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessKind {
    /// Owns a socket, runs pre-routing.
    Receiver,
    /// Belongs to the group of this index.
    Worker {
        /// Index in `Settings::groups`.
        group: u16,
    },
    /// Anything else: master, control, a check of a script.
    Other,
}

/// A process, filled in after the fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Row in the process table, as the log shows it.
    pub index: u32,
    /// Process id, `$pp`.
    pub pid: u32,
    /// What it is for.
    pub kind: ProcessKind,
}

impl ProcessIdentity {
    /// Whether messages here were delegated to a group.
    pub fn is_worker(&self) -> bool {
        matches!(self.kind, ProcessKind::Worker { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_of_a_group_are_workers() {
        let kinds = [
            (ProcessKind::Receiver, false),
            (ProcessKind::Worker { group: 0 }, true),
            (ProcessKind::Other, false),
        ];
        for (kind, expected) in kinds {
            assert_eq!(ProcessIdentity { index: 1, pid: 2, kind }.is_worker(), expected, "{kind:?}");
        }
    }
}
