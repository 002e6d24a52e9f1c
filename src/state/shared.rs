//! What the processes share beside messages: values (`$shv`) and locks (`lock("key")`) of scripts, and the word about
//! overload. Made before the first fork.

use super::overload::OverloadWord;
use super::values::SharedValues;
use crate::shm::LockTable;
pub use crate::shm::Locking;

/// The shared memory; a clone is the same memory.
#[derive(Clone)]
pub struct SharedState {
    /// Values by slot.
    pub values: SharedValues,
    /// Locks by number.
    pub locks: LockTable,
    /// What neighbours are asked to keep back.
    pub overload: OverloadWord,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::{SharedInput, SharedReading, ValueTable};
    use crate::state::values::{SettingTable, room_of_values};

    #[test]
    fn a_clone_is_the_same_memory() {
        let one = SharedState {
            values: SharedValues::of(
                &["a".to_owned()],
                ValueTable::create(room_of_values(1, 2)).expect("memory"),
                SettingTable::create(0).expect("memory"),
                0,
            )
            .expect("room"),
            locks: LockTable::create(1).expect("memory"),
            overload: OverloadWord::create(&[]).expect("memory"),
        };
        let other = one.clone();
        one.values.write(0, 0, SharedInput::Integer(7)).expect("room");
        assert_eq!(other.values.read(0, &mut Vec::new()), Ok(SharedReading::Integer(7)));
        assert_eq!((one.locks.try_lock(0, 0), other.locks.try_lock(1, 0)), (Locking::Taken, Locking::Held));
    }
}
