//! What is counted: rows with documentation, and the handle by which a process counts.
//!
//! Names are `room.thing_past`. Every process adds to its own block in shared memory; a viewer adds the blocks up.

use std::borrow::Cow;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRow {
    /// Name: `sworker.delegated`.
    pub name: Cow<'static, str>,
    /// What is counted, one line.
    pub documentation: Cow<'static, str>,
}

impl CounterRow {
    /// A row.
    pub const fn new(name: &'static str, documentation: &'static str) -> CounterRow {
        CounterRow { name: Cow::Borrowed(name), documentation: Cow::Borrowed(documentation) }
    }
}

/// Index of a counter in the block of a process: first [`CORE`], then those of the loaded modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterId(pub u32);

/// Adds to the counters of this process.
pub trait Count {
    /// Adds `amount`.
    fn add(&self, counter: CounterId, amount: u64);

    /// The sum over all processes.
    fn sum(&self, counter: CounterId) -> u64;

    /// Begins anew at 0: what all have counted is taken away in the block of this process, since no other may be
    /// written to. What others count meanwhile is not lost.
    fn reset(&self, counter: CounterId) {
        self.add(counter, self.sum(counter).wrapping_neg());
    }
}

/// Counts nothing: for checks of scripts.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountNothing;

impl Count for CountNothing {
    fn add(&self, _: CounterId, _: u64) {}

    fn sum(&self, _: CounterId) -> u64 {
        0
    }
}

macro_rules! core_counters {
    ($($index:literal $constant:ident $name:literal $documentation:literal;)*) => {
        $(
            #[doc = $documentation]
            pub const $constant: CounterId = CounterId($index);
        )*

        /// Counters of the core.
        pub const CORE: &[CounterRow] = &[$(CounterRow::new($name, $documentation),)*];

        #[cfg(test)]
        const INDEXES: &[u32] = &[$($index,)*];
    };
}

core_counters! {
    0 REQUESTS_RECEIVED "core.requests_received" "requests that were read";
    1 REPLIES_RECEIVED "core.replies_received" "replies that were read";
    2 PROBES_RECEIVED "core.probes_received" "datagrams too small to be a message, such as keep-alives";
    3 BROKEN_RECEIVED "core.broken_received" "datagrams that are no message, or lack what every message must have";
    4 PRE_ROUTING_DROPPED "core.pre_routing_dropped" "messages that pre-routing dropped, the delegated ones included";
    5 REQUESTS_FORWARDED "core.requests_forwarded" "requests sent on without state";
    6 REPLIES_FORWARDED "core.replies_forwarded" "replies sent on by their Via";
    7 REPLIES_DROPPED "core.replies_dropped" "replies the script dropped";
    8 REPLIES_STRAY "core.replies_stray" "replies without a way back: no second Via, or not ours";
    9 REPLIES_SENT "core.replies_sent" "replies made here";
    10 SENDS_FAILED "core.sends_failed" "messages the kernel did not take";
    11 SCRIPTS_FAILED "core.scripts_failed" "runs of a route that ended below zero, or at a limit";
    12 LOG_LINES_DROPPED "core.log_lines_dropped" "log lines that found no room";
    13 XDATA_BROKEN "core.xdata_broken" "delegated messages whose extra value could not be read or set";
    14 ACKS_ABSORBED "core.acks_absorbed" "ACKs to final replies made here, which end here";
    15 BROKEN_ANSWERED "core.broken_answered" "broken requests answered with an error before the script saw them";
    16 LOG_LINES_SUPPRESSED "core.log_lines_suppressed" "log lines about one source that were too many a second";
    17 SHARED_REFUSED "core.shared_refused" "shared values that were too long, or changed all the time";
    18 REQUESTS_TURNED_AWAY "core.requests_turned_away" "new requests answered with 503 because the server stops";
    19 CONTINUATIONS_LOST "core.continuations_lost" "messages handed on to a route that is not there, or whose state cannot be read";
    20 COPIES_REFUSED "core.copies_refused" "copies of a message that was set aside, refused before the script saw them";
    21 OVERLOAD_TOLD "core.overload_told" "replies that told a neighbour how much to keep back (oc=on, RFC 7339)";
    22 MEMORY_DAMAGED "core.memory_damaged" "times the memory of the queues contradicted itself, and was made anew with all processes";
    23 SET_ASIDE "core.set_aside" "messages that ended their receivers and were set aside; those of workers count for their group";
    24 SENDS_TAKEN_OVER "core.sends_taken_over" "messages sent for a process that died before it could, or before it could note it";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_indexes_under_names_of_their_own() {
        for (position, (row, index)) in CORE.iter().zip(INDEXES).enumerate() {
            assert_eq!(*index as usize, position, "{}", row.name);
            assert!(CORE[..position].iter().all(|other| other.name != row.name), "{}", row.name);
            assert!(row.name.starts_with("core.") && !row.documentation.is_empty());
        }
    }
}
