//! Generations that drain: they finish what they accepted while another one serves, and what they counted stays.

use std::time::Instant;

use super::Master;
use super::generation::{Generation, Phase};
use super::totals::Totals;
use crate::telemetry::log::Level;

impl Master {
    /// Generations that were replaced finish what they accepted and exit.
    pub(in crate::process) fn begin_to_drain(&mut self) {
        let now = self.now();
        for generation in self.draining.iter_mut().filter(|generation| !generation.is_stopping()) {
            let number = generation.heritage.fixed.generation;
            generation.say(
                Level::Notice,
                format_args!("generation {number} is draining: it finishes accepted messages and exits"),
            );
            generation.phase = Phase::Stopping { step: 0, since: Instant::now() };
            generation.stop_control(now);
        }
    }

    /// One step of each, in each turn of the master.
    pub(in crate::process) fn go_on_draining(&mut self) {
        let (now, has_second_stop_signal) = (self.now(), self.has_second_stop_signal);
        let mut index = 0;
        while index < self.draining.len() {
            let generation = &mut self.draining[index];
            generation.follow_the_clock(has_second_stop_signal, now);
            match generation.status_at_end() {
                Some(status) => self.forget_drained(index, status),
                None => index += 1,
            }
        }
        if !self.draining.is_empty() {
            self.write_totals();
        }
    }

    /// Its memory goes, its sockets go unless others share them, what it counted stays.
    fn forget_drained(&mut self, index: usize, status: i32) {
        let drained = self.draining.remove(index);
        self.reload.status = self.reload.status.max(status);
        self.reload.totals.add(&drained.heritage);
        self.reload.totals.forget_waiting();
        let number = drained.heritage.fixed.generation;
        drop(drained);
        self.say(Level::Notice, format_args!("generation {number} has ended"));
        self.write_totals();
    }

    /// What all generations and programs before the generation that serves have counted.
    fn totals_before(&self) -> Totals {
        let mut totals = self.reload.totals.clone();
        totals.merge(&self.reload.of_predecessor);
        self.draining.iter().for_each(|generation| totals.add(&generation.heritage));
        totals
    }

    pub(in crate::process) fn write_totals(&self) {
        self.totals_before().write(&self.current.heritage, self.draining.len() as u64);
    }

    /// What the whole server has counted.
    pub(in crate::process) fn totals_of_all(&self) -> Totals {
        let mut totals = self.totals_before();
        totals.add(&self.current.heritage);
        totals
    }

    /// All generations, the one that serves last.
    pub(in crate::process) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.draining.iter().chain([&self.current])
    }

    /// The same, to be changed.
    pub(in crate::process) fn generations_mut(&mut self) -> impl Iterator<Item = &mut Generation> {
        self.draining.iter_mut().chain([&mut self.current])
    }
}
