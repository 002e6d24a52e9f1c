//! Memory that stays shared over `fork`: a sealed, anonymous file, mapped.
//!
//! ```text
//!  memfd_create ─► ftruncate ─► seal size ─► map shared, populate ─► seal future writers
//! ```
//!
//! **Invariants**
//! - The size is sealed before the mapping is made: the file cannot shrink, so no access ends in `SIGBUS`.
//! - After creation no other process can map the file for writing; a viewer can attach for reading only.
//!   Memory that is handed to the next program of the server is the exception.
//! - The pages exist from the start: a full machine refuses us at start, not in the middle of the night.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A mapping of zero bytes that this process and all its later children share.
pub struct SharedMapping {
    map: MmapRaw,
    file: File,
}

impl SharedMapping {
    /// Makes `size` bytes of shared memory; `name` shows up in `/proc/PID/maps`.
    pub fn create(name: &CStr, size: usize) -> io::Result<Self> {
        let mapping = Self::create_for_successors(name, size)?;
        // Kernels before 5.1 do not know this seal; the mapping is as good without it.
        let _ = seal(&mapping.file, SealFlag::F_SEAL_FUTURE_WRITE);
        Ok(mapping)
    }

    /// The same, and a program that is handed the file may map it for writing, too.
    pub fn create_for_successors(name: &CStr, size: usize) -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(name, flags)?);
        file.set_len(size as u64)?;
        seal(&file, SIZE_SEALS)?;
        Self::map(file, size)
    }

    /// Maps what the program before this one made for its successors.
    pub fn adopt(file: File) -> io::Result<Self> {
        let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        if !seals.contains(SIZE_SEALS) {
            return Err(io::Error::other("the size of the shared memory is not sealed"));
        }
        let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Self::map(file, size)
    }

    fn map(file: File, size: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(size).map_raw(&file)?;
        // A dump of one process shall not carry the messages of all.
        map.advise(Advice::DontDump)?;
        populate(&map)?;
        Ok(Self { map, file })
    }

    /// The first byte; page-aligned.
    pub fn start(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        self.map.len()
    }

    /// Fills this process's page tables, so that no first touch costs a fault later. For a child after the fork.
    pub fn prefault(&self) -> io::Result<()> {
        populate(&self.map)
    }

    /// Whether a core dump of this process would contain it, as the kernel reports it.
    pub fn is_in_core_dumps(&self) -> io::Result<bool> {
        let start = format!("{:x}-", self.start() as usize);
        let areas = std::fs::read_to_string("/proc/self/smaps")?;
        let mut of_this = areas.lines().skip_while(|line| !line.starts_with(&start));
        let flags = of_this.find_map(|line| line.strip_prefix("VmFlags:"));
        let flags = flags.ok_or_else(|| io::Error::other("the kernel does not know the mapping"))?;
        Ok(!flags.split_whitespace().any(|flag| flag == "dd"))
    }

    /// The file below, for a viewer that attaches for reading.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Nobody shortens the file below a mapping.
const SIZE_SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);

fn seal(file: &File, seals: SealFlag) -> io::Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

fn populate(map: &MmapRaw) -> io::Result<()> {
    match map.advise(Advice::PopulateWrite) {
        // Kernels before 5.14 do not know the advice: pages then come at first touch.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memmap2::Mmap;
    use std::os::fd::AsRawFd;

    #[test]
    fn mapping_starts_with_zero_bytes() {
        let mapping = SharedMapping::create(c"sworker-test", 8192).expect("memory");
        assert_eq!(mapping.size(), 8192);
        // SAFETY: the mapping is ours alone here and holds 8192 bytes.
        let bytes = unsafe { std::slice::from_raw_parts(mapping.start(), mapping.size()) };
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn no_core_dump_holds_it() {
        let mapping = SharedMapping::create(c"sworker-test", 8192).expect("memory");
        assert!(!mapping.is_in_core_dumps().unwrap());
        mapping.map.advise(Advice::DoDump).expect("advice is taken");
        assert!(mapping.is_in_core_dumps().unwrap());
    }

    #[test]
    fn size_cannot_be_changed() {
        let mapping = SharedMapping::create(c"sworker-test", 4096).expect("memory");
        for size in [0, 8192] {
            assert!(mapping.file.set_len(size).is_err(), "size {size}");
        }
    }

    #[test]
    fn viewer_attaches_for_reading_and_never_for_writing() {
        let mapping = SharedMapping::create(c"sworker-test", 4096).expect("memory");
        let path = format!("/proc/self/fd/{}", mapping.file().as_raw_fd());
        let file = File::open(&path).expect("open for reading");
        // SAFETY: nothing writes to the file during this test.
        let view = unsafe { Mmap::map(&file) }.expect("map for reading");
        assert_eq!(view.len(), 4096);
        let writable = File::options().read(true).write(true).open(&path);
        assert!(writable.and_then(|file| MmapOptions::new().map_raw(&file)).is_err());
    }

    #[test]
    fn what_was_made_for_successors_is_the_same_memory_in_another_mapping() {
        let mapping = SharedMapping::create_for_successors(c"sworker-test", 4096).expect("memory");
        let adopted = SharedMapping::adopt(File::from(mapping.file().try_clone_to_owned().unwrap())).unwrap();
        assert_eq!(adopted.size(), 4096);
        // SAFETY: the first byte of a mapping of 4096 bytes that nobody else uses.
        unsafe { mapping.start().write_volatile(7) };
        // SAFETY: as above.
        assert_eq!(unsafe { adopted.start().read_volatile() }, 7);
        let own = SharedMapping::create(c"sworker-test", 4096).expect("memory");
        assert!(SharedMapping::adopt(File::from(own.file().try_clone_to_owned().unwrap())).is_err());
        let unsealed = memfd_create(c"sworker-test", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        assert!(SharedMapping::adopt(File::from(unsealed)).is_err());
        assert!(SharedMapping::adopt(tempfile::tempfile().unwrap()).is_err());
    }

    #[test]
    fn impossible_size_is_an_error() {
        assert!(SharedMapping::create(c"sworker-test", usize::MAX / 2).is_err());
    }
}
