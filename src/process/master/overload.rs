//! How much neighbours are asked to keep back (`oc=on`, RFC 7339), by how full the queues are.
//!
//! ```text
//!  queue   0 %        25 %              50 %                       100 %
//!          │  less     │  as it is       │  more, the fuller the more  │
//! ```
//!
//! Between the two marks nothing changes, so that the word does not swing with the queue; it rises faster than it
//! falls. The fullest group decides: a neighbour does not know which group its requests go to.

use std::time::{Duration, Instant};

use super::generation::{Generation, Phase};
use crate::config::settings::GroupSetting;
use crate::state::overload::VALIDITY_MS;
use crate::telemetry::log::Level;

/// A new word so often: time enough for the last one to be heard and followed.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// From this part of a queue on more is kept back.
const HIGH_PERCENT: u64 = 50;
/// Below this part less is.
const LOW_PERCENT: u64 = 25;
/// A full queue adds so much to the word at once, one that is just above the mark the least.
const STEP_UP_MAX: u64 = 25;
const STEP_UP_MIN: u64 = 5;
const STEP_DOWN: u64 = 5;
/// Some requests always come, or no neighbour would hear that the overload is over.
const PERCENT_MAX: u64 = 95;

const _: () = assert!(TOLD_EVERY.as_millis() * 2 < VALIDITY_MS as u128);

/// The memory of a generation.
pub struct OverloadControl {
    watched: Vec<u32>,
    percent: u64,
    next_look: Instant,
}

impl OverloadControl {
    /// For these groups, by index.
    pub fn new(groups: &[GroupSetting]) -> OverloadControl {
        let watched = (0..).zip(groups).filter(|(_, group)| group.tells_overload);
        OverloadControl {
            watched: watched.map(|(index, _)| index).collect(),
            percent: 0,
            next_look: Instant::now(),
        }
    }

    /// How long the master may wait before it looks again; `None` when no group wants it.
    pub fn pause(&self) -> Option<Duration> {
        (!self.watched.is_empty()).then_some(TOLD_EVERY)
    }
}

/// The next word after this one, when the fullest queue is so full, in percent.
fn next(percent: u64, fullness: u64) -> u64 {
    if fullness >= HIGH_PERCENT {
        let above = fullness.min(100) - HIGH_PERCENT;
        let step = STEP_UP_MIN + above * (STEP_UP_MAX - STEP_UP_MIN) / (100 - HIGH_PERCENT);
        (percent + step).min(PERCENT_MAX)
    } else if fullness < LOW_PERCENT {
        percent.saturating_sub(STEP_DOWN)
    } else {
        percent
    }
}

impl Generation {
    /// One look at the groups that have a say, when it is time, and a new word.
    pub(in crate::process) fn control_overload(&mut self) {
        let now = Instant::now();
        let control = &self.overload;
        if control.watched.is_empty() || self.phase != Phase::Serving || now < control.next_look {
            return;
        }
        let fullness = control.watched.iter().map(|group| self.fullness(*group)).max().unwrap_or(0);
        let (before, after) = (control.percent, next(control.percent, fullness));
        self.overload.next_look = now + TOLD_EVERY;
        self.overload.percent = after;
        if after > 0 || before > 0 {
            // Said anew each time: a word that is not repeated does not hold for long.
            self.heritage.shared.overload.tell(after as u8);
        }
        match (before, after) {
            (0, 1..) => self.say(
                Level::Warning,
                format_args!(
                    "overload control: neighbours are asked to send {after} % fewer requests, a queue is \
                     {fullness} % full"
                ),
            ),
            (1.., 0) => self.say(
                Level::Notice,
                format_args!("overload control: ended, neighbours may send all requests again"),
            ),
            _ => {}
        }
    }

    fn fullness(&self, group: u32) -> u64 {
        let figures = self.heritage.parts.queues.group_statistics(group);
        figures.depth.saturating_mul(100) / figures.capacity.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_with_the_queue_falls_slowly_and_holds_between_the_marks() {
        let rows = [
            // word, queue, next word
            (0, 0, 0),
            (0, 24, 0),
            (0, 49, 0),
            (0, 50, 5),
            (0, 75, 15),
            (0, 100, 25),
            (0, 1_000, 25),
            (40, 49, 40),
            (40, 25, 40),
            (40, 24, 35),
            (3, 0, 0),
            (90, 100, PERCENT_MAX),
            (PERCENT_MAX, 100, PERCENT_MAX),
        ];
        for (percent, fullness, expected) in rows {
            assert_eq!(next(percent, fullness), expected, "{percent} % at a queue of {fullness} %");
        }
    }

    /// A neighbour that keeps back what it is asked to and sends three times what is possible.
    #[test]
    fn it_settles_where_the_neighbour_sends_what_can_be_done() {
        let (mut percent, mut depth) = (0, 0.0_f64);
        let mut words = Vec::new();
        for _ in 0..200 {
            let comes = 300.0 * (100 - percent) as f64 / 100.0;
            depth = (depth + comes - 100.0).clamp(0.0, 1_000.0);
            percent = next(percent, (depth / 10.0) as u64);
            words.push(percent);
        }
        let late = &words[100..];
        let mean = late.iter().sum::<u64>() as f64 / late.len() as f64;
        assert!((55.0..=80.0).contains(&mean), "two thirds are too many, {mean} % were kept back: {late:?}");
    }
}
