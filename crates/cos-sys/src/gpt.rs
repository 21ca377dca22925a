//! GUID partition tables on a live disk (UEFI specification, chapter 5): who a partition is, and
//! growing the last one into the space behind it.

#![expect(
    unsafe_code,
    reason = "the kernel is told of a partition's size by ioctl"
)]

use crate::block::{BlockDevice, Partition};
use crate::ioctl;
use fs_err::os::unix::fs::FileExt;
use fs_err::{File, OpenOptions};
use rustix::fs::FlockOperation;
use rustix::ioctl::Opcode;
use std::io;
use std::path::PathBuf;

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Size of a partition entry; the specification allows more, nobody writes them.
const ENTRY_SIZE: usize = 128;
/// Tables with more entries than this are not believed.
const MAX_ENTRIES: u32 = 1024;
/// Growing by less than this is not worth a write to the partition table.
const WORTHWHILE: u64 = 1 << 20;

/// `BLKPG` and its `BLKPG_RESIZE_PARTITION` of linux/blkpg.h.
const BLKPG: Opcode = 0x1269;
const RESIZE_PARTITION: i32 = 3;

/// Why a partition table could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// The disk could not be opened, read, locked or written; the cause says which.
    #[error("cannot {action} the partition table of {}", .disk.display())]
    Io {
        /// What was tried: `read`, `write`, `lock`.
        action: &'static str,
        /// The disk.
        disk: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No GPT, or a damaged one.
    #[error("{} has no intact GUID partition table: {reason}", .disk.display())]
    Damaged {
        /// The disk.
        disk: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The kernel did not take the new size.
    #[error("the kernel does not take the new size of partition {number} of {}", .disk.display())]
    Resize {
        /// The disk.
        disk: PathBuf,
        /// The partition.
        number: u32,
        /// Why.
        source: io::Error,
    },
}

/// One header and its entries, checked.
#[derive(Debug, Clone)]
struct Table {
    header: Vec<u8>,
    entries: Vec<u8>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

/// CRC-32 as the specification wants it (ISO 3309, polynomial 0xEDB88320 reflected).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

impl Table {
    /// Checks and reads the header at block `lba` and its entries.
    fn read(disk: &File, block_size: u32, lba: u64) -> Result<Self, Refusal> {
        let block = u64::from(block_size);
        let at = lba
            .checked_mul(block)
            .ok_or(Refusal::Reason("out of range"))?;
        let mut header = vec![0; block_size as usize];
        disk.read_exact_at(&mut header, at)?;
        if &header[..8] != SIGNATURE {
            return Err(Refusal::Reason("no signature"));
        }
        let header_size = u32_at(&header, 12) as usize;
        if !(92..=header.len()).contains(&header_size) {
            return Err(Refusal::Reason("absurd header size"));
        }
        let mut zeroed = header[..header_size].to_vec();
        ioctl::put(&mut zeroed, 16, &[0; 4]);
        if crc32(&zeroed) != u32_at(&header, 16) || u64_at(&header, 24) != lba {
            return Err(Refusal::Reason("header checksum does not match"));
        }
        let count = u32_at(&header, 80);
        if count == 0 || count > MAX_ENTRIES || u32_at(&header, 84) as usize != ENTRY_SIZE {
            return Err(Refusal::Reason("absurd partition entries"));
        }
        let mut entries = vec![0; count as usize * ENTRY_SIZE];
        let at = u64_at(&header, 72)
            .checked_mul(block)
            .ok_or(Refusal::Reason("out of range"))?;
        disk.read_exact_at(&mut entries, at)?;
        if crc32(&entries) != u32_at(&header, 88) {
            return Err(Refusal::Reason("entries checksum does not match"));
        }
        Ok(Self { header, entries })
    }

    fn entry(&self, number: u32) -> Option<&[u8]> {
        let start = (number.checked_sub(1)? as usize).checked_mul(ENTRY_SIZE)?;
        let entry = self.entries.get(start..start + ENTRY_SIZE)?;
        entry[..16].iter().any(|&byte| byte != 0).then_some(entry)
    }

    /// Puts new places into the header and renews both checksums.
    fn seal(&mut self, own: u64, other: u64, entries_at: u64, last_usable: u64) {
        let header = &mut self.header;
        ioctl::put(header, 24, &own.to_le_bytes());
        ioctl::put(header, 32, &other.to_le_bytes());
        ioctl::put(header, 48, &last_usable.to_le_bytes());
        ioctl::put(header, 72, &entries_at.to_le_bytes());
        ioctl::put(header, 88, &crc32(&self.entries).to_le_bytes());
        ioctl::put(header, 16, &[0; 4]);
        let header_size = u32_at(header, 12) as usize;
        let checksum = crc32(&header[..header_size]);
        ioctl::put(header, 16, &checksum.to_le_bytes());
    }

    fn write(&self, disk: &File, block_size: u32) -> io::Result<()> {
        let block = u64::from(block_size);
        disk.write_all_at(&self.entries, u64_at(&self.header, 72) * block)?;
        disk.write_all_at(&self.header, u64_at(&self.header, 24) * block)?;
        disk.sync_all()
    }
}

/// Why a table was not taken, before it is known which disk's it was.
enum Refusal {
    Io(io::Error),
    Reason(&'static str),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Refusal {
    fn on(self, disk: &File) -> GptError {
        let disk = disk.path().to_owned();
        match self {
            Self::Io(source) => GptError::Io {
                action: "read",
                disk,
                source,
            },
            Self::Reason(reason) => GptError::Damaged { disk, reason },
        }
    }
}

/// The primary table, or the backup at the end of a disk of `size` bytes.
fn read_either(disk: &File, block_size: u32, size: u64) -> Result<Table, GptError> {
    Table::read(disk, block_size, 1).or_else(|refusal| {
        let last = (size / u64::from(block_size)).saturating_sub(1);
        Table::read(disk, block_size, last).map_err(|_| refusal.on(disk))
    })
}

/// The `PARTUUID` of a partition, lower case: of a GPT its own GUID, of an MBR the disk's signature
/// and the partition's number. `disk` is the open whole disk, `size` its length in bytes.
pub fn partition_uuid(
    disk: &File,
    size: u64,
    block_size: u32,
    number: u32,
) -> Result<Option<String>, GptError> {
    match read_either(disk, block_size, size) {
        Ok(table) => Ok(table.entry(number).map(|entry| guid(&entry[16..32]))),
        Err(error @ GptError::Io { .. }) => Err(error),
        Err(damaged) => {
            let mut sector = [0; 512];
            disk.read_exact_at(&mut sector, 0)
                .map_err(|error| Refusal::Io(error).on(disk))?;
            let signature = u32_at(&sector, 440);
            // 0xEE: the table should have been a GPT.
            let protective = sector[446..510].chunks(16).any(|entry| entry[4] == 0xee);
            if sector[510..] != [0x55, 0xaa] || signature == 0 || protective {
                return Err(damaged);
            }
            Ok(Some(format!("{signature:08x}-{number:02x}")))
        }
    }
}

/// A GUID as text: its first three fields are little-endian on disk.
fn guid(bytes: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut out = String::with_capacity(36);
    for (position, &at) in ORDER.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for digit in [bytes[at] >> 4, bytes[at] & 15] {
            out.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    out
}

/// Grows a partition to the end of its disk: the table first (backup, then primary, so that one of
/// them is whole after a power cut at any moment), then the kernel's idea of it. Returns the new
/// size in bytes, or `None` when there is nothing worth growing into or another partition is behind.
pub fn grow_partition(disk: &BlockDevice, partition: &Partition) -> Result<Option<u64>, GptError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&disk.node)
        .map_err(|source| GptError::Io {
            action: "read",
            disk: disk.node.clone(),
            source,
        })?;
    // udev reads the table again when a writer closes the disk, but not while it is locked.
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|errno| GptError::Io {
        action: "lock",
        disk: disk.node.clone(),
        source: errno.into(),
    })?;
    let Some(new_size) = grow_in_table(&file, disk.size, disk.block_size, partition.number)? else {
        return Ok(None);
    };
    tell_kernel(&file, partition, new_size).map_err(|source| GptError::Resize {
        disk: disk.node.clone(),
        number: partition.number,
        source,
    })?;
    Ok(Some(new_size))
}

/// The part of [`grow_partition`] that is on the disk, which may be a file: moves the backup table to
/// the end of the `size` bytes and lets partition `number` end in front of it.
pub fn grow_in_table(
    disk: &File,
    size: u64,
    block_size: u32,
    number: u32,
) -> Result<Option<u64>, GptError> {
    let block = u64::from(block_size);
    let mut table = read_either(disk, block_size, size)?;
    let damaged = |reason| Refusal::Reason(reason).on(disk);
    let Some(entry) = table.entry(number) else {
        return Err(damaged("the partition to grow is not in it"));
    };
    let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
    let entry_blocks = (table.entries.len() as u64).div_ceil(block);
    let backup = (size / block).saturating_sub(1);
    // Usable up to the backup's entries; ending on a MiB keeps the partition aligned.
    let end = backup.saturating_sub(entry_blocks);
    let aligned_end = end - end % (WORTHWHILE / block).max(1);
    let behind = table
        .entries
        .chunks(ENTRY_SIZE)
        .any(|other| other[..16].iter().any(|&byte| byte != 0) && u64_at(other, 32) > last);
    if first > last
        || behind
        || aligned_end.saturating_sub(1) < last.saturating_add(WORTHWHILE / block)
    {
        return Ok(None);
    }
    let primary_entries = u64_at(&table.header, 72);
    let primary_entries = if u64_at(&table.header, 24) == 1 {
        primary_entries
    } else {
        2
    };
    let start = (number as usize - 1) * ENTRY_SIZE;
    ioctl::put(
        &mut table.entries[start..],
        40,
        &(aligned_end - 1).to_le_bytes(),
    );
    let failed = |source| GptError::Io {
        action: "write",
        disk: disk.path().to_owned(),
        source,
    };
    table.seal(backup, 1, backup - entry_blocks, backup - entry_blocks - 1);
    table.write(disk, block_size).map_err(failed)?;
    table.seal(1, backup, primary_entries, backup - entry_blocks - 1);
    table.write(disk, block_size).map_err(failed)?;
    Ok(Some((aligned_end - first) * block))
}

/// `BLKPG_RESIZE_PARTITION` changes a partition in use, which re-reading the table cannot.
fn tell_kernel(disk: &File, partition: &Partition, size: u64) -> io::Result<()> {
    // struct blkpg_partition: start, length, number, two names of 64 bytes.
    let mut description = [0u8; 152];
    ioctl::put(&mut description, 0, &partition.start.to_ne_bytes());
    ioctl::put(&mut description, 8, &size.to_ne_bytes());
    ioctl::put(&mut description, 16, &partition.number.to_ne_bytes());
    // struct blkpg_ioctl_arg: op, flags, length and, aligned, the pointer to the above.
    let mut argument = [0u8; 24];
    ioctl::put(&mut argument, 0, &RESIZE_PARTITION.to_ne_bytes());
    ioctl::put(&mut argument, 8, &152i32.to_ne_bytes());
    let pointer = description.as_mut_ptr().expose_provenance();
    ioctl::put(&mut argument[16..], 0, &pointer.to_ne_bytes());
    // SAFETY: the kernel reads the argument and, through its pointer, `description`, both alive
    // until the call returns and of the stated lengths.
    unsafe { ioctl::bytes(disk, BLKPG, &mut argument) }?;
    Ok(())
}

#[cfg(test)]
mod tests;
