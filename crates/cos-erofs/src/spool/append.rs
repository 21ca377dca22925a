//! The temporary file: written at its end only, a large piece at a time.

use crate::ErofsError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes gathered before they are written.
const GATHER: usize = 1 << 20;

pub(crate) struct Appender {
    file: Arc<File>,
    gathered: Vec<u8>,
    written: u64,
}

impl Appender {
    pub(crate) fn new(dir: &Path) -> Result<Self, ErofsError> {
        let file = tempfile::tempfile_in(dir).map_err(|source| ErofsError::SpoolCreate {
            dir: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            file: Arc::new(file),
            gathered: Vec::with_capacity(GATHER),
            written: 0,
        })
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where the next byte will be.
    pub(crate) fn end(&self) -> u64 {
        self.written + self.gathered.len() as u64
    }

    /// Where the bytes will be, once flushed.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if self.gathered.len() + bytes.len() > GATHER {
            self.flush()?;
        }
        let offset = self.end();
        if bytes.len() >= GATHER {
            self.file.write_all_at(bytes, offset)?;
            self.written += bytes.len() as u64;
        } else {
            self.gathered.extend_from_slice(bytes);
        }
        Ok(offset)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.gathered, self.written)?;
        self.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}
