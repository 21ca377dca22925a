//! Structures of the on-disk format: Linux `fs/erofs/erofs_fs.h`. All numbers little-endian.

use crate::BLOCK_SIZE;
use cos_tree::{DeviceNumber, NodeKind};

/// Where the superblock begins.
pub(crate) const SUPER_OFFSET: usize = 1024;
pub(crate) const SUPER_SIZE: usize = 128;
pub(crate) const SUPER_MAGIC: u32 = 0xe0f5_e1e2;
pub(crate) const BLOCK_BITS: u8 = BLOCK_SIZE.trailing_zeros() as u8;

pub(crate) const COMPAT_SB_CHKSUM: u32 = 0x1;
pub(crate) const COMPAT_MTIME: u32 = 0x2;

pub(crate) const INCOMPAT_ZERO_PADDING: u32 = 0x1;
/// Also the bit that says compression settings follow the superblock.
pub(crate) const INCOMPAT_BIG_PCLUSTER: u32 = 0x2;
pub(crate) const INCOMPAT_CHUNKED_FILE: u32 = 0x4;
/// Also the bit that says blocks may be shared.
pub(crate) const INCOMPAT_FRAGMENTS: u32 = 0x20;

pub(crate) const ALGORITHM_LZ4: u8 = 0;
pub(crate) const ALGORITHM_ZSTD: u8 = 3;

/// "No block": a hole, or a file without data.
pub(crate) const NULL_ADDR: u32 = u32::MAX;

/// Inodes begin at multiples of this; a *nid* counts in it.
pub(crate) const INODE_SLOT: u64 = 32;

/// How an inode's data is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataLayout {
    FlatPlain = 0,
    /// Compressed with an 8-byte map entry a block; here for files wholly in the packed file.
    CompressedFull = 1,
    FlatInline = 2,
    CompressedCompact = 3,
    ChunkBased = 4,
}

/// Everything in an inode but what follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inode {
    pub(crate) layout: DataLayout,
    pub(crate) mode: u16,
    pub(crate) size: u64,
    /// Block address, count, device or chunk format.
    pub(crate) union: u32,
    pub(crate) ino: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) nlink: u32,
    /// Bytes of inline attributes behind the inode.
    pub(crate) xattr_size: usize,
}

impl Inode {
    /// Bytes of the inode itself: 32 if all fits and the time is the superblock's, else 64.
    pub(crate) fn size_on_disk(&self, build_time: i64) -> usize {
        let small = u32::try_from(self.size).is_ok()
            && u16::try_from(self.uid).is_ok()
            && u16::try_from(self.gid).is_ok()
            && u16::try_from(self.nlink).is_ok()
            && self.mtime == build_time;
        if small { 32 } else { 64 }
    }

