//! One piece of shared memory, planned in full before it is made.
//!
//! ```text
//!  Plan::reserve::<T>(count) ─► Place<T>      every part states its size
//!  Plan::create()            ─► Segment       one sealed mapping of zero bytes
//!  Segment::claim(place)     ─► Shared<T>     a place is used up when it becomes a slice
//! ```
//!
//! **Invariants**
//! - No pointer, reference or function lives in shared memory: only numbers, and bytes ([`SharedBytes`]).
//! - Two places never overlap, and a place can be claimed once.
//! - A slice keeps the mapping alive; it is the same memory in every process forked after `create`.
//!
//! Under loom the same calls hand out heap memory made of the model's atomics and cells.

#[cfg(loom)]
pub(crate) use modelled::*;
#[cfg(not(loom))]
pub(crate) use real::*;

/// A type that may live in shared memory.
///
/// # Safety
/// It consists of atomic integers (and padding) only, so all zero bytes are a valid first value, every bit pattern is
/// a valid later one, and it means the same in every process.
pub(crate) unsafe trait Shareable: Default + Sync {}

#[cfg(not(loom))]
mod real {
    use super::Shareable;
    use crate::sys::memory::SharedMapping;
    use std::ffi::CStr;
    use std::fs::File;
    use std::io;
    use std::marker::PhantomData;
    use std::ops::{Deref, Range};
    use std::os::fd::BorrowedFd;
    use std::ptr::{self, NonNull};
    use std::sync::Arc;

    /// The sum of all reservations so far.
    #[derive(Default)]
    pub(crate) struct Plan {
        size: usize,
    }

    /// Room for `count` values of `T`, planned but not yet used.
    pub(crate) struct Place<T> {
        offset: usize,
        count: usize,
        kind: PhantomData<fn() -> T>,
    }

    /// Room for bytes, planned but not yet used.
    pub(crate) struct BytesPlace {
        offset: usize,
        size: usize,
    }

    impl Plan {
        pub(crate) fn reserve<T: Shareable>(&mut self, count: usize) -> Place<T> {
            const { assert!(align_of::<T>() <= LINE_PAIR) };
            let offset = self.advance(size_of::<T>().saturating_mul(count));
            Place { offset, count, kind: PhantomData }
        }

        /// `granule` is the unit in which the model watches accesses; the machine has no use for it.
        pub(crate) fn reserve_bytes(&mut self, size: usize, _granule: usize) -> BytesPlace {
            BytesPlace { offset: self.advance(size), size }
        }

        pub(crate) fn create(&self, name: &CStr) -> io::Result<Segment> {
            Ok(Segment(Arc::new(SharedMapping::create(name, self.size()?)?)))
        }

        /// The same in memory that the next program of this server can map as well.
        pub(crate) fn create_for_successors(&self, name: &CStr) -> io::Result<Segment> {
            Ok(Segment(Arc::new(SharedMapping::create_for_successors(name, self.size()?)?)))
        }

        /// Bytes of the mapping: whole pages.
        pub(crate) fn size(&self) -> io::Result<usize> {
            let size =
                self.size.max(1).checked_next_multiple_of(PAGE_SIZE).filter(|size| *size < usize::MAX / 2);
            size.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
        }

        fn advance(&mut self, size: usize) -> usize {
            let offset = self.size;
            self.size = offset.saturating_add(size).checked_next_multiple_of(LINE_PAIR).unwrap_or(usize::MAX);
            offset
        }
    }

    /// The memory itself.
    #[derive(Clone)]
    pub(crate) struct Segment(Arc<SharedMapping>);

    impl Segment {
        pub(crate) fn claim<T: Shareable>(&self, place: Place<T>) -> Shared<T> {
            let start = self.pointer(place.offset..place.offset + place.count * size_of::<T>());
            Shared { segment: self.clone(), start: start.cast(), count: place.count }
        }

