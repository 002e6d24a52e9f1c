//! One number that this process and all its later children share, such as the log level of a running server.

use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

use super::memory::SharedMapping;

/// The number. It stands alone: nothing else is ordered by it.
pub struct SharedNumber {
    mapping: SharedMapping,
}

impl SharedNumber {
    /// Makes one, with this value; `name` shows up in `/proc/PID/maps`.
    pub fn create(name: &CStr, value: i64) -> io::Result<SharedNumber> {
        let mapping = SharedMapping::create(name, size_of::<AtomicI64>())?;
        let number = SharedNumber { mapping };
        number.set(value);
        Ok(number)
    }

    /// The value that was set last, by whichever process.
    #[inline]
    pub fn get(&self) -> i64 {
        self.cell().load(Ordering::Relaxed)
    }

    /// Changes it for every process.
    pub fn set(&self, value: i64) {
        self.cell().store(value, Ordering::Relaxed);
    }

    /// Adds to it for every process; the value after that.
    pub fn add(&self, amount: i64) -> i64 {
        self.cell().fetch_add(amount, Ordering::Relaxed).wrapping_add(amount)
    }

    #[inline]
    fn cell(&self) -> &AtomicI64 {
        // SAFETY: the mapping is page-aligned, holds at least these 8 bytes as long as `self` lives, any bytes are a
        // valid AtomicI64, and they are used through this function only.
        unsafe { &*self.mapping.start().cast::<AtomicI64>() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_set_last() {
        let number = SharedNumber::create(c"sworker-test", -3).unwrap();
        assert_eq!(number.get(), -3);
        for value in [i64::MIN, 0, i64::MAX] {
            number.set(value);
            assert_eq!(number.get(), value);
        }
        number.set(40);
        assert_eq!((number.add(2), number.get()), (42, 42));
    }
}
