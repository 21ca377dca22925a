//! FAT16 and FAT32, made with their content in one go.
//!
//! All content is known beforehand, so every file lies in one piece and what is free is never
//! touched. Layout: Microsoft Extensible Firmware Initiative FAT32 File System Specification 1.03.

mod directory;
mod geometry;
mod name;
mod tree;

use crate::calendar::Calendar;
use crate::gpt::SECTOR;
use crate::{DiskError, Source, sparse};
use fs_err::File;
use geometry::{Geometry, Width};
use std::io;
use std::os::unix::fs::FileExt;
use tree::{Node, Tree};

/// What tells one volume from another, and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatOptions {
    /// The volume label: up to 11 ASCII characters, stored in capitals.
    pub label: String,
    /// The volume's serial number; `UUID` of blkid as `XXXX-XXXX`.
    pub volume_id: u32,
    /// The time of every file, in seconds since 1970, UTC; FAT knows 1980 to 2107, in steps of 2 s.
    pub time: i64,
}

/// A file or directory of the new file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatEntry {
    /// Its path from the root, separated by `/`. Directories above are made as needed.
    pub path: String,
    /// What it is.
    pub content: FatContent,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FatContent {
    /// A directory.
    Directory,
    /// A file of less than 4 GiB.
    File(Source),
}

/// Formats `size` bytes of `file` from `offset` and fills them with `entries`.
///
/// FAT32 where the size allows (33 MiB and more), FAT16 below. Whatever was there before is cleared.
pub fn format(
    file: &File,
    offset: u64,
    size: u64,
    options: &FatOptions,
    entries: &[FatEntry],
) -> Result<(), DiskError> {
    let geometry = Geometry::of(size)?;
    let label = name::label(&options.label)?;
    let mut tree = Tree::build(entries)?;
    let used = tree.place(&geometry, label.is_some())?;
    let stamp = Stamp::of(options.time);
    let volume = Volume {
        geometry,
        offset,
        label,
        serial: options.volume_id,
        stamp,
    };
    volume
        .write(file, size, &tree, used)
        .map_err(|source| DiskError::WriteFat {
            path: file.path().into(),
            source,
        })
}

/// A time as FAT stores it.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    date: u16,
    time: u16,
}

impl Stamp {
    fn of(time: i64) -> Self {
        let c = Calendar::within_years(time, 1980, 2107);
        let date = (c.year - 1980) << 9 | u16::from(c.month) << 5 | u16::from(c.day);
        let time = u16::from(c.hour) << 11 | u16::from(c.minute) << 5 | (u16::from(c.second) / 2);
        Self { date, time }
    }
}

struct Volume {
    geometry: Geometry,
    offset: u64,
    label: Option<[u8; 11]>,
    serial: u32,
    stamp: Stamp,
}

impl Volume {
    fn write(&self, file: &File, size: u64, tree: &Tree<'_>, used: u32) -> io::Result<()> {
        sparse::clear(file, self.offset, size)?;
        if file.metadata()?.is_file() && file.metadata()?.len() < self.offset + size {
            file.set_len(self.offset + size)?;
        }
        self.write_boot_sectors(file, used)?;
        let table = self.table(tree, used);
        for copy in 0..geometry::FATS {
            let sector = self.geometry.reserved + copy * self.geometry.fat_sectors;
            self.write_at(file, &table, sector)?;
        }
        for node in tree.nodes() {
            self.write_node(file, tree, node)?;
        }
        Ok(())
    }

    fn write_at(&self, file: &File, bytes: &[u8], sector: u32) -> io::Result<()> {
        file.file()
            .write_all_at(bytes, self.offset + u64::from(sector) * SECTOR)
    }

    fn write_boot_sectors(&self, file: &File, used: u32) -> io::Result<()> {
        let boot = self.boot_sector();
        self.write_at(file, &boot, 0)?;
        if self.geometry.width == Width::Fat32 {
            let info = self.info_sector(used);
            self.write_at(file, &info, geometry::INFO_SECTOR.into())?;
            self.write_at(file, &boot, geometry::BACKUP_BOOT_SECTOR.into())?;
            let backup = geometry::BACKUP_BOOT_SECTOR + geometry::INFO_SECTOR;
            self.write_at(file, &info, backup.into())?;
        }
        Ok(())
    }

