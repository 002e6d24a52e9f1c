//! Who imports whom: rooms on floors, imports downward only.
//!
//! ```text
//!  bin ─► process ─► modules, control ─► engine ─► bindings ─► routing ─► state ─► config ─► telemetry
//!      ─► shm, transport ─► sys      sip, script: nobody
//! ```

use super::finding::Finding;
use super::paths::paths;
use super::source::Source;

/// Rooms, or programs, and what each may import.
pub type Floors<'f> = &'f [(&'f str, &'f [&'f str])];

/// Which rooms a room may import, from the ground up: a room may name only rooms of the rows above it here.
pub const MAY_IMPORT: Floors<'_> = &[
    ("sys", &[]),
    ("sip", &[]),
    ("script", &[]),
    ("shm", &["sys"]),
    ("transport", &["sys"]),
    ("telemetry", &["script", "shm", "sys"]),
    ("config", &["telemetry", "sip", "script", "shm", "transport", "sys"]),
    ("state", &["config", "telemetry", "sip", "script", "shm", "transport", "sys"]),
    ("routing", &["state", "config", "telemetry", "sip", "script", "shm", "transport", "sys"]),
    ("bindings", &["routing", "state", "config", "telemetry", "sip", "script", "shm", "transport", "sys"]),
    (
        "engine",
        &["bindings", "routing", "state", "config", "telemetry", "sip", "script", "shm", "transport", "sys"],
    ),
    ("modules", &["engine", "bindings", "routing", "state", "config", "telemetry", "script", "sip"]),
    ("control", &["bindings", "routing", "state", "config", "telemetry", "script", "shm", "sys"]),
    ("flows", &["control", "script", "sip", "sys"]),
    (
        "process",
        &[
            "flows",
            "modules",
            "control",
            "engine",
            "bindings",
            "routing",
            "state",
            "config",
            "telemetry",
            "shm",
            "transport",
            "sys",
            "sip",
            "script",
        ],
    ),
];

/// The same for the programs under the roof.
const PROGRAM_MAY_IMPORT: Floors<'_> =
    &[("sworkerd", &["process"]), ("sworkerctl", &["control"]), ("sworkertop", &["shm", "config"])];

fn may_import(name: &str) -> &'static [&'static str] {
    let mut rows = MAY_IMPORT.iter().chain(PROGRAM_MAY_IMPORT);
    rows.find(|(row, _)| *row == name).map_or(&[], |(_, rooms)| rooms)
}

fn is_room(name: &str) -> bool {
    MAY_IMPORT.iter().any(|(room, _)| *room == name)
}

/// Tests may set up what stands above their room.
pub fn check_imports(source: &Source<'_>) -> Vec<Finding> {
    let Some(module) = &source.module else { return vec![] };
    let mut found = Vec::new();
    for path in paths(source).iter().filter(|path| path.is_absolute && path.ships) {
        let Some(target) = path.names.first().filter(|first| is_room(first)) else { continue };
        let mut report = |what: String| found.push(Finding::at(source.name, path.line, what));
        if *target != module.room {
            if !may_import(module.floor_name()).contains(target) {
                report(format!("{} may not import {target}", module.floor_name()));
            }
        } else if let (&["modules", own, ..], Some(other)) = (&module.path[..], path.names.get(1))
            && ![own, "*"].contains(other)
        {
            // The room's own list is known by nobody inside it: modules meet through services.
            report(format!("module {own} may not import module {other}"));
        }
    }
    found.dedup();
    found
}

/// Rows of `table` that name a room which stands no lower than they do.
pub fn check_floors(table: Floors<'_>) -> Vec<String> {
    let rises = |index: usize, room: &str| !table[..index].iter().any(|(lower, _)| *lower == room);
    let rows = table.iter().enumerate();
    let risen = rows.flat_map(|(index, (name, rooms))| {
        let risen = rooms.iter().filter(move |room| rises(index, room));
        risen.map(move |room| {
            format!("tests/tidy: MAY_IMPORT lets {name} import {room}, which is no lower room")
        })
    });
    risen.collect()
}

#[track_caller]
fn check(name: &str, text: &str, expected: &[&str]) {
    let found: Vec<String> =
        check_imports(&Source::of(name, text)).into_iter().map(|finding| finding.text).collect();
    assert_eq!(found, expected, "{name}: {text}");
}

#[test]
fn imports_that_run_upward_or_sideways_are_found() {
    let rows = [
        (
            "src/routing/mod.rs",
            "use crate::modules::xlog;",
            "src/routing/mod.rs:1: routing may not import modules",
        ),
        (
            "src/routing/host.rs",
            "\nfn f() { crate::process::go() }",
            "src/routing/host.rs:2: routing may not import process",
        ),
        ("src/sip/uri.rs", "use crate::{sys::clock, sip::via};", "src/sip/uri.rs:1: sip may not import sys"),
        (
            "src/sip/uri.rs",
            "use crate::{\n  sip::{a, b},\n  script,\n};",
            "src/sip/uri.rs:1: sip may not import script",
        ),
        ("src/shm/ring.rs", "use super::super::sip::Via;", "src/shm/ring.rs:1: shm may not import sip"),
        ("src/shm/mod.rs", "use super::sip::Via;", "src/shm/mod.rs:1: shm may not import sip"),
        (
            "src/shm/mod.rs",
            "mod a { use super::super::routing::X; }",
            "src/shm/mod.rs:1: shm may not import routing",
        ),
        (
            "src/transport/udp.rs",
            "use crate::shm as memory;",
            "src/transport/udp.rs:1: transport may not import shm",
        ),
        (
            "src/control/server.rs",
            "use crate::modules::*;",
            "src/control/server.rs:1: control may not import modules",
        ),
        ("src/modules/xlog.rs", "use crate::shm::Ring;", "src/modules/xlog.rs:1: modules may not import shm"),
        (
            "src/bin/sworkerctl.rs",
            "use sworker::telemetry::log;",
            "src/bin/sworkerctl.rs:1: sworkerctl may not import telemetry",
        ),
        (
            "src/bin/sworkertop.rs",
            "use sworker::{shm, sys};",
            "src/bin/sworkertop.rs:1: sworkertop may not import sys",
        ),
        (
            "src/modules/xlog.rs",
            "use crate::modules::sl::reply;",
            "src/modules/xlog.rs:1: module xlog may not import module sl",
        ),
        (
            "src/modules/xlog.rs",
            "use super::sl;",
            "src/modules/xlog.rs:1: module xlog may not import module sl",
        ),
        (
            "src/modules/tm/timer.rs",
            "use super::super::sl;",
            "src/modules/tm/timer.rs:1: module tm may not import module sl",
        ),
    ];
    for (name, body, expected) in rows {
        check(name, body, &[expected]);
    }
}

#[test]
fn imports_that_run_downward_or_stay_at_home_are_left_alone() {
    let rows = [
        ("src/sip/uri.rs", "#[cfg(test)] mod tests { use crate::modules::xlog; }"),
        ("src/routing/mod.rs", "use crate::{sip::Via, script::ast, shm, transport, sys};"),
        ("src/routing/host.rs", "use core::fmt; use std::process; use super::module::Module;"),
        ("src/sys/mod.rs", "mod tests { use super::process::fork; }"),
        ("src/sys/mod.rs", "use self::process::fork;"),
        (
            "src/sip/uri.rs",
            "// use crate::core;\n/* crate::sys /* crate::shm */ crate::core */ pub(crate) fn f() {}",
        ),
        (
            "src/sip/uri.rs",
            r##"const A: &str = "crate::core"; const B: &str = r#"" crate::sys"#; const C: char = '"';"##,
        ),
        ("src/sip/uri.rs", "fn f<'a>(x: &'a str) -> char { '\\'' } // crate::core"),
        ("src/modules/mod.rs", "pub mod sl; pub use crate::modules::sl::Sl;"),
        ("src/modules/tm/mod.rs", "mod timer; use super::tm::timer::Wheel; use crate::bindings::module;"),
        ("src/modules/sworker.rs", "fn f() { sworker::shm() }"),
        (
            "src/process/master.rs",
            "use crate::{control, routing, modules, script, shm, sip, sys, transport};",
        ),
        ("src/bin/sworkerd.rs", "use sworker::process::start::boot; mod core {}"),
        ("src/lib.rs", "pub mod core; pub use crate::process::boot;"),
        ("tests/daemon.rs", "use sworker::shm::Ring;"),
    ];
    for (name, body) in rows {
        check(name, body, &[]);
    }
}

#[test]
fn floors_that_rise_are_found() {
    let rows: [(Floors<'_>, usize); 4] = [
        (&[("sys", &[]), ("shm", &["sys"]), ("core", &["shm", "sys"])], 0),
        (&[("sys", &["shm"]), ("shm", &[])], 1),
        (&[("sys", &["sys"])], 1),
        (&[("shm", &["old"])], 1),
    ];
    for (table, expected) in rows {
        assert_eq!(check_floors(table).len(), expected, "{table:?}");
    }
}
