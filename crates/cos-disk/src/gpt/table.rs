//! Reading and writing the table itself.

use super::{BACKUP_SECTORS, ENTRIES_SECTORS, SECTOR};
use crate::DiskError;
use crate::sparse::size_of;
use fs_err::File;
use gptman::{GPTHeader, GPTPartitionEntry};
use std::io::{self, Cursor};
use std::os::unix::fs::FileExt;
use uuid::Uuid;

/// Entries in the tables that are written, as every other tool makes them.
const ENTRIES: u32 = 128;

/// Bytes of one entry.
const ENTRY_SIZE: u32 = 128;

/// The most entries a foreign table may have; more is taken as damage.
const MAX_ENTRIES: u32 = 1024;

/// Bytes of boot code in an MBR.
const BOOT_CODE: usize = 440;

/// Where the partition entries of an MBR start in its sector.
const MBR_ENTRIES: u64 = 446;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name: at most 36 UTF-16 units.
    pub name: String,
    /// What it is for; see [`types`](super::types).
    pub type_guid: Uuid,
    /// Its identity; `PARTUUID` of the kernel.
    pub unique_guid: Uuid,
    /// The first sector.
    pub start_lba: u64,
    /// How many sectors; never 0.
    pub sectors: u64,
    /// Attribute bits of the table entry.
    pub attributes: u64,
}

impl Partition {
    /// Where it starts, in bytes, on a disk of 512-byte sectors.
    pub fn offset(&self) -> u64 {
        self.start_lba * SECTOR
    }

    /// How large it is, in bytes, on a disk of 512-byte sectors.
    pub fn bytes(&self) -> u64 {
        self.sectors * SECTOR
    }
}

