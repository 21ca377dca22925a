//! Fitting a table to a disk that became larger.

use super::ALIGNMENT;
use super::table::{read_table, resize_protective_mbr, write_copies};
use crate::DiskError;
use fs_err::File;

/// A partition that was extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrownPartition {
    /// Its number.
    pub number: u32,
    /// Where it starts, in bytes.
    pub start: u64,
    /// Its new size, in bytes.
    pub size: u64,
}

/// Extends the last partition of a disk of `device_size` bytes to the disk's end and puts the
/// backup table there.
///
/// Nothing is grown (`None`) when there is less than 1 MiB to gain. May be repeated, also after an
/// interruption: a damaged or misplaced copy of the table is then restored from the good one. A
/// caller that resizes the file system does so whatever the answer, as an earlier run may have been
/// interrupted between the two.
pub fn grow_last(file: &File, device_size: u64) -> Result<Option<GrownPartition>, DiskError> {
    let mut table = read_table(file)?;
    let sector_size = table.sector_size;
    let sectors = device_size / sector_size;
    let header = &mut table.header;
    let array_bytes =
        u64::from(header.number_of_partition_entries) * u64::from(header.size_of_partition_entry);
    let backup_sectors = array_bytes.div_ceil(sector_size) + 1;
    let Some(usable_end) = sectors.checked_sub(backup_sectors) else {
        return Ok(None);
    };

    let unit = ALIGNMENT / sector_size;
    let aligned_end = usable_end / unit * unit;
    let mut grown = None;
    let last = (1..)
        .zip(&mut table.entries)
        .filter(|(_, entry)| entry.is_used())
        .max_by_key(|(_, entry)| entry.starting_lba);
    if let Some((number, entry)) = last {
        if entry.ending_lba + 1 + unit <= aligned_end {
            entry.ending_lba = aligned_end - 1;
            grown = Some(GrownPartition {
                number,
                start: entry.starting_lba * sector_size,
                size: (aligned_end - entry.starting_lba) * sector_size,
            });
        } else if entry.ending_lba >= usable_end {
            // The device is no larger than the table already uses.
            return Ok(None);
        }
    }
    if grown.is_none() && !table.from_backup {
        return Ok(None);
    }
    // A backup header names itself and the primary the other way round.
    header.primary_lba = 1;
    header.partition_entry_lba = 2;
    header.backup_lba = sectors - 1;
    header.last_usable_lba = usable_end - 1;
    write_copies(file, header, &table.entries, sector_size)
        .and_then(|()| resize_protective_mbr(file, sectors))
        .map_err(|source| DiskError::WriteTable {
            path: file.path().into(),
            source,
        })?;
    Ok(grown)
}
