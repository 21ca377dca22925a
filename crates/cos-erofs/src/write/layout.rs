//! Where everything will be. Computed whole before the first byte is written.

use super::files::{FilePlan, Files, Placement};
use super::inodes::{InodePlan, Inodes};
use super::packs::Packs;
use super::{directory, index};
use crate::disk::{self, DataLayout, INODE_SLOT, NULL_ADDR};
use crate::spool::Table;
use crate::{BLOCK_SIZE, ErofsError, Options};
use cos_tree::{NodeKind, Tree};

const BLOCK: u64 = BLOCK_SIZE as u64;

/// The parts of the image.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) build_time: i64,
    /// Block of the shared attributes.
    pub(crate) xattr_block: u32,
    /// Inode of the packed file, if there is one.
    pub(crate) packed: Option<PackedInode>,
    /// All blocks.
    pub(crate) blocks: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedInode {
    pub(crate) position: u64,
    pub(crate) block: u32,
    pub(crate) blocks: u32,
}

/// What stands behind an inode and its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    Nothing,
    /// The end of the data, this many bytes.
    Inline(u32),
    /// The map of a compressed file.
    Map,
    /// A block address for each chunk.
    ChunkMap,
    /// The place in the packed file.
    Fragment,
}

/// What everything is computed from.
pub(crate) struct Source<'a, 't> {
    pub(crate) inodes: Inodes<'t>,
    pub(crate) files: Files,
    pub(crate) packs: Packs,
    pub(crate) table: &'a Table,
    pub(crate) options: &'a Options,
}

impl Layout {
    pub(crate) fn compute(
        source: &mut Source<'_, '_>,
        build_time: i64,
    ) -> Result<Self, ErofsError> {
        let mut at = BLOCK;
        for number in 0..source.inodes.plans.len() {
            at = source.place_inode(number, at, build_time);
        }
        let packed_position = at.next_multiple_of(INODE_SLOT);
        if source.packs.size > 0 {
            let inode = source.packed_inode(PackedInode::default(), build_time);
            let offset = index::header_offset(inode.size_on_disk(build_time));
            at = packed_position + offset as u64 + index::size(offset, source.packs.size);
        }
        let mut next = at.div_ceil(BLOCK);
        let xattr_block = next;
        next += (source.inodes.xattrs.shared().len() as u64).div_ceil(BLOCK);
        next = source.place_directories(next);
        next = source.place_files(next)?;
        let packed_blocks: u64 = source
            .packs
            .packs
            .iter()
            .map(|p| u64::from(p.extent().blocks()))
            .sum();
        let packed = (source.packs.size > 0).then_some(PackedInode {
            position: packed_position,
            block: next as u32,
            blocks: packed_blocks as u32,
        });
        next += packed_blocks;
        // The last address means "no block".
        if next >= u64::from(NULL_ADDR) {
            return Err(ErofsError::ImageTooLarge { blocks: next });
        }
        Ok(Self {
            build_time,
            xattr_block: xattr_block as u32,
            packed,
            blocks: next as u32,
        })
    }
}

impl Default for PackedInode {
    fn default() -> Self {
        Self {
            position: 0,
            block: NULL_ADDR,
            blocks: 0,
        }
    }
}

impl Source<'_, '_> {
    /// Gives an inode its place; returns where the next may begin.
    fn place_inode(&mut self, number: usize, at: u64, build_time: i64) -> u64 {
        let (inode, behind) = self.describe(number);
        let head = inode.size_on_disk(build_time) + inode.xattr_size;
        let mut position = at.next_multiple_of(INODE_SLOT);
        let tail = (inode.size % BLOCK) as usize;
        let mut inline = 0;
        let after = match behind {
            Behind::Nothing | Behind::Inline(_) => {
                if self.may_inline(number) && tail > 0 && head + tail <= BLOCK_SIZE {
                    // What is inline may not run into the next block.
                    let waste = match position as usize % BLOCK_SIZE {
                        used if used + head + tail > BLOCK_SIZE => BLOCK_SIZE - used,
                        _ => 0,
                    };
                    if waste + tail <= BLOCK_SIZE || self.is_symlink(number) {
                        position += waste as u64;
                        inline = tail;
                    }
                }
                inline
            }
            Behind::Map => {
                let offset = index::header_offset(head);
                offset - head + index::size(offset, inode.size) as usize
            }
            Behind::ChunkMap => head.next_multiple_of(4) - head + self.chunk_count(number) * 4,
            Behind::Fragment => index::header_offset(head) - head + 8,
        };
        let plan = &mut self.inodes.plans[number];
        plan.position = position;
        plan.inline = inline as u32;
        if let Some(file) = plan.file
            && inline == 0
            && tail > 0
        {
            self.files.require_tail_block(file);
        }
        position + (head + after) as u64
    }

    fn node_kind(&self, number: usize) -> &NodeKind {
        &self.inodes.tree.node(self.inodes.plans[number].node).kind
    }

    fn is_symlink(&self, number: usize) -> bool {
        matches!(self.node_kind(number), NodeKind::Symlink(_))
    }

    fn may_inline(&self, number: usize) -> bool {
        match self.inodes.plans[number].file {
            Some(file) => self.files.canonical(file).placement == Placement::Flat,
            None => true,
        }
    }

