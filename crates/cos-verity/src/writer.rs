//! Hashes data on its way to where it is written, and writes the tree behind it.

use crate::hash::block_digest;
use crate::{BLOCK_SIZE, DIGEST_SIZE, RootHash, SALT, Superblock, VerityError, geometry};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// Data is handed to the hashing threads in pieces of this many bytes.
const BATCH: usize = 512 * 1024;
const BATCH_BLOCKS: usize = BATCH / BLOCK_SIZE;

/// What a finished tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verity {
    /// What every byte of data follows from.
    pub root_hash: RootHash,
    /// Blocks of 4096 bytes of data.
    pub data_blocks: u64,
    /// Where the hash area starts in the file that holds it, in bytes.
    pub hash_offset: u64,
    /// The salt of every block's hash.
    pub salt: [u8; 32],
    /// Bytes written in all, data and hash area.
    pub total_size: u64,
}

struct Batch {
    number: usize,
    data: Vec<u8>,
    digests: Vec<u8>,
}

/// The threads that hash, and the channels to and from them.
struct Pool {
    jobs: SyncSender<Batch>,
    done: Receiver<Batch>,
    limit: usize,
    busy: usize,
}

impl Pool {
    fn start(threads: usize) -> Result<Self, VerityError> {
        let limit = threads * 2;
        let (jobs, queue) = sync_channel::<Batch>(limit);
        let (results, done) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let (queue, results) = (Arc::clone(&queue), results.clone());
            thread::Builder::new()
                .name("verity".to_owned())
                .spawn(move || hash_batches(&queue, &results))
                .map_err(VerityError::Thread)?;
        }
        Ok(Self {
            jobs,
            done,
            limit,
            busy: 0,
        })
    }

    fn submit(&mut self, batch: Batch) -> Result<(), VerityError> {
        self.jobs.send(batch).map_err(|_| thread_gone())?;
        self.busy += 1;
        Ok(())
    }

    /// A finished batch; waits for one only when too many are under way.
    fn finished(&mut self, wait: bool) -> Result<Option<Batch>, VerityError> {
        let batch = if wait || self.busy >= self.limit {
            Some(self.done.recv().map_err(|_| thread_gone())?)
        } else {
            self.done.try_recv().ok()
        };
        self.busy -= usize::from(batch.is_some());
        Ok(batch)
    }
}

fn thread_gone() -> VerityError {
    VerityError::Thread(io::Error::other("a hashing thread ended early"))
}

fn hash_batches(queue: &Mutex<Receiver<Batch>>, results: &Sender<Batch>) {
    loop {
        let received = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(mut batch) = received else { return };
        hash_batch(&mut batch);
        if results.send(batch).is_err() {
            return;
        }
    }
}

fn hash_batch(batch: &mut Batch) {
    batch.digests.clear();
    for block in batch.data.chunks_exact(BLOCK_SIZE) {
        batch.digests.extend_from_slice(&block_digest(block));
    }
}

/// Passes data on to `W` in order, hashing it meanwhile.
///
/// Memory: the digests (1/128 of the data) and two batches of 512 KiB for each thread.
pub struct HashingWriter<W: Write> {
    inner: W,
    pool: Option<Pool>,
    batch: Batch,
    spare: Option<Batch>,
    digests: Vec<u8>,
    size: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Starts at the first byte of the data. With zero `threads` the caller's thread hashes.
    pub fn new(inner: W, threads: usize) -> Result<Self, VerityError> {
        let pool = match threads {
            0 => None,
            _ => Some(Pool::start(threads)?),
        };
        Ok(Self {
            inner,
            pool,
            batch: empty_batch(0),
            spare: None,
            digests: Vec::new(),
            size: 0,
        })
    }

    /// Writes the hash area behind the data, which is filled up to a whole block with zeros.
    pub fn finish(mut self) -> Result<(W, Verity), VerityError> {
        let (superblock, mut verity, levels) = self.build()?;
        write_hash_area(&mut self.inner, &superblock, &levels)?;
        verity.hash_offset = superblock.data_blocks * BLOCK_SIZE as u64;
        verity.total_size = verity.hash_offset + superblock.hash_area_size();
        Ok((self.inner, verity))
    }

    /// Writes the hash area to a file of its own (a *sidecar*), where it starts at byte zero.
    pub fn finish_detached(mut self, sidecar: &mut dyn Write) -> Result<(W, Verity), VerityError> {
        let (superblock, mut verity, levels) = self.build()?;
        write_hash_area(sidecar, &superblock, &levels)?;
        verity.total_size =
            superblock.data_blocks * BLOCK_SIZE as u64 + superblock.hash_area_size();
        Ok((self.inner, verity))
    }

