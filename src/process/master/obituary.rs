//! What is logged when a child has ended: what it was, how it ended, how long it lived, what it was doing.

use std::fmt;
use std::time::Duration;

use crate::process::roles::role::Role;
use crate::sys::process::{ExitStatus, ProcessId};

/// One child's end.
#[derive(Clone, Debug)]
pub struct Obituary<'a> {
    /// What it was.
    pub role: &'a Role,
    /// Its process id.
    pub process: ProcessId,
    /// How it ended.
    pub status: ExitStatus,
    /// How long it lived.
    pub lived: Duration,
    /// What it was doing.
    pub occupation: Occupation,
}

/// What a child was doing when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupation {
    /// Nothing that anybody must finish.
    Idle,
    /// A worker had this message in hand; its successor starts with it.
    Message {
        /// How often it was begun, this time included.
        attempts: u32,
        /// Whether its script had begun.
        is_started: bool,
    },
    /// The message in hand ended one worker too many: it was set aside.
    Quarantined {
        /// Bytes of the message.
        size: usize,
        /// How often it was begun.
        attempts: u32,
    },
}

impl fmt::Display for Obituary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} (pid {}) ended by {} after {}",
            self.role,
            self.process,
            self.status,
            Lifetime(self.lived)
        )?;
        match self.occupation {
            Occupation::Idle => Ok(()),
            Occupation::Message { is_started: false, .. } => {
                write!(out, "; it had just claimed a message, which its replacement will process")
            }
            Occupation::Message { attempts, is_started: true } => write!(
                out,
                "; it was processing a message (attempt {attempts}), which its replacement will process"
            ),
            Occupation::Quarantined { size, attempts } => write!(
                out,
                "; it was processing a message of {size} bytes, quarantined after {attempts} attempts"
            ),
        }
    }
}

struct Lifetime(Duration);

impl fmt::Display for Lifetime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => write!(out, "{} ms", self.0.as_millis()),
            seconds if seconds < 120 => write!(out, "{:.1} s", self.0.as_secs_f64()),
            seconds => write!(out, "{} min", seconds / 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obituaries_read_as_sentences() {
        let killed = ExitStatus::Killed { signal: 9, core_dumped: false };
        let in_hand = Occupation::Message { attempts: 1, is_started: true };
        let rows = [
            (ExitStatus::Exited(70), 12, Occupation::Idle, "ended by exit status 70 after 12 ms"),
            (
                killed,
                1_260,
                in_hand,
                "ended by SIGKILL after 1.3 s; it was processing a message (attempt 1), \
                 which its replacement will process",
            ),
            (
                killed,
                600_000,
                Occupation::Message { attempts: 0, is_started: false },
                "ended by SIGKILL after 10 min; it had just claimed a message, which its replacement will \
                 process",
            ),
            (
                ExitStatus::Killed { signal: 6, core_dumped: false },
                3,
                Occupation::Quarantined { size: 9, attempts: 2 },
                "ended by SIGABRT after 3 ms; it was processing a message of 9 bytes, quarantined after 2 \
                 attempts",
            ),
        ];
        let role = Role::Worker { group: 0, name: "calls".to_owned(), index: 0 };
        let process = ProcessId::own();
        for (status, lived_ms, occupation, text) in rows {
            let lived = Duration::from_millis(lived_ms);
            let obituary = Obituary { role: &role, process, status, lived, occupation };
            assert_eq!(obituary.to_string(), format!("worker calls/1 (pid {process}) {text}"));
        }
    }
}
