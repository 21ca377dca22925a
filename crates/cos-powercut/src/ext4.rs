//! ext4 as GRUB reads it: no journal, no checksums, no cache (grub-core/fs/ext2.c).
//!
//! `grub-fstest` starts a process for each file, 5 ms each; this takes microseconds, and is held
//! against `grub-fstest` on a sample of states ([`crate::grub_reads`]).

use crate::Part;
use anyhow::{Context, Result, bail, ensure};
use fs_err::File;
use fs_err::os::unix::fs::FileExt;

const ROOT_INODE: u32 = 2;
const MAGIC: u16 = 0xef53;
/// What GRUB 2.06 knows or ignores of the incompatible features: filetype, extents, `flex_bg`, 64bit,
/// `meta_bg`, encrypt, `large_dir`, `csum_seed`; `needs_recovery`, mmp.
const KNOWN_INCOMPAT: u32 =
    0x0002 | 0x0040 | 0x0200 | 0x0080 | 0x0010 | 0x10000 | 0x4000 | 0x2000 | 0x0004 | 0x0100;
const INCOMPAT_64BIT: u32 = 0x80;
const EXTENTS_FLAG: u32 = 0x8_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
const DIRECTORY: u16 = 0o040_000;
const REGULAR: u16 = 0o100_000;
const TYPE_MASK: u16 = 0o170_000;
/// Larger files and directories are refused: a root image is smaller.
const MAX_FILE: u64 = 1 << 30;
const MAX_DEPTH: u16 = 5;

/// A file system, read without its journal.
#[derive(Debug)]
pub struct Ext4<'d> {
    disk: &'d File,
    part: Part,
    block: u64,
    inode_size: u64,
    inodes_per_group: u32,
    descriptor_size: u64,
    descriptors_at: u64,
}