        pub(crate) fn claim_bytes(&self, place: BytesPlace) -> SharedBytes {
            let start = self.pointer(place.offset..place.offset + place.size);
            SharedBytes { _segment: self.clone(), start, size: place.size }
        }

        pub(crate) fn prefault(&self) -> io::Result<()> {
            self.0.prefault()
        }

        /// What stands at the start, in memory that another program has planned; `None` when it has no room for that.
        pub(crate) fn first<T: Shareable>(&self) -> Option<Shared<T>> {
            let place = Plan::default().reserve(1);
            (size_of::<T>() <= self.size()).then(|| self.claim(place))
        }

        /// Memory that the program before this one made for its successors.
        pub(crate) fn adopt(file: File) -> io::Result<Segment> {
            Ok(Segment(Arc::new(SharedMapping::adopt(file)?)))
        }

        /// Bytes of the mapping.
        pub(crate) fn size(&self) -> usize {
            self.0.size()
        }

        /// The mapping itself.
        pub(crate) fn mapping(&self) -> Arc<SharedMapping> {
            Arc::clone(&self.0)
        }

        /// The bytes of a place in the mapping, for what lays them out in its own way.
        pub(crate) fn range_of(&self, place: BytesPlace) -> Range<usize> {
            place.offset..place.offset + place.size
        }

        /// The file below.
        pub(crate) fn file(&self) -> BorrowedFd<'_> {
            self.0.file()
        }

        fn pointer(&self, range: Range<usize>) -> NonNull<u8> {
            assert!(range.end <= self.0.size(), "a place belongs to the plan its segment was made from");
            // SAFETY: the range lies inside the mapping, which is one allocation.
            let start = unsafe { self.0.start().add(range.start) };
            NonNull::new(start).expect("a mapping never starts at zero")
        }
    }

    /// A slice of `T` in shared memory.
    pub(crate) struct Shared<T> {
        segment: Segment,
        start: NonNull<T>,
        count: usize,
    }

    impl<T> Clone for Shared<T> {
        fn clone(&self) -> Self {
            Self { segment: self.segment.clone(), ..*self }
        }
    }

    impl<T: Shareable> Deref for Shared<T> {
        type Target = [T];

        #[inline]
        fn deref(&self) -> &[T] {
            // SAFETY: `claim` checked that the range lies in the mapping, which `segment` keeps alive; the place is
            // aligned (LINE_PAIR, asserted for T), and `T: Shareable` is valid for all bytes and changes only
            // through atomics, so shared references to it may exist in any number of processes.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
        }
    }

    // SAFETY: it is a shared reference to `[T]`, which is Sync by `Shareable`, together with what keeps it alive.
    unsafe impl<T: Shareable> Send for Shared<T> {}
    // SAFETY: as above.
    unsafe impl<T: Shareable> Sync for Shared<T> {}

    /// A range of plain bytes in shared memory, whose owner at any moment is given by the protocol above it.
    #[derive(Clone)]
    pub(crate) struct SharedBytes {
        _segment: Segment,
        start: NonNull<u8>,
        size: usize,
    }

    // SAFETY: the type gives access to its bytes only through `unsafe` calls whose callers answer for exclusiveness.
    unsafe impl Send for SharedBytes {}
    // SAFETY: as above.
    unsafe impl Sync for SharedBytes {}

    impl SharedBytes {
        pub(crate) fn size(&self) -> usize {
            self.size
        }

        /// Copies `source` to `offset`; `None` (and nothing done) when it does not fit.
        ///
        /// # Safety
        /// By the protocol, no other process reads or writes these bytes now.
        #[inline]
        pub(crate) unsafe fn write(&self, offset: usize, source: &[u8]) -> Option<()> {
            let target = self.range(offset, source.len())?;
            // SAFETY: the target range was checked; it cannot overlap `source`, which would be a reference to bytes
            // that no other process reads, as the caller guarantees.
            unsafe { ptr::copy_nonoverlapping(source.as_ptr(), target, source.len()) };
            Some(())
        }

        /// The bytes as a slice; `None` when the range does not lie inside.
        ///
        /// # Safety
        /// By the protocol, no process writes these bytes while the slice lives.
        #[inline]
        pub(crate) unsafe fn view(&self, offset: usize, size: usize) -> Option<&[u8]> {
            let start = self.range(offset, size)?;
            // SAFETY: the range was checked, the mapping lives as long as `self`, and the caller excludes writers.
            Some(unsafe { std::slice::from_raw_parts(start, size) })
        }

        /// Copies bytes to the start of `target`; `None` (and nothing done) when a range does not lie inside.
        ///
        /// # Safety
        /// By the protocol, no process writes the source now and no other process touches the target.
        #[inline]
        pub(crate) unsafe fn copy_to(&self, offset: usize, size: usize, target: &Self) -> Option<()> {
            let source = self.range(offset, size)?;
            let target = target.range(0, size)?;
            // SAFETY: both ranges were checked and belong to different places, which never overlap.
            unsafe { ptr::copy_nonoverlapping(source, target, size) };
            Some(())
        }

        #[inline]
        fn range(&self, offset: usize, size: usize) -> Option<*mut u8> {
            if offset.checked_add(size)? > self.size {
                return None;
            }
            // SAFETY: `offset` is at most the size of this range of the mapping.
            Some(unsafe { self.start.as_ptr().add(offset) })
        }
    }

    /// Two cache lines: processors fetch them in pairs.
    const LINE_PAIR: usize = 128;
    const PAGE_SIZE: usize = 4096;
}

