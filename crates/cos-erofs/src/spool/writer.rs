//! Takes one file: cuts it into chunks and hands them on.

use super::pool::Job;
use super::table::{Record, Tail};
use super::{MAX_FILE_SIZE, Shared};
use crate::ErofsError;
use cos_tree::{ContentId, ContentWriter, display};
use std::io;
use xxhash_rust::xxh3::xxh3_64;

pub(super) struct Writer<'s> {
    shared: &'s Shared,
    path: Box<[u8]>,
    size: u64,
    /// Bytes taken so far.
    position: u64,
    raw: bool,
    /// Where the end that is kept as it is begins; the size if nothing is.
    tail_start: u64,
    /// Once the first chunk is handed on.
    id: Option<ContentId>,
    /// The piece being filled.
    buffer: Vec<u8>,
}

impl<'s> Writer<'s> {
    pub(super) fn new(shared: &'s Shared, path: &[u8], size: u64) -> Result<Self, ErofsError> {
        if size > MAX_FILE_SIZE {
            return Err(ErofsError::FileTooLarge {
                path: display(path),
                size,
                limit: MAX_FILE_SIZE,
            });
        }
        let raw = (shared.raw)(path);
        let tail = size % u64::from(shared.options.chunk_size);
        let packed = !raw && shared.options.packs() && tail <= shared.options.pack_limit();
        // Without packing, what is smaller than a chunk may still be put beside its inode.
        let whole = tail == size && size < crate::BLOCK_SIZE as u64;
        Ok(Self {
            shared,
            path: path.into(),
            size,
            position: 0,
            raw,
            tail_start: if packed || whole { size - tail } else { size },
            id: None,
            buffer: Vec::new(),
        })
    }

    /// End of the piece that the next byte belongs to.
    fn piece_end(&self) -> u64 {
        let chunk = u64::from(self.shared.options.chunk_size);
        let end = (self.position / chunk + 1) * chunk;
        end.min(self.size)
    }

    fn check(&self, more: u64) -> Result<(), ErofsError> {
        match self.position.checked_add(more) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(self.wrong_size(self.position.saturating_add(more))),
        }
    }

    fn wrong_size(&self, actual: u64) -> ErofsError {
        ErofsError::WrongSize {
            path: display(&self.path),
            announced: self.size,
            actual,
        }
    }

    fn take_buffer(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = self.shared.pool.buffer();
        }
    }

    /// Hands the piece on if it is complete and is not the tail, which stays for the end.
    fn end_piece(&mut self, end: u64) -> Result<(), ErofsError> {
        if self.position < end || end > self.tail_start {
            return Ok(());
        }
        let id = self.record();
        let chunk = u64::from(self.shared.options.chunk_size);
        let data = std::mem::take(&mut self.buffer);
        self.shared.submit(Job {
            id,
            index: ((end - 1) / chunk) as u32,
            raw: self.raw,
            data,
        })
    }

    /// The record of the file, made when first needed.
    fn record(&mut self) -> ContentId {
        *self.id.get_or_insert_with(|| {
            self.shared.add(Record {
                size: self.size,
                chunk_size: self.shared.options.chunk_size,
                chunks: Vec::new(),
                tail: None,
            })
        })
    }
}

impl ContentWriter for Writer<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.check(bytes.len() as u64)?;
        while !bytes.is_empty() {
            self.take_buffer();
            let end = self.piece_end();
            let (now, later) = bytes.split_at(bytes.len().min((end - self.position) as usize));
            self.buffer.extend_from_slice(now);
            self.position += now.len() as u64;
            bytes = later;
            self.end_piece(end)?;
        }
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        self.check(length)?;
        let chunk = u64::from(self.shared.options.chunk_size);
        let stop = self.position + length;
        while self.position < stop {
            let end = self.piece_end();
            let whole = (stop.min(self.tail_start) - self.position.min(self.tail_start)) / chunk;
            if self.buffer.is_empty() && whole > 0 {
                // Zero chunks are not stored at all.
                self.record();
                self.position += whole * chunk;
                continue;
            }
            self.take_buffer();
            let now = (stop.min(end) - self.position) as usize;
            self.buffer.resize(self.buffer.len() + now, 0);
            self.position += now as u64;
            self.end_piece(end)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<ContentId> {
        if self.position != self.size {
            return Err(self.wrong_size(self.position).into());
        }
        let id = self.record();
        if self.tail_start < self.size {
            let tail = Tail {
                offset: self.shared.append(&self.buffer)?,
                digest: xxh3_64(&self.buffer),
                length: self.buffer.len() as u32,
            };
            self.shared.with_table(|table| {
                if let Some(record) = table.record_mut(id) {
                    record.tail = Some(tail);
                }
            });
        }
        Ok(id)
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if self.buffer.capacity() > 0 {
            self.shared.pool.recycle(std::mem::take(&mut self.buffer));
        }
    }
}
