//! Writes what the layout says, from the first byte to the last.

use super::directory::{self, Entry};
use super::files::{FilePlan, Placement};
use super::index::{self, Header};
use super::inodes::InodePlan;
use super::layout::{Behind, Layout, Source};
use crate::disk::{self, INODE_SLOT, NULL_ADDR};
use crate::spool::{Record, Spool};
use crate::{BLOCK_SIZE, Compression, ErofsError};
use cos_events::{Monitor, Task};
use cos_tree::NodeKind;
use std::io::Write;

const BLOCK: u64 = BLOCK_SIZE as u64;

/// Where the image goes, and how much of it is written.
pub(crate) struct Sink<'o> {
    out: &'o mut dyn Write,
    position: u64,
}

impl<'o> Sink<'o> {
    pub(crate) fn new(out: &'o mut dyn Write) -> Self {
        Self { out, position: 0 }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ErofsError> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes).map_err(ErofsError::Write)
    }

    /// Zeros up to an offset in the image.
    fn pad_to(&mut self, position: u64) -> Result<(), ErofsError> {
        let zeros = [0; BLOCK_SIZE];
        while self.position < position {
            let count = (position - self.position).min(BLOCK) as usize;
            self.write(&zeros[..count])?;
        }
        debug_assert_eq!(self.position, position);
        Ok(())
    }

    fn pad_to_block(&mut self) -> Result<(), ErofsError> {
        self.pad_to(self.position.next_multiple_of(BLOCK))
    }
}

/// Writes the parts of one image.
pub(crate) struct Emitter<'a, 't> {
    pub(crate) source: &'a Source<'a, 't>,
    pub(crate) layout: &'a Layout,
    pub(crate) spool: &'a Spool,
}

impl Emitter<'_, '_> {
    /// Inodes, shared attributes and directories: all between the superblock and the file data.
    pub(crate) fn metadata(&self, sink: &mut Sink<'_>) -> Result<(), ErofsError> {
        sink.pad_to(BLOCK)?;
        let mut bytes = Vec::new();
        for number in 0..self.source.inodes.plans.len() {
            bytes.clear();
            self.inode(number, &mut bytes)?;
            sink.pad_to(self.source.inodes.plans[number].position)?;
            sink.write(&bytes)?;
        }
        if let Some(packed) = self.layout.packed {
            bytes.clear();
            let time = self.layout.build_time;
            self.source
                .packed_inode(packed, time)
                .encode(time, &mut bytes);
            let header = Header {
                algorithm: self.algorithm(),
                fragment: None,
            };
            let extents = self
                .source
                .packs
                .packs
                .iter()
                .map(super::packs::Pack::extent);
            let size = self.source.packs.size;
            index::encode(header, bytes.len(), size, extents, packed.block, &mut bytes);
            sink.pad_to(packed.position)?;
            sink.write(&bytes)?;
        }
        sink.pad_to_block()?;
        sink.write(self.source.inodes.xattrs.shared())?;
        sink.pad_to_block()?;
        self.directories(sink)
    }

    /// Directories and link targets, where they are not behind their inodes.
    fn directories(&self, sink: &mut Sink<'_>) -> Result<(), ErofsError> {
        for plan in &self.source.inodes.plans {
            let kind = &self.source.inodes.tree.node(plan.node).kind;
            if plan.block == NULL_ADDR {
                continue;
            }
            match kind {
                NodeKind::Directory(_) => {
                    let data = self.directory(plan);
                    sink.write(&data[..data.len() - plan.inline as usize])?;
                }
                NodeKind::Symlink(target) => sink.write(target)?,
                _ => {}
            }
            sink.pad_to_block()?;
        }
        Ok(())
    }

    fn algorithm(&self) -> u8 {
        match self.source.options.compression {
            Compression::Zstd { .. } => disk::ALGORITHM_ZSTD,
            Compression::Lz4 | Compression::None => disk::ALGORITHM_LZ4,
        }
    }

