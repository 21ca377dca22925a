//! Blobs that were fetched in part stay on the disk, so that the next run goes on where this one was
//! stopped.

use crate::Digest;
use cos_events::{Monitor, warn};
use fs_err::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// A blob that is read from the disk as far as it is there, and from the network from then on. What
/// comes from the network is kept. What is on the disk is believed no more than the network is: the
/// digest is checked over the whole.
pub(super) struct KeptBlob<'r, R> {
    kept: File,
    /// Bytes on the disk that are still to be read.
    left: u64,
    /// Whether what comes is written down; no longer after that failed.
    keeping: bool,
    network: R,
    monitor: &'r dyn Monitor,
}

/// Opens the file of a blob and says how much of it is there; more than `size` bytes are not.
pub(super) fn open(directory: &Path, digest: &Digest, size: u64) -> io::Result<(File, u64)> {
    fs_err::create_dir_all(directory)?;
    let path = directory.join(digest.to_string().replace(':', "-"));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path)?;
    let mut length = file.metadata()?.len();
    if length > size {
        file.set_len(0)?;
        length = 0;
    }
    Ok((file, length))
}

impl<'r, R: Read> KeptBlob<'r, R> {
    /// `network` goes on behind the first `there` bytes.
    pub(super) fn new(
        mut kept: File,
        there: u64,
        network: R,
        monitor: &'r dyn Monitor,
    ) -> io::Result<Self> {
        kept.seek(SeekFrom::Start(0))?;
        Ok(Self {
            kept,
            left: there,
            keeping: true,
            network,
            monitor,
        })
    }
}

impl<R: Read> Read for KeptBlob<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left > 0 {
            let most = out
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let read = self.kept.read(&mut out[..most])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.left -= read as u64;
            return Ok(read);
        }
        let read = self.network.read(out)?;
        if self.keeping
            && let Err(error) = self.kept.write_all(&out[..read])
        {
            self.keeping = false;
            let message = format!("the download is not kept for another try: {error}");
            warn(self.monitor, message);
        }
        Ok(read)
    }
}