    /// Appends `struct erofs_inode_compact` or `struct erofs_inode_extended`.
    pub(crate) fn encode(&self, build_time: i64, out: &mut Vec<u8>) {
        let extended = self.size_on_disk(build_time) == 64;
        let format = (self.layout as u16) << 1 | u16::from(extended);
        out.extend_from_slice(&format.to_le_bytes());
        out.extend_from_slice(&xattr_count(self.xattr_size).to_le_bytes());
        out.extend_from_slice(&self.mode.to_le_bytes());
        if extended {
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&self.size.to_le_bytes());
            out.extend_from_slice(&self.union.to_le_bytes());
            out.extend_from_slice(&self.ino.to_le_bytes());
            out.extend_from_slice(&self.uid.to_le_bytes());
            out.extend_from_slice(&self.gid.to_le_bytes());
            out.extend_from_slice(&self.mtime.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&self.nlink.to_le_bytes());
            out.extend_from_slice(&[0; 16]);
        } else {
            out.extend_from_slice(&(self.nlink as u16).to_le_bytes());
            out.extend_from_slice(&(self.size as u32).to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&self.union.to_le_bytes());
            out.extend_from_slice(&self.ino.to_le_bytes());
            out.extend_from_slice(&(self.uid as u16).to_le_bytes());
            out.extend_from_slice(&(self.gid as u16).to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
    }
}

/// `i_xattr_icount`: the 12-byte header counts one, then every 4 bytes.
fn xattr_count(size: usize) -> u16 {
    match size {
        0 => 0,
        _ => ((size - 12) / 4 + 1) as u16,
    }
}

/// The most that `i_xattr_icount` can say, in bytes.
pub(crate) const MAX_XATTR_SIZE: usize = 12 + (u16::MAX as usize - 1) * 4;

/// File type bits of `i_mode`.
pub(crate) fn type_bits(kind: &NodeKind) -> u16 {
    match kind {
        NodeKind::Fifo => 0o010_000,
        NodeKind::CharDevice(_) => 0o020_000,
        NodeKind::Directory(_) => 0o040_000,
        NodeKind::BlockDevice(_) => 0o060_000,
        NodeKind::File(_) => 0o100_000,
        NodeKind::Symlink(_) => 0o120_000,
        NodeKind::Socket => 0o140_000,
    }
}

/// File type of a directory entry (Linux `fs_types.h`).
pub(crate) fn entry_type(kind: &NodeKind) -> u8 {
    match kind {
        NodeKind::File(_) => 1,
        NodeKind::Directory(_) => 2,
        NodeKind::CharDevice(_) => 3,
        NodeKind::BlockDevice(_) => 4,
        NodeKind::Fifo => 5,
        NodeKind::Socket => 6,
        NodeKind::Symlink(_) => 7,
    }
}

/// Linux `new_encode_dev`; `None` for numbers that no device has.
pub(crate) fn encode_device(device: DeviceNumber) -> Option<u32> {
    let DeviceNumber { major, minor } = device;
    let fits = major < 1 << 12 && minor < 1 << 20;
    fits.then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

/// What the superblock says.
#[derive(Debug, Clone)]
pub(crate) struct SuperBlock {
    pub(crate) incompat: u32,
    pub(crate) root_nid: u16,
    pub(crate) inodes: u64,
    pub(crate) build_time: i64,
    pub(crate) blocks: u32,
    pub(crate) xattr_block: u32,
    pub(crate) uuid: [u8; 16],
    pub(crate) volume_name: [u8; 16],
    /// Bit for each algorithm in use.
    pub(crate) algorithms: u16,
    pub(crate) packed_nid: u64,
    /// Settings of each algorithm in use, in order, each with its length in front.
    pub(crate) settings: Vec<u8>,
}

impl SuperBlock {
    /// The first block of the image: superblock, compression settings, checksum.
    pub(crate) fn encode(&self) -> [u8; BLOCK_SIZE] {
        let mut block = [0; BLOCK_SIZE];
        let mut put = |at: usize, bytes: &[u8]| {
            block[SUPER_OFFSET + at..SUPER_OFFSET + at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &SUPER_MAGIC.to_le_bytes());
        put(8, &(COMPAT_SB_CHKSUM | COMPAT_MTIME).to_le_bytes());
        put(12, &[BLOCK_BITS]);
        put(14, &self.root_nid.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(24, &self.build_time.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        // Inodes are addressed from block 0 (offset 40 stays zero).
        put(44, &self.xattr_block.to_le_bytes());
        put(48, &self.uuid);
        put(64, &self.volume_name);
        put(80, &self.incompat.to_le_bytes());
        put(84, &self.algorithms.to_le_bytes());
        put(96, &self.packed_nid.to_le_bytes());
        put(SUPER_SIZE, &self.settings);
        let checksum = checksum(&block);
        block[SUPER_OFFSET + 4..SUPER_OFFSET + 8].copy_from_slice(&checksum.to_le_bytes());
        block
    }
}

/// CRC-32C, not inverted at the end, from the superblock (its checksum taken as zero) to the end of
/// the block.
pub(crate) fn checksum(block: &[u8; BLOCK_SIZE]) -> u32 {
    let mut covered = block[SUPER_OFFSET..].to_vec();
    covered[4..8].fill(0);
    !crc32c::crc32c(&covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_the_kernels() {
        let encode = |major, minor| encode_device(DeviceNumber { major, minor });
        assert_eq!(encode(8, 1), Some(0x801));
        assert_eq!(encode(259, 70_000), Some(0x70 | 259 << 8 | 0x1_1100 << 12));
        assert_eq!(encode(4095, (1 << 20) - 1), Some(u32::MAX));
        assert_eq!(encode(4096, 0), None);
        assert_eq!(encode(0, 1 << 20), None);
    }

    #[test]
    fn an_inode_is_small_only_when_nothing_is_lost() {
        let inode = Inode {
            layout: DataLayout::FlatPlain,
            mode: 0o100_644,
            size: 1,
            union: 0,
            ino: 1,
            uid: 0,
            gid: 0,
            mtime: 5,
            nlink: 1,
            xattr_size: 0,
        };
        assert_eq!(inode.size_on_disk(5), 32);
        let large = [
            Inode { mtime: 6, ..inode },
            Inode {
                uid: 65_536,
                ..inode
            },
            Inode {
                gid: 65_536,
                ..inode
            },
            Inode {
                size: 1 << 32,
                ..inode
            },
            Inode {
                nlink: 65_536,
                ..inode
            },
        ];
        for inode in large {
            assert_eq!(inode.size_on_disk(5), 64);
            let mut out = Vec::new();
            inode.encode(5, &mut out);
            assert_eq!(out.len(), 64);
        }
    }
}
