//! A file that is read while it is sent.

use crate::ImageError;
use cos_events::{Monitor, Task};
use fs_err::File;
use std::io::{self, Read};
use std::path::Path;
use ureq::http::Uri;

/// A file on its way to a registry.
pub(super) struct Streamed<'s> {
    pub(super) path: &'s Path,
    pub(super) size: u64,
    pub(super) task: &'s Task<'s>,
    pub(super) monitor: &'s dyn Monitor,
}

/// Reads the file from its beginning. Failures are [`ImageError`]s wrapped into [`io::Error`].
pub(super) struct Reader<'s> {
    file: File,
    streamed: &'s Streamed<'s>,
}

impl Streamed<'_> {
    pub(super) fn open(&self) -> Result<Reader<'_>, ImageError> {
        let file = File::open(self.path).map_err(|source| self.unreadable(source))?;
        Ok(Reader {
            file,
            streamed: self,
        })
    }

    fn unreadable(&self, source: io::Error) -> ImageError {
        ImageError::Blob {
            blob: self.path.display().to_string(),
            source,
        }
    }

    /// What came of a request that sent a file: a failure of our own, or one on the way.
    pub(super) fn failure(at: &Uri, source: ureq::Error) -> ImageError {
        match source {
            ureq::Error::Io(error) => match error.downcast::<ImageError>() {
                Ok(own) => own,
                Err(error) => ImageError::request(at, ureq::Error::Io(error)),
            },
            source => ImageError::request(at, source),
        }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Streamed { task, monitor, .. } = self.streamed;
        let stopped = |cancelled| io::Error::other(ImageError::Cancelled(cancelled));
        monitor.checkpoint().map_err(stopped)?;
        let read = self.file.read(out);
        let read = read.map_err(|source| io::Error::other(self.streamed.unreadable(source)))?;
        task.advance(read as u64);
        Ok(read)
    }
}