struct Inode {
    mode: u16,
    size: u64,
    flags: u32,
    map: [u8; 60],
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let bytes = bytes.get(at..at + 2).context("cut short")?;
    Ok(u16::from_le_bytes(bytes.try_into()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("cut short")?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

impl<'d> Ext4<'d> {
    /// Opens the file system in a partition of a disk.
    pub fn open(disk: &'d File, part: Part) -> Result<Self> {
        let mut superblock = [0; 1024];
        disk.read_exact_at(&mut superblock, part.offset + 1024)?;
        ensure!(u16_at(&superblock, 56)? == MAGIC, "no ext4");
        let incompat = u32_at(&superblock, 96)?;
        ensure!(incompat & !KNOWN_INCOMPAT == 0, "features {incompat:#x}");
        let log_block = u32_at(&superblock, 24)?;
        ensure!(log_block <= 6, "blocks of 2^{log_block} KiB");
        let block = 1024 << log_block;
        let descriptor_size = if incompat & INCOMPAT_64BIT == 0 {
            32
        } else {
            u64::from(u16_at(&superblock, 254)?)
        };
        let ext4 = Self {
            disk,
            part,
            block,
            inode_size: u64::from(u16_at(&superblock, 88)?),
            inodes_per_group: u32_at(&superblock, 40)?,
            descriptor_size,
            descriptors_at: (u64::from(u32_at(&superblock, 20)?) + 1) * block,
        };
        ensure!(
            ext4.inode_size >= 128,
            "inodes of {} bytes",
            ext4.inode_size
        );
        ensure!(ext4.inodes_per_group > 0, "no inodes");
        Ok(ext4)
    }

    /// The bytes of a file; `path` from the root, without a leading slash.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.content(&self.find(path)?)
            .with_context(|| path.to_owned())
    }

    /// Writes over the first bytes of a file, on the blocks that it seems to have: `save_env`.
    pub fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let inode = self.find(path)?;
        ensure!(bytes.len() as u64 <= inode.size, "{path}: too short");
        for (number, piece) in bytes.chunks(self.block as usize).enumerate() {
            let block = self.block_of(&inode, number as u64)?;
            let block = block.with_context(|| format!("{path}: a hole"))?;
            let at = block.checked_mul(self.block).context("block")?;
            let end = at.checked_add(piece.len() as u64);
            ensure!(
                end.is_some_and(|end| end <= self.part.size),
                "{path}: outside"
            );
            self.disk.write_all_at(piece, self.part.offset + at)?;
        }
        Ok(())
    }

    fn find(&self, path: &str) -> Result<Inode> {
        let mut inode = self.inode(ROOT_INODE)?;
        for name in path.split('/') {
            ensure!(inode.mode & TYPE_MASK == DIRECTORY, "{path}: not found");
            let number = self.entry(&inode, name)?;
            let number = number.with_context(|| format!("{path}: {name} not found"))?;
            inode = self.inode(number)?;
        }
        ensure!(inode.mode & TYPE_MASK == REGULAR, "{path}: no file");
        Ok(inode)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let end = at.checked_add(bytes.len() as u64);
        let inside = end.is_some_and(|end| end <= self.part.size);
        ensure!(inside, "beyond the end of the partition");
        Ok(self.disk.read_exact_at(bytes, self.part.offset + at)?)
    }

    fn inode(&self, number: u32) -> Result<Inode> {
        let index = number.checked_sub(1).context("inode 0")?;
        let (group, index) = (index / self.inodes_per_group, index % self.inodes_per_group);
        let mut descriptor = [0; 64];
        let size = self.descriptor_size.clamp(32, 64) as usize;
        let at = self.descriptors_at + u64::from(group) * self.descriptor_size;
        self.read_at(at, &mut descriptor[..size])?;
        let high = u64::from(u32_at(&descriptor, 40)?) << 32;
        let table = u64::from(u32_at(&descriptor, 8)?) | high;
        let mut raw = [0; 128];
        let at = table.checked_mul(self.block).context("inode table")?;
        self.read_at(at + u64::from(index) * self.inode_size, &mut raw)?;
        let mut map = [0; 60];
        map.copy_from_slice(&raw[40..100]);
        let high = u64::from(u32_at(&raw, 108)?) << 32;
        Ok(Inode {
            mode: u16_at(&raw, 0)?,
            size: u64::from(u32_at(&raw, 4)?) | high,
            flags: u32_at(&raw, 32)?,
            map,
        })
    }

    fn content(&self, inode: &Inode) -> Result<Vec<u8>> {
        ensure!(inode.size <= MAX_FILE, "{} bytes", inode.size);
        let mut content = vec![0; inode.size as usize];
        for (number, piece) in content.chunks_mut(self.block as usize).enumerate() {
            // A hole reads as zeros.
            if let Some(block) = self.block_of(inode, number as u64)? {
                self.read_at(block.checked_mul(self.block).context("block")?, piece)?;
            }
        }
        Ok(content)
    }

    /// Where a block of a file is. What is allocated and not written counts as a hole for GRUB too:
    /// the length of such an extent is out of its range.
    fn block_of(&self, inode: &Inode, number: u64) -> Result<Option<u64>> {
        ensure!(inode.flags & EXTENTS_FLAG != 0, "not made of extents");
        let mut node = inode.map.to_vec();
        for _ in 0..=MAX_DEPTH {
            ensure!(u16_at(&node, 0)? == EXTENT_MAGIC, "no extents");
            let (count, depth) = (usize::from(u16_at(&node, 2)?), u16_at(&node, 6)?);
            let mut found = None;
            for index in 0..count {
                let at = 12 + index * 12;
                if u64::from(u32_at(&node, at)?) > number {
                    break;
                }
                found = Some(at);
            }
            let Some(at) = found else {
                return Ok(None);
            };
            if depth == 0 {
                let offset = number - u64::from(u32_at(&node, at)?);
                let high = u64::from(u16_at(&node, at + 6)?) << 32;
                let start = high | u64::from(u32_at(&node, at + 8)?);
                let inside = offset < u64::from(u16_at(&node, at + 4)?);
                return Ok(inside.then_some(start + offset));
            }
            let high = u64::from(u16_at(&node, at + 8)?) << 32;
            let child = high | u64::from(u32_at(&node, at + 4)?);
            node = vec![0; self.block as usize];
            self.read_at(child.checked_mul(self.block).context("block")?, &mut node)?;
        }
        bail!("extents too deep")
    }

    /// The number of a directory's member.
    fn entry(&self, directory: &Inode, name: &str) -> Result<Option<u32>> {
        let content = self.content(directory)?;
        let mut at = 0;
        while at + 8 <= content.len() {
            let length = usize::from(u16_at(&content, at + 4)?);
            if length == 0 {
                return Ok(None);
            }
            let number = u32_at(&content, at)?;
            let named = at + 8..at + 8 + usize::from(content[at + 6]);
            if number != 0 && content.get(named) == Some(name.as_bytes()) {
                return Ok(Some(number));
            }
            at += length;
        }
        Ok(None)
    }
}
