//! The map of a compressed file: which blocks hold which part of it.
//!
//! `COMPRESSED_COMPACT` of `erofs_fs.h`: an 8-byte header, then for every 4 KiB of file (*logical
//! cluster*) 2 bytes where they fill whole 32-byte packs, 4 bytes before and behind those. A pack
//! stores the first block address of what begins in it; the others follow by adding.

use crate::BLOCK_SIZE;
use crate::disk::INODE_SLOT;

const ADVISE_COMPACTED_2B: u16 = 0x01;
/// Results of more than one block; both heads must agree in compact maps.
const ADVISE_BIG_PCLUSTERS: u16 = 0x02 | 0x04;
const ADVISE_FRAGMENT: u16 = 0x20;

const TYPE_PLAIN: u8 = 0;
const TYPE_HEAD: u8 = 1;
const TYPE_NONHEAD: u8 = 2;

/// The first NONHEAD cluster of an extent tells its blocks instead of its distance.
const CBLKCNT: u16 = 1 << 11;
/// Bits of an entry below its type.
const LOW_BITS: u32 = 12;

/// How a part of a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Compressed, in this many blocks.
    Compressed(u32),
    /// As it is.
    Plain,
    /// In the packed file.
    Fragment,
}

/// A part of a file that is stored as one. All but the last are whole blocks long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) length: u32,
    pub(crate) storage: Storage,
}

impl Extent {
    /// Blocks of image it takes.
    pub(crate) fn blocks(self) -> u32 {
        match self.storage {
            Storage::Compressed(blocks) => blocks,
            Storage::Plain => self.length.div_ceil(BLOCK_SIZE as u32),
            Storage::Fragment => 0,
        }
    }
}

/// One logical cluster.
#[derive(Debug, Clone, Copy, Default)]
struct Cluster {
    kind: u8,
    /// What the entry says: the offset in its block where an extent begins, or the distance back.
    low: u16,
    /// What it says as the last of a pack: the distance to the next head.
    low_at_end: u16,
    /// Blocks that addresses behind this entry are further on.
    blocks: u32,
}

impl Cluster {
    fn head(kind: u8, blocks: u32) -> Self {
        Self {
            kind,
            blocks,
            ..Self::default()
        }
    }
}

/// The clusters of an extent. A last one that is not whole gets a PLAIN head that only says where
/// the data ends, unless it is the extent's only one.
fn clusters(extent: Extent) -> impl Iterator<Item = Cluster> {
    let whole = extent.length / BLOCK_SIZE as u32;
    let rest = (extent.length % BLOCK_SIZE as u32) as u16;
    let all = whole + u32::from(rest > 0);
    let total = extent.blocks();
    (0..all).map(move |number| match extent.storage {
        Storage::Plain => Cluster::head(TYPE_PLAIN, 1),
        // A head alone in its extent accounts for its own block.
        _ if number == 0 => Cluster::head(TYPE_HEAD, if whole < 2 { total } else { 0 }),
        _ if number == whole => Cluster {
            kind: TYPE_PLAIN,
            low: rest,
            low_at_end: rest,
            blocks: 0,
        },
        _ if number == 1 => {
            let low = CBLKCNT | total as u16;
            Cluster {
                kind: TYPE_NONHEAD,
                low,
                low_at_end: low,
                blocks: total,
            }
        }
        _ => Cluster {
            kind: TYPE_NONHEAD,
            low: number as u16,
            low_at_end: (whole - number) as u16,
            blocks: 0,
        },
    })
}

/// How many entries of each width a map has: 4-byte ones in front, 2-byte ones, 4-byte ones behind.
fn widths(start: u64, clusters: u64) -> (u64, u64, u64) {
    let front = (INODE_SLOT - start % INODE_SLOT) % INODE_SLOT / 4;
    if front >= clusters {
        return (0, 0, clusters);
    }
    let narrow = (clusters - front) / 16 * 16;
    (front, narrow, clusters - front - narrow)
}

/// Where the header stands behind an inode with its attributes that end at `offset` from the
/// inode's start (itself at a multiple of 32).
pub(crate) fn header_offset(offset: usize) -> usize {
    offset.next_multiple_of(8)
}

/// Bytes of header and entries for a file of this size, the header at `offset` from its inode.
pub(crate) fn size(offset: usize, file_size: u64) -> u64 {
    let start = offset as u64 + 8;
    let clusters = file_size.div_ceil(BLOCK_SIZE as u64);
    let (front, narrow, behind) = widths(start, clusters);
    8 + front * 4 + narrow * 2 + behind.next_multiple_of(2) * 4
}

/// What a map's header says beside its entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) algorithm: u8,
    /// Where in the packed file the file's last part is.
    pub(crate) fragment: Option<u32>,
}

/// Appends header and entries for a file whose extents lie one behind the other from `block` on.
pub(crate) fn encode(
    header: Header,
    offset: usize,
    file_size: u64,
    extents: impl Iterator<Item = Extent>,
    block: u32,
    out: &mut Vec<u8>,
) {
    let fragment_advise = if header.fragment.is_some() {
        ADVISE_FRAGMENT
    } else {
        0
    };
    let advise = ADVISE_COMPACTED_2B | ADVISE_BIG_PCLUSTERS | fragment_advise;
    out.extend_from_slice(&header.fragment.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&advise.to_le_bytes());
    out.extend_from_slice(&[header.algorithm, 0]);

    let mut address = block;
    let mut all = extents.flat_map(clusters);
    let count = file_size.div_ceil(BLOCK_SIZE as u64);
    let (front, narrow, behind) = widths(offset as u64 + 8, count);
    for _ in 0..front / 2 {
        encode_pack(&mut all, 2, 8, &mut address, out);
    }
    for _ in 0..narrow / 16 {
        encode_pack(&mut all, 16, 32, &mut address, out);
    }
    for _ in 0..behind.div_ceil(2) {
        encode_pack(&mut all, 2, 8, &mut address, out);
    }
}

