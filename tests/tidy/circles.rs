//! Files of a room that name each other in a circle: none of them can be read, tested or moved alone.
//!
//! One file names another when its product code imports or mentions something the other defines. A name that a room
//! or a folder hands on (`pub use ring::Ring;` in `shm/mod.rs`) stands for the file that defines it, so handing on is
//! no dependency, neither of the list that does it nor of those who go by the list. A module imported to be written in
//! front of names (`use super::value;`) is none either; `value::Reading` is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::finding::Finding;
use super::paths::{Kind, Path, paths};
use super::source::Source;

/// Circles that are still there, each with the reason. Shorten a row when a file leaves its circle.
pub const CIRCLES: &[(&[&str], &str)] = &[
    (
        &[
            "src/bindings/functions.rs",
            "src/bindings/functions/branches.rs",
            "src/bindings/functions/flags.rs",
            "src/bindings/functions/general.rs",
            "src/bindings/functions/relay.rs",
            "src/bindings/functions/rewrite.rs",
        ],
        "a table, and the files of its rows",
    ),
    (
        &[
            "src/bindings/manual.rs",
            "src/bindings/module.rs",
            "src/bindings/planning.rs",
            "src/bindings/registry.rs",
            "src/bindings/registry/initial.rs",
        ],
        "what modules bring, and where it is registered",
    ),
    (
        &[
            "src/bindings/variables.rs",
            "src/bindings/variables/addresses.rs",
            "src/bindings/variables/ambient.rs",
            "src/bindings/variables/branches.rs",
            "src/bindings/variables/constants.rs",
            "src/bindings/variables/headers.rs",
            "src/bindings/variables/identity.rs",
            "src/bindings/variables/message.rs",
            "src/bindings/variables/network.rs",
            "src/bindings/variables/process.rs",
            "src/bindings/variables/request.rs",
            "src/bindings/variables/sending.rs",
            "src/bindings/variables/shared.rs",
            "src/bindings/variables/storage.rs",
            "src/bindings/variables/structured.rs",
            "src/bindings/variables/time.rs",
        ],
        "a table, and the files of its rows",
    ),
    (&["src/config/settings/draft.rs", "src/config/settings/table.rs"], "a table, and what its rows change"),
    (
        &["src/control/commands.rs", "src/control/counter_commands.rs", "src/control/setting_commands.rs"],
        "a table, and the files of its rows",
    ),
    (&["src/modules/pv.rs", "src/modules/pv/structured.rs"], "a table, and the files of its rows"),
    (
        &["src/modules/siputils.rs", "src/modules/siputils/charging.rs", "src/modules/siputils/contact.rs"],
        "a table, and the files of its rows",
    ),
    (
        &[
            "src/modules/textops.rs",
            "src/modules/textops/body.rs",
            "src/modules/textops/headers.rs",
            "src/modules/textops/multipart.rs",
            "src/modules/textops/search.rs",
            "src/modules/textops/values.rs",
        ],
        "a table, and the files of its rows",
    ),
    (
        &[
            "src/process/heritage.rs",
            "src/process/master/repair.rs",
            "src/process/roles/child.rs",
            "src/process/roles/control.rs",
            "src/process/roles/delaying.rs",
            "src/process/roles/receiver.rs",
            "src/process/roles/timer.rs",
            "src/process/roles/worker.rs",
        ],
        "what children inherit, and what each role makes of it",
    ),
    (
        &[
            "src/process/master.rs",
            "src/process/start/boot.rs",
            "src/process/succession/reload.rs",
            "src/process/succession/successor.rs",
            "src/process/succession/upgrade.rs",
        ],
        "the master, and steps of its life that take all of it",
    ),
    (
        &[
            "src/process/master/damage.rs",
            "src/process/master/generation.rs",
            "src/process/master/overload.rs",
            "src/process/master/scaling.rs",
        ],
        "a generation, and what watches over it",
    ),
    (
        &["src/process/start/command_line.rs", "src/process/start/command_line/forms.rs"],
        "a command line, and its forms",
    ),
    (
        &[
            "src/routing/changes.rs",
            "src/routing/context.rs",
            "src/routing/on_send.rs",
            "src/routing/script_view.rs",
        ],
        "a message in hand, and who looks at it",
    ),
    (
        &[
            "src/script/interpreter.rs",
            "src/script/interpreter/calls.rs",
            "src/script/interpreter/operators.rs",
        ],
        "an interpreter in three files",
    ),
    (
        &["src/shm/delay/queue.rs", "src/shm/delay/scheduler.rs", "src/shm/delay/sender.rs"],
        "a queue, and both of its ends",
    ),
    (
        &[
            "src/shm/queue/consumer.rs",
            "src/shm/queue/producer.rs",
            "src/shm/queue/queue_figures.rs",
            "src/shm/queue/queues.rs",
            "src/shm/queue/repair.rs",
            "src/shm/queue/ring.rs",
            "src/shm/queue/slot.rs",
        ],
        "both ends of a queue, and what puts it right after a death",
    ),
    (
        &["src/sip/ambiguity.rs", "src/sip/edit.rs", "src/sip/write.rs"],
        "what an edit may make of a message is known where messages are written",
    ),
    (&["src/sip/overload.rs", "src/sip/via.rs"], "RFC 7339 lives in Via"),
    (
        &[
            "src/telemetry/log.rs",
            "src/telemetry/log/engine.rs",
            "src/telemetry/log/form.rs",
            "src/telemetry/log/sink.rs",
        ],
        "a log, and what it writes to",
    ),
];

