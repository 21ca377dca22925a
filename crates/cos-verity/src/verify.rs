//! Checks a whole tree, and all the data below it, without the kernel.

use crate::hash::block_digest;
use crate::{
    BLOCK_SIZE, DIGEST_SIZE, RootHash, Superblock, VerityError, geometry, read_superblock,
};
use std::io::{Read, Seek, SeekFrom};

/// Read this much at a time.
const PIECE: usize = 256 * BLOCK_SIZE;

/// Checks a file of data with its hash area behind it, at `hash_offset`. Fails with the number of
/// the first wrong block. Memory: 1/128 of the data.
pub fn verify<R: Read + Seek>(
    image: &mut R,
    hash_offset: u64,
    root_hash: &RootHash,
) -> Result<Superblock, VerityError> {
    let (superblock, digests) = check_tree(image, hash_offset, root_hash)?;
    seek(image, 0, "data")?;
    check_level(image, superblock.data_blocks, &digests, &Place::Data)?;
    Ok(superblock)
}

/// As [`verify`], with the hash area in a file of its own.
pub fn verify_detached<D: Read + Seek, H: Read + Seek>(
    data: &mut D,
    sidecar: &mut H,
    root_hash: &RootHash,
) -> Result<Superblock, VerityError> {
    let (superblock, digests) = check_tree(sidecar, 0, root_hash)?;
    seek(data, 0, "data")?;
    check_level(data, superblock.data_blocks, &digests, &Place::Data)?;
    Ok(superblock)
}

/// Where a row of blocks belongs, for messages.
enum Place {
    Data,
    Level { level: usize, offset: u64 },
}

impl Place {
    fn mismatch(&self, block: u64) -> VerityError {
        match *self {
            Self::Data => VerityError::DataMismatch { block },
            Self::Level { level, .. } => VerityError::HashMismatch { level, block },
        }
    }

    fn unreadable(&self, at: u64, source: std::io::Error) -> VerityError {
        let (what, offset) = match *self {
            Self::Data => ("data", at),
            Self::Level { offset, .. } => ("the hash tree", offset + at),
        };
        VerityError::Read {
            what,
            offset,
            source,
        }
    }
}

/// Checks the tree from its root down; returns the digests of the data blocks.
fn check_tree<R: Read + Seek>(
    reader: &mut R,
    hash_offset: u64,
    root_hash: &RootHash,
) -> Result<(Superblock, Vec<u8>), VerityError> {
    seek(reader, hash_offset, "the dm-verity superblock")?;
    let superblock = read_superblock(reader, hash_offset)?;
    // Before memory is taken by the superblock's word, the tree must be there in full.
    let end = reader
        .seek(SeekFrom::End(0))
        .map_err(|source| VerityError::Read {
            what: "the size",
            offset: 0,
            source,
        })?;
    let size = superblock.hash_area_size();
    if end.saturating_sub(hash_offset) < size {
        return Err(VerityError::Read {
            what: "the hash tree",
            offset: end,
            source: std::io::ErrorKind::UnexpectedEof.into(),
        });
    }
    let mut offset = hash_offset + BLOCK_SIZE as u64;
    seek(reader, offset, "the hash tree")?;
    let mut digests = root_hash.0.to_vec();
    for (level, &blocks) in geometry::levels(superblock.data_blocks)
        .iter()
        .enumerate()
        .rev()
    {
        digests = check_level(reader, blocks, &digests, &Place::Level { level, offset })?;
        offset += blocks * BLOCK_SIZE as u64;
    }
    Ok((superblock, digests))
}

/// Reads `blocks` blocks and checks each against its digest. Returns what was read, unless it is data.
fn check_level<R: Read>(
    reader: &mut R,
    blocks: u64,
    digests: &[u8],
    place: &Place,
) -> Result<Vec<u8>, VerityError> {
    let mut kept = Vec::new();
    let mut piece = vec![0; PIECE];
    let mut block = 0;
    while block < blocks {
        let count = (blocks - block).min((PIECE / BLOCK_SIZE) as u64) as usize;
        let piece = &mut piece[..count * BLOCK_SIZE];
        reader
            .read_exact(piece)
            .map_err(|source| place.unreadable(block * BLOCK_SIZE as u64, source))?;
        for bytes in piece.chunks_exact(BLOCK_SIZE) {
            let at = block as usize * DIGEST_SIZE;
            if digests.get(at..at + DIGEST_SIZE) != Some(&block_digest(bytes)[..]) {
                return Err(place.mismatch(block));
            }
            block += 1;
        }
        if let Place::Level { .. } = place {
            kept.extend_from_slice(piece);
        }
    }
    Ok(kept)
}

fn seek<R: Seek>(reader: &mut R, offset: u64, what: &'static str) -> Result<(), VerityError> {
    reader
        .seek(SeekFrom::Start(offset))
        .map(drop)
        .map_err(|source| VerityError::Read {
            what,
            offset,
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HashingWriter;
    use std::io::{Cursor, Write as _};

    fn data() -> Vec<u8> {
        (0..300 * BLOCK_SIZE).map(|i| (i / 999) as u8).collect()
    }

    #[test]
    fn the_first_wrong_block_is_named() {
        let mut writer = HashingWriter::new(Vec::new(), 1).unwrap();
        writer.write_all(&data()).unwrap();
        let (image, verity) = writer.finish().unwrap();
        let check = |image: Vec<u8>| {
            verify(
                &mut Cursor::new(image),
                verity.hash_offset,
                &verity.root_hash,
            )
        };
        assert_eq!(check(image.clone()).unwrap().data_blocks, 300);

        let broken = |at: usize| {
            let mut image = image.clone();
            image[at] ^= 1;
            check(image)
        };
        assert!(matches!(
            broken(7 * BLOCK_SIZE + 9),
            Err(VerityError::DataMismatch { block: 7 })
        ));
        // Superblock, the root's block, then three blocks over the data.
        let level0 = (300 + 2) * BLOCK_SIZE;
        assert!(matches!(
            broken(level0 + BLOCK_SIZE),
            Err(VerityError::HashMismatch { level: 0, block: 1 })
        ));
        assert!(matches!(
            broken(level0 - 1),
            Err(VerityError::HashMismatch { level: 1, block: 0 })
        ));
        let mut short = image.clone();
        short.pop();
        assert!(matches!(check(short), Err(VerityError::Read { .. })));
    }

    #[test]
    fn a_sidecar_holds_the_tree_alone() {
        let mut writer = HashingWriter::new(Vec::new(), 0).unwrap();
        writer.write_all(&data()).unwrap();
        let mut sidecar = Vec::new();
        let (image, verity) = writer.finish_detached(&mut sidecar).unwrap();
        assert_eq!(image, data());
        assert_eq!(verity.hash_offset, 0);
        let mut sidecar = Cursor::new(sidecar);
        verify_detached(&mut Cursor::new(image), &mut sidecar, &verity.root_hash).unwrap();
    }
}
