//! What lies where in the temporary file.

use crate::BLOCK_SIZE;
use cos_tree::{Content, ContentId};

/// One stored chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Offset in the temporary file.
    pub(crate) offset: u64,
    /// Digest of the bytes before compression; equal content has equal digests, not the reverse.
    pub(crate) digest: u64,
    /// Which chunk of its file.
    pub(crate) index: u32,
    /// Bytes stored: as many as the chunk has when it is not compressed, else fewer.
    pub(crate) stored: u32,
}

/// One stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Bytes in each chunk but the last.
    pub(crate) chunk_size: u32,
    /// Chunks in order; a missing one is all zero.
    pub(crate) chunks: Vec<Chunk>,
    /// A small file, or the end of a larger one, stored as it is.
    pub(crate) tail: Option<Tail>,
}

/// Bytes stored as they are, to be packed with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Offset in the temporary file.
    pub(crate) offset: u64,
    /// Digest of the bytes.
    pub(crate) digest: u64,
    /// How many.
    pub(crate) length: u32,
}

impl Record {
    /// Bytes that are in chunks.
    pub(crate) fn chunked_size(&self) -> u64 {
        self.size - self.tail.map_or(0, |tail| u64::from(tail.length))
    }

    /// How many chunks the file has, zero ones included.
    pub(crate) fn chunk_count(&self) -> u64 {
        self.chunked_size().div_ceil(u64::from(self.chunk_size))
    }

    /// Bytes in a chunk.
    pub(crate) fn chunk_length(&self, index: u64) -> u32 {
        let start = index * u64::from(self.chunk_size);
        (self.chunked_size() - start).min(u64::from(self.chunk_size)) as u32
    }

    /// All chunks in order, zero ones as `None`, with their lengths.
    pub(crate) fn all_chunks(&self) -> impl Iterator<Item = (u32, Option<&Chunk>)> {
        let mut stored = self.chunks.iter().peekable();
        (0..self.chunk_count()).map(move |index| {
            let chunk = stored.next_if(|chunk| u64::from(chunk.index) == index);
            (self.chunk_length(index), chunk)
        })
    }

    /// Chunks that are compressed.
    pub(crate) fn compressed_chunks(&self) -> usize {
        let compressed = |chunk: &&Chunk| chunk.stored < self.chunk_length(u64::from(chunk.index));
        self.chunks.iter().filter(compressed).count()
    }

    /// Blocks that all but the zero chunks take when not compressed.
    pub(crate) fn stored_blocks(&self) -> u64 {
        let blocks = |length: u32| u64::from(length).div_ceil(BLOCK_SIZE as u64);
        let chunks = self.chunks.iter();
        let chunks = chunks.map(|chunk| blocks(self.chunk_length(u64::from(chunk.index))));
        chunks.sum::<u64>() + self.tail.map_or(0, |tail| blocks(tail.length))
    }

    /// Chunks that are all zero.
    pub(crate) fn zero_chunks(&self) -> u64 {
        self.chunk_count() - self.chunks.len() as u64
    }
}

/// All stored files.
#[derive(Debug, Default)]
pub(crate) struct Table {
    records: Vec<Record>,
}

impl Table {
    pub(crate) fn add(&mut self, record: Record) -> ContentId {
        self.records.push(record);
        ContentId(self.records.len() as u64 - 1)
    }

    /// The record of a content, if there is one of this size.
    pub(crate) fn get(&self, content: Content) -> Option<&Record> {
        let record = self.by_id(content.id)?;
        (record.size == content.size).then_some(record)
    }

    /// The record of a content.
    pub(crate) fn by_id(&self, id: ContentId) -> Option<&Record> {
        self.records.get(usize::try_from(id.0).ok()?)
    }

    pub(crate) fn record_mut(&mut self, id: ContentId) -> Option<&mut Record> {
        self.records.get_mut(usize::try_from(id.0).ok()?)
    }

    /// Brings the chunks of every file into order, whatever order they were compressed in.
    pub(crate) fn sort(&mut self) {
        for record in &mut self.records {
            if !record.chunks.is_sorted_by_key(|chunk| chunk.index) {
                record.chunks.sort_unstable_by_key(|chunk| chunk.index);
            }
        }
    }
}
