//! Reading where a file's blocks are, and declaring them written.
//!
//! Only of file systems that `mke2fs` has just made. Layout: linux/fs/ext4/ext4.h and
//! `ext4_extents.h`.

use super::BLOCK;
use crate::content::OpenSource;
use crate::{DiskError, sparse};
use fs_err::File;
use std::io;
use std::os::unix::fs::FileExt;

const SUPERBLOCK: u64 = 1024;
const SUPERBLOCK_MAGIC: u16 = 0xef53;
const EXTENT_MAGIC: u16 = 0xf30a;
const ROOT_INODE: u32 = 2;
const DESCRIPTOR: u64 = 64;
const INODE: usize = 256;
const FLAG_EXTENTS: u32 = 0x8_0000;
/// Among the read-only compatible features.
const METADATA_CSUM: u32 = 0x400;

/// Where an inode keeps the root of its extent tree, and how large that is.
const INODE_EXTENTS: usize = 0x28;
const INODE_EXTENTS_BYTES: usize = 60;

/// An extent longer than this is one that reads as zeros until written.
const MAX_WRITTEN: u16 = 32_768;

/// The deepest extent tree the format allows.
const MAX_DEPTH: u16 = 5;

/// A run of blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first block, counted from the start of the file.
    pub(super) logical: u64,
    /// The first block, counted from the start of the file system.
    pub(super) physical: u64,
    pub(super) blocks: u64,
}

/// A file system inside a disk file.
#[derive(Debug)]
pub(super) struct Volume<'f> {
    file: &'f File,
    offset: u64,
    superblock: Box<[u8; 1024]>,
}

/// An inode as it lies on the disk.
#[derive(Debug)]
pub(super) struct Inode {
    position: u64,
    bytes: [u8; INODE],
}

impl Inode {
    pub(super) fn mode(&self) -> u16 {
        le16(&self.bytes, 0)
    }

    pub(super) fn size(&self) -> u64 {
        u64::from(le32(&self.bytes, 0x6c)) << 32 | u64::from(le32(&self.bytes, 0x4))
    }
}

impl<'f> Volume<'f> {
    pub(super) fn open(file: &'f File, offset: u64) -> Result<Self, DiskError> {
        let mut superblock = Box::new([0; 1024]);
        let read = file
            .file()
            .read_exact_at(&mut superblock[..], offset + SUPERBLOCK);
        let volume = Self {
            file,
            offset,
            superblock,
        };
        volume.io(read)?;
        let s = &volume.superblock[..];
        let expected = le16(s, 0x38) == SUPERBLOCK_MAGIC
            && le32(s, 0x18) == 2
            && usize::from(le16(s, 0x58)) == INODE
            && u64::from(le16(s, 0xfe)) == DESCRIPTOR
            && le32(s, 0x28) > 0
            && le32(s, 0x64) & METADATA_CSUM == 0;
        if expected {
            Ok(volume)
        } else {
            Err(volume.damaged("superblock"))
        }
    }

    /// What is left for content, in bytes.
    pub(super) fn free_bytes(&self) -> u64 {
        let free = u64::from(le32(&self.superblock[..], 0x158)) << 32
            | u64::from(le32(&self.superblock[..], 0xc));
        free.saturating_mul(BLOCK)
    }

    /// Finds a file by its names from the root.
    pub(super) fn lookup(&self, path: &[&str]) -> Result<Option<Inode>, DiskError> {
        let mut inode = self.inode(ROOT_INODE)?;
        for name in path {
            match self.find(&inode, name.as_bytes())? {
                Some(number) => inode = self.inode(number)?,
                None => return Ok(None),
            }
        }
        Ok(Some(inode))
    }

    fn inode(&self, number: u32) -> Result<Inode, DiskError> {
        let index = number
            .checked_sub(1)
            .ok_or_else(|| self.damaged("directory"))?;
        let per_group = le32(&self.superblock[..], 0x28);
        let (group, index) = (index / per_group, index % per_group);
        let mut descriptor = [0; DESCRIPTOR as usize];
        let position = self.offset + BLOCK + u64::from(group) * DESCRIPTOR;
        self.io(self.file.file().read_exact_at(&mut descriptor, position))?;
        let table = u64::from(le32(&descriptor, 0x28)) << 32 | u64::from(le32(&descriptor, 0x8));
        let position = self.position(table)? + u64::from(index) * INODE as u64;
        let mut bytes = [0; INODE];
        self.io(self.file.file().read_exact_at(&mut bytes, position))?;
        Ok(Inode { position, bytes })
    }

