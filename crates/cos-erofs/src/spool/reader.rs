//! Reads contents back as they were.

use super::Spool;
use super::table::{Chunk, Record};
use crate::{ErofsError, codec};
use std::io::{self, Read};

/// Reads one file from its first byte on.
pub(super) struct Reader<'s> {
    spool: &'s Spool,
    record: Record,
    size: u64,
    /// Where the piece in the buffer begins, and how much of it was given out.
    piece_start: u64,
    given: usize,
    piece: Vec<u8>,
    /// The first stored chunk that is not behind the piece.
    next: usize,
}

impl<'s> Reader<'s> {
    pub(super) fn new(spool: &'s Spool, size: u64, record: Record) -> Self {
        Self {
            spool,
            record,
            size,
            piece_start: 0,
            given: 0,
            piece: Vec::new(),
            next: 0,
        }
    }

    /// Loads the piece behind the present one.
    fn advance(&mut self) -> Result<(), ErofsError> {
        self.piece_start += self.piece.len() as u64;
        self.given = 0;
        if self.piece_start < self.record.chunked_size() {
            let index = self.piece_start / u64::from(self.record.chunk_size);
            let stored = self.record.chunks.get(self.next).copied();
            let chunk = stored.filter(|chunk| u64::from(chunk.index) == index);
            self.next += usize::from(chunk.is_some());
            self.piece
                .resize(self.record.chunk_length(index) as usize, 0);
            self.spool.read_chunk(chunk.as_ref(), &mut self.piece)
        } else if let (Some(tail), true) = (self.record.tail, self.piece_start < self.size) {
            self.piece.resize(tail.length as usize, 0);
            self.spool.read_at(&mut self.piece, tail.offset)
        } else {
            self.piece.clear();
            Ok(())
        }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.piece.len() {
            self.advance()?;
        }
        let rest = &self.piece[self.given..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

impl Spool {
    /// Reads a chunk as it was before compression into all of `out`; `None` is one of zeros.
    pub(crate) fn read_chunk(
        &self,
        chunk: Option<&Chunk>,
        out: &mut [u8],
    ) -> Result<(), ErofsError> {
        match chunk {
            None => {
                out.fill(0);
                Ok(())
            }
            Some(chunk) if chunk.stored as usize == out.len() => self.read_at(out, chunk.offset),
            Some(chunk) => {
                let mut stored = vec![0; chunk.stored as usize];
                self.read_at(&mut stored, chunk.offset)?;
                codec::decompress(self.options().compression, &stored, out)
            }
        }
    }
}
