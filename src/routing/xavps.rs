//! Structured values that live as long as the message: `$xavp`, `$xavu`, `$xavi`.
//!
//! ```text
//!  $xavp(call=>from) = "a"        a new entry "call" with one field
//!  $xavp(call[0]=>to) = "b"       a further field of the newest "call"
//!  $xavp(call[1]=>from)           a field of the one before
//! ```
//!
//! Entries of one name are a stack, newest first, and so are the fields of one name in an entry. The stores differ
//! only in what a name is: in `$xavu` each name stands once, and in `$xavi` upper and lower case are the same.

use std::fmt;

use crate::script::host::ValueRef;

use crate::state::value::Value;

/// What names mean in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// Each name is a stack (`$xavp`).
    #[default]
    Stack,
    /// Each name stands once; assigning overwrites (`$xavu`).
    Unique,
    /// Each name is a stack, in any case (`$xavi`).
    AnyCase,
}

/// A store.
#[derive(Debug, Default)]
pub struct XavpStore {
    naming: Naming,
    roots: Entries,
    count: usize,
}

/// Entries, oldest first.
pub type Entries = Vec<Entry>;

/// A name with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Vec<u8>,
    /// What it holds.
    pub content: Content,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A value.
    Plain(Value),
    /// Fields.
    Fields(Entries),
}

const TRAVELS_AS_NULL: u8 = 0;
const TRAVELS_AS_INTEGER: u8 = 1;
const TRAVELS_AS_TEXT: u8 = 2;
const TRAVELS_AS_FIELDS: u8 = 3;

/// The form that travels to another process: size and bytes of the name, a kind, and what it holds: 8 bytes, size and
/// bytes of a text, or a count of fields and these; numbers big-endian.
impl Entry {
    /// Appends the form that travels; `None` when a size is more than 16 bits tell.
    pub fn encode(&self, out: &mut Vec<u8>) -> Option<()> {
        encode_bytes(&self.name, out)?;
        match &self.content {
            Content::Plain(Value::Null) => out.push(TRAVELS_AS_NULL),
            Content::Plain(Value::Integer(number)) => {
                out.push(TRAVELS_AS_INTEGER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Content::Plain(Value::Text(text)) => {
                out.push(TRAVELS_AS_TEXT);
                encode_bytes(text, out)?;
            }
            Content::Fields(entries) => {
                out.push(TRAVELS_AS_FIELDS);
                out.extend_from_slice(&u16::try_from(entries.len()).ok()?.to_be_bytes());
                entries.iter().try_for_each(|entry| entry.encode(out))?;
            }
        }
        Some(())
    }

    /// Reads the encoded form; `None` when it is invalid, or deeper than paths reach.
    pub fn decode(bytes: &[u8]) -> Option<Entry> {
        let mut rest = bytes;
        let entry = decode_entry(&mut rest, DEPTH_MAX)?;
        rest.is_empty().then_some(entry)
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&u16::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

fn decode_entry(rest: &mut &[u8], depth_left: usize) -> Option<Entry> {
    let depth_left = depth_left.checked_sub(1)?;
    let name = decode_bytes(rest)?.to_vec();
    let content = match *rest.split_off_first()? {
        TRAVELS_AS_NULL => Content::Plain(Value::Null),
        TRAVELS_AS_INTEGER => {
            let bytes = rest.split_off(..8)?.try_into().ok()?;
            Content::Plain(Value::Integer(i64::from_be_bytes(bytes)))
        }
        TRAVELS_AS_TEXT => Content::Plain(Value::Text(decode_bytes(rest)?.to_vec())),
        TRAVELS_AS_FIELDS => {
            let count = decode_size(rest)?;
            Content::Fields((0..count).map(|_| decode_entry(rest, depth_left)).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    Some(Entry { name, content })
}

fn decode_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = decode_size(rest)?;
    rest.split_off(..size)
}

fn decode_size(rest: &mut &[u8]) -> Option<usize> {
    let bytes = rest.split_off(..2)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes).into())
}

/// One step of a path: `name` or `name[index]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Which of the entries of that name.
    pub index: Which,
}

/// Which of the entries of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// None written: the newest; a new one is made by assigning.
    Unset,
    /// Counted from the newest; negative from the oldest (-1).
    At(i64),
    /// All of them.
    All,
}

/// Why a path or an assignment was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XavpError {
    /// The path is not `name`, `name[index]` or several of them joined by `=>`.
    Path,
    /// More steps than [`DEPTH_MAX`].
    TooDeep,
    /// The message holds [`ENTRIES_MAX`] entries.
    TooMany,
    /// There is no entry at the index.
    NotThere,
    /// The entry holds a value and no fields.
    NoFields,
}

impl fmt::Display for XavpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            XavpError::Path => f.write_str("the name is not like root=>field or root[0]=>field[0]"),
            XavpError::TooDeep => write!(f, "the name has more than {DEPTH_MAX} steps"),
            XavpError::TooMany => write!(f, "the message carries {ENTRIES_MAX} structured values already"),
            XavpError::NotThere => f.write_str("there is no entry at this index"),
            XavpError::NoFields => f.write_str("the entry holds a value and has no fields"),
        }
    }
}

