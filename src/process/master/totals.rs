//! What several generations counted together: added up by the master, written down for the one that serves, handed to
//! the next program as text.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::process::heritage::Heritage;
use crate::shm::GroupStatistics;
use crate::state::status::GROUP_FIGURES;

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
            *total = total.wrapping_add(heritage.parts.counters.sum(index));
        }
        for group in 0..heritage.parts.queues.group_count() {
            let mut figures = heritage.parts.queues.group_statistics(group);
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
    pub fn write(&self, heritage: &Heritage, draining_count: u64) {
        let status = &heritage.parts.status;
        status.set_draining_count(draining_count);
        for (index, row) in (0..).zip(heritage.loaded.registry.counters()) {
            if let Some(value) = self.counters.get(&*row.name) {
                status.set_counter(index, *value);
            }
        }
        for (group, setting) in (0..).zip(&heritage.loaded.settings().groups) {
            let mut figures = self.groups.get(&setting.name).cloned().unwrap_or_default();
            let waiting = self.waiting.get(&setting.name).copied().unwrap_or_default();
            status.set_group(group, &mut figures, waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start::boot::tests::Scene;
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
        scene.heritage.parts.counters.block(1).add(index, amount);
    }

    fn delegate(scene: &Scene, group: u32) {
        let record = Record { meta: b"m", body: b"b", xdata: b"", received_at_ns: 1 };
        scene.heritage.parts.queues.producer(0).push(group, &record).unwrap();
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
        let status = &second.heritage.parts.status;
        let index = second.heritage.loaded.registry.counter("sworker.delegated").unwrap().0;
        assert_eq!((status.counter(index), status.counter(9_999)), (5, 0));
        assert_eq!((status.draining_count(), status.waiting(1), status.waiting(0)), (1, 1, 0));
        let mut calls = second.heritage.parts.queues.group_statistics(1);
        status.add_to(1, &mut calls);
        assert_eq!((calls.name.as_str(), calls.delegated, calls.depth), ("calls", 4, 3));

        totals.add(&second.heritage);
        totals.forget_waiting();
        totals.write(&third.heritage, 0);
        let status = &third.heritage.parts.status;
        assert_eq!((status.counter(index), status.draining_count(), status.waiting(0)), (7, 0, 0));
        let mut other = third.heritage.parts.queues.group_statistics(0);
        status.add_to(0, &mut other);
        assert_eq!(other.delegated, 0);
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
        second.heritage.parts.status.add_to(0, &mut calls);
        assert_eq!((second.heritage.parts.status.counter(index), calls.delegated), (10, 2));
        assert_eq!(second.heritage.parts.status.waiting(0), 0);

        // What an operator began anew is less than nothing in the generation he did it in.
        count(&first, "sworker.delegated", 10_u64.wrapping_neg());
        let (mut less, mut sum) = (Totals::default(), Totals::default());
        less.add(&first.heritage);
        (0..2).for_each(|_| sum.merge(&less));
        sum.write(&second.heritage, 0);
        assert_eq!(second.heritage.parts.status.counter(index), 10_u64.wrapping_neg());

        for nonsense in ["", "{}", "[]", "{\"counters\":{\"a\":-1},\"groups\":{}}"] {
            assert!(Totals::decode(nonsense).is_none(), "{nonsense}");
        }
        let other = "{\"counters\":{},\"groups\":{\"calls\":[1,2]}}";
        assert_eq!(Totals::decode(other).unwrap().groups["calls"], GroupStatistics::default());
    }
}
