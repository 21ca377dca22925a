//! What the kernel is told: Linux `Documentation/admin-guide/device-mapper/verity.rst`.

use crate::{BLOCK_SIZE, RootHash, SALT};
use std::fmt;

/// Parameters of a device-mapper `verity` target; [`Display`](fmt::Display) gives the table's
/// parameter string (what follows `verity` in `dmsetup`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableParameters {
    /// Device that holds the data, as a path or `major:minor`.
    pub data_device: String,
    /// Device that holds the hash area; the same one for a root image.
    pub hash_device: String,
    /// Blocks of 4096 bytes of data.
    pub data_blocks: u64,
    /// Where the hash area starts on its device, in bytes; a multiple of 4096.
    pub hash_offset: u64,
    /// What the tree must come to.
    pub root_hash: RootHash,
}

impl TableParameters {
    /// Length of the mapped device in sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.data_blocks * (BLOCK_SIZE as u64 / 512)
    }
}

impl fmt::Display for TableParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tree starts one block behind the superblock.
        let hash_start = self.hash_offset / BLOCK_SIZE as u64 + 1;
        write!(
            f,
            "1 {} {} {BLOCK_SIZE} {BLOCK_SIZE} {} {hash_start} sha256 {} {}",
            self.data_device,
            self.hash_device,
            self.data_blocks,
            self.root_hash,
            hex::encode(SALT)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_kernels() {
        let table = TableParameters {
            data_device: "/dev/loop0".into(),
            hash_device: "/dev/loop0".into(),
            data_blocks: 100,
            hash_offset: 100 * 4096,
            root_hash: RootHash([0x11; 32]),
        };
        let root = "11".repeat(32);
        let salt = hex::encode(SALT);
        assert_eq!(
            table.to_string(),
            format!("1 /dev/loop0 /dev/loop0 4096 4096 100 101 sha256 {root} {salt}")
        );
        assert_eq!(table.sectors(), 800);
    }
}