/// How often a name may be handed on.
const HOP_COUNT_MAX: u32 = 8;

/// A circle as one string, which is what an excuse names.
pub fn circle_key(files: &[&str]) -> String {
    files.join(" ")
}

pub fn check_circles(sources: &[Source<'_>]) -> Vec<Finding> {
    let circles = circles(&dependencies(sources));
    let text = |files: &Vec<&str>| {
        format!("files in a circle, each names the next or one after it: {}", files.join(" "))
    };
    circles.iter().map(|files| Finding { key: circle_key(files), text: text(files) }).collect()
}

/// What the crate's modules are called and what each of them hands on.
struct Crate<'s> {
    modules: HashMap<Vec<&'s str>, usize>,
    paths: Vec<Vec<Path<'s>>>,
}

impl<'s> Crate<'s> {
    fn of(sources: &'s [Source<'_>]) -> Crate<'s> {
        let modules = sources
            .iter()
            .enumerate()
            .filter_map(|(index, source)| source.module.as_ref().map(|module| (module.path.clone(), index)));
        let modules: HashMap<Vec<&str>, usize> = modules.collect();
        let mut all: Vec<Vec<Path<'_>>> = sources.iter().map(paths).collect();
        for (source, paths) in sources.iter().zip(&mut all) {
            let Some(module) = &source.module else { continue };
            for path in paths.iter_mut().filter(|path| path.kind != Kind::Mention && !path.is_absolute) {
                // `use ring::Ring;` beside `mod ring;`.
                let below = [&module.path[..], &path.names].concat();
                if modules.contains_key(&below[..=module.path.len()]) {
                    (path.names, path.is_absolute) = (below, true);
                }
            }
        }
        Crate { modules, paths: all }
    }

    /// The file that defines what an absolute path names; `None` for a module, and for what is not of this crate.
    fn defining(&self, names: &[&'s str], hop_count: u32) -> Option<usize> {
        let depth = (1..=names.len()).rev().find(|depth| self.modules.contains_key(&names[..*depth]))?;
        let file = self.modules[&names[..depth]];
        let name = names.get(depth).filter(|_| hop_count < HOP_COUNT_MAX)?;
        let mut handed_on = self.paths[file].iter().filter(|path| path.kind != Kind::Mention);
        match handed_on.find(|path| path.alias == *name) {
            Some(path) if path.is_absolute => {
                self.defining(&[&path.names[..], &names[depth + 1..]].concat(), hop_count + 1)
            }
            Some(_) => None,
            None => Some(file),
        }
    }

    /// What a mention means in its file: an absolute path, if it is one of this crate.
    fn meant(&self, source: &Source<'s>, index: usize, path: &Path<'s>) -> Option<Vec<&'s str>> {
        if path.is_absolute {
            return Some(path.names.clone());
        }
        let module = source.module.as_ref()?;
        let first = *path.names.first()?;
        let imported =
            self.paths[index].iter().find(|other| other.kind != Kind::Mention && other.alias == first);
        match imported {
            Some(import) => import.is_absolute.then(|| [&import.names[..], &path.names[1..]].concat()),
            None => {
                let below = [&module.path[..], &path.names].concat();
                self.modules.contains_key(&below[..=module.path.len()]).then_some(below)
            }
        }
    }
}

/// For each file of a room the other files of the room that its product code names.
fn dependencies<'s>(sources: &'s [Source<'s>]) -> BTreeMap<&'s str, BTreeSet<&'s str>> {
    let house = Crate::of(sources);
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        let Some(module) = source.module.as_ref().filter(|module| !module.is_program()) else { continue };
        let named = house.paths[index].iter().filter(|path| path.ships && path.kind != Kind::Reexport);
        for path in named {
            let target = house.meant(source, index, path).and_then(|names| house.defining(&names, 0));
            let Some(target) = target.map(|target| &sources[target]) else { continue };
            let is_neighbour = target.module.as_ref().is_some_and(|other| other.room == module.room);
            if is_neighbour && target.name != source.name {
                found.entry(source.name).or_default().insert(target.name);
            }
        }
    }
    found
}

