//! What file system a device holds, its label and its identity, from the superblock alone.
//!
//! Bounded reads of fixed places; nothing of the content is believed beyond its text. Identities are
//! spelt as `blkid` spells them.

use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use std::io;

/// A file system found on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// The type that mount(8) takes.
    pub kind: &'static str,
    /// Label, when it has one.
    pub label: Option<String>,
    /// Identity: `UUID=`.
    pub uuid: Option<String>,
    /// Size in bytes as the superblock states it, where the format states it.
    pub size: Option<u64>,
}

/// Longest label of an XFS, bytes.
const XFS_LABEL: usize = 12;

/// The label as a file system of this kind bears it: XFS has room for 12 bytes, so that a longer one is
/// cut there.
pub fn label_on<'l>(kind: &str, label: &'l str) -> &'l str {
    match kind {
        "xfs" => label.get(..XFS_LABEL).unwrap_or(label),
        _ => label,
    }
}

impl Filesystem {
    /// Whether it bears this label, as far as it can ([`label_on`]).
    pub fn bears(&self, label: &str) -> bool {
        self.label.as_deref() == Some(label_on(self.kind, label))
    }
}

/// Reads the superblock of the file or device. `None` when no known file system is there.
pub fn probe(device: &File) -> io::Result<Option<Filesystem>> {
    probe_at(device, 0)
}

/// Like [`probe`], of what begins at byte `start`: a partition, looked at through its disk.
pub fn probe_at(device: &File, start: u64) -> io::Result<Option<Filesystem>> {
    // One sector of 4096 bytes holds everything but the descriptors of ISO 9660 and Btrfs.
    let head = read_at(device, start, 4096)?;
    let known = xfs(&head).or_else(|| ext4(&head)).or_else(|| erofs(&head));
    if known.is_some() {
        return Ok(known);
    }
    if let Some(found) = btrfs(&read_at(device, start + 65536, 4096)?) {
        return Ok(Some(found));
    }
    let descriptor = read_at(device, start + 32768, 2048)?;
    Ok(iso9660(&descriptor).or_else(|| vfat(&head)))
}

/// Reads up to `length` bytes at `offset`; the device may be shorter.
pub fn read_at(device: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match device.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

/// `linux/fs/xfs/libxfs/xfs_format.h`, `struct xfs_dsb`, at byte 0, big-endian.
fn xfs(head: &[u8]) -> Option<Filesystem> {
    let superblock = head.get(..512)?;
    if &superblock[..4] != b"XFSB" {
        return None;
    }
    let block = u32::from_be_bytes(superblock[4..8].try_into().ok()?);
    let blocks = u64::from_be_bytes(superblock[8..16].try_into().ok()?);
    Some(Filesystem {
        kind: "xfs",
        label: text(&superblock[108..120]),
        uuid: dashed_uuid(&superblock[32..48]),
        size: blocks.checked_mul(u64::from(block)),
    })
}

/// `linux/btrfs_tree.h`, `struct btrfs_super_block`, at byte 65536. The size is that of all its
/// devices, so none is stated.
fn btrfs(superblock: &[u8]) -> Option<Filesystem> {
    if superblock.get(0x40..0x48)? != b"_BHRfS_M" {
        return None;
    }
    Some(Filesystem {
        kind: "btrfs",
        label: text(superblock.get(0x12b..0x22b)?),
        uuid: dashed_uuid(&superblock[0x20..0x30]),
        size: None,
    })
}

/// linux/fs/ext4/ext4.h, `struct ext4_super_block`, at byte 1024.
fn ext4(head: &[u8]) -> Option<Filesystem> {
    let superblock = head.get(1024..2048)?;
    if superblock[0x38..0x3a] != [0x53, 0xef] {
        return None;
    }
    let low = u64::from(u32_at(superblock, 4)?);
    // INCOMPAT_64BIT: only then is the upper half of the block count there.
    let high = if u32_at(superblock, 0x60)? & 0x80 == 0 {
        0
    } else {
        u64::from(u32_at(superblock, 0x150)?)
    };
    let blocks = high << 32 | low;
    let size = 1024u64
        .checked_shl(u32_at(superblock, 0x18)?)
        .filter(|size| (1024..=65536).contains(size))
        .and_then(|size| size.checked_mul(blocks));
    Some(Filesystem {
        kind: "ext4",
        label: text(&superblock[0x78..0x88]),
        uuid: dashed_uuid(&superblock[0x68..0x78]),
        size,
    })
}

/// `linux/fs/erofs/erofs_fs.h`, `struct erofs_super_block`, at byte 1024.
fn erofs(head: &[u8]) -> Option<Filesystem> {
    let superblock = head.get(1024..1152)?;
    if u32_at(superblock, 0)? != 0xe0f5_e1e2 {
        return None;
    }
    let block_bits = u32::from(superblock[12]);
    let blocks = u64::from(u32_at(superblock, 36)?);
    Some(Filesystem {
        kind: "erofs",
        label: text(&superblock[64..80]),
        uuid: dashed_uuid(&superblock[48..64]),
        size: (9..=16).contains(&block_bits).then(|| blocks << block_bits),
    })
}

/// ECMA-119 8.4, the primary volume descriptor, at byte 32768.
fn iso9660(descriptor: &[u8]) -> Option<Filesystem> {
    if descriptor.len() < 2048 || &descriptor[..6] != b"\x01CD001" {
        return None;
    }
    // As blkid: the modification time, or else the creation time.
    let uuid = iso_date(&descriptor[830..846]).or_else(|| iso_date(&descriptor[813..829]));
    let blocks = u64::from(u32_at(descriptor, 80)?);
    Some(Filesystem {
        kind: "iso9660",
        label: text(&descriptor[40..72]),
        uuid,
        size: blocks.checked_mul(2048),
    })
}

/// `2026112317250000` as `2026-11-23-17-25-00-00`.
fn iso_date(digits: &[u8]) -> Option<String> {
    if !digits.iter().all(u8::is_ascii_digit) || digits.iter().all(|&digit| digit == b'0') {
        return None;
    }
    let digits = str::from_utf8(digits).ok()?;
    let mut parts = vec![&digits[..4]];
    parts.extend((4..16).step_by(2).map(|at| &digits[at..at + 2]));
    Some(parts.join("-"))
}

/// Microsoft's FAT specification: the boot sector of FAT32, FAT16 and FAT12.
fn vfat(head: &[u8]) -> Option<Filesystem> {
    let sector = head.get(..512)?;
    if sector[510..] != [0x55, 0xaa] || sector[16] == 0 || !sector[13].is_power_of_two() {
        return None;
    }
    let (serial, label) = if &sector[0x52..0x57] == b"FAT32" {
        (0x43, 0x47)
    } else if &sector[0x36..0x39] == b"FAT" {
        (0x27, 0x2b)
    } else {
        return None;
    };
    let number = u32_at(sector, serial)?;
    Some(Filesystem {
        kind: "vfat",
        label: text(&sector[label..label + 11]).filter(|label| label != "NO NAME"),
        uuid: Some(format!("{:04X}-{:04X}", number >> 16, number & 0xffff)),
        size: None,
    })
}

/// Text up to a NUL, without trailing blanks. Labels that are no clean text are no labels: they come
/// from outside and end up in messages and unit names.
fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    let label = str::from_utf8(&field[..end]).ok()?.trim_end();
    (!label.is_empty() && !label.contains(char::is_control)).then(|| label.to_owned())
}

