//! A look at the superblock of a finished image: how long the file system is, and what it needs.

use crate::disk::{self, SUPER_OFFSET};
use crate::{BLOCK_SIZE, ErofsError};
use std::io::Read;

/// What the superblock of an EROFS file system says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Bytes in a block; always 4096 here.
    pub block_size: u32,
    /// Blocks of the file system.
    pub blocks: u32,
    /// Identity of the file system.
    pub uuid: [u8; 16],
    /// Label, without the padding.
    pub volume_name: Vec<u8>,
    /// Seconds since 1970.
    pub build_time: i64,
    /// Inodes.
    pub inodes: u64,
    /// `feature_compat` bits.
    pub compatible_features: u32,
    /// `feature_incompat` bits.
    pub incompatible_features: u32,
    /// Bit for each compression algorithm in use (0 LZ4, 1 LZMA, 2 deflate, 3 zstd).
    pub algorithms: u16,
}

impl Superblock {
    /// Bytes of the file system, so where what is behind it begins.
    pub fn size(&self) -> u64 {
        u64::from(self.blocks) * u64::from(self.block_size)
    }
}

/// Reads the superblock from a reader that stands at the first byte of the file system. Takes one
/// block of 4096 bytes, and trusts it only if its checksum holds.
pub fn read_superblock(reader: &mut dyn Read) -> Result<Superblock, ErofsError> {
    let mut block = [0; BLOCK_SIZE];
    reader.read_exact(&mut block).map_err(ErofsError::Read)?;
    let u16_at =
        |at: usize| u16::from_le_bytes([block[SUPER_OFFSET + at], block[SUPER_OFFSET + at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let bad = |what: String| Err(ErofsError::BadSuperblock(what));
    if u32_at(0) != disk::SUPER_MAGIC {
        return bad(format!("magic number {:#010x}", u32_at(0)));
    }
    let block_bits = block[SUPER_OFFSET + 12];
    if block_bits != disk::BLOCK_BITS {
        return bad(format!("blocks of 2^{block_bits} bytes"));
    }
    if u32_at(8) & disk::COMPAT_SB_CHKSUM == 0 {
        return bad("superblock without a checksum".to_owned());
    }
    if u32_at(4) != disk::checksum(&block) {
        return bad("superblock with a wrong checksum".to_owned());
    }
    if u32_at(36) == 0 {
        return bad("file system of no blocks".to_owned());
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&block[SUPER_OFFSET + 48..SUPER_OFFSET + 64]);
    let name = &block[SUPER_OFFSET + 64..SUPER_OFFSET + 80];
    Ok(Superblock {
        block_size: BLOCK_SIZE as u32,
        blocks: u32_at(36),
        uuid,
        volume_name: name.split(|&b| b == 0).next().unwrap_or_default().to_vec(),
        build_time: u64_at(24).cast_signed(),
        inodes: u64_at(16),
        compatible_features: u32_at(8),
        incompatible_features: u32_at(80),
        algorithms: u16_at(84),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SuperBlock;

    fn block() -> [u8; BLOCK_SIZE] {
        SuperBlock {
            incompat: disk::INCOMPAT_CHUNKED_FILE,
            root_nid: 128,
            inodes: 3,
            build_time: -5,
            blocks: 77,
            xattr_block: 0,
            uuid: [7; 16],
            volume_name: *b"cos-root\0\0\0\0\0\0\0\0",
            algorithms: 8,
            packed_nid: 0,
            settings: Vec::new(),
        }
        .encode()
    }

    #[test]
    fn a_superblock_survives() {
        let superblock = read_superblock(&mut &block()[..]).unwrap();
        assert_eq!(superblock.size(), 77 * 4096);
        assert_eq!(superblock.uuid, [7; 16]);
        assert_eq!(superblock.volume_name, b"cos-root");
        assert_eq!(superblock.build_time, -5);
        assert_eq!(superblock.algorithms, 8);
    }

    #[test]
    fn damage_is_noticed() {
        for at in [0, 4, 12, 36, 90, 2000] {
            let mut block = block();
            block[SUPER_OFFSET + at] ^= 0x40;
            let error = read_superblock(&mut &block[..]).unwrap_err();
            assert!(matches!(error, ErofsError::BadSuperblock(_)), "{at}");
        }
        let short = &block()[..4095];
        assert!(matches!(
            read_superblock(&mut &*short),
            Err(ErofsError::Read(_))
        ));
    }
}
