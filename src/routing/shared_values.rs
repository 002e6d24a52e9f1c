//! Values of all processes (`$shv`, live settings), as a message in hand reads and changes them.

use super::context::Context;
use crate::script::host::{Reading, ValueRef};
use crate::shm::{SharedReading, TableError};
use crate::telemetry::counters::SHARED_REFUSED;

impl Context<'_> {
    /// Reads a shared value by its slot.
    pub fn read_shared(&self, slot: u32, out: &mut Vec<u8>) -> Reading {
        match self.process.ports.shared.values.read(slot, out) {
            Ok(SharedReading::Integer(number)) => Reading::Integer(number),
            Ok(SharedReading::Text) => Reading::Text,
            Err(_) => {
                self.count(SHARED_REFUSED);
                Reading::Null
            }
        }
    }

    /// The integer in a shared slot; 0 for text.
    pub fn shared_integer(&self, slot: u32) -> i64 {
        match self.read_shared(slot, &mut Vec::new()) {
            Reading::Integer(number) => number,
            _ => 0,
        }
    }

    /// Changes the integer in a shared slot, in one step among all processes, and says what it is then.
    pub fn change_shared_integer(&self, slot: u32, change: impl Fn(i64) -> i64) -> Result<i64, TableError> {
        let changed = self.process.ports.shared.values.change(self.process.identity.index, slot, change);
        changed.inspect_err(|_| self.count(SHARED_REFUSED))
    }

    /// Stores a value in a shared slot.
    pub fn write_shared(&self, slot: u32, value: ValueRef<'_>) -> Result<(), TableError> {
        let written = self.process.ports.shared.store(self.process.identity.index, slot, value);
        written.inspect_err(|_| self.count(SHARED_REFUSED))
    }
}