#[cfg(loom)]
mod modelled {
    use super::Shareable;
    use loom::cell::UnsafeCell;
    use std::ffi::CStr;
    use std::io;
    use std::marker::PhantomData;
    use std::sync::Arc;

    #[derive(Default)]
    pub(crate) struct Plan;

    pub(crate) struct Place<T> {
        count: usize,
        kind: PhantomData<fn() -> T>,
    }

    pub(crate) struct BytesPlace {
        size: usize,
        granule: usize,
    }

    impl Plan {
        pub(crate) fn reserve<T: Shareable>(&mut self, count: usize) -> Place<T> {
            Place { count, kind: PhantomData }
        }

        pub(crate) fn reserve_bytes(&mut self, size: usize, granule: usize) -> BytesPlace {
            BytesPlace { size, granule }
        }

        pub(crate) fn create(&self, _name: &CStr) -> io::Result<Segment> {
            Ok(Segment)
        }

        pub(crate) fn create_for_successors(&self, _name: &CStr) -> io::Result<Segment> {
            Ok(Segment)
        }

        pub(crate) fn size(&self) -> io::Result<usize> {
            Ok(0)
        }
    }

    #[derive(Clone)]
    pub(crate) struct Segment;

    pub(crate) type Shared<T> = Arc<[T]>;

    impl Segment {
        pub(crate) fn size(&self) -> usize {
            0
        }

        pub(crate) fn claim<T: Shareable>(&self, place: Place<T>) -> Shared<T> {
            (0..place.count).map(|_| T::default()).collect()
        }

        pub(crate) fn claim_bytes(&self, place: BytesPlace) -> SharedBytes {
            let cells = (0..place.size / place.granule).map(|_| UnsafeCell::new(vec![0; place.granule]));
            SharedBytes { cells: cells.collect(), granule: place.granule }
        }

