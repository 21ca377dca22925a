//! GUID partition tables on a live disk (UEFI specification, chapter 5): who a partition is, growing
//! the last one into the space behind it, and what the kernel is told of it.
//!
//! Small, as it is part of the initrd. New disk images are written by `cos_disk::gpt`.

mod kernel;
mod table;

pub use kernel::{add_partition, forget_partition, resize_partition};
pub use table::{Entry, Table};

use crate::block::{BlockDevice, Partition};
use fs_err::os::unix::fs::FileExt;
use fs_err::{File, OpenOptions};
use rustix::fs::FlockOperation;
use std::io;
use std::path::PathBuf;
use table::{Mbr, TableCopy};

/// Growing by less than this, in bytes, is not worth a write to the partition table; also what
/// partitions are aligned to.
pub const ALIGNMENT: u64 = 1 << 20;

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
    /// Neither a GPT nor an MBR, nor the remains of one.
    #[error("{} has no partition table", .disk.display())]
    Absent {
        /// The disk.
        disk: PathBuf,
    },
    /// A table of the old kind, or another use of the first sector, such as by a FAT without a table
    /// around it.
    #[error("{} has an MBR and no GUID partition table", .disk.display())]
    Mbr {
        /// The disk.
        disk: PathBuf,
    },
    /// A GPT that is damaged, or says what cannot be.
    #[error("{} has no intact GUID partition table: {reason}", .disk.display())]
    Damaged {
        /// The disk.
        disk: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The kernel did not take a new partition.
    #[error("the kernel does not take the new partition {number} of {}", .disk.display())]
    Add {
        /// The disk.
        disk: PathBuf,
        /// The partition.
        number: u32,
        /// Why.
        source: io::Error,
    },
    /// The kernel keeps a partition that is no longer there.
    #[error("the kernel does not let partition {number} of {} go", .disk.display())]
    Forget {
        /// The disk.
        disk: PathBuf,
        /// The partition.
        number: u32,
        /// Why.
        source: io::Error,
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

/// The `PARTUUID` of a partition, lower case: of a GPT its own GUID, of an MBR the disk's signature
/// and the partition's number. `disk` is the open whole disk, `size` its length in bytes.
pub fn partition_uuid(
    disk: &File,
    size: u64,
    block_size: u32,
    number: u32,
) -> Result<Option<String>, GptError> {
    match TableCopy::either(disk, block_size, size) {
        Ok((copy, _)) => Ok(copy.entry(number).map(|entry| guid(&entry[16..32]))),
        Err(Refusal::Io(error)) => Err(Refusal::Io(error).on(disk)),
        Err(damaged) => {
            let mut sector = [0; 512];
            disk.read_exact_at(&mut sector, 0)
                .map_err(|error| Refusal::Io(error).on(disk))?;
            let signature = u32_at(&sector, 440);
            // A protective one: the table should have been a GPT.
            if Mbr::of(&sector) != Mbr::Other || signature == 0 {
                return Err(damaged.on(disk));
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

/// Grows a partition to the end of its disk: the table first, then the kernel's idea of it. Returns
/// the new size in bytes, or `None` when there is nothing worth growing into or another partition is
/// behind.
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
    resize_partition(&file, partition.number, partition.start, new_size)?;
    Ok(Some(new_size))
}

/// Makes the partitions of a disk known whose primary table is damaged, as by a power cut while it grew:
/// of such a disk the kernel takes the backup only where its command line says so. Returns how many there
/// are; none where the kernel has to find them itself. The table is mended when next it is written.
pub fn reveal_partitions(disk: &BlockDevice) -> Result<usize, GptError> {
    let open = OpenOptions::new().read(true).write(true).open(&disk.node);
    let file = open.map_err(|source| GptError::Io {
        action: "read",
        disk: disk.node.clone(),
        source,
    })?;
    let table = match Table::read(&file, disk.size, disk.block_size) {
        Ok(table) if table.is_from_backup() => table,
        Ok(_) | Err(GptError::Absent { .. } | GptError::Mbr { .. } | GptError::Damaged { .. }) => {
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    let block = u64::from(disk.block_size);
    let mut known = 0;
    for entry in table.entries() {
        let size = (entry.last + 1 - entry.first) * block;
        add_partition(&file, entry.number, entry.first * block, size)?;
        known += 1;
    }
    Ok(known)
}

/// The part of [`grow_partition`] that is on the disk, which may be a file: moves the backup table to
/// the end of the `size` bytes and lets partition `number` end in front of it.
///
/// May be repeated, also after an interruption: a primary table torn by it is restored from the
/// backup even when there is nothing to grow.
pub fn grow_in_table(
    disk: &File,
    size: u64,
    block_size: u32,
    number: u32,
) -> Result<Option<u64>, GptError> {
    let mut table = Table::read(disk, size, block_size)?;
    let Some(entry) = table.entry(number) else {
        return Err(Refusal::Reason("the partition to grow is not in it").on(disk));
    };
    let unit = table.alignment();
    let end = table.usable_end() / unit * unit;
    let behind = table.entries().any(|other| other.first > entry.last);
    let grows = !behind && end > entry.last.saturating_add(unit);
    if grows {
        table.set_last(number, end - 1);
    }
    if grows || table.is_from_backup() {
        table.write(disk)?;
    }
    Ok(grows.then(|| (end - entry.first) * u64::from(block_size)))
}

#[cfg(test)]
mod tests;
