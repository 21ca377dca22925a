//! How many hash blocks a tree has, and where.

use crate::{BLOCK_SIZE, DIGEST_SIZE};

/// Digests in one hash block.
pub(crate) const FANOUT: u64 = (BLOCK_SIZE / DIGEST_SIZE) as u64;

/// Hash blocks of each level, from the one over the data up to the one of a single block. Empty for
/// a single data block, whose digest is the root hash itself.
pub(crate) fn levels(data_blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(FANOUT);
        levels.push(below);
    }
    levels
}

/// Bytes of the hash area: the superblock's block and all levels.
pub(crate) fn hash_area_size(data_blocks: u64) -> u64 {
    (1 + levels(data_blocks).iter().sum::<u64>()) * BLOCK_SIZE as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_shrink_to_one_block() {
        assert_eq!(levels(1), Vec::<u64>::new());
        assert_eq!(levels(2), [1]);
        assert_eq!(levels(128), [1]);
        assert_eq!(levels(129), [2, 1]);
        assert_eq!(levels(128 * 128 + 1), [129, 2, 1]);
        assert_eq!(hash_area_size(129), 4 * 4096);
    }
}
