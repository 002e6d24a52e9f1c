//! Rows of atomic cells that are read as they were at one moment, without stopping their one writer.
//!
//! ```text
//!  writer: version odd ─► cells ─► version even        reader: version ─► cells ─► same even version?
//! ```
//!
//! The cells are atomics, so a reader that comes in between reads old and new values, notices, and reads again. A
//! writer that died in between leaves an odd version; the next writer goes on from there.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Runs `store` so that readers see all of its stores or none. There must be only one writer.
pub(crate) fn write(version: &AtomicU64, store: impl FnOnce()) {
    let writing = version.load(Ordering::Relaxed).wrapping_add(1) | 1;
    version.store(writing, Ordering::Relaxed);
    // Release: a reader that saw one of the stores below sees the odd version when it looks again.
    fence(Ordering::Release);
    store();
    version.store(writing.wrapping_add(1), Ordering::Release);
}

/// The result of `load` at one moment; `None` when the writer was in between every time.
pub(crate) fn read<T>(version: &AtomicU64, mut load: impl FnMut() -> T) -> Option<T> {
    for _ in 0..READ_ATTEMPTS_MAX {
        let before = version.load(Ordering::Acquire);
        if before & 1 == 1 {
            std::thread::yield_now();
            continue;
        }
        let result = load();
        // Acquire: pairs with the Release fence of the writer.
        fence(Ordering::Acquire);
        if version.load(Ordering::Relaxed) == before {
            return Some(result);
        }
    }
    None
}

const READ_ATTEMPTS_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_never_sees_half_a_write() {
        let (version, cells) = (AtomicU64::new(0), [const { AtomicU64::new(0) }; 4]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=20_000 {
                    write(&version, || cells.iter().for_each(|cell| cell.store(round, Ordering::Relaxed)));
                }
            });
            let load = || [0, 1, 2, 3].map(|index| cells[index].load(Ordering::Relaxed));
            loop {
                let Some(values) = read(&version, load) else { continue };
                assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
                if values[0] == 20_000 {
                    break;
                }
            }
        });
    }

    #[test]
    fn writer_that_died_in_between_is_noticed_and_followed() {
        let version = AtomicU64::new(7);
        assert_eq!(read(&version, || 1), None);
        write(&version, || {});
        assert_eq!(version.load(Ordering::Relaxed), 10);
        assert_eq!(read(&version, || 1), Some(1));
    }
}
