//! What a generation of processes should know about those before it, and about the stop it lives in: a few numbers in
//! shared memory, written by the master, read by its children.
//!
//! ```text
//!  counters of earlier generations │ figures of their groups │ messages they still hold │ how many live │ serving? stopping?
//! ```
//!
//! A reload replaces every process and all shared memory, and yet a viewer sees one server: totals go on where they
//! were. Names tie them together, as indexes belong to one script.

use std::collections::HashMap;
use std::io;

use serde_json::{Value, json};

use super::heritage::Heritage;
use crate::shm::{CounterBlock, Counters, GroupStatistics};

/// The numbers. Made with the rest of a generation's shared memory.
pub struct Ledger {
    cells: CounterBlock,
    counter_count: u32,
    group_count: u32,
}

/// Figures of a group that add up over generations.
const GROUP_FIGURES: [fn(&mut GroupStatistics) -> &mut u64; 16] = [
    |group| &mut group.delegated,
    |group| &mut group.delegated_size,
    |group| &mut group.full,
    |group| &mut group.refused,
    |group| &mut group.dropped_oldest,
    |group| &mut group.expired,
    |group| &mut group.too_large,
    |group| &mut group.processed,
    |group| &mut group.redelivered,
    |group| &mut group.quarantined,
    |group| &mut group.adopted,
    |group| &mut group.corrupt,
    |group| &mut group.worker_deaths,
    |group| &mut group.producer_deaths,
    |group| &mut group.deadline_killed,
    |group| &mut group.late_found,
];
/// Behind the figures of a group: what older generations still hold for it, how many of its workers do not hold, and
/// whether these wait for older generations.
const WAITING: u32 = GROUP_FIGURES.len() as u32;
const DEGRADED: u32 = WAITING + 1;
const IS_HELD: u32 = DEGRADED + 1;
const GROUP_CELLS: u32 = IS_HELD + 1;

/// Cells of their own, before all others.
const ELDER_COUNT: u32 = 0;
const IS_STOPPING: u32 = 1;
const IS_SERVING: u32 = 2;
const OWN_CELLS: u32 = 3;

impl Ledger {
    /// Room for so many counters and groups, all 0.
    pub fn create(counter_count: u32, group_count: u32) -> io::Result<Ledger> {
        let cell_count = OWN_CELLS + counter_count + group_count * GROUP_CELLS;
        Ok(Ledger { cells: Counters::create(1, cell_count)?.block(0), counter_count, group_count })
    }

    /// How many older generations live.
    pub fn elder_count(&self) -> u64 {
        self.cells.value(ELDER_COUNT)
    }

    /// The master's word: so many older generations live.
    fn set_elder_count(&self, count: u64) {
        self.cells.set(ELDER_COUNT, count);
    }

    /// Whether the server stops, and nothing new is to be begun.
    pub fn is_stopping(&self) -> bool {
        self.cells.value(IS_STOPPING) != 0
    }

    /// The master's word: nothing new is to be begun.
    pub fn set_stopping(&self) {
        self.cells.set(IS_STOPPING, 1);
    }

    /// Whether this generation is the one that serves, and not one that comes up beside another.
    pub fn is_serving(&self) -> bool {
        self.cells.value(IS_SERVING) != 0
    }

    /// The master's word: this generation serves from now on.
    pub fn set_serving(&self) {
        self.cells.set(IS_SERVING, 1);
    }

    /// What earlier generations counted.
    pub fn counter(&self, index: u32) -> u64 {
        if index < self.counter_count { self.cells.value(OWN_CELLS + index) } else { 0 }
    }

    /// Messages that older generations still hold for a group.
    pub fn waiting(&self, group: u32) -> u64 {
        self.group_cell(group, WAITING).map_or(0, |cell| self.cells.value(cell))
    }

    /// Workers of a group that die as soon as they are started.
    pub fn degraded(&self, group: u32) -> u64 {
        self.group_cell(group, DEGRADED).map_or(0, |cell| self.cells.value(cell))
    }

    /// The master's word: so many workers of a group do not hold.
    pub fn set_degraded(&self, group: u32, count: u64) {
        if let Some(cell) = self.group_cell(group, DEGRADED) {
            self.cells.set(cell, count);
        }
    }

    /// Whether workers of a group wait until older generations have finished what they hold for it.
    pub fn is_held(&self, group: u32) -> bool {
        self.group_cell(group, IS_HELD).is_some_and(|cell| self.cells.value(cell) != 0)
    }

    /// The master's word: workers of a group wait, or begin.
    pub fn set_held(&self, group: u32, is_held: bool) {
        if let Some(cell) = self.group_cell(group, IS_HELD) {
            self.cells.set(cell, u64::from(is_held));
        }
    }

