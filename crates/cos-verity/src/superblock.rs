//! The superblock in front of the tree: cryptsetup `lib/verity/verity.c`, `struct verity_sb`.

use crate::{BLOCK_SIZE, DIGEST_SIZE, RootHash, SALT, VerityError, geometry};
use std::io::Read;

const SIGNATURE: [u8; 8] = *b"verity\0\0";
const SIZE: usize = 512;
const ALGORITHM: &[u8] = b"sha256";

/// A tree's data blocks are counted in 64 bits; more than this many bytes cannot be addressed.
const MAX_DATA_BLOCKS: u64 = i64::MAX as u64 / BLOCK_SIZE as u64;

/// What the superblock of a hash area says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Blocks of 4096 bytes that the tree protects.
    pub data_blocks: u64,
    /// Identity of the hash area.
    pub uuid: [u8; 16],
}

impl Superblock {
    /// The superblock over this much data; its UUID follows from the root hash.
    pub(crate) fn new(data_blocks: u64, root_hash: &RootHash) -> Self {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&root_hash.0[..16]);
        // RFC 9562 version 8: custom, here the start of a digest.
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        Self { data_blocks, uuid }
    }

    /// Bytes from the start of the hash area to its end.
    pub fn hash_area_size(&self) -> u64 {
        geometry::hash_area_size(self.data_blocks)
    }

    /// The whole first block of the hash area.
    pub(crate) fn encode(&self) -> [u8; BLOCK_SIZE] {
        let mut out = [0; BLOCK_SIZE];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &SIGNATURE);
        put(8, &1_u32.to_le_bytes());
        put(12, &1_u32.to_le_bytes());
        put(16, &self.uuid);
        put(32, ALGORITHM);
        put(64, &(BLOCK_SIZE as u32).to_le_bytes());
        put(68, &(BLOCK_SIZE as u32).to_le_bytes());
        put(72, &self.data_blocks.to_le_bytes());
        put(80, &(SALT.len() as u16).to_le_bytes());
        put(88, &SALT);
        out
    }

    fn decode(raw: &[u8; SIZE], offset: u64) -> Result<Self, VerityError> {
        if raw[..8] != SIGNATURE {
            return Err(VerityError::NoSuperblock { offset });
        }
        let u32_at =
            |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let expect = |field, value: u32, expected: u32, text| {
            if value == expected {
                Ok(())
            } else {
                Err(unsupported(field, value.to_string(), text))
            }
        };
        expect("version", u32_at(8), 1, "1")?;
        expect("hash type", u32_at(12), 1, "1")?;
        let algorithm = raw[32..64].split(|&b| b == 0).next().unwrap_or_default();
        if algorithm != ALGORITHM {
            let value = algorithm.escape_ascii().to_string();
            return Err(unsupported("algorithm", value, "sha256"));
        }
        expect("data block size", u32_at(64), 4096, "4096")?;
        expect("hash block size", u32_at(68), 4096, "4096")?;
        let mut wide = [0; 8];
        wide.copy_from_slice(&raw[72..80]);
        let data_blocks = u64::from_le_bytes(wide);
        if data_blocks == 0 || data_blocks > MAX_DATA_BLOCKS {
            let value = data_blocks.to_string();
            return Err(unsupported("number of data blocks", value, "1 to 2^51"));
        }
        let salt_size = u16::from_le_bytes([raw[80], raw[81]]);
        if usize::from(salt_size) != SALT.len() || raw[88..88 + SALT.len()] != SALT {
            let end = 88 + usize::from(salt_size).min(256);
            let value = hex::encode(&raw[88..end]);
            return Err(unsupported("salt", value, "that of cos-root-v1"));
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&raw[16..32]);
        Ok(Self { data_blocks, uuid })
    }
}

fn unsupported(field: &'static str, value: String, expected: &'static str) -> VerityError {
    VerityError::Unsupported {
        field,
        value,
        expected,
    }
}

/// Reads the superblock from a reader that stands at the start of the hash area; `offset` says where
/// that is, for messages. Takes 512 bytes and trusts none of them.
pub fn read_superblock(reader: &mut dyn Read, offset: u64) -> Result<Superblock, VerityError> {
    let mut raw = [0; SIZE];
    reader
        .read_exact(&mut raw)
        .map_err(|source| VerityError::Read {
            what: "the dm-verity superblock",
            offset,
            source,
        })?;
    Superblock::decode(&raw, offset)
}

const _: () = assert!(DIGEST_SIZE == 32 && SALT.len() <= 256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_survives_and_each_foreign_value_is_named() {
        let superblock = Superblock::new(77, &RootHash([9; 32]));
        let raw = superblock.encode();
        assert_eq!(read_superblock(&mut &raw[..], 0).unwrap(), superblock);
        for (at, field) in [
            (8, "version"),
            (12, "hash type"),
            (32, "algorithm"),
            (64, "data block size"),
            (68, "hash block size"),
            (79, "number of data blocks"),
            (80, "salt"),
            (119, "salt"),
        ] {
            let mut bad = raw;
            bad[at] ^= 0xff;
            match read_superblock(&mut &bad[..], 0) {
                Err(VerityError::Unsupported { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{at}: {other:?}"),
            }
        }
        assert!(matches!(
            read_superblock(&mut &[0; 4096][..], 5),
            Err(VerityError::NoSuperblock { offset: 5 })
        ));
        assert!(matches!(
            read_superblock(&mut &raw[..300], 0),
            Err(VerityError::Read { .. })
        ));
    }
}
