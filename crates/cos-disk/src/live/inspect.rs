//! What a disk is like now.

use super::content::{self, is_blank};
use super::disk::Disks;
use super::request::MIB;
use super::{DiskState, LayoutError, Occupant, TableState, kernel};
use cos_sys::block::BlockDevice;
use cos_sys::gpt::{GptError, Table};
use fs_err::File;
use std::io;

/// Reads the table of an open disk.
pub(super) fn table(file: &File, disk: &BlockDevice) -> Result<TableState, LayoutError> {
    let whole = || content::probe(file).map_err(|source| read(disk, source));
    match Table::read(file, disk.size, disk.block_size) {
        Ok(table) => {
            let has_backup = table.has_backup(file);
            Ok(TableState::Present { table, has_backup })
        }
        // Boot sectors of FAT and NTFS end as an MBR does.
        Err(GptError::Mbr { .. }) => {
            Ok(whole()?.map_or(TableState::Mbr, |found| TableState::Occupied(found.kind)))
        }
        Err(GptError::Absent { .. }) => {
            Ok(whole()?.map_or(TableState::Absent, |found| TableState::Occupied(found.kind)))
        }
        Err(source) => Err(LayoutError::Table {
            disk: disk.node.clone(),
            source,
        }),
    }
}

/// Looks at what the partitions hold, which the kernel must know all of.
pub(super) fn contents(
    disks: &Disks,
    disk: &BlockDevice,
    table: TableState,
) -> Result<DiskState, LayoutError> {
    let mut occupants = Vec::new();
    if let TableState::Present { table, .. } = &table {
        for entry in table.entries() {
            occupants.push(occupant(disk, entry.number)?);
        }
    }
    let mapped = disks.mapped(disk).filter_map(|device| {
        let file = File::open(&device.node).ok()?;
        content::probe(&file).ok()??.label
    });
    Ok(DiskState {
        node: disk.node.clone(),
        size: disk.size,
        block_size: disk.block_size,
        table,
        occupants,
        mapped_labels: mapped.collect(),
    })
}

fn occupant(disk: &BlockDevice, number: u32) -> Result<Occupant, LayoutError> {
    let device = kernel::partition(disk, number)?;
    let file = File::open(&device.node).map_err(|source| LayoutError::Open {
        path: device.node.clone(),
        source,
    })?;
    let content = content::probe(&file).map_err(|source| read(&device, source))?;
    let blank = content.is_none()
        && is_blank(&file, MIB as usize).map_err(|source| read(&device, source))?;
    Ok(Occupant {
        number,
        content,
        blank,
    })
}

fn read(device: &BlockDevice, source: io::Error) -> LayoutError {
    LayoutError::Read {
        path: device.node.clone(),
        source,
    }
}