    fn build(&mut self) -> Result<(Superblock, Verity, Vec<Vec<u8>>), VerityError> {
        if self.size == 0 {
            return Err(VerityError::Empty);
        }
        let padded = self.batch.data.len().next_multiple_of(BLOCK_SIZE);
        self.size += (padded - self.batch.data.len()) as u64;
        self.batch.data.resize(padded, 0);
        if padded > 0 {
            self.flush_batch()?;
        }
        while self.pool.as_ref().is_some_and(|pool| pool.busy > 0) {
            self.collect(true)?;
        }
        let data_blocks = self.size / BLOCK_SIZE as u64;
        let (levels, root_hash) = build_levels(std::mem::take(&mut self.digests));
        let superblock = Superblock::new(data_blocks, &root_hash);
        let verity = Verity {
            root_hash,
            data_blocks,
            hash_offset: 0,
            salt: SALT,
            total_size: 0,
        };
        Ok((superblock, verity, levels))
    }

    fn flush_batch(&mut self) -> Result<(), VerityError> {
        self.inner
            .write_all(&self.batch.data)
            .map_err(|source| VerityError::Write {
                what: "data",
                source,
            })?;
        self.collect(false)?;
        let number = self.batch.number;
        let next = self.spare.take().unwrap_or_else(|| empty_batch(0));
        let mut full = std::mem::replace(&mut self.batch, next);
        self.batch.number = number + 1;
        self.batch.data.clear();
        match &mut self.pool {
            Some(pool) => pool.submit(full),
            None => {
                hash_batch(&mut full);
                self.store(full);
                Ok(())
            }
        }
    }

    fn collect(&mut self, wait: bool) -> Result<(), VerityError> {
        if let Some(pool) = &mut self.pool
            && let Some(batch) = pool.finished(wait)?
        {
            self.store(batch);
        }
        Ok(())
    }

    fn store(&mut self, batch: Batch) {
        let at = batch.number * BATCH_BLOCKS * DIGEST_SIZE;
        let end = at + batch.digests.len();
        if self.digests.len() < end {
            self.digests.resize(end, 0);
        }
        self.digests[at..end].copy_from_slice(&batch.digests);
        self.spare = Some(batch);
    }
}

fn empty_batch(number: usize) -> Batch {
    Batch {
        number,
        data: Vec::with_capacity(BATCH),
        digests: Vec::with_capacity(BATCH_BLOCKS * DIGEST_SIZE),
    }
}

/// All levels, the one over the data first, each filled up to whole blocks; and the root hash.
fn build_levels(digests: Vec<u8>) -> (Vec<Vec<u8>>, RootHash) {
    let mut levels = Vec::new();
    let mut current = digests;
    while current.len() > DIGEST_SIZE {
        current.resize(current.len().next_multiple_of(BLOCK_SIZE), 0);
        let above = current
            .chunks_exact(BLOCK_SIZE)
            .flat_map(block_digest)
            .collect();
        levels.push(std::mem::replace(&mut current, above));
    }
    let mut root = [0; DIGEST_SIZE];
    root.copy_from_slice(&current);
    (levels, RootHash(root))
}

fn write_hash_area(
    out: &mut dyn Write,
    superblock: &Superblock,
    levels: &[Vec<u8>],
) -> Result<(), VerityError> {
    let mut write = |bytes: &[u8]| {
        out.write_all(bytes).map_err(|source| VerityError::Write {
            what: "the hash tree",
            source,
        })
    };
    write(&superblock.encode())?;
    debug_assert_eq!(geometry::levels(superblock.data_blocks).len(), levels.len());
    levels.iter().rev().try_for_each(|level| write(level))
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BATCH - self.batch.data.len());
        self.batch.data.extend_from_slice(&bytes[..taken]);
        self.size += taken as u64;
        if self.batch.data.len() == BATCH {
            self.flush_batch().map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    /// Passes nothing on early: the data is written in whole batches and by [`HashingWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> std::fmt::Debug for HashingWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashingWriter")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i / 7 + i / 4096) as u8).collect()
    }

    fn image(data: &[u8], threads: usize, step: usize) -> (Vec<u8>, Verity) {
        let mut writer = HashingWriter::new(Vec::new(), threads).unwrap();
        for part in data.chunks(step) {
            writer.write_all(part).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn threads_and_pieces_change_nothing() {
        let data = data(3 * BATCH + 5000);
        let (expected, verity) = image(&data, 0, 4096);
        assert_eq!(verity.total_size, expected.len() as u64);
        for (threads, step) in [(1, 1 << 20), (2, 777), (4, BATCH)] {
            assert_eq!(
                image(&data, threads, step),
                (expected.clone(), verity.clone())
            );
        }
    }

    #[test]
    fn one_block_is_its_own_root() {
        let (image, verity) = image(&[1, 2, 3], 0, 3);
        let mut block = [0; BLOCK_SIZE];
        block[..3].copy_from_slice(&[1, 2, 3]);
        assert_eq!(verity.root_hash.0, block_digest(&block));
        assert_eq!(image.len(), 2 * BLOCK_SIZE);
    }

    #[test]
    fn no_data_is_refused() {
        let writer = HashingWriter::new(Vec::new(), 0).unwrap();
        assert!(matches!(writer.finish(), Err(VerityError::Empty)));
    }
}