    fn boot_sector(&self) -> [u8; 512] {
        let g = &self.geometry;
        let mut sector = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        let hidden = u32::try_from(self.offset / SECTOR).unwrap_or(0);
        put(3, b"COS     ");
        put(11, &(SECTOR as u16).to_le_bytes());
        put(13, &[g.sectors_per_cluster]);
        put(14, &(g.reserved as u16).to_le_bytes());
        put(16, &[geometry::FATS as u8]);
        put(17, &(g.root_entries as u16).to_le_bytes());
        match u16::try_from(g.sectors) {
            Ok(sectors) if g.width == Width::Fat16 => put(19, &sectors.to_le_bytes()),
            _ => put(32, &g.sectors.to_le_bytes()),
        }
        put(21, &[0xf8]); // a fixed disk
        put(24, &63_u16.to_le_bytes());
        put(26, &255_u16.to_le_bytes());
        put(28, &hidden.to_le_bytes());
        let extended = match g.width {
            Width::Fat16 => {
                put(0, &[0xeb, 0x3c, 0x90]);
                put(22, &(g.fat_sectors as u16).to_le_bytes());
                36
            }
            Width::Fat32 => {
                put(0, &[0xeb, 0x58, 0x90]);
                put(36, &g.fat_sectors.to_le_bytes());
                put(44, &geometry::FIRST_CLUSTER.to_le_bytes());
                put(48, &geometry::INFO_SECTOR.to_le_bytes());
                put(50, &geometry::BACKUP_BOOT_SECTOR.to_le_bytes());
                64
            }
        };
        put(extended, &[0x80, 0, 0x29]);
        put(extended + 3, &self.serial.to_le_bytes());
        put(extended + 7, &self.label.unwrap_or(*b"NO NAME    "));
        put(extended + 18, g.width.type_name());
        // Boot code: ask the BIOS for the next device, should anyone start this sector.
        put(extended + 26, &[0xcd, 0x18, 0xf4, 0xeb, 0xfd]);
        put(510, &[0x55, 0xaa]);
        sector
    }

    fn info_sector(&self, used: u32) -> [u8; 512] {
        let mut sector = [0; 512];
        let free = self.geometry.clusters - used;
        sector[..4].copy_from_slice(b"RRaA");
        sector[484..488].copy_from_slice(b"rrAa");
        sector[488..492].copy_from_slice(&free.to_le_bytes());
        let next = geometry::FIRST_CLUSTER + used.min(self.geometry.clusters - 1);
        sector[492..496].copy_from_slice(&next.to_le_bytes());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    /// The allocation table as far as it is used; the rest is zeros.
    fn table(&self, tree: &Tree<'_>, used: u32) -> Vec<u8> {
        let mut entries: Vec<u32> = (1..=geometry::FIRST_CLUSTER + used).collect();
        entries[0] = 0x0fff_fff8;
        entries[1] = 0x0fff_ffff;
        entries.truncate((geometry::FIRST_CLUSTER + used) as usize);
        // Chains are runs: every entry points to the next but those of the last clusters.
        for node in tree.nodes().filter(|node| node.clusters > 0) {
            entries[(node.first_cluster + node.clusters - 1) as usize] = 0x0fff_ffff;
        }
        match self.geometry.width {
            Width::Fat16 => entries
                .iter()
                .flat_map(|e| (*e as u16).to_le_bytes())
                .collect(),
            Width::Fat32 => entries.iter().flat_map(|e| e.to_le_bytes()).collect(),
        }
    }

    fn write_node(&self, file: &File, tree: &Tree<'_>, node: &Node<'_>) -> io::Result<()> {
        let offset = self.offset + self.geometry.offset_of(node.first_cluster);
        if let Some(source) = &node.source {
            return source.copy_range(0, source.len(), file, offset);
        }
        let bytes = directory::bytes(tree, node, self.label, self.stamp);
        file.file().write_all_at(&bytes, offset)
    }
}

#[cfg(test)]
mod tests;