    /// Adds what earlier generations of a group counted.
    pub fn add_to(&self, group: u32, figures: &mut GroupStatistics) {
        for (cell, figure) in (0..).zip(GROUP_FIGURES) {
            *figure(figures) += self.group_cell(group, cell).map_or(0, |cell| self.cells.value(cell));
        }
    }

    fn set_group(&self, group: u32, totals: &mut GroupStatistics, waiting: u64) {
        for (cell, figure) in (0..).zip(GROUP_FIGURES) {
            if let Some(cell) = self.group_cell(group, cell) {
                self.cells.set(cell, *figure(totals));
            }
        }
        if let Some(cell) = self.group_cell(group, WAITING) {
            self.cells.set(cell, waiting);
        }
    }

    fn group_cell(&self, group: u32, cell: u32) -> Option<u32> {
        (group < self.group_count).then(|| OWN_CELLS + self.counter_count + group * GROUP_CELLS + cell)
    }
}

/// What several generations counted together, by name.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    counters: HashMap<String, u64>,
    groups: HashMap<String, GroupStatistics>,
    waiting: HashMap<String, u64>,
}

impl Totals {
    /// Adds what one generation counted itself.
    pub fn add(&mut self, heritage: &Heritage) {
        for (index, row) in (0..).zip(heritage.loaded.registry.counters()) {
            let total = self.counters.entry(row.name.to_string()).or_default();
            *total = total.wrapping_add(heritage.counters.sum(index));
        }
        for group in 0..heritage.queues.group_count() {
            let mut figures = heritage.queues.group_statistics(group);
            *self.waiting.entry(figures.name.clone()).or_default() += figures.depth;
            let sums = self.groups.entry(figures.name.clone()).or_default();
            for figure in GROUP_FIGURES {
                *figure(sums) += *figure(&mut figures);
            }
        }
    }

    /// Adds what others counted.
    pub fn merge(&mut self, others: &Totals) {
        for (name, value) in &others.counters {
            let total = self.counters.entry(name.clone()).or_default();
            // What began anew in one program may be less than nothing there.
            *total = total.wrapping_add(*value);
        }
        for (name, figures) in &others.groups {
            let (mut figures, sums) = (figures.clone(), self.groups.entry(name.clone()).or_default());
            GROUP_FIGURES.iter().for_each(|figure| *figure(sums) += *figure(&mut figures));
        }
    }

    /// For the program that takes over: one line of text. What waits is finished here and is not told.
    pub fn encode(&self) -> String {
        let group = |(name, figures): (&String, &GroupStatistics)| {
            let mut figures = figures.clone();
            (name.clone(), Value::from(GROUP_FIGURES.map(|figure| *figure(&mut figures)).to_vec()))
        };
        let groups: serde_json::Map<String, Value> = self.groups.iter().map(group).collect();
        json!({"counters": self.counters, "groups": groups}).to_string()
    }

    /// From the program before this one. Of groups whose figures are others than ours nothing is known.
    pub fn decode(text: &str) -> Option<Totals> {
        let found: Value = serde_json::from_str(text).ok()?;
        let counter = |(name, value): (&String, &Value)| Some((name.clone(), value.as_u64()?));
        let group = |(name, values): (&String, &Value)| {
            let values: Vec<u64> = values.as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()?;
            let mut figures = GroupStatistics::default();
            if values.len() == GROUP_FIGURES.len() {
                let rows = GROUP_FIGURES.iter().zip(values);
                rows.for_each(|(figure, value)| *figure(&mut figures) = value);
            }
            Some((name.clone(), figures))
        };
        Some(Totals {
            counters: found["counters"].as_object()?.iter().map(counter).collect::<Option<_>>()?,
            groups: found["groups"].as_object()?.iter().map(group).collect::<Option<_>>()?,
            waiting: HashMap::new(),
        })
    }

