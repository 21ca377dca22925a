//! How large a file system must be for what it is to hold.

use super::content::blocks_of;
use super::{BLOCK, Ext4Options, GROWS_TO, INODE, MIN_SIZE};

/// Names of the greatest length that a block of a directory holds.
const NAMES_PER_BLOCK: u64 = 15;

/// Blocks of a group: as many as one block of bits counts.
const GROUP_BLOCKS: u64 = BLOCK * 8;

/// Bytes of a group descriptor with the `64bit` feature.
const DESCRIPTOR: u64 = 64;

/// What the file system is rounded up to, in bytes.
const UNIT: u64 = 1 << 20;

/// Blocks for the root directory, `lost+found` and the resize inode's indirect block.
const FIXED_BLOCKS: u64 = 16;

/// A size, in bytes, that suffices for files of these `sizes` in so many `directories`, with `free`
/// bytes left over. A multiple of 1 MiB.
pub fn size_for(sizes: &[u64], directories: usize, free: u64, options: &Ext4Options) -> u64 {
    let content = content_blocks(sizes, directories)
        .saturating_mul(BLOCK)
        .saturating_add(free);
    let inodes = (sizes.len() + directories) as u64 + 16;
    let mut size = MIN_SIZE.max(inodes.saturating_mul(options.bytes_per_inode.into()));
    loop {
        let needed = content.saturating_add(overhead(size, options));
        if needed <= size || size > u64::MAX / 2 {
            return size;
        }
        size = needed.next_multiple_of(UNIT);
    }
}

/// Blocks of files of these `sizes` and of so many `directories`, at most.
pub(super) fn content_blocks(sizes: &[u64], directories: usize) -> u64 {
    let names = (sizes.len() + directories) as u64;
    let start = directories as u64 + names.div_ceil(NAMES_PER_BLOCK);
    sizes
        .iter()
        .fold(start, |sum, bytes| sum.saturating_add(file_blocks(*bytes)))
}

/// Blocks of a file of `bytes` bytes, its extent tree included: beyond four extents of at most
/// 127 MiB the tree takes blocks of its own, of 340 entries each.
fn file_blocks(bytes: u64) -> u64 {
    let data = blocks_of(bytes);
    // A gap between groups may split an extent that would fit.
    let extents = data.div_ceil(GROUP_BLOCKS / 2) + 1;
    let tree = if extents > 4 {
        extents.div_ceil(340) + 1
    } else {
        0
    };
    data.saturating_add(tree)
}

/// The size of the journal of a file system of `size` bytes, in bytes: the steps of `mke2fs`.
pub(super) fn journal_bytes(size: u64, options: &Ext4Options) -> u64 {
    let usual = match size >> 20 {
        0..128 => 4,
        128..1024 => 16,
        1024..2048 => 32,
        2048..16_384 => 64,
        _ => 128,
    } << 20;
    // At least the 1024 blocks the kernel asks for, and never half of the whole.
    options.journal.unwrap_or(usual).min(size / 2).max(4 << 20)
}

/// Bytes that hold no content: tables, bitmaps, journal.
fn overhead(size: u64, options: &Ext4Options) -> u64 {
    let groups = size.div_ceil(BLOCK).div_ceil(GROUP_BLOCKS);
    let inodes = (size / u64::from(options.bytes_per_inode.max(1))).div_ceil(groups);
    // Inode tables are whole blocks, in each group the same number.
    let inode_table = (inodes * INODE).div_ceil(BLOCK) + 1;
    let most_groups = (GROWS_TO / BLOCK).div_ceil(GROUP_BLOCKS).max(groups);
    let descriptors = (most_groups * DESCRIPTOR).div_ceil(BLOCK) + 2;
    let copies = (0..groups).filter(|group| has_superblock(*group)).count() as u64;
    let blocks = groups * (inode_table + 2) + copies * (1 + descriptors) + FIXED_BLOCKS;
    blocks * BLOCK + journal_bytes(size, options)
}

/// Whether a group has a copy of the superblock (`sparse_super`): 0, 1 and powers of 3, 5 and 7.
fn has_superblock(group: u64) -> bool {
    let is_power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn sizes_grow_with_content_and_are_whole() {
        let options = Ext4Options::new("x", Uuid::nil(), 0);
        let mut last = 0;
        for mib in [0, 1, 50, 200, 1000, 20_000, 500_000] {
            let size = size_for(&[mib << 20], 1, 0, &options);
            assert_eq!(size % UNIT, 0);
            assert!(size >= last && size > mib << 20);
            // No more than a twentieth and the journal on top.
            assert!(
                size < (mib << 20) * 21 / 20 + (140 << 20),
                "{mib} MiB: {size}"
            );
            last = size;
        }
        assert!(size_for(&[], 0, 100 << 20, &options) >= 100 << 20);
        assert!(
            (0..10)
                .filter(|g| has_superblock(*g))
                .eq([0, 1, 3, 5, 7, 9])
        );
    }

    #[test]
    fn many_small_files_have_inodes() {
        let options = Ext4Options::new("x", Uuid::nil(), 0);
        assert!(size_for(&vec![1; 10_000], 1, 0, &options) >= 10_000 * 16_384);
    }
}