/// A table as read from a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The identity of the disk.
    pub disk_guid: Uuid,
    /// Bytes of a sector: 512 or 4096.
    pub sector_size: u64,
    /// The partitions in use with their numbers, in table order.
    pub partitions: Vec<(u32, Partition)>,
    /// Whether the primary table was damaged and the backup was read instead.
    pub from_backup: bool,
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum TableDefect {
    /// Not there, or damaged.
    #[error("no valid GPT header")]
    Header(#[source] gptman::Error),
    /// A form of entry array that is not supported.
    #[error("{count} partition entries of {size} bytes")]
    EntryFormat {
        /// How many.
        count: u32,
        /// Bytes of each.
        size: u32,
    },
    /// The header points beyond the disk.
    #[error("the table reaches beyond the end of the disk")]
    TableOutside,
    /// The entry array does not have its checksum.
    #[error("damaged partition entries")]
    Entries(#[source] gptman::Error),
    /// A partition lies where none may.
    #[error("partition {number} lies outside of the disk's usable sectors")]
    PartitionOutside {
        /// Its number.
        number: u32,
    },
    /// Two partitions share sectors.
    #[error("partitions {first} and {second} overlap")]
    Overlap {
        /// The number of the one.
        first: u32,
        /// The number of the other.
        second: u32,
    },
}

/// Writes a protective MBR and both copies of a table with `partitions`, numbered from 1, on a disk
/// of `total_bytes`.
///
/// Overwrites all of sector 0, so boot code goes in afterwards. The file is made `total_bytes` long
/// if it is shorter.
pub fn write_table(
    file: &File,
    total_bytes: u64,
    disk_guid: Uuid,
    partitions: &[Partition],
) -> Result<(), DiskError> {
    write_table_with(file, total_bytes, disk_guid, partitions, &[])
}

/// Like [`write_table`], with up to 440 bytes of boot code in sector 0. The primary table's header, at
/// byte 512, is what is written last of all.
pub fn write_table_with(
    file: &File,
    total_bytes: u64,
    disk_guid: Uuid,
    partitions: &[Partition],
    boot_code: &[u8],
) -> Result<(), DiskError> {
    let sectors = total_bytes / SECTOR;
    if sectors < 2 * BACKUP_SECTORS + 2 {
        let needed = (2 * BACKUP_SECTORS + 2) * SECTOR;
        return Err(DiskError::DiskTooSmall {
            needed,
            available: total_bytes,
        });
    }
    let header = new_header(sectors, disk_guid);
    let mut entries = vec![GPTPartitionEntry::empty(); ENTRIES as usize];
    for (index, partition) in partitions.iter().enumerate() {
        let slot = entries.get_mut(index).ok_or(DiskError::TooManyPartitions)?;
        *slot = entry_of(partition)?;
    }
    let invalid = |source| DiskError::InvalidTable {
        path: file.path().into(),
        source,
    };
    check_entries(&header, &entries, sectors).map_err(invalid)?;
    let written = || -> io::Result<()> {
        if file.metadata()?.is_file() && file.metadata()?.len() < total_bytes {
            file.set_len(total_bytes)?;
        }
        write_protective_mbr(file, sectors, boot_code)?;
        write_copies(file, &header, &entries, SECTOR)
    };
    written().map_err(|source| DiskError::WriteTable {
        path: file.path().into(),
        source,
    })
}

fn new_header(sectors: u64, disk_guid: Uuid) -> GPTHeader {
    GPTHeader {
        signature: *b"EFI PART",
        revision: [0, 0, 1, 0],
        header_size: 92,
        crc32_checksum: 0,
        reserved: [0; 4],
        primary_lba: 1,
        backup_lba: sectors - 1,
        first_usable_lba: 2 + ENTRIES_SECTORS,
        last_usable_lba: sectors - 1 - BACKUP_SECTORS,
        disk_guid: disk_guid.to_bytes_le(),
        partition_entry_lba: 2,
        number_of_partition_entries: ENTRIES,
        size_of_partition_entry: ENTRY_SIZE,
        partition_entry_array_crc32: 0,
    }
}

fn entry_of(partition: &Partition) -> Result<GPTPartitionEntry, DiskError> {
    if partition.name.encode_utf16().count() > 36 {
        return Err(DiskError::PartitionName {
            name: partition.name.clone(),
        });
    }
    let ending_lba = partition
        .sectors
        .checked_sub(1)
        .and_then(|sectors| partition.start_lba.checked_add(sectors))
        .ok_or(DiskError::SizeOverflow)?;
    Ok(GPTPartitionEntry {
        partition_type_guid: partition.type_guid.to_bytes_le(),
        unique_partition_guid: partition.unique_guid.to_bytes_le(),
        starting_lba: partition.start_lba,
        ending_lba,
        attribute_bits: partition.attributes,
        partition_name: partition.name.as_str().into(),
    })
}

/// Writes the backup, makes it durable, and only then the primary: its entries, and when they are durable
/// too its header, which is one sector. Before that the disk has no table, from then on a whole one.
fn write_copies(
    file: &File,
    header: &GPTHeader,
    entries: &[GPTPartitionEntry],
    sector_size: u64,
) -> io::Result<()> {
    let mut writer = file;
    let mut backup = header.clone();
    backup.primary_lba = header.backup_lba;
    backup.backup_lba = header.primary_lba;
    backup.partition_entry_lba = header.last_usable_lba + 1;
    backup
        .write_into(&mut writer, sector_size, entries)
        .map_err(io::Error::other)?;
    file.sync_data()?;
    let first_usable = header.first_usable_lba * sector_size;
    let mut primary = Cursor::new(vec![
        0;
        usize::try_from(first_usable)
            .map_err(io::Error::other)?
    ]);
    header
        .clone()
        .write_into(&mut primary, sector_size, entries)
        .map_err(io::Error::other)?;
    let primary = primary.into_inner();
    let sector = sector_size as usize;
    let file = file.file();
    file.write_all_at(&primary[2 * sector..], 2 * sector_size)?;
    file.sync_data()?;
    file.write_all_at(&primary[sector..2 * sector], sector_size)?;
    file.sync_data()
}

/// The MBR that tells tools without knowledge of GPT that the disk is full.
fn write_protective_mbr(file: &File, sectors: u64, boot_code: &[u8]) -> io::Result<()> {
    let mut mbr = [0; SECTOR as usize];
    let code = &boot_code[..boot_code.len().min(BOOT_CODE)];
    mbr[..code.len()].copy_from_slice(code);
    let entry = [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0];
    mbr[MBR_ENTRIES as usize..][..entry.len()].copy_from_slice(&entry);
    mbr[MBR_ENTRIES as usize + 12..][..4].copy_from_slice(&protected(sectors).to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    file.file().write_all_at(&mbr, 0)
}

fn protected(sectors: u64) -> u32 {
    u32::try_from(sectors - 1).unwrap_or(u32::MAX)
}

/// Reads the table of a disk: the primary, or the backup where that is damaged.
pub fn read_table(file: &File) -> Result<Table, DiskError> {
    let failed = |source| DiskError::ReadTable {
        path: file.path().into(),
        source,
    };
    let size = size_of(file).map_err(failed)?;
    let mut first_defect = None;
    for (sector_size, from_backup) in [(512, false), (4096, false), (512, true), (4096, true)] {
        let sectors = size / sector_size;
        let lba = if from_backup {
            sectors.saturating_sub(1)
        } else {
            1
        };
        match read_copy(file, sector_size, sectors, lba).map_err(failed)? {
            Ok((header, entries)) => {
                return Ok(Table {
                    disk_guid: Uuid::from_bytes_le(header.disk_guid),
                    sector_size,
                    partitions: used_partitions(&entries),
                    from_backup,
                });
            }
            // A damaged table says more than the absence of one with other sectors.
            Err(defect) => match first_defect {
                None | Some(TableDefect::Header(_)) => first_defect = Some(defect),
                Some(_) => {}
            },
        }
    }
    let source = first_defect.unwrap_or(TableDefect::TableOutside);
    Err(DiskError::InvalidTable {
        path: file.path().into(),
        source,
    })
}

type Copy = (GPTHeader, Vec<GPTPartitionEntry>);

fn read_copy(
    file: &File,
    sector_size: u64,
    sectors: u64,
    lba: u64,
) -> io::Result<Result<Copy, TableDefect>> {
    if sectors < 2 * BACKUP_SECTORS {
        return Ok(Err(TableDefect::TableOutside));
    }
    let mut bytes = [0; 512];
    file.file().read_exact_at(&mut bytes, lba * sector_size)?;
    let header = match GPTHeader::read_from(&mut Cursor::new(&bytes)) {
        Ok(header) => header,
        Err(error) => return Ok(Err(TableDefect::Header(error))),
    };
    if let Err(defect) = check_header(&header, sector_size, sectors) {
        return Ok(Err(defect));
    }
    let mut reader = file;
    let entries = match header.read_partitions(&mut reader, sector_size) {
        Ok(entries) => entries,
        Err(gptman::Error::Io(error)) => return Err(error),
        Err(error) => return Ok(Err(TableDefect::Entries(error))),
    };
    Ok(check_entries(&header, &entries, sectors).map(|()| (header, entries)))
}

/// What must hold before the numbers of a header are used for anything.
fn check_header(header: &GPTHeader, sector_size: u64, sectors: u64) -> Result<(), TableDefect> {
    let (count, size) = (
        header.number_of_partition_entries,
        header.size_of_partition_entry,
    );
    if count == 0 || count > MAX_ENTRIES || size != ENTRY_SIZE {
        return Err(TableDefect::EntryFormat { count, size });
    }
    let array_sectors = u64::from(count * size).div_ceil(sector_size);
    let array_end = header.partition_entry_lba.checked_add(array_sectors);
    if array_end.is_none_or(|end| end > sectors) || header.last_usable_lba >= sectors {
        return Err(TableDefect::TableOutside);
    }
    Ok(())
}

fn check_entries(
    header: &GPTHeader,
    entries: &[GPTPartitionEntry],
    sectors: u64,
) -> Result<(), TableDefect> {
    let mut ranges = Vec::new();
    for (number, entry) in (1..).zip(entries).filter(|(_, entry)| entry.is_used()) {
        let inside = entry.starting_lba >= header.first_usable_lba
            && entry.starting_lba <= entry.ending_lba
            && entry.ending_lba <= header.last_usable_lba
            && entry.ending_lba < sectors;
        if !inside {
            return Err(TableDefect::PartitionOutside { number });
        }
        ranges.push((entry.starting_lba, entry.ending_lba, number));
    }
    ranges.sort_unstable();
    match ranges.windows(2).find(|pair| pair[0].1 >= pair[1].0) {
        Some(pair) => Err(TableDefect::Overlap {
            first: pair[0].2,
            second: pair[1].2,
        }),
        None => Ok(()),
    }
}

fn used_partitions(entries: &[GPTPartitionEntry]) -> Vec<(u32, Partition)> {
    let used = (1..).zip(entries).filter(|(_, entry)| entry.is_used());
    used.map(|(number, entry)| {
        let partition = Partition {
            name: entry.partition_name.as_str().to_owned(),
            type_guid: Uuid::from_bytes_le(entry.partition_type_guid),
            unique_guid: Uuid::from_bytes_le(entry.unique_partition_guid),
            start_lba: entry.starting_lba,
            sectors: entry.ending_lba - entry.starting_lba + 1,
            attributes: entry.attribute_bits,
        };
        (number, partition)
    })
    .collect()
}
