//! `$shv` and the settings that change while the server runs: the names of one script over the tables that hold them.
//!
//! ```text
//!  slot of the script ─► name begins with "group." ─► settings   of this generation: they begin with each script
//!                    └─► any other name            ─► values     of the server: same name, same value, whoever asks
//! ```
//!
//! The values outlive scripts and programs. Two generations, even of two programs, read and write the same ones while
//! they stand side by side; the name decides which value is meant, as slots belong to one script.

use std::ffi::CStr;
use std::io;
use std::rc::Rc;

use md5::{Digest, Md5};

use crate::shm::{
    Owner, Part, Plan, Segment, SharedInput, SharedReading, TableError, Tended, ValueRoom, ValueTable,
};

/// The values as one script knows them; a clone is the same memory.
#[derive(Clone)]
pub struct SharedValues {
    values: ValueTable,
    settings: SettingTable,
    places: Rc<[Place]>,
    owner_generation: u64,
}

/// Where a value of the script is.
#[derive(Clone, Copy)]
struct Place {
    is_setting: bool,
    is_new: bool,
    slot: u32,
}

impl SharedValues {
    /// The values of these names, in the order of their slots, for a generation whose processes do not exist yet.
    pub fn of(
        names: &[String],
        values: ValueTable,
        settings: SettingTable,
        generation: u64,
    ) -> io::Result<SharedValues> {
        let mut setting_count = 0;
        let place = |name: &String| {
            if is_setting(name) {
                setting_count += 1;
                return Ok(Place { is_setting: true, is_new: true, slot: setting_count - 1 });
            }
            let (slot, is_new) = values
                .name_slot(key(name), generation)
                .ok_or_else(|| io::Error::other("there are more shared values than were planned"))?;
            Ok(Place { is_setting: false, is_new, slot })
        };
        let places = names.iter().map(place).collect::<io::Result<_>>()?;
        let owner_generation = values.number_generation();
        Ok(SharedValues { places, values, settings, owner_generation })
    }

    /// Whether the value of this slot is still what it was when the memory was made: it is to begin.
    pub fn is_new(&self, slot: u32) -> bool {
        self.places.get(slot as usize).is_some_and(|place| place.is_new)
    }

    /// How many values the script has.
    pub fn count(&self) -> u32 {
        self.places.len() as u32
    }

    /// See [`ValueTable::read`].
    pub fn read(&self, slot: u32, out: &mut Vec<u8>) -> Result<SharedReading, TableError> {
        let (table, slot) = self.place(slot)?;
        table.read(slot, out)
    }

    /// See [`ValueTable::write`], for the process of this index.
    pub fn write(&self, process: u32, slot: u32, value: SharedInput<'_>) -> Result<(), TableError> {
        let (table, slot) = self.place(slot)?;
        table.write(self.owner(process), slot, value)
    }

    /// See [`ValueTable::add`], for the process of this index.
    pub fn add(&self, process: u32, slot: u32, amount: i64) -> Result<i64, TableError> {
        let (table, slot) = self.place(slot)?;
        table.add(self.owner(process), slot, amount)
    }

    /// See [`ValueTable::change`], for the process of this index.
    pub fn change(&self, process: u32, slot: u32, change: impl Fn(i64) -> i64) -> Result<i64, TableError> {
        let (table, slot) = self.place(slot)?;
        table.change(self.owner(process), slot, change)
    }

    #[inline]
    fn place(&self, slot: u32) -> Result<(&ValueTable, u32), TableError> {
        let place = self.places.get(slot as usize).ok_or(TableError::NoSuchSlot)?;
        Ok((if place.is_setting { &self.settings.0 } else { &self.values }, place.slot))
    }

    /// The process of this index, as what it holds names it.
    pub fn owner(&self, process: u32) -> Owner {
        Owner::new(self.owner_generation, process)
    }
}

/// What a name is called in memory that another program may read: the same in every program.
fn key(name: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(name).into())
}

/// No name of a script's own shared value begins like this.
const HIDDEN: char = '\0';