    fn inode(&self, number: usize, out: &mut Vec<u8>) -> Result<(), ErofsError> {
        let plan = &self.source.inodes.plans[number];
        let (inode, behind) = self.source.describe(number);
        inode.encode(self.layout.build_time, out);
        out.extend_from_slice(self.source.inodes.xattrs.inline_body(plan.xattrs as usize));
        let file = self.source.file(plan);
        match (behind, file) {
            (Behind::Inline(length), _) => self.inline_data(plan, length, out),
            (Behind::Map, Some(file)) => self.map(file, out),
            (Behind::ChunkMap, Some(file)) => self.chunk_map(file, out),
            (Behind::Fragment, Some(file)) => {
                out.resize(index::header_offset(out.len()), 0);
                index::encode_whole_fragment(file.fragment.unwrap_or(0), out);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn map(&self, file: &FilePlan, out: &mut Vec<u8>) -> Result<(), ErofsError> {
        let record = super::record_of(self.source.table, file)?;
        out.resize(index::header_offset(out.len()), 0);
        let header = Header {
            algorithm: self.algorithm(),
            fragment: file.fragment.map(|offset| offset as u32),
        };
        let extents = self.source.files.extents(record, file.fragment.is_some());
        // Without data blocks of its own, a file has no address to count from.
        let block = if file.blocks > 0 { file.block } else { 0 };
        index::encode(header, out.len(), record.size, extents, block, out);
        Ok(())
    }

    fn chunk_map(&self, file: &FilePlan, out: &mut Vec<u8>) -> Result<(), ErofsError> {
        let record = super::record_of(self.source.table, file)?;
        out.resize(out.len().next_multiple_of(4), 0);
        let mut block = file.block;
        for (length, chunk) in record.all_chunks() {
            let address = if chunk.is_some() { block } else { NULL_ADDR };
            out.extend_from_slice(&address.to_le_bytes());
            if chunk.is_some() {
                block += length.div_ceil(BLOCK_SIZE as u32);
            }
        }
        if record.tail.is_some() {
            out.extend_from_slice(&block.to_le_bytes());
        }
        Ok(())
    }

    /// The end of directory, link or file that stands behind the inode.
    fn inline_data(
        &self,
        plan: &InodePlan,
        length: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), ErofsError> {
        match &self.source.inodes.tree.node(plan.node).kind {
            NodeKind::Directory(_) => {
                let data = self.directory(plan);
                out.extend_from_slice(&data[data.len() - length as usize..]);
                Ok(())
            }
            NodeKind::Symlink(target) => {
                out.extend_from_slice(target);
                Ok(())
            }
            _ => match self.source.file(plan) {
                Some(file) => {
                    let record = super::record_of(self.source.table, file)?;
                    self.last_bytes(record, length as usize, out)
                }
                None => Ok(()),
            },
        }
    }

    /// The last bytes of a file that is stored uncompressed.
    fn last_bytes(
        &self,
        record: &Record,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ErofsError> {
        let start = out.len();
        out.resize(start + length, 0);
        let last = record
            .chunks
            .last()
            .filter(|c| u64::from(c.index) + 1 == record.chunk_count());
        let end = match (record.tail, last) {
            (Some(tail), _) => tail.offset + u64::from(tail.length),
            (None, Some(chunk)) => chunk.offset + u64::from(chunk.stored),
            // The last chunk is a hole.
            (None, None) => return Ok(()),
        };
        self.spool.read_at(&mut out[start..], end - length as u64)
    }

    fn directory(&self, plan: &InodePlan) -> Vec<u8> {
        let inodes = &self.source.inodes;
        let nid = |plan: &InodePlan| plan.position / INODE_SLOT;
        let children = inodes.tree.children(plan.node).into_iter().flatten();
        let names = directory::with_dots(children.map(|(name, _)| &**name));
        let entries: Vec<_> = names
            .map(|name| {
                let of = match name {
                    b"." => plan,
                    b".." => &inodes.plans[plan.parent as usize],
                    _ => inodes
                        .tree
                        .children(plan.node)
                        .and_then(|children| children.get(name))
                        .map_or(plan, |&child| inodes.of(child)),
                };
                Entry {
                    name,
                    nid: nid(of),
                    file_type: disk::entry_type(&inodes.tree.node(of.node).kind),
                }
            })
            .collect();
        directory::encode(&entries)
    }

    /// The data of all files, and the packed file.
    pub(crate) fn data(
        &self,
        sink: &mut Sink<'_>,
        monitor: &dyn Monitor,
        task: &Task<'_>,
    ) -> Result<(), ErofsError> {
        let mut buffer = Vec::new();
        for plan in &self.source.files.plans {
            if plan.same_as.is_some() || plan.blocks == 0 {
                continue;
            }
            monitor.checkpoint()?;
            debug_assert_eq!(sink.position, u64::from(plan.block) * BLOCK);
            let record = super::record_of(self.source.table, plan)?;
            match plan.placement {
                Placement::Flat => self.flat(plan, record, sink, &mut buffer)?,
                Placement::Compressed => self.compressed(plan, record, sink, &mut buffer)?,
                Placement::Sparse => self.sparse(record, sink, &mut buffer)?,
                Placement::Fragment => {}
            }
            task.advance(u64::from(plan.blocks) * BLOCK);
        }
        for pack in &self.source.packs.packs {
            monitor.checkpoint()?;
            let extent = pack.extent();
            self.stored(extent, pack.offset, pack.stored, sink, &mut buffer)?;
            task.advance(u64::from(extent.blocks()) * BLOCK);
        }
        Ok(())
    }

    /// Stored bytes as the blocks of an extent: compressed ones end with the last block, the zeros in
    /// front of them are skipped by the kernel; others begin with the first.
    fn stored(
        &self,
        extent: index::Extent,
        offset: u64,
        stored: u32,
        sink: &mut Sink<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ErofsError> {
        let total = extent.blocks() as usize * BLOCK_SIZE;
        let stored = stored as usize;
        buffer.clear();
        buffer.resize(total, 0);
        let at = match extent.storage {
            index::Storage::Compressed(_) => total - stored,
            _ => 0,
        };
        self.spool.read_at(&mut buffer[at..at + stored], offset)?;
        sink.write(buffer)
    }

    fn compressed(
        &self,
        plan: &FilePlan,
        record: &Record,
        sink: &mut Sink<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ErofsError> {
        let extents = self.source.files.extents(record, plan.fragment.is_some());
        for (extent, (_, chunk)) in extents.zip(record.all_chunks()) {
            match chunk {
                Some(chunk) => self.stored(extent, chunk.offset, chunk.stored, sink, buffer)?,
                None => {
                    let zeros = &self.source.files.zeros;
                    let total = u64::from(extent.blocks()) * BLOCK;
                    sink.pad_to(sink.position + total - zeros.len() as u64)?;
                    sink.write(zeros)?;
                }
            }
        }
        match record.tail {
            Some(tail) if plan.fragment.is_none() => {
                self.tail(tail.offset, tail.length, sink, buffer)
            }
            _ => Ok(()),
        }
    }

    fn flat(
        &self,
        plan: &FilePlan,
        record: &Record,
        sink: &mut Sink<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ErofsError> {
        let mut left = u64::from(plan.blocks) * BLOCK;
        let mut write = |buffer: &[u8], sink: &mut Sink<'_>| {
            // What stands behind the inode is not written again.
            let count = left.min(buffer.len() as u64);
            left -= count;
            sink.write(&buffer[..count as usize])
        };
        for (length, chunk) in record.all_chunks() {
            buffer.resize(length as usize, 0);
            self.spool.read_chunk(chunk, buffer)?;
            write(buffer, sink)?;
        }
        if let Some(tail) = record.tail {
            buffer.resize(tail.length as usize, 0);
            self.spool.read_at(buffer, tail.offset)?;
            write(buffer, sink)?;
        }
        sink.pad_to_block()
    }

    fn sparse(
        &self,
        record: &Record,
        sink: &mut Sink<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ErofsError> {
        for chunk in &record.chunks {
            buffer.resize(record.chunk_length(u64::from(chunk.index)) as usize, 0);
            self.spool.read_chunk(Some(chunk), buffer)?;
            sink.write(buffer)?;
            sink.pad_to_block()?;
        }
        match record.tail {
            Some(tail) => self.tail(tail.offset, tail.length, sink, buffer),
            None => Ok(()),
        }
    }

    fn tail(
        &self,
        offset: u64,
        length: u32,
        sink: &mut Sink<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ErofsError> {
        buffer.resize(length as usize, 0);
        self.spool.read_at(buffer, offset)?;
        sink.write(buffer)?;
        sink.pad_to_block()
    }
}
