//! Work on its way to the compression threads, and the buffers it travels in.

use super::{Shared, lock};
use crate::codec::Encoder;
use crate::spool::table::Chunk;
use crate::{ErofsError, Options};
use cos_tree::ContentId;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// A chunk to compress and store.
pub(super) struct Job {
    pub(super) id: ContentId,
    pub(super) index: u32,
    /// Store as it is.
    pub(super) raw: bool,
    pub(super) data: Vec<u8>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: usize,
    closed: bool,
    error: Option<ErofsError>,
    failed: bool,
}

/// What a thread needs to compress: kept and handed around, as it is costly to set up.
pub(super) struct Tools {
    encoder: Encoder,
    output: Vec<u8>,
}

pub(super) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
    chunk_size: usize,
    buffers: Mutex<Vec<Vec<u8>>>,
    tools: Mutex<Vec<Tools>>,
}

impl Pool {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            // Enough that a thread never waits for the next, and bounded: 4 MiB a thread at most.
            limit: options.threads * 4,
            chunk_size: options.chunk_size as usize,
            buffers: Mutex::default(),
            tools: Mutex::default(),
        }
    }

    /// An empty buffer with room for a chunk.
    pub(super) fn buffer(&self) -> Vec<u8> {
        let recycled = lock(&self.buffers).pop();
        recycled.unwrap_or_else(|| Vec::with_capacity(self.chunk_size))
    }

    pub(super) fn recycle(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut buffers = lock(&self.buffers);
        if buffers.len() <= self.limit {
            buffers.push(buffer);
        }
    }

    /// Lets the threads end once nothing is left to do.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl Shared {
    /// Compresses until the pool is closed: the life of a worker thread.
    pub(super) fn work(&self) {
        let mut state = lock(&self.pool.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.running += 1;
                drop(state);
                self.run(job);
                state = lock(&self.pool.state);
            } else if state.closed {
                return;
            } else {
                let woken = self.pool.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Hands a chunk to the threads; when they have enough to do already, does it here.
    pub(super) fn submit(&self, job: Job) -> Result<(), ErofsError> {
        let mut state = lock(&self.pool.state);
        if let Some(error) = state.take_error() {
            return Err(error);
        }
        if state.jobs.len() < self.pool.limit {
            state.jobs.push_back(job);
            drop(state);
            self.pool.changed.notify_one();
        } else {
            state.running += 1;
            drop(state);
            self.run(job);
        }
        Ok(())
    }

    /// Waits until every chunk that came is stored and written, working meanwhile.
    pub(super) fn settle(&self) -> Result<(), ErofsError> {
        let mut state = lock(&self.pool.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.running += 1;
                drop(state);
                self.run(job);
                state = lock(&self.pool.state);
            } else if state.running > 0 {
                let woken = self.pool.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            } else {
                break;
            }
        }
        if let Some(error) = state.take_error() {
            return Err(error);
        }
        drop(state);
        self.with_table(super::Table::sort);
        self.flush()
    }

    /// Does a job and counts it done. The first failure is kept for the next caller.
    fn run(&self, job: Job) {
        let done = Running(self);
        if let Err(error) = self.store(job) {
            let mut state = lock(&self.pool.state);
            state.error.get_or_insert(error);
            state.failed = true;
        }
        drop(done);
    }

    fn store(&self, job: Job) -> Result<(), ErofsError> {
        // Only whole chunks can be holes; a shorter last one is stored whatever it holds.
        let full = job.data.len() == self.pool.chunk_size;
        if !(full && is_zero(&job.data)) {
            let mut tools = self.tools()?;
            let compressed = !job.raw && tools.encoder.compress(&job.data, &mut tools.output)?;
            let bytes = if compressed { &tools.output } else { &job.data };
            let chunk = Chunk {
                offset: self.append(bytes)?,
                digest: xxh3_64(&job.data),
                index: job.index,
                stored: bytes.len() as u32,
            };
            lock(&self.pool.tools).push(tools);
            self.with_table(|table| {
                if let Some(record) = table.record_mut(job.id) {
                    record.chunks.push(chunk);
                }
            });
        }
        self.pool.recycle(job.data);
        Ok(())
    }

    fn tools(&self) -> Result<Tools, ErofsError> {
        let kept = lock(&self.pool.tools).pop();
        match kept {
            Some(tools) => Ok(tools),
            None => Ok(Tools {
                encoder: Encoder::new(self.options.compression)?,
                output: Vec::new(),
            }),
        }
    }
}

impl State {
    /// The failure, once; after it every further call is refused.
    fn take_error(&mut self) -> Option<ErofsError> {
        self.error.take().or_else(|| {
            self.failed.then(|| {
                ErofsError::Thread(std::io::Error::other("storing contents failed before"))
            })
        })
    }
}

/// Counts a job as done when dropped, so also when it panicked.
struct Running<'s>(&'s Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.pool.state);
        state.running -= 1;
        if std::thread::panicking() {
            state.failed = true;
        }
        drop(state);
        self.0.pool.changed.notify_all();
    }
}

/// Compares with itself one step on: as fast as memory is read.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|&first| first == 0) && bytes[..bytes.len() - 1] == bytes[1..]
}
