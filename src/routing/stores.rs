//! Where scripts keep values: `$var` for as long as the process lives, `$avp` for as long as the message is in hand.

use crate::script::host::ValueRef;

use crate::state::value::Value;

/// Script variables by slot; names were resolved to slots when the script was checked.
#[derive(Debug, Default)]
pub struct VariableStore {
    values: Vec<Value>,
}

impl VariableStore {
    /// A store for a number of names.
    pub fn new(slot_count: usize) -> VariableStore {
        VariableStore { values: vec![Value::Null; slot_count] }
    }

    /// The store a process begins with.
    pub fn beginning_with<'a>(
        slot_count: usize,
        values: impl Iterator<Item = (u32, ValueRef<'a>)>,
    ) -> VariableStore {
        let mut store = VariableStore::new(slot_count);
        values.for_each(|(slot, value)| store.set(slot, value));
        store
    }

    /// The value in a slot; null where nothing was stored.
    pub fn value(&self, slot: u32) -> ValueRef<'_> {
        self.values.get(slot as usize).map_or(ValueRef::Null, Value::as_ref)
    }

    /// Stores a value.
    pub fn set(&mut self, slot: u32, value: ValueRef<'_>) {
        let slot = slot as usize;
        if slot >= self.values.len() {
            self.values.resize(slot + 1, Value::Null);
        }
        self.values[slot].set(value);
    }
}

/// Attribute-value pairs: each name is a stack, newest first. Entries are kept for reuse when they are cleared.
#[derive(Debug, Default)]
pub struct AvpStore {
    /// Oldest first; those from `used` on are room for reuse.
    entries: Vec<Avp>,
    used: usize,
}

#[derive(Debug, Default)]
struct Avp {
    name: Vec<u8>,
    value: Value,
}

/// A message may not carry more pairs than this.
const AVPS_MAX: usize = 10_000;

/// The store holds [`AVPS_MAX`] pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyAvps;

impl AvpStore {
    /// Adds a value on top of the stack of `name`.
    pub fn push(&mut self, name: &[u8], value: ValueRef<'_>) -> Result<(), TooManyAvps> {
        if self.used == AVPS_MAX {
            return Err(TooManyAvps);
        }
        if self.used == self.entries.len() {
            self.entries.push(Avp::default());
        }
        let entry = &mut self.entries[self.used];
        entry.name.clear();
        entry.name.extend_from_slice(name);
        entry.value.set(value);
        self.used += 1;
        Ok(())
    }

    /// All pairs, oldest first.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], ValueRef<'_>)> {
        self.entries[..self.used].iter().map(|entry| (entry.name.as_slice(), entry.value.as_ref()))
    }

    /// Values of `name`, newest first.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = ValueRef<'a>> {
        let mine = self.entries[..self.used].iter().rev().filter(move |entry| entry.name == name);
        mine.map(|entry| entry.value.as_ref())
    }

    /// Overwrites the value at `index` (0 is the newest); false if there is none.
    pub fn set(&mut self, name: &[u8], index: usize, value: ValueRef<'_>) -> bool {
        let used = &mut self.entries[..self.used];
        match used.iter_mut().rev().filter(|entry| entry.name == name).nth(index) {
            Some(entry) => {
                entry.value.set(value);
                true
            }
            None => false,
        }
    }

    /// Takes the value at `index` away (0 is the newest); false if there is none.
    pub fn remove(&mut self, name: &[u8], index: usize) -> bool {
        match (0..self.used).rev().filter(|&at| self.entries[at].name == name).nth(index) {
            Some(at) => {
                self.entries[at..self.used].rotate_left(1);
                self.used -= 1;
                true
            }
            None => false,
        }
    }

    /// Takes all values of `name` away and says how many there were.
    pub fn remove_all(&mut self, name: &[u8]) -> usize {
        let mut removed = 0;
        while self.remove(name, 0) {
            removed += 1;
        }
        removed
    }

    /// Forgets everything: the message is done.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(avps: &AvpStore, name: &str) -> Vec<i64> {
        let number = |value: ValueRef<'_>| match value {
            ValueRef::Integer(number) => number,
            other => panic!("unexpected {other:?}"),
        };
        avps.values(name.as_bytes()).map(number).collect()
    }

    #[test]
    fn pairs_are_stacks() {
        let mut avps = AvpStore::default();
        for number in 1..=3 {
            avps.push(b"a", ValueRef::Integer(number)).unwrap();
            avps.push(b"b", ValueRef::Integer(number * 10)).unwrap();
        }
        assert_eq!(texts(&avps, "a"), [3, 2, 1]);
        assert!(avps.set(b"a", 1, ValueRef::Integer(7)));
        assert!(avps.remove(b"b", 1));
        assert_eq!((texts(&avps, "a"), texts(&avps, "b")), (vec![3, 7, 1], vec![30, 10]));
        assert!(!avps.remove(b"b", 2) && !avps.set(b"c", 0, ValueRef::Null));
        assert_eq!(avps.remove_all(b"a"), 3);
        assert_eq!((texts(&avps, "a"), texts(&avps, "b")), (vec![], vec![30, 10]));
        avps.clear();
        assert_eq!(texts(&avps, "b"), [0_i64; 0]);
    }

    #[test]
    fn pairs_have_a_limit() {
        let mut avps = AvpStore::default();
        for _ in 0..AVPS_MAX {
            avps.push(b"a", ValueRef::Null).unwrap();
        }
        assert_eq!(avps.push(b"a", ValueRef::Null), Err(TooManyAvps));
    }

    #[test]
    fn a_slot_never_set_is_null() {
        let mut variables = VariableStore::new(1);
        assert_eq!(variables.value(0), ValueRef::Null);
        assert_eq!(variables.value(9), ValueRef::Null);
        variables.set(3, ValueRef::Text(b"x"));
        assert_eq!((variables.value(2), variables.value(3)), (ValueRef::Null, ValueRef::Text(b"x")));
    }
}