impl std::error::Error for XavpError {}

/// Longest path.
pub const DEPTH_MAX: usize = 8;
/// A message may not carry more entries than this in one store.
const ENTRIES_MAX: usize = 10_000;

/// The steps of a path.
pub fn steps(path: &[u8]) -> Result<Vec<Step<'_>>, XavpError> {
    let mut steps = Vec::with_capacity(2);
    let mut rest = Some(path);
    while let Some(text) = rest {
        let at = memchr::memmem::find(text, b"=>");
        steps.push(step(at.map_or(text, |at| &text[..at]))?);
        rest = at.map(|at| &text[at + 2..]);
        if steps.len() > DEPTH_MAX {
            return Err(XavpError::TooDeep);
        }
    }
    Ok(steps)
}

fn step(text: &[u8]) -> Result<Step<'_>, XavpError> {
    let text = text.trim_ascii();
    let (name, index) = match text.strip_suffix(b"]") {
        None => (text, Which::Unset),
        Some(inner) => {
            let at = memchr::memrchr(b'[', inner).ok_or(XavpError::Path)?;
            (&inner[..at], which(&inner[at + 1..])?)
        }
    };
    let is_name = !name.is_empty() && !name.iter().any(|byte| b"[]=>".contains(byte));
    if is_name { Ok(Step { name, index }) } else { Err(XavpError::Path) }
}

fn which(text: &[u8]) -> Result<Which, XavpError> {
    match text.trim_ascii() {
        b"*" => Ok(Which::All),
        number => {
            let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
            number.map(Which::At).ok_or(XavpError::Path)
        }
    }
}

/// Reading.
impl XavpStore {
    /// An empty store.
    pub fn new(naming: Naming) -> XavpStore {
        XavpStore { naming, ..XavpStore::default() }
    }

    /// All entries, oldest first.
    pub fn roots(&self) -> &[Entry] {
        &self.roots
    }

    /// Forgets everything: the message is done.
    #[inline]
    pub fn clear(&mut self) {
        self.roots.clear();
        self.count = 0;
    }

