//! THE list of everything that is shared. Adding shared memory is a row here, and nothing elsewhere but its use.
//!
//! ```text
//!  PartPlan ─► sizes()    what `sworkerd -x memory` prints; nothing is made
//!           └► make()     all of it, before the first fork
//!  Parts    ─► each()     what the master does after a death, and while it stops
//!           └► lasting    what the next generation goes on with, over SIGUSR2 as well
//! ```
//!
//! **Invariants**
//! - Shared memory of a server is made here and nowhere else, but for the level of the log, which is needed before, and
//!   the published figures, which have a name for programs that look from outside.
//! - [`Parts::each`] names all of it.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::overload::OverloadWord;
use super::poison::PoisonCache;
use super::status::{ServerStatus, StatusRoom};
use super::values::{SettingTable, carried, count_of_settings, room_of_values};
use crate::shm::{
    CounterPlace, CounterRoom, Counters, DelayQueue, DelayRoom, InboxRoom, Inboxes, Lasting, Lifetime,
    LockTable, Outboxes, Part, Plan, ProcessTable, QueuePlan, Queues, Segment, Tended, ValueTable,
};

/// What the parts of a generation are to have room for.
#[derive(Clone, Debug)]
pub struct PartPlan {
    /// Rings, by producer and group.
    pub queues: QueuePlan,
    /// How many processes, the master included.
    pub processes: u32,
    /// How many counters each of them has.
    pub counters: u32,
    /// Slots for delayed messages; 0 where no module delays any.
    pub delay_slots: u32,
    /// What receivers read into.
    pub inboxes: InboxRoom,
    /// For each process, whether it sends messages.
    pub outboxes: Vec<bool>,
    /// Names of the values that scripts share.
    pub value_names: Vec<String>,
    /// Locks of scripts.
    pub locks: u32,
    /// Whether neighbours are told how much to keep back.
    pub tells_overload: bool,
    /// The number of the generation.
    pub generation: u64,
}

/// A row of what shared memory takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSize {
    /// The name of the mapping.
    pub name: String,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Bytes of it.
    pub size: u64,
}

/// Why shared memory cannot be made, or was not planned well.
#[derive(Debug)]
pub struct PartError {
    name: String,
    reason: String,
}

impl PartError {
    fn of<P: Part>(error: impl fmt::Display) -> PartError {
        PartError { name: name_of::<P>(), reason: error.to_string() }
    }
}

impl fmt::Display for PartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "could not make shared memory {}: {}", self.name, self.reason)
    }
}

impl std::error::Error for PartError {}