    fn find(&self, directory: &Inode, name: &[u8]) -> Result<Option<u32>, DiskError> {
        for extent in self.extents(directory)? {
            for index in 0..extent.blocks {
                let block = self.block(extent.physical + index)?;
                let mut rest = &block[..];
                while rest.len() >= 8 {
                    let length = usize::from(le16(rest, 4));
                    let end = 8 + usize::from(rest[6]);
                    if length < 8 || length > rest.len() || end > length {
                        return Err(self.damaged("directory"));
                    }
                    if le32(rest, 0) != 0 && &rest[8..end] == name {
                        return Ok(Some(le32(rest, 0)));
                    }
                    rest = &rest[length..];
                }
            }
        }
        Ok(None)
    }

    /// The blocks of a file, in order.
    fn extents(&self, inode: &Inode) -> Result<Vec<Extent>, DiskError> {
        if le32(&inode.bytes, 0x20) & FLAG_EXTENTS == 0 {
            return Err(self.damaged("inode"));
        }
        let mut extents = Vec::new();
        let mut root = inode.bytes[INODE_EXTENTS..][..INODE_EXTENTS_BYTES].to_vec();
        self.walk(&mut root, MAX_DEPTH, false, &mut extents)?;
        Ok(extents)
    }

    /// Turns every reserved extent of a file into a written one, and returns them.
    pub(super) fn make_written(&self, inode: &mut Inode) -> Result<Vec<Extent>, DiskError> {
        if inode.size() == 0 {
            return Ok(Vec::new());
        }
        let mut extents = Vec::new();
        let mut root = inode.bytes[INODE_EXTENTS..][..INODE_EXTENTS_BYTES].to_vec();
        if le32(&inode.bytes, 0x20) & FLAG_EXTENTS == 0 {
            return Err(self.damaged("inode"));
        }
        self.walk(&mut root, MAX_DEPTH, true, &mut extents)?;
        inode.bytes[INODE_EXTENTS..][..INODE_EXTENTS_BYTES].copy_from_slice(&root);
        self.io(self.file.file().write_all_at(&inode.bytes, inode.position))?;
        Ok(extents)
    }

    /// Collects the extents under a node, and clears their unwritten mark if asked to, here and in the
    /// blocks below.
    fn walk(
        &self,
        node: &mut [u8],
        depth_left: u16,
        clear: bool,
        extents: &mut Vec<Extent>,
    ) -> Result<(), DiskError> {
        let (entries, depth) = (usize::from(le16(node, 2)), le16(node, 6));
        let in_bounds = 12 + entries * 12 <= node.len() && depth <= depth_left;
        if le16(node, 0) != EXTENT_MAGIC || !in_bounds {
            return Err(self.damaged("extent tree"));
        }
        for entry in node[12..].chunks_exact_mut(12).take(entries) {
            if depth == 0 {
                let mut length = le16(entry, 4);
                if let Some(reserved) = length.checked_sub(MAX_WRITTEN).filter(|l| *l > 0) {
                    length = reserved;
                    if clear {
                        entry[4..6].copy_from_slice(&length.to_le_bytes());
                    }
                }
                extents.push(Extent {
                    logical: le32(entry, 0).into(),
                    physical: u64::from(le16(entry, 6)) << 32 | u64::from(le32(entry, 8)),
                    blocks: length.into(),
                });
                continue;
            }
            let number = u64::from(le16(entry, 8)) << 32 | u64::from(le32(entry, 4));
            let mut block = self.block(number)?;
            let below = depth_left
                .checked_sub(1)
                .ok_or_else(|| self.damaged("extent tree"))?;
            self.walk(&mut block, below, clear, extents)?;
            if clear {
                self.io(self
                    .file
                    .file()
                    .write_all_at(&block, self.position(number)?))?;
            }
        }
        Ok(())
    }

    /// Writes a file's content to its blocks.
    pub(super) fn write(
        &self,
        extents: &[Extent],
        source: &OpenSource<'_>,
        is_zero: bool,
    ) -> Result<(), DiskError> {
        for extent in extents {
            let from = extent.logical * BLOCK;
            let to = self.position(extent.physical)?;
            let room = extent.blocks * BLOCK;
            let length = source.len().saturating_sub(from).min(room);
            let copied = || {
                if !is_zero {
                    sparse::clear(self.file, to, room)?;
                }
                source.copy_range(from, length, self.file, to)
            };
            self.io(copied())?;
        }
        Ok(())
    }

    fn block(&self, number: u64) -> Result<Vec<u8>, DiskError> {
        let mut block = vec![0; BLOCK as usize];
        let position = self.position(number)?;
        self.io(self.file.file().read_exact_at(&mut block, position))?;
        Ok(block)
    }

    fn position(&self, block: u64) -> Result<u64, DiskError> {
        block
            .checked_mul(BLOCK)
            .and_then(|bytes| bytes.checked_add(self.offset))
            .ok_or_else(|| self.damaged("block number"))
    }

    fn damaged(&self, what: &'static str) -> DiskError {
        DiskError::Ext4Layout {
            path: self.file.path().into(),
            what,
        }
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T, DiskError> {
        result.map_err(|source| DiskError::WriteExt4 {
            path: self.file.path().into(),
            source,
        })
    }
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
