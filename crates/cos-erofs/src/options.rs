//! What the bytes of a root image depend on beside the tree.

use crate::ErofsError;
use std::fmt;

/// How file contents are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all. Any kernel since 5.4 reads it.
    None,
    /// LZ4. Linux 5.13 reads it; 6.1 allows for the smaller form with packed small files.
    Lz4,
    /// Zstandard at this level, 1 to 19. Linux 6.10 reads it.
    Zstd {
        /// Level 1 is what the format is tuned for.
        level: i32,
    },
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no compression",
            Self::Lz4 => "LZ4 compression",
            Self::Zstd { .. } => "zstd compression",
        })
    }
}

/// Version of a Linux kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The 6 in 6.12.
    pub major: u32,
    /// The 12 in 6.12.
    pub minor: u32,
}

impl KernelVersion {
    /// Chunk-based files, so holes.
    pub(crate) const CHUNKS: Self = Self::new(5, 15);
    /// LZ4 results of more than one block.
    pub(crate) const LZ4: Self = Self::new(5, 13);
    /// Small files and tails in a packed file, and blocks shared between files.
    pub(crate) const FRAGMENTS: Self = Self::new(6, 1);
    /// Zstandard.
    pub(crate) const ZSTD: Self = Self::new(6, 10);

    /// The kernel `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How contents are kept and the image is made. All but `threads` decide its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How file contents are compressed.
    pub compression: Compression,
    /// The oldest kernel that must be able to read the image.
    pub kernel: KernelVersion,
    /// Bytes of content compressed at once: a power of two, 4 KiB to 1 MiB.
    pub chunk_size: u32,
    /// Worker threads, beside the threads that bring contents.
    pub threads: usize,
}

impl Options {
    /// Pieces of content are this long unless told otherwise.
    pub const DEFAULT_CHUNK_SIZE: u32 = 256 * 1024;

    /// Compression for this kernel, with the default sizes.
    pub fn new(compression: Compression, kernel: KernelVersion, threads: usize) -> Self {
        Self {
            compression,
            kernel,
            chunk_size: Self::DEFAULT_CHUNK_SIZE,
            threads,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ErofsError> {
        let needed = match self.compression {
            Compression::None => KernelVersion::new(0, 0),
            Compression::Lz4 => KernelVersion::LZ4,
            Compression::Zstd { .. } => KernelVersion::ZSTD,
        };
        if self.kernel < needed {
            return Err(ErofsError::KernelTooOld {
                compression: self.compression,
                kernel: self.kernel,
                needed,
            });
        }
        if !self.chunk_size.is_power_of_two() || !(4096..=1 << 20).contains(&self.chunk_size) {
            return Err(ErofsError::BadOption {
                option: "chunk_size",
                value: self.chunk_size.to_string(),
                range: "a power of two from 4096 to 1048576",
            });
        }
        match self.compression {
            Compression::Zstd { level } if !(1..=19).contains(&level) => {
                Err(ErofsError::BadOption {
                    option: "zstd level",
                    value: level.to_string(),
                    range: "1 to 19",
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether small files and tails are packed together.
    pub(crate) fn packs(&self) -> bool {
        self.compression != Compression::None && self.kernel >= KernelVersion::FRAGMENTS
    }

    /// Whether files may have holes.
    pub(crate) fn holes(&self) -> bool {
        self.kernel >= KernelVersion::CHUNKS
    }

    /// Whether two files may share blocks.
    pub(crate) fn shares(&self) -> bool {
        self.compression == Compression::None || self.kernel >= KernelVersion::FRAGMENTS
    }

    /// Files and tails up to this many bytes are packed together. A file of its own wastes half a
    /// block on average; a packed one is read with what surrounds it.
    pub(crate) fn pack_limit(&self) -> u64 {
        u64::from(self.chunk_size) / 4
    }
}

/// What an image is called. No part of it need be given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// UUID of the file system; by default derived from its metadata.
    pub uuid: Option<[u8; 16]>,
    /// Time of the superblock, seconds since 1970; files of this time have smaller inodes. By
    /// default the most common time in the tree.
    pub build_time: Option<i64>,
    /// Label, at most 15 bytes.
    pub volume_name: String,
}

impl Identity {
    pub(crate) fn check(&self) -> Result<(), ErofsError> {
        if self.volume_name.len() > 15 || self.volume_name.contains('\0') {
            return Err(ErofsError::BadOption {
                option: "volume_name",
                value: self.volume_name.escape_debug().to_string(),
                range: "at most 15 bytes without NUL",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_must_know_the_compression() {
        let check = |compression, kernel| Options::new(compression, kernel, 1).check();
        let old = KernelVersion::new(5, 10);
        assert!(check(Compression::None, old).is_ok());
        assert!(check(Compression::Lz4, KernelVersion::new(5, 13)).is_ok());
        let error = check(Compression::Lz4, old).unwrap_err();
        assert_eq!(
            error.to_string(),
            "LZ4 compression needs Linux 5.13, but the image is to be read by Linux 5.10"
        );
        let zstd = Compression::Zstd { level: 1 };
        assert!(check(zstd, KernelVersion::new(6, 9)).is_err());
        assert!(check(zstd, KernelVersion::new(6, 12)).is_ok());
        let level = Compression::Zstd { level: 40 };
        assert!(check(level, KernelVersion::new(7, 0)).is_err());
    }

    #[test]
    fn sizes_and_names_are_bounded() {
        let mut options = Options::new(Compression::None, KernelVersion::new(6, 1), 1);
        for size in [0, 1, 4095, 6000, 1 << 21] {
            options.chunk_size = size;
            assert!(options.check().is_err(), "{size}");
        }
        let mut identity = Identity::default();
        assert!(identity.check().is_ok());
        identity.volume_name = "sixteen bytes...".to_owned();
        assert!(identity.check().is_err());
    }
}
