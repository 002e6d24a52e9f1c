//! The picture of the rooms stands in the README and in `lib.rs`; here it is held against the floors and the folders.

use std::collections::BTreeSet;

use super::floors::{Floors, MAY_IMPORT};
use super::words::UNSAFE_ROOMS;

/// A room of a picture.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Drawn {
    room: String,
    floor: u32,
    may_be_unsafe: bool,
}

/// The rooms of ` 2  shm/ (!)  segment ring  │  transport/  listener udp`, from lines that begin with a number.
fn drawn(text: &str) -> Vec<Drawn> {
    let mut found = Vec::new();
    for line in text.lines().map(|line| line.trim_start_matches("//!").trim_start()) {
        let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(floor) = line[..digits].parse() else { continue };
        for cell in line[digits..].split('│') {
            let Some((room, rest)) = cell.trim_start().split_once('/') else { continue };
            if !room.is_empty() && room.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                let may_be_unsafe = rest.trim_start().starts_with("(!)");
                found.push(Drawn { room: room.into(), floor, may_be_unsafe });
            }
        }
    }
    found
}

/// `name` has a picture with exactly the rooms of the floors table, on floors that the table agrees with.
pub fn check_picture(name: &str, text: &str) -> Vec<String> {
    check_picture_of(name, text, MAY_IMPORT, UNSAFE_ROOMS)
}

fn check_picture_of(name: &str, text: &str, table: Floors<'_>, unsafe_rooms: &[&str]) -> Vec<String> {
    let drawn = drawn(text);
    let floor = |room: &str| drawn.iter().find(|drawn| drawn.room == room).map(|drawn| drawn.floor);
    let mut problems = check_rooms(name, drawn.iter().map(|drawn| drawn.room.as_str()), table);
    for (room, imported) in
        table.iter().flat_map(|(room, rooms)| rooms.iter().map(move |other| (*room, *other)))
    {
        if let (Some(above), Some(below)) = (floor(room), floor(imported))
            && above <= below
        {
            problems
                .push(format!("{name}: the picture puts {room} no higher than {imported}, which it imports"));
        }
    }
    for Drawn { room, may_be_unsafe, .. } in &drawn {
        if *may_be_unsafe != unsafe_rooms.contains(&room.as_str()) {
            problems.push(format!("{name}: (!) in the picture and UNSAFE_ROOMS do not agree about {room}"));
        }
    }
    problems
}

/// The modules `lib.rs` declares, or the folders of `src`, are the rooms of the floors table.
pub fn check_same_rooms<'r>(name: &str, rooms: impl IntoIterator<Item = &'r str>) -> Vec<String> {
    check_rooms(name, rooms, MAY_IMPORT)
}

fn check_rooms<'r>(name: &str, rooms: impl IntoIterator<Item = &'r str>, table: Floors<'_>) -> Vec<String> {
    let rooms: BTreeSet<&str> = rooms.into_iter().collect();
    let expected: BTreeSet<&str> = table.iter().map(|(room, _)| *room).collect();
    let unknown = rooms.difference(&expected).map(|room| format!("{name}: {room} is no room of MAY_IMPORT"));
    let missing = expected.difference(&rooms).map(|room| format!("{name}: the room {room} is missing"));
    unknown.chain(missing).collect()
}

#[test]
fn rooms_are_read_from_a_picture() {
    let text = "//!  roof  bin/   sworkerd\n//!  ─────\n//!  10    process/  start/ master/  heritage.rs\n\
                 2     shm/ (!)  ring │  transport/  udp\n 1 sys/ (!) calls\n3 rows of a list a/b\n";
    let shown: Vec<_> =
        drawn(text).into_iter().map(|drawn| (drawn.room, drawn.floor, drawn.may_be_unsafe)).collect();
    let expected = [("process", 10, false), ("shm", 2, true), ("transport", 2, false), ("sys", 1, true)];
    assert_eq!(shown, expected.map(|(room, floor, mark)| (room.to_string(), floor, mark)));
}

#[test]
fn a_picture_that_does_not_agree_is_found() {
    let table: Floors<'_> = &[("sys", &[]), ("sip", &[]), ("shm", &["sys"])];
    let rows: [(&str, &[&str]); 6] = [
        ("2 shm/ (!) ring\n1 sys/ (!) calls │ sip/ values", &[]),
        ("2 shm/ (!) ring\n1 sys/ (!) calls", &["README.md: the room sip is missing"]),
        (
            "3 core/ x\n2 shm/ (!) ring\n1 sys/ (!) calls │ sip/ values",
            &["README.md: core is no room of MAY_IMPORT"],
        ),
        (
            "1 shm/ (!) ring │ sys/ (!) calls │ sip/ values",
            &["README.md: the picture puts shm no higher than sys, which it imports"],
        ),
        (
            "2 shm/ ring\n1 sys/ (!) calls │ sip/ (!) values",
            &[
                "README.md: (!) in the picture and UNSAFE_ROOMS do not agree about shm",
                "README.md: (!) in the picture and UNSAFE_ROOMS do not agree about sip",
            ],
        ),
        (
            "no picture",
            &[
                "README.md: the room shm is missing",
                "README.md: the room sip is missing",
                "README.md: the room sys is missing",
            ],
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(check_picture_of("README.md", text, table, &["sys", "shm"]), expected, "{text}");
    }
}