    /// Nothing waits any more in the generations that were added.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Writes them down for the generation that serves, and how many older ones live.
    pub fn write(&self, heritage: &Heritage, elder_count: u64) {
        let ledger = &heritage.ledger;
        ledger.set_elder_count(elder_count);
        for (index, row) in (0..).zip(heritage.loaded.registry.counters()) {
            if let Some(value) = self.counters.get(&*row.name) {
                ledger.cells.set(OWN_CELLS + index, *value);
            }
        }
        for (group, setting) in (0..).zip(&heritage.loaded.settings().groups) {
            let mut figures = self.groups.get(&setting.name).cloned().unwrap_or_default();
            let waiting = self.waiting.get(&setting.name).copied().unwrap_or_default();
            ledger.set_group(group, &mut figures, waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::boot::tests::Scene;
    use crate::shm::Record;

    fn scene(groups: &[&str]) -> Scene {
        let groups: String = groups
            .iter()
            .map(|name| format!("async_workers_group=\"name={name};workers=1;queue=8\"\n"))
            .collect();
        Scene::new(&format!(
            "listen=udp:127.0.0.1:0\nchildren=1\nloadmodule \"sworker\"\n{groups}request_route {{ exit; }}\n"
        ))
    }

    fn count(scene: &Scene, name: &str, amount: u64) {
        let index = scene.heritage.loaded.registry.counter(name).unwrap().0;
        scene.heritage.counters.block(1).add(index, amount);
    }

    fn delegate(scene: &Scene, group: u32) {
        let record = Record { meta: b"m", body: b"b", xdata: b"", received_at_ns: 1 };
        scene.heritage.queues.producer(0).push(group, &record).unwrap();
    }

    #[test]
    fn totals_go_on_under_their_names_wherever_they_stand() {
        let (first, second, third) = (scene(&["calls", "reg"]), scene(&["reg", "calls"]), scene(&["other"]));
        count(&first, "sworker.delegated", 5);
        count(&second, "sworker.delegated", 2);
        delegate(&first, 0);
        (0..3).for_each(|_| delegate(&second, 1));

        let mut totals = Totals::default();
        totals.add(&first.heritage);
        totals.write(&second.heritage, 1);
        let ledger = &second.heritage.ledger;
        let index = second.heritage.loaded.registry.counter("sworker.delegated").unwrap().0;
        assert_eq!((ledger.counter(index), ledger.counter(9_999)), (5, 0));
        assert_eq!((ledger.elder_count(), ledger.waiting(1), ledger.waiting(0)), (1, 1, 0));
        let mut calls = second.heritage.queues.group_statistics(1);
        ledger.add_to(1, &mut calls);
        assert_eq!((calls.name.as_str(), calls.delegated, calls.depth), ("calls", 4, 3));

        totals.add(&second.heritage);
        totals.forget_waiting();
        totals.write(&third.heritage, 0);
        let ledger = &third.heritage.ledger;
        assert_eq!((ledger.counter(index), ledger.elder_count(), ledger.waiting(0)), (7, 0, 0));
        let mut other = third.heritage.queues.group_statistics(0);
        ledger.add_to(0, &mut other);
        assert_eq!(other.delegated, 0);
    }

    #[test]
    fn a_stop_and_groups_that_do_not_hold_are_told_once_and_seen_by_all() {
        let ledger = Ledger::create(3, 2).unwrap();
        assert!(!ledger.is_stopping());
        ledger.set_stopping();
        ledger.set_degraded(1, 4);
        ledger.set_degraded(2, 9);
        assert!(ledger.is_stopping());
        assert_eq!([0, 1, 2].map(|group| ledger.degraded(group)), [0, 4, 0]);
    }

    #[test]
    fn totals_are_told_to_another_program_and_nonsense_is_none() {
        let (first, second) = (scene(&["calls"]), scene(&["calls", "reg"]));
        count(&first, "sworker.delegated", 5);
        delegate(&first, 0);
        let mut totals = Totals::default();
        totals.add(&first.heritage);
        let heard = Totals::decode(&totals.encode()).unwrap();
        let mut sum = heard.clone();
        sum.merge(&heard);
        sum.write(&second.heritage, 0);
        let index = second.heritage.loaded.registry.counter("sworker.delegated").unwrap().0;
        let mut calls = GroupStatistics::default();
        second.heritage.ledger.add_to(0, &mut calls);
        assert_eq!((second.heritage.ledger.counter(index), calls.delegated), (10, 2));
        assert_eq!(second.heritage.ledger.waiting(0), 0);

        // What an operator began anew is less than nothing in the generation he did it in.
        count(&first, "sworker.delegated", 10_u64.wrapping_neg());
        let (mut less, mut sum) = (Totals::default(), Totals::default());
        less.add(&first.heritage);
        (0..2).for_each(|_| sum.merge(&less));
        sum.write(&second.heritage, 0);
        assert_eq!(second.heritage.ledger.counter(index), 10_u64.wrapping_neg());

        for nonsense in ["", "{}", "[]", "{\"counters\":{\"a\":-1},\"groups\":{}}"] {
            assert!(Totals::decode(nonsense).is_none(), "{nonsense}");
        }
        let other = "{\"counters\":{},\"groups\":{\"calls\":[1,2]}}";
        assert_eq!(Totals::decode(other).unwrap().groups["calls"], GroupStatistics::default());
    }
}