    /// The file of an inode, if it is a regular one with content.
    pub(crate) fn file(&self, plan: &InodePlan) -> Option<&FilePlan> {
        plan.file.map(|file| self.files.canonical(file))
    }

    fn chunk_count(&self, number: usize) -> usize {
        let plan = self.file(&self.inodes.plans[number]);
        plan.map_or(0, |plan| match super::record_of(self.table, plan) {
            Ok(record) => record.size.div_ceil(u64::from(record.chunk_size)) as usize,
            Err(_) => 0,
        })
    }

    /// An inode as far as it is known, and what stands behind it.
    pub(crate) fn describe(&self, number: usize) -> (disk::Inode, Behind) {
        let plan = &self.inodes.plans[number];
        let node = self.inodes.tree.node(plan.node);
        let mut inode = disk::Inode {
            layout: DataLayout::FlatPlain,
            mode: disk::type_bits(&node.kind) | (node.meta.permissions & 0o7777),
            size: 0,
            union: plan.block,
            ino: number as u32 + 1,
            uid: node.meta.uid,
            gid: node.meta.gid,
            mtime: node.meta.mtime,
            nlink: plan.nlink,
            xattr_size: self.inodes.xattrs.inline_body(plan.xattrs as usize).len(),
        };
        let mut behind = Behind::Nothing;
        match &node.kind {
            NodeKind::Directory(_) => inode.size = directory_size(self.inodes.tree, plan),
            NodeKind::Symlink(target) => inode.size = target.len() as u64,
            NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => {
                inode.union = disk::encode_device(*device).unwrap_or(0);
            }
            NodeKind::Fifo | NodeKind::Socket => inode.union = 0,
            NodeKind::File(content) => {
                inode.size = content.size;
                if let Some(file) = self.file(plan) {
                    behind = self.describe_file(file, &mut inode);
                }
            }
        }
        if plan.inline > 0 {
            inode.layout = DataLayout::FlatInline;
            behind = Behind::Inline(plan.inline);
        }
        (inode, behind)
    }

    fn describe_file(&self, file: &FilePlan, inode: &mut disk::Inode) -> Behind {
        inode.union = file.block;
        match file.placement {
            Placement::Flat => Behind::Nothing,
            Placement::Compressed => {
                inode.layout = DataLayout::CompressedCompact;
                inode.union = file.blocks;
                Behind::Map
            }
            Placement::Sparse => {
                inode.layout = DataLayout::ChunkBased;
                inode.union = (self.options.chunk_size / BLOCK_SIZE as u32).trailing_zeros();
                Behind::ChunkMap
            }
            Placement::Fragment => {
                inode.layout = DataLayout::CompressedFull;
                // A file of zero blocks is taken for one hole by archivers.
                inode.union = inode.size.div_ceil(BLOCK) as u32;
                Behind::Fragment
            }
        }
    }

    /// The inode of the packed file.
    pub(crate) fn packed_inode(&self, packed: PackedInode, build_time: i64) -> disk::Inode {
        disk::Inode {
            layout: DataLayout::CompressedCompact,
            mode: 0o100_000,
            size: self.packs.size,
            union: packed.blocks,
            ino: self.inodes.plans.len() as u32 + 1,
            uid: 0,
            gid: 0,
            mtime: build_time,
            nlink: 1,
            xattr_size: 0,
        }
    }

    /// Gives blocks to directories and links that are not wholly behind their inodes.
    fn place_directories(&mut self, mut next: u64) -> u64 {
        for number in 0..self.inodes.plans.len() {
            let (inode, _) = self.describe(number);
            let kind = self.node_kind(number);
            let is_data = matches!(kind, NodeKind::Directory(_) | NodeKind::Symlink(_));
            let plan = &mut self.inodes.plans[number];
            let blocks = (inode.size - u64::from(plan.inline)).div_ceil(BLOCK);
            if is_data && blocks > 0 {
                plan.block = next as u32;
                next += blocks;
            }
        }
        next
    }

    /// Gives blocks to files, in order.
    fn place_files(&mut self, mut next: u64) -> Result<u64, ErofsError> {
        for number in 0..self.files.plans.len() {
            let plan = &self.files.plans[number];
            if plan.same_as.is_some() {
                continue;
            }
            let record = super::record_of(self.table, plan)?;
            let blocks = match plan.placement {
                Placement::Flat if plan.tail_block => record.size.div_ceil(BLOCK),
                Placement::Flat => record.size / BLOCK,
                Placement::Sparse => record.stored_blocks(),
                Placement::Fragment => 0,
                Placement::Compressed => {
                    let extents = self.files.extents(record, plan.fragment.is_some());
                    extents.map(|extent| u64::from(extent.blocks())).sum()
                }
            };
            let plan = &mut self.files.plans[number];
            plan.blocks = blocks as u32;
            if blocks > 0 {
                plan.block = next as u32;
            }
            next += blocks;
            if next >= u64::from(NULL_ADDR) {
                return Err(ErofsError::ImageTooLarge { blocks: next });
            }
        }
        Ok(next)
    }
}

fn directory_size(tree: &Tree, plan: &InodePlan) -> u64 {
    let children = tree.children(plan.node).into_iter().flatten();
    directory::size(directory::with_dots(children.map(|(name, _)| &**name)))
}
