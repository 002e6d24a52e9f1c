//! The clocks of the kernel as plain nanoseconds.
//!
//! `CLOCK_MONOTONIC` is one clock for all processes of the machine, so a stamp taken by a receiver may be compared
//! with one taken by a worker.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since an unspecified start that is the same for all processes; never goes back.
pub fn monotonic_ns() -> u64 {
    read_ns(ClockId::CLOCK_MONOTONIC)
}

/// As [`monotonic_ns`], but only as fresh as the last timer tick (1 to 10 ms) and about four times cheaper.
pub fn monotonic_coarse_ns() -> u64 {
    read_ns(ClockId::CLOCK_MONOTONIC_COARSE)
}

/// Nanoseconds since 1970-01-01 00:00:00 UTC.
pub fn realtime_ns() -> u64 {
    read_ns(ClockId::CLOCK_REALTIME)
}

/// CPU time used by this process so far, in nanoseconds.
pub fn process_cpu_ns() -> u64 {
    read_ns(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn read_ns(clock: ClockId) -> u64 {
    // These clocks exist on every kernel this program runs on; the call has no other way to fail.
    let Ok(time) = clock_gettime(clock) else { return 0 };
    time.tv_sec() as u64 * NS_PER_SECOND + time.tv_nsec() as u64
}

const NS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clock_never_goes_back() {
        let mut earlier = monotonic_ns();
        for _ in 0..1000 {
            let later = monotonic_ns();
            assert!(later >= earlier);
            earlier = later;
        }
    }

    #[test]
    fn coarse_clock_follows_the_fine_one() {
        let fine_before = monotonic_ns();
        let coarse = monotonic_coarse_ns();
        assert!(coarse <= monotonic_ns());
        assert!(fine_before - coarse.min(fine_before) < NS_PER_SECOND);
    }

    #[test]
    fn realtime_is_after_the_year_2020() {
        assert!(realtime_ns() > 1_577_836_800 * NS_PER_SECOND);
    }
}