/// Sets of files each of which reaches all others, sorted.
fn circles<'s>(dependencies: &BTreeMap<&'s str, BTreeSet<&'s str>>) -> Vec<Vec<&'s str>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        dependencies.keys().map(|file| (*file, reachable(file, dependencies))).collect();
    let mut circles = BTreeSet::new();
    for (file, reached) in &reach {
        let comes_back = |other: &&&str| reach.get(**other).is_some_and(|back| back.contains(file));
        let circle: Vec<&str> = reached.iter().filter(comes_back).copied().collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// Every file that can be reached from `file` in at least one step.
fn reachable<'s>(file: &str, dependencies: &BTreeMap<&'s str, BTreeSet<&'s str>>) -> BTreeSet<&'s str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![file];
    while let Some(file) = open.pop() {
        for next in dependencies.get(file).into_iter().flatten() {
            if found.insert(*next) {
                open.push(next);
            }
        }
    }
    found
}

/// Made-up files: name and text.
type Files<'f> = &'f [(&'f str, &'f str)];

#[track_caller]
fn check(files: Files<'_>, expected: &[&str]) {
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| Source::of(name, text)).collect();
    let found: Vec<String> = check_circles(&sources).into_iter().map(|finding| finding.key).collect();
    assert_eq!(found, expected, "{files:?}");
}

#[test]
fn circles_are_found_however_the_names_are_written() {
    let a_and_b = "src/shm/a.rs src/shm/b.rs";
    let rows: [(Files<'_>, &[&str]); 10] = [
        (&[("src/shm/a.rs", "use super::b::B;"), ("src/shm/b.rs", "use crate::shm::a::A;")], &[a_and_b]),
        (
            &[("src/shm/a.rs", "fn f() { super::b::g() }"), ("src/shm/b.rs", "use super::{a::A, c::C};")],
            &[a_and_b],
        ),
        // By way of a name that an import brought.
        (
            &[("src/shm/a.rs", "use super::b; fn f() { b::g() }"), ("src/shm/b.rs", "use super::a::A;")],
            &[a_and_b],
        ),
        (
            &[("src/shm/a.rs", "use super::b as x; fn f() { x::g() }"), ("src/shm/b.rs", "use super::a::A;")],
            &[a_and_b],
        ),
        // By way of the room's list.
        (
            &[
                ("src/shm/mod.rs", "mod a; mod b; pub use a::A; pub use b::{B as Bee};"),
                ("src/shm/a.rs", "use super::Bee;"),
                ("src/shm/b.rs", "use crate::shm::A;"),
            ],
            &[a_and_b],
        ),
        // A file and what lies below it.
        (
            &[("src/shm/a.rs", "mod b; use b::B;"), ("src/shm/a/b.rs", "use super::A;")],
            &["src/shm/a.rs src/shm/a/b.rs"],
        ),
        (
            &[("src/shm/a.rs", "mod b; fn f() { b::g() }"), ("src/shm/a/b.rs", "use super::super::a::A;")],
            &["src/shm/a.rs src/shm/a/b.rs"],
        ),
        (
            &[
                ("src/shm/a.rs", "use super::b::B;"),
                ("src/shm/b.rs", "use super::c::C;"),
                ("src/shm/c.rs", "use super::a::A; use super::d::D;"),
                ("src/shm/d.rs", "use super::e::E;"),
                ("src/shm/e.rs", "use super::d::D;"),
            ],
            &["src/shm/a.rs src/shm/b.rs src/shm/c.rs", "src/shm/d.rs src/shm/e.rs"],
        ),
        // A folder's list that does more than to list.
        (
            &[("src/shm/mod.rs", "mod a; use a::A; pub struct M;"), ("src/shm/a.rs", "use super::M;")],
            &["src/shm/a.rs src/shm/mod.rs"],
        ),
        (&[("src/shm/a.rs", "use super::b::{self, B};"), ("src/shm/b.rs", "use super::a::*;")], &[a_and_b]),
    ];
    for (files, expected) in rows {
        check(files, expected);
    }
}

#[test]
fn what_is_no_circle_is_left_alone() {
    let rows: [Files<'_>; 7] = [
        &[("src/shm/a.rs", "use super::b::B;"), ("src/shm/b.rs", "use super::c::C;"), ("src/shm/c.rs", "")],
        // Tests may name each other.
        &[
            ("src/shm/a.rs", "use super::b::B;"),
            ("src/shm/b.rs", "#[cfg(test)] mod tests { use super::super::a::A; }"),
        ],
        &[("src/shm/a.rs", "mod b; fn f() { g() }"), ("src/shm/a/b.rs", "use super::A;")],
        // To hand on is not to use.
        &[("src/shm/mod.rs", "mod a; mod b; pub use a::A; pub struct M;"), ("src/shm/a.rs", "use super::M;")],
        // A module alone is no name of its file.
        &[("src/shm/a.rs", "use super::b;"), ("src/shm/b.rs", "use super::a::A;")],
        // Other rooms are the floors' business, and other crates nobody's.
        &[("src/shm/a.rs", "use crate::sys::b::B;"), ("src/sys/b.rs", "use crate::shm::a::A;")],
        &[("src/shm/a.rs", "use b::B; fn f() { b::g() }"), ("src/shm/b.rs", "use super::a::A;")],
    ];
    for files in rows {
        check(files, &[]);
    }
}
