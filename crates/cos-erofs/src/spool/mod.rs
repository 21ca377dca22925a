//! Keeps file contents, compressed as they come, until the image is written.
//!
//! Contents are cut into chunks of a fixed size. Each is compressed on a worker thread at once and
//! appended to one unlinked temporary file; a table of what lies where stays in memory (24 bytes a
//! chunk). Small files and file ends that will be packed together are kept as they are.

mod append;
mod pool;
mod reader;
mod table;
mod writer;

pub(crate) use table::{Chunk, Record, Table, Tail};

use crate::{ErofsError, Options};
use append::Appender;
use cos_tree::{Content, ContentId, ContentStore, ContentWriter};
use pool::Pool;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use writer::Writer;

/// Files up to this many bytes are taken: their block maps stay within bounded memory.
pub(crate) const MAX_FILE_SIZE: u64 = 1 << 40;

/// Whether the file at a path is kept uncompressed.
type RawPaths = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// A [`ContentStore`] that compresses for a root image.
pub struct Spool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What producers and workers share.
struct Shared {
    options: Options,
    dir: PathBuf,
    raw: RawPaths,
    file: Arc<File>,
    appender: Mutex<Appender>,
    table: RwLock<Table>,
    pool: Pool,
}

impl Spool {
    /// A spool with its temporary file in `dir`. Files at paths for which `raw` holds are kept
    /// uncompressed: for what is taken out again (kernels) instead of put into the image.
    pub fn new(
        dir: &Path,
        options: Options,
        raw: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ErofsError> {
        options.check()?;
        let appender = Appender::new(dir)?;
        let threads = options.threads;
        let shared = Arc::new(Shared {
            pool: Pool::new(&options),
            options,
            dir: dir.to_owned(),
            raw: Box::new(raw),
            file: Arc::clone(appender.file()),
            appender: Mutex::new(appender),
            table: RwLock::default(),
        });
        let mut spool = Self {
            shared: Arc::clone(&shared),
            workers: Vec::new(),
        };
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            let worker = std::thread::Builder::new()
                .name("compress".to_owned())
                .spawn(move || shared.work())
                .map_err(ErofsError::Thread)?;
            spool.workers.push(worker);
        }
        Ok(spool)
    }

    /// What contents are kept for.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Bytes of the temporary file.
    pub fn stored(&self) -> u64 {
        lock(&self.shared.appender).end()
    }

    /// Waits until all that came is in the temporary file, and gives the table of it.
    pub(crate) fn settled(&self) -> Result<RwLockReadGuard<'_, Table>, ErofsError> {
        self.shared.settle()?;
        let table = self.shared.table.read();
        Ok(table.unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads from the temporary file.
    pub(crate) fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), ErofsError> {
        let read = self.shared.file.read_exact_at(bytes, offset);
        read.map_err(|source| ErofsError::SpoolRead {
            dir: self.shared.dir.clone(),
            source,
        })
    }

    /// Puts more bytes into the temporary file; they can be read back after [`Spool::flush`].
    pub(crate) fn append(&self, bytes: &[u8]) -> Result<u64, ErofsError> {
        self.shared.append(bytes)
    }

    /// Writes what was gathered for the temporary file.
    pub(crate) fn flush(&self) -> Result<(), ErofsError> {
        self.shared.flush()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.pool.close();
        for worker in self.workers.drain(..) {
            // A worker that panicked has left its error to the next call already.
            drop(worker.join());
        }
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool")
            .field("dir", &self.shared.dir)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl ContentStore for Spool {
    fn create(&self, path: &[u8], size: u64) -> io::Result<Box<dyn ContentWriter + '_>> {
        Ok(Box::new(Writer::new(&self.shared, path, size)?))
    }

    fn open(&self, content: Content) -> io::Result<Box<dyn Read + Send + '_>> {
        let table = self.settled()?;
        let record = table
            .get(content)
            .ok_or_else(|| ErofsError::UnknownContent {
                path: format!("#{}", content.id.0),
            })?;
        Ok(Box::new(reader::Reader::new(
            self,
            content.size,
            record.clone(),
        )))
    }
}

impl Shared {
    fn append(&self, bytes: &[u8]) -> Result<u64, ErofsError> {
        lock(&self.appender)
            .append(bytes)
            .map_err(|source| self.write_error(source))
    }

    fn flush(&self) -> Result<(), ErofsError> {
        lock(&self.appender)
            .flush()
            .map_err(|source| self.write_error(source))
    }

    fn write_error(&self, source: io::Error) -> ErofsError {
        ErofsError::SpoolWrite {
            dir: self.dir.clone(),
            source,
        }
    }

    /// Adds a record to the table.
    fn add(&self, record: Record) -> ContentId {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.add(record)
    }

    fn with_table<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Nothing is left half-changed by a panic while one of these locks is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