/// What the slot of a setting, or of anything else that is not the script's own, is called.
pub(crate) fn hidden_name(name: &str) -> String {
    format!("{HIDDEN}{name}")
}

/// Whether a shared value has no name in the script.
pub fn is_hidden(shared_name: &str) -> bool {
    shared_name.starts_with(HIDDEN)
}

/// Whether a shared value is a setting, which begins anew with each script.
pub(crate) fn is_setting(shared_name: &str) -> bool {
    shared_name.strip_prefix(HIDDEN).is_some_and(|name| name.contains('.'))
}

/// How many settings a script has, and how many other shared values.
pub fn count_of_settings(names: &[String]) -> (u32, u32) {
    let settings = names.iter().filter(|name| is_setting(name)).count();
    (settings as u32, (names.len() - settings) as u32)
}

/// Room for the values of a server that begins with so many names and processes: for other scripts to come as well.
pub fn room_of_values(names: u32, processes: u32) -> ValueRoom {
    ValueRoom {
        slots: names.saturating_mul(2).max(SLOTS_MIN),
        writers: processes.saturating_mul(GENERATIONS_SIDE_BY_SIDE),
    }
}

const SLOTS_MIN: u32 = 32;
/// Processes of the generations that finish their work while the next one serves may write, too.
const GENERATIONS_SIDE_BY_SIDE: u32 = 4;

/// The values in which a generation begins when there are values already: the same ones, or a copy in more room. Says
/// whether it is a copy, which what writes to the former one from now on does not reach.
pub fn carried(
    former: &ValueTable,
    names: &[String],
    processes: u32,
    generation: u64,
) -> io::Result<(ValueTable, bool)> {
    let keys: Vec<u128> = names.iter().filter(|name| !is_setting(name)).map(|name| key(name)).collect();
    let is_known = |key: &&u128| former.slot_of(**key).is_some();
    let new_count = keys.iter().filter(|key| !is_known(key)).count();
    if former.has_room_for(new_count as u32, processes) {
        return Ok((former.clone(), false));
    }
    let larger = ValueTable::create(room_of_values(keys.len() as u32, processes))?;
    let mut text = Vec::new();
    for key in keys.iter().filter(is_known) {
        text.clear();
        let Some(slot) = former.slot_of(*key) else { continue };
        let input = match former.read(slot, &mut text) {
            Ok(SharedReading::Integer(number)) => SharedInput::Integer(number),
            Ok(SharedReading::Text) => SharedInput::Text(&text),
            // It is written all the time: there is no value that is more right than the first one.
            Err(_) => continue,
        };
        // Under the generation before this one, so that it does not begin anew.
        if let Some((slot, _)) = larger.name_slot(*key, generation.saturating_sub(1)) {
            let written = larger.write(Owner::new(generation, MASTER), slot, input);
            written.map_err(io::Error::other)?;
        }
    }
    Ok((larger, true))
}

/// The index of the process that makes the memory.
const MASTER: u32 = 0;

/// The settings of one generation.
#[derive(Clone)]
pub struct SettingTable(ValueTable);

impl SettingTable {
    /// Room for so many settings.
    pub fn create(count: u32) -> io::Result<SettingTable> {
        Self::make(&count)
    }
}

/// The master sets what they begin with, the control process changes them; modules may, as well.
const SETTING_WRITERS: u32 = 8;

impl Part for SettingTable {
    const NAME: &'static CStr = c"sworker-settings";
    /// How many settings.
    type Request = u32;
    type Place = <ValueTable as Part>::Place;
    type Error = io::Error;

    fn reserve(count: &u32, plan: &mut Plan) -> io::Result<Self::Place> {
        ValueTable::reserve(&ValueRoom { slots: *count, writers: SETTING_WRITERS }, plan)
    }

    fn claim(place: Self::Place, segment: &Segment) -> SettingTable {
        SettingTable(ValueTable::claim(place, segment))
    }
}

