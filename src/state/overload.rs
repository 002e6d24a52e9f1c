//! How much this server asks its neighbours to keep back: one word that the master changes and every process reads.
//!
//! It exists only where a group says `oc=on`; elsewhere no Via is ever looked at for it.

use std::ffi::CStr;
use std::io;
use std::rc::Rc;

use crate::config::settings::GroupSetting;
use crate::shm::{CounterBlock, CounterPlace, CounterRoom, Counters, Part, Plan, Segment, Tended};
use crate::sip::overload::Overload;
use crate::sip::via::Via;
use crate::sys::clock::realtime_ns;

/// For so long a word holds; the master says a new one more often than that.
pub const VALIDITY_MS: u32 = 1_000;
/// The percentage takes the lowest bits, the number of the word the rest.
const PERCENT_BITS: u32 = 7;
/// It is the only number in its memory.
const WORD: u32 = 0;

/// The word; a clone is the same one.
#[derive(Clone)]
pub struct OverloadWord {
    number: Option<Rc<CounterBlock>>,
}

impl Part for OverloadWord {
    const NAME: &'static CStr = c"sworker-overload";
    /// Whether there is one.
    type Request = bool;
    type Place = CounterPlace;
    type Error = io::Error;

    fn reserve(_: &bool, plan: &mut Plan) -> io::Result<CounterPlace> {
        Counters::reserve(&CounterRoom { processes: 1, counters: 1 }, plan)
    }

    fn claim(place: CounterPlace, segment: &Segment) -> OverloadWord {
        let word = OverloadWord { number: Some(Rc::new(Counters::claim(place, segment).block(0))) };
        word.tell(0);
        word
    }

    fn make(is_needed: &bool) -> io::Result<OverloadWord> {
        let word = is_needed.then(|| Self::make_planned(is_needed)).transpose()?;
        Ok(word.unwrap_or(OverloadWord { number: None }))
    }

    fn size(is_needed: &bool) -> io::Result<u64> {
        if *is_needed { Self::planned_size(is_needed) } else { Ok(0) }
    }
}

impl Tended for OverloadWord {}

/// Whether a group wants the word.
pub fn is_told(groups: &[GroupSetting]) -> bool {
    groups.iter().any(|group| group.tells_overload)
}

impl OverloadWord {
    /// One where a group wants it, with nothing to keep back.
    pub fn create(groups: &[GroupSetting]) -> io::Result<OverloadWord> {
        Self::make(&is_told(groups))
    }

    /// From now on so many of a hundred are to be kept back; for the master alone.
    pub fn tell(&self, percent: u8) {
        let Some(number) = &self.number else { return };
        let now_ms = i64::try_from(realtime_ns() / 1_000_000).unwrap_or(i64::MAX >> PERCENT_BITS);
        // A clock that was put back does not make the new word look older than the last one.
        let sequence_ms = now_ms.max((number.value(WORD) as i64 >> PERCENT_BITS) + 1);
        number.set(WORD, (sequence_ms << PERCENT_BITS | i64::from(percent.min(100))) as u64);
    }

    /// What the sender named in this Via is to be told, if it asks.
    #[inline]
    pub fn due(&self, via: &Via<'_>) -> Option<Overload> {
        let number = self.number.as_ref()?;
        Overload::is_asked_for(via).then(|| read(number.value(WORD) as i64))
    }
}

fn read(word: i64) -> Overload {
    let percent = (word & ((1 << PERCENT_BITS) - 1)) as u8;
    let validity_ms = if percent == 0 { 0 } else { VALIDITY_MS };
    Overload { percent, validity_ms, sequence_ms: (word >> PERCENT_BITS).unsigned_abs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(tells_overload: bool) -> GroupSetting {
        GroupSetting { tells_overload, ..GroupSetting::new("calls", 1, 8) }
    }

    fn due(word: &OverloadWord, params: &str) -> Option<Overload> {
        let text = format!("SIP/2.0/UDP h{params}");
        word.due(&Via::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn only_who_asks_is_told_and_only_where_it_is_switched_on() {
        let off = OverloadWord::create(&[group(false)]).unwrap();
        off.tell(50);
        assert_eq!(due(&off, ";oc;oc-algo=\"loss\""), None);
        let on = OverloadWord::create(&[group(false), group(true)]).unwrap();
        assert_eq!(due(&on, ";rport"), None);
        let told = due(&on, ";oc;oc-algo=\"loss\"").expect("it is switched on");
        assert_eq!((told.percent, told.validity_ms), (0, 0));
    }

    #[test]
    fn each_word_is_newer_than_the_one_before_and_a_clone_hears_it() {
        let word = OverloadWord::create(&[group(true)]).unwrap();
        let heard = word.clone();
        let mut last = due(&heard, ";oc").unwrap().sequence_ms;
        for percent in [10, 10, 100, 0] {
            word.tell(percent);
            let told = due(&heard, ";oc").unwrap();
            assert!(told.sequence_ms > last);
            assert_eq!((told.percent, told.validity_ms > 0), (percent, percent > 0));
            last = told.sequence_ms;
        }
        word.tell(255);
        assert_eq!(due(&heard, ";oc").unwrap().percent, 100);
    }
}
