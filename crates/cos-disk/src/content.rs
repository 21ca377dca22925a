//! What a file of a new file system holds.

use crate::sparse;
use fs_err::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Where the bytes of a file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of the host, copied; its holes stay holes where the target allows.
    Host(PathBuf),
}

impl From<&[u8]> for Source {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl Source {
    /// Opens the source and finds its length.
    pub(crate) fn open(&self) -> io::Result<OpenSource<'_>> {
        match self {
            Self::Bytes(bytes) => Ok(OpenSource::Bytes(bytes)),
            Self::Host(path) => {
                let file = File::open(path)?;
                let length = file.metadata()?.len();
                Ok(OpenSource::Host { file, length })
            }
        }
    }
}

/// A source whose length no longer changes what is planned.
#[derive(Debug)]
pub(crate) enum OpenSource<'s> {
    Bytes(&'s [u8]),
    Host { file: File, length: u64 },
}

impl OpenSource<'_> {
    /// The length in bytes, as found when the source was opened.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Host { length, .. } => *length,
        }
    }

    /// Copies `length` bytes from position `from` of the source to `offset` of `target`.
    ///
    /// Holes are skipped, so the target must read as zeros there.
    pub(crate) fn copy_range(
        &self,
        from: u64,
        length: u64,
        target: &File,
        offset: u64,
    ) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let end = from.saturating_add(length) as usize;
                let part = bytes
                    .get(from as usize..end)
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
                target.file().write_all_at(part, offset)
            }
            Self::Host { file, .. } => sparse::copy_range(file, from, length, target, offset),
        }
    }
}