impl Tended for SettingTable {
    fn after_death(&self, dead: Owner) {
        self.0.after_death(dead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn of(script: &[&str], values: &ValueTable, generation: u64) -> SharedValues {
        let settings = SettingTable::create(4).expect("memory");
        SharedValues::of(&names(script), values.clone(), settings, generation).expect("room")
    }

    fn number(values: &SharedValues, slot: u32) -> i64 {
        match values.read(slot, &mut Vec::new()) {
            Ok(SharedReading::Integer(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_tie_the_values_of_two_scripts_together_and_settings_begin_with_each() {
        let table = ValueTable::create(room_of_values(3, 2)).expect("memory");
        let first = of(&["a", "\0my.limit", "b", "\0gflags"], &table, 0);
        assert!((0..4).all(|slot| first.is_new(slot)) && !first.is_new(4));
        for slot in 0..4 {
            first.write(1, slot, SharedInput::Integer(i64::from(slot) + 1)).expect("room");
        }
        let second = of(&["\0gflags", "c", "b", "\0my.limit"], &table, 1);
        assert_eq!([0, 1, 2, 3].map(|slot| second.is_new(slot)), [false, true, false, true]);
        assert_eq!([0, 1, 2, 3].map(|slot| number(&second, slot)), [4, 0, 3, 0]);
        assert_ne!(first.owner(1), second.owner(1));
        assert_ne!(of(&["b"], &table, 1).owner(1), second.owner(1), "one that is called as another was");
        // Both write, and both see it.
        assert_eq!((first.add(0, 2, 10), second.change(0, 2, |number| number * 2)), (Ok(13), Ok(26)));
        assert_eq!((number(&first, 2), number(&first, 1)), (26, 2));
        assert_eq!(second.write(0, 4, SharedInput::Integer(0)), Err(TableError::NoSuchSlot));
        assert_eq!(count_of_settings(&names(&["a", "\0my.limit", "\0gflags"])), (1, 2));
    }

    #[test]
    fn values_without_room_for_the_next_script_go_on_in_a_copy() {
        let table = ValueTable::create(ValueRoom { slots: 2, writers: 8 }).expect("memory");
        let first = of(&["a", "b"], &table, 0);
        first.write(0, 0, SharedInput::Integer(5)).expect("room");
        first.write(0, 1, SharedInput::Text(b"text")).expect("room");
        let (same, is_copy) = carried(&table, &names(&["b", "a", "\0my.limit"]), 4, 1).expect("memory");
        assert!(!is_copy && same.slot_of(key("a")) == Some(0));
        for (script, processes) in [(&["c", "b"][..], 4), (&["b"], 5)] {
            let (larger, is_copy) = carried(&table, &names(script), processes, 1).expect("memory");
            assert!(is_copy, "{script:?}");
            let second = of(script, &larger, 1);
            let slot = script.len() as u32 - 1;
            let mut text = Vec::new();
            assert_eq!(second.read(slot, &mut text), Ok(SharedReading::Text));
            assert_eq!((text.as_slice(), second.is_new(slot)), (&b"text"[..], false));
            first.write(0, 1, SharedInput::Text(b"later")).expect("room");
            first.write(0, 1, SharedInput::Text(b"text")).expect("room");
        }
    }

    #[test]
    fn what_a_dead_process_was_writing_is_put_right_in_both_tables() {
        let table = ValueTable::create(room_of_values(1, 1)).expect("memory");
        let values = of(&["a", "\0my.limit"], &table, 3);
        values.write(2, 0, SharedInput::Integer(1)).expect("room");
        values.write(2, 1, SharedInput::Integer(1)).expect("room");
        for part in [&values.settings.0, &values.values] {
            let free = part.free_cell_count();
            part.after_death(values.owner(2));
            assert_eq!(part.free_cell_count(), free, "a value is none that is left behind");
        }
        assert_eq!((number(&values, 0), number(&values, 1)), (1, 1));
    }

    #[test]
    fn settings_are_told_from_what_scripts_share() {
        assert!(is_setting(&hidden_name("my.limit")));
        assert!(!is_setting("my.limit") && !is_setting(&hidden_name("gflags")));
    }
}