macro_rules! parts {
    (
        lasting { $($(#[doc = $lasting_text:literal])* $lasting:ident: $lasting_type:ty = |$lasting_plan:ident| $lasting_room:expr;)* }
        generation { $($(#[doc = $text:literal])* $part:ident: $part_type:ty = |$plan:ident| $room:expr;)* }
    ) => {
        /// All that the processes of a generation share.
        pub struct Parts {
            /// What lives longer than the generation.
            pub lasting: LastingParts,
            $($(#[doc = $text])* pub $part: $part_type,)*
        }

        /// What lives as long as the server; a clone is the same memory.
        #[derive(Clone)]
        pub struct LastingParts {
            $($(#[doc = $lasting_text])* pub $lasting: $lasting_type,)*
        }

        impl PartPlan {
            /// Every part, with the memory it takes in a server that begins so.
            pub fn sizes(&self) -> Result<Vec<PartSize>, PartError> {
                Ok(vec![
                    $({ let $lasting_plan = self; size_of_part::<$lasting_type>(&$lasting_room)? },)*
                    $({ let $plan = self; size_of_part::<$part_type>(&$room)? },)*
                ])
            }

            /// Makes every part, around those that last.
            pub fn make(&self, lasting: LastingParts) -> Result<Parts, PartError> {
                $(let $part = { let $plan = self; make_part::<$part_type>(&$room)? };)*
                Ok(Parts { lasting, $($part,)* })
            }

            /// Makes what lasts, for a server that begins.
            pub fn make_lasting(&self) -> Result<LastingParts, PartError> {
                $(let $lasting = { let $lasting_plan = self; make_part::<$lasting_type>(&$lasting_room)? };)*
                Ok(LastingParts { $($lasting,)* })
            }
        }

        impl Parts {
            /// All of them.
            pub fn each(&self) -> impl Iterator<Item = &dyn Tended> {
                [$(&self.lasting.$lasting as &dyn Tended,)* $(&self.$part as &dyn Tended,)*].into_iter()
            }
        }

        impl LastingParts {
            /// What the next program is handed: name, form, file.
            pub fn files(&self) -> Vec<(String, u64, BorrowedFd<'_>)> {
                vec![$((
                    name_of::<$lasting_type>(),
                    <$lasting_type as Lasting>::LAYOUT,
                    self.$lasting.file(),
                ),)*]
            }
        }

        impl PartPlan {
            /// What lasts, as the program before this one left it; what it did not leave, or in another form, begins
            /// anew, and `said` is told.
            pub fn adopt(
                &self,
                mut handed: Vec<HandedPart>,
                said: &mut dyn FnMut(String),
            ) -> Result<LastingParts, PartError> {
                $(let $lasting = match adopt_part::<$lasting_type>(&mut handed) {
                    Ok(part) => part,
                    Err(reason) => {
                        said(format!("{} begins anew: {reason}", name_of::<$lasting_type>()));
                        let $lasting_plan = self;
                        make_part::<$lasting_type>(&$lasting_room)?
                    }
                };)*
                Ok(LastingParts { $($lasting,)* })
            }
        }
    };
}

parts! {
    lasting {
        /// The values of `$shv`.
        values: ValueTable = |plan| room_of_values(count_of_settings(&plan.value_names).1, plan.processes);
    }
    generation {
        /// The rings between receivers and workers.
        queues: Queues = |plan| plan.queues;
        /// Delayed messages, if a module delays any.
        delayed: Option<DelayQueue> = |plan| (plan.delay_slots > 0).then(|| DelayRoom::of(plan.delay_slots));
        /// What each receiver reads into, by the number of its producer.
        inboxes: Inboxes = |plan| plan.inboxes;
        /// What receivers and workers send, until the kernel has taken it.
        outboxes: Outboxes = |plan| plan.outboxes;
        /// Locks of scripts.
        locks: LockTable = |plan| plan.locks;
        /// Settings that change while the server runs.
        settings: SettingTable = |plan| count_of_settings(&plan.value_names).0;
        /// A block of counters for each process.
        counters: Counters = |plan| CounterRoom { processes: plan.processes, counters: plan.counters };
        /// One number for each process, which goes up while it moves; workers are watched by their queues instead.
        heartbeats: Heartbeats = |plan| plan.processes;
        /// What earlier generations counted, and whether this one is to begin nothing new.
        status: ServerStatus =
            |plan| StatusRoom { counters: plan.counters, groups: plan.queues.groups.len() as u32 };
        /// Messages that were set aside lately.
        poison: PoisonCache = |_plan| ();
        /// The processes that live, by place.
        processes: ProcessTable = |plan| plan.processes;
        /// What neighbours are asked to keep back.
        overload: OverloadWord = |plan| plan.tells_overload;
    }
}

fn name_of<P: Part>() -> String {
    P::NAME.to_string_lossy().into_owned()
}

fn make_part<P: Part>(room: &P::Request) -> Result<P, PartError> {
    P::make(room).map_err(PartError::of::<P>)
}

fn size_of_part<P: Part>(room: &P::Request) -> Result<PartSize, PartError> {
    let size = P::size(room).map_err(PartError::of::<P>)?;
    Ok(PartSize { name: name_of::<P>(), lifetime: P::LIFETIME, size })
}

/// A part that the program before this one left.
#[derive(Debug)]
pub struct HandedPart {
    /// Its name.
    pub name: String,
    /// The form of what lies in it.
    pub layout: u64,
    /// Its memory.
    pub file: OwnedFd,
}

fn adopt_part<P: Lasting>(handed: &mut Vec<HandedPart>) -> Result<P, String> {
    let index = handed.iter().position(|part| part.name == name_of::<P>());
    let part = handed.swap_remove(index.ok_or("the previous program did not hand it over")?);
    if part.layout != P::LAYOUT {
        return Err(format!(
            "the previous program has it in form {}, this one in form {}",
            part.layout,
            P::LAYOUT
        ));
    }
    P::adopt(File::from(part.file)).map_err(|error| error.to_string())
}

impl PartPlan {
    /// What lasts, for a generation after another one. When the values have no room for it they are copied, and `said` is
    /// told.
    pub fn carry(
        &self,
        former: &LastingParts,
        said: &mut dyn FnMut(String),
    ) -> Result<LastingParts, PartError> {
        let (values, is_copy) = carried(&former.values, &self.value_names, self.processes, self.generation)
            .map_err(PartError::of::<ValueTable>)?;
        if is_copy {
            said(COPIED.to_owned());
        }
        Ok(LastingParts { values })
    }
}

const COPIED: &str = "shared values ($shv) are copied to larger memory, as the next script has more names or more \
                      processes: what former processes change from now on is not seen";

/// One number for each process that goes up while it moves.
#[derive(Clone)]
pub struct Heartbeats(Counters);

impl Part for Heartbeats {
    const NAME: &'static CStr = c"sworker-heartbeats";
    /// How many processes.
    type Request = u32;
    type Place = CounterPlace;
    type Error = io::Error;

    fn reserve(processes: &u32, plan: &mut Plan) -> io::Result<CounterPlace> {
        Counters::reserve(&CounterRoom { processes: *processes, counters: 1 }, plan)
    }

    fn claim(place: CounterPlace, segment: &Segment) -> Heartbeats {
        Heartbeats(Counters::claim(place, segment))
    }
}

impl Tended for Heartbeats {}

impl Deref for Heartbeats {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::{GroupPlan, Owner, SharedInput, SharedReading};

    fn plan() -> PartPlan {
        PartPlan {
            queues: QueuePlan { producers: 2, groups: vec![GroupPlan::new("calls", 2, 16)] },
            processes: 6,
            counters: 40,
            delay_slots: 4,
            inboxes: InboxRoom { receivers: 1, datagrams: 4, size: 1000 },
            outboxes: vec![false, true],
            value_names: vec!["a".to_owned(), "\0my.limit".to_owned()],
            locks: 3,
            tells_overload: true,
            generation: 0,
        }
    }

    /// Bytes of this process's mappings that begin so.
    fn mapped(name: &str) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let of_it = maps.lines().filter(|line| line.contains(&format!("/memfd:{name} ")));
        let size = |line: &str| {
            let (start, end) = line.split(' ').next()?.split_once('-')?;
            Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
        };
        of_it.filter_map(size).sum()
    }

    fn quiet(_: String) {}

    #[test]
    fn what_is_made_is_what_was_planned_part_by_part() {
        let plan = plan();
        let sizes = plan.sizes().unwrap();
        let before: Vec<u64> = sizes.iter().map(|part| mapped(&part.name)).collect();
        let parts = plan.make(plan.make_lasting().unwrap()).unwrap();
        for (part, before) in sizes.iter().zip(before) {
            assert!(part.size > 0, "{}", part.name);
            // Other tests of this process may make parts as well.
            assert!(mapped(&part.name) >= before.min(part.size), "{}", part.name);
            assert_eq!(mapped(&part.name) % 4096, 0);
        }
        let mut names: Vec<&str> = sizes.iter().map(|part| part.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), parts.each().count()), (sizes.len(), sizes.len()), "{names:?}");
        let without = PartPlan { delay_slots: 0, tells_overload: false, ..plan };
        let empty = without.sizes().unwrap().into_iter().filter(|part| part.size == 0);
        assert_eq!(empty.map(|part| part.name).collect::<Vec<_>>(), ["sworker-delay", "sworker-overload"]);
    }

    #[test]
    fn a_death_is_put_right_in_every_part() {
        let plan = plan();
        let parts = plan.make(plan.make_lasting().unwrap()).unwrap();
        let dead = Owner::new(0, 4);
        assert_eq!(parts.locks.try_lock(4, 2), crate::shm::Locking::Taken);
        parts.each().for_each(|part| part.after_death(dead));
        parts.each().for_each(|part| part.after_death(dead));
        assert!(!parts.locks.is_held_by(4, 2));
        assert!(parts.each().all(|part| part.is_drained() && part.unfinished().0 == 0));
        let mut figures = Vec::new();
        parts.each().for_each(|part| part.figures(&mut |name, value| figures.push((name, value))));
        assert_eq!(figures, [("async.waiting", 0)]);
    }

    #[test]
    fn what_lasts_is_adopted_in_the_same_form_only() {
        type Change = fn(&mut HandedPart);
        let plan = plan();
        let former = plan.make_lasting().unwrap();
        former.values.name_slot(7, 0);
        former.values.write(Owner::new(0, 1), 0, SharedInput::Integer(5)).unwrap();
        let handed = |change: Change| {
            let files = former.files().into_iter();
            let parts = files.map(|(name, layout, file)| {
                let mut part = HandedPart { name, layout, file: file.try_clone_to_owned().unwrap() };
                change(&mut part);
                part
            });
            parts.collect::<Vec<_>>()
        };
        let rows: [(Change, i64, &str); 4] = [
            (|_| {}, 5, ""),
            (
                |part| part.layout = 0,
                0,
                "begins anew: the previous program has it in form 0, this one in form 1",
            ),
            (|part| part.name.clear(), 0, "begins anew: the previous program did not hand it over"),
            (|part| part.file = tempfile::tempfile().unwrap().into(), 0, "sworker-values begins anew: "),
        ];
        for (change, expected, words) in rows {
            let mut said = String::new();
            let adopted = plan.adopt(handed(change), &mut |text| said = text).unwrap();
            let read = adopted.values.read(0, &mut Vec::new());
            assert_eq!(read, Ok(SharedReading::Integer(expected)), "{words}");
            assert!(said.contains(words) && (said.is_empty() == words.is_empty()), "{said:?}");
        }
        let same = plan.carry(&former, &mut quiet).unwrap();
        assert_eq!(same.values.read(0, &mut Vec::new()), Ok(SharedReading::Integer(5)));
        let mut said = String::new();
        let larger = PartPlan { processes: 4_000, generation: 1, ..plan };
        larger.carry(&former, &mut |text| said = text).unwrap();
        assert!(said.contains("copied to larger memory"), "{said}");
    }

    #[test]
    fn what_cannot_be_made_is_told_with_its_name() {
        let mut plan = plan();
        plan.queues.groups[0].workers = 0;
        let refused = plan.sizes().unwrap_err().to_string();
        assert!(
            refused.starts_with("could not make shared memory sworker-queues: cannot give group"),
            "{refused}"
        );
    }
}
