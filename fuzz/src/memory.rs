//! Files that are nowhere.

use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use rustix::fs::MemfdFlags;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

/// A file in memory, for parsers that take files or paths.
pub struct MemoryFile(pub File);

impl MemoryFile {
    /// A file of `size` bytes, zero but for `stretches`: offsets and bytes.
    pub fn new(size: u64, stretches: &[(u64, &[u8])]) -> Self {
        let descriptor = rustix::fs::memfd_create("fuzz", MemfdFlags::CLOEXEC).unwrap();
        let file = File::from_parts(descriptor.into(), "memory");
        file.set_len(size).unwrap();
        for (offset, bytes) in stretches {
            file.write_all_at(bytes, *offset).unwrap();
        }
        Self(file)
    }

    /// A file of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::new(0, &[(0, bytes)])
    }

    /// Where it can be opened again, as long as this lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}
