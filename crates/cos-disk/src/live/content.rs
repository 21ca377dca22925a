//! What a partition or a disk holds: more kinds than are mounted at boot, so that none of them is
//! taken for free space, and the sizes of those that can be grown.
//!
//! Bounded reads of fixed places. Labels are what `blkid` shows, unless they are no clean text.

use cos_sys::probe::{self as boot, read_at};
use fs_err::File;
use std::io;
use uuid::Uuid;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The kind, as `blkid` names it; ext2, ext3 and ext4 are all `ext4`.
    pub kind: &'static str,
    /// Its label, when it has one.
    pub label: Option<String>,
    /// Its identity, where it is needed to make the content anew.
    pub uuid: Option<String>,
    /// Its size in bytes, where it can be grown and says so.
    pub size: Option<u64>,
    /// It may not be able to grow by less than this many bytes.
    pub grain: u64,
    /// Which of the devices of a Btrfs this is.
    pub member: Option<u64>,
}

/// Kinds that are known by bytes at a fixed place, and not more than that is known of them.
const MAGICS: [(&str, u64, &[u8]); 17] = [
    ("crypto_LUKS", 0, b"LUKS\xba\xbe"),
    ("LVM2_member", 0, b"LABELONE"),
    ("LVM2_member", 512, b"LABELONE"),
    ("LVM2_member", 1024, b"LABELONE"),
    ("LVM2_member", 1536, b"LABELONE"),
    ("linux_raid_member", 0, &[0xfc, 0x4e, 0x2b, 0xa9]),
    ("linux_raid_member", 4096, &[0xfc, 0x4e, 0x2b, 0xa9]),
    ("squashfs", 0, b"hsqs"),
    ("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("jfs", 32768, b"JFS1"),
    ("udf", 32769, b"BEA01"),
    ("reiserfs", 65588, b"ReIsEr"),
    ("bcache", 4120, &[0xc6, 0x85, 0x73, 0xf6]),
    ("DM_verity_hash", 0, b"verity\0\0"),
];

/// Reads the superblocks of the file or device, `None` when nothing known is there.
pub fn probe(device: &File) -> io::Result<Option<Content>> {
    probe_at(device, 0)
}

/// Like [`probe`], of what begins at byte `start`: a partition, looked at through its disk.
pub fn probe_at(device: &File, start: u64) -> io::Result<Option<Content>> {
    // Containers first: a signature of what they held before may have been left in them.
    for (kind, at, magic) in MAGICS {
        if read_at(device, start + at, magic.len())? == magic {
            return Ok(Some(Content {
                kind,
                ..Content::default()
            }));
        }
    }
    if let Some(found) = xfs(&read_at(device, start, 512)?) {
        return Ok(Some(found));
    }
    if let Some(found) = btrfs(&read_at(device, start + 65536, 4096)?) {
        return Ok(Some(found));
    }
    for page in [4096, 8192, 16384, 65536] {
        if let Some(found) = swap(&read_at(device, start, page)?) {
            return Ok(Some(found));
        }
    }
    let Some(found) = boot::probe_at(device, start)? else {
        return Ok(None);
    };
    let grain = match found.kind {
        "ext4" => ext4_grain(&read_at(device, start + 1024, 1024)?).unwrap_or(0),
        _ => 0,
    };
    Ok(Some(Content {
        kind: found.kind,
        label: found.label,
        uuid: found.uuid,
        size: found.size,
        grain,
        member: None,
    }))
}

/// Whether the first `length` bytes are all zero.
pub(super) fn is_blank(device: &File, length: usize) -> io::Result<bool> {
    Ok(read_at(device, 0, length)?.iter().all(|&byte| byte == 0))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|&byte| byte == 0);
    let label = str::from_utf8(&field[..end.unwrap_or(field.len())])
        .ok()?
        .trim_end();
    (!label.is_empty() && !label.contains(char::is_control)).then(|| label.to_owned())
}

/// `struct ext4_super_block` of linux/fs/ext4/ext4.h. A last group of blocks that holds little more
/// than its own tables is left away, by mke2fs (e2fsprogs, `ext2fs_initialize`) and when growing.
fn ext4_grain(superblock: &[u8]) -> Option<u64> {
    let word = |at| Some(u64::from(u32::from_le_bytes(field(superblock, at)?)));
    let half = |at| Some(u64::from(u16::from_le_bytes(field(superblock, at)?)));
    let block = 1024u64.checked_shl(u32::try_from(word(0x18)?).ok()?)?;
    let blocks_per_group = word(0x20)?;
    let inode_blocks = (word(0x28)? * half(0x58)?).checked_div(block)?;
    // Superblock, two bitmaps, 50 blocks of content, and the table of groups with what is reserved
    // for its growth.
    let least = 3 + 50 + inode_blocks + half(0xce)? + 1;
    least.min(blocks_per_group).checked_mul(block)
}

/// `struct xfs_dsb` of `linux/fs/xfs/libxfs/xfs_format.h`, big-endian.
fn xfs(superblock: &[u8]) -> Option<Content> {
    if !superblock.starts_with(b"XFSB") {
        return None;
    }
    let block = u32::from_be_bytes(field(superblock, 4)?);
    let blocks = u64::from_be_bytes(field(superblock, 8)?);
    Some(Content {
        kind: "xfs",
        label: text(&field::<12>(superblock, 108)?),
        size: blocks.checked_mul(u64::from(block)),
        // XFS_MIN_AG_BLOCKS
        grain: u64::from(block) * 64,
        ..Content::default()
    })
}

/// `struct btrfs_super_block` of `linux/btrfs_tree.h`, at byte 65536.
fn btrfs(superblock: &[u8]) -> Option<Content> {
    if field::<8>(superblock, 0x40)? != *b"_BHRfS_M" {
        return None;
    }
    Some(Content {
        kind: "btrfs",
        label: text(superblock.get(0x12b..0x22b)?),
        member: Some(u64::from_le_bytes(field(superblock, 0xc9)?)),
        size: Some(u64::from_le_bytes(field(superblock, 0xd1)?)),
        ..Content::default()
    })
}

/// `union swap_header` of linux/swap.h, which fills one page of the machine that made it.
fn swap(page: &[u8]) -> Option<Content> {
    let size = page.len();
    if !page.ends_with(b"SWAPSPACE2") {
        return None;
    }
    let last_page = u64::from(u32::from_le_bytes(field(page, 1028)?));
    let uuid = Uuid::from_bytes(field(page, 1036)?);
    Some(Content {
        kind: "swap",
        label: text(&field::<16>(page, 1052)?),
        uuid: (!uuid.is_nil()).then(|| uuid.to_string()),
        size: Some((last_page + 1).saturating_mul(size as u64)),
        ..Content::default()
    })
}