/// Sixteen bytes as `8-4-4-4-12`; all zero is none.
fn dashed_uuid(bytes: &[u8]) -> Option<String> {
    if bytes.iter().all(|&byte| byte == 0) {
        return None;
    }
    let mut out = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn probed(bytes: &[u8]) -> Option<Filesystem> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        probe(&File::open(file.path()).unwrap()).unwrap()
    }

    #[test]
    fn short_and_foreign_files_hold_nothing() {
        assert_eq!(probed(b""), None);
        assert_eq!(probed(&[0xff; 1030]), None);
        assert_eq!(probed(&vec![0xff; 40000]), None);
    }

    #[test]
    fn a_hostile_ext4_block_size_gives_no_size() {
        let mut bytes = vec![0; 4096];
        bytes[1024 + 0x38] = 0x53;
        bytes[1024 + 0x39] = 0xef;
        bytes[1024 + 0x18] = 200;
        bytes[1024 + 0x78..1024 + 0x7c].copy_from_slice(b"A\x07BC");
        let found = probed(&bytes).unwrap();
        assert_eq!((found.size, found.label, found.uuid), (None, None, None));
    }

    #[test]
    fn a_long_label_is_cut_on_xfs_alone() {
        let bears = |kind, found: &str, wanted| {
            let filesystem = Filesystem {
                kind,
                label: Some(found.into()),
                uuid: None,
                size: None,
            };
            filesystem.bears(wanted)
        };
        assert!(bears("xfs", "COS_PERSISTE", "COS_PERSISTENT"));
        assert!(!bears("ext4", "COS_PERSISTE", "COS_PERSISTENT"));
        assert!(bears("xfs", "DATA", "DATA"));
        assert!(!bears("xfs", "COS_PERSISTE", "COS_STATE"));
    }

    #[test]
    fn an_iso_is_known_by_its_volume_descriptor() {
        let mut bytes = vec![0; 36864];
        bytes[32768..32774].copy_from_slice(b"\x01CD001");
        bytes[32768 + 40..32768 + 72].copy_from_slice(&[b' '; 32]);
        bytes[32768 + 40..32768 + 48].copy_from_slice(b"COS_LIVE");
        bytes[32768 + 813..32768 + 829].copy_from_slice(b"2026112317250099");
        bytes[32768 + 830..32768 + 846].copy_from_slice(b"0000000000000000");
        let found = probed(&bytes).unwrap();
        assert_eq!(found.label.as_deref(), Some("COS_LIVE"));
        assert_eq!(found.uuid.as_deref(), Some("2026-11-23-17-25-00-99"));
    }
}