/// One pack: `count` entries as a string of bits, then the block address they start from.
fn encode_pack(
    clusters: &mut impl Iterator<Item = Cluster>,
    count: u32,
    bytes: usize,
    address: &mut u32,
    out: &mut Vec<u8>,
) {
    let width = (bytes as u32 * 8 - 32) / count;
    let first = *address;
    let mut pack = [0_u8; 32];
    for number in 0..count {
        let Some(cluster) = clusters.next() else {
            break;
        };
        let low = match cluster.kind {
            TYPE_NONHEAD if number + 1 == count => cluster.low_at_end,
            _ => cluster.low,
        };
        let value = u32::from(cluster.kind) << LOW_BITS | u32::from(low);
        let position = number * width;
        let shifted = (value << (position % 8)).to_le_bytes();
        let at = (position / 8) as usize;
        for (byte, bits) in pack[at..].iter_mut().zip(&shifted[..3]) {
            *byte |= bits;
        }
        *address = address.wrapping_add(cluster.blocks);
    }
    pack[bytes - 4..bytes].copy_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&pack[..bytes]);
}

/// The 8 bytes of a file that is wholly in the packed file, at this offset.
pub(crate) fn encode_whole_fragment(offset: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(offset | 1 << 63).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(length: u32, blocks: u32) -> Extent {
        Extent {
            length,
            storage: Storage::Compressed(blocks),
        }
    }

    /// Decodes an entry the way Linux `fs/erofs/zmap.c` (`unpack_compacted_index`) does.
    fn decode(map: &[u8], offset: usize, clusters: u64, number: u64) -> (u8, u16, u32) {
        let (front, narrow, _) = widths(offset as u64 + 8, clusters);
        let (pack, count, bytes, index) = if number < front {
            (8 + number / 2 * 8, 2, 8, number % 2)
        } else if number < front + narrow {
            let n = number - front;
            (8 + front * 4 + n / 16 * 32, 16, 32, n % 16)
        } else {
            let n = number - front - narrow;
            (8 + front * 4 + narrow * 2 + n / 2 * 8, 2, 8, n % 2)
        };
        let pack = &map[pack as usize..pack as usize + bytes];
        let width = (bytes * 8 - 32) / count;
        let at = |i: usize| {
            let bit = i * width;
            let mut word = [0; 4];
            let end = pack.len().min(bit / 8 + 4);
            word[..end - bit / 8].copy_from_slice(&pack[bit / 8..end]);
            let v = u32::from_le_bytes(word) >> (bit % 8);
            (v as u16 & 0xfff, (v >> 12 & 3) as u8)
        };
        let (low, kind) = at(index as usize);
        let mut blocks = 0;
        let mut i = index as usize;
        while i > 0 {
            i -= 1;
            let (low, kind) = at(i);
            if kind != TYPE_NONHEAD {
                blocks += 1;
            } else if low & CBLKCNT != 0 {
                i = i.saturating_sub(1);
                blocks += u32::from(low & !CBLKCNT);
            } else {
                assert!(low > 1);
                i = i.saturating_sub(usize::from(low) - 2);
            }
        }
        let base = u32::from_le_bytes(pack[bytes - 4..].try_into().unwrap());
        (kind, low, base + blocks)
    }

    #[test]
    fn heads_lead_to_their_blocks() {
        let plain = |length| Extent {
            length,
            storage: Storage::Plain,
        };
        let extents = [
            compressed(64 << 12, 20),
            plain(3 << 12),
            compressed(2 << 12, 1),
            compressed(64 << 12, 1),
            plain(1 << 12),
            compressed(37 << 12, 36),
            compressed((5 << 12) + 7, 2),
        ];
        let file_size: u64 = extents.iter().map(|e| u64::from(e.length)).sum();
        let clusters = file_size.div_ceil(4096);
        for offset in [64, 72, 80, 88] {
            let header = Header {
                algorithm: 0,
                fragment: None,
            };
            let mut map = Vec::new();
            encode(
                header,
                offset,
                file_size,
                extents.into_iter(),
                1000,
                &mut map,
            );
            assert_eq!(map.len() as u64, size(offset, file_size));
            let (mut number, mut block) = (0, 1000);
            for extent in extents {
                let plain = extent.storage == Storage::Plain;
                for cluster in 0..u64::from(extent.length.div_ceil(4096)) {
                    let (kind, low, address) = decode(&map, offset, clusters, number);
                    if plain {
                        assert_eq!((kind, low, address), (TYPE_PLAIN, 0, block));
                        block += 1;
                    } else if cluster == 0 {
                        assert_eq!((kind, low, address), (TYPE_HEAD, 0, block));
                    } else if cluster == 1 {
                        assert_eq!(
                            (kind, low),
                            (TYPE_NONHEAD, CBLKCNT | extent.blocks() as u16)
                        );
                    }
                    number += 1;
                }
                if !plain {
                    block += extent.blocks();
                }
            }
            assert_eq!(number, clusters);
            let (kind, low, _) = decode(&map, offset, clusters, clusters - 1);
            assert_eq!((kind, low), (TYPE_PLAIN, 7));
        }
    }

    #[test]
    fn short_files_have_wide_entries_only() {
        assert_eq!(widths(72, 3), (0, 0, 3));
        assert_eq!(widths(72, 6), (0, 0, 6));
        assert_eq!(widths(72, 7), (6, 0, 1));
        assert_eq!(widths(96, 16), (0, 16, 0));
        assert_eq!(size(64, 5000), 8 + 8);
    }
}