    /// The entries that the steps name, newest first: one, unless the last step says all.
    pub fn find(&self, steps: &[Step<'_>]) -> Vec<&Entry> {
        let Some((last, before)) = steps.split_last() else { return Vec::new() };
        let mut list = &self.roots;
        for step in before {
            match self.one(list, step).map(|entry| &entry.content) {
                Some(Content::Fields(fields)) => list = fields,
                _ => return Vec::new(),
            }
        }
        match last.index {
            Which::All => {
                let is_it = |entry: &&Entry| is_same(self.naming, &entry.name, last.name);
                list.iter().rev().filter(is_it).collect()
            }
            _ => self.one(list, last).into_iter().collect(),
        }
    }

    /// The one entry of a step; for "all of them" the newest.
    fn one<'e>(&self, list: &'e Entries, step: &Step<'_>) -> Option<&'e Entry> {
        self.position(list, step).map(|at| &list[at])
    }

    fn position(&self, list: &Entries, step: &Step<'_>) -> Option<usize> {
        let is_it = |&at: &usize| is_same(self.naming, &list[at].name, step.name);
        match step.index {
            Which::Unset | Which::All => (0..list.len()).rev().find(is_it),
            Which::At(index) => match usize::try_from(index) {
                Ok(index) => (0..list.len()).rev().filter(is_it).nth(index),
                Err(_) => {
                    let from_oldest = usize::try_from(index.unsigned_abs() - 1).ok()?;
                    (0..list.len()).filter(is_it).nth(from_oldest)
                }
            },
        }
    }
}

fn is_same(naming: Naming, one: &[u8], other: &[u8]) -> bool {
    match naming {
        Naming::Stack | Naming::Unique => one == other,
        Naming::AnyCase => one.eq_ignore_ascii_case(other),
    }
}

/// Writing.
impl XavpStore {
    /// Assigns as a script does: null takes entries away.
    pub fn assign(&mut self, steps: &[Step<'_>], value: ValueRef<'_>) -> Result<(), XavpError> {
        let content = match value {
            ValueRef::Null => return self.remove(steps).map(drop),
            value => {
                let mut kept = Value::default();
                kept.set(value);
                Content::Plain(kept)
            }
        };
        self.put(steps, content)
    }

    /// Puts an entry where the steps say: a new one, or in place of the one at the index.
    pub fn put(&mut self, steps: &[Step<'_>], content: Content) -> Result<(), XavpError> {
        let (last, before) = steps.split_last().ok_or(XavpError::Path)?;
        let added = entry_count(&content) + before.len();
        if self.count + added > ENTRIES_MAX {
            return Err(XavpError::TooMany);
        }
        let mut roots = std::mem::take(&mut self.roots);
        let done = match list_at(self, &mut roots, before) {
            Ok(list) => put_into(self, list, last, content),
            Err(error) => Err(error),
        };
        self.roots = roots;
        self.count += added;
        done
    }

    /// Puts an entry on top without looking for one of its name.
    pub fn push(&mut self, name: &[u8], content: Content) -> Result<(), XavpError> {
        let added = entry_count(&content);
        if self.count + added > ENTRIES_MAX {
            return Err(XavpError::TooMany);
        }
        self.count += added;
        self.roots.push(Entry { name: name.to_vec(), content });
        Ok(())
    }

    /// Takes entries away and says how many there were: the newest without an index, all with `[*]`.
    pub fn remove(&mut self, steps: &[Step<'_>]) -> Result<usize, XavpError> {
        let (last, before) = steps.split_last().ok_or(XavpError::Path)?;
        let mut roots = std::mem::take(&mut self.roots);
        let mut list = Some(&mut roots);
        for step in before {
            list = list.and_then(|list| {
                let at = self.position(list, step)?;
                match &mut list[at].content {
                    Content::Fields(fields) => Some(fields),
                    Content::Plain(_) => None,
                }
            });
        }
        let removed = list.map_or(0, |list| remove_from(self, list, last));
        self.roots = roots;
        Ok(removed)
    }

    /// Turns the stack of a name: the entry at `amount` becomes the newest, those before it the oldest. False where
    /// the name has no entry.
    pub fn rotate(&mut self, name: &[u8], amount: i64) -> bool {
        let naming = self.naming;
        let places: Vec<usize> =
            (0..self.roots.len()).rev().filter(|&at| is_same(naming, &self.roots[at].name, name)).collect();
        let Ok(count) = i64::try_from(places.len()) else { return false };
        if count == 0 {
            return false;
        }
        let mut contents: Vec<Content> = places
            .iter()
            .map(|&at| std::mem::replace(&mut self.roots[at].content, Content::Plain(Value::Null)))
            .collect();
        contents.rotate_left(amount.rem_euclid(count) as usize);
        for (at, content) in places.into_iter().zip(contents) {
            self.roots[at].content = content;
        }
        true
    }

    /// The fields of an entry, to be looked at and changed.
    pub fn fields_mut(&mut self, step: &Step<'_>) -> Option<&mut Entries> {
        let at = self.position(&self.roots, step)?;
        match &mut self.roots[at].content {
            Content::Fields(fields) => Some(fields),
            Content::Plain(_) => None,
        }
    }
}

/// The list that the steps lead to, made where an assignment makes it: at the root without an index always (but for
/// unique names), further down if there is none yet.
fn list_at<'e>(
    store: &XavpStore,
    roots: &'e mut Entries,
    steps: &[Step<'_>],
) -> Result<&'e mut Entries, XavpError> {
    let mut list = roots;
    for (depth, step) in steps.iter().enumerate() {
        let is_new_wanted = depth == 0 && step.index == Which::Unset && store.naming != Naming::Unique;
        let found = if is_new_wanted { None } else { store.position(list, step) };
        let at = match (found, step.index) {
            (Some(at), _) => at,
            (None, Which::Unset) => {
                list.push(Entry { name: step.name.to_vec(), content: Content::Fields(Vec::new()) });
                list.len() - 1
            }
            (None, _) => return Err(XavpError::NotThere),
        };
        list = match &mut list[at].content {
            Content::Fields(fields) => fields,
            Content::Plain(_) => return Err(XavpError::NoFields),
        };
    }
    Ok(list)
}

fn put_into(
    store: &XavpStore,
    list: &mut Entries,
    step: &Step<'_>,
    content: Content,
) -> Result<(), XavpError> {
    let found = store.position(list, step);
    match (step.index, found) {
        (Which::At(_), None) => return Err(XavpError::NotThere),
        (Which::At(_), Some(at)) => list[at].content = content,
        (Which::Unset, Some(at)) if store.naming == Naming::Unique => list[at].content = content,
        (which, _) => {
            if which == Which::All {
                list.retain(|entry| !is_same(store.naming, &entry.name, step.name));
            }
            list.push(Entry { name: step.name.to_vec(), content });
        }
    }
    Ok(())
}

fn remove_from(store: &XavpStore, list: &mut Entries, step: &Step<'_>) -> usize {
    let before = list.len();
    match step.index {
        Which::All => list.retain(|entry| !is_same(store.naming, &entry.name, step.name)),
        _ => {
            if let Some(at) = store.position(list, step) {
                list.remove(at);
            }
        }
    }
    before - list.len()
}

fn entry_count(content: &Content) -> usize {
    match content {
        Content::Plain(_) => 1,
        Content::Fields(fields) => 1 + fields.iter().map(|field| entry_count(&field.content)).sum::<usize>(),
    }
}

/// Stands for an entry that holds fields where a value is asked for: `<<xavp:name>>`.
pub const STRUCTURE_MARK: &[u8] = b"<<xavp:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels_arrives_and_what_is_broken_is_refused() {
        let plain = |name: &str, value| Entry { name: name.into(), content: Content::Plain(value) };
        let inner = vec![plain("a", Value::Integer(-5)), plain("a", Value::Null)];
        let fields = vec![
            plain("", Value::Text(b"\0text".to_vec())),
            Entry { name: b"in".to_vec(), content: Content::Fields(inner) },
        ];
        let entry = Entry { name: b"root".to_vec(), content: Content::Fields(fields) };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes).expect("it is small");
        assert_eq!(Entry::decode(&bytes), Some(entry.clone()));
        assert!((0..bytes.len()).all(|size| Entry::decode(&bytes[..size]).is_none()));
        assert_eq!(Entry::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Entry::decode(&[0, 1, b'x', 9]), None);
        // As deep as paths reach, and deeper.
        let nested = |depth: usize| {
            (1..depth).fold(plain("x", Value::Null), |entry, _| Entry {
                name: b"x".to_vec(),
                content: Content::Fields(vec![entry]),
            })
        };
        for (depth, is_read) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false), (5_000, false)] {
            let mut bytes = Vec::new();
            nested(depth).encode(&mut bytes).expect("it is small");
            assert_eq!(Entry::decode(&bytes).is_some(), is_read, "{depth}");
        }
        assert_eq!(plain("x", Value::Text(vec![b'x'; 70_000])).encode(&mut Vec::new()), None);
    }

    fn put(store: &mut XavpStore, path: &str, value: &str) -> Result<(), XavpError> {
        let value = if value == "null" { ValueRef::Null } else { ValueRef::Text(value.as_bytes()) };
        store.assign(&steps(path.as_bytes())?, value)
    }

    fn shown(store: &XavpStore, path: &str) -> String {
        let steps = steps(path.as_bytes()).expect("a path");
        let values = store.find(&steps).into_iter().map(|entry| match &entry.content {
            Content::Plain(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}").chars().take(6).collect(),
        });
        values.collect::<Vec<_>>().join(",")
    }

    /// Assignments, then what paths read.
    fn check(naming: Naming, assignments: &[(&str, &str)], expected: &[(&str, &str)]) {
        let mut store = XavpStore::new(naming);
        for (path, value) in assignments {
            put(&mut store, path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        for (path, value) in expected {
            assert_eq!(shown(&store, path), *value, "{path} after {assignments:?}");
        }
    }

    #[test]
    fn entries_and_fields_are_stacks() {
        let sides = [
            ("side=>lr", "external"),
            ("side[0]=>free", "left"),
            ("side=>lr", "internal"),
            ("side[0]=>free", "right"),
        ];
        check(
            Naming::Stack,
            &sides,
            &[
                ("side[0]=>lr", "internal"),
                ("side[0]=>free", "right"),
                ("side[1]=>lr", "external"),
                ("side[1]=>free", "left"),
                ("side[-1]=>lr", "external"),
                ("side[2]=>lr", ""),
                ("side", "Fields"),
            ],
        );
        let again = [&sides[..], &[("side[0]=>lr", "again")]].concat();
        check(Naming::Stack, &again, &[("side=>lr[*]", "again,internal"), ("side=>lr[1]", "internal")]);
        let replaced = [&again[..], &[("side[0]=>lr[1]", "first")]].concat();
        check(Naming::Stack, &replaced, &[("side=>lr[*]", "again,first")]);
        let popped = [&again[..], &[("side[0]=>lr", "null")]].concat();
        check(Naming::Stack, &popped, &[("side=>lr[*]", "internal")]);
        let gone = [&sides[..], &[("side[0]", "null")]].concat();
        check(Naming::Stack, &gone, &[("side=>lr", "external"), ("side[1]=>lr", "")]);
    }

    #[test]
    fn plain_values_are_stacks_too() {
        let three = [("q", "1"), ("q", "2"), ("q", "3")];
        let expected =
            [("q", "3"), ("q[1]", "2"), ("q[-1]", "1"), ("q[-3]", "3"), ("q[-4]", ""), ("q[*]", "3,2,1")];
        check(Naming::Stack, &three, &expected);
        check(Naming::Stack, &[&three[..], &[("q[*]", "null")]].concat(), &[("q", "")]);
        check(Naming::Stack, &[&three[..], &[("q[*]", "x")]].concat(), &[("q[*]", "x")]);
        check(Naming::Stack, &[&three[..], &[("q[1]", "null")]].concat(), &[("q[*]", "3,1")]);
        check(
            Naming::Stack,
            &[("a=>b=>c", "deep"), ("a[0]=>b=>d", "too")],
            &[("a=>b=>c", "deep"), ("a=>b=>d", "too")],
        );
    }

    #[test]
    fn unique_names_stand_once() {
        let assignments = [("u=>a", "1"), ("u=>a", "2"), ("u=>b", "3"), ("v", "x"), ("v", "y")];
        check(Naming::Unique, &assignments, &[("u=>a[*]", "2"), ("u=>b", "3"), ("v[*]", "y"), ("U=>a", "")]);
    }

    #[test]
    fn names_in_any_case_are_the_same() {
        let assignments = [("WhatEver=>FoO", "1"), ("whatever[0]=>foo", "2")];
        check(Naming::AnyCase, &assignments, &[("WHATEVER=>FOO", "2"), ("whatever[0]=>foo[1]", "1")]);
        check(Naming::Stack, &assignments[..1], &[("whatever=>foo", "")]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut store = XavpStore::new(Naming::Stack);
        put(&mut store, "flat", "value").expect("room");
        let rows = [
            ("nope[3]=>z", "x", XavpError::NotThere),
            ("nope[0]", "x", XavpError::NotThere),
            ("flat[0]=>z", "x", XavpError::NoFields),
            ("", "x", XavpError::Path),
            ("a=>", "x", XavpError::Path),
            ("a[x]", "x", XavpError::Path),
            ("a]", "x", XavpError::Path),
            ("a=b", "x", XavpError::Path),
            ("a=>b=>c=>d=>e=>f=>g=>h=>i", "x", XavpError::TooDeep),
        ];
        for (path, value, expected) in rows {
            assert_eq!(put(&mut store, path, value), Err(expected), "{path}");
        }
        assert_eq!(put(&mut store, "nope[3]=>z", "null"), Ok(()), "nothing to take away is no failure");
        assert_eq!(shown(&store, "flat"), "value");
    }

    #[test]
    fn entries_have_a_limit_and_clearing_makes_room() {
        let mut store = XavpStore::new(Naming::Stack);
        for _ in 0..ENTRIES_MAX {
            put(&mut store, "a", "x").expect("room");
        }
        assert_eq!(put(&mut store, "a", "x"), Err(XavpError::TooMany));
        store.clear();
        assert_eq!(put(&mut store, "a", "x"), Ok(()));
    }
}