        pub(crate) fn prefault(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Bytes in cells that report every access which the atomics around it do not order.
    #[derive(Clone)]
    pub(crate) struct SharedBytes {
        cells: Arc<[UnsafeCell<Vec<u8>>]>,
        granule: usize,
    }

    // SAFETY: loom runs one thread at a time and checks every access to the cells.
    unsafe impl Send for SharedBytes {}
    // SAFETY: as above.
    unsafe impl Sync for SharedBytes {}

    impl SharedBytes {
        pub(crate) fn size(&self) -> usize {
            self.cells.len() * self.granule
        }

        pub(crate) unsafe fn write(&self, offset: usize, source: &[u8]) -> Option<()> {
            if offset.checked_add(source.len())? > self.size() {
                return None;
            }
            let mut done = 0;
            while done < source.len() {
                let (cell, start) = ((offset + done) / self.granule, (offset + done) % self.granule);
                let size = (source.len() - done).min(self.granule - start);
                self.cells[cell].with_mut(|bytes| {
                    // SAFETY: loom has checked that no other thread accesses the cell.
                    unsafe { (&mut *bytes)[start..start + size].copy_from_slice(&source[done..done + size]) }
                });
                done += size;
            }
            Some(())
        }

        /// The check of the access happens when the slice is made; it must lie in one granule.
        pub(crate) unsafe fn view(&self, offset: usize, size: usize) -> Option<&[u8]> {
            let start = offset % self.granule;
            self.cells.get(offset / self.granule)?.with(|bytes| {
                // SAFETY: loom has checked that no thread writes the cell now; the caller excludes later writers.
                unsafe { (&*bytes).get(start..start + size) }
            })
        }

        pub(crate) unsafe fn copy_to(&self, offset: usize, size: usize, target: &Self) -> Option<()> {
            if offset.checked_add(size)? > self.size() {
                return None;
            }
            let mut copy = Vec::with_capacity(size);
            while copy.len() < size {
                let (cell, start) =
                    ((offset + copy.len()) / self.granule, (offset + copy.len()) % self.granule);
                let part = (size - copy.len()).min(self.granule - start);
                self.cells[cell].with(|bytes| {
                    // SAFETY: loom has checked that no thread writes the cell now.
                    unsafe { copy.extend_from_slice(&(&*bytes)[start..start + part]) }
                });
            }
            // SAFETY: as promised by our caller.
            unsafe { target.write(0, &copy) }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    #[repr(transparent)]
    struct Cell(AtomicU64);

    // SAFETY: one atomic integer.
    unsafe impl Shareable for Cell {}

    #[test]
    fn places_do_not_overlap() {
        let mut plan = Plan::default();
        let places = [plan.reserve::<Cell>(3), plan.reserve::<Cell>(17), plan.reserve::<Cell>(1)];
        let segment = plan.create(c"sworker-test").expect("memory");
        let slices = places.map(|place| segment.claim(place));
        for (value, cell) in (1..).zip(slices.iter().flat_map(|slice| slice.iter())) {
            assert_eq!(cell.0.swap(value, Ordering::Relaxed), 0);
        }
        let values = slices.iter().flat_map(|slice| slice.iter()).map(|cell| cell.0.load(Ordering::Relaxed));
        assert!(values.eq(1..=21));
    }

    #[test]
    fn bytes_outside_are_refused() {
        let mut plan = Plan::default();
        let place = plan.reserve_bytes(100, 100);
        let other = plan.reserve_bytes(10, 10);
        let segment = plan.create(c"sworker-test").expect("memory");
        let (bytes, small) = (segment.claim_bytes(place), segment.claim_bytes(other));
        let rows = [(0, 100, true), (100, 0, true), (1, 100, false), (101, 0, false), (usize::MAX, 2, false)];
        for (offset, size, fits) in rows {
            let source = vec![7; size];
            // SAFETY: nothing else uses these bytes.
            unsafe {
                assert_eq!(bytes.write(offset, &source).is_some(), fits, "write {offset} {size}");
                assert_eq!(bytes.view(offset, size).is_some(), fits, "view {offset} {size}");
                assert_eq!(bytes.copy_to(offset, size, &small).is_some(), fits && size <= 10);
            }
        }
    }

    #[test]
    fn absurd_plan_is_an_error() {
        let mut plan = Plan::default();
        plan.reserve::<Cell>(usize::MAX / 4);
        plan.reserve_bytes(usize::MAX, 1);
        assert!(plan.create(c"sworker-test").is_err());
    }
}
